/* budget.h - how many retries an upstream may make, so that a failure is not multiplied.
 *
 * As in Finagle (RetryBudget) and tower (retry::budget): each request deposits a share of a retry,
 * each retry withdraws a whole one, and both are forgotten after 10 s. A floor keeps quiet
 * upstreams able to retry. Other than there it cannot be saved up: `floor` retries in each second
 * of the clock, paid only when the share is spent.
 *
 * What follows, for any seconds a .. b: the retries in them are at most `share` of the requests in
 * a - 9 .. b, and floor * (b - a + 1) more. (A withdrawal looks at a window of 10 seconds that
 * ends with its own; seconds of any number fall into such windows without overlap.) So when all
 * peers fail, attempts per second stay at 1 + share times the requests, plus the floor.
 *
 * Plain state. `now` may stand still or go back, which counts as the newest second. */
#ifndef HWS_POLICY_BUDGET_H
#define HWS_POLICY_BUDGET_H

#include <hawser/retry.h>

#define HWS_BUDGET_SLOTS 10

/* Zeroed is valid and empty. */
typedef struct {
    hws_time_t until;  /* end of the newest slot, a whole second of the clock */
    uint32_t at;       /* the newest slot */
    uint32_t requests; /* sum of the slots */
    uint32_t spent;    /* sum of the slots: paid from the share */
    uint32_t floor;    /* paid from the floor in the newest slot */
    struct {
        uint32_t requests;
        uint32_t spent;
    } slots[HWS_BUDGET_SLOTS]; /* one second each */
} hws_budget_t;

/* Moves on to the second of `now`; the functions below do it. */
void hws_budget_advance(hws_budget_t *budget, hws_time_t now);

/* A request begins (not each of its attempts). */
static inline void hws_budget_deposit(hws_budget_t *budget, hws_time_t now)
{
    if (now >= budget->until)
        hws_budget_advance(budget, now);
    budget->slots[budget->at].requests++;
    budget->requests++;
}

/* Pays for one retry; false when there is nothing left. Always true when switched off. */
bool hws_budget_withdraw(hws_budget_t *budget, const hws_budget_options_t *options, hws_time_t now);
/* How many would be granted now; UINT32_MAX when switched off. */
uint32_t hws_budget_left(hws_budget_t *budget, const hws_budget_options_t *options, hws_time_t now);

#endif
