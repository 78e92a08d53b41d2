/* What io.h promises, held against every world: each scenario runs over real and over simulated
 * sockets. What only one world can show is in test_uv.c and test_sim.c. */
#include "base/memory.h"
#include "support/cmocka.h"
#include "support/far_end.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LARGE ((size_t)8 * 1024 * 1024)

typedef void scenario_t(far_end_t *far_end);

/* Conditions -------------------------------------------------------------------------------- */

static bool got_answer(const far_end_t *far_end)
{
    return far_end->witness.log[0] != '\0';
}

static bool came(const far_end_t *far_end, const char *bytes)
{
    const hws_buffer_t *got = &far_end->witness.bytes;

    return hws_buffer_size(got) == strlen(bytes) &&
           memcmp(hws_buffer_bytes(got), bytes, strlen(bytes)) == 0;
}

static bool hello_came(const far_end_t *far_end)
{
    return came(far_end, "hello");
}

static bool has_ended(const far_end_t *far_end)
{
    return strstr(far_end->witness.log, "end:") != NULL;
}

static bool has_flushed(const far_end_t *far_end)
{
    return strstr(far_end->witness.log, "flush:") != NULL;
}

static bool far_end_has_ended(const far_end_t *far_end)
{
    return far_end->ended != HWS_OK;
}

static bool far_end_got_hello(const far_end_t *far_end)
{
    return hws_buffer_size(&far_end->got) == 5;
}

static bool far_end_got_all(const far_end_t *far_end)
{
    return hws_buffer_size(&far_end->got) == LARGE;
}

/* Helpers ----------------------------------------------------------------------------------- */

static char *make_pattern(size_t size)
{
    char *pattern = hws_alloc(size);
    size_t i;

    assert_non_null(pattern);
    for (i = 0; i < size; i++)
        pattern[i] = (char)(i * 7 + i / 251);
    return pattern;
}

static void send_hello(far_end_t *far_end)
{
    size_t sent = 0;

    assert_int_equal(witness_send(&far_end->witness, "hello", 5, &sent), HWS_OK);
    assert_int_equal(sent, 5);
}

/* Sends into a far end that takes nothing until the system is full; the rest is left to flush. */
static size_t fill(far_end_t *far_end, const char *data, size_t size)
{
    size_t all = 0;
    size_t sent;

    do {
        sent = 0;
        assert_int_equal(witness_send(&far_end->witness, data + all, size - all, &sent), HWS_OK);
        all += sent;
    } while (sent > 0 && all < size);
    assert_true(all > 0 && all < size);
    return all;
}

static void begin_flush(far_end_t *far_end)
{
    char *data = make_pattern(LARGE);
    size_t sent;

    far_end_pause(far_end, true);
    sent = fill(far_end, data, LARGE);
    witness_flush(&far_end->witness, data + sent, LARGE - sent);
    hws_free(data);
}

static void close_witness(void *user)
{
    far_end_t *far_end = user;

    witness_close(&far_end->witness, false);
}

static void close_on(far_end_t *far_end, witness_input_t input)
{
    far_end->witness.acts_on = input;
    far_end->witness.act = close_witness;
    far_end->witness.user = far_end;
}

/* Connecting -------------------------------------------------------------------------------- */

static void connect_is_told_once_and_only_after_the_call(far_end_t *far_end)
{
    far_end_meet(far_end);
    assert_int_equal(far_end->witness.rests, 1);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK");
}

static void connect_without_a_listener_is_refused(far_end_t *far_end)
{
    int rc;

    far_end_refuse(far_end);
    rc = witness_connect(&far_end->witness, &far_end->address);
    if (world_is_real(far_end->kind) && world_is_local(far_end->kind)) {
        assert_int_equal(rc, HWS_ERR_REFUSED); /* these know at once */
        return;
    }
    assert_int_equal(rc, HWS_OK);
    far_end_run(far_end, got_answer);
    assert_string_equal(far_end->witness.log, "connect:ECONNREFUSED");
    witness_read(&far_end->witness, true); /* a failed socket has nothing to read and may be told */
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:ECONNREFUSED");
}

static void connect_to_a_missing_path_fails_at_once(far_end_t *far_end)
{
    hws_address_t address;

    assert_int_equal(hws_address_from_path(HWS_SLICE("/nonexistent/sock"), &address), HWS_OK);
    assert_int_equal(witness_connect(&far_end->witness, &address), HWS_ERR_NO_SUCH_PATH);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "");
}

static void close_while_connecting_is_silent(far_end_t *far_end)
{
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    witness_close(&far_end->witness, true);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "");
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_END);
}

static void close_inside_on_connect_is_the_last_input(far_end_t *far_end)
{
    close_on(far_end, ON_CONNECT);
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK");
    assert_int_equal(far_end->ended, HWS_ERR_EOF);
}

/* Reading ----------------------------------------------------------------------------------- */

static void bytes_come_in_order_each_with_a_rest(far_end_t *far_end)
{
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    far_end_send(far_end, "he", 2);
    far_end_send(far_end, "llo", 3);
    far_end_run(far_end, hello_came);
    assert_string_equal(far_end->witness.log, "connect:OK bytes");
    assert_in_range(far_end->witness.rests, 2, 3);
}

static void nothing_is_told_while_reading_is_off(far_end_t *far_end)
{
    far_end_meet(far_end);
    far_end_send(far_end, "hello", 5);
    far_end_close(far_end, HWS_SIM_FINISH);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK");
    witness_read(&far_end->witness, true);
    witness_read(&far_end->witness, false);
    witness_read(&far_end->witness, true);
    far_end_run(far_end, has_ended);
    assert_string_equal(far_end->witness.log, "connect:OK bytes end:EOF");
    assert_true(hello_came(far_end));
}

static void stop_reading(void *user)
{
    far_end_t *far_end = user;

    witness_read(&far_end->witness, false);
}

static void reading_can_stop_in_the_midst_of_much(far_end_t *far_end)
{
    char *data = make_pattern(LARGE);
    const hws_buffer_t *got = &far_end->witness.bytes;
    size_t size;

    far_end_meet(far_end);
    far_end_send(far_end, data, LARGE);
    far_end->witness.acts_on = ON_BYTES;
    far_end->witness.act = stop_reading;
    far_end->witness.user = far_end;
    witness_read(&far_end->witness, true);
    far_end_settle(far_end);
    size = hws_buffer_size(got);
    assert_in_range(size, 1, 65536);
    witness_read(&far_end->witness, true);
    while (hws_buffer_size(got) < LARGE)
        far_end_settle(far_end);
    assert_memory_equal(hws_buffer_bytes(got), data, LARGE);
    hws_free(data);
}

static void fin_is_told_once_after_the_bytes(far_end_t *far_end)
{
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    far_end_send(far_end, "hello", 5);
    far_end_close(far_end, HWS_SIM_FINISH);
    far_end_run(far_end, has_ended);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK bytes end:EOF");
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_END);
}

static void reset_is_told_as_one(far_end_t *far_end)
{
    if (world_is_local(far_end->kind))
        return; /* Unix sockets know no RST */
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    far_end_close(far_end, HWS_SIM_RESET);
    far_end_run(far_end, has_ended);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK end:ECONNRESET");
}

/* An error ends what libuv watches for; the bytes before it must not hide it. */
static void what_came_before_a_reset_is_told_first(far_end_t *far_end)
{
    if (world_is_local(far_end->kind))
        return;
    far_end_meet(far_end);
    far_end_send(far_end, "hello", 5);
    far_end_settle(far_end);
    far_end_close(far_end, HWS_SIM_RESET);
    far_end_settle(far_end);
    witness_read(&far_end->witness, true);
    far_end_run(far_end, has_ended);
    assert_string_equal(far_end->witness.log, "connect:OK bytes end:ECONNRESET");
    assert_true(hello_came(far_end));
}

static void close_inside_on_bytes_is_the_last_input(far_end_t *far_end)
{
    char *data = make_pattern(LARGE);

    far_end_meet(far_end);
    close_on(far_end, ON_BYTES);
    witness_read(&far_end->witness, true);
    far_end_send(far_end, data, LARGE);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK bytes");
    hws_free(data);
}

static void close_inside_on_end_is_the_last_input(far_end_t *far_end)
{
    far_end_meet(far_end);
    close_on(far_end, ON_END);
    witness_read(&far_end->witness, true);
    far_end_close(far_end, HWS_SIM_CLOSE);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK end:EOF");
}

/* Peeking ----------------------------------------------------------------------------------- */

static void peek_finds_nothing_on_a_quiet_connection(far_end_t *far_end)
{
    far_end_meet(far_end);
    assert_int_equal(witness_peek(&far_end->witness), HWS_OK);
}

static void peek_finds_bytes_and_leaves_them(far_end_t *far_end)
{
    far_end_meet(far_end);
    far_end_send(far_end, "hello", 5);
    far_end_settle(far_end);
    if (!world_is_real(far_end->kind))
        hws_sim_run_until(far_end->sim, HWS_S(1));
    assert_int_equal(witness_peek(&far_end->witness), HWS_ERR_UNEXPECTED);
    assert_int_equal(witness_peek(&far_end->witness), HWS_ERR_UNEXPECTED);
    witness_read(&far_end->witness, true);
    far_end_run(far_end, hello_came);
    assert_int_equal(witness_peek(&far_end->witness), HWS_OK);
}

static void peek_finds_the_end(far_end_t *far_end)
{
    far_end_meet(far_end);
    far_end_close(far_end, HWS_SIM_FINISH);
    far_end_settle(far_end);
    if (!world_is_real(far_end->kind))
        hws_sim_run_until(far_end->sim, HWS_S(1));
    assert_int_equal(witness_peek(&far_end->witness), HWS_ERR_EOF);
}

static void peek_finds_the_reset(far_end_t *far_end)
{
    if (world_is_local(far_end->kind))
        return;
    far_end_meet(far_end);
    far_end_close(far_end, HWS_SIM_RESET);
    far_end_settle(far_end);
    assert_int_equal(witness_peek(&far_end->witness), HWS_ERR_RESET);
}

/* Writing ----------------------------------------------------------------------------------- */

static void what_is_sent_arrives(far_end_t *far_end)
{
    far_end_meet(far_end);
    send_hello(far_end);
    far_end_run(far_end, far_end_got_hello);
    assert_memory_equal(hws_buffer_bytes(&far_end->got), "hello", 5);
    assert_string_equal(far_end->witness.log, "connect:OK");
}

static void flush_waits_for_the_reader_and_loses_nothing(far_end_t *far_end)
{
    char *data = make_pattern(LARGE);

    far_end_meet(far_end);
    begin_flush(far_end);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK");
    far_end_pause(far_end, false);
    far_end_run(far_end, has_flushed);
    far_end_run(far_end, far_end_got_all);
    assert_memory_equal(hws_buffer_bytes(&far_end->got), data, LARGE);
    assert_string_equal(far_end->witness.log, "connect:OK flush:OK");
    send_hello(far_end); /* it may send again */
    hws_free(data);
}

static void bytes_come_while_a_flush_is_under_way(far_end_t *far_end)
{
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    begin_flush(far_end);
    far_end_send(far_end, "hello", 5);
    far_end_run(far_end, hello_came);
    assert_string_equal(far_end->witness.log, "connect:OK bytes");
    far_end_pause(far_end, false);
    far_end_run(far_end, has_flushed);
    assert_string_equal(far_end->witness.log, "connect:OK bytes flush:OK");
}

static void flush_to_a_peer_that_went_away_fails(far_end_t *far_end)
{
    const char *log;

    far_end_meet(far_end);
    begin_flush(far_end);
    far_end_close(far_end, HWS_SIM_RESET);
    far_end_run(far_end, has_flushed);
    log = far_end->witness.log;
    assert_true(strcmp(log, "connect:OK flush:ECONNRESET") == 0 ||
                strcmp(log, "connect:OK flush:EPIPE") == 0);
}

static void flush_on_a_connection_that_broke_before_fails(far_end_t *far_end)
{
    far_end_meet(far_end);
    far_end_close(far_end, HWS_SIM_RESET);
    far_end_settle(far_end);
    witness_flush(&far_end->witness, "hello", 5);
    far_end_run(far_end, has_flushed);
    assert_null(strstr(far_end->witness.log, "flush:OK"));
}

static void send_to_a_peer_that_went_away_fails_and_raises_no_signal(far_end_t *far_end)
{
    size_t sent = 0;
    int first;
    int second;

    far_end_meet(far_end);
    far_end_close(far_end, HWS_SIM_RESET);
    far_end_settle(far_end);
    first = witness_send(&far_end->witness, "hello", 5, &sent);
    second = witness_send(&far_end->witness, "hello", 5, &sent);
    assert_true(first == HWS_ERR_RESET || first == HWS_ERR_PIPE);
    assert_true(second == HWS_ERR_RESET || second == HWS_ERR_PIPE);
}

static void close_while_flushing_is_silent(far_end_t *far_end)
{
    far_end_meet(far_end);
    begin_flush(far_end);
    witness_close(&far_end->witness, true);
    far_end_pause(far_end, false);
    far_end_run(far_end, far_end_has_ended);
    assert_string_equal(far_end->witness.log, "connect:OK");
}

static void close_inside_on_flush_is_the_last_input(far_end_t *far_end)
{
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    begin_flush(far_end);
    close_on(far_end, ON_FLUSH);
    far_end_pause(far_end, false);
    far_end_run(far_end, far_end_has_ended);
    assert_string_equal(far_end->witness.log, "connect:OK flush:OK");
    assert_int_equal(hws_buffer_size(&far_end->got), LARGE);
}

/* Ending ------------------------------------------------------------------------------------ */

static void finish_leaves_the_other_direction_open(far_end_t *far_end)
{
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    send_hello(far_end);
    assert_int_equal(witness_finish(&far_end->witness), HWS_OK);
    far_end_run(far_end, far_end_has_ended);
    assert_int_equal(far_end->ended, HWS_ERR_EOF);
    assert_true(far_end_got_hello(far_end));
    far_end_send(far_end, "hello", 5);
    far_end_run(far_end, hello_came);
    assert_string_equal(far_end->witness.log, "connect:OK bytes");
}

static void close_lets_what_was_sent_arrive(far_end_t *far_end)
{
    far_end_meet(far_end);
    send_hello(far_end);
    witness_close(&far_end->witness, false);
    far_end_run(far_end, far_end_has_ended);
    assert_int_equal(far_end->ended, HWS_ERR_EOF);
    assert_true(far_end_got_hello(far_end));
}

static void close_with_reset_resets(far_end_t *far_end)
{
    if (world_is_local(far_end->kind))
        return;
    far_end_meet(far_end);
    witness_close(&far_end->witness, true);
    far_end_run(far_end, far_end_has_ended);
    assert_int_equal(far_end->ended, HWS_ERR_RESET);
}

static void close_with_reset_after_finish_is_harmless(far_end_t *far_end)
{
    far_end_meet(far_end);
    assert_int_equal(witness_finish(&far_end->witness), HWS_OK);
    witness_close(&far_end->witness, true);
    far_end_run(far_end, far_end_has_ended);
    assert_string_equal(far_end->witness.log, "connect:OK");
}

/* Time and turns ---------------------------------------------------------------------------- */

static hws_time_t now(const far_end_t *far_end)
{
    return far_end->witness.io->ops->now(far_end->witness.io);
}

static hws_time_t timeout(const far_end_t *far_end)
{
    return far_end->witness.io->ops->timeout(far_end->witness.io);
}

static void the_timer_is_never_early_and_fires_once(far_end_t *far_end)
{
    int i;

    for (i = 0; i < 20; i++) {
        hws_time_t at = now(far_end) + HWS_US(100 + 333 * i);

        far_end->witness.log[0] = '\0';
        witness_arm(&far_end->witness, at);
        assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
        assert_string_equal(far_end->witness.log, "timer");
        assert_true(far_end->witness.now >= at);
        assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_END);
    }
}

static void the_timer_can_be_moved_both_ways(far_end_t *far_end)
{
    hws_time_t start = now(far_end);

    witness_arm(&far_end->witness, start + HWS_S(1000));
    witness_arm(&far_end->witness, start + HWS_MS(1));
    witness_arm(&far_end->witness, start + HWS_MS(7));
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(far_end->witness.log, "timer");
    assert_true(far_end->witness.now >= start + HWS_MS(7));
}

static void a_disarmed_timer_brings_nothing(far_end_t *far_end)
{
    witness_arm(&far_end->witness, now(far_end));
    witness_arm(&far_end->witness, HWS_NEVER);
    assert_int_equal(timeout(far_end), HWS_NEVER);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_END);
    assert_string_equal(far_end->witness.log, "");
}

static void a_timer_that_is_past_fires_without_waiting(far_end_t *far_end)
{
    witness_arm(&far_end->witness, now(far_end) - HWS_MS(1));
    assert_int_equal(timeout(far_end) <= 0, true);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_NOWAIT), HWS_OK);
    assert_string_equal(far_end->witness.log, "timer");
}

static void arm_again(void *user)
{
    far_end_t *far_end = user;

    witness_arm(&far_end->witness, now(far_end) + HWS_S(1000));
}

/* Else it would wait for a quiet socket although there is something to be done. */
static void a_run_ends_when_only_the_timer_fired(far_end_t *far_end)
{
    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    far_end->witness.acts_on = ON_TIMER;
    far_end->witness.act = arm_again;
    far_end->witness.user = far_end;
    witness_arm(&far_end->witness, now(far_end));
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(far_end->witness.log, "connect:OK timer");
    witness_arm(&far_end->witness, HWS_NEVER);
}

static void a_deadline_never_beats_bytes_that_came_before(far_end_t *far_end)
{
    far_end_meet(far_end);
    far_end_send(far_end, "hello", 5);
    far_end_settle(far_end);
    if (!world_is_real(far_end->kind))
        hws_sim_stall(far_end->sim, HWS_S(1));
    while (witness_peek(&far_end->witness) != HWS_ERR_UNEXPECTED)
        ;
    witness_read(&far_end->witness, true);
    witness_arm(&far_end->witness, now(far_end) - HWS_MS(2));
    witness_run(&far_end->witness, HWS_RUN_NOWAIT);
    assert_string_equal(far_end->witness.log, "connect:OK bytes timer");
}

static void wake_brings_one_rest_without_an_input(far_end_t *far_end)
{
    witness_wake(&far_end->witness);
    witness_wake(&far_end->witness);
    assert_int_equal(far_end->witness.rests, 0);
    assert_int_equal(timeout(far_end), 0);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_int_equal(far_end->witness.rests, 1);
    assert_int_equal(timeout(far_end), HWS_NEVER);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_END);
    assert_int_equal(far_end->witness.rests, 1);
}

static void a_socket_that_is_not_read_keeps_no_run_waiting(far_end_t *far_end)
{
    far_end_meet(far_end);
    far_end_settle(far_end);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_END);
}

static void the_time_of_the_last_poll_is_known(far_end_t *far_end)
{
    hws_io_t *io = far_end->witness.io;
    hws_time_t before = now(far_end);

    assert_true(io->ops->polled_at(io) <= before);
    witness_run(&far_end->witness, HWS_RUN_NOWAIT);
    assert_true(io->ops->polled_at(io) >= before);
    assert_true(io->ops->polled_at(io) <= now(far_end));
    witness_arm(&far_end->witness, before);
    witness_run(&far_end->witness, HWS_RUN_ONCE);
    assert_true(io->ops->polled_at(io) <= far_end->witness.now);
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    while (strstr(far_end->witness.log, "connect") == NULL)
        witness_run(&far_end->witness, HWS_RUN_ONCE);
    assert_int_equal(io->ops->polled_at(io), far_end->witness.now); /* one input: one reading */
}

static void entropy_gives_bytes_that_differ(far_end_t *far_end)
{
    hws_io_t *io = far_end->witness.io;
    char a[16] = {0};
    char b[16] = {0};

    assert_int_equal(io->ops->entropy(io, a, sizeof(a)), HWS_OK);
    assert_int_equal(io->ops->entropy(io, b, sizeof(b)), HWS_OK);
    assert_memory_not_equal(a, b, sizeof(a));
}

/* All of them, in every world ---------------------------------------------------------------- */

static const struct {
    const char *name;
    scenario_t *run;
} scenarios[] = {
#define SCENARIO(function)                                                                         \
    {                                                                                              \
#function, function                                                                        \
    }
    SCENARIO(connect_is_told_once_and_only_after_the_call),
    SCENARIO(connect_without_a_listener_is_refused),
    SCENARIO(connect_to_a_missing_path_fails_at_once),
    SCENARIO(close_while_connecting_is_silent),
    SCENARIO(close_inside_on_connect_is_the_last_input),
    SCENARIO(bytes_come_in_order_each_with_a_rest),
    SCENARIO(nothing_is_told_while_reading_is_off),
    SCENARIO(reading_can_stop_in_the_midst_of_much),
    SCENARIO(fin_is_told_once_after_the_bytes),
    SCENARIO(reset_is_told_as_one),
    SCENARIO(what_came_before_a_reset_is_told_first),
    SCENARIO(close_inside_on_bytes_is_the_last_input),
    SCENARIO(close_inside_on_end_is_the_last_input),
    SCENARIO(peek_finds_nothing_on_a_quiet_connection),
    SCENARIO(peek_finds_bytes_and_leaves_them),
    SCENARIO(peek_finds_the_end),
    SCENARIO(peek_finds_the_reset),
    SCENARIO(what_is_sent_arrives),
    SCENARIO(flush_waits_for_the_reader_and_loses_nothing),
    SCENARIO(bytes_come_while_a_flush_is_under_way),
    SCENARIO(flush_to_a_peer_that_went_away_fails),
    SCENARIO(flush_on_a_connection_that_broke_before_fails),
    SCENARIO(send_to_a_peer_that_went_away_fails_and_raises_no_signal),
    SCENARIO(close_while_flushing_is_silent),
    SCENARIO(close_inside_on_flush_is_the_last_input),
    SCENARIO(finish_leaves_the_other_direction_open),
    SCENARIO(close_lets_what_was_sent_arrive),
    SCENARIO(close_with_reset_resets),
    SCENARIO(close_with_reset_after_finish_is_harmless),
    SCENARIO(the_timer_is_never_early_and_fires_once),
    SCENARIO(the_timer_can_be_moved_both_ways),
    SCENARIO(a_disarmed_timer_brings_nothing),
    SCENARIO(a_timer_that_is_past_fires_without_waiting),
    SCENARIO(a_run_ends_when_only_the_timer_fired),
    SCENARIO(a_deadline_never_beats_bytes_that_came_before),
    SCENARIO(wake_brings_one_rest_without_an_input),
    SCENARIO(a_socket_that_is_not_read_keeps_no_run_waiting),
    SCENARIO(the_time_of_the_last_poll_is_known),
    SCENARIO(entropy_gives_bytes_that_differ),
};

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

typedef struct {
    char name[128];
    scenario_t *run;
    world_kind_t kind;
} case_t;

static void run_case(void **state)
{
    const case_t *one = *state;
    far_end_t far_end;

    if (!far_end_init(&far_end, one->kind))
        skip();
    one->run(&far_end);
    far_end_dispose(&far_end);
}

int main(void)
{
    static const char *const worlds[WORLD_COUNT] = {"uv tcp4", "uv tcp6", "uv unix", "sim tcp",
                                                    "sim unix"};
    static case_t cases[SCENARIOS * WORLD_COUNT];
    static struct CMUnitTest tests[SCENARIOS * WORLD_COUNT];
    size_t i;

    alarm(120);               /* ends a test that waits in vain */
    signal(SIGPIPE, SIG_DFL); /* so that one would end this program */
    for (i = 0; i < SCENARIOS * WORLD_COUNT; i++) {
        case_t *one = &cases[i];

        one->run = scenarios[i / WORLD_COUNT].run;
        one->kind = (world_kind_t)(i % WORLD_COUNT);
        snprintf(one->name, sizeof(one->name), "%s (%s)", scenarios[i / WORLD_COUNT].name,
                 worlds[one->kind]);
        tests[i] = (struct CMUnitTest){one->name, run_case, NULL, NULL, one};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
