#include "feedback.h"

#include "policy/outcome.h"
#include "upstream.h"

/* Told when it has changed, as the state that it is in now. */
static void tell_breaker(const hws_peer_t *peer, hws_time_t now)
{
    hws_upstream_t *upstream = peer->upstream;
    hws_breaker_state_t state = hws_breaker_state(&peer->breaker, &upstream->breaker, now);

    hws_manager_tell(upstream->manager, HWS_EVENT_BREAKER, upstream->name, peer->id,
                     hws_breaker_state_name(state), 0, now);
    /* Who waits may have nobody left to hope for. */
    if (state == HWS_BREAKER_OPEN)
        hws_upstream_tidy(upstream);
}

static void take_permit(hws_peer_t *peer, hws_permit_t *permit, hws_time_t now)
{
    hws_breaker_state_t before = peer->breaker.state;

    *permit = hws_breaker_admit(&peer->breaker, &peer->upstream->breaker, now);
    if (peer->breaker.state != before)
        tell_breaker(peer, now);
}

static void report(hws_peer_t *peer, hws_permit_t *permit, hws_outcome_class_t outcome,
                   hws_time_t latency, hws_time_t now)
{
    hws_upstream_t *upstream = peer->upstream;
    hws_result_t result = {.outcome = outcome, .latency = latency};

    if (hws_breaker_report(&peer->breaker, &upstream->breaker, permit, result, now,
                           &upstream->manager->pools.random))
        tell_breaker(peer, now);
    if (outcome == HWS_OUTCOME_NEUTRAL)
        return;
    hws_score_observe(&peer->score, outcome, latency, now);
    hws_candidate_observe(&peer->candidate, latency, outcome == HWS_OUTCOME_FAILURE, now);
}

void hws_feedback_begin(hws_call_t *call, hws_time_t now)
{
    take_permit(call->peer, &hws_attempts_last(&call->attempts)->permit, now);
    call->peer->candidate.in_flight++;
    call->is_counted = true;
}

/* From sending on. A lease lasts as long as its user likes. */
static hws_time_t latency_of(const hws_call_t *call, const hws_attempt_t *attempt)
{
    if (call->is_lease)
        return 0;
    return attempt->spans[HWS_PHASE_SEND] + attempt->spans[HWS_PHASE_HEADERS] +
           attempt->spans[HWS_PHASE_BODY];
}

void hws_feedback_answered(hws_call_t *call, uint32_t status, hws_time_t now)
{
    hws_attempt_t *attempt = hws_attempts_last(&call->attempts);

    if (attempt->is_over)
        return;
    attempt->is_reported = true;
    report(call->peer, &attempt->permit, hws_outcome_of(HWS_OK, attempt->phase, status),
           latency_of(call, attempt), now);
}

void hws_feedback_end(hws_call_t *call, hws_attempt_t *attempt, hws_time_t now)
{
    hws_outcome_class_t outcome = hws_outcome_of(attempt->code, attempt->phase, attempt->status);
    hws_peer_t *peer = call->peer;
    hws_time_t latency = latency_of(call, attempt);

    if (!call->is_counted)
        return;
    call->is_counted = false;
    peer->candidate.in_flight--;
    if (attempt->is_stale)
        outcome = HWS_OUTCOME_NEUTRAL;
    /* Of a streamed body only its breaking off is news. */
    if (!attempt->is_reported)
        report(peer, &attempt->permit, outcome, latency, now);
    else if (outcome == HWS_OUTCOME_FAILURE)
        report(peer, &attempt->permit, outcome, 0, now);
    if (outcome == HWS_OUTCOME_SUCCESS && attempt->status != 0 && !attempt->is_reported) {
        hws_histogram_record(&peer->latency, (uint64_t)latency);
        hws_recent_record(&peer->recent, (uint64_t)latency, now);
    }
}

void hws_feedback_dial_begins(hws_peer_t *peer, hws_permit_t *permit, hws_time_t now)
{
    take_permit(peer, permit, now);
    peer->candidate.in_flight++;
}

void hws_feedback_dial_ends(hws_peer_t *peer, hws_permit_t *permit, int code, hws_phase_t phase,
                            hws_time_t now)
{
    peer->candidate.in_flight--;
    report(peer, permit, code == HWS_OK ? HWS_OUTCOME_NEUTRAL : hws_outcome_of(code, phase, 0), 0,
           now);
}
