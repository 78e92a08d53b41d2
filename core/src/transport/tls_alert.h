/* tls_alert.h - what a peer's alert means to us (RFC 8446, 6.2). */
#ifndef HWS_TRANSPORT_TLS_ALERT_H
#define HWS_TRANSPORT_TLS_ALERT_H

#include <hawser/error.h>

/* "handshake_failure"; "unknown" for a number that no standard has. */
const char *hws_alert_name(unsigned char alert);
/* The code that a fatal alert ends in. `asked`: the peer wanted a certificate of ours before; `met`:
 * its hello has come, so version and cipher suite are agreed on. */
int hws_alert_code(unsigned char alert, bool asked, bool met);

#endif
