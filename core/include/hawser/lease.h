/* lease.h - a pooled raw connection in one user's hands, for protocols that hawser does not know.
 *
 * Where the upstream speaks yamux it is a stream, opened for this lease and no other: other leases are
 * on the same connection. All functions serve both, and say where they differ. */
#ifndef HAWSER_LEASE_H
#define HAWSER_LEASE_H

#include <hawser/manager.h>
#include <hawser/retry.h>

typedef struct hws_lease hws_lease_t;

/* All callbacks are called at rest and may end the lease. */
typedef struct {
    hws_time_t timeout; /* of the acquisition, dial and setup included; 0: timeouts.request */
    bool connect_only;  /* end when a connection is ready, leave it pooled (any protocol) */
    hws_peer_t *peer;   /* one of the upstream's: no other will do; NULL: any */
    const hws_retry_options_t *retry; /* copied; NULL: the upstream's */
    /* Once: acquired, or an error. */
    void (*on_done)(hws_lease_t *lease, void *user);
    /* After hws_lease_read() said HWS_AGAIN: it would say something else now. */
    void (*on_readable)(hws_lease_t *lease, void *user);
    /* After hws_lease_write() said HWS_AGAIN: it would take some now, or has failed. */
    void (*on_writable)(hws_lease_t *lease, void *user);
    void *user;
} hws_lease_options_t;

/* Begins to acquire a connection. Codes as hws_request_start(); the caller owns the lease. */
HWS_API int hws_lease_acquire(hws_upstream_t *upstream, const hws_lease_options_t *options,
                              hws_lease_t **out, hws_error_t *why);
/* Whether the lease has its connection already, for who would rather not wait for on_done, which is
 * not called then. True at most once, and only before the loop runs again. */
HWS_API bool hws_lease_claim(hws_lease_t *lease);
/* Ends an acquisition with HWS_ERR_CANCELED (on_done, at rest), or the read and the write that
 * wait (their callbacks; the lease then stays usable). Harmless when nothing waits. */
HWS_API void hws_lease_cancel(hws_lease_t *lease);
/* The same for one direction of a lease that was acquired: the next hws_lease_read(), or write, says
 * HWS_ERR_CANCELED. */
HWS_API void hws_lease_cancel_read(hws_lease_t *lease);
HWS_API void hws_lease_cancel_write(hws_lease_t *lease);
/* Ends the lease and frees it, in any state. Release gives the connection back to the pool, or
 * closes it when bytes are unread or unwritten, a read or a write was given up (timeout, cancel), it
 * was half-closed, or it is broken. Close closes it. Nothing is called any more. NULL is
 * harmless.
 * A stream that is released ends once all that was written has left, and what still comes for it is
 * thrown away; it is reset when bytes are unread, or a read or a write was given up. Close resets it.
 * Its connection stays pooled. */
HWS_API void hws_lease_release(hws_lease_t *lease);
HWS_API void hws_lease_close(hws_lease_t *lease);
/* Replaces the callbacks' `user` and the callbacks, for a lease that changes hands (setup). */
HWS_API void hws_lease_set_callbacks(hws_lease_t *lease, const hws_lease_options_t *options);

/* How many attempts there were to acquire it, and one of them, by its index from 0 on. */
HWS_API uint32_t hws_lease_attempts(const hws_lease_t *lease);
HWS_API void hws_lease_trace(const hws_lease_t *lease, uint32_t index, hws_trace_t *out);
/* Why the acquisition, or the last read or write, failed; NULL when it did not. */
HWS_API const hws_error_t *hws_lease_error(const hws_lease_t *lease);
HWS_API const char *hws_lease_peer(const hws_lease_t *lease);
HWS_API hws_upstream_t *hws_lease_upstream(const hws_lease_t *lease);
HWS_API bool hws_lease_is_reused(const hws_lease_t *lease);

typedef enum {
    HWS_READ_EXACT, /* `size` bytes */
    HWS_READ_SOME,  /* what is there, at least one byte */
    HWS_READ_ALL,   /* to the peer's FIN, at most `size` bytes */
    HWS_READ_LINE,  /* to LF, given without LF or CRLF; at most `size` bytes */
    HWS_READ_UNTIL  /* to `delimiter`, given with it; at most `size` bytes */
} hws_read_mode_t;

typedef struct {
    hws_read_mode_t mode;
    size_t size;           /* EXACT may be 0 */
    hws_slice_t delimiter; /* UNTIL: 1 to 64 bytes; borrowed until the read ends */
} hws_read_t;

/* HWS_OK with the bytes, which are consumed, and last until the next call on this lease or until
 * the loop next runs. HWS_AGAIN: on_readable will tell, at the latest when the lease's read
 * timeout has passed; call again with the same `want`. HWS_END: the peer has finished and nothing
 * is left (SOME, LINE, UNTIL; ALL gives an empty slice instead). Codes: HWS_ERR_EOF when fewer
 * than wanted came before the FIN (they stay readable), HWS_ERR_TIMEOUT (nothing is consumed, the
 * lease stays usable), HWS_ERR_LINE_SIZE or HWS_ERR_BODY_SIZE (ALL) past `size` (the lease is
 * broken then), what broke the connection, HWS_ERR_CANCELED. */
HWS_API int hws_lease_read(hws_lease_t *lease, const hws_read_t *want, hws_slice_t *out);
/* What has come and is not read yet: err.partial. Lasts as above. */
HWS_API hws_slice_t hws_lease_unread(const hws_lease_t *lease);
/* Takes as much as fits the bounded buffer: HWS_OK, or HWS_AGAIN when less than `size`. */
HWS_API int hws_lease_write(hws_lease_t *lease, const char *data, size_t size, size_t *taken);
/* Half-closes once all is written. The connection will not be pooled. HWS_ERR_UNSUPPORTED while a
 * write waits. */
HWS_API int hws_lease_finish(hws_lease_t *lease);
/* Upgrades the connection to TLS, which some protocols agree on in the clear (SMTP, PostgreSQL).
 * `options` NULL: the upstream's. HWS_AGAIN: on_readable will tell, at the latest when timeouts.tls
 * has passed; call again. HWS_OK: what is read and written from here on is encrypted, also for
 * later leases. Any other code has ended the connection: nothing ever falls back to the clear.
 * HWS_ERR_TLS_EARLY when unread bytes are there, which anybody may have slipped in. While it
 * lasts, and while a read or a write waits, HWS_ERR_UNSUPPORTED; likewise a second time, and for a
 * stream. */
HWS_API int hws_lease_start_tls(hws_lease_t *lease, const hws_tls_options_t *options);
/* "1.2" when the connection is encrypted, else NULL. */
HWS_API const char *hws_lease_tls(const hws_lease_t *lease);
/* Instead of timeouts.read, until the lease ends. */
HWS_API void hws_lease_set_timeout(hws_lease_t *lease, hws_time_t span);

/* A value kept with the connection from lease to lease, or with a stream until it ends; see
 * hws_upstream_options_t.free_data. */
HWS_API void hws_lease_set_data(hws_lease_t *lease, void *data);
HWS_API void *hws_lease_data(hws_lease_t *lease);

/* Ends the lease that a setup got: with `ok` the connection is ready, else the dial has failed
 * (HWS_ERR_SETUP with `reason`, which may be NULL). Frees the lease. A setup lease whose time is
 * up (timeouts.connect) fails by itself: its reads and writes say HWS_ERR_TIMEOUT, and this
 * function is still to be called. */
HWS_API void hws_lease_setup_done(hws_lease_t *lease, bool ok, const char *reason);

#endif
