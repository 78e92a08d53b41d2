/* tunnel.h - a socket with TLS on it, which is itself a socket.
 *
 *             hws_tunnel_create          tls agrees           close_notify, or a failure
 *   carrier ------------------> SHAKING ------------> OPEN ---------------------------> ENDED
 *                                  '--- on_connect tells why not ---> FAILED
 *
 * on_connect is the handshake's end. From FAILED and ENDED nothing leads back: no byte of the owner
 * ever leaves in the clear, and none comes from a peer that was not verified. A peer that closes
 * without close_notify is told to the owner as HWS_ERR_TRUNCATED. */
#ifndef HWS_TRANSPORT_TUNNEL_H
#define HWS_TRANSPORT_TUNNEL_H

#include "io/loop.h"
#include "transport/tls.h"

/* What the tunnels of a manager share. */
typedef struct {
    hws_loop_t *loop;
    hws_buffer_t plain;  /* what the present input was decrypted to; lasts until its rest */
    hws_buffer_t cipher; /* what was encrypted and is on its way out; empty between calls */
} hws_tunnels_t;

void hws_tunnels_init(hws_tunnels_t *tunnels, hws_loop_t *loop);
/* All have been closed. */
void hws_tunnels_dispose(hws_tunnels_t *tunnels);

/* Begins the handshake on a connected socket. Takes `carrier` and `tls` over; when it fails, with
 * HWS_ERR_NOMEM, neither. Whoever is told by on_connect turns reading on, or closes, before that
 * returns: data may already be there. */
int hws_tunnel_create(hws_tunnels_t *tunnels, hws_socket_t *carrier, hws_tls_t *tls,
                      const hws_socket_events_t *events, void *owner, hws_socket_t **out);
/* What can be resumed comes with the first data in TLS 1.3, and again whenever the peer likes. Each is
 * given to `keep`, whose it is then; `context` is freed with hws_free() when the tunnel closes. */
typedef void hws_tunnel_keep_t(void *context, hws_tls_session_t *session, hws_time_t now);
void hws_tunnel_keep_sessions(hws_socket_t *socket, hws_tunnel_keep_t *keep, void *context);
/* The TLS of a tunnel, to ask what was agreed on or what failed; NULL for any other socket. */
hws_tls_t *hws_tunnel_tls(hws_socket_t *socket);

#endif
