#include "pool/pool.h"

#include "pool/connection.h"

#include <assert.h>

/* What was learned from one dead connection is believed this long: a restart of the peer says
 * nothing about its idle limit. */
#define BELIEVED HWS_S(300)
/* A connection that dies younger tells of a restart or a crash, not of an idle limit. */
#define LEARN_FROM HWS_MS(100)

void hws_pools_init(hws_pools_t *pools, hws_loop_t *loop, uint64_t seed)
{
    *pools = (hws_pools_t){.loop = loop};
    hws_list_init(&pools->idle);
    hws_slab_init(&pools->connections, sizeof(hws_connection_t), sizeof(hws_connection_t));
    hws_gather_init(&pools->gather, loop, &hws_connection_outbox_events);
    hws_random_init(&pools->random, seed);
}

void hws_pools_dispose(hws_pools_t *pools)
{
    hws_slab_dispose(&pools->connections);
    hws_gather_dispose(&pools->gather);
    hws_free(pools->fields.items);
}

void hws_pool_init(hws_pool_t *pool)
{
    *pool = (hws_pool_t){.idle_limit = HWS_NEVER};
    hws_list_init(&pool->ready);
    hws_list_init(&pool->others);
}

void hws_pool_belongs_to(hws_pool_t *pool, hws_pool_owner_t *owner, hws_protocol_t protocol)
{
    bool takes_one = protocol == HWS_PROTOCOL_HTTP1 || protocol == HWS_PROTOCOL_RAW;

    pool->owner = owner;
    pool->streams = takes_one ? 1 : owner->rules.limits.streams;
    pool->is_open_question = protocol == HWS_PROTOCOL_AUTO;
}

void hws_pool_dispose(hws_pool_t *pool)
{
    assert(pool->open == 0 && pool->dialing == 0);
    assert(hws_list_is_empty(&pool->ready) && hws_list_is_empty(&pool->others));
    hws_metrics_destroy(pool->metrics);
}

hws_pool_answer_t hws_pool_ask(const hws_pool_t *pool, const hws_pool_want_t *want, hws_time_t now,
                               hws_connection_t **out)
{
    const hws_pool_rules_t *rules = &pool->owner->rules;

    HWS_LIST_EACH(link, &pool->ready) {
        hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        if (hws_connection_suits(connection, want, now)) {
            *out = connection;
            return HWS_POOL_LEASED;
        }
        /* Those behind it were used longer ago: what time forbids here it forbids there. Only who
         * wants a connection that never served looks on, and who may find one with many streams. */
        if (!want->fresh_only && rules->reuse != HWS_REUSE_NEVER && pool->streams == 1)
            break;
    }
    if (pool->dialing > 0 && pool->streams > 1 && pool->joined / pool->streams < pool->dialing)
        return HWS_POOL_JOIN;
    /* Who takes none on one connection takes none on another: that it does again is waited for. */
    if (pool->streams == 0 && pool->open > 0)
        return HWS_POOL_NO_ROOM;
    if (pool->dialing >= (pool->is_open_question ? 1 : rules->limits.dials))
        return HWS_POOL_NO_ROOM;
    /* At the cap an idle connection that was refused above can make way. */
    return pool->open + pool->dialing < rules->limits.per_peer || pool->idle > 0 ? HWS_POOL_DIAL
                                                                                 : HWS_POOL_NO_ROOM;
}

hws_connection_t *hws_pool_oldest_idle(const hws_pool_t *pool)
{
    const hws_list_t *link;

    for (link = pool->ready.prev; link != &pool->ready; link = link->prev) {
        hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        if (connection->stream_count == 0)
            return connection;
    }
    return NULL;
}

hws_time_t hws_pool_idle_limit(const hws_pool_t *pool, hws_time_t now)
{
    return pool->idle_limit != HWS_NEVER && now - pool->learned_at < BELIEVED ? pool->idle_limit
                                                                              : HWS_NEVER;
}

void hws_pool_learn(hws_pool_t *pool, hws_time_t age, hws_time_t now)
{
    hws_time_t limit = age / 5 * 4;

    if (age < LEARN_FROM || limit >= hws_pool_idle_limit(pool, now))
        return;
    pool->idle_limit = limit;
    pool->learned_at = now;
}

void hws_pool_check(const hws_pool_t *pool)
{
    uint32_t open = 0;
    uint32_t idle = 0;

    HWS_LIST_EACH(link, &pool->ready) {
        const hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        assert(connection->state == HWS_CONNECTION_READY);
        assert(hws_list_is_linked(&connection->idle_link) == (connection->stream_count == 0));
        open++;
        idle += connection->stream_count == 0;
    }
    HWS_LIST_EACH(link, &pool->others) {
        const hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        assert(connection->state != HWS_CONNECTION_READY);
        assert(connection->state != HWS_CONNECTION_CLOSED);
        (void)connection;
        open++;
    }
    assert(open == pool->open && idle == pool->idle);
    (void)open;
    (void)idle;
}
