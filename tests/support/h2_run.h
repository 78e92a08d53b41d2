/* h2_run.h - a connection's end of an h2 codec, and an account of what its streams were told.
 *
 * It watches that each stream is told things in order, and nothing after its end. Shared by the unit
 * test, which puts a server of nghttp2 behind it, and the fuzz target, which feeds it anything. */
#ifndef TESTS_SUPPORT_H2_RUN_H
#define TESTS_SUPPORT_H2_RUN_H

#include "base/memory.h"
#include "codec/h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands where assert() must hold in every build. */
#define H2_MUST(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define H2_STREAMS 64
#define H2_TEXT 1024

typedef struct {
    hws_stream_t stream;
    size_t takes;  /* of a piece of body, how many bytes are consumed at once */
    size_t unread; /* the others */
    size_t body;
    uint32_t sum; /* of the body's bytes, their places included */
    uint16_t status;
    char head[H2_TEXT]; /* cut */
    char trailers[H2_TEXT];
    bool is_open;
    bool has_head;
    bool has_trailers;
    unsigned ends;
    int code; /* of the last of them */
    unsigned writable;
} h2_told_t;

typedef struct {
    hws_codec_t *codec;
    hws_fields_t fields;
    hws_window_budget_t budget;
    hws_codec_options_t options;
    hws_buffer_t out; /* flushed, and not sent yet */
    h2_told_t told[H2_STREAMS];
    int failure; /* what feed or flush said */
} h2_run_t;

static inline h2_told_t *h2_told_of(hws_stream_t *stream)
{
    return HWS_CONTAINER(stream, h2_told_t, stream);
}

static inline void h2_keep_text(char *to, const hws_head_t *head)
{
    size_t size = head->size < H2_TEXT - 1 ? head->size : H2_TEXT - 1;

    memcpy(to, head->bytes, size);
    to[size] = '\0';
}

static inline void h2_on_head(hws_stream_t *stream, const hws_head_t *head)
{
    h2_told_t *told = h2_told_of(stream);

    H2_MUST(told->is_open && !told->has_head && told->ends == 0);
    H2_MUST(head->version == 20 && head->reason_size == 0);
    told->has_head = true;
    told->status = head->status;
    h2_keep_text(told->head, head);
}

static inline size_t h2_on_body(hws_stream_t *stream, const char *data, size_t size)
{
    h2_told_t *told = h2_told_of(stream);
    size_t taken = size < told->takes ? size : told->takes;
    size_t i;

    H2_MUST(told->is_open && told->has_head && !told->has_trailers && told->ends == 0);
    for (i = 0; i < size; i++)
        told->sum = told->sum * 31 + (unsigned char)data[i];
    told->body += size;
    told->unread += size - taken;
    return taken;
}

static inline void h2_on_trailers(hws_stream_t *stream, const hws_head_t *trailers)
{
    h2_told_t *told = h2_told_of(stream);

    H2_MUST(told->is_open && told->has_head && !told->has_trailers && told->ends == 0);
    told->has_trailers = true;
    h2_keep_text(told->trailers, trailers);
}

static inline void h2_on_end(hws_stream_t *stream, int code)
{
    h2_told_t *told = h2_told_of(stream);

    H2_MUST(told->is_open);
    H2_MUST(code != HWS_OK || (told->has_head && told->ends == 0));
    H2_MUST(told->ends == 0 || (told->ends == 1 && told->code == HWS_OK));
    H2_MUST(code == HWS_OK || stream->part == NULL);
    H2_MUST(code != HWS_OK || stream->announced == HWS_BODY_UNKNOWN ||
            stream->announced == told->body);
    told->ends++;
    told->code = code;
    told->is_open = stream->part != NULL;
}

static inline void h2_on_writable(hws_stream_t *stream)
{
    h2_told_of(stream)->writable++;
}

static inline int h2_run_create(h2_run_t *run, const hws_codec_options_t *options)
{
    memset(run, 0, sizeof(*run));
    run->budget.limit = UINT64_C(1) << 30;
    run->options = (hws_codec_options_t){
        .header = 65536,
        .buffer = 262144,
        .streams = 100,
        .windows = {1U << 20, 16U << 20, 16U << 20, 64U << 20},
    };
    if (options != NULL)
        run->options = *options;
    run->options.fields = &run->fields;
    run->options.budget = &run->budget;
    return hws_h2_create(&run->options, &run->codec);
}

/* What must hold after every call. */
static inline void h2_run_check(const h2_run_t *run)
{
    const hws_codec_t *codec = run->codec;

    H2_MUST(codec != NULL && codec->wants_bytes);
    H2_MUST(codec->room <= codec->cap && codec->cap <= run->options.streams);
    H2_MUST(codec->room == 0 || !codec->is_last);
    H2_MUST(run->failure == HWS_OK || codec->is_last);
}

static inline int h2_run_open(h2_run_t *run, size_t index, const hws_message_t *message)
{
    static const hws_stream_events_t events = {
        .on_head = h2_on_head,
        .on_body = h2_on_body,
        .on_trailers = h2_on_trailers,
        .on_end = h2_on_end,
        .on_writable = h2_on_writable,
    };
    h2_told_t *told = &run->told[index];
    uint8_t urgency = told->stream.urgency;
    int rc;

    H2_MUST(run->codec != NULL);
    *told = (h2_told_t){.takes = SIZE_MAX};
    told->stream.events = &events;
    told->stream.urgency = urgency;
    rc = run->codec->ops->open(run->codec, &told->stream, message, NULL);
    told->is_open = rc == HWS_OK;
    H2_MUST(rc != HWS_OK || told->stream.part != NULL);
    h2_run_check(run);
    return rc;
}

static inline int h2_run_flush(h2_run_t *run, size_t room)
{
    int rc;

    H2_MUST(run->codec != NULL);
    rc = run->codec->ops->flush(run->codec, room, &run->out);
    H2_MUST(run->failure == HWS_OK || rc == run->failure);
    run->failure = rc;
    h2_run_check(run);
    return rc;
}

/* Feeds a piece, from memory of exactly its size so that a sanitizer sees one byte read too many. */
static inline int h2_run_feed(h2_run_t *run, const void *bytes, size_t size)
{
    char *copy;
    int rc;

    if (size == 0)
        return HWS_OK;
    copy = malloc(size);
    H2_MUST(copy != NULL);
    memcpy(copy, bytes, size);
    rc = run->codec->ops->feed(run->codec, copy, size);
    free(copy);
    H2_MUST(run->failure == HWS_OK || rc == run->failure);
    run->failure = rc;
    h2_run_check(run);
    return rc;
}

static inline void h2_run_reset(h2_run_t *run, size_t index, uint32_t code)
{
    h2_told_t *told = &run->told[index];

    run->codec->ops->reset(run->codec, &told->stream, code);
    H2_MUST(told->stream.part == NULL);
    told->is_open = false;
    h2_run_check(run);
}

/* As a connection does that closes. */
static inline void h2_run_dispose(h2_run_t *run)
{
    size_t i;

    if (run->codec != NULL) {
        for (i = 0; i < H2_STREAMS; i++)
            if (run->told[i].stream.part != NULL)
                h2_run_reset(run, i, HWS_CODEC_CANCEL);
        run->codec->ops->destroy(run->codec);
    }
    H2_MUST(run->budget.used == 0);
    hws_buffer_dispose(&run->out);
    hws_free(run->fields.items);
}

#endif
