#include "lua_policy.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COMPLAINT_MAX 319

static const struct {
    const char *name;
    const char *method;
} kinds[] = {
#define KIND(symbol, name, method) {name, method},
    HWL_POLICY_KIND_LIST(KIND)
#undef KIND
};

const char *hwl_policy_kind_name(hwl_policy_kind_t kind)
{
    return kinds[kind].name;
}

static const char *method_name(const hwl_policy_t *policy, hwl_policy_method_t method)
{
    static const char *const names[] = {NULL, "update", "done", "migrate", "close"};

    return method == HWL_POLICY_DECIDE ? kinds[policy->kind].method : names[method];
}

/* ---- faults ---- */

static void complain(hwl_policy_t *policy, hwl_policy_method_t method, const char *text)
{
    char complaint[COMPLAINT_MAX + 1];

    if (++policy->faults[method] >= HWL_POLICY_MOST_FAULTS)
        policy->is_set_aside = true;
    if (policy->is_released || policy->on_fault == NULL)
        return;
    snprintf(complaint, sizeof(complaint), "%s: %s", method_name(policy, method), text);
    policy->on_fault(policy->user, policy, complaint);
}

/* ---- life ---- */

/* The policy with its references, or with as many of them as were made. */
static void destroy(hwl_policy_t *policy)
{
    lua_State *L = policy->lua->spare;
    int i;

    luaL_unref(L, LUA_REGISTRYINDEX, policy->instance);
    for (i = 0; i < HWL_POLICY_METHOD_COUNT; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, policy->methods[i]);
    hws_free(policy);
}

static void close(hwl_policy_t *policy)
{
    policy->is_closing = true;
    if (hwl_policy_begin(policy, HWL_POLICY_CLOSE) != NULL && hwl_policy_call(policy, 0, 0))
        hwl_policy_end(policy, NULL);
}

static void unhold(hwl_policy_t *policy)
{
    if (policy->holds == 1 && !policy->is_closing)
        close(policy);
    if (--policy->holds == 0)
        destroy(policy);
}

/* (policy, made) -> new, config: takes what there is to anchor. */
static int read_plugin(lua_State *L)
{
    hwl_policy_t *policy = lua_touserdata(L, 1);
    bool is_plain;
    int i;

    lua_getfield(L, 2, "is_plain");
    is_plain = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    lua_getfield(L, 2, "plugin");
    for (i = 0; i < HWL_POLICY_METHOD_COUNT; i++) {
        lua_getfield(L, 3, method_name(policy, (hwl_policy_method_t)i));
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        hwl_guard_prepare(L, policy->lua, -1, !is_plain);
        policy->methods[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_getfield(L, 3, "name");
    snprintf(policy->name, sizeof(policy->name), "%s",
             lua_isstring(L, -1) ? lua_tostring(L, -1) : "a function");
    if (!is_plain) {
        lua_newtable(L);
        policy->instance = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_getfield(L, 3, "new");
    if (lua_isfunction(L, -1))
        hwl_guard_prepare(L, policy->lua, -1, !is_plain);
    lua_getfield(L, 2, "config");
    return 2;
}

/* Calls the function below its argument on top of the stack for the instance; both are popped. NULL,
 * or what went wrong. */
static const char *make_instance(lua_State *L, hwl_policy_t *policy)
{
    lua_State *P = hwl_guard_enter(policy->lua);
    const char *wrong = NULL;

    if (P == NULL) {
        lua_pop(L, 2);
        return "policies lead to too many others";
    }
    lua_xmove(L, P, 2);
    if (hwl_guard_call(policy->lua, 1, 1) != HWL_GUARD_OK)
        wrong = hwl_guard_message(policy->lua);
    else if (!lua_istable(P, -1) && !lua_isuserdata(P, -1))
        wrong = "it returned neither a table nor a userdata";
    else
        lua_rawseti(P, LUA_REGISTRYINDEX, policy->instance);
    hwl_guard_leave(policy->lua);
    return wrong;
}

static hwl_policy_t *allocate(lua_State *L, hwl_t *lua, hwl_policy_kind_t kind)
{
    hwl_policy_t *policy = hws_zalloc(sizeof(*policy));
    int i;

    if (policy == NULL)
        hwl_out_of_memory(L);
    policy->lua = lua;
    policy->kind = kind;
    policy->holds = 1;
    policy->instance = LUA_NOREF;
    for (i = 0; i < HWL_POLICY_METHOD_COUNT; i++)
        policy->methods[i] = LUA_NOREF;
    return policy;
}

/* Destroys it before anything can raise; pushes why. */
static hwl_policy_t *refuse(lua_State *L, hwl_policy_t *policy, const char *wrong)
{
    const char *kind = kinds[policy->kind].name;
    char name[sizeof(policy->name)];

    memcpy(name, policy->name, sizeof(name));
    destroy(policy);
    lua_pushfstring(L, "%s %s: new: %s", kind, name, wrong);
    return NULL;
}

hwl_policy_t *hwl_policy_create(lua_State *L, hwl_t *lua, hwl_policy_kind_t kind, int index,
                                hwl_policy_on_fault_t on_fault, void *user)
{
    hwl_policy_t *policy;
    const char *wrong = NULL;

    index = lua_absindex(L, index);
    luaL_checkstack(L, LUA_MINSTACK, "a policy");
    lua_pushcfunction(L, read_plugin);
    policy = allocate(L, lua, kind);
    lua_pushlightuserdata(L, policy);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 2, 2, 0) != LUA_OK) {
        destroy(policy);
        lua_error(L);
    }
    if (lua_isnil(L, -2))
        lua_pop(L, 2);
    else
        wrong = make_instance(L, policy);
    if (wrong == NULL) {
        policy->on_fault = on_fault;
        policy->user = user;
        return policy;
    }
    return refuse(L, policy, wrong);
}

void hwl_policy_release(hwl_policy_t *policy)
{
    if (policy == NULL)
        return;
    assert(!policy->is_released);
    if (policy->holds == 1 && !policy->is_closing)
        close(policy);
    policy->is_released = true;
    unhold(policy);
}

void hwl_policy_abandon(hwl_policy_t *policy)
{
    if (policy == NULL)
        return;
    policy->is_closing = true;
    hwl_policy_release(policy);
}

void hwl_policy_swap(hwl_policy_t **place, hwl_policy_t *next)
{
    hwl_policy_t *old = *place;
    lua_State *P;

    if (next != NULL && old != NULL && old->instance != LUA_NOREF && next->instance != LUA_NOREF &&
        (P = hwl_policy_begin(next, HWL_POLICY_MIGRATE)) != NULL) {
        lua_rawgeti(P, LUA_REGISTRYINDEX, old->instance);
        if (hwl_policy_call(next, 1, 0))
            hwl_policy_end(next, NULL);
    }
    old = *place; /* `migrate` may have swapped, too */
    *place = next;
    hwl_policy_release(old);
}

/* ---- calls ---- */

lua_State *hwl_policy_begin(hwl_policy_t *policy, hwl_policy_method_t method)
{
    hwl_t *lua = policy->lua;
    lua_State *P;

    if (policy->methods[method] == LUA_NOREF ||
        (policy->is_set_aside && method != HWL_POLICY_CLOSE) || (P = hwl_guard_enter(lua)) == NULL)
        return NULL;
    policy->holds++;
    policy->calls[lua->guard.entered - 1] = method;
    lua_rawgeti(P, LUA_REGISTRYINDEX, policy->methods[method]);
    if (policy->instance != LUA_NOREF)
        lua_rawgeti(P, LUA_REGISTRYINDEX, policy->instance);
    return P;
}

static void leave(hwl_policy_t *policy, const char *complaint)
{
    hwl_t *lua = policy->lua;
    hwl_policy_method_t method = policy->calls[lua->guard.entered - 1];

    if (complaint == NULL)
        policy->faults[method] = 0;
    else
        complain(policy, method, complaint);
    hwl_guard_leave(lua);
    unhold(policy);
}

bool hwl_policy_call(hwl_policy_t *policy, int arguments, int results)
{
    arguments += policy->instance != LUA_NOREF;
    if (hwl_guard_call(policy->lua, arguments, results) == HWL_GUARD_OK)
        return true;
    leave(policy, hwl_guard_message(policy->lua));
    return false;
}

void hwl_policy_end(hwl_policy_t *policy, const char *complaint)
{
    leave(policy, complaint);
}
