--- Leases: their methods' arguments, data, setup, `with`, and the report when one is lost.
local hawser = require "hawser"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

describe("a lease", function()
  local faultd, m, raw

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function upstream(name, options)
    options = options or {}
    options.peers = options.peers or { "tcp://127.0.0.1:" .. faultd.raw }
    return m:upstream(name, options)
  end

  before_each(function()
    m = hawser.new()
    raw = upstream "raw"
  end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  local function ask(conn, line)
    assert(conn:write(line .. "\n"))
    return conn:read "line"
  end

  it("belongs to a raw upstream", function()
    local http = m:upstream("http", { peers = { "http://127.0.0.1:" .. faultd.http } })
    local conn, err = http:acquire()
    assert.is_nil(conn)
    assert.equal("unsupported", err.kind)
    local res
    res, err = raw:get "/"
    assert.is_nil(res)
    assert.equal("unsupported", err.kind)
  end)

  it("knows its peer, and whether its connection had served before", function()
    local conn = assert(raw:acquire())
    assert.same({ "127.0.0.1:" .. faultd.raw, false }, { conn.peer, conn.reused })
    ask(conn, "hello")
    conn:release()
    conn = assert(raw:acquire())
    assert.is_true(conn.reused)
    assert.is_nil(conn.no_such_field)
    conn:close()
  end)

  it("keeps a table with its connection", function()
    local conn = assert(raw:acquire())
    conn.data.count = 1
    assert.equal(1, conn.data.count)
    conn:release()
    conn = assert(raw:acquire())
    assert.equal(1, conn.data.count)
    conn.data = { other = true }
    assert.same({ other = true }, conn.data)
    conn.data = nil
    assert.same({}, conn.data)
    conn:close()
    assert.is_nil(conn.data)
    conn = assert(raw:acquire())
    assert.same({}, conn.data)
    conn:close()
  end)

  it("frees that table with the connection", function()
    local weak = setmetatable({}, { __mode = "v" })
    local function use()
      local conn = assert(raw:acquire())
      weak[1] = {}
      conn.data = { weak[1] }
      conn:release()
    end
    use()
    collectgarbage()
    assert.equal("table", type(weak[1]))
    raw:close()
    hawser.sleep(0)
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
  end)

  it("has no other field to set", function()
    local conn = assert(raw:acquire())
    raises("a lease has one field that can be set: data", function() conn.peer = "x" end)
    raises("data is 1; allowed: a table, or nil", function() conn.data = 1 end)
    conn:close()
    raises("the lease has ended", function() conn.data = {} end)
  end)

  it("once ended does nothing any more", function()
    for _, ending in ipairs { "release", "close" } do
      local conn = assert(raw:acquire())
      local read, write = conn.read, conn.write
      assert.is_true(conn[ending](conn))
      assert.is_true(conn:release())
      assert.is_true(conn:close())
      for _, outcome in ipairs {
        { conn:read(1) }, { conn:read "line" }, { conn:read "all" }, { conn:read_until "x" }, { conn:write "x" },
        { conn:finish() }, { conn:timeout(1) }, { read(conn, 1) }, { write(conn, "x") },
      } do
        assert.is_nil(outcome[1])
        assert.equal("closed", outcome[2].kind)
      end
      local kind
      conn:read(1, function(_, err) kind = err.kind end)
      hawser.run()
      assert.equal("closed", kind)
    end
  end)

  it("gives what was read so far with an error", function()
    local conn = assert(raw:acquire())
    assert(conn:write "+hex 616263\n")
    assert(conn:timeout(.5)) -- by when they have come
    local text, err = conn:read(10)
    assert.is_nil(text)
    assert.equal("timeout", err.kind)
    assert.equal("abc", err.partial)
    assert.equal("abc", conn:read(3))
    conn:close()
  end)

  it("has one reader and one writer at a time, which may be two tasks", function()
    local conn = assert(raw:acquire())
    local handle = conn:read(5, function() end)
    raises("somebody else is waiting in a read of this lease", function() conn:read(1) end)
    assert.is_true(conn:write "hello\n")
    hawser.run()
    handle:cancel()
    assert.equal("\r\n", conn:read(2))

    local text
    hawser.run(function()
      local reader = hawser.spawn(function() text = conn:read(3) end)
      hawser.sleep(.001)
      assert(conn:write "ab")
      assert(conn:write "\n")
      reader:join()
    end)
    assert.equal("ab\r", text)
    conn:close()
  end)

  it("reads on for the others when one is canceled", function()
    local conn = assert(raw:acquire())
    local outcomes = {}
    local reading = conn:read(5, function(text, err) outcomes.read = text or err.kind end)
    assert(conn:write "+unread lease_spec\n")
    conn:write(("x"):rep(8 * 1024 * 1024) .. "\n", function(ok, err) outcomes.write = ok or err.kind end)
    hawser.sleep(.02)
    reading:cancel()
    hawser.sleep(.01)
    assert.same({ read = "canceled" }, outcomes)
    faultd:ask "release/lease_spec"
    while not outcomes.write do hawser.sleep(.001) end
    assert.is_true(outcomes.write)
    assert.equal("+resumed", conn:read "line")
    conn:close()
  end)

  it("is not pooled while a read waits, whose answer would be the next one's", function()
    local conn = assert(raw:acquire())
    local read
    conn:read("line", function(line, err) read = { line, err and err.kind } end)
    conn:release()
    local after = assert(raw:acquire())
    assert.is_false(after.reused)
    assert.equal("hello", ask(after, "hello"))
    assert.same({ nil, "closed" }, read)
    after:release()
  end)

  it("cannot be finished while a write waits", function()
    local conn = assert(raw:acquire())
    conn:write(("x"):rep(2 ^ 24), function() end)
    raises("a write of this lease is not over", function() conn:finish() end)
    conn:close()
  end)

  it("ends the waits of those who still use it", function()
    local conn = assert(raw:acquire())
    local kinds = {}
    local task = hawser.spawn(function() kinds[1] = select(2, conn:read(5)).kind end)
    hawser.sleep(0)
    conn:release()
    task:join()
    assert.same({ "closed" }, kinds)
    hawser.sleep(0)
    assert.equal(0, raw:stats().busy)
  end)

  it("refuses arguments that make no sense", function()
    local conn = assert(raw:acquire())
    local nan, inf = 0 / 0, 1 / 0
    for _, what in ipairs { -1, .5, nan, inf, 1e300, 2 ^ 40 } do
      raises("the number of bytes to read is .*; allowed: a whole number, 0", function() conn:read(what) end)
    end
    for _, what in ipairs { "lines", "", true, {}, print } do
      raises('what is to be read is .*; allowed: a number of bytes, "some", "line" or "all"',
        function() conn:read(what) end)
    end
    raises("what is to be read is missing", function() conn:read() end)
    raises("the most bytes to read is %-1", function() conn:read("line", -1) end)
    raises("the most bytes to read is \"x\"", function() conn:read("all", "x") end)
    for _, delimiter in ipairs { "", ("x"):rep(65), 1, true } do
      raises("the delimiter is .*; allowed: a string of 1 to 64 bytes", function() conn:read_until(delimiter) end)
    end
    for _, data in ipairs { 1, true, {}, print } do
      raises("what is to be written is .*; allowed: a string", function() conn:write(data) end)
    end
    raises("the callback is 1", function() conn:write("x", 1) end)
    raises("the callback is true", function() conn:read("line", 10, true) end)
    for _, span in ipairs { 0, -1, nan, inf, "1" } do
      raises("the timeout is .*; allowed: a number of seconds above 0", function() conn:timeout(span) end)
    end
    raises("a method of hawser.Conn was called on", function() conn.read() end)
    raises("a method of hawser.Conn was called on", function() conn.read({}, 1) end)
    raises("a method of hawser.Conn was called on", function() conn.read(setmetatable({}, getmetatable(conn)), 1) end)
    raises("a method of hawser.Conn was called on hawser.Upstream", function() conn.read(raw, 1) end)
    raises("a method of hawser.Upstream was called on hawser.Conn", function() raw.acquire(conn) end)
    raises("a method of hawser.Conn was called on", function() conn.read(io.stdout, 1) end)
    raises('unknown option "time"', function() raw:acquire { time = 1 } end)
    raises("timeout is 0", function() raw:acquire { timeout = 0 } end)
    raises("the options of acquire is 1", function() raw:acquire(1) end)
    conn:close()
    raises("a method of hawser.Upstream was called on hawser.Conn", function() raw.acquire(conn) end)
  end)

  it("is not what merely has its metatable", function()
    local conn = assert(raw:acquire())
    local file = assert(io.tmpfile())
    local own = debug.getmetatable(file)
    debug.setmetatable(file, getmetatable(conn))
    raises("a method of hawser.Conn was called on hawser.Conn", function() file:read(1) end)
    assert.has_error(function() return file.peer end)
    debug.setmetatable(file, own)
    file:close()
    conn:close()
  end)

  it("takes any bytes", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes)
    local conn = assert(upstream("http", { peers = { "tcp://127.0.0.1:" .. faultd.http } }):acquire())
    assert(conn:write(("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"):format(#all, "")))
    assert.is_true(conn:write(all))
    assert.is_true(conn:write "")
    assert.is_truthy(conn:read_until("\r\n\r\n"):find "^HTTP/1.1 200 ")
    assert.equal("", conn:read(0))
    assert.equal(all:sub(1, 1), conn:read_until "\0")
    assert.equal(all:sub(2), conn:read(#all - 1))
    conn:close()
  end)

  describe("that is lost", function()
    local leaks
    before_each(function()
      leaks = {}
      m:on("leak", function(event) leaks[#leaks + 1] = event end)
    end)

    local function collect()
      collectgarbage()
      collectgarbage()
      hawser.sleep(0)
    end

    it("is closed, and reported with where it was acquired", function()
      local line
      local function lose(acquire)
        hawser.run(acquire)
        collect()
        assert.equal(1, #leaks)
        local leak = table.remove(leaks)
        assert.same({ "leak", "lease", "raw", "127.0.0.1:" .. faultd.raw },
          { leak.event, leak.reason, leak.upstream, leak.peer })
        assert.is_truthy(leak.text:find("lease_spec.lua:" .. line .. "$"), leak.text)
        assert.equal(0, raw:stats().open)
      end
      lose(function()
        line = debug.getinfo(1, "l").currentline + 1
        assert(raw:acquire())
      end)
      lose(function()
        line = debug.getinfo(1, "l").currentline + 1
        raw:acquire(function() end)
      end)
    end)

    it("goes to log, too", function()
      local logged = {}
      local other = hawser.new { log = function(...) logged[#logged + 1] = { ... } end }
      local function lose()
        assert(other:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } }):acquire())
      end
      lose()
      collect()
      other:close()
      assert.equal(1, #logged)
      assert.equal("warn", logged[1][1])
      assert.is_truthy(logged[1][2]:find "^a lease was never released; it was made at .*lease_spec.lua:%d+$")
      assert.equal("leak", logged[1][3].event)
    end)

    it("is told even when its manager is lost with it", function()
      local heard = 0
      local function lose()
        local other = hawser.new()
        other:on("leak", function() heard = heard + 1 end)
        assert(other:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } }):acquire())
      end
      lose()
      for _ = 1, 3 do collect() end
      assert.equal(1, heard)
    end)

    it("is none when it was released or closed", function()
      local function use()
        assert(raw:acquire()):release()
        assert(raw:acquire()):close()
        raw:with(function() end)
      end
      use()
      collect()
      assert.same({}, leaks)
    end)
  end)

  describe("with setup", function()
    it("gets each new connection once", function()
      local times = 0
      local api = upstream("setup", { setup = function(conn)
        times = times + 1
        conn.data.greeting = ask(conn, "hello")
        return true
      end })
      for _ = 1, 3 do
        local conn = assert(api:acquire())
        assert.equal("hello", conn.data.greeting)
        conn:release()
      end
      assert.equal(1, times)
    end)

    local failures = {
      { "returns nil", function() end, nil },
      { "returns false and a reason", function() return false, "not today" end, "not today" },
      { "returns nil and an error", function(conn)
        conn:write "hello\n"
        return conn:read_until("\n", 2)
      end, "delimiter" },
      { "raises", function() error("it broke", 0) end, "it broke" },
      { "raises a table", function() error {} end, nil },
      { "ends the lease", function(conn) conn:release() return true end, "a setup function returns true or false" },
    }
    for _, failure in ipairs(failures) do
      it("is a failed dial when it " .. failure[1], function()
        local api = upstream("setup", { setup = failure[2] })
        local conn, err = api:acquire()
        assert.is_nil(conn)
        assert.same({ "connect", "SETUP" }, { err.kind, err.code }, tostring(err))
        if failure[3] then assert.is_truthy(err.message:find(failure[3], 1, true), err.message) end
        assert.equal(0, api:stats().open)
      end)
    end

    it("can be changed and taken away", function()
      local api = upstream("setup", { breaker = false, setup = function() return false, "the first" end })
      assert.is_truthy(select(2, api:acquire()).message:find "the first")
      api:update { setup = function() return false, "the second" end }
      assert.is_truthy(select(2, api:acquire()).message:find "the second")
      api:update { setup = false }
      assert(api:acquire()):close()
    end)

    it("is given up when its manager is closed", function()
      local api = upstream("setup", { setup = function(conn) return conn:read(1) end })
      local kind
      api:acquire(function(_, err) kind = err.kind end)
      hawser.sleep(.02)
      m:close()
      hawser.run()
      assert.equal("closed", kind)
    end)
  end)

  describe("in with()", function()
    it("returns what the function returns, and is released", function()
      assert.same({ 1, nil, 3 }, { raw:with(function() return 1, nil, 3 end) })
      assert.same({ "hello" }, { raw:with(function(conn) return ask(conn, "hello") end) })
      assert.same({ created = 1, idle = 1 }, { created = raw:stats().created, idle = raw:stats().idle })
    end)

    it("is closed when the function raises, which is raised again", function()
      local thrown = { "a table" }
      for _, run in ipairs { function(fn) return fn() end, hawser.run } do
        local ok, value = pcall(run, function() return raw:with(function() error(thrown) end) end)
        assert.is_false(ok)
        assert.equal(thrown, value)
        assert.equal(0, raw:stats().open)
      end
    end)

    it("gives the callback what the function raises", function()
      local result
      raw:with(nil, function() error("it broke", 0) end, function(...) result = { ... } end)
      hawser.run()
      assert.same({ nil, "it broke" }, result)
    end)

    it("may be ended by the function itself", function()
      assert.equal("done", raw:with(function(conn)
        conn:close()
        return "done"
      end))
    end)

    it("refuses what is no function", function()
      raises("what upstream:with is to run is a nil; allowed: a function%(conn%)", function() raw:with() end)
      raises("what upstream:with is to run is a number", function() raw:with({}, 1) end)
      raises('unknown option "time"', function() raw:with({ time = 1 }, print) end)
      raises("the callback is a number", function() raw:with({}, print, 1) end)
      raises("a method of hawser.Upstream was called on a table", function() raw.with({}, print) end)
    end)
  end)
end)
