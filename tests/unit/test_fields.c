#include "base/memory.h"
#include "support/cmocka.h"

#include <hawser/request.h>

#include <string.h>

static int add(hws_buffer_t *lines, const char *name, const char *value, hws_error_t *why)
{
    return hws_fields_add(lines, (hws_slice_t){name, strlen(name)},
                          (hws_slice_t){value, strlen(value)}, why);
}

static void fields_become_lines(void **state)
{
    hws_buffer_t lines = {0};

    (void)state;
    assert_int_equal(add(&lines, "Accept", "*/*", NULL), HWS_OK);
    assert_int_equal(add(&lines, "x-empty", "", NULL), HWS_OK);
    assert_int_equal(add(&lines, "X", "tab\tand \xc3\xa4", NULL), HWS_OK);
    assert_memory_equal(lines.data, "Accept: */*\r\nx-empty: \r\nX: tab\tand \xc3\xa4\r\n",
                        lines.tail);
    hws_fields_dispose(&lines);
    hws_fields_dispose(&lines);
}

static void what_would_break_a_message_is_refused(void **state)
{
    static const hws_slice_t names[] = {{"", 0},    {"a b", 3},      {"a:", 2}, {"a\r\nb", 4},
                                        {"a\0", 2}, {"\xc3\xa4", 2}, {"a\t", 2}};
    static const hws_slice_t values[] = {{"a\r\nb", 4}, {"a\r", 2},  {"\n", 1},
                                         {"a\0b", 3},   {"\x7f", 1}, {"\x01", 1}};
    hws_buffer_t lines = {0};
    hws_error_t why;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        why.detail[0] = '\0';
        assert_int_equal(hws_fields_add(&lines, names[i], HWS_SLICE("x"), &why), HWS_ERR_INVALID);
        assert_true(why.detail[0] != '\0');
    }
    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        why.detail[0] = '\0';
        assert_int_equal(hws_fields_add(&lines, HWS_SLICE("X"), values[i], &why), HWS_ERR_INVALID);
        assert_non_null(strstr(why.detail, "X"));
    }
    assert_int_equal(lines.tail, 0);
    hws_fields_dispose(&lines);
}

static void what_belongs_to_the_connection_is_hawsers_own(void **state)
{
    static const char *const names[] = {"Content-Length",  "transfer-encoding",
                                        "CONNECTION",      "Keep-Alive",
                                        "Upgrade",         "TE",
                                        "Trailer",         "Expect",
                                        "proxy-connection"};
    hws_buffer_t lines = {0};
    hws_error_t why;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(add(&lines, names[i], "x", &why), HWS_ERR_INVALID);
        assert_non_null(strstr(why.detail, names[i]));
    }
    assert_int_equal(add(&lines, "Content-Lengths", "x", NULL), HWS_OK);
    assert_int_equal(add(&lines, "T", "x", NULL), HWS_OK);
    hws_fields_dispose(&lines);
}

static void out_of_memory_leaves_the_lines_as_they_were(void **state)
{
    hws_buffer_t lines = {0};
    char value[1000];

    (void)state;
    memset(value, 'x', sizeof(value));
    assert_int_equal(add(&lines, "A", "b", NULL), HWS_OK);
    hws_memory_fail_at(1);
    assert_int_equal(
        hws_fields_add(&lines, HWS_SLICE("C"), (hws_slice_t){value, sizeof(value)}, NULL),
        HWS_ERR_NOMEM);
    hws_memory_fail_at(0);
    assert_int_equal(lines.tail, 6);
    hws_fields_dispose(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_become_lines),
        cmocka_unit_test(what_would_break_a_message_is_refused),
        cmocka_unit_test(what_belongs_to_the_connection_is_hawsers_own),
        cmocka_unit_test(out_of_memory_leaves_the_lines_as_they_were),
    };

    return cmocka_run_group_tests_name("fields", tests, NULL, NULL);
}
