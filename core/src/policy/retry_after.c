#include "policy/retry_after.h"

#include <string.h>

#define DAY 86400
#define LATEST INT64_C(253402300799) /* 31 December 9999, 23:59:59 */

/* What is left to read; `is_bad` once something was not as it must be. */
typedef struct {
    const char *at;
    const char *end;
    bool is_bad;
} reader_t;

typedef struct {
    int year;
    int month; /* 0 .. 11 */
    int day;   /* 1 .. 31 */
    int hour;
    int minute;
    int second;
} moment_t;

static const char *const short_days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", NULL};
static const char *const long_days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday",    NULL};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
                                     "Aug", "Sep", "Oct", "Nov", "Dec", NULL};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool accept(reader_t *reader, const char *text)
{
    size_t size = strlen(text);

    if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, text, size) != 0)
        return false;
    reader->at += size;
    return true;
}

static void expect(reader_t *reader, const char *text)
{
    if (!accept(reader, text))
        reader->is_bad = true;
}

/* The index of the word that comes. */
static int expect_one_of(reader_t *reader, const char *const *words)
{
    int i;

    for (i = 0; words[i] != NULL; i++)
        if (accept(reader, words[i]))
            return i;
    reader->is_bad = true;
    return 0;
}

/* A number of exactly `digits` digits. */
static int expect_number(reader_t *reader, int digits)
{
    int number = 0;

    while (digits-- > 0) {
        if (reader->at == reader->end || !is_digit(*reader->at)) {
            reader->is_bad = true;
            return 0;
        }
        number = number * 10 + (*reader->at++ - '0');
    }
    return number;
}

static void expect_time(reader_t *reader, moment_t *moment)
{
    moment->hour = expect_number(reader, 2);
    expect(reader, ":");
    moment->minute = expect_number(reader, 2);
    expect(reader, ":");
    moment->second = expect_number(reader, 2);
}

/* Days since 1 January 1970 of the proleptic Gregorian calendar (Hinnant: chrono-compatible
 * low-level date algorithms); the year begins in March, so that the leap day is its last. */
static int64_t days_of(int year, int month, int day)
{
    int y = month < 2 ? year - 1 : year;
    int m = month < 2 ? month + 10 : month - 2; /* March is 0 */
    int era = y / 400;
    int year_of_era = y - era * 400;
    int day_of_year = (153 * m + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return (int64_t)era * 146097 + day_of_era - 719468;
}

/* The year of a time between 1970 and 9999. */
static int year_of(int64_t seconds)
{
    int64_t days = seconds / DAY;
    int year = 1970 + (int)(days / 366); /* never too late, and at most some years too early */

    while (days_of(year + 1, 0, 1) <= days)
        year++;
    return year;
}

/* Two digits stand for the latest such year that is at most 50 years after `wall`. */
static int full_year(int digits, int64_t wall)
{
    int64_t now = wall < 0 ? 0 : wall;
    int most = year_of(now < LATEST ? now : LATEST) + 50;

    return most - (most - digits) % 100;
}

static bool is_moment(const moment_t *moment)
{
    int64_t first = days_of(moment->year, moment->month, 1);
    int64_t next = moment->month == 11 ? days_of(moment->year + 1, 0, 1)
                                       : days_of(moment->year, moment->month + 1, 1);

    return moment->year >= 1 && moment->day >= 1 && moment->day <= next - first &&
           moment->hour < 24 && moment->minute < 60 && moment->second <= 60;
}

/* Behind the name of the day, IMF-fixdate: ", 06 Nov 1994 08:49:37 GMT". */
static void expect_fixdate(reader_t *reader, moment_t *moment)
{
    expect(reader, ", ");
    moment->day = expect_number(reader, 2);
    expect(reader, " ");
    moment->month = expect_one_of(reader, months);
    expect(reader, " ");
    moment->year = expect_number(reader, 4);
    expect(reader, " ");
    expect_time(reader, moment);
    expect(reader, " GMT");
}

/* RFC 850: ", 06-Nov-94 08:49:37 GMT". */
static void expect_rfc850(reader_t *reader, moment_t *moment, int64_t wall)
{
    expect(reader, ", ");
    moment->day = expect_number(reader, 2);
    expect(reader, "-");
    moment->month = expect_one_of(reader, months);
    expect(reader, "-");
    moment->year = full_year(expect_number(reader, 2), wall);
    expect(reader, " ");
    expect_time(reader, moment);
    expect(reader, " GMT");
}

/* asctime: " Nov  6 08:49:37 1994". */
static void expect_asctime(reader_t *reader, moment_t *moment)
{
    expect(reader, " ");
    moment->month = expect_one_of(reader, months);
    expect(reader, " ");
    moment->day = expect_number(reader, accept(reader, " ") ? 1 : 2);
    expect(reader, " ");
    expect_time(reader, moment);
    expect(reader, " ");
    moment->year = expect_number(reader, 4);
}

bool hws_http_date(hws_slice_t text, int64_t wall, int64_t *seconds)
{
    reader_t reader = {.at = text.data};
    reader_t long_reader;
    moment_t moment;
    int second; /* of the day */

    if (text.size == 0)
        return false;
    reader.end = text.data + text.size;
    long_reader = reader;
    (void)expect_one_of(&long_reader, long_days);
    if (!long_reader.is_bad) {
        reader = long_reader;
        expect_rfc850(&reader, &moment, wall);
    } else {
        (void)expect_one_of(&reader, short_days);
        if (reader.at < reader.end && *reader.at == ',')
            expect_fixdate(&reader, &moment);
        else
            expect_asctime(&reader, &moment);
    }
    if (reader.is_bad || reader.at != reader.end || !is_moment(&moment))
        return false;
    second = (moment.hour * 60 + moment.minute) * 60 + moment.second;
    *seconds = days_of(moment.year, moment.month, moment.day) * DAY + second;
    return true;
}

static hws_slice_t trimmed(hws_slice_t text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static hws_time_t span_of(uint64_t seconds)
{
    uint64_t most = HWS_RETRY_AFTER_MAX / HWS_S(1);

    return HWS_S(seconds < most ? seconds : most);
}

/* Digits alone; any number of them. */
static bool read_delta(hws_slice_t text, uint64_t *seconds)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i < text.size && is_digit(text.data[i]); i++)
        if (sum <= UINT32_MAX)
            sum = sum * 10 + (uint64_t)(text.data[i] - '0');
    *seconds = sum;
    return i == text.size && i > 0;
}

hws_time_t hws_retry_after(hws_slice_t value, hws_slice_t date, int64_t wall)
{
    uint64_t delta;
    int64_t from = wall;
    int64_t until;

    value = trimmed(value);
    if (read_delta(value, &delta))
        return span_of(delta);
    if (!hws_http_date(value, wall, &until))
        return HWS_RETRY_AFTER_NONE;
    (void)hws_http_date(trimmed(date), wall, &from);
    return until <= from ? 0 : span_of((uint64_t)until - (uint64_t)from);
}
