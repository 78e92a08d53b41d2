#include "pool/outbox.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define SOCKETS 3
#define NOW HWS_S(7)

/* A world without inputs: a turn of it is a function of the test; what sockets are told is written
 * down, one word for each call. */
typedef struct {
    hws_io_t io;
    hws_loop_t *loop;
    hws_gather_t gather;
    hws_socket_t sockets[SOCKETS];
    hws_outbox_t outboxes[SOCKETS];
    void (*turn)(void);
    char log[400];
    size_t takes[SOCKETS];  /* bytes that the system takes of the next send */
    int breaks[SOCKETS];    /* what the next send fails with */
    uint64_t left[SOCKETS]; /* bytes that its owner was told of */
    int more[SOCKETS];      /* how often its owner has more than goes at once */
    hws_buffer_t flushing;
} rig_t;

static rig_t rig;

static void note(const char *what, int which, const char *bytes, size_t size)
{
    size_t at = strlen(rig.log);

    if (size > 20)
        snprintf(rig.log + at, sizeof(rig.log) - at, "%s%d:#%zu ", what, which, size);
    else
        snprintf(rig.log + at, sizeof(rig.log) - at, "%s%d:%.*s ", what, which, (int)size, bytes);
}

static int index_of(const hws_socket_t *socket)
{
    return (int)(socket - rig.sockets);
}

static int rig_send(hws_socket_t *socket, const char *data, size_t size, size_t *sent)
{
    int which = index_of(socket);

    if (rig.breaks[which] != HWS_OK) {
        note("broken", which, "", 0);
        return rig.breaks[which];
    }
    *sent = size < rig.takes[which] ? size : rig.takes[which];
    note("send", which, data, *sent);
    return HWS_OK;
}

static int rig_flush(hws_socket_t *socket, hws_buffer_t *rest)
{
    note("flush", index_of(socket), hws_buffer_bytes(rest), hws_buffer_size(rest));
    hws_buffer_dispose(&rig.flushing);
    rig.flushing = *rest;
    *rest = (hws_buffer_t){0};
    return HWS_OK;
}

static int rig_finish(hws_socket_t *socket)
{
    note("finish", index_of(socket), "", 0);
    return HWS_OK;
}

static hws_time_t rig_recent(hws_io_t *io)
{
    (void)io;
    return NOW;
}

static void rig_wake(hws_io_t *io)
{
    (void)io;
    note("wake", 0, "", 0);
}

static int rig_run(hws_io_t *io, hws_run_t mode)
{
    (void)io;
    (void)mode;
    rig.turn();
    return HWS_OK;
}

static void rig_destroy(hws_io_t *io)
{
    (void)io;
}

static void on_failed(hws_outbox_t *outbox, int code)
{
    (void)code;
    note("failed", index_of(outbox->socket), "", 0);
}

/* Writes what its owner "has". */
static void on_pull(hws_outbox_t *outbox)
{
    note("pull", index_of(outbox->socket), "", 0);
    assert_int_equal(hws_buffer_append(hws_outbox_begin(outbox), "frame", 5), HWS_OK);
    assert_int_equal(hws_outbox_commit(outbox), HWS_OK);
    if (rig.more[index_of(outbox->socket)]-- > 0)
        hws_outbox_pull_again(outbox);
}

static void on_leaving(hws_outbox_t *outbox, size_t size, hws_time_t now)
{
    assert_int_equal(now, NOW);
    rig.left[index_of(outbox->socket)] += size;
}

static int begin(void **state)
{
    static const hws_outbox_events_t events = {on_pull, on_leaving, on_failed};
    static const hws_io_ops_t ops = {.recent = rig_recent,
                                     .polled_at = rig_recent,
                                     .wake = rig_wake,
                                     .run = rig_run,
                                     .destroy = rig_destroy};
    static const hws_socket_ops_t socket_ops = {
        .send = rig_send,
        .flush = rig_flush,
        .finish = rig_finish,
    };

    (void)state;
    memset(&rig, 0, sizeof(rig));
    rig.io.ops = &ops;
    assert_int_equal(hws_loop_create_on(&rig.io, &rig.loop), HWS_OK);
    hws_gather_init(&rig.gather, rig.loop, &events);
    for (int i = 0; i < SOCKETS; i++) {
        rig.sockets[i].ops = &socket_ops;
        hws_outbox_init(&rig.outboxes[i], &rig.gather, &rig.sockets[i]);
        rig.takes[i] = SIZE_MAX;
    }
    return 0;
}

static int end(void **state)
{
    bool have_all_left = true;

    (void)state;
    hws_memory_fail_at(0);
    for (int i = 0; i < SOCKETS; i++) {
        hws_outbox_dispose(&rig.outboxes[i]);
        have_all_left &= rig.left[i] == rig.outboxes[i].accepted;
    }
    hws_buffer_dispose(&rig.flushing);
    hws_gather_dispose(&rig.gather);
    hws_loop_destroy(rig.loop);
    return have_all_left ? 0 : -1;
}

static int put(int which, const char *text)
{
    hws_outbox_t *outbox = &rig.outboxes[which];

    assert_int_equal(hws_buffer_append(hws_outbox_begin(outbox), text, strlen(text)), HWS_OK);
    return hws_outbox_commit(outbox);
}

static void turn(void (*function)(void))
{
    rig.turn = function;
    hws_loop_run(rig.loop, false);
}

static void flushed(int which, int status)
{
    hws_buffer_dispose(&rig.flushing);
    hws_outbox_flushed(&rig.outboxes[which], status);
}

static void expect_log(const char *wanted)
{
    assert_string_equal(rig.log, wanted);
    rig.log[0] = '\0';
}

/* ---- gathering ---- */

static void write_a_little(void)
{
    put(0, "a");
    put(0, "bc");
    put(1, "d");
    expect_log("");
    assert_int_equal(hws_outbox_size(&rig.outboxes[0]), 3);
}

static void write_more(void)
{
    expect_log("send0:abc send1:d ");
    put(0, "e");
    hws_loop_flush(rig.loop); /* which is for those who are outside */
    expect_log("");
}

static void what_is_written_outside_of_a_turn_leaves_before_the_next(void **state)
{
    (void)state;
    put(0, "a");
    expect_log("wake0: ");
    put(0, "bc");
    put(1, "d");
    turn(write_more);
    expect_log("send0:e ");
}

static void what_is_written_outside_of_a_turn_leaves_when_it_is_flushed(void **state)
{
    (void)state;
    put(0, "a");
    hws_outbox_pull(&rig.outboxes[1]);
    expect_log("wake0: ");
    hws_loop_flush(rig.loop);
    expect_log("pull1: send0:a send1:frame ");
    hws_loop_flush(rig.loop);
    expect_log("");
}

static void small_writes_of_a_turn_leave_together_at_its_end(void **state)
{
    (void)state;
    turn(write_a_little);
    expect_log("send0:abc send1:d ");
    assert_int_equal(hws_outbox_size(&rig.outboxes[0]), 0);
    turn(write_a_little);
    expect_log("send0:abc send1:d ");
}

static void ask_to_be_pulled(void)
{
    hws_outbox_pull(&rig.outboxes[1]);
    put(0, "a");
    hws_outbox_pull(&rig.outboxes[1]);
    expect_log("");
}

static void who_has_much_to_say_is_asked_once_at_the_end_of_a_turn(void **state)
{
    (void)state;
    turn(ask_to_be_pulled);
    expect_log("pull1: send0:a send1:frame ");
}

static void rest(void)
{
    rig.io.on_rest(rig.io.owner);
    expect_log("");
}

static void who_has_more_is_asked_again_once_in_each_turn(void **state)
{
    (void)state;
    rig.more[1] = 2;
    turn(ask_to_be_pulled);
    expect_log("pull1: wake0: send0:a send1:frame ");
    hws_loop_flush(rig.loop);
    expect_log("");
    hws_outbox_pull(&rig.outboxes[1]);
    turn(rest);
    expect_log("pull1: wake0: send1:frame ");
    turn(rest);
    expect_log("pull1: send1:frame ");
    turn(rest);
    expect_log("");
}

static void who_goes_is_not_asked_again(void **state)
{
    (void)state;
    rig.more[1] = 2;
    turn(ask_to_be_pulled);
    expect_log("pull1: wake0: send0:a send1:frame ");
    hws_outbox_dispose(&rig.outboxes[1]);
    turn(rest);
    expect_log("");
}

static void write_by_turns(void)
{
    put(0, "a");
    put(1, "b");
    put(0, "c");
    put(1, "d");
}

static void bytes_of_one_connection_keep_their_order(void **state)
{
    (void)state;
    turn(write_by_turns);
    expect_log("send0:a send1:b send0:c send1:d ");
}

static char large[65536];

static void write_much(void)
{
    memset(large, 'x', sizeof(large) - 1);
    put(0, "a");
    put(1, large);
    expect_log("send0:a send1:#65535 ");
    put(1, "b");
}

static void much_leaves_within_the_turn(void **state)
{
    (void)state;
    turn(write_much);
    expect_log("send1:b ");
}

static void drop_one(void)
{
    put(0, "a");
    assert_int_equal(hws_buffer_append(hws_outbox_begin(&rig.outboxes[0]), "no", 2), HWS_OK);
    hws_outbox_drop(&rig.outboxes[0]);
    assert_int_equal(hws_buffer_append(hws_outbox_begin(&rig.outboxes[1]), "no", 2), HWS_OK);
    hws_outbox_drop(&rig.outboxes[1]);
    put(0, "b");
}

static void what_is_dropped_takes_nothing_else_along(void **state)
{
    (void)state;
    turn(drop_one);
    expect_log("send0:ab ");
}

static void dispose_one(void)
{
    put(0, "a");
    put(1, "b");
    hws_outbox_dispose(&rig.outboxes[0]);
    expect_log("send0:a send1:b ");
}

static void an_end_sends_first(void **state)
{
    (void)state;
    turn(dispose_one);
    expect_log("");
}

static void send_one(void)
{
    put(0, "a");
    hws_outbox_send(&rig.outboxes[1]);
    expect_log("");
    hws_outbox_send(&rig.outboxes[0]);
    expect_log("send0:a ");
}

static void bytes_can_be_sent_before_the_end_of_the_turn(void **state)
{
    (void)state;
    turn(send_one);
    expect_log("");
}

/* ---- a system that takes no more ---- */

static void write_six(void)
{
    put(0, "abcdef");
}

static void write_three(void)
{
    put(0, "gh");
    put(0, "i");
}

static void the_rest_goes_behind_and_keeps_its_order(void **state)
{
    (void)state;
    rig.takes[0] = 3;
    turn(write_six);
    expect_log("send0:abc flush0:def ");
    turn(write_three);
    expect_log("");
    assert_int_equal(hws_outbox_size(&rig.outboxes[0]), 6);
    flushed(0, HWS_OK);
    expect_log("flush0:ghi ");
    flushed(0, HWS_OK);
    expect_log("");
    assert_false(rig.outboxes[0].is_flushing);
    assert_int_equal(hws_outbox_size(&rig.outboxes[0]), 0);
}

static void it_is_half_closed_once_all_is_written(void **state)
{
    (void)state;
    rig.takes[0] = 3;
    turn(write_six);
    hws_outbox_finish(&rig.outboxes[0]);
    expect_log("send0:abc flush0:def ");
    flushed(0, HWS_OK);
    expect_log("finish0: ");
    assert_int_equal(put(0, "c"), HWS_ERR_PIPE);
    expect_log("");
}

static void write_and_finish(void)
{
    put(0, "a");
    hws_outbox_finish(&rig.outboxes[0]);
}

static void a_half_close_sends_first(void **state)
{
    (void)state;
    turn(write_and_finish);
    expect_log("send0:a finish0: ");
}

/* ---- failures ---- */

static void write_to_all(void)
{
    put(0, "a");
    put(1, "b");
    put(2, "c");
}

static void one_that_breaks_harms_no_other(void **state)
{
    (void)state;
    rig.breaks[1] = HWS_ERR_PIPE;
    turn(write_to_all);
    expect_log("send0:a broken1: failed1: send2:c ");
    assert_int_equal(rig.outboxes[1].error, HWS_ERR_PIPE);
    turn(write_to_all);
    expect_log("send0:a send2:c ");
    assert_int_equal(put(1, "b"), HWS_ERR_PIPE);
}

static void a_flush_that_fails_is_told_and_stays(void **state)
{
    (void)state;
    rig.takes[0] = 0;
    turn(write_six);
    turn(write_three);
    expect_log("send0: flush0:abcdef ");
    flushed(0, HWS_ERR_RESET);
    expect_log("failed0: ");
    assert_int_equal(hws_outbox_size(&rig.outboxes[0]), 0);
    assert_int_equal(put(0, "d"), HWS_ERR_RESET);
}

static void write_six_before_the_memory_ends(void)
{
    write_six();
    hws_memory_fail_at(1);
}

static void no_memory_for_the_rest_is_a_failure(void **state)
{
    (void)state;
    rig.takes[0] = 1;
    turn(write_six_before_the_memory_ends);
    expect_log("send0:a failed0: ");
    hws_memory_fail_at(0);
    assert_int_equal(put(0, "d"), HWS_ERR_NOMEM);
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, begin, end)
    static const struct CMUnitTest tests[] = {
        CASE(what_is_written_outside_of_a_turn_leaves_before_the_next),
        CASE(what_is_written_outside_of_a_turn_leaves_when_it_is_flushed),
        CASE(small_writes_of_a_turn_leave_together_at_its_end),
        CASE(who_has_much_to_say_is_asked_once_at_the_end_of_a_turn),
        CASE(who_has_more_is_asked_again_once_in_each_turn),
        CASE(who_goes_is_not_asked_again),
        CASE(bytes_of_one_connection_keep_their_order),
        CASE(much_leaves_within_the_turn),
        CASE(what_is_dropped_takes_nothing_else_along),
        CASE(an_end_sends_first),
        CASE(bytes_can_be_sent_before_the_end_of_the_turn),
        CASE(the_rest_goes_behind_and_keeps_its_order),
        CASE(it_is_half_closed_once_all_is_written),
        CASE(a_half_close_sends_first),
        CASE(one_that_breaks_harms_no_other),
        CASE(a_flush_that_fails_is_told_and_stays),
        CASE(no_memory_for_the_rest_is_a_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
