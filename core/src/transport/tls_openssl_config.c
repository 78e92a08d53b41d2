#include "transport/tls_openssl.h"

#include "base/error.h"
#include "base/memory.h"
#include "transport/tls_keylog.h"
#include "transport/tls_pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <string.h>

/* Forward secrecy and authenticated encryption, nothing else. With the processor's help AES-GCM is the
 * fastest by far; who has none usually talks to a server that chooses by itself. */
#define SUITES_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES_1_2                                                                                 \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"
#define SIGNATURES                                                                                 \
    "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ed25519:"                                              \
    "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"                                 \
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"                                    \
    "RSA+SHA256:RSA+SHA384:RSA+SHA512"

/* 112 bits: RSA of 2048, no SHA-1. A system may demand more, but not less. */
#define SECURITY_LEVEL 2
/* As many intermediates as mbedTLS takes. */
#define DEPTH 8

/* Renegotiation and compression are always refused, and so is a server that does not know how to
 * renegotiate securely (RFC 5746). */
#define OPTIONS_ON (SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)
/* What openssl.cnf may have turned on for every program. */
#define OPTIONS_OFF                                                                                \
    (SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |                     \
     SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_NO_DHE_KEX | SSL_OP_NO_TICKET |                   \
     SSL_OP_NO_EXTENDED_MASTER_SECRET | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3)

static int no_memory(void)
{
    ERR_clear_error();
    return HWS_ERR_NOMEM;
}

/* `reason` of OpenSSL, or 0 where it has none to give. */
static int refuse(const char *name, const char *what, int reason, hws_error_t *why)
{
    const char *text = reason > 0 ? ERR_reason_error_string(ERR_peek_last_error()) : NULL;

    if (reason == ERR_R_MALLOC_FAILURE)
        return no_memory();
    if (text != NULL)
        hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: no %s in PEM: %s", name, what, text);
    else
        hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: no %s in PEM that can be read", name, what);
    ERR_clear_error();
    return HWS_ERR_TLS_OPTIONS;
}

static int last_reason(void)
{
    return ERR_GET_REASON(ERR_peek_last_error());
}

/* ---- what is offered ---- */

static int choose_versions(SSL_CTX *ssl, hws_tls_version_t min, hws_error_t *why)
{
    int version = min == HWS_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;

    if (SSL_CTX_get_min_proto_version(ssl) < version &&
        SSL_CTX_set_min_proto_version(ssl, version) != 1)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS,
                           "min: not to be had, OpenSSL was built without it");
    if (SSL_CTX_set_max_proto_version(ssl, 0) != 1)
        return no_memory();
    return HWS_OK;
}

static int choose_algorithms(SSL_CTX *ssl)
{
    if (SSL_CTX_get_security_level(ssl) < SECURITY_LEVEL)
        SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
    if (SSL_CTX_set_ciphersuites(ssl, SUITES_1_3) != 1 ||
        SSL_CTX_set_cipher_list(ssl, SUITES_1_2) != 1 ||
        SSL_CTX_set1_groups_list(ssl, GROUPS) != 1 ||
        SSL_CTX_set1_sigalgs_list(ssl, SIGNATURES) != 1)
        return no_memory();
    return HWS_OK;
}

/* What all names take on the wire, 0 where one cannot be sent. */
static size_t size_alpn(const char *const *names, size_t *count)
{
    size_t size = 0;

    for (*count = 0; names[*count] != NULL; (*count)++) {
        size_t length = strlen(names[*count]);

        if (length == 0 || length > 255)
            return 0;
        size += length + 1;
    }
    return size <= 0xffff ? size : 0;
}

/* One block: what is sent, each name behind its length, and the same again with a NUL behind each. */
static int set_alpn(hws_tls_config_t *config, const char *const *names, hws_error_t *why)
{
    size_t count;
    size_t size;
    char *sent;
    char *kept;

    if (names == NULL || names[0] == NULL)
        return HWS_OK;
    if ((size = size_alpn(names, &count)) == 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "alpn: each name has 1 to 255 bytes");
    if ((config->alpn_block = sent = hws_alloc(2 * size + count)) == NULL)
        return HWS_ERR_NOMEM;
    config->alpn = (hws_slice_t){sent + size, size + count};
    for (kept = sent + size; *names != NULL; names++) {
        size_t length = strlen(*names);

        *sent++ = *kept++ = (char)length;
        memcpy(sent, *names, length);
        memcpy(kept, *names, length + 1);
        sent += length;
        kept += length + 1;
    }
    if (SSL_CTX_set_alpn_protos(config->ssl, config->alpn_block, (unsigned)size) != 0)
        return no_memory();
    return HWS_OK;
}

/* ---- whom we trust ---- */

static int set_ca(hws_tls_config_t *config, hws_slice_t option, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    size_t count = 0;
    int rc;

    if ((rc = hws_pem_load("ca", option, &pem, why)) != HWS_OK)
        return rc;
    rc = hws_openssl_add_certificates(SSL_CTX_get_cert_store(config->ssl), pem.text, pem.size - 1,
                                      &count);
    hws_pem_forget(&pem);
    return rc == HWS_OK && count == 0 ? refuse("ca", "certificate", 0, why) : rc;
}

static int read_crls(BIO *bio, STACK_OF(X509_CRL) * crls, hws_error_t *why)
{
    X509_CRL *crl;

    ERR_clear_error();
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL)
        if (sk_X509_CRL_push(crls, crl) == 0) {
            X509_CRL_free(crl);
            return no_memory();
        }
    if (last_reason() != PEM_R_NO_START_LINE || sk_X509_CRL_num(crls) == 0)
        return refuse("crl", "revocation list", last_reason(), why);
    ERR_clear_error();
    return HWS_OK;
}

static int set_crls(hws_tls_config_t *config, hws_slice_t option, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    BIO *bio;
    int rc;

    if ((rc = hws_pem_load("crl", option, &pem, why)) != HWS_OK)
        return rc;
    bio = BIO_new_mem_buf(pem.text, (int)pem.size - 1);
    if (bio == NULL || (config->crls = sk_X509_CRL_new_null()) == NULL)
        rc = no_memory();
    else
        rc = read_crls(bio, config->crls, why);
    BIO_free(bio);
    hws_pem_forget(&pem);
    return rc;
}

/* Options that make no sense are told even where nothing is verified. */
static int set_trust(hws_tls_config_t *config, const hws_tls_options_t *options, hws_error_t *why)
{
    SSL_CTX *ssl = config->ssl;
    int rc;

    config->verify = options->verify;
    SSL_CTX_set_verify(ssl, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_verify_callback(ssl, hws_openssl_verify, NULL);
    SSL_CTX_set_verify_depth(ssl, DEPTH);
    /* Whatever certificate is trusted ends a chain, be it a root or not. */
    if (X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl),
                                    X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST) != 1)
        return no_memory();
    if (options->ca.size > 0 && (rc = set_ca(config, options->ca, why)) != HWS_OK)
        return rc;
    if (options->crl.size > 0 && (rc = set_crls(config, options->crl, why)) != HWS_OK)
        return rc;
    if (!options->verify || options->ca.size > 0)
        return HWS_OK;
    if ((rc = hws_roots_hold(&hws_openssl_roots, &config->roots, why)) != HWS_OK)
        return rc;
    SSL_CTX_set1_cert_store(ssl, config->roots->parsed);
    return HWS_OK;
}

/* ---- who we are ---- */

static int refuse_own(const char *name, hws_error_t *why)
{
    int reason = last_reason();
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    if (reason != ERR_R_MALLOC_FAILURE)
        hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: %s", name, text != NULL ? text : "not usable");
    ERR_clear_error();
    return reason == ERR_R_MALLOC_FAILURE ? HWS_ERR_NOMEM : HWS_ERR_TLS_OPTIONS;
}

/* The first is ours, those behind lead to its root; all must be readable. */
static int use_certificates(SSL_CTX *ssl, BIO *bio, hws_error_t *why)
{
    X509 *certificate;
    int count = 0;

    ERR_clear_error();
    while ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        int ok = count == 0 ? SSL_CTX_use_certificate(ssl, certificate) == 1
                            : SSL_CTX_add1_chain_cert(ssl, certificate) == 1;

        X509_free(certificate);
        if (!ok)
            return refuse_own("cert", why);
        count++;
    }
    if (last_reason() != PEM_R_NO_START_LINE || count == 0)
        return refuse("cert", "certificate", last_reason(), why);
    ERR_clear_error();
    return HWS_OK;
}

static int load_certificates(SSL_CTX *ssl, hws_slice_t option, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    BIO *bio;
    int rc;

    if ((rc = hws_pem_load("cert", option, &pem, why)) != HWS_OK)
        return rc;
    bio = BIO_new_mem_buf(pem.text, (int)pem.size - 1);
    rc = bio != NULL ? use_certificates(ssl, bio, why) : no_memory();
    BIO_free(bio);
    hws_pem_forget(&pem);
    return rc;
}

/* Asked for the password of a key: notes it, and has none. Without it OpenSSL would ask at the
 * terminal. */
static int no_password(char *room, int size, int is_writing, void *context)
{
    bool *was_asked = context;

    (void)room;
    (void)size;
    (void)is_writing;
    *was_asked = true;
    return -1;
}

static int use_key(SSL_CTX *ssl, BIO *bio, hws_error_t *why)
{
    bool was_asked = false;
    EVP_PKEY *key;
    int rc = HWS_OK;

    ERR_clear_error();
    key = PEM_read_bio_PrivateKey(bio, NULL, no_password, &was_asked);
    if (was_asked)
        rc = hws_explain(why, HWS_ERR_TLS_OPTIONS, "key: encrypted keys are not supported");
    else if (key == NULL)
        rc = refuse("key", "private key", last_reason(), why);
    else if (X509_check_private_key(SSL_CTX_get0_certificate(ssl), key) != 1)
        rc = hws_explain(why, HWS_ERR_TLS_OPTIONS, "key: not that of cert");
    else if (SSL_CTX_use_PrivateKey(ssl, key) != 1)
        rc = refuse_own("key", why);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return rc;
}

static int load_key(SSL_CTX *ssl, hws_slice_t option, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    BIO *bio;
    int rc;

    if ((rc = hws_pem_load("key", option, &pem, why)) != HWS_OK)
        return rc;
    bio = BIO_new_mem_buf(pem.text, (int)pem.size - 1);
    rc = bio != NULL ? use_key(ssl, bio, why) : no_memory();
    BIO_free(bio);
    hws_pem_forget(&pem);
    return rc;
}

static int set_own_certificate(hws_tls_config_t *config, const hws_tls_options_t *options,
                               hws_error_t *why)
{
    int rc;

    if ((rc = hws_tls_own_check(options, why)) != HWS_OK || options->cert.size == 0)
        return rc;
    if ((rc = load_certificates(config->ssl, options->cert, why)) != HWS_OK ||
        (rc = load_key(config->ssl, options->key, why)) != HWS_OK)
        return rc;
    config->has_cert = true;
    return HWS_OK;
}

/* ---- a configuration ---- */

static void log_key(const SSL *ssl, const char *line)
{
    (void)ssl;
    hws_keylog_write_text(line);
}

/* Keeps the last ticket of TLS 1.3; in 1.2 the connection itself has the session. */
static int keep_ticket(SSL *ssl, SSL_SESSION *ticket)
{
    hws_tls_t *tls = SSL_get_app_data(ssl);

    if (SSL_version(ssl) != TLS1_3_VERSION)
        return 0;
    SSL_SESSION_free(tls->ticket);
    tls->ticket = ticket;
    return 1;
}

int hws_tls_config_set_up(hws_tls_config_t *config, const hws_tls_options_t *options,
                          hws_error_t *why)
{
    SSL_CTX *ssl;
    int rc;

    ERR_clear_error();
    ssl = config->ssl = SSL_CTX_new(TLS_client_method());
    if (ssl == NULL)
        return no_memory();
    SSL_CTX_clear_options(ssl, OPTIONS_OFF);
    SSL_CTX_set_options(ssl, OPTIONS_ON);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, keep_ticket);
    if (hws_keylog_is_on())
        SSL_CTX_set_keylog_callback(ssl, log_key);
    if ((rc = choose_versions(ssl, options->min, why)) != HWS_OK ||
        (rc = choose_algorithms(ssl)) != HWS_OK ||
        (rc = set_trust(config, options, why)) != HWS_OK ||
        (rc = set_own_certificate(config, options, why)) != HWS_OK)
        return rc;
    return set_alpn(config, options->alpn, why);
}

hws_tls_config_t *hws_tls_config_make(void)
{
    return hws_zalloc(sizeof(hws_tls_config_t));
}

void hws_tls_config_free(hws_tls_config_t *config)
{
    SSL_CTX_free(config->ssl);
    sk_X509_CRL_pop_free(config->crls, X509_CRL_free);
    hws_roots_release(config->roots);
    hws_free(config->alpn_block);
    hws_free(config);
}
