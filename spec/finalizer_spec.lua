--- Finalizers that end what a function of hawser's is working with. Any allocation of Lua's may run one, so each
-- operation is done once for every collection that it can meet, and the finalizer acts in the n-th: as the specs of
-- memory that runs out do for the n-th allocation.
local program = require "spec.support.program"
local servers = require "spec.support.servers"

-- In a process of its own: with busted's heap each of the many collections would take long. `each` is called with a
-- function that says what the finalizer is to do, and arms it.
local PRELUDE = [[
local raw, http = ...
if jit then jit.off() end -- whose traces never get beyond a check for a collection that is always due
local m = hawser.new { log = function() end, retry = false, breaker = false }
raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. raw } })
local address = "http://127.0.0.1:" .. http
http = m:upstream("http", { peers = { address } })

local function finally(f)
  if not newproxy then return setmetatable({}, { __gc = f }) end
  getmetatable(newproxy(true)).__gc = f
end

local left, act
local function arm()
  finally(function()
    if left == 0 then return end
    left = left - 1
    if left == 0 then act() else arm() end
  end)
end

-- A collector that never pauses, and never stops before it is through.
local function at_collection(n, f)
  if _VERSION == "Lua 5.4" then collectgarbage("incremental", 0, 1000, 100) end
  collectgarbage("setpause", 0)
  collectgarbage("setstepmul", _VERSION == "Lua 5.1" and 0 or _VERSION == "Lua 5.4" and 1000 or 1e8)
  collectgarbage()
  left, act = n, f
  arm()
end

local function disarm()
  local has_acted = left == 0
  left = 0
  if _VERSION == "Lua 5.4" then collectgarbage("incremental", 200, 100, 13) end
  collectgarbage("setpause", 200)
  collectgarbage("setstepmul", 200)
  return has_acted
end

local function sweep(each)
  local n = 0
  repeat
    n = n + 1
    each(function(f) at_collection(n, f) end)
  until not disarm() or n == 60
  return n
end

-- The same as a task and blocking.
local function everywhere(each)
  local blocking, inside = sweep(each)
  hawser.run(function() inside = sweep(each) end)
  print(blocking > 1 and inside > 1 and "swept" or "never acted")
end

local function kind(err) return type(err) == "table" and err.kind or tostring(err) end
]]

describe("a finalizer that ends what is in use", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  -- The collector of 5.2 cannot be told to be through at every check: there they meet only what comes by chance.
  local is_lazy = _VERSION == "Lua 5.2"

  local function sweeps(text)
    local output, status = program.run(PRELUDE .. text .. "\nm:close()", faultd.raw, faultd.http)
    assert.equal("swept\n", is_lazy and output == "never acted\n" and "swept\n" or output)
    assert.equal(0, status)
  end

  for _, ending in ipairs { "close", "release" } do
    it("may " .. ending .. " a lease that is being read", function()
      sweeps(([[
        everywhere(function(at)
          local c = assert(raw:acquire())
          local line = ("y"):rep(3000)
          assert(c:write(line .. "\n"))
          hawser.sleep(.002)
          at(function() c:%s() end)
          local s, err = c:read "line"
          assert(s == line or kind(err) == "closed", kind(err))
          c:close()
        end)]]):format(ending))
    end)
  end

  it("may close a lease whose read fails", function()
    sweeps [[
      raw:update { timeouts = { read = .02 } }
      everywhere(function(at)
        local c = assert(raw:acquire())
        assert(c:write "part\n")
        at(function() c:close() end)
        local s, err = c:read(100)
        assert(s == nil and (kind(err) == "timeout" or kind(err) == "closed"), kind(err))
        c:close()
      end)]]
  end)

  it("may close a lease that is to be read or written with a callback", function()
    sweeps [[
      everywhere(function(at)
        local c, ended = assert(raw:acquire()), 0
        at(function() c:close() end)
        c:write("x\n", function() ended = ended + 1 end)
        c:read("line", function() ended = ended + 1 end)
        hawser.sleep(.002)
        c:close()
        hawser.sleep(.001)
        assert(ended == 2, ended)
      end)]]
  end)

  it("may close a lease whose fields are asked for or set", function()
    sweeps [[
      everywhere(function(at)
        local c = assert(raw:acquire())
        at(function() c:close() end)
        local peer, data = c.peer, c.data
        assert(peer == nil or peer:find "^127")
        pcall(function() c.data = {} end)
        c:close()
      end)]]
  end)

  for ending, act in pairs {
    close = "api:close()",
    update = "api:update { peers = list(4) }",
    swap = 'api:set_policy("balancer", nil)',
    turn = "api:update { peers = list(1, 7) } hawser.run(hawser.sleep, 0)",
  } do
    it("may " .. ending .. " an upstream whose policies are made, shown its peers or swapped", function()
      sweeps(([[
        local function list(count, from)
          local all = {}
          for i = 1, count do all[i] = { address, id = "peer " .. (from or 0) + i, locality = "x", tags = { i } } end
          return all
        end
        local open, made = 0, 0
        local function plugin()
          return { kind = "balancer", name = "p", new = function() open = open + 1 return {} end,
            pick = function(_, peers) return peers[1] end, update = function() end, done = function() end,
            close = function() open = open - 1 end }
        end
        everywhere(function(at)
          made = made + 1
          local api
          at(function() pcall(function() if api then %s end end) end) -- in a policy it raises
          api = assert(m:upstream("made " .. made, { peers = list(2), balancer = plugin() }))
          local ok, err = api:update { peers = list(3), balancer = plugin() }
          assert(ok or kind(err) == "closed", kind(err))
          ok, err = api:set_policy("balancer", plugin())
          assert(ok or kind(err) == "closed", kind(err))
          local res, why = api:get "/ok"
          assert(res and res.body == "ok" or kind(why) == "closed", kind(why))
          api:close()
          assert(open == 0, open)
        end)]]):format(act))
    end)
  end

  it("may cancel the task that acquires a lease", function()
    sweeps [[
      everywhere(function(at)
        local t = hawser.spawn(function()
          local c, err = raw:acquire()
          assert(c or kind(err) == "canceled", kind(err))
          if c then c:release() end
        end)
        at(function() t:cancel() end)
        t:join()
      end)]]
  end)

  it("may cancel the task that reads", function()
    sweeps [[
      everywhere(function(at)
        local t = hawser.spawn(function()
          local c = raw:acquire()
          if not c then return end
          c:write "x\n"
          c:read "line"
          c:close()
        end)
        at(function() t:cancel() end)
        t:join()
      end)]]
  end)

  it("may cancel the task that makes a request", function()
    sweeps [[
      http:update { timeouts = { read = false } }
      everywhere(function(at)
        local options = { headers = { a = "b" }, stream = true, timeout = false }
        local t = hawser.spawn(function() http:get("/never", options) end)
        at(function() t:cancel() end)
        hawser.sleep(.001)
        t:cancel() -- the second one does nothing: had the first been lost, nothing would end it
        t:join()
      end)]]
  end)

  it("may close a response that is being read", function()
    sweeps [[
      everywhere(function(at)
        for _, path in ipairs { "/trailers", "/bytes/5000", "/rst/body" } do
          local res = assert(http:get(path, { stream = true }))
          at(function() res:close() end)
          local s, err
          repeat s, err = res:read() until not s
          assert(path ~= "/bytes/5000" or err == nil or kind(err) == "closed", kind(err))
          local _ = res.trailers and res.trailers["X-Sum"]
          res:close()
        end
      end)]]
  end)

  it("may cancel the task that reads a response", function()
    sweeps [[
      everywhere(function(at)
        local t = hawser.spawn(function()
          local res = http:get("/trailers", { stream = true })
          while res and res:read() do end
        end)
        at(function() t:cancel() end)
        t:join()
      end)]]
  end)

  it("may change the peers that are being listed", function()
    sweeps [[
      everywhere(function(at)
        local list = {}
        for i = 1, 3 do list[i] = { address, id = "peer" .. i, locality = ("l"):rep(i), tags = { i } } end
        local api = m:upstream("listed", { peers = list })
        at(function() api:update { peers = { { address, id = "other", locality = "elsewhere", tags = { 4 } } } } end)
        local peers = assert(api:peers())
        assert(#peers == 3 and peers[3].id == "peer3" and peers[3].tags[1] == 3 or
               #peers == 1 and peers[1].id == "other" and peers[1].tags[1] == 4)
        api:close()
      end)]]
  end)

  it("may run a task, while no loop turns", function()
    sweeps [[
      everywhere(function(at)
        local c = assert(raw:acquire())
        assert(c:write "x\n")
        at(function() pcall(hawser.run, hawser.sleep, 0) end)
        assert(c:read "line" == "x")
        local t = hawser.spawn(function() hawser.sleep(0) return {} end)
        t:join()
        c:close()
      end)]]
  end)

  it("cannot wait while results are made", function()
    sweeps [[
      everywhere(function(at)
        local c = assert(raw:acquire())
        local line = ("y"):rep(3000)
        assert(c:write(line .. "\n"))
        hawser.sleep(.002)
        at(function() pcall(hawser.sleep, .001) end)
        local s = c:read "line"
        assert(s == line)
        c:close()
      end)]]
  end)
end)

describe("a finalizer that waits", function()
  local WAITS = [[
    local function finally(f)
      if not newproxy then return setmetatable({}, { __gc = f }) end
      getmetatable(newproxy(true)).__gc = f
    end
    local ways = {
      function() hawser.run(hawser.sleep, 0) end,
      function() hawser.sleep(0) end,
      function() hawser.step() end,
    }
    for _, way in ipairs(ways) do
      local ok, why
      finally(function() ok, why = pcall(way) end)
      collectgarbage()
      collectgarbage()
      print(ok and "done" or why:match "cannot wait here: .*")
    end
    hawser.run(hawser.sleep, 0)
    collectgarbage "stop" -- which is what a finalizer looks like at first sight
    hawser.run(hawser.sleep, 0)
    local hooked
    debug.sethook(function()
      debug.sethook()
      hooked = select(2, pcall(hawser.run, hawser.sleep, 0))
    end, "c")
    hawser.now()
    print(hooked)]]

  it("does, or raises where this Lua would crash", function()
    local output, status = program.run(WAITS)
    local refusal = "cannot wait here: LuaJIT runs no tasks in a finalizer or a debug hook\n"
    assert.equal(rawget(_G, "jit") and refusal:rep(4) or "done\ndone\ndone\ntrue\n", output)
    assert.equal(0, status)
  end)
end)

-- Nobody has to, but anybody can: debug.getmetatable() shows them.
describe("a finalizer that is called by hand", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local BY_HAND = PRELUDE .. [[
    local function finalize(object)
      for _ = 1, 2 do debug.getmetatable(object).__gc(object) end
    end
  ]]

  local function says(expected, text)
    local output, status = program.run(BY_HAND .. text, faultd.raw, faultd.http)
    assert.equal(expected, output)
    assert.equal(0, status)
  end

  it("leaves objects whose methods say so", function()
    says("closed closed closed closed\n", [[
      local conn, api = assert(raw:acquire()), http
      local task = hawser.spawn(function() hawser.sleep(.001) end)
      finalize(conn)
      finalize(api)
      finalize(task)
      local kinds = {}
      local function note(_, err) kinds[#kinds + 1] = kind(err) end
      note(conn:read "line")
      note(api:get "/ok")
      note(task:join())
      raw, http = nil, nil
      finalize(m)
      note(m:get(address .. "/ok"))
      hawser.run()
      print(table.concat(kinds, " "))]])
  end)

  it("harms none that is in use", function()
    says("ok\tx\t30\tcanceled\n", [[
      local body, line, size, canceled = nil, nil, 0, nil
      hawser.run(function()
        hawser.spawn(function() body = assert(http:get "/slow/5").body end)
        hawser.spawn(function()
          local conn = assert(raw:acquire())
          assert(conn:write "x\n")
          line = assert(conn:read "line")
          assert(conn:release())
        end)
        hawser.spawn(function()
          local res = assert(m:get(address .. "/chunked/3/10", { stream = true }))
          local chunk = res:read()
          while chunk do
            size = size + #chunk
            chunk = res:read()
          end
        end)
        hawser.sleep(0)
        finalize(m)
        local handle = m:get(address .. "/never", function(_, err) canceled = kind(err) end)
        handle:cancel()
        finalize(handle)
        finalize(m)
      end)
      print(body, line, size, canceled)]])
  end)

  it("closes a lease and a response's body for those who wait for them", function()
    says("closed\tclosed\n", [[
      local read, chunk
      hawser.run(function()
        local conn, res
        hawser.spawn(function()
          conn = assert(raw:acquire())
          read = kind(select(2, conn:read "line"))
        end)
        hawser.spawn(function()
          res = assert(http:get("/stall/body", { stream = true }))
          local bytes, err
          repeat bytes, err = res:read() until not bytes
          chunk = kind(err)
        end)
        while not (conn and res) do hawser.sleep(.001) end
        finalize(conn)
        -- What is behind the response: where it is kept differs.
        local body = type(res) == "table" and rawget(res, 2) or debug.getuservalue(res, 1)
        finalize(body)
      end)
      print(read, chunk)]])
  end)

  it("does not end a lease that a setup function has", function()
    says("ready\n", [[
      local api = m:upstream("setup", { peers = { "tcp://127.0.0.1:" .. (...) }, setup = function(conn)
        finalize(conn)
        assert(conn:write "ready\n" and conn:read "line" == "ready")
        return true
      end })
      print(api:with(function(conn)
        assert(conn:write "ready\n")
        return conn:read "line"
      end))]])
  end)
end)
