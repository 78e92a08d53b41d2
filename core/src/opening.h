/* opening.h - one attempt to give a peer's pool another connection.
 *
 *   RESOLVING --addresses--> DIALING --connected--> TLS --verified--> SETUP --agrees--> over: the
 *       |                       |                    |                 |            pool has one more
 *       '-----------------------+--- failed, late ---+-----------------+--------> over: none
 *
 * RESOLVING is passed at once where the address is known, TLS where the peer speaks in the clear,
 * SETUP where the upstream has none. They last timeouts.resolve, .connect, .tls and .connect at
 * most. It counts against every cap from its first moment to its last. */
#ifndef HWS_OPENING_H
#define HWS_OPENING_H

#include "call.h"
#include "names.h"
#include "pool/connection.h"
#include "secure.h"
#include "transport/dial.h"

struct hws_opening {
    hws_peer_t *peer;
    hws_list_t link;      /* in peer->openings */
    hws_list_t calls;     /* that it was begun for or has been given to, or that joined it */
    uint32_t joined;      /* how many these are */
    hws_permit_t permit;  /* of the peer's breaker */
    hws_phase_t phase;    /* how far it is, for errors */
    hws_lookup_t *lookup; /* held while names are looked up; else NULL */
    hws_resolution_t resolution;
    hws_dial_t dial;
    hws_shaking_t shaking;
    hws_protocol_t protocol;      /* the peer's, when the handshake began */
    bool is_outdated;             /* the options that it verifies by have changed since */
    hws_connection_t *connection; /* NULL until it is established */
    hws_lease_t *setup;           /* what the user's setup holds, while it does */
    hws_timer_t timer;            /* of RESOLVING, then of TLS, then of SETUP */
};

/* `call`, which waits, will have whatever room this brings, or its failure. */
void hws_opening_join(hws_opening_t *opening, hws_call_t *call, hws_time_t now);
/* `call` does not wait for this any more. */
void hws_opening_leave(hws_opening_t *opening, hws_call_t *call);
/* Begins one for `call`. The caller has taken a place under the caps. HWS_ERR_NOMEM only: every
 * other failure comes to the call's dial_failed, later. */
int hws_opening_start(hws_peer_t *peer, hws_call_t *call, hws_time_t now);
/* The setup has spoken: the connection joins the pool (HWS_OK), or is closed. */
void hws_opening_setup_done(hws_opening_t *opening, int status, const char *reason, hws_time_t now);
/* Ends it with `code`: its calls are told. */
void hws_opening_cancel(hws_opening_t *opening, int code, hws_time_t now);

#endif
