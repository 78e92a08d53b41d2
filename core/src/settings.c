#include "settings.h"

#include "base/memory.h"
#include "bounds.h"
#include "dispatch.h"
#include "feedback.h"
#include "opening.h"
#include "peer.h"
#include "pool/connection.h"
#include "protocol.h"

static hws_peer_t *peer_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_peer_t, link);
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

bool hws_upstream_has_alpn(const hws_upstream_t *upstream)
{
    const hws_tls_options_t *options = effective_tls(upstream);

    return options != NULL && options->alpn != NULL;
}

/* For a peer that turned down what the others are offered. */
static int tls_for_http1(hws_upstream_t *upstream, hws_tls_config_t **out, hws_error_t *why)
{
    int rc = HWS_OK;

    if (upstream->tls_options == NULL)
        return hws_manager_share_tls(upstream->manager, HWS_PROTOCOL_HTTP1, out, why);
    if (upstream->tls_http1 == NULL)
        rc = hws_tls_config_for(upstream->tls_options, hws_protocol_alpn(HWS_PROTOCOL_HTTP1),
                                &upstream->tls_http1, why);
    if (rc != HWS_OK)
        return rc;
    hws_tls_config_hold(upstream->tls_http1);
    *out = upstream->tls_http1;
    return HWS_OK;
}

int hws_upstream_tls(hws_upstream_t *upstream, const hws_peer_t *peer, hws_tls_config_t **out,
                     hws_error_t *why)
{
    hws_protocol_t wanted = upstream->owner.rules.protocol;

    if (wanted == HWS_PROTOCOL_AUTO && peer->protocol == HWS_PROTOCOL_HTTP1)
        return tls_for_http1(upstream, out, why);
    if (upstream->tls == NULL)
        return hws_manager_share_tls(upstream->manager, wanted, out, why);
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
    if (upstream->tls_http1 != NULL)
        hws_tls_config_release(upstream->tls_http1);
    upstream->tls_http1 = NULL;
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

/* ---- all of them ---- */

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

int hws_settings_check(const hws_upstream_options_t *options, hws_error_t *why)
{
    int rc;

    if ((rc = hws_limits_check(&options->limits, why)) != HWS_OK ||
        (rc = hws_timeouts_check(&options->timeouts, why)) != HWS_OK ||
        (rc = hws_breaker_options_check(&options->breaker, why)) != HWS_OK ||
        (rc = hws_retry_options_check(&options->retry, why)) != HWS_OK ||
        (rc = hws_h2_options_check(&options->h2, why)) != HWS_OK)
        return rc;
    if (options->setup != NULL && options->protocol == HWS_PROTOCOL_YAMUX)
        return hws_explain(why, HWS_ERR_INVALID, "setup: raw only, where connections are leased");
    return HWS_OK;
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

void hws_settings_apply(hws_upstream_t *upstream, const hws_upstream_options_t *options)
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

int hws_settings_take(hws_upstream_t *upstream, const hws_upstream_options_t *options,
                      hws_protocol_t protocol, const hws_list_t *peers, hws_error_t *why)
{
    hws_manager_t *manager = upstream->manager;
    int rc = make_tls(manager, options->tls, protocol, peers, &upstream->tls_options,
                      &upstream->tls, why);

    if (rc != HWS_OK)
        return rc;
    return make_lookup(manager, options, manager->dns_options, manager->timeouts.resolve,
                       &upstream->dns_options, &upstream->lookup, why);
}

void hws_settings_dispose(hws_upstream_t *upstream)
{
    drop_tls(upstream);
    drop_lookup(upstream);
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

/* ---- changing them ---- */

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

/* They change places as they look. */
static void reconsider(hws_list_t *connections, hws_time_t now)
{
    hws_list_t *link = connections->next;

    while (link != connections) {
        hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        link = link->next;
        hws_connection_reconsider(connection, now);
    }
}

/* Limits or timeouts have changed for the connections that there are. */
static void reconsider_all(hws_upstream_t *upstream, hws_time_t now)
{
    HWS_LIST_EACH(link, &upstream->peers.list) {
        reconsider(&peer_of(link)->pool.ready, now);
        reconsider(&peer_of(link)->pool.others, now);
    }
}

void hws_upstream_set_limits(hws_upstream_t *upstream, const hws_limits_t *limits, hws_time_t now)
{
    upstream->owner.rules.limits = *limits;
    reconsider_all(upstream, now);
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
    if ((rc = hws_settings_check(options, why)) != HWS_OK ||
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
    hws_settings_apply(upstream, options);
    if (options->peers != NULL)
        hws_upstream_replace_peers(upstream, &peers, now);
    else
        hws_new_peers_dispose(&peers);
    if (upstream->peers.count == 0)
        dismiss_queue(upstream, now);
    if (upstream->breaker.is_disabled) {
        HWS_LIST_EACH(link, &upstream->peers.list)
            hws_feedback_switch_off(peer_of(link), now);
    }
    reconsider_all(upstream, now);
    trim(upstream, now);
    hws_dispatch_serve(upstream, now);
    hws_upstream_tidy(upstream);
    return HWS_OK;
}
