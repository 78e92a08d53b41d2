#include "transport/dial.h"

void hws_dial_cancel(hws_dial_t *dial)
{
    hws_loop_cancel_timer(dial->loop, &dial->timer);
    hws_list_remove(&dial->deferred.link);
    if (dial->socket != NULL)
        dial->socket->ops->close(dial->socket, false);
    dial->socket = NULL;
}

static void fail(hws_dial_t *dial, int status, hws_time_t now)
{
    hws_dial_cancel(dial);
    dial->on_done(dial, status, NULL, now);
}

static void try_next(hws_dial_t *dial);

static void on_connect(void *owner, int status, hws_time_t now)
{
    hws_dial_t *dial = owner;
    hws_socket_t *socket = dial->socket;

    hws_loop_enter(dial->loop);
    dial->socket = NULL;
    if (status == HWS_OK) {
        hws_dial_cancel(dial);
        dial->on_done(dial, HWS_OK, socket, now);
        return;
    }
    socket->ops->close(socket, false);
    dial->status = status;
    dial->next++;
    try_next(dial);
}

static const hws_socket_events_t events = {on_connect, NULL, NULL, NULL};

static void fail_at_rest(hws_deferred_t *deferred)
{
    hws_dial_t *dial = HWS_CONTAINER(deferred, hws_dial_t, deferred);

    fail(dial, dial->status, hws_loop_now(dial->loop));
}

/* Goes through the addresses until one has begun to connect. */
static void try_next(hws_dial_t *dial)
{
    hws_io_t *io = dial->loop->io;

    for (; dial->next < dial->count; dial->next++) {
        dial->status =
            io->ops->connect(io, &dial->addresses[dial->next], &events, dial, &dial->socket);
        if (dial->status == HWS_OK)
            return;
    }
    hws_loop_defer(dial->loop, &dial->deferred);
}

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    fail(HWS_CONTAINER(timer, hws_dial_t, timer), HWS_ERR_TIMEOUT, now);
}

void hws_dial_start(hws_dial_t *dial, hws_loop_t *loop, const hws_address_t *addresses,
                    uint32_t count, hws_time_t span, hws_time_t now,
                    void (*on_done)(hws_dial_t *dial, int status, hws_socket_t *socket,
                                    hws_time_t now))
{
    *dial = (hws_dial_t){.loop = loop, .addresses = addresses, .count = count, .on_done = on_done};
    hws_timer_init(&dial->timer, on_timer);
    hws_deferred_init(&dial->deferred, fail_at_rest);
    if (span != HWS_NEVER)
        hws_loop_set_timer(loop, &dial->timer, now + span);
    try_next(dial);
}
