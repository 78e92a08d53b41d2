--- lua-curl: GETs through one easy handle, which keeps its connection.
-- The version that Debian packages has no multi interface: it does one request at a time, whatever the number of
-- connections asked for, and sleeps for every answer where the others find many at once.
local curl = require "curl"

local url, requests = arg[1], tonumber(arg[2])
local received

local easy = curl.easy_init()
easy:setopt(curl.OPT_URL, url)
easy:setopt(curl.OPT_NOSIGNAL, 1)
easy:setopt(curl.OPT_FAILONERROR, 1) -- it cannot tell the status; this makes 400 and above an error
easy:setopt(curl.OPT_WRITEFUNCTION, function(chunk)
  received[#received + 1] = chunk
  return #chunk
end)

for _ = 1, requests do
  received = {}
  assert(easy:perform())
  assert(#table.concat(received) > 0, "no body")
end
