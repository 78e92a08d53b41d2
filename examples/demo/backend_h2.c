/* backend_h2.c - the demo's server that speaks HTTP/2 in the clear: many requests at once on a connection.
 *
 *     backend_h2
 *
 * It prints "violet PORT", then "ready", and runs until nobody reads its output any more. It answers
 * each request after 3 to 6 ms; after GET /leave it also tells all its clients that their
 * connections end (GOAWAY), as a server does that is about to be replaced: what it has taken by then
 * it still answers. */
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { BACKLOG = 128, LEAST_MS = 3, SPAN_MS = 4 };

typedef struct client client_t;

struct client {
    uv_tcp_t tcp;
    nghttp2_session *session;
    client_t *next, *previous;
    int open; /* exchanges, each with a timer, and the connection itself */
    bool is_closing;
};

/* A request that will be answered. */
typedef struct {
    uv_timer_t timer;
    client_t *client;
    int32_t stream_id;
    bool is_leave;
} exchange_t;

static uv_loop_t *loop;
static client_t *clients;
static char received[65536];

/* A client's life ------------------------------------------------------------------------------ */

static void let_go(client_t *client)
{
    if (--client->open > 0)
        return;
    nghttp2_session_del(client->session);
    free(client);
}

static void on_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void hang_up(client_t *client)
{
    if (client->is_closing)
        return;
    client->is_closing = true;
    if (client->next != NULL)
        client->next->previous = client->previous;
    if (client->previous != NULL)
        client->previous->next = client->next;
    else
        clients = client->next;
    uv_close((uv_handle_t *)&client->tcp, on_closed);
}

/* Says what the session has to say. The answers are small: the socket has room. */
static void say(client_t *client)
{
    const uint8_t *bytes;
    ssize_t size;

    while (!client->is_closing && (size = nghttp2_session_mem_send(client->session, &bytes)) > 0) {
        uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)bytes, (unsigned int)size);

        if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)size)
            hang_up(client);
    }
    if (!nghttp2_session_want_read(client->session) && !nghttp2_session_want_write(client->session))
        hang_up(client);
}

/* Requests ------------------------------------------------------------------------------------- */

static ssize_t give_body(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)stream_id;
    (void)room;
    (void)source;
    (void)user;
    memcpy(to, "ok\n", 3);
    *flags = NGHTTP2_DATA_FLAG_EOF;
    return 3;
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void leave_all(void)
{
    client_t *next;

    for (client_t *client = clients; client != NULL; client = next) {
        next = client->next;
        nghttp2_submit_goaway(client->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(client->session),
                              NGHTTP2_NO_ERROR, NULL, 0);
        say(client);
    }
}

static void on_exchange_closed(uv_handle_t *handle)
{
    exchange_t *exchange = handle->data;

    let_go(exchange->client);
    free(exchange);
}

static void answer(uv_timer_t *timer)
{
    exchange_t *exchange = timer->data;
    client_t *client = exchange->client;
    nghttp2_nv fields[] = {field(":status", "200"), field("content-type", "text/plain"),
                           field("content-length", "3")};
    nghttp2_data_provider body = {.read_callback = give_body};

    nghttp2_submit_response(client->session, exchange->stream_id, fields,
                            sizeof(fields) / sizeof(fields[0]), &body);
    say(client);
    if (exchange->is_leave)
        leave_all();
    uv_close((uv_handle_t *)timer, on_exchange_closed);
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    exchange_t *exchange = calloc(1, sizeof(*exchange));

    if (exchange == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    exchange->client = user;
    exchange->stream_id = frame->hd.stream_id;
    exchange->client->open++;
    uv_timer_init(loop, &exchange->timer);
    exchange->timer.data = exchange;
    uv_timer_start(&exchange->timer, answer, LEAST_MS + (uint64_t)rand() % SPAN_MS, 0);
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, exchange);
}

static int on_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                    size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                    void *user)
{
    exchange_t *exchange = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)flags;
    (void)user;
    if (exchange != NULL && name_size == 5 && memcmp(name, ":path", 5) == 0)
        exchange->is_leave = value_size == 6 && memcmp(value, "/leave", 6) == 0;
    return 0;
}

/* Connections ---------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(received, sizeof(received));
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;

    if (size < 0 ||
        (size > 0 && nghttp2_session_mem_recv(client->session, (const uint8_t *)buffer->base,
                                              (size_t)size) < 0))
        hang_up(client);
    else
        say(client);
}

static void begin_session(client_t *client)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        exit(1);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_field);
    if (nghttp2_session_server_new(&client->session, callbacks, client) != 0)
        exit(1);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
    client_t *client = status == 0 ? calloc(1, sizeof(*client)) : NULL;

    if (client == NULL)
        return;
    begin_session(client);
    client->open = 1;
    client->next = clients;
    if (clients != NULL)
        clients->previous = client;
    clients = client;
    uv_tcp_init(loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) != 0) {
        hang_up(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
    say(client);
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
    uv_tcp_t listener;
    uv_poll_t output;
    struct sockaddr_in address;
    int size = sizeof(address), rc;

    loop = uv_default_loop();
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &listener);
    if ((rc = uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection)) != 0 ||
        (rc = uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size)) != 0) {
        fprintf(stderr, "backend_h2: %s\n", uv_strerror(rc));
        return 1;
    }
    printf("violet %d\nready\n", ntohs(address.sin_port));
    fflush(stdout);
    if (uv_poll_init(loop, &output, STDOUT_FILENO) == 0)
        uv_poll_start(&output, UV_DISCONNECT, on_output_gone);
    return uv_run(loop, UV_RUN_DEFAULT);
}
