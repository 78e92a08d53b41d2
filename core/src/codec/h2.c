#include "codec/h2.h"

#include "base/memory.h"
#include "codec/h2_session.h"

#include <assert.h>
#include <string.h>

#define CAUTIOUS_STREAMS 100U      /* until the peer's SETTINGS say how many it takes */
#define STREAM_LEAST 16384U        /* a frame, of a stream whose connection has little */
#define LARGEST_HEADER (16U << 20) /* to be sent: limits.header is at most as much */

static hws_h2_t *h2_of(hws_codec_t *codec)
{
    return (hws_h2_t *)(void *)codec;
}

/* Bytes --------------------------------------------------------------------------------------- */

/* What nghttp2_session_mem_recv said. It bounds some floods itself, without a GOAWAY. */
static void settle(hws_h2_t *h2, ssize_t rv)
{
    if (rv >= 0)
        return;
    if (rv == NGHTTP2_ERR_NOMEM)
        (void)hws_h2_fail(h2, HWS_ERR_NOMEM);
    else /* also what on_begin_frame() has refused */
        (void)hws_h2_fail(h2, HWS_ERR_H2_FLOOD);
    if (h2->failure == HWS_ERR_H2_FLOOD)
        hws_h2_check(h2, nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM));
}

/* What nghttp2 has to say is taken at once: only that tells which streams it has reset, and whether
 * it gives the connection up. */
static int h2_feed(hws_codec_t *codec, const char *bytes, size_t size)
{
    hws_h2_t *h2 = h2_of(codec);

    if (h2->failure != HWS_OK)
        return h2->failure;
    settle(h2, nghttp2_session_mem_recv(h2->session, (const uint8_t *)bytes, size));
    if (h2->has_goaway)
        hws_h2_refuse_fresh(h2, HWS_ERR_GOAWAY);
    if (h2->failure != HWS_ERR_NOMEM)
        (void)hws_h2_drain(h2, &h2->pending);
    /* What has not left now will not soon: the peer takes fewer streams than before. */
    hws_h2_refuse_fresh(h2, h2->base.is_last ? HWS_ERR_GOAWAY : HWS_ERR_REFUSED_STREAM);
    return h2->failure;
}

static int h2_feed_end(hws_codec_t *codec)
{
    hws_h2_t *h2 = h2_of(codec);

    hws_h2_close_door(h2);
    hws_h2_refuse_fresh(h2, HWS_ERR_GOAWAY);
    if (h2->failure != HWS_OK)
        return h2->failure;
    return h2->attached > 0 ? HWS_ERR_EOF : HWS_OK;
}

static int h2_flush(hws_codec_t *codec, size_t room, hws_buffer_t *out)
{
    hws_h2_t *h2 = h2_of(codec);
    hws_buffer_t *pending = &h2->pending;

    if (!hws_buffer_is_empty(pending)) {
        if (hws_buffer_append(out, hws_buffer_bytes(pending), hws_buffer_size(pending)) != HWS_OK)
            return hws_h2_fail(h2, HWS_ERR_NOMEM);
        hws_buffer_dispose(pending);
    }
    if (h2->failure != HWS_OK || hws_h2_drain(h2, out) != HWS_OK)
        return h2->failure;
    return hws_h2_drain_bodies(h2, room, out);
}

/* Operations ---------------------------------------------------------------------------------- */

/* The request is filled in. A server that finds a head too large may fall silent for all streams of the
 * connection, so what goes beyond its word, or our bound, is not sent. */
static int check_size(const hws_h2_t *h2)
{
    size_t size = hws_h2_request_size(&h2->request);

    return size <= h2->header_most && size <= h2->header ? HWS_OK : HWS_ERR_REQUEST_HEAD;
}

static int h2_open(hws_codec_t *codec, hws_stream_t *stream, const hws_message_t *message,
                   hws_buffer_t *out)
{
    hws_h2_t *h2 = h2_of(codec);
    hws_h2_part_t *part;
    int rc;

    (void)out;
    assert(codec->room > 0);
    if ((rc = hws_h2_request_fill(&h2->request, message, stream->urgency)) != HWS_OK ||
        (stream->is_duplex && (rc = hws_h2_request_accept_trailers(&h2->request)) != HWS_OK) ||
        (rc = check_size(h2)) != HWS_OK)
        return rc;
    if ((part = hws_h2_take_part(h2)) == NULL)
        return HWS_ERR_NOMEM;
    part->stream = stream;
    part->urgency = stream->urgency;
    hws_window_init(&part->window, h2->windows.stream, h2->windows.stream_max);
    part->is_head_only = message->method.size == 4 && memcmp(message->method.data, "HEAD", 4) == 0;
    part->is_sized = message->body != HWS_BODY_CHUNKED;
    part->to_send = message->body == HWS_BODY_SIZED ? message->body_size : 0;
    part->is_finished = part->is_sent = part->is_sized && part->to_send == 0;
    if ((rc = hws_h2_submit(h2, part)) != HWS_OK) {
        hws_list_push_front(&h2->spare, &part->link);
        return rc;
    }
    hws_list_push_back(&h2->fresh, &part->link);
    stream->part = part;
    stream->id = (uint64_t)part->id;
    h2->open++;
    h2->attached++;
    hws_h2_update_room(h2);
    return HWS_OK;
}

/* The last byte has been given: nothing is left to say, and perhaps to hear. */
static void finish(hws_h2_t *h2, hws_h2_part_t *part)
{
    part->is_finished = true;
    if (part->has_ended && !part->stream->is_duplex)
        hws_h2_detach(h2, part);
}

static int h2_send(hws_codec_t *codec, hws_stream_t *stream, const char *data, size_t size,
                   bool is_end, hws_buffer_t *out, size_t *taken)
{
    hws_h2_t *h2 = h2_of(codec);
    hws_h2_part_t *part = stream->part;
    size_t most = hws_h2_bound(h2);
    size_t held;
    size_t piece;
    int rc;

    (void)out;
    if (part == NULL) /* the peer has its answer out, and wants no more */
        return HWS_ERR_PIPE;
    assert(!part->is_finished);
    assert(!part->is_sized || size <= part->to_send);
    held = hws_buffer_size(&part->unsent);
    piece = held < most ? most - held : 0;
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
    hws_h2_wake(h2, part);
    return HWS_OK;
}

static int h2_credit(hws_codec_t *codec, hws_stream_t *stream, size_t size)
{
    hws_h2_t *h2 = h2_of(codec);
    hws_h2_part_t *part = stream->part;

    if (part == NULL || part->has_ended) /* it went back already */
        return HWS_OK;
    assert(size <= part->unread);
    part->unread -= size;
    h2->unread -= size;
    if (size > 0)
        hws_h2_consume(h2, part, size, false);
    return h2->failure;
}

static void h2_reset(hws_codec_t *codec, hws_stream_t *stream, uint32_t code)
{
    hws_h2_t *h2 = h2_of(codec);
    hws_h2_part_t *part = stream->part;

    if (part == NULL)
        return;
    hws_h2_check(h2, nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, part->id, code));
    hws_h2_give_part(h2, part);
}

static int h2_ping(hws_codec_t *codec)
{
    hws_h2_t *h2 = h2_of(codec);

    if (h2->is_pinging)
        return HWS_AGAIN;
    if (nghttp2_submit_ping(h2->session, NGHTTP2_FLAG_NONE, hws_h2_liveness_ping) != 0)
        return HWS_ERR_NOMEM;
    h2->is_pinging = true;
    return HWS_OK;
}

static void h2_go_away(hws_codec_t *codec)
{
    hws_h2_t *h2 = h2_of(codec);

    hws_h2_close_door(h2);
    if (h2->has_said_goodbye)
        return;
    h2->has_said_goodbye = true;
    hws_h2_check(
        h2, nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0));
}

/* Life ---------------------------------------------------------------------------------------- */

static void free_parts(hws_list_t *list)
{
    hws_list_t *link;

    while ((link = hws_list_first(list)) != NULL) {
        hws_h2_part_t *part = HWS_CONTAINER(link, hws_h2_part_t, link);

        hws_list_remove(link);
        hws_buffer_dispose(&part->unsent);
        hws_free(part);
    }
}

static void h2_set_streams(hws_codec_t *codec, uint32_t streams)
{
    hws_h2_t *h2 = h2_of(codec);

    h2->streams = streams;
    hws_h2_update_settings(h2);
}

static void h2_destroy(hws_codec_t *codec)
{
    hws_h2_t *h2 = h2_of(codec);

    assert(h2->attached == 0 || h2->failure != HWS_OK);
    nghttp2_session_del(h2->session);
    hws_stock_dispose(&h2->stock);
    hws_window_budget_give(h2->budget, h2->window.size);
    free_parts(&h2->fresh);
    free_parts(&h2->others);
    free_parts(&h2->spare);
    hws_buffer_dispose(&h2->pending);
    hws_h2_section_dispose(&h2->section);
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
    .set_streams = h2_set_streams,
    .go_away = h2_go_away,
};

/* nghttp2 may ask for no bytes at all, and takes NULL for a failure. */
static size_t least_one(size_t size)
{
    return size > 0 ? size : 1;
}

static void *give_memory(size_t size, void *stock)
{
    return hws_stock_alloc(stock, least_one(size));
}

static void *give_zeros(size_t count, size_t size, void *stock)
{
    return hws_stock_zalloc(stock, least_one(count * size)); /* of its own structs: no overflow */
}

static void *move_memory(void *block, size_t size, void *stock)
{
    return hws_stock_realloc(stock, block, least_one(size));
}

static void take_memory(void *block, void *stock)
{
    hws_stock_free(stock, block);
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    hws_h2_set_receive_callbacks(callbacks);
    hws_h2_set_send_callbacks(callbacks);
    return callbacks;
}

/* How many streams there may be before the peer has said how many it allows. */
static uint32_t first_streams(const hws_codec_options_t *options)
{
    uint32_t most = options->expected > 0 ? options->expected : CAUTIOUS_STREAMS;

    if (most > CAUTIOUS_STREAMS)
        most = CAUTIOUS_STREAMS;
    return options->streams < most ? options->streams : most;
}

static nghttp2_option *make_option(const hws_codec_options_t *options)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, LARGEST_HEADER);
    nghttp2_option_set_peer_max_concurrent_streams(option, first_streams(options));
    return option;
}

static int make_session(hws_h2_t *h2, const hws_codec_options_t *options)
{
    nghttp2_mem memory = {&h2->stock, give_memory, take_memory, give_zeros, move_memory};
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
static int introduce(hws_h2_t *h2, const hws_codec_options_t *options)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h2->windows.stream},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         options->header < UINT32_MAX ? (uint32_t)options->header : UINT32_MAX},
    };

    if (nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0])) != 0 ||
        nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0,
                                              (int32_t)h2->window.size) != 0)
        return HWS_ERR_NOMEM;
    return HWS_OK;
}

/* Streams have the share of a smaller window that they would have of the one that was wanted, so that the
 * first of them which is not read does not stop the others. */
static void take_windows(hws_h2_t *h2, const hws_codec_options_t *options)
{
    const hws_windows_t *wanted = &options->windows;
    uint32_t size = hws_window_budget_take(h2->budget, wanted->connection, HWS_WINDOW_LEAST);

    h2->windows = *wanted;
    if (size < wanted->connection) {
        uint32_t share = (uint32_t)((uint64_t)wanted->stream * size / wanted->connection);

        h2->windows.stream = share > STREAM_LEAST ? share : STREAM_LEAST;
    }
    hws_window_init(&h2->window, size, wanted->connection_max);
    hws_trip_init(&h2->trip, h2->windows.stream);
}

int hws_h2_create(const hws_codec_options_t *options, hws_codec_t **out)
{
    hws_h2_t *h2 = hws_zalloc(sizeof(*h2));

    if (h2 == NULL)
        return HWS_ERR_NOMEM;
    h2->base = (hws_codec_t){.ops = &ops, .wants_bytes = true, .idle_hint = HWS_NEVER};
    h2->header = options->header;
    h2->buffer = options->buffer;
    h2->streams = options->streams;
    hws_list_init(&h2->fresh);
    hws_list_init(&h2->others);
    hws_list_init(&h2->spare);
    hws_schedule_init(&h2->queue);
    h2->budget = options->budget;
    take_windows(h2, options);
    if (make_session(h2, options) != HWS_OK || introduce(h2, options) != HWS_OK) {
        h2_destroy(&h2->base);
        return HWS_ERR_NOMEM;
    }
    hws_h2_update_settings(h2);
    *out = &h2->base;
    return HWS_OK;
}
