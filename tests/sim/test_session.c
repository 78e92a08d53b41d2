/* The other side of yamux: a session on a leased connection, whose peer opens streams. */
#include "support/stage.h"
#include "support/yamux_far.h"

#include <stdlib.h>
#include <string.h>

#define PORT 21

static yamux_far_t far;
static hws_upstream_t *upstream;
static hws_session_t *session;
static unsigned news;
static bool closes_on_news;
static hold_t *const first = &stage.holds[0];
static hold_t *const second = &stage.holds[1];

static int begin(void **state)
{
    (void)state;
    stage_begin(1, 0, true);
    yamux_far_init(&far, &stage.world, PORT);
    far.role = HWS_YAMUX_CLIENT;
    session = NULL;
    news = 0;
    closes_on_news = false;
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (!stage.is_over) {
        hws_session_close(session);
        stage_finish();
    }
    yamux_far_dispose(&far);
    return 0;
}

static void run(hws_time_t span)
{
    world_run_turns(&stage.world, span);
}

static void on_news(hws_session_t *of, void *user)
{
    assert_ptr_equal(of, session);
    assert_ptr_equal(user, &news);
    news++;
    if (!closes_on_news)
        return;
    hws_session_close(session);
    session = NULL;
}

static void lease_one(const hws_upstream_options_t *given)
{
    static const hws_peer_options_t peer = {.url = HWS_SLICE("tcp://10.0.0.1:21"), .weight = 1};
    hws_upstream_options_t options = given != NULL ? *given : world_options(&stage.world);

    options.peers = &peer;
    options.peer_count = 1;
    upstream = world_raw(&stage.world, "a", &options, 1);
    hold_acquire(first, upstream);
    run(HWS_MS(10));
    assert_int_equal(first->code, HWS_OK);
}

static int take_over(bool is_server)
{
    hws_session_options_t options = {.is_server = is_server, .on_news = on_news, .user = &news};
    int rc = hws_session_create(first->lease, &options, &session);

    if (rc == HWS_OK)
        first->lease = NULL;
    return rc;
}

static void open_session_with(const hws_upstream_options_t *options)
{
    lease_one(options);
    assert_int_equal(take_over(true), HWS_OK);
    assert_int_equal(world_stats(upstream).busy, 1);
}

static void open_session(void)
{
    open_session_with(NULL);
}

static int accept_on(hold_t *hold)
{
    hold_init(hold);
    hold->code = hws_session_accept(session, &hold->options, &hold->lease);
    return hold->code;
}

static int open_on(hold_t *hold)
{
    hold_init(hold);
    hold->code = hws_session_open(session, &hold->options, &hold->lease);
    return hold->code;
}

static yamux_line_t *call_us(const char *text)
{
    yamux_line_t *line = yamux_far_open(yamux_far_latest(&far), false);

    yamux_far_say(line, text);
    return line;
}

/* ---- streams ---- */

static void what_the_peer_opens_is_accepted(void **state)
{
    yamux_line_t *line;

    (void)state;
    open_session();
    assert_int_equal(accept_on(first), HWS_AGAIN);
    line = call_us("hello\n");
    run(HWS_MS(10));
    assert_int_equal(news, 1);
    assert_int_equal(accept_on(first), HWS_OK);
    assert_int_equal(accept_on(second), HWS_AGAIN);
    assert_int_equal(hws_session_streams(session), 1);
    run(HWS_MS(10)); /* what came before it was accepted outlasts that */
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_OK);
    assert_true(hold_got(first, "hello"));
    assert_string_equal(hws_lease_peer(first->lease), "10.0.0.1:21");
    hold_write(first, "welcome");
    yamux_far_say(line, "again\n");
    run(HWS_MS(10));
    assert_true(yamux_far_got(line, "welcome"));
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_OK);
    assert_true(hold_got(first, "again"));
    yamux_far_finish(line);
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_END);
    hold_release(first);
    run(HWS_MS(10));
    assert_int_equal(far.whole, 1);
    assert_int_equal(hws_session_streams(session), 0);
    assert_int_equal(world_stats(upstream).requests, 1); /* the lease that it was made of */
}

static void both_sides_open(void **state)
{
    for (int role = 0; role < 2; role++) {
        far.role = role == 0 ? HWS_YAMUX_CLIENT : HWS_YAMUX_SERVER;
        lease_one(NULL);
        assert_int_equal(take_over(role == 0), HWS_OK);
        assert_int_equal(open_on(second), HWS_OK);
        hold_write(second, "PING\n");
        (void)call_us("x");
        assert_int_equal(hold_read(second, HWS_READ_LINE, 10), HWS_AGAIN);
        run(HWS_MS(10));
        assert_true(hold_got(second, "PING"));
        assert_int_equal(accept_on(first), HWS_OK);
        assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
        run(HWS_MS(10));
        assert_true(hold_got(first, "x"));
        (void)end(state);
        (void)begin(state);
    }
}

static void fifty_streams_echo_a_mebibyte_each(void **state)
{
    static char bulk[1 << 20];
    yamux_line_t *lines[50];
    size_t sent[50] = {0};
    bool has_finished[50] = {false};
    unsigned done = 0;

    (void)state;
    open_session();
    for (size_t i = 0; i < sizeof(bulk); i++)
        bulk[i] = (char)(i * 7 % 251);
    for (unsigned i = 0; i < 50; i++)
        lines[i] = call_us("");
    run(HWS_MS(10));
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(accept_on(&stage.holds[i]), HWS_OK);
    for (unsigned round = 0; done < 50; round++) {
        assert_true(round < 10000);
        for (unsigned i = 0; i < 50; i++) {
            hws_codec_t *codec = lines[i]->visit->codec;
            hws_lease_t *lease = stage.holds[i].lease;
            hws_slice_t some;
            size_t taken = 0;
            int rc;

            if (!lines[i]->has_ended && lines[i]->stream.part != NULL) {
                (void)codec->ops->send(codec, &lines[i]->stream, bulk + sent[i],
                                       sizeof(bulk) - sent[i], false, NULL, &taken);
                sent[i] += taken;
                if (sent[i] == sizeof(bulk))
                    yamux_far_finish(lines[i]);
            }
            if (has_finished[i])
                continue;
            /* Only what was sent back is read further. */
            while ((rc = hws_lease_read(lease, &(hws_read_t){.mode = HWS_READ_SOME}, &some)) ==
                   HWS_OK) {
                char copy[70000];
                size_t at = 0;

                some.size = some.size < sizeof(copy) ? some.size : sizeof(copy);
                memcpy(copy, some.data, some.size);
                while (at < some.size) {
                    assert_true(hws_lease_write(lease, copy + at, some.size - at, &taken) >= 0);
                    at += taken;
                    run(HWS_US(10));
                }
            }
            if (rc != HWS_END)
                continue;
            assert_int_equal(hws_lease_finish(lease), HWS_OK);
            has_finished[i] = true;
            done++;
        }
        yamux_far_wake(&far);
        run(HWS_MS(1));
    }
    run(HWS_MS(10));
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(lines[i]->status, HWS_OK);
        assert_int_equal(lines[i]->size, sizeof(bulk));
        assert_memory_equal(lines[i]->bytes, bulk, sizeof(bulk));
    }
}

static void a_reset_ends_one_stream_and_no_other(void **state)
{
    yamux_line_t *line;

    (void)state;
    open_session();
    line = call_us("a");
    (void)call_us("b");
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    assert_int_equal(accept_on(second), HWS_OK);
    yamux_far_reset(line);
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_ERR_RESET);
    assert_int_equal(hold_read(second, HWS_READ_EXACT, 1), HWS_OK);
    hold_close(second);
    run(HWS_MS(10));
    assert_int_equal(far.failed, 1);
    /* One that is gone before it is accepted was never there. */
    yamux_far_reset(call_us("c"));
    run(HWS_MS(10));
    assert_int_equal(accept_on(second), HWS_AGAIN);
}

static void what_is_accepted_may_end_before_anything_else(void **state)
{
    yamux_line_t *lines[3];

    (void)state;
    open_session();
    for (unsigned i = 0; i < 3; i++)
        lines[i] = call_us("hello");
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    hold_release(first);
    assert_int_equal(accept_on(first), HWS_OK);
    hold_close(first);
    assert_int_equal(accept_on(first), HWS_OK);
    yamux_far_reset(lines[2]);
    run(HWS_MS(10));
    assert_int_equal(lines[1]->status, HWS_ERR_RESET);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 5), HWS_OK); /* it had come */
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_ERR_RESET);
}

static void opening_keeps_to_the_limit(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_metrics_snapshot_t metrics;

    (void)state;
    options.limits.streams = 1;
    open_session_with(&options);
    assert_int_equal(open_on(first), HWS_OK);
    assert_int_equal(open_on(second), HWS_AGAIN);
    run(HWS_MS(10));
    hold_close(first);
    news = 0;
    run(HWS_MS(10));
    assert_int_equal(news, 1);
    assert_int_equal(open_on(second), HWS_OK);
    hws_upstream_metrics(upstream, &metrics);
    assert_int_equal(metrics.traffic.exchanges.total, 1); /* the lease that it was made of */
}

static void who_waits_for_room_hears_that_there_will_be_none(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.streams = 1;
    open_session_with(&options);
    assert_int_equal(open_on(first), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(open_on(second), HWS_AGAIN);
    news = 0;
    yamux_far_go_away(yamux_far_latest(&far));
    run(HWS_MS(10));
    assert_int_equal(news, 1);
    assert_int_equal(open_on(second), HWS_ERR_GOAWAY);
}

static void a_raised_limit_makes_room(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.streams = 1;
    open_session_with(&options);
    assert_int_equal(open_on(first), HWS_OK);
    assert_int_equal(open_on(second), HWS_AGAIN);
    run(HWS_MS(10));
    news = 0;
    options.limits.streams = 2;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(news, 1);
    assert_int_equal(open_on(second), HWS_OK);
}

/* Of one that was released and that the peer never ends. */
static void time_makes_room(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.streams = 1;
    far.is_mute = true;
    open_session_with(&options);
    assert_int_equal(open_on(first), HWS_OK);
    run(HWS_MS(10));
    hold_release(first);
    assert_int_equal(open_on(second), HWS_AGAIN);
    run(HWS_S(299));
    assert_int_equal(open_on(second), HWS_AGAIN);
    news = 0;
    run(HWS_S(17));
    assert_int_equal(news, 1);
    assert_int_equal(open_on(second), HWS_OK);
}

/* ---- taking over ---- */

static void what_was_not_read_yet_is_the_sessions(void **state)
{
    yamux_line_t *line;

    (void)state;
    lease_one(NULL);
    (void)hws_sim_send(yamux_far_latest(&far)->conn, "+OK\r\n", 5);
    line = call_us("early");
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_OK);
    assert_true(hws_lease_unread(first->lease).size > 12);
    assert_int_equal(take_over(true), HWS_OK);
    assert_int_equal(accept_on(first), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 5), HWS_OK);
    assert_true(hold_got(first, "early"));
    hold_write(first, "yes");
    run(HWS_MS(10));
    assert_true(yamux_far_got(line, "yes"));
}

/* Raw connections stop reading when enough is unread. */
static void reading_goes_on_where_it_had_stopped(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    static char much[8001];

    (void)state;
    memset(much, 'x', 8000);
    options.limits.buffer = 4096;
    lease_one(&options);
    (void)call_us(much);
    run(HWS_MS(10));
    assert_int_equal(take_over(true), HWS_OK);
    (void)call_us("later");
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    assert_int_equal(accept_on(second), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(hold_read(second, HWS_READ_EXACT, 5), HWS_OK);
}

static void bytes_that_are_no_yamux_end_it(void **state)
{
    (void)state;
    lease_one(NULL);
    (void)hws_sim_send(yamux_far_latest(&far)->conn, "+OK and more\r\n", 14);
    run(HWS_MS(10));
    assert_int_equal(take_over(true), HWS_OK);
    assert_int_equal(accept_on(first), HWS_ERR_YAMUX_FRAME);
    assert_int_equal(hws_session_error(session)->code, HWS_ERR_YAMUX_FRAME);
    assert_int_equal(open_on(first), HWS_ERR_YAMUX_FRAME);
    run(HWS_MS(10));
    assert_int_equal(news, 1);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void a_lease_that_waits_or_has_ended_is_not_taken(void **state)
{
    (void)state;
    lease_one(NULL);
    assert_int_equal(hold_read(first, HWS_READ_SOME, 0), HWS_AGAIN);
    assert_int_equal(take_over(true), HWS_ERR_UNSUPPORTED);
    hws_lease_cancel(first->lease);
    run(HWS_MS(10));
    assert_int_equal(hws_lease_finish(first->lease), HWS_OK);
    assert_int_equal(take_over(true), HWS_ERR_CLOSED);
    hold_close(first);

    hold_acquire(first, upstream);
    run(HWS_MS(10));
    hws_sim_close(yamux_far_latest(&far)->conn, HWS_SIM_FINISH);
    run(HWS_MS(10));
    assert_int_equal(take_over(true), HWS_ERR_EOF);
    hold_close(first);

    hold_acquire(first, upstream);
    run(HWS_MS(10));
    hws_sim_close_all(far.listener, HWS_SIM_RESET);
    run(HWS_MS(10));
    assert_int_equal(take_over(true), HWS_ERR_RESET);
}

static void a_stream_is_no_connection(void **state)
{
    (void)state;
    open_session();
    assert_int_equal(open_on(first), HWS_OK);
    assert_int_equal(hws_session_create(first->lease, &(hws_session_options_t){.on_news = on_news},
                                        &(hws_session_t *){NULL}),
                     HWS_ERR_UNSUPPORTED);
}

/* ---- the connection ---- */

static void the_connection_stays_counted_and_out_of_reach(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.limits.per_peer = 1;
    options.timeouts.queue = HWS_S(1);
    options.timeouts.idle = HWS_S(10);
    options.timeouts.lifetime = HWS_S(20);
    open_session_with(&options);
    hold_acquire(second, upstream);
    run(HWS_S(2));
    assert_int_equal(second->code, HWS_ERR_QUEUE_TIMEOUT);
    run(HWS_S(100)); /* neither idle nor too old */
    assert_int_equal(hws_session_streams(session), 0);
    assert_int_equal(world_stats(upstream).busy, 1);
    hold_acquire(&stage.holds[2], upstream);
    hws_session_close(session);
    session = NULL;
    run(HWS_MS(10));
    assert_int_equal(stage.holds[2].code, HWS_OK);
    assert_int_equal(far.visited, 2);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_LAST], 1);
}

/* What a session is told of streams says nothing of how many the pool's next connections take. */
static void leases_beside_a_session_have_dials_of_their_own(void **state)
{
    (void)state;
    open_session();
    (void)call_us("x");
    run(HWS_MS(10));
    for (unsigned i = 1; i <= 3; i++)
        hold_acquire(&stage.holds[i], upstream);
    assert_int_equal(stage.world.connects, 4);
    run(HWS_MS(10));
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(stage.holds[i].code, HWS_OK);
}

static void closing_ends_what_is_open(void **state)
{
    yamux_line_t *line;
    yamux_visit_t *visit;

    (void)state;
    open_session();
    line = call_us("x");
    run(HWS_MS(10));
    visit = line->visit;
    assert_int_equal(accept_on(first), HWS_OK);
    assert_int_equal(open_on(second), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_AGAIN);
    hws_sim_pause(visit->conn, false);
    hws_session_close(session);
    session = NULL;
    assert_int_equal(second->readable, 0);
    run(HWS_MS(10));
    assert_int_equal(second->read, HWS_ERR_CLOSED);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 1), HWS_OK);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 1), HWS_ERR_CLOSED);
    assert_int_equal(far.failed, 2);
    assert_int_equal(far.status, HWS_ERR_EOF);
    assert_int_equal(far.parted, 1);
    hold_release(first);
    hold_close(second);
}

static void what_was_released_leaves_before_the_session_closes(void **state)
{
    (void)state;
    open_session();
    (void)call_us("");
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    hold_write(first, "goodbye");
    hold_release(first);
    hws_session_close(session);
    session = NULL;
    run(HWS_MS(10));
    assert_int_equal(far.status, HWS_ERR_EOF);
    assert_int_equal(far.received, 7);
}

static void a_session_may_be_closed_in_its_own_callback(void **state)
{
    (void)state;
    open_session();
    closes_on_news = true;
    assert_int_equal(accept_on(first), HWS_AGAIN);
    (void)call_us("x");
    run(HWS_MS(10));
    assert_null(session);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void a_peer_that_closes_in_order_is_the_end(void **state)
{
    (void)state;
    open_session();
    yamux_far_finish(call_us("x"));
    (void)call_us("y"); /* which it never ends; but we are done with it */
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    assert_int_equal(accept_on(second), HWS_OK);
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_ALL, 10), HWS_OK);
    assert_int_equal(hold_read(second, HWS_READ_SOME, 0), HWS_OK);
    hold_release(first);
    hold_release(second);
    run(HWS_MS(10));
    news = 0;
    hws_sim_close_all(far.listener, HWS_SIM_CLOSE);
    run(HWS_MS(10));
    assert_int_equal(news, 1);
    assert_int_equal(accept_on(first), HWS_END);
    assert_int_equal(open_on(first), HWS_END);
    assert_null(hws_session_error(session));
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_PEER_CLOSED], 1);
}

static void a_peer_that_closes_with_streams_open_cuts_them_short(void **state)
{
    static const hws_sim_close_t ways[] = {HWS_SIM_CLOSE, HWS_SIM_RESET};
    static const int codes[] = {HWS_ERR_EOF, HWS_ERR_RESET};

    for (int i = 0; i < 2; i++) {
        open_session();
        (void)call_us("x");
        run(HWS_MS(10));
        assert_int_equal(accept_on(first), HWS_OK);
        assert_int_equal(hold_read(first, HWS_READ_ALL, 10), HWS_AGAIN);
        hws_sim_close_all(far.listener, ways[i]);
        run(HWS_MS(10));
        assert_int_equal(first->read, codes[i]);
        assert_int_equal(accept_on(second), codes[i]);
        assert_int_equal(hws_session_error(session)->code, codes[i]);
        (void)end(state);
        (void)begin(state);
    }
}

/* It had served before, as a lease. */
static void a_lost_session_is_no_stale_connection(void **state)
{
    (void)state;
    far.is_shy = true;
    open_session();
    assert_int_equal(open_on(first), HWS_OK);
    hws_sim_close_all(far.listener, HWS_SIM_RESET);
    run(HWS_MS(10));
    assert_int_equal(accept_on(second), HWS_ERR_RESET);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
}

static void a_peer_that_goes_away_may_still_open(void **state)
{
    yamux_visit_t *visit;

    (void)state;
    open_session();
    visit = yamux_far_latest(&far);
    assert_int_equal(open_on(first), HWS_OK);
    run(HWS_MS(10));
    /* The far end's own codec opens no more after that, so it is said past it. */
    (void)hws_sim_send(visit->conn, "\0\3\0\0\0\0\0\0\0\0\0\0", 12);
    run(HWS_MS(10));
    assert_int_equal(open_on(second), HWS_ERR_GOAWAY);
    (void)call_us("still");
    hold_write(first, "PING\n");
    run(HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_LINE, 10), HWS_OK);
    assert_int_equal(accept_on(second), HWS_OK);
    hold_close(first);
    hold_close(second);
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_AGAIN); /* the session lasts */
}

static void a_silent_peer_is_asked_and_given_up(void **state)
{
    (void)state;
    open_session();
    run(HWS_S(100));
    assert_int_equal(accept_on(first), HWS_AGAIN);
    hws_sim_silence(far.listener, true);
    run(HWS_S(34)); /* the last answer came at 90 s */
    assert_int_equal(accept_on(first), HWS_AGAIN);
    run(HWS_S(2));
    assert_int_equal(accept_on(first), HWS_ERR_NO_PONG);
}

static void note_drained(void *user, int status)
{
    *(int *)user = status;
}

static void a_drain_waits_for_a_session_and_ends_it(void **state)
{
    int status = HWS_AGAIN;

    (void)state;
    open_session();
    (void)call_us("x");
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    assert_int_equal(hws_upstream_drain(upstream, HWS_S(5), note_drained, &status), HWS_OK);
    run(HWS_S(4));
    assert_int_equal(status, HWS_AGAIN);
    assert_int_equal(accept_on(second), HWS_AGAIN);
    run(HWS_S(2));
    assert_int_equal(status, HWS_ERR_TIMEOUT);
    assert_int_equal(accept_on(second), HWS_ERR_CLOSED);
    assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_ERR_CLOSED);
}

static void a_drain_ends_with_the_session(void **state)
{
    int status = HWS_AGAIN;

    (void)state;
    open_session();
    assert_int_equal(hws_upstream_drain(upstream, HWS_S(5), note_drained, &status), HWS_OK);
    run(HWS_S(1));
    hws_session_close(session);
    session = NULL;
    run(HWS_MS(10));
    assert_int_equal(status, HWS_OK);
}

static void disconnect(void)
{
    hws_peer_t *peer;

    assert_int_equal(hws_manager_find_peer(stage.world.manager,
                                           (hws_slice_t)HWS_SLICE("a/10.0.0.1:21"), &peer, NULL),
                     HWS_OK);
    hws_peer_disconnect(peer);
}

static void closing_the_upstream_or_the_manager_ends_it(void **state)
{
    for (int way = 0; way < 3; way++) {
        open_session();
        (void)call_us("x");
        run(HWS_MS(10));
        assert_int_equal(accept_on(first), HWS_OK);
        if (way == 0)
            hws_upstream_close(upstream);
        else if (way == 1)
            hws_manager_close(stage.world.manager);
        else
            disconnect();
        assert_int_equal(accept_on(second), HWS_ERR_CLOSED);
        assert_int_equal(hws_session_error(session)->code, HWS_ERR_CLOSED);
        run(HWS_MS(10));
        assert_int_equal(hold_read(first, HWS_READ_EXACT, 2), HWS_ERR_CLOSED);
        (void)end(state);
        (void)begin(state);
    }
}

static void a_removed_peer_keeps_its_session(void **state)
{
    static const hws_peer_options_t other = {.url = HWS_SLICE("tcp://10.0.0.1:1"), .weight = 1};
    hws_upstream_options_t options;

    (void)state;
    open_session();
    hws_upstream_settings(upstream, &options);
    options.peers = &other;
    options.peer_count = 1;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    run(HWS_S(1));
    (void)call_us("x");
    run(HWS_MS(10));
    assert_int_equal(accept_on(first), HWS_OK);
    hold_release(first);
    hws_session_close(session);
    session = NULL;
    run(HWS_MS(10));
    assert_int_equal(world_stats(upstream).open, 0);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
    uint64_t n = 0;
    uint64_t count;

    do {
        yamux_line_t *line;

        lease_one(NULL);
        line = call_us("hello");
        run(HWS_MS(10));
        hws_memory_fail_at(++n);
        if (take_over(true) == HWS_OK) {
            if (accept_on(first) == HWS_OK) {
                size_t taken;

                (void)hws_lease_write(first->lease, "welcome", 7, &taken);
                (void)hold_read(first, HWS_READ_EXACT, 5);
            }
            (void)open_on(second);
            run(HWS_S(1));
        }
        count = hws_memory_count();
        hws_memory_fail_at(0);
        if (n > count) { /* none has failed */
            assert_true(hold_got(first, "hello"));
            assert_true(yamux_far_got(line, "welcome"));
            assert_int_equal(second->code, HWS_OK);
        }
        (void)end(state);
        (void)begin(state);
    } while (n <= count);
    assert_in_range(n, 5, 1000);
}

#define SESSION_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SESSION_TEST(what_the_peer_opens_is_accepted),
        SESSION_TEST(both_sides_open),
        SESSION_TEST(fifty_streams_echo_a_mebibyte_each),
        SESSION_TEST(a_reset_ends_one_stream_and_no_other),
        SESSION_TEST(what_is_accepted_may_end_before_anything_else),
        SESSION_TEST(opening_keeps_to_the_limit),
        SESSION_TEST(who_waits_for_room_hears_that_there_will_be_none),
        SESSION_TEST(a_raised_limit_makes_room),
        SESSION_TEST(time_makes_room),
        SESSION_TEST(what_was_not_read_yet_is_the_sessions),
        SESSION_TEST(reading_goes_on_where_it_had_stopped),
        SESSION_TEST(bytes_that_are_no_yamux_end_it),
        SESSION_TEST(a_lease_that_waits_or_has_ended_is_not_taken),
        SESSION_TEST(a_stream_is_no_connection),
        SESSION_TEST(the_connection_stays_counted_and_out_of_reach),
        SESSION_TEST(leases_beside_a_session_have_dials_of_their_own),
        SESSION_TEST(closing_ends_what_is_open),
        SESSION_TEST(what_was_released_leaves_before_the_session_closes),
        SESSION_TEST(a_session_may_be_closed_in_its_own_callback),
        SESSION_TEST(a_peer_that_closes_in_order_is_the_end),
        SESSION_TEST(a_peer_that_closes_with_streams_open_cuts_them_short),
        SESSION_TEST(a_lost_session_is_no_stale_connection),
        SESSION_TEST(a_peer_that_goes_away_may_still_open),
        SESSION_TEST(a_silent_peer_is_asked_and_given_up),
        SESSION_TEST(a_drain_waits_for_a_session_and_ends_it),
        SESSION_TEST(a_drain_ends_with_the_session),
        SESSION_TEST(closing_the_upstream_or_the_manager_ends_it),
        SESSION_TEST(a_removed_peer_keeps_its_session),
        SESSION_TEST(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
