#include "policy/retry.h"

#include <assert.h>

bool hws_retry_is_retryable(int code)
{
    hws_kind_t kind = hws_error_kind(code);

    if (kind == HWS_KIND_TLS)
        return code == HWS_ERR_TLS_EOF;
    return kind == HWS_KIND_BREAKER_OPEN || (HWS_RETRY_KINDS >> kind & 1) != 0;
}

bool hws_retry_is_unseen(int code)
{
    return code == HWS_ERR_GOAWAY || code == HWS_ERR_REFUSED_STREAM;
}

hws_retry_reason_t hws_retry_may(const hws_retry_options_t *options, const hws_retry_try_t *tried)
{
    assert(tried->attempts > 0);
    if (options->is_disabled)
        return HWS_RETRY_OFF;
    if (!tried->is_replayable || (tried->code != HWS_OK && !hws_retry_is_retryable(tried->code)))
        return HWS_RETRY_UNSAFE;
    return tried->attempts < options->attempts ? HWS_RETRY_GO : HWS_RETRY_ATTEMPTS;
}

hws_retry_verdict_t hws_retry_propose(const hws_retry_options_t *options,
                                      const hws_retry_try_t *tried, hws_backoff_t *backoff,
                                      hws_random_t *random)
{
    hws_time_t asked = tried->retry_after;
    hws_time_t delay;

    if (!hws_retry_on_has(&options->on, tried->code, tried->phase, tried->status))
        return (hws_retry_verdict_t){.reason = HWS_RETRY_NOT_ON};
    delay = hws_backoff_next(&options->backoff, backoff, tried->attempts, random);
    if (asked != HWS_RETRY_AFTER_NONE) {
        asked = hws_backoff_between(random, asked, asked + asked / 2);
        if (delay < asked)
            delay = asked;
    }
    return (hws_retry_verdict_t){.reason = HWS_RETRY_GO, .delay = delay};
}

hws_retry_verdict_t hws_retry_admit(const hws_retry_options_t *options,
                                    const hws_retry_try_t *tried, hws_time_t delay,
                                    hws_budget_t *budget, hws_time_t now)
{
    hws_retry_verdict_t verdict = {.reason = HWS_RETRY_GO, .delay = delay};

    assert(delay >= 0);
    if (delay >= tried->left)
        verdict.reason = HWS_RETRY_DEADLINE;
    else if (!hws_budget_withdraw(budget, &options->budget, now))
        verdict.reason = HWS_RETRY_BUDGET;
    return verdict;
}
