#include "codec/h2_code.h"
#include "codec/h2_session.h"

#include <assert.h>
#include <string.h>

#define MOST_INFORMATIONAL 8

/* Frames in a row that carry nothing for any stream, such as SETTINGS, PING and empty DATA. A
 * server's own PINGs of a minute would take a week for that; a flood takes a moment. */
#define MOST_NOISE 10000U

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    hws_h2_t *h2 = user;

    (void)session;
    /* DATA that nobody wants is bounded by the windows. */
    if (hd->type == NGHTTP2_DATA && hd->length > 0)
        return 0;
    if (++h2->noise <= MOST_NOISE)
        return 0;
    (void)hws_h2_fail(h2, HWS_ERR_H2_FLOOD);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    hws_h2_t *h2 = user;

    (void)session;
    (void)frame;
    hws_h2_section_begin(&h2->section);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part = hws_h2_part_of(h2, frame->hd.stream_id);
    int rc;

    (void)session;
    (void)flags;
    if (part == NULL)
        return 0;
    rc = hws_h2_section_add(&h2->section, (hws_slice_t){(const char *)name, name_size},
                            (hws_slice_t){(const char *)value, value_size}, h2->header);
    if (rc == HWS_OK)
        return 0;
    hws_h2_section_end(&h2->section);
    hws_h2_refuse(h2, part, rc, NGHTTP2_CANCEL);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* it goes on decompressing, for the table's sake */
}

/* Else nghttp2 would drop the field and go on. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             const uint8_t *name, size_t name_size, const uint8_t *value,
                             size_t value_size, uint8_t flags, void *user)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)name_size;
    (void)value;
    (void)value_size;
    (void)flags;
    (void)user;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Why nghttp2 refused a whole header block. */
static int message_code(const hws_h2_t *h2, const hws_h2_part_t *part, const nghttp2_frame *frame)
{
    bool is_cut = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                  (part->has_head || h2->section.status >= 200);

    return is_cut ? HWS_ERR_LENGTH : HWS_ERR_H2_MESSAGE;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int why,
                            void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part = hws_h2_part_of(h2, frame->hd.stream_id);

    (void)session;
    if (part == NULL)
        return 0;
    if (why == NGHTTP2_ERR_HTTP_HEADER)
        hws_h2_refuse(h2, part, HWS_ERR_FIELD, NGHTTP2_PROTOCOL_ERROR);
    else if (why == NGHTTP2_ERR_HTTP_MESSAGING)
        hws_h2_refuse(h2, part, message_code(h2, part, frame), NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static uint64_t announced(const hws_h2_t *h2, const hws_h2_part_t *part, bool is_end)
{
    uint16_t status = h2->section.status;

    if (is_end || part->is_head_only || status == 204 || status == 304)
        return 0;
    return h2->section.length;
}

static int tell_head(hws_h2_t *h2, hws_h2_part_t *part, bool is_end)
{
    hws_head_t head;

    if (h2->section.status < 100 || h2->section.status > 599)
        return HWS_ERR_H2_MESSAGE;
    if (h2->section.status < 200)
        return ++part->informational > MOST_INFORMATIONAL ? HWS_ERR_INFORMATIONAL : HWS_OK;
    head = hws_h2_section_head(&h2->section);
    part->has_head = true;
    part->stream->announced = announced(h2, part, is_end);
    part->stream->events->on_head(part->stream, &head);
    return HWS_OK;
}

static int tell_trailers(hws_h2_t *h2, hws_h2_part_t *part)
{
    hws_head_t trailers = hws_h2_section_head(&h2->section);

    if (trailers.count > 0)
        part->stream->events->on_trailers(part->stream, &trailers);
    return HWS_OK;
}

/* The response is complete. A request that is not goes on, when its stream wants that. */
static void tell_end(hws_h2_t *h2, hws_h2_part_t *part)
{
    hws_stream_t *stream = part->stream;

    part->has_ended = true;
    hws_h2_give_back(h2, part);
    if (stream->is_duplex ? part->is_sent : part->is_finished)
        hws_h2_detach(h2, part);
    stream->events->on_end(stream, HWS_OK);
}

/* A whole header block or the end of DATA. */
static void on_message(hws_h2_t *h2, const nghttp2_frame *frame)
{
    hws_h2_part_t *part = hws_h2_part_of(h2, frame->hd.stream_id);
    bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    int rc = HWS_OK;

    if (part == NULL || part->stream == NULL || part->has_ended)
        return;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        h2->noise = 0;
        rc = part->has_head ? tell_trailers(h2, part) : tell_head(h2, part, is_end);
        hws_h2_section_end(&h2->section);
    }
    if (rc != HWS_OK)
        hws_h2_refuse(h2, part, rc, NGHTTP2_CANCEL);
    else if (is_end)
        tell_end(h2, part);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part = hws_h2_part_of(h2, id);
    size_t consumed;

    (void)session;
    if (part == NULL || part->stream == NULL) {
        hws_h2_discard(h2, size);
        return 0;
    }
    h2->noise = 0;
    consumed = part->stream->events->on_body(part->stream, (const char *)data, size);
    assert(consumed <= size);
    part->unread += size - consumed;
    h2->unread += size - consumed;
    if (consumed > 0)
        hws_h2_consume(h2, part, consumed, (flags & NGHTTP2_FLAG_END_STREAM) != 0);
    return 0;
}

/* Streams beyond `last` are closed by nghttp2 right after this. */
static void on_goaway(hws_h2_t *h2, const nghttp2_goaway *goaway)
{
    h2->has_goaway = true;
    h2->last = goaway->last_stream_id;
    if (goaway->error_code == NGHTTP2_ENHANCE_YOUR_CALM)
        h2->base.is_calmed = true;
    hws_h2_close_door(h2);
}

static void on_settings(hws_h2_t *h2)
{
    hws_h2_update_settings(h2);
    /* The windows of all streams may have changed. */
    HWS_LIST_EACH(link, &h2->others)
        hws_h2_wake(h2, HWS_CONTAINER(link, hws_h2_part_t, link));
}

static void on_pong(hws_h2_t *h2, const uint8_t *payload)
{
    if (h2->is_pinging && memcmp(payload, hws_h2_liveness_ping, HWS_H2_PING_SIZE) == 0) {
        h2->is_pinging = false;
        h2->base.pongs++;
    } else if (h2->trip.is_under_way && memcmp(payload, hws_h2_trip_ping, HWS_H2_PING_SIZE) == 0) {
        hws_trip_end(&h2->trip);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    hws_h2_t *h2 = user;
    bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    hws_h2_part_t *part;

    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        on_message(h2, frame);
        break;
    case NGHTTP2_SETTINGS:
        if (!is_ack)
            on_settings(h2);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (frame->hd.stream_id != 0 && (part = hws_h2_part_of(h2, frame->hd.stream_id)) != NULL)
            hws_h2_wake(h2, part);
        break;
    case NGHTTP2_PING:
        if (is_ack)
            on_pong(h2, frame->ping.opaque_data);
        break;
    case NGHTTP2_GOAWAY:
        on_goaway(h2, &frame->goaway);
        break;
    default:
        break;
    }
    return 0;
}

/* Both have ended it, or the peer wants nothing more of a request whose response is complete (RFC
 * 9113, 8.1). Who waits for the former finds that out by trying. */
static void let_go(hws_h2_t *h2, hws_h2_part_t *part)
{
    hws_stream_t *stream = part->stream;
    bool is_cut = !part->is_sent;

    hws_h2_give_part(h2, part);
    if (stream != NULL && stream->is_duplex && is_cut) {
        stream->events->on_end(stream, HWS_OK);
        return;
    }
    if (stream == NULL || !stream->wants_write)
        return;
    stream->wants_write = false;
    stream->events->on_writable(stream);
}

/* nghttp2 resets what it finds malformed; of most of that on_invalid_frame() knew before. */
static int own_code(uint32_t number)
{
    switch (number) {
    case NGHTTP2_REFUSED_STREAM: /* its head stood behind a GOAWAY of ours */
        return HWS_ERR_GOAWAY;
    case NGHTTP2_PROTOCOL_ERROR:
        return HWS_ERR_LENGTH;
    default:
        return hws_h2_breach_code(number);
    }
}

/* The wire has done with a stream: by its two ends, by RST_STREAM from either side, or by GOAWAY. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t number, void *user)
{
    hws_h2_t *h2 = user;
    hws_h2_part_t *part = hws_h2_part_of(h2, id);
    bool is_ours = h2->out != NULL;

    (void)session;
    if (!is_ours && number == NGHTTP2_ENHANCE_YOUR_CALM)
        h2->base.is_calmed = true;
    if (part == NULL)
        return 0;
    if (part->stream == NULL || (part->has_ended && number == NGHTTP2_NO_ERROR))
        let_go(h2, part);
    else if (is_ours)
        hws_h2_end(h2, part, own_code(number), number);
    else if (h2->has_goaway && id > h2->last)
        hws_h2_end(h2, part, HWS_ERR_GOAWAY, number);
    else
        hws_h2_end(h2, part, hws_h2_reset_code(number), number);
    return 0;
}

void hws_h2_set_receive_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}
