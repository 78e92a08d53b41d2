#include "transport/roots.h"

#include "support/cmocka.h"

#include <stdlib.h>
#include <string.h>

static const char *const nowhere[] = {"/nonexistent/a", NULL};
static const char *const somewhere[] = {"/nonexistent/a", "/dev/null", "/dev/zero", NULL};
static const char *const folders[] = {"/nonexistent", "/", NULL};

static void the_first_file_that_is_there_is_taken(void **state)
{
    hws_roots_t roots;

    (void)state;
    assert_true(hws_roots_choose(NULL, NULL, somewhere, folders, &roots));
    assert_string_equal(roots.file, "/dev/null");
    assert_string_equal(roots.folders, "");
}

static void a_folder_serves_where_there_is_no_file(void **state)
{
    hws_roots_t roots;

    (void)state;
    assert_true(hws_roots_choose("", "", nowhere, folders, &roots));
    assert_string_equal(roots.file, "");
    assert_string_equal(roots.folders, "/");
    assert_false(hws_roots_choose(NULL, NULL, nowhere, nowhere, &roots));
}

static void what_the_environment_names_takes_their_place(void **state)
{
    hws_roots_t roots;

    (void)state;
    assert_true(hws_roots_choose("/my/roots.pem", NULL, somewhere, folders, &roots));
    assert_string_equal(roots.file, "/my/roots.pem");
    assert_string_equal(roots.folders, "");
    assert_true(hws_roots_choose(NULL, "/my/a:/my/b", somewhere, folders, &roots));
    assert_string_equal(roots.file, "");
    assert_string_equal(roots.folders, "/my/a:/my/b");
    assert_true(hws_roots_choose("/f", "/d", somewhere, folders, &roots));
    assert_string_equal(roots.file, "/f");
    assert_string_equal(roots.folders, "/d");
}

static void an_overlong_path_is_none(void **state)
{
    char path[5000];
    hws_roots_t roots;

    (void)state;
    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    assert_false(hws_roots_choose(path, NULL, somewhere, folders, &roots));
    assert_false(hws_roots_choose(NULL, path, somewhere, folders, &roots));
}

static void the_variables_are_looked_at(void **state)
{
    hws_roots_t roots;

    (void)state;
    setenv("SSL_CERT_FILE", "/my/roots.pem", 1);
    assert_true(hws_roots_find(&roots));
    assert_string_equal(roots.file, "/my/roots.pem");
    unsetenv("SSL_CERT_FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_file_that_is_there_is_taken),
        cmocka_unit_test(a_folder_serves_where_there_is_no_file),
        cmocka_unit_test(what_the_environment_names_takes_their_place),
        cmocka_unit_test(an_overlong_path_is_none),
        cmocka_unit_test(the_variables_are_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
