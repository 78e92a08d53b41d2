/* yamux_run.h - a yamux codec with a few streams, and an account of what they were told and what the
 * codec said, in words.
 *
 * Frames are written as "D A 1 'hello'": a letter for the type (D, W, P, G), the flags (S, A, F, R,
 * or -), the id, then the length or, of data, the bytes themselves (a number there stands for so many
 * 'x'). "X 00ff" stands for bytes in hex. Several are separated by "; ".
 *
 * It watches that a stream hears things in order and nothing after its end, that the codec says
 * nothing that the protocol forbids, and that it keeps to the peer's windows. */
#ifndef TESTS_SUPPORT_YAMUX_RUN_H
#define TESTS_SUPPORT_YAMUX_RUN_H

#include "base/buffer.h"
#include "base/memory.h"
#include "codec/yamux.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Stands where assert() must hold in every build. */
#define YAMUX_MUST(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum {
    YAMUX_HEADER = 12,
    YAMUX_STREAMS = 600, /* of one run, over all its time */
    YAMUX_SAID = 4096,   /* ids, likewise */
    YAMUX_TEXT = 2048,
    YAMUX_WINDOW = 256 * 1024
};

typedef struct {
    char bytes[YAMUX_TEXT]; /* what is behind is cut off */
    size_t size;
} yamux_text_t;

typedef struct {
    hws_stream_t stream;
    yamux_text_t told;
    uint64_t received;
    uint64_t unread;
    uint32_t sum;       /* of all bytes that came, in order */
    unsigned keeps;     /* of every 4 bytes, unread until somebody pays */
    unsigned writables; /* calls of on_writable */
    int status;         /* of the last on_end; HWS_AGAIN before it */
    bool is_short;      /* its last send was, and it has not been called back */
    bool is_open;
    bool has_body;  /* inside of the quotes */
    bool is_done;   /* heard its last */
    bool has_ended; /* its own sending */
} yamux_peer_t;

/* What the codec has said about a stream. */
typedef struct {
    uint32_t id;
    uint64_t window; /* that is left to it */
    bool has_greeted, has_fin;
    bool is_over; /* reset, or the id is another's now */
} yamux_said_t;

typedef struct {
    hws_codec_t *codec;
    hws_window_budget_t budget;
    hws_buffer_t out;
    yamux_peer_t *peers;
    uint32_t count;
    yamux_said_t *said; /* as many as there were ids */
    uint32_t said_count;
    char header[YAMUX_HEADER]; /* of what it is fed, to know the windows that it is given */
    size_t header_size;
    uint32_t left; /* of the data behind */
    bool is_client;
    int failure;
} yamux_run_t;

static inline void yamux_say(yamux_text_t *text, const char *bytes, size_t size)
{
    if (size > sizeof(text->bytes) - 1 - text->size)
        size = sizeof(text->bytes) - 1 - text->size;
    if (size > 0)
        memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

static inline void yamux_say_word(yamux_text_t *text, const char *word)
{
    if (text->size > 0)
        yamux_say(text, " ", 1);
    yamux_say(text, word, strlen(word));
}

static inline uint32_t yamux_sum(uint32_t sum, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ (unsigned char)data[i]) * 16777619U;
    return sum;
}

static inline yamux_peer_t *yamux_peer_of(hws_stream_t *stream)
{
    yamux_peer_t *peer = HWS_CONTAINER(stream, yamux_peer_t, stream);

    YAMUX_MUST(peer->is_open && !peer->is_done);
    return peer;
}

static inline size_t yamux_on_body(hws_stream_t *stream, const char *data, size_t size)
{
    yamux_peer_t *peer = yamux_peer_of(stream);
    uint64_t before = peer->received;
    uint64_t kept;

    YAMUX_MUST(size > 0 && peer->status == HWS_AGAIN);
    if (!peer->has_body)
        yamux_say_word(&peer->told, "'");
    peer->has_body = true;
    yamux_say(&peer->told, data, size);
    peer->received += size;
    peer->sum = yamux_sum(peer->sum, data, size);
    /* So many of the bytes so far, however they are cut. */
    kept = peer->received * peer->keeps / 4 - before * peer->keeps / 4;
    peer->unread += kept;
    return size - (size_t)kept;
}

static inline void yamux_on_end(hws_stream_t *stream, int status)
{
    yamux_peer_t *peer = yamux_peer_of(stream);

    YAMUX_MUST(peer->status == HWS_AGAIN || status != HWS_OK);
    if (peer->has_body)
        yamux_say(&peer->told, "'", 1);
    peer->has_body = false;
    yamux_say_word(&peer->told, status == HWS_OK ? "end" : hws_error_name(status));
    peer->status = status;
    if (status != HWS_OK || peer->has_ended)
        peer->is_done = true;
    YAMUX_MUST((stream->part == NULL) == peer->is_done);
}

static inline void yamux_on_writable(hws_stream_t *stream)
{
    yamux_peer_t *peer = yamux_peer_of(stream);

    YAMUX_MUST(peer->is_short);
    peer->is_short = false;
    peer->writables++;
}

static const hws_stream_events_t yamux_run_events = {
    .on_body = yamux_on_body, .on_end = yamux_on_end, .on_writable = yamux_on_writable};

/* Options ------------------------------------------------------------------------------------- */

static inline hws_codec_options_t yamux_options(void)
{
    return (hws_codec_options_t){.header = 65536,
                                 .buffer = 262144,
                                 .streams = 1000,
                                 .accepts = true,
                                 .windows = {.stream = 1048576,
                                             .connection = 16777216,
                                             .stream_max = 16777216,
                                             .connection_max = 67108864}};
}

static inline int yamux_run_create_with(yamux_run_t *run, hws_yamux_role_t role,
                                        hws_codec_options_t options)
{
    *run = (yamux_run_t){.budget.limit = 268435456, .is_client = role == HWS_YAMUX_CLIENT};
    options.budget = &run->budget;
    run->peers = calloc(YAMUX_STREAMS, sizeof(*run->peers));
    run->said = calloc(YAMUX_SAID, sizeof(*run->said));
    YAMUX_MUST(run->peers != NULL && run->said != NULL);
    return hws_yamux_create(&options, role, &run->codec);
}

static inline int yamux_run_create(yamux_run_t *run, hws_yamux_role_t role)
{
    return yamux_run_create_with(run, role, yamux_options());
}

/* Ends with a ledger: no stream, no window. */
static inline void yamux_run_dispose(yamux_run_t *run)
{
    if (run->codec != NULL)
        run->codec->ops->destroy(run->codec);
    YAMUX_MUST(run->budget.used == 0);
    hws_buffer_dispose(&run->out);
    free(run->peers);
    free(run->said);
}

/* Streams ------------------------------------------------------------------------------------- */

static inline yamux_peer_t *yamux_run_add(yamux_run_t *run)
{
    yamux_peer_t *peer = &run->peers[run->count++];

    YAMUX_MUST(run->count <= YAMUX_STREAMS);
    *peer = (yamux_peer_t){.stream.events = &yamux_run_events,
                           .stream.urgency = 3,
                           .status = HWS_AGAIN,
                           .sum = 2166136261U,
                           .is_open = true};
    return peer;
}

/* NULL when there is no memory. */
static inline yamux_peer_t *yamux_run_open(yamux_run_t *run)
{
    yamux_peer_t *peer = yamux_run_add(run);

    YAMUX_MUST(run->codec->room > 0);
    if (run->codec->ops->open(run->codec, &peer->stream, NULL, NULL) != HWS_OK) {
        run->count--;
        return NULL;
    }
    hws_yamux_check(run->codec);
    return peer;
}

static inline yamux_peer_t *yamux_run_accept(yamux_run_t *run)
{
    yamux_peer_t *peer = yamux_run_add(run);

    YAMUX_MUST(run->codec->ops->accept(run->codec, &peer->stream) == HWS_OK);
    hws_yamux_check(run->codec);
    return peer;
}

/* How many bytes were taken. */
static inline size_t yamux_run_send(yamux_run_t *run, yamux_peer_t *peer, const char *data,
                                    size_t size, bool end)
{
    size_t taken = SIZE_MAX;

    YAMUX_MUST(run->codec->ops->send(run->codec, &peer->stream, data, size, end, NULL, &taken) ==
               HWS_OK);
    YAMUX_MUST(taken <= size);
    peer->is_short = taken < size;
    hws_yamux_check(run->codec);
    if (end && taken == size) {
        peer->has_ended = true;
        peer->is_done = peer->status != HWS_AGAIN;
    }
    YAMUX_MUST((peer->stream.part == NULL) == peer->is_done);
    return taken;
}

static inline void yamux_run_pay(yamux_run_t *run, yamux_peer_t *peer, size_t size)
{
    YAMUX_MUST(size <= peer->unread);
    YAMUX_MUST(run->codec->ops->credit(run->codec, &peer->stream, size) == HWS_OK);
    hws_yamux_check(run->codec);
    peer->unread -= size;
}

static inline void yamux_run_reset(yamux_run_t *run, yamux_peer_t *peer)
{
    run->codec->ops->reset(run->codec, &peer->stream, HWS_CODEC_CANCEL);
    YAMUX_MUST(peer->stream.part == NULL);
    hws_yamux_check(run->codec);
    peer->is_done = true;
}

static inline void yamux_run_leave(yamux_run_t *run, yamux_peer_t *peer)
{
    run->codec->ops->leave(run->codec, &peer->stream);
    YAMUX_MUST(peer->stream.part == NULL);
    hws_yamux_check(run->codec);
    peer->is_done = true;
}

/* Bytes --------------------------------------------------------------------------------------- */

static inline uint32_t yamux_get(const char *from)
{
    const unsigned char *bytes = (const unsigned char *)from;

    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void yamux_put(char *to, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(number >> (24 - 8 * i));
}

static inline yamux_said_t *yamux_said(yamux_run_t *run, uint32_t id)
{
    /* The latest first: an id may be used again. */
    for (uint32_t i = run->said_count; i > 0; i--)
        if (run->said[i - 1].id == id && !run->said[i - 1].is_over)
            return &run->said[i - 1];
    YAMUX_MUST(run->said_count < YAMUX_SAID);
    run->said[run->said_count] = (yamux_said_t){.id = id, .window = YAMUX_WINDOW};
    return &run->said[run->said_count++];
}

static inline bool yamux_is_ours(const yamux_run_t *run, uint32_t id)
{
    return id % 2 == (run->is_client ? 1 : 0);
}

static inline void yamux_run_hear_frame(yamux_run_t *run)
{
    uint32_t id = yamux_get(run->header + 4);
    uint32_t length = yamux_get(run->header + 8);

    if (run->header[1] == 0)
        run->left = length;
    if (run->header[1] != 0 && run->header[1] != 1)
        return;
    /* The peer may use the id of a stream that is over again. */
    if ((run->header[3] & 1) != 0 && !yamux_is_ours(run, id) && yamux_said(run, id)->has_greeted)
        yamux_said(run, id)->is_over = true;
    if (run->header[1] == 1)
        yamux_said(run, id)->window += length;
}

/* Notes what windows the bytes open. */
static inline void yamux_run_hear(yamux_run_t *run, const char *bytes, size_t size)
{
    while (size > 0) {
        size_t piece = run->left < size ? run->left : size;

        run->left -= (uint32_t)piece;
        for (; piece < size && run->header_size < YAMUX_HEADER; piece++)
            run->header[run->header_size++] = bytes[piece];
        bytes += piece;
        size -= piece;
        if (run->header_size < YAMUX_HEADER)
            return;
        run->header_size = 0;
        yamux_run_hear_frame(run);
    }
}

static inline void yamux_check_frame(yamux_run_t *run, uint8_t type, uint16_t flags, uint32_t id,
                                     uint32_t length)
{
    yamux_said_t *said;
    bool is_ours = yamux_is_ours(run, id);

    if (type > 1) {
        YAMUX_MUST(id == 0);
        return;
    }
    said = yamux_said(run, id);
    YAMUX_MUST(id > 0 && !said->is_over);
    YAMUX_MUST(((flags & 1) != 0) == (is_ours && !said->has_greeted));
    YAMUX_MUST((flags & 2) == 0 || (!is_ours && !said->has_greeted));
    YAMUX_MUST(is_ours || said->has_greeted || (flags & 10) != 0);
    YAMUX_MUST(type == 1 || (length > 0 && length <= 65536 && !said->has_fin && flags <= 2));
    YAMUX_MUST((flags & 4) == 0 || !said->has_fin);
    YAMUX_MUST(type == 0 || length <= 16777216);
    if ((flags & 3) != 0)
        said->has_greeted = true;
    if ((flags & 4) != 0)
        said->has_fin = true;
    if ((flags & 8) != 0)
        said->is_over = true;
    if (type == 0) {
        YAMUX_MUST(length <= said->window);
        said->window -= length;
    }
}

/* Checks what `out` has from `at` on, and tells it, where `text` is no NULL. */
static inline void yamux_run_check(yamux_run_t *run, size_t at, yamux_text_t *text)
{
    size_t size = hws_buffer_size(&run->out);
    const char *bytes = size > 0 ? hws_buffer_bytes(&run->out) : "";

    while (at < size) {
        const char *header = bytes + at;
        uint8_t type = (uint8_t)header[1];
        uint16_t flags = (uint16_t)(yamux_get(header) & 0xffff);
        uint32_t length = yamux_get(header + 8);
        char line[64];
        char letters[8];
        int i = 0;

        YAMUX_MUST(size - at >= YAMUX_HEADER && header[0] == 0 && type <= 3 && flags < 16);
        yamux_check_frame(run, type, flags, yamux_get(header + 4), length);
        at += YAMUX_HEADER;
        for (int bit = 0; bit < 4; bit++)
            if ((flags >> bit & 1) != 0)
                letters[i++] = "SAFR"[bit];
        if (i == 0)
            letters[i++] = '-';
        letters[i] = '\0';
        if (text != NULL) {
            snprintf(line, sizeof(line), "%s%c %s %u ", text->size > 0 ? "; " : "", "DWPG"[type],
                     letters, yamux_get(header + 4));
            yamux_say(text, line, strlen(line));
            if (type == 0 && length < 100) {
                yamux_say(text, "'", 1);
                yamux_say(text, bytes + at, length);
                yamux_say(text, "'", 1);
            } else {
                snprintf(line, sizeof(line), "%u", length);
                yamux_say(text, line, strlen(line));
            }
        }
        if (type == 0)
            at += length;
    }
    YAMUX_MUST(at == size);
}

/* Asks for what is to be written; HWS_OK or why the connection is to be closed. */
static inline int yamux_run_flush(yamux_run_t *run, size_t room, yamux_text_t *text)
{
    size_t before = hws_buffer_size(&run->out);
    int rc = run->codec->ops->flush(run->codec, room, &run->out);

    hws_yamux_check(run->codec);
    yamux_run_check(run, before, text);
    if (rc != HWS_OK)
        run->failure = rc;
    return rc;
}

/* Feeds a piece, from memory of exactly its size so that a sanitizer sees one byte read too many. */
static inline int yamux_run_feed(yamux_run_t *run, const char *bytes, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);
    int rc;

    YAMUX_MUST(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    yamux_run_hear(run, bytes, size);
    rc = run->codec->ops->feed(run->codec, copy, size);
    free(copy);
    hws_yamux_check(run->codec);
    if (rc != HWS_OK)
        run->failure = rc;
    YAMUX_MUST(rc == HWS_OK || (run->codec->is_last && run->codec->room == 0));
    return rc;
}

/* What all streams were told, by their ids, and how the connection failed. */
static inline void yamux_run_tell(const yamux_run_t *run, yamux_text_t *text)
{
    char word[32];

    text->size = 0;
    yamux_say(text, "", 0);
    for (uint32_t i = 0; i < run->count; i++) {
        const yamux_peer_t *peer = &run->peers[i];

        snprintf(word, sizeof(word), "%u:", (unsigned)peer->stream.id);
        yamux_say_word(text, word);
        if (peer->received > 1000) {
            snprintf(word, sizeof(word), "<%llu>", (unsigned long long)peer->received);
            yamux_say_word(text, word);
            if (peer->status != HWS_AGAIN)
                yamux_say_word(text, peer->status == HWS_OK ? "end" : hws_error_name(peer->status));
        } else if (peer->told.size > 0) {
            yamux_say_word(text, peer->told.bytes);
            if (peer->has_body)
                yamux_say(text, "'", 1);
        }
    }
    if (run->failure != HWS_OK)
        yamux_say_word(text, hws_error_name(run->failure));
}

/* Writes the frames in words to `bytes`; how many bytes that was. */
static inline size_t yamux_frames(const char *words, char *bytes, size_t most)
{
    size_t size = 0;

    while (*words != '\0') {
        char type = words[0];
        char flags[8];
        unsigned id, byte, number;
        int used = 0;

        if (type == 'X') {
            for (words += 2; sscanf(words, "%2x%n", &byte, &used) == 1; words += used)
                bytes[size++] = (char)byte;
        } else {
            char *header = bytes + size;
            uint32_t bits = 0;

            YAMUX_MUST(sscanf(words + 1, " %7s %u %n", flags, &id, &used) == 2);
            words += 1 + used;
            for (int i = 0; flags[i] != '\0'; i++)
                bits |= flags[i] == '-' ? 0 : 1U << (strchr("SAFR", flags[i]) - "SAFR");
            yamux_put(header, (uint32_t)(strchr("DWPG", type) - "DWPG") << 16 | bits);
            yamux_put(header + 4, id);
            size += YAMUX_HEADER;
            if (*words == '\'') {
                const char *end = strchr(++words, '\'');

                number = (unsigned)(end - words);
                memcpy(bytes + size, words, number);
                size += number;
                words = end + 1;
            } else {
                YAMUX_MUST(sscanf(words, "%u%n", &number, &used) == 1);
                words += used;
                if (type == 'D') {
                    YAMUX_MUST(size + number <= most);
                    memset(bytes + size, 'x', number);
                    size += number;
                }
            }
            yamux_put(header + 8, number);
        }
        YAMUX_MUST(size + 64 <= most && (*words == '\0' || strncmp(words, "; ", 2) == 0));
        words += *words == '\0' ? 0 : 2;
    }
    return size;
}

#endif
