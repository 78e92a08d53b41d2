/* uv_http1.c - the floor: the least that a libuv client can do for a GET.
 *
 * It measures its first answer (head and Content-Length) and then only counts that many bytes and
 * looks at the status. No parser, no pool, no deadline, no policy: what a real client costs above
 * this is the price of its features. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

static const char STATUS[] = "HTTP/1.1 200";

typedef struct {
    uv_tcp_t tcp;
    uv_connect_t connect;
    size_t received; /* bytes of the answer so far */
} client_t;

static target_t target;
static char request[1024];
static char shared[65536];
static size_t request_size;
static size_t answer_size; /* 0 until the first answer was seen */
static long started, finished;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "uv_http1: %s after %ld requests\n", what, finished);
    exit(1);
}

static void send_next(client_t *client)
{
    uv_buf_t buffer = uv_buf_init(request, (unsigned int)request_size);

    if (started == target.requests) {
        uv_close((uv_handle_t *)&client->tcp, NULL);
        return;
    }
    started++;
    client->received = 0;
    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)request_size)
        fail("short write");
}

/* The first answer must come in one piece: the server writes it so. */
static size_t measure_answer(const char *bytes, size_t size)
{
    char *end, *length;
    size_t head;

    shared[size < sizeof(shared) ? size : sizeof(shared) - 1] = '\0';
    end = strstr(bytes, "\r\n\r\n");
    length = strcasestr(bytes, "\r\nContent-Length:");
    if (end == NULL || length == NULL || length > end)
        fail("first answer without a complete head and Content-Length");
    head = (size_t)(end + 4 - bytes);
    return head + strtoul(length + 17, NULL, 10);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;

    if (size == 0)
        return;
    if (size < 0)
        fail(uv_strerror((int)size));
    if (client->received == 0 && ((size_t)size < sizeof(STATUS) - 1 ||
                                  memcmp(buffer->base, STATUS, sizeof(STATUS) - 1) != 0))
        fail("an answer is not 200");
    if (answer_size == 0)
        answer_size = measure_answer(buffer->base, (size_t)size);
    client->received += (size_t)size;
    if (client->received > answer_size)
        fail("an answer is too long");
    if (client->received == answer_size) {
        finished++;
        send_next(client);
    }
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(shared, sizeof(shared));
}

static void on_connected(uv_connect_t *connect, int status)
{
    client_t *client = connect->data;

    if (status != 0)
        fail(uv_strerror(status));
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
    send_next(client);
}

int main(int argc, char **argv)
{
    client_t *clients;

    target_read(&target, argc, argv);
    request_size = (size_t)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                                    target.path, target.authority);
    clients = calloc((size_t)target.connections, sizeof(*clients));
    if (clients == NULL || request_size >= sizeof(request))
        fail("out of room");
    for (int i = 0; i < target.connections; i++) {
        uv_tcp_init(uv_default_loop(), &clients[i].tcp);
        clients[i].tcp.data = clients[i].connect.data = &clients[i];
        if (uv_tcp_connect(&clients[i].connect, &clients[i].tcp,
                           (const struct sockaddr *)&target.address, on_connected) != 0)
            fail("cannot connect");
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    free(clients);
    return finished == target.requests ? 0 : 1;
}
