#include "bounds.h"
#include "dispatch.h"
#include "feedback.h"
#include "opening.h"
#include "origins.h"
#include "peer.h"
#include "pool/connection.h"
#include "protocol.h"
#include "upstream.h"

#include <hawser/operations.h>

#include <string.h>

static hws_peer_t *peer_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_peer_t, link);
}

static hws_time_t now_of(const hws_peer_t *peer)
{
    return hws_loop_now(peer->upstream->manager->loop);
}

/* ---- who is meant ---- */

static bool is_same(hws_slice_t text, const char *string)
{
    return text.size == strlen(string) && memcmp(text.data, string, text.size) == 0;
}

static int find_by_id(hws_upstream_t *upstream, hws_slice_t id, hws_peer_t **out, hws_error_t *why)
{
    HWS_LIST_EACH(link, &upstream->peers.list) {
        if (is_same(id, peer_of(link)->id)) {
            *out = peer_of(link);
            return HWS_OK;
        }
    }
    return hws_explain(why, HWS_ERR_INVALID, "upstream %.40s has no peer %.*s", upstream->name,
                       (int)(id.size < 40 ? id.size : 40), id.data);
}

/* Those at the place of `wanted`; `*out` is one of them. */
static uint32_t count_at(const hws_manager_t *manager, const hws_peer_t *wanted, bool any_scheme,
                         hws_peer_t **out)
{
    uint32_t count = 0;

    HWS_LIST_EACH(link, &manager->upstreams) {
        const hws_upstream_t *upstream = HWS_CONTAINER(link, const hws_upstream_t, link);

        HWS_LIST_EACH(peer_link, &upstream->peers.list) {
            hws_peer_t *peer = peer_of(peer_link);

            if (strcmp(peer->address_text, wanted->address_text) != 0)
                continue;
            if (!any_scheme && (peer->is_secure != wanted->is_secure ||
                                peer->is_http != wanted->is_http || peer->is_h2c != wanted->is_h2c))
                continue;
            *out = peer;
            count++;
        }
    }
    return count;
}

static int find_implicit(hws_manager_t *manager, hws_slice_t url, bool is_http, hws_peer_t **out,
                         hws_error_t *why)
{
    hws_upstream_t *upstream = NULL;
    hws_slice_t target;
    int rc;

    if (is_http)
        rc = hws_manager_origin(manager, url, &upstream, &target, why);
    else
        rc = hws_manager_make_origin(manager, url, &upstream, why);
    if (rc == HWS_OK)
        *out = peer_of(upstream->peers.list.next);
    return rc;
}

static int find_by_place(hws_manager_t *manager, hws_slice_t url, bool any_scheme, hws_peer_t **out,
                         hws_error_t *why)
{
    hws_peer_options_t options = {.url = url};
    hws_peer_t *wanted;
    hws_peer_t *found = NULL;
    uint32_t count;
    int rc = hws_peer_create(&options, &wanted, why);

    if (rc != HWS_OK)
        return rc;
    count = count_at(manager, wanted, any_scheme, &found);
    if (count > 1)
        rc = hws_explain(why, HWS_ERR_INVALID, "%.60s: several upstreams have it, say which one's",
                         wanted->address_text);
    else if (count == 0)
        rc = find_implicit(manager, url, wanted->is_http, &found, why);
    hws_peer_destroy(wanted);
    if (rc == HWS_OK)
        *out = found;
    return rc;
}

static bool has_scheme(hws_slice_t text)
{
    return memmem(text.data, text.size, "://", 3) != NULL ||
           (text.size > 5 && memcmp(text.data, "unix:", 5) == 0);
}

int hws_manager_find_peer(hws_manager_t *manager, hws_slice_t text, hws_peer_t **out,
                          hws_error_t *why)
{
    const char *slash = memrchr(text.data, '/', text.size);
    char url[7 + 256] = "http://";
    hws_upstream_t *upstream = NULL;
    hws_slice_t name = {text.data, slash != NULL ? (size_t)(slash - text.data) : 0};

    if (manager->is_closed)
        return HWS_ERR_CLOSED;
    if (slash != NULL)
        upstream = hws_manager_find(manager, name);
    if (upstream != NULL)
        return find_by_id(upstream, (hws_slice_t){slash + 1, text.size - name.size - 1}, out, why);
    if (has_scheme(text))
        return find_by_place(manager, text, false, out, why);
    if (slash != NULL)
        return hws_explain(why, HWS_ERR_INVALID, "there is no upstream %.*s",
                           (int)(name.size < 60 ? name.size : 60), name.data);
    if (text.size > sizeof(url) - 7)
        return hws_explain(why, HWS_ERR_INVALID, "no address has so many bytes");
    memcpy(url + 7, text.data, text.size);
    return find_by_place(manager, (hws_slice_t){url, text.size + 7}, true, out, why);
}

hws_upstream_t *hws_peer_upstream(const hws_peer_t *peer)
{
    return peer->upstream;
}

/* ---- how it is ---- */

#define NAME(symbol, word) word,
static const char *const state_names[] = {HWS_PEER_STATE_LIST(NAME)};
static const char *const link_names[] = {HWS_LINK_LIST(NAME)};
#undef NAME

const char *hws_peer_state_name(hws_peer_state_t state)
{
    return state_names[state];
}

const char *hws_link_name(hws_link_t status)
{
    return link_names[status];
}

static bool is_leaving(const hws_peer_t *peer)
{
    const hws_upstream_t *upstream = peer->upstream;

    return peer->pool.is_retired || upstream->owner.is_draining || upstream->manager->is_draining;
}

void hws_peer_view(hws_peer_t *peer, hws_peer_view_t *out)
{
    const hws_upstream_t *upstream = peer->upstream;
    hws_time_t now = now_of(peer);
    hws_breaker_state_t breaker = hws_breaker_state(&peer->breaker, &upstream->breaker, now);
    hws_peer_state_t state = HWS_PEER_HEALTHY;

    if (is_leaving(peer))
        state = HWS_PEER_DRAINING;
    else if (breaker == HWS_BREAKER_OPEN)
        state = HWS_PEER_UNHEALTHY;
    *out = (hws_peer_view_t){
        .id = peer->id,
        .address = peer->address_text,
        .locality = peer->locality,
        .weight = peer->candidate.weight,
        .priority = peer->candidate.priority,
        .in_flight = peer->pool.in_flight,
        .connections = peer->pool.open + peer->pool.dialing,
        .open = peer->pool.open,
        .idle = peer->pool.idle,
        .answered = peer->answered,
        .latency = (hws_time_t)hws_candidate_latency(&peer->candidate, now),
        .p50 = (hws_time_t)hws_recent_quantile(&peer->recent, .5, now),
        .p99 = (hws_time_t)hws_recent_quantile(&peer->recent, .99, now),
        .success_rate = hws_score_success_rate(&peer->score),
        .score =
            hws_score_value(&peer->score, hws_peer_set_latency_beside(&upstream->peers, peer), now),
        .state = state,
        .breaker = breaker,
        .since = hws_breaker_since(&peer->breaker, &upstream->breaker, now),
        .opened = peer->opened};
}

hws_link_t hws_peer_status(const hws_peer_t *peer)
{
    if (peer->pool.open > 0)
        return is_leaving(peer) ? HWS_LINK_DISCONNECTING : HWS_LINK_CONNECTED;
    if (peer->pool.dialing > 0)
        return HWS_LINK_CONNECTING;
    if (peer->has_failed || hws_breaker_state(&peer->breaker, &peer->upstream->breaker,
                                              now_of(peer)) == HWS_BREAKER_OPEN)
        return HWS_LINK_FAILED;
    return HWS_LINK_DISCONNECTED;
}

static hws_connection_info_t info_of(const hws_connection_t *connection, hws_time_t now)
{
    static const char *const spoken[HWS_PROTOCOL_COUNT] = {[HWS_PROTOCOL_HTTP1] = "http/1.1",
                                                           [HWS_PROTOCOL_H2] = "h2",
                                                           [HWS_PROTOCOL_RAW] = "raw",
                                                           [HWS_PROTOCOL_YAMUX] = "yamux"};
    hws_socket_t *socket = connection->socket;
    hws_tls_t *tls = hws_tunnel_tls(socket);

    return (hws_connection_info_t){.age = now - connection->created_at,
                                   .exchanges = connection->served,
                                   .bytes_in = connection->bytes_in,
                                   .bytes_out = connection->outbox.accepted,
                                   .protocol = spoken[connection->protocol],
                                   .tls = tls != NULL ? hws_tls_version(tls) : NULL,
                                   .cipher = tls != NULL ? hws_tls_cipher(tls) : NULL,
                                   .rtt = socket->ops->rtt != NULL ? socket->ops->rtt(socket) : 0,
                                   .is_idle = connection->state == HWS_CONNECTION_READY &&
                                              connection->stream_count == 0};
}

size_t hws_peer_connections(const hws_peer_t *peer, hws_connection_info_t *out, size_t capacity)
{
    const hws_list_t *lists[] = {&peer->pool.ready, &peer->pool.others};
    hws_time_t now = now_of(peer);
    size_t count = 0;
    size_t i;

    for (i = 0; i < 2; i++) {
        HWS_LIST_EACH(link, lists[i]) {
            if (count < capacity)
                out[count] = info_of(HWS_CONTAINER(link, const hws_connection_t, link), now);
            count++;
        }
    }
    return count;
}

/* ---- what is done to it ---- */

void hws_peer_observe(hws_peer_t *peer, const hws_observation_t *seen)
{
    hws_time_t now = now_of(peer);
    hws_metrics_t *metrics = peer->pool.metrics;

    if (seen->status == HWS_LINK_CONNECTED)
        hws_feedback_observe(peer, HWS_OUTCOME_SUCCESS, seen->response_time, now);
    else if (seen->status == HWS_LINK_FAILED)
        hws_feedback_observe(peer, HWS_OUTCOME_FAILURE, seen->response_time, now);
    if (metrics == NULL && peer->upstream->manager->is_measuring)
        metrics = peer->pool.metrics = hws_metrics_create(peer->upstream->manager->since);
    hws_metrics_took(metrics, seen->bytes, now);
    if (metrics != NULL && seen->response_time > 0)
        hws_histogram_record(&metrics->total, (uint64_t)seen->response_time);
}

void hws_peer_disconnect(hws_peer_t *peer)
{
    hws_upstream_t *upstream = peer->upstream;
    hws_time_t now = now_of(peer);
    hws_call_t *call;
    hws_list_t *link;

    /* Nothing is begun for those who wait, or it would never end. */
    upstream->is_cutting = true;
    while ((call = hws_lanes_first(&peer->bound)) != NULL)
        call->ops->abort(call, HWS_ERR_CLOSED, now);
    while ((link = hws_list_first(&peer->openings)) != NULL)
        hws_opening_cancel(HWS_CONTAINER(link, hws_opening_t, link), HWS_ERR_CLOSED, now);
    while ((link = hws_list_first(&peer->pool.ready)) != NULL ||
           (link = hws_list_first(&peer->pool.others)) != NULL)
        hws_connection_close(HWS_CONTAINER(link, hws_connection_t, link), HWS_CLOSE_SHUTDOWN,
                             HWS_ERR_CLOSED, now);
    upstream->is_cutting = false;
    upstream->owner.on_room(&upstream->owner, NULL, now);
}

void hws_peer_force_breaker(hws_peer_t *peer, hws_breaker_force_t force)
{
    hws_feedback_force(peer, force, now_of(peer));
}

/* ---- limits ---- */

void hws_manager_limits(const hws_manager_t *manager, hws_limits_t *out)
{
    *out = manager->limits;
}

/* What an upstream had from its manager it has from it again. */
#define FOLLOW(field)                                                                              \
    if (own.field == before->field)                                                                \
    own.field = after->field

static hws_limits_t follow(hws_limits_t own, const hws_limits_t *before, const hws_limits_t *after)
{
    FOLLOW(connections);
    FOLLOW(per_peer);
    FOLLOW(dials);
    FOLLOW(pending);
    FOLLOW(streams);
    FOLLOW(header);
    FOLLOW(body);
    FOLLOW(buffer);
    return own;
}

int hws_manager_set_limits(hws_manager_t *manager, uint32_t max_connections,
                           const hws_limits_t *limits, hws_error_t *why)
{
    hws_time_t now = hws_loop_now(manager->loop);
    hws_limits_t before = manager->limits;
    int rc;

    if (manager->is_closed)
        return HWS_ERR_CLOSED;
    if ((rc = hws_limits_check(limits, why)) != HWS_OK ||
        (rc = hws_manager_set_max(manager, max_connections, why, now)) != HWS_OK)
        return rc;
    manager->limits = *limits;
    HWS_LIST_EACH(link, &manager->upstreams) {
        hws_upstream_t *upstream = HWS_CONTAINER(link, hws_upstream_t, link);
        hws_limits_t own = follow(upstream->owner.rules.limits, &before, limits);

        hws_upstream_set_limits(upstream, &own, now);
    }
    hws_manager_note_room(manager);
    return HWS_OK;
}
