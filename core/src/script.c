#include "script.h"

#include "peer.h"
#include "policy/outcome.h"
#include "upstream.h"

static hws_decision_t decision_of(hws_upstream_t *upstream, hws_call_t *call, hws_time_t now)
{
    hws_decision_t about = {.upstream = upstream, .deadline = HWS_NEVER, .now = now, .call = call};

    if (call == NULL)
        return about;
    about.attempt = call->attempts.count;
    about.deadline = call->deadline;
    if (call->ops->describe != NULL)
        call->ops->describe(call, &about);
    return about;
}

hws_outcome_t hws_script_outcome(const hws_call_t *call, const hws_attempt_t *attempt)
{
    hws_outcome_class_t class = hws_outcome_of(attempt->code, attempt->phase, attempt->status);

    return (hws_outcome_t){.peer = attempt->peer,
                           .code = attempt->code,
                           .phase = attempt->phase,
                           .status = attempt->status,
                           .latency = hws_attempt_latency(attempt),
                           .bytes = attempt->bytes,
                           .attempt = call->attempts.count,
                           .retry_after = HWS_RETRY_AFTER_NONE,
                           .is_ok = class == HWS_OUTCOME_SUCCESS,
                           .is_sent = attempt->phase >= HWS_PHASE_SEND};
}

int64_t hws_script_pick(hws_call_t *call, hws_peer_t *const *peers, uint32_t count, hws_time_t now)
{
    const hws_script_t *script = &call->upstream->script;
    hws_decision_t about = decision_of(call->upstream, call, now);

    return script->pick(script->user, &about, peers, count);
}

hws_time_t hws_script_decide(hws_call_t *call, const hws_attempt_t *attempt, hws_time_t retry_after,
                             hws_time_t now)
{
    const hws_script_t *script = &call->upstream->script;
    hws_decision_t about = decision_of(call->upstream, call, now);
    hws_outcome_t outcome = hws_script_outcome(call, attempt);

    if (script->decide == NULL)
        return HWS_DECIDE_BUILT_IN;
    outcome.retry_after = retry_after;
    return script->decide(script->user, &about, &outcome);
}

hws_record_t hws_script_record(hws_upstream_t *upstream, hws_call_t *call,
                               const hws_outcome_t *outcome, hws_time_t *open_for, hws_time_t now)
{
    hws_decision_t about = decision_of(upstream, call, now);

    *open_for = 0;
    return upstream->script.record(upstream->script.user, &about, outcome, open_for);
}

void hws_script_done(hws_upstream_t *upstream, hws_call_t *call, const hws_outcome_t *outcome,
                     hws_time_t now)
{
    hws_decision_t about = decision_of(upstream, call, now);

    upstream->script.done(upstream->script.user, &about, outcome);
}

/* ---- the user's side ---- */

void hws_upstream_set_script(hws_upstream_t *upstream, const hws_script_t *script)
{
    upstream->script = script != NULL ? *script : (hws_script_t){.user = NULL};
    if (!hws_queue_is_empty(&upstream->queue))
        hws_upstream_tidy(upstream);
}

void hws_upstream_policy_failed(hws_upstream_t *upstream, const char *kind, const char *message)
{
    hws_event_t event = {.type = HWS_EVENT_POLICY_ERROR,
                         .at = hws_loop_now(upstream->manager->loop),
                         .upstream = upstream->name,
                         .peer = "",
                         .reason = kind,
                         .text = message};

    upstream->stats.policy_errors++;
    if (hws_manager_hears(upstream->manager, HWS_EVENT_POLICY_ERROR))
        hws_manager_report(upstream->manager, &event);
}

uint32_t hws_decision_random(const hws_decision_t *about, uint32_t n)
{
    return hws_random_below(&about->upstream->manager->pools.random, n);
}

const char *hws_decision_tried(const hws_decision_t *about, uint32_t index)
{
    hws_call_t *call = about->call;
    uint32_t i;

    for (i = 0; call != NULL && i < call->attempts.count; i++) {
        const hws_attempt_t *attempt = hws_attempts_at(&call->attempts, i);

        if (attempt->is_over && attempt->peer != NULL && index-- == 0)
            return attempt->peer->id;
    }
    return NULL;
}

const char *hws_peer_id(const hws_peer_t *peer)
{
    return peer->id;
}
