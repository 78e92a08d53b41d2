#include "policy/retry.h"

#include "support/cmocka.h"

#include <string.h>

#define NOW HWS_S(100)

typedef struct {
    hws_retry_options_t options;
    hws_budget_t budget;
    hws_backoff_t backoff;
    hws_random_t random;
} world_t;

static void make(world_t *world)
{
    memset(world, 0, sizeof(*world));
    hws_retry_options_init(&world->options);
    hws_random_init(&world->random, 5);
}

/* A first try of a replayable request that the peer reset. */
static hws_retry_try_t a_reset(void)
{
    return (hws_retry_try_t){.code = HWS_ERR_RESET,
                             .phase = HWS_PHASE_HEADERS,
                             .attempts = 1,
                             .is_replayable = true,
                             .retry_after = HWS_RETRY_AFTER_NONE,
                             .left = HWS_NEVER};
}

/* The three questions in their order, as a call asks them. */
static hws_retry_verdict_t decide(world_t *world, const hws_retry_try_t *tried)
{
    hws_retry_verdict_t verdict = {.reason = hws_retry_may(&world->options, tried)};

    if (verdict.reason == HWS_RETRY_GO)
        verdict = hws_retry_propose(&world->options, tried, &world->backoff, &world->random);
    if (verdict.reason == HWS_RETRY_GO)
        verdict = hws_retry_admit(&world->options, tried, verdict.delay, &world->budget, NOW);
    return verdict;
}

/* ---- what it ended with ---- */

static void the_end_of_a_try_decides(void **state)
{
    static const struct {
        int code;
        hws_phase_t phase;
        uint32_t status;
        hws_retry_reason_t reason;
    } cases[] = {
        {HWS_ERR_RESET, HWS_PHASE_HEADERS, 0, HWS_RETRY_GO},
        {HWS_ERR_EOF, HWS_PHASE_BODY, 0, HWS_RETRY_GO},
        {HWS_ERR_NXDOMAIN, HWS_PHASE_RESOLVE, 0, HWS_RETRY_GO},
        {HWS_ERR_REFUSED, HWS_PHASE_CONNECT, 0, HWS_RETRY_GO},
        {HWS_ERR_UNREACHABLE, HWS_PHASE_CONNECT, 0, HWS_RETRY_GO},
        {HWS_ERR_TLS_EOF, HWS_PHASE_TLS, 0, HWS_RETRY_GO},
        {HWS_ERR_TIMEOUT, HWS_PHASE_RESOLVE, 0, HWS_RETRY_GO},
        {HWS_ERR_TIMEOUT, HWS_PHASE_CONNECT, 0, HWS_RETRY_GO},
        {HWS_ERR_TIMEOUT, HWS_PHASE_TLS, 0, HWS_RETRY_GO},
        {HWS_ERR_TIMEOUT, HWS_PHASE_QUEUE, 0, HWS_RETRY_NOT_ON},
        {HWS_ERR_TIMEOUT, HWS_PHASE_SEND, 0, HWS_RETRY_NOT_ON},
        {HWS_ERR_TIMEOUT, HWS_PHASE_HEADERS, 0, HWS_RETRY_NOT_ON},
        {HWS_ERR_QUEUE_FULL, HWS_PHASE_QUEUE, 0, HWS_RETRY_NOT_ON},
        {HWS_ERR_CERT_NAME, HWS_PHASE_TLS, 0, HWS_RETRY_UNSAFE},
        {HWS_ERR_STATUS_LINE, HWS_PHASE_HEADERS, 0, HWS_RETRY_UNSAFE},
        {HWS_ERR_CLOSED, HWS_PHASE_HEADERS, 0, HWS_RETRY_UNSAFE},
        {HWS_ERR_BODY_SIZE, HWS_PHASE_BODY, 0, HWS_RETRY_UNSAFE},
        {HWS_ERR_NO_PEER, HWS_PHASE_QUEUE, 0, HWS_RETRY_UNSAFE},
        {HWS_ERR_CANCELED, HWS_PHASE_HEADERS, 0, HWS_RETRY_UNSAFE},
        {HWS_ERR_NOMEM, HWS_PHASE_SEND, 0, HWS_RETRY_UNSAFE},
        {HWS_OK, HWS_PHASE_HEADERS, 200, HWS_RETRY_NOT_ON},
        {HWS_OK, HWS_PHASE_HEADERS, 404, HWS_RETRY_NOT_ON},
        {HWS_OK, HWS_PHASE_HEADERS, 500, HWS_RETRY_NOT_ON},
        {HWS_OK, HWS_PHASE_HEADERS, 501, HWS_RETRY_NOT_ON},
        {HWS_OK, HWS_PHASE_HEADERS, 502, HWS_RETRY_GO},
        {HWS_OK, HWS_PHASE_HEADERS, 503, HWS_RETRY_GO},
        {HWS_OK, HWS_PHASE_HEADERS, 504, HWS_RETRY_GO},
        {HWS_OK, HWS_PHASE_HEADERS, 505, HWS_RETRY_NOT_ON},
        {HWS_OK, HWS_PHASE_HEADERS, 0, HWS_RETRY_NOT_ON},
        {HWS_OK, HWS_PHASE_HEADERS, UINT32_MAX, HWS_RETRY_NOT_ON},
    };
    world_t world;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_retry_try_t tried = a_reset();

        make(&world);
        tried.code = cases[i].code;
        tried.phase = cases[i].phase;
        tried.status = cases[i].status;
        assert_int_equal(decide(&world, &tried).reason, cases[i].reason);
        tried.is_replayable = false;
        assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_UNSAFE);
        world.options.is_disabled = true;
        assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_OFF);
    }
}

static void nothing_goes_again_past_its_attempts(void **state)
{
    hws_retry_try_t tried = a_reset();
    world_t world;

    (void)state;
    make(&world);
    for (tried.attempts = 1; tried.attempts < 3; tried.attempts++)
        assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_GO);
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_ATTEMPTS);
    tried.attempts = UINT32_MAX;
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_ATTEMPTS);
    tried.attempts = 1;
    world.options.attempts = 1;
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_ATTEMPTS);
}

/* ---- delay, deadline, budget ---- */

static void a_refusal_pays_nothing(void **state)
{
    hws_retry_try_t tried = a_reset();
    world_t world;
    uint32_t left;

    (void)state;
    make(&world);
    left = hws_budget_left(&world.budget, &world.options.budget, NOW);
    tried.left = 0;
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_DEADLINE);
    tried.attempts = 3;
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_ATTEMPTS);
    assert_int_equal(hws_budget_left(&world.budget, &world.options.budget, NOW), left);
    tried = a_reset();
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_GO);
    assert_int_equal(hws_budget_left(&world.budget, &world.options.budget, NOW), left - 1);
}

static void a_spent_budget_stops_all(void **state)
{
    hws_retry_try_t tried = a_reset();
    world_t world;
    int i;

    (void)state;
    make(&world);
    for (i = 0; i < 10; i++)
        assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_GO);
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_BUDGET);
    world.options.budget.is_disabled = true;
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_GO);
}

static void a_delay_must_end_before_the_deadline(void **state)
{
    static const struct {
        hws_time_t delay;
        hws_time_t left;
        hws_retry_reason_t reason;
    } cases[] = {
        {0, 1, HWS_RETRY_GO},
        {0, 0, HWS_RETRY_DEADLINE},
        {0, -1, HWS_RETRY_DEADLINE},
        {HWS_S(1), HWS_S(1), HWS_RETRY_DEADLINE},
        {HWS_S(1), HWS_S(1) + 1, HWS_RETRY_GO},
        {HWS_S(1000000), HWS_NEVER, HWS_RETRY_GO},
        {HWS_NEVER, HWS_NEVER, HWS_RETRY_DEADLINE},
    };
    hws_retry_try_t tried = a_reset();
    world_t world;
    size_t i;

    (void)state;
    make(&world);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_retry_verdict_t verdict;

        tried.left = cases[i].left;
        verdict = hws_retry_admit(&world.options, &tried, cases[i].delay, &world.budget, NOW);
        assert_int_equal(verdict.reason, cases[i].reason);
        assert_int_equal(verdict.delay, cases[i].delay);
    }
}

static void retry_after_is_the_least_delay(void **state)
{
    static const hws_time_t asked[] = {0, HWS_MS(1), HWS_S(3), HWS_RETRY_AFTER_MAX};
    hws_retry_try_t tried = a_reset();
    world_t world;
    size_t i;
    int n;

    (void)state;
    make(&world);
    world.options.budget.is_disabled = true;
    tried.code = HWS_OK;
    tried.status = 503;
    for (i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        hws_time_t most = asked[i] + asked[i] / 2;
        hws_time_t highest = 0;

        tried.retry_after = asked[i];
        for (n = 0; n < 1000; n++) {
            hws_retry_verdict_t verdict = decide(&world, &tried);

            assert_int_equal(verdict.reason, HWS_RETRY_GO);
            assert_true(verdict.delay >= asked[i]);
            assert_true(verdict.delay <= most || verdict.delay <= HWS_MS(50));
            if (verdict.delay > highest)
                highest = verdict.delay;
        }
        assert_true(highest >= most - most / 50);
    }
    tried.left = HWS_S(300);
    assert_int_equal(decide(&world, &tried).reason, HWS_RETRY_DEADLINE);
    assert_in_range(decide(&world, &tried).delay, HWS_S(300), HWS_S(450));
}

/* ---- a script in the place of the built-in policy ---- */

static void a_script_changes_nothing_about_safety(void **state)
{
    hws_retry_try_t tried = a_reset();
    world_t world;

    (void)state;
    make(&world);
    tried.code = HWS_OK;
    tried.status = 404; /* not in `on`, but that is the script's to say */
    assert_int_equal(hws_retry_may(&world.options, &tried), HWS_RETRY_GO);
    tried.is_replayable = false;
    assert_int_equal(hws_retry_may(&world.options, &tried), HWS_RETRY_UNSAFE);
    tried = a_reset();
    tried.attempts = 3;
    assert_int_equal(hws_retry_may(&world.options, &tried), HWS_RETRY_ATTEMPTS);
}

/* ---- options ---- */

static void the_defaults_are_allowed(void **state)
{
    hws_retry_options_t options;
    hws_error_t why;

    (void)state;
    hws_retry_options_init(&options);
    assert_int_equal(hws_retry_options_check(&options, &why), HWS_OK);
    assert_int_equal(options.attempts, 3);
    assert_true(options.backoff.base == HWS_MS(50) && options.backoff.max == HWS_S(2));
    assert_int_equal(options.backoff.jitter, HWS_JITTER_FULL);
    assert_true(options.budget.share == .2 && options.budget.floor == 10);
    assert_false(options.is_disabled || options.budget.is_disabled);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        hws_retry_options_t options;
        const char *detail; /* NULL: nothing is wrong */
    } cases[] = {
        {{.attempts = 0}, "retry.attempts: from 1 to 10, not 0"},
        {{.attempts = 11}, "retry.attempts: from 1 to 10, not 11"},
        {{.attempts = 10}, NULL},
        {{.attempts = 1, .on = {.kinds = 1U << HWS_KIND_CANCELED}},
         "retry.on: resolve, refused, connect, timeout, tls, reset or overload, not \"canceled\""},
        {{.attempts = 1, .on = {.kinds = HWS_RETRY_KINDS}}, NULL},
        {{.attempts = 1, .backoff = {.base = -1}},
         "retry.backoff.base: from 0 to 3600 s, not -1e-06"},
        {{.attempts = 1, .backoff = {.base = HWS_S(3601)}},
         "retry.backoff.base: from 0 to 3600 s, not 3601"},
        {{.attempts = 1, .backoff = {.base = HWS_MS(50), .max = HWS_MS(49)}},
         "retry.backoff.max: from 0.05 to 3600 s, not 0.049"},
        {{.attempts = 1, .backoff = {.max = HWS_NEVER}},
         "retry.backoff.max: from 0 to 3600 s, not 9.22337e+12"},
        {{.attempts = 1, .backoff = {.base = HWS_S(3600), .max = HWS_S(3600)}}, NULL},
        {{.attempts = 1, .backoff = {.jitter = HWS_JITTER_COUNT}},
         "retry.backoff.jitter: full, equal or decorrelated, not number 3"},
        {{.attempts = 1, .budget = {.share = -.1}}, "retry.budget.share: from 0 to 1, not -0.1"},
        {{.attempts = 1, .budget = {.share = 1.5}}, "retry.budget.share: from 0 to 1, not 1.5"},
        {{.attempts = 1, .budget = {.share = 1, .floor = 1000000}}, NULL},
        {{.attempts = 1, .budget = {.floor = 1000001}},
         "retry.budget.floor: from 0 to 1000000, not 1000001"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_error_t why = {0};
        int rc = hws_retry_options_check(&cases[i].options, &why);

        assert_int_equal(rc, cases[i].detail == NULL ? HWS_OK : HWS_ERR_INVALID);
        assert_string_equal(why.detail, cases[i].detail == NULL ? "" : cases[i].detail);
        assert_int_equal(hws_retry_options_check(&cases[i].options, NULL), rc);
    }
}

static void a_share_that_is_no_number_is_refused(void **state)
{
    hws_retry_options_t options;
    double zero = 0;

    (void)state;
    hws_retry_options_init(&options);
    options.budget.share = zero / zero;
    assert_int_equal(hws_retry_options_check(&options, NULL), HWS_ERR_INVALID);
}

static void words_and_statuses_make_a_set(void **state)
{
    hws_retry_on_t on = {0};
    hws_error_t why = {0};
    int64_t status;

    (void)state;
    assert_int_equal(hws_retry_on_add(&on, HWS_SLICE("timeout"), &why), HWS_OK);
    assert_true(hws_retry_on_has(&on, HWS_ERR_TIMEOUT, HWS_PHASE_HEADERS, 0));
    assert_true(hws_retry_on_has(&on, HWS_ERR_TIMEOUT, HWS_PHASE_CONNECT, 0));
    assert_false(hws_retry_on_has(&on, HWS_ERR_REFUSED, HWS_PHASE_CONNECT, 0));
    assert_int_equal(hws_retry_on_add(&on, HWS_SLICE("refused"), &why), HWS_OK);
    assert_true(hws_retry_on_has(&on, HWS_ERR_REFUSED, HWS_PHASE_CONNECT, 0));
    assert_false(hws_retry_on_has(&on, HWS_ERR_NXDOMAIN, HWS_PHASE_RESOLVE, 0));
    assert_int_equal(hws_retry_on_add(&on, HWS_SLICE("protocol"), &why), HWS_ERR_INVALID);
    assert_string_equal(why.detail, "retry.on: resolve, refused, connect, timeout, tls, reset or "
                                    "overload, not \"protocol\"");
    assert_int_equal(hws_retry_on_add(&on, HWS_SLICE(""), NULL), HWS_ERR_INVALID);
    assert_int_equal(hws_retry_on_add(&on, HWS_SLICE("resets"), NULL), HWS_ERR_INVALID);
    for (status = 400; status <= 599; status++) {
        assert_false(hws_retry_on_has(&on, HWS_OK, HWS_PHASE_HEADERS, (uint32_t)status));
        assert_int_equal(hws_retry_on_add_status(&on, status, &why), HWS_OK);
        assert_true(hws_retry_on_has(&on, HWS_OK, HWS_PHASE_HEADERS, (uint32_t)status));
    }
    assert_int_equal(hws_retry_on_add_status(&on, 399, &why), HWS_ERR_INVALID);
    assert_string_equal(why.detail, "retry.on: a status from 400 to 599, not 399");
    assert_int_equal(hws_retry_on_add_status(&on, 600, NULL), HWS_ERR_INVALID);
    assert_int_equal(hws_retry_on_add_status(&on, INT64_MIN, NULL), HWS_ERR_INVALID);
}

/* A handshake that a reset cut short, as well as one that a FIN did. */
static void connect_covers_what_happens_before_there_is_a_connection(void **state)
{
    hws_retry_on_t on = {.kinds = 1U << HWS_KIND_CONNECT};

    (void)state;
    assert_true(hws_retry_on_has(&on, HWS_ERR_RESET, HWS_PHASE_TLS, 0));
    assert_true(hws_retry_on_has(&on, HWS_ERR_TLS_EOF, HWS_PHASE_TLS, 0));
    assert_false(hws_retry_on_has(&on, HWS_ERR_RESET, HWS_PHASE_HEADERS, 0));
    assert_false(hws_retry_on_has(&on, HWS_ERR_CERT_NAME, HWS_PHASE_TLS, 0));
}

static void names_are_given(void **state)
{
    (void)state;
    assert_string_equal(hws_jitter_name(HWS_JITTER_DECORRELATED), "decorrelated");
    assert_string_equal(hws_jitter_name(HWS_JITTER_COUNT), "");
    assert_string_equal(hws_retry_reason_name(HWS_RETRY_BUDGET), "budget");
    assert_string_equal(hws_retry_reason_name(HWS_RETRY_COUNT), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_try_decides),
        cmocka_unit_test(nothing_goes_again_past_its_attempts),
        cmocka_unit_test(a_refusal_pays_nothing),
        cmocka_unit_test(a_spent_budget_stops_all),
        cmocka_unit_test(a_delay_must_end_before_the_deadline),
        cmocka_unit_test(retry_after_is_the_least_delay),
        cmocka_unit_test(a_script_changes_nothing_about_safety),
        cmocka_unit_test(the_defaults_are_allowed),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_share_that_is_no_number_is_refused),
        cmocka_unit_test(words_and_statuses_make_a_set),
        cmocka_unit_test(connect_covers_what_happens_before_there_is_a_connection),
        cmocka_unit_test(names_are_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
