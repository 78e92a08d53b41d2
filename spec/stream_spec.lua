--- Streams that go both ways: what is refused, and what becomes of those that never open. No server is needed.
local hawser = require "hawser"
local raises = require "spec.support.raises"
local server = require "spec.support.server"

describe("open_stream", function()
  local m, api

  before_each(function()
    m = hawser.new { log = function() end, retry = { attempts = 1 } }
    api = m:upstream("api", { peers = { "h2c://127.0.0.1:" .. server.free_port() } })
  end)

  after_each(function() m:close() end)

  it("refuses what is no option, with the nearest one", function()
    raises('unknown option "prioriti"', function() api:open_stream { prioriti = 1 } end)
    raises('unknown option "body"', function() api:open_stream { body = "x" } end)
  end)

  it("refuses priorities beyond 0 to 7", function()
    raises("priority", function() api:open_stream { priority = 8 } end)
    raises("priority", function() api:open_stream { priority = "high" } end)
    raises("the priority", function() m:open_stream("api/x", 8) end)
    raises("priority", function() api:get("/", { priority = -1 }) end)
  end)

  it("refuses methods, paths and peers that are no strings", function()
    raises("method", function() api:open_stream { method = 1 } end)
    raises("path", function() api:open_stream { path = {} } end)
    raises("the peer", function() m:open_stream(1) end)
    raises("the table of options", function() api:open_stream "x" end)
  end)

  it("tells why none could be opened", function()
    local s, err = api:open_stream { path = "/x" }
    assert.is_nil(s)
    assert.equal("refused", err.kind)
    assert.is_false(err.sent)
    assert.is_table(err.trace)
  end)

  it("tells it to a callback", function()
    local got
    hawser.run(function()
      api:open_stream({ path = "/x" }, function(s, err) got = { s, err } end)
      assert.is_nil(got)
    end)
    assert.is_nil(got[1])
    assert.equal("refused", got[2].kind)
  end)

  it("is unsupported where only HTTP/1 or bytes are spoken", function()
    local http1 = m:upstream("http1", { peers = { "http://127.0.0.1:" .. server.free_port() } })
    local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. server.free_port() } })
    local s, err = http1:open_stream()
    assert.is_nil(s)
    assert.equal("unsupported", err.kind)
    assert.is_truthy(err.message:find("HTTP/1", 1, true), err.message)
    s, err = raw:open_stream()
    assert.is_nil(s)
    assert.equal("unsupported", err.kind)
  end)

  it("cannot be waited for inside a policy, a callback or a finalizer", function()
    local message
    hawser.run(function()
      local co = coroutine.create(function() return api:open_stream() end)
      local _, text = coroutine.resume(co)
      message = text
    end)
    assert.is_truthy(tostring(message):find("cannot wait here", 1, true), message)
  end)
end)

describe("the manager's streams", function()
  it("are known by ids that it gave", function()
    local m = hawser.new()
    for _, results in ipairs { { m:stream(7) }, { m:close_stream(7) }, { m:send_stream_data(7, "x") } } do
      assert.is_nil(results[1])
      assert.equal("closed", results[2].kind)
      assert.is_truthy(results[2].message:find("no stream has the id 7", 1, true))
    end
    raises("the stream's id", function() m:stream "x" end)
    raises("the stream's id", function() m:close_stream(0) end)
    raises("the stream's id", function() m:send_stream_data(nil, "x") end)
    m:close()
  end)
end)
