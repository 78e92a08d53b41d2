#include "observe/metrics.h"

#include "support/cmocka.h"

#define AN_ATTEMPT                                                                                 \
    {                                                                                              \
        [HWS_PHASE_QUEUE] = 10, [HWS_PHASE_CONNECT] = 200, [HWS_PHASE_SEND] = 0,                   \
        [HWS_PHASE_HEADERS] = 3000, [HWS_PHASE_BODY] = 40                                          \
    }

static void phases_are_those_that_an_attempt_came_to(void **state)
{
    static const hws_time_t spans[HWS_PHASE_COUNT] = AN_ATTEMPT;
    static const struct {
        hws_phase_t last;
        hws_phase_t end;
        uint64_t counts[HWS_PHASE_COUNT];
    } cases[] = {
        {HWS_PHASE_BODY, HWS_PHASE_COUNT, {1, 0, 1, 0, 1, 1, 1}},
        {HWS_PHASE_BODY, HWS_PHASE_BODY, {1, 0, 1, 0, 1, 1, 0}}, /* streamed */
        {HWS_PHASE_BODY, HWS_PHASE_SEND, {1, 0, 1, 0, 0, 0, 0}}, /* a lease */
        {HWS_PHASE_SEND, HWS_PHASE_COUNT, {1, 0, 1, 0, 1, 0, 0}},
        {HWS_PHASE_TLS, HWS_PHASE_COUNT, {1, 0, 1, 1, 0, 0, 0}}, /* failed at once there */
        /* Its dial served somebody else, and it waited on. */
        {HWS_PHASE_QUEUE, HWS_PHASE_COUNT, {1, 0, 1, 0, 0, 0, 0}},
    };
    size_t i;
    size_t phase;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_metrics_t *metrics = hws_metrics_create(0);
        hws_traffic_t traffic;

        hws_metrics_attempt(metrics, spans, cases[i].last, cases[i].end);
        hws_metrics_read(metrics, 0, &traffic);
        for (phase = 0; phase < HWS_PHASE_COUNT; phase++) {
            assert_int_equal(traffic.phases[phase].count, cases[i].counts[phase]);
            if (cases[i].counts[phase] > 0)
                assert_int_equal(traffic.phases[phase].peak, spans[phase]);
        }
        hws_metrics_destroy(metrics);
    }
}

static void latencies_are_averages_peaks_and_quantiles(void **state)
{
    hws_metrics_t *metrics = hws_metrics_create(0);
    hws_traffic_t traffic;
    uint64_t us;

    (void)state;
    hws_metrics_read(metrics, 0, &traffic);
    assert_int_equal(traffic.total.count, 0);
    assert_int_equal(traffic.total.p99, 0);
    for (us = 1; us <= 1000; us++)
        hws_histogram_record(&metrics->total, us);
    hws_metrics_read(metrics, 0, &traffic);
    assert_int_equal(traffic.total.count, 1000);
    assert_int_equal(traffic.total.average, 500);
    assert_int_equal(traffic.total.peak, 1000);
    assert_in_range(traffic.total.p50, 495, 505);
    assert_in_range(traffic.total.p95, 941, 959);
    assert_in_range(traffic.total.p99, 981, 999);
    hws_metrics_destroy(metrics);
}

static void those_of_several_add_up(void **state)
{
    hws_metrics_t *sum = hws_metrics_create(HWS_MS(250));
    hws_metrics_t *heir = NULL;
    hws_metrics_t *one;
    hws_traffic_t traffic;
    int64_t i;

    (void)state;
    for (i = 1; i <= 3; i++) {
        one = hws_metrics_create(HWS_MS(250));
        hws_metrics_sent(one, 1, (uint64_t)(100 * i), HWS_S(i));
        hws_metrics_took(one, 1000, HWS_S(3));
        hws_histogram_record(&one->total, (uint64_t)i);
        hws_metrics_merge(sum, one, HWS_S(4));
        hws_metrics_bequeath(one, &heir, HWS_S(4));
    }
    hws_metrics_bequeath(NULL, &heir, HWS_S(4));
    /* The last whole second ended at 3.25 s, and has what came at 3 s. */
    hws_metrics_read(sum, HWS_S(4), &traffic);
    assert_int_equal(traffic.exchanges.total, 3);
    assert_int_equal(traffic.bytes_out.total, 600);
    assert_int_equal(traffic.bytes_in.total, 3000);
    assert_int_equal(traffic.total.count, 3);
    assert_true(traffic.exchanges.per_second[HWS_RATE_1S] == 1);
    assert_true(traffic.bytes_out.per_second[HWS_RATE_1S] == 300);
    assert_true(traffic.bytes_in.per_second[HWS_RATE_1S] == 3000);
    assert_true(traffic.exchanges.per_second[HWS_RATE_10S] == 1);
    assert_true(traffic.bytes_out.per_second[HWS_RATE_60S] == 200);
    hws_metrics_read(heir, HWS_S(4), &traffic);
    assert_int_equal(traffic.bytes_out.total, 600);
    assert_true(traffic.bytes_out.per_second[HWS_RATE_60S] == 200);
    hws_metrics_destroy(sum);
    hws_metrics_destroy(heir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phases_are_those_that_an_attempt_came_to),
        cmocka_unit_test(latencies_are_averages_peaks_and_quantiles),
        cmocka_unit_test(those_of_several_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
