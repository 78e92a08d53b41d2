#include "lua_duplex.h"

#include "lua_error.h"
#include "lua_lease.h"
#include "lua_plan.h"
#include "lua_response.h"
#include "lua_trace.h"
#include "lua_upstream.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

#define CODE_CANCEL 8 /* RFC 9113, 7 */

/* ---- life ---- */

static bool is_forked(const hwl_duplex_t *duplex)
{
    return hws_loop_is_forked(hws_manager_loop(duplex->manager->core));
}

static void release(lua_State *L, int *reference)
{
    luaL_unref(L, LUA_REGISTRYINDEX, *reference);
    *reference = LUA_NOREF;
}

static hws_stream_state_t state_of(const hwl_duplex_t *duplex)
{
    return duplex->request != NULL ? hws_request_stream_state(duplex->request) : duplex->state;
}

static bool is_over(const hwl_duplex_t *duplex)
{
    hws_stream_state_t state = state_of(duplex);

    return state == HWS_STREAM_CLOSED || state == HWS_STREAM_ERROR;
}

static const char *peer_of(const hws_request_t *request)
{
    uint32_t attempts = hws_request_attempts(request);
    hws_trace_t trace = {.peer = ""};

    if (attempts > 0)
        hws_request_trace(request, attempts - 1, &trace);
    return trace.peer;
}

/* Its name outlives the request, unless there is no memory for that. */
static void keep_peer(hwl_duplex_t *duplex)
{
    const char *peer = peer_of(duplex->request);
    size_t size = strlen(peer) + 1;

    if (duplex->id != 0 && (duplex->peer = hws_alloc(size)) != NULL)
        memcpy(duplex->peer, peer, size);
}

static void settle(hwl_wait_t *wait, const char *detail)
{
    if (wait != NULL)
        hwl_wait_settle(wait, HWS_ERR_CLOSED, HWS_PHASE_BODY, detail);
}

/* Gives the request up, which tells the peer `code` if it is not over. */
static void drop(hwl_duplex_t *duplex, uint32_t code, const char *detail)
{
    hws_request_t *request = duplex->request;

    if (request == NULL)
        return;
    hws_request_reset(request, code);
    duplex->state = hws_request_stream_state(request);
    keep_peer(duplex);
    duplex->request = NULL;
    hws_request_destroy(request);
    hws_list_remove(&duplex->link);
    hwl_manager_unuse(duplex->manager);
    settle(duplex->asker, detail);
    settle(duplex->reader, detail);
    settle(duplex->sender, detail);
}

/* Whether results are being made of it. */
static bool is_in_use(const hwl_duplex_t *duplex)
{
    const hwl_wait_t *waits[] = {duplex->opener, duplex->asker, duplex->reader, duplex->sender};
    size_t i;

    for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
        if (waits[i] != NULL && waits[i]->is_giving)
            return true;
    return false;
}

static void close_with(hwl_duplex_t *duplex, uint32_t code, const char *detail)
{
    if (duplex->request == NULL)
        return;
    if (is_in_use(duplex)) { /* a finalizer's doing */
        duplex->is_closing = true;
        duplex->reset_code = code;
        return;
    }
    duplex->closed = detail;
    drop(duplex, code, detail);
}

/* A wait is over. */
static void leave(hwl_duplex_t *duplex)
{
    if (duplex->is_closing)
        close_with(duplex, duplex->reset_code, "the stream was closed");
    else if (duplex->is_at_end && is_over(duplex) && !is_in_use(duplex))
        drop(duplex, CODE_CANCEL, NULL);
}

void hwl_duplexes_close(lua_State *L, hwl_t *lua)
{
    hws_list_t *link;

    (void)L;
    while ((link = hws_list_first(&lua->duplexes)) != NULL)
        drop(HWS_CONTAINER(link, hwl_duplex_t, link), CODE_CANCEL, NULL);
}

/* ---- what the core tells ---- */

/* Who is told first may be the last to hold the stream: the others are told at the next rest. */
static void tell(hwl_wait_t *first, hwl_wait_t *second)
{
    if (second != NULL)
        hwl_wait_end_later(second);
    if (first != NULL)
        hwl_wait_end(first);
}

static void on_done(hws_request_t *request, void *user)
{
    hwl_duplex_t *duplex = user;

    (void)request;
    if (duplex->opener != NULL)
        hwl_wait_end(duplex->opener);
    else
        tell(duplex->asker, duplex->reader);
}

static void on_readable(hws_request_t *request, void *user)
{
    hwl_duplex_t *duplex = user;

    (void)request;
    tell(duplex->reader, duplex->asker);
}

static void on_writable(hws_request_t *request, void *user)
{
    hwl_duplex_t *duplex = user;

    (void)request;
    tell(duplex->opener != NULL ? duplex->opener : duplex->sender, NULL);
}

/* ---- opening ---- */

/* Pushes a table of the manager's, which its streams keep alive. */
static void push_table(lua_State *L, hwl_manager_t *manager, const char *name)
{
    if (!hwl_manager_push(L, manager)) {
        lua_newtable(L);
        return;
    }
    hwl_get_table(L, -1);
    lua_getfield(L, -1, name);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

static void push_id(lua_State *L, const hwl_duplex_t *duplex)
{
    lua_pushinteger(L, (lua_Integer)duplex->id);
}

/* Enters what is on top of the stack into that table. */
static void enter(lua_State *L, const hwl_duplex_t *duplex, const char *name)
{
    push_table(L, duplex->manager, name);
    push_id(L, duplex);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* What who opened it is given: the userdata on top of the stack, known by its id from now on, or that. */
static int give(lua_State *L, hwl_duplex_t *duplex)
{
    duplex->id = hws_request_stream_id(duplex->request);
    enter(L, duplex, "streams");
    if (duplex->is_held) {
        enter(L, duplex, "held");
        push_id(L, duplex);
    }
    duplex->is_opened = true;
    return 1;
}

static int push_opened(lua_State *L, hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;
    const hws_error_t *error = hws_request_error(duplex->request);

    if (error != NULL) {
        hwl_error_fail(L, wait->lua, error);
        hwl_trace_set(L, duplex->request);
        return 2;
    }
    if (hws_request_stream_id(duplex->request) == 0)
        return HWL_NOT_YET;
    lua_rawgeti(L, LUA_REGISTRYINDEX, duplex->anchor);
    return give(L, duplex);
}

static void cancel_opening(hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;

    hws_request_cancel(duplex->request);
}

static void leave_opening(hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;

    duplex->opener = NULL;
    release(duplex->lua->spare, &duplex->anchor);
    if (!duplex->is_opened)
        drop(duplex, CODE_CANCEL, NULL);
    else
        leave(duplex);
}

/* (duplex, userdata): what may raise for want of memory. */
static int anchor(lua_State *L)
{
    hwl_duplex_t *duplex = lua_touserdata(L, 1);

    duplex->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* Keeps the one at `index` alive, or gives it up and raises. */
static void hold(lua_State *L, hwl_duplex_t *duplex, int index)
{
    lua_pushcfunction(L, anchor);
    lua_pushlightuserdata(L, duplex);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        drop(duplex, CODE_CANCEL, NULL);
        hwl_out_of_memory(L);
    }
}

/* Pushes one without a request. */
static hwl_duplex_t *push_duplex(lua_State *L, hwl_manager_t *manager)
{
    hwl_duplex_t *duplex = hwl_new(L, manager->lua, HWL_DUPLEX, sizeof(*duplex), 0);

    memset(duplex, 0, sizeof(*duplex));
    hws_list_init(&duplex->link);
    duplex->lua = manager->lua;
    duplex->manager = manager;
    duplex->anchor = duplex->headers = duplex->trailers = LUA_NOREF;
    return duplex;
}

/* The request begins; nothing of Lua's can come between finding upstream and peer, and their use. */
static int begin(hwl_duplex_t *duplex, hws_upstream_t *upstream, const hws_slice_t *peer,
                 hws_request_options_t *options, hws_error_t *why)
{
    hwl_manager_t *manager = duplex->manager;
    int rc;

    why->code = HWS_OK;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return HWS_ERR_FORKED;
    if (peer != NULL) {
        rc = hws_manager_find_peer(manager->core, *peer, &options->peer, why);
        if (rc != HWS_OK)
            return rc;
        upstream = hws_peer_upstream(options->peer);
    }
    options->duplex = true;
    options->on_done = on_done;
    options->on_readable = on_readable;
    options->on_writable = on_writable;
    options->user = duplex;
    return hws_request_start(upstream, options, &duplex->request, why);
}

/* `plan` is checked; of `upstream`, or of the peer with that name. */
static int start(lua_State *L, hwl_plan_t *plan, hwl_manager_t *manager, hws_upstream_t *upstream,
                 const hws_slice_t *peer)
{
    static const hwl_operation_t operation = {
        .push = push_opened,
        .cancel = cancel_opening,
        .leave = leave_opening,
    };
    hwl_t *lua = manager->lua;
    hwl_duplex_t *duplex;
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, plan->callback, &local);
    int index;
    int rc;

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, plan->self);
    duplex = push_duplex(L, manager);
    duplex->is_held = peer != NULL;
    duplex->place = hwl_place_take(L, &manager->lua->places, manager->core);
    index = lua_gettop(L);
    hwl_plan_headers(L, lua, plan);
    plan->options.target.data = lua_tolstring(L, plan->target, &plan->options.target.size);
    hwl_manager_use(L, manager);
    if ((rc = begin(duplex, upstream, peer, &plan->options, &why)) != HWS_OK) {
        hwl_manager_unuse(manager);
        if (why.code != rc)
            why = hwl_error_make(rc, HWS_PHASE_QUEUE, NULL);
        return hwl_wait_fail(L, wait, &why);
    }
    hws_list_push_back(&lua->duplexes, &duplex->link);
    lua_settop(L, index);
    if (wait->form != HWL_FORM_CALL && hws_request_stream_id(duplex->request) != 0) {
        hwl_wait_wake_host(L, lua);
        return give(L, duplex);
    }
    hold(L, duplex, index);
    duplex->opener = wait;
    return hwl_wait_for(L, wait, &operation, duplex);
}

/* What the table of options says beside those that every request has. */
static void read_target(lua_State *L, hwl_plan_t *plan)
{
    plan->options.method = HWS_SLICE("POST");
    if (plan->table != 0) {
        lua_getfield(L, plan->table, "method");
        if (!lua_isnil(L, -1)) {
            if (lua_type(L, -1) != LUA_TSTRING)
                hwl_refuse(L, "method", -1, "a string");
            plan->options.method.data = lua_tolstring(L, -1, &plan->options.method.size);
        }
        lua_getfield(L, plan->table, "path");
    }
    if (plan->table == 0 || lua_isnil(L, -1))
        lua_pushliteral(L, "/");
    hwl_plan_target(L, plan, lua_gettop(L), "path");
}

/* The options at `index`, and the callback behind them or in their place. */
static void make_plan(lua_State *L, hwl_plan_t *plan, int index)
{
    hwl_plan_table(L, plan, index);
    if (lua_gettop(L) < index + 1)
        lua_settop(L, index + 1);
    hwl_plan_options(L, plan);
    read_target(L, plan);
    hwl_plan_message(L, hwl_of(L), plan);
}

/* api:open_stream{ method =, path =, ... }; where streams are yamux's, api:acquire. */
static int open_of_upstream(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    hwl_plan_t plan = {.self = 1, .options.priority = HWS_URGENCY_USUAL};
    hws_upstream_options_t settings;

    if (!hwl_is_alive(L, upstream))
        return 2;
    hws_upstream_settings(upstream->core, &settings);
    if (settings.protocol == HWS_PROTOCOL_YAMUX)
        return hwl_lease_acquire(L);
    make_plan(L, &plan, 2);
    return start(L, &plan, upstream->manager, upstream->core, NULL);
}

/* m:open_stream(peer, priority, options) -> id; each but the peer may be left out */
static int open_of_manager(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_plan_t plan = {.self = 1, .options.priority = HWS_URGENCY_USUAL};
    hws_slice_t peer;

    if (!hwl_is_alive(L, self))
        return 2;
    if (lua_type(L, 2) != LUA_TSTRING)
        return hwl_refuse(L, "the peer", 2, "a string, \"upstream/id\" or its address");
    peer.data = lua_tolstring(L, 2, &peer.size);
    if (lua_istable(L, 3) || lua_isfunction(L, 3)) {
        lua_pushnil(L);
        lua_insert(L, 3);
    }
    make_plan(L, &plan, 4);
    if (!lua_isnil(L, 3))
        plan.options.priority = (uint8_t)hwl_check_size(L, "the priority", 3, 0, HWS_URGENCY_LEAST);
    return start(L, &plan, *self, NULL, &peer);
}

/* ---- methods ---- */

/* Read to its end, which may be asked for again. */
static bool is_read(const hwl_duplex_t *duplex)
{
    return duplex->request == NULL && duplex->closed == NULL;
}

/* Whether the stream may be used; if not, fills `why`. */
static bool is_usable(const hwl_duplex_t *duplex, hws_error_t *why)
{
    if (duplex->request != NULL && !is_forked(duplex))
        return true;
    *why = hwl_error_make(duplex->request != NULL ? HWS_ERR_FORKED : HWS_ERR_CLOSED, HWS_PHASE_BODY,
                          duplex->request != NULL  ? NULL
                          : duplex->closed != NULL ? duplex->closed
                                                   : "the stream has ended");
    return false;
}

/* Nil and the error of a stream, whose last operation returned `code`. */
static int fail(lua_State *L, const hwl_duplex_t *duplex, int code, hws_phase_t phase)
{
    const hws_error_t *error = hws_request_error(duplex->request);
    hws_error_t other = hwl_error_make(code, phase, NULL);

    if (error != NULL && error->code == code)
        other = *error;
    return hwl_error_fail(L, duplex->lua, &other);
}

/* Waits on the stream at index 1, for `*waiter`, who is the only one of his kind. */
static int wait_on(lua_State *L, int callback, const hwl_operation_t *operation,
                   hwl_wait_t *(*take_place)(lua_State *, hwl_duplex_t *, hwl_wait_t *))
{
    hwl_duplex_t *duplex = hwl_self(L, HWL_DUPLEX);
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, duplex->lua, callback, &local);

    if (wait == NULL)
        return hwl_wait_refused(L, duplex->lua);
    hwl_wait_anchor(L, wait, 1);
    if (lua_isstring(L, 2))
        hwl_wait_anchor(L, wait, 2);
    /* Now only: a finalizer may have closed it until here. */
    if (!(operation->phase != HWS_PHASE_SEND && is_read(duplex)) && !is_usable(duplex, &why))
        return hwl_wait_fail(L, wait, &why);
    if (take_place(L, duplex, wait) != NULL)
        return luaL_error(L, "somebody else is waiting for this of this stream");
    return hwl_wait_try(L, wait, operation, duplex);
}

static void cancel_wait(hwl_wait_t *wait)
{
    hwl_wait_settle(wait, HWS_ERR_CANCELED, wait->operation->phase, NULL);
}

/* Nobody reads any more: the silence of the peer is nobody's. */
static void stop_reading(const hwl_duplex_t *duplex)
{
    if (duplex->request != NULL && duplex->reader == NULL && duplex->asker == NULL)
        hws_request_cancel_read(duplex->request);
}

/* ---- receiving ---- */

static void keep(lua_State *L, const hwl_duplex_t *duplex, const hws_head_t *head, int *reference)
{
    if (head == NULL || *reference != LUA_NOREF)
        return;
    hwl_headers_push(L, duplex->lua, head);
    *reference = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Of the response what outlives the request; whether there is one. */
static bool keep_head(lua_State *L, hwl_duplex_t *duplex)
{
    const hws_response_t *response = hws_request_response(duplex->request);

    if (response == NULL)
        return false;
    duplex->status = response->head->status;
    keep(L, duplex, response->head, &duplex->headers);
    return true;
}

static int push_received(lua_State *L, hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;
    hws_slice_t chunk;
    int rc = duplex->request != NULL ? hws_request_read(duplex->request, &chunk) : HWS_END;

    switch (rc) {
    case HWS_AGAIN:
        return HWL_NOT_YET;
    case HWS_OK:
        duplex->is_closing = true; /* a chunk is lost, should the next line raise */
        duplex->reset_code = CODE_CANCEL;
        lua_pushlstring(L, chunk.data, chunk.size);
        duplex->is_closing = false;
        return 1;
    case HWS_END:
        if (!duplex->is_at_end) {
            keep_head(L, duplex);
            keep(L, duplex, hws_request_response(duplex->request)->trailers, &duplex->trailers);
        }
        duplex->is_at_end = true;
        lua_pushnil(L);
        return 1;
    default:
        keep_head(L, duplex);
        return fail(L, duplex, rc, HWS_PHASE_BODY);
    }
}

static void leave_receive(hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;

    duplex->reader = NULL;
    stop_reading(duplex);
    leave(duplex);
}

static hwl_wait_t *become_reader(lua_State *L, hwl_duplex_t *duplex, hwl_wait_t *wait)
{
    (void)L;
    if (duplex->reader != NULL)
        return duplex->reader;
    duplex->reader = wait;
    return NULL;
}

static int receive(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_received,
        .cancel = cancel_wait,
        .leave = leave_receive,
        .phase = HWS_PHASE_BODY,
    };
    int callback;

    hwl_self(L, HWL_DUPLEX);
    callback = hwl_check_callback(L, 2);
    return wait_on(L, callback, &operation, become_reader);
}

static int push_headers(lua_State *L, hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;
    hws_slice_t none;
    int rc;

    if (duplex->headers != LUA_NOREF || keep_head(L, duplex)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, duplex->headers);
        return 1;
    }
    if ((rc = hws_request_read(duplex->request, &none)) == HWS_AGAIN)
        return HWL_NOT_YET;
    return fail(L, duplex, rc, HWS_PHASE_HEADERS);
}

static void leave_headers(hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;

    duplex->asker = NULL;
    stop_reading(duplex);
    leave(duplex);
}

static hwl_wait_t *become_asker(lua_State *L, hwl_duplex_t *duplex, hwl_wait_t *wait)
{
    (void)L;
    if (duplex->asker != NULL)
        return duplex->asker;
    duplex->asker = wait;
    return NULL;
}

static int headers(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_headers,
        .cancel = cancel_wait,
        .leave = leave_headers,
        .phase = HWS_PHASE_HEADERS,
    };
    int callback;

    hwl_self(L, HWL_DUPLEX);
    callback = hwl_check_callback(L, 2);
    return wait_on(L, callback, &operation, become_asker);
}

/* Known once receive() has come to the end. */
static int trailers(lua_State *L)
{
    const hwl_duplex_t *duplex = hwl_self(L, HWL_DUPLEX);

    if (duplex->trailers == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, duplex->trailers);
    return 1;
}

/* ---- sending ---- */

static int push_sent(lua_State *L, hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;
    hws_slice_t *rest = &duplex->rest;
    size_t taken;
    int rc = hws_request_send(duplex->request, rest->data, rest->size, &taken);

    if (rc == HWS_AGAIN) {
        rest->data += taken;
        rest->size -= taken;
        return HWL_NOT_YET;
    }
    if (rc != HWS_OK)
        return fail(L, duplex, rc, HWS_PHASE_SEND);
    lua_pushboolean(L, 1);
    return 1;
}

static void leave_send(hwl_wait_t *wait)
{
    hwl_duplex_t *duplex = wait->subject;

    duplex->sender = NULL;
    if (duplex->request != NULL)
        hws_request_cancel_send(duplex->request);
    leave(duplex);
}

static hwl_wait_t *become_sender(lua_State *L, hwl_duplex_t *duplex, hwl_wait_t *wait)
{
    if (duplex->sender != NULL)
        return duplex->sender;
    duplex->rest.data = lua_tolstring(L, 2, &duplex->rest.size);
    duplex->sender = wait;
    return NULL;
}

/* (s, data, callback) */
static int send_data(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_sent,
        .cancel = cancel_wait,
        .leave = leave_send,
        .phase = HWS_PHASE_SEND,
    };
    int callback;

    hwl_self(L, HWL_DUPLEX);
    callback = hwl_check_callback(L, 3);
    if (lua_type(L, 2) != LUA_TSTRING)
        return hwl_refuse(L, "what is to be sent", 2, "a string");
    return wait_on(L, callback, &operation, become_sender);
}

static int finish(lua_State *L)
{
    hwl_duplex_t *duplex = hwl_self(L, HWL_DUPLEX);
    hws_error_t why;
    int rc;

    if (is_read(duplex)) {
        lua_pushboolean(L, 1); /* it has ended well, read to its end */
        return 1;
    }
    if (!is_usable(duplex, &why))
        return hwl_error_fail(L, duplex->lua, &why);
    if (duplex->sender != NULL)
        return luaL_error(L, "a send of this stream is not over: finish after it");
    if ((rc = hws_request_finish(duplex->request)) != HWS_OK)
        return fail(L, duplex, rc, HWS_PHASE_SEND);
    hwl_wait_wake_host(L, duplex->lua);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- ending ---- */

static int close_stream(lua_State *L, hwl_duplex_t *duplex, uint32_t code, const char *detail)
{
    if (duplex->request != NULL && !is_forked(duplex)) {
        close_with(duplex, code, detail);
        hwl_wait_wake_host(L, duplex->lua);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int close(lua_State *L)
{
    return close_stream(L, hwl_self(L, HWL_DUPLEX), CODE_CANCEL, "the stream was closed");
}

/* RFC 9113, 7: in the order of their numbers. */
static const char *const code_names[] = {
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
};

static uint32_t check_code(lua_State *L, int index)
{
    uint32_t code;

    if (lua_isnoneornil(L, index))
        return CODE_CANCEL;
    if (lua_type(L, index) == LUA_TNUMBER)
        return (uint32_t)hwl_check_size(L, "the code", index, 0, UINT32_MAX);
    for (code = 0; code < sizeof(code_names) / sizeof(code_names[0]); code++)
        if (lua_type(L, index) == LUA_TSTRING &&
            strcmp(lua_tostring(L, index), code_names[code]) == 0)
            return code;
    hwl_refuse(L, "the code", index, "a number, or a name of RFC 9113 such as \"CANCEL\"");
    return CODE_CANCEL;
}

static int reset(lua_State *L)
{
    hwl_duplex_t *duplex = hwl_self(L, HWL_DUPLEX);

    return close_stream(L, duplex, check_code(L, 2), "the stream was reset");
}

static void report_leak(const hwl_duplex_t *duplex)
{
    char place[HWL_PLACE_TEXT];
    hws_event_t event = {.type = HWS_EVENT_LEAK, .reason = "stream", .text = place};

    hwl_place_text(&duplex->lua->places, duplex->place, place);
    event.at = hws_loop_now(duplex->lua->loop);
    event.upstream = hws_upstream_name(hws_request_upstream(duplex->request));
    event.peer = peer_of(duplex->request);
    hws_manager_report(duplex->manager->core, &event);
}

static int collect(lua_State *L)
{
    hwl_duplex_t *duplex = hwl_test(L, 1, HWL_DUPLEX);

    if (duplex == NULL)
        return 0;
    release(L, &duplex->headers);
    release(L, &duplex->trailers);
    if (duplex->request != NULL && !is_forked(duplex)) {
        if (duplex->is_opened && !is_over(duplex))
            report_leak(duplex);
        close_with(duplex, CODE_CANCEL, "the stream was closed");
    }
    if (duplex->request == NULL) {
        hws_free(duplex->peer);
        duplex->peer = NULL;
    }
    return 0;
}

/* ---- fields ---- */

/* (s, name): methods first, then what belongs to this one. */
static int get(lua_State *L)
{
    const hwl_duplex_t *duplex = hwl_self(L, HWL_DUPLEX);
    const char *name;

    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    if (!lua_isnil(L, -1) || lua_type(L, 2) != LUA_TSTRING)
        return 1;
    name = lua_tostring(L, 2);
    if (strcmp(name, "id") == 0)
        push_id(L, duplex);
    else if (strcmp(name, "state") == 0)
        lua_pushstring(L, hws_stream_state_name(state_of(duplex)));
    else if (strcmp(name, "peer") == 0)
        lua_pushstring(L, duplex->request != NULL ? peer_of(duplex->request) : duplex->peer);
    else if (strcmp(name, "status") == 0 && duplex->headers != LUA_NOREF)
        lua_pushinteger(L, duplex->status);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- the manager's, by id ---- */

static lua_Integer check_id(lua_State *L)
{
    return (lua_Integer)hwl_check_size(L, "the stream's id", 2, 1, (size_t)INT32_MAX << 21);
}

/* Replaces the manager and the id, at 1 and 2, by the stream; false: nil and why have been pushed. */
static bool find(lua_State *L)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    lua_Integer id = check_id(L);
    char text[64];
    hws_error_t why;
    hwl_duplex_t *duplex;

    if (!hwl_is_alive(L, self))
        return false;
    push_table(L, *self, "streams");
    lua_pushinteger(L, id);
    lua_rawget(L, -2);
    duplex = lua_isnil(L, -1) ? NULL : hwl_test(L, -1, HWL_DUPLEX);
    if (duplex != NULL) {
        lua_replace(L, 1);
        lua_pop(L, 1);
        lua_remove(L, 2);
        return true;
    }
    snprintf(text, sizeof(text), "no stream has the id %lld", (long long)id);
    why = hwl_error_make(HWS_ERR_CLOSED, HWL_NO_PHASE, text);
    hwl_error_fail(L, (*self)->lua, &why);
    return false;
}

/* m:stream(id) -> s */
static int stream_of_manager(lua_State *L)
{
    if (!find(L))
        return 2;
    lua_settop(L, 1);
    return 1;
}

/* m:send_stream_data(id, data, callback) */
static int send_of_manager(lua_State *L)
{
    return find(L) ? send_data(L) : 2;
}

/* Also where somebody still has the stream itself. */
static void forget(lua_State *L, hwl_manager_t *manager, const char *table, lua_Integer id)
{
    push_table(L, manager, table);
    lua_pushinteger(L, id);
    lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* m:close_stream(id) */
static int close_of_manager(lua_State *L)
{
    lua_Integer id = check_id(L);
    hwl_manager_t *manager;

    if (!find(L))
        return 2;
    manager = ((hwl_duplex_t *)hwl_test(L, 1, HWL_DUPLEX))->manager;
    forget(L, manager, "held", id);
    forget(L, manager, "streams", id);
    return close(L);
}

/* ---- definitions ---- */

void hwl_duplex_push_tables(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "streams");
    lua_newtable(L);
    lua_setfield(L, -2, "held");
}

static void define_opener(lua_State *L, hwl_t *lua, hwl_type_t type, lua_CFunction function)
{
    hwl_push_type(L, lua, type);
    lua_getfield(L, -1, "methods");
    lua_pushlightuserdata(L, lua);
    hwl_plan_push_known(L, HWL_PLAN_STREAM);
    lua_pushcclosure(L, function, 2);
    lua_setfield(L, -2, "open_stream");
    lua_pop(L, 2);
}

void hwl_define_duplexes(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__index", get}, {"__gc", collect}, {"__close", close}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"send", send_data},    {"finish", finish}, {"receive", receive}, {"headers", headers},
        {"trailers", trailers}, {"reset", reset},   {"close", close},     {NULL, NULL},
    };
    static const luaL_Reg of_manager[] = {
        {"stream", stream_of_manager},
        {"send_stream_data", send_of_manager},
        {"close_stream", close_of_manager},
        {NULL, NULL},
    };

    hwl_define(L, lua, HWL_DUPLEX, metamethods, methods);
    hwl_add_methods(L, lua, HWL_MANAGER, of_manager);
    define_opener(L, lua, HWL_MANAGER, open_of_manager);
    define_opener(L, lua, HWL_UPSTREAM, open_of_upstream);
}
