/* pool.h - the connections of one peer. It only counts and decides; upstream.c does.
 *
 * `ready` holds those with room, the one used last in front: what is used last is most surely
 * alive, and what is not needed sinks to the end and expires. */
#ifndef HWS_POOL_POOL_H
#define HWS_POOL_POOL_H

#include "base/list.h"

#include <hawser/manager.h>

typedef struct hws_connection hws_connection_t;
typedef struct hws_peer hws_peer_t;

typedef struct {
    hws_peer_t *peer;
    hws_list_t ready;  /* hws_connection_t that could take a stream */
    hws_list_t others; /* full, being set up, or finishing their last stream */
    hws_list_t dials;  /* hws_dial_t */
    uint32_t open;     /* established */
    uint32_t idle;     /* of them ready and without a stream */
    uint32_t dialing;
} hws_pool_t;

typedef enum {
    HWS_POOL_LEASED, /* a connection is there */
    HWS_POOL_DIAL,   /* the pool's own limits allow a dial */
    HWS_POOL_NO_ROOM
} hws_pool_answer_t;

/* What the one who asks accepts. */
typedef struct {
    bool fresh_only; /* no connection that has served before */
    bool careful;    /* may not be sent twice: only what is surely alive */
    hws_reuse_t reuse;
    bool is_lease;
} hws_pool_want_t;

void hws_pool_init(hws_pool_t *pool, hws_peer_t *peer);
void hws_pool_dispose(hws_pool_t *pool);
/* Fills `*out` only for LEASED. Changes nothing: taking room is hws_connection_open()'s. */
hws_pool_answer_t hws_pool_ask(const hws_pool_t *pool, const hws_limits_t *limits,
                               const hws_pool_want_t *want, hws_time_t now, hws_connection_t **out);
/* The idle connection unused for longest, or NULL. */
hws_connection_t *hws_pool_oldest_idle(const hws_pool_t *pool);
/* Asserts the ledger. */
void hws_pool_check(const hws_pool_t *pool);

#endif
