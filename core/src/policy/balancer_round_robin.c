#include "policy/balancers.h"

hws_choice_t hws_balancer_round_robin(const hws_tier_t *tier)
{
    hws_choice_t best = HWS_NO_CHOICE;
    uint32_t at = tier->list[0]->turn;
    uint32_t i;

    for (i = 0; i < tier->count && best.rank != tier->ask->best; i++) {
        hws_choice_t one = hws_tier_ask(tier, at);

        if (one.rank > best.rank)
            best = one;
        at = at + 1 < tier->count ? at + 1 : 0;
    }
    return best;
}
