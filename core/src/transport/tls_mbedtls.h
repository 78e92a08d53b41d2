/* tls_mbedtls.h - what the files of this engine share: tls_mbedtls.c has connections, _config.c what
 * they offer and accept, _roots.c the system's roots. */
#ifndef HWS_TRANSPORT_TLS_MBEDTLS_H
#define HWS_TRANSPORT_TLS_MBEDTLS_H

#include "transport/roots.h"
#include "transport/tls_config.h"

#include <mbedtls/version.h>

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#if MBEDTLS_VERSION_NUMBER < 0x021C0000 ||                                                         \
    (MBEDTLS_VERSION_NUMBER >= 0x03000000 && MBEDTLS_VERSION_NUMBER < 0x03020000) ||               \
    MBEDTLS_VERSION_NUMBER >= 0x04000000
#error "mbedTLS 2.28 is needed, or 3.2 and later of 3.x"
#endif
#if !defined(MBEDTLS_HAVE_TIME_DATE)
#error "this mbedTLS does not look at the dates of certificates (MBEDTLS_HAVE_TIME_DATE)"
#endif

/* What differs between the generations, but for calls that take other arguments. */
#if MBEDTLS_VERSION_NUMBER < 0x03000000
#define MBEDTLS_PRIVATE(member) member
#define BAD_CERTIFICATE MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE
#define BAD_VERSION MBEDTLS_ERR_SSL_BAD_HS_PROTOCOL_VERSION
#else
#define BAD_CERTIFICATE MBEDTLS_ERR_SSL_BAD_CERTIFICATE
#define BAD_VERSION MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
#define HAS_TLS_1_3 1
#endif
#endif

struct hws_tls_config {
    hws_tls_held_t held;
    bool verify;
    bool has_cert;
    mbedtls_ssl_config ssl;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt cert;
    mbedtls_pk_context key;
    mbedtls_x509_crl crl;
    hws_parsed_roots_t *roots; /* NULL with a CA of its own */
    const char **alpn;         /* the pointers, and behind them the names */
};

/* Makes the system's roots an mbedtls_x509_crt. */
extern const hws_roots_engine_t hws_mbedtls_roots;

/* As mbedTLS takes its random numbers: straight from the system. */
int hws_mbedtls_random(void *context, unsigned char *bytes, size_t size);
/* Whether what mbedTLS returned says so. */
bool hws_mbedtls_is_out_of_memory(int ret);
/* Has a connection's secrets logged where SSLKEYLOGFILE asks for it. */
void hws_mbedtls_log_keys(mbedtls_ssl_context *ssl);

#endif
