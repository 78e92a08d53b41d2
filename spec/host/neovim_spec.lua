--- hawser in Neovim: a script like a plugin's makes requests while the editor's own timers keep firing.
local program = require "spec.support.program"
local servers = require "spec.support.servers"

-- Neovim is LuaJIT: only with that is there a module that it can load.
if not rawget(_G, "jit") then return end

local PRELUDE = [[
local hawser = require "hawser"
local port = arguments[1]
local api = hawser.new():upstream("api", { peers = { "http://127.0.0.1:" .. port } })
local function say(...) io.stdout:write(table.concat({ ... }, " "), "\n") end
-- Not from inside a callback of hawser's: a process that ends there frees nothing.
local function finish() vim.schedule(function() vim.cmd "qall!" end) end
]]

describe("in Neovim", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function prints(expected, text)
    local output, status = program.run_in_neovim(PRELUDE .. text, faultd.http, faultd.h2)
    assert.equal(expected, output)
    assert.equal(0, status)
  end

  it("a hundred requests go on while the editor's timers fire, and callbacks may use its API", function()
    prints("100 lines, ticking true\n", [[
      local ticks = 0
      local timer = vim.fn.timer_start(1, function() ticks = ticks + 1 end, { ["repeat"] = -1 })
      vim.api.nvim_buf_set_lines(0, 0, -1, false, {})
      local done = 0
      local function add(res)
        vim.api.nvim_buf_set_lines(0, done, done + 1, false, { res.body })
        done = done + 1
        if done == 100 then
          vim.fn.timer_stop(timer)
          say(vim.api.nvim_buf_line_count(0), "lines, ticking", tostring(ticks > 5))
          finish()
        end
      end
      for _ = 1, 50 do
        api:get("/slow/100", function(res) add(assert(res)) end)
        hawser.spawn(function() add(assert(api:get "/slow/100")) end)
      end
    ]])
  end)

  it("requests and streams over HTTP/2 go on, in callbacks and tasks", function()
    prints("ok 50 on 1: 3 294\n", [[
      local h2 = hawser.new():upstream("h2", { peers = { "h2c://127.0.0.1:" .. arguments[2] } })
      local done = 0
      local function run_stream()
        local s = assert(h2:open_stream { method = "POST", path = "/play/sink" })
        assert(s:send "ab")
        hawser.sleep(.01)
        assert(s:send "c")
        assert(s:finish())
        say(vim.api.nvim_buf_get_lines(0, 0, 1, false)[1], done, "on", h2:stats().created .. ":", (assert(s:receive())))
        finish()
      end
      for _ = 1, 50 do
        h2:get("/play/ok", function(res)
          vim.api.nvim_buf_set_lines(0, 0, 1, false, { assert(res).body })
          done = done + 1
          if done == 50 then hawser.spawn(run_stream) end
        end)
      end
    ]])
  end)

  it("waiting blocks in a script, is refused in fast events, and a task is what works there", function()
    prints("200\ncannot wait here: pass a callback or use hawser.spawn\n200\n", [[
      say(assert(api:get "/ok").status)
      local timer = vim.loop.new_timer()
      timer:start(1, 0, function()
        local _, message = pcall(api.get, api, "/ok")
        timer:close()
        hawser.spawn(function()
          say((message:match "cannot wait.*"))
          say(assert(api:get "/ok").status)
          finish()
        end)
      end)
    ]])
  end)

  it("callbacks may let the editor go on meanwhile", function()
    prints("200 200\n", [[
      local seen = {}
      local function note(res)
        seen[#seen + 1] = res.status
        vim.wait(20)
        if #seen == 2 then
          say(unpack(seen))
          finish()
        end
      end
      api:get("/ok", note)
      api:get("/slow/5", note)
    ]])
  end)

  it("an idle connection that is closed by its peer is noticed without any call", function()
    prints("peer\n", [[
      local m = hawser.new()
      m:on("close", function(event)
        say(event.reason)
        finish()
      end)
      m:get(("http://127.0.0.1:%s/idle/20"):format(port), function(res) assert(res.status == 200) end)
    ]])
  end)
end)
