#include "stats.h"

#include "peer.h"
#include "upstream.h"

#include <hawser/operations.h>

#include <assert.h>

static hws_peer_t *peer_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_peer_t, link);
}

/* ---- of an upstream ---- */

static void add_load(const hws_list_t *peers, hws_stats_t *out)
{
    HWS_LIST_EACH(link, peers) {
        const hws_pool_t *pool = &peer_of(link)->pool;

        out->open += pool->open;
        out->idle += pool->idle;
        out->dialing += pool->dialing;
    }
}

void hws_upstream_stats(const hws_upstream_t *upstream, hws_stats_t *out)
{
    *out = upstream->stats;
    add_load(&upstream->peers.list, out);
    add_load(&upstream->peers.removed, out);
    out->busy = out->open - out->idle;
    out->queued = upstream->queue.waiting;
}

static void add_metrics(const hws_list_t *peers, hws_metrics_t *sum, hws_time_t now)
{
    HWS_LIST_EACH(link, peers) {
        hws_metrics_t *metrics = peer_of(link)->pool.metrics;

        if (metrics != NULL)
            hws_metrics_merge(sum, metrics, now);
    }
}

void hws_upstream_measure(const hws_upstream_t *upstream, hws_metrics_t *sum, hws_time_t now)
{
    add_metrics(&upstream->peers.list, sum, now);
    add_metrics(&upstream->peers.removed, sum, now);
    if (upstream->metrics != NULL)
        hws_metrics_merge(sum, upstream->metrics, now);
}

void hws_upstream_metrics(const hws_upstream_t *upstream, hws_metrics_snapshot_t *out)
{
    hws_time_t now = hws_loop_now(upstream->manager->loop);
    hws_budget_t budget = upstream->budget; /* which moves on when it is asked */
    hws_metrics_t *sum = NULL;

    *out = (hws_metrics_snapshot_t){.queue_limit = upstream->owner.rules.limits.pending};
    hws_upstream_stats(upstream, &out->stats);
    out->budget_left = hws_budget_left(&budget, &upstream->retry.budget, now);
    HWS_LIST_EACH(link, &upstream->peers.list)
        out->breakers[hws_breaker_state(&peer_of(link)->breaker, &upstream->breaker, now)]++;
    if (upstream->manager->is_measuring)
        sum = hws_metrics_create(upstream->manager->since);
    if (sum == NULL)
        return;
    hws_upstream_measure(upstream, sum, now);
    hws_metrics_read(sum, now, &out->traffic);
    hws_metrics_destroy(sum);
}

static hws_peer_t *peer_at(const hws_upstream_t *upstream, size_t index)
{
    hws_list_t *link = upstream->peers.list.next;

    assert(index < upstream->peers.count);
    while (index-- > 0)
        link = link->next;
    return peer_of(link);
}

void hws_upstream_traffic(const hws_upstream_t *upstream, size_t index, hws_traffic_t *out)
{
    hws_metrics_t *metrics = peer_at(upstream, index)->pool.metrics;

    *out = (hws_traffic_t){.exchanges = {.total = 0}};
    if (metrics != NULL)
        hws_metrics_read(metrics, hws_loop_now(upstream->manager->loop), out);
}

void hws_upstream_peer(const hws_upstream_t *upstream, size_t index, hws_peer_view_t *out)
{
    hws_peer_view(peer_at(upstream, index), out);
}

/* ---- of a manager ---- */

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
