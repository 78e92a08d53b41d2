/* Bodies on connections with many streams: windows, uploads, cuts, and streams that are given up. */
#include "support/many.h"

#include <stdlib.h>
#include <string.h>

/* What is on its way of an upload that was given up goes on: it is framed, and harms nobody. */
static void a_refused_upload_costs_no_connection(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    ask_t *ask = &stage.asks[0];

    (void)state;
    many_slow_down(0);
    fars[0].window = 1000000;
    fars[0].listener->options.window = 9000;
    fars[0].is_early = true;
    fars[0].reply.status = 413;
    many_start(upstream, 1, "GET");
    many_run(HWS_S(1));
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->produces = 3000000;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    many_run(HWS_S(1));
    assert_int_equal(ask->status, 413);
    many_start(upstream, 2, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 3), 3);
    assert_int_equal(fars[0].visited, 1);
}

/* Cut after each byte that the server says: there is a response, another attempt where that is safe, or
 * a clear error; nothing is seen twice that may not be. */
static bool play_cut(size_t at, hws_sim_close_t how, uint32_t attempts)
{
    hws_upstream_options_t options = world_retrying(&stage.world, attempts);
    hws_upstream_t *upstream;
    unsigned i;

    fars[0].listener->options.cut_after = at;
    fars[0].listener->options.cut_with = how;
    fars[1].reply = fars[0].reply = (h2_reply_t){.body = 700, .trailer = {"sum", "1"}};
    many_slow_down(0);
    upstream = many_upstream(&options, 2);
    for (i = 0; i < 3; i++)
        many_start(upstream, i, i == 1 ? "POST" : "GET");
    many_run(HWS_S(5));
    for (i = 0; i < 3; i++) {
        const ask_t *ask = &stage.asks[i];

        assert_int_equal(ask->done, 1);
        if (ask->code == HWS_OK)
            assert_int_equal(ask->body_size, 700);
        else
            assert_int_equal(hws_error_kind(ask->code), HWS_KIND_RESET);
        assert_true(i != 1 || fars[0].seen[i] + fars[1].seen[i] <= 1);
        assert_true(ask->code == HWS_OK || ask->error.sent);
        assert_true(ask->code == HWS_OK || i == 1 || attempts == 1);
    }
    return stage_ok(0, 3) == 3;
}

static void cut_anywhere_there_is_one_clear_end(void **state)
{
    unsigned how;
    unsigned attempts;
    size_t at;

    (void)state;
    for (how = HWS_SIM_FINISH; how <= HWS_SIM_RESET; how++)
        for (attempts = 1; attempts <= 2; attempts++) {
            bool is_whole = false;

            for (at = 1; at < 2600; at++) {
                many_again();
                is_whole = play_cut(at, (hws_sim_close_t)how, attempts);
            }
            assert_true(is_whole);
        }
}

#define MANY 10000
#define BATCH 100
#define LARGE 10000000

static h2_reply_t large_at_root(h2_far_t *far, h2_far_stream_t *stream)
{
    if (strcmp(stream->path, "/") == 0)
        return (h2_reply_t){.body = LARGE};
    return far->reply;
}

static void check_large_body(hws_upstream_t *upstream)
{
    ask_t *ask = &stage.asks[STAGE_ASKS - 1];

    ask_init(ask);
    ask->options.stream = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    many_run(HWS_S(10));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->body_size, LARGE);
    assert_int_equal(fars[0].visited, 1);
    assert_true(h2_far_window(h2_far_latest(&fars[0])) >= 8 << 20);
}

/* Some are cancelled before their heads have left, some before a response, some in the midst of one,
 * of which bytes are on their way and others unread. */
static void ten_thousand_cancelled_streams_leave_nothing_behind(void **state)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_upstream_t *upstream;
    unsigned i;
    unsigned k;

    (void)state;
    options.limits.per_peer = 1;
    fars[0].choose = large_at_root;
    fars[0].reply = (h2_reply_t){.body = 30000, .is_endless = true};
    many_slow_down(0);
    upstream = many_upstream(&options, 1);
    for (i = 0; i < MANY; i += BATCH) {
        for (k = 0; k < BATCH; k++) {
            ask_t *ask = &stage.asks[k];

            ask_init(ask);
            ask->options.stream = k % 2;
            ask->is_unread = true;
            ask->options.target = HWS_SLICE("/1");
            assert_int_equal(ask_start(ask, upstream), HWS_OK);
        }
        many_run(HWS_MS(i / BATCH % 3));
        for (k = 0; k < BATCH; k++)
            ask_dispose(&stage.asks[k]);
        if (i % (2 * BATCH) == 0)
            many_run(HWS_MS(1));
    }
    many_run(HWS_MS(10));
    assert_int_equal(h2_far_latest(&fars[0])->open, 0);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_true(fars[0].heads > MANY / 3);
    fars[0].reply = (h2_reply_t){.body = 5};
    check_large_body(upstream);
}

/* It fills its own window, and its connection's as far as that goes. */
static void a_reader_that_does_not_read_holds_up_nobody(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    many_slow_down(0);
    fars[0].choose = large_at_root;
    fars[0].reply.body = 100000;
    ask_init(ask);
    ask->options.stream = ask->is_unread = true;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    many_run(HWS_S(1));
    assert_int_equal(ask->code, HWS_OK);
    assert_int_equal(h2_far_window(h2_far_latest(&fars[0])), (16 << 20) - (1 << 20));
    for (i = 0; i < 20; i++) {
        many_start_all(upstream, 1, 49, "GET");
        many_run(HWS_MS(50));
        assert_int_equal(stage_ok(1, 49), 49);
    }
    assert_true(h2_far_window(h2_far_latest(&fars[0])) >= 7 << 20);
    assert_int_equal(fars[0].visited, 1);
    /* It has been slow, not dead. */
    ask->is_unread = false;
    ask_read(ask);
    many_run(HWS_S(10));
    assert_true(ask_is_ok(ask));
    assert_int_equal(ask->body_size, LARGE);
}

/* ---- the memory of all windows ---- */

#define WINDOW_MEMORY (8U << 20)
#define CONNECTIONS 40U
#define PER_CONNECTION 4U

/* What the server may send still, and what of that it has sent nobody has read. */
static uint64_t promised(void)
{
    uint64_t sum = 0;

    HWS_LIST_EACH(link, &fars[0].visits) {
        const h2_visit_t *visit = HWS_CONTAINER(link, h2_visit_t, link);

        sum += (uint64_t)h2_far_window(visit);
        HWS_LIST_EACH(each, &visit->streams) {
            const h2_far_stream_t *stream = HWS_CONTAINER(each, h2_far_stream_t, link);

            if (strcmp(stream->path, "/") == 0)
                sum += stream->reply.body - stream->left;
        }
    }
    return sum;
}

static void check_memory(unsigned connections)
{
    uint64_t used = stage.world.manager->pools.windows.used;

    assert_int_equal(stage.world.open, connections);
    assert_true(promised() <= used);
    assert_true(used <= WINDOW_MEMORY + (uint64_t)connections * 65535);
}

static h2_reply_t large_or_held(h2_far_t *far, h2_far_stream_t *stream)
{
    if (strcmp(stream->path, "/") == 0)
        return (h2_reply_t){.body = LARGE};
    return atoi(stream->path + 1) < (int)(CONNECTIONS * PER_CONNECTION)
               ? (h2_reply_t){.is_silent = true}
               : far->reply;
}

/* Each connection has a stream whose reader never reads. The first connections have the memory; to the
 * late ones the least is left, and the other streams get on there as well. */
static void all_windows_stay_within_their_memory(void **state)
{
    hws_upstream_options_t options;
    hws_manager_options_t own;
    hws_upstream_t *upstream;
    unsigned i;
    unsigned k;

    (void)state;
    hws_manager_options_init(&own);
    own.window_memory = WINDOW_MEMORY;
    many_again_with(&own);
    many_slow_down(0);
    fars[0].choose = large_or_held;
    fars[0].reply.body = 300000;
    options = world_options(&stage.world);
    options.limits.streams = PER_CONNECTION;
    options.timeouts.read = options.timeouts.request = HWS_NEVER;
    upstream = many_upstream(&options, 1);
    for (i = 0; i < CONNECTIONS; i++) {
        ask_t *ask = &stage.asks[i * PER_CONNECTION];

        ask_init(ask);
        ask->options.stream = ask->is_unread = true;
        assert_int_equal(ask_start(ask, upstream), HWS_OK);
        for (k = 1; k < PER_CONNECTION; k++)
            many_start(upstream, i * PER_CONNECTION + k, "GET");
        many_run(HWS_MS(20));
        check_memory(i + 1);
        if (i == 0)
            assert_int_equal(stage.world.manager->pools.windows.used, WINDOW_MEMORY / 4);
    }
    assert_true(h2_far_window(h2_far_latest(&fars[0])) < 65535);
    for (i = 0; i < CONNECTIONS * PER_CONNECTION; i++)
        if (i % PER_CONNECTION > 0)
            ask_dispose(&stage.asks[i]);
    for (k = 0; k < 3; k++) {
        many_start_all(upstream, CONNECTIONS * PER_CONNECTION, CONNECTIONS * (PER_CONNECTION - 1),
                       "GET");
        for (i = 0; i < 100; i++) {
            many_run(HWS_MS(5));
            check_memory(CONNECTIONS);
        }
        assert_int_equal(stage_ok(CONNECTIONS * PER_CONNECTION, CONNECTIONS * (PER_CONNECTION - 1)),
                         CONNECTIONS * (PER_CONNECTION - 1));
    }
    assert_int_equal(fars[0].visited, CONNECTIONS);
    /* What the closed ones had is there for the next. */
    hws_upstream_close(upstream);
    many_run(HWS_MS(100));
    assert_int_equal(stage.world.manager->pools.windows.used, 0);
    upstream = world_h2c(&stage.world, "b", NULL, MANY_PORT, 1);
    many_start(upstream, 511, "GET");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(511, 1), 1);
    assert_true(stage.world.manager->pools.windows.used >= WINDOW_MEMORY / 4);
}

static void an_upload_waits_for_window(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    fars[0].window = 0;
    for (i = 0; i < 2; i++) {
        ask_init(&ask[i]);
        ask[i].options.method = HWS_SLICE("POST");
        ask[i].options.has_producer = true;
        ask[i].produces = 3000000;
        ask[i].piece = 70001;
        assert_int_equal(ask_start(&ask[i], upstream), HWS_OK);
    }
    many_run(HWS_S(1));
    assert_true(fars[0].received <= 65535); /* sent before the SETTINGS came */
    assert_true(ask->produced < 400000);
    many_start(upstream, 2, "GET"); /* nobody else is held up */
    many_run(HWS_MS(10));
    assert_int_equal(stage_ok(2, 1), 1);
    h2_far_set(h2_far_latest(&fars[0]), NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 30000);
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(fars[0].received, 6000000);
}

/* Where every write leaves at once, room is back before `send` returns. */
static void an_upload_outside_of_turns_is_whole(void **state)
{
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    ask_t *ask = &stage.asks[0];

    (void)state;
    fars[0].window = 1000000;
    many_start(upstream, 1, "GET");
    world_run(&stage.world, HWS_MS(1));
    ask_init(ask);
    ask->options.method = HWS_SLICE("POST");
    ask->options.has_producer = true;
    ask->produces = 3000000;
    ask->piece = 90000;
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(0, 2), 2);
    assert_int_equal(fars[0].received, 3000000);
}

static void a_response_before_the_upload_ends_is_a_response(void **state)
{
    static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_CANCEL};
    hws_upstream_t *upstream = many_upstream(NULL, 1);
    ask_t *ask = &stage.asks[0];
    unsigned i;

    (void)state;
    many_slow_down(0);
    fars[0].is_early = true;
    for (i = 0; i < 4; i++) {
        fars[0].reply =
            (h2_reply_t){.status = 413, .body = 5, .has_reset = i < 2, .reset = codes[i % 2]};
        ask_init(&ask[i]);
        ask[i].options.method = HWS_SLICE("POST");
        ask[i].options.has_producer = true;
        ask[i].produces = 3000000;
        assert_int_equal(ask_start(&ask[i], upstream), HWS_OK);
        many_run(HWS_S(1));
        assert_int_equal(ask[i].code, HWS_OK);
        assert_int_equal(ask[i].status, 413);
        assert_true(ask[i].produced < ask[i].produces);
    }
    /* Who was not told to stop says so itself. */
    assert_int_equal(fars[0].resets, 2);
    assert_int_equal(h2_far_latest(&fars[0])->open, 0);
    fars[0].is_early = false;
    fars[0].reply = (h2_reply_t){.body = 5};
    many_start(upstream, 5, "POST");
    many_run(HWS_S(1));
    assert_int_equal(stage_ok(5, 1), 1);
    assert_int_equal(fars[0].visited, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MANY_TEST(a_refused_upload_costs_no_connection),
        MANY_TEST(cut_anywhere_there_is_one_clear_end),
        MANY_TEST(ten_thousand_cancelled_streams_leave_nothing_behind),
        MANY_TEST(a_reader_that_does_not_read_holds_up_nobody),
        MANY_TEST(all_windows_stay_within_their_memory),
        MANY_TEST(an_upload_waits_for_window),
        MANY_TEST(an_upload_outside_of_turns_is_whole),
        MANY_TEST(a_response_before_the_upload_ends_is_a_response),
    };

    return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
