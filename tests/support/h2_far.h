/* h2_far.h - an HTTP/2 server for simulated worlds that says what a test wants it to say.
 *
 * It gives each request, as soon as that is whole, the reply that `reply` holds or that `choose`
 * picks. Below that it is nghttp2's server, which holds the client to the protocol: a stream too many,
 * a byte outside of a window, a frame out of place are `faults`, and h2_far_dispose() asserts that
 * there were none. Several connections at once; in the clear, or with `tls` over TLS, where who
 * has not agreed to h2 gets REPLY_OK in HTTP/1.1.
 *
 * Its memory is not the core's, as server.h says. */
#ifndef TESTS_SUPPORT_H2_FAR_H
#define TESTS_SUPPORT_H2_FAR_H

#include "support/server.h"
#include "support/tls_far.h"

#include <nghttp2/nghttp2.h>

#define H2_FAR_PATHS 16384

/* What is done with a request: a response after a while, or none, then perhaps RST_STREAM. */
typedef struct {
    uint16_t status;      /* 0: 200 */
    size_t body;          /* bytes */
    const char *field[2]; /* a name, lower case, and its value; NULL: none */
    const char *trailer[2];
    hws_time_t after;
    bool is_silent;  /* no response */
    bool is_endless; /* the response does not end after `body` */
    bool has_reset;  /* RST_STREAM behind it all, with... */
    uint32_t reset;  /* ... this code */
} h2_reply_t;

typedef struct h2_far h2_far_t;

/* One connection, as the server sees it. */
typedef struct {
    hws_list_t link;
    h2_far_t *far;
    hws_sim_conn_t *conn;
    nghttp2_session *session; /* NULL: HTTP/1.1 */
    tls_far_t *tls;           /* NULL: in the clear */
    hws_buffer_t cipher;      /* over TLS, to be sent */
    hws_list_t streams;
    uint32_t number; /* of the connection, from 1 */
    uint32_t heads;  /* streams so far */
    uint32_t open;
    uint32_t peak; /* the most at once */
    uint32_t arrivals;
    int32_t last;   /* of its GOAWAY: those beyond are not looked at */
    int32_t looked; /* the last one that was */
    bool is_receiving;
    bool is_over; /* it has ended the connection */
} h2_visit_t;

typedef struct {
    hws_list_t link;
    h2_visit_t *visit;
    int32_t id;
    char method[16];
    char path[32];
    size_t received; /* bytes of body */
    bool is_chosen;  /* its reply is under way */
    h2_reply_t reply;
    size_t left; /* of the reply's body */
} h2_far_stream_t;

struct h2_far {
    world_t *world;
    hws_sim_listener_t *listener;
    hws_list_t visits;
    hws_list_t pending;
    /* May change at any time. */
    const tls_far_options_t *tls;
    h2_reply_t reply;
    h2_reply_t (*choose)(h2_far_t *far, h2_far_stream_t *stream);
    uint32_t streams;  /* MAX_CONCURRENT_STREAMS of the next connections; 100 */
    uint32_t window;   /* INITIAL_WINDOW_SIZE of theirs; 65535 */
    bool is_early;     /* replies when the head is there */
    bool is_deaf;      /* answers no PING */
    bool is_tolerated; /* its faults are the test's own */
    /* What happened. */
    uint32_t visited;
    uint32_t heads;    /* requests begun */
    uint32_t requests; /* given to `choose` and not refused */
    uint32_t peak;     /* the most streams at once on a connection */
    uint32_t pings;
    uint32_t resets; /* RST_STREAM */
    uint32_t last_reset;
    uint32_t goaways;
    uint32_t finished; /* clients that ended with a FIN */
    uint32_t reset;    /* ... with an RST */
    uint64_t received; /* bytes of bodies */
    uint32_t faults;
    uint8_t seen[H2_FAR_PATHS]; /* how often the application was given "/0", "/1"... */
    char priority[16];          /* of the last request */
    char te[16];                /* likewise */
    void *user;
};

/* Listens at 10.0.0.1:`port` and answers 200 with "hello". */
void h2_far_init(h2_far_t *far, world_t *world, uint16_t port);
/* After the world is gone. */
void h2_far_dispose(h2_far_t *far);

/* The connection that came last and is still there, or NULL. */
h2_visit_t *h2_far_latest(h2_far_t *far);
/* Ends all connections. */
void h2_far_end_all(h2_far_t *far, hws_sim_close_t how);

/* On a connection; may be called from `choose`. A GOAWAY with INT32_MAX is the warning before another
 * one. */
void h2_far_go_away(h2_visit_t *visit, int32_t last, uint32_t code);
void h2_far_set(h2_visit_t *visit, int32_t setting, uint32_t value);
/* Bytes past nghttp2. */
void h2_far_say(h2_visit_t *visit, const void *bytes, size_t size);
/* Gives every stream that is open and was given silence this reply. */
void h2_far_answer_all(h2_visit_t *visit, h2_reply_t reply);
/* How much the client lets the server send on the connection, and on a stream of its. */
int32_t h2_far_window(const h2_visit_t *visit);
int32_t h2_far_stream_window(const h2_far_stream_t *stream);

#endif
