#include "lua_call.h"

#include "lua_error.h"
#include "lua_event.h"

#define MOST_ANCHORS 2

typedef struct hwl_call {
    hwl_wait_t wait;
    hws_list_t link;          /* in hwl_t.calls from its beginning to its end */
    struct hwl_call **handle; /* the userdata, which points back; NULL when it was collected */
    int handle_index;         /* on the stack of the function that made the call */
    int function;             /* registry references */
    int anchors[MOST_ANCHORS];
    hwl_group_t *group; /* or NULL */
} hwl_call_t;

static hwl_call_t *call_of(hwl_wait_t *wait)
{
    return HWS_CONTAINER(wait, hwl_call_t, wait);
}

hwl_wait_t *hwl_call_create(lua_State *L, hwl_t *lua, int callback)
{
    hwl_call_t **handle;
    hwl_call_t *call;
    size_t i;

    hwl_loop(L, lua);
    handle = hwl_new(L, lua, HWL_HANDLE, sizeof(*handle), 0);
    *handle = NULL;
    if ((call = hws_zalloc(sizeof(*call))) == NULL) {
        hwl_out_of_memory(L);
        return NULL;
    }
    *handle = call;
    call->handle = handle;
    call->handle_index = lua_gettop(L);
    call->function = LUA_NOREF;
    for (i = 0; i < MOST_ANCHORS; i++)
        call->anchors[i] = LUA_NOREF;
    hws_list_init(&call->link);
    hwl_wait_init(&call->wait, lua, HWL_FORM_CALL);
    lua_pushvalue(L, callback);
    call->function = luaL_ref(L, LUA_REGISTRYINDEX);
    return &call->wait;
}

void hwl_call_begin(hwl_wait_t *wait)
{
    hwl_call_t *call = call_of(wait);
    hwl_t *lua = wait->lua;

    hws_list_push_back(&lua->calls, &call->link);
    lua->pending++;
    if ((call->group = lua->group) != NULL)
        call->group->count++;
}

void hwl_call_push_handle(lua_State *L, hwl_wait_t *wait)
{
    lua_pushvalue(L, call_of(wait)->handle_index);
}

void hwl_call_anchor(lua_State *L, hwl_wait_t *wait, int index)
{
    hwl_call_t *call = call_of(wait);
    size_t i = 0;

    while (call->anchors[i] != LUA_NOREF)
        i++;
    lua_pushvalue(L, index);
    call->anchors[i] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void free_call(lua_State *L, hwl_call_t *call)
{
    size_t i;

    if (call->handle != NULL)
        *call->handle = NULL;
    luaL_unref(L, LUA_REGISTRYINDEX, call->function);
    for (i = 0; i < MOST_ANCHORS; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, call->anchors[i]);
    hws_free(call);
}

static void destroy(lua_State *L, hwl_call_t *call)
{
    hwl_t *lua = call->wait.lua;

    hwl_wait_abandon(&call->wait);
    hws_list_remove(&call->link);
    lua->pending--;
    if (call->group != NULL)
        call->group->count--;
    free_call(L, call);
}

/* The call is gone before its function runs: cancelling it from there does nothing. What the
 * function starts still belongs to the group, which therefore must not be empty until then. */
void hwl_call_go_on(hwl_wait_t *wait)
{
    hwl_call_t *call = call_of(wait);
    hwl_t *lua = wait->lua;
    hwl_group_t *group = call->group;
    lua_State *L = lua->turner;
    int top = lua_gettop(L);
    int count;

    hwl_push_helper(L, lua, HWL_HELPER_TRACEBACK);
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->function);
    if ((count = hwl_wait_take(L, wait)) == HWL_NOT_YET) {
        lua_settop(L, top);
        return;
    }
    if (group != NULL)
        group->count++;
    destroy(L, call);
    lua->group = group;
    if (lua_pcall(L, count, 0, top + 1) != LUA_OK)
        hwl_event_report(L, lua, "a callback raised: ");
    lua->group = NULL;
    if (group != NULL)
        group->count--;
    lua_settop(L, top);
}

void hwl_calls_cancel(hwl_t *lua, const hwl_group_t *group)
{
    HWS_LIST_EACH(link, &lua->calls) {
        hwl_call_t *call = HWS_CONTAINER(link, hwl_call_t, link);

        if (call->group == group)
            hwl_wait_cancel(&call->wait);
    }
}

void hwl_calls_forget(hwl_t *lua, const hwl_group_t *group)
{
    HWS_LIST_EACH(link, &lua->calls) {
        hwl_call_t *call = HWS_CONTAINER(link, hwl_call_t, link);

        if (call->group == group)
            call->group = NULL;
    }
}

/* Their memory stays: what the parent's objects hold still points to it. */
void hwl_calls_forget_all(hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->calls)) != NULL) {
        hwl_call_t *call = HWS_CONTAINER(link, hwl_call_t, link);

        if (call->handle != NULL)
            *call->handle = NULL;
        hws_list_remove(link);
        lua->pending--;
        if (call->group != NULL)
            call->group->count--;
    }
}

void hwl_calls_abandon(lua_State *L, hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->calls)) != NULL)
        destroy(L, HWS_CONTAINER(link, hwl_call_t, link));
}

/* ---- the handle ---- */

static int cancel(lua_State *L)
{
    hwl_call_t **handle = hwl_self(L, HWL_HANDLE);

    if (*handle != NULL) {
        hwl_wait_cancel(&(*handle)->wait);
        hwl_wait_wake_host(L, hwl_of(L));
    }
    return 0;
}

static int collect(lua_State *L)
{
    hwl_call_t **handle = hwl_test(L, 1, HWL_HANDLE);

    if (handle == NULL || *handle == NULL)
        return 0;
    if (!hws_list_is_linked(&(*handle)->link)) {
        free_call(L, *handle); /* it never began: what made it has raised */
        return 0;
    }
    (*handle)->handle = NULL;
    *handle = NULL;
    return 0;
}

void hwl_define_calls(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {{"__gc", collect}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"cancel", cancel}, {NULL, NULL}};

    hwl_define(L, lua, HWL_HANDLE, metamethods, methods);
}
