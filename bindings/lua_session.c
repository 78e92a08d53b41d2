#include "lua_session.h"

#include "lua_error.h"
#include "lua_lease.h"
#include "lua_options.h"

#include <string.h>

/* ---- life ---- */

static bool is_forked(const hwl_session_t *session)
{
    return hws_loop_is_forked(hws_manager_loop(session->manager->core));
}

/* Whether results are being made of it. */
static bool is_in_use(const hwl_session_t *session)
{
    HWS_LIST_EACH(link, &session->waits) {
        if (HWS_CONTAINER(link, hwl_wait_t, link)->is_giving)
            return true;
    }
    return false;
}

static void end(hwl_session_t *session)
{
    hws_session_t *core = session->session;

    if (core == NULL)
        return;
    if (is_in_use(session)) { /* a finalizer's doing */
        session->is_closing = true;
        return;
    }
    session->session = NULL;
    hws_list_remove(&session->link);
    HWS_LIST_EACH(link, &session->waits)
        hwl_wait_settle(HWS_CONTAINER(link, hwl_wait_t, link), HWS_ERR_CLOSED, HWS_PHASE_BODY,
                        "the session was closed");
    hws_session_close(core);
    hwl_manager_unuse(session->manager);
}

void hwl_sessions_close(hwl_t *lua)
{
    hws_list_t *link;

    while ((link = hws_list_first(&lua->sessions)) != NULL)
        end(HWS_CONTAINER(link, hwl_session_t, link));
}

/* Who is told first may be the last to hold the session: the others are told at the next rest. */
static void on_news(hws_session_t *core, void *user)
{
    hwl_session_t *session = user;
    hws_list_t *first = hws_list_first(&session->waits);

    (void)core;
    if (first == NULL)
        return;
    HWS_LIST_EACH(link, &session->waits) {
        if (link != first)
            hwl_wait_end_later(HWS_CONTAINER(link, hwl_wait_t, link));
    }
    hwl_wait_end(HWS_CONTAINER(first, hwl_wait_t, link));
}

/* ---- taking a lease over ---- */

static bool wants_server(lua_State *L, const hwl_t *lua)
{
    bool is_server;

    if (lua_isnoneornil(L, 2))
        return false;
    hwl_options_check(L, lua, HWL_HELPER_CHECK_SESSION, 2, -1);
    lua_getfield(L, -1, "server");
    is_server = lua_toboolean(L, -1) != 0;
    lua_pop(L, 2);
    return is_server;
}

static hwl_session_t *push_session(lua_State *L, hwl_manager_t *manager)
{
    hwl_session_t *session = hwl_new(L, manager->lua, HWL_SESSION, sizeof(*session), 0);

    memset(session, 0, sizeof(*session));
    hws_list_init(&session->link);
    hws_list_init(&session->waits);
    session->lua = manager->lua;
    session->manager = manager;
    session->place = hwl_place_take(L, &manager->lua->places, manager->core);
    hwl_manager_use(L, manager);
    return session;
}

/* Takes over the lease of `conn`, whose userdata is at index 1. */
static int take_over(lua_State *L, hwl_conn_t *conn, hwl_session_t *session, bool is_server)
{
    hws_session_options_t options = {.is_server = is_server, .on_news = on_news, .user = session};
    int rc = hws_session_create(conn->lease, &options, &session->session);

    if (rc != HWS_OK)
        return rc;
    hws_list_push_back(&session->lua->sessions, &session->link);
    hwl_conn_lose(L, 1, conn);
    return HWS_OK;
}

static const char *detail_of(int code)
{
    switch (code) {
    case HWS_ERR_UNSUPPORTED:
        return "yamux needs a connection of its own, and this is a stream of one";
    case HWS_ERR_CLOSED:
        return "the lease was half-closed";
    default:
        return NULL;
    }
}

int hwl_session_new(lua_State *L)
{
    hwl_t *lua = hwl_of(L);
    bool is_server = wants_server(L, lua);
    hwl_conn_t *conn;
    hwl_session_t *session;
    hws_error_t why;
    int rc;

    if (hwl_test(L, 1, HWL_CONN) == NULL)
        return hwl_refuse(L, "what yamux is to be spoken on", 1, "a lease");
    conn = hwl_conn_self(L);
    if (!hwl_conn_is_open(L, conn))
        return 2;
    if (conn->is_setup)
        return luaL_error(L, "a setup function has its lease lent: it cannot be taken over");
    session = push_session(L, conn->manager);
    conn = hwl_conn_self(L); /* a finalizer may have ended it */
    if (conn == NULL || !hwl_conn_is_usable(conn, &why)) {
        hwl_manager_unuse(session->manager);
        return hwl_error_fail_code(L, lua, HWS_ERR_CLOSED, "the lease has ended");
    }
    if (conn->reader != NULL || conn->writer != NULL) {
        hwl_manager_unuse(session->manager);
        return luaL_error(L, "somebody is waiting in a read or a write of this lease");
    }
    if ((rc = take_over(L, conn, session, is_server)) == HWS_OK)
        return 1;
    hwl_manager_unuse(session->manager);
    return hwl_error_fail_code(L, lua, rc, detail_of(rc));
}

/* ---- streams ---- */

typedef int get_t(hws_session_t *session, const hws_lease_options_t *callbacks, hws_lease_t **out);

static int fail(lua_State *L, const hwl_session_t *session, int code)
{
    const hws_error_t *error =
        session->session != NULL ? hws_session_error(session->session) : NULL;
    hws_error_t other = hwl_error_make(code, HWS_PHASE_BODY, NULL);

    return hwl_error_fail(L, session->lua, error != NULL && error->code == code ? error : &other);
}

static int push_stream(lua_State *L, hwl_wait_t *wait, get_t *get)
{
    static const hws_lease_options_t none = {.timeout = 0};
    hwl_session_t *session = wait->subject;
    hws_lease_t *lease;
    int rc = get(session->session, &none, &lease);

    switch (rc) {
    case HWS_OK:
        wait->extra = lease; /* still, when the next line raises */
        hwl_conn_push(L, session->manager, lease)->place = wait->place;
        wait->extra = NULL;
        return 1;
    case HWS_AGAIN:
        return HWL_NOT_YET;
    case HWS_END:
        lua_pushnil(L);
        return 1;
    default:
        return fail(L, session, rc);
    }
}

static int push_accepted(lua_State *L, hwl_wait_t *wait)
{
    return push_stream(L, wait, hws_session_accept);
}

static int push_opened(lua_State *L, hwl_wait_t *wait)
{
    return push_stream(L, wait, hws_session_open);
}

static void cancel(hwl_wait_t *wait)
{
    hwl_wait_settle(wait, HWS_ERR_CANCELED, HWS_PHASE_QUEUE, NULL);
}

static void on_late(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    hwl_wait_settle(HWS_CONTAINER(timer, hwl_wait_t, timer), HWS_ERR_TIMEOUT, HWS_PHASE_QUEUE,
                    NULL);
}

static void leave(hwl_wait_t *wait)
{
    hwl_session_t *session = wait->subject;

    hws_list_remove(&wait->link);
    hws_loop_cancel_timer(wait->lua->loop, &wait->timer);
    hws_lease_close(wait->extra);
    if (session->is_closing)
        end(session);
}

static bool is_usable(const hwl_session_t *session, hws_error_t *why)
{
    int code = session->session == NULL ? HWS_ERR_CLOSED
               : is_forked(session)     ? HWS_ERR_FORKED
                                        : HWS_OK;

    if (code != HWS_OK)
        *why = hwl_error_make(code, HWS_PHASE_QUEUE,
                              code == HWS_ERR_CLOSED ? "the session was closed" : NULL);
    return code == HWS_OK;
}

/* (session, seconds, callback), of which both may be missing. */
static int wait_for_stream(lua_State *L, const hwl_operation_t *operation)
{
    hwl_session_t *session = hwl_self(L, HWL_SESSION);
    hwl_t *lua = session->lua;
    hws_time_t span = HWS_NEVER;
    int callback = hwl_check_callback_after(L, 2);
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait;

    if (!lua_isnoneornil(L, 2) && callback != 2)
        span = hwl_check_span(L, "the timeout", 2, 1, true);
    if ((wait = hwl_wait_begin(L, lua, callback, &local)) == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, 1);
    wait->place = hwl_place_take(L, &session->manager->lua->places, session->manager->core);
    /* Now only: a finalizer may have closed it until here. */
    if (!is_usable(session, &why))
        return hwl_wait_fail(L, wait, &why);
    wait->extra = NULL;
    hws_timer_init(&wait->timer, on_late);
    if (span != HWS_NEVER)
        hws_loop_set_timer(lua->loop, &wait->timer, hws_loop_now(lua->loop) + span);
    hws_list_push_back(&session->waits, &wait->link);
    return hwl_wait_try(L, wait, operation, session);
}

static int accept_stream(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_accepted,
        .cancel = cancel,
        .leave = leave,
        .phase = HWS_PHASE_QUEUE,
    };

    return wait_for_stream(L, &operation);
}

static int open_stream(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_opened,
        .cancel = cancel,
        .leave = leave,
        .phase = HWS_PHASE_QUEUE,
    };

    return wait_for_stream(L, &operation);
}

/* ---- ending ---- */

static int close(lua_State *L)
{
    hwl_session_t *session = hwl_self(L, HWL_SESSION);

    if (session->session != NULL && !is_forked(session)) {
        end(session);
        hwl_wait_wake_host(L, session->lua);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static void report_leak(const hwl_session_t *session)
{
    char place[HWL_PLACE_TEXT];
    hws_event_t event = {.type = HWS_EVENT_LEAK, .reason = "session", .text = place};

    hwl_place_text(&session->lua->places, session->place, place);
    event.at = hws_loop_now(session->lua->loop);
    event.upstream = hws_upstream_name(hws_session_upstream(session->session));
    event.peer = hws_session_peer(session->session);
    hws_manager_report(session->manager->core, &event);
}

static int collect(lua_State *L)
{
    hwl_session_t *session = hwl_test(L, 1, HWL_SESSION);

    if (session == NULL || session->session == NULL || is_forked(session))
        return 0;
    if (!hws_session_is_over(session->session))
        report_leak(session);
    end(session);
    return 0;
}

/* ---- fields ---- */

/* (session, name): methods first, then what belongs to this one. */
static int get(lua_State *L)
{
    const hwl_session_t *session = hwl_self(L, HWL_SESSION);
    const char *name;

    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(2));
    if (!lua_isnil(L, -1) || lua_type(L, 2) != LUA_TSTRING || session->session == NULL ||
        is_forked(session))
        return 1;
    name = lua_tostring(L, 2);
    if (strcmp(name, "streams") == 0)
        lua_pushinteger(L, (lua_Integer)hws_session_streams(session->session));
    else if (strcmp(name, "peer") == 0)
        lua_pushstring(L, hws_session_peer(session->session));
    else
        lua_pushnil(L);
    return 1;
}

void hwl_define_sessions(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg metamethods[] = {
        {"__index", get}, {"__gc", collect}, {"__close", close}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"accept", accept_stream},
        {"open_stream", open_stream},
        {"close", close},
        {NULL, NULL},
    };

    hwl_define(L, lua, HWL_SESSION, metamethods, methods);
}
