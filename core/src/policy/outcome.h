/* outcome.h - what the end of an attempt says about the peer. */
#ifndef HWS_POLICY_OUTCOME_H
#define HWS_POLICY_OUTCOME_H

#include <hawser/policy.h>

/* Of a failure `code` (HWS_ERR_*) in `phase`, or, with HWS_OK, of a response of `status`: what the list of errors
 * counts against the peer, and a status of 500 or more, is a failure. Every other response is a
 * success: a peer that refuses a request works. What this machine could not do is neutral. */
hws_outcome_class_t hws_outcome_of(int code, hws_phase_t phase, uint32_t status);

#endif
