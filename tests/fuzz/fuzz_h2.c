/* fuzz_h2.c - any bytes as what an HTTP/2 server says to some requests.
 *
 * The first four bytes say what is open (GETs and uploads), the limits, how much of a body is
 * consumed at once, and where the cuts are. The bytes are then fed whole and in pieces, and what the
 * streams were told must come to the same; h2_run.h watches the order of events.
 * tests/unit/test_h2_bytes.c writes the seed corpus. */
#include "support/h2_run.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WAY_SIZE 4
#define LONGEST 8192U /* beyond that floods are bounded by how much comes at once */

typedef struct {
    size_t gets;
    size_t uploads;
    size_t header;
    size_t takes;
    uint32_t cuts; /* seed of the pieces' sizes */
    bool has_credit;
} way_t;

static way_t read_way(const uint8_t *bytes)
{
    static const size_t headers[] = {65536, 64, 200, 1024};
    static const size_t takes[] = {SIZE_MAX, 0, 1, 100};

    return (way_t){.gets = bytes[0] & 7,
                   .uploads = bytes[0] >> 3 & 3,
                   .header = headers[bytes[1] & 3],
                   .takes = takes[bytes[1] >> 2 & 3],
                   .has_credit = (bytes[1] & 16) != 0,
                   .cuts = bytes[2] | (uint32_t)bytes[3] << 8};
}

static void begin(h2_run_t *run, const way_t *way)
{
    hws_codec_options_t options = {.header = way->header,
                                   .buffer = 1000,
                                   .streams = 100,
                                   .windows = {100, 70000, 65536, 100000}};
    hws_message_t message = {.method = HWS_SLICE("GET"),
                             .scheme = HWS_SLICE("http"),
                             .target = HWS_SLICE("/"),
                             .authority = HWS_SLICE("a")};
    size_t i;

    H2_MUST(h2_run_create(run, &options) == HWS_OK);
    for (i = 0; i < way->gets + way->uploads; i++) {
        size_t taken;

        if (i == way->gets)
            message.body = HWS_BODY_CHUNKED;
        H2_MUST(h2_run_open(run, i, &message) == HWS_OK);
        run->told[i].takes = way->takes;
        if (i < way->gets)
            continue;
        H2_MUST(run->codec->ops->send(run->codec, &run->told[i].stream, "some bytes", 10, i & 1,
                                      NULL, &taken) == HWS_OK);
    }
    H2_MUST(h2_run_flush(run, 65536) == HWS_OK);
}

static void pay(h2_run_t *run)
{
    size_t i;

    for (i = 0; i < H2_STREAMS; i++) {
        h2_told_t *told = &run->told[i];

        if (told->unread == 0 || told->stream.part == NULL || told->ends > 0)
            continue;
        (void)run->codec->ops->credit(run->codec, &told->stream, told->unread);
        told->unread = 0;
    }
}

static void run_pieces(h2_run_t *run, const way_t *way, const uint8_t *bytes, size_t size,
                       size_t most)
{
    uint32_t chance = way->cuts * 2654435761U + 1;
    size_t at = 0;

    begin(run, way);
    while (at < size && run->failure == HWS_OK) {
        size_t piece = most > 0 ? 1 + (chance >> 8) % most : size;

        if (piece > size - at)
            piece = size - at;
        (void)h2_run_feed(run, bytes + at, piece);
        if (way->has_credit && run->failure == HWS_OK)
            pay(run);
        (void)h2_run_flush(run, 1000);
        hws_buffer_clear(&run->out);
        at += piece;
        chance = chance * 1664525 + 1013904223;
    }
}

/* Whether we reset a stream. What follows of it is then passed over until the reset has left, and a
 * breach afterwards: that the cuts decide. */
static bool has_reset(const h2_run_t *run)
{
    size_t i;

    for (i = 0; i < H2_STREAMS; i++)
        if (run->told[i].ends > 0 && (hws_error_kind(run->told[i].code) == HWS_KIND_PROTOCOL ||
                                      hws_error_kind(run->told[i].code) == HWS_KIND_LIMIT))
            return true;
    return false;
}

/* After a GOAWAY and the last stream nghttp2 looks at nothing more, beginning with the next piece. */
static bool is_over(const h2_run_t *run)
{
    return run->failure == HWS_OK && run->codec->is_last;
}

static void compare(const h2_run_t *a, const h2_run_t *b)
{
    size_t i;

    if (a->failure == HWS_ERR_H2_FLOOD || b->failure == HWS_ERR_H2_FLOOD)
        return; /* nghttp2 counts pieces of CONTINUATION */
    if (has_reset(a) || has_reset(b))
        return;
    H2_MUST(a->failure == b->failure || is_over(a) || is_over(b));
    for (i = 0; i < H2_STREAMS; i++) {
        const h2_told_t *one = &a->told[i];
        const h2_told_t *other = &b->told[i];

        H2_MUST(one->ends == other->ends && one->code == other->code);
        H2_MUST(one->body == other->body && one->sum == other->sum);
        H2_MUST(one->status == other->status && strcmp(one->head, other->head) == 0);
        H2_MUST(strcmp(one->trailers, other->trailers) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 40};
    static h2_run_t whole;
    static h2_run_t run;
    way_t way;
    size_t i;

    if (size < WAY_SIZE || size > LONGEST)
        return 0;
    way = read_way(data);
    run_pieces(&whole, &way, data + WAY_SIZE, size - WAY_SIZE, 0);
    for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        run_pieces(&run, &way, data + WAY_SIZE, size - WAY_SIZE, pieces[i]);
        if (!way.has_credit) /* else windows tell the pieces apart */
            compare(&whole, &run);
        h2_run_dispose(&run);
    }
    h2_run_dispose(&whole);
    return 0;
}
