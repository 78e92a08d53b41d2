/* fuzz_srv.c - any bytes as the response to a question for SRV records.
 *
 * What is made of them must be in bounds, and ordering must lose none. tests/unit/test_srv.c writes
 * the seed corpus. */
#include "transport/srv.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 64
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const char *target)
{
    size_t size = strnlen(target, HWS_SRV_TARGET_MAX + 1);
    size_t label = 0;

    MUST(size > 0 && size <= HWS_SRV_TARGET_MAX);
    for (size_t i = 0; i < size; i++) {
        label = target[i] == '.' ? 0 : label + 1;
        MUST(label <= 63 && target[i] > ' ' && target[i] <= '~');
        MUST(target[i] != '.' || (i > 0 && target[i - 1] != '.'));
    }
    MUST(target[size - 1] != '.');
}

static uint32_t sum_of(const hws_srv_t *records, uint32_t count)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += (records[i].priority * 31U + records[i].weight) * 31U + records[i].port;
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hws_srv_t records[MOST];
    hws_random_t random;
    uint32_t count = 0;
    uint32_t sum;

    if (hws_srv_parse(data, size, records, MOST, &count) != HWS_OK) {
        MUST(count == 0);
        return 0;
    }
    MUST(count > 0 && count <= MOST);
    for (uint32_t i = 0; i < count; i++)
        check_target(records[i].target);
    sum = sum_of(records, count);
    hws_random_init(&random, size);
    hws_srv_order(records, count, &random);
    MUST(sum == sum_of(records, count));
    for (uint32_t i = 1; i < count; i++)
        MUST(records[i - 1].priority <= records[i].priority);
    return 0;
}
