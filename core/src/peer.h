/* peer.h - one address behind an upstream, with its pool. */
#ifndef HWS_PEER_H
#define HWS_PEER_H

#include "io/address.h"
#include "pool/pool.h"

#include <hawser/upstream.h>

#define HWS_PEER_ADDRESSES 2 /* localhost: 127.0.0.1, then ::1 */

struct hws_peer {
    hws_upstream_t *upstream;
    hws_list_t link; /* in upstream->peers, or upstream->removed */
    hws_pool_t pool;
    char *id;
    char *authority;    /* for Host: "host:port" as given; "localhost" for unix */
    char *address_text; /* for people */
    char *locality;
    hws_address_t addresses[HWS_PEER_ADDRESSES];
    uint32_t address_count;
    bool speaks_http; /* of the scheme; for `auto` */
    double weight;
    double credit; /* of the weighted round robin */
    uint32_t priority;
    uint32_t in_flight;     /* streams */
    uint32_t holds;         /* calls that point here */
    bool is_removed;
    hws_time_t idle_limit;  /* learned from a connection found dead, HWS_NEVER while unknown */
    hws_time_t learned_at;
};

/* From the user's options. HWS_ERR_BAD_URL, HWS_ERR_NAME, HWS_ERR_UNSUPPORTED, HWS_ERR_INVALID
 * with `why->detail`; HWS_ERR_NOMEM. */
int hws_peer_create(const hws_peer_options_t *options, hws_peer_t **out, hws_error_t *why);
/* Its pool is empty and nobody holds it. NULL is harmless. */
void hws_peer_destroy(hws_peer_t *peer);
/* How long an idle connection of it may be kept, as far as the peer's behaviour tells. */
hws_time_t hws_peer_idle_limit(const hws_peer_t *peer, hws_time_t now);
/* A connection idle for `age` was found dead. */
void hws_peer_learn(hws_peer_t *peer, hws_time_t age, hws_time_t now);

#endif
