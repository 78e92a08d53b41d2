#include "transport/dial.h"

#include "lease.h"
#include "peer.h"
#include "pool/connection.h"
#include "upstream.h"

#include <assert.h>

static hws_upstream_t *upstream_of(const hws_dial_t *dial)
{
    return dial->pool->peer->upstream;
}

static hws_loop_t *loop_of(const hws_dial_t *dial)
{
    return upstream_of(dial)->manager->loop;
}

static void close_socket(hws_dial_t *dial)
{
    if (dial->socket != NULL)
        loop_of(dial)->io->ops->close(dial->socket, false);
    dial->socket = NULL;
}

/* The one ending. Its place under the caps has passed to the connection, or is given up. */
static void over(hws_dial_t *dial, int status, const char *detail, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(dial);
    hws_peer_t *peer = dial->pool->peer;
    hws_call_t *call = dial->call;

    hws_loop_cancel_timer(loop_of(dial), &dial->timer);
    hws_list_remove(&dial->deferred.link);
    close_socket(dial);
    if (hws_list_is_linked(&dial->link)) {
        hws_list_remove(&dial->link);
        dial->pool->dialing--;
        if (status != HWS_OK)
            hws_upstream_release_slot(upstream);
    }
    hws_free(dial);
    hws_upstream_dial_over(upstream, peer, call, status, detail, now);
}

static void try_address(hws_dial_t *dial, hws_time_t now);

static void on_connect(void *owner, int status, hws_time_t now)
{
    hws_dial_t *dial = owner;
    hws_pool_t *pool = dial->pool;
    hws_upstream_t *upstream = upstream_of(dial);
    hws_io_t *io = loop_of(dial)->io;

    hws_loop_enter(loop_of(dial));
    if (status != HWS_OK) {
        close_socket(dial);
        dial->status = status;
        dial->address++;
        try_address(dial, now);
        return;
    }
    status = hws_connection_create(pool, dial->socket, dial, now, &dial->connection);
    if (status != HWS_OK) {
        over(dial, status, NULL, now);
        return;
    }
    io->ops->give(dial->socket, &hws_connection_events, dial->connection);
    dial->socket = NULL;
    hws_list_remove(&dial->link);
    pool->dialing--;
    hws_manager_tell(upstream->manager, HWS_EVENT_CONNECT, upstream->name, pool->peer->id, "", 0,
                     now);
    hws_loop_cancel_timer(loop_of(dial), &dial->timer);
    if (upstream->setup == NULL || !upstream->is_raw) {
        hws_dial_setup_done(dial, HWS_OK, NULL, now);
        return;
    }
    status = hws_lease_begin_setup(dial, now);
    if (status != HWS_OK)
        hws_dial_setup_done(dial, status, NULL, now);
    else if (upstream->timeouts.connect != HWS_NEVER)
        hws_loop_set_timer(loop_of(dial), &dial->timer, now + upstream->timeouts.connect);
}

static const hws_socket_events_t dial_events = {on_connect, NULL, NULL, NULL};

static void fail_later(hws_deferred_t *deferred)
{
    hws_dial_t *dial = HWS_CONTAINER(deferred, hws_dial_t, deferred);

    over(dial, dial->status, NULL, hws_loop_now(loop_of(dial)));
}

/* Goes through the addresses until one has begun to connect. */
static void try_address(hws_dial_t *dial, hws_time_t now)
{
    const hws_peer_t *peer = dial->pool->peer;
    hws_io_t *io = loop_of(dial)->io;

    (void)now;
    for (; dial->address < peer->address_count; dial->address++) {
        int rc = io->ops->connect(io, &peer->addresses[dial->address], &dial_events, dial,
                                  &dial->socket);

        if (rc == HWS_OK)
            return;
        dial->status = rc;
    }
    hws_loop_defer(loop_of(dial), &dial->deferred);
}

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    hws_dial_t *dial = HWS_CONTAINER(timer, hws_dial_t, timer);

    hws_dial_cancel(dial, HWS_ERR_TIMEOUT, now);
}

int hws_dial_start(hws_pool_t *pool, hws_call_t *call, hws_time_t now)
{
    hws_time_t span = pool->peer->upstream->timeouts.connect;
    hws_dial_t *dial = hws_zalloc(sizeof(*dial));

    if (dial == NULL)
        return HWS_ERR_NOMEM;
    dial->pool = pool;
    dial->call = call;
    call->dial = dial;
    hws_timer_init(&dial->timer, on_timer);
    hws_deferred_init(&dial->deferred, fail_later);
    hws_list_push_back(&pool->dials, &dial->link);
    pool->dialing++;
    if (span != HWS_NEVER)
        hws_loop_set_timer(loop_of(dial), &dial->timer, now + span);
    try_address(dial, now);
    return HWS_OK;
}

void hws_dial_setup_done(hws_dial_t *dial, int status, const char *reason, hws_time_t now)
{
    hws_connection_t *connection = dial->connection;

    /* However a connection breaks while it is set up, it is the setup that failed. */
    if (hws_error_kind(status) == HWS_KIND_RESET) {
        reason = hws_error_text(status);
        status = HWS_ERR_SETUP;
    }
    assert(!hws_list_is_linked(&dial->link));
    dial->connection = NULL;
    if (dial->setup != NULL)
        hws_lease_forget_dial(dial->setup);
    if (connection != NULL) {
        connection->dial = NULL;
        if (status == HWS_OK)
            hws_connection_set_ready(connection, now);
        else
            hws_connection_close(connection, HWS_CLOSE_FAILED, status, now);
    }
    over(dial, status, reason, now);
}

void hws_dial_cancel(hws_dial_t *dial, int code, hws_time_t now)
{
    if (hws_list_is_linked(&dial->link))
        over(dial, code, NULL, now);
    else
        hws_dial_setup_done(dial, code, NULL, now);
}
