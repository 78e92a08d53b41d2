--- The manager's own operations on peers, each on real servers.
local hawser = require "hawser"
local servers = require "spec.support.servers"

describe("a manager's operation", function()
  local faultd, nginx, m, api

  lazy_setup(function()
    faultd = servers.faultd()
    nginx = servers.nginx()
  end)
  lazy_teardown(function()
    faultd:stop()
    nginx:stop()
  end)
  before_each(function()
    m = hawser.new { log = function() end, tls = { ca = servers.certificate "root.pem" } }
    api = m:upstream("api", {
      peers = {
        { "http://127.0.0.1:" .. faultd.http, id = "good" },
        { "http://127.0.0.1:" .. faultd.closed, id = "dead" },
      },
    })
  end)
  after_each(function() m:close() end)

  local function wait_for(condition)
    for _ = 1, 2000 do
      if condition() then return true end
      hawser.sleep(.005)
    end
    return false
  end

  describe("names a peer", function()
    it("by upstream and id, the last slash between them", function()
      m:upstream("a/b", { peers = { { "http://127.0.0.1:" .. faultd.http, id = "c" } } })
      assert.equal("disconnected", m:get_status "api/good")
      assert.equal("disconnected", m:get_status "a/b/c")
    end)

    it("by its address, with or without the scheme", function()
      assert.is_true(m:connect("127.0.0.1:" .. faultd.http))
      assert.equal("connected", m:get_status("http://127.0.0.1:" .. faultd.http))
      assert.equal(1, api:stats().open)
    end)

    it("that several upstreams have only by its upstream", function()
      m:upstream("twin", { peers = { "http://127.0.0.1:" .. faultd.http } })
      local ok, err = m:get_status("127.0.0.1:" .. faultd.http)
      assert.is_nil(ok)
      assert.equal("invalid", err.kind)
      assert.equal("disconnected", m:get_status "api/good")
    end)

    it("that no upstream has as its implicit upstream's", function()
      assert.is_true(m:connect("http://127.0.0.1:" .. nginx.port))
      assert.equal("connected", m:get_status("127.0.0.1:" .. nginx.port))
      assert.is_true(m:connect("unix:" .. faultd.unix_raw))
      assert.equal("connected", m:get_status("unix:" .. faultd.unix_raw))
      assert.equal(2, m:connection_count())
    end)

    it("or is invalid", function()
      for _, name in ipairs { "api/none", "nobody/good", "", "127.0.0.1:0", "ftp://127.0.0.1:1" } do
        local ok, err = m:get_status(name)
        assert.is_nil(ok, name)
        assert.equal("invalid", err.kind, name)
      end
      assert.has_error(function() m:get_status(1) end)
      assert.has_error(function() m:connect {} end)
    end)
  end)

  describe("connects", function()
    it("with one connection, and then reuses it", function()
      assert.equal(0, m:connection_count())
      assert.is_true(m:connect "api/good")
      assert.is_true(m:connect "api/good")
      assert.equal(1, m:connection_count())
      assert.equal(1, api:stats().created)
      assert.equal("connected", m:get_status "api/good")
      assert.equal("ok", assert(api:get "/ok").body)
      assert.equal(1, api:stats().created)
    end)

    it("at one attempt, or under the retry policy", function()
      local ok, err = m:connect "api/dead"
      assert.is_nil(ok)
      assert.equal("refused", err.kind)
      assert.equal(1, err.attempts)
      assert.equal("failed", m:get_status "api/dead")
      ok, err = m:retry_connect "api/dead"
      assert.is_nil(ok)
      assert.equal("refused", err.kind)
      assert.equal(3, err.attempts)
      assert.is_true(m:retry_connect "api/good")
    end)

    it("with a callback", function()
      local got
      m:connect("api/good", function(ok, err) got = { ok, err } end)
      hawser.run()
      assert.same({ true }, got)
      m:retry_connect("api/dead", function(ok, err) got = { ok, err.kind } end)
      hawser.run()
      assert.same({ nil, "refused" }, got)
      m:connect("api/none", function(ok, err) got = { ok, err.kind } end)
      hawser.run()
      assert.same({ nil, "invalid" }, got)
    end)

    it("not past an open breaker", function()
      assert.is_true(m:force_breaker("api/good", "open"))
      local ok, err = m:connect "api/good"
      assert.is_nil(ok)
      assert.equal("breaker_open", err.kind)
      assert.equal(0, api:stats().created)
    end)
  end)

  it("disconnects, and open work fails with closed", function()
    local failure
    m:force_breaker("api/dead", "open")
    hawser.run(function()
      local task = hawser.spawn(function() return api:get "/never" end)
      assert.is_true(wait_for(function() return api:stats().busy == 1 end))
      assert.is_true(m:connect "api/good")
      assert.equal(2, m:connection_count())
      assert.is_true(m:disconnect "api/good")
      local _, res, err = task:join()
      assert.is_nil(res)
      failure = err
    end)
    assert.equal("closed", failure.kind)
    assert.equal(0, m:connection_count())
    assert.equal("disconnected", m:get_status "api/good")
    assert.equal(2, api:stats().closed.shutdown)
    assert.is_true(m:disconnect "api/good")
    assert.is_true(m:connect "api/good")
  end)

  it("takes observations from outside into score, breaker and metrics", function()
    local function score() return m:get_quality_score "api/good" end
    assert.equal(1, score())
    for _, status in ipairs { "connecting", "disconnecting", "disconnected" } do
      assert.is_true(m:update_status("api/good", status))
    end
    assert.equal(1, score())
    assert.is_true(m:update_status("api/good", "connected", { response_time = .25, bytes = 1000 }))
    local peer = m:get_metrics().upstreams.api.peers.good
    assert.equal(1000, peer.throughput.bytes_in.total)
    assert.is_near(.25, peer.latency.peak, 1e-6)
    assert.is_true(m:update_status("api/good", "connected", { response_time = 0 }))
    assert.equal(2, m:get_metrics().upstreams.api.peers.good.latency.count)
    assert.equal("disconnected", m:get_status "api/good")
    for _ = 1, 5 do assert.is_true(m:update_status("api/good", "failed")) end
    assert.is_true(score() < .6)
    assert.equal("open", m:get_circuit_breaker_state "api/good")
    assert.equal("failed", m:get_status "api/good")
    assert.equal(1, m:get_metrics().breakers.opened)
    assert.has_error(function() m:update_status("api/good", "fine") end)
    assert.has_error(function() m:update_status("api/good", "failed", { byte = 1 }) end)
    for _, wrong in ipairs { -1, 0 / 0, 1 / 0, "1" } do
      assert.has_error(function() m:update_status("api/good", "connected", { response_time = wrong }) end)
    end
  end)

  it("tells of each connection", function()
    for _ = 1, 3 do assert(api:get "/bytes/1000") end
    local list = assert(m:get_connection_info "api/good")
    assert.equal(1, #list)
    local info = list[1]
    assert.equal("http/1.1", info.protocol)
    assert.equal(3, info.requests)
    assert.is_true(info.bytes_in > 3000 and info.bytes_in < 4500)
    assert.is_true(info.bytes_out > 100)
    assert.is_true(info.age >= 0 and info.idle)
    assert.is_true(info.rtt == nil or info.rtt > 0)
    assert.is_nil(info.tls)
    assert.same({}, m:get_connection_info "api/dead")

    assert(m:get(("https://127.0.0.1:%d/hello"):format(nginx.tls)))
    info = assert(m:get_connection_info("https://127.0.0.1:" .. nginx.tls))[1]
    assert.is_truthy(info.tls:match "^1%.[23]$")
    assert.is_string(info.cipher)
    local raw = m:upstream("raw", { peers = { "unix:" .. faultd.unix_raw } })
    local conn = assert(raw:acquire())
    info = assert(m:get_connection_info("unix:" .. faultd.unix_raw))[1]
    assert.equal("raw", info.protocol)
    assert.is_false(info.idle)
    assert.is_nil(info.rtt)
    conn:close()
  end)

  it("lists who is connected and well, the best first", function()
    m:upstream("web", { peers = { { "http://127.0.0.1:" .. nginx.port, id = "nginx" } } })
    assert.same({}, m:get_healthy_connections())
    assert.is_true(m:connect "api/good")
    assert.is_true(m:connect "web/nginx")
    m:update_status("api/good", "failed")
    local list = m:get_healthy_connections()
    assert.equal(2, #list)
    assert.same({ peer = "web/nginx", score = 1 }, list[1])
    assert.equal("api/good", list[2].peer)
    assert.is_true(list[2].score < 1)
    m:force_breaker("web/nginx", "open")
    assert.equal("api/good", m:get_healthy_connections()[1].peer)
  end)

  it("orders a breaker", function()
    local changes = {}
    m:on("breaker", function(e) changes[#changes + 1] = e.reason end)
    assert.equal("closed", m:get_circuit_breaker_state "api/good")
    assert.is_true(m:force_breaker("api/good", "open"))
    assert.equal("open", m:get_circuit_breaker_state "api/good")
    assert.is_true(m:force_breaker("api/good"))
    assert.equal("closed", m:get_circuit_breaker_state "api/good")
    assert.is_true(m:force_breaker("api/good", "disabled"))
    for _ = 1, 20 do m:update_status("api/good", "failed") end
    assert.equal("closed", m:get_circuit_breaker_state "api/good")
    assert.is_true(m:force_breaker("api/good", "closed"))
    for _ = 1, 20 do m:update_status("api/good", "failed") end
    assert.equal("closed", m:get_circuit_breaker_state "api/good")
    assert.has_error(function() m:force_breaker("api/good", "half_open") end)
    hawser.sleep(0)
    assert.same({ "open", "closed" }, changes)
  end)

  it("knows no time to try again where a breaker was ordered to be open", function()
    local one = m:upstream("ordered", { peers = { "http://127.0.0.1:" .. faultd.http } })
    assert.is_true(m:force_breaker(("ordered/127.0.0.1:%d"):format(faultd.http), "open"))
    local _, err = one:get "/ok"
    assert.equal("breaker_open", err.kind)
    assert.is_nil(err.retry_in)
  end)

  describe("sets limits", function()
    it("and gives them back", function()
      assert.is_true(m:set_connection_limits { max_connections = 50, per_peer = 3, pending = 7 })
      local limits = m:get_connection_limits()
      assert.equal(50, limits.max_connections)
      assert.equal(3, limits.per_peer)
      assert.equal(7, limits.pending)
      assert.equal(256, limits.connections)
      assert.equal(50, m:stats().max_connections)
      assert.equal(7, m:get_queue_metrics().max)
      m:upstream("own", { peers = {}, limits = { pending = 9 } })
      m:set_connection_limits { pending = 100 }
      local queues = m:get_queue_metrics().upstreams
      assert.equal(100, queues.api.max)
      assert.equal(9, queues.own.max)
    end)

    it("live, and cuts nothing that is in flight", function()
      api:update { peers = { "http://127.0.0.1:" .. faultd.http } }
      local results = {}
      hawser.run(function()
        local tasks = {}
        for i = 1, 4 do tasks[i] = hawser.spawn(function() return api:get "/hold/four" end) end
        faultd:ask "held/four/4"
        assert.is_true(m:set_connection_limits { max_connections = 1 })
        assert.equal(4, m:connection_count())
        faultd:ask "release/four"
        for i, task in ipairs(tasks) do results[i] = select(2, assert(task:join())).status end
      end)
      assert.same({ 200, 200, 200, 200 }, results)
      assert.equal(1, m:connection_count())
      assert.equal(3, api:stats().closed.surplus)
    end)

    it("and closes what is idle beyond them", function()
      api:update { peers = { "http://127.0.0.1:" .. faultd.http } }
      hawser.run(function()
        for _ = 1, 2 do hawser.spawn(function() return api:get "/hold/two" end) end
        faultd:ask "held/two/2"
        faultd:ask "release/two"
      end)
      assert.equal(2, m:connection_count())
      assert.is_true(m:set_connection_limits { per_peer = 1 })
      assert.equal(1, m:connection_count())
    end)

    it("not to what is none", function()
      assert.has_error(function() m:set_connection_limits { max_connections = 0 } end)
      assert.has_error(function() m:set_connection_limits { per_per = 1 } end)
      assert.has_error(function() m:set_connection_limits() end)
    end)
  end)

  it("says closed when the manager is", function()
    m:close()
    for _, name in ipairs { "connect", "retry_connect", "disconnect", "get_status", "get_connection_info",
      "get_quality_score", "get_circuit_breaker_state", "force_breaker" } do
      local ok, err = m[name](m, "api/good")
      assert.is_nil(ok, name)
      assert.equal("closed", err.kind, name)
    end
    assert.equal("closed", select(2, m:set_connection_limits {}).kind)
    assert.equal(0, m:connection_count())
    assert.same({}, m:get_healthy_connections())
    assert.equal(0, m:get_metrics().connections.open)
  end)
end)
