#include "events.h"

#include "base/memory.h"
#include "manager.h"

#include <stdio.h>

/* Events that wait to be told; beyond it the newest are dropped. */
#define EVENTS_MAX 4096

typedef struct {
    hws_list_t link;
    hws_event_t event;
    char upstream[HWS_EVENT_TEXT_MAX + 1];
    char peer[HWS_PEER_ID_MAX + 1];
    char text[HWS_EVENT_TEXT_MAX + 1];
} queued_event_t;

#define NAME(symbol, word) word,
static const char *const event_names[] = {HWS_EVENT_LIST(NAME)};
static const char *const close_names[] = {HWS_CLOSE_LIST(NAME)};
#undef NAME

const char *hws_event_name(hws_event_type_t type)
{
    return event_names[type];
}

const char *hws_close_reason_name(hws_close_reason_t reason)
{
    return close_names[reason];
}

bool hws_manager_hears(const hws_manager_t *manager, hws_event_type_t type)
{
    return (manager->listening >> type & 1U) != 0 && manager->on_event != NULL;
}

static bool is_heard(const hws_manager_t *manager, hws_event_type_t type)
{
    return hws_manager_hears(manager, type) && manager->event_count < EVENTS_MAX;
}

static void copy_text(char *to, size_t size, const char *from)
{
    if (from != NULL)
        snprintf(to, size, "%s", from);
}

void hws_manager_report(hws_manager_t *manager, const hws_event_t *event)
{
    queued_event_t *queued;

    if (!is_heard(manager, event->type) || (queued = hws_zalloc(sizeof(*queued))) == NULL)
        return;
    queued->event = *event;
    copy_text(queued->upstream, sizeof(queued->upstream), event->upstream);
    copy_text(queued->peer, sizeof(queued->peer), event->peer);
    copy_text(queued->text, sizeof(queued->text), event->text);
    queued->event.upstream = queued->upstream;
    queued->event.peer = queued->peer;
    queued->event.text = queued->text;
    queued->event.reason = event->reason != NULL ? event->reason : "";
    hws_list_push_back(&manager->events, &queued->link);
    manager->event_count++;
    hws_loop_defer(manager->loop, &manager->tell);
}

void hws_manager_tell(hws_manager_t *manager, hws_event_type_t type, const char *upstream,
                      const char *peer, const char *reason, hws_time_t age, hws_time_t now)
{
    hws_event_t event = {
        .type = type, .at = now, .upstream = upstream, .peer = peer, .reason = reason, .age = age};

    if (is_heard(manager, type))
        hws_manager_report(manager, &event);
}

void hws_manager_tell_retry(hws_manager_t *manager, const char *upstream, const char *peer,
                            const char *reason, uint32_t attempt, hws_time_t delay, hws_time_t now)
{
    hws_event_t event = {.type = HWS_EVENT_RETRY,
                         .at = now,
                         .upstream = upstream,
                         .peer = peer,
                         .reason = reason,
                         .attempt = attempt,
                         .delay = delay};

    if (is_heard(manager, HWS_EVENT_RETRY))
        hws_manager_report(manager, &event);
}

void hws_manager_tell_connect(hws_manager_t *manager, const char *upstream, const char *peer,
                              bool is_resumed, hws_time_t now)
{
    hws_event_t event = {.type = HWS_EVENT_CONNECT,
                         .at = now,
                         .upstream = upstream,
                         .peer = peer,
                         .reason = "",
                         .is_resumed = is_resumed};

    if (is_heard(manager, HWS_EVENT_CONNECT))
        hws_manager_report(manager, &event);
}

static void tell_events(hws_deferred_t *deferred)
{
    hws_manager_t *manager = HWS_CONTAINER(deferred, hws_manager_t, tell);
    uint32_t count = manager->event_count;

    /* Destroying it from inside takes effect at a later rest, so it lasts through this loop. */
    while (count-- > 0 && manager->event_count > 0) {
        hws_list_t *link = hws_list_first(&manager->events);
        queued_event_t *queued = HWS_CONTAINER(link, queued_event_t, link);

        hws_list_remove(link);
        manager->event_count--;
        manager->on_event(manager->user, &queued->event);
        hws_free(queued);
    }
}

void hws_events_init(hws_manager_t *manager)
{
    hws_list_init(&manager->events);
    hws_deferred_init(&manager->tell, tell_events);
}

void hws_events_drop(hws_manager_t *manager)
{
    hws_list_t *link;

    while ((link = hws_list_first(&manager->events)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, queued_event_t, link));
    }
    manager->event_count = 0;
    hws_list_remove(&manager->tell.link);
}

void hws_manager_listen(hws_manager_t *manager, uint32_t events)
{
    manager->listening = events;
}
