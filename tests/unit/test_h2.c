#include "support/h2_pair.h"

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

/* By limits.header, or by what the peer says. */
static void a_head_beyond_either_bound_is_refused(void **state)
{
    static char line[65536];
    hws_message_t message = get("");
    size_t mosts[] = {sizeof(line), 1000};
    size_t i;

    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "a: ", 3);
    for (i = 0; i < 2; i++) {
        size_t most = mosts[i];

        if (i == 1)
            far_settings(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 1000);
        pump();
        /* With the pseudo-header fields it is too much. */
        memcpy(line + most - 2, "\r\n", 2);
        message.fields = (hws_slice_t){line, most};
        assert_int_equal(h2_run_open(&client, i, &message), HWS_ERR_REQUEST_HEAD);
        /* Four of these, and 32 bytes for each field. */
        memset(line + most - 2, 'x', 2);
        memcpy(line + most - 302, "\r\n", 2);
        message.fields = (hws_slice_t){line, most - 300};
        assert_int_equal(h2_run_open(&client, i, &message), HWS_OK);
        memset(line + most - 302, 'x', 2);
        far_answer((int32_t)client.told[i].stream.id, "200", 0);
        pump();
        expect_end(i, HWS_OK);
    }
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

static void credit(size_t index, size_t size)
{
    h2_told_t *told = &client.told[index];

    told->unread -= size;
    assert_int_equal(client.codec->ops->credit(client.codec, &told->stream, size), HWS_OK);
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

/* A connection's window of 1 MiB, of which more than half is held for good: the rest goes round, down to
 * the last stream's worth. */
static void readers_share_what_others_do_not_hold(void **state)
{
    static const size_t cases[] = {1, 7, 8, 9, 15};
    hws_codec_options_t options = usual();
    int32_t rest;
    size_t held;
    size_t c;
    size_t i;

    (void)state;
    options.windows = (hws_windows_t){65536, 1 << 20, 65536, 1 << 20};
    for (c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        held = cases[c];
        restart(&options, true);
        for (i = 0; i <= held; i++) {
            open_get(i);
            client.told[i].takes = i < held ? 0 : SIZE_MAX;
            pump();
            far_answer((int32_t)(2 * i + 1), "200", i < held ? 100000 : 2000000);
            pump();
        }
        expect_end(held, HWS_OK);
        assert_int_equal(client.told[held].body, 2000000);
        rest = (1 << 20) - (int32_t)held * 65536;
        assert_in_range(nghttp2_session_get_remote_window_size(far.session), rest / 2, rest);
        for (i = 0; i < held; i++) /* each goes in its own way, and takes nothing along */
            if (i % 2 == 0)
                h2_run_reset(&client, i, HWS_CODEC_CANCEL);
            else
                while (client.told[i].ends == 0) {
                    credit(i, client.told[i].unread);
                    pump();
                }
        pump();
        assert_in_range(nghttp2_session_get_remote_window_size(far.session), 1 << 19, 1 << 20);
    }
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

/* Though what is to be sent is not, and the streams stay open. */
static void what_is_unread_goes_back_when_an_answer_ends(void **state)
{
    hws_codec_options_t options = narrow();
    size_t i;

    (void)state;
    restart(&options, true);
    for (i = 0; i < 5; i++) {
        open_post(i, HWS_BODY_SIZED, 10);
        client.told[i].takes = 0;
        pump();
        far_answer((int32_t)(2 * i + 1), "200", 60000);
        pump();
        expect_end(i, HWS_OK);
        assert_int_equal(client.told[i].unread, 60000);
        assert_non_null(client.told[i].stream.part);
    }
}

/* A reset whose answer was on its way: all of it, or all but the first byte of its body. */
static void what_comes_for_a_reset_stream_goes_back(void **state)
{
    static uint8_t answer[100000];
    hws_codec_options_t options = narrow();
    const uint8_t *bytes;
    size_t size;
    size_t i;

    (void)state;
    restart(&options, true);
    for (i = 0; i < 32; i++) {
        size_t first = 0;
        ssize_t more;

        open_get(i);
        pump();
        far_answer((int32_t)(2 * i + 1), "200", 60000);
        for (size = 0; (more = nghttp2_session_mem_send(far.session, &bytes)) > 0;
             size += (size_t)more)
            memcpy(answer + size, bytes, (size_t)more);
        if (i % 2 > 0)
            first = 9U + answer[2] + 9 + 1;
        feed(answer, first);
        h2_run_reset(&client, i, HWS_CODEC_CANCEL);
        feed(answer + first, size - first);
        pump();
        assert_int_equal(client.told[i].body, first > 0);
    }
    open_get(i);
    pump();
    far_answer((int32_t)(2 * i + 1), "200", 300000);
    pump();
    expect_end(i, HWS_OK);
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
            (void)client.codec->ops->credit(client.codec, &client.told[0].stream, unread);
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

static void requests_allocate_nothing_in_the_long_run(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < 20; i++) {
        hws_memory_fail_at(UINT64_MAX);
        open_get(0);
        turn();
        far_answer((int32_t)(2 * i + 1), "200", 1000);
        pump();
        expect_end(0, HWS_OK);
    }
    assert_int_equal(hws_memory_count(), 0); /* of the last one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(says_what_it_takes),
        PLAIN(a_get_is_answered),
        PLAIN(fields_are_sent_as_http2_has_them),
        PLAIN(priority_is_said_unless_the_user_says_it),
        PLAIN(fields_of_a_connection_are_refused),
        PLAIN(a_head_beyond_either_bound_is_refused),
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
        PLAIN(readers_share_what_others_do_not_hold),
        PLAIN(what_is_unread_goes_back_when_a_stream_goes),
        PLAIN(what_is_unread_goes_back_when_an_answer_ends),
        PLAIN(what_comes_for_a_reset_stream_goes_back),
        PLAIN(windows_grow_where_readers_keep_up),
        PLAIN(uploads_wait_for_windows),
        SETTLED(a_larger_initial_window_wakes_all),
        SETTLED(what_waits_to_be_sent_is_bounded),
        SETTLED(the_urgent_are_sent_first_and_equals_in_turn),
        SETTLED(a_flush_is_bounded),
        PLAIN(any_allocation_may_fail),
        SETTLED(requests_allocate_nothing_in_the_long_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
