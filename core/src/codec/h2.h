/* h2.h - HTTP/2 for a client (RFC 9113), over nghttp2, which frames, compresses and checks.
 *
 * What nghttp2 leaves to its user is decided here: windows open as readers consume, and grow with
 * what the path carries (window.h); DATA leaves by urgency (schedule.h); a malformed message
 * is refused, never repaired; a connection that broke the protocol ends with the GOAWAY that says
 * why. Server push is refused.
 *
 * RST_STREAM(NO_ERROR) behind a complete response is no second on_end (RFC 9113, 8.1): who was
 * still sending learns it from `send`, which then says HWS_ERR_PIPE, after on_writable. A peer that
 * lowers its limit of streams below what is open ends those whose heads have not left, with
 * HWS_ERR_REFUSED_STREAM. */
#ifndef HWS_CODEC_H2_H
#define HWS_CODEC_H2_H

#include "codec/codec.h"

/* HWS_ERR_NOMEM. The preface and SETTINGS leave with the first flush. */
int hws_h2_create(const hws_codec_options_t *options, hws_codec_t **out);

#endif
