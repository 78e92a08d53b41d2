/* lua_manager.h - a manager as Lua holds it.
 *
 * The userdata may be collected while leases and bodies are still in use: it is anchored as long as
 * there are such, so that their events find its functions. Its table holds those: `upstreams` by
 * name, `handlers`, and `log`. */
#ifndef HWL_LUA_MANAGER_H
#define HWL_LUA_MANAGER_H

#include "lua_state.h"

struct hwl_manager {
    hws_list_t link; /* in hwl_t.managers */
    hwl_t *lua;
    hws_manager_t *core;
    uint32_t holds;      /* by the userdata and those of its upstreams */
    uint32_t users;      /* leases and bodies in use */
    int anchor;          /* registry reference of the userdata while there are users */
    hws_deferred_t idle; /* gives the anchor up, after the users' last events were told */
    uint32_t listening;  /* bits of the events that somebody wants, errors aside */
    lua_Integer last_id; /* of a handler */
    bool has_warned;     /* that peers are not verified */
};

/* Ends one: its userdata and all its upstreams' are gone. */
void hwl_manager_unhold(hwl_manager_t *manager);
/* Pushes the userdata; false and nothing pushed when it has been collected. */
bool hwl_manager_push(lua_State *L, hwl_manager_t *manager);
/* A user comes, a user goes. The first anchors the userdata, which may raise for want of memory. */
void hwl_manager_use(lua_State *L, hwl_manager_t *manager);
void hwl_manager_unuse(hwl_manager_t *manager);
/* Destroys all: their Lua state is being closed. */
void hwl_managers_destroy(hwl_t *lua);

/* Pushes a table of the statistics. */
void hwl_stats_push(lua_State *L, const hws_stats_t *stats);
/* The same into the table on top of the stack. */
void hwl_stats_add(lua_State *L, const hws_stats_t *stats);
/* hawser.new */
int hwl_manager_new(lua_State *L);
/* Pushes the default manager, made when there is none yet. */
void hwl_manager_push_default(lua_State *L, hwl_t *lua);

/* In lua_drain.c. Waits for the end of a drain: `upstream` when it is not NULL, else the manager.
 * The time stands at index 2, the callback after it. */
int hwl_drain(lua_State *L, hwl_t *lua, hws_manager_t *manager, hws_upstream_t *upstream);
/* Forgets all: their Lua state is being closed. */
void hwl_drains_abandon(hwl_t *lua);

#endif
