#include "policy/breaker.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

#define DAY HWS_S(86400)

#define WORD(symbol, word) word,
static const char *const states[] = {HWS_BREAKER_STATE_LIST(WORD)};
static const char *const forces[] = {HWS_FORCE_LIST(WORD)};
#undef WORD

const char *hws_breaker_state_name(hws_breaker_state_t state)
{
    return states[state];
}

const char *hws_breaker_force_name(hws_breaker_force_t force)
{
    return forces[force];
}

/* ---- options ---- */

void hws_breaker_options_init(hws_breaker_options_t *options)
{
    *options = (hws_breaker_options_t){.consecutive = 5,
                                       .failure_rate = 0.5,
                                       .min_calls = 20,
                                       .window = HWS_S(10),
                                       .slow_after = HWS_NEVER,
                                       .slow_rate = 1,
                                       .open_for = HWS_S(5),
                                       .open_max = HWS_S(60),
                                       .probes = 3};
}

int hws_breaker_options_check(const hws_breaker_options_t *options, hws_error_t *why)
{
    const char *wrong = NULL;

    if (!(options->failure_rate >= 0 && options->failure_rate <= 1))
        wrong = "failure_rate: from 0 to 1";
    else if (options->min_calls < 1)
        wrong = "min_calls: at least 1";
    else if (options->window < HWS_MS(1) || options->window > DAY)
        wrong = "window: from 0.001 to 86400 s";
    else if (options->slow_after < 0)
        wrong = "slow_after: not below 0";
    else if (!(options->slow_rate > 0 && options->slow_rate <= 1))
        wrong = "slow_rate: above 0, at most 1";
    else if (options->open_for < HWS_MS(1))
        wrong = "open_for: at least 0.001 s";
    else if (options->open_max < options->open_for)
        wrong = "open_max: not below open_for";
    else if (options->probes < 1)
        wrong = "probes: at least 1";
    if (wrong == NULL)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "breaker.%s", wrong);
}

/* ---- the window ---- */

/* Moves on to the slot that counts at `now`, and forgets what has left the window. */
static void slide(hws_breaker_t *breaker, hws_time_t window, hws_time_t now)
{
    hws_time_t width = window / HWS_BREAKER_SLOTS;
    hws_time_t left = breaker->slot_until - now;
    hws_time_t steps;
    hws_time_t i;

    if (left > 0 && left <= width)
        return;
    if (left > width) { /* the clock went back, or the window became shorter */
        breaker->slot_until = now + width;
        return;
    }
    steps = -left / width + 1;
    breaker->slot_until += steps * width;
    for (i = 0; i < steps && i < HWS_BREAKER_SLOTS; i++) {
        breaker->slot = (breaker->slot + 1) % HWS_BREAKER_SLOTS;
        breaker->slots[breaker->slot] = (hws_breaker_counts_t){0};
    }
}

/* Whether one of the rules says to open. */
static bool is_too_much(const hws_breaker_t *breaker, const hws_breaker_options_t *options)
{
    hws_breaker_counts_t total = {0};
    uint32_t i;

    if (options->consecutive > 0 && breaker->consecutive >= options->consecutive)
        return true;
    for (i = 0; i < HWS_BREAKER_SLOTS; i++) {
        total.calls += breaker->slots[i].calls;
        total.failures += breaker->slots[i].failures;
        total.slow += breaker->slots[i].slow;
    }
    if (total.calls < options->min_calls)
        return false;
    return (options->failure_rate > 0 && total.failures >= options->failure_rate * total.calls) ||
           (options->slow_after != HWS_NEVER && total.slow >= options->slow_rate * total.calls);
}

/* ---- the states ---- */

static void enter(hws_breaker_t *breaker, hws_breaker_state_t next, hws_time_t now)
{
    breaker->state = next;
    breaker->generation++; /* permits given before this moment count no more */
    breaker->since = now;
    breaker->probes_out = breaker->successes = 0;
    if (next == HWS_BREAKER_CLOSED) {
        breaker->consecutive = breaker->reopened = 0;
        breaker->slot_until = now;
        memset(breaker->slots, 0, sizeof(breaker->slots));
    }
}

/* How long it opens this time. */
static hws_time_t draw_span(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                            hws_random_t *random)
{
    hws_time_t span = options->open_for;
    uint32_t i;

    for (i = 0; i < breaker->reopened && span < options->open_max; i++)
        span = span > options->open_max / 2 ? options->open_max : span * 2;
    if (span == HWS_NEVER)
        return span;
    return span - (hws_time_t)((double)span / 10 * hws_random_next(random) / UINT32_MAX);
}

static void open_up(hws_breaker_t *breaker, hws_time_t open_for, hws_time_t now)
{
    enter(breaker, HWS_BREAKER_OPEN, now);
    breaker->open_for = open_for;
}

/* Whether an open one's time is over. A clock that went back by more than that must not keep it
 * open; one that went back by less keeps it for up to twice its time. */
static bool is_over(const hws_breaker_t *breaker, hws_time_t now)
{
    hws_time_t age = now - breaker->since;

    return age >= breaker->open_for || -age > breaker->open_for;
}

static bool has_place_for_probe(const hws_breaker_t *breaker, const hws_breaker_options_t *options)
{
    /* One is always allowed: `probes` may have become less than what succeeded already. */
    return breaker->probes_out == 0 || breaker->probes_out + breaker->successes < options->probes;
}

static bool counts(const hws_breaker_t *breaker, const hws_breaker_options_t *options)
{
    return !options->is_disabled && breaker->force != HWS_FORCE_DISABLED;
}

void hws_breaker_init(hws_breaker_t *breaker, hws_time_t now)
{
    *breaker = (hws_breaker_t){0};
    enter(breaker, HWS_BREAKER_CLOSED, now);
}

bool hws_breaker_close(hws_breaker_t *breaker, hws_time_t now)
{
    if (breaker->state == HWS_BREAKER_CLOSED)
        return false;
    enter(breaker, HWS_BREAKER_CLOSED, now);
    return true;
}

void hws_breaker_force(hws_breaker_t *breaker, hws_breaker_force_t force, hws_time_t now)
{
    hws_breaker_force_t former = breaker->force;

    if (force == former)
        return;
    breaker->force = force;
    if (former == HWS_FORCE_CLOSED && force == HWS_FORCE_NONE)
        breaker->since = now;
    else
        enter(breaker, HWS_BREAKER_CLOSED, now);
}

hws_breaker_state_t hws_breaker_state(const hws_breaker_t *breaker,
                                      const hws_breaker_options_t *options, hws_time_t now)
{
    switch (breaker->force) {
    case HWS_FORCE_OPEN:
        return HWS_BREAKER_OPEN;
    case HWS_FORCE_CLOSED:
    case HWS_FORCE_DISABLED:
        return HWS_BREAKER_CLOSED;
    case HWS_FORCE_NONE:
    case HWS_FORCE_COUNT:
        break;
    }
    if (options->is_disabled)
        return HWS_BREAKER_CLOSED;
    if (breaker->state == HWS_BREAKER_OPEN && is_over(breaker, now))
        return HWS_BREAKER_HALF_OPEN;
    return breaker->state;
}

hws_time_t hws_breaker_since(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                             hws_time_t now)
{
    hws_time_t age = now - breaker->since;

    if (hws_breaker_state(breaker, options, now) != HWS_BREAKER_HALF_OPEN ||
        breaker->state != HWS_BREAKER_OPEN || age < breaker->open_for)
        return breaker->since;
    return breaker->since + breaker->open_for;
}

hws_time_t hws_breaker_retry_in(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                                hws_time_t now)
{
    switch (hws_breaker_state(breaker, options, now)) {
    case HWS_BREAKER_OPEN:
        if (breaker->force == HWS_FORCE_OPEN || breaker->open_for == HWS_NEVER)
            return HWS_NEVER;
        return breaker->since + breaker->open_for - now;
    case HWS_BREAKER_HALF_OPEN:
        return has_place_for_probe(breaker, options) ? 0 : options->open_for;
    case HWS_BREAKER_CLOSED:
    case HWS_BREAKER_COUNT:
        break;
    }
    return 0;
}

/* ---- permits ---- */

bool hws_breaker_would_admit(const hws_breaker_t *breaker, const hws_breaker_options_t *options,
                             hws_time_t now)
{
    if (breaker->state == HWS_BREAKER_CLOSED && breaker->force == HWS_FORCE_NONE)
        return true; /* nearly always */
    switch (hws_breaker_state(breaker, options, now)) {
    case HWS_BREAKER_OPEN:
        return false;
    case HWS_BREAKER_HALF_OPEN:
        return has_place_for_probe(breaker, options);
    case HWS_BREAKER_CLOSED:
    case HWS_BREAKER_COUNT:
        break;
    }
    return true;
}

hws_permit_t hws_breaker_admit(hws_breaker_t *breaker, const hws_breaker_options_t *options,
                               hws_time_t now)
{
    hws_permit_t permit = {0};

    /* Nearly always. */
    if (breaker->state == HWS_BREAKER_CLOSED && breaker->force == HWS_FORCE_NONE &&
        !options->is_disabled)
        return (hws_permit_t){.generation = breaker->generation, .is_given = true};
    if (!hws_breaker_would_admit(breaker, options, now))
        return permit;
    permit.is_given = true;
    if (!counts(breaker, options))
        return permit;
    if (breaker->state == HWS_BREAKER_OPEN)
        enter(breaker, HWS_BREAKER_HALF_OPEN, hws_breaker_since(breaker, options, now));
    permit.is_probe = breaker->state == HWS_BREAKER_HALF_OPEN;
    breaker->probes_out += permit.is_probe;
    permit.generation = breaker->generation;
    return permit;
}

static bool report_probe(hws_breaker_t *breaker, const hws_breaker_options_t *options, bool is_bad,
                         hws_time_t now, hws_random_t *random)
{
    if (is_bad) {
        breaker->reopened++;
        open_up(breaker, draw_span(breaker, options, random), now);
        return true;
    }
    if (++breaker->successes < options->probes)
        return false;
    enter(breaker, HWS_BREAKER_CLOSED, now);
    return true;
}

bool hws_breaker_report(hws_breaker_t *breaker, const hws_breaker_options_t *options,
                        hws_permit_t *permit, hws_result_t result, hws_time_t now,
                        hws_random_t *random)
{
    bool has_failed = result.outcome == HWS_OUTCOME_FAILURE;
    bool is_slow = result.latency > options->slow_after;
    hws_permit_t given = *permit;
    hws_breaker_counts_t *counted;

    *permit = (hws_permit_t){0};
    if (!given.is_given || given.generation != breaker->generation)
        return false;
    breaker->probes_out -= given.is_probe;
    if (result.outcome == HWS_OUTCOME_NEUTRAL || (result.is_declined && !given.is_probe) ||
        !counts(breaker, options))
        return false;
    if (given.is_probe)
        return report_probe(breaker, options, has_failed || is_slow, now, random);

    assert(breaker->state == HWS_BREAKER_CLOSED);
    slide(breaker, options->window, now);
    counted = &breaker->slots[breaker->slot];
    counted->calls++;
    counted->failures += has_failed;
    counted->slow += is_slow;
    breaker->consecutive = has_failed ? breaker->consecutive + 1 : 0;
    if ((!has_failed && !is_slow) || result.is_judged || breaker->force != HWS_FORCE_NONE ||
        !is_too_much(breaker, options))
        return false;
    open_up(breaker, draw_span(breaker, options, random), now);
    return true;
}

bool hws_breaker_trip(hws_breaker_t *breaker, const hws_breaker_options_t *options,
                      hws_time_t open_for, hws_time_t now, hws_random_t *random)
{
    assert(open_for >= 0);
    if (breaker->state != HWS_BREAKER_CLOSED || breaker->force != HWS_FORCE_NONE ||
        options->is_disabled)
        return false;
    open_up(breaker, open_for > 0 ? open_for : draw_span(breaker, options, random), now);
    return true;
}

_Static_assert(sizeof(hws_breaker_t) < 256, "each peer has one");
