--- What the memory clients share: a burst that opens many connections at once, and the size of this process.
local hawser = require "hawser"

local burst = {}

--- One request in each of `count` coroutines, all in flight at once, on as many connections.
-- The server answers /wait only when no further request comes, so none can be served by a connection already used.
-- @param api hawser.Upstream with room for `count` connections
function burst.run(api, count)
  local tasks = {}
  for i = 1, count do
    tasks[i] = hawser.spawn(function()
      local res = assert(api:get "/wait")
      assert(res.status == 200 and #res.body > 0)
    end)
  end
  for i = 1, count do assert(tasks[i]:join()) end
end

--- Collects all garbage, and gives the manager the time in which it hands freed memory back to the system.
function burst.settle()
  collectgarbage()
  collectgarbage()
  hawser.sleep(1.5)
  collectgarbage()
end

--- @return integer bytes of this process that are resident
function burst.resident()
  local file = assert(io.open "/proc/self/status")
  local kib = tonumber(file:read "*a":match "VmRSS:%s+(%d+) kB")
  file:close()
  return kib * 1024
end

--- @return table options of an upstream with one peer and room for `count` connections, none of which expires
function burst.options(origin, count)
  return {
    peers = { origin },
    limits = { connections = count, per_peer = count, dials = count, pending = count },
    timeouts = { connect = 30, tls = 30, queue = 30, request = 60, idle = 600 },
  }
end

return burst
