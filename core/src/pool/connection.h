/* connection.h - a transport and the codec on it, with the streams that are on both.
 *
 *             setup done          last room taken
 *   SETUP ----------------> READY <--------------> BUSY
 *     |                       |      room again     |
 *     |                       | expires, evicted    | nothing new may begin
 *     v                       v                     v
 *   CLOSED <----------------------------------- DRAINING
 *                  the last stream has ended
 *
 * One that somebody keeps (KEPT, from BUSY) is nobody else's any more, until it is CLOSED.
 *
 * A connection is born established (dial.h) and frees itself when it is closed. All that a call
 * of the seam or of the codec brings is settled before the seam's input returns: streams that
 * ended are told, the connection goes back to its pool or is closed, and the queue is served. */
#ifndef HWS_POOL_CONNECTION_H
#define HWS_POOL_CONNECTION_H

#include "codec/yamux.h"
#include "io/address.h"
#include "pool/liveness.h"
#include "pool/pool.h"

typedef enum {
    HWS_CONNECTION_SETUP,
    HWS_CONNECTION_READY,
    HWS_CONNECTION_BUSY,
    HWS_CONNECTION_DRAINING,
    HWS_CONNECTION_KEPT,
    HWS_CONNECTION_CLOSED
} hws_connection_state_t;

typedef struct hws_keeper hws_keeper_t;

/* Who keeps a connection. What it is told it notes: it calls neither codec nor connection then. */
struct hws_keeper {
    hws_connection_t *connection; /* NULL once it is lost */
    /* The peer may have opened streams, or there may be room for ours. */
    void (*on_news)(hws_keeper_t *keeper);
    /* Once: it is gone, for this reason; HWS_OK when the peer closed it with nothing open. */
    void (*on_lost)(hws_keeper_t *keeper, int code, hws_time_t now);
};

struct hws_connection {
    hws_connection_state_t state;
    hws_close_reason_t why;  /* a DRAINING one is closed */
    hws_protocol_t protocol; /* that is spoken: HTTP1, H2, RAW or YAMUX */
    hws_pool_t *pool;
    hws_loop_t *loop;
    hws_socket_t *socket;
    hws_codec_t *codec;
    void *setup;          /* in SETUP: the owner's word for it */
    hws_keeper_t *keeper; /* in KEPT */
    hws_list_t link;      /* in pool->ready or pool->others */
    hws_list_t idle_link; /* in pools->idle */
    hws_list_t streams;
    hws_list_t ended; /* streams that wait to be told that they are settled */
    uint32_t stream_count;
    uint32_t served;       /* streams begun */
    hws_timer_t timer;     /* looks at idleness and age; set lazily */
    hws_time_t used_at;    /* last bytes either way, or when it was handed back */
    hws_time_t idle_age;   /* how long it had been idle when its present streams began */
    hws_time_t expires_at; /* of its lifetime */
    hws_time_t created_at;
    uint64_t bytes_in; /* so far; those that were written the outbox counts */
    hws_outbox_t outbox;
    hws_liveness_t liveness; /* where there are many streams */
    hws_time_t tick_at;      /* of the codec, which waits for the peer; HWS_NEVER: it does not */
    int doom;                /* why it must be closed, found where that could not be done; HWS_OK */
    void *data;              /* the user's, kept from lease to lease */
    hws_ip_t ip;             /* where it leads, when that came from a name; else all zeros */
    bool is_reading;
    bool has_finished; /* the peer sent its FIN */
    bool was_idle;     /* it had served before its present streams began */
    bool was_heard;    /* bytes came since then */
};

/* Takes the socket, connected and not read yet, into the pool; on failure the caller keeps it. What is
 * spoken on it is `protocol`: HTTP1, H2, RAW or YAMUX. With `setup` it begins in SETUP, and should
 * it end there the owner's on_setup_lost is told; with NULL it is READY. */
int hws_connection_create(hws_pool_t *pool, hws_socket_t *socket, hws_protocol_t protocol,
                          void *setup, hws_time_t now, hws_connection_t **out);
/* Whether it may be in its pool without a stream, and if not, why. */
bool hws_connection_may_stay(hws_connection_t *connection, hws_time_t now, hws_close_reason_t *why);
/* SETUP -> READY. */
void hws_connection_set_ready(hws_connection_t *connection, hws_time_t now);

/* Whether it may be taken by `want` at `now`, as far as time and promises tell. */
bool hws_connection_suits(const hws_connection_t *connection, const hws_pool_want_t *want,
                          hws_time_t now);
/* Looks whether the idle connection is still alive: HWS_OK, or what is wrong with it. */
int hws_connection_probe(hws_connection_t *connection);

/* Begins a stream: writes `message` (NULL for a raw connection) and as much of `body` as goes.
 * `*taken` bytes of it were. On a code nothing has begun. */
int hws_connection_open(hws_connection_t *connection, hws_stream_t *stream,
                        const hws_message_t *message, hws_slice_t body, bool end, hws_time_t now,
                        size_t *taken);
/* The first that the peer has opened, of which there is one, becomes `stream`. */
int hws_connection_accept(hws_connection_t *connection, hws_stream_t *stream, hws_time_t now);
/* More bytes of a stream. HWS_AGAIN when fewer than all were taken: the stream's on_writable. */
int hws_connection_send(hws_stream_t *stream, hws_slice_t data, bool end, size_t *taken);
/* The reader has taken `size` bytes for good. */
void hws_connection_credit(hws_stream_t *stream, size_t size);
/* Half-closes once all is written (raw, yamux). */
void hws_connection_finish(hws_stream_t *stream);
/* The stream's owner is done with a raw stream, whose end no codec can see: true when the
 * connection is fit to be pooled. */
bool hws_connection_is_clean(hws_connection_t *connection);
/* Takes an unfinished stream off; no event of it comes any more. With `pool_it` the connection, a raw
 * one, goes back to its pool, and one of many byte streams ends well; else it is reset where the
 * protocol knows no better. */
void hws_connection_detach(hws_stream_t *stream, hws_close_reason_t why, bool pool_it,
                           hws_time_t now);
/* Takes a raw stream off and gives its connection to `keeper`, who ends it with hws_connection_close().
 * It speaks yamux from here on; `unread` has come of that already. HWS_ERR_NOMEM: nothing has
 * changed. */
int hws_connection_keep(hws_stream_t *stream, hws_yamux_role_t role, hws_keeper_t *keeper,
                        hws_slice_t unread, hws_time_t now);
/* `socket`, which stands on its present one and owns that now, takes its place. Its inputs are
 * somebody else's until hws_connection_take_over(). */
void hws_connection_set_socket(hws_connection_t *connection, hws_socket_t *socket);
void hws_connection_take_over(hws_connection_t *connection);
/* The stream's user waited for it in vain. Where there are many streams the peer is asked for a sign of
 * life, and nothing new begins there until one comes. */
void hws_connection_suspect(hws_stream_t *stream, hws_time_t now);
/* Has the stream's on_due called at `at`; it may be called earlier. The connection's own timer does
 * that, which moves seldom: a stream need not set one of its own and cancel it again. */
void hws_connection_watch(hws_stream_t *stream, hws_time_t at);
/* What the outboxes of all connections tell. */
extern const hws_outbox_events_t hws_connection_outbox_events;
/* Writes what the codec has to say: all but body bytes, and of these what there is room for. */
void hws_connection_pull(hws_outbox_t *outbox);
/* Whether many streams may be on it at once. */
static inline bool hws_connection_is_multiplexing(const hws_connection_t *connection)
{
    return hws_codec_is_multiplexing(connection->codec);
}
/* It was idle, and silent since then: if it ends like that, the peer had closed it before it was used
 * again. */
static inline bool hws_connection_may_be_stale(const hws_connection_t *connection)
{
    return connection->was_idle && !connection->was_heard;
}
/* For on_end handlers: the stream waits to be settled. */
void hws_connection_stream_ended(hws_stream_t *stream);

/* Ends all its streams with `code` (a code of HWS_ERR_*), closes and frees it. */
void hws_connection_close(hws_connection_t *connection, hws_close_reason_t why, int code,
                          hws_time_t now);
/* Takes no new stream; closes when the last has ended. One that is being set up still serves whoever
 * waits for it. */
void hws_connection_drain(hws_connection_t *connection, hws_close_reason_t why, hws_time_t now);
/* Looks again how many streams it takes and when its idle time ends (a limit has changed). */
void hws_connection_reconsider(hws_connection_t *connection, hws_time_t now);

/* Between connection.c and connection_send.c. */

/* It must be closed, which cannot be done here: its timer does it. Until then it takes nothing new. */
void hws_connection_doom(hws_connection_t *connection, int code);
/* Has the codec told of the time, while it waits for something. */
void hws_connection_watch_codec(hws_connection_t *connection);
/* How many body bytes may be handed over now. Framing adds a little to the bound. */
size_t hws_connection_write_room(const hws_connection_t *connection);
/* Has the codec of one stream append one piece of body to `out`. */
int hws_connection_append(hws_stream_t *stream, hws_slice_t data, bool end, hws_buffer_t *out,
                          size_t *taken);

#endif
