/* hawser_tls - hawser's C API as a client over TLS: hawser_tls MODE CA URL requests connections
 *
 *     full      each GET on a connection of its own; no handshake may be resumed
 *     resumed   likewise; each handshake but the first must resume its session
 *     keep      the connections serve GET after GET
 *     stream    likewise, and bodies are read piece by piece
 *     memory    one GET on each of `requests` connections, all at once; then prints by how many
 *               bytes each made the process grow
 *
 * As peers/mbedtls_client.c: the first GET goes alone, so that the others find its session, and the
 * certificate must name localhost. Each response's status is checked and its body read whole. */
#include "peers/resident.h"

#include <hawser/hawser.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE HWS_MS(1500) /* by then a manager has handed freed memory back to the system */

enum { FULL, RESUMED, KEEP, STREAM, MEMORY, MODES };

static const char *const modes[MODES] = {"full", "resumed", "keep", "stream", "memory"};

static struct {
    int mode;
    hws_loop_t *loop;
    hws_manager_t *manager;
    hws_upstream_t *upstream;
    hws_slice_t target;
    long requests;
    long connections;
    long to_begin;
    long in_flight;
    size_t bytes;
} load;

static void begin(void);

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "hawser_tls: %s: %s\n", what, detail);
    exit(1);
}

static void must(int rc, const hws_error_t *why)
{
    if (rc != HWS_OK)
        fail(hws_error_name(rc), why->detail);
}

static void end(hws_request_t *request)
{
    hws_request_destroy(request);
    load.in_flight--;
    begin();
}

static void read_body(hws_request_t *request, void *user)
{
    hws_slice_t chunk;
    int rc;

    (void)user;
    while ((rc = hws_request_read(request, &chunk)) == HWS_OK)
        load.bytes += chunk.size;
    if (rc == HWS_AGAIN)
        return;
    if (rc != HWS_END)
        fail(hws_error_name(rc), "the body broke off");
    end(request);
}

static void on_done(hws_request_t *request, void *user)
{
    const hws_response_t *response = hws_request_response(request);

    if (response == NULL)
        fail("request", hws_request_error(request)->detail);
    if (response->head->status != 200)
        fail("request", "the status is not 200");
    if (load.mode == STREAM) {
        read_body(request, user);
        return;
    }
    load.bytes += response->body.size;
    end(request);
}

static void begin(void)
{
    hws_request_options_t options;
    hws_request_t *request;
    hws_error_t why;

    if (load.to_begin == 0)
        return;
    load.to_begin--;
    load.in_flight++;
    hws_request_options_init(&options);
    options.target = load.target;
    options.stream = load.mode == STREAM;
    options.on_done = on_done;
    options.on_readable = read_body;
    must(hws_request_start(load.upstream, &options, &request, &why), &why);
}

/* `count` requests, as many at once as there are connections. */
static void make(long count)
{
    load.to_begin = count;
    while (load.in_flight < load.connections && load.to_begin > 0)
        begin();
    while (load.in_flight > 0)
        hws_loop_run(load.loop, true);
}

static void settle(void)
{
    hws_time_t until = hws_loop_now(load.loop) + SETTLE;
    hws_time_t now;

    while ((now = hws_loop_now(load.loop)) < until) {
        struct pollfd loop = {hws_loop_descriptor(load.loop), POLLIN, 0};
        hws_time_t span = hws_loop_timeout(load.loop);

        span = span < until - now ? span : until - now;
        poll(&loop, 1, (int)(span / HWS_MS(1)) + (span % HWS_MS(1) > 0));
        hws_loop_run(load.loop, false);
    }
}

static void measure_memory(void)
{
    hws_stats_t stats;
    size_t before;

    settle();
    before = resident_bytes();
    make(load.requests);
    settle();
    hws_manager_stats(load.manager, &stats);
    if (stats.idle != (uint32_t)load.requests)
        fail("memory", "not all connections are idle");
    printf("value\t%.0f\tbytes per connection\n",
           (double)(resident_bytes() - before) / (double)(load.requests - 1));
}

static void check_handshakes(void)
{
    uint64_t full = load.mode == FULL ? (uint64_t)load.requests : 1;
    hws_stats_t stats;

    hws_manager_stats(load.manager, &stats);
    if (stats.handshakes != full)
        fail("handshakes", load.mode == FULL ? "one was resumed" : "one was not resumed");
    if (load.mode == RESUMED && stats.resumed != (uint64_t)load.requests - 1)
        fail("handshakes", "a connection was reused");
}

static void read_arguments(int argc, char **argv)
{
    if (argc == 6) {
        while (load.mode < MODES && strcmp(argv[1], modes[load.mode]) != 0)
            load.mode++;
        load.requests = strtol(argv[4], NULL, 10);
        load.connections = strtol(argv[5], NULL, 10);
    }
    if (argc != 6 || load.mode == MODES || load.requests < 2 - (load.mode == STREAM) ||
        load.connections < 1) {
        fprintf(stderr, "usage: hawser_tls full|resumed|keep|stream|memory CA URL requests "
                        "connections\n");
        exit(2);
    }
}

static void set_up(const char *ca, const char *url)
{
    hws_manager_options_t options;
    hws_tls_options_t tls = {.ca = {ca, strlen(ca)}, .server_name = "localhost", .verify = true};
    hws_error_t why;

    hws_manager_options_init(&options);
    options.max_connections = (uint32_t)load.connections;
    options.limits.per_peer = options.limits.connections = (uint32_t)load.connections;
    options.limits.dials = (uint32_t)load.connections;
    options.reuse = load.mode == FULL || load.mode == RESUMED ? HWS_REUSE_NEVER : HWS_REUSE_SAFE;
    options.timeouts.connect = options.timeouts.tls = options.timeouts.queue = HWS_S(30);
    options.timeouts.request = HWS_S(60);
    options.tls = &tls;
    if (hws_loop_create(&load.loop) != HWS_OK)
        fail("loop", "cannot be made");
    must(hws_manager_create(load.loop, &options, &load.manager, &why), &why);
    must(hws_manager_origin(load.manager, (hws_slice_t){url, strlen(url)}, &load.upstream,
                            &load.target, &why),
         &why);
    hws_upstream_hold(load.upstream);
}

static void tear_down(void)
{
    hws_upstream_unhold(load.upstream);
    hws_manager_destroy(load.manager);
    while (hws_loop_timeout(load.loop) == 0)
        hws_loop_run(load.loop, false);
    hws_loop_destroy(load.loop);
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    set_up(argv[2], argv[3]);
    make(1);
    if (load.mode == MEMORY)
        measure_memory();
    else
        make(load.requests - 1);
    check_handshakes();
    tear_down();
    if (load.mode != MEMORY)
        printf("%zu bytes\n", load.bytes);
    return 0;
}
