--- What hawser.yamux takes and refuses, and what a session answers.
local hawser = require "hawser"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

describe("hawser.yamux", function()
  local faultd, m, raw

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  before_each(function()
    m = hawser.new()
    raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
  end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  local function session_of(options) return assert(hawser.yamux(assert(raw:acquire()), options)) end

  it("wants a lease, and options that it knows", function()
    raises("what yamux is to be spoken on is missing; allowed: a lease", function() hawser.yamux() end)
    raises("what yamux is to be spoken on is a table; allowed: a lease", function() hawser.yamux {} end)
    local conn = assert(raw:acquire())
    raises("the table of options is 7; allowed: a table", function() hawser.yamux(conn, 7) end)
    raises('unknown option "servr"', function() hawser.yamux(conn, { servr = true }) end)
    raises('server is "yes"; allowed: true or false', function() hawser.yamux(conn, { server = "yes" }) end)
    assert(conn:write "still mine\n") -- nothing of that took it
    assert.equal("still mine", conn:read "line")
    conn:release()
  end)

  it("takes the lease over", function()
    for _, options in ipairs { false, {}, { server = true }, { server = false } } do
      local conn = assert(raw:acquire())
      local session = assert(hawser.yamux(conn, options or nil))
      local text, err = conn:read "line"
      assert.is_nil(text)
      assert.equal("closed", err.kind)
      assert.is_true(conn:release())
      assert.equal("127.0.0.1:" .. faultd.raw, session.peer)
      assert.equal(0, session.streams)
      assert.is_nil(session.no_such_field)
      assert.equal(1, raw:stats().busy)
      assert.is_true(session:close())
      assert.equal(0, raw:stats().open)
    end
  end)

  it("does not take one that has ended, waits, or is lent", function()
    local conn = assert(raw:acquire())
    conn:release()
    local session, err = hawser.yamux(conn)
    assert.is_nil(session)
    assert.equal("closed", err.kind)

    conn = assert(raw:acquire())
    local handle = conn:read("line", function() end)
    raises("somebody is waiting in a read or a write of this lease", function() hawser.yamux(conn) end)
    handle:cancel()
    conn:close()

    conn = assert(raw:acquire())
    assert(conn:finish())
    session, err = hawser.yamux(conn)
    assert.is_nil(session)
    assert.equal("closed", err.kind)
    conn:close()

    local message
    m:upstream("lent", {
      peers = { "tcp://127.0.0.1:" .. faultd.raw },
      setup = function(lent)
        message = select(2, pcall(hawser.yamux, lent))
        return true
      end,
    }):ready(5)
    assert.matches("cannot be taken over", message)
  end)

  it("is not for a stream of another session", function()
    local session = session_of()
    local conn = assert(session:open_stream())
    local other, err = hawser.yamux(conn)
    assert.is_nil(other)
    assert.equal("unsupported", err.kind)
    conn:close()
    session:close()
  end)

  it("gives streams that are usable at once, up to limits.streams", function()
    raw:update { limits = { streams = 2 } }
    local session = session_of()
    local first, second = assert(session:open_stream()), assert(session:open_stream())
    assert.equal(2, session.streams)
    assert(first:write "hello")
    local conn, err = session:open_stream(0.01)
    assert.is_nil(conn)
    assert.equal("timeout", err.kind)
    local opened
    session:open_stream(function(stream) opened = stream end)
    first:close()
    hawser.run()
    assert(opened, "closing one makes room for the next")
    opened:close()
    second:close()
    session:close()
  end)

  it("ends where the peer speaks something else", function()
    local conn = assert(raw:acquire())
    assert(conn:write "this comes back, and is no yamux\n")
    local session = assert(hawser.yamux(conn))
    local stream, err = session:accept(10)
    assert.is_nil(stream)
    assert.same({ "protocol", "YAMUX_FRAME" }, { err.kind, err.code })
    session:close()
  end)

  it("names what its methods want", function()
    local session = session_of()
    raises("the timeout is", function() session:accept(-1) end)
    raises("the timeout is", function() session:open_stream "soon" end)
    raises("the callback is 1; allowed: a function, or nothing", function() session:accept(1, 1) end)
    raises("a method of hawser.Session was called on", function() session.accept() end)
    session:close()
    local conn, err = session:accept()
    assert.is_nil(conn)
    assert.equal("closed", err.kind)
    local kind
    session:open_stream(function(_, why) kind = why.kind end)
    hawser.run()
    assert.equal("closed", kind)
  end)

  it("may be left open when the Lua state ends", function()
    local program = require "spec.support.program"
    local output, status = program.run([[
      local raw = hawser.new():upstream("raw", { peers = { "tcp://127.0.0.1:" .. ... } })
      local session = hawser.yamux(assert(raw:acquire()))
      local stream = session:open_stream()
      session:accept(function() end)
      kept = { session, stream }
      print "done"
    ]], faultd.raw)
    assert.same({ "done\n", 0 }, { output, status })
  end)
end)
