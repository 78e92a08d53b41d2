#include "policy/balancers.h"

static double load(const hws_candidate_t *candidate, hws_time_t now)
{
    (void)now;
    return candidate->in_flight;
}

/* Not in_flight + 1: with that, only the heaviest would serve calls that come one by one. */
static double load_by_weight(const hws_candidate_t *candidate, hws_time_t now)
{
    (void)now;
    return candidate->in_flight / candidate->weight;
}

hws_choice_t hws_balancer_least_request(const hws_tier_t *tier)
{
    if (tier->lineup->has_weights)
        return hws_balancer_least(tier, load_by_weight, tier->count, tier->count);
    return hws_balancer_two_choices(tier, load);
}
