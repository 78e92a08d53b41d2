/* lua_place.h - where Lua code called a C function, for reports of what it lost there.
 *
 * Each place is kept once, by its number: what was called from there may be open a thousand times. */
#ifndef HWL_LUA_PLACE_H
#define HWL_LUA_PLACE_H

#include <lua.h>

#include <hawser/manager.h>

#include <stdint.h>

#define HWL_PLACES 1024 /* what comes from further ones comes from nowhere */
#define HWL_PLACE_BUCKETS 256
#define HWL_PLACE_TEXT (LUA_IDSIZE + 16)

/* 0: nobody wanted to know. */
typedef uint16_t hwl_place_t;

typedef struct {
    char source[LUA_IDSIZE];
    int line;
    hwl_place_t next; /* of its bucket; 0: none */
} hwl_known_place_t;

/* Zeroed is valid. */
typedef struct {
    hwl_known_place_t *known; /* owned; that of place n is known[n - 1] */
    uint32_t count;
    uint32_t room;
    hwl_place_t buckets[HWL_PLACE_BUCKETS];
} hwl_places_t;

/* For the event `leak` of `manager`. */
hwl_place_t hwl_place_take(lua_State *L, hwl_places_t *places, const hws_manager_t *manager);
/* "script.lua:12", or "". */
void hwl_place_text(const hwl_places_t *places, hwl_place_t place, char text[HWL_PLACE_TEXT]);
void hwl_places_dispose(hwl_places_t *places);

#endif
