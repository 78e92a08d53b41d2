/* world.h - a manager on a simulated world, with a witness of its own that counts sockets.
 *
 * What the manager says of itself is one thing, what it did to the world another: every connect
 * and close passes through here and is counted, in all and for each port, so that a cap is held
 * against the sockets themselves at every moment. After every input all upstreams are checked. */
#ifndef TESTS_SUPPORT_WORLD_H
#define TESTS_SUPPORT_WORLD_H

#include "io/loop.h"
#include "io/sim.h"
#include "manager.h"
#include "upstream.h"

#include <hawser/hawser.h>

#define WORLD_PORTS 32
#define WORLD_EVENTS 64

typedef struct {
    uint16_t port;
    uint32_t open; /* sockets, connecting ones included */
    uint32_t peak;
} world_port_t;

typedef struct {
    hws_sim_t *sim;
    hws_loop_t *loop;
    hws_manager_t *manager; /* NULL once it was destroyed */
    uint32_t open;          /* sockets */
    uint32_t peak;          /* most of them at any moment */
    uint64_t connects;      /* so far */
    uint64_t writes;        /* to sockets: what would be as many system calls */
    uint32_t before;        /* the manager's connections at the last check */
    world_port_t ports[WORLD_PORTS];
    /* Events in order: "connect", "close:idle", "stale_reuse:replayed". */
    char events[WORLD_EVENTS][32];
    unsigned event_count;
} world_t;

/* With the defaults when `options` is NULL, and always with a seed. One world at a time. */
void world_init(world_t *world, uint64_t seed, const hws_manager_options_t *options);
/* Destroys the manager, lets it finish, asserts that nothing is left, and frees all. */
void world_dispose(world_t *world);

/* Peers of ports 1, 2... of 10.0.0.1, over http or raw. The options may be NULL: the defaults. */
hws_upstream_t *world_http(world_t *world, const char *name, const hws_upstream_options_t *options,
                           unsigned peers);
hws_upstream_t *world_raw(world_t *world, const char *name, const hws_upstream_options_t *options,
                          unsigned peers);
/* The same with one peer of the given port. */
hws_upstream_t *world_http_at(world_t *world, const char *name,
                              const hws_upstream_options_t *options, uint16_t port);
/* Peers of ports `first`, `first` + 1... over HTTP/2 in the clear. */
hws_upstream_t *world_h2c(world_t *world, const char *name, const hws_upstream_options_t *options,
                          uint16_t first, unsigned peers);
/* The same over yamux, with one peer. */
hws_upstream_t *world_yamux(world_t *world, const char *name, const hws_upstream_options_t *options,
                            uint16_t port);
hws_upstream_options_t world_options(const world_t *world);
/* The same with up to `attempts` attempts, at most 1 ms apart, and no budget. */
hws_upstream_options_t world_retrying(const world_t *world, uint32_t attempts);

/* Lets `span` pass. */
void world_run(world_t *world, hws_time_t span);
/* The same in turns of the loop, as a program does: what one turn writes is gathered. */
void world_run_turns(world_t *world, hws_time_t span);
hws_time_t world_now(const world_t *world);
/* One turn of the loop, without waiting; or with. */
int world_turn(world_t *world, bool wait);

uint32_t world_open_at(const world_t *world, uint16_t port);
uint32_t world_peak_at(const world_t *world, uint16_t port);
bool world_had_event(const world_t *world, const char *event);
hws_stats_t world_stats(const hws_upstream_t *upstream);
/* Asserts that the ledger of every upstream, and of the sockets, is in order. */
void world_check(world_t *world);

#endif
