#include "observe/meter.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <math.h>
#include <string.h>

static void assert_near(double value, double expected, double slack)
{
    assert_true(fabs(value - expected) <= slack);
}

static double rate(hws_meter_t *meter, uint32_t seconds, hws_time_t now)
{
    return hws_meter_rate(meter, seconds, now).events;
}

/* The meter begins at 5.25 s, so its seconds end at a quarter. */
static void rates_are_of_whole_seconds(void **state)
{
    static const struct {
        hws_time_t now;
        uint64_t events; /* marked before */
        double last_1;
        double last_10;
        double last_60;
    } steps[] = {
        {HWS_MS(5250), 4, 0, 0, 0},           /* the first second is under way */
        {HWS_MS(6249), 2, 0, 0, 0},           /*  */
        {HWS_MS(6250), 0, 6, 6, 6},           /* a young meter divides by its age */
        {HWS_MS(6300), 9, 6, 6, 6},           /* what is under way does not count */
        {HWS_MS(7250), 0, 9, 7.5, 7.5},       /*  */
        {HWS_MS(5250), 3, 9, 7.5, 7.5},       /* time that goes back is the newest second */
        {HWS_MS(8250), 0, 3, 6, 6},           /*  */
        {HWS_MS(15249), 0, 0, 2, 2},          /* nine seconds old */
        {HWS_MS(15250), 0, 0, 1.8, 1.8},      /* ten */
        {HWS_MS(16250), 0, 0, 1.2, 18. / 11}, /* the first six leave the ten */
        {HWS_MS(65250), 0, 0, 0, .3},         /* sixty */
        {HWS_MS(66250), 0, 0, 0, .2},         /* the first six leave the sixty */
        {HWS_MS(67250), 60, 0, 0, .05},       /*  */
        {HWS_MS(68250), 0, 60, 6, 1},         /*  */
        {HWS_MS(128249), 0, 0, 0, 1},         /*  */
        {HWS_MS(128250), 0, 0, 0, 0},         /*  */
        {HWS_MS(128250), 5, 0, 0, 0},         /*  */
        {HWS_S(900000000), 0, 0, 0, 0},       /* after a long lull */
        {HWS_S(900000000), 120, 0, 0, 0},     /*  */
        {HWS_S(900000001), 0, 120, 12, 2},    /*  */
    };
    hws_meter_t meter;
    uint64_t total = 0;
    size_t i;

    (void)state;
    hws_meter_init(&meter, HWS_MS(5250));
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        hws_time_t now = steps[i].now;

        hws_meter_mark(&meter, steps[i].events, steps[i].events * 1000, now);
        total += steps[i].events;
        assert_near(rate(&meter, 1, now), steps[i].last_1, 1e-9);
        assert_near(rate(&meter, 10, now), steps[i].last_10, 1e-9);
        assert_near(rate(&meter, 60, now), steps[i].last_60, 1e-9);
        assert_near(hws_meter_rate(&meter, 60, now).bytes, steps[i].last_60 * 1000, 1e-6);
    }
    assert_int_equal(meter.events, total);
    assert_int_equal(meter.bytes, total * 1000);
}

/* Any traffic and any pauses, against a plain list of seconds. */
static void rates_are_those_of_a_list(void **state)
{
    enum { SECONDS = 1000 };
    static uint64_t list[SECONDS];
    static const uint32_t spans[] = {1, 2, 10, 59, 60};
    hws_random_t random;
    hws_meter_t meter;
    hws_time_t now;
    size_t i;

    (void)state;
    memset(list, 0, sizeof(list));
    hws_random_init(&random, 4);
    hws_meter_init(&meter, 0);
    for (now = 0; now < HWS_S(SECONDS); now += hws_random_below(&random, 3) == 0
                                                   ? hws_random_below(&random, 80000000) / 8
                                                   : hws_random_below(&random, 200000)) {
        uint32_t second = (uint32_t)(now / HWS_S(1));
        uint32_t events = hws_random_below(&random, 100);

        hws_meter_mark(&meter, events, 0, now);
        list[second] += events;
        for (i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
            uint32_t span = spans[i] < second ? spans[i] : second;
            uint64_t sum = 0;
            uint32_t back;

            for (back = 1; back <= span; back++)
                sum += list[second - back];
            assert_near(rate(&meter, spans[i], now), span > 0 ? (double)sum / span : 0, 1e-9);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_of_whole_seconds),
        cmocka_unit_test(rates_are_those_of_a_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
