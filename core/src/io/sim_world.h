/* sim_world.h - what the parts of the simulated world share: the world itself, in io/sim.c; its peers,
 * in io/sim_peer.c; its names, in io/sim_names.c. For these files alone. */
#ifndef HWS_IO_SIM_WORLD_H
#define HWS_IO_SIM_WORLD_H

#include "base/random.h"
#include "base/timers.h"
#include "io/sim.h"

#include <assert.h>

struct hws_sim {
    hws_io_t io;
    hws_time_t now;
    hws_time_t polled_at;
    hws_time_t armed_at;
    hws_timers_t events; /* all that will happen, but for the core's timer */
    hws_timer_t wake_timer;
    hws_random_t random;
    hws_list_t listeners;
    hws_list_t sockets;
    hws_list_t plans;
    hws_list_t names;
    uint32_t open_names;
    uint32_t open_questions;
    uint32_t open_sockets;
    uint32_t max_sockets;
    uint32_t fail_count;
    int fail_code;
    bool was_noticed; /* the core or the test was told something in this turn */
};

static inline hws_sim_t *hws_sim_of(hws_io_t *io)
{
    return (hws_sim_t *)io;
}

/* After an input: the core is at rest. */
static inline void hws_sim_rest(hws_sim_t *sim)
{
    sim->was_noticed = true;
    sim->io.on_rest(sim->io.owner);
}

static inline hws_time_t hws_sim_later(hws_time_t a, hws_time_t b)
{
    return a > b ? a : b;
}

/* One of [min, max], by the seed. */
static inline hws_time_t hws_sim_choose(hws_sim_t *sim, hws_time_t min, hws_time_t max)
{
    hws_time_t span = max - min;

    if (span <= 0)
        return min;
    assert(span < UINT32_MAX);
    return min + hws_random_below(&sim->random, (uint32_t)span + 1);
}

static inline void hws_sim_set_timer(hws_sim_t *sim, hws_timer_t *timer, hws_time_t at)
{
    at = hws_sim_later(at, sim->now);
    if (!hws_timer_is_set(timer) || timer->at != at)
        hws_timers_set(&sim->events, timer, at);
}

/* Of hws_io_ops_t. */
int hws_sim_connect(hws_io_t *io, const hws_address_t *address, const hws_socket_events_t *events,
                    void *owner, hws_socket_t **out);
int hws_sim_names_create(hws_io_t *io, const hws_names_options_t *options, hws_names_t **out);
void hws_sim_names_destroy(hws_names_t *names);
int hws_sim_names_ask(hws_names_t *names, const char *name, int family,
                      void (*on_answer)(void *owner, const hws_answer_t *answer, hws_time_t now),
                      void *owner, hws_question_t **out);
void hws_sim_names_unask(hws_question_t *question);

/* The world ends: nothing of the core's is open any more. */
void hws_sim_dispose_peers(hws_sim_t *sim);
void hws_sim_dispose_names(hws_sim_t *sim);

#endif
