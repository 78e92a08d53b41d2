#include "dispatch.h"

#include "opening.h"

/* What the loop has looked at within this span is as it was. */
#define JUST_NOW HWS_MS(1)
/* Calls for which a script declines what there is that one pass comes by. */
#define MOST_DECLINED 4

/* ---- room for a call ---- */

/* Whether the upstream's own caps allow one more connection to `peer`, once `*victim`, an idle one,
 * has made way; NULL: nobody need. */
static bool has_room(const hws_upstream_t *upstream, const hws_peer_t *peer,
                     hws_connection_t **victim)
{
    const hws_limits_t *limits = &upstream->owner.rules.limits;
    const hws_pool_t *pool = &peer->pool;
    uint32_t of_peer = pool->open + pool->dialing;
    uint32_t of_all = upstream->owner.connections;

    *victim = NULL;
    if (of_peer >= limits->per_peer)
        *victim = hws_pool_oldest_idle(pool);
    else if (of_all >= limits->connections)
        *victim = hws_peer_set_oldest_idle(&upstream->peers);
    if (*victim == NULL)
        return of_peer < limits->per_peer && of_all < limits->connections;
    return of_peer <= limits->per_peer && of_all <= limits->connections;
}

/* Makes the caps allow one more connection to `peer`, closing an idle one if need be; but not
 * before all of them agree. */
static bool take_slot(hws_upstream_t *upstream, hws_peer_t *peer, hws_time_t now)
{
    hws_connection_t *victim;

    if (!has_room(upstream, peer, &victim))
        return false;
    if (victim != NULL && hws_manager_is_turn_of(upstream->manager, &upstream->starved_link))
        hws_connection_close(victim, HWS_CLOSE_EVICTED, HWS_ERR_CLOSED, now);
    if (!hws_manager_take_slot(upstream->manager, &upstream->starved_link, now))
        return false;
    upstream->owner.connections++;
    return true;
}

/* Whether the look at an idle connection would tell nothing new. It costs a system call, so what may
 * be sent twice goes without while the loop has looked just now. A lease may so on a connection that
 * was itself in use just now: a peer that closes all that are idle does so to many at once, and the
 * loop tells that one by one. */
static bool was_looked_at(hws_upstream_t *upstream, const hws_call_t *call, hws_time_t age,
                          hws_time_t now)
{
    hws_io_t *io = upstream->manager->loop->io;

    if (call->is_lease ? age >= JUST_NOW : !call->is_replayable)
        return false;
    return now - io->ops->polled_at(io) < JUST_NOW;
}

/* An idle connection that is dead already is closed and remembered, not handed out. */
static bool is_alive(hws_upstream_t *upstream, hws_connection_t *connection, const hws_call_t *call,
                     hws_time_t now)
{
    hws_peer_t *peer = hws_peer_of(connection->pool);
    hws_time_t age = now - connection->used_at;
    int rc;

    if (connection->served == 0 && age == 0)
        return true;
    /* What is in use is read, and ends by itself. */
    if (connection->stream_count > 0)
        return true;
    if (was_looked_at(upstream, call, age, now))
        return true;
    if ((rc = hws_connection_probe(connection)) == HWS_OK)
        return true;
    if (rc == HWS_ERR_UNEXPECTED) {
        hws_connection_close(connection, HWS_CLOSE_UNEXPECTED, rc, now);
        return false;
    }
    hws_pool_learn(&peer->pool, age, now);
    hws_manager_tell(upstream->manager, HWS_EVENT_STALE_REUSE, upstream->name, peer->id, "probe",
                     age, now);
    hws_connection_close(connection, HWS_CLOSE_STALE, HWS_ERR_EOF, now);
    return false;
}

/* Once for each attempt, by whatever it gets first. */
static void take_turn(hws_upstream_t *upstream, hws_peer_t *peer, hws_call_t *call)
{
    hws_attempt_t *attempt = hws_attempts_last(&call->attempts);

    if (!attempt->had_turn && peer != upstream->fresh && call->bound_to == NULL &&
        upstream->script.pick == NULL)
        hws_balancer_took(upstream->balancer, &upstream->peers.lineup, &peer->candidate);
    upstream->stats.retried += attempt->is_retry && !attempt->had_turn;
    attempt->had_turn = true;
}

static bool start_dial(hws_upstream_t *upstream, hws_peer_t *peer, hws_call_t *call, hws_time_t now)
{
    if (!take_slot(upstream, peer, now))
        return false;
    call->is_out_of_memory = hws_opening_start(peer, call, now) != HWS_OK;
    if (call->is_out_of_memory) {
        hws_upstream_release_slot(upstream);
        hws_call_clock(call, now);
        return false;
    }
    take_turn(upstream, peer, call);
    hws_call_set_peer(call, peer);
    if (hws_list_is_linked(&call->queue_link))
        hws_call_clock(call, now);
    return true;
}

/* The one that the pool had in mind: the first that is not waited for by as many as it would serve. */
static void join_dial(hws_upstream_t *upstream, hws_peer_t *peer, hws_call_t *call, hws_time_t now)
{
    hws_opening_t *opening = NULL;

    HWS_LIST_EACH(link, &peer->openings) {
        hws_opening_t *one = HWS_CONTAINER(link, hws_opening_t, link);

        if (opening == NULL || one->joined < opening->joined)
            opening = one;
    }
    hws_opening_join(opening, call, now);
    take_turn(upstream, peer, call);
    if (hws_list_is_linked(&call->queue_link))
        hws_call_clock(call, now);
}

bool hws_dispatch_try(hws_upstream_t *upstream, hws_call_t *call, hws_time_t now)
{
    bool may_dial = call->opening == NULL;

    for (;;) {
        hws_pool_answer_t answer = HWS_POOL_NO_ROOM;
        hws_connection_t *connection = NULL;
        hws_peer_t *peer = hws_peer_set_pick(upstream, call, may_dial, now, &answer, &connection);

        if (peer == NULL)
            return false;
        if (answer == HWS_POOL_JOIN) {
            join_dial(upstream, peer, call, now);
            return true;
        }
        if (answer == HWS_POOL_DIAL) {
            if (start_dial(upstream, peer, call, now))
                return true;
            /* No slot; but another peer may have an idle connection. */
            may_dial = false;
        } else if (is_alive(upstream, connection, call, now)) {
            if (connection->served > 0 && !call->is_connect_only)
                upstream->stats.reused++;
            take_turn(upstream, peer, call);
            hws_call_grant(call, connection, now);
            return true;
        }
    }
}

/* ---- the queue ---- */

/* Whether `peer` could serve `call`, or who wants the same, when no other peer can. Who found no slot
 * for a dial elsewhere finds none there. */
static bool leaves_room(const hws_upstream_t *upstream, hws_peer_t *peer, const hws_call_t *call,
                        hws_time_t now)
{
    const hws_manager_t *manager = upstream->manager;

    switch (hws_peer_set_ask(peer, call, now)) {
    case HWS_POOL_LEASED:
    case HWS_POOL_JOIN:
        return true;
    case HWS_POOL_DIAL:
        return upstream->owner.connections < upstream->owner.rules.limits.connections &&
               manager->connections < manager->max_connections;
    case HWS_POOL_NO_ROOM:
        break;
    }
    return false;
}

/* Whether it wants no more than anybody does. */
static bool takes_any(const hws_call_t *call)
{
    return call->opening == NULL && !call->is_fresh_only && call->bound_to == NULL &&
           !call->is_declined && (call->is_replayable || call->is_lease);
}

/* Whether what this one was refused everybody behind it would be refused as well. */
static bool speaks_for_all(const hws_upstream_t *upstream, const hws_call_t *call, hws_time_t now)
{
    return takes_any(call) &&
           (call->avoid == NULL || !leaves_room(upstream, call->avoid, call, now));
}

/* Whether the room that came free at the only peer who can have any is given away. */
static bool is_given(const hws_upstream_t *upstream, const hws_call_t *call, hws_time_t now)
{
    return upstream->freed != NULL && takes_any(call) && call->avoid == NULL &&
           !leaves_room(upstream, upstream->freed, call, now);
}

/* Returns the order of the call at which it stopped because a script declined too many, or 0. */
static uint64_t serve_behind(hws_upstream_t *upstream, uint64_t behind, hws_time_t now)
{
    hws_queue_t *queue = &upstream->queue;
    uint32_t declined = 0;
    hws_pass_t pass;
    hws_call_t *call;

    hws_pass_begin(&pass, queue, behind);
    while (!upstream->is_cutting && (call = hws_pass_next(&pass, queue)) != NULL) {
        if (is_given(upstream, call, now))
            return 0;
        if (hws_dispatch_try(upstream, call, now))
            continue;
        if (call->is_declined && ++declined == MOST_DECLINED)
            return pass.last;
        if (call->is_declined)
            continue;
        if (speaks_for_all(upstream, call, now)) {
            queue->is_settled = true;
            return 0;
        }
        hws_pass_refuse(&pass, queue, call);
    }
    queue->is_settled = false;
    return 0;
}

void hws_dispatch_serve(hws_upstream_t *upstream, hws_time_t now)
{
    hws_queue_t *queue = &upstream->queue;
    uint64_t stopped;

    if (hws_queue_is_empty(queue)) {
        queue->is_settled = false;
        return;
    }
    if ((stopped = serve_behind(upstream, 0, now)) == 0)
        return;
    queue->asks_again = queue->is_asking;
    if (queue->is_asking)
        return;
    queue->is_asking = true;
    queue->asked_to = stopped;
    hws_loop_defer(upstream->manager->loop, &upstream->asking);
}

void hws_dispatch_serve_at(hws_upstream_t *upstream, hws_peer_t *peer, hws_time_t now)
{
    if (upstream->queue.is_settled && upstream->script.pick == NULL)
        upstream->freed = peer;
    hws_dispatch_serve(upstream, now);
    upstream->freed = NULL;
}

void hws_dispatch_go_on(hws_upstream_t *upstream, hws_time_t now)
{
    hws_queue_t *queue = &upstream->queue;

    queue->asked_to = serve_behind(upstream, queue->asked_to, now);
    queue->is_asking = queue->asked_to > 0 || queue->asks_again;
    if (queue->asked_to == 0)
        queue->asks_again = false;
    if (queue->is_asking)
        hws_loop_defer(upstream->manager->loop, &upstream->asking);
}

/* Only the first who can be: the others wait for their upstream's next turn. */
void hws_dispatch_serve_one(hws_upstream_t *upstream, hws_time_t now)
{
    hws_queue_t *queue = &upstream->queue;
    uint32_t declined = 0;
    hws_pass_t pass;
    hws_call_t *call;

    hws_pass_begin(&pass, queue, 0);
    while ((call = hws_pass_next(&pass, queue)) != NULL) {
        if (call->opening == NULL && hws_dispatch_try(upstream, call, now)) {
            if (queue->waiting > 0)
                hws_manager_queue_up(upstream->manager, &upstream->starved_link);
            return;
        }
        if (call->is_declined && ++declined < MOST_DECLINED)
            continue;
        if (speaks_for_all(upstream, call, now))
            return;
        hws_pass_refuse(&pass, queue, call);
    }
}

void hws_dispatch_adopt(hws_upstream_t *upstream, hws_opening_t *opening, hws_time_t now)
{
    hws_call_t *call;

    if (upstream->is_cutting || !hws_list_is_empty(&opening->calls) ||
        upstream->script.pick != NULL ||
        (call = hws_queue_first_waiting(&upstream->queue, opening->peer)) == NULL)
        return;
    hws_opening_join(opening, call, now);
    hws_call_clock(call, now);
}

void hws_dispatch_opening_over(hws_upstream_t *upstream, hws_peer_t *peer, hws_list_t *calls,
                               int status, hws_phase_t phase, const char *detail, hws_time_t now)
{
    hws_call_t *own = NULL;
    hws_list_t *link;

    while ((link = hws_list_first(calls)) != NULL) {
        hws_call_t *call = HWS_CONTAINER(link, hws_call_t, opening_link);

        hws_list_remove(link);
        if (status == HWS_OK || (status == HWS_ERR_TOO_MANY_FILES &&
                                 hws_manager_out_of_files(upstream->manager, now))) {
            hws_call_clock(call, now);
            own = own == NULL ? call : own;
        } else {
            hws_call_leave(call, now);
            hws_call_set_peer(call, peer);
            call->error.attempts++;
            call->ops->dial_failed(call, status, phase, detail, now);
        }
    }
    /* The new connection serves whoever waits first, before others that are idle. */
    upstream->fresh = status == HWS_OK && !peer->pool.is_retired ? peer : NULL;
    /* But one that a script chose serves whom it was chosen for: of all others the script is asked. */
    if (upstream->script.pick != NULL && upstream->fresh != NULL) {
        if (own != NULL && !upstream->is_cutting)
            hws_dispatch_try(upstream, own, now);
        upstream->fresh = NULL;
    }
    hws_dispatch_serve(upstream, now);
    upstream->fresh = NULL;
    /* Whoever dialled may still wait, and for nothing. */
    if (!hws_queue_is_empty(&upstream->queue) &&
        !hws_breaker_would_admit(&peer->breaker, &upstream->breaker, now))
        hws_upstream_tidy(upstream);
}
