#include "support/name_server.h"

#include "support/dns_message.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONNECTIONS 8

struct name_server {
    pthread_t thread;
    hws_address_t address;
    int udp;
    int other; /* another port, for forgeries */
    int tcp;
    int stop[2];
    int connections[CONNECTIONS]; /* -1: none */
    atomic_uint udp_count;
    atomic_uint tcp_count;
    unsigned late; /* questions for `late` so far */
};

static void fail(const char *what)
{
    perror(what);
    abort();
}

/* Messages ------------------------------------------------------------------------------------ */

static void put_address(dns_message_t *message, const char *name, int type, uint32_t ttl,
                        uint32_t number)
{
    if (type == DNS_TYPE_A) {
        dns_put_record(message, name, type, ttl, 4);
        dns_put_number(message, 10U << 24 | number, 4);
    } else {
        dns_put_record(message, name, type, ttl, 16);
        dns_put_number(message, 0, 4);
        dns_put_number(message, 0, 4);
        dns_put_number(message, 0, 4);
        dns_put_number(message, number, 4);
    }
}

/* Behaviour ----------------------------------------------------------------------------------- */

/* Whether this is the name's first label. */
static bool is(const dns_query_t *query, const char *label)
{
    size_t size = strlen(label);

    return strncmp(query->name, label, size) == 0 &&
           (query->name[size] == '.' || query->name[size] == '\0');
}

static int code_of(const dns_query_t *query, bool is_tcp)
{
    static const struct {
        const char *label;
        int code;
    } codes[] = {{"nx", 3}, {"servfail", 2}, {"refused", 5}, {"formerr", 1}, {"notimp", 4}};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (is(query, codes[i].label))
            return codes[i].code;
    return is_tcp && is(query, "tcservfail") ? 2 : 0;
}

static void answer_malformed(dns_message_t *message, const dns_query_t *query)
{
    if (is(query, "short")) {
        message->size = 5;
    } else if (is(query, "cut")) {
        put_address(message, NULL, query->type, 60, 1);
        message->size -= 2;
    } else if (is(query, "pointer")) {
        message->bytes[7]++;
        dns_put_number(message, 0xc000U | (uint32_t)message->size, 2);
        dns_put_number(message, 0, 4);
        dns_put_number(message, 0, 4);
        dns_put_number(message, 0, 2);
    } else if (is(query, "space")) {
        dns_put_alias(message, NULL, "a b.test", 60);
        put_address(message, "a b.test", query->type, 60, 1);
    }
}

static void answer(dns_message_t *message, const dns_query_t *query, bool is_tcp)
{
    int type = query->type;

    dns_begin(message, query, code_of(query, is_tcp));
    if (strncmp(query->name, "tc", 2) == 0 && !is_tcp)
        message->bytes[2] |= 2;
    else if (query->name[0] == 'n' && query->name[1] >= '0' && query->name[1] <= '9')
        put_address(message, NULL, type, 60, (uint32_t)atoi(query->name + 1));
    else if (is(query, "two")) {
        put_address(message, NULL, type, 60, 2);
        put_address(message, NULL, type, 30, 1);
    } else if (is(query, "big")) {
        for (uint32_t i = 0; i < 100; i++)
            put_address(message, NULL, type, 60, i);
    } else if (is(query, "onlyfour")) {
        if (type == DNS_TYPE_A)
            put_address(message, NULL, type, 60, 1);
    } else if (is(query, "ttl0"))
        put_address(message, NULL, type, 0, 1);
    else if (is(query, "ttlhuge"))
        put_address(message, NULL, type, UINT32_MAX, 1);
    else if (is(query, "chain")) {
        dns_put_alias(message, NULL, "one.test", 60);
        dns_put_alias(message, "one.test", "two.other", 7);
        put_address(message, "two.other", type, 60, 1);
    } else if (is(query, "loop")) {
        dns_put_alias(message, NULL, "one.test", 60);
        dns_put_alias(message, "one.test", "loop.test", 60);
    } else if (is(query, "foreign"))
        put_address(message, "other.test", type, 60, 1);
    else if (is(query, "plain") || is(query, "late") || is(query, "tc") ||
             strncmp(query->name, "wrong", 5) == 0)
        put_address(message, NULL, type, 60, 1);
    else
        answer_malformed(message, query);
}

/* An answer that must not be believed: 100 tries. */
static void forge(name_server_t *server, const dns_query_t *query, const struct sockaddr *to,
                  socklen_t size)
{
    dns_message_t message;

    for (int i = 0; i < 100; i++) {
        dns_begin(&message, query, 0);
        put_address(&message, NULL, query->type, 60, 0x060606);
        if (is(query, "wrongid"))
            message.bytes[0] ^= (unsigned char)(i + 1);
        if (is(query, "wrongquestion"))
            message.bytes[13] ^= 1;
        sendto(is(query, "wrongport") ? server->other : server->udp, message.bytes, message.size, 0,
               to, size);
    }
}

static void take_udp(name_server_t *server)
{
    unsigned char bytes[DNS_MESSAGE_SIZE];
    struct sockaddr_storage from;
    socklen_t from_size = sizeof(from);
    struct sockaddr *to = (struct sockaddr *)&from;
    ssize_t size = recvfrom(server->udp, bytes, sizeof(bytes), 0, to, &from_size);
    dns_message_t message;
    dns_query_t query;

    if (size < 0 || !dns_query_read(bytes, (size_t)size, &query))
        return;
    server->udp_count++;
    if (is(&query, "silent") || (is(&query, "late") && server->late++ == 0))
        return;
    if (strncmp(query.name, "wrong", 5) == 0)
        forge(server, &query, to, from_size);
    answer(&message, &query, false);
    sendto(server->udp, message.bytes, message.size, 0, to, from_size);
}

/* False: this connection is over. Questions are short, and come whole over loopback. */
static bool take_tcp(name_server_t *server, int fd)
{
    unsigned char bytes[DNS_MESSAGE_SIZE];
    ssize_t size = recv(fd, bytes, sizeof(bytes), 0);
    unsigned char length[2];
    dns_message_t message;
    dns_query_t query;

    if (size < 2 || !dns_query_read(bytes + 2, (size_t)size - 2, &query))
        return false;
    server->tcp_count++;
    if (is(&query, "tcclose"))
        return false;
    if (is(&query, "tcsilent"))
        return true;
    answer(&message, &query, true);
    length[0] = (unsigned char)(message.size >> 8);
    length[1] = (unsigned char)message.size;
    return send(fd, length, 2, MSG_NOSIGNAL) == 2 &&
           send(fd, message.bytes, message.size, MSG_NOSIGNAL) == (ssize_t)message.size;
}

static void accept_tcp(name_server_t *server)
{
    int fd = accept(server->tcp, NULL, NULL);

    for (int i = 0; i < CONNECTIONS && fd >= 0; i++)
        if (server->connections[i] < 0) {
            server->connections[i] = fd;
            return;
        }
    close(fd);
}

static void *serve(void *user)
{
    name_server_t *server = user;

    for (;;) {
        struct pollfd fds[3 + CONNECTIONS] = {{.fd = server->stop[0], .events = POLLIN},
                                              {.fd = server->udp, .events = POLLIN},
                                              {.fd = server->tcp, .events = POLLIN}};

        for (int i = 0; i < CONNECTIONS; i++)
            fds[3 + i] = (struct pollfd){.fd = server->connections[i], .events = POLLIN};
        poll(fds, 3 + CONNECTIONS, -1);
        if (fds[0].revents != 0)
            return NULL;
        if (fds[1].revents != 0)
            take_udp(server);
        for (int i = 0; i < CONNECTIONS; i++)
            if (fds[3 + i].revents != 0 && !take_tcp(server, server->connections[i])) {
                close(server->connections[i]);
                server->connections[i] = -1;
            }
        if (fds[2].revents != 0)
            accept_tcp(server);
    }
}

/* Life ---------------------------------------------------------------------------------------- */

static int open_at(hws_address_t *address, int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &address->as.any, address->size) != 0 ||
        (type == SOCK_STREAM && listen(fd, CONNECTIONS) != 0)) {
        close(fd);
        return -1;
    }
    getsockname(fd, &address->as.any, &address->size);
    return fd;
}

/* One number for both: some tries are needed where another program has one of them. */
static void open_both(name_server_t *server)
{
    for (int i = 0; i < 100; i++) {
        hws_address_from_ip(HWS_SLICE("127.0.0.1"), 0, &server->address);
        server->udp = open_at(&server->address, SOCK_DGRAM);
        server->tcp = open_at(&server->address, SOCK_STREAM);
        if (server->udp >= 0 && server->tcp >= 0)
            return;
        close(server->udp);
    }
    fail("no port for a name server");
}

name_server_t *name_server_start(void)
{
    name_server_t *server = calloc(1, sizeof(*server));
    hws_address_t other;

    if (server == NULL)
        fail("name server");
    open_both(server);
    hws_address_from_ip(HWS_SLICE("127.0.0.1"), 0, &other);
    server->other = open_at(&other, SOCK_DGRAM);
    for (int i = 0; i < CONNECTIONS; i++)
        server->connections[i] = -1;
    if (pipe(server->stop) != 0 || pthread_create(&server->thread, NULL, serve, server) != 0)
        fail("name server");
    return server;
}

hws_address_t name_server_address(const name_server_t *server)
{
    return server->address;
}

unsigned name_server_udp(const name_server_t *server)
{
    return server->udp_count;
}

unsigned name_server_tcp(const name_server_t *server)
{
    return server->tcp_count;
}

void name_server_stop(name_server_t *server)
{
    if (write(server->stop[1], "", 1) != 1)
        fail("name server");
    pthread_join(server->thread, NULL);
    for (int i = 0; i < CONNECTIONS; i++)
        if (server->connections[i] >= 0)
            close(server->connections[i]);
    close(server->udp);
    close(server->other);
    close(server->tcp);
    close(server->stop[0]);
    close(server->stop[1]);
    free(server);
}
