/* retry.h - when a failed try goes again, after how long, and how much of that is too much. */
#ifndef HAWSER_RETRY_H
#define HAWSER_RETRY_H

#include <hawser/error.h>

#define HWS_RETRY_ATTEMPTS_MAX 10
#define HWS_BACKOFF_MAX HWS_S(3600)
#define HWS_BUDGET_FLOOR_MAX 1000000U

/* X(symbol, word): how chance spreads the delays of many callers (AWS Architecture Blog,
 * "Exponential backoff and jitter", 2015). `cap` is min(max, base * 2^(n - 1)) before the n-th
 * retry.
 *   full          even over 0 .. cap
 *   equal         even over cap / 2 .. cap
 *   decorrelated  even over base .. min(max, 3 * the last delay), which begins as base */
#define HWS_JITTER_LIST(X)                                                                         \
    X(FULL, "full")                                                                                \
    X(EQUAL, "equal")                                                                              \
    X(DECORRELATED, "decorrelated")

#define HWS_JITTER_ENUM(symbol, word) HWS_JITTER_##symbol,
typedef enum { HWS_JITTER_LIST(HWS_JITTER_ENUM) HWS_JITTER_COUNT } hws_jitter_t;
#undef HWS_JITTER_ENUM

typedef struct {
    hws_time_t base; /* 50 ms; 0 to HWS_BACKOFF_MAX */
    hws_time_t max;  /* 2 s; from `base` to HWS_BACKOFF_MAX */
    hws_jitter_t jitter;
} hws_backoff_options_t;

/* Retries, and later hedges, that one second may have: a share of the requests of the last 10 s,
 * as far as it is not spent, and `floor` on top. */
typedef struct {
    bool is_disabled; /* no budget: only `attempts` limits */
    double share;     /* .2; 0 to 1 */
    uint32_t floor;   /* 10; at most HWS_BUDGET_FLOOR_MAX */
} hws_budget_options_t;

#define HWS_STATUS_FIRST 400
#define HWS_STATUS_LAST 599

/* After what a request goes again. A plain set: zeroed it is empty. */
typedef struct {
    uint32_t kinds;       /* bit 1 << hws_kind_t; of connect: see hws_retry_on_add() */
    uint64_t statuses[4]; /* bit status - HWS_STATUS_FIRST */
} hws_retry_on_t;

typedef struct {
    bool is_disabled;  /* `retry = false`: only the uncounted replays remain */
    uint32_t attempts; /* 3: charged tries, the first one included; 1 to HWS_RETRY_ATTEMPTS_MAX */
    hws_retry_on_t on; /* connect, reset, 502, 503, 504 */
    hws_backoff_options_t backoff;
    hws_budget_options_t budget;
} hws_retry_options_t;

/* X(symbol, word): what became of the wish to go again. */
#define HWS_RETRY_LIST(X)                                                                          \
    X(GO, "go")                                                                                    \
    X(OFF, "off")           /* retries are switched off */                                         \
    X(UNSAFE, "unsafe")     /* the replay rules forbid it, or the cause stays what it is */        \
    X(NOT_ON, "not_on")     /* `on` does not name it, or the policy wants no more */               \
    X(ATTEMPTS, "attempts") /* all tries are spent */                                              \
    X(DEADLINE, "deadline") /* the delay does not fit what is left of the request's time */        \
    X(BUDGET, "budget")     /* the upstream's budget is spent */

#define HWS_RETRY_ENUM(symbol, word) HWS_RETRY_##symbol,
typedef enum { HWS_RETRY_LIST(HWS_RETRY_ENUM) HWS_RETRY_COUNT } hws_retry_reason_t;
#undef HWS_RETRY_ENUM

/* One attempt of a request, or of an acquisition: how its time was spent, how it ended. `peer` lasts
 * as long as the call does. */
typedef struct {
    const char *peer;                  /* id; "": it came to none */
    hws_time_t spans[HWS_PHASE_COUNT]; /* in each phase, so far */
    hws_time_t age;             /* how long its connection had been idle; 0: it is a new one */
    int code;                   /* how it failed; HWS_OK: it did not, or is not over */
    uint32_t status;            /* of its response; 0: none */
    hws_retry_reason_t verdict; /* where `is_judged`: whether another followed, and if not, why */
    bool is_judged;             /* it failed, or its status may have been one to try again after */
    bool is_reused;             /* on a connection that had served before */
    bool is_stale;              /* ... which was dead; what followed did not count */
    bool is_unseen; /* its peer said that it did not look at it, or that it wants HTTP/1.1; what
                     * followed did not count */
} hws_trace_t;

/* The defaults above. */
HWS_API void hws_retry_options_init(hws_retry_options_t *options);
/* HWS_ERR_INVALID with `why->detail`, which names the option, its value and what is allowed. */
HWS_API int hws_retry_options_check(const hws_retry_options_t *options, hws_error_t *why);

/* Adds a kind of error by its word. `connect` covers resolve, refused, connect, tls handshakes cut
 * short, and timeouts of these phases; `timeout` covers all timeouts. HWS_ERR_INVALID with
 * `why->detail` for a word that names no kind, or one after which nothing ever goes again. */
HWS_API int hws_retry_on_add(hws_retry_on_t *on, hws_slice_t word, hws_error_t *why);
/* Adds a status. HWS_ERR_INVALID with `why->detail` outside HWS_STATUS_FIRST .. HWS_STATUS_LAST. */
HWS_API int hws_retry_on_add_status(hws_retry_on_t *on, int64_t status, hws_error_t *why);
/* Whether the set names this end of a try: a failure `code` (HWS_ERR_*) in `phase`, or, with
 * HWS_OK, a response of `status`. */
HWS_API bool hws_retry_on_has(const hws_retry_on_t *on, int code, hws_phase_t phase,
                              uint32_t status);

/* Static strings, never NULL: "full"; "budget". */
HWS_API const char *hws_jitter_name(hws_jitter_t jitter);
HWS_API const char *hws_retry_reason_name(hws_retry_reason_t reason);

#endif
