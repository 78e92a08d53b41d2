/* The smooth weighted round robin of nginx (ngx_http_upstream_round_robin.c, since 1.3.1), whose
 * bookkeeping waits until somebody is taken. */
#include "policy/balancers.h"

hws_choice_t hws_balancer_weighted(const hws_tier_t *tier)
{
    hws_choice_t best = HWS_NO_CHOICE;
    uint32_t round = ++tier->lineup->round;
    double most = 0;
    uint32_t i;

    for (i = 0; i < tier->count; i++) {
        hws_choice_t one = hws_tier_ask(tier, i);
        double credit;

        if (one.candidate == NULL || one.rank < best.rank)
            continue;
        if (one.rank > best.rank) { /* those before it do not compete */
            round = ++tier->lineup->round;
            best = HWS_NO_CHOICE;
        }
        one.candidate->round = round;
        credit = one.candidate->credit + one.candidate->weight;
        if (best.candidate == NULL || credit > most) {
            best = one;
            most = credit;
        }
    }
    return best;
}
