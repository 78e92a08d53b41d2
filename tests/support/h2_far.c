#include "support/h2_far.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(call) assert_int_equal((call), 0)

/* Replies that wait for their moment ------------------------------------------------------------ */

typedef struct {
    hws_list_t link; /* in far->pending */
    h2_visit_t *visit;
    h2_far_t *far;
    uint32_t number; /* of the visit: its place may have been taken by another */
    int32_t id;
} pending_t;

static h2_far_stream_t *stream_of(const h2_visit_t *visit, int32_t id)
{
    return nghttp2_session_get_stream_user_data(visit->session, id);
}

/* ---- writing ---- */

static void send_plain(h2_visit_t *visit, const void *bytes, size_t size)
{
    if (visit->tls == NULL) {
        (void)hws_sim_send(visit->conn, bytes, size);
        return;
    }
    tls_far_send(visit->tls, bytes, size, &visit->cipher);
    (void)hws_sim_send(visit->conn, hws_buffer_bytes(&visit->cipher),
                       hws_buffer_size(&visit->cipher));
    hws_buffer_clear(&visit->cipher);
}

/* All that nghttp2 has to say, at once. */
static void flush(h2_visit_t *visit)
{
    uint8_t *all = NULL;
    size_t total = 0;
    size_t room = 0;
    const uint8_t *bytes;
    ssize_t size;

    if (visit->is_receiving || visit->is_over || visit->session == NULL)
        return;
    while ((size = nghttp2_session_mem_send(visit->session, &bytes)) > 0) {
        if (total + (size_t)size > room) {
            room = 2 * (total + (size_t)size);
            all = realloc(all, room);
        }
        memcpy(all + total, bytes, (size_t)size);
        total += (size_t)size;
    }
    assert_int_equal(size, 0);
    if (total > 0)
        send_plain(visit, all, total);
    free(all);
    if (nghttp2_session_want_read(visit->session) || nghttp2_session_want_write(visit->session))
        return;
    visit->is_over = true;
    hws_sim_close(visit->conn, HWS_SIM_CLOSE);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *data, size_t most,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    h2_far_stream_t *stream = source->ptr;
    const h2_reply_t *reply = &stream->reply;
    size_t size = stream->left < most ? stream->left : most;
    nghttp2_nv trailer = {0};

    (void)user;
    memset(data, 'x', size);
    if (reply->body == 5)
        memcpy(data, "hello", size);
    stream->left -= size;
    if (stream->left > 0)
        return (ssize_t)size;
    if (reply->is_endless)
        return size > 0 ? (ssize_t)size : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (reply->trailer[0] != NULL) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        trailer.name = (uint8_t *)(uintptr_t)reply->trailer[0];
        trailer.namelen = strlen(reply->trailer[0]);
        trailer.value = (uint8_t *)(uintptr_t)reply->trailer[1];
        trailer.valuelen = strlen(reply->trailer[1]);
        MUST(nghttp2_submit_trailer(session, id, &trailer, 1));
    }
    return (ssize_t)size;
}

static void respond(h2_far_stream_t *stream)
{
    nghttp2_session *session = stream->visit->session;
    const h2_reply_t *reply = &stream->reply;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_body};
    char status[8];
    nghttp2_nv fields[2] = {{.name = (uint8_t *)(uintptr_t) ":status",
                             .namelen = 7,
                             .value = (uint8_t *)status,
                             .valuelen = 3}};
    size_t count = 1;

    if (reply->is_silent) {
        if (reply->has_reset)
            MUST(nghttp2_submit_rst_stream(session, 0, stream->id, reply->reset));
        return;
    }
    snprintf(status, sizeof(status), "%u", reply->status != 0 ? reply->status : 200U);
    if (reply->field[0] != NULL)
        fields[count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)reply->field[0],
                                       .namelen = strlen(reply->field[0]),
                                       .value = (uint8_t *)(uintptr_t)reply->field[1],
                                       .valuelen = strlen(reply->field[1])};
    stream->left = reply->body;
    MUST(nghttp2_submit_response(
        session, stream->id, fields, count,
        reply->body > 0 || reply->is_endless || reply->trailer[0] != NULL ? &provider : NULL));
}

static h2_visit_t *visit_here(const pending_t *pending)
{
    HWS_LIST_EACH(link, &pending->far->visits) {
        h2_visit_t *here = HWS_CONTAINER(link, h2_visit_t, link);

        if (here == pending->visit && here->number == pending->number)
            return here;
    }
    return NULL;
}

static void do_pending(void *user)
{
    pending_t *pending = user;
    h2_visit_t *visit = visit_here(pending);
    h2_far_stream_t *stream = visit != NULL ? stream_of(visit, pending->id) : NULL;

    hws_list_remove(&pending->link);
    free(pending);
    if (stream == NULL)
        return;
    respond(stream);
    flush(visit);
}

static void respond_later(h2_far_stream_t *stream)
{
    h2_visit_t *visit = stream->visit;
    h2_far_t *far = visit->far;
    pending_t *pending = calloc(1, sizeof(*pending));

    pending->far = far;
    pending->visit = visit;
    pending->number = visit->number;
    pending->id = stream->id;
    hws_list_push_back(&far->pending, &pending->link);
    if (hws_sim_at(far->world->sim, world_now(far->world) + stream->reply.after, do_pending,
                   pending) == HWS_OK)
        return;
    hws_list_remove(&pending->link);
    free(pending);
    hws_sim_close(visit->conn, HWS_SIM_RESET);
}

/* ---- reading ---- */

static void note_seen(h2_far_t *far, const char *path)
{
    unsigned long which = strtoul(path + 1, NULL, 10);

    far->requests++;
    if (path[1] != '\0' && which < H2_FAR_PATHS)
        far->seen[which]++;
}

static void choose(h2_far_stream_t *stream)
{
    h2_visit_t *visit = stream->visit;
    h2_far_t *far = visit->far;

    if (stream->is_chosen || stream->id > visit->last)
        return;
    stream->is_chosen = true;
    if (stream->id > visit->looked)
        visit->looked = stream->id;
    stream->reply = far->choose != NULL ? far->choose(far, stream) : far->reply;
    if (stream->id > visit->last)
        return;
    if (!stream->reply.has_reset || stream->reply.reset != NGHTTP2_REFUSED_STREAM)
        note_seen(far, stream->path);
    if (stream->reply.after > 0)
        respond_later(stream);
    else
        respond(stream);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_visit_t *visit = user;
    h2_far_t *far = visit->far;
    h2_far_stream_t *stream;

    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    stream = calloc(1, sizeof(*stream));
    stream->visit = visit;
    stream->id = frame->hd.stream_id;
    hws_list_push_back(&visit->streams, &stream->link);
    MUST(nghttp2_session_set_stream_user_data(session, stream->id, stream));
    far->heads++;
    visit->heads++;
    if (++visit->open > visit->peak)
        visit->peak = visit->open;
    if (visit->peak > far->peak)
        far->peak = visit->peak;
    return 0;
}

static void keep(char *to, size_t room, const uint8_t *from, size_t size)
{
    snprintf(to, room, "%.*s", (int)size, (const char *)from);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    h2_visit_t *visit = user;
    h2_far_stream_t *stream = stream_of(visit, frame->hd.stream_id);

    (void)session;
    (void)flags;
    if (stream == NULL)
        return 0;
    if (name_size == 7 && memcmp(name, ":method", 7) == 0)
        keep(stream->method, sizeof(stream->method), value, value_size);
    else if (name_size == 5 && memcmp(name, ":path", 5) == 0)
        keep(stream->path, sizeof(stream->path), value, value_size);
    else if (name_size == 8 && memcmp(name, "priority", 8) == 0)
        keep(visit->far->priority, sizeof(visit->far->priority), value, value_size);
    else if (name_size == 2 && memcmp(name, "te", 2) == 0)
        keep(visit->far->te, sizeof(visit->far->te), value, value_size);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user)
{
    h2_visit_t *visit = user;
    h2_far_stream_t *stream = stream_of(visit, id);

    (void)session;
    (void)flags;
    (void)data;
    visit->far->received += size;
    if (stream != NULL)
        stream->received += size;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_visit_t *visit = user;
    h2_far_t *far = visit->far;
    h2_far_stream_t *stream;

    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        stream = stream_of(visit, frame->hd.stream_id);
        if (stream != NULL && (far->is_early || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0))
            choose(stream);
        break;
    case NGHTTP2_RST_STREAM:
        far->resets++;
        far->last_reset = frame->rst_stream.error_code;
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0)
            break;
        far->pings++;
        if (!far->is_deaf)
            MUST(nghttp2_submit_ping(session, NGHTTP2_FLAG_ACK, frame->ping.opaque_data));
        break;
    case NGHTTP2_GOAWAY:
        far->goaways++;
        break;
    default:
        break;
    }
    return 0;
}

/* RST_STREAM is queued before DATA: behind a response it has to wait for the last frame of that. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_visit_t *visit = user;
    h2_far_stream_t *stream;

    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code == NGHTTP2_PROTOCOL_ERROR)
        visit->far->faults++;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    stream = stream_of(visit, frame->hd.stream_id);
    if (stream != NULL && stream->reply.has_reset &&
        ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 ||
         (stream->reply.is_endless && stream->left == 0)))
        MUST(nghttp2_submit_rst_stream(session, 0, stream->id, stream->reply.reset));
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    h2_visit_t *visit = user;
    h2_far_stream_t *stream = stream_of(visit, id);

    (void)session;
    (void)code;
    if (stream == NULL)
        return 0;
    hws_list_remove(&stream->link);
    free(stream);
    visit->open--;
    return 0;
}

static void feed(h2_visit_t *visit, const char *bytes, size_t size)
{
    ssize_t taken;

    visit->is_receiving = true;
    taken = nghttp2_session_mem_recv(visit->session, (const uint8_t *)bytes, size);
    visit->is_receiving = false;
    if (taken < 0)
        visit->far->faults++;
    flush(visit);
}

static void feed_h1(h2_visit_t *visit, const char *bytes, size_t size)
{
    if (memmem(bytes, size, "\r\n\r\n", 4) != NULL)
        send_plain(visit, REPLY_OK, strlen(REPLY_OK));
}

/* ---- the script ---- */

static nghttp2_session *make_session(h2_visit_t *visit)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    nghttp2_option *option;

    MUST(nghttp2_session_callbacks_new(&callbacks));
    MUST(nghttp2_option_new(&option));
    nghttp2_option_set_no_auto_ping_ack(option, 1);
#ifdef NGHTTP2_LIMITS_RESETS
    nghttp2_option_set_stream_reset_rate_limit(option, UINT64_MAX, UINT64_MAX);
#endif
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    MUST(nghttp2_session_server_new2(&session, callbacks, visit, option));
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return session;
}

static void greet(h2_visit_t *visit)
{
    const h2_far_t *far = visit->far;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, far->streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, far->window}};

    visit->session = make_session(visit);
    MUST(nghttp2_submit_settings(visit->session, 0, settings, 2));
}

static void on_accept(hws_sim_conn_t *conn)
{
    h2_far_t *far = conn->listener->user;
    h2_visit_t *visit = calloc(1, sizeof(*visit));

    conn->user = visit;
    visit->far = far;
    visit->conn = conn;
    visit->number = ++far->visited;
    visit->last = INT32_MAX;
    hws_list_init(&visit->streams);
    hws_list_push_back(&far->visits, &visit->link);
    if (far->tls != NULL) {
        visit->tls = tls_far_create(far->tls);
        tls_far_accept(visit->tls);
        return;
    }
    greet(visit);
    flush(visit);
}

/* What TLS makes of it; the protocol begins with the end of the handshake. */
static void on_cipher(h2_visit_t *visit, const char *bytes, size_t size)
{
    hws_buffer_t in = {0};
    hws_buffer_t plain = {0};
    bool was_ready = tls_far_is_ready(visit->tls);

    MUST(hws_buffer_append(&in, bytes, size));
    tls_far_turn(visit->tls, &in, &visit->cipher, &plain);
    if (!was_ready && tls_far_is_ready(visit->tls) && strcmp(tls_far_alpn(visit->tls), "h2") == 0)
        greet(visit);
    (void)hws_sim_send(visit->conn, hws_buffer_bytes(&visit->cipher),
                       hws_buffer_size(&visit->cipher));
    hws_buffer_clear(&visit->cipher);
    if (visit->session != NULL)
        feed(visit, hws_buffer_bytes(&plain), hws_buffer_size(&plain));
    else if (!hws_buffer_is_empty(&plain))
        feed_h1(visit, hws_buffer_bytes(&plain), hws_buffer_size(&plain));
    hws_buffer_dispose(&in);
    hws_buffer_dispose(&plain);
}

static void on_bytes(hws_sim_conn_t *conn, const char *bytes, size_t size)
{
    h2_visit_t *visit = conn->user;

    visit->arrivals++;
    if (visit->tls != NULL)
        on_cipher(visit, bytes, size);
    else
        feed(visit, bytes, size);
}

static void on_end(hws_sim_conn_t *conn, int status)
{
    h2_visit_t *visit = conn->user;

    if (status == HWS_ERR_EOF)
        visit->far->finished++;
    else
        visit->far->reset++;
    visit->is_over = true;
    hws_sim_close(conn, HWS_SIM_CLOSE);
}

static void on_gone(hws_sim_conn_t *conn)
{
    h2_visit_t *visit = conn->user;
    hws_list_t *link;

    while ((link = hws_list_first(&visit->streams)) != NULL) {
        hws_list_remove(link);
        free(HWS_CONTAINER(link, h2_far_stream_t, link));
    }
    nghttp2_session_del(visit->session);
    if (visit->tls != NULL)
        tls_far_destroy(visit->tls);
    hws_buffer_dispose(&visit->cipher);
    hws_list_remove(&visit->link);
    free(visit);
}

static const hws_sim_script_t script = {on_accept, on_bytes, on_end, on_gone};

/* Life ---------------------------------------------------------------------------------------- */

void h2_far_init(h2_far_t *far, world_t *world, uint16_t port)
{
    memset(far, 0, sizeof(*far));
    far->world = world;
    far->reply = (h2_reply_t){.body = 5};
    far->streams = 100;
    far->window = NGHTTP2_INITIAL_WINDOW_SIZE;
    hws_list_init(&far->visits);
    hws_list_init(&far->pending);
    MUST(hws_sim_listen(world->sim, "10.0.0.1", port, &script, far, &far->listener));
}

void h2_far_dispose(h2_far_t *far)
{
    hws_list_t *link;

    while ((link = hws_list_first(&far->pending)) != NULL) {
        hws_list_remove(link);
        free(HWS_CONTAINER(link, pending_t, link));
    }
    assert_true(hws_list_is_empty(&far->visits));
    assert_true(far->faults == 0 || far->is_tolerated);
}

h2_visit_t *h2_far_latest(h2_far_t *far)
{
    hws_list_t *link = hws_list_last(&far->visits);

    return link != NULL ? HWS_CONTAINER(link, h2_visit_t, link) : NULL;
}

void h2_far_end_all(h2_far_t *far, hws_sim_close_t how)
{
    hws_sim_close_all(far->listener, how);
}

/* Orders -------------------------------------------------------------------------------------- */

void h2_far_go_away(h2_visit_t *visit, int32_t last, uint32_t code)
{
    if (last < visit->last)
        visit->last = last;
    if (last == INT32_MAX)
        MUST(nghttp2_submit_shutdown_notice(visit->session));
    else
        MUST(nghttp2_submit_goaway(visit->session, 0, last, code, NULL, 0));
    flush(visit);
}

void h2_far_set(h2_visit_t *visit, int32_t setting, uint32_t value)
{
    const nghttp2_settings_entry entry = {setting, value};

    MUST(nghttp2_submit_settings(visit->session, 0, &entry, 1));
    flush(visit);
}

void h2_far_say(h2_visit_t *visit, const void *bytes, size_t size)
{
    send_plain(visit, bytes, size);
}

void h2_far_answer_all(h2_visit_t *visit, h2_reply_t reply)
{
    HWS_LIST_EACH(link, &visit->streams) {
        h2_far_stream_t *stream = HWS_CONTAINER(link, h2_far_stream_t, link);

        if (!stream->is_chosen || !stream->reply.is_silent)
            continue;
        stream->reply = reply;
        respond(stream);
    }
    flush(visit);
}

int32_t h2_far_window(const h2_visit_t *visit)
{
    return nghttp2_session_get_remote_window_size(visit->session);
}

int32_t h2_far_stream_window(const h2_far_stream_t *stream)
{
    return nghttp2_session_get_stream_remote_window_size(stream->visit->session, stream->id);
}
