--- hawser's bodies over HTTP/2: hawser_bytes.lua URL down|up BYTES
-- down: reads one body chunk by chunk and discards it. up: sends one, made chunk by chunk. Both check the length.
local hawser = require "hawser"

local url, way, size = arg[1], arg[2], tonumber(arg[3])
local origin, path = url:match "^(%w+://[%d.]+:%d+)(/.*)$"
local manager = hawser.new()
local api = manager:upstream("bench", { peers = { origin }, timeouts = { request = 600 } })
local ways = {}

function ways.down()
  local res = assert(api:get(path, { stream = true }))
  assert(res.status == 200 and res.version == "2")
  local received = 0
  local chunk, err = res:read()
  while chunk do
    received = received + #chunk
    chunk, err = res:read()
  end
  assert(not err, err)
  assert(received == size, "the body ended early")
end

function ways.up()
  local chunk, left = ("x"):rep(65536), size
  local res = assert(api:put(path, function()
    if left == 0 then return nil end
    left = left - #chunk
    return chunk
  end))
  assert(res.status == 200 and res.version == "2")
  assert(left == 0, "the answer came early")
end

hawser.run(ways[way])
manager:close()
