/* balancer.h - which of many is to serve next.
 *
 * A *candidate* is the part of a peer that a balancer knows, embedded in it; the *lineup* is all of
 * them, those with lower priority numbers first. Candidates with the same number make up a *tier*,
 * and a tier is only asked when none before it could serve.
 *
 * Whether a candidate may serve is the caller's to say, through hws_ask_t: each is asked at most
 * once for a pick, and two of 100 are enough most of the time. A pick is only a proposal. What came
 * of it is told by hws_balancer_took(), so that who was proposed in vain loses no turn.
 *
 *   round_robin     the next after the one taken last.
 *   weighted        nginx's smooth weighted round robin: each gains its weight, whoever has most
 *                   serves and pays what all gained.
 *   random          even, or by weight where weights differ.
 *   least_request   the power of two choices (Mitzenmacher 2001): of two drawn at random, the one
 *                   with fewer in flight. Where weights differ, the one of all with the fewest for
 *                   its weight; among equals, idle ones say, chance by weight (as nginx's
 *                   least_conn does).
 *   peak_ewma       of two drawn at random, the one with the lesser latency x (in flight + 1), after
 *                   Finagle's PeakEwma: see hws_candidate_observe(). Where weights differ, the one
 *                   of all with the least for its weight; so calls that come one by one go to
 *                   whoever is fastest for its weight.
 *
 * Where weights differ, two drawn at random would not do: a heavy one would be drawn too seldom.
 *
 * Plain state and numbers: no clock, and chance only from the generator that is handed in. */
#ifndef HWS_POLICY_BALANCER_H
#define HWS_POLICY_BALANCER_H

#include "base/random.h"

#include <hawser/policy.h>

/* What nothing is known of yet, or what failed, counts as one that took at least this long. */
#define HWS_EWMA_PENALTY HWS_S(1)
/* How long a latency that was measured takes to fade to 1/e. */
#define HWS_EWMA_DECAY HWS_S(10)

/* Zeroed, with a weight, is a valid candidate that nothing is known of. */
typedef struct {
    double weight;      /* above 0; the owner's to set, then hws_lineup_arrange() */
    uint32_t priority;  /* the owner's to set, then hws_lineup_arrange() */
    uint32_t in_flight; /* attempts under way; the owner's to count */

    /* peak_ewma */
    double latency; /* us, as of `observed_at`; 0: unknown */
    hws_time_t observed_at;

    /* weighted */
    double credit;
    uint32_t round; /* the lineup's, when it last could have served */

    /* Its place in the lineup: indices, set by hws_lineup_arrange(). */
    uint32_t index;
    uint32_t tier;     /* the first of its tier */
    uint32_t tier_end; /* one past the last of its tier */
    uint32_t turn;     /* round_robin, in the first of a tier: who comes next */
} hws_candidate_t;

/* An array of the owner's. */
typedef struct {
    hws_candidate_t **list;
    uint32_t count;
    uint32_t round;   /* of `weighted`: counts the sets of candidates that were compared */
    bool has_weights; /* they differ */
} hws_lineup_t;

/* What a caller asks for; embedded in whatever else `rank` has to know. */
typedef struct hws_ask hws_ask_t;
struct hws_ask {
    /* What `candidate` could do for the caller now: 0 nothing; above 0 the more the better; below 0
     * as well the greater the better, but only when none of any tier is above 0 (a peer that was
     * tried already). Within a tier a better rank goes before every other consideration. It must
     * not change the lineup. */
    int (*rank)(hws_ask_t *ask, hws_candidate_t *candidate);
    int best; /* no rank is above this; the search ends where it is found. At least 1 */
};

/* Puts `list` into the order of priorities (the given one among equals) and begins all turns anew.
 * To be called when candidates came or went, or a weight or priority changed. Latencies and
 * `in_flight` stay. */
void hws_lineup_arrange(hws_lineup_t *lineup);

/* The candidate to serve next, or NULL: whenever one may serve, one is found. A pure proposal. */
hws_candidate_t *hws_balancer_pick(hws_balancer_t balancer, hws_lineup_t *lineup, hws_ask_t *ask,
                                   hws_random_t *random, hws_time_t now);
/* Proposes the only one that may serve. */
hws_candidate_t *hws_balancer_only(hws_lineup_t *lineup, hws_candidate_t *candidate);
/* `candidate`, which was proposed last, serves. */
void hws_balancer_took(hws_balancer_t balancer, hws_lineup_t *lineup, hws_candidate_t *candidate);

/* An attempt was answered after `latency`, or failed after it. A latency above the estimate becomes
 * the estimate at once; a lower one draws it down, the more the longer ago the last one was. A
 * failure counts as at least HWS_EWMA_PENALTY, so that failing fast attracts nobody. */
void hws_candidate_observe(hws_candidate_t *candidate, hws_time_t latency, bool is_failure,
                           hws_time_t now);
/* The estimate as of `now`, in us: it fades, so that who was slow is tried again. 0: unknown. */
double hws_candidate_latency(const hws_candidate_t *candidate, hws_time_t now);

#endif
