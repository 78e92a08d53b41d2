#include "policy/budget.h"

#include <assert.h>
#include <string.h>

void hws_budget_advance(hws_budget_t *budget, hws_time_t now)
{
    hws_time_t seconds = (now - budget->until) / HWS_S(1) + 1;

    assert(now >= budget->until);
    budget->until += seconds * HWS_S(1);
    budget->floor = 0;
    if (seconds >= HWS_BUDGET_SLOTS) {
        memset(budget->slots, 0, sizeof(budget->slots));
        budget->requests = budget->spent = 0;
        return;
    }
    while (seconds-- > 0) {
        budget->at = (budget->at + 1) % HWS_BUDGET_SLOTS;
        budget->requests -= budget->slots[budget->at].requests;
        budget->spent -= budget->slots[budget->at].spent;
        budget->slots[budget->at].requests = budget->slots[budget->at].spent = 0;
    }
}

/* What is left of the share; never below 0, for withdrawals are forgotten no sooner than the
 * requests they looked at, but options may change. */
static uint32_t share_left(const hws_budget_t *budget, const hws_budget_options_t *options)
{
    uint32_t share = (uint32_t)(options->share * budget->requests);

    return share > budget->spent ? share - budget->spent : 0;
}

bool hws_budget_withdraw(hws_budget_t *budget, const hws_budget_options_t *options, hws_time_t now)
{
    if (options->is_disabled)
        return true;
    if (now >= budget->until)
        hws_budget_advance(budget, now);
    if (share_left(budget, options) > 0) {
        budget->slots[budget->at].spent++;
        budget->spent++;
        return true;
    }
    if (budget->floor >= options->floor)
        return false;
    budget->floor++;
    return true;
}

uint32_t hws_budget_left(hws_budget_t *budget, const hws_budget_options_t *options, hws_time_t now)
{
    uint32_t left;

    if (options->is_disabled)
        return UINT32_MAX;
    if (now >= budget->until)
        hws_budget_advance(budget, now);
    left = share_left(budget, options);
    return options->floor > budget->floor ? left + (options->floor - budget->floor) : left;
}
