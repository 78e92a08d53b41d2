/* lua_request.h - get, head, delete, options, post, put, patch and request. */
#ifndef HWL_LUA_REQUEST_H
#define HWL_LUA_REQUEST_H

#include "lua_state.h"

/* Adds them to the methods of a type: HWL_MANAGER, where the first argument is a URL, or
 * HWL_UPSTREAM, where it is a path. */
void hwl_request_define(lua_State *L, hwl_t *lua, hwl_type_t type);
/* Adds them to the table on top of the stack, as functions on the default manager. */
void hwl_request_define_default(lua_State *L, hwl_t *lua);

#endif
