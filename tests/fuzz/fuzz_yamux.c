/* fuzz_yamux.c - any bytes from a peer, and anything done on our side.
 *
 * The first byte: bit 0 the role, bits 1 to 3 how much of what comes is left unread. Without bit 7, the
 * rest is what the peer says to a session as in yamux_vectors.h, fed whole, in pieces and one by one:
 * streams must be told the same, and the codec must say the same. With bit 7 it is a list of things to
 * do: yamux_run.h watches what comes of them. tests/unit/test_yamux.c writes the seed corpus. */
#include "support/yamux_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 1 << 20, MOST = 16384, OPENED = 100, TOUCHED = 16 };

static void create(yamux_run_t *run, uint8_t way, uint32_t stream_max)
{
    hws_codec_options_t options = yamux_options();

    options.windows.stream_max = stream_max;
    YAMUX_MUST(yamux_run_create_with(run, (way & 1) == 0 ? HWS_YAMUX_CLIENT : HWS_YAMUX_SERVER,
                                     options) == HWS_OK);
}

static void accept_one(yamux_run_t *run, uint8_t way)
{
    if (run->codec->unaccepted > 0 && run->count < YAMUX_STREAMS)
        yamux_run_accept(run)->keeps = (way >> 1 & 7) % 5;
}

/* What the peer says ------------------------------------------------------------------------- */

typedef struct {
    yamux_text_t told;
    yamux_text_t said;
} account_t;

static void run_pieces(account_t *account, uint8_t way, const char *bytes, size_t size, size_t most)
{
    yamux_run_t run;
    size_t piece;

    account->told.size = account->said.size = 0;
    account->said.bytes[0] = '\0';
    create(&run, way, 0);
    yamux_run_open(&run)->keeps = (way >> 1 & 7) % 5;
    (void)yamux_run_send(&run, yamux_run_open(&run), "hi", 2, true);
    (void)yamux_run_flush(&run, ROOM, NULL);
    for (; size > 0 && run.failure == HWS_OK; bytes += piece, size -= piece) {
        piece = most > 0 && most < size ? most : size;
        (void)yamux_run_feed(&run, bytes, piece);
    }
    while (run.failure == HWS_OK && run.codec->unaccepted > 0)
        accept_one(&run, way);
    (void)yamux_run_flush(&run, ROOM, &account->said);
    yamux_run_tell(&run, &account->told);
    yamux_run_dispose(&run);
}

static void compare(uint8_t way, const char *bytes, size_t size)
{
    static const size_t pieces[] = {1, 5, 13, 100};
    static account_t whole;
    static account_t cut;

    run_pieces(&whole, way, bytes, size, 0);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        run_pieces(&cut, way, bytes, size, pieces[i]);
        if (strcmp(whole.told.bytes, cut.told.bytes) == 0 &&
            strcmp(whole.said.bytes, cut.said.bytes) == 0)
            continue;
        fprintf(stderr, "whole: %s | %s\ncut at %zu: %s | %s\n", whole.told.bytes, whole.said.bytes,
                pieces[i], cut.told.bytes, cut.said.bytes);
        abort();
    }
}

/* What we do --------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes;
    size_t size;
} steps_t;

static uint8_t next(steps_t *steps)
{
    if (steps->size == 0)
        return 0;
    steps->size--;
    return *steps->bytes++;
}

/* One of the last streams that has not heard its last, or NULL. */
static yamux_peer_t *pick(yamux_run_t *run, uint8_t which)
{
    uint32_t some = run->count < TOUCHED ? run->count : TOUCHED;
    yamux_peer_t *peer;

    if (some == 0)
        return NULL;
    peer = &run->peers[run->count - 1 - which % some];
    return peer->is_done ? NULL : peer;
}

static void feed_frame(yamux_run_t *run, steps_t *steps)
{
    static char frame[YAMUX_HEADER + 256 * 1024];
    uint8_t kind = next(steps);
    uint32_t id = next(steps);
    uint32_t length = (uint32_t)next(steps) * 1000 % 262144;

    yamux_put(frame, (uint32_t)(kind >> 4 & 3) << 16 | (kind & 15));
    yamux_put(frame + 4, id);
    yamux_put(frame + 8, length);
    (void)yamux_run_feed(run, frame, YAMUX_HEADER + ((kind >> 4 & 3) == 0 ? length : 0));
}

static void feed_raw(yamux_run_t *run, steps_t *steps)
{
    size_t size = next(steps);

    if (size > steps->size)
        size = steps->size;
    (void)yamux_run_feed(run, (const char *)steps->bytes, size);
    steps->bytes += size;
    steps->size -= size;
}

static void send_some(yamux_run_t *run, steps_t *steps)
{
    static char bytes[255 * 500];
    yamux_peer_t *peer = pick(run, next(steps));
    size_t size = (size_t)next(steps) * 500;
    uint8_t how = next(steps);

    if (peer == NULL || peer->has_ended)
        return;
    peer->stream.urgency = how % 8;
    (void)yamux_run_send(run, peer, bytes, size, (how & 8) != 0);
}

static void step(yamux_run_t *run, steps_t *steps, uint8_t way)
{
    yamux_peer_t *peer;

    switch (next(steps) % 12) {
    case 0:
        feed_raw(run, steps);
        break;
    case 1:
    case 2:
        feed_frame(run, steps);
        break;
    case 3:
        if (run->codec->room > 0 && run->count < OPENED)
            yamux_run_open(run)->keeps = (way >> 1 & 7) % 5;
        break;
    case 4:
        send_some(run, steps);
        break;
    case 5:
        if ((peer = pick(run, next(steps))) != NULL)
            yamux_run_pay(run, peer, (size_t)(peer->unread * next(steps) / 255));
        break;
    case 6:
        if ((peer = pick(run, next(steps))) != NULL)
            yamux_run_reset(run, peer);
        break;
    case 7:
        accept_one(run, way);
        break;
    case 8:
        (void)yamux_run_flush(run, (size_t)next(steps) * 1000, NULL);
        hws_buffer_clear(&run->out);
        break;
    case 9:
        if (next(steps) < 250)
            (void)run->codec->ops->ping(run->codec);
        else
            run->codec->ops->go_away(run->codec);
        break;
    case 10:
        if ((peer = pick(run, next(steps))) != NULL)
            yamux_run_leave(run, peer);
        break;
    case 11:
        if (run->codec->ops->tick(run->codec) != HWS_OK)
            run->failure = HWS_ERR_UNACCEPTED;
        hws_yamux_check(run->codec);
        break;
    }
    YAMUX_MUST(run->codec->room <= run->codec->cap && run->codec->unaccepted <= 256);
}

static void obey(uint8_t way, const uint8_t *data, size_t size)
{
    steps_t steps = {.bytes = data, .size = size};
    yamux_run_t run;

    create(&run, way, 16777216);
    while (steps.size > 0 && run.failure == HWS_OK)
        step(&run, &steps, way);
    (void)yamux_run_flush(&run, ROOM, NULL);
    if (run.failure == HWS_OK)
        (void)run.codec->ops->feed_end(run.codec);
    yamux_run_dispose(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > MOST)
        return 0;
    if ((data[0] & 128) == 0)
        compare(data[0], (const char *)data + 1, size - 1);
    else
        obey(data[0], data + 1, size - 1);
    return 0;
}
