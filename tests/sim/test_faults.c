/* Bad input and faults: each gives a clear error of the right kind, and harms nobody else. */
#include "support/stage.h"

#include <stdlib.h>
#include <string.h>

/* A server that says this to a fresh request. */
typedef struct {
    const char *bytes;
    size_t size; /* 0: strlen */
    ending_t then;
    int code;
    hws_phase_t phase;
} fault_t;

static const fault_t faults[] = {
    {NULL, 0, RESETS, HWS_ERR_RESET, HWS_PHASE_HEADERS},
    {NULL, 0, CLOSES, HWS_ERR_EOF, HWS_PHASE_HEADERS},
    {NULL, 0, FINISHES, HWS_ERR_EOF, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 O", 0, FINISHES, HWS_ERR_EOF, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 O", 0, RESETS, HWS_ERR_RESET, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", 0, FINISHES, HWS_ERR_EOF, HWS_PHASE_BODY},
    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", 0, RESETS, HWS_ERR_RESET, HWS_PHASE_BODY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 0, FINISHES, HWS_ERR_EOF,
     HWS_PHASE_BODY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 0, FINISHES, HWS_ERR_EOF,
     HWS_PHASE_BODY},
    {"HTTP/1.1 200 OK\r\n\r\nuntil the", 0, RESETS, HWS_ERR_RESET, HWS_PHASE_BODY},
    {"HTTP/1.1 100 Continue\r\n\r\n", 0, FINISHES, HWS_ERR_EOF, HWS_PHASE_HEADERS},
    {"220 smtp.example.org ESMTP\r\n", 0, STAYS, HWS_ERR_STATUS_LINE, HWS_PHASE_HEADERS},
    {"\r\n\r\n", 0, STAYS, HWS_ERR_STATUS_LINE, HWS_PHASE_HEADERS},
    {"\0\0\0\0", 4, STAYS, HWS_ERR_STATUS_LINE, HWS_PHASE_HEADERS},
    {"HTTP/2.0 200 OK\r\n\r\n", 0, STAYS, HWS_ERR_VERSION, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nbad field\r\n\r\n", 0, STAYS, HWS_ERR_FIELD, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", 0, STAYS, HWS_ERR_FOLD, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, STAYS, HWS_ERR_LENGTH, HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 0, STAYS, HWS_ERR_LENGTH,
     HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 0, STAYS, HWS_ERR_LENGTH,
     HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0, STAYS, HWS_ERR_CODING,
     HWS_PHASE_HEADERS},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n", 0, STAYS, HWS_ERR_CHUNK,
     HWS_PHASE_BODY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 0, STAYS, HWS_ERR_CHUNK,
     HWS_PHASE_BODY},
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 0, STAYS, HWS_ERR_UPGRADE,
     HWS_PHASE_HEADERS},
};

static void check_fault(const fault_t *fault, hws_sim_chunking_t chunking)
{
    hws_upstream_t *upstream;
    ask_t *ask = &stage.asks[0];

    stage_begin(1, 0, false);
    upstream = world_http(&stage.world, "a", NULL, 1);
    stage.servers[0].listener->options.chunking = chunking;
    stage.servers[0].listener->options.latency_min = HWS_MS(1);
    stage.servers[0].listener->options.latency_max = HWS_MS(1);
    stage.servers[0].reply =
        (reply_t){.bytes = fault->bytes, .size = fault->size, .then = fault->then};
    stage_get(upstream, 0, 1);
    world_run(&stage.world, HWS_S(1));
    if (ask->code != fault->code || ask->error.phase != fault->phase)
        print_error("%s: %s, %s\n", fault->bytes != NULL ? fault->bytes : "(nothing)",
                    hws_error_name(ask->code), hws_phase_name(ask->error.phase));
    assert_int_equal(ask->code, fault->code);
    assert_int_equal(ask->error.phase, fault->phase);
    assert_true(ask->error.sent);
    assert_string_equal(ask->error.peer, "10.0.0.1:1");
    assert_int_equal(stage.world.open, 0);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
    /* Somebody else is served. */
    stage.servers[0].reply = (reply_t){.bytes = REPLY_OK};
    stage_get(upstream, 1, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage_ok(1, 1), 1);
    stage_finish();
}

static void each_fault_of_a_peer_has_its_error(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        check_fault(&faults[i], HWS_SIM_WHOLE);
        check_fault(&faults[i], HWS_SIM_BYTES);
    }
}

/* `unit`, many times, after `head`. */
static char *long_reply(const char *head, const char *unit, size_t times)
{
    char *reply = malloc(strlen(head) + strlen(unit) * times + 1);
    char *at = reply + strlen(head);
    size_t i;

    memcpy(reply, head, strlen(head) + 1);
    for (i = 0; i < times; i++, at += strlen(unit))
        memcpy(at, unit, strlen(unit) + 1);
    return reply;
}

static void what_has_no_end_is_refused_at_its_bound(void **state)
{
    static const struct {
        const char *head;
        const char *unit;
        size_t times;
        int code;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n", "A: 0123456789\r\n", 10000, HWS_ERR_HEAD_FIELDS},
        {"HTTP/1.1 200 OK\r\nA: ", "0123456789", 10000, HWS_ERR_HEAD_SIZE},
        {"HTTP/1.1 200 OK\r\n", "A: 01234567890123456789012345678901234567890123456789\r\n", 10000,
         HWS_ERR_HEAD_SIZE},
        {"HTTP/1.1 200 ", "0123456789", 10000, HWS_ERR_HEAD_SIZE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", "0123456789", 1000,
         HWS_ERR_CHUNK_SIZE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
         "A: 01234567890123456789012345678901234567890123456789\r\n", 10000, HWS_ERR_HEAD_SIZE},
        {"", "HTTP/1.1 100 Continue\r\n\r\n", 100, HWS_ERR_INFORMATIONAL},
        {"HTTP/1.1 200 OK\r\n\r\n", "0123456789", 200000, HWS_ERR_BODY_SIZE},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "a\r\n0123456789\r\n", 200000,
         HWS_ERR_BODY_SIZE},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_upstream_options_t options;
        char *reply = long_reply(cases[i].head, cases[i].unit, cases[i].times);

        stage_begin(1, 0, false);
        options = world_options(&stage.world);
        options.limits.body = 1000000;
        stage.servers[0].reply.bytes = reply;
        stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
        world_run(&stage.world, HWS_S(1));
        if (stage.asks[0].code != cases[i].code)
            print_error("case %zu: %s\n", i, hws_error_name(stage.asks[0].code));
        assert_int_equal(stage.asks[0].code, cases[i].code);
        assert_false(stage.asks[0].error.retryable);
        assert_int_equal(stage.world.open, 0);
        stage_finish();
        free(reply);
    }
}

static void failed_dials_have_errors_of_their_own(void **state)
{
    static const int codes[] = {
        HWS_ERR_REFUSED,  HWS_ERR_UNREACHABLE, HWS_ERR_NET_UNREACHABLE, HWS_ERR_DIAL_TIMED_OUT,
        HWS_ERR_NO_PORTS, HWS_ERR_ACCESS,      HWS_ERR_SYSTEM};
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        ask_t *ask = &stage.asks[i];

        if (i % 2 == 0)
            stage.servers[0].listener->options.answer = codes[i];
        else
            hws_sim_fail_connects(stage.world.sim, 1, codes[i]);
        stage_get(upstream, i, 1);
        assert_int_equal(ask->done, 0);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(ask->code, codes[i]);
        assert_int_equal(ask->error.phase, HWS_PHASE_CONNECT);
        assert_int_equal(ask->error.attempts, 1);
        assert_false(ask->error.sent);
        assert_true(ask->error.retryable);
        assert_int_equal(world_stats(upstream).dialing, 0);
        stage.servers[0].listener->options.answer = HWS_OK;
    }
    assert_int_equal(world_stats(upstream).created, 0);
}

static void localhost_is_tried_at_both_its_addresses(void **state)
{
    hws_peer_options_t peer = {.url = HWS_SLICE("http://localhost:7")};
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.peers = &peer;
    options.peer_count = 1;
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_REFUSED);
    assert_int_equal(stage.world.connects, 2);
    assert_int_equal(stage.asks[0].error.attempts, 1);
    assert_int_equal(world_peak_at(&stage.world, 7), 1);
}

static const hws_sim_script_t nothing = {NULL, NULL, NULL, NULL};

/* A raw upstream of localhost, port 7. */
static hws_upstream_t *localhost(void)
{
    hws_peer_options_t peer = {.url = HWS_SLICE("tcp://localhost:7")};
    hws_upstream_options_t options = world_options(&stage.world);

    options.peers = &peer;
    options.peer_count = 1;
    return world_raw(&stage.world, "localhost", &options, 1);
}

static void localhost_may_listen_at_either_address(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        hws_sim_listener_t *listener;

        stage_begin(1, 0, true);
        assert_int_equal(hws_sim_listen(stage.world.sim, hosts[i], 7, &nothing, NULL, &listener),
                         HWS_OK);
        hold_acquire(&stage.holds[0], localhost());
        world_run(&stage.world, HWS_MS(1));
        assert_int_equal(stage.holds[0].code, HWS_OK);
        assert_int_equal(stage.world.connects, i + 1);
        assert_int_equal(stage.world.open, 1);
        stage_finish();
    }
}

/* Only the first dial pays for an address that swallows everything; the manager's caps see one. */
static void a_peer_remembers_which_of_its_addresses_answered(void **state)
{
    hws_upstream_t *upstream = localhost();
    hws_sim_listener_t *silent, *answers;

    (void)state;
    assert_int_equal(hws_sim_listen(stage.world.sim, "127.0.0.1", 7, &nothing, NULL, &silent),
                     HWS_OK);
    assert_int_equal(hws_sim_listen(stage.world.sim, "::1", 7, &nothing, NULL, &answers), HWS_OK);
    answers->options.connect_min = answers->options.connect_max = HWS_MS(10);
    hws_sim_silence(silent, true);
    hold_acquire(&stage.holds[0], upstream);
    world_run(&stage.world, HWS_MS(255));
    assert_int_equal(stage.world.open, 2);
    assert_int_equal(stage.world.manager->connections, 1);
    world_run(&stage.world, HWS_MS(5));
    assert_int_equal(stage.holds[0].code, HWS_OK);
    assert_int_equal(stage.world.open, 1);
    hold_acquire(&stage.holds[1], upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(stage.holds[1].code, HWS_OK);
    assert_int_equal(stage.world.connects, 3);
    assert_int_equal(answers->accepted, 2);
}

static void a_missing_socket_path_says_so(void **state)
{
    hws_peer_options_t peer = {.url = HWS_SLICE("unix:/no/where")};
    hws_upstream_options_t options = world_options(&stage.world);

    (void)state;
    options.peers = &peer;
    options.peer_count = 1;
    options.protocol = HWS_PROTOCOL_HTTP1;
    stage_get(world_http(&stage.world, "a", &options, 1), 0, 1);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(stage.asks[0].code, HWS_ERR_NO_SUCH_PATH);
    assert_string_equal(stage.asks[0].error.peer, "%2Fno%2Fwhere");
}

static void a_restarted_server_costs_no_get(void **state)
{
    hws_upstream_t *upstream = world_http(&stage.world, "a", NULL, 1);
    unsigned round;

    (void)state;
    stage.servers[0].reply.after = HWS_MS(1);
    for (round = 0; round < 5; round++) {
        stage_get(upstream, round * 20, 20);
        world_run(&stage.world, HWS_MS(100));
        server_end_all(&stage.servers[0], round % 2 ? HWS_SIM_RESET : HWS_SIM_CLOSE);
        if (round == 2)
            hws_sim_stall(stage.world.sim, HWS_MS(100));
    }
    assert_int_equal(stage_ok(0, 100), 100);
}

static void the_line_of_an_error_says_it_all(void **state)
{
    char line[300];

    (void)state;
    stage.servers[0].reply = (reply_t){.then = RESETS};
    stage_get(world_http(&stage.world, "a", NULL, 1), 0, 1);
    world_run(&stage.world, HWS_S(1));
    hws_error_line(&stage.asks[0].error, line, sizeof(line));
    assert_non_null(strstr(line, "reset"));
    assert_non_null(strstr(line, "ECONNRESET"));
    assert_non_null(strstr(line, "headers"));
    assert_non_null(strstr(line, "10.0.0.1:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_TEST(each_fault_of_a_peer_has_its_error, none),
        STAGE_TEST(what_has_no_end_is_refused_at_its_bound, none),
        STAGE_TEST(failed_dials_have_errors_of_their_own, http),
        STAGE_TEST(localhost_is_tried_at_both_its_addresses, http),
        STAGE_TEST(localhost_may_listen_at_either_address, none),
        STAGE_TEST(a_peer_remembers_which_of_its_addresses_answered, raw),
        STAGE_TEST(a_missing_socket_path_says_so, http),
        STAGE_TEST(a_restarted_server_costs_no_get, http),
        STAGE_TEST(the_line_of_an_error_says_it_all, http),
    };

    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
