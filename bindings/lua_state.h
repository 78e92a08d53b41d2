/* lua_state.h - what hawser keeps for one Lua state: its loop, what is in flight, and who runs.
 *
 * Names of the binding begin with hwl_, so that its lease is never taken for the core's. Nothing
 * here is global: several Lua states in one process each have their own.
 *
 * Every C function that Lua sees is a closure with the hwl_t in its first upvalue. */
#ifndef HWL_LUA_STATE_H
#define HWL_LUA_STATE_H

#include "base/memory.h"
#include "compat.h"
#include "io/loop.h"
#include "lua_place.h"

#include <hawser/hawser.h>

typedef struct hwl hwl_t;
typedef struct hwl_task hwl_task_t;
typedef struct hwl_wait hwl_wait_t;
typedef struct hwl_manager hwl_manager_t;

/* X(symbol, name) */
#define HWL_TYPE_LIST(X)                                                                           \
    X(MANAGER, "hawser.Manager")                                                                   \
    X(UPSTREAM, "hawser.Upstream")                                                                 \
    X(RESPONSE, "hawser.Response")                                                                 \
    X(HEADERS, "hawser.Headers")                                                                   \
    X(STREAM, "hawser.BodyStream") /* behind a streaming response, not seen by users */            \
    X(CONN, "hawser.Conn")                                                                         \
    X(DUPLEX, "hawser.Stream")                                                                     \
    X(SESSION, "hawser.Session")                                                                   \
    X(TASK, "hawser.Task")                                                                         \
    X(HANDLE, "hawser.Handle")                                                                     \
    X(PEER, "hawser.Peer")         /* as policies see it */                                        \
    X(DECISION, "hawser.Decision") /* what a policy decides about: `ctx` */                        \
    X(OUTCOME, "hawser.Outcome")   /* how an attempt ended, for policies */                        \
    X(SINK, "hawser.BodySink")     /* what a body producer's task feeds, not seen by users */      \
    X(ERROR, "hawser.Error")

#define HWL_TYPE_ENUM(symbol, name) HWL_##symbol,
typedef enum { HWL_TYPE_LIST(HWL_TYPE_ENUM) HWL_TYPE_COUNT } hwl_type_t;
#undef HWL_TYPE_ENUM

/* X(symbol, name): functions written in Lua that the binding calls; hawser/init.lua gives them. */
#define HWL_HELPER_LIST(X)                                                                         \
    X(CHECK_MANAGER, "check_manager")   /* (options) -> checked options | nil, message */          \
    X(CHECK_UPSTREAM, "check_upstream") /* (options, is_update) -> the same */                     \
    X(CHECK_REQUEST, "check_request")   /* (retry of a request) -> { retry = } | nil, message */   \
    X(CHECK_TLS, "check_tls")           /* (options of conn:starttls) -> the same */               \
    X(CHECK_SESSION, "check_session")   /* (options of hawser.yamux) -> the same */                \
    X(CHECK_LIMITS, "check_limits")     /* (limits) -> { max_connections =, limits = } likewise */ \
    X(CHECK_DETAILS, "check_details")   /* (details of an observation) -> the same */              \
    X(BEST_FIRST, "best_first")         /* (list of { peer =, score = }) -> list, sorted */        \
    X(UNKNOWN, "unknown")               /* (what, name, known names) -> message */                 \
    X(QUERY, "query")                   /* (path, query) -> path | nil, message */                 \
    X(JSON, "json")                     /* (value) -> text | nil, message */                       \
    X(REDIRECT, "redirect")             /* a task: (object, request, manager, peers) */            \
    X(RESPONSE, "response")             /* (head, status, body or nil) -> hawser.Response */       \
    X(PRODUCE, "produce")               /* a task: (sink, producer) */                             \
    X(ATTACH, "attach")                 /* (): joins the host's loop, if there is one */           \
    X(TRACEBACK, "traceback")           /* debug.traceback */                                      \
    X(APPLY, "apply")                   /* (function, ...) -> what it returns */

#define HWL_HELPER_ENUM(symbol, name) HWL_HELPER_##symbol,
typedef enum { HWL_HELPER_LIST(HWL_HELPER_ENUM) HWL_HELPER_COUNT } hwl_helper_t;
#undef HWL_HELPER_ENUM

/* Tasks and calls that hawser.run() waits for: what its function started, and what that started. */
typedef struct {
    uint32_t count; /* not ended yet */
} hwl_group_t;

/* A coroutine with the registry reference that anchors it. */
typedef struct {
    lua_State *L;
    int reference;
} hwl_thread_t;

#define HWL_THREADS_KEPT 64

/* One guarded call (see lua_guard.h). */
typedef struct {
    lua_State *L;     /* the thread on which it runs, kept */
    uint32_t checks;  /* its hook was called so often: once in 1,000 instructions */
    hws_time_t began; /* as the first of them saw it */
    bool is_overrun;
} hwl_guarded_t;

#define HWL_GUARDED_MOST 3
#define HWL_GUARD_MESSAGE_MAX 255

typedef struct {
    hwl_guarded_t calls[HWL_GUARDED_MOST];
    uint32_t entered; /* of `calls`, each inside the one before it */
    uint32_t running; /* of those, whose functions run now */
    char message[HWL_GUARD_MESSAGE_MAX + 1];
    int show; /* a C function: (value) -> it as a string */

    /* LuaJIT only. */
    lua_Hook hook; /* the user's, while one runs */
    int hook_mask;
    int hook_count;
    bool is_jit_off; /* the compiler need not be switched off any more in this call */
    bool is_jit_on;  /* it was on before */
    int prepared;    /* a table, weak: the functions that are never compiled */
    int jit_status;  /* jit.status */
    int switch_off;  /* a C function that switches the compiler off */
} hwl_guard_t;

#define HWL_PEER_FIELDS 15
#define HWL_RESPONSE_FIELDS 10

struct hwl {
    hws_loop_t *loop;    /* NULL until it is first needed */
    lua_State *turner;   /* the Lua thread that turns the loop now; NULL: it is not turning */
    hwl_task_t *running; /* the task whose code runs now */
    hwl_group_t *group;  /* of the task or callback that runs now */

    hws_list_t tasks;     /* not ended */
    hws_list_t calls;     /* in the callback form, not ended */
    hws_list_t conns;     /* hwl_conn_t that hold a lease */
    hws_slab_t conn_slab; /* hwl_conn_t */
    hws_slab_t task_slab; /* hwl_task_t */
    hws_list_t exchanges; /* hwl_exchange_t */
    hws_list_t duplexes;  /* hwl_duplex_t with a request */
    hws_list_t sessions;  /* hwl_session_t that are open */
    hws_list_t drains;
    hws_list_t managers;
    uint32_t pending; /* tasks and calls that have not ended */

    hwl_thread_t threads[HWL_THREADS_KEPT]; /* finished coroutines, for reuse */
    uint32_t thread_count;

    bool is_closed;     /* the Lua state is being closed: only finalizers run yet */
    bool is_external;   /* pollfd was asked for: somebody else turns the loop */
    bool is_host_armed; /* the host was told and has not come back yet */
    bool is_reporting;  /* what a function raised is being told: what that raises is not */
    int host_arm;       /* registry reference: (): makes the host enter soon; or LUA_NOREF */
    int host_is_busy;   /* () -> whether a callback of the host is running */

    hwl_guard_t guard; /* policies that run now */
    hwl_places_t places;
    const char
        *peer_fields[HWL_PEER_FIELDS]; /* names of fields, as Lua has them (lua_peer_view.h) */
    const char *response_fields[HWL_RESPONSE_FIELDS];
    lua_State *spare;   /* a thread that never runs, for its stack */
    hws_buffer_t lines; /* of the header fields that were serialised last */
    uint64_t serial;    /* of that, so that who did it knows whether they are still his */
    lua_State *hooked;  /* the coroutine into which an error is being raised; NULL: none */
    lua_Hook hook;      /* that it had before */
    int hook_mask;
    int hook_count;

    hws_deferred_t bury; /* finalizes what was collected while a policy ran */
    int doomed;          /* that, a list */
    int doomed_count;

    int types[HWL_TYPE_COUNT]; /* registry references of the metatables */
    int helpers[HWL_HELPER_COUNT];
    int handles;         /* weak table: hwl_manager_t * -> its userdata */
    int default_manager; /* LUA_NOREF until it is used */
    int out_of_memory;   /* errors made in advance */
    int too_many_results;
    int push_results;  /* a C function of lua_wait.c */
    hwl_wait_t *taken; /* its argument */
    int nothing;       /* one that does nothing */
    int ended_conns;   /* the metatable of leases that have ended */
#if LUA_VERSION_NUM == 502
    lua_CFunction transparent[3]; /* pcall, xpcall, dofile: one may yield through them */
#endif
};

static inline hwl_t *hwl_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* What a userdata of ours begins with. A method looks at the first word alone: a metatable would have
 * to be fetched and compared, and that of a lease changes when it ends. */
typedef struct {
    const char *const *type; /* a name: nobody else's userdata begins with such an address */
    hwl_t *lua;
} hwl_header_t;

/* The same of what hwl_self() returned, without asking Lua. */
static inline hwl_t *hwl_of_self(const void *self)
{
    return ((const hwl_header_t *)self)[-1].lua;
}

/* Gives memory that a burst of tasks has left behind back to the system (lua_memory.c). Asks no garbage
 * to be collected. */
void hwl_memory_trim(hwl_t *lua);

/* The same where there are no upvalues. */
hwl_t *hwl_find(lua_State *L);

/* The state's loop. Made when there is none; made anew in a forked child. Raises on failure. */
hws_loop_t *hwl_loop(lua_State *L, hwl_t *lua);
/* In a forked child: gives up the loop and all that the parent had in flight, which is the parent's.
 * Code of a task or a callback that is running goes on, but outside of both. Harmless elsewhere. */
void hwl_note_fork(lua_State *L, hwl_t *lua);

/* Pushes the metatable of a type, or the helper. */
static inline void hwl_push_type(lua_State *L, const hwl_t *lua, hwl_type_t type)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->types[type]);
}

static inline void hwl_push_helper(lua_State *L, const hwl_t *lua, hwl_helper_t helper)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->helpers[helper]);
}

/* Makes the metatable of a type. `metamethods` and `methods` end with a NULL name. Without a
 * metamethod __index the methods are found directly; with one, it has their table in its second
 * upvalue. */
void hwl_define(lua_State *L, hwl_t *lua, hwl_type_t type, const luaL_Reg *metamethods,
                const luaL_Reg *methods);

/* Gives a type further methods. */
void hwl_add_methods(lua_State *L, hwl_t *lua, hwl_type_t type, const luaL_Reg *methods);

/* Pushes a userdata of that type and returns its `size` bytes, which must be fit for the type's
 * finalizer before anything can raise. `values` as for hwl_new_userdata(). */
void *hwl_new(lua_State *L, hwl_t *lua, hwl_type_t type, size_t size, int values);
/* The same without the metatable, which Lua code needs that is to use it. */
void *hwl_new_bare(lua_State *L, hwl_t *lua, hwl_type_t type, size_t size, int values);
/* The bytes of the value at `index`; NULL when it is anything but a userdata that hwl_new() made for
 * this type. Never raises: for finalizers, too. */
void *hwl_test(lua_State *L, int index, hwl_type_t type);
/* For methods: the same of the value at index 1; raises instead of returning NULL, and in a policy,
 * which answers from its arguments alone, for all but those. */
void *hwl_self(lua_State *L, hwl_type_t type);
/* For methods of a type whose values are tables: raises unless that at index 1 has its metatable. */
void hwl_check_self(lua_State *L, hwl_type_t type);
/* Raises "<name> is <value>; allowed: <allowed>" at the caller's line. */
int hwl_refuse(lua_State *L, const char *name, int index, const char *allowed);
/* A span from the seconds at `index`, at least `least`; raises for anything else. With `may_be_off`
 * false stands for HWS_NEVER. */
hws_time_t hwl_check_span(lua_State *L, const char *name, int index, hws_time_t least,
                          bool may_be_off);
/* A size in bytes or a count: a whole number in [least, most]. */
size_t hwl_check_size(lua_State *L, const char *name, int index, size_t least, size_t most);
/* The index of a function at `index`, 0 when there is none or nil; raises for anything else. */
int hwl_check_callback(lua_State *L, int index);
/* The same for one that comes at `index` or, behind an optional argument, after it. */
int hwl_check_callback_after(lua_State *L, int index);

/* Once, before the types are defined. */
void hwl_state_init_finalizers(lua_State *L, hwl_t *lua);

/* Raises in place of what the core could not allocate. */
_Noreturn void hwl_out_of_memory(lua_State *L);

/* Runs a C function with `argument` as a light userdata in protected mode; false when it raised,
 * which it only does for want of memory. Its results are dropped. */
bool hwl_protect(lua_State *L, lua_CFunction function, void *argument);

static inline double hwl_seconds(hws_time_t span)
{
    return (double)span / 1e6;
}

/* Functions of the loop that Lua sees, in lua_loop.c; those after the empty line are for the host's
 * glue in hawser/host/. */
int hwl_loop_sleep(lua_State *L);
int hwl_loop_now(lua_State *L);
int hwl_loop_pollfd(lua_State *L);
int hwl_loop_timeout(lua_State *L);
int hwl_loop_step(lua_State *L);

int hwl_loop_descriptor(lua_State *L);
int hwl_loop_enter(lua_State *L);
int hwl_loop_is_turning(lua_State *L);
int hwl_loop_is_pending(lua_State *L);
int hwl_loop_is_used(lua_State *L);
int hwl_loop_attach(lua_State *L);

/* The type lists of the files beside this one. */
void hwl_define_errors(lua_State *L, hwl_t *lua);
void hwl_define_tasks(lua_State *L, hwl_t *lua);
void hwl_define_calls(lua_State *L, hwl_t *lua);
void hwl_define_managers(lua_State *L, hwl_t *lua);
void hwl_define_operations(lua_State *L, hwl_t *lua);
void hwl_define_metrics(lua_State *L, hwl_t *lua);
void hwl_define_upstreams(lua_State *L, hwl_t *lua);
void hwl_define_responses(lua_State *L, hwl_t *lua);
void hwl_define_headers(lua_State *L, hwl_t *lua);
void hwl_define_exchanges(lua_State *L, hwl_t *lua);
void hwl_define_conns(lua_State *L, hwl_t *lua);
void hwl_define_duplexes(lua_State *L, hwl_t *lua);
void hwl_define_sessions(lua_State *L, hwl_t *lua);
void hwl_define_peer_views(lua_State *L, hwl_t *lua);
void hwl_define_scripts(lua_State *L, hwl_t *lua);

#endif
