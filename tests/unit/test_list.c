#include "base/list.h"

#include "support/cmocka.h"

typedef struct {
    int value;
    hws_list_t link;
} item_t;

typedef struct {
    hws_list_t list;
    hws_list_t other;
    item_t items[6];
} fixture_t;

static int begin(void **state)
{
    static fixture_t fixture;
    int i;

    hws_list_init(&fixture.list);
    hws_list_init(&fixture.other);
    for (i = 0; i < 6; i++) {
        fixture.items[i].value = i;
        hws_list_init(&fixture.items[i].link);
    }
    *state = &fixture;
    return 0;
}

/* The values in order, as digits of one number; the way back must be as long. */
static int digits(const hws_list_t *list)
{
    const hws_list_t *back = list->prev;
    int number = 0;

    HWS_LIST_EACH(link, list) {
        number = number * 10 + HWS_CONTAINER(link, item_t, link)->value;
        back = back->prev;
    }
    assert_ptr_equal(back, list);
    return number;
}

static void push_back(hws_list_t *list, item_t *item)
{
    hws_list_push_back(list, &item->link);
}

static void a_fresh_head_is_empty_and_a_fresh_link_is_on_no_list(void **state)
{
    fixture_t *fixture = *state;

    assert_true(hws_list_is_empty(&fixture->list));
    assert_false(hws_list_is_linked(&fixture->items[0].link));
    assert_null(hws_list_first(&fixture->list));
    assert_null(hws_list_last(&fixture->list));
}

static void items_stand_in_the_order_they_were_pushed(void **state)
{
    fixture_t *fixture = *state;

    push_back(&fixture->list, &fixture->items[2]);
    push_back(&fixture->list, &fixture->items[3]);
    hws_list_push_front(&fixture->list, &fixture->items[1].link);
    assert_int_equal(digits(&fixture->list), 123);
    assert_ptr_equal(hws_list_first(&fixture->list), &fixture->items[1].link);
    assert_ptr_equal(hws_list_last(&fixture->list), &fixture->items[3].link);
    assert_true(hws_list_is_linked(&fixture->items[1].link));
}

static void an_item_leaves_from_anywhere_and_twice_is_harmless(void **state)
{
    fixture_t *fixture = *state;
    int i;

    for (i = 1; i <= 5; i++)
        push_back(&fixture->list, &fixture->items[i]);
    hws_list_remove(&fixture->items[3].link);
    hws_list_remove(&fixture->items[3].link);
    assert_false(hws_list_is_linked(&fixture->items[3].link));
    assert_int_equal(digits(&fixture->list), 1245);
    hws_list_remove(&fixture->items[1].link);
    hws_list_remove(&fixture->items[5].link);
    assert_int_equal(digits(&fixture->list), 24);
    hws_list_remove(&fixture->items[2].link);
    hws_list_remove(&fixture->items[4].link);
    assert_true(hws_list_is_empty(&fixture->list));
}

static void splicing_moves_all_to_the_end(void **state)
{
    fixture_t *fixture = *state;

    push_back(&fixture->list, &fixture->items[1]);
    push_back(&fixture->other, &fixture->items[2]);
    push_back(&fixture->other, &fixture->items[3]);
    hws_list_splice(&fixture->list, &fixture->other);
    assert_int_equal(digits(&fixture->list), 123);
    assert_true(hws_list_is_empty(&fixture->other));
    hws_list_splice(&fixture->list, &fixture->other);
    assert_int_equal(digits(&fixture->list), 123);
    hws_list_splice(&fixture->other, &fixture->list);
    assert_int_equal(digits(&fixture->other), 123);
    assert_true(hws_list_is_empty(&fixture->list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_fresh_head_is_empty_and_a_fresh_link_is_on_no_list, begin),
        cmocka_unit_test_setup(items_stand_in_the_order_they_were_pushed, begin),
        cmocka_unit_test_setup(an_item_leaves_from_anywhere_and_twice_is_harmless, begin),
        cmocka_unit_test_setup(splicing_moves_all_to_the_end, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
