--- Fetches a URL and prints what came.
--     lua examples/http_get.lua http://127.0.0.1:8080/
local hawser = require "hawser"

local url = assert(arg[1], "usage: http_get.lua URL")

-- Outside of a task this call blocks; inside one (concurrent.lua) only the task waits.
local res, err = hawser.get(url, { headers = { accept = "*/*" }, timeout = 5 })
if not res then
  io.stderr:write(tostring(err), "\n") -- one line; err.kind is what a program decides by
  os.exit(1, true)
end

print(("HTTP/%s %d %s"):format(res.version, res.status, res.reason))
for name, value in res.headers:each() do print(name .. ": " .. value) end
print()
io.write(res.body)
