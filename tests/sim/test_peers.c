/* Several peers: whose turn it is, what weights and priorities do, and a set that changes. */
#include "support/stage.h"

#include <string.h>

static unsigned asked; /* asks used so far */

static const char *peer_of_next(hws_upstream_t *upstream)
{
    ask_t *ask = &stage.asks[asked++];

    ask_get(ask, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_true(ask_is_ok(ask));
    return ask->peer;
}

static void count(hws_upstream_t *upstream, unsigned requests, unsigned counts[4])
{
    unsigned i;

    memset(counts, 0, 4 * sizeof(counts[0]));
    for (i = 0; i < requests; i++)
        counts[peer_of_next(upstream)[strlen("10.0.0.1:")] - '1']++;
}

static void requests_go_to_the_peers_in_turn(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 3);
    unsigned i;

    (void)state;
    asked = 0;
    for (i = 0; i < 9; i++) {
        char peer[] = {'1', '0', '.', '0', '.', '0', '.', '1', ':', (char)('1' + i % 3), '\0'};

        assert_string_equal(peer_of_next(upstream), peer);
    }
    assert_int_equal(stage.world.connects, 3);
}

static void a_burst_is_spread_over_the_peers(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 3);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        stage.servers[i].listener->options.connect_min = HWS_MS(1 + i);
        stage.servers[i].listener->options.connect_max = HWS_MS(1 + i);
        stage.servers[i].reply.after = HWS_MS(50);
    }
    stage_get(upstream, 0, 30);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 30), 30);
    for (i = 0; i < 3; i++)
        assert_int_equal(stage.servers[i].requests, 10);
}

/* Valid until the next call. */
static void weigh(hws_upstream_options_t *options, const double weights[3],
                  const uint32_t priorities[3])
{
    static hws_peer_options_t peers[] = {{.url = HWS_SLICE("http://10.0.0.1:1")},
                                         {.url = HWS_SLICE("http://10.0.0.1:2")},
                                         {.url = HWS_SLICE("http://10.0.0.1:3")}};
    unsigned i;

    for (i = 0; i < 3; i++) {
        peers[i].weight = weights[i];
        peers[i].priority = priorities[i];
    }
    options->peers = peers;
    options->peer_count = 3;
}

static hws_upstream_t *weighted(const double weights[3], const uint32_t priorities[3])
{
    hws_upstream_options_t options = world_retrying(&stage.world, 2);

    weigh(&options, weights, priorities);
    options.balancer = HWS_BALANCER_WEIGHTED;
    asked = 0;
    return world_http(&stage.world, "a", &options, 3);
}

static void a_weight_is_a_share_of_the_requests(void **state)
{
    hws_upstream_t *upstream = weighted((const double[]){5, 1, 0.5}, (const uint32_t[]){0, 0, 0});
    unsigned counts[4];

    (void)state;
    count(upstream, 13, counts); /* while it is cold */
    count(upstream, 130, counts);
    assert_in_range(counts[0], 98, 102);
    assert_in_range(counts[1], 18, 22);
    assert_in_range(counts[2], 8, 12);
}

static void weights_and_priorities_change_without_a_new_connection(void **state)
{
    hws_upstream_t *upstream = weighted((const double[]){1, 1, 1}, (const uint32_t[]){0, 0, 0});
    hws_upstream_options_t options;
    unsigned counts[4];

    (void)state;
    count(upstream, 30, counts);
    hws_upstream_settings(upstream, &options);
    weigh(&options, (const double[]){3, 1, 1}, (const uint32_t[]){0, 0, 1});
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    count(upstream, 8, counts);
    count(upstream, 40, counts);
    assert_int_equal(counts[0], 30);
    assert_int_equal(counts[1], 10);
    assert_int_equal(counts[2], 0);
    assert_int_equal(world_stats(upstream).created, 3);
}

static void a_weighted_turn_is_smooth(void **state)
{
    hws_upstream_t *upstream = weighted((const double[]){2, 1, 1}, (const uint32_t[]){0, 0, 0});
    unsigned counts[4];
    unsigned i;

    (void)state;
    count(upstream, 8, counts);
    for (i = 0; i < 10; i++) {
        count(upstream, 4, counts);
        assert_int_equal(counts[0], 2);
        assert_int_equal(counts[1], 1);
        assert_int_equal(counts[2], 1);
    }
}

static void a_peer_of_a_higher_number_serves_only_when_no_lower_one_can(void **state)
{
    hws_upstream_t *upstream = weighted((const double[]){1, 1, 1}, (const uint32_t[]){1, 0, 0});
    unsigned counts[4];

    (void)state;
    count(upstream, 20, counts);
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 10);
    assert_int_equal(counts[2], 10);
    stage.servers[1].listener->options.answer = HWS_ERR_REFUSED;
    server_end_all(&stage.servers[1], HWS_SIM_RESET);
    count(upstream, 10, counts);
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[2], 10);
}

static void set_peers(hws_upstream_t *upstream, const char *const urls[], size_t number)
{
    hws_peer_options_t peers[4] = {{.weight = 0}};
    hws_upstream_options_t options;
    size_t i;

    hws_upstream_settings(upstream, &options);
    for (i = 0; i < number; i++)
        peers[i].url = (hws_slice_t){urls[i], strlen(urls[i])};
    options.peers = peers;
    options.peer_count = number;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
}

static void a_peer_that_stays_keeps_its_connections(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:2", "http://10.0.0.1:3"};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 2);
    unsigned counts[4];

    (void)state;
    asked = 0;
    count(upstream, 4, counts);
    assert_int_equal(stage.world.open, 2);
    set_peers(upstream, urls, 2);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(world_open_at(&stage.world, 1), 0);
    assert_int_equal(world_open_at(&stage.world, 2), 1);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_SURPLUS], 1);
    count(upstream, 4, counts);
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 2);
    assert_int_equal(stage.servers[1].visited, 1);
    assert_int_equal(hws_upstream_peer_count(upstream), 2);
}

static void a_removed_peer_finishes_its_work(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:2"};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].reply.after = HWS_MS(100);
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_MS(50));
    set_peers(upstream, urls, 1);
    stage_get(upstream, 3, 1);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage_ok(3, 1), 1);
    assert_string_equal(stage.asks[3].peer, "10.0.0.1:2");
    assert_int_equal(stage_done(0, 3), 0);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_int_equal(world_open_at(&stage.world, 1), 0);
    assert_true(hws_list_is_empty(&upstream->peers.removed));
}

/* A dial to a peer that was removed meanwhile: its request is served elsewhere, and no connection
 * to the removed peer stays behind. */
static void a_dial_to_a_removed_peer_leaves_nothing_behind(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:2"};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].listener->options.connect_min = HWS_MS(100);
    stage.servers[0].listener->options.connect_max = HWS_MS(100);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(50));
    set_peers(upstream, urls, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_string_equal(stage.asks[0].peer, "10.0.0.1:2");
    assert_int_equal(world_open_at(&stage.world, 1), 0);
    assert_true(hws_list_is_empty(&upstream->peers.removed));
}

static void a_dial_to_a_removed_peer_that_fails_harms_nobody(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:2"};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].listener->options.connect_min = HWS_MS(100);
    stage.servers[0].listener->options.connect_max = HWS_MS(100);
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(50));
    set_peers(upstream, urls, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
}

/* Its time in the queue begins when the dial is lost. */
static void who_loses_a_dial_with_its_peer_waits_as_long_as_others(void **state)
{
    static const char *const both[] = {"http://10.0.0.1:1", "http://10.0.0.1:2"};
    static const char *const second[] = {"http://10.0.0.1:2"};
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    options.timeouts.queue = HWS_S(1);
    stage.servers[1].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    set_peers(upstream, second, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(100));
    set_peers(upstream, both, 2);
    stage.servers[0].listener->options.connect_min = HWS_S(5);
    stage.servers[0].listener->options.connect_max = HWS_S(5);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(stage_done(1, 1), 0);
    set_peers(upstream, second, 1);
    world_run(&stage.world, HWS_MS(900));
    assert_int_equal(stage_done(1, 1), 0);
    world_run(&stage.world, HWS_MS(200));
    assert_int_equal(stage_done(1, 1), 1);
    assert_int_equal(hws_error_kind(stage.asks[1].code), HWS_KIND_OVERLOAD);
}

static void a_peer_that_comes_back_is_a_new_one(void **state)
{
    static const char *const one[] = {"http://10.0.0.1:1"};
    static const char *const two[] = {"http://10.0.0.1:2"};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].reply.after = HWS_MS(100);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(10));
    set_peers(upstream, two, 1);
    set_peers(upstream, one, 1);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(world_open_at(&stage.world, 1), 1);
}

static void who_waits_goes_to_a_peer_that_is_added(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:1", "http://10.0.0.1:2"};
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(100));
    set_peers(upstream, urls, 2);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_string_equal(stage.asks[1].peer, "10.0.0.1:2");
}

static void who_avoids_a_peer_waits_on_when_it_is_removed(void **state)
{
    static const char *const urls[] = {"http://10.0.0.1:2"};
    hws_upstream_options_t options = world_retrying(&stage.world, 2);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    stage.servers[1].reply.after = HWS_MS(100);
    upstream = world_http(&stage.world, "a", &options, 2);
    stage_get(upstream, 0, 4); /* each dial of the first peer fails, and the second is full */
    world_run(&stage.world, HWS_MS(50));
    set_peers(upstream, urls, 1);
    world_run(&stage.world, 0);
    assert_int_equal(world_stats(upstream).queued, 3);
    world_run(&stage.world, HWS_S(1));
    assert_true(hws_list_is_empty(&upstream->peers.removed));
    assert_int_equal(stage_ok(0, 4), 4);
}

static void an_update_that_is_refused_changes_nothing(void **state)
{
    hws_peer_options_t bad[] = {{.url = HWS_SLICE("http://10.0.0.1:3")},
                                {.url = HWS_SLICE("ftp://10.0.0.1:4")}};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 2);
    hws_upstream_options_t options;
    hws_error_t why;

    (void)state;
    hws_upstream_settings(upstream, &options);
    options.limits.per_peer = 1;
    options.peers = bad;
    options.peer_count = 2;
    assert_int_equal(hws_upstream_update(upstream, &options, &why), HWS_ERR_BAD_URL);
    assert_true(why.detail[0] != '\0');
    options.peers = NULL;
    options.peer_count = 0;
    options.limits.per_peer = 0;
    assert_int_equal(hws_upstream_update(upstream, &options, &why), HWS_ERR_INVALID);
    hws_upstream_settings(upstream, &options);
    assert_int_equal(options.limits.per_peer, 64);
    assert_int_equal(hws_upstream_peer_count(upstream), 2);
}

/* ---- behind the scenes ---- */

static ask_t *ask_url(unsigned index, const char *url)
{
    ask_t *ask = &stage.asks[index];
    hws_upstream_t *upstream;
    hws_slice_t target;

    assert_int_equal(hws_manager_origin(stage.world.manager, (hws_slice_t){url, strlen(url)},
                                        &upstream, &target, NULL),
                     HWS_OK);
    ask_init(ask);
    ask->options.target = target;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    return ask;
}

static unsigned upstreams_there(void)
{
    unsigned there = 0;

    HWS_LIST_EACH(link, &stage.world.manager->upstreams)
        there++;
    HWS_LIST_EACH(link, &stage.world.manager->closed)
        there++;
    return there;
}

static void an_origin_has_one_upstream_while_it_is_used(void **state)
{
    (void)state;
    ask_url(0, "http://10.0.0.1:1/a?b#c");
    ask_url(1, "http://10.0.0.1:1");
    ask_url(2, "http://10.0.0.1:2?q");
    assert_int_equal(upstreams_there(), 2);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_memory_equal(stage.servers[1].last, "GET /?q HTTP/1.1\r\n", 18);
    ask_url(3, "http://10.0.0.1:1/a?b#c");
    world_run(&stage.world, HWS_S(1));
    assert_true(stage.asks[3].reused);
    assert_memory_equal(stage.servers[0].last, "GET /a?b HTTP/1.1\r\n", 19);
}

static void an_origin_that_is_empty_is_collected(void **state)
{
    hws_stats_t stats;

    (void)state;
    ask_url(0, "http://10.0.0.1:1/");
    world_run(&stage.world, HWS_S(299));
    assert_int_equal(upstreams_there(), 1);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(upstreams_there(), 0);
    hws_manager_stats(stage.world.manager, &stats);
    assert_int_equal(stats.requests, 1);
    assert_int_equal(stats.created, 1);
    assert_int_equal(stats.closed[HWS_CLOSE_IDLE], 1);
    ask_url(1, "http://10.0.0.1:1/");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(1, 1), 1);
}

static void an_origin_nobody_asked_anything_is_collected(void **state)
{
    hws_upstream_t *upstream;
    hws_slice_t target;

    (void)state;
    assert_int_equal(hws_manager_origin(stage.world.manager, HWS_SLICE("http://10.0.0.1:1/"),
                                        &upstream, &target, NULL),
                     HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(upstreams_there(), 0);
}

static void an_origin_that_failed_is_collected(void **state)
{
    (void)state;
    stage.servers[0].listener->options.answer = HWS_ERR_REFUSED;
    ask_url(0, "http://10.0.0.1:1/");
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_REFUSED);
    assert_int_equal(upstreams_there(), 0);
}

static void an_origin_whose_response_is_kept_stays(void **state)
{
    ask_t *ask = ask_url(0, "http://10.0.0.1:1/");

    (void)state;
    ask->is_kept = true;
    world_run(&stage.world, HWS_S(1000));
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(upstreams_there(), 1);
    ask_dispose(ask);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(upstreams_there(), 0);
}

static void malformed_origins_are_refused(void **state)
{
    static const struct {
        const char *url;
        int code;
    } cases[] = {
        {"", HWS_ERR_BAD_URL},
        {"x", HWS_ERR_BAD_URL},
        {"http:", HWS_ERR_BAD_URL},
        {"http://", HWS_ERR_BAD_URL},
        {"http:///", HWS_ERR_BAD_URL},
        {"http://10.0.0.1:x/", HWS_ERR_BAD_URL},
        {"http://10.0.0.1:0/", HWS_ERR_BAD_URL},
        {"http://10.0.0.1:65536/", HWS_ERR_BAD_URL},
        {"http://::1/", HWS_ERR_BAD_URL},
        {"http://[::1/", HWS_ERR_BAD_URL},
        {"http://[::1]80/", HWS_ERR_BAD_URL},
        {"http://[]:80/", HWS_ERR_BAD_URL},
        {"http://user:secret@10.0.0.1/", HWS_ERR_BAD_URL},
        {"ftp://10.0.0.1/", HWS_ERR_BAD_URL},
        {"tcp://10.0.0.1:1", HWS_ERR_UNSUPPORTED},
        {"tls://10.0.0.1:1", HWS_ERR_UNSUPPORTED},
        {"http://example..org/", HWS_ERR_BAD_URL},
        {"http://10.0.0.256/", HWS_ERR_BAD_URL},
    };
    hws_upstream_t *upstream;
    hws_slice_t target;
    hws_error_t why;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int rc = hws_manager_origin(stage.world.manager,
                                    (hws_slice_t){cases[i].url, strlen(cases[i].url)}, &upstream,
                                    &target, &why);

        if (rc != cases[i].code)
            print_error("%s: %s\n", cases[i].url, hws_error_name(rc));
        assert_int_equal(rc, cases[i].code);
        assert_true(why.detail[0] != '\0');
    }
    assert_int_equal(upstreams_there(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(requests_go_to_the_peers_in_turn, http),
        STAGE_TEST(a_burst_is_spread_over_the_peers, http),
        STAGE_TEST(a_weight_is_a_share_of_the_requests, http),
        STAGE_TEST(weights_and_priorities_change_without_a_new_connection, http),
        STAGE_TEST(a_weighted_turn_is_smooth, http),
        STAGE_TEST(a_peer_of_a_higher_number_serves_only_when_no_lower_one_can, http),
        STAGE_TEST(a_peer_that_stays_keeps_its_connections, http),
        STAGE_TEST(a_removed_peer_finishes_its_work, http),
        STAGE_TEST(a_dial_to_a_removed_peer_leaves_nothing_behind, http),
        STAGE_TEST(a_dial_to_a_removed_peer_that_fails_harms_nobody, http),
        STAGE_TEST(who_loses_a_dial_with_its_peer_waits_as_long_as_others, http),
        STAGE_TEST(a_peer_that_comes_back_is_a_new_one, http),
        STAGE_TEST(who_waits_goes_to_a_peer_that_is_added, http),
        STAGE_TEST(who_avoids_a_peer_waits_on_when_it_is_removed, http),
        STAGE_TEST(an_update_that_is_refused_changes_nothing, http),
        STAGE_TEST(an_origin_has_one_upstream_while_it_is_used, http),
        STAGE_TEST(an_origin_that_is_empty_is_collected, http),
        STAGE_TEST(an_origin_nobody_asked_anything_is_collected, http),
        STAGE_TEST(an_origin_that_failed_is_collected, http),
        STAGE_TEST(an_origin_whose_response_is_kept_stays, http),
        STAGE_TEST(malformed_origins_are_refused, http),
    };

    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
