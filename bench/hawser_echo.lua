--- hawser's raw bytes: hawser_echo.lua URL requests connections [lease|held|yamux]
-- Each task writes 64 bytes and reads them back, over and over. lease: acquires a lease for each echo, and releases it.
-- held: keeps one lease. yamux: the same, and leases are streams of one connection.
local hawser = require "hawser"

local url, requests, connections = arg[1], tonumber(arg[2]), tonumber(arg[3])
local mode = arg[4] or "lease"
local origin = url:match "^(tcp://[%d.]+:%d+)"
local message = ("0123456789abcdef"):rep(4)
local started = 0

local manager = hawser.new { max_connections = connections }
local echo = manager:upstream("echo", {
  peers = { origin },
  protocol = mode == "yamux" and "yamux" or nil,
  limits = { connections = connections, per_peer = mode == "yamux" and 1 or connections, dials = connections },
})

local function echo_once(conn)
  started = started + 1
  assert(conn:write(message))
  assert(assert(conn:read(64)) == message)
end

local modes = {}

function modes.lease()
  while started < requests do
    local conn = assert(echo:acquire())
    echo_once(conn)
    conn:release()
  end
end

function modes.held()
  local conn = assert(echo:acquire())
  while started < requests do echo_once(conn) end
  conn:release()
end

modes.yamux = modes.held

hawser.run(function()
  local tasks = {}
  for i = 1, connections do tasks[i] = hawser.spawn(modes[mode]) end
  for i = 1, connections do assert(tasks[i]:join()) end
  assert(mode ~= "yamux" or echo:stats().created == 1, "more than one connection")
end)
manager:close()
