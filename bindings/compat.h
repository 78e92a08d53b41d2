/* compat.h - what differs between Lua 5.1, 5.2, 5.3, 5.4 and LuaJIT, and nothing else. */
#ifndef HWL_COMPAT_H
#define HWL_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdbool.h>

#if LUA_VERSION_NUM == 501 && defined(LUA_LJDIR)
#define HWL_IS_LUAJIT 1
#else
#define HWL_IS_LUAJIT 0
#endif

/* PUC Lua 5.1: a coroutine cannot yield through pcall, metamethods and iterators. */
#define HWL_IS_LUA51 (LUA_VERSION_NUM == 501 && !HWL_IS_LUAJIT)

/* There a C function that yields cannot be the first one of a coroutine: none is left to return to. */
#define HWL_NEEDS_LUA_BELOW (LUA_VERSION_NUM == 501)

/* There a C function may go on after a yield. (Lua 5.2 names the one that does another way.) */
#define HWL_HAS_CONTINUATIONS (LUA_VERSION_NUM >= 503)

/* Where a userdata keeps values of its own and the collector handles many with little effort, a
 * response is a userdata; elsewhere a table (see lua_response.c). */
#define HWL_HAS_USER_VALUES (LUA_VERSION_NUM >= 504)

#ifndef LUA_OK
#define LUA_OK 0
#endif

/* LuaJIT notes which thread is running when one enters its interpreter and when a C function returns
 * to that, but before September 2023 not when a C function raises after others have run: then compiled
 * code would go on with the stack of the wrong thread (LuaJIT#1066). Entering once more sets that
 * right; elsewhere this does nothing. */
void hwl_note_thread(lua_State *L);

#if HWL_IS_LUAJIT
#define lua_error(L) (hwl_note_thread(L), lua_error(L))
#define luaL_error(L, ...) (hwl_note_thread(L), luaL_error(L, __VA_ARGS__))
#endif

#if LUA_VERSION_NUM == 501
#define lua_rawlen lua_objlen

static inline int lua_absindex(lua_State *L, int index)
{
    return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}
#endif

/* Starts or continues `thread` with the `arguments` on its stack; `*count` results lie on top of it
 * afterwards, or one error value. */
static inline int hwl_resume(lua_State *thread, lua_State *from, int arguments, int *count)
{
    int status;

#if LUA_VERSION_NUM >= 504
    status = lua_resume(thread, from, arguments, count);
#else
#if LUA_VERSION_NUM >= 502
    status = lua_resume(thread, from, arguments);
#else
    (void)from;
    status = lua_resume(thread, arguments);
#endif
    *count = lua_gettop(thread);
#endif
    return status;
}

/* Yields so that whatever lies on the stack of the calling C function stays alive until it is
 * resumed. LuaJIT drops what is not yielded. */
static inline int hwl_yield(lua_State *L)
{
    return lua_yield(L, HWL_IS_LUAJIT ? lua_gettop(L) : 0);
}

/* Makes a coroutine that ended with an error usable again, after closing its pending variables;
 * false when this Lua cannot. */
static inline bool hwl_reset_thread(lua_State *thread)
{
#if LUA_VERSION_NUM >= 504
    lua_resetthread(thread);
    lua_settop(thread, 0);
    return true;
#else
    (void)thread;
    return false;
#endif
}

/* A userdata with room for `values` user values where there are such, else with one table. */
static inline void *hwl_new_userdata(lua_State *L, size_t size, int values)
{
#if LUA_VERSION_NUM >= 504
    return lua_newuserdatauv(L, size, values);
#else
    (void)values;
    return lua_newuserdata(L, size);
#endif
}

/* The table that belongs to the userdata at `index`: pops it off the stack, or pushes it. */
static inline void hwl_set_table(lua_State *L, int index)
{
#if LUA_VERSION_NUM >= 504
    lua_setiuservalue(L, index, 1);
#elif LUA_VERSION_NUM >= 502
    lua_setuservalue(L, index);
#else
    lua_setfenv(L, index);
#endif
}

static inline void hwl_get_table(lua_State *L, int index)
{
#if LUA_VERSION_NUM >= 504
    lua_getiuservalue(L, index, 1);
#elif LUA_VERSION_NUM >= 502
    lua_getuservalue(L, index);
#else
    lua_getfenv(L, index);
#endif
}

#endif
