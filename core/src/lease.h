/* lease.h - a pooled raw connection in one user's hands, or a stream of one with many byte streams. */
#ifndef HWS_LEASE_H
#define HWS_LEASE_H

#include "call.h"
#include "pool/connection.h"
#include "pool/inbox.h"
#include "secure.h"

#include <hawser/lease.h>

/* What moving bytes asks for comes first, so that it is few cache lines. */
struct hws_lease {
    hws_inbox_t inbox;
    size_t taken;          /* of the inbox, given out by the last read */
    hws_time_t read_since; /* when the waiting read began; HWS_NEVER: none waits */
    hws_read_t want;       /* that on_readable is waited with */
    hws_time_t write_since;
    hws_time_t span;        /* of silent waits */
    hws_time_t heard_at;    /* a stream's last bytes */
    hws_shaking_t *shaking; /* while TLS is being started; else NULL */
    int verdict;            /* HWS_OK, or what ended the connection for this lease */
    int read_status;        /* how a waiting read ended without bytes: timeout, cancel */
    int write_status;
    bool is_read_due; /* on_readable is to be called */
    bool is_write_due;
    bool is_out_of_memory;
    bool is_told; /* on_done, or the upstream's setup, was called */
    bool is_setup;
    bool is_stream; /* others are on the same connection */
    bool is_reused;
    bool has_own_span;   /* the user's, whose end says nothing of the peer */
    bool was_silent;     /* the peer, for longer than the upstream allows */
    bool has_finished;   /* the peer sent its FIN */
    bool is_half_closed; /* we did */
    bool has_tls_ended;
    bool is_tls_late;
    bool is_owed;    /* a read was given up: what it waited for may still come; or a write */
    size_t credited; /* of the inbox, given back to the peer's room because a read waits */
    size_t scanned;  /* of the inbox, known not to hold the delimiter */
    bool is_early; /* what came before it was accepted is told in a call that it does not outlast */
    bool *destroyed;
    void *data;                  /* a stream's; a raw connection keeps it itself */
    hws_lease_options_t options; /* the callbacks */
    hws_opening_t *opening; /* whose connection it prepares; NULL when it is no setup, or over */
    hws_time_t shaking_until;
    int tls_status; /* HWS_AGAIN while it is; then how that ended, until has_tls_ended is told */
    hws_call_t call;
};

/* One on a connection that a session keeps: opened there, where there is room, or the first that the
 * peer has opened. HWS_ERR_NOMEM. */
int hws_lease_open_on(hws_connection_t *connection, const hws_lease_options_t *callbacks,
                      hws_lease_t **out);
int hws_lease_accept_on(hws_connection_t *connection, const hws_lease_options_t *callbacks,
                        hws_lease_t **out);
/* Gives its connection to `keeper`, with what is unread (hws_connection_keep), and frees it. On a code it
 * stays as it was: HWS_ERR_UNSUPPORTED unless it is a whole connection that waits for nothing, why it can
 * do nothing more, HWS_ERR_NOMEM. */
int hws_lease_hand_over(hws_lease_t *lease, hws_yamux_role_t role, hws_keeper_t *keeper);

/* Tells the user at the next rest what is due. */
void hws_lease_wake(hws_lease_t *lease);
/* Hands the opening's new connection to the upstream's setup, at rest. */
int hws_lease_begin_setup(hws_opening_t *opening, hws_time_t now);
/* What the last read gave out is there again: nobody got it. Before the next input, or call of the
 * lease's. */
void hws_lease_read_again(hws_lease_t *lease);
/* The opening is over: whatever the setup says now comes too late. */
void hws_lease_forget_opening(hws_lease_t *lease);

#endif
