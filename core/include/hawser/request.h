/* request.h - one HTTP request through its attempts to its one ending. */
#ifndef HAWSER_REQUEST_H
#define HAWSER_REQUEST_H

#include <hawser/message.h>
#include <hawser/upstream.h>

typedef struct hws_request hws_request_t;

typedef enum { HWS_IDEMPOTENT_AUTO, HWS_IDEMPOTENT_YES, HWS_IDEMPOTENT_NO } hws_idempotent_t;

/* X(symbol, word): where a request with `duplex` stands. Each is reached once, and none is left for an
 * earlier one. */
#define HWS_STREAM_STATE_LIST(X)                                                                   \
    X(OPENING, "opening")                       /* waits for a connection */                       \
    X(ACTIVE, "active")                         /* both sides may send */                          \
    X(HALF_CLOSED_LOCAL, "half_closed_local")   /* finished here, not by the peer */               \
    X(HALF_CLOSED_REMOTE, "half_closed_remote") /* by the peer, not here, or not all has left */   \
    X(CLOSED, "closed")                         /* ended by both, or given up here */              \
    X(ERROR, "error")                           /* failed: hws_request_error() says why */

#define HWS_STREAM_STATE_ENUM(symbol, word) HWS_STREAM_##symbol,
typedef enum { HWS_STREAM_STATE_LIST(HWS_STREAM_STATE_ENUM) HWS_STREAM_COUNT } hws_stream_state_t;
#undef HWS_STREAM_STATE_ENUM

HWS_API const char *hws_stream_state_name(hws_stream_state_t state);

/* All callbacks are called at rest, never from inside a call, and may destroy the request. */
typedef struct {
    hws_slice_t method; /* a token; copied, as target and fields are */
    hws_slice_t target; /* begins with "/", or is "*" */
    hws_slice_t fields; /* lines made by hws_fields_add() */
    hws_slice_t body;   /* borrowed until the request has ended */
    bool has_body;      /* false: none at all (an empty body is a body) */
    bool has_producer;  /* the body comes through hws_request_send(), chunked */
    bool stream;        /* end at the headers; the body is read with hws_request_read() */
    /* A stream that goes both ways: as with has_producer and stream, and what is sent goes on after the
     * response's end until hws_request_finish(). It is never sent twice once it is open. On HTTP/1
     * it ends with HWS_ERR_UNSUPPORTED. */
    bool duplex;
    uint8_t priority; /* 0, the most urgent, to 7, as RFC 9218's urgency: in the queue and on
                       * connections with many streams, whose peer is told */
    hws_idempotent_t idempotent; /* AUTO: by method and Idempotency-Key */
    /* 0: timeouts.request; HWS_NEVER: none. With duplex, 0 bounds only how long it takes to open, and
     * anything else the whole stream. */
    hws_time_t timeout;
    size_t max_body;                  /* 0: limits.body; of a body that is not streamed */
    const hws_retry_options_t *retry; /* copied; NULL: those of the upstream, whose budget pays */
    hws_peer_t *peer;                 /* of the upstream: goes to no other; NULL: any */

    /* Once: there is a response, or an error. */
    void (*on_done)(hws_request_t *request, void *user);
    /* After hws_request_read() said HWS_AGAIN: it would say something else now. */
    void (*on_readable)(hws_request_t *request, void *user);
    /* With has_producer or duplex: bytes are wanted, first when the head has gone out and then each
     * time after hws_request_send() took less than all. */
    void (*on_writable)(hws_request_t *request, void *user);
    void *user;
} hws_request_options_t;

/* A GET of "/" without body on the upstream's defaults, with priority 3. */
HWS_API void hws_request_options_init(hws_request_options_t *options);

/* Begins one. Codes only for what is known at once and is no ending: HWS_ERR_INVALID (why->detail
 * says what), HWS_ERR_NOMEM, HWS_ERR_CLOSED, HWS_ERR_FORKED, HWS_ERR_UNSUPPORTED (a raw
 * upstream). Everything else comes through on_done. The caller owns the request. */
HWS_API int hws_request_start(hws_upstream_t *upstream, const hws_request_options_t *options,
                              hws_request_t **out, hws_error_t *why);
/* Ends it with HWS_ERR_CANCELED, told through on_done at the next rest; when on_done has been
 * called, ends the streaming of its body (on_readable). Harmless when it has ended. */
HWS_API void hws_request_cancel(hws_request_t *request);
/* Frees it, in any state; what it held goes back. Nothing is called any more. NULL is harmless.
 * A streaming body that was not read to its end closes its connection. */
HWS_API void hws_request_destroy(hws_request_t *request);

typedef struct {
    const hws_head_t *head;
    const hws_head_t *trailers; /* NULL: none, or not yet */
    hws_slice_t body;           /* empty when streaming */
    const char *peer;           /* id */
    uint32_t attempts;
    bool reused; /* served on a connection that had served before */
} hws_response_t;

/* From on_done on, NULL when it failed. Lasts until the request is destroyed. */
HWS_API const hws_response_t *hws_request_response(const hws_request_t *request);
/* Why it failed, or why its body broke off; NULL when neither. */
HWS_API const hws_error_t *hws_request_error(const hws_request_t *request);
/* How many attempts there were, and one of them, by its index from 0 on. */
HWS_API uint32_t hws_request_attempts(const hws_request_t *request);
HWS_API void hws_request_trace(const hws_request_t *request, uint32_t index, hws_trace_t *out);
HWS_API hws_upstream_t *hws_request_upstream(const hws_request_t *request);

/* The next piece of a streamed body, valid until the next call on this request or until the loop
 * next runs: HWS_OK; HWS_END; HWS_AGAIN (on_readable will tell, at the latest when timeouts.read
 * has passed); or a code, with hws_request_error(). With duplex it may be called before on_done, whose
 * response is then waited for in the same way; on_done ends that wait. */
HWS_API int hws_request_read(hws_request_t *request, hws_slice_t *chunk);

/* Nobody waits to read, or to send, any more: what said HWS_AGAIN is not followed by a callback. */
HWS_API void hws_request_cancel_read(hws_request_t *request);
HWS_API void hws_request_cancel_send(hws_request_t *request);

/* Bytes of a produced body: HWS_OK and how many were taken, HWS_AGAIN when less than all. A code
 * when the request has ended; HWS_ERR_PIPE when it is the peer who wants no more. */
HWS_API int hws_request_send(hws_request_t *request, const char *data, size_t size, size_t *taken);
/* The produced body is complete. HWS_OK as well where the peer wanted no more of it. */
HWS_API int hws_request_finish(hws_request_t *request);
/* The producer failed: ends the request with HWS_ERR_CANCELED and this detail. */
HWS_API void hws_request_abort(hws_request_t *request, const char *detail);
/* As hws_request_cancel(); on HTTP/2 the peer is told `code` (RFC 9113, 7) instead of CANCEL. */
HWS_API void hws_request_reset(hws_request_t *request, uint32_t code);

/* With duplex. */
HWS_API hws_stream_state_t hws_request_stream_state(const hws_request_t *request);
/* No other stream of the manager has it, at any time; 0 while it has not been open. */
HWS_API uint64_t hws_request_stream_id(const hws_request_t *request);
/* The request with that id, until it is destroyed; else NULL. */
HWS_API hws_request_t *hws_request_by_stream_id(const hws_manager_t *manager, uint64_t id);

/* Builds `fields`: appends "name: value\r\n" to `lines`, which is emptied and freed with
 * hws_fields_dispose(). HWS_ERR_INVALID when the name is no token, is a field that only hawser
 * may set (Content-Length, Transfer-Encoding, Connection, Keep-Alive, Upgrade, TE, Trailer,
 * Expect, Proxy-Connection), or the value holds CR, LF, NUL or another control byte but TAB. */
HWS_API int hws_fields_add(hws_buffer_t *lines, hws_slice_t name, hws_slice_t value,
                           hws_error_t *why);
HWS_API void hws_fields_dispose(hws_buffer_t *lines);

#endif
