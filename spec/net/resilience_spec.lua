--- Peers that fail under load: what callers see, and what the servers' own ledgers say that they were sent.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

-- An open time that no test sees the end of, and one that is over soon.
local LONG, SOON = 60, 0.05

-- Only a hang takes so long.
local PATIENCE = 30

-- The storm of POSTs is the same on every Lua: on one it is as long as it should be.
local POSTS = _VERSION == "Lua 5.4" and 10000 or 2000

-- No delay worth waiting for.
local AT_ONCE = { base = 1e-6, max = 1e-6 }

-- The same numbers on every Lua: a linear congruential generator whose products are exact.
local function generator(seed)
  return function(n)
    seed = (seed * 16807) % 2147483647
    return seed % n + 1
  end
end

describe("under load", function()
  local one, two, three, m, api, upstreams, breakers, retries

  lazy_setup(function() one, two, three = servers.faultd(), servers.faultd(), servers.faultd() end)
  lazy_teardown(function()
    for _, faultd in ipairs { one, two, three } do faultd:stop() end
  end)

  local function of_all(question)
    local sum = 0
    for _, faultd in ipairs { one, two, three } do sum = sum + faultd:ask(question) end
    return sum
  end

  local function peer(faultd, id) return { "http://127.0.0.1:" .. faultd.http, id = id } end

  local function upstream(options)
    options.peers = options.peers or { peer(one, "one"), peer(two, "two"), peer(three, "three") }
    local made = m:upstream("api " .. #upstreams + 1, options)
    upstreams[#upstreams + 1] = made
    return made
  end

  before_each(function()
    of_all "up"
    of_all "zero"
    m, upstreams, breakers, retries = hawser.new { seed = 1 }, {}, {}, {}
    m:on("breaker", function(e) breakers[#breakers + 1] = e end)
    m:on("retry", function(e) retries[#retries + 1] = e end)
  end)

  after_each(function()
    local stats = {}
    for i, each in ipairs(upstreams) do stats[i] = ledger.settled(each) end
    m:close()
    of_all "await/http/open/0"
    for _, each in ipairs(stats) do ledger.is_at_rest(each) end
  end)

  local function word(res, err) return res and res.status or err.kind end

  local function add(outcomes, what) outcomes[what] = (outcomes[what] or 0) + 1 end

  -- Until it is so; it fails when that takes so long that something must have gone wrong.
  local function wait_until(is_so)
    local began = hawser.now()
    while not is_so() do
      assert(hawser.now() - began < PATIENCE, "what was waited for never came")
      hawser.sleep(0.002)
    end
  end

  -- So many tasks that ask one thing after the other, `count` in all; how they ended, by word.
  local function ask_often(tasks, count, ask)
    local outcomes, asked = {}, 0
    hawser.run(function()
      for _ = 1, tasks do
        hawser.spawn(function()
          while asked < count do
            asked = asked + 1
            add(outcomes, word(ask(asked)))
          end
        end)
      end
    end)
    return outcomes
  end

  -- Tasks that ask one thing after the other until what `direct` does beside them is done.
  local function ask_while(tasks, ask, direct)
    local outcomes, is_over = {}, false
    hawser.run(function()
      for _ = 1, tasks do
        hawser.spawn(function()
          while not is_over do
            add(outcomes, word(ask()))
            hawser.sleep(0.001)
          end
        end)
      end
      direct()
      is_over = true
    end)
    return outcomes
  end

  local function only_answers(outcomes)
    local answered = outcomes[200]
    assert.same({ [200] = answered }, outcomes)
    assert.is_true(answered > 0)
  end

  local function state_of(id)
    for _, view in ipairs(api:peers()) do
      if view.id == id then return view.breaker end
    end
  end

  local function wait_for_state(id, state)
    wait_until(function() return state_of(id) == state end)
  end

  -- So many requests more than it has had.
  local function wait_for_requests(faultd, count)
    local enough = faultd:ask "get/http/requests" + count
    wait_until(function() return faultd:ask "get/http/requests" >= enough end)
  end

  local function retries_after(id)
    local count = 0
    for _, e in ipairs(retries) do count = count + (e.peer == id and 1 or 0) end
    return count
  end

  it("peers that all fail are asked no more often than the budget allows", function()
    api = upstream { breaker = false, retry = { backoff = AT_ONCE } }
    local began = hawser.now()
    local outcomes = ask_often(32, 2000, function() return api:get "/status/503?key=all" end)
    local seconds = math.floor(hawser.now() - began) + 2 -- of the budget's clock, that it may have touched
    local attempts = of_all "seen/GET/all"
    assert.same({ [503] = 2000 }, outcomes)
    assert.is_true(attempts > 2000, "none was tried again")
    assert.is_true(attempts <= 1.2 * 2000 + 10 * seconds, attempts .. " attempts")
    assert.equal(attempts - 2000, #retries)
    assert.is_true(api:stats().retries_refused > 0)
  end)

  it("an open breaker lets nothing through, and then exactly its probes", function()
    api = upstream { peers = { peer(one, "one") }, breaker = { open_for = LONG, probes = 3 }, retry = false }
    local outcomes = ask_often(32, 200, function() return api:get "/status/500?key=bad" end)
    local sent = one:ask "seen/GET/bad"
    -- Those that were under way when the fifth failed, and no more.
    assert.is_true(sent >= 5 and sent <= 5 + 31, sent)
    assert.same({ [500] = sent, breaker_open = 200 - sent }, outcomes)
    local accepted, requests = one:ask "get/http/accepted", one:ask "get/http/requests"
    assert.same({ breaker_open = 500 }, ask_often(32, 500, function() return api:get "/ok" end))
    assert.same({ accepted, requests }, { one:ask "get/http/accepted", (one:ask "get/http/requests") })

    m:force_breaker("api 1/one", "disabled")
    m:force_breaker("api 1/one", nil)
    api:update { breaker = { open_for = SOON } }
    ask_often(1, 5, function() return api:get "/status/500" end)
    assert.are_not.equal("closed", state_of "one")
    requests = one:ask "get/http/requests"
    local kinds = {}
    hawser.run(function()
      wait_for_state("one", "half_open")
      for _ = 1, 50 do
        hawser.spawn(function() add(kinds, word(api:get "/hold/probe")) end)
      end
      one:ask "held/probe/3"
      wait_until(function() return kinds.breaker_open == 47 end)
      assert.equal(3, one:ask "release/probe")
    end)
    assert.same({ [200] = 3, breaker_open = 47 }, kinds)
    assert.equal(requests + 3, one:ask "get/http/requests")
    assert.equal("closed", state_of "one")
  end)

  it("no POST is seen twice, wherever its peer resets", function()
    local points = {
      "/ok", "/ok", "/ok", "/close", "/idle/1", "/status/503", "/early/413", "/extra",
      "/rst/now", "/rst/head", "/rst/body", "/rst/after", "/rst/early", "/stale/rst",
      "/fin/now", "/fin/head", "/fin/body", "/fin/after", "/stale/fin",
    }
    local random = generator(7)
    -- Two peers, but the same server: so its one ledger has them all.
    local peers = { peer(one, "tcp"), { "unix:" .. one.unix, id = "unix" } }
    api = upstream { peers = peers, protocol = "http1", breaker = false, reuse = "always" }
    local outcomes = ask_often(64, POSTS, function(i)
      return api:post(("%s?key=%d"):format(points[random(#points)], i), ("x"):rep(random(2000)))
    end)
    assert.equal(0, one:ask "seen-twice")
    assert.is_true(outcomes[200] > POSTS / 5 and outcomes.reset > POSTS / 5)
    assert.equal(POSTS, outcomes[200] + outcomes.reset + outcomes[503] + outcomes[413])
  end)

  it("one of three peers that is killed costs no caller an error, and is back when it is back", function()
    api = upstream { breaker = { open_for = SOON, open_max = 4 * SOON } }
    local outcomes = ask_while(12, function() return api:get "/slow/1" end, function()
      wait_for_requests(two, 100)
      two:ask "down"
      wait_for_state("two", "open")
      -- Nobody was sent there but those under way, as many as it takes, and probes; no flood.
      assert.is_true(retries_after "two" <= 12 + 5 + 3 * #breakers, retries_after "two")
      local before = retries_after "two"
      wait_until(function() return #breakers >= 7 end)
      -- Probes: one for each time that it was half open, or as many as may be at once.
      assert.is_true(retries_after "two" - before <= 3 * #breakers, retries_after "two" - before)
      two:ask "up"
      wait_for_state("two", "closed")
      wait_for_requests(two, 50)
    end)
    only_answers(outcomes)
    assert.equal("open", breakers[1].reason)
    assert.equal("closed", breakers[#breakers].reason)
    for _, e in ipairs(breakers) do assert.equal("two", e.peer) end
  end)

  it("a peer that flaps costs no caller an error", function()
    api = upstream { breaker = { open_for = SOON, open_max = SOON } }
    local outcomes = ask_while(12, function() return api:get "/ok" end, function()
      for _ = 1, 5 do
        wait_for_requests(three, 20)
        three:ask "down"
        wait_for_state("three", "open")
        three:ask "up"
        wait_for_state("three", "closed")
      end
    end)
    only_answers(outcomes)
  end)

  it("peers that are all down fail fast, and serve as soon as they are back", function()
    api = upstream { breaker = { open_for = SOON, open_max = SOON } }
    local phase, by_phase = "up", { up = {}, falling = {}, down = {}, rising = {}, back = {} }
    ask_while(12, function()
      local began_in = phase
      local res, err = api:get "/ok"
      if began_in == phase then add(by_phase[phase], word(res, err)) end
      if err and err.kind == "breaker_open" then assert.is_true(err.retry_in >= 0) end
      return res, err
    end, function()
      for _, faultd in ipairs { one, two, three } do wait_for_requests(faultd, 20) end
      phase = "falling"
      of_all "down"
      for _, id in ipairs { "one", "two", "three" } do wait_for_state(id, "open") end
      phase = "down"
      wait_until(function() return (by_phase.down.breaker_open or 0) >= 100 end)
      phase = "rising"
      of_all "up"
      for _, id in ipairs { "one", "two", "three" } do wait_for_state(id, "closed") end
      phase = "back"
      wait_until(function() return (by_phase.back[200] or 0) >= 200 end)
    end)
    only_answers(by_phase.up)
    assert.is_nil(by_phase.down[200])
    for kind in pairs(by_phase.down) do
      assert.is_truthy(({ breaker_open = 1, refused = 1, reset = 1 })[kind], kind)
    end
    only_answers(by_phase.back)
  end)

  it("a peer whose bytes drip is given up after timeouts.attempt, and then left alone", function()
    local slow = servers.relay(one.http, "stall:20")
    api = upstream {
      peers = { { "http://127.0.0.1:" .. slow["stall:20"], id = "drips" }, peer(two, "two") },
      breaker = { open_for = LONG },
      retry = { on = { "timeout" }, backoff = AT_ONCE, budget = false },
      timeouts = { attempt = 0.4 },
    }
    only_answers(ask_while(8, function() return api:get "/ok" end, function() wait_for_state("drips", "open") end))
    -- Those at once under way, and no more.
    assert.is_true(#retries >= 5 and #retries <= 5 + 8, #retries)
    for _, e in ipairs(retries) do assert.same({ "drips", "timeout" }, { e.peer, e.reason }) end

    -- One that goes on for ever, byte by byte, is never silent for long: only timeouts.attempt ends it.
    local drip = upstream { peers = { peer(one, "one") }, retry = false, timeouts = { attempt = 0.4, read = 10 } }
    local _, err = drip:get "/drip-head/20"
    assert.same({ "timeout", "headers" }, { err.kind, err.phase })
    slow:stop()
  end)

  it("a Retry-After of a year keeps nobody waiting", function()
    local later = servers.hex "HTTP/1.1 503 Later\r\nRetry-After: 31536000\r\nContent-Length: 0\r\n\r\n"
    api = upstream { breaker = false }
    local before = of_all "get/http/requests"
    assert.same({ [503] = 200 }, ask_often(32, 200, function() return api:get("/raw/" .. later) end))
    assert.equal(200, of_all "get/http/requests" - before)
    assert.same({}, retries)
  end)
end)
