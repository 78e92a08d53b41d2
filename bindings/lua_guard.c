#include "lua_guard.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#if HWL_IS_LUAJIT
#include <luajit.h>
#endif

#define CHECK_EVERY 1000 /* instructions */
#define MOST_CHECKS 100
#define LONGEST_CALL HWS_MS(1)
#define NOT_BEGUN (-1)

/* ---- the hook ---- */

static void on_count(lua_State *L, lua_Debug *frame);
static void on_call(hwl_t *lua, lua_State *L, lua_Debug *frame);

static void set_hook(lua_State *L, int count)
{
    lua_sethook(L, on_count, LUA_MASKCOUNT | (HWL_IS_LUAJIT ? LUA_MASKCALL : 0), count);
}

/* Its clock begins with the first look: most calls are over before and never read it. */
static bool is_late(const hwl_t *lua, hwl_guarded_t *call)
{
    hws_time_t now;

    if (lua->loop == NULL)
        return false;
    now = hws_loop_now(lua->loop);
    if (call->began == NOT_BEGUN)
        call->began = now;
    return now - call->began >= LONGEST_CALL;
}

/* On PUC Lua coroutines inherit the hook of the thread that makes them: it may come from one that
 * goes on where nothing is guarded, or from one that was left at an instruction each. */
static void on_count(lua_State *L, lua_Debug *frame)
{
    hwl_t *lua = hwl_find(L);
    hwl_guarded_t *call =
        hwl_guard_is_running(lua) ? &lua->guard.calls[lua->guard.entered - 1] : NULL;

    if (frame->event != LUA_HOOKCOUNT) {
        on_call(lua, L, frame);
        return;
    }
    if (call == NULL || !call->is_overrun) {
        if (lua_gethookcount(L) != CHECK_EVERY) {
            set_hook(L, CHECK_EVERY);
            return;
        }
        if (call == NULL)
            return;
        call->checks++;
        call->is_overrun = call->checks > MOST_CHECKS || is_late(lua, call);
        if (!call->is_overrun)
            return;
    }
    set_hook(L, 1);
    luaL_where(L, 0);
    lua_pushliteral(L, "overran: more than 100,000 instructions, or 1 ms");
    lua_concat(L, 2);
    lua_error(L);
}

/* ---- what is one for all threads on LuaJIT ---- */

#if HWL_IS_LUAJIT

/* () */
static int switch_off(lua_State *L)
{
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    return 0;
}

/* Whether the compiler is on only Lua is told: jit.status(). */
static bool switch_compiler_off(hwl_t *lua, lua_State *P)
{
    bool is_on;

    lua_rawgeti(P, LUA_REGISTRYINDEX, lua->guard.jit_status);
    is_on = lua_pcall(P, 0, 1, 0) == LUA_OK && lua_toboolean(P, -1) != 0;
    lua_pop(P, 1);
    if (!is_on)
        return false;
    lua_rawgeti(P, LUA_REGISTRYINDEX, lua->guard.switch_off);
    if (lua_pcall(P, 0, 0, 0) == LUA_OK)
        return true;
    lua_pop(P, 1);
    return false;
}

static void begin(hwl_t *lua, lua_State *P)
{
    hwl_guard_t *guard = &lua->guard;

    if (guard->running++ > 0)
        return;
    guard->hook = lua_gethook(P);
    guard->hook_mask = lua_gethookmask(P);
    guard->hook_count = lua_gethookcount(P);
    guard->is_jit_on = guard->is_jit_off = false;
    set_hook(P, CHECK_EVERY);
}

/* The functions of a policy are never compiled. Before another one runs in it the compiler is switched
 * off: not sooner, because switching it on again makes it forget what it has counted of all loops of the
 * program. */
static void on_call(hwl_t *lua, lua_State *L, lua_Debug *frame)
{
    hwl_guard_t *guard = &lua->guard;
    bool is_known;

    if (guard->is_jit_off || !hwl_guard_is_running(lua))
        return;
    lua_getinfo(L, "f", frame);
    is_known = lua_iscfunction(L, -1) != 0;
    if (!is_known) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, guard->prepared);
        lua_insert(L, -2);
        lua_rawget(L, -2);
        is_known = lua_toboolean(L, -1) != 0;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (is_known)
        return;
    guard->is_jit_off = true;
    guard->is_jit_on = switch_compiler_off(lua, L);
}

static void end(hwl_t *lua, lua_State *P)
{
    hwl_guard_t *guard = &lua->guard;

    if (--guard->running > 0)
        return;
    lua_sethook(P, guard->hook, guard->hook_mask, guard->hook_count);
    if (guard->is_jit_on)
        luaJIT_setmode(P, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
}

static void init_jit(lua_State *L, hwl_t *lua)
{
    lua_pushcfunction(L, switch_off);
    lua->guard.switch_off = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, "jit");
    if (lua_istable(L, -1))
        lua_getfield(L, -1, "status");
    else
        lua_pushnil(L);
    lua->guard.jit_status = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 2);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua->guard.prepared = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Of the function at `index`; NULL: it is none of Lua's. The same for all of one file. */
static const char *source_of(lua_State *L, int index)
{
    lua_Debug about;

    if (!lua_isfunction(L, index) || lua_iscfunction(L, index))
        return NULL;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &about);
    return about.source;
}

/* (function, the table of those that were prepared already): it, and what it uses of its file. */
static void prepare(lua_State *L, int function, int prepared, bool with_locals)
{
    const char *source = source_of(L, function);
    int i;

    lua_pushvalue(L, function);
    lua_rawget(L, prepared);
    if (source == NULL || lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    luaL_checkstack(L, LUA_MINSTACK, "the functions of a policy");
    luaJIT_setmode(L, function, LUAJIT_MODE_ALLFUNC | LUAJIT_MODE_OFF);
    lua_pushvalue(L, function);
    lua_pushboolean(L, 1);
    lua_rawset(L, prepared);
    for (i = 1; with_locals && lua_getupvalue(L, function, i) != NULL; i++) {
        if (source_of(L, lua_gettop(L)) == source)
            prepare(L, lua_gettop(L), prepared, true);
        lua_pop(L, 1);
    }
}

void hwl_guard_prepare(lua_State *L, const hwl_t *lua, int index, bool with_locals)
{
    index = lua_absindex(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->guard.prepared);
    prepare(L, index, lua_gettop(L), with_locals);
    lua_pop(L, 1);
}

#else

/* A policy that has debug.sethook may have taken it away. */
static void begin(hwl_t *lua, lua_State *P)
{
    lua->guard.running++;
    if (lua_gethook(P) != on_count)
        set_hook(P, CHECK_EVERY);
}

static void end(hwl_t *lua, lua_State *P)
{
    lua->guard.running--;
    if (lua->guard.calls[lua->guard.entered - 1].is_overrun)
        set_hook(P, CHECK_EVERY);
}

static void init_jit(lua_State *L, hwl_t *lua)
{
    (void)L;
    (void)lua;
}

static void on_call(hwl_t *lua, lua_State *L, lua_Debug *frame)
{
    (void)lua;
    (void)L;
    (void)frame;
}

void hwl_guard_prepare(lua_State *L, const hwl_t *lua, int index, bool with_locals)
{
    (void)L;
    (void)lua;
    (void)index;
    (void)with_locals;
}

#endif

/* ---- what was raised ---- */

/* (value) -> it as a string */
static int show(lua_State *L)
{
    if (lua_tostring(L, 1) != NULL)
        return 1;
    if (luaL_callmeta(L, 1, "__tostring") == 0 || lua_type(L, -1) != LUA_TSTRING)
        lua_pushfstring(L, "an error that is a %s", luaL_typename(L, 1));
    return 1;
}

static void set_message(hwl_t *lua, const char *text)
{
    size_t size = strcspn(text, "\r\n");

    if (size > HWL_GUARD_MESSAGE_MAX)
        size = HWL_GUARD_MESSAGE_MAX;
    memcpy(lua->guard.message, text, size);
    lua->guard.message[size] = '\0';
}

/* Takes what was raised off the thread. A number is not made a string of in place, nor a table shown,
 * where nothing would catch the error of that. */
static void take_message(hwl_t *lua, lua_State *P)
{
    if (lua_type(P, -1) != LUA_TSTRING) {
        lua_rawgeti(P, LUA_REGISTRYINDEX, lua->guard.show);
        lua_insert(P, -2);
        if (lua_pcall(P, 1, 1, 0) != LUA_OK && lua_type(P, -1) != LUA_TSTRING) {
            set_message(lua, "an error that cannot be shown");
            lua_pop(P, 1);
            return;
        }
    }
    set_message(lua, lua_tostring(P, -1));
    lua_pop(P, 1);
}

/* ---- calls ---- */

void hwl_guard_init(lua_State *L, hwl_t *lua)
{
    size_t i;

    for (i = 0; i < HWL_GUARDED_MOST; i++) {
        lua->guard.calls[i].L = lua_newthread(L);
        if (!HWL_IS_LUAJIT)
            set_hook(lua->guard.calls[i].L, CHECK_EVERY);
        luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_pushcfunction(L, show);
    lua->guard.show = luaL_ref(L, LUA_REGISTRYINDEX);
    init_jit(L, lua);
}

lua_State *hwl_guard_enter(hwl_t *lua)
{
    hwl_guarded_t *call;

    if (lua->guard.entered == HWL_GUARDED_MOST)
        return NULL;
    call = &lua->guard.calls[lua->guard.entered++];
    call->checks = 0;
    call->began = NOT_BEGUN;
    call->is_overrun = false;
    assert(lua_gettop(call->L) == 0);
    return call->L;
}

hwl_guard_status_t hwl_guard_call(hwl_t *lua, int arguments, int results)
{
    hwl_guarded_t *call = &lua->guard.calls[lua->guard.entered - 1];
    lua_State *P = call->L;
    int status;

    begin(lua, P);
    status = lua_pcall(P, arguments, results, 0);
    if (status != LUA_OK)
        take_message(lua, P);
    end(lua, P);
    if (status == LUA_OK)
        return HWL_GUARD_OK;
    return call->is_overrun ? HWL_GUARD_OVERRUN : HWL_GUARD_RAISED;
}

const char *hwl_guard_message(const hwl_t *lua)
{
    return lua->guard.message;
}

void hwl_guard_leave(hwl_t *lua)
{
    hwl_guarded_t *call = &lua->guard.calls[--lua->guard.entered];

    lua_settop(call->L, 0);
    if (!hwl_guard_is_running(lua))
        return;
    call[-1].checks += call->checks;
    if (call->is_overrun) {
        call[-1].is_overrun = true;
        set_hook(call[-1].L, 1);
    }
}

void hwl_guard_check_wait(lua_State *L, const hwl_t *lua)
{
    if (hwl_guard_is_running(lua))
        luaL_error(L, "cannot wait here: a policy answers at once, from its arguments");
}
