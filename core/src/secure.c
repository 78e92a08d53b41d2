#include "secure.h"

#include "base/memory.h"
#include "upstream.h"

#include <stdio.h>
#include <string.h>

static hws_session_key_t key_of(const hws_shaking_t *shaking)
{
    return (hws_session_key_t){
        .config = hws_tls_config_id(shaking->config), .name = shaking->name, .peer = shaking->peer};
}

static void let_go(hws_shaking_t *shaking)
{
    hws_tls_config_release(shaking->config);
    shaking->config = NULL;
    shaking->tunnel = NULL;
}

/* What a lease brings of its own is used once: nothing made with it could be found again. */
static int take_config(hws_shaking_t *shaking, const hws_peer_t *peer,
                       const hws_tls_options_t *options, hws_error_t *why)
{
    shaking->keeps_session = options == NULL;
    if (options != NULL)
        return hws_tls_config_for(options, NULL, &shaking->config, why);
    return hws_upstream_tls(shaking->upstream, peer, &shaking->config, why);
}

static int begin(hws_shaking_t *shaking, hws_socket_t *socket, const hws_socket_events_t *events,
                 void *owner, hws_time_t now)
{
    hws_manager_t *manager = shaking->upstream->manager;
    hws_session_key_t key = key_of(shaking);
    const hws_tls_session_t *session =
        shaking->keeps_session ? hws_sessions_lend(&manager->sessions, &key, now) : NULL;
    hws_tls_t *tls;
    int rc = hws_tls_create(shaking->config, shaking->name, session, &tls);

    if (rc != HWS_OK)
        return rc;
    rc = hws_tunnel_create(&manager->tunnels, socket, tls, events, owner, &shaking->tunnel);
    if (rc != HWS_OK)
        hws_tls_destroy(tls);
    return rc;
}

int hws_shaking_start(hws_shaking_t *shaking, hws_peer_t *peer, const hws_tls_options_t *options,
                      hws_socket_t *socket, const hws_socket_events_t *events, void *owner,
                      hws_time_t now, hws_error_t *why)
{
    const char *name = options != NULL && options->server_name != NULL
                           ? options->server_name
                           : hws_upstream_tls_name(peer->upstream, peer);
    size_t size = strlen(name) + 1;
    int rc;

    if (size > sizeof(shaking->name))
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "server_name: at most %d bytes",
                           (int)sizeof(shaking->name) - 1);
    shaking->upstream = peer->upstream;
    memcpy(shaking->name, name, size);
    snprintf(shaking->peer, sizeof(shaking->peer), "%s", peer->id);
    if ((rc = take_config(shaking, peer, options, why)) != HWS_OK)
        return rc;
    if ((rc = begin(shaking, socket, events, owner, now)) != HWS_OK)
        let_go(shaking);
    return rc;
}

/* Where a tunnel's sessions go, when the handshake that was verified is long over. */
typedef struct {
    hws_sessions_t *sessions;
    uint64_t config;
    size_t peer; /* where it begins */
    char names[];
} keeper_t;

static void keep_later(void *context, hws_tls_session_t *session, hws_time_t now)
{
    keeper_t *keeper = context;
    hws_session_key_t key = {
        .config = keeper->config, .name = keeper->names, .peer = keeper->names + keeper->peer};

    hws_sessions_put(keeper->sessions, &key, session, hws_tls_session_is_single_use(session), now);
}

/* Out of memory, nothing of this connection will be resumed. */
static void keep_what_comes(hws_shaking_t *shaking)
{
    size_t name = strlen(shaking->name) + 1;
    size_t peer = strlen(shaking->peer) + 1;
    keeper_t *keeper = hws_alloc(sizeof(*keeper) + name + peer);

    if (keeper == NULL)
        return;
    keeper->sessions = &shaking->upstream->manager->sessions;
    keeper->config = hws_tls_config_id(shaking->config);
    keeper->peer = name;
    memcpy(keeper->names, shaking->name, name);
    memcpy(keeper->names + name, shaking->peer, peer);
    hws_tunnel_keep_sessions(shaking->tunnel, keep_later, keeper);
}

static void keep_session(hws_shaking_t *shaking, hws_tls_t *tls, hws_time_t now)
{
    hws_session_key_t key = key_of(shaking);
    hws_tls_session_t *session = hws_tls_take_session(tls);

    if (session != NULL)
        hws_sessions_put(&shaking->upstream->manager->sessions, &key, session,
                         hws_tls_session_is_single_use(session), now);
    else if (strcmp(hws_tls_version(tls), "1.2") != 0)
        keep_what_comes(shaking);
}

bool hws_shaking_end(hws_shaking_t *shaking, int status, char *detail, hws_time_t now)
{
    hws_upstream_t *upstream = shaking->upstream;
    hws_tls_t *tls = hws_tunnel_tls(shaking->tunnel);
    bool is_resumed = status == HWS_OK && hws_tls_is_resumed(tls);

    snprintf(detail, HWS_ERROR_DETAIL_MAX + 1, "%s", status != HWS_OK ? hws_tls_detail(tls) : "");
    if (status != HWS_OK) {
        hws_session_key_t key = key_of(shaking);

        /* Should the session have been what the peer did not like, the next one goes without. */
        hws_sessions_forget(&upstream->manager->sessions, &key);
    } else {
        upstream->stats.resumed += is_resumed;
        upstream->stats.handshakes += !is_resumed;
        if (shaking->keeps_session)
            keep_session(shaking, tls, now);
    }
    let_go(shaking);
    return is_resumed;
}

void hws_shaking_forget(hws_shaking_t *shaking)
{
    if (shaking->config != NULL)
        let_go(shaking);
}

void hws_shaking_cancel(hws_shaking_t *shaking)
{
    if (shaking->config == NULL)
        return;
    shaking->tunnel->ops->close(shaking->tunnel, true);
    let_go(shaking);
}
