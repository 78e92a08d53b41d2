#include <hawser/session.h>

#include "base/memory.h"
#include "lease.h"
#include "peer.h"
#include "upstream.h"

/* Among what its upstream has in flight, it is a call: a drain waits for it, and who closes aborts it. */
struct hws_session {
    hws_keeper_t keeper;
    hws_session_options_t options;
    int verdict;        /* HWS_AGAIN while it lasts; HWS_END; or why it is over */
    bool wants_arrival; /* who would accept, or open, was told to wait */
    bool wants_room;
    hws_call_t call;
};

static hws_session_t *of_keeper(hws_keeper_t *keeper)
{
    return HWS_CONTAINER(keeper, hws_session_t, keeper);
}

static hws_session_t *of_call(hws_call_t *call)
{
    return HWS_CONTAINER(call, hws_session_t, call);
}

static hws_loop_t *loop_of(const hws_session_t *session)
{
    return session->call.upstream->manager->loop;
}

static void tell(hws_session_t *session)
{
    session->wants_arrival = session->wants_room = false;
    hws_loop_defer(loop_of(session), &session->call.deferred);
}

static void on_news(hws_keeper_t *keeper)
{
    hws_session_t *session = of_keeper(keeper);
    const hws_codec_t *codec = keeper->connection->codec;

    if ((session->wants_arrival && codec->unaccepted > 0) ||
        (session->wants_room && (codec->room > 0 || codec->is_last)))
        tell(session);
}

static void on_lost(hws_keeper_t *keeper, int code, hws_time_t now)
{
    hws_session_t *session = of_keeper(keeper);

    session->verdict = code == HWS_OK ? HWS_END : code;
    if (code != HWS_OK)
        hws_call_fail(&session->call, code, NULL, now);
    hws_call_over(&session->call);
    tell(session);
}

static void lose(hws_session_t *session, int code, hws_time_t now)
{
    hws_connection_t *connection = session->keeper.connection;
    hws_pool_owner_t *owner;

    if (connection == NULL)
        return;
    owner = connection->pool->owner;
    hws_connection_close(connection, HWS_CLOSE_LAST, code, now);
    owner->on_room(owner, NULL, now);
}

static void on_abort(hws_call_t *call, int code, hws_time_t now)
{
    lose(of_call(call), code, now);
}

static const hws_call_ops_t call_ops = {.abort = on_abort};

static void deliver(hws_deferred_t *deferred)
{
    hws_session_t *session = HWS_CONTAINER(deferred, hws_session_t, call.deferred);

    session->options.on_news(session, session->options.user);
}

static void dispose(hws_session_t *session)
{
    hws_call_dispose(&session->call);
    hws_free(session);
}

int hws_session_create(hws_lease_t *lease, const hws_session_options_t *options,
                       hws_session_t **out)
{
    hws_upstream_t *upstream = lease->call.upstream;
    hws_session_t *session = hws_zalloc(sizeof(*session));
    int rc;

    if (session == NULL)
        return HWS_ERR_NOMEM;
    session->keeper = (hws_keeper_t){.on_news = on_news, .on_lost = on_lost};
    session->options = *options;
    session->verdict = HWS_AGAIN;
    session->call.is_uncounted = true;
    session->call.state = HWS_CALL_RUNNING;
    session->call.error.phase = HWS_PHASE_BODY;
    hws_deferred_init(&session->call.deferred, deliver);
    hws_call_init(&session->call, &call_ops, upstream, HWS_NEVER,
                  hws_loop_recent(upstream->manager->loop));
    hws_call_set_peer(&session->call, lease->call.peer);
    rc = hws_lease_hand_over(lease, options->is_server ? HWS_YAMUX_SERVER : HWS_YAMUX_CLIENT,
                             &session->keeper);
    if (rc == HWS_OK) {
        *out = session;
        return HWS_OK;
    }
    hws_call_over(&session->call);
    dispose(session);
    return rc;
}

void hws_session_close(hws_session_t *session)
{
    if (session == NULL)
        return;
    lose(session, HWS_ERR_CLOSED, hws_loop_now(loop_of(session)));
    dispose(session);
}

int hws_session_accept(hws_session_t *session, const hws_lease_options_t *callbacks,
                       hws_lease_t **out)
{
    hws_connection_t *connection = session->keeper.connection;

    if (connection == NULL)
        return session->verdict;
    if (connection->codec->unaccepted == 0) {
        session->wants_arrival = true;
        return HWS_AGAIN;
    }
    return hws_lease_accept_on(connection, callbacks, out);
}

int hws_session_open(hws_session_t *session, const hws_lease_options_t *callbacks,
                     hws_lease_t **out)
{
    hws_connection_t *connection = session->keeper.connection;

    if (connection == NULL)
        return session->verdict;
    if (connection->codec->is_last)
        return HWS_ERR_GOAWAY;
    if (connection->codec->room == 0) {
        session->wants_room = true;
        return HWS_AGAIN;
    }
    return hws_lease_open_on(connection, callbacks, out);
}

uint32_t hws_session_streams(const hws_session_t *session)
{
    const hws_connection_t *connection = session->keeper.connection;

    return connection != NULL ? connection->stream_count : 0;
}

bool hws_session_is_over(const hws_session_t *session)
{
    return session->verdict != HWS_AGAIN;
}

const hws_error_t *hws_session_error(const hws_session_t *session)
{
    return hws_call_error(&session->call);
}

const char *hws_session_peer(const hws_session_t *session)
{
    return session->call.peer->id;
}

hws_upstream_t *hws_session_upstream(const hws_session_t *session)
{
    return session->call.upstream;
}
