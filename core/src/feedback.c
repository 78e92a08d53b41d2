#include "feedback.h"

#include "opening.h"
#include "policy/outcome.h"
#include "script.h"
#include "upstream.h"

#include <assert.h>

/* Told when it has changed, as the state that it is in now. */
static void tell_breaker(hws_peer_t *peer, hws_time_t now)
{
    hws_upstream_t *upstream = peer->upstream;
    hws_breaker_state_t state = hws_breaker_state(&peer->breaker, &upstream->breaker, now);
    hws_time_t span;

    if (state == HWS_BREAKER_OPEN) {
        peer->opened++;
        upstream->stats.opened++;
    }
    upstream->queue.is_settled = false;
    hws_manager_tell(upstream->manager, HWS_EVENT_BREAKER, upstream->name, peer->id,
                     hws_breaker_state_name(state), 0, now);
    if (state != HWS_BREAKER_OPEN)
        return;
    /* Who waits may have nobody left to hope for, or has again when its time is over. */
    hws_upstream_tidy(upstream);
    span = hws_breaker_retry_in(&peer->breaker, &upstream->breaker, now);
    hws_loop_set_timer(upstream->manager->loop, &peer->breaker_timer,
                       span == HWS_NEVER ? HWS_NEVER : now + span);
}

static void take_permit(hws_peer_t *peer, hws_permit_t *permit, hws_time_t now)
{
    hws_breaker_state_t before = peer->breaker.state;

    *permit = hws_breaker_admit(&peer->breaker, &peer->upstream->breaker, now);
    if (peer->breaker.state != before)
        tell_breaker(peer, now);
}

/* An end as all that learn from it are told. */
typedef struct {
    hws_peer_t *peer;
    hws_call_t *call;             /* NULL: it was a dial */
    const hws_attempt_t *attempt; /* the call's */
    int code;
    hws_phase_t phase;
    hws_result_t result;
} end_t;

/* As scripts see it. Made for them alone, as most upstreams have none. */
static hws_outcome_t outcome_of(const end_t *end)
{
    hws_outcome_t outcome = {.code = end->code,
                             .phase = end->phase,
                             .latency = end->result.latency,
                             .retry_after = HWS_RETRY_AFTER_NONE,
                             .is_ok = end->result.outcome == HWS_OUTCOME_SUCCESS};

    if (end->call != NULL)
        outcome = hws_script_outcome(end->call, end->attempt);
    outcome.peer = end->peer;
    return outcome;
}

/* What a script says of it, which then takes the place of the rules in the options. */
static hws_record_t ask_script(const end_t *end, hws_time_t *open_for, hws_time_t now)
{
    hws_upstream_t *upstream = end->peer->upstream;
    hws_outcome_t outcome;

    if (upstream->script.record == NULL || end->result.outcome == HWS_OUTCOME_NEUTRAL ||
        end->peer->breaker.state != HWS_BREAKER_CLOSED)
        return HWS_RECORD_BUILT_IN;
    outcome = outcome_of(end);
    return hws_script_record(upstream, end->call, &outcome, open_for, now);
}

static void report(end_t *end, hws_permit_t *permit, hws_time_t now)
{
    hws_peer_t *peer = end->peer;
    hws_upstream_t *upstream = peer->upstream;
    hws_random_t *random = &upstream->manager->pools.random;
    hws_result_t *result = &end->result;
    hws_time_t open_for = 0;
    hws_record_t said = ask_script(end, &open_for, now);
    bool has_changed;

    result->is_judged = said != HWS_RECORD_BUILT_IN;
    has_changed =
        hws_breaker_report(&peer->breaker, &upstream->breaker, permit, *result, now, random);
    if (said == HWS_RECORD_OPEN)
        has_changed |= hws_breaker_trip(&peer->breaker, &upstream->breaker, open_for, now, random);
    if (has_changed)
        tell_breaker(peer, now);
    if (result->outcome == HWS_OUTCOME_NEUTRAL)
        return;
    hws_score_observe(&peer->score, result->outcome, result->latency, now);
    hws_candidate_observe(&peer->candidate, result->latency, result->outcome == HWS_OUTCOME_FAILURE,
                          now);
}

static void tell_done(const end_t *end, hws_time_t now)
{
    hws_upstream_t *upstream = end->peer->upstream;
    hws_outcome_t outcome;

    if (upstream->script.done == NULL)
        return;
    outcome = outcome_of(end);
    hws_script_done(upstream, end->call, &outcome, now);
}

void hws_feedback_begin(hws_call_t *call, hws_time_t now)
{
    take_permit(call->peer, &hws_attempts_last(&call->attempts)->permit, now);
    call->peer->candidate.in_flight++;
    call->is_counted = true;
}

/* A lease lasts as long as its user likes. */
static end_t end_of(hws_call_t *call, const hws_attempt_t *attempt)
{
    hws_outcome_class_t class = hws_outcome_of(attempt->code, attempt->phase, attempt->status);
    bool is_declined = class == HWS_OUTCOME_SUCCESS && attempt->status >= 400;

    return (end_t){.peer = call->peer,
                   .call = call,
                   .attempt = attempt,
                   .result = {.outcome = attempt->is_stale ? HWS_OUTCOME_NEUTRAL : class,
                              .latency = call->is_lease ? 0 : hws_attempt_latency(attempt),
                              .is_declined = is_declined}};
}

void hws_feedback_answered(hws_call_t *call, uint32_t status, hws_time_t now)
{
    hws_attempt_t *attempt = hws_attempts_last(&call->attempts);
    hws_permit_t permit = attempt->permit;
    end_t end;

    attempt->is_reported = true;
    attempt->status = status;
    end = end_of(call, attempt);
    report(&end, &attempt->permit, now);
    /* A body that breaks off is still to be told; but a trial has had its say. */
    if (end.result.outcome == HWS_OUTCOME_SUCCESS)
        attempt->permit = permit.is_probe ? (hws_permit_t){.is_given = true} : permit;
}

/* Of an attempt that came to no peer the upstream keeps how long it waited. */
static void measure(const hws_call_t *call, const hws_attempt_t *attempt)
{
    hws_upstream_t *upstream = call->upstream;
    hws_metrics_t **metrics = &upstream->metrics;
    hws_phase_t end = HWS_PHASE_COUNT;

    if (!upstream->manager->is_measuring)
        return;
    if (attempt->phase != HWS_PHASE_QUEUE)
        metrics = &call->peer->pool.metrics;
    if (*metrics == NULL && (*metrics = hws_metrics_create(upstream->manager->since)) == NULL)
        return;
    if (call->is_lease)
        end = HWS_PHASE_SEND;
    else if (attempt->is_reported)
        end = HWS_PHASE_BODY;
    hws_metrics_attempt(*metrics, attempt->spans, attempt->phase, end);
}

void hws_feedback_end(hws_call_t *call, hws_attempt_t *attempt, hws_time_t now)
{
    hws_peer_t *peer = call->peer;
    end_t end;

    measure(call, attempt);
    if (!call->is_counted)
        return;
    call->is_counted = false;
    peer->candidate.in_flight--;
    end = end_of(call, attempt);
    /* Of a streamed body only its breaking off is news. */
    if (!attempt->is_reported ||
        (end.result.outcome == HWS_OUTCOME_FAILURE && attempt->permit.is_given))
        report(&end, &attempt->permit, now);
    if (end.result.outcome == HWS_OUTCOME_SUCCESS && attempt->status != 0 &&
        !attempt->is_reported) {
        peer->answered++;
        if (peer->pool.metrics != NULL)
            hws_histogram_record(&peer->pool.metrics->total, (uint64_t)end.result.latency);
        hws_recent_record(&peer->recent, (uint64_t)end.result.latency, now);
    }
    tell_done(&end, now);
}

void hws_feedback_dial_begins(hws_peer_t *peer, hws_permit_t *permit, hws_time_t now)
{
    hws_manager_t *manager = peer->upstream->manager;

    if (manager->is_measuring && peer->pool.metrics == NULL)
        peer->pool.metrics = hws_metrics_create(manager->since);
    take_permit(peer, permit, now);
    peer->candidate.in_flight++;
}

void hws_feedback_dial_ends(hws_peer_t *peer, hws_permit_t *permit, int code, hws_phase_t phase,
                            hws_time_t now)
{
    end_t end = {.peer = peer,
                 .code = code,
                 .phase = phase,
                 .result = {.outcome = code == HWS_OK ? HWS_OUTCOME_NEUTRAL
                                                      : hws_outcome_of(code, phase, 0)}};

    peer->candidate.in_flight--;
    peer->has_failed = code != HWS_OK && hws_error_kind(code) != HWS_KIND_CLOSED;
    report(&end, permit, now);
    if (code != HWS_OK)
        tell_done(&end, now);
}

void hws_feedback_observe(hws_peer_t *peer, hws_outcome_class_t outcome, hws_time_t latency,
                          hws_time_t now)
{
    hws_permit_t permit;
    end_t end = {.peer = peer,
                 .code = outcome == HWS_OUTCOME_FAILURE ? HWS_ERR_SYSTEM : HWS_OK,
                 .phase = HWS_PHASE_BODY,
                 .result = {.outcome = outcome, .latency = latency}};

    take_permit(peer, &permit, now);
    report(&end, &permit, now);
}

void hws_feedback_switch_off(hws_peer_t *peer, hws_time_t now)
{
    if (hws_breaker_close(&peer->breaker, now))
        tell_breaker(peer, now);
}

void hws_feedback_force(hws_peer_t *peer, hws_breaker_force_t force, hws_time_t now)
{
    const hws_breaker_options_t *options = &peer->upstream->breaker;
    hws_breaker_state_t before = hws_breaker_state(&peer->breaker, options, now);

    hws_breaker_force(&peer->breaker, force, now);
    if (hws_breaker_state(&peer->breaker, options, now) != before)
        tell_breaker(peer, now);
    hws_upstream_tidy(peer->upstream);
}

/* ---- the ledger ---- */

static bool is_trial(const hws_permit_t *permit, const hws_peer_t *peer)
{
    return permit->is_probe && permit->generation == peer->breaker.generation;
}

static uint32_t count_trials(const hws_upstream_t *upstream, const hws_peer_t *peer)
{
    uint32_t trials = 0;

    HWS_LIST_EACH(link, &peer->openings)
        trials += is_trial(&HWS_CONTAINER(link, hws_opening_t, link)->permit, peer);
    HWS_LIST_EACH(link, &upstream->calls) {
        hws_call_t *call = HWS_CONTAINER(link, hws_call_t, link);

        if (call->is_counted && call->peer == peer)
            trials += is_trial(&hws_attempts_last(&call->attempts)->permit, peer);
    }
    return trials;
}

void hws_feedback_check(const hws_upstream_t *upstream)
{
    const hws_list_t *lists[] = {&upstream->peers.list, &upstream->peers.removed};
    uint32_t counted = 0;
    uint32_t under_way = 0;
    size_t i;

    for (i = 0; i < 2; i++) {
        HWS_LIST_EACH(link, lists[i]) {
            const hws_peer_t *peer = HWS_CONTAINER(link, hws_peer_t, link);
            uint32_t trials = 0;

            counted += peer->candidate.in_flight;
            HWS_LIST_EACH(opening, &peer->openings)
                under_way++;
            if (peer->breaker.state == HWS_BREAKER_HALF_OPEN)
                trials = count_trials(upstream, peer);
            assert(trials == peer->breaker.probes_out);
            (void)trials;
        }
    }
    HWS_LIST_EACH(link, &upstream->calls)
        under_way += HWS_CONTAINER(link, hws_call_t, link)->is_counted;
    assert(counted == under_way);
    (void)counted;
    (void)under_way;
}
