#include "lua_lease.h"

#include "lua_error.h"
#include "lua_options.h"
#include "lua_task.h"
#include "lua_trace.h"
#include "lua_upstream.h"

#include <stdio.h>
#include <string.h>

/* ---- life ---- */

static bool is_forked(const hwl_conn_t *conn)
{
    return hws_loop_is_forked(hws_manager_loop(conn->manager->core));
}

bool hwl_conn_is_usable(const hwl_conn_t *conn, hws_error_t *why)
{
    int code = conn == NULL ? HWS_ERR_CLOSED : is_forked(conn) ? HWS_ERR_FORKED : HWS_OK;

    if (code != HWS_OK)
        *why = hwl_error_make(code, HWS_PHASE_BODY,
                              code == HWS_ERR_CLOSED ? "the lease has ended" : NULL);
    return code == HWS_OK;
}

bool hwl_conn_is_open(lua_State *L, const hwl_conn_t *conn)
{
    hws_error_t why;

    if (hwl_conn_is_usable(conn, &why))
        return true;
    hwl_error_fail(L, hwl_of(L), &why);
    return false;
}

hwl_conn_t *hwl_conn_self(lua_State *L)
{
    hwl_conn_t **handle = hwl_self(L, HWL_CONN);

    return *handle;
}

static void forget(hwl_conn_t *conn)
{
    if (conn->lease == NULL && conn->reader == NULL && conn->writer == NULL)
        hws_slab_give(&conn->lua->conn_slab, conn);
}

hwl_conn_t *hwl_conn_push(lua_State *L, hwl_manager_t *manager, hws_lease_t *lease)
{
    hwl_conn_t **handle = hwl_new(L, manager->lua, HWL_CONN, sizeof(*handle), 0);
    hws_lease_options_t callbacks = {
        .on_readable = hwl_conn_on_readable,
        .on_writable = hwl_conn_on_writable,
    };
    hwl_conn_t *conn;

    *handle = NULL;
    if ((conn = hws_slab_take(&manager->lua->conn_slab)) == NULL) {
        hwl_out_of_memory(L);
        return NULL;
    }
    *handle = conn;
    conn->handle = handle;
    conn->lua = manager->lua;
    conn->manager = manager;
    conn->anchor = LUA_NOREF;
    hwl_manager_use(L, manager);
    conn->lease = lease;
    callbacks.user = conn;
    hws_list_push_back(&manager->lua->conns, &conn->link);
    hws_lease_set_callbacks(lease, &callbacks);
    return conn;
}

static bool is_waited_on(const hwl_conn_t *conn)
{
    return conn->reader != NULL || conn->writer != NULL;
}

/* The lease is about to end; who still waits on it hears that. */
static hws_lease_t *take_lease(hwl_conn_t *conn)
{
    hws_lease_t *lease = conn->lease;

    conn->lease = NULL;
    *conn->handle = NULL;
    hws_list_remove(&conn->link);
    if (conn->reader != NULL)
        hwl_wait_settle(conn->reader, HWS_ERR_CLOSED, HWS_PHASE_BODY, "the lease has ended");
    if (conn->writer != NULL)
        hwl_wait_settle(conn->writer, HWS_ERR_CLOSED, HWS_PHASE_SEND, "the lease has ended");
    hwl_manager_unuse(conn->manager);
    forget(conn);
    return lease;
}

/* Whether results are being made of its bytes. */
static bool is_in_use(const hwl_conn_t *conn)
{
    return (conn->reader != NULL && conn->reader->is_giving) ||
           (conn->writer != NULL && conn->writer->is_giving);
}

void hwl_conn_leave(hwl_conn_t *conn)
{
    void (*finish)(hws_lease_t *) = conn->finish;

    if (conn->lease == NULL || finish == NULL || is_in_use(conn))
        forget(conn);
    else
        finish(take_lease(conn));
}

void hwl_leases_close(hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->conns)) != NULL) {
        hwl_conn_t *conn = HWS_CONTAINER(link, hwl_conn_t, link);
        bool is_setup = conn->is_setup;
        hws_lease_t *lease = take_lease(conn);

        if (is_setup)
            hws_lease_setup_done(lease, false, NULL);
        else
            hws_lease_close(lease);
    }
}

/* ---- acquiring ---- */

static void on_done(hws_lease_t *lease, void *user)
{
    (void)lease;
    hwl_wait_end(user);
}

static int fail_acquire(lua_State *L, const hwl_wait_t *wait, const hws_error_t *error)
{
    hwl_error_fail(L, wait->lua, error);
    hwl_trace_set_of_lease(L, wait->subject);
    return 2;
}

static int push_acquired(lua_State *L, hwl_wait_t *wait)
{
    hws_lease_t *lease = wait->subject;
    const hws_error_t *error = hws_lease_error(lease);
    hwl_conn_t *conn;

    if (error != NULL)
        return fail_acquire(L, wait, error);
    conn = hwl_conn_push(L, wait->extra, lease);
    conn->place = wait->place;
    wait->subject = NULL;
    return 1;
}

static int push_connected(lua_State *L, hwl_wait_t *wait)
{
    const hws_error_t *error = hws_lease_error(wait->subject);

    if (error != NULL)
        return fail_acquire(L, wait, error);
    lua_pushboolean(L, 1);
    return 1;
}

static void cancel_acquisition(hwl_wait_t *wait)
{
    hws_lease_cancel(wait->subject);
}

static void leave_acquisition(hwl_wait_t *wait)
{
    hws_lease_release(wait->subject);
}

/* Connects to whom `peer` names, or acquires of `core`. The peer is found when nothing of Lua's can
 * come between that and its use. */
static int start(lua_State *L, hwl_manager_t *manager, hws_upstream_t *core,
                 const hws_slice_t *peer, hws_lease_options_t *options, int callback)
{
    static const hwl_operation_t acquire = {
        .push = push_acquired,
        .cancel = cancel_acquisition,
        .leave = leave_acquisition,
    };
    static const hwl_operation_t connect = {
        .push = push_connected,
        .cancel = cancel_acquisition,
        .leave = leave_acquisition,
    };
    hwl_t *lua = manager->lua;
    hws_lease_t *lease;
    hws_error_t why; /* large: filled in by whoever finds a fault */
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, callback, &local);
    int rc = HWS_OK;

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, 1);
    options->on_done = on_done;
    options->user = wait;
    why.code = HWS_OK;
    if (peer != NULL &&
        (rc = hws_manager_find_peer(manager->core, *peer, &options->peer, &why)) == HWS_OK)
        core = hws_peer_upstream(options->peer);
    if (rc == HWS_OK)
        rc = hws_lease_acquire(core, options, &lease, &why);
    if (rc != HWS_OK) {
        if (why.code != rc)
            why = hwl_error_make(rc, HWS_PHASE_QUEUE, NULL);
        return hwl_wait_fail(L, wait, &why);
    }
    wait->extra = manager;
    if (!options->connect_only)
        wait->place = hwl_place_take(L, &manager->lua->places, manager->core);
    if (wait->form == HWL_FORM_TASK && hws_lease_claim(lease))
        return hwl_wait_try(L, wait, &acquire, lease);
    return hwl_wait_for(L, wait, options->connect_only ? &connect : &acquire, lease);
}

static void refuse_option(lua_State *L, const hwl_t *lua)
{
    hwl_push_helper(L, lua, HWL_HELPER_UNKNOWN);
    lua_pushliteral(L, "option");
    lua_pushvalue(L, -4);
    lua_newtable(L);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "timeout");
    lua_call(L, 3, 1);
    luaL_error(L, "%s", lua_tostring(L, -1));
}

/* Those at index 2, where nil may be. */
static void read_options(lua_State *L, hws_lease_options_t *options)
{
    if (lua_isnil(L, 2))
        return;
    if (!lua_istable(L, 2))
        hwl_refuse(L, "the options of acquire", 2, "a table, or nothing");
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "timeout") != 0)
            refuse_option(L, hwl_of(L));
        options->timeout = hwl_check_span(L, "timeout", -1, 1, true);
    }
}

int hwl_lease_acquire(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    hws_lease_options_t options = {.timeout = 0};
    int callback = hwl_check_callback_after(L, 2);

    if (!hwl_is_alive(L, upstream))
        return 2;
    if (lua_gettop(L) > 1 && callback != 2)
        read_options(L, &options);
    return start(L, upstream->manager, upstream->core, NULL, &options, callback);
}

int hwl_lease_connect(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_test(L, 1, HWL_UPSTREAM);
    hws_lease_options_t options = {.connect_only = true};

    if (upstream == NULL)
        return hwl_refuse(L, "the upstream", 1, "one");
    if (!hwl_is_alive(L, upstream))
        return 2;
    options.timeout = hwl_check_span(L, "the timeout", 2, 1, true);
    return start(L, upstream->manager, upstream->core, NULL, &options, 0);
}

int hwl_lease_connect_peer(lua_State *L, hwl_manager_t *manager, hws_slice_t name, bool may_retry,
                           int callback)
{
    hws_lease_options_t options = {.connect_only = true};
    hws_retry_options_t once;

    hws_retry_options_init(&once);
    once.is_disabled = true;
    if (!may_retry)
        options.retry = &once;
    return start(L, manager, NULL, &name, &options, callback);
}

/* ---- setup ---- */

/* The setup function has returned `true`, or nil and a reason, or raised one. */
static void end_setup(hwl_task_t *task, void *user)
{
    hwl_conn_t *conn = user;
    lua_State *L = task->thread.L;
    bool is_ready = !task->has_raised && !task->is_canceled && task->count > 0 &&
                    lua_toboolean(L, -task->count) && !is_waited_on(conn);
    const char *reason = NULL;

    if (!is_ready && task->count > 0) {
        if (lua_istable(L, -1)) {
            lua_pushliteral(L, "message");
            lua_rawget(L, -2);
            lua_replace(L, -2);
        }
        if (lua_type(L, -1) == LUA_TSTRING)
            reason = lua_tostring(L, -1);
    }
    luaL_unref(task->lua->turner, LUA_REGISTRYINDEX, conn->anchor);
    hws_lease_setup_done(take_lease(conn), is_ready, reason);
}

typedef struct {
    hwl_manager_t *manager;
    hws_lease_t *lease;
    hwl_conn_t *conn; /* which has taken the lease over, or NULL */
    bool has_begun;
} setup_t;

static int begin_setup(lua_State *L)
{
    setup_t *setup = lua_touserdata(L, 1);
    hwl_task_t *task;

    if (!hwl_manager_push(L, setup->manager))
        return 0;
    hwl_get_table(L, -1);
    lua_getfield(L, -1, "upstreams");
    lua_getfield(L, -1, hws_upstream_name(hws_lease_upstream(setup->lease)));
    if (lua_isnil(L, -1))
        return 0;
    hwl_get_table(L, -1);
    lua_getfield(L, -1, "setup");
    setup->conn = hwl_conn_push(L, setup->manager, setup->lease);
    setup->conn->is_setup = true;
    lua_pushvalue(L, -1);
    setup->conn->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    task = hwl_task_create(L, setup->manager->lua, 1);
    task->is_awaited = true;
    task->on_end = end_setup;
    task->user = setup->conn;
    hwl_task_unhold(task);
    setup->has_begun = true;
    return 0;
}

void hwl_lease_setup(hws_lease_t *lease, void *user)
{
    setup_t setup = {.manager = user, .lease = lease};
    lua_State *L = setup.manager->lua->turner;

    if (hwl_protect(L, begin_setup, &setup) && setup.has_begun)
        return;
    if (setup.conn != NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, setup.conn->anchor);
        take_lease(setup.conn);
    }
    hws_lease_setup_done(lease, false, "the setup function could not be started");
}

/* ---- data ---- */

typedef struct {
    hwl_t *lua;
    int reference;
} data_t;

/* Called from within the core, too; hence the thread of its own. */
void hwl_lease_free_data(void *data)
{
    data_t *kept = data;

    luaL_unref(kept->lua->spare, LUA_REGISTRYINDEX, kept->reference);
    hws_free(kept);
}

/* Keeps the table on top of the stack with the connection, and pops it. */
static void set_data(lua_State *L, const hwl_conn_t *conn)
{
    data_t *data = hws_alloc(sizeof(*data));

    if (data == NULL) {
        hwl_out_of_memory(L);
        return;
    }
    data->lua = conn->lua;
    data->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    hws_lease_set_data(conn->lease, data);
}

static void push_data(lua_State *L, const hwl_conn_t *conn)
{
    const data_t *data;

    if (hws_lease_data(conn->lease) == NULL) {
        lua_newtable(L);
        /* Which may have run a finalizer. */
        if ((conn = hwl_conn_self(L)) == NULL) {
            lua_pushnil(L);
            return;
        }
        if (hws_lease_data(conn->lease) == NULL)
            set_data(L, conn);
    }
    if ((data = hws_lease_data(conn->lease)) != NULL)
        lua_rawgeti(L, LUA_REGISTRYINDEX, data->reference);
    else
        lua_pushnil(L); /* its connection is gone */
}

/* From a copy: a finalizer that runs meanwhile may end the lease. */
static void push_peer(lua_State *L, const hwl_conn_t *conn)
{
    char peer[HWS_PEER_ID_MAX + 1];

    snprintf(peer, sizeof(peer), "%s", hws_lease_peer(conn->lease));
    lua_pushstring(L, peer);
}

/* (conn, name): methods first, then what belongs to this one. */
static int get(lua_State *L)
{
    hwl_conn_t *conn;
    const char *name;

    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    if (!lua_isnil(L, -1))
        return 1;
    conn = hwl_conn_self(L);
    if (lua_type(L, 2) != LUA_TSTRING || conn == NULL || is_forked(conn))
        return 0;
    name = lua_tostring(L, 2);
    if (strcmp(name, "data") == 0)
        push_data(L, conn);
    else if (strcmp(name, "peer") == 0)
        push_peer(L, conn);
    else if (strcmp(name, "tls") == 0)
        lua_pushstring(L, hws_lease_tls(conn->lease)); /* NULL: nil */
    else if (strcmp(name, "reused") == 0)
        lua_pushboolean(L, hws_lease_is_reused(conn->lease));
    else
        lua_pushnil(L);
    return 1;
}

static int set(lua_State *L)
{
    hwl_conn_t *conn = hwl_conn_self(L);

    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "data") != 0)
        return luaL_error(L, "a lease has one field that can be set: data");
    if (!lua_istable(L, 3) && !lua_isnil(L, 3))
        return hwl_refuse(L, "data", 3, "a table, or nil");
    if (conn == NULL || is_forked(conn))
        return luaL_error(L, "data is kept with the connection, and the lease has ended");
    lua_settop(L, 3);
    if (lua_isnil(L, 3))
        hws_lease_set_data(conn->lease, NULL);
    else
        set_data(L, conn);
    return 0;
}

/* ---- ending ---- */

/* Nothing is left to finalize: that spares the collector a call. */
static void mark_ended(lua_State *L, int index, const hwl_t *lua)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua->ended_conns);
    lua_setmetatable(L, index);
}

void hwl_conn_lose(lua_State *L, int index, hwl_conn_t *conn)
{
    const hwl_t *lua = conn->lua;

    (void)take_lease(conn);
    mark_ended(L, index, lua);
}

static int end(lua_State *L, void (*finish)(hws_lease_t *))
{
    hwl_conn_t *conn = hwl_conn_self(L);

    if (conn != NULL) {
        hwl_t *lua = conn->lua;

        if (!hwl_conn_is_open(L, conn))
            return 2;
        if (conn->is_setup)
            return luaL_error(L,
                              "a setup function returns true or false; it does not end the lease");
        /* An answer that somebody still waits for must not be the next user's. */
        if (is_waited_on(conn))
            finish = hws_lease_close;
        if (is_in_use(conn)) { /* a finalizer's doing */
            *conn->handle = NULL;
            conn->finish = finish;
        } else {
            finish(take_lease(conn));
        }
        mark_ended(L, 1, lua);
        hwl_wait_wake_host(L, lua);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int release(lua_State *L)
{
    return end(L, hws_lease_release);
}

static int close(lua_State *L)
{
    return end(L, hws_lease_close);
}

static void report_leak(const hwl_conn_t *conn)
{
    char place[HWL_PLACE_TEXT];
    hws_event_t event = {.type = HWS_EVENT_LEAK, .reason = "lease", .text = place};

    hwl_place_text(&conn->lua->places, conn->place, place);
    event.at = hws_loop_now(conn->lua->loop);
    event.upstream = hws_upstream_name(hws_lease_upstream(conn->lease));
    event.peer = hws_lease_peer(conn->lease);
    hws_manager_report(conn->manager->core, &event);
}

/* Nobody can give it back any more: that is worth a report. One that a setup function has ends with
 * that, or by hwl_leases_close(). */
static int collect(lua_State *L)
{
    hwl_conn_t **handle = hwl_test(L, 1, HWL_CONN);
    hwl_conn_t *conn = handle != NULL ? *handle : NULL;

    if (conn == NULL)
        return 0;
    if (conn->lease == NULL || is_forked(conn)) {
        *handle = NULL;
        hws_slab_give(&conn->lua->conn_slab, conn);
    } else if (!conn->is_setup) {
        report_leak(conn);
        hws_lease_close(take_lease(conn));
    }
    return 0;
}

/* The type of those whose lease has ended: the same without a finalizer. */
static void define_ended(lua_State *L, hwl_t *lua)
{
    lua_newtable(L);
    hwl_push_type(L, lua, HWL_CONN);
    for (lua_pushnil(L); lua_next(L, -2) != 0;) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "__gc");
    lua->ended_conns = luaL_ref(L, LUA_REGISTRYINDEX);
}

void hwl_define_conns(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__index", get}, {"__newindex", set}, {"__gc", collect}, {"__close", close}, {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"read", hwl_conn_read},
        {"read_until", hwl_conn_read_until},
        {"write", hwl_conn_write},
        {"finish", hwl_conn_finish},
        {"timeout", hwl_conn_timeout},
        {"starttls", hwl_conn_starttls},
        {"release", release},
        {"close", close},
        {NULL, NULL},
    };

    hws_slab_init(&lua->conn_slab, sizeof(hwl_conn_t), offsetof(hwl_conn_t, place));
    hwl_define(L, lua, HWL_CONN, metamethods, methods);
    define_ended(L, lua);
}
