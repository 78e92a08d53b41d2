/* The hard caps, held against the simulated world's own count of sockets, and who gets a place. */
#include "peer.h"
#include "support/stage.h"
#include "upstream.h"

#include <hawser/operations.h>

#include <string.h>

/* Keeps the first of an idle connection used longest ago apart from the others. */
static void use_one(hws_upstream_t *upstream, unsigned ask)
{
    stage_get(upstream, ask, 1);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage_ok(ask, 1), 1);
}

static void slow(void)
{
    unsigned i;

    for (i = 0; i < STAGE_SERVERS; i++) {
        stage.servers[i].listener->options.connect_min = HWS_MS(5);
        stage.servers[i].listener->options.connect_max = HWS_MS(20);
        stage.servers[i].reply.after = HWS_MS(30);
    }
}

static void a_burst_never_exceeds_the_cap_of_a_peer(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.per_peer = 7;
    slow();
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 200);
    world_run(&stage.world, HWS_S(4));
    assert_int_equal(stage_ok(0, 200), 200);
    assert_int_equal(world_peak_at(&stage.world, 1), 7);
    assert_int_equal(stage.servers[0].visited, 7);
}

static void a_burst_never_exceeds_the_cap_of_an_upstream(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.connections = 5;
    slow();
    stage_get(world_http(&stage.world, "a", &options, 3), 0, 200);
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage_ok(0, 200), 200);
    assert_int_equal(stage.world.peak, 5);
}

static void bursts_never_exceed_the_cap_of_the_manager(void **state)
{
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    stage_begin(1, 6, false);
    slow();
    for (i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};

        upstream = world_http_at(&stage.world, name, NULL, (uint16_t)(i + 1));
        stage_get(upstream, i * 60, 60);
    }
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage_ok(0, 180), 180);
    assert_int_equal(stage.world.peak, 6);
}

static void no_more_dials_run_at_once_than_the_limit(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.limits.dials = 3;
    stage.servers[0].listener->options.connect_min = HWS_MS(100);
    stage.servers[0].listener->options.connect_max = HWS_MS(100);
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 10);
    for (i = 0; i < 3; i++) {
        world_run(&stage.world, HWS_MS(99));
        assert_int_equal(world_stats(upstream).dialing, 3);
        assert_int_equal(world_open_at(&stage.world, 1) - stage.servers[0].listener->open, 3);
        world_run(&stage.world, HWS_MS(1));
    }
    assert_int_equal(stage.servers[0].visited, 9);
}

static void a_dial_counts_against_the_cap_and_a_failed_one_no_longer(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    stage.servers[0].listener->options.connect_min = HWS_MS(50);
    stage.servers[0].listener->options.connect_max = HWS_MS(50);
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(world_open_at(&stage.world, 1), 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(stage.asks[2].code, HWS_ERR_REFUSED);
    assert_int_equal(world_stats(upstream).dialing, 0);

    stage.servers[0].listener->options.answer = HWS_OK;
    stage_get(upstream, 3, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(3, 1), 1);
    assert_int_equal(world_peak_at(&stage.world, 1), 1);
}

/* A POST takes no connection that has been idle for longer than 4 s, so it needs a place. */
static void at_the_cap_of_a_peer_its_oldest_idle_connection_makes_way(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 2;
    stage.servers[0].reply.after = HWS_MS(5);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_S(6));
    assert_int_equal(world_stats(upstream).idle, 2);
    ask_post(&stage.asks[2], upstream, "x");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_false(stage.asks[2].reused);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_EVICTED], 1);
    assert_int_equal(world_peak_at(&stage.world, 1), 2);
}

static void at_the_cap_of_an_upstream_the_connection_idle_for_longest_makes_way(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.connections = 2;
    upstream = world_http(&stage.world, "a", &options, 3);
    use_one(upstream, 0); /* at peer 1 */
    use_one(upstream, 1); /* at peer 2 */
    use_one(upstream, 2); /* at peer 3: that of peer 1 has gone */
    assert_int_equal(world_open_at(&stage.world, 1), 0);
    assert_int_equal(world_open_at(&stage.world, 2), 1);
    assert_int_equal(world_open_at(&stage.world, 3), 1);
    assert_int_equal(stage.world.peak, 2);
}

static void at_the_cap_of_the_manager_the_connection_idle_for_longest_of_all_makes_way(void **state)
{
    hws_upstream_t *a, *b, *c;

    (void)state;
    stage_begin(1, 2, false);
    a = world_http_at(&stage.world, "a", NULL, 1);
    b = world_http_at(&stage.world, "b", NULL, 2);
    c = world_http_at(&stage.world, "c", NULL, 3);
    use_one(a, 0);
    use_one(b, 1);
    use_one(a, 2); /* again: now b's is the older one */
    use_one(c, 3);
    assert_int_equal(world_open_at(&stage.world, 1), 1);
    assert_int_equal(world_open_at(&stage.world, 2), 0);
    assert_int_equal(world_stats(b).closed[HWS_CLOSE_EVICTED], 1);
    assert_int_equal(stage.world.peak, 2);
}

/* Who waits for a place of the manager must get it as soon as any connection falls idle. */
static void a_connection_that_falls_idle_makes_way_for_another_upstream_that_waits(void **state)
{
    hws_upstream_t *a, *b;

    (void)state;
    stage_begin(1, 1, false);
    a = world_http_at(&stage.world, "a", NULL, 1);
    b = world_http_at(&stage.world, "b", NULL, 2);
    stage.servers[0].reply.after = HWS_MS(100);
    stage_get(a, 0, 1);
    world_run(&stage.world, HWS_MS(50));
    stage_get(b, 1, 1);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_true(stage.asks[1].at - stage.asks[0].at <= HWS_MS(1));
    assert_int_equal(stage.world.peak, 1);
}

static void upstreams_that_wait_for_a_place_of_the_manager_are_served_in_turn(void **state)
{
    hws_upstream_t *upstreams[3];
    unsigned i;

    (void)state;
    stage_begin(1, 1, false);
    for (i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};

        /* Each response closes its connection, so each request needs a place anew. */
        stage.servers[i].closes_after = 1;
        stage.servers[i].reply.after = HWS_MS(10);
        upstreams[i] = world_http_at(&stage.world, name, NULL, (uint16_t)(i + 1));
    }
    for (i = 0; i < 3; i++)
        stage_get(upstreams[i], i * 20, 20);
    world_run(&stage.world, HWS_MS(10 * 30 + 5));
    /* Half of them are through: ten of each upstream, give or take the one under way. */
    for (i = 0; i < 3; i++)
        assert_in_range(stage_ok(i * 20, 20), 9, 11);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 60), 60);
    assert_int_equal(stage.world.peak, 1);
}

/* A connection that is kept busy is no reason to starve: its upstream's queue may not have it
 * for ever while others wait. */
static void a_kept_connection_is_given_up_for_an_upstream_that_waits(void **state)
{
    hws_upstream_t *a, *b;

    (void)state;
    stage_begin(1, 1, false);
    a = world_http_at(&stage.world, "a", NULL, 1);
    b = world_http_at(&stage.world, "b", NULL, 2);
    stage.servers[0].reply.after = HWS_MS(10);
    stage_get(a, 0, 100);
    stage_get(b, 100, 1);
    world_run(&stage.world, HWS_S(4));
    assert_int_equal(stage_ok(0, 101), 101);
}

static void a_newcomer_does_not_overtake_upstreams_that_wait_for_a_place(void **state)
{
    hws_upstream_t *a, *b, *c;

    (void)state;
    stage_begin(1, 1, false);
    a = world_http_at(&stage.world, "a", NULL, 1);
    b = world_http_at(&stage.world, "b", NULL, 2);
    c = world_http_at(&stage.world, "c", NULL, 3);
    stage.servers[0].closes_after = stage.servers[1].closes_after = 1;
    slow();
    stage_get(a, 0, 1);
    world_run(&stage.world, HWS_MS(5));
    stage_get(b, 1, 1);
    world_run(&stage.world, HWS_MS(5));
    stage_get(c, 2, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_true(stage.asks[1].at < stage.asks[2].at);
}

/* One place in the manager, which `a` has; `b`, whose breaker lets nobody or one through, waits for it
 * before `c` does. */
static void a_place_is_not_kept_for_who_has_left(void **state)
{
    hws_upstream_options_t options;
    hws_upstream_t *a, *b, *c, *d;

    (void)state;
    stage_begin(1, 1, false);
    options = world_options(&stage.world);
    a = world_http_at(&stage.world, "a", NULL, 1);
    b = world_http_at(&stage.world, "b", NULL, 2);
    c = world_http_at(&stage.world, "c", NULL, 3);
    options.limits.pending = 0;
    d = world_http_at(&stage.world, "d", &options, 4);
    stage.servers[0].reply.is_silent = true;
    stage_get(a, 0, 1);
    stage_get(b, 1, 1);
    stage_get(c, 2, 1);
    world_run(&stage.world, HWS_MS(10));
    ask_cancel(&stage.asks[1]);
    ask_cancel(&stage.asks[2]);
    world_run(&stage.world, HWS_MS(10));
    hws_upstream_close(a);
    stage_get(d, 3, 1);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage_ok(3, 1), 1);
}

static void a_place_is_not_kept_for_whom_a_breaker_holds_back(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        bool is_forced = i == 0;
        hws_upstream_options_t options;
        hws_upstream_t *a, *b, *c;
        unsigned k;

        stage_begin(1, 1, false);
        options = world_options(&stage.world);
        hws_breaker_options_init(&options.breaker);
        options.breaker.consecutive = options.breaker.probes = 1;
        options.breaker.open_for = options.breaker.open_max = HWS_MS(20);
        options.retry.is_disabled = true;
        a = world_http_at(&stage.world, "a", NULL, 1);
        b = world_http_at(&stage.world, "b", &options, 2);
        c = world_http_at(&stage.world, "c", NULL, 3);
        for (k = 0; k < 3; k++)
            stage.servers[k].closes_after = 1;
        stage.servers[1].reply =
            (reply_t){.bytes = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"};
        stage_get(b, 0, 1);
        world_run(&stage.world, HWS_MS(100));
        assert_int_equal(stage.asks[0].status, 503);
        stage.servers[1].reply = (reply_t){.bytes = REPLY_OK};
        slow();
        stage_get(a, 1, 1);
        world_run(&stage.world, HWS_MS(5));
        stage_get(b, 2, 2);
        world_run(&stage.world, HWS_MS(1));
        stage_get(c, 4, 1);
        if (is_forced)
            hws_peer_force_breaker(HWS_CONTAINER(b->peers.list.next, hws_peer_t, link),
                                   HWS_FORCE_OPEN);
        world_run(&stage.world, HWS_S(2));
        assert_int_equal(stage.asks[4].code, HWS_OK);
        assert_int_equal(stage.asks[2].code, is_forced ? HWS_ERR_BREAKER_OPEN : HWS_OK);
        assert_int_equal(stage.asks[3].code, HWS_ERR_BREAKER_OPEN);
        assert_int_equal(stage.world.peak, 1);
        stage_finish();
    }
}

static void a_lowered_limit_closes_idle_connections_at_once(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    stage.servers[0].reply.after = stage.servers[1].reply.after = HWS_MS(10);
    upstream = world_http(&stage.world, "a", &options, 2);
    stage_get(upstream, 0, 20);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(world_stats(upstream).idle, 20);
    options.limits.per_peer = 4;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(world_open_at(&stage.world, 1), 4);
    assert_int_equal(world_open_at(&stage.world, 2), 4);
    options.limits.connections = 3;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.world.open, 3);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_SURPLUS], 17);
}

static void a_lowered_limit_lets_work_in_flight_end_and_holds_from_then_on(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    stage.servers[0].reply.after = HWS_MS(50);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 10);
    world_run(&stage.world, HWS_MS(10));
    options.limits.per_peer = 2;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    stage_get(upstream, 10, 10);
    world_run(&stage.world, HWS_MS(45));
    assert_int_equal(stage_ok(0, 10), 10);
    assert_int_equal(world_open_at(&stage.world, 1), 2);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 20), 20);
    assert_int_equal(world_open_at(&stage.world, 1), 2);
    assert_int_equal(stage.servers[0].visited, 10);
}

static void a_raised_limit_serves_who_waits(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    stage.servers[0].reply.after = HWS_MS(100);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 8);
    world_run(&stage.world, HWS_MS(10));
    options.limits.per_peer = 8;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(110));
    assert_int_equal(stage_ok(0, 8), 8);
    assert_int_equal(world_peak_at(&stage.world, 1), 8);
}

static void when_the_system_has_no_descriptor_left_requests_wait_for_those_that_are_open(
    void **state)
{
    hws_upstream_t *upstream;

    (void)state;
    upstream = world_http(&stage.world, "a", NULL, 2);
    stage.servers[0].reply.after = stage.servers[1].reply.after = HWS_MS(10);
    hws_sim_limit_sockets(stage.world.sim, 5);
    stage_get(upstream, 0, 400);
    world_run(&stage.world, HWS_S(4));
    assert_int_equal(stage_ok(0, 400), 400);
    assert_int_equal(stage.world.peak, 5);
}

static void out_of_descriptors_idle_connections_of_others_make_way(void **state)
{
    hws_upstream_t *a, *b;

    (void)state;
    a = world_http_at(&stage.world, "a", NULL, 1);
    b = world_http_at(&stage.world, "b", NULL, 2);
    stage.servers[0].reply.after = HWS_MS(10);
    hws_sim_limit_sockets(stage.world.sim, 3);
    stage_get(a, 0, 3);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(stage_ok(0, 3), 3);
    stage_get(b, 3, 2);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(stage_ok(3, 2), 2);
}

static void out_of_descriptors_without_any_connection_of_ours_is_an_error(void **state)
{
    (void)state;
    hws_sim_fail_connects(stage.world.sim, 1000, HWS_ERR_TOO_MANY_FILES);
    stage_get(world_http(&stage.world, "a", NULL, 1), 0, 3);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(stage.asks[0].code, HWS_ERR_TOO_MANY_FILES);
    assert_int_equal(stage.asks[2].code, HWS_ERR_TOO_MANY_FILES);
    assert_false(stage.asks[0].error.sent);
}

static void a_refused_descriptor_is_tried_again_after_a_while(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].reply.after = HWS_MS(50);
    hws_sim_limit_sockets(stage.world.sim, 2);
    stage_get(upstream, 0, 6);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 6), 6);
    hws_sim_limit_sockets(stage.world.sim, 0);
    world_run(&stage.world, HWS_S(10));
    stage_get(upstream, 6, 6);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(6, 6), 6);
    assert_int_equal(world_peak_at(&stage.world, 1), 6);
}

static void a_manager_at_its_cap_refuses_nobody_it_can_still_serve(void **state)
{
    hws_upstream_t *upstream;

    (void)state;
    stage_begin(1, 3, true);
    upstream = world_raw(&stage.world, "a", NULL, 1);
    hold_acquire(&stage.holds[0], upstream);
    hold_acquire(&stage.holds[1], upstream);
    hold_acquire(&stage.holds[2], upstream);
    hold_acquire(&stage.holds[3], upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.holds[3].done, 0);
    hold_release(&stage.holds[1]);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.holds[3].code, HWS_OK);
    assert_true(stage.holds[3].reused);
    assert_int_equal(stage.world.peak, 3);
}

static hws_upstream_t *asked_again;

static void ask_again(ask_t *ask, void *user)
{
    (void)ask;
    (void)user;
    ask_get(&stage.asks[3], asked_again);
}

/* The turn of its peers would have it dial the second, in place of the idle connection to the
 * first; but the manager's next place is somebody else's. */
static void an_idle_connection_is_not_evicted_for_a_dial_that_gets_no_place(void **state)
{
    hws_upstream_options_t options;
    hws_upstream_t *busy;

    (void)state;
    stage_begin(1, 2, false);
    options = world_options(&stage.world);
    options.limits.connections = 1;
    asked_again = world_http(&stage.world, "a", &options, 2);
    busy = world_http_at(&stage.world, "b", NULL, 3);
    stage.servers[0].reply.after = HWS_MS(10);
    stage.servers[2].reply.after = HWS_MS(500);
    stage_get(busy, 0, 1);
    stage_get(asked_again, 1, 1);
    stage.asks[1].then = ask_again;
    world_run(&stage.world, HWS_MS(1));
    stage_get(busy, 2, 1); /* takes the next place there is */
    world_run(&stage.world, HWS_MS(11));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_int_equal(world_stats(asked_again).closed[HWS_CLOSE_EVICTED], 0);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 4), 4);
    assert_true(stage.asks[3].reused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_burst_never_exceeds_the_cap_of_a_peer, http),
        STAGE_TEST(a_burst_never_exceeds_the_cap_of_an_upstream, http),
        STAGE_TEST(bursts_never_exceed_the_cap_of_the_manager, none),
        STAGE_TEST(no_more_dials_run_at_once_than_the_limit, http),
        STAGE_TEST(a_dial_counts_against_the_cap_and_a_failed_one_no_longer, http),
        STAGE_TEST(an_idle_connection_is_not_evicted_for_a_dial_that_gets_no_place, none),
        STAGE_TEST(at_the_cap_of_a_peer_its_oldest_idle_connection_makes_way, http),
        STAGE_TEST(at_the_cap_of_an_upstream_the_connection_idle_for_longest_makes_way, http),
        STAGE_TEST(at_the_cap_of_the_manager_the_connection_idle_for_longest_of_all_makes_way,
                   none),
        STAGE_TEST(a_connection_that_falls_idle_makes_way_for_another_upstream_that_waits, none),
        STAGE_TEST(upstreams_that_wait_for_a_place_of_the_manager_are_served_in_turn, none),
        STAGE_TEST(a_kept_connection_is_given_up_for_an_upstream_that_waits, none),
        STAGE_TEST(a_newcomer_does_not_overtake_upstreams_that_wait_for_a_place, none),
        STAGE_TEST(a_place_is_not_kept_for_who_has_left, none),
        STAGE_TEST(a_place_is_not_kept_for_whom_a_breaker_holds_back, none),
        STAGE_TEST(a_lowered_limit_closes_idle_connections_at_once, http),
        STAGE_TEST(a_lowered_limit_lets_work_in_flight_end_and_holds_from_then_on, http),
        STAGE_TEST(a_raised_limit_serves_who_waits, http),
        STAGE_TEST(when_the_system_has_no_descriptor_left_requests_wait_for_those_that_are_open,
                   http),
        STAGE_TEST(out_of_descriptors_idle_connections_of_others_make_way, http),
        STAGE_TEST(out_of_descriptors_without_any_connection_of_ours_is_an_error, http),
        STAGE_TEST(a_refused_descriptor_is_tried_again_after_a_while, http),
        STAGE_TEST(a_manager_at_its_cap_refuses_nobody_it_can_still_serve, none),
    };

    return cmocka_run_group_tests_name("caps", tests, NULL, NULL);
}
