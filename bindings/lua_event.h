/* lua_event.h - what a manager tells: to the functions of m:on(), to `log`, or to stderr. */
#ifndef HWL_LUA_EVENT_H
#define HWL_LUA_EVENT_H

#include "lua_state.h"

/* What is told even without a listener, for the log. */
#define HWL_EVENTS_LOGGED (1U << HWS_EVENT_LEAK | 1U << HWS_EVENT_POLICY_ERROR)

/* Reports what a task or callback raised, which lies on top of the stack and is popped: to the log
 * and the event `error` of every open manager, to stderr if nobody listens. `what` begins the message.
 * The value is a string with its traceback already in it, or anything else. */
void hwl_event_report(lua_State *L, hwl_t *lua, const char *what);
/* For hws_manager_options_t. */
void hwl_event_on_event(void *user, const hws_event_t *event);
/* Warns the log of the manager, once, that peers of the upstream (NULL: of any) are not verified. */
void hwl_event_warn_unverified(lua_State *L, hwl_manager_t *manager, const char *upstream);
/* Methods of a manager. */
int hwl_event_on(lua_State *L);
int hwl_event_off(lua_State *L);

#endif
