#include "observe/histogram.h"

#include "support/cmocka.h"

#include <string.h>

static void values_below_sixteen_are_exact(void **state)
{
    static hws_histogram_t histogram;
    uint64_t value;

    (void)state;
    for (value = 0; value < 16; value++) {
        memset(&histogram, 0, sizeof(histogram));
        hws_histogram_record(&histogram, value);
        assert_int_equal(hws_histogram_quantile(&histogram, 0.5), value);
    }
}

static void a_quantile_is_at_most_a_sixteenth_too_large(void **state)
{
    static hws_histogram_t histogram;
    uint64_t value;

    (void)state;
    for (value = 1; value < UINT64_C(1) << 35; value = value * 9 / 7 + 1) {
        uint64_t quantile;

        memset(&histogram, 0, sizeof(histogram));
        hws_histogram_record(&histogram, value);
        quantile = hws_histogram_quantile(&histogram, 1);
        assert_true(quantile >= value && quantile - value <= value / 16);
    }
}

static void buckets_follow_each_other_without_a_gap(void **state)
{
    uint32_t last = 0;
    uint64_t value;

    (void)state;
    for (value = 1; value < 1U << 20; value++) {
        uint32_t bucket = hws_histogram_bucket(value);

        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
    }
    assert_int_equal(hws_histogram_bucket(UINT64_MAX), HWS_HISTOGRAM_BUCKETS - 1);
}

static void quantiles_split_what_was_recorded(void **state)
{
    static hws_histogram_t histogram;
    uint32_t i;

    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    assert_int_equal(hws_histogram_quantile(&histogram, 0.99), 0);
    for (i = 0; i < 99; i++)
        hws_histogram_record(&histogram, 10);
    hws_histogram_record(&histogram, 15);
    assert_int_equal(hws_histogram_quantile(&histogram, 0.5), 10);
    assert_int_equal(hws_histogram_quantile(&histogram, 0.99), 10);
    assert_int_equal(hws_histogram_quantile(&histogram, 0.995), 15);
    assert_int_equal(histogram.count, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_below_sixteen_are_exact),
        cmocka_unit_test(a_quantile_is_at_most_a_sixteenth_too_large),
        cmocka_unit_test(buckets_follow_each_other_without_a_gap),
        cmocka_unit_test(quantiles_split_what_was_recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
