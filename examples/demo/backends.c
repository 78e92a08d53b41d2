/* backends.c - the servers of the demo: four of them in one small program.
 *
 *     backends
 *
 * It prints "NAME PORT" for each, then "ready", and runs until nobody reads its output any more:
 *
 *     steady   HTTP, answers at once
 *     slow     HTTP, answers after 15 to 45 ms
 *     hasty    HTTP, answers at once, but closes connections that were idle for a moment. Now and
 *              then a request meets such a close half-way, as on any real server: it then gets
 *              the end of the connection instead of an answer
 *     echo     raw, sends back what it gets */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum {
    HEAD_MAX = 4096,
    BACKLOG = 1024,
    SLOW_MIN_MS = 15,
    SLOW_SPAN_MS = 31,
    IDLE_MS = 40,   /* hasty closes a connection by itself after so long */
    HALFWAY_MS = 20 /* and meets a request that comes later than this with a close */
};

typedef struct client client_t;

typedef struct {
    const char *name;
    void (*on_request)(client_t *client); /* NULL: raw, sends back what comes */
    uv_tcp_t listener;
} backend_t;

struct client {
    uv_tcp_t tcp;
    uv_timer_t timer; /* slow: when to answer; hasty: when to close */
    backend_t *backend;
    uint64_t answered_at;
    int open_handles;
    size_t used;
    char head[HEAD_MAX];
};

static uv_loop_t *loop;
static char received[65536];

/* A client's life ------------------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
    client_t *client = handle->data;

    if (--client->open_handles == 0)
        free(client);
}

static void hang_up(client_t *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    uv_close((uv_handle_t *)&client->tcp, on_closed);
    uv_close((uv_handle_t *)&client->timer, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(received, sizeof(received));
}

/* The answers are small and a client reads each before it asks again: the socket has room. */
static void reply(client_t *client, const char *bytes, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned int)size);

    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)size)
        hang_up(client);
}

/* Requests have no body here and come one at a time: each ends with its head. */
static bool take_head(client_t *client, const char *bytes, size_t size)
{
    if (size > HEAD_MAX - client->used) {
        hang_up(client);
        return false;
    }
    memcpy(client->head + client->used, bytes, size);
    client->used += size;
    if (client->used < 4 || memcmp(client->head + client->used - 4, "\r\n\r\n", 4) != 0)
        return false;
    client->used = 0;
    return true;
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;

    if (size < 0)
        hang_up(client);
    else if (size > 0 && client->backend->on_request == NULL)
        reply(client, buffer->base, (size_t)size);
    else if (size > 0 && take_head(client, buffer->base, (size_t)size))
        client->backend->on_request(client);
}

static void on_connection(uv_stream_t *listener, int status)
{
    client_t *client = status == 0 ? calloc(1, sizeof(*client)) : NULL;

    if (client == NULL)
        return;
    uv_tcp_init(loop, &client->tcp);
    uv_timer_init(loop, &client->timer);
    client->open_handles = 2;
    client->tcp.data = client->timer.data = client;
    client->backend = listener->data;
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) != 0) {
        hang_up(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

/* What each backend does with a request -------------------------------------------------------- */

static void answer(client_t *client)
{
    char bytes[256];
    int size =
        snprintf(bytes, sizeof(bytes),
                 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                 "\r\nhello from %s\n",
                 strlen("hello from \n") + strlen(client->backend->name), client->backend->name);

    client->answered_at = uv_now(loop);
    reply(client, bytes, (size_t)size);
}

static void answer_late(uv_timer_t *timer)
{
    answer(timer->data);
}

static void close_idle(uv_timer_t *timer)
{
    hang_up(timer->data);
}

static void on_slow_request(client_t *client)
{
    uint64_t delay_ms = SLOW_MIN_MS + (uint64_t)rand() % SLOW_SPAN_MS;

    uv_timer_start(&client->timer, answer_late, delay_ms, 0);
}

static void on_hasty_request(client_t *client)
{
    if (client->answered_at != 0 && uv_now(loop) - client->answered_at > HALFWAY_MS) {
        hang_up(client);
        return;
    }
    uv_timer_start(&client->timer, close_idle, IDLE_MS, 0);
    answer(client);
}

static backend_t backends[] = {
    {.name = "steady", .on_request = answer},
    {.name = "slow", .on_request = on_slow_request},
    {.name = "hasty", .on_request = on_hasty_request},
    {.name = "echo"},
};

/* Starting and ending -------------------------------------------------------------------------- */

static void start(backend_t *backend)
{
    struct sockaddr_in address;
    int size = sizeof(address), rc;

    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &backend->listener);
    backend->listener.data = backend;
    if ((rc = uv_tcp_bind(&backend->listener, (const struct sockaddr *)&address, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)&backend->listener, BACKLOG, on_connection)) != 0 ||
        (rc = uv_tcp_getsockname(&backend->listener, (struct sockaddr *)&address, &size)) != 0) {
        fprintf(stderr, "backends: %s\n", uv_strerror(rc));
        exit(1);
    }
    printf("%s %d\n", backend->name, ntohs(address.sin_port));
}

static void on_output_gone(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
    exit(0);
}

int main(void)
{
    uv_poll_t output;

    loop = uv_default_loop();
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        start(&backends[i]);
    printf("ready\n");
    fflush(stdout);
    if (uv_poll_init(loop, &output, STDOUT_FILENO) == 0)
        uv_poll_start(&output, UV_DISCONNECT, on_output_gone);
    return uv_run(loop, UV_RUN_DEFAULT);
}
