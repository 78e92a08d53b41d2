/* codec.h - all that a connection knows of a protocol.
 *
 * A codec turns bytes into events of streams, and what streams want to say into bytes. It owns no
 * socket, reads no clock and calls nobody but the streams. What it wants of its connection stands
 * in plain fields, looked at after every call: how many more streams fit (`room`), whether it
 * will never take another one (`is_last`), whether it wants bytes (`wants_bytes`).
 *
 * What a multiplexing codec has heard of a stream before it said HWS_ERR_REFUSED_STREAM or
 * HWS_ERR_GOAWAY is nothing: the peer did not look at it, so it may be sent again whatever it is. The
 * same holds for a stream whose head had not left when the connection broke the protocol.
 *
 * Inside an event a stream only takes notes: it calls neither the codec nor its connection, which
 * settles everything once the call has returned. So a codec need not be re-entrant. */
#ifndef HWS_CODEC_CODEC_H
#define HWS_CODEC_CODEC_H

#include "base/buffer.h"
#include "base/list.h"

#include <hawser/message.h>

typedef struct hws_codec hws_codec_t;
typedef struct hws_connection hws_connection_t;
typedef struct hws_stream hws_stream_t;

/* What a codec tells one stream. A head lasts for the call, bytes of a body until the on_rest that
 * follows the input. */
typedef struct {
    /* The final response's head, once. 1xx are the codec's own business. */
    void (*on_head)(hws_stream_t *stream, const hws_head_t *head);
    /* Body bytes. Returns how many are consumed for good at once; the others are given back with
     * `credit` when the reader has taken them. */
    size_t (*on_body)(hws_stream_t *stream, const char *data, size_t size);
    void (*on_trailers)(hws_stream_t *stream, const hws_head_t *trailers);
    /* Once, the last event: HWS_OK after a whole message, else why there will be no more. A duplex stream
     * may go on sending after HWS_OK while it has its `part`, and gets another on_end when that becomes
     * impossible: with a code, or with HWS_OK when the peer just wants no more of it. */
    void (*on_end)(hws_stream_t *stream, int status);
    /* After `send` took less than it was given: it would take some now. */
    void (*on_writable)(hws_stream_t *stream);
    /* Told by the connection, never by a codec: the call that brought on_end is over and the
     * stream is on no connection any more. Now it may start something new. */
    void (*on_settled)(hws_stream_t *stream, hws_time_t now);
    /* What hws_connection_watch() asked for; NULL for who never asks. May call but that and
     * hws_connection_suspect(). */
    void (*on_due)(hws_stream_t *stream, hws_time_t now);
} hws_stream_events_t;

/* Where a head does not tell how long the body is. */
#define HWS_BODY_UNKNOWN UINT64_MAX

/* What a stream is reset with whose user gave it up: CANCEL (RFC 9113, 7). */
#define HWS_CODEC_CANCEL 8

/* The time of a codec that waits for its peer, in steps. */
#define HWS_CODEC_TICK HWS_S(15)

/* The urgency of who has no opinion (RFC 9218, 4.1). */
#define HWS_URGENCY_USUAL 3
#define HWS_URGENCY_LEAST 7

/* One exchange on a connection; it is part of the request or the lease that uses it. */
struct hws_stream {
    hws_list_t link;              /* in its connection's list */
    hws_connection_t *connection; /* NULL while it has none */
    const hws_stream_events_t *events;
    void *part;          /* a multiplexing codec's own of it, from open to on_end or reset */
    uint64_t id;         /* the codec's name for it on the wire; h1 and raw do not need one */
    uint64_t announced;  /* from on_head on: bytes of body that will come, or HWS_BODY_UNKNOWN */
    uint32_t reset_code; /* on_end with a stream's own failure: the code that the peer gave; before,
                          * what the peer is told should its owner give it up */
    uint8_t urgency;     /* 0, the most urgent, to 7 (RFC 9218, 4.1); multiplexing codecs only */
    bool wants_write;    /* its last send was cut short: tell it when there is room */
    bool is_duplex;      /* has its `part` until all that it sends has left */
};

typedef enum {
    HWS_BODY_NONE,
    HWS_BODY_SIZED,  /* `body_size` bytes will be sent */
    HWS_BODY_CHUNKED /* a length nobody knows yet */
} hws_body_kind_t;

/* What a stream begins with. Every part has been checked: no CR, LF or NUL. */
typedef struct {
    hws_slice_t method;
    hws_slice_t scheme;    /* "http" or "https" */
    hws_slice_t target;    /* path and query, or "*" */
    hws_slice_t authority; /* for Host; empty when `fields` has one */
    hws_slice_t fields;    /* lines "Name: value\r\n"; framing fields are the codec's own */
    hws_body_kind_t body;
    uint64_t body_size;
} hws_message_t;

typedef struct {
    /* Takes all of `bytes` and tells the streams. A code means that the connection is beyond use;
     * streams that had no on_end yet are ended by the connection, with that code. */
    int (*feed)(hws_codec_t *codec, const char *bytes, size_t size);
    /* The peer's FIN. HWS_OK when nothing was cut short (a body that lasts until the close ends
     * here, with on_end), else the code for whatever is still open. */
    int (*feed_end)(hws_codec_t *codec);

    /* Begins a stream; `room` was above 0. Bytes to be written are appended to `out` (here and
     * below). On a code nothing has changed. */
    int (*open)(hws_codec_t *codec, hws_stream_t *stream, const hws_message_t *message,
                hws_buffer_t *out);
    /* Body bytes of a stream, `end` with the last ones. `*taken` may be less than `size` when
     * flow control says so: on_writable tells. Data beyond `body_size` is an error of ours. */
    int (*send)(hws_codec_t *codec, hws_stream_t *stream, const char *data, size_t size, bool end,
                hws_buffer_t *out, size_t *taken);
    /* The reader has consumed `size` more bytes of on_body. After on_end nothing is owed. */
    int (*credit)(hws_codec_t *codec, hws_stream_t *stream, size_t size);
    /* The owner gives an unfinished stream up; no event of it comes any more. `code` is what a
     * multiplexing codec tells the peer (HTTP/2: an error code of RFC 9113, 7). */
    void (*reset)(hws_codec_t *codec, hws_stream_t *stream, uint32_t code);
    /* The owner needs the stream no more and ends it well: what was taken of it still leaves, then its
     * end; what still comes is thrown away; no event comes any more. NULL where streams are messages. */
    void (*leave)(hws_codec_t *codec, hws_stream_t *stream);
    /* Frees the codec; its streams have been ended or reset before. */
    void (*destroy)(hws_codec_t *codec);

    /* The rest is what multiplexing codecs have, and others leave NULL. Their other operations write
     * nothing to `out`, which may be NULL: what is to be written is asked for with `flush`. */

    /* Appends what is to be written, acknowledgements, windows and GOAWAY included; of body bytes
     * about `room`, the most urgent streams' first. Called at the end of a turn in which anything
     * else was called, also when that failed, and when the transport takes bytes again. May call
     * on_writable, but nothing else. A code: close the connection once this has left; streams are
     * ended with that code. */
    int (*flush)(hws_codec_t *codec, size_t room, hws_buffer_t *out);
    /* Asks the peer for a sign of life: `pongs` will count one more. HWS_AGAIN: one is asked for
     * already. */
    int (*ping)(hws_codec_t *codec);
    /* `streams` of the options is another now. What is open beyond it goes on. */
    void (*set_streams)(hws_codec_t *codec, uint32_t streams);
    /* Opens no more and tells the peer so; what is open goes on. `is_last` turns true. */
    void (*go_away)(hws_codec_t *codec);
    /* Gives the stream that the peer opened first, `unaccepted` being above 0, to `stream`, whose
     * events follow; what has come for it so far is told at the next flush, in one piece that lasts
     * for the call. NULL where a peer opens none. */
    int (*accept)(hws_codec_t *codec, hws_stream_t *stream);
    /* Another HWS_CODEC_TICK has passed while `awaited` was above 0: what waits for the peer too long is
     * given up. A code as feed's. NULL where nothing does. */
    int (*tick)(hws_codec_t *codec);
} hws_codec_ops_t;

/* The part that every codec begins with. */
struct hws_codec {
    const hws_codec_ops_t *ops;
    uint32_t room;        /* streams that could be opened now */
    bool is_last;         /* none will ever be opened again: close once the open ones have ended */
    bool wants_bytes;     /* false: stop reading, enough is unread */
    bool is_calmed;       /* the peer has said that it is asked too often (ENHANCE_YOUR_CALM) */
    uint32_t cap;         /* what `room` was with no stream open: ours and the peer's limit */
    uint32_t pongs;       /* answers to `ping` so far */
    uint32_t unaccepted;  /* streams that the peer opened and nobody has accepted */
    uint32_t awaited;     /* streams of which the peer owes a word that has its time */
    hws_time_t idle_hint; /* how long the peer says it keeps an idle connection, or HWS_NEVER */
};

/* Where heads are parsed, one at a time; shared by all codecs of a loop. Zeroed is valid. */
typedef struct {
    hws_field_t *items; /* grows as needed, up to what limits.header allows */
    uint32_t capacity;
} hws_fields_t;

/* Makes room for one more than `count` fields. HWS_ERR_HEAD_FIELDS beyond `most`, HWS_ERR_NOMEM. */
int hws_fields_reserve(hws_fields_t *fields, uint32_t count, uint32_t most);

/* What unread bytes of multiplexed streams may cost, of all connections that share it: the sum of the
 * windows that were opened. */
typedef struct {
    uint64_t limit;
    uint64_t used;
} hws_window_budget_t;

/* How much a peer may send that nobody has read: at first, and how far that may grow. Bytes. */
typedef struct {
    uint32_t stream;         /* 1 MiB */
    uint32_t connection;     /* 16 MiB */
    uint32_t stream_max;     /* 16 MiB */
    uint32_t connection_max; /* 64 MiB */
} hws_windows_t;

typedef struct {
    size_t header; /* bytes of a head, of a trailer section; a 32nd of it bounds the field count */
    size_t buffer; /* unread body bytes before `wants_bytes` turns false */
    hws_fields_t *fields; /* borrowed; must outlive the codec */

    /* For multiplexing codecs. */
    uint32_t streams; /* the most that are open at once, whatever the peer would allow */
    uint32_t
        expected; /* before the peer has said how many it allows: what it did of late, 0: unknown */
    bool accepts; /* what the peer opens waits for `accept`; else it is refused at once */
    hws_windows_t windows;
    hws_window_budget_t *budget; /* borrowed; must outlive the codec */
} hws_codec_options_t;

static inline bool hws_codec_is_multiplexing(const hws_codec_t *codec)
{
    return codec->ops->flush != NULL;
}

#endif
