--- Errors as Lua sees them: their fields, their one line, and what still works after them.
local hawser = require "hawser"
local servers = require "spec.support.servers"

describe("an error", function()
  local faultd, m, api

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new()
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
      attempts = "number", sent = "boolean", retryable = "boolean",
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
