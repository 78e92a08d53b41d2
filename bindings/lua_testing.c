#include "lua_testing.h"

#include "base/memory.h"
#include "lua_peer_view.h"
#include "lua_policy.h"

#if defined(HWL_TESTS)

#include <math.h>
#include <string.h>

static int fail_at(lua_State *L)
{
    hws_memory_fail_at((uint64_t)luaL_checknumber(L, 1));
    return 0;
}

static int count(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)hws_memory_count());
    return 1;
}

/* ---- Lua's own allocator ---- */

static struct {
    lua_Alloc allocate; /* the state's; NULL: ours is not in its place */
    void *user;
    uint64_t fail_at;
    uint64_t count;
    const void *block; /* what the failed call was to enlarge, */
    size_t size;       /* to this; 0: none has failed */
} luas;

/* A Lua that was refused memory collects its garbage and asks again: that has to fail as well. */
static bool is_turn(const void *block, size_t size)
{
    if (luas.size > 0) {
        bool is_again = luas.size == size && luas.block == block;

        luas.size = is_again ? 0 : luas.size;
        return is_again && LUA_VERSION_NUM >= 502;
    }
    if (++luas.count != luas.fail_at)
        return false;
    luas.block = block;
    luas.size = size;
    return true;
}

/* Making a block smaller cannot fail, says Lua's manual. Without a block, its old size is no size. */
static void *allocate(void *user, void *block, size_t old_size, size_t size)
{
    (void)user;
    if (size > (block != NULL ? old_size : 0) && is_turn(block, size))
        return NULL;
    return luas.allocate(luas.user, block, old_size, size);
}

/* The Lua state from which this is called is the one that is disturbed; 0 leaves it in peace. */
static int fail_lua_at(lua_State *L)
{
    luas.fail_at = (uint64_t)luaL_checknumber(L, 1);
    if (luas.fail_at > 0 && luas.allocate == NULL) {
        luas.allocate = lua_getallocf(L, &luas.user);
        lua_setallocf(L, allocate, NULL);
    } else if (luas.fail_at == 0 && luas.allocate != NULL) {
        lua_setallocf(L, luas.allocate, luas.user);
        luas.allocate = NULL;
    }
    if (luas.fail_at > 0)
        luas.count = 0;
    luas.size = 0;
    return 0;
}

static int lua_count(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)luas.count);
    return 1;
}

/* ---- guarded calls ---- */

/* (function, ...) -> "ok" and its first result, or another word for the status and the message; nil
 * when too many are under way */
static int guard(lua_State *L)
{
    static const char *const words[] = {"ok", "raised", "overrun"};
    hwl_t *lua = hwl_find(L);
    int arguments = lua_gettop(L) - 1;
    lua_State *P = hwl_guard_enter(lua);
    hwl_guard_status_t status;

    if (P == NULL)
        return 0;
    lua_xmove(L, P, arguments + 1);
    status = hwl_guard_call(lua, arguments, 1);
    if (status == HWL_GUARD_OK)
        lua_xmove(P, L, 1);
    hwl_guard_leave(lua);
    if (status != HWL_GUARD_OK)
        lua_pushstring(L, hwl_guard_message(lua));
    lua_pushstring(L, words[status]);
    lua_insert(L, -2);
    return 2;
}

/* (function): it is a policy's from now on */
static int prepare(lua_State *L)
{
    hwl_guard_prepare(L, hwl_find(L), 1, false);
    return 0;
}

/* ---- policies ---- */

/* One place for a policy, as an upstream has it. */
static struct {
    hwl_policy_t *policy;
    uint32_t faults;
    char message[512];
} slot;

static void on_fault(void *user, const hwl_policy_t *policy, const char *message)
{
    (void)user;
    (void)policy;
    slot.faults++;
    strncpy(slot.message, message, sizeof(slot.message) - 1);
}

/* (kind, what policy.resolve() gave or nil): true, or nil and a message */
static int set(lua_State *L)
{
    static const char *const names[] = {"balancer", "retry", "breaker", NULL};
    hwl_policy_kind_t kind = (hwl_policy_kind_t)luaL_checkoption(L, 1, NULL, names);
    hwl_policy_t *next = NULL;

    if (!lua_isnil(L, 2) &&
        (next = hwl_policy_create(L, hwl_find(L), kind, 2, on_fault, NULL)) == NULL) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    hwl_policy_swap(&slot.policy, next);
    lua_pushboolean(L, 1);
    return 1;
}

/* (method, ...) -> true and its result, which must be a number or nil, or false */
static int ask(lua_State *L)
{
    static const char *const names[] = {"decide", "update", "done", NULL};
    hwl_policy_method_t method = (hwl_policy_method_t)luaL_checkoption(L, 1, NULL, names);
    int arguments = lua_gettop(L) - 1;
    hwl_policy_t *policy = slot.policy;
    lua_State *P;
    bool is_of_use;

    lua_pushboolean(L, 0);
    if (policy == NULL || (P = hwl_policy_begin(policy, method)) == NULL)
        return 1;
    lua_insert(L, 2);
    lua_xmove(L, P, arguments);
    if (!hwl_policy_call(policy, arguments, 1))
        return 1;
    is_of_use = lua_isnil(P, -1) || lua_type(P, -1) == LUA_TNUMBER;
    lua_pushboolean(L, is_of_use);
    lua_xmove(P, L, 1);
    hwl_policy_end(policy, is_of_use ? NULL : "returned nonsense");
    return 2;
}

/* -> faults told of, the last message, whether the policy is set aside */
static int faults(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)slot.faults);
    lua_pushstring(L, slot.message);
    lua_pushboolean(L, slot.policy != NULL && slot.policy->is_set_aside);
    slot.faults = 0;
    slot.message[0] = '\0';
    return 3;
}

/* ---- peers ---- */

static double figures[HWL_PEER_FIELD_COUNT];

static double read_figure(const void *peer, hwl_peer_field_t field)
{
    return ((const double *)peer)[field];
}

/* (fixed fields) -> a view of the one peer there is */
static int view(lua_State *L)
{
    hwl_peer_view_new(L, hwl_find(L), figures, read_figure);
    return 1;
}

/* (figures by the number of the field), none is nil */
static int set_figures(lua_State *L)
{
    int i;

    for (i = 0; i < HWL_PEER_FIELD_COUNT; i++) {
        lua_rawgeti(L, 1, i);
        figures[i] = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : NAN;
        lua_pop(L, 1);
    }
    return 0;
}

/* (view): its peer goes */
static int forget(lua_State *L)
{
    hwl_peer_view_forget(hwl_test(L, 1, HWL_PEER));
    return 0;
}

/* (value) -> whether it is a view of a peer that is there */
static int is_peer(lua_State *L)
{
    lua_pushboolean(L, hwl_peer_view_peer(L, 1) != NULL);
    return 1;
}

/* ---- all of it ---- */

static void define(lua_State *L, const char *name, const luaL_Reg *functions)
{
    lua_newtable(L);
    for (; functions->name != NULL; functions++) {
        lua_pushcfunction(L, functions->func);
        lua_setfield(L, -2, functions->name);
    }
    lua_setfield(L, -2, name);
}

void hwl_testing_define(lua_State *L)
{
    static const luaL_Reg memory[] = {
        {"fail_at", fail_at},     {"count", count}, {"fail_lua_at", fail_lua_at},
        {"lua_count", lua_count}, {NULL, NULL},
    };
    static const luaL_Reg policy[] = {
        {"guard", guard},
        {"prepare", prepare},
        {"set", set},
        {"ask", ask},
        {"faults", faults},
        {"view", view},
        {"set_figures", set_figures},
        {"forget", forget},
        {"is_peer", is_peer},
        {NULL, NULL},
    };

    define(L, "memory", memory);
    define(L, "policy", policy);
}

#else

void hwl_testing_define(lua_State *L)
{
    (void)L;
}

#endif
