#include "io/address.h"

#include "support/cmocka.h"

#include <arpa/inet.h>
#include <string.h>

static hws_slice_t slice(const char *text)
{
    return (hws_slice_t){text, strlen(text)};
}

static void literal_addresses_are_read(void **state)
{
    static const struct {
        const char *text;
        int family;
        const char *printed;
    } steps[] = {
        {"127.0.0.1", AF_INET, "127.0.0.1"},
        {"255.255.255.255", AF_INET, "255.255.255.255"},
        {"::1", AF_INET6, "::1"},
        {"::", AF_INET6, "::"},
        {"2001:DB8:0:0:0:0:0:1", AF_INET6, "2001:db8::1"},
        {"::ffff:10.0.0.1", AF_INET6, "::ffff:10.0.0.1"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", AF_INET6,
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char printed[INET6_ADDRSTRLEN];
        hws_address_t address;
        const void *binary = &address.as.v4.sin_addr;

        assert_int_equal(hws_address_from_ip(slice(steps[i].text), 8080, &address), HWS_OK);
        assert_int_equal(address.as.any.sa_family, steps[i].family);
        if (steps[i].family == AF_INET6) {
            binary = &address.as.v6.sin6_addr;
            assert_int_equal(ntohs(address.as.v6.sin6_port), 8080);
            assert_int_equal(address.size, sizeof(struct sockaddr_in6));
        } else {
            assert_int_equal(ntohs(address.as.v4.sin_port), 8080);
            assert_int_equal(address.size, sizeof(struct sockaddr_in));
        }
        assert_string_equal(inet_ntop(steps[i].family, binary, printed, sizeof(printed)),
                            steps[i].printed);
    }
}

static void what_is_no_literal_address_is_a_name(void **state)
{
    static const char *const texts[] = {
        "",
        "localhost",
        "127.0.0",
        "127.0.0.1.1",
        "127.0.0.256",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "01.2.3.4",
        "[::1]",
        "::1%eth0",
        ":::1",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "::ffff:1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20",
    };
    hws_address_t address;
    size_t i;

    (void)state;
    memset(&address, 'x', sizeof(address));
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(hws_address_from_ip(slice(texts[i]), 80, &address), HWS_ERR_INVALID);
    assert_int_equal(hws_address_from_ip(HWS_SLICE("127.0.0.1\0"), 80, &address), HWS_ERR_INVALID);
    assert_int_equal(((char *)&address)[0], 'x');
}

/* The slice is a part of something longer, as in a URL. */
static void only_the_slice_is_read(void **state)
{
    hws_address_t address;

    (void)state;
    assert_int_equal(hws_address_from_ip((hws_slice_t){"10.0.0.12345", 9}, 80, &address), HWS_OK);
    assert_int_equal(ntohl(address.as.v4.sin_addr.s_addr), 0x0a00000c);
    assert_int_equal(hws_address_from_path((hws_slice_t){"/run/x.sock", 6}, &address), HWS_OK);
    assert_string_equal(address.as.local.sun_path, "/run/x");
}

static void an_authority_is_a_host_and_perhaps_a_port(void **state)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: it is none */
        uint16_t port;    /* 7: none was given */
    } cases[] = {
        {"a", "a", 7},
        {"a.test:1", "a.test", 1},
        {"a:65535", "a", 65535},
        {"a:00080", "a", 80},
        {"a:", "a", 7},
        {"10.0.0.1:53", "10.0.0.1", 53},
        {"[::1]", "::1", 7},
        {"[::1]:", "::1", 7},
        {"[::1]:8080", "::1", 8080},
        {"", NULL, 0},
        {":", NULL, 0},
        {":80", NULL, 0},
        {"[", NULL, 0},
        {"[]", NULL, 0},
        {"[]:80", NULL, 0},
        {"[a]", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]8080", NULL, 0},
        {"[::1]:1:2", NULL, 0},
        {"::1", NULL, 0},
        {"a:0", NULL, 0},
        {"a:65536", NULL, 0},
        {"a:123456", NULL, 0},
        {"a:+1", NULL, 0},
        {"a: 1", NULL, 0},
        {"a:1x", NULL, 0},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_slice_t host = {NULL, 0};
        uint16_t port = 7;
        const char *wrong = hws_authority_parse(slice(cases[i].text), &host, &port);

        if (cases[i].host == NULL) {
            assert_non_null(wrong);
            assert_null(host.data);
            assert_int_equal(port, 7);
            continue;
        }
        assert_null(wrong);
        assert_int_equal(host.size, strlen(cases[i].host));
        assert_memory_equal(host.data, cases[i].host, host.size);
        assert_int_equal(port, cases[i].port);
    }
}

static void a_path_may_be_as_long_as_the_system_takes(void **state)
{
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    hws_address_t address;

    (void)state;
    memset(path, 'a', sizeof(path));
    assert_int_equal(hws_address_from_path((hws_slice_t){path, sizeof(path) - 2}, &address),
                     HWS_OK);
    assert_int_equal(address.as.any.sa_family, AF_UNIX);
    assert_int_equal(strlen(address.as.local.sun_path), sizeof(path) - 2);
    assert_int_equal(hws_address_from_path((hws_slice_t){path, sizeof(path) - 1}, &address),
                     HWS_ERR_BAD_URL);
    assert_int_equal(hws_address_from_path((hws_slice_t){path, sizeof(path)}, &address),
                     HWS_ERR_BAD_URL);
}

static void a_path_is_not_empty_and_holds_no_nul(void **state)
{
    hws_address_t address;

    (void)state;
    memset(&address, 'x', sizeof(address));
    assert_int_equal(hws_address_from_path(slice(""), &address), HWS_ERR_BAD_URL);
    assert_int_equal(hws_address_from_path(HWS_SLICE("\0abstract"), &address), HWS_ERR_BAD_URL);
    assert_int_equal(hws_address_from_path(HWS_SLICE("/run/a\0b"), &address), HWS_ERR_BAD_URL);
    assert_int_equal(((char *)&address)[0], 'x');
}

static void an_ip_becomes_the_address_of_a_socket(void **state)
{
    static const char *const texts[] = {"10.0.0.1", "2001:db8::1"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        hws_address_t direct;
        hws_address_t made;
        hws_ip_t ip;

        assert_int_equal(hws_ip_from_text(slice(texts[i]), &ip), HWS_OK);
        hws_address_of_ip(&ip, 443, &made);
        assert_int_equal(hws_address_from_ip(slice(texts[i]), 443, &direct), HWS_OK);
        assert_int_equal(made.size, direct.size);
        assert_memory_equal(&made.as, &direct.as, direct.size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literal_addresses_are_read),
        cmocka_unit_test(an_ip_becomes_the_address_of_a_socket),
        cmocka_unit_test(what_is_no_literal_address_is_a_name),
        cmocka_unit_test(only_the_slice_is_read),
        cmocka_unit_test(an_authority_is_a_host_and_perhaps_a_port),
        cmocka_unit_test(a_path_may_be_as_long_as_the_system_takes),
        cmocka_unit_test(a_path_is_not_empty_and_holds_no_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
