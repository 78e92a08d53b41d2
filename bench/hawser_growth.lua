--- Whether memory grows: hawser_growth.lua URL requests connections
-- Compares the resident set after a tenth of the requests, when all that is allocated once is there, with that after
-- the last, each after a full collection.
local here = arg[0]:match "^(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path
local hawser = require "hawser"
local burst = require "burst"

local url, requests, connections = arg[1], tonumber(arg[2]), tonumber(arg[3])
local origin, path = url:match "^(http://[%d.]+:%d+)(/.*)$"

local manager = hawser.new { max_connections = connections }
local api = manager:upstream("bench", burst.options(origin, connections))
local started = 0

local function make_until(last)
  local tasks = {}
  for i = 1, connections do
    tasks[i] = hawser.spawn(function()
      while started < last do
        started = started + 1
        local res = assert(api:get(path))
        assert(res.status == 200 and #res.body > 0)
      end
    end)
  end
  for i = 1, connections do assert(tasks[i]:join()) end
  burst.settle()
end

hawser.run(function()
  make_until(requests / 10)
  local before = burst.resident()
  make_until(requests)
  local grown = (burst.resident() - before) / 1024
  print(("value\t%.0f\tKiB of growth over %d requests"):format(grown, math.floor(requests * 0.9)))
end)
manager:close()
