#include "lua_script.h"

#include "lua_error.h"
#include "lua_options.h"
#include "lua_script_parts.h"
#include "lua_wait.h"
#include "upstream.h"

#include <string.h>

/* ---- faults ---- */

static void on_fault(void *user, const hwl_policy_t *policy, const char *message)
{
    const hwl_script_t *script = user;

    if (script->upstream == NULL || script->upstream->core == NULL)
        return;
    hws_upstream_policy_failed(script->upstream->core, hwl_policy_kind_name(policy->kind), message);
}

/* ---- putting policies in place ---- */

void hwl_script_set_first(lua_State *L, int *reference)
{
    int made = luaL_ref(L, LUA_REGISTRYINDEX);

    if (*reference == LUA_NOREF)
        *reference = made;
    else
        luaL_unref(L, LUA_REGISTRYINDEX, made);
}

static void bury(hws_deferred_t *deferred);

static hwl_script_t *script_of(lua_State *L, hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;

    if (script == NULL) {
        if ((script = hws_zalloc(sizeof(*script))) == NULL)
            hwl_out_of_memory(L);
        script->upstream = upstream;
        script->lua = upstream->manager->lua;
        hws_deferred_init(&script->burial, bury);
        script->views = script->list = script->context = script->ending = script->show = LUA_NOREF;
        upstream->script = script;
    }
    if (script->show != LUA_NOREF)
        return script;
    lua_newtable(L);
    lua_pushboolean(L, 1);
    luaL_unref(L, -2, luaL_ref(L, -2)); /* from now on that takes no memory */
    hwl_script_set_first(L, &script->views);
    hwl_script_make_arguments(L, script);
    lua_pushcfunction(L, hwl_script_show);
    hwl_script_set_first(L, &script->show);
    return script;
}

/* What was made for an attempt that was given up. */
static void drop_made(hwl_script_t *script)
{
    int kind;

    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_t *made = script->made[kind];

        script->made[kind] = NULL;
        script->is_dropped[kind] = false;
        hwl_policy_release(made);
    }
}

/* The policy described by the table on top of the stack. */
static void make(lua_State *L, hwl_upstream_t *upstream, hwl_policy_kind_t kind)
{
    hwl_script_t *script = script_of(L, upstream);
    hwl_policy_t *policy = hwl_policy_create(L, script->lua, kind, -1, on_fault, script);

    if (policy == NULL)
        luaL_error(L, "%s", lua_tostring(L, -1));
    if (script->made[kind] != NULL) /* by a finalizer */
        hwl_policy_release(policy);
    else
        script->made[kind] = policy;
}

static bool has_field(lua_State *L, const char *field)
{
    bool has_it;

    lua_getfield(L, -1, field);
    has_it = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return has_it;
}

void hwl_script_prepare(lua_State *L, hwl_upstream_t *upstream, int checked)
{
    int kind;

    if (upstream->script != NULL)
        drop_made(upstream->script);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        lua_getfield(L, checked, hwl_policy_kind_name((hwl_policy_kind_t)kind));
        if (lua_istable(L, -1) && has_field(L, "plugin"))
            make(L, upstream, (hwl_policy_kind_t)kind);
        else if (lua_istable(L, -1) && has_field(L, "builtin") && upstream->script != NULL)
            upstream->script->is_dropped[kind] = true;
        lua_pop(L, 1);
    }
    if (upstream->script == NULL)
        return;
    upstream->script->was_shown = upstream->script->is_shown;
    upstream->script->is_shown = false;
    upstream->script->is_changing = true;
}

void hwl_script_give_up(hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;

    if (script == NULL)
        return;
    drop_made(script);
    script->is_shown = script->was_shown;
    script->is_changing = false;
}

void hwl_script_install(lua_State *L, hwl_upstream_t *upstream, int index)
{
    hwl_script_t *script = upstream->script;
    int kind;

    if (script == NULL || script->is_closed)
        return;
    index = lua_absindex(L, index);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_t *next = script->made[kind];

        script->made[kind] = NULL;
        if (next != NULL || script->is_dropped[kind])
            hwl_policy_swap(&script->policies[kind], next);
        script->is_dropped[kind] = false;
    }
    hwl_script_connect(script);
    hwl_script_show_all(L, script, index);
    script->is_changing = false;
    hwl_script_tell_update(script);
}

/* ---- the end ---- */

void hwl_script_close(hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;
    int kind;

    if (script == NULL || script->is_closed)
        return;
    script->is_closed = true;
    drop_made(script);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++)
        hwl_policy_swap(&script->policies[kind], NULL);
    hwl_script_connect(script);
}

static void destroy(hwl_script_t *script)
{
    int references[] = {script->views, script->list, script->context, script->ending, script->show};
    size_t i;

    for (i = 0; i < sizeof(references) / sizeof(references[0]); i++)
        luaL_unref(script->lua->spare, LUA_REGISTRYINDEX, references[i]);
    hws_free(script);
}

/* At rest: in a finalizer nothing could interrupt a `close`. */
static void bury(hws_deferred_t *deferred)
{
    hwl_script_t *script = HWS_CONTAINER(deferred, hwl_script_t, burial);
    int kind;

    drop_made(script);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++)
        hwl_policy_release(script->policies[kind]);
    destroy(script);
}

static bool is_forked(const hwl_upstream_t *upstream)
{
    const hws_loop_t *loop = upstream->core != NULL ? hws_manager_loop(upstream->manager->core)
                                                    : upstream->script->lua->loop;

    return loop == NULL || hws_loop_is_forked(loop);
}

void hwl_script_collect(hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;
    bool is_of_parent;
    int kind;

    if (script == NULL)
        return;
    is_of_parent = is_forked(upstream);
    hwl_script_forget_all(script);
    upstream->script = NULL;
    script->upstream = NULL;
    if (upstream->core != NULL && !is_of_parent)
        hws_upstream_set_script(upstream->core, NULL);
    if (!is_of_parent) {
        hws_loop_defer(script->lua->loop, &script->burial);
        return;
    }
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_abandon(script->policies[kind]);
        hwl_policy_abandon(script->made[kind]);
    }
    destroy(script);
}

int hwl_script_set_policy(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    hwl_t *lua = upstream->manager->lua;
    hws_upstream_options_t options;
    hws_error_t why = {.code = HWS_OK};
    int kind = 0;
    int rc;

    if (!hwl_is_alive(L, upstream))
        return 2;
    lua_settop(L, 3);
    while (kind < HWL_POLICY_KIND_COUNT &&
           (lua_type(L, 2) != LUA_TSTRING ||
            strcmp(lua_tostring(L, 2), hwl_policy_kind_name((hwl_policy_kind_t)kind)) != 0))
        kind++;
    if (kind == HWL_POLICY_KIND_COUNT)
        return hwl_refuse(L, "the kind of policy", 2, "\"balancer\", \"breaker\", \"retry\"");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    lua_replace(L, 3);
    hwl_options_check(L, lua, HWL_HELPER_CHECK_UPSTREAM, 3, true);
    if (hws_loop_is_forked(hws_manager_loop(upstream->manager->core)))
        return hwl_error_fail_code(L, lua, HWS_ERR_FORKED, NULL);
    hws_upstream_settings(upstream->core, &options);
    hwl_upstream_read_policies(L, 4, &options);
    hwl_script_prepare(L, upstream, 4);
    if (upstream->script != NULL && upstream->script->made[kind] == NULL)
        upstream->script->is_dropped[kind] = true;
    if ((rc = hws_upstream_update(upstream->core, &options, &why)) != HWS_OK) {
        hwl_script_give_up(upstream);
        return hwl_options_fail(L, lua, rc, &why);
    }
    hwl_script_install(L, upstream, 1);
    hwl_wait_wake_host(L, lua);
    lua_pushboolean(L, 1);
    return 1;
}
