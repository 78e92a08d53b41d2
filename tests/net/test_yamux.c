/* The yamux codec against hashicorp's own, over sockets, in both roles. */
#include "base/buffer.h"
#include "base/list.h"
#include "codec/yamux.h"
#include "support/cmocka.h"
#include "support/program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, PIECE = 65536 };

static program_t yamuxd;

/* A session, and the streams on it. */
typedef struct {
    hws_codec_t *codec;
    hws_window_budget_t budget;
    hws_buffer_t out;
    hws_list_t lines;
    unsigned open; /* that have not heard their last */
    int fd;
    bool echoes; /* what the peer opens */
    bool is_over;
    int failure;
} session_t;

typedef struct {
    hws_list_t link;
    hws_stream_t stream;
    session_t *session;
    hws_buffer_t come; /* an echo's, not sent back yet; else the beginning of all that came */
    uint64_t received;
    uint32_t sum;
    const char *data; /* to be sent */
    size_t size;
    bool is_echo;
    bool ends; /* after that */
    bool has_ended;
    int status; /* HWS_AGAIN until on_end */
} line_t;

/* Streams ------------------------------------------------------------------------------------- */

static size_t on_body(hws_stream_t *stream, const char *data, size_t size)
{
    line_t *line = HWS_CONTAINER(stream, line_t, stream);

    assert_int_equal(line->status, HWS_AGAIN);
    line->received += size;
    for (size_t i = 0; i < size; i++)
        line->sum = (line->sum ^ (unsigned char)data[i]) * 16777619U;
    if (line->is_echo || hws_buffer_size(&line->come) < 1000)
        assert_int_equal(hws_buffer_append(&line->come, data, size), HWS_OK);
    return line->is_echo ? 0 : size;
}

static void on_end(hws_stream_t *stream, int status)
{
    line_t *line = HWS_CONTAINER(stream, line_t, stream);

    assert_true(line->status <= 0 ? status < 0 : true);
    line->status = status;
    if (stream->part == NULL)
        line->session->open--;
}

static void on_writable(hws_stream_t *stream)
{
    (void)stream; /* every turn asks every stream anyway */
}

static const hws_stream_events_t events = {
    .on_body = on_body, .on_end = on_end, .on_writable = on_writable};

static line_t *add_line(session_t *session)
{
    line_t *line = calloc(1, sizeof(*line));

    assert_non_null(line);
    line->session = session;
    line->stream.events = &events;
    line->status = HWS_AGAIN;
    line->sum = 2166136261U;
    hws_list_push_back(&session->lines, &line->link);
    session->open++;
    return line;
}

static line_t *open_line(session_t *session, const char *data, size_t size, bool ends)
{
    line_t *line = add_line(session);

    assert_true(session->codec->room > 0);
    line->data = data;
    line->size = size;
    line->ends = ends;
    assert_int_equal(session->codec->ops->open(session->codec, &line->stream, NULL, NULL), HWS_OK);
    return line;
}

static line_t *accept_line(session_t *session)
{
    line_t *line = add_line(session);

    line->is_echo = session->echoes;
    assert_int_equal(session->codec->ops->accept(session->codec, &line->stream), HWS_OK);
    return line;
}

static size_t send_some(line_t *line, const char *data, size_t size, bool ends)
{
    hws_codec_t *codec = line->session->codec;
    size_t taken = 0;

    assert_int_equal(codec->ops->send(codec, &line->stream, data, size, ends, NULL, &taken),
                     HWS_OK);
    if (!ends || taken < size)
        return taken;
    line->has_ended = true;
    if (line->status != HWS_AGAIN)
        line->session->open--;
    return taken;
}

static void echo(line_t *line)
{
    hws_codec_t *codec = line->session->codec;
    bool ends = line->status == HWS_OK;
    size_t size =
        send_some(line, hws_buffer_bytes(&line->come), hws_buffer_size(&line->come), ends);

    if (line->stream.part != NULL)
        assert_int_equal(codec->ops->credit(codec, &line->stream, size), HWS_OK);
    hws_buffer_consume(&line->come, size);
}

static void go_on(line_t *line)
{
    size_t taken;

    if (line->stream.part == NULL || line->has_ended)
        return;
    if (line->is_echo) {
        echo(line);
        return;
    }
    taken = send_some(line, line->data, line->size, line->ends);
    line->data += taken;
    line->size -= taken;
}

static void close_line(line_t *line)
{
    hws_list_remove(&line->link);
    hws_buffer_dispose(&line->come);
    free(line);
}

/* Sessions ------------------------------------------------------------------------------------ */

static void connect_session(session_t *session, const char *port, hws_yamux_role_t role)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(program_port(&yamuxd, port))};
    hws_codec_options_t options = {.buffer = 262144,
                                   .streams = 1000,
                                   .accepts = true,
                                   .windows.stream_max = 16777216,
                                   .budget = &session->budget};
    int one = 1;

    *session = (session_t){.budget.limit = 268435456};
    hws_list_init(&session->lines);
    assert_int_equal(hws_yamux_create(&options, role, &session->codec), HWS_OK);
    session->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(session->fd >= 0);
    assert_int_equal(connect(session->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(session->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    assert_int_equal(fcntl(session->fd, F_SETFL, O_NONBLOCK), 0);
}

static void close_session(session_t *session)
{
    hws_list_t *link;

    close(session->fd);
    session->codec->ops->destroy(session->codec);
    while ((link = hws_list_first(&session->lines)) != NULL)
        close_line(HWS_CONTAINER(link, line_t, link));
    assert_int_equal(session->budget.used, 0);
    hws_buffer_dispose(&session->out);
}

/* Whether there may be more to write. */
static bool write_some(session_t *session)
{
    ssize_t size;
    int rc;

    if (hws_buffer_size(&session->out) < PIECE &&
        (rc = session->codec->ops->flush(session->codec, PIECE, &session->out)) != HWS_OK)
        session->failure = rc;
    size = send(session->fd, hws_buffer_bytes(&session->out), hws_buffer_size(&session->out),
                MSG_NOSIGNAL);
    if (size > 0)
        hws_buffer_consume(&session->out, (size_t)size);
    else
        assert_true(size == 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
    return size > 0 || !hws_buffer_is_empty(&session->out);
}

static void read_some(session_t *session)
{
    static char bytes[PIECE];
    ssize_t size = recv(session->fd, bytes, sizeof(bytes), 0);
    int rc;

    if (size < 0 && errno == EAGAIN)
        return;
    if (size > 0) {
        rc = session->codec->ops->feed(session->codec, bytes, (size_t)size);
    } else {
        session->is_over = true;
        rc = session->codec->ops->feed_end(session->codec);
    }
    if (rc != HWS_OK)
        session->failure = rc;
}

/* Moves everything on, and waits for the socket when there is nothing else to do. */
static void turn(session_t *session)
{
    struct pollfd poll_fd = {.fd = session->fd, .events = POLLIN};

    while (session->failure == HWS_OK && session->codec->unaccepted > 0)
        (void)accept_line(session);
    HWS_LIST_EACH(link, &session->lines)
        go_on(HWS_CONTAINER(link, line_t, link));
    if (write_some(session))
        poll_fd.events |= POLLOUT;
    assert_true(poll(&poll_fd, 1, PATIENCE_MS) > 0);
    if (poll_fd.revents != POLLOUT)
        read_some(session);
}

/* Until all streams have heard their last. */
static void finish(session_t *session)
{
    while (session->open > 0) {
        assert_int_equal(session->failure, HWS_OK);
        turn(session);
    }
    (void)write_some(session);
}

static void must_have_come(const line_t *line, const char *text)
{
    assert_int_equal(line->status, HWS_OK);
    assert_int_equal(hws_buffer_size(&line->come), strlen(text));
    assert_memory_equal(hws_buffer_bytes(&line->come), text, strlen(text));
}

/* Bytes to send ------------------------------------------------------------------------------- */

enum { MUCH = 10 * 1024 * 1024 };

/* "COMMAND\n", then `size` bytes of the pattern of yamuxd. The caller frees it. */
static char *make_data(const char *command, size_t size, uint32_t *sum)
{
    size_t length = strlen(command);
    char *data = malloc(length + size);

    assert_non_null(data);
    memcpy(data, command, length);
    *sum = 2166136261U;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)(i * 7 % 251);

        data[length + i] = (char)byte;
        *sum = (*sum ^ byte) * 16777619U;
    }
    return data;
}

static int begin(void **state)
{
    (void)state;
    program_start(&yamuxd, "yamuxd");
    return 0;
}

static int end(void **state)
{
    (void)state;
    program_stop(&yamuxd);
    return 0;
}

/* The client's side --------------------------------------------------------------------------- */

static void a_stream_echoes(void **state)
{
    session_t session;
    line_t *line;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    line = open_line(&session, "echo\nhello", 10, true);
    assert_int_equal(session.codec->awaited, 1);
    while (line->received < 5)
        turn(&session);
    finish(&session);
    must_have_come(line, "hello");
    assert_int_equal(session.codec->awaited, 0);
    assert_int_equal(session.codec->room, 256);
    close_session(&session);
}

static void ten_mebibytes_go_out_and_come_in(void **state)
{
    session_t session;
    line_t *lines[3];
    uint32_t sum;
    char *out = make_data("sink\n", MUCH, &sum);
    char *both = make_data("echo\n", MUCH, &sum);
    char text[64];

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    lines[0] = open_line(&session, out, 5 + MUCH, true);
    lines[1] = open_line(&session, "source 10485760\n", 16, true);
    lines[2] = open_line(&session, both, 5 + MUCH, true);
    finish(&session);
    snprintf(text, sizeof(text), "%d %u\n", MUCH, sum);
    must_have_come(lines[0], text);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(lines[i]->status, HWS_OK);
        assert_int_equal(lines[i]->received, MUCH);
        assert_int_equal(lines[i]->sum, sum);
    }
    close_session(&session);
    free(out);
    free(both);
}

static void a_thousand_streams_follow_each_other(void **state)
{
    session_t session;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    for (int i = 0; i < 1000; i++) {
        line_t *line = open_line(&session, "echo\nagain", 10, true);

        finish(&session);
        must_have_come(line, "again");
        assert_int_equal(line->stream.id, 1 + 2 * i);
        close_line(line);
    }
    assert_int_equal(session.codec->room, 256);
    close_session(&session);
}

static void two_hundred_streams_are_open_at_once(void **state)
{
    line_t *lines[200];
    session_t session;
    uint32_t sum;
    char *data = make_data("echo\n", 5000, &sum);

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    for (int i = 0; i < 200; i++)
        lines[i] = open_line(&session, data, 5 + 5000, true);
    finish(&session);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(lines[i]->status, HWS_OK);
        assert_int_equal(lines[i]->received, 5000);
        assert_int_equal(lines[i]->sum, sum);
    }
    close_session(&session);
    free(data);
}

static void either_side_may_end_first(void **state)
{
    session_t session;
    line_t *line;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    line = open_line(&session, "half\n", 5, false);
    while (line->status == HWS_AGAIN)
        turn(&session);
    must_have_come(line, "bye\n");
    line->data = "and still";
    line->size = 9;
    line->ends = true;
    go_on(line);
    assert_int_equal(session.open, 0);
    line = open_line(&session, "echo\nthere", 10, true);
    finish(&session);
    must_have_come(line, "there");
    close_session(&session);
}

static void both_sides_give_signs_of_life(void **state)
{
    session_t session;
    line_t *line;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    assert_int_equal(session.codec->ops->ping(session.codec), HWS_OK);
    while (session.codec->pongs == 0)
        turn(&session);
    line = open_line(&session, "ping\n", 5, true);
    finish(&session);
    must_have_come(line, "pong\n");
    close_session(&session);
}

/* Waits until so many bytes can be read. */
static void await_bytes(const session_t *session, int size)
{
    struct pollfd poll_fd = {.fd = session->fd, .events = POLLIN};
    int one = 1;

    assert_int_equal(setsockopt(session->fd, SOL_SOCKET, SO_RCVLOWAT, &size, sizeof(size)), 0);
    assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
    assert_int_equal(setsockopt(session->fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one)), 0);
}

static void a_stream_that_a_leaving_peer_refuses_was_not_seen(void **state)
{
    session_t session;
    line_t *first;
    line_t *late;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    first = open_line(&session, "goaway\n", 7, false);
    go_on(first);
    (void)write_some(&session);
    await_bytes(&session, 2 * 12); /* an acknowledgement, and the GOAWAY that we read too late */
    late = open_line(&session, "echo\nlate", 9, true);
    go_on(late);
    (void)write_some(&session);
    while (late->status == HWS_AGAIN)
        turn(&session);
    assert_int_equal(late->status, HWS_ERR_REFUSED_STREAM);
    assert_true(session.codec->is_last);
    assert_int_equal(session.codec->room, 0);
    first->data = "still";
    first->size = 5;
    first->ends = true;
    finish(&session);
    must_have_come(first, "going\nstill");
    close_session(&session);
}

static void a_peer_that_closes_cuts_streams_short(void **state)
{
    session_t session;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    (void)open_line(&session, "echo\n", 5, false);
    (void)open_line(&session, "close\n", 6, false);
    while (!session.is_over)
        turn(&session);
    assert_int_equal(session.failure, HWS_ERR_EOF);
    close_session(&session);
}

static void what_we_give_up_the_peer_gives_up(void **state)
{
    session_t session;
    line_t *line;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    for (int i = 0; i < 300; i++) {
        line = open_line(&session, "source 1000000\n", 15, false);
        while (line->received == 0)
            turn(&session);
        session.codec->ops->reset(session.codec, &line->stream, HWS_CODEC_CANCEL);
        session.open--;
        close_line(line);
    }
    line = open_line(&session, "echo\nwell", 9, true);
    finish(&session);
    must_have_come(line, "well");
    assert_int_equal(session.codec->room, 256);
    close_session(&session);
}

/* The server's side --------------------------------------------------------------------------- */

/* What the peer opens echoes, while it is told what to do on `line`. */
static void must_do(session_t *session, line_t *line, const char *command, const char *answer)
{
    session->echoes = true;
    line->is_echo = false;
    line->data = command;
    line->size = strlen(command);
    line->ends = true;
    finish(session);
    must_have_come(line, answer);
    assert_int_equal(session->codec->unaccepted, 0);
}

static void a_server_is_what_the_peer_opens_streams_to(void **state)
{
    static const char *const commands[][2] = {{"dial 1 5\n", "OK 1\n"},
                                              {"dial 200 1000\n", "OK 200\n"},
                                              {"dial 600 100\n", "OK 600\n"},
                                              {"serial 1000 10\n", "OK 1000\n"},
                                              {"dial 3 5000000\n", "OK 3\n"}};

    (void)state;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        session_t session;

        connect_session(&session, "client", HWS_YAMUX_SERVER);
        while (hws_list_is_empty(&session.lines))
            turn(&session);
        must_do(&session, HWS_CONTAINER(hws_list_first(&session.lines), line_t, link),
                commands[i][0], commands[i][1]);
        close_session(&session);
    }
}

static void a_client_may_be_called_too(void **state)
{
    session_t session;

    (void)state;
    connect_session(&session, "server", HWS_YAMUX_CLIENT);
    must_do(&session, open_line(&session, "", 0, false), "dial 100 300000\n", "OK 100\n");
    close_session(&session);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_echoes),
        cmocka_unit_test(ten_mebibytes_go_out_and_come_in),
        cmocka_unit_test(a_thousand_streams_follow_each_other),
        cmocka_unit_test(two_hundred_streams_are_open_at_once),
        cmocka_unit_test(either_side_may_end_first),
        cmocka_unit_test(both_sides_give_signs_of_life),
        cmocka_unit_test(a_stream_that_a_leaving_peer_refuses_was_not_seen),
        cmocka_unit_test(a_peer_that_closes_cuts_streams_short),
        cmocka_unit_test(what_we_give_up_the_peer_gives_up),
        cmocka_unit_test(a_server_is_what_the_peer_opens_streams_to),
        cmocka_unit_test(a_client_may_be_called_too),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
