#include "call.h"

#include "dispatch.h"
#include "feedback.h"
#include "opening.h"
#include "peer.h"
#include "pool/connection.h"
#include "script.h"
#include "upstream.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static hws_loop_t *loop_of(const hws_call_t *call)
{
    return call->upstream->manager->loop;
}

static hws_time_t sooner(hws_time_t a, hws_time_t b)
{
    return a < b ? a : b;
}

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    hws_call_t *call = HWS_CONTAINER(timer, hws_call_t, timer);
    int rc;

    if (call->state != HWS_CALL_WAITING) {
        call->ops->on_timer(call, now);
        return;
    }
    if (call->is_out_of_memory) {
        call->ops->abort(call, HWS_ERR_NOMEM, now);
        return;
    }
    if (call->again_at != HWS_NEVER) {
        rc = now < call->deadline ? hws_call_seek(call, now) : HWS_ERR_TIMEOUT;
        if (rc != HWS_OK)
            call->ops->abort(call, rc, now);
        return;
    }
    call->error.phase = call->opening != NULL ? call->opening->phase : HWS_PHASE_QUEUE;
    call->ops->abort(call, now >= call->deadline ? HWS_ERR_TIMEOUT : HWS_ERR_QUEUE_TIMEOUT, now);
}

void hws_call_init(hws_call_t *call, const hws_call_ops_t *ops, hws_upstream_t *upstream,
                   hws_time_t deadline, hws_time_t now)
{
    call->ops = ops;
    call->upstream = upstream;
    call->deadline = deadline;
    call->queue_left = upstream->owner.rules.timeouts.queue;
    call->queue_until = HWS_NEVER;
    call->again_at = HWS_NEVER;
    call->stream.urgency = HWS_URGENCY_USUAL;
    hws_list_init(&call->queue_link);
    hws_list_init(&call->opening_link);
    hws_list_init(&call->stream.link);
    hws_timer_init(&call->timer, on_timer);
    hws_list_push_back(&upstream->calls, &call->link);
    hws_upstream_hold(upstream);
    if (!call->is_uncounted) {
        upstream->stats.requests++;
        hws_budget_deposit(&upstream->budget, now);
    }
    hws_manager_call_begins(upstream->manager);
}

/* A reference that holds its peer. */
static void refer(hws_peer_t **reference, hws_peer_t *peer)
{
    if (*reference == peer)
        return;
    if (peer != NULL)
        hws_peer_hold(peer);
    if (*reference != NULL)
        hws_peer_release(*reference);
    *reference = peer;
}

void hws_call_set_peer(hws_call_t *call, hws_peer_t *peer)
{
    refer(&call->peer, peer);
    if (!call->is_uncounted)
        refer(&hws_attempts_last(&call->attempts)->peer, peer);
}

void hws_call_bind(hws_call_t *call, hws_peer_t *peer)
{
    refer(&call->bound_to, peer);
}

static void stop_clock(hws_call_t *call, hws_time_t now)
{
    if (call->queue_until == HWS_NEVER)
        return;
    call->queue_left = call->queue_until - now;
    call->queue_until = HWS_NEVER;
}

void hws_call_clock(hws_call_t *call, hws_time_t now)
{
    hws_time_t at;

    if (call->opening != NULL)
        stop_clock(call, now);
    else if (call->queue_until == HWS_NEVER && call->queue_left != HWS_NEVER)
        call->queue_until = now + call->queue_left;
    at = call->is_out_of_memory ? now : sooner(call->deadline, call->queue_until);
    hws_loop_set_timer(loop_of(call), &call->timer, at);
}

static void enqueue(hws_call_t *call)
{
    hws_upstream_t *upstream = call->upstream;

    hws_queue_join(&upstream->queue, call);
    if (upstream->queue.waiting > upstream->stats.queue_max)
        upstream->stats.queue_max = upstream->queue.waiting;
}

/* Whether it may look for room although others wait: they came earlier, and could use the same room. But
 * not those for whom a script declines what there is, nor those who want something else. */
static bool may_look(const hws_call_t *call)
{
    const hws_queue_t *queue = &call->upstream->queue;

    return queue->waiting == 0 || call->is_fresh_only || call->bound_to != NULL ||
           hws_queue_first_waiting(queue, NULL)->is_declined;
}

static int find_place(hws_call_t *call, hws_time_t now)
{
    hws_upstream_t *upstream = call->upstream;

    if (upstream->is_closed)
        return HWS_ERR_CLOSED;
    if (upstream->peers.count == 0 || (call->bound_to != NULL && call->bound_to->pool.is_retired))
        return HWS_ERR_NO_PEER;
    if (may_look(call) && hws_dispatch_try(upstream, call, now) && call->opening == NULL)
        return HWS_OK;
    if (call->opening == NULL && !hws_peer_set_may_try(upstream, call, now))
        return HWS_ERR_BREAKER_OPEN;
    if (call->opening == NULL && upstream->queue.waiting >= upstream->owner.rules.limits.pending)
        return HWS_ERR_QUEUE_FULL;
    enqueue(call);
    hws_call_clock(call, now);
    return HWS_OK;
}

int hws_call_seek(hws_call_t *call, hws_time_t now)
{
    bool is_retry = call->again_at != HWS_NEVER;
    int rc;

    call->state = HWS_CALL_WAITING;
    call->again_at = HWS_NEVER;
    if (call->avoid != NULL && call->avoid->pool.is_retired)
        call->avoid = NULL;
    call->error.phase = HWS_PHASE_QUEUE;
    if (hws_attempts_begin(&call->attempts, now) == NULL)
        return HWS_ERR_NOMEM;
    hws_attempts_last(&call->attempts)->is_retry = is_retry;
    if ((rc = find_place(call, now)) != HWS_OK)
        hws_call_attempt_over(call, rc, 0, now);
    return rc;
}

void hws_call_grant(hws_call_t *call, hws_connection_t *connection, hws_time_t now)
{
    hws_opening_t *opening = call->opening;
    hws_attempt_t *attempt = hws_attempts_last(&call->attempts);

    if (hws_list_is_linked(&call->queue_link)) {
        hws_queue_leave(&call->upstream->queue, call);
        stop_clock(call, now);
        hws_queue_note_pace(&call->upstream->queue, now);
    }
    hws_loop_cancel_timer(loop_of(call), &call->timer);
    if (opening != NULL)
        hws_opening_leave(opening, call);
    hws_call_set_peer(call, hws_peer_of(connection->pool));
    call->avoid = NULL;
    call->is_out_of_memory = false;
    call->state = HWS_CALL_RUNNING;
    call->error.attempts++;
    hws_attempt_enter(attempt, HWS_PHASE_SEND, now);
    attempt->is_reused = connection->served > 0;
    attempt->age =
        attempt->is_reused && connection->stream_count == 0 ? now - connection->used_at : 0;
    if (!call->is_connect_only)
        hws_feedback_begin(call, now);
    call->ops->granted(call, connection, now);
    if (opening != NULL)
        hws_dispatch_adopt(call->upstream, opening, now);
}

void hws_call_leave(hws_call_t *call, hws_time_t now)
{
    hws_opening_t *opening = call->opening;

    hws_queue_leave(&call->upstream->queue, call);
    stop_clock(call, now);
    hws_loop_cancel_timer(loop_of(call), &call->timer);
    hws_list_remove(&call->opening_link);
    if (opening == NULL)
        return;
    hws_opening_leave(opening, call);
    call->error.phase = opening->phase;
    hws_dispatch_adopt(call->upstream, opening, now);
}

void hws_call_over(hws_call_t *call)
{
    hws_upstream_t *upstream = call->upstream;

    assert(call->state != HWS_CALL_OVER && call->stream.connection == NULL);
    assert(call->opening == NULL);
    hws_queue_leave(&call->upstream->queue, call);
    call->state = HWS_CALL_OVER;
    hws_loop_cancel_timer(loop_of(call), &call->timer);
    hws_list_remove(&call->link);
    if (!call->is_uncounted && call->error.code == HWS_OK)
        upstream->stats.ok++;
    else if (!call->is_uncounted)
        upstream->stats.failed++;
    hws_manager_call_ends(upstream->manager);
    if (upstream->owner.is_draining && hws_list_is_empty(&upstream->calls))
        hws_upstream_tidy(upstream);
}

static void drop_attempts(hws_attempts_t *attempts)
{
    uint32_t i;

    refer(&attempts->first.peer, NULL);
    if (attempts->more == NULL)
        return;
    for (i = 1; i < attempts->count; i++)
        refer(&hws_attempts_at(attempts, i)->peer, NULL);
    hws_free(attempts->more);
}

void hws_call_dispose(hws_call_t *call)
{
    assert(call->state == HWS_CALL_OVER);
    hws_list_remove(&call->deferred.link);
    hws_loop_cancel_timer(loop_of(call), &call->timer);
    refer(&call->peer, NULL);
    hws_call_bind(call, NULL);
    drop_attempts(&call->attempts);
    hws_free(call->retry);
    hws_free(call->error.told);
    hws_upstream_unhold(call->upstream);
}

/* ---- attempts ---- */

void hws_call_attempt_over(hws_call_t *call, int code, uint32_t status, hws_time_t now)
{
    hws_attempt_t *attempt = hws_attempts_last(&call->attempts);

    if (attempt->is_over || call->is_uncounted)
        return;
    hws_attempt_enter(attempt, attempt->phase, now);
    attempt->is_over = true;
    attempt->code = code;
    attempt->status = status;
    hws_feedback_end(call, attempt, now);
}

/* What the policy, scripted or built in, wants. */
static hws_retry_verdict_t propose(hws_call_t *call, const hws_retry_options_t *options,
                                   const hws_retry_try_t *tried, hws_time_t now)
{
    hws_time_t delay =
        hws_script_decide(call, hws_attempts_last(&call->attempts), tried->retry_after, now);

    if (delay == HWS_DECIDE_BUILT_IN)
        return hws_retry_propose(options, tried, &call->attempts.backoff,
                                 &call->upstream->manager->pools.random);
    return (hws_retry_verdict_t){.reason = delay < 0 ? HWS_RETRY_NOT_ON : HWS_RETRY_GO,
                                 .delay = delay < 0 ? 0 : delay};
}

static hws_retry_verdict_t decide(hws_call_t *call, const hws_retry_options_t *options,
                                  const hws_retry_try_t *tried, hws_time_t now)
{
    hws_retry_verdict_t verdict = {.reason = hws_retry_may(options, tried)};

    /* That it may not be sent twice is no news of an answer which nobody would send it again for. */
    if (verdict.reason == HWS_RETRY_UNSAFE && tried->status != 0 &&
        !hws_retry_on_has(&options->on, tried->code, tried->phase, tried->status))
        verdict.reason = HWS_RETRY_NOT_ON;
    if (verdict.reason == HWS_RETRY_GO)
        verdict = propose(call, options, tried, now);
    if (verdict.reason == HWS_RETRY_GO)
        verdict = hws_retry_admit(options, tried, verdict.delay, &call->upstream->budget, now);
    return verdict;
}

static const char *cause_of(const hws_attempt_t *attempt)
{
    return attempt->code != HWS_OK ? hws_kind_name(hws_error_kind(attempt->code)) : "status";
}

bool hws_call_goes_again(hws_call_t *call, bool is_replayable, hws_time_t retry_after,
                         hws_time_t now)
{
    const hws_retry_options_t *options = call->retry != NULL ? call->retry : &call->upstream->retry;
    hws_attempt_t *attempt = hws_attempts_last(&call->attempts);
    hws_retry_try_t tried = {.code = attempt->code,
                             .phase = attempt->phase,
                             .status = attempt->status,
                             .attempts = ++call->attempts.charged,
                             .is_replayable = is_replayable,
                             .retry_after = retry_after,
                             .left =
                                 call->deadline == HWS_NEVER ? HWS_NEVER : call->deadline - now};
    hws_retry_verdict_t verdict = decide(call, options, &tried, now);

    attempt->verdict = verdict.reason;
    attempt->is_judged = true;
    if (verdict.reason != HWS_RETRY_GO) {
        call->upstream->stats.refused[verdict.reason]++;
        return false;
    }
    hws_manager_tell_retry(call->upstream->manager, call->upstream->name,
                           call->peer != NULL ? call->peer->id : "", cause_of(attempt),
                           call->attempts.charged, verdict.delay, now);
    call->state = HWS_CALL_WAITING;
    call->is_fresh_only = false;
    call->avoid = attempt->peer;
    if (call->bound_to != NULL || (call->avoid != NULL && call->avoid->pool.is_retired))
        call->avoid = NULL;
    call->again_at = now + verdict.delay;
    hws_loop_set_timer(loop_of(call), &call->timer, call->again_at);
    return true;
}

/* What a retry that found nobody to go to was to make good: that, and not the vain search, is why the
 * call fails. NULL: there is no such thing. */
static const hws_attempt_t *cause_before(hws_call_t *call, int code)
{
    hws_kind_t kind = hws_error_kind(code);
    uint32_t i = call->attempts.count;

    if (kind != HWS_KIND_BREAKER_OPEN && kind != HWS_KIND_OVERLOAD && kind != HWS_KIND_NO_PEER)
        return NULL;
    while (i-- > 0) {
        const hws_attempt_t *attempt = hws_attempts_at(&call->attempts, i);

        if (attempt->is_judged && attempt->verdict == HWS_RETRY_GO && attempt->code != HWS_OK)
            return attempt;
    }
    return NULL;
}

/* Sets the strings; `detail` NULL: what was said of it before stays. */
static void tell(hws_failure_t *error, const char *detail, const hws_peer_t *peer)
{
    if (error->told == NULL && (error->told = hws_zalloc(sizeof(*error->told))) == NULL)
        return;
    if (detail != NULL || error->code == HWS_OK)
        snprintf(error->told->detail, sizeof(error->told->detail), "%s",
                 detail != NULL ? detail : "");
    snprintf(error->told->peer, sizeof(error->told->peer), "%s", peer != NULL ? peer->id : "");
}

void hws_call_fail(hws_call_t *call, int code, const char *detail, hws_time_t now)
{
    hws_failure_t *error = &call->error;
    const hws_attempt_t *cause = cause_before(call, code);

    /* Most who give a call up never ask. */
    if (detail != NULL || cause != NULL || error->told != NULL)
        tell(error, detail, cause != NULL ? cause->peer : call->peer);
    error->code = code;
    if (cause != NULL) {
        error->code = cause->code;
        error->phase = cause->phase;
    }
    if (hws_error_kind(code) == HWS_KIND_OVERLOAD) {
        error->has_retry_in = true;
        error->retry_in = hws_queue_expected_wait(&call->upstream->queue);
    } else if (code == HWS_ERR_BREAKER_OPEN) {
        error->retry_in = hws_peer_set_retry_in(call->upstream, call, now);
        error->has_retry_in = error->retry_in != HWS_NEVER;
    }
}

const hws_error_t *hws_call_error(const hws_call_t *call)
{
    static const hws_error_t out_of_memory = {.code = HWS_ERR_NOMEM};
    hws_failure_t *error = (hws_failure_t *)(uintptr_t)&call->error;

    if (error->code == HWS_OK)
        return NULL;
    if (error->told == NULL)
        tell(error, NULL, call->peer);
    if (error->told == NULL)
        return &out_of_memory;
    error->told->code = error->code;
    error->told->phase = error->phase;
    error->told->attempts = error->attempts;
    error->told->sent = error->sent;
    error->told->retryable = error->retryable;
    error->told->has_retry_in = error->has_retry_in;
    error->told->retry_in = error->retry_in;
    return error->told;
}

void hws_call_trace(const hws_call_t *call, uint32_t index, hws_trace_t *out)
{
    const hws_attempt_t *attempt =
        index == 0 ? &call->attempts.first : &call->attempts.more[index - 1];

    assert(index < call->attempts.count);
    *out = (hws_trace_t){.peer = attempt->peer != NULL ? attempt->peer->id : "",
                         .age = attempt->age,
                         .code = attempt->code,
                         .status = attempt->status,
                         .verdict = attempt->verdict,
                         .is_judged = attempt->is_judged,
                         .is_reused = attempt->is_reused,
                         .is_stale = attempt->is_stale,
                         .is_unseen = attempt->is_unseen};
    memcpy(out->spans, attempt->spans, sizeof(out->spans));
}
