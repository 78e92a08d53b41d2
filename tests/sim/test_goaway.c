/* What becomes of streams that a peer did not look at, and of those whose connection is lost. */
#include "codec/h2_session.h"
#include "pool/connection.h"
#include "support/many.h"

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
    many_slow_down(0);
    upstream = many_upstream(options, 1);
    for (i = 0; i < 40; i++)
        many_start(upstream, i, i % 2 ? "POST" : "GET");
    many_run(HWS_S(1));
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

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (i > 0)
            many_again();
        options = world_options(&stage.world);
        options.breaker = many_breaker(1);
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
    options.breaker = many_breaker(1);
    fars[0].reply.after = HWS_MS(20);
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start_all(upstream, 0, 20, "POST");
    many_run(HWS_MS(5));
    visit = h2_far_latest(&fars[0]);
    h2_far_go_away(visit, INT32_MAX, NGHTTP2_NO_ERROR);
    many_run(HWS_US(500));
    many_start_all(upstream, 20, 10, "POST"); /* before the warning is here */
    many_run(HWS_MS(5));
    assert_int_equal(visit->heads, 30);
    h2_far_go_away(visit, 59, NGHTTP2_NO_ERROR);
    many_start_all(upstream, 30, 10, "POST");
    many_run(HWS_S(1));
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
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    many_slow_down(0);
    many_start(upstream, 0, "GET");
    many_run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).idle, 1);
    h2_far_go_away(h2_far_latest(&fars[0]), 1, NGHTTP2_NO_ERROR);
    many_run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(stage.world.open, 0);
    many_start(upstream, 1, "POST");
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(fars[0].visited, 2);
}

/* ---- the last stream's number ---- */

/* The connection's next stream has this one. */
static void leap_to(hws_upstream_t *upstream, int32_t id)
{
    hws_peer_t *peer = HWS_CONTAINER(hws_list_first(&upstream->peers.list), hws_peer_t, link);
    hws_connection_t *connection =
        HWS_CONTAINER(hws_list_first(&peer->pool.ready), hws_connection_t, link);
    hws_h2_t *h2 = (hws_h2_t *)(void *)connection->codec;

    assert_int_equal(nghttp2_session_set_next_stream_id(h2->session, id), 0);
}

/* There are 2^31 of them (RFC 9113, 5.1.1). */
static void a_connection_without_numbers_ends_well_and_another_takes_its_place(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    unsigned left;

    (void)state;
    for (left = 1; left <= 3; left++) {
        if (left > 1) {
            many_again();
            upstream = many_upstream(NULL, 1);
        }
        fars[0].reply.after = HWS_MS(20);
        many_slow_down(0);
        many_start(upstream, 0, "GET");
        many_run(HWS_S(1));
        leap_to(upstream, INT32_MAX - 2 * ((int32_t)left - 1));
        many_start_all(upstream, 1, 20, "POST");
        many_run(HWS_MS(10));
        assert_int_equal(h2_far_latest(&fars[0])->number, 2);
        assert_int_equal(h2_far_latest(&fars[0])->heads, 20 - left);
        many_run(HWS_S(1));
        assert_int_equal(stage_ok(0, 21), 21);
        assert_int_equal(fars[0].heads, 21);
        assert_int_equal(world_stats(upstream).replayed, 0);
        assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
        assert_int_equal(stage.world.open, 1);
    }
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
    options.breaker = many_breaker(1);
    options.balancer = HWS_BALANCER_ROUND_ROBIN;
    refusals = 1;
    fars[0].choose = refuse_some;
    upstream = many_upstream(&options, 2);
    many_start(upstream, 0, "POST");
    stage.asks[0].is_kept = true;
    many_run(HWS_MS(10));
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

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        const ask_t *ask = &stage.asks[0];

        if (i > 0)
            many_again();
        options = world_retrying(&stage.world, rows[i].attempts);
        refusals = rows[i].refusals;
        fars[0].choose = refuse_some;
        upstream = many_upstream(&options, 1);
        many_start(upstream, 0, "POST");
        many_run(HWS_S(1));
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
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    fars[0].choose = refuse_then_leave;
    many_start(upstream, 0, "POST");
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(fars[0].seen[0], 1);
    assert_int_equal(fars[0].heads, 3);
    assert_int_equal(world_stats(upstream).replayed, 2);
}

static void what_a_producer_has_begun_never_goes_twice(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream = many_upstream(&options, 1);
    ask_t *ask = &stage.asks[0];

    (void)state;
    many_slow_down(0);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_producer = true;
    ask->produces = 1000000;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    many_run(HWS_MS(5));
    assert_true(ask->writable > 0 && ask->produced < ask->produces);
    h2_far_go_away(h2_far_latest(&fars[0]), 0, NGHTTP2_NO_ERROR);
    many_run(HWS_S(1));
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
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    for (i = 0; i < 100; i++)
        many_start(upstream, i, i % 4 == 3 ? "POST" : "GET");
    many_run(HWS_MS(10));
    assert_int_equal(fars[0].heads, 100);
    fars[0].reply = (h2_reply_t){.body = 5};
    h2_far_end_all(&fars[0], HWS_SIM_RESET);
    many_run(HWS_S(1));
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
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    many_slow_down(0);
    many_start(upstream, 0, "GET");
    many_run(HWS_S(5));
    h2_far_end_all(&fars[0], HWS_SIM_RESET);
    many_start_all(upstream, 1, 20, "GET");
    many_run(HWS_S(1));
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
    options.breaker = many_breaker(1);
    stage.servers[0].on_bytes = reset_at_once;
    upstream = world_h2c(&stage.world, "a", &options, 1, 1);
    many_start_all(upstream, 0, 10, "GET");
    many_run(HWS_S(1));
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
    options.breaker = many_breaker(1);
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start(upstream, 0, "GET");
    many_run(HWS_S(1));
    fars[0].reply.is_silent = true;
    many_start(upstream, 1, "GET");
    many_run(HWS_S(1));
    fars[0].reply.is_silent = false;
    many_start(upstream, 2, "GET");
    many_run(HWS_S(1));
    h2_far_end_all(&fars[0], HWS_SIM_RESET);
    many_start_all(upstream, 3, 10, "GET");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(2, 11), 1);
    assert_int_equal(world_stats(upstream).replayed, 0);
    hws_upstream_peer(upstream, 0, &view);
    assert_int_equal(view.breaker, HWS_BREAKER_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANY_TEST(a_goaway_in_a_burst_loses_nothing),
        MANY_TEST(a_graceful_goaway_harms_nobody),
        MANY_TEST(an_idle_connection_that_goes_away_is_closed),
        MANY_TEST(a_connection_without_numbers_ends_well_and_another_takes_its_place),
        MANY_TEST(what_is_refused_goes_elsewhere_uncounted),
        MANY_TEST(a_second_refusal_is_a_charged_attempt),
        MANY_TEST(each_of_the_two_causes_is_forgiven_once),
        MANY_TEST(what_a_producer_has_begun_never_goes_twice),
        MANY_TEST(a_lost_connection_is_replaced_by_one),
        MANY_TEST(a_stale_connection_is_replaced_without_a_word),
        MANY_TEST(a_new_connection_that_breaks_is_a_failure),
        MANY_TEST(so_is_one_that_was_in_use),
    };

    return cmocka_run_group_tests_name("goaway", tests, NULL, NULL);
}
