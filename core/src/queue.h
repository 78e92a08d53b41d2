/* queue.h - the calls of an upstream that wait for room, in their order, and at what pace they are
 * served.
 *
 * The order is that of arrival, but for urgency: one that is more urgent by a step counts as if it
 * had come HWS_QUEUE_STEP arrivals earlier. So among those that came about the same time the most
 * urgent goes first, equals go in order of arrival, and the least urgent is late, not starved: no
 * more than 7 * HWS_QUEUE_STEP later ones ever overtake it.
 *
 * Who has a dial of his own under way waits here as well, for he takes whatever room comes first;
 * but he does not count as `waiting`.
 *
 * Calls to which every pool would give the same answer stand in one lane. When room appears, a pass
 * goes through the queue in this order, and leaves a lane out once the first of it was refused: so
 * its length is what was served and a few more, not what waits. Whom a script declines is refused for
 * himself alone: a pass comes by a few of those, and a round goes on behind them, by a few at each
 * rest, until all were asked. */
#ifndef HWS_QUEUE_H
#define HWS_QUEUE_H

#include "call.h"

#define HWS_QUEUE_STEP 128

typedef struct {
    hws_list_t link;  /* in queue->lanes while there is a call in it */
    hws_list_t calls; /* in order */
    uint64_t refused; /* the pass in which one of it was refused */
} hws_lane_t;

/* Who may be sent twice, leases, who may not be sent twice, and who wants a connection that never
 * served; each without and with a dial of his own. */
#define HWS_LANES 8

/* Those that are bound to the same peer, or that avoid the same one, or neither. */
typedef struct {
    hws_lane_t lanes[HWS_LANES];
} hws_lanes_t;

typedef struct {
    hws_lanes_t all;      /* but those in the `bound` and `avoiders` of a peer */
    hws_list_t lanes;     /* hws_lane_t in which somebody waits */
    uint64_t arrivals;    /* so far; they and the urgency give calls their order */
    uint64_t passes;      /* so far */
    uint64_t looks;       /* calls that passes came by, so far: for tests, as what the work is */
    uint64_t asked_to;    /* is_asking: the order of the call that the round came by last */
    bool is_asking;       /* such a round is under way */
    bool asks_again;      /* ... and begins anew when it is over: something has changed since */
    bool is_settled;      /* no peer had room for them; what came since was served at once */
    uint32_t waiting;     /* without a dial of their own: limits.pending is their bound */
    hws_time_t served_at; /* the last time that somebody was served out of it */
    hws_time_t gap;       /* EWMA of the time between two */
} hws_queue_t;

/* One way through the queue. */
typedef struct {
    uint64_t number;
    uint64_t behind; /* it goes by those of a higher order alone */
    uint64_t last;   /* the order of the call that it came by last */
} hws_pass_t;

void hws_queue_init(hws_queue_t *queue);
void hws_lanes_init(hws_lanes_t *lanes);
static inline bool hws_queue_is_empty(const hws_queue_t *queue)
{
    return hws_list_is_empty(&queue->lanes);
}
/* Goes to its place. While it is here, what it wants does not change. */
void hws_queue_join(hws_queue_t *queue, hws_call_t *call);
/* Harmless when it is not there. */
void hws_queue_leave(hws_queue_t *queue, hws_call_t *call);
/* From now on `opening`, or with NULL none, is under way for `call`, which keeps its place if it
 * has one. */
void hws_queue_set_opening(hws_queue_t *queue, hws_call_t *call, hws_opening_t *opening);

/* `peer` has gone: those who avoided it keep their places and avoid nobody. */
void hws_queue_forgive(hws_queue_t *queue, hws_peer_t *peer);

/* Whoever comes first in this order, or NULL. */
hws_call_t *hws_queue_first(const hws_queue_t *queue);
/* The same of those without a dial of their own whom a connection to `peer` (NULL: to any) would
 * serve. */
hws_call_t *hws_queue_first_waiting(const hws_queue_t *queue, const hws_peer_t *peer);
/* Whoever is bound to the peer of those lanes, or NULL. */
hws_call_t *hws_lanes_first(const hws_lanes_t *lanes);
/* The same of those without a dial of their own. */
hws_call_t *hws_lanes_first_waiting(const hws_lanes_t *lanes);

/* Behind the call of the order `behind`; 0: at the beginning. */
void hws_pass_begin(hws_pass_t *pass, hws_queue_t *queue, uint64_t behind);
/* The next who may hope, or NULL. It may leave, or get a dial, before the next is asked for; others
 * may join, whose turn comes then. */
hws_call_t *hws_pass_next(hws_pass_t *pass, hws_queue_t *queue);
/* `call`, which the pass came by last, was refused: nobody of its lane may hope any more. */
void hws_pass_refuse(hws_pass_t *pass, hws_queue_t *queue, const hws_call_t *call);

/* Somebody was served out of the queue. */
void hws_queue_note_pace(hws_queue_t *queue, hws_time_t now);
/* How long somebody who joins the queue now would wait, by the pace of late. */
hws_time_t hws_queue_expected_wait(const hws_queue_t *queue);
void hws_queue_check(const hws_queue_t *queue);

#endif
