/* Out of memory, at any moment: a scenario is played with its first, second, third... allocation
 * failing, until it runs through with none. Each time what was begun ends once, the ledger is
 * exact, nothing leaks, and what comes afterwards is served. */
#include "base/memory.h"
#include "support/h2_far.h"
#include "support/stage.h"

#include <stdio.h>
#include <string.h>

typedef void scenario_t(void);

/* What a caller may be told: that memory ran out, or that the simulated peer, which has no memory
 * either, broke the connection. */
static bool is_fair(int code)
{
    return code == HWS_OK || code == HWS_ERR_NOMEM || hws_error_kind(code) == HWS_KIND_RESET ||
           code == HWS_ERR_SETUP || code == HWS_ERR_BREAKER_OPEN;
}

static hws_upstream_t *upstream;
static h2_far_t far; /* of HTTP/2, where a scenario has one */

/* Each attempt that got a connection or a dial is booked, whatever ran out of memory; one that was given
 * up during its dial is in the counters alone. */
static void check_attempts(void)
{
    hws_stats_t stats = world_stats(upstream);
    uint64_t made = 0;
    uint64_t calls = 0;
    uint64_t lost = 0;
    unsigned i;

    for (i = 0; i < STAGE_ASKS; i++) {
        const ask_t *ask = &stage.asks[i];
        uint32_t attempts = ask->code == HWS_OK ? ask->attempts : ask->error.attempts;

        if (ask->options.user == NULL || ask->done == 0)
            continue;
        made += attempts;
        calls += attempts > 0;
        lost += ask->code != HWS_OK;
    }
    assert_in_range(calls + stats.retried + stats.replayed, made, made + lost);
}

static void check_outcomes(void)
{
    unsigned i;

    for (i = 0; i < STAGE_ASKS; i++) {
        const ask_t *ask = &stage.asks[i];

        if (ask->options.user == NULL)
            continue;
        if (ask->done == 0) {
            assert_int_equal(ask->code, HWS_ERR_NOMEM); /* it was refused at once */
            continue;
        }
        assert_int_equal(ask->done, 1);
        if (!is_fair(ask->code))
            print_error("ask %u: %s\n", i, hws_error_name(ask->code));
        assert_true(is_fair(ask->code));
        if (ask->options.stream && ask->code == HWS_OK && !ask->is_unread)
            assert_true(ask->end == HWS_END || is_fair(ask->end));
        if (ask->code == HWS_OK && (!ask->options.stream || ask->end == HWS_END))
            assert_true(ask->body_size == 5 || ask->body_size == 30000);
    }
    for (i = 0; i < STAGE_HOLDS; i++) {
        const hold_t *hold = &stage.holds[i];

        if (hold->options.user == NULL)
            continue;
        assert_true(hold->done == 1 || hold->code == HWS_ERR_NOMEM);
        if (!is_fair(hold->code))
            print_error("hold %u: %s\n", i, hws_error_name(hold->code));
        assert_true(is_fair(hold->code));
    }
}

static void fail_each_allocation(scenario_t *prepare, scenario_t *scenario, bool is_raw)
{
    uint64_t n;
    uint64_t count;

    for (n = 1;; n++) {
        stage_begin(3, 6, is_raw);
        hws_manager_listen(stage.world.manager, UINT32_MAX);
        prepare();
        hws_memory_fail_at(n);
        scenario();
        world_run(&stage.world, HWS_S(4));
        count = hws_memory_count();
        hws_memory_fail_at(0);
        world_run(&stage.world, HWS_MS(10));
        check_outcomes();
        if (!is_raw)
            check_attempts();
        /* Whoever comes later is not harmed. */
        if (!is_raw) {
            stage_get(upstream, 500, 2);
            world_run(&stage.world, HWS_S(2));
            assert_int_equal(stage_ok(500, 2), 2);
        } else {
            hold_acquire(&stage.holds[63], upstream);
            world_run(&stage.world, HWS_S(2));
            assert_int_equal(stage.holds[63].code, HWS_OK);
        }
        stage_finish();
        if (far.world != NULL)
            h2_far_dispose(&far);
        far.world = NULL;
        if (count < n)
            break;
    }
    assert_true(n > 5);
}

/* ---- http ---- */

static void prepare_http(void)
{
    hws_upstream_options_t options = world_options(&stage.world);

    options.limits.per_peer = 3;
    options.limits.buffer = 8192;
    stage.servers[0].listener->options.latency_max = HWS_MS(2);
    upstream = world_http(&stage.world, "a", &options, 2);
}

static void some_gets_from(unsigned first, unsigned count)
{
    unsigned i;

    for (i = first; i < first + count; i++) {
        ask_init(&stage.asks[i]);
        (void)ask_start(&stage.asks[i], upstream);
    }
}

static void some_gets(void)
{
    some_gets_from(0, 8);
}

static void responses_in_pieces(void)
{
    stage.servers[0].listener->options.chunking = HWS_SIM_BYTES;
    stage.servers[1].listener->options.chunking = HWS_SIM_RANDOM;
    stage.servers[1].reply.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                   "chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n";
    some_gets();
}

static void streams(void)
{
    unsigned i;

    stage.servers[0].listener->options.chunking = HWS_SIM_RANDOM;
    for (i = 20; i < 26; i++) {
        ask_init(&stage.asks[i]);
        stage.asks[i].options.stream = true;
        stage.asks[i].is_unread = i % 3 == 0;
        (void)ask_start(&stage.asks[i], upstream);
    }
}

static void unread_streams_read_late(void)
{
    unsigned i;

    stage.servers[0].listener->options.chunking = HWS_SIM_BYTES;
    for (i = 0; i < 3; i++) {
        ask_init(&stage.asks[i]);
        stage.asks[i].options.stream = stage.asks[i].is_unread = true;
        (void)ask_start(&stage.asks[i], upstream);
    }
    world_run(&stage.world, HWS_S(1));
    for (i = 0; i < 3; i++) {
        stage.asks[i].is_unread = false;
        if (stage.asks[i].request != NULL)
            ask_read(&stage.asks[i]);
    }
}

static void uploads(void)
{
    static char body[50000];
    unsigned i;

    for (i = 0; i < 2; i++)
        stage.servers[i].listener->options.window = 3000;
    for (i = 0; i < 6; i++) {
        ask_t *ask = &stage.asks[i];

        ask_init(ask);
        ask->options.method = i % 2 ? HWS_SLICE("PUT") : HWS_SLICE("POST");
        if (i % 3 == 0) {
            ask->options.has_producer = true;
            ask->produces = 40000;
        } else {
            ask->options.has_body = true;
            ask->options.body = (hws_slice_t){body, sizeof(body)};
        }
        (void)ask_start(ask, upstream);
    }
}

static void replays(void)
{
    some_gets();
    world_run(&stage.world, HWS_S(1));
    stage.servers[0].reply.after = stage.servers[1].reply.after = HWS_MS(10);
    for (unsigned i = 10; i < 14; i++) {
        ask_init(&stage.asks[i]);
        (void)ask_start(&stage.asks[i], upstream);
    }
    world_run(&stage.world, HWS_MS(5));
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
    server_end_all(&stage.servers[1], HWS_SIM_RESET);
}

static reply_t fail_at_first(server_t *server, visit_t *visit, hws_slice_t request)
{
    static const reply_t replies[] = {
        {.bytes = "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello"},
        {.then = RESETS},
        {.bytes = REPLY_OK}};

    (void)visit;
    (void)request;
    return replies[world_now(server->world) < HWS_S(1001) ? server->requests % 3 : 2];
}

static void prepare_retries(void)
{
    hws_upstream_options_t options = world_retrying(&stage.world, 4);
    unsigned i;

    hws_breaker_options_init(&options.breaker);
    options.breaker.consecutive = 1;
    options.breaker.open_for = options.breaker.open_max = HWS_MS(1);
    options.limits.per_peer = 2;
    for (i = 0; i < 3; i++)
        stage.servers[i].choose = fail_at_first;
    upstream = world_http(&stage.world, "a", &options, 3);
}

static void retries(void)
{
    unsigned i;

    for (i = 0; i < 12; i++) {
        ask_init(&stage.asks[i]);
        stage.asks[i].options.stream = i % 3 == 0;
        (void)ask_start(&stage.asks[i], upstream);
    }
}

static void origins(void)
{
    hws_upstream_t *origin;
    hws_slice_t target;
    unsigned i;

    for (i = 0; i < 4; i++) {
        ask_init(&stage.asks[i]);
        stage.asks[i].code = hws_manager_origin(stage.world.manager,
                                                i % 2 ? HWS_SLICE("http://10.0.0.1:3/path")
                                                      : HWS_SLICE("http://10.0.0.1:4?q"),
                                                &origin, &target, NULL);
        if (stage.asks[i].code != HWS_OK)
            continue;
        stage.asks[i].code = HWS_AGAIN;
        stage.asks[i].options.target = target;
        (void)ask_start(&stage.asks[i], origin);
    }
}

static void large_heads(void)
{
    static char reply[30000];
    char *at = reply;
    unsigned i;

    at += sprintf(at, "HTTP/1.1 200 OK\r\n");
    for (i = 0; i < 300; i++)
        at += sprintf(at, "Field-%u: some value\r\n", i);
    (void)sprintf(at, "Content-Length: 5\r\n\r\nhello");
    stage.servers[0].reply.bytes = stage.servers[1].reply.bytes = reply;
    some_gets();
}

static void large_bodies(void)
{
    static char reply[40000];
    int head = sprintf(reply, "HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n");

    stage.servers[0].reply.bytes = stage.servers[1].reply.bytes = reply;
    stage.servers[0].reply.size = stage.servers[1].reply.size = (size_t)head + 30000;
    stage.servers[0].listener->options.chunking = HWS_SIM_RANDOM;
    some_gets();
    streams();
}

static void updates(void)
{
    hws_peer_options_t peers[] = {
        {.url = HWS_SLICE("http://10.0.0.1:2")},
        {.url = HWS_SLICE("http://10.0.0.1:3"), .locality = HWS_SLICE("x")}};
    hws_upstream_options_t options;

    some_gets();
    hws_upstream_settings(upstream, &options);
    options.peers = peers;
    options.peer_count = 2;
    if (hws_upstream_update(upstream, &options, NULL) != HWS_OK)
        assert_int_equal(hws_upstream_peer_count(upstream), 2);
}

/* ---- HTTP/2 ---- */

static void prepare_h2(void)
{
    hws_upstream_options_t options = world_options(&stage.world);

    h2_far_init(&far, &stage.world, 11);
    far.listener->options.latency_max = HWS_MS(2);
    options.limits.per_peer = 2;
    options.limits.streams = 5;
    options.limits.buffer = 8192;
    upstream = world_h2c(&stage.world, "a", &options, 11, 1);
}

static void more_than_fit(void)
{
    far.reply.trailer[0] = far.reply.trailer[1] = "sum";
    some_gets();
    world_run_turns(&stage.world, HWS_S(1));
    some_gets_from(10, 8);
}

static void many_streams(void)
{
    far.reply.body = 30000;
    streams();
    world_run_turns(&stage.world, HWS_S(1));
    unread_streams_read_late();
}

static void many_uploads(void)
{
    unsigned i;

    far.window = 3000;
    uploads();
    for (i = 10; i < 13; i++) {
        ask_init(&stage.asks[i]);
        stage.asks[i].options.duplex = stage.asks[i].options.stream = true;
        stage.asks[i].produces = 10000;
        (void)ask_start(&stage.asks[i], upstream);
    }
    world_run_turns(&stage.world, HWS_S(1));
}

/* A stream is refused, a burst is cut by a GOAWAY, and a connection is lost with all on it. */
static h2_reply_t be_difficult(h2_far_t *server, h2_far_stream_t *stream)
{
    if (server->heads == 2)
        return (h2_reply_t){.is_silent = true, .has_reset = true, .reset = NGHTTP2_REFUSED_STREAM};
    if (server->heads == 7)
        h2_far_go_away(stream->visit, stream->id - 2, NGHTTP2_NO_ERROR);
    if (server->heads == 12)
        hws_sim_close(stream->visit->conn, HWS_SIM_RESET);
    return server->reply;
}

static void difficulties(void)
{
    far.choose = be_difficult;
    some_gets();
    world_run_turns(&stage.world, HWS_S(1));
    some_gets_from(10, 8);
}

/* ---- leases ---- */

static void setup(hws_lease_t *lease, void *user)
{
    (void)user;
    hws_lease_setup_done(lease, true, NULL);
}

static void prepare_raw(void)
{
    hws_upstream_options_t options = world_options(&stage.world);

    options.limits.per_peer = 2;
    options.limits.buffer = 4096;
    options.setup = setup;
    stage.servers[0].listener->options.chunking = HWS_SIM_RANDOM;
    stage.servers[0].listener->options.latency_max = HWS_MS(2);
    upstream = world_raw(&stage.world, "a", &options, 1);
}

static void read_greeting(hws_lease_t *lease, void *user)
{
    const hws_read_t want = {.mode = HWS_READ_LINE, .size = 100};
    hws_slice_t line;
    int rc = hws_lease_read(lease, &want, &line);

    (void)user;
    if (rc == HWS_AGAIN)
        return;
    assert_true(rc != HWS_OK || line.size == 5);
    hws_lease_setup_done(lease, rc == HWS_OK, "no greeting");
}

static void setup_that_talks(hws_lease_t *lease, void *user)
{
    static const hws_lease_options_t options = {.on_readable = read_greeting};
    size_t taken;

    hws_lease_set_callbacks(lease, &options);
    if (hws_lease_write(lease, "hello\n", 6, &taken) == HWS_OK)
        read_greeting(lease, user);
    else
        hws_lease_setup_done(lease, false, "no greeting");
}

static void prepare_setup(void)
{
    hws_upstream_options_t options;

    prepare_raw();
    hws_upstream_settings(upstream, &options);
    options.setup = setup_that_talks;
    options.timeouts.connect = HWS_S(1);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
}

static void talk(hold_t *hold, void *user)
{
    static char words[3000];
    size_t taken;

    (void)user;
    if (hold->lease == NULL)
        return;
    if (hold->code != HWS_OK) {
        hold_close(hold);
        return;
    }
    if (hold->readable == 0) {
        memset(words, 'x', sizeof(words) - 1);
        words[sizeof(words) - 1] = '\n';
        (void)hws_lease_write(hold->lease, words, sizeof(words), &taken);
        if (hold_read(hold, HWS_READ_LINE, sizeof(words)) == HWS_AGAIN)
            return;
    } else if (hold_read(hold, HWS_READ_LINE, sizeof(words)) == HWS_AGAIN) {
        return;
    }
    assert_true(hold->read == HWS_OK ? hold->size == sizeof(words) - 1 : is_fair(hold->read));
    hold_release(hold);
}

static void leases(void)
{
    unsigned i;

    for (i = 0; i < 5; i++) {
        hold_init(&stage.holds[i]);
        stage.holds[i].then = talk;
        (void)hold_start(&stage.holds[i], upstream);
    }
}

/* Ends in the turn in which it wrote: what was gathered is sent as the connection goes, and the peer
 * does not take all of it. */
static void write_and_end(hold_t *hold, void *user)
{
    static const char words[3000];
    size_t taken;

    (void)user;
    if (hold->lease != NULL && hold->code == HWS_OK)
        (void)hws_lease_write(hold->lease, words, sizeof(words), &taken);
    hold_close(hold);
}

static void last_words(void)
{
    unsigned i;

    for (i = 0; i < 3; i++) {
        stage.servers[i].listener->options.window = 100;
        hold_init(&stage.holds[i]);
        stage.holds[i].then = write_and_end;
        (void)hold_start(&stage.holds[i], upstream);
    }
    for (i = 0; i < 20; i++)
        (void)world_turn(&stage.world, true); /* only within a turn is anything gathered */
}

/* Connects to a peer of an upstream and to one of none, and asks what was measured meanwhile. */
static void operations(void)
{
    static const hws_slice_t names[] = {{"a/10.0.0.1:2", 12}, {"http://10.0.0.1:3", 17}};
    hws_retry_options_t retry = {.is_disabled = true};
    hws_metrics_snapshot_t snapshot;
    unsigned i;

    for (i = 0; i < 2; i++) {
        hold_t *hold = &stage.holds[i];

        hold_init(hold);
        hold->options.connect_only = true;
        hold->options.retry = &retry;
        if (hws_manager_find_peer(stage.world.manager, names[i], &hold->options.peer, NULL) ==
            HWS_OK)
            (void)hold_start(hold, hws_peer_upstream(hold->options.peer));
        else
            hold->code = HWS_ERR_NOMEM;
    }
    some_gets();
    world_run(&stage.world, HWS_MS(20));
    hws_manager_metrics(stage.world.manager, &snapshot);
    hws_upstream_metrics(upstream, &snapshot);
    if (hws_manager_find_peer(stage.world.manager, names[0], &stage.holds[0].options.peer, NULL) ==
        HWS_OK)
        hws_peer_disconnect(stage.holds[0].options.peer);
}

#define EACH_ALLOCATION(name, prepare, scenario, is_raw)                                           \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        fail_each_allocation(prepare, scenario, is_raw);                                           \
    }

EACH_ALLOCATION(requests_survive_any_failing_allocation, prepare_http, some_gets, false)
EACH_ALLOCATION(responses_in_pieces_survive_it, prepare_http, responses_in_pieces, false)
EACH_ALLOCATION(streams_survive_it, prepare_http, streams, false)
EACH_ALLOCATION(streams_that_are_read_late_survive_it, prepare_http, unread_streams_read_late,
                false)
EACH_ALLOCATION(uploads_survive_it, prepare_http, uploads, false)
EACH_ALLOCATION(replays_survive_it, prepare_http, replays, false)
EACH_ALLOCATION(retries_survive_it, prepare_retries, retries, false)
EACH_ALLOCATION(origins_survive_it, prepare_http, origins, false)
EACH_ALLOCATION(large_heads_survive_it, prepare_http, large_heads, false)
EACH_ALLOCATION(large_bodies_survive_it, prepare_http, large_bodies, false)
EACH_ALLOCATION(updates_survive_it, prepare_http, updates, false)
EACH_ALLOCATION(operations_survive_it, prepare_http, operations, false)
EACH_ALLOCATION(many_requests_on_a_connection_survive_it, prepare_h2, more_than_fit, false)
EACH_ALLOCATION(many_streams_on_a_connection_survive_it, prepare_h2, many_streams, false)
EACH_ALLOCATION(many_uploads_on_a_connection_survive_it, prepare_h2, many_uploads, false)
EACH_ALLOCATION(what_was_not_looked_at_survives_it, prepare_h2, difficulties, false)
EACH_ALLOCATION(leases_survive_it, prepare_raw, leases, true)
EACH_ALLOCATION(setups_survive_it, prepare_setup, leases, true)
EACH_ALLOCATION(last_words_survive_it, prepare_raw, last_words, true)

/* ---- what is made at the beginning ---- */

static int make_world(void)
{
    hws_peer_options_t peers[] = {{.url = HWS_SLICE("http://10.0.0.1:1")},
                                  {.url = HWS_SLICE("http://localhost:2")},
                                  {.url = HWS_SLICE("unix:/a/b")}};
    hws_manager_options_t manager_options;
    hws_upstream_options_t options;
    hws_manager_t *manager = NULL;
    hws_upstream_t *made;
    hws_loop_t *loop;
    hws_sim_t *sim;
    int rc;

    if ((rc = hws_sim_create(1, &sim)) != HWS_OK ||
        (rc = hws_loop_create_on(hws_sim_io(sim), &loop)) != HWS_OK)
        return rc;
    hws_manager_options_init(&manager_options);
    rc = hws_manager_create(loop, &manager_options, &manager, NULL);
    if (rc == HWS_OK) {
        hws_upstream_options_init(&options, manager);
        options.name = HWS_SLICE("a");
        options.protocol = HWS_PROTOCOL_HTTP1;
        options.peers = peers;
        options.peer_count = 3;
        rc = hws_upstream_create(manager, &options, &made, NULL);
    }
    hws_manager_destroy(manager);
    hws_loop_destroy(loop);
    return rc;
}

static void making_everything_survives_it(void **state)
{
    uint64_t n = 0;
    int rc;

    (void)state;
    do {
        hws_memory_fail_at(++n);
        rc = make_world();
        hws_memory_fail_at(0);
        assert_true(rc == HWS_OK || rc == HWS_ERR_NOMEM);
    } while (rc != HWS_OK);
    assert_in_range(n, 10, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(making_everything_survives_it, none),
        STAGE_TEST(requests_survive_any_failing_allocation, none),
        STAGE_TEST(responses_in_pieces_survive_it, none),
        STAGE_TEST(streams_survive_it, none),
        STAGE_TEST(streams_that_are_read_late_survive_it, none),
        STAGE_TEST(uploads_survive_it, none),
        STAGE_TEST(replays_survive_it, none),
        STAGE_TEST(retries_survive_it, none),
        STAGE_TEST(origins_survive_it, none),
        STAGE_TEST(large_heads_survive_it, none),
        STAGE_TEST(large_bodies_survive_it, none),
        STAGE_TEST(updates_survive_it, none),
        STAGE_TEST(operations_survive_it, none),
        STAGE_TEST(many_requests_on_a_connection_survive_it, none),
        STAGE_TEST(many_streams_on_a_connection_survive_it, none),
        STAGE_TEST(many_uploads_on_a_connection_survive_it, none),
        STAGE_TEST(what_was_not_looked_at_survives_it, none),
        STAGE_TEST(leases_survive_it, none),
        STAGE_TEST(last_words_survive_it, none),
        STAGE_TEST(setups_survive_it, none),
    };

    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
