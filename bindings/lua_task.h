/* lua_task.h - a function that runs in a coroutine of hawser's and may wait.
 *
 *   NEW --loop's next turn--> RUNNING <--waits, goes on--> WAITING
 *    '--canceled--> ENDED <-------'
 */
#ifndef HWL_LUA_TASK_H
#define HWL_LUA_TASK_H

#include "lua_wait.h"

typedef enum { HWL_TASK_NEW, HWL_TASK_RUNNING, HWL_TASK_WAITING, HWL_TASK_ENDED } hwl_task_state_t;

struct hwl_task {
    hws_list_t link; /* in hwl_t.tasks until it has ended */
    hwl_t *lua;
    hwl_thread_t thread; /* afterwards its stack holds the results */
    lua_State *L;        /* that runs: the thread's, or that of an inner pcall (Lua 5.1) */
    hwl_task_state_t state;
    bool is_canceled;
    bool has_raised;      /* its one result is what it raised */
    bool wants_traceback; /* in that, when it is a string */
    bool is_awaited;      /* somebody will ask how it ended: what it raises needs no report */
    bool is_dead;         /* its coroutine cannot be used again */
    uint32_t refusals;    /* waits since it was canceled */
    uint32_t holds;       /* by the userdata, by those who join, and by itself until it has ended */
    int count;            /* arguments at first, results at the end */
    hwl_wait_t wait;
    hws_list_t joiners; /* waits */
    hws_deferred_t start;
    hwl_group_t *group; /* or NULL */
    /* Told when it has ended; or NULL. */
    void (*on_end)(hwl_task_t *task, void *user);
    void *user;
    struct hwl_pcall *pcalls; /* Lua 5.1: the innermost hawser.pcall that is under way */
    lua_State *entering;      /* Lua 5.1: the coroutine of a pcall that is to be entered */
};

/* Makes the function below its `arguments` on top of the stack fit to begin a coroutine; returns how
 * many arguments there are then. */
int hwl_task_prepare(lua_State *L, hwl_t *lua, int arguments);
/* Takes a function and its `arguments` off the stack, to run them as a task from the loop's next
 * turn on. Raises when out of memory. The caller owns a hold. */
hwl_task_t *hwl_task_create(lua_State *L, hwl_t *lua, int arguments);
void hwl_task_hold(hwl_task_t *task);
void hwl_task_unhold(hwl_task_t *task);
/* Sticky: whatever it waits for, now or later, ends with `canceled`. */
void hwl_task_cancel(hwl_task_t *task);
/* Pushes true and what it returned, or nil and why not; returns how many. It must have ended. */
int hwl_task_push_outcome(lua_State *L, hwl_task_t *task);
/* Pushes what it returned, without the true, or nil and why not, and gives a hold up. `end` was only
 * initialised; `end->extra` says afterwards whether the last value is what it raised. */
int hwl_task_take(lua_State *L, hwl_wait_t *end, hwl_task_t *task);
/* The task of a wait goes on with its results. */
void hwl_task_go_on(hwl_wait_t *wait);
/* Takes a function and its `arguments` off the stack, runs them as a task and waits for its
 * results: in place of hwl_wait_for(). Who blocks gets raised what it raises, others nil and that. */
int hwl_task_wait(lua_State *L, hwl_wait_t *wait, int arguments);
/* Gives up all that have not ended: their Lua state is being closed. */
void hwl_tasks_abandon(lua_State *L, hwl_t *lua);
/* In a forked child: all that have not ended count as canceled, and never go on. One whose code is
 * running ends when that returns, but nobody waits for it. */
void hwl_tasks_forget(hwl_t *lua);

/* Functions that Lua sees. */
int hwl_task_spawn(lua_State *L);
int hwl_task_spawn_awaited(lua_State *L);
int hwl_task_call(lua_State *L);
int hwl_task_is_inside(lua_State *L);
/* hawser.run, in lua_run.c. */
int hwl_run(lua_State *L);
/* hawser.pcall of Lua 5.1, in lua_pcall.c. */
int hwl_pcall(lua_State *L);
/* After a coroutine of `task` has stopped with `*status`: whether another one of its pcalls' is to
 * be resumed now, with `*count` values. */
bool hwl_pcall_next(hwl_task_t *task, int *status, int *count);

#endif
