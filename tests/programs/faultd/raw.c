/* raw.c - the raw service: sends lines back, and does what a line beginning with "+" asks for. */
#include "faultd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORD_MAX = 65536 };

typedef struct {
    uint64_t lines;
} session_t;

typedef struct {
    const char *name;
    void (*act)(client_t *client, char *words);
} command_t;

/* Cuts the next word off. */
static const char *next_word(char **words)
{
    char *word = *words;

    *words += strcspn(word, " ");
    if (**words != '\0')
        *(*words)++ = '\0';
    return word;
}

static uint64_t next_number(char **words)
{
    return strtoull(next_word(words), NULL, 10);
}

static void rst(client_t *client, char *words)
{
    (void)words;
    reset(client);
}

static void fin(client_t *client, char *words)
{
    (void)words;
    finish(client);
}

static void silence(client_t *client, char *words)
{
    (void)words;
    keep_silent(client);
}

static void bytes(client_t *client, char *words)
{
    fill(client, next_number(&words));
}

static void drip(client_t *client, char *words)
{
    uint64_t size = next_number(&words), pause_ms = next_number(&words);

    pause_for(client, pause_ms);
    for (uint64_t i = 0; i < size; i++)
        say(client, "x", 1);
    trickle(client, pause_ms);
}

static void hex(client_t *client, char *words)
{
    bytes_t said = {0};

    if (bytes_append_hex(&said, next_word(&words)))
        say(client, said.data, said.size);
    bytes_dispose(&said);
}

static void auth(client_t *client, char *words)
{
    say_line(client, "%s\r\n", strcmp(next_word(&words), "secret") == 0 ? "+OK" : "-ERR");
}

static void id(client_t *client, char *words)
{
    (void)words;
    say_line(client, "%" PRIu64 "\r\n", client->number);
}

static void count(client_t *client, char *words)
{
    const session_t *session = client->exchange;

    (void)words;
    say_line(client, "%" PRIu64 "\r\n", session->lines);
}

static void held(client_t *client, char *words)
{
    hold(client, next_word(&words));
    say_line(client, "released\r\n");
}

static void unread(client_t *client, char *words)
{
    stop_reading(client);
    hold(client, next_word(&words));
    start_reading(client);
    say_line(client, "+resumed\r\n");
}

static void stale(client_t *client, char *words)
{
    (void)words;
    say_line(client, "ok\r\n");
    client->doom = DOOM_RST;
}

static const command_t commands[] = {
    {"+rst", rst},     {"+fin", fin},   {"+silence", silence}, {"+bytes", bytes},
    {"+drip", drip},   {"+hex", hex},   {"+auth", auth},       {"+id", id},
    {"+count", count}, {"+hold", held}, {"+unread", unread},   {"+stale", stale},
};

static void answer(client_t *client, char *line)
{
    char *words = line;

    if (line[0] == '+') {
        const char *name = next_word(&words);

        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
            if (strcmp(commands[i].name, name) == 0) {
                commands[i].act(client, words);
                return;
            }
        }
        say_line(client, "-ERR what?\r\n");
        return;
    }
    say(client, line, strlen(line));
    say(client, "\r\n", 2);
}

/* Takes a line without its end off what came; NULL when there is none. The caller frees it. */
static char *take_line(client_t *client)
{
    char *end = memchr(client->in.data, '\n', client->in.size), *line;
    size_t size;

    if (end == NULL)
        return NULL;
    size = (size_t)(end - client->in.data);
    line = allocate(size + 1);
    memcpy(line, client->in.data, size);
    if (size > 0 && line[size - 1] == '\r')
        line[size - 1] = '\0';
    bytes_drop(&client->in, size + 1);
    return line;
}

static void say_goodbye(client_t *client)
{
    say_line(client, "bye\r\n");
    finish(client);
    client_play(client);
}

static void on_bytes(client_t *client)
{
    session_t *session = client->exchange;
    char *line;

    while (!client->is_closing && client->script == NULL && client->in.size > 0) {
        if ((line = take_line(client)) == NULL)
            break;
        session->lines++;
        client->service->requests++;
        answer(client, line);
        free(line);
        counters_changed();
        client_play(client);
    }
    if (!client->is_closing && client->script == NULL && client->is_ended)
        say_goodbye(client);
}

static void on_open(client_t *client)
{
    client->exchange = allocate(sizeof(session_t));
}

/* The lines that came before the FIN are answered first. */
static void on_end(client_t *client)
{
    if (client->script == NULL)
        on_bytes(client);
}

static void on_close(client_t *client)
{
    free(client->exchange);
    client->exchange = NULL;
}

service_t raw_service = {
    .name = "raw",
    .on_open = on_open,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_close = on_close,
};
