--- What a slow reader costs the others on its connection: hawser_fair.lua URL slow bodies
-- 49 tasks read so many bodies in all, on one connection, beside `slow` (0 or 1) streams of /1g, of which 10 KiB are
-- read in a second. Prints how long the 49 took.
local hawser = require "hawser"

local url, slow, bodies = arg[1], tonumber(arg[2]), tonumber(arg[3])
local origin, path = url:match "^(%w+://[%d.]+:%d+)(/.*)$"
local FAST, RATE = 49, 10240

local manager = hawser.new { max_connections = 1 }
local api = manager:upstream("bench", { peers = { origin }, limits = { per_peer = 1 }, timeouts = { request = 600 } })

local function read_slowly()
  local res = assert(api:get("/1g", { stream = true }))
  while true do
    hawser.sleep(#assert(res:read()) / RATE)
  end
end

hawser.run(function()
  assert(assert(api:get(path)).version == "2")
  local slow_ones, tasks, started = {}, {}, 0
  for i = 1, slow do slow_ones[i] = hawser.spawn(read_slowly) end
  hawser.sleep(0.2) -- in which its window fills
  local began = hawser.now()
  for i = 1, FAST do
    tasks[i] = hawser.spawn(function()
      while started < bodies do
        started = started + 1
        assert(#assert(api:get(path)).body > 0)
      end
    end)
  end
  for i = 1, FAST do assert(tasks[i]:join()) end
  print(("value\t%.3f\tms"):format((hawser.now() - began) * 1000))
  for i = 1, slow do slow_ones[i]:cancel() end
  assert(api:stats().created == 1, "more than one connection")
end)
manager:close()
