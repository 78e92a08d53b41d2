rockspec_format = "3.0"
package = "hawser"
version = "scm-1"
source = {
  url = "git+https://github.com/hawser/hawser.git",
}
description = {
  summary = "A scriptable connection manager",
  detailed = [[
    Pools, multiplexes, balances, retries and sheds the outgoing connections of a program, and
    lets each of those decisions be scripted in Lua. The work is done by a core written in C.]],
  license = "MIT",
}
dependencies = {
  "lua >= 5.1, < 5.5",
}
build = {
  type = "cmake",
  variables = {
    CMAKE_BUILD_TYPE = "RelWithDebInfo",
    HAWSER_LUA_INCDIR = "$(LUA_INCDIR)",
    HAWSER_LUADIR = "$(LUADIR)",
    HAWSER_LIBDIR = "$(LIBDIR)",
  },
}
