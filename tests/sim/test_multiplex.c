/* Connections with many streams: how many there are, what runs on them, how it ends, and what is
 * done with it then. */
#include "support/h2_far.h"
#include "support/stage.h"

#include <stdio.h>
#include <string.h>

#define FARS 3
#define PORT 11 /* of the first */

static h2_far_t fars[FARS];

static int begin(void **state)
{
    unsigned i;

    (void)state;
    stage_begin(1, 0, false);
    for (i = 0; i < FARS; i++)
        h2_far_init(&fars[i], &stage.world, (uint16_t)(PORT + i));
    return 0;
}

static void finish(void)
{
    unsigned i;

    stage_finish();
    for (i = 0; i < FARS; i++)
        h2_far_dispose(&fars[i]);
}

static int end(void **state)
{
    (void)state;
    if (!stage.is_over)
        finish();
    return 0;
}

static hws_upstream_t *upstream_with(const hws_upstream_options_t *options, unsigned peers)
{
    return world_h2c(&stage.world, "a", options, PORT, peers);
}

/* Takes a bit more than a millisecond each way, so that what is under way can be caught there. */
static void slow_down(unsigned far)
{
    fars[far].listener->options.latency_min = fars[far].listener->options.latency_max = HWS_MS(1);
}

static void run(hws_time_t span)
{
    world_run_turns(&stage.world, span);
}

/* ---- requests ---- */

static char targets[H2_FAR_PATHS][8];

/* A request whose path is its number, which tells how often the server has seen it. */
static void start(hws_upstream_t *upstream, unsigned index, const char *method)
{
    ask_t *ask = &stage.asks[index];

    ask_init(ask);
    ask->options.method = (hws_slice_t){method, strlen(method)};
    snprintf(targets[index], sizeof(targets[index]), "/%u", index);
    ask->options.target = (hws_slice_t){targets[index], strlen(targets[index])};
    if (method[0] == 'P') {
        ask->options.has_body = true;
        ask->options.body = (hws_slice_t)HWS_SLICE("hello");
    }
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

static void start_many(hws_upstream_t *upstream, unsigned first, unsigned count, const char *method)
{
    unsigned i;

    for (i = first; i < first + count; i++)
        start(upstream, i, method);
}

/* ---- sharing a connection ---- */

static hws_upstream_t *present; /* for callbacks */

static void start_a_hundred(ask_t *ask, void *user)
{
    (void)ask;
    (void)user;
    start_many(present, 1, 100, "GET");
}

static void requests_of_one_turn_leave_in_one_write(void **state)
{
    uint64_t writes;
    uint32_t arrivals;

    (void)state;
    present = upstream_with(NULL, 1);
    slow_down(0);
    ask_init(&stage.asks[0]);
    stage.asks[0].then = start_a_hundred;
    assert_int_equal(ask_start(&stage.asks[0], present), HWS_OK);
    run(HWS_US(1500)); /* the acknowledgement of the SETTINGS is out as well */
    writes = stage.world.writes;
    run(HWS_MS(1));
    arrivals = h2_far_latest(&fars[0])->arrivals;
    run(HWS_MS(1));
    assert_int_equal(fars[0].heads, 101);
    assert_int_equal(fars[0].peak, 100);
    assert_int_equal(stage.world.writes - writes, 1);
    assert_int_equal(h2_far_latest(&fars[0])->arrivals - arrivals, 1);
    run(HWS_MS(10));
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
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start_many(upstream, 0, row->requests, "GET");
    run(HWS_S(1));
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

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0) {
            finish();
            begin(state);
        }
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
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start_many(upstream, 0, 10, "POST");
    run(HWS_S(1));
    assert_int_equal(stage_done(0, 10), 0);
    assert_int_equal(world_stats(upstream).queued, 10);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3);
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 10), 10);
    assert_int_equal(fars[0].visited, 1);
    assert_int_equal(fars[0].peak, 3);
}

static void a_limit_lowered_in_the_midst_is_kept(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].reply.is_silent = true;
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start_many(upstream, 0, 50, "GET");
    run(HWS_MS(10));
    assert_int_equal(h2_far_latest(&fars[0])->open, 50);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10);
    run(HWS_MS(10));
    start_many(upstream, 50, 30, "GET");
    run(HWS_MS(10));
    assert_int_equal(fars[0].heads, 50);
    fars[0].reply = (h2_reply_t){.body = 5, .after = HWS_MS(10)};
    h2_far_answer_all(h2_far_latest(&fars[0]), (h2_reply_t){.body = 5});
    h2_far_latest(&fars[0])->peak = 0;
    run(HWS_S(1));
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
    upstream = upstream_with(&options, 1);
    for (i = 0; i < 6; i += 2) {
        start(upstream, i, "GET");
        start(upstream, i + 1, "POST");
        run(HWS_S(10));
    }
    assert_int_equal(stage_ok(0, 6), 6);
    assert_int_equal(fars[0].visited, 1);
}

/* ---- dialling ---- */

static const char *alpn_h2[] = {"h2", NULL};
static const char *alpn_http1[] = {"http/1.1", NULL};

static hws_upstream_t *secure_upstream(hws_upstream_options_t *options, const char **alpn)
{
    static tls_far_options_t far;
    static hws_peer_options_t place;
    hws_tls_options_t tls = {
        .ca = HWS_SLICE(TEST_CERTIFICATES "/root.pem"), .server_name = "localhost", .verify = true};

    far = (tls_far_options_t){.cert = "good", .alpn = alpn};
    fars[0].tls = &far;
    slow_down(0);
    fars[0].listener->options.connect_min = fars[0].listener->options.connect_max = HWS_MS(1);
    place = (hws_peer_options_t){.url = HWS_SLICE("https://10.0.0.1:11")};
    options->peers = &place;
    options->peer_count = 1;
    options->tls = &tls;
    return upstream_with(options, 1);
}

static void while_the_protocol_is_unknown_there_is_one_dial(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, alpn_h2);

    (void)state;
    start_many(upstream, 0, 30, "GET");
    run(HWS_MS(3));
    assert_int_equal(world_stats(upstream).dialing, 1);
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 30), 30);
    assert_int_equal(stage.world.connects, 1);
    assert_int_equal(fars[0].heads, 30);
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
        run(HWS_US(100));
    writes = stage.world.writes;
    run(HWS_MS(2));
    assert_int_equal(fars[0].heads, 101);
    assert_int_equal(stage.world.writes - writes, 1);
    run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 100), 100);
}

static void who_waited_for_http1_dials_its_own(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, alpn_http1);

    (void)state;
    start_many(upstream, 0, 5, "GET");
    run(HWS_MS(1));
    assert_int_equal(stage.world.connects, 1);
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 5), 5);
    assert_in_range(stage.world.connects, 4, 5); /* one may be served by the first */
    assert_int_equal(fars[0].heads, 0);
}

static void a_peer_without_alpn_speaks_http1(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = secure_upstream(&options, NULL);

    (void)state;
    start_many(upstream, 0, 2, "GET");
    run(HWS_S(1));
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
    start_many(upstream, 0, 4, "GET");
    run(HWS_S(1));
    for (i = 0; i < 4; i++) {
        assert_int_equal(stage.asks[i].code, HWS_ERR_NO_ALPN);
        assert_int_equal(stage.asks[i].error.attempts, 1);
        assert_false(stage.asks[i].error.sent);
    }
    assert_int_equal(stage.world.connects, 1);
    assert_int_equal(stage.world.open, 0);
}

/* How many failures a breaker was told of that opens after `consecutive` of them. */
static hws_breaker_options_t breaker_of(uint32_t consecutive)
{
    hws_breaker_options_t breaker;

    hws_breaker_options_init(&breaker);
    breaker.consecutive = consecutive;
    breaker.failure_rate = 1;
    breaker.min_calls = 1000;
    return breaker;
}

static void a_failed_dial_is_told_to_all_and_to_the_breaker_once(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_peer_view_t view;
    unsigned i;

    (void)state;
    options.breaker = breaker_of(2);
    fars[0].listener->options.answer = HWS_ERR_REFUSED;
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start_many(upstream, 0, 30, "POST");
    run(HWS_S(1));
    for (i = 0; i < 30; i++) {
        assert_int_equal(stage.asks[i].code, HWS_ERR_REFUSED);
        assert_int_equal(stage.asks[i].error.attempts, 1);
        assert_int_equal(stage.asks[i].error.phase, HWS_PHASE_CONNECT);
        assert_false(stage.asks[i].error.sent);
    }
    assert_int_equal(stage.world.connects, 1);
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_CLOSED);
    start(upstream, 30, "GET");
    run(HWS_S(1));
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
    slow_down(0);
    slow_down(1);
    upstream = upstream_with(&options, 2);
    start_many(upstream, 0, 30, "POST");
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 30), 30);
    for (i = 0; i < 30; i++)
        assert_int_equal(fars[1].seen[i], 1);
    assert_int_equal(fars[1].visited, 1);
}

static void where_the_protocol_is_known_as_many_are_dialled_as_are_needed(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);

    (void)state;
    fars[0].listener->options.connect_min = fars[0].listener->options.connect_max = HWS_MS(5);
    start_many(upstream, 0, 100, "GET");
    assert_int_equal(world_stats(upstream).dialing, 1);
    start_many(upstream, 100, 1, "GET");
    assert_int_equal(world_stats(upstream).dialing, 2);
    start_many(upstream, 101, 149, "GET");
    assert_int_equal(world_stats(upstream).dialing, 3);
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 250), 250);
    assert_int_equal(stage.world.connects, 3);
}

static void who_leaves_a_shared_dial_leaves_it_to_the_others(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);

    (void)state;
    fars[0].listener->options.connect_min = fars[0].listener->options.connect_max = HWS_MS(5);
    start_many(upstream, 0, 10, "GET");
    ask_cancel(&stage.asks[0]);
    ask_dispose(&stage.asks[5]);
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 10), 8);
    assert_int_equal(stage.asks[0].code, HWS_ERR_CANCELED);
    assert_int_equal(stage.world.connects, 1);
}

/* ---- GOAWAY ---- */

static int32_t goes_after; /* the stream that a server gives as the last one... */
static unsigned goes_at;   /* ... when so many have come, 0: never */
static uint32_t goes_with;

static h2_reply_t answer_until_gone(h2_far_t *far, h2_far_stream_t *stream)
{
    h2_visit_t *visit = stream->visit;

    if (visit->number == 1 && visit->heads >= goes_at && visit->last == INT32_MAX)
        h2_far_go_away(visit, goes_after, goes_with);
    return far->reply;
}

/* GETs and POSTs of one burst, in the midst of which a GOAWAY comes. */
static hws_upstream_t *burst(const hws_upstream_options_t *options, int32_t last, unsigned at)
{
    hws_upstream_t *upstream;
    unsigned i;

    goes_after = last;
    goes_at = at;
    goes_with = NGHTTP2_NO_ERROR;
    fars[0].choose = answer_until_gone;
    fars[0].reply.after = HWS_MS(2);
    slow_down(0);
    upstream = upstream_with(options, 1);
    for (i = 0; i < 40; i++)
        start(upstream, i, i % 2 ? "POST" : "GET");
    run(HWS_S(1));
    return upstream;
}

/* No retries are on, and the budget has nothing to do with it. */
static void a_goaway_in_a_burst_loses_nothing(void **state)
{
    static const struct {
        int32_t last;
        unsigned at;
    } rows[] = {{0, 1}, {0, 20}, {19, 1}, {19, 20}, {79, 1}, {79, 40}};
    hws_upstream_options_t options;
    hws_upstream_t *upstream;
    hws_peer_view_t view;
    unsigned i;
    unsigned k;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0) {
            finish();
            begin(state);
        }
        options = world_options(&stage.world);
        options.breaker = breaker_of(1);
        upstream = burst(&options, rows[i].last, rows[i].at);
        assert_int_equal(stage_ok(0, 40), 40);
        /* Who says so before it has looked at anything tells the truth. */
        for (k = 0; k < 40 && rows[i].at == 1; k++)
            assert_int_equal(fars[0].seen[k], 1);
        hws_upstream_peer(upstream, 0, &view);
        assert_int_equal(view.breaker, HWS_BREAKER_CLOSED);
        assert_true(view.success_rate == 1);
        assert_int_equal(world_stats(upstream).retried, 0);
        assert_int_equal(world_stats(upstream).failed, 0);
        assert_int_equal(fars[0].visited, rows[i].last >= 79 ? 1 : 2);
        assert_int_equal(world_stats(upstream).open, rows[i].last >= 79 ? 0 : 1);
    }
}

/* RFC 9113, 6.8: first a warning, then how far it came. */
static void a_graceful_goaway_harms_nobody(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_peer_view_t view;
    h2_visit_t *visit;

    (void)state;
    options.breaker = breaker_of(1);
    fars[0].reply.after = HWS_MS(20);
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start_many(upstream, 0, 20, "POST");
    run(HWS_MS(5));
    visit = h2_far_latest(&fars[0]);
    h2_far_go_away(visit, INT32_MAX, NGHTTP2_NO_ERROR);
    run(HWS_US(500));
    start_many(upstream, 20, 10, "POST"); /* before the warning is here */
    run(HWS_MS(5));
    assert_int_equal(visit->heads, 30);
    h2_far_go_away(visit, 59, NGHTTP2_NO_ERROR);
    start_many(upstream, 30, 10, "POST");
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 40), 40);
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(fars[0].heads, 40);
    assert_int_equal(world_stats(upstream).replayed, 0);
    assert_int_equal(world_stats(upstream).open, 1);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_CLOSED);
}

static void an_idle_connection_that_goes_away_is_closed(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);

    (void)state;
    slow_down(0);
    start(upstream, 0, "GET");
    run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).idle, 1);
    h2_far_go_away(h2_far_latest(&fars[0]), 1, NGHTTP2_NO_ERROR);
    run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(stage.world.open, 0);
    start(upstream, 1, "POST");
    run(HWS_MS(10));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(fars[0].visited, 2);
}

/* ---- REFUSED_STREAM ---- */

static unsigned refusals; /* how many streams a server refuses, first */

static h2_reply_t refuse_some(h2_far_t *far, h2_far_stream_t *stream)
{
    (void)stream;
    if (refusals == 0)
        return far->reply;
    refusals--;
    return (h2_reply_t){.is_silent = true, .has_reset = true, .reset = NGHTTP2_REFUSED_STREAM};
}

static void what_is_refused_goes_elsewhere_uncounted(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_trace_t trace;

    (void)state;
    options.breaker = breaker_of(1);
    options.balancer = HWS_BALANCER_ROUND_ROBIN;
    refusals = 1;
    fars[0].choose = refuse_some;
    upstream = upstream_with(&options, 2);
    start(upstream, 0, "POST");
    stage.asks[0].is_kept = true;
    run(HWS_MS(10));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(fars[0].seen[0], 0);
    assert_int_equal(fars[1].seen[0], 1);
    assert_int_equal(hws_request_attempts(stage.asks[0].request), 2);
    hws_request_trace(stage.asks[0].request, 0, &trace);
    assert_true(trace.is_unseen);
    assert_int_equal(trace.code, HWS_ERR_REFUSED_STREAM);
    assert_int_equal(world_stats(upstream).replayed, 1);
    assert_int_equal(world_stats(upstream).retried, 0);
}

/* The only peer refuses again and again: with one attempt that is the end, with two it is asked a
 * third time. */
static void a_second_refusal_is_a_charged_attempt(void **state)
{
    static const struct {
        uint32_t attempts;
        unsigned refusals;
        int code;
        uint32_t made;
    } rows[] = {{1, 1, HWS_OK, 2},
                {1, 2, HWS_ERR_REFUSED_STREAM, 2},
                {2, 2, HWS_OK, 3},
                {2, 3, HWS_ERR_REFUSED_STREAM, 3}};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        const ask_t *ask = &stage.asks[0];

        if (i > 0) {
            finish();
            begin(state);
        }
        options = world_retrying(&stage.world, rows[i].attempts);
        refusals = rows[i].refusals;
        fars[0].choose = refuse_some;
        upstream = upstream_with(&options, 1);
        start(upstream, 0, "POST");
        run(HWS_S(1));
        assert_int_equal(ask->code, rows[i].code);
        assert_int_equal(rows[i].code == HWS_OK ? ask->attempts : ask->error.attempts,
                         rows[i].made);
        assert_int_equal(fars[0].heads, rows[i].made);
        assert_int_equal(world_stats(upstream).replayed, 1);
    }
}

static h2_reply_t refuse_then_leave(h2_far_t *far, h2_far_stream_t *stream)
{
    if (far->heads == 1)
        return (h2_reply_t){.is_silent = true, .has_reset = true, .reset = NGHTTP2_REFUSED_STREAM};
    if (far->heads == 2)
        h2_far_go_away(stream->visit, 1, NGHTTP2_NO_ERROR);
    return far->reply;
}

static void each_of_the_two_causes_is_forgiven_once(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);

    (void)state;
    fars[0].choose = refuse_then_leave;
    start(upstream, 0, "POST");
    run(HWS_MS(10));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(fars[0].seen[0], 1);
    assert_int_equal(fars[0].heads, 3);
    assert_int_equal(world_stats(upstream).replayed, 2);
}

static void what_a_producer_has_begun_never_goes_twice(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream = upstream_with(&options, 1);
    ask_t *ask = &stage.asks[0];

    (void)state;
    slow_down(0);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_producer = true;
    ask->produces = 1000000;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    run(HWS_MS(5));
    assert_true(ask->writable > 0 && ask->produced < ask->produces);
    h2_far_go_away(h2_far_latest(&fars[0]), 0, NGHTTP2_NO_ERROR);
    run(HWS_S(1));
    assert_int_equal(ask->code, HWS_ERR_GOAWAY);
    assert_int_equal(fars[0].heads, 1);
    assert_int_equal(world_stats(upstream).replayed, 0);
}

/* ---- a connection is lost ---- */

static void a_lost_connection_is_replaced_by_one(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    fars[0].reply.is_silent = true;
    slow_down(0);
    upstream = upstream_with(&options, 1);
    for (i = 0; i < 100; i++)
        start(upstream, i, i % 4 == 3 ? "POST" : "GET");
    run(HWS_MS(10));
    assert_int_equal(fars[0].heads, 100);
    fars[0].reply = (h2_reply_t){.body = 5};
    h2_far_end_all(&fars[0], HWS_SIM_RESET);
    run(HWS_S(1));
    for (i = 0; i < 100; i++) {
        const ask_t *ask = &stage.asks[i];

        if (i % 4 == 3) {
            assert_int_equal(hws_error_kind(ask->code), HWS_KIND_RESET);
            assert_true(ask->error.sent);
            assert_false(ask->error.retryable);
            assert_int_equal(fars[0].seen[i], 1);
        } else {
            assert_true(ask_is_ok(ask));
            assert_int_equal(fars[0].seen[i], 2);
        }
    }
    assert_int_equal(fars[0].visited, 2);
}

/* The peer has closed it, which nobody was told of: what may go twice does so, uncounted. */
static void a_stale_connection_is_replaced_without_a_word(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);

    (void)state;
    slow_down(0);
    start(upstream, 0, "GET");
    run(HWS_S(5));
    h2_far_end_all(&fars[0], HWS_SIM_RESET);
    start_many(upstream, 1, 20, "GET");
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 21), 21);
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(world_stats(upstream).replayed, 20);
}

static void reset_at_once(visit_t *visit, const char *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    hws_sim_close(visit->conn, HWS_SIM_RESET);
}

/* That others are on it, too, does not make a new connection a reused one. */
static void a_new_connection_that_breaks_is_a_failure(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_peer_view_t view;
    unsigned i;

    (void)state;
    options.breaker = breaker_of(1);
    stage.servers[0].on_bytes = reset_at_once;
    upstream = world_h2c(&stage.world, "a", &options, 1, 1);
    start_many(upstream, 0, 10, "GET");
    run(HWS_S(1));
    for (i = 0; i < 10; i++)
        assert_int_equal(hws_error_kind(stage.asks[i].code), HWS_KIND_RESET);
    assert_int_equal(world_stats(upstream).replayed, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_OPEN);
}

static void so_is_one_that_was_in_use(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_peer_view_t view;

    (void)state;
    options.breaker = breaker_of(1);
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start(upstream, 0, "GET");
    run(HWS_S(1));
    fars[0].reply.is_silent = true;
    start(upstream, 1, "GET");
    run(HWS_S(1));
    fars[0].reply.is_silent = false;
    start(upstream, 2, "GET");
    run(HWS_S(1));
    h2_far_end_all(&fars[0], HWS_SIM_RESET);
    start_many(upstream, 3, 10, "GET");
    run(HWS_S(1));
    assert_int_equal(stage_ok(2, 11), 1);
    assert_int_equal(world_stats(upstream).replayed, 0);
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_OPEN);
}

/* ---- signs of life ---- */

static void a_request_that_is_late_makes_its_connection_suspect(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].reply.is_silent = true;
    slow_down(0);
    upstream = upstream_with(&options, 1);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    run(HWS_S(2) + HWS_US(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    fars[0].reply = (h2_reply_t){.body = 5};
    start(upstream, 1, "GET");
    run(HWS_US(100));
    assert_int_equal(world_stats(upstream).queued, 1);
    run(HWS_MS(1));
    assert_int_equal(fars[0].pings, 1);
    assert_int_equal(fars[0].resets, 1);
    assert_int_equal(fars[0].last_reset, NGHTTP2_CANCEL);
    assert_int_equal(fars[0].heads, 1);
    run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_int_equal(fars[0].visited, 1);
}

static void on_a_busy_connection_a_late_request_is_just_late(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].reply.is_silent = true;
    upstream = upstream_with(&options, 1);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    run(HWS_MS(1500));
    fars[0].reply = (h2_reply_t){.body = 5};
    start(upstream, 1, "GET");
    slow_down(0);
    run(HWS_MS(500) + HWS_US(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    start(upstream, 2, "GET");
    assert_int_equal(world_stats(upstream).queued, 0);
    run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 2), 2);
    assert_int_equal(fars[0].pings, 1);
}

/* The second one waits for an answer for as long as it may; the connection does not last that long. */
static void a_silent_suspect_is_given_up(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;

    (void)state;
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start(upstream, 20, "GET");
    run(HWS_MS(10));
    hws_sim_pause(h2_far_latest(&fars[0])->conn, true);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    start_many(upstream, 1, 10, "GET");
    start_many(upstream, 11, 1, "POST");
    run(HWS_S(2) + HWS_MS(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    start(upstream, 12, "POST"); /* not on the suspect */
    run(HWS_MS(10));
    assert_int_equal(stage_ok(12, 1), 1);
    run(HWS_S(5) - HWS_MS(20));
    assert_int_equal(stage_done(1, 11), 0);
    run(HWS_MS(20));
    assert_int_equal(stage_ok(1, 10), 10);
    assert_int_equal(stage.asks[11].code, HWS_ERR_NO_PONG);
    assert_true(stage.asks[11].error.sent);
    assert_int_equal(fars[0].visited, 2);
}

/* Nothing else is on it, and whoever comes next waits for the verdict. */
static void a_silent_suspect_without_streams_is_given_up_as_well(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    options.timeouts.queue = HWS_S(10);
    slow_down(0);
    upstream = upstream_with(&options, 1);
    start(upstream, 1, "GET");
    run(HWS_MS(10));
    hws_sim_pause(h2_far_latest(&fars[0])->conn, true);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    run(HWS_S(2) + HWS_MS(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    start(upstream, 2, "POST");
    run(HWS_S(4));
    assert_int_equal(stage_done(2, 1), 0);
    run(HWS_S(1));
    assert_int_equal(stage_ok(1, 2), 2);
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
}

static void in_silence_a_peer_is_asked_and_given_up(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.request = options.timeouts.read = HWS_NEVER;
    options.h2.ping_idle = HWS_S(20);
    options.h2.ping_timeout = HWS_S(7);
    fars[0].reply.is_silent = true;
    upstream = upstream_with(&options, 1);
    start(upstream, 0, "GET");
    run(HWS_S(19));
    assert_int_equal(fars[0].pings, 0);
    run(HWS_S(2));
    assert_int_equal(fars[0].pings, 1);
    run(HWS_S(60)); /* answered, and asked again */
    assert_int_equal(fars[0].pings, 4);
    assert_int_equal(stage_done(0, 1), 0);
    fars[0].is_deaf = true;
    run(HWS_S(25));
    assert_int_equal(fars[0].pings, 5);
    assert_int_equal(stage_done(0, 1), 0);
    run(HWS_S(2));
    assert_int_equal(stage.asks[0].code, HWS_ERR_NO_PONG);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
}

static void without_streams_nobody_is_asked(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);

    (void)state;
    start(upstream, 0, "GET");
    run(HWS_S(299));
    assert_int_equal(fars[0].pings, 0);
    fars[0].reply.is_silent = true;
    start(upstream, 1, "GET"); /* after a long silence both go out together */
    run(HWS_MS(1));
    assert_int_equal(fars[0].pings, 1);
}

static void a_peer_that_calls_for_calm_is_asked_half_as_often(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.request = options.timeouts.read = HWS_NEVER;
    options.h2.ping_idle = HWS_S(20);
    fars[0].reply.is_silent = true;
    upstream = upstream_with(&options, 1);
    start(upstream, 0, "GET");
    run(HWS_S(21));
    assert_int_equal(fars[0].pings, 1);
    h2_far_go_away(h2_far_latest(&fars[0]), 1, NGHTTP2_ENHANCE_YOUR_CALM);
    h2_far_end_all(&fars[0], HWS_SIM_CLOSE);
    run(HWS_S(39));
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(fars[0].pings, 1);
    run(HWS_S(2));
    assert_int_equal(fars[0].pings, 2);
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
    upstream = upstream_with(&options, 1);
    start(upstream, 0, "GET");
    for (i = 1; i < 5; i++) {
        run(HWS_S(1));
        start(upstream, i, "GET");
    }
    run(HWS_MS(900));
    assert_int_equal(stage_done(0, 1), 0);
    run(HWS_MS(200));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_BODY);
    assert_int_equal(fars[0].last_reset, NGHTTP2_CANCEL);
    start(upstream, 5, "GET");
    run(HWS_MS(10));
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
    slow_down(0);
    upstream = upstream_with(&options, 1);
    for (i = 0; i < 15; i++) {
        start(upstream, i, "POST");
        run(HWS_S(1));
    }
    run(HWS_S(3));
    assert_int_equal(stage_ok(0, 15), 15);
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(fars[0].goaways, 1);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LIFETIME], 1);
    assert_int_equal(world_stats(upstream).open, 1);
}

static void an_idle_connection_goes_when_its_time_is_over(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.idle = HWS_S(10);
    upstream = upstream_with(&options, 1);
    start(upstream, 0, "GET");
    run(HWS_S(5));
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 50);
    run(HWS_S(4)); /* what the peer says is no use */
    assert_int_equal(stage.world.open, 1);
    run(HWS_S(2));
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
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    int status = 1;

    (void)state;
    drained = 0;
    fars[0].reply.after = HWS_S(1);
    slow_down(0);
    start_many(upstream, 0, 10, "POST");
    run(HWS_MS(10));
    assert_int_equal(hws_upstream_drain(upstream, HWS_S(5), note_drained, &status), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(drained, 0);
    run(HWS_S(2));
    assert_int_equal(drained, 1);
    assert_int_equal(status, HWS_OK);
    assert_int_equal(stage_ok(0, 10), 10);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(fars[0].goaways, 1);
}

static void a_closed_upstream_ends_its_streams(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    unsigned i;

    (void)state;
    fars[0].reply.is_silent = true;
    start_many(upstream, 0, 10, "GET");
    run(HWS_MS(10));
    hws_upstream_close(upstream);
    assert_int_equal(stage.world.open, 0);
    run(HWS_MS(10));
    for (i = 0; i < 10; i++)
        assert_int_equal(stage.asks[i].code, HWS_ERR_CLOSED);
    assert_int_equal(fars[0].goaways, 1);
}

static void a_removed_peer_lets_its_streams_end(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    hws_upstream_options_t options;
    hws_peer_options_t peer = {.url = HWS_SLICE("h2c://10.0.0.1:12")};

    (void)state;
    fars[0].reply.after = HWS_S(1);
    start_many(upstream, 0, 10, "POST");
    run(HWS_MS(10));
    hws_upstream_settings(upstream, &options);
    options.peers = &peer;
    options.peer_count = 1;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    start_many(upstream, 10, 5, "POST");
    run(HWS_S(2));
    assert_int_equal(stage_ok(0, 15), 15);
    assert_int_equal(fars[0].heads, 10);
    assert_int_equal(fars[1].heads, 5);
    assert_int_equal(world_open_at(&stage.world, PORT), 0);
}

static void lowered_limits_hold_for_what_comes_next(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    hws_upstream_options_t options;

    (void)state;
    fars[0].reply.after = HWS_S(1);
    start_many(upstream, 0, 20, "POST");
    run(HWS_MS(10));
    hws_upstream_settings(upstream, &options);
    options.limits.streams = 2;
    options.limits.per_peer = 1;
    options.timeouts.lifetime = HWS_S(100);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    run(HWS_S(2));
    assert_int_equal(stage_ok(0, 20), 20);
    h2_far_end_all(&fars[0], HWS_SIM_CLOSE);
    run(HWS_MS(10));
    fars[0].peak = 0;
    start_many(upstream, 0, 4, "POST");
    run(HWS_S(3));
    assert_int_equal(stage_ok(0, 4), 4);
    assert_int_equal(fars[0].peak, 2);
}

/* ---- windows and bodies ---- */

/* What is on its way of an upload that was given up goes on: it is framed, and harms nobody. */
static void a_refused_upload_costs_no_connection(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    ask_t *ask = &stage.asks[0];

    (void)state;
    slow_down(0);
    fars[0].window = 1000000;
    fars[0].listener->options.window = 9000;
    fars[0].is_early = true;
    fars[0].reply.status = 413;
    start(upstream, 1, "GET");
    run(HWS_S(1));
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->produces = 3000000;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    run(HWS_S(1));
    assert_int_equal(ask->status, 413);
    start(upstream, 2, "POST");
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_int_equal(fars[0].visited, 1);
}

/* Cut after each byte that the server says: there is a response, another attempt where that is safe, or
 * a clear error; nothing is seen twice that may not be. */
static bool play_cut(size_t at, hws_sim_close_t how, uint32_t attempts)
{
    hws_upstream_options_t options = world_retrying(&stage.world, attempts);
    hws_upstream_t *upstream;
    unsigned i;

    fars[0].listener->options.cut_after = at;
    fars[0].listener->options.cut_with = how;
    fars[1].reply = fars[0].reply = (h2_reply_t){.body = 700, .trailer = {"sum", "1"}};
    slow_down(0);
    upstream = upstream_with(&options, 2);
    for (i = 0; i < 3; i++)
        start(upstream, i, i == 1 ? "POST" : "GET");
    run(HWS_S(5));
    for (i = 0; i < 3; i++) {
        const ask_t *ask = &stage.asks[i];

        assert_int_equal(ask->done, 1);
        if (ask->code == HWS_OK)
            assert_int_equal(ask->body_size, 700);
        else
            assert_int_equal(hws_error_kind(ask->code), HWS_KIND_RESET);
        assert_true(i != 1 || fars[0].seen[i] + fars[1].seen[i] <= 1);
        assert_true(ask->code == HWS_OK || ask->error.sent);
        assert_true(ask->code == HWS_OK || i == 1 || attempts == 1);
    }
    return stage_ok(0, 3) == 3;
}

static void cut_anywhere_there_is_one_clear_end(void **state)
{
    unsigned how;
    unsigned attempts;
    size_t at;

    for (how = HWS_SIM_FINISH; how <= HWS_SIM_RESET; how++)
        for (attempts = 1; attempts <= 2; attempts++) {
            bool is_whole = false;

            for (at = 1; at < 2600; at++) {
                finish();
                begin(state);
                is_whole = play_cut(at, (hws_sim_close_t)how, attempts);
            }
            assert_true(is_whole);
        }
}

#define MANY 10000
#define BATCH 100
#define LARGE 10000000

static h2_reply_t large_at_root(h2_far_t *far, h2_far_stream_t *stream)
{
    if (strcmp(stream->path, "/") == 0)
        return (h2_reply_t){.body = LARGE};
    return far->reply;
}

static void check_large_body(hws_upstream_t *upstream)
{
    ask_t *ask = &stage.asks[STAGE_ASKS - 1];

    ask_init(ask);
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    run(HWS_S(10));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->body_size, LARGE);
    assert_int_equal(fars[0].visited, 1);
    assert_true(h2_far_window(h2_far_latest(&fars[0])) >= 8 << 20);
}

/* Some are cancelled before their heads have left, some before a response, some in the midst of one,
 * of which bytes are on their way and others unread. */
static void ten_thousand_cancelled_streams_leave_nothing_behind(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;
    unsigned k;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].choose = large_at_root;
    fars[0].reply = (h2_reply_t){.body = 30000, .is_endless = true};
    slow_down(0);
    upstream = upstream_with(&options, 1);
    for (i = 0; i < MANY; i += BATCH) {
        for (k = 0; k < BATCH; k++) {
            ask_t *ask = &stage.asks[k];

            ask_init(ask);
            ask->options.stream = k % 2;
            ask->is_unread = true;
            ask->options.target = HWS_SLICE("/1");
            assert_int_equal(ask_start(ask, upstream), HWS_OK);
        }
        run(i % (3 * BATCH) * 10);
        for (k = 0; k < BATCH; k++)
            ask_dispose(&stage.asks[k]);
        if (i % (2 * BATCH) == 0)
            run(HWS_MS(1));
    }
    run(HWS_MS(10));
    for (i = 0; i < HWS_CLOSE_COUNT; i++)
        assert_int_equal(h2_far_latest(&fars[0])->open, 0);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_true(fars[0].heads > MANY / 3);
    fars[0].reply = (h2_reply_t){.body = 5};
    check_large_body(upstream);
}

/* It fills its own window, and its connection's as far as that goes. */
static void a_reader_that_does_not_read_holds_up_nobody(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    slow_down(0);
    fars[0].choose = large_at_root;
    fars[0].reply.body = 100000;
    ask_init(ask);
    ask->options.stream = ask->is_unread = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    run(HWS_S(1));
    assert_int_equal(ask->code, HWS_OK);
    assert_int_equal(h2_far_window(h2_far_latest(&fars[0])), (16 << 20) - (1 << 20));
    for (i = 0; i < 20; i++) {
        start_many(upstream, 1, 49, "GET");
        run(HWS_MS(50));
        assert_int_equal(stage_ok(1, 49), 49);
    }
    assert_true(h2_far_window(h2_far_latest(&fars[0])) >= 7 << 20);
    assert_int_equal(fars[0].visited, 1);
    /* It has been slow, not dead. */
    ask->is_unread = false;
    ask_read(ask);
    run(HWS_S(10));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->body_size, LARGE);
}

static void an_upload_waits_for_window(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    fars[0].window = 0;
    for (i = 0; i < 2; i++) {
        ask_init(&ask[i]);
        ask[i].options.method = HWS_SLICE("POST");
        ask[i].options.has_producer = true;
        ask[i].produces = 3000000;
        ask[i].piece = 70001;
        assert_int_equal(ask_start(&ask[i], upstream), HWS_OK);
    }
    run(HWS_S(1));
    assert_true(fars[0].received <= 65535); /* sent before the SETTINGS came */
    assert_true(ask->produced < 400000);
    start(upstream, 2, "GET"); /* nobody else is held up */
    run(HWS_MS(10));
    assert_int_equal(stage_ok(2, 1), 1);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 30000);
    run(HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(fars[0].received, 6000000);
}

/* Where every write leaves at once, room is back before `send` returns. */
static void an_upload_outside_of_turns_is_whole(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    ask_t *ask = &stage.asks[0];

    (void)state;
    fars[0].window = 1000000;
    start(upstream, 1, "GET");
    world_run(&stage.world, HWS_MS(1));
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->produces = 3000000;
    ask->piece = 90000;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(fars[0].received, 3000000);
}

static void a_response_before_the_upload_ends_is_a_response(void **state)
{
    static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_CANCEL};
    hws_upstream_t *upstream = upstream_with(NULL, 1);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    slow_down(0);
    fars[0].is_early = true;
    for (i = 0; i < 4; i++) {
        fars[0].reply =
            (h2_reply_t){.status = 413, .body = 5, .has_reset = i < 2, .reset = codes[i % 2]};
        ask_init(&ask[i]);
        ask[i].options.method = HWS_SLICE("POST");
        ask[i].options.has_producer = true;
        ask[i].produces = 3000000;
        assert_int_equal(ask_start(&ask[i], upstream), HWS_OK);
        run(HWS_S(1));
        assert_int_equal(ask[i].code, HWS_OK);
        assert_int_equal(ask[i].status, 413);
        assert_true(ask[i].produced < ask[i].produces);
    }
    fars[0].is_early = false;
    fars[0].reply = (h2_reply_t){.body = 5};
    start(upstream, 5, "POST");
    run(HWS_S(1));
    assert_int_equal(stage_ok(5, 1), 1);
    assert_int_equal(fars[0].visited, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(requests_of_one_turn_leave_in_one_write),
        TEST(streams_are_capped_by_us_and_by_the_peer),
        TEST(a_peer_that_takes_no_stream_is_waited_for),
        TEST(a_limit_lowered_in_the_midst_is_kept),
        TEST(requests_that_reuse_nothing_share_a_connection_all_the_same),
        TEST(while_the_protocol_is_unknown_there_is_one_dial),
        TEST(over_tls_requests_of_one_turn_leave_in_one_write),
        TEST(who_waited_for_http1_dials_its_own),
        TEST(a_peer_without_alpn_speaks_http1),
        TEST(who_wants_h2_takes_nothing_else),
        TEST(a_failed_dial_is_told_to_all_and_to_the_breaker_once),
        TEST(after_a_failed_dial_all_go_elsewhere),
        TEST(where_the_protocol_is_known_as_many_are_dialled_as_are_needed),
        TEST(who_leaves_a_shared_dial_leaves_it_to_the_others),
        TEST(a_goaway_in_a_burst_loses_nothing),
        TEST(a_graceful_goaway_harms_nobody),
        TEST(an_idle_connection_that_goes_away_is_closed),
        TEST(what_is_refused_goes_elsewhere_uncounted),
        TEST(a_second_refusal_is_a_charged_attempt),
        TEST(each_of_the_two_causes_is_forgiven_once),
        TEST(what_a_producer_has_begun_never_goes_twice),
        TEST(a_lost_connection_is_replaced_by_one),
        TEST(a_stale_connection_is_replaced_without_a_word),
        TEST(a_new_connection_that_breaks_is_a_failure),
        TEST(so_is_one_that_was_in_use),
        TEST(a_request_that_is_late_makes_its_connection_suspect),
        TEST(on_a_busy_connection_a_late_request_is_just_late),
        TEST(a_silent_suspect_is_given_up),
        TEST(a_silent_suspect_without_streams_is_given_up_as_well),
        TEST(in_silence_a_peer_is_asked_and_given_up),
        TEST(without_streams_nobody_is_asked),
        TEST(a_peer_that_calls_for_calm_is_asked_half_as_often),
        TEST(a_silent_stream_is_given_up_while_others_talk),
        TEST(past_its_lifetime_a_busy_connection_is_relieved),
        TEST(an_idle_connection_goes_when_its_time_is_over),
        TEST(a_drained_upstream_lets_its_streams_end),
        TEST(a_closed_upstream_ends_its_streams),
        TEST(a_removed_peer_lets_its_streams_end),
        TEST(lowered_limits_hold_for_what_comes_next),
        TEST(a_refused_upload_costs_no_connection),
        TEST(cut_anywhere_there_is_one_clear_end),
        TEST(ten_thousand_cancelled_streams_leave_nothing_behind),
        TEST(a_reader_that_does_not_read_holds_up_nobody),
        TEST(an_upload_waits_for_window),
        TEST(an_upload_outside_of_turns_is_whole),
        TEST(a_response_before_the_upload_ends_is_a_response),
    };

    return cmocka_run_group_tests_name("multiplex", tests, NULL, NULL);
}
