/* yamux.h - many byte streams over one connection, opened by either side: hashicorp's yamux, version
 * 0, as its specification and its Go implementation have it. */
#ifndef HWS_CODEC_YAMUX_H
#define HWS_CODEC_YAMUX_H

#include "codec/codec.h"

typedef enum { HWS_YAMUX_CLIENT, HWS_YAMUX_SERVER } hws_yamux_role_t; /* odd ids, even ids */

/* HWS_ERR_NOMEM. Both roles open streams and accept the peer's. */
int hws_yamux_create(const hws_codec_options_t *options, hws_yamux_role_t role, hws_codec_t **out);

#endif
