/* The end of upstreams and managers: closing, draining, destroying, and the events told of it. */
#include "support/stage.h"

#include <string.h>

static int drained; /* how often, and with what */
static int drain_status;
static uint32_t drained_with; /* sockets that were open then */

static void note_drained(void *user, int status)
{
    (void)user;
    drained++;
    drain_status = status;
    drained_with = stage.world.open;
}

static hws_upstream_t *busy_upstream(hws_time_t span)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    drained = 0;
    drain_status = HWS_AGAIN;
    stage.servers[0].reply.after = span;
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_MS(1));
    return upstream;
}

static void a_drain_lets_the_present_work_end(void **state)
{
    hws_upstream_t *upstream = busy_upstream(HWS_MS(100));

    (void)state;
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL), HWS_OK);
    ask_init(&stage.asks[5]);
    assert_int_equal(ask_start(&stage.asks[5], upstream), HWS_ERR_CLOSED);
    assert_true(stage.asks[5].error.detail[0] != '\0');
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(drained, 0);
    world_run(&stage.world, HWS_MS(60));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_int_equal(drained, 1);
    assert_int_equal(drain_status, HWS_OK);
    assert_true(world_had_event(&stage.world, "drain:begin"));
    assert_true(world_had_event(&stage.world, "drain:end"));
}

static void a_drain_cuts_off_what_does_not_end(void **state)
{
    (void)state;
    busy_upstream(HWS_S(100));
    assert_int_equal(hws_manager_drain(stage.world.manager, HWS_S(2), note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(stage.asks[0].code, HWS_ERR_CLOSED);
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_HEADERS);
    assert_int_equal(drained, 1);
    assert_int_equal(drain_status, HWS_ERR_TIMEOUT);
}

static void a_drain_of_nothing_is_over_at_once_but_never_inside_the_call(void **state)
{
    (void)state;
    drained = 0;
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL), HWS_OK);
    assert_int_equal(drained, 0);
    world_run(&stage.world, 0);
    assert_int_equal(drained, 1);
    assert_int_equal(drain_status, HWS_OK);
}

static void only_one_drain_runs_at_a_time(void **state)
{
    hws_upstream_t *upstream = busy_upstream(HWS_S(1));

    (void)state;
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_OK);
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_ERR_DRAINING);
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL), HWS_OK);
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL),
                     HWS_ERR_DRAINING);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(drained, 2);
}

/* An upstream with a dial of this span that nobody waits for. */
static hws_upstream_t *dialling_upstream(hws_time_t span)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    drained = 0;
    stage.servers[0].listener->options.connect_min = span;
    stage.servers[0].listener->options.connect_max = span;
    ask_get(&stage.asks[0], upstream);
    world_run(&stage.world, HWS_MS(1));
    ask_cancel(&stage.asks[0]);
    assert_int_equal(stage.world.open, 1);
    return upstream;
}

static void a_drain_is_not_over_while_a_dial_runs(void **state)
{
    hws_upstream_t *upstream = dialling_upstream(HWS_S(1));

    (void)state;
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_OK);
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(900));
    assert_int_equal(drained, 0);
    world_run(&stage.world, HWS_MS(200));
    assert_int_equal(drained, 2);
    assert_int_equal(drain_status, HWS_OK);
    assert_int_equal(drained_with, 0);
}

static void a_drain_that_is_cut_off_leaves_no_dial(void **state)
{
    hws_upstream_t *upstream = dialling_upstream(HWS_S(2));

    (void)state;
    assert_int_equal(hws_upstream_drain(upstream, HWS_MS(500), note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(600));
    assert_int_equal(drained, 1);
    assert_int_equal(drain_status, HWS_ERR_TIMEOUT);
    assert_int_equal(drained_with, 0);
}

static void a_drain_of_all_that_is_cut_off_leaves_no_dial(void **state)
{
    (void)state;
    dialling_upstream(HWS_S(2));
    assert_int_equal(hws_manager_drain(stage.world.manager, HWS_MS(500), note_drained, NULL),
                     HWS_OK);
    world_run(&stage.world, HWS_MS(600));
    assert_int_equal(drained, 1);
    assert_int_equal(drain_status, HWS_ERR_TIMEOUT);
    assert_int_equal(drained_with, 0);
}

static void a_dial_that_outlives_its_request_leaves_no_connection_after_a_drain(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    ask_get(&stage.asks[0], upstream);
    ask_cancel(&stage.asks[0]);
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_S(60));
    assert_int_equal(stage.world.open, 0);
}

static void closing_ends_a_drain(void **state)
{
    hws_upstream_t *upstream = busy_upstream(HWS_S(1));

    (void)state;
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_OK);
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL), HWS_OK);
    hws_manager_close(stage.world.manager);
    assert_int_equal(drained, 0);
    world_run(&stage.world, 0);
    assert_int_equal(drained, 2);
    assert_int_equal(hws_manager_drain(stage.world.manager, 0, note_drained, NULL), HWS_ERR_CLOSED);
}

static void a_drain_waits_for_who_waits(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    drained = 0;
    options.limits.per_peer = 1;
    stage.servers[0].reply.after = HWS_MS(100);
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 4);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_MS(350));
    assert_int_equal(drained, 0);
    world_run(&stage.world, HWS_MS(100));
    assert_int_equal(stage_ok(0, 4), 4);
    assert_int_equal(drained, 1);
}

static void draining_one_upstream_leaves_the_others_alone(void **state)
{
    hws_upstream_t *a = world_http_at(&stage.world, "a", NULL, 1);
    hws_upstream_t *b = world_http_at(&stage.world, "b", NULL, 2);

    (void)state;
    drained = 0;
    assert_int_equal(hws_upstream_drain(a, 0, note_drained, NULL), HWS_OK);
    stage_get(b, 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 1), 1);
    assert_int_equal(drained, 1);
}

static void closing_ends_calls_in_every_state(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.limits.per_peer = 3;
    options.limits.dials = 1;
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_MS(10));
    stage.servers[0].listener->options.connect_min = HWS_S(1);
    stage.servers[0].listener->options.connect_max = HWS_S(1);
    stage_get(upstream, 1, 3); /* one dials, two wait */
    world_run(&stage.world, HWS_MS(10));
    hws_upstream_close(upstream);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(stage.world.connects, 2); /* no dial was begun by the closing */
    assert_int_equal(stage_done(0, 4), 0);
    world_run(&stage.world, HWS_MS(10));
    for (i = 0; i < 4; i++) {
        assert_int_equal(stage.asks[i].code, HWS_ERR_CLOSED);
        assert_false(stage.asks[i].error.retryable);
    }
    assert_int_equal(stage.asks[0].error.phase, HWS_PHASE_HEADERS);
    assert_int_equal(stage.asks[1].error.phase, HWS_PHASE_CONNECT);
    assert_int_equal(stage.asks[2].error.phase, HWS_PHASE_QUEUE);
}

static void cutting_off_begins_nothing_new(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    drained = 0;
    options.limits.per_peer = 1;
    stage.servers[0].reply.is_silent = true;
    upstream = world_http(&stage.world, "a", &options, 1);
    stage_get(upstream, 0, 3);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(hws_upstream_drain(upstream, HWS_S(1), note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(stage.world.connects, 1);
    assert_int_equal(stage.servers[0].requests, 1);
}

static void the_name_of_a_closed_upstream_is_free_at_once(void **state)
{
    hws_upstream_t *upstream = busy_upstream(HWS_S(1));

    (void)state;
    hws_upstream_close(upstream);
    assert_null(hws_manager_find(stage.world.manager, HWS_SLICE("a")));
    assert_ptr_not_equal(world_http(&stage.world, "a", NULL, 1), upstream);
    assert_non_null(hws_manager_find(stage.world.manager, HWS_SLICE("a")));
}

static void a_held_upstream_outlives_its_closing(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);
    hws_stats_t stats;

    (void)state;
    hws_upstream_hold(upstream);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    hws_upstream_close(upstream);
    world_run(&stage.world, HWS_S(1));
    assert_true(hws_upstream_is_closed(upstream));
    assert_string_equal(hws_upstream_name(upstream), "a");
    ask_init(&stage.asks[1]);
    assert_int_equal(ask_start(&stage.asks[1], upstream), HWS_ERR_CLOSED);
    assert_int_equal(hws_upstream_drain(upstream, 0, note_drained, NULL), HWS_ERR_CLOSED);
    hws_upstream_unhold(upstream);
    world_run(&stage.world, HWS_S(1));
    hws_manager_stats(stage.world.manager, &stats);
    assert_int_equal(stats.ok, 1);
    assert_int_equal(stats.closed[HWS_CLOSE_SHUTDOWN], 1);
}

static void a_destroyed_manager_lasts_as_long_as_its_requests(void **state)
{
    (void)state;
    busy_upstream(HWS_S(1));
    stage.asks[0].is_kept = true;
    hws_manager_destroy(stage.world.manager);
    stage.world.manager = NULL;
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(hws_request_error(stage.asks[0].request)->code, HWS_ERR_CLOSED);
    ask_dispose(&stage.asks[0]);
}

static void a_manager_may_go_just_before_its_loop(void **state)
{
    hws_manager_options_t options;
    hws_manager_t *manager;
    hws_loop_t *loop;
    hws_sim_t *sim;

    (void)state;
    assert_int_equal(hws_sim_create(1, &sim), HWS_OK);
    assert_int_equal(hws_loop_create_on(hws_sim_io(sim), &loop), HWS_OK);
    hws_manager_options_init(&options);
    assert_int_equal(hws_manager_create(loop, &options, &manager, NULL), HWS_OK);
    hws_manager_destroy(manager);
    hws_loop_destroy(loop);
    hws_manager_destroy(NULL);
    hws_loop_destroy(NULL);
}

static void events_tell_what_was_asked_for_only(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    hws_manager_listen(stage.world.manager, 1U << HWS_EVENT_CLOSE);
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    hws_upstream_close(upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.world.event_count, 1);
    assert_string_equal(stage.world.events[0], "close:shutdown");
    hws_manager_listen(stage.world.manager, 0);
    stage_get(world_http(&stage.world, "b", NULL, 1), 1, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.world.event_count, 1);
}

static void a_flood_of_events_is_bounded(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 10000; i++)
        hws_manager_report(stage.world.manager,
                           &(hws_event_t){.type = HWS_EVENT_LEAK, .text = "somewhere"});
    world_run(&stage.world, HWS_S(1));
    assert_in_range(stage.world.event_count, 1000, 5000);
}

/* ---- callbacks that do what they like ---- */

static void destroy_the_manager(ask_t *ask, void *user)
{
    (void)ask;
    (void)user;
    hws_manager_destroy(stage.world.manager);
    stage.world.manager = NULL;
}

static void a_callback_may_destroy_the_manager(void **state)
{
    unsigned i;

    (void)state;
    busy_upstream(HWS_MS(10));
    for (i = 0; i < 3; i++)
        stage.asks[i].then = stage.world.manager != NULL && i == 1 ? destroy_the_manager : NULL;
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(stage.world.open, 0);
}

static void close_the_upstream(ask_t *ask, void *user)
{
    (void)user;
    hws_upstream_close(hws_request_upstream(ask->request));
}

static void a_callback_may_close_its_upstream(void **state)
{
    (void)state;
    busy_upstream(HWS_MS(10));
    stage.asks[0].then = close_the_upstream;
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_done(0, 3), 3);
    assert_int_equal(stage.asks[0].code, HWS_OK);
    assert_int_equal(stage.world.open, 0);
}

static void destroy_all(ask_t *ask, void *user)
{
    unsigned i;

    (void)ask;
    (void)user;
    for (i = 0; i < 3; i++)
        ask_dispose(&stage.asks[i]);
}

static void a_callback_may_destroy_every_request(void **state)
{
    unsigned i;

    (void)state;
    busy_upstream(HWS_MS(10));
    for (i = 0; i < 3; i++)
        stage.asks[i].then = destroy_all;
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_done(0, 3), 1);
}

static void ask_the_next(ask_t *ask, void *user)
{
    unsigned next = (unsigned)(ask - stage.asks) + 1;

    (void)user;
    if (next >= 100)
        return;
    ask_get(&stage.asks[next], hws_request_upstream(ask->request));
    stage.asks[next].then = ask_the_next;
}

static void each_response_may_start_the_next_request(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    stage_get(upstream, 0, 1);
    stage.asks[0].then = ask_the_next;
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 100), 100);
    assert_int_equal(stage.servers[0].visited, 1);
}

static void drain_from_inside(ask_t *ask, void *user)
{
    (void)user;
    drained = 0;
    (void)hws_upstream_drain(hws_request_upstream(ask->request), HWS_S(1), note_drained, NULL);
    (void)hws_manager_drain(stage.world.manager, HWS_S(1), note_drained, NULL);
}

static void a_callback_may_begin_a_drain(void **state)
{
    (void)state;
    busy_upstream(HWS_MS(10));
    stage.asks[1].then = drain_from_inside;
    world_run(&stage.world, HWS_S(3));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_int_equal(drained, 2);
}

static hws_manager_t *doomed;

static void destroy_on_event(void *user, const hws_event_t *event)
{
    (void)user;
    if (event->type != HWS_EVENT_CONNECT || doomed == NULL)
        return;
    hws_manager_destroy(doomed);
    doomed = stage.world.manager = NULL;
}

static void an_events_callback_may_destroy_the_manager(void **state)
{
    hws_manager_options_t options;

    (void)state;
    hws_manager_destroy(stage.world.manager);
    stage.world.manager = NULL;
    world_run(&stage.world, 0);
    hws_manager_options_init(&options);
    options.max_connections = 10;
    options.on_event = destroy_on_event;
    assert_int_equal(hws_manager_create(stage.world.loop, &options, &stage.world.manager, NULL),
                     HWS_OK);
    doomed = stage.world.manager;
    hws_manager_listen(doomed, UINT32_MAX);
    stage_get(world_http(&stage.world, "a", NULL, 2), 0, 5);
    world_run(&stage.world, HWS_S(1));
    assert_null(doomed);
    assert_int_equal(stage_done(0, 5), 5);
    assert_int_equal(stage.world.open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_drain_lets_the_present_work_end, http),
        STAGE_TEST(a_drain_cuts_off_what_does_not_end, http),
        STAGE_TEST(a_drain_is_not_over_while_a_dial_runs, http),
        STAGE_TEST(a_drain_that_is_cut_off_leaves_no_dial, http),
        STAGE_TEST(a_drain_of_all_that_is_cut_off_leaves_no_dial, http),
        STAGE_TEST(a_dial_that_outlives_its_request_leaves_no_connection_after_a_drain, http),
        STAGE_TEST(a_drain_of_nothing_is_over_at_once_but_never_inside_the_call, http),
        STAGE_TEST(only_one_drain_runs_at_a_time, http),
        STAGE_TEST(closing_ends_a_drain, http),
        STAGE_TEST(a_drain_waits_for_who_waits, http),
        STAGE_TEST(draining_one_upstream_leaves_the_others_alone, http),
        STAGE_TEST(closing_ends_calls_in_every_state, http),
        STAGE_TEST(cutting_off_begins_nothing_new, http),
        STAGE_TEST(the_name_of_a_closed_upstream_is_free_at_once, http),
        STAGE_TEST(a_held_upstream_outlives_its_closing, http),
        STAGE_TEST(a_destroyed_manager_lasts_as_long_as_its_requests, http),
        STAGE_TEST(a_manager_may_go_just_before_its_loop, http),
        STAGE_TEST(events_tell_what_was_asked_for_only, http),
        STAGE_TEST(a_flood_of_events_is_bounded, http),
        STAGE_TEST(a_callback_may_destroy_the_manager, http),
        STAGE_TEST(a_callback_may_close_its_upstream, http),
        STAGE_TEST(a_callback_may_destroy_every_request, http),
        STAGE_TEST(each_response_may_start_the_next_request, http),
        STAGE_TEST(a_callback_may_begin_a_drain, http),
        STAGE_TEST(an_events_callback_may_destroy_the_manager, http),
    };

    return cmocka_run_group_tests_name("drain", tests, NULL, NULL);
}
