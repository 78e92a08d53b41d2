/* h2_session.h - what the files of the HTTP/2 codec share: its state, and the life of its streams.
 *
 * h2.c has the operations, h2_receive.c and h2_send.c what nghttp2 calls back in either direction. */
#ifndef HWS_CODEC_H2_SESSION_H
#define HWS_CODEC_H2_SESSION_H

#include "base/memory.h"
#include "codec/h2.h"
#include "codec/h2_request.h"
#include "codec/h2_section.h"
#include "codec/schedule.h"
#include "codec/window.h"

#include <nghttp2/nghttp2.h>

#define HWS_H2_PING_SIZE 8

/* A stream on the wire, from `open` until both sides have ended it. */
typedef struct {
    hws_list_t link;      /* in `fresh`, `others` or `spare` */
    hws_stream_t *stream; /* NULL once it hears nothing more */
    hws_buffer_t unsent;
    uint64_t to_send; /* of a body whose size is known, not given to `send` yet */
    size_t unread;    /* told, and not consumed yet */
    hws_turn_t turn;
    hws_window_t window; /* the stream's, for what it receives */
    int32_t id;
    uint8_t urgency;
    uint8_t informational; /* 1xx that it has had */
    bool is_head_only;     /* the request was HEAD: no body follows */
    bool is_sized;         /* `to_send` means something */
    bool has_head;         /* the final one has come */
    bool has_ended;        /* the response is complete, which its stream was told */
    bool is_finished;      /* `send` has had the last byte */
    bool is_sent;          /* and it has left */
} hws_h2_part_t;

_Static_assert(sizeof(hws_h2_part_t) <= 176, "there is one for each open stream");

typedef struct {
    hws_codec_t base;
    nghttp2_session *session;
    hws_stock_t stock; /* the session's memory */
    size_t header;
    size_t buffer;
    hws_windows_t windows; /* what they begin with */
    hws_window_budget_t *budget;
    int failure; /* why the connection is beyond use, or HWS_OK */

    uint32_t header_most;  /* of a head that the peer takes */
    uint32_t streams;      /* the most that are open at once, as far as we are concerned */
    uint32_t open;         /* parts in use */
    uint32_t attached;     /* of these, those that have a stream */
    hws_list_t fresh;      /* parts whose HEADERS have not left */
    hws_list_t others;     /* the other parts in use */
    hws_list_t spare;      /* parts for the next streams */
    hws_h2_part_t *latest; /* of whose stream there was word last, or NULL; it is in use */

    hws_h2_section_t section;
    hws_window_t window; /* the connection's */
    hws_trip_t trip;
    uint32_t noise; /* frames in a row that carried nothing */
    int32_t last;   /* the peer's GOAWAY: the last stream that it has seen */
    bool has_goaway;

    hws_h2_request_t request;
    hws_schedule_t queue; /* parts that have something to send and the window for it */
    hws_buffer_t *out;    /* where what is sent goes, during nghttp2_session_mem_send; else NULL */
    hws_buffer_t pending; /* what came up between flushes */
    size_t unsent;        /* in the buffers of all parts */
    size_t unread;        /* told to any stream, and not consumed yet */
    bool is_pinging;
    bool has_said_goodbye; /* with a GOAWAY of ours */
} hws_h2_t;

/* Asks for a sign of life; measures a round trip. */
extern const uint8_t hws_h2_liveness_ping[HWS_H2_PING_SIZE];
extern const uint8_t hws_h2_trip_ping[HWS_H2_PING_SIZE];

/* ---- the connection ---- */

void hws_h2_update_room(hws_h2_t *h2);
/* Reads from nghttp2 what the peer's SETTINGS allow. */
void hws_h2_update_settings(hws_h2_t *h2);
/* No stream will be opened any more. */
void hws_h2_close_door(hws_h2_t *h2);
/* The connection is beyond use. The first reason counts, and is returned. */
int hws_h2_fail(hws_h2_t *h2, int code);
/* What nghttp2 said to a submission, which fails for nothing but memory. */
void hws_h2_check(hws_h2_t *h2, int rv);

/* ---- parts ---- */

/* A part that is on no list, or NULL. */
hws_h2_part_t *hws_h2_take_part(hws_h2_t *h2);
/* The part of a stream, or NULL for one that was given up. */
hws_h2_part_t *hws_h2_part_of(hws_h2_t *h2, int32_t id);
/* The part's stream hears nothing more; what it has to send goes on. */
void hws_h2_detach(hws_h2_t *h2, hws_h2_part_t *part);
/* The wire knows the part no longer, or will not when what is queued has left. */
void hws_h2_give_part(hws_h2_t *h2, hws_h2_part_t *part);
/* The part is over, and its stream, if it still listens, is told why. */
void hws_h2_end(hws_h2_t *h2, hws_h2_part_t *part, int code, uint32_t number);
/* The same for a reason of ours, of which the peer is told `number`. */
void hws_h2_refuse(hws_h2_t *h2, hws_h2_part_t *part, int code, uint32_t number);
/* What never left has not been seen by anybody. */
void hws_h2_refuse_fresh(hws_h2_t *h2, int code);
/* A reader has taken `size` bytes: the peer may send as many more, and perhaps some on top. Where
 * they are of the stream's last frame, that is of use to the other streams alone. */
void hws_h2_consume(hws_h2_t *h2, hws_h2_part_t *part, size_t size, bool is_last);
/* What nobody will read goes back to the connection's window: `size` bytes that were told to no stream, or
 * what the part's has not taken. */
void hws_h2_discard(hws_h2_t *h2, size_t size);
void hws_h2_give_back(hws_h2_t *h2, hws_h2_part_t *part);
/* It takes turns in sending, if it has something to send. */
void hws_h2_wake(hws_h2_t *h2, hws_h2_part_t *part);

/* ---- h2_receive.c, h2_send.c ---- */

void hws_h2_set_receive_callbacks(nghttp2_session_callbacks *callbacks);
void hws_h2_set_send_callbacks(nghttp2_session_callbacks *callbacks);
/* Queues the head in `h2->request`, and what `send` will bring. HWS_ERR_NOMEM. */
int hws_h2_submit(hws_h2_t *h2, hws_h2_part_t *part);
/* How many bytes a part may hold that have not left, at this moment. */
size_t hws_h2_bound(const hws_h2_t *h2);
/* Moves all but bodies that nghttp2 would send now to `out`. Returns the connection's failure. */
int hws_h2_drain(hws_h2_t *h2, hws_buffer_t *out);
/* DATA frames in the order of the schedule, until there were about `room` bytes. */
int hws_h2_drain_bodies(hws_h2_t *h2, size_t room, hws_buffer_t *out);

#endif
