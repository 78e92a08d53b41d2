/* hawser.run: a function, and all that it starts, to their ends. */
#include "lua_call.h"
#include "lua_guard.h"
#include "lua_task.h"

static int give_up(lua_State *L)
{
    return luaL_error(L, "hawser.run would never end: tasks are waiting, but nothing is in flight");
}

static int run_all(lua_State *L, hwl_t *lua)
{
    hwl_guard_check_wait(L, lua);
    hwl_loop(L, lua);
    while (lua->pending > 0)
        if (hwl_wait_turn(L, lua, true) == HWS_END && lua->pending > 0)
            return give_up(L);
    hwl_wait_wake_host(L, lua);
    return 0;
}

static void cancel_all(hwl_t *lua, const hwl_group_t *group)
{
    HWS_LIST_EACH(link, &lua->tasks) {
        hwl_task_t *task = HWS_CONTAINER(link, hwl_task_t, link);

        if (task->group == group)
            hwl_task_cancel(task);
    }
    hwl_calls_cancel(lua, group);
}

static void forget(hwl_t *lua, const hwl_group_t *group)
{
    HWS_LIST_EACH(link, &lua->tasks) {
        hwl_task_t *task = HWS_CONTAINER(link, hwl_task_t, link);

        if (task->group == group)
            task->group = NULL;
    }
    hwl_calls_forget(lua, group);
}

int hwl_run(lua_State *L)
{
    hwl_t *lua = hwl_of(L);
    hwl_group_t group = {.count = 0};
    hwl_task_t *task;
    hwl_wait_t end;
    int count;

    hwl_wait_check_block(L, lua);
    if (lua_isnoneornil(L, 1))
        return run_all(L, lua);
    if (!lua_isfunction(L, 1))
        return hwl_refuse(L, "what hawser.run is to run", 1, "a function, or nothing");
    luaL_checkstack(L, 2 * LUA_MINSTACK, "hawser.run");
    task = hwl_task_create(L, lua, lua_gettop(L) - 1);
    task->group = &group;
    group.count = 1;
    task->wants_traceback = task->is_awaited = true;

    while (group.count > 0) {
        if (hwl_wait_turn(L, lua, true) == HWS_END && group.count > 0) {
            forget(lua, &group);
            hwl_task_unhold(task);
            return give_up(L);
        }
        /* Each time anew: what is told to end may start something else. */
        if (task->has_raised)
            cancel_all(lua, &group);
    }
    hwl_wait_init(&end, lua, HWL_FORM_BLOCK);
    count = hwl_task_take(L, &end, task);
    hwl_wait_wake_host(L, lua);
    return end.extra != NULL ? lua_error(L) : count;
}
