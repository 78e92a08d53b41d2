#include "policy/backoff.h"

#include <assert.h>

hws_time_t hws_backoff_between(hws_random_t *random, hws_time_t least, hws_time_t most)
{
    assert(least <= most && most - least < UINT32_MAX);
    return least + hws_random_below(random, (uint32_t)(most - least) + 1);
}

/* min(max, base * 2^(attempt - 1)) */
static hws_time_t cap_of(const hws_backoff_options_t *options, uint32_t attempt)
{
    uint32_t shift = attempt - 1;

    if (options->base == 0)
        return 0;
    if (shift > 62 || options->base > options->max >> shift)
        return options->max;
    return options->base << shift;
}

static hws_time_t decorrelated(const hws_backoff_options_t *options, hws_time_t last,
                               hws_random_t *random)
{
    hws_time_t most = 3 * (last > options->base ? last : options->base);

    return hws_backoff_between(random, options->base, most < options->max ? most : options->max);
}

hws_time_t hws_backoff_next(const hws_backoff_options_t *options, hws_backoff_t *backoff,
                            uint32_t attempt, hws_random_t *random)
{
    hws_time_t cap = cap_of(options, attempt);

    assert(attempt > 0);
    switch (options->jitter) {
    case HWS_JITTER_FULL:
        backoff->last = hws_backoff_between(random, 0, cap);
        break;
    case HWS_JITTER_EQUAL:
        backoff->last = hws_backoff_between(random, cap / 2, cap);
        break;
    case HWS_JITTER_DECORRELATED:
        backoff->last = decorrelated(options, backoff->last, random);
        break;
    case HWS_JITTER_COUNT:
        assert(false);
        break;
    }
    return backoff->last;
}
