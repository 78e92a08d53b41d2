--- Four servers, one of which gets slow, another dies, and one that speaks HTTP/2 is replaced: what a program that
-- talks to them through hawser sees.
--     lua5.4 examples/demo/demo.lua --backends FOLDER [--short]
-- FOLDER has backends and backend_h2, built. It takes 15 seconds, with --short 5. It fails if an error reached a
-- caller, or if the story went another way than it tells.
local hawser = require "hawser"

local TASKS, PAUSE = 24, 0.015 -- each asks, rests for so long, and asks again
local PEERS = { "red", "green", "blue" } -- of one upstream
local MANY = "violet" -- alone in another: it takes many requests at once on a connection
local ALL = { "red", "green", "blue", "violet" }

-- What happens, at which second, and to whom.
local STORY = {
  { at = 0, text = "All is well: three servers that answer in 3 to 6 ms." },
  { at = 3, mood = "slow", peer = "green", text = "green gets slow: 150 ms. Traffic moves to the others." },
  { at = 6, mood = "well", peer = "green", text = "green is well again." },
  { at = 7.5, mood = "dead", peer = "blue", text = "blue dies. Retries hide it, its breaker opens." },
  { at = 10.5, mood = "well", peer = "blue", text = "blue is back. Probes find that out." },
  { at = 12.5, leaves = true, text = "violet is replaced: it ends its connections in order (GOAWAY)." },
}
local SECONDS = 15

-- The servers -----------------------------------------------------------------------------------------

-- They end when this end of the pipe closes.
local function start_backend(program, ports)
  local pipe = assert(io.popen("exec '" .. program .. "'", "r"))
  for line in pipe:lines() do
    if line == "ready" then return pipe end
    local name, port = line:match "^(%w+) (%d+)$"
    ports[name] = port
  end
  error("cannot start " .. program)
end

-- The load --------------------------------------------------------------------------------------------

local Traffic = {}
Traffic.__index = Traffic

--- @param pace number what every time of the story is multiplied by
function Traffic.new(ports, pace)
  local m = hawser.new()
  local self = setmetatable({ manager = m, ports = ports, latencies = {}, errors = 0, retries = 0 }, Traffic)
  local peers = {}
  for i, name in ipairs(PEERS) do peers[i] = { "http://127.0.0.1:" .. ports[name], id = name } end
  -- The balancer and the retries are those that every upstream has. A breaker opens for 5 seconds unless told: too
  -- long for a story as short as this.
  self.api = m:upstream("api", { peers = peers, breaker = { open_for = 1 * pace, open_max = 2 * pace } })
  self.many = m:upstream("many", { peers = { { "h2c://127.0.0.1:" .. ports[MANY], id = MANY } } })
  self.served = {}
  for _, name in ipairs(ALL) do self.served[name] = { count = 0, seconds = 0 } end
  m:on("retry", function() self.retries = self.retries + 1 end)
  return self
end

function Traffic:get(api)
  local began = hawser.now()
  local res, err = api:get "/hello"
  if not res then
    self.errors, self.last_error = self.errors + 1, err
    return
  end
  local took, peer = hawser.now() - began, self.served[res.peer]
  self.latencies[#self.latencies + 1] = took
  peer.count, peer.seconds = peer.count + 1, peer.seconds + took
end

function Traffic:start(deadline)
  local function ask(api)
    while hawser.now() < deadline do
      self:get(api)
      hawser.sleep(PAUSE)
    end
  end
  for _ = 1, TASKS do
    hawser.spawn(ask, self.api)
    hawser.spawn(ask, self.many)
  end
end

--- Tells the servers' director, or violet itself; that is no part of the story's traffic.
function Traffic:direct(scene)
  if scene.mood then
    assert(hawser.get(("http://127.0.0.1:%s/%s/%s"):format(self.ports.director, scene.mood, scene.peer)))
  elseif scene.leaves then
    assert(hawser.get(("h2c://127.0.0.1:%s/leave"):format(self.ports[MANY])))
  end
end

-- What was seen ---------------------------------------------------------------------------------------

-- Notes what each peer has served in each interval.
local Chart = {}
Chart.__index = Chart

function Chart.new()
  local self = setmetatable({ columns = 0, most = 1 }, Chart)
  for _, name in ipairs(ALL) do self[name] = { last = { count = 0, seconds = 0 } } end
  return self
end

function Chart:note(served, seconds)
  self.columns = self.columns + 1
  for name, now in pairs(served) do
    local line = self[name]
    local count = now.count - line.last.count
    line[self.columns] = count / seconds
    line.mean = count > 0 and (now.seconds - line.last.seconds) / count
    line.last = { count = now.count, seconds = now.seconds }
    self.most = math.max(self.most, line[self.columns])
  end
end

local BLOCKS = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

local function block_of(rate, most)
  return rate == 0 and " " or BLOCKS[math.max(1, math.ceil(rate / most * #BLOCKS))]
end

--- One line for each peer: as blocks on a terminal, else as numbers, each the mean of four.
function Chart:lines(on_terminal)
  local lines = {}
  for i, name in ipairs(ALL) do
    local rates, words = self[name], {}
    if on_terminal then
      for column, rate in ipairs(rates) do words[column] = block_of(rate, self.most) end
    else
      for column = 4, self.columns, 4 do
        local sum = rates[column - 3] + rates[column - 2] + rates[column - 1] + rates[column]
        words[#words + 1] = ("%4.0f"):format(sum / 4)
      end
    end
    lines[i] = ("%-6s %s"):format(name, table.concat(words, on_terminal and "" or " "))
  end
  return lines
end

-- What is shown ---------------------------------------------------------------------------------------

local ROW = "  %-6s %10s %9s %10s %12s %10s"

local function table_of(traffic, chart)
  local lines = { ROW:format("peer", "requests/s", "mean ms", "in flight", "connections", "breaker") }
  for _, api in ipairs { traffic.api, traffic.many } do
    for _, view in ipairs(api:peers()) do
      local line = chart[view.id]
      lines[#lines + 1] = ROW:format(view.id, ("%.0f"):format(line[chart.columns] or 0),
        line.mean and ("%.1f"):format(line.mean * 1000) or "-", view.in_flight, view.connections, view.breaker)
    end
  end
  return lines
end

local function is_terminal()
  local result = os.execute "test -t 1" -- true, or 0 on Lua 5.1
  return result == true or result == 0
end

-- On a terminal a table stays below what is told, and is drawn over the one before; elsewhere there is none.
local Screen = {}
Screen.__index = Screen

function Screen.new() return setmetatable({ on_terminal = is_terminal(), height = 0, began = hawser.now() }, Screen) end

function Screen:draw(lines)
  if not self.on_terminal then return end
  if self.height > 0 then io.write(("\27[%dA"):format(self.height)) end
  for _, line in ipairs(lines) do io.write(line, "\27[K\n") end
  self.lines, self.height = lines, #lines
  io.flush()
end

function Screen:tell(text)
  if self.height > 0 then io.write(("\27[%dA"):format(self.height)) end
  self.height = 0
  io.write(("%5.1f s  %s"):format(hawser.now() - self.began, text), self.on_terminal and "\27[K\n" or "\n")
  if self.lines then self:draw(self.lines) end
  io.flush()
end

-- The program -----------------------------------------------------------------------------------------

local function read_arguments(words)
  local options, i = { pace = 1 }, 1
  while words[i] == "--short" or words[i] == "--backends" and words[i + 1] do
    if words[i] == "--short" then
      options.pace = 1 / 3
    else
      i = i + 1
      options.backends = words[i]
    end
    i = i + 1
  end
  if options.backends and not words[i] then return options end
  io.stderr:write "usage: demo.lua --backends FOLDER [--short]\n"
  os.exit(2)
end

-- Tells the breakers' changes as they come, and remembers those of blue.
local function watch_breakers(traffic, screen)
  local changes = {}
  traffic.manager:on("breaker", function(e)
    changes[#changes + 1] = e.peer .. " " .. e.reason
    screen:tell(("  the breaker of %s: %s"):format(e.peer, e.reason:gsub("_", " ")))
  end)
  return changes
end

local function play(traffic, screen, chart, pace)
  local every = 0.25 * pace
  local began = hawser.now()
  local deadline = began + SECONDS * pace
  local next_scene, noted_at = 1, began
  traffic:start(deadline)
  while hawser.now() < deadline do
    local scene = STORY[next_scene]
    if scene and hawser.now() >= began + scene.at * pace then
      next_scene = next_scene + 1
      screen:tell(scene.text)
      traffic:direct(scene)
    end
    hawser.sleep(every)
    chart:note(traffic.served, hawser.now() - noted_at)
    noted_at = hawser.now()
    screen:draw(table_of(traffic, chart))
  end
end

local function quantile(sorted, share)
  return (sorted[math.max(1, math.ceil(share * #sorted))] or 0) * 1000
end

local function summarize(traffic, screen, chart)
  local stats, many, latencies = traffic.api:stats(), traffic.many:stats(), traffic.latencies
  table.sort(latencies)
  print(("\nRequests per second over time, at most %.0f:"):format(chart.most))
  for _, line in ipairs(chart:lines(screen.on_terminal)) do print("  " .. line) end
  print()
  for _, name in ipairs(ALL) do print(("%-6s answered %d requests"):format(name, traffic.served[name].count)) end
  print(("%d requests in all: half of them took at most %.1f ms, 99 %% at most %.1f ms"):format(#latencies,
    quantile(latencies, .5), quantile(latencies, .99)))
  print(("%d connections dialled, used again %d times"):format(stats.created, stats.reused))
  print(("%d connections to violet, over HTTP/2, carried %d requests"):format(many.created, many.ok))
  print(("%d retries, and %d replays of what met a connection that had died"):format(traffic.retries, stats.replayed))
  print(("errors that reached a caller: %d%s"):format(traffic.errors,
    traffic.errors > 0 and ", the last: " .. tostring(traffic.last_error) or ""))
end

-- Why this was not what the story tells; nil when it was.
local function complaint(traffic, changes)
  if traffic.errors > 0 then return "a caller saw an error" end
  if changes[1] ~= "blue open" then return "the breaker of blue did not open" end
  if changes[#changes] ~= "blue closed" then return "the breaker of blue did not close again" end
  if traffic.many:stats().created ~= 2 then return "violet was not met on one connection, and then on another" end
  if traffic.served.green.count >= traffic.served.red.count then return "no traffic left green" end
end

local options = read_arguments(arg)
local ports = {}
local pipes = {
  start_backend(options.backends .. "/backends", ports),
  start_backend(options.backends .. "/backend_h2", ports),
}
local traffic, screen, chart = Traffic.new(ports, options.pace), Screen.new(), Chart.new()
local changes = watch_breakers(traffic, screen)
hawser.run(play, traffic, screen, chart, options.pace)
summarize(traffic, screen, chart)
local what = complaint(traffic, changes)
traffic.manager:close()
for _, pipe in ipairs(pipes) do pipe:close() end

if what then io.stderr:write("demo: ", what, "\n") end
os.exit(what == nil, true)
