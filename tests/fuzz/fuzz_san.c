/* fuzz_san.c - any bytes as the extensions of a certificate.
 *
 * What is read must lie within the input, come in order, and be the same when read again. */
#include "transport/tls_san.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) ((condition) ? (void)0 : abort())

typedef struct {
    int end;
    unsigned count;
    unsigned sum;
} outcome_t;

static outcome_t read_all(hws_slice_t der)
{
    const char *identities[] = {"a.test", "www.example.com", "127.0.0.1", "::1", ""};
    const char *at = der.data;
    outcome_t outcome = {.end = HWS_OK};
    hws_san_reader_t reader;
    hws_san_t san;
    size_t i;

    if ((outcome.end = hws_san_open(der, &reader)) != HWS_OK)
        return outcome;
    while ((outcome.end = hws_san_next(&reader, &san)) == HWS_OK) {
        MUST(san.value.data >= at);
        at = san.value.data + san.value.size;
        MUST(at <= der.data + der.size);
        outcome.count++;
        for (i = 0; i < san.value.size; i++)
            outcome.sum = outcome.sum * 31 + (unsigned char)san.value.data[i];
        for (i = 0; i < sizeof(identities) / sizeof(identities[0]); i++) {
            hws_identity_t identity = hws_identity_make(identities[i]);

            if (hws_identity_fits(&identity, &san))
                MUST((identity.kind == HWS_IDENTITY_IP) == (san.kind == HWS_SAN_IP));
        }
    }
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hws_slice_t der = {(const char *)data, size};
    outcome_t first = read_all(der);
    outcome_t second = read_all(der);

    MUST(first.end == HWS_END || first.end == HWS_ERR_CERT_INVALID);
    MUST(first.end == second.end && first.count == second.count && first.sum == second.sum);
    return 0;
}
