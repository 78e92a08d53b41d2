/* Openings to names: look-up, race and connection in virtual time, and what each may last. */
#include "peer.h"
#include "support/stage.h"

#include <stdio.h>
#include <string.h>

#define NAME "db.test"

static hws_sim_name_t *records[HWS_FAMILIES];

/* What the name server says: addresses, or NULL for none of that family. 10.0.0.1 has the servers. */
static void name_has(const char *six, const char *four)
{
    static const int families[HWS_FAMILIES] = {[HWS_IPV6] = AF_INET6, [HWS_IPV4] = AF_INET};
    const char *ips[HWS_FAMILIES] = {[HWS_IPV6] = six, [HWS_IPV4] = four};
    int family;

    for (family = 0; family < HWS_FAMILIES; family++) {
        assert_int_equal(hws_sim_name(stage.world.sim, NAME, families[family],
                                      ips[family] != NULL ? ips[family] : "", &records[family]),
                         HWS_OK);
        records[family]->ttl = 60;
        if (ips[family] == NULL)
            records[family]->status = HWS_ERR_NODATA;
    }
}

static void answers_after(hws_time_t six, hws_time_t four)
{
    records[HWS_IPV6]->latency_min = records[HWS_IPV6]->latency_max = six;
    records[HWS_IPV4]->latency_min = records[HWS_IPV4]->latency_max = four;
}

static hws_upstream_options_t options_of(void)
{
    hws_upstream_options_t options = world_options(&stage.world);

    options.timeouts.resolve = HWS_S(2);
    options.timeouts.connect = HWS_S(1);
    return options;
}

static hws_upstream_t *upstream_of(const hws_upstream_options_t *options)
{
    hws_peer_options_t peer = {.url = HWS_SLICE("http://" NAME ":1")};
    hws_upstream_options_t own = *options;

    own.peers = &peer;
    own.peer_count = 1;
    return world_http(&stage.world, "named", &own, 1);
}

/* Asks now, and lets the time come when all is over. Returns how long the answer took. */
static hws_time_t ask_and_wait(hws_upstream_t *upstream)
{
    hws_time_t began = world_now(&stage.world);
    ask_t *ask = &stage.asks[0];

    ask_dispose(ask);
    ask_get(ask, upstream);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(ask->done, 1);
    assert_int_equal(world_stats(upstream).dialing, 0);
    assert_int_equal(hws_sim_open_questions(stage.world.sim), 0);
    return ask->at - began;
}

static void assert_failed(int code, hws_phase_t phase)
{
    const ask_t *ask = &stage.asks[0];

    assert_int_equal(ask->code, code);
    assert_int_equal(ask->error.phase, phase);
    assert_false(ask->error.sent);
    assert_true(ask->error.retryable);
    assert_int_equal(ask->error.attempts, 1);
    assert_string_equal(ask->error.peer, NAME ":1");
}

static void a_name_leads_to_its_address(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has(NULL, "10.0.0.1");
    answers_after(HWS_MS(30), HWS_MS(40));
    assert_int_equal(ask_and_wait(upstream), HWS_MS(40));
    assert_true(ask_is_ok(&stage.asks[0]));
    assert_string_equal(stage.asks[0].peer, NAME ":1");
    assert_int_equal(records[HWS_IPV4]->asked, 1);
}

static void the_first_family_is_waited_for_a_little(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1", "10.0.0.1");
    answers_after(HWS_S(10), HWS_MS(10));
    assert_int_equal(ask_and_wait(upstream), HWS_MS(60));
    assert_true(ask_is_ok(&stage.asks[0]));
}

static void dead_addresses_are_passed_over(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1 2001:db8::2", "10.0.0.9 10.0.0.1");
    (void)ask_and_wait(upstream);
    assert_true(ask_is_ok(&stage.asks[0]));
    assert_int_equal(world_stats(upstream).created, 1);
}

static void what_fails_in_both_families_is_told_at_the_look_up(void **state)
{
    static const int codes[][3] = {/* of AAAA, of A, told */
                                   {HWS_ERR_NXDOMAIN, HWS_ERR_NXDOMAIN, HWS_ERR_NXDOMAIN},
                                   {HWS_ERR_NODATA, HWS_ERR_NODATA, HWS_ERR_NODATA},
                                   {HWS_ERR_NODATA, HWS_ERR_SERVFAIL, HWS_ERR_SERVFAIL},
                                   {HWS_ERR_DNS_REFUSED, HWS_ERR_NODATA, HWS_ERR_DNS_REFUSED}};
    hws_upstream_options_t options = options_of();
    hws_dns_options_t dns;
    size_t i;

    (void)state;
    hws_dns_options_init(&dns);
    options.dns = &dns; /* a cache for each */
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        hws_upstream_t *upstream = upstream_of(&options);

        name_has(NULL, NULL);
        records[HWS_IPV6]->status = codes[i][0];
        records[HWS_IPV4]->status = codes[i][1];
        answers_after(HWS_MS(20), HWS_MS(10));
        assert_int_equal(ask_and_wait(upstream), HWS_MS(20));
        assert_failed(codes[i][2], HWS_PHASE_RESOLVE);
        assert_int_equal(stage.world.connects, 0);
        hws_upstream_close(upstream);
    }
}

static void a_silent_name_server_ends_in_timeouts_resolve(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1", "10.0.0.1");
    records[HWS_IPV4]->is_silent = records[HWS_IPV6]->is_silent = true;
    assert_int_equal(ask_and_wait(upstream), HWS_S(2));
    assert_failed(HWS_ERR_TIMEOUT, HWS_PHASE_RESOLVE);
    assert_int_equal(world_stats(upstream).created, 0);
}

/* By default the two are the same, and it must not be chance which ends first. */
static void a_silent_name_server_is_a_timeout_by_default_too(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1", "10.0.0.1");
    records[HWS_IPV4]->is_silent = records[HWS_IPV6]->is_silent = true;
    assert_int_equal(ask_and_wait(upstream), HWS_S(5));
    assert_failed(HWS_ERR_TIMEOUT, HWS_PHASE_RESOLVE);
}

/* Longer than the manager's, which has the look-up that is shared. */
static void an_upstream_may_be_more_patient_than_its_manager(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.resolve = HWS_S(8);
    upstream = upstream_of(&options);
    name_has("2001:db8::1", "10.0.0.1");
    records[HWS_IPV4]->is_silent = records[HWS_IPV6]->is_silent = true;
    assert_int_equal(ask_and_wait(upstream), HWS_S(8));
    assert_failed(HWS_ERR_TIMEOUT, HWS_PHASE_RESOLVE);

    hws_upstream_settings(upstream, &options);
    options.timeouts.resolve = HWS_S(15);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    assert_int_equal(ask_and_wait(upstream), HWS_S(15));
    assert_failed(HWS_ERR_TIMEOUT, HWS_PHASE_RESOLVE);
}

static void without_timeouts_resolve_the_look_up_itself_gives_up(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.resolve = HWS_NEVER;
    upstream = upstream_of(&options);
    name_has("2001:db8::1", "10.0.0.1");
    records[HWS_IPV4]->is_silent = records[HWS_IPV6]->is_silent = true;
    (void)ask_and_wait(upstream);
    assert_failed(HWS_ERR_DNS_TIMEOUT, HWS_PHASE_RESOLVE);
}

/* timeouts.resolve ends when there is an address to try, and timeouts.connect begins. */
static void look_up_and_dial_have_their_own_times(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has(NULL, "10.0.0.1");
    answers_after(HWS_MS(1900), HWS_MS(1900));
    stage.servers[0].listener->options.connect_min = HWS_MS(900);
    stage.servers[0].listener->options.connect_max = HWS_MS(900);
    assert_int_equal(ask_and_wait(upstream), HWS_MS(2800));
    assert_true(ask_is_ok(&stage.asks[0]));
}

static void a_silent_host_ends_in_timeouts_connect(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has(NULL, "10.0.0.1");
    answers_after(HWS_MS(500), HWS_MS(500));
    hws_sim_silence(stage.servers[0].listener, true);
    assert_int_equal(ask_and_wait(upstream), HWS_MS(1500));
    assert_failed(HWS_ERR_TIMEOUT, HWS_PHASE_CONNECT);
}

/* The family that is still out does not prolong it. */
static void a_silent_host_does_not_wait_for_the_other_family(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1", "10.0.0.1");
    answers_after(HWS_S(10), HWS_MS(500));
    hws_sim_silence(stage.servers[0].listener, true);
    assert_int_equal(ask_and_wait(upstream), HWS_MS(1550));
    assert_failed(HWS_ERR_TIMEOUT, HWS_PHASE_CONNECT);
}

static void a_refusal_waits_for_the_other_family(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1", "10.0.0.1");
    answers_after(HWS_MS(10), HWS_MS(800));
    assert_int_equal(ask_and_wait(upstream), HWS_MS(800));
    assert_true(ask_is_ok(&stage.asks[0]));
}

/* The dead family's refusal came at once; what is out may be silent. */
static void a_refusal_and_a_silent_name_server_end_in_time(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has("2001:db8::1", "10.0.0.1");
    answers_after(HWS_MS(10), 0);
    records[HWS_IPV4]->is_silent = true;
    assert_int_equal(ask_and_wait(upstream), HWS_MS(1010));
    assert_failed(HWS_ERR_REFUSED, HWS_PHASE_CONNECT);
}

static void many_share_the_questions(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has(NULL, "10.0.0.1");
    answers_after(HWS_MS(100), HWS_MS(100));
    stage_get(upstream, 0, 100);
    world_run(&stage.world, HWS_S(5));
    assert_int_equal(stage_ok(0, 100), 100);
    assert_int_equal(records[HWS_IPV4]->asked, 1);
    assert_int_equal(records[HWS_IPV6]->asked, 1);
}

/* The servers are at 10.0.0.1; a name that moves does so to 10.0.0.2, where nobody is. */
static void idle_connections_to_an_address_that_vanished_close(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);
    hws_stats_t stats;

    (void)state;
    name_has(NULL, "10.0.0.1");
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    name_has(NULL, "10.0.0.2 10.0.0.1");
    world_run(&stage.world, HWS_S(60));
    assert_int_equal(world_stats(upstream).open, 3);
    name_has(NULL, "10.0.0.2");
    world_run(&stage.world, HWS_S(60));
    stats = world_stats(upstream);
    assert_int_equal(stats.open, 0);
    assert_int_equal(stats.closed[HWS_CLOSE_MOVED], 3);
    assert_true(world_had_event(&stage.world, "close:moved"));
}

static void busy_connections_to_an_address_that_vanished_serve_nobody_else(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    options.timeouts.request = options.timeouts.read = HWS_NEVER;
    hws_upstream_update(upstream, &options, NULL);
    name_has(NULL, "10.0.0.1");
    stage.servers[0].reply.after = HWS_S(100);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    name_has(NULL, "10.0.0.2");
    world_run(&stage.world, HWS_S(90));
    assert_int_equal(world_stats(upstream).open, 1);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_MOVED], 1);
}

/* One bad answer never empties the set. */
static void connections_stay_where_the_name_has_no_address_any_more(void **state)
{
    static const int codes[] = {HWS_ERR_NODATA, HWS_ERR_NXDOMAIN, HWS_ERR_SERVFAIL};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        hws_upstream_options_t options;
        hws_upstream_t *upstream;

        stage_begin(1, 0, false);
        options = options_of();
        upstream = upstream_of(&options);
        name_has(NULL, "10.0.0.1");
        stage_get(upstream, 0, 1);
        world_run(&stage.world, HWS_S(1));
        name_has(NULL, NULL);
        records[HWS_IPV6]->status = records[HWS_IPV4]->status = codes[i];
        world_run(&stage.world, HWS_S(100));
        assert_true(records[HWS_IPV4]->asked > 1);
        assert_int_equal(world_stats(upstream).open, 1);
        ask_dispose(&stage.asks[0]);
        stage_finish();
    }
}

static void a_connection_to_an_address_that_vanished_meanwhile_serves_once(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream = upstream_of(&options);

    (void)state;
    name_has(NULL, "10.0.0.1");
    records[HWS_IPV4]->ttl = 1;
    stage.servers[0].reply.after = HWS_S(10);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(1500)); /* it was asked for again after 1 s */
    name_has(NULL, "10.0.0.2");
    stage.servers[0].listener->options.connect_min = HWS_MS(900);
    stage.servers[0].listener->options.connect_max = HWS_MS(900);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_S(20));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(world_stats(upstream).created, 2);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void a_name_without_connections_is_not_asked_for(void **state)
{
    hws_upstream_options_t options = options_of();
    hws_upstream_t *upstream;
    uint64_t asked;

    (void)state;
    options.timeouts.idle = HWS_S(100);
    upstream = upstream_of(&options);
    name_has(NULL, "10.0.0.1");
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(99));
    asked = records[HWS_IPV4]->asked;
    assert_int_equal(asked, 2);
    world_run(&stage.world, HWS_S(1000));
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_IDLE], 1);
    assert_int_equal(records[HWS_IPV4]->asked, asked);
}

typedef enum { CANCEL, DISPOSE, CLOSE_UPSTREAM, CLOSE_MANAGER, TAKE_PEER_OUT, WAYS } way_t;

static void interrupt(way_t way, ask_t *ask, hws_upstream_t *upstream)
{
    static const hws_peer_options_t none;
    hws_upstream_options_t settings;

    switch (way) {
    case CANCEL:
        ask_cancel(ask);
        return;
    case DISPOSE:
        ask_dispose(ask);
        return;
    case CLOSE_UPSTREAM:
        hws_upstream_close(upstream);
        return;
    case CLOSE_MANAGER:
        hws_manager_close(stage.world.manager);
        return;
    case TAKE_PEER_OUT:
        hws_upstream_settings(upstream, &settings);
        settings.peers = &none;
        settings.peer_count = 0;
        (void)hws_upstream_update(upstream, &settings, NULL);
        return;
    case WAYS:
        return;
    }
}

/* It takes 30 ms until both families are there, 10 ms to connect, and 5 ms to be answered. */
static void it_may_end_at_any_moment(void **state)
{
    way_t way;
    hws_time_t at;

    (void)state;
    for (way = CANCEL; way < WAYS; way++) {
        for (at = 0; at <= HWS_MS(95); at += HWS_MS(5)) {
            hws_upstream_options_t options;
            hws_upstream_t *upstream;

            stage_begin(1, 0, false);
            options = options_of();
            upstream = upstream_of(&options);
            name_has("2001:db8::1", "10.0.0.9 10.0.0.1");
            answers_after(HWS_MS(30), HWS_MS(20));
            stage.servers[0].listener->options.connect_min = HWS_MS(10);
            stage.servers[0].listener->options.connect_max = HWS_MS(10);
            stage.servers[0].reply.after = HWS_MS(5);
            stage_get(upstream, 0, 3);
            world_run(&stage.world, at);
            interrupt(way, &stage.asks[0], upstream);
            world_run(&stage.world, HWS_S(30));
            if (way != DISPOSE)
                assert_int_equal(stage.asks[0].done, 1);
            if (way == CANCEL || way == DISPOSE)
                assert_int_equal(stage_ok(1, 2), 2);
            else
                assert_int_equal(stage_done(0, 3), 3);
            assert_int_equal(hws_sim_open_questions(stage.world.sim), 0);
            stage_finish();
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_name_leads_to_its_address, http),
        STAGE_TEST(the_first_family_is_waited_for_a_little, http),
        STAGE_TEST(dead_addresses_are_passed_over, http),
        STAGE_TEST(what_fails_in_both_families_is_told_at_the_look_up, http),
        STAGE_TEST(a_silent_name_server_ends_in_timeouts_resolve, http),
        STAGE_TEST(a_silent_name_server_is_a_timeout_by_default_too, http),
        STAGE_TEST(an_upstream_may_be_more_patient_than_its_manager, http),
        STAGE_TEST(without_timeouts_resolve_the_look_up_itself_gives_up, http),
        STAGE_TEST(look_up_and_dial_have_their_own_times, http),
        STAGE_TEST(a_silent_host_ends_in_timeouts_connect, http),
        STAGE_TEST(a_silent_host_does_not_wait_for_the_other_family, http),
        STAGE_TEST(a_refusal_waits_for_the_other_family, http),
        STAGE_TEST(a_refusal_and_a_silent_name_server_end_in_time, http),
        STAGE_TEST(many_share_the_questions, http),
        STAGE_TEST(idle_connections_to_an_address_that_vanished_close, http),
        STAGE_TEST(busy_connections_to_an_address_that_vanished_serve_nobody_else, http),
        STAGE_TEST(connections_stay_where_the_name_has_no_address_any_more, none),
        STAGE_TEST(a_connection_to_an_address_that_vanished_meanwhile_serves_once, http),
        STAGE_TEST(a_name_without_connections_is_not_asked_for, http),
        STAGE_TEST(it_may_end_at_any_moment, none),
    };

    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
