#include "attempt.h"

#include "base/memory.h"

#include <assert.h>

/* Charged tries, and one uncounted replay; what goes on for ever is none of it. */
#define MOST (HWS_RETRY_ATTEMPTS_MAX + 1)

hws_attempt_t *hws_attempts_begin(hws_attempts_t *attempts, hws_time_t now)
{
    hws_attempt_t *attempt = &attempts->first;

    assert(attempts->count < MOST);
    if (attempts->count > 0) {
        if (attempts->more == NULL &&
            (attempts->more = hws_zalloc((MOST - 1) * sizeof(*attempts->more))) == NULL)
            return NULL;
        attempt = &attempts->more[attempts->count - 1];
    }
    attempt->since = now;
    attempt->phase = HWS_PHASE_QUEUE;
    attempts->count++;
    return attempt;
}

hws_attempt_t *hws_attempts_at(hws_attempts_t *attempts, uint32_t index)
{
    assert(index < attempts->count);
    return index == 0 ? &attempts->first : &attempts->more[index - 1];
}

bool hws_attempts_include(hws_attempts_t *attempts, const hws_peer_t *peer)
{
    uint32_t i;

    for (i = 0; i < attempts->count; i++) {
        const hws_attempt_t *attempt = hws_attempts_at(attempts, i);

        if (attempt->is_over && attempt->peer == peer)
            return true;
    }
    return false;
}
