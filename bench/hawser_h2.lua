--- hawser's HTTP/2 client: hawser_h2.lua URL requests streams [requests|streams|memory]
-- All on one connection; URL is h2c:// or https://.
-- requests: get, status checked, body read. streams: a stream is opened, has left, and is given up, `streams` at a
-- time; nothing answers. memory: so many streams are opened and stay; prints by how many bytes each made this grow.
local here = arg[0]:match "^(.*/)" or "./"
package.path = here .. "?.lua;" .. package.path
local hawser = require "hawser"
local burst = require "burst"

local url, requests, streams, mode = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4] or "requests"
local origin, path = url:match "^(%w+://[%d.]+:%d+)(/.*)$"

local manager = hawser.new { max_connections = 1 }
local api = manager:upstream("bench", {
  peers = { origin },
  limits = { connections = 1, per_peer = 1, streams = math.max(streams, 100), pending = math.max(streams, 1024) },
  timeouts = { request = 600, queue = 600, read = 600 },
})

local modes = {}

function modes.requests()
  local started, tasks = 1, {}
  local function work()
    while started < requests do
      started = started + 1
      local res = assert(api:get(path))
      assert(res.status == 200 and #res.body > 0)
    end
  end
  for i = 1, streams do tasks[i] = hawser.spawn(work) end
  for i = 1, streams do assert(tasks[i]:join()) end
end

function modes.streams()
  local options, open = { method = "GET", path = path }, {}
  for _ = 1, requests, streams do
    for i = 1, streams do open[i] = assert(api:open_stream(options)) end
    hawser.sleep(0) -- they leave
    for i = 1, streams do open[i]:close() end
  end
end

function modes.memory()
  local open = {}
  for i = 1, 100 do open[i] = assert(api:open_stream { method = "POST", path = path }) end
  burst.settle()
  local before = burst.resident()
  for i = 101, streams do
    open[i] = assert(api:open_stream { method = "POST", path = path })
    if i % 100 == 0 then hawser.sleep(0) end -- they leave
  end
  burst.settle()
  print(("value\t%.0f\tbytes per stream"):format((burst.resident() - before) / (streams - 100)))
  for i = 1, streams do open[i]:close() end
end

hawser.run(function()
  local res = assert(api:get(path == "/play/none" and "/play/ok" or path)) -- what the first request loads
  assert(res.status == 200 and res.version == "2")
  modes[mode]()
  assert(api:stats().created == 1, "more than one connection")
end)
manager:close()
