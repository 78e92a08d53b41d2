#include "support/far_end.h"

#include "io/uv.h"
#include "support/cmocka.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Small enough for a test to fill, in both worlds. */
#define WINDOW 4096

bool world_is_real(world_kind_t kind)
{
    return kind == UV_TCP4 || kind == UV_TCP6 || kind == UV_LOCAL;
}

bool world_is_local(world_kind_t kind)
{
    return kind == UV_LOCAL || kind == SIM_LOCAL;
}

static hws_slice_t slice(const char *text)
{
    return (hws_slice_t){text, strlen(text)};
}

/* Real sockets ------------------------------------------------------------------------------ */

static bool listen_on(far_end_t *far_end)
{
    int family = far_end->address.as.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, &far_end->address.as.any, far_end->address.size) != 0) {
        assert_int_equal(family, AF_INET6); /* that alone may be missing */
        if (fd >= 0)
            close(fd);
        return false;
    }
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, &far_end->address.as.any, &far_end->address.size), 0);
    far_end->listener_fd = fd;
    return true;
}

static bool begin_real(far_end_t *far_end)
{
    hws_io_t *io;

    if (far_end->kind == UV_LOCAL) {
        snprintf(far_end->path, sizeof(far_end->path), "/tmp/hawser-test-%ld.sock", (long)getpid());
        unlink(far_end->path);
        assert_int_equal(hws_address_from_path(slice(far_end->path), &far_end->address), HWS_OK);
    } else {
        assert_int_equal(hws_address_from_ip(slice(far_end->kind == UV_TCP4 ? "127.0.0.1" : "::1"),
                                             0, &far_end->address),
                         HWS_OK);
    }
    if (!listen_on(far_end))
        return false;
    assert_int_equal(hws_io_uv_create(&io), HWS_OK);
    witness_init(&far_end->witness, io);
    return true;
}

static bool is_not_now(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static void accept_real(far_end_t *far_end)
{
    int fd;

    if (far_end->fd >= 0 || far_end->listener_fd < 0)
        return;
    if ((fd = accept4(far_end->listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0) {
        assert_true(is_not_now());
        return;
    }
    far_end->fd = fd;
    far_end->accepted++;
}

static void take_real(far_end_t *far_end)
{
    char bytes[16384];
    ssize_t n;

    if (far_end->fd < 0 || far_end->is_paused || far_end->ended != HWS_OK)
        return;
    while ((n = recv(far_end->fd, bytes, sizeof(bytes), 0)) > 0)
        assert_int_equal(hws_buffer_append(&far_end->got, bytes, (size_t)n), HWS_OK);
    if (n == 0)
        far_end->ended = HWS_ERR_EOF;
    else if (!is_not_now())
        far_end->ended = HWS_ERR_RESET;
}

static void send_real(far_end_t *far_end)
{
    ssize_t n;

    if (far_end->fd < 0 || hws_buffer_is_empty(&far_end->unsent))
        return;
    n = send(far_end->fd, hws_buffer_bytes(&far_end->unsent), hws_buffer_size(&far_end->unsent),
             MSG_NOSIGNAL);
    if (n > 0)
        hws_buffer_consume(&far_end->unsent, (size_t)n);
    else if (!is_not_now())
        hws_buffer_dispose(&far_end->unsent);
}

static void close_real(far_end_t *far_end, hws_sim_close_t how)
{
    assert_true(hws_buffer_is_empty(&far_end->unsent));
    if (how == HWS_SIM_FINISH) {
        assert_int_equal(shutdown(far_end->fd, SHUT_WR), 0);
        return;
    }
    if (how == HWS_SIM_RESET) {
        struct linger linger = {.l_onoff = 1};

        (void)setsockopt(far_end->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(far_end->fd);
    far_end->fd = -1;
    close(far_end->listener_fd); /* nothing else is to be accepted in its place */
    far_end->listener_fd = -1;
}

/* Simulated peers --------------------------------------------------------------------------- */

static void on_accept(hws_sim_conn_t *conn)
{
    far_end_t *far_end = conn->listener->user;

    far_end->conn = conn;
    far_end->accepted++;
}

static void on_bytes(hws_sim_conn_t *conn, const char *bytes, size_t size)
{
    far_end_t *far_end = conn->listener->user;

    assert_int_equal(hws_buffer_append(&far_end->got, bytes, size), HWS_OK);
}

static void on_end(hws_sim_conn_t *conn, int status)
{
    far_end_t *far_end = conn->listener->user;

    far_end->ended = status;
}

static void on_gone(hws_sim_conn_t *conn)
{
    far_end_t *far_end = conn->listener->user;

    far_end->conn = NULL;
}

static const hws_sim_script_t script = {on_accept, on_bytes, on_end, on_gone};

static void begin_simulated(far_end_t *far_end)
{
    const char *host = far_end->kind == SIM_TCP ? "10.0.0.1" : "/run/far.sock";

    assert_int_equal(hws_sim_create(1, &far_end->sim), HWS_OK);
    assert_int_equal(hws_sim_listen(far_end->sim, host, 80, &script, far_end, &far_end->listener),
                     HWS_OK);
    far_end->listener->options.latency_max = HWS_MS(5);
    far_end->listener->options.window = WINDOW;
    far_end->address = far_end->listener->address;
    witness_init(&far_end->witness, hws_sim_io(far_end->sim));
}

/* Both -------------------------------------------------------------------------------------- */

bool far_end_init(far_end_t *far_end, world_kind_t kind)
{
    memset(far_end, 0, sizeof(*far_end));
    far_end->kind = kind;
    far_end->fd = far_end->listener_fd = -1;
    if (world_is_real(kind))
        return begin_real(far_end);
    begin_simulated(far_end);
    return true;
}

void far_end_dispose(far_end_t *far_end)
{
    witness_dispose(&far_end->witness);
    if (far_end->fd >= 0)
        close(far_end->fd);
    if (far_end->listener_fd >= 0)
        close(far_end->listener_fd);
    if (far_end->path[0] != '\0')
        unlink(far_end->path);
    hws_buffer_dispose(&far_end->got);
    hws_buffer_dispose(&far_end->unsent);
}

static void do_real_part(far_end_t *far_end)
{
    accept_real(far_end);
    send_real(far_end);
    take_real(far_end);
}

/* Whether anything can still happen. Real sockets may always bring something; a test that waits in
 * vain is ended by the alarm that its main() sets. */
static bool turn(far_end_t *far_end)
{
    if (!world_is_real(far_end->kind))
        return witness_run(&far_end->witness, HWS_RUN_ONCE) != HWS_END;
    do_real_part(far_end);
    assert_int_equal(witness_run(&far_end->witness, HWS_RUN_NOWAIT), HWS_OK);
    return true;
}

void far_end_run(far_end_t *far_end, bool (*is_done)(const far_end_t *far_end))
{
    while (!is_done(far_end))
        assert_true(turn(far_end) || is_done(far_end));
}

/* Loopback delivers within the call that sends, or soon after: what has not come in many turns, each
 * with its system calls, is not on its way. This can only make a test pass that should fail. */
void far_end_settle(far_end_t *far_end)
{
    int i;

    for (i = 0; i < 100 && turn(far_end); i++)
        ;
}

static bool have_met(const far_end_t *far_end)
{
    return far_end->accepted == 1 && far_end->witness.log[0] != '\0';
}

void far_end_meet(far_end_t *far_end)
{
    assert_int_equal(witness_connect(&far_end->witness, &far_end->address), HWS_OK);
    far_end_run(far_end, have_met);
    assert_string_equal(far_end->witness.log, "connect:OK");
}

void far_end_send(far_end_t *far_end, const char *data, size_t size)
{
    if (!world_is_real(far_end->kind)) {
        assert_int_equal(hws_sim_send(far_end->conn, data, size), HWS_OK);
        return;
    }
    assert_int_equal(hws_buffer_append(&far_end->unsent, data, size), HWS_OK);
    send_real(far_end);
}

void far_end_close(far_end_t *far_end, hws_sim_close_t how)
{
    if (world_is_real(far_end->kind))
        close_real(far_end, how);
    else
        hws_sim_close(far_end->conn, how);
}

void far_end_pause(far_end_t *far_end, bool on)
{
    far_end->is_paused = on;
    if (!world_is_real(far_end->kind))
        hws_sim_pause(far_end->conn, on);
}

void far_end_refuse(far_end_t *far_end)
{
    if (!world_is_real(far_end->kind)) {
        far_end->listener->options.answer = HWS_ERR_REFUSED;
        return;
    }
    close(far_end->listener_fd);
    far_end->listener_fd = -1;
}
