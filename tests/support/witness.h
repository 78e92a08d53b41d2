/* witness.h - the owner of a world and of one socket on it, which notes what it is told and holds
 * the world to io.h: no input inside a call, one rest after each input, none after a close. */
#ifndef TESTS_SUPPORT_WITNESS_H
#define TESTS_SUPPORT_WITNESS_H

#include "io/io.h"

typedef enum { ON_NOTHING, ON_CONNECT, ON_BYTES, ON_END, ON_FLUSH, ON_TIMER } witness_input_t;

typedef struct {
    hws_io_t *io;
    hws_socket_t *socket;
    /* The inputs in order: "connect:OK bytes end:EOF". Bytes in a row are one word. */
    char log[256];
    hws_buffer_t bytes;
    unsigned rests;
    unsigned takes; /* how often a flush told that the peer takes some */
    hws_time_t now; /* of the last input */
    /* What to do within an input of that kind. */
    witness_input_t acts_on;
    void (*act)(void *user);
    void *user;
    bool is_in_call;
    bool owes_rest;
} witness_t;

void witness_init(witness_t *witness, hws_io_t *io);
/* Closes the socket when it is open, and frees the world. */
void witness_dispose(witness_t *witness);

int witness_connect(witness_t *witness, const hws_address_t *address);
void witness_read(witness_t *witness, bool on);
int witness_send(witness_t *witness, const char *data, size_t size, size_t *sent);
void witness_flush_buffer(witness_t *witness, hws_buffer_t *buffer);
/* Flushes a copy of `data`. */
void witness_flush(witness_t *witness, const char *data, size_t size);
int witness_finish(witness_t *witness);
int witness_peek(witness_t *witness);
void witness_close(witness_t *witness, bool reset);
void witness_arm(witness_t *witness, hws_time_t at);
void witness_wake(witness_t *witness);
int witness_run(witness_t *witness, hws_run_t mode);

#endif
