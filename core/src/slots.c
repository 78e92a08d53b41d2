#include "slots.h"

#include "bounds.h"
#include "dispatch.h"
#include "io/process.h"
#include "pool/connection.h"
#include "upstream.h"

#include <assert.h>

/* After the system refused a descriptor, this long is lived with what there is. */
#define FILES_PAUSE HWS_S(10)

static uint32_t default_connections(void)
{
    uint32_t half = hws_process_descriptor_limit() / 2;

    if (half > HWS_CONNECTIONS_MAX)
        return HWS_CONNECTIONS_MAX;
    return half > 0 ? half : 1;
}

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

static hws_upstream_t *starving(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_upstream_t, starved_link);
}

bool hws_manager_is_turn_of(hws_manager_t *manager, const hws_list_t *starved_link)
{
    hws_list_t *first;

    /* Those for whom nobody waits any more hold up nobody. */
    while ((first = hws_list_first(&manager->starved)) != NULL &&
           starving(first)->queue.waiting == 0)
        hws_list_remove(first);
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
    hws_manager_note_end(manager);
}

int hws_manager_set_max(hws_manager_t *manager, uint32_t max_connections, hws_error_t *why,
                        hws_time_t now)
{
    hws_list_t *oldest;
    int rc = hws_size_check("max_connections", max_connections, 0, HWS_CONNECTIONS_MAX, why);

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

void hws_slots_init(hws_manager_t *manager, uint32_t max_connections)
{
    hws_list_init(&manager->starved);
    hws_deferred_init(&manager->serve, serve_starved);
    hws_timer_init(&manager->file_timer, files_again);
    manager->max_connections = max_connections > 0 ? max_connections : default_connections();
    manager->file_cap = UINT32_MAX;
}

void hws_slots_close(hws_manager_t *manager)
{
    hws_loop_cancel_timer(manager->loop, &manager->file_timer);
}
