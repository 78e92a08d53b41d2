/* The sockets are our own, watched through uv_poll_t, and not uv_tcp_t and uv_pipe_t: those write
 * with write(2), which on Linux raises SIGPIPE when the peer is gone. A C library must neither die
 * of that nor change what its host does with signals; send(2) with MSG_NOSIGNAL does neither. It
 * makes an idle socket smaller than a uv_tcp_t alone, and TCP and Unix sockets the same thing. */
#include "io/uv.h"

#include "base/memory.h"
#include "io/process.h"
#include "io/uv_dns.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define READ_SIZE ((size_t)65536)
/* One socket with much to read leaves the others their turn after so many reads. */
#define READS_IN_A_ROW 8
/* The bytes of a turn are told when so many have been read, or all. */
#define MOST_GATHERED ((size_t)32768)
#define READ_BUFFER_SIZE (MOST_GATHERED + sizeof(gathered_t) + READ_SIZE)
#define KEEPALIVE_IDLE_SECONDS 60
#define KEEPALIVE_INTERVAL_SECONDS 10

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where that is missing there is SO_NOSIGPIPE */
#endif

typedef enum { CONNECTING, OPEN, FAILED, CLOSED } state_t;

typedef struct endpoint endpoint_t;

/* What stands before a socket's bytes in the read buffer, while they are gathered. */
typedef struct {
    endpoint_t *socket; /* NULL: it was closed since */
    size_t size;
} gathered_t;

struct endpoint {
    hws_socket_t base;
    uv_poll_t poll;
    const hws_socket_events_t *events;
    void *owner;
    hws_buffer_t rest; /* what flush took over */
    hws_list_t begun;  /* on the world's list of that name, or of those looked at */
    gathered_t *came;  /* its bytes that are not told yet, or NULL */
    int fd;
    uint8_t state;
    uint8_t watched;  /* UV_READABLE | UV_WRITABLE as libuv was told */
    bool is_reading;  /* the owner wants bytes */
    bool has_ended;   /* on_end was told */
    bool is_flushing; /* on_flush is due */
    bool is_in_input; /* what is watched is settled when the input is over */
};

static endpoint_t *endpoint_of(hws_socket_t *socket)
{
    return (endpoint_t *)(void *)socket;
}

typedef struct {
    hws_io_t io;
    uv_loop_t loop;
    uv_timer_t timer;    /* only ends the wait; run() decides whether something is due */
    hws_time_t timer_at; /* what it was started for, HWS_NEVER when it is stopped */
    hws_time_t armed_at;
    hws_time_t polled_at;
    uint64_t read_at; /* the clock, in ns, as it was read last */
    hws_slab_t sockets;
    hws_list_t begun;     /* sockets that connect, and that nobody has looked at since */
    hws_list_t looked_at; /* those of them whose turn it is */
    size_t gathered;      /* the part of the read buffer with bytes that are not told yet */
    hws_dns_t dns;
    size_t watched_count; /* sockets that libuv watches */
    bool had_input;       /* in this turn */
    bool is_woken;
    bool has_news; /* for the system's poll set, which libuv tells it only in a turn */
    char *read_buffer;
    uint32_t generation; /* of the process that made it */
} world_t;

static world_t *world_of(hws_io_t *io)
{
    return (world_t *)io;
}

static hws_time_t read_clock(world_t *world)
{
    world->read_at = uv_hrtime();
    return (hws_time_t)(world->read_at / 1000);
}

/* The coarse clock is what the fine one was at the last tick: costs a quarter of a reading. */
static hws_time_t read_recent(world_t *world)
{
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec tick;

    if (clock_gettime(CLOCK_MONOTONIC_COARSE, &tick) == 0 &&
        (uint64_t)tick.tv_sec * 1000000000 + (uint64_t)tick.tv_nsec <= world->read_at)
        return (hws_time_t)(world->read_at / 1000);
#endif
    return read_clock(world);
}

/* Codes ------------------------------------------------------------------------------------- */

static int code_of(int error)
{
    static const struct {
        int error;
        int code;
    } codes[] = {
        {ECONNREFUSED, HWS_ERR_REFUSED},
        {EAGAIN, HWS_ERR_REFUSED}, /* connect(2) on Unix sockets: the backlog is full */
        {ECONNRESET, HWS_ERR_RESET},
        {ECONNABORTED, HWS_ERR_RESET},
        {EPIPE, HWS_ERR_PIPE},
        {ENOTCONN, HWS_ERR_PIPE},
        {ETIMEDOUT, HWS_ERR_DIAL_TIMED_OUT},
        {EHOSTUNREACH, HWS_ERR_UNREACHABLE},
        {EHOSTDOWN, HWS_ERR_UNREACHABLE},
        {ENETUNREACH, HWS_ERR_NET_UNREACHABLE},
        {ENETDOWN, HWS_ERR_NET_UNREACHABLE},
        {EAFNOSUPPORT, HWS_ERR_NET_UNREACHABLE}, /* a system without IPv6 */
        {EADDRNOTAVAIL, HWS_ERR_NO_PORTS},
        {EMFILE, HWS_ERR_TOO_MANY_FILES},
        {ENFILE, HWS_ERR_TOO_MANY_FILES},
        {EACCES, HWS_ERR_ACCESS},
        {EPERM, HWS_ERR_ACCESS},
        {ENOENT, HWS_ERR_NO_SUCH_PATH},
        {ENOTDIR, HWS_ERR_NO_SUCH_PATH},
        {ENOMEM, HWS_ERR_NOMEM},
        {ENOBUFS, HWS_ERR_NOMEM},
    };
    size_t i;

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].error == error)
            return codes[i].code;
    return HWS_ERR_SYSTEM;
}

/* On an established connection every failure means that it broke: a timeout there is not one of
 * the dial, nor is an unreachable host. */
static int code_of_break(int error)
{
    int code = code_of(error);

    return code == HWS_ERR_PIPE || code == HWS_ERR_NOMEM ? code : HWS_ERR_RESET;
}

static bool is_not_now(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

/* Inputs ------------------------------------------------------------------------------------ */

static world_t *world_of_socket(const endpoint_t *socket)
{
    return socket->poll.loop->data;
}

/* A forked child shares the parent's sockets and its epoll set: whatever it did to them, the parent
 * would feel. There everything is dropped, and only the child's own descriptors are closed. */
static bool is_forked(const world_t *world)
{
    return hws_process_is_forked(world->generation);
}

/* What a turn finds has all come before it began to look: true for the first of it. */
static bool note_input(world_t *world)
{
    if (world->had_input)
        return false;
    world->had_input = true;
    world->polled_at = read_clock(world);
    return true;
}

static hws_time_t begin_input(world_t *world)
{
    return note_input(world) ? world->polled_at : read_recent(world);
}

static void rest(world_t *world)
{
    world->io.on_rest(world->io.owner);
}

/* Nothing in a forked child, also when it was forked while the inputs of a turn were taken: they are
 * the parent's. */
static inline int events_wanted(const endpoint_t *socket)
{
    if (is_forked(world_of_socket(socket)))
        return 0;
    switch ((state_t)socket->state) {
    case CONNECTING:
        return UV_WRITABLE;
    case OPEN:
        return (socket->is_reading && !socket->has_ended ? UV_READABLE : 0) |
               (socket->is_flushing ? UV_WRITABLE : 0);
    case FAILED:
    case CLOSED:
        break;
    }
    return 0;
}

static void note_watched(endpoint_t *socket, int events)
{
    world_t *world = world_of_socket(socket);

    world->watched_count -= socket->watched != 0;
    socket->watched = (uint8_t)events;
    world->watched_count += socket->watched != 0;
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Tells libuv what the socket waits for. Each change costs system calls, so what an owner turns off
 * and on again within one input is never told. */
static void watch(endpoint_t *socket)
{
    int wanted;
    int rc = 0;

    if (socket->is_in_input)
        return;
    wanted = events_wanted(socket);
    if (wanted == socket->watched || is_forked(world_of_socket(socket)))
        return;
    world_of_socket(socket)->has_news = true;
    if (wanted != 0)
        rc = uv_poll_start(&socket->poll, wanted, on_poll);
    else
        rc = uv_poll_stop(&socket->poll);
    assert(rc == 0);
    (void)rc;
    note_watched(socket, wanted);
}

/* What has gone wrong with the socket, 0 when nothing has. */
static int error_of(const endpoint_t *socket)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    return error;
}

static void tell_connected(endpoint_t *socket, int error)
{
    world_t *world = world_of_socket(socket);

    socket->state = error == 0 ? OPEN : FAILED;
    socket->events->on_connect(socket->owner, error == 0 ? HWS_OK : code_of(error),
                               begin_input(world));
    rest(world);
}

static void tell_end(endpoint_t *socket, int status)
{
    world_t *world = world_of_socket(socket);

    socket->has_ended = true;
    socket->events->on_end(socket->owner, status, begin_input(world));
    rest(world);
}

static void tell_bytes(endpoint_t *socket, const char *bytes, size_t size)
{
    world_t *world = world_of_socket(socket);

    socket->events->on_bytes(socket->owner, bytes, size, begin_input(world));
    rest(world);
}

static gathered_t *gathered_at(const world_t *world, size_t at)
{
    return (gathered_t *)(void *)(world->read_buffer + at);
}

/* What they take, so that the next are aligned. */
static size_t gathered_span(size_t size)
{
    return sizeof(gathered_t) +
           (size + sizeof(gathered_t) - 1) / sizeof(gathered_t) * sizeof(gathered_t);
}

/* What the sockets of a turn have is read first and told then, as what they send is gathered: doing
 * much of one kind at a time costs less, because it stays in the CPU's caches. */
static void gather(endpoint_t *socket, size_t size)
{
    world_t *world = world_of_socket(socket);

    (void)note_input(world);
    socket->came = gathered_at(world, world->gathered);
    *socket->came = (gathered_t){socket, size};
    world->gathered += gathered_span(size);
}

static void tell_gathered(world_t *world)
{
    size_t at = 0;

    while (at < world->gathered && !is_forked(world)) {
        const gathered_t *came = gathered_at(world, at);
        endpoint_t *socket = came->socket;

        at += gathered_span(came->size);
        if (socket == NULL)
            continue;
        socket->came = NULL;
        tell_bytes(socket, (const char *)(came + 1), came->size);
        socket->is_in_input = false;
        watch(socket);
    }
    world->gathered = 0;
}

/* A read that does not fill its room took all there was: asking again would cost a system call for
 * nothing. Who has `more` to hear in this turn hears of the bytes first. */
static void take_bytes(endpoint_t *socket, bool more)
{
    world_t *world = world_of_socket(socket);
    ssize_t size = (ssize_t)READ_SIZE;
    int i;

    for (i = 0; i < READS_IN_A_ROW && size == (ssize_t)READ_SIZE; i++) {
        char *room = (char *)(gathered_at(world, world->gathered) + 1);

        if ((events_wanted(socket) & UV_READABLE) == 0)
            return;
        do
            size = recv(socket->fd, room, READ_SIZE, MSG_DONTWAIT);
        while (size < 0 && errno == EINTR);

        if (size == (ssize_t)READ_SIZE || (size > 0 && more))
            tell_bytes(socket, room, (size_t)size);
        else if (size > 0)
            gather(socket, (size_t)size);
        else if (size == 0)
            tell_end(socket, HWS_ERR_EOF);
        else if (!is_not_now(errno))
            tell_end(socket, code_of_break(errno));
    }
}

static int send_some(endpoint_t *socket, const char *data, size_t size, size_t *sent)
{
    ssize_t n;

    do
        n = send(socket->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && !is_not_now(errno) && errno != ENOBUFS)
        return code_of_break(errno);
    *sent = n > 0 ? (size_t)n : 0;
    return HWS_OK;
}

static void continue_flush(endpoint_t *socket)
{
    world_t *world = world_of_socket(socket);
    hws_buffer_t *left = &socket->rest;
    size_t sent = 0;
    int rc = HWS_OK;

    if (!hws_buffer_is_empty(left))
        rc = send_some(socket, hws_buffer_bytes(left), hws_buffer_size(left), &sent);
    if (rc == HWS_OK) {
        hws_buffer_consume(left, sent);
        if (!hws_buffer_is_empty(left))
            rc = HWS_AGAIN;
    }
    if (rc != HWS_AGAIN) {
        hws_buffer_dispose(left);
        socket->is_flushing = false;
    }
    socket->events->on_flush(socket->owner, rc, begin_input(world));
    rest(world);
}

/* libuv reports an error of the socket by `status` alone and stops watching; recv(2) or send(2)
 * then says which one. An owner may close the socket in any input: it stays in memory until libuv
 * calls back, and wants nothing more. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    endpoint_t *socket = HWS_CONTAINER(poll, endpoint_t, poll);
    world_t *world = world_of_socket(socket);
    int error;

    if (socket->came != NULL || world->gathered >= MOST_GATHERED)
        tell_gathered(world);
    if (status < 0) {
        events = UV_READABLE | UV_WRITABLE;
        note_watched(socket, 0);
    }
    socket->is_in_input = true;
    if (events & UV_READABLE && socket->state != CONNECTING)
        take_bytes(socket, (events & UV_WRITABLE) != 0);
    if ((events & UV_WRITABLE) && (events_wanted(socket) & UV_WRITABLE)) {
        if (socket->state != CONNECTING)
            continue_flush(socket);
        else if ((error = error_of(socket)) != EINPROGRESS)
            tell_connected(socket, error);
    }
    if (socket->came != NULL)
        return; /* this input goes on when it is told */
    socket->is_in_input = false;
    watch(socket);
}

/* Told in the turn that it was begun in, or else watched. */
static void look_whether_connected(endpoint_t *socket)
{
    hws_address_t peer;

    peer.size = sizeof(peer.as);
    socket->is_in_input = true;
    if (getpeername(socket->fd, &peer.as.any, &peer.size) == 0)
        tell_connected(socket, 0);
    socket->is_in_input = false;
    watch(socket);
}

/* Over Unix sockets and to this host a connect is answered while it is begun. What need not be
 * waited for is never watched for it, which would cost system calls. Those that are begun when others
 * are told have to wait for the next turn, so that this one ends. */
static void look_at_begun(world_t *world)
{
    hws_list_t *link;

    hws_list_splice(&world->looked_at, &world->begun);
    while (!is_forked(world) && (link = hws_list_first(&world->looked_at)) != NULL) {
        hws_list_remove(link);
        look_whether_connected(HWS_CONTAINER(link, endpoint_t, begun));
    }
}

/* Sockets ----------------------------------------------------------------------------------- */

static void set_option(int fd, int level, int name, int value)
{
    /* A connection without the option is worse, not wrong. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static int open_socket(int family, int *out)
{
#ifdef SOCK_CLOEXEC
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
#else
    int fd = socket(family, SOCK_STREAM, 0);
#endif

    if (fd < 0)
        return code_of(errno);
#ifndef SOCK_CLOEXEC
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
#endif
#ifdef SO_NOSIGPIPE
    set_option(fd, SOL_SOCKET, SO_NOSIGPIPE, 1);
#endif
    if (family != AF_UNIX) {
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE)
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS);
#elif defined(TCP_KEEPALIVE)
        set_option(fd, IPPROTO_TCP, TCP_KEEPALIVE, KEEPALIVE_IDLE_SECONDS);
#endif
    }
    *out = fd;
    return HWS_OK;
}

static int begin_connect(int fd, const hws_address_t *address)
{
    if (connect(fd, &address->as.any, address->size) == 0)
        return HWS_OK;
    /* Interrupted, it goes on by itself just as well. */
    return errno == EINPROGRESS || errno == EINTR ? HWS_OK : code_of(errno);
}

static const hws_socket_ops_t socket_ops;

static int socket_connect(hws_io_t *io, const hws_address_t *address,
                          const hws_socket_events_t *events, void *owner, hws_socket_t **out)
{
    world_t *world = world_of(io);
    endpoint_t *socket = hws_slab_take(&world->sockets);
    int fd = -1;
    int rc;

    if (socket == NULL)
        return HWS_ERR_NOMEM;
    if ((rc = open_socket(address->as.any.sa_family, &fd)) != HWS_OK)
        goto fail;
    if ((rc = begin_connect(fd, address)) != HWS_OK)
        goto fail;
    if ((rc = uv_poll_init_socket(&world->loop, &socket->poll, fd)) != 0) {
        rc = code_of(-rc);
        goto fail;
    }
    socket->base.ops = &socket_ops;
    socket->events = events;
    socket->owner = owner;
    socket->fd = fd;
    socket->state = CONNECTING;
    hws_list_push_back(&world->begun, &socket->begun);
    *out = &socket->base;
    return HWS_OK;

fail:
    if (fd >= 0)
        close(fd);
    hws_slab_give(&world->sockets, socket);
    return rc;
}

static void socket_give(hws_socket_t *handle, const hws_socket_events_t *events, void *owner)
{
    endpoint_t *socket = endpoint_of(handle);
    socket->events = events;
    socket->owner = owner;
}

static void socket_read(hws_socket_t *handle, bool on)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(on || socket->came == NULL);
    socket->is_reading = on;
    watch(socket);
}

static int socket_send(hws_socket_t *handle, const char *data, size_t size, size_t *sent)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN && !socket->is_flushing);
    if (is_forked(world_of_socket(socket)))
        return HWS_ERR_PIPE;
    return send_some(socket, data, size, sent);
}

/* Always waits for readiness first: who flushes was just told by send that the system is full. */
static int socket_flush(hws_socket_t *handle, hws_buffer_t *left)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN && !socket->is_flushing);
    socket->rest = *left;
    *left = (hws_buffer_t){0};
    socket->is_flushing = true;
    watch(socket);
    return HWS_OK;
}

static int socket_finish(hws_socket_t *handle)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state == OPEN && !socket->is_flushing);
    if (is_forked(world_of_socket(socket)))
        return HWS_ERR_PIPE;
    return shutdown(socket->fd, SHUT_WR) == 0 ? HWS_OK : code_of_break(errno);
}

static int socket_peek(hws_socket_t *handle)
{
    endpoint_t *socket = endpoint_of(handle);
    char byte;
    ssize_t n;

    assert(socket->state == OPEN);
    if (socket->came != NULL)
        return HWS_ERR_UNEXPECTED;
    do
        n = recv(socket->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return HWS_ERR_UNEXPECTED;
    if (n == 0)
        return HWS_ERR_EOF;
    return is_not_now(errno) ? HWS_OK : code_of_break(errno);
}

static hws_time_t socket_rtt(hws_socket_t *handle)
{
#ifdef __linux__
    struct tcp_info info;
    socklen_t size = sizeof(info);

    if (getsockopt(endpoint_of(handle)->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        return (hws_time_t)info.tcpi_rtt;
#else
    (void)handle;
#endif
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    world_t *world = handle->loop->data;

    hws_slab_give(&world->sockets, HWS_CONTAINER(handle, endpoint_t, poll));
}

static void socket_close(hws_socket_t *handle, bool reset)
{
    endpoint_t *socket = endpoint_of(handle);
    assert(socket->state != CLOSED);
    socket->state = CLOSED;
    hws_list_remove(&socket->begun);
    if (socket->came != NULL)
        socket->came->socket = NULL;
    note_watched(socket, 0);
    hws_buffer_dispose(&socket->rest);
    if (is_forked(world_of_socket(socket))) {
        close(socket->fd);
        return;
    }
    if (reset) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};

        /* Unix sockets ignore it, some systems refuse it after a FIN: then it is a plain close. */
        (void)setsockopt(socket->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    /* In this order, so that libuv has forgotten the descriptor when its number is given anew. */
    uv_close((uv_handle_t *)&socket->poll, on_closed);
    close(socket->fd);
}

/* Time -------------------------------------------------------------------------------------- */

static hws_time_t clock_now(hws_io_t *io)
{
    return read_clock(world_of(io));
}

static int64_t clock_wall(hws_io_t *io)
{
    (void)io;
    return (int64_t)time(NULL);
}

static hws_time_t clock_recent(hws_io_t *io)
{
    return read_recent(world_of(io));
}

static int fill_random(hws_io_t *io, void *bytes, size_t size)
{
    (void)io;
    return uv_random(NULL, NULL, bytes, size, 0, NULL) == 0 ? HWS_OK : HWS_ERR_SYSTEM;
}

/* uv_stop() keeps uv_run() from waiting for more after this: it fires timers before it polls. */
static void on_fire(uv_timer_t *timer)
{
    world_t *world = timer->loop->data;

    world->timer_at = HWS_NEVER;
    uv_stop(timer->loop);
}

static void start_timer(world_t *world, hws_time_t at)
{
    hws_time_t now = read_clock(world);
    hws_time_t span = at > now ? at - now : 0;

    /* uv_timer_start() counts from the loop's idea of the time, which is as old as its last turn. */
    uv_update_time(&world->loop);
    uv_timer_start(&world->timer, on_fire, (uint64_t)(span / 1000 + (span % 1000 != 0)), 0);
    world->timer_at = at;
}

/* A timer that will end the wait too early is left alone; it is set anew when it has. */
static void arm_timer(hws_io_t *io, hws_time_t at)
{
    world_t *world = world_of(io);

    world->armed_at = at;
    if (at == HWS_NEVER) {
        uv_timer_stop(&world->timer);
        world->timer_at = HWS_NEVER;
    } else if (at < world->timer_at) {
        start_timer(world, at);
    }
}

/* After the inputs, so that a deadline never beats bytes which had come before it: neither those of
 * this turn nor, where they took long, those that the next one will find. libuv counts in milliseconds
 * and may be early by one. */
static void fire_if_due(world_t *world)
{
    hws_time_t due = world->polled_at;

    if (world->armed_at == HWS_NEVER || world->timer_at != HWS_NEVER)
        return;
    if (due < world->armed_at) {
        start_timer(world, world->armed_at);
        return;
    }
    world->armed_at = HWS_NEVER;
    world->had_input = true;
    world->io.on_timer(world->io.owner, due, read_clock(world));
    rest(world);
}

/* Names ------------------------------------------------------------------------------------- */

static int names_create(hws_io_t *io, const hws_names_options_t *options, hws_names_t **out)
{
    return hws_dns_names_create(&world_of(io)->dns, options, out);
}

/* What is asked by those who are told, and known at once, waits for the next turn. */
static void tell_answers(world_t *world)
{
    size_t count;

    for (count = world->dns.answered_count; count > 0 && world->dns.answered_count > 0; count--) {
        if (is_forked(world))
            return;
        hws_dns_tell(&world->dns, begin_input(world));
        rest(world);
    }
}

/* Turns ------------------------------------------------------------------------------------- */

static void ask_rest(hws_io_t *io)
{
    world_of(io)->is_woken = true;
}

/* Nothing to wait for: it is there, or has to be looked at first. */
static bool has_input(const world_t *world)
{
    return world->dns.answered_count > 0 || !hws_list_is_empty(&world->begun);
}

static bool may_bring_input(const world_t *world)
{
    return world->watched_count > 0 || world->armed_at != HWS_NEVER || world->dns.open > 0 ||
           has_input(world);
}

static int run_loop(hws_io_t *io, hws_run_t mode)
{
    world_t *world = world_of(io);
    bool wait = mode == HWS_RUN_ONCE;

    if (is_forked(world))
        return HWS_END;
    if (world->is_woken) {
        world->is_woken = false;
        rest(world);
        wait = false;
    }
    if (is_forked(world))
        return HWS_END;
    if (wait && !may_bring_input(world)) {
        world->has_news = false;
        world->dns.has_news = false;
        uv_run(&world->loop, UV_RUN_NOWAIT); /* lets closed sockets go */
        return HWS_END;
    }
    do {
        world->had_input = false;
        world->has_news = false;
        world->dns.has_news = false;
        uv_run(&world->loop, wait && !has_input(world) ? UV_RUN_ONCE : UV_RUN_NOWAIT);
        tell_gathered(world);
        look_at_begun(world);
        tell_answers(world);
        if (is_forked(world))
            return HWS_END;
        if (!world->had_input)
            world->polled_at = read_clock(world);
        fire_if_due(world);
    } while (wait && !world->had_input && may_bring_input(world));
    return HWS_OK;
}

static int loop_descriptor(hws_io_t *io)
{
    return uv_backend_fd(&world_of(io)->loop);
}

static hws_time_t loop_timeout(hws_io_t *io)
{
    world_t *world = world_of(io);
    int ms;

    if (world->is_woken || world->has_news || world->dns.has_news || has_input(world))
        return 0;
    if (!uv_loop_alive(&world->loop))
        return HWS_NEVER;
    uv_update_time(&world->loop);
    ms = uv_backend_timeout(&world->loop);
    return ms < 0 ? HWS_NEVER : HWS_MS(ms);
}

static hws_time_t loop_polled_at(hws_io_t *io)
{
    return world_of(io)->polled_at;
}

static void loop_destroy(hws_io_t *io)
{
    world_t *world = world_of(io);
    int rc;

    uv_close((uv_handle_t *)&world->timer, NULL);
    while (uv_run(&world->loop, UV_RUN_NOWAIT) != 0)
        ;
    rc = uv_loop_close(&world->loop);
    assert(rc == 0);
    (void)rc;
    hws_slab_dispose(&world->sockets);
    hws_free(world->read_buffer);
    hws_free(world);
}

static const hws_socket_ops_t socket_ops = {
    .give = socket_give,
    .read = socket_read,
    .send = socket_send,
    .flush = socket_flush,
    .finish = socket_finish,
    .peek = socket_peek,
    .close = socket_close,
    .rtt = socket_rtt,
};

static const hws_io_ops_t ops = {
    .now = clock_now,
    .wall = clock_wall,
    .recent = clock_recent,
    .entropy = fill_random,
    .connect = socket_connect,
    .names_create = names_create,
    .names_destroy = hws_dns_names_destroy,
    .ask = hws_dns_ask,
    .unask = hws_dns_unask,
    .arm = arm_timer,
    .wake = ask_rest,
    .run = run_loop,
    .descriptor = loop_descriptor,
    .timeout = loop_timeout,
    .polled_at = loop_polled_at,
    .destroy = loop_destroy,
};

int hws_io_uv_create(hws_io_t **out)
{
    world_t *world = hws_zalloc(sizeof(*world));
    int rc = HWS_ERR_NOMEM;

    if (world == NULL)
        return HWS_ERR_NOMEM;
    if ((world->read_buffer = hws_alloc(READ_BUFFER_SIZE)) == NULL)
        goto fail;
    if ((rc = uv_loop_init(&world->loop)) != 0) {
        rc = code_of(-rc);
        goto fail;
    }
    uv_timer_init(&world->loop, &world->timer);
    world->loop.data = world;
    hws_dns_init(&world->dns, &world->loop);
    world->io.ops = &ops;
    world->timer_at = HWS_NEVER;
    world->armed_at = HWS_NEVER;
    world->polled_at = read_clock(world);
    world->generation = hws_process_generation();
    hws_list_init(&world->begun);
    hws_list_init(&world->looked_at);
    hws_slab_init(&world->sockets, sizeof(endpoint_t), sizeof(endpoint_t));
    *out = &world->io;
    return HWS_OK;

fail:
    hws_free(world->read_buffer);
    hws_free(world);
    return rc;
}
