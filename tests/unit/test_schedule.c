#include "codec/schedule.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <string.h>

#define TURNS 24
#define STEPS 4000
#define SEEDS 50
#define BOUND (HWS_SCHEDULE_CLASSES * HWS_SCHEDULE_SPAN)

typedef struct {
    hws_turn_t turn;
    char name;
} sender_t;

/* Waiting senders by urgency, a letter each: "a0 b0 c7". Then `order` as it comes. */
static void the_most_urgent_go_first_and_equals_in_turn(void **state)
{
    static const struct {
        const char *senders;
        const char *order;
    } cases[] = {
        {"a3", "aaaa"},
        {"a3 b3 c3", "abcabcabc"},
        {"a7 b0", "bbbbbbbbbbbbbbbabbbbbbbbbbbbbbbabb"},
        {"a0 b1 c1", "aaaaaaaaaaaaaaabaaaaaaaaaaaaaaacaaaaaaaaaaaaaaab"},
        {"a0 b2 c7", "aaaaaaaaaaaaaaabaaaaaaaaaaaaaaacaaaaaaaaaaaaaaab"},
        {"a7 b6 c5 d5", "cdcdcdcdcdcdcdcbdcdcdcdcdcdcdcdacdcdcdcdcdcdcdcb"},
    };
    sender_t senders[4];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *at = cases[i].senders;
        hws_schedule_t schedule;
        sender_t *sender = senders;

        hws_schedule_init(&schedule);
        assert_null(hws_schedule_next(&schedule));
        for (;; at += 3) {
            sender->name = at[0];
            hws_turn_init(&sender->turn);
            hws_schedule_add(&schedule, &(sender++)->turn, (uint8_t)(at[1] - '0'));
            if (at[2] == '\0')
                break;
        }
        for (at = cases[i].order; *at != '\0'; at++) {
            sender = HWS_CONTAINER(hws_schedule_next(&schedule), sender_t, turn);
            assert_int_equal(sender->name, *at);
        }
    }
}

static void who_waits_already_keeps_its_place(void **state)
{
    hws_schedule_t schedule;
    hws_turn_t a;
    hws_turn_t b;

    (void)state;
    hws_schedule_init(&schedule);
    hws_turn_init(&a);
    hws_turn_init(&b);
    hws_schedule_remove(&schedule, &a); /* nothing happens */
    hws_schedule_add(&schedule, &a, 2);
    hws_schedule_add(&schedule, &b, 2);
    hws_schedule_add(&schedule, &a, 5);
    assert_true(hws_turn_is_waiting(&a));
    assert_ptr_equal(hws_schedule_next(&schedule), &a);
    hws_schedule_remove(&schedule, &b);
    hws_schedule_remove(&schedule, &b);
    assert_false(hws_turn_is_waiting(&b));
    assert_ptr_equal(hws_schedule_next(&schedule), &a);
    hws_schedule_remove(&schedule, &a);
    assert_null(hws_schedule_next(&schedule));
}

/* The rule of schedule.h again, over a plain queue of who waits. */
typedef struct {
    uint32_t queue[TURNS]; /* in order of arrival or of their last turn */
    uint32_t waiting;
    uint8_t urgency[TURNS];
    uint32_t ordered;
    uint32_t aged;
    uint32_t passed;
} model_t;

static bool model_waits(const model_t *model, uint32_t urgency)
{
    uint32_t i;

    for (i = 0; i < model->waiting; i++)
        if (model->urgency[model->queue[i]] == urgency)
            return true;
    return false;
}

static void model_add(model_t *model, uint32_t turn, uint8_t urgency)
{
    model->urgency[turn] = urgency;
    model->queue[model->waiting++] = turn;
}

static void model_remove(model_t *model, uint32_t turn)
{
    uint32_t i = 0;

    while (model->queue[i] != turn)
        i++;
    memmove(&model->queue[i], &model->queue[i + 1],
            (--model->waiting - i) * sizeof(model->queue[0]));
}

static uint32_t model_next(model_t *model)
{
    uint32_t urgency = 0;
    uint32_t behind = 0;
    uint32_t turn;
    uint32_t i;

    while (!model_waits(model, urgency))
        urgency++;
    for (i = urgency + 1; i < HWS_SCHEDULE_CLASSES; i++)
        behind += model_waits(model, i);
    if (behind > 0 && ++model->passed == HWS_SCHEDULE_SPAN) {
        model->passed = 0;
        urgency = model->aged;
        do
            urgency = urgency == HWS_SCHEDULE_CLASSES - 1 ? 0 : urgency + 1;
        while (urgency == model->ordered || !model_waits(model, urgency));
        model->aged = urgency;
    } else {
        model->ordered = urgency;
    }
    for (i = 0; model->urgency[model->queue[i]] != urgency; i++)
        ;
    turn = model->queue[i];
    model_remove(model, turn);
    model_add(model, turn, (uint8_t)urgency);
    return turn;
}

static void a_plain_model_decides_the_same(void **state)
{
    static model_t model;
    hws_turn_t turns[TURNS];
    uint64_t seed;
    uint32_t i;

    (void)state;
    for (seed = 0; seed < SEEDS; seed++) {
        hws_schedule_t schedule;
        hws_random_t random;
        uint32_t kinds;
        uint32_t step;

        hws_random_init(&random, seed);
        kinds = 1 + hws_random_below(&random, HWS_SCHEDULE_CLASSES);
        memset(&model, 0, sizeof(model));
        hws_schedule_init(&schedule);
        for (i = 0; i < TURNS; i++)
            hws_turn_init(&turns[i]);
        for (step = 0; step < STEPS; step++) {
            i = hws_random_below(&random, TURNS);
            if (hws_random_below(&random, 10) > 0) {
                hws_turn_t *next = hws_schedule_next(&schedule);

                if (model.waiting == 0)
                    assert_null(next);
                else
                    assert_ptr_equal(next, &turns[model_next(&model)]);
            } else if (hws_turn_is_waiting(&turns[i])) {
                hws_schedule_remove(&schedule, &turns[i]);
                model_remove(&model, i);
            } else {
                uint8_t urgency = (uint8_t)hws_random_below(&random, kinds);

                hws_schedule_add(&schedule, &turns[i], urgency);
                model_add(&model, i, urgency);
            }
        }
    }
}

/* One sender of each class; `waits` says which of them want a turn at a step. The class `victim`
 * always does. The longest that it waited, in turns. */
static uint32_t longest_wait(uint32_t victim, uint32_t (*waits)(const hws_schedule_t *, uint32_t),
                             uint32_t *at)
{
    hws_turn_t turns[HWS_SCHEDULE_CLASSES];
    hws_schedule_t schedule;
    uint32_t longest = 0;
    uint32_t since = 0;
    uint32_t step;
    uint8_t i;

    hws_schedule_init(&schedule);
    for (i = 0; i < HWS_SCHEDULE_CLASSES; i++)
        hws_turn_init(&turns[i]);
    for (step = 0; step < STEPS; step++) {
        uint32_t wanted = waits(&schedule, (*at)++) | 1U << victim;

        for (i = 0; i < HWS_SCHEDULE_CLASSES; i++)
            if (wanted >> i & 1)
                hws_schedule_add(&schedule, &turns[i], i);
            else
                hws_schedule_remove(&schedule, &turns[i]);
        since = hws_schedule_next(&schedule) == &turns[victim] ? 0 : since + 1;
        if (since > longest)
            longest = since;
    }
    return longest;
}

static uint32_t all_wait(const hws_schedule_t *schedule, uint32_t step)
{
    (void)schedule, (void)step;
    return 255;
}

static uint32_t only_the_most_urgent_waits(const hws_schedule_t *schedule, uint32_t step)
{
    (void)schedule, (void)step;
    return 1;
}

static uint32_t any_wait(const hws_schedule_t *schedule, uint32_t step)
{
    hws_random_t random;

    (void)schedule;
    hws_random_init(&random, step);
    return hws_random_below(&random, 256);
}

/* The more urgent step back when a turn out of order is due, and the less urgent come forward. */
static uint32_t all_conspire(const hws_schedule_t *schedule, uint32_t step)
{
    (void)step;
    return schedule->passed == HWS_SCHEDULE_SPAN - 1 ? 240 : 15;
}

static void whoever_waits_has_a_turn_within_the_bound(void **state)
{
    uint32_t (*const patterns[])(const hws_schedule_t *, uint32_t) = {
        all_wait, only_the_most_urgent_waits, any_wait, all_conspire};
    uint32_t step = 0;
    uint32_t victim;
    size_t i;

    (void)state;
    for (victim = 0; victim < HWS_SCHEDULE_CLASSES; victim++)
        for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
            assert_true(longest_wait(victim, patterns[i], &step) < BOUND);
    /* And what is said of those who stay where they are is exact. */
    assert_int_equal(longest_wait(0, all_wait, &step), 1);
    assert_int_equal(longest_wait(7, only_the_most_urgent_waits, &step), HWS_SCHEDULE_SPAN - 1);
    for (victim = 1; victim < HWS_SCHEDULE_CLASSES; victim++)
        assert_int_equal(longest_wait(victim, all_wait, &step), 7 * HWS_SCHEDULE_SPAN - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_urgent_go_first_and_equals_in_turn),
        cmocka_unit_test(who_waits_already_keeps_its_place),
        cmocka_unit_test(a_plain_model_decides_the_same),
        cmocka_unit_test(whoever_waits_has_a_turn_within_the_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
