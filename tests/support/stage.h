/* stage.h - a world with its servers, requests and leases, set up and cleared for every test.
 *
 * One global stage, so that what a failed test leaves behind can still be told and cleared. */
#ifndef TESTS_SUPPORT_STAGE_H
#define TESTS_SUPPORT_STAGE_H

#include "support/ask.h"
#include "support/cmocka.h"
#include "support/hold.h"
#include "support/server.h"

#define STAGE_SERVERS 4
#define STAGE_ASKS 512
#define STAGE_HOLDS 64

typedef struct {
    world_t world;
    server_t servers[STAGE_SERVERS]; /* at ports 1, 2... */
    unsigned server_count;
    bool is_over; /* stage_finish() was called */
    ask_t asks[STAGE_ASKS];
    hold_t holds[STAGE_HOLDS];
} stage_t;

extern stage_t stage;

/* For cmocka: servers of HTTP, or that echo, and a manager with defaults. */
int stage_http(void **state);
int stage_raw(void **state);
/* Nothing yet: the test calls stage_begin(). */
int stage_none(void **state);
int stage_clear(void **state);

/* Begins anew with this many connections for the manager, for tests that need a cap or a seed. */
void stage_begin(uint64_t seed, uint32_t max_connections, bool is_raw);
/* The same with any options of the manager. */
void stage_begin_with(uint64_t seed, const hws_manager_options_t *options, bool is_raw);
/* Ends what is open, and asserts that nothing is left. stage_clear() does it otherwise. */
void stage_finish(void);

/* Starts `count` GETs from asks[first] on. */
void stage_get(hws_upstream_t *upstream, unsigned first, unsigned count);
/* How many of the asks [first, first + count) are ended well, or ended at all. */
unsigned stage_ok(unsigned first, unsigned count);
unsigned stage_done(unsigned first, unsigned count);

#define STAGE_TEST(test, kind) cmocka_unit_test_setup_teardown(test, stage_##kind, stage_clear)

#endif
