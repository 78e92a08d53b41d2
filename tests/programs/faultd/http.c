/* http.c - reads requests, one after the other, and hands each to the behaviour of its path.
 *
 * It is lenient where a server may be: the client under test is what has to be strict. */
#include "faultd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_MAX = 1 << 20, TARGET_MAX = 1 << 18, KEY_MAX = 128, ARGUMENTS = 4 };

typedef enum { HEAD, SIZED, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS, COMPLETE } state_t;

typedef struct {
    state_t state;
    const behaviour_t *behaviour;
    bytes_t head, body, target;
    char method[16];
    uint64_t left; /* of the body, or of the chunk */
    request_t request;
} exchange_t;

static const behaviour_t *behaviours_of(const client_t *client)
{
    return client->service == &control_service ? controls : paths;
}

void http_on_open(client_t *client)
{
    client->exchange = allocate(sizeof(exchange_t));
}

void http_on_close(client_t *client)
{
    exchange_t *exchange = client->exchange;

    bytes_dispose(&exchange->head);
    bytes_dispose(&exchange->body);
    bytes_dispose(&exchange->target);
    free(exchange);
    client->exchange = NULL;
}

/* A client that half-closes wants nothing more of HTTP. */
void http_on_end(client_t *client)
{
    client_close(client);
}

/* The head ------------------------------------------------------------------------------------- */

/* Copies the value of a field, "" when there is none. */
static void field_value(const bytes_t *head, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);

    value[0] = '\0';
    for (const char *line = strstr(head->data, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            line += strspn(line, " \t");
            snprintf(value, size, "%.*s", (int)strcspn(line, "\r"), line);
            return;
        }
    }
}

static void read_framing(exchange_t *exchange)
{
    char value[64];

    exchange->request.framing = "none";
    exchange->left = 0;
    field_value(&exchange->head, "Transfer-Encoding", value, sizeof(value));
    if (strcasecmp(value, "chunked") == 0) {
        exchange->request.framing = "chunked";
        return;
    }
    field_value(&exchange->head, "Content-Length", value, sizeof(value));
    if (value[0] != '\0') {
        exchange->request.framing = "sized";
        exchange->left = strtoull(value, NULL, 10);
    }
}

/* Finds the behaviour whose name begins the path, and cuts what follows into arguments. */
static const behaviour_t *match(const behaviour_t *table, request_t *request, char *path)
{
    for (const behaviour_t *one = table; one->path != NULL; one++) {
        size_t size = strlen(one->path);
        char *rest = path + size;

        if (strncmp(path, one->path, size) != 0 || (*rest != '\0' && *rest != '/'))
            continue;
        for (size_t i = 0; i < ARGUMENTS && *rest == '/'; i++) {
            *rest++ = '\0';
            request->arguments[i] = rest;
            rest += strcspn(rest, "/");
        }
        *rest = '\0';
        return one;
    }
    return NULL;
}

static void count_request(client_t *client, const char *method, const char *query)
{
    const char *found = query == NULL ? NULL : strstr(query, "key=");
    char key[KEY_MAX];

    client->service->requests++;
    if (found != NULL) {
        snprintf(key, sizeof(key), "%.*s", (int)strcspn(found + 4, "&"), found + 4);
        seen_add(method, key);
    }
    counters_changed();
}

/* "METHOD /path?query HTTP/1.1" -> method, path, arguments. */
static void read_request_line(client_t *client, exchange_t *exchange)
{
    request_t *request = &exchange->request;
    const char *line = exchange->head.data;
    size_t method = strcspn(line, " "),
           target = strcspn(line + method + (line[method] != '\0'), " ");
    char *query;

    snprintf(exchange->method, sizeof(exchange->method), "%.*s", (int)method, line);
    exchange->target.size = 0;
    bytes_append(&exchange->target, line + method + 1, target);
    query = strchr(exchange->target.data, '?');
    if (query != NULL)
        *query++ = '\0';
    request->method = exchange->method;
    request->path = exchange->target.data;
    for (size_t i = 0; i < ARGUMENTS; i++)
        request->arguments[i] = "";
    count_request(client, exchange->method, query);
    exchange->behaviour = match(behaviours_of(client), request, exchange->target.data);
}

/* False while the head is not complete. */
static bool take_head(client_t *client, exchange_t *exchange)
{
    const char *end = strstr(client->in.data, "\r\n\r\n");
    size_t size;

    if (end == NULL)
        return false;
    size = (size_t)(end - client->in.data) + 4;
    exchange->head.size = exchange->body.size = 0;
    bytes_append(&exchange->head, client->in.data, size);
    bytes_drop(&client->in, size);
    exchange->request.head = &exchange->head;
    exchange->request.body = &exchange->body;
    exchange->request.body_size = exchange->request.body_sum = 0;
    exchange->request.is_complete = false;
    exchange->request.number++;
    read_framing(exchange);
    read_request_line(client, exchange);
    return true;
}

/* The body ------------------------------------------------------------------------------------- */

static void take_body(exchange_t *exchange, const char *data, size_t size)
{
    exchange->request.body_size += size;
    for (size_t i = 0; i < size; i++)
        exchange->request.body_sum += (unsigned char)data[i];
    if (exchange->behaviour != NULL && exchange->behaviour->when == KEEP_BODY)
        bytes_append(&exchange->body, data, size);
}

/* A line without its end, or false while it is not complete. */
static bool take_line(client_t *client, char *line, size_t capacity)
{
    const char *end = strstr(client->in.data, "\r\n");
    size_t size;

    if (end == NULL)
        return false;
    size = (size_t)(end - client->in.data);
    snprintf(line, capacity, "%.*s", (int)size, client->in.data);
    bytes_drop(&client->in, size + 2);
    return true;
}

static void act(client_t *client, exchange_t *exchange)
{
    if (exchange->behaviour != NULL)
        exchange->behaviour->act(client, &exchange->request);
    else
        say_line(client, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    client_play(client);
}

static state_t state_after_head(const exchange_t *exchange)
{
    if (strcmp(exchange->request.framing, "chunked") == 0)
        return CHUNK_SIZE;
    return exchange->left > 0 ? SIZED : COMPLETE;
}

/* The state after what is left of a body or a chunk, or the same one while bytes are missing. */
static state_t take_data(client_t *client, exchange_t *exchange, state_t next)
{
    size_t size = client->in.size < exchange->left ? client->in.size : (size_t)exchange->left;

    take_body(exchange, client->in.data, size);
    bytes_drop(&client->in, size);
    exchange->left -= size;
    return exchange->left == 0 ? next : exchange->state;
}

/* Likewise after a line of the chunked framing. */
static state_t take_chunk_line(client_t *client, exchange_t *exchange)
{
    char line[256];

    if (!take_line(client, line, sizeof(line)))
        return exchange->state;
    if (exchange->state == CHUNK_END)
        return CHUNK_SIZE;
    if (exchange->state == TRAILERS)
        return line[0] == '\0' ? COMPLETE : TRAILERS;
    exchange->left = strtoull(line, NULL, 16);
    return exchange->left > 0 ? CHUNK_DATA : TRAILERS;
}

static void begin_request(client_t *client, exchange_t *exchange)
{
    if (!take_head(client, exchange))
        return;
    exchange->state = state_after_head(exchange);
    if (exchange->behaviour != NULL && exchange->behaviour->when == AT_HEAD)
        act(client, exchange);
}

static void end_request(client_t *client, exchange_t *exchange)
{
    exchange->state = HEAD;
    exchange->request.is_complete = true;
    act(client, exchange);
}

static void advance(client_t *client, exchange_t *exchange)
{
    switch (exchange->state) {
    case HEAD:
        begin_request(client, exchange);
        break;
    case SIZED:
        exchange->state = take_data(client, exchange, COMPLETE);
        break;
    case CHUNK_DATA:
        exchange->state = take_data(client, exchange, CHUNK_END);
        break;
    case CHUNK_SIZE:
    case CHUNK_END:
    case TRAILERS:
        exchange->state = take_chunk_line(client, exchange);
        break;
    case COMPLETE:
        end_request(client, exchange);
        break;
    }
}

/* Until a request is being answered or nothing moves any more. */
void http_on_bytes(client_t *client)
{
    exchange_t *exchange = client->exchange;
    size_t before;
    state_t state;

    do {
        before = client->in.size;
        state = exchange->state;
        advance(client, exchange);
    } while (!client->is_closing && client->script == NULL &&
             (client->in.size != before || exchange->state != state));
    if (!client->is_closing && client->in.size > HEAD_MAX)
        client_close(client);
}

/* Counts the request that will not be answered, when its head came in one piece. */
void http_on_doom(client_t *client)
{
    (void)take_head(client, client->exchange);
}

service_t http_service = {
    .name = "http",
    .on_open = http_on_open,
    .on_bytes = http_on_bytes,
    .on_end = http_on_end,
    .on_close = http_on_close,
    .on_doom = http_on_doom,
};
