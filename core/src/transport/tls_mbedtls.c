/* tls_mbedtls.c - the engine on mbedTLS, 2.28 or 3.x.
 *
 * 2.28 speaks TLS 1.2 alone. It verifies chains, but not identities: it takes the common name where
 * subjectAltName is missing and skips IP addresses, so its verdict on the name is replaced by ours.
 * Randomness comes straight from the system, so that no fork repeats it. mbedTLS allocates with
 * calloc(3); only in builds that nobody ships could that be changed without changing it for the
 * whole process. A connection costs its two record buffers, some 34 KB together. */
#include "transport/tls.h"
#include "base/error.h"
#include "base/list.h"
#include "base/memory.h"
#include "transport/identity.h"
#include "transport/roots.h"
#include "transport/tls_alert.h"
#include "transport/tls_joiner.h"
#include "transport/tls_keylog.h"
#include "transport/tls_san.h"

#include <mbedtls/version.h>

#include <mbedtls/error.h>
#include <mbedtls/pem.h>
#include <mbedtls/pk.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/x509_crl.h>
#include <mbedtls/x509_crt.h>

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

#if MBEDTLS_VERSION_NUMBER < 0x021C0000 ||                                                         \
    (MBEDTLS_VERSION_NUMBER >= 0x03000000 && MBEDTLS_VERSION_NUMBER < 0x03020000) ||               \
    MBEDTLS_VERSION_NUMBER >= 0x04000000
#error "mbedTLS 2.28 is needed, or 3.2 and later of 3.x"
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
#include <psa/crypto.h>
#endif
#endif

/* What one record adds to its data: header, explicit nonce or type, tag; and some to spare. */
#define RECORD_SIZE ((size_t)MBEDTLS_SSL_OUT_CONTENT_LEN)
#define RECORD_OVERHEAD ((size_t)64)

typedef struct {
    hws_list_t link;
    size_t count; /* configurations that use them */
    hws_roots_t places;
    mbedtls_x509_crt chain;
} roots_t;

struct hws_tls_config {
    size_t count;
    uint64_t id;
    bool verify;
    bool has_cert;
    mbedtls_ssl_config ssl;
    mbedtls_x509_crt ca;
    mbedtls_x509_crt cert;
    mbedtls_pk_context key;
    mbedtls_x509_crl crl;
    roots_t *roots;    /* NULL with a CA of its own */
    const char **alpn; /* the pointers, and behind them the names */
};

struct hws_tls_session {
    mbedtls_ssl_session ssl;
    uint64_t config;
    hws_identity_t identity;
    bool is_single_use;
};

struct hws_tls {
    mbedtls_ssl_context ssl;
    hws_tls_config_t *config;
    hws_identity_t identity;
    hws_slice_t *in; /* for the time of one call */
    hws_buffer_t *out;
    hws_joiner_t joiner;   /* between `in` and mbedTLS, during the handshake */
    int over;              /* what ended it: HWS_END or a code; 0 while it goes on */
    unsigned heard;        /* of the first two bytes */
    bool is_offered;       /* a session, to be resumed */
    bool has_met;          /* the server's hello has come */
    bool was_asked;        /* for a certificate of ours */
    bool was_shown;        /* the server's certificate: not resumed */
    bool has_closed;       /* we have */
    bool has_ticket;       /* a fresh one, after the handshake (TLS 1.3) */
    uint32_t flags;        /* MBEDTLS_X509_BADCERT_* of the whole chain */
    mbedtls_x509_time end; /* of the certificate that has expired, or the start of a future one */
    char names[64];        /* what the certificate names, when it does not name whom we want */
    char cipher[64];
    char detail[HWS_ERROR_DETAIL_MAX + 1];
};

const char *hws_tls_engine(void)
{
    return "mbedTLS " MBEDTLS_VERSION_STRING;
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int draw_random(void *context, unsigned char *bytes, size_t size)
{
    (void)context;
    while (size > 0) {
        size_t n = min(size, 256); /* the most that getentropy(3) gives */

        if (getentropy(bytes, n) != 0)
            return MBEDTLS_ERR_SSL_NO_RNG;
        bytes += n;
        size -= n;
    }
    return 0;
}

static bool is_out_of_memory(int ret)
{
    int low = -ret & 0x7f; /* may carry the code of another module: ASN.1 or bignums */

    return ret < 0 &&
           (ret == MBEDTLS_ERR_SSL_ALLOC_FAILED || ret == MBEDTLS_ERR_X509_ALLOC_FAILED ||
            ret == MBEDTLS_ERR_PK_ALLOC_FAILED || low == -MBEDTLS_ERR_ASN1_ALLOC_FAILED ||
            low == -MBEDTLS_ERR_MPI_ALLOC_FAILED);
}

/* ---- the system's roots: parsed once, as long as some configuration uses them ---- */

static pthread_mutex_t roots_lock = PTHREAD_MUTEX_INITIALIZER;
static hws_list_t all_roots = {&all_roots, &all_roots};

static bool are_same_places(const hws_roots_t *a, const hws_roots_t *b)
{
    return strcmp(a->file, b->file) == 0 && strcmp(a->folders, b->folders) == 0;
}

static roots_t *find_roots(const hws_roots_t *places)
{
#if defined(MBEDTLS_THREADING_C)
    HWS_LIST_EACH(link, &all_roots) {
        roots_t *roots = HWS_CONTAINER(link, roots_t, link);

        if (are_same_places(&roots->places, places))
            return roots;
    }
#else
    /* Without its mutexes, mbedTLS cannot use one RSA key in two threads. */
    (void)are_same_places;
    (void)places;
#endif
    return NULL;
}

static void parse_folders(const char *folders, mbedtls_x509_crt *chain)
{
    char path[sizeof(((hws_roots_t *)NULL)->folders)];

    while (*folders != '\0') {
        size_t size = strcspn(folders, ":");

        memcpy(path, folders, size);
        path[size] = '\0';
        if (size > 0)
            mbedtls_x509_crt_parse_path(chain, path);
        folders += size + (folders[size] == ':');
    }
}

/* Certificates that mbedTLS cannot read are passed over: every distribution has some. */
static int parse_roots(const hws_roots_t *places, mbedtls_x509_crt *chain, hws_error_t *why)
{
    int ret = 0;

    if (places->file[0] != '\0')
        ret = mbedtls_x509_crt_parse_file(chain, places->file);
    if (is_out_of_memory(ret))
        return HWS_ERR_NOMEM;
    parse_folders(places->folders, chain);
    if (chain->version == 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "ca: no certificates in %.60s",
                           places->file[0] != '\0' ? places->file : places->folders);
    return HWS_OK;
}

static int make_roots(const hws_roots_t *places, roots_t **out, hws_error_t *why)
{
    roots_t *roots = hws_zalloc(sizeof(*roots));
    int rc;

    if (roots == NULL)
        return HWS_ERR_NOMEM;
    roots->places = *places;
    mbedtls_x509_crt_init(&roots->chain);
    if ((rc = parse_roots(places, &roots->chain, why)) != HWS_OK) {
        mbedtls_x509_crt_free(&roots->chain);
        hws_free(roots);
        return rc;
    }
    hws_list_push_front(&all_roots, &roots->link);
    *out = roots;
    return HWS_OK;
}

static int hold_roots(roots_t **out, hws_error_t *why)
{
    hws_roots_t places;
    roots_t *roots;
    int rc = HWS_OK;

    if (!hws_roots_find(&places))
        return hws_explain(why, HWS_ERR_TLS_OPTIONS,
                           "ca: this system has no roots that we know of; give a file");
    pthread_mutex_lock(&roots_lock);
    if ((roots = find_roots(&places)) != NULL ||
        (rc = make_roots(&places, &roots, why)) == HWS_OK) {
        roots->count++;
        *out = roots;
    }
    pthread_mutex_unlock(&roots_lock);
    return rc;
}

static void release_roots(roots_t *roots)
{
    pthread_mutex_lock(&roots_lock);
    if (--roots->count == 0) {
        hws_list_remove(&roots->link);
        mbedtls_x509_crt_free(&roots->chain);
        hws_free(roots);
    }
    pthread_mutex_unlock(&roots_lock);
}

/* ---- what is offered and accepted ---- */

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
    return mbedtls_pk_parse_key(key, text, size, NULL, 0, draw_random, NULL);
}

static bool is_pair(const mbedtls_x509_crt *cert, const mbedtls_pk_context *key)
{
    return mbedtls_pk_check_pair(&cert->pk, key, draw_random, NULL) == 0;
}

#endif

/* ---- a configuration ---- */

/* An option's text, with a NUL behind: PEM as it is, or what the file of that path holds. */
typedef struct {
    char *text;
    size_t size; /* with the NUL */
} pem_t;

#define PEM_MAX ((long)16 << 20)

static bool is_pem(hws_slice_t option)
{
    static const char begin[] = "-----BEGIN";
    size_t i;

    for (i = 0; i + sizeof(begin) - 1 <= option.size; i++)
        if (memcmp(option.data + i, begin, sizeof(begin) - 1) == 0)
            return true;
    return false;
}

static void forget_pem(pem_t *pem)
{
    if (pem->text != NULL)
        mbedtls_platform_zeroize(pem->text, pem->size);
    hws_free(pem->text);
}

static int copy_text(hws_slice_t from, pem_t *out)
{
    char *text = hws_alloc(from.size + 1);

    if (text == NULL)
        return HWS_ERR_NOMEM;
    memcpy(text, from.data, from.size);
    text[from.size] = '\0';
    *out = (pem_t){text, from.size + 1};
    return HWS_OK;
}

static int read_whole(FILE *file, pem_t *out)
{
    long size;
    char *text;

    if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || size > PEM_MAX)
        return HWS_ERR_TLS_OPTIONS;
    rewind(file);
    if ((text = hws_alloc((size_t)size + 1)) == NULL)
        return HWS_ERR_NOMEM;
    *out = (pem_t){text, fread(text, 1, (size_t)size, file) + 1};
    text[out->size - 1] = '\0';
    return HWS_OK;
}

static int read_file(const char *name, const char *path, pem_t *out, hws_error_t *why)
{
    FILE *file = fopen(path, "rbe");
    int rc;

    if (file == NULL)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: cannot open %.70s", name, path);
    setvbuf(file, NULL, _IONBF, 0); /* no copy of a key stays behind */
    rc = read_whole(file, out);
    fclose(file);
    if (rc == HWS_ERR_TLS_OPTIONS)
        hws_explain(why, rc, "%s: cannot read %.70s", name, path);
    return rc;
}

static int load(const char *name, hws_slice_t option, pem_t *out, hws_error_t *why)
{
    pem_t path;
    int rc;

    if (is_pem(option))
        return copy_text(option, out);
    if (memchr(option.data, '\0', option.size) != NULL)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "%s: a path with a NUL", name);
    if ((rc = copy_text(option, &path)) != HWS_OK)
        return rc;
    rc = read_file(name, path.text, out, why);
    hws_free(path.text);
    return rc;
}

static int refuse(const char *name, const char *what, int ret, hws_error_t *why)
{
    char text[80];

    if (is_out_of_memory(ret))
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
    pem_t pem = {NULL, 0};
    int rc;
    int ret;

    if ((rc = load(name, option, &pem, why)) != HWS_OK)
        return rc;
    ret = mbedtls_x509_crt_parse(out, (const unsigned char *)pem.text, pem.size);
    forget_pem(&pem);
    if (ret < 0 || (ret > 0 && !is_bundle) || out->version == 0)
        return refuse(name, "certificate", ret, why);
    return HWS_OK;
}

static int load_crl(hws_slice_t option, mbedtls_x509_crl *out, hws_error_t *why)
{
    pem_t pem = {NULL, 0};
    int rc;
    int ret;

    if ((rc = load("crl", option, &pem, why)) != HWS_OK)
        return rc;
    ret = mbedtls_x509_crl_parse(out, (const unsigned char *)pem.text, pem.size);
    forget_pem(&pem);
    return ret == 0 && out->version > 0 ? HWS_OK : refuse("crl", "revocation list", ret, why);
}

static int load_key(hws_slice_t option, mbedtls_pk_context *out, hws_error_t *why)
{
    pem_t pem = {NULL, 0};
    int rc;
    int ret;

    if ((rc = load("key", option, &pem, why)) != HWS_OK)
        return rc;
    ret = parse_key(out, (const unsigned char *)pem.text, pem.size);
    forget_pem(&pem);
    return ret == 0 ? HWS_OK : refuse("key", "private key", ret, why);
}

static int set_own_certificate(hws_tls_config_t *config, const hws_tls_options_t *options,
                               hws_error_t *why)
{
    int rc;

    if (options->cert.size == 0 && options->key.size == 0)
        return HWS_OK;
    if (options->cert.size == 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "key: given without cert");
    if (options->key.size == 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "cert: given without key");
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
        (rc = hold_roots(&config->roots, why)) != HWS_OK)
        return rc;
    mbedtls_ssl_conf_ca_chain(&config->ssl,
                              config->roots != NULL ? &config->roots->chain : &config->ca, crl);
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

static int set_up(hws_tls_config_t *config, const hws_tls_options_t *options, hws_error_t *why)
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
    mbedtls_ssl_conf_rng(ssl, draw_random, NULL);
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

int hws_tls_config_create(const hws_tls_options_t *options, hws_tls_config_t **out,
                          hws_error_t *why)
{
    static atomic_uint_fast64_t last_id;
    hws_tls_config_t *config;
    int rc;

    if (start_library() != HWS_OK || (config = hws_zalloc(sizeof(*config))) == NULL)
        return hws_explain(why, HWS_ERR_NOMEM, "%s", hws_error_text(HWS_ERR_NOMEM));
    config->count = 1;
    config->id = atomic_fetch_add(&last_id, 1) + 1;
    mbedtls_ssl_config_init(&config->ssl);
    mbedtls_x509_crt_init(&config->ca);
    mbedtls_x509_crt_init(&config->cert);
    mbedtls_pk_init(&config->key);
    mbedtls_x509_crl_init(&config->crl);
    if ((rc = set_up(config, options, why)) != HWS_OK) {
        if (rc == HWS_ERR_NOMEM)
            hws_explain(why, rc, "%s", hws_error_text(rc));
        hws_tls_config_release(config);
        return rc;
    }
    *out = config;
    return HWS_OK;
}

void hws_tls_config_hold(hws_tls_config_t *config)
{
    config->count++;
}

void hws_tls_config_release(hws_tls_config_t *config)
{
    if (config == NULL || --config->count > 0)
        return;
    mbedtls_ssl_config_free(&config->ssl);
    mbedtls_x509_crt_free(&config->ca);
    mbedtls_x509_crt_free(&config->cert);
    mbedtls_pk_free(&config->key);
    mbedtls_x509_crl_free(&config->crl);
    if (config->roots != NULL)
        release_roots(config->roots);
    hws_free(config->alpn);
    hws_free(config);
}

uint64_t hws_tls_config_id(const hws_tls_config_t *config)
{
    return config->id;
}

/* ---- verification: mbedTLS looks at the chain, we look at the name ---- */

static hws_slice_t extensions_of(const mbedtls_x509_crt *certificate)
{
    return (hws_slice_t){(const char *)certificate->v3_ext.p, certificate->v3_ext.len};
}

static bool is_named(const hws_identity_t *identity, hws_slice_t extensions)
{
    hws_san_reader_t reader;
    hws_san_t san;

    if (hws_san_open(extensions, &reader) != HWS_OK)
        return false;
    while (hws_san_next(&reader, &san) == HWS_OK)
        if (hws_identity_fits(identity, &san))
            return true;
    return false;
}

/* mbedTLS calls this for each certificate, the leaf (depth 0) last. */
static int look_at(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    hws_tls_t *tls = context;

    if ((*flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0)
        tls->end = certificate->valid_to;
    else if ((*flags & MBEDTLS_X509_BADCERT_FUTURE) != 0)
        tls->end = certificate->valid_from;
    if (depth == 0) {
        *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
        if (!is_named(&tls->identity, extensions_of(certificate))) {
            *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
            hws_san_describe(extensions_of(certificate), tls->names, sizeof(tls->names));
        }
    }
    tls->flags |= *flags;
    return 0;
}

#define FLAGS_OF_CRL                                                                               \
    (MBEDTLS_X509_BADCRL_NOT_TRUSTED | MBEDTLS_X509_BADCRL_EXPIRED | MBEDTLS_X509_BADCRL_FUTURE |  \
     MBEDTLS_X509_BADCRL_BAD_MD | MBEDTLS_X509_BADCRL_BAD_PK | MBEDTLS_X509_BADCRL_BAD_KEY)

/* The one that tells most first: while the chain is not trusted, its dates and names mean little;
 * while the name is another's, its dates are of no interest. */
static const struct {
    uint32_t flags;
    int code;
    const char *text; /* NULL: made up */
} verdicts[] = {
    {MBEDTLS_X509_BADCERT_REVOKED, HWS_ERR_CERT_REVOKED, "revoked by its issuer"},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, HWS_ERR_CERT_UNTRUSTED, "not signed by a trusted root"},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, HWS_ERR_CERT_NAME, NULL},
    {MBEDTLS_X509_BADCERT_EXPIRED, HWS_ERR_CERT_EXPIRED, NULL},
    {MBEDTLS_X509_BADCERT_FUTURE, HWS_ERR_CERT_FUTURE, NULL},
    {FLAGS_OF_CRL, HWS_ERR_CERT_INVALID,
     "the revocation list (crl) cannot be used or is out of date"},
    {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_KEY_USAGE |
         MBEDTLS_X509_BADCERT_NS_CERT_TYPE,
     HWS_ERR_CERT_INVALID, "its key usage is not that of a server"},
    {MBEDTLS_X509_BADCERT_BAD_MD, HWS_ERR_CERT_INVALID, "signed with a weak hash"},
    {MBEDTLS_X509_BADCERT_BAD_KEY | MBEDTLS_X509_BADCERT_BAD_PK, HWS_ERR_CERT_INVALID,
     "a weak key, or of a kind that is not accepted"},
};

/* Appends to the detail, which is cut where it is full. */
__attribute__((format(printf, 2, 3))) static void tell(hws_tls_t *tls, const char *format, ...)
{
    size_t used = strlen(tls->detail);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(tls->detail + used, sizeof(tls->detail) - used, format, arguments);
    va_end(arguments);
}

static void tell_verdict(hws_tls_t *tls, int code, const char *text)
{
    if (tls->detail[0] != '\0')
        tell(tls, "; ");
    if (text != NULL)
        tell(tls, "%s", text);
    else if (code == HWS_ERR_CERT_NAME && tls->names[0] == '\0')
        tell(tls, "it names nobody (no subjectAltName)");
    else if (code == HWS_ERR_CERT_NAME)
        tell(tls, "it names %s", tls->names);
    else
        tell(tls, "%s %04d-%02d-%02d",
             code == HWS_ERR_CERT_EXPIRED ? "expired on" : "not valid before", tls->end.year,
             tls->end.mon, tls->end.day);
}

/* The code of what was wrong with the certificate; the detail says all that was. */
static int judge(hws_tls_t *tls)
{
    /* The last looks, at key usage and curve, come after ours. */
    uint32_t flags = tls->flags | mbedtls_ssl_get_verify_result(&tls->ssl);
    int code = HWS_OK;
    size_t i;

    /* All flags at once: the chain was too long, or the memory too little, to be looked at. */
    if (flags == UINT32_MAX) {
        tell(tls, "the chain is malformed or too long");
        return HWS_ERR_CERT_INVALID;
    }
    for (i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
        if ((flags & verdicts[i].flags) != 0) {
            code = code != HWS_OK ? code : verdicts[i].code;
            tell_verdict(tls, verdicts[i].code, verdicts[i].text);
        }
    return code != HWS_OK ? code : HWS_ERR_CERT_INVALID;
}

/* ---- failures ---- */

/* In 2.28 some states of the handshake have numbers above the last one's. */
static bool is_ready(const hws_tls_t *tls)
{
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    return tls->ssl.state == MBEDTLS_SSL_HANDSHAKE_OVER;
#else
    return mbedtls_ssl_is_handshake_over((mbedtls_ssl_context *)&tls->ssl) != 0;
#endif
}

static int heed_alert(hws_tls_t *tls)
{
    unsigned char alert = tls->ssl.MBEDTLS_PRIVATE(in_msg)[1];
    int code = hws_alert_code(alert, tls->was_asked, tls->has_met);

    tell(tls, "the peer's alert: %s", hws_alert_name(alert));
    if (code == HWS_ERR_TLS_CLIENT_CERT)
        tell(tls, tls->config->has_cert ? " (of our certificate)" : " (we have no certificate)");
    return code;
}

static bool is_about_certificates(int ret)
{
    int module = -ret & 0xff80;

    return module >= -MBEDTLS_ERR_X509_FEATURE_UNAVAILABLE &&
           module <= -MBEDTLS_ERR_X509_FATAL_ERROR;
}

static int code_of(hws_tls_t *tls, int ret)
{
    char text[80];

    if (is_out_of_memory(ret))
        return HWS_ERR_NOMEM;
    if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        return heed_alert(tls);
    if (ret == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || ret == MBEDTLS_ERR_X509_FATAL_ERROR ||
        (ret == BAD_CERTIFICATE && mbedtls_ssl_get_verify_result(&tls->ssl) != 0))
        return judge(tls);
    mbedtls_strerror(ret, text, sizeof(text));
    tell(tls, "%s", text);
    if (is_about_certificates(ret) || ret == BAD_CERTIFICATE)
        return HWS_ERR_CERT_INVALID;
    switch (ret) {
    case BAD_VERSION:
        return HWS_ERR_TLS_VERSION;
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY: /* of a read it is none */
        return HWS_ERR_TLS_EOF;
    case MBEDTLS_ERR_SSL_BAD_INPUT_DATA: /* a record longer than any may be, among others */
        return is_ready(tls) ? HWS_ERR_TLS_RECORD : HWS_ERR_TLS;
    case MBEDTLS_ERR_SSL_INVALID_MAC:
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
        return HWS_ERR_TLS_RECORD;
    default:
        return HWS_ERR_TLS;
    }
}

static int fail(hws_tls_t *tls, int code)
{
    assert(tls->over == 0 || tls->over == HWS_END);
    tls->over = code;
    return code;
}

/* ---- bytes ---- */

static int take_bytes(void *context, unsigned char *to, size_t size)
{
    hws_tls_t *tls = context;
    hws_buffer_t *joined = &tls->joiner.ready;
    hws_slice_t *in = tls->in;

    if (in != NULL && hws_joiner_pull(&tls->joiner, in) != HWS_OK)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    if (!hws_buffer_is_empty(joined)) {
        size = min(size, hws_buffer_size(joined));
        memcpy(to, hws_buffer_bytes(joined), size);
        hws_buffer_consume(joined, size);
        return (int)size;
    }
    if (in == NULL || in->size == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    size = min(size, in->size);
    memcpy(to, in->data, size);
    in->data += size;
    in->size -= size;
    return (int)size;
}

static int put_bytes(void *context, const unsigned char *from, size_t size)
{
    hws_tls_t *tls = context;

    if (hws_buffer_append(tls->out, from, size) != HWS_OK)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    return (int)size;
}

static void lend(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *out)
{
    tls->in = in;
    tls->out = out;
}

/* ---- a connection ---- */

static int offer(hws_tls_t *tls, const hws_tls_session_t *session)
{
    int ret;

    if (session == NULL || session->config != tls->config->id ||
        !hws_identity_equals(&session->identity, &tls->identity))
        return HWS_OK;
    ret = mbedtls_ssl_set_session(&tls->ssl, &session->ssl);
    tls->is_offered = ret == 0;
    return is_out_of_memory(ret) ? HWS_ERR_NOMEM : HWS_OK;
}

int hws_tls_create(hws_tls_config_t *config, const char *name, const hws_tls_session_t *resume,
                   hws_tls_t **out)
{
    hws_tls_t *tls = hws_zalloc(sizeof(*tls));
    int rc;

    if (tls == NULL)
        return HWS_ERR_NOMEM;
    tls->config = config;
    tls->identity = hws_identity_make(name);
    hws_tls_config_hold(config);
    mbedtls_ssl_init(&tls->ssl);
    mbedtls_ssl_set_bio(&tls->ssl, tls, put_bytes, take_bytes, NULL);
    mbedtls_ssl_set_verify(&tls->ssl, look_at, tls);
    /* The name is for SNI, which an address must not have (RFC 6066, 3); look_at() decides on it.
     * That none is wanted must be said: mbedTLS 3.6 takes it for forgotten otherwise. */
    if (mbedtls_ssl_setup(&tls->ssl, &config->ssl) != 0 ||
        mbedtls_ssl_set_hostname(&tls->ssl,
                                 tls->identity.dns[0] != '\0' ? tls->identity.dns : NULL) != 0) {
        rc = HWS_ERR_NOMEM;
        goto fail;
    }
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    if (hws_keylog_is_on())
        mbedtls_ssl_set_export_keys_cb(&tls->ssl, log_key, NULL);
#endif
    if ((rc = offer(tls, resume)) != HWS_OK)
        goto fail;
    *out = tls;
    return HWS_OK;

fail:
    hws_tls_destroy(tls);
    return rc;
}

void hws_tls_destroy(hws_tls_t *tls)
{
    if (tls == NULL)
        return;
    mbedtls_ssl_free(&tls->ssl);
    hws_joiner_dispose(&tls->joiner);
    hws_tls_config_release(tls->config);
    hws_free(tls);
}

/* A server's first record is a handshake message or an alert, of version 3.x. Anything else is
 * somebody who speaks no TLS, most often HTTP in the clear. */
static int check_first_bytes(hws_tls_t *tls, hws_slice_t in)
{
    char shown[25];
    size_t i;

    for (i = 0; i < in.size && tls->heard < 2; i++, tls->heard++) {
        unsigned char byte = (unsigned char)in.data[i];

        if (tls->heard == 0 ? byte == 21 || byte == 22 : byte == 3)
            continue;
        for (i = 0; i < in.size && i < sizeof(shown) - 1; i++)
            shown[i] = (char)(in.data[i] >= ' ' && in.data[i] < 0x7f ? in.data[i] : '.');
        shown[i] = '\0';
        tell(tls, "it sent \"%s\"", shown);
        return HWS_ERR_TLS_PLAIN;
    }
    return HWS_OK;
}

/* One step, and what it was about. */
static int step(hws_tls_t *tls)
{
    mbedtls_ssl_context *ssl = &tls->ssl;
    int before = (int)ssl->MBEDTLS_PRIVATE(state);
    int ret = mbedtls_ssl_handshake_step(ssl);

    if (ret != 0)
        return ret;
    if (before == MBEDTLS_SSL_SERVER_HELLO)
        tls->has_met = true;
    else if (before == MBEDTLS_SSL_SERVER_CERTIFICATE)
        tls->was_shown = true;
    else if (before == MBEDTLS_SSL_CERTIFICATE_REQUEST)
        tls->was_asked = ssl->MBEDTLS_PRIVATE(in_msg)[0] == MBEDTLS_SSL_HS_CERTIFICATE_REQUEST;
    return 0;
}

/* The registry's name; mbedTLS says "TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256" and, in TLS 1.3,
 * "TLS1-3-AES-128-GCM-SHA256". */
static void name_cipher(hws_tls_t *tls)
{
    const char *name = mbedtls_ssl_get_ciphersuite(&tls->ssl);
    char *to;

    if (name == NULL)
        return;
    if (strncmp(name, "TLS1-3-", 7) == 0)
        snprintf(tls->cipher, sizeof(tls->cipher), "TLS_%s", name + 7);
    else
        snprintf(tls->cipher, sizeof(tls->cipher), "%s", name);
    for (to = tls->cipher; *to != '\0'; to++)
        if (*to == '-')
            *to = '_';
}

/* Only a renegotiation would look at the peer's certificate again; it takes some KB of each
 * connection, and more than that of time when a session is taken. */
static void forget_certificate(hws_tls_t *tls)
{
#if MBEDTLS_VERSION_NUMBER < 0x03000000 && defined(MBEDTLS_SSL_KEEP_PEER_CERTIFICATE)
    mbedtls_ssl_session *session = tls->ssl.session;

    if (session != NULL && session->peer_cert != NULL) {
        mbedtls_x509_crt_free(session->peer_cert);
        mbedtls_free(session->peer_cert);
        session->peer_cert = NULL;
    }
#else
    (void)tls;
#endif
}

int hws_tls_handshake(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *out)
{
    int ret = 0;

    if (tls->over != 0)
        return tls->over;
    if (tls->heard < 2 && check_first_bytes(tls, *in) != HWS_OK)
        return fail(tls, HWS_ERR_TLS_PLAIN);
    lend(tls, in, out);
    while (!is_ready(tls) && ret == 0)
        ret = step(tls);
    lend(tls, NULL, NULL);
    if (ret == MBEDTLS_ERR_SSL_WANT_READ)
        return HWS_AGAIN;
    if (ret != 0)
        return fail(tls, code_of(tls, ret));
    if (!hws_buffer_is_empty(&tls->joiner.ready)) {
        tell(tls, "messages in the clear behind the handshake");
        return fail(tls, HWS_ERR_TLS);
    }
    tls->joiner.is_through = true;
    hws_joiner_dispose(&tls->joiner);
    name_cipher(tls);
    forget_certificate(tls);
    return HWS_OK;
}

/* Behind `plain`, what the next record holds: 0, or what mbedTLS said. */
static int read_some(hws_tls_t *tls, size_t room, hws_buffer_t *plain)
{
    int ret;

    if (hws_buffer_reserve(plain, room) != HWS_OK)
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    ret = mbedtls_ssl_read(&tls->ssl, (unsigned char *)plain->data + plain->tail,
                           plain->capacity - plain->tail);
    if (ret < 0)
        return ret;
    plain->tail += (size_t)ret;
    return 0;
}

int hws_tls_read(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *plain, hws_buffer_t *out)
{
    int ret = 0;

    assert(is_ready(tls));
    if (tls->over != 0 || in->size == 0)
        return tls->over;
    lend(tls, in, out);
    while (ret == 0) {
        size_t before = in->size;
        size_t room = min(before, RECORD_SIZE);

        ret = read_some(tls, room > 0 ? room : 1, plain);
#if defined(HAS_TLS_1_3)
        if (ret == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
            tls->has_ticket = true;
            ret = 0;
        }
#endif
        /* Not our want of bytes, but mbedTLS' own way to start over. */
        if (ret == MBEDTLS_ERR_SSL_WANT_READ && in->size > 0 && in->size < before)
            ret = 0;
    }
    lend(tls, NULL, NULL);
    if (ret == MBEDTLS_ERR_SSL_WANT_READ)
        return HWS_OK;
    if (ret == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        return tls->over = HWS_END;
    return fail(tls, code_of(tls, ret));
}

int hws_tls_write(hws_tls_t *tls, hws_slice_t data, hws_buffer_t *out)
{
    size_t records = data.size / RECORD_SIZE + 1;
    size_t before = hws_buffer_size(out);
    int ret = 0;

    assert(is_ready(tls) && !tls->has_closed);
    if (tls->over != 0 && tls->over != HWS_END)
        return tls->over;
    if (hws_buffer_reserve(out, data.size + records * RECORD_OVERHEAD) != HWS_OK)
        return HWS_ERR_NOMEM;
    lend(tls, NULL, out);
    while (data.size > 0 && ret >= 0) {
        ret = mbedtls_ssl_write(&tls->ssl, (const unsigned char *)data.data, data.size);
        if (ret > 0) {
            data.data += ret;
            data.size -= (size_t)ret;
        }
    }
    lend(tls, NULL, NULL);
    if (ret >= 0)
        return HWS_OK;
    hws_buffer_truncate(out, before);
    return fail(tls, code_of(tls, ret));
}

void hws_tls_close(hws_tls_t *tls, hws_buffer_t *out)
{
    if (tls->has_closed || !is_ready(tls) || (tls->over != 0 && tls->over != HWS_END))
        return;
    tls->has_closed = true;
    lend(tls, NULL, out);
    mbedtls_ssl_close_notify(&tls->ssl);
    lend(tls, NULL, NULL);
}

/* ---- after the handshake ---- */

bool hws_tls_is_resumed(const hws_tls_t *tls)
{
    return is_ready(tls) && tls->is_offered && !tls->was_shown;
}

const char *hws_tls_version(const hws_tls_t *tls)
{
    const char *version = mbedtls_ssl_get_version(&tls->ssl); /* "TLSv1.2" */

    return strncmp(version, "TLSv", 4) == 0 ? version + 4 : version;
}

const char *hws_tls_cipher(const hws_tls_t *tls)
{
    return tls->cipher;
}

const char *hws_tls_alpn(const hws_tls_t *tls)
{
    return mbedtls_ssl_get_alpn_protocol(&tls->ssl);
}

const char *hws_tls_detail(const hws_tls_t *tls)
{
    return tls->detail;
}

/* ---- sessions ---- */

static bool is_1_3(const hws_tls_t *tls)
{
#if defined(HAS_TLS_1_3)
    return mbedtls_ssl_get_version_number(&tls->ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#else
    (void)tls;
    return false;
#endif
}

static bool can_resume(const mbedtls_ssl_session *session)
{
#if defined(MBEDTLS_SSL_SESSION_TICKETS)
    if (session->MBEDTLS_PRIVATE(ticket) != NULL)
        return true;
#endif
    return session->MBEDTLS_PRIVATE(id_len) > 0;
}

hws_tls_session_t *hws_tls_take_session(hws_tls_t *tls)
{
    hws_tls_session_t *session;

    if (!is_ready(tls) || (is_1_3(tls) && !tls->has_ticket) ||
        (session = hws_zalloc(sizeof(*session))) == NULL)
        return NULL;
    tls->has_ticket = false;
    session->config = tls->config->id;
    session->identity = tls->identity;
    session->is_single_use = is_1_3(tls);
    mbedtls_ssl_session_init(&session->ssl);
    if (mbedtls_ssl_get_session(&tls->ssl, &session->ssl) != 0 || !can_resume(&session->ssl)) {
        hws_tls_session_free(session);
        return NULL;
    }
    return session;
}

bool hws_tls_session_is_single_use(const hws_tls_session_t *session)
{
    return session->is_single_use;
}

void hws_tls_session_free(hws_tls_session_t *session)
{
    if (session == NULL)
        return;
    mbedtls_ssl_session_free(&session->ssl); /* and wipes it */
    hws_free(session);
}
