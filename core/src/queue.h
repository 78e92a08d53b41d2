/* queue.h - the calls of an upstream that wait for room, in order of arrival, and at what pace
 * they are served.
 *
 * Who has a dial of his own under way waits here as well, for he takes whatever room comes first;
 * but he does not count as `waiting`. */
#ifndef HWS_QUEUE_H
#define HWS_QUEUE_H

#include "call.h"

typedef struct {
    hws_list_t calls;
    uint32_t waiting;     /* of them without a dial of their own: limits.pending is their bound */
    hws_time_t served_at; /* the last time that somebody was served out of it */
    hws_time_t gap;       /* EWMA of the time between two */
} hws_queue_t;

void hws_queue_init(hws_queue_t *queue);
bool hws_queue_is_empty(const hws_queue_t *queue);
/* Goes behind all who are there. */
void hws_queue_join(hws_queue_t *queue, hws_call_t *call);
/* Harmless when it is not there. */
void hws_queue_leave(hws_queue_t *queue, hws_call_t *call);
/* From now on `opening`, or with NULL none, is under way for `call`, which keeps its place if it
 * has one. */
void hws_queue_set_opening(hws_queue_t *queue, hws_call_t *call, hws_opening_t *opening);

/* Whoever has waited longest, or NULL; with `is_waiting` of those without a dial of their own. */
hws_call_t *hws_queue_first(const hws_queue_t *queue, bool is_waiting);

/* Somebody was served out of the queue. */
void hws_queue_note_pace(hws_queue_t *queue, hws_time_t now);
/* How long somebody who joins the queue now would wait, by the pace of late. */
hws_time_t hws_queue_expected_wait(const hws_queue_t *queue);
void hws_queue_check(const hws_queue_t *queue);

#endif
