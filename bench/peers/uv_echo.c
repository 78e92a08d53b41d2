/* uv_echo.c - what hawser's lease echo is compared with: plain libuv, 64 bytes there and back.
 *
 * Each connection has one message in flight, so as many are in flight as there are connections.
 * Every byte that comes back is compared. */
#include "target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MESSAGE_SIZE = 64 };

typedef struct {
    uv_tcp_t tcp;
    uv_connect_t connect;
    size_t received; /* bytes of the message so far */
} client_t;

static target_t target;
static char message[MESSAGE_SIZE];
static char shared[65536];
static long started, finished;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "uv_echo: %s after %ld messages\n", what, finished);
    exit(1);
}

static void send_next(client_t *client)
{
    uv_buf_t buffer = uv_buf_init(message, MESSAGE_SIZE);

    if (started == target.requests) {
        uv_close((uv_handle_t *)&client->tcp, NULL);
        return;
    }
    started++;
    client->received = 0;
    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != MESSAGE_SIZE)
        fail("short write");
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;

    if (size == 0)
        return;
    if (size < 0)
        fail(uv_strerror((int)size));
    if ((size_t)size > MESSAGE_SIZE - client->received ||
        memcmp(buffer->base, message + client->received, (size_t)size) != 0)
        fail("the echo differs");
    client->received += (size_t)size;
    if (client->received == MESSAGE_SIZE) {
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
    for (int i = 0; i < MESSAGE_SIZE; i++)
        message[i] = (char)('0' + i);
    clients = calloc((size_t)target.connections, sizeof(*clients));
    if (clients == NULL)
        fail("out of memory");
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
