/* lease_tls.h - a lease's connection goes over to TLS: the handshake, from its beginning to its end.
 * For lease.c. */
#ifndef HWS_LEASE_TLS_H
#define HWS_LEASE_TLS_H

#include "lease.h"
#include "pool/connection.h"

/* Begins it on a connection that is fit for it. HWS_AGAIN, or how the lease failed. `options` as for
 * hws_lease_start_tls(). */
int hws_lease_begin_tls(hws_lease_t *lease, const hws_tls_options_t *options, hws_time_t now);
/* The handshake is over, and hws_lease_start_tls() will say how. Harmless when none is under way. */
void hws_lease_end_tls(hws_lease_t *lease, int status);
/* Ends the connection, also one that is being set up: nothing goes on in the clear. */
void hws_lease_fail_tls(hws_lease_t *lease, hws_close_reason_t why, int code, const char *detail,
                        hws_time_t now);
/* The same before it has begun; returns `code`. */
int hws_lease_refuse_tls(hws_lease_t *lease, int code, const char *detail, hws_time_t now);

#endif
