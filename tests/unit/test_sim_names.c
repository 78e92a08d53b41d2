/* The simulated name server: what it says, when, and to whom. */
#include "io/sim.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    hws_sim_t *sim;
    hws_io_t *io;
    hws_names_t *names;
    unsigned rests;
    bool is_in_ask;
} fixture_t;

static fixture_t fixture;

/* How one question was answered. */
typedef struct {
    int calls;
    int status;
    uint32_t count;
    uint32_t ttl;
    hws_ip_t first;
    hws_time_t at;
    hws_question_t *question;
} told_t;

static void on_rest(void *owner)
{
    assert_ptr_equal(owner, &fixture);
    fixture.rests++;
}

static void on_timer(void *owner, hws_time_t due, hws_time_t now)
{
    (void)owner;
    (void)due;
    (void)now;
}

static int begin(void **state)
{
    static const hws_names_options_t options = {.patience = HWS_S(5)};

    (void)state;
    fixture = (fixture_t){0};
    assert_int_equal(hws_sim_create(7, &fixture.sim), HWS_OK);
    fixture.io = hws_sim_io(fixture.sim);
    fixture.io->owner = &fixture;
    fixture.io->on_rest = on_rest;
    fixture.io->on_timer = on_timer;
    assert_int_equal(fixture.io->ops->names_create(fixture.io, &options, &fixture.names), HWS_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fixture.io->ops->names_destroy(fixture.names);
    fixture.io->ops->destroy(fixture.io);
    return 0;
}

static hws_sim_name_t *record(const char *name, int family, const char *ips)
{
    hws_sim_name_t *record;

    assert_int_equal(hws_sim_name(fixture.sim, name, family, ips, &record), HWS_OK);
    return record;
}

static void on_answer(void *owner, const hws_answer_t *answer, hws_time_t now)
{
    told_t *told = owner;

    assert_false(fixture.is_in_ask);
    told->calls++;
    told->status = answer->status;
    told->count = answer->count;
    told->ttl = answer->ttl;
    told->at = now;
    if (answer->count > 0)
        told->first = answer->ips[0];
}

static void ask(told_t *told, const char *name, int family)
{
    *told = (told_t){0};
    fixture.is_in_ask = true;
    assert_int_equal(
        fixture.io->ops->ask(fixture.names, name, family, on_answer, told, &told->question),
        HWS_OK);
    fixture.is_in_ask = false;
}

static void a_name_has_the_addresses_of_its_record(void **state)
{
    hws_sim_name_t *a = record("db.test", AF_INET, "10.0.0.1 10.0.0.2");
    told_t v4;
    told_t v6;
    told_t none;

    (void)state;
    a->ttl = 60;
    record("db.test", AF_INET6, "::1");
    ask(&v4, "db.test", AF_INET);
    ask(&v6, "db.test", AF_INET6);
    ask(&none, "other.test", AF_INET);
    assert_int_equal(hws_sim_open_questions(fixture.sim), 3);
    hws_sim_run_until(fixture.sim, 0);
    assert_int_equal(v4.status, HWS_OK);
    assert_int_equal(v4.count, 2);
    assert_int_equal(v4.ttl, 60);
    assert_int_equal(v4.first.bytes[3], 1);
    assert_int_equal(v6.first.bytes[15], 1);
    assert_int_equal(none.status, HWS_ERR_NXDOMAIN);
    assert_int_equal(fixture.rests, 3);
    assert_int_equal(hws_sim_open_questions(fixture.sim), 0);
    assert_int_equal(a->asked, 1);
}

static void an_answer_tells_what_holds_when_it_comes(void **state)
{
    hws_sim_name_t *a = record("db.test", AF_INET, "10.0.0.1");
    told_t told;

    (void)state;
    a->latency_min = a->latency_max = HWS_MS(20);
    ask(&told, "db.test", AF_INET);
    record("db.test", AF_INET, "10.0.0.9");
    hws_sim_run_until(fixture.sim, HWS_MS(19));
    assert_int_equal(told.calls, 0);
    hws_sim_run_until(fixture.sim, HWS_MS(20));
    assert_int_equal(told.first.bytes[3], 9);
    assert_int_equal(told.at, HWS_MS(20));
}

static void a_record_may_fail_or_be_empty_or_silent(void **state)
{
    hws_sim_name_t *failing = record("failing.test", AF_INET, "10.0.0.1");
    told_t told;

    (void)state;
    failing->status = HWS_ERR_SERVFAIL;
    ask(&told, "failing.test", AF_INET);
    hws_sim_run_until(fixture.sim, 0);
    assert_int_equal(told.status, HWS_ERR_SERVFAIL);

    record("empty.test", AF_INET, "");
    ask(&told, "empty.test", AF_INET);
    hws_sim_run_until(fixture.sim, 0);
    assert_int_equal(told.status, HWS_ERR_NODATA);

    record("silent.test", AF_INET, "10.0.0.1")->is_silent = true;
    ask(&told, "silent.test", AF_INET);
    hws_sim_run_until(fixture.sim, HWS_S(5) - 1);
    assert_int_equal(told.calls, 0);
    hws_sim_run_until(fixture.sim, HWS_S(5));
    assert_int_equal(told.status, HWS_ERR_DNS_TIMEOUT);
}

static void a_question_that_was_forgotten_is_not_answered(void **state)
{
    told_t told;

    (void)state;
    ask(&told, "db.test", AF_INET);
    fixture.io->ops->unask(told.question);
    hws_sim_run_until(fixture.sim, HWS_S(10));
    assert_int_equal(told.calls, 0);
}

static void latency_is_repeatable_by_the_seed(void **state)
{
    hws_time_t at[2];

    for (int i = 0; i < 2; i++) {
        hws_sim_name_t *a = record("db.test", AF_INET, "10.0.0.1");
        told_t told;

        a->latency_min = HWS_MS(1);
        a->latency_max = HWS_MS(1000);
        ask(&told, "db.test", AF_INET);
        hws_sim_run_until(fixture.sim, HWS_S(1));
        at[i] = told.at;
        end(state);
        begin(state);
    }
    assert_true(at[0] >= HWS_MS(1) && at[0] <= HWS_MS(1000));
    assert_int_equal(at[0], at[1]);
}

static void a_failed_allocation_begins_nothing(void **state)
{
    static const hws_names_options_t options = {.patience = 1};
    hws_names_t *names = NULL;
    hws_question_t *question = NULL;
    hws_sim_name_t *a = NULL;
    told_t told = {0};

    (void)state;
    hws_memory_fail_at(1);
    assert_int_equal(fixture.io->ops->names_create(fixture.io, &options, &names), HWS_ERR_NOMEM);
    hws_memory_fail_at(1);
    assert_int_equal(hws_sim_name(fixture.sim, "a", AF_INET, "", &a), HWS_ERR_NOMEM);
    hws_memory_fail_at(1);
    assert_int_equal(fixture.io->ops->ask(fixture.names, "a", AF_INET, on_answer, &told, &question),
                     HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    hws_sim_run_until(fixture.sim, HWS_S(10));
    assert_int_equal(told.calls, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_name_has_the_addresses_of_its_record),
        TEST(an_answer_tells_what_holds_when_it_comes),
        TEST(a_record_may_fail_or_be_empty_or_silent),
        TEST(a_question_that_was_forgotten_is_not_answered),
        TEST(latency_is_repeatable_by_the_seed),
        TEST(a_failed_allocation_begins_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
