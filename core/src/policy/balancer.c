#include "policy/balancers.h"

#include <assert.h>
#include <stdlib.h>

#define WORD(symbol, word) word,
static const char *const names[] = {HWS_BALANCER_LIST(WORD)};
#undef WORD

const char *hws_balancer_name(hws_balancer_t balancer)
{
    return names[balancer];
}

/* ---- the lineup ---- */

static int by_priority(const void *a, const void *b)
{
    const hws_candidate_t *one = *(hws_candidate_t *const *)a;
    const hws_candidate_t *other = *(hws_candidate_t *const *)b;

    if (one->priority != other->priority)
        return one->priority < other->priority ? -1 : 1;
    return one->index < other->index ? -1 : 1;
}

void hws_lineup_arrange(hws_lineup_t *lineup)
{
    uint32_t tier = 0;
    uint32_t i;

    lineup->round = 0;
    lineup->has_weights = false;
    for (i = 0; i < lineup->count; i++) {
        hws_candidate_t *candidate = lineup->list[i];

        assert(candidate->weight > 0);
        candidate->index = i;
        candidate->turn = candidate->round = 0;
        candidate->credit = 0;
        lineup->has_weights |= candidate->weight < lineup->list[0]->weight ||
                               candidate->weight > lineup->list[0]->weight;
    }
    if (lineup->count > 1)
        qsort(lineup->list, lineup->count, sizeof(*lineup->list), by_priority);
    for (i = 0; i < lineup->count; i++) {
        if (lineup->list[i]->priority != lineup->list[tier]->priority)
            tier = i;
        lineup->list[i]->index = i;
        lineup->list[i]->tier = tier;
        lineup->list[tier]->tier_end = i + 1;
    }
}

/* ---- picking ---- */

hws_choice_t hws_balancer_least(const hws_tier_t *tier, hws_cost_t *cost, uint32_t a, uint32_t b)
{
    hws_choice_t least = HWS_NO_CHOICE;
    double least_cost = 0;
    double weight = 0; /* of all that cost as little */
    uint32_t i;

    for (i = 0; i < tier->count; i++) {
        hws_choice_t one;
        double one_cost;

        if (i == a || i == b)
            continue;
        one = hws_tier_ask(tier, i);
        if (one.candidate == NULL || one.rank < least.rank)
            continue;
        one_cost = cost(one.candidate, tier->now);
        if (one.rank > least.rank || one_cost < least_cost)
            weight = 0;
        else if (one_cost > least_cost)
            continue;
        weight += one.candidate->weight;
        /* Of k equals the last is taken with probability 1/k, so each is. */
        if (weight <= one.candidate->weight ||
            hws_random_next(tier->random) * weight < one.candidate->weight * 0x1p32) {
            least = one;
            least_cost = one_cost;
        }
    }
    return least;
}

static hws_choice_t pick_in(hws_balancer_t balancer, const hws_tier_t *tier)
{
    switch (balancer) {
    case HWS_BALANCER_ROUND_ROBIN:
        return hws_balancer_round_robin(tier);
    case HWS_BALANCER_WEIGHTED:
        return hws_balancer_weighted(tier);
    case HWS_BALANCER_RANDOM:
        return hws_balancer_random(tier);
    case HWS_BALANCER_LEAST_REQUEST:
        return hws_balancer_least_request(tier);
    case HWS_BALANCER_PEAK_EWMA:
        return hws_balancer_peak_ewma(tier);
    case HWS_BALANCER_COUNT:
        break;
    }
    return HWS_NO_CHOICE;
}

hws_candidate_t *hws_balancer_pick(hws_balancer_t balancer, hws_lineup_t *lineup, hws_ask_t *ask,
                                   hws_random_t *random, hws_time_t now)
{
    hws_tier_t tier = {.lineup = lineup, .ask = ask, .random = random, .now = now};
    hws_choice_t best = HWS_NO_CHOICE;
    uint32_t at;

    for (at = 0; at < lineup->count && best.rank <= 0; at += tier.count) {
        hws_choice_t found;

        tier.list = &lineup->list[at];
        tier.count = tier.list[0]->tier_end - at;
        found = pick_in(balancer, &tier);
        if (best.candidate == NULL || found.rank > 0)
            best = found;
    }
    return best.candidate;
}

hws_candidate_t *hws_balancer_only(hws_lineup_t *lineup, hws_candidate_t *candidate)
{
    candidate->round = ++lineup->round;
    return candidate;
}

/* All that the pick had compared gain their weight; the one taken pays what they gained. */
static void pay(hws_lineup_t *lineup, hws_candidate_t *taken)
{
    uint32_t i;

    for (i = taken->tier; i < lineup->list[taken->tier]->tier_end; i++) {
        hws_candidate_t *candidate = lineup->list[i];

        if (candidate->round != taken->round)
            continue;
        candidate->credit += candidate->weight;
        taken->credit -= candidate->weight;
    }
}

void hws_balancer_took(hws_balancer_t balancer, hws_lineup_t *lineup, hws_candidate_t *candidate)
{
    hws_candidate_t *first = lineup->list[candidate->tier];

    switch (balancer) {
    case HWS_BALANCER_ROUND_ROBIN:
        first->turn =
            candidate->index + 1 < first->tier_end ? candidate->index + 1 - first->index : 0;
        break;
    case HWS_BALANCER_WEIGHTED:
        pay(lineup, candidate);
        break;
    case HWS_BALANCER_RANDOM:
    case HWS_BALANCER_LEAST_REQUEST:
    case HWS_BALANCER_PEAK_EWMA:
    case HWS_BALANCER_COUNT:
        break;
    }
}
