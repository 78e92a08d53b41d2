/* attempt.h - the tries of one call: at whom each was made, how its time was spent, how it ended. */
#ifndef HWS_ATTEMPT_H
#define HWS_ATTEMPT_H

#include "policy/breaker.h"
#include "policy/retry.h"

#include <hawser/manager.h>
#include <hawser/script.h>

typedef struct {
    hws_peer_t *peer;    /* held; NULL: it came to none */
    hws_time_t since;    /* when the present phase began */
    hws_permit_t permit; /* of the peer's breaker */
    hws_phase_t phase;
    int code;                   /* how it ended; HWS_OK: well, or with a response */
    uint32_t status;            /* of the response; 0: none */
    hws_retry_reason_t verdict; /* whether another followed, and if not, why */
    bool is_judged;             /* whether another follows was asked */
    bool is_retry;              /* follows a failed one, counted */
    bool had_turn;              /* it has come to a connection or a dial */
    bool is_reused;             /* on a connection that had served before */
    bool is_stale;              /* ... and was dead: what followed was not counted */
    bool is_unseen;             /* its peer did not look at it, or wants it over HTTP/1.1: what
                                 * followed was not counted */
    bool is_reported;           /* its peer's breaker and score know already */
    bool is_over;
    hws_time_t age;                    /* how long its connection had been idle */
    hws_time_t spans[HWS_PHASE_COUNT]; /* spent so far in each phase */
    uint64_t bytes;                    /* of the response's body */
} hws_attempt_t;

/* Zeroed is valid: none yet. */
typedef struct {
    hws_attempt_t first;
    hws_attempt_t *more; /* all behind the first, owned; NULL while there are none */
    uint32_t count;
    uint32_t charged; /* of them, those that retry.attempts counts */
    hws_backoff_t backoff;
} hws_attempts_t;

/* The next one begins: it looks for a connection. NULL when there is no memory for it. */
hws_attempt_t *hws_attempts_begin(hws_attempts_t *attempts, hws_time_t now);
/* The present or last one; there is one. */
static inline hws_attempt_t *hws_attempts_last(hws_attempts_t *attempts)
{
    return attempts->count < 2 ? &attempts->first : &attempts->more[attempts->count - 2];
}
hws_attempt_t *hws_attempts_at(hws_attempts_t *attempts, uint32_t index);
/* Whether one that is over was made at `peer`. */
bool hws_attempts_include(hws_attempts_t *attempts, const hws_peer_t *peer);

/* From sending on; 0: nothing was sent. */
static inline hws_time_t hws_attempt_latency(const hws_attempt_t *attempt)
{
    return attempt->spans[HWS_PHASE_SEND] + attempt->spans[HWS_PHASE_HEADERS] +
           attempt->spans[HWS_PHASE_BODY];
}

/* The next phase begins. */
static inline void hws_attempt_enter(hws_attempt_t *attempt, hws_phase_t phase, hws_time_t now)
{
    attempt->spans[attempt->phase] += now - attempt->since;
    attempt->since = now;
    attempt->phase = phase;
}

#endif
