#include "transport/tls_san.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASIC "\x30\x0c\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x02\x30\x00"
/* dNSName a.test, rfc822Name x@y, iPAddress 127.0.0.1, dNSName b.test */
#define NAMES                                                                                      \
    "\x82\x06"                                                                                     \
    "a.test"                                                                                       \
    "\x81\x03"                                                                                     \
    "x@y"                                                                                          \
    "\x87\x04\x7f\x00\x00\x01"                                                                     \
    "\x82\x06"                                                                                     \
    "b.test"
/* An Extension with these 27 bytes. */
#define SAN "\x30\x24\x06\x03\x55\x1d\x11\x04\x1d\x30\x1b" NAMES

/* Everything in one line: "DNS a.test; IP 7f000001; " and how it ended. */
static const char *describe(const char *der, size_t size)
{
    static char text[1024];
    /* As long as the input, so that the sanitizer sees one byte read too many. */
    char *copy = malloc(size + (size == 0));
    hws_san_reader_t reader;
    hws_san_t san;
    size_t used = 0;
    size_t i;
    int rc;

    assert_non_null(copy);
    memcpy(copy, der, size);
    rc = hws_san_open((hws_slice_t){copy, size}, &reader);
    if (rc == HWS_END) {
        free(copy);
        return "none";
    }
    while (rc == HWS_OK && (rc = hws_san_next(&reader, &san)) == HWS_OK) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s ",
                                 san.kind == HWS_SAN_DNS ? "DNS" : "IP");
        for (i = 0; i < san.value.size; i++)
            used += (size_t)snprintf(text + used, sizeof(text) - used,
                                     san.kind == HWS_SAN_DNS ? "%c" : "%02x",
                                     (unsigned char)san.value.data[i]);
        used += (size_t)snprintf(text + used, sizeof(text) - used, "; ");
    }
    free(copy);
    snprintf(text + used, sizeof(text) - used, "%s", rc == HWS_END ? "end" : "invalid");
    return text;
}

#define assert_reads(der, expected) assert_string_equal(describe((der), sizeof(der) - 1), expected)

static void dns_names_and_addresses_are_read_others_stepped_over(void **state)
{
    (void)state;
    assert_reads("\x30\x26" SAN, "DNS a.test; IP 7f000001; DNS b.test; end");
    assert_reads("\x30\x34" BASIC SAN, "DNS a.test; IP 7f000001; DNS b.test; end");
    assert_reads("\x30\x34" SAN BASIC, "DNS a.test; IP 7f000001; DNS b.test; end");
    assert_reads("\x30\x0d\x30\x0b\x06\x03\x55\x1d\x11\x04\x04\x30\x02\x82\x00", "DNS ; end");
    assert_reads("\x30\x0b\x30\x09\x06\x03\x55\x1d\x11\x04\x02\x30\x00", "end");
}

static void a_certificate_may_have_none(void **state)
{
    (void)state;
    assert_reads("", "none");
    assert_reads("\x30\x00", "none");
    assert_reads("\x30\x0e" BASIC, "none");
}

static void what_is_malformed_is_refused(void **state)
{
    (void)state;
    assert_reads("\x30", "invalid");
    assert_reads("\x31\x00", "invalid");
    assert_reads("\x30\x01", "invalid");
    assert_reads("\x30\x00\x00", "invalid");           /* bytes behind */
    assert_reads("\x30\x80\x00\x00", "invalid");       /* indefinite length */
    assert_reads("\x30\x81\x0e" BASIC, "invalid");     /* longer than need be */
    assert_reads("\x30\x82\x00\x0e" BASIC, "invalid"); /* likewise */
    assert_reads("\x30\x84\xff\xff\xff\xff", "invalid");
    assert_reads("\x30\x83\xff\xff\xff", "invalid");
    assert_reads("\x30\x4c" SAN SAN, "invalid"); /* twice */
    /* A name that reaches out of its list; a tag of several bytes; one that is no GeneralName. */
    assert_reads("\x30\x0d\x30\x0b\x06\x03\x55\x1d\x11\x04\x04\x30\x02\x82\x01", "invalid");
    assert_reads("\x30\x0d\x30\x0b\x06\x03\x55\x1d\x11\x04\x04\x30\x02\x9f\x00", "invalid");
    assert_reads("\x30\x0d\x30\x0b\x06\x03\x55\x1d\x11\x04\x04\x30\x02\x89\x00", "invalid");
    assert_reads("\x30\x0d\x30\x0b\x06\x03\x55\x1d\x11\x04\x04\x30\x02\x0c\x00", "invalid");
}

static void no_prefix_is_read_past_its_end(void **state)
{
    static const char whole[] = "\x30\x34" BASIC SAN;
    size_t size;

    (void)state;
    for (size = 1; size < sizeof(whole) - 1; size++)
        assert_string_equal(describe(whole, size), "invalid");
}

static void no_changed_byte_leads_astray(void **state)
{
    static const char whole[] = "\x30\x34" BASIC SAN;
    char changed[sizeof(whole)];
    size_t i;
    int value;

    (void)state;
    for (i = 0; i < sizeof(whole) - 1; i++)
        for (value = 0; value < 256; value++) {
            memcpy(changed, whole, sizeof(whole));
            changed[i] = (char)value;
            describe(changed, sizeof(whole) - 1);
        }
}

static void names_are_described_for_a_human(void **state)
{
    char text[64];
    char short_text[10];

    (void)state;
    hws_san_describe(HWS_SLICE("\x30\x26" SAN), text, sizeof(text));
    assert_string_equal(text, "a.test, 127.0.0.1, b.test");
    hws_san_describe(HWS_SLICE("\x30\x26" SAN), short_text, sizeof(short_text));
    assert_string_equal(short_text, "a.test, 1");
    hws_san_describe(HWS_SLICE("\x30\x0e" BASIC), text, sizeof(text));
    assert_string_equal(text, "");
    hws_san_describe(
        HWS_SLICE("\x30\x10\x30\x0e\x06\x03\x55\x1d\x11\x04\x07\x30\x05\x82\x03\n\0\xff"), text,
        sizeof(text));
    assert_string_equal(text, "???");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dns_names_and_addresses_are_read_others_stepped_over),
        cmocka_unit_test(a_certificate_may_have_none),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(no_prefix_is_read_past_its_end),
        cmocka_unit_test(no_changed_byte_leads_astray),
        cmocka_unit_test(names_are_described_for_a_human),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
