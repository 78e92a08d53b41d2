#include "pool/connection.h"

#include "codec/h1.h"
#include "codec/h2.h"
#include "codec/raw.h"

#include <assert.h>

/* undici's rule for what may not be sent twice: a connection used this recently is alive. */
#define SURELY_ALIVE HWS_S(4)
/* What is subtracted from a peer's Keep-Alive hint. */
#define HINT_MARGIN HWS_S(2)

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

/* Nobody would miss one that is not. */
static bool is_needed(const hws_connection_t *connection)
{
    return connection->stream_count > 0 || connection->state == HWS_CONNECTION_KEPT;
}

static bool is_suspect(const hws_connection_t *connection)
{
    return hws_connection_is_multiplexing(connection) &&
           hws_liveness_is_suspect(&connection->liveness);
}

static bool takes_more(const hws_connection_t *connection)
{
    return connection->codec->room > 0 && connection->doom == HWS_OK && !is_suspect(connection);
}

/* READY is what takes more, with streams or without. */
static void follow_room(hws_connection_t *connection)
{
    if (connection->state == HWS_CONNECTION_BUSY && takes_more(connection))
        enter(connection, HWS_CONNECTION_READY);
    else if (connection->state == HWS_CONNECTION_READY && !takes_more(connection))
        enter(connection, HWS_CONNECTION_BUSY);
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

void hws_connection_doom(hws_connection_t *connection, int code)
{
    connection->doom = code;
    follow_room(connection);
    hws_loop_set_timer(connection->loop, &connection->timer, hws_loop_now(connection->loop));
}

/* ---- signs of life ---- */

static void ask_for_life(hws_connection_t *connection)
{
    if (connection->codec->ops->ping(connection->codec) != HWS_ERR_NOMEM)
        hws_outbox_pull(&connection->outbox);
}

static void watch_life(hws_connection_t *connection)
{
    hws_time_t at = hws_liveness_next(&connection->liveness, is_needed(connection));

    if (at != HWS_NEVER)
        look_at(connection, at);
}

/* False: it is about to be closed. */
static bool is_alive(hws_connection_t *connection, hws_time_t now)
{
    switch (hws_liveness_due(&connection->liveness, is_needed(connection), now)) {
    case HWS_LIVENESS_DEAD:
        hws_connection_doom(connection, HWS_ERR_NO_PONG);
        return false;
    case HWS_LIVENESS_PING:
        ask_for_life(connection);
        break;
    case HWS_LIVENESS_NOTHING:
        break;
    }
    watch_life(connection);
    return true;
}

void hws_connection_suspect(hws_stream_t *stream, hws_time_t now)
{
    hws_connection_t *connection = stream->connection;

    if (!hws_connection_is_multiplexing(connection))
        return;
    if (hws_liveness_suspect(&connection->liveness, now))
        ask_for_life(connection);
    follow_room(connection);
    watch_life(connection);
}

/* The peer thinks that it is asked too often; so will it think of the next connection. */
static void calm_down(hws_connection_t *connection)
{
    connection->codec->is_calmed = false;
    hws_liveness_calm(&connection->liveness);
    connection->pool->ping_idle = connection->liveness.ping_idle;
}

/* ---- what the codec waits for ---- */

static void tell_keeper(hws_connection_t *connection)
{
    if (connection->keeper != NULL)
        connection->keeper->on_news(connection->keeper);
}

void hws_connection_watch_codec(hws_connection_t *connection)
{
    if (connection->codec->awaited == 0) {
        connection->tick_at = HWS_NEVER;
        return;
    }
    if (connection->tick_at == HWS_NEVER)
        connection->tick_at = hws_loop_recent(connection->loop) + HWS_CODEC_TICK;
    look_at(connection, connection->tick_at);
}

/* True: there may be more room. */
static bool tick(hws_connection_t *connection, hws_time_t now)
{
    int rc;

    if (now < connection->tick_at) {
        hws_connection_watch_codec(connection);
        return false;
    }
    connection->tick_at = HWS_NEVER;
    if ((rc = connection->codec->ops->tick(connection->codec)) != HWS_OK) {
        hws_connection_doom(connection, rc);
        return false;
    }
    follow_room(connection);
    tell_keeper(connection);
    hws_outbox_pull(&connection->outbox);
    return true;
}

/* One with many streams may never be idle; its time is up all the same. */
static void look_at_busy(hws_connection_t *connection, hws_time_t now)
{
    if (connection->state == HWS_CONNECTION_DRAINING)
        return;
    if (now >= connection->expires_at)
        hws_connection_drain(connection, HWS_CLOSE_LIFETIME, now);
    else
        look_at(connection, connection->expires_at);
}

/* May close it. */
static void look(hws_connection_t *connection, hws_time_t now)
{
    /* A used one's idleness is looked at again when it is handed back. */
    if (connection->state == HWS_CONNECTION_SETUP || is_needed(connection)) {
        tell_due(connection, now);
        if (hws_connection_is_multiplexing(connection))
            look_at_busy(connection, now);
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

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    hws_connection_t *connection = HWS_CONTAINER(timer, hws_connection_t, timer);
    hws_pool_owner_t *owner = connection->pool->owner;
    bool has_room = false;

    if (connection->doom == HWS_OK && hws_connection_is_multiplexing(connection)) {
        if (!is_alive(connection, now))
            return;
        has_room = connection->tick_at != HWS_NEVER && tick(connection, now);
    }
    if (connection->doom == HWS_OK) {
        look(connection, now);
    } else {
        hws_connection_close(connection, HWS_CLOSE_FAILED, connection->doom, now);
        has_room = true;
    }
    if (has_room)
        owner->on_room(owner, NULL, now);
}

/* What one connection takes the next one will take, but for one that goes away. */
static void note_cap(hws_connection_t *connection)
{
    hws_pool_t *pool = connection->pool;

    if (connection->keeper != NULL || connection->state == HWS_CONNECTION_DRAINING)
        return;
    if (!connection->codec->is_last)
        pool->streams = connection->codec->cap;
    else if (pool->streams == 0)
        pool->streams = 1;
}

void hws_connection_reconsider(hws_connection_t *connection, hws_time_t now)
{
    if (hws_connection_is_multiplexing(connection)) {
        connection->codec->ops->set_streams(connection->codec,
                                            rules_of(connection)->limits.streams);
        note_cap(connection);
        follow_room(connection);
        tell_keeper(connection);
    }
    if (connection->state != HWS_CONNECTION_SETUP && !is_needed(connection))
        watch_idleness(connection, now);
}

static hws_time_t jittered_lifetime(hws_pool_owner_t *owner, hws_time_t now)
{
    hws_time_t span = owner->rules.timeouts.lifetime;
    uint32_t percent = 90 + hws_random_below(&owner->pools->random, 21);

    return span == HWS_NEVER ? HWS_NEVER : now + span / 100 * (hws_time_t)percent;
}

static hws_codec_options_t codec_options(const hws_pool_t *pool)
{
    hws_pool_owner_t *owner = pool->owner;
    const hws_pool_rules_t *rules = &owner->rules;

    return (hws_codec_options_t){.header = rules->limits.header,
                                 .buffer = rules->limits.buffer,
                                 .fields = &owner->pools->fields,
                                 .streams = rules->limits.streams,
                                 .expected = pool->streams,
                                 .windows = {.stream = rules->h2.window,
                                             .connection = rules->h2.connection_window,
                                             .stream_max = rules->h2.window_max,
                                             .connection_max = rules->h2.connection_window_max},
                                 .budget = &owner->pools->windows};
}

static int create_codec(const hws_pool_t *pool, hws_protocol_t protocol, hws_codec_t **out)
{
    hws_codec_options_t options = codec_options(pool);

    switch (protocol) {
    case HWS_PROTOCOL_H2:
        return hws_h2_create(&options, out);
    case HWS_PROTOCOL_RAW:
        return hws_raw_create(&options, out);
    case HWS_PROTOCOL_YAMUX:
        return hws_yamux_create(&options, HWS_YAMUX_CLIENT, out);
    default:
        return hws_h1_create(&options, out);
    }
}

/* What only those have that take many streams. */
static void set_out(hws_connection_t *connection, hws_time_t now)
{
    hws_pool_t *pool = connection->pool;
    const hws_h2_options_t *h2 = &rules_of(connection)->h2;
    hws_time_t ping_idle = pool->ping_idle > h2->ping_idle ? pool->ping_idle : h2->ping_idle;

    hws_liveness_init(&connection->liveness, ping_idle, h2->ping_timeout, now);
}

static const hws_socket_events_t socket_events;

int hws_connection_create(hws_pool_t *pool, hws_socket_t *socket, hws_protocol_t protocol,
                          void *setup, hws_time_t now, hws_connection_t **out)
{
    hws_pool_owner_t *owner = pool->owner;
    hws_pools_t *pools = owner->pools;
    hws_connection_t *connection = hws_slab_take(&pools->connections);
    int rc;

    if (connection == NULL)
        return HWS_ERR_NOMEM;
    if ((rc = create_codec(pool, protocol, &connection->codec)) != HWS_OK) {
        hws_slab_give(&pools->connections, connection);
        return rc;
    }
    connection->protocol = protocol;
    connection->pool = pool;
    connection->loop = pools->loop;
    connection->socket = socket;
    hws_outbox_init(&connection->outbox, &pools->gather, socket);
    connection->setup = setup;
    connection->used_at = connection->created_at = now;
    connection->expires_at = jittered_lifetime(owner, now);
    connection->tick_at = HWS_NEVER;
    hws_list_init(&connection->link);
    hws_list_init(&connection->idle_link);
    hws_list_init(&connection->streams);
    hws_list_init(&connection->ended);
    hws_timer_init(&connection->timer, on_timer);
    pool->open++;
    pool->is_open_question = false;
    if (hws_connection_is_multiplexing(connection))
        set_out(connection, now);
    else
        pool->streams = 1;
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
    if (connection->stream_count > 0)
        return now < connection->expires_at &&
               (!want->fresh_only || connection->created_at >= want->fresh_since);
    if (now >= idle_until(connection, now))
        return false;
    if (want->is_lease)
        return true;
    if (hws_connection_is_multiplexing(connection))
        return !want->fresh_only || connection->created_at >= want->fresh_since;
    if (want->fresh_only || reuse == HWS_REUSE_NEVER)
        return connection->served == 0 && idle_for <= SURELY_ALIVE;
    if (!want->careful || reuse == HWS_REUSE_ALWAYS)
        return true;
    hint = hint_limit(connection);
    return idle_for <= (hint != HWS_NEVER ? hint : SURELY_ALIVE);
}

int hws_connection_probe(hws_connection_t *connection)
{
    int rc = connection->socket->ops->peek(connection->socket);

    /* Where there are streams, a peer may say something about the connection at any time. */
    return rc == HWS_ERR_UNEXPECTED && hws_connection_is_multiplexing(connection) ? HWS_OK : rc;
}

/* ---- beginnings ---- */

/* The stream has begun. */
static void put_on(hws_connection_t *connection, hws_stream_t *stream, hws_time_t now)
{
    stream->connection = connection;
    stream->wants_write = false;
    stream->reset_code = HWS_CODEC_CANCEL;
    if (connection->stream_count == 0) {
        connection->was_idle = connection->served > 0;
        connection->idle_age = connection->was_idle ? now - connection->used_at : 0;
        connection->was_heard = false;
    }
    hws_list_push_back(&connection->streams, &stream->link);
    connection->stream_count++;
    connection->pool->in_flight++;
    connection->served++;
    connection->used_at = now;
    if (connection->state == HWS_CONNECTION_READY)
        enter(connection, takes_more(connection) ? HWS_CONNECTION_READY : HWS_CONNECTION_BUSY);
}

/* Many streams' heads leave together. */
static int open_one_of_many(hws_connection_t *connection, hws_stream_t *stream,
                            const hws_message_t *message, hws_slice_t body, bool end,
                            hws_time_t now, size_t *taken)
{
    hws_codec_t *codec = connection->codec;
    int rc = codec->ops->open(codec, stream, message, NULL);

    if (rc != HWS_OK)
        return rc;
    put_on(connection, stream, now);
    /* After a long silence the first one goes out together with a question. */
    if (connection->stream_count == 1)
        (void)is_alive(connection, now);
    if (body.size > 0 && codec->ops->send(codec, stream, body.data, body.size, end, NULL, taken))
        *taken = 0;
    hws_outbox_pull(&connection->outbox);
    if (connection->keeper == NULL)
        hws_metrics_sent(connection->pool->metrics, 1, 0, now);
    return HWS_OK;
}

int hws_connection_accept(hws_connection_t *connection, hws_stream_t *stream, hws_time_t now)
{
    int rc = connection->codec->ops->accept(connection->codec, stream);

    if (rc != HWS_OK)
        return rc;
    put_on(connection, stream, now);
    hws_outbox_pull(&connection->outbox);
    return HWS_OK;
}

int hws_connection_open(hws_connection_t *connection, hws_stream_t *stream,
                        const hws_message_t *message, hws_slice_t body, bool end, hws_time_t now,
                        size_t *taken)
{
    hws_codec_t *codec = connection->codec;
    hws_buffer_t *out;
    int rc;

    *taken = 0;
    if (hws_connection_is_multiplexing(connection))
        return open_one_of_many(connection, stream, message, body, end, now, taken);
    out = hws_outbox_begin(&connection->outbox);
    if ((rc = codec->ops->open(codec, stream, message, out)) != HWS_OK) {
        hws_outbox_drop(&connection->outbox);
        return rc;
    }
    put_on(connection, stream, now);
    /* Head and first piece leave in one system call. A write that fails is no failure to open. */
    if (body.size > 0 && hws_connection_append(stream, body, end, out, taken) != HWS_OK)
        *taken = 0;
    (void)hws_outbox_commit(&connection->outbox);
    if (connection->state != HWS_CONNECTION_SETUP)
        hws_metrics_sent(connection->pool->metrics, 1, 0, now);
    return HWS_OK;
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

static void reset(hws_connection_t *connection, hws_stream_t *stream)
{
    connection->codec->ops->reset(connection->codec, stream, stream->reset_code);
}

/* Ends the streams that have had no end yet. */
static void end_streams(hws_connection_t *connection, int code)
{
    hws_list_t *link;

    while ((link = hws_list_first(&connection->streams)) != NULL) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        reset(connection, stream);
        stream->events->on_end(stream, code);
        assert(link != hws_list_first(&connection->streams));
    }
}

/* Moves the ended streams off the connection onto `ended`, to be told once it is in order. */
static void collect_ended(hws_connection_t *connection, hws_list_t *ended)
{
    hws_list_t *link;

    hws_list_init(ended);
    while ((link = hws_list_first(&connection->ended)) != NULL) {
        hws_stream_t *stream = HWS_CONTAINER(link, hws_stream_t, link);

        /* Its response came before all of it was sent, and the rest is not wanted. */
        if (stream->part != NULL)
            reset(connection, stream);
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

/* A peer is told that a connection ends, and why. */
static void say_goodbye(hws_connection_t *connection, hws_close_reason_t why)
{
    if (why != HWS_CLOSE_FAILED && why != HWS_CLOSE_STALE)
        connection->codec->ops->go_away(connection->codec);
    hws_connection_pull(&connection->outbox);
}

/* Closes and frees; its streams have been taken off. */
static void destroy(hws_connection_t *connection, hws_close_reason_t why, hws_time_t now)
{
    hws_pool_t *pool = connection->pool;
    hws_pool_owner_t *owner = pool->owner;
    hws_time_t idle_for = connection->state == HWS_CONNECTION_READY ? now - connection->used_at : 0;

    enter(connection, HWS_CONNECTION_CLOSED);
    if (hws_connection_is_multiplexing(connection))
        say_goodbye(connection, why);
    hws_outbox_dispose(&connection->outbox); /* which may fail, and that sets the timer */
    hws_loop_cancel_timer(connection->loop, &connection->timer);
    /* What was abandoned in the midst must not be mistaken for a regular end. */
    connection->socket->ops->close(connection->socket,
                                   why == HWS_CLOSE_ABANDONED &&
                                       !hws_codec_is_multiplexing(connection->codec));
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
    hws_keeper_t *keeper = connection->keeper;
    hws_list_t ended;

    end_streams(connection, code);
    collect_ended(connection, &ended);
    destroy(connection, why, now);
    tell_settled(&ended, now);
    if (keeper != NULL) {
        keeper->connection = NULL;
        keeper->on_lost(keeper, why == HWS_CLOSE_PEER_CLOSED ? HWS_OK : code, now);
    }
    if (setup != NULL)
        owner->on_setup_lost(owner, setup, code, now);
}

/* Of those that carry one stream after another: a peer that answered without reading may never read the
 * rest. Where there are many streams a window bounds what is on its way, and the others need it. */
static bool is_spent(const hws_connection_t *connection)
{
    return !hws_connection_is_multiplexing(connection) &&
           (rules_of(connection)->reuse == HWS_REUSE_NEVER || connection->outbox.is_flushing);
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
    else if (connection->codec->is_last || is_spent(connection))
        *why = HWS_CLOSE_LAST;
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

    if (connection->state == HWS_CONNECTION_SETUP || connection->state == HWS_CONNECTION_KEPT)
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
        enter(connection, takes_more(connection) ? HWS_CONNECTION_READY : HWS_CONNECTION_BUSY);
        look_at(connection, until);
    } else {
        follow_room(connection);
    }
    return true;
}

static bool is_stale(const hws_connection_t *connection, int code)
{
    return hws_error_kind(code) == HWS_KIND_RESET && connection->keeper == NULL &&
           hws_connection_may_be_stale(connection);
}

/* After every input: `rc` is what the codec said of it. */
static void settle(hws_connection_t *connection, int rc, hws_time_t now)
{
    hws_pool_t *pool = connection->pool;
    hws_pool_owner_t *owner = pool->owner;
    hws_list_t ended;

    if (rc != HWS_OK) {
        /* The last word says what was wrong, and ends what never left as not looked at. */
        if (hws_connection_is_multiplexing(connection))
            hws_connection_pull(&connection->outbox);
        hws_connection_close(
            connection, is_stale(connection, rc) ? HWS_CLOSE_STALE : HWS_CLOSE_FAILED, rc, now);
    } else if (!hws_list_is_empty(&connection->ended)) {
        collect_ended(connection, &ended);
        if (find_place(connection, now) && hws_connection_is_multiplexing(connection))
            hws_outbox_pull(&connection->outbox);
        tell_settled(&ended, now);
    } else if (hws_connection_is_multiplexing(connection)) {
        /* A peer may have changed its mind about how many streams it takes, or go away. While there
         * are none, that is no use of the connection. */
        bool is_unused = connection->stream_count == 0 && !connection->codec->is_last;

        if (is_unused)
            follow_room(connection);
        if (is_unused || find_place(connection, now))
            hws_outbox_pull(&connection->outbox);
    } else {
        if (connection->is_reading != connection->codec->wants_bytes && !connection->has_finished) {
            connection->is_reading = connection->codec->wants_bytes;
            connection->socket->ops->read(connection->socket, connection->is_reading);
        }
        return;
    }
    owner->on_room(owner, pool, now);
}

void hws_connection_detach(hws_stream_t *stream, hws_close_reason_t why, bool pool_it,
                           hws_time_t now)
{
    hws_connection_t *connection = stream->connection;
    hws_pool_t *pool = connection->pool;

    if (pool_it)
        connection->codec->ops->leave(connection->codec, stream);
    else
        reset(connection, stream);
    if (hws_connection_is_multiplexing(connection))
        hws_outbox_pull(&connection->outbox);
    take_off(stream);
    tell_keeper(connection);
    if (!pool_it && connection->codec->is_last && !is_needed(connection) &&
        connection->state != HWS_CONNECTION_SETUP)
        destroy(connection, why, now);
    else
        (void)find_place(connection, now);
    pool->owner->on_room(pool->owner, pool, now);
}

void hws_connection_drain(hws_connection_t *connection, hws_close_reason_t why, hws_time_t now)
{
    if (connection->state == HWS_CONNECTION_KEPT)
        return; /* its keeper ends it */
    if (connection->stream_count == 0 && connection->state != HWS_CONNECTION_SETUP) {
        hws_connection_close(connection, why, HWS_ERR_CLOSED, now);
        return;
    }
    if (connection->state == HWS_CONNECTION_SETUP) {
        connection->expires_at = now;
        return;
    }
    connection->why = why;
    if (connection->state == HWS_CONNECTION_DRAINING)
        return;
    enter(connection, HWS_CONNECTION_DRAINING);
    if (hws_connection_is_multiplexing(connection)) {
        connection->codec->ops->go_away(connection->codec);
        hws_outbox_pull(&connection->outbox);
    }
}

void hws_connection_credit(hws_stream_t *stream, size_t size)
{
    hws_connection_t *connection = stream->connection;

    if (connection == NULL || size == 0)
        return;
    if (hws_connection_is_multiplexing(connection)) {
        if (stream->part != NULL &&
            connection->codec->ops->credit(connection->codec, stream, size) == HWS_OK)
            hws_outbox_pull(&connection->outbox);
        return;
    }
    (void)connection->codec->ops->credit(connection->codec, stream, size);
    if (connection->codec->wants_bytes && !connection->is_reading && !connection->has_finished) {
        connection->is_reading = true;
        connection->socket->ops->read(connection->socket, true);
    }
}

/* ---- inputs ---- */

/* What a peer says while no stream is open is no use of the connection. */
static void feed_many(hws_connection_t *connection, const char *bytes, size_t size, hws_time_t now)
{
    int rc;

    if (connection->stream_count > 0)
        connection->used_at = now;
    connection->was_heard = true;
    hws_liveness_heard(&connection->liveness, now);
    rc = connection->codec->ops->feed(connection->codec, bytes, size);
    note_cap(connection);
    if (connection->codec->is_calmed)
        calm_down(connection);
    tell_keeper(connection);
    settle(connection, rc, now);
}

static void on_bytes(void *user, const char *bytes, size_t size, hws_time_t now)
{
    hws_connection_t *connection = user;
    int rc;

    hws_loop_enter(connection->loop);
    connection->bytes_in += size;
    hws_metrics_took(connection->pool->metrics, size, now);
    if (hws_connection_is_multiplexing(connection)) {
        feed_many(connection, bytes, size, now);
        return;
    }
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
    if (!is_needed(connection) && connection->state != HWS_CONNECTION_SETUP) {
        hws_connection_close(connection, HWS_CLOSE_PEER_CLOSED, status, now);
        owner->on_room(owner, NULL, now);
        return;
    }
    connection->is_reading = false;
    connection->has_finished = true;
    if (status == HWS_ERR_EOF)
        rc = connection->codec->ops->feed_end(connection->codec);
    if (connection->keeper != NULL && rc == HWS_OK) {
        hws_connection_close(connection, HWS_CLOSE_PEER_CLOSED, status, now);
        owner->on_room(owner, NULL, now);
        return;
    }
    settle(connection, rc, now);
}

static void on_flush(void *user, int status, hws_time_t now)
{
    hws_connection_t *connection = user;

    hws_loop_enter(connection->loop);
    connection->used_at = now; /* a peer that takes bytes is not silent */
    if (hws_connection_is_multiplexing(connection) && !is_suspect(connection))
        hws_liveness_heard(&connection->liveness, now);
    if (status == HWS_AGAIN)
        return;
    hws_outbox_flushed(&connection->outbox, status);
    if (hws_connection_is_multiplexing(connection) && connection->outbox.error == HWS_OK) {
        hws_outbox_pull(&connection->outbox);
        /* One that takes no other stream waits with its end for the last bytes. */
        if (!connection->codec->is_last)
            return;
    } else if (hws_connection_write_room(connection) == 0) {
        return;
    }
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

int hws_connection_keep(hws_stream_t *stream, hws_yamux_role_t role, hws_keeper_t *keeper,
                        hws_slice_t unread, hws_time_t now)
{
    hws_connection_t *connection = stream->connection;
    hws_codec_options_t options = codec_options(connection->pool);
    hws_codec_t *codec;
    int rc;

    assert(connection->protocol == HWS_PROTOCOL_RAW);
    options.accepts = true;
    if ((rc = hws_yamux_create(&options, role, &codec)) != HWS_OK)
        return rc;
    take_off(stream);
    connection->codec->ops->destroy(connection->codec);
    connection->codec = codec;
    connection->protocol = HWS_PROTOCOL_YAMUX;
    connection->keeper = keeper;
    keeper->connection = connection;
    enter(connection, HWS_CONNECTION_KEPT);
    set_out(connection, now);
    watch_life(connection);
    if (!connection->is_reading)
        connection->socket->ops->read(connection->socket, true);
    connection->is_reading = true;
    if (unread.size > 0)
        feed_many(connection, unread.data, unread.size, now);
    return HWS_OK;
}
