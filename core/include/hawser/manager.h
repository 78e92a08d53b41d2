/* manager.h - the facade: every outgoing connection of a program, under one set of limits.
 *
 *     hws_loop_t *loop;            hws_manager_t *manager;
 *     hws_loop_create(&loop);      hws_manager_create(loop, &options, &manager);
 *     ... upstreams, requests, leases ...
 *     hws_manager_destroy(manager); hws_loop_destroy(loop);
 *
 * Callbacks run at rest: never from inside the call that started something, and free to start,
 * cancel or destroy anything. */
#ifndef HAWSER_MANAGER_H
#define HAWSER_MANAGER_H

#include <hawser/loop.h>
#include <hawser/policy.h>
#include <hawser/retry.h>
#include <hawser/tls.h>

typedef struct hws_manager hws_manager_t;
typedef struct hws_upstream hws_upstream_t;
typedef struct hws_peer hws_peer_t;

/* Hard caps, each at least 1. A dial that one of the connection caps blocks first closes the least
 * recently used idle connection counted by it; only then does its request queue. */
typedef struct {
    uint32_t connections; /* 256: of an upstream, dialling ones included */
    uint32_t per_peer;    /* 64 */
    uint32_t dials;       /* 16: of a peer, at once */
    uint32_t pending;     /* 1024: waiting in an upstream's queue; 0 refuses to wait */
    uint32_t streams;     /* 100: at once on a connection that takes many, if the peer allows it */
    size_t header;        /* 65536 bytes: a response's header block, or its trailers; over HTTP/2 a
                   * request's, too; at least 256 */
    size_t body;          /* 67108864 bytes: a response body that is not streamed */
    /* 262144 bytes: per connection and direction; at least 4096. Reading stops when so much is
     * unread, and its last read may bring up to 64 KiB. */
    size_t buffer;
} hws_limits_t;

/* Spans; HWS_NEVER switches one off. */
typedef struct {
    hws_time_t resolve;  /* 5 s: looking a name up */
    hws_time_t connect;  /* 3 s: a dial; and anew the setup of a raw connection */
    hws_time_t tls;      /* 5 s: a handshake */
    hws_time_t queue;    /* 5 s: waiting without a dial of its own under way */
    hws_time_t request;  /* 30 s: a whole call; when streaming, up to the headers */
    hws_time_t attempt;  /* HWS_NEVER: one attempt of a request, from its connection on; with
                          * streaming up to the headers */
    hws_time_t read;     /* 30 s: any silent wait for bytes */
    hws_time_t idle;     /* 300 s: an idle connection is kept that long */
    hws_time_t lifetime; /* 1800 s, +-10 %: then a connection takes no new work */
    hws_time_t drain;    /* 30 s: for drains that name no time of their own */
} hws_timeouts_t;

/* How names are looked up. Lists end with NULL; all is copied. */
typedef struct {
    const char *const *servers; /* "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53"; at most 16,
                                 * tried in their order; NULL or empty: the system's */
    const char *const *search;  /* domains that a short name is tried in, at most 16; NULL: the
                                 * system's */
    hws_time_t ttl_min;         /* 1 s: an answer is kept for at least that long... */
    hws_time_t ttl_max;         /* 300 s: ...and for at most that long */
} hws_dns_options_t;

typedef enum {
    HWS_REUSE_SAFE, /* what may not be replayed takes only connections that are surely alive */
    HWS_REUSE_ALWAYS,
    HWS_REUSE_NEVER
} hws_reuse_t;

/* X(symbol, word) */
#define HWS_EVENT_LIST(X)                                                                          \
    X(CONNECT, "connect")         /* a connection was established */                               \
    X(CLOSE, "close")             /* one was closed; `reason` says why */                          \
    X(LEAK, "leak")               /* a lease or a streaming response was dropped unreleased */     \
    X(STALE_REUSE, "stale_reuse") /* a reused connection turned out dead */                        \
    X(RETRY, "retry") /* an attempt has failed with `reason`; another follows in `delay` */        \
    X(POLICY_ERROR, "policy_error") /* a scripted policy failed: the built-in one decided */       \
    X(BREAKER, "breaker")           /* a peer's breaker came into the state that `reason` names */ \
    X(DRAIN, "drain")               /* a drain began (`reason` "begin") or ended ("end") */        \
    X(ERROR, "error")               /* a callback or a task of the user raised */

#define HWS_EVENT_ENUM(symbol, word) HWS_EVENT_##symbol,
typedef enum { HWS_EVENT_LIST(HWS_EVENT_ENUM) HWS_EVENT_COUNT } hws_event_type_t;
#undef HWS_EVENT_ENUM

#define HWS_EVENT_TEXT_MAX 255

/* Something happened. A plain value; the strings last while the callback runs. */
typedef struct {
    hws_event_type_t type;
    hws_time_t at;
    const char *upstream; /* its name, or "" */
    const char *peer;     /* its id, or "" */
    const char *reason; /* a word of hws_close_reason_name(), or what the list above says, or "" */
    const char *text;   /* details: where a lease was acquired, what an error said; or "" */
    hws_time_t age;     /* close, stale_reuse: how long the connection had been idle; else 0 */
    hws_time_t delay;   /* retry: how long until the next attempt */
    uint32_t attempt;   /* retry: how many there were */
    bool is_resumed;    /* connect: over TLS, with a session of an earlier one */
} hws_event_t;

HWS_API const char *hws_event_name(hws_event_type_t type);

/* Why connections are closed; the words appear in events and in the `closed` counters. */
#define HWS_CLOSE_LIST(X)                                                                          \
    X(IDLE, "idle")             /* unused for longer than it may be kept */                        \
    X(LIFETIME, "lifetime")     /* older than timeouts.lifetime */                                 \
    X(EVICTED, "evicted")       /* its place was needed for another one */                         \
    X(SURPLUS, "surplus")       /* over a limit that was lowered, or its peer was removed */       \
    X(MOVED, "moved")           /* the peer's name does not lead to its address any more */        \
    X(PEER_CLOSED, "peer")      /* the peer closed or reset it while idle */                       \
    X(STALE, "stale")           /* found dead when it was to be reused */                          \
    X(UNEXPECTED, "unexpected") /* bytes came that nothing asked for */                            \
    X(LAST, "last")             /* its user or the protocol allows no further use */               \
    X(FAILED, "failed")         /* broke, or broke the protocol, or fell silent while in use */    \
    X(ABANDONED, "abandoned")   /* its user gave up in the midst of an exchange */                 \
    X(SHUTDOWN, "shutdown")     /* upstream or manager closed */

#define HWS_CLOSE_ENUM(symbol, word) HWS_CLOSE_##symbol,
typedef enum { HWS_CLOSE_LIST(HWS_CLOSE_ENUM) HWS_CLOSE_COUNT } hws_close_reason_t;
#undef HWS_CLOSE_ENUM

HWS_API const char *hws_close_reason_name(hws_close_reason_t reason);

/* Gauges and counters of an upstream, or of all of a manager's. created - closed[...] = open. */
typedef struct {
    uint32_t open;    /* established: idle + busy */
    uint32_t idle;    /* ready for use, nothing on them */
    uint32_t busy;    /* in use, being set up, or finishing their last exchange */
    uint32_t dialing; /* not established yet */
    uint32_t queued;
    uint32_t queue_max; /* the most that ever waited */
    uint64_t created;   /* established so far */
    uint64_t closed[HWS_CLOSE_COUNT];
    uint64_t handshakes; /* of TLS, in full */
    uint64_t resumed;    /* of TLS, with the session of an earlier one */
    uint64_t reused;     /* exchanges begun on a connection that had served before */
    uint64_t replayed;   /* went again, uncounted: a reused connection was dead, or the peer
                          * had not looked at it */
    uint64_t retried;    /* attempts that followed a failed one, counted ones, once they got a
                          * connection or a dial */
    uint64_t refused[HWS_RETRY_COUNT]; /* failed attempts that none followed, by the reason */
    uint64_t opened;                   /* how often a breaker opened */
    uint64_t policy_errors;            /* faults of scripted policies */
    uint64_t requests;                 /* begun: requests and acquisitions */
    uint64_t ok;                       /* ended well; a lease when it is released */
    uint64_t failed;                   /* ended with an error, cancelled ones included */
} hws_stats_t;

typedef struct {
    uint32_t max_connections; /* of all upstreams; 0: half of the descriptor limit */
    hws_limits_t limits;      /* of upstreams made behind the scenes */
    hws_timeouts_t timeouts;
    hws_reuse_t reuse;
    hws_breaker_options_t breaker;
    hws_retry_options_t retry;
    const hws_tls_options_t *tls; /* NULL: the defaults */
    const hws_dns_options_t *dns; /* NULL: the defaults */
    /* 268435456 bytes: bounds what may come unread on all connections with many streams; near it new
     * ones get smaller windows. */
    uint64_t window_memory;
    bool metrics; /* true: gathers what metrics.h gives */
    bool has_seed;
    uint64_t seed; /* repeats every decision; without it, the system's entropy */
    /* Told only what hws_manager_listen() asked for; may be NULL. */
    void (*on_event)(void *user, const hws_event_t *event);
    /* hws_manager_trim() is at it, by itself or asked: the embedder may do the same with memory of its
     * own. May be NULL. */
    void (*on_trim)(void *user);
    void *user;
} hws_manager_options_t;

HWS_API void hws_dns_options_init(hws_dns_options_t *options);
/* The defaults that stand in the comments above. */
HWS_API void hws_manager_options_init(hws_manager_options_t *options);
/* HWS_ERR_INVALID when an option is out of its range; `why`, when not NULL, then says which. */
HWS_API int hws_manager_create(hws_loop_t *loop, const hws_manager_options_t *options,
                               hws_manager_t **out, hws_error_t *why);
/* Closes and frees it. Requests and leases end with HWS_ERR_CLOSED first, told at the loop's next
 * rest; each is still to be destroyed by its owner, before the loop is. NULL is harmless. */
HWS_API void hws_manager_destroy(hws_manager_t *manager);
/* Fails what is open with HWS_ERR_CLOSED and closes every connection; later calls are refused. */
HWS_API void hws_manager_close(hws_manager_t *manager);
HWS_API bool hws_manager_is_closed(const hws_manager_t *manager);
/* Refuses new work and lets the present end, for at most `span` (0: timeouts.drain), then cuts it
 * off with HWS_ERR_CLOSED. `on_done` gets HWS_OK, or HWS_ERR_TIMEOUT when something was cut; it is
 * called once, also when the manager is closed meanwhile. */
HWS_API int hws_manager_drain(hws_manager_t *manager, hws_time_t span,
                              void (*on_done)(void *user, int status), void *user);

/* Which events are told: bits 1 << HWS_EVENT_*. */
HWS_API void hws_manager_listen(hws_manager_t *manager, uint32_t events);
/* Whether anybody would hear of it, for who has to gather what to tell. */
HWS_API bool hws_manager_hears(const hws_manager_t *manager, hws_event_type_t type);
/* Queues an event of the user's own layer (LEAK, ERROR). */
HWS_API void hws_manager_report(hws_manager_t *manager, const hws_event_t *event);
HWS_API void hws_manager_stats(const hws_manager_t *manager, hws_stats_t *out);
HWS_API uint32_t hws_manager_max_connections(const hws_manager_t *manager);
/* Gives memory that is no longer needed back to the system. It happens by itself when a burst is
 * over; call it where you have just freed much yourself. */
HWS_API void hws_manager_trim(hws_manager_t *manager);
HWS_API hws_loop_t *hws_manager_loop(const hws_manager_t *manager);

/* The upstream of that name, or NULL. */
HWS_API hws_upstream_t *hws_manager_find(const hws_manager_t *manager, hws_slice_t name);
/* For "http://host:port/path?query": the upstream of that origin, made when there is none, and
 * the request target within `url` ("/" when it has no path). An upstream made this way goes when
 * it is empty. HWS_ERR_BAD_URL, HWS_ERR_UNSUPPORTED (another scheme); `why` as
 * above. The upstream is valid until the loop next runs, or as long as a request is on it. */
HWS_API int hws_manager_origin(hws_manager_t *manager, hws_slice_t url, hws_upstream_t **upstream,
                               hws_slice_t *target, hws_error_t *why);

#endif
