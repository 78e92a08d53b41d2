#include "policy/backoff.h"

#include "support/cmocka.h"

#define DRAWS 2000

static const struct {
    hws_backoff_options_t options;
    uint32_t attempt;
    hws_time_t least; /* that a draw can be */
    hws_time_t most;
} cases[] = {
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, 1, 0, HWS_MS(50)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, 2, 0, HWS_MS(100)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, 6, 0, HWS_MS(1600)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, 7, 0, HWS_S(2)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, 64, 0, HWS_S(2)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, 65, 0, HWS_S(2)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_FULL}, UINT32_MAX, 0, HWS_S(2)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_EQUAL}, 1, HWS_MS(25), HWS_MS(50)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_EQUAL}, 3, HWS_MS(100), HWS_MS(200)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_EQUAL}, UINT32_MAX, HWS_S(1), HWS_S(2)},
    {{HWS_MS(50), HWS_S(2), HWS_JITTER_DECORRELATED}, 1, HWS_MS(50), HWS_MS(150)},
    {{HWS_MS(50), HWS_MS(100), HWS_JITTER_DECORRELATED}, 1, HWS_MS(50), HWS_MS(100)},
    {{1, HWS_BACKOFF_MAX, HWS_JITTER_FULL}, 32, 0, INT64_C(1) << 31},
    {{1, HWS_BACKOFF_MAX, HWS_JITTER_FULL}, 33, 0, HWS_BACKOFF_MAX},
    {{HWS_BACKOFF_MAX, HWS_BACKOFF_MAX, HWS_JITTER_FULL}, 1, 0, HWS_BACKOFF_MAX},
    {{HWS_BACKOFF_MAX, HWS_BACKOFF_MAX, HWS_JITTER_EQUAL}, 9, HWS_BACKOFF_MAX / 2, HWS_BACKOFF_MAX},
    {{HWS_BACKOFF_MAX, HWS_BACKOFF_MAX, HWS_JITTER_DECORRELATED},
     2,
     HWS_BACKOFF_MAX,
     HWS_BACKOFF_MAX},
    {{0, HWS_S(2), HWS_JITTER_FULL}, 70, 0, 0},
    {{0, 0, HWS_JITTER_EQUAL}, 5, 0, 0},
    {{0, 0, HWS_JITTER_DECORRELATED}, 5, 0, 0},
};

/* All draws lie in the range, and come near both of its ends. */
static void delays_fill_their_range(void **state)
{
    hws_random_t random;
    size_t i;
    int n;

    (void)state;
    hws_random_init(&random, 7);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_time_t margin = (cases[i].most - cases[i].least) / 50;
        hws_time_t lowest = HWS_NEVER;
        hws_time_t highest = -1;

        for (n = 0; n < DRAWS; n++) {
            hws_backoff_t backoff = {0};
            hws_time_t delay =
                hws_backoff_next(&cases[i].options, &backoff, cases[i].attempt, &random);

            assert_int_equal(delay, backoff.last);
            lowest = delay < lowest ? delay : lowest;
            highest = delay > highest ? delay : highest;
        }
        assert_true(lowest >= cases[i].least && lowest <= cases[i].least + margin);
        assert_true(highest <= cases[i].most && highest >= cases[i].most - margin);
    }
}

static void decorrelated_delays_grow_from_the_last_one(void **state)
{
    const hws_backoff_options_t options = {HWS_MS(50), HWS_S(2), HWS_JITTER_DECORRELATED};
    hws_backoff_t backoff = {0};
    hws_random_t random;
    hws_time_t last = options.base;
    hws_time_t highest = 0;
    uint32_t n;

    (void)state;
    hws_random_init(&random, 11);
    for (n = 1; n < DRAWS; n++) {
        hws_time_t most = 3 * last < options.max ? 3 * last : options.max;
        hws_time_t delay = hws_backoff_next(&options, &backoff, 1, &random);

        assert_true(delay >= options.base && delay <= most);
        last = delay;
        highest = delay > highest ? delay : highest;
    }
    assert_true(highest > HWS_MS(1900));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_fill_their_range),
        cmocka_unit_test(decorrelated_delays_grow_from_the_last_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
