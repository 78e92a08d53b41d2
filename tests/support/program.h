/* program.h - runs one of the programs of tests/programs beside a test. */
#ifndef TESTS_SUPPORT_PROGRAM_H
#define TESTS_SUPPORT_PROGRAM_H

#include <stdint.h>
#include <sys/types.h>

enum { PROGRAM_PORTS = 8 };

typedef struct {
    const char *name;
    struct {
        char name[16];
        int number;
    } ports[PROGRAM_PORTS];
    int port_count;
    pid_t pid;
    int input; /* it lives as long as this is open */
} program_t;

/* Starts it and waits until it has printed "NAME PORT" lines, then "ready"; fails the test program
 * when it does not. It ends with this process, or with program_stop(). */
void program_start(program_t *program, const char *name);
void program_stop(program_t *program);

/* The port of that name; fails the test program when it has none. */
uint16_t program_port(const program_t *program, const char *name);

#endif
