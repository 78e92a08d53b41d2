--- Managers and upstreams: their life, their statistics, and what is left when they are gone.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

describe("a manager", function()
  local faultd, origin

  lazy_setup(function()
    faultd = servers.faultd()
    origin = "http://127.0.0.1:" .. faultd.http
  end)
  lazy_teardown(function() faultd:stop() end)

  it("finds the upstreams that it has made", function()
    local m = hawser.new()
    local api = m:upstream("api", { peers = { origin } })
    assert.equal(api, m:upstream "api")
    api = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(1, #m:upstream("api"):peers())
    m:upstream("api"):close()
    assert.is_nil(m:upstream "api")
    assert.equal(0, #m:upstream("api", { peers = {} }):peers())
    m:close()
  end)

  it("counts", function()
    local m = hawser.new { max_connections = 10, retry = false }
    local api = m:upstream("api", { peers = { origin } })
    for _ = 1, 3 do assert(api:get "/ok") end
    assert(m:get(origin .. "/ok"))
    api:get "/rst/now"
    -- The last one is sent twice: it could be that the connection, which had served before, was dead.
    for name, value in pairs { created = 2, reused = 3, replayed = 1, requests = 4, ok = 3, failed = 1, open = 0 } do
      assert.equal(value, api:stats()[name], name)
    end
    local all = m:stats()
    for name, value in pairs { requests = 5, ok = 4, failed = 1, open = 1, idle = 1, max_connections = 10 } do
      assert.equal(value, all[name], name)
    end
    ledger.is_at_rest(all)
    assert.is_true(m:trim())
    m:close()
  end)

  if jit and jit.os == "Linux" then
    it("gives back what LuaJIT's allocator holds free around what stays", function()
      local function resident()
        local file = assert(io.open "/proc/self/statm")
        local pages = file:read "*a":match "^%d+ (%d+)"
        file:close()
        return tonumber(pages) * 4096
      end
      local function every_128th_of_many()
        local all, kept = {}, {}
        for i = 1, 32768 do all[i] = ("x"):rep(1000) .. i end
        for i = 1, #all, 128 do kept[#kept + 1] = all[i] end
        return kept
      end
      local m = hawser.new()
      local kept = every_128th_of_many()
      collectgarbage()
      collectgarbage()
      local before = resident()
      assert.is_true(m:trim())
      assert.is_true(before - resident() > 16 * 2 ^ 20)
      for i, text in ipairs(kept) do assert.equal(("x"):rep(1000) .. (i - 1) * 128 + 1, text) end
      m:close()
    end)
  end

  it("once closed refuses what is new, and fails what was under way", function()
    local m = hawser.new()
    local api = m:upstream("api", { peers = { origin } })
    local kinds = {}
    api:get("/never", function(_, err) kinds[1] = err.kind end)
    m:get(origin .. "/never", function(_, err) kinds[2] = err.kind end)
    hawser.sleep(.01)
    assert.is_true(m:close())
    assert.is_true(m:close())
    assert.same({}, kinds)
    hawser.run()
    assert.same({ "closed", "closed" }, kinds)
    for _, outcome in ipairs {
      { api:get "/ok" }, { m:get(origin .. "/ok") }, { api:acquire() }, { api:ready(1) }, { m:drain(1) },
      { api:drain(1) }, { api:update {} }, { m:upstream("new", {}) }, { m:on("close", print) },
    } do
      assert.is_nil(outcome[1])
      assert.equal("closed", outcome[2].kind, tostring(outcome[2]))
    end
    assert.equal(0, api:stats().open)
    assert.is_true(api:close())
  end)

  it("drains, then cuts off what takes too long", function()
    local m = hawser.new()
    local kinds = {}
    m:get(origin .. "/slow/20", function(res) kinds.slow = res.status end)
    m:get(origin .. "/never", function(_, err) kinds.never = err.kind end)
    hawser.sleep(.005)
    local ok, err = m:drain(.5)
    assert.is_nil(ok)
    assert.equal("timeout", err.kind)
    hawser.run()
    assert.same({ slow = 200, never = "closed" }, kinds)
    for _, span in ipairs { -1, 0 / 0, 1 / 0, "1", true } do
      raises("the time to drain is .*; allowed: a number of seconds, 0 to 1e9", function() m:drain(span) end)
    end
    m:close()
  end)

  it("lives as long as something of it is in use, when it is dropped", function()
    local m = hawser.new()
    local api = m:upstream("api", { peers = { origin } })
    m = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.equal(200, assert(api:get "/ok").status)

    local res = assert(api:get("/chunked/3/10", { stream = true }))
    local status
    api:get("/slow/20", function(response) status = response.status end)
    api = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    local size = 0
    while true do
      local chunk = res:read()
      if not chunk then break end
      size = size + #chunk
    end
    assert.equal(30, size)
    hawser.run()
    assert.equal(200, status)
  end)

  it("closes its connections when it and all of its objects are collected", function()
    local function collect()
      for _ = 1, 3 do
        collectgarbage()
        hawser.sleep(0)
      end
      faultd:ask "await/http/open/0"
    end
    local function use()
      local m = hawser.new()
      assert(m:upstream("api", { peers = { origin } }):get "/ok")
      assert(m:get(origin .. "/ok"))
    end
    collect() -- what tests before have left
    use()
    assert.equal(2, faultd:ask "get/http/open")
    collect()
  end)

  it("closes at the end of a block", function()
    if not _VERSION:find "5.4" then return end
    local run = assert(load [[
      local hawser, origin = ...
      local m <close> = hawser.new()
      local api <close> = m:upstream("api", { peers = { origin } })
      local res <close> = assert(api:get("/stall/body", { stream = true }))
      return api, m]])
    local api, m = run(hawser, origin)
    assert.equal("closed", select(2, api:get "/ok").kind)
    assert.equal("closed", select(2, m:get(origin)).kind)
    assert.equal(0, api:stats().open)
  end)

  it("is not what its methods are called on by mistake", function()
    local m = hawser.new()
    for _, method in ipairs { "get", "upstream", "close", "drain", "stats", "trim", "on", "off" } do
      raises("a method of hawser.Manager was called on nothing", function() m[method]() end)
      raises("a method of hawser.Manager was called on", function() m[method](setmetatable({}, getmetatable(m))) end)
    end
    m:close()
  end)

  it("by default is one for all", function()
    assert(hawser.get(origin .. "/ok"))
    assert.is_true(assert(hawser.get(origin .. "/ok")).reused)
    hawser.run(function() assert.is_true(assert(hawser.get(origin .. "/ok")).reused) end)
  end)
end)

describe("an upstream", function()
  local faultd, m, api

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new()
    api = m:upstream("api", { peers = { "http://127.0.0.1:" .. faultd.http } })
  end)
  after_each(function() m:close() end)

  it("gets ready: dials, and keeps the connection", function()
    assert.is_true(api:ready())
    assert.equal(1, api:stats().idle)
    assert.is_true(api:ready(0))
    assert.equal(1, api:stats().created)
    assert.is_false(assert(api:get "/ok").reused)
  end)

  it("tries until there is somebody", function()
    local late = m:upstream("late", { peers = { "http://127.0.0.1:" .. faultd.closed } })
    hawser.sleep(.1, function() late:update { peers = { "http://127.0.0.1:" .. faultd.http } } end)
    assert.is_true(late:ready(5))
    assert.is_true(late:stats().failed + late:stats().retried >= 1)
  end)

  it("says in the end why it did not get ready", function()
    local refused = m:upstream("refused", { peers = { "http://127.0.0.1:" .. faultd.closed } })
    local from = hawser.now()
    local ok, err = refused:ready(.4)
    assert.is_nil(ok)
    assert.equal("refused", err.kind)
    assert.is_true(hawser.now() - from >= .2)
    ok, err = m:upstream("empty", { peers = {} }):ready(.06)
    assert.is_nil(ok)
    assert.equal("no_peer", err.kind)
    for _, span in ipairs { -1, 0 / 0, 1 / 0, "1", true } do
      raises("the time to get ready is .*; allowed: a number of seconds, 0 to 1e9", function() api:ready(span) end)
    end
    raises("the callback is a number", function() api:ready(1, 1) end)
    raises("a method of hawser.Upstream was called on a nil", function() api.ready() end)
  end)

  it("tells of its peers what they do", function()
    api:get("/never", function() end)
    assert(api:get "/ok")
    local peer = api:peers()[1]
    assert.same({ 1, 2, 1 }, { peer.in_flight, peer.connections, peer.idle })
  end)
end)

describe("the module", function()
  it("names its version and the library under TLS", function()
    assert.truthy(hawser.VERSION:find "^%d+%.%d+%.%d+$")
    assert.truthy(hawser.TLS:find "^mbedTLS %d+%.%d+" or hawser.TLS:find "^OpenSSL 3%.%d+")
  end)
end)
