#include "io/hosts.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the text says: "1,2" are the last bytes of the addresses, "known" and "-" that there are
 * none of the family, or none at all. The text is looked at in a block of exactly its size. */
static const char *find(const char *text, const char *name, int family)
{
    static char result[64];
    size_t size = strlen(text);
    char *block = malloc(size > 0 ? size : 1);
    hws_ip_t ips[3];
    bool is_known;
    uint32_t count;

    assert_non_null(block);
    memcpy(block, text, size);
    count = hws_hosts_find((hws_slice_t){block, size}, name, family, ips, 3, &is_known);
    free(block);
    snprintf(result, sizeof(result), "%s", is_known ? "known" : "-");
    for (uint32_t i = 0, used = 0; i < count; i++)
        used += (uint32_t)snprintf(result + used, sizeof(result) - used, "%s%d", i > 0 ? "," : "",
                                   ips[i].bytes[family == AF_INET ? 3 : 15]);
    return result;
}

static void names_have_the_addresses_of_their_lines(void **state)
{
    static const struct {
        const char *text;
        const char *name;
        const char *v4;
        const char *v6;
    } steps[] = {
        {"", "db", "-", "-"},
        {"10.0.0.1 db", "db", "1", "known"},
        {"10.0.0.1 db\n", "DB.", "1", "known"},
        {"10.0.0.1 Db.Test db\r\n::2 db\r\n", "db", "1", "2"},
        {"10.0.0.1 a db b\n10.0.0.2\tc\t db\n10.0.0.3 x", "db", "1,2", "known"},
        {"10.0.0.1 db\n10.0.0.2 db\n10.0.0.3 db\n10.0.0.4 db", "db", "1,2,3", "known"},
        {"  10.0.0.1   db  ", "db", "1", "known"},
        {"# 10.0.0.1 db", "db", "-", "-"},
        {"10.0.0.1 # db", "db", "-", "-"},
        {"10.0.0.1 db#x", "db", "1", "known"},
        {"10.0.0.1", "db", "-", "-"},
        {"10.0.0.1\n db", "db", "-", "-"},
        {"10.0.0.1 dbx xdb", "db", "-", "-"},
        {"10.0.0 db\nfe80::1%eth0 db\nnonsense db\n10.0.0.9 db", "db", "9", "known"},
        {"::1 db", "db", "known", "1"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_string_equal(find(steps[i].text, steps[i].name, AF_INET), steps[i].v4);
        assert_string_equal(find(steps[i].text, steps[i].name, AF_INET6), steps[i].v6);
    }
}

static void a_nul_ends_a_line(void **state)
{
    static const char text[] = "10.0.0.1 x\0 db\n10.0.0.2 db";
    hws_ip_t ip;
    bool is_known;

    (void)state;
    assert_int_equal(
        hws_hosts_find((hws_slice_t){text, sizeof(text) - 1}, "db", AF_INET, &ip, 1, &is_known), 1);
    assert_int_equal(ip.bytes[3], 2);
}

static void localhost_and_what_is_below_it_are_this_host(void **state)
{
    static const char *const local[] = {"localhost", "LocalHost.", "a.localhost", "a.b.localhost."};
    static const char *const other[] = {
        "", ".", "localhos", "mylocalhost", "localhost.test", "localhost.."};
    hws_ip_t ip;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        assert_true(hws_hosts_is_local(local[i], AF_INET, &ip));
        assert_int_equal(ip.family, AF_INET);
        assert_int_equal(ip.bytes[0], 127);
        assert_true(hws_hosts_is_local(local[i], AF_INET6, &ip));
        assert_int_equal(ip.bytes[15], 1);
    }
    for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        assert_false(hws_hosts_is_local(other[i], AF_INET, &ip));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_the_addresses_of_their_lines),
        cmocka_unit_test(a_nul_ends_a_line),
        cmocka_unit_test(localhost_and_what_is_below_it_are_this_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
