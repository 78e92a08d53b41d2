/* codec.h - all that a connection knows of a protocol.
 *
 * A codec turns bytes into events of streams, and what streams want to say into bytes. It owns no
 * socket, reads no clock and calls nobody but the streams. What it wants of its connection stands
 * in plain fields, looked at after every call: how many more streams fit (`room`), whether it
 * will never take another one (`is_last`), whether it wants bytes (`wants_bytes`).
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
    /* Once, the last event: HWS_OK after a whole message, else why there will be no more. */
    void (*on_end)(hws_stream_t *stream, int status);
    /* After `send` took less than it was given: it would take some now. */
    void (*on_writable)(hws_stream_t *stream);
    /* Told by the connection, never by a codec: the call that brought on_end is over and the
     * stream is on no connection any more. Now it may start something new. */
    void (*on_settled)(hws_stream_t *stream, hws_time_t now);
    /* What hws_connection_watch() asked for; NULL for who never asks. May call but that. */
    void (*on_due)(hws_stream_t *stream, hws_time_t now);
} hws_stream_events_t;

/* Where a head does not tell how long the body is. */
#define HWS_BODY_UNKNOWN UINT64_MAX

/* One exchange on a connection; it is part of the request or the lease that uses it. */
struct hws_stream {
    hws_list_t link;              /* in its connection's list */
    hws_connection_t *connection; /* NULL while it has none */
    const hws_stream_events_t *events;
    uint64_t id;        /* the codec's name for it; h1 and raw do not need one */
    uint64_t announced; /* from on_head on: bytes of body that will come, or HWS_BODY_UNKNOWN */
    bool wants_write;   /* its last send was cut short: tell it when there is room */
};

typedef enum {
    HWS_BODY_NONE,
    HWS_BODY_SIZED,  /* `body_size` bytes will be sent */
    HWS_BODY_CHUNKED /* a length nobody knows yet */
} hws_body_kind_t;

/* What a stream begins with. Every part has been checked: no CR, LF or NUL. */
typedef struct {
    hws_slice_t method;
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
    int (*credit)(hws_codec_t *codec, hws_stream_t *stream, size_t size, hws_buffer_t *out);
    /* The owner gives an unfinished stream up; no event of it comes any more. */
    void (*reset)(hws_codec_t *codec, hws_stream_t *stream, hws_buffer_t *out);
    /* Frees the codec; its streams have been ended or reset before. */
    void (*destroy)(hws_codec_t *codec);
} hws_codec_ops_t;

/* The part that every codec begins with. */
struct hws_codec {
    const hws_codec_ops_t *ops;
    uint32_t room;        /* streams that could be opened now */
    bool is_last;         /* none will ever be opened again: close once the open ones have ended */
    bool wants_bytes;     /* false: stop reading, enough is unread */
    hws_time_t idle_hint; /* how long the peer says it keeps an idle connection, or HWS_NEVER */
};

/* Where heads are parsed, one at a time; shared by all codecs of a loop. Zeroed is valid. */
typedef struct {
    hws_field_t *items; /* grows as needed, up to what limits.header allows */
    uint32_t capacity;
} hws_fields_t;

typedef struct {
    size_t header; /* bytes of a head, of a trailer section; a 32nd of it bounds the field count */
    size_t buffer; /* unread body bytes before `wants_bytes` turns false */
    hws_fields_t *fields; /* borrowed; must outlive the codec */
} hws_codec_options_t;

#endif
