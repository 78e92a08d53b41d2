/* balancers.h - the algorithms behind balancer.h, a file each, and what they share. */
#ifndef HWS_POLICY_BALANCERS_H
#define HWS_POLICY_BALANCERS_H

#include "policy/balancer.h"

#include <limits.h>

/* One tier of a lineup, and what is asked of it. */
typedef struct {
    hws_candidate_t **list;
    uint32_t count; /* at least 1 */
    hws_lineup_t *lineup;
    hws_ask_t *ask;
    hws_random_t *random;
    hws_time_t now;
} hws_tier_t;

#define HWS_RANK_NONE INT_MIN /* below every other */

/* What was found in a tier. */
typedef struct {
    hws_candidate_t *candidate; /* NULL: nobody who may serve */
    int rank;                   /* HWS_RANK_NONE then */
} hws_choice_t;

#define HWS_NO_CHOICE ((hws_choice_t){NULL, HWS_RANK_NONE})

/* What a candidate would cost now, as balancers compare it: the least serves. */
typedef double hws_cost_t(const hws_candidate_t *candidate, hws_time_t now);

hws_choice_t hws_balancer_round_robin(const hws_tier_t *tier);
hws_choice_t hws_balancer_weighted(const hws_tier_t *tier);
hws_choice_t hws_balancer_random(const hws_tier_t *tier);
hws_choice_t hws_balancer_least_request(const hws_tier_t *tier);
hws_choice_t hws_balancer_peak_ewma(const hws_tier_t *tier);

/* The cheapest of the best rank in the whole tier, except for those at `a` and `b`, which are not
 * asked (`count`: nobody). Among equals chance decides, by weight; not their order, or whoever
 * stands behind a row of peers that are down would serve for all of them. */
hws_choice_t hws_balancer_least(const hws_tier_t *tier, hws_cost_t *cost, uint32_t a, uint32_t b);

static inline hws_choice_t hws_tier_ask(const hws_tier_t *tier, uint32_t at)
{
    hws_candidate_t *candidate = tier->list[at];
    int rank = tier->ask->rank(tier->ask, candidate);

    return rank != 0 ? (hws_choice_t){candidate, rank} : HWS_NO_CHOICE;
}

static inline hws_choice_t hws_cheaper(hws_choice_t one, hws_choice_t other, hws_cost_t *cost,
                                       hws_time_t now)
{
    if (one.candidate == NULL || other.candidate == NULL || one.rank != other.rank)
        return one.rank > other.rank ? one : other;
    return cost(one.candidate, now) <= cost(other.candidate, now) ? one : other;
}

/* The power of two choices (Mitzenmacher 2001): asks two at random, and the rest only when neither
 * is of the best rank. */
static inline hws_choice_t hws_balancer_two_choices(const hws_tier_t *tier, hws_cost_t *cost)
{
    uint32_t a = tier->count > 1 ? hws_random_below(tier->random, tier->count) : 0;
    hws_choice_t choice = hws_tier_ask(tier, a);
    uint32_t b;

    if (tier->count == 1)
        return choice;
    b = hws_random_below(tier->random, tier->count - 1);
    b += b >= a;
    choice = hws_cheaper(choice, hws_tier_ask(tier, b), cost, tier->now);
    if (choice.rank == tier->ask->best || tier->count == 2)
        return choice;
    return hws_cheaper(choice, hws_balancer_least(tier, cost, a, b), cost, tier->now);
}

#endif
