#include "codec/h1.h"

#include "base/memory.h"
#include "codec/h1_chunk.h"
#include "codec/h1_framing.h"
#include "codec/h1_parse.h"

#include <assert.h>
#include <string.h>

#define LONGEST_CHUNK_LINE 4096U
#define MOST_INFORMATIONAL 8
#define START_SIZE 12       /* of "HTTP/1.1 200" */
#define BYTES_PER_FIELD 32U /* of limits.header */

/* Where in a response the next byte stands. */
typedef enum {
    IDLE,        /* in none */
    HEAD,        /* 1xx included */
    SIZED,       /* `left` bytes of body are due */
    UNTIL_CLOSE, /* what comes is body */
    CHUNK_LINE,  /* size and extensions */
    CHUNK,       /* `left` bytes of a chunk are due */
    CHUNK_CR,    /* the CRLF behind it */
    CHUNK_LF,
    TRAILERS,
    SPENT /* beyond use */
} place_t;

typedef struct {
    hws_codec_t base;
    hws_fields_t *fields;
    hws_stream_t *stream; /* NULL while no exchange is open */
    size_t buffer;
    size_t unread;
    uint32_t limit; /* options.header */
    uint8_t place;
    uint8_t informational; /* 1xx that this exchange has had */
    bool is_head_only;     /* the request was HEAD: no body follows */
    bool is_chunking;      /* the request's body goes out in chunks */
    bool is_sent;          /* the request is out whole */
    uint64_t to_send;      /* of the request's body, when its size is known */
    uint64_t left;         /* of the body or of the chunk */
    hws_h1_chunk_t chunk;  /* zeroed between chunk lines */
    /* An unfinished head or trailer section: its bytes, and how many of them, and of its fields,
     * have been taken as whole lines. */
    hws_buffer_t carry;
    uint32_t carry_taken;
    uint32_t carry_count;
} h1_t;

_Static_assert(sizeof(h1_t) <= 160, "thousands of idle connections have one each");

static h1_t *h1_of(hws_codec_t *codec)
{
    return (h1_t *)(void *)codec;
}

/* The one door. */
static void enter(h1_t *h1, place_t next)
{
    h1->place = (uint8_t)next;
    h1->base.room = next == IDLE ? 1 : 0;
    if (next == SPENT)
        h1->base.is_last = true;
}

/* Ends the exchange, whose stream gets no event from here on. */
static hws_stream_t *leave(h1_t *h1)
{
    hws_stream_t *stream = h1->stream;

    h1->stream = NULL;
    h1->unread = 0;
    h1->base.wants_bytes = true;
    if (h1->carry.data != NULL)
        hws_buffer_dispose(&h1->carry);
    enter(h1, h1->base.is_last ? SPENT : IDLE);
    return stream;
}

static int fail(h1_t *h1, int code)
{
    h1->base.is_last = true;
    leave(h1);
    return code;
}

/* The response is complete. When the request is not, or when more bytes follow although no one
 * asked for them, nobody can tell any more what the next bytes would belong to. */
static void finish(h1_t *h1, bool has_more)
{
    hws_stream_t *stream;

    if (!h1->is_sent || has_more)
        h1->base.is_last = true;
    stream = leave(h1);
    stream->events->on_end(stream, HWS_OK);
}

/* Requests ----------------------------------------------------------------------------------- */

static char *put(char *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)
#define PUT_SLICE(to, slice) put(to, (slice).data, (slice).size)

#define LONGEST_NUMBER 20

static char *put_number(char *to, uint64_t number)
{
    char digits[LONGEST_NUMBER];
    char *first = digits + sizeof(digits);

    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return put(to, first, (size_t)(digits + sizeof(digits) - first));
}

static bool is_method(const hws_message_t *message, const char *method, size_t size)
{
    return message->method.size == size && memcmp(message->method.data, method, size) == 0;
}

#define IS_METHOD(message, literal) is_method(message, literal, sizeof(literal) - 1)

/* A method that gives its body a meaning says so when there is none (RFC 9110, 8.6). */
static bool says_no_body(const hws_message_t *message)
{
    return IS_METHOD(message, "POST") || IS_METHOD(message, "PUT") || IS_METHOD(message, "PATCH");
}

static char *put_framing(char *to, const hws_message_t *message)
{
    switch (message->body) {
    case HWS_BODY_NONE:
        return says_no_body(message) ? PUT(to, "Content-Length: 0\r\n") : to;
    case HWS_BODY_SIZED:
        to = put_number(PUT(to, "Content-Length: "), message->body_size);
        return PUT(to, "\r\n");
    case HWS_BODY_CHUNKED:
        return PUT(to, "Transfer-Encoding: chunked\r\n");
    }
    return to;
}

/* What all but the slices can come to. */
#define LONGEST_FRAME                                                                              \
    (sizeof("  HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n") + LONGEST_NUMBER)

static int write_head(const hws_message_t *message, hws_buffer_t *out)
{
    size_t most = message->method.size + message->target.size + message->authority.size +
                  message->fields.size + LONGEST_FRAME;
    char *to;

    if (hws_buffer_reserve(out, most) != HWS_OK)
        return HWS_ERR_NOMEM;
    to = out->data + out->tail;
    to = PUT_SLICE(to, message->method);
    *to++ = ' ';
    to = PUT_SLICE(to, message->target);
    to = PUT(to, " HTTP/1.1\r\n");
    if (message->authority.size > 0) {
        to = PUT(to, "Host: ");
        to = PUT_SLICE(to, message->authority);
        to = PUT(to, "\r\n");
    }
    if (message->fields.size > 0)
        to = PUT_SLICE(to, message->fields);
    to = put_framing(to, message);
    to = PUT(to, "\r\n");
    out->tail = (size_t)(to - out->data);
    return HWS_OK;
}

static int h1_open(hws_codec_t *codec, hws_stream_t *stream, const hws_message_t *message,
                   hws_buffer_t *out)
{
    h1_t *h1 = h1_of(codec);

    assert(codec->room > 0 && h1->stream == NULL);
    /* A tunnel is no exchange: what follows its head is not HTTP. */
    if (IS_METHOD(message, "CONNECT"))
        return HWS_ERR_UNSUPPORTED;
    if (write_head(message, out) != HWS_OK)
        return HWS_ERR_NOMEM;
    h1->stream = stream;
    h1->informational = 0;
    h1->is_head_only = IS_METHOD(message, "HEAD");
    h1->is_chunking = message->body == HWS_BODY_CHUNKED;
    h1->to_send = message->body == HWS_BODY_SIZED ? message->body_size : 0;
    h1->is_sent = !h1->is_chunking && h1->to_send == 0;
    enter(h1, HEAD);
    return HWS_OK;
}

#define LAST_CHUNK "0\r\n\r\n"

static int write_chunk(const char *data, size_t size, bool end, hws_buffer_t *out)
{
    static const char digits[] = "0123456789abcdef";
    char line[16 + 2] = "                \r\n";
    char *first = line + 16;
    size_t number = size;
    char *to;

    if (hws_buffer_reserve(out, sizeof(line) + size + 2 + sizeof(LAST_CHUNK)) != HWS_OK)
        return HWS_ERR_NOMEM;
    to = out->data + out->tail;
    if (size > 0) {
        for (; number > 0; number >>= 4)
            *--first = digits[number & 15];
        to = put(to, first, (size_t)(line + sizeof(line) - first));
        to = put(to, data, size);
        to = PUT(to, "\r\n");
    }
    if (end)
        to = PUT(to, LAST_CHUNK);
    out->tail = (size_t)(to - out->data);
    return HWS_OK;
}

static int h1_send(hws_codec_t *codec, hws_stream_t *stream, const char *data, size_t size,
                   bool end, hws_buffer_t *out, size_t *taken)
{
    h1_t *h1 = h1_of(codec);
    int rc;

    assert(h1->stream == stream);
    assert(h1->is_chunking ? !h1->is_sent : size <= h1->to_send);
    assert(h1->is_chunking || !end || size == h1->to_send);
    (void)stream;
    if (h1->is_chunking)
        rc = write_chunk(data, size, end, out);
    else
        rc = hws_buffer_append(out, data, size);
    if (rc != HWS_OK)
        return rc;
    if (h1->is_chunking)
        h1->is_sent = end;
    else
        h1->is_sent = (h1->to_send -= size) == 0;
    *taken = size;
    return HWS_OK;
}

/* Responses ---------------------------------------------------------------------------------- */

static bool has_no_body(const h1_t *h1, uint16_t status)
{
    return h1->is_head_only || status == 204 || status == 304;
}

static int on_informational(h1_t *h1, uint16_t status)
{
    if (status == 101)
        return HWS_ERR_UPGRADE;
    if (++h1->informational > MOST_INFORMATIONAL)
        return HWS_ERR_INFORMATIONAL;
    return HWS_OK;
}

static uint64_t announced(const h1_t *h1, const hws_head_t *head, const hws_h1_framing_t *framing)
{
    if (has_no_body(h1, head->status))
        return 0;
    return framing->has_length ? framing->length : HWS_BODY_UNKNOWN;
}

/* A whole head, with `has_more` bytes behind it (RFC 9112, 6.3). */
static int on_head(h1_t *h1, const hws_head_t *head, bool has_more)
{
    hws_h1_framing_t framing;
    int rc;

    if ((rc = hws_h1_framing(head, &framing)) != HWS_OK)
        return rc;
    if (!framing.keeps_alive)
        h1->base.is_last = true;
    if (head->status < 200)
        return on_informational(h1, head->status);
    if (framing.idle_hint >= 0)
        h1->base.idle_hint = framing.idle_hint;

    h1->stream->announced = announced(h1, head, &framing);
    h1->stream->events->on_head(h1->stream, head);
    if (h1->stream->announced == 0) {
        finish(h1, has_more);
    } else if (framing.is_chunked) {
        enter(h1, CHUNK_LINE);
    } else if (framing.has_length) {
        h1->left = framing.length;
        enter(h1, SIZED);
    } else {
        h1->base.is_last = true;
        enter(h1, UNTIL_CLOSE);
    }
    return HWS_OK;
}

static int on_section(h1_t *h1, const hws_head_t *section, bool has_more)
{
    if (h1->place == HEAD)
        return on_head(h1, section, has_more);
    if (section->count > 0)
        h1->stream->events->on_trailers(h1->stream, section);
    finish(h1, has_more);
    return HWS_OK;
}

static int parse(const h1_t *h1, hws_head_t *section, const char *end)
{
    uint32_t most = h1->limit / BYTES_PER_FIELD;

    if (h1->place == HEAD)
        return hws_h1_parse_head(section, end, most, h1->fields);
    section->version = 11; /* chunked exists in no other */
    return hws_h1_parse_trailers(section, end, most, h1->fields);
}

/* Goes on with a section of which a part is carried, by one line at most: so its lines are looked
 * at twice, here as they come and in the end together, however small the pieces are. */
static int carry_line(h1_t *h1, const char **at, const char *end)
{
    size_t room = h1->limit - hws_buffer_size(&h1->carry);
    size_t size = (size_t)(end - *at) < room ? (size_t)(end - *at) : room;
    const char *line_feed = memchr(*at, '\n', size);
    hws_head_t section;
    int rc;

    if (line_feed != NULL)
        size = (size_t)(line_feed + 1 - *at);
    if (hws_buffer_append(&h1->carry, *at, size) != HWS_OK)
        return HWS_ERR_NOMEM;
    *at += size;
    /* Between line feeds only the first bytes of a head can tell anything. */
    if (line_feed != NULL || hws_buffer_size(&h1->carry) - size < START_SIZE) {
        section = (hws_head_t){.bytes = hws_buffer_bytes(&h1->carry),
                               .size = h1->carry_taken,
                               .count = h1->carry_count};
        rc = parse(h1, &section, section.bytes + hws_buffer_size(&h1->carry));
        h1->carry_taken = section.size;
        h1->carry_count = section.count;
        if (rc != HWS_AGAIN)
            return rc;
    }
    return hws_buffer_size(&h1->carry) == h1->limit ? HWS_ERR_HEAD_SIZE : HWS_AGAIN;
}

/* All lines are there and right: once more, for their fields. */
static int join(h1_t *h1, bool has_more)
{
    hws_buffer_t whole = h1->carry;
    hws_head_t section = {.bytes = whole.data};
    int rc;

    h1->carry = (hws_buffer_t){0};
    rc = parse(h1, &section, whole.data + hws_buffer_size(&whole));
    if (rc == HWS_OK)
        rc = on_section(h1, &section, has_more);
    hws_buffer_dispose(&whole);
    return rc;
}

static int take_carried(h1_t *h1, const char **at, const char *end)
{
    int rc = HWS_AGAIN;

    while (*at < end && rc == HWS_AGAIN)
        rc = carry_line(h1, at, end);
    return rc == HWS_OK ? join(h1, *at < end) : rc;
}

static int take_section(h1_t *h1, const char **at, const char *end)
{
    hws_head_t section = {.bytes = *at};
    const char *limit = (size_t)(end - *at) > h1->limit ? *at + h1->limit : end;
    int rc;

    if (!hws_buffer_is_empty(&h1->carry))
        return take_carried(h1, at, end);
    rc = parse(h1, &section, limit);
    if (rc == HWS_OK) {
        *at += section.size;
        return on_section(h1, &section, *at < end);
    }
    if (rc != HWS_AGAIN)
        return rc;
    if ((size_t)(limit - *at) == h1->limit)
        return HWS_ERR_HEAD_SIZE;
    h1->carry_taken = section.size;
    h1->carry_count = section.count;
    rc = hws_buffer_append(&h1->carry, *at, (size_t)(end - *at));
    *at = end;
    return rc;
}

static void deliver(h1_t *h1, const char *data, size_t size)
{
    size_t consumed = h1->stream->events->on_body(h1->stream, data, size);

    assert(consumed <= size);
    h1->unread += size - consumed;
    if (h1->unread > 0 && h1->unread >= h1->buffer)
        h1->base.wants_bytes = false;
}

/* Hands over what there is of the `left` bytes; whether that was the last of them. */
static bool deliver_left(h1_t *h1, const char **at, const char *end)
{
    size_t size = (size_t)(end - *at);

    if (size > h1->left)
        size = (size_t)h1->left;
    deliver(h1, *at, size);
    *at += size;
    h1->left -= size;
    return h1->left == 0;
}

static int take_chunk_line(h1_t *h1, const char **at, const char *end)
{
    uint32_t most = h1->limit < LONGEST_CHUNK_LINE ? h1->limit : LONGEST_CHUNK_LINE;
    int rc = hws_h1_chunk_line(&h1->chunk, at, end, most);

    if (rc != HWS_OK)
        return rc;
    h1->left = h1->chunk.size;
    h1->chunk = (hws_h1_chunk_t){0};
    enter(h1, h1->left > 0 ? CHUNK : TRAILERS);
    return HWS_OK;
}

/* Takes at least one byte. */
static int take(h1_t *h1, const char **at, const char *end)
{
    switch ((place_t)h1->place) {
    case HEAD:
    case TRAILERS:
        return take_section(h1, at, end);
    case SIZED:
        if (deliver_left(h1, at, end))
            finish(h1, *at < end);
        return HWS_OK;
    case UNTIL_CLOSE:
        deliver(h1, *at, (size_t)(end - *at));
        *at = end;
        return HWS_OK;
    case CHUNK_LINE:
        return take_chunk_line(h1, at, end);
    case CHUNK:
        if (deliver_left(h1, at, end))
            enter(h1, CHUNK_CR);
        return HWS_OK;
    case CHUNK_CR:
        enter(h1, CHUNK_LF);
        return *(*at)++ == '\r' ? HWS_OK : HWS_ERR_CHUNK;
    case CHUNK_LF:
        enter(h1, CHUNK_LINE);
        return *(*at)++ == '\n' ? HWS_OK : HWS_ERR_CHUNK;
    case IDLE:
    case SPENT:
        break;
    }
    return HWS_ERR_UNEXPECTED;
}

static int h1_feed(hws_codec_t *codec, const char *bytes, size_t size)
{
    h1_t *h1 = h1_of(codec);
    const char *at = bytes;
    const char *end = bytes + size;
    int rc;

    if (h1->stream == NULL && size > 0)
        return fail(h1, HWS_ERR_UNEXPECTED);
    while (at < end && h1->stream != NULL) {
        rc = take(h1, &at, end);
        if (rc != HWS_OK && rc != HWS_AGAIN)
            return fail(h1, rc);
    }
    return HWS_OK;
}

static int h1_feed_end(hws_codec_t *codec)
{
    h1_t *h1 = h1_of(codec);

    codec->is_last = true;
    if (h1->place == UNTIL_CLOSE) {
        finish(h1, false);
        return HWS_OK;
    }
    return fail(h1, h1->stream == NULL ? HWS_OK : HWS_ERR_EOF);
}

static int h1_credit(hws_codec_t *codec, hws_stream_t *stream, size_t size)
{
    h1_t *h1 = h1_of(codec);

    if (h1->stream != stream) /* its exchange is over, and nothing of it counts any more */
        return HWS_OK;
    assert(size <= h1->unread);
    h1->unread -= size;
    if (h1->unread <= h1->buffer / 2)
        codec->wants_bytes = true;
    return HWS_OK;
}

/* What is still to come of the exchange cannot be told from a next one. */
static void h1_reset(hws_codec_t *codec, hws_stream_t *stream, uint32_t code)
{
    h1_t *h1 = h1_of(codec);

    (void)code;
    if (h1->stream == stream)
        fail(h1, HWS_ERR_CANCELED);
}

static void h1_destroy(hws_codec_t *codec)
{
    h1_t *h1 = h1_of(codec);

    assert(h1->stream == NULL);
    hws_buffer_dispose(&h1->carry);
    hws_free(h1);
}

static const hws_codec_ops_t ops = {
    .feed = h1_feed,
    .feed_end = h1_feed_end,
    .open = h1_open,
    .send = h1_send,
    .credit = h1_credit,
    .reset = h1_reset,
    .destroy = h1_destroy,
};

int hws_h1_create(const hws_codec_options_t *options, hws_codec_t **out)
{
    h1_t *h1 = hws_zalloc(sizeof(*h1));

    if (h1 == NULL)
        return HWS_ERR_NOMEM;
    h1->base = (hws_codec_t){.ops = &ops, .wants_bytes = true, .idle_hint = HWS_NEVER};
    h1->fields = options->fields;
    h1->buffer = options->buffer;
    h1->limit = options->header < UINT32_MAX ? (uint32_t)options->header : UINT32_MAX;
    enter(h1, IDLE);
    *out = &h1->base;
    return HWS_OK;
}
