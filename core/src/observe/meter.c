#include "observe/meter.h"

#include <assert.h>
#include <string.h>

#define SLOTS (HWS_METER_SPAN + 1) /* the past ones, and the one that fills */

void hws_meter_init(hws_meter_t *meter, hws_time_t now)
{
    memset(meter, 0, sizeof(*meter));
    meter->until = now + HWS_S(1);
}

void hws_meter_advance(hws_meter_t *meter, hws_time_t now)
{
    hws_time_t seconds = (now - meter->until) / HWS_S(1) + 1;

    assert(now >= meter->until);
    meter->until += seconds * HWS_S(1);
    if (seconds >= SLOTS) {
        memset(meter->slots, 0, sizeof(meter->slots));
        meter->past = HWS_METER_SPAN;
        return;
    }
    meter->past += (uint32_t)seconds;
    if (meter->past > HWS_METER_SPAN)
        meter->past = HWS_METER_SPAN;
    while (seconds-- > 0) {
        meter->at = (meter->at + 1) % SLOTS;
        meter->slots[meter->at].events = meter->slots[meter->at].bytes = 0;
    }
}

hws_rate_t hws_meter_rate(hws_meter_t *meter, uint32_t seconds, hws_time_t now)
{
    uint64_t events = 0;
    uint64_t bytes = 0;
    uint32_t i;

    assert(seconds >= 1 && seconds <= HWS_METER_SPAN);
    if (now >= meter->until)
        hws_meter_advance(meter, now);
    if (seconds > meter->past)
        seconds = meter->past;
    if (seconds == 0)
        return (hws_rate_t){0, 0};
    for (i = 1; i <= seconds; i++) {
        uint32_t slot = (meter->at + SLOTS - i) % SLOTS;

        events += meter->slots[slot].events;
        bytes += meter->slots[slot].bytes;
    }
    return (hws_rate_t){(double)events / seconds, (double)bytes / seconds};
}

static void bring_up(hws_meter_t *meter, hws_time_t now)
{
    if (now >= meter->until)
        hws_meter_advance(meter, now);
}

void hws_meter_merge(hws_meter_t *meter, hws_meter_t *from, hws_time_t now)
{
    uint32_t i;

    bring_up(meter, now);
    bring_up(from, now);
    meter->events += from->events;
    meter->bytes += from->bytes;
    if (meter->until != from->until)
        return;
    for (i = 0; i < SLOTS; i++) {
        uint32_t to = (meter->at + SLOTS - i) % SLOTS;
        uint32_t slot = (from->at + SLOTS - i) % SLOTS;

        meter->slots[to].events += from->slots[slot].events;
        meter->slots[to].bytes += from->slots[slot].bytes;
    }
    if (from->past > meter->past)
        meter->past = from->past;
}
