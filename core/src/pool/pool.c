#include "pool/pool.h"

#include "pool/connection.h"

#include <assert.h>

void hws_pool_init(hws_pool_t *pool, hws_peer_t *peer)
{
    *pool = (hws_pool_t){.peer = peer};
    hws_list_init(&pool->ready);
    hws_list_init(&pool->others);
    hws_list_init(&pool->dials);
}

void hws_pool_dispose(hws_pool_t *pool)
{
    assert(pool->open == 0 && pool->dialing == 0);
    assert(hws_list_is_empty(&pool->ready) && hws_list_is_empty(&pool->others));
    assert(hws_list_is_empty(&pool->dials));
    (void)pool;
}

hws_pool_answer_t hws_pool_ask(const hws_pool_t *pool, const hws_limits_t *limits,
                               const hws_pool_want_t *want, hws_time_t now, hws_connection_t **out)
{
    HWS_LIST_EACH(link, &pool->ready)
    {
        hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        if (hws_connection_suits(connection, want, now)) {
            *out = connection;
            return HWS_POOL_LEASED;
        }
        /* Those behind it were used longer ago: what time forbids here it forbids there. Only who
         * wants a connection that never served looks on. */
        if (!want->fresh_only && want->reuse != HWS_REUSE_NEVER)
            break;
    }
    if (pool->dialing >= limits->dials)
        return HWS_POOL_NO_ROOM;
    /* At the cap an idle connection that was refused above can make way. */
    return pool->open + pool->dialing < limits->per_peer || pool->idle > 0 ? HWS_POOL_DIAL
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

void hws_pool_check(const hws_pool_t *pool)
{
    uint32_t open = 0;
    uint32_t idle = 0;

    HWS_LIST_EACH(link, &pool->ready)
    {
        const hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        assert(connection->state == HWS_CONNECTION_READY);
        assert(hws_list_is_linked(&connection->idle_link) == (connection->stream_count == 0));
        open++;
        idle += connection->stream_count == 0;
    }
    HWS_LIST_EACH(link, &pool->others)
    {
        const hws_connection_t *connection = HWS_CONTAINER(link, hws_connection_t, link);

        assert(connection->state != HWS_CONNECTION_READY);
        assert(connection->state != HWS_CONNECTION_CLOSED);
        open++;
    }
    assert(open == pool->open && idle == pool->idle);
    (void)open;
    (void)idle;
}
