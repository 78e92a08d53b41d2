#include "call.h"

#include "dispatch.h"
#include "opening.h"
#include "peer.h"
#include "pool/connection.h"
#include "upstream.h"

#include <assert.h>
#include <stdio.h>

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

    if (call->state != HWS_CALL_WAITING) {
        call->ops->on_timer(call, now);
        return;
    }
    if (call->is_out_of_memory) {
        call->ops->abort(call, HWS_ERR_NOMEM, now);
        return;
    }
    call->error.phase = call->opening != NULL ? call->opening->phase : HWS_PHASE_QUEUE;
    call->ops->abort(call, now >= call->deadline ? HWS_ERR_TIMEOUT : HWS_ERR_QUEUE_TIMEOUT, now);
}

void hws_call_init(hws_call_t *call, const hws_call_ops_t *ops, hws_upstream_t *upstream,
                   hws_time_t deadline)
{
    call->error.peer[0] = call->error.detail[0] = '\0';
    call->ops = ops;
    call->upstream = upstream;
    call->deadline = deadline;
    call->queue_left = upstream->owner.rules.timeouts.queue;
    call->queue_until = HWS_NEVER;
    hws_list_init(&call->queue_link);
    hws_list_init(&call->stream.link);
    hws_timer_init(&call->timer, on_timer);
    hws_list_push_back(&upstream->calls, &call->link);
    hws_upstream_hold(upstream);
    if (!call->is_setup)
        upstream->stats.requests++;
    hws_manager_call_begins(upstream->manager);
}

void hws_call_set_peer(hws_call_t *call, hws_peer_t *peer)
{
    if (call->peer == peer)
        return;
    if (peer != NULL)
        peer->holds++;
    /* Nothing but its calls may keep a removed peer. */
    if (call->peer != NULL && --call->peer->holds == 0 && call->peer->pool.is_retired)
        hws_upstream_tidy(call->upstream);
    call->peer = peer;
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

int hws_call_seek(hws_call_t *call, hws_time_t now)
{
    hws_upstream_t *upstream = call->upstream;

    call->state = HWS_CALL_WAITING;
    call->error.phase = HWS_PHASE_QUEUE;
    if (upstream->is_closed)
        return HWS_ERR_CLOSED;
    if (upstream->peers.count == 0)
        return HWS_ERR_NO_PEER;
    /* Whoever came earlier and could use the same room goes first. */
    if ((upstream->queue.waiting == 0 || call->is_fresh_only) &&
        hws_dispatch_try(upstream, call, now) && call->opening == NULL)
        return HWS_OK;
    if (call->opening == NULL && upstream->queue.waiting >= upstream->owner.rules.limits.pending)
        return HWS_ERR_QUEUE_FULL;
    enqueue(call);
    hws_call_clock(call, now);
    return HWS_OK;
}

void hws_call_grant(hws_call_t *call, hws_connection_t *connection, hws_time_t now)
{
    hws_opening_t *opening = call->opening;

    if (hws_list_is_linked(&call->queue_link)) {
        hws_queue_leave(&call->upstream->queue, call);
        stop_clock(call, now);
        hws_queue_note_pace(&call->upstream->queue, now);
    }
    hws_loop_cancel_timer(loop_of(call), &call->timer);
    call->opening = NULL;
    hws_call_set_peer(call, hws_peer_of(connection->pool));
    call->avoid = NULL;
    call->state = HWS_CALL_RUNNING;
    call->error.attempts++;
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
    call->opening = NULL;
    if (opening == NULL)
        return;
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
    if (!call->is_setup && call->error.code == HWS_OK)
        upstream->stats.ok++;
    else if (!call->is_setup)
        upstream->stats.failed++;
    hws_manager_call_ends(upstream->manager);
    if (upstream->owner.is_draining && hws_list_is_empty(&upstream->calls))
        hws_upstream_tidy(upstream);
}

void hws_call_dispose(hws_call_t *call)
{
    assert(call->state == HWS_CALL_OVER);
    hws_list_remove(&call->deferred.link);
    hws_loop_cancel_timer(loop_of(call), &call->timer);
    hws_call_set_peer(call, NULL);
    hws_upstream_unhold(call->upstream);
}

bool hws_call_go_elsewhere(hws_call_t *call, int code, hws_time_t now)
{
    hws_kind_t kind = hws_error_kind(code);

    if (call->was_elsewhere || call->upstream->peers.count < 2 || now >= call->deadline)
        return false;
    if (kind != HWS_KIND_RESOLVE && kind != HWS_KIND_REFUSED && kind != HWS_KIND_CONNECT &&
        kind != HWS_KIND_TLS && kind != HWS_KIND_TIMEOUT)
        return false;
    call->was_elsewhere = true;
    call->avoid = call->peer->pool.is_retired ? NULL : call->peer;
    return hws_call_seek(call, now) == HWS_OK;
}

void hws_call_fail(hws_call_t *call, int code, const char *detail)
{
    hws_error_t *error = &call->error;
    const char *peer = call->peer != NULL ? call->peer->id : "";

    error->code = code;
    snprintf(error->peer, sizeof(error->peer), "%s", peer);
    if (detail != NULL)
        snprintf(error->detail, sizeof(error->detail), "%s", detail);
    if (hws_error_kind(code) == HWS_KIND_OVERLOAD) {
        error->has_retry_in = true;
        error->retry_in = hws_queue_expected_wait(&call->upstream->queue);
    }
}
