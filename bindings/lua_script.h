/* lua_script.h - the scripted policies of an upstream, between the core, which asks (<hawser/script.h>),
 * and Lua (lua_policy.h).
 *
 * What a policy is given exists before it is asked, because the core asks in the midst of its work,
 * where nothing may be allocated: a view for each peer, one list of them, and one userdata each for
 * what is decided about and for how it ended. These two say something only while the policy runs. */
#ifndef HWL_LUA_SCRIPT_H
#define HWL_LUA_SCRIPT_H

#include "lua_policy.h"
#include "lua_upstream.h"

/* Makes what the checked options at `checked` say of policies, before the core is told of the rest;
 * hwl_script_install() is to put it in place, or hwl_script_give_up() to drop it. Raises when one
 * cannot be made; until the next of these calls who waits goes on waiting, and else the built-in ones
 * decide. */
void hwl_script_prepare(lua_State *L, hwl_upstream_t *upstream, int checked);
/* Puts in place what was made, and shows the policies the peers, which may have changed. The upstream's
 * userdata lies at `index`. Never raises. */
void hwl_script_install(lua_State *L, hwl_upstream_t *upstream, int index);
/* The core has refused the rest: what was there stays. */
void hwl_script_give_up(hwl_upstream_t *upstream);
/* The upstream was closed: the policies end. */
void hwl_script_close(hwl_upstream_t *upstream);
/* It is being collected: they end at the next rest. In a forked child they are not told. */
void hwl_script_collect(hwl_upstream_t *upstream);
/* api:set_policy(kind, policy) */
int hwl_script_set_policy(lua_State *L);

#endif
