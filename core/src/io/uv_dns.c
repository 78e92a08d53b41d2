/* The sockets of c-ares are made here, like those of io/uv.c: c-ares 1.18 writes to TCP sockets with
 * writev(2), which raises SIGPIPE when the name server is gone; and in a forked child the poll set,
 * which it shares with its parent, must not be touched.
 *
 * c-ares may call back from inside ares_getaddrinfo(), and must not be destroyed or cancelled from
 * a callback. So a callback only puts the question on a list. ares_cancel() ends all questions of
 * a channel: one that is given up is only forgotten, and all are cancelled when all are. */
#include "io/uv_dns.h"

#include "base/memory.h"
#include "io/hosts.h"
#include "io/process.h"

#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define OUT_AT_ONCE 256U
#define SERVERS_MAX 16U
#define SEARCH_MAX 16U
#define HOSTS_SIZE_MAX ((size_t)1 << 20)
#define TRIES 2
/* Between two looks at the files of the system. */
#define LOOK_EVERY HWS_S(1)
#define SHORTEST_TRY_MS 50

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where that is missing there is SO_NOSIGPIPE */
#endif

typedef enum { WAITING, OUT, ANSWERED } state_t;

/* A c-ares channel: the sockets and the questions that are out through it. */
typedef struct {
    hws_list_t link; /* of its names */
    hws_names_t *names;
    ares_channel ares;
    uv_timer_t timer;   /* c-ares has something to do */
    hws_list_t sockets; /* those that are open */
    uint32_t out;       /* questions, forgotten ones included */
    uint32_t wanted;    /* those of them that somebody waits for */
    int cause;          /* what c-ares would call a refused connection, HWS_OK when it was one */
} channel_t;

typedef struct {
    uv_poll_t poll;
    hws_list_t link;
    channel_t *channel;
    int fd;
    int events;         /* that c-ares waits for */
    bool is_datagram;   /* else TCP, */
    bool is_at_message; /* where each message comes behind its length */
} socket_t;

struct hws_question {
    hws_list_t link; /* waiting, or answered */
    hws_names_t *names;
    channel_t *channel; /* while it is out */
    state_t state;
    bool is_forgotten;
    int family;
    hws_answer_t answer; /* with addresses of its own */
    void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now);
    void *owner;
    char name[];
};

/* By what one sees that a file changed. All zeros: there is none. */
typedef struct {
    uv_timespec_t changed;
    uint64_t size;
    uint64_t number;
} stamp_t;

struct hws_names {
    hws_dns_t *dns;
    struct ares_addr_port_node servers[SERVERS_MAX];
    uint32_t server_count;
    char *search[SEARCH_MAX];
    uint32_t search_count;
    bool has_search;
    hws_time_t patience;
    char *hosts_path;
    char *config_path;
    hws_list_t waiting;
    hws_list_t channels; /* the one in use first */
    uint32_t out;        /* questions in all channels */
    hws_buffer_t hosts;
    stamp_t hosts_stamp;
    stamp_t config_stamp;
    hws_time_t looked_at;
};

static bool is_forked(const hws_dns_t *dns)
{
    return dns->generation != hws_process_generation();
}

/* Codes ------------------------------------------------------------------------------------- */

static int code_of(const channel_t *channel, int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return HWS_OK;
    case ARES_ENODATA:
        return HWS_ERR_NODATA;
    case ARES_ENOTFOUND:
    case ARES_EBADNAME: /* that cannot be asked for */
        return HWS_ERR_NXDOMAIN;
    case ARES_ESERVFAIL:
        return HWS_ERR_SERVFAIL;
    case ARES_EREFUSED:
        return HWS_ERR_DNS_REFUSED;
    case ARES_ETIMEOUT:
        return HWS_ERR_DNS_TIMEOUT;
    case ARES_EBADRESP:
        return HWS_ERR_DNS_MALFORMED;
    case ARES_ENOMEM:
        return HWS_ERR_NOMEM;
    case ARES_ECONNREFUSED:
        return channel->cause != HWS_OK ? channel->cause : HWS_ERR_DNS_REFUSED;
    default:
        return HWS_ERR_DNS;
    }
}

/* c-ares goes on to the next server after an answer of these codes, and after the last one says
 * ARES_ECONNREFUSED for all of them. */
static int cause_of(const unsigned char *message, size_t size)
{
    if (size < 4)
        return HWS_OK;
    switch (message[3] & 15) {
    case 2: /* SERVFAIL */
    case 4: /* NOTIMP */
        return HWS_ERR_SERVFAIL;
    case 5:
        return HWS_ERR_DNS_REFUSED;
    default:
        return HWS_OK;
    }
}

/* Questions --------------------------------------------------------------------------------- */

static void free_question(hws_question_t *question)
{
    hws_free((void *)question->answer.ips);
    hws_free(question);
}

static void be_answered(hws_question_t *question)
{
    hws_dns_t *dns = question->names->dns;

    question->state = ANSWERED;
    hws_list_push_back(&dns->answered, &question->link);
    dns->answered_count++;
}

static int keep_ips(hws_question_t *question, const hws_ip_t *ips, uint32_t count)
{
    hws_ip_t *copy = hws_alloc(count * sizeof(*copy));

    if (copy == NULL)
        return HWS_ERR_NOMEM;
    memcpy(copy, ips, count * sizeof(*copy));
    question->answer = (hws_answer_t){.status = HWS_OK, .ips = copy, .count = count};
    return HWS_OK;
}

/* A TTL with the top bit set counts as 0 (RFC 2181, 8). */
static uint32_t shorter(uint32_t ttl, int other)
{
    if (other < 0)
        return 0;
    return (uint32_t)other < ttl ? (uint32_t)other : ttl;
}

static const void *bytes_of(const struct ares_addrinfo_node *node)
{
    if (node->ai_family == AF_INET)
        return &((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr;
    return &((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr;
}

static int keep_found(hws_question_t *question, const struct ares_addrinfo *found)
{
    hws_ip_t ips[HWS_ANSWER_ADDRESSES];
    uint32_t ttl = INT32_MAX;
    uint32_t count = 0;
    int rc;

    for (const struct ares_addrinfo_node *node = found->nodes; node != NULL; node = node->ai_next)
        if (node->ai_family == question->family && count < HWS_ANSWER_ADDRESSES) {
            ips[count++] = hws_ip_make(node->ai_family, bytes_of(node));
            ttl = shorter(ttl, node->ai_ttl);
        }
    for (const struct ares_addrinfo_cname *alias = found->cnames; alias != NULL;
         alias = alias->next)
        ttl = shorter(ttl, alias->ttl);
    if (count == 0)
        return HWS_ERR_NODATA;
    if ((rc = keep_ips(question, ips, count)) == HWS_OK)
        question->answer.ttl = ttl;
    return rc;
}

static void on_found(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    hws_question_t *question = arg;
    channel_t *channel = question->channel;
    int rc = code_of(channel, status);

    (void)timeouts;
    channel->out--;
    channel->names->out--;
    if (!question->is_forgotten) {
        channel->wanted--;
        if (rc == HWS_OK)
            rc = keep_found(question, found);
        question->answer.status = rc;
        be_answered(question);
    } else {
        free_question(question);
    }
    ares_freeaddrinfo(found);
}

/* Sockets ----------------------------------------------------------------------------------- */

static void settle(channel_t *channel);

static void on_poll(uv_poll_t *poll, int status, int events);

/* libuv reports an error of the socket by `status` alone and stops watching. */
static void watch(socket_t *socket)
{
    if (is_forked(socket->channel->names->dns))
        return;
    if (socket->events == 0) {
        uv_poll_stop(&socket->poll);
        return;
    }
    socket->channel->names->dns->has_news = true;
    uv_poll_start(&socket->poll, socket->events, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    socket_t *socket = HWS_CONTAINER(poll, socket_t, poll);
    channel_t *channel = socket->channel;
    int fd = socket->fd;

    if (status < 0)
        events = UV_READABLE | UV_WRITABLE;
    ares_process_fd(channel->ares, events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    /* Freed at the earliest when the loop goes on. */
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
        watch(socket);
    settle(channel);
}

static socket_t *find_socket(channel_t *channel, ares_socket_t fd)
{
    HWS_LIST_EACH(link, &channel->sockets) {
        socket_t *socket = HWS_CONTAINER(link, socket_t, link);

        if (socket->fd == fd)
            return socket;
    }
    return NULL;
}

static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
    socket_t *socket = find_socket(data, fd);

    assert(socket != NULL);
    socket->events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    watch(socket);
}

static int open_fd(int family, int type, int protocol)
{
    int on = 1;
#ifdef SOCK_CLOEXEC
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
#else
    int fd = socket(family, type, protocol);
#endif

    if (fd < 0)
        return fd;
#ifndef SOCK_CLOEXEC
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
#endif
#ifdef SO_NOSIGPIPE
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
    if (type == SOCK_STREAM)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static ares_socket_t socket_open(int family, int type, int protocol, void *data)
{
    channel_t *channel = data;
    socket_t *socket = hws_zalloc(sizeof(*socket));
    int fd = -1;

    channel->cause = HWS_ERR_NOMEM;
    if (socket == NULL)
        return ARES_SOCKET_BAD;
    if ((fd = open_fd(family, type, protocol)) < 0)
        channel->cause =
            errno == EMFILE || errno == ENFILE ? HWS_ERR_TOO_MANY_FILES : HWS_ERR_DNS_REFUSED;
    if (fd < 0 || uv_poll_init_socket(channel->names->dns->loop, &socket->poll, fd) != 0)
        goto fail;
    channel->cause = HWS_OK;
    socket->channel = channel;
    socket->fd = fd;
    socket->is_datagram = type == SOCK_DGRAM;
    hws_list_push_back(&channel->sockets, &socket->link);
    return fd;

fail:
    if (fd >= 0)
        close(fd);
    hws_free(socket);
    return ARES_SOCKET_BAD;
}

static void on_socket_closed(uv_handle_t *handle)
{
    hws_free(HWS_CONTAINER(handle, socket_t, poll));
}

static int socket_close(ares_socket_t fd, void *data)
{
    channel_t *channel = data;
    socket_t *socket = find_socket(channel, fd);

    assert(socket != NULL);
    hws_list_remove(&socket->link);
    /* Before the descriptor, so that libuv has forgotten it when its number is given anew. */
    if (!is_forked(channel->names->dns))
        uv_close((uv_handle_t *)&socket->poll, on_socket_closed);
    return close(fd);
}

static int socket_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t size,
                          void *data)
{
    (void)data;
    return connect(fd, address, size);
}

static ares_ssize_t socket_receive(ares_socket_t fd, void *bytes, size_t size, int flags,
                                   struct sockaddr *from, ares_socklen_t *from_size, void *data)
{
    channel_t *channel = data;
    socket_t *socket = find_socket(channel, fd);
    ares_ssize_t received = recvfrom(fd, bytes, size, flags, from, from_size);

    assert(socket != NULL);
    channel->cause = HWS_OK;
    if (received > 0 && (socket->is_datagram || socket->is_at_message))
        channel->cause = cause_of(bytes, (size_t)received);
    socket->is_at_message = received > 0 && size <= 2;
    return received;
}

static ares_ssize_t socket_send(ares_socket_t fd, const struct iovec *parts, int count, void *data)
{
    struct msghdr message = {.msg_iov = (struct iovec *)parts};

    (void)data;
    message.msg_iovlen = (size_t)count;
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static const struct ares_socket_functions socket_functions = {
    socket_open, socket_close, socket_connect, socket_receive, socket_send};

/* Channels ---------------------------------------------------------------------------------- */

static channel_t *channel_in_use(hws_names_t *names)
{
    return HWS_CONTAINER(names->channels.next, channel_t, link);
}

static void on_timer(uv_timer_t *timer)
{
    channel_t *channel = HWS_CONTAINER(timer, channel_t, timer);

    ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    settle(channel);
}

/* libuv counts in milliseconds and may be early by one. */
static void set_timer(channel_t *channel)
{
    struct timeval room;
    const struct timeval *left;

    if (is_forked(channel->names->dns))
        return;
    left = channel->out > 0 ? ares_timeout(channel->ares, NULL, &room) : NULL;
    if (left == NULL) {
        uv_timer_stop(&channel->timer);
        return;
    }
    uv_update_time(channel->names->dns->loop);
    uv_timer_start(&channel->timer, on_timer,
                   (uint64_t)left->tv_sec * 1000 + (uint64_t)left->tv_usec / 1000 + 1, 0);
}

static void on_channel_closed(uv_handle_t *handle)
{
    hws_free(HWS_CONTAINER(handle, channel_t, timer));
}

/* Questions that are out have been forgotten. */
static void destroy_channel(channel_t *channel)
{
    assert(channel->wanted == 0);
    ares_destroy(channel->ares);
    assert(channel->out == 0 && hws_list_is_empty(&channel->sockets));
    hws_list_remove(&channel->link);
    if (!is_forked(channel->names->dns))
        uv_close((uv_handle_t *)&channel->timer, on_channel_closed);
}

static void send_waiting(hws_names_t *names)
{
    channel_t *channel = channel_in_use(names);
    const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT};

    while (names->out < OUT_AT_ONCE && !hws_list_is_empty(&names->waiting)) {
        hws_question_t *question = HWS_CONTAINER(names->waiting.next, hws_question_t, link);
        struct ares_addrinfo_hints own = hints;

        hws_list_remove(&question->link);
        question->state = OUT;
        question->channel = channel;
        channel->out++;
        channel->wanted++;
        names->out++;
        own.ai_family = question->family;
        channel->cause = HWS_OK;
        ares_getaddrinfo(channel->ares, question->name, NULL, &own, on_found, question);
    }
    set_timer(channel);
}

/* To be called when c-ares may have ended questions. The channel may be gone after it. */
static void settle(channel_t *channel)
{
    hws_names_t *names = channel->names;

    if (channel->wanted == 0 && channel->out > 0)
        ares_cancel(channel->ares);
    set_timer(channel);
    if (channel->out == 0 && channel != channel_in_use(names))
        destroy_channel(channel);
    send_waiting(names);
}

/* All tries together: c-ares asks each server once, and then each again with twice the time. */
static int try_ms(const hws_names_t *names, uint32_t servers)
{
    hws_time_t parts = (hws_time_t)(servers > 0 ? servers : 1) * ((1 << TRIES) - 1);
    hws_time_t ms = names->patience * 9 / 10 / HWS_MS(1) / parts;

    if (ms > INT32_MAX)
        ms = INT32_MAX;
    return ms < SHORTEST_TRY_MS ? SHORTEST_TRY_MS : (int)ms;
}

static int open_ares(channel_t *channel, uint32_t servers)
{
    hws_names_t *names = channel->names;
    struct ares_options options = {
        .flags = ARES_FLAG_NOALIASES,
        .timeout = try_ms(names, servers),
        .tries = TRIES,
        .lookups = (char *)"b", /* name servers alone: the hosts file is read here */
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = channel,
        .domains = names->search,
        .ndomains = (int)names->search_count,
        .resolvconf_path = names->config_path,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
               ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF;
    int status;

    if (names->has_search)
        mask |= ARES_OPT_DOMAINS;
#ifdef ARES_OPT_QUERY_CACHE
    mask |= ARES_OPT_QUERY_CACHE; /* of no length: who asks means it */
#endif
    if ((status = ares_init_options(&channel->ares, &options, mask)) != ARES_SUCCESS)
        return code_of(channel, status);
    if (names->server_count > 0 &&
        (status = ares_set_servers_ports(channel->ares, names->servers)) != ARES_SUCCESS) {
        ares_destroy(channel->ares);
        return code_of(channel, status);
    }
    ares_set_socket_functions(channel->ares, &socket_functions, channel);
    return HWS_OK;
}

static uint32_t count_servers(const channel_t *channel)
{
    struct ares_addr_port_node *servers = NULL;
    uint32_t count = 0;

    if (ares_get_servers_ports(channel->ares, &servers) != ARES_SUCCESS)
        return 1;
    for (const struct ares_addr_port_node *server = servers; server != NULL; server = server->next)
        count++;
    ares_free_data(servers);
    return count;
}

/* How many servers the system has is known only when c-ares has read its configuration. */
static int open_ares_for_its_servers(channel_t *channel)
{
    uint32_t count = channel->names->server_count > 0 ? channel->names->server_count : 1;
    uint32_t servers;
    int rc = open_ares(channel, count);

    if (rc != HWS_OK || (servers = count_servers(channel)) <= count)
        return rc;
    ares_destroy(channel->ares);
    return open_ares(channel, servers);
}

/* Becomes the one in use. */
static int create_channel(hws_names_t *names)
{
    channel_t *channel = hws_zalloc(sizeof(*channel));
    int rc;

    if (channel == NULL)
        return HWS_ERR_NOMEM;
    channel->names = names;
    hws_list_init(&channel->sockets);
    if ((rc = open_ares_for_its_servers(channel)) != HWS_OK) {
        hws_free(channel);
        return rc;
    }
    uv_timer_init(names->dns->loop, &channel->timer);
    hws_list_push_front(&names->channels, &channel->link);
    return HWS_OK;
}

/* Files ------------------------------------------------------------------------------------- */

static stamp_t stamp_of(const char *path)
{
    stamp_t stamp = {0};
    uv_fs_t request;

    if (uv_fs_stat(NULL, &request, path, NULL) == 0)
        stamp = (stamp_t){request.statbuf.st_mtim, request.statbuf.st_size, request.statbuf.st_ino};
    uv_fs_req_cleanup(&request);
    return stamp;
}

static bool is_same(const stamp_t *a, const stamp_t *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->size == b->size && a->number == b->number;
}

/* A file that cannot be read has no names. Blocks for the time that a local file takes. */
static void read_hosts(hws_names_t *names)
{
    int fd = open(names->hosts_path, O_RDONLY | O_CLOEXEC);
    char block[4096];
    ssize_t size = 0;

    hws_buffer_dispose(&names->hosts);
    if (fd < 0)
        return;
    do
        size = read(fd, block, sizeof(block));
    while ((size < 0 && errno == EINTR) ||
           (size > 0 && hws_buffer_size(&names->hosts) < HOSTS_SIZE_MAX &&
            hws_buffer_append(&names->hosts, block, (size_t)size) == HWS_OK));
    close(fd);
}

/* A configuration that cannot be used leaves the one that was. */
static void look_at_files(hws_names_t *names)
{
    hws_time_t now = (hws_time_t)(uv_hrtime() / 1000);
    stamp_t hosts;
    stamp_t config;

    if (now < names->looked_at + LOOK_EVERY)
        return;
    names->looked_at = now;
    hosts = stamp_of(names->hosts_path);
    if (!is_same(&hosts, &names->hosts_stamp)) {
        names->hosts_stamp = hosts;
        read_hosts(names);
    }
    config = stamp_of(names->config_path);
    if (!is_same(&config, &names->config_stamp)) {
        channel_t *old = channel_in_use(names);

        names->config_stamp = config;
        if (create_channel(names) == HWS_OK && old->out == 0)
            destroy_channel(old);
    }
}

/* Operations -------------------------------------------------------------------------------- */

/* Whether the question is answered without a name server. */
static bool answer_at_once(hws_question_t *question)
{
    hws_names_t *names = question->names;
    hws_slice_t text = {hws_buffer_bytes(&names->hosts), hws_buffer_size(&names->hosts)};
    hws_ip_t ips[HWS_ANSWER_ADDRESSES];
    uint32_t count = 1;
    bool is_known = true;

    if (!hws_hosts_is_local(question->name, question->family, ips))
        count = hws_hosts_find(text, question->name, question->family, ips, HWS_ANSWER_ADDRESSES,
                               &is_known);
    if (!is_known)
        return false;
    question->answer.status = HWS_ERR_NODATA;
    if (count > 0 && keep_ips(question, ips, count) != HWS_OK)
        question->answer.status = HWS_ERR_NOMEM;
    return true;
}

int hws_dns_ask(hws_names_t *names, const char *name, int family,
                void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
                void *owner, hws_question_t **out)
{
    hws_question_t *question;
    size_t size = strlen(name) + 1;

    if (is_forked(names->dns))
        return HWS_ERR_FORKED;
    if ((question = hws_zalloc(sizeof(*question) + size)) == NULL)
        return HWS_ERR_NOMEM;
    memcpy(question->name, name, size);
    question->names = names;
    question->family = family;
    question->on_answer = on_answer;
    question->owner = owner;
    names->dns->open++;
    *out = question;
    look_at_files(names);
    if (answer_at_once(question)) {
        be_answered(question);
        return HWS_OK;
    }
    hws_list_push_back(&names->waiting, &question->link);
    send_waiting(names);
    return HWS_OK;
}

void hws_dns_unask(hws_question_t *question)
{
    channel_t *channel = question->channel;

    question->names->dns->open--;
    switch (question->state) {
    case OUT:
        question->is_forgotten = true;
        channel->wanted--;
        if (!is_forked(question->names->dns))
            settle(channel);
        return;
    case ANSWERED:
        question->names->dns->answered_count--;
        break;
    case WAITING:
        break;
    }
    hws_list_remove(&question->link);
    free_question(question);
}

void hws_dns_tell(hws_dns_t *dns, hws_time_t now)
{
    hws_question_t *question = HWS_CONTAINER(dns->answered.next, hws_question_t, link);

    hws_list_remove(&question->link);
    dns->answered_count--;
    dns->open--;
    question->on_answer(question->owner, &question->answer, now);
    free_question(question);
}

static uv_once_t library_once = UV_ONCE_INIT;
static int library_status;

static void init_library(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hws_alloc(size);

    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

static void copy_server(const hws_address_t *address, struct ares_addr_port_node *server)
{
    uint16_t port;

    server->family = address->as.any.sa_family;
    if (server->family == AF_INET) {
        port = ntohs(address->as.v4.sin_port);
        server->addr.addr4 = address->as.v4.sin_addr;
    } else {
        port = ntohs(address->as.v6.sin6_port);
        memcpy(&server->addr.addr6, &address->as.v6.sin6_addr, sizeof(server->addr.addr6));
    }
    server->udp_port = server->tcp_port = port;
}

static int copy_options(hws_names_t *names, const hws_names_options_t *options)
{
    uint32_t i;

    assert(options->server_count <= SERVERS_MAX && options->search_count <= SEARCH_MAX);
    assert(options->patience > 0);
    names->patience = options->patience;
    names->has_search = options->has_search;
    for (i = 0; i < options->server_count; i++) {
        copy_server(&options->servers[i], &names->servers[i]);
        if (i > 0)
            names->servers[i - 1].next = &names->servers[i];
    }
    names->server_count = options->server_count;
    for (i = 0; options->has_search && i < options->search_count; i++) {
        if ((names->search[i] = copy_text(options->search[i])) == NULL)
            return HWS_ERR_NOMEM;
        names->search_count++;
    }
    names->hosts_path = copy_text(options->hosts_path != NULL ? options->hosts_path : "/etc/hosts");
    names->config_path =
        copy_text(options->config_path != NULL ? options->config_path : "/etc/resolv.conf");
    return names->hosts_path != NULL && names->config_path != NULL ? HWS_OK : HWS_ERR_NOMEM;
}

int hws_dns_names_create(hws_dns_t *dns, const hws_names_options_t *options, hws_names_t **out)
{
    hws_names_t *names = hws_zalloc(sizeof(*names));
    int rc;

    if (names == NULL)
        return HWS_ERR_NOMEM;
    names->dns = dns;
    hws_list_init(&names->waiting);
    hws_list_init(&names->channels);
    uv_once(&library_once, init_library);
    rc = library_status == ARES_SUCCESS ? HWS_OK : HWS_ERR_SYSTEM;
    if (rc == HWS_OK)
        rc = copy_options(names, options);
    if (rc == HWS_OK) {
        names->config_stamp = stamp_of(names->config_path);
        rc = create_channel(names);
    }
    if (rc != HWS_OK) {
        hws_dns_names_destroy(names);
        return rc;
    }
    names->looked_at = -LOOK_EVERY;
    look_at_files(names);
    *out = names;
    return HWS_OK;
}

void hws_dns_names_destroy(hws_names_t *names)
{
    uint32_t i;

    assert(hws_list_is_empty(&names->waiting));
    while (!hws_list_is_empty(&names->channels))
        destroy_channel(channel_in_use(names));
    for (i = 0; i < names->search_count; i++)
        hws_free(names->search[i]);
    hws_free(names->hosts_path);
    hws_free(names->config_path);
    hws_buffer_dispose(&names->hosts);
    hws_free(names);
}

void hws_dns_init(hws_dns_t *dns, uv_loop_t *loop)
{
    *dns = (hws_dns_t){.loop = loop, .generation = hws_process_generation()};
    hws_list_init(&dns->answered);
}
