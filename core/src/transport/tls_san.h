/* tls_san.h - reads the subjectAltName of a certificate from its DER (RFC 5280, 4.2.1.6).
 *
 * For engines that keep only a part of it: mbedTLS 2.28 skips IP addresses. Strict: lengths are
 * definite and as short as can be, values fill their frames, the extension comes at most once.
 * Every byte read lies within the slice given; entries point into it. */
#ifndef HWS_TRANSPORT_TLS_SAN_H
#define HWS_TRANSPORT_TLS_SAN_H

#include "transport/identity.h"

#include <hawser/error.h>

typedef struct {
    hws_slice_t rest; /* of the GeneralNames */
} hws_san_reader_t;

/* `extensions` is the DER of a certificate's Extensions. HWS_OK; HWS_END: it has no subjectAltName;
 * HWS_ERR_CERT_INVALID. */
int hws_san_open(hws_slice_t extensions, hws_san_reader_t *out);
/* The next DNS name or IP address: HWS_OK, HWS_END or HWS_ERR_CERT_INVALID. Other kinds of names
 * are stepped over. */
int hws_san_next(hws_san_reader_t *reader, hws_san_t *out);
/* Writes "a.test, *.b.test, 10.0.0.1" for a human, cut to `size` and always terminated; "" when there
 * is none. What is no plain character shows as `?`. */
void hws_san_describe(hws_slice_t extensions, char *text, size_t size);

#endif
