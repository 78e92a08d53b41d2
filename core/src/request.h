/* request.h - one HTTP request through its attempts to its one ending. */
#ifndef HWS_REQUEST_H
#define HWS_REQUEST_H

#include "base/hash.h"
#include "call.h"
#include "pool/inbox.h"

#include <hawser/request.h>

#define HWS_REQUEST_STORE 256 /* method, target and fields of an ordinary request */
#define HWS_REQUEST_HEAD 768  /* a response's head of ordinary size, with its field offsets */

/* What a response's head brought. */
typedef struct {
    hws_head_t head;
    hws_head_t trailers; /* owns its block */
    hws_response_t response;
    char *head_block; /* owned: when the head does not fit the request's store */
} hws_reply_t;

struct hws_request {
    void (*on_done)(hws_request_t *request, void *user);
    void (*on_readable)(hws_request_t *request, void *user);
    void (*on_writable)(hws_request_t *request, void *user);
    void *user;
    char *words; /* method, target and fields, one behind the other: in the store, or owned */
    size_t method_size;
    size_t target_size;
    size_t fields_size;
    hws_slice_t body; /* borrowed */
    size_t body_sent;
    size_t body_size; /* received */
    size_t max_body;
    hws_time_t quiet_since; /* later than the connection's last bytes, when the wait began later */
    hws_reply_t *answer;    /* its own, or, is_duplex, owned: NULL until the head comes */
    hws_inbox_t inbox;      /* body that nobody has taken yet */
    int end_status;         /* what the stream ended with */
    int verdict;            /* why it must end, found inside an event; HWS_OK */
    bool *destroyed;        /* set while a callback runs, which may destroy the request */
    hws_time_t idle_age;    /* of the connection when it was taken */
    hws_time_t attempt_until; /* timeouts.attempt; HWS_NEVER: none */
    hws_hash_link_t id_link;  /* in manager->streams, once there is a stream_id */
    uint64_t stream_id;
    uint8_t state; /* is_duplex: hws_stream_state_t */
    bool is_duplex;
    bool is_bounded; /* is_duplex: the deadline is that of the whole stream */
    bool was_cut;    /* is_duplex: the peer wanted no more, before all was sent */
    bool is_streaming;
    bool has_producer;
    bool producer_asked; /* from then on nothing goes again */
    bool is_sent;        /* head and body, as far as the user's side goes */
    bool has_head;
    bool is_complete; /* the response is there to its end */
    bool is_told;     /* on_done was called */
    bool wants_readable;
    bool wants_writable;
    bool is_reused;
    bool has_ended; /* the stream of the present attempt */
    bool was_stale; /* ... on a connection that had been idle, and not a byte had come */
    bool was_replayed;
    bool was_refused; /* it went elsewhere after REFUSED_STREAM */
    bool was_goaway;  /* ... after GOAWAY */
    bool was_turned;  /* it went again over HTTP/1.1, as the peer wanted */
    bool is_weighed;  /* streaming: whether the head is told or the request goes again is decided */
    bool holds_answer; /* of the last attempt; told if there is no other */
    bool has_host;     /* the user gave a Host field */
    bool has_body;     /* of a known size, perhaps 0 */
    hws_call_t call;   /* what follows is not zeroed */
    /* Not there when is_duplex. */
    hws_reply_t own_answer;
    char store[HWS_REQUEST_STORE];
    _Alignas(hws_field_t) char head_store[HWS_REQUEST_HEAD];
};

#endif
