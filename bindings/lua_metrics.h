/* lua_metrics.h - what the core has measured, for Lua. */
#ifndef HWL_LUA_METRICS_H
#define HWL_LUA_METRICS_H

#include "lua_manager.h"

/* Pushes a userdata with the names of the upstreams, each ended by a zero byte. */
const char *hwl_upstream_names(lua_State *L, const hws_manager_t *manager, size_t *size);

/* A peer as it stood; of the view's strings there is the id. */
typedef struct {
    hws_peer_view_t view;
    hws_traffic_t traffic;
    char id[HWS_PEER_ID_MAX + 1];
} hwl_peer_snapshot_t;

/* That at `index` of the upstream called `name`; false when there is none. */
bool hwl_upstream_peer(const hws_manager_t *manager, const char *name, size_t index,
                       hwl_peer_snapshot_t *out);

#endif
