/* lua_testing.h - what only the specs see: the core's memory, and Lua's, failing when they say so.
 *
 * It is part of core.so in builds with HAWSER_TESTS, never of a release. */
#ifndef HWL_LUA_TESTING_H
#define HWL_LUA_TESTING_H

#include "compat.h"

/* Adds to the table on top of the stack, where the build has it:
 *
 *     memory.fail_at(n), memory.count()            see base/memory.h
 *     memory.fail_lua_at(n), memory.lua_count()    the same for what Lua itself allocates
 *     policy.guard(f, ...), policy.prepare(f)      see lua_guard.h
 *     policy.set(kind, made), policy.ask(method, ...), policy.faults()    see lua_policy.h
 *     policy.view(fixed), policy.set_figures(list), policy.forget(view), policy.is_peer(value) */
void hwl_testing_define(lua_State *L);

#endif
