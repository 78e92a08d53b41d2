/* Leases that are streams of a shared connection: acquiring, moving bytes, ending. */
#include "base/random.h"
#include "support/stage.h"
#include "support/yamux_far.h"

#include <stdlib.h>
#include <string.h>

#define PORT 21

static yamux_far_t far;
static hold_t *const first = &stage.holds[0];
static hold_t *const second = &stage.holds[1];

static int begin(void **state)
{
    (void)state;
    stage_begin(1, 0, true);
    yamux_far_init(&far, &stage.world, PORT);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (!stage.is_over)
        stage_finish();
    yamux_far_dispose(&far);
    return 0;
}

static void run(hws_time_t span)
{
    world_run_turns(&stage.world, span);
}

static hws_upstream_t *acquire_with(const hws_upstream_options_t *options, unsigned count)
{
    hws_upstream_t *upstream = world_yamux(&stage.world, "a", options, PORT);
    unsigned i;

    for (i = 0; i < count; i++)
        hold_acquire(&stage.holds[i], upstream);
    run(HWS_MS(10));
    return upstream;
}

static hws_upstream_t *acquire_one(void)
{
    hws_upstream_t *upstream = acquire_with(NULL, 1);

    assert_int_equal(first->code, HWS_OK);
    return upstream;
}

static unsigned acquired(unsigned from, unsigned count)
{
    unsigned ok = 0;
    unsigned i;

    for (i = from; i < from + count; i++)
        ok += stage.holds[i].code == HWS_OK;
    return ok;
}

/* That it has come back is asserted. */
static void ping(hold_t *hold)
{
    hold_write(hold, "PING\r\n");
    (void)hold_read(hold, HWS_READ_LINE, 100);
    run(HWS_MS(10));
    assert_true(hold_got(hold, "PING"));
}

/* ---- acquiring ---- */

static void a_stream_is_acquired_used_and_given_back(void **state)
{
    hws_upstream_t *upstream = acquire_one();
    hws_stats_t stats;

    (void)state;
    assert_false(first->reused);
    assert_string_equal(hws_lease_peer(first->lease), "10.0.0.1:21");
    ping(first);
    hold_release(first);
    run(HWS_MS(10));
    assert_int_equal(far.whole, 1);
    stats = world_stats(upstream);
    assert_int_equal(stats.idle, 1);
    assert_int_equal(stats.ok, 1);

    hold_acquire(second, upstream);
    run(HWS_MS(10));
    assert_true(second->reused);
    ping(second);
    assert_int_equal(far.visited, 1);
    assert_int_equal(far.accepted, 2);
}

static void many_streams_share_a_dial_and_a_connection(void **state)
{
    hws_upstream_t *upstream = acquire_with(NULL, 60);
    unsigned i;

    (void)state;
    assert_int_equal(acquired(0, 60), 60);
    for (i = 0; i < 60; i++) {
        hold_write(&stage.holds[i], "PING\r\n");
        assert_int_equal(hold_read(&stage.holds[i], HWS_READ_LINE, 100), HWS_AGAIN);
    }
    run(HWS_MS(10));
    for (i = 0; i < 60; i++) {
        assert_true(hold_got(&stage.holds[i], "PING"));
        hold_release(&stage.holds[i]);
    }
    run(HWS_MS(10));
    assert_int_equal(far.visited, 1);
    assert_int_equal(far.peak, 60);
    assert_int_equal(far.whole, 60);
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void streams_keep_to_their_limits_and_the_others_wait(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;

    (void)state;
    options.limits.streams = 4;
    options.limits.per_peer = 2;
    upstream = acquire_with(&options, 10);
    assert_int_equal(acquired(0, 10), 8);
    assert_int_equal(world_stats(upstream).queued, 2);
    assert_int_equal(far.visited, 2);
    assert_int_equal(far.peak, 4);
    for (i = 0; i < 8; i++)
        hold_release(&stage.holds[i]);
    run(HWS_MS(10));
    assert_int_equal(acquired(8, 2), 2);
    assert_int_equal(far.visited, 2);
    assert_int_equal(far.peak, 4);
}

static void the_limit_of_streams_may_change(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.limits.streams = options.limits.per_peer = 1;
    upstream = acquire_with(&options, 4);
    assert_int_equal(acquired(0, 4), 1);
    options.limits.streams = 3;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(acquired(0, 4), 3);
    options.limits.streams = 2;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    ping(first); /* nothing is cut */
    hold_release(first);
    run(HWS_MS(10));
    assert_int_equal(acquired(1, 3), 2);
    hold_release(second);
    run(HWS_MS(10));
    assert_int_equal(acquired(2, 2), 2);
    assert_int_equal(far.visited, 1);
}

static void a_stream_that_was_reset_makes_room_for_another(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.streams = options.limits.per_peer = 1;
    acquire_with(&options, 2);
    assert_int_equal(second->code, HWS_AGAIN);
    yamux_far_reset(yamux_far_line(yamux_far_latest(&far), 0));
    run(HWS_MS(10));
    assert_int_equal(second->code, HWS_OK);
    ping(second);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_ERR_RESET);
}

static void a_failed_dial_is_everybodys(void **state)
{
    (void)state;
    far.listener->options.answer = HWS_ERR_REFUSED;
    acquire_with(NULL, 5);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(stage.holds[i].code, HWS_ERR_REFUSED);
    assert_int_equal(stage.world.connects, 1);
}

static void an_acquisition_that_was_granted_but_not_told_may_be_cancelled(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    hold_acquire(second, upstream);
    hws_lease_cancel(second->lease);
    run(HWS_MS(10));
    assert_int_equal(second->code, HWS_ERR_CANCELED);
    ping(first);
    assert_int_equal(far.whole, 0); /* it had not left yet */
    assert_int_equal(far.failed, 0);
}

/* ---- moving bytes ---- */

static void either_side_ends_on_its_own(void **state)
{
    yamux_line_t *line;

    (void)state;
    far.is_mute = true;
    acquire_one();
    line = yamux_far_line(yamux_far_latest(&far), 0);
    hold_write(first, "all");
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    run(HWS_MS(10));
    assert_true(yamux_far_got(line, "all"));
    assert_int_equal(line->status, HWS_OK);
    yamux_far_say(line, "mine");
    yamux_far_finish(line);
    assert_int_equal(hold_read(first, HWS_READ_ALL, 100), HWS_AGAIN);
    run(HWS_MS(10));
    assert_true(hold_got(first, "mine"));
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_END);
    hold_release(first);
    assert_int_equal(far.whole, 1);
    assert_int_equal(far.failed, 0);
}

static void what_was_heard_of_a_whole_stream_outlives_its_connection(void **state)
{
    (void)state;
    acquire_one();
    hold_write(first, "all");
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    run(HWS_MS(10));
    hws_sim_close_all(far.listener, HWS_SIM_RESET);
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_ALL, 100), HWS_OK);
    assert_true(hold_got(first, "all"));
}

static void a_silent_stream_is_late_whatever_comes_for_others(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    unsigned i;

    (void)state;
    options.timeouts.read = HWS_S(2);
    far.is_mute = true;
    acquire_with(&options, 2);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    for (i = 0; i < 3; i++) {
        assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_AGAIN);
        run(HWS_MS(900));
        yamux_far_say(yamux_far_line(yamux_far_latest(&far), 1), "x");
        run(HWS_MS(10));
        assert_true(hold_got(second, "x"));
    }
    assert_int_equal(first->read, HWS_ERR_TIMEOUT);
    /* It is usable all the same. */
    yamux_far_say(yamux_far_line(yamux_far_latest(&far), 0), "late");
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_OK);
    assert_true(hold_got(first, "late"));
}

static void a_stream_that_hears_now_and_then_is_not_late(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    unsigned i;

    (void)state;
    options.timeouts.read = HWS_S(2);
    far.is_mute = true;
    acquire_with(&options, 1);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 3), HWS_AGAIN);
    for (i = 0; i < 3; i++) {
        run(HWS_MS(1500));
        yamux_far_say(yamux_far_line(yamux_far_latest(&far), 0), "x");
    }
    run(HWS_MS(10));
    assert_true(hold_got(first, "xxx"));
}

/* How long its user is willing to wait says nothing of the peer; what is usual for the upstream does. */
static void a_timeout_of_its_own_is_not_the_peers_fault(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    hws_peer_view_t view;

    (void)state;
    options.timeouts.read = HWS_S(2);
    far.is_mute = true;
    upstream = acquire_with(&options, 2);
    hws_lease_set_timeout(first->lease, HWS_S(1));
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_AGAIN);
    run(HWS_MS(1100));
    assert_int_equal(first->read, HWS_ERR_TIMEOUT);
    hold_release(first);
    hws_upstream_peer(upstream, 0, &view);
    assert_true(view.success_rate == 1);
    run(HWS_S(1));
    assert_int_equal(second->read, HWS_ERR_TIMEOUT);
    hold_release(second);
    hws_upstream_peer(upstream, 0, &view);
    assert_true(view.success_rate < 1);
}

/* On a dead connection a stream that waited in vain keeps the next ones away. */
static void who_waited_in_vain_asks_whether_the_peer_is_alive(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    (void)state;
    options.timeouts.read = HWS_S(2);
    upstream = acquire_with(&options, 1);
    ping(first);
    hws_sim_silence(far.listener, true);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    run(HWS_S(3));
    assert_int_equal(first->read, HWS_ERR_TIMEOUT);
    hws_sim_silence(far.listener, false);
    hws_sim_pause(yamux_far_latest(&far)->conn, true);
    hold_acquire(second, upstream);
    run(HWS_MS(100));
    assert_int_equal(far.visited, 2);
}

static char bulk[1 << 20];

static size_t write_bulk(hold_t *hold, int expected)
{
    size_t taken;

    assert_int_equal(hws_lease_write(hold->lease, bulk, sizeof(bulk), &taken), expected);
    return taken;
}

static void a_writer_waits_for_its_own_window_and_for_no_other(void **state)
{
    size_t written = 0;

    (void)state;
    far.is_mute = far.is_slow = true;
    acquire_with(NULL, 2);
    for (;;) {
        size_t taken = write_bulk(first, HWS_AGAIN);

        written += taken;
        run(HWS_MS(10));
        if (taken == 0)
            break;
    }
    assert_in_range(written, 262144, 262144 + 65536);
    hold_write(second, "hello");
    run(HWS_MS(10));
    assert_true(yamux_far_got(yamux_far_line(yamux_far_latest(&far), 1), "hello"));
    first->writable = 0;
    yamux_far_wake(&far);
    run(HWS_MS(10));
    assert_int_equal(first->writable, 1);
    assert_true(write_bulk(first, HWS_AGAIN) > 0);
}

static void a_writer_whose_window_stays_closed_is_late(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.read = HWS_S(2);
    far.is_mute = far.is_slow = true;
    acquire_with(&options, 1);
    while (write_bulk(first, HWS_AGAIN) > 0)
        run(HWS_MS(10));
    run(HWS_S(3));
    (void)write_bulk(first, HWS_ERR_TIMEOUT);
    hold_release(first); /* what was not written is given up */
    run(HWS_MS(10));
    assert_int_equal(far.failed, 1);
    assert_non_null(yamux_far_latest(&far));
}

static void cancel_write_of_first(hold_t *hold, void *user)
{
    (void)hold;
    (void)user;
    hws_lease_cancel_write(first->lease);
}

/* At the rest at which his bytes are about to leave, so that the stream hears of that first. */
static void a_writer_who_was_cancelled_is_told_whatever_else_comes(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    yamux_visit_t *visit;
    yamux_line_t *line;

    (void)state;
    options.limits.buffer = 4096; /* what is unsent is little, and leaves at once */
    far.is_mute = far.is_slow = true;
    acquire_with(&options, 2);
    while (write_bulk(first, HWS_AGAIN) > 0)
        run(HWS_MS(10));
    (void)hold_read(second, HWS_READ_SOME, 0);
    hold_write(second, "hello");
    run(HWS_MS(10));
    first->writable = 0;
    second->then = cancel_write_of_first;
    visit = yamux_far_latest(&far);
    line = yamux_far_line(visit, 0);
    (void)visit->codec->ops->credit(visit->codec, &line->stream, line->owed);
    line->owed = 0;
    yamux_far_say(yamux_far_line(visit, 1), "x"); /* in one piece with the window */
    world_run(&stage.world, HWS_MS(10));
    assert_true(hold_got(second, "x"));
    assert_int_equal(first->writable, 1);
    (void)write_bulk(first, HWS_ERR_CANCELED);
    assert_true(write_bulk(first, HWS_AGAIN) > 0);
}

static void what_is_unread_is_bounded_by_the_window(void **state)
{
    yamux_line_t *line;
    unsigned i;

    (void)state;
    far.is_mute = true;
    acquire_one();
    line = yamux_far_line(yamux_far_latest(&far), 0);
    for (i = 0; i < 5; i++) {
        size_t taken;
        hws_codec_t *codec = line->visit->codec;

        (void)codec->ops->send(codec, &line->stream, bulk, sizeof(bulk), false, NULL, &taken);
        yamux_far_wake(&far);
        run(HWS_MS(10));
    }
    assert_int_equal(hws_lease_unread(first->lease).size, 262144);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 300000), HWS_AGAIN);
    for (i = 0; i < 5 && first->read == HWS_AGAIN; i++) {
        yamux_far_wake(&far);
        run(HWS_MS(10));
    }
    assert_int_equal(first->read, HWS_OK);
    assert_int_equal(first->size, 300000);
}

/* ---- ending ---- */

static void what_was_written_leaves_after_its_stream_was_released(void **state)
{
    yamux_line_t *line;
    size_t taken;

    (void)state;
    far.is_mute = far.is_slow = true;
    acquire_one();
    line = yamux_far_line(yamux_far_latest(&far), 0);
    for (int i = 0; i < 6; i++) { /* more than the peer's window */
        assert_int_equal(hws_lease_write(first->lease, bulk, 50000, &taken), HWS_OK);
        run(HWS_MS(10));
    }
    hold_release(first);
    run(HWS_MS(10));
    assert_int_equal(line->size, 262144);
    yamux_far_wake(&far);
    run(HWS_MS(10));
    assert_int_equal(line->size, 300000);
    assert_int_equal(line->status, HWS_OK);
}

static void a_released_stream_ends_well_and_a_closed_one_is_reset(void **state)
{
    hws_upstream_t *upstream;
    yamux_visit_t *visit;

    (void)state;
    far.is_mute = true;
    upstream = acquire_with(NULL, 4);
    visit = yamux_far_latest(&far);
    hold_write(first, "bye");
    hold_release(first);
    hold_close(second);
    /* What is unread, or was given up, is no good end. */
    yamux_far_say(yamux_far_line(visit, 2), "unread");
    run(HWS_MS(10));
    hold_release(&stage.holds[2]);
    assert_int_equal(hold_read(&stage.holds[3], HWS_READ_SOME, 0), HWS_AGAIN);
    hws_lease_cancel(stage.holds[3].lease);
    run(HWS_MS(10));
    assert_int_equal(stage.holds[3].read, HWS_ERR_CANCELED);
    hold_release(&stage.holds[3]);
    run(HWS_MS(10));
    assert_true(yamux_far_got(yamux_far_line(visit, 0), "bye"));
    assert_int_equal(yamux_far_line(visit, 0)->status, HWS_OK);
    assert_int_equal(yamux_far_line(visit, 1)->status, HWS_ERR_RESET);
    assert_int_equal(yamux_far_line(visit, 2)->status, HWS_ERR_RESET);
    assert_int_equal(yamux_far_line(visit, 3)->status, HWS_ERR_RESET);
    assert_int_equal(world_stats(upstream).idle, 1);
}

static void what_comes_for_a_released_stream_is_thrown_away(void **state)
{
    yamux_line_t *line;

    (void)state;
    far.is_mute = true;
    acquire_one();
    line = yamux_far_line(yamux_far_latest(&far), 0);
    hold_release(first);
    run(HWS_MS(10));
    for (int i = 0; i < 20; i++) {
        size_t taken;
        hws_codec_t *codec = line->visit->codec;

        (void)codec->ops->send(codec, &line->stream, bulk, 60000, false, NULL, &taken);
        assert_int_equal(taken, 60000); /* more than a window in all */
        yamux_far_wake(&far);
        run(HWS_MS(10));
    }
    yamux_far_finish(line);
    run(HWS_MS(10));
    assert_int_equal(far.whole, 1);
}

static void a_released_stream_that_the_peer_does_not_end_is_reset(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.idle = options.timeouts.lifetime = HWS_NEVER;
    options.limits.streams = options.limits.per_peer = 1;
    options.timeouts.queue = HWS_NEVER;
    far.is_mute = true;
    acquire_with(&options, 2);
    hold_release(first);
    run(HWS_S(299));
    assert_int_equal(far.failed, 0);
    assert_int_equal(second->code, HWS_ERR_TIMEOUT); /* its place was not free */
    run(HWS_S(17));
    assert_int_equal(far.failed, 1);
    hold_acquire(&stage.holds[2], hws_lease_upstream(second->lease));
    run(HWS_MS(10));
    assert_int_equal(stage.holds[2].code, HWS_OK);
    assert_int_equal(far.visited, 1);
}

static void a_stream_that_nobody_accepts_ends_the_connection(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.timeouts.read = HWS_NEVER;
    acquire_with(&options, 1);
    far.is_shy = true;
    hold_acquire(second, hws_lease_upstream(first->lease));
    run(HWS_MS(10));
    assert_int_equal(second->code, HWS_OK); /* a stream is usable at once */
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_AGAIN);
    run(HWS_S(74));
    assert_int_equal(second->read, HWS_AGAIN);
    run(HWS_S(17));
    assert_int_equal(second->read, HWS_ERR_UNACCEPTED);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_ERR_UNACCEPTED);
}

static void a_stream_that_is_refused_says_so(void **state)
{
    hws_upstream_t *upstream = acquire_one();
    yamux_visit_t *visit = yamux_far_latest(&far);
    hws_peer_view_t view;

    (void)state;
    far.is_shy = true;
    visit->codec->ops->go_away(visit->codec); /* which does not leave before the next flush */
    hold_acquire(second, upstream);
    hold_write(second, "hello");
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_AGAIN);
    run(HWS_MS(10));
    assert_int_equal(second->read, HWS_ERR_REFUSED_STREAM);
    assert_true(second->error.retryable);
    hold_release(second);
    hws_upstream_peer(upstream, 0, &view);
    assert_true(view.success_rate == 1);
    far.is_shy = false;
    ping(first);
}

static void what_the_peer_opens_beside_leases_is_refused(void **state)
{
    yamux_line_t *line;

    (void)state;
    acquire_one();
    line = yamux_far_open(yamux_far_latest(&far), false);
    run(HWS_MS(10));
    assert_int_equal(line->status, HWS_ERR_REFUSED_STREAM);
    ping(first);
    assert_int_equal(far.visited, 1);
}

static void who_comes_after_a_goaway_goes_elsewhere(void **state)
{
    hws_upstream_t *upstream = acquire_one();

    (void)state;
    yamux_far_go_away(yamux_far_latest(&far));
    run(HWS_MS(10));
    hold_acquire(second, upstream);
    run(HWS_MS(10));
    assert_int_equal(second->code, HWS_OK);
    assert_int_equal(far.visited, 2);
    ping(first);
    ping(second);
    hold_release(first); /* the last one */
    run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).open, 1);
    assert_int_equal(far.failed, 0);
}

static void a_lost_connection_ends_all_its_streams(void **state)
{
    static const hws_sim_close_t ways[] = {HWS_SIM_RESET, HWS_SIM_CLOSE};
    static const int codes[] = {HWS_ERR_RESET, HWS_ERR_EOF};

    for (int i = 0; i < 2; i++) {
        hws_upstream_t *upstream = acquire_with(NULL, 3);
        unsigned j;

        assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
        hws_sim_close_all(far.listener, ways[i]);
        run(HWS_MS(10));
        assert_int_equal(first->read, codes[i]);
        assert_int_equal(hold_read(second, HWS_READ_SOME, 0), codes[i]);
        (void)write_bulk(&stage.holds[2], codes[i]);
        assert_int_equal(world_stats(upstream).open, 0);
        for (j = 0; j < 3; j++)
            hold_release(&stage.holds[j]);
        (void)end(state);
        (void)begin(state);
    }
}

static void note_drained(void *user, int status)
{
    *(int *)user = status;
}

static void a_drain_waits_for_streams_and_ends_those_that_stay(void **state)
{
    hws_upstream_t *upstream = acquire_with(NULL, 2);
    int status = HWS_AGAIN;

    (void)state;
    assert_int_equal(hws_upstream_drain(upstream, HWS_S(5), note_drained, &status), HWS_OK);
    run(HWS_S(1));
    ping(first);
    ping(second);
    hold_release(first);
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_AGAIN);
    run(HWS_S(5));
    assert_int_equal(status, HWS_ERR_TIMEOUT);
    assert_int_equal(second->read, HWS_ERR_CLOSED);
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(far.status, HWS_ERR_EOF);
}

static void a_closed_upstream_ends_them_at_once(void **state)
{
    hws_upstream_t *upstream = acquire_with(NULL, 2);

    (void)state;
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    hws_upstream_close(upstream);
    run(HWS_MS(10));
    assert_int_equal(first->read, HWS_ERR_CLOSED);
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_ERR_CLOSED);
}

/* ---- what is not for streams ---- */

static unsigned freed;

static void free_data(void *data)
{
    freed++;
    free(data);
}

static void data_is_kept_with_the_stream(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    freed = 0;
    options.free_data = free_data;
    acquire_with(&options, 2);
    hws_lease_set_data(first->lease, malloc(1));
    assert_non_null(hws_lease_data(first->lease));
    assert_null(hws_lease_data(second->lease));
    hws_lease_set_data(second->lease, malloc(1));
    hws_lease_set_data(second->lease, NULL);
    assert_int_equal(freed, 1);
    hws_sim_close_all(far.listener, HWS_SIM_RESET);
    run(HWS_MS(10));
    assert_non_null(hws_lease_data(first->lease));
    hold_release(first);
    assert_int_equal(freed, 2);
}

static void no_setup(hws_lease_t *lease, void *user)
{
    (void)user;
    hws_lease_setup_done(lease, true, NULL);
}

static void a_stream_has_no_tls_and_its_connection_no_setup(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_error_t why = {.code = HWS_OK};
    hws_upstream_t *upstream;

    (void)state;
    acquire_one();
    assert_int_equal(hws_lease_start_tls(first->lease, NULL), HWS_ERR_UNSUPPORTED);
    ping(first);
    options.protocol = HWS_PROTOCOL_YAMUX;
    options.setup = no_setup;
    options.name = (hws_slice_t)HWS_SLICE("b");
    assert_int_equal(hws_upstream_create(stage.world.manager, &options, &upstream, &why),
                     HWS_ERR_INVALID);
    assert_non_null(strstr(why.detail, "setup"));
}

/* ---- storms ---- */

enum { WEATHER = 40, STEPS = 2000 };

static hws_random_t weather;

static unsigned draw(unsigned below)
{
    return (unsigned)hws_random_below(&weather, below);
}

/* Something that a user may do with his lease, whatever has become of it. */
static void disturb(hws_upstream_t *upstream, hold_t *hold)
{
    size_t taken;

    if (hold->lease == NULL) {
        hold_init(hold);
        if (hold_start(hold, upstream) != HWS_OK)
            hold->lease = NULL;
        return;
    }
    switch (draw(8)) {
    case 0:
        hold_close(hold);
        break;
    case 1:
        hold_release(hold);
        break;
    case 2:
        hws_lease_cancel(hold->lease);
        break;
    case 3:
        if (hold->code == HWS_OK)
            (void)hws_lease_finish(hold->lease);
        break;
    case 4:
    case 5:
        if (hold->code == HWS_OK)
            (void)hws_lease_write(hold->lease, bulk, draw(100000), &taken);
        break;
    default:
        if (hold->code == HWS_OK)
            (void)hold_read(hold, draw(2) == 0 ? HWS_READ_SOME : HWS_READ_EXACT, draw(5000));
        break;
    }
}

/* Something that may happen to the other side. */
static void disturb_far(void)
{
    yamux_visit_t *visit = yamux_far_latest(&far);

    far.is_shy = draw(4) == 0;
    far.is_slow = draw(4) == 0;
    far.is_mute = draw(4) == 0;
    if (visit == NULL || visit->is_over)
        return;
    switch (draw(12)) {
    case 1:
        yamux_far_go_away(visit);
        break;
    case 2:
        hws_sim_close_all(far.listener, draw(2) == 0 ? HWS_SIM_RESET : HWS_SIM_CLOSE);
        break;
    case 3:
    case 4:
    case 5:
        yamux_far_wake(&far);
        break;
    case 6: {
        yamux_line_t *line = visit->open > 0 ? yamux_far_line(visit, 0) : NULL;

        if (line != NULL && line->stream.part != NULL && line->status == HWS_AGAIN)
            yamux_far_reset(line);
        break;
    }
    default:
        break;
    }
}

static void play(uint64_t seed)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;

    hws_random_init(&weather, seed);
    options.limits.streams = 8;
    options.limits.per_peer = 3;
    options.timeouts.read = HWS_MS(300);
    options.timeouts.queue = HWS_MS(500);
    far.listener->options.latency_max = HWS_MS(3);
    far.listener->options.chunking = draw(2) == 0 ? HWS_SIM_RANDOM : HWS_SIM_WHOLE;
    far.listener->options.window = draw(2) == 0 ? 100000 : 0;
    upstream = world_yamux(&stage.world, "a", &options, PORT);
    for (unsigned step = 0; step < STEPS; step++) {
        disturb(upstream, &stage.holds[draw(WEATHER)]);
        if (draw(20) == 0)
            disturb_far();
        if (draw(3) == 0)
            run((hws_time_t)draw(5000));
        assert_true(world_peak_at(&stage.world, PORT) <= 3);
    }
    for (unsigned i = 0; i < WEATHER; i++)
        hold_close(&stage.holds[i]);
    far.is_shy = far.is_slow = far.is_mute = false;
    yamux_far_wake(&far);
    run(HWS_S(1));
    hold_acquire(&stage.holds[0], upstream); /* whoever comes later finds all in order */
    run(HWS_S(1));
    assert_int_equal(stage.holds[0].code, HWS_OK);
    hold_release(&stage.holds[0]);
    run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).queued, 0);
    assert_int_equal(world_stats(upstream).busy, 0);
    assert_int_equal(world_stats(upstream).requests,
                     world_stats(upstream).ok + world_stats(upstream).failed);
}

static void nothing_is_lost_in_a_storm(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        play(seed);
        assert_true(far.accepted > 30 && far.failed > 3 && far.whole > 3 && far.visited > 1);
        (void)end(state);
        (void)begin(state);
    }
}

/* ---- memory ---- */

/* Whatever fails, each acquisition and each wait ends, and nothing is left. */
static void every_allocation_may_fail(void **state)
{
    uint64_t n = 0;
    uint64_t count;

    do {
        hws_upstream_t *upstream = world_yamux(&stage.world, "a", NULL, PORT);
        unsigned i;

        hws_memory_fail_at(++n);
        for (i = 0; i < 3; i++) {
            hold_init(&stage.holds[i]);
            (void)hold_start(&stage.holds[i], upstream);
        }
        run(HWS_S(10));
        for (i = 0; i < 3; i++) {
            hold_t *hold = &stage.holds[i];
            size_t taken;

            assert_true(hold->code != HWS_AGAIN);
            if (hold->code != HWS_OK)
                continue;
            (void)hws_lease_write(hold->lease, bulk, 20000, &taken);
            (void)hws_lease_finish(hold->lease);
            (void)hold_read(hold, HWS_READ_ALL, 100000);
        }
        run(HWS_S(100));
        count = hws_memory_count();
        hws_memory_fail_at(0);
        for (i = 0; i < 3; i++) {
            if (stage.holds[i].code == HWS_OK)
                assert_true(stage.holds[i].read != HWS_AGAIN);
            if (n > count) /* none has failed */
                assert_true(stage.holds[i].read == HWS_OK && stage.holds[i].size == 20000);
        }
        (void)end(state);
        (void)begin(state);
    } while (n <= count);
    assert_in_range(n, 20, 1000);
}

#define MUX_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        MUX_TEST(a_stream_is_acquired_used_and_given_back),
        MUX_TEST(many_streams_share_a_dial_and_a_connection),
        MUX_TEST(streams_keep_to_their_limits_and_the_others_wait),
        MUX_TEST(the_limit_of_streams_may_change),
        MUX_TEST(a_stream_that_was_reset_makes_room_for_another),
        MUX_TEST(a_failed_dial_is_everybodys),
        MUX_TEST(an_acquisition_that_was_granted_but_not_told_may_be_cancelled),
        MUX_TEST(either_side_ends_on_its_own),
        MUX_TEST(what_was_heard_of_a_whole_stream_outlives_its_connection),
        MUX_TEST(a_silent_stream_is_late_whatever_comes_for_others),
        MUX_TEST(a_stream_that_hears_now_and_then_is_not_late),
        MUX_TEST(a_timeout_of_its_own_is_not_the_peers_fault),
        MUX_TEST(who_waited_in_vain_asks_whether_the_peer_is_alive),
        MUX_TEST(a_writer_waits_for_its_own_window_and_for_no_other),
        MUX_TEST(a_writer_whose_window_stays_closed_is_late),
        MUX_TEST(a_writer_who_was_cancelled_is_told_whatever_else_comes),
        MUX_TEST(what_is_unread_is_bounded_by_the_window),
        MUX_TEST(what_was_written_leaves_after_its_stream_was_released),
        MUX_TEST(a_released_stream_ends_well_and_a_closed_one_is_reset),
        MUX_TEST(what_comes_for_a_released_stream_is_thrown_away),
        MUX_TEST(a_released_stream_that_the_peer_does_not_end_is_reset),
        MUX_TEST(a_stream_that_nobody_accepts_ends_the_connection),
        MUX_TEST(a_stream_that_is_refused_says_so),
        MUX_TEST(what_the_peer_opens_beside_leases_is_refused),
        MUX_TEST(who_comes_after_a_goaway_goes_elsewhere),
        MUX_TEST(a_lost_connection_ends_all_its_streams),
        MUX_TEST(a_drain_waits_for_streams_and_ends_those_that_stay),
        MUX_TEST(a_closed_upstream_ends_them_at_once),
        MUX_TEST(data_is_kept_with_the_stream),
        MUX_TEST(a_stream_has_no_tls_and_its_connection_no_setup),
        MUX_TEST(nothing_is_lost_in_a_storm),
        MUX_TEST(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
