#include "transport/tls_mbedtls.h"

#include "base/error.h"
#include "base/memory.h"
#include "transport/tls_keylog.h"
#include "transport/tls_pem.h"

#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/ssl_ciphersuites.h>
#if defined(HAS_TLS_1_3) ||                                                                        \
    (MBEDTLS_VERSION_NUMBER >= 0x03000000 && defined(MBEDTLS_USE_PSA_CRYPTO))
#include <psa/crypto.h>
#endif

#include <pthread.h>
#include <string.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

int hws_mbedtls_random(void *context, unsigned char *bytes, size_t size)
{
    (void)context;
    while (size > 0) {
        size_t n = size < 256 ? size : 256; /* the most that getentropy(3) gives */

        if (getentropy(bytes, n) != 0)
            return MBEDTLS_ERR_SSL_NO_RNG;
        bytes += n;
        size -= n;
    }
    return 0;
}

bool hws_mbedtls_is_out_of_memory(int ret)
{
    int low = -ret & 0x7f; /* may carry the code of another module: ASN.1 or bignums */

    return ret < 0 &&
           (ret == MBEDTLS_ERR_SSL_ALLOC_FAILED || ret == MBEDTLS_ERR_X509_ALLOC_FAILED ||
            ret == MBEDTLS_ERR_PK_ALLOC_FAILED || low == -MBEDTLS_ERR_ASN1_ALLOC_FAILED ||
            low == -MBEDTLS_ERR_MPI_ALLOC_FAILED);
}

/* Forward secrecy and authenticated encryption, nothing else. The fastest here come first: also where
 * the processor has AES-NI, mbedTLS seals and opens with ChaCha20 a quarter faster than with AES-GCM
 * (2.28: 350 and 275 MB/s, 3.6: 440 and 360). A server may well choose otherwise. */
static const int suites[] = {
#if defined(HAS_TLS_1_3)
    MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS1_3_AES_128_GCM_SHA256,
    MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#endif
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    0,
};

static const mbedtls_x509_crt_profile profile = {
    MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) | MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
    MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_RSA) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_RSASSA_PSS) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECKEY) | MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECDSA),
    MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1) |
        MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP521R1),
    2048,
};

#if MBEDTLS_VERSION_NUMBER < 0x03000000

/* The first is preferred. */
static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_CURVE25519, MBEDTLS_ECP_DP_SECP256R1,
                                              MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_NONE};
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512,
                             MBEDTLS_MD_NONE};

static int log_key(void *context, const unsigned char *master, const unsigned char *block,
                   size_t mac_size, size_t key_size, size_t iv_size,
                   const unsigned char client_random[32], const unsigned char server_random[32],
                   mbedtls_tls_prf_types prf)
{
    (void)context;
    (void)block;
    (void)mac_size;
    (void)key_size;
    (void)iv_size;
    (void)server_random;
    (void)prf;
    hws_keylog_write("CLIENT_RANDOM", client_random, master, 48);
    return 0;
}

static int choose_versions(mbedtls_ssl_config *ssl, hws_tls_version_t min, hws_error_t *why)
{
    if (min > HWS_TLS_1_2)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS,
                           "min: 1.3 is not to be had, mbedTLS " MBEDTLS_VERSION_STRING
                           " has TLS 1.2 only");
    mbedtls_ssl_conf_min_version(ssl, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(ssl, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    return HWS_OK;
}

static void choose_algorithms(mbedtls_ssl_config *ssl)
{
    mbedtls_ssl_conf_curves(ssl, curves);
    mbedtls_ssl_conf_sig_hashes(ssl, hashes);
    if (hws_keylog_is_on())
        mbedtls_ssl_conf_export_keys_ext_cb(ssl, log_key, NULL);
}

void hws_mbedtls_log_keys(mbedtls_ssl_context *ssl)
{
    (void)ssl; /* the configuration does */
}

static int start_library(void)
{
    return HWS_OK;
}

static int parse_key(mbedtls_pk_context *key, const unsigned char *text, size_t size)
{
    return mbedtls_pk_parse_key(key, text, size, NULL, 0);
}

static bool is_pair(const mbedtls_x509_crt *cert, const mbedtls_pk_context *key)
{
    return mbedtls_pk_check_pair(&cert->pk, key) == 0;
}

#else

/* Numbers of the TLS registry: x25519, secp256r1, secp384r1. */
static const uint16_t groups[] = {0x001d, 0x0017, 0x0018, 0};
/* ECDSA, RSA-PSS and RSA with PKCS #1, each with SHA-256, SHA-384 and SHA-512. */
static const uint16_t signatures[] = {0x0403, 0x0503, 0x0603, 0x0804, 0x0805,
                                      0x0806, 0x0401, 0x0501, 0x0601, 0};

static void log_key(void *context, mbedtls_ssl_key_export_type type, const unsigned char *secret,
                    size_t size, const unsigned char client_random[32],
                    const unsigned char server_random[32], mbedtls_tls_prf_types prf)
{
    const char *label = NULL;

    (void)context;
    (void)server_random;
    (void)prf;
    switch (type) {
    case MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET:
        label = "CLIENT_RANDOM";
        break;
#if defined(HAS_TLS_1_3)
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_HANDSHAKE_TRAFFIC_SECRET:
        label = "CLIENT_HANDSHAKE_TRAFFIC_SECRET";
        break;
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_HANDSHAKE_TRAFFIC_SECRET:
        label = "SERVER_HANDSHAKE_TRAFFIC_SECRET";
        break;
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_CLIENT_APPLICATION_TRAFFIC_SECRET:
        label = "CLIENT_TRAFFIC_SECRET_0";
        break;
    case MBEDTLS_SSL_KEY_EXPORT_TLS1_3_SERVER_APPLICATION_TRAFFIC_SECRET:
        label = "SERVER_TRAFFIC_SECRET_0";
        break;
#endif
    default:
        return;
    }
    hws_keylog_write(label, client_random, secret, size);
}

static int choose_versions(mbedtls_ssl_config *ssl, hws_tls_version_t min, hws_error_t *why)
{
#if defined(HAS_TLS_1_3)
    (void)why;
    mbedtls_ssl_conf_min_tls_version(ssl, min == HWS_TLS_1_3 ? MBEDTLS_SSL_VERSION_TLS1_3
                                                             : MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(ssl, MBEDTLS_SSL_VERSION_TLS1_3);
    mbedtls_ssl_conf_tls13_key_exchange_modes(ssl,
                                              MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
#if MBEDTLS_VERSION_NUMBER >= 0x03060100 && defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        ssl, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
#else
    if (min > HWS_TLS_1_2)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS,
                           "min: 1.3 is not to be had, mbedTLS was built without it");
    mbedtls_ssl_conf_min_tls_version(ssl, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(ssl, MBEDTLS_SSL_VERSION_TLS1_2);
#endif
    return HWS_OK;
}

static void choose_algorithms(mbedtls_ssl_config *ssl)
{
    mbedtls_ssl_conf_groups(ssl, groups);
    mbedtls_ssl_conf_sig_algs(ssl, signatures);
}

void hws_mbedtls_log_keys(mbedtls_ssl_context *ssl)
{
    if (hws_keylog_is_on())
        mbedtls_ssl_set_export_keys_cb(ssl, log_key, NULL);
}

/* TLS 1.3 takes its primitives from PSA, which is made once for the process. */
static int start_library(void)
{
#if defined(HAS_TLS_1_3) || defined(MBEDTLS_USE_PSA_CRYPTO)
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    psa_status_t status;

    pthread_mutex_lock(&lock);
    status = psa_crypto_init();
    pthread_mutex_unlock(&lock);
    return status == PSA_SUCCESS ? HWS_OK : HWS_ERR_NOMEM;
#else
    return HWS_OK;
#endif
}

static int parse_key(mbedtls_pk_context *key, const unsigned char *text, size_t size)
{
    return mbedtls_pk_parse_key(key, text, size, NULL, 0, hws_mbedtls_random, NULL);
}

static bool is_pair(const mbedtls_x509_crt *cert, const mbedtls_pk_context *key)
{
    return mbedtls_pk_check_pair(&cert->pk, key, hws_mbedtls_random, NULL) == 0;
}

#endif

static int refuse(const char *name, const char *what, int ret, hws_error_t *why)
{
    char text[80];

    if (hws_mbedtls_is_out_of_memory(ret))
        return HWS_ERR_NOMEM;
    if (ret == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || ret == MBEDTLS_ERR_PEM_PASSWORD_REQUIRED)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: encrypted keys are not supported", name);
    if (ret >= 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: no %s in PEM that can be read", name,
                           what);
    mbedtls_strerror(ret, text, sizeof(text));
    return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: no %s in PEM: %s", name, what, text);
}

/* Of a bundle, what cannot be read is passed over; of our own chain, all must be. */
static int load_certificates(const char *name, hws_slice_t option, bool is_bundle,
                             mbedtls_x509_crt *out, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    int rc;
    int ret;

    if ((rc = hws_pem_load(name, option, &pem, why)) != HWS_OK)
        return rc;
    ret = mbedtls_x509_crt_parse(out, (const unsigned char *)pem.text, pem.size);
    hws_pem_forget(&pem);
    if (ret < 0 || (ret > 0 && !is_bundle) || out->version == 0)
        return refuse(name, "certificate", ret, why);
    return HWS_OK;
}

static int load_crl(hws_slice_t option, mbedtls_x509_crl *out, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    int rc;
    int ret;

    if ((rc = hws_pem_load("crl", option, &pem, why)) != HWS_OK)
        return rc;
    ret = mbedtls_x509_crl_parse(out, (const unsigned char *)pem.text, pem.size);
    hws_pem_forget(&pem);
    return ret == 0 && out->version > 0 ? HWS_OK : refuse("crl", "revocation list", ret, why);
}

static int load_key(hws_slice_t option, mbedtls_pk_context *out, hws_error_t *why)
{
    hws_pem_t pem = {NULL, 0};
    int rc;
    int ret;

    if ((rc = hws_pem_load("key", option, &pem, why)) != HWS_OK)
        return rc;
    ret = parse_key(out, (const unsigned char *)pem.text, pem.size);
    hws_pem_forget(&pem);
    return ret == 0 ? HWS_OK : refuse("key", "private key", ret, why);
}

static int set_own_certificate(hws_tls_config_t *config, const hws_tls_options_t *options,
                               hws_error_t *why)
{
    int rc;

    if ((rc = hws_tls_own_check(options, why)) != HWS_OK || options->cert.size == 0)
        return rc;
    if ((rc = load_certificates("cert", options->cert, false, &config->cert, why)) != HWS_OK ||
        (rc = load_key(options->key, &config->key, why)) != HWS_OK)
        return rc;
    if (!is_pair(&config->cert, &config->key))
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "key: not that of cert");
    if (mbedtls_ssl_conf_own_cert(&config->ssl, &config->cert, &config->key) != 0)
        return HWS_ERR_NOMEM;
    config->has_cert = true;
    return HWS_OK;
}

static int set_trust(hws_tls_config_t *config, const hws_tls_options_t *options, hws_error_t *why)
{
    mbedtls_x509_crl *crl = NULL;
    int rc;

    config->verify = options->verify;
    mbedtls_ssl_conf_authmode(&config->ssl, options->verify ? MBEDTLS_SSL_VERIFY_REQUIRED
                                                            : MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_cert_profile(&config->ssl, &profile);
    /* Options that make no sense are told even where nothing is verified. */
    if (options->ca.size > 0 &&
        (rc = load_certificates("ca", options->ca, true, &config->ca, why)) != HWS_OK)
        return rc;
    if (options->crl.size > 0) {
        if ((rc = load_crl(options->crl, &config->crl, why)) != HWS_OK)
            return rc;
        crl = &config->crl;
    }
    if (options->verify && options->ca.size == 0 &&
        (rc = hws_roots_hold(&hws_mbedtls_roots, &config->roots, why)) != HWS_OK)
        return rc;
    mbedtls_ssl_conf_ca_chain(&config->ssl,
                              config->roots != NULL ? config->roots->parsed : &config->ca, crl);
    return HWS_OK;
}

static int set_alpn(hws_tls_config_t *config, const char *const *names, hws_error_t *why)
{
    size_t count = 0;
    size_t size = 0;
    char *to;
    size_t i;

    if (names == NULL || names[0] == NULL)
        return HWS_OK;
    for (; names[count] != NULL; count++)
        size += strlen(names[count]) + 1;
    if ((config->alpn = hws_zalloc((count + 1) * sizeof(*config->alpn) + size)) == NULL)
        return HWS_ERR_NOMEM;
    to = (char *)(config->alpn + count + 1);
    for (i = 0; i < count; i++) {
        size = strlen(names[i]) + 1;
        memcpy(to, names[i], size);
        config->alpn[i] = to;
        to += size;
    }
    if (mbedtls_ssl_conf_alpn_protocols(&config->ssl, config->alpn) != 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "alpn: each name has 1 to 255 bytes");
    return HWS_OK;
}

int hws_tls_config_set_up(hws_tls_config_t *config, const hws_tls_options_t *options,
                          hws_error_t *why)
{
    mbedtls_ssl_config *ssl = &config->ssl;
    int rc;

    if (mbedtls_ssl_config_defaults(ssl, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                    MBEDTLS_SSL_PRESET_DEFAULT) != 0)
        return HWS_ERR_NOMEM;
    if ((rc = choose_versions(ssl, options->min, why)) != HWS_OK)
        return rc;
    choose_algorithms(ssl);
    mbedtls_ssl_conf_ciphersuites(ssl, suites);
    mbedtls_ssl_conf_rng(ssl, hws_mbedtls_random, NULL);
    /* Renegotiation is always refused. A server that does not know how to do it securely (RFC 5746)
     * is refused as well, as OpenSSL 3 does: what we send might be appended to another's. */
#if defined(MBEDTLS_SSL_RENEGOTIATION)
    mbedtls_ssl_conf_renegotiation(ssl, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
#endif
    mbedtls_ssl_conf_legacy_renegotiation(ssl, MBEDTLS_SSL_LEGACY_BREAK_HANDSHAKE);
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
    mbedtls_ssl_conf_session_tickets(ssl, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
#endif
#if defined(MBEDTLS_SSL_EXTENDED_MASTER_SECRET)
    mbedtls_ssl_conf_extended_master_secret(ssl, MBEDTLS_SSL_EXTENDED_MS_ENABLED);
#endif
    if ((rc = set_trust(config, options, why)) != HWS_OK ||
        (rc = set_own_certificate(config, options, why)) != HWS_OK)
        return rc;
    return set_alpn(config, options->alpn, why);
}

hws_tls_config_t *hws_tls_config_make(void)
{
    hws_tls_config_t *config = start_library() == HWS_OK ? hws_zalloc(sizeof(*config)) : NULL;

    if (config == NULL)
        return NULL;
    mbedtls_ssl_config_init(&config->ssl);
    mbedtls_x509_crt_init(&config->ca);
    mbedtls_x509_crt_init(&config->cert);
    mbedtls_pk_init(&config->key);
    mbedtls_x509_crl_init(&config->crl);
    return config;
}

void hws_tls_config_free(hws_tls_config_t *config)
{
    mbedtls_ssl_config_free(&config->ssl);
    mbedtls_x509_crt_free(&config->ca);
    mbedtls_x509_crt_free(&config->cert);
    mbedtls_pk_free(&config->key);
    mbedtls_x509_crl_free(&config->crl);
    hws_roots_release(config->roots);
    hws_free(config->alpn);
    hws_free(config);
}
