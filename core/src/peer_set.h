/* peer_set.h - the peers behind one name, and whose turn it is.
 *
 * A round robin over those that can do something for a call, by weight where weights differ; a
 * lower `priority` number goes before every turn. A peer that is taken out stays in `removed` until
 * its work is finished. */
#ifndef HWS_PEER_SET_H
#define HWS_PEER_SET_H

#include "call.h"
#include "peer.h"

typedef struct {
    hws_list_t list;    /* hws_peer_t in the user's order */
    hws_list_t removed; /* peers that finish their work */
    uint32_t count;     /* of `list` */
    hws_peer_t *cursor; /* whom the round robin served last */
    bool has_weights;   /* they differ in weight */
    bool has_priorities;
} hws_peer_set_t;

void hws_peer_set_init(hws_peer_set_t *set);
/* Destroys all peers, whose work must be finished. */
void hws_peer_set_dispose(hws_peer_set_t *set);

/* Peers from options, onto the empty list `peers`; on an error there are none. `*is_raw` is what
 * they speak. HWS_ERR_INVALID and what hws_peer_create() returns, with `why->detail`. */
int hws_peer_set_make(const hws_upstream_options_t *options, hws_list_t *peers, bool *is_raw,
                      hws_error_t *why);
void hws_peer_set_destroy(hws_list_t *peers);
/* Puts the peers of `fresh` in place, as `upstream`'s. One that is there already keeps its pool and
 * what is known of it; those that are in the new set no more go to `removed`. */
void hws_peer_set_replace(hws_peer_set_t *set, hws_list_t *fresh, hws_upstream_t *upstream);
/* Destroys the removed peers that have finished. */
void hws_peer_set_reap(hws_peer_set_t *set);

/* One round: the peer that can do something for `call` now and whose turn it is, or NULL.
 * `call->avoid` counts only while there is another. `*answer` is what its pool said, and
 * `*connection` is filled for HWS_POOL_LEASED. */
hws_peer_t *hws_peer_set_pick(hws_peer_set_t *set, const hws_call_t *call, bool may_dial,
                              hws_time_t now, hws_pool_answer_t *answer,
                              hws_connection_t **connection);
/* Makes it `peer`'s turn, which is not removed. */
void hws_peer_set_turn_to(hws_peer_set_t *set, hws_peer_t *peer);
/* The idle connection unused for longest, of all but the removed peers, or NULL. */
hws_connection_t *hws_peer_set_oldest_idle(const hws_peer_set_t *set);

#endif
