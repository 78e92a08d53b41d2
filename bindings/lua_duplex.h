/* lua_duplex.h - a stream that goes both ways as Lua holds it: `s`.
 *
 * The userdata is the hwl_duplex_t itself: whoever waits on it keeps it alive, and so does the registry
 * while it is being opened. A manager's table has its streams by their ids, twice: `streams` as long
 * as somebody holds them, `held` those that are known by their ids alone. */
#ifndef HWL_LUA_DUPLEX_H
#define HWL_LUA_DUPLEX_H

#include "lua_manager.h"
#include "lua_wait.h"

typedef struct {
    hws_list_t link; /* in hwl_t.duplexes while it has a request */
    hwl_t *lua;
    hwl_manager_t *manager;
    hws_request_t *request; /* NULL: over, and read to the end, or closed */
    hwl_wait_t *opener;
    hwl_wait_t *asker; /* who waits for the head */
    hwl_wait_t *reader;
    hwl_wait_t *sender;
    hws_slice_t rest;         /* what the sender has not sent yet */
    const char *closed;       /* how it was closed here; NULL: it was not */
    char *peer;               /* owned: its name, without a request */
    hws_stream_state_t state; /* without a request */
    uint64_t id;
    uint32_t reset_code; /* what the peer is told once it may be closed */
    int anchor; /* registry references, or LUA_NOREF: of itself while it is being opened... */
    int headers;
    int trailers;
    uint16_t status;
    bool is_opened;    /* given to who opened it */
    bool is_held;      /* who opened it is given its id */
    bool is_at_end;    /* what was received is all */
    bool is_closing;   /* to be closed, once the results are made that it is in use for */
    hwl_place_t place; /* where it was opened */
} hwl_duplex_t;

/* Gives the table of a manager, on top of the stack, what it has of streams; those `held` are let go. */
void hwl_duplex_push_tables(lua_State *L);
/* Destroys all: their Lua state is being closed. */
void hwl_duplexes_close(lua_State *L, hwl_t *lua);

#endif
