#include "policy/score.h"

#include <assert.h>
#include <math.h>

#define FADES_IN 30e6 /* us: after that time a weight is 1/e of what it was */
#define DOUBT 4       /* good attempts that every peer has in advance */
#define SLOW_COST .5  /* of a score, for being endlessly slower than the others */

static double fading(const hws_score_t *score, hws_time_t now)
{
    double span = (double)(now - score->at) / FADES_IN;

    if (span <= 0)
        return 1;
    /* As near as the series comes with three terms, for attempts that follow upon each other. */
    return span < 1e-4 ? 1 - span + span * span / 2 : exp(-span);
}

void hws_score_observe(hws_score_t *score, hws_outcome_class_t outcome, hws_time_t latency,
                       hws_time_t now)
{
    double left = fading(score, now);

    assert(latency >= 0);
    if (outcome == HWS_OUTCOME_NEUTRAL)
        return;
    score->good *= left;
    score->bad *= left;
    if (now > score->at)
        score->at = now;
    if (outcome == HWS_OUTCOME_FAILURE) {
        score->bad++;
        return;
    }
    score->good++;
    if (score->latency <= 0)
        score->latency = (double)latency;
    else if (latency > 0)
        score->latency += ((double)latency - score->latency) / score->good;
}

double hws_score_value(const hws_score_t *score, double others, hws_time_t now)
{
    double value = 1;

    if (score->bad > 0) {
        double left = fading(score, now);
        double good = score->good * left + DOUBT;

        value = good / (good + score->bad * left);
    }
    if (others > 0 && score->latency > others)
        value *= 1 - SLOW_COST * (1 - others / score->latency);
    return value;
}

double hws_score_success_rate(const hws_score_t *score)
{
    return score->bad > 0 ? score->good / (score->good + score->bad) : 1;
}
