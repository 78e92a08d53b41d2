/* meter.h - events and bytes per second, now and in total.
 *
 * A ring of seconds, counted from when the meter began: 1 KiB, whatever happens. No timer: what
 * comes, or is asked, moves it on. Time that stands still or goes back counts as the newest. */
#ifndef HWS_OBSERVE_METER_H
#define HWS_OBSERVE_METER_H

#include <hawser/base.h>

#define HWS_METER_SPAN 60 /* seconds that a rate can be of */

typedef struct {
    hws_time_t until; /* end of the second that fills */
    uint32_t at;      /* its slot */
    uint32_t past;    /* whole seconds behind it, at most HWS_METER_SPAN */
    uint64_t events;  /* in total */
    uint64_t bytes;
    struct {
        uint64_t events;
        uint64_t bytes;
    } slots[HWS_METER_SPAN + 1];
} hws_meter_t;

typedef struct {
    double events; /* per second */
    double bytes;
} hws_rate_t;

void hws_meter_init(hws_meter_t *meter, hws_time_t now);
/* Moves on to the second of `now`; the functions below do it. */
void hws_meter_advance(hws_meter_t *meter, hws_time_t now);

static inline void hws_meter_mark(hws_meter_t *meter, uint64_t events, uint64_t bytes,
                                  hws_time_t now)
{
    if (now >= meter->until)
        hws_meter_advance(meter, now);
    meter->slots[meter->at].events += events;
    meter->slots[meter->at].bytes += bytes;
    meter->events += events;
    meter->bytes += bytes;
}

/* Adds all that `from` counted, and that second by second where the seconds of both are the same:
 * when both began whole seconds apart. */
void hws_meter_merge(hws_meter_t *meter, hws_meter_t *from, hws_time_t now);

/* The mean of the last `seconds` (1 to HWS_METER_SPAN) whole seconds, or of as many as there are
 * yet; 0 during the first one. The second that is under way does not count. */
hws_rate_t hws_meter_rate(hws_meter_t *meter, uint32_t seconds, hws_time_t now);

#endif
