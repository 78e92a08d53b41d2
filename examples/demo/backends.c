/* backends.c - the servers of the demo: three of them in one small program, and a fourth to direct them.
 *
 *     backends
 *
 * It prints "NAME PORT" for each, then "ready", and runs until nobody reads its output any more:
 *
 *     red, green, blue   HTTP; each answers after 3 to 6 ms
 *     director           HTTP; GET /MOOD/NAME changes that server's mood:
 *                        well   as above
 *                        slow   it answers after 150 ms
 *                        dead   as after a crash: its connections are reset, new ones refused */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { HEAD_MAX = 4096, BACKLOG = 1024, WELL_MIN_MS = 3, WELL_SPAN_MS = 4, SLOW_MS = 150 };

typedef struct client client_t;

typedef enum { WELL, SLOW, DEAD } mood_t;

typedef struct {
    const char *name;
    void (*on_request)(client_t *client);
    mood_t mood;
    int port;
    uv_tcp_t *listener; /* NULL: dead */
    client_t *clients;
} backend_t;

struct client {
    uv_tcp_t tcp;
    uv_timer_t timer; /* when to answer */
    backend_t *backend;
    client_t *next, *previous; /* of the backend's */
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

    if (--client->open_handles > 0)
        return;
    if (client->next != NULL)
        client->next->previous = client->previous;
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        client->backend->clients = client->next;
    free(client);
}

static void hang_up(client_t *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    uv_close((uv_handle_t *)&client->tcp, on_closed);
    uv_close((uv_handle_t *)&client->timer, on_closed);
}

/* As hang_up(), but as a crash would: with RST. */
static void reset(client_t *client)
{
    if (uv_is_closing((uv_handle_t *)&client->tcp))
        return;
    uv_tcp_close_reset(&client->tcp, on_closed);
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
    client->next = client->backend->clients;
    if (client->next != NULL)
        client->next->previous = client;
    client->backend->clients = client;
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
    static const char ok[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";

    reply(client, ok, sizeof(ok) - 1);
}

static void answer_late(uv_timer_t *timer)
{
    answer(timer->data);
}

static void on_request(client_t *client)
{
    uint64_t delay_ms = WELL_MIN_MS + (uint64_t)rand() % WELL_SPAN_MS;

    if (client->backend->mood == SLOW)
        delay_ms = SLOW_MS;
    uv_timer_start(&client->timer, answer_late, delay_ms, 0);
}

static void direct(client_t *client);

static backend_t backends[] = {
    {.name = "red", .on_request = on_request},
    {.name = "green", .on_request = on_request},
    {.name = "blue", .on_request = on_request},
    {.name = "director", .on_request = direct},
};

/* Moods ---------------------------------------------------------------------------------------- */

/* On the port that it had, when it had one. */
static void start(backend_t *backend)
{
    uv_tcp_t *listener = calloc(1, sizeof(*listener));
    struct sockaddr_in address;
    int size = sizeof(address), rc;

    if (listener == NULL)
        exit(1);
    uv_ip4_addr("127.0.0.1", backend->port, &address);
    uv_tcp_init(loop, listener);
    listener->data = backend;
    if ((rc = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection)) != 0 ||
        (rc = uv_tcp_getsockname(listener, (struct sockaddr *)&address, &size)) != 0) {
        fprintf(stderr, "backends: %s\n", uv_strerror(rc));
        exit(1);
    }
    backend->listener = listener;
    backend->port = ntohs(address.sin_port);
}

static void on_listener_closed(uv_handle_t *listener)
{
    free(listener);
}

static void die(backend_t *backend)
{
    uv_close((uv_handle_t *)backend->listener, on_listener_closed);
    backend->listener = NULL;
    for (client_t *client = backend->clients; client != NULL; client = client->next)
        reset(client);
}

static void set_mood(backend_t *backend, mood_t mood)
{
    backend->mood = mood;
    if (mood == DEAD && backend->listener != NULL)
        die(backend);
    else if (mood != DEAD && backend->listener == NULL)
        start(backend);
}

static void direct(client_t *client)
{
    static const char *const moods[] = {"well", "slow", "dead"};

    for (size_t mood = 0; mood < sizeof(moods) / sizeof(moods[0]); mood++)
        for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]) - 1; i++) {
            char line[64];
            int size = snprintf(line, sizeof(line), "GET /%s/%s ", moods[mood], backends[i].name);

            if (strncmp(client->head, line, (size_t)size) == 0)
                set_mood(&backends[i], (mood_t)mood);
        }
    answer(client);
}

/* Starting and ending -------------------------------------------------------------------------- */

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
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        start(&backends[i]);
        printf("%s %d\n", backends[i].name, backends[i].port);
    }
    printf("ready\n");
    fflush(stdout);
    if (uv_poll_init(loop, &output, STDOUT_FILENO) == 0)
        uv_poll_start(&output, UV_DISCONNECT, on_output_gone);
    return uv_run(loop, UV_RUN_DEFAULT);
}
