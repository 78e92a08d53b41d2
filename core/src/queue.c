#include "queue.h"

#include "peer.h"

#include <assert.h>

/* Bounds of what an overload error promises. */
#define SHORTEST_WAIT HWS_MS(50)
#define LONGEST_WAIT HWS_S(30)

static hws_call_t *call_of(const hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_call_t, queue_link);
}

static hws_lane_t *lane_at(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_lane_t, link);
}

void hws_lanes_init(hws_lanes_t *lanes)
{
    size_t i;

    for (i = 0; i < HWS_LANES; i++) {
        hws_list_init(&lanes->lanes[i].link);
        hws_list_init(&lanes->lanes[i].calls);
        lanes->lanes[i].refused = 0;
    }
}

void hws_queue_init(hws_queue_t *queue)
{
    *queue = (hws_queue_t){0};
    hws_lanes_init(&queue->all);
    hws_list_init(&queue->lanes);
}

/* ---- lanes ---- */

static hws_lanes_t *lanes_of(hws_queue_t *queue, const hws_call_t *call)
{
    if (call->bound_to != NULL)
        return &call->bound_to->bound;
    return call->avoid != NULL ? &call->avoid->avoiders : &queue->all;
}

/* What hws_pool_ask() makes a difference of, and whether a dial may be begun. */
static hws_lane_t *lane_of(hws_queue_t *queue, const hws_call_t *call)
{
    hws_lanes_t *lanes = lanes_of(queue, call);
    size_t kind = 0;

    if (call->is_lease)
        kind = 1;
    else if (call->is_fresh_only)
        kind = 3;
    else if (!call->is_replayable)
        kind = 2;
    return &lanes->lanes[kind * 2 + (call->opening != NULL)];
}

/* At its place by order, looked for from both ends: it is near one of them, or as far away as
 * urgency can move it. */
static void insert(hws_lane_t *lane, hws_call_t *call)
{
    hws_list_t *older = lane->calls.prev;
    hws_list_t *newer = lane->calls.next;

    while (older != &lane->calls && call_of(older)->order > call->order &&
           call_of(newer)->order < call->order) {
        older = older->prev;
        newer = newer->next;
    }
    if (older == &lane->calls || call_of(older)->order < call->order)
        hws_list_push_front(older, &call->queue_link);
    else
        hws_list_push_back(newer, &call->queue_link);
}

static void enter(hws_queue_t *queue, hws_call_t *call)
{
    hws_lane_t *lane = lane_of(queue, call);

    if (hws_list_is_empty(&lane->calls))
        hws_list_push_back(&queue->lanes, &lane->link);
    insert(lane, call);
    queue->waiting += call->opening == NULL;
}

/* No two are equal: of those with the same sum the urgencies differ. */
static uint64_t order_of(const hws_queue_t *queue, uint8_t urgency)
{
    return (queue->arrivals + (uint64_t)urgency * HWS_QUEUE_STEP) * (HWS_URGENCY_LEAST + 1) +
           urgency;
}

void hws_queue_join(hws_queue_t *queue, hws_call_t *call)
{
    queue->arrivals++;
    call->order = order_of(queue, call->stream.urgency);
    call->seen_by = 0;
    enter(queue, call);
}

void hws_queue_leave(hws_queue_t *queue, hws_call_t *call)
{
    hws_lane_t *lane;

    if (!hws_list_is_linked(&call->queue_link))
        return;
    lane = lane_of(queue, call);
    hws_list_remove(&call->queue_link);
    if (hws_list_is_empty(&lane->calls))
        hws_list_remove(&lane->link);
    queue->waiting -= call->opening == NULL;
}

void hws_queue_set_opening(hws_queue_t *queue, hws_call_t *call, hws_opening_t *opening)
{
    bool is_here = hws_list_is_linked(&call->queue_link);

    hws_queue_leave(queue, call);
    call->opening = opening;
    if (is_here)
        enter(queue, call);
}

void hws_queue_forgive(hws_queue_t *queue, hws_peer_t *peer)
{
    size_t i;

    for (i = 0; i < HWS_LANES; i++) {
        hws_list_t *calls = &peer->avoiders.lanes[i].calls;
        hws_list_t *link;

        while ((link = hws_list_first(calls)) != NULL) {
            hws_call_t *call = call_of(link);

            hws_queue_leave(queue, call);
            call->avoid = NULL;
            enter(queue, call);
        }
    }
}

/* ---- who is next ---- */

hws_call_t *hws_queue_first(const hws_queue_t *queue)
{
    hws_call_t *first = NULL;

    HWS_LIST_EACH(link, &queue->lanes) {
        hws_call_t *call = call_of(lane_at(link)->calls.next);

        if (first == NULL || call->order < first->order)
            first = call;
    }
    return first;
}

hws_call_t *hws_queue_first_waiting(const hws_queue_t *queue, const hws_peer_t *peer)
{
    hws_call_t *first = NULL;

    HWS_LIST_EACH(link, &queue->lanes) {
        hws_call_t *call = call_of(lane_at(link)->calls.next);

        if (call->opening == NULL &&
            (peer == NULL ||
             (call->avoid != peer && (call->bound_to == NULL || call->bound_to == peer))) &&
            (first == NULL || call->order < first->order))
            first = call;
    }
    return first;
}

hws_call_t *hws_lanes_first(const hws_lanes_t *lanes)
{
    size_t i;

    for (i = 0; i < HWS_LANES; i++) {
        const hws_list_t *calls = &lanes->lanes[i].calls;

        if (!hws_list_is_empty(calls))
            return call_of(calls->next);
    }
    return NULL;
}

hws_call_t *hws_lanes_first_waiting(const hws_lanes_t *lanes)
{
    size_t i;

    for (i = 0; i < HWS_LANES; i += 2) {
        const hws_list_t *calls = &lanes->lanes[i].calls;

        if (!hws_list_is_empty(calls))
            return call_of(calls->next);
    }
    return NULL;
}

void hws_pass_begin(hws_pass_t *pass, hws_queue_t *queue, uint64_t behind)
{
    *pass = (hws_pass_t){.number = ++queue->passes, .behind = behind};
}

/* The first of a lane that the pass has not come by yet, or NULL. Before it stand only those who
 * got a dial on the way. */
static hws_call_t *next_of(const hws_lane_t *lane, const hws_pass_t *pass)
{
    HWS_LIST_EACH(link, &lane->calls) {
        hws_call_t *call = call_of(link);

        if (call->seen_by != pass->number && call->order > pass->behind)
            return call;
    }
    return NULL;
}

hws_call_t *hws_pass_next(hws_pass_t *pass, hws_queue_t *queue)
{
    hws_call_t *next = NULL;

    HWS_LIST_EACH(link, &queue->lanes) {
        const hws_lane_t *lane = lane_at(link);
        hws_call_t *call = lane->refused != pass->number ? next_of(lane, pass) : NULL;

        if (call != NULL && (next == NULL || call->order < next->order))
            next = call;
    }
    if (next == NULL)
        return NULL;
    next->seen_by = pass->number;
    pass->last = next->order;
    queue->looks++;
    return next;
}

void hws_pass_refuse(hws_pass_t *pass, hws_queue_t *queue, const hws_call_t *call)
{
    lane_of(queue, call)->refused = pass->number;
}

/* ---- the pace ---- */

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

    HWS_LIST_EACH(link, &queue->lanes) {
        const hws_lane_t *lane = lane_at(link);
        uint64_t last = 0;

        assert(!hws_list_is_empty(&lane->calls));
        HWS_LIST_EACH(call_link, &lane->calls) {
            waiting += call_of(call_link)->opening == NULL;
            assert(call_of(call_link)->order > last);
            last = call_of(call_link)->order;
        }
        (void)last;
    }
    assert(waiting == queue->waiting);
    (void)waiting;
}
