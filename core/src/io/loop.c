#include "io/loop.h"

#include "base/memory.h"
#include "io/process.h"
#include "io/uv.h"

#include <assert.h>

/* Who sets its timer again from inside must set it for later than `now`. */
static void on_timer(void *owner, hws_time_t due, hws_time_t now)
{
    hws_loop_t *loop = owner;
    hws_timer_t *timer;

    loop->will_rest = true;
    loop->armed_at = HWS_NEVER;
    while ((timer = hws_timers_take(&loop->timers, due)) != NULL)
        timer->fire(timer, now);
}

static void arm(hws_loop_t *loop)
{
    hws_time_t next = hws_timers_next(&loop->timers);

    /* A deadline that was cancelled leaves the seam's timer where it is: it fires and looks. */
    if (next >= loop->armed_at)
        return;
    loop->armed_at = next;
    loop->io->ops->arm(loop->io, next);
}

void hws_loop_flush(hws_loop_t *loop)
{
    hws_list_t *link;

    if (loop->is_turning)
        return;
    loop->is_turning = true;
    while (!hws_loop_is_forked(loop) && (link = hws_list_first(&loop->turned)) != NULL) {
        hws_deferred_t *deferred = HWS_CONTAINER(link, hws_deferred_t, link);

        hws_list_remove(link);
        deferred->run(deferred);
    }
    loop->is_turning = false;
}

/* Does what is deferred now; what that defers waits for another rest, so that inputs go on. Some of
 * it is user code, which may fork: what is left is the parent's to do. */
static void on_rest(void *owner)
{
    hws_loop_t *loop = owner;
    hws_list_t *link;

    loop->will_rest = true;
    hws_list_splice(&loop->resting, &loop->deferred);
    while ((link = hws_list_first(&loop->resting)) != NULL) {
        hws_deferred_t *deferred = HWS_CONTAINER(link, hws_deferred_t, link);

        if (hws_loop_is_forked(loop))
            return;
        hws_list_remove(link);
        deferred->run(deferred);
    }
    hws_loop_flush(loop);
    loop->will_rest = !hws_list_is_empty(&loop->deferred);
    if (loop->will_rest)
        loop->io->ops->wake(loop->io);
    arm(loop);
}

int hws_loop_create_on(hws_io_t *io, hws_loop_t **out)
{
    hws_loop_t *loop = hws_zalloc(sizeof(*loop));

    if (loop == NULL) {
        io->ops->destroy(io);
        return HWS_ERR_NOMEM;
    }
    loop->io = io;
    loop->armed_at = HWS_NEVER;
    loop->fork_generation = hws_process_generation();
    hws_list_init(&loop->deferred);
    hws_list_init(&loop->resting);
    hws_list_init(&loop->turned);
    io->on_timer = on_timer;
    io->on_rest = on_rest;
    io->owner = loop;
    *out = loop;
    return HWS_OK;
}

int hws_loop_create(hws_loop_t **out)
{
    hws_io_t *io;
    int rc = hws_io_uv_create(&io);

    return rc != HWS_OK ? rc : hws_loop_create_on(io, out);
}

void hws_loop_destroy(hws_loop_t *loop)
{
    if (loop == NULL)
        return;
    /* A child shares the parent's epoll set: closing sockets here would unwatch them there. */
    if (hws_loop_is_forked(loop))
        return;
    /* The last endings are told now, and what was destroyed is freed: nobody runs the loop again. */
    while (!hws_list_is_empty(&loop->deferred))
        on_rest(loop);
    assert(loop->managers == 0);
    assert(loop->timers.root == NULL && hws_list_is_empty(&loop->deferred));
    loop->io->ops->destroy(loop->io);
    hws_free(loop);
}

void hws_loop_set_timer(hws_loop_t *loop, hws_timer_t *timer, hws_time_t at)
{
    hws_timers_set(&loop->timers, timer, at);
    if (at < loop->armed_at)
        arm(loop);
}

void hws_loop_defer(hws_loop_t *loop, hws_deferred_t *deferred)
{
    if (hws_list_is_linked(&deferred->link))
        return;
    hws_list_push_back(&loop->deferred, &deferred->link);
    if (loop->will_rest)
        return;
    loop->will_rest = true;
    loop->io->ops->wake(loop->io);
}

int hws_loop_run(hws_loop_t *loop, bool wait)
{
    int rc;

    hws_loop_flush(loop);
    loop->is_turning = true;
    rc = loop->io->ops->run(loop->io, wait ? HWS_RUN_ONCE : HWS_RUN_NOWAIT);
    loop->is_turning = false;
    loop->is_ending = true;
    hws_loop_flush(loop);
    loop->is_ending = false;
    return rc;
}

int hws_loop_descriptor(const hws_loop_t *loop)
{
    return loop->io->ops->descriptor(loop->io);
}

hws_time_t hws_loop_timeout(const hws_loop_t *loop)
{
    return loop->io->ops->timeout(loop->io);
}

hws_time_t hws_loop_now(const hws_loop_t *loop)
{
    return loop->io->ops->now(loop->io);
}

hws_time_t hws_loop_recent(const hws_loop_t *loop)
{
    return loop->io->ops->recent(loop->io);
}

hws_time_t hws_loop_turned_at(const hws_loop_t *loop)
{
    return loop->is_ending ? loop->io->ops->polled_at(loop->io) : hws_loop_recent(loop);
}

bool hws_loop_is_forked(const hws_loop_t *loop)
{
    return hws_process_is_forked(loop->fork_generation);
}
