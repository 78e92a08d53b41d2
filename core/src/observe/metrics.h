/* metrics.h - the times, rates and bytes of one peer, or of several together.
 *
 * Told, never asked: recording is a few increments, reading is done on a snapshot. 4 KiB and what
 * its histograms need, so it is allocated when first used. */
#ifndef HWS_OBSERVE_METRICS_H
#define HWS_OBSERVE_METRICS_H

#include "observe/histogram.h"
#include "observe/meter.h"

#include <hawser/metrics.h>

typedef struct {
    hws_histogram_t phases[HWS_PHASE_COUNT]; /* us */
    hws_histogram_t total;
    hws_meter_t out; /* exchanges begun, bytes written */
    hws_meter_t in;  /* bytes read */
} hws_metrics_t;

/* `since` is when its seconds began: that of the manager, so that those of all fall together. NULL
 * when out of memory. */
hws_metrics_t *hws_metrics_create(hws_time_t since);
/* NULL is harmless. */
void hws_metrics_destroy(hws_metrics_t *metrics);
/* An attempt has ended in the phase `last`: records those that it came to, of those
 * from sending on the ones before `end`. */
void hws_metrics_attempt(hws_metrics_t *metrics, const hws_time_t *spans, hws_phase_t last,
                         hws_phase_t end);
/* Adds all that `from` has, which stays as it is; it is of the same seconds. */
void hws_metrics_merge(hws_metrics_t *metrics, hws_metrics_t *from, hws_time_t now);
/* Gives all to `*heir`, and `metrics`, which may be NULL, up. */
void hws_metrics_bequeath(hws_metrics_t *metrics, hws_metrics_t **heir, hws_time_t now);
/* What it comes to. */
void hws_metrics_read(hws_metrics_t *metrics, hws_time_t now, hws_traffic_t *out);

/* NULL, in these, is who measures nothing. */
static inline void hws_metrics_sent(hws_metrics_t *metrics, uint32_t exchanges, uint64_t bytes,
                                    hws_time_t now)
{
    if (metrics != NULL)
        hws_meter_mark(&metrics->out, exchanges, bytes, now);
}

static inline void hws_metrics_took(hws_metrics_t *metrics, uint64_t bytes, hws_time_t now)
{
    if (metrics != NULL)
        hws_meter_mark(&metrics->in, 0, bytes, now);
}

#endif
