--- Streams that go both ways, with Node's HTTP/2, nghttpd and gRPC.
local hawser = require "hawser"
local h2_servers = require "spec.support.h2_servers"
local ledger = require "spec.support.ledger"

local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over

-- Bytes of every kind that repeat nowhere near a frame's size.
local function bytes_of(size)
  local piece = {}
  for i = 1, 251 * 8 do piece[i] = string.char((i * 167 + math.floor(i / 251)) % 256) end
  local text = table.concat(piece)
  return text:rep(math.floor(size / #text) + 1):sub(1, size)
end

local function received(s)
  local chunks = {}
  local chunk, err = s:receive()
  while chunk do
    chunks[#chunks + 1] = chunk
    chunk, err = s:receive()
  end
  return table.concat(chunks), err
end

describe("a stream", function()
  local node, nghttpd, grpc, m, api

  lazy_setup(function() node, nghttpd, grpc = h2_servers.node(), h2_servers.nghttpd(), h2_servers.grpc() end)
  lazy_teardown(function()
    node:stop()
    nghttpd:stop()
    grpc:stop()
  end)

  local function upstream(name, server, options)
    options = options or {}
    options.peers = { "h2c://127.0.0.1:" .. server.h2c }
    return m:upstream(name, options)
  end

  before_each(function()
    m = hawser.new { log = function() end }
    api = upstream("node", node)
  end)

  after_each(function()
    collectgarbage()
    local stats = ledger.settled(api)
    m:close()
    ledger.balances(stats)
  end)

  local function run(fn)
    local ok
    hawser.run(function()
      fn()
      ok = true
    end)
    assert.is_true(ok)
  end

  describe("carries both ways at once", function()
    local data = bytes_of(1048576)

    local function echo(of, path)
      run(function()
        local s = assert(of:open_stream { path = path })
        local sender = hawser.spawn(function()
          for at = 1, #data, 70001 do assert(s:send(data:sub(at, at + 70000))) end
          assert(s:finish())
          return true
        end)
        local back, err = received(s)
        assert.is_nil(err)
        assert.is_true(back == data)
        assert.same({ true, true }, { sender:join() })
        assert.equal("closed", s.state)
      end)
    end

    it("1 MiB with Node", function() echo(api, "/echo") end)
    it("1 MiB through small windows", function()
      echo(upstream("small", node, { h2 = { window = 65535, window_max = 65535 } }), "/echo")
    end)
    it("1 MiB with nghttpd", function() echo(upstream("nghttpd", nghttpd), "/") end)
    it("1 MiB from the main thread, in a dialogue", function()
      local s = assert(api:open_stream { path = "/echo" })
      for at = 1, #data, 65536 do
        local piece = data:sub(at, at + 65535)
        assert(s:send(piece))
        local back = ""
        while #back < #piece do back = back .. assert(s:receive()) end
        assert.is_true(back == piece)
      end
      assert(s:finish())
      assert.is_nil(s:receive())
      assert.equal("closed", s.state)
    end)
  end)

  describe("is half-closed", function()
    it("by us first", function()
      run(function()
        local s = assert(api:open_stream { path = "/echo" })
        assert.equal("active", s.state)
        assert(s:send "hello")
        assert(s:finish())
        assert.equal("half_closed_local", s.state)
        assert.equal("hello", s:receive())
        assert.is_nil(s:receive())
        assert.equal("closed", s.state)
        local ok, err = s:send "more"
        assert.is_nil(ok)
        assert.equal("closed", err.kind)
      end)
    end)

    it("by the peer first, and sends on to the last byte", function()
      local text = bytes_of(300000)
      run(function()
        local s = assert(api:open_stream { path = "/ahead" })
        assert.equal("ahead", (received(s)))
        assert.equal("half_closed_remote", s.state)
        assert.is_nil(s:receive())
        assert(s:send(text))
        assert.equal("half_closed_remote", s.state)
        assert(s:finish())
        local patience = 2000
        while s.state ~= "closed" and patience > 0 do
          hawser.sleep(0.005)
          patience = patience - 1
        end
        assert.equal("closed", s.state)
        patience = 2000
        local counted
        repeat
          counted = assert(api:get "/counted").body
          patience = patience - 1
        until counted == tostring(#text) or patience == 0
        assert.equal(tostring(#text), counted)
      end)
      assert.equal(1, api:stats().created)
    end)
  end)

  describe("has", function()
    it("headers, a status, a peer and trailers", function()
      run(function()
        local s = assert(api:open_stream { method = "GET", path = "/trailers", headers = { ["x-a"] = "1" } })
        assert.is_nil(s.status)
        assert(s:finish())
        local headers = assert(s:headers())
        assert.equal("2.0", headers["X-Protocol"])
        assert.equal("GET", headers["x-method"])
        assert.equal(headers, s:headers())
        assert.equal(200, s.status)
        assert.equal("127.0.0.1:" .. node.h2c, s.peer)
        assert.is_nil(s:trailers())
        assert.equal("ok", (received(s)))
        assert.equal("218", s:trailers()["x-sum"])
        assert.equal(200, s.status)
        assert.equal(headers, s:headers())
      end)
    end)

    it("an id of its own", function()
      run(function()
        local ids = {}
        for i = 1, 5 do
          local s = assert(api:open_stream { path = "/never" })
          assert.is_nil(ids[s.id])
          ids[s.id] = i
          assert.equal(s, m:stream(s.id))
          s:close()
        end
      end)
    end)
  end)

  describe("is reset", function()
    it("by us, with any code", function()
      run(function()
        for _, code in ipairs { "CANCEL", "INTERNAL_ERROR", 4711, 0 } do
          local s = assert(api:open_stream { path = "/never" })
          assert.is_true(s:reset(code))
          assert.equal("closed", s.state)
          local chunk, err = s:receive()
          assert.is_nil(chunk)
          assert.equal("closed", err.kind)
          assert.is_nil(s:send "x")
          assert.is_true(s:reset(code))
        end
        assert.equal("ok", assert(api:get "/ok").body)
      end)
      assert.equal(1, api:stats().created)
      assert.is_false((pcall(function() api:open_stream({ path = "/never" }):reset "NOTHING" end)))
    end)

    it("by the peer, with its code", function()
      local rows = { { 8, "CANCEL" }, { 2, "INTERNAL_ERROR" }, { 11, "ENHANCE_YOUR_CALM" }, { 7, "REFUSED_STREAM" } }
      run(function()
        for _, row in ipairs(rows) do
          local s = assert(api:open_stream { path = "/rst/" .. row[1] })
          local headers, err = s:headers()
          assert.is_nil(headers)
          assert.equal("reset", err.kind)
          assert.equal(row[2], err.code)
          assert.equal("error", s.state)
          assert.equal(row[2], select(2, s:receive()).code)
          assert.equal(row[2], select(2, s:send "x").code)
        end
        local s = assert(api:open_stream { path = "/rst-body/2" })
        local text, err = received(s)
        assert.equal("xxxxx", text)
        assert.equal("INTERNAL_ERROR", err.code)
        assert.equal("error", s.state)
      end)
    end)

    it("by the loss of its connection", function()
      run(function()
        local s = assert(api:open_stream { path = "/echo" })
        local other = assert(api:open_stream { path = "/destroy" })
        local _, err = s:receive()
        assert.equal("reset", err.kind)
        assert.equal("error", s.state)
        assert.equal("reset", select(2, other:receive()).kind)
      end)
    end)
  end)

  describe("has deadlines", function()
    it("for all of it, where one is given", function()
      run(function()
        local s = assert(api:open_stream { path = "/echo", timeout = SHORT })
        local _, err = s:headers()
        assert.equal("timeout", err.kind)
        assert.equal("error", s.state)
      end)
    end)

    it("for opening, where none is given", function()
      local narrow = upstream("narrow", node,
        { limits = { streams = 1, per_peer = 1 }, timeouts = { request = ENOUGH } })
      run(function()
        local first = assert(narrow:open_stream { path = "/echo" })
        local second, err = narrow:open_stream { path = "/echo" }
        assert.is_nil(second)
        assert.equal("timeout", err.kind)
        assert.equal("queue", err.phase)
        assert(first:send "x")
        assert.equal("x", first:receive())
        first:close()
      end)
    end)

    it("for who waits for bytes", function()
      local hasty = upstream("hasty", node, { timeouts = { read = SHORT } })
      run(function()
        local s = assert(hasty:open_stream { path = "/echo" })
        hawser.sleep(3 * SHORT)
        assert.equal("active", s.state)
        local _, err = s:receive()
        assert.equal("timeout", err.kind)
        assert.equal("error", s.state)
      end)
    end)
  end)

  describe("can be left", function()
    -- Cancels fn, a task that waits, and returns its error.
    local function canceled(fn)
      local err
      local task = hawser.spawn(function()
        local _
        _, err = fn()
      end)
      hawser.sleep(SHORT / 2)
      task:cancel()
      task:join()
      return err
    end

    it("while it is being opened", function()
      local narrow = upstream("narrow", node, { limits = { streams = 1, per_peer = 1 } })
      run(function()
        local first = assert(narrow:open_stream { path = "/echo" })
        assert.equal("canceled", canceled(function() return narrow:open_stream { path = "/echo" } end).kind)
        first:close()
        assert.equal(0, narrow:stats().queued)
      end)
    end)

    it("in every other wait, and goes on", function()
      run(function()
        local s = assert(api:open_stream { path = "/echo" })
        assert.equal("canceled", canceled(function() return s:receive() end).kind)
        local quiet = assert(api:open_stream { path = "/never" })
        assert.equal("canceled", canceled(function() return quiet:headers() end).kind)
        assert.equal("active", quiet.state)
        assert(s:send "hello")
        assert.equal("hello", s:receive())
        -- Node reads no further once nobody takes what it sends back.
        assert.equal("canceled", canceled(function() return s:send(bytes_of(64 * 1048576)) end).kind)
        assert.equal("active", s.state)
        assert.equal("string", type(s:receive()))
      end)
    end)

    it("by closing it while others wait on it", function()
      run(function()
        local s = assert(api:open_stream { path = "/never" })
        local errors = {}
        local tasks = {
          hawser.spawn(function() errors[1] = select(2, s:headers()) end),
          hawser.spawn(function() errors[2] = select(2, s:receive()) end),
        }
        hawser.sleep(SHORT / 2)
        assert.is_false((pcall(s.receive, s)))
        s:close()
        for _, task in ipairs(tasks) do task:join() end
        assert.equal("closed", errors[1].kind)
        assert.equal("closed", errors[2].kind)
      end)
    end)
  end)

  it("calls back", function()
    local log = {}
    run(function()
      api:open_stream({ path = "/echo" }, function(s, err)
        assert(s, err)
        log[#log + 1] = s.state
        s:send("hello", function(ok)
          log[#log + 1] = ok
          s:finish()
          s:headers(function(headers) log[#log + 1] = headers["x-protocol"] end)
          s:receive(function(chunk)
            log[#log + 1] = chunk
            s:receive(function(nothing, why)
              log[#log + 1] = nothing == nil and why == nil
              s:receive(function(still, none) log[#log + 1] = still == nil and none == nil end)
              s:headers(function(headers) log[#log + 1] = headers["x-method"] end)
            end)
          end)
        end)
      end)
    end)
    assert.same({ "active", true, "2.0", "hello", true, true, "POST" }, log)
  end)

  it("that is collected while it is open is closed and reported", function()
    local leaks = {}
    m:on("leak", function(e) leaks[#leaks + 1] = e end)
    run(function()
      do
        local s = assert(api:open_stream { path = "/never" })
        assert.equal("active", s.state)
      end
      for _ = 1, 20 do
        collectgarbage()
        hawser.sleep(0.005)
        if #leaks > 0 then break end
      end
    end)
    assert.equal(1, #leaks)
    assert.equal("stream", leaks[1].reason)
    assert.equal("node", leaks[1].upstream)
    assert.equal("127.0.0.1:" .. node.h2c, leaks[1].peer)
    assert.is_truthy(tostring(leaks[1].where or leaks[1].text):find("stream_spec.lua", 1, true))
    assert.equal(0, ledger.settled(api).busy)
  end)

  it("may be read slowly while a hundred others are fast", function()
    local text = bytes_of(200000)
    run(function()
      local slow = assert(api:open_stream { method = "GET", path = "/bytes/8000000" })
      assert(slow:finish())
      local fast = {}
      for i = 1, 99 do
        fast[i] = function()
          local s = assert(api:open_stream { path = "/echo" })
          local sender = hawser.spawn(function() return s:send(text) and s:finish() end)
          local back, err = received(s)
          assert.is_nil(err)
          assert.is_true(back == text)
          sender:join()
          return s.state
        end
      end
      for _, result in ipairs(hawser.all(fast)) do assert.same({ true, "closed" }, result) end
      local rest = received(slow)
      assert.equal(8000000, #rest)
    end)
    assert.equal(1, api:stats().created)
  end)

  describe("of the manager", function()
    it("is known by its id", function()
      run(function()
        local id = assert(m:open_stream("node/127.0.0.1:" .. node.h2c, 1, { path = "/echo" }))
        collectgarbage()
        collectgarbage()
        assert.is_true(m:send_stream_data(id, "hello"))
        local s = m:stream(id)
        assert.equal(id, s.id)
        assert.equal("hello", s:receive())
        assert.is_true(m:close_stream(id))
        assert.equal("closed", s.state)
        for _, results in ipairs { { m:stream(id) }, { m:close_stream(id) }, { m:send_stream_data(id, "x") } } do
          assert.is_nil(results[1])
          assert.equal("closed", results[2].kind)
        end
      end)
    end)

    it("is of an upstream behind the scenes, for an address in none", function()
      run(function()
        local id = assert(m:open_stream("h2c://127.0.0.1:" .. nghttpd.h2c, nil, { method = "GET", path = "/hello" }))
        local s = m:stream(id)
        assert(s:finish())
        assert.equal("hello\n", (received(s)))
        assert(m:close_stream(id))
      end)
    end)

    it("needs no priority and no options", function()
      local peer = "node/127.0.0.1:" .. node.h2c
      run(function()
        local ids = { assert(m:open_stream(peer)), assert(m:open_stream(peer, { path = "/echo" })) }
        m:open_stream(peer, function(id) ids[3] = id end)
        m:open_stream(peer, 1, function(id) ids[4] = id end)
        m:open_stream(peer, { path = "/echo" }, function(id) ids[5] = id end)
        m:open_stream(peer, nil, { path = "/echo" }, function(id) ids[6] = id end)
        local patience = 2000
        while not (ids[3] and ids[4] and ids[5] and ids[6]) and patience > 0 do
          hawser.sleep(0.005)
          patience = patience - 1
        end
        for i = 1, 6 do assert.is_true(m:close_stream(ids[i])) end
      end)
    end)

    it("goes to a peer that there is", function()
      local id, err = m:open_stream("node/nobody", 3)
      assert.is_nil(id)
      assert.equal("invalid", err.kind)
    end)
  end)

  it("is what gRPC needs", function()
    local calls = upstream("grpc", grpc)
    run(function()
      local headers = { ["content-type"] = "application/grpc" }
      local s = assert(calls:open_stream { path = "/hawser.Echo/Chat", headers = headers })
      for i = 1, 3 do
        local message = "\0\0\0\0\1" .. i
        assert(s:send(message))
        assert.equal(message, s:receive())
      end
      assert(s:finish())
      assert.is_nil(s:receive())
      assert.equal("0", s:trailers()["grpc-status"])
      assert.equal("closed", s.state)
    end)
  end)
end)
