/* events.h - what happened, kept until the manager's user can be told, which is at rest. */
#ifndef HWS_EVENTS_H
#define HWS_EVENTS_H

#include <hawser/manager.h>

/* Tells an event if anybody listens. */
void hws_manager_tell(hws_manager_t *manager, hws_event_type_t type, const char *upstream,
                      const char *peer, const char *reason, hws_time_t age, hws_time_t now);
/* HWS_EVENT_RETRY: the `attempt`-th has failed. */
void hws_manager_tell_retry(hws_manager_t *manager, const char *upstream, const char *peer,
                            const char *reason, uint32_t attempt, hws_time_t delay, hws_time_t now);
/* HWS_EVENT_CONNECT. */
void hws_manager_tell_connect(hws_manager_t *manager, const char *upstream, const char *peer,
                              bool is_resumed, hws_time_t now);

void hws_events_init(hws_manager_t *manager);
/* Forgets those that wait. */
void hws_events_drop(hws_manager_t *manager);

#endif
