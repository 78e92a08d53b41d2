--- Whether a request goes again after a failed attempt, when and where: told by the servers' own ledger.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

-- Long enough that a working answer is never cut off by it, short enough to wait for where silence is
-- what a test is about.
local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over

-- No delay worth waiting for.
local AT_ONCE = { base = 1e-6, max = 1e-6 }

describe("a retry", function()
  local faultd, m, api, retries, upstreams

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function here() return "http://127.0.0.1:" .. faultd.http end
  -- Another peer, although the same server with the same ledger.
  local function there() return { "unix:" .. faultd.unix, id = "there" } end
  local function nowhere() return "http://127.0.0.1:" .. faultd.closed end

  -- The first peer serves as long as it can.
  local function in_order(first, second)
    return { { first, priority = 0 }, { second, priority = 1 } }
  end

  local function start(options)
    if m then m:close() end
    options = options or {}
    options.breaker = false
    m, upstreams, retries = hawser.new(options), {}, {}
    m:on("retry", function(event) retries[#retries + 1] = event end)
  end

  local function upstream(options)
    options = options or {}
    options.peers = options.peers or { here(), there() }
    options.protocol = options.protocol or "http1"
    if options.retry == nil then options.retry = { backoff = AT_ONCE } end
    local made = m:upstream("api " .. #upstreams + 1, options)
    upstreams[#upstreams + 1] = made
    return made
  end

  before_each(function()
    start()
    faultd:ask "zero"
    api = upstream()
  end)

  after_each(function()
    local stats = {}
    for i, one in ipairs(upstreams) do stats[i] = ledger.settled(one) end
    m:close()
    faultd:ask "await/http/open/0"
    for _, one in ipairs(stats) do ledger.is_at_rest(one) end
  end)

  -- Of all its methods, so far.
  local function seen(method, key) return faultd:ask(("seen/%s/%s"):format(method, key)) end

  local function ended(result, err)
    return { result and result.status or err.kind, result and result.attempts or err.attempts }
  end

  describe("follows", function()
    for _, status in ipairs { 502, 503, 504 } do
      it(("a %d, at another peer"):format(status), function()
        local res = assert(api:get(("/first/1/%d/a?key=a"):format(status)))
        assert.same({ 200, "ok", 2 }, { res.status, res.body, res.attempts })
        assert.equal(2, seen("GET", "a"))
        assert.equal(1, #retries)
        assert.are_not.equal(retries[1].peer, res.peer)
        local stats = api:stats()
        assert.same({ 1, 1, 0, 0 }, { stats.requests, stats.retried, stats.retries_refused, stats.replayed })
      end)
    end

    for _, how in ipairs { "rst", "fin" } do
      it("a connection that was closed with " .. how, function()
        local res = assert(api:get("/first/2/" .. how .. "/b?key=b"))
        assert.same({ 200, 3 }, { res.status, res.attempts })
        assert.equal(3, seen("GET", "b"))
      end)
    end

    it("a failed dial, whatever the method", function()
      api = upstream { peers = in_order(nowhere(), here()), retry = { backoff = AT_ONCE } }
      for _, method in ipairs { "GET", "POST", "PATCH", "PURGE" } do
        local res = assert(api:request { method = method, path = "/ok?key=dial" })
        assert.same({ "ok", 2 }, { res.body, res.attempts })
        assert.equal(1, seen(method, "dial"))
      end
      assert.equal(4, api:stats().retried)
    end)

    it("what is named, and nothing else", function()
      local cases = {
        { {}, "/status/503", { 503, 1 } },
        { {}, "/rst/now", { "reset", 1 } },
        { { 404 }, "/status/404", { 404, 3 } },
        { { 404 }, "/status/503", { 503, 1 } },
        { { "reset" }, "/status/503", { 503, 1 } },
        { { "reset" }, "/fin/head", { "reset", 3 } },
        { { "connect" }, "/fin/now", { "reset", 1 } },
        { { "timeout" }, "/fin/now", { "reset", 1 } },
        { { 503, 503, "reset", "connect" }, "/status/500", { 500, 1 } },
      }
      for _, case in ipairs(cases) do
        local one = upstream { retry = { on = case[1], backoff = AT_ONCE } }
        assert.same(case[3], ended(one:get(case[2])))
      end
      assert.same({ "protocol", 1 }, ended(api:get "/raw/3f0d0a0d0a"))
      assert.same({ 500, 1 }, ended(api:get "/status/500"))
      assert.same({ 404, 1 }, ended(api:get "/status/404"))
    end)

    it("each kind of failed dial by its own name, or by 'connect'", function()
      for _, on in ipairs { "connect", "refused" } do
        local one = upstream { peers = { nowhere() }, retry = { on = { on }, backoff = AT_ONCE } }
        assert.same({ "refused", 3 }, ended(one:get "/ok"))
      end
      for _, on in ipairs { "resolve", "timeout", "tls", "reset", "overload" } do
        local one = upstream { peers = { nowhere() }, retry = { on = { on }, backoff = AT_ONCE } }
        assert.same({ "refused", 1 }, ended(one:get "/ok"))
      end
    end)

    it("a lease's failed dial, too", function()
      local raw = upstream {
        peers = in_order("tcp://127.0.0.1:" .. faultd.closed, "tcp://127.0.0.1:" .. faultd.raw), protocol = "raw",
      }
      assert.equal("hello", raw:with(function(conn) return conn:write "hello\n" and conn:read "line" end))
      assert.equal(1, raw:stats().retried)
      raw = upstream { peers = { "tcp://127.0.0.1:" .. faultd.closed }, protocol = "raw" }
      assert.same({ "refused", 3 }, ended(raw:acquire()))
    end)
  end)

  describe("of what was sent", function()
    for _, how in ipairs { "503", "rst", "fin" } do
      local outcome = tonumber(how) or "reset"

      it("happens to no POST after " .. how, function()
        local res, err = api:post("/first/1/" .. how .. "/c?key=c", "body")
        assert.same({ outcome, 1 }, ended(res, err))
        assert.is_false(err ~= nil and err.retryable)
        assert.equal(1, seen("POST", "c"))
        assert.equal(0, api:stats().retried)
      end)

      it("happens to a POST after " .. how .. " that says it may", function()
        for i, options in ipairs { { idempotent = true }, { headers = { ["Idempotency-Key"] = "1" } } } do
          local res = assert(api:post(("/first/1/%s/d%d?key=d"):format(how, i), "body", options))
          assert.same({ 200, 2 }, ended(res))
        end
        assert.equal(4, seen("POST", "d"))
      end)

      it("happens to no GET after " .. how .. " that says it may not", function()
        assert.same({ outcome, 1 }, ended(api:get("/first/1/" .. how .. "/e?key=e", { idempotent = false })))
        assert.equal(1, seen("GET", "e"))
      end)
    end

    it("sends the same body again", function()
      local body = ("0123456789"):rep(30000)
      local res = assert(api:put("/first/1/503/f", body))
      assert.equal(2, res.attempts)
      res = assert(api:put("/body", body))
      assert.is_true(res.body == body)
      assert.same({ 200, 2 }, ended(api:put("/first/1/rst/g", { "two ", "pieces" })))
    end)

    it("never happens once a producer was asked", function()
      for _, how in ipairs { "503", "rst" } do
        local asked = 0
        local res, err = api:put("/first/1/" .. how .. "/h" .. how .. "?key=h", function()
          asked = asked + 1
          return asked == 1 and "once" or nil
        end)
        assert.same({ tonumber(how) or "reset", 1 }, ended(res, err))
        assert.is_false(err ~= nil and err.retryable)
      end
      assert.equal(2, seen("PUT", "h"))
    end)

    it("happens before a producer was asked", function()
      api = upstream { peers = in_order(nowhere(), here()) }
      local left = 3
      local res = assert(api:post("/body?key=i", function()
        left = left - 1
        return left >= 0 and "piece " or nil
      end))
      assert.same({ "piece piece piece ", 2 }, { res.body, res.attempts })
      assert.equal(1, seen("POST", "i"))
    end)
  end)

  describe("is not made", function()
    it("when that is switched off, for a manager, an upstream or a request", function()
      assert.same({ 503, 1 }, ended(api:get("/status/503", { retry = false })))
      assert.same({ 503, 1 }, ended(upstream({ retry = false }):get "/status/503"))
      assert.same({ "refused", 1 }, ended(upstream({ retry = false, peers = { nowhere() } }):get "/ok"))
      start { retry = false }
      assert.same({ 503, 1 }, ended(m:get(here() .. "/status/503")))
      assert.same({ 503, 3 }, ended(upstream({ retry = { backoff = AT_ONCE } }):get "/status/503"))
      local plain = m:upstream("plain", { peers = { here() } })
      assert.same({ "reset", 1 }, ended(plain:get "/rst/now"))
      assert.same({ 503, 3 }, ended(plain:get("/status/503", { retry = { backoff = AT_ONCE } })))
      assert.equal(4, #retries)
    end)

    it("beyond so many attempts", function()
      for _, attempts in ipairs { 1, 2, 5, 10 } do
        local one = upstream { retry = { attempts = attempts, backoff = AT_ONCE } }
        assert.same({ 503, attempts }, ended(one:get("/status/503?key=j" .. attempts)))
        assert.equal(attempts, seen("GET", "j" .. attempts))
        assert.equal(attempts - 1, one:stats().retried)
      end
    end)

    it("at once when its delay would not fit the deadline", function()
      local slow = { backoff = { base = 20, max = 20, jitter = "equal" } }
      api = upstream { retry = slow }
      local begin = hawser.now()
      assert.same({ "reset", 1 }, ended(api:get("/rst/now", { timeout = 9 })))
      local res = assert(api:get("/status/503", { timeout = 9 }))
      assert.same({ 503, "status ...", 1 }, { res.status, res.body, res.attempts })
      assert.same({ "refused", 1 },
        ended(upstream({ peers = { nowhere() }, retry = slow }):get("/ok", { timeout = 9 })))
      assert.is_true(hawser.now() - begin < 9)
      assert.same({ 0, 0 }, { api:stats().retried, api:stats().retries_refused })
      assert.equal(0, #retries)
    end)

    it("when the budget is spent", function()
      api = upstream { retry = { backoff = AT_ONCE, budget = { share = 0, floor = 0 } } }
      assert.same({ "reset", 1 }, ended(api:get "/rst/now"))
      assert.same({ 503, 1 }, ended(api:get "/status/503"))
      assert.same({ 0, 2 }, { api:stats().retried, api:stats().retries_refused })
      -- Every request pays for one.
      api = upstream { retry = { backoff = AT_ONCE, budget = { share = 1, floor = 0 } } }
      assert.same({ 503, 2 }, ended(api:get "/status/503"))
      assert.same({ 503, 2 }, ended(api:get "/status/503"))
      assert.same({ 2, 2 }, { api:stats().retried, api:stats().retries_refused })
      assert.equal(2, m:stats().retried)
      assert.equal(4, m:stats().retries_refused)
      api = upstream { retry = { backoff = AT_ONCE, budget = false, attempts = 10 } }
      for _ = 1, 5 do assert.same({ 503, 10 }, ended(api:get "/status/503")) end
      assert.equal(0, api:stats().retries_refused)
    end)

    it("when all fail together, beyond the share of the requests", function()
      api = upstream { retry = { backoff = AT_ONCE, budget = { share = .2, floor = 0 } } }
      for _ = 1, 100 do assert.equal(503, assert(api:get "/status/503?key=k").status) end
      assert.equal(120, seen("GET", "k"))
      assert.equal(20, api:stats().retried)
    end)
  end)

  describe("that ends on a status", function()
    it("returns that response", function()
      local res = assert(api:get "/status/503?key=l")
      assert.same({ 503, "status ...", 3 }, { res.status, res.body, res.attempts })
      assert.equal(3, seen("GET", "l"))
      local stats = api:stats()
      assert.same({ 1, 1, 0, 2 }, { stats.requests, stats.ok, stats.failed, stats.retried })
    end)

    it("returns it, too, when no other peer can be reached", function()
      api = upstream { peers = in_order(here(), nowhere()), retry = { attempts = 2, backoff = AT_ONCE } }
      local res = assert(api:get "/status/503")
      assert.same({ 503, "status ...", 2, "127.0.0.1:" .. faultd.http },
        { res.status, res.body, res.attempts, res.peer })
    end)

    it("returns it no more once another attempt was sent", function()
      local relay = servers.relay(faultd.http, "fin:5")
      api = upstream { peers = in_order(here(), "http://127.0.0.1:" .. relay["fin:5"]),
        retry = { attempts = 2, backoff = AT_ONCE } }
      local res, err = api:get "/status/503"
      assert.same({ "reset", 2 }, ended(res, err))
      assert.equal("127.0.0.1:" .. relay["fin:5"], err.peer)
      relay:stop()
    end)
  end)

  describe("after Retry-After", function()
    it("comes not before it", function()
      local begin = hawser.now()
      local res = assert(api:get "/first/1/503/o/1")
      assert.same({ 200, 2 }, ended(res))
      assert.is_true(hawser.now() - begin >= .9)
      assert.is_true(retries[1].delay >= 1 and retries[1].delay <= 1.5, retries[1].delay)
    end)

    it("of zero comes as without it", function()
      assert.same({ 200, 2 }, ended(api:get "/first/1/503/p/0"))
      assert.is_true(retries[1].delay <= .001)
    end)

    for _, long in ipairs { "31536000", "99999999999999999999999" } do
      it(("of %s s is none"):format(long), function()
        assert.same({ 503, 1 }, ended(api:get("/first/1/503/q" .. long .. "/" .. long)))
        assert.same({ 503, 1 }, ended(api:get("/first/1/503/r" .. long .. "/" .. long, { stream = true })))
        assert.equal(0, #retries)
      end)
    end

    for _, wrong in ipairs { "-5", "soon", "1.5", "0x1", "1,2", "%00" } do
      it(("that says %q comes as without it"):format(wrong), function()
        assert.same({ 200, 2 }, ended(api:get("/first/1/503/s" .. wrong .. "/" .. wrong)))
        assert.is_true(retries[1].delay <= .001)
      end)
    end

    -- A whole response of another kind than /first can say.
    local function answer(fields)
      return "/raw/" .. servers.hex("HTTP/1.1 503 Busy\r\n" .. fields .. "Content-Length: 0\r\n\r\n")
    end

    it("as a date counts from the server's own", function()
      local date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
      local later = answer(date .. "Retry-After: Sun, 06 Nov 1994 08:49:38 GMT\r\n")
      assert.same({ 503, 2 }, ended(api:get(later, { retry = { attempts = 2 } })))
      assert.is_true(retries[1].delay >= 1 and retries[1].delay <= 1.5, retries[1].delay)
      local sooner = answer(date .. "Retry-After: Sun, 06 Nov 1994 08:49:36 GMT\r\n")
      assert.same({ 503, 2 }, ended(api:get(sooner, { retry = { attempts = 2 } })))
      assert.is_true(retries[2].delay <= .001)
      local never = answer(date .. "Retry-After: Mon, 06 Nov 1995 08:49:37 GMT\r\n")
      assert.same({ 503, 1 }, ended(api:get(never)))
    end)
  end)

  describe("of a streaming request", function()
    it("happens before anything is handed out", function()
      hawser.run(function()
        for _, how in ipairs { "503", "rst" } do
          local res = assert(api:get("/first/2/" .. how .. "/t" .. how .. "?key=t" .. how, { stream = true }))
          assert.same({ 200, 3 }, ended(res))
          assert.equal("ok", res:read())
          assert.is_nil(res:read())
          assert.equal(3, seen("GET", "t" .. how))
        end
      end)
    end)

    it("returns the response whose status stays", function()
      hawser.run(function()
        local res = assert(api:get("/status/503", { stream = true }))
        assert.same({ 503, 3 }, ended(res))
        assert.equal("status ...", res:read())
        assert.is_nil(res:read())
      end)
    end)

    it("does not happen to a body that breaks off", function()
      hawser.run(function()
        local res = assert(api:get("/fin/body?key=u", { stream = true }))
        assert.equal("12345", res:read())
        local chunk, err = res:read()
        assert.is_nil(chunk)
        assert.same({ "reset", "body", false }, { err.kind, err.phase, err.retryable })
        assert.equal(1, seen("GET", "u"))
        assert.equal(0, api:stats().retried)
      end)
    end)
  end)

  describe("after timeouts.attempt", function()
    it("is made where 'timeout' is named", function()
      api = upstream { timeouts = { attempt = ENOUGH }, retry = { on = { "timeout" }, backoff = AT_ONCE } }
      local res = assert(api:get "/first/2/never/v?key=v")
      assert.same({ 200, 3 }, ended(res))
      assert.equal(3, seen("GET", "v"))
      assert.same({ "timeout", "timeout" }, { retries[1].reason, retries[2].reason })
    end)

    it("is none where it is not, nor when the whole time is over", function()
      api = upstream { timeouts = { attempt = ENOUGH }, retry = { backoff = AT_ONCE } }
      local res, err = api:get "/never"
      assert.same({ "timeout", 1 }, ended(res, err))
      assert.equal("headers", err.phase)
      assert.is_true(err.retryable)
      api = upstream { retry = { on = { "timeout" }, backoff = AT_ONCE } }
      assert.same({ "timeout", 1 }, ended(api:get("/never", { timeout = ENOUGH })))
    end)

    it("leaves what is streamed alone", function()
      api = upstream { timeouts = { attempt = ENOUGH } }
      hawser.run(function()
        local res = assert(api:get("/drip/60/10", { stream = true }))
        local size = 0
        for _ = 1, 60 do
          local chunk = res:read()
          size = size + #(chunk or "")
          if not chunk then break end
        end
        assert.equal(60, size)
      end)
      assert.same({ "timeout", 1 }, ended(api:get "/drip/300/10"))
    end)
  end)

  describe("is told", function()
    it("as an event, in order, with how it came to it", function()
      local begin = hawser.now()
      api = upstream { peers = in_order(nowhere(), here()),
        retry = { attempts = 4, backoff = { base = .004, max = .008 } } }
      assert.same({ 200, 4 }, ended(api:get "/first/1/503/w"))
      assert.equal(3, #retries)
      local known = { event = 1, at = 1, upstream = 1, peer = 1, reason = 1, attempt = 1, delay = 1 }
      local at = begin
      for i, event in ipairs(retries) do
        for field in pairs(event) do assert.is_truthy(known[field], field) end
        assert.same({ "retry", "api 2", i }, { event.event, event.upstream, event.attempt })
        assert.is_true(event.at >= at and event.at <= hawser.now())
        assert.is_true(event.delay >= 0 and event.delay <= math.min(.004 * 2 ^ (i - 1), .008), event.delay)
        at = event.at + event.delay
      end
      assert.same({ "refused", "127.0.0.1:" .. faultd.closed }, { retries[1].reason, retries[1].peer })
      assert.same({ "status", "127.0.0.1:" .. faultd.http }, { retries[2].reason, retries[2].peer })
      assert.equal(retries[1].peer, retries[3].peer)
    end)
  end)

  describe("waits", function()
    local function waiting()
      local outcome = {}
      api = upstream { retry = { backoff = { base = 3600, max = 3600, jitter = "equal" } } }
      local handle = api:get("/status/503", { timeout = false }, function(res, err)
        outcome.res, outcome.err = res, err
      end)
      while #retries == 0 do hawser.sleep(.001) end
      return handle, outcome
    end

    it("until it is cancelled", function()
      local handle, outcome = waiting()
      handle:cancel()
      hawser.run()
      assert.same({ "canceled", 1 }, ended(outcome.res, outcome.err))
    end)

    it("until its upstream or its manager is closed", function()
      for _, owner in ipairs { "api", "m" } do
        start()
        local _, outcome = waiting();
        (owner == "api" and api or m):close()
        hawser.run()
        assert.equal("closed", outcome.err.kind)
        upstreams = {}
      end
    end)

    it("until a drain is over", function()
      local _, outcome = waiting()
      local ok, err = api:drain(SHORT)
      hawser.run()
      assert.is_nil(ok)
      assert.equal("timeout", err.kind)
      assert.equal("closed", outcome.err.kind)
    end)
  end)

  describe("as a request wants it", function()
    it("has what the upstream has in all else", function()
      api = upstream { retry = { attempts = 2, on = { 503 }, backoff = { base = .002, max = .002 } } }
      assert.same({ 503, 2 }, ended(api:get "/status/503"))
      assert.same({ 503, 2 }, ended(api:get("/status/503", { retry = {} })))
      assert.same({ 503, 4 }, ended(api:get("/status/503", { retry = { attempts = 4 } })))
      assert.same({ 404, 2 }, ended(api:get("/status/404", { retry = { on = { 404 } } })))
      assert.same({ 503, 1 }, ended(api:get("/status/503", { retry = { on = { 404 } } })))
      assert.same({ 503, 1 }, ended(api:get("/status/503", { retry = false })))
      assert.same({ 503, 2 }, ended(api:get "/status/503"))
      for _, event in ipairs(retries) do assert.is_true(event.delay <= .002) end
      assert.same({ 503, 1 }, ended(api:get("/status/503", { retry = { budget = { share = 0, floor = 0 } } })))
    end)

    it("has its attempts anew at each stop of a redirect", function()
      local location = "/first/2/503/there?key=there"
      local moved = ("HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(location)
      local res = assert(api:get("/raw/" .. servers.hex(moved), { redirects = 1, retry = { attempts = 3 } }))
      assert.same({ 200, 3 }, { res.status, res.attempts })
      assert.equal(3, seen("GET", "there"))
    end)

    it("goes with it through redirects, and with URLs", function()
      local moved = "HTTP/1.1 302 Found\r\nLocation: /status/503?key=x\r\nContent-Length: 0\r\n\r\n"
      local path = "/raw/" .. servers.hex(moved)
      assert.same({ 503, 2 }, ended(api:get(path, { redirects = 1, retry = { attempts = 2 } })))
      assert.equal(2, seen("GET", "x"))
      assert.same({ 503, 1 }, ended(m:get(here() .. path, { redirects = 1, retry = false })))
      assert.equal(3, seen("GET", "x"))
      assert.same({ 503, 2 }, ended(m:get(here() .. "/status/503", { retry = { attempts = 2 } })))
      assert.same({ 503, 2 },
        ended(m:request { url = here() .. "/status/503", retry = { attempts = 2, backoff = AT_ONCE } }))
    end)
  end)

  describe("as its options say", function()
    it("has from the manager what the upstream does not say, field by field", function()
      start { retry = { attempts = 2, on = { 404 }, backoff = { base = 1e-6 }, budget = { share = 0, floor = 0 } } }
      api = upstream { retry = {} }
      assert.same({ 404, 1 }, ended(api:get "/status/404"))
      api = upstream { retry = { budget = { share = 1 }, backoff = { max = 1e-6 } } }
      assert.same({ 404, 2 }, ended(api:get "/status/404"))
      assert.same({ 503, 1 }, ended(api:get "/status/503"))
      api = upstream { retry = { attempts = 3, budget = false } }
      assert.same({ 404, 3 }, ended(api:get "/status/404"))
      assert.same({ 404, 1 }, ended(m:get(here() .. "/status/404")))
    end)

    it("changes live", function()
      assert.same({ 503, 3 }, ended(api:get "/status/503"))
      assert.is_true(api:update { retry = { attempts = 2 } })
      assert.same({ 503, 2 }, ended(api:get "/status/503"))
      assert.is_true(api:update { retry = { on = { 404 } } })
      assert.same({ 503, 1 }, ended(api:get "/status/503"))
      assert.same({ 404, 2 }, ended(api:get "/status/404"))
      assert.is_true(api:update { retry = false })
      assert.same({ 404, 1 }, ended(api:get "/status/404"))
      assert.is_true(api:update { retry = {} })
      assert.same({ 404, 2 }, ended(api:get "/status/404"))
      for _, event in ipairs(retries) do assert.is_true(event.delay <= .001) end
    end)
  end)

  it("leaves a failing server for nginx", function()
    local nginx = servers.nginx()
    api = upstream { peers = in_order(here(), "http://127.0.0.1:" .. nginx.port) }
    local res = assert(api:get "/status/503")
    assert.same({ 404, 2, "127.0.0.1:" .. nginx.port }, { res.status, res.attempts, res.peer })
    assert.same({ 503, 3 }, ended(upstream({ peers = { "http://127.0.0.1:" .. nginx.port } }):get "/broken"))
    for _, one in ipairs(upstreams) do one:close() end
    nginx:stop()
  end)
end)
