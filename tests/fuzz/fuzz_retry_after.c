/* fuzz_retry_after.c - any bytes as the fields Retry-After and Date.
 *
 * The first eight bytes are our own time; the rest is the first field up to a line feed, then the
 * other one. The span must be in its bounds and a date within the calendar, and white space around
 * a value must change nothing. */
#include "policy/retry_after.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST INT64_C(-62135596800) /* 1 January 1 */
#define LAST INT64_C(255000000000)  /* in 10050, with two digits from a wall clock at the end */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hws_time_t padded(hws_slice_t value, hws_slice_t date, int64_t wall)
{
    char *block = malloc(value.size + 2);
    hws_time_t span;

    MUST(block != NULL);
    block[0] = '\t';
    memcpy(block + 1, value.data, value.size);
    block[value.size + 1] = ' ';
    span = hws_retry_after((hws_slice_t){block, value.size + 2}, date, wall);
    free(block);
    return span;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hws_slice_t value;
    hws_slice_t date = {NULL, 0};
    const char *end;
    int64_t wall;
    int64_t seconds = 0;
    hws_time_t span;

    if (size < sizeof(wall))
        return 0;
    memcpy(&wall, data, sizeof(wall));
    value = (hws_slice_t){(const char *)data + sizeof(wall), size - sizeof(wall)};
    if (value.size > 0 && (end = memchr(value.data, '\n', value.size)) != NULL) {
        date = (hws_slice_t){end + 1, (size_t)(value.data + value.size - (end + 1))};
        value.size = (size_t)(end - value.data);
    }
    span = hws_retry_after(value, date, wall);
    MUST(span == HWS_RETRY_AFTER_NONE || (span >= 0 && span <= HWS_RETRY_AFTER_MAX));
    MUST(span == padded(value, date, wall));
    if (hws_http_date(value, wall, &seconds))
        MUST(seconds >= FIRST && seconds <= LAST);
    else
        MUST(seconds == 0);
    return 0;
}
