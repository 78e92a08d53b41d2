--- Methods of upstreams that use leases: `with` and `ready`.
local core = require "hawser.core"
local options = require "hawser.options"
local task = require "hawser.task"

local lease = {}

local Upstream = core.internal.types["hawser.Upstream"]

-- LuaJIT enters a Lua function at a fraction of what a C function costs, and every call of a method looks one up.
if rawget(_G, "jit") then
  local Conn = core.internal.types["hawser.Conn"]
  local get, methods = Conn.__index, Conn.methods
  Conn.__index = function(conn, name) return methods[name] or get(conn, name) end
end

local function check_self(self, method)
  if getmetatable(self) ~= Upstream then
    error(("a method of hawser.Upstream was called on a %s (write upstream:%s(), with a colon)")
      :format(type(self), method), 3)
  end
end

local function finish(conn, ok, ...)
  if ok then
    conn:release()
    return ...
  end
  conn:close()
  error((...), 0)
end

local function with(upstream, acquire_options, fn)
  local conn, err = upstream:acquire(acquire_options)
  if not conn then return nil, err end
  return finish(conn, task.pcall(fn, conn))
end

--- Acquires a lease, gives it to a function, and releases it at the end.
-- @param acquire_options table? { timeout = }
-- @param fn function function(conn); it runs as a task
-- @param callback function?
-- @return what fn returns; or nil, err when there was no lease. What fn raises is raised again.
function lease:with(acquire_options, fn, callback)
  check_self(self, "with")
  if type(acquire_options) == "function" then acquire_options, fn, callback = nil, acquire_options, fn end
  options.acquire(acquire_options)
  if type(fn) ~= "function" then
    error(("what upstream:with is to run is a %s; allowed: a function(conn)"):format(type(fn)), 2)
  end
  task.check_callback(callback)
  return task.wait(callback, with, self, acquire_options, fn)
end

-- Between attempts to have a connection; doubled each time.
local SHORTEST_PAUSE, LONGEST_PAUSE = .05, 1

-- A dial that fails at once is tried again, because the server may be about to start; what no time can mend is not.
local function is_final(err)
  return err.kind == "closed" or err.kind == "canceled" or err.kind == "invalid" or err.kind == "unsupported"
end

local function ready(upstream, patience)
  local deadline = core.now() + patience
  local pause = SHORTEST_PAUSE
  local last
  while true do
    local left = deadline - core.now()
    local ok, err = core.internal.connect(upstream, math.max(left, .001))
    if ok or is_final(err) then return ok, err end
    left = deadline - core.now()
    -- What opened a breaker says more than that it is open, and any failure more than that our patience ended.
    if not last or (err.kind ~= "breaker_open" and not (err.kind == "timeout" and left <= 0)) then last = err end
    if left <= 0 then return nil, last end
    local slept, canceled = core.sleep(math.min(pause, left))
    if not slept then return nil, canceled end
    pause = math.min(pause * 2, LONGEST_PAUSE)
  end
end

--- Waits until there is a connection; dials when nothing is open. It stays pooled.
-- @param patience number? seconds; 30 unless given
-- @param callback function?
-- @return true; or nil and the last error
function lease:ready(patience, callback)
  check_self(self, "ready")
  if type(patience) == "function" then patience, callback = nil, patience end
  if patience == nil then patience = 30 end
  if type(patience) ~= "number" or not (patience >= 0 and patience <= 1e9) then
    error(("the time to get ready is %s; allowed: a number of seconds, 0 to 1e9"):format(tostring(patience)), 2)
  end
  task.check_callback(callback)
  return task.wait(callback, ready, self, patience)
end

return lease
