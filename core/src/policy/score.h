/* score.h - the quality of a peer, 0..1, from what is known of its attempts.
 *
 *     score = rate * (1 - 1/2 * (1 - others / own))       latencies; others < own
 *     rate  = (good + 4) / (good + bad + 4)
 *
 * `good` and `bad` are attempts, each weighing exp(-age / 30 s), as moving averages in Finagle and
 * the peer scores of libp2p gossipsub decay; the 4 stand for the benefit of the doubt (Laplace's
 * rule), so a peer that nothing is known of has 1 and its first failure makes that .8. Being as
 * fast as the others or faster costs nothing, being slower at most half.
 *
 * It comes back by successes, and slowly by itself: failures weigh less as time passes, so that a
 * peer which gets no work because of its score gets some again. What never failed stays as it is.
 * `own` is the mean over the good attempts with the same weights; it stays while nothing is heard.
 *
 * Plain state; time that stands still or goes back decays nothing. */
#ifndef HWS_POLICY_SCORE_H
#define HWS_POLICY_SCORE_H

#include "policy/outcome.h"

/* Zeroed is a peer that nothing is known of. */
typedef struct {
    hws_time_t at;  /* when the weights were last brought up to date */
    double good;    /* weights, at that time */
    double bad;     /*  */
    double latency; /* us; 0 while there is none */
} hws_score_t;

/* An attempt has ended; `latency` (us, 0: not known) matters only when it was good. */
void hws_score_observe(hws_score_t *score, hws_outcome_class_t outcome, hws_time_t latency,
                       hws_time_t now);
/* 0..1. `others` is the latency of the upstream's other peers in us, such as the mean of their
 * hws_score_t.latency; 0: not known. */
double hws_score_value(const hws_score_t *score, double others, hws_time_t now);
/* Share of good attempts by the same weights, without the benefit of the doubt; 1 at the
 * beginning. */
double hws_score_success_rate(const hws_score_t *score);

#endif
