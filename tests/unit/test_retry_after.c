#include "policy/retry_after.h"

#include "base/random.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NONE HWS_RETRY_AFTER_NONE
#define WALL INT64_C(784111777) /* Sun, 06 Nov 1994 08:49:37 GMT */

static hws_slice_t slice(const char *text)
{
    return (hws_slice_t){text, strlen(text)};
}

/* `text` in a block of its own size, so that a sanitizer sees each byte read beyond it. */
static hws_time_t read_exactly(const char *text, size_t size, const char *date, int64_t wall)
{
    char *block = malloc(size > 0 ? size : 1);
    hws_time_t span;

    assert_non_null(block);
    memcpy(block, text, size);
    span = hws_retry_after((hws_slice_t){block, size}, slice(date), wall);
    free(block);
    return span;
}

static const struct {
    const char *value;
    const char *date;
    int64_t wall;
    hws_time_t span;
} cases[] = {
    /* seconds */
    {"0", "", WALL, 0},
    {"1", "", WALL, HWS_S(1)},
    {"007", "", WALL, HWS_S(7)},
    {"120", "", WALL, HWS_S(120)},
    {" \t120\t ", "", WALL, HWS_S(120)},
    {"300", "", WALL, HWS_S(300)},
    {"301", "", WALL, HWS_S(300)},
    {"31536000", "", WALL, HWS_S(300)},
    {"4294967295", "", WALL, HWS_S(300)},
    {"4294967296", "", WALL, HWS_S(300)},
    {"18446744073709551616", "", WALL, HWS_S(300)},
    {"99999999999999999999999999999999999999999999", "", WALL, HWS_S(300)},
    /* dates, against our clock */
    {"Sun, 06 Nov 1994 08:49:47 GMT", "", WALL, HWS_S(10)},
    {"Sunday, 06-Nov-94 08:49:47 GMT", "", WALL, HWS_S(10)},
    {"Sun Nov  6 08:49:47 1994", "", WALL, HWS_S(10)},
    {"Wed Nov 16 08:49:47 1994", "", WALL, HWS_S(300)},
    {"Sun, 06 Nov 1994 08:49:37 GMT", "", WALL, 0},
    {"Sun, 06 Nov 1994 08:49:36 GMT", "", WALL, 0},
    {"Mon, 06 Nov 1995 08:49:37 GMT", "", WALL, HWS_S(300)},
    {"Mon, 01 Jan 0001 00:00:00 GMT", "", WALL, 0},
    {"Fri, 31 Dec 9999 23:59:59 GMT", "", WALL, HWS_S(300)},
    {"Fri, 31 Dec 9999 23:59:59 GMT", "", INT64_MIN, HWS_S(300)},
    {"Mon, 01 Jan 0001 00:00:00 GMT", "", INT64_MAX, 0},
    {"Friday, 31-Dec-99 23:59:59 GMT", "", INT64_MIN, HWS_S(300)},
    {"Friday, 31-Dec-99 23:59:59 GMT", "", INT64_MAX, 0},
    /* against the peer's */
    {"Sun, 06 Nov 1994 08:49:47 GMT", "Sun, 06 Nov 1994 08:49:42 GMT", 0, HWS_S(5)},
    {"Sun, 06 Nov 1994 08:49:47 GMT", " Sun Nov  6 08:49:44 1994 ", WALL, HWS_S(3)},
    {"Sun, 06 Nov 1994 08:49:47 GMT", "yesterday", WALL, HWS_S(10)},
    {"7", "Sun, 06 Nov 1994 08:49:44 GMT", WALL, HWS_S(7)},
    /* neither */
    {"", "", WALL, NONE},
    {" ", "", WALL, NONE},
    {"-1", "", WALL, NONE},
    {"+1", "", WALL, NONE},
    {"1.5", "", WALL, NONE},
    {"1e3", "", WALL, NONE},
    {"1 2", "", WALL, NONE},
    {"0x10", "", WALL, NONE},
    {"120s", "", WALL, NONE},
    {"soon", "", WALL, NONE},
    {"Sun, 06 Nov 1994 08:49:47 UTC", "", WALL, NONE},
    {"Sun, 06 Nov 1994 08:49:47 +0000", "", WALL, NONE},
    {"Sun, 6 Nov 1994 08:49:47 GMT", "", WALL, NONE},
    {"Sun,06 Nov 1994 08:49:47 GMT", "", WALL, NONE},
    {"sun, 06 nov 1994 08:49:47 gmt", "", WALL, NONE},
    {"Son, 06 Nov 1994 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 06 Nov 94 08:49:47 GMT", "", WALL, NONE},
    {"Sunday, 06-Nov-1994 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 06-Nov-94 08:49:47 GMT", "", WALL, NONE},
    {"Sun Nov 06 08:49:47 1994 GMT", "", WALL, NONE},
    {"Sun, 06 Nov 1994 08:49:47 GMT.", "", WALL, NONE},
    {"Sun, 31 Nov 1994 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 00 Nov 1994 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 29 Feb 1995 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 29 Feb 1900 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 06 Nov 0000 08:49:47 GMT", "", WALL, NONE},
    {"Sun, 06 Nov 1994 24:00:00 GMT", "", WALL, NONE},
    {"Sun, 06 Nov 1994 08:60:00 GMT", "", WALL, NONE},
    {"Sun, 06 Nov 1994 08:49:61 GMT", "", WALL, NONE},
};

static void fields_mean_what_the_rfc_says(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hws_time_t span =
            read_exactly(cases[i].value, strlen(cases[i].value), cases[i].date, cases[i].wall);

        if (span != cases[i].span)
            print_error("%s\n", cases[i].value);
        assert_int_equal(span, cases[i].span);
    }
}

static bool is_all_digits(const char *text, size_t size)
{
    return size > 0 && strspn(text, "0123456789") >= size;
}

/* A date that is cut short is no value; digits still are. */
static void a_part_of_a_date_is_no_value(void **state)
{
    size_t i;
    size_t size;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size = 0; size < strlen(cases[i].value); size++) {
            hws_time_t span = read_exactly(cases[i].value, size, cases[i].date, cases[i].wall);

            if (strchr(cases[i].value, ':') != NULL && cases[i].span != NONE)
                assert_int_equal(span, NONE);
            if (is_all_digits(cases[i].value, size))
                assert_in_range(span, 0, HWS_RETRY_AFTER_MAX);
        }
    assert_int_equal(hws_retry_after((hws_slice_t){NULL, 0}, (hws_slice_t){NULL, 0}, 0), NONE);
}

/* The C library's calendar is the reference. */
static void dates_round_trip_in_all_formats(void **state)
{
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y",
                                          "%A, %d-%b-%y %H:%M:%S GMT"};
    hws_random_t random;
    size_t format;
    int n;

    (void)state;
    hws_random_init(&random, 3);
    for (n = 0; n < 20000; n++) {
        /* from 1970 to about 2500 */
        time_t at = (time_t)hws_random_next(&random) * 4 + hws_random_below(&random, 4);
        struct tm fields;
        char text[64];
        int64_t seconds = -1;

        assert_non_null(gmtime_r(&at, &fields));
        for (format = 0; format < 3; format++) {
            size_t size = strftime(text, sizeof(text), formats[format], &fields);

            assert_true(hws_http_date((hws_slice_t){text, size}, at, &seconds));
            assert_int_equal(seconds, at);
        }
    }
}

static void leap_days_and_leap_seconds_are_known(void **state)
{
    int64_t seconds;

    (void)state;
    assert_true(hws_http_date(slice("Tue, 29 Feb 2000 00:00:00 GMT"), 0, &seconds));
    assert_int_equal(seconds, 951782400);
    assert_true(hws_http_date(slice("Sat, 31 Dec 2016 23:59:60 GMT"), 0, &seconds));
    assert_int_equal(seconds, 1483228800);
    assert_true(hws_http_date(slice("Mon, 01 Jan 0001 00:00:00 GMT"), 0, &seconds));
    assert_int_equal(seconds, -62135596800);
}

static void two_digits_are_a_year_at_most_fifty_ahead(void **state)
{
    static const struct {
        const char *year;
        int64_t wall;
        int64_t seconds;
    } years[] = {
        {"76", 1767225600, 3345062400}, /* 2026: 2076 is fifty years ahead */
        {"77", 1767225600, 220924800},  /* 1977 */
        {"26", 1767225600, 1767225600}, /*  */
        {"25", 1767225600, 1735689600}, /*  */
        {"00", 3944678400, 4102444800}, /* 2095: 2100 is near */
        {"70", 0, 0},                   /* 1970 */
        {"20", 0, 1577836800},          /* 2020 */
        {"21", 0, -1546300800},         /* 1921 */
        {"20", INT64_MIN, 1577836800},  /* no time that there was: as 1970 */
    };
    char text[64];
    int64_t seconds;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(years) / sizeof(years[0]); i++) {
        snprintf(text, sizeof(text), "Monday, 01-Jan-%s 00:00:00 GMT", years[i].year);
        assert_true(hws_http_date(slice(text), years[i].wall, &seconds));
        assert_int_equal(seconds, years[i].seconds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_mean_what_the_rfc_says),
        cmocka_unit_test(a_part_of_a_date_is_no_value),
        cmocka_unit_test(dates_round_trip_in_all_formats),
        cmocka_unit_test(leap_days_and_leap_seconds_are_known),
        cmocka_unit_test(two_digits_are_a_year_at_most_fifty_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
