--- res.trace and err.trace: how the time of a request was spent, attempt by attempt.
local hawser = require "hawser"
local servers = require "spec.support.servers"

describe("a trace", function()
  local faultd, m

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new { seed = 1, breaker = false }
    faultd:ask "zero"
  end)
  after_each(function() m:close() end)

  local function url() return "http://127.0.0.1:" .. faultd.http end
  local function closed() return "http://127.0.0.1:" .. faultd.closed end

  it("of one attempt has the phases that there were", function()
    local api = m:upstream("one", { peers = { url() } })
    local res = assert(api:get "/slow/20")
    local attempt = res.trace.attempts[1]
    assert.equal(1, #res.trace.attempts)
    assert.equal("done", attempt.verdict)
    assert.equal("answered", attempt.class)
    assert.equal(200, attempt.status)
    assert.equal(res.peer, attempt.peer)
    assert.is_false(attempt.reused)
    assert.is_true(attempt.connect > 0)
    assert.is_true(attempt.headers >= .01) -- half of it: clocks are coarse
    assert.equal(attempt.headers, res.trace.headers)
    assert.is_nil(res.trace.tls)
    assert.equal(res.trace, res.trace)
  end)

  it("says how old a reused connection was", function()
    local api = m:upstream("reused", { peers = { url() } })
    assert(api:get "/ok")
    hawser.sleep(.02)
    local attempt = assert(api:get "/ok").trace.attempts[1]
    assert.is_true(attempt.reused)
    assert.is_true(attempt.age >= .01)
    assert.is_nil(attempt.connect)
  end)

  it("has every attempt, with what became of it", function()
    local api = m:upstream("two", { balancer = "round_robin", peers = { closed(), url() } })
    local res = assert(api:get "/ok")
    assert.equal(2, #res.trace.attempts)
    local first, second = res.trace.attempts[1], res.trace.attempts[2]
    assert.same({ "127.0.0.1:" .. faultd.closed, "unsent", "go", "refused", "ECONNREFUSED" },
      { first.peer, first.class, first.verdict, first.kind, first.code })
    assert.same({ res.peer, "answered", "done" }, { second.peer, second.class, second.verdict })
    assert.equal(res.peer, "127.0.0.1:" .. faultd.http)
  end)

  it("tells a replay from a retry", function()
    local api = m:upstream("stale", { peers = { url() } })
    assert(api:get "/stale/fin")
    local res = assert(api:get "/ok")
    assert.same({ "stale", "replayed" }, { res.trace.attempts[1].class, res.trace.attempts[1].verdict })
    assert.equal("done", res.trace.attempts[2].verdict)
  end)

  it("comes with an error, and says why there was no further attempt", function()
    local cases = {
      { "attempts", { attempts = 2 } },
      { "budget", { budget = { share = 0, floor = 0 } } },
      { "off", false },
      { "not_on", { on = { 503 } } },
    }
    for i, case in ipairs(cases) do
      local api = m:upstream("error " .. i, { peers = { closed() }, retry = case[2] })
      local _, err = api:get "/ok"
      assert.equal("refused", err.kind)
      assert.equal(case[1], err.trace.attempts[#err.trace.attempts].verdict)
      assert.equal(i == 1 and 2 or 1, #err.trace.attempts)
    end
  end)

  it("says of a response, too, why there was no further attempt", function()
    local api = m:upstream("status", { peers = { url() } })
    local cases = {
      { "unsafe", "post", "/status/503" },
      { "not_on", "post", "/status/404" },
      { "not_on", "get", "/status/500" },
      { "done", "post", "/ok" },
    }
    for _, case in ipairs(cases) do
      for _, stream in ipairs { false, true } do
        local res = case[2] == "post" and assert(api:post(case[3], "x", { stream = stream }))
          or assert(api:get(case[3], { stream = stream }))
        assert.same({ case[1], 1 }, { res.trace.attempts[1].verdict, #res.trace.attempts })
        if stream then res:close() end
      end
    end
  end)

  it("comes with the error of an acquisition", function()
    local api = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.closed } })
    local _, err = api:acquire()
    assert.equal(3, #err.trace.attempts)
    assert.equal("unsent", err.trace.attempts[1].class)
  end)

  it("of a streamed response is that of its head", function()
    local api = m:upstream("stream", { peers = { url() } })
    local res = assert(api:get("/bytes/100", { stream = true }))
    assert.equal(1, #res.trace.attempts)
    assert.is_true(res.trace.connect > 0)
    while res:read() do end
  end)
end)
