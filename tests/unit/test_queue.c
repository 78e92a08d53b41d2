#include "queue.h"

#include "base/random.h"
#include "peer.h"
#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

#define MANY 10000
#define PEERS 2

static struct {
    hws_queue_t queue;
    hws_peer_t peers[PEERS];
    hws_call_t *calls;
} fixture;

static hws_opening_t *const some_opening = (hws_opening_t *)(void *)&fixture;

static int set_up(void **state)
{
    unsigned i;

    (void)state;
    memset(&fixture, 0, sizeof(fixture));
    hws_queue_init(&fixture.queue);
    for (i = 0; i < PEERS; i++) {
        hws_lanes_init(&fixture.peers[i].bound);
        hws_lanes_init(&fixture.peers[i].avoiders);
    }
    fixture.calls = calloc(MANY, sizeof(*fixture.calls));
    for (i = 0; i < MANY; i++)
        hws_list_init(&fixture.calls[i].queue_link);
    return 0;
}

static int clear(void **state)
{
    (void)state;
    free(fixture.calls);
    return 0;
}

/* The call at `index` waits, as one that may be sent twice. */
static hws_call_t *join(unsigned index)
{
    hws_call_t *call = &fixture.calls[index];

    call->is_replayable = true;
    hws_queue_join(&fixture.queue, call);
    return call;
}

static hws_call_t *join_careful(unsigned index)
{
    hws_queue_join(&fixture.queue, &fixture.calls[index]);
    return &fixture.calls[index];
}

static void who_comes_first_is_first_whatever_he_wants(void **state)
{
    hws_call_t *a = join_careful(0);
    hws_call_t *b = join(1);
    hws_call_t *c = join_careful(2);
    hws_pass_t pass;

    (void)state;
    hws_pass_begin(&pass, &fixture.queue, 0);
    assert_ptr_equal(hws_pass_next(&pass, &fixture.queue), a);
    assert_ptr_equal(hws_pass_next(&pass, &fixture.queue), b);
    assert_ptr_equal(hws_pass_next(&pass, &fixture.queue), c);
    assert_null(hws_pass_next(&pass, &fixture.queue));
    hws_queue_check(&fixture.queue);
}

static void a_dial_changes_nobodys_place(void **state)
{
    hws_call_t *a = join(0);
    hws_call_t *b = join(1);
    hws_call_t *c = join(2);

    (void)state;
    hws_queue_set_opening(&fixture.queue, b, some_opening);
    hws_queue_set_opening(&fixture.queue, a, some_opening);
    assert_int_equal(fixture.queue.waiting, 1);
    assert_ptr_equal(hws_queue_first(&fixture.queue), a);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, NULL), c);
    hws_queue_set_opening(&fixture.queue, a, NULL);
    hws_queue_set_opening(&fixture.queue, b, NULL);
    hws_queue_check(&fixture.queue);
    assert_int_equal(fixture.queue.waiting, 3);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, NULL), a);
    hws_queue_leave(&fixture.queue, a);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, NULL), b);
}

static void who_avoids_a_peer_is_not_the_first_for_it(void **state)
{
    hws_call_t *a = &fixture.calls[0];
    hws_call_t *b;

    (void)state;
    a->avoid = &fixture.peers[0];
    join(0);
    b = join(1);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, &fixture.peers[0]), b);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, &fixture.peers[1]), a);
    hws_queue_forgive(&fixture.queue, &fixture.peers[0]);
    assert_null(a->avoid);
    hws_queue_check(&fixture.queue);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, &fixture.peers[0]), a);
}

static void who_is_bound_to_a_peer_is_first_for_no_other(void **state)
{
    hws_call_t *a = &fixture.calls[0];
    hws_call_t *b;

    (void)state;
    a->bound_to = &fixture.peers[0];
    join(0);
    b = join(1);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, &fixture.peers[1]), b);
    assert_ptr_equal(hws_queue_first_waiting(&fixture.queue, &fixture.peers[0]), a);
    assert_ptr_equal(hws_lanes_first(&fixture.peers[0].bound), a);
    assert_null(hws_lanes_first(&fixture.peers[1].bound));
    hws_queue_check(&fixture.queue);
}

static void a_refusal_is_looked_for_once_in_a_pass_not_once_for_each(void **state)
{
    hws_pass_t pass;
    hws_call_t *call;
    unsigned i;

    (void)state;
    for (i = 0; i < MANY; i++)
        join_careful(i);
    for (i = 0; i < MANY; i++) {
        hws_pass_begin(&pass, &fixture.queue, 0);
        call = hws_pass_next(&pass, &fixture.queue);
        assert_ptr_equal(call, &fixture.calls[i]);
        hws_queue_leave(&fixture.queue, call);
        while ((call = hws_pass_next(&pass, &fixture.queue)) != NULL)
            hws_pass_refuse(&pass, &fixture.queue, call);
    }
    assert_true(hws_queue_is_empty(&fixture.queue));
    assert_in_range(fixture.queue.looks, MANY, 2 * MANY);
}

/* ---- against a queue that is one plain list ---- */

#define SOME 40

static bool same_wish(const hws_call_t *a, const hws_call_t *b)
{
    return a->is_lease == b->is_lease && a->is_fresh_only == b->is_fresh_only &&
           a->is_replayable == b->is_replayable && a->bound_to == b->bound_to &&
           a->avoid == b->avoid && (a->opening != NULL) == (b->opening != NULL);
}

static void make_some(hws_random_t *random)
{
    static const struct {
        bool is_lease, is_fresh_only, is_replayable;
    } kinds[] = {{true, false, false}, {false, true, true}, {false, false, true}, {0}};
    unsigned i;

    for (i = 0; i < SOME; i++) {
        hws_call_t *call = &fixture.calls[i];
        uint32_t kind = hws_random_below(random, 4);
        uint32_t peer = hws_random_below(random, 2 * PEERS + 2);

        call->opening = NULL;
        call->is_lease = kinds[kind].is_lease;
        call->is_fresh_only = kinds[kind].is_fresh_only;
        call->is_replayable = kinds[kind].is_replayable;
        call->bound_to = peer < PEERS ? &fixture.peers[peer] : NULL;
        call->avoid = peer >= PEERS && peer < 2 * PEERS ? &fixture.peers[peer - PEERS] : NULL;
        hws_queue_join(&fixture.queue, call);
        if (hws_random_below(random, 3) == 0)
            hws_queue_set_opening(&fixture.queue, call, some_opening);
    }
}

/* What becomes of each is drawn: gets something and leaves, gets a dial, or is refused, and then
 * all of his wish are. */
static void compare_one_pass(hws_random_t *random)
{
    hws_call_t *refused[SOME];
    unsigned refused_count = 0;
    hws_pass_t pass;
    unsigned i;

    hws_pass_begin(&pass, &fixture.queue, 0);
    for (i = 0; i < SOME; i++) {
        hws_call_t *call = &fixture.calls[i];
        bool is_out = !hws_list_is_linked(&call->queue_link);
        unsigned j;

        for (j = 0; j < refused_count; j++)
            is_out |= same_wish(refused[j], call);
        if (is_out)
            continue;
        assert_ptr_equal(hws_pass_next(&pass, &fixture.queue), call);
        switch (hws_random_below(random, 3)) {
        case 0:
            hws_queue_leave(&fixture.queue, call);
            break;
        case 1:
            hws_queue_set_opening(&fixture.queue, call, some_opening);
            break;
        default:
            hws_pass_refuse(&pass, &fixture.queue, call);
            refused[refused_count++] = call;
            break;
        }
        hws_queue_check(&fixture.queue);
    }
    assert_null(hws_pass_next(&pass, &fixture.queue));
}

static void lanes_keep_the_order_of_one_plain_list(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = 1; seed <= 500; seed++) {
        hws_random_t random;
        unsigned i;

        hws_random_init(&random, seed);
        make_some(&random);
        for (i = 0; i < 4; i++)
            compare_one_pass(&random);
        for (i = 0; i < SOME; i++)
            hws_queue_leave(&fixture.queue, &fixture.calls[i]);
    }
}

/* ---- urgency ---- */

static hws_call_t *join_as(unsigned index, uint8_t urgency)
{
    fixture.calls[index].stream.urgency = urgency;
    return join(index);
}

static unsigned index_of_next(hws_pass_t *pass)
{
    return (unsigned)(hws_pass_next(pass, &fixture.queue) - fixture.calls);
}

static void the_most_urgent_goes_first_and_equals_in_order_of_arrival(void **state)
{
    static const uint8_t urgencies[] = {3, 7, 0, 3, 0, 7, 3};
    static const unsigned order[] = {2, 4, 0, 3, 6, 1, 5};
    hws_pass_t pass;
    unsigned i;

    (void)state;
    for (i = 0; i < 7; i++)
        (void)join_as(i, urgencies[i]);
    hws_queue_check(&fixture.queue);
    hws_pass_begin(&pass, &fixture.queue, 0);
    for (i = 0; i < 7; i++)
        assert_int_equal(index_of_next(&pass), order[i]);
    assert_null(hws_pass_next(&pass, &fixture.queue));
    assert_ptr_equal(hws_queue_first(&fixture.queue), &fixture.calls[2]);
}

/* One waits with the least urgency, or the usual one; for every one that is served a more urgent
 * one comes. */
static unsigned overtaken(uint8_t urgency)
{
    hws_call_t *late = join_as(0, urgency);
    unsigned i;

    for (i = 1; i < MANY; i++) {
        hws_call_t *first;

        (void)join_as(i, 0);
        first = hws_queue_first(&fixture.queue);
        hws_queue_leave(&fixture.queue, first);
        if (first == late)
            break;
    }
    hws_queue_check(&fixture.queue);
    return i - 1;
}

static void the_least_urgent_is_late_and_not_starved(void **state)
{
    (void)state;
    assert_int_equal(overtaken(7), 7 * HWS_QUEUE_STEP);
}

static void a_step_of_urgency_is_worth_so_many_arrivals(void **state)
{
    (void)state;
    assert_int_equal(overtaken(1), HWS_QUEUE_STEP);
}

static void who_joins_in_a_pass_has_a_turn_however_urgent(void **state)
{
    hws_pass_t pass;

    (void)state;
    (void)join_as(0, 3);
    (void)join_as(1, 3);
    hws_pass_begin(&pass, &fixture.queue, 0);
    assert_int_equal(index_of_next(&pass), 0);
    (void)join_as(2, 0);
    assert_int_equal(index_of_next(&pass), 2);
    assert_int_equal(index_of_next(&pass), 1);
    assert_null(hws_pass_next(&pass, &fixture.queue));
}

static void mixed_urgencies_are_inserted_in_order(void **state)
{
    hws_random_t random;
    uint64_t last = 0;
    unsigned i;

    (void)state;
    hws_random_init(&random, 1);
    for (i = 0; i < MANY; i++)
        (void)join_as(i, (uint8_t)hws_random_below(&random, 8));
    hws_queue_check(&fixture.queue);
    for (i = 0; i < MANY; i++) {
        hws_call_t *first = hws_queue_first(&fixture.queue);

        assert_true(first->order > last);
        last = first->order;
        hws_queue_leave(&fixture.queue, first);
    }
}

static void the_expected_wait_follows_the_pace_within_bounds(void **state)
{
    hws_queue_t *queue = &fixture.queue;
    hws_time_t now;

    (void)state;
    assert_int_equal(hws_queue_expected_wait(queue), HWS_MS(50));
    for (now = HWS_S(1); now < HWS_S(100); now += HWS_S(1))
        hws_queue_note_pace(queue, now);
    assert_in_range(hws_queue_expected_wait(queue), HWS_MS(900), HWS_MS(1000));
    for (; now < HWS_S(100000); now += HWS_S(1000))
        hws_queue_note_pace(queue, now);
    assert_int_equal(hws_queue_expected_wait(queue), HWS_S(30));
}

#define QUEUE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(who_comes_first_is_first_whatever_he_wants),
        QUEUE_TEST(a_dial_changes_nobodys_place),
        QUEUE_TEST(who_avoids_a_peer_is_not_the_first_for_it),
        QUEUE_TEST(who_is_bound_to_a_peer_is_first_for_no_other),
        QUEUE_TEST(a_refusal_is_looked_for_once_in_a_pass_not_once_for_each),
        QUEUE_TEST(lanes_keep_the_order_of_one_plain_list),
        QUEUE_TEST(the_most_urgent_goes_first_and_equals_in_order_of_arrival),
        QUEUE_TEST(the_least_urgent_is_late_and_not_starved),
        QUEUE_TEST(a_step_of_urgency_is_worth_so_many_arrivals),
        QUEUE_TEST(who_joins_in_a_pass_has_a_turn_however_urgent),
        QUEUE_TEST(mixed_urgencies_are_inserted_in_order),
        QUEUE_TEST(the_expected_wait_follows_the_pace_within_bounds),
    };

    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
