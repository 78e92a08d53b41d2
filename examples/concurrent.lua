--- Many requests at once over few connections.
--     lua examples/concurrent.lua http://127.0.0.1:8080/ [REQUESTS [CONNECTIONS]]
local hawser = require "hawser"

local url = assert(arg[1], "usage: concurrent.lua URL [REQUESTS [CONNECTIONS]]")
local requests, connections = tonumber(arg[2] or 100), tonumber(arg[3] or 8)

-- An upstream is a name for the peers behind it, with limits. Those are exact: request number 9 waits
-- until one of the 8 connections is free, and every connection is used again.
local origin, path = url:match "^(http://[^/]+)(.*)$"
local m = hawser.new()
local api = m:upstream("site", { peers = { origin }, limits = { per_peer = connections } })

local calls = {}
for i = 1, requests do
  calls[i] = function() return api:get(path ~= "" and path or "/") end
end

-- Runs them as tasks side by side. An outcome is { true, what the function returned } in the order of
-- the calls, or { nil, error } when it raised.
local ok, bytes = 0, 0
for _, outcome in ipairs(hawser.all(calls)) do
  local res, err = outcome[2], outcome[3]
  if res then
    ok, bytes = ok + 1, bytes + #res.body
  else
    print(err)
  end
end

local stats = api:stats()
print(("%d of %d requests, %d bytes"):format(ok, requests, bytes))
print(("%d connections dialled, used again %d times"):format(stats.created, stats.reused))
m:close()
os.exit(ok == requests and 0 or 1, true)
