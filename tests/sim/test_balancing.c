/* Balancers in the engine: what share each peer gets, who goes first, and that nobody starves. */
#include "support/stage.h"

#define REPLY_503 "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

static hws_peer_options_t peers[3]; /* of the next upstream */

static hws_upstream_options_t balanced(hws_balancer_t balancer)
{
    hws_upstream_options_t options = world_options(&stage.world);

    options.balancer = balancer;
    peers[0] = (hws_peer_options_t){.url = HWS_SLICE("http://10.0.0.1:1")};
    peers[1] = (hws_peer_options_t){.url = HWS_SLICE("http://10.0.0.1:2")};
    peers[2] = (hws_peer_options_t){.url = HWS_SLICE("http://10.0.0.1:3")};
    options.peers = peers;
    options.peer_count = 3;
    return options;
}

static void begin(void)
{
    stage_begin(1, 0, false);
}

/* Asks `count` times, `gap` apart, and lets all of it end. */
static void ask_in_turn(hws_upstream_t *upstream, unsigned count, hws_time_t gap)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        stage_get(upstream, i, 1);
        world_run(&stage.world, gap);
    }
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage_ok(0, count), count);
}

static void each_balancer_gives_its_shares(void **state)
{
    static const struct {
        hws_balancer_t balancer;
        double weights[3];
        unsigned least[3]; /* of 480 */
        unsigned most[3];
    } cases[] = {
        {HWS_BALANCER_ROUND_ROBIN, {1, 1, 1}, {160, 160, 160}, {160, 160, 160}},
        {HWS_BALANCER_ROUND_ROBIN, {9, 1, 1}, {160, 160, 160}, {160, 160, 160}},
        {HWS_BALANCER_WEIGHTED, {4, 1, 1}, {316, 78, 78}, {324, 82, 82}},
        {HWS_BALANCER_RANDOM, {1, 1, 1}, {120, 120, 120}, {200, 200, 200}},
        {HWS_BALANCER_RANDOM, {4, 1, 1}, {280, 50, 50}, {360, 110, 110}},
        {HWS_BALANCER_LEAST_REQUEST, {1, 1, 1}, {120, 120, 120}, {200, 200, 200}},
        {HWS_BALANCER_LEAST_REQUEST, {4, 1, 1}, {260, 40, 40}, {380, 120, 120}},
        {HWS_BALANCER_PEAK_EWMA, {1, 1, 1}, {80, 80, 80}, {300, 300, 300}},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_upstream_options_t options;
        unsigned k;

        begin();
        options = balanced(cases[i].balancer);
        for (k = 0; k < 3; k++) {
            peers[k].weight = cases[i].weights[k];
            stage.servers[k].reply.after = HWS_MS(8);
        }
        ask_in_turn(world_http(&stage.world, "a", &options, 3), 480, HWS_MS(1));
        for (k = 0; k < 3; k++)
            assert_in_range(stage.servers[k].requests, cases[i].least[k], cases[i].most[k]);
        stage_finish();
    }
}

/* One of three is ten times slower. */
static void a_slow_peer_gets_less_of_those_who_look_at_load(void **state)
{
    static const struct {
        hws_balancer_t balancer;
        unsigned least; /* of 480 */
        unsigned most;
    } cases[] = {{HWS_BALANCER_ROUND_ROBIN, 160, 160},
                 {HWS_BALANCER_RANDOM, 120, 200},
                 {HWS_BALANCER_LEAST_REQUEST, 5, 110},
                 {HWS_BALANCER_PEAK_EWMA, 1, 80}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_upstream_options_t options;

        begin();
        options = balanced(cases[i].balancer);
        stage.servers[0].reply.after = HWS_MS(50);
        stage.servers[1].reply.after = stage.servers[2].reply.after = HWS_MS(5);
        ask_in_turn(world_http(&stage.world, "a", &options, 3), 480, HWS_MS(1));
        assert_in_range(stage.servers[0].requests, cases[i].least, cases[i].most);
        stage_finish();
    }
}

static void a_burst_on_a_cold_upstream_is_spread_by_all_of_them(void **state)
{
    unsigned balancer;

    (void)state;
    for (balancer = 0; balancer < HWS_BALANCER_COUNT; balancer++) {
        hws_upstream_options_t options;
        unsigned i;

        begin();
        options = balanced((hws_balancer_t)balancer);
        for (i = 0; i < 3; i++) {
            stage.servers[i].listener->options.connect_min = HWS_MS(1 + i);
            stage.servers[i].listener->options.connect_max = HWS_MS(1 + i);
            stage.servers[i].reply.after = HWS_MS(50);
        }
        stage_get(world_http(&stage.world, "a", &options, 3), 0, 30);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(stage_ok(0, 30), 30);
        for (i = 0; i < 3; i++)
            assert_in_range(stage.servers[i].requests, 4, 18);
        stage_finish();
    }
}

static void a_lower_priority_serves_only_when_no_higher_one_can(void **state)
{
    unsigned balancer;

    (void)state;
    for (balancer = 0; balancer < HWS_BALANCER_COUNT; balancer++) {
        hws_upstream_options_t options;
        hws_upstream_t *upstream;

        begin();
        options = balanced((hws_balancer_t)balancer);
        hws_breaker_options_init(&options.breaker);
        options.breaker.consecutive = 1;
        peers[0].priority = 1;
        upstream = world_http(&stage.world, "a", &options, 3);
        ask_in_turn(upstream, 20, HWS_MS(1));
        assert_int_equal(stage.servers[0].requests, 0);
        stage.servers[1].reply.bytes = stage.servers[2].reply.bytes = REPLY_503;
        ask_in_turn(upstream, 20, HWS_MS(1));
        assert_in_range(stage.servers[0].requests, 18, 18);
        stage_finish();
    }
}

/* Each of its tries goes to another one, whatever the balancer says. */
static void a_retry_tries_the_others_first(void **state)
{
    unsigned balancer;

    (void)state;
    for (balancer = 0; balancer < HWS_BALANCER_COUNT; balancer++) {
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        unsigned i;

        begin();
        options = balanced((hws_balancer_t)balancer);
        options.retry = world_retrying(&stage.world, 3).retry;
        for (i = 0; i < 3; i++)
            stage.servers[i].reply.bytes = REPLY_503;
        upstream = world_http(&stage.world, "a", &options, 3);
        for (i = 0; i < 50; i++) {
            stage_get(upstream, i, 1);
            world_run(&stage.world, HWS_MS(10));
            assert_int_equal(stage.asks[i].status, 503);
            assert_int_equal(stage.asks[i].attempts, 3);
        }
        for (i = 0; i < 3; i++)
            assert_int_equal(stage.servers[i].requests, 50);
        stage_finish();
    }
}

/* ... and waits for it while that is full; the one that failed is idle all the while. */
static void a_retry_waits_for_another_peer_that_is_full(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    stage.servers[0].reply.bytes = REPLY_503;
    stage.servers[1].reply.after = HWS_MS(500);
    upstream = world_http(&stage.world, "a", &options, 2);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(490));
    assert_int_equal(stage_done(0, 2), 0);
    assert_int_equal(stage.servers[0].requests, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(stage.asks[0].status, 200);
    assert_string_equal(stage.asks[0].peer, "10.0.0.1:2");
    assert_int_equal(stage.servers[0].requests, 1);
}

static reply_t fail_every_third(server_t *server, visit_t *visit, hws_slice_t request)
{
    (void)visit;
    (void)request;
    return (reply_t){.bytes = server->requests % 3 == 0 ? REPLY_503 : REPLY_OK, .after = HWS_MS(5)};
}

/* A queue in which many wait for any peer, some for another one than their last, and new ones come
 * all the time: each is served in about its turn. */
static void nobody_starves_in_the_queue(void **state)
{
    unsigned balancer;

    (void)state;
    for (balancer = 0; balancer < HWS_BALANCER_COUNT; balancer++) {
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        hws_time_t began[480];
        unsigned i;

        begin();
        options = balanced((hws_balancer_t)balancer);
        options.retry = world_retrying(&stage.world, 3).retry;
        options.limits.per_peer = 1;
        for (i = 0; i < 3; i++)
            stage.servers[i].choose = fail_every_third;
        upstream = world_http(&stage.world, "a", &options, 3);
        for (i = 0; i < 480; i++) {
            began[i] = world_now(&stage.world);
            if (i % 4 == 0)
                ask_post(&stage.asks[i], upstream, "x");
            else
                stage_get(upstream, i, 1);
            world_run(&stage.world, i < 60 ? 0 : 2700);
        }
        world_run(&stage.world, HWS_S(5));
        assert_int_equal(stage_ok(0, 480), 480);
        /* 60 are in the queue at any time, and three attempts are at most made of each. */
        for (i = 0; i < 480; i++)
            assert_true(stage.asks[i].at - began[i] < HWS_MS(1500));
        stage_finish();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(each_balancer_gives_its_shares, none),
        STAGE_TEST(a_slow_peer_gets_less_of_those_who_look_at_load, none),
        STAGE_TEST(a_burst_on_a_cold_upstream_is_spread_by_all_of_them, none),
        STAGE_TEST(a_lower_priority_serves_only_when_no_higher_one_can, none),
        STAGE_TEST(a_retry_tries_the_others_first, none),
        STAGE_TEST(a_retry_waits_for_another_peer_that_is_full, http),
        STAGE_TEST(nobody_starves_in_the_queue, none),
    };

    return cmocka_run_group_tests_name("balancing", tests, NULL, NULL);
}
