#include "base/hash.h"

#include "base/list.h"
#include "base/memory.h"
#include "base/random.h"
#include "support/cmocka.h"

#include <hawser/error.h>

#include <stdio.h>
#include <string.h>

#define COUNT 1000

typedef struct {
    hws_hash_link_t link;
    char name[20];
} item_t;

typedef struct {
    hws_hash_t table;
    item_t items[COUNT];
} fixture_t;

static int begin(void **state)
{
    static fixture_t fixture;
    int i;

    hws_hash_init(&fixture.table, 99);
    for (i = 0; i < COUNT; i++)
        snprintf(fixture.items[i].name, sizeof(fixture.items[i].name), "name-%d", i);
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    fixture_t *fixture = *state;

    hws_memory_fail_at(0);
    hws_hash_dispose(&fixture->table);
    return 0;
}

static int add(hws_hash_t *table, item_t *item)
{
    return hws_hash_add(table, &item->link, item->name, strlen(item->name));
}

static item_t *find(const hws_hash_t *table, const char *name)
{
    hws_hash_link_t *link = hws_hash_find(table, name, strlen(name));

    return link != NULL ? HWS_CONTAINER(link, item_t, link) : NULL;
}

static void an_empty_table_finds_nothing_and_allocates_nothing(void **state)
{
    fixture_t *fixture = *state;

    assert_null(find(&fixture->table, "name-1"));
    assert_null(fixture->table.buckets);
}

static void names_are_compared_in_full(void **state)
{
    fixture_t *fixture = *state;

    assert_int_equal(add(&fixture->table, &fixture->items[12]), HWS_OK);
    assert_ptr_equal(find(&fixture->table, "name-12"), &fixture->items[12]);
    assert_null(find(&fixture->table, "name-1"));
    assert_null(find(&fixture->table, "name-123"));
    assert_null(find(&fixture->table, "name-13"));
    assert_null(find(&fixture->table, ""));
    hws_hash_remove(&fixture->table, &fixture->items[12].link);
    assert_null(find(&fixture->table, "name-12"));
}

/* A changed name stands in for one that has the same hash by chance. */
static void an_equal_hash_is_not_an_equal_name(void **state)
{
    fixture_t *fixture = *state;
    item_t *item = &fixture->items[12];

    assert_int_equal(add(&fixture->table, item), HWS_OK);
    item->name[0] = 'N';
    assert_null(find(&fixture->table, "name-12"));
    hws_hash_remove(&fixture->table, &item->link);
}

static void a_name_may_hold_any_bytes(void **state)
{
    fixture_t *fixture = *state;
    hws_hash_link_t a;
    hws_hash_link_t b;

    assert_int_equal(hws_hash_add(&fixture->table, &a, "x\0a", 3), HWS_OK);
    assert_int_equal(hws_hash_add(&fixture->table, &b, "x\0b", 3), HWS_OK);
    assert_ptr_equal(hws_hash_find(&fixture->table, "x\0b", 3), &b);
    assert_null(hws_hash_find(&fixture->table, "x", 1));
    hws_hash_remove(&fixture->table, &a);
    hws_hash_remove(&fixture->table, &b);
}

static void many_are_found_while_the_table_grows(void **state)
{
    fixture_t *fixture = *state;
    int i;
    int k;

    for (i = 0; i < COUNT; i++) {
        assert_int_equal(add(&fixture->table, &fixture->items[i]), HWS_OK);
        for (k = 0; k <= i; k += 37)
            assert_ptr_equal(find(&fixture->table, fixture->items[k].name), &fixture->items[k]);
    }
    assert_int_equal(fixture->table.size, COUNT);
    assert_true(fixture->table.bucket_count >= COUNT); /* so chains stay short */
    for (i = COUNT - 1; i >= 0; i--) {
        hws_hash_remove(&fixture->table, &fixture->items[i].link);
        assert_null(find(&fixture->table, fixture->items[i].name));
    }
}

static void only_the_first_add_can_fail_for_want_of_memory(void **state)
{
    fixture_t *fixture = *state;
    int i;

    hws_memory_fail_at(1);
    assert_int_equal(add(&fixture->table, &fixture->items[0]), HWS_ERR_NOMEM);
    assert_int_equal(fixture->table.size, 0);
    assert_null(find(&fixture->table, "name-0"));
    assert_int_equal(add(&fixture->table, &fixture->items[0]), HWS_OK);
    for (i = 1; i < COUNT; i++) {
        hws_memory_fail_at(1); /* it never grows */
        assert_int_equal(add(&fixture->table, &fixture->items[i]), HWS_OK);
    }
    for (i = 0; i < COUNT; i++) {
        assert_ptr_equal(find(&fixture->table, fixture->items[i].name), &fixture->items[i]);
        hws_hash_remove(&fixture->table, &fixture->items[i].link);
    }
}

static void another_seed_scatters_differently(void **state)
{
    fixture_t *fixture = *state;
    uint64_t hash;

    assert_int_equal(add(&fixture->table, &fixture->items[0]), HWS_OK);
    hash = fixture->items[0].link.hash;
    hws_hash_remove(&fixture->table, &fixture->items[0].link);
    fixture->table.seed++;
    assert_int_equal(add(&fixture->table, &fixture->items[0]), HWS_OK);
    assert_true(fixture->items[0].link.hash != hash);
    hws_hash_remove(&fixture->table, &fixture->items[0].link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
        TEST(an_empty_table_finds_nothing_and_allocates_nothing),
        TEST(names_are_compared_in_full),
        TEST(an_equal_hash_is_not_an_equal_name),
        TEST(a_name_may_hold_any_bytes),
        TEST(many_are_found_while_the_table_grows),
        TEST(only_the_first_add_can_fail_for_want_of_memory),
        TEST(another_seed_scatters_differently),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
