#include "base/buffer.h"

#include "base/memory.h"
#include "base/random.h"
#include "support/cmocka.h"

#include <string.h>

static int begin(void **state)
{
    static hws_buffer_t buffer;

    memset(&buffer, 0, sizeof(buffer));
    *state = &buffer;
    return 0;
}

static int end(void **state)
{
    hws_memory_fail_at(0);
    hws_buffer_dispose(*state);
    return 0;
}

static void append(hws_buffer_t *buffer, const char *text)
{
    assert_int_equal(hws_buffer_append(buffer, text, strlen(text)), HWS_OK);
}

#define assert_holds(buffer, text)                                                                 \
    do {                                                                                           \
        assert_int_equal(hws_buffer_size(buffer), strlen(text));                                   \
        assert_memory_equal(hws_buffer_bytes(buffer), text, strlen(text));                         \
    } while (0)

static void zeros_are_an_empty_buffer(void **state)
{
    hws_buffer_t *buffer = *state;

    assert_true(hws_buffer_is_empty(buffer));
    assert_int_equal(hws_buffer_size(buffer), 0);
    assert_int_equal(hws_buffer_append(buffer, "", 0), HWS_OK);
    assert_int_equal(hws_buffer_reserve(buffer, 0), HWS_OK);
    assert_null(buffer->data);
    hws_buffer_dispose(buffer);
}

static void what_is_appended_behind_is_consumed_in_front(void **state)
{
    hws_buffer_t *buffer = *state;

    append(buffer, "hello ");
    append(buffer, "world");
    assert_holds(buffer, "hello world");
    hws_buffer_consume(buffer, 6);
    assert_holds(buffer, "world");
    append(buffer, "!");
    assert_holds(buffer, "world!");
}

static void an_emptied_buffer_starts_over_in_its_block(void **state)
{
    hws_buffer_t *buffer = *state;
    char *data;

    append(buffer, "hello");
    data = buffer->data;
    hws_buffer_consume(buffer, 5);
    assert_true(hws_buffer_is_empty(buffer));
    assert_int_equal(buffer->head, 0);
    append(buffer, "again");
    hws_buffer_clear(buffer);
    assert_true(hws_buffer_is_empty(buffer));
    assert_ptr_equal(buffer->data, data);
}

static void a_disposed_buffer_can_be_used_again(void **state)
{
    hws_buffer_t *buffer = *state;

    append(buffer, "hello");
    hws_buffer_dispose(buffer);
    assert_null(buffer->data);
    append(buffer, "again");
    assert_holds(buffer, "again");
}

static void reserved_room_needs_no_allocation(void **state)
{
    static const char zeros[1000];
    hws_buffer_t *buffer = *state;

    append(buffer, "hello");
    assert_int_equal(hws_buffer_reserve(buffer, sizeof(zeros)), HWS_OK);
    hws_memory_fail_at(1);
    assert_int_equal(hws_buffer_append(buffer, zeros, sizeof(zeros)), HWS_OK);
    assert_int_equal(hws_memory_count(), 0);
    assert_memory_equal(hws_buffer_bytes(buffer), "hello", 5);
}

static void want_of_memory_leaves_the_buffer_as_it_was(void **state)
{
    static const char zeros[1000];
    hws_buffer_t *buffer = *state;

    append(buffer, "hello");
    hws_memory_fail_at(1);
    assert_int_equal(hws_buffer_append(buffer, zeros, sizeof(zeros)), HWS_ERR_NOMEM);
    assert_holds(buffer, "hello");
    assert_int_equal(hws_buffer_reserve(buffer, SIZE_MAX), HWS_ERR_NOMEM);
    assert_int_equal(hws_buffer_reserve(buffer, SIZE_MAX / 2), HWS_ERR_NOMEM);
    assert_holds(buffer, "hello");
}

/* A reader a little behind its writer: the window slides through the block without end. */
static void a_sliding_window_allocates_seldom(void **state)
{
    static const char zeros[200];
    hws_buffer_t *buffer = *state;
    int i;

    assert_int_equal(hws_buffer_append(buffer, zeros, 200), HWS_OK);
    hws_memory_fail_at(UINT64_MAX);
    for (i = 0; i < 10000; i++) {
        hws_buffer_consume(buffer, 10);
        assert_int_equal(hws_buffer_append(buffer, zeros, 10), HWS_OK);
    }
    assert_in_range(hws_memory_count(), 0, 2);
    assert_int_equal(buffer->capacity, 512); /* twice what it holds: so moves are seldom, too */
}

static void any_appends_and_consumes_agree_with_one_long_string(void **state)
{
    enum { ALL = 200000 };
    static char all[ALL];
    hws_buffer_t *buffer = *state;
    hws_random_t random;
    size_t from = 0;
    size_t to = 0;
    size_t i;

    hws_random_init(&random, 3);
    for (i = 0; i < ALL; i++)
        all[i] = (char)hws_random_next(&random);
    while (to < ALL) {
        size_t n = hws_random_below(&random, 700);

        n = n < ALL - to ? n : ALL - to;
        assert_int_equal(hws_buffer_append(buffer, all + to, n), HWS_OK);
        to += n;
        n = hws_random_below(&random, (uint32_t)(to - from) + 1);
        hws_buffer_consume(buffer, n);
        from += n;
        assert_int_equal(hws_buffer_size(buffer), to - from);
        assert_memory_equal(hws_buffer_bytes(buffer), all + from, to - from);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
        TEST(zeros_are_an_empty_buffer),
        TEST(what_is_appended_behind_is_consumed_in_front),
        TEST(an_emptied_buffer_starts_over_in_its_block),
        TEST(a_disposed_buffer_can_be_used_again),
        TEST(reserved_room_needs_no_allocation),
        TEST(want_of_memory_leaves_the_buffer_as_it_was),
        TEST(a_sliding_window_allocates_seldom),
        TEST(any_appends_and_consumes_agree_with_one_long_string),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
