/* upstream.h - the peers behind one name and the one queue before them: its life, from the first
 * options to the last connection.
 *
 * Who the peers are stands in peer_set.h, who waits in queue.h, and how the two come together in
 * dispatch.h. */
#ifndef HWS_UPSTREAM_H
#define HWS_UPSTREAM_H

#include "base/hash.h"
#include "call.h"
#include "manager.h"
#include "peer_set.h"
#include "queue.h"
#include "transport/tls.h"

#include <hawser/script.h>

struct hws_upstream {
    hws_pool_owner_t owner; /* the pools' view of it, with limits and timeouts */
    hws_manager_t *manager;
    hws_list_t link;         /* in manager->upstreams, or manager->closed */
    hws_list_t starved_link; /* in manager->starved: waits for a slot of the manager */
    hws_hash_link_t by_name;
    char *name;
    hws_peer_set_t peers;
    hws_list_t calls; /* not over */
    hws_queue_t queue;
    uint32_t holds; /* by handles */
    bool is_implicit;
    bool is_closed;
    bool is_cutting; /* calls are being ended: nothing is begun for those still there */
    hws_tls_options_t *tls_options; /* its own; NULL: the manager's */
    hws_tls_config_t *tls;          /* NULL while nothing has needed one */
    hws_tls_config_t *tls_http1;    /* the same but for what is offered by ALPN, or NULL */
    hws_dns_options_t *dns_options; /* its own; NULL: the manager's */
    hws_lookup_t *lookup;           /* made of these, or more patient; NULL: the manager's */
    void (*setup)(hws_lease_t *lease, void *user);
    void *setup_user;
    hws_balancer_t balancer;
    hws_script_t script;
    hws_peer_t *fresh; /* has a new connection, for whoever waits first; NULL */
    hws_peer_t *freed; /* the only one who may have room for those who wait; NULL */
    hws_breaker_options_t breaker;
    hws_retry_options_t retry;
    hws_budget_t budget; /* of retries */
    hws_stats_t stats;   /* the counters; gauges are filled in when asked */
    hws_metrics_t
        *metrics; /* of attempts that came to no peer, and of peers that are gone; or NULL */
    hws_drain_t drain;
    hws_deferred_t tidy;
    hws_deferred_t asking; /* a script, about those who wait */
};

/* Who looks its names up, held for the caller. HWS_ERR_NOMEM, HWS_ERR_DNS. */
int hws_upstream_lookup(hws_upstream_t *upstream, hws_lookup_t **out);
/* What encrypts to `peer`, made when first needed; held for the caller. HWS_ERR_TLS_OPTIONS,
 * HWS_ERR_NOMEM. */
int hws_upstream_tls(hws_upstream_t *upstream, const hws_peer_t *peer, hws_tls_config_t **out,
                     hws_error_t *why);
/* Whether its user says what is offered by ALPN. */
bool hws_upstream_has_alpn(const hws_upstream_t *upstream);
/* Whom the certificate of `peer` must name. */
const char *hws_upstream_tls_name(const hws_upstream_t *upstream, const hws_peer_t *peer);

int hws_upstream_make(hws_manager_t *manager, const hws_upstream_options_t *options,
                      bool is_implicit, hws_upstream_t **out, hws_error_t *why);
/* From now on nothing new begins, idle connections go, and others when they are handed back. */
void hws_upstream_retire(hws_upstream_t *upstream, hws_time_t now);
/* Ends every call, and every dial, with HWS_ERR_CLOSED. */
void hws_upstream_cut(hws_upstream_t *upstream, hws_time_t now);
/* A connection or dial is gone: its place under the caps is free. */
void hws_upstream_release_slot(hws_upstream_t *upstream);
/* Destroys one of its peers, whose metrics it keeps. */
void hws_upstream_bury(hws_peer_t *peer);
/* What is over them closes when it is idle. */
void hws_upstream_set_limits(hws_upstream_t *upstream, const hws_limits_t *limits, hws_time_t now);
/* Those that are left out retire. Takes `fresh` over. */
void hws_upstream_replace_peers(hws_upstream_t *upstream, hws_new_peers_t *fresh, hws_time_t now);
/* Adds all that was measured of it. */
void hws_upstream_measure(const hws_upstream_t *upstream, hws_metrics_t *sum, hws_time_t now);
/* Something that keeps it busy or alive has gone: looks again at the next rest. */
void hws_upstream_tidy(hws_upstream_t *upstream);
void hws_upstream_check(const hws_upstream_t *upstream);

#endif
