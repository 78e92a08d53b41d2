#include "lua_request.h"

#include "lua_error.h"
#include "lua_exchange.h"
#include "lua_options.h"
#include "lua_plan.h"
#include "lua_response.h"
#include "lua_upstream.h"

#include <string.h>

/* What a C function of this file was made for; a light userdata in its last upvalue. */
typedef struct {
    const char *name;
    hws_slice_t method; /* empty: `request`, which has everything in one table */
    bool has_body;      /* as its second argument */
} verb_t;

static const verb_t verbs[] = {
    {"get", {"GET", 3}, false},       {"head", {"HEAD", 4}, false},
    {"delete", {"DELETE", 6}, false}, {"options", {"OPTIONS", 7}, false},
    {"post", {"POST", 4}, true},      {"put", {"PUT", 3}, true},
    {"patch", {"PATCH", 5}, true},    {"request", {NULL, 0}, false},
};

/* ---- the request ---- */

static void on_done(hws_request_t *request, void *user)
{
    (void)request;
    hwl_wait_end(user);
}

static int push(lua_State *L, hwl_wait_t *wait)
{
    if (hws_request_response(wait->subject) != NULL) {
        hwl_response_push(L, wait->lua, wait->subject, NULL);
        return 1;
    }
    hwl_error_fail(L, wait->lua, hws_request_error(wait->subject));
    hwl_trace_set(L, wait->subject);
    return 2;
}

static void cancel(hwl_wait_t *wait)
{
    hws_request_cancel(wait->subject);
}

static void leave(hwl_wait_t *wait)
{
    hws_request_destroy(wait->subject);
}

static const hwl_operation_t operation = {.push = push, .cancel = cancel, .leave = leave};

/* The object whose method was called: the value at index 1. */
typedef struct {
    hwl_type_t type; /* HWL_UPSTREAM or HWL_MANAGER */
    void *bytes;
} object_t;

/* The manager behind it; and the upstream, NULL when the target's origin decides. */
static hwl_manager_t *manager_of(object_t self, hws_upstream_t **upstream)
{
    hwl_upstream_t *of_upstream = self.type == HWL_UPSTREAM ? self.bytes : NULL;

    *upstream = of_upstream != NULL ? of_upstream->core : NULL;
    return of_upstream != NULL ? of_upstream->manager : *(hwl_manager_t **)self.bytes;
}

static int find_upstream(lua_State *L, const hwl_plan_t *plan, hwl_manager_t *manager,
                         hws_upstream_t **upstream, hws_slice_t *target, hws_error_t *why)
{
    const char *fragment;

    target->data = lua_tolstring(L, plan->target, &target->size);
    if ((fragment = memchr(target->data, '#', target->size)) != NULL)
        target->size = (size_t)(fragment - target->data);
    if (*upstream != NULL)
        return HWS_OK;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return HWS_ERR_FORKED;
    return hws_manager_origin(manager->core, *target, upstream, target, why);
}

static int start(lua_State *L, hwl_t *lua, object_t self, hwl_plan_t *plan)
{
    hws_request_options_t *options = &plan->options;
    hws_request_t *request;
    hws_upstream_t *upstream;
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, plan->callback, &local);
    hwl_exchange_t *exchange = NULL;
    hwl_manager_t *manager;
    int rc = HWS_OK;

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, plan->self);
    if (plan->body != 0)
        hwl_wait_anchor(L, wait, plan->body);
    manager = manager_of(self, &upstream);
    if (options->stream || plan->producer != 0) {
        if ((exchange = hwl_exchange_create(L, manager, options, plan->producer)) == NULL)
            rc = HWS_ERR_NOMEM;
    } else {
        options->on_done = on_done;
        options->user = wait;
    }
    hwl_plan_headers(L, lua, plan);
    why.code = HWS_OK;
    if (rc == HWS_OK)
        rc = find_upstream(L, plan, manager, &upstream, &options->target, &why);
    if (rc == HWS_OK)
        rc = hws_request_start(upstream, options, &request, &why);
    if (rc == HWS_OK)
        return exchange != NULL ? hwl_exchange_wait(L, wait, exchange, request)
                                : hwl_wait_for(L, wait, &operation, request);
    hwl_exchange_destroy(L, exchange);
    if (why.code != rc)
        why = hwl_error_make(rc, HWS_PHASE_QUEUE, NULL);
    return hwl_wait_fail(L, wait, &why);
}

/* What the upstream has, or will have that is made for the origin. */
static void get_settings(object_t self, hws_upstream_options_t *settings)
{
    hws_upstream_t *upstream;
    hwl_manager_t *manager = manager_of(self, &upstream);

    if (upstream != NULL)
        hws_upstream_settings(upstream, settings);
    else
        hws_upstream_options_init(settings, manager->core);
}

/* The request's own `retry` over the upstream's, in a userdata on the stack. */
static void merge_retry(lua_State *L, hwl_t *lua, object_t self, hwl_plan_t *plan)
{
    hws_upstream_options_t settings;
    hws_retry_options_t *retry;
    hws_error_t why;

    lua_getfield(L, plan->table, "retry");
    hwl_options_check(L, lua, HWL_HELPER_CHECK_REQUEST, lua_gettop(L), -1);
    get_settings(self, &settings);
    hwl_options_retry(L, &settings.retry);
    if (hws_retry_options_check(&settings.retry, &why) != HWS_OK)
        luaL_error(L, "%s", why.detail);
    retry = hwl_new_userdata(L, sizeof(*retry), 0);
    *retry = settings.retry;
    plan->options.retry = retry;
}

/* Sets the table's `timeout` to what bounds all requests of a redirected one together. */
static void set_timeout(lua_State *L, object_t self, const hwl_plan_t *plan)
{
    hws_upstream_options_t settings;
    hws_time_t span = plan->options.timeout;

    get_settings(self, &settings);
    if (span == 0)
        span = settings.timeouts.request;
    if (span >= HWS_S(1000000000))
        lua_pushboolean(L, 0);
    else
        lua_pushnumber(L, hwl_seconds(span));
    lua_setfield(L, -2, "timeout");
}

/* Following redirects takes several requests: a task of hawser/redirect.lua makes them, from a table
 * as `request` takes it. It knows an upstream's peers as they were given. */
static int start_redirected(lua_State *L, hwl_t *lua, object_t self, hwl_plan_t *plan)
{
    hws_slice_t method = plan->options.method;
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, plan->callback, &local);

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    hwl_push_helper(L, lua, HWL_HELPER_REDIRECT);
    lua_pushvalue(L, plan->self);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, plan->table) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -4);
    }
    lua_pushlstring(L, method.data, method.size);
    lua_setfield(L, -2, "method");
    lua_pushvalue(L, plan->target);
    lua_setfield(L, -2, "path");
    lua_pushnil(L);
    lua_setfield(L, -2, "url");
    lua_pushnil(L);
    lua_setfield(L, -2, "query");
    if (plan->body != 0 && !plan->has_json) {
        lua_pushvalue(L, plan->body);
        lua_setfield(L, -2, "body");
    }
    set_timeout(L, self, plan);
    if (self.type == HWL_UPSTREAM) {
        hwl_get_table(L, plan->self);
        lua_getfield(L, -1, "manager");
        lua_getfield(L, -2, "peers");
        lua_remove(L, -3);
    } else {
        lua_pushvalue(L, plan->self);
        lua_pushnil(L);
    }
    return hwl_task_wait(L, wait, 4);
}

static int submit(lua_State *L, object_t self, hwl_plan_t *plan)
{
    hwl_t *lua = hwl_of_self(self.bytes);

    hwl_plan_message(L, lua, plan);
    if (plan->has_retry)
        merge_retry(L, lua, self, plan);
    return plan->redirects > 0 ? start_redirected(L, lua, self, plan) : start(L, lua, self, plan);
}

/* ---- what Lua calls ---- */

static int do_verb(lua_State *L, object_t self, const verb_t *verb, const char *target)
{
    hwl_plan_t plan = {
        .self = 1, .body = verb->has_body ? 3 : 0, .options.priority = HWS_URGENCY_USUAL};

    if (verb->has_body || lua_gettop(L) > 4)
        lua_settop(L, verb->has_body ? 5 : 4);
    plan.options.method = verb->method;
    hwl_plan_target(L, &plan, 2, target);
    hwl_plan_table(L, &plan, verb->has_body ? 4 : 3);
    hwl_plan_options(L, &plan);
    return submit(L, self, &plan);
}

/* self:request{ method =, path =, ... } */
static int do_request(lua_State *L, object_t self, const char *target)
{
    hwl_plan_t plan = {.self = 1, .table = 2, .options.priority = HWS_URGENCY_USUAL};

    plan.options.method = HWS_SLICE("GET");
    if (!lua_istable(L, 2))
        return hwl_refuse(L, "the request", 2, "a table");
    plan.callback = hwl_check_callback(L, 3);
    hwl_plan_options(L, &plan);
    lua_settop(L, 3);
    lua_getfield(L, 2, "method");
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING)
            return hwl_refuse(L, "method", -1, "a string");
        plan.options.method.data = lua_tolstring(L, -1, &plan.options.method.size);
    }
    lua_getfield(L, 2, "path");
    lua_getfield(L, 2, "url");
    if (!lua_isnil(L, -1) && !lua_isnil(L, -2))
        return luaL_error(L, "the target is given twice: as `url` and as `path`");
    if (lua_isnil(L, -1))
        lua_pop(L, 1);
    hwl_plan_target(L, &plan, lua_gettop(L), target);
    return submit(L, self, &plan);
}

static int call(lua_State *L, object_t self, const char *target)
{
    const verb_t *verb = lua_touserdata(L, lua_upvalueindex(3));

    return verb->method.size > 0 ? do_verb(L, self, verb, target) : do_request(L, self, target);
}

static int call_method(lua_State *L, hwl_type_t type)
{
    object_t self = {type, hwl_self(L, type)};

    return hwl_is_alive(L, self.bytes) ? call(L, self, "the path or URL") : 2;
}

static int call_manager(lua_State *L)
{
    return call_method(L, HWL_MANAGER);
}

static int call_upstream(lua_State *L)
{
    return call_method(L, HWL_UPSTREAM);
}

static int call_default(lua_State *L)
{
    hwl_manager_push_default(L, hwl_of(L));
    lua_insert(L, 1);
    return call(L, (object_t){HWL_MANAGER, hwl_test(L, 1, HWL_MANAGER)}, "the URL");
}

/* Adds the functions to the table on top of the stack. */
static void define(lua_State *L, hwl_t *lua, lua_CFunction function)
{
    int table = lua_gettop(L);
    size_t i;

    hwl_plan_push_known(L, HWL_PLAN_VERB);
    hwl_plan_push_known(L, HWL_PLAN_REQUEST);
    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        lua_pushlightuserdata(L, lua);
        lua_pushvalue(L, verbs[i].method.size > 0 ? table + 1 : table + 2);
        lua_pushlightuserdata(L, (void *)(uintptr_t)&verbs[i]);
        lua_pushcclosure(L, function, 3);
        lua_setfield(L, table, verbs[i].name);
    }
    lua_settop(L, table);
}

void hwl_request_define(lua_State *L, hwl_t *lua, hwl_type_t type)
{
    hwl_push_type(L, lua, type);
    lua_getfield(L, -1, "methods");
    define(L, lua, type == HWL_MANAGER ? call_manager : call_upstream);
    lua_pop(L, 2);
}

void hwl_request_define_default(lua_State *L, hwl_t *lua)
{
    define(L, lua, call_default);
}
