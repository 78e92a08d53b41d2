/* The resolver on a simulated name server, in virtual time. */
#include "transport/resolve.h"

#include "base/memory.h"
#include "io/sim.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    hws_sim_t *sim;
    hws_loop_t *loop;
    hws_resolver_t resolver;
} fixture_t;

static fixture_t fixture;

/* One look-up, and what it was told. */
typedef struct {
    hws_resolution_t resolution;
    int rc;
    char log[256]; /* in order, "v4:10.0.0.1,10.0.0.2 v6:NXDOMAIN"; `~` marks what is stale */
    void (*then)(void);
} look_t;

static void create(uint64_t seed, const hws_resolver_options_t *options)
{
    fixture = (fixture_t){0};
    assert_int_equal(hws_sim_create(seed, &fixture.sim), HWS_OK);
    assert_int_equal(hws_loop_create_on(hws_sim_io(fixture.sim), &fixture.loop), HWS_OK);
    assert_int_equal(hws_resolver_init(&fixture.resolver, fixture.loop, options), HWS_OK);
}

static hws_resolver_options_t plain_options(void)
{
    hws_resolver_options_t options;

    hws_resolver_options_init(&options);
    options.jitter_percent = 0;
    return options;
}

static int begin(void **state)
{
    hws_resolver_options_t options = plain_options();

    (void)state;
    create(1, &options);
    return 0;
}

static int end(void **state)
{
    (void)state;
    hws_resolver_dispose(&fixture.resolver);
    assert_int_equal(hws_sim_open_questions(fixture.sim), 0);
    hws_loop_destroy(fixture.loop);
    return 0;
}

static void note(look_t *look, hws_family_t family)
{
    static const char *const names[HWS_FAMILIES] = {"v6", "v4"};
    const hws_resolved_t *found = &look->resolution.found[family];
    size_t used = strlen(look->log);
    uint32_t i;

    used += (size_t)snprintf(look->log + used, sizeof(look->log) - used, "%s%s:%s",
                             used > 0 ? " " : "", names[family], found->is_stale ? "~" : "");
    if (found->status != HWS_OK)
        snprintf(look->log + used, sizeof(look->log) - used, "%s", hws_error_name(found->status));
    for (i = 0; i < found->count; i++)
        used +=
            (size_t)snprintf(look->log + used, sizeof(look->log) - used, "%s%u", i > 0 ? "," : "",
                             found->ips[i].bytes[family == HWS_IPV4 ? 3 : 15]);
}

static void on_answer(hws_resolution_t *resolution, hws_family_t family, hws_time_t now)
{
    look_t *look = HWS_CONTAINER(resolution, look_t, resolution);

    assert_int_equal(now, hws_sim_now(fixture.sim));
    assert_int_equal(look->rc, HWS_AGAIN);
    assert_false(hws_resolution_waits_for(resolution, family));
    note(look, family);
    if (look->then != NULL)
        look->then();
}

/* Notes what is known at once, too. */
static void look_up(look_t *look, const char *name)
{
    hws_slice_t slice = {name, strlen(name)};

    memset(look, 0, sizeof(*look));
    look->rc = hws_resolution_start(&look->resolution, &fixture.resolver, slice,
                                    hws_sim_now(fixture.sim), on_answer);
    for (int family = 0; family < HWS_FAMILIES; family++)
        if (look->resolution.found[family].status != HWS_AGAIN)
            note(look, (hws_family_t)family);
}

static hws_sim_name_t *record(const char *name, int family, const char *ips, uint32_t ttl)
{
    hws_sim_name_t *record;

    assert_int_equal(hws_sim_name(fixture.sim, name, family, ips, &record), HWS_OK);
    record->ttl = ttl;
    return record;
}

static hws_sim_name_t *record_db(uint32_t ttl)
{
    record("db.test", AF_INET6, "", 0);
    return record("db.test", AF_INET, "10.0.0.1", ttl);
}

static void run(hws_time_t span)
{
    hws_sim_run_until(fixture.sim, hws_sim_now(fixture.sim) + span);
}

/* Looks up, lets the answers come, and compares all that was told. */
static void expect(const char *name, const char *log)
{
    look_t look;

    look_up(&look, name);
    run(0);
    assert_string_equal(look.log, log);
    hws_resolution_cancel(&look.resolution);
}

/* Answers ------------------------------------------------------------------------------------- */

static void both_families_are_told_as_they_come(void **state)
{
    look_t look;

    (void)state;
    record("a.test", AF_INET6, "::1 ::2", 60)->latency_min = HWS_MS(30);
    record("a.test", AF_INET6, "::1 ::2", 60)->latency_max = HWS_MS(30);
    record("a.test", AF_INET, "10.0.0.1 10.0.0.9 10.0.0.2", 60);
    look_up(&look, "a.test");
    assert_int_equal(look.rc, HWS_AGAIN);
    assert_string_equal(look.log, "");
    assert_int_equal(hws_resolution_status(&look.resolution), HWS_AGAIN);
    run(0);
    assert_string_equal(look.log, "v4:1,9,2");
    assert_int_equal(hws_resolution_status(&look.resolution), HWS_OK);
    assert_true(hws_resolution_waits_for(&look.resolution, HWS_IPV6));
    run(HWS_MS(30));
    assert_string_equal(look.log, "v4:1,9,2 v6:1,2");
    assert_false(hws_resolution_waits_for(&look.resolution, HWS_IPV6));
}

static void a_kept_answer_is_told_at_once(void **state)
{
    look_t look;

    (void)state;
    record_db(60);
    expect("db.test", "v6:NODATA v4:1");
    look_up(&look, "DB.Test");
    assert_int_equal(look.rc, HWS_OK);
    assert_string_equal(look.log, "v6:NODATA v4:1");
    assert_int_equal(fixture.resolver.questions, 2);
    assert_int_equal(fixture.resolver.lookups, 2);
}

static void a_name_that_can_be_none_is_not_asked_for(void **state)
{
    static const char *const names[] = {
        "",
        "a b",
        "a\\046b",
        "a\x80",
        "a\n",
        "0123456789012345678901234567890123456789012345678901234567890."
        "0123456789012345678901234567890123456789012345678901234567890."
        "0123456789012345678901234567890123456789012345678901234567890."
        "0123456789012345678901234567890123456789012345678901234567890.0123456"};
    look_t look;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        look_up(&look, names[i]);
        assert_int_equal(look.rc, HWS_OK);
        assert_int_equal(hws_resolution_status(&look.resolution), HWS_ERR_NXDOMAIN);
    }
    assert_int_equal(fixture.resolver.questions, 0);
}

static void one_family_is_enough_and_of_two_failures_the_more_telling_counts(void **state)
{
    static const struct {
        int v6;
        int v4;
        int status;
    } steps[] = {
        {HWS_OK, HWS_ERR_SERVFAIL, HWS_OK},
        {HWS_ERR_DNS_TIMEOUT, HWS_OK, HWS_OK},
        {HWS_ERR_NXDOMAIN, HWS_ERR_NXDOMAIN, HWS_ERR_NXDOMAIN},
        {HWS_ERR_NXDOMAIN, HWS_ERR_SERVFAIL, HWS_ERR_NXDOMAIN},
        {HWS_ERR_NODATA, HWS_ERR_SERVFAIL, HWS_ERR_SERVFAIL},
        {HWS_ERR_DNS_TIMEOUT, HWS_ERR_NODATA, HWS_ERR_DNS_TIMEOUT},
        {HWS_ERR_DNS_TIMEOUT, HWS_ERR_DNS_REFUSED, HWS_ERR_DNS_REFUSED},
        {HWS_ERR_DNS, HWS_ERR_DNS_MALFORMED, HWS_ERR_DNS_MALFORMED},
        {HWS_ERR_NODATA, HWS_ERR_NODATA, HWS_ERR_NODATA},
    };
    size_t i;

    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        look_t look;

        record("x.test", AF_INET6, "::1", 60)->status = steps[i].v6;
        record("x.test", AF_INET, "10.0.0.1", 60)->status = steps[i].v4;
        look_up(&look, "x.test");
        run(0);
        assert_int_equal(hws_resolution_status(&look.resolution), steps[i].status);
        end(state);
        begin(state);
    }
}

/* Time ---------------------------------------------------------------------------------------- */

static void an_answer_holds_for_its_ttl_within_bounds(void **state)
{
    static const struct {
        int status;
        uint32_t ttl;
        hws_time_t holds;
    } steps[] = {
        {HWS_OK, 0, HWS_S(1)},
        {HWS_OK, 1, HWS_S(1)},
        {HWS_OK, 60, HWS_S(60)},
        {HWS_OK, 100000, HWS_S(300)},
        {HWS_OK, UINT32_MAX, HWS_S(300)},
        {HWS_ERR_NXDOMAIN, 0, HWS_S(30)},
        {HWS_ERR_NODATA, 0, HWS_S(30)},
        {HWS_ERR_SERVFAIL, 0, HWS_S(1)},
        {HWS_ERR_DNS_REFUSED, 0, HWS_S(1)},
        {HWS_ERR_DNS_MALFORMED, 0, HWS_S(1)},
        {HWS_ERR_DNS, 0, HWS_S(1)},
    };
    size_t i;

    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        hws_sim_name_t *a = record_db(steps[i].ttl);
        look_t look;

        a->status = steps[i].status;
        look_up(&look, "db.test");
        run(steps[i].holds - 1);
        look_up(&look, "db.test");
        hws_resolution_cancel(&look.resolution);
        run(0);
        assert_int_equal(a->asked, 1);
        run(1);
        look_up(&look, "db.test");
        run(0);
        assert_int_equal(a->asked, 2);
        end(state);
        begin(state);
    }
}

static void the_bounds_are_options(void **state)
{
    hws_resolver_options_t options = plain_options();
    hws_sim_name_t *a;

    end(state);
    options.ttl_min = options.ttl_max = HWS_S(10);
    create(1, &options);
    a = record_db(1);
    expect("db.test", "v6:NODATA v4:1");
    run(HWS_S(10) - 1);
    expect("db.test", "v6:NODATA v4:1");
    assert_int_equal(a->asked, 1);
    run(1);
    expect("db.test", "v4:1 v6:NODATA");
    assert_int_equal(a->asked, 2);
}

static void jitter_ends_an_answer_up_to_a_tenth_early(void **state)
{
    hws_resolver_options_t options;
    unsigned early = 0;

    end(state);
    hws_resolver_options_init(&options);
    for (uint64_t seed = 0; seed < 50; seed++) {
        hws_sim_name_t *a;

        create(seed, &options);
        a = record_db(100);
        expect("db.test", "v6:NODATA v4:1");
        run(HWS_S(90) - 1);
        expect("db.test", "v4:1 v6:NODATA");
        assert_int_equal(a->asked, 1);
        run(HWS_S(5));
        expect("db.test", "v6:NODATA v4:1");
        early += a->asked == 2;
        run(HWS_S(5) + 1);
        expect("db.test", "v6:NODATA v4:1");
        assert_int_equal(a->asked, 2);
        end(state);
    }
    assert_in_range(early, 10, 40);
    begin(state);
}

static void within_the_grace_the_old_answer_is_told_while_it_is_asked_anew(void **state)
{
    hws_sim_name_t *a = record_db(60);
    look_t look;

    (void)state;
    record("db.test", AF_INET6, "::1", 300);
    expect("db.test", "v6:1 v4:1");
    a->latency_min = a->latency_max = HWS_MS(10);
    record_db(60);
    record("db.test", AF_INET, "10.0.0.2", 60);
    run(HWS_S(62) - 1);
    look_up(&look, "db.test");
    assert_int_equal(look.rc, HWS_OK);
    assert_string_equal(look.log, "v6:1 v4:1");
    look_up(&look, "db.test");
    assert_int_equal(look.rc, HWS_OK);
    run(HWS_MS(10));
    expect("db.test", "v6:1 v4:2");
    assert_int_equal(a->asked, 2);
}

static void after_the_grace_one_waits_for_the_new_answer(void **state)
{
    hws_sim_name_t *a = record_db(1);
    look_t look;

    (void)state;
    record("db.test", AF_INET6, "::1", 300);
    expect("db.test", "v6:1 v4:1");
    a->latency_min = a->latency_max = HWS_MS(10);
    record("db.test", AF_INET, "10.0.0.2", 1);
    run(HWS_S(2)); /* 1 s of TTL, and as much again */
    look_up(&look, "db.test");
    assert_int_equal(look.rc, HWS_AGAIN);
    run(HWS_MS(10));
    assert_string_equal(look.log, "v6:1 v4:2");
}

static void a_busy_name_follows_its_changes(void **state)
{
    hws_sim_name_t *a = record_db(2);
    char ip[24];

    (void)state;
    a->latency_min = a->latency_max = HWS_MS(5);
    expect("db.test", "v6:NODATA");
    run(HWS_MS(5));
    for (int second = 1; second <= 60; second++) {
        look_t look;

        snprintf(ip, sizeof(ip), "10.0.0.%d", second);
        record("db.test", AF_INET, ip, 2);
        for (int i = 0; i < 10; i++) {
            run(HWS_MS(100));
            look_up(&look, "db.test");
            assert_false(hws_resolution_waits_for(&look.resolution, HWS_IPV4));
            hws_resolution_cancel(&look.resolution);
            /* No older than the TTL and a look-up. */
            assert_in_range(look.resolution.found[HWS_IPV4].ips[0].bytes[3],
                            second > 4 ? second - 3 : 1, second);
        }
    }
    assert_in_range(a->asked, 25, 31);
}

static void ttl_0_is_asked_for_once_per_second(void **state)
{
    hws_sim_name_t *a = record_db(0);
    look_t look;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        look_up(&look, "db.test");
        run(HWS_MS(10));
        assert_int_equal(hws_resolution_status(&look.resolution), HWS_OK);
    }
    assert_int_equal(a->asked, 10);
}

/* Failure ------------------------------------------------------------------------------------- */

static void when_the_name_server_fails_the_old_answer_is_told(void **state)
{
    hws_sim_name_t *a = record_db(60);

    (void)state;
    record("db.test", AF_INET6, "::1", 300);
    expect("db.test", "v6:1 v4:1");
    a->status = HWS_ERR_SERVFAIL;
    run(HWS_S(100));
    expect("db.test", "v6:1 v4:~1"); /* waited for the failure */
    expect("db.test", "v6:1 v4:~1");
    assert_int_equal(a->asked, 2);
    run(HWS_S(1));
    expect("db.test", "v6:1 v4:~1"); /* at once, and asked again */
    assert_int_equal(a->asked, 3);
    a->status = HWS_OK;
    record("db.test", AF_INET, "10.0.0.2", 60);
    run(HWS_S(1));
    expect("db.test", "v6:1 v4:~1");
    expect("db.test", "v6:1 v4:2");
}

static void an_old_answer_is_told_for_an_hour(void **state)
{
    hws_sim_name_t *a = record_db(60);

    (void)state;
    expect("db.test", "v6:NODATA v4:1");
    a->status = HWS_ERR_SERVFAIL;
    run(HWS_S(3659));
    expect("db.test", "v6:NODATA v4:~1");
    run(HWS_S(1));
    expect("db.test", "v6:NODATA v4:SERVFAIL");
}

static void with_an_old_answer_nobody_waits_long_for_a_silent_server(void **state)
{
    hws_sim_name_t *a = record_db(60);
    look_t look;

    (void)state;
    record("db.test", AF_INET6, "::1", 300);
    expect("db.test", "v6:1 v4:1");
    a->is_silent = true;
    run(HWS_S(100));
    look_up(&look, "db.test");
    run(HWS_MS(1800) - 1);
    assert_string_equal(look.log, "v6:1");
    run(1);
    assert_string_equal(look.log, "v6:1 v4:~1");
    for (int i = 0; i < 100; i++) {
        look_up(&look, "db.test");
        assert_int_equal(look.rc, HWS_OK);
        assert_string_equal(look.log, "v6:1 v4:~1");
        run(HWS_MS(100));
    }
    assert_in_range(a->asked, 3, 4);
    a->is_silent = false;
    run(HWS_S(6));
    look_up(&look, "db.test");
    run(0);
    expect("db.test", "v6:1 v4:1");
}

static void an_answer_that_there_is_nothing_replaces_addresses(void **state)
{
    hws_sim_name_t *a = record_db(60);

    (void)state;
    record("db.test", AF_INET6, "::1", 300);
    expect("db.test", "v6:1 v4:1");
    a->status = HWS_ERR_NXDOMAIN;
    run(HWS_S(100));
    expect("db.test", "v6:1 v4:NXDOMAIN");
    a->status = HWS_ERR_SERVFAIL;
    run(HWS_S(30));
    expect("db.test", "v6:1 v4:SERVFAIL");
}

/* Many ---------------------------------------------------------------------------------------- */

static void equal_questions_are_asked_once(void **state)
{
    hws_sim_name_t *a = record_db(60);
    look_t looks[100];

    (void)state;
    a->latency_min = a->latency_max = HWS_MS(10);
    for (int i = 0; i < 100; i++)
        look_up(&looks[i], i % 2 == 0 ? "db.test" : "DB.TEST");
    for (int i = 0; i < 100; i += 3)
        hws_resolution_cancel(&looks[i].resolution);
    run(HWS_MS(10));
    for (int i = 0; i < 100; i++)
        assert_string_equal(looks[i].log, i % 3 == 0 ? "" : "v6:NODATA v4:1");
    assert_int_equal(a->asked, 1);
}

static void an_answer_that_nobody_waits_for_serves_who_asks_next(void **state)
{
    hws_sim_name_t *a = record_db(60);
    look_t look;

    (void)state;
    a->latency_min = a->latency_max = HWS_MS(10);
    look_up(&look, "db.test");
    hws_resolution_cancel(&look.resolution);
    hws_resolution_cancel(&look.resolution);
    run(HWS_MS(20));
    assert_string_equal(look.log, "");
    expect("db.test", "v6:NODATA v4:1");
    assert_int_equal(a->asked, 1);
}

static look_t others[3];

static void cancel_one_and_start_another(void)
{
    others[0].then = NULL;
    hws_resolution_cancel(&others[1].resolution);
    look_up(&others[2], "db.test");
}

static void who_is_told_may_cancel_and_start_others(void **state)
{
    (void)state;
    record_db(60);
    look_up(&others[0], "db.test");
    look_up(&others[1], "db.test");
    others[0].then = cancel_one_and_start_another;
    run(0);
    assert_string_equal(others[0].log, "v6:NODATA v4:1");
    assert_string_equal(others[1].log, "");
    assert_string_equal(others[2].log, "v6:NODATA v4:1");
}

static char many_names[3000][24];

static void name_many(void)
{
    for (int i = 0; i < 3000; i++)
        snprintf(many_names[i], sizeof(many_names[i]), "n%d.test", i);
}

static void a_thousand_names_at_once_are_answered(void **state)
{
    static look_t looks[1000];

    (void)state;
    name_many();
    for (int i = 0; i < 1000; i++) {
        record(many_names[i], AF_INET, "10.0.0.1", 60)->latency_max = HWS_S(1);
        look_up(&looks[i], many_names[i]);
    }
    assert_int_equal(hws_sim_open_questions(fixture.sim), 2000);
    run(HWS_S(1));
    for (int i = 0; i < 1000; i++)
        assert_string_equal(looks[i].log, "v6:NXDOMAIN v4:1");
    assert_int_equal(fixture.resolver.entries.size, 1000);
}

static void the_names_used_longest_ago_make_room(void **state)
{
    (void)state;
    name_many();
    for (int i = 0; i < 3000; i++) {
        record(many_names[i], AF_INET, "10.0.0.1", 300);
        record(many_names[i], AF_INET6, "::1", 300);
        expect(many_names[i], "v6:1 v4:1");
        expect(many_names[0], "v6:1 v4:1");
        assert_true(fixture.resolver.entries.size <= 1024);
    }
    assert_int_equal(fixture.resolver.entries.size, 1024);
    assert_int_equal(fixture.resolver.questions, 6000);
    expect(many_names[2999 - 1022], "v6:1 v4:1");
    assert_int_equal(fixture.resolver.questions, 6000);
    expect(many_names[2999 - 1023], "v6:1 v4:1");
    assert_int_equal(fixture.resolver.questions, 6002);
}

static void names_in_use_stay_beyond_the_bound_until_they_are_answered(void **state)
{
    static look_t looks[3000];

    (void)state;
    name_many();
    for (int i = 0; i < 3000; i++)
        look_up(&looks[i], many_names[i]);
    assert_int_equal(fixture.resolver.entries.size, 3000);
    run(0);
    assert_string_equal(looks[0].log, "v6:NXDOMAIN v4:NXDOMAIN");
    assert_string_equal(looks[2999].log, "v6:NXDOMAIN v4:NXDOMAIN");
    assert_int_equal(fixture.resolver.entries.size, 1024);
}

static void questions_that_are_out_go_with_the_resolver(void **state)
{
    look_t look;

    (void)state;
    record_db(1);
    expect("db.test", "v6:NODATA v4:1");
    record_db(1)->is_silent = true;
    run(HWS_S(10));
    look_up(&look, "db.test"); /* with a timer for the old answer */
    hws_resolution_cancel(&look.resolution);
    look_up(&look, "other.test");
    hws_resolution_cancel(&look.resolution);
    assert_int_equal(hws_sim_open_questions(fixture.sim), 3);
}

/* Watches ------------------------------------------------------------------------------------- */

typedef struct {
    hws_watch_t watch;
    bool is_idle;
    unsigned told;
} watcher_t;

static bool is_needed(const hws_watch_t *watch)
{
    return !HWS_CONTAINER(watch, watcher_t, watch)->is_idle;
}

static void on_new_answer(hws_watch_t *watch, hws_time_t now)
{
    assert_int_equal(now, hws_sim_now(fixture.sim));
    HWS_CONTAINER(watch, watcher_t, watch)->told++;
}

static void watch(watcher_t *watcher)
{
    assert_int_equal(hws_watch_start(&watcher->watch, &fixture.resolver, HWS_SLICE("db.test"),
                                     hws_sim_now(fixture.sim)),
                     HWS_OK);
}

static watcher_t watcher_of_db(void)
{
    watcher_t watcher = {.told = 0};

    hws_watch_init(&watcher.watch, is_needed, on_new_answer);
    return watcher;
}

static bool lacks(const watcher_t *watcher, const char *text)
{
    hws_ip_t ip;

    assert_int_equal(hws_ip_from_text((hws_slice_t){text, strlen(text)}, &ip), HWS_OK);
    return hws_watch_lacks(&watcher->watch, &ip);
}

static void a_watched_name_is_asked_for_whenever_its_answer_is_over(void **state)
{
    hws_sim_name_t *a = record_db(60);
    watcher_t one = watcher_of_db();
    watcher_t two = watcher_of_db();

    (void)state;
    expect("db.test", "v6:NODATA v4:1");
    watch(&one);
    watch(&two);
    run(HWS_S(59));
    assert_int_equal(a->asked, 1);
    run(HWS_S(1) + HWS_MS(100));
    assert_int_equal(a->asked, 2); /* once for both */
    assert_int_equal(one.told, 3); /* NODATA holds 30 s */
    assert_int_equal(two.told, 3);
    a->status = HWS_ERR_SERVFAIL;
    run(HWS_S(61));
    assert_in_range(a->asked, 4, 5); /* a failure holds 1 s */
    hws_watch_stop(&one.watch);
    hws_watch_stop(&two.watch);
    hws_watch_stop(&two.watch); /* harmless */
}

static void a_watch_that_is_not_needed_asks_nothing_until_it_is(void **state)
{
    hws_sim_name_t *a = record_db(5);
    watcher_t one = watcher_of_db();

    (void)state;
    expect("db.test", "v6:NODATA v4:1");
    watch(&one);
    one.is_idle = true;
    run(HWS_S(100));
    assert_int_equal(a->asked, 1);
    one.is_idle = false;
    watch(&one);
    run(HWS_S(10));
    assert_in_range(a->asked, 2, 3);
    hws_watch_stop(&one.watch);
    run(HWS_S(100));
    assert_in_range(a->asked, 2, 3);
}

static void an_address_is_missed_only_where_the_name_has_others(void **state)
{
    static const struct {
        const char *six; /* NULL: NODATA */
        const char *four;
        int status; /* of IPv4, when that is not HWS_OK */
        bool lacks_six;
        bool lacks_four;
    } cases[] = {
        {"::1", "10.0.0.1", HWS_OK, false, false},
        {"::1", "10.0.0.2 10.0.0.1", HWS_OK, false, false},
        {"::2", "10.0.0.2", HWS_OK, true, true},
        {"::1", NULL, HWS_OK, false, true},
        {NULL, "10.0.0.1", HWS_OK, true, false},
        {NULL, "10.0.0.2", HWS_OK, true, true},
        {NULL, NULL, HWS_OK, false, false},
        {NULL, "", HWS_ERR_NXDOMAIN, false, false},
        {NULL, "", HWS_ERR_SERVFAIL, false, false},
        {"::2", "", HWS_ERR_SERVFAIL, true, false},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        watcher_t one = watcher_of_db();

        record("db.test", AF_INET6, "::1", 1)->status = HWS_OK;
        record("db.test", AF_INET, "10.0.0.1", 1)->status = HWS_OK;
        expect("db.test", "v6:1 v4:1");
        assert_false(lacks(&one, "10.0.0.2")); /* nothing is watched yet */
        watch(&one);
        assert_false(lacks(&one, "::1") || lacks(&one, "10.0.0.1"));
        assert_true(lacks(&one, "10.0.0.2"));
        record("db.test", AF_INET6, cases[i].six != NULL ? cases[i].six : "", 1)->status =
            cases[i].six != NULL ? HWS_OK : HWS_ERR_NODATA;
        record("db.test", AF_INET, cases[i].four != NULL ? cases[i].four : "", 1)->status =
            cases[i].four != NULL ? cases[i].status : HWS_ERR_NODATA;
        run(HWS_MS(1500));
        assert_int_equal(lacks(&one, "::1"), cases[i].lacks_six);
        assert_int_equal(lacks(&one, "10.0.0.1"), cases[i].lacks_four);
        hws_watch_stop(&one.watch);
        end(state);
        begin(state);
    }
}

static void a_watched_name_stays_beyond_the_bound(void **state)
{
    hws_resolver_options_t options = plain_options();
    watcher_t one = watcher_of_db();

    options.max_names = 1;
    end(state);
    create(1, &options);
    record_db(60);
    watch(&one);
    record("other.test", AF_INET, "10.0.0.7", 60);
    expect("other.test", "v6:NXDOMAIN v4:7");
    run(HWS_S(2));
    expect("db.test", "v6:NODATA v4:1");
    assert_true(one.told > 0);
    hws_watch_stop(&one.watch);
}

/* Memory -------------------------------------------------------------------------------------- */

static void each_allocation_may_fail(void **state)
{
    bool failed = true;

    (void)state;
    record_db(60);
    for (uint64_t n = 1; failed; n++) {
        look_t look;

        hws_memory_fail_at(n);
        look_up(&look, "db.test");
        run(0);
        failed = hws_memory_count() >= n;
        hws_memory_fail_at(0);
        /* A family may have failed; what counts is that nothing hangs, and that it works later. */
        assert_int_not_equal(look.resolution.found[HWS_IPV4].status, HWS_AGAIN);
        assert_int_not_equal(look.resolution.found[HWS_IPV6].status, HWS_AGAIN);
        if (!failed)
            assert_int_equal(hws_resolution_status(&look.resolution), HWS_OK);
        look_up(&look, "db.test");
        run(0);
        assert_int_equal(hws_resolution_status(&look.resolution), HWS_OK);
        end(state);
        begin(state);
        record_db(60);
    }
}

static void without_memory_the_old_answer_is_told(void **state)
{
    (void)state;
    record_db(1);
    expect("db.test", "v6:NODATA v4:1");
    record("db.test", AF_INET, "10.0.0.1 10.0.0.2", 1);
    run(HWS_S(10));
    hws_memory_fail_at(1); /* the question */
    expect("db.test", "v6:NODATA v4:~1");
    hws_memory_fail_at(2); /* the longer answer */
    expect("db.test", "v6:NODATA v4:~1");
    hws_memory_fail_at(0);
    expect("db.test", "v6:NODATA v4:~1");
    expect("db.test", "v6:NODATA v4:1,2");
}

static void a_resolver_that_failed_to_begin_can_be_disposed_of(void **state)
{
    hws_resolver_options_t options = plain_options();
    hws_resolver_t resolver;

    (void)state;
    hws_memory_fail_at(1);
    assert_int_equal(hws_resolver_init(&resolver, fixture.loop, &options), HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    hws_resolver_dispose(&resolver);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(both_families_are_told_as_they_come),
        TEST(a_kept_answer_is_told_at_once),
        TEST(a_name_that_can_be_none_is_not_asked_for),
        TEST(one_family_is_enough_and_of_two_failures_the_more_telling_counts),
        TEST(an_answer_holds_for_its_ttl_within_bounds),
        TEST(the_bounds_are_options),
        TEST(jitter_ends_an_answer_up_to_a_tenth_early),
        TEST(within_the_grace_the_old_answer_is_told_while_it_is_asked_anew),
        TEST(after_the_grace_one_waits_for_the_new_answer),
        TEST(a_busy_name_follows_its_changes),
        TEST(ttl_0_is_asked_for_once_per_second),
        TEST(when_the_name_server_fails_the_old_answer_is_told),
        TEST(an_old_answer_is_told_for_an_hour),
        TEST(with_an_old_answer_nobody_waits_long_for_a_silent_server),
        TEST(an_answer_that_there_is_nothing_replaces_addresses),
        TEST(equal_questions_are_asked_once),
        TEST(an_answer_that_nobody_waits_for_serves_who_asks_next),
        TEST(who_is_told_may_cancel_and_start_others),
        TEST(a_thousand_names_at_once_are_answered),
        TEST(the_names_used_longest_ago_make_room),
        TEST(names_in_use_stay_beyond_the_bound_until_they_are_answered),
        TEST(questions_that_are_out_go_with_the_resolver),
        TEST(a_watched_name_is_asked_for_whenever_its_answer_is_over),
        TEST(a_watch_that_is_not_needed_asks_nothing_until_it_is),
        TEST(an_address_is_missed_only_where_the_name_has_others),
        TEST(a_watched_name_stays_beyond_the_bound),
        TEST(each_allocation_may_fail),
        TEST(without_memory_the_old_answer_is_told),
        TEST(a_resolver_that_failed_to_begin_can_be_disposed_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
