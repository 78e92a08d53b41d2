#include "pool/inbox.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

static void assert_holds(const hws_inbox_t *inbox, const char *text)
{
    hws_slice_t bytes = hws_inbox_bytes(inbox);

    assert_int_equal(hws_inbox_size(inbox), strlen(text));
    assert_int_equal(bytes.size, strlen(text));
    assert_non_null(bytes.data);
    assert_memory_equal(bytes.data, text, bytes.size);
}

static void a_zeroed_inbox_is_empty(void **state)
{
    hws_inbox_t inbox = {.view = {NULL, 0}};

    (void)state;
    assert_holds(&inbox, "");
    hws_inbox_take(&inbox, 0);
    assert_int_equal(hws_inbox_keep(&inbox), HWS_OK);
    hws_inbox_dispose(&inbox);
}

static void what_is_taken_during_the_input_is_never_copied(void **state)
{
    hws_inbox_t inbox = {.view = {NULL, 0}};
    const char *bytes = "abcdef";

    (void)state;
    hws_memory_fail_at(1);
    assert_int_equal(hws_inbox_put(&inbox, bytes, 6), HWS_OK);
    assert_ptr_equal(hws_inbox_bytes(&inbox).data, bytes);
    hws_inbox_take(&inbox, 2);
    assert_holds(&inbox, "cdef");
    hws_inbox_take(&inbox, 4);
    assert_int_equal(hws_memory_count(), 0);
    hws_memory_fail_at(0);
    assert_holds(&inbox, "");
    hws_inbox_dispose(&inbox);
}

static void what_is_kept_outlives_the_input(void **state)
{
    hws_inbox_t inbox = {.view = {NULL, 0}};
    char bytes[] = "abcdef";

    (void)state;
    assert_int_equal(hws_inbox_put(&inbox, bytes, 6), HWS_OK);
    hws_inbox_take(&inbox, 1);
    assert_int_equal(hws_inbox_keep(&inbox), HWS_OK);
    memset(bytes, '-', sizeof(bytes));
    assert_holds(&inbox, "bcdef");
    hws_inbox_dispose(&inbox);
}

static void pieces_of_one_input_come_together(void **state)
{
    hws_inbox_t inbox = {.view = {NULL, 0}};
    char bytes[] = "one,two";

    (void)state;
    assert_int_equal(hws_inbox_put(&inbox, bytes, 3), HWS_OK);
    assert_int_equal(hws_inbox_put(&inbox, bytes + 4, 3), HWS_OK);
    memset(bytes, '-', 3); /* the first has been copied, the second as well */
    assert_holds(&inbox, "onetwo");
    hws_inbox_take(&inbox, 4);
    assert_holds(&inbox, "wo");
    hws_inbox_dispose(&inbox);
}

static void out_of_memory_loses_nothing_that_was_there(void **state)
{
    hws_inbox_t inbox = {.view = {NULL, 0}};

    (void)state;
    assert_int_equal(hws_inbox_put(&inbox, "abc", 3), HWS_OK);
    hws_memory_fail_at(1);
    assert_int_equal(hws_inbox_put(&inbox, "def", 3), HWS_ERR_NOMEM);
    hws_memory_fail_at(1);
    assert_int_equal(hws_inbox_keep(&inbox), HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    assert_holds(&inbox, "abc");
    hws_inbox_dispose(&inbox);
}

/* Bytes go in and out in pieces of every size, before and after the end of their input. */
static void what_goes_in_comes_out_in_order(void **state)
{
    hws_inbox_t inbox = {.view = {NULL, 0}};
    unsigned char piece[300];
    unsigned char in = 0;
    unsigned char out = 0;
    unsigned round;

    (void)state;
    srand(5);
    for (round = 0; round < 20000; round++) {
        size_t size = (size_t)rand() % sizeof(piece);
        size_t i;

        for (i = 0; i < size; i++)
            piece[i] = in++;
        if (size > 0)
            assert_int_equal(hws_inbox_put(&inbox, (const char *)piece, size), HWS_OK);
        if (rand() % 2)
            assert_int_equal(hws_inbox_keep(&inbox), HWS_OK);
        size = (size_t)rand() % (hws_inbox_size(&inbox) + 1);
        for (i = 0; i < size; i++)
            assert_int_equal((unsigned char)hws_inbox_bytes(&inbox).data[i], out++);
        hws_inbox_take(&inbox, size);
        assert_int_equal(hws_inbox_keep(&inbox), HWS_OK);
    }
    hws_inbox_dispose(&inbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_inbox_is_empty),
        cmocka_unit_test(what_is_taken_during_the_input_is_never_copied),
        cmocka_unit_test(what_is_kept_outlives_the_input),
        cmocka_unit_test(pieces_of_one_input_come_together),
        cmocka_unit_test(out_of_memory_loses_nothing_that_was_there),
        cmocka_unit_test(what_goes_in_comes_out_in_order),
    };

    return cmocka_run_group_tests_name("inbox", tests, NULL, NULL);
}
