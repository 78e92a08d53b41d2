#include "codec/schedule.h"

#include <assert.h>

void hws_schedule_init(hws_schedule_t *schedule)
{
    int i;

    for (i = 0; i < HWS_SCHEDULE_CLASSES; i++)
        hws_list_init(&schedule->classes[i]);
    schedule->waiting = 0;
    schedule->ordered = 0;
    schedule->aged = 0;
    schedule->passed = 0;
}

void hws_schedule_add(hws_schedule_t *schedule, hws_turn_t *turn, uint8_t urgency)
{
    assert(urgency < HWS_SCHEDULE_CLASSES);
    if (hws_turn_is_waiting(turn))
        return;
    turn->urgency = urgency;
    hws_list_push_back(&schedule->classes[urgency], &turn->link);
    schedule->waiting |= (uint8_t)(1U << urgency);
}

void hws_schedule_remove(hws_schedule_t *schedule, hws_turn_t *turn)
{
    if (!hws_turn_is_waiting(turn))
        return;
    hws_list_remove(&turn->link);
    if (hws_list_is_empty(&schedule->classes[turn->urgency]))
        schedule->waiting &= (uint8_t) ~(1U << turn->urgency);
}

/* The first class at or after `from` that is in `classes`, which has one. */
static uint8_t first_class(uint32_t classes, uint8_t from)
{
    while ((classes >> from & 1) == 0)
        from = (uint8_t)((from + 1) % HWS_SCHEDULE_CLASSES);
    return from;
}

static uint8_t next_class(hws_schedule_t *schedule)
{
    uint8_t most_urgent = first_class(schedule->waiting, 0);
    bool is_alone = schedule->waiting == 1U << most_urgent;

    if (is_alone || schedule->passed + 1 < HWS_SCHEDULE_SPAN) {
        schedule->passed += !is_alone;
        schedule->ordered = most_urgent;
        return most_urgent;
    }
    /* Not "all but the most urgent": one that is that just now may have waited for long. */
    schedule->passed = 0;
    schedule->aged = first_class(schedule->waiting & ~(1U << schedule->ordered),
                                 (uint8_t)((schedule->aged + 1) % HWS_SCHEDULE_CLASSES));
    return schedule->aged;
}

hws_turn_t *hws_schedule_next(hws_schedule_t *schedule)
{
    hws_list_t *class;
    hws_list_t *link;

    if (schedule->waiting == 0)
        return NULL;
    class = &schedule->classes[next_class(schedule)];
    link = class->next;
    hws_list_remove(link);
    hws_list_push_back(class, link);
    return HWS_CONTAINER(link, hws_turn_t, link);
}
