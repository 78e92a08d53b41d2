--- HTTPS to a server that wants a certificate of ours, under a root of our own; shows how TLS went.
--     lua examples/client_certificate.lua https://localhost:8443/ root.pem client.pem client.key
local hawser = require "hawser"

local url, root, certificate, key = arg[1], arg[2], arg[3], arg[4]
assert(url and root, "usage: client_certificate.lua URL ROOT [CERTIFICATE KEY]")

-- Paths or PEM text. Whoever trusts the system's roots and is asked for nothing needs none of this.
local m = hawser.new { tls = { ca = root, cert = certificate, key = key }, reuse = "never" }

m:on("connect", function(e) print(e.peer, e.resumed and "resumed" or "full handshake") end)

for _ = 1, 3 do -- each over a connection of its own: the first is what the others resume
  local res, err = m:get(url)
  if not res then
    print(err.code, err.message)
    break
  end
  print(res.status, res.body)
end

local stats = m:stats()
print(("%s: %d full, %d resumed"):format(hawser.TLS, stats.handshakes, stats.resumed))
m:close()
