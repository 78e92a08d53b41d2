#include "observe/histogram.h"

#include <assert.h>

/* The largest value that falls into `bucket`. */
static uint64_t upper_end(uint32_t bucket)
{
    uint32_t shift = bucket >> HWS_HISTOGRAM_BITS;
    uint64_t step = bucket & ((1U << HWS_HISTOGRAM_BITS) - 1);

    if (shift == 0)
        return step;
    shift--;
    return ((step + (1U << HWS_HISTOGRAM_BITS) + 1) << shift) - 1;
}

uint64_t hws_histogram_quantile(const hws_histogram_t *histogram, double share)
{
    uint64_t total = 0;
    uint64_t seen = 0;
    uint32_t i;

    assert(share >= 0 && share <= 1);
    /* Not `count`: a bucket that is full stands still while the count goes on. */
    for (i = 0; i < HWS_HISTOGRAM_BUCKETS; i++)
        total += histogram->buckets[i];
    for (i = 0; i < HWS_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= share * (double)total)
            return upper_end(i);
    }
    return 0;
}
