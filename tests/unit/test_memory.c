#include "base/memory.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <string.h>

#define ITEM_SIZE ((size_t)200)
/* More than one chunk of 64 KiB can hold, several times over. */
#define COUNT 4000

static int end(void **state)
{
    (void)state;
    hws_memory_fail_at(0);
    return 0;
}

/* Allocation -------------------------------------------------------------------------------- */

static void only_the_nth_allocation_fails(void **state)
{
    void *a;
    void *c;

    (void)state;
    hws_memory_fail_at(2);
    a = hws_alloc(10);
    assert_non_null(a);
    assert_null(hws_zalloc(10));
    c = hws_realloc(NULL, 10);
    assert_non_null(c);
    assert_int_equal(hws_memory_count(), 3);
    hws_free(a);
    hws_free(c);
    hws_free(NULL);
}

static void a_realloc_that_fails_leaves_the_block(void **state)
{
    char *block = hws_alloc(6);
    char *larger;

    (void)state;
    assert_non_null(block);
    memcpy(block, "hello", 6);
    hws_memory_fail_at(1);
    assert_null(hws_realloc(block, 100));
    assert_string_equal(block, "hello");
    larger = hws_realloc(block, 100);
    assert_non_null(larger);
    assert_string_equal(larger, "hello");
    hws_free(larger);
}

static void zalloc_gives_zeros(void **state)
{
    static const char zeros[5000];
    char *block = hws_zalloc(sizeof(zeros));

    (void)state;
    assert_non_null(block);
    assert_memory_equal(block, zeros, sizeof(zeros));
    hws_free(block);
}

/* Slabs ------------------------------------------------------------------------------------- */

static void an_object_is_fresh_where_it_was_asked_to_be(void **state)
{
    static const char zeros[ITEM_SIZE];
    hws_slab_t slab;
    char *object;

    (void)state;
    hws_slab_init(&slab, ITEM_SIZE, 100);
    object = hws_slab_take(&slab);
    assert_non_null(object);
    memset(object, 'x', ITEM_SIZE);
    hws_slab_give(&slab, object);
    assert_ptr_equal(hws_slab_take(&slab), object);
    assert_memory_equal(object, zeros, 100);
    assert_int_equal(object[100], 'x'); /* clearing what nobody reads would cost time */
    hws_slab_give(&slab, object);
    hws_slab_dispose(&slab);
}

static void objects_do_not_overlap_and_are_aligned(void **state)
{
    static char *objects[COUNT];
    hws_slab_t slab;
    size_t i;
    size_t k;

    (void)state;
    hws_slab_init(&slab, ITEM_SIZE - 1, ITEM_SIZE - 1);
    for (i = 0; i < COUNT; i++) {
        objects[i] = hws_slab_take(&slab);
        assert_non_null(objects[i]);
        assert_int_equal((uintptr_t)objects[i] % 16, 0);
        memset(objects[i], (int)(i % 251), ITEM_SIZE - 1);
    }
    assert_int_equal(slab.live, COUNT);
    for (i = 0; i < COUNT; i++)
        for (k = 0; k < ITEM_SIZE - 1; k++)
            assert_int_equal((unsigned char)objects[i][k], i % 251);
    for (i = 0; i < COUNT; i++)
        hws_slab_give(&slab, objects[i]);
    hws_slab_dispose(&slab);
}

static size_t count_chunks(const hws_slab_t *slab)
{
    size_t count = 0;

    HWS_LIST_EACH(link, &slab->partial)
        count++;
    HWS_LIST_EACH(link, &slab->full)
        count++;
    return count;
}

static void chunks_are_few_and_go_when_they_are_empty(void **state)
{
    static void *objects[COUNT];
    hws_slab_t slab;
    size_t i;

    (void)state;
    hws_slab_init(&slab, ITEM_SIZE, ITEM_SIZE);
    for (i = 0; i < COUNT; i++)
        objects[i] = hws_slab_take(&slab);
    assert_in_range(slab.per_chunk, 65000 / (ITEM_SIZE + 16), 65536 / ITEM_SIZE);
    assert_int_equal(count_chunks(&slab), (COUNT + slab.per_chunk - 1) / slab.per_chunk);
    for (i = 0; i < COUNT; i++)
        hws_slab_give(&slab, objects[i]);
    assert_int_equal(slab.live, 0);
    assert_int_equal(count_chunks(&slab), 8); /* kept for the next */
    assert_int_equal(slab.empty, 8);
    hws_slab_trim(&slab);
    assert_int_equal(count_chunks(&slab), 0);
    assert_int_equal(slab.empty, 0);
    hws_slab_dispose(&slab);
}

static void one_object_more_and_less_allocates_no_chunk_each_time(void **state)
{
    static void *objects[COUNT];
    hws_slab_t slab;
    size_t i;

    (void)state;
    hws_slab_init(&slab, ITEM_SIZE, ITEM_SIZE);
    for (i = 0; i < slab.per_chunk; i++)
        objects[i] = hws_slab_take(&slab);
    hws_slab_give(&slab, hws_slab_take(&slab)); /* in a second chunk */
    hws_memory_fail_at(1);
    for (i = 0; i < 10; i++) {
        void *object = hws_slab_take(&slab);

        assert_non_null(object);
        hws_slab_give(&slab, object);
    }
    assert_int_equal(hws_memory_count(), 0);
    for (i = 0; i < slab.per_chunk; i++)
        hws_slab_give(&slab, objects[i]);
    hws_slab_dispose(&slab);
}

/* So that the empty one stays empty, and can go when there is a second one. */
static void a_chunk_that_is_in_use_is_taken_from_before_an_empty_one(void **state)
{
    static void *objects[COUNT];
    hws_slab_t slab;
    size_t i;

    (void)state;
    hws_slab_init(&slab, ITEM_SIZE, ITEM_SIZE);
    for (i = 0; i <= slab.per_chunk; i++)
        objects[i] = hws_slab_take(&slab);
    hws_slab_give(&slab, objects[0]);
    hws_slab_give(&slab, objects[slab.per_chunk]);
    assert_int_equal(slab.empty, 1);
    assert_ptr_equal(hws_slab_take(&slab), objects[0]);
    for (i = 0; i < slab.per_chunk; i++)
        hws_slab_give(&slab, objects[i]);
    hws_slab_dispose(&slab);
}

static void a_slab_without_memory_gives_none_and_recovers(void **state)
{
    hws_slab_t slab;
    void *object;

    (void)state;
    hws_slab_init(&slab, ITEM_SIZE, ITEM_SIZE);
    hws_memory_fail_at(1);
    assert_null(hws_slab_take(&slab));
    assert_int_equal(slab.live, 0);
    object = hws_slab_take(&slab);
    assert_non_null(object);
    hws_slab_give(&slab, object);
    hws_slab_dispose(&slab);
}

static void any_order_of_taking_and_giving_keeps_the_books(void **state)
{
    static unsigned char *objects[COUNT];
    hws_random_t random;
    hws_slab_t slab;
    uint64_t live = 0;
    int i;

    (void)state;
    memset(objects, 0, sizeof(objects));
    hws_random_init(&random, 1);
    hws_slab_init(&slab, ITEM_SIZE, ITEM_SIZE);
    for (i = 0; i < 20000; i++) {
        uint32_t n = hws_random_below(&random, COUNT);

        if (objects[n] == NULL) {
            objects[n] = hws_slab_take(&slab);
            assert_non_null(objects[n]);
            assert_int_equal(objects[n][0] + objects[n][ITEM_SIZE - 1], 0);
            objects[n][0] = objects[n][ITEM_SIZE - 1] = (unsigned char)(n % 255 + 1);
            live++;
        } else {
            assert_int_equal(objects[n][0], n % 255 + 1);
            assert_int_equal(objects[n][ITEM_SIZE - 1], n % 255 + 1);
            hws_slab_give(&slab, objects[n]);
            objects[n] = NULL;
            live--;
        }
        assert_int_equal(slab.live, live);
        assert_in_range(slab.empty, 0, 1);
    }
    for (i = 0; i < COUNT; i++)
        if (objects[i] != NULL)
            hws_slab_give(&slab, objects[i]);
    hws_slab_dispose(&slab);
}

/* Stocks ------------------------------------------------------------------------------------ */

static void what_a_stock_was_given_back_it_gives_out_again(void **state)
{
    hws_stock_t stock = {0};
    char *first;
    char *second;

    (void)state;
    hws_memory_fail_at(UINT64_MAX);
    first = hws_stock_alloc(&stock, 100);
    hws_stock_free(&stock, first);
    assert_int_equal(stock.size, 112);
    assert_ptr_equal(hws_stock_zalloc(&stock, 97), first); /* the same sixteens */
    assert_int_equal(first[0] + first[96], 0);
    assert_int_equal(stock.size, 0);
    second = hws_stock_alloc(&stock, 96);
    assert_ptr_not_equal(second, first);
    assert_int_equal(hws_memory_count(), 2);
    hws_stock_free(&stock, first);
    hws_stock_free(&stock, second);
    hws_stock_free(&stock, NULL);
    hws_stock_dispose(&stock);
    assert_int_equal(stock.size, 0);
}

static void a_stock_keeps_neither_large_blocks_nor_very_many(void **state)
{
    static void *blocks[200];
    hws_stock_t stock = {0};
    size_t i;

    (void)state;
    hws_stock_free(&stock, hws_stock_alloc(&stock, 497));
    assert_int_equal(stock.size, 0);
    for (i = 0; i < 200; i++)
        blocks[i] = hws_stock_alloc(&stock, 496);
    for (i = 0; i < 200; i++)
        hws_stock_free(&stock, blocks[i]);
    assert_int_equal(stock.size, 65536 / 496 * 496);
    hws_stock_dispose(&stock);
}

static void a_block_of_a_stock_grows_with_what_it_holds(void **state)
{
    static const size_t sizes[] = {1, 16, 17, 496, 497, 5000, 20000};
    hws_stock_t stock = {0};
    char *block = NULL;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        block = hws_stock_realloc(&stock, block, sizes[i]);
        assert_non_null(block);
        assert_true(i == 0 || block[sizes[i - 1] - 1] == (char)i);
        block[sizes[i] - 1] = (char)(i + 1);
    }
    hws_memory_fail_at(1);
    assert_null(hws_stock_realloc(&stock, block, 50000));
    assert_int_equal(block[19999], 7);
    hws_stock_free(&stock, block);
    hws_stock_dispose(&stock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(only_the_nth_allocation_fails, end),
        cmocka_unit_test_teardown(a_realloc_that_fails_leaves_the_block, end),
        cmocka_unit_test(zalloc_gives_zeros),
        cmocka_unit_test(an_object_is_fresh_where_it_was_asked_to_be),
        cmocka_unit_test(objects_do_not_overlap_and_are_aligned),
        cmocka_unit_test(chunks_are_few_and_go_when_they_are_empty),
        cmocka_unit_test_teardown(one_object_more_and_less_allocates_no_chunk_each_time, end),
        cmocka_unit_test(a_chunk_that_is_in_use_is_taken_from_before_an_empty_one),
        cmocka_unit_test_teardown(a_slab_without_memory_gives_none_and_recovers, end),
        cmocka_unit_test(any_order_of_taking_and_giving_keeps_the_books),
        cmocka_unit_test_teardown(what_a_stock_was_given_back_it_gives_out_again, end),
        cmocka_unit_test(a_stock_keeps_neither_large_blocks_nor_very_many),
        cmocka_unit_test_teardown(a_block_of_a_stock_grows_with_what_it_holds, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
