#include "codec/h2_code.h"
#include "codec/h2_session.h"

#define STREAM_BUFFER 65536U
#define FRAME 16384U
#define FRAME_HEAD 9U

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part;

    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        h2->noise = 0;
        if ((part = hws_h2_part_of(h2, frame->hd.stream_id)) != NULL) {
            hws_list_remove(&part->link);
            hws_list_push_back(&h2->others, &part->link);
        }
    } else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        (void)hws_h2_fail(h2, hws_h2_breach_code(frame->goaway.error_code));
    }
    return 0;
}

/* One frame, after which nghttp2 forgets what the stream had to send: so it is asked for each when its
 * turn has come, and an idle stream costs nothing. */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *data, size_t most,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part = hws_h2_part_of(h2, id);
    size_t size;

    (void)session;
    (void)data;
    (void)source;
    if (part == NULL)
        return NGHTTP2_ERR_DEFERRED;
    size = hws_buffer_size(&part->unsent);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY | NGHTTP2_DATA_FLAG_EOF;
    if (size > most || !part->is_finished)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)(size < most ? size : most);
}

/* How much `part` may hold that has not left. */
size_t hws_h2_bound(const hws_h2_t *h2)
{
    size_t most = h2->buffer < STREAM_BUFFER ? h2->buffer : STREAM_BUFFER;

    return h2->unsent < h2->buffer || most < FRAME ? most : FRAME;
}

static void tell_writable(hws_h2_t *h2, hws_h2_part_t *part)
{
    hws_stream_t *stream = part->stream;

    if (stream == NULL || !stream->wants_write ||
        hws_buffer_size(&part->unsent) > hws_h2_bound(h2) / 2)
        return;
    stream->wants_write = false;
    stream->events->on_writable(stream);
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t size, nghttp2_data_source *source, void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part = hws_h2_part_of(h2, frame->hd.stream_id);

    (void)session;
    (void)source;
    if (hws_buffer_reserve(h2->out, FRAME_HEAD + size) != HWS_OK) {
        (void)hws_h2_fail(h2, HWS_ERR_NOMEM);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    (void)hws_buffer_append(h2->out, head, FRAME_HEAD);
    if (size > 0) {
        (void)hws_buffer_append(h2->out, hws_buffer_bytes(&part->unsent), size);
        hws_buffer_consume(&part->unsent, size);
        h2->unsent -= size;
    }
    h2->noise = 0;
    if (hws_buffer_is_empty(&part->unsent)) {
        hws_buffer_dispose(&part->unsent);
        part->is_sent = part->is_finished;
        hws_schedule_remove(&h2->queue, &part->turn);
    }
    tell_writable(h2, part);
    return 0;
}

/* Moves all that nghttp2 would send now to `out`. */
int hws_h2_drain(hws_h2_t *h2, hws_buffer_t *out)
{
    const uint8_t *bytes;
    ssize_t size;

    h2->out = out;
    while ((size = nghttp2_session_mem_send(h2->session, &bytes)) > 0) {
        if (hws_buffer_append(out, bytes, (size_t)size) != HWS_OK) {
            size = NGHTTP2_ERR_NOMEM;
            break;
        }
    }
    h2->out = NULL;
    if (size < 0)
        (void)hws_h2_fail(h2, HWS_ERR_NOMEM);
    return h2->failure;
}

static int submit_frame(hws_h2_t *h2, const hws_h2_part_t *part)
{
    static const nghttp2_data_provider provider = {.read_callback = on_read};

    if (nghttp2_session_get_stream_remote_window_size(h2->session, part->id) <= 0)
        return 0;
    return nghttp2_submit_data(h2->session, NGHTTP2_FLAG_END_STREAM, part->id, &provider);
}

/* DATA frames in the order of the schedule, until there were about `room` bytes. */
int hws_h2_drain_bodies(hws_h2_t *h2, size_t room, hws_buffer_t *out)
{
    size_t before = hws_buffer_size(out);

    while (hws_buffer_size(out) - before < room &&
           nghttp2_session_get_remote_window_size(h2->session) > 0) {
        hws_turn_t *turn = hws_schedule_next(&h2->queue);
        size_t so_far = hws_buffer_size(out);

        if (turn == NULL)
            break;
        hws_h2_check(h2, submit_frame(h2, HWS_CONTAINER(turn, hws_h2_part_t, turn)));
        if (h2->failure != HWS_OK || hws_h2_drain(h2, out) != HWS_OK)
            break;
        /* Its window is shut, or it is past sending. */
        if (hws_buffer_size(out) == so_far)
            hws_schedule_remove(&h2->queue, turn);
    }
    return h2->failure;
}

int hws_h2_submit(hws_h2_t *h2, hws_h2_part_t *part)
{
    uint8_t flags = part->is_finished ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE;
    int32_t id = nghttp2_submit_headers(h2->session, flags, -1, NULL, h2->request.items,
                                        h2->request.count, part);

    if (id < 0)
        return HWS_ERR_NOMEM;
    part->id = id;
    if (nghttp2_session_get_next_stream_id(h2->session) > INT32_MAX)
        h2->base.is_last = true;
    return HWS_OK;
}

void hws_h2_set_send_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
}
