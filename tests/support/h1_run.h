/* h1_run.h - one exchange on an h1 codec, and an account of all that its stream was told.
 *
 * The account holds everything but how bodies were cut, so that two runs of the same bytes can be
 * compared. It watches that the stream is told things in order and nothing after the end. */
#ifndef TESTS_SUPPORT_H1_RUN_H
#define TESTS_SUPPORT_H1_RUN_H

#include "base/memory.h"
#include "codec/h1.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands where assert() must hold in every build. */
#define H1_MUST(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct {
    char *bytes; /* its own memory, not the core's, whose failures are counted */
    size_t size;
    size_t capacity;
} h1_text_t;

typedef struct {
    hws_stream_t stream;
    hws_codec_t *codec;
    hws_fields_t fields;
    hws_buffer_t out;
    h1_text_t outcome; /* in the words of h1_vectors.h */
    h1_text_t details; /* all fields of the head */
    uint64_t body_size;
    uint64_t unread;
    unsigned consumes; /* of every 4 body bytes, at once */
    bool has_head;
    bool has_body;
    bool has_trailers;
    bool has_ended;
    bool is_over; /* with an error from the codec */
} h1_run_t;

static inline void h1_text_add(h1_text_t *text, const char *bytes, size_t size)
{
    while (text->capacity - text->size < size + 1) {
        text->capacity = text->capacity > 0 ? text->capacity * 2 : 1024;
        text->bytes = realloc(text->bytes, text->capacity);
        H1_MUST(text->bytes != NULL);
    }
    if (size > 0)
        memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

__attribute__((format(printf, 2, 3))) static inline void h1_say(h1_text_t *text, const char *format,
                                                                ...)
{
    char line[256];
    va_list list;
    int size;

    va_start(list, format);
    size = vsnprintf(line, sizeof(line), format, list);
    va_end(list);
    if (text->size > 0)
        h1_text_add(text, " ", 1);
    h1_text_add(text, line, (size_t)size);
}

static inline void h1_say_fields(h1_text_t *text, const hws_head_t *head)
{
    uint32_t i;

    h1_say(text, "{");
    for (i = 0; i < head->count; i++) {
        hws_slice_t name = hws_head_name(head, i);
        hws_slice_t value = hws_head_value(head, i);

        H1_MUST(name.data + name.size < value.data + value.size + 1);
        H1_MUST(value.data + value.size <= head->bytes + head->size);
        if (i > 0)
            h1_text_add(text, ", ", 2);
        h1_text_add(text, name.data, name.size);
        h1_text_add(text, ": ", 2);
        h1_text_add(text, value.data, value.size);
    }
    h1_text_add(text, "}", 1);
}

static inline h1_run_t *h1_run_of(hws_stream_t *stream)
{
    h1_run_t *run = HWS_CONTAINER(stream, h1_run_t, stream);

    H1_MUST(!run->has_ended && !run->is_over);
    return run;
}

/* Ends the quotes around the body. */
static inline void h1_end_body(h1_run_t *run)
{
    if (run->has_body)
        h1_text_add(&run->outcome, "'", 1);
    run->has_body = false;
}

static inline void h1_on_head(hws_stream_t *stream, const hws_head_t *head)
{
    h1_run_t *run = h1_run_of(stream);

    H1_MUST(!run->has_head);
    H1_MUST(head->status >= 200 && head->status <= 599);
    H1_MUST(head->version == 10 || head->version == 11);
    H1_MUST(head->reason + head->reason_size <= head->size);
    run->has_head = true;
    h1_say(&run->outcome, "%u", head->status);
    h1_say(&run->details, "%u \"%.*s\" %u", head->version,
           (int)(head->reason_size < 100 ? head->reason_size : 100), head->bytes + head->reason,
           head->size);
    h1_say_fields(&run->details, head);
}

static inline size_t h1_on_body(hws_stream_t *stream, const char *data, size_t size)
{
    h1_run_t *run = h1_run_of(stream);
    uint64_t before = run->body_size;
    size_t consumed;
    size_t i;

    H1_MUST(run->has_head && !run->has_trailers && size > 0);
    if (!run->has_body)
        h1_say(&run->outcome, "'");
    run->has_body = true;
    for (i = 0; i < size; i++)
        h1_text_add(&run->outcome, data[i] == '\0' ? "\\0" : data + i, data[i] == '\0' ? 2 : 1);
    run->body_size += size;
    /* So many of the bytes so far, however they are cut. */
    consumed = (size_t)(run->body_size * run->consumes / 4 - before * run->consumes / 4);
    run->unread += size - consumed;
    return consumed;
}

static inline void h1_on_trailers(hws_stream_t *stream, const hws_head_t *trailers)
{
    h1_run_t *run = h1_run_of(stream);

    H1_MUST(run->has_head && !run->has_trailers);
    H1_MUST(trailers->count > 0 && trailers->status == 0);
    run->has_trailers = true;
    h1_end_body(run);
    h1_say_fields(&run->outcome, trailers);
}

static inline void h1_on_end(hws_stream_t *stream, int status)
{
    h1_run_t *run = h1_run_of(stream);

    H1_MUST(run->has_head && status == HWS_OK);
    h1_end_body(run);
    h1_say(&run->outcome, "end");
    run->has_ended = true;
}

static const hws_stream_events_t h1_run_events = {.on_head = h1_on_head,
                                                  .on_body = h1_on_body,
                                                  .on_trailers = h1_on_trailers,
                                                  .on_end = h1_on_end};

static inline int h1_run_create(h1_run_t *run, size_t header, size_t buffer)
{
    hws_codec_options_t options = {.header = header, .buffer = buffer, .fields = &run->fields};

    *run = (h1_run_t){.stream.events = &h1_run_events, .consumes = 4};
    return hws_h1_create(&options, &run->codec);
}

static inline int h1_run_open(h1_run_t *run, const char *method, hws_body_kind_t body,
                              uint64_t body_size)
{
    hws_message_t message = {.method = {method, strlen(method)},
                             .target = HWS_SLICE("/"),
                             .authority = HWS_SLICE("a"),
                             .body = body,
                             .body_size = body_size};

    return run->codec->ops->open(run->codec, &run->stream, &message, &run->out);
}

static inline void h1_run_check(const h1_run_t *run)
{
    const hws_codec_t *codec = run->codec;

    H1_MUST(codec->room <= 1);
    H1_MUST(codec->room == 0 || !codec->is_last);
    H1_MUST(codec->room == 0 || run->has_ended || !run->has_head);
    H1_MUST(!run->is_over || codec->is_last);
}

static inline void h1_run_fail(h1_run_t *run, int code)
{
    h1_end_body(run);
    h1_say(&run->outcome, "%s", hws_error_name(code));
    run->is_over = true;
}

/* Feeds a piece, from memory of exactly its size so that a sanitizer sees one byte read too many.
 * What comes when the exchange is over is what closes the connection. */
static inline void h1_run_feed(h1_run_t *run, const char *bytes, size_t size)
{
    bool had_ended = run->has_ended;
    char *copy;
    int rc;

    if (run->is_over || size == 0)
        return;
    copy = malloc(size);
    H1_MUST(copy != NULL);
    memcpy(copy, bytes, size);
    rc = run->codec->ops->feed(run->codec, copy, size);
    free(copy);
    if (had_ended)
        H1_MUST(rc == HWS_ERR_UNEXPECTED);
    else if (rc != HWS_OK)
        h1_run_fail(run, rc);
    if (had_ended)
        run->is_over = true;
    h1_run_check(run);
}

/* The peer's FIN, if the exchange is still open; then the last words of the account. */
static inline void h1_run_finish(h1_run_t *run)
{
    int rc;

    if (!run->has_ended && !run->is_over && (rc = run->codec->ops->feed_end(run->codec)) != HWS_OK)
        h1_run_fail(run, rc);
    h1_run_check(run);
    if (!run->has_ended)
        return;
    h1_say(&run->outcome, run->codec->room > 0 ? "keep" : "close");
    if (run->codec->idle_hint != HWS_NEVER)
        h1_say(&run->outcome, "hint=%lld", (long long)(run->codec->idle_hint / HWS_S(1)));
}

static inline void h1_run_dispose(h1_run_t *run)
{
    if (run->codec != NULL) {
        run->codec->ops->reset(run->codec, &run->stream, 0);
        run->codec->ops->destroy(run->codec);
    }
    hws_buffer_dispose(&run->out);
    hws_free(run->fields.items);
    free(run->outcome.bytes);
    free(run->details.bytes);
}

static inline const char *h1_outcome(const h1_run_t *run)
{
    return run->outcome.bytes != NULL ? run->outcome.bytes : "";
}

static inline const char *h1_details(const h1_run_t *run)
{
    return run->details.bytes != NULL ? run->details.bytes : "";
}

#endif
