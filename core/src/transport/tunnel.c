#include "transport/tunnel.h"

#include "base/memory.h"

#include <assert.h>

/* Plain bytes that are encrypted at once while a flush goes on. */
#define PIECE ((size_t)65536)

typedef enum { SHAKING, OPEN, ENDED, FAILED, CLOSED } state_t;

typedef struct {
    hws_socket_t base;
    hws_tunnels_t *tunnels;
    hws_socket_t *carrier;
    hws_tls_t *tls;
    const hws_socket_events_t *events;
    void *owner;
    hws_buffer_t waiting; /* cipher bytes for when the carrier has flushed, or the turn is over */
    hws_buffer_t rest;    /* plain ones that flush took over */
    hws_deferred_t deferred;
    hws_deferred_t turned;
    hws_tunnel_keep_t *keep; /* NULL: nobody wants what can be resumed */
    void *keeper;
    int error; /* nothing more can be written */
    state_t state;
    bool is_holding;   /* `waiting` leaves with what is said next, or when the turn is over */
    bool is_blocked;   /* the carrier flushes */
    bool is_flushing;  /* the owner waits for on_flush */
    bool is_finishing; /* half-close once all is written */
    bool is_reading;
} tunnel_t;

static tunnel_t *tunnel_of(hws_socket_t *socket)
{
    return (tunnel_t *)(void *)socket;
}

void hws_tunnels_init(hws_tunnels_t *tunnels, hws_loop_t *loop)
{
    *tunnels = (hws_tunnels_t){.loop = loop};
}

void hws_tunnels_dispose(hws_tunnels_t *tunnels)
{
    hws_buffer_dispose(&tunnels->plain);
    hws_buffer_dispose(&tunnels->cipher);
}

/* ---- out ---- */

static int flush_carrier(tunnel_t *tunnel)
{
    int rc = tunnel->carrier->ops->flush(tunnel->carrier, &tunnel->waiting);

    tunnel->is_blocked = rc == HWS_OK;
    return rc;
}

/* Hands over what was held back, with the cipher bytes behind it. */
static int push_held(tunnel_t *tunnel)
{
    hws_buffer_t *cipher = &tunnel->tunnels->cipher;
    size_t sent;
    int rc = tunnel->error;

    tunnel->is_holding = false;
    hws_list_remove(&tunnel->turned.link);
    if (rc == HWS_OK && !hws_buffer_is_empty(cipher))
        rc = hws_buffer_append(&tunnel->waiting, hws_buffer_bytes(cipher), hws_buffer_size(cipher));
    hws_buffer_clear(cipher);
    if (rc == HWS_OK)
        rc = tunnel->carrier->ops->send(tunnel->carrier, hws_buffer_bytes(&tunnel->waiting),
                                        hws_buffer_size(&tunnel->waiting), &sent);
    if (rc == HWS_OK) {
        hws_buffer_consume(&tunnel->waiting, sent);
        if (!hws_buffer_is_empty(&tunnel->waiting))
            rc = flush_carrier(tunnel);
    }
    if (!tunnel->is_blocked)
        hws_buffer_dispose(&tunnel->waiting);
    tunnel->error = rc;
    return rc;
}

/* Hands the cipher bytes over as far as the carrier takes them, and keeps the rest. */
static int push(tunnel_t *tunnel)
{
    hws_buffer_t *cipher = &tunnel->tunnels->cipher;
    size_t size = hws_buffer_size(cipher);
    size_t sent = 0;
    int rc = tunnel->error;

    if (tunnel->is_holding)
        return push_held(tunnel);
    if (rc == HWS_OK && size > 0 && !tunnel->is_blocked)
        rc = tunnel->carrier->ops->send(tunnel->carrier, hws_buffer_bytes(cipher), size, &sent);
    if (rc == HWS_OK && sent < size)
        rc = hws_buffer_append(&tunnel->waiting, hws_buffer_bytes(cipher) + sent, size - sent);
    hws_buffer_clear(cipher);
    if (rc == HWS_OK && !tunnel->is_blocked && !hws_buffer_is_empty(&tunnel->waiting))
        rc = flush_carrier(tunnel);
    tunnel->error = rc;
    return rc;
}

static int encrypt(tunnel_t *tunnel, const char *data, size_t size)
{
    int rc = hws_tls_write(tunnel->tls, (hws_slice_t){data, size}, &tunnel->tunnels->cipher);

    /* Half a record would break all that follow. */
    if (rc != HWS_OK) {
        hws_buffer_clear(&tunnel->tunnels->cipher);
        tunnel->error = rc;
        return rc;
    }
    return push(tunnel);
}

static int finish_now(tunnel_t *tunnel)
{
    int rc = tunnel->error;

    if (tunnel->is_blocked || rc != HWS_OK)
        return rc;
    tunnel->is_finishing = false;
    return tunnel->carrier->ops->finish(tunnel->carrier);
}

/* The owner is told of a flush that has ended; that may close the tunnel. */
static void end_flush(tunnel_t *tunnel, int status, hws_time_t now)
{
    hws_buffer_dispose(&tunnel->rest);
    tunnel->is_flushing = false;
    tunnel->events->on_flush(tunnel->owner, status, now);
}

static void continue_flush(tunnel_t *tunnel, hws_time_t now)
{
    int rc = tunnel->error;

    while (rc == HWS_OK && !tunnel->is_blocked && !hws_buffer_is_empty(&tunnel->rest)) {
        size_t size = hws_buffer_size(&tunnel->rest);

        if (size > PIECE)
            size = PIECE;
        rc = encrypt(tunnel, hws_buffer_bytes(&tunnel->rest), size);
        hws_buffer_consume(&tunnel->rest, size);
    }
    if (rc != HWS_OK || !tunnel->is_blocked)
        end_flush(tunnel, rc, now);
    else
        tunnel->events->on_flush(tunnel->owner, HWS_AGAIN, now);
}

static void on_carrier_flush(void *owner, int status, hws_time_t now)
{
    tunnel_t *tunnel = owner;

    hws_loop_enter(tunnel->tunnels->loop);
    if (status == HWS_AGAIN) {
        /* Bytes that wait encrypted here were taken long ago: that they move is news all the same. */
        if (tunnel->state == OPEN)
            tunnel->events->on_flush(tunnel->owner, HWS_AGAIN, now);
        return;
    }
    tunnel->is_blocked = false;
    if (status == HWS_OK && !hws_buffer_is_empty(&tunnel->waiting))
        status = flush_carrier(tunnel);
    if (status != HWS_OK)
        tunnel->error = status;
    if (tunnel->is_flushing)
        continue_flush(tunnel, now);
    else if (tunnel->is_finishing)
        (void)finish_now(tunnel);
}

/* ---- in ---- */

static void fail(tunnel_t *tunnel, int code, hws_time_t now)
{
    tunnel->state = FAILED;
    tunnel->carrier->ops->read(tunnel->carrier, false);
    tunnel->events->on_connect(tunnel->owner, code, now);
}

static void end(tunnel_t *tunnel, int status, hws_time_t now)
{
    tunnel->state = ENDED;
    tunnel->carrier->ops->read(tunnel->carrier, false);
    tunnel->events->on_end(tunnel->owner, status, now);
}

/* Where the last word of a handshake is ours, it leaves with what the owner says first, in one
 * system call. */
static int hold(tunnel_t *tunnel)
{
    hws_buffer_t *cipher = &tunnel->tunnels->cipher;

    if (tunnel->error != HWS_OK || tunnel->is_blocked || hws_buffer_is_empty(cipher) ||
        hws_buffer_append(&tunnel->waiting, hws_buffer_bytes(cipher), hws_buffer_size(cipher)) !=
            HWS_OK)
        return push(tunnel);
    hws_buffer_clear(cipher);
    tunnel->is_holding = true;
    return HWS_OK;
}

static void open_it(tunnel_t *tunnel, hws_time_t now)
{
    tunnel->state = OPEN;
    tunnel->events->on_connect(tunnel->owner, HWS_OK, now);
    /* Only now, so that what the owner has gathered for the end of the turn goes before. */
    if (tunnel->is_holding)
        hws_loop_defer_to_turn(tunnel->tunnels->loop, &tunnel->turned);
}

static void on_turned(hws_deferred_t *deferred)
{
    tunnel_t *tunnel = HWS_CONTAINER(deferred, tunnel_t, turned);

    if (tunnel->is_holding)
        (void)push_held(tunnel);
}

static void shake(tunnel_t *tunnel, hws_slice_t *in, hws_time_t now)
{
    int rc = hws_tls_handshake(tunnel->tls, in, &tunnel->tunnels->cipher);

    if (rc == HWS_OK && hold(tunnel) != HWS_ERR_NOMEM) {
        open_it(tunnel, now);
        return;
    }
    /* Of a write that fails the peer's own word, an alert perhaps, tells more: it is still read. */
    if (push(tunnel) == HWS_ERR_NOMEM)
        rc = HWS_ERR_NOMEM;
    if (rc != HWS_AGAIN)
        fail(tunnel, rc, now);
}

static void keep_session(tunnel_t *tunnel, hws_time_t now)
{
    hws_tls_session_t *session = hws_tls_take_session(tunnel->tls);

    if (session != NULL)
        tunnel->keep(tunnel->keeper, session, now);
}

static void decrypt(tunnel_t *tunnel, hws_slice_t in, hws_time_t now)
{
    hws_buffer_t *plain = &tunnel->tunnels->plain;
    int rc;

    hws_buffer_clear(plain);
    rc = hws_tls_read(tunnel->tls, &in, plain, &tunnel->tunnels->cipher);
    (void)push(tunnel);
    if (tunnel->keep != NULL && (rc == HWS_OK || rc == HWS_END))
        keep_session(tunnel, now);
    if (!hws_buffer_is_empty(plain))
        tunnel->events->on_bytes(tunnel->owner, hws_buffer_bytes(plain), hws_buffer_size(plain),
                                 now);
    if (rc != HWS_OK && tunnel->state == OPEN)
        end(tunnel, rc == HWS_END ? HWS_ERR_EOF : rc, now);
}

static void on_carrier_bytes(void *owner, const char *bytes, size_t size, hws_time_t now)
{
    tunnel_t *tunnel = owner;
    hws_slice_t in = {bytes, size};

    hws_loop_enter(tunnel->tunnels->loop);
    if (tunnel->state == SHAKING)
        shake(tunnel, &in, now);
    if (tunnel->state != OPEN || in.size == 0)
        return;
    assert(tunnel->is_reading);
    decrypt(tunnel, in, now);
}

static void on_carrier_end(void *owner, int status, hws_time_t now)
{
    tunnel_t *tunnel = owner;

    hws_loop_enter(tunnel->tunnels->loop);
    if (tunnel->state == SHAKING)
        fail(tunnel, HWS_ERR_TLS_EOF, now);
    else if (tunnel->state == OPEN)
        end(tunnel, status == HWS_ERR_EOF ? HWS_ERR_TRUNCATED : status, now);
}

static const hws_socket_events_t carrier_events = {NULL, on_carrier_bytes, on_carrier_end,
                                                   on_carrier_flush};

/* ---- as a socket ---- */

static void tunnel_give(hws_socket_t *socket, const hws_socket_events_t *events, void *owner)
{
    tunnel_t *tunnel = tunnel_of(socket);

    tunnel->events = events;
    tunnel->owner = owner;
}

static void tunnel_read(hws_socket_t *socket, bool on)
{
    tunnel_t *tunnel = tunnel_of(socket);

    tunnel->is_reading = on;
    if (tunnel->state == OPEN)
        tunnel->carrier->ops->read(tunnel->carrier, on);
}

static int tunnel_send(hws_socket_t *socket, const char *data, size_t size, size_t *sent)
{
    tunnel_t *tunnel = tunnel_of(socket);
    int rc = tunnel->error;

    assert(tunnel->state == OPEN || tunnel->state == ENDED);
    assert(!tunnel->is_flushing);
    *sent = 0;
    if (rc == HWS_OK && !tunnel->is_blocked && (rc = encrypt(tunnel, data, size)) == HWS_OK)
        *sent = size;
    return rc;
}

static int tunnel_flush(hws_socket_t *socket, hws_buffer_t *rest)
{
    tunnel_t *tunnel = tunnel_of(socket);

    assert(!tunnel->is_flushing);
    tunnel->rest = *rest;
    *rest = (hws_buffer_t){0};
    tunnel->is_flushing = true;
    if (!tunnel->is_blocked)
        hws_loop_defer(tunnel->tunnels->loop, &tunnel->deferred);
    return HWS_OK;
}

static int tunnel_finish(hws_socket_t *socket)
{
    tunnel_t *tunnel = tunnel_of(socket);

    hws_tls_close(tunnel->tls, &tunnel->tunnels->cipher);
    tunnel->is_finishing = true;
    return push(tunnel) == HWS_OK ? finish_now(tunnel) : tunnel->error;
}

static int tunnel_peek(hws_socket_t *socket)
{
    tunnel_t *tunnel = tunnel_of(socket);

    return tunnel->state == OPEN ? tunnel->carrier->ops->peek(tunnel->carrier) : HWS_ERR_EOF;
}

static hws_time_t tunnel_rtt(hws_socket_t *socket)
{
    hws_socket_t *carrier = tunnel_of(socket)->carrier;

    return carrier->ops->rtt != NULL ? carrier->ops->rtt(carrier) : 0;
}

static void tunnel_close(hws_socket_t *socket, bool reset)
{
    tunnel_t *tunnel = tunnel_of(socket);

    assert(tunnel->state != CLOSED);
    if (!reset && (tunnel->state == OPEN || tunnel->state == ENDED) && !tunnel->is_blocked) {
        hws_tls_close(tunnel->tls, &tunnel->tunnels->cipher);
        (void)push(tunnel);
    }
    tunnel->state = CLOSED;
    tunnel->is_holding = false;
    hws_list_remove(&tunnel->turned.link);
    tunnel->carrier->ops->close(tunnel->carrier, reset);
    hws_tls_destroy(tunnel->tls);
    hws_free(tunnel->keeper);
    hws_buffer_dispose(&tunnel->waiting);
    hws_buffer_dispose(&tunnel->rest);
    /* An input of it may be on the stack. The tunnels themselves may be gone by then. */
    hws_loop_defer(tunnel->tunnels->loop, &tunnel->deferred);
}

static const hws_socket_ops_t ops = {
    .give = tunnel_give,
    .read = tunnel_read,
    .send = tunnel_send,
    .flush = tunnel_flush,
    .finish = tunnel_finish,
    .peek = tunnel_peek,
    .close = tunnel_close,
    .rtt = tunnel_rtt,
};

static void on_rest(hws_deferred_t *deferred)
{
    tunnel_t *tunnel = HWS_CONTAINER(deferred, tunnel_t, deferred);

    if (tunnel->state == CLOSED)
        hws_free(tunnel);
    else if (tunnel->is_flushing && !tunnel->is_blocked)
        continue_flush(tunnel, hws_loop_now(tunnel->tunnels->loop));
}

int hws_tunnel_create(hws_tunnels_t *tunnels, hws_socket_t *carrier, hws_tls_t *tls,
                      const hws_socket_events_t *events, void *owner, hws_socket_t **out)
{
    tunnel_t *tunnel = hws_zalloc(sizeof(*tunnel));
    hws_slice_t nothing = {NULL, 0};

    if (tunnel == NULL)
        return HWS_ERR_NOMEM;
    tunnel->base.ops = &ops;
    tunnel->tunnels = tunnels;
    tunnel->carrier = carrier;
    tunnel->tls = tls;
    tunnel->events = events;
    tunnel->owner = owner;
    hws_deferred_init(&tunnel->deferred, on_rest);
    hws_deferred_init(&tunnel->turned, on_turned);
    /* Our hello. What goes wrong with it, memory apart, shows when the answer does not come. */
    if (hws_tls_handshake(tls, &nothing, &tunnels->cipher) != HWS_AGAIN ||
        push(tunnel) == HWS_ERR_NOMEM) {
        hws_buffer_clear(&tunnels->cipher);
        hws_buffer_dispose(&tunnel->waiting);
        hws_free(tunnel);
        return HWS_ERR_NOMEM;
    }
    carrier->ops->give(carrier, &carrier_events, tunnel);
    carrier->ops->read(carrier, true);
    *out = &tunnel->base;
    return HWS_OK;
}

void hws_tunnel_keep_sessions(hws_socket_t *socket, hws_tunnel_keep_t *keep, void *context)
{
    tunnel_t *tunnel = tunnel_of(socket);

    assert(socket->ops == &ops && tunnel->keep == NULL);
    tunnel->keep = keep;
    tunnel->keeper = context;
}

hws_tls_t *hws_tunnel_tls(hws_socket_t *socket)
{
    return socket->ops == &ops ? tunnel_of(socket)->tls : NULL;
}
