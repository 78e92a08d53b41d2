/* hawser_h2 - hawser's C API over HTTP/2: hawser_h2 requests|streams h2c://HOST:PORT/PATH COUNT STREAMS
 *
 *     requests  COUNT GETs on one connection, STREAMS of them in flight; each response's status is
 *               checked and its body read whole
 *     streams   COUNT GETs begun, STREAMS at a time, and given up once they have left; nobody
 *               answers them
 *
 * Exits 1 when any of them went wrong. */
#include <hawser/hawser.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    hws_loop_t *loop;
    hws_manager_t *manager;
    hws_upstream_t *upstream;
    hws_slice_t target;
    long to_begin;
    long in_flight;
    bool is_repeating; /* what ends begins the next one */
} load;

static void begin(void);

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "hawser_h2: %s: %s\n", what, detail);
    exit(1);
}

static void must(int rc, const hws_error_t *why)
{
    if (rc != HWS_OK)
        fail(hws_error_name(rc), why->detail);
}

static void on_done(hws_request_t *request, void *user)
{
    const hws_response_t *response = hws_request_response(request);

    (void)user;
    if (response == NULL)
        fail("request", hws_request_error(request)->detail);
    if (response->head->status != 200 || response->body.size == 0)
        fail("request", "an answer is not 200 or has no body");
    hws_request_destroy(request);
    load.in_flight--;
    if (load.is_repeating)
        begin();
}

static hws_request_t *start(hws_slice_t target)
{
    hws_request_options_t options;
    hws_request_t *request;
    hws_error_t why;

    hws_request_options_init(&options);
    options.target = target;
    options.on_done = on_done;
    must(hws_request_start(load.upstream, &options, &request, &why), &why);
    load.in_flight++;
    return request;
}

static void begin(void)
{
    if (load.to_begin == 0)
        return;
    load.to_begin--;
    (void)start(load.target);
}

static void finish(void)
{
    while (load.in_flight > 0)
        hws_loop_run(load.loop, true);
}

static void make_requests(long streams)
{
    load.is_repeating = true;
    for (long i = 0; i < streams; i++)
        begin();
    finish();
}

static void open_and_close(long streams)
{
    hws_request_t **open = calloc((size_t)streams, sizeof(hws_request_t *));

    if (open == NULL)
        fail("streams", "out of memory");
    for (; load.to_begin > 0; load.to_begin -= streams) {
        for (long i = 0; i < streams; i++)
            open[i] = start(load.target);
        hws_loop_run(load.loop, false); /* they leave */
        for (long i = 0; i < streams; i++)
            hws_request_destroy(open[i]);
        load.in_flight = 0;
    }
    free(open);
}

/* Cuts the URL at its path. */
static void set_up(const char *url, uint32_t streams)
{
    const char *host = strstr(url, "://");
    const char *path = host == NULL ? NULL : strchr(host + 3, '/');
    hws_manager_options_t defaults;
    hws_upstream_options_t options;
    hws_peer_options_t peer = {0};
    hws_error_t why;

    if (path == NULL)
        fail(url, "is no URL with a path");
    load.target = (hws_slice_t){path, strlen(path)};
    peer.url = (hws_slice_t){url, (size_t)(path - url)};
    if (hws_loop_create(&load.loop) != HWS_OK)
        fail("loop", "cannot be made");
    hws_manager_options_init(&defaults);
    must(hws_manager_create(load.loop, &defaults, &load.manager, &why), &why);
    hws_upstream_options_init(&options, load.manager);
    options.name = (hws_slice_t){"bench", 5};
    options.peers = &peer;
    options.peer_count = 1;
    options.limits.per_peer = 1;
    options.limits.streams = streams;
    must(hws_upstream_create(load.manager, &options, &load.upstream, &why), &why);
}

static void tear_down(void)
{
    hws_stats_t stats;

    hws_upstream_stats(load.upstream, &stats);
    if (stats.created != 1)
        fail("connections", "more than one was made");
    hws_manager_destroy(load.manager);
    while (hws_loop_timeout(load.loop) == 0)
        hws_loop_run(load.loop, false);
    hws_loop_destroy(load.loop);
}

int main(int argc, char **argv)
{
    bool is_closing = argc == 5 && strcmp(argv[1], "streams") == 0;
    long streams = argc == 5 ? strtol(argv[4], NULL, 10) : 0;

    if (streams < 1 || (!is_closing && strcmp(argv[1], "requests") != 0)) {
        fprintf(stderr, "usage: hawser_h2 requests|streams h2c://HOST:PORT/PATH COUNT STREAMS\n");
        return 2;
    }
    set_up(argv[2], (uint32_t)streams);
    load.to_begin = strtol(argv[3], NULL, 10);
    if (is_closing) {
        (void)start((hws_slice_t){"/play/ok", 8}); /* so that there is a connection */
        finish();
        open_and_close(streams);
    } else {
        make_requests(streams);
    }
    tear_down();
    return 0;
}
