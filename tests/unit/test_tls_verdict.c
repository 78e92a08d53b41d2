#include "transport/tls_verdict.h"

#include "support/cmocka.h"

#include <hawser/error.h>

#include <string.h>

static void the_fault_that_tells_most_makes_the_code(void **state)
{
    static const struct {
        uint32_t faults;
        int code;
        const char *detail;
    } cases[] = {
        {HWS_FAULT_REVOKED | HWS_FAULT_EXPIRED, HWS_ERR_CERT_REVOKED,
         "its issuer's list (crl) has it; valid until 2021-02-03"},
        {HWS_FAULT_UNTRUSTED | HWS_FAULT_NAME, HWS_ERR_CERT_UNTRUSTED,
         "CN=an issuer is not known; it names a.test"},
        {HWS_FAULT_NAME | HWS_FAULT_FUTURE, HWS_ERR_CERT_NAME,
         "it names a.test; valid from 2021-02-03"},
        {HWS_FAULT_EXPIRED | HWS_FAULT_CRL_DATE, HWS_ERR_CERT_EXPIRED,
         "valid until 2021-02-03; the revocation list (crl) is out of date"},
        {HWS_FAULT_FUTURE, HWS_ERR_CERT_FUTURE, "valid from 2021-02-03"},
        {HWS_FAULT_USAGE | HWS_FAULT_HASH, HWS_ERR_CERT_USAGE,
         "its key usage is not that of a server; signed with a weak hash"},
        {HWS_FAULT_CRL, HWS_ERR_CERT_CRL, "the revocation list (crl) is not one of its issuer"},
        {HWS_FAULT_HASH | HWS_FAULT_KEY, HWS_ERR_CERT_WEAK, "signed with a weak hash; a weak key"},
        {HWS_FAULT_KEY_KIND, HWS_ERR_CERT_WEAK, "a key of a kind that is not accepted"},
        {HWS_FAULT_MALFORMED | HWS_FAULT_REVOKED, HWS_ERR_CERT_INVALID,
         "the chain is malformed or too long"},
        {0, HWS_ERR_CERT_INVALID, ""},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_verdict_t verdict = {cases[i].faults, 2021, 2, 3, "a.test", "CN=an issuer"};
        char detail[120];

        assert_int_equal(hws_verdict_code(&verdict, detail, sizeof(detail)), cases[i].code);
        assert_string_equal(detail, cases[i].detail);
    }
}

static void words_are_cut_where_there_is_no_room(void **state)
{
    hws_verdict_t verdict = {.faults = 0xffe};
    char detail[120];
    size_t size;

    (void)state;
    for (size = 1; size < sizeof(detail); size++) {
        memset(detail, 'x', sizeof(detail));
        assert_int_equal(hws_verdict_code(&verdict, detail, size), HWS_ERR_CERT_REVOKED);
        assert_int_equal(strlen(detail), size - 1);
        assert_int_equal(detail[size], 'x');
    }
}

static void a_certificate_without_names_names_nobody(void **state)
{
    hws_identity_t identity = hws_identity_make("a.test");
    hws_verdict_t verdict = {.faults = 0};
    char detail[60];

    (void)state;
    hws_verdict_look_at_name(&verdict, &identity, (hws_slice_t){NULL, 0});
    assert_int_equal(verdict.faults, HWS_FAULT_NAME);
    assert_int_equal(hws_verdict_code(&verdict, detail, sizeof(detail)), HWS_ERR_CERT_NAME);
    assert_string_equal(detail, "it names nobody (no subjectAltName)");
}

static void the_name_is_looked_for_among_all(void **state)
{
    /* Extensions { { subjectAltName, { DNS:b.test, DNS:a.test } } } */
    static const char der[] = "\x30\x1b\x30\x19\x06\x03\x55\x1d\x11\x04\x12\x30\x10"
                              "\x82\x06"
                              "b.test"
                              "\x82\x06"
                              "a.test";
    hws_slice_t extensions = {der, sizeof(der) - 1};
    hws_identity_t a = hws_identity_make("a.test");
    hws_identity_t c = hws_identity_make("c.test");
    hws_verdict_t verdict = {.faults = 0};

    (void)state;
    hws_verdict_look_at_name(&verdict, &a, extensions);
    assert_int_equal(verdict.faults, 0);
    hws_verdict_look_at_name(&verdict, &c, extensions);
    assert_int_equal(verdict.faults, HWS_FAULT_NAME);
    assert_string_equal(verdict.names, "b.test, a.test");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fault_that_tells_most_makes_the_code),
        cmocka_unit_test(words_are_cut_where_there_is_no_room),
        cmocka_unit_test(a_certificate_without_names_names_nobody),
        cmocka_unit_test(the_name_is_looked_for_among_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
