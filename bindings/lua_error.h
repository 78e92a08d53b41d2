/* lua_error.h - the error table of Lua, made from an hws_error_t. */
#ifndef HWL_LUA_ERROR_H
#define HWL_LUA_ERROR_H

#include "lua_state.h"

/* In place of a phase, for what is no call that goes to a peer: `err.phase` is nil then. */
#define HWL_NO_PHASE HWS_PHASE_COUNT

/* Pushes the table. */
void hwl_error_push(lua_State *L, const hwl_t *lua, const hws_error_t *error);
/* Pushes nil and the table; returns 2, for `return`. */
int hwl_error_fail(lua_State *L, const hwl_t *lua, const hws_error_t *error);
/* The same from a code, without a phase. `detail` may be NULL. */
int hwl_error_fail_code(lua_State *L, const hwl_t *lua, int code, const char *detail);
/* For methods of a userdata that begins with a pointer: whether that still points to something. If
 * not, because the userdata was finalized or all of its Lua state is being, pushes nil and why. */
bool hwl_is_alive(lua_State *L, const void *self);
/* For Lua: (fields) -> the same table as an error. */
int hwl_error_new(lua_State *L);
/* An error of `code` in `phase` and nothing else known; `detail` is copied, or NULL. */
hws_error_t hwl_error_make(int code, hws_phase_t phase, const char *detail);

#endif
