/* The HTTP/2 codec against bytes by hand, which no server of good will would say. */
#include "support/h2_pair.h"

/* Bytes by hand ------------------------------------------------------------------------------ */

static uint8_t raw[1 << 20];
static size_t raw_size;

static void put(const void *bytes, size_t size)
{
    assert_true(raw_size + size <= sizeof(raw));
    memcpy(raw + raw_size, bytes, size);
    raw_size += size;
}

static void put_frame_head(size_t size, uint8_t type, uint8_t flags, uint32_t id)
{
    uint8_t head[9] = {
        (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size,      type,       flags,
        (uint8_t)(id >> 24),   (uint8_t)(id >> 16),  (uint8_t)(id >> 8), (uint8_t)id};

    put(head, sizeof(head));
}

static void put_frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t size)
{
    put_frame_head(size, type, flags, id);
    put(payload, size);
}

#define FRAME(type, flags, id, payload) put_frame(type, flags, id, payload, sizeof(payload) - 1)

/* Frames of ours that the peer would get: the code of the first of `type`, or UINT32_MAX. */
static uint32_t code_sent(uint8_t type)
{
    const uint8_t *at = (const uint8_t *)hws_buffer_bytes(&client.out);
    const uint8_t *end = at + hws_buffer_size(&client.out);

    while (end - at >= 9) {
        size_t size = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
        const uint8_t *payload = at + 9 + (type == NGHTTP2_GOAWAY ? 4 : 0);

        if (at[3] == type)
            return (uint32_t)payload[0] << 24 | (uint32_t)payload[1] << 16 |
                   (uint32_t)payload[2] << 8 | payload[3];
        at += 9 + size;
    }
    return UINT32_MAX;
}

#define STATUS_200 "\x88"
#define HEAD_FLAGS NGHTTP2_FLAG_END_HEADERS

/* A client with two GETs open, whose SETTINGS were answered; stream 1 has a head when asked for. */
static void begin_raw(bool has_head)
{
    raw_size = 0;
    FRAME(NGHTTP2_SETTINGS, 0, 0, "");
    FRAME(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "");
    open_get(0);
    open_get(1);
    (void)h2_run_flush(&client, 65536);
    hws_buffer_clear(&client.out);
    if (has_head)
        FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1, STATUS_200);
}

/* Where the seeds of the fuzz target go, when they are asked for. */
static const char *corpus;

static void write_seed(void)
{
    static const char two_gets[] = {2, 0, 0, 0};
    static unsigned count;
    char path[512];
    FILE *file;

    if (corpus == NULL || way != WHOLE || raw_size > 1000)
        return;
    snprintf(path, sizeof(path), "%s/%03u", corpus, count++);
    assert_non_null(file = fopen(path, "wb"));
    assert_int_equal(fwrite(two_gets, 1, sizeof(two_gets), file), sizeof(two_gets));
    assert_int_equal(fwrite(raw, 1, raw_size, file), raw_size);
    assert_int_equal(fclose(file), 0);
}

static void feed_raw(void)
{
    write_seed();
    feed(raw, raw_size);
    raw_size = 0;
    (void)h2_run_flush(&client, 65536);
}

static void expect_breach(int code, uint32_t number)
{
    if (client.failure != code)
        print_error("%s instead of %s\n", hws_error_name(client.failure), hws_error_name(code));
    assert_int_equal(client.failure, code);
    assert_int_equal(hws_error_kind(code), HWS_KIND_PROTOCOL);
    assert_int_equal(code_sent(NGHTTP2_GOAWAY), number);
    assert_true(client.codec->is_last);
    assert_int_equal(client.codec->room, 0);
}

/* One stream is refused, and the connection goes on. */
static void expect_refused(int code, uint32_t number)
{
    expect_end(0, code);
    assert_int_equal(client.failure, HWS_OK);
    assert_int_equal(code_sent(NGHTTP2_RST_STREAM), number);
    assert_int_equal(client.told[1].ends, 0);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, 3, STATUS_200);
    feed_raw();
    expect_end(1, HWS_OK);
}

typedef struct {
    const char *name;
    uint8_t type;
    uint8_t flags;
    uint32_t id;
    const char *payload;
    size_t size;
    int code;
    uint32_t number;
} violation_t;

#define VIOLATION(name, type, flags, id, payload, code, number)                                    \
    {                                                                                              \
        name, NGHTTP2_##type, flags, id, payload, sizeof(payload) - 1, HWS_ERR_##code,             \
            NGHTTP2_##number                                                                       \
    }

static void violations_end_the_connection(void **state)
{
    static const violation_t cases[] = {
        VIOLATION("SETTINGS of a wrong size", SETTINGS, 0, 0, "12345", H2_FRAME_SIZE,
                  FRAME_SIZE_ERROR),
        VIOLATION("PING of a wrong size", PING, 0, 0, "1234567", H2_FRAME_SIZE, FRAME_SIZE_ERROR),
        VIOLATION("RST_STREAM of a wrong size", RST_STREAM, 0, 1, "12345", H2_FRAME_SIZE,
                  FRAME_SIZE_ERROR),
        VIOLATION("WINDOW_UPDATE of a wrong size", WINDOW_UPDATE, 0, 0, "123", H2_FRAME_SIZE,
                  FRAME_SIZE_ERROR),
        VIOLATION("SETTINGS on a stream", SETTINGS, 0, 1, "", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("PING on a stream", PING, 0, 1, "12345678", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("a push enabled", SETTINGS, 0, 0, "\0\2\0\0\0\1", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("a window too large", SETTINGS, 0, 0, "\0\4\x80\0\0\0", H2_FLOW_CONTROL,
                  FLOW_CONTROL_ERROR),
        VIOLATION("frames too small", SETTINGS, 0, 0, "\0\5\0\0\0\1", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("DATA on no stream", DATA, 0, 0, "x", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("DATA on an idle stream", DATA, 0, 5, "x", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("DATA on a pushed stream", DATA, 0, 2, "x", H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("DATA that is all padding and more", DATA, NGHTTP2_FLAG_PADDED, 1, "\5x",
                  H2_PROTOCOL, PROTOCOL_ERROR),
        VIOLATION("HEADERS on an idle stream", HEADERS, HEAD_FLAGS, 5, STATUS_200, H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("HEADERS on no stream", HEADERS, HEAD_FLAGS, 0, STATUS_200, H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("HEADERS on a pushed stream", HEADERS, HEAD_FLAGS, 2, STATUS_200, H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("a push", PUSH_PROMISE, HEAD_FLAGS, 1, "\0\0\0\2\x82", H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("CONTINUATION of nothing", CONTINUATION, HEAD_FLAGS, 1, "", H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("RST_STREAM of an idle stream", RST_STREAM, 0, 5, "\0\0\0\0", H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("RST_STREAM of no stream", RST_STREAM, 0, 0, "\0\0\0\0", H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("a window opened by nothing", WINDOW_UPDATE, 0, 0, "\0\0\0\0", H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("the connection's window too large", WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff",
                  H2_FLOW_CONTROL, FLOW_CONTROL_ERROR),
        VIOLATION("an index of no table", HEADERS, HEAD_FLAGS, 1, "\xff\x7f", H2_COMPRESSION,
                  COMPRESSION_ERROR),
        VIOLATION("a table larger than allowed", HEADERS, HEAD_FLAGS, 1, "\x3f\xff\xff\x7f\x88",
                  H2_COMPRESSION, COMPRESSION_ERROR),
        VIOLATION("half a field", HEADERS, HEAD_FLAGS, 1,
                  "\x00\x05"
                  "ab",
                  H2_COMPRESSION, COMPRESSION_ERROR),
        VIOLATION("GOAWAY on a stream", GOAWAY, 0, 1, "\0\0\0\0\0\0\0\0", H2_PROTOCOL,
                  PROTOCOL_ERROR),
        VIOLATION("GOAWAY for a stream of its own", GOAWAY, 0, 0, "\0\0\0\2\0\0\0\0", H2_PROTOCOL,
                  PROTOCOL_ERROR),
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const violation_t *it = &cases[i];

        begin_raw(false);
        put_frame(it->type, it->flags, it->id, it->payload, it->size);
        FRAME(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, 3, STATUS_200);
        feed_raw();
        if (client.failure != it->code)
            print_error("%s: ", it->name);
        expect_breach(it->code, it->number);
        finish(state);
        begin(state);
    }
}

static void a_frame_beyond_the_largest_size(void **state)
{
    (void)state;
    begin_raw(true);
    put_frame_head(16385, NGHTTP2_DATA, 0, 1);
    feed_raw();
    expect_breach(HWS_ERR_H2_FRAME_SIZE, NGHTTP2_FRAME_SIZE_ERROR);
}

static void another_frame_amid_a_header_block(void **state)
{
    (void)state;
    begin_raw(false);
    if (way == BYTES)
        way = RANDOM; /* nghttp2 counts the pieces of a frame's head as so many CONTINUATIONs */
    FRAME(NGHTTP2_HEADERS, 0, 1, STATUS_200);
    FRAME(NGHTTP2_PING, 0, 0, "12345678");
    feed_raw();
    expect_breach(HWS_ERR_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
}

static void frames_after_a_streams_end(void **state)
{
    (void)state;
    begin_raw(false);
    open_post(2, HWS_BODY_CHUNKED, 0);
    (void)h2_run_flush(&client, 65536);
    hws_buffer_clear(&client.out);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, 5, STATUS_200);
    FRAME(NGHTTP2_DATA, 0, 5, "x");
    feed_raw();
    expect_breach(HWS_ERR_H2_STREAM_CLOSED, NGHTTP2_STREAM_CLOSED);
    expect_end(2, HWS_OK);
}

/* As RFC 9113, 8.1, has it: who waits to send the rest finds out. */
static void a_reset_without_error_after_the_response_is_no_failure(void **state)
{
    size_t taken;

    (void)state;
    begin_raw(false);
    open_post(2, HWS_BODY_CHUNKED, 0);
    open_post(3, HWS_BODY_CHUNKED, 0);
    assert_int_equal(give(2, 0, 70000, false), 65536);
    (void)h2_run_flush(&client, 0);
    hws_buffer_clear(&client.out);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, 5, STATUS_200);
    FRAME(NGHTTP2_RST_STREAM, 0, 5, "\0\0\0\0");
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 7, STATUS_200);
    FRAME(NGHTTP2_RST_STREAM, 0, 7, "\0\0\0\0");
    feed_raw();
    expect_end(2, HWS_OK);
    assert_null(client.told[2].stream.part);
    assert_int_equal(client.told[2].writable, 1);
    assert_int_equal(
        client.codec->ops->send(client.codec, &client.told[2].stream, "x", 1, false, NULL, &taken),
        HWS_ERR_PIPE);
    expect_end(3, HWS_ERR_RST_NO_ERROR);
    assert_int_equal(client.codec->room, 98);
}

static void what_never_left_is_not_blamed(void **state)
{
    (void)state;
    begin_raw(false);
    open_get(2);
    FRAME(NGHTTP2_DATA, 0, 99, "x");
    way = WHOLE; /* else it leaves with the first byte */
    feed_raw();
    expect_breach(HWS_ERR_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
    expect_end(2, HWS_ERR_GOAWAY);
    assert_int_equal(client.told[0].ends, 0); /* the connection ends these, with the code */
}

static void what_is_not_http2_at_all(void **state)
{
    (void)state;
    begin_raw(false);
    raw_size = 0;
    put("HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    feed_raw();
    assert_true(client.failure != HWS_OK);
    assert_int_equal(hws_error_kind(client.failure), HWS_KIND_PROTOCOL);
}

static void malformed_heads_end_their_stream(void **state)
{
    static const struct {
        const char *name;
        const char *block;
        size_t size;
        uint8_t flags;
        int code;
    } cases[] = {
#define BLOCK(text) text, sizeof(text) - 1
        {"a large letter in a name",
         BLOCK("\x88\x00\x02"
               "aB\x01x"),
         0, HWS_ERR_FIELD},
        {"a space in a name",
         BLOCK("\x88\x00\x02"
               "a \x01x"),
         0, HWS_ERR_FIELD},
        {"no name", BLOCK("\x88\x00\x00\x01x"), 0, HWS_ERR_FIELD},
        {"NUL in a value",
         BLOCK("\x88\x00\x01"
               "a\x02x\0"),
         0, HWS_ERR_FIELD},
        {"CR LF in a value",
         BLOCK("\x88\x00\x01"
               "a\x04x\r\ny"),
         0, HWS_ERR_FIELD},
        {"DEL in a value",
         BLOCK("\x88\x00\x01"
               "a\x01\x7f"),
         0, HWS_ERR_FIELD},
        {"a space before a value",
         BLOCK("\x88\x00\x01"
               "a\x02 x"),
         0, HWS_ERR_FIELD},
        {"connection",
         BLOCK("\x88\x00\x0a"
               "connection\x05"
               "close"),
         0, HWS_ERR_FIELD},
        {"transfer-encoding",
         BLOCK("\x88\x00\x11"
               "transfer-encoding\x07"
               "chunked"),
         0, HWS_ERR_FIELD},
        {"keep-alive",
         BLOCK("\x88\x00\x0a"
               "keep-alive\x01"
               "5"),
         0, HWS_ERR_FIELD},
        {"upgrade",
         BLOCK("\x88\x00\x07"
               "upgrade\x02"
               "h3"),
         0, HWS_ERR_FIELD},
        {"a pseudo-header of requests", BLOCK("\x88\x82"), 0, HWS_ERR_FIELD},
        {"two :status", BLOCK("\x88\x88"), 0, HWS_ERR_FIELD},
        {":status behind a field",
         BLOCK("\x00\x01"
               "a\x01x\x88"),
         0, HWS_ERR_FIELD},
        {"an unknown pseudo-header", BLOCK("\x88\x00\x02:x\x01x"), 0, HWS_ERR_FIELD},
        {"a :status of letters",
         BLOCK("\x08\x03"
               "2x0"),
         0, HWS_ERR_FIELD},
        {":status 101",
         BLOCK("\x08\x03"
               "101"),
         0, HWS_ERR_FIELD},
        {":status 600",
         BLOCK("\x08\x03"
               "600"),
         0, HWS_ERR_H2_MESSAGE},
        {"no :status",
         BLOCK("\x00\x01"
               "a\x01x"),
         0, HWS_ERR_H2_MESSAGE},
        {"1xx that ends the stream",
         BLOCK("\x08\x03"
               "103"),
         NGHTTP2_FLAG_END_STREAM, HWS_ERR_H2_MESSAGE},
        {"a length of letters",
         BLOCK("\x88\x0f\x0d\x02"
               "1a"),
         0, HWS_ERR_FIELD},
        {"two lengths",
         BLOCK("\x88\x0f\x0d\x01"
               "1\x0f\x0d\x01"
               "2"),
         0, HWS_ERR_FIELD},
        {"a length and no body",
         BLOCK("\x88\x0f\x0d\x01"
               "1"),
         NGHTTP2_FLAG_END_STREAM, HWS_ERR_LENGTH},
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t number = cases[i].code == HWS_ERR_H2_MESSAGE && cases[i].block[2] == '6'
                              ? NGHTTP2_CANCEL
                              : NGHTTP2_PROTOCOL_ERROR;

        begin_raw(false);
        put_frame(NGHTTP2_HEADERS, HEAD_FLAGS | cases[i].flags, 1, cases[i].block, cases[i].size);
        feed_raw();
        if (client.told[0].code != cases[i].code)
            print_error("%s: ", cases[i].name);
        (void)number;
        expect_end(0, cases[i].code);
        assert_false(client.told[0].has_head);
        expect_refused(cases[i].code, code_sent(NGHTTP2_RST_STREAM));
        finish(state);
        begin(state);
    }
}

static void a_body_longer_than_it_said(void **state)
{
    (void)state;
    begin_raw(false);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1,
          "\x88\x0f\x0d\x01"
          "3");
    FRAME(NGHTTP2_DATA, 0, 1, "abcd");
    feed_raw();
    expect_refused(HWS_ERR_LENGTH, NGHTTP2_PROTOCOL_ERROR);
}

static void a_body_shorter_than_it_said(void **state)
{
    (void)state;
    begin_raw(false);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1,
          "\x88\x0f\x0d\x01"
          "3");
    FRAME(NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, "ab");
    feed_raw();
    expect_refused(HWS_ERR_LENGTH, NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(client.told[0].body, 2);
}

static void a_body_shorter_than_it_said_before_trailers(void **state)
{
    (void)state;
    begin_raw(false);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1,
          "\x88\x0f\x0d\x01"
          "3");
    FRAME(NGHTTP2_DATA, 0, 1, "ab");
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, 1,
          "\x00\x01"
          "a\x01x");
    feed_raw();
    expect_refused(HWS_ERR_LENGTH, NGHTTP2_PROTOCOL_ERROR);
}

static void data_before_a_head(void **state)
{
    (void)state;
    begin_raw(false);
    FRAME(NGHTTP2_DATA, 0, 1, "ab");
    feed_raw();
    assert_true(client.told[0].ends == 1 || client.failure != HWS_OK);
    assert_int_equal(client.told[0].body, 0);
}

static void trailers_that_do_not_end_or_have_a_status(void **state)
{
    begin_raw(true);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1,
          "\x00\x01"
          "a\x01x");
    feed_raw();
    expect_refused(HWS_ERR_H2_MESSAGE, NGHTTP2_PROTOCOL_ERROR);
    finish(state);
    begin(state);
    begin_raw(true);
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, 1, STATUS_200);
    feed_raw();
    expect_refused(HWS_ERR_FIELD, NGHTTP2_PROTOCOL_ERROR);
}

static void a_stream_window_that_overflows(void **state)
{
    (void)state;
    begin_raw(false);
    FRAME(NGHTTP2_WINDOW_UPDATE, 0, 1, "\x7f\xff\xff\xff");
    feed_raw();
    expect_refused(HWS_ERR_H2_FLOW_CONTROL, NGHTTP2_FLOW_CONTROL_ERROR);
}

/* `count` frames of 16 KiB for stream 1. */
static void put_data(size_t count)
{
    static const char data[16384];

    while (count-- > 0)
        put_frame(NGHTTP2_DATA, 0, 1, data, sizeof(data));
}

static void data_beyond_a_streams_window(void **state)
{
    hws_codec_options_t options = narrow();

    (void)state;
    restart(&options, true);
    begin_raw(true);
    raw_size = 0;
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1, STATUS_200);
    client.told[0].takes = 0;
    put_data(4);
    feed_raw();
    assert_int_equal(client.told[0].ends, 0);
    FRAME(NGHTTP2_DATA, 0, 1, "x");
    feed_raw();
    expect_refused(HWS_ERR_H2_FLOW_CONTROL, NGHTTP2_FLOW_CONTROL_ERROR);
}

static void data_beyond_the_connections_window(void **state)
{
    hws_codec_options_t options = usual();

    (void)state;
    options.windows = (hws_windows_t){1 << 20, 65536, 1 << 20, 65536};
    restart(&options, true);
    begin_raw(true);
    raw_size = 0;
    FRAME(NGHTTP2_HEADERS, HEAD_FLAGS, 1, STATUS_200);
    client.told[0].takes = 0;
    put_data(4);
    feed_raw();
    assert_int_equal(client.failure, HWS_OK);
    FRAME(NGHTTP2_DATA, 0, 1, "x");
    feed_raw();
    expect_breach(HWS_ERR_H2_FLOW_CONTROL, NGHTTP2_FLOW_CONTROL_ERROR);
}

/* Limits and floods -------------------------------------------------------------------------- */

/* A literal field without an entry in the table: a name of one letter, a value of `size` bytes. */
static void put_field(uint8_t *block, size_t *used, size_t size)
{
    block[(*used)++] = 0;
    block[(*used)++] = 1;
    block[(*used)++] = 'a';
    block[(*used)++] = (uint8_t)size;
    memset(block + *used, 'v', size);
    *used += size;
}

static hws_codec_options_t small_head(void)
{
    hws_codec_options_t options = usual();

    options.header = 1024;
    return options;
}

static void begin_small_head(void)
{
    hws_codec_options_t options = small_head();

    restart(&options, true);
    begin_raw(false);
    raw_size = 0;
}

static void a_head_beyond_the_limit(void **state)
{
    uint8_t block[2048] = {0x88};
    size_t used = 1;

    (void)state;
    begin_small_head();
    while (used < 1100)
        put_field(block, &used, 100);
    put_frame(NGHTTP2_HEADERS, HEAD_FLAGS, 1, block, used);
    feed_raw();
    expect_refused(HWS_ERR_HEAD_SIZE, NGHTTP2_CANCEL);
}

static void a_head_of_too_many_fields(void **state)
{
    uint8_t block[2048] = {0x88};
    size_t used = 1;
    int i;

    (void)state;
    begin_small_head();
    for (i = 0; i < 33; i++)
        put_field(block, &used, 1);
    put_frame(NGHTTP2_HEADERS, HEAD_FLAGS, 1, block, used);
    feed_raw();
    expect_refused(HWS_ERR_HEAD_FIELDS, NGHTTP2_CANCEL);
}

/* One large entry in the table, named by one byte each time. */
static void a_compression_bomb_costs_its_stream(void **state)
{
    static uint8_t block[16000] = {0x88, 0x40, 1, 'a', 127, 0xa1, 30}; /* a value of 4000 bytes */
    size_t used = 7 + 4000;

    (void)state;
    begin_raw(false);
    memset(block + 7, 'v', 4000);
    memset(block + used, 0xbe, sizeof(block) - used);
    put_frame(NGHTTP2_HEADERS, HEAD_FLAGS, 1, block, sizeof(block));
    feed_raw();
    expect_refused(HWS_ERR_HEAD_SIZE, NGHTTP2_CANCEL);
}

static void a_flood_of_continuations(void **state)
{
    int i;

    (void)state;
    begin_raw(false);
    FRAME(NGHTTP2_HEADERS, 0, 1, STATUS_200);
    for (i = 0; i < 1000; i++)
        FRAME(NGHTTP2_CONTINUATION, 0, 1, "");
    feed_raw();
    assert_int_equal(hws_error_kind(client.failure), HWS_KIND_PROTOCOL);
    assert_int_not_equal(code_sent(NGHTTP2_GOAWAY), UINT32_MAX);
}

static void floods_end_the_connection(void **state)
{
    static const violation_t cases[] = {
        VIOLATION("SETTINGS", SETTINGS, 0, 0, "", H2_FLOOD, ENHANCE_YOUR_CALM),
        VIOLATION("PING", PING, 0, 0, "12345678", H2_FLOOD, ENHANCE_YOUR_CALM),
        VIOLATION("answers to no PING", PING, NGHTTP2_FLAG_ACK, 0, "12345678", H2_FLOOD,
                  ENHANCE_YOUR_CALM),
        VIOLATION("DATA", DATA, 0, 1, "", H2_FLOOD, ENHANCE_YOUR_CALM),
        VIOLATION("PRIORITY", PRIORITY, 0, 1, "\0\0\0\3\1", H2_FLOOD, ENHANCE_YOUR_CALM),
        VIOLATION("WINDOW_UPDATE", WINDOW_UPDATE, 0, 1, "\0\0\0\1", H2_FLOOD, ENHANCE_YOUR_CALM),
    };
    size_t i;
    int k;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const violation_t *it = &cases[i];

        begin_raw(true);
        for (k = 0; k < 12000; k++) {
            put_frame(it->type, it->flags, it->id, it->payload, it->size);
            if (k % 500 == 0) { /* less than nghttp2 bounds at once */
                feed_raw();
                assert_in_range(hws_buffer_size(&client.out), 0, 20000);
                if (client.failure == HWS_OK)
                    hws_buffer_clear(&client.out);
            }
        }
        feed_raw();
        expect_breach(it->code, it->number);
        finish(state);
        begin(state);
    }
}

static void a_flood_at_once(void **state)
{
    int k;

    (void)state;
    begin_raw(false);
    way = WHOLE;
    for (k = 0; k < 5000; k++)
        FRAME(NGHTTP2_PING, 0, 0, "12345678");
    feed_raw();
    expect_breach(HWS_ERR_H2_FLOOD, NGHTTP2_ENHANCE_YOUR_CALM);
}

typedef enum { DATA_COMES, HEADS_COME, DATA_GOES, HEADS_GO } traffic_t;

static void pass(traffic_t traffic, size_t index)
{
    switch (traffic) {
    case DATA_COMES:
        FRAME(NGHTTP2_DATA, 0, 1, "x");
        break;
    case HEADS_COME:
        put_frame(NGHTTP2_HEADERS, HEAD_FLAGS | NGHTTP2_FLAG_END_STREAM, (uint32_t)(2 * index + 1),
                  STATUS_200, 1);
        break;
    case DATA_GOES:
        assert_int_equal(give(2, index, 1, false), 1);
        break;
    case HEADS_GO:
        open_get(3 + index);
        break;
    }
}

/* As an idle connection has them, for weeks. */
static void pings_among_traffic_are_no_flood(void **state)
{
    traffic_t traffic;
    int k;

    for (traffic = DATA_COMES; traffic <= HEADS_GO; traffic++) {
        begin_raw(traffic == DATA_COMES);
        open_post(2, HWS_BODY_SIZED, 10);
        for (k = 0; k < 12000; k++) {
            FRAME(NGHTTP2_PING, 0, 0, "12345678");
            if (k % 500 != 0)
                continue;
            if (k % 6000 == 0)
                pass(traffic, (size_t)k / 6000);
            feed_raw();
            hws_buffer_clear(&client.out);
        }
        assert_int_equal(client.failure, HWS_OK);
        finish(state);
        begin(state);
    }
}

/* With a folder as its argument it also writes the corpus of fuzz_h2 there. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PLAIN(violations_end_the_connection),
        PLAIN(a_frame_beyond_the_largest_size),
        PLAIN(another_frame_amid_a_header_block),
        PLAIN(frames_after_a_streams_end),
        PLAIN(a_reset_without_error_after_the_response_is_no_failure),
        PLAIN(what_never_left_is_not_blamed),
        PLAIN(what_is_not_http2_at_all),
        PLAIN(malformed_heads_end_their_stream),
        PLAIN(a_body_longer_than_it_said),
        PLAIN(a_body_shorter_than_it_said),
        PLAIN(a_body_shorter_than_it_said_before_trailers),
        PLAIN(data_before_a_head),
        PLAIN(trailers_that_do_not_end_or_have_a_status),
        PLAIN(a_stream_window_that_overflows),
        PLAIN(data_beyond_a_streams_window),
        PLAIN(data_beyond_the_connections_window),
        PLAIN(a_head_beyond_the_limit),
        PLAIN(a_head_of_too_many_fields),
        PLAIN(a_compression_bomb_costs_its_stream),
        PLAIN(a_flood_of_continuations),
        PLAIN(floods_end_the_connection),
        PLAIN(a_flood_at_once),
        PLAIN(pings_among_traffic_are_no_flood),
    };

    corpus = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
