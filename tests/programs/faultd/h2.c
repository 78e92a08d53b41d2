/* h2.c - reads what a client of HTTP/2 says, and keeps the books of its streams. */
#include "h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION
};
enum { ACK = 1, END_STREAM = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };
enum { ENABLE_PUSH = 2, INITIAL_WINDOW_SIZE = 4 };
enum { HEADER_SIZE = 9, MAX_PAYLOAD = 16384, WINDOW = 65535, KEY_MAX = 128 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_SIZE = sizeof(preface) - 1 };

static const char usual_greeting[] = "limit.100";
static char *greeting; /* NULL: the usual one */

struct h2_counters h2_counters;

typedef struct {
    uint8_t type, flags;
    uint32_t id;
    const uint8_t *payload;
    size_t size;
} frame_t;

static uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Writing -------------------------------------------------------------------------------------- */

void h2_frame(client_t *client, uint8_t type, uint8_t flags, uint32_t id, const void *payload,
              size_t size)
{
    uint8_t header[HEADER_SIZE] = {
        (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size,      type,       flags,
        (uint8_t)(id >> 24),   (uint8_t)(id >> 16),  (uint8_t)(id >> 8), (uint8_t)id};

    say(client, header, sizeof(header));
    say(client, payload, size);
}

void h2_number_frame(client_t *client, uint8_t type, uint32_t id, uint32_t number)
{
    uint8_t payload[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                          (uint8_t)number};

    h2_frame(client, type, 0, id, payload, sizeof(payload));
}

/* One frame of the stream's body; false when windows are closed or nothing is left. */
static bool send_piece(client_t *client, h2_t *h2, h2_stream_t *stream)
{
    static char filling[MAX_PAYLOAD];
    int64_t size = stream->to_send < MAX_PAYLOAD ? (int64_t)stream->to_send : MAX_PAYLOAD;

    size = size < h2->window ? size : h2->window;
    size = size < stream->window ? size : stream->window;
    if (size <= 0)
        return false;
    memset(filling, 'x', sizeof(filling));
    stream->to_send -= (uint64_t)size;
    stream->window -= size;
    h2->window -= size;
    stream->is_answered = stream->to_send == 0;
    h2_frame(client, DATA, stream->is_answered ? END_STREAM : 0, stream->id, filling, (size_t)size);
    return true;
}

void h2_pump(client_t *client)
{
    h2_t *h2 = client->exchange;
    bool has_moved;

    do {
        h2_stream_t *stream = h2->streams;

        has_moved = false;
        while (stream != NULL) {
            h2_stream_t *next = stream->next;

            has_moved |= send_piece(client, h2, stream);
            if (stream->is_answered && stream->is_complete)
                h2_close_stream(h2, stream);
            stream = next;
        }
    } while (has_moved);
}

/* Streams -------------------------------------------------------------------------------------- */

h2_stream_t *h2_find(const h2_t *h2, uint32_t id)
{
    h2_stream_t *stream = h2->streams;

    while (stream != NULL && stream->id != id)
        stream = stream->next;
    return stream;
}

void h2_close_stream(h2_t *h2, h2_stream_t *stream)
{
    h2_stream_t **at = &h2->streams;

    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    free(stream->steps);
    free(stream->held);
    free(stream);
    h2->open--;
    h2_counters.open_streams--;
}

static h2_stream_t *open_stream(h2_t *h2, uint32_t id, const char *steps)
{
    h2_stream_t *stream = allocate(sizeof(*stream));
    h2_stream_t **at = &h2->streams;

    while (*at != NULL)
        at = &(*at)->next;
    *at = stream;
    stream->id = id;
    stream->steps = strdup(steps);
    stream->window = h2->initial;
    h2->open++;
    h2_counters.open_streams++;
    if (h2->open > h2_counters.most_streams)
        h2_counters.most_streams = h2->open;
    return stream;
}

static void credit(client_t *client, uint32_t id, uint64_t size)
{
    if (size > 0)
        h2_number_frame(client, WINDOW_UPDATE, id, (uint32_t)size);
}

/* Requests ------------------------------------------------------------------------------------- */

typedef struct {
    char method[16], path[1 << 16];
} head_t;

/* All of a header block has to pass through the inflater, wanted or not. */
static bool inflate(h2_t *h2, head_t *head)
{
    const uint8_t *data = (const uint8_t *)h2->block.data;
    size_t size = h2->block.size;
    nghttp2_nv field;
    int flags;

    head->method[0] = head->path[0] = '\0';
    do {
        ssize_t used = nghttp2_hd_inflate_hd2(h2->inflater, &field, &flags, data, size, 1);

        if (used < 0)
            return false;
        data += used;
        size -= (size_t)used;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0)
            continue;
        if (field.namelen == 7 && memcmp(field.name, ":method", 7) == 0)
            snprintf(head->method, sizeof(head->method), "%.*s", (int)field.valuelen, field.value);
        if (field.namelen == 5 && memcmp(field.name, ":path", 5) == 0)
            snprintf(head->path, sizeof(head->path), "%.*s", (int)field.valuelen, field.value);
    } while ((flags & NGHTTP2_HD_INFLATE_FINAL) == 0);
    nghttp2_hd_inflate_end_headers(h2->inflater);
    return true;
}

static void note_key(const head_t *head, char *query)
{
    char *key = query == NULL ? NULL : strstr(query, "key=");

    if (key != NULL)
        seen_add(head->method, key + 4);
}

static void begin_request(client_t *client, h2_t *h2, head_t *head)
{
    char *query = strchr(head->path, '?'), *steps;
    bool is_at_head = strncmp(head->path, "/at-head/", 9) == 0;
    h2_stream_t *stream;

    if (query != NULL)
        *query++ = '\0';
    note_key(head, query);
    client->service->requests++;
    h2_counters.streams++;
    h2->newest = h2->block_id;
    if (h2->newest > h2->last)
        return;
    if (h2->open >= h2->limit) {
        h2_counters.over++;
        h2_number_frame(client, RST_STREAM, h2->newest, NGHTTP2_REFUSED_STREAM);
        return;
    }
    steps = is_at_head                              ? head->path + 9
            : strncmp(head->path, "/play/", 6) == 0 ? head->path + 6
                                                    : "status.404";
    stream = open_stream(h2, h2->newest, steps);
    stream->is_unread = is_at_head;
    stream->is_complete = (h2->block_flags & END_STREAM) != 0;
    if (stream->is_complete || is_at_head)
        h2_go_on(client, stream);
}

static void end_request(client_t *client, h2_stream_t *stream)
{
    stream->is_complete = true;
    if (stream->left == NULL || stream->is_sinking)
        h2_go_on(client, stream);
    else if (stream->is_answered)
        h2_close_stream(client->exchange, stream);
}

static void end_block(client_t *client, h2_t *h2)
{
    static head_t head;
    h2_stream_t *stream;

    if (!inflate(h2, &head)) {
        client_close(client);
        return;
    }
    h2->block.size = 0;
    if (h2->block_id > h2->newest)
        begin_request(client, h2, &head);
    else if ((stream = h2_find(h2, h2->block_id)) != NULL) /* trailers */
        end_request(client, stream);
}

/* Frames --------------------------------------------------------------------------------------- */

static void unpad(frame_t *frame)
{
    size_t padding = 0;

    if ((frame->flags & PADDED) != 0 && frame->size > 0) {
        padding = frame->payload[0];
        frame->payload++;
        frame->size--;
    }
    frame->size -= padding < frame->size ? padding : frame->size;
}

static void on_headers(client_t *client, h2_t *h2, frame_t *frame)
{
    if (frame->type == HEADERS) {
        unpad(frame);
        if ((frame->flags & WITH_PRIORITY) != 0 && frame->size >= 5) {
            frame->payload += 5;
            frame->size -= 5;
        }
        h2->block_id = frame->id;
        h2->block_flags = frame->flags;
    }
    bytes_append(&h2->block, frame->payload, frame->size);
    if ((frame->flags & END_HEADERS) != 0)
        end_block(client, h2);
}

static void on_data(client_t *client, h2_t *h2, frame_t *frame)
{
    h2_stream_t *stream = h2_find(h2, frame->id);
    size_t whole = frame->size;

    credit(client, 0, whole);
    unpad(frame);
    if (stream == NULL)
        return;
    stream->body_size += frame->size;
    for (size_t i = 0; i < frame->size; i++)
        stream->body_sum += frame->payload[i];
    if (stream->is_unread)
        stream->uncredited += whole;
    else if ((frame->flags & END_STREAM) == 0)
        credit(client, stream->id, whole);
    if ((frame->flags & END_STREAM) != 0)
        end_request(client, stream);
}

static void set_initial_window(h2_t *h2, uint32_t size)
{
    for (h2_stream_t *stream = h2->streams; stream != NULL; stream = stream->next)
        stream->window += (int64_t)size - h2->initial;
    h2->initial = size;
}

static void on_settings(client_t *client, h2_t *h2, const frame_t *frame)
{
    bool may_push = h2->initial < 0; /* no SETTINGS came before */

    if ((frame->flags & ACK) != 0) {
        if (h2->unacked > 0 && --h2->unacked == 0)
            h2->limit = h2->told;
        return;
    }
    if (may_push)
        h2->initial = WINDOW;
    for (size_t at = 0; at + 6 <= frame->size; at += 6) {
        uint32_t name = (uint32_t)frame->payload[at] << 8 | frame->payload[at + 1];
        uint32_t value = number_at(frame->payload + at + 2);

        if (name == ENABLE_PUSH && value == 0)
            may_push = false;
        if (name == INITIAL_WINDOW_SIZE)
            set_initial_window(h2, value);
    }
    h2_counters.push += may_push;
    h2_frame(client, SETTINGS, ACK, 0, NULL, 0);
}

static void on_ping(client_t *client, h2_t *h2, const frame_t *frame)
{
    if ((frame->flags & ACK) != 0)
        return;
    h2_counters.pings++;
    if (h2->is_annoyed)
        h2_play(client, "goaway.n.11+fin");
    else if (!h2->is_deaf)
        h2_frame(client, PING, ACK, 0, frame->payload, frame->size);
}

static void on_window(h2_t *h2, const frame_t *frame)
{
    h2_stream_t *stream = h2_find(h2, frame->id);

    h2_counters.windows++;
    if (frame->id == 0)
        h2->window += number_at(frame->payload);
    else if (stream != NULL)
        stream->window += number_at(frame->payload);
}

static void on_reset(h2_t *h2, const frame_t *frame)
{
    h2_stream_t *stream = h2_find(h2, frame->id);

    h2_counters.resets++;
    h2_counters.reset_code = number_at(frame->payload);
    if (stream != NULL)
        h2_close_stream(h2, stream);
}

static void on_frame(client_t *client, frame_t *frame)
{
    h2_t *h2 = client->exchange;

    switch (frame->type) {
    case DATA:
        on_data(client, h2, frame);
        break;
    case HEADERS:
    case CONTINUATION:
        on_headers(client, h2, frame);
        break;
    case RST_STREAM:
        on_reset(h2, frame);
        break;
    case SETTINGS:
        on_settings(client, h2, frame);
        break;
    case PING:
        on_ping(client, h2, frame);
        break;
    case GOAWAY:
        h2_counters.goaways++;
        h2_counters.code = number_at(frame->payload + 4);
        break;
    case WINDOW_UPDATE:
        on_window(h2, frame);
        break;
    default:
        break;
    }
}

/* Takes the preface; false: it is not there yet, or wrong. */
static bool greet(client_t *client, h2_t *h2)
{
    if (client->in.size < PREFACE_SIZE)
        return false;
    if (memcmp(client->in.data, preface, PREFACE_SIZE) != 0) {
        client_close(client);
        return false;
    }
    bytes_drop(&client->in, PREFACE_SIZE);
    h2->has_preface = true;
    h2_play(client, greeting != NULL ? greeting : usual_greeting);
    return true;
}

static void on_bytes(client_t *client)
{
    h2_t *h2 = client->exchange;
    size_t used = 0;

    if (!h2->has_preface && !greet(client, h2))
        return;
    while (!client->is_closing && client->in.size - used >= HEADER_SIZE) {
        const uint8_t *at = (const uint8_t *)client->in.data + used;
        frame_t frame = {.type = at[3],
                         .flags = at[4],
                         .id = number_at(at + 5),
                         .payload = at + HEADER_SIZE,
                         .size = number_at(at) >> 8};

        if (client->in.size - used < HEADER_SIZE + frame.size)
            break;
        used += HEADER_SIZE + frame.size;
        on_frame(client, &frame);
    }
    if (client->is_closing)
        return;
    bytes_drop(&client->in, used);
    h2_pump(client);
    counters_changed();
    if (client->script != NULL)
        client_play(client);
}

/* Life ----------------------------------------------------------------------------------------- */

static void on_open(client_t *client)
{
    h2_t *h2 = allocate(sizeof(*h2));

    if (nghttp2_hd_inflate_new(&h2->inflater) != 0)
        abort();
    h2->last = UINT32_MAX;
    h2->limit = h2->told = UINT64_MAX;
    h2->window = WINDOW;
    h2->initial = -1;
    client->exchange = h2;
}

static void on_close(client_t *client)
{
    h2_t *h2 = client->exchange;

    while (h2->streams != NULL)
        h2_close_stream(h2, h2->streams);
    nghttp2_hd_inflate_del(h2->inflater);
    bytes_dispose(&h2->block);
    free(h2);
    client->exchange = NULL;
}

service_t h2_service = {
    .name = "h2",
    .on_open = on_open,
    .on_bytes = on_bytes,
    .on_end = client_lose,
    .on_lost = on_bytes,
    .on_close = on_close,
};

/* For control ---------------------------------------------------------------------------------- */

void h2_greet_with(const char *steps)
{
    free(greeting);
    greeting = steps[0] == '\0' ? NULL : strdup(steps);
}

uint64_t h2_tell(const char *steps)
{
    client_t *client = h2_service.clients;
    uint64_t count = 0;

    while (client != NULL) {
        client_t *next = client->next;
        const h2_t *h2 = client->exchange;

        if (h2->has_preface) {
            count++;
            h2_play(client, steps);
            client_play(client);
        }
        client = next;
    }
    return count;
}

static bool is_held_by(const h2_stream_t *stream, const char *key)
{
    return stream->held != NULL && strcmp(stream->held, key) == 0;
}

uint64_t h2_held(const char *key)
{
    uint64_t count = 0;

    for (const client_t *client = h2_service.clients; client != NULL; client = client->next) {
        const h2_t *h2 = client->exchange;

        for (const h2_stream_t *stream = h2->streams; stream != NULL; stream = stream->next)
            count += is_held_by(stream, key);
    }
    return count;
}

static uint64_t release_of(client_t *client, const char *key)
{
    const h2_t *h2 = client->exchange;
    h2_stream_t *stream = h2->streams;
    uint64_t count = 0;

    while (stream != NULL) {
        if (!is_held_by(stream, key)) {
            stream = stream->next;
            continue;
        }
        free(stream->held);
        stream->held = NULL;
        count++;
        h2_go_on(client, stream);
        stream = h2->streams; /* any of them may be gone */
    }
    if (count > 0) {
        h2_pump(client);
        client_play(client);
    }
    return count;
}

uint64_t h2_release(const char *key)
{
    client_t *client = h2_service.clients;
    uint64_t count = 0;

    while (client != NULL) {
        client_t *next = client->next;

        count += release_of(client, key);
        client = next;
    }
    return count;
}

const uint64_t *h2_counter(const char *name)
{
    static const struct {
        const char *name;
        const uint64_t *value;
    } all[] = {
        {"streams", &h2_counters.streams},
        {"open-streams", &h2_counters.open_streams},
        {"most-streams", &h2_counters.most_streams},
        {"over", &h2_counters.over},
        {"pings", &h2_counters.pings},
        {"windows", &h2_counters.windows},
        {"resets", &h2_counters.resets},
        {"goaways", &h2_counters.goaways},
        {"code", &h2_counters.code},
        {"reset-code", &h2_counters.reset_code},
        {"push", &h2_counters.push},
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(name, all[i].name) == 0)
            return all[i].value;
    return NULL;
}

void h2_zero(void)
{
    h2_counters = (struct h2_counters){.open_streams = h2_counters.open_streams};
    for (const client_t *client = h2_service.clients; client != NULL; client = client->next) {
        const h2_t *h2 = client->exchange;

        if (h2->open > h2_counters.most_streams)
            h2_counters.most_streams = h2->open;
    }
    h2_greet_with("");
}
