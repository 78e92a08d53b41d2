--- What the process around hawser does to it: few descriptors, signals, forks.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local lua = os.getenv "LUA" or "lua"

local function output(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("a process", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function url(path) return ("http://127.0.0.1:%d%s"):format(faultd.http, path) end

  describe("with 64 descriptors", function()
    local function crowd(connections)
      return output(("ulimit -n 64; exec %s spec/support/crowd.lua %s 500 %d 2>&1")
        :format(lua, url "/slow/1", connections))
    end

    it("makes 500 requests with the limit that it finds by itself", function()
      local text = output(("ulimit -n 64; exec %s spec/support/crowd.lua %s 500 2>&1"):format(lua, url "/slow/1"))
      assert.equal("500\tok\n", text)
    end)

    it("makes 500 requests although it was told that it may have 400 connections", function()
      assert.equal("500\tok\n", crowd(400))
    end)
  end)

  describe("that gets SIGPIPE", function()
    -- What the process does with signal 13, by the kernel's own word.
    local script = [[
      local function ignores_sigpipe()
        for line in io.lines "/proc/self/status" do
          local mask = line:match "^SigIgn:%%s*(%%x+)"
          if mask then return math.floor(tonumber(mask:sub(-4), 16) / 4096) %% 2 == 1 end
        end
      end
      local before = ignores_sigpipe()
      local hawser = require "hawser"
      print(before, ignores_sigpipe())
      local raw = hawser.new():upstream("raw", { peers = { "tcp://127.0.0.1:%d" } })
      hawser.run(function()
        local conn = assert(raw:acquire())
        conn:write "+rst\r\n"
        local ok, err
        repeat ok, err = conn:write(("x"):rep(65536)) until not ok
        print(err.kind)
      end)
    ]]

    it("ignores it once hawser is loaded, and lives when a peer is gone", function()
      local path = faultd.dir .. "/sigpipe.lua"
      local file = assert(io.open(path, "w"))
      file:write(script:format(faultd.raw))
      file:close()
      local text = output(("env --default-signal=PIPE %s %s 2>&1"):format(lua, path))
      assert.equal("false\ttrue\nreset\n", text)
    end)
  end)

  describe("that forks", function()
    local process = servers.module "process"

    -- Runs fn in a forked child; its results come back as one line of text.
    local function in_child(fn)
      local path = faultd.dir .. "/child"
      local pid = process.fork()
      if pid == 0 then
        local _, said = pcall(fn)
        local file = io.open(path, "w")
        file:write(tostring(said))
        file:close()
        process.exit(0)
      end
      assert.equal(0, process.wait(pid))
      return io.lines(path)()
    end

    local m, api

    before_each(function()
      m = hawser.new()
      api = m:upstream("faultd", { peers = { url "" } })
      assert(api:get "/ok")
    end)

    after_each(function()
      local stats = ledger.settled(api)
      m:close()
      faultd:ask "await/http/open/0"
      ledger.is_at_rest(stats)
    end)

    it("has a dead manager in the child: every call says so", function()
      local calls = {
        function() return api:get "/ok?key=child" end,
        function() return api:post("/ok?key=child", "body") end,
        function() return m:get(url "/ok?key=child") end,
        function() return api:ready(1) end,
      }
      for i, call in ipairs(calls) do
        local said = in_child(function()
          local res, err = call()
          return res == nil and err.kind .. " " .. err.code or "it worked"
        end)
        assert.equal("closed FORKED", said, "call " .. i)
      end
      assert.equal(0, faultd:ask "seen/GET/child")
    end)

    it("has dead streams in the child, and the parent's go on, on the same connection", function()
      local h2 = m:upstream("h2", { peers = { "h2c://127.0.0.1:" .. faultd.h2 } })
      hawser.run(function()
        local s = assert(h2:open_stream { method = "POST", path = "/play/sink" })
        assert(s:send "ab")
        assert.equal("FORKED FORKED FORKED FORKED FORKED", in_child(function()
          local said = {}
          for i, call in ipairs {
            function() return h2:get "/play/ok" end,
            function() return h2:open_stream { method = "POST", path = "/play/sink" } end,
            function() return s:send "in the child" end,
            function() return s:finish() end,
            function() return s:receive() end,
          } do
            said[i] = tostring(select(2, call()).code)
          end
          s:close()
          m:close()
          collectgarbage()
          return table.concat(said, " ")
        end))
        assert(s:send "c")
        assert.equal("ok", assert(h2:get "/play/ok").body)
        assert(s:finish())
        assert.equal("3 294", (assert(s:receive())))
        assert.is_nil(s:receive())
      end)
      assert.equal(1, h2:stats().created)
    end)

    it("has dead sessions in the child, and the parent's go on", function()
      local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
      local session = assert(hawser.yamux(assert(raw:acquire())))
      local conn = assert(session:open_stream())
      local lease = assert(raw:acquire())
      assert.equal("FORKED FORKED FORKED FORKED nil true", in_child(function()
        local said = {}
        for i, call in ipairs {
          function() return session:accept() end,
          function() return session:open_stream(1) end,
          function() return conn:read "line" end,
          function() return hawser.yamux(lease) end,
        } do
          said[i] = select(2, call()).code
        end
        local streams, closed = session.streams, session:close()
        session = nil
        collectgarbage()
        return table.concat(said, " ") .. (" %s %s"):format(tostring(streams), tostring(closed))
      end))
      assert.equal(1, session.streams)
      lease:release()
      conn:close()
      session:close()
    end)

    it("can make a new manager in the child", function()
      assert.equal("ok", in_child(function()
        return assert(hawser.new():get(url "/ok")).body
      end))
    end)

    describe("while the loop turns", function()
      local path

      before_each(function() path = faultd.dir .. "/child" end)

      -- Ends a child that came out of what it was forked in, or waits for it; what it said.
      local function settle(pid, ...)
        if pid == 0 then
          local said = { ... }
          for i = 1, select("#", ...) do said[i] = tostring(said[i]) end
          local _, fresh = pcall(function() return assert(hawser.new():get(url "/ok")).body end)
          local file = io.open(path, "w")
          file:write(table.concat(said, " "), " ", fresh)
          file:close()
          process.exit(0)
        end
        assert.equal(0, process.wait(pid))
        return io.lines(path)()
      end

      it("is no task in the child any more: a new manager blocks, and tasks run on it", function()
        local said
        hawser.run(function()
          hawser.spawn(function() hawser.sleep(.05) end)
          said = in_child(function()
            local fresh = hawser.new()
            local body = assert(fresh:get(url "/ok")).body
            local bodies = hawser.run(function()
              local task = hawser.spawn(function() return assert(fresh:get(url "/ok")).body end)
              assert(hawser.sleep(.001))
              return select(2, assert(task:join()))
            end)
            hawser.run()
            local res, err = api:get "/ok"
            return body .. " " .. bodies .. " " .. tostring(res) .. " " .. err.code
          end)
        end)
        assert.equal("ok ok nil FORKED", said)
      end)

      it("ends hawser.run in the child with what its function returns", function()
        local pid
        local returned = hawser.run(function()
          hawser.spawn(function() hawser.sleep(.01) end)
          hawser.sleep(0)
          pid = process.fork()
          return "mine"
        end)
        assert.equal("mine ok", settle(pid, returned))
      end)

      it("raises in the child what its function raises", function()
        local pid
        local ok, err = pcall(hawser.run, function()
          pid = process.fork()
          if pid == 0 then
            hawser.now()
            error("on purpose", 0)
          end
        end)
        assert.equal("false on purpose ok", settle(pid, ok, err and err:match "^[^\n]*"))
      end)

      it("lets no other task go on in the child, and leaves it canceled", function()
        local pid, task
        local _, err = hawser.run(function()
          local forking = hawser.spawn(function() pid = process.fork() end)
          task = hawser.spawn(function() return assert(api:get "/ok?key=other").status end)
          assert(forking:join())
          return assert(task:join())
        end)
        if pid == 0 then task:cancel() end
        local _, other = task:join()
        assert.equal("canceled canceled ok", settle(pid, pid == 0 and err.kind, pid == 0 and other.kind))
        assert.equal(200, other)
        assert.equal(1, faultd:ask "seen/GET/other")
      end)

      it("ends in the child the call that a callback was called under", function()
        local pid
        api:get("/ok", function() pid = process.fork() end)
        local res, err = api:get "/drip/40/5"
        assert.equal("nil FORKED ok", settle(pid, pid ~= 0 or res, pid ~= 0 or err.code))
        assert.equal(40, #res.body)
      end)

      it("takes no bytes of the parent's in the child", function()
        local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
        local pid, said
        local lines = {}
        local function read_both()
          local function read(conn)
            assert(conn:write "+hold raw\n")
            local line = assert(conn:read "line")
            pid = pid or process.fork()
            if pid ~= 0 then said = said or settle(pid) end
            lines[#lines + 1] = line
          end
          for _ = 1, 2 do hawser.spawn(function() return raw:with(read) end) end
          faultd:ask "held/raw/2"
          -- In a process of its own, so that both have their bytes before this one looks.
          in_child(function() hawser.new():get(("http://127.0.0.1:%d/release/raw"):format(faultd.control)) end)
        end
        hawser.run(read_both)
        if pid == 0 then settle(pid) end
        assert.equal(" ok", said)
        assert.same({ "released", "released" }, lines)
      end)
    end)

    it("goes on in the parent with what is in flight, whatever the child does to it", function()
      local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
      local closing = hawser.new()
      local said = {}
      hawser.run(function()
        local conn, reading = assert(raw:acquire()), assert(raw:acquire())
        assert(conn:write "before\n")
        assert(reading:write "+hold raw\n")
        local res = assert(api:get("/drip/40/5", { stream = true }))
        local held = api:get("/hold/call", { timeout = 20 }, function(response, err)
          said.callback = response and response.status or tostring(err)
        end)
        local uploaded = false
        local tasks = {
          hawser.spawn(function() said.task = assert(api:get "/hold/task").body end),
          hawser.spawn(function() said.line = assert(reading:read "line") end),
          hawser.spawn(function() said.posted = assert(api:post("/hold/post", function()
            hawser.sleep(.05)
            uploaded = not uploaded
            return uploaded and "chunk" or nil
          end)).status end),
          hawser.spawn(function() said.closing = assert(closing:get(url "/hold/closing")).status end),
        }
        hawser.sleep(.02)
        local dropped = { api:get("/never", function(_, err) said.dropped = err.kind end) }

        said.child = in_child(function()
          for _, task in ipairs(tasks) do task:cancel() end
          held:cancel()
          dropped[1]:cancel()
          res:close()
          conn:release()
          reading:close()
          closing:close()
          api:close()
          m:close()
          tasks, held, dropped, res, conn, reading, closing = nil, nil, nil, nil, nil, nil, nil
          for _ = 1, 3 do collectgarbage() end
          return "untouched"
        end)

        dropped[1]:cancel()
        for _, key in ipairs { "task", "call", "post", "closing", "raw" } do
          faultd:ask("held/" .. key .. "/1")
          faultd:ask("release/" .. key)
        end
        for _, task in ipairs(tasks) do assert(task:join()) end
        said.size = 0
        local chunk = res:read()
        while chunk do
          said.size = said.size + #chunk
          chunk = res:read()
        end
        said.echo = assert(conn:read "line")
        assert.is_true(conn:release() and reading:release())
      end)
      closing:close()
      assert.same({
        child = "untouched", callback = 200, dropped = "canceled", task = said.task, line = "released",
        posted = 200, closing = 200, size = 40, echo = "before",
      }, said)
      ledger.is_at_rest(ledger.settled(raw))
      assert.equal(2, raw:stats().idle)
    end)

    it("keeps its connections in the parent, whatever the child does", function()
      in_child(function()
        m:close()
        m, api = nil, nil
        collectgarbage()
        collectgarbage()
      end)
      assert.is_true(assert(api:get "/ok").reused)
      assert.equal(1, api:stats().created)
    end)
  end)
end)
