/* peer_set.h - the peers behind one name, and who of them is to serve.
 *
 * Whose turn it is, the balancer says, among those that can do something for the call now; a lower
 * `priority` number goes before every turn, and a peer that the call has not tried before all that
 * it has. A peer that is taken out stays in `removed` until its work is finished. */
#ifndef HWS_PEER_SET_H
#define HWS_PEER_SET_H

#include "call.h"
#include "peer.h"

typedef struct {
    hws_list_t list;       /* hws_peer_t in the user's order */
    hws_list_t removed;    /* peers that finish their work */
    uint32_t count;        /* of `list` */
    hws_lineup_t lineup;   /* the same, as balancers see them; its array is owned */
    hws_peer_t **gathered; /* owned: room for those that a script may choose from */
} hws_peer_set_t;

/* Peers that are in no set yet, and the two arrays of one. */
typedef struct {
    hws_list_t list;
    hws_candidate_t **room;
    hws_peer_t **gathered;
} hws_new_peers_t;

void hws_peer_set_init(hws_peer_set_t *set);
/* Destroys all peers, whose work must be finished. */
void hws_peer_set_dispose(hws_peer_set_t *set);

/* Peers from options; on an error there are none. `*protocol` is what the
 * user wants; where that is AUTO and they are raw, it becomes RAW. HWS_ERR_INVALID and
 * what hws_peer_create() returns, with `why->detail`. */
int hws_new_peers_make(const hws_upstream_options_t *options, hws_new_peers_t *peers,
                       hws_protocol_t *protocol, hws_error_t *why);
void hws_new_peers_dispose(hws_new_peers_t *peers);
/* Puts the peers of `fresh` in place, as `upstream`'s, whose set it is, and leaves `fresh` disposed
 * of. One that is there already keeps its pool and what is known of it; those that are in the new set
 * no more go to `removed`. */
void hws_peer_set_replace(hws_peer_set_t *set, hws_new_peers_t *fresh, hws_upstream_t *upstream,
                          hws_time_t now);
/* Destroys the removed peers that have finished. */
void hws_peer_set_reap(hws_peer_set_t *set);

/* The peer that is to do something for `call` now, or NULL. `*answer` is what its pool said, and
 * `*connection` is filled for HWS_POOL_LEASED. */
hws_peer_t *hws_peer_set_pick(hws_upstream_t *upstream, hws_call_t *call, bool may_dial,
                              hws_time_t now, hws_pool_answer_t *answer,
                              hws_connection_t **connection);
/* What `peer` could do for `call`, whomever that avoids. */
hws_pool_answer_t hws_peer_set_ask(hws_peer_t *peer, const hws_call_t *call, hws_time_t now);
/* Whether a breaker lets `call` hope at all. */
bool hws_peer_set_may_try(hws_upstream_t *upstream, const hws_call_t *call, hws_time_t now);
/* When one may, from now; HWS_NEVER: nobody knows. */
hws_time_t hws_peer_set_retry_in(hws_upstream_t *upstream, const hws_call_t *call, hws_time_t now);
/* The mean latency of all but `peer`, in us; 0: nobody's is known. */
double hws_peer_set_latency_beside(const hws_peer_set_t *set, const hws_peer_t *peer);
/* The idle connection unused for longest, of all but the removed peers, or NULL. */
hws_connection_t *hws_peer_set_oldest_idle(const hws_peer_set_t *set);

#endif
