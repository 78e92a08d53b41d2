#include "lua_exchange.h"

#include "lua_error.h"
#include "lua_response.h"

#include <stdio.h>
#include <string.h>

/* ---- life ---- */

static bool is_forked(const hwl_exchange_t *exchange)
{
    return hws_loop_is_forked(hws_manager_loop(exchange->manager->core));
}

static void dismiss_producer(hwl_exchange_t *exchange)
{
    hwl_task_t *task = exchange->producer;

    if (exchange->sink != NULL)
        *exchange->sink = NULL;
    if (task == NULL)
        return;
    task->on_end = NULL;
    hwl_task_cancel(task);
    hwl_task_unhold(task);
}

void hwl_exchange_destroy(lua_State *L, hwl_exchange_t *exchange)
{
    if (exchange == NULL)
        return;
    if (exchange->stream != NULL)
        exchange->stream->exchange = NULL;
    if (exchange->feeder != NULL) {
        hwl_wait_settle(exchange->feeder, HWS_ERR_CLOSED, HWS_PHASE_SEND, NULL);
        exchange->feeder->subject = NULL;
    }
    dismiss_producer(exchange);
    luaL_unref(L, LUA_REGISTRYINDEX, exchange->function);
    hws_request_destroy(exchange->request);
    hws_list_remove(&exchange->link);
    hwl_manager_unuse(exchange->manager);
    hws_free(exchange);
}

void hwl_exchanges_destroy(lua_State *L, hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->exchanges)) != NULL)
        hwl_exchange_destroy(L, HWS_CONTAINER(link, hwl_exchange_t, link));
}

/* ---- the producer ---- */

static void end_producer(hwl_task_t *task, void *user)
{
    hwl_exchange_t *exchange = user;
    const char *text = NULL;

    if (!task->has_raised)
        return;
    if (lua_type(task->thread.L, -1) == LUA_TSTRING)
        text = lua_tostring(task->thread.L, -1);
    hws_request_abort(exchange->request, text != NULL ? text : "the body's producer raised");
}

static int start_producer(lua_State *L)
{
    hwl_exchange_t *exchange = lua_touserdata(L, 1);
    hwl_t *lua = exchange->lua;

    hwl_push_helper(L, lua, HWL_HELPER_PRODUCE);
    exchange->sink = hwl_new(L, lua, HWL_SINK, sizeof(*exchange->sink), 0);
    *exchange->sink = exchange;
    lua_rawgeti(L, LUA_REGISTRYINDEX, exchange->function);
    exchange->producer = hwl_task_create(L, lua, 2);
    exchange->producer->is_awaited = true;
    exchange->producer->on_end = end_producer;
    exchange->producer->user = exchange;
    return 0;
}

static void on_writable(hws_request_t *request, void *user)
{
    hwl_exchange_t *exchange = user;

    if (exchange->feeder != NULL)
        hwl_wait_end(exchange->feeder);
    else if (exchange->producer == NULL &&
             !hwl_protect(exchange->lua->turner, start_producer, exchange))
        hws_request_abort(request, "out of memory");
}

static int push_sent(lua_State *L, hwl_wait_t *wait)
{
    hwl_exchange_t *exchange = wait->subject;
    hws_slice_t *rest = &exchange->rest;
    size_t taken;
    int rc = hws_request_send(exchange->request, rest->data, rest->size, &taken);

    if (rc == HWS_AGAIN) {
        rest->data += taken;
        rest->size -= taken;
        return HWL_NOT_YET;
    }
    lua_pushboolean(L, rc == HWS_OK);
    return 1;
}

static void cancel_send(hwl_wait_t *wait)
{
    hwl_wait_settle(wait, HWS_ERR_CANCELED, HWS_PHASE_SEND, NULL);
}

static void leave_send(hwl_wait_t *wait)
{
    hwl_exchange_t *exchange = wait->subject;

    if (exchange != NULL)
        exchange->feeder = NULL;
}

/* sink:send(chunk) -> whether more is wanted. */
static int feed(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_sent,
        .cancel = cancel_send,
        .leave = leave_send,
        .phase = HWS_PHASE_SEND,
    };
    hwl_exchange_t *exchange = *(hwl_exchange_t **)hwl_self(L, HWL_SINK);
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, hwl_of(L), 0, &local);

    luaL_checktype(L, 2, LUA_TSTRING);
    if (wait == NULL)
        return hwl_wait_refused(L, hwl_of(L));
    if (exchange == NULL)
        return 0;
    exchange->rest.data = lua_tolstring(L, 2, &exchange->rest.size);
    exchange->feeder = wait;
    return hwl_wait_try(L, wait, &operation, exchange);
}

static int finish(lua_State *L)
{
    hwl_exchange_t *exchange = *(hwl_exchange_t **)hwl_self(L, HWL_SINK);

    if (exchange != NULL)
        hws_request_finish(exchange->request);
    return 0;
}

static int abort_body(lua_State *L)
{
    hwl_exchange_t *exchange = *(hwl_exchange_t **)hwl_self(L, HWL_SINK);

    if (exchange != NULL)
        hws_request_abort(exchange->request, luaL_checkstring(L, 2));
    return 0;
}

static int collect_sink(lua_State *L)
{
    hwl_exchange_t **sink = hwl_test(L, 1, HWL_SINK);

    if (sink != NULL && *sink != NULL) {
        (*sink)->sink = NULL;
        *sink = NULL;
    }
    return 0;
}

/* ---- the response ---- */

static void on_progress(hws_request_t *request, void *user)
{
    hwl_exchange_t *exchange = user;

    (void)request;
    if (exchange->waiter != NULL)
        hwl_wait_end(exchange->waiter);
}

static int push_response(lua_State *L, hwl_wait_t *wait)
{
    hwl_exchange_t *exchange = wait->subject;

    if (hws_request_response(exchange->request) == NULL) {
        hwl_error_fail(L, wait->lua, hws_request_error(exchange->request));
        hwl_trace_set(L, exchange->request);
        return 2;
    }
    hwl_response_push(L, wait->lua, exchange->request, exchange->is_streaming ? exchange : NULL);
    exchange->is_answered = true;
    return 1;
}

static void cancel_exchange(hwl_wait_t *wait)
{
    hwl_exchange_t *exchange = wait->subject;

    hws_request_cancel(exchange->request);
}

static void leave_exchange(hwl_wait_t *wait)
{
    hwl_exchange_t *exchange = wait->subject;

    exchange->waiter = NULL;
    if (exchange->stream == NULL || !exchange->is_answered)
        hwl_exchange_destroy(exchange->lua->spare, exchange);
}

/* (exchange, producer): what may raise for want of memory. */
static int anchor(lua_State *L)
{
    hwl_exchange_t *exchange = lua_touserdata(L, 1);

    if (!lua_isnil(L, 2))
        exchange->function = luaL_ref(L, LUA_REGISTRYINDEX);
    hwl_manager_use(L, exchange->manager);
    return 0;
}

hwl_exchange_t *hwl_exchange_create(lua_State *L, hwl_manager_t *manager,
                                    hws_request_options_t *options, int producer)
{
    hwl_exchange_t *exchange;

    lua_pushcfunction(L, anchor);
    if ((exchange = hws_zalloc(sizeof(*exchange))) == NULL)
        return NULL;
    exchange->lua = manager->lua;
    exchange->manager = manager;
    exchange->function = LUA_NOREF;
    exchange->is_streaming = options->stream;
    lua_pushlightuserdata(L, exchange);
    if (producer != 0)
        lua_pushvalue(L, producer);
    else
        lua_pushnil(L);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        luaL_unref(L, LUA_REGISTRYINDEX, exchange->function);
        hws_free(exchange);
        return NULL;
    }
    hws_list_push_back(&manager->lua->exchanges, &exchange->link);
    if (producer != 0) {
        options->has_producer = true;
        options->on_writable = on_writable;
    }
    if (options->stream)
        exchange->place = hwl_place_take(L, &manager->lua->places, manager->core);
    options->on_done = on_progress;
    options->on_readable = on_progress;
    options->user = exchange;
    return exchange;
}

int hwl_exchange_wait(lua_State *L, hwl_wait_t *wait, hwl_exchange_t *exchange,
                      hws_request_t *request)
{
    static const hwl_operation_t operation = {
        .push = push_response,
        .cancel = cancel_exchange,
        .leave = leave_exchange,
    };

    exchange->request = request;
    exchange->waiter = wait;
    return hwl_wait_for(L, wait, &operation, exchange);
}

/* ---- the response's body ---- */

void hwl_stream_push(lua_State *L, hwl_exchange_t *exchange)
{
    hwl_stream_t *stream = hwl_new(L, exchange->lua, HWL_STREAM, sizeof(*stream), 0);

    stream->exchange = exchange;
    stream->lua = exchange->lua;
    stream->error.code = HWS_OK;
    stream->trailers = LUA_NOREF;
    stream->is_closing = false;
    exchange->stream = stream;
}

static void keep_trailers(lua_State *L, hwl_stream_t *stream, hws_request_t *request)
{
    const hws_response_t *response = hws_request_response(request);

    if (response->trailers == NULL)
        return;
    hwl_headers_push(L, stream->lua, response->trailers);
    stream->trailers = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* How the stream ended, as often as somebody asks. */
static int push_end(lua_State *L, const hwl_stream_t *stream)
{
    if (stream->error.code != HWS_OK)
        return hwl_error_fail(L, stream->lua, &stream->error);
    lua_pushnil(L);
    return 1;
}

/* The exchange is in use until the wait is left: nobody but this destroys it meanwhile. */
static int push_chunk(lua_State *L, hwl_wait_t *wait)
{
    hwl_stream_t *stream = wait->subject;
    hws_request_t *request;
    hws_slice_t chunk;
    int rc;

    if (stream->exchange == NULL)
        return push_end(L, stream);
    request = stream->exchange->request;
    rc = hws_request_read(request, &chunk);
    if (rc == HWS_AGAIN)
        return HWL_NOT_YET;
    if (rc >= 0) { /* if what follows raises, that ends the body: a chunk is lost */
        stream->error = hwl_error_make(HWS_ERR_NOMEM, HWS_PHASE_BODY, NULL);
        if (rc == HWS_END)
            keep_trailers(L, stream, request);
        else
            lua_pushlstring(L, chunk.data, chunk.size);
        stream->error.code = HWS_OK;
        if (rc == HWS_OK)
            return 1;
    } else {
        stream->error = *hws_request_error(request);
    }
    hwl_exchange_destroy(L, stream->exchange);
    return push_end(L, stream);
}

static void cancel_chunk(hwl_wait_t *wait)
{
    hwl_stream_t *stream = wait->subject;

    if (stream->exchange != NULL)
        hws_request_cancel(stream->exchange->request);
}

static void leave_chunk(hwl_wait_t *wait)
{
    hwl_stream_t *stream = wait->subject;

    if (stream->exchange == NULL)
        return;
    stream->exchange->waiter = NULL;
    if (stream->is_closing)
        hwl_stream_close(stream->lua->spare, stream);
    else if (stream->error.code != HWS_OK)
        hwl_exchange_destroy(stream->lua->spare, stream->exchange);
}

int hwl_stream_read(lua_State *L, hwl_stream_t *stream, int response, int callback)
{
    static const hwl_operation_t operation = {
        .push = push_chunk,
        .cancel = cancel_chunk,
        .leave = leave_chunk,
        .phase = HWS_PHASE_BODY,
    };
    hws_error_t forked = hwl_error_make(HWS_ERR_FORKED, HWS_PHASE_BODY, NULL);
    hwl_wait_t local;
    hwl_wait_t *wait;

    if ((wait = hwl_wait_begin(L, stream->lua, callback, &local)) == NULL)
        return hwl_wait_refused(L, stream->lua);
    hwl_wait_anchor(L, wait, response);
    /* Now only: a finalizer may have closed the response, or begun to read it, until here. */
    if (stream->exchange != NULL && stream->exchange->waiter != NULL)
        return luaL_error(L, "somebody else is waiting in a read of this response");
    if (stream->exchange != NULL && is_forked(stream->exchange))
        return hwl_wait_fail(L, wait, &forked);
    if (stream->exchange != NULL)
        stream->exchange->waiter = wait;
    return hwl_wait_try(L, wait, &operation, stream);
}

void hwl_stream_close(lua_State *L, hwl_stream_t *stream)
{
    hwl_wait_t *waiter;

    if (stream->exchange == NULL || is_forked(stream->exchange))
        return;
    waiter = stream->exchange->waiter;
    if (waiter != NULL && waiter->is_giving) {
        stream->is_closing = true;
        return;
    }
    stream->error = hwl_error_make(HWS_ERR_CLOSED, HWS_PHASE_BODY, "the response was closed");
    hwl_exchange_destroy(L, stream->exchange);
    if (waiter != NULL)
        hwl_wait_end_later(waiter);
}

static void report_leak(const hwl_exchange_t *exchange)
{
    char place[HWL_PLACE_TEXT];
    hws_event_t event = {.type = HWS_EVENT_LEAK, .reason = "response", .text = place};

    hwl_place_text(&exchange->lua->places, exchange->place, place);
    event.at = hws_loop_now(exchange->lua->loop);
    event.upstream = hws_upstream_name(hws_request_upstream(exchange->request));
    event.peer = hws_request_response(exchange->request)->peer;
    hws_manager_report(exchange->manager->core, &event);
}

static int collect_stream(lua_State *L)
{
    hwl_stream_t *stream = hwl_test(L, 1, HWL_STREAM);

    if (stream == NULL)
        return 0;
    luaL_unref(L, LUA_REGISTRYINDEX, stream->trailers);
    stream->trailers = LUA_NOREF;
    if (stream->exchange != NULL && !is_forked(stream->exchange)) {
        report_leak(stream->exchange);
        hwl_stream_close(L, stream);
    }
    return 0;
}

void hwl_define_exchanges(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg of_sink[] = {{"__gc", collect_sink}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"send", feed},
        {"finish", finish},
        {"abort", abort_body},
        {NULL, NULL},
    };
    static const luaL_Reg of_stream[] = {{"__gc", collect_stream}, {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};

    hwl_define(L, lua, HWL_SINK, of_sink, methods);
    hwl_define(L, lua, HWL_STREAM, of_stream, none);
}
