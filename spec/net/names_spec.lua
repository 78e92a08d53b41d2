--- Names as name servers tell them: Debian's dnsmasq, and one that misbehaves as it is told to.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

-- How long something may take at most on a machine that is busy with sanitizers.
local SOON = 3 -- far less than what would be waited for in vain

describe("a name", function()
  local namesd, m, upstreams

  lazy_setup(function()
    namesd = servers.namesd()
    namesd:set {
      ["four.test"] = "60 127.0.0.1",
      ["six.test"] = "60 ::1",
      ["both.test"] = "60 127.0.0.1 ::1",
      ["dead.test"] = "60 127.0.0.9 127.0.0.2",
      ["silenthost.test"] = "60 127.0.0.3 127.0.0.2",
      ["alldead.test"] = "60 127.0.0.9 127.0.0.8",
      ["alias.test"] = "60 =one.test",
      ["one.test"] = "60 =two.test",
      ["two.test"] = "60 127.0.0.2",
      ["circle.test"] = "60 =turn.test",
      ["turn.test"] = "60 =circle.test",
      ["none.test"] = "60",
      ["servfail.test"] = "60 servfail",
      ["refused.test"] = "60 refused",
      ["silent.test"] = "60 silent",
      ["malformed.test"] = "60 127.0.0.1 malformed",
      ["tc.test"] = "60 tc 127.0.0.2",
      ["six-nx.test"] = "60 127.0.0.1 6:nx",
      ["six-servfail.test"] = "60 127.0.0.1 6:servfail",
      ["six-silent.test"] = "60 127.0.0.1 6:silent",
      ["four-silent.test"] = "60 ::1 4:silent",
      ["under_score.test"] = "60 127.0.0.1",
    }
  end)
  lazy_teardown(function() namesd:stop() end)

  local function dns(fields)
    fields = fields or {}
    fields.servers = { "127.0.0.1:" .. namesd.dns }
    return fields
  end

  before_each(function()
    upstreams = {}
    m = hawser.new { dns = dns(), log = function() end, retry = false, breaker = false }
  end)

  -- Nothing is left of any look-up.
  after_each(function()
    for _, upstream in ipairs(upstreams) do ledger.is_at_rest(ledger.settled(upstream)) end
    m:close()
    namesd:tell "mute off"
  end)

  local function host(name, port) return ("http://%s:%d"):format(name, port or namesd.here) end

  local function upstream(peer, options)
    options = options or {}
    options.peers = { peer }
    local api = m:upstream("upstream " .. #upstreams + 1, options)
    upstreams[#upstreams + 1] = api
    return api
  end

  local function elapsed(call)
    local begin = hawser.now()
    local result, err = call()
    return hawser.now() - begin, result, err
  end

  -- Where a request to the name arrives.
  local function reached(name, port, options)
    return assert(upstream(host(name, port), options):get "/").body
  end

  local function failure(api, expected)
    local res, err = api:get "/"
    assert.is_nil(res)
    for field, value in pairs(expected) do
      assert.equal(value, err[field], ("err.%s of %s"):format(field, tostring(err)))
    end
    assert.is_false(err.sent)
    assert.is_true(err.retryable)
    assert.equal(1, err.attempts)
    assert.equal(0, api:stats().created)
    return err
  end

  local function fails(name, kind, code, phase)
    local api = upstream(host(name), { timeouts = { resolve = kind == "timeout" and .2 or 2 * SOON } })
    return failure(api, { kind = kind, code = code, phase = phase, peer = ("%s:%d"):format(name, namesd.here) })
  end

  -- Questions so far, over UDP and TCP.
  local function total()
    local udp, tcp = namesd:tell("total"):match "^(%d+) (%d+)$"
    return tonumber(udp), tonumber(tcp)
  end

  describe("leads to", function()
    it("its address", function()
      assert.equal("127.0.0.1", reached "four.test")
      assert.equal("::1", reached "six.test")
      assert.equal("127.0.0.2", reached "alias.test")
    end)

    it("its IPv6 address where it has both", function() assert.equal("::1", reached "both.test") end)

    it("the next address when one refuses", function() assert.equal("127.0.0.2", reached "dead.test") end)

    it("the next address while one is silent", function()
      local time, where = elapsed(function() return reached "silenthost.test" end)
      assert.equal("127.0.0.2", where)
      assert.is_true(time >= .12 and time < SOON, time)
    end)

    it("its IPv4 address where IPv6 is a black hole, and to it at once the next time", function()
      local api = upstream(host("both.test", namesd.four), { reuse = "never" })
      local time, res = elapsed(function() return api:get "/" end)
      assert.equal("127.0.0.1", res.body)
      assert.is_true(time >= .12 and time < SOON, time)
      local shortest = SOON -- of some, because a busy machine may hold any one up
      for _ = 1, 5 do
        time, res = elapsed(function() return api:get "/" end)
        assert.equal("127.0.0.1", res.body)
        shortest = math.min(shortest, time)
      end
      assert.is_true(shortest < .2, shortest)
    end)

    it("an address of one family when the other has none, fails or is silent", function()
      for _, name in ipairs { "six-nx", "six-servfail", "six-silent", "four-silent" } do
        local time, where = elapsed(function() return reached(name .. ".test") end)
        assert.equal(name:find "^four" and "::1" or "127.0.0.1", where)
        assert.is_true(time < SOON, time)
      end
    end)

    it("what TCP says when UDP has no room", function()
      local _, before = total()
      assert.equal("127.0.0.2", reached "tc.test")
      local _, after = total()
      assert.equal(2, after - before)
    end)

    it("the same place in any case, and with a dot at its end", function()
      local four, six = namesd:asked "four.test"
      assert.equal("127.0.0.1", reached "FOUR.Test")
      assert.equal("127.0.0.1", reached "four.TEST")
      assert.same({ four + 1, six + 1 }, { namesd:asked "four.test" })
      assert.equal("127.0.0.1", reached "four.test.")
      assert.equal("127.0.0.1", reached "under_score.test")
    end)

    it("this machine without a question, when it is localhost or within it", function()
      local before = total()
      for _, name in ipairs { "localhost", "LOCALHOST", "a.localhost", "b.a.Localhost", "localhost." } do
        assert.equal("127.0.0.1", reached(name, namesd.four))
      end
      assert.equal(before, total())
    end)

    it("where `address` says, while Host stays", function()
      local api = upstream { host "elsewhere.invalid", address = "two.test:" .. namesd.here }
      assert.equal("127.0.0.2", assert(api:get "/").body)
      assert.equal("elsewhere.invalid:" .. namesd.here, api:peers()[1].id)
      assert.equal("two.test:" .. namesd.here, api:peers()[1].address)
    end)

    it("a name within the domains of `search`", function()
      assert.equal("127.0.0.1", reached("four", nil, { dns = dns { search = { "other.test", "test" } } }))
      failure(upstream(host "four", { dns = dns { search = {} } }), { kind = "resolve", code = "NXDOMAIN" })
    end)

    it("a name behind aliases, as many as one answer tells", function()
      for i = 1, 8 do namesd:set { [("chain%d.test"):format(i)] = ("60 =chain%d.test"):format(i + 1) } end
      namesd:set { ["chain9.test"] = "60 127.0.0.2" }
      assert.equal("127.0.0.2", reached "chain2.test")
      fails("chain1.test", "resolve", "NODATA", "resolve") -- namesd stops after eight
    end)

    it("a lease", function()
      local raw = upstream("tcp://four.test:" .. namesd.control)
      assert.equal("no such command", raw:with(function(conn)
        assert(conn:write "hello\n")
        return conn:read "line"
      end))
      local err = select(2, upstream("tcp://nx.test:1"):acquire())
      assert.same({ "resolve", "NXDOMAIN", "resolve" }, { err.kind, err.code, err.phase })
    end)

    it("the place of a redirect", function()
      local faultd = servers.faultd()
      local head = ("HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n"):format(host "two.test")
      local res, err = m:get(("http://127.0.0.1:%d/raw/%s"):format(faultd.http, servers.hex(head)), { redirects = 1 })
      faultd:stop()
      assert.equal("127.0.0.2", assert(res, err).body)
    end)
  end)

  describe("fails", function()
    it("as the name server says", function()
      local cases = {
        ["nx.test"] = { "NXDOMAIN", "no such name" },
        ["none.test"] = { "NODATA", "the name has no address" },
        ["circle.test"] = { "NODATA", "the name has no address" },
        ["servfail.test"] = { "SERVFAIL", "the name server failed" },
        ["refused.test"] = { "DNS_REFUSED", "the name server refused" },
        ["malformed.test"] = { "DNS_MALFORMED", "a malformed answer of the name server" },
      }
      for name, said in pairs(cases) do
        local err = fails(name, "resolve", said[1], "resolve")
        assert.equal(said[2], err.message)
        assert.equal(("resolve: %s [%s] (resolve, %s:%d)"):format(said[2], said[1], name, namesd.here), tostring(err))
      end
    end)

    it("in time when there is no answer", function()
      local time = elapsed(function() fails("silent.test", "timeout", "TIMEOUT", "resolve") end)
      assert.is_true(time >= .1 and time < SOON, time)
      local other = hawser.new { dns = dns(), timeouts = { resolve = .2 }, retry = false }
      local err = select(2, other:get(host "silent.test"))
      other:close()
      assert.same({ "timeout", "TIMEOUT", "resolve" }, { err.kind, err.code, err.phase })
    end)

    it("when nobody is where the name server should be", function()
      local api = upstream(host "four.test", { dns = { servers = { "127.0.0.9:" .. namesd.dns } } })
      local time = elapsed(function() failure(api, { kind = "resolve", phase = "resolve" }) end)
      assert.is_true(time < SOON, time)
    end)

    it("at connecting when it has been found", function()
      failure(upstream(host "alldead.test"), { kind = "refused", code = "ECONNREFUSED", phase = "connect" })
      local api = upstream("http://two.test:" .. namesd.four, { timeouts = { connect = SOON } })
      failure(api, { kind = "refused", phase = "connect" })
      namesd:set { ["holes.test"] = "60 127.0.0.3" }
      api = upstream(host "holes.test", { timeouts = { connect = .1 } })
      failure(api, { kind = "timeout", code = "TIMEOUT", phase = "connect" })
    end)

    it("within the time of the request", function()
      local api = upstream(host "silent.test", { timeouts = { resolve = .2 } })
      local time, res, err = elapsed(function() return api:get("/", { timeout = .1 }) end)
      assert.is_nil(res)
      assert.same({ "timeout", "resolve" }, { err.kind, err.phase })
      assert.is_true(time < SOON, time)
    end)

    it("for all who wait, together", function()
      local api = upstream(host "silent.test", { timeouts = { resolve = .2 }, limits = { dials = 20 } })
      local calls = {}
      for i = 1, 20 do calls[i] = function() return api:get "/" end end
      local time, outcomes = elapsed(function() return hawser.all(calls) end)
      for _, outcome in ipairs(outcomes) do
        assert.is_nil(outcome[2])
        assert.equal("resolve", outcome[3].phase, tostring(outcome[3]))
      end
      assert.is_true(time < SOON, time)
    end)
  end)

  describe("that is none", function()
    it("is refused as a peer, and as a URL", function()
      local long = ("a"):rep(64) .. ".test"
      local longer = (("a"):rep(62) .. "."):rep(4) .. "ab" -- 254 bytes
      for _, name in ipairs { "a..b", ".a", long, longer, "10.0.0",
        "1.2.3.4.5", "0x7f.1", "a,b", "ä.test", "256.1.1.1" } do
        local ok, message = pcall(upstream, host(name))
        assert.is_false(ok, name)
        assert.is_truthy(message:find "neither an address nor a host name" or message:find "no host name has"
          or message:find "longer than 255 bytes", message)
        local res, err = m:get(host(name))
        assert.is_nil(res)
        assert.same({ "invalid", "BAD_URL" }, { err.kind, err.code })
      end
      assert.has_error(function() upstream(host "a b") end)
    end)
  end)

  describe("is asked for", function()
    -- Each of these names is new to the server.
    local count = 0
    local function fresh(words)
      count = count + 1
      local name = ("fresh%d.test"):format(count)
      namesd:set { [name] = words }
      return name
    end

    local function crowd(api, size)
      local calls = {}
      for i = 1, size do calls[i] = function() return api:get "/" end end
      return hawser.all(calls)
    end

    it("once by many at the same time", function()
      local name = fresh "60 127.0.0.1"
      local api = upstream(host(name), { reuse = "never", limits = { dials = 50 } })
      for _, outcome in ipairs(crowd(api, 50)) do assert.equal("127.0.0.1", outcome[2].body) end
      assert.same({ 1, 1 }, { namesd:asked(name) })
      assert.equal(50, api:stats().created)
    end)

    it("once by two upstreams, and once more by another manager", function()
      local name = fresh "60 127.0.0.1"
      reached(name)
      reached(name)
      assert.same({ 1, 1 }, { namesd:asked(name) })
      local other = hawser.new { dns = dns() }
      assert.equal("127.0.0.1", assert(other:get(host(name))).body)
      other:close()
      assert.same({ 2, 2 }, { namesd:asked(name) })
    end)

    it("not again while its time lasts, nor when it is known not to be", function()
      local here, nowhere = fresh "60 127.0.0.1", fresh "60 nx"
      local api, none = upstream(host(here), { reuse = "never" }), upstream(host(nowhere))
      for _ = 1, 5 do
        assert(api:get "/")
        assert.equal("NXDOMAIN", select(2, none:get "/").code)
      end
      assert.same({ 1, 1 }, { namesd:asked(here) })
      assert.same({ 1, 1 }, { namesd:asked(nowhere) })
    end)

    it("again when ttl_max is over, however long its time, and not before ttl_min", function()
      local long, short = fresh "3600 127.0.0.1", fresh "0 127.0.0.1"
      local hasty = upstream(host(long), { reuse = "never", dns = dns { ttl_min = .01, ttl_max = .05 } })
      local patient = upstream(host(short), { reuse = "never", dns = dns { ttl_min = 100 } })
      for _ = 1, 3 do
        assert(hasty:get "/")
        assert(patient:get "/")
        hawser.sleep(.15)
      end
      assert.same({ 3, 3 }, { namesd:asked(long) })
      assert.same({ 1, 1 }, { namesd:asked(short) })
    end)

    it("once a second at most with a TTL of 0", function()
      local name = fresh "0 127.0.0.1"
      local api = upstream(host(name), { reuse = "never" })
      local begin = hawser.now()
      for _ = 1, 20 do assert(api:get "/") end
      assert.is_true(namesd:asked(name) <= 1.1 + (hawser.now() - begin))
    end)

    it("anew after it has failed, a second later", function()
      local name = fresh "60 servfail"
      local api = upstream(host(name))
      for _ = 1, 3 do failure(api, { code = "SERVFAIL" }) end
      local asked = namesd:asked(name)
      namesd:set { [name] = "60 127.0.0.1" }
      hawser.sleep(1.05)
      assert.equal("127.0.0.1", assert(api:get "/").body)
      assert.equal(asked + 1, (namesd:asked(name)))
    end)

    it("while it is busy: new connections go where it points by then", function()
      local name = fresh "0 127.0.0.1"
      local api = upstream(host(name), { reuse = "never", dns = dns { ttl_min = .05, ttl_max = .05 } })
      local bodies, done = {}, false
      local function work()
        while not done do
          local body = assert(api:get "/").body
          bodies[body] = (bodies[body] or 0) + 1
          done = done or body == "127.0.0.2"
        end
      end
      hawser.run(function()
        local workers = { hawser.spawn(work), hawser.spawn(work), hawser.spawn(work) }
        hawser.sleep(.1)
        namesd:set { [name] = "0 127.0.0.2" }
        for _, worker in ipairs(workers) do assert(worker:join()) end
      end)
      assert.is_true(bodies["127.0.0.1"] > 0)
      assert.equal("127.0.0.2", assert(api:get "/").body)
      assert.equal(0, api:stats().failed)
    end)

    it("while connections last: those to an address that vanished are drained", function()
      local name = fresh "0 127.0.0.1"
      local rules = dns { ttl_min = .05, ttl_max = .05 }
      local api = upstream(host(name), { dns = rules })
      local raw = upstream(("tcp://%s:%d"):format(name, namesd.here), { dns = rules })
      local function get(conn)
        assert(conn:write "GET / HTTP/1.1\r\n\r\n")
        assert(conn:read_until "\r\n\r\n")
        return conn:read(9)
      end
      local function drained(at) return at:stats().closed.moved == 1 end
      local function await(condition)
        local patience = 2000
        while not condition() do
          patience = patience - 1
          assert.is_true(patience > 0)
          hawser.sleep(.005)
        end
      end
      assert.equal("127.0.0.1", assert(api:get "/").body)
      local conn = assert(raw:acquire())

      namesd:set { [name] = "0 nx" } -- no address at all: nothing changes
      local asked = namesd:asked(name)
      await(function() return namesd:asked(name) >= asked + 2 end)
      assert.equal(1, api:stats().idle)

      namesd:set { [name] = "0 127.0.0.2" }
      await(function() return drained(api) end)
      assert.equal("127.0.0.2", assert(api:get "/").body)
      assert.equal("127.0.0.1", get(conn))
      assert.is_false(drained(raw))
      conn:release()
      await(function() return drained(raw) end)
      assert.equal("127.0.0.2", raw:with(get))
    end)

    it("in vain after the name server fell silent: the last good answer is kept", function()
      local name = fresh "60 127.0.0.1"
      local api = upstream(host(name), { reuse = "never", dns = dns { ttl_min = .01, ttl_max = .01 } })
      assert(api:get "/")
      hawser.sleep(.1)
      namesd:tell "mute on"
      local time = elapsed(function() assert.equal("127.0.0.1", assert(api:get "/").body) end)
      assert.is_true(time < 1.8 + SOON, time)
      time = elapsed(function() for _ = 1, 10 do assert.equal("127.0.0.1", assert(api:get "/").body) end end)
      assert.is_true(time < SOON, time)
    end)

    it("in vain after the name server died", function()
      local mortal = servers.namesd()
      mortal:set { ["a.test"] = "60 127.0.0.1" }
      local rules = { servers = { "127.0.0.1:" .. mortal.dns }, ttl_min = .01, ttl_max = .01 }
      local api = upstream(host "a.test", { reuse = "never", dns = rules })
      assert(api:get "/")
      mortal:stop()
      hawser.sleep(.1)
      for _ = 1, 5 do
        local time = elapsed(function() assert.equal("127.0.0.1", assert(api:get "/").body) end)
        assert.is_true(time < SOON, time)
      end
    end)

    it("with 999 others at once", function()
      namesd:set { ["*"] = "60 127.0.0.1" }
      local udp = total()
      local calls = {}
      for i = 1, 1000 do calls[i] = function() return m:get(host(("n%d.many.test"):format(i))) end end
      local outcomes = hawser.all(calls)
      namesd:set { ["*"] = "60 nx" }
      for _, outcome in ipairs(outcomes) do assert.equal("127.0.0.1", outcome[2] and outcome[2].body or outcome[3]) end
      local asked = total() - udp
      assert.is_true(asked >= 2000 and asked <= 4000, asked) -- again where a full buffer lost an answer
      m:trim(true)
    end)
  end)

  describe("that is not answered", function()
    it("disturbs nobody else", function()
      local busy = upstream("http://127.0.0.1:" .. namesd.here)
      local lost = upstream(host "silent.test", { timeouts = { resolve = 1 },
        limits = { per_peer = 100, dials = 100 } })
      local ticks, requests, is_over = 0, 0, false
      hawser.run(function()
        local waiting = {}
        for i = 1, 100 do waiting[i] = hawser.spawn(function() return lost:get "/" end) end
        hawser.spawn(function()
          while not is_over do
            hawser.sleep(.001)
            ticks = ticks + 1
          end
        end)
        hawser.spawn(function()
          while not is_over do
            assert(busy:get "/")
            requests = requests + 1
          end
        end)
        for _, task in ipairs(waiting) do
          local _, res, err = task:join()
          assert.is_nil(res)
          assert.equal("resolve", err.phase)
        end
        is_over = true
      end)
      assert.is_true(ticks > 10, ticks) -- two or three, if they had to wait for the names
      assert.is_true(requests > 10, requests)
    end)

    -- One that waits for an answer, and what it gets in the end.
    local function abandoned(api, abandon)
      return hawser.run(function()
        local task = hawser.spawn(function() return api:get "/" end)
        hawser.sleep(.05)
        assert.equal(1, api:stats().dialing)
        abandon(task)
        local has_ended, res, err = task:join()
        if not has_ended then return res end
        assert.is_nil(res)
        return err
      end)
    end

    it("ends with the task that waits, and the next one gets the answer", function()
      namesd:set { ["later.test"] = "60 127.0.0.1 silent" }
      local api = upstream(host "later.test")
      local err = abandoned(api, function(task) task:cancel() end)
      assert.equal("canceled", err.kind)
      namesd:set { ["later.test"] = "60 127.0.0.1" }
      assert.equal("127.0.0.1", assert(api:get "/").body)
    end)

    it("ends with the handle of a callback", function()
      local api = upstream(host "silent.test", { timeouts = { resolve = .2 } })
      local said
      local handle = api:get("/", function(_, err) said = err end)
      handle:cancel()
      hawser.run()
      assert.equal("canceled", said.kind)
    end)

    it("ends with the upstream, and with the manager", function()
      local api = upstream(host "silent.test")
      assert.equal("closed", abandoned(api, function() api:close() end).kind)
      api = upstream(host "silent.test")
      assert.equal("closed", abandoned(api, function() m:close() end).kind)
      upstreams = {}
    end)

    it("ends with its peer, when an update takes it out", function()
      local api = upstream(host "silent.test", { timeouts = { queue = .1, resolve = 5 } })
      local err = abandoned(api, function() assert(api:update { peers = {} }) end)
      assert.is_truthy(err)
    end)

    it("survives a fork in the parent, and not in the child", function()
      local process = servers.module "process"
      namesd:set { ["forked.test"] = "60 127.0.0.1 silent" }
      local api = upstream(host "forked.test", { timeouts = { resolve = 30 } })
      hawser.run(function()
        local task = hawser.spawn(function() return api:get "/" end)
        hawser.sleep(.05)
        local pid = process.fork()
        if pid == 0 then
          local _, err = api:get "/"
          m:close()
          process.exit(err.code == "FORKED" and 0 or 1)
        end
        assert.equal(0, process.wait(pid))
        namesd:set { ["forked.test"] = "60 127.0.0.1" }
        local _, res, err = task:join()
        assert.equal("127.0.0.1", assert(res, err).body)
      end)
    end)
  end)

  describe("after an update of dns", function()
    it("is asked for as before but for what the update says", function()
      local api = upstream(host "four.test", { reuse = "never" })
      assert(api:update { dns = { ttl_max = 5 } })
      assert.equal("127.0.0.1", assert(api:get "/").body)
      api = upstream(host "four", { reuse = "never", dns = { search = { "test" } } })
      assert.equal("127.0.0.1", assert(api:get "/").body)
      assert(api:update { dns = { ttl_max = 5 } })
      assert.equal("127.0.0.1", assert(api:get "/").body)
      assert.has_error(function() api:update { dns = { ttl_min = 6 } } end)
      assert(api:update { dns = { search = {} } })
      assert.equal("NXDOMAIN", select(2, api:get "/").code)
    end)

    it("is asked for elsewhere, while what was asked before goes on", function()
      namesd:set { ["moved.test"] = "60 127.0.0.1" }
      local other = servers.namesd()
      other:set { ["moved.test"] = "60 127.0.0.2" }
      local api = upstream(host "moved.test", { reuse = "never" })
      assert.equal("127.0.0.1", assert(api:get "/").body)
      assert(api:update { dns = { servers = { "127.0.0.1:" .. other.dns } } })
      assert.equal("127.0.0.2", assert(api:get "/").body)
      assert(api:update { limits = { dials = 3 } })
      assert.equal("127.0.0.2", assert(api:get "/").body)

      namesd:set { ["moved.test"] = "60 127.0.0.1 silent" }
      local old = upstream(host "moved.test", { dns = dns() })
      hawser.run(function()
        local task = hawser.spawn(function() return old:get "/" end)
        hawser.sleep(.05)
        assert(old:update { dns = { servers = { "127.0.0.1:" .. other.dns } } })
        assert.equal("127.0.0.2", assert(old:get "/").body)
        local _, res, err = task:join()
        assert.equal("127.0.0.2", assert(res, err).body)
      end)
      other:stop()
    end)
  end)
end)

describe("dnsmasq", function()
  local dnsmasq, namesd, m

  -- 100 addresses have no room in a datagram.
  local configuration = [[
local=/test/
local-ttl=60
host-record=four.test,127.0.0.1
host-record=six.test,::1
host-record=both.test,127.0.0.1,::1
cname=alias.test,one.test
cname=one.test,four.test
txt-record=text.test,"no address"
]]

  lazy_setup(function()
    namesd = servers.namesd()
    local many = {}
    for i = 1, 100 do many[i] = ("host-record=many.test,127.0.0.%d\n"):format(i) end
    dnsmasq = servers.dnsmasq(configuration .. table.concat(many))
  end)
  lazy_teardown(function()
    dnsmasq:stop()
    namesd:stop()
  end)
  before_each(function() m = hawser.new { dns = { servers = { "127.0.0.1:" .. dnsmasq.port } } } end)
  after_each(function() m:close() end)

  local function get(name) return m:get(("http://%s:%d/"):format(name, namesd.here)) end

  it("leads to addresses", function()
    assert.equal("127.0.0.1", assert(get "four.test").body)
    assert.equal("::1", assert(get "six.test").body)
    assert.equal("::1", assert(get "both.test").body)
    assert.equal("127.0.0.1", assert(get "alias.test").body)
  end)

  it("has more to say than a datagram holds", function()
    local res, err = get "many.test"
    assert.is_truthy(res or err.phase == "connect", err) -- it tells them in any order
  end)

  it("knows of names that are not", function()
    assert.equal("NXDOMAIN", select(2, get "nx.test").code)
    assert.equal("NODATA", select(2, get "text.test").code)
    assert.equal("DNS_REFUSED", select(2, get "elsewhere.example").code)
  end)
end)
