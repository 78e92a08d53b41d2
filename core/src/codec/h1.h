/* h1.h - HTTP/1.1 for a client (RFC 9112), one exchange at a time.
 *
 * Strict: what the RFC calls malformed ends the connection, and nothing is repaired. Its state is:
 *
 *   IDLE --open--> HEAD --final head--> BODY (sized, chunked or until the close) --> IDLE
 *                   ^   |                                                     \--> spent (is_last)
 *                   '---' 1xx, at most 8
 *
 * `is_last` turns true with Connection: close, HTTP/1.0 without keep-alive, a body that lasts
 * until the close, a response that came before the request was out, bytes after a response, and
 * every error. The Keep-Alive field's timeout becomes `idle_hint`. */
#ifndef HWS_CODEC_H1_H
#define HWS_CODEC_H1_H

#include "codec/codec.h"

int hws_h1_create(const hws_codec_options_t *options, hws_codec_t **out);

/* Appends "name: value\r\n" to `lines`. HWS_ERR_INVALID when the name is no token or the value
 * holds CR, LF, NUL or another control byte but TAB; HWS_ERR_NOMEM. */
int hws_h1_add_field(hws_buffer_t *lines, hws_slice_t name, hws_slice_t value);
/* Whether `text` is a token (RFC 9110, 5.6.2), as methods and field names must be. */
bool hws_h1_is_token(hws_slice_t text);
/* Whether `text` can stand as a request target: no white space, no control bytes, not empty. */
bool hws_h1_is_target(hws_slice_t text);

#endif
