/* What is particular to real sockets; what all worlds promise is in test_io.c. */
#include "io/uv.h"

#include "base/memory.h"
#include "support/cmocka.h"
#include "support/far_end.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define HIGHEST_FD 1024

static int begin(void **state)
{
    static far_end_t far_end;

    assert_true(far_end_init(&far_end, UV_TCP4));
    *state = &far_end;
    return 0;
}

static int begin_local(void **state)
{
    static far_end_t far_end;

    assert_true(far_end_init(&far_end, UV_LOCAL));
    *state = &far_end;
    return 0;
}

static int end(void **state)
{
    far_end_dispose(*state);
    return 0;
}

/* The number that the next descriptor will get. */
static int next_fd(void)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static int count_fds(void)
{
    int count = 0;
    int fd;

    for (fd = 0; fd < HIGHEST_FD; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void a_tcp_socket_has_nodelay_and_keepalive_and_is_not_inherited(void **state)
{
    far_end_t *far_end = *state;
    int fd = next_fd();

    far_end_meet(far_end);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
#ifdef TCP_KEEPIDLE
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
#endif
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* Lowers the limit so that not one descriptor is left. */
static void take_all_descriptors(struct rlimit *before)
{
    struct rlimit none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
    none = *before;
    none.rlim_cur = (rlim_t)next_fd();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void give_descriptors_back(const struct rlimit *before)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, before), 0);
}

static void connect_without_a_descriptor_left_says_so_and_works_later(void **state)
{
    far_end_t *far_end = *state;
    struct rlimit before;

    take_all_descriptors(&before);
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_ERR_TOO_MANY_FILES);
    give_descriptors_back(&before);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "");
    far_end_meet(far_end);
}

static void a_world_without_a_descriptor_left_says_so(void **state)
{
    struct rlimit before;
    hws_io_t *io = NULL;
    int rc;

    (void)state;
    take_all_descriptors(&before);
    rc = hws_io_uv_create(&io);
    give_descriptors_back(&before);
    assert_int_equal(rc, HWS_ERR_TOO_MANY_FILES);
    assert_null(io);
}

static void no_descriptor_outlives_its_socket_or_its_world(void **state)
{
    far_end_t far_end;
    hws_address_t nowhere;
    int before = count_fds();
    int in_world;
    int i;

    (void)state;
    assert_true(far_end_init(&far_end, UV_TCP4));
    in_world = count_fds();
    for (i = 0; i < 10; i++) {
        assert_int_equal(witness_connect(&far_end.witness, &far_end.address), HWS_OK);
        witness_close(&far_end.witness, i % 2 == 0);
        assert_int_equal(count_fds(), in_world);
    }
    assert_int_equal(hws_address_from_path(HWS_SLICE("/nonexistent/sock"), &nowhere), HWS_OK);
    assert_int_equal(witness_connect(&far_end.witness, &nowhere), HWS_ERR_NO_SUCH_PATH);
    assert_int_equal(count_fds(), in_world);
    far_end_dispose(&far_end);
    assert_int_equal(count_fds(), before);
}

static bool has_ended(const far_end_t *far_end)
{
    return strstr(far_end->witness.log, "end:") != NULL;
}

static void a_descriptor_given_anew_in_the_same_turn_belongs_to_the_new_socket(void **state)
{
    far_end_t *far_end = *state;
    int fd = next_fd();
    int i;

    for (i = 0; i < 8; i++) {
        assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
        witness_close(&far_end->witness, false);
        assert_int_equal(next_fd(), fd);
    }
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    while (far_end->witness.log[0] == '\0')
        assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(far_end->witness.log, "connect:OK");
    assert_int_equal(next_fd(), fd + 1);
}

/* Another socket of the same world, which only connects. */
typedef struct {
    far_end_t *far_end;
    hws_socket_t *socket;
    int told;
} other_t;

static void on_other_connected(void *owner, int status, hws_time_t now)
{
    other_t *other = owner;

    (void)now;
    assert_int_equal(status, HWS_OK);
    other->told++;
}

static const hws_socket_events_t other_events = {on_other_connected, NULL, NULL, NULL};

static void begin_other(void *user)
{
    other_t *other = user;
    hws_io_t *io = other->far_end->witness.io;

    assert_int_equal(
        io->ops->connect(io, &other->far_end->address, &other_events, other, &other->socket),
        HWS_OK);
}

static void close_other(void *user)
{
    other_t *other = user;

    if (other->socket != NULL)
        other->socket->ops->close(other->socket, false);
    other->socket = NULL;
}

static void act_on(far_end_t *far_end, witness_input_t input, void (*act)(void *user), void *user)
{
    far_end->witness.acts_on = input;
    far_end->witness.act = act;
    far_end->witness.user = user;
}

static bool has_read(const far_end_t *far_end)
{
    return strstr(far_end->witness.log, "bytes") != NULL;
}

/* Over a Unix socket: there each connect is. */
static void a_connect_that_is_answered_at_once_is_told_in_the_same_turn(void **state)
{
    far_end_t *far_end = *state;
    other_t other = {.far_end = far_end};

    far_end_meet(far_end);
    act_on(far_end, ON_BYTES, begin_other, &other);
    witness_read(&far_end->witness, true);
    far_end_send(far_end, "x", 1);
    far_end_run(far_end, has_read);
    assert_int_equal(other.told, 1);
    close_other(&other);
}

/* Else a turn would not end where each that is told begins another. */
static void a_connect_begun_when_another_is_told_waits_for_the_next_turn(void **state)
{
    far_end_t *far_end = *state;
    other_t other = {.far_end = far_end};

    act_on(far_end, ON_CONNECT, begin_other, &other);
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(far_end->witness.log, "connect:OK");
    assert_int_equal(other.told, 0);
    assert_int_equal(far_end->witness.io->ops->timeout(far_end->witness.io), 0);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_int_equal(other.told, 1);
    close_other(&other);
}

static void a_connect_closed_before_its_turn_is_not_told(void **state)
{
    far_end_t *far_end = *state;
    other_t other = {.far_end = far_end};

    act_on(far_end, ON_CONNECT, close_other, &other);
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    begin_other(&other);
    far_end_settle(far_end);
    assert_string_equal(far_end->witness.log, "connect:OK");
    assert_int_equal(other.told, 0);
}

/* With one connection in a backlog of none, Linux answers no SYN. */
static void a_connect_that_nobody_answers_is_waited_for(void **state)
{
    far_end_t *far_end = *state;
    witness_t *witness = &far_end->witness;
    other_t other = {.far_end = far_end};

    assert_int_equal(listen(far_end->listener_fd, 0), 0);
    begin_other(&other);
    while (other.told == 0)
        assert_int_equal(witness_run(witness, HWS_RUN_ONCE), HWS_OK);
    assert_int_equal(witness_connect(witness, &far_end->address), HWS_OK);
    witness_run(witness, HWS_RUN_NOWAIT);
    witness_run(witness, HWS_RUN_NOWAIT);
    assert_int_equal(witness->io->ops->timeout(witness->io), HWS_NEVER);
    witness_arm(witness, witness->io->ops->now(witness->io) + HWS_MS(5));
    assert_int_equal(witness_run(witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(witness->log, "timer");
    close_other(&other);
}

/* The backlog of a Unix socket answers at once when it is full. */
static void connect_to_a_full_unix_backlog_is_refused(void **state)
{
    far_end_t *far_end = *state;
    witness_t *witness = &far_end->witness;
    hws_socket_t *sockets[64];
    int count = 0;
    int rc;

    assert_int_equal(listen(far_end->listener_fd, 1), 0);
    while ((rc = witness_connect(witness, &far_end->address)) == HWS_OK) {
        assert_true(count < 64);
        sockets[count++] = witness->socket;
        witness->socket = NULL;
    }
    assert_int_equal(rc, HWS_ERR_REFUSED);
    while (count > 0) {
        count--;
        sockets[count]->ops->close(sockets[count], false);
    }
}

static void a_flush_that_breaks_raises_no_signal(void **state)
{
    static char data[1 << 20];
    far_end_t *far_end = *state;
    size_t sent = 0;

    far_end_meet(far_end); /* a Unix socket: nothing but EPIPE tells that the peer is gone */
    assert_int_equal(witness_send(&far_end->witness, data, sizeof(data), &sent), HWS_OK);
    witness_flush(&far_end->witness, data, sizeof(data));
    far_end_close(far_end, HWS_SIM_CLOSE);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(far_end->witness.log, "connect:OK flush:EPIPE");
}

static bool has_flushed(const far_end_t *far_end)
{
    return strstr(far_end->witness.log, "flush:") != NULL;
}

static void a_flush_tells_its_progress(void **state)
{
    static char data[4 << 20]; /* many times what a Unix socket takes at once */
    far_end_t *far_end = *state;
    size_t sent = 0;

    far_end_meet(far_end);
    far_end_pause(far_end, true);
    assert_int_equal(witness_send(&far_end->witness, data, sizeof(data), &sent), HWS_OK);
    witness_flush(&far_end->witness, data, sizeof(data) - sent);
    far_end_pause(far_end, false);
    far_end_run(far_end, has_flushed);
    assert_true(far_end->witness.takes > 0);
    assert_string_equal(far_end->witness.log, "connect:OK flush:OK");
}

static void an_unread_close_of_the_peer_is_told_as_reset_after_the_bytes(void **state)
{
    far_end_t *far_end = *state;
    size_t sent = 0;

    far_end_meet(far_end);
    far_end_pause(far_end, true);
    assert_int_equal(witness_send(&far_end->witness, "hello", 5, &sent), HWS_OK);
    far_end_settle(far_end);
    far_end_close(far_end, HWS_SIM_CLOSE); /* bytes unread: TCP answers with RST */
    witness_read(&far_end->witness, true);
    far_end_run(far_end, has_ended);
    assert_string_equal(far_end->witness.log, "connect:OK end:ECONNRESET");
}

/* The kind must be one that a user may retry by, not that of the dial long ago. */
static void whatever_breaks_an_established_connection_is_a_reset(void **state)
{
    far_end_t *far_end = *state;
    int fd = next_fd();
    int no_socket;

    far_end_meet(far_end);
    no_socket = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(dup2(no_socket, fd) == fd);
    close(no_socket);
    assert_int_equal(witness_peek(&far_end->witness), HWS_ERR_RESET);
    assert_int_equal(witness_finish(&far_end->witness), HWS_ERR_RESET);
}

static bool is_readable(int fd, int ms)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    return poll(&one, 1, ms) == 1;
}

/* As a host loop would: it never calls run() but when the descriptor or the timeout says so. */
static void a_host_loop_can_drive_it_by_descriptor_and_timeout(void **state)
{
    far_end_t *far_end = *state;
    hws_io_t *io = far_end->witness.io;
    int turns = 0;

    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    while (far_end->witness.log[0] == '\0') {
        hws_time_t timeout = io->ops->timeout(io);

        assert_true(is_readable(io->ops->descriptor(io), timeout == 0 ? 0 : 10000) || timeout == 0);
        witness_run(&far_end->witness, HWS_RUN_NOWAIT);
        assert_true(++turns < 10);
    }
    assert_string_equal(far_end->witness.log, "connect:OK");
}

static void a_host_loop_that_waits_out_the_timeout_gets_the_timer(void **state)
{
    far_end_t *far_end = *state;
    hws_io_t *io = far_end->witness.io;
    hws_time_t at = io->ops->now(io) + HWS_MS(3);
    int turns = 0;

    witness_arm(&far_end->witness, at);
    while (far_end->witness.log[0] == '\0') {
        hws_time_t timeout = io->ops->timeout(io);

        assert_in_range(timeout, 0, HWS_MS(4));
        assert_false(is_readable(io->ops->descriptor(io), (int)((timeout + 999) / 1000)));
        witness_run(&far_end->witness, HWS_RUN_NOWAIT);
        assert_true(++turns < 10);
    }
    assert_string_equal(far_end->witness.log, "timer");
    assert_true(far_end->witness.now >= at);
}

static void a_quiet_watched_socket_keeps_a_run_waiting(void **state)
{
    far_end_t *far_end = *state;

    far_end_meet(far_end);
    witness_read(&far_end->witness, true);
    witness_run(&far_end->witness, HWS_RUN_NOWAIT);
    assert_int_equal(far_end->witness.io->ops->timeout(far_end->witness.io), HWS_NEVER);
    witness_arm(&far_end->witness, far_end->witness.io->ops->now(far_end->witness.io) + HWS_MS(5));
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(far_end->witness.log, "connect:OK timer");
}

/* With little left to read, or reading off and on between inputs, nothing is read twice. */
static void toggling_reading_loses_and_repeats_nothing(void **state)
{
    far_end_t *far_end = *state;
    char expected[200];
    size_t i;

    far_end_meet(far_end);
    for (i = 0; i < sizeof(expected); i++) {
        expected[i] = (char)i;
        far_end_send(far_end, &expected[i], 1);
        witness_read(&far_end->witness, i % 3 != 0);
        witness_run(&far_end->witness, HWS_RUN_NOWAIT);
    }
    witness_read(&far_end->witness, true);
    while (hws_buffer_size(&far_end->witness.bytes) < sizeof(expected))
        assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_memory_equal(hws_buffer_bytes(&far_end->witness.bytes), expected, sizeof(expected));
}

static void create_and_connect_survive_each_failing_allocation(void **state)
{
    bool has_failed = true;
    uint64_t n;

    (void)state;
    for (n = 1; has_failed; n++) {
        hws_address_t nowhere;
        hws_socket_t *socket;
        hws_io_t *io;
        witness_t witness;
        int rc;

        assert_int_equal(hws_address_from_path(HWS_SLICE("/nonexistent/sock"), &nowhere), HWS_OK);
        hws_memory_fail_at(n);
        rc = hws_io_uv_create(&io);
        if (rc == HWS_OK) {
            witness_init(&witness, io);
            rc = io->ops->connect(io, &nowhere, NULL, NULL, &socket);
        }
        has_failed = hws_memory_count() >= n;
        hws_memory_fail_at(0);
        assert_int_equal(rc, has_failed ? HWS_ERR_NOMEM : HWS_ERR_NO_SUCH_PATH);
        if (n > 2)
            witness_dispose(&witness);
    }
    assert_int_equal(n, 5); /* the world, its read buffer, a chunk of sockets; then none failed */
}

/* Several sockets of one world, all of which have bytes when a turn begins. */
#define MATES 8

typedef struct {
    far_end_t *far_end;
    hws_socket_t *socket;
    int fd; /* the peer's */
    char bytes[100000];
    size_t size;
    size_t sent;
    int ends;
} mate_t;

static mate_t mates[MATES];
static void (*mates_act)(mate_t *mate); /* when bytes come */
static unsigned peeks;

static void on_mate_connected(void *owner, int status, hws_time_t now)
{
    (void)owner;
    (void)now;
    assert_int_equal(status, HWS_OK);
}

static void on_mate_bytes(void *owner, const char *bytes, size_t size, hws_time_t now)
{
    mate_t *mate = owner;

    (void)now;
    assert_non_null(mate->socket);
    assert_int_equal(mate->ends, 0);
    assert_true(mate->size + size <= sizeof(mate->bytes));
    memcpy(mate->bytes + mate->size, bytes, size);
    mate->size += size;
    if (mates_act != NULL)
        mates_act(mate);
}

static void on_mate_end(void *owner, int status, hws_time_t now)
{
    mate_t *mate = owner;

    (void)now;
    assert_int_equal(status, HWS_ERR_EOF);
    assert_int_equal(mate->size, mate->sent);
    mate->ends++;
}

static const hws_socket_events_t mate_events = {on_mate_connected, on_mate_bytes, on_mate_end,
                                                NULL};

static void close_mate(mate_t *mate)
{
    if (mate->socket != NULL)
        mate->socket->ops->close(mate->socket, false);
    mate->socket = NULL;
}

/* Each has been sent so many bytes, which say whose they are, and nobody has looked yet. */
static void meet_mates(far_end_t *far_end, const size_t sizes[MATES], void (*act)(mate_t *mate))
{
    static char bytes[sizeof(mates[0].bytes)];
    hws_io_t *io = far_end->witness.io;
    int i;

    mates_act = act;
    peeks = 0;
    memset(mates, 0, sizeof(mates));
    for (i = 0; i < MATES; i++) {
        mate_t *mate = &mates[i];

        mate->far_end = far_end;
        assert_int_equal(io->ops->connect(io, &far_end->address, &mate_events, mate, &mate->socket),
                         HWS_OK);
        assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
        assert_true((mate->fd = accept(far_end->listener_fd, NULL, NULL)) >= 0);
        mate->socket->ops->read(mate->socket, true);
    }
    for (i = 0; i < MATES; i++) {
        mate_t *mate = &mates[i];

        mate->sent = sizes[i];
        memset(bytes, 'a' + i, mate->sent);
        assert_int_equal(write(mate->fd, bytes, mate->sent), mate->sent);
    }
}

static int end_mates(void **state)
{
    int i;

    for (i = 0; i < MATES; i++) {
        close_mate(&mates[i]);
        close(mates[i].fd);
    }
    return end(state);
}

static unsigned count_told(void)
{
    unsigned told = 0;
    int i;

    for (i = 0; i < MATES; i++)
        told += mates[i].size > 0;
    return told;
}

static const size_t few[MATES] = {1, 2, 3, 4, 5, 6, 7, 8};

/* More than are gathered, and more than are read at once. */
static void all_bytes_of_a_turn_are_told_in_it(void **state)
{
    static const size_t sizes[MATES] = {1, 20000, 100, 20000, 70000, 64, 30000, 5};
    far_end_t *far_end = *state;
    int i;

    meet_mates(far_end, sizes, NULL);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    for (i = 0; i < MATES; i++) {
        size_t k;

        assert_int_equal(mates[i].size, sizes[i]);
        for (k = 0; k < mates[i].size; k++)
            assert_int_equal(mates[i].bytes[k], 'a' + i);
    }
}

static void close_others(mate_t *mate)
{
    int i;

    for (i = 0; i < MATES; i++)
        if (&mates[i] != mate)
            close_mate(&mates[i]);
}

static void who_is_closed_when_another_is_told_hears_no_more(void **state)
{
    far_end_t *far_end = *state;

    meet_mates(far_end, few, close_others);
    far_end_settle(far_end);
    assert_int_equal(count_told(), 1);
}

static void peek_at_all(mate_t *mate)
{
    int i;

    (void)mate;
    for (i = 0; i < MATES; i++) {
        int rc = mates[i].socket->ops->peek(mates[i].socket);

        assert_int_equal(rc, mates[i].size > 0 ? HWS_OK : HWS_ERR_UNEXPECTED);
        peeks++;
    }
}

static void bytes_that_are_not_told_yet_are_seen_by_a_peek(void **state)
{
    far_end_t *far_end = *state;

    meet_mates(far_end, few, peek_at_all);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_int_equal(peeks, MATES * MATES);
}

static void give_all_to(mate_t *mate)
{
    int i;

    mates_act = NULL;
    for (i = 0; i < MATES; i++)
        if (&mates[i] != mate)
            mates[i].socket->ops->give(mates[i].socket, &mate_events, mate);
}

static void bytes_that_are_not_told_yet_go_to_the_new_owner(void **state)
{
    far_end_t *far_end = *state;
    size_t size = 0;
    int i;

    meet_mates(far_end, few, give_all_to);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
    assert_int_equal(count_told(), 1);
    for (i = 0; i < MATES; i++)
        size += mates[i].size;
    assert_int_equal(size, 36);
}

static bool have_all_ended(const far_end_t *far_end)
{
    int ends = 0;
    int i;

    (void)far_end;
    for (i = 0; i < MATES; i++)
        ends += mates[i].ends;
    return ends == MATES;
}

static void an_end_is_told_after_the_bytes_before_it(void **state)
{
    static const size_t sizes[MATES] = {1, 20000, 65536, 20000, 70000, 0, 30000, 5};
    far_end_t *far_end = *state;
    int i;

    meet_mates(far_end, sizes, NULL);
    for (i = 0; i < MATES; i++)
        assert_int_equal(shutdown(mates[i].fd, SHUT_WR), 0);
    while (!have_all_ended(far_end))
        assert_int_equal(witness_run(&far_end->witness, HWS_RUN_ONCE), HWS_OK);
}

typedef struct {
    far_end_t *far_end;
    int fd; /* of the witness's socket */
} stall_t;

/* Takes so long that a deadline passes which is set here, and which bytes come before. */
static void stall(void *user)
{
    const stall_t *stalled = user;
    witness_t *witness = &stalled->far_end->witness;
    struct pollfd bytes = {.fd = stalled->fd, .events = POLLIN};
    hws_time_t until = witness->io->ops->now(witness->io) + HWS_MS(5);

    far_end_send(stalled->far_end, " again", 6);
    assert_int_equal(poll(&bytes, 1, -1), 1);
    witness_arm(witness, until);
    while (witness->io->ops->now(witness->io) < until + HWS_MS(5))
        ;
}

static void a_deadline_never_beats_bytes_that_came_while_the_loop_was_busy(void **state)
{
    stall_t stalled = {.far_end = *state, .fd = next_fd()};
    witness_t *witness = &stalled.far_end->witness;

    far_end_meet(stalled.far_end);
    witness_read(witness, true);
    far_end_send(stalled.far_end, "hello", 5);
    witness->acts_on = ON_BYTES;
    witness->act = stall;
    witness->user = &stalled;
    while (strstr(witness->log, "timer") == NULL)
        assert_int_equal(witness_run(witness, HWS_RUN_ONCE), HWS_OK);
    assert_string_equal(witness->log, "connect:OK bytes timer");
    assert_int_equal(hws_buffer_size(&witness->bytes), strlen("hello again"));
}

/* 5,000 idle sockets are held in slabs: what one costs is counted, not measured. */
static void an_idle_socket_allocates_nothing_of_its_own(void **state)
{
    far_end_t *far_end = *state;

    far_end_meet(far_end);
    hws_memory_fail_at(UINT64_MAX);
    witness_read(&far_end->witness, true);
    far_end_settle(far_end);
    assert_int_equal(hws_memory_count(), 0);
    hws_memory_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH(setup, test) cmocka_unit_test_setup_teardown(test, setup, end)
#define AMONG_MATES(test) cmocka_unit_test_setup_teardown(test, begin_local, end_mates)
        WITH(begin, a_tcp_socket_has_nodelay_and_keepalive_and_is_not_inherited),
        WITH(begin, connect_without_a_descriptor_left_says_so_and_works_later),
        cmocka_unit_test(a_world_without_a_descriptor_left_says_so),
        cmocka_unit_test(no_descriptor_outlives_its_socket_or_its_world),
        WITH(begin, a_descriptor_given_anew_in_the_same_turn_belongs_to_the_new_socket),
        WITH(begin_local, a_connect_that_is_answered_at_once_is_told_in_the_same_turn),
        WITH(begin_local, a_connect_begun_when_another_is_told_waits_for_the_next_turn),
        WITH(begin_local, a_connect_closed_before_its_turn_is_not_told),
        WITH(begin, a_connect_that_nobody_answers_is_waited_for),
        WITH(begin_local, connect_to_a_full_unix_backlog_is_refused),
        WITH(begin_local, a_flush_that_breaks_raises_no_signal),
        WITH(begin_local, a_flush_tells_its_progress),
        WITH(begin, an_unread_close_of_the_peer_is_told_as_reset_after_the_bytes),
        WITH(begin, whatever_breaks_an_established_connection_is_a_reset),
        WITH(begin, a_host_loop_can_drive_it_by_descriptor_and_timeout),
        WITH(begin, a_host_loop_that_waits_out_the_timeout_gets_the_timer),
        WITH(begin, a_quiet_watched_socket_keeps_a_run_waiting),
        WITH(begin, a_deadline_never_beats_bytes_that_came_while_the_loop_was_busy),
        WITH(begin, toggling_reading_loses_and_repeats_nothing),
        AMONG_MATES(all_bytes_of_a_turn_are_told_in_it),
        AMONG_MATES(who_is_closed_when_another_is_told_hears_no_more),
        AMONG_MATES(bytes_that_are_not_told_yet_are_seen_by_a_peek),
        AMONG_MATES(bytes_that_are_not_told_yet_go_to_the_new_owner),
        AMONG_MATES(an_end_is_told_after_the_bytes_before_it),
        cmocka_unit_test(create_and_connect_survive_each_failing_allocation),
        WITH(begin, an_idle_socket_allocates_nothing_of_its_own),
    };

    alarm(120); /* ends a test that waits in vain */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
