std = "max" -- hawser runs on every Lua from 5.1 to 5.4 and on LuaJIT
max_line_length = 120
self = false -- a policy's methods have their self whether they use it or not
ignore = { "212/_.*" }
exclude_files = { "**/node_modules" }

-- Hosts that bring their own globals.
read_globals = { "vim", "ngx" }

files["spec"].std = "+busted"
files["examples/near_first/spec"].std = "+busted"
files["lua/hawser/types.lua"].ignore = { "111", "112", "113", "131", "211", "212", "241", "631" } -- for editors, never run
