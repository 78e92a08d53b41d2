--- gRPC without a library: a unary and a server-streaming call over streams of HTTP/2, with messages framed by hand.
--
--     lua examples/grpc.lua h2c://127.0.0.1:50051 /hawser.Echo/Say "good morning" /hawser.Echo/Count 3
--
-- Messages are bytes here; those of a real service come from a protocol buffer library.
local hawser = require "hawser"

local url, unary, message, streaming, request = ...

-- One byte of flags (0: not compressed), the length in four bytes, the message.
local function framed(text)
  local n = #text
  return string.char(0, math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
    .. text
end

-- The first message of the bytes and what stands behind it; nil: there is no whole one yet.
local function unframed(bytes)
  if #bytes < 5 then return nil end
  local a, b, c, d = bytes:byte(2, 5)
  local n = ((a * 256 + b) * 256 + c) * 256 + d
  if #bytes < 5 + n then return nil end
  return bytes:sub(6, 5 + n), bytes:sub(6 + n)
end

-- gRPC's own verdict stands in the trailers, or, where there is nothing else, in the headers.
local function verdict(s)
  local fields = s:trailers() or s:headers()
  local status = fields and fields["grpc-status"]
  if status == "0" then return true end
  if not status then return nil, "an answer without grpc-status" end
  return nil, ("grpc-status %s: %s"):format(status, fields["grpc-message"] or "")
end

--- Calls `method` with one message, and `on_message` with each that comes back.
local function call(api, method, text, on_message)
  local s, err = api:open_stream { path = method, headers = { ["content-type"] = "application/grpc" } }
  if not s then return nil, err end
  -- A server may have its verdict before it has heard all; what else goes wrong here, receive() tells.
  if s:send(framed(text)) then s:finish() end
  local bytes = ""
  local chunk, failure = s:receive()
  while chunk do
    bytes = bytes .. chunk
    local answer, rest = unframed(bytes)
    while answer do
      on_message(answer)
      bytes = rest
      answer, rest = unframed(bytes)
    end
    chunk, failure = s:receive()
  end
  if failure then return nil, failure end
  return verdict(s)
end

local failed = hawser.run(function()
  local m = hawser.new()
  local api = m:upstream("grpc", { peers = { url } })
  local ok, err = call(api, unary, message, function(answer) print("unary", answer) end)
  if ok and streaming then
    ok, err = call(api, streaming, request, function(answer) print("streamed", answer) end)
  end
  m:close()
  if not ok then return tostring(err) end
end)

if failed then
  io.stderr:write(failed, "\n")
  os.exit(1, true)
end
