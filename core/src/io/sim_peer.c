/* The simulated peers: both ends of each connection, and what is on its way between them. */
#include "io/sim_world.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

#define LARGEST_PIECE ((size_t)65536)

typedef struct {
    hws_list_t link;
    hws_time_t at; /* it arrives */
    size_t size;
    size_t taken;
    char data[];
} segment_t;

/* One direction of a connection: what is on its way or waits at the receiver, and how it ends after
 * that. The timer is set for what comes next, unless the receiver takes nothing. */
typedef struct {
    hws_list_t segments;
    size_t size;        /* of all segments */
    hws_time_t last_at; /* nothing arrives before that: no overtaking */
    hws_time_t next_at; /* no piece is taken before that */
    int end;            /* HWS_OK while more may come, HWS_ERR_EOF, HWS_ERR_RESET */
    hws_time_t end_at;
    hws_timer_t timer;
} lane_t;

typedef enum { CONNECTING, OPEN, FAILED, CLOSED } state_t;

/* Both ends of a connection. It is freed when the peer has learnt that the client closed it. */
typedef struct {
    hws_socket_t base;
    hws_sim_conn_t conn;
    hws_sim_t *sim;
    hws_list_t link;
    const hws_socket_events_t *events;
    void *owner;
    state_t state; /* of the client's end */
    bool is_accepted;
    bool is_reading;
    bool has_ended; /* on_end was told */
    bool is_finished;
    bool is_flushing;
    bool is_breaking;  /* an RST is on its way to the client */
    bool is_broken;    /* it came */
    hws_buffer_t rest; /* what flush took over and the window has no room for */
    lane_t to_client;
    lane_t to_peer;
    hws_timer_t connect_timer;
    hws_timer_t flush_timer;
    hws_timer_t break_timer;
} endpoint_t;

static endpoint_t *endpoint_of(hws_socket_t *socket)
{
    return (endpoint_t *)(void *)socket;
}

/* Lanes ------------------------------------------------------------------------------------- */

static segment_t *lane_head(const lane_t *lane)
{
    if (hws_list_is_empty(&lane->segments))
        return NULL;
    return HWS_CONTAINER(lane->segments.next, segment_t, link);
}

static int lane_push(lane_t *lane, const char *data, size_t size, hws_time_t at)
{
    segment_t *segment = hws_alloc(sizeof(*segment) + size);

    if (segment == NULL)
        return HWS_ERR_NOMEM;
    *segment = (segment_t){.at = hws_sim_later(at, lane->last_at), .size = size};
    memcpy(segment->data, data, size);
    hws_list_push_back(&lane->segments, &segment->link);
    lane->size += size;
    lane->last_at = segment->at;
    return HWS_OK;
}

static void lane_end(lane_t *lane, int end, hws_time_t at)
{
    lane->end = end;
    lane->end_at = lane->last_at = hws_sim_later(at, lane->last_at);
}

static void lane_drop_head(lane_t *lane)
{
    segment_t *head = lane_head(lane);

    lane->size -= head->size - head->taken;
    hws_list_remove(&head->link);
    hws_free(head);
}

static void lane_clear(lane_t *lane)
{
    while (lane_head(lane) != NULL)
        lane_drop_head(lane);
}

static hws_time_t lane_next(const lane_t *lane)
{
    const segment_t *head = lane_head(lane);

    if (head != NULL)
        return hws_sim_later(head->at, lane->next_at);
    return lane->end != HWS_OK ? lane->end_at : HWS_NEVER;
}

/* Connections ------------------------------------------------------------------------------- */

static endpoint_t *socket_of(hws_sim_conn_t *conn)
{
    return HWS_CONTAINER(conn, endpoint_t, conn);
}

static bool is_silent(const endpoint_t *socket)
{
    return socket->conn.listener != NULL && socket->conn.listener->is_silent;
}

static hws_time_t arrival(endpoint_t *socket)
{
    const hws_sim_options_t *options = &socket->conn.listener->options;

    return socket->sim->now +
           hws_sim_choose(socket->sim, options->latency_min, options->latency_max);
}

/* A timer that stays where it is keeps its place among those of the same moment. */
static void schedule_client(endpoint_t *socket)
{
    bool takes = socket->state == OPEN && socket->is_reading && !socket->has_ended;

    hws_sim_set_timer(socket->sim, &socket->to_client.timer,
                      takes && !is_silent(socket) ? lane_next(&socket->to_client) : HWS_NEVER);
}

static void schedule_peer(endpoint_t *socket)
{
    lane_t *lane = &socket->to_peer;
    bool waits = lane_head(lane) != NULL && socket->conn.is_paused;
    bool is_held = socket->is_accepted && is_silent(socket);

    hws_sim_set_timer(socket->sim, &lane->timer, waits || is_held ? HWS_NEVER : lane_next(lane));
}

static void send_reset(endpoint_t *socket)
{
    if (socket->is_breaking || socket->is_broken || socket->state == CLOSED)
        return;
    socket->is_breaking = true;
    hws_sim_set_timer(socket->sim, &socket->break_timer, arrival(socket));
}

static size_t room(const endpoint_t *socket)
{
    size_t window = socket->conn.listener->options.window;

    if (window == 0)
        return SIZE_MAX;
    return window > socket->to_peer.size ? window - socket->to_peer.size : 0;
}

static int push_to_peer(endpoint_t *socket, const char *data, size_t size, size_t *sent)
{
    size_t n = size < room(socket) ? size : room(socket);

    if (n > 0 && lane_push(&socket->to_peer, data, n, arrival(socket)) != HWS_OK)
        return HWS_ERR_NOMEM;
    *sent = n;
    schedule_peer(socket);
    return HWS_OK;
}

/* Moves what a flush has left into the window. */
static void refill(endpoint_t *socket)
{
    hws_buffer_t *left = &socket->rest;
    size_t sent = 0;

    if (!socket->is_flushing || socket->is_broken)
        return;
    if (!hws_buffer_is_empty(left) &&
        push_to_peer(socket, hws_buffer_bytes(left), hws_buffer_size(left), &sent) != HWS_OK) {
        hws_sim_close(&socket->conn, HWS_SIM_RESET);
        return;
    }
    hws_buffer_consume(left, sent);
    if (sent > 0 || hws_buffer_is_empty(left))
        hws_sim_set_timer(socket->sim, &socket->flush_timer, socket->sim->now);
}

static void free_socket(endpoint_t *socket)
{
    hws_timers_t *events = &socket->sim->events;
    hws_sim_listener_t *listener = socket->conn.listener;

    if (socket->is_accepted && !socket->conn.is_closed)
        listener->open--;
    if (socket->is_accepted && listener->script->on_gone != NULL)
        listener->script->on_gone(&socket->conn);
    hws_timers_cancel(events, &socket->to_peer.timer);
    lane_clear(&socket->to_client);
    lane_clear(&socket->to_peer);
    hws_list_remove(&socket->link);
    hws_free(socket);
}

/* What happens ------------------------------------------------------------------------------ */

static int answer(const hws_sim_listener_t *listener)
{
    const hws_sim_options_t *options = &listener->options;

    if (options->answer != HWS_OK)
        return options->answer;
    return options->slots > 0 && listener->open >= options->slots ? HWS_ERR_REFUSED : HWS_OK;
}

static void fire_connect(hws_timer_t *timer, hws_time_t now)
{
    endpoint_t *socket = HWS_CONTAINER(timer, endpoint_t, connect_timer);
    hws_sim_listener_t *listener = socket->conn.listener;
    int status = HWS_ERR_REFUSED;

    if (is_silent(socket))
        return;
    if (listener != NULL)
        status = answer(listener);
    socket->state = status == HWS_OK ? OPEN : FAILED;
    if (status == HWS_OK) {
        socket->is_accepted = true;
        listener->accepted++;
        listener->open++;
        if (listener->script->on_accept != NULL)
            listener->script->on_accept(&socket->conn);
    }
    socket->events->on_connect(socket->owner, status, now);
    hws_sim_rest(socket->sim);
}

static size_t piece_size(endpoint_t *socket, size_t left)
{
    if (left > LARGEST_PIECE)
        left = LARGEST_PIECE;
    switch (socket->conn.listener->options.chunking) {
    case HWS_SIM_WHOLE:
        break;
    case HWS_SIM_BYTES:
        return 1;
    case HWS_SIM_RANDOM:
        return 1 + hws_random_below(&socket->sim->random, (uint32_t)left);
    }
    return left;
}

/* The owner may close the socket in here; the bytes stay until the rest after them is over. */
static void fire_to_client(hws_timer_t *timer, hws_time_t now)
{
    endpoint_t *socket = HWS_CONTAINER(timer, endpoint_t, to_client.timer);
    lane_t *lane = &socket->to_client;
    segment_t *head = lane_head(lane);

    if (head != NULL) {
        size_t piece = piece_size(socket, head->size - head->taken);

        socket->events->on_bytes(socket->owner, head->data + head->taken, piece, now);
        hws_sim_rest(socket->sim);
        head->taken += piece;
        lane->size -= piece;
        lane->next_at = now + socket->conn.listener->options.gap;
        if (head->taken == head->size)
            lane_drop_head(lane);
    } else {
        socket->has_ended = true;
        socket->events->on_end(socket->owner, lane->end, now);
        hws_sim_rest(socket->sim);
    }
    schedule_client(socket);
}

static void give_to_peer(endpoint_t *socket)
{
    const hws_sim_script_t *script = socket->conn.listener->script;
    segment_t *head = lane_head(&socket->to_peer);

    hws_list_remove(&head->link);
    socket->to_peer.size -= head->size;
    if (socket->conn.is_closed)
        send_reset(socket);
    else if (script->on_bytes != NULL)
        script->on_bytes(&socket->conn, head->data, head->size);
    hws_free(head);
    refill(socket);
}

static void end_to_peer(endpoint_t *socket)
{
    int end = socket->to_peer.end;

    socket->to_peer.end = HWS_OK;
    if (socket->is_accepted && !socket->conn.is_closed && !socket->conn.has_ended) {
        const hws_sim_script_t *script = socket->conn.listener->script;

        socket->conn.has_ended = true;
        if (script->on_end != NULL)
            script->on_end(&socket->conn, end);
    }
}

static void fire_to_peer(hws_timer_t *timer, hws_time_t now)
{
    endpoint_t *socket = HWS_CONTAINER(timer, endpoint_t, to_peer.timer);

    (void)now;
    if (lane_head(&socket->to_peer) != NULL)
        give_to_peer(socket);
    else
        end_to_peer(socket);
    if (socket->state == CLOSED && lane_next(&socket->to_peer) == HWS_NEVER)
        free_socket(socket);
    else
        schedule_peer(socket);
}

static void fire_break(hws_timer_t *timer, hws_time_t now)
{
    endpoint_t *socket = HWS_CONTAINER(timer, endpoint_t, break_timer);

    if (is_silent(socket))
        return;
    socket->is_breaking = false;
    socket->is_broken = true;
    if (socket->to_client.end == HWS_OK)
        lane_end(&socket->to_client, HWS_ERR_RESET, now);
    if (socket->is_flushing)
        hws_sim_set_timer(socket->sim, &socket->flush_timer, now);
    schedule_client(socket);
}

static void fire_flush(hws_timer_t *timer, hws_time_t now)
{
    endpoint_t *socket = HWS_CONTAINER(timer, endpoint_t, flush_timer);
    int status = socket->is_broken                    ? HWS_ERR_RESET
                 : hws_buffer_is_empty(&socket->rest) ? HWS_OK
                                                      : HWS_AGAIN;

    if (status != HWS_AGAIN) {
        hws_buffer_dispose(&socket->rest);
        socket->is_flushing = false;
    }
    socket->events->on_flush(socket->owner, status, now);
    hws_sim_rest(socket->sim);
}

/* The client's end -------------------------------------------------------------------------- */

static hws_sim_listener_t *find_listener(const hws_sim_t *sim, const hws_address_t *address)
{
    HWS_LIST_EACH(link, &sim->listeners) {
        hws_sim_listener_t *listener = HWS_CONTAINER(link, hws_sim_listener_t, link);

        if (listener->address.size == address->size &&
            memcmp(&listener->address.as, &address->as, address->size) == 0)
            return listener;
    }
    return NULL;
}

static const hws_socket_ops_t socket_ops;

int hws_sim_connect(hws_io_t *io, const hws_address_t *address, const hws_socket_events_t *events,
                    void *owner, hws_socket_t **out)
{
    hws_sim_t *sim = hws_sim_of(io);
    hws_sim_listener_t *listener = find_listener(sim, address);
    hws_time_t at = sim->now;
    endpoint_t *socket;

    if (sim->fail_count > 0) {
        sim->fail_count--;
        return sim->fail_code;
    }
    if (sim->max_sockets > 0 && sim->open_sockets >= sim->max_sockets)
        return HWS_ERR_TOO_MANY_FILES;
    if (listener == NULL && address->as.any.sa_family == AF_UNIX)
        return HWS_ERR_NO_SUCH_PATH;
    if ((socket = hws_zalloc(sizeof(*socket))) == NULL)
        return HWS_ERR_NOMEM;
    socket->base.ops = &socket_ops;
    socket->conn.listener = listener;
    socket->sim = sim;
    socket->events = events;
    socket->owner = owner;
    hws_list_push_back(&sim->sockets, &socket->link);
    hws_list_init(&socket->to_client.segments);
    hws_list_init(&socket->to_peer.segments);
    hws_timer_init(&socket->to_client.timer, fire_to_client);
    hws_timer_init(&socket->to_peer.timer, fire_to_peer);
    hws_timer_init(&socket->connect_timer, fire_connect);
    hws_timer_init(&socket->flush_timer, fire_flush);
    hws_timer_init(&socket->break_timer, fire_break);
    if (listener != NULL)
        at += hws_sim_choose(sim, listener->options.connect_min, listener->options.connect_max);
    hws_sim_set_timer(sim, &socket->connect_timer, at);
    sim->open_sockets++;
    *out = &socket->base;
    return HWS_OK;
}

static void socket_give(hws_socket_t *handle, const hws_socket_events_t *events, void *owner)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN);
    socket->events = events;
    socket->owner = owner;
}

static void socket_read(hws_socket_t *handle, bool on)
{
    endpoint_t *socket = endpoint_of(handle);
    socket->is_reading = on;
    schedule_client(socket);
}

static int socket_send(hws_socket_t *handle, const char *data, size_t size, size_t *sent)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN && !socket->is_flushing && !socket->is_finished);
    if (socket->is_broken)
        return HWS_ERR_RESET;
    return push_to_peer(socket, data, size, sent);
}

static int socket_flush(hws_socket_t *handle, hws_buffer_t *left)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN && !socket->is_flushing && !socket->is_finished);
    socket->rest = *left;
    *left = (hws_buffer_t){0};
    socket->is_flushing = true;
    if (socket->is_broken)
        hws_sim_set_timer(socket->sim, &socket->flush_timer, socket->sim->now);
    refill(socket);
    return HWS_OK;
}

static int socket_finish(hws_socket_t *handle)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN && !socket->is_flushing);
    if (socket->is_broken)
        return HWS_ERR_PIPE;
    if (!socket->is_finished)
        lane_end(&socket->to_peer, HWS_ERR_EOF, arrival(socket));
    socket->is_finished = true;
    schedule_peer(socket);
    return HWS_OK;
}

static int socket_peek(hws_socket_t *handle)
{
    endpoint_t *socket = endpoint_of(handle);
    const lane_t *lane = &socket->to_client;
    const segment_t *head = lane_head(lane);

    assert(socket->state == OPEN);
    if (is_silent(socket))
        return HWS_OK;
    if (head != NULL)
        return head->at <= socket->sim->now ? HWS_ERR_UNEXPECTED : HWS_OK;
    return lane->end_at <= socket->sim->now ? lane->end : HWS_OK;
}

static void socket_close(hws_socket_t *handle, bool reset)
{
    endpoint_t *socket = endpoint_of(handle);
    hws_sim_t *sim = socket->sim;

    assert(socket->state != CLOSED);
    socket->state = CLOSED;
    socket->is_flushing = socket->is_breaking = false;
    sim->open_sockets--;
    hws_timers_cancel(&sim->events, &socket->connect_timer);
    hws_timers_cancel(&sim->events, &socket->flush_timer);
    hws_timers_cancel(&sim->events, &socket->break_timer);
    hws_buffer_dispose(&socket->rest);
    schedule_client(socket);
    if (reset)
        lane_clear(&socket->to_peer);
    lane_end(&socket->to_peer, reset ? HWS_ERR_RESET : HWS_ERR_EOF,
             socket->is_accepted ? arrival(socket) : sim->now);
    schedule_peer(socket);
}

/* The peer's end ---------------------------------------------------------------------------- */

int hws_sim_listen(hws_sim_t *sim, const char *host, uint16_t port, const hws_sim_script_t *script,
                   void *user, hws_sim_listener_t **out)
{
    hws_sim_listener_t *listener = hws_zalloc(sizeof(*listener));
    hws_slice_t text = {host, strlen(host)};
    int rc;

    if (listener == NULL)
        return HWS_ERR_NOMEM;
    if (strchr(host, '/') != NULL)
        rc = hws_address_from_path(text, &listener->address);
    else
        rc = hws_address_from_ip(text, port, &listener->address);
    if (rc != HWS_OK) {
        hws_free(listener);
        return rc;
    }
    listener->sim = sim;
    listener->script = script;
    listener->user = user;
    hws_list_push_back(&sim->listeners, &listener->link);
    *out = listener;
    return HWS_OK;
}

void hws_sim_silence(hws_sim_listener_t *listener, bool on)
{
    hws_sim_t *sim = listener->sim;

    listener->is_silent = on;
    HWS_LIST_EACH(link, &sim->sockets) {
        endpoint_t *socket = HWS_CONTAINER(link, endpoint_t, link);

        if (socket->conn.listener != listener)
            continue;
        schedule_client(socket);
        schedule_peer(socket);
        /* These two stay set, and do nothing when they fire into the silence. */
        if (socket->state == CONNECTING && !hws_timer_is_set(&socket->connect_timer))
            hws_sim_set_timer(sim, &socket->connect_timer, sim->now);
        if (socket->is_breaking && !hws_timer_is_set(&socket->break_timer))
            hws_sim_set_timer(sim, &socket->break_timer, sim->now);
    }
}

void hws_sim_close_all(hws_sim_listener_t *listener, hws_sim_close_t how)
{
    HWS_LIST_EACH(link, &listener->sim->sockets) {
        endpoint_t *socket = HWS_CONTAINER(link, endpoint_t, link);

        if (socket->conn.listener == listener && socket->is_accepted)
            hws_sim_close(&socket->conn, how);
    }
}

int hws_sim_send(hws_sim_conn_t *conn, const char *data, size_t size)
{
    endpoint_t *socket = socket_of(conn);
    const hws_sim_options_t *options = &conn->listener->options;
    bool is_cut = options->cut_after > 0 && conn->sent + size >= options->cut_after;

    if (conn->is_closed || socket->to_client.end != HWS_OK || socket->state == CLOSED)
        return HWS_OK;
    if (is_cut)
        size = options->cut_after > conn->sent ? options->cut_after - conn->sent : 0;
    if (size > 0 && lane_push(&socket->to_client, data, size, arrival(socket)) != HWS_OK) {
        hws_sim_close(conn, HWS_SIM_RESET);
        return HWS_ERR_NOMEM;
    }
    conn->sent += size;
    schedule_client(socket);
    if (is_cut)
        hws_sim_close(conn, options->cut_with);
    return HWS_OK;
}

void hws_sim_close(hws_sim_conn_t *conn, hws_sim_close_t how)
{
    endpoint_t *socket = socket_of(conn);

    if (conn->is_closed)
        return;
    if (how == HWS_SIM_RESET)
        send_reset(socket);
    else if (socket->to_client.end == HWS_OK)
        lane_end(&socket->to_client, HWS_ERR_EOF, arrival(socket));
    if (how != HWS_SIM_FINISH) {
        conn->is_closed = true;
        conn->is_paused = false;
        conn->listener->open--;
    }
    schedule_client(socket);
    schedule_peer(socket);
}

void hws_sim_pause(hws_sim_conn_t *conn, bool on)
{
    conn->is_paused = on && !conn->is_closed;
    schedule_peer(socket_of(conn));
}

void hws_sim_fail_connects(hws_sim_t *sim, uint32_t count, int code)
{
    sim->fail_count = count;
    sim->fail_code = code;
}

void hws_sim_limit_sockets(hws_sim_t *sim, uint32_t max)
{
    sim->max_sockets = max;
}

uint32_t hws_sim_open_sockets(const hws_sim_t *sim)
{
    return sim->open_sockets;
}

void hws_sim_dispose_peers(hws_sim_t *sim)
{
    hws_list_t *link;

    assert(sim->open_sockets == 0);
    while ((link = hws_list_first(&sim->sockets)) != NULL)
        free_socket(HWS_CONTAINER(link, endpoint_t, link));
    while ((link = hws_list_first(&sim->listeners)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, hws_sim_listener_t, link));
    }
}

static const hws_socket_ops_t socket_ops = {
    .give = socket_give,
    .read = socket_read,
    .send = socket_send,
    .flush = socket_flush,
    .finish = socket_finish,
    .peek = socket_peek,
    .close = socket_close,
};
