/* lua_error.h - the error table of Lua, made from an hws_error_t. */
#ifndef HWL_LUA_ERROR_H
#define HWL_LUA_ERROR_H

#include "lua_state.h"

/* Pushes the table. */
void hwl_error_push(lua_State *L, const hwl_t *lua, const hws_error_t *error);
/* Pushes nil and the table; returns 2, for `return`. */
int hwl_error_fail(lua_State *L, const hwl_t *lua, const hws_error_t *error);
/* The same from a code. `detail` may be NULL. */
int hwl_error_fail_code(lua_State *L, const hwl_t *lua, int code, const char *detail);
/* For Lua: (fields) -> the same table as an error. */
int hwl_error_new(lua_State *L);
/* An error of `code` in `phase` and nothing else known; `detail` is copied, or NULL. */
hws_error_t hwl_error_make(int code, hws_phase_t phase, const char *detail);

#endif
