/* The raw codec: bytes as they are, and who says when a stream is over. */
#include "base/memory.h"
#include "codec/raw.h"
#include "support/cmocka.h"

#include <string.h>

typedef struct {
    hws_stream_t stream;
    hws_codec_t *codec;
    hws_buffer_t out;
    hws_buffer_t in;
    size_t consumes; /* of each piece, at most */
    unsigned ends;
    int status;
} run_t;

static run_t *run_of(hws_stream_t *stream)
{
    return HWS_CONTAINER(stream, run_t, stream);
}

static size_t on_body(hws_stream_t *stream, const char *data, size_t size)
{
    run_t *run = run_of(stream);

    assert_int_equal(run->ends, 0);
    assert_int_equal(hws_buffer_append(&run->in, data, size), HWS_OK);
    return size < run->consumes ? size : run->consumes;
}

static void on_end(hws_stream_t *stream, int status)
{
    run_of(stream)->ends++;
    run_of(stream)->status = status;
}

static const hws_stream_events_t events = {.on_body = on_body, .on_end = on_end};

static void start(run_t *run, size_t buffer)
{
    hws_codec_options_t options = {.header = 65536, .buffer = buffer};

    *run = (run_t){.stream.events = &events, .consumes = SIZE_MAX};
    assert_int_equal(hws_raw_create(&options, &run->codec), HWS_OK);
    assert_int_equal(run->codec->room, 1);
    assert_int_equal(run->codec->ops->open(run->codec, &run->stream, NULL, &run->out), HWS_OK);
    assert_int_equal(run->codec->room, 0);
}

static void stop(run_t *run)
{
    run->codec->ops->destroy(run->codec);
    hws_buffer_dispose(&run->out);
    hws_buffer_dispose(&run->in);
}

static int feed(run_t *run, const char *text)
{
    return run->codec->ops->feed(run->codec, text, strlen(text));
}

static void send(run_t *run, const char *text)
{
    size_t taken = 99;

    assert_int_equal(run->codec->ops->send(run->codec, &run->stream, text, strlen(text), false,
                                           &run->out, &taken),
                     HWS_OK);
    assert_int_equal(taken, strlen(text));
}

static void leave(run_t *run)
{
    run->codec->ops->leave(run->codec, &run->stream);
}

static void credit(run_t *run, size_t size)
{
    assert_int_equal(run->codec->ops->credit(run->codec, &run->stream, size), HWS_OK);
}

static void assert_bytes(const hws_buffer_t *buffer, const char *wanted)
{
    assert_int_equal(hws_buffer_size(buffer), strlen(wanted));
    assert_memory_equal(hws_buffer_bytes(buffer), wanted, strlen(wanted));
}

static void bytes_pass_as_they_are(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    send(&run, "PING\r\n");
    send(&run, "more");
    assert_bytes(&run.out, "PING\r\nmore");
    assert_int_equal(feed(&run, "+PO"), HWS_OK);
    assert_int_equal(feed(&run, ""), HWS_OK);
    assert_int_equal(feed(&run, "NG\r\n"), HWS_OK);
    assert_bytes(&run.in, "+PONG\r\n");
    assert_int_equal(run.ends, 0);
    stop(&run);
}

static void the_owner_ends_a_stream_and_another_may_follow(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    send(&run, "a");
    leave(&run);
    assert_int_equal(run.codec->room, 1);
    assert_false(run.codec->is_last);
    assert_int_equal(run.ends, 0);
    assert_int_equal(run.codec->ops->open(run.codec, &run.stream, NULL, &run.out), HWS_OK);
    send(&run, "b");
    leave(&run);
    assert_bytes(&run.out, "ab");
    stop(&run);
}

static void bytes_on_an_idle_connection_spend_it(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    leave(&run);
    assert_int_equal(feed(&run, ""), HWS_OK);
    assert_int_equal(feed(&run, "x"), HWS_ERR_UNEXPECTED);
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->room, 0);
    assert_true(hws_buffer_is_empty(&run.in));
    stop(&run);
}

static void a_reset_spends_the_connection(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    run.codec->ops->reset(run.codec, &run.stream, 0);
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->room, 0);
    assert_int_equal(feed(&run, "x"), HWS_ERR_UNEXPECTED);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    assert_int_equal(run.ends, 0);
    stop(&run);
}

static void a_reset_of_an_ended_stream_changes_nothing(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    leave(&run);
    run.codec->ops->reset(run.codec, &run.stream, 0);
    assert_int_equal(run.codec->room, 1);
    stop(&run);
}

static void a_fin_is_the_regular_end_of_what_comes_not_of_what_goes(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    assert_int_equal(feed(&run, "last"), HWS_OK);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    assert_int_equal(run.ends, 1);
    assert_int_equal(run.status, HWS_OK);
    assert_true(run.codec->is_last);
    send(&run, "still");
    assert_bytes(&run.out, "still");
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    assert_int_equal(run.ends, 1);
    leave(&run);
    assert_int_equal(run.codec->room, 0);
    stop(&run);
}

static void a_fin_while_idle_spends_the_connection(void **state)
{
    run_t run;

    (void)state;
    start(&run, 100);
    leave(&run);
    assert_int_equal(run.codec->ops->feed_end(run.codec), HWS_OK);
    assert_int_equal(run.ends, 0);
    assert_true(run.codec->is_last);
    assert_int_equal(run.codec->room, 0);
    stop(&run);
}

static void reading_stops_when_a_buffer_is_unread_and_goes_on_at_its_half(void **state)
{
    run_t run;

    (void)state;
    start(&run, 10);
    run.consumes = 1;
    assert_int_equal(feed(&run, "0123456789"), HWS_OK);
    assert_true(run.codec->wants_bytes);
    run.consumes = 0;
    assert_int_equal(feed(&run, "0"), HWS_OK);
    assert_false(run.codec->wants_bytes);
    credit(&run, 4);
    assert_false(run.codec->wants_bytes);
    credit(&run, 1);
    assert_true(run.codec->wants_bytes);
    credit(&run, 5);

    /* What one stream left unread does not hold up the next. */
    assert_int_equal(feed(&run, "0123456789"), HWS_OK);
    assert_false(run.codec->wants_bytes);
    leave(&run);
    assert_true(run.codec->wants_bytes);
    credit(&run, 10);
    assert_true(run.codec->wants_bytes);
    stop(&run);
}

static void every_allocation_may_fail(void **state)
{
    hws_codec_options_t options = {.header = 65536, .buffer = 100};
    hws_codec_t *codec;
    size_t taken = 99;
    run_t run;

    (void)state;
    hws_memory_fail_at(1);
    assert_int_equal(hws_raw_create(&options, &codec), HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    start(&run, 100);
    hws_memory_fail_at(1);
    assert_int_equal(run.codec->ops->send(run.codec, &run.stream, "a", 1, false, &run.out, &taken),
                     HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    assert_int_equal(taken, 99);
    assert_int_equal(run.codec->room, 0);
    send(&run, "a");
    leave(&run);
    assert_int_equal(run.codec->room, 1);
    stop(&run);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_as_they_are),
        cmocka_unit_test(the_owner_ends_a_stream_and_another_may_follow),
        cmocka_unit_test(bytes_on_an_idle_connection_spend_it),
        cmocka_unit_test(a_reset_spends_the_connection),
        cmocka_unit_test(a_reset_of_an_ended_stream_changes_nothing),
        cmocka_unit_test(a_fin_is_the_regular_end_of_what_comes_not_of_what_goes),
        cmocka_unit_test(a_fin_while_idle_spends_the_connection),
        cmocka_unit_test(reading_stops_when_a_buffer_is_unread_and_goes_on_at_its_half),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
