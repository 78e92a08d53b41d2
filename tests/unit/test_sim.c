/* What is particular to the simulated world; what all worlds promise is in test_io.c. */
#include "io/sim.h"

#include "base/memory.h"
#include "support/cmocka.h"
#include "support/witness.h"

#include <stdio.h>
#include <string.h>

/* A world with one listener, whose script notes what it sees and does as it is told. */
typedef struct {
    hws_sim_t *sim;
    hws_sim_listener_t *listener;
    hws_sim_conn_t *conn; /* the last one accepted */
    witness_t witness;
    char log[256];        /* of the peer: "accept bytes:5 end:EOF gone" */
    const char *greeting; /* sent to whom it accepts */
} fixture_t;

static void note(fixture_t *fixture, const char *text)
{
    size_t used = strlen(fixture->log);

    snprintf(fixture->log + used, sizeof(fixture->log) - used, "%s%s", used > 0 ? " " : "", text);
}

static void on_accept(hws_sim_conn_t *conn)
{
    fixture_t *fixture = conn->listener->user;

    note(fixture, "accept");
    fixture->conn = conn;
    if (fixture->greeting != NULL)
        assert_int_equal(hws_sim_send(conn, fixture->greeting, strlen(fixture->greeting)), HWS_OK);
}

static void on_bytes(hws_sim_conn_t *conn, const char *bytes, size_t size)
{
    char word[32];

    assert_non_null(bytes);
    snprintf(word, sizeof(word), "bytes:%zu", size);
    note(conn->listener->user, word);
}

static void on_end(hws_sim_conn_t *conn, int status)
{
    note(conn->listener->user, status == HWS_ERR_EOF ? "end:EOF" : "end:RESET");
}

static void on_gone(hws_sim_conn_t *conn)
{
    fixture_t *fixture = conn->listener->user;

    note(fixture, "gone");
    fixture->conn = NULL;
}

static const hws_sim_script_t script = {on_accept, on_bytes, on_end, on_gone};

static int begin(void **state)
{
    static fixture_t fixture;

    memset(&fixture, 0, sizeof(fixture));
    assert_int_equal(hws_sim_create(7, &fixture.sim), HWS_OK);
    assert_int_equal(
        hws_sim_listen(fixture.sim, "10.0.0.1", 80, &script, &fixture, &fixture.listener), HWS_OK);
    witness_init(&fixture.witness, hws_sim_io(fixture.sim));
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    fixture_t *fixture = *state;

    witness_dispose(&fixture->witness);
    return 0;
}

static hws_sim_options_t *options(fixture_t *fixture)
{
    return &fixture->listener->options;
}

static void dial(fixture_t *fixture)
{
    assert_int_equal(witness_connect(&fixture->witness, &fixture->listener->address), HWS_OK);
}

static void meet(fixture_t *fixture)
{
    dial(fixture);
    hws_sim_run_until(fixture->sim, hws_sim_now(fixture->sim));
    assert_string_equal(fixture->witness.log, "connect:OK");
    witness_read(&fixture->witness, true);
}

static void run_for(fixture_t *fixture, hws_time_t span)
{
    hws_sim_run_until(fixture->sim, hws_sim_now(fixture->sim) + span);
}

static void send_to_peer(fixture_t *fixture, size_t size)
{
    static const char zeros[1000];
    size_t sent = 0;

    assert_int_equal(witness_send(&fixture->witness, zeros, size, &sent), HWS_OK);
    assert_int_equal(sent, size);
}

#define assert_came(fixture, text)                                                                 \
    do {                                                                                           \
        assert_int_equal(hws_buffer_size(&(fixture)->witness.bytes), strlen(text));                \
        assert_memory_equal(hws_buffer_bytes(&(fixture)->witness.bytes), text, strlen(text));      \
    } while (0)

/* Time -------------------------------------------------------------------------------------- */

static void a_thousand_seconds_pass_without_waiting(void **state)
{
    fixture_t *fixture = *state;

    witness_arm(&fixture->witness, HWS_S(1000));
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_NOWAIT), HWS_OK);
    assert_int_equal(hws_sim_now(fixture->sim), 0);
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_ONCE), HWS_OK);
    assert_int_equal(hws_sim_now(fixture->sim), HWS_S(1000));
    assert_string_equal(fixture->witness.log, "timer");
}

static void run_until_stops_the_clock_there(void **state)
{
    fixture_t *fixture = *state;

    witness_arm(&fixture->witness, HWS_MS(11));
    hws_sim_run_until(fixture->sim, HWS_MS(10));
    assert_int_equal(hws_sim_now(fixture->sim), HWS_MS(10));
    assert_string_equal(fixture->witness.log, "");
    assert_int_equal(fixture->witness.io->ops->timeout(fixture->witness.io), HWS_MS(1));
    hws_sim_run_until(fixture->sim, HWS_MS(11));
    assert_string_equal(fixture->witness.log, "timer");
}

typedef struct {
    fixture_t *fixture;
    const char *word;
} plan_t;

static void note_plan(void *user)
{
    plan_t *plan = user;

    note(plan->fixture, plan->word);
}

static void plans_of_the_same_moment_keep_their_order(void **state)
{
    fixture_t *fixture = *state;
    plan_t plans[] = {
        {fixture, "a"}, {fixture, "b"}, {fixture, "c"}, {fixture, "d"}, {fixture, "e"}};
    static const int at[] = {20, 20, 10, 20, 20};
    size_t i;

    for (i = 0; i < 5; i++)
        assert_int_equal(hws_sim_at(fixture->sim, HWS_MS(at[i]), note_plan, &plans[i]), HWS_OK);
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(fixture->log, "c");
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(fixture->log, "c a b d e");
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_ONCE), HWS_END);
}

static void note_bytes(void *user)
{
    fixture_t *fixture = user;

    note(fixture, fixture->witness.log);
}

/* What is sent behind it does not move an arrival to the end of its moment. */
static void an_arrival_keeps_its_place_within_its_moment(void **state)
{
    fixture_t *fixture = *state;

    options(fixture)->latency_min = options(fixture)->latency_max = HWS_MS(10);
    meet(fixture);
    assert_int_equal(hws_sim_send(fixture->conn, "a", 1), HWS_OK);
    assert_int_equal(hws_sim_at(fixture->sim, HWS_MS(10), note_bytes, fixture), HWS_OK);
    assert_int_equal(hws_sim_send(fixture->conn, "b", 1), HWS_OK);
    run_for(fixture, HWS_MS(10));
    assert_string_equal(fixture->log, "accept connect:OK bytes");
}

static void plan_again(void *user)
{
    plan_t *plan = user;

    note_plan(plan);
    assert_int_equal(hws_sim_at(plan->fixture->sim, 0, plan_again, plan), HWS_OK);
}

static void a_turn_ends_though_its_inputs_cause_more_at_once(void **state)
{
    fixture_t *fixture = *state;
    plan_t plan = {fixture, "a"};

    assert_int_equal(hws_sim_at(fixture->sim, 0, plan_again, &plan), HWS_OK);
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_NOWAIT), HWS_OK);
    assert_string_equal(fixture->log, "a");
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_NOWAIT), HWS_OK);
    assert_string_equal(fixture->log, "a a");
}

static void a_stall_passes_time_without_inputs(void **state)
{
    fixture_t *fixture = *state;
    hws_io_t *io = fixture->witness.io;

    meet(fixture);
    assert_int_equal(hws_sim_send(fixture->conn, "late", 4), HWS_OK);
    witness_arm(&fixture->witness, HWS_MS(5));
    hws_sim_stall(fixture->sim, HWS_MS(30));
    assert_int_equal(hws_sim_now(fixture->sim), HWS_MS(30));
    assert_int_equal(io->ops->polled_at(io), 0);
    assert_int_equal(io->ops->timeout(io), 0);
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_NOWAIT), HWS_OK);
    assert_string_equal(fixture->witness.log, "connect:OK bytes timer");
    assert_int_equal(fixture->witness.now, HWS_MS(30));
    assert_int_equal(io->ops->polled_at(io), HWS_MS(30));
}

/* Connecting -------------------------------------------------------------------------------- */

static void a_connect_takes_the_time_the_listener_says(void **state)
{
    fixture_t *fixture = *state;

    options(fixture)->connect_min = options(fixture)->connect_max = HWS_MS(30);
    dial(fixture);
    run_for(fixture, HWS_MS(30) - 1);
    assert_string_equal(fixture->witness.log, "");
    run_for(fixture, 1);
    assert_string_equal(fixture->witness.log, "connect:OK");
    assert_string_equal(fixture->log, "accept");
}

static void connects_and_listeners_meet_by_address(void **state)
{
    fixture_t *fixture = *state;
    hws_sim_listener_t *other;
    hws_address_t nobody;

    assert_int_equal(hws_sim_listen(fixture->sim, "10.0.0.1", 81, &script, fixture, &other),
                     HWS_OK);
    assert_int_equal(hws_sim_listen(fixture->sim, "::1", 80, &script, fixture, &other), HWS_OK);
    assert_int_equal(witness_connect(&fixture->witness, &other->address), HWS_OK);
    run_for(fixture, 0);
    assert_int_equal(other->accepted, 1);
    assert_int_equal(fixture->listener->accepted, 0);
    witness_close(&fixture->witness, false);

    assert_int_equal(hws_address_from_ip(HWS_SLICE("10.0.0.2"), 80, &nobody), HWS_OK);
    assert_int_equal(witness_connect(&fixture->witness, &nobody), HWS_OK);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:OK connect:ECONNREFUSED");
}

static void an_address_that_is_none_cannot_be_listened_on(void **state)
{
    fixture_t *fixture = *state;
    hws_sim_listener_t *listener;

    assert_int_equal(hws_sim_listen(fixture->sim, "a.example", 80, &script, NULL, &listener),
                     HWS_ERR_INVALID);
}

static void a_connect_gets_the_answer_that_is_set(void **state)
{
    fixture_t *fixture = *state;

    options(fixture)->answer = HWS_ERR_UNREACHABLE;
    dial(fixture);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:EHOSTUNREACH");
    assert_string_equal(fixture->log, "");
    assert_int_equal(fixture->listener->accepted, 0);
}

static void connects_beyond_the_slots_are_refused_until_one_is_free(void **state)
{
    fixture_t *fixture = *state;
    witness_t *witness = &fixture->witness;
    hws_socket_t *first;

    options(fixture)->slots = 1;
    meet(fixture);
    first = witness->socket;
    witness->socket = NULL;
    dial(fixture);
    run_for(fixture, 0);
    assert_string_equal(witness->log, "connect:OK connect:ECONNREFUSED");
    witness_close(witness, false);
    first->ops->close(first, false);
    run_for(fixture, 0);
    assert_int_equal(fixture->listener->open, 0);
    dial(fixture);
    run_for(fixture, 0);
    assert_string_equal(witness->log, "connect:OK connect:ECONNREFUSED connect:OK");
}

static void connects_fail_as_often_as_they_are_told_to(void **state)
{
    fixture_t *fixture = *state;
    const hws_address_t *address = &fixture->listener->address;

    hws_sim_fail_connects(fixture->sim, 2, HWS_ERR_NO_PORTS);
    assert_int_equal(witness_connect(&fixture->witness, address), HWS_ERR_NO_PORTS);
    assert_int_equal(witness_connect(&fixture->witness, address), HWS_ERR_NO_PORTS);
    assert_int_equal(hws_sim_open_sockets(fixture->sim), 0);
    meet(fixture);
}

static void open_sockets_can_be_limited(void **state)
{
    fixture_t *fixture = *state;
    const hws_address_t *address = &fixture->listener->address;
    hws_socket_t *first;

    hws_sim_limit_sockets(fixture->sim, 1);
    meet(fixture);
    assert_int_equal(hws_sim_open_sockets(fixture->sim), 1);
    first = fixture->witness.socket;
    fixture->witness.socket = NULL;
    assert_int_equal(witness_connect(&fixture->witness, address), HWS_ERR_TOO_MANY_FILES);
    first->ops->close(first, false);
    dial(fixture);
}

static void a_silent_listener_answers_a_connect_once_it_speaks_again(void **state)
{
    fixture_t *fixture = *state;

    hws_sim_silence(fixture->listener, true);
    dial(fixture);
    run_for(fixture, HWS_S(100));
    assert_string_equal(fixture->witness.log, "");
    assert_int_equal(witness_run(&fixture->witness, HWS_RUN_ONCE), HWS_END);
    hws_sim_silence(fixture->listener, false);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:OK");
}

static void a_socket_closed_into_the_silence_is_forgotten_at_once(void **state)
{
    fixture_t *fixture = *state;

    hws_sim_silence(fixture->listener, true);
    dial(fixture);
    run_for(fixture, HWS_S(1));
    witness_close(&fixture->witness, false);
    assert_int_equal(hws_sim_open_sockets(fixture->sim), 0);
    assert_int_equal(fixture->witness.io->ops->timeout(fixture->witness.io), 0);
    run_for(fixture, 0);
    hws_sim_silence(fixture->listener, false);
    run_for(fixture, HWS_S(1));
    assert_string_equal(fixture->witness.log, "");
    assert_string_equal(fixture->log, "");
}

/* Bytes ------------------------------------------------------------------------------------- */

static void latency_is_within_its_range_and_keeps_the_order(void **state)
{
    fixture_t *fixture = *state;
    char expected[64];
    size_t i;

    options(fixture)->latency_min = HWS_MS(10);
    options(fixture)->latency_max = HWS_MS(20);
    meet(fixture);
    for (i = 0; i < sizeof(expected); i++) {
        expected[i] = (char)i;
        assert_int_equal(hws_sim_send(fixture->conn, &expected[i], 1), HWS_OK);
    }
    hws_sim_run_until(fixture->sim, HWS_MS(10) - 1);
    assert_int_equal(hws_buffer_size(&fixture->witness.bytes), 0);
    hws_sim_run_until(fixture->sim, HWS_MS(20));
    assert_int_equal(hws_buffer_size(&fixture->witness.bytes), sizeof(expected));
    assert_memory_equal(hws_buffer_bytes(&fixture->witness.bytes), expected, sizeof(expected));
}

static void latency_holds_towards_the_peer_as_well(void **state)
{
    fixture_t *fixture = *state;

    options(fixture)->latency_min = options(fixture)->latency_max = HWS_MS(10);
    meet(fixture);
    send_to_peer(fixture, 5);
    run_for(fixture, HWS_MS(10) - 1);
    assert_string_equal(fixture->log, "accept");
    run_for(fixture, 1);
    assert_string_equal(fixture->log, "accept bytes:5");
}

static void a_greeting_can_be_sent_from_on_accept(void **state)
{
    fixture_t *fixture = *state;

    fixture->greeting = "ready";
    meet(fixture);
    run_for(fixture, 0);
    assert_came(fixture, "ready");
}

static void bytes_can_come_whole_or_one_by_one_or_at_random(void **state)
{
    static const struct {
        hws_sim_chunking_t chunking;
        unsigned min;
        unsigned max;
    } steps[] = {{HWS_SIM_WHOLE, 1, 1}, {HWS_SIM_BYTES, 26, 26}, {HWS_SIM_RANDOM, 2, 25}};
    fixture_t *fixture = *state;
    size_t i;

    meet(fixture);
    for (i = 0; i < 3; i++) {
        unsigned before = fixture->witness.rests;

        options(fixture)->chunking = steps[i].chunking;
        hws_buffer_clear(&fixture->witness.bytes);
        assert_int_equal(hws_sim_send(fixture->conn, "abcdefghijklmnopqrstuvwxyz", 26), HWS_OK);
        run_for(fixture, 0);
        assert_came(fixture, "abcdefghijklmnopqrstuvwxyz");
        assert_in_range(fixture->witness.rests - before, steps[i].min, steps[i].max);
    }
}

static void pieces_can_drip(void **state)
{
    fixture_t *fixture = *state;

    options(fixture)->chunking = HWS_SIM_BYTES;
    options(fixture)->gap = HWS_S(1);
    meet(fixture);
    assert_int_equal(hws_sim_send(fixture->conn, "abc", 3), HWS_OK);
    run_for(fixture, 0);
    assert_came(fixture, "a");
    run_for(fixture, HWS_S(1));
    assert_came(fixture, "ab");
    run_for(fixture, HWS_S(1));
    assert_came(fixture, "abc");
}

static void silence_holds_bytes_and_ends_back_in_both_directions(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    assert_int_equal(hws_sim_send(fixture->conn, "hello", 5), HWS_OK);
    send_to_peer(fixture, 3);
    assert_int_equal(witness_finish(&fixture->witness), HWS_OK);
    hws_sim_silence(fixture->listener, true);
    hws_sim_close(fixture->conn, HWS_SIM_FINISH);
    run_for(fixture, HWS_S(100));
    assert_int_equal(witness_peek(&fixture->witness), HWS_OK);
    assert_string_equal(fixture->witness.log, "connect:OK");
    assert_string_equal(fixture->log, "accept");
    hws_sim_silence(fixture->listener, false);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:OK bytes end:EOF");
    assert_string_equal(fixture->log, "accept bytes:3 end:EOF");
}

static void silence_holds_a_reset_back(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    hws_sim_silence(fixture->listener, true);
    hws_sim_close(fixture->conn, HWS_SIM_RESET);
    run_for(fixture, HWS_S(100));
    assert_string_equal(fixture->witness.log, "connect:OK");
    hws_sim_silence(fixture->listener, false);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:OK end:ECONNRESET");
}

static void a_full_window_makes_send_partial(void **state)
{
    static const char zeros[1000];
    fixture_t *fixture = *state;
    size_t sent = 0;

    options(fixture)->window = 600;
    meet(fixture);
    hws_sim_pause(fixture->conn, true);
    assert_int_equal(witness_send(&fixture->witness, zeros, 500, &sent), HWS_OK);
    assert_int_equal(sent, 500);
    assert_int_equal(witness_send(&fixture->witness, zeros, 500, &sent), HWS_OK);
    assert_int_equal(sent, 100);
    assert_int_equal(witness_send(&fixture->witness, zeros, 500, &sent), HWS_OK);
    assert_int_equal(sent, 0);
    witness_flush(&fixture->witness, zeros, 700);
    run_for(fixture, HWS_S(1));
    assert_string_equal(fixture->witness.log, "connect:OK");
    hws_sim_pause(fixture->conn, false);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:OK flush:OK");
    assert_string_equal(fixture->log, "accept bytes:500 bytes:100 bytes:500 bytes:100 bytes:100");
}

/* Ends -------------------------------------------------------------------------------------- */

static void the_peer_is_told_of_a_close_and_is_gone_after_it(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    send_to_peer(fixture, 5);
    witness_close(&fixture->witness, false);
    run_for(fixture, 0);
    assert_string_equal(fixture->log, "accept bytes:5 end:EOF gone");
    assert_int_equal(fixture->listener->open, 0);
}

static void the_peer_is_told_of_a_reset_and_loses_what_was_on_its_way(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    send_to_peer(fixture, 5);
    witness_close(&fixture->witness, true);
    run_for(fixture, 0);
    assert_string_equal(fixture->log, "accept end:RESET gone");
}

static void the_peer_is_told_of_one_end_only(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    assert_int_equal(witness_finish(&fixture->witness), HWS_OK);
    run_for(fixture, 0);
    assert_string_equal(fixture->log, "accept end:EOF");
    witness_close(&fixture->witness, true);
    run_for(fixture, 0);
    assert_string_equal(fixture->log, "accept end:EOF gone");
}

static void bytes_after_a_full_close_are_answered_by_a_reset(void **state)
{
    fixture_t *fixture = *state;
    size_t sent;

    options(fixture)->latency_min = options(fixture)->latency_max = HWS_MS(10);
    meet(fixture);
    hws_sim_close(fixture->conn, HWS_SIM_CLOSE);
    assert_int_equal(fixture->listener->open, 0);
    send_to_peer(fixture, 5); /* the FIN is not here yet */
    run_for(fixture, HWS_MS(10));
    assert_string_equal(fixture->witness.log, "connect:OK end:EOF");
    send_to_peer(fixture, 5);
    run_for(fixture, HWS_MS(10));
    assert_int_equal(witness_send(&fixture->witness, "x", 1, &sent), HWS_ERR_RESET);
    assert_string_equal(fixture->witness.log, "connect:OK end:EOF");
    assert_string_equal(fixture->log, "accept");
}

static void a_close_with_bytes_unread_resets(void **state)
{
    fixture_t *fixture = *state;
    size_t sent;

    meet(fixture);
    hws_sim_pause(fixture->conn, true);
    send_to_peer(fixture, 5);
    run_for(fixture, 0);
    hws_sim_close(fixture->conn, HWS_SIM_CLOSE);
    run_for(fixture, 0);
    assert_string_equal(fixture->log, "accept");
    assert_int_equal(witness_send(&fixture->witness, "x", 1, &sent), HWS_ERR_RESET);
    assert_int_equal(witness_finish(&fixture->witness), HWS_ERR_PIPE);
}

static void bytes_after_a_half_close_are_still_taken(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    hws_sim_close(fixture->conn, HWS_SIM_FINISH);
    run_for(fixture, 0);
    send_to_peer(fixture, 5);
    run_for(fixture, 0);
    assert_string_equal(fixture->log, "accept bytes:5");
    assert_string_equal(fixture->witness.log, "connect:OK end:EOF");
}

static void a_connection_can_be_cut_after_so_many_bytes(void **state)
{
    static const struct {
        hws_sim_close_t how;
        const char *log;
    } steps[] = {{HWS_SIM_RESET, "connect:OK bytes end:ECONNRESET"},
                 {HWS_SIM_CLOSE, "connect:OK bytes end:EOF"}};
    fixture_t *fixture = *state;
    size_t i;

    options(fixture)->cut_after = 7;
    for (i = 0; i < 2; i++) {
        options(fixture)->cut_with = steps[i].how;
        fixture->witness.log[0] = '\0';
        hws_buffer_clear(&fixture->witness.bytes);
        meet(fixture);
        assert_int_equal(hws_sim_send(fixture->conn, "hello", 5), HWS_OK);
        assert_int_equal(hws_sim_send(fixture->conn, "world", 5), HWS_OK);
        run_for(fixture, 0);
        assert_came(fixture, "hellowo");
        assert_string_equal(fixture->witness.log, steps[i].log);
        witness_close(&fixture->witness, false);
        run_for(fixture, 0);
    }
}

static void a_listener_can_close_all_its_connections(void **state)
{
    fixture_t *fixture = *state;

    meet(fixture);
    hws_sim_close_all(fixture->listener, HWS_SIM_RESET);
    run_for(fixture, 0);
    assert_string_equal(fixture->witness.log, "connect:OK end:ECONNRESET");
    assert_int_equal(fixture->listener->open, 0);
}

static void what_is_left_in_the_end_is_gone_too(void **state)
{
    fixture_t *fixture = *state;

    options(fixture)->latency_min = options(fixture)->latency_max = HWS_S(1);
    meet(fixture);
    send_to_peer(fixture, 5);
    assert_int_equal(hws_sim_send(fixture->conn, "hello", 5), HWS_OK);
    hws_sim_silence(fixture->listener, true);
    witness_dispose(&fixture->witness);
    assert_string_equal(fixture->log, "accept gone");
    assert_int_equal(begin(state), 0); /* for the teardown */
}

/* Repeatability ----------------------------------------------------------------------------- */

/* The moments of all inputs of a short life, as one number. */
static uint64_t fingerprint(uint64_t seed)
{
    hws_sim_listener_t *listener;
    fixture_t fixture = {.greeting = "a greeting in some pieces"};
    uint64_t sum = 0;

    assert_int_equal(hws_sim_create(seed, &fixture.sim), HWS_OK);
    assert_int_equal(hws_sim_listen(fixture.sim, "10.0.0.1", 80, &script, &fixture, &listener),
                     HWS_OK);
    listener->options.latency_max = HWS_S(1);
    listener->options.connect_max = HWS_S(1);
    listener->options.gap = HWS_MS(1);
    listener->options.chunking = HWS_SIM_RANDOM;
    witness_init(&fixture.witness, hws_sim_io(fixture.sim));
    assert_int_equal(witness_connect(&fixture.witness, &listener->address), HWS_OK);
    while (witness_run(&fixture.witness, HWS_RUN_ONCE) != HWS_END) {
        sum = sum * 31 + (uint64_t)fixture.witness.now + hws_buffer_size(&fixture.witness.bytes);
        if (fixture.witness.rests == 1)
            witness_read(&fixture.witness, true);
    }
    witness_dispose(&fixture.witness);
    return sum;
}

static void a_seed_repeats_everything_and_another_seed_does_not(void **state)
{
    (void)state;
    assert_true(fingerprint(1) == fingerprint(1));
    assert_true(fingerprint(1) != fingerprint(2));
}

/* Memory ------------------------------------------------------------------------------------ */

/* A short life, at whose end the client knows how it went. */
static void live(fixture_t *fixture, hws_buffer_t *rest)
{
    witness_t *witness = &fixture->witness;
    size_t sent = 0;

    if (hws_sim_listen(fixture->sim, "10.0.0.1", 80, &script, fixture, &fixture->listener) !=
        HWS_OK)
        return;
    fixture->listener->options.window = 10;
    if (witness_connect(witness, &fixture->listener->address) != HWS_OK)
        return;
    hws_sim_run_until(fixture->sim, 0);
    witness_read(witness, true);
    (void)hws_sim_send(fixture->conn, "hello", 5);
    if (witness_send(witness, "hello", 5, &sent) != HWS_OK)
        return;
    witness_flush_buffer(witness, rest);
    hws_sim_run_until(fixture->sim, HWS_S(1));
    if (strcmp(witness->log, "connect:OK bytes flush:OK") != 0)
        assert_non_null(strstr(witness->log, "flush:ECONNRESET"));
}

static bool live_with_failure(uint64_t n)
{
    fixture_t fixture = {.greeting = NULL};
    hws_buffer_t rest = {0};
    bool has_failed;

    assert_int_equal(hws_buffer_append(&rest, "0123456789abcdef", 16), HWS_OK);
    hws_memory_fail_at(n);
    if (hws_sim_create(1, &fixture.sim) == HWS_OK) {
        witness_init(&fixture.witness, hws_sim_io(fixture.sim));
        live(&fixture, &rest);
    }
    has_failed = hws_memory_count() >= n;
    hws_memory_fail_at(0);
    if (fixture.sim != NULL)
        witness_dispose(&fixture.witness);
    hws_buffer_dispose(&rest);
    return has_failed;
}

static void each_allocation_may_fail(void **state)
{
    uint64_t n = 1;

    (void)state;
    while (live_with_failure(n))
        n++;
    assert_in_range(n, 8, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
        TEST(a_thousand_seconds_pass_without_waiting),
        TEST(run_until_stops_the_clock_there),
        TEST(plans_of_the_same_moment_keep_their_order),
        TEST(an_arrival_keeps_its_place_within_its_moment),
        TEST(a_turn_ends_though_its_inputs_cause_more_at_once),
        TEST(a_stall_passes_time_without_inputs),
        TEST(a_connect_takes_the_time_the_listener_says),
        TEST(connects_and_listeners_meet_by_address),
        TEST(an_address_that_is_none_cannot_be_listened_on),
        TEST(a_connect_gets_the_answer_that_is_set),
        TEST(connects_beyond_the_slots_are_refused_until_one_is_free),
        TEST(connects_fail_as_often_as_they_are_told_to),
        TEST(open_sockets_can_be_limited),
        TEST(a_silent_listener_answers_a_connect_once_it_speaks_again),
        TEST(a_socket_closed_into_the_silence_is_forgotten_at_once),
        TEST(latency_is_within_its_range_and_keeps_the_order),
        TEST(latency_holds_towards_the_peer_as_well),
        TEST(a_greeting_can_be_sent_from_on_accept),
        TEST(bytes_can_come_whole_or_one_by_one_or_at_random),
        TEST(pieces_can_drip),
        TEST(silence_holds_bytes_and_ends_back_in_both_directions),
        TEST(silence_holds_a_reset_back),
        TEST(a_full_window_makes_send_partial),
        TEST(the_peer_is_told_of_a_close_and_is_gone_after_it),
        TEST(the_peer_is_told_of_a_reset_and_loses_what_was_on_its_way),
        TEST(the_peer_is_told_of_one_end_only),
        TEST(bytes_after_a_full_close_are_answered_by_a_reset),
        TEST(a_close_with_bytes_unread_resets),
        TEST(bytes_after_a_half_close_are_still_taken),
        TEST(a_connection_can_be_cut_after_so_many_bytes),
        TEST(a_listener_can_close_all_its_connections),
        TEST(what_is_left_in_the_end_is_gone_too),
        cmocka_unit_test(a_seed_repeats_everything_and_another_seed_does_not),
        cmocka_unit_test(each_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
