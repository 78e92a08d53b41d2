#include "lua_event.h"

#include "lua_error.h"
#include "lua_manager.h"

#include <stdio.h>
#include <string.h>

/* Pushes one list or function of the manager's table, whose userdata lies at `manager`. */
static void push_of(lua_State *L, int manager, const char *field)
{
    hwl_get_table(L, manager);
    lua_getfield(L, -1, field);
    lua_remove(L, -2);
}

static void complain(lua_State *L, const char *what)
{
    const char *text = lua_tostring(L, -1);

    fprintf(stderr, "hawser: %s%s\n", what, text != NULL ? text : "an error that is no string");
}

/* Calls a function of the user's, which lies below its arguments. What it raises is reported; but if
 * it is the one who was to tell of such, to stderr. */
static void call(lua_State *L, int arguments, const char *what)
{
    hwl_t *lua = hwl_find(L);
    int handler = lua_gettop(L) - arguments;

    hwl_push_helper(L, lua, HWL_HELPER_TRACEBACK);
    lua_insert(L, handler);
    if (lua_pcall(L, arguments, 0, handler) == LUA_OK) {
        lua_pop(L, 1);
        return;
    }
    if (lua->is_reporting) {
        complain(L, what);
        lua_pop(L, 1);
    } else {
        hwl_event_report(L, lua, what);
    }
    lua_pop(L, 1);
}

/* Gives the event on top of the stack to all who want it; whether there was one. The list of
 * handlers is never changed in place, so that they may be changed meanwhile. */
static bool tell(lua_State *L, int manager, const char *name)
{
    int event = lua_gettop(L);
    bool is_heard = false;
    int i;

    push_of(L, manager, "handlers");
    for (i = 1; i <= (int)lua_rawlen(L, event + 1); i++) {
        lua_rawgeti(L, event + 1, i);
        lua_getfield(L, -1, "event");
        if (strcmp(lua_tostring(L, -1), name) == 0) {
            is_heard = true;
            lua_getfield(L, -2, "call");
            lua_pushvalue(L, event);
            call(L, 1, "an event's function raised: ");
        }
        lua_pop(L, 2);
    }
    lua_settop(L, event);
    return is_heard;
}

/* The same for `log`; the message lies on top of the stack, above the event. */
static bool log_it(lua_State *L, int manager, const char *level)
{
    int message = lua_gettop(L);

    push_of(L, manager, "log");
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushstring(L, level);
    lua_pushvalue(L, message);
    lua_pushvalue(L, message - 1);
    call(L, 3, "log raised: ");
    return true;
}

/* ---- the core's events ---- */

static void set_text(lua_State *L, const char *field, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void push_event(lua_State *L, const hws_event_t *event)
{
    lua_createtable(L, 0, 8);
    set_text(L, "event", hws_event_name(event->type));
    set_text(L, "upstream", event->upstream);
    set_text(L, "peer", event->peer);
    set_text(L, "reason", event->reason);
    set_text(L, "text", event->text);
    lua_pushnumber(L, hwl_seconds(event->at));
    lua_setfield(L, -2, "at");
    if (event->age > 0) {
        lua_pushnumber(L, hwl_seconds(event->age));
        lua_setfield(L, -2, "age");
    }
    if (event->type == HWS_EVENT_RETRY) {
        lua_pushinteger(L, (lua_Integer)event->attempt);
        lua_setfield(L, -2, "attempt");
        lua_pushnumber(L, hwl_seconds(event->delay));
        lua_setfield(L, -2, "delay");
    }
    if (event->type == HWS_EVENT_CONNECT) {
        lua_pushboolean(L, event->is_resumed);
        lua_setfield(L, -2, "resumed");
    }
}

typedef struct {
    hwl_manager_t *manager;
    const hws_event_t *event;
} delivery_t;

static int deliver(lua_State *L)
{
    const delivery_t *delivery = lua_touserdata(L, 1);
    bool is_heard;

    if (!hwl_manager_push(L, delivery->manager))
        return 0;
    push_event(L, delivery->event);
    is_heard = tell(L, 2, hws_event_name(delivery->event->type));
    if (delivery->event->type == HWS_EVENT_POLICY_ERROR) {
        lua_pushfstring(L, "the %s policy of %s failed: %s", delivery->event->reason,
                        delivery->event->upstream, delivery->event->text);
        if (!log_it(L, 2, "warn") && !is_heard)
            complain(L, "");
    }
    if (delivery->event->type == HWS_EVENT_LEAK) {
        lua_pushfstring(L, "a %s was never released; it was made at %s", delivery->event->reason,
                        delivery->event->text);
        log_it(L, 2, "warn");
    }
    return 0;
}

void hwl_event_on_event(void *user, const hws_event_t *event)
{
    delivery_t delivery = {.manager = user, .event = event};

    hwl_protect(delivery.manager->lua->turner, deliver, &delivery);
}

void hwl_event_warn_unverified(lua_State *L, hwl_manager_t *manager, const char *upstream)
{
    int self;

    if (manager->has_warned || !hwl_manager_push(L, manager))
        return;
    self = lua_gettop(L);
    lua_newtable(L);
    set_text(L, "upstream", upstream);
    lua_pushliteral(L,
                    "tls.verify is false: whoever answers is trusted, and may read and change all");
    manager->has_warned = log_it(L, self, "warn");
    lua_settop(L, self - 1);
}

/* ---- what users' functions raise ---- */

typedef struct {
    hwl_t *lua;
    const char *what;
} report_t;

/* (report): tells every manager, or stderr, of the value on the spare thread: brought that way,
 * nothing is allocated outside of protected mode. */
static int report(lua_State *L)
{
    const report_t *given = lua_touserdata(L, 1);
    hwl_t *lua = given->lua;
    bool is_heard = false;

    lua_pushnil(L);
    lua_xmove(lua->spare, L, 1);
    lua_pushstring(L, given->what);
    if (luaL_callmeta(L, 3, "__tostring") == 0)
        lua_pushvalue(L, 3);
    if (!lua_isstring(L, 5)) {
        lua_pushfstring(L, "a %s", luaL_typename(L, 3));
        lua_replace(L, 5);
    }
    lua_concat(L, 2);
    HWS_LIST_EACH(link, &lua->managers) {
        hwl_manager_t *manager = HWS_CONTAINER(link, hwl_manager_t, link);
        hws_event_t event = {
            .type = HWS_EVENT_ERROR,
            .at = hws_loop_now(lua->loop),
            .text = lua_tostring(L, 4),
        };

        if (hws_manager_is_closed(manager->core) || !hwl_manager_push(L, manager))
            continue;
        push_event(L, &event);
        lua_pushvalue(L, 3);
        lua_setfield(L, -2, "error");
        is_heard |= tell(L, 5, "error");
        lua_pushvalue(L, 4);
        is_heard |= log_it(L, 5, "error");
        lua_settop(L, 4);
    }
    if (!is_heard)
        complain(L, "");
    return 0;
}

void hwl_event_report(lua_State *L, hwl_t *lua, const char *what)
{
    report_t given = {.lua = lua, .what = what};

    lua_xmove(L, lua->spare, 1);
    lua->is_reporting = true;
    if (!hwl_protect(L, report, &given))
        fprintf(stderr, "hawser: %san error that could not be reported\n", what);
    lua->is_reporting = false;
    lua_settop(lua->spare, 0);
}

/* ---- m:on, m:off ---- */

static uint32_t bit_of(const char *name)
{
    int type;

    for (type = 0; type < HWS_EVENT_COUNT; type++)
        if (strcmp(name, hws_event_name((hws_event_type_t)type)) == 0)
            return 1U << type;
    return 0;
}

/* Pushes the known names, for the message about an unknown one. */
static void push_names(lua_State *L)
{
    int type;

    lua_newtable(L);
    for (type = 0; type < HWS_EVENT_COUNT; type++) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, hws_event_name((hws_event_type_t)type));
    }
}

static int refuse_event(lua_State *L, hwl_t *lua)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return hwl_refuse(L, "the event", 2, "the name of one");
    hwl_push_helper(L, lua, HWL_HELPER_UNKNOWN);
    lua_pushliteral(L, "event");
    lua_pushvalue(L, 2);
    push_names(L);
    lua_call(L, 3, 1);
    return luaL_error(L, "%s", lua_tostring(L, -1));
}

/* Pushes a copy of the manager's handlers without the one called `id`, and makes the core tell what
 * those want. Whether `id` was among them. */
static bool copy_handlers(lua_State *L, hwl_manager_t *manager, lua_Integer id)
{
    int count;
    int kept = 0;
    int i;

    push_of(L, 1, "handlers");
    count = (int)lua_rawlen(L, -1);
    lua_createtable(L, count + 1, 0);
    manager->listening = HWL_EVENTS_LOGGED;
    for (i = 1; i <= count; i++) {
        bool is_it;

        lua_rawgeti(L, -2, i);
        lua_getfield(L, -1, "event");
        lua_getfield(L, -2, "id");
        is_it = lua_tointeger(L, -1) == id;
        if (!is_it)
            manager->listening |= bit_of(lua_tostring(L, -2));
        lua_pop(L, 2);
        if (is_it)
            lua_pop(L, 1);
        else
            lua_rawseti(L, -2, ++kept);
    }
    lua_remove(L, -2);
    return kept < count;
}

static void set_handlers(lua_State *L, hwl_manager_t *manager)
{
    hwl_get_table(L, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "handlers");
    lua_pop(L, 1);
    hws_manager_listen(manager->core, manager->listening);
}

int hwl_event_on(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;
    uint32_t bit = lua_type(L, 2) == LUA_TSTRING ? bit_of(lua_tostring(L, 2)) : 0;

    if (!hwl_is_alive(L, self))
        return 2;
    if (bit == 0)
        return refuse_event(L, manager->lua);
    if (!lua_isfunction(L, 3))
        return hwl_refuse(L, "what is to be called for an event", 3, "a function");
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_FORKED, NULL);
    if (hws_manager_is_closed(manager->core))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_CLOSED, "the manager");
    copy_handlers(L, manager, 0);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, ++manager->last_id);
    lua_setfield(L, -2, "id");
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "event");
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "call");
    lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
    manager->listening |= bit;
    set_handlers(L, manager);
    lua_pushinteger(L, manager->last_id);
    return 1;
}

/* Returns whether there was one of that id. */
int hwl_event_off(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;
    bool was_there;

    if (!hwl_is_alive(L, self))
        return 2;
    if (lua_type(L, 2) != LUA_TNUMBER)
        return hwl_refuse(L, "the id", 2, "what m:on() returned");
    was_there = copy_handlers(L, manager, lua_tointeger(L, 2));
    set_handlers(L, manager);
    lua_pushboolean(L, was_there);
    return 1;
}
