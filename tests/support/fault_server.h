/* fault_server.h - runs faultd (tests/programs/faultd.c) for the tests of one program. */
#ifndef TESTS_SUPPORT_FAULT_SERVER_H
#define TESTS_SUPPORT_FAULT_SERVER_H

#include <stddef.h>

/* Starts it and waits until it listens; fails the test program when it does not. It ends with
 * this process, or with fault_server_stop(). */
void fault_server_start(void);
void fault_server_stop(void);

/* Writes "SCHEME127.0.0.1:PORTPATH" for one of its ports: http, raw, control, blackhole, closed.
 * Returns `url`. */
char *fault_server_url(char *url, size_t size, const char *scheme, const char *port,
                       const char *path);

#endif
