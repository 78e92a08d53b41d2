--- Uploads a file piece by piece, with PUT and chunked transfer coding.
--     lua examples/upload_producer.lua http://127.0.0.1:8080/upload/name FILE
local hawser = require "hawser"

local url, path = arg[1], arg[2]
assert(url and path, "usage: upload_producer.lua URL FILE")

hawser.run(function()
  local file = assert(io.open(path, "rb"))

  -- A function as the body is a producer: it is called for the next piece when the connection takes
  -- more, so never faster than the server reads. It is a task of its own, so it may wait, too: it
  -- could read the pieces from another response.
  local function next_piece() return file:read(65536) end

  local res = assert(hawser.put(url, next_piece, { headers = { ["content-type"] = "application/octet-stream" } }))
  file:close()
  print(res.status, res.reason)
  assert(res.status < 300)
end)
