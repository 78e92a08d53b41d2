#include "lua_plan.h"

#include "base/buffer.h"

#include <string.h>
#include <strings.h>

#define MOST_REDIRECTS 100

#define VERB (1U << HWL_PLAN_VERB)
#define REQUEST (1U << HWL_PLAN_REQUEST)
#define STREAM (1U << HWL_PLAN_STREAM)

/* X(symbol, name, whose) */
#define OPTION_LIST(X)                                                                             \
    X(HEADERS, "headers", VERB | REQUEST | STREAM)                                                 \
    X(BODY, "body", VERB | REQUEST)                                                                \
    X(QUERY, "query", VERB | REQUEST | STREAM)                                                     \
    X(JSON, "json", VERB | REQUEST)                                                                \
    X(TIMEOUT, "timeout", VERB | REQUEST | STREAM)                                                 \
    X(STREAM, "stream", VERB | REQUEST)                                                            \
    X(IDEMPOTENT, "idempotent", VERB | REQUEST)                                                    \
    X(RETRY, "retry", VERB | REQUEST)                                                              \
    X(MAX_BODY, "max_body", VERB | REQUEST)                                                        \
    X(REDIRECTS, "redirects", VERB | REQUEST)                                                      \
    X(PRIORITY, "priority", VERB | REQUEST | STREAM)                                               \
    X(METHOD, "method", REQUEST | STREAM)                                                          \
    X(PATH, "path", REQUEST | STREAM)                                                              \
    X(URL, "url", REQUEST)

#define OPTION_ENUM(symbol, name, whose) OPTION_##symbol,
typedef enum { OPTION_NONE, OPTION_LIST(OPTION_ENUM) OPTION_COUNT } option_t;
#undef OPTION_ENUM

/* ---- arguments ---- */

void hwl_plan_table(lua_State *L, hwl_plan_t *plan, int index)
{
    if (lua_gettop(L) < index)
        return;
    if (lua_isfunction(L, index)) {
        plan->callback = index;
        return;
    }
    if (!lua_isnoneornil(L, index)) {
        if (!lua_istable(L, index))
            hwl_refuse(L, "the table of options", index,
                       "a table, a callback in its place, or nothing");
        plan->table = index;
    }
    plan->callback = hwl_check_callback(L, index + 1);
}

void hwl_plan_target(lua_State *L, hwl_plan_t *plan, int index, const char *name)
{
    if (lua_type(L, index) != LUA_TSTRING)
        hwl_refuse(L, name, index, "a string");
    plan->target = index;
}

/* ---- options ---- */

static void refuse_option(lua_State *L)
{
    hwl_push_helper(L, hwl_of(L), HWL_HELPER_UNKNOWN);
    lua_pushliteral(L, "option");
    lua_pushvalue(L, -3);
    lua_pushvalue(L, lua_upvalueindex(2));
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
static void take_option(lua_State *L, hwl_plan_t *plan, option_t option)
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
    case OPTION_RETRY:
        plan->has_retry = true;
        break;
    case OPTION_MAX_BODY:
        options->max_body = hwl_check_size(L, "max_body", -1, 1, SIZE_MAX / 4);
        break;
    case OPTION_REDIRECTS:
        plan->redirects = hwl_check_size(L, "redirects", -1, 0, MOST_REDIRECTS);
        break;
    case OPTION_PRIORITY:
        options->priority = (uint8_t)hwl_check_size(L, "priority", -1, 0, HWS_URGENCY_LEAST);
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

/* One walk; each name is looked up in the table of the known ones. */
void hwl_plan_options(lua_State *L, hwl_plan_t *plan)
{
    if (plan->table == 0)
        return;
    for (lua_pushnil(L); lua_next(L, plan->table) != 0; lua_pop(L, 1)) {
        option_t option;

        lua_pushvalue(L, -2);
        lua_rawget(L, lua_upvalueindex(2));
        option = (option_t)lua_tointeger(L, -1);
        lua_pop(L, 1);
        take_option(L, plan, option);
    }
}

/* ---- lists ---- */

/* Whether the value on top of the stack is a whole number in [1, count]. */
static bool is_index(lua_State *L, int count)
{
    lua_Number number = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;

    return number >= 1 && number <= count && number == (lua_Number)(int)number;
}

/* The length of the list at `index`, which messages call `name`. Raises when it has keys that a list
 * does not have: it was meant as something else. */
static int check_list(lua_State *L, int index, const char *name, const char *allowed)
{
    int count = (int)lua_rawlen(L, index);

    for (lua_pushnil(L); lua_next(L, index) != 0;) {
        lua_pop(L, 1);
        if (is_index(L, count))
            continue;
        if (lua_type(L, -1) == LUA_TSTRING)
            lua_pushfstring(L, "\"%s\"", lua_tostring(L, -1));
        else if (lua_type(L, -1) != LUA_TNUMBER)
            lua_pushstring(L, luaL_typename(L, -1));
        luaL_error(L, "%s is a table with the key %s; allowed: %s", name, lua_tostring(L, -1),
                   allowed);
    }
    return count;
}

/* ---- headers ---- */

/* Appends the field whose name and value lie at those indices. */
static void add_field(lua_State *L, hwl_t *lua, hwl_plan_t *plan, int name_index, int value_index)
{
    hws_error_t why = {.code = HWS_OK};
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
    if (name.size == strlen("host") && strcasecmp(name.data, "host") == 0) {
        if (plan->has_host)
            luaL_error(L, "header host: given more than once");
        plan->has_host = true;
    }
    if (name.size == strlen("content-type") && strcasecmp(name.data, "content-type") == 0)
        plan->has_content_type = true;
}

/* The value on top of the stack is a list: the field called as below it once for each item. */
static void add_list(lua_State *L, hwl_t *lua, hwl_plan_t *plan)
{
    int list = lua_gettop(L);
    int count;
    int i;

    if (lua_type(L, list - 1) == LUA_TSTRING)
        lua_pushfstring(L, "the header %s", lua_tostring(L, list - 1));
    else
        lua_pushliteral(L, "a header");
    count = check_list(L, list, lua_tostring(L, -1), "a string, a number, or a list of those");
    lua_pop(L, 1);
    for (i = 1; i <= count; i++) {
        lua_rawgeti(L, list, i);
        add_field(L, lua, plan, list - 1, list + 1);
        lua_pop(L, 1);
    }
}

/* { { name, value }, ... } */
static void add_pairs(lua_State *L, hwl_t *lua, hwl_plan_t *plan, int headers)
{
    int count = check_list(L, headers, "headers",
                           "either a table { name = value } or a list of { name, value }");
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
static void add_map(lua_State *L, hwl_t *lua, hwl_plan_t *plan, int headers)
{
    for (lua_pushnil(L); lua_next(L, headers) != 0; lua_pop(L, 1)) {
        if (lua_istable(L, -1))
            add_list(L, lua, plan);
        else
            add_field(L, lua, plan, lua_gettop(L) - 1, lua_gettop(L));
    }
}

/* Serialises the headers, which lie at that index, into the state's buffer. */
static void serialize(lua_State *L, hwl_t *lua, hwl_plan_t *plan, int headers)
{
    static const hws_slice_t type = {"content-type", 12};
    static const hws_slice_t json = {"application/json", 16};

    plan->serial = ++lua->serial;
    plan->has_host = false;
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
        hwl_out_of_memory(L);
}

static void check_headers(lua_State *L, hwl_t *lua, hwl_plan_t *plan)
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
void hwl_plan_headers(lua_State *L, hwl_t *lua, hwl_plan_t *plan)
{
    if (plan->serial == 0)
        return;
    while (plan->serial != lua->serial)
        serialize(L, lua, plan, plan->headers);
    if (!hws_buffer_is_empty(&lua->lines))
        plan->options.fields =
            (hws_slice_t){hws_buffer_bytes(&lua->lines), hws_buffer_size(&lua->lines)};
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

static void add_query(lua_State *L, hwl_t *lua, hwl_plan_t *plan)
{
    if (!plan->has_query)
        return;
    lua_pushvalue(L, plan->target);
    lua_getfield(L, plan->table, "query");
    plan->target = call_helper(L, lua, HWL_HELPER_QUERY, 2);
}

/* A list of strings becomes one. */
static int concat(lua_State *L, int list, bool is_argument)
{
    int count = check_list(L, list, "body",
                           is_argument ? "a string, a list of strings or a function; options are "
                                         "the third argument"
                                       : "a string, a list of strings or a function");
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

static void take_body(lua_State *L, hwl_t *lua, hwl_plan_t *plan)
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
        plan->body = concat(L, plan->body, !plan->has_body);
        break;
    case LUA_TSTRING:
        break;
    default:
        hwl_refuse(L, "the body", plan->body, "a string, a list of strings, or a function");
    }
    options->has_body = true;
    options->body.data = lua_tolstring(L, plan->body, &options->body.size);
}

void hwl_plan_message(lua_State *L, hwl_t *lua, hwl_plan_t *plan)
{
    add_query(L, lua, plan);
    take_body(L, lua, plan);
    check_headers(L, lua, plan);
}

void hwl_plan_push_known(lua_State *L, hwl_plan_kind_t kind)
{
    static const struct {
        const char *name;
        unsigned whose;
    } options[] = {
#define OPTION_ROW(symbol, name, whose) {name, whose},
        OPTION_LIST(OPTION_ROW)
#undef OPTION_ROW
    };
    int i;

    lua_newtable(L);
    for (i = OPTION_NONE + 1; i < OPTION_COUNT; i++) {
        if ((options[i - 1].whose & 1U << kind) == 0)
            continue;
        lua_pushinteger(L, i);
        lua_setfield(L, -2, options[i - 1].name);
    }
}
