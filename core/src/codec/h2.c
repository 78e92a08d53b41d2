#include "codec/h2.h"

#include "base/memory.h"
#include "codec/h2_code.h"
#include "codec/h2_request.h"
#include "codec/h2_section.h"
#include "codec/schedule.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#define CAUTIOUS_STREAMS 100U /* until the peer's SETTINGS say how many it takes */
#define MOST_INFORMATIONAL 8
#define BYTES_PER_FIELD 32U /* of limits.header */
#define STREAM_BUFFER 65536U
#define FRAME 16384U
#define FRAME_HEAD 9U
#define LARGEST_HEADER (16U << 20) /* to be sent: h2_request.h refuses less */
#define PING_SIZE 8

/* Frames in a row that carry nothing for any stream, such as SETTINGS, PING and empty DATA. A
 * server's own PINGs of a minute would take a week for that; a flood takes a moment. */
#define MOST_NOISE 10000U

static const uint8_t liveness_ping[PING_SIZE] = "hws-live";

/* A stream on the wire, from `open` until both sides have ended it. */
typedef struct {
    hws_list_t link;      /* in `fresh`, `open` or `spare` */
    hws_stream_t *stream; /* NULL once it hears nothing more */
    hws_buffer_t unsent;
    uint64_t to_send; /* of a body whose size is known, not given to `send` yet */
    uint64_t unread;  /* told, and not consumed yet */
    hws_turn_t turn;
    int32_t id;
    uint8_t urgency;
    uint8_t informational; /* 1xx that it has had */
    bool is_head_only;     /* the request was HEAD: no body follows */
    bool is_sized;         /* `to_send` means something */
    bool has_head;         /* the final one has come */
    bool has_ended;        /* the response is complete, which its stream was told */
    bool is_finished;      /* `send` has had the last byte */
    bool is_sent;          /* and it has left */
} part_t;

_Static_assert(sizeof(part_t) <= 160, "there is one for each open stream");

typedef struct {
    hws_codec_t base;
    nghttp2_session *session;
    hws_fields_t *fields;
    size_t header;
    size_t buffer;
    uint32_t streams;  /* ours */
    uint32_t open;     /* parts in use */
    uint32_t attached; /* of these, those that have a stream */
    uint32_t noise;
    size_t unsent; /* in the buffers of all parts */
    int failure;   /* why the connection is beyond use, or HWS_OK */
    int32_t last;  /* the peer's GOAWAY: the last stream that it has seen */
    bool has_goaway;
    bool is_sending; /* inside nghttp2_session_mem_send */
    bool is_pinging;
    hws_list_t fresh;     /* parts whose HEADERS have not left */
    hws_list_t others;    /* the other parts in use */
    hws_list_t spare;     /* parts for the next streams */
    hws_schedule_t queue; /* parts that have something to send and the window for it */
    part_t *chosen;       /* the one that may send its next DATA frame */
    hws_buffer_t *out;    /* where what is sent goes */
    hws_buffer_t pending; /* what came up between flushes */
    hws_h2_section_t section;
    hws_h2_request_t request;
} h2_t;

static h2_t *h2_of(hws_codec_t *codec)
{
    return (h2_t *)(void *)codec;
}

/* State --------------------------------------------------------------------------------------- */

static void update_room(h2_t *h2)
{
    uint32_t theirs =
        nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

    h2->base.cap = theirs < h2->streams ? theirs : h2->streams;
    h2->base.room = h2->base.is_last || h2->open >= h2->base.cap ? 0 : h2->base.cap - h2->open;
}

static void close_door(h2_t *h2)
{
    h2->base.is_last = true;
    h2->base.room = 0;
}

/* The connection is beyond use; the first reason counts. */
static int fail(h2_t *h2, int code)
{
    if (h2->failure == HWS_OK)
        h2->failure = code;
    close_door(h2);
    return h2->failure;
}

/* What nghttp2 says of a submission: it fails for nothing but memory. */
static void check(h2_t *h2, int rv)
{
    if (nghttp2_is_fatal(rv))
        (void)fail(h2, HWS_ERR_NOMEM);
}

static part_t *part_of(h2_t *h2, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h2->session, id);
}

static bool has_to_send(const part_t *part)
{
    return !part->is_sent && (part->is_finished || !hws_buffer_is_empty(&part->unsent));
}

static part_t *take_part(h2_t *h2)
{
    hws_list_t *link = hws_list_first(&h2->spare);
    part_t *part;

    if (link == NULL) {
        if ((part = hws_alloc(sizeof(*part))) == NULL)
            return NULL;
    } else {
        hws_list_remove(link);
        part = HWS_CONTAINER(link, part_t, link);
    }
    *part = (part_t){0};
    hws_turn_init(&part->turn);
    return part;
}

/* Its stream hears nothing more. What is unread goes back to the connection's window. */
static void detach(h2_t *h2, part_t *part)
{
    if (part->stream == NULL)
        return;
    part->stream->part = NULL;
    part->stream = NULL;
    h2->attached--;
    if (part->unread > 0)
        check(h2, nghttp2_session_consume_connection(h2->session, (size_t)part->unread));
    part->unread = 0;
}

/* The wire knows it no longer, or will not when what is queued has left. */
static void give_part(h2_t *h2, part_t *part)
{
    detach(h2, part);
    (void)nghttp2_session_set_stream_user_data(h2->session, part->id, NULL);
    hws_schedule_remove(&h2->queue, &part->turn);
    if (h2->chosen == part)
        h2->chosen = NULL;
    h2->unsent -= hws_buffer_size(&part->unsent);
    hws_buffer_dispose(&part->unsent);
    hws_list_remove(&part->link);
    hws_list_push_front(&h2->spare, &part->link);
    h2->open--;
    update_room(h2);
}

/* The part is over, and its stream, if it still listens, is told why. */
static void end(h2_t *h2, part_t *part, int code, uint32_t number)
{
    hws_stream_t *stream = part->stream;

    give_part(h2, part);
    if (stream == NULL)
        return;
    stream->reset_code = number;
    stream->events->on_end(stream, code);
}

/* The stream has failed for a reason of ours. */
static void refuse(h2_t *h2, part_t *part, int code, uint32_t number)
{
    check(h2, nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, part->id, number));
    end(h2, part, code, number);
}

/* What never left has not been seen by anybody. */
static void refuse_fresh(h2_t *h2, int code)
{
    hws_list_t *link;

    while ((link = hws_list_first(&h2->fresh)) != NULL)
        refuse(h2, HWS_CONTAINER(link, part_t, link), code, NGHTTP2_CANCEL);
}

/* Receiving ----------------------------------------------------------------------------------- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    h2_t *h2 = user;

    (void)session;
    /* DATA that nobody wants is bounded by the windows. */
    if (hd->type == NGHTTP2_DATA && hd->length > 0)
        return 0;
    if (++h2->noise <= MOST_NOISE)
        return 0;
    (void)fail(h2, HWS_ERR_H2_FLOOD);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_t *h2 = user;

    (void)session;
    (void)frame;
    hws_h2_section_begin(&h2->section);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user)
{
    h2_t *h2 = user;
    part_t *part = part_of(h2, frame->hd.stream_id);
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
    refuse(h2, part, rc, NGHTTP2_CANCEL);
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
static int message_code(const h2_t *h2, const part_t *part, const nghttp2_frame *frame)
{
    bool is_cut = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
                  (part->has_head || h2->section.status >= 200);

    return is_cut ? HWS_ERR_LENGTH : HWS_ERR_H2_MESSAGE;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int why,
                            void *user)
{
    h2_t *h2 = user;
    part_t *part = part_of(h2, frame->hd.stream_id);

    (void)session;
    if (part == NULL)
        return 0;
    if (why == NGHTTP2_ERR_HTTP_HEADER)
        refuse(h2, part, HWS_ERR_FIELD, NGHTTP2_PROTOCOL_ERROR);
    else if (why == NGHTTP2_ERR_HTTP_MESSAGING)
        refuse(h2, part, message_code(h2, part, frame), NGHTTP2_PROTOCOL_ERROR);
    return 0;
}

static uint64_t announced(const h2_t *h2, const part_t *part, bool is_end)
{
    uint16_t status = h2->section.status;

    if (is_end || part->is_head_only || status == 204 || status == 304)
        return 0;
    return h2->section.length;
}

static int tell_head(h2_t *h2, part_t *part, bool is_end)
{
    hws_head_t head;
    int rc;

    if (h2->section.status < 100 || h2->section.status > 599)
        return HWS_ERR_H2_MESSAGE;
    if (h2->section.status < 200)
        return ++part->informational > MOST_INFORMATIONAL ? HWS_ERR_INFORMATIONAL : HWS_OK;
    rc = hws_h2_section_head(&h2->section, (uint32_t)(h2->header / BYTES_PER_FIELD), h2->fields,
                             &head);
    if (rc != HWS_OK)
        return rc;
    part->has_head = true;
    part->stream->announced = announced(h2, part, is_end);
    part->stream->events->on_head(part->stream, &head);
    return HWS_OK;
}

static int tell_trailers(h2_t *h2, part_t *part)
{
    hws_head_t trailers;
    int rc = hws_h2_section_head(&h2->section, (uint32_t)(h2->header / BYTES_PER_FIELD), h2->fields,
                                 &trailers);

    if (rc == HWS_OK && trailers.count > 0)
        part->stream->events->on_trailers(part->stream, &trailers);
    return rc;
}

/* The response is complete. A request that is not goes on, when its stream wants that. */
static void tell_end(h2_t *h2, part_t *part)
{
    hws_stream_t *stream = part->stream;

    part->has_ended = true;
    if (part->unread > 0)
        check(h2, nghttp2_session_consume_connection(h2->session, (size_t)part->unread));
    part->unread = 0;
    if (part->is_finished)
        detach(h2, part);
    stream->events->on_end(stream, HWS_OK);
}

/* A whole header block or the end of DATA. */
static void on_message(h2_t *h2, const nghttp2_frame *frame)
{
    part_t *part = part_of(h2, frame->hd.stream_id);
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
        refuse(h2, part, rc, NGHTTP2_CANCEL);
    else if (is_end)
        tell_end(h2, part);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t size, void *user)
{
    h2_t *h2 = user;
    part_t *part = part_of(h2, id);
    size_t consumed;

    (void)flags;
    if (part == NULL || part->stream == NULL) {
        check(h2, nghttp2_session_consume_connection(session, size));
        return 0;
    }
    h2->noise = 0;
    consumed = part->stream->events->on_body(part->stream, (const char *)data, size);
    assert(consumed <= size);
    part->unread += size - consumed;
    if (consumed > 0)
        check(h2, nghttp2_session_consume(session, id, consumed));
    return 0;
}

/* Streams beyond `last` are closed by nghttp2 right after this. */
static void on_goaway(h2_t *h2, const nghttp2_goaway *goaway)
{
    h2->has_goaway = true;
    h2->last = goaway->last_stream_id;
    if (goaway->error_code == NGHTTP2_ENHANCE_YOUR_CALM)
        h2->base.is_calmed = true;
    close_door(h2);
}

static void wake(h2_t *h2, part_t *part)
{
    if (has_to_send(part))
        hws_schedule_add(&h2->queue, &part->turn, part->urgency);
}

static void on_settings(h2_t *h2)
{
    update_room(h2);
    /* The windows of all streams may have changed. */
    HWS_LIST_EACH(link, &h2->others)
        wake(h2, HWS_CONTAINER(link, part_t, link));
}

static void on_pong(h2_t *h2, const uint8_t *payload)
{
    if (h2->is_pinging && memcmp(payload, liveness_ping, PING_SIZE) == 0) {
        h2->is_pinging = false;
        h2->base.pongs++;
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_t *h2 = user;
    bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    part_t *part;

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
        if (frame->hd.stream_id != 0 && (part = part_of(h2, frame->hd.stream_id)) != NULL)
            wake(h2, part);
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

/* The wire has done with a stream: by its two ends, by RST_STREAM from either side, or by GOAWAY. */
static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t number, void *user)
{
    h2_t *h2 = user;
    part_t *part = part_of(h2, id);

    (void)session;
    if (part == NULL)
        return 0;
    if (part->stream == NULL) {
        give_part(h2, part);
    } else if (h2->is_sending && number == NGHTTP2_REFUSED_STREAM) {
        end(h2, part, HWS_ERR_GOAWAY, number); /* its head, behind a GOAWAY of ours */
    } else if (h2->is_sending) {
        /* nghttp2 resets what it finds malformed; all but these on_invalid_frame() knows of. */
        end(h2, part,
            number == NGHTTP2_PROTOCOL_ERROR ? HWS_ERR_LENGTH : hws_h2_breach_code(number), number);
    } else if (h2->has_goaway && id > h2->last) {
        end(h2, part, HWS_ERR_GOAWAY, number);
    } else {
        if (number == NGHTTP2_ENHANCE_YOUR_CALM)
            h2->base.is_calmed = true;
        end(h2, part, hws_h2_reset_code(number), number);
    }
    return 0;
}

/* Sending ------------------------------------------------------------------------------------- */

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    h2_t *h2 = user;
    part_t *part;

    (void)session;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        h2->noise = 0;
        if ((part = part_of(h2, frame->hd.stream_id)) != NULL) {
            hws_list_remove(&part->link);
            hws_list_push_back(&h2->others, &part->link);
        }
    } else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
        (void)fail(h2, hws_h2_breach_code(frame->goaway.error_code));
    }
    return 0;
}

/* nghttp2 asks in its own order, and is put off until it asks for the stream whose turn it is. */
static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *data, size_t most,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    h2_t *h2 = user;
    part_t *part = part_of(h2, id);
    size_t size;

    (void)session;
    (void)data;
    (void)source;
    if (part == NULL || part != h2->chosen)
        return NGHTTP2_ERR_DEFERRED;
    h2->chosen = NULL;
    size = hws_buffer_size(&part->unsent);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (size > most)
        return (ssize_t)most;
    if (part->is_finished)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)size;
}

/* How much `part` may hold that has not left. */
static size_t bound(const h2_t *h2, size_t unsent)
{
    size_t most = h2->buffer < STREAM_BUFFER ? h2->buffer : STREAM_BUFFER;

    return unsent < h2->buffer || most < FRAME ? most : FRAME;
}

static void tell_writable(h2_t *h2, part_t *part)
{
    hws_stream_t *stream = part->stream;

    if (stream == NULL || !stream->wants_write ||
        hws_buffer_size(&part->unsent) > bound(h2, h2->unsent) / 2)
        return;
    stream->wants_write = false;
    stream->events->on_writable(stream);
}

static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                        size_t size, nghttp2_data_source *source, void *user)
{
    h2_t *h2 = user;
    part_t *part = part_of(h2, frame->hd.stream_id);

    (void)session;
    (void)source;
    if (hws_buffer_reserve(h2->out, FRAME_HEAD + size) != HWS_OK) {
        (void)fail(h2, HWS_ERR_NOMEM);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    (void)hws_buffer_append(h2->out, head, FRAME_HEAD);
    (void)hws_buffer_append(h2->out, hws_buffer_bytes(&part->unsent), size);
    hws_buffer_consume(&part->unsent, size);
    h2->unsent -= size;
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
static int drain(h2_t *h2, hws_buffer_t *out)
{
    const uint8_t *bytes;
    ssize_t size;

    h2->out = out;
    h2->is_sending = true;
    while ((size = nghttp2_session_mem_send(h2->session, &bytes)) > 0) {
        if (hws_buffer_append(out, bytes, (size_t)size) != HWS_OK) {
            size = NGHTTP2_ERR_NOMEM;
            break;
        }
    }
    h2->is_sending = false;
    h2->out = NULL;
    if (size < 0)
        (void)fail(h2, HWS_ERR_NOMEM);
    return h2->failure;
}

static bool has_window(const h2_t *h2, const part_t *part)
{
    return nghttp2_session_get_stream_remote_window_size(h2->session, part->id) > 0;
}

/* DATA frames in the order of the schedule, until there were about `room` bytes. */
static int drain_bodies(h2_t *h2, size_t room, hws_buffer_t *out)
{
    size_t before = hws_buffer_size(out);

    while (hws_buffer_size(out) - before < room &&
           nghttp2_session_get_remote_window_size(h2->session) > 0) {
        hws_turn_t *turn = hws_schedule_next(&h2->queue);
        part_t *part;

        if (turn == NULL)
            break;
        part = HWS_CONTAINER(turn, part_t, turn);
        h2->chosen = part;
        if (!has_window(h2, part) || nghttp2_session_resume_data(h2->session, part->id) != 0) {
            hws_schedule_remove(&h2->queue, turn);
            continue;
        }
        if (drain(h2, out) != HWS_OK)
            break;
    }
    h2->chosen = NULL;
    return h2->failure;
}

static int h2_flush(hws_codec_t *codec, size_t room, hws_buffer_t *out)
{
    h2_t *h2 = h2_of(codec);

    if (hws_buffer_append(out, hws_buffer_bytes(&h2->pending), hws_buffer_size(&h2->pending)) !=
        HWS_OK)
        return fail(h2, HWS_ERR_NOMEM);
    hws_buffer_dispose(&h2->pending);
    if (h2->failure != HWS_OK || drain(h2, out) != HWS_OK)
        return h2->failure;
    return drain_bodies(h2, room, out);
}

/* Input --------------------------------------------------------------------------------------- */

/* The peer's bytes were too much: what nghttp2 has no GOAWAY for. */
static void settle(h2_t *h2, ssize_t rv)
{
    if (rv >= 0)
        return;
    if (rv == NGHTTP2_ERR_FLOODED)
        (void)fail(h2, HWS_ERR_H2_FLOOD);
    else
        (void)fail(h2, HWS_ERR_NOMEM);
    if (h2->failure == HWS_ERR_H2_FLOOD)
        check(h2, nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM));
}

/* What nghttp2 has to say is taken at once: only that tells which streams it has reset, and whether
 * it gives the connection up. */
static int h2_feed(hws_codec_t *codec, const char *bytes, size_t size)
{
    h2_t *h2 = h2_of(codec);

    if (h2->failure != HWS_OK)
        return h2->failure;
    settle(h2, nghttp2_session_mem_recv(h2->session, (const uint8_t *)bytes, size));
    if (h2->base.is_last)
        refuse_fresh(h2, HWS_ERR_GOAWAY);
    if (h2->failure != HWS_ERR_NOMEM)
        (void)drain(h2, &h2->pending);
    /* What has not left now will not soon: the peer takes fewer streams than before. */
    refuse_fresh(h2, h2->base.is_last ? HWS_ERR_GOAWAY : HWS_ERR_REFUSED_STREAM);
    return h2->failure;
}

static int h2_feed_end(hws_codec_t *codec)
{
    h2_t *h2 = h2_of(codec);

    close_door(h2);
    refuse_fresh(h2, HWS_ERR_GOAWAY);
    if (h2->failure != HWS_OK)
        return h2->failure;
    return h2->attached > 0 ? HWS_ERR_EOF : HWS_OK;
}

/* Operations ---------------------------------------------------------------------------------- */

static int submit(h2_t *h2, part_t *part)
{
    static const nghttp2_data_provider provider = {.read_callback = on_read};
    int32_t id = nghttp2_submit_request(h2->session, NULL, h2->request.items, h2->request.count,
                                        part->is_finished ? NULL : &provider, part);

    if (id < 0)
        return HWS_ERR_NOMEM;
    part->id = id;
    if (nghttp2_session_get_next_stream_id(h2->session) > INT32_MAX)
        h2->base.is_last = true;
    return HWS_OK;
}

static int h2_open(hws_codec_t *codec, hws_stream_t *stream, const hws_message_t *message,
                   hws_buffer_t *out)
{
    h2_t *h2 = h2_of(codec);
    part_t *part;
    int rc;

    (void)out;
    assert(codec->room > 0);
    if ((rc = hws_h2_request_fill(&h2->request, message, stream->urgency)) != HWS_OK)
        return rc;
    if ((part = take_part(h2)) == NULL)
        return HWS_ERR_NOMEM;
    part->stream = stream;
    part->urgency = stream->urgency;
    part->is_head_only = message->method.size == 4 && memcmp(message->method.data, "HEAD", 4) == 0;
    part->is_sized = message->body != HWS_BODY_CHUNKED;
    part->to_send = message->body == HWS_BODY_SIZED ? message->body_size : 0;
    part->is_finished = part->is_sent = part->is_sized && part->to_send == 0;
    if ((rc = submit(h2, part)) != HWS_OK) {
        hws_list_push_front(&h2->spare, &part->link);
        return rc;
    }
    hws_list_push_back(&h2->fresh, &part->link);
    stream->part = part;
    stream->id = (uint64_t)part->id;
    h2->open++;
    h2->attached++;
    update_room(h2);
    return HWS_OK;
}

/* The last byte has been given: nothing is left to say, and perhaps to hear. */
static void finish(h2_t *h2, part_t *part)
{
    part->is_finished = true;
    if (part->has_ended)
        detach(h2, part);
}

static int h2_send(hws_codec_t *codec, hws_stream_t *stream, const char *data, size_t size,
                   bool is_end, hws_buffer_t *out, size_t *taken)
{
    h2_t *h2 = h2_of(codec);
    part_t *part = stream->part;
    size_t most = bound(h2, h2->unsent);
    size_t held = hws_buffer_size(&part->unsent);
    size_t piece = held < most ? most - held : 0;
    int rc;

    (void)out;
    assert(!part->is_finished);
    assert(!part->is_sized || size <= part->to_send);
    if (piece > size)
        piece = size;
    if ((rc = hws_buffer_append(&part->unsent, data, piece)) != HWS_OK)
        return rc;
    h2->unsent += piece;
    if (part->is_sized)
        part->to_send -= piece;
    *taken = piece;
    if (part->is_sized ? part->to_send == 0 : is_end && piece == size)
        finish(h2, part);
    wake(h2, part);
    return HWS_OK;
}

static int h2_credit(hws_codec_t *codec, hws_stream_t *stream, size_t size, hws_buffer_t *out)
{
    h2_t *h2 = h2_of(codec);
    part_t *part = stream->part;

    (void)out;
    if (part == NULL || part->has_ended) /* it went back already */
        return HWS_OK;
    assert(size <= part->unread);
    part->unread -= size;
    if (size > 0)
        check(h2, nghttp2_session_consume(h2->session, part->id, size));
    return h2->failure;
}

static void h2_reset(hws_codec_t *codec, hws_stream_t *stream, uint32_t code, hws_buffer_t *out)
{
    h2_t *h2 = h2_of(codec);
    part_t *part = stream->part;

    (void)out;
    if (part == NULL)
        return;
    check(h2, nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, part->id, code));
    give_part(h2, part);
}

static int h2_ping(hws_codec_t *codec)
{
    h2_t *h2 = h2_of(codec);

    if (h2->is_pinging)
        return HWS_AGAIN;
    if (nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, liveness_ping) != 0)
        return HWS_ERR_NOMEM;
    h2->is_pinging = true;
    return HWS_OK;
}

static void h2_go_away(hws_codec_t *codec)
{
    h2_t *h2 = h2_of(codec);

    close_door(h2);
    check(h2, nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0));
}

/* Life ---------------------------------------------------------------------------------------- */

static void free_parts(hws_list_t *list)
{
    hws_list_t *link;

    while ((link = hws_list_first(list)) != NULL) {
        part_t *part = HWS_CONTAINER(link, part_t, link);

        hws_list_remove(link);
        hws_buffer_dispose(&part->unsent);
        hws_free(part);
    }
}

static void h2_destroy(hws_codec_t *codec)
{
    h2_t *h2 = h2_of(codec);

    assert(h2->attached == 0 || h2->failure != HWS_OK);
    nghttp2_session_del(h2->session);
    free_parts(&h2->fresh);
    free_parts(&h2->others);
    free_parts(&h2->spare);
    hws_buffer_dispose(&h2->pending);
    hws_buffer_dispose(&h2->section.bytes);
    hws_h2_request_dispose(&h2->request);
    hws_free(h2);
}

static const hws_codec_ops_t ops = {
    .feed = h2_feed,
    .feed_end = h2_feed_end,
    .open = h2_open,
    .send = h2_send,
    .credit = h2_credit,
    .reset = h2_reset,
    .destroy = h2_destroy,
    .flush = h2_flush,
    .ping = h2_ping,
    .go_away = h2_go_away,
};

static void *give_memory(size_t size, void *user)
{
    (void)user;
    return hws_alloc(size > 0 ? size : 1);
}

static void *give_zeros(size_t count, size_t size, void *user)
{
    (void)user;
    return hws_zalloc(count * size > 0 ? count * size : 1); /* of its own structs: no overflow */
}

static void *move_memory(void *block, size_t size, void *user)
{
    (void)user;
    return hws_realloc(block, size > 0 ? size : 1);
}

static void take_memory(void *block, void *user)
{
    (void)user;
    hws_free(block);
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
    return callbacks;
}

static nghttp2_option *make_option(const hws_codec_options_t *options)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, LARGEST_HEADER);
    nghttp2_option_set_peer_max_concurrent_streams(
        option, options->streams < CAUTIOUS_STREAMS ? options->streams : CAUTIOUS_STREAMS);
    return option;
}

static int make_session(h2_t *h2, const hws_codec_options_t *options)
{
    nghttp2_mem memory = {NULL, give_memory, take_memory, give_zeros, move_memory};
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = make_option(options);
    int rv = NGHTTP2_ERR_NOMEM;

    if (callbacks != NULL && option != NULL)
        rv = nghttp2_session_client_new3(&h2->session, callbacks, h2, option, &memory);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return rv == 0 ? HWS_OK : HWS_ERR_NOMEM;
}

/* h2o 2.2.5 stalls when it is told of a header table of size 0, so that stays as it is. */
static int introduce(h2_t *h2, const hws_codec_options_t *options)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options->windows.stream},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         options->header < UINT32_MAX ? (uint32_t)options->header : UINT32_MAX},
    };

    if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0])) != 0 ||
        nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)options->windows.connection) != 0)
        return HWS_ERR_NOMEM;
    return HWS_OK;
}

int hws_h2_create(const hws_codec_options_t *options, hws_codec_t **out)
{
    h2_t *h2 = hws_zalloc(sizeof(*h2));

    if (h2 == NULL)
        return HWS_ERR_NOMEM;
    h2->base = (hws_codec_t){.ops = &ops, .wants_bytes = true, .idle_hint = HWS_NEVER};
    h2->fields = options->fields;
    h2->header = options->header;
    h2->buffer = options->buffer;
    h2->streams = options->streams;
    hws_list_init(&h2->fresh);
    hws_list_init(&h2->others);
    hws_list_init(&h2->spare);
    hws_schedule_init(&h2->queue);
    if (make_session(h2, options) != HWS_OK || introduce(h2, options) != HWS_OK) {
        h2_destroy(&h2->base);
        return HWS_ERR_NOMEM;
    }
    update_room(h2);
    *out = &h2->base;
    return HWS_OK;
}
