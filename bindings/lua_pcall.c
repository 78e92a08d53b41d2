/* hawser.pcall of Lua 5.1, in which a task may wait.
 *
 * The protected function runs in a coroutine of its own, and the task resumes always the innermost
 * one: an error ends that coroutine and becomes the result of the pcall in the one around it. */
#include "lua_task.h"

#if HWL_IS_LUA51

/* Lies on the stack of the coroutine around. */
typedef struct hwl_pcall {
    struct hwl_pcall *outer;
    lua_State *L; /* the coroutine around */
    int arguments;
} hwl_pcall_t;

/* Outside a task, and where a task cannot yield, nothing can wait; there the usual pcall does. */
static bool may_yield(lua_State *L)
{
    lua_Debug frame;
    int level;

    for (level = 1; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "S", &frame);
        if (frame.what[0] == 'C')
            return false;
    }
    return true;
}

static int call_plainly(lua_State *L)
{
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);

    lua_pushboolean(L, status == LUA_OK);
    lua_insert(L, 1);
    return lua_gettop(L);
}

int hwl_pcall(lua_State *L)
{
    hwl_t *lua = hwl_of(L);
    hwl_task_t *task = hwl_wait_task(L, lua);
    int count = lua_gettop(L);
    hwl_pcall_t *pcall;
    lua_State *inner;
    int i;

    luaL_checkany(L, 1);
    if (task == NULL || !may_yield(L))
        return call_plainly(L);
    pcall = lua_newuserdata(L, sizeof(*pcall));
    inner = lua_newthread(L);
    luaL_checkstack(L, count, "too many arguments");
    if (!lua_checkstack(inner, count + 1))
        return luaL_error(L, "too many arguments");
    for (i = 1; i <= count; i++)
        lua_pushvalue(L, i);
    pcall->arguments = hwl_task_prepare(L, lua, count - 1);
    lua_xmove(L, inner, pcall->arguments + 1);
    pcall->outer = task->pcalls;
    pcall->L = L;
    task->pcalls = pcall;
    task->entering = inner;
    return lua_yield(L, 0);
}

bool hwl_pcall_next(hwl_task_t *task, int *status, int *count)
{
    hwl_pcall_t *pcall = task->pcalls;
    lua_State *inner = task->L;

    if (task->entering != NULL) {
        task->L = task->entering;
        task->entering = NULL;
        *count = pcall->arguments;
        return true;
    }
    if (*status == LUA_YIELD || pcall == NULL)
        return false;
    if (*status != LUA_OK)
        *count = 1;
    task->L = pcall->L;
    task->pcalls = pcall->outer;
    if (!lua_checkstack(task->L, *count + 1)) {
        lua_pushboolean(task->L, false);
        lua_pushliteral(task->L, "too many results");
        *count = 2;
        return true;
    }
    lua_pushboolean(task->L, *status == LUA_OK);
    lua_xmove(inner, task->L, *count);
    *count += 1;
    return true;
}

#else

int hwl_pcall(lua_State *L)
{
    return luaL_error(L, "not needed here");
}

bool hwl_pcall_next(hwl_task_t *task, int *status, int *count)
{
    (void)task;
    (void)status;
    (void)count;
    return false;
}

#endif
