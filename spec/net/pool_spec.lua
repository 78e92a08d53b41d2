--- The pool as a server sees it: how many connections, which of them, and for how long.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over

describe("the pool", function()
  local faultd, m, upstreams

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function url() return "http://127.0.0.1:" .. faultd.http end
  local function url6() return "http://[::1]:" .. faultd.http6 end
  local function dark() return "http://127.0.0.1:" .. faultd.blackhole end

  local function upstream(options)
    options = options or {}
    options.peers = options.peers or { url() }
    local api = m:upstream("pool " .. #upstreams + 1, options)
    upstreams[#upstreams + 1] = api
    return api
  end

  -- A test that wants a manager with options replaces the one it got.
  local function start(options)
    if m then m:close() end
    m, upstreams = hawser.new(options), {}
  end

  before_each(function()
    start()
    faultd:ask "zero"
  end)

  after_each(function()
    local stats = {}
    for i, api in ipairs(upstreams) do stats[i] = ledger.settled(api) end
    m:close()
    faultd:ask "await/http/open/0"
    for _, one in ipairs(stats) do ledger.is_at_rest(one) end
  end)

  local function connection_of(res) return tonumber(res.headers["x-connection"]) end

  -- Runs `call` so many times at once; returns what each returned first.
  local function many(count, call)
    local calls, results = {}, {}
    for i = 1, count do calls[i] = function() return assert(call(i)) end end
    for i, outcome in ipairs(hawser.all(calls)) do
      assert.is_true(outcome[1], tostring(outcome[2]))
      results[i] = outcome[2]
    end
    return results
  end

  -- Tells the most connections that were open at once, by the pool's own account, whose order is certain: a server may
  -- hear of a new connection before it hears that an old one was closed.
  local function most_open()
    local open, most = 0, 0
    m:on("connect", function()
      open = open + 1
      most = math.max(most, open)
    end)
    m:on("close", function() open = open - 1 end)
    return function() return most end
  end

  describe("keeps to", function()
    it("limits.per_peer, exactly, as the server counts", function()
      local api = upstream { limits = { per_peer = 4 } }
      many(200, function() return api:get "/slow/1" end)
      assert.equal(4, faultd:ask "get/http/most")
      assert.equal(4, api:stats().created)
    end)

    it("limits.connections over all peers", function()
      if faultd.http6 == 0 then return pending "this machine has no IPv6" end
      local api = upstream { peers = { url(), url6() }, limits = { connections = 3 } }
      many(100, function() return api:get "/slow/1" end)
      assert.equal(3, faultd:ask "get/http/most")
    end)

    it("the manager's max_connections over all upstreams, and each gets its turn", function()
      start { max_connections = 2 }
      local one, two, most = upstream(), upstream(), most_open()
      many(100, function(i) return (i % 2 == 0 and one or two):get "/slow/1" end)
      assert.equal(2, most())
    end)

    it("the manager's max_connections, where connections have many streams", function()
      start { max_connections = 1 }
      local peers = { "h2c://127.0.0.1:" .. faultd.h2 }
      local one, two = upstream { peers = peers }, upstream { peers = peers }
      local plain = upstream()
      local most = most_open()
      many(300, function(i)
        if i % 3 == 0 then return plain:get "/ok" end
        return (i % 3 == 1 and one or two):get "/play/ok"
      end)
      assert.equal(1, most())
      assert.equal(1, m:connection_count())
      for _, api in ipairs { one, two } do assert.is_truthy(api:stats().created <= 3, api:stats().created) end
    end)

    it("limits.dials at once", function()
      local api = upstream { peers = { dark() }, limits = { dials = 2 }, timeouts = { connect = SHORT } }
      local dialing = 0
      hawser.run(function()
        local tasks = {}
        for i = 1, 10 do tasks[i] = hawser.spawn(function() return api:get "/ok" end) end
        hawser.sleep(0)
        dialing = api:stats().dialing
        for _, task in ipairs(tasks) do task:cancel() end
      end)
      assert.equal(2, dialing)
    end)

    it("a cap although connections break all the time", function()
      local most = most_open()
      local api = upstream { limits = { per_peer = 3 } }
      local calls = {}
      for i = 1, 60 do
        calls[i] = function() return api:get(i % 2 == 0 and "/rst/now" or "/close") end
      end
      hawser.all(calls)
      assert.equal(3, most())
    end)
  end)

  describe("gives a request", function()
    it("the connection that was given back last", function()
      local api = upstream()
      local connections = {}
      hawser.run(function()
        local tasks = {}
        for _, name in ipairs { "a", "b", "c" } do
          tasks[name] = hawser.spawn(function() return assert(api:get("/hold/" .. name)) end)
        end
        for _, name in ipairs { "b", "c", "a" } do
          faultd:ask(("held/%s/1"):format(name))
          faultd:ask("release/" .. name)
          connections[#connections + 1] = connection_of(select(2, tasks[name]:join()))
        end
      end)
      assert.equal(3, api:stats().idle)
      for _ = 1, 3 do assert.equal(connections[3], connection_of(assert(api:get "/ok"))) end
    end)

    it("each peer in turn", function()
      if faultd.http6 == 0 then return pending "this machine has no IPv6" end
      local api = upstream { peers = { url(), url6() }, balancer = "round_robin" }
      local served = {}
      for _ = 1, 10 do
        local peer = assert(api:get "/ok").peer
        served[peer] = (served[peer] or 0) + 1
      end
      assert.same({ ["127.0.0.1:" .. faultd.http] = 5, ["[::1]:" .. faultd.http6] = 5 }, served)
    end)

    it("another peer when the first one refuses", function()
      local api = upstream { peers = { "http://127.0.0.1:" .. faultd.closed, url() } }
      for _ = 1, 6 do assert.equal("ok", assert(api:post("/ok", "body")).body) end
    end)

    it("the place of an idle connection of another upstream", function()
      start { max_connections = 1 }
      local one, two, most = upstream(), upstream(), most_open()
      assert(one:get "/ok")
      assert(two:get "/ok")
      assert.equal(1, ledger.closed(one:stats(), "evicted"))
      assert.equal(0, one:stats().open)
      assert.equal(1, two:stats().open)
      hawser.sleep(0)
      assert.equal(1, most())
    end)
  end)

  describe("keeps a connection", function()
    -- What is closed by the pool itself shows as an event; nothing here counts time.
    local function closes_with(reason, options, path)
      local api = upstream(options)
      local seen = {}
      m:on("close", function(event) seen[#seen + 1] = event.reason end)
      assert.equal("ok", assert(api:get(path or "/ok")).body)
      faultd:ask "await/http/open/0"
      hawser.sleep(0)
      assert.same({ reason }, seen)
      assert.equal(1, ledger.closed(api:stats(), reason))
    end

    it("no longer than timeouts.idle", function() closes_with("idle", { timeouts = { idle = SHORT } }) end)
    it("no longer than timeouts.lifetime", function() closes_with("lifetime", { timeouts = { lifetime = SHORT } }) end)
    it("not when the server hints at less than the margin", function() closes_with("idle", {}, "/keepalive/1") end)
    it("not when the server said close", function() closes_with("last", {}, "/close") end)
    it("not of HTTP/1.0", function() closes_with("last", {}, "/old") end)
    it("not with reuse = 'never'", function() closes_with("last", { reuse = "never" }) end)

    it("as long as the manager's pool_timeout when nothing else is said", function()
      start { pool_timeout = SHORT }
      closes_with("idle", {})
    end)

    it("shorter once it learned when the server closes", function()
      local api = upstream()
      assert(api:get "/stale/fin")
      hawser.sleep(SHORT) -- the age at which the server's silence is found out
      assert(api:get "/ok")
      assert.equal(1, api:stats().replayed)
      -- The connection that replaced it would be kept for 300 s, were it not for the lesson.
      faultd:ask "await/http/open/0"
      assert.equal(1, ledger.closed(api:stats(), "idle"))
    end)
  end)

  describe("with reuse", function()
    local function connections_of_posts(mode)
      local api = upstream { reuse = mode }
      local seen = {}
      for i = 1, 3 do seen[i] = connection_of(assert(api:post("/body", "x"))) end
      return seen
    end

    it("'never' dials for each request", function()
      local seen = connections_of_posts "never"
      assert.is_true(seen[1] ~= seen[2] and seen[2] ~= seen[3])
    end)

    it("'always' takes what is idle", function()
      local seen = connections_of_posts "always"
      assert.is_true(seen[1] == seen[2] and seen[2] == seen[3])
    end)

    it("'safe' takes what was just used", function()
      local seen = connections_of_posts "safe"
      assert.is_true(seen[1] == seen[2] and seen[2] == seen[3])
    end)

    it("'safe' sends what may not go again on a fresh one when the server's hint is too short", function()
      local api = upstream()
      local first = connection_of(assert(api:get "/keepalive/2"))
      assert.are_not.equal(first, connection_of(assert(api:post("/body", "x"))))
    end)
  end)

  describe("lets requests wait", function()
    -- Calls fn while the upstream's only connection is held; what it starts has to queue.
    local function while_busy(options, fn)
      options.limits = options.limits or {}
      options.limits.per_peer = 1
      local api = upstream(options)
      return hawser.run(function()
        local holder = hawser.spawn(function() return assert(api:get "/hold/only") end)
        faultd:ask "held/only/1"
        local result = fn(api)
        faultd:ask "release/only"
        assert.is_true((holder:join()))
        return result
      end)
    end

    it("and refuses at once when the queue is full", function()
      while_busy({ limits = { pending = 1 } }, function(api)
        local queued = hawser.spawn(function() return assert(api:get "/ok") end)
        hawser.sleep(0)
        assert.equal(1, api:stats().queued)
        local res, err = api:get "/ok?key=refused"
        assert.is_nil(res)
        assert.equal("overload", err.kind)
        assert.equal("QUEUE_FULL", err.code)
        assert.equal("queue", err.phase)
        assert.is_false(err.sent)
        faultd:ask "release/only"
        assert.is_true((queued:join()))
        assert.equal(0, faultd:ask "seen/GET/refused")
      end)
    end)

    it("no longer than timeouts.queue", function()
      local err = while_busy({ timeouts = { queue = SHORT } }, function(api)
        return select(2, api:get "/ok")
      end)
      assert.equal("overload", err.kind)
      assert.equal("QUEUE_TIMEOUT", err.code)
      assert.is_false(err.sent)
      assert.is_number(err.retry_in)
    end)

    it("no longer than their own deadline, which is a timeout in the queue", function()
      local err = while_busy({}, function(api)
        return select(2, api:get("/ok", { timeout = SHORT }))
      end)
      assert.equal("timeout", err.kind)
      assert.equal("queue", err.phase)
    end)

    it("without counting the time of a dial that is under way for them", function()
      local api = upstream { peers = { dark() }, timeouts = { queue = SHORT / 2, connect = 2 * SHORT } }
      local res, err = api:get "/ok"
      assert.is_nil(res)
      assert.equal("timeout", err.kind)
      assert.equal("connect", err.phase)
    end)

    it("and serves them in their order", function()
      local order = {}
      while_busy({}, function(api)
        for i = 1, 5 do
          api:get("/ok", {}, function() order[#order + 1] = i end)
        end
        faultd:ask "release/only"
        repeat hawser.sleep(0) until #order == 5
      end)
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)
  end)

  describe("can be changed while it works:", function()
    it("a higher limit lets the next ones go", function()
      local api = upstream { limits = { per_peer = 1 } }
      hawser.run(function()
        local tasks = {}
        for i = 1, 3 do tasks[i] = hawser.spawn(function() return assert(api:get "/hold/more") end) end
        faultd:ask "held/more/1"
        api:update { limits = { per_peer = 3 } }
        faultd:ask "held/more/3"
        faultd:ask "release/more"
        for _, task in ipairs(tasks) do assert.is_true((task:join())) end
      end)
    end)

    it("a lower limit closes what is idle and cuts nothing that is in flight", function()
      local api = upstream()
      hawser.run(function()
        local tasks = {}
        for i = 1, 4 do tasks[i] = hawser.spawn(function() return assert(api:get "/hold/four") end) end
        faultd:ask "held/four/4"
        faultd:ask "release/four"
        for _, task in ipairs(tasks) do assert.is_true((task:join())) end
        local task = hawser.spawn(function() return assert(api:get "/hold/kept") end)
        faultd:ask "held/kept/1"
        api:update { limits = { per_peer = 1 } }
        faultd:ask "await/http/open/1"
        faultd:ask "release/kept"
        assert.is_true((task:join()))
      end)
      assert.equal(3, ledger.closed(api:stats(), "surplus"))
      assert.equal(1, api:stats().open)
    end)

    it("a peer that is removed finishes its work and gets no more", function()
      if faultd.http6 == 0 then return pending "this machine has no IPv6" end
      local api = upstream()
      hawser.run(function()
        local task = hawser.spawn(function() return assert(api:get "/hold/old") end)
        faultd:ask "held/old/1"
        api:update { peers = { url6() } }
        assert.equal("[::1]:" .. faultd.http6, assert(api:get "/ok").peer)
        faultd:ask "release/old"
        local _, res = task:join()
        assert.equal("127.0.0.1:" .. faultd.http, res.peer)
      end)
      assert.equal(1, #api:peers())
      assert.equal(1, api:stats().open)
    end)

    it("an upstream without peers says so, until it has some", function()
      local api = upstream { peers = {} }
      assert.equal("no_peer", select(2, api:get "/ok").kind)
      api:update { peers = { url() } }
      assert.equal("ok", assert(api:get "/ok").body)
    end)
  end)

  describe("ends:", function()
    it("drain() waits for what is in flight and refuses what is new", function()
      local api = upstream()
      hawser.run(function()
        local task = hawser.spawn(function() return assert(api:get "/hold/last") end)
        faultd:ask "held/last/1"
        local drained = hawser.spawn(function() return api:drain(30) end)
        hawser.sleep(0)
        assert.equal("closed", select(2, api:get "/ok").kind)
        faultd:ask "release/last"
        local _, res = task:join()
        assert.equal("ok", res.body)
        local joined, ok = drained:join()
        assert.is_true(joined)
        assert.is_true(ok)
      end)
      assert.equal(0, api:stats().open)
    end)

    it("drain() cuts off what does not end in time", function()
      local api = upstream()
      hawser.run(function()
        local task = hawser.spawn(function() return select(2, api:get "/never") end)
        faultd:ask "await/http/open/1"
        local ok, err = api:drain(SHORT)
        assert.is_nil(ok)
        assert.equal("timeout", err.kind)
        local _, cut = task:join()
        assert.equal("closed", cut.kind)
      end)
    end)

    it("close() of an upstream ends its work and frees its name", function()
      local api = upstream()
      hawser.run(function()
        local task = hawser.spawn(function() return select(2, api:get "/never") end)
        faultd:ask "await/http/open/1"
        api:close()
        local _, err = task:join()
        assert.equal("closed", err.kind)
      end)
      assert.is_nil(m:upstream "pool 1")
      assert.equal("closed", select(2, api:get "/ok").kind)
    end)
  end)

  describe("gets ready:", function()
    it("ready() leaves a connection in the pool", function()
      local api = upstream()
      assert.is_true(api:ready(5))
      assert.equal(1, api:stats().idle)
      assert(api:get "/ok")
      assert.equal(1, api:stats().created)
    end)

    it("ready() tries again until its time is up, then tells the last error", function()
      local api = upstream { peers = { "http://127.0.0.1:" .. faultd.closed } }
      local ok, err = api:ready(ENOUGH)
      assert.is_nil(ok)
      assert.equal("refused", err.kind)
    end)

    it("ready() is content with a connection that is there", function()
      local api = upstream()
      assert(api:get "/ok")
      assert.is_true(api:ready(5))
      assert.equal(1, api:stats().created)
    end)
  end)

  describe("tells events:", function()
    it("connect and close, with upstream, peer and reason", function()
      local seen = {}
      local function note(event) seen[#seen + 1] = ("%s %s"):format(event.event, event.reason or "") end
      local first = m:on("connect", note)
      m:on("close", note)
      local api = upstream()
      assert(api:get "/close")
      hawser.sleep(0)
      assert.same({ "connect ", "close last" }, seen)
      m:off(first)
      assert(api:get "/close")
      hawser.sleep(0)
      assert.same({ "connect ", "close last", "close last" }, seen)
    end)
  end)
end)
