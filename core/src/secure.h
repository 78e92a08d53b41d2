/* secure.h - from a socket to a tunnel that leads to a peer: its handshake, with the sessions that
 * the manager may resume. */
#ifndef HWS_SECURE_H
#define HWS_SECURE_H

#include "peer.h"
#include "transport/tunnel.h"

/* A handshake under way. */
typedef struct {
    hws_upstream_t *upstream;
    hws_tls_config_t *config; /* held; what is verified, whatever an update brings meanwhile */
    hws_socket_t *tunnel;
    char name[256];
    char peer[HWS_PEER_ID_MAX + 1];
    bool keeps_session;
} hws_shaking_t;

/* Begins on a socket to `peer`: takes it over, or leaves it when it fails. `options` NULL: the
 * upstream's. `events->on_connect` tells the end, with `owner`; then hws_shaking_end() is due.
 * HWS_ERR_TLS_OPTIONS with `why`, HWS_ERR_NOMEM. */
int hws_shaking_start(hws_shaking_t *shaking, hws_peer_t *peer, const hws_tls_options_t *options,
                      hws_socket_t *socket, const hws_socket_events_t *events, void *owner,
                      hws_time_t now, hws_error_t *why);
/* It has ended with `status`: counts it, keeps what may be resumed. Returns whether it was resumed
 * itself; `detail` (HWS_ERROR_DETAIL_MAX + 1 bytes) gets what failed. The tunnel is the caller's. */
bool hws_shaking_end(hws_shaking_t *shaking, int status, char *detail, hws_time_t now);
/* Forgets it: whoever has the tunnel closes that. Harmless when none is under way. */
void hws_shaking_forget(hws_shaking_t *shaking);
/* Gives it up: resets the connection. Harmless when none is under way. */
void hws_shaking_cancel(hws_shaking_t *shaking);

#endif
