#include "policy/outcome.h"

/* The kinds that count against a peer. */
#define COUNTED                                                                                    \
    (1U << HWS_KIND_RESOLVE | 1U << HWS_KIND_REFUSED | 1U << HWS_KIND_CONNECT |                    \
     1U << HWS_KIND_TIMEOUT | 1U << HWS_KIND_TLS | 1U << HWS_KIND_PROTOCOL | 1U << HWS_KIND_RESET)

hws_outcome_class_t hws_outcome_of(int code, hws_phase_t phase, uint32_t status)
{
    hws_kind_t kind;

    if (code == HWS_OK)
        return status >= 500 ? HWS_OUTCOME_FAILURE : HWS_OUTCOME_SUCCESS;
    kind = hws_error_kind(code);
    if (kind == HWS_KIND_TIMEOUT && phase == HWS_PHASE_QUEUE)
        return HWS_OUTCOME_NEUTRAL; /* no peer had it */
    if (code == HWS_ERR_TOO_MANY_FILES || code == HWS_ERR_NO_PORTS || code == HWS_ERR_ACCESS)
        return HWS_OUTCOME_NEUTRAL;
    /* It has its load in hand, leaves in order, or just speaks another version. */
    if (code == HWS_ERR_REFUSED_STREAM || code == HWS_ERR_GOAWAY || code == HWS_ERR_RST_HTTP_1_1)
        return HWS_OUTCOME_NEUTRAL;
    return (COUNTED >> kind & 1) != 0 ? HWS_OUTCOME_FAILURE : HWS_OUTCOME_NEUTRAL;
}
