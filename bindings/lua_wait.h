/* lua_wait.h - the one implementation of waiting: yield a task, block, call back, or raise.
 *
 * A function that waits goes through three steps:
 *
 *     wait = hwl_wait_begin(L, lua, callback, &local);        how this caller may wait, or raises
 *     ...start something whose callback will call hwl_wait_end(wait)...
 *     return hwl_wait_for(L, wait, &operation, subject);      yields, blocks, or gives a handle
 *
 * A wait is embedded in what waits: in a task, which waits for one thing at a time; in a call, the
 * callback form; or it lies on the C stack of a function that blocks. Results are made by the
 * operation when they are given to the waiter, not before. */
#ifndef HWL_LUA_WAIT_H
#define HWL_LUA_WAIT_H

#include "lua_state.h"

typedef enum { HWL_FORM_TASK, HWL_FORM_BLOCK, HWL_FORM_CALL } hwl_form_t;

#define HWL_NOT_YET (-1)

/* How often a task may go on waiting after it was canceled. */
#define HWL_MOST_REFUSALS 1000

#if HWL_IS_LUA51
#define HWL_CANNOT_YIELD                                                                           \
    "Lua 5.1 cannot wait inside pcall, a metamethod, an iterator or a function called from C: "    \
    "use hawser.pcall, or res:read() in a loop"
#else
#define HWL_CANNOT_YIELD                                                                           \
    "cannot wait inside a function that was called from C (table.sort, string.gsub, require...)"
#endif

/* What one can wait for. */
typedef struct {
    /* Pushes the results and returns how many; or HWL_NOT_YET, when there is no end after all.
     * Called in protected mode: it may raise for want of memory. */
    int (*push)(lua_State *L, hwl_wait_t *wait);
    /* Asks for an early end, which hwl_wait_end() or hwl_wait_settle() then brings. */
    void (*cancel)(hwl_wait_t *wait);
    /* The wait is over or given up: nothing may call hwl_wait_end() any more. What was put off while
     * it was giving is done now. */
    void (*leave)(hwl_wait_t *wait);
    hws_phase_t phase; /* that it is in before it has begun */
} hwl_operation_t;

struct hwl_wait {
    hwl_t *lua;
    const hwl_operation_t *operation; /* NULL: nothing is waited for */
    void *subject;                    /* what is waited for */
    hwl_form_t form;
    bool is_ready; /* BLOCK: it has ended, results may be pushed */
    /* Its results are being made. A finalizer that runs meanwhile may end nothing that they are made
     * of: what it asks for is put off until the wait is left, or goes on. */
    bool is_giving;
    bool is_cancel_due;      /* put off */
    hws_deferred_t deferred; /* ends it at the next rest */
    hws_error_t error;       /* what it was settled with; code HWS_OK: ask the operation */
    void *extra;             /* for the operation, as all that follows is */
    hws_list_t link;         /* among others who wait for the same */
    hws_timer_t timer;
    hwl_place_t place;
};

/* A wait of no form yet. */
void hwl_wait_init(hwl_wait_t *wait, hwl_t *lua, hwl_form_t form);

/* Says how the calling function may wait. `callback` is the index of a function, or 0; `local` is
 * used when it blocks. Raises where waiting is impossible. NULL: the task was canceled; then
 * `return hwl_wait_refused(L, lua)`. */
hwl_wait_t *hwl_wait_begin(lua_State *L, hwl_t *lua, int callback, hwl_wait_t *local);
int hwl_wait_refused(lua_State *L, hwl_t *lua);

/* Waits. To be returned from the C function at once. */
int hwl_wait_for(lua_State *L, hwl_wait_t *wait, const hwl_operation_t *operation, void *subject);
/* The same for what may have its results already. */
int hwl_wait_try(lua_State *L, hwl_wait_t *wait, const hwl_operation_t *operation, void *subject);
/* In place of hwl_wait_for(), when what was to be started failed at once. */
int hwl_wait_fail(lua_State *L, hwl_wait_t *wait, const hws_error_t *error);
/* Keeps the value at `index` alive while the wait lasts. What lies on the stack of a function that
 * yields or blocks is alive anyway; a call has to be told. Before hwl_wait_for(). */
void hwl_wait_anchor(lua_State *L, hwl_wait_t *wait, int index);

/* It has ended, or may have: gives the results to the waiter. Only at rest. */
void hwl_wait_end(hwl_wait_t *wait);
/* The same at the next rest. */
void hwl_wait_end_later(hwl_wait_t *wait);
/* Ends it with an error at the next rest, whatever the operation says. */
void hwl_wait_settle(hwl_wait_t *wait, int code, hws_phase_t phase, const char *detail);
/* As the user's cancel(). Harmless when nothing is waited for. */
void hwl_wait_cancel(hwl_wait_t *wait);
/* Gives up without telling anybody. Harmless when nothing is waited for. */
void hwl_wait_abandon(hwl_wait_t *wait);

/* For what contains a wait: pushes its results onto `L` and returns how many, or HWL_NOT_YET. The
 * wait is over then. */
int hwl_wait_take(lua_State *L, hwl_wait_t *wait);
/* The function in hwl_t.push_results. */
int hwl_wait_push_results(lua_State *L);
/* hws_loop_run() on this Lua thread, which must be able to wait. HWS_ERR_FORKED: this process was
 * forked meanwhile, and nothing that was in flight is any more. */
int hwl_wait_turn(lua_State *L, hwl_t *lua, bool wait);

/* Whether code of a task runs on this very Lua thread; the task, or NULL. */
hwl_task_t *hwl_wait_task(lua_State *L, const hwl_t *lua);
/* Whether this Lua can run tasks where it is now; and the same, raising instead of returning false. */
bool hwl_wait_may_turn(lua_State *L, const hwl_t *lua);
void hwl_wait_check_turn(lua_State *L, const hwl_t *lua);
/* Raises unless the caller, who is not a task, may block. */
void hwl_wait_check_block(lua_State *L, hwl_t *lua);
/* Lets the host's loop know that there may be work. */
void hwl_wait_wake_host(lua_State *L, hwl_t *lua);

#endif
