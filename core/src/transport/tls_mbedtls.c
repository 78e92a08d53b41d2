/* tls_mbedtls.c - the engine on mbedTLS, 2.28 or 3.x.
 *
 * 2.28 speaks TLS 1.2 alone. It verifies chains, but not identities: it takes the common name where
 * subjectAltName is missing and skips IP addresses, so its verdict on the name is replaced by ours.
 * Randomness comes straight from the system, so that no fork repeats it. mbedTLS allocates with
 * calloc(3): Debian's cannot be told otherwise, and others only for the whole process. A connection
 * costs its two record buffers, 33 KB together, from its handshake to its end. */
#include "transport/tls_mbedtls.h"

#include "base/memory.h"
#include "transport/tls_alert.h"
#include "transport/tls_greeting.h"
#include "transport/tls_joiner.h"
#include "transport/tls_verdict.h"

#include <mbedtls/error.h>
#include <mbedtls/platform.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What one record adds to its data: header, explicit nonce or type, tag; and some to spare. */
#define RECORD_SIZE ((size_t)MBEDTLS_SSL_OUT_CONTENT_LEN)
#define RECORD_OVERHEAD ((size_t)64)

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
    unsigned heard;        /* of the greeting */
    bool is_offered;       /* a session, to be resumed */
    bool has_met;          /* the server's hello has come */
    bool was_asked;        /* for a certificate of ours */
    bool was_shown;        /* the server's certificate: not resumed */
    bool has_closed;       /* we have */
    bool has_ticket;       /* a fresh one, which nobody has taken */
    uint32_t flags;        /* MBEDTLS_X509_BADCERT_* of the whole chain */
    hws_verdict_t verdict; /* the name's and the dates, then all */
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

/* ---- verification: mbedTLS looks at the chain, we look at the name ---- */

/* Of the certificate that nobody known has signed. */
static void note_issuer(hws_verdict_t *verdict, const mbedtls_x509_crt *certificate, int depth)
{
    bool is_own = certificate->issuer_raw.len == certificate->subject_raw.len &&
                  memcmp(certificate->issuer_raw.p, certificate->subject_raw.p,
                         certificate->issuer_raw.len) == 0;

    if ((!is_own || depth > 0) &&
        mbedtls_x509_dn_gets(verdict->issuer, sizeof(verdict->issuer), &certificate->issuer) < 0)
        snprintf(verdict->issuer, sizeof(verdict->issuer), "its issuer");
}

/* mbedTLS calls this for each certificate, the leaf (depth 0) last. */
static int look_at(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    hws_tls_t *tls = context;
    mbedtls_x509_time date;

    if ((*flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) != 0) {
        date = (*flags & MBEDTLS_X509_BADCERT_EXPIRED) != 0 ? certificate->valid_to
                                                            : certificate->valid_from;
        tls->verdict.year = date.year;
        tls->verdict.month = date.mon;
        tls->verdict.day = date.day;
    }
    if ((*flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0)
        note_issuer(&tls->verdict, certificate, depth);
    if (depth == 0) {
        hws_slice_t extensions = {(const char *)certificate->v3_ext.p, certificate->v3_ext.len};

        hws_verdict_look_at_name(&tls->verdict, &tls->identity, extensions);
        *flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_CN_MISMATCH;
        if ((tls->verdict.faults & HWS_FAULT_NAME) != 0)
            *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    }
    tls->flags |= *flags;
    return 0;
}

static const struct {
    uint32_t flags;
    hws_fault_t fault;
} faults[] = {
    {MBEDTLS_X509_BADCERT_REVOKED, HWS_FAULT_REVOKED},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, HWS_FAULT_UNTRUSTED},
    {MBEDTLS_X509_BADCERT_EXPIRED, HWS_FAULT_EXPIRED},
    {MBEDTLS_X509_BADCERT_FUTURE, HWS_FAULT_FUTURE},
    {MBEDTLS_X509_BADCRL_NOT_TRUSTED | MBEDTLS_X509_BADCRL_BAD_MD | MBEDTLS_X509_BADCRL_BAD_PK |
         MBEDTLS_X509_BADCRL_BAD_KEY,
     HWS_FAULT_CRL},
    {MBEDTLS_X509_BADCRL_EXPIRED | MBEDTLS_X509_BADCRL_FUTURE, HWS_FAULT_CRL_DATE},
    {MBEDTLS_X509_BADCERT_EXT_KEY_USAGE | MBEDTLS_X509_BADCERT_KEY_USAGE |
         MBEDTLS_X509_BADCERT_NS_CERT_TYPE,
     HWS_FAULT_USAGE},
    {MBEDTLS_X509_BADCERT_BAD_MD, HWS_FAULT_HASH},
    {MBEDTLS_X509_BADCERT_BAD_KEY, HWS_FAULT_KEY},
    {MBEDTLS_X509_BADCERT_BAD_PK, HWS_FAULT_KEY_KIND},
};

/* The code of what was wrong with the certificate; the detail says all that was. */
static int judge(hws_tls_t *tls)
{
    /* The last looks, at key usage and curve, come after ours. */
    uint32_t flags = tls->flags | mbedtls_ssl_get_verify_result(&tls->ssl);
    size_t i;

    /* All flags at once: the chain was too long, or the memory too little, to be looked at. */
    if (flags == UINT32_MAX)
        tls->verdict.faults |= HWS_FAULT_MALFORMED;
    for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if ((flags & faults[i].flags) != 0)
            tls->verdict.faults |= faults[i].fault;
    return hws_verdict_code(&tls->verdict, tls->detail, sizeof(tls->detail));
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

    tell(tls, "alert %s", hws_alert_name(alert));
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

    if (hws_mbedtls_is_out_of_memory(ret))
        return HWS_ERR_NOMEM;
    if (ret == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE)
        return heed_alert(tls);
    if (ret == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || ret == MBEDTLS_ERR_X509_FATAL_ERROR ||
        (ret == BAD_CERTIFICATE && mbedtls_ssl_get_verify_result(&tls->ssl) != 0))
        return judge(tls);
    mbedtls_strerror(ret, text, sizeof(text));
    tell(tls, "%s", tls->joiner.has_too_long ? "a message of it is longer than 16 KiB" : text);
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

    if (session == NULL || session->config != tls->config->held.id ||
        !hws_identity_equals(&session->identity, &tls->identity))
        return HWS_OK;
    ret = mbedtls_ssl_set_session(&tls->ssl, &session->ssl);
    tls->is_offered = ret == 0;
    return hws_mbedtls_is_out_of_memory(ret) ? HWS_ERR_NOMEM : HWS_OK;
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
    hws_mbedtls_log_keys(&tls->ssl);
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
    else if ((int)ssl->MBEDTLS_PRIVATE(state) == MBEDTLS_SSL_SERVER_CHANGE_CIPHER_SPEC)
        tls->has_ticket = ssl->MBEDTLS_PRIVATE(in_msg)[0] == MBEDTLS_SSL_HS_NEW_SESSION_TICKET;
    return 0;
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
    if (tls->heard < HWS_GREETING_SIZE &&
        hws_greeting_check(&tls->heard, *in, tls->detail, sizeof(tls->detail)) != HWS_OK)
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

/* Whether what was taken in may be a message that follows a handshake, a ticket, which mbedTLS looks
 * at when it is called again. Until it has, nothing can be written. */
static bool may_have_message(const hws_tls_t *tls)
{
#if defined(HAS_TLS_1_3)
    return mbedtls_ssl_get_version_number(&tls->ssl) == MBEDTLS_SSL_VERSION_TLS1_3;
#else
    (void)tls;
    return false;
#endif
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
        if (ret == MBEDTLS_ERR_SSL_WANT_READ && in->size < before &&
            (in->size > 0 || may_have_message(tls)))
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

/* The registry's name; mbedTLS says "TLS-ECDHE-RSA-WITH-AES-128-GCM-SHA256" and, in TLS 1.3,
 * "TLS1-3-AES-128-GCM-SHA256". */
const char *hws_tls_cipher(hws_tls_t *tls)
{
    const char *name = mbedtls_ssl_get_ciphersuite(&tls->ssl);
    char *to;

    if (name == NULL)
        return "";
    if (strncmp(name, "TLS1-3-", 7) == 0)
        snprintf(tls->cipher, sizeof(tls->cipher), "TLS_%s", name + 7);
    else
        snprintf(tls->cipher, sizeof(tls->cipher), "%s", name);
    for (to = tls->cipher; *to != '\0'; to++)
        if (*to == '-')
            *to = '_';
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

/* Before TLS 1.3 a session that was resumed without a new ticket is the one that was offered, whose
 * lifetime goes on. */
static bool has_new_session(const hws_tls_t *tls)
{
    return tls->has_ticket || (!is_1_3(tls) && !hws_tls_is_resumed(tls));
}

hws_tls_session_t *hws_tls_take_session(hws_tls_t *tls)
{
    hws_tls_session_t *session;

    if (!is_ready(tls) || !has_new_session(tls) || (session = hws_zalloc(sizeof(*session))) == NULL)
        return NULL;
    tls->has_ticket = false;
    session->config = tls->config->held.id;
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
