/* lua_policy.h - a policy of a user's: its functions, its state, and how often it failed in a row.
 *
 * What the user wrote (a function, a name, a plugin table) hawser/policy.lua has turned into
 * `{ plugin = table, config = table }`. What comes of `plugin.new(config)` is the instance, the `self`
 * of all methods; a plain function, `{ plugin = table, is_plain = true }`, has none. All of them run under guard (lua_guard.h). After 10 faults of one method in
 * a row the policy is set aside: the built-in one decides alone until it is swapped.
 *
 *     lua_State *P = hwl_policy_begin(policy, HWL_POLICY_DECIDE);
 *     if (P == NULL)
 *         ... the built-in one decides ...
 *     ... push the arguments behind `self` onto P ...
 *     if (!hwl_policy_call(policy, arguments, 1))
 *         ... the built-in one decides ...
 *     ... read the result on P ...
 *     hwl_policy_end(policy, complaint or NULL);
 *
 * While its functions run, a policy may be swapped, and its upstream and manager closed: it lives
 * until the call has ended. */
#ifndef HWL_LUA_POLICY_H
#define HWL_LUA_POLICY_H

#include "lua_guard.h"

/* X(symbol, name, method): the method is required, all others are optional. */
#define HWL_POLICY_KIND_LIST(X)                                                                    \
    X(BALANCER, "balancer", "pick")                                                                \
    X(RETRY, "retry", "decide")                                                                    \
    X(BREAKER, "breaker", "record")

#define HWL_POLICY_KIND_ENUM(symbol, name, method) HWL_POLICY_##symbol,
typedef enum { HWL_POLICY_KIND_LIST(HWL_POLICY_KIND_ENUM) HWL_POLICY_KIND_COUNT } hwl_policy_kind_t;
#undef HWL_POLICY_KIND_ENUM

typedef enum {
    HWL_POLICY_DECIDE, /* pick, decide or record */
    HWL_POLICY_UPDATE,
    HWL_POLICY_DONE,
    HWL_POLICY_MIGRATE,
    HWL_POLICY_CLOSE,
    HWL_POLICY_METHOD_COUNT
} hwl_policy_method_t;

#define HWL_POLICY_NAME_MAX 63
#define HWL_POLICY_MOST_FAULTS 10 /* in a row; with the last of them it is set aside */

typedef struct hwl_policy hwl_policy_t;

/* Told of each fault: what becomes the event `policy_error`. `message` is one line that begins with
 * the method, "pick: first_fit.lua:3: ...", and is the callee's only while it is called. It may swap
 * or release the policy, but calls no Lua of the user's: the core is in the midst of something. */
typedef void (*hwl_policy_on_fault_t)(void *user, const hwl_policy_t *policy, const char *message);

struct hwl_policy {
    hwl_t *lua;
    hwl_policy_kind_t kind;
    char name[HWL_POLICY_NAME_MAX + 1]; /* "first_fit"; "a function" */
    int instance; /* registry references; LUA_NOREF for what it does not have */
    int methods[HWL_POLICY_METHOD_COUNT];
    hwl_policy_method_t calls[HWL_GUARDED_MOST]; /* the one called there, in hwl_guard_t */
    uint32_t faults[HWL_POLICY_METHOD_COUNT];    /* in a row, of each */
    bool is_set_aside;
    bool is_released; /* its owner has swapped it or has ended */
    bool is_closing;  /* `close` has been called */
    uint32_t holds;   /* by its owner, and by calls under way */
    hwl_policy_on_fault_t on_fault;
    void *user;
};

/* Makes one from the table at `index`, calling `new`. NULL, and the message lies on the stack:
 * "balancer first_fit: new: ...", for it raised, overran or returned no table or userdata. Raises when
 * out of memory. `on_fault` may be NULL. The caller owns it. */
hwl_policy_t *hwl_policy_create(lua_State *L, hwl_t *lua, hwl_policy_kind_t kind, int index,
                                hwl_policy_on_fault_t on_fault, void *user);
/* Gives it up and calls its `close`: now, or when the call of it that is under way has ended. The owner
 * has taken it out of its place before, because `close` may lead back to the owner. NULL is harmless.
 * `on_fault` is not called any more afterwards. */
void hwl_policy_release(hwl_policy_t *policy);
/* The same without a `close`: in a forked child, where nothing of it is this process's. */
void hwl_policy_abandon(hwl_policy_t *policy);
/* Puts `next`, which may be NULL, in the place of `*place`: calls `next:migrate(old)`, if both have an
 * instance, stores it, and releases the old one. Takes `next` over. `place` must last until it
 * returns, whatever `migrate` does to its owner. */
void hwl_policy_swap(hwl_policy_t **place, hwl_policy_t *next);

/* Begins a call: returns the thread onto which the arguments behind `self` are to be pushed, without
 * allocating. NULL when the policy is set aside or has no such method, or too many guarded calls are
 * under way inside each other; then there is nothing to end. */
lua_State *hwl_policy_begin(hwl_policy_t *policy, hwl_policy_method_t method);
/* Calls it with so many arguments behind `self`. True: `results` values lie on top of the thread, and
 * hwl_policy_end() is due. False: it failed, which was counted and told, and all has been ended. */
bool hwl_policy_call(hwl_policy_t *policy, int arguments, int results);
/* Ends a call that returned. `complaint` is NULL when its results were of use, else one line on what
 * is wrong with them: "returned a string; allowed: a peer, nil or false". */
void hwl_policy_end(hwl_policy_t *policy, const char *complaint);

/* "balancer" */
const char *hwl_policy_kind_name(hwl_policy_kind_t kind);

#endif
