/* relay.c - passes bytes on to a server on the loopback, and harms them by a rule.
 *
 *     relay PORT RULE...
 *
 * It prints a port for each rule, a line each, then "ready". Whoever connects there reaches
 * 127.0.0.1:PORT, until the rule says otherwise:
 *
 *     fin:N rst:N stall:N   after N bytes of the server's: FIN, RST, or silence in both directions
 *     fin@N rst@N stall@N   instead of the client's Nth flight, counted from 1; a flight is what one
 *                           side says before the other one answers
 *     unclosed              FIN in place of an alert of TLS after the handshake, which close_notify is
 *     bytes                 sends what the server says byte by byte
 *
 * A process for each connection. All end when standard input closes or their client does, and by
 * themselves after a minute, ten for the one that listens. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_RULES = 64, RECORD_HEAD = 5, CHANGE_CIPHER = 20, ALERT = 21 };

typedef struct {
    char word[12]; /* "fin", "rst", "stall", "unclosed" or "bytes" */
    char kind;     /* ':' or '@', or 0 */
    size_t count;
    int listener;
} rule_t;

/* What is known of one connection. */
typedef struct {
    const rule_t *rule;
    int client;
    int server;
    size_t passed;     /* bytes of the server's */
    size_t flights;    /* of the client's */
    bool was_client;   /* who said something last */
    bool is_encrypted; /* the server has changed to its cipher */
    unsigned char head[RECORD_HEAD];
    size_t in_head;
    size_t in_record; /* bytes that the record in hand still has */
} line_t;

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        give_up("listen");
    printf("%d\n", ntohs(address.sin_port));
    return fd;
}

static int dial(int port)
{
    struct sockaddr_in address = loopback(port);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        give_up("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static void send_all(int fd, const void *data, size_t size)
{
    const char *from = data;

    while (size > 0) {
        ssize_t sent = send(fd, from, size, 0);

        if (sent < 0)
            exit(0);
        from += sent;
        size -= (size_t)sent;
    }
}

/* Reads until the client has gone. */
static void outlast(int fd)
{
    char ignored[4096];

    while (recv(fd, ignored, sizeof(ignored), 0) > 0)
        continue;
    exit(0);
}

static void end_as_ruled(const line_t *line)
{
    struct linger at_once = {.l_onoff = 1};

    if (strcmp(line->rule->word, "rst") == 0) {
        (void)setsockopt(line->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(line->client);
        exit(0);
    }
    if (strcmp(line->rule->word, "fin") == 0)
        shutdown(line->client, SHUT_WR);
    outlast(line->client);
}

/* One byte of the server's, unless it is of an alert behind the handshake. */
static void pass_but_alerts(line_t *line, unsigned char byte)
{
    if (line->in_record == 0) {
        line->head[line->in_head++] = byte;
        if (line->in_head < RECORD_HEAD)
            return;
        line->in_head = 0;
        line->in_record = (size_t)line->head[3] << 8 | line->head[4];
        if (line->is_encrypted && line->head[0] == ALERT) {
            shutdown(line->client, SHUT_WR);
            outlast(line->client);
        }
        line->is_encrypted |= line->head[0] == CHANGE_CIPHER;
        send_all(line->client, line->head, RECORD_HEAD);
        return;
    }
    line->in_record--;
    send_all(line->client, &byte, 1);
}

static void pass_to_client(line_t *line, const unsigned char *bytes, size_t size)
{
    const rule_t *rule = line->rule;
    bool is_cut = rule->kind == ':' && line->passed + size >= rule->count;

    if (is_cut)
        size = rule->count - line->passed;
    line->passed += size;
    line->was_client = false;
    if (strcmp(rule->word, "unclosed") == 0)
        for (size_t i = 0; i < size; i++)
            pass_but_alerts(line, bytes[i]);
    else if (strcmp(rule->word, "bytes") == 0)
        for (size_t i = 0; i < size; i++)
            send_all(line->client, bytes + i, 1);
    else
        send_all(line->client, bytes, size);
    if (is_cut)
        end_as_ruled(line);
}

static void pass_to_server(line_t *line, const unsigned char *bytes, size_t size)
{
    if (!line->was_client)
        line->flights++;
    line->was_client = true;
    if (line->rule->kind == '@' && line->flights >= line->rule->count)
        end_as_ruled(line);
    send_all(line->server, bytes, size);
}

/* What one side has said goes to the other; its FIN, too. */
static bool pass_on(line_t *line, int from, int to)
{
    static unsigned char bytes[65536];
    ssize_t size = recv(from, bytes, sizeof(bytes), 0);

    if (size < 0)
        exit(0);
    if (size == 0)
        shutdown(to, SHUT_WR);
    else if (from == line->client)
        pass_to_server(line, bytes, (size_t)size);
    else
        pass_to_client(line, bytes, (size_t)size);
    return size > 0;
}

static void serve(const rule_t *rule, int client, int port)
{
    line_t line = {.rule = rule, .client = client, .server = dial(port)};
    struct pollfd both[] = {{.fd = client, .events = POLLIN},
                            {.fd = line.server, .events = POLLIN}};
    int on = 1;

    alarm(60);
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (both[0].fd >= 0 || both[1].fd >= 0) {
        if (poll(both, 2, -1) < 0)
            give_up("poll");
        if (both[0].fd >= 0 && both[0].revents != 0 && !pass_on(&line, client, line.server))
            both[0].fd = -1;
        if (both[1].fd >= 0 && both[1].revents != 0 && !pass_on(&line, line.server, client))
            both[1].fd = -1;
    }
    exit(0);
}

static void accept_one(const rule_t *rule, int port)
{
    int client = accept(rule->listener, NULL, NULL);

    if (client < 0)
        return;
    if (fork() == 0) {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        serve(rule, client, port);
    }
    close(client);
}

static void parse(const char *word, rule_t *rule)
{
    size_t size = strcspn(word, ":@");

    snprintf(rule->word, sizeof(rule->word), "%.*s", (int)size, word);
    rule->kind = word[size];
    rule->count = rule->kind != '\0' ? strtoul(word + size + 1, NULL, 10) : 0;
    rule->listener = listen_anywhere();
}

int main(int argc, char **argv)
{
    static rule_t rules[MOST_RULES];
    struct pollfd inputs[MOST_RULES + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    int count = argc - 2;

    if (count < 1 || count > MOST_RULES) {
        fprintf(stderr, "usage: relay PORT RULE...\n");
        return 2;
    }
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    alarm(600);
    for (int i = 0; i < count; i++) {
        parse(argv[i + 2], &rules[i]);
        inputs[i + 1] = (struct pollfd){.fd = rules[i].listener, .events = POLLIN};
    }
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        if (poll(inputs, (nfds_t)count + 1, -1) < 0 && errno != EINTR)
            give_up("poll");
        if (inputs[0].revents != 0)
            return 0;
        for (int i = 0; i < count; i++)
            if (inputs[i + 1].revents != 0)
                accept_one(&rules[i], atoi(argv[1]));
    }
}
