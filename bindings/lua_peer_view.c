#include "lua_peer_view.h"

#include <math.h>

typedef enum { FIXED, NUMBER, STATE, BREAKER } class_t;

static const struct {
    const char *name;
    class_t class;
} fields[] = {
#define FIELD(symbol, name, class) {name, class},
    HWL_PEER_FIELD_LIST(FIELD)
#undef FIELD
};

static const char *const states[] = {HWL_PEER_STATE_LIST};
static const char *const breakers[] = {HWL_PEER_BREAKER_LIST};

#define COUNT(list) ((int)(sizeof(list) / sizeof((list)[0])))

_Static_assert(HWL_PEER_FIELD_COUNT == HWL_PEER_FIELDS, "room in hwl_t");

hwl_peer_view_t *hwl_peer_view_new(lua_State *L, hwl_t *lua, const void *peer, hwl_peer_read_t read)
{
    hwl_peer_view_t *view = hwl_new(L, lua, HWL_PEER, sizeof(*view), 1);

    view->peer = peer;
    view->read = read;
    lua_insert(L, -2);
    hwl_set_table(L, -2);
    return view;
}

const void *hwl_peer_view_peer(lua_State *L, int index)
{
    const hwl_peer_view_t *view = hwl_test(L, index, HWL_PEER);

    return view != NULL ? view->peer : NULL;
}

/* Lua keeps a short string once, and these as long as the view's methods: what is no field of these
 * addresses is none. */
static hwl_peer_field_t find_field(const hwl_t *lua, const char *name)
{
    int field = 0;

    while (field < HWL_PEER_FIELD_COUNT && lua->peer_fields[field] != name)
        field++;
    return (hwl_peer_field_t)field;
}

/* (view, name) -> value. The second upvalue is a table with the words behind each other from 1 on, so
 * that none is made anew. */
static int index_view(lua_State *L)
{
    const hwl_peer_view_t *view = hwl_test(L, 1, HWL_PEER);
    hwl_peer_field_t field;
    double value;

    if (view == NULL || lua_type(L, 2) != LUA_TSTRING) {
        hwl_self(L, HWL_PEER);
        return 0;
    }
    field = find_field(hwl_of(L), lua_tostring(L, 2));
    if (field == HWL_PEER_FIELD_COUNT)
        return 0;
    if (fields[field].class == FIXED) {
        hwl_get_table(L, 1);
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
        return 1;
    }
    if (view->peer == NULL)
        return 0;
    value = view->read(view->peer, field);
    if (isnan(value))
        return 0;
    if (fields[field].class == NUMBER)
        lua_pushnumber(L, value);
    else
        lua_rawgeti(L, lua_upvalueindex(2),
                    (int)value + 1 + (fields[field].class == BREAKER ? COUNT(states) : 0));
    return 1;
}

static int to_string(lua_State *L)
{
    hwl_self(L, HWL_PEER);
    hwl_get_table(L, 1);
    lua_getfield(L, -1, "id");
    lua_pushfstring(L, "peer %s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "?");
    return 1;
}

static void add_words(lua_State *L, const char *const *words, int count, int after)
{
    int i;

    for (i = 0; i < count; i++) {
        lua_pushstring(L, words[i]);
        lua_rawseti(L, -2, after + i + 1);
    }
}

void hwl_define_peer_views(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__index", index_view},
        {"__tostring", to_string},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {{NULL, NULL}};
    int i;

    hwl_define(L, lua, HWL_PEER, metamethods, methods);
    hwl_push_type(L, lua, HWL_PEER);
    lua_getfield(L, -1, "methods");
    for (i = 0; i < HWL_PEER_FIELD_COUNT; i++) {
        lua_pushstring(L, fields[i].name);
        lua->peer_fields[i] = lua_tostring(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
    }
    add_words(L, states, COUNT(states), 0);
    add_words(L, breakers, COUNT(breakers), COUNT(states));
    lua_pop(L, 2);
}
