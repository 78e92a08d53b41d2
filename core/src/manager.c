#include "manager.h"

#include "dispatch.h"
#include "io/process.h"
#include "lease.h"
#include "pool/connection.h"
#include "protocol.h"
#include "request.h"
#include "upstream.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* After the system refused a descriptor, this long is lived with what there is. */
#define FILES_PAUSE HWS_S(10)
/* A burst is worth a trim from this many calls in flight on, once this quiet time has passed. */
#define TRIM_PEAK 1000
#define TRIM_PAUSE HWS_S(1)
/* Events that wait to be told; beyond it the newest are dropped. */
#define EVENTS_MAX 4096
#define MAX_CONNECTIONS_MAX 1000000U
#define LONGEST_ORIGIN 255

/* ---- options ---- */

static int check_size(const char *name, uint64_t value, uint64_t least, uint64_t most,
                      hws_error_t *why)
{
    if (value >= least && value <= most)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "%s: from %llu to %llu, not %llu", name,
                       (unsigned long long)least, (unsigned long long)most,
                       (unsigned long long)value);
}

int hws_limits_check(const hws_limits_t *limits, hws_error_t *why)
{
    int rc;

    if ((rc = check_size("limits.connections", limits->connections, 1, MAX_CONNECTIONS_MAX, why)) ||
        (rc = check_size("limits.per_peer", limits->per_peer, 1, MAX_CONNECTIONS_MAX, why)) ||
        (rc = check_size("limits.dials", limits->dials, 1, MAX_CONNECTIONS_MAX, why)) ||
        (rc = check_size("limits.pending", limits->pending, 0, UINT32_MAX, why)) ||
        (rc = check_size("limits.streams", limits->streams, 1, MAX_CONNECTIONS_MAX, why)) ||
        (rc = check_size("limits.header", limits->header, 256, 16777216, why)) ||
        (rc = check_size("limits.body", limits->body, 0, SIZE_MAX / 4, why)) ||
        (rc = check_size("limits.buffer", limits->buffer, 4096, 1073741824, why)))
        return rc;
    return HWS_OK;
}

static int check_span(const char *name, hws_time_t span, hws_error_t *why)
{
    if (span >= 0)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "timeouts.%s: not below 0", name);
}

int hws_timeouts_check(const hws_timeouts_t *timeouts, hws_error_t *why)
{
    int rc;

    if ((rc = check_span("resolve", timeouts->resolve, why)) ||
        (rc = check_span("connect", timeouts->connect, why)) ||
        (rc = check_span("tls", timeouts->tls, why)) ||
        (rc = check_span("queue", timeouts->queue, why)) ||
        (rc = check_span("request", timeouts->request, why)) ||
        (rc = check_span("attempt", timeouts->attempt, why)) ||
        (rc = check_span("read", timeouts->read, why)) ||
        (rc = check_span("idle", timeouts->idle, why)) ||
        (rc = check_span("lifetime", timeouts->lifetime, why)) ||
        (rc = check_span("drain", timeouts->drain, why)))
        return rc;
    return HWS_OK;
}

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

static void serve_starved(hws_deferred_t *deferred);
static void tidy(hws_deferred_t *deferred);
static void tell_events(hws_deferred_t *deferred);
static void drain_late(hws_timer_t *timer, hws_time_t now);
static void files_again(hws_timer_t *timer, hws_time_t now);
static void trim_now(hws_timer_t *timer, hws_time_t now);

static uint32_t default_connections(void)
{
    uint32_t half = hws_process_descriptor_limit() / 2;

    if (half > MAX_CONNECTIONS_MAX)
        return MAX_CONNECTIONS_MAX;
    return half > 0 ? half : 1;
}

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
        (rc = check_size("max_connections", options->max_connections, 0, MAX_CONNECTIONS_MAX,
                         why)) != HWS_OK ||
        (rc = check_size("window_memory", options->window_memory, 65536, UINT64_MAX / 4, why)) !=
            HWS_OK ||
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
    hws_list_init(&manager->upstreams);
    hws_list_init(&manager->closed);
    hws_list_init(&manager->starved);
    hws_list_init(&manager->pools.idle);
    hws_list_init(&manager->events);
    hws_deferred_init(&manager->serve, serve_starved);
    hws_deferred_init(&manager->tidy, tidy);
    hws_deferred_init(&manager->tell, tell_events);
    hws_timer_init(&manager->drain.timer, drain_late);
    hws_timer_init(&manager->file_timer, files_again);
    hws_timer_init(&manager->trim_timer, trim_now);
    hws_pools_init(&manager->pools, loop, seed);
    manager->pools.windows.limit = options->window_memory;
    hws_slab_init(&manager->requests, sizeof(hws_request_t),
                  offsetof(hws_request_t, call.error.peer));
    hws_slab_init(&manager->leases, sizeof(hws_lease_t), offsetof(hws_lease_t, call.error.peer));
    manager->max_connections = options->max_connections;
    if (manager->max_connections == 0)
        manager->max_connections = default_connections();
    manager->file_cap = UINT32_MAX;
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
    hws_loop_cancel_timer(manager->loop, &manager->file_timer);
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

static void drop_events(hws_manager_t *manager);

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
    hws_list_remove(&manager->tell.link);
    drop_events(manager);
    hws_hash_dispose(&manager->names);
    hws_pools_dispose(&manager->pools);
    hws_tunnels_dispose(&manager->tunnels);
    hws_sessions_dispose(&manager->sessions);
    drop_tls(manager);
    hws_lookup_release(manager->lookup);
    hws_free(manager->dns_options);
    hws_metrics_destroy(manager->metrics);
    hws_slab_dispose(&manager->requests);
    hws_slab_dispose(&manager->leases);
    manager->loop->managers--;
    hws_free(manager);
}

void hws_manager_tidy(hws_manager_t *manager)
{
    hws_loop_defer(manager->loop, &manager->tidy);
}

/* ---- draining ---- */

typedef struct {
    hws_deferred_t deferred;
    void (*on_done)(void *user, int status);
    void *user;
    int status;
} ending_t;

static void tell_ending(hws_deferred_t *deferred)
{
    ending_t ending = *HWS_CONTAINER(deferred, ending_t, deferred);

    hws_free(HWS_CONTAINER(deferred, ending_t, deferred));
    ending.on_done(ending.user, ending.status);
}

void hws_drain_over(hws_drain_t *drain, hws_manager_t *manager, const char *name, int status)
{
    ending_t *ending = drain->ending;

    if (ending == NULL)
        return;
    drain->ending = NULL;
    ending->status = status;
    hws_loop_cancel_timer(manager->loop, &drain->timer);
    hws_manager_tell(manager, HWS_EVENT_DRAIN, name, "", "end", 0, hws_loop_now(manager->loop));
    hws_loop_defer(manager->loop, &ending->deferred);
}

int hws_drain_begin(hws_drain_t *drain, hws_manager_t *manager, const char *name, hws_time_t span,
                    void (*on_done)(void *user, int status), void *user)
{
    hws_time_t now = hws_loop_now(manager->loop);
    ending_t *ending;

    if (drain->ending != NULL)
        return HWS_ERR_DRAINING;
    if ((ending = hws_zalloc(sizeof(*ending))) == NULL)
        return HWS_ERR_NOMEM;
    hws_deferred_init(&ending->deferred, tell_ending);
    ending->on_done = on_done;
    ending->user = user;
    drain->ending = ending;
    if (hws_span_bounded(span) != HWS_NEVER)
        hws_loop_set_timer(manager->loop, &drain->timer, now + span);
    hws_manager_tell(manager, HWS_EVENT_DRAIN, name, "", "begin", 0, now);
    return HWS_OK;
}

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

/* ---- the cap of all ---- */

static uint32_t cap_of(const hws_manager_t *manager)
{
    return manager->max_connections < manager->file_cap ? manager->max_connections
                                                        : manager->file_cap;
}

void hws_manager_queue_up(hws_manager_t *manager, hws_list_t *starved_link)
{
    if (!hws_list_is_linked(starved_link))
        hws_list_push_back(&manager->starved, starved_link);
}

static bool has_room(const hws_manager_t *manager)
{
    return manager->connections < cap_of(manager) || !hws_list_is_empty(&manager->pools.idle);
}

void hws_manager_note_room(hws_manager_t *manager)
{
    if (!hws_list_is_empty(&manager->starved) && has_room(manager))
        hws_loop_defer(manager->loop, &manager->serve);
}

/* A place for who asks, found or made. */
static bool find_slot(hws_manager_t *manager, hws_time_t now)
{
    uint32_t cap = cap_of(manager);

    if (manager->connections >= cap) {
        hws_list_t *oldest = hws_list_last(&manager->pools.idle);

        if (oldest == NULL)
            return false;
        hws_connection_close(HWS_CONTAINER(oldest, hws_connection_t, idle_link), HWS_CLOSE_EVICTED,
                             HWS_ERR_CLOSED, now);
        if (manager->connections >= cap)
            return false;
    }
    manager->connections++;
    return true;
}

bool hws_manager_is_turn_of(hws_manager_t *manager, const hws_list_t *starved_link)
{
    const hws_list_t *first = hws_list_first(&manager->starved);

    return first == NULL || first == starved_link || starved_link == manager->turn;
}

bool hws_manager_take_slot(hws_manager_t *manager, hws_list_t *starved_link, hws_time_t now)
{
    if (hws_manager_is_turn_of(manager, starved_link) && find_slot(manager, now)) {
        hws_list_remove(starved_link);
        return true;
    }
    hws_manager_queue_up(manager, starved_link);
    hws_manager_note_room(manager);
    return false;
}

void hws_manager_give_slot(hws_manager_t *manager)
{
    assert(manager->connections > 0);
    manager->connections--;
    manager->pools.is_crowded = manager->connections > manager->max_connections;
    hws_manager_note_room(manager);
    if (is_drained(manager))
        hws_manager_tidy(manager);
}

int hws_manager_set_max(hws_manager_t *manager, uint32_t max_connections, hws_error_t *why,
                        hws_time_t now)
{
    hws_list_t *oldest;
    int rc = check_size("max_connections", max_connections, 0, MAX_CONNECTIONS_MAX, why);

    if (rc != HWS_OK)
        return rc;
    manager->max_connections = max_connections > 0 ? max_connections : default_connections();
    while (manager->connections > manager->max_connections &&
           (oldest = hws_list_last(&manager->pools.idle)) != NULL)
        hws_connection_close(HWS_CONTAINER(oldest, hws_connection_t, idle_link), HWS_CLOSE_SURPLUS,
                             HWS_ERR_CLOSED, now);
    manager->pools.is_crowded = manager->connections > manager->max_connections;
    return HWS_OK;
}

static hws_upstream_t *starving(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_upstream_t, starved_link);
}

static void take_turn(hws_manager_t *manager, hws_list_t *link, hws_time_t now)
{
    hws_list_remove(link);
    manager->turn = link;
    hws_dispatch_serve_one(starving(link), now);
    manager->turn = NULL;
}

/* While there is room, the upstreams that wait take turns; who still waits after his queues up
 * again. */
static void serve_starved(hws_deferred_t *deferred)
{
    hws_manager_t *manager = HWS_CONTAINER(deferred, hws_manager_t, serve);
    hws_time_t now = hws_loop_now(manager->loop);
    hws_list_t *last = hws_list_last(&manager->starved);
    hws_list_t *link = NULL;

    while (link != last && has_room(manager) && (link = hws_list_first(&manager->starved)) != NULL)
        take_turn(manager, link, now);
    hws_manager_note_room(manager);
}

void hws_manager_serve_poor(hws_manager_t *manager, const hws_list_t *starved_link, hws_time_t now)
{
    hws_list_t *link = hws_list_first(&manager->starved);

    if (link != NULL && link != starved_link && starving(link)->owner.connections == 0 &&
        has_room(manager))
        take_turn(manager, link, now);
}

static void files_again(hws_timer_t *timer, hws_time_t now)
{
    hws_manager_t *manager = HWS_CONTAINER(timer, hws_manager_t, file_timer);

    (void)now;
    manager->file_cap = UINT32_MAX;
    hws_manager_note_room(manager);
}

bool hws_manager_out_of_files(hws_manager_t *manager, hws_time_t now)
{
    if (manager->connections == 0)
        return false;
    manager->file_cap = manager->connections;
    hws_loop_set_timer(manager->loop, &manager->file_timer, now + FILES_PAUSE);
    return true;
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
    if (is_drained(manager))
        hws_manager_tidy(manager);
}

void hws_manager_trim(hws_manager_t *manager)
{
    manager->peak = manager->in_flight;
    hws_slab_trim(&manager->requests);
    hws_slab_trim(&manager->leases);
    hws_slab_trim(&manager->pools.connections);
    hws_memory_trim();
}

static void trim_now(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    hws_manager_trim(HWS_CONTAINER(timer, hws_manager_t, trim_timer));
}

/* ---- events ---- */

typedef struct {
    hws_list_t link;
    hws_event_t event;
    char upstream[HWS_EVENT_TEXT_MAX + 1];
    char peer[HWS_PEER_ID_MAX + 1];
    char text[HWS_EVENT_TEXT_MAX + 1];
} queued_event_t;

#define NAME(symbol, word) word,
static const char *const event_names[] = {HWS_EVENT_LIST(NAME)};
static const char *const close_names[] = {HWS_CLOSE_LIST(NAME)};
#undef NAME

const char *hws_event_name(hws_event_type_t type)
{
    return event_names[type];
}

const char *hws_close_reason_name(hws_close_reason_t reason)
{
    return close_names[reason];
}

bool hws_manager_hears(const hws_manager_t *manager, hws_event_type_t type)
{
    return (manager->listening >> type & 1U) != 0 && manager->on_event != NULL;
}

static bool is_heard(const hws_manager_t *manager, hws_event_type_t type)
{
    return hws_manager_hears(manager, type) && manager->event_count < EVENTS_MAX;
}

static void copy_text(char *to, size_t size, const char *from)
{
    if (from != NULL)
        snprintf(to, size, "%s", from);
}

void hws_manager_report(hws_manager_t *manager, const hws_event_t *event)
{
    queued_event_t *queued;

    if (!is_heard(manager, event->type) || (queued = hws_zalloc(sizeof(*queued))) == NULL)
        return;
    queued->event = *event;
    copy_text(queued->upstream, sizeof(queued->upstream), event->upstream);
    copy_text(queued->peer, sizeof(queued->peer), event->peer);
    copy_text(queued->text, sizeof(queued->text), event->text);
    queued->event.upstream = queued->upstream;
    queued->event.peer = queued->peer;
    queued->event.text = queued->text;
    queued->event.reason = event->reason != NULL ? event->reason : "";
    hws_list_push_back(&manager->events, &queued->link);
    manager->event_count++;
    hws_loop_defer(manager->loop, &manager->tell);
}

void hws_manager_tell(hws_manager_t *manager, hws_event_type_t type, const char *upstream,
                      const char *peer, const char *reason, hws_time_t age, hws_time_t now)
{
    hws_event_t event = {
        .type = type, .at = now, .upstream = upstream, .peer = peer, .reason = reason, .age = age};

    if (is_heard(manager, type))
        hws_manager_report(manager, &event);
}

void hws_manager_tell_retry(hws_manager_t *manager, const char *upstream, const char *peer,
                            const char *reason, uint32_t attempt, hws_time_t delay, hws_time_t now)
{
    hws_event_t event = {.type = HWS_EVENT_RETRY,
                         .at = now,
                         .upstream = upstream,
                         .peer = peer,
                         .reason = reason,
                         .attempt = attempt,
                         .delay = delay};

    if (is_heard(manager, HWS_EVENT_RETRY))
        hws_manager_report(manager, &event);
}

void hws_manager_tell_connect(hws_manager_t *manager, const char *upstream, const char *peer,
                              bool is_resumed, hws_time_t now)
{
    hws_event_t event = {.type = HWS_EVENT_CONNECT,
                         .at = now,
                         .upstream = upstream,
                         .peer = peer,
                         .reason = "",
                         .is_resumed = is_resumed};

    if (is_heard(manager, HWS_EVENT_CONNECT))
        hws_manager_report(manager, &event);
}

static void tell_events(hws_deferred_t *deferred)
{
    hws_manager_t *manager = HWS_CONTAINER(deferred, hws_manager_t, tell);
    uint32_t count = manager->event_count;

    /* Destroying it from inside takes effect at a later rest, so it lasts through this loop. */
    while (count-- > 0 && manager->event_count > 0) {
        hws_list_t *link = hws_list_first(&manager->events);
        queued_event_t *queued = HWS_CONTAINER(link, queued_event_t, link);

        hws_list_remove(link);
        manager->event_count--;
        manager->on_event(manager->user, &queued->event);
        hws_free(queued);
    }
}

static void drop_events(hws_manager_t *manager)
{
    hws_list_t *link;

    while ((link = hws_list_first(&manager->events)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, queued_event_t, link));
    }
    manager->event_count = 0;
}

void hws_manager_listen(hws_manager_t *manager, uint32_t events)
{
    manager->listening = events;
}

/* ---- questions ---- */

void hws_manager_stats(const hws_manager_t *manager, hws_stats_t *out)
{
    *out = manager->gone;
    HWS_LIST_EACH(link, &manager->upstreams) {
        hws_stats_t stats;

        hws_upstream_stats(HWS_CONTAINER(link, hws_upstream_t, link), &stats);
        hws_stats_add(out, &stats);
    }
    HWS_LIST_EACH(link, &manager->closed) {
        hws_stats_t stats;

        hws_upstream_stats(HWS_CONTAINER(link, hws_upstream_t, link), &stats);
        hws_stats_add(out, &stats);
    }
}

void hws_stats_add(hws_stats_t *sum, const hws_stats_t *stats)
{
    size_t i;

    sum->open += stats->open;
    sum->idle += stats->idle;
    sum->busy += stats->busy;
    sum->dialing += stats->dialing;
    sum->queued += stats->queued;
    if (stats->queue_max > sum->queue_max)
        sum->queue_max = stats->queue_max;
    sum->created += stats->created;
    for (i = 0; i < HWS_CLOSE_COUNT; i++)
        sum->closed[i] += stats->closed[i];
    sum->handshakes += stats->handshakes;
    sum->resumed += stats->resumed;
    for (i = 0; i < HWS_RETRY_COUNT; i++)
        sum->refused[i] += stats->refused[i];
    sum->retried += stats->retried;
    sum->opened += stats->opened;
    sum->policy_errors += stats->policy_errors;
    sum->reused += stats->reused;
    sum->replayed += stats->replayed;
    sum->requests += stats->requests;
    sum->ok += stats->ok;
    sum->failed += stats->failed;
}

static uint32_t saturated(uint32_t a, uint32_t b)
{
    return a < UINT32_MAX - b ? a + b : UINT32_MAX;
}

/* Adds what is no counter and not measured. */
static void add_gauges(const hws_list_t *upstreams, hws_metrics_snapshot_t *out, hws_time_t now)
{
    HWS_LIST_EACH(link, upstreams) {
        hws_upstream_t *upstream = HWS_CONTAINER(link, hws_upstream_t, link);
        hws_budget_options_t *budget = &upstream->retry.budget;

        out->queue_limit = saturated(out->queue_limit, upstream->owner.rules.limits.pending);
        out->budget_left =
            saturated(out->budget_left, hws_budget_left(&upstream->budget, budget, now));
        HWS_LIST_EACH(peer_link, &upstream->peers.list) {
            const hws_peer_t *peer = HWS_CONTAINER(peer_link, const hws_peer_t, link);

            out->breakers[hws_breaker_state(&peer->breaker, &upstream->breaker, now)]++;
        }
    }
}

void hws_manager_metrics(const hws_manager_t *manager, hws_metrics_snapshot_t *out)
{
    hws_time_t now = hws_loop_now(manager->loop);
    hws_metrics_t *sum = NULL;

    *out = (hws_metrics_snapshot_t){.queue_limit = 0};
    hws_manager_stats(manager, &out->stats);
    add_gauges(&manager->upstreams, out, now);
    if (manager->is_measuring)
        sum = hws_metrics_create(manager->since);
    if (sum == NULL)
        return;
    HWS_LIST_EACH(link, &manager->upstreams)
        hws_upstream_measure(HWS_CONTAINER(link, hws_upstream_t, link), sum, now);
    HWS_LIST_EACH(link, &manager->closed)
        hws_upstream_measure(HWS_CONTAINER(link, hws_upstream_t, link), sum, now);
    if (manager->metrics != NULL)
        hws_metrics_merge(sum, manager->metrics, now);
    hws_metrics_read(sum, now, &out->traffic);
    hws_metrics_destroy(sum);
}

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

int hws_manager_make_origin(hws_manager_t *manager, hws_slice_t origin, hws_upstream_t **out,
                            hws_error_t *why)
{
    hws_peer_options_t peer = {.url = origin};
    hws_upstream_options_t options;
    int rc;

    if (origin.size == 0 || origin.size > LONGEST_ORIGIN)
        return hws_explain(why, HWS_ERR_BAD_URL,
                           "a URL begins with https://host, or http:, of at most %d bytes",
                           LONGEST_ORIGIN);
    hws_upstream_options_init(&options, manager);
    options.name = origin;
    options.peers = &peer;
    options.peer_count = 1;
    rc = hws_upstream_make(manager, &options, true, out, why);
    /* Should nobody use it, it goes again. */
    if (rc == HWS_OK)
        hws_upstream_tidy(*out);
    return rc;
}

/* The end of "scheme://authority". */
static size_t origin_size(hws_slice_t url)
{
    size_t i = 0;

    while (i + 2 < url.size && memcmp(url.data + i, "://", 3) != 0)
        i++;
    for (i += 3; i < url.size; i++)
        if (url.data[i] == '/' || url.data[i] == '?' || url.data[i] == '#')
            break;
    return i < url.size ? i : url.size;
}

/* Scheme and host are case-insensitive (RFC 3986, 6.2.2.1): the origin in lower case, written to
 * `room` where it was not. One that is too long is left to be refused. */
static hws_slice_t normalize_origin(hws_slice_t origin, char room[LONGEST_ORIGIN])
{
    bool is_changed = false;
    size_t i;

    if (origin.size > LONGEST_ORIGIN)
        return origin;
    for (i = 0; i < origin.size; i++) {
        char byte = origin.data[i];
        bool is_upper = byte >= 'A' && byte <= 'Z';

        room[i] = is_upper ? (char)(byte - 'A' + 'a') : byte;
        is_changed |= is_upper;
    }
    return is_changed ? (hws_slice_t){room, origin.size} : origin;
}

int hws_manager_origin(hws_manager_t *manager, hws_slice_t url, hws_upstream_t **upstream,
                       hws_slice_t *target, hws_error_t *why)
{
    size_t size = origin_size(url);
    char room[LONGEST_ORIGIN];
    hws_slice_t origin = normalize_origin((hws_slice_t){url.data, size}, room);
    const char *fragment = memchr(url.data, '#', url.size);
    hws_upstream_t *found = hws_manager_find(manager, origin);
    int rc;

    if (memchr(url.data, '@', size) != NULL)
        return hws_explain(why, HWS_ERR_BAD_URL,
                           "credentials in a URL are refused: use an Authorization header");
    if (found == NULL && size >= 6 &&
        (memcmp(origin.data, "tcp://", 6) == 0 || memcmp(origin.data, "tls://", 6) == 0))
        return hws_explain(why, HWS_ERR_UNSUPPORTED, "%.6s has no requests: acquire a lease",
                           origin.data);
    if (found == NULL && (rc = hws_manager_make_origin(manager, origin, &found, why)) != HWS_OK)
        return rc;
    *upstream = found;
    if (fragment != NULL)
        url.size = (size_t)(fragment - url.data);
    *target = url.size > size ? (hws_slice_t){url.data + size, url.size - size} : HWS_SLICE("/");
    return HWS_OK;
}
