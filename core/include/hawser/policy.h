/* policy.h - how an upstream picks its peers, and when it gives one a rest. */
#ifndef HAWSER_POLICY_H
#define HAWSER_POLICY_H

#include <hawser/error.h>

/* ---- balancers ---- */

/* X(symbol, word) */
#define HWS_BALANCER_LIST(X)                                                                       \
    X(ROUND_ROBIN, "round_robin")     /* in turn, whatever their weights */                        \
    X(WEIGHTED, "weighted")           /* in turn, smoothly by weight */                            \
    X(RANDOM, "random")               /* by chance and weight */                                   \
    X(LEAST_REQUEST, "least_request") /* the one of two with less to do for its weight */          \
    X(PEAK_EWMA, "peak_ewma")         /* the one of two that should answer sooner */

#define HWS_BALANCER_ENUM(symbol, word) HWS_BALANCER_##symbol,
typedef enum { HWS_BALANCER_LIST(HWS_BALANCER_ENUM) HWS_BALANCER_COUNT } hws_balancer_t;
#undef HWS_BALANCER_ENUM

HWS_API const char *hws_balancer_name(hws_balancer_t balancer);

/* ---- breakers ---- */

/* When a peer's breaker opens, and for how long. It opens on either of the first two rules, and on
 * the third where `slow_after` is set. */
typedef struct {
    bool is_disabled;     /* lets everything pass and counts nothing */
    uint32_t consecutive; /* 5: failures in a row; 0: not by that */
    double failure_rate;  /* 0.5: of the calls in the window, at most 1; 0: not by that */
    uint32_t min_calls;   /* 20: in the window, below which no rate means anything; at least 1 */
    /* 10 s: from 1 ms to a day. It slides by tenths: a rate is of the calls in the last nine tenths
     * and in the one under way. */
    hws_time_t window;
    hws_time_t slow_after; /* HWS_NEVER: calls that take longer are slow; not below 0 */
    double slow_rate;      /* 1: of the calls in the window, above 0 and at most 1 */
    /* 5 s: how long it is open the first time; doubled each time that a trial fails. Up to a tenth
     * of it is taken off by chance, so that many clients do not come back at once. At least 1 ms;
     * HWS_NEVER: until somebody closes it. */
    hws_time_t open_for;
    hws_time_t open_max; /* 60 s: never longer than that; at least `open_for` */
    uint32_t probes;     /* 3: trials at once, and the successes that close it; at least 1 */
} hws_breaker_options_t;

/* The defaults that stand in the comments above. */
HWS_API void hws_breaker_options_init(hws_breaker_options_t *options);

/* X(symbol, word) */
#define HWS_BREAKER_STATE_LIST(X)                                                                  \
    X(CLOSED, "closed")       /* calls pass, and are counted */                                    \
    X(OPEN, "open")           /* none passes */                                                    \
    X(HALF_OPEN, "half_open") /* a few pass, on trial */

#define HWS_BREAKER_ENUM(symbol, word) HWS_BREAKER_##symbol,
typedef enum { HWS_BREAKER_STATE_LIST(HWS_BREAKER_ENUM) HWS_BREAKER_COUNT } hws_breaker_state_t;
#undef HWS_BREAKER_ENUM

HWS_API const char *hws_breaker_state_name(hws_breaker_state_t state);

/* X(symbol, word): what somebody may order a breaker to be. */
#define HWS_FORCE_LIST(X)                                                                          \
    X(NONE, "none")         /* it decides by itself */                                             \
    X(OPEN, "open")         /* none passes */                                                      \
    X(CLOSED, "closed")     /* all pass; they are counted, and what they come to decides later */  \
    X(DISABLED, "disabled") /* all pass, and nothing is counted */

#define HWS_FORCE_ENUM(symbol, word) HWS_FORCE_##symbol,
typedef enum { HWS_FORCE_LIST(HWS_FORCE_ENUM) HWS_FORCE_COUNT } hws_breaker_force_t;
#undef HWS_FORCE_ENUM

HWS_API const char *hws_breaker_force_name(hws_breaker_force_t force);

/* What an attempt says of its peer (API.md, Errors: "counts against the peer"). */
typedef enum {
    HWS_OUTCOME_SUCCESS,
    HWS_OUTCOME_FAILURE,
    HWS_OUTCOME_NEUTRAL /* nothing: cancelled, closed or refused on our side, abandoned */
} hws_outcome_class_t;

#endif
