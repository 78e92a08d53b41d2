/* h2_steps.c - what each step of an answer does: see faultd.c for the list. */
#include "h2.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, GOAWAY = 7, WINDOW_UPDATE = 8 };
enum { END_STREAM = 1, END_HEADERS = 4 };
enum { MAX_CONCURRENT_STREAMS = 3, STEP_MAX = 1 << 16, WORDS = 6 };

/* Whether the next step may follow now. */
typedef enum { GO_ON, WAIT, STOP } verdict_t;

typedef struct {
    const char *name;
    verdict_t (*act)(client_t *client, h2_stream_t *stream, char *const *words);
} deed_t;

/* The word as an id: a number, or m: this stream, p: the client's stream before it, n: the newest. */
static uint32_t id_of(const client_t *client, const h2_stream_t *stream, const char *word)
{
    const h2_t *h2 = client->exchange;

    switch (word[0]) {
    case 'm':
        return stream->id;
    case 'p':
        return stream->id > 2 ? stream->id - 2 : 0;
    case 'n':
        return h2->newest;
    default:
        return (uint32_t)strtoul(word, NULL, 10);
    }
}

/* Fields without Huffman and outside the table (RFC 7541, 6.2.2). */
static void add_field(bytes_t *block, const char *name, const char *value)
{
    uint8_t name_head[2] = {0, (uint8_t)strlen(name)}, value_size = (uint8_t)strlen(value);

    bytes_append(block, name_head, sizeof(name_head));
    bytes_append(block, name, name_head[1]);
    bytes_append(block, &value_size, 1);
    bytes_append(block, value, value_size);
}

static void say_head(client_t *client, h2_stream_t *stream, const char *status, const char *length,
                     bool is_end)
{
    bytes_t block = {0};
    char number[24];

    add_field(&block, ":status", status);
    snprintf(number, sizeof(number), "%" PRIu64, client->number);
    add_field(&block, "x-connection", number);
    snprintf(number, sizeof(number), "%" PRIu32, stream->id);
    add_field(&block, "x-stream", number);
    if (length != NULL)
        add_field(&block, "content-length", length);
    h2_frame(client, HEADERS, is_end ? END_HEADERS | END_STREAM : END_HEADERS, stream->id,
             block.data, block.size);
    bytes_dispose(&block);
    stream->is_answered = is_end;
}

static void say_text(client_t *client, h2_stream_t *stream, const char *text)
{
    say_head(client, stream, "200", NULL, false);
    h2_frame(client, DATA, END_STREAM, stream->id, text, strlen(text));
    stream->is_answered = true;
}

static verdict_t ok(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)words;
    say_text(client, stream, "ok");
    return GO_ON;
}

static verdict_t status(client_t *client, h2_stream_t *stream, char *const *words)
{
    say_head(client, stream, words[1], NULL, true);
    return GO_ON;
}

static verdict_t head(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)words;
    say_head(client, stream, "200", NULL, false);
    return GO_ON;
}

static verdict_t body(client_t *client, h2_stream_t *stream, char *const *words)
{
    stream->to_send = strtoull(words[1], NULL, 10);
    say_head(client, stream, "200", words[1], stream->to_send == 0);
    return GO_ON;
}

static verdict_t sink(client_t *client, h2_stream_t *stream, char *const *words)
{
    char text[64];

    (void)words;
    stream->is_sinking = !stream->is_complete;
    if (stream->is_sinking)
        return WAIT;
    snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, stream->body_size, stream->body_sum);
    say_text(client, stream, text);
    return GO_ON;
}

static verdict_t read_on(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)words;
    stream->is_unread = false;
    if (stream->uncredited > 0 && !stream->is_complete)
        h2_number_frame(client, WINDOW_UPDATE, stream->id, (uint32_t)stream->uncredited);
    stream->uncredited = 0;
    return GO_ON;
}

static verdict_t hold_stream(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)client;
    stream->held = strdup(words[1]);
    return STOP;
}

static verdict_t first(client_t *client, h2_stream_t *stream, char *const *words)
{
    seen_add("FIRST", words[2]);
    if (seen_count("FIRST", words[2]) <= strtoull(words[1], NULL, 10))
        return GO_ON;
    stream->left = "";
    return ok(client, stream, words);
}

/* "HEX,HEX*N": N times the bytes. */
static void append_groups(bytes_t *bytes, char *groups)
{
    while (groups != NULL && groups[0] != '\0') {
        char *next = strchr(groups, ','), *times;
        unsigned long count = 1;
        bytes_t group = {0};

        if (next != NULL)
            *next++ = '\0';
        if ((times = strchr(groups, '*')) != NULL) {
            *times = '\0';
            count = strtoul(times + 1, NULL, 10);
        }
        (void)bytes_append_hex(&group, groups);
        while (count-- > 0)
            bytes_append(bytes, group.data, group.size);
        bytes_dispose(&group);
        groups = next;
    }
}

static verdict_t frame(client_t *client, h2_stream_t *stream, char *const *words)
{
    bytes_t payload = {0};

    append_groups(&payload, words[4]);
    h2_frame(client, (uint8_t)atoi(words[1]), (uint8_t)atoi(words[2]),
             id_of(client, stream, words[3]), payload.data, payload.size);
    bytes_dispose(&payload);
    return GO_ON;
}

static verdict_t bytes(client_t *client, h2_stream_t *stream, char *const *words)
{
    bytes_t all = {0};

    (void)stream;
    append_groups(&all, words[1]);
    say(client, all.data, all.size);
    bytes_dispose(&all);
    return GO_ON;
}

static void forget_above(h2_t *h2, uint32_t last, const h2_stream_t *but)
{
    h2_stream_t *stream = h2->streams;

    h2->last = last;
    while (stream != NULL) {
        h2_stream_t *next = stream->next;

        if (stream->id > last && stream != but)
            h2_close_stream(h2, stream);
        stream = next;
    }
}

static verdict_t goaway(client_t *client, h2_stream_t *stream, char *const *words)
{
    uint32_t last = id_of(client, stream, words[1]);
    uint32_t code = (uint32_t)strtoul(words[2], NULL, 10);
    uint8_t payload[8] = {(uint8_t)(last >> 24), (uint8_t)(last >> 16), (uint8_t)(last >> 8),
                          (uint8_t)last,         (uint8_t)(code >> 24), (uint8_t)(code >> 16),
                          (uint8_t)(code >> 8),  (uint8_t)code};

    h2_frame(client, GOAWAY, 0, 0, payload, sizeof(payload));
    forget_above(client->exchange, last, stream);
    if (stream->id <= last)
        return GO_ON;
    stream->is_answered = stream->is_complete = true;
    return GO_ON;
}

static verdict_t rst(client_t *client, h2_stream_t *stream, char *const *words)
{
    h2_number_frame(client, RST_STREAM, stream->id, (uint32_t)strtoul(words[1], NULL, 10));
    stream->is_answered = stream->is_complete = true;
    return GO_ON;
}

static verdict_t limit(client_t *client, h2_stream_t *stream, char *const *words)
{
    h2_t *h2 = client->exchange;
    uint32_t most = (uint32_t)strtoul(words[1], NULL, 10);
    uint8_t payload[6] = {0,
                          MAX_CONCURRENT_STREAMS,
                          (uint8_t)(most >> 24),
                          (uint8_t)(most >> 16),
                          (uint8_t)(most >> 8),
                          (uint8_t)most};

    (void)stream;
    h2_frame(client, SETTINGS, 0, 0, payload, sizeof(payload));
    if (most > h2->told)
        h2->limit = most; /* a higher one counts at once */
    h2->told = most;
    h2->unacked++;
    return GO_ON;
}

static verdict_t deaf(client_t *client, h2_stream_t *stream, char *const *words)
{
    h2_t *h2 = client->exchange;

    (void)stream;
    (void)words;
    h2->is_deaf = true;
    return GO_ON;
}

static verdict_t calm(client_t *client, h2_stream_t *stream, char *const *words)
{
    h2_t *h2 = client->exchange;

    (void)stream;
    (void)words;
    h2->is_annoyed = true;
    return GO_ON;
}

static verdict_t none(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)client;
    (void)stream;
    (void)words;
    return GO_ON;
}

/* The rest end the connection's script, which sends what was said before. */
static verdict_t silent(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)stream;
    (void)words;
    keep_silent(client);
    return STOP;
}

static verdict_t fin(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)stream;
    (void)words;
    finish(client);
    return STOP;
}

static verdict_t crash(client_t *client, h2_stream_t *stream, char *const *words)
{
    (void)stream;
    (void)words;
    reset(client);
    return STOP;
}

static const deed_t deeds[] = {
    {"ok", ok},         {"status", status},    {"head", head},   {"body", body},   {"sink", sink},
    {"read", read_on},  {"hold", hold_stream}, {"first", first}, {"frame", frame}, {"bytes", bytes},
    {"goaway", goaway}, {"rst", rst},          {"limit", limit}, {"deaf", deaf},   {"calm", calm},
    {"none", none},     {"silent", silent},    {"fin", fin},     {"crash", crash},
};

/* "N*name.word.word": cuts it into words, and returns how often. */
static unsigned long cut(char *step, char **words)
{
    unsigned long count = 1;
    char *end;

    if (step[0] >= '0' && step[0] <= '9') {
        count = strtoul(step, &end, 10);
        step = *end == '*' ? end + 1 : end;
    }
    for (size_t i = 0; i < WORDS; i++) {
        words[i] = step;
        step += strcspn(step, ".");
        if (*step == '.')
            *step++ = '\0';
    }
    return count;
}

static verdict_t play_step(client_t *client, h2_stream_t *stream, const char *step, size_t size)
{
    static char copies[2][STEP_MAX];
    char *words[WORDS];
    verdict_t verdict = GO_ON;
    unsigned long count = 1;

    for (unsigned long done = 0; verdict == GO_ON && done < count; done++) {
        snprintf(copies[0], STEP_MAX, "%.*s", (int)size, step);
        count = cut(copies[0], words);
        for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
            if (strcmp(words[0], deeds[i].name) == 0)
                verdict = deeds[i].act(client, stream, words);
    }
    return verdict;
}

static verdict_t play_steps(client_t *client, h2_stream_t *stream)
{
    verdict_t verdict = GO_ON;

    while (verdict == GO_ON && stream->left[0] != '\0') {
        const char *step = stream->left;
        size_t size = strcspn(step, "+");

        stream->left = step[size] == '+' ? step + size + 1 : step + size;
        verdict = play_step(client, stream, step, size);
        if (verdict == WAIT)
            stream->left = step;
    }
    return verdict;
}

void h2_go_on(client_t *client, h2_stream_t *stream)
{
    if (stream->left == NULL)
        stream->left = stream->steps;
    (void)play_steps(client, stream);
    if (stream->is_answered && stream->is_complete)
        h2_close_stream(client->exchange, stream);
}

void h2_play(client_t *client, const char *steps)
{
    h2_stream_t nobody = {.left = steps};

    (void)play_steps(client, &nobody);
    free(nobody.held);
}
