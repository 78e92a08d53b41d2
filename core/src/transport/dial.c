#include "transport/dial.h"

#include <assert.h>
#include <string.h>

/* How much a failure says of the peer: the nearer to it, the more. */
static int weight(int status)
{
    switch (status) {
    case HWS_OK:
        return 0;
    case HWS_ERR_NET_UNREACHABLE:
        return 1;
    case HWS_ERR_NO_PORTS: /* of an IPv6 address, mostly that this host has none */
        return 2;
    case HWS_ERR_UNREACHABLE:
        return 3;
    case HWS_ERR_RESET:
        return 5;
    case HWS_ERR_REFUSED:
        return 6;
    default:
        return 4;
    }
}

static bool is_shortage(int status)
{
    return status == HWS_ERR_NOMEM || status == HWS_ERR_TOO_MANY_FILES;
}

/* Addresses --------------------------------------------------------------------------------- */

hws_family_t hws_dial_family(const hws_address_t *address)
{
    return address->as.any.sa_family == AF_INET6 ? HWS_IPV6 : HWS_IPV4;
}

static void keep(hws_dial_t *dial, const hws_address_t *address, hws_time_t now)
{
    hws_family_t family = hws_dial_family(address);
    uint32_t index = dial->race.offered[family];

    assert(index == 0 || address->as.any.sa_family != AF_UNIX);
    if (index == HWS_DIAL_ADDRESSES)
        return;
    if (family == HWS_IPV6)
        dial->v6[index] = address->as.v6;
    else if (address->as.any.sa_family == AF_INET)
        dial->others.v4[index] = address->as.v4;
    else
        dial->others.local = address->as.local;
    hws_race_offer(&dial->race, family, 1, now);
}

static hws_address_t address_at(const hws_dial_t *dial, hws_family_t family, uint32_t index)
{
    hws_address_t address;

    memset(&address, 0, sizeof(address));
    if (family == HWS_IPV6) {
        address.as.v6 = dial->v6[index];
        address.size = sizeof(address.as.v6);
    } else if (dial->others.local.sun_family == AF_UNIX) {
        address.as.local = dial->others.local;
        address.size = sizeof(address.as.local);
    } else {
        address.as.v4 = dial->others.v4[index];
        address.size = sizeof(address.as.v4);
    }
    return address;
}

/* Attempts ---------------------------------------------------------------------------------- */

static void advance(hws_dial_t *dial, hws_time_t now);

static hws_dial_attempt_t *free_attempt(hws_dial_t *dial)
{
    unsigned i = 0;

    while (dial->attempts[i].socket != NULL) {
        i++;
        assert(i < HWS_RACE_ALIVE); /* the race begins no more */
    }
    return &dial->attempts[i];
}

static void close_attempt(hws_dial_attempt_t *attempt)
{
    if (attempt->socket != NULL)
        attempt->socket->ops->close(attempt->socket, false);
    attempt->socket = NULL;
}

static void note_failure(hws_dial_t *dial, hws_family_t family, int status, hws_time_t now)
{
    if (weight(status) > weight(dial->status))
        dial->status = status;
    hws_winner_forget(dial->options.winner, family);
    hws_race_failed(&dial->race, now);
}

static void on_connect(void *owner, int status, hws_time_t now)
{
    hws_dial_attempt_t *attempt = owner;
    hws_dial_t *dial = attempt->dial;

    hws_loop_enter(dial->loop);
    if (status == HWS_OK) {
        hws_socket_t *socket = attempt->socket;

        attempt->socket = NULL;
        dial->reached = address_at(dial, attempt->family, attempt->index);
        hws_winner_note(dial->options.winner, attempt->family, now);
        hws_dial_cancel(dial);
        dial->options.on_done(dial, HWS_OK, socket, now);
        return;
    }
    close_attempt(attempt);
    note_failure(dial, attempt->family, status, now);
    advance(dial, now);
}

static const hws_socket_events_t events = {on_connect, NULL, NULL, NULL};

/* The end ----------------------------------------------------------------------------------- */

void hws_dial_cancel(hws_dial_t *dial)
{
    unsigned i;

    dial->is_over = true;
    hws_loop_cancel_timer(dial->loop, &dial->step);
    hws_loop_cancel_timer(dial->loop, &dial->budget);
    hws_list_remove(&dial->deferred.link);
    for (i = 0; i < HWS_RACE_ALIVE; i++)
        close_attempt(&dial->attempts[i]);
}

static void fail_at_rest(hws_deferred_t *deferred)
{
    hws_dial_t *dial = HWS_CONTAINER(deferred, hws_dial_t, deferred);

    dial->options.on_done(dial, dial->status, NULL, hws_loop_now(dial->loop));
}

static void give_up(hws_dial_t *dial, int status)
{
    hws_dial_cancel(dial);
    dial->status = status;
    hws_loop_defer(dial->loop, &dial->deferred);
}

static void on_budget(hws_timer_t *timer, hws_time_t now)
{
    hws_dial_t *dial = HWS_CONTAINER(timer, hws_dial_t, budget);
    int status = dial->race.alive > 0 ? HWS_ERR_TIMEOUT : dial->status;
    unsigned i;

    for (i = 0; i < HWS_RACE_ALIVE; i++)
        if (dial->attempts[i].socket != NULL)
            hws_winner_forget(dial->options.winner, dial->attempts[i].family);
    hws_dial_cancel(dial);
    dial->options.on_done(dial, status, NULL, now);
}

/* The course -------------------------------------------------------------------------------- */

static void try_address(hws_dial_t *dial, hws_family_t family, uint32_t index, hws_time_t now)
{
    hws_io_t *io = dial->loop->io;
    hws_dial_attempt_t *attempt = free_attempt(dial);
    hws_address_t address = address_at(dial, family, index);
    int rc;

    if (dial->options.span != HWS_NEVER && !hws_timer_is_set(&dial->budget))
        hws_loop_set_timer(dial->loop, &dial->budget, now + dial->options.span);
    *attempt = (hws_dial_attempt_t){.dial = dial, .family = family, .index = index};
    rc = io->ops->connect(io, &address, &events, attempt, &attempt->socket);
    if (rc == HWS_OK)
        return;
    if (!is_shortage(rc)) {
        note_failure(dial, family, rc, now);
        return;
    }
    hws_race_put_back(&dial->race, family, now);
    if (dial->race.alive == 0)
        give_up(dial, rc);
}

/* Does what the race says, until it says to wait. */
static void advance(hws_dial_t *dial, hws_time_t now)
{
    while (!dial->is_over) {
        hws_race_answer_t answer = hws_race_ask(&dial->race, now);

        switch (answer.move) {
        case HWS_RACE_TRY:
            try_address(dial, answer.family, answer.index, now);
            break;
        case HWS_RACE_WAIT:
            hws_loop_set_timer(dial->loop, &dial->step, answer.at);
            return;
        case HWS_RACE_LOST:
            give_up(dial, dial->status);
            return;
        }
    }
}

static void on_step(hws_timer_t *timer, hws_time_t now)
{
    advance(HWS_CONTAINER(timer, hws_dial_t, step), now);
}

void hws_dial_start(hws_dial_t *dial, hws_loop_t *loop, const hws_dial_options_t *options,
                    hws_time_t now)
{
    *dial = (hws_dial_t){.loop = loop, .options = *options};
    hws_race_init(&dial->race, hws_winner_or(options->winner, options->first, now));
    hws_timer_init(&dial->step, on_step);
    hws_timer_init(&dial->budget, on_budget);
    hws_deferred_init(&dial->deferred, fail_at_rest);
}

void hws_dial_offer(hws_dial_t *dial, const hws_address_t *addresses, uint32_t count,
                    hws_time_t now)
{
    uint32_t i;

    if (dial->is_over)
        return;
    for (i = 0; i < count; i++)
        keep(dial, &addresses[i], now);
    advance(dial, now);
}

void hws_dial_no_more(hws_dial_t *dial, int status, hws_time_t now)
{
    if (dial->is_over)
        return;
    hws_race_no_more(&dial->race);
    if (dial->race.offered[HWS_IPV6] + dial->race.offered[HWS_IPV4] == 0) {
        assert(status != HWS_OK);
        dial->status = status;
    }
    advance(dial, now);
}
