/* After Finagle's PeakEwma (finagle-core, loadbalancer/PeakEwma.scala). */
#include "policy/balancers.h"

/* e^(-span / decay), to within 0.02; 0 from 16 times the decay on. */
static double fade(hws_time_t span)
{
    double base = 1 - (double)span / (16.0 * HWS_EWMA_DECAY);

    if (span <= 0)
        return 1;
    if (base <= 0)
        return 0;
    base *= base;
    base *= base;
    base *= base;
    return base * base;
}

double hws_candidate_latency(const hws_candidate_t *candidate, hws_time_t now)
{
    return candidate->latency * fade(now - candidate->observed_at);
}

void hws_candidate_observe(hws_candidate_t *candidate, hws_time_t latency, bool is_failure,
                           hws_time_t now)
{
    double share = fade(now - candidate->observed_at);
    double faded = candidate->latency * share;
    double seen = (double)(latency > 0 ? latency : 1);

    if (is_failure && latency < HWS_EWMA_PENALTY)
        seen = HWS_EWMA_PENALTY;
    candidate->latency = seen > faded ? seen : faded + seen * (1 - share);
    candidate->observed_at = now;
}

/* Who is not known yet gets one call, and no second one before that was answered. */
static double cost(const hws_candidate_t *candidate, hws_time_t now)
{
    double latency = hws_candidate_latency(candidate, now);

    if (latency <= 0 && candidate->in_flight > 0)
        latency = HWS_EWMA_PENALTY;
    return latency * (candidate->in_flight + 1) / candidate->weight;
}

hws_choice_t hws_balancer_peak_ewma(const hws_tier_t *tier)
{
    if (tier->lineup->has_weights)
        return hws_balancer_least(tier, cost, tier->count, tier->count);
    return hws_balancer_two_choices(tier, cost);
}
