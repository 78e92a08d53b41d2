/* manager.h - the facade: finds the upstream, holds the caps of all. */
#ifndef HWS_MANAGER_H
#define HWS_MANAGER_H

#include "base/error.h"
#include "base/hash.h"
#include "drain.h"
#include "events.h"
#include "io/loop.h"
#include "names.h"
#include "pool/pool.h"
#include "slots.h"
#include "transport/sessions.h"
#include "transport/tunnel.h"

#include <hawser/upstream.h>

struct hws_manager {
    hws_loop_t *loop;
    hws_pools_t pools;   /* what the pools of all upstreams share */
    hws_slab_t requests; /* hws_request_t */
    hws_slab_t duplexes; /* the same without the stores at its end, of streams that go both ways */
    hws_slab_t leases;   /* hws_lease_t */
    hws_slab_t openings; /* hws_opening_t */
    hws_hash_t streams;  /* hws_request_t with an id */
    uint64_t stream_ids; /* the last one */
    hws_hash_t names;
    hws_list_t upstreams;
    hws_list_t closed;      /* upstreams that only wait to be freed */
    hws_list_t starved;     /* upstreams that wait for a slot, served round robin */
    const hws_list_t *turn; /* the link of the one being served; NULL */
    uint32_t connections;   /* open and dialling, the hard cap's count */
    uint32_t max_connections;
    uint32_t file_cap;      /* what the descriptors were found to allow, UINT32_MAX: unknown */
    hws_timer_t file_timer; /* when to try more again */
    hws_limits_t limits;
    hws_timeouts_t timeouts;
    hws_reuse_t reuse;
    hws_breaker_options_t breaker;
    hws_retry_options_t retry;
    hws_tls_options_t *tls_options;            /* NULL: the defaults */
    hws_tls_config_t *tls[HWS_PROTOCOL_COUNT]; /* made of them for each, when first needed */
    hws_dns_options_t *dns_options;            /* NULL: the defaults */
    hws_lookup_t *lookup;                      /* NULL while no name was looked up */
    hws_tunnels_t tunnels;
    hws_sessions_t sessions;
    uint32_t in_flight; /* calls that are not over */
    uint32_t peak;      /* the most of them since the last trim */
    hws_timer_t trim_timer;
    hws_deferred_t serve; /* a slot came free */
    hws_deferred_t tidy;
    hws_deferred_t tell; /* events wait */
    hws_list_t events;   /* event_t */
    uint32_t event_count;
    uint32_t listening;
    void (*on_event)(void *user, const hws_event_t *event);
    void (*on_trim)(void *user);
    void *user;
    bool is_closed;
    bool is_draining;
    bool is_destroyed; /* goes with its last upstream */
    hws_drain_t drain;
    hws_stats_t gone;       /* counters of upstreams that were freed */
    hws_metrics_t *metrics; /* likewise; or NULL */
    hws_time_t since;       /* when its seconds began */
    bool is_measuring;
};

void hws_manager_call_begins(hws_manager_t *manager);
void hws_manager_call_ends(hws_manager_t *manager);
/* An upstream has gone, or a drain may be over: looks at the next rest. */
void hws_manager_tidy(hws_manager_t *manager);
/* A call is over, or a connection. */
void hws_manager_note_end(hws_manager_t *manager);
/* Its own configuration of TLS, made when first needed; held for the caller. It outlives upstreams:
 * those made behind the scenes come and go, and what can be resumed is kept by configuration. */
int hws_manager_share_tls(hws_manager_t *manager, hws_protocol_t protocol, hws_tls_config_t **out,
                          hws_error_t *why);

/* Who looks names up, made when first needed; HWS_ERR_NOMEM, HWS_ERR_DNS. */
int hws_manager_lookup(hws_manager_t *manager, hws_lookup_t **out);

#endif
