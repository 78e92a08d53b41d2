/* outbox.h - the writing side of a connection: from what its codec appends to what the system takes.
 *
 *   codec --> gathered, shared by all --> the system
 *                       |                    ^
 *                       | it takes no more   | it takes some again
 *                       +-----> rest --------+
 *
 * Within a turn of the loop bytes are gathered, connection after connection, and leave when its
 * inputs are done: small writes and frames of many streams leave in one system call, and a peer is
 * not woken for each. What is written outside of a turn leaves before the next one, or with
 * hws_loop_flush(); large writes leave at once. What the system does not take waits in the outbox's
 * own `rest`.
 *
 * An owner that would rather be asked once for all it has to say (frames of many streams) wants to be
 * pulled: that comes at the end of the turn, before anything is sent. */
#ifndef HWS_POOL_OUTBOX_H
#define HWS_POOL_OUTBOX_H

#include "io/loop.h"

typedef struct hws_outbox hws_outbox_t;

/* What its owner is told of an outbox. */
typedef struct {
    /* hws_outbox_pull() was called: what does the owner have to say? */
    void (*on_pull)(hws_outbox_t *outbox);
    /* So many bytes leave. */
    void (*on_leaving)(hws_outbox_t *outbox, size_t size, hws_time_t now);
    /* It has failed, perhaps long after the write was accepted. */
    void (*on_failed)(hws_outbox_t *outbox, int code);
} hws_outbox_events_t;

/* Where the outboxes of a manager gather. */
typedef struct {
    hws_loop_t *loop;
    hws_buffer_t bytes;
    size_t mark;         /* where the present write begins */
    hws_list_t outboxes; /* those with bytes in it, in the order of these */
    hws_list_t pulled;   /* outboxes whose owners are to be asked what they have to say */
    hws_list_t later;    /* ... in the next turn */
    hws_deferred_t turned;
    hws_deferred_t resumed;
    const hws_outbox_events_t *events;
} hws_gather_t;

struct hws_outbox {
    hws_gather_t *gather;
    hws_socket_t *socket;
    hws_list_t link;      /* in gather->outboxes */
    hws_list_t pull_link; /* in gather->pulled or gather->later */
    size_t gathered;      /* bytes of its own there */
    hws_buffer_t rest;    /* written while a flush is under way */
    size_t flushing;      /* bytes that the flush under way has taken over */
    uint64_t accepted;    /* bytes so far */
    int error;            /* nothing more can be written */
    bool is_flushing;
    bool is_finishing; /* half-close once all is written */
};

void hws_gather_init(hws_gather_t *gather, hws_loop_t *loop, const hws_outbox_events_t *events);
/* Its outboxes are gone. */
void hws_gather_dispose(hws_gather_t *gather);

void hws_outbox_init(hws_outbox_t *outbox, hws_gather_t *gather, hws_socket_t *socket);
/* Sends what was gathered, as far as it goes; the rest is dropped. */
void hws_outbox_dispose(hws_outbox_t *outbox);

/* A write: append to what this returns, then commit or drop it before anything else is written. */
hws_buffer_t *hws_outbox_begin(hws_outbox_t *outbox);
/* HWS_OK, or why nothing can be written any more. */
int hws_outbox_commit(hws_outbox_t *outbox);
void hws_outbox_drop(hws_outbox_t *outbox);

/* Has on_pull called, which writes what the owner has. */
void hws_outbox_pull(hws_outbox_t *outbox);
/* From on_pull: has it called again in the next turn, once what has come meanwhile was read. */
void hws_outbox_pull_again(hws_outbox_t *outbox);
/* Hands what was gathered over to the system now. */
void hws_outbox_send(hws_outbox_t *outbox);
/* Bytes that have been accepted and are not with the system. */
size_t hws_outbox_size(const hws_outbox_t *outbox);
/* Half-closes once all is written; then nothing more is. */
void hws_outbox_finish(hws_outbox_t *outbox);
/* The seam's on_flush. */
void hws_outbox_flushed(hws_outbox_t *outbox, int status);

#endif
