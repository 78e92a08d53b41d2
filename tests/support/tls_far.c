#include "support/tls_far.h"

#include "support/cmocka.h"

#include <mbedtls/version.h>

#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ticket.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/random.h>
#endif

#define MUST(call) assert_int_equal((call), 0)

struct tls_far {
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    mbedtls_x509_crt cert;
    mbedtls_x509_crt client_ca;
    mbedtls_pk_context key;
    mbedtls_ssl_ticket_context ticket;
    mbedtls_ssl_cache_context cache;
    tls_far_options_t options;
    hws_buffer_t *in;
    hws_buffer_t *out;
    char sni[256];
    int failure;
    bool is_ready;
    bool is_closed;
};

bool tls_far_may_be_old(void)
{
    return MBEDTLS_VERSION_NUMBER < 0x03000000;
}

bool tls_far_may_be_new(void)
{
#if defined(MBEDTLS_SSL_PROTO_TLS1_3)
    return true;
#else
    return false;
#endif
}

static int draw(void *context, unsigned char *bytes, size_t size)
{
    (void)context;
    for (; size > 0; size--, bytes++)
        if (getentropy(bytes, 1) != 0)
            return -1;
    return 0;
}

static int take(void *context, unsigned char *to, size_t size)
{
    tls_far_t *far = context;
    size_t have = far->in != NULL ? hws_buffer_size(far->in) : 0;

    if (have == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    size = size < have ? size : have;
    memcpy(to, hws_buffer_bytes(far->in), size);
    hws_buffer_consume(far->in, size);
    return (int)size;
}

static int put(void *context, const unsigned char *from, size_t size)
{
    tls_far_t *far = context;

    MUST(hws_buffer_append(far->out, from, size));
    return (int)size;
}

static int note_sni(void *context, mbedtls_ssl_context *ssl, const unsigned char *name, size_t size)
{
    tls_far_t *far = context;

    (void)ssl;
    snprintf(far->sni, sizeof(far->sni), "%.*s", (int)size, (const char *)name);
    return 0;
}

/* Each path has room of its own: several threads may make a far end at once. */
enum { PATH_SIZE = 1024 };

static void put_path(char *path, const char *name, const char *suffix)
{
    snprintf(path, PATH_SIZE, TEST_CERTIFICATES "/%s.%s", name, suffix);
}

static void load_certificate(mbedtls_x509_crt *to, const char *name)
{
    char path[PATH_SIZE];

    put_path(path, name, "pem");
    MUST(mbedtls_x509_crt_parse_file(to, path));
}

static void load_key(mbedtls_pk_context *to, const char *name)
{
    char path[PATH_SIZE];

    put_path(path, name, "key");
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    MUST(mbedtls_pk_parse_keyfile(to, path, NULL));
#else
    MUST(mbedtls_pk_parse_keyfile(to, path, NULL, draw, NULL));
#endif
}

static void choose_version(tls_far_t *far)
{
#if MBEDTLS_VERSION_NUMBER < 0x03000000
    mbedtls_ssl_conf_min_version(&far->config, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_1);
    mbedtls_ssl_conf_max_version(&far->config, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 far->options.is_old ? MBEDTLS_SSL_MINOR_VERSION_2
                                                     : MBEDTLS_SSL_MINOR_VERSION_3);
#else
    mbedtls_ssl_conf_max_tls_version(&far->config, far->options.is_new
                                                       ? MBEDTLS_SSL_VERSION_TLS1_3
                                                       : MBEDTLS_SSL_VERSION_TLS1_2);
#endif
}

static void set_sessions(tls_far_t *far)
{
    mbedtls_ssl_ticket_init(&far->ticket);
    mbedtls_ssl_cache_init(&far->cache);
    MUST(mbedtls_ssl_ticket_setup(&far->ticket, draw, NULL, MBEDTLS_CIPHER_AES_256_GCM, 86400));
    if (far->options.tickets)
        mbedtls_ssl_conf_session_tickets_cb(&far->config, mbedtls_ssl_ticket_write,
                                            mbedtls_ssl_ticket_parse, &far->ticket);
    if (far->options.ids)
        mbedtls_ssl_conf_session_cache(&far->config, &far->cache, mbedtls_ssl_cache_get,
                                       mbedtls_ssl_cache_set);
}

static void free_sessions(tls_far_t *far)
{
    mbedtls_ssl_ticket_free(&far->ticket);
    mbedtls_ssl_cache_free(&far->cache);
}

static void set_up(tls_far_t *far)
{
    const tls_far_options_t *options = &far->options;

    MUST(mbedtls_ssl_config_defaults(&far->config, MBEDTLS_SSL_IS_SERVER,
                                     MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_rng(&far->config, draw, NULL);
    mbedtls_ssl_conf_sni(&far->config, note_sni, far);
    mbedtls_ssl_conf_renegotiation(&far->config, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    choose_version(far);
    load_certificate(&far->cert, options->cert);
    load_key(&far->key, options->key != NULL ? options->key : "leaf");
    MUST(mbedtls_ssl_conf_own_cert(&far->config, &far->cert, &far->key));
    if (options->client_ca != NULL) {
        load_certificate(&far->client_ca, options->client_ca);
        mbedtls_ssl_conf_ca_chain(&far->config, &far->client_ca, NULL);
        mbedtls_ssl_conf_authmode(&far->config, MBEDTLS_SSL_VERIFY_REQUIRED);
    }
    if (options->suites != NULL)
        mbedtls_ssl_conf_ciphersuites(&far->config, options->suites);
    if (options->alpn != NULL)
        MUST(mbedtls_ssl_conf_alpn_protocols(&far->config, options->alpn));
    set_sessions(far);
}

tls_far_t *tls_far_create(const tls_far_options_t *options)
{
    tls_far_t *far = calloc(1, sizeof(*far));

    assert_non_null(far);
    far->options = *options;
    mbedtls_ssl_config_init(&far->config);
    mbedtls_ssl_init(&far->ssl);
    mbedtls_x509_crt_init(&far->cert);
    mbedtls_x509_crt_init(&far->client_ca);
    mbedtls_pk_init(&far->key);
    set_up(far);
    MUST(mbedtls_ssl_setup(&far->ssl, &far->config));
    mbedtls_ssl_set_bio(&far->ssl, far, put, take, NULL);
    return far;
}

void tls_far_destroy(tls_far_t *far)
{
    mbedtls_ssl_free(&far->ssl);
    mbedtls_ssl_config_free(&far->config);
    mbedtls_x509_crt_free(&far->cert);
    mbedtls_x509_crt_free(&far->client_ca);
    mbedtls_pk_free(&far->key);
    free_sessions(far);
    free(far);
}

void tls_far_forget(tls_far_t *far)
{
    free_sessions(far);
    set_sessions(far);
}

void tls_far_accept(tls_far_t *far)
{
    MUST(mbedtls_ssl_session_reset(&far->ssl));
    far->failure = 0;
    far->is_ready = far->is_closed = false;
    far->sni[0] = '\0';
}

static void fail_with(tls_far_t *far, int failure)
{
    far->failure = failure;
    /* Here mbedTLS leaves it to the caller to say so. */
    if (failure == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE)
        mbedtls_ssl_send_alert_message(&far->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
}

void tls_far_turn(tls_far_t *far, hws_buffer_t *in, hws_buffer_t *out, hws_buffer_t *received)
{
    unsigned char bytes[1000];
    int ret = 0;

    far->in = in;
    far->out = out;
    if (far->failure == 0 && !far->is_ready) {
        ret = mbedtls_ssl_handshake(&far->ssl);
        far->is_ready = ret == 0;
    }
    while (far->failure == 0 && far->is_ready &&
           (ret = mbedtls_ssl_read(&far->ssl, bytes, sizeof(bytes))) > 0)
        MUST(hws_buffer_append(received, bytes, (size_t)ret));
    if (ret == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        far->is_closed = true;
    else if (ret < 0 && ret != MBEDTLS_ERR_SSL_WANT_READ)
        fail_with(far, ret);
    hws_buffer_clear(in);
    far->in = far->out = NULL;
}

void tls_far_send(tls_far_t *far, const void *data, size_t size, hws_buffer_t *out)
{
    const unsigned char *from = data;

    far->out = out;
    while (size > 0) {
        int ret = mbedtls_ssl_write(&far->ssl, from, size);

        assert_true(ret > 0);
        from += ret;
        size -= (size_t)ret;
    }
    far->out = NULL;
}

void tls_far_close(tls_far_t *far, hws_buffer_t *out)
{
    far->out = out;
    MUST(mbedtls_ssl_close_notify(&far->ssl));
    far->out = NULL;
}

void tls_far_renegotiate(tls_far_t *far, hws_buffer_t *out)
{
    far->out = out;
    MUST(mbedtls_ssl_renegotiate(&far->ssl));
    far->out = NULL;
}

bool tls_far_is_ready(const tls_far_t *far)
{
    return far->is_ready;
}

bool tls_far_is_closed(const tls_far_t *far)
{
    return far->is_closed;
}

int tls_far_failure(const tls_far_t *far)
{
    return far->failure;
}

const char *tls_far_sni(const tls_far_t *far)
{
    return far->sni;
}

const char *tls_far_alpn(const tls_far_t *far)
{
    const char *name = mbedtls_ssl_get_alpn_protocol(&far->ssl);

    return name != NULL ? name : "";
}
