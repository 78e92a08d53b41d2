/* session.h - the other side of yamux: many streams over a connection that was leased, opened by
 * whoever is there and by us.
 *
 *     hws_session_create(lease, &options, &session);      the lease is gone, its connection is the session's
 *     hws_session_accept(session, &callbacks, &stream);   HWS_AGAIN: on_news tells
 *
 * Both roles accept and open. The streams are leases, without an acquisition of their own: on_done is
 * never called, nor are they counted as requests. The connection stays counted under every cap until
 * the session is over, and a drain waits for it. The peer is asked for signs of life as
 * hws_h2_options_t says. */
#ifndef HAWSER_SESSION_H
#define HAWSER_SESSION_H

#include <hawser/lease.h>

typedef struct hws_session hws_session_t;

typedef struct {
    bool
        is_server; /* which of the two sides must be agreed on: it decides the numbers of streams */
    /* At rest: after HWS_AGAIN, that it would say something else now; or the session is over. May close the
     * session. */
    void (*on_news)(hws_session_t *session, void *user);
    void *user;
} hws_session_options_t;

/* Takes a lease over and frees it; what it had not read yet is the session's. On a code the lease stays
 * as it was: HWS_ERR_UNSUPPORTED for one that waits, or that is a stream or a setup's; HWS_ERR_EOF or
 * HWS_ERR_CLOSED when the peer or we have half-closed it; what broke it; HWS_ERR_NOMEM. */
HWS_API int hws_session_create(hws_lease_t *lease, const hws_session_options_t *options,
                               hws_session_t **out);
/* Closes the connection after a GOAWAY; streams that are open end with HWS_ERR_CLOSED, and are still to be
 * ended by their users. Frees the session, in any state. Nothing is called any more. NULL is
 * harmless. */
HWS_API void hws_session_close(hws_session_t *session);

/* The stream that the peer opened first. Of `callbacks` on_readable, on_writable and `user` matter.
 * HWS_AGAIN: on_news tells. HWS_END: the peer has closed the session with nothing open. Codes: why it
 * is over, HWS_ERR_NOMEM. */
HWS_API int hws_session_accept(hws_session_t *session, const hws_lease_options_t *callbacks,
                               hws_lease_t **out);
/* A stream of ours, usable at once. HWS_AGAIN: limits.streams are open, or the peer has yet to accept 256;
 * on_news tells. HWS_ERR_GOAWAY: the peer takes no more. */
HWS_API int hws_session_open(hws_session_t *session, const hws_lease_options_t *callbacks,
                             hws_lease_t **out);

/* Streams on it, which have users; 0 once it is over. */
HWS_API uint32_t hws_session_streams(const hws_session_t *session);
HWS_API bool hws_session_is_over(const hws_session_t *session);
/* Why it is over; NULL while it is not, and when the peer closed it in order. */
HWS_API const hws_error_t *hws_session_error(const hws_session_t *session);
HWS_API const char *hws_session_peer(const hws_session_t *session);
HWS_API hws_upstream_t *hws_session_upstream(const hws_session_t *session);

#endif
