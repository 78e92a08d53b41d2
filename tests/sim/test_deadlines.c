/* Time limits of a request: the deadline over everything, and silent waits in each phase. */
#include "support/stage.h"

#include <string.h>

static void start(ask_t *ask, hws_upstream_t *upstream, hws_time_t timeout)
{
    ask_init(ask);
    ask->options.timeout = timeout;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

static void a_peer_that_says_nothing_is_a_timeout_at_the_headers(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_time_t began = world_now(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.read = HWS_S(2);
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].at, began + HWS_S(2));
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_HEADERS);
    assert_true(stage.asks[0].error.sent);
    assert_true(stage.asks[0].error.retryable);
    assert_int_equal(stage.servers[0].reset, 1);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_ABANDONED], 1);
}

static unsigned wall_reads;

static int64_t jumping_wall(hws_io_t *io)
{
    (void)io;
    return wall_reads++ % 2 != 0 ? INT64_MAX : 0;
}

/* Only a date that a peer sends is looked at beside the clock on the wall. */
static void a_clock_on_the_wall_that_jumps_moves_no_deadline(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_time_t began = world_now(&stage.world);
    hws_io_t *io = stage.world.loop->io;
    const hws_io_ops_t *ops = io->ops;
    hws_io_ops_t jumping = *ops;
    hws_upstream_t *upstream;

    (void)state;
    wall_reads = 0;
    jumping.wall = jumping_wall;
    io->ops = &jumping;
    options.timeouts.idle = HWS_S(3);
    options.limits.per_peer = 1;
    options.timeouts.queue = HWS_S(2);
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    start(&stage.asks[0], upstream, HWS_S(4));
    start(&stage.asks[1], upstream, HWS_S(5));
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage.asks[1].code, HWS_ERR_QUEUE_TIMEOUT);
    assert_int_equal(stage.asks[1].at - began, HWS_S(2));
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].at - began, HWS_S(4));
    stage.servers[0].reply = (reply_t){.bytes = REPLY_OK};
    start(&stage.asks[2], upstream, HWS_S(1));
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[2].code, HWS_OK);
    assert_int_equal(stage.world.open, 1);
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(wall_reads, 0);
    io->ops = ops;
}

static void a_peer_that_falls_silent_is_a_timeout_in_the_body(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_time_t began = world_now(&stage.world);

    (void)state;
    options.timeouts.read = HWS_S(2);
    stage.servers[0].reply =
        (reply_t){.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", .after = HWS_S(1)};
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].at, began + HWS_S(3));
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_BODY);
}

static void a_peer_that_takes_nothing_is_a_timeout_while_sending(void **state)
{
    static char body[600000];
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    options.timeouts.read = HWS_S(2);
    stage.servers[0].listener->options.window = 1000;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, sizeof(body)};
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    world_run(&stage.world, 0);
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->error.phase, HWS_PHASE_SEND);
    assert_true(ask->error.sent);
}

/* A window of bytes a second: longer in all than it may be silent. */
static void a_peer_that_takes_some_now_and_then_is_not_cut_off(void **state)
{
    static char body[100000];
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];
    hws_sim_conn_t *conn;
    int i;

    (void)state;
    options.timeouts.read = HWS_S(2);
    stage.servers[0].listener->options.window = 1000;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    ask_init(ask);
    ask->options.method = HWS_SLICE("PUT");
    ask->options.has_body = true;
    ask->options.body = (hws_slice_t){body, sizeof(body)};
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    world_run(&stage.world, 0);
    conn = server_latest(&stage.servers[0])->conn;
    for (i = 0; i < 10; i++) {
        hws_sim_pause(conn, false);
        world_run(&stage.world, 0);
        hws_sim_pause(conn, true);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(ask->code, HWS_AGAIN);
    }
    hws_sim_pause(conn, false);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ask->code, HWS_OK);
}

static void a_slow_drip_does_not_outlast_the_deadline(void **state)
{
    hws_time_t began = world_now(&stage.world);

    (void)state;
    stage.servers[0].listener->options.chunking = HWS_SIM_BYTES;
    stage.servers[0].listener->options.gap = HWS_MS(500);
    start(&stage.asks[0], world_http(&stage.world, "a", NULL, 1), HWS_S(3));
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].at, began + HWS_S(3));
}

static void a_slow_drip_of_the_body_does_not_either(void **state)
{
    hws_time_t began = world_now(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
                                   "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    stage.servers[0].listener->options.chunking = HWS_SIM_BYTES;
    stage.servers[0].listener->options.gap = HWS_MS(50);
    start(ask, world_http(&stage.world, "a", NULL, 1), HWS_S(3));
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->at, began + HWS_S(3));
    assert_int_equal(ask->error.phase, HWS_PHASE_BODY);
}

/* The deadline is of the whole call: queue, dial, replay and body come out of the same time. */
static void a_deadline_covers_queue_dial_and_replay(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_time_t began;
    ask_t *ask = &stage.asks[1];

    (void)state;
    options.limits.per_peer = 1;
    stage.servers[0].reply.after = HWS_S(1);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(1));
    began = world_now(&stage.world);
    start(ask, upstream, HWS_S(3)); /* waits for a second */
    world_run(&stage.world, HWS_MS(1500));
    hws_sim_close(server_latest(&stage.servers[0])->conn, HWS_SIM_RESET);
    stage.servers[0].listener->options.connect_min = HWS_S(1);
    stage.servers[0].listener->options.connect_max = HWS_S(1);
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->at, began + HWS_S(3));
    assert_int_equal(ask->error.phase, HWS_PHASE_HEADERS);
    assert_int_equal(ask->error.attempts, 2);
}

static void a_deadline_at_the_second_dial_is_one_of_connecting(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_time_t began = world_now(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    stage.servers[0].listener->options.connect_min = HWS_S(1);
    stage.servers[0].listener->options.connect_max = HWS_S(1);
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    hws_sim_silence(stage.servers[1].listener, true);
    start(ask, world_http(&stage.world, "a", &options, 2), HWS_S(2));
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->at, began + HWS_S(2));
    assert_int_equal(ask->error.phase, HWS_PHASE_CONNECT);
    assert_string_equal(ask->error.peer, "10.0.0.1:2");
    assert_false(ask->error.sent);
}

static void without_limits_a_request_waits_for_ever(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.request = options.timeouts.read = HWS_NEVER;
    stage.servers[0].reply.after = HWS_S(100000);
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
    world_run(&stage.world, HWS_S(99999));
    assert_int_equal(stage.asks[0].done, 0);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(stage_ok(0, 1), 1);
}

static void a_request_of_no_time_at_all_is_late(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.request = 0;
    stage.servers[0].reply.after = HWS_MS(1);
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
}

/* While the reader of a stream takes his time, nobody is silent. */
static void a_reader_who_takes_his_time_is_not_cut_off(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    options.timeouts.read = HWS_S(1);
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
    ask_init(ask);
    ask->options.stream = ask->is_unread = true;
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    world_run(&stage.world, HWS_S(100));
    ask->is_unread = false;
    ask_read(ask);
    assert_int_equal(ask->end, HWS_AGAIN);
    world_run(&stage.world, HWS_MS(999));
    assert_int_equal(ask->end, HWS_AGAIN);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(ask->end, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->error.phase, HWS_PHASE_BODY);
}

/* Nor is anybody while its producer does. */
static void wait_for_the_producer(hws_request_t *request, void *user)
{
    (void)request;
    ((ask_t *)user)->writable++;
}

static void a_producer_who_takes_his_time_is_not_cut_off(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    ask_t *ask = &stage.asks[0];
    size_t taken;

    (void)state;
    options.timeouts.read = HWS_S(1);
    options.timeouts.request = HWS_S(100);
    ask_init(ask);
    ask->options.has_producer = true;
    ask->options.method = HWS_SLICE("POST");
    ask->options.on_writable = wait_for_the_producer;
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(ask->writable, 1);
    assert_int_equal(hws_request_send(ask->request, "abc", 3, &taken), HWS_OK);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(ask->done, 0);
    assert_int_equal(hws_request_finish(ask->request), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->writable, 1);
}

static void a_producer_who_never_ends_is_cut_off_by_the_deadline(void **state)
{
    hws_time_t began = world_now(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    ask_init(ask);
    ask->options.has_producer = true;
    ask->options.timeout = HWS_S(5);
    ask->options.on_writable = wait_for_the_producer;
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", NULL, 1)), HWS_OK);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->at, began + HWS_S(5));
    assert_int_equal(ask->error.phase, HWS_PHASE_SEND);
    assert_false(ask->error.retryable);
}

static void after_a_producer_has_ended_silence_counts(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_time_t began = world_now(&stage.world);
    ask_t *ask = &stage.asks[0];

    (void)state;
    options.timeouts.read = HWS_S(2);
    stage.servers[0].reply.is_silent = true;
    ask_init(ask);
    ask->options.has_producer = true;
    ask->options.on_writable = wait_for_the_producer;
    assert_int_equal(ask_start(ask, world_http(&stage.world, "a", &options, 1)), HWS_OK);
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(hws_request_finish(ask->request), HWS_OK);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
    assert_int_equal(ask->at, began + HWS_S(7));
    assert_int_equal(ask->error.phase, HWS_PHASE_HEADERS);
}

static void changed_timeouts_hold_for_what_begins_afterwards(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);
    hws_time_t began;

    (void)state;
    stage.servers[0].reply.is_silent = true;
    options.timeouts.request = HWS_S(1);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    began = world_now(&stage.world);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(stage.asks[0].code, HWS_ERR_TIMEOUT);
    assert_int_equal(stage.asks[0].at, began + HWS_S(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_peer_that_says_nothing_is_a_timeout_at_the_headers, http),
        STAGE_TEST(a_clock_on_the_wall_that_jumps_moves_no_deadline, http),
        STAGE_TEST(a_peer_that_falls_silent_is_a_timeout_in_the_body, http),
        STAGE_TEST(a_peer_that_takes_nothing_is_a_timeout_while_sending, http),
        STAGE_TEST(a_peer_that_takes_some_now_and_then_is_not_cut_off, http),
        STAGE_TEST(a_slow_drip_does_not_outlast_the_deadline, http),
        STAGE_TEST(a_slow_drip_of_the_body_does_not_either, http),
        STAGE_TEST(a_deadline_covers_queue_dial_and_replay, http),
        STAGE_TEST(a_deadline_at_the_second_dial_is_one_of_connecting, http),
        STAGE_TEST(without_limits_a_request_waits_for_ever, http),
        STAGE_TEST(a_request_of_no_time_at_all_is_late, http),
        STAGE_TEST(a_reader_who_takes_his_time_is_not_cut_off, http),
        STAGE_TEST(a_producer_who_takes_his_time_is_not_cut_off, http),
        STAGE_TEST(a_producer_who_never_ends_is_cut_off_by_the_deadline, http),
        STAGE_TEST(after_a_producer_has_ended_silence_counts, http),
        STAGE_TEST(changed_timeouts_hold_for_what_begins_afterwards, http),
    };

    return cmocka_run_group_tests_name("deadlines", tests, NULL, NULL);
}
