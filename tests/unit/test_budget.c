#include "policy/budget.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <stdio.h>

#define SECONDS 400

static const hws_budget_options_t defaults = {.share = .2, .floor = 10};

/* Asks for up to `wanted` retries; how many were granted. */
static uint32_t take(hws_budget_t *budget, const hws_budget_options_t *options, uint32_t wanted,
                     hws_time_t now)
{
    uint32_t granted = 0;

    while (granted < wanted && hws_budget_withdraw(budget, options, now))
        granted++;
    return granted;
}

static void deposit(hws_budget_t *budget, uint32_t requests, hws_time_t now)
{
    while (requests-- > 0)
        hws_budget_deposit(budget, now);
}

/* One budget through all of it; `left` before the retries of the step. */
static void a_share_and_a_floor_are_granted(void **state)
{
    static const struct {
        hws_time_t now;
        uint32_t requests;
        uint32_t left;
        uint32_t wanted;
        uint32_t granted;
    } steps[] = {
        {HWS_MS(1000), 0, 10, 99, 10},        /* the floor alone */
        {HWS_MS(1999), 0, 0, 99, 0},          /* in the same second no more */
        {HWS_MS(2000), 0, 10, 4, 4},          /* a new second */
        {HWS_MS(2500), 0, 6, 99, 6},          /* the rest of it */
        {HWS_MS(3000), 4, 10, 0, 0},          /* four requests make no whole retry */
        {HWS_MS(3000), 1, 11, 1, 1},          /* the fifth does; the share pays first */
        {HWS_MS(3000), 0, 10, 0, 0},          /*  */
        {HWS_MS(1000), 5, 11, 0, 0},          /* time that goes back is the newest second */
        {HWS_MS(12999), 90, 29, 18, 18},      /* the share is not bound to a second */
        {HWS_MS(13000), 0, 10, 99, 10},       /* ten seconds later the first ten are forgotten */
        {HWS_MS(22999), 0, 10, 0, 0},         /* the ninety have paid */
        {HWS_MS(23000), 0, 10, 0, 0},         /*  */
        {HWS_MS(24000), 50, 20, 0, 0},        /*  */
        {HWS_MS(33999), 0, 20, 0, 0},         /* kept for ten seconds */
        {HWS_MS(34000), 0, 10, 0, 0},         /* and no longer */
        {HWS_MS(36000), 50, 20, 5, 5},        /*  */
        {HWS_MS(60000), 0, 10, 99, 10},       /* a lull: all is forgotten at once */
        {HWS_S(1000000000), 100, 30, 99, 30}, /* after a long lull */
    };
    hws_budget_t budget = {0};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        deposit(&budget, steps[i].requests, steps[i].now);
        assert_int_equal(hws_budget_left(&budget, &defaults, steps[i].now), steps[i].left);
        assert_int_equal(take(&budget, &defaults, steps[i].wanted, steps[i].now), steps[i].granted);
    }
}

static void a_budget_switched_off_grants_all(void **state)
{
    const hws_budget_options_t off = {.is_disabled = true};
    hws_budget_t budget = {0};

    (void)state;
    assert_int_equal(hws_budget_left(&budget, &off, 0), UINT32_MAX);
    assert_int_equal(take(&budget, &off, 100000, 0), 100000);
}

static void nothing_is_granted_without_share_and_floor(void **state)
{
    const hws_budget_options_t none = {.share = 0, .floor = 0};
    hws_budget_t budget = {0};

    (void)state;
    deposit(&budget, 1000, HWS_S(5));
    assert_int_equal(take(&budget, &none, 1, HWS_S(5)), 0);
}

/* Requests of one second, of any pattern. */
static uint32_t traffic(uint32_t pattern, uint32_t second, hws_random_t *random)
{
    switch (pattern) {
    case 0:
        return 1000; /* steady */
    case 1:
        return 3; /* quiet */
    case 2:
        return second % 25 == 0 ? 5000 : 0; /* bursts and lulls longer than the window */
    case 3:
        return second % 7 < 3 ? 700 : 1;
    case 4:
        return second < SECONDS / 2 ? 2000 : 0; /* all at once nothing */
    default:
        return hws_random_below(random, 4) == 0 ? hws_random_below(random, 3000) : 0;
    }
}

typedef struct {
    uint32_t requests[SECONDS];
    uint32_t retries[SECONDS];
} record_t;

/* All peers fail and each failure would go again. Within a second, retries are asked for before,
 * between and after the requests. */
static void fail_for_long(record_t *record, const hws_budget_options_t *options, uint32_t pattern,
                          uint64_t seed)
{
    hws_budget_t budget = {0};
    hws_random_t random;
    uint32_t second;
    uint32_t n;

    hws_random_init(&random, seed);
    for (second = 0; second < SECONDS; second++) {
        hws_time_t now = HWS_S(50 + second);
        uint32_t requests = traffic(pattern, second, &random);

        record->requests[second] = requests;
        record->retries[second] = take(&budget, options, hws_random_below(&random, 3000), now);
        for (n = 0; n < requests; n++) {
            hws_time_t at = now + HWS_S(1) * n / requests;

            hws_budget_deposit(&budget, at);
            record->retries[second] += take(&budget, options, 2, at);
        }
        record->retries[second] +=
            take(&budget, options, hws_random_below(&random, 3000), now + HWS_MS(999));
    }
}

/* The bound of budget.h, for every run of seconds. */
static void check_bound(const record_t *record, const hws_budget_options_t *options)
{
    uint32_t from;
    uint32_t to;
    uint32_t i;

    for (from = 0; from < SECONDS; from++) {
        uint64_t retries = 0;
        uint64_t requests = 0;

        for (i = from < 9 ? 0 : from - 9; i < from; i++)
            requests += record->requests[i];
        for (to = from; to < SECONDS; to++) {
            retries += record->retries[to];
            requests += record->requests[to];
            assert_true((double)retries <=
                        options->share * (double)requests + options->floor * (to - from + 1.0));
        }
    }
}

static void an_outage_is_never_multiplied(void **state)
{
    static const hws_budget_options_t options[] = {
        {.share = .2, .floor = 10}, {.share = 1, .floor = 0}, {.share = .01, .floor = 3}};
    static record_t record;
    uint32_t pattern;
    uint64_t retries;
    size_t i;
    size_t j;

    (void)state;
    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        for (pattern = 0; pattern < 12; pattern++) {
            fail_for_long(&record, &options[i], pattern, pattern);
            check_bound(&record, &options[i]);
        }
    /* And the budget is there to be spent: a steady second gets its fifth and the floor. */
    fail_for_long(&record, &options[0], 0, 1);
    for (retries = 0, j = 0; j < SECONDS; j++)
        retries += record.retries[j];
    assert_in_range(retries, SECONDS * 205, SECONDS * 210);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_and_a_floor_are_granted),
        cmocka_unit_test(a_budget_switched_off_grants_all),
        cmocka_unit_test(nothing_is_granted_without_share_and_floor),
        cmocka_unit_test(an_outage_is_never_multiplied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
