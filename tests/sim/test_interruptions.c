/* Whatever is done, and whenever: a scenario is played again and again, and interrupted after the
 * first, second, third... turn of the loop, until it runs through undisturbed. Each time everything
 * that was begun ends exactly once, and nothing is left over. */
#include "support/h2_far.h"
#include "support/stage.h"

#include <string.h>

#define ASKS 12 /* half of them over connections with many streams */
#define HOLDS 4

typedef struct {
    hws_lease_t *lease;
    bool is_asked;
} setup_t;

static setup_t setups[64];
static unsigned setup_count;

static hws_upstream_t *http;
static hws_upstream_t *raw;
static hws_upstream_t *many;
static h2_far_t far;

/* ---- the scenario: a bit of everything ---- */

/* A setup that says a word and wants it back. */
static void go_on_with_setup(hws_lease_t *lease, void *user)
{
    setup_t *setup = user;
    hws_read_t want = {.mode = HWS_READ_LINE, .size = 100};
    hws_slice_t line;
    int rc;

    if (!setup->is_asked) {
        size_t taken;

        setup->is_asked = true;
        (void)hws_lease_write(lease, "AUTH\n", 5, &taken);
    }
    rc = hws_lease_read(lease, &want, &line);
    if (rc != HWS_AGAIN)
        hws_lease_setup_done(lease, rc == HWS_OK, "no answer");
}

static void prepare_lease(hws_lease_t *lease, void *user)
{
    setup_t *setup = &setups[setup_count++ % 64];
    hws_lease_options_t options = {.on_readable = go_on_with_setup, .user = setup};

    (void)user;
    setup->is_asked = false;
    hws_lease_set_callbacks(lease, &options);
    go_on_with_setup(lease, setup);
}

/* Says a word, wants it back, and releases the lease. */
static void converse(hold_t *hold, void *user)
{
    (void)user;
    if (hold->lease == NULL)
        return;
    if (hold->code != HWS_OK) {
        hold_close(hold);
        return;
    }
    if (hold->readable == 0 && hold->writable == 0) {
        size_t taken;

        (void)hws_lease_write(hold->lease, "PING\n", 5, &taken);
        if (hold_read(hold, HWS_READ_LINE, 100) == HWS_AGAIN)
            return;
    } else if (hold->read == HWS_AGAIN) {
        (void)hold_read(hold, HWS_READ_LINE, 100);
    }
    hold_release(hold);
}

static void start_all(void)
{
    static char body[40000];
    unsigned i;

    for (i = 0; i < ASKS; i++) {
        ask_t *ask = &stage.asks[i];

        ask_init(ask);
        ask->options.stream = i % 3 == 2;
        if (i % 3 == 1) {
            ask->options.method = HWS_SLICE("POST");
            ask->options.has_producer = true;
            ask->produces = 20000;
        }
        if (i == 11) {
            ask->options.duplex = true;
            ask->options.timeout = HWS_S(20); /* nobody reads before there is a response */
            ask->produces = 15000;
        }
        if (i % 6 == 3) {
            ask->options.method = HWS_SLICE("PUT");
            ask->options.has_body = true;
            ask->options.body = (hws_slice_t){body, sizeof(body)};
        }
        (void)ask_start(ask, i < ASKS / 2 ? http : many);
    }
    for (i = 0; i < HOLDS; i++) {
        hold_t *hold = &stage.holds[i];

        hold_init(hold);
        hold->then = converse;
        hold->options.connect_only = i == 3;
        (void)hold_start(hold, raw);
    }
}

static void begin_many(void)
{
    hws_upstream_options_t options = world_options(&stage.world);
    hws_sim_options_t *sim;

    h2_far_init(&far, &stage.world, 11);
    sim = &far.listener->options;
    sim->connect_max = HWS_MS(3);
    sim->latency_max = HWS_MS(3);
    sim->window = 9000;
    far.window = 10000;
    far.reply = (h2_reply_t){.body = 20000, .trailer = {"sum", "1"}, .after = HWS_MS(2)};
    options.limits.per_peer = 2;
    options.limits.streams = 4;
    options.limits.buffer = 5000;
    many = world_h2c(&stage.world, "many", &options, 11, 1);
}

static void begin(void)
{
    hws_upstream_options_t options;
    hws_peer_options_t peers[] = {{.url = HWS_SLICE("tcp://10.0.0.1:3")},
                                  {.url = HWS_SLICE("tcp://10.0.0.1:4")}};
    unsigned i;

    stage_begin(7, 5, false);
    setup_count = 0;
    for (i = 0; i < STAGE_SERVERS; i++) {
        hws_sim_options_t *sim = &stage.servers[i].listener->options;

        sim->connect_max = HWS_MS(3);
        sim->latency_max = HWS_MS(3);
        sim->chunking = HWS_SIM_RANDOM;
        sim->window = 9000;
        stage.servers[i].is_raw = i >= 2;
    }
    stage.servers[0].closes_after = 2;
    stage.servers[1].reply =
        (reply_t){.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "6\r\nhello \r\n5\r\nworld\r\n0\r\nSum: 1\r\n\r\n",
                  .after = HWS_MS(2)};
    options = world_options(&stage.world);
    options.limits.per_peer = 2;
    options.limits.buffer = 5000;
    http = world_http(&stage.world, "http", &options, 2);
    options.peers = peers;
    options.peer_count = 2;
    options.setup = prepare_lease;
    raw = world_raw(&stage.world, "raw", &options, 2);
    begin_many();
}

/* ---- interruptions ---- */

typedef void interruption_t(unsigned turn);

/* Plays until `turn`, interrupts, and lets the rest happen. False when it was over before. */
static bool play(interruption_t *interrupt, unsigned turn)
{
    unsigned i;

    begin();
    start_all();
    for (i = 0; i < turn; i++)
        if (world_turn(&stage.world, true) != HWS_OK ||
            world_now(&stage.world) > HWS_S(1000) + HWS_S(2))
            break;
    interrupt(turn);
    if (stage.world.manager != NULL)
        world_check(&stage.world);
    world_run(&stage.world, HWS_S(100));
    for (unsigned k = 0; k < ASKS; k++)
        assert_true(stage.asks[k].done <= 1 &&
                    (stage.asks[k].done == 1 || stage.asks[k].request == NULL));
    for (unsigned k = 0; k < HOLDS; k++)
        assert_true(stage.holds[k].done == 1 || stage.holds[k].lease == NULL);
    stage_finish();
    h2_far_dispose(&far);
    return i == turn;
}

static void interrupt_everywhere(interruption_t *interrupt)
{
    unsigned turn = 0;

    while (play(interrupt, turn))
        turn++;
    assert_in_range(turn, 50, 5000);
}

static void cancel_one(unsigned turn)
{
    ask_cancel(&stage.asks[turn % ASKS]);
    if (stage.holds[turn % 4].lease != NULL)
        hws_lease_cancel(stage.holds[turn % 4].lease);
}

static void cancel_all(unsigned turn)
{
    unsigned i;

    (void)turn;
    for (i = 0; i < ASKS; i++)
        ask_cancel(&stage.asks[i]);
    for (i = 0; i < 4; i++)
        if (stage.holds[i].lease != NULL)
            hws_lease_cancel(stage.holds[i].lease);
}

static void destroy_one(unsigned turn)
{
    ask_dispose(&stage.asks[turn % ASKS]);
    hold_release(&stage.holds[turn % 4]);
}

static void destroy_all(unsigned turn)
{
    unsigned i;

    for (i = 0; i < ASKS; i++)
        ask_dispose(&stage.asks[(i + turn) % ASKS]);
    for (i = 0; i < 4; i++)
        hold_close(&stage.holds[(i + turn) % 4]);
}

static void close_upstreams(unsigned turn)
{
    if (turn % 2 == 0)
        hws_upstream_close(http);
    hws_upstream_close(raw);
    hws_upstream_close(many);
    hws_upstream_close(raw);
    if (turn % 2 != 0)
        hws_upstream_close(http);
}

static void close_manager(unsigned turn)
{
    (void)turn;
    hws_manager_close(stage.world.manager);
    assert_int_equal(stage.world.open, 0);
    ask_init(&stage.asks[ASKS]);
    assert_int_equal(ask_start(&stage.asks[ASKS], http), HWS_ERR_CLOSED);
}

static void destroy_manager(unsigned turn)
{
    (void)turn;
    hws_manager_destroy(stage.world.manager);
    stage.world.manager = NULL;
    assert_int_equal(stage.world.open, 0);
}

static unsigned drained;

static void note_drained(void *user, int status)
{
    (void)user;
    assert_true(status == HWS_OK || status == HWS_ERR_TIMEOUT);
    drained++;
}

static void drain_manager(unsigned turn)
{
    drained = 0;
    assert_int_equal(
        hws_manager_drain(stage.world.manager, HWS_MS(1 + turn % 20), note_drained, NULL), HWS_OK);
    assert_int_equal(drained, 0);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(drained, 1);
}

/* One after the other. */
static hws_upstream_t *one_of_them(unsigned turn)
{
    hws_upstream_t *const upstreams[] = {http, raw, many};

    return upstreams[turn % 3];
}

static void drain_upstream(unsigned turn)
{
    drained = 0;
    assert_int_equal(
        hws_upstream_drain(one_of_them(turn), HWS_MS(1 + turn % 20), note_drained, NULL), HWS_OK);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(drained, 1);
}

static void remove_all_peers(unsigned turn)
{
    hws_peer_options_t none;
    hws_upstream_options_t options;
    hws_upstream_t *upstream = one_of_them(turn);

    hws_upstream_settings(upstream, &options);
    options.peers = &none;
    options.peer_count = 0;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
}

static void swap_a_peer(unsigned turn)
{
    hws_peer_options_t peers[] = {{.url = HWS_SLICE("http://10.0.0.1:2")},
                                  {.url = HWS_SLICE("http://10.0.0.1:4"), .weight = 2}};
    hws_upstream_options_t options;

    (void)turn;
    stage.servers[3].is_raw = false;
    hws_upstream_settings(http, &options);
    options.peers = peers;
    options.peer_count = 2;
    assert_int_equal(hws_upstream_update(http, &options, NULL), HWS_OK);
}

static void lower_all_limits(unsigned turn)
{
    hws_upstream_options_t options;

    (void)turn;
    hws_upstream_settings(http, &options);
    options.limits = (hws_limits_t){.connections = 1,
                                    .per_peer = 1,
                                    .dials = 1,
                                    .pending = 1,
                                    .streams = 1,
                                    .header = 256,
                                    .body = 10,
                                    .buffer = 4096};
    assert_int_equal(hws_upstream_update(http, &options, NULL), HWS_OK);
    hws_upstream_settings(many, &options);
    options.limits = (hws_limits_t){.connections = 1,
                                    .per_peer = 1,
                                    .dials = 1,
                                    .pending = 1,
                                    .streams = 1,
                                    .header = 256,
                                    .body = 10,
                                    .buffer = 4096};
    options.h2.window = options.h2.connection_window = 65535;
    options.h2.window_max = options.h2.connection_window_max = 65535;
    options.h2.ping_idle = options.h2.ping_timeout = 1;
    assert_int_equal(hws_upstream_update(many, &options, NULL), HWS_OK);
    hws_upstream_settings(raw, &options);
    options.limits.connections = options.limits.per_peer = options.limits.dials = 1;
    options.setup = NULL;
    assert_int_equal(hws_upstream_update(raw, &options, NULL), HWS_OK);
}

static void reset_all(unsigned turn)
{
    unsigned i;

    for (i = 0; i < STAGE_SERVERS; i++)
        server_end_all(&stage.servers[i], (hws_sim_close_t)(turn % 3));
    h2_far_end_all(&far, (hws_sim_close_t)(turn % 3));
}

static void fall_silent(unsigned turn)
{
    unsigned i;

    (void)turn;
    for (i = 0; i < STAGE_SERVERS; i++)
        hws_sim_silence(stage.servers[i].listener, true);
    hws_sim_silence(far.listener, true);
}

static void refuse_all(unsigned turn)
{
    unsigned i;

    reset_all(turn);
    for (i = 0; i < STAGE_SERVERS; i++)
        stage.servers[i].listener->options.answer = HWS_ERR_REFUSED;
    far.listener->options.answer = HWS_ERR_REFUSED;
}

static void say_nonsense(unsigned turn)
{
    static const char *const words[] = {"\r\n", "HTTP/1.1 200 OK\r\n\r\n", "nonsense\n", "\0\0\0"};
    unsigned i;

    for (i = 0; i < STAGE_SERVERS; i++)
        HWS_LIST_EACH(link, &stage.servers[i].visits)
            server_say(HWS_CONTAINER(link, visit_t, link),
                       (reply_t){.bytes = words[turn % 4], .size = 2});
}

static void say_nonsense_to_many(unsigned turn)
{
    static const char *const words[] = {"\r\n\r\n\r\n\r\n\r\n", "nonsense\n", "\0\0\0\1\4\0\0\0\1",
                                        "\0\0\0\6\0\0\0\0\1"};

    HWS_LIST_EACH(link, &far.visits)
        h2_far_say(HWS_CONTAINER(link, h2_visit_t, link), words[turn % 4], 9);
}

static void go_away(unsigned turn)
{
    static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM,
                                     NGHTTP2_INTERNAL_ERROR};

    HWS_LIST_EACH(link, &far.visits) {
        h2_visit_t *visit = HWS_CONTAINER(link, h2_visit_t, link);

        h2_far_go_away(visit, turn % 4 == 3 ? INT32_MAX : visit->looked, codes[turn % 3]);
    }
}

static void change_settings(unsigned turn)
{
    far.streams = turn % 3;
    HWS_LIST_EACH(link, &far.visits) {
        h2_visit_t *visit = HWS_CONTAINER(link, h2_visit_t, link);

        h2_far_set(visit, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, turn % 3);
        h2_far_set(visit, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, turn % 5 * 10000);
    }
}

#define INTERRUPTION(name, interrupt)                                                              \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        interrupt_everywhere(interrupt);                                                           \
    }

INTERRUPTION(a_call_may_be_cancelled_at_any_moment, cancel_one)
INTERRUPTION(all_calls_may_be_cancelled_at_any_moment, cancel_all)
INTERRUPTION(a_call_may_be_destroyed_at_any_moment, destroy_one)
INTERRUPTION(all_calls_may_be_destroyed_at_any_moment, destroy_all)
INTERRUPTION(upstreams_may_be_closed_at_any_moment, close_upstreams)
INTERRUPTION(the_manager_may_be_closed_at_any_moment, close_manager)
INTERRUPTION(the_manager_may_be_destroyed_at_any_moment, destroy_manager)
INTERRUPTION(the_manager_may_be_drained_at_any_moment, drain_manager)
INTERRUPTION(an_upstream_may_be_drained_at_any_moment, drain_upstream)
INTERRUPTION(all_peers_may_go_at_any_moment, remove_all_peers)
INTERRUPTION(peers_may_change_at_any_moment, swap_a_peer)
INTERRUPTION(limits_may_be_lowered_at_any_moment, lower_all_limits)
INTERRUPTION(servers_may_die_at_any_moment, reset_all)
INTERRUPTION(servers_may_fall_silent_at_any_moment, fall_silent)
INTERRUPTION(servers_may_go_away_at_any_moment, refuse_all)
INTERRUPTION(servers_may_say_nonsense_at_any_moment, say_nonsense)
INTERRUPTION(streams_may_be_told_nonsense_at_any_moment, say_nonsense_to_many)
INTERRUPTION(servers_may_announce_their_end_at_any_moment, go_away)
INTERRUPTION(servers_may_change_their_settings_at_any_moment, change_settings)

static void nothing(unsigned turn)
{
    (void)turn;
}

static void undisturbed_all_of_it_succeeds(void **state)
{
    (void)state;
    begin();
    start_all();
    world_run(&stage.world, HWS_S(10));
    assert_int_equal(stage_ok(0, ASKS), ASKS);
    for (unsigned i = 0; i < HOLDS; i++)
        assert_int_equal(stage.holds[i].code, HWS_OK);
    stage_finish();
    h2_far_dispose(&far);
    (void)play(nothing, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(undisturbed_all_of_it_succeeds, none),
        STAGE_TEST(a_call_may_be_cancelled_at_any_moment, none),
        STAGE_TEST(all_calls_may_be_cancelled_at_any_moment, none),
        STAGE_TEST(a_call_may_be_destroyed_at_any_moment, none),
        STAGE_TEST(all_calls_may_be_destroyed_at_any_moment, none),
        STAGE_TEST(upstreams_may_be_closed_at_any_moment, none),
        STAGE_TEST(the_manager_may_be_closed_at_any_moment, none),
        STAGE_TEST(the_manager_may_be_destroyed_at_any_moment, none),
        STAGE_TEST(the_manager_may_be_drained_at_any_moment, none),
        STAGE_TEST(an_upstream_may_be_drained_at_any_moment, none),
        STAGE_TEST(all_peers_may_go_at_any_moment, none),
        STAGE_TEST(peers_may_change_at_any_moment, none),
        STAGE_TEST(limits_may_be_lowered_at_any_moment, none),
        STAGE_TEST(servers_may_die_at_any_moment, none),
        STAGE_TEST(servers_may_fall_silent_at_any_moment, none),
        STAGE_TEST(servers_may_go_away_at_any_moment, none),
        STAGE_TEST(servers_may_say_nonsense_at_any_moment, none),
        STAGE_TEST(streams_may_be_told_nonsense_at_any_moment, none),
        STAGE_TEST(servers_may_announce_their_end_at_any_moment, none),
        STAGE_TEST(servers_may_change_their_settings_at_any_moment, none),
    };

    return cmocka_run_group_tests_name("interruptions", tests, NULL, NULL);
}
