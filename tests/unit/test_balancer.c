#include "policy/balancer.h"

#include "base/list.h"

#include "support/cmocka.h"

#include <math.h>
#include <string.h>

#define MOST 100

/* A lineup, who of it may serve, and how often each was asked and served. */
typedef struct {
    hws_ask_t ask;
    hws_balancer_t balancer;
    hws_lineup_t lineup;
    hws_random_t random;
    hws_time_t now;
    hws_candidate_t *list[MOST];
    hws_candidate_t candidates[MOST]; /* in the order that they were given in */
    int ranks[MOST];
    uint32_t asked[MOST]; /* by the last pick */
    uint32_t served[MOST];
} field_t;

static uint32_t which(const field_t *field, const hws_candidate_t *candidate)
{
    return (uint32_t)(candidate - field->candidates);
}

static int rank(hws_ask_t *ask, hws_candidate_t *candidate)
{
    field_t *field = HWS_CONTAINER(ask, field_t, ask);

    field->asked[which(field, candidate)]++;
    return field->ranks[which(field, candidate)];
}

/* `count` candidates of weight 1, all of which may serve. */
static void begin(field_t *field, hws_balancer_t balancer, uint32_t count)
{
    uint32_t i;

    *field = (field_t){.ask = {.rank = rank, .best = 1}, .balancer = balancer};
    hws_random_init(&field->random, 11);
    field->lineup.list = field->list;
    field->lineup.count = count;
    for (i = 0; i < count; i++) {
        field->list[i] = &field->candidates[i];
        field->candidates[i].weight = 1;
        field->ranks[i] = 1;
    }
    hws_lineup_arrange(&field->lineup);
}

static void weigh(field_t *field, const double *weights)
{
    uint32_t i;

    for (i = 0; i < field->lineup.count; i++)
        field->candidates[i].weight = weights[i];
    hws_lineup_arrange(&field->lineup);
}

static hws_candidate_t *pick(field_t *field)
{
    uint32_t i;
    hws_candidate_t *found;

    memset(field->asked, 0, sizeof(field->asked));
    found =
        hws_balancer_pick(field->balancer, &field->lineup, &field->ask, &field->random, field->now);
    for (i = 0; i < field->lineup.count; i++)
        assert_in_range(field->asked[i], 0, 1);
    if (found != NULL) {
        assert_int_equal(field->asked[which(field, found)], 1);
        assert_int_not_equal(field->ranks[which(field, found)], 0);
    }
    return found;
}

static uint32_t serve(field_t *field)
{
    hws_candidate_t *found = pick(field);

    assert_non_null(found);
    hws_balancer_took(field->balancer, &field->lineup, found);
    field->served[which(field, found)]++;
    return which(field, found);
}

/* Calls that each take as long as any other, `at_once` of them under way. */
static void serve_many(field_t *field, uint32_t count, uint32_t at_once)
{
    uint32_t under_way[64];
    uint32_t i;

    assert_true(at_once <= 64);
    memset(field->served, 0, sizeof(field->served));
    for (i = 0; i < count; i++) {
        uint32_t *slot = &under_way[i % at_once];

        if (i >= at_once)
            field->candidates[*slot].in_flight--;
        *slot = serve(field);
        field->candidates[*slot].in_flight++;
    }
    for (i = 0; i < at_once; i++)
        field->candidates[under_way[i]].in_flight--;
}

/* Each share of what was served is as great as its weight says, to within `tolerance` of it. */
static void check_shares(const field_t *field, const double *weights, double tolerance)
{
    double weight = 0;
    double served = 0;
    uint32_t i;

    for (i = 0; i < field->lineup.count; i++) {
        weight += weights[i];
        served += field->served[i];
    }
    for (i = 0; i < field->lineup.count; i++) {
        double expected = served * weights[i] / weight;

        if (fabs(field->served[i] - expected) > expected * tolerance)
            print_error("%s: %u of %.0f, not %.0f\n", hws_balancer_name(field->balancer),
                        field->served[i], served, expected);
        assert_true(fabs(field->served[i] - expected) <= expected * tolerance);
    }
}

#define EACH_BALANCER(name)                                                                        \
    for (hws_balancer_t name = HWS_BALANCER_ROUND_ROBIN; name < HWS_BALANCER_COUNT; name++)

/* ---- what holds for each of them ---- */

static void the_only_one_that_can_serve_is_found(void **state)
{
    static field_t field;
    uint32_t count;
    uint32_t only;
    int has_weights;

    (void)state;
    EACH_BALANCER(balancer)
    {
        for (count = 1; count <= MOST; count += 33) {
            for (only = 0; only < count; only++) {
                for (has_weights = 0; has_weights <= 1; has_weights++) {
                    begin(&field, balancer, count);
                    memset(field.ranks, 0, sizeof(field.ranks));
                    field.ranks[only] = 1;
                    field.candidates[0].weight += has_weights;
                    hws_lineup_arrange(&field.lineup);
                    field.candidates[only].in_flight = 1000;
                    assert_int_equal(serve(&field), only);
                    assert_int_equal(serve(&field), only);
                }
            }
        }
    }
}

static void nobody_is_found_where_nobody_can_serve(void **state)
{
    static field_t field;

    (void)state;
    EACH_BALANCER(balancer)
    {
        begin(&field, balancer, MOST);
        memset(field.ranks, 0, sizeof(field.ranks));
        assert_null(pick(&field));
        begin(&field, balancer, 0);
        assert_null(pick(&field));
    }
}

/* Random ranks, priorities, weights and loads; the answer must be of the first tier that has one
 * above 0, of the best rank there is in it, and below 0 only when nobody is above. */
static void whoever_is_picked_is_of_the_best_rank_in_the_first_tier_that_can_serve(void **state)
{
    static field_t field;
    hws_random_t dice;
    int i;

    (void)state;
    hws_random_init(&dice, 3);
    EACH_BALANCER(balancer)
    {
        for (i = 0; i < 20000; i++) {
            uint32_t count = 1 + hws_random_below(&dice, 12);
            uint32_t share = hws_random_below(&dice, 100);
            const hws_candidate_t *found;
            uint32_t best = count;
            uint32_t k;

            begin(&field, balancer, count);
            field.ask.best = 2;
            for (k = 0; k < count; k++) {
                hws_candidate_t *candidate = &field.candidates[k];

                candidate->priority = hws_random_below(&dice, 3);
                candidate->weight = 1 + hws_random_below(&dice, 2);
                candidate->in_flight = hws_random_below(&dice, 3);
                field.ranks[k] = 0;
                if (hws_random_below(&dice, 100) < share)
                    field.ranks[k] = (int)hws_random_below(&dice, 5) - 2;
            }
            hws_lineup_arrange(&field.lineup);
            for (k = 0; k < count; k++) {
                uint32_t one = which(&field, field.list[k]);
                bool is_before = best < count &&
                                 field.candidates[best].priority < field.candidates[one].priority;

                assert_true(k == 0 || field.list[k - 1]->priority <= field.list[k]->priority);
                if (field.ranks[one] == 0)
                    continue;
                if (best == count || (field.ranks[one] > 0 && field.ranks[best] < 0) ||
                    (!is_before && field.ranks[one] > field.ranks[best]))
                    best = one;
            }
            found = pick(&field);
            assert_true((found == NULL) == (best == count));
            if (found == NULL)
                continue;
            assert_int_equal(found->priority, field.candidates[best].priority);
            assert_int_equal(field.ranks[which(&field, found)], field.ranks[best]);
        }
    }
}

static void equals_serve_alike(void **state)
{
    static const double equal[] = {1, 1, 1, 1, 1};
    static field_t field;

    (void)state;
    EACH_BALANCER(balancer)
    {
        begin(&field, balancer, 5);
        serve_many(&field, 20000, 1);
        check_shares(&field, equal, 0.05);
        serve_many(&field, 20000, 13);
        check_shares(&field, equal, 0.05);
    }
}

/* The one behind those that are down must not serve for all of them. */
static void equals_serve_alike_while_others_are_down(void **state)
{
    static const double up[] = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1};
    static field_t field;

    (void)state;
    EACH_BALANCER(balancer)
    {
        begin(&field, balancer, 10);
        memset(field.ranks, 0, 7 * sizeof(*field.ranks));
        serve_many(&field, 20000, 1);
        check_shares(&field, up, 0.05);
    }
}

static void weights_share_the_calls(void **state)
{
    static const hws_balancer_t weighing[] = {HWS_BALANCER_WEIGHTED, HWS_BALANCER_RANDOM,
                                              HWS_BALANCER_LEAST_REQUEST};
    static const double weights[] = {1, 2, 3, 10};
    static field_t field;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(weighing) / sizeof(weighing[0]); i++) {
        begin(&field, weighing[i], 4);
        weigh(&field, weights);
        serve_many(&field, 50000, 1);
        check_shares(&field, weights, 0.05);
        serve_many(&field, 50000, 64);
        check_shares(&field, weights, 0.05);
    }
}

static void weights_share_the_calls_of_peers_that_are_equally_fast(void **state)
{
    static const double weights[] = {1, 2, 3, 10};
    static field_t field;
    uint32_t i;

    (void)state;
    begin(&field, HWS_BALANCER_PEAK_EWMA, 4);
    weigh(&field, weights);
    for (i = 0; i < 4; i++)
        hws_candidate_observe(&field.candidates[i], HWS_MS(10), false, 0);
    serve_many(&field, 50000, 64);
    check_shares(&field, weights, 0.1);
}

static void a_seed_repeats_the_picks(void **state)
{
    static field_t one;
    static field_t other;
    int i;

    (void)state;
    EACH_BALANCER(balancer)
    {
        begin(&one, balancer, MOST);
        begin(&other, balancer, MOST);
        for (i = 0; i < 1000; i++)
            assert_int_equal(serve(&one), serve(&other));
    }
}

static void a_pick_that_nobody_used_costs_no_turn(void **state)
{
    static const hws_balancer_t taking_turns[] = {HWS_BALANCER_ROUND_ROBIN, HWS_BALANCER_WEIGHTED};
    static const double weights[] = {5, 1, 1};
    static field_t one;
    static field_t other;
    size_t i;
    int k;

    (void)state;
    for (i = 0; i < sizeof(taking_turns) / sizeof(taking_turns[0]); i++) {
        begin(&one, taking_turns[i], 3);
        begin(&other, taking_turns[i], 3);
        weigh(&one, weights);
        weigh(&other, weights);
        for (k = 0; k < 100; k++) {
            const hws_candidate_t *proposed = pick(&one);

            assert_int_equal(which(&one, pick(&one)), which(&one, proposed));
            assert_int_equal(serve(&one), serve(&other));
        }
    }
}

/* ---- and for one alone ---- */

static void check_sequence(field_t *field, const char *expected)
{
    for (; *expected != '\0'; expected++)
        assert_int_equal('a' + (int)serve(field), *expected);
}

static void round_robin_goes_round(void **state)
{
    static field_t field;

    (void)state;
    begin(&field, HWS_BALANCER_ROUND_ROBIN, 4);
    check_sequence(&field, "abcdab");
    field.ranks[2] = 0;
    check_sequence(&field, "dabdab");
    field.ranks[2] = 1;
    check_sequence(&field, "cdab");
}

static void each_tier_keeps_its_own_turn(void **state)
{
    static field_t field;

    (void)state;
    begin(&field, HWS_BALANCER_ROUND_ROBIN, 6);
    field.candidates[0].priority = field.candidates[2].priority = 7;
    field.candidates[4].priority = 7;
    hws_lineup_arrange(&field.lineup);
    check_sequence(&field, "bdfb");
    field.ranks[1] = field.ranks[3] = field.ranks[5] = 0;
    check_sequence(&field, "aceac");
    field.ranks[1] = field.ranks[3] = field.ranks[5] = 1;
    check_sequence(&field, "dfbd");
    field.ranks[1] = field.ranks[3] = field.ranks[5] = 0;
    check_sequence(&field, "eac");
}

static void weighted_is_as_smooth_as_nginx(void **state)
{
    static const double weights[] = {5, 1, 1};
    static field_t field;

    (void)state;
    begin(&field, HWS_BALANCER_WEIGHTED, 3);
    weigh(&field, weights);
    check_sequence(&field, "aabacaaaabacaa");
    field.ranks[0] = 0;
    check_sequence(&field, "bcbc");
    field.ranks[0] = 1;
    check_sequence(&field, "aabacaa");
}

static void least_request_takes_the_less_busy_of_two(void **state)
{
    static field_t field;
    int i;

    (void)state;
    begin(&field, HWS_BALANCER_LEAST_REQUEST, 3);
    field.candidates[0].in_flight = 2;
    field.candidates[1].in_flight = 9;
    field.candidates[2].in_flight = 5;
    for (i = 0; i < 3000; i++)
        (void)serve(&field);
    assert_in_range(field.served[0], 1850, 2150); /* two of the three pairs */
    assert_int_equal(field.served[1], 0);
    assert_in_range(field.served[2], 850, 1150);
}

static void least_request_asks_two_of_a_hundred(void **state)
{
    static field_t field;
    int i;

    (void)state;
    begin(&field, HWS_BALANCER_LEAST_REQUEST, MOST);
    for (i = 0; i < 1000; i++) {
        uint32_t asked = 0;
        uint32_t k;

        (void)serve(&field);
        for (k = 0; k < MOST; k++)
            asked += field.asked[k];
        assert_int_equal(asked, 2);
    }
}

static void peak_ewma_goes_by_latency_and_load(void **state)
{
    static field_t field;
    hws_candidate_t *slow = &field.candidates[0];
    hws_candidate_t *fast = &field.candidates[1];

    (void)state;
    begin(&field, HWS_BALANCER_PEAK_EWMA, 2);
    hws_candidate_observe(slow, HWS_MS(100), false, 0);
    hws_candidate_observe(fast, HWS_MS(30), false, 0);
    assert_int_equal(serve(&field), 1);
    fast->in_flight = 2; /* 90 ms to come */
    assert_int_equal(serve(&field), 1);
    fast->in_flight = 3;
    assert_int_equal(serve(&field), 0);
    slow->weight = 0.5;
    assert_int_equal(serve(&field), 1);
}

static void peak_ewma_tries_the_unknown_with_one_call(void **state)
{
    static field_t field;
    hws_candidate_t *known = &field.candidates[0];
    hws_candidate_t *unknown = &field.candidates[1];

    (void)state;
    begin(&field, HWS_BALANCER_PEAK_EWMA, 2);
    hws_candidate_observe(known, HWS_MS(50), false, 0);
    known->in_flight = 5;
    assert_int_equal(serve(&field), 1);
    unknown->in_flight = 1;
    assert_int_equal(serve(&field), 0);
    hws_candidate_observe(unknown, HWS_MS(50), false, 0);
    assert_int_equal(serve(&field), 1);
}

static void peak_ewma_is_not_attracted_by_fast_failures(void **state)
{
    static field_t field;
    hws_candidate_t *well = &field.candidates[0];
    hws_candidate_t *failing = &field.candidates[1];

    (void)state;
    begin(&field, HWS_BALANCER_PEAK_EWMA, 2);
    hws_candidate_observe(well, HWS_MS(100), false, 0);
    hws_candidate_observe(failing, HWS_US(200), true, 0);
    well->in_flight = 8;
    assert_int_equal(serve(&field), 0);
    field.now = HWS_S(20); /* both have faded, and `well` has been heard of */
    hws_candidate_observe(well, HWS_MS(100), false, field.now);
    assert_int_equal(serve(&field), 1);
}

static void check_latency(const hws_candidate_t *candidate, hws_time_t now, double least,
                          double most)
{
    double latency = hws_candidate_latency(candidate, now);

    if (latency < least || latency > most)
        print_error("latency at %lld: %.0f\n", (long long)now, latency);
    assert_true(latency >= least && latency <= most);
}

static void an_estimate_peaks_at_once_and_fades_by_and_by(void **state)
{
    hws_candidate_t candidate = {.weight = 1};

    (void)state;
    check_latency(&candidate, HWS_S(5), 0, 0);
    hws_candidate_observe(&candidate, HWS_MS(10), false, 0);
    check_latency(&candidate, 0, 10000, 10000);
    hws_candidate_observe(&candidate, HWS_MS(500), false, 0);
    check_latency(&candidate, 0, 500000, 500000);
    hws_candidate_observe(&candidate, HWS_MS(10), false, HWS_MS(10));
    check_latency(&candidate, HWS_MS(10), 499000, 500000);
    hws_candidate_observe(&candidate, HWS_MS(10), false, HWS_MS(10010));
    check_latency(&candidate, HWS_MS(10010), 180000, 192000); /* e^-1 of it, and 10 ms */
    check_latency(&candidate, HWS_MS(20010), 62000, 72000);   /* e^-2 */
    check_latency(&candidate, HWS_MS(9000), 180000, 192000);  /* a clock that went back */
    check_latency(&candidate, HWS_S(400), 0, 0);
    hws_candidate_observe(&candidate, 0, false, HWS_S(400));
    check_latency(&candidate, HWS_S(400), 1, 1); /* known */
    hws_candidate_observe(&candidate, HWS_S(3), true, HWS_S(400));
    check_latency(&candidate, HWS_S(400), 3e6, 3e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_one_that_can_serve_is_found),
        cmocka_unit_test(nobody_is_found_where_nobody_can_serve),
        cmocka_unit_test(whoever_is_picked_is_of_the_best_rank_in_the_first_tier_that_can_serve),
        cmocka_unit_test(equals_serve_alike),
        cmocka_unit_test(equals_serve_alike_while_others_are_down),
        cmocka_unit_test(weights_share_the_calls),
        cmocka_unit_test(weights_share_the_calls_of_peers_that_are_equally_fast),
        cmocka_unit_test(a_seed_repeats_the_picks),
        cmocka_unit_test(a_pick_that_nobody_used_costs_no_turn),
        cmocka_unit_test(round_robin_goes_round),
        cmocka_unit_test(each_tier_keeps_its_own_turn),
        cmocka_unit_test(weighted_is_as_smooth_as_nginx),
        cmocka_unit_test(least_request_takes_the_less_busy_of_two),
        cmocka_unit_test(least_request_asks_two_of_a_hundred),
        cmocka_unit_test(peak_ewma_goes_by_latency_and_load),
        cmocka_unit_test(peak_ewma_tries_the_unknown_with_one_call),
        cmocka_unit_test(peak_ewma_is_not_attracted_by_fast_failures),
        cmocka_unit_test(an_estimate_peaks_at_once_and_fades_by_and_by),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
