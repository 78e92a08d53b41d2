/* namesd.c - a name server on the loopback that says what it is told to, and hosts to be found by it.
 *
 * It prints where it listens, a line each, then "ready":
 *
 *     dns PORT        names, over UDP and TCP on 127.0.0.1
 *     control PORT    lines, below
 *     here PORT       HTTP/1.1 on 127.0.0.1, 127.0.0.2 and ::1; on 127.0.0.3 a dial neither succeeds
 *                     nor fails, and elsewhere it is refused
 *     four PORT       HTTP/1.1 on 127.0.0.1; on ::1 a dial neither succeeds nor fails
 *     ready
 *
 * HTTP answers any request with the address that it was sent to. Without IPv6, ::1 is left out.
 *
 * control. Each line is answered by one:
 *
 *     set NAME TTL WORD...   what NAME has from now on: "ok". A name that was not set has none (nx),
 *                            unless the name * was: that stands for all others
 *     asked NAME             how often it was asked for A, and for AAAA: "2 1"; over UDP and TCP
 *     total                  questions over UDP, and over TCP: "5 0"
 *     mute on|off            nothing is answered: "ok"
 *
 * A WORD is an address, or =NAME for an alias, or a behaviour, which may hold for one family only
 * as 4:WORD or 6:WORD:
 *
 *     nx servfail refused    answers with this code     silent       no answer
 *     tc                     truncated over UDP         malformed    bytes that are no answer
 *
 * A name without words has no address of any kind. It exits when its standard input closes, and by
 * itself after ten minutes. */
#include "support/dns_message.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum {
    LIFETIME_MS = 10 * 60 * 1000,
    BACKLOG = 1024,
    FILLERS = 8,
    ADDRESSES = 32,
    BUCKETS = 1024,
    MOST_ALIASES = 8
};

enum { FOUR, SIX, FAMILIES };

typedef enum { ANSWER, NX, SERVFAIL, REFUSED, SILENT, TRUNCATED, MALFORMED } behaviour_t;

typedef struct {
    behaviour_t behaviour;
    unsigned count;
    unsigned char addresses[ADDRESSES][16];
    unsigned asked;
} records_t;

typedef struct entry entry_t;

struct entry {
    entry_t *next;
    unsigned ttl;
    char alias[DNS_NAME_SIZE]; /* "": none */
    records_t records[FAMILIES];
    bool is_set;
    char name[DNS_NAME_SIZE];
};

/* A connection: its service takes what is in `in`, and says how much of it. */
typedef struct client client_t;

struct client {
    uv_tcp_t tcp;
    size_t (*serve)(client_t *client);
    char in[DNS_MESSAGE_SIZE];
    size_t size;
};

typedef struct {
    uv_tcp_t tcp;
    size_t (*serve)(client_t *client);
} listener_t;

static uv_loop_t *loop;
static uv_udp_t udp;
static uv_pipe_t input;
static uv_timer_t lifetime;
static entry_t *entries[BUCKETS];
static unsigned udp_count;
static unsigned tcp_count;
static bool is_mute;

static void fail(const char *what, int rc)
{
    fprintf(stderr, "namesd: %s: %s\n", what, uv_strerror(rc));
    exit(1);
}

static void *allocate(size_t size)
{
    void *room = calloc(1, size);

    if (room == NULL)
        fail("memory", UV_ENOMEM);
    return room;
}

/* Names --------------------------------------------------------------------------------------- */

static entry_t *find(const char *name, bool create)
{
    unsigned hash = 5381;
    entry_t *entry;

    for (const char *at = name; *at != '\0'; at++)
        hash = hash * 33 + (unsigned char)*at;
    for (entry = entries[hash % BUCKETS]; entry != NULL; entry = entry->next)
        if (strcmp(entry->name, name) == 0)
            return entry;
    if (!create)
        return NULL;
    entry = allocate(sizeof(*entry));
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    entry->next = entries[hash % BUCKETS];
    return entries[hash % BUCKETS] = entry;
}

/* What is said of a name: it, or the one that stands for all others, or NULL. */
static const entry_t *find_set(const char *name)
{
    const entry_t *entry = find(name, false);

    return entry != NULL && entry->is_set ? entry : find("*", false);
}

static bool set_behaviour(entry_t *entry, const char *word)
{
    static const char *const words[] = {"",       "nx", "servfail", "refused",
                                        "silent", "tc", "malformed"};
    bool is_four = strncmp(word, "6:", 2) != 0;
    bool is_six = strncmp(word, "4:", 2) != 0;

    word += is_four && is_six ? 0 : 2;
    for (size_t i = 1; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], word) != 0)
            continue;
        if (is_four)
            entry->records[FOUR].behaviour = (behaviour_t)i;
        if (is_six)
            entry->records[SIX].behaviour = (behaviour_t)i;
        return true;
    }
    return false;
}

static bool add_address(entry_t *entry, const char *word)
{
    int family = strchr(word, ':') != NULL ? SIX : FOUR;
    records_t *records = &entry->records[family];

    if (records->count == ADDRESSES || uv_inet_pton(family == SIX ? AF_INET6 : AF_INET, word,
                                                    records->addresses[records->count]) != 0)
        return false;
    records->count++;
    return true;
}

/* "NAME TTL WORD..." */
static const char *set(char *arguments)
{
    char *word = strtok(arguments, " ");
    entry_t *entry;

    if (word == NULL)
        return "no name";
    entry = find(word, true);
    if ((word = strtok(NULL, " ")) == NULL)
        return "no TTL";
    entry->ttl = (unsigned)strtoul(word, NULL, 10);
    entry->is_set = true;
    entry->alias[0] = '\0';
    for (int family = 0; family < FAMILIES; family++) {
        entry->records[family].behaviour = ANSWER;
        entry->records[family].count = 0;
    }
    while ((word = strtok(NULL, " ")) != NULL) {
        if (word[0] == '=')
            snprintf(entry->alias, sizeof(entry->alias), "%s", word + 1);
        else if (!set_behaviour(entry, word) && !add_address(entry, word))
            return "neither an address nor a behaviour";
    }
    return "ok";
}

/* Messages ------------------------------------------------------------------------------------ */

static bool take_query(const unsigned char *bytes, size_t size, dns_query_t *query)
{
    return dns_query_read(bytes, size, query) &&
           (query->type == DNS_TYPE_A || query->type == DNS_TYPE_AAAA);
}

static int family_of(const dns_query_t *query)
{
    return query->type == DNS_TYPE_A ? FOUR : SIX;
}

static void put_addresses(dns_message_t *message, const dns_query_t *query, const entry_t *entry,
                          const char *name)
{
    const records_t *records = &entry->records[family_of(query)];
    size_t size = query->type == DNS_TYPE_A ? 4 : 16;

    for (unsigned i = 0; i < records->count; i++) {
        dns_put_record(message, name, query->type, entry->ttl, size);
        dns_put(message, records->addresses[i], size);
    }
}

/* Through the aliases, which may lead in a circle. */
static void put_answers(dns_message_t *message, const dns_query_t *query, const entry_t *entry)
{
    const char *name = query->name;

    for (int i = 0; i < MOST_ALIASES && entry != NULL; i++) {
        if (entry->alias[0] == '\0') {
            put_addresses(message, query, entry, name);
            return;
        }
        dns_put_alias(message, name, entry->alias, entry->ttl);
        name = entry->alias;
        entry = find_set(name);
    }
}

/* False: nothing is said. */
static bool make_answer(dns_message_t *message, const dns_query_t *query, bool is_tcp)
{
    const entry_t *entry = find_set(query->name);

    find(query->name, true)->records[family_of(query)].asked++;
    if (is_mute)
        return false;
    switch (entry == NULL ? NX : entry->records[family_of(query)].behaviour) {
    case ANSWER:
        dns_begin(message, query, 0);
        put_answers(message, query, entry);
        return true;
    case NX:
        dns_begin(message, query, 3);
        return true;
    case SERVFAIL:
        dns_begin(message, query, 2);
        return true;
    case REFUSED:
        dns_begin(message, query, 5);
        return true;
    case SILENT:
        return false;
    case TRUNCATED:
        dns_begin(message, query, 0);
        if (is_tcp)
            put_answers(message, query, entry);
        else
            message->bytes[2] |= 2;
        return true;
    case MALFORMED:
        dns_begin(message, query, 0);
        put_addresses(message, query, entry, query->name);
        dns_put_number(message, 0xc0, 1);
        message->bytes[7]++;
        return true;
    }
    return false;
}

/* UDP ----------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    static char room[DNS_MESSAGE_SIZE];

    (void)handle;
    (void)wanted;
    *buffer = uv_buf_init(room, sizeof(room));
}

static void on_datagram(uv_udp_t *socket, ssize_t size, const uv_buf_t *buffer,
                        const struct sockaddr *from, unsigned flags)
{
    dns_message_t message;
    dns_query_t query;
    uv_buf_t out;

    (void)flags;
    if (size <= 0 || !take_query((const unsigned char *)buffer->base, (size_t)size, &query))
        return;
    udp_count++;
    if (!make_answer(&message, &query, false))
        return;
    out = uv_buf_init((char *)message.bytes, (unsigned)message.size);
    (void)uv_udp_try_send(socket, &out, 1, from);
}

/* Connections --------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

/* Answers are short, and the kernel takes them whole. */
static void say(client_t *client, const void *data, size_t size)
{
    uv_buf_t buffer = uv_buf_init((char *)(uintptr_t)data, (unsigned)size);

    (void)uv_try_write((uv_stream_t *)&client->tcp, &buffer, 1);
}

static size_t serve_dns(client_t *client)
{
    const unsigned char *bytes = (const unsigned char *)client->in;
    size_t size = client->size < 2 ? 0 : (size_t)(bytes[0] << 8 | bytes[1]);
    unsigned char length[2];
    dns_message_t message;
    dns_query_t query;

    if (size == 0 || client->size < size + 2)
        return 0;
    if (!take_query(bytes + 2, size, &query))
        return size + 2;
    tcp_count++;
    if (make_answer(&message, &query, true)) {
        length[0] = (unsigned char)(message.size >> 8);
        length[1] = (unsigned char)message.size;
        say(client, length, 2);
        say(client, message.bytes, message.size);
    }
    return size + 2;
}

static size_t serve_http(client_t *client)
{
    const char *end = memmem(client->in, client->size, "\r\n\r\n", 4);
    struct sockaddr_storage address;
    int size = sizeof(address);
    char host[64];
    char text[256];

    if (end == NULL)
        return 0;
    uv_tcp_getsockname(&client->tcp, (struct sockaddr *)&address, &size);
    if (address.ss_family == AF_INET6)
        uv_ip6_name((const struct sockaddr_in6 *)&address, host, sizeof(host));
    else
        uv_ip4_name((const struct sockaddr_in *)&address, host, sizeof(host));
    size = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                    strlen(host), host);
    say(client, text, (size_t)size);
    return (size_t)(end - client->in) + 4;
}

static const char *obey(char *line, char *room, size_t size)
{
    const entry_t *entry;

    if (strncmp(line, "set ", 4) == 0)
        return set(line + 4);
    if (strncmp(line, "asked ", 6) == 0) {
        entry = find(line + 6, false);
        snprintf(room, size, "%u %u", entry == NULL ? 0 : entry->records[FOUR].asked,
                 entry == NULL ? 0 : entry->records[SIX].asked);
        return room;
    }
    if (strcmp(line, "total") == 0) {
        snprintf(room, size, "%u %u", udp_count, tcp_count);
        return room;
    }
    if (strcmp(line, "mute on") == 0 || strcmp(line, "mute off") == 0) {
        is_mute = strcmp(line, "mute on") == 0;
        return "ok";
    }
    return "no such command";
}

static size_t serve_control(client_t *client)
{
    char *end = memchr(client->in, '\n', client->size);
    char room[64];
    const char *answer;

    if (end == NULL)
        return 0;
    *end = '\0';
    answer = obey(client->in, room, sizeof(room));
    say(client, answer, strlen(answer));
    say(client, "\n", 1);
    return (size_t)(end - client->in) + 1;
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    client_t *client = handle->data;

    (void)wanted;
    *buffer = uv_buf_init(client->in + client->size, (unsigned)(sizeof(client->in) - client->size));
}

static void on_bytes(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    client_t *client = stream->data;
    size_t used;

    (void)buffer;
    if (size < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    client->size += (size_t)size;
    while ((used = client->serve(client)) > 0) {
        client->size -= used;
        memmove(client->in, client->in + used, client->size);
    }
}

static void on_connection(uv_stream_t *stream, int status)
{
    client_t *client;

    if (status != 0)
        return;
    client = allocate(sizeof(*client));
    client->serve = ((listener_t *)stream->data)->serve;
    uv_tcp_init(loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(stream, (uv_stream_t *)&client->tcp) != 0) {
        uv_close((uv_handle_t *)&client->tcp, on_closed);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, on_room, on_bytes);
}

/* Listening ----------------------------------------------------------------------------------- */

static struct sockaddr_storage address_of(const char *host, int port)
{
    struct sockaddr_storage address = {0};

    if (strchr(host, ':') != NULL)
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address);
    else
        uv_ip4_addr(host, port, (struct sockaddr_in *)&address);
    return address;
}

/* The port, a negative code when it is taken. */
static int listen_on(const char *host, int port, size_t (*serve)(client_t *client))
{
    listener_t *listener = allocate(sizeof(*listener));
    struct sockaddr_storage address = address_of(host, port);
    int size = sizeof(address);
    int rc;

    listener->serve = serve;
    listener->tcp.data = listener;
    uv_tcp_init(loop, &listener->tcp);
    if ((rc = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&address, 0)) != 0 ||
        (rc = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection)) != 0) {
        uv_close((uv_handle_t *)&listener->tcp, on_closed);
        return rc;
    }
    uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&address, &size);
    return ntohs(((struct sockaddr_in *)&address)->sin_port); /* it stands there in both kinds */
}

/* The kernel drops a SYN when the queue of accepted connections is full, so fill it. */
static bool open_hole(const char *host, int port)
{
    struct sockaddr_storage address = address_of(host, port);
    socklen_t size =
        address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int on = 1;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, size) != 0 || listen(fd, 0) != 0) {
        close(fd);
        return false;
    }
    for (int i = 0; i < FILLERS; i++) {
        int filler = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        (void)connect(filler, (const struct sockaddr *)&address, size);
    }
    return true;
}

static bool has_ipv6(void)
{
    struct sockaddr_storage address = address_of("::1", 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has =
        fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(struct sockaddr_in6)) == 0;

    if (fd >= 0)
        close(fd);
    return has;
}

/* One number for UDP and TCP: another one when TCP's is taken. */
static void serve_names(void)
{
    for (int i = 0; i < 100; i++) {
        int port = listen_on("127.0.0.1", 0, serve_dns);
        struct sockaddr_storage address = address_of("127.0.0.1", port);

        uv_udp_init(loop, &udp);
        if (port > 0 && uv_udp_bind(&udp, (const struct sockaddr *)&address, 0) == 0) {
            uv_udp_recv_start(&udp, on_alloc, on_datagram);
            printf("dns %d\n", port);
            return;
        }
        uv_close((uv_handle_t *)&udp, NULL);
        uv_run(loop, UV_RUN_NOWAIT);
    }
    fail("dns", UV_EADDRINUSE);
}

/* Another number when another program has it at one of the addresses. */
static void serve_hosts(void)
{
    int port = -1;
    bool is_done = false;

    for (int i = 0; i < 100 && !is_done; i++) {
        port = listen_on("127.0.0.1", 0, serve_http);
        is_done = port > 0 && listen_on("127.0.0.2", port, serve_http) > 0 &&
                  (!has_ipv6() || listen_on("::1", port, serve_http) > 0) &&
                  open_hole("127.0.0.3", port);
    }
    if (!is_done)
        fail("here", UV_EADDRINUSE);
    printf("here %d\n", port);
    is_done = false;
    for (int i = 0; i < 100 && !is_done; i++) {
        port = listen_on("127.0.0.1", 0, serve_http);
        is_done = port > 0 && (!has_ipv6() || open_hole("::1", port));
    }
    if (!is_done)
        fail("four", UV_EADDRINUSE);
    printf("four %d\n", port);
}

/* Until when ----------------------------------------------------------------------------------- */

static void on_lifetime(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "namesd: ten minutes are over\n");
    exit(1);
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    (void)stream;
    (void)buffer;
    if (size < 0)
        exit(0);
}

int main(void)
{
    loop = uv_default_loop();
    uv_timer_init(loop, &lifetime);
    uv_timer_start(&lifetime, on_lifetime, LIFETIME_MS, 0);
    uv_pipe_init(loop, &input, 0);
    if (uv_pipe_open(&input, STDIN_FILENO) != 0)
        fail("standard input must be a pipe", UV_EINVAL);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    serve_names();
    printf("control %d\n", listen_on("127.0.0.1", 0, serve_control));
    serve_hosts();
    printf("ready\n");
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
