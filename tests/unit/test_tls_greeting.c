#include "transport/tls_greeting.h"

#include "support/cmocka.h"

#include <string.h>

static int check(const char *bytes, size_t size, size_t piece, char *detail)
{
    unsigned heard = 0;
    int rc = HWS_OK;
    size_t at;

    detail[0] = '\0';
    for (at = 0; at < size && rc == HWS_OK && heard < HWS_GREETING_SIZE; at += piece) {
        hws_slice_t in = {bytes + at, size - at < piece ? size - at : piece};

        rc = hws_greeting_check(&heard, in, detail, 40);
    }
    return rc;
}

static void only_handshakes_and_alerts_begin_tls(void **state)
{
    static const struct {
        const char *bytes;
        int code;
    } cases[] = {
        {"\x16\x03\x03zz", HWS_OK},          {"\x15\x03\x01zz", HWS_OK},
        {"HTTP/1.1 400", HWS_ERR_TLS_PLAIN}, {"\x16TTP", HWS_ERR_TLS_PLAIN},
        {"\x17\x03\x03", HWS_ERR_TLS_PLAIN}, {"\x03\x16", HWS_ERR_TLS_PLAIN},
    };
    char detail[40];
    size_t piece;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (piece = 1; piece < 4; piece++)
            assert_int_equal(check(cases[i].bytes, strlen(cases[i].bytes), piece, detail),
                             cases[i].code);
}

static void what_was_sent_is_shown(void **state)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nServer: a";
    char detail[40];

    (void)state;
    assert_int_equal(check(text, strlen(text), 100, detail), HWS_ERR_TLS_PLAIN);
    assert_string_equal(detail, "it sent \"HTTP/1.1 400 Bad Request\"");
    assert_int_equal(check("a\nb\x80", 4, 100, detail), HWS_ERR_TLS_PLAIN);
    assert_string_equal(detail, "it sent \"a.b.\"");
}

static void nothing_heard_is_nothing_wrong(void **state)
{
    unsigned heard = 0;
    char detail[40] = "";

    (void)state;
    assert_int_equal(hws_greeting_check(&heard, (hws_slice_t){NULL, 0}, detail, 40), HWS_OK);
    assert_int_equal(heard, 0);
    assert_string_equal(detail, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_handshakes_and_alerts_begin_tls),
        cmocka_unit_test(what_was_sent_is_shown),
        cmocka_unit_test(nothing_heard_is_nothing_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
