/* Races of a dial over real sockets, against faultd; how a race goes is in sim/test_dial.c. */
#include "transport/dial.h"

#include "support/cmocka.h"
#include "support/fault_server.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    hws_loop_t *loop;
    hws_dial_t dial;
    hws_winner_t winner;
    int done;
    int status;
    hws_time_t began_at;
    hws_time_t took;
    int first_free; /* descriptor, before the race */
} race_t;

static int first_free_descriptor(void)
{
    int fd = dup(STDIN_FILENO);

    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void on_done(hws_dial_t *dial, int status, hws_socket_t *socket, hws_time_t now)
{
    race_t *race = HWS_CONTAINER(dial, race_t, dial);

    race->done++;
    race->status = status;
    race->took = now - race->began_at;
    if (socket != NULL)
        socket->ops->close(socket, false);
}

static hws_address_t address_of(const char *port)
{
    hws_address_t address;
    char text[64];

    fault_server_url(text, sizeof(text), "", port, "");
    assert_int_equal(hws_address_from_ip(HWS_SLICE("127.0.0.1"),
                                         (uint16_t)strtoul(strchr(text, ':') + 1, NULL, 10),
                                         &address),
                     HWS_OK);
    return address;
}

/* Dials two ports of faultd until the race is over, and asserts that it left no descriptor open. */
static void run(race_t *race, const char *first, const char *second, hws_time_t span)
{
    hws_address_t addresses[] = {address_of(first), address_of(second)};
    hws_dial_options_t options = {
        .span = span, .first = HWS_IPV4, .winner = &race->winner, .on_done = on_done};

    *race = (race_t){.first_free = 0};
    assert_int_equal(hws_loop_create(&race->loop), HWS_OK);
    race->first_free = first_free_descriptor();
    race->began_at = hws_loop_now(race->loop);
    hws_dial_start(&race->dial, race->loop, &options, race->began_at);
    hws_dial_offer(&race->dial, addresses, 2, race->began_at);
    hws_dial_no_more(&race->dial, HWS_OK, race->began_at);
    assert_int_equal(race->done, 0);
    while (race->done == 0)
        assert_int_equal(hws_loop_run(race->loop, true), HWS_OK);
    hws_loop_run(race->loop, false);
    assert_int_equal(race->done, 1);
    assert_int_equal(first_free_descriptor(), race->first_free);
    hws_loop_destroy(race->loop);
}

static void a_black_hole_costs_250_ms(void **state)
{
    race_t race;

    (void)state;
    run(&race, "blackhole", "http", HWS_S(20));
    assert_int_equal(race.status, HWS_OK);
    assert_true(race.took >= HWS_RACE_STAGGER && race.took < HWS_S(10));
}

static void a_refusal_costs_nothing(void **state)
{
    race_t race;

    (void)state;
    run(&race, "closed", "http", HWS_NEVER);
    assert_int_equal(race.status, HWS_OK);
    assert_int_equal(race.winner.family, HWS_IPV4);
    run(&race, "closed", "closed", HWS_S(20));
    assert_int_equal(race.status, HWS_ERR_REFUSED);
    assert_true(race.took < HWS_S(10));
}

static void two_black_holes_cost_the_span(void **state)
{
    race_t race;

    (void)state;
    run(&race, "blackhole", "blackhole", HWS_MS(300));
    assert_int_equal(race.status, HWS_ERR_TIMEOUT);
    assert_true(race.took >= HWS_MS(300));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_black_hole_costs_250_ms),
        cmocka_unit_test(a_refusal_costs_nothing),
        cmocka_unit_test(two_black_holes_cost_the_span),
    };
    int failures;

    fault_server_start();
    failures = cmocka_run_group_tests_name("dial", tests, NULL, NULL);
    fault_server_stop();
    return failures;
}
