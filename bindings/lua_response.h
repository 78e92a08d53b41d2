/* lua_response.h - a response as Lua holds it.
 *
 * Nothing is made that nobody asked for. The head is copied as it came, with the offsets of its
 * fields; each look at a header searches there. With user values (Lua 5.4) a response is a userdata
 * which holds the head itself and the body as a value; elsewhere it is a table { [1] = head,
 * status =, body = } whose metatable finds the rest in the head. */
#ifndef HWL_LUA_RESPONSE_H
#define HWL_LUA_RESPONSE_H

#include "lua_exchange.h"
#include "lua_trace.h"

/* A head with its bytes behind it, in one userdata. */
typedef struct {
    const hws_head_t *view; /* first, as in every userdata with the methods of headers: `head` */
    hws_head_t head;
    const char *peer;
    hwl_traces_t traces;
    uint32_t attempts;
    bool reused;
    bool is_read; /* a body that came whole was given by res:read() */
} hwl_head_t;

/* Pushes the response that the request has. Its body is a string, or the stream of `exchange` when that is not NULL. */
void hwl_response_push(lua_State *L, hwl_t *lua, const hws_request_t *request,
                       hwl_exchange_t *exchange);
/* Pushes header fields alone. */
void hwl_headers_push(lua_State *L, hwl_t *lua, const hws_head_t *head);

#endif
