/* lua_session.h - the other side of yamux as Lua holds it: `session`.
 *
 * The userdata is the hwl_session_t itself: whoever waits on it keeps it alive. */
#ifndef HWL_LUA_SESSION_H
#define HWL_LUA_SESSION_H

#include "lua_manager.h"
#include "lua_wait.h"

typedef struct {
    hws_list_t link; /* in hwl_t.sessions while it has a session of the core's */
    hwl_t *lua;
    hwl_manager_t *manager;
    hws_session_t *session; /* NULL: closed */
    hws_list_t waits;       /* hwl_wait_t: who would accept or open a stream, in their order */
    bool is_closing;        /* to be closed, once the results are made that it is in use for */
    hwl_place_t place;      /* where it was made */
} hwl_session_t;

/* hawser.yamux */
int hwl_session_new(lua_State *L);
/* Closes all: their Lua state is being closed. */
void hwl_sessions_close(hwl_t *lua);

#endif
