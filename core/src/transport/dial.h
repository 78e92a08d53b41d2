/* dial.h - one attempt to give a peer's pool another connection.
 *
 * Tries the peer's addresses one after the other within timeouts.connect, then, where the upstream
 * has a setup, lets it prepare the connection, within timeouts.connect anew. It counts against
 * every cap from its first moment to its last. */
#ifndef HWS_TRANSPORT_DIAL_H
#define HWS_TRANSPORT_DIAL_H

#include "call.h"
#include "pool/pool.h"

struct hws_dial {
    hws_pool_t *pool;
    hws_list_t link;  /* in pool->dials while it connects */
    hws_call_t *call; /* that it was started for or has been given to; NULL: nobody waits */
    hws_socket_t *socket;
    hws_connection_t *connection; /* being set up */
    hws_lease_t *setup;           /* the lease that prepares it, while the user has it */
    uint32_t address;             /* index of the one being tried */
    hws_timer_t timer;
    hws_deferred_t deferred; /* a failure known at once, told at rest */
    int status; /* of the address tried last */
};

/* Begins one for `call`. The caller has checked the caps. HWS_ERR_NOMEM only: every other failure
 * comes to the call's dial_failed, later. */
int hws_dial_start(hws_pool_t *pool, hws_call_t *call, hws_time_t now);
/* The setup is over: the connection joins the pool (HWS_OK), or is closed. */
void hws_dial_setup_done(hws_dial_t *dial, int status, const char *reason, hws_time_t now);
/* Ends it with `code`: its call is told. */
void hws_dial_cancel(hws_dial_t *dial, int code, hws_time_t now);

#endif
