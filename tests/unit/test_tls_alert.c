#include "transport/tls_alert.h"

#include "support/cmocka.h"

static void alerts_have_names(void **state)
{
    (void)state;
    assert_string_equal(hws_alert_name(40), "handshake_failure");
    assert_string_equal(hws_alert_name(120), "no_application_protocol");
    assert_string_equal(hws_alert_name(99), "unknown");
}

static void what_an_alert_means_depends_on_how_far_the_handshake_came(void **state)
{
    static const struct {
        unsigned char alert;
        bool asked;
        bool met;
        int code;
    } cases[] = {
        {70, false, false, HWS_ERR_TLS_VERSION},   {71, false, false, HWS_ERR_TLS_CIPHER},
        {40, false, false, HWS_ERR_TLS_CIPHER},    {40, false, true, HWS_ERR_TLS_ALERT},
        {40, true, true, HWS_ERR_TLS_CLIENT_CERT}, {116, false, true, HWS_ERR_TLS_CLIENT_CERT},
        {42, true, true, HWS_ERR_TLS_CLIENT_CERT}, {48, true, true, HWS_ERR_TLS_CLIENT_CERT},
        {42, false, true, HWS_ERR_TLS_ALERT},      {80, true, true, HWS_ERR_TLS_ALERT},
        {112, false, false, HWS_ERR_TLS_ALERT},    {120, false, false, HWS_ERR_NO_ALPN},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(hws_alert_code(cases[i].alert, cases[i].asked, cases[i].met),
                         cases[i].code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alerts_have_names),
        cmocka_unit_test(what_an_alert_means_depends_on_how_far_the_handshake_came),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
