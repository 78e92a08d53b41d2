#include "policy/evidence.h"

/* The kinds that count against a peer. */
#define COUNTED                                                                                    \
    (1U << HWS_KIND_RESOLVE | 1U << HWS_KIND_REFUSED | 1U << HWS_KIND_CONNECT |                    \
     1U << HWS_KIND_TIMEOUT | 1U << HWS_KIND_TLS | 1U << HWS_KIND_PROTOCOL | 1U << HWS_KIND_RESET)

hws_evidence_t hws_evidence_of(int code, hws_phase_t phase, uint32_t status)
{
    hws_kind_t kind;

    if (code == HWS_OK)
        return status >= 500 ? HWS_EVIDENCE_BAD : HWS_EVIDENCE_GOOD;
    kind = hws_error_kind(code);
    if (kind == HWS_KIND_TIMEOUT && phase == HWS_PHASE_QUEUE)
        return HWS_EVIDENCE_NONE; /* no peer had it */
    return (COUNTED >> kind & 1) != 0 ? HWS_EVIDENCE_BAD : HWS_EVIDENCE_NONE;
}
