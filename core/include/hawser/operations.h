/* operations.h - a manager's own operations on single peers.
 *
 * A peer that was found is valid until the loop next runs, or an upstream is updated or closed. */
#ifndef HAWSER_OPERATIONS_H
#define HAWSER_OPERATIONS_H

#include <hawser/upstream.h>

/* The peer that `text` names: "upstream/id", split at the last "/", or where it is, with or without a
 * scheme: "127.0.0.1:80", "http://127.0.0.1:80", "unix:/path". A place that several upstreams
 * have is HWS_ERR_INVALID, and so is what names nothing; one that none has gets its implicit
 * upstream, without a scheme that of http. `why` as hws_manager_create(). */
HWS_API int hws_manager_find_peer(hws_manager_t *manager, hws_slice_t text, hws_peer_t **out,
                                  hws_error_t *why);
HWS_API hws_upstream_t *hws_peer_upstream(const hws_peer_t *peer);
HWS_API void hws_peer_view(hws_peer_t *peer, hws_peer_view_t *out);

/* X(symbol, word) */
#define HWS_LINK_LIST(X)                                                                           \
    X(CONNECTING, "connecting")                                                                    \
    X(CONNECTED, "connected")                                                                      \
    X(DISCONNECTING, "disconnecting")                                                              \
    X(DISCONNECTED, "disconnected")                                                                \
    X(FAILED, "failed")

#define HWS_LINK_ENUM(symbol, word) HWS_LINK_##symbol,
typedef enum { HWS_LINK_LIST(HWS_LINK_ENUM) HWS_LINK_COUNT } hws_link_t;
#undef HWS_LINK_ENUM

HWS_API const char *hws_link_name(hws_link_t status);

/* As the core sees it: whether there is a connection, or one under way; without either, whether the
 * last dial failed or the breaker is open. It is disconnecting while its upstream drains. */
HWS_API hws_link_t hws_peer_status(const hws_peer_t *peer);

/* What somebody else saw of it. */
typedef struct {
    hws_link_t status;        /* CONNECTED tells well of it, FAILED badly, the others nothing */
    hws_time_t response_time; /* 0: not known */
    uint64_t bytes;           /* that came from it */
} hws_observation_t;

/* Tells score, breaker and metrics. */
HWS_API void hws_peer_observe(hws_peer_t *peer, const hws_observation_t *seen);

/* Closes its connections and ends its dials; what is on them, or wants no other peer, fails with
 * HWS_ERR_CLOSED. Those who wait for any peer keep waiting. */
HWS_API void hws_peer_disconnect(hws_peer_t *peer);

/* Orders its breaker to be so until it is ordered otherwise; HWS_FORCE_NONE ends that. */
HWS_API void hws_peer_force_breaker(hws_peer_t *peer, hws_breaker_force_t force);

/* One connection; strings last as long as it. */
typedef struct {
    hws_time_t age;
    uint64_t exchanges; /* begun on it */
    uint64_t bytes_in;
    uint64_t bytes_out;
    const char *protocol; /* "http/1.1", "raw" */
    const char *tls;      /* "1.3"; NULL: in the clear */
    const char *cipher;   /* or NULL */
    hws_time_t rtt;       /* as the system measured it; 0: unknown */
    bool is_idle;
} hws_connection_info_t;

/* Fills the first `capacity` entries; returns how many connections it has. */
HWS_API size_t hws_peer_connections(const hws_peer_t *peer, hws_connection_info_t *out,
                                    size_t capacity);

/* Live, and nothing in flight is cut: what is over a limit closes when it is idle. `limits` become
 * the defaults of upstreams, and of those there are wherever they have what the manager had.
 * HWS_ERR_INVALID as hws_manager_create(), and nothing has changed then. */
HWS_API int hws_manager_set_limits(hws_manager_t *manager, uint32_t max_connections,
                                   const hws_limits_t *limits, hws_error_t *why);
HWS_API void hws_manager_limits(const hws_manager_t *manager, hws_limits_t *out);

#endif
