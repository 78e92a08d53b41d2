/* lua_options.h - from tables that hawser/options.lua has checked to the core's option structs. */
#ifndef HWL_LUA_OPTIONS_H
#define HWL_LUA_OPTIONS_H

#include "lua_state.h"

/* Calls the helper with the table at `index` (and a boolean, unless `flag` is below 0), and pushes
 * the checked table it returns; raises its message at the caller's line. */
void hwl_options_check(lua_State *L, const hwl_t *lua, hwl_helper_t helper, int index, int flag);

#define HWL_MOST_ALPN 16

/* What options of TLS that point into a table need. */
typedef struct {
    hws_tls_options_t options;
    const char *alpn[HWL_MOST_ALPN + 1];
} hwl_tls_t;

#define HWL_MOST_NAMES 16

/* The same for those of names. */
typedef struct {
    hws_dns_options_t options;
    const char *servers[HWL_MOST_NAMES + 1];
    const char *search[HWL_MOST_NAMES + 1];
} hwl_dns_t;

/* Take over what the table on top of the stack has; leave the rest as it is. That of retries raises
 * what the core says of a kind or a status that nothing goes again after. */
void hwl_options_limits(lua_State *L, hws_limits_t *limits);
void hwl_options_h2(lua_State *L, hws_h2_options_t *h2);
void hwl_options_timeouts(lua_State *L, hws_timeouts_t *timeouts);
void hwl_options_reuse(lua_State *L, hws_reuse_t *reuse);
void hwl_options_retry(lua_State *L, hws_retry_options_t *retry);
void hwl_options_breaker(lua_State *L, hws_breaker_options_t *breaker);
/* Field by field; `*tls` and `*dns` then point to `room`, which points into the table. */
void hwl_options_tls(lua_State *L, hwl_tls_t *room, const hws_tls_options_t **tls);
void hwl_options_dns(lua_State *L, hwl_dns_t *room, const hws_dns_options_t **dns);

/* The string in that field of the table on top, empty when there is none. It lives as long as the
 * table holds it. */
hws_slice_t hwl_options_string(lua_State *L, const char *field);
/* Raises what the core says about options, or returns nil and the error for what is nobody's
 * mistake. */
int hwl_options_fail(lua_State *L, const hwl_t *lua, int code, const hws_error_t *why);

#endif
