--- Errors as Lua sees them: their fields, their one line, and what still works after them.
local hawser = require "hawser"
local servers = require "spec.support.servers"

describe("an error", function()
  local faultd, m, api

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new { retry = false, breaker = false }
    api = m:upstream("api", { peers = { "http://127.0.0.1:" .. faultd.http } })
  end)
  after_each(function() m:close() end)

  it("has all its fields, each of its type", function()
    local res, err = api:get "/rst/head"
    assert.is_nil(res)
    local types = {}
    for name, value in pairs(err) do types[name] = type(value) end
    assert.same({
      kind = "string", code = "string", message = "string", phase = "string", peer = "string",
      attempts = "number", sent = "boolean", retryable = "boolean", trace = "table",
    }, types)
    assert.same({ "reset", "ECONNRESET", "headers", "127.0.0.1:" .. faultd.http, 1, true },
      { err.kind, err.code, err.phase, err.peer, err.attempts, err.sent })
  end)

  it("is one line for a log", function()
    local _, err = api:get "/rst/head"
    assert.equal(("reset: connection reset by the peer [ECONNRESET] (headers, 127.0.0.1:%d)"):format(faultd.http),
      tostring(err))
    _, err = m:get "nonsense\r\n"
    assert.is_nil(tostring(err):find "[\r\n]")
    assert.is_truthy(tostring(err):find "^invalid: ")
  end)

  it("says when to try again, after an overload", function()
    local one = m:upstream("one", {
      peers = { "http://127.0.0.1:" .. faultd.http },
      limits = { connections = 1, pending = 0 },
    })
    local handle = one:get("/never", nil, function() end)
    hawser.sleep(.01)
    local _, err = one:get "/ok"
    assert.equal("overload", err.kind)
    assert.equal("number", type(err.retry_in))
    assert.is_true(err.retry_in > 0)
    assert.is_false(err.sent)
    handle:cancel()
    hawser.run()
  end)

  it("has the phase of what was canceled, and none where nothing goes to a peer", function()
    local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
    local conn = assert(raw:acquire())
    local calls = {
      read = { "body", function(fn) return conn:read("line", fn) end },
      write = { "send", function(fn) return conn:write("x\n", fn) end },
      starttls = { "tls", function(fn) return assert(raw:acquire()):starttls(fn) end },
      request = { "headers", function(fn) return api:get("/hold/error", fn) end },
      sleep = { nil, function(fn) return hawser.sleep(1, fn) end },
      join = { nil, function(fn) return hawser.spawn(hawser.sleep, .001):join(fn) end },
      drain = { nil, function(fn) return raw:drain(1, fn) end },
    }
    for _, name in ipairs { "read", "write", "starttls", "request", "sleep", "join", "drain" } do
      local phase, call = calls[name][1], calls[name][2]
      local err
      local handle = call(function(_, why) err = why end)
      if name == "request" then faultd:ask "held/error/1" end
      handle:cancel()
      hawser.run()
      assert.equal("canceled", err.kind, name)
      assert.equal(phase, err.phase, name)
      assert.equal(phase ~= nil, tostring(err):find("%]$") == nil, name)
    end
    local task = hawser.spawn(function() return select(2, hawser.sleep(1)) end)
    task:cancel()
    assert.is_nil(select(2, task:join()).phase)
    raw:close()
  end)

  it("survives what users do to it", function()
    local _, err = api:get "/rst/now"
    err.kind, err.message, err.peer, err.phase = nil, 42, {}, false
    assert.equal("string", type(tostring(err)))
    assert.equal("string", type(tostring(setmetatable({}, getmetatable(err)))))
    assert.has_error(function() getmetatable(err).__tostring() end)
    assert.has_error(function() getmetatable(err).__tostring(1) end)
  end)

  it("can be raised and caught", function()
    local ok, err = pcall(function()
      local res, failure = api:get "/rst/now"
      if not res then error(failure) end
    end)
    assert.is_false(ok)
    assert.equal("reset", err.kind)
    ok, err = pcall(hawser.run, function() error(select(2, api:get "/rst/now")) end)
    assert.is_false(ok)
    assert.equal("reset", err.kind)
  end)
end)
