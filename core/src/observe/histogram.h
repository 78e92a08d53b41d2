/* histogram.h - how often values of each size occurred, to 1 %.
 *
 * Log-linear, as in HdrHistogram (Tene): 64 equal buckets for each power of two, so that recording
 * costs a count of leading zeros and an increment, whatever the value. The buckets of a power of
 * two are 256 bytes that are allocated when the first value falls there: latencies of one peer fill
 * a few, and all of them together are below 8 KiB. */
#ifndef HWS_OBSERVE_HISTOGRAM_H
#define HWS_OBSERVE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HWS_HISTOGRAM_BITS 6 /* 2^6 buckets for each power of two */
#define HWS_HISTOGRAM_SIZE (1U << HWS_HISTOGRAM_BITS)
#define HWS_HISTOGRAM_TOP 36 /* values are below 2^36; larger ones count as the largest */
#define HWS_HISTOGRAM_OCTAVES ((HWS_HISTOGRAM_TOP - HWS_HISTOGRAM_BITS) + 1)

/* Zeroed is a valid empty histogram. */
typedef struct {
    uint64_t count;
    uint64_t sum;  /* modulo 2^64 */
    uint64_t max;  /* exact; 0 while there is none */
    uint64_t lost; /* values that found no memory or a full bucket, and are in nothing else */
    /* HWS_HISTOGRAM_SIZE buckets each; or NULL. Its own. */
    uint32_t *octaves[HWS_HISTOGRAM_OCTAVES];
} hws_histogram_t;

/* Frees its buckets and leaves it empty. */
void hws_histogram_dispose(hws_histogram_t *histogram);
/* Empties it; the buckets stay for what comes. */
void hws_histogram_reset(hws_histogram_t *histogram);

/* Buckets for an octave that has none: NULL when out of memory, counted as one value lost. */
uint32_t *hws_histogram_grow(hws_histogram_t *histogram, uint32_t octave);

/* Numbered through from 0, octave after octave. */
static inline uint32_t hws_histogram_bucket(uint64_t value)
{
    uint32_t shift;

    if (value >> HWS_HISTOGRAM_TOP != 0)
        value = (UINT64_C(1) << HWS_HISTOGRAM_TOP) - 1;
    /* The two lowest octaves have a bucket for each value. */
    shift = 63 - HWS_HISTOGRAM_BITS - (uint32_t)__builtin_clzll(value | HWS_HISTOGRAM_SIZE);
    return (uint32_t)(value >> shift) + (shift << HWS_HISTOGRAM_BITS);
}

static inline void hws_histogram_record(hws_histogram_t *histogram, uint64_t value)
{
    uint32_t bucket = hws_histogram_bucket(value);
    uint32_t *buckets = histogram->octaves[bucket >> HWS_HISTOGRAM_BITS];

    if (buckets == NULL &&
        (buckets = hws_histogram_grow(histogram, bucket >> HWS_HISTOGRAM_BITS)) == NULL)
        return;
    buckets += bucket & (HWS_HISTOGRAM_SIZE - 1);
    if (*buckets == UINT32_MAX) {
        histogram->lost++;
        return;
    }
    ++*buckets;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max)
        histogram->max = value;
}

/* Adds all that `from` has, which stays as it is. Out of memory, all of it is lost. */
void hws_histogram_merge(hws_histogram_t *histogram, const hws_histogram_t *from);

/* A value that `share` (0..1) of all recorded ones do not exceed, to 1 %: the middle of its
 * bucket, never above `max`, and `max` itself for 1. 0 while nothing was recorded. */
uint64_t hws_histogram_quantile(const hws_histogram_t *histogram, double share);
/* The same of `count` histograms together. */
uint64_t hws_histogram_quantile_of(const hws_histogram_t *histograms, uint32_t count, double share);

#endif
