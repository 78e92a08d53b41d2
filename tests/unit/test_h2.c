#include "codec/h2.h"

#include "base/random.h"
#include "support/cmocka.h"
#include "support/h2_run.h"

#include <nghttp2/nghttp2.h>

/* Where the client's bytes and the server's meet. */
static h2_run_t client;
static hws_random_t chance;

/* How the server's bytes come. */
typedef enum { WHOLE, BYTES, RANDOM } way_t;

static way_t way;

/* The server -------------------------------------------------------------------------------- */

#define FAR_STREAMS 256

typedef struct {
    char request[H2_TEXT]; /* "name: value\n" */
    size_t body;
    bool has_end;
    bool is_closed;
    uint32_t reset; /* RST_STREAM that came; UINT32_MAX for none */
    /* The response. */
    size_t left;
    bool has_trailers;
} far_stream_t;

static struct {
    nghttp2_session *session;
    far_stream_t streams[FAR_STREAMS]; /* by half of the id */
    int32_t order[4096];               /* streams of DATA frames, as they came */
    size_t frames;
    uint32_t settings[8];
    bool has_goaway;
    uint32_t goaway;
    unsigned pings;
    unsigned most_open;
    unsigned open;
    unsigned blocks; /* HEADERS that came */
} far;

static far_stream_t *far_stream(int32_t id)
{
    assert_true(id / 2 < FAR_STREAMS);
    return &far.streams[id / 2];
}

static int far_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                         size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                         void *user)
{
    char *to = far_stream(frame->hd.stream_id)->request;
    size_t used = strlen(to);

    (void)session;
    (void)flags;
    (void)user;
    snprintf(to + used, H2_TEXT - used, "%.*s: %.*s\n", (int)name_size, (const char *)name,
             (int)value_size, (const char *)value);
    return 0;
}

static int far_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    size_t i;

    (void)session;
    (void)user;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        far.blocks++;
        if (++far.open > far.most_open)
            far.most_open = far.open;
    }
    if (frame->hd.type == NGHTTP2_DATA)
        far.order[far.frames++ % 4096] = frame->hd.stream_id;
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        far_stream(frame->hd.stream_id)->has_end = true;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        far_stream(frame->hd.stream_id)->reset = frame->rst_stream.error_code;
    if (frame->hd.type == NGHTTP2_SETTINGS)
        for (i = 0; i < frame->settings.niv; i++)
            far.settings[frame->settings.iv[i].settings_id & 7] = frame->settings.iv[i].value;
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
        far.pings++;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        far.has_goaway = true;
        far.goaway = frame->goaway.error_code;
    }
    return 0;
}

static int far_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                       size_t size, void *user)
{
    size_t i;

    (void)session;
    (void)flags;
    (void)user;
    for (i = 0; i < size; i++)
        assert_int_equal(data[i], (uint8_t)((far_stream(id)->body + i) % 251));
    far_stream(id)->body += size;
    return 0;
}

static int far_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session;
    (void)code;
    (void)user;
    far_stream(id)->is_closed = true;
    far.open--;
    return 0;
}

static void far_create(bool auto_window)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    size_t i;

    memset(&far, 0, sizeof(far));
    for (i = 0; i < FAR_STREAMS; i++)
        far.streams[i].reset = UINT32_MAX;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, far_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, far_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, far_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, far_on_close);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, !auto_window);
    nghttp2_option_set_no_http_messaging(option, 1); /* so that it says anything we want */
    assert_int_equal(nghttp2_session_server_new2(&far.session, callbacks, NULL, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(far.session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
}

static void far_settings(int32_t id, uint32_t value)
{
    nghttp2_settings_entry entry = {id, value};

    assert_int_equal(nghttp2_submit_settings(far.session, NGHTTP2_FLAG_NONE, &entry, 1), 0);
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static ssize_t far_read(nghttp2_session *session, int32_t id, uint8_t *data, size_t most,
                        uint32_t *flags, nghttp2_data_source *source, void *user)
{
    far_stream_t *stream = far_stream(id);
    size_t size = stream->left < most ? stream->left : most;

    (void)source;
    (void)user;
    memset(data, 'x', size);
    stream->left -= size;
    if (stream->left == 0) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->has_trailers) {
            nghttp2_nv trailer = nv("grpc-status", "0");

            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            assert_int_equal(nghttp2_submit_trailer(session, id, &trailer, 1), 0);
        }
    }
    return (ssize_t)size;
}

/* A head with up to one more field, and `size` bytes of body. */
static void far_answer_with(int32_t id, const char *status, const char *name, const char *value,
                            size_t size)
{
    nghttp2_nv fields[2] = {nv(":status", status), nv(name, value)};
    nghttp2_data_provider provider = {.read_callback = far_read};

    far_stream(id)->left = size;
    assert_int_equal(nghttp2_submit_response(far.session, id, fields, 1 + (name[0] != '\0'),
                                             size > 0 ? &provider : NULL),
                     0);
}

static void far_answer(int32_t id, const char *status, size_t size)
{
    far_answer_with(id, status, "", "", size);
}

static void far_reset(int32_t id, uint32_t code)
{
    assert_int_equal(nghttp2_submit_rst_stream(far.session, NGHTTP2_FLAG_NONE, id, code), 0);
}

/* Both ------------------------------------------------------------------------------------- */

/* Feeds the client the way this test has it, flushing in between. */
static void feed(const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0 && client.failure == HWS_OK) {
        size_t piece = size;

        if (way == BYTES)
            piece = 1;
        else if (way == RANDOM)
            piece = 1 + hws_random_below(&chance, 60);
        if (piece > size)
            piece = size;
        (void)h2_run_feed(&client, at, piece);
        at += piece;
        size -= piece;
    }
}

/* One turn each; whether anything went. */
static bool turn(void)
{
    const uint8_t *bytes;
    ssize_t size;
    bool has_moved;

    (void)h2_run_flush(&client, 65536);
    has_moved = !hws_buffer_is_empty(&client.out);
    if (has_moved) {
        size = nghttp2_session_mem_recv(far.session, (const uint8_t *)hws_buffer_bytes(&client.out),
                                        hws_buffer_size(&client.out));
        assert_int_equal(size, hws_buffer_size(&client.out));
        hws_buffer_clear(&client.out);
    }
    while ((size = nghttp2_session_mem_send(far.session, &bytes)) > 0) {
        feed(bytes, (size_t)size);
        has_moved = true;
    }
    assert_int_equal(size, 0);
    return has_moved && client.failure == HWS_OK;
}

static void pump(void)
{
    while (turn())
        ;
}

static hws_message_t get(const char *fields)
{
    return (hws_message_t){.method = HWS_SLICE("GET"),
                           .scheme = HWS_SLICE("http"),
                           .target = HWS_SLICE("/a?b"),
                           .authority = HWS_SLICE("example.org"),
                           .fields = {fields, strlen(fields)}};
}

static hws_message_t post(hws_body_kind_t body, uint64_t size)
{
    hws_message_t message = get("");

    message.method = (hws_slice_t)HWS_SLICE("POST");
    message.body = body;
    message.body_size = size;
    return message;
}

static void open_get(size_t index)
{
    hws_message_t message = get("");

    assert_int_equal(h2_run_open(&client, index, &message), HWS_OK);
}

static void open_post(size_t index, hws_body_kind_t body, uint64_t size)
{
    hws_message_t message = post(body, size);

    assert_int_equal(h2_run_open(&client, index, &message), HWS_OK);
}

/* Bytes `from` to `from + size` of a body, as many as are taken. */
static size_t give(size_t index, size_t from, size_t size, bool is_end)
{
    hws_stream_t *stream = &client.told[index].stream;
    char *data = malloc(size + 1);
    size_t taken = 0;
    size_t i;

    for (i = 0; i < size; i++)
        data[i] = (char)((from + i) % 251);
    assert_int_equal(
        client.codec->ops->send(client.codec, stream, data, size, is_end, NULL, &taken), HWS_OK);
    stream->wants_write = taken < size;
    free(data);
    return taken;
}

/* A body of any size, as its user gives it: when there is room. */
static void give_all(size_t index, size_t size)
{
    size_t from = 0;

    while (from < size) {
        from += give(index, from, size - from, true);
        client.told[index].writable = 0;
        while (from < size && client.told[index].writable == 0)
            assert_true(turn());
    }
}

static void expect_end(size_t index, int code)
{
    const h2_told_t *told = &client.told[index];

    if (told->ends != 1 || told->code != code)
        print_error("stream %zu: %u ends, %s instead of %s\n", index, told->ends,
                    hws_error_name(told->code), hws_error_name(code));
    assert_int_equal(told->ends, 1);
    assert_int_equal(told->code, code);
}

static int begin_with(const hws_codec_options_t *options, bool auto_window)
{
    hws_random_init(&chance, 5);
    assert_int_equal(h2_run_create(&client, options), HWS_OK);
    far_create(auto_window);
    return 0;
}

static int begin(void **state)
{
    way = (way_t)(uintptr_t)*state;
    return begin_with(NULL, true);
}

/* The same, with settings exchanged. */
static int begin_settled(void **state)
{
    begin(state);
    pump();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    h2_run_dispose(&client);
    nghttp2_session_del(far.session);
    hws_memory_fail_at(0);
    return 0;
}

static void restart(const hws_codec_options_t *options, bool auto_window)
{
    h2_run_dispose(&client);
    nghttp2_session_del(far.session);
    begin_with(options, auto_window);
    pump();
}

static hws_codec_options_t usual(void)
{
    return client.options;
}

/* Messages ---------------------------------------------------------------------------------- */

static void says_what_it_takes(void **state)
{
    (void)state;
    pump();
    assert_int_equal(far.settings[NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE], 1 << 20);
    assert_int_equal(far.settings[NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE], 65536);
    assert_int_equal(far.settings[NGHTTP2_SETTINGS_ENABLE_PUSH], 0);
    assert_int_equal(nghttp2_session_get_remote_window_size(far.session), 16 << 20);
    assert_int_equal(client.codec->room, 100);
}

static void a_get_is_answered(void **state)
{
    h2_told_t *told = &client.told[0];

    (void)state;
    open_get(0);
    assert_int_equal(client.codec->room, 99);
    assert_int_equal(told->stream.id, 1);
    pump();
    assert_string_equal(
        far_stream(1)->request,
        ":method: GET\n:scheme: http\n:authority: example.org\n:path: /a?b\npriority: u=0\n");
    assert_true(far_stream(1)->has_end);
    far_answer_with(1, "200", "content-length", "70000", 70000);
    pump();
    expect_end(0, HWS_OK);
    assert_int_equal(told->status, 200);
    assert_string_equal(told->head, "HTTP/2 200\r\ncontent-length: 70000\r\n\r\n");
    assert_int_equal(told->stream.announced, 70000);
    assert_int_equal(told->body, 70000);
    assert_int_equal(client.codec->room, 100);
}

static void fields_are_sent_as_http2_has_them(void **state)
{
    hws_message_t message = get("X-Some: One\r\nHost: other:81\r\nTE: trailers\r\nEmpty:\r\n");

    (void)state;
    message.authority = (hws_slice_t){NULL, 0};
    client.told[0].stream.urgency = 3;
    assert_int_equal(h2_run_open(&client, 0, &message), HWS_OK);
    pump();
    assert_string_equal(far_stream(1)->request,
                        ":method: GET\n:scheme: http\n:authority: other:81\n:path: /a?b\n"
                        "x-some: One\nte: trailers\nempty: \n");
}

static void priority_is_said_unless_the_user_says_it(void **state)
{
    hws_message_t message = get("Priority: i\r\n");

    (void)state;
    client.told[0].stream.urgency = 7;
    open_get(0);
    client.told[1].stream.urgency = 7;
    assert_int_equal(h2_run_open(&client, 1, &message), HWS_OK);
    client.told[2].stream.urgency = 3;
    open_get(2);
    pump();
    assert_non_null(strstr(far_stream(1)->request, "\npriority: u=7\n"));
    assert_non_null(strstr(far_stream(3)->request, "\npriority: i\n"));
    assert_null(strstr(far_stream(3)->request, "u=7"));
    assert_null(strstr(far_stream(5)->request, "priority"));
}

static void fields_of_a_connection_are_refused(void **state)
{
    static const char *const lines[] = {
        "Connection: close\r\n",   "keep-alive: 1\r\n",
        "Proxy-Connection: x\r\n", "a: b\r\nTransfer-Encoding: chunked\r\n",
        "upgrade: h3\r\n",         "TE: gzip\r\n"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        hws_message_t message = get(lines[i]);

        assert_int_equal(h2_run_open(&client, 0, &message), HWS_ERR_CONNECTION_FIELD);
        assert_int_equal(client.codec->room, 100);
    }
    open_get(0);
    assert_int_equal(client.told[0].stream.id, 1);
}

static void connect_is_refused(void **state)
{
    hws_message_t message = get("");

    (void)state;
    message.method = (hws_slice_t)HWS_SLICE("CONNECT");
    assert_int_equal(h2_run_open(&client, 0, &message), HWS_ERR_UNSUPPORTED);
}

static void bodies_are_sent(void **state)
{
    (void)state;
    open_post(0, HWS_BODY_SIZED, 5);
    assert_int_equal(give(0, 0, 5, true), 5);
    open_post(1, HWS_BODY_NONE, 0);
    open_post(2, HWS_BODY_CHUNKED, 0);
    open_post(3, HWS_BODY_SIZED, 0);
    open_post(4, HWS_BODY_SIZED, 1000000);
    pump();
    assert_int_equal(far_stream(1)->body, 5);
    assert_true(far_stream(1)->has_end);
    assert_non_null(strstr(far_stream(1)->request, "\ncontent-length: 5\n"));
    assert_true(far_stream(3)->has_end);
    assert_non_null(strstr(far_stream(3)->request, "\ncontent-length: 0\n"));
    assert_false(far_stream(5)->has_end);
    assert_null(strstr(far_stream(5)->request, "content-length"));
    assert_true(far_stream(7)->has_end);
    give_all(2, 300000);
    give_all(4, 1000000);
    pump();
    assert_int_equal(far_stream(5)->body, 300000);
    assert_true(far_stream(5)->has_end);
    assert_int_equal(far_stream(9)->body, 1000000);
    assert_true(far_stream(9)->has_end);
}

static void an_end_without_bytes_is_sent_alone(void **state)
{
    (void)state;
    open_post(0, HWS_BODY_CHUNKED, 0);
    assert_int_equal(give(0, 0, 10, false), 10);
    pump();
    assert_int_equal(far_stream(1)->body, 10);
    assert_false(far_stream(1)->has_end);
    give(0, 10, 0, true);
    pump();
    assert_true(far_stream(1)->has_end);
    far_answer(1, "200", 0);
    pump();
    expect_end(0, HWS_OK);
    assert_int_equal(client.codec->room, 100);
}

static void a_head_has_no_body(void **state)
{
    hws_message_t message = get("");

    (void)state;
    message.method = (hws_slice_t)HWS_SLICE("HEAD");
    assert_int_equal(h2_run_open(&client, 0, &message), HWS_OK);
    open_get(1);
    pump();
    far_answer_with(1, "200", "content-length", "1000", 0);
    far_answer_with(3, "304", "content-length", "1000", 0);
    pump();
    expect_end(0, HWS_OK);
    expect_end(1, HWS_OK);
    assert_int_equal(client.told[0].stream.announced, 0);
    assert_int_equal(client.told[1].stream.announced, 0);
}

static void informational_responses_are_passed_over(void **state)
{
    nghttp2_nv hints = nv(":status", "103");
    int i;

    (void)state;
    open_get(0);
    open_get(1);
    pump();
    for (i = 0; i < 8; i++)
        assert_int_equal(nghttp2_submit_headers(far.session, 0, 1, NULL, &hints, 1, NULL), 0);
    for (i = 0; i < 9; i++)
        assert_int_equal(nghttp2_submit_headers(far.session, 0, 3, NULL, &hints, 1, NULL), 0);
    pump();
    assert_int_equal(client.told[0].ends, 0);
    far_answer(1, "200", 3);
    pump();
    expect_end(0, HWS_OK);
    assert_int_equal(client.told[0].status, 200);
    expect_end(1, HWS_ERR_INFORMATIONAL);
    assert_int_equal(far_stream(3)->reset, NGHTTP2_CANCEL);
}

static void trailers_come_after_the_body(void **state)
{
    (void)state;
    open_get(0);
    pump();
    far_stream(1)->has_trailers = true;
    far_answer(1, "200", 20000);
    pump();
    expect_end(0, HWS_OK);
    assert_string_equal(client.told[0].trailers, "grpc-status: 0\r\n\r\n");
    assert_int_equal(client.told[0].body, 20000);
    assert_true(client.told[0].stream.announced == HWS_BODY_UNKNOWN);
}

/* The response is complete before the request is. */
static void an_early_response_is_a_response(void **state)
{
    (void)state;
    open_post(0, HWS_BODY_CHUNKED, 0);
    give(0, 0, 10, false);
    pump();
    far_answer(1, "413", 7);
    pump();
    expect_end(0, HWS_OK);
    /* It may go on. */
    assert_non_null(client.told[0].stream.part);
    assert_int_equal(client.codec->room, 99);
    give(0, 10, 10, true);
    assert_null(client.told[0].stream.part);
    pump();
    assert_int_equal(far_stream(1)->body, 20);
    assert_true(far_stream(1)->has_end);
    assert_int_equal(client.codec->room, 100);
}

static void what_goes_on_after_its_response_is_told_when_that_fails(void **state)
{
    (void)state;
    open_post(0, HWS_BODY_CHUNKED, 0);
    pump();
    far_answer(1, "200", 7);
    pump();
    expect_end(0, HWS_OK);
    far_reset(1, NGHTTP2_CANCEL);
    pump();
    assert_int_equal(client.told[0].ends, 2);
    assert_int_equal(client.told[0].code, HWS_ERR_RST_CANCEL);
    assert_int_equal(client.codec->room, 100);
}

/* Resets, GOAWAY, limits ------------------------------------------------------------------- */

static void each_reset_has_its_code(void **state)
{
    static const struct {
        int code;
        const char *name;
    } cases[] = {
        {HWS_ERR_RST_NO_ERROR, "NO_ERROR"},
        {HWS_ERR_RST_PROTOCOL, "PROTOCOL_ERROR"},
        {HWS_ERR_RST_INTERNAL, "INTERNAL_ERROR"},
        {HWS_ERR_RST_FLOW_CONTROL, "FLOW_CONTROL_ERROR"},
        {HWS_ERR_RST_SETTINGS_TIMEOUT, "SETTINGS_TIMEOUT"},
        {HWS_ERR_RST_STREAM_CLOSED, "STREAM_CLOSED"},
        {HWS_ERR_RST_FRAME_SIZE, "FRAME_SIZE_ERROR"},
        {HWS_ERR_REFUSED_STREAM, "REFUSED_STREAM"},
        {HWS_ERR_RST_CANCEL, "CANCEL"},
        {HWS_ERR_RST_COMPRESSION, "COMPRESSION_ERROR"},
        {HWS_ERR_RST_CONNECT, "CONNECT_ERROR"},
        {HWS_ERR_RST_CALM, "ENHANCE_YOUR_CALM"},
        {HWS_ERR_RST_SECURITY, "INADEQUATE_SECURITY"},
        {HWS_ERR_RST_HTTP_1_1, "HTTP_1_1_REQUIRED"},
        {HWS_ERR_RST_UNKNOWN, "RST_STREAM"},
    };
    size_t count = sizeof(cases) / sizeof(cases[0]);
    size_t i;

    (void)state;
    for (i = 0; i < count; i++)
        open_get(i);
    pump();
    for (i = 0; i < count; i++) {
        assert_int_equal(client.codec->is_calmed, i > 11);
        far_reset((int32_t)(2 * i + 1), (uint32_t)i);
        pump();
        expect_end(i, cases[i].code);
        assert_int_equal(client.told[i].stream.reset_code, i);
        assert_string_equal(hws_error_name(cases[i].code), cases[i].name);
        assert_int_equal(hws_error_kind(cases[i].code), HWS_KIND_RESET);
    }
    assert_int_equal(client.codec->room, 100);
    assert_false(client.codec->is_last);
}

static void say_goaway(int32_t last, uint32_t code)
{
    assert_int_equal(nghttp2_submit_goaway(far.session, NGHTTP2_FLAG_NONE, last, code, NULL, 0), 0);
}

static void goaway_in_a_burst_spares_what_was_seen(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < 40; i++)
        open_get(i);
    pump();
    say_goaway(19, NGHTTP2_NO_ERROR);
    pump();
    assert_true(client.codec->is_last);
    assert_int_equal(client.codec->room, 0);
    for (i = 10; i < 40; i++)
        expect_end(i, HWS_ERR_GOAWAY);
    for (i = 0; i < 10; i++)
        far_answer((int32_t)(2 * i + 1), "200", 100);
    pump();
    for (i = 0; i < 10; i++)
        expect_end(i, HWS_OK);
    assert_int_equal(client.codec->ops->feed_end(client.codec), HWS_OK);
    assert_false(client.codec->is_calmed);
}

static void goaway_of_nothing_seen_ends_all(void **state)
{
    (void)state;
    open_get(0);
    open_get(1);
    pump();
    open_get(2); /* which has not left */
    say_goaway(0, NGHTTP2_ENHANCE_YOUR_CALM);
    while (true) { /* what the server says, without a flush of ours before it */
        const uint8_t *bytes;
        ssize_t size = nghttp2_session_mem_send(far.session, &bytes);

        if (size <= 0)
            break;
        feed(bytes, (size_t)size);
    }
    expect_end(0, HWS_ERR_GOAWAY);
    expect_end(1, HWS_ERR_GOAWAY);
    expect_end(2, HWS_ERR_GOAWAY);
    assert_true(client.codec->is_calmed);
    pump();
    assert_int_equal(far.blocks, 2);
}

static void goaway_in_two_steps(void **state)
{
    (void)state;
    open_get(0);
    open_get(1);
    pump();
    assert_int_equal(nghttp2_submit_shutdown_notice(far.session), 0);
    pump();
    assert_true(client.codec->is_last);
    assert_int_equal(client.told[0].ends + client.told[1].ends, 0);
    say_goaway(1, NGHTTP2_NO_ERROR);
    pump();
    expect_end(1, HWS_ERR_GOAWAY);
    far_answer(1, "200", 0);
    pump();
    expect_end(0, HWS_OK);
}

static void refused_is_told_from_goaway(void **state)
{
    (void)state;
    open_get(0);
    open_get(1);
    pump();
    say_goaway(1, NGHTTP2_NO_ERROR);
    far_reset(1, NGHTTP2_REFUSED_STREAM);
    pump();
    expect_end(0, HWS_ERR_REFUSED_STREAM);
    expect_end(1, HWS_ERR_GOAWAY);
}

static void our_goaway_lets_the_open_ones_go_on(void **state)
{
    (void)state;
    open_get(0);
    client.codec->ops->go_away(client.codec);
    client.codec->ops->go_away(client.codec);
    assert_true(client.codec->is_last);
    assert_int_equal(client.codec->room, 0);
    pump();
    assert_true(far.has_goaway);
    assert_int_equal(far.goaway, NGHTTP2_NO_ERROR);
    assert_int_equal(far.blocks, 1);
    far_answer(1, "200", 50000);
    pump();
    expect_end(0, HWS_OK);
    assert_int_equal(client.failure, HWS_OK);
}

static void the_peers_limit_is_obeyed_as_it_changes(void **state)
{
    (void)state;
    open_get(0);
    pump();
    far_settings(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1);
    pump();
    assert_int_equal(client.codec->cap, 1);
    assert_int_equal(client.codec->room, 0);
    far_answer(1, "200", 0);
    pump();
    assert_int_equal(client.codec->room, 1);
    far_settings(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
    pump();
    assert_int_equal(client.codec->room, 0);
    assert_false(client.codec->is_last);
    far_settings(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3);
    pump();
    assert_int_equal(client.codec->room, 3);
    open_get(1);
    open_get(2);
    open_get(3);
    assert_int_equal(client.codec->room, 0);
    pump();
    far_settings(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2);
    pump();
    assert_int_equal(client.codec->room, 0);
    h2_run_reset(&client, 1, HWS_CODEC_CANCEL);
    assert_int_equal(client.codec->room, 0);
    h2_run_reset(&client, 2, HWS_CODEC_CANCEL);
    assert_int_equal(client.codec->room, 1);
    open_get(4);
    pump();
    assert_int_equal(far.blocks, 5);
    assert_int_equal(far_stream(3)->reset, NGHTTP2_CANCEL);
    far_settings(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000);
    pump();
    assert_int_equal(client.codec->cap, 100);
    assert_int_equal(client.codec->room, 98);
    assert_int_equal(far.most_open, 3);
}

/* The limit fell between `open` and the flush. */
static void what_has_not_left_when_the_limit_falls_was_not_seen(void **state)
{
    const uint8_t *bytes;
    ssize_t size;

    (void)state;
    open_get(0);
    pump();
    far_settings(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2);
    open_get(1);
    open_get(2);
    while ((size = nghttp2_session_mem_send(far.session, &bytes)) > 0)
        feed(bytes, (size_t)size);
    pump();
    if (way == WHOLE) {
        assert_int_equal(client.told[1].ends, 0);
        expect_end(2, HWS_ERR_REFUSED_STREAM);
        assert_int_equal(far.blocks, 2);
        assert_int_equal(client.codec->room, 0);
    }
    assert_in_range(client.codec->cap, 2, 2);
}

static void resets_give_their_room_back(void **state)
{
    size_t i;
    size_t k;

    (void)state;
    for (i = 0; i < 3; i++) {
        for (k = 0; k < 40; k++)
            open_get(k);
        if (i == 1)
            pump();
        assert_int_equal(client.codec->room, 60);
        for (k = 0; k < 40; k++)
            h2_run_reset(&client, k, HWS_CODEC_CANCEL);
        assert_int_equal(client.codec->room, 100);
    }
    pump();
    assert_int_equal(far.open, 0);
    assert_int_equal(far.blocks, 40);
    open_get(0);
    pump();
    far_answer(241, "200", 5);
    pump();
    expect_end(0, HWS_OK);
}

static void a_fin_cuts_what_is_open(void **state)
{
    (void)state;
    open_get(0);
    pump();
    open_get(1);
    assert_int_equal(client.codec->ops->feed_end(client.codec), HWS_ERR_EOF);
    assert_true(client.codec->is_last);
    assert_int_equal(client.told[0].ends, 0);
    expect_end(1, HWS_ERR_GOAWAY);
}

static void pings_are_counted_apart(void **state)
{
    static const uint8_t other[8] = "theirs";

    (void)state;
    assert_int_equal(client.codec->ops->ping(client.codec), HWS_OK);
    assert_int_equal(client.codec->ops->ping(client.codec), HWS_AGAIN);
    nghttp2_submit_ping(far.session, NGHTTP2_FLAG_NONE, other);
    pump();
    assert_int_equal(far.pings, 1);
    assert_int_equal(client.codec->pongs, 1);
    assert_int_equal(client.codec->ops->ping(client.codec), HWS_OK);
    nghttp2_submit_ping(far.session, NGHTTP2_FLAG_ACK, other);
    pump();
    assert_int_equal(client.codec->pongs, 2);
}

/* Flow control ------------------------------------------------------------------------------ */

static hws_codec_options_t narrow(void)
{
    hws_codec_options_t options = usual();

    options.windows = (hws_windows_t){65536, 200000, 65536, 200000};
    return options;
}

static void credit(size_t index, size_t size)
{
    h2_told_t *told = &client.told[index];

    told->unread -= size;
    assert_int_equal(client.codec->ops->credit(client.codec, &told->stream, size, NULL), HWS_OK);
}

static void a_reader_that_takes_nothing_keeps_only_its_own_window(void **state)
{
    hws_codec_options_t options = narrow();

    (void)state;
    restart(&options, true);
    open_get(0);
    open_get(1);
    client.told[0].takes = 0;
    pump();
    far_answer(1, "200", 500000);
    far_answer(3, "200", 500000);
    pump();
    expect_end(1, HWS_OK);
    assert_int_equal(client.told[1].body, 500000);
    assert_int_equal(client.told[0].ends, 0);
    assert_int_equal(client.told[0].unread, 65536);
    while (client.told[0].ends == 0) {
        credit(0, client.told[0].unread / 2 + 1);
        pump();
        assert_true(client.told[0].unread <= 65536);
    }
    expect_end(0, HWS_OK);
    assert_int_equal(client.told[0].body, 500000);
    credit(0, client.told[0].unread); /* which nobody owes any more */
}

static void what_is_unread_goes_back_when_a_stream_goes(void **state)
{
    hws_codec_options_t options = narrow();
    size_t i;

    (void)state;
    restart(&options, true);
    for (i = 0; i < 9; i++) {
        int32_t id = (int32_t)(2 * i + 1);

        open_get(i);
        client.told[i].takes = 0;
        pump();
        far_answer(id, "200", i % 3 == 0 ? 60000 : 500000);
        pump();
        if (i % 3 == 0) {
            expect_end(i, HWS_OK);
            assert_int_equal(client.told[i].unread, 60000);
        } else if (i % 3 == 1) {
            h2_run_reset(&client, i, HWS_CODEC_CANCEL);
        } else {
            far_reset(id, NGHTTP2_INTERNAL_ERROR);
        }
        pump();
    }
    open_get(9);
    pump();
    far_answer(19, "200", 300000);
    pump();
    expect_end(9, HWS_OK);
    assert_int_equal(client.told[9].body, 300000);
}

/* A reset whose answer was on its way. */
static void what_comes_for_a_reset_stream_goes_back(void **state)
{
    hws_codec_options_t options = narrow();
    size_t i;

    (void)state;
    restart(&options, true);
    for (i = 0; i < 8; i++) {
        open_get(i);
        pump();
        far_answer((int32_t)(2 * i + 1), "200", 60000);
        h2_run_reset(&client, i, HWS_CODEC_CANCEL);
        while (true) {
            const uint8_t *bytes;
            ssize_t size = nghttp2_session_mem_send(far.session, &bytes);

            if (size <= 0)
                break;
            feed(bytes, (size_t)size);
        }
        pump();
    }
    open_get(9);
    pump();
    far_answer(17, "200", 300000);
    pump();
    expect_end(9, HWS_OK);
}

static void windows_grow_where_readers_keep_up(void **state)
{
    hws_codec_options_t options = usual();

    (void)state;
    options.windows = (hws_windows_t){65536, 65536, 1 << 20, 1 << 20};
    restart(&options, true);
    assert_int_equal(client.budget.used, 65536);
    open_get(0);
    pump();
    far_answer(1, "200", 8000000);
    pump();
    expect_end(0, HWS_OK);
    assert_true(far.pings > 0);
    assert_int_equal(client.codec->pongs, 0);
    assert_in_range(client.budget.used, 65537, 1 << 20);
    assert_int_equal(client.options.budget->used, client.budget.used);
}

static void uploads_wait_for_windows(void **state)
{
    size_t i;

    (void)state;
    restart(NULL, false);
    open_post(0, HWS_BODY_CHUNKED, 0);
    open_post(1, HWS_BODY_CHUNKED, 0);
    for (i = 0; i < 10; i++) {
        give(0, i * 16384, 16384, false);
        pump();
        if (far_stream(1)->body == 65535)
            break;
    }
    assert_int_equal(far_stream(1)->body, 65535); /* both windows */
    give(1, 0, 100, false);
    pump();
    assert_int_equal(far_stream(3)->body, 0);
    assert_int_equal(nghttp2_session_consume_connection(far.session, 65535), 0);
    pump();
    assert_int_equal(far_stream(3)->body, 100);
    assert_int_equal(far_stream(1)->body, 65535);
    assert_int_equal(nghttp2_session_consume_stream(far.session, 1, 65535), 0);
    pump();
    assert_int_equal(far_stream(1)->body, (i + 1) * 16384);
}

static void a_larger_initial_window_wakes_all(void **state)
{
    (void)state;
    far_settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    pump();
    open_post(0, HWS_BODY_SIZED, 1000);
    open_post(1, HWS_BODY_SIZED, 1000);
    give(0, 0, 1000, true);
    give(1, 0, 1000, true);
    pump();
    assert_int_equal(far_stream(1)->body + far_stream(3)->body, 0);
    far_settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 5000);
    pump();
    assert_true(far_stream(1)->has_end);
    assert_true(far_stream(3)->has_end);
}

static void what_waits_to_be_sent_is_bounded(void **state)
{
    size_t i;

    (void)state;
    far_settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    pump();
    for (i = 0; i < 6; i++) {
        open_post(i, HWS_BODY_CHUNKED, 0);
        assert_int_equal(give(i, 0, 100000, false), i < 4 ? 65536 : 16384);
        assert_int_equal(give(i, 0, 100000, false), 0);
    }
    pump();
    far_settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 40000);
    pump();
    for (i = 0; i < 6; i++)
        assert_int_equal(client.told[i].writable, 1);
}

static void the_urgent_are_sent_first_and_equals_in_turn(void **state)
{
    static const uint8_t urgencies[] = {5, 1, 5, 1};
    size_t i;

    (void)state;
    far_settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
    pump();
    for (i = 0; i < 4; i++) {
        client.told[i].stream.urgency = urgencies[i];
        open_post(i, HWS_BODY_CHUNKED, 0);
        give(i, 0, 48000, false);
    }
    pump();
    far.frames = 0;
    far_settings(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 60000);
    pump();
    assert_in_range(far.frames, 12, 16); /* the connection's window cuts some */
    for (i = 0; i < 6; i++)
        assert_int_equal(far.order[i] % 4, 3); /* 3 and 7 */
    assert_int_not_equal(far.order[0], far.order[1]);
    assert_int_not_equal(far.order[6], far.order[7]);
}

static void a_flush_is_bounded(void **state)
{
    (void)state;
    open_post(0, HWS_BODY_CHUNKED, 0);
    give(0, 0, 60000, false);
    (void)h2_run_flush(&client, 0);
    assert_in_range(hws_buffer_size(&client.out), 1, 200);
    hws_buffer_clear(&client.out);
    (void)h2_run_flush(&client, 20000);
    assert_in_range(hws_buffer_size(&client.out), 20000, 2 * 16393);
}

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

/* As an idle connection has them, for weeks. */
static void pings_among_traffic_are_no_flood(void **state)
{
    int k;

    (void)state;
    begin_raw(true);
    for (k = 0; k < 30000; k++) {
        FRAME(NGHTTP2_PING, 0, 0, "12345678");
        if (k % 500 == 0) {
            FRAME(NGHTTP2_DATA, 0, 1, "x");
            feed_raw();
            hws_buffer_clear(&client.out);
        }
    }
    feed_raw();
    assert_int_equal(client.failure, HWS_OK);
}

/* Memory ------------------------------------------------------------------------------------ */

/* Plays a scenario until something fails; returns whether it came through. */
static bool play(void)
{
    hws_message_t message = get("X-Some: one\r\nOther: two\r\n");
    hws_message_t upload = post(HWS_BODY_SIZED, 100000);
    char data[20000];
    size_t sent = 0;
    size_t taken;
    size_t k;
    int i;

    if (h2_run_open(&client, 0, &message) != HWS_OK || h2_run_open(&client, 1, &upload) != HWS_OK)
        return false;
    for (i = 0; i < 30 && client.failure == HWS_OK; i++) {
        hws_stream_t *stream = &client.told[1].stream;
        const uint8_t *bytes;
        ssize_t size;

        for (k = 0; k < sizeof(data); k++)
            data[k] = (char)((sent + k) % 251);
        if (stream->part != NULL && sent < 100000) {
            if (client.codec->ops->send(client.codec, stream, data, sizeof(data), false, NULL,
                                        &taken) != HWS_OK)
                return false;
            sent += taken;
        }
        if (i == 3) {
            far_stream(1)->has_trailers = true;
            far_answer_with(1, "200", "content-length", "50000", 50000);
            client.told[0].takes = 10;
        }
        if (i == 5 && client.told[0].stream.part != NULL) {
            size_t unread = client.told[0].unread;

            client.told[0].unread = 0;
            (void)client.codec->ops->credit(client.codec, &client.told[0].stream, unread, NULL);
        }
        if (i == 6)
            (void)client.codec->ops->ping(client.codec);
        if (i == 20)
            far_answer(3, "200", 10);
        if (h2_run_flush(&client, 65536) != HWS_OK)
            return false;
        size = nghttp2_session_mem_recv(far.session, (const uint8_t *)hws_buffer_bytes(&client.out),
                                        hws_buffer_size(&client.out));
        assert_int_equal(size, hws_buffer_size(&client.out));
        hws_buffer_clear(&client.out);
        while ((size = nghttp2_session_mem_send(far.session, &bytes)) > 0)
            feed(bytes, (size_t)size);
    }
    return client.failure == HWS_OK;
}

static void any_allocation_may_fail(void **state)
{
    uint64_t n;

    (void)state;
    for (n = 1;; n++) {
        bool is_through;
        uint64_t count;
        int rc;

        h2_run_dispose(&client);
        nghttp2_session_del(far.session);
        far_create(true);
        hws_memory_fail_at(n);
        rc = h2_run_create(&client, NULL);
        if (rc != HWS_OK) {
            assert_int_equal(rc, HWS_ERR_NOMEM);
            client.codec = NULL;
            continue;
        }
        is_through = play();
        count = hws_memory_count();
        hws_memory_fail_at(0);
        if (count < n) {
            assert_true(is_through);
            expect_end(0, HWS_OK);
            expect_end(1, HWS_OK);
            break;
        }
        if (client.failure != HWS_OK && client.failure != HWS_ERR_NOMEM)
            print_error("%d: %s\n", (int)n, hws_error_name(client.failure));
        assert_true(client.failure == HWS_OK || client.failure == HWS_ERR_NOMEM);
        assert_in_range(client.told[0].ends, 0, 1);
        if (client.told[0].ends > 0)
            assert_true(client.told[0].code == HWS_OK || client.told[0].code == HWS_ERR_NOMEM ||
                        client.told[0].code == HWS_ERR_GOAWAY);
    }
    assert_true(n > 20);
}

static void a_request_allocates_little(void **state)
{
    uint64_t count;
    size_t i;

    (void)state;
    for (i = 0; i < 20; i++) {
        hws_memory_fail_at(UINT64_MAX);
        open_get(0);
        turn();
        far_answer((int32_t)(2 * i + 1), "200", 1000);
        pump();
        expect_end(0, HWS_OK);
        count = hws_memory_count();
    }
    print_message("%u allocations a request\n", (unsigned)count);
    assert_in_range(count, 1, 8);
}

#define ANY_WAY(test, setup)                                                                       \
    {#test " (whole)", test, setup, finish, (void *)WHOLE},                                        \
        {#test " (bytes)", test, setup, finish, (void *)BYTES},                                    \
    {                                                                                              \
#test " (random)", test, setup, finish, (void *)RANDOM                                     \
    }
#define PLAIN(test) ANY_WAY(test, begin)
#define SETTLED(test) ANY_WAY(test, begin_settled)

/* With a folder as its argument it also writes the corpus of fuzz_h2 there. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PLAIN(says_what_it_takes),
        PLAIN(a_get_is_answered),
        PLAIN(fields_are_sent_as_http2_has_them),
        PLAIN(priority_is_said_unless_the_user_says_it),
        PLAIN(fields_of_a_connection_are_refused),
        PLAIN(connect_is_refused),
        SETTLED(bodies_are_sent),
        SETTLED(an_end_without_bytes_is_sent_alone),
        SETTLED(a_head_has_no_body),
        SETTLED(informational_responses_are_passed_over),
        SETTLED(trailers_come_after_the_body),
        SETTLED(an_early_response_is_a_response),
        SETTLED(what_goes_on_after_its_response_is_told_when_that_fails),
        SETTLED(each_reset_has_its_code),
        SETTLED(goaway_in_a_burst_spares_what_was_seen),
        SETTLED(goaway_of_nothing_seen_ends_all),
        SETTLED(goaway_in_two_steps),
        SETTLED(refused_is_told_from_goaway),
        SETTLED(our_goaway_lets_the_open_ones_go_on),
        PLAIN(the_peers_limit_is_obeyed_as_it_changes),
        SETTLED(what_has_not_left_when_the_limit_falls_was_not_seen),
        SETTLED(resets_give_their_room_back),
        SETTLED(a_fin_cuts_what_is_open),
        SETTLED(pings_are_counted_apart),
        PLAIN(a_reader_that_takes_nothing_keeps_only_its_own_window),
        PLAIN(what_is_unread_goes_back_when_a_stream_goes),
        PLAIN(what_comes_for_a_reset_stream_goes_back),
        PLAIN(windows_grow_where_readers_keep_up),
        PLAIN(uploads_wait_for_windows),
        SETTLED(a_larger_initial_window_wakes_all),
        SETTLED(what_waits_to_be_sent_is_bounded),
        SETTLED(the_urgent_are_sent_first_and_equals_in_turn),
        SETTLED(a_flush_is_bounded),
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
        PLAIN(any_allocation_may_fail),
        SETTLED(a_request_allocates_little),
    };

    corpus = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
