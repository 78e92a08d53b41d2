/* tls_openssl.h - what the files of this engine share: tls_openssl.c has connections, _config.c what
 * they offer and accept, _roots.c the system's roots, _verify.c the verdict on a chain. */
#ifndef HWS_TRANSPORT_TLS_OPENSSL_H
#define HWS_TRANSPORT_TLS_OPENSSL_H

#include "transport/identity.h"
#include "transport/roots.h"
#include "transport/tls_config.h"
#include "transport/tls_verdict.h"

#include <openssl/ssl.h>

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#error "OpenSSL 3.0 is needed, or a later one"
#endif

struct hws_tls_config {
    hws_tls_held_t held;
    bool verify;
    bool has_cert;
    SSL_CTX *ssl;
    STACK_OF(X509_CRL) * crls; /* NULL: none is given */
    hws_parsed_roots_t *roots; /* NULL with a CA of its own */
    hws_slice_t alpn;          /* what is offered: each name behind its length and before a NUL */
    void *alpn_block;          /* where it lies */
};

struct hws_tls {
    SSL *ssl;
    hws_tls_config_t *config;
    hws_identity_t identity;
    hws_slice_t *in; /* for the time of one call */
    hws_buffer_t *out;
    SSL_SESSION *ticket; /* the last that came (TLS 1.3), or NULL */
    const char *alpn;    /* in the configuration's list, or NULL */
    int over;            /* what ended it: HWS_END or a code; 0 while it goes on */
    int judged;          /* what is wrong with the server's certificate, or HWS_OK */
    unsigned heard;      /* of the greeting */
    bool is_ready;
    bool is_out_of_memory;
    bool has_met;    /* the server's hello has come */
    bool was_asked;  /* for a certificate of ours */
    bool has_closed; /* we have */
    char detail[HWS_ERROR_DETAIL_MAX + 1];
};

/* Makes the system's roots an X509_STORE. */
extern const hws_roots_engine_t hws_openssl_roots;

/* Adds the certificates of a PEM text to `store` and `*count`; what cannot be read is passed over.
 * HWS_OK or HWS_ERR_NOMEM. */
int hws_openssl_add_certificates(X509_STORE *store, const char *text, size_t size, size_t *count);

/* What an SSL_CTX asks about the server's chain: 1, or 0 with `judged` and `detail` of its hws_tls_t. */
int hws_openssl_verify(X509_STORE_CTX *chain, void *context);

#endif
