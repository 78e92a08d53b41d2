/* hawser_http1 - hawser's C API as a load client:
 *     hawser_http1 [--unmeasured | --two-peers] URL REQUESTS CONNECTIONS
 *
 * With --unmeasured the manager gathers no metrics; with --two-peers the server is two peers, for the balancer, and all
 * events are listened to. Exactly REQUESTS GETs, CONNECTIONS of them in flight; each response's status is checked and its
 * body read whole. Exits 1 when any of them went wrong. */
#include <hawser/hawser.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    hws_upstream_t *upstream;
    hws_slice_t target;
    long to_begin;
    long in_flight;
    long failed;
    size_t bytes;
    long events;
} load;

static void begin(void);

static void on_done(hws_request_t *request, void *user)
{
    const hws_response_t *response = hws_request_response(request);

    (void)user;
    if (response != NULL && response->head->status == 200)
        load.bytes += response->body.size;
    else
        load.failed++;
    hws_request_destroy(request);
    load.in_flight--;
    begin();
}

static void begin(void)
{
    hws_request_options_t options;
    hws_request_t *request;

    if (load.to_begin == 0)
        return;
    load.to_begin--;
    hws_request_options_init(&options);
    options.target = load.target;
    options.on_done = on_done;
    if (hws_request_start(load.upstream, &options, &request, NULL) == HWS_OK)
        load.in_flight++;
    else
        load.failed++;
}

static void on_event(void *user, const hws_event_t *event)
{
    (void)user;
    (void)event;
    load.events++;
}

/* As two peers, with all policies that an upstream has unless told otherwise. */
static int make_upstream(hws_manager_t *manager, const char *url, hws_error_t *why)
{
    size_t origin = strcspn(url + strlen("http://"), "/") + strlen("http://");
    hws_peer_options_t peers[2] = {{.url = {url, origin}, .id = HWS_SLICE("one")},
                                   {.url = {url, origin}, .id = HWS_SLICE("two")}};
    hws_upstream_options_t options;

    load.target = (hws_slice_t){url + origin, strlen(url + origin)};
    hws_upstream_options_init(&options, manager);
    options.name = HWS_SLICE("bench");
    options.peers = peers;
    options.peer_count = 2;
    hws_manager_listen(manager, UINT32_MAX);
    return hws_upstream_create(manager, &options, &load.upstream, why);
}

int main(int argc, char **argv)
{
    hws_manager_options_t options;
    hws_manager_t *manager = NULL;
    hws_loop_t *loop;
    hws_error_t why;
    bool is_unmeasured = argc > 1 && strcmp(argv[1], "--unmeasured") == 0;
    bool has_two_peers = argc > 1 && strcmp(argv[1], "--two-peers") == 0;
    long connections;
    int rc;

    argc -= is_unmeasured || has_two_peers;
    argv += is_unmeasured || has_two_peers;
    connections = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    if (connections < 1) {
        fprintf(stderr,
                "usage: hawser_http1 [--unmeasured | --two-peers] URL REQUESTS CONNECTIONS\n");
        return 2;
    }
    load.to_begin = strtol(argv[2], NULL, 10);
    hws_manager_options_init(&options);
    options.metrics = !is_unmeasured;
    options.on_event = on_event;
    options.max_connections = (uint32_t)connections;
    options.limits.per_peer = options.limits.connections = (uint32_t)connections;
    if (hws_loop_create(&loop) != HWS_OK)
        return 1;
    rc = hws_manager_create(loop, &options, &manager, &why);
    if (rc == HWS_OK && has_two_peers)
        rc = make_upstream(manager, argv[1], &why);
    else if (rc == HWS_OK)
        rc = hws_manager_origin(manager, (hws_slice_t){argv[1], strlen(argv[1])}, &load.upstream,
                                &load.target, &why);
    if (rc != HWS_OK) {
        fprintf(stderr, "hawser_http1: %s: %s\n", hws_error_name(rc), why.detail);
        return 1;
    }
    hws_upstream_hold(load.upstream);
    while (load.in_flight < connections && load.to_begin > 0)
        begin();
    while (load.in_flight > 0)
        hws_loop_run(loop, true);
    hws_upstream_unhold(load.upstream);
    if (has_two_peers && load.events == 0)
        load.failed++;
    hws_manager_destroy(manager);
    while (hws_loop_timeout(loop) == 0)
        hws_loop_run(loop, false);
    hws_loop_destroy(loop);
    printf("%zu bytes, %ld failed\n", load.bytes, load.failed);
    return load.failed > 0;
}
