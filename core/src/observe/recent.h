/* recent.h - quantiles of the last 30 to 60 s.
 *
 * Two histograms: one fills for 30 s, the other one has those before. No timer: what comes, or is
 * asked, moves it on. Time that stands still or goes back counts as the newest. */
#ifndef HWS_OBSERVE_RECENT_H
#define HWS_OBSERVE_RECENT_H

#include "observe/histogram.h"

#include <hawser/base.h>

#define HWS_RECENT_SPAN HWS_S(30)

/* Zeroed is valid and empty. */
typedef struct {
    hws_time_t until; /* when the halves change places */
    uint32_t at;      /* the half that fills */
    hws_histogram_t halves[2];
} hws_recent_t;

void hws_recent_dispose(hws_recent_t *recent);
/* Forgets what is too old at `now`; the functions below do it. */
void hws_recent_advance(hws_recent_t *recent, hws_time_t now);

static inline void hws_recent_record(hws_recent_t *recent, uint64_t value, hws_time_t now)
{
    if (now >= recent->until)
        hws_recent_advance(recent, now);
    hws_histogram_record(&recent->halves[recent->at], value);
}

/* As hws_histogram_quantile(). */
uint64_t hws_recent_quantile(hws_recent_t *recent, double share, hws_time_t now);

#endif
