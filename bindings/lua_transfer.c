/* Moving bytes over a lease: reading, writing, half-closing. */
#include "lua_lease.h"

#include "lease.h"
#include "lua_error.h"
#include "lua_options.h"

#include <assert.h>
#include <string.h>

#define MOST_BYTES ((size_t)1 << 30) /* of one read */
#define LONGEST_LINE ((size_t)65536) /* unless the caller says otherwise */
#define LONGEST_DELIMITER 64

void hwl_conn_on_readable(hws_lease_t *lease, void *user)
{
    hwl_conn_t *conn = user;

    (void)lease;
    if (conn->reader != NULL)
        hwl_wait_end(conn->reader);
}

void hwl_conn_on_writable(hws_lease_t *lease, void *user)
{
    hwl_conn_t *conn = user;

    (void)lease;
    if (conn->writer != NULL)
        hwl_wait_end(conn->writer);
}

/* The error of the lease, whose last operation returned `code`. */
static int fail(lua_State *L, const hwl_conn_t *conn, int code, hws_phase_t phase)
{
    const hws_error_t *error = hws_lease_error(conn->lease);
    hws_error_t other = hwl_error_make(code, phase, NULL);

    if (error != NULL && error->code == code) {
        other = *error;
        other.phase = phase;
    }
    return hwl_error_fail(L, conn->lua, &other);
}

/* ---- reading ---- */

static int read_now(hwl_conn_t *conn, hws_slice_t *bytes)
{
    int rc = hws_lease_read(conn->lease, &conn->want, bytes);

    conn->is_reading = rc == HWS_AGAIN;
    return rc;
}

static int push_read(lua_State *L, hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;
    hws_slice_t bytes;
    int rc = read_now(conn, &bytes); /* which last: the lease is in use until the wait is left */

    switch (rc) {
    case HWS_OK:
        conn->is_handing = true; /* still, when the next line raises */
        lua_pushlstring(L, bytes.size > 0 ? bytes.data : "", bytes.size);
        conn->is_handing = false;
        return 1;
    case HWS_AGAIN:
        return HWL_NOT_YET;
    case HWS_END:
        lua_pushnil(L);
        return 1;
    default:
        break;
    }
    fail(L, conn, rc, HWS_PHASE_BODY);
    bytes = hws_lease_unread(conn->lease);
    lua_pushlstring(L, bytes.size > 0 ? bytes.data : "", bytes.size);
    lua_setfield(L, -2, "partial");
    return 2;
}

static void cancel_read(hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;

    if (conn->lease != NULL)
        hws_lease_cancel_read(conn->lease);
}

static void leave_read(hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;
    hws_slice_t bytes;

    conn->reader = NULL;
    if (conn->is_handing && conn->lease != NULL)
        hws_lease_read_again(conn->lease);
    conn->is_handing = false;
    if (conn->is_reading && conn->lease != NULL) {
        /* Given up while the core waits: the cancellation is not for the next read to hear of. */
        hws_lease_cancel_read(conn->lease);
        read_now(conn, &bytes);
    }
    conn->is_reading = false;
    hwl_conn_leave(conn);
}

/* What `conn:read(what, max)` wants; `max` may be missing, then a callback can be in its place. */
static hws_read_t check_want(lua_State *L)
{
    static const char *const words[] = {"some", "all", "line"};
    static const hws_read_mode_t modes[] = {HWS_READ_SOME, HWS_READ_ALL, HWS_READ_LINE};
    hws_read_t want = {.mode = HWS_READ_EXACT};
    size_t i;

    if (lua_type(L, 2) == LUA_TNUMBER) {
        want.size = hwl_check_size(L, "the number of bytes to read", 2, 0, MOST_BYTES);
        return want;
    }
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (lua_type(L, 2) == LUA_TSTRING && strcmp(lua_tostring(L, 2), words[i]) == 0)
            want.mode = modes[i];
    if (want.mode == HWS_READ_EXACT)
        hwl_refuse(L, "what is to be read", 2, "a number of bytes, \"some\", \"line\" or \"all\"");
    return want;
}

/* The bound at index 3; the default is one for lines, and for "all" what a body may have. */
static size_t check_most(lua_State *L, const hwl_conn_t *conn, hws_read_mode_t mode)
{
    hws_upstream_options_t settings;

    if (!lua_isnoneornil(L, 3) && !lua_isfunction(L, 3))
        return hwl_check_size(L, "the most bytes to read", 3, 0, MOST_BYTES);
    if (mode != HWS_READ_ALL || conn == NULL)
        return LONGEST_LINE;
    hws_upstream_settings(hws_lease_upstream(conn->lease), &settings);
    return settings.limits.body;
}

static int wait_for_read(lua_State *L, hwl_conn_t *const *handle, const hws_read_t *want)
{
    static const hwl_operation_t operation = {
        .push = push_read,
        .cancel = cancel_read,
        .leave = leave_read,
        .phase = HWS_PHASE_BODY,
    };
    hwl_t *lua = hwl_of_self(handle);
    hwl_conn_t *conn;
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait = hwl_wait_begin(L, lua, hwl_check_callback_after(L, 3), &local);

    if (wait == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, 1);
    if (want->mode == HWS_READ_UNTIL)
        hwl_wait_anchor(L, wait, 2);
    /* Now only: a finalizer may have ended the lease until here. */
    conn = *handle;
    if (!hwl_conn_is_usable(conn, &why) || conn == NULL)
        return hwl_wait_fail(L, wait, &why);
    if (conn->reader != NULL)
        return luaL_error(L, "somebody else is waiting in a read of this lease");
    conn->want = *want;
    conn->reader = wait;
    return hwl_wait_try(L, wait, &operation, conn);
}

int hwl_conn_read(lua_State *L)
{
    hwl_conn_t *const *handle = hwl_self(L, HWL_CONN);
    hws_read_t want = check_want(L);

    if (want.mode != HWS_READ_EXACT)
        want.size = check_most(L, *handle, want.mode);
    return wait_for_read(L, handle, &want);
}

int hwl_conn_read_until(lua_State *L)
{
    hwl_conn_t *const *handle = hwl_self(L, HWL_CONN);
    hws_read_t want = {.mode = HWS_READ_UNTIL};

    if (lua_type(L, 2) != LUA_TSTRING || lua_rawlen(L, 2) == 0 ||
        lua_rawlen(L, 2) > LONGEST_DELIMITER)
        return hwl_refuse(L, "the delimiter", 2, "a string of 1 to 64 bytes");
    want.delimiter.data = lua_tolstring(L, 2, &want.delimiter.size);
    want.size = check_most(L, *handle, want.mode);
    return wait_for_read(L, handle, &want);
}

/* ---- writing ---- */

static int write_now(hwl_conn_t *conn)
{
    size_t taken;
    int rc = hws_lease_write(conn->lease, conn->rest.data, conn->rest.size, &taken);

    if (rc >= 0) {
        conn->rest.data += taken;
        conn->rest.size -= taken;
    }
    conn->is_writing = rc == HWS_AGAIN;
    return rc;
}

static int push_written(lua_State *L, hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;
    int rc = write_now(conn);

    if (rc == HWS_AGAIN)
        return HWL_NOT_YET;
    if (rc != HWS_OK)
        return fail(L, conn, rc, HWS_PHASE_SEND);
    lua_pushboolean(L, 1);
    return 1;
}

static void cancel_write(hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;

    if (conn->lease != NULL)
        hws_lease_cancel_write(conn->lease);
}

static void leave_write(hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;

    conn->writer = NULL;
    if (conn->is_writing && conn->lease != NULL) {
        hws_lease_cancel_write(conn->lease);
        write_now(conn);
    }
    conn->is_writing = false;
    hwl_conn_leave(conn);
}

int hwl_conn_write(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_written,
        .cancel = cancel_write,
        .leave = leave_write,
        .phase = HWS_PHASE_SEND,
    };
    hwl_conn_t *const *handle = hwl_self(L, HWL_CONN);
    hwl_t *lua = hwl_of_self(handle);
    int callback = hwl_check_callback(L, 3);
    hwl_conn_t *conn;
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait;

    if (lua_type(L, 2) != LUA_TSTRING)
        return hwl_refuse(L, "what is to be written", 2, "a string");
    if ((wait = hwl_wait_begin(L, lua, callback, &local)) == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, 1);
    hwl_wait_anchor(L, wait, 2);
    conn = *handle; /* now only, as in a read */
    if (!hwl_conn_is_usable(conn, &why) || conn == NULL)
        return hwl_wait_fail(L, wait, &why);
    if (conn->writer != NULL)
        return luaL_error(L, "somebody else is waiting in a write of this lease");
    conn->rest.data = lua_tolstring(L, 2, &conn->rest.size);
    conn->writer = wait;
    return hwl_wait_try(L, wait, &operation, conn);
}

/* ---- TLS ---- */

static int push_upgraded(lua_State *L, hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;
    int rc = hws_lease_start_tls(conn->lease, NULL); /* which has begun: the options are known */

    conn->is_reading = rc == HWS_AGAIN;
    if (rc == HWS_AGAIN)
        return HWL_NOT_YET;
    if (rc != HWS_OK)
        return fail(L, conn, rc, HWS_PHASE_TLS);
    lua_pushboolean(L, 1);
    return 1;
}

static void leave_upgrade(hwl_wait_t *wait)
{
    hwl_conn_t *conn = wait->subject;

    conn->reader = NULL;
    /* How it ended is asked for, though nobody is told: else the next upgrade would be. */
    if (conn->is_reading && conn->lease != NULL) {
        hws_lease_cancel_read(conn->lease);
        (void)hws_lease_start_tls(conn->lease, NULL);
    }
    conn->is_reading = false;
    hwl_conn_leave(conn);
}

/* The options at index 2, if there are such, in a table as the options of an upstream have them. */
static void check_upgrade(lua_State *L, const hwl_t *lua)
{
    if (!lua_istable(L, 2))
        return;
    hwl_options_check(L, lua, HWL_HELPER_CHECK_TLS, 2, -1);
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "tls");
}

/* Begins, with what check_upgrade() left. */
static int begin_upgrade(lua_State *L, const hwl_conn_t *conn)
{
    hws_upstream_options_t settings;
    const hws_tls_options_t *tls = NULL;
    hwl_tls_t room;

    if (!lua_istable(L, 2))
        return hws_lease_start_tls(conn->lease, NULL);
    hws_upstream_settings(hws_lease_upstream(conn->lease), &settings);
    tls = settings.tls;
    hwl_options_tls(L, &room, &tls);
    return hws_lease_start_tls(conn->lease, tls);
}

int hwl_conn_starttls(lua_State *L)
{
    static const hwl_operation_t operation = {
        .push = push_upgraded,
        .cancel = cancel_read,
        .leave = leave_upgrade,
        .phase = HWS_PHASE_TLS,
    };
    hwl_conn_t *const *handle = hwl_self(L, HWL_CONN);
    hwl_t *lua = hwl_of_self(handle);
    int callback = hwl_check_callback(L, lua_isfunction(L, 2) ? 2 : 3);
    hwl_conn_t *conn;
    hws_error_t why;
    hwl_wait_t local;
    hwl_wait_t *wait;
    int rc;

    if (callback != 2 && !lua_isnoneornil(L, 2) && !lua_istable(L, 2))
        return hwl_refuse(L, "the options of starttls", 2, "a table, or nothing");
    if ((wait = hwl_wait_begin(L, lua, callback, &local)) == NULL)
        return hwl_wait_refused(L, lua);
    hwl_wait_anchor(L, wait, 1);
    check_upgrade(L, lua);
    conn = *handle; /* now only, as in a read */
    if (!hwl_conn_is_usable(conn, &why) || conn == NULL)
        return hwl_wait_fail(L, wait, &why);
    if (conn->reader != NULL || conn->writer != NULL)
        return luaL_error(L, "somebody else is waiting in a read or a write of this lease");
    if ((rc = begin_upgrade(L, conn)) != HWS_AGAIN) {
        const hws_error_t *error = hws_lease_error(conn->lease);

        why = hwl_error_make(rc, HWS_PHASE_TLS, NULL);
        return hwl_wait_fail(L, wait, error != NULL && error->code == rc ? error : &why);
    }
    conn->is_reading = true;
    conn->reader = wait;
    return hwl_wait_for(L, wait, &operation, conn);
}

/* ---- the rest ---- */

int hwl_conn_finish(lua_State *L)
{
    hwl_conn_t *conn = hwl_conn_self(L);
    int rc;

    if (!hwl_conn_is_open(L, conn))
        return 2;
    if (conn->writer != NULL)
        return luaL_error(L, "a write of this lease is not over: finish after it");
    if ((rc = hws_lease_finish(conn->lease)) != HWS_OK)
        return fail(L, conn, rc, HWS_PHASE_SEND);
    lua_pushboolean(L, 1);
    return 1;
}

int hwl_conn_timeout(lua_State *L)
{
    hwl_conn_t *conn = hwl_conn_self(L);
    hws_time_t span = hwl_check_span(L, "the timeout", 2, 1, true);

    if (!hwl_conn_is_open(L, conn))
        return 2;
    hws_lease_set_timeout(conn->lease, span);
    lua_pushboolean(L, 1);
    return 1;
}
