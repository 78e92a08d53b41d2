/* h1_framing.h - what a response's fields say of its length and its connection (RFC 9112, 6, 9).
 *
 * Pure: a head goes in, numbers come out. What two readers could understand differently is
 * refused, because a peer and a proxy that disagree on where a response ends mix up responses. */
#ifndef HWS_CODEC_H1_FRAMING_H
#define HWS_CODEC_H1_FRAMING_H

#include <hawser/message.h>

typedef struct {
    bool has_length;
    bool is_chunked;
    bool keeps_alive;     /* the connection may be used again */
    uint64_t length;      /* at most 2^63 - 1 */
    hws_time_t idle_hint; /* of Keep-Alive: timeout=, at most 600 s; -1 when not given */
} hws_h1_framing_t;

/* HWS_ERR_LENGTH: a Content-Length that is no number or not one number, or that comes with
 * Transfer-Encoding. HWS_ERR_CODING: a Transfer-Encoding that is not exactly one `chunked`, or
 * in HTTP/1.0. `*out` is set only on HWS_OK. */
int hws_h1_framing(const hws_head_t *head, hws_h1_framing_t *out);

#endif
