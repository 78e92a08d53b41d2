/* server.h - a peer for simulated worlds that says what a test wants it to say.
 *
 * As an HTTP server it reads whole requests and gives each the reply that `reply` holds, or that
 * `choose` picks; as a raw one it echoes, or does what `on_bytes` says. Its memory is not the
 * core's, so that failing allocations fail only in what is tested and in the world. */
#ifndef TESTS_SUPPORT_SERVER_H
#define TESTS_SUPPORT_SERVER_H

#include "support/world.h"

typedef enum { STAYS, FINISHES, CLOSES, RESETS } ending_t;

/* What a server does with a request: bytes after a while, then perhaps an end. */
typedef struct {
    const char *bytes; /* NULL: none */
    size_t size;       /* 0: strlen(bytes) */
    hws_time_t after;
    ending_t then;
    bool is_silent; /* does nothing at all, not even end */
} reply_t;

typedef struct server server_t;

/* One connection, as the server sees it. */
typedef struct {
    hws_list_t link;
    server_t *server;
    hws_sim_conn_t *conn;
    uint32_t number;   /* of the connection, from 1 */
    uint32_t requests; /* whole ones */
    char *bytes;       /* not understood yet; of a raw one all */
    size_t size;
} visit_t;

struct server {
    world_t *world;
    hws_sim_listener_t *listener;
    hws_list_t visits;
    hws_list_t pending;
    bool is_raw;
    bool is_mute;     /* a raw one echoes nothing */
    bool is_stuck;    /* takes no bytes */
    reply_t greeting; /* on accept, where it says something */
    reply_t reply;
    reply_t (*choose)(server_t *server, visit_t *visit, hws_slice_t request);
    void (*on_bytes)(visit_t *visit, const char *bytes, size_t size);
    uint32_t closes_after; /* so many requests on a connection; 0: never */
    uint32_t requests;     /* whole ones, in all */
    uint32_t visited;      /* connections so far */
    uint32_t finished;     /* clients that ended with a FIN */
    uint32_t reset;        /* ... with an RST */
    uint64_t received;     /* bytes */
    char *last;            /* request, terminated */
    void *user;
};

#define REPLY_OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* Listens at 10.0.0.1:`port` and answers REPLY_OK. */
void server_init(server_t *server, world_t *world, uint16_t port);
/* Echoes. */
void server_init_raw(server_t *server, world_t *world, uint16_t port);
/* After the world is gone. */
void server_dispose(server_t *server);

/* Does what `reply` says to a visit, which may be gone by then. */
void server_say(visit_t *visit, reply_t reply);
/* The visit that came last and is still there, or NULL. */
visit_t *server_latest(server_t *server);
/* Ends all visits. */
void server_end_all(server_t *server, hws_sim_close_t how);

#endif
