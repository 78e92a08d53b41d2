/* The manager's own operations on peers. A peer is found anew whenever Lua may have allocated: a
 * finalizer that ran then may have closed its upstream. */
#include "lua_error.h"
#include "lua_lease.h"
#include "lua_metrics.h"
#include "lua_options.h"
#include "lua_wait.h"

#include <string.h>

/* The manager at index 1, or NULL: then nil and why have been pushed. */
static hwl_manager_t *manager_of(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);

    if (!hwl_is_alive(L, self))
        return NULL;
    if (!hws_loop_is_forked(hws_manager_loop((*self)->core)))
        return *self;
    hwl_error_fail_code(L, (*self)->lua, HWS_ERR_FORKED, NULL);
    return NULL;
}

static hws_slice_t check_name(lua_State *L)
{
    hws_slice_t name;

    if (lua_type(L, 2) != LUA_TSTRING)
        hwl_refuse(L, "the peer", 2, "a string, \"upstream/id\" or its address");
    name.data = lua_tolstring(L, 2, &name.size);
    return name;
}

/* The peer that the string at index 2 names, or NULL: then nil and why have been pushed. */
static hws_peer_t *find(lua_State *L, hwl_manager_t *manager)
{
    hws_slice_t name = check_name(L);
    hws_error_t why = hwl_error_make(HWS_OK, HWL_NO_PHASE, NULL);
    hws_peer_t *peer;
    int rc = hws_manager_find_peer(manager->core, name, &peer, &why);

    if (rc == HWS_OK)
        return peer;
    hwl_error_fail_code(L, manager->lua, rc, why.detail);
    return NULL;
}

/* Manager and peer of a method; false: nil and why have been pushed. */
static bool begin(lua_State *L, hwl_manager_t **manager, hws_peer_t **peer)
{
    *manager = manager_of(L);
    *peer = *manager != NULL ? find(L, *manager) : NULL;
    return *peer != NULL;
}

static int give_true(lua_State *L, hwl_manager_t *manager)
{
    hwl_wait_wake_host(L, manager->lua);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- connections ---- */

static int begin_connect(lua_State *L, bool may_retry)
{
    hwl_manager_t *manager = manager_of(L);

    if (manager == NULL)
        return 2;
    return hwl_lease_connect_peer(L, manager, check_name(L), may_retry, hwl_check_callback(L, 3));
}

static int connect_once(lua_State *L)
{
    return begin_connect(L, false);
}

static int retry_connect(lua_State *L)
{
    return begin_connect(L, true);
}

static int disconnect(lua_State *L)
{
    hwl_manager_t *manager;
    hws_peer_t *peer;

    if (!begin(L, &manager, &peer))
        return 2;
    hws_peer_disconnect(peer);
    return give_true(L, manager);
}

static int connection_count(lua_State *L)
{
    const hwl_manager_t *manager = manager_of(L);
    hws_stats_t stats;

    if (manager == NULL)
        return 2;
    hws_manager_stats(manager->core, &stats);
    lua_pushinteger(L, (lua_Integer)stats.open);
    return 1;
}

static void push_connection(lua_State *L, const hws_connection_info_t *info)
{
    lua_createtable(L, 0, 9);
    lua_pushnumber(L, hwl_seconds(info->age));
    lua_setfield(L, -2, "age");
    lua_pushinteger(L, (lua_Integer)info->exchanges);
    lua_setfield(L, -2, "requests");
    lua_pushinteger(L, (lua_Integer)info->bytes_in);
    lua_setfield(L, -2, "bytes_in");
    lua_pushinteger(L, (lua_Integer)info->bytes_out);
    lua_setfield(L, -2, "bytes_out");
    lua_pushstring(L, info->protocol);
    lua_setfield(L, -2, "protocol");
    lua_pushstring(L, info->tls); /* NULL: nil */
    lua_setfield(L, -2, "tls");
    lua_pushstring(L, info->cipher);
    lua_setfield(L, -2, "cipher");
    if (info->rtt > 0) {
        lua_pushnumber(L, hwl_seconds(info->rtt));
        lua_setfield(L, -2, "rtt");
    }
    lua_pushboolean(L, info->is_idle);
    lua_setfield(L, -2, "idle");
}

static int get_connection_info(lua_State *L)
{
    hwl_manager_t *manager;
    hws_peer_t *peer;
    hws_connection_info_t *infos;
    size_t capacity;
    size_t count;
    size_t i;

    if (!begin(L, &manager, &peer))
        return 2;
    capacity = hws_peer_connections(peer, NULL, 0);
    infos = hwl_new_userdata(L, (capacity + 1) * sizeof(*infos), 0);
    if ((peer = find(L, manager)) == NULL)
        return 2;
    count = hws_peer_connections(peer, infos, capacity);
    if (count > capacity)
        count = capacity; /* more are there since */
    lua_createtable(L, (int)count, 0);
    for (i = 0; i < count; i++) {
        push_connection(L, &infos[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

/* ---- how a peer is ---- */

static int get_status(lua_State *L)
{
    hwl_manager_t *manager;
    hws_peer_t *peer;

    if (!begin(L, &manager, &peer))
        return 2;
    lua_pushstring(L, hws_link_name(hws_peer_status(peer)));
    return 1;
}

static int get_quality_score(lua_State *L)
{
    hwl_manager_t *manager;
    hws_peer_t *peer;
    hws_peer_view_t view;

    if (!begin(L, &manager, &peer))
        return 2;
    hws_peer_view(peer, &view);
    lua_pushnumber(L, view.score);
    return 1;
}

static int get_circuit_breaker_state(lua_State *L)
{
    hwl_manager_t *manager;
    hws_peer_t *peer;
    hws_peer_view_t view;

    if (!begin(L, &manager, &peer))
        return 2;
    hws_peer_view(peer, &view);
    lua_pushstring(L, hws_breaker_state_name(view.breaker));
    return 1;
}

/* Adds the peers of an upstream to the list on top of the stack, which has `count`. */
static int add_healthy(lua_State *L, const hws_manager_t *manager, const char *name, int count)
{
    hwl_peer_snapshot_t peer;
    size_t i;

    for (i = 0; hwl_upstream_peer(manager, name, i, &peer); i++) {
        const hws_peer_view_t *view = &peer.view;

        if (view->state != HWS_PEER_HEALTHY || view->breaker != HWS_BREAKER_CLOSED ||
            view->open == 0)
            continue;
        lua_createtable(L, 0, 2);
        lua_pushfstring(L, "%s/%s", name, peer.id);
        lua_setfield(L, -2, "peer");
        lua_pushnumber(L, view->score);
        lua_setfield(L, -2, "score");
        lua_rawseti(L, -2, ++count);
    }
    return count;
}

static int get_healthy_connections(lua_State *L)
{
    const hwl_manager_t *manager = manager_of(L);
    const char *names;
    const char *name;
    size_t size;
    int count = 0;

    if (manager == NULL)
        return 2;
    names = hwl_upstream_names(L, manager->core, &size);
    lua_newtable(L);
    for (name = names; name < names + size; name += strlen(name) + 1)
        count = add_healthy(L, manager->core, name, count);
    hwl_push_helper(L, manager->lua, HWL_HELPER_BEST_FIRST);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    return 1;
}

/* ---- what is said of it, and ordered ---- */

static hws_link_t check_status(lua_State *L)
{
    int status;

    for (status = 0; lua_type(L, 3) == LUA_TSTRING && status < HWS_LINK_COUNT; status++)
        if (strcmp(lua_tostring(L, 3), hws_link_name((hws_link_t)status)) == 0)
            return (hws_link_t)status;
    hwl_refuse(L, "the status", 3,
               "\"connecting\", \"connected\", \"disconnecting\", \"disconnected\" or \"failed\"");
    return HWS_LINK_COUNT;
}

/* Details at index 4, where nil may be. */
static void read_details(lua_State *L, const hwl_t *lua, hws_observation_t *seen)
{
    if (lua_isnoneornil(L, 4))
        return;
    hwl_options_check(L, lua, HWL_HELPER_CHECK_DETAILS, 4, -1);
    lua_getfield(L, -1, "response_time");
    /* What was too short to be measured is still an observation. */
    if (!lua_isnil(L, -1) && (seen->response_time = (hws_time_t)(lua_tonumber(L, -1) * 1e6)) == 0)
        seen->response_time = 1;
    lua_getfield(L, -2, "bytes");
    seen->bytes = (uint64_t)lua_tonumber(L, -1);
}

static int update_status(lua_State *L)
{
    hwl_manager_t *manager = manager_of(L);
    hws_observation_t seen = {.response_time = 0};
    hws_peer_t *peer;

    if (manager == NULL)
        return 2;
    check_name(L);
    seen.status = check_status(L);
    read_details(L, manager->lua, &seen);
    if ((peer = find(L, manager)) == NULL)
        return 2;
    hws_peer_observe(peer, &seen);
    return give_true(L, manager);
}

static hws_breaker_force_t check_force(lua_State *L)
{
    int force;

    if (lua_isnoneornil(L, 3))
        return HWS_FORCE_NONE;
    for (force = HWS_FORCE_OPEN; lua_type(L, 3) == LUA_TSTRING && force < HWS_FORCE_COUNT; force++)
        if (strcmp(lua_tostring(L, 3), hws_breaker_force_name((hws_breaker_force_t)force)) == 0)
            return (hws_breaker_force_t)force;
    hwl_refuse(L, "what the breaker is to be", 3, "\"open\", \"closed\", \"disabled\" or nil");
    return HWS_FORCE_NONE;
}

static int force_breaker(lua_State *L)
{
    hwl_manager_t *manager = manager_of(L);
    hws_breaker_force_t force;
    hws_peer_t *peer;

    if (manager == NULL)
        return 2;
    force = check_force(L);
    if ((peer = find(L, manager)) == NULL)
        return 2;
    hws_peer_force_breaker(peer, force);
    return give_true(L, manager);
}

/* ---- limits ---- */

static int set_connection_limits(lua_State *L)
{
    hwl_manager_t *manager = manager_of(L);
    hws_error_t why = {.code = HWS_OK};
    hws_limits_t limits;
    uint32_t max_connections;
    int rc;

    if (manager == NULL)
        return 2;
    lua_settop(L, 2);
    hwl_options_check(L, manager->lua, HWL_HELPER_CHECK_LIMITS, 2, -1);
    hws_manager_limits(manager->core, &limits);
    max_connections = hws_manager_max_connections(manager->core);
    lua_getfield(L, -1, "max_connections");
    if (!lua_isnil(L, -1))
        max_connections = (uint32_t)lua_tonumber(L, -1);
    lua_pop(L, 1);
    hwl_options_limits(L, &limits);
    rc = hws_manager_set_limits(manager->core, max_connections, &limits, &why);
    if (rc != HWS_OK)
        return hwl_options_fail(L, manager->lua, rc, &why);
    return give_true(L, manager);
}

static int get_connection_limits(lua_State *L)
{
    const hwl_manager_t *manager = manager_of(L);
    hws_limits_t limits;
    size_t i;

    if (manager == NULL)
        return 2;
    hws_manager_limits(manager->core, &limits);
    {
        const struct {
            const char *name;
            size_t value;
        } fields[] = {
            {"max_connections", hws_manager_max_connections(manager->core)},
            {"connections", limits.connections},
            {"per_peer", limits.per_peer},
            {"dials", limits.dials},
            {"pending", limits.pending},
            {"streams", limits.streams},
            {"header", limits.header},
            {"body", limits.body},
            {"buffer", limits.buffer},
        };

        lua_createtable(L, 0, sizeof(fields) / sizeof(fields[0]));
        for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
            lua_pushinteger(L, (lua_Integer)fields[i].value);
            lua_setfield(L, -2, fields[i].name);
        }
    }
    return 1;
}

void hwl_define_operations(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg methods[] = {
        {"connect", connect_once},
        {"retry_connect", retry_connect},
        {"disconnect", disconnect},
        {"update_status", update_status},
        {"connection_count", connection_count},
        {"get_status", get_status},
        {"get_connection_info", get_connection_info},
        {"get_quality_score", get_quality_score},
        {"get_circuit_breaker_state", get_circuit_breaker_state},
        {"get_healthy_connections", get_healthy_connections},
        {"force_breaker", force_breaker},
        {"set_connection_limits", set_connection_limits},
        {"get_connection_limits", get_connection_limits},
        {NULL, NULL},
    };

    hwl_add_methods(L, lua, HWL_MANAGER, methods);
}
