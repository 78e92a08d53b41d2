#include "lease.h"

#include "bounds.h"
#include "lease_tls.h"
#include "manager.h"
#include "opening.h"
#include "peer.h"
#include "pool/connection.h"
#include "upstream.h"

#include <assert.h>
#include <string.h>

static hws_lease_t *lease_of(hws_call_t *call)
{
    return HWS_CONTAINER(call, hws_lease_t, call);
}

static hws_lease_t *of_stream(hws_stream_t *stream)
{
    return HWS_CONTAINER(stream, hws_lease_t, call.stream);
}

static hws_loop_t *loop_of(const hws_lease_t *lease)
{
    return lease->call.upstream->manager->loop;
}

void hws_lease_wake(hws_lease_t *lease)
{
    hws_loop_defer(loop_of(lease), &lease->call.deferred);
}

/* ---- endings ---- */

/* It can do nothing more with its connection; the user still has to end it. */
static void break_off(hws_lease_t *lease, int code, const char *detail, hws_time_t now)
{
    hws_call_t *call = &lease->call;

    if (lease->shaking != NULL)
        hws_lease_fail_tls(lease, HWS_CLOSE_ABANDONED, code, detail, now);
    if (call->state == HWS_CALL_WAITING)
        hws_call_leave(call, now);
    /* Its peer is free of it before others look for room there. */
    hws_call_attempt_over(call, code, 0, now);
    if (call->stream.connection != NULL)
        hws_connection_detach(&call->stream, HWS_CLOSE_ABANDONED, false, now);
    lease->verdict = code;
    hws_call_fail(call, code, detail, now);
    call->error.retryable = !call->error.sent && hws_retry_is_retryable(call->error.code);
    hws_call_over(call);
    hws_lease_wake(lease);
}

static void on_abort(hws_call_t *call, int code, hws_time_t now)
{
    break_off(lease_of(call), code, NULL, now);
}

static void on_dial_failed(hws_call_t *call, int code, hws_phase_t phase, const char *detail,
                           hws_time_t now)
{
    call->error.phase = phase;
    hws_call_attempt_over(call, code, 0, now);
    if (hws_call_goes_again(call, true, HWS_RETRY_AFTER_NONE, now))
        return;
    break_off(lease_of(call), code, detail, now);
}

/* ---- silent waits ---- */

static hws_time_t later(hws_time_t a, hws_time_t b)
{
    return a > b ? a : b;
}

/* When a wait that began at `since` has lasted too long. */
static hws_time_t quiet_until(const hws_lease_t *lease, hws_time_t since)
{
    const hws_connection_t *connection = lease->call.stream.connection;

    if (since == HWS_NEVER || lease->span == HWS_NEVER)
        return HWS_NEVER;
    /* What else comes on the connection of a stream is for others. */
    if (lease->is_stream)
        since = later(since, lease->heard_at);
    else if (connection != NULL)
        since = later(since, connection->used_at);
    return since + lease->span;
}

static void watch(hws_lease_t *lease)
{
    hws_time_t read_until = quiet_until(lease, lease->read_since);
    hws_time_t write_until = quiet_until(lease, lease->write_since);
    hws_time_t until = read_until < write_until ? read_until : write_until;

    if (lease->shaking != NULL && lease->shaking_until < until)
        until = lease->shaking_until;
    if (until != HWS_NEVER && lease->call.stream.connection != NULL)
        hws_connection_watch(&lease->call.stream, until);
}

/* The peer has been silent for too long: of one with many streams it is asked why. */
static void note_silence(hws_lease_t *lease, hws_time_t now)
{
    lease->is_owed = true;
    if (lease->has_own_span)
        return;
    lease->was_silent = true;
    hws_connection_suspect(&lease->call.stream, now);
}

static void on_due(hws_stream_t *stream, hws_time_t now)
{
    hws_lease_t *lease = of_stream(stream);

    if (now >= quiet_until(lease, lease->read_since)) {
        lease->read_since = HWS_NEVER;
        lease->read_status = HWS_ERR_TIMEOUT;
        lease->is_read_due = true;
        note_silence(lease, now);
    }
    if (now >= quiet_until(lease, lease->write_since)) {
        lease->write_since = HWS_NEVER;
        lease->write_status = HWS_ERR_TIMEOUT;
        lease->is_write_due = true;
        note_silence(lease, now);
    }
    lease->is_tls_late = lease->shaking != NULL && now >= lease->shaking_until;
    if (lease->is_read_due || lease->is_write_due || lease->is_tls_late)
        hws_lease_wake(lease);
    if (!lease->is_tls_late)
        watch(lease);
}

/* ---- what comes: notes only ---- */

static size_t on_body(hws_stream_t *stream, const char *data, size_t size)
{
    hws_lease_t *lease = of_stream(stream);

    if (hws_inbox_put(&lease->inbox, data, size) != HWS_OK)
        lease->is_out_of_memory = true;
    if (lease->is_early && hws_inbox_keep(&lease->inbox) != HWS_OK) {
        hws_inbox_dispose(&lease->inbox);
        lease->is_out_of_memory = true;
    }
    lease->is_early = false;
    lease->heard_at = stream->connection->used_at;
    hws_lease_wake(lease);
    return 0;
}

static void on_end(hws_stream_t *stream, int status)
{
    hws_lease_t *lease = of_stream(stream);
    bool is_whole = lease->is_stream && lease->has_finished && lease->is_half_closed;

    lease->has_finished = true;
    hws_lease_wake(lease);
    if (status == HWS_OK)
        return; /* a FIN: what we say is still heard */
    hws_lease_end_tls(lease, status);
    if (!is_whole) /* else it had ended before its connection did */
        lease->verdict = status;
    hws_connection_stream_ended(stream);
}

/* Who waits to write is told; also who is about to be, because his time is up or he was cancelled. */
static void on_stream_writable(hws_stream_t *stream)
{
    hws_lease_t *lease = of_stream(stream);

    lease->is_write_due |= lease->write_since != HWS_NEVER;
    lease->write_since = HWS_NEVER;
    hws_lease_wake(lease);
}

static void on_settled(hws_stream_t *stream, hws_time_t now)
{
    (void)now;
    on_stream_writable(stream);
}

static const hws_stream_events_t stream_events = {
    NULL, on_body, NULL, on_end, on_stream_writable, on_settled, on_due};

/* Makes it fit for `connection`. */
static void prepare(hws_lease_t *lease, const hws_connection_t *connection)
{
    hws_call_t *call = &lease->call;

    call->stream.events = &stream_events;
    lease->is_stream = hws_connection_is_multiplexing(connection);
    lease->is_reused = connection->served > 0;
    lease->span = call->upstream->owner.rules.timeouts.read;
    call->error.phase = HWS_PHASE_BODY;
    call->deadline = HWS_NEVER;
}

static int open(hws_lease_t *lease, hws_connection_t *connection, hws_time_t now)
{
    size_t none;

    prepare(lease, connection);
    return hws_connection_open(connection, &lease->call.stream, NULL, (hws_slice_t){NULL, 0}, false,
                               now, &none);
}

static void start(hws_lease_t *lease, hws_connection_t *connection, hws_time_t now)
{
    int rc = open(lease, connection, now);

    if (rc != HWS_OK)
        break_off(lease, rc, NULL, now);
    hws_lease_wake(lease);
}

static void on_granted(hws_call_t *call, hws_connection_t *connection, hws_time_t now)
{
    hws_lease_t *lease = lease_of(call);

    if (!lease->options.connect_only) {
        start(lease, connection, now);
        return;
    }
    hws_call_attempt_over(call, HWS_OK, 0, now);
    hws_call_over(call);
    hws_lease_wake(lease);
}

static const hws_call_ops_t call_ops = {on_granted, on_dial_failed, on_abort, NULL, NULL};

/* ---- reading ---- */

static int take(hws_lease_t *lease, size_t size, size_t visible, hws_slice_t *out)
{
    *out = (hws_slice_t){hws_inbox_bytes(&lease->inbox).data, visible};
    lease->taken = size;
    return HWS_OK;
}

/* The delimiter's offset, or SIZE_MAX. What was searched before is not searched again. */
static size_t find(hws_lease_t *lease, hws_slice_t bytes, hws_slice_t delimiter)
{
    size_t from = lease->scanned;
    const char *found = NULL;

    if (bytes.size >= from + delimiter.size)
        found = memmem(bytes.data + from, bytes.size - from, delimiter.data, delimiter.size);
    if (found != NULL)
        return (size_t)(found - bytes.data);
    if (bytes.size >= delimiter.size)
        lease->scanned = bytes.size - delimiter.size + 1;
    return SIZE_MAX;
}

static int read_delimited(hws_lease_t *lease, const hws_read_t *want, hws_slice_t bytes,
                          hws_slice_t *out)
{
    bool is_line = want->mode == HWS_READ_LINE;
    hws_slice_t delimiter = is_line ? HWS_SLICE("\n") : want->delimiter;
    size_t at = find(lease, bytes, delimiter);
    size_t visible;

    if (at == SIZE_MAX)
        /* A line's CR may already be there. */
        return bytes.size > want->size + is_line ? HWS_ERR_LINE_SIZE : HWS_AGAIN;
    visible = is_line ? at - (at > 0 && bytes.data[at - 1] == '\r') : at + delimiter.size;
    if (visible > want->size)
        return HWS_ERR_LINE_SIZE;
    return take(lease, at + delimiter.size, visible, out);
}

/* What the bytes that are there make of `want`; HWS_AGAIN: nothing yet. */
static int look(hws_lease_t *lease, const hws_read_t *want, hws_slice_t *out)
{
    hws_slice_t bytes = hws_inbox_bytes(&lease->inbox);
    bool is_end = lease->has_finished || lease->verdict != HWS_OK;
    int rc = HWS_AGAIN;

    switch (want->mode) {
    case HWS_READ_EXACT:
        if (bytes.size >= want->size)
            return take(lease, want->size, want->size, out);
        break;
    case HWS_READ_SOME:
        if (bytes.size > 0)
            return take(lease, bytes.size, bytes.size, out);
        break;
    case HWS_READ_ALL:
        if (bytes.size > want->size)
            return HWS_ERR_BODY_SIZE;
        if (lease->has_finished && lease->verdict == HWS_OK)
            return take(lease, bytes.size, bytes.size, out);
        break;
    case HWS_READ_LINE:
    case HWS_READ_UNTIL:
        rc = read_delimited(lease, want, bytes, out);
        break;
    }
    if (rc != HWS_AGAIN || !is_end)
        return rc;
    if (lease->verdict != HWS_OK)
        return lease->verdict;
    return bytes.size == 0 && want->mode != HWS_READ_EXACT ? HWS_END : HWS_ERR_EOF;
}

/* Makes room at the peer for the first `size` bytes of the inbox, once. */
static void credit(hws_lease_t *lease, size_t size)
{
    if (size <= lease->credited)
        return;
    hws_connection_credit(&lease->call.stream, size - lease->credited);
    lease->credited = size;
}

/* Drops what the last read gave out: its bytes lasted until now. */
static void settle_taken(hws_lease_t *lease)
{
    size_t size = lease->taken;

    if (size == 0)
        return;
    lease->taken = 0;
    credit(lease, size);
    hws_inbox_take(&lease->inbox, size);
    lease->credited -= size;
}

static int note_failure(hws_lease_t *lease, int code)
{
    hws_failure_t *error = &lease->call.error;

    if (lease->verdict == HWS_OK || error->code == HWS_OK) {
        hws_call_fail(&lease->call, code, NULL, hws_loop_now(loop_of(lease)));
        error->retryable = hws_retry_is_unseen(code);
    }
    return code;
}

/* After a message beyond its bound nobody knows where the next one begins. */
static bool is_lost(const hws_lease_t *lease)
{
    return lease->verdict == HWS_ERR_LINE_SIZE || lease->verdict == HWS_ERR_BODY_SIZE;
}

int hws_lease_read(hws_lease_t *lease, const hws_read_t *want, hws_slice_t *out)
{
    int rc;

    if (lease->shaking != NULL)
        return HWS_ERR_UNSUPPORTED;
    settle_taken(lease);
    if (!lease->has_tls_ended)
        lease->is_read_due = false; /* who asks need not be told */
    if (lease->read_status != HWS_OK) {
        rc = lease->read_status;
        lease->read_status = HWS_OK;
        lease->scanned = 0;
        return note_failure(lease, rc);
    }
    if (lease->read_since == HWS_NEVER)
        lease->scanned = 0;
    if (is_lost(lease))
        return note_failure(lease, lease->verdict);
    rc = look(lease, want, out);
    if (rc == HWS_AGAIN) {
        lease->want = *want;
        /* What it waits for may be more than limits.buffer; `want->size` bounds it. */
        credit(lease, hws_inbox_size(&lease->inbox));
        if (lease->read_since == HWS_NEVER)
            lease->read_since = hws_loop_recent(loop_of(lease));
        watch(lease);
        return rc;
    }
    lease->read_since = HWS_NEVER;
    lease->scanned = 0;
    if (rc == HWS_ERR_LINE_SIZE || rc == HWS_ERR_BODY_SIZE)
        lease->verdict = rc;
    return rc < 0 ? note_failure(lease, rc) : rc;
}

void hws_lease_read_again(hws_lease_t *lease)
{
    lease->taken = 0;
}

hws_slice_t hws_lease_unread(const hws_lease_t *lease)
{
    hws_slice_t bytes = hws_inbox_bytes(&lease->inbox);

    return (hws_slice_t){bytes.data + lease->taken, bytes.size - lease->taken};
}

/* ---- writing ---- */

int hws_lease_write(hws_lease_t *lease, const char *data, size_t size, size_t *taken)
{
    hws_stream_t *stream = &lease->call.stream;
    int rc = HWS_OK;

    *taken = 0;
    if (lease->shaking != NULL)
        return HWS_ERR_UNSUPPORTED;
    lease->is_write_due = false;
    if (lease->write_status != HWS_OK) {
        rc = lease->write_status;
        lease->write_status = HWS_OK;
    } else if (lease->verdict != HWS_OK) {
        rc = lease->verdict;
    } else if (lease->is_half_closed || stream->connection == NULL) {
        rc = HWS_ERR_CLOSED;
    } else if (size > 0) {
        rc = hws_connection_send(stream, (hws_slice_t){data, size}, false, taken);
        lease->call.error.sent = true;
    }
    lease->write_since = rc == HWS_AGAIN ? hws_loop_recent(loop_of(lease)) : HWS_NEVER;
    if (rc == HWS_AGAIN)
        watch(lease);
    return rc < 0 ? note_failure(lease, rc) : rc;
}

int hws_lease_finish(hws_lease_t *lease)
{
    if (lease->verdict != HWS_OK)
        return lease->verdict;
    if (lease->is_half_closed)
        return HWS_OK;
    if (lease->call.stream.connection == NULL)
        return HWS_ERR_CLOSED;
    if (lease->shaking != NULL || lease->write_since != HWS_NEVER)
        return HWS_ERR_UNSUPPORTED;
    hws_connection_finish(&lease->call.stream);
    lease->is_half_closed = true;
    return HWS_OK;
}

/* ---- TLS ---- */

int hws_lease_start_tls(hws_lease_t *lease, const hws_tls_options_t *options)
{
    hws_connection_t *connection = lease->call.stream.connection;
    hws_time_t now;
    int rc;

    settle_taken(lease);
    if (lease->shaking != NULL)
        return HWS_AGAIN;
    if (lease->has_tls_ended) {
        lease->has_tls_ended = false;
        return lease->tls_status;
    }
    if (lease->verdict != HWS_OK)
        return note_failure(lease, lease->verdict);
    if (lease->is_half_closed || connection == NULL)
        return note_failure(lease, HWS_ERR_CLOSED);
    if (lease->is_stream || lease->read_since != HWS_NEVER || lease->write_since != HWS_NEVER ||
        hws_tunnel_tls(connection->socket) != NULL)
        return HWS_ERR_UNSUPPORTED;
    now = hws_loop_now(loop_of(lease));
    if (hws_inbox_size(&lease->inbox) > 0)
        return hws_lease_refuse_tls(lease, HWS_ERR_TLS_EARLY, NULL, now);
    if (!hws_connection_is_clean(connection))
        return hws_lease_refuse_tls(lease, HWS_ERR_TLS, "what was written before has not left yet",
                                    now);
    if ((rc = hws_lease_begin_tls(lease, options, now)) == HWS_AGAIN)
        watch(lease);
    return rc;
}

void hws_lease_set_timeout(hws_lease_t *lease, hws_time_t span)
{
    lease->span = hws_span_bounded(span);
    lease->has_own_span = true;
}

/* ---- telling the user, at rest ---- */

static void (*due(hws_lease_t *lease))(hws_lease_t *, void *)
{
    hws_slice_t bytes;

    if (lease->read_since != HWS_NEVER && !lease->is_read_due) {
        int rc = look(lease, &lease->want, &bytes);

        lease->taken = 0;
        lease->is_read_due = rc != HWS_AGAIN;
        if (rc == HWS_AGAIN)
            credit(lease, hws_inbox_size(&lease->inbox));
    }
    if (!lease->is_told) {
        lease->is_told = true;
        return lease->options.on_done;
    }
    if (lease->is_read_due) {
        lease->is_read_due = false;
        lease->read_since = HWS_NEVER;
        return lease->options.on_readable;
    }
    if (lease->is_write_due) {
        lease->is_write_due = false;
        return lease->options.on_writable;
    }
    return NULL;
}

static void free_lease(hws_lease_t *lease)
{
    hws_manager_t *manager = lease->call.upstream->manager;

    if (lease->destroyed != NULL)
        *lease->destroyed = true;
    if (lease->data != NULL)
        lease->call.upstream->owner.rules.free_data(lease->data);
    hws_call_dispose(&lease->call);
    hws_inbox_dispose(&lease->inbox);
    hws_slab_give(&manager->leases, lease);
}

static void deliver(hws_deferred_t *deferred)
{
    hws_lease_t *lease = HWS_CONTAINER(deferred, hws_lease_t, call.deferred);
    hws_upstream_t *upstream = lease->call.upstream;
    void (*callback)(hws_lease_t *, void *);
    bool destroyed = false;

    if (lease->is_setup && !lease->is_told) {
        lease->is_told = true;
        if (lease->opening == NULL || upstream->setup == NULL) {
            hws_lease_setup_done(lease, lease->opening != NULL, NULL);
            return;
        }
        lease->destroyed = &destroyed;
        upstream->setup(lease, upstream->setup_user);
        if (destroyed)
            return;
    }
    /* A call that still waits has nothing to tell. */
    if (lease->call.state == HWS_CALL_WAITING)
        return;
    if (lease->is_tls_late)
        hws_lease_fail_tls(lease, HWS_CLOSE_ABANDONED, HWS_ERR_TIMEOUT, NULL,
                           hws_loop_now(loop_of(lease)));
    lease->destroyed = &destroyed;
    while ((callback = due(lease)) != NULL) {
        callback(lease, lease->options.user);
        if (destroyed)
            return;
    }
    lease->destroyed = NULL;
    settle_taken(lease);
    if (lease->is_out_of_memory || hws_inbox_keep(&lease->inbox) != HWS_OK) {
        hws_inbox_dispose(&lease->inbox);
        lease->credited = 0;
        lease->is_out_of_memory = false;
        if (lease->call.state != HWS_CALL_OVER)
            break_off(lease, HWS_ERR_NOMEM, NULL, hws_loop_now(loop_of(lease)));
    }
}

/* ---- beginning and ending ---- */

static int make(hws_upstream_t *upstream, hws_time_t deadline, bool is_counted, hws_time_t now,
                hws_lease_t **out)
{
    hws_lease_t *lease = hws_slab_take(&upstream->manager->leases);

    if (lease == NULL)
        return HWS_ERR_NOMEM;
    lease->read_since = lease->write_since = HWS_NEVER;
    lease->call.is_uncounted = !is_counted;
    lease->call.is_lease = true;
    hws_deferred_init(&lease->call.deferred, deliver);
    hws_call_init(&lease->call, &call_ops, upstream, deadline, now);
    *out = lease;
    return HWS_OK;
}

int hws_lease_acquire(hws_upstream_t *upstream, const hws_lease_options_t *options,
                      hws_lease_t **out, hws_error_t *why)
{
    hws_time_t now = hws_loop_recent(upstream->manager->loop);
    hws_time_t span =
        options->timeout != 0 ? options->timeout : upstream->owner.rules.timeouts.request;
    hws_retry_options_t *retry = NULL;
    hws_lease_t *lease;
    int rc;

    if (hws_loop_is_forked(upstream->manager->loop))
        return hws_explain(why, HWS_ERR_FORKED, "%s", hws_error_text(HWS_ERR_FORKED));
    if (upstream->is_closed || upstream->owner.is_draining)
        return hws_explain(why, HWS_ERR_CLOSED, "upstream %.60s gives no new leases: %s",
                           upstream->name, upstream->is_closed ? "closed" : "draining");
    if (!hws_upstream_is_raw(upstream) && !options->connect_only)
        return hws_explain(why, HWS_ERR_UNSUPPORTED, "upstream %.60s speaks http: no raw leases",
                           upstream->name);
    if (options->retry != NULL) {
        if ((retry = hws_alloc(sizeof(*retry))) == NULL)
            return HWS_ERR_NOMEM;
        *retry = *options->retry;
    }
    rc = make(upstream, span == HWS_NEVER || span > HWS_NEVER - now ? HWS_NEVER : now + span, true,
              now, &lease);
    if (rc != HWS_OK) {
        hws_free(retry);
        return rc;
    }
    lease->options = *options;
    lease->call.retry = retry;
    hws_call_bind(&lease->call, options->peer);
    lease->call.is_connect_only = options->connect_only;
    if ((rc = hws_call_seek(&lease->call, now)) != HWS_OK)
        break_off(lease, rc, NULL, now);
    *out = lease;
    return HWS_OK;
}

bool hws_lease_claim(hws_lease_t *lease)
{
    if (lease->is_told || lease->is_setup || lease->call.state != HWS_CALL_RUNNING)
        return false;
    lease->is_told = true;
    hws_list_remove(&lease->call.deferred.link); /* there is nothing else to tell yet */
    return true;
}

int hws_lease_begin_setup(hws_opening_t *opening, hws_time_t now)
{
    hws_lease_t *lease;
    int rc = make(opening->peer->upstream, HWS_NEVER, false, now, &lease);

    if (rc != HWS_OK)
        return rc;
    lease->is_setup = true;
    lease->opening = opening;
    opening->setup = lease;
    hws_call_set_peer(&lease->call, opening->peer);
    lease->call.state = HWS_CALL_RUNNING;
    start(lease, opening->connection, now);
    /* The stream that prepares it is no service rendered. */
    opening->connection->served = 0;
    return HWS_OK;
}

/* One that nobody waits for: it has its stream, or is never seen. */
static int make_on(hws_connection_t *connection, const hws_lease_options_t *callbacks,
                   hws_time_t now, hws_lease_t **out)
{
    hws_peer_t *peer = hws_peer_of(connection->pool);
    int rc = make(peer->upstream, HWS_NEVER, false, now, out);

    if (rc != HWS_OK)
        return rc;
    (*out)->options = *callbacks;
    (*out)->is_told = true;
    (*out)->call.state = HWS_CALL_RUNNING;
    hws_call_set_peer(&(*out)->call, peer);
    return HWS_OK;
}

static int keep_if(int rc, hws_lease_t *lease, hws_lease_t **out)
{
    if (rc == HWS_OK) {
        *out = lease;
        return HWS_OK;
    }
    hws_call_over(&lease->call);
    free_lease(lease);
    return rc;
}

int hws_lease_open_on(hws_connection_t *connection, const hws_lease_options_t *callbacks,
                      hws_lease_t **out)
{
    hws_time_t now = hws_loop_recent(connection->loop);
    hws_lease_t *lease;
    int rc = make_on(connection, callbacks, now, &lease);

    return rc != HWS_OK ? rc : keep_if(open(lease, connection, now), lease, out);
}

int hws_lease_accept_on(hws_connection_t *connection, const hws_lease_options_t *callbacks,
                        hws_lease_t **out)
{
    hws_time_t now = hws_loop_recent(connection->loop);
    hws_lease_t *lease;
    int rc = make_on(connection, callbacks, now, &lease);

    if (rc != HWS_OK)
        return rc;
    prepare(lease, connection);
    lease->is_early = true;
    return keep_if(hws_connection_accept(connection, &lease->call.stream, now), lease, out);
}

int hws_lease_hand_over(hws_lease_t *lease, hws_yamux_role_t role, hws_keeper_t *keeper)
{
    hws_stream_t *stream = &lease->call.stream;
    hws_time_t now = hws_loop_recent(loop_of(lease));
    int rc;

    if (lease->verdict != HWS_OK)
        return lease->verdict;
    if (!lease->is_told || lease->is_setup || lease->is_stream || lease->shaking != NULL ||
        lease->read_since != HWS_NEVER || lease->write_since != HWS_NEVER)
        return HWS_ERR_UNSUPPORTED;
    if (lease->has_finished)
        return HWS_ERR_EOF;
    if (lease->is_half_closed || stream->connection == NULL)
        return HWS_ERR_CLOSED;
    settle_taken(lease);
    rc = hws_connection_keep(stream, role, keeper, hws_inbox_bytes(&lease->inbox), now);
    if (rc != HWS_OK)
        return rc;
    hws_call_attempt_over(&lease->call, HWS_OK, 0, now);
    hws_call_over(&lease->call);
    free_lease(lease);
    return HWS_OK;
}

void hws_lease_forget_opening(hws_lease_t *lease)
{
    lease->opening = NULL;
    hws_lease_wake(lease);
}

/* Whether the next user would find the connection as if nobody had been on it. A stream, which has no
 * next user, ends well where nothing is left undone. */
static bool is_fit(hws_lease_t *lease)
{
    const hws_stream_t *stream = &lease->call.stream;

    if (stream->connection == NULL || lease->verdict != HWS_OK || lease->shaking != NULL ||
        lease->is_owed || lease->read_since != HWS_NEVER || lease->write_since != HWS_NEVER ||
        hws_inbox_size(&lease->inbox) > 0)
        return false;
    return lease->is_stream || (!lease->has_finished && !lease->is_half_closed &&
                                hws_connection_is_clean(stream->connection));
}

void hws_lease_cancel_read(hws_lease_t *lease)
{
    if (lease->shaking != NULL)
        hws_lease_fail_tls(lease, HWS_CLOSE_ABANDONED, HWS_ERR_CANCELED, NULL,
                           hws_loop_now(loop_of(lease)));
    if (lease->read_since == HWS_NEVER)
        return;
    lease->read_since = HWS_NEVER;
    lease->is_owed = true;
    lease->read_status = HWS_ERR_CANCELED;
    lease->is_read_due = true;
    hws_lease_wake(lease);
}

void hws_lease_cancel_write(hws_lease_t *lease)
{
    if (lease->write_since == HWS_NEVER)
        return;
    lease->write_since = HWS_NEVER;
    lease->is_owed = true;
    lease->write_status = HWS_ERR_CANCELED;
    lease->is_write_due = true;
    hws_lease_wake(lease);
}

void hws_lease_cancel(hws_lease_t *lease)
{
    if (lease->call.state == HWS_CALL_WAITING) {
        break_off(lease, HWS_ERR_CANCELED, NULL, hws_loop_now(loop_of(lease)));
        return;
    }
    if (!lease->is_told && lease->call.state == HWS_CALL_RUNNING) {
        hws_time_t now = hws_loop_now(loop_of(lease));

        /* Granted, but nobody knows yet: as if it had never been. */
        hws_call_attempt_over(&lease->call, HWS_ERR_CANCELED, 0, now);
        if (is_fit(lease))
            hws_connection_detach(&lease->call.stream, HWS_CLOSE_LAST, true, now);
        break_off(lease, HWS_ERR_CANCELED, NULL, now);
        return;
    }
    hws_lease_cancel_read(lease);
    hws_lease_cancel_write(lease);
}

/* The one outcome of a lease, at its end. What its user did tells nothing of the peer. */
static int outcome_of(const hws_lease_t *lease, bool pool_it)
{
    if (lease->verdict != HWS_OK)
        return lease->verdict;
    if (lease->was_silent)
        return HWS_ERR_TIMEOUT;
    return pool_it ? HWS_OK : HWS_ERR_CANCELED;
}

/* Takes it off its connection and counts it, unless that has been done. */
static void leave(hws_lease_t *lease, bool pool_it)
{
    hws_call_t *call = &lease->call;
    hws_time_t now;

    if (call->state == HWS_CALL_OVER)
        return;
    now = hws_loop_recent(loop_of(lease));
    if (call->state == HWS_CALL_WAITING) {
        hws_call_leave(call, now);
        call->error.code = HWS_ERR_CANCELED;
    } else {
        call->error.code = lease->verdict;
    }
    hws_lease_end_tls(lease, HWS_ERR_CLOSED);
    hws_call_attempt_over(call, outcome_of(lease, pool_it), 0, now);
    if (call->stream.connection != NULL)
        hws_connection_detach(&call->stream, HWS_CLOSE_LAST, pool_it, now);
    hws_call_over(call);
}

void hws_lease_release(hws_lease_t *lease)
{
    if (lease == NULL)
        return;
    if (lease->is_setup) {
        hws_lease_setup_done(lease, false, "the setup ended the lease");
        return;
    }
    settle_taken(lease);
    leave(lease, is_fit(lease));
    free_lease(lease);
}

void hws_lease_close(hws_lease_t *lease)
{
    if (lease == NULL)
        return;
    if (lease->is_setup) {
        hws_lease_setup_done(lease, false, "the setup ended the lease");
        return;
    }
    leave(lease, false);
    free_lease(lease);
}

void hws_lease_setup_done(hws_lease_t *lease, bool ok, const char *reason)
{
    hws_opening_t *opening = lease->opening;

    settle_taken(lease);
    if (ok && !is_fit(lease)) {
        ok = false;
        reason = "the setup left bytes unread or the connection broken";
    }
    if (opening != NULL) {
        hws_time_t now = hws_loop_now(loop_of(lease));

        lease->opening = NULL;
        opening->setup = NULL;
        leave(lease, ok);
        hws_opening_setup_done(opening, ok ? HWS_OK : HWS_ERR_SETUP, reason, now);
    } else {
        leave(lease, false);
    }
    free_lease(lease);
}

/* ---- the rest ---- */

void hws_lease_set_callbacks(hws_lease_t *lease, const hws_lease_options_t *options)
{
    lease->options = *options;
}

uint32_t hws_lease_attempts(const hws_lease_t *lease)
{
    return lease->call.attempts.count;
}

void hws_lease_trace(const hws_lease_t *lease, uint32_t index, hws_trace_t *out)
{
    hws_call_trace(&lease->call, index, out);
}

const hws_error_t *hws_lease_error(const hws_lease_t *lease)
{
    return hws_call_error(&lease->call);
}

const char *hws_lease_peer(const hws_lease_t *lease)
{
    return lease->call.peer != NULL ? lease->call.peer->id : "";
}

hws_upstream_t *hws_lease_upstream(const hws_lease_t *lease)
{
    return lease->call.upstream;
}

bool hws_lease_is_reused(const hws_lease_t *lease)
{
    return lease->is_reused;
}

/* Where it is kept; NULL: the connection is gone. */
static void **place_of_data(hws_lease_t *lease)
{
    hws_connection_t *connection = lease->call.stream.connection;

    if (lease->is_stream)
        return &lease->data;
    return connection != NULL ? &connection->data : NULL;
}

void hws_lease_set_data(hws_lease_t *lease, void *data)
{
    void **place = place_of_data(lease);
    void *old = place != NULL ? *place : data;

    if (place != NULL)
        *place = data;
    if (old != NULL && (old != data || place == NULL))
        lease->call.upstream->owner.rules.free_data(old);
}

void *hws_lease_data(hws_lease_t *lease)
{
    void **place = place_of_data(lease);

    return place != NULL ? *place : NULL;
}
