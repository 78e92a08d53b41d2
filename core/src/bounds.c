#include "bounds.h"

#include "base/error.h"

int hws_size_check(const char *name, uint64_t value, uint64_t least, uint64_t most,
                   hws_error_t *why)
{
    if (value >= least && value <= most)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "%s: from %llu to %llu, not %llu", name,
                       (unsigned long long)least, (unsigned long long)most,
                       (unsigned long long)value);
}

int hws_limits_check(const hws_limits_t *limits, hws_error_t *why)
{
    int rc;

    if ((rc = hws_size_check("limits.connections", limits->connections, 1, HWS_CONNECTIONS_MAX,
                             why)) ||
        (rc = hws_size_check("limits.per_peer", limits->per_peer, 1, HWS_CONNECTIONS_MAX, why)) ||
        (rc = hws_size_check("limits.dials", limits->dials, 1, HWS_CONNECTIONS_MAX, why)) ||
        (rc = hws_size_check("limits.pending", limits->pending, 0, UINT32_MAX, why)) ||
        (rc = hws_size_check("limits.streams", limits->streams, 1, HWS_CONNECTIONS_MAX, why)) ||
        (rc = hws_size_check("limits.header", limits->header, 256, 16777216, why)) ||
        (rc = hws_size_check("limits.body", limits->body, 0, SIZE_MAX / 4, why)) ||
        (rc = hws_size_check("limits.buffer", limits->buffer, 4096, 1073741824, why)))
        return rc;
    return HWS_OK;
}

static int check_span(const char *name, hws_time_t span, hws_error_t *why)
{
    if (span >= 0)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "timeouts.%s: not below 0", name);
}

int hws_timeouts_check(const hws_timeouts_t *timeouts, hws_error_t *why)
{
    int rc;

    if ((rc = check_span("resolve", timeouts->resolve, why)) ||
        (rc = check_span("connect", timeouts->connect, why)) ||
        (rc = check_span("tls", timeouts->tls, why)) ||
        (rc = check_span("queue", timeouts->queue, why)) ||
        (rc = check_span("request", timeouts->request, why)) ||
        (rc = check_span("attempt", timeouts->attempt, why)) ||
        (rc = check_span("read", timeouts->read, why)) ||
        (rc = check_span("idle", timeouts->idle, why)) ||
        (rc = check_span("lifetime", timeouts->lifetime, why)) ||
        (rc = check_span("drain", timeouts->drain, why)))
        return rc;
    return HWS_OK;
}
