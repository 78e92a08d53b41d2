/* The yamux codec: what a peer may say, cut in every way; two codecs that talk to each other; windows,
 * floods, memory. */
#include "support/cmocka.h"
#include "support/yamux_run.h"
#include "support/yamux_vectors.h"

#define ROOM ((size_t)1 << 20)

/* ---- vectors ---- */

static void must_say(yamux_run_t *run, const char *words)
{
    yamux_text_t said = {.size = 0};

    (void)yamux_run_flush(run, ROOM, &said);
    assert_string_equal(said.bytes, words);
}

static void start(yamux_run_t *run, char role)
{
    yamux_peer_t *second;

    assert_int_equal(yamux_run_create(run, role == 'c' ? HWS_YAMUX_CLIENT : HWS_YAMUX_SERVER),
                     HWS_OK);
    (void)yamux_run_open(run);
    second = yamux_run_open(run);
    assert_int_equal(yamux_run_send(run, second, "hi", 2, true), 2);
    must_say(run, role == 'c' ? "W S 1 0; D S 3 'hi'; W F 3 0" : "W S 2 0; D S 4 'hi'; W F 4 0");
}

/* Feeds `piece` bytes at a time, the first time `first`. */
static void run_vector(const yamux_vector_t *vector, const char *bytes, size_t size, size_t first,
                       size_t piece)
{
    yamux_text_t told = {.size = 0};
    yamux_text_t said = {.size = 0};
    yamux_run_t run;
    size_t at = 0;

    start(&run, vector->role);
    do {
        size_t next = at == 0 ? first : piece;

        if (next > size - at)
            next = size - at;
        (void)yamux_run_feed(&run, bytes + at, next);
        at += next;
    } while (at < size);
    while (run.failure == HWS_OK && run.codec->unaccepted > 0)
        (void)yamux_run_accept(&run);
    assert_int_equal(yamux_run_flush(&run, ROOM, &said), run.failure);
    yamux_run_tell(&run, &told);
    if (strcmp(told.bytes, vector->told) != 0 || strcmp(said.bytes, vector->said) != 0)
        fail_msg("%s, cut at %zu, then %zu: told \"%s\", not \"%s\"; said \"%s\", not \"%s\"",
                 vector->name, first, piece, told.bytes, vector->told, said.bytes, vector->said);
    assert_int_equal(yamux_run_flush(&run, ROOM, &said), run.failure);
    assert_string_equal(said.bytes, vector->said); /* and no more of it */
    yamux_run_dispose(&run);
}

static char frames[300000];

static void every_vector_has_its_outcome_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < YAMUX_VECTOR_COUNT; i++) {
        const yamux_vector_t *vector = &yamux_vectors[i];
        size_t size = yamux_frames(vector->frames, frames, sizeof(frames));

        run_vector(vector, frames, size, size, size);
        for (size_t cut = 1; cut < size && size < 1000; cut++)
            run_vector(vector, frames, size, cut, size);
        for (size_t piece = 1; piece < 14; piece++)
            run_vector(vector, frames, size, piece, piece);
    }
}

/* Whatever has come, the peer's FIN ends the connection, as an error while a stream is open. */
static void every_prefix_can_be_the_last(void **state)
{
    (void)state;
    for (size_t i = 0; i < YAMUX_VECTOR_COUNT; i++) {
        size_t size = yamux_frames(yamux_vectors[i].frames, frames, sizeof(frames));

        for (size_t cut = 0; cut < size && size < 1000; cut++) {
            yamux_run_t run;

            start(&run, yamux_vectors[i].role);
            if (yamux_run_feed(&run, frames, cut) == HWS_OK)
                assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_ERR_EOF);
            assert_true(run.codec->is_last);
            assert_int_equal(run.codec->room, 0);
            yamux_run_dispose(&run);
        }
    }
}

/* ---- by hand ---- */

static int hear(yamux_run_t *run, const char *words)
{
    return yamux_run_feed(run, frames, yamux_frames(words, frames, sizeof(frames)));
}

static void a_fin_between_frames_of_an_idle_session_is_no_error(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    yamux_run_dispose(&run);

    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(yamux_run_feed(&run, "\0\0", 2), HWS_OK);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_ERR_EOF);
    yamux_run_dispose(&run);
}

static void one_flush_has_the_frames_of_all_streams(void **state)
{
    yamux_text_t said = {.size = 0};
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    for (int i = 0; i < 64; i++)
        (void)yamux_run_send(&run, yamux_run_open(&run), "0123456789abcdef", 16, false);
    assert_int_equal(yamux_run_flush(&run, ROOM, &said), HWS_OK);
    assert_int_equal(hws_buffer_size(&run.out), 64 * (12 + 16));
    must_say(&run, "");
    yamux_run_dispose(&run);
}

static void room_is_what_the_peer_has_not_acknowledged_or_what_we_may_open(void **state)
{
    hws_codec_options_t options = yamux_options();
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(run.codec->cap, 1000);
    assert_int_equal(run.codec->room, 256);
    for (int i = 0; i < 256; i++)
        (void)yamux_run_open(&run);
    assert_int_equal(run.codec->room, 0);
    (void)yamux_run_flush(&run, ROOM, NULL);
    assert_int_equal(hear(&run, "W A 1 0; W A 3 0; W A 3 0; W R 5 0"), HWS_OK);
    assert_int_equal(run.codec->room, 3);
    yamux_run_reset(&run, &run.peers[3]);
    assert_int_equal(run.codec->room, 4);
    yamux_run_dispose(&run);

    options.streams = 2;
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    (void)yamux_run_open(&run);
    (void)yamux_run_open(&run);
    assert_int_equal(run.codec->room, 0);
    (void)yamux_run_flush(&run, ROOM, NULL);
    assert_int_equal(hear(&run, "W A 1 0; W A 3 0; W S 2 0"), HWS_OK);
    assert_int_equal(run.codec->room, 0);
    (void)yamux_run_send(&run, &run.peers[0], "", 0, true);
    assert_int_equal(hear(&run, "W F 1 0"), HWS_OK);
    assert_int_equal(run.codec->room, 0); /* our FIN has not left */
    must_say(&run, "W F 1 0");
    assert_int_equal(run.codec->room, 1);
    yamux_run_dispose(&run);
}

static void a_stream_given_up_before_it_left_was_never_there(void **state)
{
    yamux_run_t run;
    yamux_peer_t *stream;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    stream = yamux_run_open(&run);
    (void)yamux_run_send(&run, stream, "x", 1, true);
    yamux_run_reset(&run, stream);
    must_say(&run, "");
    stream = yamux_run_open(&run);
    must_say(&run, "W S 3 0");
    (void)yamux_run_send(&run, stream, "x", 1, true);
    yamux_run_reset(&run, stream);
    yamux_run_reset(&run, stream);
    must_say(&run, "W R 3 0");
    assert_int_equal(hear(&run, "D A 3 'x'; W F 3 0; W R 3 0"), HWS_OK);
    assert_int_equal(run.codec->room, 256);
    yamux_run_dispose(&run);
}

static void a_stream_reset_in_the_midst_of_a_frame_hears_no_more_of_it(void **state)
{
    size_t size = yamux_frames("D A 1 'hello'; D - 3 'x'", frames, sizeof(frames));
    yamux_text_t told = {.size = 0};
    yamux_run_t run;

    (void)state;
    start(&run, 'c');
    assert_int_equal(yamux_run_feed(&run, frames, 14), HWS_OK);
    yamux_run_reset(&run, &run.peers[0]);
    must_say(&run, "W R 1 0");
    (void)yamux_run_open(&run); /* where the other was, perhaps */
    assert_int_equal(yamux_run_feed(&run, frames + 14, size - 14), HWS_OK);
    yamux_run_tell(&run, &told);
    assert_string_equal(told.bytes, "1: 'he' 3: 'x' 5:");
    yamux_run_dispose(&run);
}

static void what_is_not_accepted_waits_and_256_are_enough(void **state)
{
    yamux_run_t run;
    char words[64];

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_SERVER), HWS_OK);
    for (int i = 0; i < 256; i++) {
        snprintf(words, sizeof(words), "D S %d 'hello %d'", 2 * i + 1, i);
        assert_int_equal(hear(&run, words), HWS_OK);
    }
    assert_int_equal(run.codec->unaccepted, 256);
    must_say(&run, "");
    assert_int_equal(hear(&run, "D S 1001 'too many'; D - 1 '!'"), HWS_OK);
    must_say(&run, "W R 1001 0");
    assert_int_equal(run.codec->unaccepted, 256);
    (void)yamux_run_accept(&run);
    assert_int_equal(run.codec->unaccepted, 255);
    assert_int_equal(hear(&run, "D S 1003 'one more'"), HWS_OK);
    assert_string_equal(run.peers[0].told.bytes, "'hello 0!"); /* at the next feed */
    must_say(&run, "W A 1 0");
    assert_int_equal(hear(&run, "W R 1003 0"), HWS_OK);
    assert_int_equal(run.codec->unaccepted, 255);
    yamux_run_dispose(&run);
}

static void who_accepts_nothing_refuses_at_once(void **state)
{
    hws_codec_options_t options = yamux_options();
    yamux_run_t run;

    (void)state;
    options.accepts = false;
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    assert_int_equal(hear(&run, "W S 2 0; D S 4 'hello'; D - 4 'more'"), HWS_OK);
    assert_int_equal(run.codec->unaccepted, 0);
    must_say(&run, "W R 2 0; W R 4 0");
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    yamux_run_dispose(&run);
}

static void a_peer_has_8192_streams_at_most(void **state)
{
    static hws_stream_t streams[8192];
    yamux_run_t run;
    char syn[12] = {0, 1, 0, 1};

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_SERVER), HWS_OK);
    for (uint32_t i = 0; i < 8192; i++) {
        yamux_put(syn + 4, 2 * i + 1);
        assert_int_equal(run.codec->ops->feed(run.codec, syn, sizeof(syn)), HWS_OK);
        assert_int_equal(run.codec->ops->accept(run.codec, &streams[i]), HWS_OK);
    }
    assert_int_equal(run.codec->ops->flush(run.codec, ROOM, &run.out), HWS_OK);
    hws_buffer_clear(&run.out);
    assert_int_equal(hear(&run, "W S 16385 0"), HWS_OK);
    assert_int_equal(run.codec->unaccepted, 0);
    must_say(&run, "W R 16385 0");
    assert_int_equal(run.codec->room, 256); /* ours are others */
    run.codec->ops->reset(run.codec, &streams[7], 0);
    assert_int_equal(hear(&run, "W S 16387 0"), HWS_OK);
    assert_int_equal(run.codec->unaccepted, 1);
    yamux_run_dispose(&run);
}

static void nothing_is_there_to_accept_where_nothing_came(void **state)
{
    yamux_run_t run;
    hws_stream_t stream = {.events = &yamux_run_events};

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(run.codec->ops->accept(run.codec, &stream), HWS_AGAIN);
    yamux_run_dispose(&run);
}

static void an_answer_goes_with_the_acknowledgement(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_SERVER), HWS_OK);
    assert_int_equal(hear(&run, "D SF 1 'ping'"), HWS_OK);
    (void)yamux_run_send(&run, yamux_run_accept(&run), "pong", 4, true);
    must_say(&run, "D A 1 'pong'; W F 1 0");
    assert_string_equal(run.peers[0].told.bytes, "'ping' end");
    assert_true(run.peers[0].stream.part == NULL);
    yamux_run_dispose(&run);
}

/* Its user may have looked at what came: to say nothing but RST would mean that nobody has. */
static void a_reset_of_what_was_accepted_says_so(void **state)
{
    yamux_run_t run;
    yamux_peer_t *stream;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_SERVER), HWS_OK);
    assert_int_equal(hear(&run, "D S 1 'x'"), HWS_OK);
    stream = yamux_run_accept(&run);
    assert_int_equal(yamux_run_flush(&run, 0, NULL), HWS_OK);
    assert_string_equal(stream->told.bytes, "'x");
    yamux_run_reset(&run, stream);
    must_say(&run, "W AR 1 0");
    yamux_run_dispose(&run);
}

/* Go accepts a stream that has ended already without a word; its answer tells. */
static void an_answer_is_an_acknowledgement(void **state)
{
    static const char *const answers[] = {"W A 1 0", "D - 1 'x'", "W F 1 0", "W - 1 5"};
    yamux_run_t run;

    (void)state;
    for (int i = 0; i < 4; i++) {
        start(&run, 'c');
        assert_int_equal(run.codec->room, 254);
        assert_int_equal(run.codec->awaited, 2);
        assert_int_equal(hear(&run, answers[i]), HWS_OK);
        assert_int_equal(run.codec->awaited, 1);
        assert_int_equal(run.codec->room, 255);
        yamux_run_dispose(&run);
    }
}

/* ---- leaving ---- */

static int tick(yamux_run_t *run, int times)
{
    int rc = HWS_OK;

    while (rc == HWS_OK && times-- > 0) {
        rc = run->codec->ops->tick(run->codec);
        hws_yamux_check(run->codec);
    }
    return rc;
}

/* A client's stream hears `before` and is left, perhaps with "hi" unsent; then the codec hears more. */
typedef struct {
    const char *before;
    bool is_unsent;
    const char *said;
    const char *after;
    const char *said_then;
    bool is_over;
} leaving_t;

static void who_is_left_says_its_last_and_what_still_comes_is_thrown_away(void **state)
{
    static const leaving_t table[] = {
        {"W A 1 0", false, "W F 1 0", "", "", false},
        {"W A 1 0", false, "W F 1 0", "W F 1 0", "", true},
        {"W A 1 0", false, "W F 1 0", "W R 1 0; D - 1 'late'", "", true},
        {"W A 1 0", true, "D - 1 'hi'; W F 1 0", "W F 1 0", "", true},
        {"D A 1 'unread'", true, "D - 1 'hi'; W F 1 0", "D - 1 'and more'", "", false},
        {"D AF 1 'all'", false, "W F 1 0", "D - 1 'late'", "", true},
        {"D A 1 131071", false, "P S 0 1; W F 1 0", "D - 1 1", "W - 1 131072", false},
        {"D A 1 262144", false, "P S 0 1; W F 1 262144", "D - 1 262144", "W - 1 262144", false},
    };
    yamux_run_t run;

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        yamux_peer_t *stream;

        assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
        stream = yamux_run_open(&run);
        stream->keeps = 4;
        must_say(&run, "W S 1 0");
        assert_int_equal(hear(&run, table[i].before), HWS_OK);
        if (table[i].is_unsent)
            assert_int_equal(yamux_run_send(&run, stream, "hi", 2, false), 2);
        yamux_run_leave(&run, stream);
        must_say(&run, table[i].said);
        assert_int_equal(hear(&run, table[i].after), HWS_OK);
        must_say(&run, table[i].said_then);
        assert_int_equal(run.codec->awaited, table[i].is_over ? 0 : 1);
        assert_int_equal(run.budget.used > 0, !table[i].is_over);
        yamux_run_dispose(&run);
    }
}

static void who_is_left_is_not_called_back(void **state)
{
    static const char much[100000];
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    (void)yamux_run_send(&run, yamux_run_open(&run), much, sizeof(much), false);
    assert_true(run.peers[0].is_short);
    yamux_run_leave(&run, &run.peers[0]);
    assert_int_equal(yamux_run_flush(&run, ROOM, NULL), HWS_OK);
    assert_int_equal(run.peers[0].writables, 0);
    yamux_run_dispose(&run);
}

static void who_is_left_unseen_was_never_there(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    yamux_run_leave(&run, yamux_run_open(&run));
    must_say(&run, "");
    assert_int_equal(run.budget.used, 0);
    yamux_run_dispose(&run);
}

static void who_accepted_may_leave_before_hearing_anything(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(hear(&run, "D S 2 'hello'; D SF 4 'all'"), HWS_OK);
    yamux_run_leave(&run, yamux_run_accept(&run));
    yamux_run_leave(&run, yamux_run_accept(&run));
    must_say(&run, "W AF 2 0; W AF 4 0");
    assert_int_equal(run.codec->awaited, 1);
    assert_int_equal(hear(&run, "W F 2 0"), HWS_OK);
    assert_int_equal(run.budget.used, 0);
    yamux_run_dispose(&run);
}

static void who_is_left_is_reset_after_5_minutes(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    (void)yamux_run_open(&run);
    must_say(&run, "W S 1 0");
    assert_int_equal(tick(&run, 4), HWS_OK); /* what it waited before is another matter */
    assert_int_equal(hear(&run, "W A 1 0"), HWS_OK);
    yamux_run_leave(&run, &run.peers[0]);
    must_say(&run, "W F 1 0");
    assert_int_equal(tick(&run, 20), HWS_OK);
    must_say(&run, "");
    assert_int_equal(tick(&run, 3), HWS_OK);
    must_say(&run, "W R 1 0");
    assert_int_equal(run.codec->awaited, 0);
    yamux_run_dispose(&run);
}

static void a_stream_that_nobody_accepts_for_75_seconds_ends_the_session(void **state)
{
    yamux_run_t run;

    (void)state;
    start(&run, 'c');
    assert_int_equal(hear(&run, "W A 1 0"), HWS_OK);
    assert_int_equal(tick(&run, 100), HWS_OK); /* the other one has ended */
    (void)yamux_run_open(&run);
    must_say(&run, "W S 5 0");
    assert_int_equal(tick(&run, 5), HWS_OK);
    assert_int_equal(tick(&run, 1), HWS_ERR_UNACCEPTED);
    assert_int_equal(yamux_run_flush(&run, ROOM, NULL), HWS_ERR_UNACCEPTED);
    yamux_run_dispose(&run);
}

/* ---- going away ---- */

static void a_peer_that_goes_away_had_not_seen_what_had_not_left(void **state)
{
    static const char *const ways[] = {"G - 0 0", "G - 0 1", "X 010000000000000000000000", NULL};
    yamux_text_t told;
    yamux_run_t run;

    (void)state;
    for (int i = 0; i < 4; i++) {
        start(&run, 'c');
        (void)yamux_run_send(&run, yamux_run_open(&run), "unseen", 6, true);
        if (ways[i] == NULL)
            (void)run.codec->ops->feed_end(run.codec);
        else
            (void)hear(&run, ways[i]);
        yamux_run_tell(&run, &told);
        assert_memory_equal(told.bytes, "1: 3: 5: GOAWAY", 15);
        assert_true(run.codec->is_last);
        assert_int_equal(run.codec->room, 0);
        yamux_run_dispose(&run);
    }
}

static void who_goes_away_takes_no_more_and_ends_what_is_open(void **state)
{
    yamux_run_t run;

    (void)state;
    start(&run, 'c');
    assert_int_equal(hear(&run, "W S 2 0"), HWS_OK);
    run.codec->ops->go_away(run.codec);
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->room, 0);
    run.codec->ops->go_away(run.codec);
    must_say(&run, "G - 0 0");
    run.codec->ops->go_away(run.codec);
    assert_int_equal(hear(&run, "D S 4 'late'; D AF 1 'on time'"), HWS_OK);
    must_say(&run, "W R 4 0");
    assert_string_equal(run.peers[0].told.bytes, "'on time' end");
    (void)yamux_run_accept(&run); /* it came before */
    must_say(&run, "W A 2 0");
    yamux_run_dispose(&run);
}

/* ---- signs of life ---- */

static void a_ping_is_asked_for_once_and_counted_once(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(run.codec->ops->ping(run.codec), HWS_OK);
    assert_int_equal(run.codec->ops->ping(run.codec), HWS_AGAIN);
    assert_int_equal(hear(&run, "P A 0 1"), HWS_OK); /* of one that has not left */
    assert_int_equal(run.codec->pongs, 0);
    must_say(&run, "P S 0 1");
    assert_int_equal(hear(&run, "P A 0 2"), HWS_OK);
    assert_int_equal(run.codec->pongs, 0);
    assert_int_equal(run.codec->ops->ping(run.codec), HWS_AGAIN);
    assert_int_equal(hear(&run, "P A 0 1; P A 0 1"), HWS_OK);
    assert_int_equal(run.codec->pongs, 1);
    assert_int_equal(run.codec->ops->ping(run.codec), HWS_OK);
    must_say(&run, "P S 0 2");
    yamux_run_dispose(&run);
}

static void answers_that_cannot_leave_are_bounded(void **state)
{
    static const char *const floods[] = {"P S 0 1", "W S 9 0"};
    yamux_run_t run;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(yamux_run_create(&run, HWS_YAMUX_SERVER), HWS_OK);
        run.codec->ops->go_away(run.codec);
        for (int round = 0; round < 3; round++) {
            for (int j = 0; j < 1024; j++)
                assert_int_equal(hear(&run, floods[i]), HWS_OK);
            if (round < 2)
                assert_int_equal(run.codec->ops->flush(run.codec, 1, &run.out), HWS_OK);
        }
        hws_buffer_clear(&run.out);
        assert_int_equal(yamux_run_flush(&run, 0, NULL), HWS_OK); /* no room */
        assert_int_equal(hws_buffer_size(&run.out), 0);
        assert_int_equal(hear(&run, floods[i]), HWS_ERR_YAMUX_FLOOD);
        must_say(&run, "G - 0 1");
        assert_int_equal(run.codec->ops->flush(run.codec, 0, &run.out), HWS_ERR_YAMUX_FLOOD);
        yamux_run_dispose(&run);
    }
}

/* A peer that opens and resets makes us say and keep nothing. */
static void streams_opened_and_reset_leave_nothing_behind(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_SERVER), HWS_OK);
    (void)hear(&run, "D S 1 100; W R 1 0");
    hws_memory_fail_at(UINT64_MAX);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(hear(&run, "W SR 3 0; W S 5 0; W R 5 0"), HWS_OK);
    assert_int_equal(hws_memory_count(), 0);
    hws_memory_fail_at(0);
    assert_int_equal(run.codec->unaccepted, 0);
    assert_int_equal(run.budget.used, 0);
    must_say(&run, "");

    /* And ours. */
    for (int i = 0; i < 10000; i++) {
        run.count = 0;
        yamux_run_reset(&run, yamux_run_open(&run));
    }
    must_say(&run, "");
    assert_int_equal(run.codec->room, 256);
    yamux_run_dispose(&run);
}

static void what_is_kept_for_later_is_little(void **state)
{
    static const char bytes[1000];
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    (void)yamux_run_open(&run);
    (void)yamux_run_send(&run, &run.peers[0], bytes, sizeof(bytes), false);
    must_say(&run, "D S 1 1000");
    /* Of an idle stream, not what it had to send... */
    hws_memory_fail_at(UINT64_MAX);
    (void)yamux_run_send(&run, &run.peers[0], bytes, 100, false);
    assert_int_equal(hws_memory_count(), 1);
    must_say(&run, "D - 1 100");
    /* ... unless that is little... */
    hws_memory_fail_at(UINT64_MAX);
    (void)yamux_run_send(&run, &run.peers[0], bytes, 100, false);
    assert_int_equal(hws_memory_count(), 0);
    /* ... and 64 streams that are over. */
    for (int i = 1; i <= 100; i++)
        (void)yamux_run_open(&run);
    for (int i = 1; i <= 100; i++)
        yamux_run_reset(&run, &run.peers[i]);
    hws_memory_fail_at(UINT64_MAX);
    for (int i = 1; i <= 100; i++)
        (void)yamux_run_open(&run);
    assert_int_equal(hws_memory_count(), 100 - 64);
    hws_memory_fail_at(0);
    yamux_run_dispose(&run);
}

/* ---- windows ---- */

static char big[1 << 20];

static void a_window_is_opened_again_when_half_of_it_was_consumed(void **state)
{
    hws_codec_options_t options = yamux_options();
    yamux_run_t run;
    yamux_peer_t *stream;

    (void)state;
    options.windows.stream_max = 0; /* it does not grow */
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    stream = yamux_run_open(&run);
    stream->keeps = 4;
    must_say(&run, "W S 1 0");
    assert_int_equal(hear(&run, "D A 1 262144"), HWS_OK);
    must_say(&run, "");
    yamux_run_pay(&run, stream, 131071);
    must_say(&run, "P S 0 1"); /* would it pay to grow? */
    yamux_run_pay(&run, stream, 1);
    must_say(&run, "W - 1 131072");
    yamux_run_pay(&run, stream, 131072);
    must_say(&run, "W - 1 131072");
    assert_int_equal(hear(&run, "D - 1 262143"), HWS_OK);
    assert_int_equal(hear(&run, "D - 1 1"), HWS_OK);
    yamux_run_pay(&run, stream, 100);
    yamux_run_reset(&run, stream);
    yamux_run_pay(&run, stream, 50000); /* nothing is owed */
    must_say(&run, "W R 1 0");
    assert_int_equal(run.budget.used, 0);
    yamux_run_dispose(&run);
}

static void a_window_grows_with_what_is_consumed_in_a_round_trip(void **state)
{
    hws_codec_options_t options = yamux_options();
    yamux_run_t run;
    yamux_peer_t *stream;

    (void)state;
    options.windows.stream_max = 800000;
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    stream = yamux_run_open(&run);
    must_say(&run, "W S 1 0");
    assert_int_equal(run.budget.used, 262144);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(hear(&run, "D - 1 200000"), HWS_OK);
        (void)yamux_run_flush(&run, ROOM, NULL);
    }
    assert_int_equal(run.budget.used, 800000);
    assert_int_equal(hear(&run, "W F 1 0"), HWS_OK);
    (void)yamux_run_send(&run, stream, "", 0, true);
    must_say(&run, "W F 1 0");
    assert_int_equal(run.budget.used, 0);

    /* Without the answer to its PING no other trip begins. */
    (void)yamux_run_open(&run);
    must_say(&run, "W S 3 0");
    assert_int_equal(hear(&run, "D - 3 100000"), HWS_OK);
    must_say(&run, "");
    assert_int_equal(hear(&run, "P A 0 1; D - 3 100000"), HWS_OK);
    must_say(&run, "P S 0 2; W - 3 200000");
    yamux_run_dispose(&run);
}

/* Each has the first window all the same: the protocol gives it. */
static void the_budget_bounds_what_windows_grow(void **state)
{
    yamux_run_t run;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    run.budget.limit = 600000;
    for (int i = 0; i < 4; i++)
        (void)yamux_run_open(&run);
    (void)yamux_run_flush(&run, ROOM, NULL);
    assert_int_equal(run.budget.used, 4 * 262144);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(hear(&run, "D - 1 140000; D - 3 140000"), HWS_OK);
        (void)yamux_run_flush(&run, ROOM, NULL);
    }
    assert_int_equal(run.budget.used, 4 * 262144);
    yamux_run_dispose(&run);
}

/* What a header announces has not come yet: the window is opened by what has. */
static void a_window_is_opened_in_the_midst_of_a_frame(void **state)
{
    hws_codec_options_t options = yamux_options();
    size_t size = yamux_frames("D A 1 262144", frames, sizeof(frames));
    yamux_run_t run;

    (void)state;
    options.windows.stream_max = 0;
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    (void)yamux_run_open(&run);
    must_say(&run, "W S 1 0");
    assert_int_equal(yamux_run_feed(&run, frames, 12 + 131071), HWS_OK);
    must_say(&run, "P S 0 1");
    assert_int_equal(yamux_run_feed(&run, frames + 12 + 131071, 1), HWS_OK);
    must_say(&run, "W - 1 131072");
    assert_int_equal(yamux_run_feed(&run, frames + 12 + 131072, size - 12 - 131072), HWS_OK);
    must_say(&run, "W - 1 131072");
    assert_int_equal(hear(&run, "D - 1 262144"), HWS_OK);
    assert_int_equal(hear(&run, "D - 1 1"), HWS_ERR_YAMUX_WINDOW);
    yamux_run_dispose(&run);
}

static void a_window_is_not_opened_to_who_has_ended(void **state)
{
    yamux_run_t run;

    (void)state;
    start(&run, 'c');
    run.peers[0].keeps = 4;
    assert_int_equal(hear(&run, "D AF 1 262144"), HWS_OK);
    yamux_run_pay(&run, &run.peers[0], 262144);
    must_say(&run, "");
    yamux_run_dispose(&run);
}

static void a_slow_reader_has_a_window_unread_and_holds_nobody_up(void **state)
{
    yamux_run_t run;

    (void)state;
    start(&run, 'c');
    run.peers[0].keeps = 4;
    assert_int_equal(hear(&run, "D A 1 262144"), HWS_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(hear(&run, "D - 3 200000"), HWS_OK);
        (void)yamux_run_flush(&run, ROOM, NULL);
    }
    assert_int_equal(run.peers[1].received, 20 * 200000);
    assert_true(run.codec->wants_bytes);
    yamux_run_dispose(&run);
}

static void what_is_sent_keeps_to_the_window_and_goes_on_when_it_opens(void **state)
{
    yamux_run_t run;
    yamux_peer_t *stream;
    uint64_t sent = 0;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    stream = yamux_run_open(&run);
    for (int i = 0; i < 10; i++) {
        sent += yamux_run_send(&run, stream, big, sizeof(big), false);
        (void)yamux_run_flush(&run, ROOM, NULL);
    }
    /* A window has left, and what a stream may have unsent waits. */
    assert_int_equal(sent, 262144 + 65536);
    assert_int_equal(yamux_said(&run, 1)->window, 0);
    assert_int_equal(stream->writables, 4);
    assert_int_equal(hear(&run, "W A 1 50000"), HWS_OK);
    must_say(&run, "D - 1 16384; D - 1 16384; D - 1 16384; D - 1 848");
    assert_int_equal(stream->writables, 4);
    assert_int_equal(hear(&run, "W - 1 10000"), HWS_OK);
    must_say(&run, "D - 1 10000");
    assert_int_equal(hear(&run, "W - 1 136"), HWS_OK);
    must_say(&run, "D - 1 136");
    assert_int_equal(stream->writables, 5);
    assert_int_equal(yamux_run_send(&run, stream, big, 100, true), 100);
    must_say(&run, "");
    assert_int_equal(hear(&run, "W - 1 4294967295"), HWS_OK);
    must_say(&run, "D - 1 5500; W F 1 0");
    yamux_run_dispose(&run);
}

static void what_may_be_unsent_is_little_for_each_when_it_is_much_in_all(void **state)
{
    hws_codec_options_t options = yamux_options();
    yamux_run_t run;

    (void)state;
    options.buffer = 100000;
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    assert_int_equal(yamux_run_send(&run, yamux_run_open(&run), big, sizeof(big), true), 65536);
    assert_int_equal(yamux_run_send(&run, yamux_run_open(&run), big, sizeof(big), true), 65536);
    assert_int_equal(yamux_run_send(&run, yamux_run_open(&run), big, sizeof(big), true), 16384);
    assert_int_equal(yamux_run_send(&run, &run.peers[1], big, sizeof(big), true), 0);
    yamux_run_reset(&run, &run.peers[0]);
    assert_int_equal(yamux_run_send(&run, yamux_run_open(&run), big, 50000, true), 50000);
    yamux_run_dispose(&run);

    options.buffer = 1;
    assert_int_equal(yamux_run_create_with(&run, HWS_YAMUX_CLIENT, options), HWS_OK);
    assert_int_equal(yamux_run_send(&run, yamux_run_open(&run), big, sizeof(big), true), 16384);
    yamux_run_dispose(&run);
}

static void streams_take_turns_and_the_urgent_go_first(void **state)
{
    yamux_run_t run;
    yamux_peer_t *streams[3];

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    for (int i = 0; i < 3; i++) {
        streams[i] = yamux_run_open(&run);
        streams[i]->stream.urgency = i == 2 ? 0 : 5;
        (void)yamux_run_send(&run, streams[i], big, 20000, true);
    }
    assert_int_equal(run.codec->ops->ping(run.codec), HWS_OK);
    must_say(&run, "P S 0 1; D S 5 16384; D - 5 3616; D S 1 16384; D S 3 16384; D - 1 3616; "
                   "D - 3 3616; W F 5 0; W F 1 0; W F 3 0");
    yamux_run_dispose(&run);
}

static void a_flush_says_about_as_much_as_there_is_room_for(void **state)
{
    yamux_run_t run;
    yamux_peer_t *stream;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    stream = yamux_run_open(&run);
    (void)yamux_run_send(&run, stream, big, 50000, false);
    assert_int_equal(yamux_run_flush(&run, 0, NULL), HWS_OK);
    assert_int_equal(hws_buffer_size(&run.out), 0);
    assert_int_equal(yamux_run_flush(&run, 1, NULL), HWS_OK);
    assert_int_equal(hws_buffer_size(&run.out), 12 + 16384);
    assert_int_equal(yamux_run_flush(&run, 16385, NULL), HWS_OK);
    assert_int_equal(hws_buffer_size(&run.out), 3 * (12 + 16384));
    yamux_run_dispose(&run);
}

/* What was sent and ended goes on leaving when its stream has long gone. */
static void last_bytes_leave_after_their_stream(void **state)
{
    yamux_run_t run;
    yamux_peer_t *stream;

    (void)state;
    assert_int_equal(yamux_run_create(&run, HWS_YAMUX_CLIENT), HWS_OK);
    stream = yamux_run_open(&run);
    (void)yamux_run_flush(&run, ROOM, NULL);
    assert_int_equal(hear(&run, "W AF 1 0"), HWS_OK);
    (void)yamux_run_send(&run, stream, "bye", 3, true);
    assert_true(stream->stream.part == NULL);
    memset(&stream->stream, 0, sizeof(stream->stream));
    must_say(&run, "D - 1 'bye'; W F 1 0");
    assert_int_equal(hear(&run, "W R 1 0"), HWS_OK);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    yamux_run_dispose(&run);
}

/* ---- two of them ---- */

static bool pump(yamux_run_t *from, yamux_run_t *to, size_t room)
{
    size_t size;

    assert_int_equal(yamux_run_flush(from, room, NULL), HWS_OK);
    size = hws_buffer_size(&from->out);
    assert_int_equal(yamux_run_feed(to, hws_buffer_bytes(&from->out), size), HWS_OK);
    hws_buffer_clear(&from->out);
    return size > 0;
}

/* Each stream sends `total` bytes and its end; the other side echoes nothing, but sends as much. */
static void exchange(uint32_t streams, uint64_t total, size_t room)
{
    uint64_t sent[2][16] = {{0}};
    yamux_run_t runs[2];
    bool is_going = true;

    assert_int_equal(yamux_run_create(&runs[0], HWS_YAMUX_CLIENT), HWS_OK);
    assert_int_equal(yamux_run_create(&runs[1], HWS_YAMUX_SERVER), HWS_OK);
    for (uint32_t i = 0; i < streams; i++)
        (void)yamux_run_open(&runs[0]);
    while (is_going) {
        is_going = false;
        for (int side = 0; side < 2; side++) {
            for (uint32_t i = 0; i < runs[side].count; i++) {
                yamux_peer_t *peer = &runs[side].peers[i];
                size_t size =
                    total - sent[side][i] < 70000 ? (size_t)(total - sent[side][i]) : 70000;
                size_t at = (size_t)(sent[side][i] % 500000);

                if (peer->has_ended)
                    continue;
                sent[side][i] += yamux_run_send(&runs[side], peer, big + at, size,
                                                sent[side][i] + size == total);
            }
            is_going |= pump(&runs[side], &runs[1 - side], room);
            while (runs[1 - side].codec->unaccepted > 0)
                (void)yamux_run_accept(&runs[1 - side]);
        }
    }
    for (int side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < streams; i++) {
            yamux_peer_t *peer = &runs[side].peers[i];

            assert_int_equal(peer->status, HWS_OK);
            assert_true(peer->is_done);
            assert_int_equal(peer->received, total);
            assert_int_equal(peer->sum, runs[0].peers[0].sum);
        }
        assert_int_equal(runs[side].codec->room, 256);
        assert_int_equal(runs[side].budget.used, 0);
    }
    yamux_run_dispose(&runs[0]);
    yamux_run_dispose(&runs[1]);
}

static void two_codecs_carry_what_they_are_given(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 2654435761U >> 13);
    exchange(1, 3000000, 65536);
    exchange(10, 400000, 65536);
    exchange(3, 100000, 1);
    exchange(16, 10, 65536);
    exchange(1, 0, 65536);
}

/* ---- memory ---- */

static void scene(yamux_run_t *run)
{
    yamux_peer_t *stream;
    size_t taken;

    if (yamux_run_create(run, HWS_YAMUX_CLIENT) != HWS_OK || (stream = yamux_run_open(run)) == NULL)
        return;
    if (run->codec->ops->send(run->codec, &stream->stream, big, 20000, false, NULL, &taken) !=
        HWS_OK)
        yamux_run_reset(run, stream);
    if (yamux_run_flush(run, ROOM, NULL) != HWS_OK ||
        hear(run, "D S 2 1000; P S 0 1; D - 2 1000") != HWS_OK)
        return;
    if (run->codec->unaccepted > 0)
        (void)yamux_run_accept(run);
    (void)yamux_run_flush(run, ROOM, NULL);
}

/* It may cost the stream, or the connection; never more. */
static void every_allocation_may_fail(void **state)
{
    uint64_t count;
    uint64_t n = 0;

    (void)state;
    do {
        yamux_run_t run;

        hws_memory_fail_at(++n);
        scene(&run);
        count = hws_memory_count();
        hws_memory_fail_at(0);
        if (run.failure != HWS_OK) {
            assert_int_equal(run.failure, HWS_ERR_NOMEM);
            hws_buffer_clear(&run.out);
            (void)run.codec->ops->flush(run.codec, ROOM, &run.out);
            assert_true(hws_buffer_size(&run.out) <= 12);
        }
        yamux_run_dispose(&run);
    } while (count >= n);
    assert_true(n > 8);
}

/* ---- the corpus ---- */

/* As fuzz_yamux.c reads it: a byte for the way it is fed, then the bytes. */
static int write_corpus(const char *folder)
{
    for (size_t i = 0; i < YAMUX_VECTOR_COUNT; i++) {
        size_t size = yamux_frames(yamux_vectors[i].frames, frames, sizeof(frames));
        char path[512];
        FILE *file;

        if (size > 1000)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, yamux_vectors[i].name);
        if ((file = fopen(path, "wb")) == NULL)
            return 1;
        fputc(yamux_vectors[i].role == 'c' ? 0 : 1, file); /* fed as it is */
        fwrite(frames, 1, size, file);
        fclose(file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_has_its_outcome_however_it_is_cut),
        cmocka_unit_test(every_prefix_can_be_the_last),
        cmocka_unit_test(a_fin_between_frames_of_an_idle_session_is_no_error),
        cmocka_unit_test(one_flush_has_the_frames_of_all_streams),
        cmocka_unit_test(room_is_what_the_peer_has_not_acknowledged_or_what_we_may_open),
        cmocka_unit_test(a_stream_given_up_before_it_left_was_never_there),
        cmocka_unit_test(a_stream_reset_in_the_midst_of_a_frame_hears_no_more_of_it),
        cmocka_unit_test(what_is_not_accepted_waits_and_256_are_enough),
        cmocka_unit_test(who_accepts_nothing_refuses_at_once),
        cmocka_unit_test(a_peer_has_8192_streams_at_most),
        cmocka_unit_test(nothing_is_there_to_accept_where_nothing_came),
        cmocka_unit_test(an_answer_goes_with_the_acknowledgement),
        cmocka_unit_test(a_reset_of_what_was_accepted_says_so),
        cmocka_unit_test(an_answer_is_an_acknowledgement),
        cmocka_unit_test(who_is_left_says_its_last_and_what_still_comes_is_thrown_away),
        cmocka_unit_test(who_is_left_is_not_called_back),
        cmocka_unit_test(who_is_left_unseen_was_never_there),
        cmocka_unit_test(who_accepted_may_leave_before_hearing_anything),
        cmocka_unit_test(who_is_left_is_reset_after_5_minutes),
        cmocka_unit_test(a_stream_that_nobody_accepts_for_75_seconds_ends_the_session),
        cmocka_unit_test(a_peer_that_goes_away_had_not_seen_what_had_not_left),
        cmocka_unit_test(who_goes_away_takes_no_more_and_ends_what_is_open),
        cmocka_unit_test(a_ping_is_asked_for_once_and_counted_once),
        cmocka_unit_test(answers_that_cannot_leave_are_bounded),
        cmocka_unit_test(streams_opened_and_reset_leave_nothing_behind),
        cmocka_unit_test(what_is_kept_for_later_is_little),
        cmocka_unit_test(a_window_is_opened_again_when_half_of_it_was_consumed),
        cmocka_unit_test(a_window_is_opened_in_the_midst_of_a_frame),
        cmocka_unit_test(a_window_grows_with_what_is_consumed_in_a_round_trip),
        cmocka_unit_test(the_budget_bounds_what_windows_grow),
        cmocka_unit_test(a_window_is_not_opened_to_who_has_ended),
        cmocka_unit_test(a_slow_reader_has_a_window_unread_and_holds_nobody_up),
        cmocka_unit_test(what_is_sent_keeps_to_the_window_and_goes_on_when_it_opens),
        cmocka_unit_test(what_may_be_unsent_is_little_for_each_when_it_is_much_in_all),
        cmocka_unit_test(streams_take_turns_and_the_urgent_go_first),
        cmocka_unit_test(a_flush_says_about_as_much_as_there_is_room_for),
        cmocka_unit_test(last_bytes_leave_after_their_stream),
        cmocka_unit_test(two_codecs_carry_what_they_are_given),
        cmocka_unit_test(every_allocation_may_fail),
    };

    if (argc > 1)
        return write_corpus(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
