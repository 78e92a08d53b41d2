--- lua-http: keep-alive connections, each with its loop, on one cqueue.
-- lua-http pools nothing; so this keeps the connection objects itself and makes each request a new stream on one.
local cqueues = require "cqueues"
local client = require "http.client"
local http_headers = require "http.headers"

local url, requests, connections = arg[1], tonumber(arg[2]), tonumber(arg[3])
local host, port, path = url:match "^http://([%d.]+):(%d+)(/.*)$"
local started = 0

local function get(connection)
  local stream = assert(connection:new_stream())
  local headers = http_headers.new()
  headers:append(":method", "GET")
  headers:append(":scheme", "http")
  headers:append(":authority", host .. ":" .. port)
  headers:append(":path", path)
  assert(stream:write_headers(headers, true))
  local answer = assert(stream:get_headers())
  local body = assert(stream:get_body_as_string())
  assert(answer:get ":status" == "200" and #body > 0, "not 200, or no body")
end

local queue = cqueues.new()
for _ = 1, connections do
  queue:wrap(function()
    local connection = assert(client.connect { host = host, port = tonumber(port), version = 1.1 })
    while started < requests do
      started = started + 1
      get(connection)
    end
    connection:close()
  end)
end
assert(queue:loop())
