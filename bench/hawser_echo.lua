--- hawser's raw leases: hawser_echo.lua URL requests connections
-- Each task acquires a lease, writes 64 bytes, reads them back and releases the lease, over and over.
local hawser = require "hawser"

local url, requests, connections = arg[1], tonumber(arg[2]), tonumber(arg[3])
local origin = url:match "^(tcp://[%d.]+:%d+)"
local message = ("0123456789abcdef"):rep(4)
local started = 0

local manager = hawser.new { max_connections = connections }
local echo = manager:upstream("echo", {
  peers = { origin },
  limits = { connections = connections, per_peer = connections, dials = connections },
})

local function work()
  while started < requests do
    started = started + 1
    local conn = assert(echo:acquire())
    assert(conn:write(message))
    assert(assert(conn:read(64)) == message)
    conn:release()
  end
end

hawser.run(function()
  local tasks = {}
  for i = 1, connections do tasks[i] = hawser.spawn(work) end
  for i = 1, connections do assert(tasks[i]:join()) end
end)
manager:close()
