#include "observe/recent.h"

#include "support/cmocka.h"

/* One value a second, its own number, would be forgotten as these say. */
static void what_is_older_than_a_minute_is_forgotten(void **state)
{
    static const struct {
        hws_time_t now;
        uint64_t value; /* recorded; 0: only asked */
        uint64_t count;
        uint64_t median;
    } steps[] = {
        {HWS_S(100), 1, 1, 1},       /* the first half: 100 to 130 */
        {HWS_MS(129999), 3, 2, 1},   /*  */
        {HWS_S(130), 5, 3, 3},       /* the second: 130 to 160 */
        {HWS_S(120), 5, 4, 3},       /* time that goes back is the newest */
        {HWS_MS(159999), 0, 4, 3},   /*  */
        {HWS_S(160), 0, 2, 5},       /* 1 and 3 are gone */
        {HWS_S(161), 9, 3, 5},       /*  */
        {HWS_MS(189999), 0, 3, 5},   /*  */
        {HWS_S(190), 0, 1, 9},       /* the fives as well */
        {HWS_S(220), 0, 0, 0},       /*  */
        {HWS_S(221), 7, 1, 7},       /*  */
        {HWS_S(310), 0, 0, 0},       /* both halves at once */
        {HWS_S(310), 8, 1, 8},       /*  */
        {HWS_MS(369999), 0, 1, 8},   /* a new beginning: 310 to 340, kept to 370 */
        {HWS_S(370), 0, 0, 0},       /*  */
        {HWS_S(400), 6, 1, 6},       /*  */
        {HWS_S(460), 0, 0, 0},       /* the same when nobody asked in between */
        {HWS_S(900000000), 2, 1, 2}, /*  */
    };
    hws_recent_t recent = {0};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i].value > 0)
            hws_recent_record(&recent, steps[i].value, steps[i].now);
        assert_int_equal(hws_recent_quantile(&recent, 0.5, steps[i].now), steps[i].median);
        assert_int_equal(recent.halves[0].count + recent.halves[1].count, steps[i].count);
    }
    hws_recent_dispose(&recent);
}

static void a_young_clock_is_no_trouble(void **state)
{
    hws_recent_t recent = {0};

    (void)state;
    assert_int_equal(hws_recent_quantile(&recent, 0.99, 0), 0);
    hws_recent_record(&recent, 4, 0);
    assert_int_equal(hws_recent_quantile(&recent, 1, HWS_S(29)), 4);
    assert_int_equal(hws_recent_quantile(&recent, 1, HWS_S(59)), 4);
    assert_int_equal(hws_recent_quantile(&recent, 1, HWS_S(60)), 0);
    hws_recent_dispose(&recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_older_than_a_minute_is_forgotten),
        cmocka_unit_test(a_young_clock_is_no_trouble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
