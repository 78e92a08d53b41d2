/* bounds.h - what sizes and spans of time users may set. */
#ifndef HWS_BOUNDS_H
#define HWS_BOUNDS_H

#include <hawser/manager.h>

#define HWS_CONNECTIONS_MAX 1000000U /* of any cap */

/* HWS_ERR_INVALID with `why->detail` for what is out of range. */
int hws_size_check(const char *name, uint64_t value, uint64_t least, uint64_t most,
                   hws_error_t *why);
int hws_limits_check(const hws_limits_t *limits, hws_error_t *why);
int hws_timeouts_check(const hws_timeouts_t *timeouts, hws_error_t *why);
/* The span, or HWS_NEVER when it is so long that adding it to the clock might overflow. */
static inline hws_time_t hws_span_bounded(hws_time_t span)
{
    return span < HWS_NEVER / 4 ? span : HWS_NEVER;
}

#endif
