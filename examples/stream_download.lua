--- Downloads a URL into a file without ever holding the whole of it in memory.
--     lua examples/stream_download.lua http://127.0.0.1:8080/big FILE
local hawser = require "hawser"

local url, path = arg[1], arg[2]
assert(url and path, "usage: stream_download.lua URL FILE")

hawser.run(function()
  -- `stream` returns at the headers; `timeout` bounds the wait for those. Silence in the body is
  -- bounded by timeouts.read, its length by nothing.
  local res = assert(hawser.get(url, { stream = true, timeout = 5 }))
  assert(res.status == 200, res.status)

  local file = assert(io.open(path, "wb"))
  local bytes = 0
  -- While the file is being written nothing is read: the server is slowed down to our pace.
  local chunk, err = res:read()
  while chunk do
    file:write(chunk)
    bytes = bytes + #chunk
    chunk, err = res:read()
  end
  file:close()
  if err then error(err) end
  print(("%d bytes"):format(bytes))
end)
