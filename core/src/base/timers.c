#include "base/timers.h"

#include <assert.h>

void hws_timer_init(hws_timer_t *timer, void (*fire)(hws_timer_t *timer, hws_time_t now))
{
    *timer = (hws_timer_t){.fire = fire};
}

static bool is_before(const hws_timer_t *a, const hws_timer_t *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

/* Both are roots; the later one becomes the first child of the earlier. */
static hws_timer_t *meld(hws_timer_t *a, hws_timer_t *b)
{
    if (is_before(b, a)) {
        hws_timer_t *swap = a;

        a = b;
        b = swap;
    }
    b->next = a->child;
    if (a->child != NULL)
        a->child->prev = b;
    b->prev = a;
    a->child = b;
    return a;
}

/* One heap of a list of siblings: pairs from left to right, then together from right to left. */
static hws_timer_t *meld_siblings(hws_timer_t *first)
{
    hws_timer_t *pairs = NULL;
    hws_timer_t *root = NULL;

    while (first != NULL) {
        hws_timer_t *a = first;
        hws_timer_t *b = a->next;

        first = b != NULL ? b->next : NULL;
        a->next = NULL;
        if (b != NULL) {
            b->next = NULL;
            a = meld(a, b);
        }
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        hws_timer_t *rest = pairs->next;

        pairs->next = NULL;
        root = root != NULL ? meld(root, pairs) : pairs;
        pairs = rest;
    }
    return root;
}

static void set_root(hws_timers_t *timers, hws_timer_t *root)
{
    timers->root = root;
    if (root != NULL)
        root->prev = root;
}

void hws_timers_set(hws_timers_t *timers, hws_timer_t *timer, hws_time_t at)
{
    if (hws_timer_is_set(timer))
        hws_timers_cancel(timers, timer);
    if (at == HWS_NEVER)
        return;
    timer->at = at;
    timer->order = timers->order++;
    timer->child = timer->next = NULL;
    set_root(timers, timers->root != NULL ? meld(timers->root, timer) : timer);
}

void hws_timers_cancel(hws_timers_t *timers, hws_timer_t *timer)
{
    hws_timer_t *orphans;

    if (!hws_timer_is_set(timer))
        return;
    orphans = timer->child != NULL ? meld_siblings(timer->child) : NULL;
    if (timers->root == timer) {
        set_root(timers, orphans);
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next != NULL)
            timer->next->prev = timer->prev;
        if (orphans != NULL)
            set_root(timers, meld(timers->root, orphans));
    }
    timer->child = timer->next = timer->prev = NULL;
}

hws_timer_t *hws_timers_take(hws_timers_t *timers, hws_time_t now)
{
    hws_timer_t *timer = timers->root;

    if (timer == NULL || timer->at > now)
        return NULL;
    hws_timers_cancel(timers, timer);
    return timer;
}
