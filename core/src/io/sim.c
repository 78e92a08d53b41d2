#include "io/sim.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/timers.h"

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

typedef struct {
    hws_timer_t timer;
    hws_list_t link;
    hws_sim_t *sim;
    void (*run)(void *user);
    void *user;
} plan_t;

struct hws_names {
    hws_sim_t *sim;
    hws_time_t patience;
};

struct hws_question {
    hws_timer_t timer; /* of the answer */
    hws_names_t *names;
    hws_sim_name_t *record; /* NULL: nobody has heard of the name */
    bool is_lost;           /* nobody will answer */
    void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now);
    void *owner;
};

struct hws_sim {
    hws_io_t io;
    hws_time_t now;
    hws_time_t polled_at;
    hws_time_t armed_at;
    hws_timers_t events; /* all that will happen, but for the core's timer */
    hws_timer_t wake_timer;
    hws_random_t random;
    hws_list_t listeners;
    hws_list_t sockets;
    hws_list_t plans;
    hws_list_t names;
    uint32_t open_names;
    uint32_t open_questions;
    uint32_t open_sockets;
    uint32_t max_sockets;
    uint32_t fail_count;
    int fail_code;
    bool was_noticed; /* the core or the test was told something in this turn */
};

static hws_sim_t *sim_of(hws_io_t *io)
{
    return (hws_sim_t *)io;
}

static void rest(hws_sim_t *sim)
{
    sim->was_noticed = true;
    sim->io.on_rest(sim->io.owner);
}

static hws_time_t later(hws_time_t a, hws_time_t b)
{
    return a > b ? a : b;
}

static hws_time_t choose(hws_sim_t *sim, hws_time_t min, hws_time_t max)
{
    hws_time_t span = max - min;

    if (span <= 0)
        return min;
    assert(span < UINT32_MAX);
    return min + hws_random_below(&sim->random, (uint32_t)span + 1);
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
    *segment = (segment_t){.at = later(at, lane->last_at), .size = size};
    memcpy(segment->data, data, size);
    hws_list_push_back(&lane->segments, &segment->link);
    lane->size += size;
    lane->last_at = segment->at;
    return HWS_OK;
}

static void lane_end(lane_t *lane, int end, hws_time_t at)
{
    lane->end = end;
    lane->end_at = lane->last_at = later(at, lane->last_at);
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
        return later(head->at, lane->next_at);
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

    return socket->sim->now + choose(socket->sim, options->latency_min, options->latency_max);
}

/* A timer that stays where it is keeps its place among those of the same moment. */
static void set_timer(hws_sim_t *sim, hws_timer_t *timer, hws_time_t at)
{
    at = later(at, sim->now);
    if (!hws_timer_is_set(timer) || timer->at != at)
        hws_timers_set(&sim->events, timer, at);
}

static void schedule_client(endpoint_t *socket)
{
    bool takes = socket->state == OPEN && socket->is_reading && !socket->has_ended;

    set_timer(socket->sim, &socket->to_client.timer,
              takes && !is_silent(socket) ? lane_next(&socket->to_client) : HWS_NEVER);
}

static void schedule_peer(endpoint_t *socket)
{
    lane_t *lane = &socket->to_peer;
    bool waits = lane_head(lane) != NULL && socket->conn.is_paused;
    bool is_held = socket->is_accepted && is_silent(socket);

    set_timer(socket->sim, &lane->timer, waits || is_held ? HWS_NEVER : lane_next(lane));
}

static void send_reset(endpoint_t *socket)
{
    if (socket->is_breaking || socket->is_broken || socket->state == CLOSED)
        return;
    socket->is_breaking = true;
    set_timer(socket->sim, &socket->break_timer, arrival(socket));
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
        set_timer(socket->sim, &socket->flush_timer, socket->sim->now);
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
    rest(socket->sim);
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
        rest(socket->sim);
        head->taken += piece;
        lane->size -= piece;
        lane->next_at = now + socket->conn.listener->options.gap;
        if (head->taken == head->size)
            lane_drop_head(lane);
    } else {
        socket->has_ended = true;
        socket->events->on_end(socket->owner, lane->end, now);
        rest(socket->sim);
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
        set_timer(socket->sim, &socket->flush_timer, now);
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
    rest(socket->sim);
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

static int socket_connect(hws_io_t *io, const hws_address_t *address,
                          const hws_socket_events_t *events, void *owner, hws_socket_t **out)
{
    hws_sim_t *sim = sim_of(io);
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
        at += choose(sim, listener->options.connect_min, listener->options.connect_max);
    set_timer(sim, &socket->connect_timer, at);
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
        set_timer(socket->sim, &socket->flush_timer, socket->sim->now);
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
            set_timer(sim, &socket->connect_timer, sim->now);
        if (socket->is_breaking && !hws_timer_is_set(&socket->break_timer))
            set_timer(sim, &socket->break_timer, sim->now);
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

/* Names ------------------------------------------------------------------------------------- */

static hws_sim_name_t *find_name(const hws_sim_t *sim, const char *name, int family)
{
    HWS_LIST_EACH(link, &sim->names) {
        hws_sim_name_t *record = HWS_CONTAINER(link, hws_sim_name_t, link);

        if (record->family == family && strcmp(record->name, name) == 0)
            return record;
    }
    return NULL;
}

static void set_ips(hws_sim_name_t *record, const char *text)
{
    record->count = 0;
    while (*(text += strspn(text, " ")) != '\0') {
        hws_slice_t word = {text, strcspn(text, " ")};
        int rc;

        assert(record->count < HWS_SIM_IPS);
        rc = hws_ip_from_text(word, &record->ips[record->count]);
        assert(rc == HWS_OK && record->ips[record->count].family == record->family);
        (void)rc;
        record->count++;
        text += word.size;
    }
}

int hws_sim_name(hws_sim_t *sim, const char *name, int family, const char *ips,
                 hws_sim_name_t **out)
{
    hws_sim_name_t *record = find_name(sim, name, family);

    if (record == NULL) {
        if ((record = hws_zalloc(sizeof(*record))) == NULL)
            return HWS_ERR_NOMEM;
        record->name = name;
        record->family = family;
        hws_list_push_back(&sim->names, &record->link);
    }
    set_ips(record, ips);
    *out = record;
    return HWS_OK;
}

uint32_t hws_sim_open_questions(const hws_sim_t *sim)
{
    return sim->open_questions;
}

static hws_answer_t answer_of(const hws_question_t *question)
{
    const hws_sim_name_t *record = question->record;

    if (question->is_lost)
        return (hws_answer_t){.status = HWS_ERR_DNS_TIMEOUT};
    if (record == NULL)
        return (hws_answer_t){.status = HWS_ERR_NXDOMAIN};
    if (record->status != HWS_OK)
        return (hws_answer_t){.status = record->status};
    if (record->count == 0)
        return (hws_answer_t){.status = HWS_ERR_NODATA};
    return (hws_answer_t){HWS_OK, record->ips, record->count, record->ttl};
}

static void free_question(hws_question_t *question)
{
    question->names->sim->open_questions--;
    hws_free(question);
}

static void fire_answer(hws_timer_t *timer, hws_time_t now)
{
    hws_question_t *asked = HWS_CONTAINER(timer, hws_question_t, timer);
    hws_question_t question = *asked;
    hws_sim_t *sim = question.names->sim;
    hws_answer_t told = answer_of(asked);

    free_question(asked);
    question.on_answer(question.owner, &told, now);
    rest(sim);
}

static int names_create(hws_io_t *io, const hws_names_options_t *options, hws_names_t **out)
{
    hws_names_t *names = hws_zalloc(sizeof(*names));

    assert(options->patience > 0);
    if (names == NULL)
        return HWS_ERR_NOMEM;
    names->sim = sim_of(io);
    names->patience = options->patience;
    names->sim->open_names++;
    *out = names;
    return HWS_OK;
}

static void names_destroy(hws_names_t *names)
{
    names->sim->open_names--;
    hws_free(names);
}

static int names_ask(hws_names_t *names, const char *name, int family,
                     void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
                     void *owner, hws_question_t **out)
{
    hws_sim_t *sim = names->sim;
    hws_question_t *question = hws_zalloc(sizeof(*question));
    hws_sim_name_t *record = find_name(sim, name, family);
    hws_time_t latency = 0;

    if (question == NULL)
        return HWS_ERR_NOMEM;
    *question =
        (hws_question_t){.names = names, .record = record, .on_answer = on_answer, .owner = owner};
    if (record != NULL) {
        record->asked++;
        question->is_lost = record->is_silent;
        latency = choose(sim, record->latency_min, record->latency_max);
    }
    hws_timer_init(&question->timer, fire_answer);
    set_timer(sim, &question->timer, sim->now + (question->is_lost ? names->patience : latency));
    sim->open_questions++;
    *out = question;
    return HWS_OK;
}

static void names_unask(hws_question_t *question)
{
    hws_timers_cancel(&question->names->sim->events, &question->timer);
    free_question(question);
}

/* Time -------------------------------------------------------------------------------------- */

static hws_time_t clock_now(hws_io_t *io)
{
    return sim_of(io)->now;
}

/* Virtual time began when 2020 did. */
static int64_t clock_wall(hws_io_t *io)
{
    return 1577836800 + sim_of(io)->now / HWS_S(1);
}

hws_time_t hws_sim_now(const hws_sim_t *sim)
{
    return sim->now;
}

static int fill_random(hws_io_t *io, void *bytes, size_t size)
{
    unsigned char *out = bytes;

    while (size-- > 0)
        *out++ = (unsigned char)hws_random_below(&sim_of(io)->random, 256);
    return HWS_OK;
}

static void arm_timer(hws_io_t *io, hws_time_t at)
{
    sim_of(io)->armed_at = at;
}

static void ask_rest(hws_io_t *io)
{
    set_timer(sim_of(io), &sim_of(io)->wake_timer, sim_of(io)->now);
}

static void fire_wake(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    rest(HWS_CONTAINER(timer, hws_sim_t, wake_timer));
}

static void free_plan(plan_t *plan)
{
    hws_list_remove(&plan->link);
    hws_free(plan);
}

static void fire_plan(hws_timer_t *timer, hws_time_t now)
{
    plan_t *fired = HWS_CONTAINER(timer, plan_t, timer);
    plan_t plan = *fired;

    (void)now;
    free_plan(fired);
    plan.sim->was_noticed = true;
    plan.run(plan.user);
}

int hws_sim_at(hws_sim_t *sim, hws_time_t at, void (*run)(void *user), void *user)
{
    plan_t *plan = hws_zalloc(sizeof(*plan));

    if (plan == NULL)
        return HWS_ERR_NOMEM;
    plan->sim = sim;
    plan->run = run;
    plan->user = user;
    hws_timer_init(&plan->timer, fire_plan);
    hws_list_push_back(&sim->plans, &plan->link);
    set_timer(sim, &plan->timer, at);
    return HWS_OK;
}

static void move_clock(hws_sim_t *sim, hws_time_t at)
{
    sim->now = later(at, sim->now);
    sim->polled_at = sim->now;
}

/* Lets one thing happen that is due at `until` and was not caused by the `limit`-th or later. */
static bool step(hws_sim_t *sim, hws_time_t until, uint64_t limit)
{
    const hws_timer_t *first = sim->events.root;

    if (first != NULL && first->at <= until && first->order < limit &&
        first->at <= later(sim->armed_at, sim->now)) {
        hws_timer_t *timer;

        move_clock(sim, first->at);
        timer = hws_timers_take(&sim->events, sim->now);
        timer->fire(timer, sim->now);
        return true;
    }
    if (sim->armed_at > until || sim->armed_at == HWS_NEVER)
        return false;
    move_clock(sim, sim->armed_at);
    sim->armed_at = HWS_NEVER;
    sim->io.on_timer(sim->io.owner, sim->now);
    rest(sim);
    return true;
}

/* What the inputs of a turn cause for the same moment waits for the next turn, as it would with a
 * real system: so two ends that answer each other at once do not keep a turn from ending. */
static int run_turn(hws_io_t *io, hws_run_t mode)
{
    hws_sim_t *sim = sim_of(io);
    uint64_t limit;

    sim->was_noticed = false;
    sim->polled_at = sim->now;
    while (mode == HWS_RUN_ONCE && !sim->was_noticed)
        if (!step(sim, HWS_NEVER, UINT64_MAX))
            return HWS_END;
    limit = sim->events.order;
    while (step(sim, sim->now, limit))
        ;
    return HWS_OK;
}

void hws_sim_run_until(hws_sim_t *sim, hws_time_t at)
{
    while (step(sim, at, UINT64_MAX))
        ;
    move_clock(sim, at);
}

void hws_sim_stall(hws_sim_t *sim, hws_time_t span)
{
    sim->now += span;
}

static int no_descriptor(hws_io_t *io)
{
    (void)io;
    return -1;
}

static hws_time_t next_span(hws_io_t *io)
{
    const hws_sim_t *sim = sim_of(io);
    hws_time_t next = hws_timers_next(&sim->events);

    if (sim->armed_at < next)
        next = sim->armed_at;
    return next == HWS_NEVER ? HWS_NEVER : later(next - sim->now, 0);
}

static hws_time_t polled_at(hws_io_t *io)
{
    return sim_of(io)->polled_at;
}

static void destroy(hws_io_t *io)
{
    hws_sim_t *sim = sim_of(io);
    hws_list_t *link;

    assert(sim->open_sockets == 0 && sim->open_names == 0 && sim->open_questions == 0);
    while ((link = hws_list_first(&sim->names)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, hws_sim_name_t, link));
    }
    while ((link = hws_list_first(&sim->sockets)) != NULL)
        free_socket(HWS_CONTAINER(link, endpoint_t, link));
    while ((link = hws_list_first(&sim->plans)) != NULL)
        free_plan(HWS_CONTAINER(link, plan_t, link));
    while ((link = hws_list_first(&sim->listeners)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, hws_sim_listener_t, link));
    }
    hws_free(sim);
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

static const hws_io_ops_t ops = {
    .now = clock_now,
    .wall = clock_wall,
    .recent = clock_now,
    .entropy = fill_random,
    .connect = socket_connect,
    .names_create = names_create,
    .names_destroy = names_destroy,
    .ask = names_ask,
    .unask = names_unask,
    .arm = arm_timer,
    .wake = ask_rest,
    .run = run_turn,
    .descriptor = no_descriptor,
    .timeout = next_span,
    .polled_at = polled_at,
    .destroy = destroy,
};

int hws_sim_create(uint64_t seed, hws_sim_t **out)
{
    hws_sim_t *sim = hws_zalloc(sizeof(*sim));

    if (sim == NULL)
        return HWS_ERR_NOMEM;
    sim->io.ops = &ops;
    sim->armed_at = HWS_NEVER;
    hws_random_init(&sim->random, seed);
    hws_timer_init(&sim->wake_timer, fire_wake);
    hws_list_init(&sim->listeners);
    hws_list_init(&sim->sockets);
    hws_list_init(&sim->plans);
    hws_list_init(&sim->names);
    *out = sim;
    return HWS_OK;
}

hws_io_t *hws_sim_io(hws_sim_t *sim)
{
    return &sim->io;
}
