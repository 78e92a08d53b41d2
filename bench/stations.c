/* stations.c - servers whose requests take time, for the balancers.
 *
 *     stations COUNT MS SLOTS FACTOR
 *
 * COUNT HTTP/1.1 servers on ports of 127.0.0.1. Each serves SLOTS requests at once and lets the
 * others wait in their order. One takes MS on average, at the last server FACTOR times that; the
 * times are distributed exponentially, from a fixed seed. It sleeps through them, so that two CPUs
 * do for all. It prints the ports in one line, then runs until a signal ends it. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { HEAD_MAX = 2048, BACKLOG = 1024, MOST = 64 };

typedef struct client client_t;

typedef struct {
    uv_tcp_t listener;
    double mean_ms;
    int busy; /* slots */
    client_t *first, *last;
} station_t;

struct client {
    uv_tcp_t tcp;
    uv_timer_t timer; /* being served: until when */
    station_t *station;
    client_t *next; /* among those who wait */
    enum { RESTING, WAITING, SERVED, GONE } state;
    int open_handles;
    size_t used;
    char head[HEAD_MAX];
};

static uv_loop_t *loop;
static station_t stations[MOST];
static int slots;
static uint64_t chance = 88172645463325252U;
static char received[65536];

/* Above 0, at most 1 (Marsaglia's xorshift64). */
static double draw(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return ((double)(chance >> 11) + 1) / 9007199254740992.0;
}

static void on_closed(uv_handle_t *handle)
{
    client_t *client = handle->data;

    if (--client->open_handles == 0)
        free(client);
}

static void serve_next(station_t *station);

static void close_handles(client_t *client)
{
    uv_close((uv_handle_t *)&client->tcp, on_closed);
    uv_close((uv_handle_t *)&client->timer, on_closed);
}

/* One that waits stays in its row until it is its turn. */
static void hang_up(client_t *client)
{
    int was = client->state;

    client->state = GONE;
    if (was == GONE || was == WAITING)
        return;
    close_handles(client);
    if (was == SERVED) {
        client->station->busy--;
        serve_next(client->station);
    }
}

static void answer(uv_timer_t *timer)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    client_t *client = timer->data;
    uv_buf_t buffer = uv_buf_init((char *)ok, sizeof(ok) - 1);

    client->state = RESTING;
    client->station->busy--;
    if (uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1) != (int)buffer.len)
        hang_up(client);
    serve_next(client->station);
}

static void serve_next(station_t *station)
{
    while (station->busy < slots && station->first != NULL) {
        client_t *client = station->first;

        station->first = client->next;
        if (client->state == GONE) {
            close_handles(client);
            continue;
        }
        client->state = SERVED;
        station->busy++;
        uv_timer_start(&client->timer, answer, (uint64_t)lround(-log(draw()) * station->mean_ms),
                       0);
    }
}

static void on_request(client_t *client)
{
    station_t *station = client->station;

    client->state = WAITING;
    client->next = NULL;
    if (station->first == NULL)
        station->first = client;
    else
        station->last->next = client;
    station->last = client;
    serve_next(station);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(received, sizeof(received));
}

/* A client asks for one thing at a time, without a body. */
static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;

    if (size < 0 || (size_t)size > HEAD_MAX - client->used) {
        uv_read_stop(stream);
        hang_up(client);
        return;
    }
    memcpy(client->head + client->used, buffer->base, (size_t)size);
    client->used += (size_t)size;
    if (client->used < 4 || memcmp(client->head + client->used - 4, "\r\n\r\n", 4) != 0)
        return;
    client->used = 0;
    on_request(client);
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
    client->station = listener->data;
    if (uv_accept(listener, (uv_stream_t *)&client->tcp) != 0) {
        hang_up(client);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

/* Returns its port. */
static int open_station(station_t *station, double mean_ms)
{
    struct sockaddr_in address;
    int size = sizeof(address), rc;

    station->mean_ms = mean_ms;
    station->listener.data = station;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &station->listener);
    if ((rc = uv_tcp_bind(&station->listener, (const struct sockaddr *)&address, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)&station->listener, BACKLOG, on_connection)) != 0 ||
        (rc = uv_tcp_getsockname(&station->listener, (struct sockaddr *)&address, &size)) != 0) {
        fprintf(stderr, "stations: %s\n", uv_strerror(rc));
        exit(1);
    }
    return ntohs(address.sin_port);
}

int main(int argc, char **argv)
{
    int count = argc == 5 ? atoi(argv[1]) : 0;
    double mean_ms = count > 0 ? atof(argv[2]) : 0;

    slots = count > 0 ? atoi(argv[3]) : 0;
    if (count < 1 || count > MOST || mean_ms <= 0 || slots < 1) {
        fprintf(stderr, "usage: stations COUNT MS SLOTS FACTOR\n");
        return 2;
    }
    loop = uv_default_loop();
    for (int i = 0; i < count; i++) {
        double factor = i == count - 1 ? atof(argv[4]) : 1;

        printf("%d%s", open_station(&stations[i], mean_ms * factor), i < count - 1 ? " " : "\n");
    }
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
