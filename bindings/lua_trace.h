/* lua_trace.h - how the time of a request or an acquisition was spent: res.trace, err.trace.
 *
 * A response keeps what its table is made of, in 44 bytes an attempt, and makes that when it is read. */
#ifndef HWL_LUA_TRACE_H
#define HWL_LUA_TRACE_H

#include "lua_state.h"

/* One attempt; spans in us, UINT32_MAX for longer ones. */
typedef struct {
    uint32_t spans[HWS_PHASE_COUNT];
    uint32_t age;
    int16_t code;
    uint16_t status;
    uint8_t verdict;
    bool is_judged;
    bool is_reused;
    bool is_stale;
    bool is_unseen;
} hwl_trace_t;

/* All attempts of one call, with the ids of their peers behind each other, each ended by a zero. */
typedef struct {
    const hwl_trace_t *attempts;
    const char *peers;
    uint32_t count;
} hwl_traces_t;

/* The bytes that the traces of a request take, and their copy at `place`, aligned for uint32_t. */
size_t hwl_trace_size(const hws_request_t *request);
hwl_traces_t hwl_trace_copy(const hws_request_t *request, char *place);
/* { queue =, resolve =, connect =, tls =, send =, headers =, body =, attempts = { ... } } */
void hwl_trace_push(lua_State *L, const hwl_traces_t *traces);
/* Sets the field `trace` of the table on top of the stack. */
void hwl_trace_set(lua_State *L, const hws_request_t *request);
void hwl_trace_set_of_lease(lua_State *L, const hws_lease_t *lease);

#endif
