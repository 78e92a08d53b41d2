#include "base/random.h"

#include "support/cmocka.h"

static void a_seed_repeats_its_sequence_and_no_other(void **state)
{
    hws_random_t a;
    hws_random_t b;
    hws_random_t c;
    int same = 0;
    int i;

    (void)state;
    hws_random_init(&a, 42);
    hws_random_init(&b, 42);
    hws_random_init(&c, 43);
    for (i = 0; i < 1000; i++) {
        uint32_t value = hws_random_next(&a);

        assert_int_equal(value, hws_random_next(&b));
        same += value == hws_random_next(&c);
    }
    assert_in_range(same, 0, 2);
}

/* From the authors' reference code (prng.di.unimi.it/xoshiro128plusplus.c) on this state. */
static void it_is_xoshiro128_plus_plus(void **state)
{
    static const uint32_t expected[] = {641, 1573767, 3222811527, 3517856514, 836907274};
    hws_random_t random = {.state = {1, 2, 3, 4}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_int_equal(hws_random_next(&random), expected[i]);
}

static void even_seed_zero_gives_a_state(void **state)
{
    hws_random_t random;

    (void)state;
    hws_random_init(&random, 0);
    assert_true((random.state[0] | random.state[1] | random.state[2] | random.state[3]) != 0);
    assert_true(hws_random_next(&random) != hws_random_next(&random));
}

static void below_one_is_always_zero(void **state)
{
    hws_random_t random;
    int i;

    (void)state;
    hws_random_init(&random, 1);
    for (i = 0; i < 100; i++)
        assert_int_equal(hws_random_below(&random, 1), 0);
}

static void below_is_even_over_its_range(void **state)
{
    enum { N = 7, ROUNDS = 70000 };
    hws_random_t random;
    int counts[N] = {0};
    int i;

    (void)state;
    hws_random_init(&random, 5);
    for (i = 0; i < ROUNDS; i++) {
        uint32_t value = hws_random_below(&random, N);

        assert_true(value < N);
        counts[value]++;
    }
    for (i = 0; i < N; i++)
        assert_in_range(counts[i], ROUNDS / N - 500, ROUNDS / N + 500);
}

/* Without rejection the lower half would come twice as often here as the upper one. */
static void below_is_even_where_a_product_alone_would_not_be(void **state)
{
    enum { ROUNDS = 60000 };
    const uint32_t n = UINT32_C(3) << 30;
    hws_random_t random;
    int thirds[3] = {0};
    int odd = 0;
    int i;

    (void)state;
    hws_random_init(&random, 5);
    for (i = 0; i < ROUNDS; i++) {
        uint32_t value = hws_random_below(&random, n);

        assert_true(value < n);
        thirds[value % 3]++;
        odd += value % 2 == 1;
    }
    for (i = 0; i < 3; i++)
        assert_in_range(thirds[i], ROUNDS / 3 - 500, ROUNDS / 3 + 500);
    assert_in_range(odd, ROUNDS / 2 - 600, ROUNDS / 2 + 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_repeats_its_sequence_and_no_other),
        cmocka_unit_test(it_is_xoshiro128_plus_plus),
        cmocka_unit_test(even_seed_zero_gives_a_state),
        cmocka_unit_test(below_one_is_always_zero),
        cmocka_unit_test(below_is_even_over_its_range),
        cmocka_unit_test(below_is_even_where_a_product_alone_would_not_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
