/* lua_guard.h - calls a function of a user's that must come back, whatever it does.
 *
 * A guarded function may raise, run out of memory, try to yield or to wait, or overrun: the caller
 * gets a status and a message. It has overrun after 100,000 VM instructions or 1 ms of the loop's
 * clock (the simulator's stands still meanwhile), looked at every 1,000 instructions; from then on
 * it is raised at every instruction, so that no pcall inside can go on.
 *
 * It runs on a Lua thread kept for that. PUC Lua counts per thread: the hook that does so is set once
 * and stays. LuaJIT has one hook for all threads, which is set for each call, and the user's is put
 * back; its compiler is off as soon as anything but the policy's own functions runs, because compiled
 * code does not count.
 *
 * What cannot be interrupted: a C function (a string pattern); where Lua keeps hooks off, which is in a
 * finalizer and in the message handler of an xpcall that is given what the hook raised; a coroutine
 * that was made elsewhere; on LuaJIT what was compiled elsewhere.
 *
 *     lua_State *P = hwl_guard_enter(lua);
 *     if (P != NULL) {
 *         ... push the function and its arguments onto P ...
 *         if (hwl_guard_call(lua, arguments, results) == HWL_GUARD_OK)
 *             ... read the results on P ...
 *         hwl_guard_leave(lua);
 *     }
 *
 * A guarded function may lead to another one (a finalizer, a policy swapped in a policy): that has a
 * thread and a count of its own, which the outer one is charged with: if it overran, so has the outer
 * one. */
#ifndef HWL_LUA_GUARD_H
#define HWL_LUA_GUARD_H

#include "lua_state.h"

typedef enum {
    HWL_GUARD_OK,
    HWL_GUARD_RAISED,
    HWL_GUARD_OVERRUN /* whatever it raised or returned in the end */
} hwl_guard_status_t;

/* Makes the threads. Once, when the hwl_t is made; raises when out of memory. */
void hwl_guard_init(lua_State *L, hwl_t *lua);

/* Begins a guarded call, on the thread that is returned; to be left by hwl_guard_leave(). NULL, and
 * nothing has begun: too many are under way inside each other. The thread has room for 16 values.
 * Pushing may not allocate: nothing there would catch the error. */
lua_State *hwl_guard_enter(hwl_t *lua);
/* Calls the function below its `arguments` on top of that thread, once or several times. Leaves
 * exactly `results` values in place of them if it returns HWL_GUARD_OK, else none. The count and the
 * clock go on from call to call until hwl_guard_leave(). Allocates nothing by itself. */
hwl_guard_status_t hwl_guard_call(hwl_t *lua, int arguments, int results);
/* Why the last one failed, in one line; it lasts until the next guarded call. Never NULL. */
const char *hwl_guard_message(const hwl_t *lua);
/* Empties the thread. */
void hwl_guard_leave(hwl_t *lua);

/* Whether a guarded function is running, so that nothing may wait. */
static inline bool hwl_guard_is_running(const hwl_t *lua)
{
    return lua->guard.running > 0;
}

/* Raises if so. For what waits or turns the loop. */
void hwl_guard_check_wait(lua_State *L, const hwl_t *lua);

/* For the function at `index`, once before it is first guarded: it and the functions in it are never
 * compiled; with `with_locals` those of its file that it uses, too (LuaJIT; elsewhere this does
 * nothing). */
void hwl_guard_prepare(lua_State *L, const hwl_t *lua, int index, bool with_locals);

#endif
