#include "lua_place.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

#define FIRST_ROOM 16

static bool grow(hwl_places_t *places)
{
    uint32_t room = places->room == 0 ? FIRST_ROOM : places->room * 2;
    hwl_known_place_t *known;

    if (places->count < places->room)
        return true;
    if (room > HWL_PLACES || (known = hws_realloc(places->known, room * sizeof(*known))) == NULL)
        return false;
    places->known = known;
    places->room = room;
    return true;
}

/* Finding out costs as much as a read of a lease, so it is done only for who would hear of it. */
hwl_place_t hwl_place_take(lua_State *L, hwl_places_t *places, const hws_manager_t *manager)
{
    hwl_known_place_t *known;
    hwl_place_t *bucket;
    hwl_place_t place;
    lua_Debug frame;

    if (!hws_manager_hears(manager, HWS_EVENT_LEAK) || !lua_getstack(L, 1, &frame))
        return 0;
    lua_getinfo(L, "Sl", &frame);
    bucket = &places->buckets[(unsigned)frame.currentline % HWL_PLACE_BUCKETS];
    for (place = *bucket; place != 0; place = known->next) {
        known = &places->known[place - 1];
        if (known->line == frame.currentline && strcmp(known->source, frame.short_src) == 0)
            return place;
    }
    if (!grow(places))
        return 0;
    known = &places->known[places->count++];
    memcpy(known->source, frame.short_src, sizeof(known->source));
    known->line = frame.currentline;
    known->next = *bucket;
    return *bucket = (hwl_place_t)places->count;
}

void hwl_place_text(const hwl_places_t *places, hwl_place_t place, char text[HWL_PLACE_TEXT])
{
    text[0] = '\0';
    if (place != 0 && place <= places->count) /* else they are gone: the state is being closed */
        snprintf(text, HWL_PLACE_TEXT, "%s:%d", places->known[place - 1].source,
                 places->known[place - 1].line);
}

void hwl_places_dispose(hwl_places_t *places)
{
    hws_free(places->known);
    *places = (hwl_places_t){.known = NULL};
}
