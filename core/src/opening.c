#include "opening.h"

#include "dispatch.h"
#include "lease.h"
#include "peer.h"

#include <assert.h>

static hws_upstream_t *upstream_of(const hws_opening_t *opening)
{
    return opening->peer->upstream;
}

static hws_loop_t *loop_of(const hws_opening_t *opening)
{
    return upstream_of(opening)->manager->loop;
}

/* The one ending. Its place under the caps belongs to the connection, once there is one. */
static void over(hws_opening_t *opening, int status, const char *detail, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(opening);
    hws_peer_t *peer = opening->peer;
    hws_call_t *call = opening->call;

    hws_dial_cancel(&opening->dial);
    hws_loop_cancel_timer(loop_of(opening), &opening->timer);
    hws_list_remove(&opening->link);
    hws_free(opening);
    hws_dispatch_opening_over(upstream, peer, call, status, detail, now);
}

static void give_up_dial(hws_opening_t *opening, int status, hws_time_t now)
{
    opening->peer->pool.dialing--;
    hws_upstream_release_slot(upstream_of(opening));
    over(opening, status, NULL, now);
}

static void on_dialed(hws_dial_t *dial, int status, hws_socket_t *socket, hws_time_t now)
{
    hws_opening_t *opening = HWS_CONTAINER(dial, hws_opening_t, dial);
    hws_upstream_t *upstream = upstream_of(opening);
    hws_pool_t *pool = &opening->peer->pool;

    if (status == HWS_OK) {
        status = hws_connection_create(pool, socket, opening, now, &opening->connection);
        if (status != HWS_OK)
            socket->ops->close(socket, false);
    }
    if (status != HWS_OK) {
        give_up_dial(opening, status, now);
        return;
    }
    pool->dialing--;
    upstream->stats.created++;
    hws_manager_tell(upstream->manager, HWS_EVENT_CONNECT, upstream->name, opening->peer->id, "", 0,
                     now);
    if (upstream->setup == NULL || !upstream->owner.rules.is_raw) {
        hws_opening_setup_done(opening, HWS_OK, NULL, now);
        return;
    }
    status = hws_lease_begin_setup(opening, now);
    if (status != HWS_OK)
        hws_opening_setup_done(opening, status, NULL, now);
    else if (upstream->owner.rules.timeouts.connect != HWS_NEVER)
        hws_loop_set_timer(loop_of(opening), &opening->timer,
                           now + upstream->owner.rules.timeouts.connect);
}

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    hws_opening_t *opening = HWS_CONTAINER(timer, hws_opening_t, timer);

    hws_opening_setup_done(opening, HWS_ERR_TIMEOUT, NULL, now);
}

/* A peer's own addresses are all there, and tried in their order until the race is remembered. */
static void start_dial(hws_opening_t *opening, hws_time_t now)
{
    hws_peer_t *peer = opening->peer;
    hws_dial_options_t options = {.span = peer->upstream->owner.rules.timeouts.connect,
                                  .first = hws_dial_family(&peer->addresses[0]),
                                  .winner = &peer->winner,
                                  .on_done = on_dialed};

    hws_dial_start(&opening->dial, loop_of(opening), &options, now);
    hws_dial_offer(&opening->dial, peer->addresses, peer->address_count, now);
    hws_dial_no_more(&opening->dial, HWS_OK, now);
}

int hws_opening_start(hws_peer_t *peer, hws_call_t *call, hws_time_t now)
{
    hws_opening_t *opening = hws_zalloc(sizeof(*opening));

    if (opening == NULL)
        return HWS_ERR_NOMEM;
    opening->peer = peer;
    opening->call = call;
    hws_queue_set_opening(&peer->upstream->queue, call, opening);
    hws_timer_init(&opening->timer, on_timer);
    hws_list_push_back(&peer->openings, &opening->link);
    peer->pool.dialing++;
    start_dial(opening, now);
    return HWS_OK;
}

void hws_opening_setup_done(hws_opening_t *opening, int status, const char *reason, hws_time_t now)
{
    hws_connection_t *connection = opening->connection;

    /* However a connection breaks while it is set up, it is the setup that failed. */
    if (hws_error_kind(status) == HWS_KIND_RESET) {
        reason = hws_error_text(status);
        status = HWS_ERR_SETUP;
    }
    opening->connection = NULL;
    if (opening->setup != NULL)
        hws_lease_forget_opening(opening->setup);
    if (connection != NULL && status == HWS_OK) {
        hws_close_reason_t why;

        connection->setup = NULL;
        /* Who it was for may have gone, and what was allowed then may not be any more. */
        if (!hws_queue_is_empty(&upstream_of(opening)->queue) ||
            hws_connection_may_stay(connection, now, &why))
            hws_connection_set_ready(connection, now);
        else
            hws_connection_close(connection, why, HWS_ERR_CLOSED, now);
    } else if (connection != NULL) {
        connection->setup = NULL;
        hws_connection_close(connection, HWS_CLOSE_FAILED, status, now);
    }
    over(opening, status, reason, now);
}

void hws_opening_cancel(hws_opening_t *opening, int code, hws_time_t now)
{
    if (opening->connection == NULL)
        give_up_dial(opening, code, now);
    else
        hws_opening_setup_done(opening, code, NULL, now);
}
