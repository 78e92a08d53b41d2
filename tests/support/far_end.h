/* far_end.h - what the socket of a witness talks to, alike in every world: a listener with one
 * connection, driven by the test. Over libuv it is a real socket of this process. */
#ifndef TESTS_SUPPORT_FAR_END_H
#define TESTS_SUPPORT_FAR_END_H

#include "io/sim.h"
#include "support/witness.h"

typedef enum { UV_TCP4, UV_TCP6, UV_LOCAL, SIM_TCP, SIM_LOCAL, WORLD_COUNT } world_kind_t;

typedef struct {
    world_kind_t kind;
    witness_t witness;
    hws_address_t address;
    /* What came from the witness's socket. */
    hws_buffer_t got;
    int ended;    /* HWS_OK, HWS_ERR_EOF or HWS_ERR_RESET */
    int accepted; /* connections */
    bool is_paused;

    int listener_fd; /* over libuv */
    int fd;
    hws_buffer_t unsent;
    char path[64];

    hws_sim_t *sim; /* or simulated */
    hws_sim_listener_t *listener;
    hws_sim_conn_t *conn;
} far_end_t;

bool world_is_real(world_kind_t kind);
bool world_is_local(world_kind_t kind);

/* Makes the world, its witness and the listener. False: this machine has no such transport. */
bool far_end_init(far_end_t *far_end, world_kind_t kind);
/* Also closes the witness's socket and frees the world. */
void far_end_dispose(far_end_t *far_end);

/* Lets inputs come until `is_done`; fails the test when nothing is left that could change it. */
void far_end_run(far_end_t *far_end, bool (*is_done)(const far_end_t *far_end));
/* Lets everything come that is on its way. */
void far_end_settle(far_end_t *far_end);
/* Connects the witness and waits until both ends know. */
void far_end_meet(far_end_t *far_end);

void far_end_send(far_end_t *far_end, const char *data, size_t size);
void far_end_close(far_end_t *far_end, hws_sim_close_t how);
/* Takes nothing while paused, so that the witness's side fills up. */
void far_end_pause(far_end_t *far_end, bool on);
/* No connect is answered from here on other than by a refusal. */
void far_end_refuse(far_end_t *far_end);

#endif
