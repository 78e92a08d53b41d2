/* script.h - decisions of an upstream that the user's own code takes.
 *
 * These functions are called in the midst of the core's work, perhaps from inside an input. They
 * return at once, call nothing of hawser's but the functions in this header, and keep no pointer but
 * those to peers, until these go.
 * What they decide is held against the limits, the breakers, the replay rules, the deadline and the
 * budget: nothing unsafe comes of it. */
#ifndef HAWSER_SCRIPT_H
#define HAWSER_SCRIPT_H

#include <hawser/upstream.h>

typedef struct hws_peer hws_peer_t;

/* What a decision is about. */
typedef struct {
    const hws_upstream_t *upstream;
    hws_slice_t method; /* of a request; empty for a lease, as target and fields are */
    hws_slice_t target;
    hws_slice_t fields;  /* lines, as hws_fields_add() makes them */
    uint8_t priority;    /* of a request */
    uint32_t attempt;    /* the present one, from 1 on */
    hws_time_t deadline; /* of the whole call; HWS_NEVER: none */
    hws_time_t now;
    void *call; /* the core's */
} hws_decision_t;

/* How an attempt ended. */
typedef struct {
    const hws_peer_t *peer; /* NULL: it came to none */
    int code;               /* HWS_ERR_*; HWS_OK: well, or with a response */
    hws_phase_t phase;      /* how far it came */
    uint32_t status;        /* of the response; 0: none */
    hws_time_t latency;     /* from sending on; 0: nothing was sent */
    uint64_t bytes;         /* of the response's body */
    uint32_t attempt;
    hws_time_t retry_after; /* what the response asks for; below 0: nothing */
    bool is_ok;             /* it does not count against the peer, and there is no error */
    bool is_sent;           /* something of it may have reached the peer */
} hws_outcome_t;

#define HWS_PICK_NOBODY (-1)   /* wait in the queue */
#define HWS_PICK_BUILT_IN (-2) /* no opinion: the balancer of the options decides */

#define HWS_DECIDE_STOP (-1)     /* no further attempt */
#define HWS_DECIDE_BUILT_IN (-2) /* no opinion: the retry options decide */

typedef enum { HWS_RECORD_BUILT_IN, HWS_RECORD_CLOSED, HWS_RECORD_OPEN } hws_record_t;

/* Each function may be NULL: then the built-in one decides alone. */
typedef struct {
    void *user;
    /* Which of `count` peers is to serve: its index, or HWS_PICK_*. They are those that limits and
     * breakers would let serve now, of the lowest priority number, without those that were tried
     * already while there are others. */
    int64_t (*pick)(void *user, const hws_decision_t *about, hws_peer_t *const *peers,
                    uint32_t count);
    /* After which delay a failed attempt is followed by another: that, or HWS_DECIDE_*. */
    hws_time_t (*decide)(void *user, const hws_decision_t *about, const hws_outcome_t *outcome);
    /* Whether a closed breaker is to open, for `*open_for` (0, as it comes: the options' time). What
     * happens afterwards is not asked. Not told of what is neutral. */
    hws_record_t (*record)(void *user, const hws_decision_t *about, const hws_outcome_t *outcome,
                           hws_time_t *open_for);
    /* Told of the end of every attempt at a peer, for who counts along. */
    void (*done)(void *user, const hws_decision_t *about, const hws_outcome_t *outcome);
    /* The peer was taken out, its work is finished, and it is freed when this returns. */
    void (*gone)(void *user, hws_peer_t *peer);
} hws_script_t;

/* Takes effect at once, for those who wait in the queue too. NULL: none. What `user` points to must
 * last until the script is replaced or the upstream has gone. */
HWS_API void hws_upstream_set_script(hws_upstream_t *upstream, const hws_script_t *script);

/* One of these functions failed, so that the built-in one decided: counts it, and tells the event
 * policy_error with `kind` as its reason and `message` as its text. */
HWS_API void hws_upstream_policy_failed(hws_upstream_t *upstream, const char *kind,
                                        const char *message);

/* 0 .. n - 1 from the manager's seed; n above 0. */
HWS_API uint32_t hws_decision_random(const hws_decision_t *about, uint32_t n);
/* The id of the `index`-th peer that an attempt of it was made at before, from 0 on; NULL when there
 * are no more. */
HWS_API const char *hws_decision_tried(const hws_decision_t *about, uint32_t index);
HWS_API const char *hws_peer_id(const hws_peer_t *peer);

#endif
