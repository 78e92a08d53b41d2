/* TLS between a manager and a peer of the simulated world, in memory on both sides: cut, silent, slow
 * and in pieces wherever that can be. */
#include "base/memory.h"
#include "support/stage.h"
#include "support/tls_far.h"

#include <stdlib.h>
#include <string.h>

/* The peer: one connection at a time, whose sessions outlive it. */
static struct {
    tls_far_t *far;
    uint32_t visit; /* its number */
    hws_buffer_t in;
    hws_buffer_t out;
    hws_buffer_t plain; /* received and, over HTTP, not answered yet */
    unsigned heard;     /* arrivals of cipher text, on this connection */
    size_t sent;        /* bytes of cipher text, on this connection */
    size_t shaken_at;   /* how many of them made the handshake; 0 before its end */
    size_t speaks;      /* says nothing behind so many; NEVER_SILENT */
    bool is_raw;        /* echoes */
    bool is_unclosing;  /* FIN without close_notify */
    bool closes;        /* after the answer */
} peer;

#define NEVER_SILENT SIZE_MAX

static hws_upstream_t *upstream;

/* Which allocation fails, not counting those of the peer. */
static struct {
    uint64_t at; /* 0: none */
    uint64_t count;
} failure;

static void suspend_failure(void)
{
    if (failure.at == 0)
        return;
    failure.count += hws_memory_count();
    hws_memory_fail_at(0);
}

static void resume_failure(void)
{
    if (failure.at > failure.count)
        hws_memory_fail_at(failure.at - failure.count);
}

/* ---- the peer ---- */

static void say_cipher(visit_t *visit)
{
    size_t size = hws_buffer_size(&peer.out);

    if (size > 0 && peer.sent < peer.speaks)
        (void)hws_sim_send(visit->conn, hws_buffer_bytes(&peer.out), size);
    peer.sent += size;
    hws_buffer_clear(&peer.out);
}

static void answer_plain(void)
{
    const char *reply = peer.closes ? "HTTP/1.1 200 OK\r\n\r\nhello" : REPLY_OK;
    size_t size = hws_buffer_size(&peer.plain);

    if (size == 0)
        return;
    if (peer.is_raw) {
        tls_far_send(peer.far, hws_buffer_bytes(&peer.plain), size, &peer.out);
    } else if (memmem(hws_buffer_bytes(&peer.plain), size, "\r\n\r\n", 4) != NULL) {
        tls_far_send(peer.far, reply, strlen(reply), &peer.out);
        if (peer.closes && !peer.is_unclosing)
            tls_far_close(peer.far, &peer.out);
    } else {
        return;
    }
    hws_buffer_clear(&peer.plain);
}

static void on_cipher(visit_t *visit, const char *bytes, size_t size)
{
    size_t before = peer.sent;

    suspend_failure();
    if (visit->number != peer.visit) {
        peer.visit = visit->number;
        peer.sent = peer.shaken_at = peer.heard = 0;
        hws_buffer_clear(&peer.in);
        hws_buffer_clear(&peer.plain);
        tls_far_accept(peer.far);
    }
    peer.heard++;
    assert_int_equal(hws_buffer_append(&peer.in, bytes, size), HWS_OK);
    tls_far_turn(peer.far, &peer.in, &peer.out, &peer.plain);
    say_cipher(visit);
    if (peer.shaken_at == 0 && tls_far_is_ready(peer.far))
        peer.shaken_at = peer.sent;
    answer_plain();
    say_cipher(visit);
    if (peer.closes && peer.sent > before && peer.shaken_at > 0 && peer.sent > peer.shaken_at)
        hws_sim_close(visit->conn, HWS_SIM_FINISH);
    resume_failure();
}

/* ---- the stage ---- */

static hws_upstream_options_t options_of(const hws_tls_options_t *tls, bool is_raw)
{
    static hws_peer_options_t place;
    hws_upstream_options_t options = world_options(&stage.world);

    place = (hws_peer_options_t){.url = is_raw ? HWS_SLICE("tls://10.0.0.1:1")
                                               : HWS_SLICE("https://10.0.0.1:1")};
    options.peers = &place;
    options.peer_count = 1;
    options.limits.per_peer = 1;
    options.tls = tls;
    return options;
}

static void begin(bool is_raw, bool tickets)
{
    tls_far_options_t far = {.cert = "good", .tickets = tickets};
    hws_tls_options_t tls = {
        .ca = HWS_SLICE(TEST_CERTIFICATES "/root.pem"), .server_name = "localhost", .verify = true};
    hws_upstream_options_t options;

    if (peer.far != NULL)
        tls_far_destroy(peer.far);
    memset(&peer, 0, sizeof(peer));
    peer.far = tls_far_create(&far);
    peer.is_raw = is_raw;
    peer.speaks = NEVER_SILENT;
    stage_begin(1, 0, true);
    stage.servers[0].on_bytes = on_cipher;
    options = options_of(&tls, is_raw);
    options.limits.buffer = 5000;
    upstream = is_raw ? world_raw(&stage.world, "tls", &options, 1)
                      : world_http(&stage.world, "tls", &options, 1);
}

static hws_sim_options_t *way(void)
{
    return &stage.servers[0].listener->options;
}

static void finish(void)
{
    stage_finish();
    tls_far_destroy(peer.far);
    hws_buffer_dispose(&peer.in);
    hws_buffer_dispose(&peer.out);
    hws_buffer_dispose(&peer.plain);
    memset(&peer, 0, sizeof(peer));
}

static ask_t *ask_once(hws_time_t span)
{
    ask_t *ask = &stage.asks[0];

    ask_dispose(ask);
    ask_get(ask, upstream);
    world_run(&stage.world, span);
    return ask;
}

static void drop_connections(void)
{
    server_end_all(&stage.servers[0], HWS_SIM_CLOSE);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(world_stats(upstream).open, 0);
}

/* ---- tests ---- */

static void a_connection_is_shaken_used_again_and_resumed(void **state)
{
    (void)state;
    begin(false, true);
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    assert_int_equal(world_stats(upstream).created, 1);
    drop_connections();
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    assert_int_equal(world_stats(upstream).handshakes, 1);
    assert_int_equal(world_stats(upstream).resumed, 1);
    finish();
}

/* Of a resumed handshake the last word is ours. */
static void the_request_leaves_together_with_the_end_of_the_handshake(void **state)
{
    (void)state;
    begin(false, true);
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    drop_connections();
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    assert_int_equal(world_stats(upstream).resumed, 1);
    assert_int_equal(peer.heard, 2);
    finish();
}

static void whatever_pieces_it_comes_in_it_is_the_same(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++) {
        begin(false, true);
        way()->chunking = i < 2 ? HWS_SIM_BYTES : HWS_SIM_RANDOM;
        way()->gap = i % 2 * HWS_MS(1);
        way()->latency_max = HWS_MS(i);
        assert_true(ask_is_ok(ask_once(HWS_S(20))));
        drop_connections();
        assert_true(ask_is_ok(ask_once(HWS_S(20))));
        assert_int_equal(world_stats(upstream).resumed, 1);
        finish();
    }
}

/* Cuts what the server says on one connection after each number of bytes from `first` on, until the
 * answer comes through. */
static void cut_everywhere(bool is_resumed, hws_sim_close_t how, size_t step)
{
    size_t at;
    int code = HWS_ERR_EOF;

    begin(false, is_resumed);
    for (at = 1; code != HWS_OK; at += step) {
        const ask_t *ask;
        uint64_t shaken;

        way()->cut_after = 0;
        if (is_resumed)
            assert_true(ask_is_ok(ask_once(HWS_S(1))));
        drop_connections();
        shaken = world_stats(upstream).handshakes + world_stats(upstream).resumed;
        way()->cut_after = at;
        way()->cut_with = how;
        ask = ask_once(HWS_S(1));
        assert_int_equal(ask->done, 1);
        code = ask->code;
        if (code == HWS_OK)
            break;
        if (world_stats(upstream).handshakes + world_stats(upstream).resumed == shaken) {
            assert_int_equal(code, HWS_ERR_TLS_EOF);
            assert_int_equal(ask->error.phase, HWS_PHASE_TLS);
            assert_false(ask->error.sent);
        } else {
            assert_int_equal(hws_error_kind(code), HWS_KIND_RESET);
        }
        assert_int_equal(world_stats(upstream).open, 0);
        assert_int_equal(stage.world.open, 0);
        assert_true(at < 5000);
    }
    assert_true(at > peer.shaken_at);
    finish();
}

static void a_resumption_may_be_cut_at_any_byte(void **state)
{
    (void)state;
    cut_everywhere(true, HWS_SIM_RESET, 1);
    cut_everywhere(true, HWS_SIM_CLOSE, 7);
    cut_everywhere(true, HWS_SIM_FINISH, 11);
}

/* Most of its bytes are certificates, and each try costs milliseconds. */
static void a_handshake_may_be_cut_anywhere(void **state)
{
    (void)state;
    cut_everywhere(false, HWS_SIM_RESET, 3);
    cut_everywhere(false, HWS_SIM_CLOSE, 17);
    cut_everywhere(false, HWS_SIM_FINISH, 29);
}

static void silence_ends_with_the_timeout_of_its_phase(void **state)
{
    static const size_t places[] = {0, 1}; /* before and after the server's first flight */
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        hws_time_t before;
        const ask_t *ask;

        begin(false, false);
        peer.speaks = places[i];
        before = world_now(&stage.world);
        ask = ask_once(HWS_S(10));
        assert_int_equal(ask->code, HWS_ERR_TIMEOUT);
        assert_int_equal(ask->error.phase, HWS_PHASE_TLS);
        assert_false(ask->error.sent);
        assert_int_equal(ask->at, before + HWS_S(5));
        assert_int_equal(stage.world.open, 0);
        finish();
    }
}

static void an_end_without_close_notify_is_told(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        const ask_t *ask;

        begin(false, false);
        peer.closes = true;
        peer.is_unclosing = i == 1;
        ask = ask_once(HWS_S(1));
        assert_int_equal(ask->code, i == 0 ? HWS_OK : HWS_ERR_TRUNCATED);
        finish();
    }
}

/* ---- back-pressure ---- */

#define MUCH 300000

static char *much(void)
{
    char *bytes = malloc(MUCH);
    size_t i;

    for (i = 0; i < MUCH; i++)
        bytes[i] = (char)('a' + i % 23 + i / 1000 % 3);
    return bytes;
}

/* Writes what it can of `bytes` from `*written` on. */
static void write_on(const char *bytes, size_t *written)
{
    int rc = HWS_OK;

    while (rc == HWS_OK && *written < MUCH) {
        size_t taken = 0;

        rc = hws_lease_write(stage.holds[0].lease, bytes + *written, MUCH - *written, &taken);
        *written += taken;
    }
    assert_true(rc == HWS_OK || rc == HWS_AGAIN);
}

static void a_slow_peer_slows_the_writer_and_a_slow_reader_the_peer(void **state)
{
    hws_read_t some = {.mode = HWS_READ_SOME, .size = 5000};
    hold_t *hold = &stage.holds[0];
    char *bytes = much();
    size_t written = 0;
    size_t got = 0;
    unsigned i;

    (void)state;
    begin(true, false);
    way()->window = 9000;
    hold_acquire(hold, upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(hold->code, HWS_OK);

    hws_sim_pause(server_latest(&stage.servers[0])->conn, true);
    for (i = 0; i < 10; i++) {
        write_on(bytes, &written);
        world_run(&stage.world, HWS_MS(100));
    }
    /* The window, the buffer, and what was encrypted at once. */
    assert_in_range(written, 5000, 9000 + 2 * 65536);

    hws_sim_pause(server_latest(&stage.servers[0])->conn, false);
    for (i = 0; i < 2000 && got < MUCH; i++) {
        hws_slice_t piece;

        write_on(bytes, &written);
        world_run(&stage.world, HWS_MS(1));
        if (i % 3 != 0)
            continue;
        while (got < MUCH && hws_lease_read(hold->lease, &some, &piece) == HWS_OK) {
            assert_memory_equal(piece.data, bytes + got, piece.size);
            got += piece.size;
        }
    }
    assert_int_equal(got, MUCH);
    hold_release(hold);
    assert_int_equal(world_stats(upstream).idle, 1);
    finish();
    free(bytes);
}

/* It takes a window of bytes a second, and is not silent for that. */
static void a_peer_that_takes_some_now_and_then_is_not_cut_off(void **state)
{
    hold_t *hold = &stage.holds[0];
    char *bytes = much();
    hws_sim_conn_t *conn;
    size_t written = 0;
    unsigned i;

    (void)state;
    begin(true, false);
    way()->window = 1000;
    way()->latency_min = way()->latency_max = HWS_MS(1);
    hold_acquire(hold, upstream);
    world_run(&stage.world, HWS_S(1));
    assert_int_equal(hold->code, HWS_OK);

    hws_lease_set_timeout(hold->lease, HWS_S(2));
    conn = server_latest(&stage.servers[0])->conn;
    hws_sim_pause(conn, true);
    for (i = 0; i < 2; i++) { /* what is encrypted at once, and what waits behind it */
        write_on(bytes, &written);
        world_run(&stage.world, HWS_MS(1));
    }
    for (i = 0; i < 10; i++) {
        hws_sim_pause(conn, false);
        world_run(&stage.world, 0);
        hws_sim_pause(conn, true);
        world_run(&stage.world, HWS_S(1));
    }
    write_on(bytes, &written); /* as it may */
    hold_close(hold);
    finish();
    free(bytes);
}

/* ---- changes ---- */

/* Changes the options to such as the peer does not satisfy. */
static void distrust(void)
{
    hws_tls_options_t strict = {.ca = HWS_SLICE(TEST_CERTIFICATES "/stranger.pem"),
                                .server_name = "localhost",
                                .verify = true};
    hws_upstream_options_t options;

    hws_upstream_settings(upstream, &options);
    options.tls = &strict;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
}

static void what_was_made_under_other_options_serves_no_more(void **state)
{
    hws_upstream_options_t options;
    const ask_t *ask;

    (void)state;
    begin(false, true);
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    hws_upstream_settings(upstream, &options);
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
    assert_true(ask_is_ok(ask_once(HWS_S(1)))); /* nothing of it has changed */
    assert_int_equal(world_stats(upstream).created, 1);

    distrust();
    ask = ask_once(HWS_S(1));
    assert_int_equal(ask->code, HWS_ERR_CERT_UNTRUSTED);
    assert_int_equal(world_stats(upstream).open, 0);
    finish();
}

static void what_is_being_shaken_under_other_options_serves_once(void **state)
{
    (void)state;
    begin(false, false);
    way()->latency_min = way()->latency_max = HWS_MS(5);
    ask_get(&stage.asks[1], upstream);
    world_run(&stage.world, HWS_MS(8)); /* our hello has come, the answer is on its way */
    assert_int_equal(world_stats(upstream).dialing, 1);
    distrust();
    world_run(&stage.world, HWS_S(1));
    assert_true(ask_is_ok(&stage.asks[1]));
    assert_int_equal(world_stats(upstream).open, 0);
    assert_int_equal(ask_once(HWS_S(1))->code, HWS_ERR_CERT_UNTRUSTED);
    finish();
}

/* ---- interruptions ---- */

typedef void interruption_t(void);

static void cancel(void)
{
    ask_cancel(&stage.asks[0]);
}

static void dispose(void)
{
    ask_dispose(&stage.asks[0]);
}

static void close_upstream(void)
{
    hws_upstream_close(upstream);
}

static void close_manager(void)
{
    hws_manager_close(stage.world.manager);
}

static void reset_all(void)
{
    server_end_all(&stage.servers[0], HWS_SIM_RESET);
}

static void renew_options(void)
{
    hws_tls_options_t other = {.server_name = "localhost"};
    hws_upstream_options_t options;

    hws_upstream_settings(upstream, &options);
    options.tls = &other;
    assert_int_equal(hws_upstream_update(upstream, &options, NULL), HWS_OK);
}

static void it_may_be_interrupted_at_any_turn(void **state)
{
    static interruption_t *const all[] = {cancel,        dispose,   close_upstream,
                                          close_manager, reset_all, renew_options};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        unsigned turn = 0;
        bool is_over = false;

        while (!is_over) {
            unsigned k;

            begin(false, true);
            way()->latency_max = HWS_MS(3);
            way()->chunking = HWS_SIM_RANDOM;
            ask_get(&stage.asks[0], upstream);
            for (k = 0; k < turn; k++)
                if (world_turn(&stage.world, true) != HWS_OK || stage.asks[0].done > 0)
                    break;
            is_over = k < turn;
            all[i]();
            world_run(&stage.world, HWS_S(40));
            assert_true(stage.asks[0].done == 1 || stage.asks[0].request == NULL);
            finish();
            turn++;
        }
        assert_in_range(turn, 4, 3000);
    }
}

/* ---- out of memory ---- */

static bool is_fair(int code)
{
    return code == HWS_OK || code == HWS_ERR_NOMEM || code == HWS_ERR_TLS_EOF ||
           hws_error_kind(code) == HWS_KIND_RESET || code == HWS_ERR_TIMEOUT;
}

/* A full handshake or a resumed one, a request, and the end; then all goes well. */
static bool ask_with_failure(uint64_t n, bool is_resumed)
{
    uint64_t count;

    begin(false, true);
    way()->chunking = HWS_SIM_RANDOM;
    if (is_resumed) {
        assert_true(ask_is_ok(ask_once(HWS_S(1))));
        drop_connections();
        ask_dispose(&stage.asks[0]);
    }
    failure.at = n;
    failure.count = 0;
    resume_failure();
    ask_init(&stage.asks[0]);
    (void)ask_start(&stage.asks[0], upstream);
    world_run(&stage.world, HWS_S(40));
    suspend_failure();
    count = failure.count;
    failure.at = 0;
    assert_true(is_fair(stage.asks[0].code));
    assert_true(ask_is_ok(ask_once(HWS_S(1))));
    finish();
    return count >= n;
}

static void a_request_survives_any_failing_allocation(void **state)
{
    int is_resumed;

    (void)state;
    for (is_resumed = 0; is_resumed < 2; is_resumed++) {
        uint64_t n = 1;

        while (ask_with_failure(n, is_resumed == 1))
            n++;
        assert_in_range(n, 10, 1000);
    }
}

static int clear(void **state)
{
    hws_memory_fail_at(0);
    failure.at = 0;
    if (peer.far != NULL)
        finish();
    return stage_clear(state);
}

#define TLS_TEST(test) cmocka_unit_test_setup_teardown(test, stage_none, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(a_connection_is_shaken_used_again_and_resumed),
        TLS_TEST(the_request_leaves_together_with_the_end_of_the_handshake),
        TLS_TEST(whatever_pieces_it_comes_in_it_is_the_same),
        TLS_TEST(a_resumption_may_be_cut_at_any_byte),
        TLS_TEST(a_handshake_may_be_cut_anywhere),
        TLS_TEST(silence_ends_with_the_timeout_of_its_phase),
        TLS_TEST(an_end_without_close_notify_is_told),
        TLS_TEST(a_slow_peer_slows_the_writer_and_a_slow_reader_the_peer),
        TLS_TEST(a_peer_that_takes_some_now_and_then_is_not_cut_off),
        TLS_TEST(what_was_made_under_other_options_serves_no_more),
        TLS_TEST(what_is_being_shaken_under_other_options_serves_once),
        TLS_TEST(it_may_be_interrupted_at_any_turn),
        TLS_TEST(a_request_survives_any_failing_allocation),
    };

    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
