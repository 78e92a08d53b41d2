#include "peer.h"

#include "base/memory.h"
#include "support/cmocka.h"

#include <string.h>

static hws_slice_t slice(const char *text)
{
    return (hws_slice_t){text, strlen(text)};
}

static void an_url_says_where_what_and_by_which_name(void **state)
{
    static const struct {
        const char *url;
        const char *id;
        const char *authority;
        const char *address;
        uint32_t addresses;
        bool is_http;
    } cases[] = {
        {"http://10.0.0.1:81", "10.0.0.1:81", "10.0.0.1:81", "10.0.0.1:81", 1, true},
        {"http://10.0.0.1", "10.0.0.1:80", "10.0.0.1", "10.0.0.1:80", 1, true},
        {"http://10.0.0.1/", "10.0.0.1:80", "10.0.0.1", "10.0.0.1:80", 1, true},
        {"http://10.0.0.1:/", "10.0.0.1:80", "10.0.0.1", "10.0.0.1:80", 1, true},
        {"https://[::1]:", "[::1]:443", "[::1]", "[::1]:443", 1, true},
        {"http://[::1]:8080", "[::1]:8080", "[::1]:8080", "[::1]:8080", 1, true},
        {"http://[2001:db8::1]", "[2001:db8::1]:80", "[2001:db8::1]", "[2001:db8::1]:80", 1, true},
        {"http://localhost:7", "localhost:7", "localhost:7", "localhost:7", 2, true},
        {"http://LocalHost:7", "localhost:7", "localhost:7", "localhost:7", 2, true},
        {"tcp://127.0.0.1:6379", "127.0.0.1:6379", "127.0.0.1:6379", "127.0.0.1:6379", 1, false},
        {"unix:/run/x.sock", "%2Frun%2Fx.sock", "localhost", "unix:/run/x.sock", 1, false},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_peer_options_t options = {.url = slice(cases[i].url)};
        hws_peer_t *peer;

        assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
        assert_string_equal(peer->id, cases[i].id);
        assert_string_equal(peer->authority, cases[i].authority);
        assert_string_equal(peer->address_text, cases[i].address);
        assert_int_equal(peer->address_count, cases[i].addresses);
        assert_int_equal(peer->is_http, cases[i].is_http);
        assert_true(peer->candidate.weight > 0.99 && peer->candidate.weight < 1.01);
        hws_peer_destroy(peer);
    }
}

static void an_address_of_its_own_is_where_it_connects(void **state)
{
    hws_peer_options_t options = {.url = HWS_SLICE("http://example.org:8080"),
                                  .address = HWS_SLICE("10.0.0.7:1"),
                                  .id = HWS_SLICE("seven"),
                                  .locality = HWS_SLICE("here"),
                                  .weight = 2.5};
    hws_peer_t *peer;

    (void)state;
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
    assert_string_equal(peer->id, "seven");
    assert_string_equal(peer->authority, "example.org:8080");
    assert_string_equal(peer->address_text, "10.0.0.7:1");
    assert_string_equal(peer->locality, "here");
    hws_peer_destroy(peer);

    options.address = HWS_SLICE("unix:/a");
    options.id = (hws_slice_t){NULL, 0};
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
    assert_string_equal(peer->id, "example.org:8080");
    assert_string_equal(peer->address_text, "unix:/a");
    hws_peer_destroy(peer);

    options.url = HWS_SLICE("unix:/b");
    options.address = HWS_SLICE("10.0.0.7:1");
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
    assert_string_equal(peer->id, "%2Fb");
    assert_string_equal(peer->address_text, "10.0.0.7:1");
    hws_peer_destroy(peer);
}

static void what_is_no_peer_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *url;
        const char *address;
        const char *id;
        double weight;
        int code;
    } cases[] = {
        {"", "", "", 0, HWS_ERR_BAD_URL},
        {"10.0.0.1:80", "", "", 0, HWS_ERR_BAD_URL},
        {"http://", "", "", 0, HWS_ERR_BAD_URL},
        {"http://:80", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1:80/path", "", "", 0, HWS_ERR_BAD_URL},
        {"http://user@example.org", "10.0.0.1:1", "", 0, HWS_ERR_BAD_URL},
        {"http://a\\\\b", "10.0.0.1:1", "", 0, HWS_ERR_BAD_URL},
        {"tcp://10.0.0.1:", "", "", 0, HWS_ERR_BAD_URL},
        {"http://[]:80", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1:0", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1:65536", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1:123456", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1:+1", "", "", 0, HWS_ERR_BAD_URL},
        {"http://::1:80", "", "", 0, HWS_ERR_BAD_URL},
        {"http://[::1", "", "", 0, HWS_ERR_BAD_URL},
        {"http://[::1]x", "", "", 0, HWS_ERR_BAD_URL},
        {"tcp://10.0.0.1", "", "", 0, HWS_ERR_BAD_URL},
        {"unix:", "", "", 0, HWS_ERR_BAD_URL},
        {"tls://10.0.0.1", "", "", 0, HWS_ERR_BAD_URL},
        {"http://example..org", "", "", 0, HWS_ERR_BAD_URL},
        {"http://.example.org", "", "", 0, HWS_ERR_BAD_URL},
        {"http://exam!ple.org", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0", "", "", 0, HWS_ERR_BAD_URL},
        {"http://[fe80::1%eth0]", "", "", 0, HWS_ERR_BAD_URL},
        {"http://[example.org]", "", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1", "10.0.0.1:x", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1", "unix:", "", 0, HWS_ERR_BAD_URL},
        {"http://10.0.0.1", "", "a/b", 0, HWS_ERR_INVALID},
        {"http://10.0.0.1", "", "", -1, HWS_ERR_INVALID},
        {"http://10.0.0.1", "", "", 1e7, HWS_ERR_INVALID},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_peer_options_t options = {.url = slice(cases[i].url),
                                      .address = slice(cases[i].address),
                                      .id = slice(cases[i].id),
                                      .weight = cases[i].weight};
        hws_peer_t *peer = NULL;
        hws_error_t why = {0};
        int rc = hws_peer_create(&options, &peer, &why);

        if (rc != cases[i].code)
            print_error("%s %s: %s\n", cases[i].url, cases[i].address, hws_error_name(rc));
        assert_int_equal(rc, cases[i].code);
        assert_null(peer);
        assert_int_equal(why.code, rc);
        assert_true(why.detail[0] != '\0');
        assert_int_equal(hws_peer_create(&options, &peer, NULL), rc);
    }
}

static void what_is_too_long_is_refused(void **state)
{
    char text[400] = "http://";
    hws_peer_options_t options = {.url = {text, sizeof(text)}};
    hws_peer_t *peer;

    (void)state;
    memset(text + 7, '1', sizeof(text) - 7);
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_ERR_BAD_URL);
    options.url = HWS_SLICE("http://10.0.0.1");
    options.id = (hws_slice_t){text + 7, 256};
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_ERR_INVALID);
    options.id.size = 255;
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
    hws_peer_destroy(peer);
    options.id.size = 0;
    memcpy(text, "unix:/", 6);
    options.url = (hws_slice_t){text, 200};
    assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_ERR_BAD_URL);
}

/* A NUL or a line break in a name must not become a second header line, or another name. */
static void control_bytes_in_names_are_refused(void **state)
{
    static const hws_slice_t urls[] = {
        {"http://localhost\r\nX: y:80", 25},
        {"http://10.0.0.1\0x", 17},
        {"http://a b", 10},
        {"unix:/a\0b", 9},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        hws_peer_options_t options = {.url = urls[i]};
        hws_peer_t *peer = NULL;

        assert_int_not_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
        options = (hws_peer_options_t){.url = urls[i], .address = HWS_SLICE("10.0.0.1:1")};
        assert_int_not_equal(hws_peer_create(&options, &peer, NULL), HWS_OK);
        assert_null(peer);
    }
    {
        hws_peer_options_t options = {.url = HWS_SLICE("http://10.0.0.1"), .id = {"a\0b", 3}};
        hws_peer_t *peer = NULL;

        assert_int_equal(hws_peer_create(&options, &peer, NULL), HWS_ERR_INVALID);
        assert_null(peer);
    }
}

static void any_failing_allocation_is_told(void **state)
{
    hws_peer_options_t options = {.url = HWS_SLICE("unix:/a/b"), .locality = HWS_SLICE("x")};
    hws_peer_t *peer = NULL;
    uint64_t n = 0;
    int rc;

    (void)state;
    do {
        hws_memory_fail_at(++n);
        rc = hws_peer_create(&options, &peer, NULL);
        hws_memory_fail_at(0);
        assert_true(rc == HWS_OK || rc == HWS_ERR_NOMEM);
    } while (rc != HWS_OK);
    assert_true(n > 4);
    hws_peer_destroy(peer);
    hws_peer_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_url_says_where_what_and_by_which_name),
        cmocka_unit_test(an_address_of_its_own_is_where_it_connects),
        cmocka_unit_test(what_is_no_peer_is_refused_with_a_reason),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(control_bytes_in_names_are_refused),
        cmocka_unit_test(any_failing_allocation_is_told),
    };

    return cmocka_run_group_tests_name("peer", tests, NULL, NULL);
}
