/* retry.h - whether a request goes again after a try, and when.
 *
 * Three questions in this order, so that a scripted policy can take the place of the second and
 * changes nothing about safety:
 *
 *   hws_retry_may      what nobody can overrule: switched off, unsafe, all tries spent
 *   hws_retry_propose  the built-in policy: is it in `on`, and after which delay
 *   hws_retry_admit    whether any such delay fits the deadline, and then the budget
 *
 * Uncounted replays (API: "Replay") do not come here. Pure but for the budget, from which only a
 * retry that goes is paid. */
#ifndef HWS_POLICY_RETRY_H
#define HWS_POLICY_RETRY_H

#include "policy/backoff.h"
#include "policy/budget.h"
#include "policy/retry_after.h"

/* The kinds after which a request can go again at all, each a bit 1 << hws_kind_t. */
#define HWS_RETRY_KINDS                                                                            \
    (1U << HWS_KIND_RESOLVE | 1U << HWS_KIND_REFUSED | 1U << HWS_KIND_CONNECT |                    \
     1U << HWS_KIND_TIMEOUT | 1U << HWS_KIND_TLS | 1U << HWS_KIND_RESET | 1U << HWS_KIND_OVERLOAD)

/* How a try ended, and how the request stands. */
typedef struct {
    int code;               /* HWS_ERR_*; HWS_OK: a response came */
    hws_phase_t phase;      /* of a failure */
    uint32_t status;        /* of a response */
    uint32_t attempts;      /* charged tries so far, this one included; at least 1 */
    bool is_replayable;     /* nothing of it was sent, or it was but may be sent again; false once
                             * anything was handed out or its producer was asked */
    hws_time_t retry_after; /* of a response; HWS_RETRY_AFTER_NONE */
    hws_time_t left;        /* until the deadline; HWS_NEVER: there is none */
} hws_retry_try_t;

typedef struct {
    hws_retry_reason_t reason;
    hws_time_t delay; /* with GO; with DEADLINE and BUDGET the one that was refused; else 0 */
} hws_retry_verdict_t;

/* Whether a failure of this kind can ever go again, its request being replayable: what is wrong
 * with a certificate or a message stays wrong. */
bool hws_retry_is_retryable(int code);
/* Whether the peer says that it did not look at what was sent. */
bool hws_retry_is_unseen(int code);

/* HWS_RETRY_GO, or OFF, UNSAFE, ATTEMPTS. */
hws_retry_reason_t hws_retry_may(const hws_retry_options_t *options, const hws_retry_try_t *tried);

/* GO with a delay, or NOT_ON. The delay is the backoff's, but not less than Retry-After, which is
 * taken x 1.0 .. 1.5, so that all who were told the same moment do not come in it. */
hws_retry_verdict_t hws_retry_propose(const hws_retry_options_t *options,
                                      const hws_retry_try_t *tried, hws_backoff_t *backoff,
                                      hws_random_t *random);

/* GO, paid from `budget`, or DEADLINE, or BUDGET. A delay that ends at the deadline or later is
 * refused at once. `delay` is 0 or more. */
hws_retry_verdict_t hws_retry_admit(const hws_retry_options_t *options,
                                    const hws_retry_try_t *tried, hws_time_t delay,
                                    hws_budget_t *budget, hws_time_t now);

#endif
