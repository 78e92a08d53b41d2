/* tls_openssl.c - the engine on OpenSSL, 3.0 and later.
 *
 * OpenSSL reads from the caller's slice and writes behind the caller's buffer through a BIO of ours;
 * it gives its record buffers back whenever they are empty, so that an idle connection costs its
 * structs alone. It uses the process's own library context, with the providers that its
 * administrator chose; what openssl.cnf says of TLS itself is overridden, but where it demands more.
 * Nothing of a host's OpenSSL is changed, but that its thread's queue of errors is emptied. */
#include "transport/tls_openssl.h"

#include "base/memory.h"
#include "transport/tls_alert.h"
#include "transport/tls_greeting.h"

#include <openssl/err.h>

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What one record adds to its data: header, explicit nonce or type, tag; and some to spare. */
#define RECORD_SIZE ((size_t)SSL3_RT_MAX_PLAIN_LENGTH)
#define RECORD_OVERHEAD ((size_t)64)

struct hws_tls_session {
    SSL_SESSION *ssl;
    uint64_t config;
    hws_identity_t identity;
};

static char engine[64];
static BIO_METHOD *pipe_method; /* NULL when out of memory */

/* ---- bytes ---- */

static int take_bytes(BIO *bio, char *to, int room)
{
    hws_tls_t *tls = BIO_get_data(bio);
    hws_slice_t *in = tls->in;
    size_t size = (size_t)room;

    BIO_clear_retry_flags(bio);
    if (in == NULL || in->size == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size = size < in->size ? size : in->size;
    memcpy(to, in->data, size);
    in->data += size;
    in->size -= size;
    return (int)size;
}

static int put_bytes(BIO *bio, const char *from, int size)
{
    hws_tls_t *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (hws_buffer_append(tls->out, from, (size_t)size) == HWS_OK)
        return size;
    tls->is_out_of_memory = true;
    return -1;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void start(void)
{
    snprintf(engine, sizeof(engine), "OpenSSL %s", OpenSSL_version(OPENSSL_VERSION_STRING));
    if ((pipe_method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "hawser")) == NULL)
        return;
    BIO_meth_set_read(pipe_method, take_bytes);
    BIO_meth_set_write(pipe_method, put_bytes);
    BIO_meth_set_ctrl(pipe_method, control);
}

static void start_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, start);
}

const char *hws_tls_engine(void)
{
    start_once();
    return engine;
}

static void lend(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *out)
{
    tls->in = in;
    tls->out = out;
}

/* ---- failures ---- */

/* Appends to the detail, which is cut where it is full. */
__attribute__((format(printf, 2, 3))) static void tell(hws_tls_t *tls, const char *format, ...)
{
    size_t used = strlen(tls->detail);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(tls->detail + used, sizeof(tls->detail) - used, format, arguments);
    va_end(arguments);
}

static int heed_alert(hws_tls_t *tls, unsigned char alert)
{
    int code = hws_alert_code(alert, tls->was_asked, tls->has_met);

    tell(tls, "alert %s", hws_alert_name(alert));
    if (code == HWS_ERR_TLS_CLIENT_CERT)
        tell(tls, tls->config->has_cert ? " (of our certificate)" : " (we have no certificate)");
    return code;
}

/* What cannot be read of a record, once the handshake is over; before that, just not understood. */
static int code_of_reason(const hws_tls_t *tls, int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNSUPPORTED_SSL_VERSION:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_INAPPROPRIATE_FALLBACK:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_VERSION_TOO_LOW:
        return HWS_ERR_TLS_VERSION;
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
        return HWS_ERR_TLS_RECORD;
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_LENGTH_TOO_LONG:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_UNEXPECTED_RECORD:
        return tls->is_ready ? HWS_ERR_TLS_RECORD : HWS_ERR_TLS;
    case SSL_R_CERT_LENGTH_MISMATCH:
    case SSL_R_UNABLE_TO_FIND_PUBLIC_KEY_PARAMETERS:
    case SSL_R_UNKNOWN_CERTIFICATE_TYPE:
    case SSL_R_WRONG_CERTIFICATE_TYPE:
    case ERR_R_ASN1_LIB:
    case ERR_R_X509_LIB:
        return HWS_ERR_CERT_INVALID;
    default:
        return HWS_ERR_TLS;
    }
}

/* `error` is what SSL_get_error() said. */
static int code_of(hws_tls_t *tls, int error)
{
    unsigned long last = ERR_peek_last_error();
    int reason = ERR_GET_REASON(last);
    const char *text = ERR_reason_error_string(last);

    if (tls->is_out_of_memory || reason == ERR_R_MALLOC_FAILURE)
        return HWS_ERR_NOMEM;
    if (error == SSL_ERROR_ZERO_RETURN) /* of a read it is none */
        return HWS_ERR_TLS_EOF;
    if (tls->judged != HWS_OK)
        return tls->judged;
    if (ERR_GET_LIB(last) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET &&
        reason <= SSL_AD_REASON_OFFSET + 255)
        return heed_alert(tls, (unsigned char)(reason - SSL_AD_REASON_OFFSET));
    if (text != NULL)
        tell(tls, "%s", text);
    return code_of_reason(tls, reason);
}

static int fail(hws_tls_t *tls, int code)
{
    assert(tls->over == 0 || tls->over == HWS_END);
    ERR_clear_error();
    tls->over = code;
    return code;
}

/* ---- a connection ---- */

/* Sees each message of the handshake. */
static void note_message(int is_ours, int version, int type, const void *bytes, size_t size,
                         SSL *ssl, void *context)
{
    hws_tls_t *tls = context;
    const unsigned char *message = bytes;

    (void)version;
    (void)ssl;
    if (is_ours || type != SSL3_RT_HANDSHAKE || size == 0)
        return;
    if (message[0] == SSL3_MT_SERVER_HELLO)
        tls->has_met = true;
    else if (message[0] == SSL3_MT_CERTIFICATE_REQUEST)
        tls->was_asked = true;
}

static int attach(hws_tls_t *tls)
{
    BIO *bio;

    start_once();
    if (pipe_method == NULL || (tls->ssl = SSL_new(tls->config->ssl)) == NULL ||
        (bio = BIO_new(pipe_method)) == NULL)
        return HWS_ERR_NOMEM;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    if (SSL_set_app_data(tls->ssl, tls) != 1)
        return HWS_ERR_NOMEM;
    SSL_set_msg_callback(tls->ssl, note_message);
    SSL_set_msg_callback_arg(tls->ssl, tls);
    SSL_set_connect_state(tls->ssl);
    /* An address is no SNI (RFC 6066, 3). */
    if (tls->identity.dns[0] != '\0' && SSL_set_tlsext_host_name(tls->ssl, tls->identity.dns) != 1)
        return HWS_ERR_NOMEM;
    return HWS_OK;
}

static void offer(hws_tls_t *tls, const hws_tls_session_t *session)
{
    if (session != NULL && session->config == tls->config->held.id &&
        hws_identity_equals(&session->identity, &tls->identity))
        SSL_set_session(tls->ssl, session->ssl);
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
    rc = attach(tls);
    if (rc == HWS_OK)
        offer(tls, resume);
    ERR_clear_error();
    if (rc != HWS_OK) {
        hws_tls_destroy(tls);
        return rc;
    }
    *out = tls;
    return HWS_OK;
}

void hws_tls_destroy(hws_tls_t *tls)
{
    if (tls == NULL)
        return;
    /* Else OpenSSL would forbid the session to be resumed, as SSL 3.0 demanded. */
    if (tls->ssl != NULL && (tls->over == 0 || tls->over == HWS_END))
        SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    SSL_SESSION_free(tls->ticket);
    hws_tls_config_release(tls->config);
    hws_free(tls);
}

/* Finds what the server chose among what we offered; OpenSSL before 3.0.15 does not look. */
static int agree_on_alpn(hws_tls_t *tls)
{
    const char *at = tls->config->alpn.data;
    const char *end = at + tls->config->alpn.size;
    const unsigned char *chosen;
    unsigned size;

    SSL_get0_alpn_selected(tls->ssl, &chosen, &size);
    if (size == 0)
        return HWS_OK;
    for (; at < end; at += (unsigned char)at[0] + 2)
        if ((unsigned char)at[0] == size && memcmp(at + 1, chosen, size) == 0) {
            tls->alpn = at + 1;
            return HWS_OK;
        }
    tell(tls, "the peer chose a protocol (ALPN) that was not offered");
    return HWS_ERR_TLS;
}

int hws_tls_handshake(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *out)
{
    int ret;
    int error;

    if (tls->over != 0)
        return tls->over;
    if (tls->heard < HWS_GREETING_SIZE &&
        hws_greeting_check(&tls->heard, *in, tls->detail, sizeof(tls->detail)) != HWS_OK)
        return fail(tls, HWS_ERR_TLS_PLAIN);
    ERR_clear_error();
    lend(tls, in, out);
    ret = SSL_do_handshake(tls->ssl);
    error = SSL_get_error(tls->ssl, ret);
    lend(tls, NULL, NULL);
    if (error == SSL_ERROR_WANT_READ)
        return HWS_AGAIN;
    if (error != SSL_ERROR_NONE)
        return fail(tls, code_of(tls, error));
    if (agree_on_alpn(tls) != HWS_OK)
        return fail(tls, HWS_ERR_TLS);
    SSL_set_msg_callback(tls->ssl, NULL);
    tls->is_ready = true;
    return HWS_OK;
}

/* Behind `plain`, what the records hold; what SSL_get_error() said in the end. */
static int read_records(hws_tls_t *tls, hws_buffer_t *plain)
{
    size_t size;
    int ret;

    do {
        if (hws_buffer_reserve(plain, RECORD_SIZE) != HWS_OK) {
            tls->is_out_of_memory = true;
            return SSL_ERROR_SYSCALL;
        }
        size = 0;
        ret =
            SSL_read_ex(tls->ssl, plain->data + plain->tail, plain->capacity - plain->tail, &size);
        plain->tail += size;
    } while (ret == 1);
    return SSL_get_error(tls->ssl, ret);
}

int hws_tls_read(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *plain, hws_buffer_t *out)
{
    int error;

    assert(tls->is_ready);
    if (tls->over != 0 || in->size == 0)
        return tls->over;
    ERR_clear_error();
    lend(tls, in, out);
    error = read_records(tls, plain);
    lend(tls, NULL, NULL);
    SSL_free_buffers(tls->ssl); /* a ticket leaves the one for writing behind */
    if (error == SSL_ERROR_WANT_READ)
        return HWS_OK;
    if (error == SSL_ERROR_ZERO_RETURN)
        return tls->over = HWS_END;
    return fail(tls, code_of(tls, error));
}

int hws_tls_write(hws_tls_t *tls, hws_slice_t data, hws_buffer_t *out)
{
    size_t records = data.size / RECORD_SIZE + 1;
    size_t before = hws_buffer_size(out);
    size_t size = 0;
    int ret;
    int error;

    assert(tls->is_ready && !tls->has_closed);
    if (tls->over != 0 && tls->over != HWS_END)
        return tls->over;
    if (data.size == 0)
        return HWS_OK;
    if (hws_buffer_reserve(out, data.size + records * RECORD_OVERHEAD) != HWS_OK)
        return HWS_ERR_NOMEM;
    ERR_clear_error();
    lend(tls, NULL, out);
    ret = SSL_write_ex(tls->ssl, data.data, data.size, &size);
    error = SSL_get_error(tls->ssl, ret);
    lend(tls, NULL, NULL);
    if (ret == 1)
        return HWS_OK;
    hws_buffer_truncate(out, before);
    /* A server that has cut a ticket into records and not sent all of it has us wait for the rest. */
    if (error == SSL_ERROR_WANT_READ)
        tell(tls, "the peer interrupted a message of the handshake");
    return fail(tls, code_of(tls, error));
}

void hws_tls_close(hws_tls_t *tls, hws_buffer_t *out)
{
    if (tls->has_closed || !tls->is_ready || (tls->over != 0 && tls->over != HWS_END))
        return;
    tls->has_closed = true;
    ERR_clear_error();
    lend(tls, NULL, out);
    SSL_shutdown(tls->ssl);
    lend(tls, NULL, NULL);
    ERR_clear_error();
}

/* ---- after the handshake ---- */

bool hws_tls_is_resumed(const hws_tls_t *tls)
{
    return tls->is_ready && SSL_session_reused(tls->ssl) != 0;
}

const char *hws_tls_version(const hws_tls_t *tls)
{
    const char *version = SSL_get_version(tls->ssl); /* "TLSv1.2" */

    return strncmp(version, "TLSv", 4) == 0 ? version + 4 : version;
}

const char *hws_tls_cipher(hws_tls_t *tls)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(tls->ssl);
    const char *name = cipher != NULL ? SSL_CIPHER_standard_name(cipher) : NULL;

    return name != NULL ? name : "";
}

const char *hws_tls_alpn(const hws_tls_t *tls)
{
    return tls->alpn;
}

const char *hws_tls_detail(const hws_tls_t *tls)
{
    return tls->detail;
}

/* ---- sessions ---- */

static bool is_1_3(const hws_tls_t *tls)
{
    return SSL_version(tls->ssl) == TLS1_3_VERSION;
}

/* Of several tickets (TLS 1.3) it is the last: whoever keeps them has room for one. */
static SSL_SESSION *take_resumable(hws_tls_t *tls)
{
    SSL_SESSION *session = tls->ticket;

    tls->ticket = NULL;
    if (!is_1_3(tls))
        session = SSL_get1_session(tls->ssl);
    if (session != NULL && SSL_SESSION_is_resumable(session))
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

hws_tls_session_t *hws_tls_take_session(hws_tls_t *tls)
{
    hws_tls_session_t *session;

    if (!tls->is_ready || (is_1_3(tls) && tls->ticket == NULL) ||
        (session = hws_zalloc(sizeof(*session))) == NULL)
        return NULL;
    session->config = tls->config->held.id;
    session->identity = tls->identity;
    if ((session->ssl = take_resumable(tls)) == NULL) {
        hws_free(session);
        return NULL;
    }
    return session;
}

bool hws_tls_session_is_single_use(const hws_tls_session_t *session)
{
    return SSL_SESSION_get_protocol_version(session->ssl) == TLS1_3_VERSION;
}

void hws_tls_session_free(hws_tls_session_t *session)
{
    if (session == NULL)
        return;
    SSL_SESSION_free(session->ssl); /* and wipes it */
    hws_free(session);
}
