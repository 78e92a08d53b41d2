--- What idle connections cost: hawser_idle.lua URL requests connections idle
-- Opens `idle` connections by a burst (none if 0), then makes `requests` GETs over `connections` of them and prints the
-- CPU time of those alone.
local here = arg[0]:match "^(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path
local hawser = require "hawser"
local burst = require "burst"

local url, requests, connections, idle = arg[1], tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4])
local origin, path = url:match "^(http://[%d.]+:%d+)(/.*)$"

local manager = hawser.new { max_connections = idle + connections }
local api = manager:upstream("bench", burst.options(origin, idle + connections))

local function make(count)
  local started = 0
  local tasks = {}
  for i = 1, connections do
    tasks[i] = hawser.spawn(function()
      while started < count do
        started = started + 1
        local res = assert(api:get(path))
        assert(res.status == 200 and #res.body > 0)
      end
    end)
  end
  for i = 1, connections do assert(tasks[i]:join()) end
end

hawser.run(function()
  if idle > 0 then burst.run(api, idle) end
  burst.settle()
  make(math.max(requests / 20, connections)) -- opens what is not open yet
  local before = os.clock()
  make(requests)
  print(("value\t%.3f\tµs per request"):format((os.clock() - before) * 1e6 / requests))
end)
manager:close()
