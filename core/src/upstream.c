#include "upstream.h"

#include "dispatch.h"
#include "feedback.h"
#include "opening.h"
#include "protocol.h"
#include "settings.h"
#include "stats.h"

#include <assert.h>
#include <string.h>

#define LONGEST_NAME 255

static hws_peer_t *peer_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_peer_t, link);
}

void hws_upstream_release_slot(hws_upstream_t *upstream)
{
    upstream->owner.connections--;
    upstream->queue.is_settled = false;
    hws_manager_give_slot(upstream->manager);
    hws_upstream_tidy(upstream);
}

/* ---- what the pools tell ---- */

static hws_upstream_t *upstream_of(hws_pool_owner_t *owner)
{
    return HWS_CONTAINER(owner, hws_upstream_t, owner);
}

static void on_room(hws_pool_owner_t *owner, hws_pool_t *pool, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(owner);

    /* Who waits for a place without any connection to live on gets this one's; else an upstream
     * that never runs out of work would keep it for ever. */
    hws_manager_serve_poor(upstream->manager, &upstream->starved_link, now);
    if (pool != NULL)
        hws_dispatch_serve_at(upstream, hws_peer_of(pool), now);
    else
        hws_dispatch_serve(upstream, now);
    hws_manager_note_room(upstream->manager);
#ifdef HWS_CHECKS
    hws_upstream_check(upstream_of(owner));
#endif
}

static void on_closed(hws_pool_owner_t *owner, hws_pool_t *pool, hws_close_reason_t why,
                      hws_time_t idle_for, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(owner);

    upstream->stats.closed[why]++;
    hws_manager_tell(upstream->manager, HWS_EVENT_CLOSE, upstream->name, hws_peer_of(pool)->id,
                     hws_close_reason_name(why), idle_for, now);
    hws_upstream_release_slot(upstream);
}

static void on_setup_lost(hws_pool_owner_t *owner, void *setup, int code, hws_time_t now)
{
    hws_opening_t *opening = setup;

    (void)owner;
    opening->connection = NULL;
    hws_opening_setup_done(opening, code, NULL, now);
}

/* ---- the peers ---- */

/* Ends what is being opened to a peer that was removed; who waited for it waits for another. */
static void drop_openings(hws_peer_t *peer, hws_time_t now)
{
    hws_list_t *link;

    while ((link = hws_list_first(&peer->openings)) != NULL) {
        hws_opening_t *opening = HWS_CONTAINER(link, hws_opening_t, link);
        hws_list_t *call_link;

        while ((call_link = hws_list_first(&opening->calls)) != NULL) {
            hws_call_t *call = HWS_CONTAINER(call_link, hws_call_t, opening_link);

            hws_opening_leave(opening, call);
            hws_attempt_enter(hws_attempts_last(&call->attempts), HWS_PHASE_QUEUE, now);
            hws_call_clock(call, now);
        }
        hws_opening_cancel(opening, HWS_ERR_CLOSED, now);
    }
}

/* It finishes what it does and begins nothing more. */
static void retire_peer(hws_upstream_t *upstream, hws_peer_t *peer, hws_time_t now)
{
    hws_list_t *lists[] = {&peer->pool.ready, &peer->pool.others};
    hws_call_t *bound;
    size_t i;

    peer->pool.is_retired = true;
    hws_queue_forgive(&upstream->queue, peer);
    while ((bound = hws_lanes_first(&peer->bound)) != NULL)
        bound->ops->abort(bound, HWS_ERR_NO_PEER, now);
    for (i = 0; i < 2; i++) {
        hws_list_t *link = lists[i]->next;

        while (link != lists[i]) {
            hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

            link = link->next;
            hws_connection_drain(connection, HWS_CLOSE_SURPLUS, now);
        }
    }
    drop_openings(peer, now);
}

void hws_upstream_replace_peers(hws_upstream_t *upstream, hws_new_peers_t *fresh, hws_time_t now)
{
    hws_peer_set_replace(&upstream->peers, fresh, upstream, now);
    HWS_LIST_EACH(link, &upstream->peers.removed) {
        if (!peer_of(link)->pool.is_retired)
            retire_peer(upstream, peer_of(link), now);
    }
}

/* ---- life ---- */

static void tidy(hws_deferred_t *deferred);

static void go_on(hws_deferred_t *deferred)
{
    hws_upstream_t *upstream = HWS_CONTAINER(deferred, hws_upstream_t, asking);

    hws_dispatch_go_on(upstream, hws_loop_now(upstream->manager->loop));
}
static void drain_late(hws_timer_t *timer, hws_time_t now);

int hws_upstream_make(hws_manager_t *manager, const hws_upstream_options_t *options,
                      bool is_implicit, hws_upstream_t **out, hws_error_t *why)
{
    hws_upstream_t *upstream;
    hws_new_peers_t peers;
    hws_protocol_t protocol = options->protocol;
    int rc;

    if (manager->is_closed || manager->is_draining)
        return HWS_ERR_CLOSED;
    if (options->name.size == 0 || options->name.size > LONGEST_NAME)
        return hws_explain(why, HWS_ERR_INVALID, "name: 1 to %d bytes", LONGEST_NAME);
    if (hws_hash_find(&manager->names, options->name.data, options->name.size) != NULL)
        return hws_explain(why, HWS_ERR_INVALID, "name: \"%.*s\" is taken",
                           (int)(options->name.size < 60 ? options->name.size : 60),
                           options->name.data);
    if ((rc = hws_settings_check(options, why)) != HWS_OK ||
        (rc = hws_new_peers_make(options, &peers, &protocol, why)) != HWS_OK)
        return rc;
    if ((upstream = hws_zalloc(sizeof(*upstream))) == NULL) {
        rc = HWS_ERR_NOMEM;
        goto fail;
    }
    upstream->manager = manager;
    if ((rc = hws_settings_take(upstream, options, protocol, &peers.list, why)) != HWS_OK)
        goto fail;
    rc = HWS_ERR_NOMEM;
    if ((upstream->name = hws_alloc(options->name.size + 1)) == NULL)
        goto fail;
    memcpy(upstream->name, options->name.data, options->name.size);
    upstream->name[options->name.size] = '\0';
    rc = hws_hash_add(&manager->names, &upstream->by_name, upstream->name, options->name.size);
    if (rc != HWS_OK)
        goto fail;
    upstream->owner.pools = &manager->pools;
    upstream->owner.on_room = on_room;
    upstream->owner.on_closed = on_closed;
    upstream->owner.on_setup_lost = on_setup_lost;
    upstream->owner.rules.protocol = protocol;
    upstream->is_implicit = is_implicit;
    hws_peer_set_init(&upstream->peers);
    hws_list_init(&upstream->calls);
    hws_queue_init(&upstream->queue);
    hws_list_init(&upstream->starved_link);
    hws_deferred_init(&upstream->tidy, tidy);
    hws_deferred_init(&upstream->asking, go_on);
    hws_timer_init(&upstream->drain.timer, drain_late);
    hws_list_push_back(&manager->upstreams, &upstream->link);
    hws_settings_apply(upstream, options);
    hws_upstream_replace_peers(upstream, &peers, hws_loop_now(manager->loop));
    *out = upstream;
    return HWS_OK;

fail:
    hws_new_peers_dispose(&peers);
    if (upstream != NULL) {
        hws_settings_dispose(upstream);
        hws_free(upstream->name);
    }
    hws_free(upstream);
    return rc;
}

int hws_upstream_create(hws_manager_t *manager, const hws_upstream_options_t *options,
                        hws_upstream_t **out, hws_error_t *why)
{
    return hws_upstream_make(manager, options, false, out, why);
}

/* Every breaker has opened, or that of the one peer that is wanted: who waits without a dial of his
 * own would wait for nothing. */
static void dismiss_hopeless(hws_upstream_t *upstream, hws_time_t now)
{
    hws_call_t *call;

    HWS_LIST_EACH(link, &upstream->peers.list) {
        while ((call = hws_lanes_first_waiting(&peer_of(link)->bound)) != NULL &&
               !hws_peer_set_may_try(upstream, call, now))
            call->ops->abort(call, HWS_ERR_BREAKER_OPEN, now);
    }
    while ((call = hws_queue_first_waiting(&upstream->queue, NULL)) != NULL &&
           !hws_peer_set_may_try(upstream, call, now))
        call->ops->abort(call, HWS_ERR_BREAKER_OPEN, now);
}

static void close_openings(hws_list_t *peers, hws_time_t now)
{
    HWS_LIST_EACH(peer_link, peers) {
        hws_list_t *openings = &peer_of(peer_link)->openings;
        hws_list_t *link;

        while ((link = hws_list_first(openings)) != NULL)
            hws_opening_cancel(HWS_CONTAINER(link, hws_opening_t, link), HWS_ERR_CLOSED, now);
    }
}

static void close_peer(hws_peer_t *peer, hws_time_t now)
{
    hws_list_t *link;

    while ((link = hws_list_first(&peer->pool.ready)) != NULL ||
           (link = hws_list_first(&peer->pool.others)) != NULL)
        hws_connection_close(HWS_CONTAINER(link, hws_connection_t, link), HWS_CLOSE_SHUTDOWN,
                             HWS_ERR_CLOSED, now);
}

static void end_drain(hws_upstream_t *upstream, int status)
{
    hws_drain_over(&upstream->drain, upstream->manager, upstream->name, status);
}

void hws_upstream_cut(hws_upstream_t *upstream, hws_time_t now)
{
    hws_list_t *link;

    upstream->is_cutting = true;
    /* Each takes itself off the list. */
    while ((link = hws_list_first(&upstream->calls)) != NULL) {
        hws_call_t *call = HWS_CONTAINER(link, hws_call_t, link);

        call->ops->abort(call, HWS_ERR_CLOSED, now);
        assert(link != hws_list_first(&upstream->calls));
    }
    close_openings(&upstream->peers.list, now);
    close_openings(&upstream->peers.removed, now);
    upstream->is_cutting = false;
}

void hws_upstream_close(hws_upstream_t *upstream)
{
    hws_manager_t *manager = upstream->manager;
    hws_time_t now = hws_loop_now(manager->loop);

    if (upstream->is_closed)
        return;
    upstream->is_closed = true;
    hws_hash_remove(&manager->names, &upstream->by_name);
    hws_list_remove(&upstream->link);
    hws_list_push_back(&manager->closed, &upstream->link);
    hws_upstream_cut(upstream, now);
    HWS_LIST_EACH(link, &upstream->peers.list)
        close_peer(peer_of(link), now);
    HWS_LIST_EACH(link, &upstream->peers.removed)
        close_peer(peer_of(link), now);
    hws_list_remove(&upstream->starved_link);
    end_drain(upstream, HWS_OK);
    hws_upstream_tidy(upstream);
}

static void drain_late(hws_timer_t *timer, hws_time_t now)
{
    hws_upstream_t *upstream = HWS_CONTAINER(timer, hws_upstream_t, drain.timer);

    hws_upstream_cut(upstream, now);
    end_drain(upstream, HWS_ERR_TIMEOUT);
}

void hws_upstream_retire(hws_upstream_t *upstream, hws_time_t now)
{
    upstream->owner.is_draining = true;
    HWS_LIST_EACH(link, &upstream->peers.list) {
        hws_connection_t *oldest;

        while ((oldest = hws_pool_oldest_idle(&peer_of(link)->pool)) != NULL)
            hws_connection_close(oldest, HWS_CLOSE_SHUTDOWN, HWS_ERR_CLOSED, now);
    }
}

int hws_upstream_drain(hws_upstream_t *upstream, hws_time_t span,
                       void (*on_done)(void *user, int status), void *user)
{
    int rc;

    if (upstream->is_closed)
        return HWS_ERR_CLOSED;
    rc = hws_drain_begin(&upstream->drain, upstream->manager, upstream->name,
                         span != 0 ? span : upstream->owner.rules.timeouts.drain, on_done, user);
    if (rc != HWS_OK)
        return rc;
    hws_upstream_retire(upstream, hws_loop_now(upstream->manager->loop));
    hws_upstream_tidy(upstream);
    return HWS_OK;
}

void hws_upstream_tidy(hws_upstream_t *upstream)
{
    hws_loop_defer(upstream->manager->loop, &upstream->tidy);
}

void hws_upstream_bury(hws_peer_t *peer)
{
    hws_upstream_t *upstream = peer->upstream;

    hws_metrics_bequeath(peer->pool.metrics, &upstream->metrics,
                         hws_loop_now(upstream->manager->loop));
    peer->pool.metrics = NULL;
    if (upstream->script.gone != NULL)
        upstream->script.gone(upstream->script.user, peer);
    hws_peer_destroy(peer);
}

static void bury_all(hws_list_t *peers)
{
    hws_list_t *link;

    while ((link = hws_list_first(peers)) != NULL) {
        hws_list_remove(link);
        hws_upstream_bury(peer_of(link));
    }
}

static void free_upstream(hws_upstream_t *upstream)
{
    hws_manager_t *manager = upstream->manager;

    hws_stats_add(&manager->gone, &upstream->stats);
    bury_all(&upstream->peers.list);
    bury_all(&upstream->peers.removed);
    hws_metrics_bequeath(upstream->metrics, &manager->metrics, hws_loop_now(manager->loop));
    hws_list_remove(&upstream->link);
    hws_list_remove(&upstream->starved_link);
    hws_list_remove(&upstream->tidy.link);
    hws_list_remove(&upstream->asking.link);
    hws_peer_set_dispose(&upstream->peers);
    hws_settings_dispose(upstream);
    hws_free(upstream->name);
    hws_free(upstream);
    hws_manager_tidy(manager);
}

/* At rest: serves who waits, ends a drain, and frees what nothing needs any more. */
static void tidy(hws_deferred_t *deferred)
{
    hws_upstream_t *upstream = HWS_CONTAINER(deferred, hws_upstream_t, tidy);
    hws_time_t now;

    if (!hws_queue_is_empty(&upstream->queue)) {
        now = hws_loop_now(upstream->manager->loop);
        hws_dispatch_serve(upstream, now);
        dismiss_hopeless(upstream, now);
    }
    hws_peer_set_reap(&upstream->peers);
    if (!hws_list_is_empty(&upstream->calls))
        return;
    if (upstream->owner.connections > 0)
        return;
    if (upstream->owner.is_draining)
        end_drain(upstream, HWS_OK);
    if (upstream->holds > 0)
        return;
    if (upstream->is_implicit)
        hws_upstream_close(upstream);
    if (upstream->is_closed)
        free_upstream(upstream);
}

void hws_upstream_hold(hws_upstream_t *upstream)
{
    upstream->holds++;
}

void hws_upstream_unhold(hws_upstream_t *upstream)
{
    assert(upstream->holds > 0);
    if (--upstream->holds == 0 && (upstream->is_closed || upstream->is_implicit))
        hws_upstream_tidy(upstream);
}

/* ---- questions ---- */

bool hws_upstream_is_closed(const hws_upstream_t *upstream)
{
    return upstream->is_closed;
}

const char *hws_upstream_name(const hws_upstream_t *upstream)
{
    return upstream->name;
}

bool hws_upstream_is_raw(const hws_upstream_t *upstream)
{
    return hws_protocol_is_raw(upstream->owner.rules.protocol);
}

hws_manager_t *hws_upstream_manager(const hws_upstream_t *upstream)
{
    return upstream->manager;
}

size_t hws_upstream_peer_count(const hws_upstream_t *upstream)
{
    return upstream->peers.count;
}

void hws_upstream_check(const hws_upstream_t *upstream)
{
    uint32_t connections = 0;
    uint64_t closed = 0;
    uint32_t open = 0;
    size_t i;
    const hws_list_t *lists[] = {&upstream->peers.list, &upstream->peers.removed};

    for (i = 0; i < 2; i++) {
        HWS_LIST_EACH(link, lists[i]) {
            const hws_pool_t *pool = &peer_of(link)->pool;

            hws_pool_check(pool);
            connections += pool->open + pool->dialing;
            open += pool->open;
        }
    }
    hws_queue_check(&upstream->queue);
    hws_feedback_check(upstream);
    for (i = 0; i < HWS_CLOSE_COUNT; i++)
        closed += upstream->stats.closed[i];
    assert(connections == upstream->owner.connections);
    assert(upstream->stats.created - closed == open);
    (void)connections;
    (void)closed;
    (void)open;
}
