#include "pool/connection.h"

#include "codec/h1.h"
#include "codec/raw.h"

#include <assert.h>

/* undici's rule for what may not be sent twice: a connection used this recently is alive. */
#define SURELY_ALIVE HWS_S(4)
/* What is subtracted from a peer's Keep-Alive hint. */
#define HINT_MARGIN HWS_S(2)
/* Body bytes given to the codec at once. */
#define PIECE ((size_t)65536)

static const hws_pool_rules_t *rules_of(const hws_connection_t *connection)
{
    return &connection->pool->owner->rules;
}

static hws_pools_t *pools_of(const hws_connection_t *connection)
{
    return connection->pool->owner->pools;
}

/* The one door: moves the connection between its pool's lists and keeps the counts. */
static void enter(hws_connection_t *connection, hws_connection_state_t next)
{
    hws_pool_t *pool = connection->pool;
    bool is_idle = next == HWS_CONNECTION_READY && connection->stream_count == 0;

    if (hws_list_is_linked(&connection->idle_link)) {
        hws_list_remove(&connection->idle_link);
        pool->idle--;
    }
    hws_list_remove(&connection->link);
    connection->state = next;
    if (next == HWS_CONNECTION_CLOSED)
        return;
    hws_list_push_front(next == HWS_CONNECTION_READY ? &pool->ready : &pool->others,
                        &connection->link);
    if (is_idle) {
        hws_list_push_front(&pools_of(connection)->idle, &connection->idle_link);
        pool->idle++;
    }
}

static hws_time_t hint_limit(const hws_connection_t *connection)
{
    hws_time_t hint = connection->codec->idle_hint;

    if (hint == HWS_NEVER)
        return HWS_NEVER;
    return hint > HINT_MARGIN ? hint - HINT_MARGIN : 0;
}

/* When an idle connection has to go. */
static hws_time_t idle_until(const hws_connection_t *connection, hws_time_t now)
{
    hws_time_t span = rules_of(connection)->timeouts.idle;
    hws_time_t learned = hws_pool_idle_limit(connection->pool, now);
    hws_time_t hint = hint_limit(connection);

    if (learned < span)
        span = learned;
    if (hint < span)
        span = hint;
    if (span == HWS_NEVER || connection->used_at + span > connection->expires_at)
        return connection->expires_at;
    return connection->used_at + span;
}

/* Only ever makes the timer fire earlier; one that is early looks and sets itself again. */
static void look_at(hws_connection_t *connection, hws_time_t at)
{
    if (!hws_timer_is_set(&connection->timer) || connection->timer.at > at)
        hws_loop_set_timer(connection->loop, &connection->timer, at);
}

static void watch_idleness(hws_connection_t *connection, hws_time_t now)
{
    look_at(connection, idle_until(connection, now));
}

void hws_connection_watch(hws_stream_t *stream, hws_time_t at)
{
    look_at(stream->connection, at);
}

static void tell_due(hws_connection_t *connection, hws_time_t now)
{
    HWS_LIST_EACH(link, &connection->streams) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        if (stream->events->on_due != NULL)
            stream->events->on_due(stream, now);
    }
}

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    hws_connection_t *connection = HWS_CONTAINER(timer, hws_connection_t, timer);

    if (connection->outbox.error == HWS_ERR_NOMEM) {
        hws_connection_close(connection, HWS_CLOSE_FAILED, HWS_ERR_NOMEM, now);
        return;
    }
    /* A used one's idleness is looked at again when it is handed back. */
    if (connection->state != HWS_CONNECTION_READY || connection->stream_count > 0) {
        tell_due(connection, now);
        return;
    }
    if (now < idle_until(connection, now)) {
        watch_idleness(connection, now);
        return;
    }
    hws_connection_close(connection,
                         now >= connection->expires_at ? HWS_CLOSE_LIFETIME : HWS_CLOSE_IDLE,
                         HWS_ERR_CLOSED, now);
}

void hws_connection_reconsider(hws_connection_t *connection, hws_time_t now)
{
    if (connection->state == HWS_CONNECTION_READY && connection->stream_count == 0)
        watch_idleness(connection, now);
}

static hws_time_t jittered_lifetime(hws_pool_owner_t *owner, hws_time_t now)
{
    hws_time_t span = owner->rules.timeouts.lifetime;
    uint32_t percent = 90 + hws_random_below(&owner->pools->random, 21);

    return span == HWS_NEVER ? HWS_NEVER : now + span / 100 * (hws_time_t)percent;
}

static const hws_socket_events_t socket_events;

int hws_connection_create(hws_pool_t *pool, hws_socket_t *socket, void *setup, hws_time_t now,
                          hws_connection_t **out)
{
    hws_pool_owner_t *owner = pool->owner;
    hws_pools_t *pools = owner->pools;
    hws_codec_options_t options = {.header = owner->rules.limits.header,
                                   .buffer = owner->rules.limits.buffer,
                                   .fields = &pools->fields};
    hws_connection_t *connection = hws_slab_take(&pools->connections);
    int rc;

    if (connection == NULL)
        return HWS_ERR_NOMEM;
    rc = owner->rules.is_raw ? hws_raw_create(&options, &connection->codec)
                             : hws_h1_create(&options, &connection->codec);
    if (rc != HWS_OK) {
        hws_slab_give(&pools->connections, connection);
        return rc;
    }
    connection->pool = pool;
    connection->loop = pools->loop;
    connection->socket = socket;
    hws_outbox_init(&connection->outbox, &pools->gather, socket);
    connection->setup = setup;
    connection->used_at = connection->created_at = now;
    connection->expires_at = jittered_lifetime(owner, now);
    hws_list_init(&connection->link);
    hws_list_init(&connection->idle_link);
    hws_list_init(&connection->streams);
    hws_list_init(&connection->ended);
    hws_timer_init(&connection->timer, on_timer);
    pool->open++;
    connection->is_reading = true;
    socket->ops->give(socket, &socket_events, connection);
    socket->ops->read(socket, true);
    enter(connection, setup != NULL ? HWS_CONNECTION_SETUP : HWS_CONNECTION_READY);
    if (setup == NULL)
        watch_idleness(connection, now);
    *out = connection;
    return HWS_OK;
}

void hws_connection_set_ready(hws_connection_t *connection, hws_time_t now)
{
    connection->setup = NULL;
    connection->used_at = now;
    enter(connection, HWS_CONNECTION_READY);
    watch_idleness(connection, now);
}

bool hws_connection_suits(const hws_connection_t *connection, const hws_pool_want_t *want,
                          hws_time_t now)
{
    hws_reuse_t reuse = rules_of(connection)->reuse;
    hws_time_t idle_for = now - connection->used_at;
    hws_time_t hint;

    /* Made this moment for whoever asks, however short the idle time may be; or handed back this
     * moment, when it was found that it may stay. */
    if (idle_for == 0 && (connection->served == 0 || want->is_lease))
        return true;
    if (now >= idle_until(connection, now))
        return false;
    if (want->is_lease)
        return true;
    if (want->fresh_only || reuse == HWS_REUSE_NEVER)
        return connection->served == 0 && idle_for <= SURELY_ALIVE;
    if (!want->careful || reuse == HWS_REUSE_ALWAYS)
        return true;
    hint = hint_limit(connection);
    return idle_for <= (hint != HWS_NEVER ? hint : SURELY_ALIVE);
}

int hws_connection_probe(hws_connection_t *connection)
{
    return connection->socket->ops->peek(connection->socket);
}

/* ---- writing ---- */

/* After an error nothing more is written, but reading goes on: a response that explains it may be
 * waiting, and if none is, the read's own error ends the stream. */
void hws_connection_write_failed(hws_outbox_t *outbox, int code)
{
    hws_connection_t *connection = HWS_CONTAINER(outbox, hws_connection_t, outbox);

    /* What was lost here no peer will ever explain. */
    if (code == HWS_ERR_NOMEM)
        hws_loop_set_timer(connection->loop, &connection->timer, hws_loop_now(connection->loop));
    if (!connection->is_reading && !connection->has_finished) {
        connection->is_reading = true;
        connection->socket->ops->read(connection->socket, true);
    }
}

/* How many body bytes may be handed over now. Framing adds a little to the bound. */
static size_t write_room(const hws_connection_t *connection)
{
    size_t limit = rules_of(connection)->limits.buffer;
    size_t waiting = hws_outbox_size(&connection->outbox);

    return waiting < limit ? limit - waiting : 0;
}

/* Has the codec append one piece of body to `out`. */
static int append_piece(hws_stream_t *stream, hws_slice_t data, bool end, hws_buffer_t *out,
                        size_t *taken)
{
    hws_connection_t *connection = stream->connection;
    size_t piece = write_room(connection);

    if (piece > PIECE)
        piece = PIECE;
    if (piece > data.size)
        piece = data.size;
    if (piece == 0 && data.size > 0) {
        *taken = 0;
        return HWS_OK;
    }
    return connection->codec->ops->send(connection->codec, stream, data.data, piece,
                                        end && piece == data.size, out, taken);
}

int hws_connection_send(hws_stream_t *stream, hws_slice_t data, bool end, size_t *taken)
{
    hws_connection_t *connection = stream->connection;
    hws_outbox_t *outbox = &connection->outbox;
    uint64_t accepted = outbox->accepted;
    size_t total = 0;
    size_t piece;
    int rc;

    *taken = 0;
    if (outbox->error != HWS_OK)
        return outbox->error;
    do {
        hws_slice_t left = {data.data + total, data.size - total};

        piece = 0;
        /* Only what the system does not take is worth waiting for. */
        if (write_room(connection) < left.size)
            hws_outbox_send(outbox);
        rc = append_piece(stream, left, end, hws_outbox_begin(outbox), &piece);
        if (rc != HWS_OK)
            hws_outbox_drop(outbox);
        else
            rc = hws_outbox_commit(outbox);
        if (rc != HWS_OK)
            break;
        total += piece;
        *taken = total;
    } while (piece > 0 && total < data.size);
    if (connection->pool->metrics != NULL)
        hws_metrics_sent(connection->pool->metrics, 0, outbox->accepted - accepted,
                         hws_loop_recent(connection->loop));
    if (rc != HWS_OK)
        return rc;
    stream->wants_write = total < data.size;
    return stream->wants_write ? HWS_AGAIN : HWS_OK;
}

int hws_connection_open(hws_connection_t *connection, hws_stream_t *stream,
                        const hws_message_t *message, hws_slice_t body, bool end, hws_time_t now,
                        size_t *taken)
{
    hws_codec_t *codec = connection->codec;
    hws_buffer_t *out = hws_outbox_begin(&connection->outbox);
    uint64_t accepted = connection->outbox.accepted;
    int rc = codec->ops->open(codec, stream, message, out);

    *taken = 0;
    if (rc != HWS_OK) {
        hws_outbox_drop(&connection->outbox);
        return rc;
    }
    stream->connection = connection;
    stream->wants_write = false;
    hws_list_push_back(&connection->streams, &stream->link);
    connection->stream_count++;
    connection->pool->in_flight++;
    connection->idle_age = connection->served > 0 ? now - connection->used_at : 0;
    connection->served++;
    connection->used_at = now;
    connection->was_heard = false;
    if (connection->state == HWS_CONNECTION_READY)
        enter(connection, codec->room > 0 ? HWS_CONNECTION_READY : HWS_CONNECTION_BUSY);
    /* Head and first piece leave in one system call. A write that fails is no failure to open. */
    if (body.size > 0 && append_piece(stream, body, end, out, taken) != HWS_OK)
        *taken = 0;
    (void)hws_outbox_commit(&connection->outbox);
    hws_metrics_sent(connection->pool->metrics, connection->state != HWS_CONNECTION_SETUP,
                     connection->outbox.accepted - accepted, now);
    return HWS_OK;
}

void hws_connection_finish(hws_stream_t *stream)
{
    hws_outbox_finish(&stream->connection->outbox);
}

bool hws_connection_is_clean(hws_connection_t *connection)
{
    hws_outbox_t *outbox = &connection->outbox;

    hws_outbox_send(outbox);
    return outbox->error == HWS_OK && !outbox->is_flushing && !outbox->is_finishing &&
           !connection->has_finished;
}

/* ---- endings ---- */

/* Takes a stream off; whether the connection may go on is the caller's to say. */
static void take_off(hws_stream_t *stream)
{
    hws_connection_t *connection = stream->connection;

    assert(connection != NULL);
    hws_list_remove(&stream->link);
    connection->stream_count--;
    connection->pool->in_flight--;
    stream->connection = NULL;
}

void hws_connection_stream_ended(hws_stream_t *stream)
{
    hws_list_remove(&stream->link);
    hws_list_push_back(&stream->connection->ended, &stream->link);
}

/* Ends the streams that have had no end yet. */
static void end_streams(hws_connection_t *connection, int code)
{
    hws_buffer_t *out = hws_outbox_begin(&connection->outbox);
    hws_list_t *link;

    while ((link = hws_list_first(&connection->streams)) != NULL) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        connection->codec->ops->reset(connection->codec, stream, HWS_CODEC_CANCEL, out);
        stream->events->on_end(stream, code);
        assert(link != hws_list_first(&connection->streams));
    }
    hws_outbox_drop(&connection->outbox);
}

/* Moves the ended streams off the connection onto `ended`, to be told once it is in order. */
static void collect_ended(hws_connection_t *connection, hws_list_t *ended)
{
    hws_list_t *link;

    hws_list_init(ended);
    while ((link = hws_list_first(&connection->ended)) != NULL) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        take_off(stream);
        hws_list_push_back(ended, &stream->link);
    }
}

static void tell_settled(hws_list_t *ended, hws_time_t now)
{
    hws_list_t *link;

    while ((link = hws_list_first(ended)) != NULL) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        hws_list_remove(link);
        stream->events->on_settled(stream, now);
    }
}

/* Closes and frees; its streams have been taken off. */
static void destroy(hws_connection_t *connection, hws_close_reason_t why, hws_time_t now)
{
    hws_pool_t *pool = connection->pool;
    hws_pool_owner_t *owner = pool->owner;
    hws_time_t idle_for = connection->state == HWS_CONNECTION_READY ? now - connection->used_at : 0;

    enter(connection, HWS_CONNECTION_CLOSED);
    hws_outbox_dispose(&connection->outbox); /* which may fail, and that sets the timer */
    hws_loop_cancel_timer(connection->loop, &connection->timer);
    /* What was abandoned in the midst must not be mistaken for a regular end. */
    connection->socket->ops->close(connection->socket, why == HWS_CLOSE_ABANDONED);
    connection->codec->ops->destroy(connection->codec);
    if (connection->data != NULL)
        owner->rules.free_data(connection->data);
    hws_slab_give(&owner->pools->connections, connection);
    pool->open--;
    owner->on_closed(owner, pool, why, idle_for, now);
}

void hws_connection_close(hws_connection_t *connection, hws_close_reason_t why, int code,
                          hws_time_t now)
{
    hws_pool_owner_t *owner = connection->pool->owner;
    void *setup = connection->setup;
    hws_list_t ended;

    end_streams(connection, code);
    collect_ended(connection, &ended);
    destroy(connection, why, now);
    tell_settled(&ended, now);
    if (setup != NULL)
        owner->on_setup_lost(owner, setup, code, now);
}

/* `until` is when its idle time ends. */
static bool may_stay_until(const hws_connection_t *connection, hws_time_t until, hws_time_t now,
                           hws_close_reason_t *why)
{
    const hws_pool_t *pool = connection->pool;
    const hws_pool_rules_t *rules = rules_of(connection);

    if (connection->state == HWS_CONNECTION_DRAINING)
        *why = connection->why;
    else if (pool->owner->is_draining)
        *why = HWS_CLOSE_SHUTDOWN;
    else if (connection->codec->is_last || rules->reuse == HWS_REUSE_NEVER ||
             connection->outbox.is_flushing)
        *why = HWS_CLOSE_LAST; /* a peer that answered without reading may never read the rest */
    else if (connection->outbox.error != HWS_OK)
        *why = HWS_CLOSE_FAILED;
    else if (now >= until)
        *why = now >= connection->expires_at ? HWS_CLOSE_LIFETIME : HWS_CLOSE_IDLE;
    else if (pool->is_retired || pool->owner->pools->is_crowded ||
             pool->open + pool->dialing > rules->limits.per_peer ||
             pool->owner->connections > rules->limits.connections)
        *why = HWS_CLOSE_SURPLUS;
    else
        return true;
    return false;
}

bool hws_connection_may_stay(hws_connection_t *connection, hws_time_t now, hws_close_reason_t *why)
{
    return may_stay_until(connection, idle_until(connection, now), now, why);
}

/* A connection whose streams have changed finds its place again. Returns false when it is gone. */
static bool find_place(hws_connection_t *connection, hws_time_t now)
{
    hws_close_reason_t why;

    if (connection->state == HWS_CONNECTION_SETUP)
        return true;
    if (connection->stream_count == 0) {
        hws_time_t until;

        connection->used_at = now;
        hws_outbox_send(&connection->outbox);
        until = idle_until(connection, now);
        if (!may_stay_until(connection, until, now, &why)) {
            destroy(connection, why, now);
            return false;
        }
        enter(connection, HWS_CONNECTION_READY);
        look_at(connection, until);
    } else if (connection->state == HWS_CONNECTION_BUSY && connection->codec->room > 0) {
        enter(connection, HWS_CONNECTION_READY);
    }
    return true;
}

/* It had served before and ended without a word: the peer had closed it before we used it. */
static bool is_stale(const hws_connection_t *connection, int code)
{
    return hws_error_kind(code) == HWS_KIND_RESET && connection->served > 1 &&
           !connection->was_heard;
}

/* After every input: `rc` is what the codec said of it. */
static void settle(hws_connection_t *connection, int rc, hws_time_t now)
{
    hws_pool_owner_t *owner = connection->pool->owner;
    hws_list_t ended;

    if (rc != HWS_OK) {
        hws_connection_close(
            connection, is_stale(connection, rc) ? HWS_CLOSE_STALE : HWS_CLOSE_FAILED, rc, now);
    } else if (!hws_list_is_empty(&connection->ended)) {
        collect_ended(connection, &ended);
        (void)find_place(connection, now);
        tell_settled(&ended, now);
    } else {
        if (connection->is_reading != connection->codec->wants_bytes && !connection->has_finished) {
            connection->is_reading = connection->codec->wants_bytes;
            connection->socket->ops->read(connection->socket, connection->is_reading);
        }
        return;
    }
    owner->on_room(owner, now);
}

void hws_connection_detach(hws_stream_t *stream, hws_close_reason_t why, bool pool_it,
                           hws_time_t now)
{
    hws_connection_t *connection = stream->connection;
    hws_pool_owner_t *owner = connection->pool->owner;
    hws_buffer_t *out = hws_outbox_begin(&connection->outbox);
    size_t none;

    if (pool_it)
        (void)connection->codec->ops->send(connection->codec, stream, "", 0, true, out, &none);
    else
        connection->codec->ops->reset(connection->codec, stream, HWS_CODEC_CANCEL, out);
    (void)hws_outbox_commit(&connection->outbox);
    take_off(stream);
    if (!pool_it && connection->codec->is_last && connection->stream_count == 0 &&
        connection->state != HWS_CONNECTION_SETUP)
        destroy(connection, why, now);
    else
        (void)find_place(connection, now);
    owner->on_room(owner, now);
}

void hws_connection_drain(hws_connection_t *connection, hws_close_reason_t why, hws_time_t now)
{
    if (connection->stream_count == 0 && connection->state != HWS_CONNECTION_SETUP) {
        hws_connection_close(connection, why, HWS_ERR_CLOSED, now);
        return;
    }
    if (connection->state == HWS_CONNECTION_SETUP) {
        connection->expires_at = now;
        return;
    }
    connection->why = why;
    if (connection->state != HWS_CONNECTION_DRAINING)
        enter(connection, HWS_CONNECTION_DRAINING);
}

void hws_connection_credit(hws_stream_t *stream, size_t size)
{
    hws_connection_t *connection = stream->connection;

    if (connection == NULL || size == 0)
        return;
    if (connection->codec->ops->credit(connection->codec, stream, size,
                                       hws_outbox_begin(&connection->outbox)) == HWS_OK)
        (void)hws_outbox_commit(&connection->outbox);
    else
        hws_outbox_drop(&connection->outbox);
    if (connection->codec->wants_bytes && !connection->is_reading && !connection->has_finished) {
        connection->is_reading = true;
        connection->socket->ops->read(connection->socket, true);
    }
}

/* ---- inputs ---- */

static void on_bytes(void *user, const char *bytes, size_t size, hws_time_t now)
{
    hws_connection_t *connection = user;
    int rc;

    hws_loop_enter(connection->loop);
    connection->bytes_in += size;
    hws_metrics_took(connection->pool->metrics, size, now);
    if (connection->stream_count == 0) {
        hws_connection_close(connection, HWS_CLOSE_UNEXPECTED, HWS_ERR_UNEXPECTED, now);
        return;
    }
    connection->used_at = now;
    connection->was_heard = true;
    rc = connection->codec->ops->feed(connection->codec, bytes, size);
    settle(connection, rc, now);
}

static void on_end(void *user, int status, hws_time_t now)
{
    hws_connection_t *connection = user;
    hws_pool_owner_t *owner = connection->pool->owner;
    int rc = status;

    hws_loop_enter(connection->loop);
    if (connection->stream_count == 0 && connection->state != HWS_CONNECTION_SETUP) {
        hws_connection_close(connection, HWS_CLOSE_PEER_CLOSED, status, now);
        owner->on_room(owner, now);
        return;
    }
    connection->is_reading = false;
    connection->has_finished = true;
    if (status == HWS_ERR_EOF)
        rc = connection->codec->ops->feed_end(connection->codec);
    settle(connection, rc, now);
}

static void on_flush(void *user, int status, hws_time_t now)
{
    hws_connection_t *connection = user;

    hws_loop_enter(connection->loop);
    connection->used_at = now; /* a peer that takes bytes is not silent */
    if (status == HWS_AGAIN)
        return;
    hws_outbox_flushed(&connection->outbox, status);
    if (write_room(connection) == 0)
        return;
    HWS_LIST_EACH(link, &connection->streams) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        if (stream->wants_write || connection->outbox.error != HWS_OK) {
            stream->wants_write = false;
            stream->events->on_writable(stream);
        }
    }
}

static const hws_socket_events_t socket_events = {NULL, on_bytes, on_end, on_flush};

void hws_connection_set_socket(hws_connection_t *connection, hws_socket_t *socket)
{
    connection->socket = socket;
    connection->outbox.socket = socket;
}

void hws_connection_take_over(hws_connection_t *connection)
{
    hws_socket_t *socket = connection->socket;

    connection->is_reading = true;
    socket->ops->give(socket, &socket_events, connection);
    socket->ops->read(socket, true);
}
