#include "codec/raw.h"

#include "base/memory.h"

#include <assert.h>

typedef struct {
    hws_codec_t base;
    hws_stream_t *stream; /* NULL while none is open */
    size_t buffer;
    size_t unread;
    bool has_ended; /* `stream` got its on_end: it may still send */
} raw_t;

static raw_t *raw_of(hws_codec_t *codec)
{
    return (raw_t *)(void *)codec;
}

static void let_go(raw_t *raw)
{
    raw->stream = NULL;
    raw->unread = 0;
    raw->base.wants_bytes = true;
    raw->base.room = raw->base.is_last ? 0 : 1;
}

static int raw_feed(hws_codec_t *codec, const char *bytes, size_t size)
{
    raw_t *raw = raw_of(codec);
    size_t consumed;

    if (size == 0)
        return HWS_OK;
    if (raw->stream == NULL || raw->has_ended) {
        codec->is_last = true;
        codec->room = 0;
        return HWS_ERR_UNEXPECTED;
    }
    consumed = raw->stream->events->on_body(raw->stream, bytes, size);
    assert(consumed <= size);
    raw->unread += size - consumed;
    if (raw->unread > 0 && raw->unread >= raw->buffer)
        codec->wants_bytes = false;
    return HWS_OK;
}

static int raw_feed_end(hws_codec_t *codec)
{
    raw_t *raw = raw_of(codec);

    codec->is_last = true;
    codec->room = 0;
    if (raw->stream == NULL || raw->has_ended)
        return HWS_OK;
    raw->has_ended = true;
    raw->stream->events->on_end(raw->stream, HWS_OK);
    return HWS_OK;
}

static int raw_open(hws_codec_t *codec, hws_stream_t *stream, const hws_message_t *message,
                    hws_buffer_t *out)
{
    raw_t *raw = raw_of(codec);

    (void)message; /* a raw stream begins with nothing */
    (void)out;
    assert(codec->room > 0 && raw->stream == NULL);
    raw->stream = stream;
    codec->room = 0;
    return HWS_OK;
}

static int raw_send(hws_codec_t *codec, hws_stream_t *stream, const char *data, size_t size,
                    bool end, hws_buffer_t *out, size_t *taken)
{
    raw_t *raw = raw_of(codec);
    int rc;

    assert(raw->stream == stream && !end); /* nothing on the wire would say so */
    (void)stream;
    (void)end;
    if (size > 0 && (rc = hws_buffer_append(out, data, size)) != HWS_OK)
        return rc;
    *taken = size;
    return HWS_OK;
}

static int raw_credit(hws_codec_t *codec, hws_stream_t *stream, size_t size)
{
    raw_t *raw = raw_of(codec);

    if (raw->stream != stream)
        return HWS_OK;
    assert(size <= raw->unread);
    raw->unread -= size;
    if (raw->unread <= raw->buffer / 2)
        codec->wants_bytes = true;
    return HWS_OK;
}

static void raw_reset(hws_codec_t *codec, hws_stream_t *stream, uint32_t code)
{
    raw_t *raw = raw_of(codec);

    (void)code;
    if (raw->stream != stream)
        return;
    codec->is_last = true;
    let_go(raw);
}

static void raw_leave(hws_codec_t *codec, hws_stream_t *stream)
{
    raw_t *raw = raw_of(codec);

    assert(raw->stream == stream);
    (void)stream;
    let_go(raw);
}

static void raw_destroy(hws_codec_t *codec)
{
    hws_free(codec);
}

static const hws_codec_ops_t ops = {
    .feed = raw_feed,
    .feed_end = raw_feed_end,
    .open = raw_open,
    .send = raw_send,
    .credit = raw_credit,
    .reset = raw_reset,
    .leave = raw_leave,
    .destroy = raw_destroy,
};

int hws_raw_create(const hws_codec_options_t *options, hws_codec_t **out)
{
    raw_t *raw = hws_zalloc(sizeof(*raw));

    if (raw == NULL)
        return HWS_ERR_NOMEM;
    raw->base = (hws_codec_t){.ops = &ops, .room = 1, .wants_bytes = true, .idle_hint = HWS_NEVER};
    raw->buffer = options->buffer;
    *out = &raw->base;
    return HWS_OK;
}
