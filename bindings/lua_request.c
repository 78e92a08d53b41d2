#include "lua_request.h"

#include "base/buffer.h"
#include "lua_error.h"
#include "lua_exchange.h"
#include "lua_response.h"
#include "lua_upstream.h"

#include <string.h>
#include <strings.h>

#define MOST_REDIRECTS 100

/* What a C function of this file was made for; a light userdata in its last upvalue. */
typedef struct {
    const char *name;
    hws_slice_t method; /* empty: `request`, which has everything in one table */
    bool has_body;      /* as its second argument */
} verb_t;

static const verb_t verbs[] = {
    { "get", { "GET", 3 }, false },       { "head", { "HEAD", 4 }, false },
    { "delete", { "DELETE", 6 }, false }, { "options", { "OPTIONS", 7 }, false },
    { "post", { "POST", 4 }, true },      { "put", { "PUT", 3 }, true },
    { "patch", { "PATCH", 5 }, true },    { "request", { NULL, 0 }, false },
};

/* X(symbol, name): the options; those behind the comment are of `request` alone. */
#define OPTION_LIST(X)                                                                             \
    X(HEADERS, "headers")                                                                          \
    X(BODY, "body")                                                                                \
    X(QUERY, "query")                                                                              \
    X(JSON, "json")                                                                                \
    X(TIMEOUT, "timeout")                                                                          \
    X(STREAM, "stream")                                                                            \
    X(IDEMPOTENT, "idempotent")                                                                    \
    X(MAX_BODY, "max_body")                                                                        \
    X(REDIRECTS, "redirects")                                                                      \
    /* only */ X(METHOD, "method")                                                                 \
    X(PATH, "path")                                                                                \
    X(URL, "url")

#define OPTION_ENUM(symbol, name) OPTION_##symbol,
typedef enum { OPTION_NONE, OPTION_LIST(OPTION_ENUM) OPTION_COUNT } option_t;
#undef OPTION_ENUM

/* A request as its caller described it; the numbers are stack indices, 0 for what is not there. */
typedef struct {
    hws_request_options_t options;
    int self;
    int target;
    int body;
    int table; /* of the options */
    int callback;
    int producer;
    int headers;
    bool has_body; /* as an option, too */
    bool has_headers;
    bool has_query;
    bool has_json;
    bool has_content_type;
    size_t redirects;
    uint64_t serial; /* of its header fields */
} plan_t;

/* ---- options ---- */

static void refuse_option(lua_State *L)
{
    hwl_push_helper(L, hwl_of(L), HWL_HELPER_UNKNOWN);
    lua_pushliteral(L, "option");
    lua_pushvalue(L, -3);
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_call(L, 3, 1);
    luaL_error(L, "%s", lua_tostring(L, -1));
}

static bool check_flag(lua_State *L, const char *name)
{
    if (!lua_isboolean(L, -1))
        hwl_refuse(L, name, -1, "true or false");
    return lua_toboolean(L, -1) != 0;
}

/* One option, whose value lies on top of the stack above its name. */
static void take_option(lua_State *L, plan_t *plan, option_t option)
{
    hws_request_options_t *options = &plan->options;

    switch (option) {
    case OPTION_HEADERS:
        plan->has_headers = true;
        break;
    case OPTION_BODY:
        plan->has_body = true;
        break;
    case OPTION_QUERY:
        plan->has_query = true;
        break;
    case OPTION_JSON:
        plan->has_json = true;
        break;
    case OPTION_TIMEOUT:
        options->timeout = hwl_check_span(L, "timeout", -1, 1, true);
        break;
    case OPTION_STREAM:
        options->stream = check_flag(L, "stream");
        break;
    case OPTION_IDEMPOTENT:
        options->idempotent = check_flag(L, "idempotent") ? HWS_IDEMPOTENT_YES : HWS_IDEMPOTENT_NO;
        break;
    case OPTION_MAX_BODY:
        options->max_body = hwl_check_size(L, "max_body", -1, 1, SIZE_MAX / 4);
        break;
    case OPTION_REDIRECTS:
        plan->redirects = hwl_check_size(L, "redirects", -1, 0, MOST_REDIRECTS);
        break;
    case OPTION_METHOD:
    case OPTION_PATH:
    case OPTION_URL:
        break;
    case OPTION_NONE:
    case OPTION_COUNT:
        lua_pop(L, 1);
        refuse_option(L);
        break;
    }
}

/* One walk; each name is looked up in the table of the known ones, which is the third upvalue. */
static void take_options(lua_State *L, plan_t *plan)
{
    if (plan->table == 0)
        return;
    for (lua_pushnil(L); lua_next(L, plan->table) != 0; lua_pop(L, 1)) {
        option_t option;

        lua_pushvalue(L, -2);
        lua_rawget(L, lua_upvalueindex(3));
        option = (option_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
        take_option(L, plan, option);
    }
}

/* ---- headers ---- */

/* Appends the field whose name and value lie at those indices. */
static void add_field(lua_State *L, hwl_t *lua, plan_t *plan, int name_index, int value_index)
{
    hws_error_t why = { .code = HWS_OK };
    hws_slice_t name;
    hws_slice_t value;

    if (lua_type(L, name_index) != LUA_TSTRING)
        hwl_refuse(L, "the name of a header", name_index, "a string");
    name.data = lua_tolstring(L, name_index, &name.size);
    if (!lua_isstring(L, value_index)) {
        lua_pushfstring(L, "the header %s", name.data);
        hwl_refuse(L, lua_tostring(L, -1), value_index, "a string, a number, or a list of those");
    }
    value.data = lua_tolstring(L, value_index, &value.size);
    if (hws_fields_add(&lua->lines, name, value, &why) != HWS_OK)
        luaL_error(L, "%s", why.code != HWS_OK ? why.detail : "out of memory");
    if (name.size == strlen("content-type") && strcasecmp(name.data, "content-type") == 0)
        plan->has_content_type = true;
}

/* The value on top of the stack is a list: the field called as below it once for each item. */
static void add_list(lua_State *L, hwl_t *lua, plan_t *plan)
{
    int list = lua_gettop(L);
    int count = (int)lua_rawlen(L, list);
    int i;

    for (i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        add_field(L, lua, plan, list - 1, list + 1);
        lua_pop(L, 1);
    }
}

/* { { name, value }, ... } */
static void add_pairs(lua_State *L, hwl_t *lua, plan_t *plan, int headers)
{
    int count = (int)lua_rawlen(L, headers);
    int i;

    for (i = 1; i <= count; i++) {
        lua_rawgeti(L, headers, i);
        if (!lua_istable(L, -1))
            hwl_refuse(L, "an item of the list of headers", -1, "{ name, value }");
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        add_field(L, lua, plan, lua_gettop(L) - 1, lua_gettop(L));
        lua_pop(L, 3);
    }
}

/* { name = value, ... }; a value may be a list. */
static void add_map(lua_State *L, hwl_t *lua, plan_t *plan, int headers)
{
    for (lua_pushnil(L); lua_next(L, headers) != 0; lua_pop(L, 1)) {
        if (lua_istable(L, -1))
            add_list(L, lua, plan);
        else
            add_field(L, lua, plan, lua_gettop(L) - 1, lua_gettop(L));
    }
}

/* Serialises the headers, which lie at that index, into the state's buffer. */
static void serialize(lua_State *L, hwl_t *lua, plan_t *plan, int headers)
{
    static const hws_slice_t type = { "content-type", 12 };
    static const hws_slice_t json = { "application/json", 16 };

    plan->serial = ++lua->serial;
    hws_buffer_clear(&lua->lines);
    if (plan->has_headers) {
        lua_rawgeti(L, headers, 1);
        if (lua_isnil(L, -1))
            add_map(L, lua, plan, headers);
        else
            add_pairs(L, lua, plan, headers);
        lua_pop(L, 1);
    }
    if (plan->has_json && !plan->has_content_type &&
        hws_fields_add(&lua->lines, type, json, NULL) != HWS_OK)
        luaL_error(L, "out of memory");
}

static void check_headers(lua_State *L, hwl_t *lua, plan_t *plan)
{
    if (!plan->has_headers && !plan->has_json)
        return;
    if (plan->has_headers) {
        lua_getfield(L, plan->table, "headers");
        plan->headers = lua_gettop(L);
        if (!lua_istable(L, -1))
            hwl_refuse(L, "headers", -1, "a table { name = value }, or a list of { name, value }");
    }
    serialize(L, lua, plan, plan->headers);
}

/* Wherever Lua allocates, a finalizer may run and make a request of its own. */
static void use_headers(lua_State *L, hwl_t *lua, plan_t *plan)
{
    if (plan->serial == 0)
        return;
    while (plan->serial != lua->serial)
        serialize(L, lua, plan, plan->headers);
    if (!hws_buffer_is_empty(&lua->lines))
        plan->options.fields =
            (hws_slice_t){ hws_buffer_bytes(&lua->lines), hws_buffer_size(&lua->lines) };
}

/* ---- target and body ---- */

/* What a helper written in Lua makes of the `arguments` on the stack; the index of that. */
static int call_helper(lua_State *L, hwl_t *lua, hwl_helper_t helper, int arguments)
{
    hwl_push_helper(L, lua, helper);
    lua_insert(L, -arguments - 1);
    lua_call(L, arguments, 2);
    if (lua_isnil(L, -2))
        luaL_error(L, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
    return lua_gettop(L);
}

static void add_query(lua_State *L, hwl_t *lua, plan_t *plan)
{
    if (!plan->has_query)
        return;
    lua_pushvalue(L, plan->target);
    lua_getfield(L, plan->table, "query");
    plan->target = call_helper(L, lua, HWL_HELPER_QUERY, 2);
}

/* A list of strings becomes one. */
static int concat(lua_State *L, int list)
{
    int count = (int)lua_rawlen(L, list);
    luaL_Buffer buffer;
    int i;

    luaL_buffinit(L, &buffer);
    for (i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        if (lua_type(L, -1) != LUA_TSTRING) {
            lua_pushfstring(L, "item %d of the body", i);
            return hwl_refuse(L, lua_tostring(L, -1), -2, "a string");
        }
        luaL_addvalue(&buffer);
    }
    luaL_pushresult(&buffer);
    return lua_gettop(L);
}

static void take_body(lua_State *L, hwl_t *lua, plan_t *plan)
{
    hws_request_options_t *options = &plan->options;

    if ((plan->body != 0 && !lua_isnil(L, plan->body)) + plan->has_body + plan->has_json > 1)
        luaL_error(L, "the body is given twice: as an argument, as `body` or as `json`");
    if (plan->has_json) {
        lua_getfield(L, plan->table, "json");
        plan->body = call_helper(L, lua, HWL_HELPER_JSON, 1);
    } else if (plan->has_body) {
        lua_getfield(L, plan->table, "body");
        plan->body = lua_gettop(L);
    }
    if (plan->body == 0)
        return;
    switch (lua_type(L, plan->body)) {
    case LUA_TNIL:
    case LUA_TNONE:
        plan->body = 0;
        return;
    case LUA_TFUNCTION:
        plan->producer = plan->body;
        return;
    case LUA_TTABLE:
        plan->body = concat(L, plan->body);
        break;
    case LUA_TSTRING:
        break;
    default:
        hwl_refuse(L, "the body", plan->body, "a string, a list of strings, or a function");
    }
    options->has_body = true;
    options->body.data = lua_tolstring(L, plan->body, &options->body.size);
}

/* ---- the request ---- */

static void on_done(hws_request_t *request, void *user)
{
    (void)request;
    hwl_wait_end(user);
}

static int push(lua_State *L, hwl_wait_t *wait)
{
    const hws_response_t *response = hws_request_response(wait->subject);

    if (response == NULL)
        return hwl_error_fail(L, wait->lua, hws_request_error(wait->subject));
    hwl_response_push(L, wait->lua, response, NULL);
    return 1;
}

static void cancel(hwl_wait_t *wait)
{
    hws_request_cancel(wait->subject);
}

static void leave(hwl_wait_t *wait)
{
    hws_request_destroy(wait->subject);
}

static const hwl_operation_t operation = { .push = push, .cancel = cancel, .leave = leave };

/* The manager behind `self`; and the upstream, NULL when the target's origin decides. */
static hwl_manager_t *manager_of(lua_State *L, const plan_t *plan, hws_upstream_t **upstream)
{
    hwl_upstream_t *of_upstream = hwl_test(L, hwl_of(L), plan->self, HWL_UPSTREAM);

    *upstream = of_upstream != NULL ? of_upstream->core : NULL;
    return of_upstream != NULL ? of_upstream->manager
                               : *(hwl_manager_t **)lua_touserdata(L, plan->self);
}

static int find_upstream(lua_State *L, const plan_t *plan, hwl_manager_t *manager,
                         hws_upstream_t **upstream, hws_slice_t *target, hws_error_t *why)
{
    target->data = lua_tolstring(L, plan->target, &target->size);
    if (*upstream != NULL)
        return HWS_OK;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return HWS_ERR_FORKED;
    return hws_manager_origin(manager->core, *target, upstream, target, why);
}

static int start(lua_State *L, hwl_t *lua, plan_t *plan)
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
    manager = manager_of(L, plan, &upstream);
    if (options->stream || plan->producer != 0) {
        if ((exchange = hwl_exchange_create(L, manager, options, plan->producer)) == NULL)
            rc = HWS_ERR_NOMEM;
    } else {
        options->on_done = on_done;
        options->user = wait;
    }
    use_headers(L, lua, plan);
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

/* Following redirects takes several requests: a task of hawser/redirect.lua makes them, from a table
 * as `request` takes it. */
static int start_redirected(lua_State *L, hwl_t *lua, plan_t *plan)
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
    if (hwl_test(L, lua, plan->self, HWL_UPSTREAM) != NULL) {
        hwl_get_table(L, plan->self);
        lua_getfield(L, -1, "manager");
        lua_remove(L, -2);
    } else {
        lua_pushvalue(L, plan->self);
    }
    return hwl_task_wait(L, wait, 3);
}

static int submit(lua_State *L, plan_t *plan)
{
    hwl_t *lua = hwl_of(L);

    add_query(L, lua, plan);
    take_body(L, lua, plan);
    check_headers(L, lua, plan);
    return plan->redirects > 0 ? start_redirected(L, lua, plan) : start(L, lua, plan);
}

/* ---- what Lua calls ---- */

/* Options and callback, or the callback alone, at `index`. */
static void take_table(lua_State *L, plan_t *plan, int index)
{
    if (lua_isfunction(L, index)) {
        plan->callback = index;
        return;
    }
    if (!lua_isnoneornil(L, index)) {
        if (!lua_istable(L, index))
            hwl_refuse(L, "the table of options", index, "a table, a callback in its place, or nothing");
        plan->table = index;
    }
    plan->callback = hwl_check_callback(L, index + 1);
}

static void check_target(lua_State *L, plan_t *plan, int index, const char *name)
{
    if (lua_type(L, index) != LUA_TSTRING)
        hwl_refuse(L, name, index, "a string");
    plan->target = index;
}

static int do_verb(lua_State *L, const verb_t *verb, const char *target)
{
    plan_t plan = { .self = 1, .body = verb->has_body ? 3 : 0 };

    lua_settop(L, verb->has_body ? 5 : 4);
    plan.options.method = verb->method;
    check_target(L, &plan, 2, target);
    take_table(L, &plan, verb->has_body ? 4 : 3);
    take_options(L, &plan);
    return submit(L, &plan);
}

/* self:request{ method =, path =, ... } */
static int do_request(lua_State *L, const char *target)
{
    plan_t plan = { .self = 1, .table = 2 };

    plan.options.method = HWS_SLICE("GET");
    if (!lua_istable(L, 2))
        return hwl_refuse(L, "the request", 2, "a table");
    plan.callback = hwl_check_callback(L, 3);
    take_options(L, &plan);
    lua_settop(L, 3);
    lua_getfield(L, 2, "method");
    if (!lua_isnil(L, -1)) {
        if (lua_type(L, -1) != LUA_TSTRING)
            return hwl_refuse(L, "method", -1, "a string");
        plan.options.method.data = lua_tolstring(L, -1, &plan.options.method.size);
    }
    lua_getfield(L, 2, "url");
    if (lua_isnil(L, -1))
        lua_getfield(L, 2, "path");
    check_target(L, &plan, lua_gettop(L), target);
    return submit(L, &plan);
}

static int call(lua_State *L, const char *target)
{
    const verb_t *verb = lua_touserdata(L, lua_upvalueindex(4));

    return verb->method.size > 0 ? do_verb(L, verb, target) : do_request(L, target);
}

static int call_method(lua_State *L)
{
    hwl_self(L);
    return call(L, "the path or URL");
}

static int call_default(lua_State *L)
{
    hwl_manager_push_default(L, hwl_of(L));
    lua_insert(L, 1);
    return call(L, "the URL");
}

/* The known options of all verbs but `request`, or of that one. */
static void push_known(lua_State *L, bool of_request)
{
    static const char *const names[] = {
#define OPTION_NAME(symbol, name) name,
        OPTION_LIST(OPTION_NAME)
#undef OPTION_NAME
    };
    int count = of_request ? OPTION_COUNT : OPTION_METHOD;
    int i;

    lua_newtable(L);
    for (i = OPTION_NONE + 1; i < count; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, names[i - 1]);
    }
}

/* Adds the functions to the table on top of the stack. */
static void define(lua_State *L, hwl_t *lua, hwl_type_t type, lua_CFunction function)
{
    int table = lua_gettop(L);
    size_t i;

    push_known(L, false);
    push_known(L, true);
    for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        lua_pushlightuserdata(L, lua);
        hwl_push_type(L, lua, type);
        lua_pushvalue(L, verbs[i].method.size > 0 ? table + 1 : table + 2);
        lua_pushlightuserdata(L, (void *)(uintptr_t)&verbs[i]);
        lua_pushcclosure(L, function, 4);
        lua_setfield(L, table, verbs[i].name);
    }
    lua_settop(L, table);
}

void hwl_request_define(lua_State *L, hwl_t *lua, hwl_type_t type)
{
    hwl_push_type(L, lua, type);
    lua_getfield(L, -1, "methods");
    define(L, lua, type, call_method);
    lua_pop(L, 2);
}

void hwl_request_define_default(lua_State *L, hwl_t *lua)
{
    define(L, lua, HWL_MANAGER, call_default);
}
