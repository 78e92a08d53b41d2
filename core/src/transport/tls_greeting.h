/* tls_greeting.h - tells a server that speaks no TLS by the first bytes it sends.
 *
 * A server's first record is a handshake message or an alert, of version 3.x. Anything else is
 * somebody who speaks no TLS, most often HTTP in the clear. */
#ifndef HWS_TRANSPORT_TLS_GREETING_H
#define HWS_TRANSPORT_TLS_GREETING_H

#include <hawser/error.h>

#define HWS_GREETING_SIZE 2

/* To be asked with all that comes while `*heard` is below HWS_GREETING_SIZE; it starts at 0. HWS_OK, or
 * HWS_ERR_TLS_PLAIN with what was sent in `detail`, cut to `size`. */
int hws_greeting_check(unsigned *heard, hws_slice_t in, char *detail, size_t size);

#endif
