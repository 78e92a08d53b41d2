--- Real servers of HTTP/2 for specs, beside those of servers.lua. Where a server has a field `h2c`, that is a port of
-- 127.0.0.1 where it speaks HTTP/2 in the clear; at `tls` it does so as good.pem, by ALPN.
local server = require "spec.support.server"

local Server = server.Server

local h2_servers = {}

local function certificates()
  return server.certificate "leaf.key", server.certificate "good.pem"
end

-- What the servers of files have: /hello, /1k, /1m, and /packed.gz, whose bytes are of every kind.
local function write_files(dir)
  local bytes = {}
  for i = 0, 65535 do bytes[i + 1] = string.char((i * 167 + math.floor(i / 256)) % 256) end
  local files = {
    hello = "hello\n",
    ["1k"] = ("x"):rep(1024),
    ["1m"] = ("0123456789abcdef"):rep(65536),
    ["packed.gz"] = table.concat(bytes),
  }
  server.output("mkdir", "-p", dir .. "/www")
  for name, text in pairs(files) do server.write_file(dir .. "/www/" .. name, text) end
  server.output("chmod", "-R", "755", dir)
  return files
end

-- Ports are opened one after the other; this one is the last.
local function probe(field)
  return function(manager, _, self) return server.probe_tcp(manager, self[field]) end
end

--- nghttp2's nghttpd: the files, which its field `files` has as strings; it sends back what is posted, and the trailer
-- X-Sum behind every body.
-- @param options table? tls: true; more: list of nghttpd's own options
function h2_servers.nghttpd(options)
  options = options or {}
  local program = server.find_program "nghttpd"
  return server.start_on_port(Server, function(self)
    self.files = write_files(self.dir)
    local words = { "--address=127.0.0.1", "--htdocs=" .. self.dir .. "/www", "--echo-upload", "--trailer=x-sum: 218" }
    for _, word in ipairs(options.more or {}) do words[#words + 1] = word end
    if not options.tls then words[#words + 1] = "--no-tls" end
    words[#words + 1] = self.port
    if options.tls then
      words[#words + 1], words[#words + 2] = certificates()
    end
    self[options.tls and "tls" or "h2c"] = self.port
    self:run("TERM", program, (unpack or table.unpack)(words))
  end)
end

local h2o_configuration = [[
num-threads: 1
error-log: /dev/stderr
@USER@
listen: { host: 127.0.0.1, port: @H2C@ }
listen: { host: 127.0.0.1, port: @TLS@, ssl: { certificate-file: "@CERT@", key-file: "@KEY@" } }
hosts:
  default:
    paths:
      "/":
        file.dir: "@DIR@/www"
      "/behind":
        proxy.reverse.url: "http://127.0.0.1:@BEHIND@/"
]]

--- Debian's h2o: the files, which its field `files` has as strings.
-- @param behind integer the port of the server of HTTP/1.1 that answers below /behind/
function h2_servers.h2o(behind)
  local program = server.find_program "h2o"
  local key, cert = certificates()
  return server.start_on_port(Server, function(self)
    self.files = write_files(self.dir)
    self.h2c, self.tls = self.port, server.free_port()
    local values = { DIR = self.dir, H2C = self.h2c, TLS = self.tls, CERT = cert, KEY = key, BEHIND = behind,
      USER = server.is_root() and "user: root" or "" }
    server.write_file(self.dir .. "/conf", (h2o_configuration:gsub("@(%u[%u%d]*)@", values)))
    self:run("TERM", program, "-c", self.dir .. "/conf")
  end, probe "tls")
end

local haproxy_configuration = [[
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clear
  bind 127.0.0.1:@H2C@ proto h2
  default_backend http1
frontend secure
  bind 127.0.0.1:@TLS@ ssl crt @DIR@/both.pem alpn h2,http/1.1
  default_backend http1
frontend through
  bind 127.0.0.1:@THROUGH@ ssl crt @DIR@/both.pem alpn h2,http/1.1
  default_backend http2
backend http1
  server one 127.0.0.1:@HTTP1@
backend http2
  server one 127.0.0.1:@HTTP2@ proto h2
]]

--- Debian's haproxy in front of another server, to which it speaks HTTP/1.1, but HTTP/2 for what comes to the port
-- `through`, which is one of TLS like `tls`.
-- @param http1 integer the other server's port for HTTP/1.1
-- @param http2 integer its port for HTTP/2 in the clear
function h2_servers.haproxy(http1, http2)
  local program = server.find_program "haproxy"
  local key, cert = certificates()
  return server.start_on_port(Server, function(self)
    self.h2c, self.tls, self.through = self.port, server.free_port(), server.free_port()
    server.write_file(self.dir .. "/both.pem", server.read_file(cert) .. server.read_file(key))
    local values = { DIR = self.dir, H2C = self.h2c, TLS = self.tls, THROUGH = self.through, HTTP1 = http1,
      HTTP2 = http2 }
    server.write_file(self.dir .. "/conf", (haproxy_configuration:gsub("@(%u[%u%d]*)@", values)))
    self:run("TERM", program, "-db", "-f", self.dir .. "/conf")
  end, probe "through")
end

--- tests/programs/http2d.js in Node: also `http1`, its port for HTTP/1.1.
-- @param max_streams integer? what it announces as the most concurrent streams
function h2_servers.node(max_streams)
  local program = server.find_program "node"
  local key, cert = certificates()
  local self = server.create(Server, {})
  return server.run_until_ready(self, server.ports_of(self), program, "tests/programs/http2d.js", key, cert,
    max_streams)
end

-- Another Python may come first that does not see the system's packages.
local function find_python(module)
  for _, python in ipairs { "python3", "/usr/bin/python3" } do
    if server.output("sh", "-c", ("%s -c 'import %s' 2>/dev/null && echo yes"):format(python, module)) == "yes" then
      return python
    end
  end
  error("Python's " .. module .. " is not installed: run scripts/setup", 0)
end

--- tests/programs/grpcd.py: gRPC whose messages are plain bytes.
function h2_servers.grpc()
  local python = find_python "grpc"
  local key, cert = certificates()
  local self = server.create(Server, {})
  return server.run_until_ready(self, server.ports_of(self), python, "tests/programs/grpcd.py", key, cert)
end

return h2_servers
