/* loop.h - what all managers of one thread share: the seam, the deadlines, and the moment of rest.
 *
 * Inputs never call user code. What must be told to a user is deferred, and delivered when the
 * core is at rest: after the input, with nothing of the core on the stack. */
#ifndef HWS_IO_LOOP_H
#define HWS_IO_LOOP_H

#include "base/list.h"
#include "base/timers.h"
#include "io/io.h"

#include <hawser/loop.h>

/* Something to be done at rest. It may be freed by its own `run`. */
typedef struct hws_deferred {
    hws_list_t link;
    void (*run)(struct hws_deferred *deferred);
} hws_deferred_t;

struct hws_loop {
    hws_io_t *io;
    hws_timers_t timers;
    hws_time_t armed_at; /* what the seam's timer is set to, HWS_NEVER when it is not */
    hws_list_t deferred; /* for the coming rest */
    hws_list_t resting;  /* being done in the present one */
    hws_list_t turned;   /* for the end of the present turn, or the beginning of the next */
    bool is_turning;     /* or doing what is in `turned` */
    bool is_ending;      /* the inputs of a turn have been taken, and what they brought is done */
    bool will_rest;      /* inside an input or a rest, or the seam was asked for a rest */
    uint32_t fork_generation; /* of the process that created it */
    uint32_t managers;        /* alive, for the assertion at the end */
};

/* Takes `io` over, also when it fails. */
int hws_loop_create_on(hws_io_t *io, hws_loop_t **out);

/* Fires at `at` (moves it when set). */
void hws_loop_set_timer(hws_loop_t *loop, hws_timer_t *timer, hws_time_t at);
static inline void hws_loop_cancel_timer(hws_loop_t *loop, hws_timer_t *timer)
{
    hws_timers_cancel(&loop->timers, timer);
}

static inline void hws_deferred_init(hws_deferred_t *deferred, void (*run)(hws_deferred_t *))
{
    hws_list_init(&deferred->link);
    deferred->run = run;
}

/* To be called first in every input of a socket: on_rest is about to follow. */
static inline void hws_loop_enter(hws_loop_t *loop)
{
    loop->will_rest = true;
}

/* The time for timeouts and idle ages: at most a tick of the system's clock behind. */
hws_time_t hws_loop_recent(const hws_loop_t *loop);
/* For what is deferred to a turn's end: when that turn began to take its inputs, which costs nothing to
 * know; where none has just ended, the recent time. */
hws_time_t hws_loop_turned_at(const hws_loop_t *loop);
/* Does it at the next rest; harmless when it is deferred already. */
void hws_loop_defer(hws_loop_t *loop, hws_deferred_t *deferred);

/* Does it when the inputs of the present turn have been taken and what they brought is done, or,
 * when no turn is under way, before the next one or in hws_loop_flush(). Harmless when it is deferred
 * already. */
static inline void hws_loop_defer_to_turn(hws_loop_t *loop, hws_deferred_t *deferred)
{
    if (hws_list_is_linked(&deferred->link))
        return;
    hws_list_push_back(&loop->turned, &deferred->link);
    if (loop->is_turning || loop->will_rest)
        return;
    loop->will_rest = true;
    loop->io->ops->wake(loop->io);
}

#endif
