/* Storms over the resolver: many ask and leave while records change, fail and fall silent. Whatever
 * happens, each look-up is told each family once and in time, and no name is asked for too often. */
#include "transport/resolve.h"

#include "io/sim.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define SEEDS 200
#define STEPS 2000
#define NAMES 40
#define LOOKS 100
#define MAX_NAMES 16

typedef struct {
    hws_resolution_t resolution;
    bool is_open;
    int told[HWS_FAMILIES];
    hws_time_t since;
} look_t;

static struct {
    uint64_t seed;
    bool is_calm; /* nothing new is begun */
    hws_sim_t *sim;
    hws_loop_t *loop;
    hws_resolver_t resolver;
    hws_random_t random;
    char names[NAMES][32];
    hws_sim_name_t *records[NAMES][HWS_FAMILIES];
    look_t looks[LOOKS];
} storm;

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %u: %s", (unsigned)storm.seed, #condition);                             \
    } while (0)

static uint32_t below(uint32_t n)
{
    return hws_random_below(&storm.random, n);
}

static void check_found(const look_t *look, hws_family_t family)
{
    const hws_resolved_t *found = &look->resolution.found[family];

    MUST(look->told[family] == 1);
    MUST(found->status != HWS_AGAIN);
    MUST((found->status == HWS_OK) == (found->count > 0));
    for (uint32_t i = 0; i < found->count; i++)
        MUST(found->ips[i].family == (family == HWS_IPV4 ? AF_INET : AF_INET6));
}

static void look_up(look_t *look);

static void on_answer(hws_resolution_t *resolution, hws_family_t family, hws_time_t now)
{
    look_t *look = HWS_CONTAINER(resolution, look_t, resolution);

    MUST(look->is_open);
    MUST(now - look->since <= HWS_S(5)); /* patience */
    look->told[family]++;
    check_found(look, family);
    if (look->told[0] + look->told[1] == 2)
        look->is_open = false;
    /* Sometimes the one who is told does something else at once. */
    if (!storm.is_calm && below(10) == 0) {
        look_t *other = &storm.looks[below(LOOKS)];

        hws_resolution_cancel(&other->resolution);
        other->is_open = false;
        if (below(2) == 0)
            look_up(other);
    }
}

static void look_up(look_t *look)
{
    const char *name = storm.names[below(NAMES)];
    hws_slice_t slice = {name, strlen(name)};
    int rc;

    *look = (look_t){.is_open = true, .since = hws_sim_now(storm.sim)};
    rc = hws_resolution_start(&look->resolution, &storm.resolver, slice, look->since, on_answer);
    for (int family = 0; family < HWS_FAMILIES; family++)
        if (!hws_resolution_waits_for(&look->resolution, (hws_family_t)family)) {
            look->told[family]++;
            check_found(look, (hws_family_t)family);
        }
    MUST((rc == HWS_OK) == (look->told[0] + look->told[1] == 2));
    look->is_open = rc == HWS_AGAIN;
}

static void change(hws_sim_name_t *record)
{
    static const int codes[] = {HWS_OK, HWS_OK, HWS_OK, HWS_ERR_SERVFAIL, HWS_ERR_NXDOMAIN};
    static const uint32_t ttls[] = {0, 1, 5, 60, 100000};
    static const char *const v4[] = {"", "10.0.0.1", "10.0.0.1 10.0.0.2"};
    static const char *const v6[] = {"", "::1", "::1 ::2 ::3"};
    uint32_t ips = below(3);

    record->status = codes[below(5)];
    record->ttl = ttls[below(5)];
    record->latency_max = HWS_MS(below(500));
    record->is_silent = below(5) == 0;
    assert_int_equal(hws_sim_name(storm.sim, record->name, record->family,
                                  record->family == AF_INET ? v4[ips] : v6[ips], &record),
                     HWS_OK);
}

static void begin(uint64_t seed)
{
    hws_resolver_options_t options;

    memset(&storm, 0, sizeof(storm));
    storm.seed = seed;
    hws_random_init(&storm.random, seed);
    assert_int_equal(hws_sim_create(seed, &storm.sim), HWS_OK);
    assert_int_equal(hws_loop_create_on(hws_sim_io(storm.sim), &storm.loop), HWS_OK);
    hws_resolver_options_init(&options);
    options.max_names = MAX_NAMES;
    assert_int_equal(hws_resolver_init(&storm.resolver, storm.loop, &options), HWS_OK);
    for (int i = 0; i < NAMES; i++) {
        snprintf(storm.names[i], sizeof(storm.names[i]), "n%d.test", i);
        for (int family = 0; family < HWS_FAMILIES; family++) {
            assert_int_equal(hws_sim_name(storm.sim, storm.names[i],
                                          family == HWS_IPV4 ? AF_INET : AF_INET6, "",
                                          &storm.records[i][family]),
                             HWS_OK);
            change(storm.records[i][family]);
        }
    }
    for (int i = 0; i < LOOKS; i++)
        for (int family = 0; family < HWS_FAMILIES; family++)
            hws_list_init(&storm.looks[i].resolution.links[family]);
}

static void step(void)
{
    look_t *look = &storm.looks[below(LOOKS)];

    switch (below(4)) {
    case 0:
        change(storm.records[below(NAMES)][below(HWS_FAMILIES)]);
        break;
    case 1:
        hws_resolution_cancel(&look->resolution);
        look->is_open = false;
        break;
    default:
        if (!look->is_open)
            look_up(look);
        break;
    }
    if (below(3) == 0)
        hws_sim_run_until(storm.sim, hws_sim_now(storm.sim) + HWS_MS(below(300)));
    /* What is over the bound is being asked for. */
    if (hws_list_is_empty(&storm.resolver.busy))
        MUST(storm.resolver.entries.size <= MAX_NAMES);
}

static void finish(bool lets_all_come)
{
    storm.is_calm = true;
    if (lets_all_come)
        hws_sim_run_until(storm.sim, hws_sim_now(storm.sim) + HWS_S(6));
    for (int i = 0; i < LOOKS; i++) {
        if (lets_all_come)
            MUST(!storm.looks[i].is_open);
        hws_resolution_cancel(&storm.looks[i].resolution);
    }
    if (lets_all_come) {
        MUST(hws_sim_open_questions(storm.sim) == 0);
        MUST(storm.resolver.entries.size <= MAX_NAMES);
        MUST(storm.loop->timers.root == NULL);
    }
    hws_resolver_dispose(&storm.resolver);
    hws_loop_destroy(storm.loop);
}

static void whatever_happens_each_look_up_is_told_once_and_in_time(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        begin(seed);
        for (int i = 0; i < STEPS; i++)
            step();
        finish(seed % 2 == 0);
    }
}

static void one_name_is_asked_for_at_most_once_per_second(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        hws_sim_name_t *record;
        uint64_t second;

        begin(seed);
        record = storm.records[0][HWS_IPV4];
        for (second = 1; second <= 60; second++) {
            for (int i = 0; i < 20; i++) {
                look_t *look = &storm.looks[below(LOOKS)];

                hws_resolution_cancel(&look->resolution);
                *look = (look_t){.is_open = true, .since = hws_sim_now(storm.sim)};
                hws_resolution_start(&look->resolution, &storm.resolver, HWS_SLICE("N0.test"),
                                     look->since, on_answer);
                for (int family = 0; family < HWS_FAMILIES; family++)
                    look->told[family] =
                        !hws_resolution_waits_for(&look->resolution, (hws_family_t)family);
                look->is_open = look->told[0] + look->told[1] < 2;
                hws_sim_run_until(storm.sim, hws_sim_now(storm.sim) + HWS_MS(50));
            }
            change(record);
            MUST(record->asked <= second + 1);
        }
        finish(true);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_each_look_up_is_told_once_and_in_time),
        cmocka_unit_test(one_name_is_asked_for_at_most_once_per_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
