/* OpenSSL looks at the chain; the name is looked at by us alone. */
#include "transport/tls_openssl.h"

#include <openssl/bio.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <stdio.h>
#include <time.h>

/* What OpenSSL says of a certificate, as a fault; 0 where that is none. */
static uint32_t fault_of(int error)
{
    switch (error) {
    case X509_V_OK:
    case X509_V_ERR_UNABLE_TO_GET_CRL: /* lists count for the issuers that have one */
        return 0;
    case X509_V_ERR_CERT_REVOKED:
        return HWS_FAULT_REVOKED;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_CERT_REJECTED:
    case X509_V_ERR_INVALID_CA: /* what signed it is no authority */
    case X509_V_ERR_INVALID_NON_CA:
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
        return HWS_FAULT_UNTRUSTED;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return HWS_FAULT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return HWS_FAULT_FUTURE;
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
        return HWS_FAULT_CRL;
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
        return HWS_FAULT_CRL_DATE;
    case X509_V_ERR_INVALID_PURPOSE:
        return HWS_FAULT_USAGE;
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return HWS_FAULT_HASH;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
        return HWS_FAULT_KEY;
    case X509_V_ERR_EC_KEY_EXPLICIT_PARAMS:
        return HWS_FAULT_KEY_KIND;
    default:
        return HWS_FAULT_MALFORMED;
    }
}

static void note_date(hws_verdict_t *verdict, const ASN1_TIME *date)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(date, &tm) != 1)
        return;
    verdict->year = tm.tm_year + 1900;
    verdict->month = tm.tm_mon + 1;
    verdict->day = tm.tm_mday;
}

/* Of the certificate that nobody known has signed, unless that is the only one and its own issuer. */
static void note_issuer(hws_verdict_t *verdict, const X509 *certificate, int depth)
{
    const X509_NAME *issuer = X509_get_issuer_name(certificate);
    BIO *bio;
    int size;
    int i;

    if (depth == 0 && X509_NAME_cmp(issuer, X509_get_subject_name(certificate)) == 0)
        return;
    if ((bio = BIO_new(BIO_s_mem())) != NULL)
        X509_NAME_print_ex(bio, issuer, 0, XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_FN_SN);
    size = bio != NULL ? BIO_read(bio, verdict->issuer, sizeof(verdict->issuer) - 1) : 0;
    BIO_free(bio);
    if (size <= 0)
        snprintf(verdict->issuer, sizeof(verdict->issuer), "its issuer");
    for (i = 0; i < size; i++)
        if (verdict->issuer[i] < ' ' || verdict->issuer[i] >= 0x7f)
            verdict->issuer[i] = '?';
}

static hws_tls_t *tls_of(X509_STORE_CTX *chain)
{
    return SSL_get_app_data(
        (SSL *)X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
}

/* OpenSSL calls this for each fault and each certificate without one, the leaf last. It goes on after
 * most, so that the verdict has all. */
static int look_at(int ok, X509_STORE_CTX *chain)
{
    hws_verdict_t *verdict = X509_STORE_CTX_get_app_data(chain);
    X509 *certificate = X509_STORE_CTX_get_current_cert(chain);
    int error = X509_STORE_CTX_get_error(chain);
    uint32_t fault = ok == 1 ? 0 : fault_of(error);

    if (certificate != NULL && fault == HWS_FAULT_EXPIRED)
        note_date(verdict, X509_get0_notAfter(certificate));
    else if (certificate != NULL && fault == HWS_FAULT_FUTURE)
        note_date(verdict, X509_get0_notBefore(certificate));
    else if (certificate != NULL && fault == HWS_FAULT_UNTRUSTED &&
             (verdict->faults & HWS_FAULT_UNTRUSTED) == 0)
        note_issuer(verdict, certificate, X509_STORE_CTX_get_error_depth(chain));
    verdict->faults |= fault;
    return fault != HWS_FAULT_MALFORMED;
}

/* What the alert is made from. */
static int error_of(int code)
{
    switch (code) {
    case HWS_ERR_CERT_REVOKED:
        return X509_V_ERR_CERT_REVOKED;
    case HWS_ERR_CERT_UNTRUSTED:
        return X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
    case HWS_ERR_CERT_EXPIRED:
        return X509_V_ERR_CERT_HAS_EXPIRED;
    case HWS_ERR_CERT_FUTURE:
        return X509_V_ERR_CERT_NOT_YET_VALID;
    case HWS_ERR_NOMEM:
        return X509_V_ERR_OUT_OF_MEM;
    default:
        return X509_V_ERR_HOSTNAME_MISMATCH;
    }
}

static int look_at_name(hws_verdict_t *verdict, const hws_identity_t *identity, const X509 *leaf)
{
    const X509_EXTENSIONS *extensions = X509_get0_extensions(leaf);
    unsigned char *der = NULL;
    int size = extensions != NULL ? i2d_X509_EXTENSIONS(extensions, &der) : 0;

    if (size < 0)
        return HWS_ERR_NOMEM;
    hws_verdict_look_at_name(verdict, identity, (hws_slice_t){(const char *)der, (size_t)size});
    OPENSSL_free(der);
    return HWS_OK;
}

static int judge(hws_tls_t *tls, X509_STORE_CTX *chain)
{
    hws_verdict_t verdict = {.faults = 0};
    int rc;

    if (tls->config->crls != NULL) {
        X509_STORE_CTX_set0_crls(chain, tls->config->crls);
        X509_STORE_CTX_set_flags(chain, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    X509_STORE_CTX_set_app_data(chain, &verdict);
    X509_STORE_CTX_set_verify_cb(chain, look_at);
    if (X509_verify_cert(chain) != 1) {
        if (X509_STORE_CTX_get_error(chain) == X509_V_ERR_OUT_OF_MEM)
            return HWS_ERR_NOMEM;
        verdict.faults |= HWS_FAULT_MALFORMED; /* look_at() would have gone on */
    }
    if ((rc = look_at_name(&verdict, &tls->identity, X509_STORE_CTX_get0_cert(chain))) != HWS_OK ||
        verdict.faults == 0)
        return rc;
    return hws_verdict_code(&verdict, tls->detail, sizeof(tls->detail));
}

int hws_openssl_verify(X509_STORE_CTX *chain, void *context)
{
    hws_tls_t *tls = tls_of(chain);

    (void)context;
    if (!tls->config->verify)
        return 1;
    tls->judged = judge(tls, chain);
    X509_STORE_CTX_set_error(chain, tls->judged == HWS_OK ? X509_V_OK : error_of(tls->judged));
    return tls->judged == HWS_OK;
}
