--- hawser in a program that runs luv's loop.
local program = require "spec.support.program"
local servers = require "spec.support.servers"

-- What every program begins with: an upstream, and a timer of the host's own that counts. (luv crashes by itself when a
-- Lua state is closed before its loop has run once more for a handle that was closed.)
local PRELUDE = [[
local uv = require "luv"
local port, closed = ...
local m = hawser.new()
local api = m:upstream("api", { peers = { "http://127.0.0.1:" .. port } })
local ticks, ticker = 0, uv.new_timer()
local function start() ticker:start(1, 1, function() ticks = ticks + 1 end) end
]]

describe("on luv's loop", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function prints(expected, text)
    local output, status = program.run(PRELUDE .. text, faultd.http, faultd.closed, faultd.h2)
    assert.equal(expected, output)
    assert.equal(0, status)
  end

  it("requests in callbacks and tasks go on beside the host's own timers", function()
    prints("100 done, ticking true\n", [[
      start()
      local done = 0
      local function finish()
        done = done + 1
        if done == 100 then
          ticker:stop()
          ticker:close()
        end
      end
      for _ = 1, 50 do
        api:get("/slow/100", function(res) assert(res.status == 200) finish() end)
        hawser.spawn(function() assert(assert(api:get "/slow/100").status == 200) finish() end)
      end
      uv.run()
      print(("%d done, ticking %s"):format(done, tostring(ticks > 5)))
    ]])
  end)

  it("requests and streams over HTTP/2 go on beside the host's own timers", function()
    prints("100 done on 1, ticking true, ok, 3 294\n", [[
      start()
      local h2 = m:upstream("h2", { peers = { "h2c://127.0.0.1:" .. select(3, ...) } })
      local done, said = 0, {}
      local function finish()
        done = done + 1
        if done < 100 then return end
        ticker:stop()
        ticker:close()
      end
      for i = 1, 98 do h2:get("/play/body." .. i * 1000, function(res) assert(#res.body == i * 1000) finish() end) end
      h2:get("/play/ok", function(res)
        said[1] = res.body
        uv.new_timer():start(200, 0, finish)
      end)
      hawser.spawn(function()
        local s = assert(h2:open_stream { method = "POST", path = "/play/sink" })
        for piece in ("abc"):gmatch "." do
          assert(s:send(piece))
          hawser.sleep(.005)
        end
        assert(s:finish())
        said[2] = assert(s:receive())
        assert(not s:receive())
        finish()
      end)
      uv.run()
      print(("%d done on %d, ticking %s, %s"):format(done, h2:stats().created, tostring(ticks > 5),
        table.concat(said, ", ")))
    ]])
  end)

  it("the host's loop ends when nothing of hawser's is in flight, idle connections or not", function()
    prints("200\nended\n1\n", [[
      api:get("/ok", function(res) print(res.status) end)
      ticker:close()
      uv.run()
      print "ended"
      print(api:stats().idle)
    ]])
  end)

  it("there are two handles of hawser's, both the host's own kind", function()
    prints("poll timer\n", [[
      ticker:close()
      assert(api:get "/ok")
      local kinds = {}
      uv.walk(function(handle) if not handle:is_closing() then kinds[#kinds + 1] = handle:get_type() end end)
      table.sort(kinds)
      print(table.concat(kinds, " "))
      uv.run()
    ]])
  end)

  it("waiting blocks while the host's loop does not run, and its handles rest", function()
    prints("200 0\n", [[
      start()
      local res = assert(api:get "/slow/20")
      print(res.status .. " " .. ticks)
      ticker:close()
      uv.run()
    ]])
  end)

  it("waiting is refused in the host's callbacks, with what works instead", function()
    prints("cannot wait here: pass a callback or use hawser.spawn\n200\n", [[
      ticker:start(0, 0, function()
        local _, message = pcall(api.get, api, "/ok")
        print((message:match "cannot wait.*"))
        hawser.spawn(function() print(assert(api:get "/ok").status) end)
        ticker:close()
      end)
      uv.run()
    ]])
  end)

  it("deadlines pass, and cancelling works", function()
    prints("timeout canceled true\n", [[
      local kinds = {}
      local from = hawser.now()
      api:get("/never", { timeout = .02 }, function(_, err) kinds[1] = err.kind end)
      local handle = api:get("/never", function(_, err) kinds[2] = err.kind end)
      ticker:start(10, 0, function()
        handle:cancel()
        ticker:close()
      end)
      uv.run()
      print(kinds[1] .. " " .. kinds[2] .. " " .. tostring(hawser.now() - from < 10))
    ]])
  end)

  it("a shorter deadline that comes later is not overlooked", function()
    prints("true\n", [[
      ticker:close()
      local from, took = hawser.now(), nil
      local long = hawser.sleep(30, function() end)
      hawser.sleep(.01, function()
        took = hawser.now() - from
        long:cancel()
      end)
      uv.run()
      print(took < 5)
    ]])
  end)

  it("blocking runs leave the host's loop in order", function()
    prints("200 200 200\n", [[
      ticker:close()
      local seen = {}
      api:get("/slow/5", function(res) seen[#seen + 1] = res.status end)
      hawser.run(function()
        local status = assert(api:get "/ok").status -- by when the other one may be there
        seen[#seen + 1] = status
      end)
      uv.run()
      api:get("/ok", function(res) seen[#seen + 1] = res.status end)
      uv.run()
      print(table.concat(seen, " "))
    ]])
  end)

  it("a program that ends in the midst of things leaks nothing", function()
    prints("", [[
      start()
      api:get("/never", function() end)
      hawser.spawn(function() api:get "/never" end)
      for _ = 1, 5 do uv.run "nowait" end
      ticker:close()
      uv.run "nowait"
    ]])
  end)

  it("may be chosen, or not, before first use", function()
    local text = [[
      local uv = require "luv"
      local function count()
        local handles = 0
        uv.walk(function() handles = handles + 1 end)
        return handles
      end
      %s
      hawser.now()
      print(count())
      print(select(2, pcall(hawser.loop, "own")))
    ]]
    for choice, handles in pairs { ["hawser.loop 'own'"] = 0, ["hawser.loop 'auto'"] = 2, ["hawser.loop(uv)"] = 2,
      ["hawser.pollfd()"] = 0 } do
      local output = program.run(text:format(choice))
      assert.is_truthy(output:find(("^%d\n.*hawser.loop chooses before first use"):format(handles)), output)
    end
    local output = program.run [[
      for _, choice in ipairs { "uv", 42, {}, true } do print(select(2, pcall(hawser.loop, choice))) end
    ]]
    assert.is_truthy(output:find 'the loop is uv; allowed: "auto", "own", or the module of luv', output)
    local _, count = output:gsub("allowed:", "")
    assert.equal(4, count)
  end)
end)
