/* metrics.h - what the core has measured. A snapshot costs whoever asks for it, and nobody else.
 *
 * Gauges and counters are hws_stats_t and always there. What this adds is gathered unless the
 * manager's option `metrics` says no; then it is all zeros. */
#ifndef HAWSER_METRICS_H
#define HAWSER_METRICS_H

#include <hawser/upstream.h>

/* Spans of which there were `count`. All is 0 while there was none. */
typedef struct {
    uint64_t count;
    hws_time_t average;
    hws_time_t peak;
    hws_time_t p50; /* these to 1 % */
    hws_time_t p95;
    hws_time_t p99;
} hws_latency_t;

/* X(symbol, seconds): over how many whole seconds a rate is the mean. */
#define HWS_RATE_LIST(X)                                                                           \
    X(1S, 1)                                                                                       \
    X(10S, 10)                                                                                     \
    X(60S, 60)

#define HWS_RATE_ENUM(symbol, seconds) HWS_RATE_##symbol,
typedef enum { HWS_RATE_LIST(HWS_RATE_ENUM) HWS_RATE_COUNT } hws_rate_span_t;
#undef HWS_RATE_ENUM

typedef struct {
    uint64_t total;
    double per_second[HWS_RATE_COUNT];
} hws_flow_t;

/* What went to and fro, and how long it took. */
typedef struct {
    /* Of each attempt of a request, the phases that it came to, its last one included, however it
     * ended; of an acquisition those up to tls. The body of a streamed response is left out: how
     * long that takes is its reader's doing. */
    hws_latency_t phases[HWS_PHASE_COUNT];
    /* Of responses that were read whole and do not count against their peer, from sending on. */
    hws_latency_t total;
    hws_flow_t exchanges; /* begun on a connection: attempts of requests, and leases */
    hws_flow_t bytes_in;  /* without what TLS adds */
    hws_flow_t bytes_out; /* likewise; accepted for sending */
} hws_traffic_t;

typedef struct {
    hws_stats_t stats; /* pool, queue, retries, breakers */
    hws_traffic_t traffic;
    uint32_t queue_limit; /* limits.pending; a manager's: of all its upstreams together */
    /* Retries that would be granted now, UINT32_MAX where there is no bound; likewise. */
    uint32_t budget_left;
    uint32_t breakers[HWS_BREAKER_COUNT]; /* peers by the state of their breakers */
} hws_metrics_snapshot_t;

HWS_API void hws_upstream_metrics(const hws_upstream_t *upstream, hws_metrics_snapshot_t *out);
/* With what went through upstreams that are gone. */
HWS_API void hws_manager_metrics(const hws_manager_t *manager, hws_metrics_snapshot_t *out);
/* Of the peer at `index`, as hws_upstream_peer(). */
HWS_API void hws_upstream_traffic(const hws_upstream_t *upstream, size_t index, hws_traffic_t *out);
/* Writes the names of the upstreams, each ended by a zero byte, as far as whole ones fit into
 * `size` bytes; returns how many bytes all take. */
HWS_API size_t hws_manager_names(const hws_manager_t *manager, char *room, size_t size);

#endif
