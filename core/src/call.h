/* call.h - what a request and a lease have in common: one use of an upstream, from its place in
 * the queue to the stream on a connection.
 *
 *   WAITING --granted--> RUNNING --ended--> OVER
 *      ^   '--aborted, dial failed, late--^  ^
 *      '-------- goes again, perhaps later --'
 *
 * Each time it waits anew is an attempt. While it stays away until it may try again, it is WAITING
 * without being in the queue.
 *
 * Whoever embeds a call fills `ops`. None of them is called from inside hws_call_seek() but
 * `granted`. */
#ifndef HWS_CALL_H
#define HWS_CALL_H

#include "attempt.h"
#include "codec/codec.h"
#include "io/loop.h"

#include <hawser/upstream.h>

typedef struct hws_call hws_call_t;
typedef struct hws_opening hws_opening_t;

typedef enum { HWS_CALL_WAITING, HWS_CALL_RUNNING, HWS_CALL_OVER } hws_call_state_t;

typedef struct {
    /* A connection of `call->peer` has room for it: begin. */
    void (*granted)(hws_call_t *call, hws_connection_t *connection, hws_time_t now);
    /* The dial that was started for it failed on `call->peer`: go again or end. */
    void (*dial_failed)(hws_call_t *call, int code, hws_phase_t phase, const char *detail,
                        hws_time_t now);
    /* It must end now, whatever its state (but OVER): deadline, cancel, upstream closed. */
    void (*abort)(hws_call_t *call, int code, hws_time_t now);
    /* Its timer fired while RUNNING or OVER. NULL: it sets none then. */
    void (*on_timer)(hws_call_t *call, hws_time_t now);
    /* Fills in the message that it sends. NULL: it sends none. */
    void (*describe)(const hws_call_t *call, hws_decision_t *about);
} hws_call_ops_t;

/* What is known of its failure before somebody asks: an hws_error_t, but for its strings, which few
 * calls need. */
typedef struct {
    int code; /* HWS_OK until it failed */
    hws_phase_t phase;
    uint32_t attempts;
    bool sent;
    bool retryable;
    bool has_retry_in;
    hws_time_t retry_in;
    hws_error_t *told; /* owned: has the strings, and the rest when it is asked for; may be NULL */
} hws_failure_t;

/* What a call needs while it runs comes before what it waits with. */
struct hws_call {
    const hws_call_ops_t *ops;
    hws_upstream_t *upstream; /* held */
    hws_peer_t *peer;         /* held: of the present or last attempt; NULL before the first */
    hws_call_state_t state;
    bool is_replayable;    /* may be sent twice */
    bool is_fresh_only;    /* takes no connection that has served before */
    bool is_lease;         /* any idle connection will do that passes the stale check */
    bool is_uncounted;     /* a setup's or a session's: no call that a user made */
    bool is_out_of_memory; /* no dial could be begun for it */
    bool is_connect_only;  /* needs a connection to be there, not to use it */
    bool is_counted;       /* in the load of its peer */
    bool is_declined;      /* asked last, a script wanted none of those who had room */
    hws_deferred_t deferred;
    hws_stream_t stream;
    hws_list_t link; /* in upstream->calls until it is over */
    hws_attempts_t attempts;
    hws_timer_t timer;
    hws_list_t queue_link;      /* in its lane of upstream->queue while it waits */
    hws_peer_t *bound_to;       /* held: wants no other; NULL: any */
    hws_retry_options_t *retry; /* its own, owned; NULL: the upstream's */
    hws_opening_t *opening;     /* under way for it, and perhaps for others as well; or NULL */
    hws_list_t opening_link;    /* in its calls */
    hws_peer_t *avoid;          /* of the last attempt, which failed; NULL unless it waits */
    uint64_t order;             /* in the queue: who comes first has less */
    uint64_t seen_by;           /* the pass through the queue that came by last */
    hws_time_t deadline;        /* of the whole call */
    hws_time_t queue_left;      /* of timeouts.queue */
    hws_time_t queue_until;     /* when that is over; HWS_NEVER while a dial stops the clock */
    hws_time_t fresh_since;     /* is_fresh_only: nor one with many streams that is older */
    hws_time_t again_at;        /* stays away until then; HWS_NEVER: it does not */
    hws_failure_t error;        /* phase, attempts, sent kept true */
};

void hws_call_init(hws_call_t *call, const hws_call_ops_t *ops, hws_upstream_t *upstream,
                   hws_time_t deadline, hws_time_t now);
/* It wants no other peer; before it seeks. NULL: any. */
void hws_call_bind(hws_call_t *call, hws_peer_t *peer);
/* Begins an attempt and takes a place for it: a connection at once, a dial of its own, or the queue.
 * HWS_OK (it may already be granted), HWS_ERR_QUEUE_FULL, HWS_ERR_NO_PEER, HWS_ERR_BREAKER_OPEN,
 * HWS_ERR_CLOSED, HWS_ERR_NOMEM: then nothing waits. */
int hws_call_seek(hws_call_t *call, hws_time_t now);
/* The queue gives it `connection`, whose pool belongs to `call->peer` from here on. */
void hws_call_grant(hws_call_t *call, hws_connection_t *connection, hws_time_t now);
/* Leaves the queue; its dial goes on for others. */
void hws_call_leave(hws_call_t *call, hws_time_t now);
/* Makes the queue's clock follow `call->opening`: stopped with one, running without. */
void hws_call_clock(hws_call_t *call, hws_time_t now);
/* No longer WAITING or RUNNING: off every list, timer cancelled, counted as ok or failed. */
void hws_call_over(hws_call_t *call);
/* Gives up what it still holds; the call must be over. */
void hws_call_dispose(hws_call_t *call);
/* The attempt is over: failed with `code`, or with HWS_OK ended well, or (`status` not 0) with a
 * response. What it tells of its peer is told to whom it concerns, once. Harmless when it was. */
void hws_call_attempt_over(hws_call_t *call, int code, uint32_t status, hws_time_t now);
/* Whether another attempt follows the one that is over; then the call waits for its time, and is
 * aborted when there is no place for it. `is_replayable`: nothing of it was sent, or all may be
 * sent again, and nobody was given anything of the answer. `retry_after` as of
 * hws_retry_after(). */
bool hws_call_goes_again(hws_call_t *call, bool is_replayable, hws_time_t retry_after,
                         hws_time_t now);
/* Fills `call->error` but for phase, attempts and sent, which it has. Who went again and found nobody
 * to go to, with `code` for that, fails of what made it go again. */
void hws_call_fail(hws_call_t *call, int code, const char *detail, hws_time_t now);
/* All of it, or NULL when it has not failed. It lasts as long as the call, or until the next failure;
 * where there is no memory for it, it says that alone. */
const hws_error_t *hws_call_error(const hws_call_t *call);
/* The present attempt has come to `peer`. */
void hws_call_set_peer(hws_call_t *call, hws_peer_t *peer);
void hws_call_trace(const hws_call_t *call, uint32_t index, hws_trace_t *out);

#endif
