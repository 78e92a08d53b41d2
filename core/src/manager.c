#include "manager.h"

#include "bounds.h"
#include "lease.h"
#include "opening.h"
#include "protocol.h"
#include "request.h"
#include "upstream.h"

#include <assert.h>
#include <string.h>

/* A burst is worth a trim from this many calls in flight on, once this quiet time has passed. */
#define TRIM_PEAK 1000
#define TRIM_PAUSE HWS_S(1)

/* ---- options ---- */

void hws_manager_options_init(hws_manager_options_t *options)
{
    *options = (hws_manager_options_t){.limits = {.connections = 256,
                                                  .per_peer = 64,
                                                  .dials = 16,
                                                  .pending = 1024,
                                                  .streams = 100,
                                                  .header = 65536,
                                                  .body = 67108864,
                                                  .buffer = 262144},
                                       .timeouts = {.resolve = HWS_S(5),
                                                    .connect = HWS_S(3),
                                                    .tls = HWS_S(5),
                                                    .queue = HWS_S(5),
                                                    .request = HWS_S(30),
                                                    .attempt = HWS_NEVER,
                                                    .read = HWS_S(30),
                                                    .idle = HWS_S(300),
                                                    .lifetime = HWS_S(1800),
                                                    .drain = HWS_S(30)},
                                       .reuse = HWS_REUSE_SAFE,
                                       .window_memory = 268435456,
                                       .metrics = true};
    hws_breaker_options_init(&options->breaker);
    hws_retry_options_init(&options->retry);
}

/* ---- life ---- */

static void tidy(hws_deferred_t *deferred);
static void drain_late(hws_timer_t *timer, hws_time_t now);
static void trim_now(hws_timer_t *timer, hws_time_t now);

int hws_manager_share_tls(hws_manager_t *manager, hws_protocol_t protocol, hws_tls_config_t **out,
                          hws_error_t *why)
{
    hws_tls_config_t **shared = &manager->tls[protocol];
    int rc = HWS_OK;

    if (*shared == NULL)
        rc = hws_tls_config_for(manager->tls_options, hws_protocol_alpn(protocol), shared, why);
    if (rc != HWS_OK)
        return rc;
    hws_tls_config_hold(*shared);
    *out = *shared;
    return HWS_OK;
}

/* Options that cannot be used are told at once, not by the first upstream. */
static int set_tls(hws_manager_t *manager, const hws_tls_options_t *options, hws_error_t *why)
{
    if ((manager->tls_options = hws_tls_options_copy(options)) == NULL)
        return HWS_ERR_NOMEM;
    return hws_tls_config_for(manager->tls_options, hws_protocol_alpn(HWS_PROTOCOL_AUTO),
                              &manager->tls[HWS_PROTOCOL_AUTO], why);
}

static void drop_tls(hws_manager_t *manager)
{
    size_t i;

    for (i = 0; i < HWS_PROTOCOL_COUNT; i++)
        if (manager->tls[i] != NULL)
            hws_tls_config_release(manager->tls[i]);
    hws_free(manager->tls_options);
}

int hws_manager_lookup(hws_manager_t *manager, hws_lookup_t **out)
{
    int rc = HWS_OK;

    if (manager->lookup == NULL)
        rc = hws_lookup_create(manager->loop, manager->dns_options, manager->timeouts.resolve,
                               &manager->lookup);
    *out = manager->lookup;
    return rc;
}

int hws_manager_create(hws_loop_t *loop, const hws_manager_options_t *options, hws_manager_t **out,
                       hws_error_t *why)
{
    hws_manager_t *manager;
    uint64_t seed = options->seed;
    uint64_t names_seed;
    int rc;

    if ((rc = hws_limits_check(&options->limits, why)) != HWS_OK ||
        (rc = hws_timeouts_check(&options->timeouts, why)) != HWS_OK ||
        (rc = hws_breaker_options_check(&options->breaker, why)) != HWS_OK ||
        (rc = hws_retry_options_check(&options->retry, why)) != HWS_OK ||
        (rc = hws_size_check("max_connections", options->max_connections, 0, HWS_CONNECTIONS_MAX,
                             why)) != HWS_OK ||
        (rc = hws_size_check("window_memory", options->window_memory, 65536, UINT64_MAX / 4,
                             why)) != HWS_OK ||
        (rc = loop->io->ops->entropy(loop->io, &names_seed, sizeof(names_seed))) != HWS_OK)
        return rc;
    if (!options->has_seed &&
        (rc = loop->io->ops->entropy(loop->io, &seed, sizeof(seed))) != HWS_OK)
        return rc;
    if ((manager = hws_zalloc(sizeof(*manager))) == NULL)
        return HWS_ERR_NOMEM;
    if ((options->tls != NULL && (rc = set_tls(manager, options->tls, why)) != HWS_OK) ||
        (options->dns != NULL &&
         (rc = hws_dns_options_copy(options->dns, &manager->dns_options, why)) != HWS_OK)) {
        drop_tls(manager);
        hws_free(manager);
        return rc;
    }
    manager->loop = loop;
    loop->managers++;
    hws_hash_init(&manager->names, names_seed);
    hws_hash_init(&manager->streams, names_seed);
    hws_list_init(&manager->upstreams);
    hws_list_init(&manager->closed);
    hws_list_init(&manager->pools.idle);
    hws_deferred_init(&manager->tidy, tidy);
    hws_events_init(manager);
    hws_timer_init(&manager->drain.timer, drain_late);
    hws_timer_init(&manager->trim_timer, trim_now);
    hws_pools_init(&manager->pools, loop, seed);
    manager->pools.windows.limit = options->window_memory;
    hws_slab_init(&manager->requests, sizeof(hws_request_t), offsetof(hws_request_t, store));
    hws_slab_init(&manager->duplexes, offsetof(hws_request_t, own_answer),
                  offsetof(hws_request_t, own_answer));
    hws_slab_init(&manager->leases, sizeof(hws_lease_t), sizeof(hws_lease_t));
    hws_slab_init(&manager->openings, sizeof(hws_opening_t), sizeof(hws_opening_t));
    hws_slots_init(manager, options->max_connections);
    manager->limits = options->limits;
    manager->timeouts = options->timeouts;
    manager->reuse = options->reuse;
    manager->breaker = options->breaker;
    manager->retry = options->retry;
    manager->is_measuring = options->metrics;
    manager->since = hws_loop_now(loop);
    hws_tunnels_init(&manager->tunnels, loop);
    hws_sessions_init(&manager->sessions, HWS_SESSIONS_MAX, names_seed, hws_tls_session_free);
    manager->on_event = options->on_event;
    manager->on_trim = options->on_trim;
    manager->user = options->user;
    *out = manager;
    return HWS_OK;
}

static void close_upstreams(hws_manager_t *manager)
{
    hws_list_t *link;

    while ((link = hws_list_first(&manager->upstreams)) != NULL)
        hws_upstream_close(HWS_CONTAINER(link, hws_upstream_t, link));
}

void hws_manager_close(hws_manager_t *manager)
{
    if (manager->is_closed)
        return;
    manager->is_closed = true;
    close_upstreams(manager);
    hws_slots_close(manager);
    hws_loop_cancel_timer(manager->loop, &manager->trim_timer);
    hws_drain_over(&manager->drain, manager, "", HWS_OK);
}

void hws_manager_destroy(hws_manager_t *manager)
{
    if (manager == NULL)
        return;
    hws_manager_close(manager);
    manager->is_destroyed = true;
    hws_manager_tidy(manager);
}

bool hws_manager_is_closed(const hws_manager_t *manager)
{
    return manager->is_closed;
}

/* A dial that nobody waits for any more is work as well, until it is over. */
static bool is_drained(const hws_manager_t *manager)
{
    return manager->is_draining && manager->in_flight == 0 && manager->connections == 0;
}

/* At rest: ends a drain that has nothing left, frees a destroyed manager that nothing needs. */
static void tidy(hws_deferred_t *deferred)
{
    hws_manager_t *manager = HWS_CONTAINER(deferred, hws_manager_t, tidy);

    if (is_drained(manager))
        hws_drain_over(&manager->drain, manager, "", HWS_OK);
    if (!manager->is_destroyed || !hws_list_is_empty(&manager->closed))
        return;
    assert(manager->in_flight == 0 && manager->connections == 0);
    hws_list_remove(&manager->serve.link);
    hws_events_drop(manager);
    hws_hash_dispose(&manager->names);
    hws_hash_dispose(&manager->streams);
    hws_pools_dispose(&manager->pools);
    hws_tunnels_dispose(&manager->tunnels);
    hws_sessions_dispose(&manager->sessions);
    drop_tls(manager);
    hws_lookup_release(manager->lookup);
    hws_free(manager->dns_options);
    hws_metrics_destroy(manager->metrics);
    hws_slab_dispose(&manager->requests);
    hws_slab_dispose(&manager->duplexes);
    hws_slab_dispose(&manager->leases);
    hws_slab_dispose(&manager->openings);
    manager->loop->managers--;
    hws_free(manager);
}

void hws_manager_tidy(hws_manager_t *manager)
{
    hws_loop_defer(manager->loop, &manager->tidy);
}

void hws_manager_note_end(hws_manager_t *manager)
{
    if (is_drained(manager))
        hws_manager_tidy(manager);
}

/* ---- draining ---- */

static void drain_late(hws_timer_t *timer, hws_time_t now)
{
    hws_manager_t *manager = HWS_CONTAINER(timer, hws_manager_t, drain.timer);

    HWS_LIST_EACH(link, &manager->upstreams)
        hws_upstream_cut(HWS_CONTAINER(link, hws_upstream_t, link), now);
    hws_drain_over(&manager->drain, manager, "", HWS_ERR_TIMEOUT);
}

int hws_manager_drain(hws_manager_t *manager, hws_time_t span,
                      void (*on_done)(void *user, int status), void *user)
{
    int rc;

    if (manager->is_closed)
        return HWS_ERR_CLOSED;
    rc = hws_drain_begin(&manager->drain, manager, "", span != 0 ? span : manager->timeouts.drain,
                         on_done, user);
    if (rc != HWS_OK)
        return rc;
    manager->is_draining = true;
    HWS_LIST_EACH(link, &manager->upstreams) {
        hws_upstream_retire(HWS_CONTAINER(link, hws_upstream_t, link), hws_loop_now(manager->loop));
    }
    hws_manager_tidy(manager);
    return HWS_OK;
}

/* ---- calls, and the memory they leave behind ---- */

void hws_manager_call_begins(hws_manager_t *manager)
{
    if (++manager->in_flight > manager->peak)
        manager->peak = manager->in_flight;
}

void hws_manager_call_ends(hws_manager_t *manager)
{
    manager->in_flight--;
    if (manager->peak >= TRIM_PEAK && manager->in_flight < manager->peak / 4 &&
        !hws_timer_is_set(&manager->trim_timer) && !manager->is_closed)
        hws_loop_set_timer(manager->loop, &manager->trim_timer,
                           hws_loop_now(manager->loop) + TRIM_PAUSE);
    hws_manager_note_end(manager);
}

void hws_manager_trim(hws_manager_t *manager)
{
    manager->peak = manager->in_flight;
    hws_slab_trim(&manager->requests);
    hws_slab_trim(&manager->duplexes);
    hws_slab_trim(&manager->leases);
    hws_slab_trim(&manager->openings);
    hws_slab_trim(&manager->pools.connections);
    if (manager->on_trim != NULL)
        manager->on_trim(manager->user);
    hws_memory_trim();
}

static void trim_now(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    hws_manager_trim(HWS_CONTAINER(timer, hws_manager_t, trim_timer));
}

/* ---- questions ---- */

size_t hws_manager_names(const hws_manager_t *manager, char *room, size_t size)
{
    size_t used = 0;

    HWS_LIST_EACH(link, &manager->upstreams) {
        const hws_upstream_t *upstream = HWS_CONTAINER(link, const hws_upstream_t, link);
        size_t length = strlen(upstream->name) + 1;

        if (used + length <= size)
            memcpy(room + used, upstream->name, length);
        used += length;
    }
    return used;
}

uint32_t hws_manager_max_connections(const hws_manager_t *manager)
{
    return manager->max_connections;
}

hws_loop_t *hws_manager_loop(const hws_manager_t *manager)
{
    return manager->loop;
}

hws_upstream_t *hws_manager_find(const hws_manager_t *manager, hws_slice_t name)
{
    hws_hash_link_t *link = hws_hash_find(&manager->names, name.data, name.size);

    return link != NULL ? HWS_CONTAINER(link, hws_upstream_t, by_name) : NULL;
}
