/* manager.h - the facade: finds the upstream, holds the caps of all. */
#ifndef HWS_MANAGER_H
#define HWS_MANAGER_H

#include "base/error.h"
#include "base/hash.h"
#include "io/loop.h"
#include "names.h"
#include "pool/pool.h"
#include "transport/sessions.h"
#include "transport/tunnel.h"

#include <hawser/upstream.h>

/* A drain under way, of a manager or an upstream. */
typedef struct {
    hws_timer_t timer; /* cuts off what is left */
    void *ending;      /* whom to tell; NULL while there is no drain */
} hws_drain_t;

struct hws_manager {
    hws_loop_t *loop;
    hws_pools_t pools;   /* what the pools of all upstreams share */
    hws_slab_t requests; /* hws_request_t */
    hws_slab_t leases;   /* hws_lease_t */
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

/* Whether nobody waits for a place who comes before the upstream of `starved_link`. */
bool hws_manager_is_turn_of(hws_manager_t *manager, const hws_list_t *starved_link);
/* A place for one more connection, after closing an idle one if need be. Else, and while others
 * wait whose turn comes first, the upstream of `starved_link` queues up for one. */
bool hws_manager_take_slot(hws_manager_t *manager, hws_list_t *starved_link, hws_time_t now);
void hws_manager_queue_up(hws_manager_t *manager, hws_list_t *starved_link);
/* A place is free, or can be made: who waits is served at the next rest. */
void hws_manager_note_room(hws_manager_t *manager);
/* Serves at once whoever comes first, if it is not the upstream of `starved_link` and has no
 * connection at all. */
void hws_manager_serve_poor(hws_manager_t *manager, const hws_list_t *starved_link, hws_time_t now);
void hws_manager_give_slot(hws_manager_t *manager);
/* As the option max_connections. Idle ones beyond it close now, others when they are handed back. */
int hws_manager_set_max(hws_manager_t *manager, uint32_t max_connections, hws_error_t *why,
                        hws_time_t now);
/* The system has no descriptor left: fewer connections for a while. True when waiting helps. */
bool hws_manager_out_of_files(hws_manager_t *manager, hws_time_t now);
/* Tells an event if anybody listens. */
void hws_manager_tell(hws_manager_t *manager, hws_event_type_t type, const char *upstream,
                      const char *peer, const char *reason, hws_time_t age, hws_time_t now);
/* HWS_EVENT_RETRY: the `attempt`-th has failed. */
void hws_manager_tell_retry(hws_manager_t *manager, const char *upstream, const char *peer,
                            const char *reason, uint32_t attempt, hws_time_t delay, hws_time_t now);
/* HWS_EVENT_CONNECT. */
void hws_manager_tell_connect(hws_manager_t *manager, const char *upstream, const char *peer,
                              bool is_resumed, hws_time_t now);
void hws_manager_call_begins(hws_manager_t *manager);
void hws_manager_call_ends(hws_manager_t *manager);
/* An upstream has gone, or a drain may be over: looks at the next rest. */
void hws_manager_tidy(hws_manager_t *manager);
int hws_drain_begin(hws_drain_t *drain, hws_manager_t *manager, const char *name, hws_time_t span,
                    void (*on_done)(void *user, int status), void *user);
/* Ends a drain: its on_done is called at the next rest. Harmless when there is none. */
void hws_drain_over(hws_drain_t *drain, hws_manager_t *manager, const char *name, int status);

/* The upstream of `origin`, which has none yet; it goes when nobody uses it. */
int hws_manager_make_origin(hws_manager_t *manager, hws_slice_t origin, hws_upstream_t **out,
                            hws_error_t *why);

/* Its own configuration of TLS, made when first needed; held for the caller. It outlives upstreams:
 * those made behind the scenes come and go, and what can be resumed is kept by configuration. */
int hws_manager_share_tls(hws_manager_t *manager, hws_protocol_t protocol, hws_tls_config_t **out,
                          hws_error_t *why);

/* Who looks names up, made when first needed; HWS_ERR_NOMEM, HWS_ERR_DNS. */
int hws_manager_lookup(hws_manager_t *manager, hws_lookup_t **out);

/* Adds gauges and counters up; queue_max is the greater. */
void hws_stats_add(hws_stats_t *sum, const hws_stats_t *stats);
/* HWS_ERR_INVALID with `why->detail` for what is out of range. */
int hws_limits_check(const hws_limits_t *limits, hws_error_t *why);
int hws_timeouts_check(const hws_timeouts_t *timeouts, hws_error_t *why);
/* The span, or HWS_NEVER when it is so long that adding it to the clock might overflow. */
static inline hws_time_t hws_span_bounded(hws_time_t span)
{
    return span < HWS_NEVER / 4 ? span : HWS_NEVER;
}

#endif
