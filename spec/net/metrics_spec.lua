--- What the core measures is what the servers saw.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

-- HAWSER_REQUESTS lowers it where a run has to be short.
local REQUESTS = tonumber(os.getenv "HAWSER_REQUESTS") or 100000

-- Whatever happens here, all that either side has sent the other one reads.
local PATHS = {
  "/ok", "/ok", "/ok", "/ok", "/bytes/3000", "/chunked/3/100", "/trailers", "/status/204", "/status/404", "/status/503",
  "/close", "/old", "/until-close/100", "/slow/1", "/continue", "/fin/now", "/fin/head", "/fin/body", "/fin/chunk",
  "/raw/3f0d0a0d0a",
}

describe("metrics", function()
  local faultd, m

  local function peer(id) return { "http://127.0.0.1:" .. faultd.http, id = id } end

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  after_each(function() m:close() end)

  local function sum(peers, read)
    local total = 0
    for _, one in pairs(peers) do total = total + read(one) end
    return total
  end

  -- What the server has counted so far.
  local function seen()
    return {
      requests = faultd:ask "get/http/requests",
      accepted = faultd:ask "get/http/accepted",
      bytes_in = faultd:ask "get/http/in",
      bytes_out = faultd:ask "get/http/out",
    }
  end

  -- The same numbers on every Lua: products of this generator are exact.
  local function generator(seed)
    return function(n)
      seed = (seed * 16807) % 2147483647
      return seed % n + 1
    end
  end

  local function storm(api, count)
    local random = generator(1)
    local whole, left = 0, count
    local function work()
      while left > 0 do
        left = left - 1
        local path = PATHS[random(#PATHS)]
        local res
        if random(4) == 1 then
          res = api:post(path, ("x"):rep(random(2000)))
        else
          res = api:get(path)
        end
        if res and res.status < 500 then whole = whole + 1 end
      end
    end
    hawser.run(function()
      for _ = 1, 40 do hawser.spawn(work) end
    end)
    return whole
  end

  it("are equal to the server's ledger after mixed requests with faults", function()
    m = hawser.new { log = function() end, seed = 3 }
    local api = m:upstream("api", {
      peers = { peer "a", peer "b", peer "c" },
      limits = { per_peer = 6 },
      breaker = false,
      retry = { backoff = { base = .001, max = .001 } },
    })
    local before = seen()
    local whole = storm(api, REQUESTS)
    local stats = ledger.settled(api)
    ledger.is_at_rest(stats)
    faultd:ask("await/http/open/" .. stats.open)
    local after = seen()
    local metrics = m:get_metrics()
    local all = metrics.upstreams.api

    local exchanges = all.throughput.exchanges.total
    assert.equal(REQUESTS, all.connections.requests)
    assert.equal(after.requests - before.requests, exchanges)
    assert.equal(after.bytes_in - before.bytes_in, all.throughput.bytes_out.total)
    assert.equal(after.bytes_out - before.bytes_out, all.throughput.bytes_in.total)
    assert.equal(after.accepted - before.accepted, all.connections.created)
    assert.equal(exchanges, REQUESTS + all.retries.made + all.retries.replayed)
    assert.is_true(all.retries.made > 0)
    assert.is_true(all.retries.refused.budget > 0)
    assert.is_true(all.retries.refused.unsafe > 0)

    assert.equal(whole, all.latency.count)
    assert.equal(exchanges, all.latency.phases.queue.count)
    assert.equal(exchanges, all.latency.phases.send.count)
    assert.equal(exchanges, all.latency.phases.headers.count)
    assert.is_true(all.latency.phases.body.count > whole and all.latency.phases.body.count < exchanges)
    assert.is_true(all.latency.phases.connect.count > 0)
    assert.equal(0, all.latency.phases.tls.count)
    local latency = all.latency
    assert.is_true(0 < latency.p50 and latency.p50 <= latency.p95 and latency.p95 <= latency.p99)
    assert.is_true(latency.p99 <= latency.peak and latency.average <= latency.peak)
    assert.is_true(all.queue.high_water > 0)
    assert.is_true(all.queue.wait.peak > 0)

    assert.equal(exchanges, sum(all.peers, function(one) return one.throughput.exchanges.total end))
    assert.equal(whole, sum(all.peers, function(one) return one.latency.count end))
    assert.equal(exchanges, metrics.throughput.exchanges.total)
    assert.equal(whole, metrics.latency.count)
  end)

  it("outlast peers that are removed and upstreams that are gone", function()
    m = hawser.new()
    local api = m:upstream("api", { peers = { peer "a" } })
    for _ = 1, 3 do assert(api:get "/ok") end
    api:update { peers = { peer "b" } }
    for _ = 1, 2 do assert(api:get "/ok") end
    hawser.sleep(0)
    local all = m:get_latency_metrics()
    assert.equal(5, all.upstreams.api.count)
    assert.is_nil(all.upstreams.api.peers.a)
    assert.equal(2, all.upstreams.api.peers.b.count)
    local bytes = m:get_throughput_metrics().bytes_in.total
    api:close()
    api = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    hawser.sleep(0)
    all = m:get_latency_metrics()
    assert.is_nil(all.upstreams.api)
    assert.equal(5, all.count)
    assert.equal(bytes, m:get_throughput_metrics().bytes_in.total)
  end)

  it("count a wait in the queue that came to no peer", function()
    m = hawser.new()
    local api = m:upstream("api", { peers = { peer "a" }, limits = { per_peer = 1 }, retry = false })
    local kinds = {}
    hawser.run(function()
      hawser.spawn(function() api:get("/hold/only") end)
      local waiting = {}
      for i = 1, 2 do
        waiting[i] = hawser.spawn(function() kinds[i] = select(2, api:get("/ok", { timeout = .02 })).kind end)
      end
      hawser.sleep(0)
      assert.equal(2, m:get_queue_metrics().size)
      for _, task in ipairs(waiting) do task:join() end
      faultd:ask "held/only/1"
      faultd:ask "release/only"
    end)
    assert.same({ "timeout", "timeout" }, kinds)
    local queue = m:get_queue_metrics().upstreams.api
    assert.equal(0, queue.size)
    assert.equal(1024, queue.max)
    assert.equal(2, queue.high_water)
    assert.equal(3, queue.wait.count)
    assert.is_true(queue.wait.peak >= .01)
    assert.equal(1, m:get_latency_metrics().upstreams.api.peers.a.phases.queue.count)
  end)

  it("leave out how long a reader takes for a streamed body", function()
    m = hawser.new()
    local api = m:upstream("api", { peers = { peer "a" } })
    local res = assert(api:get("/bytes/1000000", { stream = true }))
    while res:read() do end -- luacheck: ignore
    local latency = m:get_latency_metrics()
    assert.equal(0, latency.count)
    assert.equal(1, latency.phases.headers.count)
    assert.equal(0, latency.phases.body.count)
  end)

  it("tell how breakers and scores stand", function()
    m = hawser.new()
    local api = m:upstream("api", {
      peers = { peer "a", { "http://127.0.0.1:" .. faultd.closed, id = "dead" } },
      breaker = { consecutive = 2 },
      balancer = "round_robin",
    })
    for _ = 1, 6 do assert(api:get "/ok") end
    local metrics = m:get_metrics()
    assert.same({ opened = 1, open = 1, closed = 1, half_open = 0 }, metrics.breakers)
    assert.equal(0, metrics.policy_errors)
    local peers = metrics.upstreams.api.peers
    assert.equal("open", peers.dead.breaker)
    assert.equal("unhealthy", peers.dead.state)
    assert.equal(1, peers.dead.opened)
    assert.is_true(peers.dead.score < 1)
    assert.equal("closed", peers.a.breaker)
    assert.equal("healthy", peers.a.state)
    local view = api:peers()[1]
    assert.equal(1, view.score)
    assert.equal(1, view.success_rate)
    assert.equal("closed", view.breaker)
    assert.is_true(view.latency > 0 and view.since > 0)
  end)

  it("are not gathered when nobody wants them", function()
    m = hawser.new { metrics = false }
    local api = m:upstream("api", { peers = { peer "a" } })
    for _ = 1, 3 do assert(api:get "/ok") end
    local metrics = m:get_metrics()
    assert.equal(0, metrics.latency.count)
    assert.equal(0, metrics.throughput.exchanges.total)
    assert.equal(3, metrics.connections.ok)
    assert.equal(3, api:peers()[1].answered)
    assert.is_true(api:peers()[1].p99 > 0)
    assert.has_error(function() hawser.new { metrics = 1 } end)
  end)
end)
