/* evidence.h - what the end of an attempt says about the peer. */
#ifndef HWS_POLICY_EVIDENCE_H
#define HWS_POLICY_EVIDENCE_H

#include <hawser/error.h>

/* For breakers and scores. What we or the caller did says nothing: it neither heals nor harms. */
typedef enum { HWS_EVIDENCE_NONE, HWS_EVIDENCE_GOOD, HWS_EVIDENCE_BAD } hws_evidence_t;

/* Of a failure `code` (HWS_ERR_*) in `phase`, or, with HWS_OK, of a response of `status`: bad is
 * what the list of errors counts against the peer, and a status of 500 or more. Every other
 * response is good: a peer that refuses a request works. */
hws_evidence_t hws_evidence_of(int code, hws_phase_t phase, uint32_t status);

#endif
