/* How long connections are kept, which of them are used again, and what is done with dead ones. */
#include "support/stage.h"

#include <string.h>

static hws_upstream_t *upstream_with(hws_upstream_options_t *options)
{
    return world_http(&stage.world, "a", options, 1);
}

static hws_upstream_t *default_upstream(void)
{
    return upstream_with(NULL);
}

/* `count` connections of the pool, idle from now on. */
static void warm(hws_upstream_t *upstream, unsigned count)
{
    stage.servers[0].reply.after = HWS_MS(1);
    stage_get(upstream, 0, count);
    world_run(&stage.world, HWS_MS(2));
    assert_int_equal(stage_ok(0, count), count);
    assert_int_equal(world_stats(upstream).idle, count);
}

static bool get(hws_upstream_t *upstream, unsigned ask)
{
    stage_get(upstream, ask, 1);
    world_run(&stage.world, HWS_MS(20));
    assert_int_equal(stage_ok(ask, 1), 1);
    return stage.asks[ask].reused;
}

static bool post(hws_upstream_t *upstream, unsigned ask)
{
    ask_post(&stage.asks[ask], upstream, "x");
    world_run(&stage.world, HWS_MS(20));
    assert_int_equal(stage_ok(ask, 1), 1);
    return stage.asks[ask].reused;
}

static void an_idle_connection_goes_when_its_time_is_over(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.idle = HWS_S(10);
    upstream = upstream_with(&options);
    warm(upstream, 3);
    world_run(&stage.world, HWS_S(10) - HWS_MS(2));
    assert_int_equal(stage.world.open, 3);
    world_run(&stage.world, HWS_MS(3));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_IDLE], 3);
    assert_true(world_had_event(&stage.world, "close:idle"));
    assert_int_equal(stage.servers[0].finished, 3);
}

static void use_prolongs_the_life_of_an_idle_connection(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.timeouts.idle = HWS_S(10);
    upstream = upstream_with(&options);
    for (i = 0; i < 6; i++) {
        assert_int_equal(get(upstream, i), i > 0);
        world_run(&stage.world, HWS_S(9));
    }
    assert_int_equal(stage.servers[0].visited, 1);
}

static void the_connection_used_last_is_used_first(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.timeouts.idle = HWS_S(10);
    upstream = upstream_with(&options);
    warm(upstream, 5);
    for (i = 5; i < 10; i++) {
        world_run(&stage.world, HWS_S(3));
        assert_true(get(upstream, i));
    }
    /* One alone was used all the time; the other four have expired. */
    assert_int_equal(stage.world.open, 1);
}

static void connections_born_together_do_not_die_together(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.lifetime = HWS_S(100);
    options.timeouts.idle = HWS_NEVER;
    upstream = upstream_with(&options);
    warm(upstream, 40);
    world_run(&stage.world, HWS_S(90) - HWS_MS(10));
    assert_int_equal(stage.world.open, 40);
    world_run(&stage.world, HWS_S(10));
    assert_in_range(stage.world.open, 8, 32);
    world_run(&stage.world, HWS_S(10) + HWS_MS(10));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LIFETIME], 40);
}

static void a_connection_past_its_lifetime_ends_its_work_and_takes_no_more(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.lifetime = HWS_S(1);
    stage.servers[0].reply.after = HWS_S(5);
    upstream = upstream_with(&options);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(6));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LIFETIME], 1);
}

static void a_keep_alive_hint_less_a_margin_bounds_the_idle_time(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.bytes =
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n";
    warm(upstream, 1);
    world_run(&stage.world, HWS_MS(2990));
    assert_int_equal(stage.world.open, 1);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_IDLE], 1);
}

static void a_keep_alive_hint_no_longer_than_the_margin_closes_at_once(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.bytes =
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n";
    assert_false(get(upstream, 0));
    assert_int_equal(stage.world.open, 0);
}

static void a_hint_of_nothing_closes_at_once(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.bytes =
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n";
    assert_false(get(upstream, 0));
    assert_int_equal(stage.world.open, 0);
    assert_false(get(upstream, 1));
}

/* A peer that closes after 10 s without a word of it, and once so that we only see it on reuse. */
static void learn_ten_seconds(hws_upstream_t *upstream)
{
    warm(upstream, 1);
    world_run(&stage.world, HWS_S(10));
    hws_sim_silence(stage.servers[0].listener, true);
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
    stage_get(upstream, 10, 1);
    world_run(&stage.world, 0);
    hws_sim_silence(stage.servers[0].listener, false);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage_ok(10, 1), 1);
    assert_int_equal(world_stats(upstream).replayed, 1);
    assert_true(world_had_event(&stage.world, "stale_reuse:replayed"));
}

static void a_connection_found_dead_lowers_the_idle_time_of_its_peer(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    learn_ten_seconds(upstream);
    world_run(&stage.world, HWS_MS(7800));
    assert_int_equal(stage.world.open, 1);
    world_run(&stage.world, HWS_MS(210));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_IDLE], 1);
}

static void a_connection_that_dies_young_teaches_nothing(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    warm(upstream, 1);
    world_run(&stage.world, HWS_MS(3));
    hws_sim_silence(stage.servers[0].listener, true);
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
    stage_get(upstream, 10, 1);
    world_run(&stage.world, 0);
    hws_sim_silence(stage.servers[0].listener, false);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(world_stats(upstream).replayed, 1);
    world_run(&stage.world, HWS_S(30));
    assert_true(get(upstream, 20));
}

static void a_request_that_is_not_out_whole_keeps_its_connection_from_the_pool(void **state)
{
    static const char zeros[100000];
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].listener->options.window = 1000;
    stage.servers[0].greeting = (reply_t){
        .bytes = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", .after = HWS_MS(5)};
    ask_init(&stage.asks[0]);
    stage.asks[0].options.method = (hws_slice_t)HWS_SLICE("POST");
    stage.asks[0].options.body = (hws_slice_t){zeros, sizeof(zeros)};
    stage.asks[0].options.has_body = true;
    stage.servers[0].is_stuck = true;
    assert_int_equal(ask_start(&stage.asks[0], upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(stage.asks[0].status, 413);
    assert_int_equal(stage.world.open, 0);
}

static void what_was_learned_of_an_idle_time_is_forgotten(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    learn_ten_seconds(upstream);
    world_run(&stage.world, HWS_S(300));
    assert_false(get(upstream, 20));
    world_run(&stage.world, HWS_S(60));
    assert_true(get(upstream, 21));
}

static void a_safe_pool_gives_a_post_only_what_was_used_just_now(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    warm(upstream, 1);
    world_run(&stage.world, HWS_MS(3900));
    assert_true(post(upstream, 1));
    world_run(&stage.world, HWS_MS(4100));
    assert_true(get(upstream, 2));
    world_run(&stage.world, HWS_MS(4100));
    assert_false(post(upstream, 3));
    /* Both are there now. */
    assert_int_equal(world_stats(upstream).idle, 2);
}

static void a_hint_replaces_the_four_seconds_that_a_post_trusts(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.bytes =
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=30\r\nContent-Length: 0\r\n\r\n";
    warm(upstream, 1);
    world_run(&stage.world, HWS_S(27));
    assert_true(post(upstream, 1));
}

static void an_idempotent_post_takes_any_idle_connection(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    ask_t *ask = &stage.asks[1];

    (void)state;
    warm(upstream, 1);
    world_run(&stage.world, HWS_S(60));
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.fields = HWS_SLICE("Idempotency-Key: 7\r\n");
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_true(ask->reused);
}

static void with_reuse_always_a_post_takes_any_idle_connection(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.reuse = HWS_REUSE_ALWAYS;
    upstream = upstream_with(&options);
    warm(upstream, 1);
    world_run(&stage.world, HWS_S(60));
    assert_true(post(upstream, 1));
}

static void with_reuse_never_each_request_has_its_own_connection(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.reuse = HWS_REUSE_NEVER;
    upstream = upstream_with(&options);
    for (i = 0; i < 6; i += 2) {
        assert_false(get(upstream, i));
        assert_false(post(upstream, i + 1));
        assert_int_equal(stage.world.open, 0);
    }
    assert_int_equal(stage.servers[0].visited, 6);
    assert_int_equal(world_stats(upstream).reused, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 6);
}

static void an_idle_connection_that_the_peer_ends_is_closed_at_once(void **state)
{
    static const hws_sim_close_t ways[] = {HWS_SIM_FINISH, HWS_SIM_CLOSE, HWS_SIM_RESET};
    hws_upstream_t *upstream = default_upstream();
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        assert_false(get(upstream, i));
        hws_sim_close(server_latest(&stage.servers[0])->conn, ways[i]);
        world_run(&stage.world, HWS_MS(1));
        assert_int_equal(stage.world.open, 0);
        assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_PEER_CLOSED], i + 1);
    }
    assert_true(world_had_event(&stage.world, "close:peer"));
}

static void bytes_on_an_idle_connection_close_it_at_once(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    assert_false(get(upstream, 0));
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = REPLY_OK});
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_UNEXPECTED], 1);
    assert_false(get(upstream, 1));
}

static void bytes_after_a_response_close_the_connection(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.bytes = REPLY_OK "more";
    assert_false(get(upstream, 0));
    assert_int_equal(stage.world.open, 0);
    assert_false(get(upstream, 1));
}

/* The FIN has come while the program was busy elsewhere: nobody has told the core of it yet. */
static void a_dead_connection_is_found_before_a_post_is_written_to_it(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    hws_stats_t stats;

    (void)state;
    warm(upstream, 2);
    world_run(&stage.world, HWS_S(2));
    server_end_all(&stage.servers[0], HWS_SIM_CLOSE);
    hws_sim_stall(stage.world.sim, HWS_MS(100));
    assert_false(post(upstream, 2));
    stats = world_stats(upstream);
    assert_int_equal(stats.replayed, 0);
    /* The first taught how long they live, so the other was not even looked at. */
    assert_int_equal(stats.closed[HWS_CLOSE_STALE], 1);
    assert_int_equal(stats.closed[HWS_CLOSE_PEER_CLOSED], 1);
    assert_int_equal(stats.reused, 0);
    assert_true(world_had_event(&stage.world, "stale_reuse:probe"));
}

static void a_get_after_a_stall_is_not_written_to_a_dead_connection_either(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    warm(upstream, 1);
    world_run(&stage.world, HWS_S(2));
    server_end_all(&stage.servers[0], HWS_SIM_CLOSE);
    hws_sim_stall(stage.world.sim, HWS_MS(100));
    assert_false(get(upstream, 2));
    assert_int_equal(world_stats(upstream).replayed, 0);
    assert_int_equal(stage.servers[0].requests, 2);
}

static void stray_bytes_found_at_reuse_say_nothing_of_idle_times(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    warm(upstream, 1);
    world_run(&stage.world, HWS_S(2));
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = "x"});
    hws_sim_stall(stage.world.sim, HWS_MS(100));
    assert_false(post(upstream, 2));
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(stage.world.open, 1);
}

static void a_response_that_says_close_is_the_last_of_its_connection(void **state)
{
    hws_upstream_t *upstream = default_upstream();

    (void)state;
    stage.servers[0].reply.bytes =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_false(get(upstream, 0));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
}

static void changed_idle_times_hold_for_connections_that_are_there(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = upstream_with(&options);

    (void)state;
    warm(upstream, 3);
    world_run(&stage.world, HWS_S(5));
    options.timeouts.idle = HWS_S(6);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(900));
    assert_int_equal(stage.world.open, 3);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage.world.open, 0);
}

static void longer_idle_times_hold_for_connections_that_are_there(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.idle = HWS_S(5);
    upstream = upstream_with(&options);
    warm(upstream, 3);
    world_run(&stage.world, HWS_S(4));
    options.timeouts.idle = HWS_NEVER;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_S(600));
    assert_int_equal(stage.world.open, 3);
}

static void note_status(void *user, int status)
{
    *(int *)user = status;
}

static void spans_of_any_size_are_harmless(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_time_t huge = HWS_NEVER - 1;
    hws_upstream_t *upstream;
    int status = HWS_AGAIN;

    (void)state;
    options.timeouts = (hws_timeouts_t){.connect = huge,
                                        .queue = huge,
                                        .request = huge,
                                        .attempt = huge,
                                        .read = huge,
                                        .idle = huge,
                                        .lifetime = huge,
                                        .drain = huge};
    options.limits.per_peer = 1;
    upstream = upstream_with(&options);
    stage.servers[0].reply.after = HWS_S(1);
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_int_equal(hws_upstream_drain(upstream, 0, note_status, &status), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(status, HWS_OK);
}

static void connections_counted_closed_and_open_are_those_that_were_made(void **state)
{
    hws_upstream_t *upstream = default_upstream();
    hws_stats_t stats;
    uint64_t closed = 0;
    unsigned i;

    (void)state;
    stage.servers[0].closes_after = 3;
    for (i = 0; i < 100; i++) {
        ask_get(&stage.asks[i], upstream);
        world_run(&stage.world, HWS_MS(i % 7));
    }
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 100), 100);
    stats = world_stats(upstream);
    for (i = 0; i < HWS_CLOSE_COUNT; i++)
        closed += stats.closed[i];
    assert_int_equal(stats.created, stage.servers[0].visited);
    assert_int_equal(stats.created - closed, stage.world.open);
    assert_int_equal(stats.open, stage.world.open);
    assert_int_equal(stats.requests, 100);
    assert_int_equal(stats.ok, 100);
    hws_manager_stats(stage.world.manager, &stats);
    assert_int_equal(stats.ok, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(an_idle_connection_goes_when_its_time_is_over, http),
        STAGE_TEST(use_prolongs_the_life_of_an_idle_connection, http),
        STAGE_TEST(the_connection_used_last_is_used_first, http),
        STAGE_TEST(connections_born_together_do_not_die_together, http),
        STAGE_TEST(a_connection_past_its_lifetime_ends_its_work_and_takes_no_more, http),
        STAGE_TEST(a_keep_alive_hint_less_a_margin_bounds_the_idle_time, http),
        STAGE_TEST(a_keep_alive_hint_no_longer_than_the_margin_closes_at_once, http),
        STAGE_TEST(a_hint_of_nothing_closes_at_once, http),
        STAGE_TEST(a_connection_found_dead_lowers_the_idle_time_of_its_peer, http),
        STAGE_TEST(a_connection_that_dies_young_teaches_nothing, http),
        STAGE_TEST(a_request_that_is_not_out_whole_keeps_its_connection_from_the_pool, http),
        STAGE_TEST(what_was_learned_of_an_idle_time_is_forgotten, http),
        STAGE_TEST(a_safe_pool_gives_a_post_only_what_was_used_just_now, http),
        STAGE_TEST(a_hint_replaces_the_four_seconds_that_a_post_trusts, http),
        STAGE_TEST(an_idempotent_post_takes_any_idle_connection, http),
        STAGE_TEST(with_reuse_always_a_post_takes_any_idle_connection, http),
        STAGE_TEST(with_reuse_never_each_request_has_its_own_connection, http),
        STAGE_TEST(an_idle_connection_that_the_peer_ends_is_closed_at_once, http),
        STAGE_TEST(bytes_on_an_idle_connection_close_it_at_once, http),
        STAGE_TEST(bytes_after_a_response_close_the_connection, http),
        STAGE_TEST(a_dead_connection_is_found_before_a_post_is_written_to_it, http),
        STAGE_TEST(a_get_after_a_stall_is_not_written_to_a_dead_connection_either, http),
        STAGE_TEST(stray_bytes_found_at_reuse_say_nothing_of_idle_times, http),
        STAGE_TEST(a_response_that_says_close_is_the_last_of_its_connection, http),
        STAGE_TEST(changed_idle_times_hold_for_connections_that_are_there, http),
        STAGE_TEST(longer_idle_times_hold_for_connections_that_are_there, http),
        STAGE_TEST(spans_of_any_size_are_harmless, http),
        STAGE_TEST(connections_counted_closed_and_open_are_those_that_were_made, http),
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
