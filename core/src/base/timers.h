/* timers.h - deadlines, the earliest first.
 *
 * A pairing heap (Fredman, Sedgewick, Sleator, Tarjan: The pairing heap, 1986) through the timers
 * themselves: setting cannot fail, and cancelling a deadline that never became the earliest, which
 * is what nearly all deadlines come to, touches only its neighbours. Set and cancel are O(1),
 * taking the earliest is O(log n) amortised. Those due at the same moment come in the order in which
 * they were set. Pure: it reads no clock and arms nothing. */
#ifndef HWS_BASE_TIMERS_H
#define HWS_BASE_TIMERS_H

#include <hawser/base.h>

typedef struct hws_timer hws_timer_t;

struct hws_timer {
    hws_timer_t *child; /* the first of those that are due later */
    hws_timer_t *next;  /* sibling */
    hws_timer_t *prev;  /* sibling before, or the parent of a first child; itself for the root */
    hws_time_t at;
    uint64_t order; /* when it was set, among those of the same `at` */
    void (*fire)(hws_timer_t *timer, hws_time_t now);
};

typedef struct {
    hws_timer_t *root;
    uint64_t order; /* that the next one set gets */
} hws_timers_t;

/* A timer that is not set. `fire` is called with the timer no longer set. */
void hws_timer_init(hws_timer_t *timer, void (*fire)(hws_timer_t *timer, hws_time_t now));

static inline bool hws_timer_is_set(const hws_timer_t *timer)
{
    return timer->prev != NULL;
}

/* Sets it to `at`, moving it when it was set; HWS_NEVER cancels. */
void hws_timers_set(hws_timers_t *timers, hws_timer_t *timer, hws_time_t at);
/* Harmless when it is not set. */
void hws_timers_cancel(hws_timers_t *timers, hws_timer_t *timer);

/* When the earliest is due, or HWS_NEVER. */
static inline hws_time_t hws_timers_next(const hws_timers_t *timers)
{
    return timers->root != NULL ? timers->root->at : HWS_NEVER;
}

/* Takes the earliest of those due at `now`, or returns NULL. The caller fires it. */
hws_timer_t *hws_timers_take(hws_timers_t *timers, hws_time_t now);

#endif
