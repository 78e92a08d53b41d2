/* lua_upstream.h - an upstream as Lua holds it: one userdata each, kept by its manager's. */
#ifndef HWL_LUA_UPSTREAM_H
#define HWL_LUA_UPSTREAM_H

#include "lua_manager.h"

typedef struct {
    hws_upstream_t *core; /* held */
    hwl_manager_t *manager;
} hwl_upstream_t;

/* m:upstream */
int hwl_upstream_of_manager(lua_State *L);

#endif
