#include "base/timers.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <string.h>

#define COUNT 200

static void fire(hws_timer_t *timer, hws_time_t now)
{
    (void)timer;
    (void)now;
}

static int begin(void **state)
{
    static hws_timers_t timers;

    memset(&timers, 0, sizeof(timers));
    *state = &timers;
    return 0;
}

static void without_timers_nothing_is_ever_due(void **state)
{
    hws_timers_t *timers = *state;

    assert_int_equal(hws_timers_next(timers), HWS_NEVER);
    assert_null(hws_timers_take(timers, HWS_NEVER));
}

static void a_timer_is_due_at_its_moment_and_not_before(void **state)
{
    hws_timers_t *timers = *state;
    hws_timer_t timer;

    hws_timer_init(&timer, fire);
    assert_false(hws_timer_is_set(&timer));
    hws_timers_set(timers, &timer, 10);
    assert_true(hws_timer_is_set(&timer));
    assert_int_equal(hws_timers_next(timers), 10);
    assert_null(hws_timers_take(timers, 9));
    assert_ptr_equal(hws_timers_take(timers, 10), &timer);
    assert_false(hws_timer_is_set(&timer));
    assert_int_equal(hws_timers_next(timers), HWS_NEVER);
    assert_ptr_equal(timer.fire, fire);
}

static void setting_again_moves_and_never_cancels(void **state)
{
    hws_timers_t *timers = *state;
    hws_timer_t a;
    hws_timer_t b;

    hws_timer_init(&a, fire);
    hws_timer_init(&b, fire);
    hws_timers_set(timers, &a, 10);
    hws_timers_set(timers, &b, 20);
    hws_timers_set(timers, &a, 30);
    assert_int_equal(hws_timers_next(timers), 20);
    hws_timers_set(timers, &b, HWS_NEVER);
    assert_false(hws_timer_is_set(&b));
    assert_int_equal(hws_timers_next(timers), 30);
    hws_timers_cancel(timers, &a);
    hws_timers_cancel(timers, &a);
    assert_int_equal(hws_timers_next(timers), HWS_NEVER);
}

static void equal_moments_come_in_the_order_they_were_set(void **state)
{
    hws_timers_t *timers = *state;
    hws_timer_t all[COUNT];
    size_t i;

    for (i = 0; i < COUNT; i++) {
        hws_timer_init(&all[i], fire);
        hws_timers_set(timers, &all[i], (hws_time_t)(i % 3));
    }
    hws_timers_set(timers, &all[0], 0); /* now the last of its moment */
    for (i = 3; i < COUNT; i += 3)
        assert_ptr_equal(hws_timers_take(timers, 0), &all[i]);
    assert_ptr_equal(hws_timers_take(timers, 0), &all[0]);
    for (i = 1; i < COUNT; i += 3)
        assert_ptr_equal(hws_timers_take(timers, 1), &all[i]);
    for (i = 2; i < COUNT; i += 3)
        assert_ptr_equal(hws_timers_take(timers, 2), &all[i]);
    assert_null(timers->root);
}

/* A model that cannot be wrong: an array that is searched. */
typedef struct {
    hws_timer_t timer;
    bool is_set;
    hws_time_t at;
    uint64_t order;
} entry_t;

static entry_t *earliest(entry_t *entries)
{
    entry_t *first = NULL;
    size_t i;

    for (i = 0; i < COUNT; i++) {
        entry_t *entry = &entries[i];

        if (!entry->is_set)
            continue;
        if (first == NULL || entry->at < first->at ||
            (entry->at == first->at && entry->order < first->order))
            first = entry;
    }
    return first;
}

static void check_against_model(hws_timers_t *timers, entry_t *entries)
{
    entry_t *first = earliest(entries);

    assert_int_equal(hws_timers_next(timers), first != NULL ? first->at : HWS_NEVER);
    assert_ptr_equal(timers->root, first != NULL ? &first->timer : NULL);
}

static void any_operations_agree_with_a_list_that_is_searched(void **state)
{
    hws_timers_t *timers = *state;
    entry_t entries[COUNT] = {0};
    hws_random_t random;
    hws_time_t now = 0;
    uint64_t order = 0;
    int i;

    hws_random_init(&random, 1);
    for (i = 0; i < COUNT; i++)
        hws_timer_init(&entries[i].timer, fire);
    for (i = 0; i < 100000; i++) {
        entry_t *entry = &entries[hws_random_below(&random, COUNT)];
        entry_t *first;

        switch (hws_random_below(&random, 4)) {
        case 0:
        case 1:
            entry->is_set = true;
            entry->at = now + hws_random_below(&random, 100);
            entry->order = order++;
            hws_timers_set(timers, &entry->timer, entry->at);
            break;
        case 2:
            entry->is_set = false;
            hws_timers_cancel(timers, &entry->timer);
            break;
        case 3:
            now += hws_random_below(&random, 5);
            while ((first = earliest(entries)) != NULL && first->at <= now) {
                assert_ptr_equal(hws_timers_take(timers, now), &first->timer);
                first->is_set = false;
            }
            assert_null(hws_timers_take(timers, now));
            break;
        }
        assert_int_equal(hws_timer_is_set(&entry->timer), entry->is_set);
        check_against_model(timers, entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_timers_nothing_is_ever_due, begin),
        cmocka_unit_test_setup(a_timer_is_due_at_its_moment_and_not_before, begin),
        cmocka_unit_test_setup(setting_again_moves_and_never_cancels, begin),
        cmocka_unit_test_setup(equal_moments_come_in_the_order_they_were_set, begin),
        cmocka_unit_test_setup(any_operations_agree_with_a_list_that_is_searched, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
