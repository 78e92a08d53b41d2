/* tls_verdict.h - what is wrong with a certificate, as a code and in words.
 *
 * An engine collects the faults of a whole chain; which of them tells most is decided here, for all
 * engines alike. Plain values; nothing is allocated. */
#ifndef HWS_TRANSPORT_TLS_VERDICT_H
#define HWS_TRANSPORT_TLS_VERDICT_H

#include "transport/identity.h"

/* Those that tell most first. */
typedef enum {
    HWS_FAULT_MALFORMED = 1 << 0, /* or too long: nothing else was looked at */
    HWS_FAULT_REVOKED = 1 << 1,
    HWS_FAULT_UNTRUSTED = 1 << 2,
    HWS_FAULT_NAME = 1 << 3,
    HWS_FAULT_EXPIRED = 1 << 4,
    HWS_FAULT_FUTURE = 1 << 5,
    HWS_FAULT_CRL = 1 << 6,
    HWS_FAULT_CRL_DATE = 1 << 7,
    HWS_FAULT_USAGE = 1 << 8,
    HWS_FAULT_HASH = 1 << 9,
    HWS_FAULT_KEY = 1 << 10,
    HWS_FAULT_KEY_KIND = 1 << 11
} hws_fault_t;

/* Zeroed it has no faults. */
typedef struct {
    uint32_t faults;      /* HWS_FAULT_* */
    int year, month, day; /* of the certificate that has expired, or the start of a future one */
    char names[64];       /* what the certificate names, when it does not name whom we want */
    char issuer[96];      /* whom we do not know; "" when it is the certificate itself */
} hws_verdict_t;

/* Holds the certificate with these extensions (DER, as in tls_san.h) against `identity`. */
void hws_verdict_look_at_name(hws_verdict_t *verdict, const hws_identity_t *identity,
                              hws_slice_t extensions);
/* The code, HWS_ERR_CERT_INVALID where there is no fault; all that is wrong goes into `detail`, cut to
 * `size` and always terminated. */
int hws_verdict_code(const hws_verdict_t *verdict, char *detail, size_t size);

#endif
