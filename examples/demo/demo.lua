--- Drives four servers, good and bad, for about ten seconds and shows what the pool does with them.
--     lua5.4 examples/demo/demo.lua --backends PROGRAM [--short]
-- PROGRAM is backends.c, built. --short takes two seconds. It fails if any error reached a caller.
local hawser = require "hawser"

local HTTP_TASKS, ECHO_TASKS, BURST_TASKS = 24, 8, 12
local BURST_EVERY = 0.03 -- long enough for a connection to grow old under the hasty server

-- The servers -----------------------------------------------------------------------------------------

-- They end when this end of the pipe closes.
local function start_backends(program)
  local pipe = assert(io.popen("exec '" .. program .. "'", "r"))
  local ports = {}
  for line in pipe:lines() do
    if line == "ready" then return pipe, ports end
    local name, port = line:match "^(%w+) (%d+)$"
    ports[name] = port
  end
  error("cannot start " .. program)
end

-- Latencies -------------------------------------------------------------------------------------------

-- A histogram whose buckets grow by 5 %: small, and never more than that far from the truth.
local Histogram = {}
Histogram.__index = Histogram

local GROWTH, SMALLEST = math.log(1.05), 1e-5

function Histogram.new() return setmetatable({ count = 0, buckets = {}, highest = 0 }, Histogram) end

function Histogram:record(seconds)
  local bucket = math.max(0, math.ceil(math.log(seconds / SMALLEST) / GROWTH))
  self.buckets[bucket] = (self.buckets[bucket] or 0) + 1
  self.count, self.highest = self.count + 1, math.max(self.highest, bucket)
end

--- The latency that a share of the records stays below, in milliseconds; nil without records.
function Histogram:quantile(share)
  local left = share * self.count
  for bucket = 0, self.highest do
    left = left - (self.buckets[bucket] or 0)
    if left <= 0 and self.count > 0 then return SMALLEST * math.exp(bucket * GROWTH) * 1000 end
  end
end

-- What was seen of one peer: in this interval, and in all.
local Peer = {}
Peer.__index = Peer

function Peer.new(name, id)
  local self = setmetatable({ name = name, id = id, all = Histogram.new(), requests = 0, reused = 0 }, Peer)
  self:begin_interval()
  return self
end

function Peer:begin_interval()
  self.recent, self.began = Histogram.new(), hawser.now()
end

function Peer:record(began, reused)
  local took = hawser.now() - began
  self.recent:record(took)
  self.all:record(took)
  self.requests = self.requests + 1
  if reused then self.reused = self.reused + 1 end
end

-- The load --------------------------------------------------------------------------------------------

local Traffic = {}
Traffic.__index = Traffic

function Traffic.new(ports)
  local m = hawser.new()
  local self = setmetatable({ manager = m, peers = {}, order = {}, errors = 0, replays = 0 }, Traffic)
  for _, name in ipairs { "steady", "slow", "hasty", "echo" } do
    local peer = Peer.new(name, "127.0.0.1:" .. ports[name])
    self.peers[peer.id] = peer
    self.order[#self.order + 1] = peer
  end
  local function url(scheme, name) return scheme .. self.order[name].id end
  self.api = m:upstream("api", { peers = { url("http://", 1), url("http://", 2), url("http://", 3) } })
  self.echo = m:upstream("echo", { peers = { url("tcp://", 4) } })
  return self
end

function Traffic:fail(err)
  self.errors = self.errors + 1
  self.last_error = err
end

function Traffic:get()
  local began = hawser.now()
  local res, err = self.api:get "/hello"
  if not res then return self:fail(err) end
  self.peers[res.peer]:record(began, res.reused)
end

-- One lease for each exchange: what is measured is the pool, not the echo.
function Traffic:exchange()
  local began, reused = hawser.now(), false
  local line, err = self.echo:with(function(conn)
    reused, conn.data.is_used = conn.data.is_used, true
    conn:write "hello\r\n"
    return conn:read "line"
  end)
  if line ~= "hello" then return self:fail(err or line) end
  self.order[4]:record(began, reused)
end

-- Some tasks never rest; others come in bursts and let their connections grow old in between.
function Traffic:start(seconds)
  local deadline = hawser.now() + seconds
  local function start(count, pause, work)
    for _ = 1, count do
      hawser.spawn(function()
        while hawser.now() < deadline do
          work(self)
          if pause then hawser.sleep(pause) end
        end
      end)
    end
  end
  start(HTTP_TASKS, nil, self.get)
  start(BURST_TASKS, BURST_EVERY, self.get)
  start(ECHO_TASKS, nil, self.exchange)
  return deadline
end

-- What is shown ---------------------------------------------------------------------------------------

local HEADINGS = { "peer", "requests/s", "p50 ms", "p99 ms", "in flight", "open", "idle", "reused" }
local ROW = "%-8s %11s %9s %9s %10s %6s %6s %8s"

local function figure(format, value) return value and format:format(value) or "-" end

-- The pool's own figures of each peer, by id.
local function pool_figures(traffic)
  local by_id = {}
  for _, upstream in ipairs { traffic.api, traffic.echo } do
    for _, view in ipairs(upstream:peers()) do by_id[view.id] = view end
  end
  return by_id
end

local function row(peer, view)
  local seconds = math.max(hawser.now() - peer.began, 1e-3)
  return ROW:format(peer.name, figure("%.0f", peer.recent.count / seconds), figure("%.2f", peer.recent:quantile(.5)),
    figure("%.2f", peer.recent:quantile(.99)), view.in_flight, view.connections, view.idle,
    figure("%.1f %%", peer.requests > 0 and 100 * peer.reused / peer.requests or nil))
end

local function table_of(traffic)
  local figures, lines = pool_figures(traffic), { ROW:format((unpack or table.unpack)(HEADINGS)) }
  for _, peer in ipairs(traffic.order) do
    lines[#lines + 1] = row(peer, figures[peer.id])
    peer:begin_interval()
  end
  return lines
end

local function is_terminal()
  local result = os.execute "test -t 1" -- true, or 0 on Lua 5.1
  return result == true or result == 0
end

-- On a terminal the table is drawn over the one before; elsewhere one follows the other.
local function show(lines, shown_before, on_terminal)
  if on_terminal and shown_before then io.write(("\27[%dA"):format(#lines)) end
  for _, line in ipairs(lines) do io.write(line, on_terminal and "\27[K\n" or "\n") end
  if not on_terminal then io.write "\n" end
  io.flush()
end

local function closing_reasons(stats)
  local words = {}
  for reason, count in pairs(stats.closed) do
    if count > 0 then words[#words + 1] = ("%d %s"):format(count, reason) end
  end
  table.sort(words)
  return #words > 0 and table.concat(words, ", ") or "none"
end

local function sum(field, ...)
  local total = 0
  for _, stats in ipairs { ... } do total = total + stats[field] end
  return total
end

local function summarize(traffic)
  local api, echo = traffic.api:stats(), traffic.echo:stats()
  local requests = 0
  for _, peer in ipairs(traffic.order) do
    requests = requests + peer.requests
    print(("%-8s %7d requests, p50 %s ms, p99 %s ms"):format(peer.name, peer.requests,
      figure("%.2f", peer.all:quantile(.5)), figure("%.2f", peer.all:quantile(.99))))
  end
  print(("\n%d requests over %d connections dialled, used again %d times"):format(requests,
    sum("created", api, echo), sum("reused", api, echo)))
  print(("connections closed: %s"):format(closing_reasons(api)))
  print(("replayed: %d (the connection turned out dead; the request went again on a fresh one)")
    :format(sum("replayed", api, echo)))
  print(("errors that reached a caller: %d%s"):format(traffic.errors,
    traffic.errors > 0 and ", the last: " .. tostring(traffic.last_error) or ""))
end

-- The program -----------------------------------------------------------------------------------------

local function read_arguments(words)
  local options = { seconds = 10, every = 0.5 }
  local i = 1
  while words[i] do
    if words[i] == "--short" then
      options.seconds = 2
    elseif words[i] == "--backends" then
      i = i + 1
      options.backends = words[i]
    else
      options.backends = nil
      break
    end
    i = i + 1
  end
  if options.backends then return options end
  io.stderr:write "usage: demo.lua --backends PROGRAM [--short]\n"
  os.exit(2)
end

local options = read_arguments(arg)
local pipe, ports = start_backends(options.backends)
local traffic = Traffic.new(ports)
local on_terminal = is_terminal()
local every = on_terminal and options.every or 1

print(("Three HTTP servers and an echo, %d tasks, %d seconds.\n"):format(
  HTTP_TASKS + BURST_TASKS + ECHO_TASKS, options.seconds))
hawser.run(function()
  local deadline, shown = traffic:start(options.seconds), false
  while hawser.now() + every <= deadline + 0.01 do
    hawser.sleep(every)
    show(table_of(traffic), shown, on_terminal)
    shown = true
  end
end)
print()
summarize(traffic)
traffic.manager:close()
pipe:close()
os.exit(traffic.errors == 0 and 0 or 1, true)
