/* slots.h - the cap on all connections of a manager: who may have one more. */
#ifndef HWS_SLOTS_H
#define HWS_SLOTS_H

#include "base/list.h"

#include <hawser/manager.h>

/* Whether nobody waits for a place who comes before the upstream of `starved_link`. */
bool hws_manager_is_turn_of(hws_manager_t *manager, const hws_list_t *starved_link);
/* A place for one more connection, after closing an idle one if need be. Else, and while others
 * wait whose turn comes first, the upstream of `starved_link` queues up for one. */
bool hws_manager_take_slot(hws_manager_t *manager, hws_list_t *starved_link, hws_time_t now);
void hws_manager_queue_up(hws_manager_t *manager, hws_list_t *starved_link);
/* A place is free, or can be made: who waits is served at the next rest. */
void hws_manager_note_room(hws_manager_t *manager);
/* Serves at once whoever comes first, if it is not the upstream of `starved_link` and has no
 * connection at all. */
void hws_manager_serve_poor(hws_manager_t *manager, const hws_list_t *starved_link, hws_time_t now);
void hws_manager_give_slot(hws_manager_t *manager);
/* As the option max_connections. Idle ones beyond it close now, others when they are handed back. */
int hws_manager_set_max(hws_manager_t *manager, uint32_t max_connections, hws_error_t *why,
                        hws_time_t now);
/* The system has no descriptor left: fewer connections for a while. True when waiting helps. */
bool hws_manager_out_of_files(hws_manager_t *manager, hws_time_t now);

/* `max_connections` as the option. */
void hws_slots_init(hws_manager_t *manager, uint32_t max_connections);
/* Nobody will ask any more. */
void hws_slots_close(hws_manager_t *manager);

#endif
