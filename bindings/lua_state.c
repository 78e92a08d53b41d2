#include "lua_state.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST_SPAN 1e9 /* seconds; about 30 years */
#define SHOWN_BYTES 60   /* of a string in a message */

hws_loop_t *hwl_loop(lua_State *L, hwl_t *lua)
{
    int rc;

    if (lua->is_closed)
        luaL_error(L, "hawser cannot be used any more: the Lua state is being closed");
    if (lua->loop != NULL && (lua->turner != NULL || !hws_loop_is_forked(lua->loop)))
        return lua->loop;
    if (lua->loop != NULL) {
        /* What the parent had in flight is the parent's; this process begins with nothing. */
        hws_list_init(&lua->tasks);
        hws_list_init(&lua->calls);
        hws_list_init(&lua->conns);
        hws_list_init(&lua->exchanges);
        hws_list_init(&lua->drains);
        hws_list_init(&lua->managers);
        luaL_unref(L, LUA_REGISTRYINDEX, lua->default_manager);
        lua->default_manager = LUA_NOREF;
        lua->pending = 0;
        lua->is_host_armed = false;
    }
    lua->loop = NULL;
    if ((rc = hws_loop_create(&lua->loop)) != HWS_OK)
        luaL_error(L, "no event loop: %s", hws_error_text(rc));
    if (!lua->is_external) {
        hwl_push_helper(L, lua, HWL_HELPER_ATTACH);
        lua_call(L, 0, 0);
    }
    return lua->loop;
}

static const char *const type_names[] = {
#define TYPE_NAME(symbol, name) name,
    HWL_TYPE_LIST(TYPE_NAME)
#undef TYPE_NAME
};

_Noreturn void hwl_out_of_memory(lua_State *L)
{
    luaL_error(L, "out of memory");
    abort(); /* not reached, which the declaration of luaL_error() does not say */
}

void hwl_place_take(lua_State *L, hwl_place_t *place)
{
    lua_Debug frame;

    if (lua_getstack(L, 1, &frame)) {
        lua_getinfo(L, "Sl", &frame);
        memcpy(place->source, frame.short_src, sizeof(place->source));
        place->line = frame.currentline;
    } else {
        memcpy(place->source, "?", 2);
        place->line = 0;
    }
}

bool hwl_protect(lua_State *L, lua_CFunction function, void *argument)
{
    int top = lua_gettop(L);
    int status;

    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    status = lua_pcall(L, 1, 0, 0);
    lua_settop(L, top);
    return status == LUA_OK;
}

/* Puts functions into the table below the metatable on top, each with hwl_t, metatable and, if
 * `third` is not 0, that value as upvalues. */
static void set_functions(lua_State *L, hwl_t *lua, const luaL_Reg *functions, int table,
                          int metatable, int third)
{
    for (; functions->name != NULL; functions++) {
        lua_pushlightuserdata(L, lua);
        lua_pushvalue(L, metatable);
        if (third != 0)
            lua_pushvalue(L, third);
        lua_pushcclosure(L, functions->func, third != 0 ? 3 : 2);
        lua_setfield(L, table, functions->name);
    }
}

void hwl_define(lua_State *L, hwl_t *lua, hwl_type_t type, const luaL_Reg *metamethods,
                const luaL_Reg *methods)
{
    int metatable;
    int table;

    lua_newtable(L);
    metatable = lua_gettop(L);
    lua_newtable(L);
    table = lua_gettop(L);

    lua_pushstring(L, type_names[type]);
    lua_setfield(L, metatable, "__name");
    lua_pushvalue(L, table);
    lua_setfield(L, metatable, "methods");
    lua_pushvalue(L, table);
    lua_setfield(L, metatable, "__index");
    set_functions(L, lua, metamethods, metatable, metatable, table);
    set_functions(L, lua, methods, table, metatable, 0);
    lua_pop(L, 1);
    lua->types[type] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static const char *type_of(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__name") != 0 && lua_type(L, -1) == LUA_TSTRING)
        return lua_tostring(L, -1);
    return luaL_typename(L, index);
}

/* Whether the value at index 1 has the metatable of the method that is running. */
static bool has_own_type(lua_State *L)
{
    bool has_it = false;

    if (lua_getmetatable(L, 1)) {
        has_it = lua_topointer(L, -1) == lua_topointer(L, lua_upvalueindex(2));
        lua_pop(L, 1);
    }
    return has_it;
}

static void refuse_self(lua_State *L)
{
    const char *given = lua_isnone(L, 1) ? "nothing" : type_of(L, 1);

    lua_getfield(L, lua_upvalueindex(2), "__name");
    luaL_error(L, "a method of %s was called on %s (write object:method(), with a colon)",
               lua_tostring(L, -1), given);
}

void *hwl_self(lua_State *L)
{
    void *self = has_own_type(L) ? lua_touserdata(L, 1) : NULL;

    /* NULL: also a table that was given the metatable. */
    if (self == NULL)
        refuse_self(L);
    return self;
}

void *hwl_dying(lua_State *L)
{
    return has_own_type(L) ? lua_touserdata(L, 1) : NULL;
}

void hwl_check_self(lua_State *L)
{
    if (!has_own_type(L))
        refuse_self(L);
}

void *hwl_test(lua_State *L, const hwl_t *lua, int index, hwl_type_t type)
{
    bool is_it;

    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return NULL;
    hwl_push_type(L, lua, type);
    is_it = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return is_it ? lua_touserdata(L, index) : NULL;
}

/* Pushes how the value at `index` is shown in a message. */
static const char *show(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        if (lua_rawlen(L, index) > SHOWN_BYTES) {
            lua_pushlstring(L, lua_tostring(L, index), SHOWN_BYTES);
            return lua_pushfstring(L, "\"%s...\"", lua_tostring(L, -1));
        }
        return lua_pushfstring(L, "\"%s\"", lua_tostring(L, index));
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        return lua_tostring(L, -1);
    case LUA_TBOOLEAN:
        return lua_toboolean(L, index) ? "true" : "false";
    case LUA_TNIL:
    case LUA_TNONE:
        return "missing";
    default:
        return lua_pushfstring(L, "a %s", type_of(L, index));
    }
}

int hwl_refuse(lua_State *L, const char *name, int index, const char *allowed)
{
    return luaL_error(L, "%s is %s; allowed: %s", name, show(L, lua_absindex(L, index)), allowed);
}

hws_time_t hwl_check_span(lua_State *L, const char *name, int index, hws_time_t least,
                          bool may_be_off)
{
    if (may_be_off && lua_isboolean(L, index) && !lua_toboolean(L, index))
        return HWS_NEVER;
    if (lua_type(L, index) == LUA_TNUMBER) {
        double seconds = lua_tonumber(L, index);

        if (seconds >= 0 && seconds <= LONGEST_SPAN && (seconds > 0 || least == 0))
            return seconds * 1e6 >= (double)least ? (hws_time_t)(seconds * 1e6) : least;
    }
    return hwl_refuse(L, name, index,
                      least == 0 ? "a number of seconds, 0 to 1e9"
                      : may_be_off
                          ? "a number of seconds above 0, at most 1e9, or false for no limit"
                          : "a number of seconds above 0, at most 1e9");
}

size_t hwl_check_size(lua_State *L, const char *name, int index, size_t least, size_t most)
{
    double size = lua_tonumber(L, index);

    index = lua_absindex(L, index);
    if (lua_type(L, index) != LUA_TNUMBER || !(size >= (double)least && size <= (double)most) ||
        (double)(size_t)size < size) {
        lua_pushfstring(L, "a whole number, %f to %f", (lua_Number)least, (lua_Number)most);
        hwl_refuse(L, name, index, lua_tostring(L, -1));
    }
    return (size_t)size;
}

int hwl_check_callback(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return 0;
    if (!lua_isfunction(L, index))
        hwl_refuse(L, "the callback", index, "a function, or nothing");
    return index;
}
