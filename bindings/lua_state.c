#include "lua_state.h"

#include "base/buffer.h"
#include "lua_call.h"
#include "lua_guard.h"
#include "lua_task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_SPAN 1e9 /* seconds; about 30 years */
#define SHOWN_BYTES 60   /* of a string in a message */

static void forget_links(hws_list_t *list)
{
    while (!hws_list_is_empty(list))
        hws_list_remove(list->next);
}

void hwl_note_fork(lua_State *L, hwl_t *lua)
{
    if (lua->loop == NULL || !hws_loop_is_forked(lua->loop))
        return;
    lua->loop = NULL; /* first: what follows must not tell it anything */
    lua->turner = NULL;
    lua->running = NULL;
    lua->group = NULL;
    hwl_tasks_forget(lua);
    hwl_calls_forget_all(lua);
    forget_links(&lua->conns);
    forget_links(&lua->exchanges);
    forget_links(&lua->duplexes);
    forget_links(&lua->sessions);
    forget_links(&lua->drains);
    forget_links(&lua->managers);
    luaL_unref(L, LUA_REGISTRYINDEX, lua->default_manager);
    lua->default_manager = LUA_NOREF;
    lua->is_host_armed = false;
}

hws_loop_t *hwl_loop(lua_State *L, hwl_t *lua)
{
    int rc;

    if (lua->is_closed)
        luaL_error(L, "hawser cannot be used any more: the Lua state is being closed");
    hwl_note_fork(L, lua);
    if (lua->loop != NULL)
        return lua->loop;
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

void hwl_note_thread(lua_State *L)
{
    const hwl_t *lua = HWL_IS_LUAJIT ? hwl_find(L) : NULL;

    if (lua == NULL)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->nothing);
    lua_call(L, 0, 0);
}

_Noreturn void hwl_out_of_memory(lua_State *L)
{
    luaL_error(L, "out of memory");
    abort(); /* not reached, which the declaration of luaL_error() does not say */
}

bool hwl_protect(lua_State *L, lua_CFunction function, void *argument)
{
    int top = lua_gettop(L);
    int status;

#if LUA_VERSION_NUM == 501 /* where a C function takes memory */
    status = lua_cpcall(L, function, argument);
#else
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    status = lua_pcall(L, 1, 0, 0);
#endif
    lua_settop(L, top);
    return status == LUA_OK;
}

/* Puts functions into the table at `table`, each with hwl_t and, if `second` is not 0, that value as
 * upvalues. */
static void set_functions(lua_State *L, hwl_t *lua, const luaL_Reg *functions, int table,
                          int second)
{
    for (; functions->name != NULL; functions++) {
        lua_pushlightuserdata(L, lua);
        if (second != 0)
            lua_pushvalue(L, second);
        lua_pushcclosure(L, functions->func, second != 0 ? 2 : 1);
        lua_setfield(L, table, functions->name);
    }
}

/* ---- finalizers ---- */

/* (list): finalizes what it holds. */
static int finalize_all(lua_State *L)
{
    hwl_t *lua = lua_touserdata(L, 1);
    int i;

    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->doomed);
    for (i = 1; i <= lua->doomed_count; i++) {
        lua_rawgeti(L, 2, i);
        lua_pushnil(L);
        lua_rawseti(L, 2, i);
        if (luaL_getmetafield(L, 3, "__gc") != 0) {
            lua_pushvalue(L, 3);
            lua_call(L, 1, 0);
        }
        lua_settop(L, 2);
    }
    lua->doomed_count = 0;
    return 0;
}

static void bury(hws_deferred_t *deferred)
{
    hwl_t *lua = HWS_CONTAINER(deferred, hwl_t, bury);

    hwl_protect(lua->turner, finalize_all, lua);
}

/* The type's finalizer, whose entry is the third upvalue. While a policy runs the core is in the midst
 * of something: what is collected then waits for the next rest. */
static int finalize(lua_State *L)
{
    const luaL_Reg *entry = lua_touserdata(L, lua_upvalueindex(3));
    hwl_t *lua = hwl_of(L);

    if (!hwl_guard_is_running(lua))
        return entry->func(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->doomed);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, lua->doomed_count + 1);
    lua->doomed_count++;
    hws_loop_defer(lua->loop, &lua->bury);
    return 0;
}

void hwl_state_init_finalizers(lua_State *L, hwl_t *lua)
{
    hws_deferred_init(&lua->bury, bury);
    lua_newtable(L);
    lua->doomed = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* ---- types ---- */

static void wrap_finalizer(lua_State *L, hwl_t *lua, const luaL_Reg *metamethods, int metatable,
                           int methods)
{
    for (; metamethods->name != NULL; metamethods++) {
        if (strcmp(metamethods->name, "__gc") != 0)
            continue;
        lua_pushlightuserdata(L, lua);
        lua_pushvalue(L, methods);
        lua_pushlightuserdata(L, (void *)(uintptr_t)metamethods);
        lua_pushcclosure(L, finalize, 3);
        lua_setfield(L, metatable, "__gc");
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
    set_functions(L, lua, metamethods, metatable, table);
    wrap_finalizer(L, lua, metamethods, metatable, table);
    set_functions(L, lua, methods, table, 0);
    lua_pop(L, 1);
    lua->types[type] = luaL_ref(L, LUA_REGISTRYINDEX);
}

void hwl_add_methods(lua_State *L, hwl_t *lua, hwl_type_t type, const luaL_Reg *methods)
{
    hwl_push_type(L, lua, type);
    lua_getfield(L, -1, "methods");
    set_functions(L, lua, methods, lua_gettop(L), 0);
    lua_pop(L, 2);
}

static const char *type_of(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__name") != 0 && lua_type(L, -1) == LUA_TSTRING)
        return lua_tostring(L, -1);
    return luaL_typename(L, index);
}

void *hwl_new_bare(lua_State *L, hwl_t *lua, hwl_type_t type, size_t size, int values)
{
    hwl_header_t *header = hwl_new_userdata(L, sizeof(*header) + size, values);

    header->type = &type_names[type];
    header->lua = lua;
    return header + 1;
}

void *hwl_new(lua_State *L, hwl_t *lua, hwl_type_t type, size_t size, int values)
{
    void *bytes = hwl_new_bare(L, lua, type, size, values);

    hwl_push_type(L, lua, type);
    lua_setmetatable(L, -2);
    return bytes;
}

void *hwl_test(lua_State *L, int index, hwl_type_t type)
{
    hwl_header_t *header = lua_touserdata(L, index);

    /* A light userdata, which may point anywhere, has the length 0. */
    if (header == NULL || lua_rawlen(L, index) < sizeof(*header) ||
        header->type != &type_names[type])
        return NULL;
    return header + 1;
}

static void refuse_self(lua_State *L, hwl_type_t type)
{
    const char *given = lua_isnone(L, 1) ? "nothing" : type_of(L, 1);

    luaL_error(L, "a method of %s was called on %s (write object:method(), with a colon)",
               type_names[type], given);
}

static bool is_for_policies(hwl_type_t type)
{
    return type == HWL_PEER || type == HWL_DECISION || type == HWL_OUTCOME || type == HWL_ERROR ||
           type == HWL_HEADERS;
}

void *hwl_self(lua_State *L, hwl_type_t type)
{
    void *self = hwl_test(L, 1, type);

    if (self == NULL)
        refuse_self(L, type);
    if (hwl_guard_is_running(hwl_of_self(self)) && !is_for_policies(type))
        luaL_error(L, "not in a policy: it answers at once, from its arguments alone");
    return self;
}

void hwl_check_self(lua_State *L, hwl_type_t type)
{
    bool has_it = false;

    if (lua_getmetatable(L, 1)) {
        hwl_push_type(L, hwl_of(L), type);
        has_it = lua_rawequal(L, -1, -2) != 0;
        lua_pop(L, 2);
    }
    if (!has_it)
        refuse_self(L, type);
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

    if (lua_type(L, index) != LUA_TNUMBER || !(size >= (double)least && size <= (double)most) ||
        (double)(size_t)size < size) {
        char allowed[64]; /* not lua_pushfstring: Lua 5.3 and later would write 7.0 for 7 */

        snprintf(allowed, sizeof(allowed), "a whole number, %zu to %zu", least, most);
        hwl_refuse(L, name, index, allowed);
    }
    return (size_t)size;
}

int hwl_check_callback(lua_State *L, int index)
{
    if (lua_gettop(L) < index || lua_isnil(L, index))
        return 0;
    if (!lua_isfunction(L, index))
        hwl_refuse(L, "the callback", index, "a function, or nothing");
    return index;
}

int hwl_check_callback_after(lua_State *L, int index)
{
    if (lua_gettop(L) < index)
        return 0;
    return hwl_check_callback(L, lua_isfunction(L, index) ? index : index + 1);
}
