--- Real servers for specs: each on free ports of the loopback, in a folder of its own under /tmp.
local hawser = require "hawser"
local Postgres = require "examples.postgres"
local server = require "spec.support.server"

local Server = server.Server
local output, read_file, write_file = server.output, server.read_file, server.write_file
local find_program, is_root = server.find_program, server.is_root
local create, start_on_port, run_until_ready = server.create, server.start_on_port, server.run_until_ready
local ports_of, probe_tcp = server.ports_of, server.probe_tcp

local servers = {
  program = server.program,
  certificate = server.certificate,
  module = server.module,
  free_port = server.free_port,
}

-- faultd ---------------------------------------------------------------------------------------------

local Faultd = setmetatable({}, { __index = Server })
Faultd.__index = Faultd

--- tests/programs/faultd.c: fields http, http6, raw, h2, control, blackhole and closed are its ports,
-- `unix` and `unix_raw` the paths of its sockets.
function servers.faultd()
  local program = servers.program "faultd"
  local self = create(Faultd, {})
  self.unix, self.unix_raw = self.dir .. "/http", self.dir .. "/http.raw"
  return run_until_ready(self, ports_of(self), program, "--unix", self.unix)
end

--- Asks the control port: `ask "seen/POST/key"`; the answer is a number. Waits like any request does.
function Faultd:ask(question)
  self.asking = self.asking or hawser.new()
  local url = ("http://127.0.0.1:%d/%s"):format(self.control, question)
  local res = assert(self.asking:get(url, { timeout = server.PATIENCE }))
  return assert(tonumber(res.body), res.body)
end

function Faultd:stop()
  if self.asking then self.asking:close() end
  self.asking = nil
  Server.stop(self)
end

--- tests/programs/relay.c before a port of the loopback: the field called as a rule ("fin:100") is the port where
-- connections come to grief that way.
function servers.relay(port, ...)
  local rules, count = { ... }, 0
  local self = create(Server, {})
  return run_until_ready(self, function(line)
    count = count + 1
    self[rules[count]] = tonumber(line)
  end, servers.program "relay", port, ...)
end

-- yamuxd ---------------------------------------------------------------------------------------------

--- tests/programs/yamuxd.go, hashicorp's own yamux: fields server and client are its ports, unix a path; with
-- `relayed`, a port of the loopback, relay is the port that leads there.
function servers.yamuxd(relayed)
  local self = create(Server, {})
  self.unix = self.dir .. "/yamux"
  return run_until_ready(self, ports_of(self), servers.program "yamuxd", "--unix", self.unix,
    "--relay", relayed and "127.0.0.1:" .. relayed or "")
end

-- Name servers ---------------------------------------------------------------------------------------

local Namesd = setmetatable({}, { __index = Server })
Namesd.__index = Namesd

--- tests/programs/namesd.c: fields dns, control, here and four are its ports.
function servers.namesd()
  local self = create(Namesd, {})
  return run_until_ready(self, ports_of(self), servers.program "namesd")
end

--- Tells the control port a line, and returns its answer.
function Namesd:tell(line, ...)
  self.asking = self.asking or hawser.new()
  local control = self.asking:upstream "control"
    or self.asking:upstream("control", { peers = { "tcp://127.0.0.1:" .. self.control } })
  line = select("#", ...) > 0 and line:format(...) or line
  return assert(control:with(function(conn)
    assert(conn:write(line .. "\n"))
    return conn:read "line"
  end))
end

--- Gives names their answers: `set { ["a.test"] = "60 127.0.0.1", ... }`.
function Namesd:set(names)
  for name, words in pairs(names) do
    assert(self:tell("set %s %s", name, words) == "ok", name)
  end
end

--- How often it was asked for the name's A and AAAA.
function Namesd:asked(name)
  local four, six = self:tell("asked " .. name):match "^(%d+) (%d+)$"
  return tonumber(four), tonumber(six)
end

Namesd.stop = Faultd.stop

--- Debian's dnsmasq, which knows what `configuration` says and asks nobody else; `port` on 127.0.0.1.
function servers.dnsmasq(configuration)
  local program = find_program "dnsmasq"
  return start_on_port(Server, function(self)
    write_file(self.dir .. "/conf", configuration)
    local user = is_root() and "--user=root" or "--user="
    self:run("TERM", program, "--keep-in-foreground", "--conf-file=" .. self.dir .. "/conf", "--port=" .. self.port,
      "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts", "--no-daemon", user)
  end)
end

--- Turns bytes into what /raw/HEX, /split/HEX and "+hex HEX" take.
function servers.hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- nginx ----------------------------------------------------------------------------------------------

local nginx_configuration = [[
daemon off;
master_process off;
pid @DIR@/nginx.pid;
error_log stderr warn;
@USER@
events { worker_connections 1024; }
http {
  access_log off;
  default_type text/plain;
  keepalive_requests 1000000;
  client_max_body_size 64m;
  client_body_temp_path @DIR@/body;
  proxy_temp_path @DIR@/proxy;
  fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi;
  scgi_temp_path @DIR@/scgi;
  server {
    listen 127.0.0.1:@PORT@;
    @LISTEN6@
    listen unix:@DIR@/socket;
    listen 127.0.0.1:@TLS@ ssl;
    listen 127.0.0.1:@H2@ ssl http2;
    listen 127.0.0.1:@H2C@ http2;
    ssl_certificate @CERTIFICATES@/good.pem;
    ssl_certificate_key @CERTIFICATES@/leaf.key;
    @MORE@
    root @DIR@/www;
    add_header X-Connection $connection;
    add_header X-Request $connection_requests;
    location = /hello { return 200 "hello from nginx\n"; }
    location = /agent { return 200 $http_user_agent; }
    location = /host { return 200 $http_host; }
    location = /query { return 200 $args; }
    location = /method { return 200 $request_method; }
    location = /moved { return 301 /hello; }
    location = /secured { return 301 https://127.0.0.1:@TLS@/hello; }
    location = /exposed { return 301 http://127.0.0.1:@PORT@/hello; }
    location = /tls { return 200 "$ssl_protocol $ssl_server_name $ssl_session_reused $ssl_client_s_dn"; }
    location = /empty { return 204; }
    location = /broken { return 503; }
    location = /status { stub_status; }
    location /hinted/ { keepalive_timeout 60s 30s; alias @DIR@/www/; }
    location /short/ { keepalive_timeout 60s 2s; alias @DIR@/www/; }
    location /once/ { keepalive_timeout 0; alias @DIR@/www/; }
    location /limited/ { limit_rate 64k; alias @DIR@/www/; }
    location /upload/ { dav_methods PUT DELETE; create_full_put_path on; }
    location = /echo {
      client_body_in_single_buffer on;
      proxy_set_header X-Body $request_body;
      proxy_pass http://unix:@DIR@/socket:/reflect;
    }
    location = /reflect { return 200 "$request_method $http_x_body"; }
  }
}
]]

local function has_ipv6()
  return read_file "/proc/net/if_inet6":find("%S") ~= nil
end

-- Its ports are opened one after the other.
local function probe_nginx(manager, _, self)
  return probe_tcp(manager, self.h2c)
end

--- Debian's nginx: `port` on 127.0.0.1 and, when `has_ipv6`, on ::1; `unix` is its socket; `tls` the port where it
-- speaks TLS as good.pem, `h2` where it also offers HTTP/2 there, `h2c` where it speaks that in the clear; all with the
-- directives of `more`, a string that may be left out. /1k and /1m are files of 1 KiB
-- and 1 MiB; PUT and DELETE work below /upload/; POST /echo answers with the body; /tls says what was agreed on.
function servers.nginx(more)
  local program = find_program "nginx"
  return start_on_port(Server, function(self)
    self.unix, self.has_ipv6 = self.dir .. "/socket", has_ipv6()
    self.tls, self.h2, self.h2c = servers.free_port(), servers.free_port(), servers.free_port()
    output("mkdir", "-p", self.dir .. "/www/upload")
    output("chmod", "-R", "755", self.dir)
    write_file(self.dir .. "/www/1k", ("x"):rep(1024))
    write_file(self.dir .. "/www/1m", ("0123456789abcdef"):rep(65536))
    local values = {
      DIR = self.dir,
      PORT = self.port,
      TLS = self.tls,
      H2 = self.h2,
      H2C = self.h2c,
      CERTIFICATES = servers.certificate "",
      MORE = more or "",
      USER = is_root() and "user root;" or "",
      LISTEN6 = self.has_ipv6 and ("listen [::1]:%d;"):format(self.port) or "",
    }
    write_file(self.dir .. "/nginx.conf", (nginx_configuration:gsub("@(%u[%u%d]*)@", values)))
    self:run("TERM", program, "-p", self.dir, "-c", self.dir .. "/nginx.conf", "-e", "stderr")
  end, probe_nginx)
end

-- TLS ------------------------------------------------------------------------------------------------

--- OpenSSL's s_server as one of the test certificates; the rest are options of the command: "-tls1_1". It takes one
-- connection at a time. What it does is among the options:
--
--     -rev      sends each line back, reversed
--     -HTTP     answers a GET with the file of that name from `files`, as it is, and closes
--     neither   says what is typed, and obeys some letters that stand alone in a line
-- @param files table? texts by their names
function servers.openssl(certificate, files, ...)
  local program = find_program "openssl"
  local options = { ... }
  local has_own_key = certificate == "weak" or certificate == "rsa"
  local key = servers.certificate((has_own_key and certificate or "leaf") .. ".key")
  local pem = read_file(servers.certificate(certificate .. ".pem"))
  local leaf, chain = pem:match "^(.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-\n)(.*)$"
  return start_on_port(Server, function(self)
    for name, text in pairs(files or {}) do write_file(self.dir .. "/" .. name, text) end
    write_file(self.dir .. "/leaf.pem", leaf)
    if chain ~= "" then
      write_file(self.dir .. "/chain.pem", chain)
      options[#options + 1], options[#options + 2] = "-cert_chain", "chain.pem"
    end
    self:run("TERM", "sh", "-c", [[cd "$1" && shift && mkfifo in && exec "$@" <>in]], "sh", self.dir,
      program, "s_server", "-accept", "127.0.0.1:" .. self.port, "-cert", "leaf.pem", "-key", key,
      (unpack or table.unpack)(options))
  end)
end

--- What a person at the terminal of a server of servers.openssl would type.
function Server:type(line)
  write_file(self.dir .. "/in", line .. "\n")
end

--- socat as a server of TLS before another port: what is said there comes through, FIN as close_notify.
function servers.tls_front(port)
  local program = find_program "socat"
  return start_on_port(Server, function(self)
    self:run("TERM", program, ("OPENSSL-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork,backlog=64,verify=0,cert=%s,key=%s")
      :format(self.port, servers.certificate "good.pem", servers.certificate "leaf.key"),
      "TCP:127.0.0.1:" .. port)
  end)
end

-- Redis ----------------------------------------------------------------------------------------------

--- Debian's redis-server: `port` and `unix`; with `password` it wants AUTH.
function servers.redis(password)
  local program = find_program "redis-server"
  return start_on_port(Server, function(self)
    self.unix = self.dir .. "/socket"
    local options = { "--bind", "127.0.0.1", "--port", self.port, "--unixsocket", self.unix, "--dir", self.dir,
      "--save", "", "--appendonly", "no", "--loglevel", "warning" }
    if password then
      options[#options + 1] = "--requirepass"
      options[#options + 1] = password
    end
    self:run("TERM", program, (unpack or table.unpack)(options))
  end)
end

-- PostgreSQL -----------------------------------------------------------------------------------------

-- It refuses to run as root. setpriv and env put themselves in the place of the command, so that the
-- guard's signal reaches it.
local function as_postgres(...)
  if not is_root() then return ... end
  return "setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "env", "HOME=/tmp", ...
end

-- It listens before it is ready, and refuses those who start up before.
local function probe_postgres(manager, port)
  return Postgres.connect(manager, "tcp://127.0.0.1:" .. port, "hawser", "postgres").upstream
end

-- It wants its key in a file that nobody else may read, and refuses any other.
local function copy_for_postgres(from, to)
  output("install", "-m", "600", from, to)
  if is_root() then output("chown", "postgres:", to) end
end

--- Debian's PostgreSQL: `port`, and `unix`, the path of its socket. The user hawser needs no password
-- and may do everything; the database is postgres. With `tls`, { cert =, key = } as paths, it offers TLS.
function servers.postgres(tls)
  local initdb = find_program "initdb"
  local program = find_program "postgres"
  return start_on_port(Server, function(self)
    local data = self.dir .. "/data"
    self.unix = ("%s/.s.PGSQL.%d"):format(self.dir, self.port)
    if is_root() then output("chown", "postgres:", self.dir) end
    output(as_postgres(initdb, "--pgdata=" .. data, "--auth=trust", "--username=hawser", "--encoding=UTF8",
      "--no-locale", "--no-sync"))
    local cert, key = self.dir .. "/cert.pem", self.dir .. "/key.pem"
    if tls then
      copy_for_postgres(tls.cert, cert)
      copy_for_postgres(tls.key, key)
    end
    -- SIGINT is its "fast" shutdown; SIGTERM would wait for every client to leave.
    self:run("INT", as_postgres(program, "-D", data, "-p", self.port, "-k", self.dir,
      "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=1MB",
      "-c", "ssl=" .. (tls and "on" or "off"), "-c", "ssl_cert_file=" .. cert, "-c", "ssl_key_file=" .. key))
  end, probe_postgres)
end

-- SMTP -----------------------------------------------------------------------------------------------

--- Debian's aiosmtpd, which files messages: with `tls`, { cert =, key = } as paths, it takes none outside TLS.
function servers.smtp(tls)
  local program = find_program "aiosmtpd"
  local options = tls and { "--tlscert", tls.cert, "--tlskey", tls.key } or {}
  return start_on_port(Server, function(self)
    self.mail = self.dir .. "/mail"
    self:run("TERM", "sh", "-c", [[cd "$1" && shift && exec "$@" -c aiosmtpd.handlers.Mailbox mail]], "sh", self.dir,
      program, "-n", "-l", "127.0.0.1:" .. self.port, (unpack or table.unpack)(options))
  end)
end

return servers
