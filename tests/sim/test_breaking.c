/* Breakers in the engine: whom they let through and when, what gives a permit back, and that nobody
 * waits for a peer who cannot come. */
#include "support/stage.h"

#include "peer.h"

#include <string.h>

#define REPLY_500 "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n"

/* Two failures open it, for 0.9 to 1 s each time. */
static hws_upstream_options_t breaking(uint32_t probes)
{
    hws_upstream_options_t options = world_options(&stage.world);

    hws_breaker_options_init(&options.breaker);
    options.breaker.consecutive = 2;
    options.breaker.open_for = options.breaker.open_max = HWS_S(1);
    options.breaker.probes = probes;
    return options;
}

static hws_peer_t *peer_at(hws_upstream_t *upstream, unsigned index)
{
    hws_list_t *link = upstream->peers.list.next;

    while (index-- > 0)
        link = link->next;
    return HWS_CONTAINER(link, hws_peer_t, link);
}

static hws_breaker_state_t state_of(hws_upstream_t *upstream, unsigned index)
{
    return hws_breaker_state(&peer_at(upstream, index)->breaker, &upstream->breaker,
                             world_now(&stage.world));
}

static void answer_with(unsigned server, int answer)
{
    stage.servers[server].listener->options.answer = answer;
}

/* Refuses until the breaker of the first peer is open, then no more. */
static void trip(hws_upstream_t *upstream)
{
    unsigned i;

    answer_with(0, HWS_ERR_REFUSED);
    for (i = 500; state_of(upstream, 0) != HWS_BREAKER_OPEN; i++) {
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(1));
    }
    answer_with(0, HWS_OK);
}

/* The same, until it may be tried. */
static void trip_and_wait(hws_upstream_t *upstream)
{
    trip(upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_HALF_OPEN);
}

static unsigned ended_with(unsigned first, unsigned count, int code)
{
    unsigned found = 0;
    unsigned i;

    for (i = first; i < first + count; i++)
        found += stage.asks[i].done == 1 && stage.asks[i].code == code;
    return found;
}

/* ---- open ---- */

static void an_open_breaker_lets_no_connection_through(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);
    uint64_t connects;
    unsigned i;

    (void)state;
    trip(upstream);
    connects = stage.world.connects;
    for (i = 0; i < 20; i++) {
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(40));
    }
    assert_int_equal(ended_with(0, 20, HWS_ERR_BREAKER_OPEN), 20);
    assert_int_equal(stage.world.connects, connects);
    assert_true(stage.asks[0].error.has_retry_in);
    assert_in_range(stage.asks[0].error.retry_in, HWS_MS(890), HWS_S(1));
    assert_int_equal(stage.asks[0].error.attempts, 0);
    assert_false(stage.asks[0].error.sent);
    assert_true(world_had_event(&stage.world, "breaker:open"));
}

static void who_waits_ends_when_the_last_breaker_opens(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;

    (void)state;
    options.breaker.consecutive = 1;
    options.limits.per_peer = 1;
    stage.servers[0].reply = (reply_t){.bytes = REPLY_500, .after = HWS_MS(10)};
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 5);
    world_run(&stage.world, HWS_MS(11));
    assert_int_equal(stage.asks[0].status, 500);
    assert_int_equal(ended_with(1, 4, HWS_ERR_BREAKER_OPEN), 4);
}

static void who_waits_goes_on_while_one_peer_is_left(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;

    (void)state;
    options.breaker.consecutive = 1;
    options.limits.per_peer = 1;
    stage.servers[0].reply = (reply_t){.bytes = REPLY_500, .after = HWS_MS(10)};
    stage.servers[1].reply.after = HWS_MS(50);
    upstream = world_http(&stage.world, "a", &options, 2);
    stage_get(upstream, 0, 5);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].status, 500);
    assert_int_equal(stage_ok(1, 4), 4);
    assert_int_equal(stage.servers[1].requests, 4);
}

/* Somebody else, who came earlier, has a peer to wait for. */
static void who_wants_no_other_peer_ends_when_its_breaker_opens(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;
    hold_t *hold = &stage.holds[0];

    (void)state;
    options.breaker.consecutive = 1;
    options.limits.per_peer = 1;
    stage.servers[0].reply = (reply_t){.bytes = REPLY_500, .after = HWS_MS(10)};
    stage.servers[1].reply.after = HWS_MS(100);
    upstream = world_http(&stage.world, "a", &options, 2);
    stage_get(upstream, 0, 3);
    hold_init(hold);
    hold->options.connect_only = true;
    hold->options.peer = peer_at(upstream, 0);
    assert_int_equal(hold_start(hold, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(11));
    assert_int_equal(hold->code, HWS_ERR_BREAKER_OPEN);
    assert_int_equal(stage_done(1, 2), 0);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(1, 2), 2);
}

/* The dial was begun before; its connection is no use any more. */
static void a_breaker_that_opens_during_a_dial_ends_who_waits_for_it(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;

    (void)state;
    options.breaker.consecutive = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage_ok(0, 1), 1);
    stage.servers[0].listener->options.connect_min = HWS_MS(100);
    stage.servers[0].listener->options.connect_max = HWS_MS(100);
    stage.servers[0].reply = (reply_t){.bytes = REPLY_500, .after = HWS_MS(10)};
    stage_get(upstream, 1, 2);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(stage.asks[1].status, 500);
    assert_int_equal(stage.asks[2].done, 0);
    world_run(&stage.world, HWS_MS(51));
    assert_int_equal(stage.asks[2].code, HWS_ERR_BREAKER_OPEN);
    assert_int_equal(stage.servers[0].requests, 2);
}

/* Nothing else happens that would let it look: the other peer is busy. */
static void who_waits_is_served_as_soon_as_a_trial_is_allowed(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;
    hws_time_t since;

    (void)state;
    options.limits.per_peer = 1;
    upstream = world_http(&stage.world, "a", &options, 2);
    trip(upstream);
    since = peer_at(upstream, 0)->breaker.since;
    stage.servers[1].reply.after = HWS_S(20);
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_MS(890));
    assert_int_equal(stage_done(0, 2), 0);
    world_run(&stage.world, HWS_MS(110));
    assert_int_equal(stage_ok(1, 1), 1);
    assert_in_range(stage.asks[1].at - since, HWS_MS(900), HWS_S(1));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
}

/* ---- trials ---- */

static void only_so_many_trials_are_made_at_once(void **state)
{
    hws_upstream_options_t options = breaking(2);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip_and_wait(upstream);
    stage.servers[0].reply.after = HWS_MS(10);
    stage_get(upstream, 0, 10);
    world_run(&stage.world, HWS_MS(5));
    assert_int_equal(ended_with(0, 10, HWS_ERR_BREAKER_OPEN), 8);
    assert_int_equal(stage.servers[0].visited, 2);
    world_run(&stage.world, HWS_MS(6));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(stage.servers[0].requests, 2);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
    stage_get(upstream, 10, 10);
    world_run(&stage.world, HWS_MS(20));
    assert_int_equal(stage_ok(10, 10), 10);
}

static void a_trial_that_hangs_in_its_dial_is_one_as_well(void **state)
{
    hws_upstream_options_t options = breaking(2);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);
    uint64_t connects;

    (void)state;
    trip_and_wait(upstream);
    connects = stage.world.connects;
    hws_sim_silence(stage.servers[0].listener, true);
    stage_get(upstream, 0, 10);
    world_run(&stage.world, HWS_MS(2999));
    assert_int_equal(stage.world.connects, connects + 2);
    assert_int_equal(ended_with(0, 10, HWS_ERR_BREAKER_OPEN), 8);
    world_run(&stage.world, HWS_MS(2));
    assert_int_equal(ended_with(0, 2, HWS_ERR_TIMEOUT), 2);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);
    assert_int_equal(peer_at(upstream, 0)->breaker.reopened, 1);
}

static void a_trial_that_fails_opens_it_again(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);
    unsigned i;

    (void)state;
    trip(upstream);
    stage.servers[0].reply.bytes = REPLY_500;
    for (i = 0; i < 5; i++) {
        world_run(&stage.world, HWS_S(1));
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(1));
        assert_int_equal(stage.servers[0].requests, i + 1);
        assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);
    }
}

/* However a trial ends that tells nothing, the next one is let in. */
typedef enum { CANCELLED, DESTROYED, OWN_LIMIT } way_t;

static void end_trial(ask_t *ask, way_t way)
{
    if (way == CANCELLED)
        ask_cancel(ask);
    if (way == DESTROYED)
        ask_dispose(ask);
}

static void a_trial_that_tells_nothing_gives_its_permit_back(void **state)
{
    static const way_t ways[] = {CANCELLED, DESTROYED, OWN_LIMIT};
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);
    unsigned i;

    (void)state;
    trip_and_wait(upstream);
    stage.servers[0].reply.after = HWS_MS(10);
    for (i = 0; i < 3; i++) {
        ask_init(&stage.asks[i]);
        stage.asks[i].options.max_body = ways[i] == OWN_LIMIT ? 1 : 0;
        assert_int_equal(ask_start(&stage.asks[i], upstream), HWS_OK);
        world_run(&stage.world, HWS_MS(5));
        assert_int_equal(stage.servers[0].requests, i + 1);
        end_trial(&stage.asks[i], ways[i]);
        world_run(&stage.world, HWS_MS(6));
        assert_null(stage.asks[i].request);
        assert_int_equal(state_of(upstream, 0), HWS_BREAKER_HALF_OPEN);
        assert_int_equal(peer_at(upstream, 0)->breaker.probes_out, 0);
    }
    stage_get(upstream, 10, 1);
    world_run(&stage.world, HWS_MS(20));
    assert_int_equal(stage_ok(10, 1), 1);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
}

static void a_dial_on_trial_that_nobody_wants_any_more_gives_its_permit_back(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip_and_wait(upstream);
    stage.servers[0].listener->options.connect_min = HWS_MS(10);
    stage.servers[0].listener->options.connect_max = HWS_MS(10);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(5));
    ask_cancel(&stage.asks[0]);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.asks[1].code, HWS_ERR_BREAKER_OPEN);
    world_run(&stage.world, HWS_MS(5));
    assert_int_equal(peer_at(upstream, 0)->breaker.probes_out, 0);
    stage_get(upstream, 2, 1);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage_ok(2, 1), 1);
    assert_int_equal(stage.servers[0].visited, 1);
}

/* The second peer is held by somebody else. What the trial gives back serves who waits at once. */
static void a_lease_on_trial_that_is_handed_back_serves_who_waits(void **state)
{
    static const struct {
        bool is_kept;
        bool is_cancelled;
    } ways[] = {{true, false}, {false, false}, {true, true}};
    hws_upstream_options_t options;
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        stage_begin(1, 0, true);
        options = breaking(1);
        options.limits.per_peer = 1;
        options.balancer = HWS_BALANCER_ROUND_ROBIN;
        upstream = world_raw(&stage.world, "a", &options, 2);
        hold_acquire(&stage.holds[0], upstream);
        hold_acquire(&stage.holds[1], upstream);
        world_run(&stage.world, HWS_MS(1));
        hold_close(&stage.holds[0]);
        assert_true(hws_breaker_trip(&peer_at(upstream, 0)->breaker, &upstream->breaker, HWS_S(1),
                                     world_now(&stage.world), &stage.world.manager->pools.random));
        world_run(&stage.world, HWS_S(1));
        stage.servers[0].listener->options.connect_min = HWS_MS(1);
        stage.servers[0].listener->options.connect_max = HWS_MS(1);
        hold_acquire(&stage.holds[2], upstream);
        world_run(&stage.world, HWS_MS(2));
        assert_int_equal(stage.holds[2].code, HWS_OK);
        assert_int_equal(state_of(upstream, 0), HWS_BREAKER_HALF_OPEN);
        hold_acquire(&stage.holds[3], upstream);
        world_run(&stage.world, HWS_MS(2));
        assert_int_equal(stage.holds[3].done, 0);
        if (ways[i].is_cancelled)
            hws_lease_cancel(stage.holds[2].lease);
        if (ways[i].is_kept)
            hold_release(&stage.holds[2]);
        else
            hold_close(&stage.holds[2]);
        world_run(&stage.world, HWS_MS(2));
        assert_int_equal(stage.holds[3].code, HWS_OK);
        stage_finish();
    }
}

/* ---- streams ---- */

static void start_stream(ask_t *ask, hws_upstream_t *upstream)
{
    ask_init(ask);
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

static void a_streamed_response_is_judged_by_its_head(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip_and_wait(upstream);
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    start_stream(&stage.asks[0], upstream);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.asks[0].status, 200);
    assert_int_equal(stage.asks[0].end, HWS_AGAIN);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
    assert_int_equal(peer_at(upstream, 0)->candidate.in_flight, 1);
    /* What came of a trial later concerns nobody. */
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(peer_at(upstream, 0)->breaker.consecutive, 0);
    assert_int_equal(peer_at(upstream, 0)->candidate.in_flight, 0);
}

static void a_streamed_body_that_breaks_off_is_a_failure(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;

    (void)state;
    options.breaker.consecutive = 1;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage.servers[0].reply.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    start_stream(&stage.asks[0], upstream);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(hws_error_kind(stage.asks[0].end), HWS_KIND_RESET);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);
}

/* Whole, and broken off after a head that had told already. */
static void a_streamed_error_is_one_failure(void **state)
{
    static const reply_t replies[] = {
        {.bytes = "HTTP/1.1 500 Broken\r\nContent-Length: 5\r\n\r\nhello"},
        {.bytes = "HTTP/1.1 500 Broken\r\nContent-Length: 100\r\n\r\nhello", .then = RESETS}};
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.breaker.consecutive = 100;
    for (i = 0; i < 8; i++) {
        char name[] = {(char)('a' + i), '\0'};
        ask_t *ask = &stage.asks[i];

        stage.servers[0].reply = replies[i / 4];
        upstream = world_http(&stage.world, name, &options, 1);
        ask_init(ask);
        ask->options.method = i % 4 < 2 ? HWS_SLICE("GET") : HWS_SLICE("POST");
        ask->options.stream = i % 2 != 0;
        assert_int_equal(ask_start(ask, upstream), HWS_OK);
        world_run(&stage.world, HWS_MS(1));
        assert_int_equal(ask->done, 1);
        assert_int_equal(peer_at(upstream, 0)->breaker.consecutive, 1);
        assert_in_range((unsigned)(peer_at(upstream, 0)->score.bad * 1000), 990, 1000);
    }
}

/* It is not followed by another attempt, so its body is still load. */
static void a_streamed_error_is_load_until_its_end(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    stage.servers[0].reply.bytes = "HTTP/1.1 404 None\r\nContent-Length: 10\r\n\r\nhello";
    start_stream(&stage.asks[0], upstream);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.asks[0].status, 404);
    assert_int_equal(peer_at(upstream, 0)->candidate.in_flight, 1);
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = "world"});
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage.asks[0].end, HWS_END);
    assert_int_equal(peer_at(upstream, 0)->candidate.in_flight, 0);
}

/* ---- orders ---- */

static void an_order_overrules_what_was_seen(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);
    hws_breaker_t *breaker = &peer_at(upstream, 0)->breaker;
    uint64_t connects;

    (void)state;
    hws_breaker_force(breaker, HWS_FORCE_OPEN, world_now(&stage.world));
    stage_get(upstream, 0, 2);
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(ended_with(0, 2, HWS_ERR_BREAKER_OPEN), 2);
    assert_int_equal(stage.asks[0].error.retry_in, HWS_NEVER);
    assert_int_equal(stage.world.connects, 0);

    answer_with(0, HWS_ERR_REFUSED);
    hws_breaker_force(breaker, HWS_FORCE_CLOSED, world_now(&stage.world));
    stage_get(upstream, 10, 10);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(ended_with(10, 10, HWS_ERR_REFUSED), 10);
    /* What was counted meanwhile opens it now, with the next failure. */
    hws_breaker_force(breaker, HWS_FORCE_NONE, world_now(&stage.world));
    stage_get(upstream, 20, 1);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);

    hws_breaker_force(breaker, HWS_FORCE_DISABLED, world_now(&stage.world));
    connects = stage.world.connects;
    stage_get(upstream, 30, 10);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.world.connects, connects + 10);
    hws_breaker_force(breaker, HWS_FORCE_NONE, world_now(&stage.world));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
}

static void an_order_in_the_middle_of_a_trial_voids_its_permit(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip_and_wait(upstream);
    stage.servers[0].reply = (reply_t){.bytes = REPLY_500, .after = HWS_MS(10)};
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(5));
    hws_breaker_force(&peer_at(upstream, 0)->breaker, HWS_FORCE_DISABLED, world_now(&stage.world));
    hws_breaker_force(&peer_at(upstream, 0)->breaker, HWS_FORCE_NONE, world_now(&stage.world));
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.asks[0].status, 500);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
    assert_int_equal(peer_at(upstream, 0)->breaker.consecutive, 0);
}

static void breaker_options_change_live(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip(upstream);
    hws_upstream_settings(upstream, &options);
    options.breaker.is_disabled = true;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    stage_get(upstream, 0, 5);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage_ok(0, 5), 5);
    options.breaker.is_disabled = false;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    stage_get(upstream, 5, 1);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(stage_ok(5, 1), 1); /* what was open then is forgotten */
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
}

static void the_number_of_trials_changes_live(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip_and_wait(upstream);
    hws_upstream_settings(upstream, &options);
    options.breaker.probes = 3;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    stage.servers[0].reply.after = HWS_MS(10);
    stage_get(upstream, 0, 5);
    world_run(&stage.world, HWS_MS(20));
    assert_int_equal(stage_ok(0, 5), 3);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
}

/* The same peer, whatever else changes, keeps what is known of it; another one begins anew. */
static void an_update_of_the_peers_heals_nobody(void **state)
{
    hws_peer_options_t same[] = {{.url = HWS_SLICE("http://10.0.0.1:1"), .weight = 7},
                                 {.url = HWS_SLICE("http://10.0.0.1:2"), .priority = 1}};
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip(upstream);
    hws_upstream_settings(upstream, &options);
    options.peers = same;
    options.peer_count = 2;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);
    stage_get(upstream, 0, 5);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage_ok(0, 5), 5);
    assert_int_equal(stage.servers[0].visited, 0);
    options.peer_count = 0;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    options.peer_count = 1;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
}

static void a_peer_that_goes_while_it_is_tried_harms_nothing(void **state)
{
    hws_peer_options_t other = {.url = HWS_SLICE("http://10.0.0.1:2")};
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 1);

    (void)state;
    trip_and_wait(upstream);
    stage.servers[0].reply = (reply_t){.bytes = REPLY_500, .after = HWS_MS(10)};
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(5));
    hws_upstream_settings(upstream, &options);
    options.peers = &other;
    options.peer_count = 1;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.asks[0].status, 500);
    assert_int_equal(stage_ok(1, 1), 1);
    assert_true(hws_list_is_empty(&upstream->peers.removed));
}

/* ---- in the long run ---- */

/* Everybody down for 10 s, then back: nobody who asks a second after the open time is turned away,
 * and while it lasts the peers see a trial a second each. */
static void all_peers_down_and_back(void **state)
{
    hws_upstream_options_t options = breaking(1);
    hws_upstream_t *upstream = world_http(&stage.world, "a", &options, 3);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        answer_with(i, HWS_ERR_REFUSED);
    for (i = 0; i < 200; i++) {
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(50));
    }
    assert_int_equal(stage_done(0, 200), 200);
    assert_in_range(stage.world.connects, 3 * 10, 3 * 13);
    for (i = 0; i < 3; i++)
        answer_with(i, HWS_OK);
    for (i = 200; i < 240; i++) {
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(50));
    }
    assert_int_equal(stage_ok(220, 20), 20);
    for (i = 0; i < 3; i++)
        assert_int_equal(state_of(upstream, i), HWS_BREAKER_CLOSED);
}

/* Up for a moment and down again: what it costs is bounded by its trials, and retries hide it. */
static void a_flapping_peer_is_hidden_by_the_others(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.breaker = breaking(1).breaker;
    upstream = world_http(&stage.world, "a", &options, 3);
    for (i = 0; i < 400; i++) {
        if (i % 10 == 0)
            answer_with(0, i % 20 == 0 ? HWS_ERR_REFUSED : HWS_OK);
        if (i % 20 == 0)
            server_end_all(&stage.servers[0], HWS_SIM_RESET);
        stage_get(upstream, i, 1);
        world_run(&stage.world, HWS_MS(20));
    }
    assert_int_equal(stage_ok(0, 400), 400);
    assert_true(stage.servers[0].requests > 0);
}

/* A GET each `gap` for as long as `span`, into the asks from `first` on. Returns the next one. */
static unsigned ask_for(hws_upstream_t *upstream, unsigned first, hws_time_t span, hws_time_t gap)
{
    for (; span > 0; span -= gap) {
        stage_get(upstream, first++, 1);
        world_run(&stage.world, gap);
    }
    return first;
}

static void kill_first(void)
{
    answer_with(0, HWS_ERR_REFUSED);
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
}

/* With the options that users get. Nothing goes to a dead peer a second later, and it serves again when its open time,
 * which a longer outage doubles, and a second are over. */
static void a_peer_that_dies_under_load_is_left_in_time_and_back_in_time(void **state)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 3);
    hws_upstream_t *upstream;
    uint64_t connects;
    uint32_t requests;
    unsigned count;

    (void)state;
    hws_breaker_options_init(&options.breaker);
    upstream = world_http(&stage.world, "a", &options, 3);
    count = ask_for(upstream, 0, HWS_S(1), HWS_MS(20));
    assert_true(stage.servers[0].requests > 0);

    kill_first();
    count = ask_for(upstream, count, HWS_S(1), HWS_MS(20));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);
    connects = stage.world.connects;
    count = ask_for(upstream, count, HWS_S(2), HWS_MS(50));
    assert_int_equal(stage.world.connects, connects);

    answer_with(0, HWS_OK);
    requests = stage.servers[0].requests;
    count = ask_for(upstream, count, options.breaker.open_for + HWS_S(1), HWS_MS(50));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
    assert_true(stage.servers[0].requests >= requests + options.breaker.probes);

    kill_first();
    count = ask_for(upstream, count, 2 * options.breaker.open_for + HWS_S(2), HWS_MS(100));
    answer_with(0, HWS_OK);
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_OPEN);
    count = ask_for(upstream, count, 2 * options.breaker.open_for + HWS_S(1), HWS_MS(100));
    assert_int_equal(state_of(upstream, 0), HWS_BREAKER_CLOSED);
    assert_int_equal(stage_ok(0, count), count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(an_open_breaker_lets_no_connection_through, http),
        STAGE_TEST(who_waits_ends_when_the_last_breaker_opens, http),
        STAGE_TEST(who_waits_goes_on_while_one_peer_is_left, http),
        STAGE_TEST(who_wants_no_other_peer_ends_when_its_breaker_opens, http),
        STAGE_TEST(a_breaker_that_opens_during_a_dial_ends_who_waits_for_it, http),
        STAGE_TEST(who_waits_is_served_as_soon_as_a_trial_is_allowed, http),
        STAGE_TEST(only_so_many_trials_are_made_at_once, http),
        STAGE_TEST(a_trial_that_hangs_in_its_dial_is_one_as_well, http),
        STAGE_TEST(a_trial_that_fails_opens_it_again, http),
        STAGE_TEST(a_trial_that_tells_nothing_gives_its_permit_back, http),
        STAGE_TEST(a_dial_on_trial_that_nobody_wants_any_more_gives_its_permit_back, http),
        STAGE_TEST(a_lease_on_trial_that_is_handed_back_serves_who_waits, none),
        STAGE_TEST(a_streamed_response_is_judged_by_its_head, http),
        STAGE_TEST(a_streamed_body_that_breaks_off_is_a_failure, http),
        STAGE_TEST(a_streamed_error_is_one_failure, http),
        STAGE_TEST(a_streamed_error_is_load_until_its_end, http),
        STAGE_TEST(an_order_overrules_what_was_seen, http),
        STAGE_TEST(an_order_in_the_middle_of_a_trial_voids_its_permit, http),
        STAGE_TEST(breaker_options_change_live, http),
        STAGE_TEST(the_number_of_trials_changes_live, http),
        STAGE_TEST(an_update_of_the_peers_heals_nobody, http),
        STAGE_TEST(a_peer_that_goes_while_it_is_tried_harms_nothing, http),
        STAGE_TEST(all_peers_down_and_back, http),
        STAGE_TEST(a_flapping_peer_is_hidden_by_the_others, http),
        STAGE_TEST(a_peer_that_dies_under_load_is_left_in_time_and_back_in_time, http),
    };

    return cmocka_run_group_tests_name("breaking", tests, NULL, NULL);
}
