/* h2_pair.h - a client of the h2 codec and a server of nghttp2, in memory: whole, byte by byte or in
 * random pieces. For the unit tests of the codec, which have one pair at a time. */
#ifndef TESTS_SUPPORT_H2_PAIR_H
#define TESTS_SUPPORT_H2_PAIR_H

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

/* ---- the server ---- */

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

static inline far_stream_t *far_stream(int32_t id)
{
    assert_true(id / 2 < FAR_STREAMS);
    return &far.streams[id / 2];
}

static inline int far_on_header(nghttp2_session *session, const nghttp2_frame *frame,
                                const uint8_t *name, size_t name_size, const uint8_t *value,
                                size_t value_size, uint8_t flags, void *user)
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

static inline int far_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
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

static inline int far_on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                              const uint8_t *data, size_t size, void *user)
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

static inline int far_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session;
    (void)code;
    (void)user;
    far_stream(id)->is_closed = true;
    far.open--;
    return 0;
}

static inline void far_create(bool auto_window)
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

static inline void far_settings(int32_t id, uint32_t value)
{
    nghttp2_settings_entry entry = {id, value};

    assert_int_equal(nghttp2_submit_settings(far.session, NGHTTP2_FLAG_NONE, &entry, 1), 0);
}

static inline nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static inline ssize_t far_read(nghttp2_session *session, int32_t id, uint8_t *data, size_t most,
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
static inline void far_answer_with(int32_t id, const char *status, const char *name,
                                   const char *value, size_t size)
{
    nghttp2_nv fields[2] = {nv(":status", status), nv(name, value)};
    nghttp2_data_provider provider = {.read_callback = far_read};

    far_stream(id)->left = size;
    assert_int_equal(nghttp2_submit_response(far.session, id, fields, 1 + (name[0] != '\0'),
                                             size > 0 ? &provider : NULL),
                     0);
}

static inline void far_answer(int32_t id, const char *status, size_t size)
{
    far_answer_with(id, status, "", "", size);
}

static inline void far_reset(int32_t id, uint32_t code)
{
    assert_int_equal(nghttp2_submit_rst_stream(far.session, NGHTTP2_FLAG_NONE, id, code), 0);
}

/* ---- both ---- */

/* Feeds the client the way this test has it, flushing in between. */
static inline void feed(const void *bytes, size_t size)
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
static inline bool turn(void)
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

static inline void pump(void)
{
    while (turn())
        ;
}

static inline hws_message_t get(const char *fields)
{
    return (hws_message_t){.method = HWS_SLICE("GET"),
                           .scheme = HWS_SLICE("http"),
                           .target = HWS_SLICE("/a?b"),
                           .authority = HWS_SLICE("example.org"),
                           .fields = {fields, strlen(fields)}};
}

static inline hws_message_t post(hws_body_kind_t body, uint64_t size)
{
    hws_message_t message = get("");

    message.method = (hws_slice_t)HWS_SLICE("POST");
    message.body = body;
    message.body_size = size;
    return message;
}

static inline void open_get(size_t index)
{
    hws_message_t message = get("");

    assert_int_equal(h2_run_open(&client, index, &message), HWS_OK);
}

static inline void open_post(size_t index, hws_body_kind_t body, uint64_t size)
{
    hws_message_t message = post(body, size);

    assert_int_equal(h2_run_open(&client, index, &message), HWS_OK);
}

/* Bytes `from` to `from + size` of a body, as many as are taken. */
static inline size_t give(size_t index, size_t from, size_t size, bool is_end)
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
static inline void give_all(size_t index, size_t size)
{
    size_t from = 0;

    while (from < size) {
        from += give(index, from, size - from, true);
        client.told[index].writable = 0;
        while (from < size && client.told[index].writable == 0)
            assert_true(turn());
    }
}

static inline void expect_end(size_t index, int code)
{
    const h2_told_t *told = &client.told[index];

    if (told->ends != 1 || told->code != code)
        print_error("stream %zu: %u ends, %s instead of %s\n", index, told->ends,
                    hws_error_name(told->code), hws_error_name(code));
    assert_int_equal(told->ends, 1);
    assert_int_equal(told->code, code);
}

static inline int begin_with(const hws_codec_options_t *options, bool auto_window)
{
    hws_random_init(&chance, 5);
    assert_int_equal(h2_run_create(&client, options), HWS_OK);
    far_create(auto_window);
    return 0;
}

static inline int begin(void **state)
{
    way = (way_t)(uintptr_t)*state;
    return begin_with(NULL, true);
}

/* The same, with settings exchanged. */
static inline int begin_settled(void **state)
{
    begin(state);
    pump();
    return 0;
}

static inline int finish(void **state)
{
    (void)state;
    h2_run_dispose(&client);
    nghttp2_session_del(far.session);
    hws_memory_fail_at(0);
    return 0;
}

static inline void restart(const hws_codec_options_t *options, bool auto_window)
{
    h2_run_dispose(&client);
    nghttp2_session_del(far.session);
    begin_with(options, auto_window);
    pump();
}

static inline hws_codec_options_t usual(void)
{
    return client.options;
}

static inline hws_codec_options_t narrow(void)
{
    hws_codec_options_t options = usual();

    options.windows = (hws_windows_t){65536, 200000, 65536, 200000};
    return options;
}

#define ANY_WAY(test, setup)                                                                       \
    {#test " (whole)", test, setup, finish, (void *)WHOLE},                                        \
        {#test " (bytes)", test, setup, finish, (void *)BYTES},                                    \
    {                                                                                              \
#test " (random)", test, setup, finish, (void *)RANDOM                                     \
    }
#define PLAIN(test) ANY_WAY(test, begin)
#define SETTLED(test) ANY_WAY(test, begin_settled)

#endif
