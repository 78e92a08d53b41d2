/* Races of a dial on simulated peers: who wins and when, what is told, and that nothing stays. */
#include "transport/dial.h"

#include "base/memory.h"
#include "base/random.h"
#include "io/sim.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define PORT 80
#define ADDRESSES 40

/* One dial and its hosts: those of an index are 2001:db8::(index + 1) and 10.0.0.(index + 1). */
typedef struct {
    hws_sim_t *sim;
    hws_loop_t *loop;
    hws_dial_t dial;
    hws_winner_t winner;
    hws_dial_options_t options;
    hws_sim_listener_t *hosts[HWS_FAMILIES][ADDRESSES];
    unsigned done; /* how often it was told */
    int status;
    hws_socket_t *socket;
    hws_time_t done_at;
    bool is_in_call;
    bool is_cancelled;
} race_t;

static race_t race;
static uint64_t storm; /* the seed of the one under way, told when it fails */

static void on_done(hws_dial_t *dial, int status, hws_socket_t *socket, hws_time_t now)
{
    assert_ptr_equal(dial, &race.dial);
    assert_false(race.is_in_call);
    assert_true((status == HWS_OK) == (socket != NULL));
    race.done++;
    race.status = status;
    race.socket = socket;
    race.done_at = now;
    hws_dial_cancel(dial);
    memset(dial, 0xdd, sizeof(*dial)); /* it may be freed */
}

static void prepare(uint64_t seed)
{
    memset(&race, 0, sizeof(race));
    race.options = (hws_dial_options_t){
        .span = HWS_S(3), .first = HWS_IPV6, .winner = &race.winner, .on_done = on_done};
    assert_int_equal(hws_sim_create(seed, &race.sim), HWS_OK);
    assert_int_equal(hws_loop_create_on(hws_sim_io(race.sim), &race.loop), HWS_OK);
}

static void drop_socket(void)
{
    if (race.socket != NULL)
        race.socket->ops->close(race.socket, false);
    race.socket = NULL;
}

static void finish(void)
{
    drop_socket();
    assert_int_equal(hws_sim_open_sockets(race.sim), 0);
    assert_int_equal(hws_timers_next(&race.loop->timers), HWS_NEVER);
    hws_loop_destroy(race.loop);
}

static int begin(void **state)
{
    (void)state;
    prepare(1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    if (storm != 0)
        print_error("the storm of seed %llu failed\n", (unsigned long long)storm);
    storm = 0;
    finish();
    return 0;
}

#define NAME_SIZE 40

static const char *name_of(hws_family_t family, unsigned index, char *name)
{
    snprintf(name, NAME_SIZE, family == HWS_IPV6 ? "2001:db8::%x" : "10.0.0.%u", index + 1);
    return name;
}

static hws_address_t address_of(hws_family_t family, unsigned index)
{
    hws_address_t address;
    char name[NAME_SIZE];

    name_of(family, index, name);
    assert_int_equal(hws_address_from_ip((hws_slice_t){name, strlen(name)}, PORT, &address),
                     HWS_OK);
    return address;
}

static const hws_sim_script_t script = {NULL, NULL, NULL, NULL};

/* A host that accepts after `connect`. */
static hws_sim_listener_t *listen_on(hws_family_t family, unsigned index, hws_time_t connect)
{
    hws_sim_listener_t *listener;
    char name[NAME_SIZE];

    assert_int_equal(
        hws_sim_listen(race.sim, name_of(family, index, name), PORT, &script, NULL, &listener),
        HWS_OK);
    listener->options.connect_min = listener->options.connect_max = connect;
    race.hosts[family][index] = listener;
    return listener;
}

static void silent_on(hws_family_t family, unsigned index)
{
    hws_sim_silence(listen_on(family, index, 0), true);
}

static void answer_on(hws_family_t family, unsigned index, hws_time_t after, int code)
{
    listen_on(family, index, after)->options.answer = code;
}

static void start(void)
{
    race.is_in_call = true;
    hws_dial_start(&race.dial, race.loop, &race.options, hws_sim_now(race.sim));
    race.is_in_call = false;
}

static void offer(hws_family_t family, unsigned first, unsigned count)
{
    hws_address_t addresses[ADDRESSES];
    unsigned i;

    for (i = 0; i < count; i++)
        addresses[i] = address_of(family, first + i);
    race.is_in_call = true;
    hws_dial_offer(&race.dial, addresses, count, hws_sim_now(race.sim));
    race.is_in_call = false;
    memset(addresses, 0xdd, sizeof(addresses)); /* they were borrowed for the call only */
}

static void no_more(int status)
{
    race.is_in_call = true;
    hws_dial_no_more(&race.dial, status, hws_sim_now(race.sim));
    race.is_in_call = false;
}

/* All addresses are there from the beginning. */
static void start_with(unsigned v6, unsigned v4)
{
    start();
    offer(HWS_IPV6, 0, v6);
    offer(HWS_IPV4, 0, v4);
    no_more(HWS_OK);
}

static void run_until(hws_time_t at)
{
    hws_sim_run_until(race.sim, at);
}

static void expect(int status, hws_time_t at)
{
    if (race.done != 1 || race.status != status)
        print_error("told %u times, %s at %lld us\n", race.done, hws_error_name(race.status),
                    (long long)race.done_at);
    assert_int_equal(race.done, 1);
    assert_int_equal(race.status, status);
    assert_int_equal(race.done_at, at);
    assert_int_equal(hws_sim_open_sockets(race.sim), status == HWS_OK ? 1 : 0);
}

static uint64_t accepted(hws_family_t family, unsigned index)
{
    return race.hosts[family][index]->accepted;
}

/* Who wins ------------------------------------------------------------------------------------ */

static void a_black_holed_ipv6_costs_250_ms(void **state)
{
    (void)state;
    silent_on(HWS_IPV6, 0);
    listen_on(HWS_IPV4, 0, HWS_MS(10));
    start_with(1, 1);
    run_until(HWS_MS(259));
    assert_int_equal(race.done, 0);
    assert_int_equal(hws_sim_open_sockets(race.sim), 2);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(260));
    assert_int_equal(accepted(HWS_IPV4, 0), 1);
}

static void when_both_work_only_the_first_is_tried(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, HWS_MS(100));
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(100));
    assert_int_equal(accepted(HWS_IPV6, 0), 1);
    assert_int_equal(accepted(HWS_IPV4, 0), 0);
}

/* Node gave each attempt up after 250 ms, and far servers could not be reached (node#54359). */
static void an_earlier_attempt_may_still_win(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, HWS_MS(400));
    listen_on(HWS_IPV4, 0, HWS_MS(400));
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(400));
    assert_int_equal(accepted(HWS_IPV6, 0), 1);
    assert_int_equal(accepted(HWS_IPV4, 0), 0);
}

static void of_two_that_connect_at_the_same_moment_one_stays(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, HWS_MS(300));
    listen_on(HWS_IPV4, 0, HWS_MS(50));
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(300));
    assert_int_equal(race.hosts[HWS_IPV6][0]->open + race.hosts[HWS_IPV4][0]->open, 1);
}

static void a_refused_attempt_makes_room_for_the_next_at_once(void **state)
{
    (void)state;
    answer_on(HWS_IPV6, 0, HWS_MS(20), HWS_ERR_REFUSED);
    listen_on(HWS_IPV4, 0, HWS_MS(5));
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(25));
}

static void a_failure_at_once_makes_room_as_well(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, 0);
    listen_on(HWS_IPV4, 0, HWS_MS(5));
    hws_sim_fail_connects(race.sim, 1, HWS_ERR_NET_UNREACHABLE);
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(5));
    assert_int_equal(accepted(HWS_IPV6, 0), 0);
}

static void no_more_than_six_are_alive(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 5; i++) {
        silent_on(HWS_IPV6, i);
        silent_on(HWS_IPV4, i);
    }
    start_with(5, 5);
    for (i = 0; i <= 8; i++) {
        run_until(HWS_MS(250) * i);
        assert_int_equal(hws_sim_open_sockets(race.sim), i < 6 ? i + 1 : 6);
    }
    run_until(HWS_S(10));
    expect(HWS_ERR_TIMEOUT, HWS_S(3));
}

static void addresses_beyond_the_bound_are_left_out(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, HWS_DIAL_ADDRESSES, 0);
    start_with(HWS_DIAL_ADDRESSES + 1, 0);
    run_until(HWS_S(1));
    expect(HWS_ERR_REFUSED, 0);
    listen_on(HWS_IPV6, HWS_DIAL_ADDRESSES - 1, 0);
    race.done = 0;
    start_with(HWS_DIAL_ADDRESSES + 1, 3);
    run_until(HWS_S(2));
    expect(HWS_OK, HWS_S(1));
}

static void a_path_needs_no_patience(void **state)
{
    static const char path[] = "/run/a.sock";
    hws_sim_listener_t *listener;
    hws_address_t address;

    (void)state;
    assert_int_equal(hws_sim_listen(race.sim, path, 0, &script, NULL, &listener), HWS_OK);
    assert_int_equal(hws_address_from_path((hws_slice_t){path, strlen(path)}, &address), HWS_OK);
    start();
    hws_dial_offer(&race.dial, &address, 1, 0);
    no_more(HWS_OK);
    run_until(HWS_S(1));
    expect(HWS_OK, 0);
    assert_int_equal(listener->accepted, 1);
}

/* Addresses over time ------------------------------------------------------------------------- */

static void ipv4_waits_50_ms_for_ipv6(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, HWS_MS(1));
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    start();
    run_until(HWS_MS(100)); /* the resolver takes its time, which is not the dial's */
    offer(HWS_IPV4, 0, 1);
    run_until(HWS_MS(149));
    assert_int_equal(hws_sim_open_sockets(race.sim), 0);
    offer(HWS_IPV6, 0, 1);
    no_more(HWS_OK);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(150));
    assert_int_equal(accepted(HWS_IPV6, 0), 1);
    assert_int_equal(accepted(HWS_IPV4, 0), 0);
}

static void ipv4_waits_no_longer_than_that(void **state)
{
    (void)state;
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    start();
    offer(HWS_IPV4, 0, 1);
    run_until(HWS_S(1));
    expect(HWS_OK, HWS_MS(51));
}

static void ipv4_waits_no_longer_than_for_the_answer_that_there_is_no_ipv6(void **state)
{
    (void)state;
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    start();
    offer(HWS_IPV4, 0, 1);
    run_until(HWS_MS(20));
    no_more(HWS_ERR_SERVFAIL);
    run_until(HWS_S(1));
    expect(HWS_OK, HWS_MS(21));
}

static void an_address_that_comes_late_joins_the_race(void **state)
{
    (void)state;
    silent_on(HWS_IPV4, 0);
    silent_on(HWS_IPV4, 1);
    listen_on(HWS_IPV6, 0, HWS_MS(1));
    start();
    offer(HWS_IPV4, 0, 2);
    run_until(HWS_MS(200));
    offer(HWS_IPV6, 0, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(301)); /* its family has the next turn */
    assert_int_equal(accepted(HWS_IPV6, 0), 1);
}

static void an_address_that_comes_when_all_others_failed_is_tried_at_once(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, HWS_MS(1));
    start();
    offer(HWS_IPV4, 0, 2); /* nobody is there */
    run_until(HWS_MS(700));
    assert_int_equal(race.done, 0);
    offer(HWS_IPV6, 0, 1);
    no_more(HWS_OK);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(701));
}

static void the_span_runs_on_while_addresses_are_awaited(void **state)
{
    (void)state;
    start();
    offer(HWS_IPV4, 0, 2); /* nobody is there */
    run_until(HWS_S(10));
    expect(HWS_ERR_REFUSED, HWS_MS(50) + HWS_S(3));
}

static void without_addresses_the_reason_is_told(void **state)
{
    (void)state;
    start();
    offer(HWS_IPV4, 0, 0);
    run_until(HWS_S(4)); /* longer than the span, which has not begun */
    assert_int_equal(race.done, 0);
    no_more(HWS_ERR_NXDOMAIN);
    run_until(HWS_S(10));
    expect(HWS_ERR_NXDOMAIN, HWS_S(4));
}

static void what_comes_after_the_end_is_ignored(void **state)
{
    (void)state;
    race.options.span = HWS_NEVER;
    listen_on(HWS_IPV4, 0, 0);
    start();
    hws_dial_cancel(&race.dial);
    offer(HWS_IPV4, 0, 1);
    no_more(HWS_OK);
    run_until(HWS_S(10));
    assert_int_equal(race.done, 0);
    assert_int_equal(accepted(HWS_IPV4, 0), 0);
}

/* What is told -------------------------------------------------------------------------------- */

static void the_most_telling_failure_is_told(void **state)
{
    static const struct {
        int v6;
        int v4;
        int told;
    } cases[] = {
        {HWS_ERR_REFUSED, HWS_ERR_REFUSED, HWS_ERR_REFUSED},
        {HWS_ERR_NET_UNREACHABLE, HWS_ERR_REFUSED, HWS_ERR_REFUSED},
        {HWS_ERR_REFUSED, HWS_ERR_NET_UNREACHABLE, HWS_ERR_REFUSED},
        {HWS_ERR_NO_PORTS, HWS_ERR_REFUSED, HWS_ERR_REFUSED},
        {HWS_ERR_RESET, HWS_ERR_REFUSED, HWS_ERR_REFUSED},
        {HWS_ERR_RESET, HWS_ERR_DIAL_TIMED_OUT, HWS_ERR_RESET},
        {HWS_ERR_UNREACHABLE, HWS_ERR_DIAL_TIMED_OUT, HWS_ERR_DIAL_TIMED_OUT},
        {HWS_ERR_NET_UNREACHABLE, HWS_ERR_UNREACHABLE, HWS_ERR_UNREACHABLE},
        {HWS_ERR_NO_PORTS, HWS_ERR_UNREACHABLE, HWS_ERR_UNREACHABLE},
        {HWS_ERR_NET_UNREACHABLE, HWS_ERR_NO_PORTS, HWS_ERR_NO_PORTS},
        {HWS_ERR_NET_UNREACHABLE, HWS_ERR_NET_UNREACHABLE, HWS_ERR_NET_UNREACHABLE},
        {HWS_ERR_ACCESS, HWS_ERR_SYSTEM, HWS_ERR_ACCESS},
    };
    size_t i;

    (void)state;
    finish();
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        prepare(1);
        answer_on(HWS_IPV6, 0, HWS_MS(1), cases[i].v6);
        answer_on(HWS_IPV4, 0, HWS_MS(1), cases[i].v4);
        start_with(1, 1);
        run_until(HWS_S(10));
        expect(cases[i].told, HWS_MS(2));
        finish();
    }
    prepare(1);
}

static void a_failure_known_at_once_is_told_later(void **state)
{
    (void)state;
    hws_sim_fail_connects(race.sim, 5, HWS_ERR_ACCESS);
    start_with(2, 3);
    assert_int_equal(race.done, 0);
    run_until(HWS_S(10));
    expect(HWS_ERR_ACCESS, 0);
}

static void the_span_is_one_for_all(void **state)
{
    (void)state;
    answer_on(HWS_IPV6, 0, HWS_MS(10), HWS_ERR_REFUSED);
    silent_on(HWS_IPV6, 1);
    silent_on(HWS_IPV4, 0);
    answer_on(HWS_IPV4, 1, HWS_MS(10), HWS_ERR_REFUSED);
    race.options.span = HWS_MS(700);
    start_with(2, 2);
    run_until(HWS_S(10));
    expect(HWS_ERR_TIMEOUT, HWS_MS(700));
}

static void without_a_span_it_waits_for_the_system(void **state)
{
    (void)state;
    race.options.span = HWS_NEVER;
    answer_on(HWS_IPV6, 0, HWS_S(120), HWS_ERR_DIAL_TIMED_OUT);
    answer_on(HWS_IPV4, 0, HWS_S(120), HWS_ERR_UNREACHABLE);
    start_with(1, 1);
    run_until(HWS_S(1000));
    expect(HWS_ERR_DIAL_TIMED_OUT, HWS_MS(250) + HWS_S(120));
}

/* Shortages ----------------------------------------------------------------------------------- */

static void a_shortage_leaves_the_others_alone(void **state)
{
    (void)state;
    listen_on(HWS_IPV6, 0, HWS_MS(600));
    listen_on(HWS_IPV4, 0, HWS_MS(600));
    hws_sim_limit_sockets(race.sim, 1);
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(600));
    assert_int_equal(accepted(HWS_IPV6, 0), 1);
}

static void what_met_a_shortage_is_tried_again(void **state)
{
    (void)state;
    silent_on(HWS_IPV6, 0);
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    hws_sim_limit_sockets(race.sim, 1);
    start_with(1, 1);
    run_until(HWS_MS(499));
    hws_sim_limit_sockets(race.sim, 0);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(501));
}

static void the_socket_of_one_that_failed_serves_the_next(void **state)
{
    (void)state;
    answer_on(HWS_IPV6, 0, HWS_MS(300), HWS_ERR_REFUSED);
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    hws_sim_limit_sockets(race.sim, 1);
    start_with(1, 1);
    run_until(HWS_S(10));
    expect(HWS_OK, HWS_MS(301));
}

static void a_shortage_is_told_when_nothing_is_under_way(void **state)
{
    static const int codes[] = {HWS_ERR_TOO_MANY_FILES, HWS_ERR_NOMEM};
    size_t i;

    (void)state;
    finish();
    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        prepare(1);
        listen_on(HWS_IPV4, 0, 0);
        hws_sim_fail_connects(race.sim, 1, codes[i]);
        start_with(1, 1);
        run_until(HWS_S(10));
        expect(codes[i], 0);
        finish();
    }
    prepare(1);
}

static void a_shortage_is_told_after_a_refusal(void **state)
{
    (void)state;
    answer_on(HWS_IPV6, 0, HWS_MS(5), HWS_ERR_REFUSED);
    listen_on(HWS_IPV4, 0, 0);
    start_with(1, 1);
    hws_sim_fail_connects(race.sim, 1, HWS_ERR_TOO_MANY_FILES);
    run_until(HWS_S(10));
    expect(HWS_ERR_TOO_MANY_FILES, HWS_MS(5));
}

static void any_failing_allocation_leaves_nothing_behind(void **state)
{
    uint64_t n = 0;
    uint64_t count;

    (void)state;
    finish();
    do {
        prepare(1);
        silent_on(HWS_IPV6, 0);
        answer_on(HWS_IPV4, 0, HWS_MS(20), HWS_ERR_REFUSED);
        listen_on(HWS_IPV6, 1, HWS_MS(20));
        hws_memory_fail_at(++n);
        start_with(2, 1);
        run_until(HWS_S(10));
        count = hws_memory_count();
        hws_memory_fail_at(0);
        assert_int_equal(race.done, 1);
        assert_int_equal(race.status, n == 1 ? HWS_ERR_NOMEM : HWS_OK);
        finish();
    } while (n <= count);
    assert_true(n > 3);
    prepare(1);
}

/* The winner ---------------------------------------------------------------------------------- */

static void dial_again(hws_time_t at)
{
    drop_socket();
    run_until(at);
    race.done = 0;
    start_with(1, 1);
    run_until(at + HWS_S(4));
}

static void the_winner_is_tried_first_for_ten_minutes(void **state)
{
    (void)state;
    silent_on(HWS_IPV6, 0);
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    dial_again(0);
    expect(HWS_OK, HWS_MS(251));
    dial_again(HWS_S(10));
    expect(HWS_OK, HWS_S(10) + HWS_MS(1));
    dial_again(HWS_S(600));
    expect(HWS_OK, HWS_S(600) + HWS_MS(1));
    dial_again(HWS_S(610));
    expect(HWS_OK, HWS_S(610) + HWS_MS(251));
    dial_again(HWS_S(700));
    expect(HWS_OK, HWS_S(700) + HWS_MS(1));
}

static void a_winner_that_fails_is_forgotten(void **state)
{
    (void)state;
    silent_on(HWS_IPV6, 0);
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    dial_again(0);
    expect(HWS_OK, HWS_MS(251));
    race.hosts[HWS_IPV4][0]->options.answer = HWS_ERR_REFUSED;
    dial_again(HWS_S(10));
    expect(HWS_ERR_TIMEOUT, HWS_S(13));
    hws_sim_silence(race.hosts[HWS_IPV6][0], false);
    dial_again(HWS_S(20));
    expect(HWS_OK, HWS_S(20));
}

static void a_winner_that_falls_silent_is_forgotten(void **state)
{
    (void)state;
    silent_on(HWS_IPV6, 0);
    listen_on(HWS_IPV4, 0, HWS_MS(1));
    dial_again(0);
    hws_sim_silence(race.hosts[HWS_IPV4][0], true);
    dial_again(HWS_S(10));
    expect(HWS_ERR_TIMEOUT, HWS_S(13));
    assert_int_equal(hws_winner_or(&race.winner, HWS_IPV6, HWS_S(13)), HWS_IPV6);
}

/* Cancelling ---------------------------------------------------------------------------------- */

static void cancel_now(void *user)
{
    (void)user;
    race.is_cancelled = true;
    hws_dial_cancel(&race.dial);
    hws_dial_cancel(&race.dial);
    memset(&race.dial, 0xdd, sizeof(race.dial));
}

/* At each moment of a course in which all that can happen happens. */
static void a_dial_can_be_cancelled_at_any_moment(void **state)
{
    static const hws_time_t moments_ms[] = {0, 5, 54, 55, 60, 80, 105, 106, 300, 355, 404};
    size_t i;

    (void)state;
    finish();
    for (i = 0; i < sizeof(moments_ms) / sizeof(moments_ms[0]); i++) {
        hws_time_t at = HWS_MS(moments_ms[i]);

        prepare(1);
        answer_on(HWS_IPV4, 0, HWS_MS(50), HWS_ERR_REFUSED);
        silent_on(HWS_IPV4, 1);
        listen_on(HWS_IPV6, 0, HWS_MS(300));
        assert_int_equal(hws_sim_at(race.sim, at, cancel_now, NULL), HWS_OK);
        start();
        run_until(HWS_MS(5));
        if (!race.is_cancelled)
            offer(HWS_IPV4, 0, 2);
        run_until(HWS_MS(80));
        if (!race.is_cancelled) {
            offer(HWS_IPV6, 0, 1);
            no_more(HWS_OK);
        }
        run_until(at);
        assert_int_equal(hws_sim_open_sockets(race.sim), 0);
        run_until(HWS_S(10));
        assert_int_equal(race.done, 0);
        finish();
    }
    prepare(1);
}

static void a_failure_that_waits_to_be_told_can_be_cancelled(void **state)
{
    (void)state;
    hws_sim_fail_connects(race.sim, 2, HWS_ERR_ACCESS);
    start_with(1, 1);
    cancel_now(NULL);
    run_until(HWS_S(1));
    assert_int_equal(race.done, 0);
}

/* Storms -------------------------------------------------------------------------------------- */

#define STORMS 500

/* Random hosts: some accept, some refuse, some sooner and some later. True if one accepts. */
static bool set_hosts(hws_random_t *random, hws_family_t family, unsigned count)
{
    bool is_reachable = false;
    unsigned i;

    for (i = 0; i < count; i++) {
        hws_time_t after = HWS_MS(hws_random_below(random, 1000));

        if (hws_random_below(random, 8) == 0) {
            listen_on(family, i, after);
            is_reachable = true;
        } else if (hws_random_below(random, 4) > 0) {
            answer_on(family, i, after, HWS_ERR_REFUSED);
        } /* else nobody is there, which is known at once */
    }
    return is_reachable;
}

static void watch(hws_time_t until)
{
    while (hws_sim_now(race.sim) < until) {
        run_until(hws_sim_now(race.sim) + HWS_MS(10));
        assert_true(hws_sim_open_sockets(race.sim) <= HWS_RACE_ALIVE);
    }
}

/* Whatever the order of things: who waits long enough is connected if anyone accepts at all. */
static void a_storm(uint64_t seed)
{
    hws_random_t random;
    unsigned count[HWS_FAMILIES];
    unsigned given[HWS_FAMILIES] = {0, 0};
    bool is_reachable;

    hws_random_init(&random, seed);
    prepare(seed);
    race.options.span = HWS_NEVER;
    race.options.first = hws_random_below(&random, 2) ? HWS_IPV6 : HWS_IPV4;
    count[HWS_IPV6] = hws_random_below(&random, HWS_DIAL_ADDRESSES + 1);
    count[HWS_IPV4] = hws_random_below(&random, HWS_DIAL_ADDRESSES + 1);
    is_reachable = set_hosts(&random, HWS_IPV6, count[HWS_IPV6]);
    is_reachable |= set_hosts(&random, HWS_IPV4, count[HWS_IPV4]);
    start();
    while (race.done == 0 &&
           (given[HWS_IPV6] < count[HWS_IPV6] || given[HWS_IPV4] < count[HWS_IPV4])) {
        hws_family_t family = hws_random_below(&random, 2) ? HWS_IPV6 : HWS_IPV4;
        unsigned n = hws_random_below(&random, count[family] - given[family] + 1);

        offer(family, given[family], n);
        given[family] += n;
        watch(hws_sim_now(race.sim) + HWS_MS(hws_random_below(&random, 100)));
    }
    if (race.done == 0)
        no_more(HWS_ERR_NODATA);
    watch(HWS_S(60));
    assert_int_equal(race.done, 1);
    assert_true((race.status == HWS_OK) == is_reachable);
    if (!is_reachable)
        assert_int_equal(race.status,
                         count[HWS_IPV6] + count[HWS_IPV4] > 0 ? HWS_ERR_REFUSED : HWS_ERR_NODATA);
    finish();
}

static void whoever_accepts_is_found(void **state)
{
    (void)state;
    finish();
    for (storm = 1; storm <= STORMS; storm++)
        a_storm(storm);
    storm = 0;
    prepare(1);
}

#define RACE_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RACE_TEST(a_black_holed_ipv6_costs_250_ms),
        RACE_TEST(when_both_work_only_the_first_is_tried),
        RACE_TEST(an_earlier_attempt_may_still_win),
        RACE_TEST(of_two_that_connect_at_the_same_moment_one_stays),
        RACE_TEST(a_refused_attempt_makes_room_for_the_next_at_once),
        RACE_TEST(a_failure_at_once_makes_room_as_well),
        RACE_TEST(no_more_than_six_are_alive),
        RACE_TEST(addresses_beyond_the_bound_are_left_out),
        RACE_TEST(a_path_needs_no_patience),
        RACE_TEST(ipv4_waits_50_ms_for_ipv6),
        RACE_TEST(ipv4_waits_no_longer_than_that),
        RACE_TEST(ipv4_waits_no_longer_than_for_the_answer_that_there_is_no_ipv6),
        RACE_TEST(an_address_that_comes_late_joins_the_race),
        RACE_TEST(an_address_that_comes_when_all_others_failed_is_tried_at_once),
        RACE_TEST(the_span_runs_on_while_addresses_are_awaited),
        RACE_TEST(without_addresses_the_reason_is_told),
        RACE_TEST(what_comes_after_the_end_is_ignored),
        RACE_TEST(the_most_telling_failure_is_told),
        RACE_TEST(a_failure_known_at_once_is_told_later),
        RACE_TEST(the_span_is_one_for_all),
        RACE_TEST(without_a_span_it_waits_for_the_system),
        RACE_TEST(a_shortage_leaves_the_others_alone),
        RACE_TEST(what_met_a_shortage_is_tried_again),
        RACE_TEST(the_socket_of_one_that_failed_serves_the_next),
        RACE_TEST(a_shortage_is_told_when_nothing_is_under_way),
        RACE_TEST(a_shortage_is_told_after_a_refusal),
        RACE_TEST(any_failing_allocation_leaves_nothing_behind),
        RACE_TEST(the_winner_is_tried_first_for_ten_minutes),
        RACE_TEST(a_winner_that_fails_is_forgotten),
        RACE_TEST(a_winner_that_falls_silent_is_forgotten),
        RACE_TEST(a_dial_can_be_cancelled_at_any_moment),
        RACE_TEST(a_failure_that_waits_to_be_told_can_be_cancelled),
        RACE_TEST(whoever_accepts_is_found),
    };

    return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
