#include "policy/breaker.h"

#include "support/cmocka.h"

#include <math.h>
#include <string.h>

#define HELD_MAX 64

/* A breaker, its clock, and the permits that are out. */
typedef struct {
    hws_breaker_t breaker;
    hws_breaker_options_t options;
    hws_random_t random;
    hws_time_t now;
    hws_permit_t held[HELD_MAX];
    uint32_t held_count;
} bench_t;

static void begin(bench_t *bench)
{
    *bench = (bench_t){0};
    hws_breaker_options_init(&bench->options);
    hws_random_init(&bench->random, 7);
    hws_breaker_init(&bench->breaker, 0);
}

static bool report(bench_t *bench, hws_permit_t *permit, hws_result_t result)
{
    return hws_breaker_report(&bench->breaker, &bench->options, permit, result, bench->now,
                              &bench->random);
}

/* ---- courses: what happens when, and the state after it ---- */

typedef enum {
    PASS,     /* asks and succeeds at once; each asks that it was admitted */
    FAIL,     /* ... and fails */
    SLOW,     /* ... and succeeds after two seconds */
    NEUTRAL,  /* ... and says nothing of the peer */
    DECLINED, /* ... and is answered after two milliseconds that it asked wrongly */
    JUDGED,   /* ... and fails, but a script decides */
    TAKE,     /* asks, and goes on */
    REFUSED,  /* asks in vain */
    OLD_PASS, /* who took first of those that are out succeeds */
    OLD_FAIL,
    OLD_NEUTRAL,
    TRIP, /* for `count` ms */
    CLOSE,
    FORCE, /* to `count` */
    DISABLE,
    ENABLE,
    PROBES, /* the option becomes `count` */
    TIME
} what_t;

typedef struct {
    hws_time_t at_ms;
    what_t what;
    uint32_t count;
    const char *state; /* afterwards */
} step_t;

#define STEPS 20

typedef struct {
    const char *name;
    step_t steps[STEPS]; /* up to one without a state */
} course_t;

static void call(bench_t *bench, hws_result_t result)
{
    hws_permit_t permit = hws_breaker_admit(&bench->breaker, &bench->options, bench->now);

    assert_true(permit.is_given);
    (void)report(bench, &permit, result);
    assert_false(permit.is_given);
    assert_false(report(bench, &permit, (hws_result_t){.outcome = HWS_OUTCOME_FAILURE}));
}

static void end_oldest(bench_t *bench, hws_outcome_class_t outcome)
{
    assert_true(bench->held_count > 0);
    (void)report(bench, &bench->held[0], (hws_result_t){.outcome = outcome});
    memmove(bench->held, bench->held + 1, --bench->held_count * sizeof(*bench->held));
}

static void happen(bench_t *bench, const step_t *step)
{
    hws_breaker_t *breaker = &bench->breaker;

    switch (step->what) {
    case PASS:
        call(bench, (hws_result_t){.outcome = HWS_OUTCOME_SUCCESS, .latency = HWS_MS(1)});
        break;
    case FAIL:
        call(bench, (hws_result_t){.outcome = HWS_OUTCOME_FAILURE});
        break;
    case SLOW:
        call(bench, (hws_result_t){.outcome = HWS_OUTCOME_SUCCESS, .latency = HWS_S(2)});
        break;
    case NEUTRAL:
        call(bench, (hws_result_t){.outcome = HWS_OUTCOME_NEUTRAL, .latency = HWS_S(2)});
        break;
    case DECLINED:
        call(bench, (hws_result_t){
                        .outcome = HWS_OUTCOME_SUCCESS, .latency = HWS_MS(2), .is_declined = true});
        break;
    case JUDGED:
        call(bench, (hws_result_t){.outcome = HWS_OUTCOME_FAILURE, .is_judged = true});
        break;
    case TAKE:
        assert_true(bench->held_count < HELD_MAX);
        bench->held[bench->held_count] = hws_breaker_admit(breaker, &bench->options, bench->now);
        assert_true(bench->held[bench->held_count++].is_given);
        break;
    case REFUSED:
        assert_false(hws_breaker_would_admit(breaker, &bench->options, bench->now));
        assert_false(hws_breaker_admit(breaker, &bench->options, bench->now).is_given);
        break;
    case OLD_PASS:
        end_oldest(bench, HWS_OUTCOME_SUCCESS);
        break;
    case OLD_FAIL:
        end_oldest(bench, HWS_OUTCOME_FAILURE);
        break;
    case OLD_NEUTRAL:
        end_oldest(bench, HWS_OUTCOME_NEUTRAL);
        break;
    default:
        fail();
    }
}

/* What is done once, whatever `count` says. */
static bool order(bench_t *bench, const step_t *step)
{
    switch (step->what) {
    case TRIP:
        (void)hws_breaker_trip(&bench->breaker, &bench->options, HWS_MS(step->count), bench->now,
                               &bench->random);
        return true;
    case CLOSE:
        (void)hws_breaker_close(&bench->breaker, bench->now);
        return true;
    case FORCE:
        hws_breaker_force(&bench->breaker, (hws_breaker_force_t)step->count, bench->now);
        return true;
    case DISABLE:
    case ENABLE:
        bench->options.is_disabled = step->what == DISABLE;
        return true;
    case PROBES:
        bench->options.probes = step->count;
        return true;
    case TIME:
        return true;
    default:
        return false;
    }
}

static void run(const course_t *course, const hws_breaker_options_t *options)
{
    const step_t *step;
    bench_t bench;

    begin(&bench);
    bench.options = *options;
    assert_int_equal(hws_breaker_options_check(options, NULL), HWS_OK);
    for (step = course->steps; step->state != NULL; step++) {
        const char *state;
        uint32_t i;

        bench.now = HWS_MS(step->at_ms);
        if (!order(&bench, step)) {
            for (i = 0; i < step->count; i++)
                happen(&bench, step);
        }
        state =
            hws_breaker_state_name(hws_breaker_state(&bench.breaker, &bench.options, bench.now));
        if (strcmp(state, step->state) != 0)
            print_error("%s: step %d\n", course->name, (int)(step - course->steps) + 1);
        assert_string_equal(state, step->state);
    }
}

#define RUN(courses, options)                                                                      \
    for (size_t i_ = 0; i_ < sizeof(courses) / sizeof((courses)[0]); i_++)                         \
    run(&(courses)[i_], options)

static void failures_in_a_row_open_it(void **state)
{
    static const course_t courses[] = {
        {"five", {{0, FAIL, 4, "closed"}, {1, FAIL, 1, "open"}, {2, REFUSED, 1, "open"}}},
        {"a success begins the row anew",
         {{0, FAIL, 4, "closed"}, {1, PASS, 1, "closed"}, {2, FAIL, 4, "closed"}}},
        {"neutral ones neither lengthen nor end it",
         {{0, FAIL, 4, "closed"}, {1, NEUTRAL, 50, "closed"}, {2, FAIL, 1, "open"}}},
        {"declined ones neither lengthen nor end it",
         {{0, FAIL, 4, "closed"}, {1, DECLINED, 50, "closed"}, {2, FAIL, 1, "open"}}},
        {"however long it takes", {{0, FAIL, 4, "closed"}, {9999999, FAIL, 1, "open"}}},
        {"a script decides", {{0, JUDGED, 50, "closed"}, {1, TRIP, 10, "open"}}},
        {"results from before it opened do nothing",
         {{0, TAKE, 20, "closed"},
          {1, OLD_FAIL, 5, "open"},
          {2, OLD_PASS, 5, "open"},
          {5001, TAKE, 3, "half_open"},
          {5002, OLD_FAIL, 5, "half_open"},
          {5003, OLD_PASS, 5, "half_open"},
          {5004, OLD_PASS, 3, "closed"}}},
    };
    hws_breaker_options_t options;

    (void)state;
    hws_breaker_options_init(&options);
    RUN(courses, &options);
}

static void a_rate_of_failures_opens_it(void **state)
{
    static const course_t courses[] = {
        {"half of twenty", {{0, PASS, 10, "closed"}, {1, FAIL, 9, "closed"}, {2, FAIL, 1, "open"}}},
        {"not below twenty", {{0, FAIL, 19, "closed"}, {1, FAIL, 1, "open"}}},
        {"not by a success",
         {{0, FAIL, 19, "closed"}, {1, PASS, 1, "closed"}, {2, FAIL, 1, "open"}}},
        {"neutral ones are no calls",
         {{0, NEUTRAL, 19, "closed"}, {1, FAIL, 19, "closed"}, {2, NEUTRAL, 19, "closed"}}},
        {"what left the window counts no more",
         {{0, FAIL, 15, "closed"},
          {9999, PASS, 15, "closed"},
          {10000, FAIL, 14, "closed"},
          {10001, FAIL, 1, "open"}}},
        {"what is in it counts",
         {{0, PASS, 1, "closed"}, {500, FAIL, 15, "closed"}, {9500, FAIL, 4, "open"}}},
        {"all of it leaves at once after a pause",
         {{0, FAIL, 19, "closed"}, {60000, PASS, 10, "closed"}, {60001, FAIL, 9, "closed"}}},
    };
    hws_breaker_options_t options;

    (void)state;
    hws_breaker_options_init(&options);
    options.consecutive = 0;
    RUN(courses, &options);
}

static void slow_calls_open_it_where_they_are_watched(void **state)
{
    static const course_t watched[] = {
        {"half of twenty", {{0, PASS, 10, "closed"}, {1, SLOW, 9, "closed"}, {2, SLOW, 1, "open"}}},
        {"a trial that is slow has failed",
         {{0, SLOW, 20, "open"}, {5000, TIME, 0, "half_open"}, {5001, SLOW, 1, "open"}}},
    };
    static const course_t unwatched[] = {{"all of them", {{0, SLOW, 500, "closed"}}}};
    hws_breaker_options_t options;

    (void)state;
    hws_breaker_options_init(&options);
    RUN(unwatched, &options);
    options.slow_after = HWS_S(1);
    options.slow_rate = 0.5;
    RUN(watched, &options);
}

static void slow_calls_that_are_watched_no_more_do_not_open_it(void **state)
{
    bench_t bench;
    int i;

    (void)state;
    begin(&bench);
    bench.options.slow_after = HWS_S(1);
    for (i = 0; i < 19; i++)
        call(&bench, (hws_result_t){.outcome = HWS_OUTCOME_SUCCESS, .latency = HWS_S(2)});
    bench.options.slow_rate = 0.9;
    bench.options.slow_after = HWS_NEVER;
    call(&bench, (hws_result_t){.outcome = HWS_OUTCOME_FAILURE});
    assert_int_equal(bench.breaker.state, HWS_BREAKER_CLOSED);
}

static void trials_close_it_or_open_it_again(void **state)
{
    static const course_t courses[] = {
        {"three successes, one after the other",
         {{0, FAIL, 5, "open"},
          {4499, REFUSED, 1, "open"},
          {5000, TIME, 0, "half_open"},
          {5000, PASS, 2, "half_open"},
          {5001, PASS, 1, "closed"},
          {5002, FAIL, 4, "closed"},
          {5003, FAIL, 1, "open"}}},
        {"three at once, and no more than are needed",
         {{0, FAIL, 5, "open"},
          {5000, TAKE, 3, "half_open"},
          {5001, REFUSED, 1, "half_open"},
          {5002, OLD_PASS, 1, "half_open"},
          {5003, REFUSED, 1, "half_open"},
          {5004, OLD_PASS, 2, "closed"}}},
        {"any failure",
         {{0, FAIL, 5, "open"},
          {5000, TAKE, 3, "half_open"},
          {5001, OLD_PASS, 2, "half_open"},
          {5002, OLD_FAIL, 1, "open"},
          {5003, REFUSED, 1, "open"}}},
        {"declined ones went well", {{0, FAIL, 5, "open"}, {5000, DECLINED, 3, "closed"}}},
        {"cancelled ones give their places back",
         {{0, FAIL, 5, "open"},
          {5000, NEUTRAL, 50, "half_open"},
          {5001, TAKE, 3, "half_open"},
          {5002, OLD_NEUTRAL, 3, "half_open"},
          {5003, PASS, 3, "closed"}}},
        {"fewer are enough from now on",
         {{0, FAIL, 5, "open"},
          {5000, PASS, 2, "half_open"},
          {5001, PROBES, 1, "half_open"},
          {5002, PASS, 1, "closed"}}},
        {"its time doubles, and closing ends that",
         {{0, FAIL, 5, "open"},
          {5000, FAIL, 1, "open"},
          {13900, REFUSED, 1, "open"},
          {15000, FAIL, 1, "open"},
          {32900, REFUSED, 1, "open"},
          {35000, FAIL, 1, "open"},
          {70900, REFUSED, 1, "open"},
          {75000, FAIL, 1, "open"},
          {128900, REFUSED, 1, "open"},
          {135000, FAIL, 1, "open"},
          {188900, REFUSED, 1, "open"},
          {195000, PASS, 3, "closed"},
          {195000, FAIL, 5, "open"},
          {199400, REFUSED, 1, "open"},
          {200000, PASS, 3, "closed"}}},
    };
    hws_breaker_options_t options;

    (void)state;
    hws_breaker_options_init(&options);
    RUN(courses, &options);
}

static void orders_go_before_what_it_finds(void **state)
{
    static const course_t courses[] = {
        {"open",
         {{0, FORCE, HWS_FORCE_OPEN, "open"},
          {1, REFUSED, 1, "open"},
          {9999999, REFUSED, 1, "open"},
          {9999999, FORCE, HWS_FORCE_NONE, "closed"},
          {9999999, FAIL, 4, "closed"}}},
        {"closed, and what was counted decides later",
         {{0, FORCE, HWS_FORCE_CLOSED, "closed"},
          {1, FAIL, 50, "closed"},
          {2, TRIP, 50, "closed"},
          {3, FORCE, HWS_FORCE_NONE, "closed"},
          {4, FAIL, 1, "open"}}},
        {"disabled, and nothing was counted",
         {{0, FORCE, HWS_FORCE_DISABLED, "closed"},
          {1, FAIL, 50, "closed"},
          {2, TAKE, 5, "closed"},
          {3, FORCE, HWS_FORCE_NONE, "closed"},
          {4, OLD_FAIL, 5, "closed"},
          {4, FAIL, 4, "closed"}}},
        {"closed while it was open",
         {{0, FAIL, 5, "open"},
          {1, FORCE, HWS_FORCE_CLOSED, "closed"},
          {2, PASS, 9, "closed"},
          {3, FORCE, HWS_FORCE_NONE, "closed"},
          {4, PASS, 9, "closed"}}},
        {"permits from before count no more",
         {{0, TAKE, 5, "closed"},
          {1, FORCE, HWS_FORCE_OPEN, "open"},
          {2, FORCE, HWS_FORCE_NONE, "closed"},
          {3, OLD_FAIL, 5, "closed"}}},
        {"not forced, but disabled by its options",
         {{0, FAIL, 5, "open"},
          {1, DISABLE, 0, "closed"},
          {2, FAIL, 50, "closed"},
          {3, TRIP, 50, "closed"},
          {4, ENABLE, 0, "open"},
          {5000, TAKE, 3, "half_open"},
          {5001, DISABLE, 0, "closed"},
          {5002, OLD_PASS, 3, "closed"},
          {5003, ENABLE, 0, "half_open"},
          {5004, PASS, 3, "closed"}}},
        {"forced open goes before disabled by its options",
         {{0, DISABLE, 0, "closed"}, {1, FORCE, HWS_FORCE_OPEN, "open"}, {2, REFUSED, 1, "open"}}},
        {"closed from outside",
         {{0, FAIL, 5, "open"},
          {5000, FAIL, 1, "open"},
          {5001, CLOSE, 0, "closed"},
          {5002, FAIL, 5, "open"},
          {9400, REFUSED, 1, "open"},
          {10002, CLOSE, 0, "closed"}}},
        {"a script opens it for as long as it says, and the rest is not for it",
         {{0, TRIP, 700, "open"},
          {0, TRIP, 9999, "open"},
          {699, REFUSED, 1, "open"},
          {700, TRIP, 9999, "half_open"},
          {700, JUDGED, 1, "open"},
          {9600, REFUSED, 1, "open"},
          {10700, TAKE, 1, "half_open"},
          {10701, TRIP, 9999, "half_open"},
          {10702, OLD_PASS, 1, "half_open"},
          {10703, PASS, 2, "closed"}}},
    };
    hws_breaker_options_t options;

    (void)state;
    hws_breaker_options_init(&options);
    RUN(courses, &options);
}

static void a_clock_that_goes_back_harms_nothing(void **state)
{
    static const course_t courses[] = {
        {"an open one opens no earlier",
         {{100000, FAIL, 5, "open"}, {99999, REFUSED, 1, "open"}, {105000, TIME, 0, "half_open"}}},
        {"nor stays open for ever", {{100000, FAIL, 5, "open"}, {0, PASS, 3, "closed"}}},
        {"a closed one goes on counting",
         {{100000, FAIL, 4, "closed"}, {0, FAIL, 1, "open"}, {5000, PASS, 3, "closed"}}},
    };
    static const course_t rates[] = {
        {"the window goes on from there",
         {{100000, PASS, 10, "closed"}, {0, FAIL, 9, "closed"}, {1, FAIL, 1, "open"}}},
        {"and slides",
         {{100000, FAIL, 19, "closed"}, {0, PASS, 1, "closed"}, {12000, FAIL, 10, "closed"}}},
    };
    hws_breaker_options_t options;

    (void)state;
    hws_breaker_options_init(&options);
    RUN(courses, &options);
    options.consecutive = 0;
    RUN(rates, &options);
}

/* ---- what it says of itself ---- */

static void it_says_when_to_come_back(void **state)
{
    bench_t bench;
    hws_breaker_t *breaker = &bench.breaker;
    hws_breaker_options_t *options = &bench.options;
    hws_permit_t permit;

    (void)state;
    begin(&bench);
    options->probes = 1;
    assert_int_equal(hws_breaker_retry_in(breaker, options, 0), 0);
    assert_int_equal(hws_breaker_since(breaker, options, HWS_S(1)), 0);
    assert_true(hws_breaker_trip(breaker, options, HWS_S(2), HWS_S(1), &bench.random));
    assert_int_equal(hws_breaker_retry_in(breaker, options, HWS_S(1)), HWS_S(2));
    assert_int_equal(hws_breaker_retry_in(breaker, options, HWS_MS(2999)), HWS_MS(1));
    assert_int_equal(hws_breaker_since(breaker, options, HWS_MS(2999)), HWS_S(1));
    assert_int_equal(hws_breaker_retry_in(breaker, options, HWS_S(3)), 0);
    assert_int_equal(hws_breaker_since(breaker, options, HWS_S(9)), HWS_S(3));
    permit = hws_breaker_admit(breaker, options, HWS_S(9));
    assert_true(permit.is_probe);
    assert_int_equal(hws_breaker_since(breaker, options, HWS_S(9)), HWS_S(3));
    assert_int_equal(hws_breaker_retry_in(breaker, options, HWS_S(9)), options->open_for);
    bench.now = HWS_S(9);
    assert_true(report(&bench, &permit, (hws_result_t){.outcome = HWS_OUTCOME_SUCCESS}));
    assert_int_equal(hws_breaker_retry_in(breaker, options, HWS_S(9)), 0);
    hws_breaker_force(breaker, HWS_FORCE_OPEN, HWS_S(10));
    assert_int_equal(hws_breaker_retry_in(breaker, options, HWS_S(11)), HWS_NEVER);
    assert_int_equal(hws_breaker_since(breaker, options, HWS_S(11)), HWS_S(10));
}

static void open_for_ever_is_until_somebody_closes_it(void **state)
{
    bench_t bench;

    (void)state;
    begin(&bench);
    bench.options.open_for = bench.options.open_max = HWS_NEVER;
    assert_int_equal(hws_breaker_options_check(&bench.options, NULL), HWS_OK);
    assert_true(hws_breaker_trip(&bench.breaker, &bench.options, 0, HWS_S(1), &bench.random));
    assert_false(hws_breaker_would_admit(&bench.breaker, &bench.options, HWS_S(1) << 30));
    assert_int_equal(hws_breaker_retry_in(&bench.breaker, &bench.options, HWS_S(9)), HWS_NEVER);
    assert_true(hws_breaker_close(&bench.breaker, HWS_S(9)));
    assert_true(hws_breaker_would_admit(&bench.breaker, &bench.options, HWS_S(9)));
}

static void open_times_spread_over_their_last_tenth(void **state)
{
    bench_t bench;
    hws_time_t least = HWS_NEVER;
    hws_time_t most = 0;
    int i;

    (void)state;
    begin(&bench);
    for (i = 0; i < 1000; i++) {
        hws_time_t open_for;

        assert_true(hws_breaker_trip(&bench.breaker, &bench.options, 0, 0, &bench.random));
        open_for = hws_breaker_retry_in(&bench.breaker, &bench.options, 0);
        least = open_for < least ? open_for : least;
        most = open_for > most ? open_for : most;
        assert_true(hws_breaker_close(&bench.breaker, 0));
    }
    assert_in_range(least, HWS_MS(4500), HWS_MS(4510));
    assert_in_range(most, HWS_MS(4990), HWS_MS(5000));
}

static void check_is_refused(const hws_breaker_options_t *options, const char *word)
{
    hws_error_t why;

    assert_int_equal(hws_breaker_options_check(options, NULL), HWS_ERR_INVALID);
    assert_int_equal(hws_breaker_options_check(options, &why), HWS_ERR_INVALID);
    assert_memory_equal(why.detail, word, strlen(word));
}

#define REFUSED_WITH(field, value)                                                                 \
    do {                                                                                           \
        hws_breaker_options_init(&options);                                                        \
        assert_int_equal(hws_breaker_options_check(&options, NULL), HWS_OK);                       \
        options.field = (value);                                                                   \
        check_is_refused(&options, "breaker." #field ":");                                         \
    } while (0)

static void options_out_of_range_are_named(void **state)
{
    hws_breaker_options_t options;

    (void)state;
    REFUSED_WITH(failure_rate, -0.1);
    REFUSED_WITH(failure_rate, 1.1);
    REFUSED_WITH(failure_rate, (double)NAN);
    REFUSED_WITH(min_calls, 0);
    REFUSED_WITH(window, HWS_US(999));
    REFUSED_WITH(window, HWS_NEVER);
    REFUSED_WITH(slow_after, -1);
    REFUSED_WITH(slow_rate, 0);
    REFUSED_WITH(slow_rate, 1.1);
    REFUSED_WITH(slow_rate, (double)NAN);
    REFUSED_WITH(open_for, HWS_US(999));
    REFUSED_WITH(open_max, HWS_S(4));
    REFUSED_WITH(probes, 0);
}

/* ---- against a plain model ---- */

#define CALLS_MAX 4096

/* Each call that counts is kept, with the number of the tenth in which it was counted. */
typedef struct {
    hws_breaker_state_t state;
    hws_breaker_force_t force;
    hws_time_t since;
    hws_time_t open_for;
    uint32_t epoch;
    uint32_t trials;
    uint32_t well;
    uint32_t reopened;
    uint32_t row;
    int64_t tenth;
    hws_time_t tenth_ends;
    struct {
        int64_t tenth;
        bool has_failed;
        bool is_slow;
    } calls[CALLS_MAX];
    uint32_t call_count;
} model_t;

/* A permit, and what the model knows of it. */
typedef struct {
    hws_permit_t permit;
    uint32_t epoch;
    bool is_trial;
    bool counts;
} pass_t;

typedef struct {
    bench_t bench;
    model_t model;
    hws_random_t dice; /* of the walk: the breaker's own is not disturbed */
    pass_t passes[HELD_MAX];
    uint32_t pass_count;
    uint32_t entered[HWS_BREAKER_COUNT]; /* how often, so that a walk which stays is noticed */
} walk_t;

static void model_enter(walk_t *walk, hws_breaker_state_t next)
{
    model_t *model = &walk->model;

    model->state = next;
    model->epoch++;
    model->since = walk->bench.now;
    model->trials = model->well = 0;
    if (next == HWS_BREAKER_CLOSED) {
        model->row = model->reopened = model->call_count = 0;
        model->tenth_ends = walk->bench.now;
    }
    walk->entered[next]++;
}

/* The time it is open for is drawn, so it is read; but it must be in its range. */
static void model_open(walk_t *walk, hws_time_t given)
{
    const hws_breaker_options_t *options = &walk->bench.options;
    hws_time_t open_for = walk->bench.breaker.open_for;
    hws_time_t usual = options->open_for;
    uint32_t i;

    for (i = 0; i < walk->model.reopened && usual < options->open_max; i++)
        usual *= 2;
    usual = usual < options->open_max ? usual : options->open_max;
    if (given > 0)
        assert_int_equal(open_for, given);
    else
        assert_true(open_for <= usual && open_for >= usual - usual / 10 - 1);
    model_enter(walk, HWS_BREAKER_OPEN);
    walk->model.open_for = open_for;
}

static hws_breaker_state_t model_state(const walk_t *walk)
{
    const model_t *model = &walk->model;
    hws_time_t away = walk->bench.now - model->since;

    if (model->force == HWS_FORCE_OPEN)
        return HWS_BREAKER_OPEN;
    if (model->force != HWS_FORCE_NONE || walk->bench.options.is_disabled)
        return HWS_BREAKER_CLOSED;
    if (model->state == HWS_BREAKER_OPEN && (away >= model->open_for || away < -model->open_for))
        return HWS_BREAKER_HALF_OPEN;
    return model->state;
}

static bool model_admits(const walk_t *walk)
{
    hws_breaker_state_t state = model_state(walk);
    uint32_t trials = walk->model.state == state ? walk->model.trials : 0;
    uint32_t well = walk->model.state == state ? walk->model.well : 0;

    return state == HWS_BREAKER_CLOSED ||
           (state == HWS_BREAKER_HALF_OPEN &&
            (trials == 0 || trials + well < walk->bench.options.probes));
}

static bool model_counts(const walk_t *walk)
{
    return walk->model.force != HWS_FORCE_DISABLED && !walk->bench.options.is_disabled;
}

static void count_in_tenth(walk_t *walk, bool has_failed, bool is_slow)
{
    model_t *model = &walk->model;
    hws_time_t width = walk->bench.options.window / 10;

    if (model->tenth_ends - walk->bench.now > width) {
        model->tenth_ends = walk->bench.now + width;
    } else {
        while (model->tenth_ends <= walk->bench.now) {
            model->tenth_ends += width;
            model->tenth++;
        }
    }
    assert_true(model->call_count < CALLS_MAX);
    model->calls[model->call_count].tenth = model->tenth;
    model->calls[model->call_count].has_failed = has_failed;
    model->calls[model->call_count++].is_slow = is_slow;
}

static bool model_is_too_much(const walk_t *walk)
{
    const hws_breaker_options_t *options = &walk->bench.options;
    const model_t *model = &walk->model;
    uint32_t calls = 0;
    uint32_t failures = 0;
    uint32_t slow = 0;
    uint32_t i;

    for (i = 0; i < model->call_count; i++) {
        if (model->calls[i].tenth <= model->tenth - 10)
            continue;
        calls++;
        failures += model->calls[i].has_failed;
        slow += model->calls[i].is_slow;
    }
    return model->row >= options->consecutive ||
           (calls >= options->min_calls &&
            (failures >= options->failure_rate * calls || slow >= options->slow_rate * calls));
}

/* What the model makes of a result. Returns whether the state changed. */
static bool model_report(walk_t *walk, const pass_t *pass, hws_result_t result)
{
    model_t *model = &walk->model;
    bool has_failed = result.outcome == HWS_OUTCOME_FAILURE;
    bool is_slow = result.latency > walk->bench.options.slow_after;

    if (!pass->counts || pass->epoch != model->epoch)
        return false;
    model->trials -= pass->is_trial;
    if (result.outcome == HWS_OUTCOME_NEUTRAL || !model_counts(walk))
        return false;
    if (result.is_declined && !pass->is_trial)
        return false;
    if (pass->is_trial && (has_failed || is_slow)) {
        model->reopened++;
        model_open(walk, 0);
        return true;
    }
    if (pass->is_trial) {
        if (++model->well < walk->bench.options.probes)
            return false;
        model_enter(walk, HWS_BREAKER_CLOSED);
        return true;
    }
    count_in_tenth(walk, has_failed, is_slow);
    model->row = has_failed ? model->row + 1 : 0;
    if ((!has_failed && !is_slow) || result.is_judged || model->force != HWS_FORCE_NONE ||
        !model_is_too_much(walk))
        return false;
    model_open(walk, 0);
    return true;
}

static void walk_admit(walk_t *walk)
{
    bool admits = model_admits(walk);
    hws_permit_t permit =
        hws_breaker_admit(&walk->bench.breaker, &walk->bench.options, walk->bench.now);
    pass_t *pass = &walk->passes[walk->pass_count];

    assert_int_equal(permit.is_given, admits);
    if (!admits)
        return;
    if (model_state(walk) == HWS_BREAKER_HALF_OPEN && walk->model.state == HWS_BREAKER_OPEN)
        model_enter(walk, HWS_BREAKER_HALF_OPEN);
    pass->permit = permit;
    pass->counts = model_counts(walk);
    pass->epoch = walk->model.epoch;
    pass->is_trial = pass->counts && walk->model.state == HWS_BREAKER_HALF_OPEN;
    walk->model.trials += pass->is_trial;
    assert_int_equal(permit.is_probe, pass->is_trial);
    /* Fewer trials than before may be allowed now; none is added before they are so few. */
    assert_true(walk->model.trials <= walk->bench.options.probes || !pass->is_trial);
    walk->pass_count++;
}

static void walk_report(walk_t *walk, uint32_t at, hws_result_t result)
{
    pass_t pass = walk->passes[at];
    bool has_changed = report(&walk->bench, &pass.permit, result);

    walk->passes[at] = walk->passes[--walk->pass_count];
    assert_int_equal(has_changed, model_report(walk, &pass, result));
    assert_false(report(&walk->bench, &pass.permit, result)); /* spent */
}

static hws_result_t draw_result(walk_t *walk, uint32_t mood)
{
    uint32_t drawn = hws_random_below(&walk->dice, 100);

    if (drawn >= 95)
        return (hws_result_t){.outcome = HWS_OUTCOME_SUCCESS,
                              .latency = HWS_MS(hws_random_below(&walk->dice, 130)),
                              .is_declined = true};
    return (hws_result_t){.outcome = drawn < 10          ? HWS_OUTCOME_NEUTRAL
                                     : drawn < 10 + mood ? HWS_OUTCOME_FAILURE
                                                         : HWS_OUTCOME_SUCCESS,
                          .latency = HWS_MS(hws_random_below(&walk->dice, mood < 20 ? 101 : 130)),
                          .is_judged = hws_random_below(&walk->dice, 20) == 0};
}

static hws_time_t draw_leap(walk_t *walk)
{
    uint32_t drawn = hws_random_below(&walk->dice, 1000);

    if (drawn < 950)
        return (hws_time_t)hws_random_below(&walk->dice, HWS_MS(20));
    if (drawn < 985)
        return (hws_time_t)hws_random_below(&walk->dice, HWS_S(3));
    if (drawn < 995)
        return -(hws_time_t)hws_random_below(&walk->dice, HWS_S(3));
    return -(hws_time_t)hws_random_below(&walk->dice, HWS_S(60));
}

static void walk_order(walk_t *walk)
{
    bench_t *bench = &walk->bench;
    hws_breaker_force_t force;
    bool is_free = walk->model.force == HWS_FORCE_NONE;
    hws_time_t given;

    switch (hws_random_below(&walk->dice, 5)) {
    case 0:
        given = (hws_time_t)hws_random_below(&walk->dice, 2) * HWS_MS(77);
        is_free = is_free && !bench->options.is_disabled && walk->model.state == HWS_BREAKER_CLOSED;
        assert_int_equal(
            hws_breaker_trip(&bench->breaker, &bench->options, given, bench->now, &bench->random),
            is_free);
        if (is_free)
            model_open(walk, given);
        break;
    case 1:
        is_free = is_free && walk->model.state != HWS_BREAKER_CLOSED;
        assert_int_equal(hws_breaker_close(&bench->breaker, bench->now), is_free);
        if (is_free)
            model_enter(walk, HWS_BREAKER_CLOSED);
        break;
    case 2:
        force = (hws_breaker_force_t)(is_free ? hws_random_below(&walk->dice, HWS_FORCE_COUNT) : 0);
        hws_breaker_force(&bench->breaker, force, bench->now);
        if (force == HWS_FORCE_NONE && walk->model.force == HWS_FORCE_CLOSED)
            walk->model.since = bench->now;
        else if (force != walk->model.force)
            model_enter(walk, HWS_BREAKER_CLOSED);
        walk->model.force = force;
        break;
    case 3:
        bench->options.is_disabled = !bench->options.is_disabled;
        break;
    case 4:
        bench->options.probes = 1 + hws_random_below(&walk->dice, 4);
        bench->options.window = HWS_S(1 + hws_random_below(&walk->dice, 3));
        break;
    }
}

static void it_is_never_stuck(walk_t *walk)
{
    bench_t *bench = &walk->bench;
    hws_permit_t permit;
    uint32_t i;

    hws_breaker_force(&bench->breaker, HWS_FORCE_NONE, bench->now);
    bench->options.is_disabled = false;
    while (walk->pass_count > 0) {
        permit = walk->passes[--walk->pass_count].permit;
        (void)report(bench, &permit, (hws_result_t){.outcome = HWS_OUTCOME_NEUTRAL});
    }
    bench->now += 2 * bench->options.open_max;
    for (i = 0; i < bench->options.probes; i++) {
        permit = hws_breaker_admit(&bench->breaker, &bench->options, bench->now);
        assert_true(permit.is_given);
        (void)report(bench, &permit, (hws_result_t){.outcome = HWS_OUTCOME_SUCCESS});
    }
    assert_int_equal(hws_breaker_state(&bench->breaker, &bench->options, bench->now),
                     HWS_BREAKER_CLOSED);
}

static void walk_from(uint64_t seed, uint32_t *entered)
{
    enum { STEPS_OF_WALK = 4000 };
    static walk_t walk;
    uint32_t mood = 10; /* how much in a hundred fails */
    int i;

    walk = (walk_t){0};
    begin(&walk.bench);
    hws_random_init(&walk.dice, seed);
    walk.bench.options.window = HWS_S(2);
    walk.bench.options.slow_after = HWS_MS(100);
    walk.bench.options.slow_rate = 0.3;
    walk.bench.options.open_for = HWS_MS(300);
    walk.bench.options.open_max = HWS_S(2);
    model_enter(&walk, HWS_BREAKER_CLOSED);
    walk.model.since = walk.model.tenth_ends = 0;
    for (i = 0; i < STEPS_OF_WALK; i++) {
        uint32_t drawn = hws_random_below(&walk.dice, 1000);

        walk.bench.now += draw_leap(&walk);
        if (drawn < 10)
            mood = hws_random_below(&walk.dice, 3) * 30;
        if (drawn < 5)
            walk_order(&walk);
        else if (walk.pass_count < HELD_MAX && drawn < 540)
            walk_admit(&walk);
        else if (walk.pass_count > 0)
            walk_report(&walk, hws_random_below(&walk.dice, walk.pass_count),
                        draw_result(&walk, mood));
        assert_int_equal(
            hws_breaker_state(&walk.bench.breaker, &walk.bench.options, walk.bench.now),
            model_state(&walk));
        assert_int_equal(
            hws_breaker_would_admit(&walk.bench.breaker, &walk.bench.options, walk.bench.now),
            model_admits(&walk));
        assert_true(
            hws_breaker_retry_in(&walk.bench.breaker, &walk.bench.options, walk.bench.now) >= 0);
        assert_int_equal(walk.bench.breaker.probes_out, walk.model.trials);
    }
    for (i = 0; i < HWS_BREAKER_COUNT; i++)
        entered[i] += walk.entered[i];
    it_is_never_stuck(&walk);
}

static void it_does_what_a_plain_model_does(void **state)
{
    uint32_t entered[HWS_BREAKER_COUNT] = {0};
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= 300; seed++)
        walk_from(seed, entered);
    assert_true(entered[HWS_BREAKER_CLOSED] > 1000);
    assert_true(entered[HWS_BREAKER_OPEN] > 1000);
    assert_true(entered[HWS_BREAKER_HALF_OPEN] > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(a_rate_of_failures_opens_it),
        cmocka_unit_test(slow_calls_open_it_where_they_are_watched),
        cmocka_unit_test(slow_calls_that_are_watched_no_more_do_not_open_it),
        cmocka_unit_test(trials_close_it_or_open_it_again),
        cmocka_unit_test(orders_go_before_what_it_finds),
        cmocka_unit_test(a_clock_that_goes_back_harms_nothing),
        cmocka_unit_test(it_says_when_to_come_back),
        cmocka_unit_test(open_for_ever_is_until_somebody_closes_it),
        cmocka_unit_test(open_times_spread_over_their_last_tenth),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(it_does_what_a_plain_model_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
