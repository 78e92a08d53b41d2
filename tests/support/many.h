/* many.h - a stage with servers of HTTP/2, for tests of connections with many streams. */
#ifndef TESTS_SUPPORT_MANY_H
#define TESTS_SUPPORT_MANY_H

#include "support/h2_far.h"
#include "support/stage.h"

#define MANY_FARS 3
#define MANY_PORT 11 /* of the first */

extern h2_far_t fars[MANY_FARS];

/* For cmocka. */
int many_begin(void **state);
int many_end(void **state);
/* In the midst of a test, for its next row: ends all and begins anew. */
void many_again(void);
/* The same with options of the manager. */
void many_again_with(const hws_manager_options_t *options);

/* Peers of the first servers. The options may be NULL. */
hws_upstream_t *many_upstream(const hws_upstream_options_t *options, unsigned peers);
/* A server is a millisecond away from now on, so that what is under way can be caught there. */
void many_slow_down(unsigned far);
/* Lets `span` pass, in turns of the loop. */
void many_run(hws_time_t span);
/* Starts asks[index]: a request whose path is its number, which tells how often a server has seen it;
 * one whose method begins with P has a body. */
void many_start(hws_upstream_t *upstream, unsigned index, const char *method);
void many_start_all(hws_upstream_t *upstream, unsigned first, unsigned count, const char *method);
/* A breaker that opens after so many failures in a row, and for nothing else. */
hws_breaker_options_t many_breaker(uint32_t consecutive);

#define MANY_TEST(test) cmocka_unit_test_setup_teardown(test, many_begin, many_end)

#endif
