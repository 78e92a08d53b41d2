/* What Lua sees of the loop: sleeping, the clock, and the ways by which a host turns it. */
#include "lua_error.h"
#include "lua_guard.h"
#include "lua_wait.h"

/* ---- sleeping ---- */

static int push_true(lua_State *L, hwl_wait_t *wait)
{
    (void)wait;
    lua_pushboolean(L, 1);
    return 1;
}

static void wake(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    hwl_wait_end_later(HWS_CONTAINER(timer, hwl_wait_t, timer));
}

static void cancel(hwl_wait_t *wait)
{
    hwl_wait_settle(wait, HWS_ERR_CANCELED, HWL_NO_PHASE, NULL);
}

static void leave(hwl_wait_t *wait)
{
    hws_loop_cancel_timer(wait->lua->loop, &wait->timer);
}

int hwl_loop_sleep(lua_State *L)
{
    static const hwl_operation_t sleep_operation = {
        .push = push_true,
        .cancel = cancel,
        .leave = leave,
        .phase = HWL_NO_PHASE,
    };
    hwl_t *lua = hwl_of(L);
    hws_time_t span = hwl_check_span(L, "the time to sleep", 1, 0, false);
    int callback = hwl_check_callback(L, 2);
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, callback, &local);

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    hws_timer_init(&wait->timer, wake);
    hws_loop_set_timer(lua->loop, &wait->timer, hws_loop_now(lua->loop) + span);
    return hwl_wait_for(L, wait, &sleep_operation, NULL);
}

int hwl_loop_now(lua_State *L)
{
    lua_pushnumber(L, hwl_seconds(hws_loop_now(hwl_loop(L, hwl_of(L)))));
    return 1;
}

/* ---- turned by somebody else ---- */

int hwl_loop_pollfd(lua_State *L)
{
    hwl_of(L)->is_external = true;
    return hwl_loop_descriptor(L);
}

/* Nothing, when there is nothing to wait for but the descriptor. */
int hwl_loop_timeout(lua_State *L)
{
    hws_time_t span = hws_loop_timeout(hwl_loop(L, hwl_of(L)));

    if (span == HWS_NEVER)
        lua_pushnil(L);
    else
        lua_pushnumber(L, hwl_seconds(span));
    return 1;
}

int hwl_loop_step(lua_State *L)
{
    hwl_t *lua = hwl_of(L);

    hwl_loop(L, lua);
    hwl_guard_check_wait(L, lua);
    if (lua->turner != NULL)
        return luaL_error(L, "hawser.step turns the loop and cannot be called while it is turning");
    hwl_wait_check_turn(L, lua);
    hwl_wait_turn(L, lua, false);
    hwl_wait_wake_host(L, lua);
    return 0;
}

/* ---- for the host's glue ---- */

int hwl_loop_descriptor(lua_State *L)
{
    lua_pushinteger(L, hws_loop_descriptor(hwl_loop(L, hwl_of(L))));
    return 1;
}

/* One turn without waiting, as the host was asked for by `arm`. A callback of ours may make the host
 * run its own loop (vim.wait does) and so come here again: then the turn under way does the work.
 * Returns whether it turned. */
int hwl_loop_enter(lua_State *L)
{
    hwl_t *lua = hwl_of(L);
    bool may_turn = lua->loop != NULL && lua->turner == NULL && !hwl_guard_is_running(lua) &&
                    !hws_loop_is_forked(lua->loop) && hwl_wait_may_turn(L, lua);

    if (may_turn)
        hwl_wait_turn(L, lua, false);
    lua->is_host_armed = false;
    lua_pushboolean(L, may_turn);
    return 1;
}

int hwl_loop_is_turning(lua_State *L)
{
    lua_pushboolean(L, hwl_of(L)->turner != NULL);
    return 1;
}

int hwl_loop_is_pending(lua_State *L)
{
    lua_pushboolean(L, hwl_of(L)->pending > 0);
    return 1;
}

int hwl_loop_is_used(lua_State *L)
{
    lua_pushboolean(L, hwl_of(L)->loop != NULL);
    return 1;
}

/* (arm, is_busy): see hwl_t. */
int hwl_loop_attach(lua_State *L)
{
    hwl_t *lua = hwl_of(L);

    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua->host_is_busy = luaL_ref(L, LUA_REGISTRYINDEX);
    lua->host_arm = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}
