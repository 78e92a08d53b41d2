#include "request.h"

#include "codec/h1.h"
#include "feedback.h"
#include "manager.h"
#include "peer.h"
#include "pool/connection.h"
#include "stream_state.h"
#include "upstream.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

static hws_request_t *request_of(hws_call_t *call)
{
    return HWS_CONTAINER(call, hws_request_t, call);
}

static hws_request_t *of_stream(hws_stream_t *stream)
{
    return HWS_CONTAINER(stream, hws_request_t, call.stream);
}

static hws_loop_t *loop_of(const hws_request_t *request)
{
    return request->call.upstream->manager->loop;
}

static void wake(hws_request_t *request)
{
    hws_loop_defer(loop_of(request), &request->call.deferred);
}

/* ---- streams that go both ways ---- */

/* There may be many that are idle, so they have no stores for what most of them never need at once. */
static hws_slab_t *slab_of(hws_manager_t *manager, bool is_duplex)
{
    return is_duplex ? &manager->duplexes : &manager->requests;
}

static void note_event(hws_request_t *request, hws_stream_event_t event)
{
    request->state = (uint8_t)hws_stream_state_after((hws_stream_state_t)request->state, event);
}

/* Both have ended it, or it is over for `code`. */
static void note_over(hws_request_t *request, int code)
{
    hws_kind_t kind;

    if (!request->is_duplex)
        return;
    kind = hws_error_kind(code);
    note_event(request, code == HWS_OK || kind == HWS_KIND_CANCELED || kind == HWS_KIND_CLOSED
                            ? HWS_STREAM_GIVEN_UP
                            : HWS_STREAM_FAILED);
}

/* It is on a connection: from here on there is one stream, which has a name and no second try. */
static int note_open(hws_request_t *request)
{
    hws_manager_t *manager = request->call.upstream->manager;
    int rc;

    request->stream_id = ++manager->stream_ids;
    rc = hws_hash_add(&manager->streams, &request->id_link, (const char *)&request->stream_id,
                      sizeof(request->stream_id));
    if (rc != HWS_OK) {
        request->stream_id = 0;
        return rc;
    }
    request->producer_asked = true;
    if (!request->is_bounded)
        request->call.deadline = HWS_NEVER;
    note_event(request, HWS_STREAM_OPENED);
    return HWS_OK;
}

/* ---- endings ---- */

static hws_phase_t phase_of(const hws_request_t *request)
{
    if (request->call.state == HWS_CALL_WAITING)
        return request->call.error.phase;
    if (request->has_head)
        return HWS_PHASE_BODY;
    return request->is_sent ? HWS_PHASE_HEADERS : HWS_PHASE_SEND;
}

/* API.md's replay table, but for the causes after which nothing goes again. */
static bool may_go_again(const hws_request_t *request, int code)
{
    return !request->producer_asked && !request->is_told &&
           (!request->call.error.sent || request->call.is_replayable || hws_retry_is_unseen(code));
}

static void succeed(hws_request_t *request)
{
    request->is_complete = true;
    note_over(request, HWS_OK);
    hws_call_over(&request->call);
    wake(request);
}

/* Whether what is there of an earlier attempt is a better end than this failure of the search for
 * another: all but what was done on this side. */
static bool has_better(const hws_request_t *request, int code)
{
    hws_kind_t kind = hws_error_kind(code);

    return request->holds_answer && kind != HWS_KIND_CANCELED && kind != HWS_KIND_CLOSED &&
           kind != HWS_KIND_NOMEM;
}

static void dispose_answer(hws_request_t *request)
{
    hws_reply_t *answer = request->answer;

    if (answer == NULL)
        return;
    hws_free(answer->head_block);
    /* The trailers' fields stand at the beginning of their block. */
    hws_free((void *)(uintptr_t)answer->trailers.fields);
    if (request->is_duplex)
        hws_free(answer);
}

/* What an earlier attempt brought. */
static void drop_answer(hws_request_t *request)
{
    hws_inbox_dispose(&request->inbox);
    dispose_answer(request);
    if (request->is_duplex)
        request->answer = NULL;
    else
        request->own_answer = (hws_reply_t){.head_block = NULL};
    request->body_size = 0;
    request->verdict = HWS_OK;
    request->has_head = request->was_stale = request->is_weighed = request->holds_answer = false;
}

static void leave_connection(hws_call_t *call, int code, hws_time_t now)
{
    if (call->stream.connection == NULL)
        return;
    if (code == HWS_ERR_TIMEOUT)
        hws_connection_suspect(&call->stream, now);
    hws_connection_detach(&call->stream, HWS_CLOSE_ABANDONED, false, now);
}

/* The one ending that is a failure. Whatever it held goes back first. */
static void fail(hws_request_t *request, int code, const char *detail, hws_time_t now)
{
    hws_call_t *call = &request->call;

    if (call->state == HWS_CALL_WAITING)
        hws_call_leave(call, now);
    if (has_better(request, code)) {
        hws_call_attempt_over(call, code, 0, now);
        succeed(request);
        return;
    }
    if (request->holds_answer)
        drop_answer(request);
    call->error.phase = phase_of(request);
    /* Its peer is free of it before others look for room there. */
    hws_call_attempt_over(call, code, 0, now);
    leave_connection(call, code, now);
    hws_call_fail(call, code, detail, now);
    code = call->error.code;
    /* What the user of a stream sends he can send again himself. */
    call->error.retryable =
        hws_retry_is_retryable(code) &&
        (may_go_again(request, code) || (request->is_duplex && hws_retry_is_unseen(code)));
    note_over(request, code);
    hws_call_over(call);
    wake(request);
}

/* The attempt has failed: another follows, or the request has. */
static void lose_attempt(hws_request_t *request, int code, const char *detail, hws_time_t now)
{
    hws_call_t *call = &request->call;
    hws_phase_t phase = phase_of(request);

    hws_call_attempt_over(call, code, 0, now);
    leave_connection(call, code, now);
    if (hws_call_goes_again(call, may_go_again(request, code), HWS_RETRY_AFTER_NONE, now)) {
        call->error.phase = phase;
        if (!request->holds_answer)
            drop_answer(request);
        return;
    }
    fail(request, code, detail, now);
}

static void on_abort(hws_call_t *call, int code, hws_time_t now)
{
    fail(request_of(call), code, NULL, now);
}

static void on_dial_failed(hws_call_t *call, int code, hws_phase_t phase, const char *detail,
                           hws_time_t now)
{
    call->error.phase = phase;
    lose_attempt(request_of(call), code, detail, now);
}

/* ---- time ---- */

/* False while it is somebody else who is waited for: the producer, or the reader of a streamed body. */
static bool is_peer_awaited(const hws_request_t *request)
{
    if (request->is_duplex)
        return request->wants_readable || request->wants_writable;
    if (request->has_producer && !request->is_sent && !request->wants_writable)
        return false;
    return !request->is_told || request->wants_readable;
}

/* When a wait for the peer's bytes has lasted too long, or HWS_NEVER. */
static hws_time_t quiet_until(const hws_request_t *request)
{
    const hws_connection_t *connection = request->call.stream.connection;
    hws_time_t span = request->call.upstream->owner.rules.timeouts.read;
    hws_time_t since = request->quiet_since;

    if (span == HWS_NEVER || connection == NULL || !is_peer_awaited(request))
        return HWS_NEVER;
    /* What comes on a connection with many streams may be for others: those that are for this one
     * note it. */
    if (!hws_connection_is_multiplexing(connection) && connection->used_at > since)
        since = connection->used_at;
    return since + span;
}

static void set_timer(hws_request_t *request, hws_time_t at)
{
    if (request->call.deadline < at)
        at = request->call.deadline;
    if (request->attempt_until < at)
        at = request->attempt_until;
    hws_loop_set_timer(loop_of(request), &request->call.timer, at);
}

static void on_timer(hws_call_t *call, hws_time_t now)
{
    hws_request_t *request = request_of(call);
    hws_time_t span = call->upstream->owner.rules.timeouts.read;
    hws_time_t until = quiet_until(request);

    if (call->state == HWS_CALL_OVER)
        return;
    if (now >= call->deadline) {
        fail(request, HWS_ERR_TIMEOUT, NULL, now);
        return;
    }
    if (now >= until || now >= request->attempt_until) {
        lose_attempt(request, HWS_ERR_TIMEOUT, NULL, now);
        return;
    }
    /* Whoever begins to wait later does not move the timer: it comes round often enough. */
    if (until == HWS_NEVER && span != HWS_NEVER)
        until = now + span;
    set_timer(request, until);
}

static void watch(hws_request_t *request, hws_time_t now)
{
    const hws_timeouts_t *timeouts = &request->call.upstream->owner.rules.timeouts;

    request->attempt_until =
        timeouts->attempt == HWS_NEVER || request->is_duplex ? HWS_NEVER : now + timeouts->attempt;
    set_timer(request, timeouts->read == HWS_NEVER ? HWS_NEVER : now + timeouts->read);
}

/* ---- sending ---- */

/* Nothing more will be sent: from here on the peer is waited for. */
static void note_sent(hws_request_t *request, hws_time_t now)
{
    request->is_sent = true;
    if (!request->has_head)
        hws_attempt_enter(hws_attempts_last(&request->call.attempts), HWS_PHASE_HEADERS, now);
}

/* Gives the rest of a body that is there in one piece to the connection, as far as it takes it. */
static void pump(hws_request_t *request, hws_time_t now)
{
    hws_stream_t *stream = &request->call.stream;
    size_t before = request->body_sent;
    int rc = HWS_OK;

    while (request->body_sent < request->body.size && rc == HWS_OK) {
        size_t taken;
        hws_slice_t rest = {request->body.data + request->body_sent,
                            request->body.size - request->body_sent};

        rc = hws_connection_send(stream, rest, true, &taken);
        request->body_sent += taken;
    }
    if (request->body_sent == request->body.size)
        note_sent(request, now);
    /* A peer that takes bytes is not silent. */
    if (request->body_sent > before)
        request->quiet_since = now;
    if (rc == HWS_ERR_NOMEM) {
        request->verdict = rc;
        wake(request);
    }
}

static hws_slice_t method_of(const hws_request_t *request)
{
    return (hws_slice_t){request->words, request->method_size};
}

static hws_slice_t target_of(const hws_request_t *request)
{
    return (hws_slice_t){request->words + request->method_size, request->target_size};
}

static hws_slice_t fields_of(const hws_request_t *request)
{
    return (hws_slice_t){request->words + request->method_size + request->target_size,
                         request->fields_size};
}

/* As its present peer is sent it. */
static void write_message(const hws_request_t *request, hws_message_t *message)
{
    const hws_peer_t *peer = request->call.peer;

    *message = (hws_message_t){
        .method = method_of(request),
        .scheme = peer->is_secure ? HWS_SLICE("https") : HWS_SLICE("http"),
        .target = target_of(request),
        .fields = fields_of(request),
        .body = request->has_producer ? HWS_BODY_CHUNKED
                : request->has_body   ? HWS_BODY_SIZED
                                      : HWS_BODY_NONE,
        .body_size = request->body.size,
    };

    if (!request->has_host)
        message->authority = (hws_slice_t){peer->authority, peer->authority_size};
}

static void on_granted(hws_call_t *call, hws_connection_t *connection, hws_time_t now)
{
    hws_request_t *request = request_of(call);
    hws_message_t message;
    size_t taken;
    int rc;

    if (request->is_duplex && !hws_connection_is_multiplexing(connection)) {
        fail(request, HWS_ERR_UNSUPPORTED, "HTTP/1 has no streams that go both ways", now);
        return;
    }
    if (request->holds_answer)
        drop_answer(request);
    request->body_sent = 0;
    request->is_sent = request->has_ended = false;
    request->is_reused = connection->served > 0;
    write_message(request, &message);
    rc = hws_connection_open(connection, &call->stream, &message, request->body, true, now, &taken);
    if (rc != HWS_OK) {
        fail(request, rc, NULL, now);
        return;
    }
    call->error.sent = true;
    if (request->is_duplex && (rc = note_open(request)) != HWS_OK) {
        fail(request, rc, NULL, now);
        return;
    }
    request->idle_age = connection->idle_age;
    request->body_sent = taken;
    request->quiet_since = now;
    watch(request, now);
    if (request->has_producer) {
        request->wants_writable = true;
        call->stream.wants_write = false;
        wake(request);
    } else {
        pump(request, now);
    }
}

/* ---- what comes back: notes only ---- */

/* Bytes and offsets in one block. */
static char *copy_head(const hws_head_t *head, char *store, size_t room, char **block,
                       hws_head_t *out)
{
    size_t fields = head->count * sizeof(hws_field_t);
    char *place = store;

    assert(block != NULL);
    if (place == NULL || fields + head->size > room) {
        if ((place = hws_alloc(fields + head->size)) == NULL)
            return NULL;
        *block = place;
    }
    if (fields > 0)
        memcpy(place, head->fields, fields);
    memcpy(place + fields, head->bytes, head->size);
    *out = *head;
    out->fields = (const hws_field_t *)(const void *)place;
    out->bytes = place + fields;
    return place;
}

static void on_head(hws_stream_t *stream, const hws_head_t *head)
{
    hws_request_t *request = of_stream(stream);
    hws_reply_t *answer = request->answer;

    if (answer == NULL)
        answer = request->answer = hws_zalloc(sizeof(*answer));
    if (answer == NULL ||
        copy_head(head, request->is_duplex ? NULL : request->head_store,
                  sizeof(request->head_store), &answer->head_block, &answer->head) == NULL) {
        request->verdict = HWS_ERR_NOMEM;
        wake(request);
        return;
    }
    request->has_head = true;
    request->quiet_since = stream->connection->used_at;
    hws_attempt_enter(hws_attempts_last(&request->call.attempts), HWS_PHASE_BODY,
                      stream->connection->used_at);
    if (!request->is_streaming && stream->announced != HWS_BODY_UNKNOWN &&
        stream->announced > request->max_body)
        request->verdict = HWS_ERR_BODY_SIZE;
    if (request->is_streaming || request->verdict != HWS_OK)
        wake(request);
}

static size_t on_body(hws_stream_t *stream, const char *data, size_t size)
{
    hws_request_t *request = of_stream(stream);

    request->body_size += size;
    request->quiet_since = stream->connection->used_at;
    hws_attempts_last(&request->call.attempts)->bytes += size;
    if (!request->is_streaming && request->body_size > request->max_body)
        request->verdict = HWS_ERR_BODY_SIZE;
    else if (request->verdict == HWS_OK)
        request->verdict = hws_inbox_put(&request->inbox, data, size);
    wake(request);
    return request->is_streaming ? 0 : size;
}

static void on_trailers(hws_stream_t *stream, const hws_head_t *trailers)
{
    hws_request_t *request = of_stream(stream);
    char *block = NULL;

    if (!request->has_head ||
        copy_head(trailers, NULL, 0, &block, &request->answer->trailers) == NULL)
        request->verdict = HWS_ERR_NOMEM;
}

/* The peer has ended a stream on which something is still to be sent, or to leave. */
static void note_remote_end(hws_request_t *request)
{
    request->is_complete = request->verdict == HWS_OK;
    if (request->is_sent)
        request->call.stream.wants_write = true;
    else
        note_event(request, HWS_STREAM_REMOTE_END);
    wake(request);
}

static void on_end(hws_stream_t *stream, int status)
{
    hws_request_t *request = of_stream(stream);

    if (request->is_duplex && status == HWS_OK && stream->part != NULL) {
        note_remote_end(request);
        return;
    }
    if (request->is_duplex && status == HWS_OK && !request->is_sent)
        request->was_cut = true;
    /* The response was there already; what becomes of the rest of the request is all the same. */
    if (request->has_ended)
        return;
    request->has_ended = true;
    request->end_status = status;
    request->was_stale = hws_connection_may_be_stale(stream->connection);
    hws_connection_stream_ended(stream);
}

static void on_stream_writable(hws_stream_t *stream)
{
    hws_request_t *request = of_stream(stream);

    /* A peer that takes bytes is not silent. */
    request->quiet_since = hws_loop_recent(loop_of(request));
    wake(request);
}

/* A reused connection that dies before a byte of an answer was stale: the peer had closed it. What
 * may be sent twice then goes once more, at once, on a fresh one, and nobody counts it. */
static bool replay(hws_request_t *request, int code, hws_time_t now)
{
    hws_call_t *call = &request->call;
    hws_upstream_t *upstream = call->upstream;
    hws_phase_t phase;

    if (hws_error_kind(code) != HWS_KIND_RESET || !request->was_stale)
        return false;
    hws_attempts_last(&call->attempts)->is_stale = true;
    hws_pool_learn(&call->peer->pool, request->idle_age, now);
    hws_manager_tell(upstream->manager, HWS_EVENT_STALE_REUSE, upstream->name, call->peer->id,
                     call->is_replayable ? "replayed" : "failed", request->idle_age, now);
    if (!call->is_replayable || request->was_replayed || request->producer_asked)
        return false;
    phase = phase_of(request);
    request->was_replayed = true;
    call->is_fresh_only = true;
    hws_call_attempt_over(call, code, 0, now);
    /* One that others have made meanwhile will do. */
    call->fresh_since = now - hws_attempt_latency(hws_attempts_last(&call->attempts));
    hws_loop_cancel_timer(loop_of(request), &call->timer);
    if (hws_call_seek(call, now) != HWS_OK) {
        call->error.phase = phase;
        return false;
    }
    upstream->stats.replayed++;
    return true;
}

/* The peer did not look at it, so it goes again elsewhere, whatever it is and whatever the retry policy
 * says: once for each of the two ways in which a peer says so. */
static bool go_elsewhere(hws_request_t *request, int code, hws_time_t now)
{
    hws_call_t *call = &request->call;
    bool *was_told = code == HWS_ERR_GOAWAY ? &request->was_goaway : &request->was_refused;
    hws_phase_t phase = phase_of(request);

    if (!hws_retry_is_unseen(code) || *was_told || request->producer_asked)
        return false;
    *was_told = true;
    hws_attempts_last(&call->attempts)->is_unseen = true;
    hws_call_attempt_over(call, code, 0, now);
    hws_loop_cancel_timer(loop_of(request), &call->timer);
    /* A connection that goes away says nothing about a new one; who refuses may go on refusing. */
    if (code == HWS_ERR_REFUSED_STREAM && call->bound_to == NULL)
        call->avoid = call->peer;
    if (hws_call_seek(call, now) != HWS_OK) {
        call->error.phase = phase;
        return false;
    }
    call->upstream->stats.replayed++;
    return true;
}

/* The peer wants HTTP/1.1 (RFC 9113, 7), which is spoken with it from now on where ALPN leaves the
 * choice. What may be sent twice goes there again, at once and uncounted: it cannot come back here. */
static bool turn_to_http1(hws_request_t *request, int code, hws_time_t now)
{
    hws_call_t *call = &request->call;
    hws_phase_t phase = phase_of(request);

    if (code != HWS_ERR_RST_HTTP_1_1 || !hws_peer_turn_to_http1(call->peer, now) ||
        request->is_duplex || !may_go_again(request, code) || request->was_turned)
        return false;
    request->was_turned = true;
    hws_attempts_last(&call->attempts)->is_unseen = true;
    hws_call_attempt_over(call, code, 0, now);
    hws_loop_cancel_timer(loop_of(request), &call->timer);
    if (hws_call_seek(call, now) != HWS_OK) {
        call->error.phase = phase;
        return false;
    }
    call->upstream->stats.replayed++;
    return true;
}

static hws_slice_t field_of(const hws_head_t *head, hws_slice_t name)
{
    int64_t index = hws_head_find(head, name, 0);

    return index >= 0 ? hws_head_value(head, (uint32_t)index) : (hws_slice_t){"", 0};
}

static hws_time_t retry_after(hws_request_t *request)
{
    hws_io_t *io = loop_of(request)->io;
    hws_slice_t value = field_of(&request->answer->head, HWS_SLICE("retry-after"));

    if (value.size == 0)
        return HWS_RETRY_AFTER_NONE;
    return hws_retry_after(value, field_of(&request->answer->head, HWS_SLICE("date")),
                           io->ops->wall(io));
}

/* There is an answer, of a streaming request the head. Whether that is not the end of it: it is
 * kept while another attempt is waited for. */
static bool weigh(hws_request_t *request, hws_time_t now)
{
    hws_call_t *call = &request->call;

    request->is_weighed = true;
    if (request->answer->head.status < HWS_STATUS_FIRST)
        return false;
    hws_attempts_last(&call->attempts)->status = request->answer->head.status;
    if (!hws_call_goes_again(call, may_go_again(request, HWS_OK), retry_after(request), now))
        return false;
    hws_call_attempt_over(call, HWS_OK, request->answer->head.status, now);
    request->holds_answer = true;
    return true;
}

static void on_settled(hws_stream_t *stream, hws_time_t now)
{
    hws_request_t *request = of_stream(stream);
    int status = request->verdict != HWS_OK ? request->verdict : request->end_status;

    if (status != HWS_OK) {
        if (!replay(request, status, now) && !go_elsewhere(request, status, now) &&
            !turn_to_http1(request, status, now))
            lose_attempt(request, status, NULL, now);
        return;
    }
    if (!request->is_weighed && weigh(request, now))
        return;
    hws_call_attempt_over(&request->call, HWS_OK, request->answer->head.status, now);
    succeed(request);
}

static const hws_stream_events_t stream_events = {
    on_head, on_body, on_trailers, on_end, on_stream_writable, on_settled, NULL};
static void describe(const hws_call_t *call, hws_decision_t *about)
{
    const hws_request_t *request = HWS_CONTAINER(call, const hws_request_t, call);

    about->method = method_of(request);
    about->target = target_of(request);
    about->fields = fields_of(request);
    about->priority = call->stream.urgency;
}

static const hws_call_ops_t call_ops = {on_granted, on_dial_failed, on_abort, on_timer, describe};

/* ---- telling the user, at rest ---- */

/* An answer that was held may be of an earlier attempt than the last one. */
static const hws_peer_t *who_answered(hws_request_t *request)
{
    hws_attempts_t *attempts = &request->call.attempts;
    uint32_t i = attempts->count;

    if (!request->holds_answer)
        return request->call.peer;
    while (hws_attempts_at(attempts, --i)->status == 0)
        ;
    return hws_attempts_at(attempts, i)->peer;
}

static const hws_head_t *trailers_of(const hws_reply_t *answer)
{
    return answer->trailers.bytes != NULL ? &answer->trailers : NULL;
}

static void fill_response(hws_request_t *request)
{
    hws_reply_t *answer = request->answer;

    answer->response.head = &answer->head;
    answer->response.trailers = trailers_of(answer);
    answer->response.peer = who_answered(request)->id;
    answer->response.attempts = request->call.error.attempts;
    answer->response.reused = request->is_reused;
    if (!request->is_streaming)
        answer->response.body = hws_inbox_bytes(&request->inbox);
}

static bool is_over(const hws_request_t *request)
{
    return request->call.state == HWS_CALL_OVER;
}

static bool has_response(const hws_request_t *request)
{
    return request->has_head && (request->is_streaming || request->call.error.code == HWS_OK);
}

/* Which callback is due; each is told once. */
static void (*due(hws_request_t *request))(hws_request_t *, void *)
{
    if (!request->is_told && (is_over(request) || request->is_weighed) &&
        !(request->holds_answer && !is_over(request))) {
        request->is_told = true;
        if (has_response(request))
            fill_response(request);
        if (request->is_duplex)
            request->wants_readable = false;
        else if (request->is_streaming)
            request->call.deadline = request->attempt_until = HWS_NEVER;
        return request->on_done;
    }
    if (request->wants_readable &&
        (is_over(request) || request->is_complete || hws_inbox_size(&request->inbox) > 0)) {
        request->wants_readable = false;
        return request->on_readable;
    }
    if (request->wants_writable && (is_over(request) || !request->call.stream.wants_write)) {
        request->wants_writable = false;
        request->producer_asked = true;
        return request->on_writable;
    }
    return NULL;
}

/* A part of the body could not be kept: there is no response any more, or no whole one. */
static void lose_body(hws_request_t *request)
{
    hws_inbox_dispose(&request->inbox);
    request->verdict = HWS_ERR_NOMEM;
    request->is_complete = false;
    if (!is_over(request)) {
        wake(request);
        return;
    }
    if (!request->is_streaming)
        request->answer->response.head = NULL;
    request->call.error.phase = HWS_PHASE_BODY;
    hws_call_fail(&request->call, HWS_ERR_NOMEM, NULL, hws_loop_now(loop_of(request)));
}

/* The head of a streamed response has come: it is told, or the rest of it is given up for another
 * attempt. */
static void weigh_head(hws_request_t *request)
{
    hws_call_t *call = &request->call;
    hws_time_t now = hws_loop_now(loop_of(request));

    if (!weigh(request, now)) {
        hws_feedback_answered(call, request->answer->head.status, now);
        return;
    }
    hws_connection_detach(&call->stream, HWS_CLOSE_ABANDONED, false, now);
    drop_answer(request);
}

/* Both sides have ended the stream: it is over when its last byte has left. */
static void end_when_sent(hws_request_t *request)
{
    hws_stream_t *stream = &request->call.stream;
    hws_connection_t *connection = stream->connection;
    hws_time_t now = hws_loop_now(loop_of(request));

    assert(connection != NULL && request->answer != NULL);
    /* A connection that takes no other stream is closed behind it. */
    if (stream->part == NULL && connection->codec->is_last)
        hws_outbox_send(&connection->outbox);
    stream->wants_write =
        stream->part != NULL || (connection->codec->is_last && connection->outbox.is_flushing);
    if (stream->wants_write)
        return;
    hws_call_attempt_over(&request->call, HWS_OK, request->answer->head.status, now);
    hws_connection_detach(stream, HWS_CLOSE_LAST, false, now);
    succeed(request);
}

static void deliver(hws_deferred_t *deferred)
{
    hws_request_t *request = HWS_CONTAINER(deferred, hws_request_t, call.deferred);
    void (*callback)(hws_request_t *, void *);
    bool destroyed = false;

    if (request->verdict != HWS_OK && !is_over(request))
        fail(request, request->verdict, NULL, hws_loop_now(loop_of(request)));
    if (request->call.stream.connection != NULL && !request->has_producer && !request->is_sent)
        pump(request, hws_loop_now(loop_of(request)));
    if (request->is_streaming && request->has_head && !request->is_weighed && !is_over(request))
        weigh_head(request);
    if (request->is_complete && request->is_sent && !is_over(request))
        end_when_sent(request);
    request->destroyed = &destroyed;
    while ((callback = due(request)) != NULL) {
        callback(request, request->user);
        if (destroyed)
            return;
    }
    request->destroyed = NULL;
    /* The input ends with this rest; what is still unread must outlive it. */
    if (request->inbox.view.size > 0 && hws_inbox_keep(&request->inbox) != HWS_OK)
        lose_body(request);
    if (request->is_told && has_response(request))
        fill_response(request);
}

/* ---- the user's calls ---- */

void hws_request_options_init(hws_request_options_t *options)
{
    *options = (hws_request_options_t){
        .method = HWS_SLICE("GET"), .target = HWS_SLICE("/"), .priority = HWS_URGENCY_USUAL};
}

static bool is_method(hws_slice_t method, const char *name)
{
    return strlen(name) == method.size && memcmp(method.data, name, method.size) == 0;
}

/* Whether the block of lines has a field called `name` (lower case). */
static size_t count_fields(hws_slice_t lines, const char *name)
{
    size_t size = strlen(name);
    const char *line = lines.data;
    const char *end = line + lines.size;
    size_t count = 0;

    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));

        if ((size_t)(end - line) > size && line[size] == ':' && strncasecmp(line, name, size) == 0)
            count++;
        if (newline == NULL)
            break;
        line = newline + 1;
    }
    return count;
}

static bool has_field(hws_slice_t lines, const char *name)
{
    return count_fields(lines, name) > 0;
}

static bool may_go_twice(const hws_request_options_t *options)
{
    static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    size_t i;

    if (options->idempotent != HWS_IDEMPOTENT_AUTO)
        return options->idempotent == HWS_IDEMPOTENT_YES;
    for (i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
        if (is_method(options->method, safe[i]))
            return true;
    return has_field(options->fields, "idempotency-key");
}

static bool speaks_only_http1(const hws_upstream_t *upstream)
{
    HWS_LIST_EACH(link, &upstream->peers.list) {
        const hws_peer_t *peer = HWS_CONTAINER(link, hws_peer_t, link);

        if (peer->protocol != HWS_PROTOCOL_HTTP1)
            return false;
    }
    return upstream->peers.count > 0;
}

static int check(hws_upstream_t *upstream, const hws_request_options_t *options, hws_error_t *why)
{
    if (hws_loop_is_forked(upstream->manager->loop))
        return hws_explain(why, HWS_ERR_FORKED, "%s", hws_error_text(HWS_ERR_FORKED));
    if (upstream->is_closed || upstream->owner.is_draining)
        return hws_explain(why, HWS_ERR_CLOSED, "upstream %.60s takes no new requests: %s",
                           upstream->name, upstream->is_closed ? "closed" : "draining");
    if (hws_upstream_is_raw(upstream))
        return hws_explain(why, HWS_ERR_UNSUPPORTED,
                           "upstream %.60s is raw: acquire a lease, or set its protocol",
                           upstream->name);
    if (options->duplex && speaks_only_http1(upstream))
        return hws_explain(why, HWS_ERR_UNSUPPORTED,
                           "upstream %.60s speaks HTTP/1, which has no streams", upstream->name);
    if (options->priority > HWS_URGENCY_LEAST)
        return hws_explain(why, HWS_ERR_INVALID, "priority: from 0 to 7, not %u",
                           options->priority);
    if (!hws_h1_is_token(options->method))
        return hws_explain(why, HWS_ERR_INVALID, "method: not a token");
    if (is_method(options->method, "CONNECT"))
        return hws_explain(why, HWS_ERR_UNSUPPORTED, "method: CONNECT is not supported");
    if (!hws_h1_is_target(options->target) ||
        (options->target.data[0] != '/' && options->target.data[0] != '?' &&
         !(options->target.size == 1 && options->target.data[0] == '*')))
        return hws_explain(why, HWS_ERR_INVALID,
                           "path: begins with /, without white space or control bytes");
    if (options->fields.size > 0 && count_fields(options->fields, "host") > 1)
        return hws_explain(why, HWS_ERR_INVALID, "header host: given more than once");
    return HWS_OK;
}

static int copy_retry(const hws_retry_options_t *given, hws_retry_options_t **out, hws_error_t *why)
{
    int rc;

    *out = NULL;
    if (given == NULL)
        return HWS_OK;
    if ((rc = hws_retry_options_check(given, why)) != HWS_OK)
        return rc;
    if ((*out = hws_alloc(sizeof(**out))) == NULL)
        return HWS_ERR_NOMEM;
    **out = *given;
    return HWS_OK;
}

/* Copies what the message needs. */
static int store_words(hws_request_t *request, const hws_request_options_t *options)
{
    bool no_path = options->target.data[0] == '?';
    size_t size = options->method.size + no_path + options->target.size + options->fields.size;
    char *place = request->store;

    if ((request->is_duplex || size > sizeof(request->store)) && (place = hws_alloc(size)) == NULL)
        return HWS_ERR_NOMEM;
    request->words = place;
    request->method_size = options->method.size;
    request->target_size = options->target.size + no_path;
    request->fields_size = options->fields.size;
    memcpy(place, options->method.data, options->method.size);
    place += options->method.size;
    if (no_path)
        *place++ = '/';
    memcpy(place, options->target.data, options->target.size);
    place += options->target.size;
    if (options->fields.size > 0)
        memcpy(place, options->fields.data, options->fields.size);
    return HWS_OK;
}

static void free_words(hws_request_t *request)
{
    if (request->is_duplex || request->words != request->store)
        hws_free(request->words);
}

static hws_time_t deadline_of(const hws_upstream_t *upstream, hws_time_t span, hws_time_t now)
{
    if (span == 0)
        span = upstream->owner.rules.timeouts.request;
    return span == HWS_NEVER || span > HWS_NEVER - now ? HWS_NEVER : now + span;
}

int hws_request_start(hws_upstream_t *upstream, const hws_request_options_t *options,
                      hws_request_t **out, hws_error_t *why)
{
    hws_loop_t *loop = upstream->manager->loop;
    hws_request_t *request;
    hws_time_t now;
    int rc;

    if ((rc = check(upstream, options, why)) != HWS_OK)
        return rc;
    if ((request = hws_slab_take(slab_of(upstream->manager, options->duplex))) == NULL)
        return HWS_ERR_NOMEM;
    request->is_duplex = options->duplex;
    request->answer = options->duplex ? NULL : &request->own_answer;
    if ((rc = copy_retry(options->retry, &request->call.retry, why)) != HWS_OK ||
        (rc = store_words(request, options)) != HWS_OK) {
        hws_free(request->call.retry);
        hws_slab_give(slab_of(upstream->manager, options->duplex), request);
        return rc;
    }
    now = hws_loop_now(loop);
    request->on_done = options->on_done;
    request->on_readable = options->on_readable;
    request->on_writable = options->on_writable;
    request->user = options->user;
    request->body = options->has_body ? options->body : (hws_slice_t){NULL, 0};
    request->max_body =
        options->max_body > 0 ? options->max_body : upstream->owner.rules.limits.body;
    request->is_bounded = options->timeout != 0;
    request->is_streaming = options->stream || options->duplex;
    request->has_producer = options->has_producer || options->duplex;
    request->has_body = options->has_body;
    request->has_host = options->fields.size > 0 && has_field(options->fields, "host");
    request->call.is_replayable = may_go_twice(options);
    request->call.stream.events = &stream_events;
    hws_deferred_init(&request->call.deferred, deliver);
    hws_call_init(&request->call, &call_ops, upstream, deadline_of(upstream, options->timeout, now),
                  now);
    request->call.stream.urgency = options->priority;
    request->call.stream.is_duplex = options->duplex;
    hws_call_bind(&request->call, options->peer);
    if ((rc = hws_call_seek(&request->call, now)) != HWS_OK)
        fail(request, rc, NULL, now);
    *out = request;
    return HWS_OK;
}

void hws_request_cancel(hws_request_t *request)
{
    if (!is_over(request))
        fail(request, HWS_ERR_CANCELED, NULL, hws_loop_now(loop_of(request)));
}

void hws_request_reset(hws_request_t *request, uint32_t code)
{
    request->call.stream.reset_code = code;
    hws_request_cancel(request);
}

void hws_request_abort(hws_request_t *request, const char *detail)
{
    if (!is_over(request))
        fail(request, HWS_ERR_CANCELED, detail, hws_loop_now(loop_of(request)));
}

void hws_request_destroy(hws_request_t *request)
{
    hws_manager_t *manager;

    if (request == NULL)
        return;
    manager = request->call.upstream->manager;
    hws_request_cancel(request);
    if (request->stream_id != 0)
        hws_hash_remove(&manager->streams, &request->id_link);
    if (request->destroyed != NULL)
        *request->destroyed = true;
    hws_call_dispose(&request->call);
    hws_inbox_dispose(&request->inbox);
    dispose_answer(request);
    free_words(request);
    hws_slab_give(slab_of(manager, request->is_duplex), request);
}

const hws_response_t *hws_request_response(const hws_request_t *request)
{
    const hws_reply_t *answer = request->answer;

    return answer != NULL && answer->response.head != NULL ? &answer->response : NULL;
}

const hws_error_t *hws_request_error(const hws_request_t *request)
{
    return hws_call_error(&request->call);
}

uint32_t hws_request_attempts(const hws_request_t *request)
{
    return request->call.attempts.count;
}

void hws_request_trace(const hws_request_t *request, uint32_t index, hws_trace_t *out)
{
    hws_call_trace(&request->call, index, out);
}

hws_upstream_t *hws_request_upstream(const hws_request_t *request)
{
    return request->call.upstream;
}

int hws_request_read(hws_request_t *request, hws_slice_t *chunk)
{
    size_t size = hws_inbox_size(&request->inbox);

    /* Its head is told first. */
    if (size > 0 && (request->is_told || !request->is_duplex)) {
        *chunk = hws_inbox_bytes(&request->inbox);
        hws_inbox_take(&request->inbox, size);
        hws_connection_credit(&request->call.stream, size);
        return HWS_OK;
    }
    /* That of a stream may be complete, and what was to be sent has failed. */
    if (request->is_complete && (request->is_told || !request->is_duplex)) {
        request->answer->response.trailers = trailers_of(request->answer);
        return HWS_END;
    }
    if (request->call.error.code != HWS_OK)
        return request->call.error.code;
    if (!request->wants_readable)
        request->quiet_since = hws_loop_now(loop_of(request));
    request->wants_readable = true;
    return HWS_AGAIN;
}

void hws_request_cancel_read(hws_request_t *request)
{
    request->wants_readable = false;
}

void hws_request_cancel_send(hws_request_t *request)
{
    request->wants_writable = false;
}

/* Nothing more can be sent; it ends with what the peer says, or at once where no one will. */
static void stop_sending(hws_request_t *request, int code)
{
    hws_time_t now = hws_loop_now(loop_of(request));

    note_sent(request, now);
    request->quiet_since = now;
    if (code != HWS_ERR_NOMEM)
        return;
    request->verdict = code;
    wake(request);
}

int hws_request_send(hws_request_t *request, const char *data, size_t size, size_t *taken)
{
    hws_stream_t *stream = &request->call.stream;
    int rc;

    *taken = 0;
    if (is_over(request) && request->call.error.code != HWS_OK)
        return request->call.error.code;
    if (request->was_cut)
        return HWS_ERR_PIPE;
    /* Why there will be no more is about to be told. */
    if (request->has_ended && request->end_status != HWS_OK && !is_over(request)) {
        request->wants_writable = true;
        return HWS_AGAIN;
    }
    if (is_over(request) || stream->connection == NULL || request->is_sent)
        return HWS_ERR_CLOSED;
    if (size == 0)
        return HWS_OK;
    rc = hws_connection_send(stream, (hws_slice_t){data, size}, false, taken);
    if (rc == HWS_AGAIN) {
        request->wants_writable = true;
        request->quiet_since = hws_loop_now(loop_of(request));
    } else if (rc != HWS_OK) {
        stop_sending(request, rc);
    }
    return rc;
}

int hws_request_finish(hws_request_t *request)
{
    hws_stream_t *stream = &request->call.stream;
    hws_time_t now = hws_loop_now(loop_of(request));
    size_t none;
    int rc;

    if (is_over(request) && request->call.error.code != HWS_OK)
        return request->call.error.code;
    if (request->was_cut)
        return HWS_OK;
    if (is_over(request) || stream->connection == NULL || request->is_sent)
        return HWS_ERR_CLOSED;
    rc = hws_connection_send(stream, (hws_slice_t){NULL, 0}, true, &none);
    note_sent(request, now);
    if (request->is_duplex && request->is_complete)
        wake(request);
    else
        note_event(request, HWS_STREAM_LOCAL_END);
    request->quiet_since = now;
    if (rc != HWS_OK)
        stop_sending(request, rc);
    return rc;
}

hws_stream_state_t hws_request_stream_state(const hws_request_t *request)
{
    return (hws_stream_state_t)request->state;
}

uint64_t hws_request_stream_id(const hws_request_t *request)
{
    return request->stream_id;
}

hws_request_t *hws_request_by_stream_id(const hws_manager_t *manager, uint64_t id)
{
    hws_hash_link_t *link = hws_hash_find(&manager->streams, (const char *)&id, sizeof(id));

    return link != NULL ? HWS_CONTAINER(link, hws_request_t, id_link) : NULL;
}
