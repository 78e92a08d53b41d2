#include "transport/identity.h"

#include "support/cmocka.h"

#include <string.h>

typedef struct {
    const char *wanted;
    const char *entry; /* a DNS entry */
    bool fits;
} dns_case_t;

static const dns_case_t dns_cases[] = {
    {"example.com", "example.com", true},
    {"EXAMPLE.com", "eXample.COM", true},
    {"localhost", "localhost", true},
    {"a_b.example.com", "a_b.example.com", true},
    {"example.com", "www.example.com", false},
    {"www.example.com", "example.com", false},
    {"example.com", "example.co", false},
    {"example.com", "", false},
    /* A trailing dot may be wanted, but does not belong into a certificate (RFC 5280, 4.2.1.6). */
    {"example.com.", "example.com", true},
    {"example.com", "example.com.", false},
    {"example.com..", "example.com", false},
    /* A wildcard is the whole left-most label, and stands for one. */
    {"www.example.com", "*.example.com", true},
    {"WWW.example.com.", "*.EXAMPLE.com", true},
    {"xn--4ca.example.com", "*.example.com", true},
    {"example.com", "*.example.com", false},
    {".example.com", "*.example.com", false},
    {"a.b.example.com", "*.example.com", false},
    {"www.example.com", "w*.example.com", false},
    {"www.example.com", "*w.example.com", false},
    {"www.example.com", "ww*.example.com", false},
    {"www.example.com", "www.*.com", false},
    {"www.example.com", "*.*.com", false},
    {"www.example.com", "**.example.com", false},
    {"www.example.com", "*", false},
    {"www.example.com", "*.", false},
    {"www.example.com", "*..example.com", false},
    {"www.example.com", "*.example.com.", false},
    {"example.com", "*.com", false},
    {"localhost", "*", false},
    {"www.localhost", "*.localhost", false},
    {"*.example.com", "*.example.com", false},
    /* Addresses are no names, in whatever form. */
    {"127.0.0.1", "127.0.0.1", false},
    {"::1", "::1", false},
    {"1.2.3.4", "*.2.3.4", false},
    {"127.1", "127.1", false},
    {"0x7f.1", "0x7f.1", false},
    {"1.2.3.4.", "1.2.3.4", false},
    /* What is no name at all is named by nobody. */
    {"", "", false},
    {".", ".", false},
    {"a..b", "a..b", false},
    {"exa mple.com", "exa mple.com", false},
    {"b\xc3\xbc.example", "b\xc3\xbc.example", false},
    {"fe80::1%eth0", "fe80::1%eth0", false},
};

static void dns_names_are_matched(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(dns_cases) / sizeof(dns_cases[0]); i++) {
        const dns_case_t *it = &dns_cases[i];
        hws_identity_t identity = hws_identity_make(it->wanted);
        hws_san_t san = {HWS_SAN_DNS, {it->entry, strlen(it->entry)}};

        if (hws_identity_fits(&identity, &san) != it->fits)
            fail_msg("%s against the entry %s", it->wanted, it->entry);
    }
}

static void a_nul_ends_no_entry(void **state)
{
    hws_identity_t identity = hws_identity_make("example.com");
    hws_san_t evil = {HWS_SAN_DNS, HWS_SLICE("example.com\0.evil.test")};
    hws_san_t odd = {HWS_SAN_DNS, HWS_SLICE("example.com\0")};
    hws_san_t wild = {HWS_SAN_DNS, HWS_SLICE("*\0.example.com")};
    hws_identity_t www = hws_identity_make("www.example.com");

    (void)state;
    assert_false(hws_identity_fits(&identity, &evil));
    assert_false(hws_identity_fits(&identity, &odd));
    assert_false(hws_identity_fits(&www, &wild));
}

static void addresses_are_compared_as_bytes_with_ip_entries_alone(void **state)
{
    hws_identity_t v4 = hws_identity_make("127.0.0.1");
    hws_identity_t v6 = hws_identity_make("0:0::1");
    hws_identity_t mapped = hws_identity_make("::ffff:127.0.0.1");
    hws_identity_t dns = hws_identity_make("localhost");
    hws_san_t san4 = {HWS_SAN_IP, HWS_SLICE("\x7f\0\0\x01")};
    hws_san_t other4 = {HWS_SAN_IP, HWS_SLICE("\x7f\0\0\x02")};
    hws_san_t with_mask = {HWS_SAN_IP, HWS_SLICE("\x7f\0\0\x01\xff\xff\xff\xff")};
    hws_san_t san6 = {HWS_SAN_IP, HWS_SLICE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01")};
    hws_san_t text = {HWS_SAN_IP, HWS_SLICE("127.0.0.1")};
    hws_san_t empty = {HWS_SAN_IP, HWS_SLICE("")};

    (void)state;
    assert_int_equal(v4.kind, HWS_IDENTITY_IP);
    assert_string_equal(v4.dns, "");
    assert_true(hws_identity_fits(&v4, &san4));
    assert_true(hws_identity_fits(&v6, &san6));
    assert_false(hws_identity_fits(&v4, &other4));
    assert_false(hws_identity_fits(&v4, &san6));
    assert_false(hws_identity_fits(&v4, &with_mask));
    assert_false(hws_identity_fits(&v4, &text));
    assert_false(hws_identity_fits(&v4, &empty));
    assert_false(hws_identity_fits(&mapped, &san4));
    assert_false(hws_identity_fits(&dns, &san4));
}

static void what_sni_may_carry_is_in_lower_case_and_without_the_dot(void **state)
{
    char longest[256];
    hws_identity_t identity = hws_identity_make("WWW.Example.com.");

    (void)state;
    assert_string_equal(identity.dns, "www.example.com");
    assert_string_equal(hws_identity_make("not a name").dns, "");

    memset(longest, 'a', sizeof(longest));
    longest[63] = longest[127] = longest[191] = '.';
    longest[253] = '\0';
    assert_int_equal(hws_identity_make(longest).kind, HWS_IDENTITY_DNS);
    longest[253] = 'a';
    longest[254] = '\0';
    assert_int_equal(hws_identity_make(longest).kind, HWS_IDENTITY_NONE);
    longest[253] = '\0';
    longest[63] = 'a'; /* a label of more than 63 */
    assert_int_equal(hws_identity_make(longest).kind, HWS_IDENTITY_NONE);
}

static void names_are_equal_as_they_are_matched(void **state)
{
    hws_identity_t a = hws_identity_make("Example.com");
    hws_identity_t b = hws_identity_make("example.com.");
    hws_identity_t c = hws_identity_make("www.example.com");
    hws_identity_t ip = hws_identity_make("0:0::1");
    hws_identity_t same_ip = hws_identity_make("::1");
    hws_identity_t other_ip = hws_identity_make("::2");
    hws_identity_t none = hws_identity_make("");

    (void)state;
    assert_true(hws_identity_equals(&a, &b));
    assert_false(hws_identity_equals(&a, &c));
    assert_true(hws_identity_equals(&ip, &same_ip));
    assert_false(hws_identity_equals(&ip, &other_ip));
    assert_false(hws_identity_equals(&ip, &a));
    assert_false(hws_identity_equals(&none, &none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dns_names_are_matched),
        cmocka_unit_test(a_nul_ends_no_entry),
        cmocka_unit_test(addresses_are_compared_as_bytes_with_ip_entries_alone),
        cmocka_unit_test(what_sni_may_carry_is_in_lower_case_and_without_the_dot),
        cmocka_unit_test(names_are_equal_as_they_are_matched),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
