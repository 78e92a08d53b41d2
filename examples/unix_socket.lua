--- HTTP over a unix socket, as Docker, systemd or a local nginx offer it.
--     lua examples/unix_socket.lua /var/run/docker.sock /version
local hawser = require "hawser"

local socket, path = arg[1], arg[2] or "/"
assert(socket, "usage: unix_socket.lua SOCKET [PATH]")

-- What is spoken over a unix socket cannot be seen from its name, so it is said; without `protocol`
-- it would be raw, for leases.
local m = hawser.new()
local api = m:upstream("local", { protocol = "http1", peers = { "unix:" .. socket } })

local res = assert(api:get(path))
print(res.status, res.headers["content-type"])
io.write(res.body)
m:close()
