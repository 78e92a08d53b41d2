#include "support/world.h"

#include "opening.h"
#include "peer.h"
#include "support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The census of sockets ----------------------------------------------------------------------- */

typedef struct place {
    struct place *next;
    hws_socket_t *socket;
    world_port_t *port; /* NULL: a path */
} place_t;

/* The seam hands no user value to its functions, and there is one world at a time. */
static struct {
    world_t *world;
    const hws_io_ops_t *ops; /* the sim's own */
    hws_io_ops_t spying;
    hws_socket_ops_t socket_ops; /* the sim's own, but for: */
    void (*close)(hws_socket_t *socket, bool reset);
    int (*send)(hws_socket_t *socket, const char *data, size_t size, size_t *sent);
    int (*flush)(hws_socket_t *socket, hws_buffer_t *bytes);
    void (*on_rest)(void *owner);
    place_t *places;
} spy;

static world_port_t *port_of(world_t *world, uint16_t number)
{
    unsigned i;

    for (i = 0; i < WORLD_PORTS; i++) {
        world_port_t *port = &world->ports[i];

        if (port->port == number)
            return port;
        if (port->port == 0) {
            port->port = number;
            return port;
        }
    }
    fail_msg("more ports than the census has room for");
    return NULL;
}

static uint16_t number_of(const hws_address_t *address)
{
    if (address->as.any.sa_family == AF_INET)
        return ntohs(address->as.v4.sin_port);
    if (address->as.any.sa_family == AF_INET6)
        return ntohs(address->as.v6.sin6_port);
    return 0;
}

static void count_close(hws_socket_t *socket, bool reset);

static int count_send(hws_socket_t *socket, const char *data, size_t size, size_t *sent)
{
    spy.world->writes++;
    return spy.send(socket, data, size, sent);
}

static int count_flush(hws_socket_t *socket, hws_buffer_t *bytes)
{
    spy.world->writes++;
    return spy.flush(socket, bytes);
}

static int count_connect(hws_io_t *io, const hws_address_t *address,
                         const hws_socket_events_t *events, void *owner, hws_socket_t **out)
{
    world_t *world = spy.world;
    uint16_t number = number_of(address);
    int rc = spy.ops->connect(io, address, events, owner, out);
    place_t *place;

    if (rc != HWS_OK)
        return rc;
    place = calloc(1, sizeof(*place));
    place->socket = *out;
    spy.socket_ops = *(*out)->ops;
    spy.close = spy.socket_ops.close;
    spy.send = spy.socket_ops.send;
    spy.flush = spy.socket_ops.flush;
    spy.socket_ops.close = count_close;
    spy.socket_ops.send = count_send;
    spy.socket_ops.flush = count_flush;
    (*out)->ops = &spy.socket_ops;
    place->next = spy.places;
    spy.places = place;
    world->connects++;
    if (++world->open > world->peak)
        world->peak = world->open;
    if (number != 0) {
        place->port = port_of(world, number);
        if (++place->port->open > place->port->peak)
            place->port->peak = place->port->open;
    }
    return rc;
}

static void count_close(hws_socket_t *socket, bool reset)
{
    place_t **link = &spy.places;
    place_t *place;

    while (*link != NULL && (*link)->socket != socket)
        link = &(*link)->next;
    place = *link;
    if (place == NULL) {
        fail_msg("a socket is closed that was never opened, or closed before");
        return;
    }
    *link = place->next;
    spy.world->open--;
    if (place->port != NULL)
        place->port->open--;
    free(place);
    spy.close(socket, reset);
}

static void check_after_rest(void *owner)
{
    spy.on_rest(owner);
    world_check(spy.world);
}

/* Life ---------------------------------------------------------------------------------------- */

static void note_event(void *user, const hws_event_t *event)
{
    world_t *world = user;
    char *text = world->events[world->event_count % WORLD_EVENTS];

    world->event_count++;
    snprintf(text, sizeof(world->events[0]), "%s%s%s", hws_event_name(event->type),
             event->reason[0] != '\0' ? ":" : "", event->reason);
}

void world_init(world_t *world, uint64_t seed, const hws_manager_options_t *options)
{
    hws_manager_options_t own;
    hws_io_t *io;

    memset(world, 0, sizeof(*world));
    memset(&spy, 0, sizeof(spy));
    spy.world = world;
    assert_int_equal(hws_sim_create(seed, &world->sim), HWS_OK);
    io = hws_sim_io(world->sim);
    spy.ops = io->ops;
    spy.spying = *io->ops;
    spy.spying.connect = count_connect;
    io->ops = &spy.spying;
    assert_int_equal(hws_loop_create_on(io, &world->loop), HWS_OK);
    spy.on_rest = io->on_rest;
    io->on_rest = check_after_rest;
    /* The clock of this world begins at 0, which no real one does. */
    hws_sim_run_until(world->sim, HWS_S(1000));

    hws_manager_options_init(&own);
    if (options != NULL)
        own = *options;
    /* What they do is tried where they are meant: elsewhere they would hide what is. */
    own.retry.is_disabled = own.breaker.is_disabled = true;
    own.has_seed = true;
    own.seed = seed;
    own.max_connections = own.max_connections != 0 ? own.max_connections : 1000;
    if (own.on_event == NULL) {
        own.on_event = note_event;
        own.user = world;
    }
    assert_int_equal(hws_manager_create(world->loop, &own, &world->manager, NULL), HWS_OK);
    hws_manager_listen(world->manager, UINT32_MAX);
}

void world_dispose(world_t *world)
{
    hws_manager_destroy(world->manager);
    world->manager = NULL;
    while (hws_loop_run(world->loop, true) == HWS_OK)
        ;
    assert_int_equal(world->open, 0);
    assert_int_equal(hws_sim_open_sockets(world->sim), 0);
    assert_int_equal(hws_sim_open_questions(world->sim), 0);
    hws_loop_destroy(world->loop);
    assert_null(spy.places);
    spy.world = NULL;
}

hws_upstream_options_t world_options(const world_t *world)
{
    hws_upstream_options_t options;

    hws_upstream_options_init(&options, world->manager);
    options.balancer = HWS_BALANCER_ROUND_ROBIN;
    return options;
}

hws_upstream_options_t world_retrying(const world_t *world, uint32_t attempts)
{
    hws_upstream_options_t options = world_options(world);

    hws_retry_options_init(&options.retry);
    options.retry.attempts = attempts;
    options.retry.backoff.base = options.retry.backoff.max = HWS_MS(1);
    options.retry.budget.is_disabled = true;
    return options;
}

static hws_upstream_t *make(world_t *world, const char *name, const hws_upstream_options_t *options,
                            const char *scheme, uint16_t first, unsigned count)
{
    hws_upstream_options_t own = options != NULL ? *options : world_options(world);
    hws_peer_options_t peers[WORLD_PORTS] = {{.weight = 0}};
    char urls[WORLD_PORTS][32];
    hws_upstream_t *upstream;
    unsigned i;

    for (i = 0; i < count; i++) {
        snprintf(urls[i], sizeof(urls[i]), "%s://10.0.0.1:%u", scheme, first + i);
        peers[i].url = (hws_slice_t){urls[i], strlen(urls[i])};
    }
    own.name = (hws_slice_t){name, strlen(name)};
    if (own.peers == NULL) {
        own.peers = peers;
        own.peer_count = count;
    }
    assert_int_equal(hws_upstream_create(world->manager, &own, &upstream, NULL), HWS_OK);
    return upstream;
}

hws_upstream_t *world_http(world_t *world, const char *name, const hws_upstream_options_t *options,
                           unsigned peers)
{
    return make(world, name, options, "http", 1, peers);
}

hws_upstream_t *world_raw(world_t *world, const char *name, const hws_upstream_options_t *options,
                          unsigned peers)
{
    return make(world, name, options, "tcp", 1, peers);
}

hws_upstream_t *world_http_at(world_t *world, const char *name,
                              const hws_upstream_options_t *options, uint16_t port)
{
    return make(world, name, options, "http", port, 1);
}

hws_upstream_t *world_h2c(world_t *world, const char *name, const hws_upstream_options_t *options,
                          uint16_t first, unsigned peers)
{
    return make(world, name, options, "h2c", first, peers);
}

hws_upstream_t *world_yamux(world_t *world, const char *name, const hws_upstream_options_t *options,
                            uint16_t port)
{
    hws_upstream_options_t own = options != NULL ? *options : world_options(world);

    own.protocol = HWS_PROTOCOL_YAMUX;
    return make(world, name, &own, "tcp", port, 1);
}

/* Time ---------------------------------------------------------------------------------------- */

void world_run(world_t *world, hws_time_t span)
{
    hws_sim_run_until(world->sim, hws_sim_now(world->sim) + span);
}

static void note_time(void *user)
{
    *(bool *)user = true;
}

void world_run_turns(world_t *world, hws_time_t span)
{
    bool is_time = false;

    hws_time_t at = world_now(world) + span;

    /* What this needs is never the allocation that a test makes fail. */
    if (hws_sim_at(world->sim, at, note_time, &is_time) != HWS_OK)
        assert_int_equal(hws_sim_at(world->sim, at, note_time, &is_time), HWS_OK);
    while (!is_time)
        assert_int_equal(world_turn(world, true), HWS_OK);
}

hws_time_t world_now(const world_t *world)
{
    return hws_sim_now(world->sim);
}

int world_turn(world_t *world, bool wait)
{
    return hws_loop_run(world->loop, wait);
}

/* Questions ----------------------------------------------------------------------------------- */

uint32_t world_open_at(const world_t *world, uint16_t port)
{
    unsigned i;

    for (i = 0; i < WORLD_PORTS; i++)
        if (world->ports[i].port == port)
            return world->ports[i].open;
    return 0;
}

uint32_t world_peak_at(const world_t *world, uint16_t port)
{
    unsigned i;

    for (i = 0; i < WORLD_PORTS; i++)
        if (world->ports[i].port == port)
            return world->ports[i].peak;
    return 0;
}

bool world_had_event(const world_t *world, const char *event)
{
    unsigned i;

    for (i = 0; i < world->event_count && i < WORLD_EVENTS; i++)
        if (strcmp(world->events[i], event) == 0)
            return true;
    return false;
}

hws_stats_t world_stats(const hws_upstream_t *upstream)
{
    hws_stats_t stats;

    hws_upstream_stats(upstream, &stats);
    return stats;
}

/* Attempts that race beside another one: a dial has one place, however many attempts it makes. */
static uint32_t racing(const hws_list_t *peers)
{
    uint32_t count = 0;

    HWS_LIST_EACH(link, peers) {
        const hws_peer_t *peer = HWS_CONTAINER(link, hws_peer_t, link);

        HWS_LIST_EACH(it, &peer->openings) {
            const hws_opening_t *opening = HWS_CONTAINER(it, hws_opening_t, link);

            if (opening->dial.race.alive > 1)
                count += opening->dial.race.alive - 1;
        }
    }
    return count;
}

static uint32_t racing_in(const hws_list_t *upstreams)
{
    uint32_t count = 0;

    HWS_LIST_EACH(link, upstreams) {
        const hws_upstream_t *upstream = HWS_CONTAINER(link, hws_upstream_t, link);

        count += racing(&upstream->peers.list) + racing(&upstream->peers.removed);
    }
    return count;
}

static uint32_t check_list(const hws_list_t *upstreams)
{
    uint32_t connections = 0;

    HWS_LIST_EACH(link, upstreams) {
        const hws_upstream_t *upstream = HWS_CONTAINER(link, hws_upstream_t, link);

        hws_upstream_check(upstream);
        connections += upstream->owner.connections;
    }
    return connections;
}

void world_check(world_t *world)
{
    const hws_manager_t *manager = world->manager;

    assert_int_equal(world->open, hws_sim_open_sockets(world->sim));
    if (manager == NULL)
        return;
    assert_int_equal(check_list(&manager->upstreams) + check_list(&manager->closed),
                     manager->connections);
    /* A dial that has just failed has no socket any more, but its place until it is told. */
    assert_true(world->open <= manager->connections + racing_in(&manager->upstreams) +
                                   racing_in(&manager->closed));
    /* A cap that was lowered cuts nothing, but nothing is added either. */
    assert_true(manager->connections <= manager->max_connections ||
                manager->connections <= world->before);
    world->before = manager->connections;
}
