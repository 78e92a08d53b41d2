/* lua_plan.h - a request as its caller described it, checked and turned into what the core takes. */
#ifndef HWL_LUA_PLAN_H
#define HWL_LUA_PLAN_H

#include "codec/codec.h"
#include "lua_state.h"

/* Who makes it, and so what its options are. */
typedef enum { HWL_PLAN_VERB, HWL_PLAN_REQUEST, HWL_PLAN_STREAM } hwl_plan_kind_t;

/* Its numbers are stack indices, 0 for what is not there. */
typedef struct {
    hws_request_options_t options;
    int self;
    int target;
    int body;
    int table; /* of the options */
    int callback;
    int producer;
    int headers;
    bool has_body; /* as an option, too */
    bool has_headers;
    bool has_query;
    bool has_json;
    bool has_retry;
    bool has_content_type;
    bool has_host;
    size_t redirects;
    uint64_t serial; /* of its header fields */
} hwl_plan_t;

/* For a function with the table of known options in its second upvalue. These raise at the caller's
 * line. */

/* The path or URL at `index`, which messages call `name`. */
void hwl_plan_target(lua_State *L, hwl_plan_t *plan, int index, const char *name);
/* The table of options and the callback behind it, or the callback alone, at `index`. */
void hwl_plan_table(lua_State *L, hwl_plan_t *plan, int index);
/* All that the table has; after these two. */
void hwl_plan_options(lua_State *L, hwl_plan_t *plan);
/* Query, body and headers, for which Lua code may run. */
void hwl_plan_message(lua_State *L, hwl_t *lua, hwl_plan_t *plan);
/* The header lines, which last until Lua allocates again: immediately before the start. */
void hwl_plan_headers(lua_State *L, hwl_t *lua, hwl_plan_t *plan);

/* Pushes the table of known options. */
void hwl_plan_push_known(lua_State *L, hwl_plan_kind_t kind);

#endif
