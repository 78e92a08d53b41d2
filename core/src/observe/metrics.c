#include "observe/metrics.h"

#include "base/memory.h"

#define SECONDS(symbol, seconds) seconds,
static const uint32_t rate_spans[] = {HWS_RATE_LIST(SECONDS)};
#undef SECONDS

hws_metrics_t *hws_metrics_create(hws_time_t since)
{
    hws_metrics_t *metrics = hws_zalloc(sizeof(*metrics));

    if (metrics == NULL)
        return NULL;
    hws_meter_init(&metrics->out, since);
    hws_meter_init(&metrics->in, since);
    return metrics;
}

void hws_metrics_destroy(hws_metrics_t *metrics)
{
    uint32_t phase;

    if (metrics == NULL)
        return;
    for (phase = 0; phase < HWS_PHASE_COUNT; phase++)
        hws_histogram_dispose(&metrics->phases[phase]);
    hws_histogram_dispose(&metrics->total);
    hws_free(metrics);
}

static inline void note(hws_metrics_t *metrics, const hws_time_t *spans, hws_phase_t phase)
{
    /* What takes no longer than a turn of the loop takes 0; with a constant that is quick. */
    if (spans[phase] > 0)
        hws_histogram_record(&metrics->phases[phase], (uint64_t)spans[phase]);
    else
        hws_histogram_record(&metrics->phases[phase], 0);
}

void hws_metrics_attempt(hws_metrics_t *metrics, const hws_time_t *spans, hws_phase_t last,
                         hws_phase_t end)
{
    uint32_t phase;

    note(metrics, spans, HWS_PHASE_QUEUE);
    /* Who found a connection at once was neither resolving nor dialling. */
    for (phase = HWS_PHASE_RESOLVE; phase <= HWS_PHASE_TLS; phase++)
        if (spans[phase] > 0 || phase == (uint32_t)last)
            note(metrics, spans, (hws_phase_t)phase);
    if (last >= HWS_PHASE_SEND && end > HWS_PHASE_SEND)
        note(metrics, spans, HWS_PHASE_SEND);
    if (last >= HWS_PHASE_HEADERS && end > HWS_PHASE_HEADERS)
        note(metrics, spans, HWS_PHASE_HEADERS);
    if (last >= HWS_PHASE_BODY && end > HWS_PHASE_BODY)
        note(metrics, spans, HWS_PHASE_BODY);
}

void hws_metrics_merge(hws_metrics_t *metrics, hws_metrics_t *from, hws_time_t now)
{
    uint32_t phase;

    for (phase = 0; phase < HWS_PHASE_COUNT; phase++)
        hws_histogram_merge(&metrics->phases[phase], &from->phases[phase]);
    hws_histogram_merge(&metrics->total, &from->total);
    hws_meter_merge(&metrics->out, &from->out, now);
    hws_meter_merge(&metrics->in, &from->in, now);
}

void hws_metrics_bequeath(hws_metrics_t *metrics, hws_metrics_t **heir, hws_time_t now)
{
    if (metrics == NULL)
        return;
    if (*heir == NULL) {
        *heir = metrics;
        return;
    }
    hws_metrics_merge(*heir, metrics, now);
    hws_metrics_destroy(metrics);
}

/* ---- reading ---- */

static hws_latency_t latency_of(const hws_histogram_t *histogram)
{
    if (histogram->count == 0)
        return (hws_latency_t){0};
    return (hws_latency_t){.count = histogram->count,
                           .average = (hws_time_t)(histogram->sum / histogram->count),
                           .peak = (hws_time_t)histogram->max,
                           .p50 = (hws_time_t)hws_histogram_quantile(histogram, .5),
                           .p95 = (hws_time_t)hws_histogram_quantile(histogram, .95),
                           .p99 = (hws_time_t)hws_histogram_quantile(histogram, .99)};
}

void hws_metrics_read(hws_metrics_t *metrics, hws_time_t now, hws_traffic_t *out)
{
    uint32_t i;

    for (i = 0; i < HWS_PHASE_COUNT; i++)
        out->phases[i] = latency_of(&metrics->phases[i]);
    out->total = latency_of(&metrics->total);
    out->exchanges.total = metrics->out.events;
    out->bytes_out.total = metrics->out.bytes;
    out->bytes_in.total = metrics->in.bytes;
    for (i = 0; i < HWS_RATE_COUNT; i++) {
        hws_rate_t written = hws_meter_rate(&metrics->out, rate_spans[i], now);

        out->exchanges.per_second[i] = written.events;
        out->bytes_out.per_second[i] = written.bytes;
        out->bytes_in.per_second[i] = hws_meter_rate(&metrics->in, rate_spans[i], now).bytes;
    }
}
