--- Scripted balancers, retry policies and breakers at work on real servers: what they are asked, what comes of each
-- answer, and that nothing they do harms a request. How they are run is policy_guard_spec.lua's.
local hawser = require "hawser"
local program = require "spec.support.program"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

local COUNT = 3 -- peers of most upstreams

local faultd, m, faults, made

-- Peers "a", "b", "c"... that are all the same server.
local function peers(count, more)
  local list = {}
  for i = 1, count or COUNT do
    local id = ("abcdefghij"):sub(i, i)
    list[i] = { ("http://127.0.0.1:%d"):format(faultd.http), id = id, weight = i, locality = "here " .. id,
      tags = { place = i } }
  end
  for _, one in ipairs(more or {}) do list[#list + 1] = one end
  return list
end

local function upstream(options)
  options.peers = options.peers or peers()
  made = made + 1
  return assert(m:upstream("scripted " .. made, options))
end

local function get(api, path, options) return assert(api:get(path or "/ok", options)) end

-- What was told since the last call: messages "kind: text" of the event policy_error.
local function told()
  hawser.run(hawser.sleep, 0)
  local list = faults
  faults = {}
  return list
end

local function start(options)
  if m then m:close() end
  m, faults, made = hawser.new(options or { log = function() end }), {}, 0
  m:on("policy_error", function(e) faults[#faults + 1] = e.reason .. ": " .. e.text end)
end

lazy_setup(function() faultd = servers.faultd() end)
lazy_teardown(function() faultd:stop() end)

before_each(function()
  start()
  faultd:ask "zero"
end)

after_each(function()
  m:close()
  m = nil
  assert.same({}, told())
end)

local function loop() while true do end end

-- What no policy should do: each as the body of a function.
local FAULTS = {
  ["an endless loop"] = loop,
  ["a yield"] = function() coroutine.yield() end,
  ["an error"] = function() error "oops" end,
  ["an error that is nil"] = function() error(nil) end,
  ["a storm of allocations"] = function()
    local all
    while true do all = { all, ("x"):rep(100) } end
  end,
  ["a pcall that swallows"] = function() while true do pcall(loop) end end,
  ["an endless recursion"] = function()
    local function deeper() return 1 + deeper() end
    return deeper()
  end,
  ["a request"] = function() return m:get("http://127.0.0.1:1/") end,
  ["a request with a callback"] = function() return m:get("http://127.0.0.1:1/", function() end) end,
  ["a request of the default manager"] = function() return hawser.get("http://127.0.0.1:1/") end,
  ["sleeping"] = function() hawser.sleep(0) end,
  ["a task"] = function() hawser.spawn(function() end) end,
  ["running"] = function() hawser.run() end,
  ["a manager"] = function() hawser.new() end,
  ["closing the manager"] = function() m:close() end,
  ["closing the upstream"] = function() m:upstream("scripted 1"):close() end,
  ["updating the upstream"] = function() m:upstream("scripted 1"):update { retry = false } end,
  ["swapping itself"] = function() m:upstream("scripted 1"):set_policy("retry", nil) end,
}

-- Plugins -------------------------------------------------------------------------------------------------

local MODULES = {
  ["hawser.balancer.spec_fixed"] = { kind = "balancer", name = "spec_fixed",
    new = function(config) return { id = config.id or "b" } end,
    pick = function(self, list)
      for _, peer in ipairs(list) do if peer.id == self.id then return peer end end
    end },
  ["hawser.retry.spec_count"] = { kind = "retry", name = "spec_count",
    new = function(config) return { most = config.most or 2 } end,
    decide = function(self, ctx) return ctx.attempt < self.most and 0 or nil end },
  ["hawser.breaker.spec_first"] = { kind = "breaker", name = "spec_first",
    new = function(config) return { open_for = config.open_for } end,
    record = function(self, _, outcome)
      if not outcome.ok then return "open", self.open_for end
      return "closed"
    end },
  ["hawser.balancer.spec_retry"] = { kind = "retry", name = "spec_retry", decide = function() end },
}
for name, plugin in pairs(MODULES) do package.preload[name] = function() return plugin end end
package.preload["hawser.balancer.spec_broken"] = function() error "it does not load" end
package.preload["hawser.balancer.spec_nothing"] = function() return 42 end

-- Which peers serve so many requests.
local function served(api, count)
  local list = {}
  for i = 1, count do
    get(api)
    for _, peer in ipairs(api:peers()) do
      local before = list[peer.id] or 0
      list[peer.id] = peer.answered
      if peer.answered > before then list[i] = peer.id end
    end
  end
  return table.concat(list)
end

describe("a scripted balancer", function()
  it("may be a function, a name, a name with options, or a plugin table", function()
    local plugin = hawser.policy { kind = "balancer", name = "last", pick = function(_, list) return list[#list] end }
    assert.equal("ccc", served(upstream { balancer = function(list) return list[#list] end }, 3))
    assert.equal("bbb", served(upstream { balancer = "spec_fixed" }, 3))
    assert.equal("ccc", served(upstream { balancer = { "spec_fixed", id = "c" } }, 3))
    assert.equal("ccc", served(upstream { balancer = plugin }, 3))
  end)

  it("is refused at the caller's line when it is none", function()
    local function new(value)
      return function() m:upstream("refused", { peers = peers(), balancer = value }) end
    end
    raises("nonsuch.*known:.*no module hawser%.balancer%.nonsuch", new "nonsuch")
    raises("spec_broken could not be loaded: .*it does not load", new "spec_broken")
    raises("spec_nothing: the policy is 42; allowed: a table", new "spec_nothing")
    raises("spec_retry is a retry, not a balancer", new "spec_retry")
    raises("^balancer", new(42))
    raises("pick", new { kind = "balancer", name = "empty" })
    raises("balancer bad: new: .*no limit", new { kind = "balancer", name = "bad", pick = print,
      new = function() error "no limit" end })
    assert.is_nil(m:upstream "refused")
  end)

  describe("decides by what it returns:", function()
    -- Each answer, and what is said of it.
    local function answers(value, message)
      local api = upstream { balancer = function() return value end }
      for _ = 1, 3 do get(api) end
      local list = told()
      assert.equal(message and 3 or 0, #list)
      assert.equal(message and 3 or 0, api:stats().policy_errors)
      for _, text in ipairs(list) do assert.matches(message, text) end
    end

    it("nil has no opinion", function() answers(nil, nil) end)

    for name, value in pairs { ["a string"] = "a", ["a number"] = 1, ["not a number"] = 0 / 0, ["true"] = true,
      ["a table"] = { id = "a" }, ["a function"] = print, ["a userdata"] = io.stdout } do
      it(name .. " is a fault", function() answers(value, "^balancer: pick: it returned none of the peers") end)
    end

    it("a peer of another upstream is a fault", function()
      local stolen
      get(upstream { balancer = function(list)
        stolen = list[1]
        return list[1]
      end })
      answers(stolen, "none of the peers")
    end)

    it("a peer that was removed is a fault, and the peer is not forgotten in a policy's hands", function()
      local kept
      local api = upstream { balancer = function(list)
        kept = kept or list[1]
        return kept
      end }
      get(api)
      assert.equal("a", kept.id)
      assert.equal(0, kept.in_flight)
      api:update { peers = { peers()[2] } }
      hawser.run(hawser.sleep, 0)
      get(api)
      assert.equal(1, #told())
      assert.same({ "a", nil }, { kept.id, kept.in_flight })
      assert.equal("here a", kept.locality)
      assert.equal("peer a", tostring(kept))
      api:update { peers = peers() } -- a new peer of the same name
      hawser.run(hawser.sleep, 0)
      get(api)
      assert.equal(1, #told())
      m:close()
      assert.is_nil(kept.weight)
    end)

    it("a peer that is no candidate is a fault", function()
      local all = {}
      local api = upstream { limits = { per_peer = 1 }, balancer = function(list)
        for _, peer in ipairs(list) do all[peer.id] = peer end
        return all.a
      end }
      local held = assert(api:get("/bytes/10000000", { stream = true }))
      assert.same({}, told())
      assert.equal("ok", get(api).body)
      assert.equal(1, #told())
      held:close()
    end)

    it("false waits in the queue, until there is one that it likes", function()
      local asked, api = 0
      api = upstream { limits = { per_peer = 1 }, balancer = function(list)
        asked = asked + 1
        for _, peer in ipairs(list) do if peer.id == "a" then return peer end end
        return false
      end }
      hawser.all { function() get(api) end, function() get(api) end, function() get(api) end }
      local answered = {}
      for i, peer in ipairs(api:peers()) do answered[i] = peer.answered end
      assert.same({ 3, 0, 0 }, answered)
      assert.is_true(api:stats().queue_max >= 1)
      assert.is_true(asked >= 4)
    end)

    it("false without end is an overload", function()
      local api = upstream { timeouts = { queue = .02 }, balancer = function() return false end }
      local res, err = api:get "/ok"
      assert.is_nil(res)
      assert.equal("overload", err.kind)
    end)

    it("false holds nobody up who comes later, of whom it thinks otherwise", function()
      local api = upstream { timeouts = { queue = 20 }, balancer = function(list, ctx)
        return ctx.path == "/ok" and list[1] or false
      end }
      local waiting = hawser.spawn(function() return api:get "/status/200" end)
      hawser.run(hawser.sleep, 0)
      assert.equal("ok", get(api, "/ok", { timeout = 10 }).body)
      waiting:cancel()
    end)

    it("false holds nobody up who stands behind, and a few are asked for at a time", function()
      local count, asked, likes = 50, 0, false
      local api = upstream { timeouts = { queue = 20 }, balancer = function(list, ctx)
        asked = asked + 1
        return likes and ctx.path == "/ok" and list[1] or false
      end }
      local first, second = {}, {}
      for i = 1, count do first[i] = hawser.spawn(function() return api:get "/status/200" end) end
      for i = 1, count do second[i] = hawser.spawn(function() return get(api, "/ok").body end) end
      hawser.run(hawser.sleep, 0)
      assert.same({ 2 * count, 2 * count }, { api:stats().queued, asked })
      asked = 0
      api:update { limits = { per_peer = 5 } } -- something has changed, and all are asked for once more
      hawser.run(hawser.sleep, 0)
      assert.is_true(asked > 0 and asked < count, asked)
      for _ = 1, 2 * count do hawser.run(hawser.sleep, 0) end
      assert.is_true(asked >= 2 * count and asked < 5 * count, asked)
      asked = 0
      for _ = 1, 10 do hawser.run(hawser.sleep, 0) end
      assert.equal(0, asked)
      likes = true
      api:update { limits = { per_peer = 6 } }
      for i = 1, count do assert.same({ true, "ok" }, { second[i]:join() }) end
      assert.equal(count, api:stats().queued)
      for i = 1, count do first[i]:cancel() end
    end)

    it("false holds through an update", function()
      local asked = 0
      local api = upstream { timeouts = { queue = 20 }, balancer = function()
        asked = asked + 1
        return false
      end }
      local task = hawser.spawn(function() return api:get "/ok" end)
      hawser.run(hawser.sleep, 0)
      assert.equal(1, asked)
      api:update { limits = { per_peer = 2 } }
      api:set_policy("retry", nil)
      hawser.run(hawser.sleep, 0)
      assert.same({ 1, 0 }, { api:stats().queued, api:stats().created + api:stats().dialing })
      assert.is_true(asked > 1)
      task:cancel()
    end)

    it("who waits for it is asked for anew when it is swapped", function()
      local api = upstream { balancer = function() return false end }
      local task = hawser.spawn(function() return get(api).body end)
      hawser.run(hawser.sleep, 0)
      assert.equal(1, api:stats().queued)
      api:set_policy("balancer", nil)
      assert.same({ true, "ok" }, { task:join() })
    end)
  end)

  it("gets those that could serve now, without the tried ones while others remain", function()
    local seen = {}
    local api = upstream { retry = { attempts = 3, on = { 503 }, backoff = { base = 1e-6 } },
      balancer = function(list, ctx)
        local ids = {}
        for i, peer in ipairs(list) do ids[i] = peer.id end
        seen[#seen + 1] = table.concat(ids) .. " after " .. table.concat(ctx.tried, ",")
        return list[1]
      end }
    assert.equal(503, get(api, "/status/503").status)
    assert.same({ "abc after ", "bc after a", "c after a,b" }, seen)
  end)

  it("keeps to the lowest priority number", function()
    local list = peers()
    list[1].priority = 1
    local most = 0
    local api = upstream { peers = list, balancer = function(now)
      most = math.max(most, #now)
      assert(now[1].id ~= "a")
      return now[1]
    end }
    assert.equal("b", served(api, 1))
    assert.equal(2, most)
  end)

  it("may not be kept, sorted or filled to anybody's harm", function()
    local kept
    local api = upstream { balancer = function(list)
      kept = list
      table.sort(list, function(a, b) return a.id > b.id end)
      local first = list[1]
      list[1], list.x, list[50] = nil, true, 4
      return first
    end }
    assert.equal("ccc", served(api, 3))
    api:update { peers = peers(10) }
    hawser.run(hawser.sleep, 0)
    kept[1] = 7
    assert.equal("j", served(api, 1))
  end)
end)

describe("a scripted retry policy", function()
  local function retrying(decide, more)
    local options = more or {}
    options.retry = decide
    return upstream(options)
  end

  local function attempts(api, path, options)
    faultd:ask "zero"
    local res, err = api:get((path or "/status/500") .. "?key=k", options)
    return faultd:ask "seen/GET/k", res, err
  end

  it("may be a function, a name, a name with options, or a plugin table", function()
    local plugin = hawser.policy { kind = "retry", name = "thrice",
      decide = function(_, ctx) if ctx.attempt < 3 then return 0 end end }
    assert.equal(2, (attempts(retrying(function(ctx) return ctx.attempt == 1 and 0 or nil end))))
    assert.equal(2, (attempts(retrying "spec_count")))
    assert.equal(3, (attempts(retrying { "spec_count", most = 3 })))
    assert.equal(3, (attempts(retrying(plugin))))
    raises("known", function() m:upstream("none", { peers = peers(), retry = "nonsuch" }) end)
  end)

  describe("decides by what it returns:", function()
    local function answers(value, wanted, message)
      local api = retrying(function() return value end)
      assert.equal(wanted, (attempts(api)))
      local list = told()
      assert.equal(message ~= nil, #list > 0)
      for _, text in ipairs(list) do assert.matches(message, text) end
    end

    it("a delay goes again", function() answers(.001, 3) end)
    it("0 goes again at once", function() answers(0, 3) end)
    it("nil stops", function() answers(nil, 1) end)
    it("false stops", function() answers(false, 1) end)

    -- The built-in one decides, and tries no 500 again.
    for name, value in pairs { ["below 0"] = -1, ["not a number"] = 0 / 0, ["endless"] = math.huge, ["huge"] = 1e10,
      ["a string"] = "1", ["true"] = true, ["a table"] = {} } do
      it(name .. " is a fault", function() answers(value, 1, "^retry: decide: it returned neither a number") end)
    end
  end)

  describe("is held against", function()
    local function always() return 0 end

    it("the number of attempts", function()
      local api = upstream { retry = always }
      assert.equal(3, (attempts(api)))
      api:update { retry = { attempts = 2 } }
      assert.equal(2, (attempts(api)))
      api:update { retry = { attempts = 5 } }
      assert.equal(5, (attempts(api)))
    end)

    it("what may not be sent twice", function()
      local api = retrying(always)
      local res, err = api:post("/rst/now?key=k", "body")
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.equal(1, faultd:ask "seen/POST/k")
    end)

    it("the deadline", function()
      local api = retrying(function() return 60 end)
      local seen, res = attempts(api, nil, { timeout = 5 })
      assert.same({ 1, 500 }, { seen, res.status })
    end)

    it("the budget", function()
      local api = retrying(always)
      api:update { retry = { budget = { share = 0, floor = 1 } } }
      local all = 0
      for _ = 1, 10 do all = all + attempts(api) end
      assert.is_true(all < 20)
      assert.is_true(api:stats().retries_refused > 0)
    end)

    it("open breakers", function()
      local api = retrying(always, { peers = peers(1), breaker = { consecutive = 1 } })
      assert.equal(1, (attempts(api)))
      local _, err = api:get "/ok"
      assert.equal("breaker_open", err.kind)
    end)
  end)

  it("is asked after 4xx, which count against nobody, but not after what went well", function()
    local asked = {}
    local api = retrying(function(_, outcome) asked[#asked + 1] = tostring(outcome.ok) .. outcome.status end)
    get(api)
    get(api, "/status/204")
    assert.same({}, asked)
    get(api, "/status/429")
    assert.same({ "true429" }, asked)
  end)
end)

describe("a scripted breaker", function()
  local function states(api)
    local list = {}
    for i, peer in ipairs(api:peers()) do list[i] = peer.breaker end
    return table.concat(list, " ")
  end

  local function breaking(record, more)
    local options = more or {}
    options.peers, options.breaker, options.retry = options.peers or peers(1), record, options.retry or false
    return upstream(options)
  end

  it("may be a function, a name, a name with options, or a plugin table", function()
    local plugin = hawser.policy { kind = "breaker", name = "at_once", record = function(_, _, outcome)
      return outcome.ok and "closed" or "open"
    end }
    for _, breaker in ipairs { "spec_first", { "spec_first", open_for = 60 }, plugin,
      function(_, outcome) return outcome.ok and "closed" or "open" end } do
      local api = breaking(breaker)
      get(api)
      assert.equal("closed", states(api))
      get(api, "/status/500")
      assert.equal("open", states(api))
    end
  end)

  describe("decides by what it returns:", function()
    local function answers(wanted, message, ...)
      local given, count = { ... }, select("#", ...)
      local api = breaking(function() return (unpack or table.unpack)(given, 1, count) end)
      api:update { breaker = { consecutive = 2 } }
      get(api, "/status/500")
      assert.equal(wanted, states(api))
      local list = told()
      assert.equal(message ~= nil, #list > 0)
      for _, text in ipairs(list) do assert.matches(message, text) end
      if wanted == "open" then
        local _, err = api:get "/ok"
        assert.equal("breaker_open", err.kind)
        return err.retry_in
      end
      get(api, "/status/500")
      told()
      return states(api)
    end

    it("open opens, for as long as the options say", function() assert.is_true(answers("open", nil, "open") <= 8) end)

    it("open and seconds opens for so long", function()
      local left = answers("open", nil, "open", 300)
      assert.is_true(left > 200 and left <= 300, left)
    end)

    it("closed leaves it closed, whatever the options say", function()
      assert.equal("closed", answers("closed", nil, "closed"))
    end)

    it("nil has no opinion", function() assert.equal("open", answers("closed", nil, nil)) end)

    for name, value in pairs { ["a word"] = "half_open", ["a number"] = 1, ["true"] = true, ["false"] = false } do
      it(name .. " is a fault", function()
        assert.equal("open", answers("closed", "^breaker: record: it returned neither", value))
      end)
    end

    for name, span in pairs { ["0 seconds"] = 0, ["seconds below 0"] = -1, ["not a number of seconds"] = 0 / 0,
      ["endless seconds"] = math.huge, ["seconds in a string"] = "1" } do
      it("open for " .. name .. " is a fault", function()
        assert.equal("open", answers("closed", "^breaker: record: it returned neither", "open", span))
      end)
    end
  end)

  it("leaves half-open to the core: `probes` trials that it is not asked about", function()
    local asked = 0
    local api = breaking(function(_, outcome)
      asked = asked + 1
      return outcome.ok and "closed" or "open", .001
    end)
    api:update { breaker = { probes = 2 } }
    get(api, "/status/500")
    assert.equal(1, asked)
    repeat hawser.sleep(.001) until states(api) == "half_open"
    get(api)
    assert.same({ 1, "half_open" }, { asked, states(api) })
    get(api)
    assert.same({ 1, "closed" }, { asked, states(api) })
    get(api)
    assert.equal(2, asked)
  end)

  it("is not told of what is neutral", function()
    local asked = 0
    local api = breaking(function() asked = asked + 1 end)
    local task = hawser.spawn(function() return api:get "/never" end)
    hawser.run(hawser.sleep, 0)
    task:cancel()
    task:join()
    assert.equal(0, asked)
  end)
end)

describe("what a policy is given", function()
  local NO_FIELDS = { "method", "path", "headers", "priority", "attempt", "tried", "deadline", "upstream", "now",
    "random" }

  it("ctx tells of a request", function()
    local seen, kept
    local api = upstream { balancer = function(_, ctx)
      kept = ctx
      seen = { method = ctx.method, path = ctx.path, headers = ctx.headers, attempt = ctx.attempt, tried = ctx.tried,
        priority = ctx.priority, deadline = ctx.deadline, upstream = ctx.upstream, now = ctx.now,
        nonsense = ctx.nonsense, [1] = ctx[1] }
    end }
    local before = hawser.now()
    api:request { method = "PUT", path = "/body?a=b", body = "x", timeout = 20, priority = 5,
      headers = { ["X-One"] = "1", ["x-many"] = { "2", "3" }, Accept = "a/b" } }
    assert.same({ "PUT", "/body?a=b", 5, 1, {}, "scripted 1" },
      { seen.method, seen.path, seen.priority, seen.attempt, seen.tried, seen.upstream })
    assert.same({ "1", "2", "a/b" }, { seen.headers["x-one"], seen.headers["x-many"], seen.headers.accept })
    assert.is_true(seen.now >= before - .1 and seen.now <= hawser.now())
    assert.is_true(seen.deadline > before + 19 and seen.deadline < hawser.now() + 20)
    assert.is_nil(seen.nonsense)
    for _, field in ipairs(NO_FIELDS) do assert.is_nil(kept[field], field) end
    assert.has_error(function() kept.now = 1 end)
  end)

  it("ctx tells no method of a lease", function()
    local seen
    local api = upstream { peers = { "tcp://127.0.0.1:" .. faultd.raw }, balancer = function(list, ctx)
      seen = { ctx.method, ctx.path, ctx.headers, ctx.priority, upstream = ctx.upstream, attempt = ctx.attempt }
      return list[1]
    end }
    assert(api:acquire()):close()
    assert.same({ upstream = "scripted 1", attempt = 1 }, seen)
  end)

  it("ctx.random draws from the seed", function()
    local function draws(seed)
      start { seed = seed, log = function() end }
      local list, kept = {}
      local api = upstream { balancer = function(_, ctx)
        kept = ctx.random
        for i = 1, 20 do list[i] = ctx.random(6) end
        assert(ctx.random(1) == 1 and not pcall(ctx.random, 0) and not pcall(ctx.random, 1.5) and not pcall(ctx.random))
      end }
      get(api)
      assert.same({}, told())
      assert.has_error(function() kept(6) end, "random: nothing is being decided now")
      return list
    end
    local one = draws(1)
    assert.same(one, draws(1))
    assert.is_not.same(one, draws(2))
    for _, n in ipairs(one) do assert.is_true(n >= 1 and n <= 6 and n % 1 == 0) end
  end)

  it("outcome tells how it ended", function()
    local seen, kept = {}
    local function note(outcome)
      kept = outcome
      seen[#seen + 1] = { ok = outcome.ok, kind = outcome.kind, status = outcome.status, bytes = outcome.bytes,
        peer = outcome.peer, attempt = outcome.attempt, sent = outcome.sent, retry_after = outcome.retry_after,
        latency = outcome.latency }
    end
    local api = upstream { peers = peers(1), reuse = "never", breaker = false, retry = { kind = "retry", name = "notes",
      decide = function() end, done = function(_, _, outcome) note(outcome) end } }
    local function last(path)
      seen = {}
      api:get(path)
      assert.equal(1, #seen)
      if seen[1].latency then
        assert.is_true(seen[1].latency > 0 and seen[1].latency < 60)
        seen[1].latency = true
      end
      return seen[1]
    end
    assert.same({ ok = true, status = 200, bytes = 2, peer = "a", attempt = 1, sent = true, latency = true },
      last "/ok")
    assert.same({ ok = false, kind = "reset", bytes = 0, peer = "a", attempt = 1, sent = true, latency = true },
      last "/rst/now")
    local failed = last "/status/503"
    assert.same({ false, 503, nil }, { failed.ok, failed.status, failed.kind })
    assert.is_true(last "/status/404".ok)
    for _, field in ipairs { "ok", "kind", "status", "latency", "bytes", "peer", "attempt", "sent", "retry_after" } do
      assert.is_nil(kept[field], field)
    end
  end)

  it("outcome tells of a dial, and of Retry-After", function()
    local seen = {}
    local function note(_, outcome)
      seen[#seen + 1] = { outcome.kind, outcome.sent, outcome.retry_after, outcome.latency, outcome.status }
      return nil
    end
    upstream({ peers = { "http://127.0.0.1:" .. faultd.closed }, retry = note }):get "/"
    assert.same({ "refused", false }, seen[1])
    local busy = servers.hex "HTTP/1.1 503 S\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    get(upstream { retry = note }, "/raw/" .. busy)
    assert.equal(7, seen[2][3])
    assert.equal(503, seen[2][5])
  end)

  it("a peer has its fields, which change with it", function()
    local seen
    local api = upstream { balancer = function(list)
      local peer = list[2]
      seen = { id = peer.id, address = peer.address, locality = peer.locality, place = peer.tags and peer.tags.place,
        weight = peer.weight, in_flight = peer.in_flight, connections = peer.connections, idle = peer.idle,
        latency = peer.latency, p99 = peer.p99, success_rate = peer.success_rate, score = peer.score,
        state = peer.state, breaker = peer.breaker, since = peer.since, nonsense = peer.nonsense }
      return peer
    end }
    get(api)
    local since = seen.since
    assert.is_true(since > 0 and since <= hawser.now())
    seen.since = nil
    assert.same({ id = "b", address = "127.0.0.1:" .. faultd.http, locality = "here b", place = 2, weight = 2,
      in_flight = 0, connections = 0, idle = 0, success_rate = 1, score = 1, state = "healthy", breaker = "closed" },
      seen)
    get(api)
    assert.same({ 1, 1 }, { seen.connections, seen.idle })
    assert.is_true(seen.latency > 0 and seen.p99 > 0)
    hawser.all { function() get(api) end, function() get(api) end }
    assert.equal(1, seen.in_flight)
    local list = peers()
    list[2].weight, list[2].locality, list[2].tags = 9, "there", nil
    api:update { peers = list }
    get(api)
    assert.same({ 9, "there" }, { seen.weight, seen.locality })
    assert.is_nil(seen.place)
  end)
end)

describe("the functions of a plugin", function()
  local steps

  local function note(...) steps[#steps + 1] = table.concat({ ... }, " ") end

  local function flush()
    local list = steps
    steps = {}
    return list
  end

  local function ids(list)
    local all = {}
    for i, peer in ipairs(list) do all[i] = peer.id end
    return table.concat(all)
  end

  local function plugin(kind, name, method)
    return hawser.policy { kind = kind, name = name,
      new = function(config)
        note(name, "new", config.x or "-")
        return { name = name }
      end,
      [method] = function(self) note(self.name, method) end,
      update = function(self, list) note(self.name, "update", ids(list)) end,
      done = function(self, peer, outcome) note(self.name, "done", peer.id, tostring(outcome.ok)) end,
      migrate = function(self, old) note(self.name, "migrate", old.name) end,
      close = function(self) note(self.name, "close") end }
  end

  before_each(function() steps = {} end)

  it("are called in their time", function()
    local api = upstream { peers = peers(2), balancer = plugin("balancer", "one", "pick") }
    assert.same({ "one new -", "one update ab" }, flush())
    get(api, nil)
    steps[2] = steps[2]:gsub("done %a", "done ?")
    assert.same({ "one pick", "one done ? true" }, flush())
    api:update { peers = peers(3) }
    assert.same({ "one update abc" }, flush())
    api:set_policy("balancer", plugin("balancer", "two", "pick"))
    assert.same({ "two new -", "two migrate one", "one close", "two update abc" }, flush())
    api:set_policy("balancer", function() end)
    assert.same({ "two close" }, flush())
    api:set_policy("balancer", plugin("balancer", "three", "pick"))
    assert.same({ "three new -", "three update abc" }, flush())
    api:set_policy("balancer", nil)
    assert.same({ "three close" }, flush())
    api:set_policy("retry", plugin("retry", "four", "decide"))
    api:set_policy("breaker", plugin("breaker", "five", "record"))
    flush()
    api:close()
    assert.same({ "five close", "four close" }, (function(list)
      table.sort(list)
      return list
    end)(flush()))
    assert.is_nil(m:upstream "scripted 1")
  end)

  it("close is called once, when the manager is closed, too", function()
    upstream { balancer = plugin("balancer", "one", "pick") }
    upstream { retry = plugin("retry", "two", "decide") }
    flush()
    m:close()
    m:close()
    local list = flush()
    table.sort(list)
    assert.same({ "one close", "two close" }, list)
  end)

  it("close is called at the next rest when it was collected", function()
    local other = hawser.new()
    other:upstream("lost", { peers = peers(), balancer = plugin("balancer", "one", "pick") })
    flush()
    other = nil -- luacheck: ignore
    for _ = 1, 4 do collectgarbage() end
    hawser.run(hawser.sleep, 0)
    assert.same({ "one close" }, flush())
  end)

  it("close is called in what could not be put in place", function()
    assert.has_error(function()
      m:upstream("odd", { peers = { "http://127.0.0.1:1", "tcp://127.0.0.1:2" },
        balancer = plugin("balancer", "one", "pick") })
    end)
    assert.same({ "one new -", "one close" }, flush())
    local api = upstream { balancer = plugin("balancer", "two", "pick") }
    flush()
    assert.has_error(function()
      api:update { balancer = plugin("balancer", "three", "pick"),
        peers = { "http://127.0.0.1:1", "http://127.0.0.1:1" } }
    end)
    assert.same({ "three new -", "three close" }, flush())
    get(api)
    assert.equal("two pick", flush()[1])
    assert.has_error(function()
      api:update { balancer = plugin("balancer", "four", "pick"),
        retry = { kind = "retry", name = "bad", decide = print, new = function() error "bad" end } }
    end)
    flush()
    get(api)
    assert.equal("two pick", flush()[1])
    api:update { retry = { attempts = 1 } }
    assert.same({ "four close", "two update abc" }, flush())
  end)

  it("a peer that was removed is in done's hands until its work is finished", function()
    local api = upstream { peers = peers(1), balancer = plugin("balancer", "one", "pick") }
    local held = assert(api:get("/bytes/10000000", { stream = true }))
    api:update { peers = { peers(2)[2] } }
    flush()
    held:close()
    hawser.run()
    assert.matches("^one done a", flush()[1])
  end)

  it("new gets the options, and instances share nothing", function()
    local api = upstream { balancer = { "spec_fixed", id = "c" } }
    local other = upstream { balancer = "spec_fixed" }
    assert.same({ "c", "b" }, { served(api, 1), served(other, 1) })
  end)

  it("options alone leave a scripted policy in place", function()
    local asked = 0
    local api = upstream { retry = function() asked = asked + 1 end }
    api:update { retry = { attempts = 2 }, limits = { per_peer = 3 } }
    get(api, "/status/500")
    assert.equal(1, asked)
    api:update { balancer = "random" }
    get(api, "/status/500")
    assert.equal(2, asked)
    api:set_policy("retry", { attempts = 2 })
    get(api, "/status/500")
    assert.equal(2, asked)
  end)

  it("a built-in balancer takes its place", function()
    local api = upstream { balancer = function(list) return list[3] end }
    assert.equal("c", served(api, 1))
    api:update { balancer = "round_robin" }
    assert.equal(1, api:peers()[3].answered)
    for _ = 1, 6 do get(api) end
    assert.is_true(api:peers()[1].answered > 0)
  end)
end)

describe("api:set_policy", function()
  it("refuses what is none, at the caller's line", function()
    local api = upstream {}
    raises('the kind of policy is "router"', function() api:set_policy("router", function() end) end)
    raises("the kind of policy is missing", function() api:set_policy() end)
    raises("nonsuch", function() api:set_policy("balancer", "nonsuch") end)
    local retry = { kind = "retry", name = "x", decide = print }
    raises("a retry, not a balancer", function() api:set_policy("balancer", retry) end)
  end)

  it("fails on what is closed", function()
    local api = upstream {}
    api:close()
    for _, policy in ipairs { function() end, "random" } do
      local ok, err = api:set_policy("balancer", policy)
      assert.same({ nil, "closed" }, { ok, err.kind })
    end
    assert.equal("closed", select(2, api:set_policy("balancer", nil)).kind)
  end)

  it("takes names of built-in balancers", function()
    local api = upstream { balancer = function() error "no" end }
    assert.is_true(api:set_policy("balancer", "random"))
    get(api)
    assert.same({}, told())
  end)

  it("swaps a thousand times under load, and each is closed", function()
    local open, swaps, served_by, answers = 0, 0, 0, 0
    local function fresh()
      return { kind = "balancer", name = "fresh", new = function()
        open = open + 1
        return {}
      end, pick = function(_, list, ctx)
        served_by = served_by + 1
        return list[ctx.random(#list)]
      end, done = function() end, migrate = function() end, close = function() open = open - 1 end }
    end
    local api = upstream { balancer = fresh() }
    local function load()
      while swaps < 1000 do
        assert.equal("ok", get(api).body)
        answers = answers + 1
      end
    end
    local calls = { function()
      repeat
        swaps = swaps + 1
        assert(api:set_policy("balancer", swaps % 7 == 0 and "random" or fresh()))
        while answers < swaps / 10 do hawser.sleep(0) end
      until swaps == 1000
    end }
    for _ = 1, 8 do calls[#calls + 1] = load end
    for _, outcome in ipairs(hawser.all(calls)) do assert.is_true(outcome[1], tostring(outcome[2])) end
    assert.is_true(served_by > 50)
    assert.equal(1, open)
    api:close()
    assert.equal(0, open)
    assert.same({}, told())
  end)
end)

describe("a policy that fails", function()
  local KINDS = {
    balancer = function(body) return { balancer = function() return body() end } end,
    retry = function(body) return { retry = function() return body() end } end,
    breaker = function(body) return { breaker = function() return body() end } end,
  }

  for kind, options in pairs(KINDS) do
    for name, body in pairs(FAULTS) do
      it(("as a %s by %s harms no request"):format(kind, name), function()
        local api = upstream(options(body))
        local path = kind == "balancer" and "/ok" or "/status/500"
        hawser.all { function() get(api, path) end, function() get(api, path) end, function() get(api, path) end }
        local res = get(api, path)
        assert.equal(kind == "balancer" and 200 or 500, res.status)
        assert.equal(api, m:upstream "scripted 1")
        local list = told()
        assert.equal(api:stats().policy_errors, #list)
        assert.is_true(#list >= 4)
        for _, text in ipairs(list) do assert.matches("^" .. kind .. ": %a+: ", text) end
      end)
    end
  end

  it("is set aside after ten faults in a row, until it is swapped", function()
    local asked = 0
    local function bad()
      asked = asked + 1
      return "nonsense"
    end
    local api = upstream { balancer = bad }
    for _ = 1, 15 do get(api) end
    assert.equal(10, asked)
    assert.equal(10, #told())
    assert.equal(10, api:stats().policy_errors)
    assert.equal(10, m:stats().policy_errors)
    api:update { limits = { per_peer = 9 } }
    get(api)
    assert.equal(10, asked)
    api:set_policy("balancer", bad)
    hawser.run(hawser.sleep, 0) -- a change asks anew for all who wait, so also for who waits for a dial
    get(api)
    assert.equal(11, asked)
    assert.equal(1, #told())
  end)

  it("is not set aside while it is good between", function()
    local asked = 0
    local api = upstream { balancer = function(list)
      asked = asked + 1
      return asked % 10 == 0 and list[1] or "nonsense"
    end }
    for _ = 1, 40 do get(api) end
    assert.equal(40, asked)
    assert.equal(36, #told())
  end)

  it("in update, done, migrate or close is told of", function()
    local function bad(name)
      return { kind = "balancer", name = "bad", pick = function() end,
        [name] = function() error(name .. " fails", 0) end }
    end
    local api = upstream { balancer = bad "update" }
    assert.same({ "balancer: update: update fails" }, told())
    api:set_policy("balancer", bad "done")
    get(api)
    assert.same({ "balancer: done: done fails" }, told())
    api:set_policy("balancer", bad "migrate")
    assert.same({ "balancer: migrate: migrate fails" }, told())
    api:set_policy("balancer", bad "close")
    api:set_policy("balancer", nil)
    assert.same({ "balancer: close: close fails" }, told())
  end)

  -- On LuaJIT the error used to leave its compiled code with the stack of the policy's thread.
  it("in new leaves the program's loops alone", function()
    local bad = { kind = "balancer", name = "bad", pick = print, new = function() error "no" end }
    raises("bad: new: .*no", function() m:upstream("bad", { peers = peers(), balancer = bad }) end)
    for _ = 1, 100 do
      local sum = 0
      pcall(m.upstream, m, "bad", { peers = peers(), balancer = bad })
      for i = 1, 100 do sum = sum + i end
      assert.equal(5050, sum)
    end
  end)

  it("is logged", function()
    local lines = {}
    start { log = function(level, message, fields) lines[#lines + 1] = { level, message, fields.event } end }
    get(upstream { balancer = function() error("oops", 0) end })
    hawser.run()
    assert.same({ { "warn", "the balancer policy of scripted 1 failed: pick: oops", "policy_error" } }, lines)
    told()
  end)

  it("goes to stderr where nobody listens", function()
    local output, status = program.run([[
      local m = hawser.new()
      local api = m:upstream("api", { peers = { ... }, balancer = function() error("oops", 0) end })
      print(api:get("/ok").body)
      m:close()
    ]], "http://127.0.0.1:" .. faultd.http)
    assert.equal(0, status, output)
    assert.matches("ok\n", output)
    assert.matches("the balancer policy of api failed: pick: oops", output)
  end)

  it("may be heard by a listener that closes everything", function()
    local api = upstream { balancer = function() return "nonsense" end }
    m:on("policy_error", function() api:close() end)
    local res, err = api:get "/ok"
    assert.is_true(res ~= nil or err.kind == "closed")
    hawser.run()
    assert.equal("closed", select(2, api:get "/ok").kind)
    told()
  end)
end)

describe("a callback", function()
  it("may close the manager while policies are in place", function()
    local closed = 0
    local plugin = { kind = "balancer", name = "p", pick = function(_, list) return list[1] end,
      close = function() closed = closed + 1 end }
    local api = upstream { balancer = plugin, retry = function() return 0 end }
    local ended
    api:get("/ok", function()
      ended = true
      m:close()
    end)
    api:get("/never", function(_, err) assert.equal("closed", err.kind) end)
    hawser.run()
    assert.is_true(ended)
    assert.equal(1, closed)
  end)
end)

describe("what is collected while a policy runs", function()
  it("is finalized afterwards, and its leases and streams let go", function()
    local api = upstream { peers = peers(2), limits = { per_peer = 4 }, balancer = function(list)
      for _ = 1, 3 do collectgarbage() end
      return list[1]
    end }
    local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
    local function abandon()
      local held = { assert(raw:acquire()), assert(api:get("/bytes/10000000", { stream = true })), hawser.new() }
      held[3]:upstream("lost", { peers = peers(), balancer = function() end })
      held = nil -- luacheck: ignore
    end
    for _ = 1, 3 do
      abandon()
      get(api)
      get(api)
    end
    for _ = 1, 3 do collectgarbage() end
    get(api)
    hawser.run()
    assert.same({ 0, 0 }, { raw:stats().busy, api:stats().busy })
    assert.same({}, told())
  end)
end)

describe("the end of the Lua state", function()
  it("closes policies, whatever is in flight", function()
    local output, status = program.run([[
      local m = hawser.new()
      local function plugin(kind, method)
        return { kind = kind, name = "p", [method] = function() end, close = function() print(kind .. " closed") end }
      end
      local api = m:upstream("api", { peers = { ... }, balancer = plugin("balancer", "pick"),
        retry = plugin("retry", "decide"), breaker = plugin("breaker", "record") })
      api:get("/never", function() end)
      api:get("/ok")
    ]], "http://127.0.0.1:" .. faultd.http)
    assert.equal(0, status, output)
    local lines = {}
    for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    table.sort(lines)
    assert.same({ "balancer closed", "breaker closed", "retry closed" }, lines)
  end)
end)

describe("in a forked child", function()
  it("set_policy fails, and nobody's policy is closed", function()
    local process = servers.module "process"
    local closed = 0
    local api = upstream { balancer = { kind = "balancer", name = "p", pick = function() end,
      close = function() closed = closed + 1 end } }
    get(api)
    local pid = process.fork()
    if pid == 0 then
      local ok, err = api:set_policy("balancer", nil)
      local is_refused = ok == nil and tostring(err):find "fork" ~= nil
      api, m = nil, nil
      for _ = 1, 4 do collectgarbage() end
      process.exit(is_refused and closed == 0 and 0 or 1)
    end
    assert.equal(0, process.wait(pid))
    get(api)
    assert.equal(0, closed)
  end)
end)
