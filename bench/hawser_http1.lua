--- hawser's HTTP/1.1 client: hawser_http1.lua URL requests connections [plain|options|two|peers|scripted]
-- plain: get, status checked, body read. options: also a fresh options table with two request headers for each request,
-- and one response header read. two: as plain, the server is two peers, for the balancer, and events are listened to.
-- peers: the server is ten peers. scripted: these, picked by a function.
local hawser = require "hawser"

local url, requests, connections, mode = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4] or "plain"
local origin, path = url:match "^(https?://[%d.]+:%d+)(/.*)$"
local started = 0

local manager = hawser.new { max_connections = connections }
local function lightest(peers)
  local best, least = nil, math.huge
  for i = 1, #peers do
    local load = peers[i].in_flight
    if load < least then best, least = peers[i], load end
  end
  return best
end

local peers = { origin }
if mode == "two" or mode == "peers" or mode == "scripted" then
  for i = 1, mode == "two" and 2 or 10 do peers[i] = { origin, id = "peer " .. i } end
end

local events = 0
if mode == "two" then
  for _, name in ipairs { "connect", "close", "breaker", "retry", "stale_reuse", "policy_error", "leak" } do
    manager:on(name, function() events = events + 1 end)
  end
end

local api = manager:upstream("bench", {
  peers = peers,
  balancer = mode == "scripted" and lightest or nil,
  limits = { connections = connections, per_peer = connections, dials = connections },
})

local function plain()
  while started < requests do
    started = started + 1
    local res = assert(api:get(path))
    assert(res.status == 200 and #res.body > 0)
  end
end

local function options()
  while started < requests do
    started = started + 1
    local res = assert(api:get(path, { headers = { accept = "text/plain", ["x-request-id"] = "4711" }, timeout = 2 }))
    assert(res.status == 200 and #res.body > 0 and res.headers["content-type"] == "text/plain")
  end
end

hawser.run(function()
  local work = assert(({ plain = plain, options = options, two = plain, peers = plain, scripted = plain })[mode],
    "mode is plain, options, two, peers or scripted")
  if origin:find "^https" then -- alone, so that the others find its session
    started = started + 1
    assert(api:get(path))
  end
  local tasks = {}
  for i = 1, connections do tasks[i] = hawser.spawn(work) end
  for i = 1, connections do assert(tasks[i]:join()) end
end)
assert(mode ~= "two" or events > 0)
manager:close()
