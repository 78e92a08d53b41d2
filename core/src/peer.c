#include "peer.h"

#include "manager.h"
#include "names.h"
#include "pool/connection.h"
#include "upstream.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LONGEST_ID 255
#define HTTP_PORT 80
#define HTTPS_PORT 443

typedef struct {
    bool is_http;
    bool is_secure;
    bool is_h2c;
    bool is_unix;
    uint16_t usual_port; /* of the scheme; 0: it has none */
    hws_slice_t host;    /* without brackets; or the path */
    uint16_t port;
    hws_slice_t authority; /* "host:port" as it was written */
} place_t;

/* Schemes are case-insensitive (RFC 3986, 3.1). */
static bool has_scheme(hws_slice_t text, const char *scheme)
{
    size_t size = strlen(scheme);

    return text.size >= size && strncasecmp(text.data, scheme, size) == 0;
}

static hws_slice_t without(hws_slice_t text, size_t size)
{
    return (hws_slice_t){text.data + size, text.size - size};
}

static int bad(hws_error_t *why, hws_slice_t text, const char *what)
{
    return hws_explain(why, HWS_ERR_BAD_URL, "%.*s: %s", (int)(text.size < 60 ? text.size : 60),
                       text.data, what);
}

/* What stands in a host goes into the Host field and into errors, so it cannot be just anything. */
static bool is_host(hws_slice_t host)
{
    size_t i;

    for (i = 0; i < host.size; i++)
        if (host.data[i] <= ' ' || host.data[i] >= 0x7f || strchr("/?#@\\", host.data[i]) != NULL)
            return false;
    return true;
}

static bool has_control_bytes(hws_slice_t text)
{
    size_t i;

    for (i = 0; text.data != NULL && i < text.size; i++)
        if ((unsigned char)text.data[i] < ' ' || text.data[i] == 0x7f)
            return true;
    return false;
}

/* `place->port` is preset where there need be none. */
static int parse_authority(hws_slice_t text, place_t *place, hws_error_t *why)
{
    const char *wrong = hws_authority_parse(text, &place->host, &place->port);

    if (wrong != NULL)
        return bad(why, text, wrong);
    if (!is_host(place->host))
        return bad(why, text, "the host has a byte that no host name has");
    if (place->port == 0)
        return bad(why, text, "the port is missing");
    place->authority = text;
    /* Host leaves the scheme's own port out (RFC 9110, 7.2), and the bracket in. */
    if (place->port == place->usual_port)
        place->authority.size =
            (size_t)(place->host.data - text.data) + place->host.size + (text.data[0] == '[');
    return HWS_OK;
}

static int parse_url(hws_slice_t url, place_t *place, hws_error_t *why)
{
    *place = (place_t){.is_http = false};
    if (has_scheme(url, "unix:")) {
        place->is_unix = true;
        place->host = without(url, 5);
        place->authority = HWS_SLICE("localhost");
        return HWS_OK;
    }
    if (has_scheme(url, "http://") || has_scheme(url, "https://") || has_scheme(url, "h2c://")) {
        place->is_http = true;
        place->is_secure = has_scheme(url, "https://");
        place->is_h2c = has_scheme(url, "h2c://");
        place->port = place->usual_port = place->is_secure ? HTTPS_PORT : HTTP_PORT;
        url = without(url, place->is_secure ? 8 : place->is_h2c ? 6 : 7);
        if (url.size > 0 && url.data[url.size - 1] == '/')
            url.size--;
    } else if (has_scheme(url, "tcp://") || has_scheme(url, "tls://")) {
        place->is_secure = has_scheme(url, "tls://");
        url = without(url, 6);
    } else {
        return bad(why, url,
                   "a peer is http://host:port, https:, h2c:, tcp: or tls: likewise, or "
                   "unix:/path");
    }
    return parse_authority(url, place, why);
}

static char *copy(hws_slice_t text)
{
    char *string = hws_alloc(text.size + 1);

    if (string == NULL)
        return NULL;
    if (text.size > 0)
        memcpy(string, text.data, text.size);
    string[text.size] = '\0';
    return string;
}

/* Host names are case-insensitive too (RFC 3986, 3.2.2): one of them has one id. */
static char *lower(char *text)
{
    char *at;

    for (at = text; at != NULL && *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    return text;
}

static int set_addresses(hws_peer_t *peer, const place_t *place, hws_error_t *why)
{
    static const hws_slice_t loopback[] = {{"127.0.0.1", 9}, {"::1", 3}};
    int rc;

    if (place->is_unix) {
        peer->address_count = 1;
        rc = hws_address_from_path(place->host, &peer->addresses[0]);
        return rc == HWS_OK ? rc : bad(why, place->host, "the path is empty or too long");
    }
    if (place->host.size == 9 && strncasecmp(place->host.data, "localhost", 9) == 0) {
        while (peer->address_count < HWS_PEER_ADDRESSES) {
            rc = hws_address_from_ip(loopback[peer->address_count], place->port,
                                     &peer->addresses[peer->address_count]);
            assert(rc == HWS_OK);
            peer->address_count++;
        }
        return HWS_OK;
    }
    peer->address_count = 1;
    if (hws_address_from_ip(place->host, place->port, &peer->addresses[0]) == HWS_OK)
        return HWS_OK;
    peer->address_count = 0;
    if (!hws_names_is_name(place->host))
        return bad(why, place->host, "neither an address nor a host name");
    peer->name = lower(copy(place->host));
    peer->port = place->port;
    return peer->name != NULL ? HWS_OK : HWS_ERR_NOMEM;
}

/* A path with every "/" as "%2F", because ids hold no "/". */
static char *id_of_path(hws_slice_t path)
{
    char *id = hws_alloc(path.size * 3 + 1);
    size_t used = 0;
    size_t i;

    if (id == NULL)
        return NULL;
    for (i = 0; i < path.size; i++) {
        if (path.data[i] != '/') {
            id[used++] = path.data[i];
        } else {
            memcpy(id + used, "%2F", 3);
            used += 3;
        }
    }
    id[used] = '\0';
    return id;
}

static char *text_of(const place_t *place)
{
    hws_slice_t host = place->host;
    char text[300];
    bool is_v6 = host.data != NULL && memchr(host.data, ':', host.size) != NULL;

    if (place->is_unix)
        snprintf(text, sizeof(text), "unix:%.*s", (int)host.size, host.data);
    else
        snprintf(text, sizeof(text), is_v6 ? "[%.*s]:%u" : "%.*s:%u", (int)host.size, host.data,
                 place->port);
    return copy((hws_slice_t){place->is_unix ? text : lower(text), strlen(text)});
}

static int check(const hws_peer_options_t *options, hws_error_t *why)
{
    if (memchr(options->id.data != NULL ? options->id.data : "", '/', options->id.size) != NULL ||
        options->id.size > LONGEST_ID)
        return hws_explain(why, HWS_ERR_INVALID, "id: has no \"/\" and at most %d bytes",
                           LONGEST_ID);
    if (has_control_bytes(options->id) || has_control_bytes(options->locality))
        return hws_explain(why, HWS_ERR_INVALID, "id, locality: without control bytes");
    if (has_control_bytes(options->url) || has_control_bytes(options->address))
        return hws_explain(why, HWS_ERR_BAD_URL, "url, address: without control bytes");
    if (!(options->weight == 0 || (options->weight > 0 && options->weight <= 1e6)))
        return hws_explain(why, HWS_ERR_INVALID, "weight: above 0, at most 1000000");
    if (options->url.size > LONGEST_ID)
        return bad(why, options->url, "longer than 255 bytes");
    return HWS_OK;
}

/* Where it connects, which may differ from what it is called. */
static int parse_address(const hws_peer_options_t *options, const place_t *url, place_t *out,
                         hws_error_t *why)
{
    *out = *url;
    if (options->address.size == 0)
        return HWS_OK;
    if (has_scheme(options->address, "unix:")) {
        out->is_unix = true;
        out->host = without(options->address, 5);
        return HWS_OK;
    }
    out->is_unix = false;
    return parse_authority(options->address, out, why);
}

/* ---- its protocol ---- */

static void drain_all(hws_list_t *connections, hws_time_t now)
{
    hws_list_t *link = connections->next;

    while (link != connections) {
        hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        link = link->next;
        hws_connection_drain(connection, HWS_CLOSE_LAST, now);
    }
}

bool hws_peer_turn_to_http1(hws_peer_t *peer, hws_time_t now)
{
    if (peer->protocol == HWS_PROTOCOL_HTTP1) /* another request was told before */
        return true;
    if (peer->protocol != HWS_PROTOCOL_AUTO || hws_upstream_has_alpn(peer->upstream))
        return false;
    peer->protocol = HWS_PROTOCOL_HTTP1;
    hws_pool_belongs_to(&peer->pool, peer->pool.owner, peer->protocol);
    drain_all(&peer->pool.ready, now);
    drain_all(&peer->pool.others, now);
    return true;
}

/* ---- its name ---- */

static bool has_connections(const hws_watch_t *watch)
{
    const hws_peer_t *peer = HWS_CONTAINER(watch, hws_peer_t, watch);

    return peer->pool.open > 0;
}

static void drain_moved(hws_peer_t *peer, hws_list_t *connections, hws_time_t now)
{
    hws_list_t *link = connections->next;

    while (link != connections) {
        hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        link = link->next;
        if (hws_watch_lacks(&peer->watch, &connection->ip))
            hws_connection_drain(connection, HWS_CLOSE_MOVED, now);
    }
}

static void on_new_answer(hws_watch_t *watch, hws_time_t now)
{
    hws_peer_t *peer = HWS_CONTAINER(watch, hws_peer_t, watch);

    drain_moved(peer, &peer->pool.ready, now);
    drain_moved(peer, &peer->pool.others, now);
    peer->pool.owner->on_room(peer->pool.owner, NULL, now);
}

/* Without memory nothing is watched, and the connection is kept for as long as it may be. */
void hws_peer_follow_name(hws_peer_t *peer, hws_connection_t *connection, const hws_ip_t *ip,
                          hws_time_t now)
{
    hws_lookup_t *lookup;

    connection->ip = *ip;
    if (hws_upstream_lookup(peer->upstream, &lookup) != HWS_OK)
        return;
    if (lookup != peer->lookup)
        hws_watch_stop(&peer->watch);
    hws_lookup_release(peer->lookup);
    peer->lookup = lookup;
    (void)hws_watch_start(&peer->watch, &lookup->resolver,
                          (hws_slice_t){peer->name, strlen(peer->name)}, now);
    /* It may have been told while it connected. */
    if (hws_watch_lacks(&peer->watch, ip))
        connection->expires_at = now;
}

/* Its breaker's time is over: who waits is served at the next rest. */
static void on_breaker_timer(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    hws_upstream_tidy(HWS_CONTAINER(timer, hws_peer_t, breaker_timer)->upstream);
}

int hws_peer_create(const hws_peer_options_t *options, hws_peer_t **out, hws_error_t *why)
{
    hws_peer_t *peer;
    place_t url;
    place_t target;
    int rc;

    if ((rc = check(options, why)) != HWS_OK ||
        (rc = parse_url(options->url, &url, why)) != HWS_OK ||
        (rc = parse_address(options, &url, &target, why)) != HWS_OK)
        return rc;
    if ((peer = hws_zalloc(sizeof(*peer))) == NULL)
        return HWS_ERR_NOMEM;
    hws_list_init(&peer->link);
    hws_pool_init(&peer->pool);
    hws_list_init(&peer->openings);
    hws_lanes_init(&peer->avoiders);
    hws_lanes_init(&peer->bound);
    hws_watch_init(&peer->watch, has_connections, on_new_answer);
    hws_timer_init(&peer->breaker_timer, on_breaker_timer);
    peer->is_http = url.is_http;
    peer->is_secure = url.is_secure;
    peer->is_h2c = url.is_h2c;
    peer->candidate.weight = options->weight == 0 ? 1 : options->weight;
    peer->candidate.priority = options->priority;
    if ((rc = set_addresses(peer, &target, why)) != HWS_OK)
        goto fail;
    rc = HWS_ERR_NOMEM;
    peer->authority = lower(copy(url.authority));
    peer->authority_size = url.authority.size;
    peer->address_text = text_of(&target);
    peer->host = lower(copy(url.is_unix ? HWS_SLICE("localhost") : url.host));
    peer->locality = copy(options->locality.size > 0 ? options->locality : HWS_SLICE(""));
    if (options->id.size > 0)
        peer->id = copy(options->id);
    else
        peer->id = url.is_unix ? id_of_path(url.host) : text_of(&url);
    if (peer->authority == NULL || peer->address_text == NULL || peer->host == NULL ||
        peer->locality == NULL || peer->id == NULL)
        goto fail;
    *out = peer;
    return HWS_OK;

fail:
    hws_peer_destroy(peer);
    return rc;
}

void hws_peer_destroy(hws_peer_t *peer)
{
    if (peer == NULL)
        return;
    assert(peer->holds == 0 && peer->pool.in_flight == 0 && !hws_list_is_linked(&peer->link));
    if (peer->upstream != NULL)
        hws_loop_cancel_timer(peer->upstream->manager->loop, &peer->breaker_timer);
    hws_pool_dispose(&peer->pool);
    hws_recent_dispose(&peer->recent);
    hws_watch_stop(&peer->watch);
    hws_lookup_release(peer->lookup);
    hws_free(peer->id);
    hws_free(peer->authority);
    hws_free(peer->address_text);
    hws_free(peer->host);
    hws_free(peer->name);
    hws_free(peer->locality);
    hws_free(peer);
}
