/* pool.h - the connections of one peer. It only counts and decides; dispatch.c does.
 *
 * `ready` holds those with room, the one used last in front: what is used last is most surely
 * alive, and what is not needed sinks to the end and expires. */
#ifndef HWS_POOL_POOL_H
#define HWS_POOL_POOL_H

#include "base/memory.h"
#include "base/random.h"
#include "codec/codec.h"
#include "observe/metrics.h"
#include "pool/outbox.h"

#include <hawser/upstream.h>

typedef struct hws_pool hws_pool_t;
typedef struct hws_pool_owner hws_pool_owner_t;

/* What all pools of a manager share. */
typedef struct {
    hws_loop_t *loop;
    hws_list_t idle;        /* every idle connection, the one used last in front */
    hws_slab_t connections; /* hws_connection_t */
    hws_gather_t gather;    /* what the connections write in one turn of the loop */
    hws_fields_t fields;    /* where heads are parsed, one at a time */
    hws_random_t random;
    hws_window_budget_t windows;
    bool is_crowded; /* there are more connections than may be: what is handed back is closed */
} hws_pools_t;

void hws_pools_init(hws_pools_t *pools, hws_loop_t *loop, uint64_t seed);
/* No connection is left. */
void hws_pools_dispose(hws_pools_t *pools);

/* What an upstream lays down for its pools; read whenever it matters, so it may change. */
typedef struct {
    hws_limits_t limits;
    hws_timeouts_t timeouts;
    hws_reuse_t reuse;
    hws_protocol_t protocol; /* as the user wants it */
    hws_h2_options_t h2;
    void (*free_data)(void *data);
} hws_pool_rules_t;

/* The pools' side of an upstream, which embeds it. */
struct hws_pool_owner {
    hws_pools_t *pools;
    hws_pool_rules_t rules;
    uint32_t connections; /* of all its pools, open and dialling: the hard cap's count */
    bool is_draining;     /* what is handed back is closed */
    /* Room may have appeared, in `pool` alone (NULL: anywhere): the last thing that happens in an
     * input. */
    void (*on_room)(hws_pool_owner_t *owner, hws_pool_t *pool, hws_time_t now);
    /* A connection was closed after it had been idle for `idle_for` (0: it was in use). Its place
     * under the caps is free. */
    void (*on_closed)(hws_pool_owner_t *owner, hws_pool_t *pool, hws_close_reason_t why,
                      hws_time_t idle_for, hws_time_t now);
    /* A connection broke, or was closed, while it was being set up; it is gone. */
    void (*on_setup_lost)(hws_pool_owner_t *owner, void *setup, int code, hws_time_t now);
};

struct hws_pool {
    hws_pool_owner_t *owner;
    hws_list_t ready;      /* hws_connection_t that could take a stream */
    hws_list_t others;     /* full, being set up, or finishing their last stream */
    uint32_t open;         /* established */
    uint32_t idle;         /* of them ready and without a stream */
    uint32_t dialing;      /* not established yet */
    uint32_t joined;       /* calls that wait for these, of which each may serve many */
    uint32_t streams;      /* that a new connection would take: as many as one did of late */
    bool is_open_question; /* whether a connection takes one stream or many only ALPN tells */
    uint32_t in_flight;    /* streams */
    bool is_retired;       /* its peer was removed: what is handed back is closed */
    hws_time_t idle_limit; /* learned from a connection found dead, HWS_NEVER while unknown */
    hws_time_t learned_at;
    hws_time_t
        ping_idle; /* what the peer, which called for calm, made of h2.ping_idle; 0: nothing */
    hws_metrics_t *metrics; /* its own; NULL: nothing is measured, or was used yet */
};

typedef enum {
    HWS_POOL_LEASED, /* a connection is there */
    HWS_POOL_JOIN,   /* a dial is under way that will do for one more */
    HWS_POOL_DIAL,   /* the pool's own limits allow a dial */
    HWS_POOL_NO_ROOM
} hws_pool_answer_t;

/* What the one who asks accepts. */
typedef struct {
    bool fresh_only;        /* no connection that has served before... */
    hws_time_t fresh_since; /* ... or, of those with many streams, that is older */
    bool careful;           /* may not be sent twice: only what is surely alive */
    bool is_lease;
} hws_pool_want_t;

void hws_pool_init(hws_pool_t *pool);
/* Before its first use. `protocol` is what is spoken with its peer, AUTO where ALPN says it. */
void hws_pool_belongs_to(hws_pool_t *pool, hws_pool_owner_t *owner, hws_protocol_t protocol);
void hws_pool_dispose(hws_pool_t *pool);
/* Fills `*out` only for LEASED. Changes nothing: taking room is hws_connection_open()'s. */
hws_pool_answer_t hws_pool_ask(const hws_pool_t *pool, const hws_pool_want_t *want, hws_time_t now,
                               hws_connection_t **out);
/* The idle connection unused for longest, or NULL. */
hws_connection_t *hws_pool_oldest_idle(const hws_pool_t *pool);
/* How long an idle connection may be kept, as far as the peer's behaviour tells. */
hws_time_t hws_pool_idle_limit(const hws_pool_t *pool, hws_time_t now);
/* A connection idle for `age` was found dead. */
void hws_pool_learn(hws_pool_t *pool, hws_time_t age, hws_time_t now);
/* Asserts the ledger. */
void hws_pool_check(const hws_pool_t *pool);

#endif
