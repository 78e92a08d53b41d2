--- Memory of an idle pooled connection: hawser_memory.lua URL connections
-- Prints the growth of the resident set, in bytes per connection, from before the burst until all is idle again.
local here = arg[0]:match "^(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path
local hawser = require "hawser"
local burst = require "burst"

local url, connections = arg[1], tonumber(arg[2])
local origin = url:match "^https?://[%d.]+:%d+"

local manager = hawser.new { max_connections = connections }
local api = manager:upstream("bench", burst.options(origin, connections))

hawser.run(function()
  assert(api:get "/1k") -- loads what the first request loads
  burst.settle()
  local before = burst.resident()
  burst.run(api, connections)
  local peak = burst.resident()
  burst.settle()
  local after = burst.resident()

  local idle = api:stats().idle
  assert(idle == connections, ("%d connections are idle, not %d"):format(idle, connections))
  print(("value\t%.0f\tbytes per connection"):format((after - before) / connections))
  print(("note\t%.0f bytes per connection while in flight"):format((peak - before) / connections))
end)
manager:close()
