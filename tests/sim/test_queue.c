/* The one queue of an upstream: order, bound, clock, and late binding. */
#include "support/stage.h"

#include <stdlib.h>
#include <string.h>

static void slow_dials(unsigned server, hws_time_t span)
{
    stage.servers[server].listener->options.connect_min = span;
    stage.servers[server].listener->options.connect_max = span;
}

/* An upstream of one peer and one connection, which the first ask has for `span`. */
static hws_upstream_t *busy_upstream(hws_upstream_options_t *options, hws_time_t span)
{
    hws_upstream_t *upstream;

    options->limits.per_peer = 1;
    stage.servers[0].reply.after = span;
    upstream = world_http(&stage.world, "a", options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(1));
    return upstream;
}

static void who_waits_is_served_in_the_order_of_arrival(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = busy_upstream(&options, HWS_MS(10));
    unsigned i;

    (void)state;
    stage_get(upstream, 1, 50);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(stage_ok(0, 51), 51);
    for (i = 1; i < 50; i++)
        assert_true(stage.asks[i].at < stage.asks[i + 1].at);
}

static void posts_and_gets_wait_in_one_order(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = busy_upstream(&options, HWS_MS(10));
    unsigned i;

    (void)state;
    for (i = 1; i < 20; i++) {
        if (i % 3 == 0)
            ask_post(&stage.asks[i], upstream, "x");
        else
            stage_get(upstream, i, 1);
    }
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(stage_ok(0, 20), 20);
    for (i = 1; i < 19; i++)
        assert_true(stage.asks[i].at < stage.asks[i + 1].at);
}

/* What may not be sent twice is more particular than what waits behind it, which must be asked as
 * well; but not each of thousands. */
static void serving_thousands_of_posts_takes_steps_for_each_served_not_for_each_waiting(
    void **state)
{
    enum { COUNT = 4000 };
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    ask_t *asks = calloc(COUNT, sizeof(*asks));
    unsigned i;

    (void)state;
    assert_non_null(asks);
    options.limits.pending = COUNT;
    options.timeouts.queue = options.timeouts.request = HWS_S(1000);
    upstream = busy_upstream(&options, HWS_MS(10));
    stage.servers[0].reply.after = 0;
    for (i = 0; i < COUNT; i++)
        ask_post(&asks[i], upstream, "x");
    world_run(&stage.world, HWS_S(20));
    for (i = 0; i < COUNT; i++)
        assert_true(ask_is_ok(&asks[i]));
    for (i = 1; i < COUNT; i++)
        assert_true(asks[i - 1].at <= asks[i].at);
    assert_in_range(upstream->queue.looks, COUNT, 10 * COUNT);
    free(asks);
}

/* Those that wait for another peer than that of their last attempt stand in a lane for each. */
static void many_peers_to_avoid_make_no_more_work(void **state)
{
    enum { PEERS = 30, COUNT = 480 };
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    static server_t more[PEERS - STAGE_SERVERS];
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    for (i = 0; i < PEERS; i++) {
        server_t *server = i < STAGE_SERVERS ? &stage.servers[i] : &more[i - STAGE_SERVERS];

        if (i >= STAGE_SERVERS)
            server_init(server, &stage.world, (uint16_t)(i + 1));
        server->reply = (reply_t){.bytes = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
                                  .after = HWS_MS(10 + i % 3)};
    }
    options.limits.per_peer = 1;
    upstream = world_http(&stage.world, "a", &options, PEERS);
    stage_get(upstream, 0, COUNT);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(stage_ok(0, COUNT), COUNT);
    assert_int_equal(world_stats(upstream).retried, COUNT);
    assert_in_range(upstream->queue.looks, 2 * COUNT - PEERS, 2 * COUNT * 4);
    stage_finish();
    for (i = STAGE_SERVERS; i < PEERS; i++)
        server_dispose(&more[i - STAGE_SERVERS]);
}

static void a_full_queue_is_an_overload_that_says_when_to_come_again(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_stats_t stats;

    (void)state;
    options.limits.pending = 3;
    upstream = busy_upstream(&options, HWS_MS(100));
    stage_get(upstream, 1, 5);
    world_run(&stage.world, 0);
    assert_int_equal(stage_done(1, 3), 0);
    assert_int_equal(stage_done(4, 2), 2);
    assert_int_equal(stage.asks[4].code, HWS_ERR_QUEUE_FULL);
    assert_int_equal(hws_error_kind(stage.asks[4].code), HWS_KIND_OVERLOAD);
    assert_int_equal(stage.asks[4].error.phase, HWS_PHASE_QUEUE);
    assert_true(stage.asks[4].error.has_retry_in);
    assert_true(stage.asks[4].error.retry_in > 0);
    assert_false(stage.asks[4].error.sent);
    assert_true(stage.asks[4].error.retryable);
    assert_int_equal(stage.asks[4].error.attempts, 0);
    stats = world_stats(upstream);
    assert_int_equal(stats.queued, 3);
    assert_int_equal(stats.queue_max, 3);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 4), 4);
    stats = world_stats(upstream);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(stats.requests, 6);
    assert_int_equal(stats.ok, 4);
    assert_int_equal(stats.failed, 2);
}

static void with_no_pending_allowed_nobody_waits_but_who_has_a_dial(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.pending = 0;
    options.limits.per_peer = 2;
    slow_dials(0, HWS_MS(50));
    stage.servers[0].reply.after = HWS_MS(50);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(stage.asks[2].code, HWS_ERR_QUEUE_FULL);
}

static void waiting_too_long_is_an_overload(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_time_t began;

    (void)state;
    options.timeouts.queue = HWS_MS(200);
    upstream = busy_upstream(&options, HWS_S(1));
    began = world_now(&stage.world);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_MS(500));
    assert_int_equal(stage.asks[1].code, HWS_ERR_QUEUE_TIMEOUT);
    assert_int_equal(stage.asks[1].at, began + HWS_MS(200));
    assert_int_equal(stage.asks[1].error.phase, HWS_PHASE_QUEUE);
    assert_true(stage.asks[1].error.has_retry_in);
    assert_true(stage.asks[1].error.retryable);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
}

static void the_deadline_of_a_request_counts_in_the_queue(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = busy_upstream(&options, HWS_S(1));
    ask_t *ask = &stage.asks[1];
    hws_time_t began = world_now(&stage.world);

    (void)state;
    ask_init(ask);
    ask->options.timeout = HWS_MS(300);
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(500));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->at, began + HWS_MS(300));
    assert_int_equal(ask->error.phase, HWS_PHASE_QUEUE);
    assert_false(ask->error.sent);
    assert_true(ask->error.retryable);
}

static void the_deadline_of_a_request_counts_while_dialling(void **state)
{
    ask_t *ask = &stage.asks[0];

    (void)state;
    slow_dials(0, HWS_S(2));
    ask_init(ask);
    ask->options.timeout = HWS_MS(300);
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", NULL, 1)), HWS_OK);
    world_run(&stage.world, HWS_MS(500));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->error.phase, HWS_PHASE_CONNECT);
    assert_false(ask->error.sent);
}

static void a_dial_of_ones_own_stops_the_clock_of_the_queue(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.queue = HWS_MS(200);
    slow_dials(0, HWS_S(2));
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage_ok(0, 1), 1);
}

/* Its dial's connection serves the one that waited longer; it then waits for its own time. */
static void the_clock_of_the_queue_goes_on_when_the_dial_is_over(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_time_t began;

    (void)state;
    options.timeouts.queue = HWS_MS(200);
    options.limits.dials = 1;
    options.limits.per_peer = 1;
    slow_dials(0, HWS_MS(300));
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    began = world_now(&stage.world);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(150));
    /* Joins the queue behind, and inherits the dial when the first is cancelled. */
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_MS(50));
    ask_cancel(&stage.asks[0]);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(stage.asks[0].code, HWS_ERR_CANCELED);
    stage_get(upstream, 2, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.servers[0].visited, 1);
    assert_int_equal(stage.asks[1].done, 0); /* has the connection, and no answer */
    assert_int_equal(stage.asks[2].code, HWS_ERR_QUEUE_TIMEOUT);
    assert_int_equal(stage.asks[2].at, began + HWS_MS(450));
}

static void a_connection_handed_back_serves_who_waits_for_a_dial(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    stage.servers[0].reply.after = HWS_MS(100);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(50));
    slow_dials(0, HWS_S(1));
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_MS(200));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_true(stage.asks[1].reused);
    assert_int_equal(world_stats(upstream).dialing, 1);
    /* Its dial goes on, and its connection joins the pool. */
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(world_stats(upstream).dialing, 0);
    assert_int_equal(world_stats(upstream).idle, 2);
}

static void a_dial_that_is_no_longer_needed_serves_somebody_else(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.dials = 1;
    slow_dials(0, HWS_S(1));
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(500));
    ask_cancel(&stage.asks[0]);
    world_run(&stage.world, HWS_MS(510));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_int_equal(stage.servers[0].visited, 1);
    assert_int_equal(stage.asks[1].attempts, 1);
}

static void a_failed_dial_ends_only_the_request_it_was_for(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.dials = 1;
    slow_dials(0, HWS_MS(100));
    stage.servers[0].listener->options.answer = HWS_ERR_UNREACHABLE;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_MS(150));
    assert_int_equal(stage.asks[0].code, HWS_ERR_UNREACHABLE);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_CONNECT);
    assert_int_equal(stage.asks[0].error.attempts, 1);
    assert_string_equal(stage.asks[0].error.peer, "10.0.0.1:1");
    assert_int_equal(stage_done(1, 2), 0);
    stage.servers[0].listener->options.answer = HWS_OK;
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(1, 2), 2);
}

static void a_failed_dial_goes_to_another_peer(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;

    (void)state;
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    upstream = world_http(&stage.world, "a", &options, 2);
    stage_get(upstream, 0, 10);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 10), 10);
    assert_string_equal(stage.asks[0].peer, "10.0.0.1:2");
    assert_int_equal(stage.asks[0].attempts, 2);
}

static void a_failed_dial_goes_on_as_often_as_attempts_allow(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        stage.servers[i].listener->options.answer = HWS_ERR_REFUSED;
    upstream = world_http(&stage.world, "a", &options, 4);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_REFUSED);
    assert_int_equal(stage.asks[0].error.attempts, 2);
    assert_string_equal(stage.asks[0].error.peer, "10.0.0.1:2");
    assert_int_equal(stage.world.connects, 2);
}

static void a_post_whose_dial_failed_goes_to_another_peer_as_well(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);

    (void)state;
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    ask_post(&stage.asks[0], world_http(&stage.world, "a", &options, 2), "x");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_string_equal(stage.asks[0].peer, "10.0.0.1:2");
}

static void a_dial_that_times_out_goes_to_another_peer(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);

    (void)state;
    hws_sim_silence(stage.servers[0].listener, true);
    stage_get(world_http(&stage.world, "a", &options, 2), 0, 1);
    world_run(&stage.world, HWS_MS(2999));
    assert_int_equal(stage.asks[0].done, 0);
    world_run(&stage.world, HWS_MS(2));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(stage.asks[0].attempts, 2);
}

static void a_connect_that_hangs_is_a_timeout_in_connect(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);
    hws_time_t began = world_now(&stage.world);

    (void)state;
    hws_sim_silence(stage.servers[0].listener, true);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].at, began + HWS_S(3));
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_CONNECT);
    assert_false(stage.asks[0].error.sent);
    assert_int_equal(stage.asks[0].error.attempts, 1);
    assert_int_equal(stage.world.open, 0);
}

static void a_request_cancelled_while_it_dials_says_so(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    slow_dials(0, HWS_S(1));
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(10));
    ask_cancel(&stage.asks[0]);
    assert_int_equal(stage.asks[0].done, 0);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.asks[0].code, HWS_ERR_CANCELED);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_CONNECT);
    assert_false(stage.asks[0].error.retryable);
}

/* After a replay the request waits anew; what it waited before must not be counted twice. */
static void a_replay_that_has_to_wait_is_not_late_at_once(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    options.timeouts.queue = HWS_MS(100);
    stage.servers[0].reply.after = HWS_MS(80);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(81));
    assert_int_equal(stage_ok(0, 1), 1); /* the second has waited for 80 ms, and is on its way */
    slow_dials(0, HWS_MS(300));
    world_run(&stage.world, HWS_MS(50));
    hws_sim_close(server_latest(&stage.servers[0])->conn, HWS_SIM_RESET);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_int_equal(world_stats(upstream).replayed, 1);
}

static void a_call_without_peers_is_refused(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 0);

    (void)state;
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_NO_PEER);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_QUEUE);
}

static void a_first_request_needs_one_dial_however_many_peers_there_are(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 4);

    (void)state;
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(stage.world.connects, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(who_waits_is_served_in_the_order_of_arrival, http),
        STAGE_TEST(posts_and_gets_wait_in_one_order, http),
        STAGE_TEST(serving_thousands_of_posts_takes_steps_for_each_served_not_for_each_waiting,
                   http),
        STAGE_TEST(many_peers_to_avoid_make_no_more_work, http),
        STAGE_TEST(a_full_queue_is_an_overload_that_says_when_to_come_again, http),
        STAGE_TEST(with_no_pending_allowed_nobody_waits_but_who_has_a_dial, http),
        STAGE_TEST(waiting_too_long_is_an_overload, http),
        STAGE_TEST(the_deadline_of_a_request_counts_in_the_queue, http),
        STAGE_TEST(the_deadline_of_a_request_counts_while_dialling, http),
        STAGE_TEST(a_dial_of_ones_own_stops_the_clock_of_the_queue, http),
        STAGE_TEST(the_clock_of_the_queue_goes_on_when_the_dial_is_over, http),
        STAGE_TEST(a_connection_handed_back_serves_who_waits_for_a_dial, http),
        STAGE_TEST(a_dial_that_is_no_longer_needed_serves_somebody_else, http),
        STAGE_TEST(a_failed_dial_ends_only_the_request_it_was_for, http),
        STAGE_TEST(a_failed_dial_goes_to_another_peer, http),
        STAGE_TEST(a_failed_dial_goes_on_as_often_as_attempts_allow, http),
        STAGE_TEST(a_post_whose_dial_failed_goes_to_another_peer_as_well, http),
        STAGE_TEST(a_dial_that_times_out_goes_to_another_peer, http),
        STAGE_TEST(a_connect_that_hangs_is_a_timeout_in_connect, http),
        STAGE_TEST(a_request_cancelled_while_it_dials_says_so, http),
        STAGE_TEST(a_replay_that_has_to_wait_is_not_late_at_once, http),
        STAGE_TEST(a_call_without_peers_is_refused, http),
        STAGE_TEST(a_first_request_needs_one_dial_however_many_peers_there_are, http),
    };

    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
