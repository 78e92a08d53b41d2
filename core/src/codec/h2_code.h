/* h2_code.h - the error codes of HTTP/2 (RFC 9113, 7) as codes of ours. */
#ifndef HWS_CODEC_H2_CODE_H
#define HWS_CODEC_H2_CODE_H

#include <hawser/error.h>

/* The peer reset a stream: of kind RESET, with the RFC's name. */
int hws_h2_reset_code(uint32_t number);
/* We end the connection because the peer broke the protocol: of kind PROTOCOL; or, with
 * INTERNAL_ERROR, for want of memory. */
int hws_h2_breach_code(uint32_t number);

#endif
