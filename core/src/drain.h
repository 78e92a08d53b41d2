/* drain.h - a manager's or an upstream's last work, and whom to tell when it is done. */
#ifndef HWS_DRAIN_H
#define HWS_DRAIN_H

#include "io/loop.h"

#include <hawser/manager.h>

typedef struct {
    hws_timer_t timer; /* cuts off what is left */
    void *ending;      /* whom to tell; NULL while there is no drain */
} hws_drain_t;

/* Begins one, which tells of itself as `name`; its timer, which the caller has set up, fires after
 * `span`. HWS_ERR_DRAINING, HWS_ERR_NOMEM. */
int hws_drain_begin(hws_drain_t *drain, hws_manager_t *manager, const char *name, hws_time_t span,
                    void (*on_done)(void *user, int status), void *user);
/* Ends a drain: its on_done is called at the next rest. Harmless when there is none. */
void hws_drain_over(hws_drain_t *drain, hws_manager_t *manager, const char *name, int status);

#endif
