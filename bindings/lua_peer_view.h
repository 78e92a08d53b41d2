/* lua_peer_view.h - a peer as policies see it: a userdata whose fields are read when they are asked for.
 *
 * One is made for each peer of an upstream and kept as long as the peer. Reading a number allocates
 * nothing. It may outlive its peer: what is kept with the view (HWL_PEER_FIXED) can still be read then,
 * everything else is nil. */
#ifndef HWL_LUA_PEER_VIEW_H
#define HWL_LUA_PEER_VIEW_H

#include "lua_state.h"

/* X(symbol, name, class). FIXED: a value kept with the view, of any type. NUMBER: read anew each
 * time. STATE, BREAKER: likewise, a word of HWL_PEER_STATE_LIST or HWL_PEER_BREAKER_LIST. */
#define HWL_PEER_FIELD_LIST(X)                                                                     \
    X(ID, "id", FIXED)                                                                             \
    X(ADDRESS, "address", FIXED)                                                                   \
    X(LOCALITY, "locality", FIXED)                                                                 \
    X(TAGS, "tags", FIXED)                                                                         \
    X(WEIGHT, "weight", NUMBER)                                                                    \
    X(IN_FLIGHT, "in_flight", NUMBER)                                                              \
    X(CONNECTIONS, "connections", NUMBER)                                                          \
    X(IDLE, "idle", NUMBER)                                                                        \
    X(LATENCY, "latency", NUMBER)           /* seconds */                                          \
    X(P99, "p99", NUMBER)                   /* seconds */                                          \
    X(SUCCESS_RATE, "success_rate", NUMBER) /* 0..1 */                                             \
    X(SCORE, "score", NUMBER)               /* 0..1 */                                             \
    X(SINCE, "since", NUMBER)               /* seconds of hawser.now() */                          \
    X(STATE, "state", STATE)                                                                       \
    X(BREAKER, "breaker", BREAKER)

#define HWL_PEER_FIELD_ENUM(symbol, name, class) HWL_PEER_##symbol,
typedef enum { HWL_PEER_FIELD_LIST(HWL_PEER_FIELD_ENUM) HWL_PEER_FIELD_COUNT } hwl_peer_field_t;
#undef HWL_PEER_FIELD_ENUM

/* In the order of the numbers that `read` gives for them, from 0. */
#define HWL_PEER_STATE_LIST "healthy", "unhealthy", "draining"
#define HWL_PEER_BREAKER_LIST "closed", "open", "half_open"

/* Gives the field of a peer that is not FIXED; for STATE and BREAKER the place of the word in its
 * list. NaN stands for nil: not known yet. Calls no Lua. */
typedef double (*hwl_peer_read_t)(const void *peer, hwl_peer_field_t field);

typedef struct {
    const void *peer; /* NULL: it has gone */
    hwl_peer_read_t read;
} hwl_peer_view_t;

/* Replaces the table on top of the stack, which has the FIXED fields by their names and is kept, by a
 * view of `peer`. */
hwl_peer_view_t *hwl_peer_view_new(lua_State *L, hwl_t *lua, const void *peer,
                                   hwl_peer_read_t read);
/* The peer has gone. */
static inline void hwl_peer_view_forget(hwl_peer_view_t *view)
{
    view->peer = NULL;
}
/* The peer of the view at `index`; NULL when it has gone, or when that is no view. For what `pick`
 * returned: that it is one of this upstream's, the caller checks. */
const void *hwl_peer_view_peer(lua_State *L, int index);

#endif
