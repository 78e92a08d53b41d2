#include "policy/score.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <math.h>
#include <string.h>

#define SEEDS 300
#define STEPS 60
/* What the order of roundings may differ by. */
#define SLACK 1e-9

static void assert_near(double value, double expected, double slack)
{
    assert_true(fabs(value - expected) <= slack);
}

typedef struct {
    hws_outcome_class_t outcome;
    hws_time_t latency;
    hws_time_t now;
} step_t;

/* Attempts of any kind, some at once, some after long pauses. */
static void make_history(step_t *steps, uint64_t seed)
{
    static const hws_time_t gaps[] = {0, 10, HWS_MS(1), HWS_MS(500), HWS_S(7), HWS_S(200)};
    hws_random_t random;
    hws_time_t now = HWS_S(1000);
    uint32_t bad_of_ten;
    uint32_t i;

    hws_random_init(&random, seed);
    bad_of_ten = hws_random_below(&random, 11);
    for (i = 0; i < STEPS; i++) {
        now += gaps[hws_random_below(&random, 6)];
        steps[i].now = now;
        steps[i].latency = 1 + hws_random_below(&random, 1000000);
        steps[i].outcome =
            hws_random_below(&random, 10) < bad_of_ten ? HWS_OUTCOME_FAILURE : HWS_OUTCOME_SUCCESS;
        if (hws_random_below(&random, 10) == 0)
            steps[i].outcome = HWS_OUTCOME_NEUTRAL;
    }
}

static hws_score_t play(const step_t *steps)
{
    hws_score_t score = {0};
    uint32_t i;

    for (i = 0; i < STEPS; i++)
        hws_score_observe(&score, steps[i].outcome, steps[i].latency, steps[i].now);
    return score;
}

/* Some moments after the history, and some latencies of others, to look from. */
static const hws_time_t ages[] = {-HWS_S(1),     0, 1, HWS_MS(100), HWS_S(10), HWS_S(1000),
                                  HWS_S(1000000)};
static const double others[] = {0, 1, 1000, 250000, 1e6, 1e12};

#define EACH_VIEW(age, other)                                                                      \
    for (size_t age = 0; age < sizeof(ages) / sizeof(ages[0]); age++)                              \
        for (size_t other = 0; other < sizeof(others) / sizeof(others[0]); other++)

/* No view of `a` is above that of `b`. */
static bool is_nowhere_above(const hws_score_t *a, const hws_score_t *b, hws_time_t now)
{
    EACH_VIEW(age, other)
    if (hws_score_value(a, others[other], now + ages[age]) >
        hws_score_value(b, others[other], now + ages[age]) + SLACK)
        return false;
    return true;
}

static void a_score_is_within_0_and_1(void **state)
{
    step_t steps[STEPS];
    uint64_t seed;

    (void)state;
    for (seed = 0; seed < SEEDS; seed++) {
        hws_score_t score;

        make_history(steps, seed);
        score = play(steps);
        EACH_VIEW(age, other)
        {
            double value = hws_score_value(&score, others[other], score.at + ages[age]);

            assert_true(value >= 0 && value <= 1);
        }
        assert_true(hws_score_success_rate(&score) >= 0 && hws_score_success_rate(&score) <= 1);
    }
}

/* Whatever attempt is made a failure, or comes to be one more: it never helps. */
static void failures_never_raise_it(void **state)
{
    step_t steps[STEPS];
    step_t worse[STEPS];
    hws_random_t random;
    uint64_t seed;
    uint32_t i;

    (void)state;
    hws_random_init(&random, 1);
    for (seed = 0; seed < SEEDS; seed++) {
        hws_score_t score;
        hws_score_t other;

        make_history(steps, seed);
        steps[hws_random_below(&random, STEPS)].outcome = HWS_OUTCOME_NEUTRAL;
        score = play(steps);
        for (i = 0; i < STEPS; i++) {
            if (steps[i].outcome != HWS_OUTCOME_NEUTRAL)
                continue;
            memcpy(worse, steps, sizeof(steps));
            worse[i].outcome = HWS_OUTCOME_FAILURE;
            other = play(worse);
            assert_true(is_nowhere_above(&other, &score, steps[STEPS - 1].now));
        }
        other = score;
        hws_score_observe(&other, HWS_OUTCOME_FAILURE, 0, score.at + HWS_S(seed));
        assert_true(is_nowhere_above(&other, &score, score.at + HWS_S(seed)));
    }
}

static void successes_of_equal_latency_never_lower_it(void **state)
{
    step_t steps[STEPS];
    step_t better[STEPS];
    uint64_t seed;
    uint32_t i;

    (void)state;
    for (seed = 0; seed < SEEDS; seed++) {
        hws_score_t score;
        hws_score_t other;

        make_history(steps, seed);
        for (i = 0; i < STEPS; i++)
            steps[i].latency = 5000;
        score = play(steps);
        for (i = 0; i < STEPS; i++) {
            if (steps[i].outcome != HWS_OUTCOME_NEUTRAL)
                continue;
            memcpy(better, steps, sizeof(steps));
            better[i].outcome = HWS_OUTCOME_SUCCESS;
            other = play(better);
            /* One with no success at all has no latency either, and one that has may be slow. */
            if (score.latency > 0)
                assert_true(is_nowhere_above(&score, &other, steps[STEPS - 1].now));
        }
    }
}

static void latency_never_raises_it(void **state)
{
    step_t steps[STEPS];
    step_t slower[STEPS];
    hws_random_t random;
    uint64_t seed;

    (void)state;
    hws_random_init(&random, 2);
    for (seed = 0; seed < SEEDS; seed++) {
        hws_score_t score;
        hws_score_t other;

        make_history(steps, seed);
        score = play(steps);
        memcpy(slower, steps, sizeof(steps));
        slower[hws_random_below(&random, STEPS)].latency += hws_random_below(&random, 1000000);
        other = play(slower);
        assert_true(is_nowhere_above(&other, &score, steps[STEPS - 1].now));
    }
}

static void faster_others_never_raise_it(void **state)
{
    step_t steps[STEPS];
    uint64_t seed;
    double other;

    (void)state;
    for (seed = 0; seed < SEEDS; seed++) {
        hws_score_t score;
        double last = 0;

        make_history(steps, seed);
        score = play(steps);
        for (other = 1; other < 1e9; other *= 1.3) {
            double value = hws_score_value(&score, other, score.at);

            assert_true(value >= last);
            last = value;
        }
        assert_true(hws_score_value(&score, 0, score.at) >= last); /* nothing to be held against */
    }
}

static void a_peer_that_nothing_is_known_of_is_good(void **state)
{
    const hws_score_t score = {0};

    (void)state;
    EACH_VIEW(age, other)
    assert_true(hws_score_value(&score, others[other], HWS_S(5) + ages[age]) == 1);
    assert_true(hws_score_success_rate(&score) == 1);
}

static void an_idle_peer_that_was_fine_stays_fine(void **state)
{
    hws_score_t score = {0};
    int i;

    (void)state;
    for (i = 0; i < 1000; i++)
        hws_score_observe(&score, i % 50 == 0 ? HWS_OUTCOME_FAILURE : HWS_OUTCOME_SUCCESS,
                          HWS_MS(10), HWS_MS(100) * i);
    for (i = 0; i < 1000000; i++)
        assert_true(hws_score_value(&score, HWS_MS(9), score.at + HWS_S(1) * i) >= .9);
}

static void a_score_comes_back_with_time(void **state)
{
    hws_score_t score = {0};
    double last = 0;
    int second;
    int i;

    (void)state;
    for (i = 0; i < 20; i++)
        hws_score_observe(&score, HWS_OUTCOME_FAILURE, 0, HWS_S(9));
    assert_true(hws_score_value(&score, 0, HWS_S(9)) < .2);
    for (second = 0; second < 300; second++) {
        double value = hws_score_value(&score, 0, HWS_S(9 + second));

        assert_true(value >= last);
        if (second < 30)
            assert_true(value < .5);
        last = value;
    }
    assert_true(last > .99);
}

static void a_score_comes_back_with_successes(void **state)
{
    hws_score_t score = {0};
    int i;

    (void)state;
    for (i = 0; i < 20; i++)
        hws_score_observe(&score, HWS_OUTCOME_FAILURE, 0, HWS_S(9));
    for (i = 0; i < 200; i++)
        hws_score_observe(&score, HWS_OUTCOME_SUCCESS, 100, HWS_S(9));
    assert_true(hws_score_value(&score, 0, HWS_S(9)) > .9);
}

static void some_scores_by_hand(void **state)
{
    static const struct {
        int good;
        int bad;
        double others; /* own is 1 ms */
        double value;
        double rate;
    } cases[] = {
        {0, 1, 0, 4.0 / 5, 0}, {0, 4, 0, .5, 0},           {4, 8, 0, .5, 1.0 / 3},
        {10, 0, 1000, 1, 1},   {10, 0, 5000, 1, 1},        {10, 0, 500, .75, 1},
        {10, 0, 100, .55, 1},  {4, 8, 500, .375, 1.0 / 3},
    };
    size_t i;
    int n;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_score_t score = {0};

        for (n = 0; n < cases[i].good; n++)
            hws_score_observe(&score, HWS_OUTCOME_SUCCESS, HWS_MS(1), HWS_S(2));
        for (n = 0; n < cases[i].bad; n++)
            hws_score_observe(&score, HWS_OUTCOME_FAILURE, HWS_S(9), HWS_S(2));
        hws_score_observe(&score, HWS_OUTCOME_NEUTRAL, HWS_S(9), HWS_S(2));
        assert_near(hws_score_value(&score, cases[i].others, HWS_S(2)), cases[i].value, 1e-9);
        assert_near(hws_score_success_rate(&score), cases[i].rate, 1e-9);
    }
}

static void what_is_30_s_old_weighs_a_third(void **state)
{
    hws_score_t score = {0};

    (void)state;
    hws_score_observe(&score, HWS_OUTCOME_FAILURE, 0, HWS_S(2));
    hws_score_observe(&score, HWS_OUTCOME_SUCCESS, 100, HWS_S(32));
    assert_near(score.bad, .36788, 1e-4);
    assert_near(score.good, 1, 1e-9);
    hws_score_observe(&score, HWS_OUTCOME_SUCCESS, 200, HWS_S(62));
    assert_near(score.latency, (200 + .36788 * 100) / 1.36788, 1e-2);
}

static void time_that_goes_back_changes_no_weight(void **state)
{
    hws_score_t score = {0};

    (void)state;
    hws_score_observe(&score, HWS_OUTCOME_SUCCESS, 100, HWS_S(50));
    hws_score_observe(&score, HWS_OUTCOME_FAILURE, 0, HWS_S(20));
    assert_near(score.good, 1, 0);
    assert_near(score.bad, 1, 0);
    assert_int_equal(score.at, HWS_S(50));
    assert_near(hws_score_value(&score, 0, 0), 5.0 / 6, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_score_is_within_0_and_1),
        cmocka_unit_test(failures_never_raise_it),
        cmocka_unit_test(successes_of_equal_latency_never_lower_it),
        cmocka_unit_test(latency_never_raises_it),
        cmocka_unit_test(faster_others_never_raise_it),
        cmocka_unit_test(a_peer_that_nothing_is_known_of_is_good),
        cmocka_unit_test(an_idle_peer_that_was_fine_stays_fine),
        cmocka_unit_test(a_score_comes_back_with_time),
        cmocka_unit_test(a_score_comes_back_with_successes),
        cmocka_unit_test(some_scores_by_hand),
        cmocka_unit_test(what_is_30_s_old_weighs_a_third),
        cmocka_unit_test(time_that_goes_back_changes_no_weight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
