--- A program: makes so many requests at once and prints how they ended. process_spec.lua runs it where
-- descriptors are short.
--     lua crowd.lua URL COUNT MAX_CONNECTIONS
local hawser = require "hawser"

local url, count, connections = arg[1], tonumber(arg[2]), tonumber(arg[3])
local m = hawser.new {
  max_connections = connections,
  limits = { connections = connections, per_peer = connections, dials = connections },
  timeouts = { queue = 60, request = 60 },
}

local calls = {}
for i = 1, count do
  calls[i] = function() return m:get(url) end
end

local ended = { ok = 0 }
for _, outcome in ipairs(hawser.all(calls)) do
  local res, err = outcome[2], outcome[3]
  local word = res and res.status == 200 and "ok" or tostring(err or res)
  ended[word] = (ended[word] or 0) + 1
end
m:close()
for word, times in pairs(ended) do print(times, word) end
