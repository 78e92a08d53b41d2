#include "opening.h"

#include "dispatch.h"
#include "feedback.h"
#include "lease.h"
#include "peer.h"
#include "protocol.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static hws_upstream_t *upstream_of(const hws_opening_t *opening)
{
    return opening->peer->upstream;
}

static hws_loop_t *loop_of(const hws_opening_t *opening)
{
    return upstream_of(opening)->manager->loop;
}

static void stop_lookup(hws_opening_t *opening)
{
    if (opening->lookup == NULL)
        return;
    hws_resolution_cancel(&opening->resolution);
    hws_lookup_release(opening->lookup);
    opening->lookup = NULL;
}

static hws_call_t *call_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_call_t, opening_link);
}

/* The next phase, which the calls that wait for it are in as well. */
static void enter(hws_opening_t *opening, hws_phase_t phase, hws_time_t now)
{
    opening->phase = phase;
    HWS_LIST_EACH(link, &opening->calls)
        hws_attempt_enter(hws_attempts_last(&call_of(link)->attempts), phase, now);
}

void hws_opening_join(hws_opening_t *opening, hws_call_t *call, hws_time_t now)
{
    hws_list_push_back(&opening->calls, &call->opening_link);
    opening->joined++;
    opening->peer->pool.joined++;
    hws_attempt_enter(hws_attempts_last(&call->attempts), opening->phase, now);
    hws_queue_set_opening(&upstream_of(opening)->queue, call, opening);
    hws_call_set_peer(call, opening->peer);
}

void hws_opening_leave(hws_opening_t *opening, hws_call_t *call)
{
    hws_list_remove(&call->opening_link);
    opening->joined--;
    opening->peer->pool.joined--;
    upstream_of(opening)->queue.is_settled = false;
    hws_queue_set_opening(&upstream_of(opening)->queue, call, NULL);
}

/* The one ending. Its place under the caps belongs to the connection, once there is one. */
static void over(hws_opening_t *opening, int status, const char *detail, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(opening);
    hws_peer_t *peer = opening->peer;
    hws_phase_t phase = opening->phase;
    hws_list_t calls;

    stop_lookup(opening);
    hws_dial_cancel(&opening->dial);
    hws_shaking_cancel(&opening->shaking);
    hws_loop_cancel_timer(loop_of(opening), &opening->timer);
    hws_feedback_dial_ends(peer, &opening->permit, status, phase, now);
    if (status == HWS_OK)
        enter(opening, HWS_PHASE_QUEUE, now);
    hws_list_init(&calls);
    while (!hws_list_is_empty(&opening->calls)) {
        hws_call_t *call = call_of(opening->calls.next);

        hws_opening_leave(opening, call);
        hws_list_push_back(&calls, &call->opening_link);
    }
    hws_list_remove(&opening->link);
    hws_slab_give(&upstream->manager->openings, opening);
    hws_dispatch_opening_over(upstream, peer, &calls, status, phase, detail, now);
}

static void give_up_dial(hws_opening_t *opening, int status, const char *detail, hws_time_t now)
{
    opening->peer->pool.dialing--;
    hws_upstream_release_slot(upstream_of(opening));
    over(opening, status, detail, now);
}

static void set_timer(hws_opening_t *opening, hws_time_t span, hws_time_t now)
{
    if (span != HWS_NEVER)
        hws_loop_set_timer(loop_of(opening), &opening->timer, now + span);
}

/* ---- a connection ---- */

/* It agreed on what its peer, as others have heard meanwhile, does not want. */
static bool is_unwanted(const hws_opening_t *opening, hws_protocol_t agreed)
{
    return agreed == HWS_PROTOCOL_H2 && opening->peer->protocol == HWS_PROTOCOL_HTTP1;
}

/* Takes the socket over, which is ready for what the protocol says first. */
static void establish(hws_opening_t *opening, hws_socket_t *socket, bool is_resumed, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(opening);
    hws_pool_t *pool = &opening->peer->pool;
    hws_tls_t *tls = hws_tunnel_tls(socket);
    hws_protocol_t protocol = opening->protocol;
    int rc = HWS_OK;

    if (tls != NULL)
        rc = hws_protocol_agreed(protocol, hws_tls_alpn(tls), &protocol);
    if (rc == HWS_OK && is_unwanted(opening, protocol)) {
        socket->ops->close(socket, false);
        give_up_dial(opening, HWS_OK, NULL, now); /* who waits for it looks further */
        return;
    }
    if (rc == HWS_OK)
        rc = hws_connection_create(pool, socket, protocol, opening, now, &opening->connection);
    if (rc != HWS_OK) {
        socket->ops->close(socket, false);
        give_up_dial(opening, rc, NULL, now);
        return;
    }
    if (opening->is_outdated)
        opening->connection->expires_at = now; /* it serves who waits for it, and nobody after */
    if (opening->peer->name != NULL) {
        hws_ip_t ip = hws_ip_of_address(&opening->dial.reached);

        hws_peer_follow_name(opening->peer, opening->connection, &ip, now);
    }
    enter(opening, HWS_PHASE_CONNECT, now);
    pool->dialing--;
    upstream->stats.created++;
    hws_manager_tell_connect(upstream->manager, upstream->name, opening->peer->id, is_resumed, now);
    if (upstream->setup == NULL || protocol != HWS_PROTOCOL_RAW) {
        hws_opening_setup_done(opening, HWS_OK, NULL, now);
        return;
    }
    rc = hws_lease_begin_setup(opening, now);
    if (rc != HWS_OK)
        hws_opening_setup_done(opening, rc, NULL, now);
    else
        set_timer(opening, upstream->owner.rules.timeouts.connect, now);
}

/* ---- TLS ---- */

/* The handshake has ended. Nothing but a verified tunnel ever becomes a connection. */
static void on_shaken(void *owner, int status, hws_time_t now)
{
    hws_opening_t *opening = owner;
    hws_socket_t *tunnel = opening->shaking.tunnel;
    char detail[HWS_ERROR_DETAIL_MAX + 1];
    bool is_resumed = hws_shaking_end(&opening->shaking, status, detail, now);

    hws_loop_cancel_timer(loop_of(opening), &opening->timer);
    if (status == HWS_OK) {
        establish(opening, tunnel, is_resumed, now);
        return;
    }
    tunnel->ops->close(tunnel, true);
    give_up_dial(opening, status, detail, now);
}

static const hws_socket_events_t shaking_events = {on_shaken, NULL, NULL, NULL};

static void start_tls(hws_opening_t *opening, hws_socket_t *socket, hws_time_t now)
{
    hws_error_t why = {.code = HWS_OK};
    int rc;

    enter(opening, HWS_PHASE_TLS, now);
    opening->protocol = opening->peer->protocol;
    rc = hws_shaking_start(&opening->shaking, opening->peer, NULL, socket, &shaking_events, opening,
                           now, &why);
    if (rc == HWS_OK) {
        set_timer(opening, upstream_of(opening)->owner.rules.timeouts.tls, now);
        return;
    }
    socket->ops->close(socket, true);
    give_up_dial(opening, rc, why.code != HWS_OK ? why.detail : NULL, now);
}

/* ---- the dial ---- */

static void on_dialed(hws_dial_t *dial, int status, hws_socket_t *socket, hws_time_t now)
{
    hws_opening_t *opening = HWS_CONTAINER(dial, hws_opening_t, dial);

    stop_lookup(opening);
    if (status != HWS_OK)
        give_up_dial(opening, status, NULL, now);
    else if (opening->peer->is_secure)
        start_tls(opening, socket, now);
    else
        establish(opening, socket, false, now);
}

static void on_timer(hws_timer_t *timer, hws_time_t now)
{
    hws_opening_t *opening = HWS_CONTAINER(timer, hws_opening_t, timer);

    hws_opening_cancel(opening, HWS_ERR_TIMEOUT, now);
}

/* ---- addresses ---- */

static void offer(hws_opening_t *opening, hws_family_t family, hws_time_t now)
{
    const hws_resolved_t *found = &opening->resolution.found[family];
    hws_address_t addresses[HWS_DIAL_ADDRESSES];
    uint32_t count = found->count < HWS_DIAL_ADDRESSES ? found->count : HWS_DIAL_ADDRESSES;
    uint32_t i;

    if (found->status != HWS_OK)
        return;
    for (i = 0; i < count; i++)
        hws_address_of_ip(&found->ips[i], opening->peer->port, &addresses[i]);
    /* From here on it is the dial that takes time; what is still out has its own patience. */
    hws_loop_cancel_timer(loop_of(opening), &opening->timer);
    enter(opening, HWS_PHASE_CONNECT, now);
    hws_dial_offer(&opening->dial, addresses, count, now);
}

static void look_whether_all(hws_opening_t *opening, hws_time_t now)
{
    if (!hws_resolution_waits_for(&opening->resolution, HWS_IPV6) &&
        !hws_resolution_waits_for(&opening->resolution, HWS_IPV4))
        hws_dial_no_more(&opening->dial, hws_resolution_status(&opening->resolution), now);
}

static void on_answer(hws_resolution_t *resolution, hws_family_t family, hws_time_t now)
{
    hws_opening_t *opening = HWS_CONTAINER(resolution, hws_opening_t, resolution);

    offer(opening, family, now);
    look_whether_all(opening, now);
}

static void look_up(hws_opening_t *opening, hws_time_t now)
{
    const char *name = opening->peer->name;
    int rc = hws_upstream_lookup(upstream_of(opening), &opening->lookup);

    if (rc != HWS_OK) {
        hws_dial_no_more(&opening->dial, rc, now);
        return;
    }
    enter(opening, HWS_PHASE_RESOLVE, now);
    set_timer(opening, upstream_of(opening)->owner.rules.timeouts.resolve, now);
    (void)hws_resolution_start(&opening->resolution, &opening->lookup->resolver,
                               (hws_slice_t){name, strlen(name)}, now, on_answer);
    offer(opening, HWS_IPV6, now);
    offer(opening, HWS_IPV4, now);
    look_whether_all(opening, now);
}

/* A peer's own addresses are all there, and tried in their order until the race is remembered. */
static void start_dial(hws_opening_t *opening, hws_time_t now)
{
    hws_peer_t *peer = opening->peer;
    hws_dial_options_t options = {.span = peer->upstream->owner.rules.timeouts.connect,
                                  .first = HWS_IPV6,
                                  .winner = &peer->winner,
                                  .on_done = on_dialed};

    if (peer->name == NULL)
        options.first = hws_dial_family(&peer->addresses[0]);
    hws_dial_start(&opening->dial, loop_of(opening), &options, now);
    if (peer->name != NULL) {
        look_up(opening, now);
        return;
    }
    hws_dial_offer(&opening->dial, peer->addresses, peer->address_count, now);
    hws_dial_no_more(&opening->dial, HWS_OK, now);
}

int hws_opening_start(hws_peer_t *peer, hws_call_t *call, hws_time_t now)
{
    hws_opening_t *opening = hws_slab_take(&peer->upstream->manager->openings);

    if (opening == NULL)
        return HWS_ERR_NOMEM;
    opening->peer = peer;
    opening->protocol = peer->protocol;
    opening->phase = HWS_PHASE_CONNECT;
    hws_list_init(&opening->calls);
    hws_feedback_dial_begins(peer, &opening->permit, now);
    hws_opening_join(opening, call, now);
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
        give_up_dial(opening, code, NULL, now);
    else
        hws_opening_setup_done(opening, code, NULL, now);
}
