/* tls.h - how connections are encrypted, and who the peer must be. */
#ifndef HAWSER_TLS_H
#define HAWSER_TLS_H

#include <hawser/error.h>

typedef enum { HWS_TLS_1_2, HWS_TLS_1_3 } hws_tls_version_t;

/* Zeros, but for `verify`, are the defaults. Each of ca, cert, key, crl is a file's path or PEM
 * text ("-----BEGIN" in it). All is copied. */
typedef struct {
    hws_slice_t ca;   /* empty: the system's roots */
    hws_slice_t cert; /* of ours, with its chain; empty: none */
    hws_slice_t key;
    hws_slice_t crl;
    const char *server_name; /* whom the certificate must name, and the SNI; NULL: the URL's host */
    const char *const *alpn; /* names in order of preference, ended by NULL; NULL: what the protocol
                               * is called, or nothing where that is raw */
    hws_tls_version_t min;
    bool verify; /* false: neither chain nor name is looked at */
} hws_tls_options_t;

/* "mbedTLS 2.28.3", "OpenSSL 3.0.19" */
HWS_API const char *hws_tls_engine(void);

#endif
