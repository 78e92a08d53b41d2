/* TLS on a lease that began in the clear: whole, in pieces, cut, late, given up, out of memory. */
#include "base/memory.h"
#include "support/stage.h"
#include "support/tls_far.h"

#include <stdlib.h>
#include <string.h>

#define SECRET "secret\n"

static hold_t *const first = &stage.holds[0];
static hold_t *const second = &stage.holds[1];

/* ---- the far end: agrees in the clear, then echoes what was encrypted ---- */

static struct {
    tls_far_t *tls;
    visit_t *visit; /* that has agreed; what it sends is TLS */
    hws_buffer_t in;
    hws_buffer_t out;
    hws_buffer_t got;
    const char *answer;
    bool is_silent; /* from the agreement on */
} far;

static void turn(visit_t *visit, const char *bytes, size_t size)
{
    assert_null(memmem(bytes, size, SECRET, strlen(SECRET)));
    if (far.is_silent)
        return;
    assert_int_equal(hws_buffer_append(&far.in, bytes, size), HWS_OK);
    tls_far_turn(far.tls, &far.in, &far.out, &far.got);
    if (hws_buffer_size(&far.got) > 0)
        tls_far_send(far.tls, hws_buffer_bytes(&far.got), hws_buffer_size(&far.got), &far.out);
    hws_buffer_clear(&far.got);
    if (hws_buffer_size(&far.out) > 0)
        (void)hws_sim_send(visit->conn, hws_buffer_bytes(&far.out), hws_buffer_size(&far.out));
    hws_buffer_clear(&far.out);
}

static void on_bytes(visit_t *visit, const char *bytes, size_t size)
{
    if (far.visit == visit) {
        turn(visit, bytes, size);
        return;
    }
    assert_memory_equal(bytes, "STARTTLS\n", size);
    tls_far_accept(far.tls);
    hws_buffer_clear(&far.in);
    hws_buffer_clear(&far.out);
    far.visit = visit;
    (void)hws_sim_send(visit->conn, far.answer, strlen(far.answer));
}

static void far_begin(const char *certificate)
{
    tls_far_options_t options = {.cert = certificate};

    memset(&far, 0, sizeof(far));
    far.tls = tls_far_create(&options);
    far.answer = "go\n";
    /* It has memory when the core has none. */
    assert_int_equal(hws_buffer_reserve(&far.in, 65536), HWS_OK);
    assert_int_equal(hws_buffer_reserve(&far.out, 65536), HWS_OK);
    assert_int_equal(hws_buffer_reserve(&far.got, 65536), HWS_OK);
    stage.servers[0].on_bytes = on_bytes;
}

static void far_end(void)
{
    tls_far_destroy(far.tls);
    hws_buffer_dispose(&far.in);
    hws_buffer_dispose(&far.out);
    hws_buffer_dispose(&far.got);
}

static int begin(void **state)
{
    (void)stage_raw(state);
    far_begin("good");
    return 0;
}

static int end(void **state)
{
    int rc = stage_clear(state);

    far_end();
    return rc;
}

#define TLS_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

/* ---- our end ---- */

static const hws_tls_options_t trusting = {.ca = HWS_SLICE(TEST_CERTIFICATES "/root.pem"),
                                           .verify = true};
static const hws_tls_options_t own = {
    .ca = HWS_SLICE(TEST_CERTIFICATES "/root.pem"), .server_name = "localhost", .verify = true};
static const hws_tls_options_t stranger = {
    .ca = HWS_SLICE(TEST_CERTIFICATES "/stranger.pem"), .server_name = "localhost", .verify = true};

/* How far a hold has come, and what its operation last said. */
typedef enum { ASKING, SHAKING, TALKING, DONE } step_t;
static struct {
    step_t step;
    const hws_tls_options_t *options;
    int code; /* of what failed, or HWS_OK */
    hws_error_t error;
} course;

static void stop(hws_lease_t *lease, int code)
{
    course.code = code;
    if (code != HWS_OK && hws_lease_error(lease) != NULL)
        course.error = *hws_lease_error(lease);
    course.step = DONE;
}

static int read_line(hws_lease_t *lease, const char *line)
{
    const hws_read_t want = {.mode = HWS_READ_LINE, .size = 100};
    hws_slice_t got;
    int rc = hws_lease_read(lease, &want, &got);

    if (rc == HWS_OK) {
        assert_int_equal(got.size, strlen(line));
        assert_memory_equal(got.data, line, got.size);
    }
    return rc;
}

static int say(hws_lease_t *lease, const char *text)
{
    size_t taken;

    return hws_lease_write(lease, text, strlen(text), &taken);
}

/* Goes on as far as it can; returns true at the end. */
static bool go_on(hws_lease_t *lease)
{
    int rc = HWS_OK;

    switch (course.step) {
    case ASKING:
        if ((rc = read_line(lease, "go")) != HWS_OK)
            break;
        course.step = SHAKING;
        rc = hws_lease_start_tls(lease, course.options);
        break;
    case SHAKING:
        rc = hws_lease_start_tls(lease, NULL);
        if (rc != HWS_OK)
            break;
        assert_string_equal(hws_lease_tls(lease), "1.2");
        course.step = TALKING;
        if ((rc = say(lease, SECRET)) == HWS_OK)
            rc = read_line(lease, "secret");
        break;
    case TALKING:
        if ((rc = read_line(lease, "secret")) == HWS_OK)
            stop(lease, HWS_OK);
        break;
    case DONE:
        return true;
    }
    if (rc < 0)
        stop(lease, rc);
    return course.step == DONE;
}

static void open_course(hws_lease_t *lease)
{
    int rc = say(lease, "STARTTLS\n");

    if (rc == HWS_OK)
        rc = read_line(lease, "go");
    if (rc < 0)
        stop(lease, rc);
}

static void walk(hold_t *hold, void *user)
{
    (void)user;
    if (hold->lease == NULL)
        return;
    if (hold->code != HWS_OK)
        stop(hold->lease, hold->code);
    else if (hold->readable == 0)
        open_course(hold->lease);
    else
        (void)go_on(hold->lease);
}

static hws_upstream_t *upstream_with(const hws_tls_options_t *options)
{
    hws_upstream_options_t settings = world_options(&stage.world);

    settings.tls = options;
    return world_raw(&stage.world, "a", &settings, 1);
}

/* Has `first` walk the course for as long as that takes. */
static void start_walk(hws_upstream_t *upstream, const hws_tls_options_t *options)
{
    memset(&course, 0, sizeof(course));
    course.options = options;
    course.code = HWS_AGAIN;
    far.visit = NULL;
    hold_init(first);
    first->then = walk;
    first->read = HWS_OK;
    if (hold_start(first, upstream) != HWS_OK)
        course.code = HWS_ERR_NOMEM;
}

static void walk_all(hws_upstream_t *upstream, const hws_tls_options_t *options)
{
    start_walk(upstream, options);
    world_run(&stage.world, HWS_S(40));
    assert_int_not_equal(course.code, HWS_AGAIN);
}

/* The lease ends; what it leaves behind is in order. */
static void end_walk(hws_upstream_t *upstream)
{
    hws_stats_t stats;

    hold_release(first);
    world_run(&stage.world, HWS_MS(10));
    world_check(&stage.world);
    stats = world_stats(upstream);
    assert_int_equal(stats.busy, 0);
    assert_int_equal(stats.dialing, 0);
}

/* ---- whole ---- */

static void what_follows_is_encrypted_for_later_leases_too(void **state)
{
    hws_upstream_t *upstream = upstream_with(NULL);

    (void)state;
    walk_all(upstream, &own);
    assert_int_equal(course.code, HWS_OK);
    assert_string_equal(tls_far_sni(far.tls), "localhost");
    /* How it ended was told, and is not told again. */
    assert_int_equal(hws_lease_start_tls(first->lease, NULL), HWS_ERR_UNSUPPORTED);
    end_walk(upstream);
    assert_int_equal(world_stats(upstream).idle, 1);
    hold_acquire(second, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_true(second->reused);
    assert_string_equal(hws_lease_tls(second->lease), "1.2");
    hold_write(second, SECRET);
    assert_int_equal(hold_read(second, HWS_READ_LINE, 100), HWS_AGAIN);
    world_run(&stage.world, HWS_MS(10));
    assert_true(hold_got(second, "secret"));
    assert_int_equal(hws_lease_start_tls(second->lease, NULL), HWS_ERR_UNSUPPORTED);
    hold_release(second);
    assert_int_equal(world_stats(upstream).idle, 1);
    assert_int_equal(world_stats(upstream).handshakes, 1);
}

static void without_options_the_upstreams_hold(void **state)
{
    hws_upstream_t *upstream = upstream_with(&trusting);

    (void)state;
    walk_all(upstream, NULL);
    /* They name nobody, and the certificate is not one of 10.0.0.1. */
    assert_int_equal(course.code, HWS_ERR_CERT_NAME);
    end_walk(upstream);
    assert_int_equal(world_stats(upstream).open, 0);
}

static void it_does_not_matter_how_the_bytes_come(void **state)
{
    static const hws_sim_chunking_t ways[] = {HWS_SIM_BYTES, HWS_SIM_RANDOM, HWS_SIM_RANDOM};
    hws_upstream_t *upstream = upstream_with(&own);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        stage.servers[0].listener->options.chunking = ways[i];
        stage.servers[0].listener->options.gap = HWS_US(10);
        walk_all(upstream, NULL);
        assert_int_equal(course.code, HWS_OK);
        hold_close(first);
        end_walk(upstream);
    }
}

/* ---- refused ---- */

static void expect_failure(hws_upstream_t *upstream, int code)
{
    size_t taken;

    assert_int_equal(course.code, code);
    assert_int_equal(course.error.code, code);
    assert_int_equal(course.error.phase, HWS_PHASE_TLS);
    assert_null(hws_lease_tls(first->lease));
    assert_int_equal(hws_lease_write(first->lease, SECRET, strlen(SECRET), &taken), code);
    assert_int_equal(hws_lease_start_tls(first->lease, NULL), code);
    assert_int_equal(world_stats(upstream).open, 0);
    end_walk(upstream);
}

static void a_stranger_is_refused(void **state)
{
    hws_upstream_t *upstream = upstream_with(&own);

    (void)state;
    walk_all(upstream, &stranger);
    expect_failure(upstream, HWS_ERR_CERT_UNTRUSTED);
    assert_int_equal(world_stats(upstream).closed[HWS_CLOSE_FAILED], 1);
}

static void bytes_that_came_before_are_refused(void **state)
{
    hws_upstream_t *upstream = upstream_with(&own);

    (void)state;
    far.answer = "go\nEHLO";
    walk_all(upstream, NULL);
    expect_failure(upstream, HWS_ERR_TLS_EARLY);
}

static void what_is_no_tls_is_refused(void **state)
{
    hws_upstream_t *upstream = upstream_with(&own);

    (void)state;
    far.is_silent = true;
    start_walk(upstream, NULL);
    world_run(&stage.world, HWS_MS(10));
    server_say(far.visit, (reply_t){.bytes = "500 what do you mean?\r\n"});
    world_run(&stage.world, HWS_MS(10));
    expect_failure(upstream, HWS_ERR_TLS_PLAIN);
}

static void silence_ends_with_timeouts_tls(void **state)
{
    hws_upstream_t *upstream = upstream_with(&own);

    (void)state;
    far.is_silent = true;
    start_walk(upstream, NULL);
    world_run(&stage.world, HWS_MS(4990));
    assert_int_equal(course.code, HWS_AGAIN);
    world_run(&stage.world, HWS_MS(20));
    expect_failure(upstream, HWS_ERR_TIMEOUT);
}

static void meanwhile_it_can_do_nothing_else(void **state)
{
    hws_upstream_t *upstream = upstream_with(&own);

    (void)state;
    far.is_silent = true;
    start_walk(upstream, NULL);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(course.step, SHAKING);
    assert_null(hws_lease_tls(first->lease));
    assert_int_equal(say(first->lease, SECRET), HWS_ERR_UNSUPPORTED);
    assert_int_equal(read_line(first->lease, ""), HWS_ERR_UNSUPPORTED);
    assert_int_equal(hws_lease_finish(first->lease), HWS_ERR_UNSUPPORTED);
    assert_int_equal(hws_lease_start_tls(first->lease, NULL), HWS_AGAIN);
    hold_close(first);
    end_walk(upstream);
}

static void a_wait_that_goes_on_is_in_its_way(void **state)
{
    hws_upstream_t *upstream = upstream_with(&own);

    (void)state;
    hold_acquire(first, upstream);
    world_run(&stage.world, HWS_MS(10));
    assert_int_equal(hold_read(first, HWS_READ_LINE, 100), HWS_AGAIN);
    assert_int_equal(hws_lease_start_tls(first->lease, NULL), HWS_ERR_UNSUPPORTED);
    hold_close(first);
}

/* ---- cut, at every byte ---- */

static void cut_everywhere(hws_sim_close_t how, size_t step)
{
    hws_upstream_t *upstream = upstream_with(&own);
    size_t at;

    stage.servers[0].listener->options.cut_with = how;
    for (at = 1;; at += step) {
        stage.servers[0].listener->options.cut_after = at;
        walk_all(upstream, NULL);
        if (course.code == HWS_OK)
            break;
        assert_true(hws_error_kind(course.code) == HWS_KIND_TLS ||
                    hws_error_kind(course.code) == HWS_KIND_RESET);
        end_walk(upstream);
        assert_int_equal(world_stats(upstream).open, 0);
    }
    assert_in_range(at, 500, 10000);
    hold_close(first);
}

static void a_reset_at_any_byte_leaves_nothing_behind(void **state)
{
    (void)state;
    cut_everywhere(HWS_SIM_RESET, 1);
}

static void neither_does_an_end_at_any_byte(void **state)
{
    (void)state;
    cut_everywhere(HWS_SIM_FINISH, 13);
}

/* ---- given up, at every moment ---- */

static void release_it(hws_upstream_t *upstream)
{
    (void)upstream;
    hold_release(first);
}

static void close_it(hws_upstream_t *upstream)
{
    (void)upstream;
    hold_close(first);
}

static void cancel_it(hws_upstream_t *upstream)
{
    (void)upstream;
    hws_lease_cancel(first->lease);
}

static void close_upstream(hws_upstream_t *upstream)
{
    hws_upstream_close(upstream);
}

static void close_manager(hws_upstream_t *upstream)
{
    hws_manager_close(hws_upstream_manager(upstream));
}

static void giving_up_at_any_moment_leaves_nothing_behind(void **state)
{
    static void (*const ways[])(hws_upstream_t *) = {release_it, close_it, cancel_it,
                                                     close_upstream, close_manager};
    unsigned way;
    unsigned ms;

    for (way = 0; way < 5; way++) {
        for (ms = 1; ms < 40; ms++) {
            hws_upstream_t *upstream = upstream_with(&own);

            stage.servers[0].listener->options.latency_min = HWS_MS(2);
            stage.servers[0].listener->options.latency_max = HWS_MS(2);
            start_walk(upstream, NULL);
            world_run(&stage.world, HWS_MS(ms));
            if (first->lease != NULL)
                ways[way](upstream);
            world_run(&stage.world, HWS_S(20));
            world_check(&stage.world);
            assert_true(first->lease == NULL || course.code != HWS_AGAIN || way > 1);
            (void)end(state);
            (void)begin(state);
        }
    }
}

/* ---- in a setup ---- */

static struct {
    bool is_patient; /* ends the setup only when told, whatever happens */
    bool cancels;
    hws_lease_t *lease;
} prep;

static void on_setup_readable(hws_lease_t *lease, void *user)
{
    (void)user;
    if (go_on(lease) && !prep.is_patient) {
        prep.lease = NULL;
        hws_lease_setup_done(lease, course.code == HWS_OK, "no TLS");
    } else if (prep.cancels && course.step == SHAKING) {
        prep.cancels = false;
        hws_lease_cancel(lease);
    }
}

static void setup(hws_lease_t *lease, void *user)
{
    static const hws_lease_options_t callbacks = {.on_readable = on_setup_readable};

    (void)user;
    prep.lease = lease;
    course.step = ASKING;
    course.code = HWS_AGAIN;
    hws_lease_set_callbacks(lease, &callbacks);
    open_course(lease);
    if (course.step == DONE) {
        prep.lease = NULL;
        hws_lease_setup_done(lease, false, "no TLS");
    }
}

static hws_upstream_t *upstream_that_sets_up(const hws_tls_options_t *options)
{
    hws_upstream_options_t settings = world_options(&stage.world);

    memset(&prep, 0, sizeof(prep));
    memset(&course, 0, sizeof(course));
    course.options = options;
    settings.timeouts.connect = HWS_S(10);
    settings.tls = &own;
    settings.setup = setup;
    return world_raw(&stage.world, "a", &settings, 1);
}

static void acquire_prepared(hws_upstream_t *upstream, hws_time_t span)
{
    far.visit = NULL;
    hold_init(first);
    first->read = HWS_OK;
    (void)hold_start(first, upstream);
    world_run(&stage.world, span);
}

static void a_setup_may_start_it(void **state)
{
    hws_upstream_t *upstream = upstream_that_sets_up(NULL);

    (void)state;
    acquire_prepared(upstream, HWS_MS(100));
    assert_int_equal(first->code, HWS_OK);
    assert_false(first->reused);
    assert_string_equal(hws_lease_tls(first->lease), "1.2");
    end_walk(upstream);
    assert_int_equal(world_stats(upstream).idle, 1);
}

/* What `first` was told; the setup's own lease hears the same. */
static void expect_setup(hws_upstream_t *upstream, int code, hws_phase_t phase)
{
    assert_int_equal(first->code, code);
    assert_int_equal(first->error.phase, phase);
    assert_int_equal(world_stats(upstream).open, 0);
    end_walk(upstream);
}

static void a_setup_that_meets_a_stranger_is_told_so(void **state)
{
    hws_upstream_t *upstream = upstream_that_sets_up(&stranger);

    (void)state;
    acquire_prepared(upstream, HWS_MS(100));
    assert_int_equal(course.code, HWS_ERR_CERT_UNTRUSTED);
    expect_setup(upstream, HWS_ERR_CERT_UNTRUSTED, HWS_PHASE_TLS);
}

/* A setup that goes on after timeouts.tls, when the peer at last says something. */
static void a_setup_that_took_too_long_is_harmed_by_nothing_that_comes_later(void **state)
{
    hws_upstream_t *upstream = upstream_that_sets_up(NULL);

    (void)state;
    far.is_silent = true;
    prep.is_patient = true;
    acquire_prepared(upstream, HWS_MS(5100));
    assert_int_equal(course.code, HWS_ERR_TIMEOUT);
    if (server_latest(&stage.servers[0]) != NULL)
        server_say(server_latest(&stage.servers[0]), (reply_t){.bytes = "who is there?"});
    world_run(&stage.world, HWS_S(6));
    hws_lease_setup_done(prep.lease, false, NULL);
    world_run(&stage.world, HWS_S(1));
    expect_setup(upstream, HWS_ERR_TIMEOUT, HWS_PHASE_TLS);
}

static void a_setup_that_gives_up_has_failed(void **state)
{
    hws_upstream_t *upstream = upstream_that_sets_up(NULL);

    (void)state;
    far.is_silent = true;
    prep.cancels = true;
    acquire_prepared(upstream, HWS_MS(100));
    assert_int_equal(course.code, HWS_ERR_CANCELED);
    expect_setup(upstream, HWS_ERR_SETUP, HWS_PHASE_CONNECT);
}

/* timeouts.connect passes first: it bounds the setup as a whole. */
static void the_end_of_a_setup_ends_its_handshake(void **state)
{
    hws_upstream_t *upstream = upstream_that_sets_up(NULL);
    hws_upstream_options_t settings;

    (void)state;
    hws_upstream_settings(upstream, &settings);
    settings.timeouts.connect = HWS_S(1);
    assert_int_equal(hws_upstream_update(upstream, &settings, NULL), HWS_OK);
    far.is_silent = true;
    acquire_prepared(upstream, HWS_S(2));
    assert_int_equal(course.code, HWS_ERR_TIMEOUT);
    expect_setup(upstream, HWS_ERR_TIMEOUT, HWS_PHASE_TLS);
}

static void closing_while_a_setup_shakes_hands_ends_both(void **state)
{
    unsigned way;

    for (way = 0; way < 2; way++) {
        hws_upstream_t *upstream = upstream_that_sets_up(NULL);

        far.is_silent = true;
        acquire_prepared(upstream, HWS_MS(100));
        assert_int_equal(course.step, SHAKING);
        (way == 0 ? close_upstream : close_manager)(upstream);
        world_run(&stage.world, HWS_S(1));
        assert_int_equal(hws_error_kind(course.code), HWS_KIND_CLOSED);
        assert_int_equal(hws_error_kind(first->code), HWS_KIND_CLOSED);
        assert_null(prep.lease);
        (void)end(state);
        (void)begin(state);
    }
}

/* ---- out of memory ---- */

static bool is_fair(int code)
{
    return code == HWS_OK || code == HWS_ERR_NOMEM || code == HWS_ERR_SETUP ||
           hws_error_kind(code) == HWS_KIND_RESET || code == HWS_ERR_TLS_EOF ||
           code == HWS_ERR_TIMEOUT;
}

static void fail_each_allocation(void **state, bool in_setup, const hws_tls_options_t *options)
{
    uint64_t n = 0;
    uint64_t count;

    do {
        hws_upstream_t *upstream = in_setup ? upstream_that_sets_up(options) : upstream_with(&own);

        hws_memory_fail_at(++n);
        if (in_setup) {
            acquire_prepared(upstream, HWS_S(20));
        } else {
            start_walk(upstream, options);
            world_run(&stage.world, HWS_S(40));
            assert_int_not_equal(course.code, HWS_AGAIN);
            assert_true(is_fair(course.code));
        }
        count = hws_memory_count();
        hws_memory_fail_at(0);
        assert_true(is_fair(first->code) || first->code == HWS_AGAIN);
        if (first->lease != NULL)
            hold_close(first);
        end_walk(upstream);
        assert_int_equal(world_stats(upstream).open, 0);
        (void)end(state);
        (void)begin(state);
    } while (n <= count);
    assert_in_range(n, 10, 1000);
}

static void an_upgrade_survives_any_failing_allocation(void **state)
{
    fail_each_allocation(state, false, NULL);
}

static void so_does_one_with_options_of_its_own(void **state)
{
    fail_each_allocation(state, false, &own);
}

static void so_does_one_in_a_setup(void **state)
{
    fail_each_allocation(state, true, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(what_follows_is_encrypted_for_later_leases_too),
        TLS_TEST(without_options_the_upstreams_hold),
        TLS_TEST(it_does_not_matter_how_the_bytes_come),
        TLS_TEST(a_stranger_is_refused),
        TLS_TEST(bytes_that_came_before_are_refused),
        TLS_TEST(what_is_no_tls_is_refused),
        TLS_TEST(silence_ends_with_timeouts_tls),
        TLS_TEST(meanwhile_it_can_do_nothing_else),
        TLS_TEST(a_wait_that_goes_on_is_in_its_way),
        TLS_TEST(a_reset_at_any_byte_leaves_nothing_behind),
        TLS_TEST(neither_does_an_end_at_any_byte),
        TLS_TEST(giving_up_at_any_moment_leaves_nothing_behind),
        TLS_TEST(a_setup_may_start_it),
        TLS_TEST(a_setup_that_meets_a_stranger_is_told_so),
        TLS_TEST(a_setup_that_took_too_long_is_harmed_by_nothing_that_comes_later),
        TLS_TEST(a_setup_that_gives_up_has_failed),
        TLS_TEST(the_end_of_a_setup_ends_its_handshake),
        TLS_TEST(closing_while_a_setup_shakes_hands_ends_both),
        TLS_TEST(an_upgrade_survives_any_failing_allocation),
        TLS_TEST(so_does_one_with_options_of_its_own),
        TLS_TEST(so_does_one_in_a_setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
