#include "transport/tls_joiner.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <string.h>

/* Messages of 4 + 3 and 4 + 0 bytes. */
#define HELLO "\x02\x00\x00\x03xyz"
#define DONE "\x0e\x00\x00\x00"
#define HELLO_RECORD "\x16\x03\x03\x00\x07" HELLO
#define DONE_RECORD "\x16\x03\x03\x00\x04" DONE
#define CHANGE "\x14\x03\x03\x00\x01\x01"
#define ALERT "\x15\x03\x03\x00\x02\x02\x28"
#define SEALED "\x16\x03\x03\x00\x05?????"

typedef struct {
    hws_joiner_t joiner;
    hws_buffer_t out;
} run_t;

/* Feeds `bytes` in pieces; what mbedTLS would get comes together in `out`. */
static void feed(run_t *run, const char *bytes, size_t size, size_t piece)
{
    while (size > 0) {
        hws_slice_t in = {bytes, size < piece ? size : piece};

        bytes += in.size;
        size -= in.size;
        do {
            hws_buffer_t *ready = &run->joiner.ready;

            assert_int_equal(hws_joiner_pull(&run->joiner, &in), HWS_OK);
            if (!hws_buffer_is_empty(ready))
                assert_int_equal(
                    hws_buffer_append(&run->out, hws_buffer_bytes(ready), hws_buffer_size(ready)),
                    HWS_OK);
            hws_buffer_clear(ready);
            if (run->joiner.is_through && in.size > 0) {
                assert_int_equal(hws_buffer_append(&run->out, in.data, in.size), HWS_OK);
                in.size = 0;
            }
        } while (in.size > 0);
    }
}

static void check(const char *in, size_t in_size, const char *out, size_t out_size, bool is_through)
{
    size_t piece;

    for (piece = 1; piece <= in_size; piece++) {
        run_t run;

        memset(&run, 0, sizeof(run));
        feed(&run, in, in_size, piece);
        assert_int_equal(hws_buffer_size(&run.out), out_size);
        if (out_size > 0)
            assert_memory_equal(hws_buffer_bytes(&run.out), out, out_size);
        assert_int_equal(run.joiner.is_through, is_through);
        hws_joiner_dispose(&run.joiner);
        hws_buffer_dispose(&run.out);
    }
}

#define assert_gives(in, out, is_through)                                                          \
    check((in), sizeof(in) - 1, (out), sizeof(out) - 1, is_through)

static void each_message_gets_a_record(void **state)
{
    (void)state;
    assert_gives(HELLO_RECORD, HELLO_RECORD, false);
    assert_gives("\x16\x03\x03\x00\x0b" HELLO DONE, HELLO_RECORD DONE_RECORD, false);
    assert_gives("\x16\x03\x03\x00\x03\x02\x00\x00\x16\x03\x03\x00\x04\x03xyz", HELLO_RECORD,
                 false);
    assert_gives("\x16\x03\x03\x00\x05\x02\x00\x00\x03x\x16\x03\x03\x00\x06yz" DONE,
                 HELLO_RECORD DONE_RECORD, false);
    assert_gives("\x16\x03\x01\x00\x04" DONE, "\x16\x03\x01\x00\x04" DONE, false);
    assert_gives("\x16\x03\x03\x00\x00" DONE_RECORD, DONE_RECORD, false);
}

static void nothing_comes_before_a_message_is_whole(void **state)
{
    (void)state;
    assert_gives("\x16\x03\x03\x00\x05\x02\x00\x00\x03x\x16\x03\x03\x00\x01y", "", false);
    assert_gives("\x16\x03\x03\x00", "", false);
}

static void all_passes_from_the_change_of_the_cipher_on(void **state)
{
    (void)state;
    assert_gives(DONE_RECORD CHANGE SEALED "any bytes", DONE_RECORD CHANGE SEALED "any bytes",
                 true);
}

static void an_alert_passes_at_once(void **state)
{
    (void)state;
    assert_gives(ALERT, ALERT, false);
    assert_gives("\x16\x03\x03\x00\x02\x02\x00" ALERT, ALERT, false);
}

static void what_no_tls_sends_is_left_to_be_refused(void **state)
{
    (void)state;
    assert_gives("\x16\x03\x03\xff\xff....", "\x16\x03\x03\xff\xff....", true);
    assert_gives("\x16\x03\x03\x00\x04\x02\xff\xff\xff....",
                 "\x16\x03\x03\x00\x04\x02\xff\xff\xff....", true);
    assert_gives("\x16\x03\x03\x00\x02\x02\x00" CHANGE, "\x16\x03\x03\x00\x02\x02\x00" CHANGE,
                 true);
}

static void want_of_memory_is_a_code(void **state)
{
    static const char bytes[] = HELLO_RECORD;
    uint64_t n;
    int rc = HWS_ERR_NOMEM;

    (void)state;
    for (n = 1; rc != HWS_OK; n++) {
        hws_slice_t in = {bytes, sizeof(bytes) - 1};
        hws_joiner_t joiner;

        memset(&joiner, 0, sizeof(joiner));
        hws_memory_fail_at(n);
        rc = hws_joiner_pull(&joiner, &in);
        hws_memory_fail_at(0);
        assert_true(rc == HWS_OK || rc == HWS_ERR_NOMEM);
        hws_joiner_dispose(&joiner);
    }
    assert_int_equal(n, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_message_gets_a_record),
        cmocka_unit_test(nothing_comes_before_a_message_is_whole),
        cmocka_unit_test(all_passes_from_the_change_of_the_cipher_on),
        cmocka_unit_test(an_alert_passes_at_once),
        cmocka_unit_test(what_no_tls_sends_is_left_to_be_refused),
        cmocka_unit_test(want_of_memory_is_a_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
