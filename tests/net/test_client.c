/* The public C API against faultd: what a C program that links libhawser relies on. */
#include "support/cmocka.h"
#include "support/fault_server.h"

#include <hawser/hawser.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    hws_loop_t *loop;
    hws_manager_t *manager;
} client_t;

/* How one request or lease came to its end. */
typedef struct {
    int calls; /* of on_done */
    int code;
    int status;
    bool reused;
    char body[64];
} ending_t;

static int begin(void **state)
{
    static client_t client;
    hws_manager_options_t options;

    hws_manager_options_init(&options);
    options.timeouts.request = HWS_S(20);
    options.retry.is_disabled = options.breaker.is_disabled = true;
    assert_int_equal(hws_loop_create(&client.loop), HWS_OK);
    assert_int_equal(hws_manager_create(client.loop, &options, &client.manager, NULL), HWS_OK);
    *state = &client;
    return 0;
}

static int end(void **state)
{
    client_t *client = *state;

    hws_manager_destroy(client->manager);
    hws_loop_destroy(client->loop);
    return 0;
}

static void turn_until(client_t *client, const int *calls)
{
    while (*calls == 0)
        assert_int_equal(hws_loop_run(client->loop, true), HWS_OK);
}

/* Every connection that was ever made is open or was closed for a reason; nothing is held. */
static void check_ledger(const client_t *client)
{
    hws_stats_t stats;
    uint64_t closed = 0;

    hws_manager_stats(client->manager, &stats);
    for (int i = 0; i < HWS_CLOSE_COUNT; i++)
        closed += stats.closed[i];
    assert_int_equal(stats.created - closed, stats.open);
    assert_int_equal(stats.idle + stats.busy, stats.open);
    assert_int_equal(stats.busy + stats.dialing + stats.queued, 0);
    assert_int_equal(stats.ok + stats.failed, stats.requests);
}

/* Requests ------------------------------------------------------------------------------------- */

static void note_response(hws_request_t *request, void *user)
{
    ending_t *ending = user;
    const hws_response_t *response = hws_request_response(request);

    ending->calls++;
    if (response == NULL) {
        ending->code = hws_request_error(request)->code;
        return;
    }
    ending->code = HWS_OK;
    ending->status = response->head->status;
    ending->reused = response->reused;
    snprintf(ending->body, sizeof(ending->body), "%.*s", (int)response->body.size,
             response->body.data);
}

static hws_request_t *start(client_t *client, const char *port, const char *path, const char *body,
                            ending_t *ending)
{
    hws_request_options_t options;
    hws_upstream_t *upstream;
    hws_request_t *request;
    char url[128];

    *ending = (ending_t){0};
    hws_request_options_init(&options);
    if (body != NULL) {
        options.method = HWS_SLICE("POST");
        options.has_body = true;
        options.body = (hws_slice_t){body, strlen(body)};
    }
    options.timeout = HWS_S(20);
    options.on_done = note_response;
    options.user = ending;
    fault_server_url(url, sizeof(url), "http://", port, path);
    assert_int_equal(hws_manager_origin(client->manager, (hws_slice_t){url, strlen(url)}, &upstream,
                                        &options.target, NULL),
                     HWS_OK);
    assert_int_equal(hws_request_start(upstream, &options, &request, NULL), HWS_OK);
    assert_int_equal(ending->calls, 0);
    return request;
}

static ending_t fetch(client_t *client, const char *port, const char *path, const char *body)
{
    ending_t ending;
    hws_request_t *request = start(client, port, path, body, &ending);

    turn_until(client, &ending.calls);
    hws_request_destroy(request);
    return ending;
}

static void a_response_has_status_and_body(void **state)
{
    ending_t ending = fetch(*state, "http", "/ok", NULL);

    assert_int_equal(ending.status, 200);
    assert_string_equal(ending.body, "ok");
    assert_false(ending.reused);
    check_ledger(*state);
}

static void the_next_request_uses_the_same_connection(void **state)
{
    fetch(*state, "http", "/ok", NULL);
    assert_true(fetch(*state, "http", "/chunked/2/3", NULL).reused);
    assert_true(fetch(*state, "http", "/body", "hello").reused);
    check_ledger(*state);
}

/* The descriptor of this process that is connected to that port of 127.0.0.1. */
static int descriptor_to(int port)
{
    for (int fd = 0; fd < 1024; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof(peer);

        if (getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == port)
            return fd;
    }
    return -1;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void a_connection_sends_at_once_is_kept_alive_and_stays_in_this_program(void **state)
{
    char url[128];
    int fd;

    fetch(*state, "http", "/ok", NULL);
    fault_server_url(url, sizeof(url), "", "http", "");
    fd = descriptor_to(atoi(strchr(url, ':') + 1));
    assert_true(fd >= 0);
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
#ifdef TCP_KEEPIDLE
    assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
#endif
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void a_body_is_sent(void **state)
{
    assert_string_equal(fetch(*state, "http", "/body", "hello").body, "hello");
    assert_string_equal(fetch(*state, "http", "/sink", "hello").body, "sized 5 532");
}

static void each_fault_has_its_code(void **state)
{
    static const struct {
        const char *port, *path;
        int code;
    } cases[] = {
        {"closed", "/", HWS_ERR_REFUSED},
        {"http", "/rst/now", HWS_ERR_RESET},
        {"http", "/rst/head", HWS_ERR_RESET},
        {"http", "/rst/body", HWS_ERR_RESET},
        {"http", "/fin/now", HWS_ERR_EOF},
        {"http", "/fin/head", HWS_ERR_EOF},
        {"http", "/fin/body", HWS_ERR_EOF},
        {"http", "/fin/chunk", HWS_ERR_EOF},
        {"http", "/upgrade", HWS_ERR_UPGRADE},
        {"http", "/head-size/70000", HWS_ERR_HEAD_SIZE},
        {"http", "/raw/3f0d0a0d0a", HWS_ERR_STATUS_LINE},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(fetch(*state, cases[i].port, cases[i].path, NULL).code, cases[i].code);
        check_ledger(*state);
    }
}

static void a_get_that_met_a_dead_connection_goes_again(void **state)
{
    fetch(*state, "http", "/stale/fin", NULL);
    assert_string_equal(fetch(*state, "http", "/ok", NULL).body, "ok");
    check_ledger(*state);
}

static void a_post_that_met_a_dead_connection_does_not(void **state)
{
    fetch(*state, "http", "/stale/rst", NULL);
    assert_int_equal(fetch(*state, "http", "/sink", "once").code, HWS_ERR_RESET);
    check_ledger(*state);
}

static void a_canceled_request_ends_once(void **state)
{
    client_t *client = *state;
    ending_t ending;
    hws_request_t *request = start(client, "http", "/never", NULL, &ending);

    fetch(client, "http", "/ok", NULL);
    hws_request_cancel(request);
    hws_request_cancel(request);
    assert_int_equal(ending.calls, 0);
    turn_until(client, &ending.calls);
    assert_int_equal(ending.calls, 1);
    assert_int_equal(ending.code, HWS_ERR_CANCELED);
    hws_request_destroy(request);
    check_ledger(client);
}

static void closing_the_manager_ends_what_is_in_flight(void **state)
{
    client_t *client = *state;
    ending_t waiting, dialing;
    hws_request_t *first = start(client, "http", "/never", NULL, &waiting);
    hws_request_t *second = start(client, "blackhole", "/", NULL, &dialing);

    fetch(client, "http", "/ok", NULL);
    hws_manager_close(client->manager);
    turn_until(client, &waiting.calls);
    turn_until(client, &dialing.calls);
    assert_int_equal(waiting.code, HWS_ERR_CLOSED);
    assert_int_equal(dialing.code, HWS_ERR_CLOSED);
    hws_request_destroy(first);
    hws_request_destroy(second);
}

/* Leases --------------------------------------------------------------------------------------- */

static void note_acquired(hws_lease_t *lease, void *user)
{
    ending_t *ending = user;

    ending->calls++;
    ending->code = hws_lease_error(lease) == NULL ? HWS_OK : hws_lease_error(lease)->code;
}

static void read_line(hws_lease_t *lease, void *user)
{
    static const hws_read_t line = {.mode = HWS_READ_LINE, .size = 100};
    ending_t *ending = user;
    hws_slice_t bytes;
    int rc = hws_lease_read(lease, &line, &bytes);

    if (rc == HWS_AGAIN)
        return;
    ending->calls++;
    ending->code = rc;
    if (rc == HWS_OK)
        snprintf(ending->body, sizeof(ending->body), "%.*s", (int)bytes.size, bytes.data);
}

static hws_upstream_t *raw_upstream(client_t *client)
{
    char url[128];
    hws_peer_options_t peer = {0};
    hws_upstream_options_t options;
    hws_upstream_t *upstream;

    fault_server_url(url, sizeof(url), "tcp://", "raw", "");
    peer.url = (hws_slice_t){url, strlen(url)};
    hws_upstream_options_init(&options, client->manager);
    options.name = HWS_SLICE("raw");
    options.peers = &peer;
    options.peer_count = 1;
    assert_int_equal(hws_upstream_create(client->manager, &options, &upstream, NULL), HWS_OK);
    return upstream;
}

static hws_lease_t *acquire(client_t *client, hws_upstream_t *upstream, ending_t *ending)
{
    hws_lease_options_t options = {
        .on_done = note_acquired, .on_readable = read_line, .user = ending};
    hws_lease_t *lease;

    *ending = (ending_t){0};
    assert_int_equal(hws_lease_acquire(upstream, &options, &lease, NULL), HWS_OK);
    turn_until(client, &ending->calls);
    assert_int_equal(ending->code, HWS_OK);
    return lease;
}

static void ask(client_t *client, hws_lease_t *lease, const char *line, ending_t *ending)
{
    size_t taken;

    *ending = (ending_t){0};
    assert_int_equal(hws_lease_write(lease, line, strlen(line), &taken), HWS_OK);
    read_line(lease, ending);
    turn_until(client, &ending->calls);
}

static void a_lease_reads_and_writes_and_serves_again(void **state)
{
    client_t *client = *state;
    hws_upstream_t *upstream = raw_upstream(client);
    ending_t ending;

    for (int i = 0; i < 2; i++) {
        hws_lease_t *lease = acquire(client, upstream, &ending);

        assert_int_equal(hws_lease_is_reused(lease), i == 1);
        ask(client, lease, "hello\r\n", &ending);
        assert_string_equal(ending.body, "hello");
        hws_lease_release(lease);
    }
    check_ledger(client);
}

static void a_lease_tells_that_the_peer_has_reset(void **state)
{
    client_t *client = *state;
    ending_t ending;
    hws_lease_t *lease = acquire(client, raw_upstream(client), &ending);

    ask(client, lease, "+rst\r\n", &ending);
    assert_int_equal(ending.code, HWS_ERR_RESET);
    hws_lease_release(lease);
    check_ledger(client);
}

/* Forks ---------------------------------------------------------------------------------------- */

/* Runs in the child. Returns what starting a request says there. */
static int start_in_child(client_t *client)
{
    hws_upstream_t *upstream;
    hws_slice_t target;
    hws_request_t *request;
    hws_request_options_t options;
    hws_error_t why = {0};
    char url[128];
    int rc;

    hws_request_options_init(&options);
    fault_server_url(url, sizeof(url), "http://", "http", "/ok");
    rc = hws_manager_origin(client->manager, (hws_slice_t){url, strlen(url)}, &upstream, &target,
                            &why);
    return rc != HWS_OK ? rc : hws_request_start(upstream, &options, &request, &why);
}

static void a_forked_child_has_a_dead_manager(void **state)
{
    client_t *client = *state;
    int status;
    pid_t pid;

    fetch(client, "http", "/ok", NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(start_in_child(client) == HWS_ERR_FORKED ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(fetch(client, "http", "/ok", NULL).reused);
}

static int begin_all(void **state)
{
    (void)state;
    fault_server_start();
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    fault_server_stop();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_response_has_status_and_body),
        TEST(the_next_request_uses_the_same_connection),
        TEST(a_connection_sends_at_once_is_kept_alive_and_stays_in_this_program),
        TEST(a_body_is_sent),
        TEST(each_fault_has_its_code),
        TEST(a_get_that_met_a_dead_connection_goes_again),
        TEST(a_post_that_met_a_dead_connection_does_not),
        TEST(a_canceled_request_ends_once),
        TEST(closing_the_manager_ends_what_is_in_flight),
        TEST(a_lease_reads_and_writes_and_serves_again),
        TEST(a_lease_tells_that_the_peer_has_reset),
        TEST(a_forked_child_has_a_dead_manager),
    };

    return cmocka_run_group_tests(tests, begin_all, end_all);
}
