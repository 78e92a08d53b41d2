#include "observe/histogram.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

#define OCTAVE_BYTES (HWS_HISTOGRAM_SIZE * sizeof(uint32_t))

void hws_histogram_dispose(hws_histogram_t *histogram)
{
    uint32_t i;

    for (i = 0; i < HWS_HISTOGRAM_OCTAVES; i++)
        hws_free(histogram->octaves[i]);
    memset(histogram, 0, sizeof(*histogram));
}

void hws_histogram_reset(hws_histogram_t *histogram)
{
    uint32_t i;

    for (i = 0; i < HWS_HISTOGRAM_OCTAVES; i++)
        if (histogram->octaves[i] != NULL)
            memset(histogram->octaves[i], 0, OCTAVE_BYTES);
    histogram->count = histogram->sum = histogram->max = histogram->lost = 0;
}

uint32_t *hws_histogram_grow(hws_histogram_t *histogram, uint32_t octave)
{
    uint32_t *buckets = hws_zalloc(OCTAVE_BYTES);

    if (buckets == NULL)
        histogram->lost++;
    histogram->octaves[octave] = buckets;
    return buckets;
}

/* Gives `histogram` the octaves of `from` that it has not. */
static bool has_room_for(hws_histogram_t *histogram, const hws_histogram_t *from)
{
    uint32_t i;

    for (i = 0; i < HWS_HISTOGRAM_OCTAVES; i++)
        if (from->octaves[i] != NULL && histogram->octaves[i] == NULL &&
            (histogram->octaves[i] = hws_zalloc(OCTAVE_BYTES)) == NULL)
            return false;
    return true;
}

/* Adds the buckets of an octave, as far as they have room; how many values had it. */
static uint64_t add_octave(uint32_t *buckets, const uint32_t *from)
{
    uint64_t added = 0;
    uint32_t i;

    for (i = 0; i < HWS_HISTOGRAM_SIZE; i++) {
        uint32_t room = UINT32_MAX - buckets[i];
        uint32_t more = from[i] < room ? from[i] : room;

        buckets[i] += more;
        added += more;
    }
    return added;
}

void hws_histogram_merge(hws_histogram_t *histogram, const hws_histogram_t *from)
{
    uint64_t added = 0;
    uint32_t i;

    histogram->lost += from->lost;
    if (!has_room_for(histogram, from)) {
        histogram->lost += from->count;
        return;
    }
    for (i = 0; i < HWS_HISTOGRAM_OCTAVES; i++)
        if (from->octaves[i] != NULL)
            added += add_octave(histogram->octaves[i], from->octaves[i]);
    histogram->lost += from->count - added;
    histogram->count += added;
    histogram->sum += from->sum;
    if (from->max > histogram->max)
        histogram->max = from->max;
}

/* ---- quantiles ---- */

/* The middle of the values that fall into `bucket`. */
static uint64_t middle_of(uint32_t bucket)
{
    uint32_t shift = bucket >> HWS_HISTOGRAM_BITS;
    uint64_t step = bucket & (HWS_HISTOGRAM_SIZE - 1);

    if (shift == 0)
        return step;
    shift--;
    return ((step + HWS_HISTOGRAM_SIZE) << shift) + ((UINT64_C(1) << shift) >> 1);
}

/* Adds up an octave of all histograms; false when none has it. */
static bool sum_octave(const hws_histogram_t *histograms, uint32_t count, uint32_t octave,
                       uint64_t sums[HWS_HISTOGRAM_SIZE])
{
    bool is_there = false;
    uint32_t i;
    uint32_t j;

    for (i = 0; i < count; i++) {
        const uint32_t *buckets = histograms[i].octaves[octave];

        if (buckets == NULL)
            continue;
        if (!is_there)
            memset(sums, 0, HWS_HISTOGRAM_SIZE * sizeof(sums[0]));
        is_there = true;
        for (j = 0; j < HWS_HISTOGRAM_SIZE; j++)
            sums[j] += buckets[j];
    }
    return is_there;
}

/* The bucket in which the value of this rank lies, 1 being the smallest; there are so many. */
static uint32_t bucket_of_rank(const hws_histogram_t *histograms, uint32_t count, uint64_t rank)
{
    uint64_t sums[HWS_HISTOGRAM_SIZE];
    uint32_t octave;
    uint32_t i;

    for (octave = 0; octave < HWS_HISTOGRAM_OCTAVES; octave++)
        if (sum_octave(histograms, count, octave, sums))
            for (i = 0; i < HWS_HISTOGRAM_SIZE; i++) {
                if (sums[i] >= rank)
                    return (octave << HWS_HISTOGRAM_BITS) + i;
                rank -= sums[i];
            }
    assert(false);
    return 0;
}

uint64_t hws_histogram_quantile_of(const hws_histogram_t *histograms, uint32_t count, double share)
{
    uint64_t total = 0;
    uint64_t max = 0;
    uint64_t rank;
    uint64_t middle;
    uint32_t i;

    assert(share >= 0 && share <= 1);
    for (i = 0; i < count; i++) {
        total += histograms[i].count;
        if (histograms[i].max > max)
            max = histograms[i].max;
    }
    if (share >= 1 || total == 0)
        return max;
    rank = (uint64_t)(share * (double)total);
    if ((double)rank < share * (double)total || rank == 0)
        rank++;
    middle = middle_of(bucket_of_rank(histograms, count, rank));
    return middle < max ? middle : max;
}

uint64_t hws_histogram_quantile(const hws_histogram_t *histogram, double share)
{
    return hws_histogram_quantile_of(histogram, 1, share);
}
