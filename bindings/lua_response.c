#include "lua_response.h"

#include "lua_task.h"

#include <string.h>

/* ---- how it is kept ---- */

/* That id among those of the attempts' peers, one of which has answered. */
static const char *find_peer(const hwl_traces_t *traces, const char *id)
{
    const char *peer = traces->peers;
    uint32_t i;

    for (i = 1; i < traces->count && strcmp(peer, id) != 0; i++)
        peer += strlen(peer) + 1;
    return peer;
}

/* A block of its own, without a metatable: head, fields, traces, bytes. */
static void push_head(lua_State *L, hwl_t *lua, const hws_request_t *request, hwl_type_t type,
                      int values)
{
    const hws_response_t *response = hws_request_response(request);
    const hws_head_t *head = response->head;
    size_t fields = head->count * sizeof(hws_field_t);
    size_t traces = hwl_trace_size(request);
    hwl_head_t *own =
        hwl_new_bare(L, lua, type, sizeof(*own) + fields + traces + head->size, values);
    char *place = (char *)(own + 1);

    own->head = *head;
    own->head.fields = (const hws_field_t *)(void *)place;
    memcpy(place, head->fields, fields);
    own->traces = hwl_trace_copy(request, place + fields);
    own->head.bytes = place + fields + traces;
    memcpy(place + fields + traces, head->bytes, head->size);
    own->peer = find_peer(&own->traces, response->peer);
    own->view = &own->head;
    own->attempts = response->attempts;
    own->reused = response->reused;
    own->is_read = false;
}

static void push_text(lua_State *L, hws_slice_t text)
{
    lua_pushlstring(L, text.size > 0 ? text.data : "", text.size);
}

#if HWL_HAS_USER_VALUES

enum { BODY = 1, HEADERS, TRAILERS, TRACE };

void hwl_response_push(lua_State *L, hwl_t *lua, const hws_request_t *request,
                       hwl_exchange_t *exchange)
{
    const hws_response_t *response = hws_request_response(request);

    push_head(L, lua, request, HWL_RESPONSE, TRACE);
    hwl_push_type(L, lua, HWL_RESPONSE);
    lua_setmetatable(L, -2);
    if (exchange != NULL)
        hwl_stream_push(L, exchange);
    else
        push_text(L, response->body);
    lua_setiuservalue(L, -2, BODY);
    if (response->trailers != NULL) {
        hwl_headers_push(L, lua, response->trailers);
        lua_setiuservalue(L, -2, TRAILERS);
    }
}

static hwl_head_t *self_head(lua_State *L)
{
    return hwl_self(L, HWL_RESPONSE);
}

/* Pushes the body's string or stream. */
static void push_body(lua_State *L)
{
    lua_getiuservalue(L, 1, BODY);
}

/* The view is made when it is first asked for, and anchors the response. */
static void push_headers(lua_State *L, const hwl_head_t *head)
{
    const hws_head_t **view;

    if (lua_getiuservalue(L, 1, HEADERS) != LUA_TNIL)
        return;
    view = hwl_new(L, hwl_of(L), HWL_HEADERS, sizeof(hws_head_t *), 1);
    *view = head->view;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, HEADERS);
}

static void push_trailers(lua_State *L)
{
    lua_getiuservalue(L, 1, TRAILERS);
}

/* Pushes what was kept, or nil; keeps what is on top of the stack. */
static void push_kept_trace(lua_State *L)
{
    lua_getiuservalue(L, 1, TRACE);
}

static void keep_trace(lua_State *L)
{
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, TRACE);
}

#else

enum { HEAD = 1, STREAM = 2 };

/* The table is made by Lua: naming its fields from C takes longer than all else that is done here. */
void hwl_response_push(lua_State *L, hwl_t *lua, const hws_request_t *request,
                       hwl_exchange_t *exchange)
{
    const hws_response_t *response = hws_request_response(request);

    hwl_push_helper(L, lua, HWL_HELPER_RESPONSE);
    push_head(L, lua, request, HWL_HEADERS, 0);
    lua_pushinteger(L, response->head->status);
    if (exchange != NULL)
        lua_pushnil(L);
    else
        push_text(L, response->body);
    lua_call(L, 3, 1);
    if (exchange != NULL) {
        hwl_stream_push(L, exchange);
        lua_rawseti(L, -2, STREAM);
    }
    if (response->trailers != NULL) {
        hwl_headers_push(L, lua, response->trailers);
        lua_setfield(L, -2, "trailers");
    }
}

static hwl_head_t *self_head(lua_State *L)
{
    hwl_head_t *head;

    hwl_check_self(L, HWL_RESPONSE);
    lua_rawgeti(L, 1, HEAD);
    if ((head = hwl_test(L, -1, HWL_HEADERS)) == NULL)
        luaL_error(L, "a response that hawser did not make");
    lua_pop(L, 1);
    return head;
}

static void push_body(lua_State *L)
{
    lua_rawgeti(L, 1, STREAM);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_pushliteral(L, "body");
    lua_rawget(L, 1);
}

/* Most heads are never looked at: this one gets its metatable now. */
static void push_headers(lua_State *L, const hwl_head_t *head)
{
    (void)head;
    lua_rawgeti(L, 1, HEAD);
    hwl_push_type(L, hwl_of(L), HWL_HEADERS);
    lua_setmetatable(L, -2);
}

static void push_trailers(lua_State *L)
{
    lua_pushliteral(L, "trailers");
    lua_rawget(L, 1);
}

/* What is kept stands in the response, where it is found from then on. */
static void push_kept_trace(lua_State *L)
{
    lua_pushnil(L);
}

static void keep_trace(lua_State *L)
{
    lua_pushliteral(L, "trace");
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
}

#endif

/* The stream behind a response whose body comes piece by piece; NULL for one that is whole. */
static hwl_stream_t *stream_of(lua_State *L)
{
    hwl_stream_t *stream;

    push_body(L);
    stream = hwl_test(L, -1, HWL_STREAM);
    lua_pop(L, 1);
    return stream;
}

/* ---- fields ---- */

static void get_status(lua_State *L, const hwl_head_t *head)
{
    lua_pushinteger(L, head->head.status);
}

static void get_body(lua_State *L, const hwl_head_t *head)
{
    (void)head;
    push_body(L);
    if (!lua_isstring(L, -1))
        lua_pushnil(L);
}

static void get_reason(lua_State *L, const hwl_head_t *head)
{
    push_text(L, (hws_slice_t){head->head.bytes + head->head.reason, head->head.reason_size});
}

static void get_version(lua_State *L, const hwl_head_t *head)
{
    lua_pushstring(L, head->head.version == 10 ? "1.0" : head->head.version == 11 ? "1.1" : "2");
}

static void get_peer(lua_State *L, const hwl_head_t *head)
{
    lua_pushstring(L, head->peer);
}

static void get_attempts(lua_State *L, const hwl_head_t *head)
{
    lua_pushinteger(L, (lua_Integer)head->attempts);
}

static void get_reused(lua_State *L, const hwl_head_t *head)
{
    lua_pushboolean(L, head->reused);
}

/* Those of a stream are known at its end. */
static void get_trailers(lua_State *L, const hwl_head_t *head)
{
    const hwl_stream_t *stream = stream_of(L);

    (void)head;
    if (stream == NULL)
        push_trailers(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, stream->trailers);
}

static void get_trace(lua_State *L, const hwl_head_t *head)
{
    push_kept_trace(L);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    hwl_trace_push(L, &head->traces);
    keep_trace(L);
}

static const struct {
    const char *name;
    void (*get)(lua_State *L, const hwl_head_t *head);
} fields[HWL_RESPONSE_FIELDS] = {
    {"status", get_status},     {"body", get_body},       {"headers", push_headers},
    {"reason", get_reason},     {"version", get_version}, {"peer", get_peer},
    {"attempts", get_attempts}, {"reused", get_reused},   {"trailers", get_trailers},
    {"trace", get_trace},
};

/* Lua keeps a short string once: what is no field of these addresses is none. */
static int get(lua_State *L)
{
    const hwl_head_t *head = self_head(L);
    const char *const *names;
    const char *name;
    size_t i;

    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    names = hwl_of_self(head)->response_fields;
    name = lua_tostring(L, 2);
    for (i = 0; i < HWL_RESPONSE_FIELDS; i++) {
        if (name == names[i]) {
            fields[i].get(L, head);
            return 1;
        }
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    return 1;
}

/* ---- methods ---- */

static int give_back(lua_State *L)
{
    return lua_gettop(L);
}

/* A whole body is one chunk. */
static int read_whole(lua_State *L, hwl_head_t *head, int callback)
{
    bool has_chunk;
    hwl_wait_t *wait;

    push_body(L);
    has_chunk = !head->is_read && lua_isstring(L, -1) && lua_rawlen(L, -1) > 0;
    head->is_read = true;
    if (callback == 0)
        return has_chunk ? 1 : 0;
    wait = hwl_wait_begin(L, hwl_of(L), callback, NULL);
    lua_pushcfunction(L, give_back);
    if (has_chunk)
        push_body(L);
    return hwl_task_wait(L, wait, has_chunk ? 1 : 0);
}

static int read_body(lua_State *L)
{
    hwl_head_t *head = self_head(L);
    hwl_stream_t *stream = stream_of(L);
    int callback = hwl_check_callback(L, 2);

    if (stream == NULL)
        return read_whole(L, head, callback);
    return hwl_stream_read(L, stream, 1, callback);
}

static int close(lua_State *L)
{
    hwl_stream_t *stream;

    self_head(L);
    if ((stream = stream_of(L)) != NULL) {
        hwl_stream_close(L, stream);
        hwl_wait_wake_host(L, stream->lua);
    }
    lua_pushboolean(L, 1);
    return 1;
}

void hwl_define_responses(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__index", get},
        {"__close", close},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {{"read", read_body}, {"close", close}, {NULL, NULL}};
    size_t i;

    hwl_define(L, lua, HWL_RESPONSE, metamethods, methods);
    for (i = 0; i < HWL_RESPONSE_FIELDS; i++) {
        lua_pushstring(L, fields[i].name);
        lua->response_fields[i] = lua_tostring(L, -1);
        luaL_ref(L, LUA_REGISTRYINDEX);
    }
}
