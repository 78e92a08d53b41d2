/* Options of managers and upstreams: what is refused, and why. */
#include "io/sim.h"
#include "manager.h"
#include "support/cmocka.h"

#include <hawser/hawser.h>

#include <string.h>

typedef struct {
    hws_loop_t *loop;
    hws_manager_t *manager;
} fixture_t;

static int begin(void **state)
{
    static fixture_t fixture;
    hws_manager_options_t options;
    hws_sim_t *sim;

    assert_int_equal(hws_sim_create(1, &sim), HWS_OK);
    assert_int_equal(hws_loop_create_on(hws_sim_io(sim), &fixture.loop), HWS_OK);
    hws_manager_options_init(&options);
    assert_int_equal(hws_manager_create(fixture.loop, &options, &fixture.manager, NULL), HWS_OK);
    *state = &fixture;
    return 0;
}

static int end(void **state)
{
    fixture_t *fixture = *state;

    hws_manager_destroy(fixture->manager);
    hws_loop_destroy(fixture->loop);
    return 0;
}

static int create(fixture_t *fixture, const hws_upstream_options_t *options, hws_error_t *why)
{
    hws_upstream_t *upstream = NULL;
    int rc = hws_upstream_create(fixture->manager, options, &upstream, why);

    assert_true((rc == HWS_OK) == (upstream != NULL));
    return rc;
}

static void limits_out_of_range_are_refused_by_name(void **state)
{
    static const struct {
        size_t offset;
        bool is_size; /* size_t rather than uint32_t */
        uint64_t value;
        const char *name;
    } cases[] = {
        {offsetof(hws_limits_t, connections), false, 0, "limits.connections"},
        {offsetof(hws_limits_t, connections), false, 1000001, "limits.connections"},
        {offsetof(hws_limits_t, per_peer), false, 0, "limits.per_peer"},
        {offsetof(hws_limits_t, dials), false, 0, "limits.dials"},
        {offsetof(hws_limits_t, header), true, 255, "limits.header"},
        {offsetof(hws_limits_t, header), true, 16777217, "limits.header"},
        {offsetof(hws_limits_t, body), true, SIZE_MAX, "limits.body"},
        {offsetof(hws_limits_t, buffer), true, 4095, "limits.buffer"},
        {offsetof(hws_limits_t, buffer), true, SIZE_MAX, "limits.buffer"},
    };
    fixture_t *fixture = *state;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_manager_options_t manager_options;
        hws_upstream_options_t options;
        hws_manager_t *manager;
        hws_error_t why = {0};
        char *field = (char *)&options.limits + cases[i].offset;
        size_t size = cases[i].value;
        uint32_t number = (uint32_t)cases[i].value;

        hws_upstream_options_init(&options, fixture->manager);
        options.name = HWS_SLICE("a");
        if (cases[i].is_size)
            memcpy(field, &size, sizeof(size));
        else
            memcpy(field, &number, sizeof(number));
        assert_int_equal(create(fixture, &options, &why), HWS_ERR_INVALID);
        assert_non_null(strstr(why.detail, cases[i].name));

        hws_manager_options_init(&manager_options);
        manager_options.limits = options.limits;
        assert_int_equal(hws_manager_create(fixture->loop, &manager_options, &manager, &why),
                         HWS_ERR_INVALID);
    }
}

static void spans_below_nothing_are_refused_by_name(void **state)
{
    static const struct {
        size_t offset;
        const char *name;
    } cases[] = {
        {offsetof(hws_timeouts_t, connect), "timeouts.connect"},
        {offsetof(hws_timeouts_t, queue), "timeouts.queue"},
        {offsetof(hws_timeouts_t, request), "timeouts.request"},
        {offsetof(hws_timeouts_t, read), "timeouts.read"},
        {offsetof(hws_timeouts_t, idle), "timeouts.idle"},
        {offsetof(hws_timeouts_t, lifetime), "timeouts.lifetime"},
        {offsetof(hws_timeouts_t, drain), "timeouts.drain"},
    };
    fixture_t *fixture = *state;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_upstream_options_t options;
        hws_error_t why = {0};
        hws_time_t span = -1;

        hws_upstream_options_init(&options, fixture->manager);
        options.name = HWS_SLICE("a");
        memcpy((char *)&options.timeouts + cases[i].offset, &span, sizeof(span));
        assert_int_equal(create(fixture, &options, &why), HWS_ERR_INVALID);
        assert_non_null(strstr(why.detail, cases[i].name));
    }
}

static void an_upstream_needs_a_name_of_its_own(void **state)
{
    static char name[256];
    fixture_t *fixture = *state;
    hws_upstream_options_t options;
    hws_error_t why;

    memset(name, 'n', sizeof(name));
    hws_upstream_options_init(&options, fixture->manager);
    assert_int_equal(create(fixture, &options, &why), HWS_ERR_INVALID);
    options.name = (hws_slice_t){name, 256};
    assert_int_equal(create(fixture, &options, &why), HWS_ERR_INVALID);
    options.name = (hws_slice_t){name, 255};
    assert_int_equal(create(fixture, &options, &why), HWS_OK);
    assert_int_equal(create(fixture, &options, &why), HWS_ERR_INVALID);
    assert_non_null(strstr(why.detail, "taken"));
    assert_non_null(hws_manager_find(fixture->manager, options.name));
    assert_null(hws_manager_find(fixture->manager, HWS_SLICE("other")));
}

static void peers_of_one_upstream_agree(void **state)
{
    static const struct {
        hws_protocol_t protocol;
        const char *first;
        const char *second;
        int code;
        bool is_raw;
    } cases[] = {
        {HWS_PROTOCOL_AUTO, "http://10.0.0.1:1", "http://10.0.0.1:2", HWS_OK, false},
        {HWS_PROTOCOL_AUTO, "tcp://10.0.0.1:1", "unix:/a", HWS_OK, true},
        {HWS_PROTOCOL_AUTO, "http://10.0.0.1:1", "tcp://10.0.0.1:2", HWS_ERR_INVALID, false},
        {HWS_PROTOCOL_AUTO, "tcp://10.0.0.1:1", "http://10.0.0.1:2", HWS_ERR_INVALID, false},
        {HWS_PROTOCOL_HTTP1, "unix:/a", "http://10.0.0.1:2", HWS_OK, false},
        {HWS_PROTOCOL_RAW, "tcp://10.0.0.1:1", "http://10.0.0.1:2", HWS_ERR_INVALID, false},
        {HWS_PROTOCOL_AUTO, "http://10.0.0.1", "http://10.0.0.1:80", HWS_ERR_INVALID, false},
    };
    fixture_t *fixture = *state;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_peer_options_t peers[] = {
            {.url = {cases[i].first, strlen(cases[i].first)}},
            {.url = {cases[i].second, strlen(cases[i].second)}},
        };
        hws_upstream_options_t options;
        hws_upstream_t *upstream;
        hws_error_t why = {0};

        hws_upstream_options_init(&options, fixture->manager);
        options.name = HWS_SLICE("a");
        options.protocol = cases[i].protocol;
        options.peers = peers;
        options.peer_count = 2;
        assert_int_equal(create(fixture, &options, &why), cases[i].code);
        if (cases[i].code != HWS_OK) {
            assert_true(why.detail[0] != '\0');
            continue;
        }
        upstream = hws_manager_find(fixture->manager, HWS_SLICE("a"));
        assert_int_equal(hws_upstream_is_raw(upstream), cases[i].is_raw);
        assert_int_equal(hws_upstream_peer_count(upstream), 2);
        hws_upstream_close(upstream);
        assert_int_equal(hws_loop_run(fixture->loop, true), HWS_OK);
    }
}

static void a_closed_manager_makes_no_upstream(void **state)
{
    fixture_t *fixture = *state;
    hws_upstream_options_t options;
    hws_upstream_t *upstream;
    hws_slice_t target;

    hws_upstream_options_init(&options, fixture->manager);
    options.name = HWS_SLICE("a");
    hws_manager_close(fixture->manager);
    hws_manager_close(fixture->manager);
    assert_true(hws_manager_is_closed(fixture->manager));
    assert_int_equal(create(fixture, &options, NULL), HWS_ERR_CLOSED);
    assert_int_equal(hws_manager_origin(fixture->manager, HWS_SLICE("http://10.0.0.1/"), &upstream,
                                        &target, NULL),
                     HWS_ERR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(limits_out_of_range_are_refused_by_name, begin, end),
        cmocka_unit_test_setup_teardown(spans_below_nothing_are_refused_by_name, begin, end),
        cmocka_unit_test_setup_teardown(an_upstream_needs_a_name_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(peers_of_one_upstream_agree, begin, end),
        cmocka_unit_test_setup_teardown(a_closed_manager_makes_no_upstream, begin, end),
    };

    return cmocka_run_group_tests_name("manager", tests, NULL, NULL);
}
