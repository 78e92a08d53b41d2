--- One server of a spec: how it starts, when it is ready, and how it ends with the process that started it.
-- Every one runs under a shell that ends it when this process closes the pipe or dies, so a spec that
-- crashes leaves no server behind. Ready means that it can be used; nothing here sleeps.
local hawser = require "hawser"

local server = {}

-- How long a server may take until it listens or answers, on a machine busy with sanitizers.
server.PATIENCE = 10

-- Shells ---------------------------------------------------------------------------------------------

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

-- The interpreter may run with a sanitizer preloaded; that is for it alone.
local function command(...)
  local words = {}
  for i, word in ipairs { ... } do words[i] = quote(word) end
  return "unset LD_PRELOAD; exec " .. table.concat(words, " ")
end

function server.output(...)
  local pipe = assert(io.popen(command(...), "r"))
  local text = pipe:read "*a"
  pipe:close()
  return (text:gsub("%s+$", ""))
end

function server.write_file(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

function server.read_file(path)
  local file = io.open(path)
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

-- Finds a program, also where Debian hides PostgreSQL's. A spec without its server fails: a test that
-- was not run looks like one that passed.
function server.find_program(name)
  local places = ("PATH=$PATH:/usr/sbin; command -v %s || ls /usr/lib/postgresql/*/bin/%s 2>/dev/null | tail -n 1")
    :format(name, name)
  local path = server.output("sh", "-c", places)
  if path == "" then error(name .. " is not installed: run scripts/setup", 0) end
  return path
end

function server.is_root()
  return server.output("id", "-u") == "0"
end

-- The build tree that core.so is loaded from has the test programs, too; and for which Lua it is.
local function find_build()
  for template in package.cpath:gmatch "[^;]+" do
    local build, version = template:match "^(.*)/lua/([^/]+)/%?%.so$"
    if build and not build:find "^/usr/" then return build, version end
  end
  error("LUA_CPATH names no build tree: run scripts/spec", 0)
end

function server.program(name)
  local build = find_build()
  return build .. "/tests/" .. name
end

--- A file of tests/support/certificates: "root.pem", "leaf.key".
function server.certificate(name)
  return server.program("certificates/" .. name)
end

--- A Lua module from tests/modules.
function server.module(name)
  local build, version = find_build()
  local path = ("%s/tests/lua/%s/%s.so"):format(build, version, name)
  local open, message = package.loadlib(path, "luaopen_" .. name)
  return assert(open, message)()
end

function server.free_port()
  return assert(tonumber(server.output(server.program "faultd", "port")), "faultd is not built: run scripts/spec")
end

-- A server's life ------------------------------------------------------------------------------------

local Server = {}
Server.__index = Server
server.Server = Server

--- @param class table Server, or one that inherits from it
function server.create(class, fields)
  fields.dir = server.output("mktemp", "-d", "/tmp/hawser.XXXXXX")
  return setmetatable(fields, class)
end

-- Runs the command until the pipe to the shell closes; then it gets the signal and is waited for. A
-- Ctrl-C is for the test runner alone: its end closes the pipe.
local guard = [[
signal=$1 dir=$2 && shift 2
"$@" >"$dir/log" 2>&1 & pid=$!
trap '' HUP INT TERM
cat >/dev/null
kill -"$signal" "$pid" 2>/dev/null
wait "$pid" 2>/dev/null
rm -rf "$dir"
]]

function Server:run(signal, ...)
  self.pipe = assert(io.popen(command("sh", "-c", guard, "guard", signal, self.dir, ...), "w"))
end

function Server:log()
  return server.read_file(self.dir .. "/log")
end

-- An upstream whose connections are ready when the server is: most are when they take connections.
function server.probe_tcp(manager, port)
  return manager:upstream("probe", { peers = { "tcp://127.0.0.1:" .. port } })
end

local function becomes_ready(one, probe)
  local manager = hawser.new { breaker = false }
  local ready = probe(manager, one.port, one):ready(server.PATIENCE)
  manager:close()
  return ready
end

--- Ends the server, whose shell then removes its folder. Harmless when it was stopped before.
function Server:stop()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

-- What the program prints until it says that it is ready: a line goes to `note`. Opening the pipe waits until the
-- shell has opened its end; a program that does not start closes it again.
function server.run_until_ready(self, note, ...)
  server.output("mkfifo", self.dir .. "/ports")
  local run = [[trap '' HUP INT TERM; dir=$1; shift; "$@" >"$dir/ports"; rm -rf "$dir"]]
  self.pipe = assert(io.popen(command("sh", "-c", run, "run", self.dir, ...), "w"))
  for line in io.lines(self.dir .. "/ports") do
    if line == "ready" then return self end
    note(line)
  end
  self:stop()
  error((...) .. " does not start: run scripts/spec", 0)
end

-- Notes lines "NAME PORT" in the fields of that name.
function server.ports_of(self)
  return function(line)
    local name, port = line:match "^(%w+) (%d+)$"
    self[name] = tonumber(port)
  end
end

-- Between asking for a free port and listening on it somebody else may take it, who then answers in the server's
-- place: hence a look at what it says, and more than one try.
function server.start_on_port(class, start, probe)
  local log
  for _ = 1, 3 do
    local one = server.create(class, { port = server.free_port() })
    start(one)
    local is_ready = becomes_ready(one, probe or server.probe_tcp)
    log = one:log()
    if is_ready and not log:lower():find "address already in use" then return one end
    one:stop()
  end
  error("the server does not get ready:\n" .. log, 0)
end

return server
