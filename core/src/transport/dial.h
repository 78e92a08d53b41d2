/* dial.h - connects to the first of several addresses that answers, within one span of time.
 *
 * The addresses are tried one after the other. Plain state, embedded by whoever dials. */
#ifndef HWS_TRANSPORT_DIAL_H
#define HWS_TRANSPORT_DIAL_H

#include "io/loop.h"

typedef struct hws_dial hws_dial_t;

struct hws_dial {
    hws_loop_t *loop;
    const hws_address_t *addresses; /* borrowed */
    uint32_t count;
    uint32_t next; /* index of the one being tried */
    int status;    /* of the one tried last */
    hws_socket_t *socket;
    hws_timer_t timer;
    hws_deferred_t deferred; /* a failure known at once, told at rest */
    void (*on_done)(hws_dial_t *dial, int status, hws_socket_t *socket, hws_time_t now);
};

/* Begins. `on_done` is called once, later: with HWS_OK and the connected socket, which it takes
 * over, or with the last address's code, or HWS_ERR_TIMEOUT. `span` may be HWS_NEVER. */
void hws_dial_start(hws_dial_t *dial, hws_loop_t *loop, const hws_address_t *addresses,
                    uint32_t count, hws_time_t span, hws_time_t now,
                    void (*on_done)(hws_dial_t *dial, int status, hws_socket_t *socket,
                                    hws_time_t now));
/* Gives up; on_done is not called. Harmless when it is over. */
void hws_dial_cancel(hws_dial_t *dial);

#endif
