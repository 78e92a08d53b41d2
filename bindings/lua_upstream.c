#include "lua_upstream.h"

#include "lua_error.h"
#include "lua_event.h"
#include "lua_lease.h"
#include "lua_options.h"
#include "lua_request.h"
#include "lua_script.h"
#include "lua_wait.h"

#include <string.h>

/* ---- options ---- */

static void read_peer(lua_State *L, hws_peer_options_t *peer)
{
    peer->url = hwl_options_string(L, "url");
    peer->id = hwl_options_string(L, "id");
    peer->address = hwl_options_string(L, "address");
    peer->locality = hwl_options_string(L, "locality");
    lua_getfield(L, -1, "weight");
    peer->weight = lua_tonumber(L, -1);
    lua_getfield(L, -2, "priority");
    peer->priority = (uint32_t)lua_tonumber(L, -1);
    lua_pop(L, 2);
}

/* Leaves the array, as a userdata, on the stack below the checked options. */
static void read_peers(lua_State *L, hws_upstream_options_t *options)
{
    hws_peer_options_t *peers;
    size_t count;
    size_t i;

    lua_getfield(L, -1, "peers");
    if (lua_isnil(L, -1))
        return;
    count = lua_rawlen(L, -1);
    peers = hwl_new_userdata(L, (count + 1) * sizeof(*peers), 0);
    memset(peers, 0, (count + 1) * sizeof(*peers));
    lua_insert(L, -2);
    for (i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        read_peer(L, &peers[i]);
        lua_pop(L, 1);
    }
    options->peers = peers;
    options->peer_count = count;
}

void hwl_upstream_read_policies(lua_State *L, int checked, hws_upstream_options_t *options)
{
    int balancer;

    lua_pushvalue(L, checked);
    lua_getfield(L, -1, "balancer");
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "builtin");
        for (balancer = 0; balancer < HWS_BALANCER_COUNT && lua_isstring(L, -1); balancer++)
            if (strcmp(lua_tostring(L, -1), hws_balancer_name((hws_balancer_t)balancer)) == 0)
                options->balancer = (hws_balancer_t)balancer;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    hwl_options_retry(L, &options->retry);
    hwl_options_breaker(L, &options->breaker);
    lua_pop(L, 1);
}

/* From the checked options at `checked`; peers point into them. */
static void read_options(lua_State *L, int checked, hws_upstream_options_t *options,
                         hwl_tls_t *room, hwl_dns_t *dns)
{
    hws_slice_t protocol;
    int i;

    lua_pushvalue(L, checked);
    protocol = hwl_options_string(L, "protocol");
    for (i = 0; protocol.size > 0 && i < HWS_PROTOCOL_COUNT; i++)
        if (strcmp(protocol.data, hws_protocol_name((hws_protocol_t)i)) == 0)
            options->protocol = (hws_protocol_t)i;
    hwl_options_limits(L, &options->limits);
    hwl_options_timeouts(L, &options->timeouts);
    hwl_options_h2(L, &options->h2);
    hwl_options_reuse(L, &options->reuse);
    hwl_upstream_read_policies(L, -1, options);
    hwl_options_tls(L, room, &options->tls);
    hwl_options_dns(L, dns, &options->dns);
    lua_getfield(L, -1, "setup");
    if (!lua_isnil(L, -1))
        options->setup = lua_isfunction(L, -1) ? hwl_lease_setup : NULL;
    lua_pop(L, 1);
    read_peers(L, options);
}

/* Keeps in the userdata's table what the core does not: the setup function, and the peers with
 * their tags, in their order. */
static void keep(lua_State *L, int checked, int table)
{
    lua_getfield(L, checked, "setup");
    if (!lua_isnil(L, -1))
        lua_setfield(L, table, "setup");
    lua_getfield(L, checked, "peers");
    if (!lua_isnil(L, -1))
        lua_setfield(L, table, "peers");
}

/* ---- life ---- */

/* Pushes a userdata for an upstream of the core's, and its table. */
static hwl_upstream_t *push_new(lua_State *L, hwl_manager_t *manager)
{
    hwl_upstream_t *upstream = hwl_new(L, manager->lua, HWL_UPSTREAM, sizeof(*upstream), 1);

    upstream->core = NULL;
    upstream->manager = manager;
    upstream->script = NULL;
    lua_newtable(L);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "manager");
    lua_pushvalue(L, -1);
    hwl_set_table(L, -3);
    return upstream;
}

/* Pushes the list of the upstreams of the manager at `index`, by name. */
static void push_names(lua_State *L, int index)
{
    hwl_get_table(L, index);
    lua_getfield(L, -1, "upstreams");
    lua_remove(L, -2);
}

/* Enters the value at `index` under the name at index 2 into the list of names: that lies on top of
 * the stack, or below the value when the value lies there. */
static void set_name(lua_State *L, int index)
{
    int names = lua_gettop(L) - (index == lua_gettop(L));

    lua_pushvalue(L, 2);
    lua_pushvalue(L, index);
    lua_rawset(L, names);
}

/* The options at index 3 make the upstream called as index 2 says. */
static int create(lua_State *L, hwl_manager_t *manager)
{
    hws_upstream_options_t options;
    hwl_tls_t room;
    hwl_dns_t dns;
    hws_error_t why = {.code = HWS_OK};
    hwl_upstream_t *upstream;
    hws_upstream_t *core;
    bool is_taken;
    int self;
    int rc;

    lua_settop(L, 3);
    hwl_options_check(L, manager->lua, HWL_HELPER_CHECK_UPSTREAM, 3, false);
    hws_upstream_options_init(&options, manager->core);
    options.name.data = lua_tolstring(L, 2, &options.name.size);
    options.setup_user = manager;
    options.free_data = hwl_lease_free_data;
    read_options(L, 4, &options, &room, &dns);
    /* All that Lua could fail in comes before the core's part, which could not be taken back. */
    upstream = push_new(L, manager);
    self = lua_gettop(L) - 1;
    keep(L, 4, self + 1);
    hwl_script_prepare(L, upstream, 4);
    push_names(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    is_taken = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!is_taken)
        set_name(L, self);
    if ((rc = hws_upstream_create(manager->core, &options, &core, &why)) != HWS_OK) {
        lua_pushnil(L);
        if (!is_taken)
            set_name(L, lua_gettop(L));
        hwl_script_give_up(upstream);
        return hwl_options_fail(L, manager->lua, rc, &why);
    }
    upstream->core = core;
    hws_upstream_hold(core);
    manager->holds++;
    set_name(L, self);
    hwl_script_install(L, upstream, self);
    if (options.tls != NULL && !options.tls->verify)
        hwl_event_warn_unverified(L, manager, hws_upstream_name(core));
    lua_pushvalue(L, self);
    return 1;
}

int hwl_upstream_of_manager(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;

    if (!hwl_is_alive(L, self))
        return 2;
    if (lua_type(L, 2) != LUA_TSTRING || strlen(lua_tostring(L, 2)) != lua_rawlen(L, 2))
        return hwl_refuse(L, "the name of the upstream", 2, "a string without zero bytes");
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_FORKED, NULL);
    if (!lua_isnoneornil(L, 3))
        return create(L, manager);
    push_names(L, 1);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int collect(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_test(L, 1, HWL_UPSTREAM);

    if (upstream == NULL)
        return 0;
    hwl_script_collect(upstream);
    if (upstream->core == NULL)
        return 0;
    if (!hws_loop_is_forked(hws_manager_loop(upstream->manager->core)))
        hws_upstream_unhold(upstream->core);
    upstream->core = NULL;
    hwl_manager_unhold(upstream->manager);
    return 0;
}

/* ---- methods ---- */

/* Whether it is usable in this process; if not, nil and why have been pushed. */
static bool is_usable(lua_State *L, const hwl_upstream_t *upstream)
{
    if (!hws_loop_is_forked(hws_manager_loop(upstream->manager->core)))
        return true;
    hwl_error_fail_code(L, upstream->manager->lua, HWS_ERR_FORKED, NULL);
    return false;
}

static int update(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    hws_upstream_options_t options;
    hwl_tls_t room;
    hwl_dns_t dns;
    hws_error_t why = {.code = HWS_OK};
    int rc;

    if (!hwl_is_alive(L, upstream))
        return 2;
    lua_settop(L, 2);
    hwl_options_check(L, upstream->manager->lua, HWL_HELPER_CHECK_UPSTREAM, 2, true);
    if (!is_usable(L, upstream))
        return 2;
    hws_upstream_settings(upstream->core, &options);
    read_options(L, 3, &options, &room, &dns);
    hwl_script_prepare(L, upstream, 3);
    if ((rc = hws_upstream_update(upstream->core, &options, &why)) != HWS_OK) {
        hwl_script_give_up(upstream);
        return hwl_options_fail(L, upstream->manager->lua, rc, &why);
    }
    hwl_get_table(L, 1);
    keep(L, 3, lua_gettop(L));
    hwl_script_install(L, upstream, 1);
    if (options.tls != NULL && !options.tls->verify)
        hwl_event_warn_unverified(L, upstream->manager, hws_upstream_name(upstream->core));
    hwl_wait_wake_host(L, upstream->manager->lua);
    lua_pushboolean(L, 1);
    return 1;
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, lua_Number number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, field);
}

static void set_count(lua_State *L, const char *field, uint32_t count)
{
    lua_pushinteger(L, (lua_Integer)count);
    lua_setfield(L, -2, field);
}

/* `kept` is the index of the list of peers as they were given, or of nil. */
static void push_peer(lua_State *L, const hws_peer_view_t *view, size_t index, int kept)
{
    lua_createtable(L, 0, 20);
    set_text(L, "id", view->id);
    set_text(L, "address", view->address);
    if (view->locality != NULL && view->locality[0] != '\0')
        set_text(L, "locality", view->locality);
    set_number(L, "weight", view->weight);
    set_count(L, "priority", view->priority);
    set_count(L, "in_flight", view->in_flight);
    set_count(L, "connections", view->connections);
    set_count(L, "idle", view->idle);
    set_number(L, "answered", (lua_Number)view->answered);
    set_number(L, "latency", hwl_seconds(view->latency));
    set_number(L, "p50", hwl_seconds(view->p50));
    set_number(L, "p99", hwl_seconds(view->p99));
    set_number(L, "success_rate", view->success_rate);
    set_number(L, "score", view->score);
    set_text(L, "state", hws_peer_state_name(view->state));
    set_text(L, "breaker", hws_breaker_state_name(view->breaker));
    set_number(L, "since", hwl_seconds(view->since));
    if (lua_istable(L, kept)) {
        lua_rawgeti(L, kept, (int)index + 1);
        lua_getfield(L, -1, "tags");
        lua_setfield(L, -3, "tags");
        lua_pop(L, 1);
    }
}

/* The bytes of a text, and how to put them at `*place`, which moves behind them. */
static size_t text_size(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static void move_text(const char **text, char **place)
{
    size_t size = text_size(*text);

    if (size == 0)
        return;
    memcpy(*place, *text, size);
    *text = *place;
    *place += size;
}

/* What a copy of all views takes. */
static size_t measure_peers(const hws_upstream_t *core)
{
    size_t count = hws_upstream_peer_count(core);
    size_t size = (count + 1) * sizeof(hws_peer_view_t);
    size_t i;

    for (i = 0; i < count; i++) {
        hws_peer_view_t view;

        hws_upstream_peer(core, i, &view);
        size += text_size(view.id) + text_size(view.address) + text_size(view.locality);
    }
    return size;
}

/* Pushes a copy of all views, as a userdata: the list may change whenever Lua allocates, because a
 * finalizer may update the upstream. That of the copy may, too. */
static const hws_peer_view_t *copy_peers(lua_State *L, const hws_upstream_t *core, size_t *count)
{
    hws_peer_view_t *views;
    size_t size;
    char *place;
    size_t i;

    lua_pushnil(L);
    do {
        lua_pop(L, 1);
        size = measure_peers(core);
        views = hwl_new_userdata(L, size, 0);
    } while (measure_peers(core) > size);
    *count = hws_upstream_peer_count(core);
    place = (char *)(views + *count);
    for (i = 0; i < *count; i++) {
        hws_upstream_peer(core, i, &views[i]);
        move_text(&views[i].id, &place);
        move_text(&views[i].address, &place);
        move_text(&views[i].locality, &place);
    }
    return views;
}

static int peers(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    const hws_peer_view_t *views;
    size_t count;
    size_t i;

    if (!hwl_is_alive(L, upstream))
        return 2;
    if (!is_usable(L, upstream))
        return 2;
    views = copy_peers(L, upstream->core, &count);
    hwl_get_table(L, 1);
    lua_getfield(L, -1, "peers"); /* of the same list: nothing was allocated since */
    lua_createtable(L, (int)count, 0);
    for (i = 0; i < count; i++) {
        push_peer(L, &views[i], i, lua_gettop(L) - 1);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static int stats(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    hws_stats_t figures;

    if (!hwl_is_alive(L, upstream))
        return 2;
    if (!is_usable(L, upstream))
        return 2;
    hws_upstream_stats(upstream->core, &figures);
    hwl_stats_push(L, &figures);
    return 1;
}

static int drain(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);

    if (!hwl_is_alive(L, upstream))
        return 2;
    return hwl_drain(L, upstream->manager->lua, upstream->manager->core, upstream->core);
}

static int close(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);

    if (!hwl_is_alive(L, upstream))
        return 2;
    if (!is_usable(L, upstream))
        return 2;
    lua_settop(L, 1);
    hws_upstream_close(upstream->core);
    hwl_script_close(upstream);
    hwl_get_table(L, 1);
    lua_getfield(L, 2, "manager");
    push_names(L, 3);
    lua_getfield(L, 4, hws_upstream_name(upstream->core));
    if (lua_rawequal(L, 1, -1)) {
        lua_pushnil(L);
        lua_setfield(L, 4, hws_upstream_name(upstream->core));
    }
    hwl_wait_wake_host(L, upstream->manager->lua);
    lua_pushboolean(L, 1);
    return 1;
}

void hwl_define_upstreams(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__gc", collect},
        {"__close", close},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"update", update},
        {"peers", peers},
        {"stats", stats},
        {"drain", drain},
        {"close", close},
        {"acquire", hwl_lease_acquire},
        {"set_policy", hwl_script_set_policy},
        {NULL, NULL},
    };

    hwl_define(L, lua, HWL_UPSTREAM, metamethods, methods);
    hwl_request_define(L, lua, HWL_UPSTREAM);
}
