#include "observe/histogram.h"

#include "base/memory.h"
#include "base/random.h"
#include "support/cmocka.h"

#include <stdlib.h>

#define END (HWS_HISTOGRAM_OCTAVES << HWS_HISTOGRAM_BITS)
#define TOP (UINT64_C(1) << HWS_HISTOGRAM_TOP)

static void values_below_128_are_exact(void **state)
{
    hws_histogram_t histogram = {0};
    uint64_t value;

    (void)state;
    for (value = 0; value < 128; value++) {
        hws_histogram_record(&histogram, value);
        hws_histogram_record(&histogram, 1000); /* so that `value` is not the largest */
        assert_int_equal(hws_histogram_quantile(&histogram, 0.5), value);
        hws_histogram_reset(&histogram);
    }
    hws_histogram_dispose(&histogram);
}

static void a_quantile_is_right_to_one_percent(void **state)
{
    hws_histogram_t histogram = {0};
    uint64_t value;

    (void)state;
    for (value = 1; value < TOP; value += 1 + value / 1000) {
        double quantile;

        hws_histogram_record(&histogram, value);
        hws_histogram_record(&histogram, TOP);
        quantile = (double)hws_histogram_quantile(&histogram, 0.5);
        assert_true(quantile >= (double)value * .992 && quantile <= (double)value * 1.008);
        hws_histogram_reset(&histogram);
    }
    hws_histogram_dispose(&histogram);
}

static void buckets_follow_each_other_without_a_gap(void **state)
{
    uint32_t last = 0;
    uint64_t value;

    (void)state;
    for (value = 0; value < 1 << 20; value++) {
        uint32_t bucket = hws_histogram_bucket(value);

        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
    }
    assert_int_equal(hws_histogram_bucket(TOP - 1), END - 1);
    assert_int_equal(hws_histogram_bucket(TOP), END - 1);
    assert_int_equal(hws_histogram_bucket(UINT64_MAX), END - 1);
}

static void quantiles_split_what_was_recorded(void **state)
{
    hws_histogram_t histogram = {0};
    int i;

    (void)state;
    assert_int_equal(hws_histogram_quantile(&histogram, 0.99), 0);
    assert_int_equal(hws_histogram_quantile(&histogram, 1), 0);
    for (i = 0; i < 99; i++)
        hws_histogram_record(&histogram, 10);
    hws_histogram_record(&histogram, 15);
    assert_int_equal(hws_histogram_quantile(&histogram, 0), 10);
    assert_int_equal(hws_histogram_quantile(&histogram, 0.5), 10);
    assert_int_equal(hws_histogram_quantile(&histogram, 0.99), 10);
    assert_int_equal(hws_histogram_quantile(&histogram, 0.995), 15);
    assert_int_equal(hws_histogram_quantile(&histogram, 1), 15);
    assert_int_equal(histogram.count, 100);
    assert_int_equal(histogram.sum, 99 * 10 + 15);
    assert_int_equal(histogram.max, 15);
    hws_histogram_dispose(&histogram);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Against a sorted list of the same values, over all magnitudes. */
static void quantiles_are_those_of_the_values(void **state)
{
    enum { VALUES = 5000 };
    static const double shares[] = {.001, .1, .25, .5, .75, .9, .95, .99, .999, 1};
    static uint64_t values[VALUES];
    hws_random_t random;
    uint64_t seed;
    size_t i;

    (void)state;
    for (seed = 0; seed < 30; seed++) {
        hws_histogram_t histogram = {0};

        hws_random_init(&random, seed);
        for (i = 0; i < VALUES; i++) {
            values[i] = hws_random_next(&random) >> hws_random_below(&random, 1 + seed % 32);
            hws_histogram_record(&histogram, values[i]);
        }
        qsort(values, VALUES, sizeof(values[0]), by_size);
        assert_int_equal(histogram.max, values[VALUES - 1]);
        for (i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
            double exact = (double)values[(size_t)(shares[i] * VALUES + .5) - 1];
            double quantile = (double)hws_histogram_quantile(&histogram, shares[i]);

            assert_true(quantile >= exact * .992 && quantile <= exact * 1.008);
            assert_true(quantile <= (double)histogram.max);
        }
        hws_histogram_dispose(&histogram);
    }
}

static void what_is_too_large_counts_as_the_largest(void **state)
{
    hws_histogram_t histogram = {0};

    (void)state;
    hws_histogram_record(&histogram, UINT64_MAX);
    hws_histogram_record(&histogram, TOP);
    assert_in_range(hws_histogram_quantile(&histogram, 0.5), TOP - TOP / 64, TOP);
    assert_true(hws_histogram_quantile(&histogram, 1) == UINT64_MAX);
    hws_histogram_dispose(&histogram);
}

static void what_finds_its_bucket_full_is_lost(void **state)
{
    hws_histogram_t histogram = {0};
    hws_histogram_t more = {0};

    (void)state;
    hws_histogram_record(&histogram, 5);
    hws_histogram_record(&more, 5);
    hws_histogram_record(&more, 5);
    histogram.octaves[0][5] = UINT32_MAX - 1;
    histogram.count = UINT32_MAX - 1;
    hws_histogram_merge(&histogram, &more);
    assert_int_equal(histogram.octaves[0][5], UINT32_MAX);
    assert_int_equal(histogram.count, UINT32_MAX);
    assert_int_equal(histogram.lost, 1);
    hws_histogram_record(&histogram, 5);
    assert_int_equal(histogram.octaves[0][5], UINT32_MAX);
    assert_int_equal(histogram.count, UINT32_MAX);
    assert_int_equal(histogram.lost, 2);
    assert_int_equal(hws_histogram_quantile(&histogram, .999), 5);
    hws_histogram_dispose(&histogram);
    hws_histogram_dispose(&more);
}

static void memory_is_taken_by_magnitude(void **state)
{
    hws_histogram_t histogram = {0};
    uint64_t value;

    (void)state;
    hws_memory_fail_at(1000);
    hws_histogram_record(&histogram, 0);
    for (value = 1; value < 1000; value++)
        hws_histogram_record(&histogram, 100000 + value);
    assert_int_equal(hws_memory_count(), 2);
    for (value = 0; value < 64; value++)
        hws_histogram_record(&histogram, UINT64_C(1) << value);
    assert_int_equal(hws_memory_count(), HWS_HISTOGRAM_OCTAVES);
    hws_memory_fail_at(0);
    hws_histogram_dispose(&histogram);
    assert_int_equal(histogram.count, 0);
}

static void what_finds_no_memory_is_counted_as_lost(void **state)
{
    hws_histogram_t histogram = {0};

    (void)state;
    hws_histogram_record(&histogram, 1);
    hws_memory_fail_at(1);
    hws_histogram_record(&histogram, 1000);
    hws_memory_fail_at(0);
    assert_int_equal(histogram.lost, 1);
    assert_int_equal(histogram.count, 1);
    assert_int_equal(histogram.max, 1);
    hws_histogram_record(&histogram, 1000);
    assert_int_equal(histogram.count, 2);
    assert_int_equal(histogram.max, 1000);
    hws_histogram_dispose(&histogram);
}

static void a_merge_is_as_if_all_had_gone_to_one(void **state)
{
    hws_histogram_t one = {0};
    hws_histogram_t halves[2] = {{0}};
    hws_random_t random;
    uint32_t i;

    (void)state;
    hws_random_init(&random, 9);
    for (i = 0; i < 1000; i++) {
        uint64_t value = hws_random_next(&random) >> hws_random_below(&random, 32);

        hws_histogram_record(&one, value);
        hws_histogram_record(&halves[i % 3 == 0], value);
    }
    hws_histogram_record(&one, UINT32_MAX);
    hws_histogram_record(&halves[1], UINT32_MAX);
    for (i = 0; i <= 100; i++)
        assert_int_equal(hws_histogram_quantile_of(halves, 2, i / 100.0),
                         hws_histogram_quantile(&one, i / 100.0));
    hws_histogram_merge(&halves[0], &halves[1]);
    for (i = 0; i <= 100; i++)
        assert_int_equal(hws_histogram_quantile(&halves[0], i / 100.0),
                         hws_histogram_quantile(&one, i / 100.0));
    assert_int_equal(halves[0].count, one.count);
    assert_int_equal(halves[0].sum, one.sum);
    assert_int_equal(halves[0].max, one.max);
    hws_histogram_dispose(&one);
    hws_histogram_dispose(&halves[0]);
    hws_histogram_dispose(&halves[1]);
}

static void a_merge_without_memory_changes_nothing_but_lost(void **state)
{
    hws_histogram_t histogram = {0};
    hws_histogram_t from = {0};

    (void)state;
    hws_histogram_record(&histogram, 1);
    hws_histogram_record(&from, 1);
    hws_histogram_record(&from, 1000);
    from.lost = 3;
    hws_memory_fail_at(1);
    hws_histogram_merge(&histogram, &from);
    hws_memory_fail_at(0);
    assert_int_equal(histogram.lost, 5);
    assert_int_equal(histogram.count, 1);
    assert_int_equal(hws_histogram_quantile(&histogram, 1), 1);
    hws_histogram_dispose(&histogram);
    hws_histogram_dispose(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_below_128_are_exact),
        cmocka_unit_test(a_quantile_is_right_to_one_percent),
        cmocka_unit_test(buckets_follow_each_other_without_a_gap),
        cmocka_unit_test(quantiles_split_what_was_recorded),
        cmocka_unit_test(quantiles_are_those_of_the_values),
        cmocka_unit_test(what_is_too_large_counts_as_the_largest),
        cmocka_unit_test(what_finds_its_bucket_full_is_lost),
        cmocka_unit_test(memory_is_taken_by_magnitude),
        cmocka_unit_test(what_finds_no_memory_is_counted_as_lost),
        cmocka_unit_test(a_merge_is_as_if_all_had_gone_to_one),
        cmocka_unit_test(a_merge_without_memory_changes_nothing_but_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
