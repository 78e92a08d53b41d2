/* backoff.h - how long to wait before the next try.
 *
 * Exponential with jitter (Brooker: Exponential backoff and jitter, AWS Architecture Blog, 2015),
 * as <hawser/retry.h> describes each kind. Decorrelated jitter differs from the article in one
 * point: the upper end is cut to `max` before the draw rather than the result after it, so that
 * delays do not heap up at `max`. */
#ifndef HWS_POLICY_BACKOFF_H
#define HWS_POLICY_BACKOFF_H

#include "base/random.h"

#include <hawser/retry.h>

/* Of one request. Zeroed is the beginning. */
typedef struct {
    hws_time_t last; /* delay given last; for decorrelated jitter */
} hws_backoff_t;

/* The delay before the `attempt`-th retry, 1 or more, without upper limit; 0 .. options->max.
 * `options` have passed hws_retry_options_check(). */
hws_time_t hws_backoff_next(const hws_backoff_options_t *options, hws_backoff_t *backoff,
                            uint32_t attempt, hws_random_t *random);
/* Even over least .. most, both included; most - least is below 2^32 - 1. */
hws_time_t hws_backoff_between(hws_random_t *random, hws_time_t least, hws_time_t most);

#endif
