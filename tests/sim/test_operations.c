/* A manager's operations on single peers, and what it measured, in virtual time. */
#include "support/stage.h"

#include <string.h>

static hws_peer_t *find(const char *text)
{
    hws_peer_t *peer = NULL;
    hws_error_t why = {.code = HWS_OK};

    assert_int_equal(
        hws_manager_find_peer(stage.world.manager, (hws_slice_t){text, strlen(text)}, &peer, &why),
        HWS_OK);
    return peer;
}

static int find_code(const char *text)
{
    hws_peer_t *peer;
    hws_error_t why = {.code = HWS_OK};

    return hws_manager_find_peer(stage.world.manager, (hws_slice_t){text, strlen(text)}, &peer,
                                 &why);
}

static void begin_connect(hold_t *hold, const char *peer)
{
    hold_init(hold);
    hold->options.connect_only = true;
    hold->options.peer = find(peer);
    assert_int_equal(hold_start(hold, hws_peer_upstream(hold->options.peer)), HWS_OK);
}

static void peers_are_found_by_upstream_and_id_or_by_place(void **state)
{
    hws_upstream_t *a = world_http(&stage.world, "a", NULL, 2);
    hws_upstream_t *odd;
    hws_peer_view_t view;

    (void)state;
    assert_ptr_equal(hws_peer_upstream(find("a/10.0.0.1:2")), a);
    assert_ptr_equal(find("10.0.0.1:2"), find("a/10.0.0.1:2"));
    assert_ptr_equal(find("http://10.0.0.1:2"), find("a/10.0.0.1:2"));
    odd = world_http(&stage.world, "b/c", NULL, 1);
    assert_ptr_equal(hws_peer_upstream(find("b/c/10.0.0.1:1")), odd);
    assert_int_equal(find_code("10.0.0.1:1"), HWS_ERR_INVALID); /* both have it */
    assert_int_equal(find_code("a/10.0.0.1:3"), HWS_ERR_INVALID);
    assert_int_equal(find_code("d/10.0.0.1:1"), HWS_ERR_INVALID);
    assert_int_equal(find_code(""), HWS_ERR_BAD_URL);
    /* Another scheme is another place; one that nobody has is found nevertheless. */
    hws_peer_view(find("https://10.0.0.1:2"), &view);
    assert_string_equal(hws_upstream_name(hws_peer_upstream(find("https://10.0.0.1:2"))),
                        "https://10.0.0.1:2");
    assert_string_equal(hws_upstream_name(hws_peer_upstream(find("10.0.0.1:9"))),
                        "http://10.0.0.1:9");
    assert_string_equal(hws_upstream_name(hws_peer_upstream(find("tcp://10.0.0.1:9"))),
                        "tcp://10.0.0.1:9");
}

static void a_connect_is_to_that_peer_and_reuses(void **state)
{
    unsigned i;

    (void)state;
    world_http(&stage.world, "a", NULL, 3);
    for (i = 0; i < 5; i++) {
        begin_connect(&stage.holds[i], "a/10.0.0.1:2");
        world_run(&stage.world, HWS_MS(10));
        assert_int_equal(stage.holds[i].code, HWS_OK);
    }
    assert_int_equal(stage.world.connects, 1);
    assert_int_equal(stage.servers[1].visited, 1);
    assert_int_equal(hws_peer_status(find("a/10.0.0.1:2")), HWS_LINK_CONNECTED);
    assert_int_equal(hws_peer_status(find("a/10.0.0.1:1")), HWS_LINK_DISCONNECTED);
}

/* However often it has failed there, nobody else will do. */
static void a_connect_retries_at_the_same_peer(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);

    (void)state;
    world_http(&stage.world, "a", &options, 3);
    stage.servers[1].listener->options.answer = HWS_ERR_REFUSED;
    begin_connect(&stage.holds[0], "a/10.0.0.1:2");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.holds[0].code, HWS_ERR_REFUSED);
    assert_int_equal(stage.holds[0].error.attempts, 3);
    assert_int_equal(stage.world.connects, 3);
    assert_int_equal(stage.servers[0].visited + stage.servers[2].visited, 0);
    assert_int_equal(hws_peer_status(find("a/10.0.0.1:2")), HWS_LINK_FAILED);
}

static void a_disconnect_fails_what_is_on_it_and_nobody_else(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage.servers[0].reply.after = HWS_MS(50);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(10));
    begin_connect(&stage.holds[0], "a/10.0.0.1:1"); /* waits for this very peer */
    assert_int_equal(world_stats(upstream).queued, 2);
    hws_peer_disconnect(find("a/10.0.0.1:1"));
    world_run(&stage.world, HWS_MS(200));
    assert_int_equal(stage.asks[0].code, HWS_ERR_CLOSED);
    assert_int_equal(stage.holds[0].code, HWS_ERR_CLOSED);
    assert_true(ask_is_ok(&stage.asks[1]));
    assert_int_equal(stage.world.connects, 2);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_SHUTDOWN], 1);
}

static void a_connect_to_a_peer_that_is_removed_ends(void **state)
{
    hws_peer_options_t other = {.url = HWS_SLICE("http://10.0.0.1:2")};
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage.servers[0].reply.after = HWS_MS(50);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(10));
    begin_connect(&stage.holds[0], "a/10.0.0.1:1");
    begin_connect(&stage.holds[1], "a/10.0.0.1:1");
    hws_upstream_settings(upstream, &options);
    options.peers = &other;
    options.peer_count = 1;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.holds[0].code, HWS_ERR_NO_PEER);
    assert_int_equal(stage.holds[1].code, HWS_ERR_NO_PEER);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage_ok(0, 1), 1);
}

static void a_disconnect_ends_a_dial(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].listener->options.connect_min = HWS_MS(50);
    stage.servers[0].listener->options.connect_max = HWS_MS(50);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(hws_peer_status(find("a/10.0.0.1:1")), HWS_LINK_CONNECTING);
    hws_peer_disconnect(find("a/10.0.0.1:1"));
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.asks[0].code, HWS_ERR_CLOSED);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(hws_peer_status(find("a/10.0.0.1:1")), HWS_LINK_DISCONNECTED);
}

static void a_lowered_cap_cuts_nothing_in_flight(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 2);
    hws_limits_t limits;

    (void)state;
    stage.servers[0].reply.after = stage.servers[1].reply.after = HWS_MS(50);
    stage_get(upstream, 0, 10);
    world_run(&stage.world, HWS_MS(10));
    hws_manager_limits(stage.world.manager, &limits);
    assert_int_equal(hws_manager_set_limits(stage.world.manager, 3, &limits, NULL), HWS_OK);
    assert_int_equal(world_stats(upstream).busy, 10);
    world_run(&stage.world, HWS_MS(200));
    assert_int_equal(stage_ok(0, 10), 10);
    assert_int_equal(world_stats(upstream).open, 3);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_SURPLUS], 7);
    assert_int_equal(hws_manager_set_limits(stage.world.manager, 1, &limits, NULL), HWS_OK);
    assert_int_equal(world_stats(upstream).open, 1);
    limits.buffer = 1;
    assert_int_equal(hws_manager_set_limits(stage.world.manager, 7, &limits, NULL),
                     HWS_ERR_INVALID);
    assert_int_equal(hws_manager_max_connections(stage.world.manager), 1);
}

static void limits_are_followed_where_an_upstream_has_none_of_its_own(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *follower = world_http(&stage.world, "a", &options, 1);
    hws_upstream_t *own;
    hws_limits_t limits;

    (void)state;
    options.limits.per_peer = 7;
    own = world_http(&stage.world, "b", &options, 1);
    hws_manager_limits(stage.world.manager, &limits);
    limits.per_peer = 3;
    limits.pending = 5;
    assert_int_equal(hws_manager_set_limits(stage.world.manager, 0, &limits, NULL), HWS_OK);
    hws_upstream_settings(follower, &options);
    assert_int_equal(options.limits.per_peer, 3);
    hws_upstream_settings(own, &options);
    assert_int_equal(options.limits.per_peer, 7);
    assert_int_equal(options.limits.pending, 5);
    options = world_options(&stage.world);
    assert_int_equal(options.limits.per_peer, 3);
}

static void a_forced_breaker_dismisses_who_waits(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage.servers[0].reply.after = HWS_MS(50);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(10));
    hws_peer_force_breaker(find("a/10.0.0.1:1"), HWS_FORCE_OPEN);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.asks[1].code, HWS_ERR_BREAKER_OPEN);
    assert_int_equal(world_stats(upstream).opened, 1);
    hws_peer_force_breaker(find("a/10.0.0.1:1"), HWS_FORCE_NONE);
    world_run(&stage.world, HWS_MS(100));
    assert_true(ask_is_ok(&stage.asks[0]));
    stage_get(upstream, 2, 1);
    world_run(&stage.world, HWS_MS(100));
    assert_true(ask_is_ok(&stage.asks[2]));
}

static void times_and_bytes_are_what_they_were(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_metrics_snapshot_t of_upstream;
    hws_metrics_snapshot_t of_all;
    hws_traffic_t *traffic = &of_upstream.traffic;

    (void)state;
    options.limits.per_peer = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage.servers[0].listener->options.connect_min = HWS_MS(3);
    stage.servers[0].listener->options.connect_max = HWS_MS(3);
    stage.servers[0].listener->options.latency_min = 0;
    stage.servers[0].listener->options.latency_max = 0;
    stage.servers[0].reply.after = HWS_MS(20);
    stage_get(upstream, 0, 2); /* the second waits 23 ms */
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage_ok(0, 2), 2);
    hws_upstream_metrics(upstream, &of_upstream);
    assert_int_equal(traffic->phases[HWS_PHASE_CONNECT].count, 1);
    assert_int_equal(traffic->phases[HWS_PHASE_CONNECT].peak, HWS_MS(3));
    assert_int_equal(traffic->phases[HWS_PHASE_QUEUE].count, 2);
    assert_int_equal(traffic->phases[HWS_PHASE_QUEUE].peak, HWS_MS(23));
    assert_int_equal(traffic->phases[HWS_PHASE_HEADERS].count, 2);
    assert_int_equal(traffic->phases[HWS_PHASE_HEADERS].average, HWS_MS(20));
    assert_int_equal(traffic->total.count, 2);
    assert_int_equal(traffic->total.peak, HWS_MS(20));
    assert_int_equal(traffic->exchanges.total, 2);
    assert_int_equal(traffic->bytes_in.total, 2 * strlen(REPLY_OK));
    assert_int_equal(traffic->bytes_out.total, stage.servers[0].received);
    assert_true(traffic->exchanges.per_second[HWS_RATE_1S] == 0);
    assert_true(traffic->exchanges.per_second[HWS_RATE_10S] > 0);
    assert_int_equal(of_upstream.breakers[HWS_BREAKER_CLOSED], 1);
    hws_upstream_close(upstream);
    world_run(&stage.world, HWS_MS(1));
    hws_manager_metrics(stage.world.manager, &of_all);
    assert_int_equal(of_all.traffic.total.count, 2);
    assert_int_equal(of_all.traffic.bytes_in.total, traffic->bytes_in.total);
    assert_int_equal(of_all.stats.created, 1);
}

static unsigned trims;

static void count_trim(void *user)
{
    (void)user;
    trims++;
}

static void a_burst_that_is_over_is_followed_by_a_trim_which_is_told(void **state)
{
    enum { BURST = 1000 };
    static hws_lease_t *leases[BURST];
    const hws_lease_options_t lease_options = {.timeout = 0};
    hws_manager_options_t options;
    hws_upstream_options_t upstream_options;
    hws_upstream_t *upstream;

    (void)state;
    trims = 0;
    hws_manager_options_init(&options);
    options.max_connections = 1;
    options.on_trim = count_trim;
    stage_begin_with(1, &options, true);
    hws_upstream_options_init(&upstream_options, stage.world.manager);
    upstream_options.limits.pending = BURST;
    upstream = world_raw(&stage.world, "a", &upstream_options, 1);
    for (int i = 0; i < BURST; i++)
        assert_int_equal(hws_lease_acquire(upstream, &lease_options, &leases[i], NULL), HWS_OK);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(trims, 0);
    for (int i = 0; i < BURST; i++)
        hws_lease_close(leases[i]);
    world_run(&stage.world, HWS_MS(900));
    assert_int_equal(trims, 0);
    world_run(&stage.world, HWS_MS(200));
    assert_int_equal(trims, 1);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(trims, 1);
    hws_manager_trim(stage.world.manager);
    assert_int_equal(trims, 2);
    stage_finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(peers_are_found_by_upstream_and_id_or_by_place, http),
        STAGE_TEST(a_connect_is_to_that_peer_and_reuses, http),
        STAGE_TEST(a_connect_retries_at_the_same_peer, http),
        STAGE_TEST(a_disconnect_fails_what_is_on_it_and_nobody_else, http),
        STAGE_TEST(a_connect_to_a_peer_that_is_removed_ends, http),
        STAGE_TEST(a_disconnect_ends_a_dial, http),
        STAGE_TEST(a_lowered_cap_cuts_nothing_in_flight, http),
        STAGE_TEST(limits_are_followed_where_an_upstream_has_none_of_its_own, http),
        STAGE_TEST(a_forced_breaker_dismisses_who_waits, http),
        STAGE_TEST(times_and_bytes_are_what_they_were, http),
        STAGE_TEST(a_burst_that_is_over_is_followed_by_a_trim_which_is_told, none),
    };

    return cmocka_run_group_tests_name("operations", tests, NULL, NULL);
}
