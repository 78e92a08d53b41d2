--- hawser driven by a loop that knows nothing of it: pollfd, timeout and step, as cqueues does.
local program = require "spec.support.program"
local servers = require "spec.support.servers"

-- One coroutine of cqueues' drives hawser; `finish` ends it.
local PRELUDE = [[
local cqueues = require "cqueues"
local port = ...
local m = hawser.new()
local api = m:upstream("api", { peers = { "http://127.0.0.1:" .. port } })
local queue, is_over = cqueues.new(), false
local function finish() is_over = true end
local events = { pollfd = hawser.pollfd(), events = "r" }
queue:wrap(function()
  while not is_over do
    cqueues.poll(events, hawser.timeout())
    hawser.step()
  end
end)
]]

describe("driven by cqueues", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function prints(expected, text)
    local output, status = program.run(PRELUDE .. text, faultd.http, faultd.h2)
    assert.equal(expected, output)
    assert.equal(0, status)
  end

  it("requests go on beside its other coroutines", function()
    prints("100 true\n", [[
      local done, ticks = 0, 0
      for _ = 1, 100 do
        hawser.spawn(function()
          assert(assert(api:get "/slow/100").status == 200)
          done = done + 1
          if done == 100 then finish() end
        end)
      end
      queue:wrap(function()
        while not is_over do
          cqueues.sleep(.001)
          ticks = ticks + 1
        end
      end)
      assert(queue:loop())
      print(done .. " " .. tostring(ticks > 5))
    ]])
  end)

  it("requests and streams over HTTP/2 go on", function()
    prints("50 1 3 294\n", [[
      local h2 = m:upstream("h2", { peers = { "h2c://127.0.0.1:" .. select(2, ...) } })
      hawser.spawn(function()
        local s = assert(h2:open_stream { method = "POST", path = "/play/sink" })
        assert(s:send "ab")
        local calls = {}
        for i = 1, 50 do calls[i] = function() return #assert(h2:get "/play/body.100000").body end end
        local done = 0
        for _, outcome in ipairs(hawser.all(calls)) do done = done + assert(outcome[2]) / 100000 end
        assert(s:send "c")
        assert(s:finish())
        print(("%d %d %s"):format(done, h2:stats().created, (assert(s:receive()))))
        finish()
      end)
      assert(queue:loop())
    ]])
  end)

  it("deadlines pass", function()
    prints("timeout\n", [[
      api:get("/never", { timeout = .02 }, function(_, err)
        print(err.kind)
        finish()
      end)
      assert(queue:loop())
    ]])
  end)

  it("waiting is refused in its coroutines, and blocks on the main thread", function()
    prints("200\ncannot wait here: pass a callback or use hawser.spawn\n", [[
      print(assert(api:get "/ok").status)
      queue:wrap(function()
        print((select(2, pcall(api.get, api, "/ok")):match "cannot wait.*"))
        finish()
      end)
      hawser.spawn(hawser.sleep, 0)
      assert(queue:loop())
    ]])
  end)

  it("turns are not turned inside of each other", function()
    prints("hawser.step turns the loop and cannot be called while it is turning\n", [[
      hawser.sleep(0, function()
        print((select(2, pcall(hawser.step)):match "hawser%.step.*"))
        finish()
      end)
      assert(queue:loop())
    ]])
  end)

  it("there is nothing to wait for when there is nothing to do", function()
    prints("nil\n", [[
      hawser.step()
      print(hawser.timeout())
    ]])
  end)
end)
