/* The sockets of c-ares are made here, like those of io/uv.c: c-ares 1.18 writes to TCP sockets with
 * writev(2), which raises SIGPIPE when the name server is gone; and in a forked child the poll set,
 * which it shares with its parent, must not be touched. */
#include "io/uv_dns_channel.h"

#include "base/memory.h"

#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define TRIES 2
#define SHORTEST_TRY_MS 50

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where that is missing there is SO_NOSIGPIPE */
#endif

typedef struct {
    uv_poll_t poll;
    hws_list_t link;
    hws_channel_t *channel;
    int fd;
    int events;         /* that c-ares waits for */
    bool is_datagram;   /* else TCP, */
    bool is_at_message; /* where each message comes behind its length */
} socket_t;

/* Codes ------------------------------------------------------------------------------------- */

static int code_of(const hws_channel_t *channel, int status)
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

/* Sockets ----------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

/* libuv reports an error of the socket by `status` alone and stops watching. */
static void watch(socket_t *socket)
{
    if (hws_dns_is_forked(socket->channel->dns))
        return;
    if (socket->events == 0) {
        uv_poll_stop(&socket->poll);
        return;
    }
    socket->channel->dns->has_news = true;
    uv_poll_start(&socket->poll, socket->events, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    socket_t *socket = HWS_CONTAINER(poll, socket_t, poll);
    hws_channel_t *channel = socket->channel;
    int fd = socket->fd;

    if (hws_dns_is_forked(channel->dns))
        return; /* in this very turn: the answer is the parent's */
    if (status < 0)
        events = UV_READABLE | UV_WRITABLE;
    channel->cause = HWS_OK;
    ares_process_fd(channel->ares, events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    /* Freed at the earliest when the loop goes on. */
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
        watch(socket);
    channel->on_settled(channel);
}

static socket_t *find_socket(hws_channel_t *channel, ares_socket_t fd)
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
    hws_channel_t *channel = data;
    socket_t *socket = hws_zalloc(sizeof(*socket));
    int fd = -1;

    channel->cause = HWS_ERR_NOMEM;
    if (socket == NULL)
        return ARES_SOCKET_BAD;
    if ((fd = open_fd(family, type, protocol)) < 0)
        channel->cause =
            errno == EMFILE || errno == ENFILE ? HWS_ERR_TOO_MANY_FILES : HWS_ERR_DNS_REFUSED;
    if (fd < 0 || uv_poll_init_socket(channel->dns->loop, &socket->poll, fd) != 0)
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
    hws_channel_t *channel = data;
    socket_t *socket = find_socket(channel, fd);

    assert(socket != NULL);
    hws_list_remove(&socket->link);
    /* Before the descriptor, so that libuv has forgotten it when its number is given anew. */
    if (!hws_dns_is_forked(channel->dns))
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
    hws_channel_t *channel = data;
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

/* Look-ups ---------------------------------------------------------------------------------- */

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

static hws_answer_t answer_of(const struct ares_addrinfo *found, int family, hws_ip_t *ips)
{
    hws_answer_t answer = {.status = HWS_OK, .ips = ips, .ttl = INT32_MAX};

    for (const struct ares_addrinfo_node *node = found->nodes; node != NULL; node = node->ai_next)
        if (node->ai_family == family && answer.count < HWS_ANSWER_ADDRESSES) {
            ips[answer.count++] = hws_ip_make(family, bytes_of(node));
            answer.ttl = shorter(answer.ttl, node->ai_ttl);
        }
    for (const struct ares_addrinfo_cname *alias = found->cnames; alias != NULL;
         alias = alias->next)
        answer.ttl = shorter(answer.ttl, alias->ttl);
    if (answer.count == 0)
        answer.status = HWS_ERR_NODATA;
    return answer;
}

static void on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    hws_lookup_t *lookup = arg;
    hws_ip_t ips[HWS_ANSWER_ADDRESSES];
    hws_answer_t answer = {.status = code_of(lookup->channel, status)};

    (void)timeouts;
    if (answer.status == HWS_OK)
        answer = answer_of(found, lookup->family, ips);
    ares_freeaddrinfo(found);
    lookup->channel->out--;
    lookup->on_found(lookup, &answer);
}

void hws_channel_ask(hws_channel_t *channel, hws_lookup_t *lookup, const char *name, int family,
                     void (*on_found)(hws_lookup_t *lookup, const hws_answer_t *answer))
{
    struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = family};

    *lookup = (hws_lookup_t){channel, family, on_found};
    channel->out++;
    channel->cause = HWS_OK;
    ares_getaddrinfo(channel->ares, name, NULL, &hints, on_addrinfo, lookup);
}

void hws_channel_cancel(hws_channel_t *channel)
{
    ares_cancel(channel->ares);
    assert(channel->out == 0);
}

static void on_timer(uv_timer_t *timer)
{
    hws_channel_t *channel = HWS_CONTAINER(timer, hws_channel_t, timer);

    if (hws_dns_is_forked(channel->dns))
        return;
    channel->cause = HWS_OK;
    ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    channel->on_settled(channel);
}

/* libuv counts in milliseconds and may be early by one. */
void hws_channel_set_timer(hws_channel_t *channel)
{
    struct timeval room;
    const struct timeval *left;

    if (hws_dns_is_forked(channel->dns))
        return;
    left = channel->out > 0 ? ares_timeout(channel->ares, NULL, &room) : NULL;
    if (left == NULL) {
        uv_timer_stop(&channel->timer);
        return;
    }
    uv_update_time(channel->dns->loop);
    uv_timer_start(&channel->timer, on_timer,
                   (uint64_t)left->tv_sec * 1000 + (uint64_t)left->tv_usec / 1000 + 1, 0);
}

/* Life -------------------------------------------------------------------------------------- */

/* All tries together: c-ares asks each server once, and then each again with twice the time. */
static int try_ms(hws_time_t patience, uint32_t servers)
{
    hws_time_t parts = (hws_time_t)(servers > 0 ? servers : 1) * ((1 << TRIES) - 1);
    hws_time_t ms = patience * 9 / 10 / HWS_MS(1) / parts;

    if (ms > INT32_MAX)
        ms = INT32_MAX;
    return ms < SHORTEST_TRY_MS ? SHORTEST_TRY_MS : (int)ms;
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

static int set_servers(hws_channel_t *channel, const hws_names_options_t *names)
{
    struct ares_addr_port_node servers[HWS_CHANNEL_SERVERS] = {{0}};
    uint32_t i;

    assert(names->server_count <= HWS_CHANNEL_SERVERS);
    for (i = 0; i < names->server_count; i++) {
        copy_server(&names->servers[i], &servers[i]);
        if (i > 0)
            servers[i - 1].next = &servers[i];
    }
    return ares_set_servers_ports(channel->ares, servers);
}

static int open_ares(hws_channel_t *channel, const hws_names_options_t *names, uint32_t servers)
{
    struct ares_options options = {
        .flags = ARES_FLAG_NOALIASES,
        .timeout = try_ms(names->patience, servers),
        .tries = TRIES,
        .lookups = (char *)"b", /* name servers alone */
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = channel,
        .domains = (char **)names->search,
        .ndomains = (int)names->search_count,
        .resolvconf_path = (char *)names->config_path,
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
    if (names->server_count > 0 && (status = set_servers(channel, names)) != ARES_SUCCESS) {
        ares_destroy(channel->ares);
        return code_of(channel, status);
    }
    ares_set_socket_functions(channel->ares, &socket_functions, channel);
    return HWS_OK;
}

static uint32_t count_servers(const hws_channel_t *channel)
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
static int open_ares_for_its_servers(hws_channel_t *channel, const hws_names_options_t *names)
{
    uint32_t count = names->server_count > 0 ? names->server_count : 1;
    uint32_t servers;
    int rc = open_ares(channel, names, count);

    if (rc != HWS_OK || (servers = count_servers(channel)) <= count)
        return rc;
    ares_destroy(channel->ares);
    return open_ares(channel, names, servers);
}

static uv_once_t library_once = UV_ONCE_INIT;
static int library_status;

static void init_library(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

int hws_channel_create(hws_dns_t *dns, const hws_names_options_t *options,
                       void (*on_settled)(hws_channel_t *channel), void *owner, hws_channel_t **out)
{
    hws_channel_t *channel;
    int rc;

    uv_once(&library_once, init_library);
    if (library_status != ARES_SUCCESS)
        return HWS_ERR_SYSTEM;
    if ((channel = hws_zalloc(sizeof(*channel))) == NULL)
        return HWS_ERR_NOMEM;
    channel->dns = dns;
    channel->on_settled = on_settled;
    channel->owner = owner;
    hws_list_init(&channel->link);
    hws_list_init(&channel->sockets);
    if ((rc = open_ares_for_its_servers(channel, options)) != HWS_OK) {
        hws_free(channel);
        return rc;
    }
    uv_timer_init(dns->loop, &channel->timer);
    *out = channel;
    return HWS_OK;
}

static void on_closed(uv_handle_t *handle)
{
    hws_free(HWS_CONTAINER(handle, hws_channel_t, timer));
}

void hws_channel_destroy(hws_channel_t *channel)
{
    ares_destroy(channel->ares);
    assert(channel->out == 0 && hws_list_is_empty(&channel->sockets));
    hws_list_remove(&channel->link);
    if (!hws_dns_is_forked(channel->dns))
        uv_close((uv_handle_t *)&channel->timer, on_closed);
}
