/* When a connection with streams is asked for a sign of life, and what follows when none comes. */
#include "support/many.h"

static void a_request_that_is_late_makes_its_connection_suspect(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].reply.is_silent = true;
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    many_run(HWS_S(2) + HWS_US(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    fars[0].reply = (h2_reply_t){.body = 5};
    many_start(upstream, 1, "GET");
    many_run(HWS_US(100));
    assert_int_equal(world_stats(upstream).queued, 1);
    many_run(HWS_MS(1));
    assert_int_equal(fars[0].pings, 1);
    assert_int_equal(fars[0].resets, 1);
    assert_int_equal(fars[0].last_reset, NGHTTP2_CANCEL);
    assert_int_equal(fars[0].heads, 1);
    many_run(HWS_MS(10));
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
    upstream = many_upstream(&options, 1);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    many_run(HWS_MS(1500));
    fars[0].reply = (h2_reply_t){.body = 5};
    many_start(upstream, 1, "GET");
    many_slow_down(0);
    many_run(HWS_MS(500) + HWS_US(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    many_start(upstream, 2, "GET");
    assert_int_equal(world_stats(upstream).queued, 0);
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(1, 2), 2);
    assert_int_equal(fars[0].pings, 1);
}

/* The second one waits for an answer for as long as it may; the connection does not last that long. */
static void a_silent_suspect_is_given_up(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;

    (void)state;
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start(upstream, 20, "GET");
    many_run(HWS_MS(10));
    hws_sim_pause(h2_far_latest(&fars[0])->conn, true);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    many_start_all(upstream, 1, 10, "GET");
    many_start_all(upstream, 11, 1, "POST");
    many_run(HWS_S(2) + HWS_MS(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    many_start(upstream, 12, "POST"); /* not on the suspect */
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(12, 1), 1);
    many_run(HWS_S(5) - HWS_MS(20));
    assert_int_equal(stage_done(1, 11), 0);
    many_run(HWS_MS(20));
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
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    many_start(upstream, 1, "GET");
    many_run(HWS_MS(10));
    hws_sim_pause(h2_far_latest(&fars[0])->conn, true);
    ask_init(&stage.asks[0]);
    stage.asks[0].options.timeout = HWS_S(2);
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    many_run(HWS_S(2) + HWS_MS(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    many_start(upstream, 2, "POST");
    many_run(HWS_S(4));
    assert_int_equal(stage_done(2, 1), 0);
    many_run(HWS_S(1));
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
    upstream = many_upstream(&options, 1);
    many_start(upstream, 0, "GET");
    many_run(HWS_S(19));
    assert_int_equal(fars[0].pings, 0);
    many_run(HWS_S(2));
    assert_int_equal(fars[0].pings, 1);
    many_run(HWS_S(60)); /* answered, and asked again */
    assert_int_equal(fars[0].pings, 4);
    assert_int_equal(stage_done(0, 1), 0);
    fars[0].is_deaf = true;
    many_run(HWS_S(25));
    assert_int_equal(fars[0].pings, 5);
    assert_int_equal(stage_done(0, 1), 0);
    many_run(HWS_S(2));
    assert_int_equal(stage.asks[0].code, HWS_ERR_NO_PONG);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
}

static void without_streams_nobody_is_asked(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);

    (void)state;
    many_start(upstream, 0, "GET");
    many_run(HWS_S(299));
    assert_int_equal(fars[0].pings, 0);
    fars[0].reply.is_silent = true;
    many_start(upstream, 1, "GET"); /* after a long silence both go out together */
    many_run(HWS_MS(1));
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
    upstream = many_upstream(&options, 1);
    many_start(upstream, 0, "GET");
    many_run(HWS_S(21));
    assert_int_equal(fars[0].pings, 1);
    h2_far_go_away(h2_far_latest(&fars[0]), 1, NGHTTP2_ENHANCE_YOUR_CALM);
    h2_far_end_all(&fars[0], HWS_SIM_CLOSE);
    many_run(HWS_S(39));
    assert_int_equal(fars[0].visited, 2);
    assert_int_equal(fars[0].pings, 1);
    many_run(HWS_S(2));
    assert_int_equal(fars[0].pings, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANY_TEST(a_request_that_is_late_makes_its_connection_suspect),
        MANY_TEST(on_a_busy_connection_a_late_request_is_just_late),
        MANY_TEST(a_silent_suspect_is_given_up),
        MANY_TEST(a_silent_suspect_without_streams_is_given_up_as_well),
        MANY_TEST(in_silence_a_peer_is_asked_and_given_up),
        MANY_TEST(without_streams_nobody_is_asked),
        MANY_TEST(a_peer_that_calls_for_calm_is_asked_half_as_often),
    };

    return cmocka_run_group_tests_name("signs of life", tests, NULL, NULL);
}
