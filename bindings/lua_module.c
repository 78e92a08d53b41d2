/* hawser.core: the types and functions in C. hawser/init.lua makes of them what users see. */
#include "base/buffer.h"
#include "lua_call.h"
#include "lua_duplex.h"
#include "lua_error.h"
#include "lua_exchange.h"
#include "lua_guard.h"
#include "lua_lease.h"
#include "lua_request.h"
#include "lua_session.h"
#include "lua_task.h"
#include "lua_testing.h"

#include <signal.h>
#include <string.h>

int luaopen_hawser_core(lua_State *L);

static const luaL_Reg functions[] = {
    {"new", hwl_manager_new},      {"run", hwl_run},
    {"spawn", hwl_task_spawn},     {"sleep", hwl_loop_sleep},
    {"now", hwl_loop_now},         {"pollfd", hwl_loop_pollfd},
    {"timeout", hwl_loop_timeout}, {"step", hwl_loop_step},
    {"yamux", hwl_session_new},    {NULL, NULL},
};

static int set_helper(lua_State *L);

/* For the modules of Lua beside this one. */
static const luaL_Reg internals[] = {
    {"set_helper", set_helper},
    {"call", hwl_task_call},
    {"spawn_awaited", hwl_task_spawn_awaited},
    {"in_task", hwl_task_is_inside},
    {"pcall", hwl_pcall},
    {"connect", hwl_lease_connect},
    {"error", hwl_error_new},
    {"descriptor", hwl_loop_descriptor},
    {"enter", hwl_loop_enter},
    {"is_turning", hwl_loop_is_turning},
    {"is_pending", hwl_loop_is_pending},
    {"is_used", hwl_loop_is_used},
    {"attach", hwl_loop_attach},
    {NULL, NULL},
};

static void (*const definitions[])(lua_State *, hwl_t *) = {
    hwl_define_errors,    hwl_define_tasks,    hwl_define_calls,     hwl_define_managers,
    hwl_define_upstreams, hwl_define_headers,  hwl_define_responses, hwl_define_exchanges,
    hwl_define_conns,     hwl_define_duplexes, hwl_define_sessions,  hwl_define_peer_views,
    hwl_define_scripts,
};

/* (name, function): see HWL_HELPER_LIST. */
static int set_helper(lua_State *L)
{
    static const char *const names[] = {
#define HELPER_NAME(symbol, name) name,
        HWL_HELPER_LIST(HELPER_NAME)
#undef HELPER_NAME
            NULL,
    };
    hwl_t *lua = hwl_of(L);
    int helper = luaL_checkoption(L, 1, NULL, names);

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, lua->helpers[helper]);
    lua->helpers[helper] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* ---- the state ---- */

/* Its address is the key under which the registry anchors the hwl_t. */
static const char key;

hwl_t *hwl_find(lua_State *L)
{
    hwl_t *lua;

    lua_pushlightuserdata(L, (void *)(uintptr_t)&key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return lua;
}

/* Runs when the Lua state is closed, after the finalizers of everything that was made later. */
static int close_state(lua_State *L)
{
    hwl_t *lua = lua_touserdata(L, 1);

    lua->is_closed = true;
    if (lua->loop == NULL || lua->turner != NULL || hws_loop_is_forked(lua->loop)) {
        hwl_places_dispose(&lua->places);
        return 0; /* the last two: the process is about to end in the midst of things */
    }
    lua->turner = L;
    hwl_calls_abandon(L, lua);
    hwl_tasks_abandon(L, lua);
    hwl_drains_abandon(lua);
    hwl_exchanges_destroy(L, lua);
    hwl_duplexes_close(L, lua);
    hwl_sessions_close(lua);
    hwl_leases_close(lua);
    hwl_managers_destroy(lua);
    while (lua->loop->managers > 0 || !hws_list_is_empty(&lua->loop->deferred))
        hws_loop_run(lua->loop, false);
    hws_loop_destroy(lua->loop);
    lua->loop = NULL;
    hws_fields_dispose(&lua->lines);
    hwl_places_dispose(&lua->places);
    /* Else a finalizer started a task, which is collected later or not at all; or this is a forked
     * child, which has those of its parent. */
    if (lua->conn_slab.live == 0)
        hws_slab_dispose(&lua->conn_slab);
    if (lua->task_slab.live == 0)
        hws_slab_dispose(&lua->task_slab);
    return 0;
}

static void init_lists(hwl_t *lua)
{
    hws_list_init(&lua->tasks);
    hws_list_init(&lua->calls);
    hws_list_init(&lua->conns);
    hws_list_init(&lua->exchanges);
    hws_list_init(&lua->duplexes);
    hws_list_init(&lua->sessions);
    hws_list_init(&lua->drains);
    hws_list_init(&lua->managers);
}

static int do_nothing(lua_State *L)
{
    (void)L;
    return 0;
}

static void init_references(lua_State *L, hwl_t *lua)
{
    size_t i;

    for (i = 0; i < HWL_HELPER_COUNT; i++)
        lua->helpers[i] = LUA_NOREF;
    lua->host_arm = lua->host_is_busy = lua->default_manager = LUA_NOREF;

    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua->handles = luaL_ref(L, LUA_REGISTRYINDEX);

    lua->spare = lua_newthread(L);
    luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(L, lua);
    lua_pushcclosure(L, hwl_wait_push_results, 1);
    lua->push_results = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushcfunction(L, do_nothing);
    lua->nothing = luaL_ref(L, LUA_REGISTRYINDEX);

    lua_getglobal(L, "debug");
    lua_getfield(L, -1, "traceback");
    lua->helpers[HWL_HELPER_TRACEBACK] = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
#if LUA_VERSION_NUM == 502
    {
        static const char *const names[] = {"pcall", "xpcall", "dofile"};

        for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            lua_getglobal(L, names[i]);
            lua->transparent[i] = lua_tocfunction(L, -1);
            lua_pop(L, 1);
        }
    }
#endif
}

static hwl_t *create_state(lua_State *L)
{
    hwl_t *lua = hwl_new_userdata(L, sizeof(*lua), 0);
    size_t i;

    memset(lua, 0, sizeof(*lua));
    init_lists(lua);
    lua_newtable(L);
    lua_pushcfunction(L, close_state);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);

    init_references(L, lua);
    hwl_guard_init(L, lua);
    hwl_state_init_finalizers(L, lua);
    for (i = 0; i < sizeof(definitions) / sizeof(definitions[0]); i++)
        definitions[i](L, lua);
    /* Not before it is whole: whoever asks for it again after an error gets a new one. */
    lua_pushlightuserdata(L, (void *)(uintptr_t)&key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return lua;
}

/* A peer that closes early must not end the program, unless the program has its own mind on that. */
static void ignore_sigpipe(void)
{
    struct sigaction action;

    if (sigaction(SIGPIPE, NULL, &action) != 0 || (action.sa_flags & SA_SIGINFO) != 0 ||
        action.sa_handler != SIG_DFL)
        return;
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

static void set_functions(lua_State *L, hwl_t *lua, const luaL_Reg *list)
{
    for (; list->name != NULL; list++) {
        lua_pushlightuserdata(L, lua);
        lua_pushcclosure(L, list->func, 1);
        lua_setfield(L, -2, list->name);
    }
}

/* Everything on top of the stack by its name, for the modules of Lua and for the documentation. */
static void push_types(lua_State *L, const hwl_t *lua)
{
    int type;

    lua_newtable(L);
    for (type = 0; type < HWL_TYPE_COUNT; type++) {
        hwl_push_type(L, lua, (hwl_type_t)type);
        lua_getfield(L, -1, "__name");
        lua_insert(L, -2);
        lua_rawset(L, -3);
    }
}

__attribute__((visibility("default"))) int luaopen_hawser_core(lua_State *L)
{
    hwl_t *lua = hwl_find(L);

    if (lua == NULL) {
        ignore_sigpipe();
        lua = create_state(L);
    }
    lua_newtable(L);
    set_functions(L, lua, functions);
    hwl_request_define_default(L, lua);
    lua_newtable(L);
    set_functions(L, lua, internals);
    hwl_testing_define(L);
    push_types(L, lua);
    lua_setfield(L, -2, "types");
    lua_setfield(L, -2, "internal");
    lua_pushliteral(L, HWS_VERSION);
    lua_setfield(L, -2, "VERSION");
    lua_pushstring(L, hws_tls_engine());
    lua_setfield(L, -2, "TLS");
    return 1;
}
