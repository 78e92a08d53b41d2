/* script.h - asks the user's own code for its decisions; <hawser/script.h> says what that is. */
#ifndef HWS_SCRIPT_H
#define HWS_SCRIPT_H

#include "call.h"

/* The peer that it wants among `count`, or HWS_PICK_*. */
int64_t hws_script_pick(hws_call_t *call, hws_peer_t *const *peers, uint32_t count, hws_time_t now);
/* A delay, or HWS_DECIDE_*. */
hws_time_t hws_script_decide(hws_call_t *call, const hws_attempt_t *attempt, hws_time_t retry_after,
                             hws_time_t now);
hws_outcome_t hws_script_outcome(const hws_call_t *call, const hws_attempt_t *attempt);
/* `call` is NULL where it was a dial that failed. */
hws_record_t hws_script_record(hws_upstream_t *upstream, hws_call_t *call,
                               const hws_outcome_t *outcome, hws_time_t *open_for, hws_time_t now);
void hws_script_done(hws_upstream_t *upstream, hws_call_t *call, const hws_outcome_t *outcome,
                     hws_time_t now);

#endif
