--- Leases that are streams of yamux, against hashicorp's own implementation.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"
local Redis = require "examples.redis"

describe("yamux", function()
  local yamuxd, redisd, front, m, api

  lazy_setup(function()
    redisd = servers.redis()
    yamuxd = servers.yamuxd(redisd.port)
    front = servers.tls_front(yamuxd.server)
  end)
  lazy_teardown(function()
    front:stop()
    yamuxd:stop()
    redisd:stop()
  end)

  before_each(function()
    m = hawser.new()
    api = m:upstream("mux", { protocol = "yamux", peers = { "tcp://127.0.0.1:" .. yamuxd.server } })
  end)

  after_each(function()
    local stats = ledger.settled(api)
    m:close()
    ledger.is_at_rest(stats)
  end)

  -- A stream whose first line says what the peer does with it.
  local function open(what)
    local conn = assert(api:acquire())
    assert(conn:write(what .. "\n"))
    return conn
  end

  -- As many tasks as `count` run `fn(i)`; all have to return true.
  local function side_by_side(count, fn)
    local tasks = {}
    for i = 1, count do
      tasks[i] = function() return fn(i) end
    end
    for _, result in ipairs(hawser.all(tasks)) do
      assert.is_true(result[1], tostring(result[2]))
      assert.is_true(result[2])
    end
  end

  for transport, peer in pairs {
    tcp = function() return "tcp://127.0.0.1:" .. yamuxd.server end,
    unix = function() return "unix:" .. yamuxd.unix end,
    tls = function() return "tls://127.0.0.1:" .. front.port end,
  } do
    it("carries 64 leases on one connection, over " .. transport, function()
      api:update { peers = { peer() }, tls = { ca = servers.certificate "root.pem", server_name = "localhost" } }
      hawser.run(side_by_side, 64, function(i)
        return api:with(function(conn)
          assert(conn:write "echo\n")
          for round = 1, 10 do
            local line = ("%d of %d"):format(round, i)
            assert(conn:write(line .. "\r\n"))
            assert.equal(line, assert(conn:read "line"))
          end
          return true
        end)
      end)
      assert.equal(1, api:stats().created)
      assert.equal(64, api:stats().ok)
    end)
  end

  it("reads as any lease does", function()
    local conn = open "echo"
    assert(conn:write "abc;defghi\nrest")
    assert.equal("abc;", conn:read_until ";")
    assert.equal("def", conn:read(3))
    assert.equal("ghi", conn:read "line")
    assert(conn:finish())
    assert.equal("rest", conn:read "all")
    conn:close()
  end)

  it("waits for the peer's window, and the peer for ours", function()
    local bytes = ("0123456789abcdef"):rep(2 ^ 16)
    hawser.run(side_by_side, 4, function()
      local conn = open "echo"
      local writer = hawser.spawn(function()
        assert(conn:write(bytes))
        return conn:finish()
      end)
      local got = assert(conn:read "all")
      assert.is_true(writer:join())
      conn:close()
      return got == bytes
    end)
    assert.equal(1, api:stats().created)
  end)

  it("tells the end of either side", function()
    local conn = open "sink"
    assert(conn:write "12345")
    assert(conn:finish())
    assert.matches("^5 %x+$", assert(conn:read "line"))
    assert.is_nil(conn:read "line")
    conn:close()

    conn = open "half"
    assert.equal("bye\n", conn:read "all")
    conn:close()
  end)

  it("loses one stream without the others", function()
    local kept, lost = open "echo", open "source 10000000"
    assert(lost:read(10))
    lost:close()
    assert(kept:write "still there\n")
    assert.equal("still there", kept:read "line")
    kept:close()
    assert.equal(1, api:stats().created)
  end)

  it("opens no more on a connection that goes away", function()
    local conn = open "goaway"
    assert.equal("going", conn:read "line")
    local other = open "echo"
    assert.equal(2, api:stats().created)
    assert(conn:write "to the end\n")
    assert.equal("to the end", conn:read "line")
    conn:close()
    other:close()
  end)

  it("ends all leases of a connection that breaks", function()
    local other, conn = open "echo", open "close" -- in this order: the second ends the connection
    local _, err = conn:read "all"
    assert.equal("reset", err.kind)
    _, err = other:read "line"
    assert.equal("reset", err.kind)
    conn:close()
    other:close()
  end)

  it("gives a stream for open_stream, too", function()
    local conn = assert(api:open_stream())
    assert(conn:write "echo\nhello\n")
    assert.equal("hello", conn:read "line")
    conn:close()
  end)

  it("carries Redis, whose client does not know", function()
    -- Those that were released stay open until Redis has closed its side.
    api:update { peers = { "tcp://127.0.0.1:" .. yamuxd.relay }, limits = { streams = 256 } }
    local redis = setmetatable({ upstream = api }, Redis)
    assert.equal("OK", redis:flushall())
    hawser.run(side_by_side, 64, function(i)
      for round = 1, 5 do
        local value = ("%d of %d\r\n"):format(round, i):rep(round == 5 and 10000 or 1)
        local replies = assert(redis:pipeline {
          { "PING" }, { "SET", "key" .. i, value }, { "GET", "key" .. i }, { "INCR", "count" },
        })
        assert.equal("PONG", replies[1][1])
        assert.equal("OK", replies[2][1])
        assert.equal(value, replies[3][1])
      end
      return true
    end)
    assert.equal(320, tonumber(redis:get "count"))
    assert.equal(1, api:stats().created)
  end)

  it("keeps data with a stream", function()
    local conn, other = open "echo", open "echo"
    conn.data.name = "one"
    assert.same({}, other.data)
    assert.equal("one", conn.data.name)
    conn:release()
    other:close()
    assert.is_nil(conn.data)
  end)

  it("has no TLS within a stream, and no setup", function()
    local conn = open "echo"
    local ok, err = conn:starttls()
    assert.is_nil(ok)
    assert.equal("unsupported", err.kind)
    conn:close()
    assert.has_error(function()
      m:upstream("other", { protocol = "yamux", peers = { "tcp://127.0.0.1:1" }, setup = function() return true end })
    end)
  end)
end)
