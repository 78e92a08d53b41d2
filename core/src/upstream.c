#include "upstream.h"

#include "dispatch.h"
#include "feedback.h"
#include "opening.h"
#include "protocol.h"

#include <hawser/operations.h>

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
    hws_manager_give_slot(upstream->manager);
    hws_upstream_tidy(upstream);
}

/* ---- what the pools tell ---- */

static hws_upstream_t *upstream_of(hws_pool_owner_t *owner)
{
    return HWS_CONTAINER(owner, hws_upstream_t, owner);
}

static void on_room(hws_pool_owner_t *owner, hws_time_t now)
{
    hws_upstream_t *upstream = upstream_of(owner);

    /* Who waits for a place without any connection to live on gets this one's; else an upstream
     * that never runs out of work would keep it for ever. */
    hws_manager_serve_poor(upstream->manager, &upstream->starved_link, now);
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

static void replace_peers(hws_upstream_t *upstream, hws_new_peers_t *fresh, hws_time_t now)
{
    hws_peer_set_replace(&upstream->peers, fresh, upstream, now);
    HWS_LIST_EACH(link, &upstream->peers.removed) {
        if (!peer_of(link)->pool.is_retired)
            retire_peer(upstream, peer_of(link), now);
    }
}

/* ---- TLS ---- */

static const hws_tls_options_t *effective_tls(const hws_upstream_t *upstream)
{
    return upstream->tls_options != NULL ? upstream->tls_options : upstream->manager->tls_options;
}

const char *hws_upstream_tls_name(const hws_upstream_t *upstream, const hws_peer_t *peer)
{
    const hws_tls_options_t *options = effective_tls(upstream);

    return options != NULL && options->server_name != NULL ? options->server_name : peer->host;
}

int hws_upstream_tls(hws_upstream_t *upstream, hws_tls_config_t **out, hws_error_t *why)
{
    if (upstream->tls == NULL)
        return hws_manager_share_tls(upstream->manager, upstream->owner.rules.protocol, out, why);
    hws_tls_config_hold(upstream->tls);
    *out = upstream->tls;
    return HWS_OK;
}

static bool has_secure(const hws_list_t *peers)
{
    HWS_LIST_EACH(link, peers) {
        if (peer_of(link)->is_secure)
            return true;
    }
    return false;
}

/* Options are looked at as soon as they are given; the defaults cost too much for who never needs
 * them. */
static int make_tls(hws_manager_t *manager, const hws_tls_options_t *given, hws_protocol_t protocol,
                    const hws_list_t *peers, hws_tls_options_t **options, hws_tls_config_t **config,
                    hws_error_t *why)
{
    int rc = HWS_OK;

    *options = NULL;
    *config = NULL;
    if (given == manager->tls_options)
        given = NULL;
    if (given != NULL && (*options = hws_tls_options_copy(given)) == NULL)
        return HWS_ERR_NOMEM;
    if (given != NULL)
        rc = hws_tls_config_for(*options, hws_protocol_alpn(protocol), config, why);
    else if (has_secure(peers))
        rc = hws_manager_share_tls(manager, protocol, config, why);
    if (rc != HWS_OK) {
        hws_free(*options);
        *options = NULL;
    }
    return rc;
}

static void drop_tls(hws_upstream_t *upstream)
{
    hws_free(upstream->tls_options);
    if (upstream->tls != NULL)
        hws_tls_config_release(upstream->tls);
}

/* What was verified under other options is used to its end, and not again. */
static void expire_secure(hws_upstream_t *upstream, hws_time_t now)
{
    HWS_LIST_EACH(peer_link, &upstream->peers.list) {
        hws_pool_t *pool = &peer_of(peer_link)->pool;

        if (!peer_of(peer_link)->is_secure)
            continue;
        HWS_LIST_EACH(link, &pool->ready) {
            HWS_CONTAINER(link, hws_connection_t, link)->expires_at = now;
        }
        HWS_LIST_EACH(link, &pool->others) {
            HWS_CONTAINER(link, hws_connection_t, link)->expires_at = now;
        }
        HWS_LIST_EACH(link, &peer_of(peer_link)->openings) {
            hws_opening_t *opening = HWS_CONTAINER(link, hws_opening_t, link);

            opening->is_outdated |= opening->phase == HWS_PHASE_TLS;
        }
    }
}

/* For an update; the options that it has are those that hws_upstream_settings() gave. */
static int renew_tls(hws_upstream_t *upstream, const hws_tls_options_t *given,
                     const hws_list_t *peers, hws_error_t *why)
{
    hws_tls_options_t *options;
    hws_tls_config_t *config;
    int rc;

    if (given == effective_tls(upstream) && (upstream->tls != NULL || !has_secure(peers)))
        return HWS_OK;
    rc = make_tls(upstream->manager, given, upstream->owner.rules.protocol, peers, &options,
                  &config, why);
    if (rc != HWS_OK)
        return rc;
    drop_tls(upstream);
    upstream->tls_options = options;
    upstream->tls = config;
    expire_secure(upstream, hws_loop_now(upstream->manager->loop));
    return HWS_OK;
}

/* ---- life ---- */

static void tidy(hws_deferred_t *deferred);
static void drain_late(hws_timer_t *timer, hws_time_t now);

void hws_upstream_options_init(hws_upstream_options_t *options, const hws_manager_t *manager)
{
    *options = (hws_upstream_options_t){.limits = manager->limits,
                                        .timeouts = manager->timeouts,
                                        .reuse = manager->reuse,
                                        .balancer = HWS_BALANCER_LEAST_REQUEST,
                                        .breaker = manager->breaker,
                                        .retry = manager->retry,
                                        .h2 = hws_h2_defaults(),
                                        .tls = manager->tls_options,
                                        .dns = manager->dns_options};
}

static void keep_nothing(void *data)
{
    (void)data;
}

static hws_timeouts_t bounded(const hws_timeouts_t *timeouts)
{
    return (hws_timeouts_t){.resolve = hws_span_bounded(timeouts->resolve),
                            .connect = hws_span_bounded(timeouts->connect),
                            .tls = hws_span_bounded(timeouts->tls),
                            .queue = hws_span_bounded(timeouts->queue),
                            .request = hws_span_bounded(timeouts->request),
                            .attempt = hws_span_bounded(timeouts->attempt),
                            .read = hws_span_bounded(timeouts->read),
                            .idle = hws_span_bounded(timeouts->idle),
                            .lifetime = hws_span_bounded(timeouts->lifetime),
                            .drain = hws_span_bounded(timeouts->drain)};
}

static void apply(hws_upstream_t *upstream, const hws_upstream_options_t *options)
{
    upstream->owner.rules.limits = options->limits;
    upstream->owner.rules.timeouts = bounded(&options->timeouts);
    upstream->owner.rules.reuse = options->reuse;
    upstream->owner.rules.h2 = options->h2;
    upstream->owner.rules.h2.ping_idle = hws_span_bounded(options->h2.ping_idle);
    upstream->owner.rules.h2.ping_timeout = hws_span_bounded(options->h2.ping_timeout);
    upstream->balancer = options->balancer;
    upstream->breaker = options->breaker;
    upstream->retry = options->retry;
    upstream->setup = options->setup;
    upstream->setup_user = options->setup_user;
    upstream->owner.rules.free_data =
        options->free_data != NULL ? options->free_data : keep_nothing;
}

/* ---- names ---- */

/* Openings that use it hold it. */
static void drop_lookup(hws_upstream_t *upstream)
{
    hws_lookup_release(upstream->lookup);
    hws_free(upstream->dns_options);
}

static const hws_dns_options_t *effective_dns(const hws_upstream_t *upstream)
{
    return upstream->dns_options != NULL ? upstream->dns_options : upstream->manager->dns_options;
}

/* No options (NULL) when they are not given, or are those that it has, `current`; and then no look-up
 * unless that in use was made for a shorter `span` than is waited now. Who sets no limit leaves it to
 * the look-up. */
static int make_lookup(hws_manager_t *manager, const hws_upstream_options_t *options,
                       const hws_dns_options_t *current, hws_time_t span, hws_dns_options_t **copy,
                       hws_lookup_t **out, hws_error_t *why)
{
    hws_time_t wanted = options->timeouts.resolve;
    hws_dns_options_t *checked;
    int rc;

    *copy = NULL;
    *out = NULL;
    if (options->dns == NULL || options->dns == current)
        return wanted <= span || wanted == HWS_NEVER
                   ? HWS_OK
                   : hws_lookup_create(manager->loop, current, wanted, out);
    if ((rc = hws_dns_options_copy(options->dns, &checked, why)) != HWS_OK)
        return rc;
    rc = hws_lookup_create(manager->loop, checked, wanted, out);
    if (rc != HWS_OK)
        hws_free(checked);
    else
        *copy = checked;
    return rc;
}

static hws_time_t lookup_span(const hws_upstream_t *upstream)
{
    return upstream->lookup != NULL ? upstream->lookup->span : upstream->manager->timeouts.resolve;
}

/* `options` may be NULL: those stay. */
static void change_lookup(hws_upstream_t *upstream, hws_dns_options_t *options,
                          hws_lookup_t *lookup)
{
    hws_lookup_release(upstream->lookup);
    upstream->lookup = lookup;
    if (options == NULL)
        return;
    hws_free(upstream->dns_options);
    upstream->dns_options = options;
}

int hws_upstream_lookup(hws_upstream_t *upstream, hws_lookup_t **out)
{
    int rc = HWS_OK;

    *out = upstream->lookup;
    if (*out == NULL)
        rc = hws_manager_lookup(upstream->manager, out);
    if (rc == HWS_OK)
        hws_lookup_hold(*out);
    return rc;
}

static int check(const hws_upstream_options_t *options, hws_error_t *why)
{
    int rc;

    if ((rc = hws_limits_check(&options->limits, why)) != HWS_OK ||
        (rc = hws_timeouts_check(&options->timeouts, why)) != HWS_OK ||
        (rc = hws_breaker_options_check(&options->breaker, why)) != HWS_OK ||
        (rc = hws_retry_options_check(&options->retry, why)) != HWS_OK ||
        (rc = hws_h2_options_check(&options->h2, why)) != HWS_OK)
        return rc;
    return HWS_OK;
}

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
    if ((rc = check(options, why)) != HWS_OK ||
        (rc = hws_new_peers_make(options, &peers, &protocol, why)) != HWS_OK)
        return rc;
    if ((upstream = hws_zalloc(sizeof(*upstream))) == NULL) {
        rc = HWS_ERR_NOMEM;
        goto fail;
    }
    rc = make_tls(manager, options->tls, protocol, &peers.list, &upstream->tls_options,
                  &upstream->tls, why);
    if (rc != HWS_OK ||
        (rc = make_lookup(manager, options, manager->dns_options, manager->timeouts.resolve,
                          &upstream->dns_options, &upstream->lookup, why)) != HWS_OK)
        goto fail;
    rc = HWS_ERR_NOMEM;
    if ((upstream->name = hws_alloc(options->name.size + 1)) == NULL)
        goto fail;
    memcpy(upstream->name, options->name.data, options->name.size);
    upstream->name[options->name.size] = '\0';
    rc = hws_hash_add(&manager->names, &upstream->by_name, upstream->name, options->name.size);
    if (rc != HWS_OK)
        goto fail;
    upstream->manager = manager;
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
    hws_timer_init(&upstream->drain.timer, drain_late);
    hws_list_push_back(&manager->upstreams, &upstream->link);
    apply(upstream, options);
    replace_peers(upstream, &peers, hws_loop_now(manager->loop));
    *out = upstream;
    return HWS_OK;

fail:
    hws_new_peers_dispose(&peers);
    if (upstream != NULL) {
        drop_tls(upstream);
        drop_lookup(upstream);
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

/* Closes what is idle beyond the limits; what is in use goes when it is handed back. */
static void trim(hws_upstream_t *upstream, hws_time_t now)
{
    const hws_limits_t *limits = &upstream->owner.rules.limits;
    hws_connection_t *oldest;

    HWS_LIST_EACH(link, &upstream->peers.list) {
        hws_pool_t *pool = &peer_of(link)->pool;

        while (pool->open + pool->dialing > limits->per_peer &&
               (oldest = hws_pool_oldest_idle(pool)) != NULL)
            hws_connection_close(oldest, HWS_CLOSE_SURPLUS, HWS_ERR_CLOSED, now);
    }
    while (upstream->owner.connections > limits->connections &&
           (oldest = hws_peer_set_oldest_idle(&upstream->peers)) != NULL)
        hws_connection_close(oldest, HWS_CLOSE_SURPLUS, HWS_ERR_CLOSED, now);
}

void hws_upstream_set_limits(hws_upstream_t *upstream, const hws_limits_t *limits, hws_time_t now)
{
    upstream->owner.rules.limits = *limits;
    trim(upstream, now);
    hws_dispatch_serve(upstream, now);
}

/* Nobody is left whom they could wait for. */
static void dismiss_queue(hws_upstream_t *upstream, hws_time_t now)
{
    hws_call_t *call;

    while ((call = hws_queue_first(&upstream->queue)) != NULL)
        call->ops->abort(call, HWS_ERR_NO_PEER, now);
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

int hws_upstream_update(hws_upstream_t *upstream, const hws_upstream_options_t *options,
                        hws_error_t *why)
{
    hws_time_t now = hws_loop_now(upstream->manager->loop);
    hws_upstream_options_t of_same_protocol = *options;
    hws_dns_options_t *dns_options;
    hws_lookup_t *lookup;
    hws_new_peers_t peers;
    int rc;

    if (upstream->is_closed)
        return HWS_ERR_CLOSED;
    of_same_protocol.protocol = upstream->owner.rules.protocol;
    if ((rc = check(options, why)) != HWS_OK ||
        (rc = hws_new_peers_make(&of_same_protocol, &peers, &of_same_protocol.protocol, why)) !=
            HWS_OK)
        return rc;
    if ((rc = make_lookup(upstream->manager, options, effective_dns(upstream),
                          lookup_span(upstream), &dns_options, &lookup, why)) != HWS_OK ||
        (rc = renew_tls(upstream, options->tls, &peers.list, why)) != HWS_OK) {
        hws_lookup_release(lookup);
        hws_free(dns_options);
        hws_new_peers_dispose(&peers);
        return rc;
    }
    if (lookup != NULL)
        change_lookup(upstream, dns_options, lookup);
    apply(upstream, options);
    if (options->peers != NULL)
        replace_peers(upstream, &peers, now);
    else
        hws_new_peers_dispose(&peers);
    if (upstream->peers.count == 0)
        dismiss_queue(upstream, now);
    HWS_LIST_EACH(peer_link, &upstream->peers.list) {
        hws_list_t *ready = &peer_of(peer_link)->pool.ready;
        hws_list_t *link = ready->next;

        if (upstream->breaker.is_disabled)
            hws_feedback_switch_off(peer_of(peer_link), now);
        while (link != ready) {
            hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

            link = link->next;
            hws_connection_reconsider(connection, now);
        }
    }
    trim(upstream, now);
    hws_dispatch_serve(upstream, now);
    hws_upstream_tidy(upstream);
    return HWS_OK;
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
    hws_peer_set_dispose(&upstream->peers);
    drop_tls(upstream);
    drop_lookup(upstream);
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

static void add_gauges(const hws_list_t *peers, hws_stats_t *out)
{
    HWS_LIST_EACH(link, peers) {
        const hws_pool_t *pool = &peer_of(link)->pool;

        out->open += pool->open;
        out->idle += pool->idle;
        out->dialing += pool->dialing;
    }
}

void hws_upstream_stats(const hws_upstream_t *upstream, hws_stats_t *out)
{
    *out = upstream->stats;
    add_gauges(&upstream->peers.list, out);
    add_gauges(&upstream->peers.removed, out);
    out->busy = out->open - out->idle;
    out->queued = upstream->queue.waiting;
}

void hws_upstream_settings(const hws_upstream_t *upstream, hws_upstream_options_t *out)
{
    *out = (hws_upstream_options_t){.protocol = upstream->owner.rules.protocol,
                                    .limits = upstream->owner.rules.limits,
                                    .timeouts = upstream->owner.rules.timeouts,
                                    .reuse = upstream->owner.rules.reuse,
                                    .balancer = upstream->balancer,
                                    .breaker = upstream->breaker,
                                    .retry = upstream->retry,
                                    .h2 = upstream->owner.rules.h2,
                                    .tls = effective_tls(upstream),
                                    .dns = effective_dns(upstream),
                                    .setup = upstream->setup,
                                    .setup_user = upstream->setup_user,
                                    .free_data = upstream->owner.rules.free_data};
}

size_t hws_upstream_peer_count(const hws_upstream_t *upstream)
{
    return upstream->peers.count;
}

static hws_peer_t *peer_at(const hws_upstream_t *upstream, size_t index)
{
    hws_list_t *link = upstream->peers.list.next;

    assert(index < upstream->peers.count);
    while (index-- > 0)
        link = link->next;
    return peer_of(link);
}

void hws_upstream_peer(const hws_upstream_t *upstream, size_t index, hws_peer_view_t *out)
{
    hws_peer_view(peer_at(upstream, index), out);
}

/* ---- metrics ---- */

static void add_metrics(const hws_list_t *peers, hws_metrics_t *sum, hws_time_t now)
{
    HWS_LIST_EACH(link, peers) {
        hws_metrics_t *metrics = peer_of(link)->pool.metrics;

        if (metrics != NULL)
            hws_metrics_merge(sum, metrics, now);
    }
}

void hws_upstream_measure(const hws_upstream_t *upstream, hws_metrics_t *sum, hws_time_t now)
{
    add_metrics(&upstream->peers.list, sum, now);
    add_metrics(&upstream->peers.removed, sum, now);
    if (upstream->metrics != NULL)
        hws_metrics_merge(sum, upstream->metrics, now);
}

void hws_upstream_metrics(const hws_upstream_t *upstream, hws_metrics_snapshot_t *out)
{
    hws_time_t now = hws_loop_now(upstream->manager->loop);
    hws_budget_t budget = upstream->budget; /* which moves on when it is asked */
    hws_metrics_t *sum = NULL;

    *out = (hws_metrics_snapshot_t){.queue_limit = upstream->owner.rules.limits.pending};
    hws_upstream_stats(upstream, &out->stats);
    out->budget_left = hws_budget_left(&budget, &upstream->retry.budget, now);
    HWS_LIST_EACH(link, &upstream->peers.list)
        out->breakers[hws_breaker_state(&peer_of(link)->breaker, &upstream->breaker, now)]++;
    if (upstream->manager->is_measuring)
        sum = hws_metrics_create(upstream->manager->since);
    if (sum == NULL)
        return;
    hws_upstream_measure(upstream, sum, now);
    hws_metrics_read(sum, now, &out->traffic);
    hws_metrics_destroy(sum);
}

void hws_upstream_traffic(const hws_upstream_t *upstream, size_t index, hws_traffic_t *out)
{
    hws_metrics_t *metrics = peer_at(upstream, index)->pool.metrics;

    *out = (hws_traffic_t){.exchanges = {.total = 0}};
    if (metrics != NULL)
        hws_metrics_read(metrics, hws_loop_now(upstream->manager->loop), out);
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
