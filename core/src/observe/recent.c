#include "observe/recent.h"

void hws_recent_dispose(hws_recent_t *recent)
{
    hws_histogram_dispose(&recent->halves[0]);
    hws_histogram_dispose(&recent->halves[1]);
}

void hws_recent_advance(hws_recent_t *recent, hws_time_t now)
{
    bool is_all_old = now - recent->until >= HWS_RECENT_SPAN;

    if (is_all_old)
        hws_histogram_reset(&recent->halves[recent->at]);
    recent->at ^= 1;
    hws_histogram_reset(&recent->halves[recent->at]);
    recent->until = (is_all_old ? now : recent->until) + HWS_RECENT_SPAN;
}

uint64_t hws_recent_quantile(hws_recent_t *recent, double share, hws_time_t now)
{
    if (now >= recent->until)
        hws_recent_advance(recent, now);
    return hws_histogram_quantile_of(recent->halves, 2, share);
}
