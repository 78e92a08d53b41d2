#include "lua_wait.h"

#include "lua_call.h"
#include "lua_error.h"
#include "lua_guard.h"
#include "lua_task.h"

#include <assert.h>
#include <string.h>

static void end_deferred(hws_deferred_t *deferred)
{
    hwl_wait_end(HWS_CONTAINER(deferred, hwl_wait_t, deferred));
}

void hwl_wait_init(hwl_wait_t *wait, hwl_t *lua, hwl_form_t form)
{
    wait->lua = lua;
    wait->operation = NULL;
    wait->form = form;
    wait->is_ready = false;
    wait->is_giving = false;
    wait->is_cancel_due = false;
    wait->error.code = HWS_OK;
    hws_list_init(&wait->link);
    hws_deferred_init(&wait->deferred, end_deferred);
}

/* ---- who may wait, and how ---- */

hwl_task_t *hwl_wait_task(lua_State *L, const hwl_t *lua)
{
    return lua->running != NULL && lua->running->L == L ? lua->running : NULL;
}

#if HWL_IS_LUA51

/* Lua 5.1 does not tell whether a coroutine may yield: C functions on the stack prevent it, and so
 * does a `for` loop that calls its iterator. A metamethod does too but leaves no trace; there
 * lua_yield() itself raises (see hwl_task_go_on). */
static void check_yieldable(lua_State *L, const hwl_t *lua)
{
    lua_Debug frame;
    int level;

    (void)lua;
    for (level = 0; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sn", &frame);
        if ((level > 0 && frame.what[0] == 'C') ||
            (frame.name != NULL && strcmp(frame.name, "(for generator)") == 0))
            luaL_error(L, HWL_CANNOT_YIELD);
    }
}

#elif LUA_VERSION_NUM == 502

static bool is_transparent(const hwl_t *lua, lua_CFunction function)
{
    size_t i;

    for (i = 0; i < sizeof(lua->transparent) / sizeof(lua->transparent[0]); i++)
        if (function == lua->transparent[i])
            return true;
    return false;
}

/* Nor does Lua 5.2; there only C functions without a continuation prevent it. */
static void check_yieldable(lua_State *L, const hwl_t *lua)
{
    lua_Debug frame;
    int level;

    for (level = 1; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sf", &frame);
        if (frame.what[0] == 'C' && !is_transparent(lua, lua_tocfunction(L, -1)))
            luaL_error(L, HWL_CANNOT_YIELD);
        lua_pop(L, 1);
    }
}

#else

static void check_yieldable(lua_State *L, const hwl_t *lua)
{
    (void)lua;
    if (!lua_isyieldable(L))
        luaL_error(L, HWL_CANNOT_YIELD);
}

#endif

static bool is_main(lua_State *L)
{
    bool is_it = lua_pushthread(L) != 0;

    lua_pop(L, 1);
    return is_it;
}

static bool is_host_busy(lua_State *L, const hwl_t *lua)
{
    bool is_busy;

    if (lua->host_is_busy == LUA_NOREF)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->host_is_busy);
    lua_call(L, 0, 1);
    is_busy = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return is_busy;
}

#if HWL_IS_LUAJIT

static void raise_nothing(lua_State *L, lua_Debug *frame)
{
    (void)frame;
    lua_pushnil(L);
    lua_error(L);
}

/* LuaJIT takes every yield of a C function for a hook's own while hooks are off, and crashes: so no
 * task could run. They are off in a debug hook and in a finalizer, which the collector has stopped
 * for, too; that is cheaper to ask than to try a hook. */
bool hwl_wait_may_turn(lua_State *L, const hwl_t *lua)
{
    lua_Hook hook = lua_gethook(L);
    int mask = lua_gethookmask(L);
    int count = lua_gethookcount(L);
    int status;

    if (mask == 0 && lua_gc(L, LUA_GCISRUNNING, 0) != 0)
        return true;
    luaL_checkstack(L, 2, "waiting");
    lua_sethook(L, raise_nothing, LUA_MASKCALL, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->nothing);
    status = lua_pcall(L, 0, 0, 0);
    lua_sethook(L, hook, mask, count);
    if (status != LUA_OK)
        lua_pop(L, 1);
    return status != LUA_OK;
}

#else

bool hwl_wait_may_turn(lua_State *L, const hwl_t *lua)
{
    (void)L;
    (void)lua;
    return true;
}

#endif

void hwl_wait_check_turn(lua_State *L, const hwl_t *lua)
{
    if (!hwl_wait_may_turn(L, lua))
        luaL_error(L, "cannot wait here: LuaJIT runs no tasks in a finalizer or a debug hook");
}

void hwl_wait_check_block(lua_State *L, hwl_t *lua)
{
    hwl_note_fork(L, lua);
    hwl_guard_check_wait(L, lua);
    if (lua->turner != NULL || (lua->is_external && !is_main(L)) || is_host_busy(L, lua))
        luaL_error(L, "cannot wait here: pass a callback or use hawser.spawn");
    hwl_wait_check_turn(L, lua);
}

hwl_wait_t *hwl_wait_begin(lua_State *L, hwl_t *lua, int callback, hwl_wait_t *local)
{
    hwl_task_t *task;

    hwl_note_fork(L, lua);
    hwl_guard_check_wait(L, lua);
    if (callback != 0)
        return hwl_call_create(L, lua, callback);
    if ((task = hwl_wait_task(L, lua)) != NULL) {
        check_yieldable(L, lua);
        if (task->is_canceled)
            return NULL;
        hwl_wait_abandon(&task->wait); /* that raised in place of its results */
        return &task->wait;
    }
    hwl_wait_check_block(L, lua);
    hwl_loop(L, lua);
    /* What has begun must not be left by an error. */
    luaL_checkstack(L, 2 * LUA_MINSTACK, "waiting");
    hwl_wait_init(local, lua, HWL_FORM_BLOCK);
    return local;
}

/* A canceled task that goes on asking is stopped: it would spin for ever. Its coroutine is left
 * where it is, and hwl_task_go_on() ends the task. */
int hwl_wait_refused(lua_State *L, hwl_t *lua)
{
    if (++lua->running->refusals > HWL_MOST_REFUSALS)
        return hwl_yield(L);
    return hwl_error_fail_code(L, lua, HWS_ERR_CANCELED, NULL);
}

/* ---- results ---- */

/* Any allocation of Lua's may run a finalizer, which is user code in the middle of ours: hence
 * `is_giving`, from here until the wait is left. */
static int push_results(lua_State *L, hwl_wait_t *wait)
{
    int count;

    wait->is_giving = true;
    if (wait->error.code != HWS_OK)
        return hwl_error_fail(L, wait->lua, &wait->error);
    if ((count = wait->operation->push(L, wait)) != HWL_NOT_YET)
        return count;
    wait->is_giving = false;
    if (wait->is_cancel_due) {
        wait->is_cancel_due = false;
        wait->operation->cancel(wait);
    }
    return count;
}

/* () -> the results of the wait that is being taken. They are made in protected mode, because Lua may
 * run out of memory, and not on the waiter's own thread, because that one is suspended. */
int hwl_wait_push_results(lua_State *L)
{
    hwl_wait_t *wait = hwl_of(L)->taken;
    int count = push_results(L, wait);

    wait->is_ready = count != HWL_NOT_YET;
    return wait->is_ready ? count : 0;
}

int hwl_wait_take(lua_State *L, hwl_wait_t *wait)
{
    hwl_t *lua = wait->lua;
    lua_State *turner = lua->turner;
    int top = lua_gettop(L);

    /* A finalizer must not turn the loop either, whose bytes would be gone. */
    lua->turner = L;
    wait->is_ready = true;
    lua->taken = wait;
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->push_results);
    if (lua_pcall(L, 0, LUA_MULTRET, 0) != LUA_OK) {
        lua_settop(L, top);
        lua_pushnil(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, lua->out_of_memory);
    }
    lua->turner = turner;
    if (!wait->is_ready)
        return HWL_NOT_YET;
    hwl_wait_abandon(wait);
    return lua_gettop(L) - top;
}

void hwl_wait_abandon(hwl_wait_t *wait)
{
    const hwl_operation_t *operation = wait->operation;

    if (operation == NULL)
        return;
    wait->operation = NULL;
    wait->error.code = HWS_OK;
    wait->is_giving = false;
    wait->is_cancel_due = false;
    hws_list_remove(&wait->deferred.link);
    operation->leave(wait);
}

#if HWL_HAS_CONTINUATIONS

/* The task was resumed, which is protected mode, too: it makes the results itself. */
static int go_on(lua_State *L, int status, lua_KContext context)
{
    hwl_wait_t *wait = (hwl_wait_t *)context;
    int count = push_results(L, wait);

    (void)status;
    if (count == HWL_NOT_YET)
        return lua_yieldk(L, 0, context, go_on);
    hwl_wait_abandon(wait);
    return count;
}

static int suspend(lua_State *L, hwl_wait_t *wait)
{
    return lua_yieldk(L, 0, (lua_KContext)wait, go_on);
}

#else

static int suspend(lua_State *L, hwl_wait_t *wait)
{
    (void)wait;
    return hwl_yield(L);
}

#endif

/* ---- waiting ---- */

void hwl_wait_wake_host(lua_State *L, hwl_t *lua)
{
    if (lua->turner != NULL || lua->is_host_armed)
        return;
    if (lua->host_arm == LUA_NOREF) { /* nobody knows when the loop will turn again */
        if (lua->loop != NULL)        /* a child that was forked in its midst has none */
            hws_loop_flush(lua->loop);
        return;
    }
    lua->is_host_armed = true;
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->host_arm);
    lua_call(L, 0, 0);
}

int hwl_wait_turn(lua_State *L, hwl_t *lua, bool wait)
{
    hws_loop_t *loop = lua->loop;
    int rc;

    assert(lua->turner == NULL);
    luaL_checkstack(L, LUA_MINSTACK, "turning the loop");
    lua->turner = L;
    rc = hws_loop_run(loop, wait);
    lua->turner = NULL;
    hwl_note_thread(L);
    if (hws_loop_is_forked(loop)) {
        hwl_note_fork(L, lua);
        return HWS_ERR_FORKED;
    }
    return rc;
}

static int block(lua_State *L, hwl_wait_t *wait)
{
    int count;
    int rc;

    do {
        wait->is_ready = false;
        while (!wait->is_ready) {
            if ((rc = hwl_wait_turn(L, wait->lua, true)) == HWS_ERR_FORKED)
                return hwl_error_fail_code(L, wait->lua, rc, NULL);
            if (rc == HWS_END && !wait->is_ready) {
                hwl_wait_abandon(wait);
                return luaL_error(L, "this wait would never end: nothing is in flight");
            }
        }
        count = hwl_wait_take(L, wait);
    } while (count == HWL_NOT_YET);
    hwl_wait_wake_host(L, wait->lua);
    return count;
}

int hwl_wait_for(lua_State *L, hwl_wait_t *wait, const hwl_operation_t *operation, void *subject)
{
    wait->operation = operation;
    wait->subject = subject;
    switch (wait->form) {
    case HWL_FORM_TASK:
        /* By a finalizer, since hwl_wait_begin(). */
        if (HWS_CONTAINER(wait, hwl_task_t, wait)->is_canceled)
            hwl_wait_cancel(wait);
        return suspend(L, wait);
    case HWL_FORM_BLOCK:
        return block(L, wait);
    case HWL_FORM_CALL:
        break;
    }
    hwl_call_begin(wait);
    hwl_wait_wake_host(L, wait->lua);
    hwl_call_push_handle(L, wait);
    return 1;
}

int hwl_wait_try(lua_State *L, hwl_wait_t *wait, const hwl_operation_t *operation, void *subject)
{
    int count;

    wait->operation = operation;
    wait->subject = subject;
    switch (wait->form) {
    case HWL_FORM_TASK: /* which gives up what is left when this raises, as hwl_task_go_on() does */
        if ((count = push_results(L, wait)) == HWL_NOT_YET)
            break;
        hwl_wait_abandon(wait);
        return count;
    case HWL_FORM_BLOCK:
        if ((count = hwl_wait_take(L, wait)) == HWL_NOT_YET)
            break;
        hwl_wait_wake_host(L, wait->lua);
        return count;
    case HWL_FORM_CALL:
        hwl_wait_end_later(wait);
        break;
    }
    return hwl_wait_for(L, wait, operation, subject);
}

static int push_nothing(lua_State *L, hwl_wait_t *wait)
{
    (void)L;
    (void)wait;
    return 0;
}

static void do_nothing(hwl_wait_t *wait)
{
    (void)wait;
}

int hwl_wait_fail(lua_State *L, hwl_wait_t *wait, const hws_error_t *error)
{
    static const hwl_operation_t failed = {
        .push = push_nothing,
        .cancel = do_nothing,
        .leave = do_nothing,
    };

    if (wait->form != HWL_FORM_CALL)
        return hwl_error_fail(L, wait->lua, error);
    wait->error = *error;
    hwl_wait_end_later(wait);
    return hwl_wait_for(L, wait, &failed, NULL);
}

void hwl_wait_anchor(lua_State *L, hwl_wait_t *wait, int index)
{
    if (wait->form == HWL_FORM_CALL)
        hwl_call_anchor(L, wait, index);
}

/* ---- the end ---- */

void hwl_wait_end(hwl_wait_t *wait)
{
    assert(wait->operation != NULL);
    switch (wait->form) {
    case HWL_FORM_TASK:
        hwl_task_go_on(wait);
        break;
    case HWL_FORM_BLOCK:
        wait->is_ready = true;
        break;
    case HWL_FORM_CALL:
        hwl_call_go_on(wait);
        break;
    }
}

void hwl_wait_end_later(hwl_wait_t *wait)
{
    hws_loop_defer(wait->lua->loop, &wait->deferred);
}

void hwl_wait_settle(hwl_wait_t *wait, int code, hws_phase_t phase, const char *detail)
{
    if (wait->operation == NULL || wait->error.code != HWS_OK)
        return;
    wait->error = hwl_error_make(code, phase, detail);
    hwl_wait_end_later(wait);
}

void hwl_wait_cancel(hwl_wait_t *wait)
{
    if (wait->operation == NULL)
        return;
    if (wait->is_giving) {
        wait->is_cancel_due = true;
        return;
    }
    wait->operation->cancel(wait);
    /* One that is to be tried at the next rest has not begun, so nothing else would end it. */
    if (hws_list_is_linked(&wait->deferred.link))
        hwl_wait_settle(wait, HWS_ERR_CANCELED, wait->operation->phase, NULL);
}
