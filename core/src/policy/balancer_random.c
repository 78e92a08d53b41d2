#include "policy/balancers.h"

static double nothing(const hws_candidate_t *candidate, hws_time_t now)
{
    (void)candidate;
    (void)now;
    return 0;
}

hws_choice_t hws_balancer_random(const hws_tier_t *tier)
{
    hws_choice_t choice;
    hws_choice_t other;
    uint32_t at;

    if (tier->lineup->has_weights)
        return hws_balancer_least(tier, nothing, tier->count, tier->count);
    at = hws_random_below(tier->random, tier->count);
    choice = hws_tier_ask(tier, at);
    if (choice.rank == tier->ask->best)
        return choice;
    other = hws_balancer_least(tier, nothing, at, at);
    return hws_cheaper(choice, other, nothing, tier->now);
}
