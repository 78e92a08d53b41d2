/* raw.h - bytes as they are: one stream at a time, no framing.
 *
 * What comes is body. Nothing on the wire says that a stream is over, so its owner does: `leave`
 * gives it back in good order, which brings no event and makes room for the next one; `reset` makes
 * the connection is_last. The peer's FIN is on_end with HWS_OK: after it nothing comes and the
 * connection is_last, but what the owner sends is still taken. (Half-closing is the connection's
 * affair: a codec has no word for it.) */
#ifndef HWS_CODEC_RAW_H
#define HWS_CODEC_RAW_H

#include "codec/codec.h"

int hws_raw_create(const hws_codec_options_t *options, hws_codec_t **out);

#endif
