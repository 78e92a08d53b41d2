/* lua_upstream.h - an upstream as Lua holds it: one userdata each, kept by its manager's. */
#ifndef HWL_LUA_UPSTREAM_H
#define HWL_LUA_UPSTREAM_H

#include "lua_manager.h"

typedef struct hwl_script hwl_script_t;

typedef struct {
    hws_upstream_t *core; /* held */
    hwl_manager_t *manager;
    hwl_script_t *script; /* its scripted policies; NULL while there were none */
} hwl_upstream_t;

/* Takes over what the checked options at `checked` say of balancer, retry and breaker, where it is no
 * scripted policy. */
void hwl_upstream_read_policies(lua_State *L, int checked, hws_upstream_options_t *options);
/* m:upstream */
int hwl_upstream_of_manager(lua_State *L);

#endif
