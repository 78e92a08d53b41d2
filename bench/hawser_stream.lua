--- hawser's streaming: hawser_stream.lua URL
-- Reads one large body chunk by chunk, discards it, and checks its length.
local hawser = require "hawser"

hawser.run(function()
  local res = assert(hawser.get(arg[1], { stream = true }))
  local expected, received = tonumber(res.headers["content-length"]), 0
  assert(res.status == 200)
  while true do
    local chunk, err = res:read()
    if not chunk then
      assert(not err, err)
      break
    end
    received = received + #chunk
  end
  assert(received == expected, "the body ended early")
end)
