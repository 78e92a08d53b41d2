/* What is spoken with a peer: by the user's word, the URL's scheme, and ALPN. */
#include "protocol.h"

#include "support/cmocka.h"

#include <string.h>

#define HTTP                                                                                       \
    {                                                                                              \
        true, false, false                                                                         \
    }
#define HTTPS                                                                                      \
    {                                                                                              \
        true, true, false                                                                          \
    }
#define H2C                                                                                        \
    {                                                                                              \
        true, false, true                                                                          \
    }
#define PLAIN                                                                                      \
    {                                                                                              \
        false, false, false                                                                        \
    }
#define TLS                                                                                        \
    {                                                                                              \
        false, true, false                                                                         \
    }

static void wish_and_scheme_say_what_is_spoken(void **state)
{
    enum { REFUSED = -1 };
    static const struct {
        hws_protocol_t wanted;
        hws_scheme_t scheme;
        int spoken;
    } cases[] = {
        {HWS_PROTOCOL_AUTO, HTTP, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_AUTO, HTTPS, HWS_PROTOCOL_AUTO},
        {HWS_PROTOCOL_AUTO, H2C, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_AUTO, PLAIN, HWS_PROTOCOL_RAW},
        {HWS_PROTOCOL_AUTO, TLS, HWS_PROTOCOL_RAW},
        {HWS_PROTOCOL_HTTP1, HTTP, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_HTTP1, HTTPS, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_HTTP1, PLAIN, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_HTTP1, H2C, REFUSED},
        {HWS_PROTOCOL_H2, HTTPS, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2, TLS, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2, HTTP, REFUSED},
        {HWS_PROTOCOL_H2, H2C, REFUSED},
        {HWS_PROTOCOL_H2, PLAIN, REFUSED},
        {HWS_PROTOCOL_H2C, H2C, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2C, HTTP, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2C, PLAIN, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2C, HTTPS, REFUSED},
        {HWS_PROTOCOL_H2C, TLS, REFUSED},
        {HWS_PROTOCOL_RAW, PLAIN, HWS_PROTOCOL_RAW},
        {HWS_PROTOCOL_RAW, TLS, HWS_PROTOCOL_RAW},
        {HWS_PROTOCOL_RAW, HTTP, REFUSED},
        {HWS_PROTOCOL_RAW, H2C, REFUSED},
        {HWS_PROTOCOL_YAMUX, PLAIN, HWS_PROTOCOL_YAMUX},
        {HWS_PROTOCOL_YAMUX, TLS, HWS_PROTOCOL_YAMUX},
        {HWS_PROTOCOL_YAMUX, HTTPS, REFUSED},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_error_t why = {.code = HWS_OK};
        hws_protocol_t spoken;
        int rc = hws_protocol_of_peer(cases[i].wanted, cases[i].scheme, "the-peer", &spoken, &why);

        if (cases[i].spoken == REFUSED) {
            assert_int_equal(rc, HWS_ERR_INVALID);
            assert_non_null(strstr(why.detail, "the-peer"));
            assert_non_null(strstr(why.detail, hws_protocol_name(cases[i].wanted)));
        } else {
            assert_int_equal(rc, HWS_OK);
            assert_int_equal(spoken, cases[i].spoken);
        }
    }
}

static void the_handshake_has_the_last_word(void **state)
{
    static const struct {
        hws_protocol_t wanted;
        const char *alpn;
        int code;
        hws_protocol_t spoken;
    } cases[] = {
        {HWS_PROTOCOL_AUTO, "h2", HWS_OK, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_AUTO, "http/1.1", HWS_OK, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_AUTO, NULL, HWS_OK, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_H2, "h2", HWS_OK, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2, "http/1.1", HWS_ERR_NO_ALPN, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_H2, NULL, HWS_ERR_NO_ALPN, HWS_PROTOCOL_H2},
        {HWS_PROTOCOL_HTTP1, "http/1.1", HWS_OK, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_HTTP1, NULL, HWS_OK, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_HTTP1, "h2", HWS_ERR_NO_ALPN, HWS_PROTOCOL_HTTP1},
        {HWS_PROTOCOL_RAW, "postgresql", HWS_OK, HWS_PROTOCOL_RAW},
        {HWS_PROTOCOL_YAMUX, NULL, HWS_OK, HWS_PROTOCOL_YAMUX},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_protocol_t spoken;

        assert_int_equal(hws_protocol_agreed(cases[i].wanted, cases[i].alpn, &spoken),
                         cases[i].code);
        assert_int_equal(spoken, cases[i].spoken);
    }
}

static void what_is_offered(void **state)
{
    const char *const *both = hws_protocol_alpn(HWS_PROTOCOL_AUTO);

    (void)state;
    assert_string_equal(both[0], "h2");
    assert_string_equal(both[1], "http/1.1");
    assert_null(both[2]);
    assert_string_equal(hws_protocol_alpn(HWS_PROTOCOL_HTTP1)[0], "http/1.1");
    assert_null(hws_protocol_alpn(HWS_PROTOCOL_HTTP1)[1]);
    assert_string_equal(hws_protocol_alpn(HWS_PROTOCOL_H2)[0], "h2");
    assert_null(hws_protocol_alpn(HWS_PROTOCOL_H2)[1]);
    assert_null(hws_protocol_alpn(HWS_PROTOCOL_RAW));
    assert_null(hws_protocol_alpn(HWS_PROTOCOL_H2C));
}

static void windows_and_pings_are_bounded(void **state)
{
    hws_h2_options_t h2 = hws_h2_defaults();
    hws_error_t why = {.code = HWS_OK};

    (void)state;
    assert_int_equal(hws_h2_options_check(&h2, &why), HWS_OK);
    h2.window = 65534;
    assert_int_equal(hws_h2_options_check(&h2, &why), HWS_ERR_INVALID);
    assert_non_null(strstr(why.detail, "h2.window: from 65535"));
    h2 = hws_h2_defaults();
    h2.connection_window_max = 1u << 31;
    assert_int_equal(hws_h2_options_check(&h2, &why), HWS_ERR_INVALID);
    h2 = hws_h2_defaults();
    h2.ping_timeout = 0;
    assert_int_equal(hws_h2_options_check(&h2, &why), HWS_ERR_INVALID);
    assert_non_null(strstr(why.detail, "h2.ping_timeout"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(wish_and_scheme_say_what_is_spoken),
        cmocka_unit_test(the_handshake_has_the_last_word),
        cmocka_unit_test(what_is_offered),
        cmocka_unit_test(windows_and_pings_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
