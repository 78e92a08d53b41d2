/* feedback.h - what happens to a peer is told to whatever decides about it: breaker, score, balancer
 * and metrics. Each attempt and each dial is told once. */
#ifndef HWS_FEEDBACK_H
#define HWS_FEEDBACK_H

#include "call.h"
#include "peer.h"

/* An attempt has got a connection of `call->peer`: takes the breaker's permit, and counts as load. */
void hws_feedback_begin(hws_call_t *call, hws_time_t now);
/* The head of a streamed response has come: how long its body takes is its reader's doing. */
void hws_feedback_answered(hws_call_t *call, uint32_t status, hws_time_t now);
/* It is over, or came to no peer. */
void hws_feedback_end(hws_call_t *call, hws_attempt_t *attempt, hws_time_t now);
/* A dial begins, and has ended with `code` in `phase`. Its success says little: the attempts on the
 * connection will tell. */
void hws_feedback_dial_begins(hws_peer_t *peer, hws_permit_t *permit, hws_time_t now);
void hws_feedback_dial_ends(hws_peer_t *peer, hws_permit_t *permit, int code, hws_phase_t phase,
                            hws_time_t now);
/* Somebody else saw how the peer does; `latency` 0: not known. */
void hws_feedback_observe(hws_peer_t *peer, hws_outcome_class_t outcome, hws_time_t latency,
                          hws_time_t now);
/* The upstream's breakers are switched off: what is open closes, and begins anew one day. */
void hws_feedback_switch_off(hws_peer_t *peer, hws_time_t now);
/* Somebody orders its breaker. */
void hws_feedback_force(hws_peer_t *peer, hws_breaker_force_t force, hws_time_t now);
/* Asserts that every attempt and dial is counted at its peer, and every trial with its breaker. */
void hws_feedback_check(const hws_upstream_t *upstream);

#endif
