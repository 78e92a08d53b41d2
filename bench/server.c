/* server.c - the server of the benchmarks where nginx is not needed or cannot do it.
 *
 *     server echo     sends back what it gets
 *     server yamux    the same on streams of yamux, all answers to one read in one write; for clients
 *                     that send little at a time
 *     server http1    answers every GET with 1 KiB and the header fields nginx would send;
 *                     those for /wait only when no further one has come for 300 ms, which holds a
 *                     burst of any size in flight until the last of its connections is open
 *     server port     prints a free port of 127.0.0.1 and exits
 *
 * echo, yamux and http1 print their port once they listen, then run until a signal ends them. A client
 * that lets a thousand answers pile up unread is cut off: nothing here is queued. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { YAMUX_HEAD = 12, YAMUX_STREAMS = 4096, YAMUX_WINDOW = 262144 };
enum { YAMUX_DATA, YAMUX_UPDATE, YAMUX_PING };
enum { YAMUX_SYN = 1, YAMUX_ACK = 2, YAMUX_FIN = 4 };
enum { BODY_SIZE = 1024, HEAD_MAX = 2048, BACKLOG = 4096, QUIET_MS = 300 };

typedef struct client {
    uv_tcp_t tcp;
    struct client *next_waiting;
    int is_waiting, is_closed;
    size_t used;         /* bytes in `head` */
    char head[HEAD_MAX]; /* http1, yamux: a request or frame that is not complete yet */
} client_t;

static uv_loop_t *loop;
static uv_read_cb on_read; /* of the mode it runs in */
static uv_timer_t quiet;
static client_t *waiting;
static char shared[65536]; /* all clients read into it */
static char answer[HEAD_MAX + BODY_SIZE];
static size_t answer_size;

static void on_closed(uv_handle_t *handle)
{
    client_t *client = handle->data;

    /* One that waits is still linked; answer_waiting() frees it. */
    client->is_closed = 1;
    if (!client->is_waiting)
        free(client);
}

static void hang_up(client_t *client)
{
    if (!uv_is_closing((uv_handle_t *)&client->tcp))
        uv_close((uv_handle_t *)&client->tcp, on_closed);
}

static void reply(client_t *client, const char *bytes, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)bytes, (unsigned int)size);

    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)size)
        hang_up(client);
}

static void answer_waiting(uv_timer_t *timer)
{
    client_t *client = waiting;

    (void)timer;
    waiting = NULL;
    while (client != NULL) {
        client_t *next = client->next_waiting;

        client->is_waiting = 0;
        if (client->is_closed)
            free(client);
        else if (!uv_is_closing((uv_handle_t *)&client->tcp))
            reply(client, answer, answer_size);
        client = next;
    }
}

static void hold(client_t *client)
{
    if (client->is_waiting)
        return;
    client->is_waiting = 1;
    client->next_waiting = waiting;
    waiting = client;
    uv_timer_start(&quiet, answer_waiting, QUIET_MS, 0);
}

static void on_request(client_t *client, const char *head)
{
    if (strncmp(head, "GET /wait", 9) == 0)
        hold(client);
    else
        reply(client, answer, answer_size);
}

static void on_http1_bytes(client_t *client, const char *bytes, size_t size)
{
    char *head = client->head, *end;

    if (size >= HEAD_MAX - client->used) {
        hang_up(client);
        return;
    }
    memcpy(head + client->used, bytes, size);
    client->used += size;
    head[client->used] = '\0';
    while ((end = strstr(head, "\r\n\r\n")) != NULL) {
        on_request(client, head);
        head = end + 4;
    }
    client->used -= (size_t)(head - client->head);
    memmove(client->head, head, client->used + 1);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(shared, sizeof(shared));
}

static void on_echo_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0)
        hang_up(stream->data);
    else if (size > 0)
        reply(stream->data, buffer->base, (size_t)size);
}

static void on_http1_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0)
        hang_up(stream->data);
    else if (size > 0)
        on_http1_bytes(stream->data, buffer->base, (size_t)size);
}

static void on_connection(uv_stream_t *listener, int status)
{
    client_t *client = status == 0 ? calloc(1, sizeof(*client)) : NULL;

    if (client == NULL)
        return;
    uv_tcp_init(loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) != 0) {
        hang_up(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

/* yamux ---------------------------------------------------------------------------------------- */

static char replies[4 * sizeof(shared)];
static size_t replies_size;
static uint32_t unreturned[YAMUX_STREAMS]; /* of each stream's window, by its id */

static uint32_t number_at(const char *bytes)
{
    const unsigned char *at = (const unsigned char *)bytes;

    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void say_frame(int type, int flags, uint32_t id, uint32_t length, const char *data)
{
    const unsigned char head[YAMUX_HEAD] = {0,
                                            (unsigned char)type,
                                            0,
                                            (unsigned char)flags,
                                            (unsigned char)(id >> 24),
                                            (unsigned char)(id >> 16),
                                            (unsigned char)(id >> 8),
                                            (unsigned char)id,
                                            (unsigned char)(length >> 24),
                                            (unsigned char)(length >> 16),
                                            (unsigned char)(length >> 8),
                                            (unsigned char)length};

    memcpy(replies + replies_size, head, sizeof(head));
    replies_size += sizeof(head);
    if (type == YAMUX_DATA) {
        memcpy(replies + replies_size, data, length);
        replies_size += length;
    }
}

static void on_yamux_frame(int type, int flags, uint32_t id, uint32_t length, const char *data)
{
    uint32_t *unreturned_here = &unreturned[id / 2 % YAMUX_STREAMS];

    if (type == YAMUX_PING && (flags & YAMUX_SYN) != 0)
        say_frame(YAMUX_PING, YAMUX_ACK, 0, length, NULL);
    if (type > YAMUX_UPDATE)
        return;
    if ((flags & YAMUX_SYN) != 0) {
        *unreturned_here = 0;
        say_frame(YAMUX_UPDATE, YAMUX_ACK, id, 0, NULL);
    }
    if (type == YAMUX_DATA && length > 0) {
        say_frame(YAMUX_DATA, 0, id, length, data);
        *unreturned_here += length;
    }
    if (*unreturned_here >= YAMUX_WINDOW / 2) {
        say_frame(YAMUX_UPDATE, 0, id, *unreturned_here, NULL);
        *unreturned_here = 0;
    }
    if ((flags & YAMUX_FIN) != 0)
        say_frame(YAMUX_UPDATE, YAMUX_FIN, id, 0, NULL);
}

static void on_yamux_bytes(client_t *client, const char *bytes, size_t size)
{
    static char input[HEAD_MAX + sizeof(shared)];
    const char *at = input;

    memcpy(input, client->head, client->used);
    memcpy(input + client->used, bytes, size);
    size += client->used;
    replies_size = 0;
    while (size >= YAMUX_HEAD) {
        uint32_t length = number_at(at + 8);
        size_t whole = YAMUX_HEAD + (at[1] == YAMUX_DATA ? length : 0);

        if (size < whole)
            break;
        on_yamux_frame(at[1], at[3], number_at(at + 4), length, at + YAMUX_HEAD);
        at += whole;
        size -= whole;
    }
    if (size > HEAD_MAX) {
        hang_up(client);
        return;
    }
    client->used = size;
    memcpy(client->head, at, size);
    if (replies_size > 0)
        reply(client, replies, replies_size);
}

static void on_yamux_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    if (size < 0)
        hang_up(stream->data);
    else if (size > 0)
        on_yamux_bytes(stream->data, buffer->base, (size_t)size);
}

/* ---------------------------------------------------------------------------------------------- */

static void prepare_answer(void)
{
    int head = snprintf(answer, HEAD_MAX,
                        "HTTP/1.1 200 OK\r\n"
                        "Server: nginx/1.22.1\r\n"
                        "Date: Mon, 06 Jan 2025 10:00:00 GMT\r\n"
                        "Content-Type: text/plain\r\n"
                        "Content-Length: %d\r\n"
                        "Last-Modified: Mon, 06 Jan 2025 09:00:00 GMT\r\n"
                        "Connection: keep-alive\r\n"
                        "ETag: \"677b9a90-400\"\r\n"
                        "Accept-Ranges: bytes\r\n"
                        "\r\n",
                        BODY_SIZE);

    memset(answer + head, 'x', BODY_SIZE);
    answer_size = (size_t)head + BODY_SIZE;
}

/* Listens on a port that the kernel chooses and prints it. */
static int listen_anywhere(uv_tcp_t *listener)
{
    struct sockaddr_in address;
    int size = sizeof(address), rc;

    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, listener);
    if ((rc = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)listener, BACKLOG, on_connection)) != 0 ||
        (rc = uv_tcp_getsockname(listener, (struct sockaddr *)&address, &size)) != 0) {
        fprintf(stderr, "server: %s\n", uv_strerror(rc));
        return rc;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    const char *mode = argc == 2 ? argv[1] : "";
    uv_tcp_t listener;

    loop = uv_default_loop();
    uv_timer_init(loop, &quiet);
    prepare_answer();
    if (strcmp(mode, "echo") == 0) {
        on_read = on_echo_read;
    } else if (strcmp(mode, "yamux") == 0) {
        on_read = on_yamux_read;
    } else if (strcmp(mode, "http1") == 0) {
        on_read = on_http1_read;
    } else if (strcmp(mode, "port") != 0) {
        fprintf(stderr, "usage: server echo|yamux|http1|port\n");
        return 2;
    }
    if (listen_anywhere(&listener) != 0)
        return 1;
    return strcmp(mode, "port") == 0 ? 0 : uv_run(loop, UV_RUN_DEFAULT);
}
