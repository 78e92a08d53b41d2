--- Frames of HTTP/2 as steps of faultd's h2 service (tests/programs/faultd.c): what a misbehaving peer sends.
-- A step for a stream is about the one that the request came on, unless an id is given.
local frames = {
  DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7,
  WINDOW_UPDATE = 8, CONTINUATION = 9,
}

frames.ACK, frames.END_STREAM, frames.END_HEADERS, frames.PADDED = 1, 1, 4, 8

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- An unsigned number of so many bytes, the highest first, in hex.
function frames.number(value, size)
  return ("%0" .. 2 * size .. "x"):format(value)
end

--- The path of a request that is answered by these steps.
function frames.play(...)
  return "/play/" .. table.concat({ ... }, "+")
end

--- Any frame. `payload` is in hex, and may have repetitions "HEX,HEX*N".
function frames.raw(type, flags, id, payload)
  return ("frame.%d.%d.%s.%s"):format(type, flags, id, payload or "")
end

--- The same frame many times.
function frames.times(count, step)
  return count .. "*" .. step
end

-- HPACK's integers (RFC 7541, 5.1).
local function integer(value, bits, pattern)
  local most = 2 ^ bits - 1
  if value < most then return string.char(pattern + value) end
  local bytes = { string.char(pattern + most) }
  value = value - most
  while value >= 128 do
    bytes[#bytes + 1] = string.char(value % 128 + 128)
    value = math.floor(value / 128)
  end
  return table.concat(bytes) .. string.char(value)
end

--- A field in hex: as it is, without Huffman, outside the table.
function frames.field(name, value)
  return hex("\0" .. integer(#name, 7, 0) .. name .. integer(#value, 7, 0) .. value)
end

--- A field of so many bytes 'x' that enters the table, in hex with a repetition; frames.AGAIN is it once more.
function frames.large_field(name, size)
  return ("%s,78*%d"):format(hex("\64" .. integer(#name, 7, 0) .. name .. integer(size, 7, 0)), size)
end

frames.AGAIN = "be"

--- A header block in hex: of { name, value } pairs in that order.
function frames.block(fields)
  local coded = {}
  for i, field in ipairs(fields) do coded[i] = frames.field(field[1], field[2]) end
  return table.concat(coded)
end

--- HEADERS of these fields; END_HEADERS unless other flags are given.
function frames.headers(fields, flags, id)
  return frames.raw(frames.HEADERS, flags or frames.END_HEADERS, id or "m", frames.block(fields))
end

--- DATA, with END_STREAM unless other flags are given.
function frames.data(text, flags, id)
  return frames.raw(frames.DATA, flags or frames.END_STREAM, id or "m", hex(text))
end

--- SETTINGS of one setting.
function frames.setting(name, value)
  return frames.raw(frames.SETTINGS, 0, 0, frames.number(name, 2) .. frames.number(value, 4))
end

return frames
