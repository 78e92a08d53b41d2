#include "queue.h"

#include <assert.h>

/* Bounds of what an overload error promises. */
#define SHORTEST_WAIT HWS_MS(50)
#define LONGEST_WAIT HWS_S(30)

static hws_call_t *call_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_call_t, queue_link);
}

void hws_queue_init(hws_queue_t *queue)
{
    *queue = (hws_queue_t){0};
    hws_list_init(&queue->calls);
}

bool hws_queue_is_empty(const hws_queue_t *queue)
{
    return hws_list_is_empty(&queue->calls);
}

void hws_queue_join(hws_queue_t *queue, hws_call_t *call)
{
    hws_list_push_back(&queue->calls, &call->queue_link);
    queue->waiting += call->opening == NULL;
}

void hws_queue_leave(hws_queue_t *queue, hws_call_t *call)
{
    if (!hws_list_is_linked(&call->queue_link))
        return;
    hws_list_remove(&call->queue_link);
    queue->waiting -= call->opening == NULL;
}

void hws_queue_set_opening(hws_queue_t *queue, hws_call_t *call, hws_opening_t *opening)
{
    bool had = call->opening != NULL;

    call->opening = opening;
    if (!hws_list_is_linked(&call->queue_link))
        return;
    queue->waiting += had;
    queue->waiting -= opening != NULL;
}

hws_call_t *hws_queue_first(const hws_queue_t *queue, bool is_waiting)
{
    HWS_LIST_EACH(link, &queue->calls) {
        if (!is_waiting || call_of(link)->opening == NULL)
            return call_of(link);
    }
    return NULL;
}

/* An eighth of each new gap, as TCP smooths its round trips (RFC 6298). */
void hws_queue_note_pace(hws_queue_t *queue, hws_time_t now)
{
    hws_time_t gap = now - queue->served_at;

    if (queue->served_at > 0)
        queue->gap += (gap - queue->gap) / 8;
    queue->served_at = now;
}

hws_time_t hws_queue_expected_wait(const hws_queue_t *queue)
{
    hws_time_t wait = queue->gap * ((hws_time_t)queue->waiting + 1);

    if (wait < SHORTEST_WAIT)
        return SHORTEST_WAIT;
    return wait < LONGEST_WAIT ? wait : LONGEST_WAIT;
}

void hws_queue_check(const hws_queue_t *queue)
{
    uint32_t waiting = 0;

    HWS_LIST_EACH(link, &queue->calls) {
        waiting += call_of(link)->opening == NULL;
    }
    assert(waiting == queue->waiting);
    (void)waiting;
}
