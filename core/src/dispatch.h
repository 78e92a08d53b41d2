/* dispatch.h - brings calls and room together: at once, by a dial, or out of the queue when room
 * appears anywhere (late binding).
 *
 * The peers' pools say what there is and the caps what may be added; this acts on it. Whoever came
 * first and can use what there is gets it. */
#ifndef HWS_DISPATCH_H
#define HWS_DISPATCH_H

#include "upstream.h"

/* Gives `call` a connection, or begins a dial for it; false when there is room for neither. */
bool hws_dispatch_try(hws_upstream_t *upstream, hws_call_t *call, hws_time_t now);
/* Room may have appeared: serves the queue in its order. */
void hws_dispatch_serve(hws_upstream_t *upstream, hws_time_t now);
/* The same where it can have appeared at `peer` alone: looks at no other when nobody else had any
 * for those who wait. */
void hws_dispatch_serve_at(hws_upstream_t *upstream, hws_peer_t *peer, hws_time_t now);
/* Goes on with a round of asking a script. At rest. */
void hws_dispatch_go_on(hws_upstream_t *upstream, hws_time_t now);
/* One dial out of the queue, for upstreams that take turns at the manager's slots. */
void hws_dispatch_serve_one(hws_upstream_t *upstream, hws_time_t now);
/* An opening is over; `call` is the one it was for, or NULL. HWS_OK: there is a new connection. */
void hws_dispatch_opening_over(hws_upstream_t *upstream, hws_peer_t *peer, hws_list_t *calls,
                               int status, hws_phase_t phase, const char *detail, hws_time_t now);
/* The call of an opening has left: the opening goes on for who else waits. */
void hws_dispatch_adopt(hws_upstream_t *upstream, hws_opening_t *opening, hws_time_t now);

#endif
