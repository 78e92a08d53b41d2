--- When a peer is given a rest, and how it comes back: the server's own ledger shows what it saw meanwhile.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

-- Long enough that a working answer is never cut off by it, short enough to wait for where silence is
-- what a test is about.
local SHORT = 0.1

-- An open time that no test sees the end of, and one that is over soon.
local LONG, SOON = 60, 0.02

describe("a breaker", function()
  local faultd, m, api, states, upstreams

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function here() return "http://127.0.0.1:" .. faultd.http end
  -- Another peer, although the same server with the same ledger.
  local function there() return { "unix:" .. faultd.unix, id = "there" } end
  local function nowhere() return "http://127.0.0.1:" .. faultd.closed end

  local function start(options)
    if m then m:close() end
    options = options or {}
    if options.retry == nil then options.retry = false end
    m, upstreams, states = hawser.new(options), {}, {}
    m:on("breaker", function(event) states[#states + 1] = event end)
  end

  local function upstream(breaker, options)
    options = options or {}
    options.breaker = breaker
    options.peers = options.peers or { here() }
    options.protocol = options.protocol or "http1"
    local made = m:upstream("api " .. #upstreams + 1, options)
    upstreams[#upstreams + 1] = made
    return made
  end

  before_each(function()
    start()
    faultd:ask "zero"
  end)

  after_each(function()
    local stats = {}
    for i, one in ipairs(upstreams) do stats[i] = ledger.settled(one) end
    m:close()
    faultd:ask "await/http/open/0"
    for _, one in ipairs(stats) do ledger.is_at_rest(one) end
  end)

  local function kind(result, err) return result and result.status or err.kind end

  local function told()
    local words = {}
    for i, event in ipairs(states) do words[i] = event.reason end
    return table.concat(words, " ")
  end

  -- Its state, as a call meets it that never gets anywhere.
  local function is_open(one)
    local res, err = one:get("/ok")
    return not res and err.kind == "breaker_open"
  end

  local function fail(one, count)
    for _ = 1, count do assert.equal(500, kind(one:get "/status/500")) end
  end

  -- Until the one that is open lets somebody try. Nobody asks it before: its time may be over by then.
  local function wait(one)
    while one:peers()[1].breaker == "open" do hawser.sleep(.001) end
    assert.equal("half_open", one:peers()[1].breaker)
  end

  describe("that is closed", function()
    it("opens after so many failures in a row, and says when to come back", function()
      api = upstream { consecutive = 3, open_for = LONG }
      fail(api, 2)
      assert.equal("", told())
      fail(api, 1)
      local res, err = api:get "/ok?key=refused"
      assert.is_nil(res)
      assert.same({ "breaker_open", "BREAKER_OPEN", "queue", 0, false },
        { err.kind, err.code, err.phase, err.attempts, err.sent })
      assert.is_true(err.retry_in > 0 and err.retry_in <= LONG, err.retry_in)
      assert.is_true(err.retryable)
      assert.equal(0, faultd:ask "seen/GET/refused")
      assert.equal("open", told())
      local event = states[1]
      assert.same({ "breaker", "api 1", "127.0.0.1:" .. faultd.http }, { event.event, event.upstream, event.peer })
      assert.is_true(event.at <= hawser.now())
      for field in pairs(event) do
        assert.is_truthy(({ event = 1, at = 1, upstream = 1, peer = 1, reason = 1 })[field], field)
      end
    end)

    local function plain(path, options) return function(one) return one:get(path, options) end end

    local counted = {
      { "a failed look-up", "resolve", plain "/ok", { peers = { "http://nowhere.test:1" } } },
      { "a refused dial", "refused", plain "/ok", { peers = nowhere } },
      { "a dial to no socket", "connect", plain "/ok", { peers = { "unix:/nowhere/at/all" } } },
      { "a dial without an answer", "timeout", plain "/ok", { peers = "blackhole", timeouts = { connect = SHORT } } },
      { "a handshake that breaks", "tls", plain "/ok", { peers = "secure" } },
      { "silence", "timeout", plain("/never", { timeout = SHORT }) },
      { "silence for an attempt", "timeout", plain "/never", { timeouts = { attempt = SHORT } } },
      { "silence within a body", "timeout", plain "/stall/body", { timeouts = { read = SHORT } } },
      { "a reset", "reset", plain "/rst/now" },
      { "half a response", "reset", plain "/fin/body" },
      { "a broken protocol", "protocol", plain "/raw/3f0d0a0d0a" },
      { "a status of 500", 500, plain "/status/500" },
      { "a status of 503", 503, plain "/status/503" },
      { "a status of 599", 599, plain "/status/599" },
      { "a streamed status", 503, function(one)
        local res = assert(one:get("/status/503", { stream = true }))
        res:close()
        return res
      end },
    }
    for _, case in ipairs(counted) do
      local what, expected, call, options = case[1], case[2], case[3], case[4]
      it("counts " .. what, function()
        local relay
        local given = { dns = { servers = { "127.0.0.1:1" } } }
        for field, value in pairs(options or {}) do given[field] = value end
        if given.peers == nowhere then given.peers = { nowhere() } end
        if given.peers == "blackhole" then given.peers = { "http://127.0.0.1:" .. faultd.blackhole } end
        if given.peers == "secure" then
          relay = servers.relay(faultd.http, "fin@1")
          given.peers = { "https://127.0.0.1:" .. relay["fin@1"] }
        end
        api = upstream({ consecutive = 2, open_for = LONG }, given)
        hawser.run(function()
          for i = 1, 2 do
            assert.equal("", told(), i)
            assert.equal(expected, kind(call(api)))
          end
        end)
        assert.is_true(is_open(api))
        assert.equal("open", told())
        if relay then relay:stop() end
      end)
    end

    -- Its head was a success, so it counts twice.
    it("counts a streamed body that breaks off", function()
      api = upstream { consecutive = false, failure_rate = .5, min_calls = 6, open_for = LONG }
      hawser.run(function()
        for i = 1, 3 do
          assert.equal("", told(), i)
          local res = assert(api:get("/rst/body", { stream = true }))
          while res:read() do end
        end
      end)
      assert.is_true(is_open(api))
      assert.equal("open", told())
    end)

    it("takes no notice of one that was closed unread", function()
      api = upstream { consecutive = false, failure_rate = .01, min_calls = 1 }
      for _ = 1, 5 do assert(api:get("/bytes/1000000", { stream = true })):close() end
      assert.equal("", told())
    end)

    it("begins anew after an answer", function()
      api = upstream { consecutive = 3, open_for = LONG }
      for _ = 1, 4 do
        fail(api, 2)
        assert(api:get "/ok")
      end
      assert.equal("", told())
      fail(api, 3)
      assert.equal("open", told())
    end)

    local function cancelled(one)
      local outcome
      local handle = one:get("/hold/neutral", function(_, err) outcome = err end)
      faultd:ask "held/neutral/1"
      handle:cancel()
      hawser.run()
      return nil, outcome
    end

    local function stale(one)
      assert(one:get "/stale/fin")
      return one:post("/ok", "body")
    end

    -- As many as would open it, between failures that do.
    local neutral = {
      { "a status of 400", 400, plain "/status/400" },
      { "a status of 499", 499, plain "/status/499" },
      { "a cancelled call", "canceled", cancelled },
      { "a body that is too long", "limit", plain("/bytes/1000", { max_body = 10 }) },
      { "a header that is too long", "limit", plain "/head-size/70000" },
    }
    for _, case in ipairs(neutral) do
      it("takes no notice of " .. case[1], function()
        api = upstream { consecutive = 3, open_for = LONG }
        for i = 1, 3 do
          fail(api, 1)
          if i < 3 then
            for _ = 1, 3 do assert.equal(case[2], kind(case[3](api))) end
            assert.equal("", told())
          end
        end
        assert.equal("open", told())
      end)
    end

    it("takes no notice of a reused connection that was dead", function()
      api = upstream({ consecutive = 1, open_for = LONG }, { reuse = "always" })
      for _ = 1, 3 do assert.equal("reset", kind(stale(api))) end
      for _ = 1, 3 do
        assert(api:get "/stale/rst")
        assert(api:get "/ok")
      end
      assert.equal("", told())
    end)

    it("takes no notice of a queue that is too long, or takes too long", function()
      api = upstream({ consecutive = 1, open_for = LONG }, {
        limits = { connections = 1, pending = 1 }, timeouts = { queue = SHORT },
      })
      local calls = {}
      for i = 1, 3 do calls[i] = function() return api:get("/slow/300", { timeout = i == 2 and SHORT or nil }) end end
      local kinds = {}
      for i, outcome in ipairs(hawser.all(calls)) do kinds[i] = kind(outcome[2], outcome[3]) end
      assert.equal(200, kinds[1])
      assert.equal("overload", kinds[3])
      assert.equal("", told())
    end)

    it("opens by the share of failures, once there are calls enough", function()
      api = upstream { consecutive = false, failure_rate = .5, min_calls = 10, open_for = LONG }
      for _ = 1, 4 do
        fail(api, 1)
        assert(api:get "/ok")
      end
      fail(api, 1)
      assert.equal("", told())
      fail(api, 1)
      assert.equal("open", told())
      assert.is_true(is_open(api))
    end)

    it("stays closed below that share", function()
      api = upstream { consecutive = false, failure_rate = .5, min_calls = 3, open_for = LONG }
      for _ = 1, 3 do assert(api:get "/ok") end
      for _ = 1, 20 do
        fail(api, 1)
        assert(api:get "/ok")
      end
      assert.equal("", told())
    end)

    it("opens by calls that are slow, although they are answered", function()
      api = upstream { slow_after = .02, slow_rate = .5, min_calls = 4, open_for = LONG }
      for _ = 1, 2 do assert.equal(200, kind(api:get "/slow/60")) end
      assert.equal("", told())
      assert(api:get "/ok")
      assert.equal(200, kind(api:get "/slow/60"))
      assert.equal("open", told())
    end)

    it("stays closed with rules that are switched off", function()
      api = upstream { consecutive = false, failure_rate = false, min_calls = 1 }
      fail(api, 30)
      assert(api:get "/ok")
      assert.equal("", told())
    end)

    it("is one for each peer of each upstream", function()
      api = upstream({ consecutive = 1, open_for = LONG }, { peers = { here(), there() }, balancer = "round_robin" })
      local other = upstream { consecutive = 1, open_for = LONG }
      fail(api, 1)
      for _ = 1, 5 do assert(api:get "/ok") end
      fail(api, 1)
      assert.equal("open open", told())
      assert.are_not.equal(states[1].peer, states[2].peer)
      assert.is_true(is_open(api))
      assert(other:get "/ok")
    end)

    it("opens for leases, too", function()
      api = upstream({ consecutive = 2, open_for = LONG }, {
        peers = { "tcp://127.0.0.1:" .. faultd.closed }, protocol = "raw",
      })
      for _, expected in ipairs { "refused", "refused", "breaker_open", "breaker_open" } do
        assert.equal(expected, kind(api:acquire()))
      end
      local raw = upstream({ consecutive = 2, open_for = LONG }, {
        peers = { "tcp://127.0.0.1:" .. faultd.raw }, protocol = "raw",
      })
      for _ = 1, 2 do
        raw:with(function(conn)
          conn:write "+rst\n"
          conn:read "line"
        end)
      end
      assert.equal("breaker_open", kind(raw:acquire()))
    end)
  end)

  describe("that is open", function()
    it("lets nothing through to the server", function()
      api = upstream { consecutive = 5, open_for = LONG }
      local calls = {}
      for i = 1, 5 do calls[i] = function() return api:get "/status/500" end end
      hawser.all(calls)
      assert.equal("open", told())
      local accepted, requests = faultd:ask "get/http/accepted", faultd:ask "get/http/requests"
      for i = 1, 100 do calls[i] = function() return api:get "/ok" end end
      for _, outcome in ipairs(hawser.all(calls)) do assert.equal("breaker_open", outcome[3].kind) end
      assert.equal(accepted, faultd:ask "get/http/accepted")
      assert.equal(requests, faultd:ask "get/http/requests")
    end)

    it("fails those who wait behind it", function()
      api = upstream({ consecutive = 1, open_for = LONG }, { limits = { connections = 1 } })
      local calls = {}
      for i = 1, 5 do calls[i] = function() return api:get(i == 1 and "/status/500" or "/ok") end end
      local kinds = {}
      for i, outcome in ipairs(hawser.all(calls)) do kinds[i] = kind(outcome[2], outcome[3]) end
      assert.same({ 500, "breaker_open", "breaker_open", "breaker_open", "breaker_open" }, kinds)
    end)

    it("leaves the failure that opened it to who would have gone again", function()
      local retry = { backoff = { base = 1e-6, max = 1e-6 } }
      api = upstream({ consecutive = 1, open_for = LONG }, { peers = { nowhere() }, retry = retry })
      local _, err = api:get "/ok"
      assert.same({ "refused", "connect", "127.0.0.1:" .. faultd.closed, 1, false, true },
        { err.kind, err.phase, err.peer, err.attempts, err.sent, err.retryable })
      assert.is_true(err.retry_in > 0 and err.retry_in <= LONG)
      assert.same({ "refused", "breaker_open" }, { err.trace.attempts[1].kind, err.trace.attempts[2].kind })
      assert.equal(0, api:stats().retried)
      assert.equal("breaker_open", kind(api:get "/ok"))
    end)

    it("leaves all to the others", function()
      api = upstream({ consecutive = 1, open_for = LONG }, { peers = { here(), there() } })
      fail(api, 1)
      local rested = states[1].peer
      for _ = 1, 20 do assert.are_not.equal(rested, assert(api:get "/ok").peer) end
    end)

    it("is hidden by retries", function()
      start { retry = { backoff = { base = 1e-6, max = 1e-6 } } }
      api = upstream({ consecutive = 2, open_for = LONG }, { peers = { nowhere(), here() } })
      for _ = 1, 20 do assert.equal("ok", assert(api:post("/ok", "body")).body) end
      assert.equal("open", told())
      assert.equal(2, api:stats().retried)
    end)

    it("opens for twice as long each time that a trial fails", function()
      api = upstream { consecutive = 1, open_for = .001, open_max = 60 }
      fail(api, 1)
      for _ = 1, 9 do
        local _, err = api:get "/status/500"
        if err then
          assert.equal("breaker_open", err.kind)
          hawser.sleep(err.retry_in)
          fail(api, 1)
        end
      end
      local _, err = api:get "/ok"
      assert.is_true(err.retry_in > SHORT and err.retry_in <= .512, err.retry_in)
    end)

    it("opens never for longer than open_max", function()
      api = upstream { consecutive = 1, open_for = .001, open_max = .004 }
      fail(api, 1)
      local tries = 0
      while tries < 8 do
        local _, err = api:get "/status/500"
        if err then
          assert.is_true(err.retry_in <= .004, err.retry_in)
          hawser.sleep(err.retry_in)
        else
          tries = tries + 1
        end
      end
    end)
  end)

  describe("that is half open", function()
    for _, probes in ipairs { 1, 2, 3, 5 } do
      it(("lets exactly %d through at once, and closes when they succeed"):format(probes), function()
        api = upstream { consecutive = 1, open_for = SOON, probes = probes }
        assert.equal("reset", kind(api:get "/rst/now"))
        wait(api)
        local accepted = faultd:ask "get/http/accepted"
        hawser.run(function()
          local tasks = {}
          for i = 1, 20 do tasks[i] = hawser.spawn(function() return kind(api:get "/hold/probe") end) end
          faultd:ask(("held/probe/%d"):format(probes))
          for _ = 1, 5 do assert.is_true(is_open(api)) end
          assert.equal(accepted + probes, faultd:ask "get/http/accepted")
          assert.equal("open half_open", told())
          faultd:ask "release/probe"
          local ended = {}
          for _, task in ipairs(tasks) do
            local _, result = task:join()
            ended[result] = (ended[result] or 0) + 1
          end
          assert.same({ [200] = probes, breaker_open = 20 - probes }, ended)
        end)
        assert.equal("open half_open closed", told())
        assert.equal("ok", assert(api:get "/ok").body)
      end)
    end

    it("says when to come back while its trials are under way", function()
      api = upstream { consecutive = 1, open_for = SOON, probes = 1 }
      fail(api, 1)
      wait(api)
      hawser.run(function()
        local probe = hawser.spawn(function() return api:get "/hold/probe" end)
        faultd:ask "held/probe/1"
        local _, err = api:get "/ok"
        assert.equal("breaker_open", err.kind)
        assert.is_true(err.retry_in > 0 and err.retry_in <= SOON, err.retry_in)
        faultd:ask "release/probe"
        probe:join()
      end)
    end)

    it("closes after so many successes, one after the other, too", function()
      api = upstream { consecutive = 1, open_for = SOON, probes = 3 }
      fail(api, 1)
      wait(api)
      for i = 1, 3 do
        assert.equal(i == 1 and "open" or "open half_open", told())
        assert.equal(404, kind(api:get "/status/404"))
      end
      assert.equal("open half_open closed", told())
    end)

    it("opens again when one fails", function()
      api = upstream { consecutive = 1, open_for = SOON, probes = 3 }
      fail(api, 1)
      wait(api)
      for _ = 1, 2 do assert(api:get "/ok") end
      fail(api, 1)
      assert.equal("open half_open open", told())
      wait(api)
      for _ = 1, 3 do assert(api:get "/ok") end
      assert.equal("open half_open open half_open closed", told())
    end)

    it("opens again when the dial of a trial fails", function()
      api = upstream({ consecutive = 1, open_for = SOON }, { peers = { nowhere() } })
      assert.equal("refused", kind(api:get "/ok"))
      wait(api)
      assert.equal("refused", kind(api:get "/ok"))
      assert.equal("open half_open open", told())
    end)

    it("opens again when a trial is slow", function()
      api = upstream { consecutive = 1, open_for = SOON, slow_after = .02, probes = 1 }
      fail(api, 1)
      wait(api)
      assert.equal(200, kind(api:get "/slow/60"))
      assert.equal("open half_open open", told())
    end)

    for what, ending in pairs {
      ["is cancelled"] = function(handle) handle:cancel() end,
      ["is refused by a limit of ours"] = function() faultd:ask "release/probe" end,
    } do
      it("gives the place of a trial to another when it " .. what, function()
        api = upstream { consecutive = 1, open_for = SOON, probes = 1 }
        fail(api, 1)
        wait(api)
        for _ = 1, 3 do
          local outcome
          local handle = api:get("/hold/probe", { max_body = 1 }, function(_, err) outcome = err end)
          faultd:ask "held/probe/1"
          assert.is_true(is_open(api))
          ending(handle)
          hawser.run()
          assert.is_truthy(outcome)
          assert.equal("open half_open", told())
        end
        assert(api:get "/ok")
        assert.equal("open half_open closed", told())
      end)
    end

    it("shows no failure where retries find another peer", function()
      start { retry = { backoff = { base = 1e-6, max = 1e-6 } } }
      api = upstream({ consecutive = 1, open_for = .001, open_max = .001 }, { peers = { nowhere(), here() } })
      for _ = 1, 50 do assert.equal("ok", assert(api:get "/ok").body) end
      assert.is_true(api:stats().retried > 0)
    end)
  end)

  describe("as its options say", function()
    it("opens after five in a row, unless told otherwise", function()
      api = m:upstream("plain", { peers = { here() } })
      fail(api, 4)
      assert.equal("", told())
      fail(api, 1)
      local _, err = api:get "/ok"
      assert.equal("breaker_open", err.kind)
      assert.is_true(err.retry_in <= 5)
      for _ = 1, 5 do assert.equal("reset", kind(m:get(here() .. "/rst/now"))) end
      assert.equal("breaker_open", kind(m:get(here() .. "/ok")))
      upstreams[1] = api
    end)

    it("is none when switched off, for a manager or an upstream", function()
      api = upstream(false)
      fail(api, 30)
      start { breaker = false }
      api = upstream(nil)
      fail(api, 30)
      assert.equal("", told())
      api = upstream { consecutive = 2, open_for = LONG }
      fail(api, 2)
      assert.equal("open", told())
    end)

    it("has from the manager what the upstream does not say, field by field", function()
      start { breaker = { consecutive = 2, open_for = LONG, probes = 1 } }
      api = upstream { open_for = 30 }
      fail(api, 2)
      local _, err = api:get "/ok"
      assert.equal("breaker_open", err.kind)
      assert.is_true(err.retry_in <= 30, err.retry_in)
      api = upstream { consecutive = 3 }
      fail(api, 3)
      _, err = api:get "/ok"
      assert.is_true(err.retry_in > 30 and err.retry_in <= LONG, err.retry_in)
    end)

    it("changes live", function()
      api = upstream { consecutive = 10, open_for = LONG }
      fail(api, 3)
      assert.is_true(api:update { breaker = { consecutive = 4 } })
      fail(api, 1)
      assert.is_true(is_open(api))
      assert.is_true(api:update { breaker = false })
      fail(api, 10)
      assert.equal("open closed", told())
      assert(api:get "/ok")
      assert.is_true(api:update { breaker = {} })
      fail(api, 3)
      assert(api:get "/ok")
      fail(api, 4)
      assert.is_true(is_open(api))
    end)

    it("keeps its state when peers are replaced, and begins anew for a new one", function()
      api = upstream({ consecutive = 1, open_for = LONG })
      fail(api, 1)
      api:update { peers = { here() } }
      assert.is_true(is_open(api))
      api:update { peers = { here(), there() } }
      assert.equal("there", assert(api:get "/ok").peer)
      api:update { peers = { there() } }
      api:update { peers = { here() } }
      assert(api:get "/ok")
    end)
  end)
end)
