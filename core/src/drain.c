#include "drain.h"

#include "base/memory.h"
#include "bounds.h"
#include "manager.h"

typedef struct {
    hws_deferred_t deferred;
    void (*on_done)(void *user, int status);
    void *user;
    int status;
} ending_t;

static void tell_ending(hws_deferred_t *deferred)
{
    ending_t ending = *HWS_CONTAINER(deferred, ending_t, deferred);

    hws_free(HWS_CONTAINER(deferred, ending_t, deferred));
    ending.on_done(ending.user, ending.status);
}

void hws_drain_over(hws_drain_t *drain, hws_manager_t *manager, const char *name, int status)
{
    ending_t *ending = drain->ending;

    if (ending == NULL)
        return;
    drain->ending = NULL;
    ending->status = status;
    hws_loop_cancel_timer(manager->loop, &drain->timer);
    hws_manager_tell(manager, HWS_EVENT_DRAIN, name, "", "end", 0, hws_loop_now(manager->loop));
    hws_loop_defer(manager->loop, &ending->deferred);
}

int hws_drain_begin(hws_drain_t *drain, hws_manager_t *manager, const char *name, hws_time_t span,
                    void (*on_done)(void *user, int status), void *user)
{
    hws_time_t now = hws_loop_now(manager->loop);
    ending_t *ending;

    if (drain->ending != NULL)
        return HWS_ERR_DRAINING;
    if ((ending = hws_zalloc(sizeof(*ending))) == NULL)
        return HWS_ERR_NOMEM;
    hws_deferred_init(&ending->deferred, tell_ending);
    ending->on_done = on_done;
    ending->user = user;
    drain->ending = ending;
    if (hws_span_bounded(span) != HWS_NEVER)
        hws_loop_set_timer(manager->loop, &drain->timer, now + span);
    hws_manager_tell(manager, HWS_EVENT_DRAIN, name, "", "begin", 0, now);
    return HWS_OK;
}
