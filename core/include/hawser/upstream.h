/* upstream.h - the peers behind one name, with their pools and the one queue. */
#ifndef HAWSER_UPSTREAM_H
#define HAWSER_UPSTREAM_H

#include <hawser/lease.h>
#include <hawser/manager.h>
#include <hawser/policy.h>
#include <hawser/retry.h>

/* One address behind an upstream. Slices are copied. */
typedef struct {
    hws_slice_t url;      /* "http://host:port"; https: h2c: tcp: tls: likewise; "unix:/path" */
    hws_slice_t id;       /* empty: "host:port", or the path with "/" as "%2F" */
    hws_slice_t address;  /* where to connect instead: "host:port" or "unix:/path"; empty: url */
    hws_slice_t locality; /* carried for balancers; may be empty */
    double weight;        /* above 0, at most 1e6; its share of the requests. 0 stands for 1 */
    uint32_t priority;    /* peers of a higher number serve only when no lower one can */
} hws_peer_options_t;

/* What is spoken with the peers. X(symbol, word) */
#define HWS_PROTOCOL_LIST(X)                                                                       \
    X(AUTO,                                                                                        \
      "auto") /* http1 for http:, h2 or http1 for https: (ALPN says which), h2 for h2c:, raw \
                         for tcp:, tls: and unix: */     \
    X(HTTP1, "http1")                                                                              \
    X(H2, "h2")   /* over TLS, and nothing else will do */                                         \
    X(H2C, "h2c") /* in the clear, without asking the peer first */                                \
    X(RAW, "raw")                                                                                  \
    X(YAMUX, "yamux") /* leases are its streams */

#define HWS_PROTOCOL_ENUM(symbol, word) HWS_PROTOCOL_##symbol,
typedef enum { HWS_PROTOCOL_LIST(HWS_PROTOCOL_ENUM) HWS_PROTOCOL_COUNT } hws_protocol_t;
#undef HWS_PROTOCOL_ENUM

HWS_API const char *hws_protocol_name(hws_protocol_t protocol);

/* Of connections with many streams, yamux's as well. Windows say how many bytes of a stream, and of all
 * streams of a connection, may come before they are read: at first, and how far that may grow with what
 * the path carries. Bytes, 65535 to 2147483647; yamux's streams begin with 262144. */
typedef struct {
    hws_time_t ping_idle;    /* 30 s: without a byte while streams are open, a sign of life is asked
                              * for; HWS_NEVER: never */
    hws_time_t ping_timeout; /* 15 s: then it must have come, or the connection is given up */
    uint32_t window;         /* 1048576 */
    uint32_t connection_window;     /* 16777216 */
    uint32_t window_max;            /* 16777216 */
    uint32_t connection_window_max; /* 67108864 */
} hws_h2_options_t;

typedef struct {
    hws_slice_t name; /* not empty, at most 255 bytes, not taken */
    hws_protocol_t protocol;
    const hws_peer_options_t *peers; /* all of one protocol; may be none */
    size_t peer_count;
    hws_limits_t limits;
    hws_timeouts_t timeouts;
    hws_reuse_t reuse;
    hws_balancer_t balancer; /* HWS_BALANCER_LEAST_REQUEST */
    hws_breaker_options_t breaker;
    hws_retry_options_t retry;
    hws_h2_options_t h2;
    const hws_tls_options_t *tls; /* NULL: the manager's */
    const hws_dns_options_t *dns; /* NULL: the manager's, or what it has from earlier options */
    /* Raw only: prepares each new connection before its first use. Gets a lease of it, which it
     * ends with hws_lease_setup_done(). NULL: connections are ready at once. */
    void (*setup)(hws_lease_t *lease, void *user);
    void *setup_user;
    /* Frees what hws_lease_set_data() kept with a connection, when that is closed; or NULL. It may
     * be called inside an input: it must not call hawser. */
    void (*free_data)(void *data);
} hws_upstream_options_t;

/* Everything from the manager's defaults; name and peers empty. */
HWS_API void hws_upstream_options_init(hws_upstream_options_t *options,
                                       const hws_manager_t *manager);
/* HWS_ERR_INVALID, HWS_ERR_BAD_URL, HWS_ERR_UNSUPPORTED, HWS_ERR_TLS_OPTIONS with `why->detail`,
 * HWS_ERR_NOMEM, HWS_ERR_CLOSED. The manager owns it. */
HWS_API int hws_upstream_create(hws_manager_t *manager, const hws_upstream_options_t *options,
                                hws_upstream_t **out, hws_error_t *why);
/* Changes limits, timeouts, reuse, balancer, breaker, retry, tls (for new connections), setup and, with `peers` not NULL, the set of peers; what stays
 * keeps its connections, what is removed finishes its work. The rest of `options` is ignored.
 * On an error nothing has changed. */
HWS_API int hws_upstream_update(hws_upstream_t *upstream, const hws_upstream_options_t *options,
                                hws_error_t *why);
/* As the manager's, for one upstream. A closed one is freed once the last request or lease on it
 * has been destroyed; its name is free at once. */
HWS_API void hws_upstream_close(hws_upstream_t *upstream);
HWS_API int hws_upstream_drain(hws_upstream_t *upstream, hws_time_t span,
                               void (*on_done)(void *user, int status), void *user);

/* Keeps an upstream's struct alive although it is closed or collected, for whoever holds a
 * pointer to it; calls on a closed one are refused with HWS_ERR_CLOSED. */
HWS_API void hws_upstream_hold(hws_upstream_t *upstream);
HWS_API void hws_upstream_unhold(hws_upstream_t *upstream);
HWS_API bool hws_upstream_is_closed(const hws_upstream_t *upstream);

HWS_API const char *hws_upstream_name(const hws_upstream_t *upstream);
HWS_API bool hws_upstream_is_raw(const hws_upstream_t *upstream);
HWS_API hws_manager_t *hws_upstream_manager(const hws_upstream_t *upstream);
HWS_API void hws_upstream_stats(const hws_upstream_t *upstream, hws_stats_t *out);
/* What the upstream was made or last updated with (peers and name excluded). */
HWS_API void hws_upstream_settings(const hws_upstream_t *upstream, hws_upstream_options_t *out);

/* X(symbol, word) */
#define HWS_PEER_STATE_LIST(X)                                                                     \
    X(HEALTHY, "healthy")                                                                          \
    X(UNHEALTHY, "unhealthy") /* its breaker is open */                                            \
    X(DRAINING, "draining")   /* it takes nothing new: its upstream drains, or it was removed */

#define HWS_PEER_STATE_ENUM(symbol, word) HWS_PEER_##symbol,
typedef enum { HWS_PEER_STATE_LIST(HWS_PEER_STATE_ENUM) HWS_PEER_STATE_COUNT } hws_peer_state_t;
#undef HWS_PEER_STATE_ENUM

HWS_API const char *hws_peer_state_name(hws_peer_state_t state);

/* One peer as it stands now; strings last until the loop next runs. */
typedef struct {
    const char *id;
    const char *address; /* "127.0.0.1:80", "[::1]:80" or "unix:/path" */
    const char *locality;
    double weight;
    uint32_t priority;
    uint32_t in_flight;   /* exchanges on it */
    uint32_t connections; /* open and dialling */
    uint32_t open;
    uint32_t idle;
    uint64_t answered;  /* whole responses so far, streamed ones aside */
    hws_time_t latency; /* of them, from sending to the end, an average that fades; 0: unknown */
    hws_time_t p50;     /* of those of the last 30 to 60 s, to 1 %; 0 while there is none */
    hws_time_t p99;
    double success_rate; /* of attempts of late, 0 to 1 */
    double score;        /* 0 to 1 */
    hws_peer_state_t state;
    hws_breaker_state_t breaker;
    hws_time_t since; /* when its breaker came into that state */
    uint64_t opened;  /* how often that opened */
} hws_peer_view_t;

HWS_API size_t hws_upstream_peer_count(const hws_upstream_t *upstream);
/* `index` below the count, in the order in which the peers were given. */
HWS_API void hws_upstream_peer(const hws_upstream_t *upstream, size_t index, hws_peer_view_t *out);

#endif
