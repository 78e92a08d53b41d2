/* fuzz_h1.c - any bytes as the answer to a request.
 *
 * The first four bytes say how the rest is fed: the method and what of the request is out; where
 * the cuts are; the limits; how much of a body is consumed at once. The bytes are then fed whole,
 * in those pieces and one by one, and what the stream was told must be the same; h1_run.h watches
 * the order of events. tests/unit/test_h1.c writes the seed corpus. */
#include "support/h1_run.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    const char *method;
    hws_body_kind_t body;
    size_t header;
    size_t buffer;
    unsigned consumes;
    bool is_sent;
    uint32_t cuts; /* seed of the pieces' sizes */
} way_t;

#define WAY_SIZE 4

static way_t read_way(const uint8_t *bytes)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT"};
    static const size_t headers[] = {65536, 64, 100, 1024};
    static const size_t buffers[] = {262144, 0, 1, 10};

    return (way_t){.method = methods[bytes[0] & 3],
                   .body = (hws_body_kind_t)((bytes[0] >> 2) % 3),
                   .is_sent = (bytes[0] & 64) == 0,
                   .cuts = bytes[1],
                   .header = headers[bytes[2] & 3],
                   .buffer = buffers[bytes[2] >> 2 & 3],
                   .consumes = bytes[3] % 5};
}

static void begin(h1_run_t *run, const way_t *way)
{
    size_t taken;

    H1_MUST(h1_run_create(run, way->header, way->buffer) == HWS_OK);
    run->consumes = way->consumes;
    H1_MUST(h1_run_open(run, way->method, way->body, 3) == HWS_OK);
    if (way->body != HWS_BODY_NONE && way->is_sent)
        H1_MUST(run->codec->ops->send(run->codec, &run->stream, "abc", 3, true, &run->out,
                                      &taken) == HWS_OK);
}

/* What a connection asks for must follow from what is unread. */
static void check_wants(const h1_run_t *run, const way_t *way)
{
    bool is_open = !run->has_ended && !run->is_over;

    if (!is_open || run->unread <= way->buffer / 2)
        H1_MUST(run->codec->wants_bytes);
    else if (run->unread >= way->buffer)
        H1_MUST(!run->codec->wants_bytes);
}

/* Gives back a part of what is unread now and then. */
static void pay(h1_run_t *run, uint32_t chance)
{
    uint64_t size = run->unread - run->unread * (chance % 4) / 4;

    if (chance % 3 != 0 || run->has_ended || run->is_over)
        return;
    H1_MUST(run->codec->ops->credit(run->codec, &run->stream, (size_t)size) == HWS_OK);
    run->unread -= size;
}

static void run_pieces(h1_run_t *run, const way_t *way, const char *bytes, size_t size, size_t most)
{
    uint32_t chance = way->cuts * 2654435761U + 1;
    size_t at = 0;

    begin(run, way);
    while (at < size) {
        size_t piece = most > 0 ? 1 + (chance >> 8) % most : size;

        if (piece > size - at)
            piece = size - at;
        h1_run_feed(run, bytes + at, piece);
        check_wants(run, way);
        if (most > 0)
            pay(run, chance >> 16);
        check_wants(run, way);
        at += piece;
        chance = chance * 1664525 + 1013904223;
    }
    h1_run_finish(run);
    H1_MUST(run->body_size <= size);
}

static void compare(const h1_run_t *a, const h1_run_t *b)
{
    if (strcmp(h1_outcome(a), h1_outcome(b)) == 0 && strcmp(h1_details(a), h1_details(b)) == 0)
        return;
    fprintf(stderr, "whole: %s (%s)\npieces: %s (%s)\n", h1_outcome(a), h1_details(a),
            h1_outcome(b), h1_details(b));
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 40};
    const char *bytes = (const char *)data + WAY_SIZE;
    h1_run_t whole;
    way_t way;
    size_t i;

    if (size < WAY_SIZE)
        return 0;
    way = read_way(data);
    run_pieces(&whole, &way, bytes, size - WAY_SIZE, 0);
    for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        h1_run_t run;

        run_pieces(&run, &way, bytes, size - WAY_SIZE, pieces[i]);
        compare(&whole, &run);
        h1_run_dispose(&run);
    }
    h1_run_dispose(&whole);
    return 0;
}
