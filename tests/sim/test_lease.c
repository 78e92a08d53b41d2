/* Leases: acquiring, every way to read and write, releasing, setup, and the data kept with them. */
#include "support/stage.h"

#include <stdlib.h>
#include <string.h>

static hold_t *const first = &stage.holds[0];
static hold_t *const second = &stage.holds[1];

static hws_upstream_t *acquire_with(hws_upstream_options_t *options)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", options, 1);

    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_OK);
    return upstream;
}

static hws_upstream_t *acquire_one(void)
{
    return acquire_with(NULL);
}

/* The server says `text`, and it arrives. */
static void hear(const char *text)
{
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = text});
    world_run(&stage.world, HWS_MS(10));
}

static void hear_end(ending_t how)
{
    server_say(server_latest(&stage.servers[0]), (reply_t){.then = how});
    world_run(&stage.world, HWS_MS(10));
}

/* ---- acquiring and releasing ---- */

static void a_lease_is_acquired_used_and_given_back(void **state)
{
    hws_upstream_t *upstream = acquire_one();
    hws_stats_t stats;

    (void)state;
    assert_false(first->reused);
    assert_string_equal(hws_lease_peer(first->lease), "10.0.0.1:1");
    hold_write(first, "PING\r\n");
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_AGAIN);
    world_run(&stage.world, HWS_MS(10));
    assert_true(hold_got(first, "PING"));
    stats = world_stats(upstream);
    assert_int_equal(stats.busy, 1);
    hold_release(first);
    stats = world_stats(upstream);
    assert_int_equal(stats.idle, 1);
    assert_int_equal(stats.ok, 1);

    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_true(second->reused);
    assert_int_equal(world_stats(upstream).reused, 1);
    assert_int_equal(stage.servers[0].visited, 1);
}

static void release_it(hold_t *hold, void *user)
{
    (void)user;
    hold_release(hold);
}

static void a_lease_may_be_released_in_the_very_callback_that_gives_it(void **state)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", NULL, 1);
    unsigned i;

    (void)state;
    for (i = 0; i < 10; i++) {
        hold_init(&stage.holds[i]);
        stage.holds[i].then = release_it;
        assert_int_equal(hold_start(&stage.holds[i], upstream), HWS_OK);
    }
    world_run(&stage.world, HWS_MS(10));
    for (i = 0; i < 10; i++)
        assert_int_equal(stage.holds[i].code, HWS_OK);
    assert_int_equal(world_stats(upstream).ok, 10);
}

static void unread_bytes_keep_a_connection_out_of_the_pool(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hear("x");
    hold_release(first);
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
    assert_int_equal(world_stats(upstream).ok, 1);
}

static void unwritten_bytes_keep_a_connection_out_of_the_pool(void **state)
{
    hws_upstream_t *upstream;
    size_t taken;

    (void)state;
    stage.servers[0].listener->options.window = 1;
    stage.servers[0].listener->options.latency_min = HWS_MS(5);
    stage.servers[0].listener->options.latency_max = HWS_MS(5);
    upstream = acquire_one();
    assert_int_equal(hws_lease_write(first->lease, "xyz", 3, &taken), HWS_OK);
    assert_int_equal(taken, 3);
    hold_release(first);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void a_half_closed_connection_is_not_pooled(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    hold_release(first);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void a_connection_that_the_peer_finished_is_not_pooled(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hear_end(FINISHES);
    hold_release(first);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void a_closed_lease_closes_its_connection(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hold_close(first);
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
}

static void releasing_while_it_waits_gives_the_place_up(void **state)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", NULL, 1);

    (void)state;
    stage.servers[0].listener->options.connect_min = HWS_S(1);
    stage.servers[0].listener->options.connect_max = HWS_S(1);
    hold_acquire(first, upstream);
    hold_release(first);
    assert_int_equal(world_stats(upstream).failed, 1);
    world_run(&stage.world, HWS_S(2));
    /* Its dial went on, and the connection joined the pool. */
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void an_acquisition_may_be_cancelled(void **state)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", NULL, 1);

    (void)state;
    hold_acquire(first, upstream);
    hws_lease_cancel(first->lease);
    hws_lease_cancel(first->lease);
    assert_int_equal(first->done, 0);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_ERR_CANCELED);
    assert_false(first->error.retryable);
}

static void an_acquisition_that_was_granted_but_not_told_may_be_cancelled(void **state)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", NULL, 1);

    (void)state;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    hold_release(first);
    hold_acquire(first, upstream); /* of the idle connection, at once */
    hws_lease_cancel(first->lease);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_ERR_CANCELED);
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void an_acquisition_has_its_own_deadline(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.per_peer = 1;
    upstream = acquire_with(&options);
    hold_init(second);
    second->options.timeout = HWS_MS(200);
    assert_int_equal(hold_start(second, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(second->code, HWS_ERR_TIMEOUT);
    assert_int_equal(second->error.phase, HWS_PHASE_QUEUE);
    assert_true(second->error.retryable);
}

static void leases_take_any_idle_connection_that_is_alive(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.reuse = HWS_REUSE_SAFE;
    upstream = acquire_with(&options);
    hold_release(first);
    world_run(&stage.world, HWS_S(200));
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_true(second->reused);
}

static void a_lease_is_never_given_a_dead_connection_that_could_be_seen_to_be(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hold_release(first);
    world_run(&stage.world, HWS_S(10));
    server_end_all(&stage.servers[0], HWS_SIM_CLOSE);
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(second->code, HWS_OK);
    assert_false(second->reused);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_STALE], 1);
}

static void connecting_only_leaves_the_connection_pooled(void **state)
{
    hws_upstream_t *upstream = world_raw(&stage.world, "a", NULL, 1);

    (void)state;
    hold_init(first);
    first->options.connect_only = true;
    assert_int_equal(hold_start(first, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_OK);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_int_equal(world_stats(upstream).reused, 0);
    hold_release(first);
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.servers[0].visited, 1);
    assert_false(second->reused);
}

static void http_upstreams_give_no_leases_but_connect(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);

    (void)state;
    hold_init(first);
    assert_int_equal(hold_start(first, upstream), HWS_ERR_UNSUPPORTED);
    first->options.connect_only = true;
    assert_int_equal(hold_start(first, upstream), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_OK);
    assert_int_equal(world_stats(upstream).idle, 1);
}

/* ---- reading ---- */

typedef struct {
    hws_read_mode_t mode;
    size_t size;
    const char *delimiter;
    const char *text;  /* that comes */
    const char *got;   /* by the read; NULL when it waits */
    const char *after; /* what is still unread */
} reading_t;

static const reading_t readings[] = {
    {HWS_READ_EXACT, 4, NULL, "abcdef", "abcd", "ef"},
    {HWS_READ_EXACT, 0, NULL, "abc", "", "abc"},
    {HWS_READ_EXACT, 4, NULL, "abc", NULL, "abc"},
    {HWS_READ_LINE, 100, NULL, "one\r\ntwo", "one", "two"},
    {HWS_READ_LINE, 100, NULL, "one\ntwo", "one", "two"},
    {HWS_READ_LINE, 100, NULL, "\r\n", "", ""},
    {HWS_READ_LINE, 100, NULL, "\n\n", "", "\n"},
    {HWS_READ_LINE, 100, NULL, "a\rb\r\r\n", "a\rb\r", ""},
    {HWS_READ_LINE, 3, NULL, "one\r\n", "one", ""},
    {HWS_READ_LINE, 3, NULL, "one\r", NULL, "one\r"},
    {HWS_READ_LINE, 100, NULL, "none", NULL, "none"},
    {HWS_READ_UNTIL, 100, "--", "a-b--c", "a-b--", "c"},
    {HWS_READ_UNTIL, 100, "--", "a-b-", NULL, "a-b-"},
    {HWS_READ_UNTIL, 100, "aab", "aaaab", "aaaab", ""},
    {HWS_READ_UNTIL, 4, "--", "ab--", "ab--", ""},
    {HWS_READ_UNTIL, 100, "\r\n\r\n", "x\r\n\r\r\n\r\ny", "x\r\n\r\r\n\r\n", "y"},
};

static void check_reading(const reading_t *reading)
{
    hws_slice_t unread;

    if (reading->got == NULL)
        assert_int_equal(first->read, HWS_AGAIN);
    else
        assert_true(hold_got(first, reading->got));
    unread = hws_lease_unread(first->lease);
    assert_int_equal(unread.size, strlen(reading->after));
    if (unread.size > 0)
        assert_memory_equal(unread.data, reading->after, unread.size);
}

static void read_it(const reading_t *reading)
{
    if (reading->mode == HWS_READ_UNTIL)
        (void)hold_read_until(first, reading->delimiter, reading->size);
    else
        (void)hold_read(first, reading->mode, reading->size);
}

/* Comes in one piece before the read, or after it, or cut in two anywhere. */
static void play_reading(const reading_t *reading, size_t cut, bool is_before)
{
    stage_begin(1, 0, true);
    acquire_one();
    if (!is_before)
        read_it(reading);
    if (cut > 0)
        server_say(server_latest(&stage.servers[0]),
                   (reply_t){.bytes = reading->text, .size = cut});
    world_run(&stage.world, HWS_MS(10));
    if (cut < strlen(reading->text))
        hear(reading->text + cut);
    if (is_before)
        read_it(reading);
    check_reading(reading);
    stage_finish();
}

static void every_way_to_read_finds_its_bytes_however_they_are_cut(void **state)
{
    size_t i;
    size_t cut;

    (void)state;
    for (i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
        for (cut = 0; cut <= strlen(readings[i].text); cut++) {
            play_reading(&readings[i], cut, true);
            play_reading(&readings[i], cut, false);
        }
    }
}

static void what_is_there_is_read_at_once(void **state)
{
    acquire_one();

    (void)state;
    hear("abc");
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_OK);
    assert_true(hold_got(first, "abc"));
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    hear("d");
    assert_true(hold_got(first, "d"));
    assert_int_equal(first->readable, 1);
}

static void all_is_read_to_the_end(void **state)
{
    acquire_one();

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_ALL, 100), HWS_AGAIN);
    hear("abc");
    hear("def");
    assert_int_equal(first->readable, 0);
    hear_end(FINISHES);
    assert_true(hold_got(first, "abcdef"));
    assert_int_equal(hold_read(first, HWS_READ_ALL, 100), HWS_OK);
    assert_int_equal(first->size, 0);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_END);
    assert_int_equal(hold_read(first, HWS_READ_LINE, 10), HWS_END);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 1), HWS_ERR_EOF);
}

static void a_line_without_its_end_at_the_end_stays_readable(void **state)
{
    acquire_one();

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_AGAIN);
    hear("half");
    hear_end(FINISHES);
    assert_int_equal(first->read, HWS_ERR_EOF);
    assert_int_equal(hws_error_kind(first->read), HWS_KIND_RESET);
    assert_int_equal(hws_lease_unread(first->lease).size, 4);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_OK);
    assert_true(hold_got(first, "half"));
}

static void a_reset_leaves_what_came_before_it_readable(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hear("line\nrest");
    hear_end(RESETS);
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_OK);
    assert_true(hold_got(first, "line"));
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_ERR_RESET);
    assert_int_equal(hws_lease_unread(first->lease).size, 4);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
    hold_release(first);
    assert_int_equal(world_stats(upstream).failed, 1);
}

static void a_reset_wakes_a_read_that_waits(void **state)
{
    acquire_one();

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 5), HWS_AGAIN);
    hear_end(RESETS);
    assert_int_equal(first->read, HWS_ERR_RESET);
    assert_int_equal(first->error.code, HWS_ERR_RESET);
}

static void a_line_beyond_its_bound_breaks_the_lease(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hear("abcdef\n");
    assert_int_equal(hold_read(first, HWS_READ_LINE, 5), HWS_ERR_LINE_SIZE);
    assert_int_equal(hws_error_kind(first->read), HWS_KIND_LIMIT);
    assert_int_equal(hold_read(first, HWS_READ_LINE, 50), HWS_ERR_LINE_SIZE);
    hold_release(first);
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(world_stats(upstream).failed, 1);
}

static void a_line_that_does_not_end_is_refused_at_its_bound(void **state)
{
    acquire_one();

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_LINE, 5), HWS_AGAIN);
    hear("abcde");
    assert_int_equal(first->read, HWS_AGAIN);
    hear("f");
    assert_int_equal(first->read, HWS_AGAIN); /* the sixth byte might have been a CR */
    hear("g");
    assert_int_equal(first->read, HWS_ERR_LINE_SIZE);
}

static void all_beyond_its_bound_breaks_the_lease(void **state)
{
    acquire_one();

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_ALL, 5), HWS_AGAIN);
    hear("abcde");
    hear("f");
    assert_int_equal(first->read, HWS_ERR_BODY_SIZE);
}

static void a_read_that_is_late_consumes_nothing_and_leaves_the_lease_usable(void **state)
{
    hws_upstream_t *upstream;
    hws_time_t began;

    (void)state;
    upstream = acquire_one();
    hws_lease_set_timeout(first->lease, HWS_MS(500));
    hear("ab");
    began = world_now(&stage.world);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 4), HWS_AGAIN);
    world_run(&stage.world, HWS_MS(499));
    assert_int_equal(first->read, HWS_AGAIN);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(first->read, HWS_ERR_TIMEOUT);
    assert_int_equal(world_now(&stage.world), began + HWS_MS(500));
    assert_int_equal(first->error.phase, HWS_PHASE_BODY);
    assert_int_equal(hws_lease_unread(first->lease).size, 2);
    hear("cd");
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 4), HWS_OK);
    assert_true(hold_got(first, "abcd"));
    hold_release(first);
    assert_int_equal(world_stats(upstream).open, 0); /* release closes it */
    assert_int_equal(world_stats(upstream).ok, 1);
}

static void bytes_that_come_prolong_a_silent_wait(void **state)
{
    unsigned i;

    (void)state;
    acquire_one();
    hws_lease_set_timeout(first->lease, HWS_MS(500));
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 5), HWS_AGAIN);
    for (i = 0; i < 4; i++) {
        world_run(&stage.world, HWS_MS(450));
        hear("x");
        assert_int_equal(first->read, HWS_AGAIN);
    }
    world_run(&stage.world, HWS_MS(489));
    assert_int_equal(first->read, HWS_AGAIN);
    world_run(&stage.world, HWS_MS(2));
    assert_int_equal(first->read, HWS_ERR_TIMEOUT);
}

static void the_read_timeout_of_the_upstream_holds_for_leases(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.read = HWS_S(1);
    acquire_with(&options);
    world_run(&stage.world, HWS_S(10)); /* nobody waits: no time is over */
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    world_run(&stage.world, HWS_MS(999));
    assert_int_equal(first->read, HWS_AGAIN);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(first->read, HWS_ERR_TIMEOUT);
}

static void a_waiting_read_may_be_cancelled(void **state)
{
    acquire_one();

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_AGAIN);
    hws_lease_cancel(first->lease);
    assert_int_equal(first->readable, 0);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(first->read, HWS_ERR_CANCELED);
    hear("ab");
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_OK);
    assert_true(hold_got(first, "ab"));
}

static void a_peer_that_floods_is_stopped(void **state)
{
    static char flood[2 << 20];
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    memset(flood, 'x', sizeof(flood) - 1);
    options.limits.buffer = 100000;
    acquire_with(&options);
    hear(flood);
    assert_in_range(hws_lease_unread(first->lease).size, 100000, 100000 + 65536);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 60000), HWS_OK);
    world_run(&stage.world, HWS_MS(10));
    assert_in_range(hws_lease_unread(first->lease).size, 30000, 100000 + 65536);
}

/* More than limits.buffer is wanted in one piece: the bound must not stop what is asked for. */
static void a_read_larger_than_the_buffer_is_served(void **state)
{
    static char flood[1 << 20];
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    memset(flood, 'x', sizeof(flood) - 1);
    options.limits.buffer = 4096;
    acquire_with(&options);
    server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = flood});
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 900000), HWS_AGAIN);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(first->read, HWS_OK);
    assert_int_equal(first->size, 900000);
}

/* ---- writing ---- */

static void write_on(hold_t *hold, void *user)
{
    size_t *left = user;
    static const char zeros[10000];
    int rc = HWS_OK;

    while (hold->writable > 0 && *left > 0 && rc == HWS_OK) {
        size_t taken;

        rc = hws_lease_write(hold->lease, zeros, *left < sizeof(zeros) ? *left : sizeof(zeros),
                             &taken);
        assert_true(rc >= 0);
        *left -= taken;
    }
}

static void a_writer_is_stopped_by_a_peer_that_takes_nothing(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    size_t left = 1 << 20;
    size_t total = left;

    (void)state;
    options.limits.buffer = 50000;
    stage.servers[0].is_mute = true;
    stage.servers[0].listener->options.window = 10000;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    acquire_with(&options);
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    first->then = write_on;
    first->user = &left;
    first->writable = 1;
    write_on(first, &left);
    first->writable = 0;
    world_run(&stage.world, HWS_S(10));
    assert_in_range(total - left, 10000, 10000 + 50000);
    assert_int_equal(first->writable, 0);
    hws_sim_pause(server_latest(&stage.servers[0])->conn, false);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(left, 0);
    assert_int_equal(stage.servers[0].received, total);
}

static void a_write_that_waits_too_long_is_late(void **state)
{
    static const char zeros[300000];
    size_t taken;

    (void)state;
    stage.servers[0].listener->options.window = 10;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    acquire_one();
    hws_lease_set_timeout(first->lease, HWS_MS(500));
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    assert_int_equal(hws_lease_write(first->lease, zeros, sizeof(zeros), &taken), HWS_AGAIN);
    assert_in_range(taken, 1, sizeof(zeros) - 1);
    world_run(&stage.world, HWS_MS(499));
    assert_int_equal(first->writable, 0);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(first->writable, 1);
    assert_int_equal(hws_lease_write(first->lease, "x", 1, &taken), HWS_ERR_TIMEOUT);
    assert_int_equal(hws_lease_error(first->lease)->code, HWS_ERR_TIMEOUT);
}

/* Somebody who tries again by himself, and succeeds, no longer waits. */
static void a_write_that_succeeded_meanwhile_is_not_late(void **state)
{
    static const char zeros[300000];
    size_t taken;

    (void)state;
    stage.servers[0].is_mute = true;
    stage.servers[0].listener->options.window = 10;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    acquire_one();
    hws_lease_set_timeout(first->lease, HWS_MS(500));
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    assert_int_equal(hws_lease_write(first->lease, zeros, sizeof(zeros), &taken), HWS_AGAIN);
    assert_int_equal(hws_lease_write(first->lease, NULL, 0, &taken), HWS_OK);
    world_run(&stage.world, HWS_S(2));
    assert_int_equal(first->writable, 0);
}

static void who_asks_again_before_he_is_told_is_told_when_there_is_something(void **state)
{
    (void)state;
    acquire_one();
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    hws_lease_cancel(first->lease);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_ERR_CANCELED);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->readable, 0);
    hear("x");
    assert_true(hold_got(first, "x"));
}

static void a_waiting_write_may_be_cancelled(void **state)
{
    static const char zeros[300000];
    size_t taken;

    (void)state;
    stage.servers[0].listener->options.window = 10;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    acquire_one();
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    assert_int_equal(hws_lease_write(first->lease, zeros, sizeof(zeros), &taken), HWS_AGAIN);
    hws_lease_cancel(first->lease);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(first->writable, 1);
    assert_int_equal(hws_lease_write(first->lease, "x", 1, &taken), HWS_ERR_CANCELED);
}

/* A lease whose read and write both wait. */
static void wait_both_ways(void)
{
    static const char zeros[300000];
    size_t taken;

    stage.servers[0].is_mute = true;
    stage.servers[0].listener->options.window = 10;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    acquire_one();
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    assert_int_equal(hws_lease_write(first->lease, zeros, sizeof(zeros), &taken), HWS_AGAIN);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_AGAIN);
}

static void a_write_is_cancelled_without_the_read(void **state)
{
    size_t taken;

    (void)state;
    wait_both_ways();
    hws_lease_cancel_write(first->lease);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->writable, 1);
    assert_int_equal(hws_lease_write(first->lease, "x", 1, &taken), HWS_ERR_CANCELED);
    assert_int_equal(first->readable, 0);
    hear("ab");
    assert_int_equal(first->readable, 1);
    assert_true(hold_got(first, "ab"));
}

static void a_read_is_cancelled_without_the_write(void **state)
{
    size_t taken;

    (void)state;
    wait_both_ways();
    hws_lease_cancel_read(first->lease);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->readable, 1);
    assert_int_equal(first->read, HWS_ERR_CANCELED);
    assert_int_equal(first->writable, 0);
    hws_sim_pause(server_latest(&stage.servers[0])->conn, false);
    world_run(&stage.world, HWS_S(100));
    assert_int_equal(first->writable, 1);
    assert_int_equal(hws_lease_write(first->lease, "x", 1, &taken), HWS_OK);
}

/* Half of what was to be said may have gone out: the next user must not go on from there. */
static void after_a_write_was_given_up_the_connection_is_not_pooled(void **state)
{
    hws_upstream_t *upstream;

    (void)state;
    wait_both_ways();
    upstream = hws_lease_upstream(first->lease);
    hws_lease_cancel_write(first->lease);
    hear("ab");
    hws_sim_pause(server_latest(&stage.servers[0])->conn, false);
    world_run(&stage.world, HWS_S(100));
    assert_true(hold_got(first, "ab"));
    hold_release(first);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(world_stats(upstream).open, 0);
}

static void cancelling_a_direction_that_does_not_wait_does_nothing(void **state)
{
    (void)state;
    acquire_one();
    hws_lease_cancel_read(first->lease);
    hws_lease_cancel_write(first->lease);
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(first->readable + first->writable, 0);
    hold_write(first, "ab");
    world_run(&stage.world, HWS_MS(1));
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_OK);
}

static void a_reset_wakes_a_write_that_waits(void **state)
{
    static const char zeros[300000];
    size_t taken;

    (void)state;
    stage.servers[0].listener->options.window = 10;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    acquire_one();
    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    assert_int_equal(hws_lease_write(first->lease, zeros, sizeof(zeros), &taken), HWS_AGAIN);
    hear_end(RESETS);
    assert_int_equal(first->writable, 1);
    assert_int_equal(hws_lease_write(first->lease, "x", 1, &taken), HWS_ERR_RESET);
    assert_int_equal(taken, 0);
}

static void after_the_peers_end_writing_still_works(void **state)
{
    acquire_one();

    (void)state;
    stage.servers[0].is_mute = true;
    hear_end(FINISHES);
    hold_write(first, "still");
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.servers[0].received, 5);
}

static void finishing_ends_our_side_after_what_was_written(void **state)
{
    size_t taken;

    acquire_one();

    (void)state;
    stage.servers[0].listener->options.window = 2;
    hold_write(first, "bye");
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    assert_int_equal(hold_read(first, HWS_READ_ALL, 100), HWS_AGAIN);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.servers[0].finished, 1);
    assert_int_equal(stage.servers[0].received, 3);
    assert_true(hold_got(first, "bye"));
    assert_int_equal(hws_lease_write(first->lease, "x", 1, &taken), HWS_ERR_CLOSED);
}

/* ---- data ---- */

static unsigned freed;

static void free_note(void *data)
{
    (void)data;
    freed++;
}

static void data_stays_with_the_connection(void **state)
{
    static int mark;
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    freed = 0;
    options.free_data = free_note;
    upstream = acquire_with(&options);
    assert_null(hws_lease_data(first->lease));
    hws_lease_set_data(first->lease, &mark);
    assert_ptr_equal(hws_lease_data(first->lease), &mark);
    hold_release(first);
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_ptr_equal(hws_lease_data(second->lease), &mark);
    hws_lease_set_data(second->lease, &mark);
    assert_int_equal(freed, 0);
    hws_lease_set_data(second->lease, &freed);
    assert_int_equal(freed, 1);
    hold_close(second);
    assert_int_equal(freed, 2);
}

static void data_without_anybody_to_free_it_is_let_go(void **state)
{
    static int mark;

    (void)state;
    acquire_one();
    hws_lease_set_data(first->lease, &mark);
    hear_end(RESETS);
    hws_lease_set_data(first->lease, &mark);
    assert_null(hws_lease_data(first->lease));
    hold_release(first);
}

/* ---- setup ---- */

typedef struct {
    hws_lease_t *lease; /* being set up */
    unsigned called;
    unsigned readable;
    bool wants_word; /* answers when a line has come, else leaves it to the test */
    bool at_once;
    bool agrees;
} setup_t;

static setup_t setup;

static void setup_readable(hws_lease_t *lease, void *user)
{
    hws_read_t want = {.mode = HWS_READ_LINE, .size = 100};
    hws_slice_t line;
    int rc = hws_lease_read(lease, &want, &line);

    (void)user;
    setup.readable++;
    if (rc == HWS_AGAIN)
        return;
    setup.lease = NULL;
    hws_lease_setup_done(lease, rc == HWS_OK, "no greeting");
}

static void begin_setup(hws_lease_t *lease, void *user)
{
    hws_lease_options_t options = {.on_readable = setup_readable};

    assert_ptr_equal(user, &setup);
    setup.called++;
    if (setup.at_once) {
        hws_lease_setup_done(lease, setup.agrees, "not today");
        return;
    }
    setup.lease = lease;
    hws_lease_set_callbacks(lease, &options);
    if (setup.wants_word)
        setup_readable(lease, NULL);
}

static hws_upstream_t *upstream_with_setup(void)
{
    hws_upstream_options_t options = world_options(&stage.world);

    setup = (setup_t){0};
    options.setup = begin_setup;
    options.setup_user = &setup;
    return world_raw(&stage.world, "a", &options, 1);
}

static void a_setup_prepares_each_connection_once(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    setup.wants_word = true;
    stage.servers[0].greeting = (reply_t){.bytes = "welcome\n", .after = HWS_MS(100)};
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(50));
    assert_int_equal(setup.called, 1);
    assert_int_equal(first->done, 0);
    assert_int_equal(world_stats(upstream).busy, 1);
    world_run(&stage.world, HWS_MS(60));
    assert_int_equal(first->code, HWS_OK);
    assert_false(first->reused);
    hold_release(first);
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_true(second->reused);
    assert_int_equal(setup.called, 1);
    assert_int_equal(world_stats(upstream).requests, 2);
    assert_int_equal(world_stats(upstream).ok, 1);
}

static void a_setup_that_refuses_is_a_failed_dial(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    setup.at_once = true;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_ERR_SETUP);
    assert_int_equal(hws_error_kind(first->code), HWS_KIND_CONNECT);
    assert_string_equal(first->error.detail, "not today");
    assert_int_equal(first->error.phase, HWS_PHASE_CONNECT);
    assert_int_equal(first->error.attempts, 1);
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
    /* The next one tries anew. */
    setup.agrees = true;
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(second->code, HWS_OK);
}

static void a_setup_has_the_time_of_a_dial_anew(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();
    hws_time_t began = world_now(&stage.world);

    (void)state;
    setup.wants_word = true;
    stage.servers[0].listener->options.connect_min = HWS_S(2);
    stage.servers[0].listener->options.connect_max = HWS_S(2);
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(first->code, HWS_ERR_TIMEOUT);
    assert_int_equal(first->at, began + HWS_S(5));
    assert_int_equal(first->error.phase, HWS_PHASE_CONNECT);
    /* The setup was told, too. */
    assert_int_equal(setup.readable, 2);
    assert_null(setup.lease);
    assert_int_equal(stage.world.open, 0);
}

static void a_setup_that_does_not_look_is_still_over_in_time(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(first->code, HWS_ERR_TIMEOUT);
    assert_non_null(setup.lease);
    assert_int_equal(stage.world.open, 0);
    hws_lease_setup_done(setup.lease, true, NULL);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.world.open, 0);
}

static void a_connection_lost_in_setup_is_a_failed_dial(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    setup.wants_word = true;
    stage.servers[0].greeting = (reply_t){.then = RESETS, .after = HWS_MS(10)};
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(first->code, HWS_ERR_SETUP);
    assert_true(first->error.detail[0] != '\0');
    assert_null(setup.lease);
    setup.readable = 0;
    stage.servers[0].greeting = (reply_t){.then = FINISHES, .after = HWS_MS(10)};
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(second->code, HWS_ERR_SETUP);
    assert_string_equal(second->error.detail, "no greeting");
}

static void a_setup_that_leaves_bytes_unread_fails(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    setup.wants_word = true;
    stage.servers[0].greeting = (reply_t){.bytes = "welcome\nand more"};
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(first->code, HWS_ERR_SETUP);
    assert_int_equal(stage.world.open, 0);
}

static void who_waits_for_a_setup_may_leave(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    hws_lease_cancel(first->lease);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_ERR_CANCELED);
    hws_lease_setup_done(setup.lease, true, NULL);
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void closing_during_a_setup_ends_it(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    setup.wants_word = true;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(setup.called, 1);
    hws_manager_close(stage.world.manager);
    assert_int_equal(stage.world.open, 0);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_ERR_CLOSED);
    assert_null(setup.lease);
}

/* The contract says setup_done; whoever forgets it and closes instead must come to no harm. */
static void a_setup_that_ends_its_lease_otherwise_has_refused(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        hold_acquire(&stage.holds[i], upstream);
        world_run(&stage.world, HWS_MS(10));
        if (i == 0)
            hws_lease_close(setup.lease);
        else
            hws_lease_release(setup.lease);
        world_run(&stage.world, HWS_S(10));
        assert_int_equal(stage.holds[i].code, HWS_ERR_SETUP);
        assert_int_equal(stage.world.open, 0);
    }
}

static void draining_during_a_setup_cuts_it_off(void **state)
{
    hws_upstream_t *upstream = upstream_with_setup();

    (void)state;
    setup.wants_word = true;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    hws_upstream_close(upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(first->code, HWS_ERR_CLOSED);
    assert_null(setup.lease);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(a_lease_is_acquired_used_and_given_back, raw),
        STAGE_TEST(a_lease_may_be_released_in_the_very_callback_that_gives_it, raw),
        STAGE_TEST(unread_bytes_keep_a_connection_out_of_the_pool, raw),
        STAGE_TEST(unwritten_bytes_keep_a_connection_out_of_the_pool, raw),
        STAGE_TEST(a_half_closed_connection_is_not_pooled, raw),
        STAGE_TEST(a_connection_that_the_peer_finished_is_not_pooled, raw),
        STAGE_TEST(a_closed_lease_closes_its_connection, raw),
        STAGE_TEST(releasing_while_it_waits_gives_the_place_up, raw),
        STAGE_TEST(an_acquisition_may_be_cancelled, raw),
        STAGE_TEST(an_acquisition_that_was_granted_but_not_told_may_be_cancelled, raw),
        STAGE_TEST(an_acquisition_has_its_own_deadline, raw),
        STAGE_TEST(leases_take_any_idle_connection_that_is_alive, raw),
        STAGE_TEST(a_lease_is_never_given_a_dead_connection_that_could_be_seen_to_be, raw),
        STAGE_TEST(connecting_only_leaves_the_connection_pooled, raw),
        STAGE_TEST(http_upstreams_give_no_leases_but_connect, raw),
        STAGE_TEST(every_way_to_read_finds_its_bytes_however_they_are_cut, none),
        STAGE_TEST(what_is_there_is_read_at_once, raw),
        STAGE_TEST(all_is_read_to_the_end, raw),
        STAGE_TEST(a_line_without_its_end_at_the_end_stays_readable, raw),
        STAGE_TEST(a_reset_leaves_what_came_before_it_readable, raw),
        STAGE_TEST(a_reset_wakes_a_read_that_waits, raw),
        STAGE_TEST(a_line_beyond_its_bound_breaks_the_lease, raw),
        STAGE_TEST(a_line_that_does_not_end_is_refused_at_its_bound, raw),
        STAGE_TEST(all_beyond_its_bound_breaks_the_lease, raw),
        STAGE_TEST(a_read_that_is_late_consumes_nothing_and_leaves_the_lease_usable, raw),
        STAGE_TEST(bytes_that_come_prolong_a_silent_wait, raw),
        STAGE_TEST(the_read_timeout_of_the_upstream_holds_for_leases, raw),
        STAGE_TEST(a_waiting_read_may_be_cancelled, raw),
        STAGE_TEST(who_asks_again_before_he_is_told_is_told_when_there_is_something, raw),
        STAGE_TEST(a_peer_that_floods_is_stopped, raw),
        STAGE_TEST(a_read_larger_than_the_buffer_is_served, raw),
        STAGE_TEST(a_writer_is_stopped_by_a_peer_that_takes_nothing, raw),
        STAGE_TEST(a_write_that_waits_too_long_is_late, raw),
        STAGE_TEST(a_write_that_succeeded_meanwhile_is_not_late, raw),
        STAGE_TEST(a_waiting_write_may_be_cancelled, raw),
        STAGE_TEST(a_write_is_cancelled_without_the_read, raw),
        STAGE_TEST(a_read_is_cancelled_without_the_write, raw),
        STAGE_TEST(after_a_write_was_given_up_the_connection_is_not_pooled, raw),
        STAGE_TEST(cancelling_a_direction_that_does_not_wait_does_nothing, raw),
        STAGE_TEST(a_reset_wakes_a_write_that_waits, raw),
        STAGE_TEST(after_the_peers_end_writing_still_works, raw),
        STAGE_TEST(finishing_ends_our_side_after_what_was_written, raw),
        STAGE_TEST(data_stays_with_the_connection, raw),
        STAGE_TEST(data_without_anybody_to_free_it_is_let_go, raw),
        STAGE_TEST(a_setup_prepares_each_connection_once, raw),
        STAGE_TEST(a_setup_that_refuses_is_a_failed_dial, raw),
        STAGE_TEST(a_setup_has_the_time_of_a_dial_anew, raw),
        STAGE_TEST(a_setup_that_does_not_look_is_still_over_in_time, raw),
        STAGE_TEST(a_connection_lost_in_setup_is_a_failed_dial, raw),
        STAGE_TEST(a_setup_that_leaves_bytes_unread_fails, raw),
        STAGE_TEST(who_waits_for_a_setup_may_leave, raw),
        STAGE_TEST(closing_during_a_setup_ends_it, raw),
        STAGE_TEST(a_setup_that_ends_its_lease_otherwise_has_refused, raw),
        STAGE_TEST(draining_during_a_setup_cuts_it_off, raw),
    };

    return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
