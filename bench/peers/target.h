/* target.h - what a client was told to do: NAME URL requests connections. */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include <netinet/in.h>

typedef struct {
    struct sockaddr_in address; /* of the URL, which must hold an IPv4 address and a port */
    char authority[64];         /* "127.0.0.1:8080" */
    const char *path;           /* "/" at least; part of argv */
    long requests;              /* to be made in all, at least 1 */
    int connections;            /* to be used at once, 1 to 65536 */
} target_t;

/* Reads the arguments; ends the program with a message when they make no sense. */
void target_read(target_t *target, int argc, char **argv);

#endif
