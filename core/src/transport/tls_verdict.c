#include "transport/tls_verdict.h"

#include "transport/tls_san.h"

#include <stdio.h>
#include <string.h>

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

void hws_verdict_look_at_name(hws_verdict_t *verdict, const hws_identity_t *identity,
                              hws_slice_t extensions)
{
    if (is_named(identity, extensions))
        return;
    verdict->faults |= HWS_FAULT_NAME;
    hws_san_describe(extensions, verdict->names, sizeof(verdict->names));
}

/* The one that tells most first: while the chain is not trusted, its dates and names mean little;
 * while the name is another's, its dates are of no interest. */
static const struct {
    hws_fault_t fault;
    int code;
    const char *text; /* NULL: made up */
} verdicts[] = {
    {HWS_FAULT_MALFORMED, HWS_ERR_CERT_INVALID, "the chain is malformed or too long"},
    {HWS_FAULT_REVOKED, HWS_ERR_CERT_REVOKED, "its issuer's list (crl) has it"},
    {HWS_FAULT_UNTRUSTED, HWS_ERR_CERT_UNTRUSTED, NULL},
    {HWS_FAULT_NAME, HWS_ERR_CERT_NAME, NULL},
    {HWS_FAULT_EXPIRED, HWS_ERR_CERT_EXPIRED, NULL},
    {HWS_FAULT_FUTURE, HWS_ERR_CERT_FUTURE, NULL},
    {HWS_FAULT_CRL, HWS_ERR_CERT_CRL, "the revocation list (crl) is not one of its issuer"},
    {HWS_FAULT_CRL_DATE, HWS_ERR_CERT_CRL, "the revocation list (crl) is out of date"},
    {HWS_FAULT_USAGE, HWS_ERR_CERT_USAGE, "its key usage is not that of a server"},
    {HWS_FAULT_HASH, HWS_ERR_CERT_WEAK, "signed with a weak hash"},
    {HWS_FAULT_KEY, HWS_ERR_CERT_WEAK, "a weak key"},
    {HWS_FAULT_KEY_KIND, HWS_ERR_CERT_WEAK, "a key of a kind that is not accepted"},
};

static void describe(const hws_verdict_t *verdict, hws_fault_t fault, char *text, size_t size)
{
    if (fault == HWS_FAULT_NAME && verdict->names[0] == '\0')
        snprintf(text, size, "it names nobody (no subjectAltName)");
    else if (fault == HWS_FAULT_NAME)
        snprintf(text, size, "it names %s", verdict->names);
    else if (fault == HWS_FAULT_UNTRUSTED && verdict->issuer[0] == '\0')
        snprintf(text, size, "it is signed by itself");
    else if (fault == HWS_FAULT_UNTRUSTED)
        snprintf(text, size, "%s is not known", verdict->issuer);
    else
        snprintf(text, size, "valid %s %04d-%02d-%02d",
                 fault == HWS_FAULT_EXPIRED ? "until" : "from", verdict->year, verdict->month,
                 verdict->day);
}

int hws_verdict_code(const hws_verdict_t *verdict, char *detail, size_t size)
{
    char made_up[128];
    size_t used = 0;
    int code = HWS_OK;
    size_t i;

    detail[0] = '\0';
    for (i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
        const char *text = verdicts[i].text;

        if ((verdict->faults & verdicts[i].fault) == 0)
            continue;
        if (text == NULL) {
            describe(verdict, verdicts[i].fault, made_up, sizeof(made_up));
            text = made_up;
        }
        snprintf(detail + used, size - used, "%s%s", code == HWS_OK ? "" : "; ", text);
        used += strlen(detail + used);
        code = code != HWS_OK ? code : verdicts[i].code;
        /* The rest was not looked at. */
        if (verdicts[i].fault == HWS_FAULT_MALFORMED)
            break;
    }
    return code != HWS_OK ? code : HWS_ERR_CERT_INVALID;
}
