#include "codec/window.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <string.h>

#define KB(n) ((uint32_t)(n)*1024U)
#define MB(n) ((uint32_t)(n)*1048576U)

static void a_trip_begins_after_a_quarter_of_a_window(void **state)
{
    static const struct {
        uint32_t size;
        bool begins;
        bool ends; /* the PING is answered after that */
        uint32_t count;
    } steps[] = {
        {KB(255), false, false, 0}, {KB(1), true, false, 1},   {MB(9), false, true, 1},
        {KB(100), false, false, 1}, {KB(200), true, true, 2},  {KB(256), true, false, 3},
        {KB(256), false, false, 3}, {KB(256), false, true, 3}, {KB(255), false, false, 3},
    };
    hws_trip_t trip;
    size_t i;

    (void)state;
    hws_trip_init(&trip, MB(1));
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_int_equal(hws_trip_carry(&trip, steps[i].size), steps[i].begins);
        assert_int_equal(trip.count, steps[i].count);
        if (steps[i].ends)
            hws_trip_end(&trip);
    }
}

/* One window of 900 bytes that may grow to 4000; `trip` 0: none is under way. */
static void half_of_it_in_one_trip_doubles_a_window(void **state)
{
    static const struct {
        uint32_t trip;
        uint32_t consumed;
        uint32_t growth;
        uint32_t size;
    } steps[] = {
        {0, 900, 0, 900},     /* nothing is measured */
        {1, 449, 0, 900},     /* not half of it */
        {0, 900, 0, 900},     /* does not belong to it */
        {2, 449, 0, 900},     /* nor do the last one's to the next */
        {2, 1, 900, 1800},    /*  */
        {2, 899, 0, 1800},    /* in the same trip the sample begins anew */
        {2, 1, 1800, 3600},   /*  */
        {3, 9000, 400, 4000}, /* as far as it may */
        {4, 9000, 0, 4000},   /*  */
    };
    hws_window_t window;
    size_t i;

    (void)state;
    hws_window_init(&window, 900, 4000);
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        hws_trip_t trip = {.count = steps[i].trip, .is_under_way = steps[i].trip > 0};

        assert_int_equal(hws_window_consume(&window, steps[i].consumed, &trip, NULL),
                         steps[i].growth);
        assert_int_equal(window.size, steps[i].size);
    }
}

static void no_size_overflows(void **state)
{
    const hws_trip_t trip = {.count = 1, .is_under_way = true};
    hws_window_t window;

    (void)state;
    hws_window_init(&window, HWS_WINDOW_MOST / 2 + 2, HWS_WINDOW_MOST);
    assert_int_equal(hws_window_consume(&window, HWS_WINDOW_MOST, &trip, NULL),
                     HWS_WINDOW_MOST / 2 - 1);
    assert_int_equal(window.size, HWS_WINDOW_MOST);
    assert_int_equal(hws_window_consume(&window, HWS_WINDOW_MOST, &trip, NULL), 0);
    hws_window_init(&window, 5000, 10); /* a maximum below is none */
    assert_int_equal(hws_window_consume(&window, 5000, &trip, NULL), 0);
    assert_int_equal(window.size, 5000);
}

/* ---- over a path ---- */

#define TICKS 4000
#define DELAY_MOST 64

typedef struct {
    uint32_t delay;   /* one way, in ticks */
    uint32_t rate;    /* bytes a tick that the path carries */
    uint32_t reader;  /* bytes a tick that the reader takes */
    uint32_t pause;   /* ticks between its reads */
    uint32_t first;   /* window */
    uint32_t settles; /* window at the end */
    bool is_full;     /* the path carries all it can at the end */
} path_t;

/* A sender that always has something to say. Windows are announced once half of one was consumed,
 * which is what nghttp2 and yamux do. Returns what was carried in the last half. */
static uint64_t carry(const path_t *path, hws_window_t *window, uint32_t *pings)
{
    uint32_t data[DELAY_MOST] = {0};   /* on their way here, by tick of arrival */
    uint32_t credit[DELAY_MOST] = {0}; /* on its way back */
    uint32_t open = path->first;       /* what the sender may send */
    uint32_t unread = 0;
    uint32_t owed = 0; /* consumed and not announced */
    uint32_t answer_at = UINT32_MAX;
    uint64_t carried = 0;
    uint64_t allowance = 0; /* of the reader */
    hws_trip_t trip;
    uint32_t tick;

    hws_window_init(window, path->first, MB(16));
    hws_trip_init(&trip, path->first);
    for (*pings = 0, tick = 0; tick < TICKS; tick++) {
        uint32_t *arriving = &data[tick % path->delay];
        uint32_t *granted = &credit[tick % path->delay];
        uint32_t size;

        open += *granted;
        unread += *arriving;
        carried += tick >= TICKS / 2 ? *arriving : 0;
        *arriving = open < path->rate ? open : path->rate;
        open -= *arriving;
        *granted = 0;

        if (tick == answer_at)
            hws_trip_end(&trip);
        allowance += path->reader;
        if (tick % path->pause != 0)
            continue;
        size = unread < allowance ? unread : (uint32_t)allowance;
        allowance = unread > allowance ? 0 : path->reader;
        unread -= size;
        owed += size;
        if (hws_trip_carry(&trip, size)) {
            answer_at = tick + 2 * path->delay;
            ++*pings;
        }
        owed += hws_window_consume(window, size, &trip, NULL);
        if (owed >= window->size / 2) {
            *granted = owed;
            owed = 0;
        }
    }
    return carried;
}

static void a_window_grows_to_what_the_path_carries(void **state)
{
    static const path_t paths[] = {
        /* The product is delay * 2 * rate. */
        {1, KB(64), MB(9), 1, MB(1), MB(1), true},       /* 128 KiB: it is large enough */
        {16, KB(60), MB(9), 1, MB(1), MB(4), true},      /* 1.9 MiB */
        {16, KB(60), MB(9), 1, 65535, 65535 << 6, true}, /* from as low as can be */
        {64, KB(60), MB(9), 1, MB(1), MB(16), true},     /* 7.5 MiB */
        {64, MB(1), MB(9), 1, MB(1), MB(16), false},     /* 128 MiB: the maximum */
        {64, KB(1), MB(9), 1, MB(1), MB(1), true},       /* thin */
        {16, KB(64), KB(4), 1, MB(1), MB(1), false},     /* a slow reader keeps its window */
        {16, KB(64), KB(4), 64, MB(1), MB(1), false},    /* also one that reads now and then */
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const path_t *path = &paths[i];
        hws_window_t window;
        uint32_t pings;
        uint64_t carried = carry(path, &window, &pings);

        assert_int_equal(window.size, path->settles);
        assert_int_equal(carried == (uint64_t)path->rate * TICKS / 2, path->is_full);
        /* At most one in a round trip. */
        assert_true(pings <= TICKS / (2 * path->delay));
    }
}

/* A window is never larger than four times the product (half of its half was carried), and one that
 * is not at its maximum does not hold the path up. */
static void no_path_is_overestimated_or_held_up(void **state)
{
    hws_random_t random;
    int i;

    (void)state;
    hws_random_init(&random, 1);
    for (i = 0; i < 300; i++) {
        path_t path = {.delay = 1 + hws_random_below(&random, DELAY_MOST),
                       .rate = 1 + hws_random_below(&random, KB(256)),
                       .reader = MB(9),
                       .pause = 1,
                       .first = 65535 + hws_random_below(&random, MB(1))};
        uint32_t product = 2 * path.delay * path.rate;
        hws_window_t window;
        uint32_t pings;
        uint64_t carried = carry(&path, &window, &pings);

        /* A trip of t ticks sees t + 1 of them consume. */
        assert_true(window.size == path.first || window.size / 4 <= product + path.rate);
        if (window.size < MB(16))
            assert_true(carried >= (uint64_t)path.rate * TICKS / 2 / 100 * 99);
    }
}

/* ---- the budget ---- */

static void late_windows_are_smaller(void **state)
{
    static const struct {
        uint32_t wanted;
        uint32_t size;
    } steps[] = {
        {MB(16), MB(16)},               /* of 64 MiB: a quarter */
        {MB(16), MB(12)},               /* of 48 */
        {MB(16), MB(9)},                /* of 36 */
        {MB(4), MB(4)},                 /* of 27 */
        {1000, HWS_WINDOW_LEAST},       /* the protocol knows none smaller */
        {MB(16), (MB(23) - 65535) / 4}, /*  */
    };
    hws_window_budget_t budget = {.limit = MB(64)};
    uint64_t used = 0;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_int_equal(hws_window_budget_take(&budget, steps[i].wanted, HWS_WINDOW_LEAST),
                         steps[i].size);
        used += steps[i].size;
        assert_int_equal(budget.used, used);
    }
    budget.limit = MB(1); /* less than is in use */
    assert_int_equal(hws_window_budget_take(&budget, MB(16), HWS_WINDOW_LEAST), HWS_WINDOW_LEAST);
    hws_window_budget_give(&budget, HWS_WINDOW_LEAST);
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        hws_window_budget_give(&budget, steps[i].size);
    assert_int_equal(budget.used, 0);
}

static void a_window_grows_only_within_its_share(void **state)
{
    const hws_trip_t trip = {.count = 1, .is_under_way = true};
    hws_window_budget_t budget = {.limit = 1000 + 4000 + 8000, .used = 1000};
    hws_window_t window;

    (void)state;
    hws_window_init(&window, 1000, HWS_WINDOW_MOST);
    assert_int_equal(hws_window_consume(&window, 1000, &trip, &budget), 1000); /* of 12000 */
    assert_int_equal(hws_window_consume(&window, 2000, &trip, &budget), 2000); /* of 11000 */
    assert_int_equal(hws_window_consume(&window, 4000, &trip, &budget), 0);    /* of 9000 */
    assert_int_equal(window.size, 4000);
    assert_int_equal(budget.used, 4000);
    budget.limit = 4000 + 16000;
    assert_int_equal(hws_window_consume(&window, 4000, &trip, &budget), 4000);
    assert_int_equal(budget.used, 8000);
}

/* Connections that come, grow and go. */
static void the_limit_is_exceeded_by_the_least_windows_alone(void **state)
{
    hws_window_t windows[200];
    bool is_open[200] = {false};
    hws_window_budget_t budget = {.limit = MB(100)};
    const hws_trip_t trip = {.count = 1, .is_under_way = true};
    hws_random_t random;
    uint64_t sum = 0;
    uint32_t open = 0;
    uint32_t step;

    (void)state;
    hws_random_init(&random, 7);
    for (step = 0; step < 100000; step++) {
        uint32_t i = hws_random_below(&random, 200);
        hws_window_t *window = &windows[i];

        if (!is_open[i]) {
            hws_window_init(window, hws_window_budget_take(&budget, MB(16), HWS_WINDOW_LEAST),
                            MB(64));
            assert_true(window->size >= HWS_WINDOW_LEAST && window->size <= MB(16));
            sum += window->size;
            open++;
            is_open[i] = true;
        } else if (hws_random_below(&random, 4) > 0) {
            sum += hws_window_consume(window, window->size, &trip, &budget);
            assert_true(window->size <= MB(64));
        } else {
            hws_window_budget_give(&budget, window->size);
            sum -= window->size;
            open--;
            is_open[i] = false;
        }
        assert_int_equal(budget.used, sum);
        assert_true(budget.used <= budget.limit + (uint64_t)open * HWS_WINDOW_LEAST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trip_begins_after_a_quarter_of_a_window),
        cmocka_unit_test(half_of_it_in_one_trip_doubles_a_window),
        cmocka_unit_test(no_size_overflows),
        cmocka_unit_test(a_window_grows_to_what_the_path_carries),
        cmocka_unit_test(no_path_is_overestimated_or_held_up),
        cmocka_unit_test(late_windows_are_smaller),
        cmocka_unit_test(a_window_grows_only_within_its_share),
        cmocka_unit_test(the_limit_is_exceeded_by_the_least_windows_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
