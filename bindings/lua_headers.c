/* res.headers and res.trailers: a view that looks each name up in the message as it came. */
#include "lua_response.h"

#include <string.h>

void hwl_headers_push(lua_State *L, hwl_t *lua, const hws_head_t *head)
{
    size_t fields = head->count * sizeof(hws_field_t);
    hwl_head_t *own = hwl_new(L, lua, HWL_HEADERS, sizeof(*own) + fields + head->size, 0);
    hws_field_t *field = (hws_field_t *)(void *)(own + 1);
    char *bytes = (char *)own + sizeof(*own) + fields;

    memset(own, 0, sizeof(*own));
    own->head = *head;
    memcpy(field, head->fields, fields);
    memcpy(bytes, head->bytes, head->size);
    own->head.fields = field;
    own->head.bytes = bytes;
    own->view = &own->head;
}

static const hws_head_t *self_head(lua_State *L)
{
    return *(const hws_head_t **)hwl_self(L, HWL_HEADERS);
}

static void push_slice(lua_State *L, hws_slice_t slice)
{
    lua_pushlstring(L, slice.data, slice.size);
}

/* Pushes the value of the first field called as index 2 says, from `*from` on, and moves that behind
 * it; false when there is none. */
static bool push_next(lua_State *L, const hws_head_t *head, uint32_t *from)
{
    hws_slice_t name;
    int64_t index;

    name.data = lua_tolstring(L, 2, &name.size);
    if ((index = hws_head_find(head, name, *from)) < 0)
        return false;
    push_slice(L, hws_head_value(head, (uint32_t)index));
    *from = (uint32_t)index + 1;
    return true;
}

/* Methods come first: a server that sends a field called "all" must not break res.headers:all(). */
static int get(lua_State *L)
{
    const hws_head_t *head = self_head(L);
    uint32_t from = 0;

    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    if (!lua_isnil(L, -1))
        return 1;
    return push_next(L, head, &from) ? 1 : 0;
}

/* headers:all(name) -> list of the values of all fields called so. */
static int all(lua_State *L)
{
    const hws_head_t *head = self_head(L);
    uint32_t from = 0;
    int count = 0;

    if (lua_type(L, 2) != LUA_TSTRING)
        return hwl_refuse(L, "the name of the header", 2, "a string");
    lua_newtable(L);
    while (push_next(L, head, &from))
        lua_rawseti(L, -2, ++count);
    return 1;
}

/* The iterator's state is the index of the next field, in an upvalue: a name may occur twice, so it
 * cannot be found again by the control variable. */
static int next_field(lua_State *L)
{
    const hws_head_t *head = *(const hws_head_t **)hwl_test(L, lua_upvalueindex(1), HWL_HEADERS);
    uint32_t index = (uint32_t)lua_tointeger(L, lua_upvalueindex(2));

    if (index >= head->count)
        return 0;
    lua_pushinteger(L, (lua_Integer)index + 1);
    lua_replace(L, lua_upvalueindex(2));
    push_slice(L, hws_head_name(head, index));
    push_slice(L, hws_head_value(head, index));
    return 2;
}

/* headers:each() and pairs(headers): name, value in the order of the message. */
static int each(lua_State *L)
{
    self_head(L);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_field, 2);
    return 1;
}

static int length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)self_head(L)->count);
    return 1;
}

void hwl_define_headers(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__index", get},
        {"__pairs", each},
        {"__len", length},
        {NULL, NULL},
    };
    static const luaL_Reg methods[] = {{"all", all}, {"each", each}, {NULL, NULL}};

    hwl_define(L, lua, HWL_HEADERS, metamethods, methods);
}
