#include "lua_task.h"

#include "lua_error.h"
#include "lua_event.h"
#include "lua_guard.h"

/* ---- coroutines, kept for reuse ---- */

/* A coroutine that has finished takes another function as a fresh one does. */
static void take_thread(lua_State *L, hwl_t *lua, hwl_thread_t *out)
{
    if (lua->thread_count > 0) {
        *out = lua->threads[--lua->thread_count];
        return;
    }
    out->L = lua_newthread(L);
    out->reference = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* One with a debug hook, which would stay, is not kept: not on LuaJIT either, whose hook is that of
 * all. */
static void give_thread(hwl_task_t *task)
{
    hwl_t *lua = task->lua;
    hwl_thread_t *thread = &task->thread;

    if (thread->L == NULL)
        return;
    if (!task->is_dead && lua_gethookmask(thread->L) == 0 && lua->thread_count < HWL_THREADS_KEPT) {
        lua_settop(thread->L, 0);
        lua->threads[lua->thread_count++] = *thread;
    } else {
        luaL_unref(thread->L, LUA_REGISTRYINDEX, thread->reference);
    }
    thread->L = NULL;
}

/* ---- life ---- */

static void start(hws_deferred_t *deferred);

int hwl_task_prepare(lua_State *L, hwl_t *lua, int arguments)
{
    if (!HWL_NEEDS_LUA_BELOW || !lua_iscfunction(L, -arguments - 1))
        return arguments;
    luaL_checkstack(L, 1, "too many arguments");
    hwl_push_helper(L, lua, HWL_HELPER_APPLY);
    lua_insert(L, -arguments - 2);
    return arguments + 1;
}

hwl_task_t *hwl_task_create(lua_State *L, hwl_t *lua, int arguments)
{
    hwl_task_t *task;
    hwl_thread_t thread;

    hwl_guard_check_wait(L, lua);
    hwl_loop(L, lua);
    arguments = hwl_task_prepare(L, lua, arguments);
    take_thread(L, lua, &thread);
    if (!lua_checkstack(thread.L, arguments + 1) ||
        (task = hws_slab_take(&lua->task_slab)) == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, thread.reference);
        hwl_out_of_memory(L);
    }
    lua_xmove(L, thread.L, arguments + 1);
    task->lua = lua;
    task->thread = thread;
    task->L = thread.L;
    task->count = arguments;
    task->holds = 2;
    hws_list_init(&task->joiners);
    hws_deferred_init(&task->start, start);
    hwl_wait_init(&task->wait, lua, HWL_FORM_TASK);
    hws_list_push_back(&lua->tasks, &task->link);
    lua->pending++;
    if ((task->group = lua->group) != NULL)
        task->group->count++;
    hws_loop_defer(lua->loop, &task->start);
    return task;
}

void hwl_task_hold(hwl_task_t *task)
{
    task->holds++;
}

void hwl_task_unhold(hwl_task_t *task)
{
    if (--task->holds > 0)
        return;
    give_thread(task);
    hws_slab_give(&task->lua->task_slab, task);
}

static void leave_lists(hwl_task_t *task)
{
    hwl_t *lua = task->lua;

    hws_list_remove(&task->start.link);
    hws_list_remove(&task->link);
    task->state = HWL_TASK_ENDED;
    lua->pending--;
    if (task->group != NULL)
        task->group->count--;
    task->group = NULL;
}

/* Leaves what it waits for and all lists. */
static void leave(hwl_task_t *task)
{
    hwl_wait_abandon(&task->wait);
    leave_lists(task);
}

/* Neither what they wait for nor who waits for them may be told: both are the parent's. */
void hwl_tasks_forget(hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->tasks)) != NULL) {
        hwl_task_t *task = HWS_CONTAINER(link, hwl_task_t, link);

        task->is_canceled |= task->state != HWL_TASK_RUNNING;
        task->wait.operation = NULL;
        task->on_end = NULL;
        hws_list_init(&task->joiners);
        leave_lists(task);
    }
}

void hwl_tasks_abandon(lua_State *L, hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->tasks)) != NULL) {
        hwl_task_t *task = HWS_CONTAINER(link, hwl_task_t, link);

        leave(task);
        luaL_unref(L, LUA_REGISTRYINDEX, task->thread.reference);
        task->thread.L = NULL;
        hwl_task_unhold(task);
    }
}

/* ---- the end ---- */

/* Puts a traceback behind the message that lies on the task's stack; anything else that was raised
 * stays as it is. */
static void add_traceback(lua_State *L, hwl_task_t *task)
{
    if (lua_type(task->L, -1) != LUA_TSTRING)
        return;
    hwl_push_helper(L, task->lua, HWL_HELPER_TRACEBACK);
    lua_pushthread(task->L);
    lua_xmove(task->L, L, 1);
    lua_pushvalue(task->L, -1);
    lua_xmove(task->L, L, 1);
    if (lua_pcall(L, 2, 1, 0) != LUA_OK)
        lua_pop(L, 1);
    else
        lua_xmove(L, task->L, 1);
}

/* What was raised lies on the task's stack, above what its functions left there. If nobody waits to
 * hear of it, it is reported. */
static void take_error(lua_State *L, hwl_task_t *task)
{
    if (!task->is_canceled && !task->is_awaited && hws_list_is_empty(&task->joiners)) {
        lua_pushvalue(task->L, -1);
        add_traceback(L, task);
        lua_xmove(task->L, L, 1);
        hwl_event_report(L, task->lua, "a task raised: ");
    } else if (task->wants_traceback) {
        add_traceback(L, task);
    }
    lua_xmove(task->L, L, 1);
    task->is_dead |= !hwl_reset_thread(task->thread.L);
    lua_xmove(L, task->thread.L, 1);
}

static void end(hwl_task_t *task, int count)
{
    task->count = count;
    if (task->state != HWL_TASK_ENDED) /* else a fork came meanwhile */
        leave(task);
    if (task->has_raised)
        take_error(task->lua->turner, task);
    if (task->on_end != NULL)
        task->on_end(task, task->user);
    HWS_LIST_EACH(link, &task->joiners) {
        hwl_wait_end_later(HWS_CONTAINER(link, hwl_wait_t, link));
    }
    if (count == 0)
        give_thread(task);
    hwl_task_unhold(task);
}

static int push_canceled(lua_State *L, hwl_task_t *task)
{
    return hwl_error_fail_code(L, task->lua, HWS_ERR_CANCELED, NULL);
}

static int push_returned(lua_State *L, hwl_task_t *task)
{
    lua_State *from = task->thread.L;
    int i;

    if (task->is_canceled)
        return push_canceled(L, task);
    /* One by one: there may not be room for twice as many. What `from` raised, nobody would catch. */
    if (!lua_checkstack(L, task->count + 2) || (task->count > 0 && !lua_checkstack(from, 1))) {
        lua_pushnil(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, task->lua->too_many_results);
        return 2;
    }
    if (task->has_raised)
        lua_pushnil(L);
    for (i = 0; i < task->count; i++) {
        lua_pushvalue(from, i - task->count);
        lua_xmove(from, L, 1);
    }
    return task->count + task->has_raised;
}

int hwl_task_push_outcome(lua_State *L, hwl_task_t *task)
{
    if (task->is_canceled)
        return push_canceled(L, task);
    if (task->has_raised || !lua_checkstack(L, task->count + 3))
        return push_returned(L, task);
    lua_pushboolean(L, 1);
    return push_returned(L, task) + 1;
}

/* ---- running ---- */

static const char own_yield[] =
    "a task cannot yield by itself: it waits through hawser's functions";

static void unhook(hwl_t *lua)
{
    lua_sethook(lua->hooked, lua->hook, lua->hook_mask, lua->hook_count);
    lua->hooked = NULL;
}

static void raise_own_yield(lua_State *L, lua_Debug *frame)
{
    hwl_t *lua = hwl_find(L);

    (void)frame;
    if (lua->hooked != NULL)
        unhook(lua);
    if (lua->running != NULL)
        lua->running->is_dead = true; /* Lua 5.4 leaves its hooks off */
    luaL_where(L, 0);
    lua_pushstring(L, own_yield);
    lua_concat(L, 2);
    lua_error(L);
}

/* The hook has not run: no instruction came after the yield. */
static void raise_late(hwl_task_t *task, int *status, int *count)
{
    unhook(task->lua);
    if (*status != LUA_OK)
        return;
    lua_pop(task->L, *count);
    lua_pushstring(task->L, own_yield);
    *count = 1;
    *status = LUA_ERRRUN;
}

/* A coroutine of the task has stopped without waiting for anything. Whether to resume it, and with
 * how many values. */
static bool goes_on(hwl_task_t *task, int *status, int *count)
{
    hwl_t *lua = task->lua;

    if (!HWL_HAS_CONTINUATIONS && *status != LUA_YIELD && *status != LUA_OK &&
        task->wait.operation != NULL) {
        hwl_wait_abandon(&task->wait);
        /* It is lua_yield() that has raised, where that could not be foreseen. */
        if (*status != LUA_ERRMEM)
            lua_pushstring(task->L, HWL_CANNOT_YIELD);
    }
    if (HWL_IS_LUA51 && hwl_pcall_next(task, status, count))
        return true;
    if (*status != LUA_YIELD || task->wait.operation != NULL)
        return false;
    if (task->refusals > HWL_MOST_REFUSALS) {
        *status = LUA_ERRRUN;
        return false;
    }
    /* No value can make a yield raise, but a hook can, before the next instruction. */
    lua_pop(task->L, *count);
    *count = 0;
    lua->hooked = task->L;
    lua->hook = lua_gethook(task->L);
    lua->hook_mask = lua_gethookmask(task->L);
    lua->hook_count = lua_gethookcount(task->L);
    lua_sethook(task->L, raise_own_yield, LUA_MASKCOUNT, 1);
    return true;
}

static void run(hwl_task_t *task, int count)
{
    hwl_t *lua = task->lua;
    lua_State *turner = lua->turner;
    int status;

    task->state = HWL_TASK_RUNNING;
    lua->running = task;
    lua->group = task->group;
    do {
        status = hwl_resume(task->L, turner, count, &count);
        if (lua->hooked != NULL)
            raise_late(task, &status, &count);
    } while (status != LUA_OK ? goes_on(task, &status, &count)
                              : HWL_IS_LUA51 && hwl_pcall_next(task, &status, &count));
    lua->turner = turner; /* which a forked child has forgotten */
    lua->running = NULL;
    lua->group = NULL;
    if (status == LUA_YIELD) {
        task->state = HWL_TASK_WAITING;
        return;
    }
    task->has_raised = status != LUA_OK;
    end(task, task->has_raised ? 1 : count);
}

static void start(hws_deferred_t *deferred)
{
    hwl_task_t *task = HWS_CONTAINER(deferred, hwl_task_t, start);

    if (task->is_canceled)
        end(task, 0);
    else
        run(task, task->count);
}

#if HWL_HAS_CONTINUATIONS

/* Its function goes on where it yielded, and makes the results. */
void hwl_task_go_on(hwl_wait_t *wait)
{
    run(HWS_CONTAINER(wait, hwl_task_t, wait), 0);
}

#else

void hwl_task_go_on(hwl_wait_t *wait)
{
    hwl_task_t *task = HWS_CONTAINER(wait, hwl_task_t, wait);
    lua_State *L = task->lua->turner;
    int count = hwl_wait_take(L, wait);

    if (count == HWL_NOT_YET)
        return;
    if (count >= LUA_MINSTACK / 2 && !lua_checkstack(task->L, count)) {
        lua_pop(L, count);
        lua_pushnil(L);
        lua_rawgeti(L, LUA_REGISTRYINDEX, task->lua->too_many_results);
        count = 2;
    }
    lua_xmove(L, task->L, count);
    run(task, count);
}

#endif

void hwl_task_cancel(hwl_task_t *task)
{
    if (task->is_canceled || task->state == HWL_TASK_ENDED)
        return;
    task->is_canceled = true;
    hwl_wait_cancel(&task->wait);
}

/* ---- waiting for one ---- */

static int push_outcome(lua_State *L, hwl_wait_t *wait)
{
    hwl_task_t *task = wait->subject;

    return task->state == HWL_TASK_ENDED ? hwl_task_push_outcome(L, task) : HWL_NOT_YET;
}

static int push_results(lua_State *L, hwl_wait_t *wait)
{
    hwl_task_t *task = wait->subject;

    int count;

    if (task->state != HWL_TASK_ENDED)
        return HWL_NOT_YET;
    count = push_returned(L, task);
    wait->extra = task->has_raised && !task->is_canceled ? task : NULL;
    return count;
}

static void cancel_join(hwl_wait_t *wait)
{
    hwl_wait_settle(wait, HWS_ERR_CANCELED, HWL_NO_PHASE, NULL);
}

static void cancel_child(hwl_wait_t *wait)
{
    hwl_task_cancel(wait->subject);
}

static void leave_join(hwl_wait_t *wait)
{
    hws_list_remove(&wait->link);
    hwl_task_unhold(wait->subject);
}

static const hwl_operation_t join_operation = {
    .push = push_outcome,
    .cancel = cancel_join,
    .leave = leave_join,
    .phase = HWL_NO_PHASE,
};

static const hwl_operation_t child_operation = {
    .push = push_results,
    .cancel = cancel_child,
    .leave = leave_join,
    .phase = HWL_NO_PHASE,
};

/* Takes a hold of the caller's over. */
static int wait_for(lua_State *L, hwl_wait_t *wait, const hwl_operation_t *operation,
                    hwl_task_t *task)
{
    hws_list_push_back(&task->joiners, &wait->link);
    return hwl_wait_try(L, wait, operation, task);
}

int hwl_task_wait(lua_State *L, hwl_wait_t *wait, int arguments)
{
    hwl_task_t *task = hwl_task_create(L, wait->lua, arguments);
    int count;

    wait->extra = NULL;
    count = wait_for(L, wait, &child_operation, task);
    return wait->form == HWL_FORM_BLOCK && wait->extra != NULL ? lua_error(L) : count;
}

int hwl_task_take(lua_State *L, hwl_wait_t *end, hwl_task_t *task)
{
    end->operation = &child_operation;
    end->subject = task;
    end->extra = NULL;
    return hwl_wait_take(L, end);
}

/* Whether `task` waits, perhaps by way of others, for `waiter`. */
static bool waits_for(const hwl_task_t *task, const hwl_task_t *waiter)
{
    while (task != waiter) {
        if (task->wait.operation != &join_operation && task->wait.operation != &child_operation)
            return false;
        task = task->wait.subject;
    }
    return true;
}

/* ---- methods ---- */

static int join(lua_State *L)
{
    hwl_task_t **self = hwl_self(L, HWL_TASK);
    hwl_task_t *task = *self;
    hwl_t *lua = hwl_of_self(self);
    int callback = hwl_check_callback(L, 2);
    hwl_wait_t local;
    hwl_wait_t *wait;

    if (!hwl_is_alive(L, self))
        return 2;
    if ((wait = hwl_wait_begin(L, lua, callback, &local)) == NULL)
        return hwl_wait_refused(L, lua);
    if (wait->form == HWL_FORM_TASK && waits_for(task, lua->running))
        return luaL_error(L, "a task cannot join itself, or one that waits for it");
    hwl_task_hold(task);
    return wait_for(L, wait, &join_operation, task);
}

static int cancel(lua_State *L)
{
    hwl_task_t **self = hwl_self(L, HWL_TASK);

    if (*self == NULL)
        return 0;
    hwl_task_cancel(*self);
    hwl_wait_wake_host(L, hwl_of(L));
    return 0;
}

static int collect(lua_State *L)
{
    hwl_task_t **task = hwl_test(L, 1, HWL_TASK);

    if (task != NULL && *task != NULL) {
        hwl_task_unhold(*task);
        *task = NULL;
    }
    return 0;
}

/* ---- functions ---- */

static int spawn(lua_State *L, bool is_awaited)
{
    hwl_t *lua = hwl_of(L);
    hwl_task_t **task;

    if (!lua_isfunction(L, 1))
        return hwl_refuse(L, "what hawser.spawn is to run", 1, "a function");
    task = hwl_new(L, lua, HWL_TASK, sizeof(*task), 0);
    *task = NULL;
    lua_insert(L, 1);
    *task = hwl_task_create(L, lua, lua_gettop(L) - 2);
    (*task)->is_awaited = is_awaited;
    hwl_wait_wake_host(L, lua);
    return 1;
}

int hwl_task_spawn(lua_State *L)
{
    return spawn(L, false);
}

int hwl_task_spawn_awaited(lua_State *L)
{
    return spawn(L, true);
}

/* (callback or nil, function, ...) -> the function's results, in the form that the caller may wait
 * in: what every waiting function that is written in Lua is made of. */
int hwl_task_call(lua_State *L)
{
    hwl_t *lua = hwl_of(L);
    int count = lua_gettop(L);
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, lua_isnil(L, 1) ? 0 : 1, &local);
    int i;

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    luaL_checkstack(L, count, "too many arguments");
    for (i = 2; i <= count; i++)
        lua_pushvalue(L, i);
    return hwl_task_wait(L, wait, count - 2);
}

/* () -> whether the caller's own code runs in a task; then, whether that was canceled. */
int hwl_task_is_inside(lua_State *L)
{
    hwl_task_t *task = hwl_wait_task(L, hwl_of(L));

    lua_pushboolean(L, task != NULL);
    lua_pushboolean(L, task != NULL && task->is_canceled);
    return 2;
}

void hwl_define_tasks(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {{"__gc", collect}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"join", join}, {"cancel", cancel}, {NULL, NULL}};

    hws_slab_init(&lua->task_slab, sizeof(hwl_task_t), sizeof(hwl_task_t));
    hwl_define(L, lua, HWL_TASK, metamethods, methods);
}
