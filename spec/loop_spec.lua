--- hawser's own loop, and what is left of it when a program ends.
local program = require "spec.support.program"
local servers = require "spec.support.servers"

describe("the loop", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local PRELUDE = [[
    local http, raw, blackhole = ...
    local origin = "http://127.0.0.1:" .. http
    local m = hawser.new()
    local api = m:upstream("api", { peers = { origin } })
    local echo = m:upstream("echo", { peers = { "tcp://127.0.0.1:" .. raw } })
    local hole = m:upstream("hole", { peers = { "tcp://127.0.0.1:" .. blackhole } })
    local function nothing() end
  ]]

  local function prints(expected, text)
    local output, status = program.run(PRELUDE .. text, faultd.http, faultd.raw, faultd.blackhole)
    assert.equal(expected, output)
    assert.equal(0, status)
  end

  -- What can be in flight when a program ends. Under the sanitizers whatever is forgotten makes it fail.
  local unfinished = {
    ["a blocked request's followers"] = [[api:get("/ok") api:get("/never", nothing)]],
    ["a request of a task"] = [[hawser.spawn(api.get, api, "/never")]],
    ["a request that waits for a dial"] = [[hole:acquire(nothing)]],
    ["a task that has not begun"] = [[hawser.spawn(nothing) os.exit(0, true)]],
    ["tasks that wait for tasks"] = [[
      local task = hawser.spawn(api.get, api, "/never")
      hawser.spawn(function() task:join() end)
      hawser.spawn(function() hawser.all { function() task:join() end, function() hawser.sleep(100) end } end)]],
    ["a task inside of hawser.pcall"] = [[
      hawser.spawn(function() hawser.pcall(function() hawser.pcall(api.get, api, "/never") end) end)]],
    ["a sleep"] = [[hawser.sleep(100, nothing) hawser.spawn(hawser.sleep, 100)]],
    ["a stream"] = [[streaming = assert(api:get("/stall/body", { stream = true })) streaming:read()]],
    ["a stream that is being read"] = [[
      streaming = assert(api:get("/stall/body", { stream = true }))
      streaming:read()
      streaming:read(nothing)]],
    ["a producer"] = [[
      hawser.spawn(function() api:post("/never", function() return hawser.sleep(.001) and ("x"):rep(1000) end) end)
      hawser.sleep(.01)]],
    ["a producer that is held back"] = [[
      api:post("/unread/loop_spec", function() return ("x"):rep(100000) end, nothing)
      hawser.sleep(.05)]],
    ["a lease"] = [[conn = assert(echo:acquire()) conn.data.table = {}]],
    ["a lease that is being read and written"] = [[
      conn = assert(echo:acquire())
      conn:write "+silence\n"
      conn:read(5, nothing)
      hawser.spawn(function() conn:write(("x"):rep(100000000)) end)]],
    ["a lease in with()"] = [[
      hawser.spawn(function() echo:with(function(c) c:read(1) end) end)
      hawser.sleep(.01)]],
    ["a setup"] = [[
      local function setup(c) return c:read(1) end
      local slow = m:upstream("slow", { peers = { "tcp://127.0.0.1:" .. raw }, setup = setup })
      slow:acquire(nothing)
      hawser.sleep(.02)]],
    ["a drain"] = [[api:get("/never", nothing) api:drain(100, nothing) m:drain(100, nothing)]],
    ["a redirect"] = [[api:get("/never", { redirects = 3 }, nothing)]],
    ["events that are still to be told"] = [[
      m:on("close", nothing)
      api:get("/ok")
      api:close()]],
    ["a manager that was closed in the midst"] = [[api:get("/never", nothing) m:close()]],
    ["a default manager"] = [[hawser.get(origin .. "/ok") hawser.get(origin .. "/never", nothing)]],
    ["a task that was canceled"] = [[
      local task = hawser.spawn(api.get, api, "/never")
      hawser.sleep(.001)
      task:cancel()]],
  }
  for name, text in pairs(unfinished) do
    it("leaves nothing of " .. name .. " when the program ends", function()
      prints("", text)
      prints("", text .. "\nhawser.sleep(.005)")
      if rawget(_G, "jit") then return end -- the sanitizer does not see what LuaJIT's own memory refers to
      prints("", text .. "\nhawser.sleep(0, function() os.exit(0) end) hawser.sleep(1)")
    end)
  end

  it("ends a program that is closed from inside of it", function()
    if _VERSION == "Lua 5.1" then return end -- os.exit knows no second argument
    prints("", [[
      api:get("/never", nothing)
      hawser.sleep(0, function() os.exit(0, true) end)
      hawser.sleep(1)]])
  end)

  it("goes on after the collector has taken what nobody holds", function()
    prints("200 canceled\n", [[
      local seen = {}
      api:get("/slow/20", function(res) seen[1] = res.status end)
      do
        local handle = hawser.sleep(100, function(_, err) seen[2] = err.kind end)
        handle:cancel()
      end
      for _ = 1, 3 do collectgarbage() end
      hawser.run()
      print(table.concat(seen, " "))]])
  end)

  it("belongs to one Lua state, of which there may be several", function()
    local output, status = program.run([[
      local uv = require "luv"
      hawser.loop "own"
      local threads = {}
      for i = 1, 3 do
        threads[i] = assert(uv.new_thread(function(path, cpath, port)
          package.path, package.cpath = path, cpath
          local mine = require "hawser"
          mine.loop "own"
          for _ = 1, 20 do
            assert(mine.get("http://127.0.0.1:" .. port .. "/ok").status == 200)
          end
          mine.get("http://127.0.0.1:" .. port .. "/never", function() end)
        end, package.path, package.cpath, (...)))
      end
      for _ = 1, 20 do assert(hawser.get("http://127.0.0.1:" .. (...) .. "/ok").status == 200) end
      for i = 1, 3 do threads[i]:join() end
      print "done"]], faultd.http)
    assert.equal("done\n", output)
    assert.equal(0, status)
  end)

  it("tells the time, which never goes back", function()
    local hawser = require "hawser"
    local last = hawser.now()
    for _ = 1, 1000 do
      local now = hawser.now()
      assert.is_true(now >= last)
      last = now
    end
    assert.is_true(hawser.now() - last < 1)
  end)
end)
