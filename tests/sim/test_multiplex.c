/* Connections with many streams: how many there are, what they share, and for how long. */
#include "support/many.h"

#include <string.h>

/* ---- sharing a connection ---- */

static hws_upstream_t *present; /* for callbacks */

static void start_a_hundred(ask_t *ask, void *user)
{
    (void)ask;
    (void)user;
    many_start_all(present, 1, 100, "GET");
}

static void requests_of_one_turn_leave_in_one_write(void **state)
{
    uint64_t writes;
    uint32_t arrivals;

    (void)state;
    present = many_upstream(NULL, 1);
    many_slow_down(0);
    ask_init(&stage.asks[0]);
    stage.asks[0].then = start_a_hundred;
    assert_int_equal(ask_start(&stage.asks[0], present), HWS_OK);
    many_run(HWS_US(1500)); /* the acknowledgement of the SETTINGS is out as well */
    writes = stage.world.writes;
    many_run(HWS_MS(1));
    arrivals = h2_far_latest(&fars[0])->arrivals;
    many_run(HWS_MS(1));
    assert_int_equal(fars[0].heads, 101);
    assert_int_equal(fars[0].peak, 100);
    assert_int_equal(stage.world.writes - writes, 1);
    assert_int_equal(h2_far_latest(&fars[0])->arrivals - arrivals, 1);
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 100), 100);
    assert_int_equal(fars[0].visited, 1);
    assert_int_equal(world_stats(present).idle, 1);
}

typedef struct {
    unsigned requests;
    uint32_t ours;
    uint32_t theirs;
    uint32_t per_peer;
    uint32_t connections;
    uint32_t peak;
} caps_t;

static void play_caps(const caps_t *row)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    options.limits.streams = row->ours;
    options.limits.per_peer = row->per_peer;
    fars[0].streams = row->theirs;
    fars[0].reply.after = HWS_MS(10);
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start_all(upstream, 0, row->requests, "GET");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, row->requests), row->requests);
    assert_int_equal(fars[0].visited, row->connections);
    assert_int_equal(fars[0].peak, row->peak);
    assert_int_equal(world_stats(upstream).idle, row->connections);
}

static void streams_are_capped_by_us_and_by_the_peer(void **state)
{
    static const caps_t rows[] = {
        {250, 100, 100, 3, 3, 100},  {250, 100, 1000, 3, 3, 100}, {250, 300, 100, 3, 3, 100},
        {250, 300, 1000, 3, 3, 100}, {250, 100, 100, 2, 2, 100},  {40, 100, 10, 4, 4, 10},
        {40, 100, 10, 2, 2, 10},     {5, 100, 1, 2, 2, 1},        {5, 1, 100, 2, 2, 1},
        {5, 1, 1, 1, 1, 1},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0)
            many_again();
        play_caps(&rows[i]);
    }
}

/* The peer's SETTINGS come after the first requests, which it refuses as many of as are too many. */
static void a_peer_that_takes_no_stream_is_waited_for(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].streams = 0;
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start_all(upstream, 0, 10, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage_done(0, 10), 0);
    assert_int_equal(world_stats(upstream).queued, 10);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 10), 10);
    assert_int_equal(fars[0].visited, 1);
    assert_int_equal(fars[0].peak, 3);
}

/* Other connections to it would not be any better. */
static void a_peer_that_takes_no_stream_gets_no_more_connections(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    many_slow_down(0);
    many_start(upstream, 0, "GET");
    many_run(HWS_MS(10));
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0);
    many_run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).idle, 0);
    many_start_all(upstream, 1, 10, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage.world.connects, 1);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 11), 11);
    assert_int_equal(stage.world.connects, 1);
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void a_limit_lowered_in_the_midst_is_kept(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].reply.is_silent = true;
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start_all(upstream, 0, 50, "GET");
    many_run(HWS_MS(10));
    assert_int_equal(h2_far_latest(&fars[0])->open, 50);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10);
    many_run(HWS_MS(10));
    many_start_all(upstream, 50, 30, "GET");
    many_run(HWS_MS(10));
    assert_int_equal(fars[0].heads, 50);
    fars[0].reply = (h2_reply_t){.body = 5, .after = HWS_MS(10)};
    h2_far_answer_all(h2_far_latest(&fars[0]), (h2_reply_t){.body = 5});
    h2_far_latest(&fars[0])->peak = 0;
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 80), 80);
    assert_int_equal(h2_far_latest(&fars[0])->peak, 10);
}

/* `reuse` is about connections that carry one request after another. */
static void requests_that_reuse_nothing_share_a_connection_all_the_same(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.reuse = HWS_REUSE_NEVER;
    upstream = many_upstream(&options, 1);
    for (i = 0; i < 6; i += 2) {
        many_start(upstream, i, "GET");
        many_start(upstream, i + 1, "POST");
        many_run(HWS_S(10));
    }
    assert_int_equal(stage_ok(0, 6), 6);
    assert_int_equal(fars[0].visited, 1);
}

/* ---- dialling ---- */

static const char *alpn_h2[] = {"h2", NULL};
static const char *alpn_http1[] = {"http/1.1", NULL};

static bool is_alpn_given; /* by the user of the next one */

static hws_upstream_t *secure_upstream(hws_upstream_options_t *options, const char **alpn)
{
    static tls_far_options_t far;
    static hws_peer_options_t place;
    hws_tls_options_t tls = {
        .ca = HWS_SLICE(TEST_CERTIFICATES "/root.pem"), .server_name = "localhost", .verify = true};

    if (is_alpn_given)
        tls.alpn = alpn;
    far = (tls_far_options_t){.cert = "good", .alpn = alpn};
    fars[0].tls = &far;
    many_slow_down(0);
    fars[0].listener->options.connect_min = fars[0].listener->options.connect_max = HWS_MS(1);
    place = (hws_peer_options_t){.url = HWS_SLICE("https://10.0.0.1:11")};
    options->peers = &place;
    options->peer_count = 1;
    options->tls = &tls;
    return many_upstream(options, 1);
}

static void while_the_protocol_is_unknown_there_is_one_dial(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, alpn_h2);

    (void)state;
    fars[0].reply.after = HWS_MS(10);
    many_start_all(upstream, 0, 150, "GET");
    many_run(HWS_MS(3));
    assert_int_equal(world_stats(upstream).dialing, 1);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 150), 150);
    assert_int_equal(stage.world.connects, 2);
    assert_int_equal(fars[0].heads, 150);
}

static void over_tls_requests_of_one_turn_leave_in_one_write(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    uint64_t writes;

    (void)state;
    present = secure_upstream(&options, alpn_h2);
    ask_init(&stage.asks[0]);
    stage.asks[0].then = start_a_hundred;
    assert_int_equal(ask_start(&stage.asks[0], present), HWS_OK);
    while (fars[0].heads == 0)
        many_run(HWS_US(100));
    writes = stage.world.writes;
    many_run(HWS_MS(2));
    assert_int_equal(fars[0].heads, 101);
    assert_int_equal(stage.world.writes - writes, 1);
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 100), 100);
}

static void who_waited_for_http1_dials_its_own(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, alpn_http1);

    (void)state;
    many_start_all(upstream, 0, 5, "GET");
    many_run(HWS_MS(1));
    assert_int_equal(stage.world.connects, 1);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 5), 5);
    assert_in_range(stage.world.connects, 4, 5); /* one may be served by the first */
    assert_int_equal(fars[0].heads, 0);
}

static void a_peer_without_alpn_speaks_http1(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, NULL);

    (void)state;
    many_start_all(upstream, 0, 2, "GET");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
}

static void who_wants_h2_takes_nothing_else(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.protocol = HWS_PROTOCOL_H2;
    upstream = secure_upstream(&options, NULL);
    many_start_all(upstream, 0, 4, "GET");
    many_run(HWS_S(1));
    for (i = 0; i < 4; i++) {
        assert_int_equal(stage.asks[i].code, HWS_ERR_NO_ALPN);
        assert_int_equal(stage.asks[i].error.attempts, 1);
        assert_false(stage.asks[i].error.sent);
    }
    assert_int_equal(stage.world.connects, 1);
    assert_int_equal(stage.world.open, 0);
}

/* ---- a peer that wants HTTP/1.1 ---- */

static const char *alpn_both[] = {"h2", "http/1.1", NULL};

static h2_reply_t want_http1(h2_far_t *far, h2_far_stream_t *stream)
{
    if (strcmp(stream->path, "/0") == 0)
        return far->reply;
    return (h2_reply_t){.is_silent = true, .has_reset = true, .reset = NGHTTP2_HTTP_1_1_REQUIRED};
}

/* A stream that it takes goes on, what it turned down goes there in HTTP/1.1, and so does all that
 * follows. No retries are on, and the breaker, which opens at the first failure, knows of none. */
static void who_is_told_to_speak_http1_does(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_trace_t trace;

    (void)state;
    options.breaker = many_breaker(1);
    upstream = secure_upstream(&options, alpn_both);
    fars[0].choose = want_http1;
    fars[0].reply.after = HWS_MS(50);
    many_start(upstream, 0, "GET");
    many_run(HWS_MS(20));
    many_start_all(upstream, 1, 20, "GET");
    stage.asks[1].is_kept = true;
    many_run(HWS_MS(20));
    assert_int_equal(stage_ok(0, 21), 20);
    assert_int_equal(fars[0].heads, 21);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 21), 21);
    assert_int_equal(hws_request_attempts(stage.asks[1].request), 2);
    hws_request_trace(stage.asks[1].request, 0, &trace);
    assert_int_equal(trace.code, HWS_ERR_RST_HTTP_1_1);
    assert_true(trace.is_unseen);
    assert_int_equal(world_stats(upstream).replayed, 20);
    assert_int_equal(world_stats(upstream).failed, 0);
    many_start(upstream, 30, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(30, 1), 1);
    assert_int_equal(fars[0].heads, 21);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
}

/* The peer may have looked at it: only its sender knows whether it may go twice. The next one does not
 * come so far. */
static void what_may_not_go_twice_is_told_and_the_next_is_spared(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream = secure_upstream(&options, alpn_both);

    (void)state;
    fars[0].choose = want_http1;
    many_start(upstream, 1, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage.asks[1].code, HWS_ERR_RST_HTTP_1_1);
    assert_int_equal(stage.asks[1].error.attempts, 1);
    assert_false(stage.asks[1].error.retryable);
    many_start(upstream, 2, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(2, 1), 1);
    assert_int_equal(fars[0].heads, 1);
}

/* By the user's word, that of the options of TLS, or because there is no ALPN to choose by. */
static void where_http2_is_all_there_is_that_is_an_error(void **state)
{
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        hws_upstream_options_t options = world_options(&stage.world);

        if (i > 0)
            many_again();
        fars[0].choose = want_http1;
        if (i == 1)
            options.protocol = HWS_PROTOCOL_H2;
        is_alpn_given = i == 2;
        upstream = i == 0 ? many_upstream(&options, 1) : secure_upstream(&options, alpn_both);
        is_alpn_given = false;
        many_start(upstream, 1, "GET");
        many_run(HWS_S(1));
        assert_int_equal(stage.asks[1].code, HWS_ERR_RST_HTTP_1_1);
        assert_int_equal(stage.asks[1].error.attempts, 1);
        assert_int_equal(fars[0].heads, 1);
        assert_int_equal(world_stats(upstream).open, 1);
    }
}

/* A second connection had agreed on HTTP/2 when the first one's requests were turned down. */
static void a_dial_under_way_is_made_again(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, alpn_both);

    (void)state;
    fars[0].choose = want_http1;
    fars[0].streams = 10;
    many_start_all(upstream, 1, 60, "GET");
    many_run(HWS_S(2));
    assert_int_equal(stage_ok(1, 60), 60);
    assert_true(fars[0].heads <= 60);
    assert_int_equal(stage.world.open, world_stats(upstream).open);
}

static void a_failed_dial_is_told_to_all_and_to_the_breaker_once(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_peer_view_t view;
    unsigned i;

    (void)state;
    options.breaker = many_breaker(2);
    fars[0].listener->options.answer = HWS_ERR_REFUSED;
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start_all(upstream, 0, 30, "POST");
    many_run(HWS_S(1));
    for (i = 0; i < 30; i++) {
        assert_int_equal(stage.asks[i].code, HWS_ERR_REFUSED);
        assert_int_equal(stage.asks[i].error.attempts, 1);
        assert_int_equal(stage.asks[i].error.phase, HWS_PHASE_CONNECT);
        assert_false(stage.asks[i].error.sent);
    }
    assert_int_equal(stage.world.connects, 1);
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_CLOSED);
    many_start(upstream, 30, "GET");
    many_run(HWS_S(1));
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_OPEN);
}

static void after_a_failed_dial_all_go_elsewhere(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    fars[0].listener->options.answer = HWS_ERR_REFUSED;
    many_slow_down(0);
    many_slow_down(1);
    upstream = many_upstream(&options, 2);
    many_start_all(upstream, 0, 30, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 30), 30);
    for (i = 0; i < 30; i++)
        assert_int_equal(fars[1].seen[i], 1);
    assert_int_equal(fars[1].visited, 1);
}

static void where_the_protocol_is_known_as_many_are_dialled_as_are_needed(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    fars[0].listener->options.connect_min = fars[0].listener->options.connect_max = HWS_MS(5);
    many_start_all(upstream, 0, 100, "GET");
    assert_int_equal(world_stats(upstream).dialing, 1);
    many_start_all(upstream, 100, 1, "GET");
    assert_int_equal(world_stats(upstream).dialing, 2);
    many_start_all(upstream, 101, 149, "GET");
    assert_int_equal(world_stats(upstream).dialing, 3);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 250), 250);
    assert_int_equal(stage.world.connects, 3);
}

static void who_leaves_a_shared_dial_leaves_it_to_the_others(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    fars[0].listener->options.connect_min = fars[0].listener->options.connect_max = HWS_MS(5);
    many_start_all(upstream, 0, 10, "GET");
    ask_cancel(&stage.asks[0]);
    ask_dispose(&stage.asks[5]);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 10), 8);
    assert_int_equal(stage.asks[0].code, HWS_ERR_CANCELED);
    assert_int_equal(stage.world.connects, 1);
}

/* ---- time ---- */

static h2_reply_t drip(h2_far_t *far, h2_far_stream_t *stream)
{
    if (strcmp(stream->path, "/0") == 0)
        return (h2_reply_t){.body = 3, .is_endless = true};
    return far->reply;
}

static void a_silent_stream_is_given_up_while_others_talk(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.timeouts.read = HWS_S(5);
    fars[0].choose = drip;
    upstream = many_upstream(&options, 1);
    many_start(upstream, 0, "GET");
    for (i = 1; i < 5; i++) {
        many_run(HWS_S(1));
        many_start(upstream, i, "GET");
    }
    many_run(HWS_MS(900));
    assert_int_equal(stage_done(0, 1), 0);
    many_run(HWS_MS(200));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_BODY);
    assert_int_equal(fars[0].last_reset, NGHTTP2_CANCEL);
    many_start(upstream, 5, "GET");
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 5), 5);
    assert_int_equal(fars[0].visited, 1);
}

/* A connection that is never without a stream grows old as well. */
static void past_its_lifetime_a_busy_connection_is_relieved(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.timeouts.lifetime = HWS_S(10);
    fars[0].reply.after = HWS_S(2);
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    for (i = 0; i < 15; i++) {
        fars[0].reply.after = i == 8 ? HWS_S(6) : HWS_S(2);
        many_start(upstream, i, "POST");
        many_run(HWS_S(1));
        if (i < 12)
            continue;
        /* The peer has been told while there was a stream on it. */
        assert_int_equal(fars[0].goaways, 1);
        assert_int_equal(world_stats(upstream).open, i < 14 ? 2 : 1);
    }
    many_run(HWS_S(3));
    assert_int_equal(stage_ok(0, 15), 15);
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(fars[0].goaways, 1);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LIFETIME], 1);
    assert_int_equal(world_stats(upstream).open, 1);
}

/* Where nothing else happens on it. */
static void past_its_lifetime_a_slow_connection_is_relieved(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.lifetime = HWS_S(10);
    options.timeouts.idle = HWS_S(5);
    options.h2.ping_idle = HWS_NEVER;
    fars[0].reply.after = HWS_S(20);
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start(upstream, 0, "POST");
    many_run(HWS_S(8));
    assert_int_equal(fars[0].goaways, 0);
    many_run(HWS_S(4));
    assert_int_equal(fars[0].goaways, 1);
    many_run(HWS_S(10));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void an_idle_connection_goes_when_its_time_is_over(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.idle = HWS_S(10);
    upstream = many_upstream(&options, 1);
    many_start(upstream, 0, "GET");
    many_run(HWS_S(5));
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 50);
    many_run(HWS_S(4)); /* what the peer says is no use */
    assert_int_equal(stage.world.open, 1);
    many_run(HWS_S(2));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_IDLE], 1);
    assert_int_equal(fars[0].goaways, 1);
}

/* ---- upstreams that end ---- */

static unsigned drained;

static void note_drained(void *user, int status)
{
    *(int *)user = status;
    drained++;
}

static void a_drained_upstream_lets_its_streams_end(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    int status = 1;

    (void)state;
    drained = 0;
    fars[0].reply.after = HWS_S(1);
    many_slow_down(0);
    many_start_all(upstream, 0, 10, "POST");
    many_run(HWS_MS(10));
    assert_int_equal(hws_upstream_drain(upstream, HWS_S(5), note_drained, &status), HWS_OK);
    many_run(HWS_MS(10));
    assert_int_equal(drained, 0);
    many_run(HWS_S(2));
    assert_int_equal(drained, 1);
    assert_int_equal(status, HWS_OK);
    assert_int_equal(stage_ok(0, 10), 10);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(fars[0].goaways, 1);
}

static void a_closed_upstream_ends_its_streams(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    unsigned i;

    (void)state;
    fars[0].reply.is_silent = true;
    many_start_all(upstream, 0, 10, "GET");
    many_run(HWS_MS(10));
    hws_upstream_close(upstream);
    assert_int_equal(stage.world.open, 0);
    many_run(HWS_MS(10));
    for (i = 0; i < 10; i++)
        assert_int_equal(stage.asks[i].code, HWS_ERR_CLOSED);
    assert_int_equal(fars[0].goaways, 1);
}

static void a_removed_peer_lets_its_streams_end(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    hws_upstream_options_t options;
    hws_peer_options_t peer = {.url = HWS_SLICE("h2c://10.0.0.1:12")};

    (void)state;
    fars[0].reply.after = HWS_S(1);
    many_start_all(upstream, 0, 10, "POST");
    many_run(HWS_MS(10));
    hws_upstream_settings(upstream, &options);
    options.peers = &peer;
    options.peer_count = 1;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    many_start_all(upstream, 10, 5, "POST");
    many_run(HWS_S(2));
    assert_int_equal(stage_ok(0, 15), 15);
    assert_int_equal(fars[0].heads, 10);
    assert_int_equal(fars[1].heads, 5);
    assert_int_equal(world_open_at(&stage.world, MANY_PORT), 0);
}

static void lowered_limits_hold_for_what_comes_next(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    hws_upstream_options_t options;

    (void)state;
    fars[0].reply.after = HWS_S(1);
    many_start_all(upstream, 0, 20, "POST");
    many_run(HWS_MS(10));
    hws_upstream_settings(upstream, &options);
    options.limits.streams = 2;
    options.limits.per_peer = 1;
    options.timeouts.lifetime = HWS_S(100);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    many_run(HWS_S(2));
    assert_int_equal(stage_ok(0, 20), 20);
    h2_far_end_all(&fars[0], HWS_SIM_CLOSE);
    many_run(HWS_MS(10));
    fars[0].peak = 0;
    many_start_all(upstream, 0, 4, "POST");
    many_run(HWS_S(3));
    assert_int_equal(stage_ok(0, 4), 4);
    assert_int_equal(fars[0].peak, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANY_TEST(requests_of_one_turn_leave_in_one_write),
        MANY_TEST(streams_are_capped_by_us_and_by_the_peer),
        MANY_TEST(a_peer_that_takes_no_stream_is_waited_for),
        MANY_TEST(a_peer_that_takes_no_stream_gets_no_more_connections),
        MANY_TEST(a_limit_lowered_in_the_midst_is_kept),
        MANY_TEST(requests_that_reuse_nothing_share_a_connection_all_the_same),
        MANY_TEST(while_the_protocol_is_unknown_there_is_one_dial),
        MANY_TEST(over_tls_requests_of_one_turn_leave_in_one_write),
        MANY_TEST(who_waited_for_http1_dials_its_own),
        MANY_TEST(a_peer_without_alpn_speaks_http1),
        MANY_TEST(who_wants_h2_takes_nothing_else),
        MANY_TEST(who_is_told_to_speak_http1_does),
        MANY_TEST(what_may_not_go_twice_is_told_and_the_next_is_spared),
        MANY_TEST(where_http2_is_all_there_is_that_is_an_error),
        MANY_TEST(a_dial_under_way_is_made_again),
        MANY_TEST(a_failed_dial_is_told_to_all_and_to_the_breaker_once),
        MANY_TEST(after_a_failed_dial_all_go_elsewhere),
        MANY_TEST(where_the_protocol_is_known_as_many_are_dialled_as_are_needed),
        MANY_TEST(who_leaves_a_shared_dial_leaves_it_to_the_others),
        MANY_TEST(a_silent_stream_is_given_up_while_others_talk),
        MANY_TEST(past_its_lifetime_a_busy_connection_is_relieved),
        MANY_TEST(past_its_lifetime_a_slow_connection_is_relieved),
        MANY_TEST(an_idle_connection_goes_when_its_time_is_over),
        MANY_TEST(a_drained_upstream_lets_its_streams_end),
        MANY_TEST(a_closed_upstream_ends_its_streams),
        MANY_TEST(a_removed_peer_lets_its_streams_end),
        MANY_TEST(lowered_limits_hold_for_what_comes_next),
    };

    return cmocka_run_group_tests_name("multiplex", tests, NULL, NULL);
}
