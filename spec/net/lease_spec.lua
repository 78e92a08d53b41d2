--- Leases on a raw line protocol: reading, writing, giving back, and every way to fail.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over

describe("a lease", function()
  local faultd, m, raw

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function peer() return "tcp://127.0.0.1:" .. faultd.raw end

  before_each(function()
    m = hawser.new { log = function() end }
    raw = m:upstream("raw", { peers = { peer() } })
    faultd:ask "zero"
  end)

  after_each(function()
    local stats = ledger.settled(raw)
    m:close()
    faultd:ask "await/raw/open/0"
    ledger.is_at_rest(stats)
  end)

  -- Runs fn with a lease, in a task; whatever state it leaves the lease in is no matter.
  local function with_lease(fn)
    assert(raw:with(function(conn)
      fn(conn)
      return true
    end))
  end

  local function ask(conn, line)
    assert(conn:write(line .. "\r\n"))
    return assert(conn:read "line")
  end

  describe("reads", function()
    it("a line, without its end", function()
      with_lease(function(conn)
        assert.equal("hello", ask(conn, "hello"))
        assert.equal("", ask(conn, ""))
        assert(conn:write "+hex 610a620d0a\r\n") -- "a" LF "b" CR LF
        assert.equal("a", conn:read "line")
        assert.equal("b", conn:read "line")
      end)
    end)

    it("exactly n bytes, also none and also very many", function()
      with_lease(function(conn)
        assert(conn:write "+bytes 1000000\r\n")
        assert.equal("", conn:read(0))
        assert.equal("xxx", conn:read(3))
        assert.equal(999997, #assert(conn:read(999997)))
      end)
    end)

    it("what is there", function()
      with_lease(function(conn)
        assert(conn:write "+bytes 5\r\n")
        local got = ""
        while #got < 5 do got = got .. assert(conn:read "some") end
        assert.equal("xxxxx", got)
      end)
    end)

    it("up to a delimiter, which is part of the result", function()
      with_lease(function(conn)
        assert(conn:write(("+hex %s\r\n"):format(servers.hex "one::two:::three::")))
        assert.equal("one::", conn:read_until "::")
        assert.equal("two::", conn:read_until "::")
        assert.equal(":three::", conn:read_until "e::")
      end)
    end)

    it("all that comes until the peer has finished", function()
      with_lease(function(conn)
        assert(conn:write "one\r\n+bytes 3\r\n+fin\r\n")
        assert.equal("one\r\nxxx", conn:read "all")
      end)
    end)

    it("with nothing lost between two kinds of reading", function()
      with_lease(function(conn)
        assert(conn:write(("+hex %s\r\n"):format(servers.hex "$5\r\nhello\r\n+OK\r\n")))
        assert.equal("$5", conn:read "line")
        assert.equal("hello", conn:read(5))
        assert.equal("", conn:read "line")
        assert.equal("+OK", conn:read "line")
      end)
    end)
  end)

  describe("that cannot read what it wants", function()
    it("says 'reset' with what it got when the peer finishes early", function()
      with_lease(function(conn)
        assert(conn:write "+bytes 3\r\n+fin\r\n")
        local data, err = conn:read(5)
        assert.is_nil(data)
        assert.equal("reset", err.kind)
        assert.equal("EOF", err.code)
        assert.equal("xxx", err.partial)
      end)
    end)

    it("says 'reset' when the peer resets", function()
      with_lease(function(conn)
        assert(conn:write "+rst\r\n")
        local data, err = conn:read "line"
        assert.is_nil(data)
        assert.equal("reset", err.kind)
        assert.equal("ECONNRESET", err.code)
        assert.equal("127.0.0.1:" .. faultd.raw, err.peer)
      end)
    end)

    it("says 'limit' past the maximum of a line or a delimiter, and is broken then", function()
      for _, read in ipairs {
        function(conn) return conn:read("line", 10) end,
        function(conn) return conn:read_until("!", 10) end,
      } do
        with_lease(function(conn)
          assert(conn:write "+bytes 100\r\n")
          local data, err = read(conn)
          assert.is_nil(data)
          assert.equal("limit", err.kind)
          assert.equal("LINE_SIZE", err.code)
          assert.is_nil((conn:read "some"))
        end)
      end
    end)

    it("says 'timeout', consumes nothing, and can go on", function()
      with_lease(function(conn)
        conn:timeout(ENOUGH)
        assert(conn:write "+hex 6162\r\n") -- "ab", and no end of the line
        local data, err = conn:read "line"
        assert.is_nil(data)
        assert.equal("timeout", err.kind)
        assert.equal("ab", err.partial)
        assert(conn:write "+hex 63640d0a\r\n")
        assert.equal("abcd", conn:read "line")
      end)
    end)

    it("does not time out while drops keep coming", function()
      with_lease(function(conn)
        conn:timeout(5 * SHORT)
        assert(conn:write "+drip 20 30\r\n")
        assert.equal(("x"):rep(20), conn:read(20))
      end)
    end)
  end)

  describe("writes", function()
    it("strings in order", function()
      with_lease(function(conn)
        for i = 1, 100 do assert(conn:write(i .. "\r\n")) end
        for i = 1, 100 do assert.equal(tostring(i), conn:read "line") end
      end)
    end)

    it("only as fast as the peer reads", function()
      local written = 0
      hawser.run(function()
        local conn = assert(raw:acquire())
        assert(conn:write "+unread reader\r\n")
        faultd:ask "held/reader/1"
        local line = ("y"):rep(65534) .. "\r\n"
        local writer = hawser.spawn(function()
          for _ = 1, 400 do
            assert(conn:write(line))
            written = written + 1
          end
        end)
        local before
        repeat
          before = written
          for _ = 1, 20 do faultd:ask "get/raw/open" end
        until written == before
        assert.is_true(written < 400, "all 25 MiB were taken while nobody read")
        faultd:ask "release/reader"
        assert.equal("+resumed", conn:read "line")
        for _ = 1, 400 do assert.equal(65534, #assert(conn:read("line", 65536))) end
        assert.is_true((writer:join()))
        conn:release()
      end)
      assert.equal(1, raw:stats().idle)
    end)

    it("a half-close, after which it can still read", function()
      with_lease(function(conn)
        assert(conn:write "one\r\n")
        conn:finish()
        assert.equal("one\r\nbye\r\n", conn:read "all")
      end)
    end)

    it("not to a peer that is gone, and lives to tell", function()
      with_lease(function(conn)
        assert(conn:write "+rst\r\n")
        local ok, err
        repeat ok, err = conn:write(("x"):rep(65536)) until not ok
        assert.equal("reset", err.kind)
      end)
    end)
  end)

  describe("given back", function()
    local function id_of(conn) return ask(conn, "+id") end

    it("serves again, as the same connection", function()
      hawser.run(function()
        local conn = assert(raw:acquire())
        local id = id_of(conn)
        conn:release()
        conn = assert(raw:acquire())
        assert.equal(id, id_of(conn))
        conn:release()
      end)
      assert.equal(1, raw:stats().reused)
    end)

    it("is closed instead when something is unread", function()
      hawser.run(function()
        local conn = assert(raw:acquire())
        assert(conn:write "+bytes 10\r\n")
        assert.equal("x", conn:read(1))
        conn:release()
      end)
      assert.equal(0, raw:stats().open)
    end)

    it("is closed instead after a half-close or a read that timed out", function()
      for _, spoil in ipairs {
        function(conn) conn:finish() end,
        function(conn)
          conn:timeout(0.01)
          assert.is_nil((conn:read "line"))
        end,
      } do
        hawser.run(function()
          local conn = assert(raw:acquire())
          spoil(conn)
          conn:release()
        end)
        assert.equal(0, raw:stats().open)
      end
    end)

    it("is over: every method says so, and ending it again is harmless", function()
      hawser.run(function()
        local conn = assert(raw:acquire())
        conn:release()
        local ok, err = conn:write "x"
        assert.is_nil(ok)
        assert.equal("closed", err.kind)
        assert.equal("closed", select(2, conn:read "line").kind)
        conn:release()
        conn:close()
      end)
      assert.equal(1, raw:stats().idle)
    end)

    it("loses its own timeout", function()
      raw:update { timeouts = { read = 10 } }
      hawser.run(function()
        local conn = assert(raw:acquire())
        conn:timeout(0.01)
        conn:release()
        conn = assert(raw:acquire())
        assert(conn:write("+drip 1 50\r\n"))
        assert.equal("x", conn:read(1))
        conn:release()
      end)
    end)

    it("keeps conn.data with the connection", function()
      hawser.run(function()
        local conn = assert(raw:acquire())
        conn.data.prepared = "yes"
        conn:release()
        conn = assert(raw:acquire())
        assert.equal("yes", conn.data.prepared)
        conn:close()
        conn = assert(raw:acquire())
        assert.is_nil(conn.data.prepared)
        conn:release()
      end)
    end)

    it("is watched: the peer's FIN, RST or unasked bytes close it at once", function()
      for poke, reason in pairs { fin = "peer", rst = "peer", bytes = "unexpected" } do
        local before = ledger.closed(raw:stats(), reason)
        hawser.run(function() assert(raw:acquire()):release() end)
        faultd:ask "await/raw/open/1" -- it may have connected before the server accepts
        faultd:ask("poke/raw/" .. poke)
        faultd:ask "await/raw/open/0"
        assert.equal(before + 1, ledger.closed(raw:stats(), reason))
      end
    end)
  end)

  describe("of with()", function()
    it("is released at the end, and the function's results come out", function()
      local one, two = raw:with(function(conn) return ask(conn, "hello"), 2 end)
      assert.equal("hello", one)
      assert.equal(2, two)
      assert.equal(1, raw:stats().idle)
    end)

    it("is closed when the function raises, and the error is raised again", function()
      assert.has_error(function() raw:with(function() error("boom", 0) end) end)
      assert.equal(0, raw:stats().open)
    end)

    it("is none when it cannot be acquired", function()
      local closed = m:upstream("closed", { peers = { "tcp://127.0.0.1:" .. faultd.closed } })
      local called = false
      local result, err = closed:with({ timeout = 1 }, function() called = true end)
      assert.is_nil(result)
      assert.equal("refused", err.kind)
      assert.is_false(called)
      ledger.is_at_rest(ledger.settled(closed))
    end)
  end)

  describe("is acquired", function()
    it("within the caps: the next one waits until one is given back", function()
      raw:update { limits = { per_peer = 1 } }
      hawser.run(function()
        local first = assert(raw:acquire())
        local second = hawser.spawn(function()
          local conn = assert(raw:acquire())
          local line = ask(conn, "second")
          conn:release()
          return line
        end)
        hawser.sleep(0)
        assert.equal(1, raw:stats().queued)
        first:release()
        local _, line = second:join()
        assert.equal("second", line)
      end)
      assert.equal(1, faultd:ask "get/raw/most")
    end)

    it("within its timeout, or not", function()
      raw:update { limits = { per_peer = 1 } }
      hawser.run(function()
        local first = assert(raw:acquire())
        local second, err = raw:acquire { timeout = SHORT }
        assert.is_nil(second)
        assert.equal("timeout", err.kind)
        assert.equal("queue", err.phase)
        first:release()
      end)
    end)

    it("with a callback, too", function()
      local line
      raw:acquire({}, function(conn)
        conn:write("hello\r\n", function()
          conn:read("line", function(got)
            line = got
            conn:release()
          end)
        end)
      end)
      hawser.run()
      assert.equal("hello", line)
    end)

    it("never by two at once, under load", function()
      raw:update { limits = { per_peer = 4 } }
      local calls = {}
      for i = 1, 100 do
        calls[i] = function()
          return raw:with(function(conn)
            for round = 1, 5 do
              local line = ("%d of %d"):format(round, i)
              assert.equal(line, ask(conn, line))
            end
            return true
          end)
        end
      end
      for _, outcome in ipairs(hawser.all(calls)) do assert.is_true(outcome[1], tostring(outcome[2])) end
      assert.equal(4, faultd:ask "get/raw/most")
      assert.equal(4, raw:stats().created)
    end)

    it("over a unix socket, too", function()
      local unix = m:upstream("unix", { peers = { "unix:" .. faultd.unix_raw } })
      assert.equal("hello", unix:with(function(conn) return ask(conn, "hello") end))
      ledger.is_at_rest(ledger.settled(unix))
    end)

    it("not for HTTP, which has no use for it", function()
      local http = m:upstream("http", { peers = { "http://127.0.0.1:" .. faultd.http } })
      local ok, conn, err = pcall(http.acquire, http)
      assert.is_falsy(ok and conn)
      if ok then assert.equal("unsupported", err.kind) end
    end)
  end)

  describe("with setup", function()
    local function secured(setup, options)
      options = options or {}
      options.peers, options.setup = { peer() }, setup
      return m:upstream("secured", options)
    end

    it("is ready only when setup said so, once for each connection", function()
      local setups = 0
      local api = secured(function(conn)
        setups = setups + 1
        return ask(conn, "+auth secret") == "+OK"
      end)
      for _ = 1, 3 do
        assert.equal("2", (api:with(function(conn)
          local count = ask(conn, "+count")
          conn:close()
          return count
        end)))
      end
      assert.equal(3, setups)
      for _ = 1, 3 do api:with(function(conn) return ask(conn, "hello") end) end
      assert.equal(4, setups)
      ledger.is_at_rest(ledger.settled(api))
    end)

    local refusals = {
      ["says nil"] = function(conn) return ask(conn, "+auth wrong") == "+OK" or nil end,
      ["says false"] = function(conn) return ask(conn, "+auth wrong") == "+OK", "wrong password" end,
      ["raises"] = function() error("broken setup", 0) end,
    }
    for how, setup in pairs(refusals) do
      it(("is a failed dial when setup %s"):format(how), function()
        local api = secured(setup)
        local conn, err = api:acquire()
        assert.is_nil(conn)
        assert.equal("connect", err.kind)
        assert.equal("SETUP", err.code)
        ledger.is_at_rest(ledger.settled(api))
        assert.equal(0, api:stats().open)
      end)
    end

    it("tells the reason that setup gave", function()
      local api = secured(function() return false, "the moon is full" end)
      local _, err = api:acquire()
      assert.is_truthy(err.message:find("the moon is full", 1, true))
    end)

    it("is a failed dial when setup takes longer than timeouts.connect", function()
      local api = secured(function(conn) return conn:read "line" end, { timeouts = { connect = SHORT } })
      local conn, err = api:acquire()
      assert.is_nil(conn)
      assert.is_true(err.kind == "timeout" or err.code == "SETUP", tostring(err))
      ledger.is_at_rest(ledger.settled(api))
    end)
  end)
end)
