#include "pool/liveness.h"

static hws_time_t after(hws_time_t at, hws_time_t span)
{
    return span < HWS_NEVER - at ? at + span : HWS_NEVER;
}

static hws_time_t shorter(hws_time_t a, hws_time_t b)
{
    return a < b ? a : b;
}

void hws_liveness_init(hws_liveness_t *liveness, hws_time_t ping_idle, hws_time_t ping_timeout,
                       hws_time_t now)
{
    *liveness = (hws_liveness_t){.heard_at = now,
                                 .verdict_at = HWS_NEVER,
                                 .ping_idle = ping_idle,
                                 .ping_timeout = ping_timeout,
                                 .state = HWS_LIVENESS_SURE};
}

static void ask(hws_liveness_t *liveness, hws_time_t verdict_at)
{
    liveness->state = HWS_LIVENESS_ASKED;
    liveness->verdict_at = verdict_at;
    liveness->was_late = false;
}

hws_time_t hws_liveness_next(const hws_liveness_t *liveness, bool has_streams)
{
    if (liveness->state != HWS_LIVENESS_SURE)
        return liveness->verdict_at;
    if (!has_streams || liveness->ping_timeout == HWS_NEVER)
        return HWS_NEVER;
    return after(liveness->heard_at, liveness->ping_idle);
}

hws_liveness_verdict_t hws_liveness_due(hws_liveness_t *liveness, bool has_streams, hws_time_t now)
{
    hws_time_t at = hws_liveness_next(liveness, has_streams);

    if (now < at || at == HWS_NEVER)
        return HWS_LIVENESS_NOTHING;
    if (liveness->state == HWS_LIVENESS_SURE) {
        ask(liveness, after(now, liveness->ping_timeout));
        return HWS_LIVENESS_PING;
    }
    if (!liveness->was_late && now - at >= HWS_LIVENESS_LATE) {
        liveness->was_late = true;
        liveness->verdict_at = after(now, HWS_LIVENESS_LATE);
        return HWS_LIVENESS_NOTHING;
    }
    return HWS_LIVENESS_DEAD;
}

bool hws_liveness_suspect(hws_liveness_t *liveness, hws_time_t now)
{
    hws_time_t until = after(now, shorter(liveness->ping_timeout, HWS_LIVENESS_SUSPECT_SPAN));
    bool is_asked = liveness->state != HWS_LIVENESS_SURE;

    if (liveness->ping_timeout == HWS_NEVER)
        return false;
    if (is_asked)
        liveness->verdict_at = shorter(liveness->verdict_at, until);
    else
        ask(liveness, until);
    if (now - liveness->heard_at >= HWS_LIVENESS_FRESH)
        liveness->state = HWS_LIVENESS_SUSPECT;
    return !is_asked;
}

void hws_liveness_calm(hws_liveness_t *liveness)
{
    hws_time_t span;

    if (liveness->ping_idle >= HWS_LIVENESS_CALM_MOST)
        return;
    span = 2 * liveness->ping_idle;
    if (span < HWS_LIVENESS_CALM_LEAST)
        span = HWS_LIVENESS_CALM_LEAST;
    liveness->ping_idle = shorter(span, HWS_LIVENESS_CALM_MOST);
}
