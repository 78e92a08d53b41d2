/* schedule.h - which of the streams that have something to send has the next turn; a turn is a frame.
 *
 * The most urgent class first (RFC 9218, 4.1: 0 to 7), and within a class each in turn. So that the
 * least urgent is late and not starved, every HWS_SCHEDULE_SPAN-th of the turns taken while less
 * urgent classes wait goes to one of these, and they have such turns one after the other.
 *
 * What follows: the most urgent loses one turn in HWS_SCHEDULE_SPAN. Of k less urgent classes each
 * has one in k times HWS_SCHEDULE_SPAN; and whatever comes and goes beside it, a class that waits
 * has a turn within HWS_SCHEDULE_CLASSES times HWS_SCHEDULE_SPAN, and its m-th stream within m times
 * that. (A turn out of order goes to the next class that waits, in a circle which leaves out just
 * the one that had the turn in order before.) Turns are counted, not bytes.
 *
 * Owns no memory and calls nobody; each function takes the same time however many wait. */
#ifndef HWS_CODEC_SCHEDULE_H
#define HWS_CODEC_SCHEDULE_H

#include "base/list.h"

#include <stdint.h>

#define HWS_SCHEDULE_CLASSES 8
#define HWS_SCHEDULE_SPAN 16

/* A stream's place; part of the stream. */
typedef struct {
    hws_list_t link; /* in its class, while it waits */
    uint8_t urgency;
} hws_turn_t;

typedef struct {
    hws_list_t classes[HWS_SCHEDULE_CLASSES]; /* hws_turn_t, the next one in front */
    uint8_t waiting;                          /* bit u: class u is not empty */
    uint8_t ordered; /* the class that had the last turn in order of urgency */
    uint8_t aged;    /* the class that had the last turn out of order */
    uint8_t passed;  /* turns since then that passed less urgent classes over */
} hws_schedule_t;

void hws_schedule_init(hws_schedule_t *schedule);

/* A turn that does not wait. */
static inline void hws_turn_init(hws_turn_t *turn)
{
    hws_list_init(&turn->link);
    turn->urgency = 0;
}

static inline bool hws_turn_is_waiting(const hws_turn_t *turn)
{
    return hws_list_is_linked(&turn->link);
}

/* Waits from now on, behind its equals. One that waits already keeps its place, and its urgency. */
void hws_schedule_add(hws_schedule_t *schedule, hws_turn_t *turn, uint8_t urgency);
/* Has nothing to send, or may not send it; harmless when it does not wait. */
void hws_schedule_remove(hws_schedule_t *schedule, hws_turn_t *turn);
/* Whose turn it is, or NULL when nobody waits. It goes on waiting, behind its equals. */
hws_turn_t *hws_schedule_next(hws_schedule_t *schedule);

#endif
