/* faultd.c - a server on the loopback that misbehaves on request.
 *
 *     faultd [--unix PATH]
 *     faultd port          prints a port of 127.0.0.1 that is free, and exits
 *
 * It prints where it listens, a line each, then "ready":
 *
 *     http PORT         HTTP/1.1 on 127.0.0.1 (and on the unix socket PATH, when asked)
 *     http6 PORT        the same on ::1; 0 where there is no IPv6
 *     raw PORT          lines, for leases, on 127.0.0.1 (and on the unix socket PATH.raw)
 *     h2 PORT           HTTP/2 in the clear, by prior knowledge, on 127.0.0.1
 *     control PORT      HTTP/1.1: counters, barriers and switches for tests
 *     blackhole PORT    its backlog is full: a dial neither succeeds nor fails
 *     closed PORT       taken, but nobody listens: a dial is refused
 *     ready
 *
 * It exits when its standard input closes, so that a test that dies leaves nothing behind, and by
 * itself after ten minutes.
 *
 * HTTP. The path says what happens once the whole request is there. Every response carries
 * X-Connection (which connection, counted from 1) and X-Request (which request on it). A query
 * `?key=K` counts the request as seen under its method and K. HEAD gets the head alone.
 *
 *     /ok                  200, "ok"
 *     /status/N            that status; a body unless 204 or 304
 *     /first/N/HOW/KEY     the first N requests under KEY get that status, or "rst", "fin" or
 *                          "never"; the others 200. /S behind it: with Retry-After: S
 *     /bytes/N             a body of N bytes 'x', Content-Length
 *     /chunked/N/SIZE      N chunks of SIZE bytes 'x', chunk extensions on each
 *     /trailers            "ok" chunked, then the trailers X-Sum and X-Second
 *     /until-close/N       N bytes without a length, ended by FIN
 *     /echo                the request's head as it came, then its decoded body
 *     /body                the decoded request body alone
 *     /sink                "FRAMING BYTES SUM": none, sized or chunked; the sum of all bytes
 *     /early/N             that status at once, before the request's body is read
 *     /unread/KEY          reads nothing of the body until KEY is released, then as /sink
 *     /slow/MS             200 after MS
 *     /hold/KEY            200 once KEY is released (control), not before
 *     /drip/N/MS           a body of N bytes, one each MS
 *     /drip-head/MS        a response of which each byte, head and body, takes MS
 *     /never               reads the request and is silent
 *     /stall/head          half a head, then silence
 *     /stall/body          5 bytes of a body of 10, then silence
 *     /stall/chunk         the same, chunked
 *     /rst/now  /fin/now   closed with RST or FIN instead of a response
 *     /rst/head /fin/head  ... after half a head
 *     /rst/body /fin/body  ... after 5 bytes of a body of 10
 *     /fin/chunk           ... after 5 bytes of a chunk of 10
 *     /rst/after /fin/after  ... directly after a whole response that promised to stay
 *     /rst/early           RST when the head is there, before the request's body is read
 *     /stale/rst /stale/fin  200; then closed at the first bytes of the next request, which is
 *                          still counted when its head came with them
 *     /idle/MS             200; from now on FIN after MS without a request
 *     /extra               200, and bytes after the response that nothing asked for
 *     /close               200 with Connection: close, then FIN
 *     /old                 200 of HTTP/1.0 without a length, then FIN
 *     /keepalive/N         200 with Keep-Alive: timeout=N
 *     /continue            100, then 200
 *     /informational/N     N times 103, then 200
 *     /upgrade             101
 *     /head-size/N         a header block of N bytes in many fields
 *     /line-size/N         one header field of N bytes
 *     /fields/N            N header fields
 *     /chunk-line/N        a chunk whose size line has N bytes
 *     /endless/head        header fields without end
 *     /raw/HEX             exactly these bytes
 *     /raw/HEX/fin, /rst   ... then FIN or RST
 *     /split/HEX           the same, each byte in a segment of its own
 *
 * raw. Each line is sent back, but for those that begin with "+":
 *
 *     +rst +fin            RST, FIN          +silence      never says anything again
 *     +bytes N             N bytes 'x'       +drip N MS    N bytes 'x', one each MS
 *     +hex HEX             these bytes       +auth WORD    "+OK" if WORD is "secret", else "-ERR"
 *     +id                  the connection's number, counted from 1
 *     +count               how many lines this connection has sent
 *     +hold KEY            "released" once KEY is released
 *     +unread KEY          reads nothing until KEY is released, then "+resumed"
 *     +stale               "ok"; then RST at the first bytes that follow
 *
 * When the client half-closes, what is under way is finished, then "bye" and FIN.
 *
 * h2. The path is a list of steps, /play/STEP+STEP+STEP, which are played once the request is there whole; those of
 * /at-head/STEP+STEP begin at its head, and the window of its body stays closed until a step `read`. A key counts a
 * request as for HTTP. Every head has X-Connection and X-Stream (its id). A connection begins with the steps `limit.100`
 * unless control says otherwise.
 *
 *     ok                   200, "ok"              status.N    that status, without a body
 *     head                 200 and its head alone
 *     body.N               200, a body of N bytes 'x' as windows allow, Content-Length
 *     sink                 200, "BYTES SUM" of the request's body, once that is whole
 *     first.N.KEY          the first N requests under KEY go on to the next step, the others get `ok`
 *     hold.KEY             waits until KEY is released
 *     frame.TYPE.FLAGS.ID.PAYLOAD     exactly this frame. ID is a number, m: this stream, p: the one before, or n: the
 *                          newest. PAYLOAD may be missing, or is HEX,HEX*N,HEX, of which the second comes N times
 *     bytes.PAYLOAD        these bytes
 *     rst.CODE             RST_STREAM
 *     goaway.ID.CODE       GOAWAY; streams above ID get no answer
 *     limit.N              SETTINGS_MAX_CONCURRENT_STREAMS. Streams beyond it are refused once it was acknowledged
 *     read                 opens the window of an /at-head
 *     deaf                 PING gets no answer from now on
 *     calm                 PING gets a GOAWAY with ENHANCE_YOUR_CALM from now on, and FIN
 *     silent               nothing is said or looked at any more
 *     fin, crash           FIN, RST of the connection
 *     none                 nothing
 *     N*STEP               the step N times
 *
 * control. SERVICE is http, raw or h2, COUNTER one of accepted, open, most (the most that were open at
 * once), requests (HTTP heads or raw lines), in and out (bytes); of h2 also streams, open-streams, most-streams (on one
 * connection), over (opened beyond an acknowledged limit), push (connections that did not refuse pushes), and of the
 * frames that came pings, windows, resets, reset-code (of the last one), goaways, code (of the last one). The body is a
 * number unless something else is said here.
 *
 *     /get/SERVICE/COUNTER
 *     /await/SERVICE/COUNTER/N    answers once the counter is N: the way to wait for an event
 *     /seen/METHOD/KEY            how many such requests came
 *     /held/KEY/N                 answers once N exchanges are held by KEY
 *     /release/KEY                lets those go on; how many
 *     /poke/SERVICE/fin           closes all connections on which nothing is under way; how many
 *     /poke/SERVICE/rst           ... with RST
 *     /poke/SERVICE/bytes         ... sends each the bytes "?!" instead
 *     /seen-twice                 how many pairs of method and key came more than once
 *     /down                       http on 127.0.0.1 is as after a crash: nobody listens there, and
 *                                 all connections of http are reset
 *     /up                         ... listens there again
 *     /h2/STEP+STEP               plays steps on every connection of h2; how many
 *     /h2-greeting/STEP+STEP      what its new connections begin with; none: as before
 *     /zero                       forgets what was seen; `most` becomes what is open now */
#include "faultd/faultd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIFETIME_MS = 10 * 60 * 1000, BACKLOG = 1024, FILLERS = 8 };

static uv_loop_t *loop;
static union {
    uv_pipe_t pipe;
    uv_tty_t tty;
    uv_stream_t stream;
} input;
static uv_timer_t lifetime;

static void fail(const char *what, int rc)
{
    fprintf(stderr, "faultd: %s: %s\n", what, uv_strerror(rc));
    exit(1);
}

/* Listening ----------------------------------------------------------------------------------- */

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        client_accept(listener->data, listener);
}

static void listen_on(uv_stream_t *listener, service_t *service, const char *where)
{
    int rc;

    listener->data = service;
    if ((rc = uv_listen(listener, BACKLOG, on_connection)) != 0)
        fail(where, rc);
}

static uint16_t port_of(const uv_tcp_t *listener)
{
    struct sockaddr_storage address;
    int size = sizeof(address);

    uv_tcp_getsockname(listener, (struct sockaddr *)&address, &size);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static void print_port(const char *name, const uv_tcp_t *listener)
{
    printf("%s %d\n", name, port_of(listener));
}

static uv_tcp_t *listen_on_port(const char *name, service_t *service, uint16_t port)
{
    uv_tcp_t *listener = allocate(sizeof(*listener));
    struct sockaddr_in address;
    int rc;

    uv_ip4_addr("127.0.0.1", port, &address);
    uv_tcp_init(loop, listener);
    if ((rc = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0)) != 0)
        fail(name, rc);
    listen_on((uv_stream_t *)listener, service, name);
    return listener;
}

static uv_tcp_t *serve_tcp(const char *name, service_t *service)
{
    uv_tcp_t *listener = listen_on_port(name, service, 0);

    print_port(name, listener);
    return listener;
}

/* A crash of http, and what follows it: on the same port. */
static uv_tcp_t *http_listener; /* NULL: down */
static uint16_t http_port;

static void free_listener(uv_handle_t *listener)
{
    free(listener);
}

void go_down(void)
{
    client_t *client = http_service.clients;

    if (http_listener == NULL)
        return;
    http_port = port_of(http_listener);
    uv_close((uv_handle_t *)http_listener, free_listener);
    http_listener = NULL;
    while (client != NULL) {
        client_t *next = client->next;

        client_reset(client);
        client = next;
    }
}

void go_up(void)
{
    if (http_listener == NULL)
        http_listener = listen_on_port("http", &http_service, http_port);
}

/* A machine without IPv6 is no reason to fail: it gets port 0. */
static void serve_tcp6(const char *name, service_t *service)
{
    uv_tcp_t *listener = allocate(sizeof(*listener));
    struct sockaddr_in6 address;

    uv_ip6_addr("::1", 0, &address);
    uv_tcp_init(loop, listener);
    listener->data = service;
    if (uv_tcp_bind(listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)listener, BACKLOG, on_connection) != 0)
        printf("%s 0\n", name);
    else
        print_port(name, listener);
}

static void serve_unix(const char *path, const char *suffix, service_t *service)
{
    uv_pipe_t *listener = allocate(sizeof(*listener));
    char name[108];
    int rc;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    uv_pipe_init(loop, listener, 0);
    if ((rc = uv_pipe_bind(listener, name)) != 0)
        fail(name, rc);
    listen_on((uv_stream_t *)listener, service, name);
}

/* Ports that never answer ---------------------------------------------------------------------- */

static int bound_socket(struct sockaddr_in *address)
{
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    uv_ip4_addr("127.0.0.1", 0, address);
    if (fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) != 0)
        fail("bind", uv_translate_sys_error(errno));
    return fd;
}

/* The kernel drops a SYN when the queue of accepted connections is full, so fill it. */
static void open_blackhole(void)
{
    struct sockaddr_in address;
    int fd = bound_socket(&address);

    if (listen(fd, 0) != 0)
        fail("listen", uv_translate_sys_error(errno));
    for (int i = 0; i < FILLERS; i++) {
        int filler = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        (void)connect(filler, (const struct sockaddr *)&address, sizeof(address));
    }
    printf("blackhole %d\n", ntohs(address.sin_port));
}

/* A port for a server that will listen soon. It is none of those that the system gives to whoever
 * asks for any, or connects; and as processes differ in their ids, two that ask at once get two. */
static int free_port(void)
{
    enum { FIRST = 10000, COUNT = 20000, STRIDE = 101 };

    for (int i = 0; i < COUNT; i++) {
        int port = FIRST + (int)((getpid() + (long)i * STRIDE) % COUNT);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address;
        int rc;

        uv_ip4_addr("127.0.0.1", port, &address);
        rc = bind(fd, (const struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (rc == 0)
            return port;
    }
    fail("no port is free", UV_EADDRINUSE);
    return 0;
}

/* A port that is bound is nobody else's, and as nobody listens, it refuses. */
static void reserve_port(const char *name)
{
    struct sockaddr_in address;

    (void)bound_socket(&address);
    printf("%s%d\n", name, ntohs(address.sin_port));
}

/* Until when ----------------------------------------------------------------------------------- */

static void on_lifetime(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "faultd: ten minutes are over\n");
    exit(1);
}

static void on_input_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    static char ignored[256];

    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(ignored, sizeof(ignored));
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    (void)stream;
    (void)buffer;
    if (size < 0)
        exit(0);
}

static void watch_input(void)
{
    switch (uv_guess_handle(STDIN_FILENO)) {
    case UV_NAMED_PIPE:
        uv_pipe_init(loop, &input.pipe, 0);
        uv_pipe_open(&input.pipe, STDIN_FILENO);
        break;
    case UV_TTY:
        uv_tty_init(loop, &input.tty, STDIN_FILENO, 1);
        break;
    default:
        fprintf(stderr, "faultd: standard input must be a pipe or a terminal\n");
        exit(2);
    }
    uv_read_start(&input.stream, on_input_alloc, on_input);
}

int main(int argc, char **argv)
{
    const char *path = argc == 3 && strcmp(argv[1], "--unix") == 0 ? argv[2] : NULL;

    if (argc == 2 && strcmp(argv[1], "port") == 0) {
        printf("%d\n", free_port());
        return 0;
    }
    if (argc != 1 && path == NULL) {
        fprintf(stderr, "usage: faultd [--unix PATH | port]\n");
        return 2;
    }
    loop = uv_default_loop();
    uv_timer_init(loop, &lifetime);
    uv_timer_start(&lifetime, on_lifetime, LIFETIME_MS, 0);
    watch_input();

    http_listener = serve_tcp("http", &http_service);
    serve_tcp6("http6", &http_service);
    serve_tcp("raw", &raw_service);
    serve_tcp("h2", &h2_service);
    serve_tcp("control", &control_service);
    open_blackhole();
    reserve_port("closed ");
    if (path != NULL) {
        serve_unix(path, "", &http_service);
        serve_unix(path, ".raw", &raw_service);
    }
    printf("ready\n");
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
