#include "lua_options.h"

#include "lua_error.h"

#include <string.h>

void hwl_options_check(lua_State *L, const hwl_t *lua, hwl_helper_t helper, int index, int flag)
{
    hwl_push_helper(L, lua, helper);
    lua_pushvalue(L, index);
    if (flag >= 0)
        lua_pushboolean(L, flag);
    lua_call(L, flag >= 0 ? 2 : 1, 2);
    if (lua_isnil(L, -2))
        luaL_error(L, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* A number in that field of the table on top; false when it has none. */
static bool get_number(lua_State *L, const char *field, double *out)
{
    bool has_it;

    lua_getfield(L, -1, field);
    has_it = lua_type(L, -1) == LUA_TNUMBER;
    if (has_it)
        *out = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return has_it;
}

static void get_count(lua_State *L, const char *field, uint32_t *out)
{
    double value;

    if (get_number(L, field, &value))
        *out = (uint32_t)value;
}

static void get_size(lua_State *L, const char *field, size_t *out)
{
    double value;

    if (get_number(L, field, &value))
        *out = (size_t)value;
}

static void get_span(lua_State *L, const char *field, hws_time_t *out)
{
    lua_getfield(L, -1, field);
    if (!lua_isnil(L, -1))
        *out = hwl_check_span(L, field, -1, 1, true);
    lua_pop(L, 1);
}

void hwl_options_limits(lua_State *L, hws_limits_t *limits)
{
    lua_getfield(L, -1, "limits");
    if (!lua_isnil(L, -1)) {
        get_count(L, "connections", &limits->connections);
        get_count(L, "per_peer", &limits->per_peer);
        get_count(L, "dials", &limits->dials);
        get_count(L, "pending", &limits->pending);
        get_count(L, "streams", &limits->streams);
        get_size(L, "header", &limits->header);
        get_size(L, "body", &limits->body);
        get_size(L, "buffer", &limits->buffer);
    }
    lua_pop(L, 1);
}

void hwl_options_h2(lua_State *L, hws_h2_options_t *h2)
{
    lua_getfield(L, -1, "h2");
    if (!lua_isnil(L, -1)) {
        get_span(L, "ping_idle", &h2->ping_idle);
        get_span(L, "ping_timeout", &h2->ping_timeout);
        get_count(L, "window", &h2->window);
        get_count(L, "connection_window", &h2->connection_window);
        get_count(L, "window_max", &h2->window_max);
        get_count(L, "connection_window_max", &h2->connection_window_max);
    }
    lua_pop(L, 1);
}

void hwl_options_timeouts(lua_State *L, hws_timeouts_t *timeouts)
{
    lua_getfield(L, -1, "timeouts");
    if (!lua_isnil(L, -1)) {
        get_span(L, "resolve", &timeouts->resolve);
        get_span(L, "connect", &timeouts->connect);
        get_span(L, "tls", &timeouts->tls);
        get_span(L, "queue", &timeouts->queue);
        get_span(L, "request", &timeouts->request);
        get_span(L, "attempt", &timeouts->attempt);
        get_span(L, "read", &timeouts->read);
        get_span(L, "idle", &timeouts->idle);
        get_span(L, "lifetime", &timeouts->lifetime);
        get_span(L, "drain", &timeouts->drain);
    }
    lua_pop(L, 1);
}

static void get_slice(lua_State *L, const char *field, hws_slice_t *out)
{
    hws_slice_t slice = hwl_options_string(L, field);

    if (slice.data != NULL)
        *out = slice;
}

/* The strings of the list in that field, into `out`, ended by NULL; they last as the list does.
 * False when there is no list. */
static bool get_list(lua_State *L, const char *field, const char **out, size_t most)
{
    bool has_it;
    size_t count;
    size_t i;

    lua_getfield(L, -1, field);
    has_it = lua_istable(L, -1);
    count = has_it ? lua_rawlen(L, -1) : 0;
    for (i = 0; i < count && i < most; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        out[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    out[i] = NULL;
    lua_pop(L, 1);
    return has_it;
}

void hwl_options_tls(lua_State *L, hwl_tls_t *room, const hws_tls_options_t **tls)
{
    hws_slice_t word;

    lua_getfield(L, -1, "tls");
    if (!lua_isnil(L, -1)) {
        room->options = *tls != NULL ? **tls : (hws_tls_options_t){.verify = true};
        get_slice(L, "ca", &room->options.ca);
        get_slice(L, "cert", &room->options.cert);
        get_slice(L, "key", &room->options.key);
        get_slice(L, "crl", &room->options.crl);
        word = hwl_options_string(L, "server_name");
        if (word.data != NULL)
            room->options.server_name = word.data;
        word = hwl_options_string(L, "min");
        if (word.data != NULL)
            room->options.min = strcmp(word.data, "1.3") == 0 ? HWS_TLS_1_3 : HWS_TLS_1_2;
        lua_getfield(L, -1, "verify");
        if (!lua_isnil(L, -1))
            room->options.verify = lua_toboolean(L, -1) != 0;
        lua_pop(L, 1);
        if (get_list(L, "alpn", room->alpn, HWL_MOST_ALPN))
            room->options.alpn = room->alpn;
        *tls = &room->options;
    }
    lua_pop(L, 1);
}

void hwl_options_dns(lua_State *L, hwl_dns_t *room, const hws_dns_options_t **dns)
{
    lua_getfield(L, -1, "dns");
    if (!lua_isnil(L, -1)) {
        if (*dns != NULL)
            room->options = **dns;
        else
            hws_dns_options_init(&room->options);
        if (get_list(L, "servers", room->servers, HWL_MOST_NAMES))
            room->options.servers = room->servers;
        if (get_list(L, "search", room->search, HWL_MOST_NAMES))
            room->options.search = room->search;
        get_span(L, "ttl_min", &room->options.ttl_min);
        get_span(L, "ttl_max", &room->options.ttl_max);
        *dns = &room->options;
    }
    lua_pop(L, 1);
}

void hwl_options_reuse(lua_State *L, hws_reuse_t *reuse)
{
    hws_slice_t word = hwl_options_string(L, "reuse");

    if (word.size == 0)
        return;
    *reuse = strcmp(word.data, "always") == 0  ? HWS_REUSE_ALWAYS
             : strcmp(word.data, "never") == 0 ? HWS_REUSE_NEVER
                                               : HWS_REUSE_SAFE;
}

/* Whether that field of the table on top is there as a table, which is then pushed; with `*is_off`,
 * which may be NULL, set when it is false and cleared when it is anything else but nil. */
static bool enter(lua_State *L, const char *field, bool *is_off)
{
    lua_getfield(L, -1, field);
    if (is_off != NULL && !lua_isnil(L, -1))
        *is_off = !lua_toboolean(L, -1);
    if (lua_istable(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

/* A number that may be switched off by false, which stands for 0. */
static void get_rule(lua_State *L, const char *field, double *out)
{
    if (get_number(L, field, out))
        return;
    lua_getfield(L, -1, field);
    if (lua_isboolean(L, -1))
        *out = 0;
    lua_pop(L, 1);
}

/* The list of kinds and statuses on top of the stack. The core knows which there are. */
static void read_on(lua_State *L, hws_retry_on_t *on)
{
    size_t count = lua_rawlen(L, -1);
    hws_error_t why;
    hws_slice_t word;
    size_t i;
    int rc;

    *on = (hws_retry_on_t){0};
    for (i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        if (lua_type(L, -1) == LUA_TNUMBER) {
            rc = hws_retry_on_add_status(on, (int64_t)lua_tonumber(L, -1), &why);
        } else {
            word.data = lua_tolstring(L, -1, &word.size);
            rc = hws_retry_on_add(on, word, &why);
        }
        if (rc != HWS_OK)
            luaL_error(L, "%s", why.detail);
        lua_pop(L, 1);
    }
}

static void read_backoff(lua_State *L, hws_backoff_options_t *backoff)
{
    hws_slice_t word;

    get_span(L, "base", &backoff->base);
    get_span(L, "max", &backoff->max);
    word = hwl_options_string(L, "jitter");
    if (word.size > 0)
        backoff->jitter = strcmp(word.data, "full") == 0    ? HWS_JITTER_FULL
                          : strcmp(word.data, "equal") == 0 ? HWS_JITTER_EQUAL
                                                            : HWS_JITTER_DECORRELATED;
}

void hwl_options_retry(lua_State *L, hws_retry_options_t *retry)
{
    if (!enter(L, "retry", &retry->is_disabled))
        return;
    get_count(L, "attempts", &retry->attempts);
    if (enter(L, "on", NULL)) {
        read_on(L, &retry->on);
        lua_pop(L, 1);
    }
    if (enter(L, "backoff", NULL)) {
        read_backoff(L, &retry->backoff);
        lua_pop(L, 1);
    }
    if (enter(L, "budget", &retry->budget.is_disabled)) {
        (void)get_number(L, "share", &retry->budget.share);
        get_count(L, "floor", &retry->budget.floor);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void hwl_options_breaker(lua_State *L, hws_breaker_options_t *breaker)
{
    double consecutive = breaker->consecutive;

    if (!enter(L, "breaker", &breaker->is_disabled))
        return;
    get_rule(L, "consecutive", &consecutive);
    breaker->consecutive = (uint32_t)consecutive;
    get_rule(L, "failure_rate", &breaker->failure_rate);
    get_count(L, "min_calls", &breaker->min_calls);
    get_span(L, "window", &breaker->window);
    get_span(L, "slow_after", &breaker->slow_after);
    (void)get_number(L, "slow_rate", &breaker->slow_rate);
    get_span(L, "open_for", &breaker->open_for);
    get_span(L, "open_max", &breaker->open_max);
    get_count(L, "probes", &breaker->probes);
    lua_pop(L, 1);
}

hws_slice_t hwl_options_string(lua_State *L, const char *field)
{
    hws_slice_t slice = {NULL, 0};

    lua_getfield(L, -1, field);
    if (lua_type(L, -1) == LUA_TSTRING)
        slice.data = lua_tolstring(L, -1, &slice.size);
    lua_pop(L, 1);
    return slice;
}

int hwl_options_fail(lua_State *L, const hwl_t *lua, int code, const hws_error_t *why)
{
    switch (hws_error_kind(code)) {
    case HWS_KIND_INVALID:
    case HWS_KIND_UNSUPPORTED:
        return luaL_error(L, "%s", why->detail[0] != '\0' ? why->detail : hws_error_text(code));
    default:
        return why->code != HWS_OK ? hwl_error_fail(L, lua, why)
                                   : hwl_error_fail_code(L, lua, code, NULL);
    }
}
