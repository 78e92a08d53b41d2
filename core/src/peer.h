/* peer.h - one address behind an upstream, with its pool. */
#ifndef HWS_PEER_H
#define HWS_PEER_H

#include "io/address.h"
#include "observe/recent.h"
#include "policy/balancer.h"
#include "policy/breaker.h"
#include "policy/score.h"
#include "pool/pool.h"
#include "queue.h"
#include "transport/race.h"
#include "transport/resolve.h"

#include <hawser/upstream.h>

#define HWS_PEER_ADDRESSES 2 /* localhost: 127.0.0.1, then ::1 */

struct hws_peer {
    hws_upstream_t *upstream;
    hws_list_t link; /* in the upstream's set: `list`, or `removed` */
    hws_pool_t pool;
    hws_pool_answer_t answer;  /* the pool's, when it was asked last; only for the pick under way */
    hws_connection_t *offered; /* ... which goes with HWS_POOL_LEASED */
    hws_list_t openings;       /* hws_opening_t */
    hws_lanes_t avoiders;      /* calls in the queue whose last attempt has failed here */
    hws_lanes_t bound;         /* calls in the queue that want no other peer */
    char *id;
    char *authority; /* for Host: "host:port" as given; "localhost" for unix */
    size_t authority_size;
    char *address_text; /* for people */
    char *locality;
    hws_address_t addresses[HWS_PEER_ADDRESSES];
    uint32_t address_count;
    hws_winner_t winner;     /* of the races between them */
    bool is_http;            /* http, https, h2c */
    bool is_secure;          /* https, tls */
    bool is_h2c;             /* h2c */
    hws_protocol_t protocol; /* what is spoken with it; AUTO: what ALPN says, each time, until it
                              * has asked for HTTP1 */
    char *name;              /* to be looked up for addresses, with `port`; NULL: they are known */
    uint16_t port;
    hws_watch_t watch;         /* of the name, while there are connections */
    struct hws_lookup *lookup; /* held for it */
    char *host;                /* of the URL, without brackets: whom a certificate must name */
    hws_candidate_t candidate; /* for balancers: its weight, its load */
    hws_breaker_t breaker;
    hws_timer_t breaker_timer; /* open: when it may be tried again, for who waits */
    hws_score_t score;
    int view;            /* the binding's: where it keeps what policies see of it; 0: nowhere */
    uint32_t holds;      /* calls and attempts that point here */
    uint64_t answered;   /* whole responses */
    hws_recent_t recent; /* their latencies of late, from sending, in us */
    uint64_t opened;     /* how often its breaker did */
    bool has_failed;     /* the last dial */
};

static inline hws_peer_t *hws_peer_of(hws_pool_t *pool)
{
    return HWS_CONTAINER(pool, hws_peer_t, pool);
}

/* From the user's options. HWS_ERR_BAD_URL, HWS_ERR_UNSUPPORTED, HWS_ERR_INVALID
 * with `why->detail`; HWS_ERR_NOMEM. */
int hws_peer_create(const hws_peer_options_t *options, hws_peer_t **out, hws_error_t *why);
static inline hws_peer_t *hws_peer_of_candidate(hws_candidate_t *candidate)
{
    return HWS_CONTAINER(candidate, hws_peer_t, candidate);
}
/* Keeps it until it is released, which counts for one that was removed. */
static inline void hws_peer_hold(hws_peer_t *peer)
{
    peer->holds++;
}
void hws_peer_let_go(hws_peer_t *peer); /* for hws_peer_release(): nobody holds it any more */
static inline void hws_peer_release(hws_peer_t *peer)
{
    if (--peer->holds == 0 && peer->pool.is_retired)
        hws_peer_let_go(peer);
}
/* The peer has a name, and `connection` is a new one to `ip`, where that led. When a newer answer
 * lacks the address, the connection closes or, in use, serves nobody else. */
void hws_peer_follow_name(hws_peer_t *peer, hws_connection_t *connection, const hws_ip_t *ip,
                          hws_time_t now);
/* It wants HTTP/1.1 of a request that came over HTTP/2 (HTTP_1_1_REQUIRED). True: that is what is
 * spoken with it from now on; what it has of other requests goes on. False: HTTP/2 it is, because its
 * user, or its scheme, says so. */
bool hws_peer_turn_to_http1(hws_peer_t *peer, hws_time_t now);
/* Its pool is empty and nobody holds it. NULL is harmless. */
void hws_peer_destroy(hws_peer_t *peer);

#endif
