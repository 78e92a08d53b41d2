/* lua_call.h - a call in the callback form: a handle to cancel it by, and a function to end it. */
#ifndef HWL_LUA_CALL_H
#define HWL_LUA_CALL_H

#include "lua_wait.h"

/* Makes one for the function at `callback`. Its handle lies on the stack from then on, and frees it
 * when the function that made it raises before it has begun. */
hwl_wait_t *hwl_call_create(lua_State *L, hwl_t *lua, int callback);
/* From here on it will end once. Raises nothing. */
void hwl_call_begin(hwl_wait_t *wait);
/* Pushes the handle again; in the function that made the call. */
void hwl_call_push_handle(lua_State *L, hwl_wait_t *wait);
/* Keeps the value at `index` alive until the call has ended. */
void hwl_call_anchor(lua_State *L, hwl_wait_t *wait, int index);
/* Calls the function with the results. */
void hwl_call_go_on(hwl_wait_t *wait);
/* Cancels all of a group. */
void hwl_calls_cancel(hwl_t *lua, const hwl_group_t *group);
/* It exists no longer. */
void hwl_calls_forget(hwl_t *lua, const hwl_group_t *group);
/* In a forked child: none will end, and cancelling one does nothing. */
void hwl_calls_forget_all(hwl_t *lua);
/* Gives up all: their Lua state is being closed. */
void hwl_calls_abandon(lua_State *L, hwl_t *lua);

#endif
