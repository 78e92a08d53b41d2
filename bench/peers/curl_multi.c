/* curl_multi.c - libcurl's multi interface, driven by events (multi_socket) over epoll.
 *
 *     curl_multi URL requests connections
 *     curl_multi --h2 URL requests streams     HTTP/2 over TLS, all on one connection
 *
 * One easy handle a connection (or stream), taken out and put back for each request: the way that
 * libcurl documents for many transfers at once. libcurl is told neither to log nor to signal. What
 * BENCH_CA names is all that it trusts. */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { EVENTS = 256 };

static CURLM *multi;
static int poller;
static long wait_ms = -1;
static long started, finished, wanted;
static bool is_h2;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "curl_multi: %s after %ld requests\n", what, finished);
    exit(1);
}

/* `known` is set by the first call for a socket, so that later ones modify instead of add. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *known)
{
    struct epoll_event event = {.data.fd = fd};

    (void)easy;
    (void)data;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
        curl_multi_assign(multi, fd, NULL);
        return 0;
    }
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    epoll_ctl(poller, known != NULL ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (known == NULL)
        curl_multi_assign(multi, fd, &poller);
    return 0;
}

static int on_timer(CURLM *handle, long timeout_ms, void *data)
{
    (void)handle;
    (void)data;
    wait_ms = timeout_ms;
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
    size_t *received = data;

    (void)bytes;
    *received += size * count;
    return size * count;
}

static void finish(CURL *easy, CURLcode result)
{
    size_t *received;
    long status = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&received);
    if (result != CURLE_OK)
        fail(curl_easy_strerror(result));
    if (status != 200 || *received == 0)
        fail("an answer is not 200 or has no body");
    *received = 0;
    finished++;
    curl_multi_remove_handle(multi, easy);
    if (started < wanted) {
        started++;
        curl_multi_add_handle(multi, easy);
    } else {
        curl_easy_cleanup(easy);
    }
}

static void finish_all(void)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE)
            finish(message->easy_handle, message->data.result);
    }
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    int running;

    while (finished < wanted) {
        int count = epoll_wait(poller, events, EVENTS, (int)wait_ms);

        if (count == 0)
            curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
        for (int i = 0; i < count; i++) {
            int ready = 0;

            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                ready |= CURL_CSELECT_IN;
            if (events[i].events & EPOLLOUT)
                ready |= CURL_CSELECT_OUT;
            curl_multi_socket_action(multi, events[i].data.fd, ready, &running);
        }
        finish_all();
    }
}

static void add(const char *url, size_t *received)
{
    CURL *easy = curl_easy_init();

    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     is_h2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, is_h2 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_CAINFO, getenv("BENCH_CA"));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, received);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, received);
    started++;
    curl_multi_add_handle(multi, easy);
}

int main(int argc, char **argv)
{
    size_t *received;
    int connections;

    is_h2 = argc > 1 && strcmp(argv[1], "--h2") == 0;
    argc -= is_h2;
    argv += is_h2;
    if (argc != 4 || (wanted = atol(argv[2])) < 1 || (connections = atoi(argv[3])) < 1) {
        fprintf(stderr, "usage: curl_multi [--h2] URL requests connections\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    multi = curl_multi_init();
    poller = epoll_create1(0);
    received = calloc((size_t)connections, sizeof(*received));
    if (multi == NULL || poller < 0 || received == NULL)
        fail("cannot start");
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)connections);
    if (is_h2)
        curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, 1L);
    for (int i = 0; i < connections && started < wanted; i++)
        add(argv[1], &received[i]);
    run();
    curl_multi_cleanup(multi);
    free(received);
    curl_global_cleanup();
    return 0;
}
