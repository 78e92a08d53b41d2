#include "base/error.h"
#include "policy/retry.h"

#include <string.h>

/* ---- options ---- */

void hws_retry_options_init(hws_retry_options_t *options)
{
    static const int statuses[] = {502, 503, 504};
    size_t i;

    *options = (hws_retry_options_t){
        .attempts = 3,
        .on = {.kinds = 1U << HWS_KIND_CONNECT | 1U << HWS_KIND_RESET},
        .backoff = {.base = HWS_MS(50), .max = HWS_S(2), .jitter = HWS_JITTER_FULL},
        .budget = {.share = .2, .floor = 10}};
    for (i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        (void)hws_retry_on_add_status(&options->on, statuses[i], NULL);
}

static int check_span(const char *name, hws_time_t span, hws_time_t least, hws_error_t *why)
{
    if (span >= least && span <= HWS_BACKOFF_MAX)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "retry.backoff.%s: from %g to %g s, not %g", name,
                       (double)least / 1e6, (double)HWS_BACKOFF_MAX / 1e6, (double)span / 1e6);
}

static int check_backoff(const hws_backoff_options_t *options, hws_error_t *why)
{
    int rc;

    if ((rc = check_span("base", options->base, 0, why)) != HWS_OK ||
        (rc = check_span("max", options->max, options->base, why)) != HWS_OK)
        return rc;
    if ((uint32_t)options->jitter >= HWS_JITTER_COUNT)
        return hws_explain(why, HWS_ERR_INVALID,
                           "retry.backoff.jitter: full, equal or decorrelated, not number %u",
                           (uint32_t)options->jitter);
    return HWS_OK;
}

static int check_budget(const hws_budget_options_t *options, hws_error_t *why)
{
    if (!(options->share >= 0 && options->share <= 1)) /* not a number neither */
        return hws_explain(why, HWS_ERR_INVALID, "retry.budget.share: from 0 to 1, not %g",
                           options->share);
    if (options->floor > HWS_BUDGET_FLOOR_MAX)
        return hws_explain(why, HWS_ERR_INVALID, "retry.budget.floor: from 0 to %u, not %u",
                           HWS_BUDGET_FLOOR_MAX, options->floor);
    return HWS_OK;
}

static int refuse_kind(const char *word, size_t size, hws_error_t *why)
{
    return hws_explain(why, HWS_ERR_INVALID,
                       "retry.on: resolve, refused, connect, timeout, tls, reset or overload, "
                       "not \"%.*s\"",
                       size < 16 ? (int)size : 16, word);
}

static int check_kinds(uint32_t kinds, hws_error_t *why)
{
    hws_kind_t kind;

    for (kind = 0; kind < HWS_KIND_COUNT; kind++)
        if ((kinds & ~HWS_RETRY_KINDS) >> kind & 1)
            return refuse_kind(hws_kind_name(kind), strlen(hws_kind_name(kind)), why);
    return HWS_OK;
}

int hws_retry_options_check(const hws_retry_options_t *options, hws_error_t *why)
{
    int rc;

    if (options->attempts < 1 || options->attempts > HWS_RETRY_ATTEMPTS_MAX)
        return hws_explain(why, HWS_ERR_INVALID, "retry.attempts: from 1 to %d, not %u",
                           HWS_RETRY_ATTEMPTS_MAX, options->attempts);
    if ((rc = check_kinds(options->on.kinds, why)) != HWS_OK ||
        (rc = check_backoff(&options->backoff, why)) != HWS_OK)
        return rc;
    return check_budget(&options->budget, why);
}

/* ---- on ---- */

int hws_retry_on_add(hws_retry_on_t *on, hws_slice_t word, hws_error_t *why)
{
    hws_kind_t kind;

    for (kind = 0; kind < HWS_KIND_COUNT; kind++) {
        const char *name = hws_kind_name(kind);

        if ((HWS_RETRY_KINDS >> kind & 1) != 0 && strlen(name) == word.size &&
            memcmp(name, word.data, word.size) == 0) {
            on->kinds |= 1U << kind;
            return HWS_OK;
        }
    }
    return refuse_kind(word.data, word.size, why);
}

int hws_retry_on_add_status(hws_retry_on_t *on, int64_t status, hws_error_t *why)
{
    uint32_t bit;

    if (status < HWS_STATUS_FIRST || status > HWS_STATUS_LAST)
        return hws_explain(why, HWS_ERR_INVALID, "retry.on: a status from %d to %d, not %lld",
                           HWS_STATUS_FIRST, HWS_STATUS_LAST, (long long)status);
    bit = (uint32_t)(status - HWS_STATUS_FIRST);
    on->statuses[bit / 64] |= UINT64_C(1) << bit % 64;
    return HWS_OK;
}

static bool has_status(const hws_retry_on_t *on, uint32_t status)
{
    uint32_t bit = status - HWS_STATUS_FIRST;

    return status >= HWS_STATUS_FIRST && status <= HWS_STATUS_LAST &&
           (on->statuses[bit / 64] >> bit % 64 & 1) != 0;
}

/* Whether it failed on the way to a connection that could have been used. */
static bool is_of_connecting(int code, hws_kind_t kind, hws_phase_t phase)
{
    bool is_dial =
        phase == HWS_PHASE_RESOLVE || phase == HWS_PHASE_CONNECT || phase == HWS_PHASE_TLS;

    return kind == HWS_KIND_RESOLVE || kind == HWS_KIND_REFUSED || kind == HWS_KIND_CONNECT ||
           code == HWS_ERR_TLS_EOF ||
           (is_dial && (kind == HWS_KIND_TIMEOUT || kind == HWS_KIND_RESET));
}

bool hws_retry_on_has(const hws_retry_on_t *on, int code, hws_phase_t phase, uint32_t status)
{
    hws_kind_t kind;

    if (code == HWS_OK)
        return has_status(on, status);
    kind = hws_error_kind(code);
    if ((on->kinds >> kind & 1) != 0)
        return true;
    return (on->kinds >> HWS_KIND_CONNECT & 1) != 0 && is_of_connecting(code, kind, phase);
}

/* ---- names ---- */

#define NAME(symbol, word) word,

const char *hws_jitter_name(hws_jitter_t jitter)
{
    static const char *const names[] = {HWS_JITTER_LIST(NAME)};

    return (uint32_t)jitter < HWS_JITTER_COUNT ? names[jitter] : "";
}

const char *hws_retry_reason_name(hws_retry_reason_t reason)
{
    static const char *const names[] = {HWS_RETRY_LIST(NAME)};

    return (uint32_t)reason < HWS_RETRY_COUNT ? names[reason] : "";
}

#undef NAME
