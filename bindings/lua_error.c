#include "lua_error.h"

#include <string.h>

hws_error_t hwl_error_make(int code, hws_phase_t phase, const char *detail)
{
    hws_error_t error = {.code = code, .phase = phase};

    if (detail != NULL)
        strncpy(error.detail, detail, sizeof(error.detail) - 1);
    return error;
}

void hwl_error_push(lua_State *L, const hwl_t *lua, const hws_error_t *error)
{
    lua_createtable(L, 0, 10);
    lua_pushstring(L, hws_kind_name(hws_error_kind(error->code)));
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, hws_error_name(error->code));
    lua_setfield(L, -2, "code");
    if (error->detail[0] != '\0')
        lua_pushfstring(L, "%s: %s", hws_error_text(error->code), error->detail);
    else
        lua_pushstring(L, hws_error_text(error->code));
    lua_setfield(L, -2, "message");
    if (error->phase != HWL_NO_PHASE) {
        lua_pushstring(L, hws_phase_name(error->phase));
        lua_setfield(L, -2, "phase");
    }
    if (error->peer[0] != '\0') {
        lua_pushstring(L, error->peer);
        lua_setfield(L, -2, "peer");
    }
    lua_pushinteger(L, (lua_Integer)error->attempts);
    lua_setfield(L, -2, "attempts");
    lua_pushboolean(L, error->sent);
    lua_setfield(L, -2, "sent");
    lua_pushboolean(L, error->retryable);
    lua_setfield(L, -2, "retryable");
    if (error->has_retry_in) {
        lua_pushnumber(L, hwl_seconds(error->retry_in));
        lua_setfield(L, -2, "retry_in");
    }
    hwl_push_type(L, lua, HWL_ERROR);
    lua_setmetatable(L, -2);
}

int hwl_error_fail(lua_State *L, const hwl_t *lua, const hws_error_t *error)
{
    lua_pushnil(L);
    hwl_error_push(L, lua, error);
    return 2;
}

int hwl_error_fail_code(lua_State *L, const hwl_t *lua, int code, const char *detail)
{
    hws_error_t error = hwl_error_make(code, HWL_NO_PHASE, detail);

    return hwl_error_fail(L, lua, &error);
}

bool hwl_is_alive(lua_State *L, const void *self)
{
    const hwl_t *lua = hwl_of_self(self);

    if (*(void *const *)self != NULL && !lua->is_closed)
        return true;
    hwl_error_fail_code(L, lua, HWS_ERR_CLOSED, "it was finalized");
    return false;
}

int hwl_error_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    hwl_push_type(L, hwl_of(L), HWL_ERROR);
    lua_setmetatable(L, 1);
    return 1;
}

/* A field as text, "" when it is missing: users may have changed or made the table. */
static const char *field(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
}

/* "reset: connection reset by the peer [ECONNRESET] (headers, 127.0.0.1:80)" */
static int to_string(lua_State *L)
{
    const char *phase;
    const char *peer;

    luaL_checktype(L, 1, LUA_TTABLE);
    phase = field(L, "phase");
    peer = field(L, "peer");
    lua_pushfstring(L, "%s: %s [%s]", field(L, "kind"), field(L, "message"), field(L, "code"));
    if (phase[0] == '\0' && peer[0] == '\0')
        return 1;
    lua_pushfstring(L, " (%s%s%s)", phase, phase[0] != '\0' && peer[0] != '\0' ? ", " : "", peer);
    lua_concat(L, 2);
    return 1;
}

void hwl_define_errors(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {{"__tostring", to_string}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{NULL, NULL}};
    hws_error_t error = hwl_error_make(HWS_ERR_NOMEM, HWL_NO_PHASE, NULL);

    hwl_define(L, lua, HWL_ERROR, metamethods, methods);
    hwl_error_push(L, lua, &error);
    lua->out_of_memory = luaL_ref(L, LUA_REGISTRYINDEX);
    error = hwl_error_make(HWS_ERR_NOMEM, HWL_NO_PHASE, "too many results");
    hwl_error_push(L, lua, &error);
    lua->too_many_results = luaL_ref(L, LUA_REGISTRYINDEX);
}
