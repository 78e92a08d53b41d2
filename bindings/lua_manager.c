#include "lua_manager.h"

#include "lua_duplex.h"
#include "lua_error.h"
#include "lua_event.h"
#include "lua_guard.h"
#include "lua_options.h"
#include "lua_request.h"
#include "lua_script.h"
#include "lua_wait.h"

/* ---- life ---- */

static void free_manager(hws_deferred_t *deferred)
{
    hws_free(HWS_CONTAINER(deferred, hwl_manager_t, idle));
}

/* What the core has still to tell comes before the memory goes. */
void hwl_manager_unhold(hwl_manager_t *manager)
{
    if (--manager->holds > 0)
        return;
    hws_list_remove(&manager->link);
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return;
    hws_list_remove(&manager->idle.link);
    hws_manager_listen(manager->core, 0);
    hws_manager_destroy(manager->core);
    hws_deferred_init(&manager->idle, free_manager);
    hws_loop_defer(manager->lua->loop, &manager->idle);
}

void hwl_managers_destroy(hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->managers)) != NULL) {
        hwl_manager_t *manager = HWS_CONTAINER(link, hwl_manager_t, link);

        manager->holds = 1;
        hwl_manager_unhold(manager);
    }
}

bool hwl_manager_push(lua_State *L, hwl_manager_t *manager)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, manager->lua->handles);
    lua_pushlightuserdata(L, manager);
    lua_rawget(L, -2);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

void hwl_manager_use(lua_State *L, hwl_manager_t *manager)
{
    if (manager->anchor == LUA_NOREF && hwl_manager_push(L, manager))
        manager->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    manager->users++;
}

void hwl_manager_unuse(hwl_manager_t *manager)
{
    if (--manager->users == 0)
        hws_loop_defer(manager->lua->loop, &manager->idle);
}

static void give_anchor_up(hws_deferred_t *deferred)
{
    hwl_manager_t *manager = HWS_CONTAINER(deferred, hwl_manager_t, idle);

    if (manager->users > 0)
        return;
    luaL_unref(manager->lua->turner, LUA_REGISTRYINDEX, manager->anchor);
    manager->anchor = LUA_NOREF;
}

/* The table of a manager's userdata, which lies on top of the stack. */
static void push_table(lua_State *L)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_setfield(L, -2, "upstreams");
    lua_newtable(L);
    lua_setfield(L, -2, "handlers");
    hwl_duplex_push_tables(L);
}

static void read_options(lua_State *L, hws_manager_options_t *options, hwl_tls_t *room,
                         hwl_dns_t *dns)
{
    lua_getfield(L, -1, "max_connections");
    if (!lua_isnil(L, -1))
        options->max_connections = (uint32_t)lua_tonumber(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "pool_timeout");
    if (!lua_isnil(L, -1))
        options->timeouts.idle = hwl_check_span(L, "pool_timeout", -1, 1, true);
    lua_pop(L, 1);
    lua_getfield(L, -1, "metrics");
    options->metrics = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "window_memory");
    if (!lua_isnil(L, -1))
        options->window_memory = (uint64_t)lua_tonumber(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "seed");
    options->has_seed = !lua_isnil(L, -1);
    options->seed = options->has_seed ? (uint64_t)lua_tonumber(L, -1) : 0;
    lua_pop(L, 1);
    hwl_options_limits(L, &options->limits);
    hwl_options_timeouts(L, &options->timeouts);
    hwl_options_reuse(L, &options->reuse);
    hwl_options_retry(L, &options->retry);
    hwl_options_breaker(L, &options->breaker);
    hwl_options_tls(L, room, &options->tls);
    hwl_options_dns(L, dns, &options->dns);
}

static void on_trim(void *user)
{
    const hwl_manager_t *manager = user;

    hwl_memory_trim(manager->lua);
}

/* Makes a manager from the checked options on top of the stack, and pushes it; or nil and why. */
static int make(lua_State *L, hwl_t *lua)
{
    hws_manager_options_t options;
    hwl_tls_t room;
    hwl_dns_t dns;
    hws_error_t why = {.code = HWS_OK};
    hwl_manager_t **handle;
    hwl_manager_t *manager;
    int checked = lua_gettop(L);
    int rc;

    hwl_guard_check_wait(L, lua);
    hwl_loop(L, lua);
    hws_manager_options_init(&options);
    read_options(L, &options, &room, &dns);
    handle = hwl_new(L, lua, HWL_MANAGER, sizeof(*handle), 1);
    *handle = NULL;
    push_table(L);
    lua_getfield(L, checked, "log");
    lua_setfield(L, -2, "log");
    hwl_set_table(L, -2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->handles);

    if ((manager = hws_zalloc(sizeof(*manager))) == NULL)
        return hwl_error_fail_code(L, lua, HWS_ERR_NOMEM, NULL);
    options.on_event = hwl_event_on_event;
    options.on_trim = on_trim;
    options.user = manager;
    if ((rc = hws_manager_create(lua->loop, &options, &manager->core, &why)) != HWS_OK) {
        hws_free(manager);
        return hwl_options_fail(L, lua, rc, &why);
    }
    manager->lua = lua;
    manager->holds = 1;
    manager->anchor = LUA_NOREF;
    hws_deferred_init(&manager->idle, give_anchor_up);
    hws_list_push_back(&lua->managers, &manager->link);
    manager->listening = HWL_EVENTS_LOGGED;
    hws_manager_listen(manager->core, manager->listening);
    *handle = manager;

    lua_pushlightuserdata(L, manager);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    if (options.tls != NULL && !options.tls->verify)
        hwl_event_warn_unverified(L, manager, NULL);
    return 1;
}

int hwl_manager_new(lua_State *L)
{
    hwl_t *lua = hwl_of(L);

    lua_settop(L, 1);
    hwl_options_check(L, lua, HWL_HELPER_CHECK_MANAGER, 1, -1);
    return make(L, lua);
}

void hwl_manager_push_default(lua_State *L, hwl_t *lua)
{
    hwl_loop(L, lua); /* forgets that of a parent process */
    if (lua->default_manager == LUA_NOREF) {
        lua_newtable(L);
        if (make(L, lua) != 1)
            luaL_error(L, "no default manager: out of memory");
        lua_remove(L, -2);
        lua->default_manager = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->default_manager);
}

/* ---- methods ---- */

static int stats(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;
    hws_stats_t figures;

    if (!hwl_is_alive(L, self))
        return 2;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_FORKED, NULL);
    hws_manager_stats(manager->core, &figures);
    hwl_stats_push(L, &figures);
    lua_pushinteger(L, (lua_Integer)hws_manager_max_connections(manager->core));
    lua_setfield(L, -2, "max_connections");
    return 1;
}

static int trim(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;

    if (!hwl_is_alive(L, self))
        return 2;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_FORKED, NULL);
    hws_manager_trim(manager->core);
    lua_pushboolean(L, 1);
    return 1;
}

static int drain(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;

    if (!hwl_is_alive(L, self))
        return 2;
    return hwl_drain(L, manager->lua, manager->core, NULL);
}

static int close(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;

    if (!hwl_is_alive(L, self))
        return 2;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_FORKED, NULL);
    lua_settop(L, 1);
    hwl_get_table(L, 1);
    lua_getfield(L, 2, "upstreams");
    lua_newtable(L);
    lua_setfield(L, 2, "upstreams");
    lua_pushvalue(L, 2);
    hwl_duplex_push_tables(L);
    lua_pop(L, 1);
    hws_manager_close(manager->core);
    for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1))
        hwl_script_close(hwl_test(L, -1, HWL_UPSTREAM));
    hwl_wait_wake_host(L, manager->lua);
    lua_pushboolean(L, 1);
    return 1;
}

/* Users can call this, as they can any finalizer: it must not harm what is in use, nor mind being
 * called again. The collector comes here with users only when the Lua state is being closed, and
 * then hwl_managers_destroy() does it. */
static int collect(lua_State *L)
{
    hwl_manager_t **handle = hwl_test(L, 1, HWL_MANAGER);

    if (handle != NULL && *handle != NULL && (*handle)->users == 0) {
        hwl_manager_unhold(*handle);
        *handle = NULL;
    }
    return 0;
}

void hwl_stats_push(lua_State *L, const hws_stats_t *stats)
{
    lua_createtable(L, 0, 20);
    hwl_stats_add(L, stats);
}

void hwl_stats_add(lua_State *L, const hws_stats_t *stats)
{
    const struct {
        const char *name;
        uint64_t value;
    } figures[] = {
        {"open", stats->open},
        {"idle", stats->idle},
        {"busy", stats->busy},
        {"dialing", stats->dialing},
        {"queued", stats->queued},
        {"queue_max", stats->queue_max},
        {"created", stats->created},
        {"handshakes", stats->handshakes},
        {"resumed", stats->resumed},
        {"reused", stats->reused},
        {"replayed", stats->replayed},
        {"retried", stats->retried},
        {"policy_errors", stats->policy_errors},
        {"retries_refused", stats->refused[HWS_RETRY_BUDGET]},
        {"requests", stats->requests},
        {"ok", stats->ok},
        {"failed", stats->failed},
    };
    size_t i;

    for (i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        lua_pushinteger(L, (lua_Integer)figures[i].value);
        lua_setfield(L, -2, figures[i].name);
    }
    lua_createtable(L, 0, HWS_CLOSE_COUNT);
    for (i = 0; i < HWS_CLOSE_COUNT; i++) {
        lua_pushinteger(L, (lua_Integer)stats->closed[i]);
        lua_setfield(L, -2, hws_close_reason_name((hws_close_reason_t)i));
    }
    lua_setfield(L, -2, "closed");
}

void hwl_define_managers(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__gc", collect},
        {"__close", close},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"upstream", hwl_upstream_of_manager},
        {"on", hwl_event_on},
        {"off", hwl_event_off},
        {"stats", stats},
        {"trim", trim},
        {"drain", drain},
        {"close", close},
        {NULL, NULL},
    };

    hwl_define(L, lua, HWL_MANAGER, metamethods, methods);
    hwl_request_define(L, lua, HWL_MANAGER);
    hwl_define_operations(L, lua);
    hwl_define_metrics(L, lua);
}
