/* histogram.h - how often values of each size occurred, to about 6 %.
 *
 * Log-linear, as in HdrHistogram (Tene): 16 equal buckets for each power of two, so that recording
 * costs a count of leading zeros and an increment, whatever the value. */
#ifndef HWS_OBSERVE_HISTOGRAM_H
#define HWS_OBSERVE_HISTOGRAM_H

#include <stdint.h>

#define HWS_HISTOGRAM_BITS 4 /* 2^4 buckets for each power of two */
#define HWS_HISTOGRAM_TOP 36 /* values are below 2^36; larger ones count as the largest */
#define HWS_HISTOGRAM_BUCKETS (((HWS_HISTOGRAM_TOP - HWS_HISTOGRAM_BITS) + 1) << HWS_HISTOGRAM_BITS)

/* Zeroed is a valid empty histogram. */
typedef struct {
    uint64_t count;
    uint32_t buckets[HWS_HISTOGRAM_BUCKETS]; /* each stops at UINT32_MAX */
} hws_histogram_t;

static inline uint32_t hws_histogram_bucket(uint64_t value)
{
    uint32_t shift;

    if (value >> HWS_HISTOGRAM_TOP != 0)
        value = (UINT64_C(1) << HWS_HISTOGRAM_TOP) - 1;
    if (value >> HWS_HISTOGRAM_BITS == 0)
        return (uint32_t)value;
    shift = 63 - HWS_HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value);
    return (uint32_t)(value >> shift) + (shift << HWS_HISTOGRAM_BITS);
}

static inline void hws_histogram_record(hws_histogram_t *histogram, uint64_t value)
{
    uint32_t *bucket = &histogram->buckets[hws_histogram_bucket(value)];

    *bucket += *bucket != UINT32_MAX;
    histogram->count++;
}

/* A value that `share` (0..1) of all recorded ones do not exceed: the upper end of its bucket.
 * 0 while nothing was recorded. */
uint64_t hws_histogram_quantile(const hws_histogram_t *histogram, double share);

#endif
