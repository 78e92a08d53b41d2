/* h2_request.h - the head of a request as nghttp2 wants it: pseudo-header fields, then what the
 * caller gave, without what belongs to a connection (RFC 9113, 8.2 and 8.3). */
#ifndef HWS_CODEC_H2_REQUEST_H
#define HWS_CODEC_H2_REQUEST_H

#include "codec/codec.h"

#include <nghttp2/nghttp2.h>

/* One request at a time. Zeroed is valid. */
typedef struct {
    nghttp2_nv *items; /* grows as needed, and stays */
    size_t count;
    size_t capacity;
    char length[20]; /* of content-length */
    char priority[3];
} hws_h2_request_t;

void hws_h2_request_dispose(hws_h2_request_t *request);
/* Fills `request` with slices of `message`, which nghttp2 copies and whose names it makes small.
 * HWS_ERR_NOMEM; HWS_ERR_CONNECTION_FIELD; HWS_ERR_UNSUPPORTED for CONNECT. */
int hws_h2_request_fill(hws_h2_request_t *request, const hws_message_t *message, uint8_t urgency);
/* As MAX_HEADER_LIST_SIZE counts it. */
size_t hws_h2_request_size(const hws_h2_request_t *request);
/* Says that trailers are wanted (RFC 9110, 10.1.4), which gRPC asks for. HWS_ERR_NOMEM. */
int hws_h2_request_accept_trailers(hws_h2_request_t *request);

#endif
