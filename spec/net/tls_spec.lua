--- TLS on real servers: what breaks, what is resumed and what is pooled, as it is in the clear or worse.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over
local ROOT = servers.certificate "root.pem"

-- No TLS 1.3, in which these things happen at other moments.
local ONLY_1_2 = "-tls1_2"

describe("over TLS", function()
  local m, upstreams, events

  before_each(function()
    m, upstreams, events = hawser.new { tls = { ca = ROOT }, breaker = false }, {}, {}
    for _, name in ipairs { "connect", "close", "breaker", "leak", "stale_reuse", "error" } do
      m:on(name, function(event) events[#events + 1] = event end)
    end
  end)

  after_each(function()
    local stats = {}
    for i, api in ipairs(upstreams) do stats[i] = ledger.settled(api) end
    m:close()
    for _, one in ipairs(stats) do ledger.is_at_rest(one) end
  end)

  -- Of a server at that port.
  local function upstream(port, options, scheme)
    options = options or {}
    options.peers = options.peers or { ("%s://localhost:%d"):format(scheme or "https", port) }
    local api = m:upstream("tls " .. #upstreams + 1, options)
    upstreams[#upstreams + 1] = api
    return api
  end

  local function fails(expected, result, err)
    assert.is_nil(result)
    assert.is_truthy(err, "no error either")
    for field, value in pairs(expected) do
      assert.equal(value, err[field], ("err.%s of %s"):format(field, tostring(err)))
    end
    return err
  end

  local function events_of(name)
    local found = {}
    for _, event in ipairs(events) do
      if event.event == name then found[#found + 1] = event end
    end
    return found
  end

  -- Handshakes -------------------------------------------------------------------------------------

  describe("a handshake", function()
    local nginx, relay, faultd
    -- Where a handshake is cut: before anything, within and between the records of the server's first flight, and
    -- instead of the client's second.
    local places = { "@1", ":0", ":1", ":5", ":60", ":800", "@2" }

    lazy_setup(function()
      nginx, faultd = servers.nginx(), servers.faultd()
      local rules = { "bytes" }
      for _, how in ipairs { "fin", "rst", "stall" } do
        for _, place in ipairs(places) do rules[#rules + 1] = how .. place end
      end
      relay = servers.relay(nginx.tls, (unpack or table.unpack)(rules))
    end)
    lazy_teardown(function()
      relay:stop()
      nginx:stop()
      faultd:stop()
    end)

    local function of_both(port, options, expected)
      for _, field in ipairs { "phase", "sent" } do
        if expected[field] == nil then expected[field] = ({ phase = "tls", sent = false })[field] end
      end
      local api = upstream(port, options)
      fails(expected, api:get "/hello")
      local raw = upstream(port, { timeouts = options.timeouts }, "tls")
      fails(expected, raw:acquire())
      for _, one in ipairs { api, raw } do
        local stats = ledger.settled(one)
        assert.equal(0, stats.created + stats.handshakes + stats.resumed)
      end
    end

    for _, place in ipairs(places) do
      it("that is closed at " .. place .. " is no connection", function()
        of_both(relay["fin" .. place], {}, { kind = "tls", code = "HANDSHAKE_EOF" })
      end)

      it("that is reset at " .. place .. " is no connection", function()
        of_both(relay["rst" .. place], {}, { kind = "tls", code = "HANDSHAKE_EOF" })
      end)

      it("that stalls at " .. place .. " is given up after timeouts.tls", function()
        local before = hawser.now()
        of_both(relay["stall" .. place], { timeouts = { tls = SHORT } }, { kind = "timeout" })
        assert.is_true(hawser.now() - before < 10)
      end)
    end

    it("may be given up by the request's own deadline, or by its caller", function()
      local api = upstream(relay["stall:60"])
      fails({ kind = "timeout", phase = "tls", sent = false }, api:get("/hello", { timeout = ENOUGH }))
      hawser.run(function()
        local task = hawser.spawn(function() return api:get "/hello" end)
        hawser.sleep(SHORT)
        task:cancel()
        local joined, err = task:join()
        assert.is_falsy(joined)
        assert.equal("canceled", err.kind)
      end)
      m:close()
      assert.equal(0, api:stats().dialing)
    end)

    it("in single bytes is like any other", function()
      assert.equal("hello from nginx\n", assert(upstream(relay.bytes):get "/hello").body)
    end)

    it("with a server that speaks in the clear is refused for that", function()
      -- nginx answers what it takes for nonsense with 400; faultd waits for the end of a line that never comes.
      local err = fails({ kind = "tls", code = "NOT_TLS", phase = "tls", sent = false },
        upstream(nginx.port):get "/hello")
      assert.truthy(tostring(err):find('it sent "HTTP/1.1 400', 1, true), tostring(err))
      fails({ kind = "timeout", phase = "tls" }, upstream(faultd.raw, { timeouts = { tls = SHORT } }, "tls"):acquire())
    end)

    it("that fails is told to all who share the dial, and each once", function()
      local api = upstream(relay["fin:60"], { limits = { dials = 1 } })
      local calls = {}
      for i = 1, 20 do calls[i] = function() return select(2, api:get "/hello") end end
      for _, outcome in ipairs(hawser.all(calls)) do assert.equal("HANDSHAKE_EOF", outcome[2].code) end
    end)

    it("with a long chain of certificates goes through, and with one without end is refused for it", function()
      local file = assert(io.open(servers.certificate "good.pem", "rb"))
      local _, intermediate = file:read "*a":match "^(.-%-%-%-%-%-END CERTIFICATE%-%-%-%-%-\n)(.*)$"
      file:close()
      for count, is_refused in pairs { [20] = false, [1000] = true } do
        local files = { ["long.pem"] = intermediate:rep(count) }
        local server = servers.openssl("missing", files, "-cert_chain", "long.pem", "-rev", ONLY_1_2)
        local raw = upstream(server.port, nil, "tls")
        if is_refused then
          local err = fails({ kind = "tls", code = "HANDSHAKE", phase = "tls", sent = false }, raw:acquire())
          assert.truthy(err.message:find "longer than 16 KiB" or err.message:find "excessive message size", err.message)
        else
          local conn = assert(raw:acquire())
          assert(conn:write "abc\n")
          assert.equal("cba", conn:read "line")
          conn:release()
        end
        server:stop()
      end
    end)

    it("that fails leaves the request to the next peer", function()
      local api = upstream(nil, {
        peers = { "https://localhost:" .. relay["fin:60"], "https://localhost:" .. nginx.tls },
      })
      local res = assert(api:post("/echo", "body"))
      assert.equal("POST body", res.body)
    end)
  end)

  -- Bodies and their ends --------------------------------------------------------------------------

  describe("the end", function()
    local files = {
      sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      ["sized-cut"] = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
      ["until-close"] = "HTTP/1.1 200 OK\r\n\r\nhello",
      old = "HTTP/1.0 200 OK\r\n\r\nhello",
      chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      ["chunked-cut"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
      head = "HTTP/1.1 200 OK\r\nContent-Le",
    }
    local server, relay

    lazy_setup(function()
      server = servers.openssl("good", files, "-HTTP", ONLY_1_2)
      relay = servers.relay(server.port, "unclosed")
    end)
    lazy_teardown(function()
      relay:stop()
      server:stop()
    end)

    -- file, what it is with close_notify, and without: nil for a whole response, else code and phase
    local cases = {
      { "sized" },
      { "chunked" },
      { "until-close", nil, { "TRUNCATED", "body" } },
      { "old", nil, { "TRUNCATED", "body" } },
      { "sized-cut", { "EOF", "body" }, { "TRUNCATED", "body" } },
      { "chunked-cut", { "EOF", "body" }, { "TRUNCATED", "body" } },
      { "head", { "EOF", "headers" }, { "TRUNCATED", "headers" } },
    }
    for _, case in ipairs(cases) do
      for i, how in ipairs { "with", "without" } do
        local file, expected = case[1], case[i + 1]
        it(("of %s %s close_notify is %s"):format(file, how, expected and expected[1] or "whole"), function()
          local api = upstream(i == 1 and server.port or relay.unclosed)
          local res, err = api:get("/" .. file)
          if expected then
            fails({ kind = "reset", code = expected[1], phase = expected[2], sent = true }, res, err)
          else
            assert.equal("hello", res and res.body, tostring(err))
          end
          local stats = ledger.settled(api)
          assert.equal(expected and 1 or 0, stats.failed)
        end)
      end
    end

    it("of a streamed body without close_notify comes after what came before it", function()
      hawser.run(function()
        local res = assert(upstream(relay.unclosed):get("/until-close", { stream = true }))
        assert.equal("hello", res:read())
        fails({ kind = "reset", code = "TRUNCATED", phase = "body" }, res:read())
      end)
    end)

    it("of a lease's bytes is an end only with close_notify", function()
      local function all(port)
        local conn = assert(upstream(port, nil, "tls"):acquire())
        assert(conn:write "GET /sized HTTP/1.1\r\n\r\n")
        local data, err = conn:read "all"
        conn:close()
        return data, err
      end
      assert.equal(files.sized, all(server.port))
      local err = fails({ kind = "reset", code = "TRUNCATED" }, all(relay.unclosed))
      assert.equal(files.sized, err.partial)
    end)
  end)

  -- Resumption -------------------------------------------------------------------------------------

  describe("a session", function()
    local started
    before_each(function() started = {} end)
    after_each(function()
      for _, server in ipairs(started) do server:stop() end
    end)

    -- Each request makes a connection of its own.
    local function once(options)
      options.reuse = "never"
      return options
    end

    local function nginx(more)
      started[#started + 1] = servers.nginx("ssl_protocols TLSv1.2;" .. (more or ""))
      return started[#started]
    end

    -- How so many connections were made, "f" for a full handshake and "r" for a resumed one; by the server's words.
    local function made(api, count)
      local letters = ""
      for _ = 1, count do
        local res = assert(api:get "/tls")
        assert.truthy(res.body:find "^TLSv1%.2 localhost [r.]")
        letters = letters .. (res.body:find " r " and "r" or "f")
      end
      return letters
    end

    -- By the events.
    local function told()
      local letters = ""
      for _, event in ipairs(events_of "connect") do letters = letters .. (event.resumed and "r" or "f") end
      return letters
    end

    local cases = {
      { "a ticket", "ssl_session_tickets on; ssl_session_cache off;", "frrr" },
      { "an id", "ssl_session_tickets off; ssl_session_cache shared:x:1m;", "frrr" },
      { "neither", "ssl_session_tickets off; ssl_session_cache off;", "ffff" },
    }
    for _, case in ipairs(cases) do
      it(("of a server that gives %s: %s"):format(case[1], case[3]), function()
        local api = upstream(nginx(case[2]).tls, once {})
        assert.equal(case[3], made(api, 4))
        assert.equal(case[3], told())
        local stats = api:stats()
        local _, resumed = case[3]:gsub("r", "")
        assert.equal(resumed, stats.resumed)
        assert.equal(4 - resumed, stats.handshakes)
        assert.equal(resumed, m:stats().resumed)
      end)
    end

    it("is resumed over upstreams of the same trust, and over no others", function()
      local port = nginx().tls
      assert.equal("f", made(upstream(port, once {}), 1))
      assert.equal("r", made(upstream(port, once {}), 1))
      assert.equal("f", made(upstream(port, once { tls = { verify = false } }), 1))
      assert.equal("f", made(upstream(port, once { tls = { alpn = { "http/1.1" } } }), 1))
    end)

    it("that the server rejects, because its key has changed, costs a full handshake and no error", function()
      local one, two = nginx(), nginx()
      local function peer(server) return { { "https://localhost:" .. server.tls, id = "x" } } end
      local api = upstream(nil, once { peers = peer(one) })
      assert.equal("fr", made(api, 2))
      api:update { peers = peer(two) }
      assert.equal("frr", made(api, 3))
      assert.equal("frfrr", told())
      api:update { peers = peer(one) }
      assert.equal("fr", made(api, 2))
      assert.equal(0, api:stats().failed)
    end)

    it("goes on with the ticket that the server gave in place of the old one", function()
      local keys = { os.tmpname(), os.tmpname() }
      for i, path in ipairs(keys) do
        local file = assert(io.open(path, "wb"))
        file:write((tostring(i):rep(80)))
        file:close()
        keys[i] = ("ssl_session_ticket_key %s;"):format(path)
      end
      local old, both, new = nginx(keys[1]), nginx(keys[2] .. keys[1]), nginx(keys[2])
      local function peer(server) return { { "https://localhost:" .. server.tls, id = "x" } } end
      local api = upstream(nil, once { peers = peer(old) })
      assert.equal("fr", made(api, 2))
      api:update { peers = peer(both) }
      assert.equal("r", made(api, 1))
      api:update { peers = peer(new) }
      assert.equal("rr", made(api, 2))
      for _, key in ipairs(keys) do os.remove(key:match " (.*);") end
    end)

    it("is not kept of a handshake that failed", function()
      local server = nginx()
      started[#started + 1] = servers.relay(server.tls, "fin:60")
      local relay = started[#started]
      local function peer(port) return { { "https://localhost:" .. port, id = "x" } } end
      local api = upstream(nil, once { peers = peer(server.tls) })
      assert.equal("fr", made(api, 2))
      api:update { peers = peer(relay["fin:60"]) }
      fails({ code = "HANDSHAKE_EOF" }, api:get "/tls")
      api:update { peers = peer(server.tls) }
      assert.equal("fr", made(api, 2))
    end)

    it("makes room for others when a manager has a hundred", function()
      local port = nginx().tls
      local own = hawser.new { tls = { verify = false } }
      local function once_with(i)
        local name = ("https://n%d.test:%d"):format(i, port)
        local api = own:upstream(name, once { peers = { { name, address = "127.0.0.1:" .. port } } })
        local is_resumed = assert(api:get "/tls").body:find " r " ~= nil
        api:close()
        return is_resumed
      end
      for i = 0, 100 do assert.is_false(once_with(i), i) end
      assert.is_true(once_with(100))
      assert.is_true(once_with(1))
      assert.is_false(once_with(0)) -- that of 2, which was used longest ago, goes for it
      assert.is_false(once_with(2))
      assert.is_true(once_with(100))
      own:close()
    end)

    it("keeps our certificate's identity", function()
      local server = nginx(("ssl_verify_client on; ssl_client_certificate %s; ssl_verify_depth 3;"):format(ROOT))
      local certificate = { cert = servers.certificate "client.pem", key = servers.certificate "leaf.key" }
      local api = upstream(server.tls, once { tls = certificate })
      for _ = 1, 2 do
        local res = assert(api:get "/tls")
        assert.truthy(res.body:find("CN=a client", 1, true), res.body)
      end
      assert.equal("fr", told())
      local res = assert(upstream(server.tls):get "/tls")
      assert.equal(400, res.status) -- nginx lets the handshake pass, and says so over HTTP
    end)
  end)

  -- Breakers ---------------------------------------------------------------------------------------

  describe("a breaker", function()
    local OPEN_FOR = 0.5 -- long enough to see it open
    local nginx, relay
    local rule = { consecutive = 2, min_calls = 1000, open_for = OPEN_FOR, open_max = OPEN_FOR, probes = 2 }

    lazy_setup(function()
      nginx = servers.nginx "ssl_protocols TLSv1.2;"
      relay = servers.relay(nginx.tls, "rst:60", "stall:60")
    end)
    local function send(signal) os.execute(("kill -%s $(cat %s/nginx.pid)"):format(signal, nginx.dir)) end

    lazy_teardown(function()
      send "CONT"
      relay:stop()
      nginx:stop()
    end)

    local function told()
      local words = {}
      for i, event in ipairs(events_of "breaker") do words[i] = event.reason end
      return table.concat(words, " ")
    end

    local function peer(port) return { { "https://localhost:" .. port, id = "x" } } end

    local function guarded(port, options)
      options = options or {}
      options.peers, options.retry, options.reuse = peer(port), false, "never"
      options.breaker = options.breaker or rule
      return upstream(nil, options)
    end

    -- Until it lets somebody try again. Nobody asks it before: its time may be over by then.
    local function rest(api)
      while api:peers()[1].breaker == "open" do hawser.sleep(.001) end
      assert.equal("half_open", api:peers()[1].breaker)
    end

    local failures = {
      { "are reset", function() return relay["rst:60"] end, {}, "HANDSHAKE_EOF" },
      { "stall", function() return relay["stall:60"] end, { timeouts = { tls = SHORT } }, "TIMEOUT" },
      { "meet a stranger", function() return nginx.tls end,
        { tls = { ca = servers.certificate "stranger.pem" } }, "CERT_UNTRUSTED" },
    }
    for _, case in ipairs(failures) do
      it(("opens after handshakes that %s, and lets nobody dial"):format(case[1]), function()
        case[3].breaker = { consecutive = 2, open_for = 60, open_max = 60 }
        local api = guarded(case[2](), case[3])
        for _ = 1, 2 do fails({ code = case[4], phase = "tls" }, api:get "/tls") end
        for _ = 1, 3 do fails({ kind = "breaker_open", attempts = 0, sent = false }, api:get "/tls") end
        assert.equal("open", told())
        assert.equal(0, ledger.settled(api).created)
      end)
    end

    it("closes by probes, whose handshakes resume the session of before", function()
      local api = guarded(nginx.tls)
      assert.equal(200, assert(api:get "/tls").status)
      api:update { timeouts = { tls = SHORT } }
      send "STOP"
      for _ = 1, 2 do fails({ kind = "timeout", phase = "tls" }, api:get "/tls") end
      rest(api)
      fails({ kind = "timeout", phase = "tls" }, api:get "/tls")
      send "CONT"
      api:update { timeouts = { tls = 5 } }
      rest(api)
      for _ = 1, 2 do assert.truthy(assert(api:get "/tls").body:find " r ") end
      assert.equal("open half_open open half_open closed", told())
      assert.equal(2, api:stats().resumed)
      assert.equal(1, api:stats().handshakes)
    end)
  end)

  -- Use --------------------------------------------------------------------------------------------

  describe("a connection", function()
    local nginx, faultd, front, echo

    lazy_setup(function()
      nginx, faultd = servers.nginx(), servers.faultd()
      front = servers.tls_front(faultd.http)
      echo = servers.tls_front(faultd.raw)
    end)
    lazy_teardown(function()
      echo:stop()
      front:stop()
      faultd:stop()
      nginx:stop()
    end)
    before_each(function() faultd:ask "zero" end)

    it("is pooled and used again", function()
      local api = upstream(nginx.tls)
      for i = 1, 5 do
        local res = assert(api:get "/hello")
        assert.equal(tostring(i), res.headers["x-request"])
        assert.equal(i > 1, res.reused)
      end
      local stats = api:stats()
      assert.equal(1, stats.created)
      assert.equal(4, stats.reused)
    end)

    it("is one of eight for a hundred requests at once", function()
      local api = upstream(nginx.tls, { limits = { per_peer = 8 } })
      local calls = {}
      for i = 1, 100 do calls[i] = function() return api:get "/1k" end end
      for _, outcome in ipairs(hawser.all(calls)) do assert.equal(1024, #assert(outcome[2], outcome[3]).body) end
      assert.equal(8, api:stats().created)
    end)

    it("carries 10 MB each way intact", function()
      local api = upstream(nginx.tls)
      local piece = {}
      for i = 1, 16384 do piece[i] = ("%07d\n"):format(i) end
      local data = table.concat(piece):rep(80)
      assert.equal(10 * 2 ^ 20, #data)
      assert.equal(201, assert(api:put("/upload/big", data)).status)
      assert.is_true(assert(api:get "/upload/big").body == data)
      -- The same in pieces, at the pace of the two.
      hawser.run(function()
        local source = assert(api:get("/upload/big", { stream = true }))
        assert.equal(201, assert(api:put("/upload/copy", function() return source:read() end)).status)
      end)
      assert.is_true(assert(api:get "/upload/copy").body == data)
      assert.equal(204, assert(api:delete "/upload/big").status)
      assert.equal(204, assert(api:delete "/upload/copy").status)
    end)

    it("that the server closes while idle is noticed", function()
      local api = upstream(front.port)
      assert(api:get "/idle/50")
      local patience = 2000
      while api:stats().open > 0 and patience > 0 do
        hawser.sleep(0.005)
        patience = patience - 1
      end
      assert.equal(1, ledger.closed(api:stats(), "peer"))
      assert.equal(1, api:stats().handshakes)
      assert.equal("ok", assert(api:get "/ok").body)
    end)

    it("that turns out dead gives way to a fresh one for what may go twice", function()
      for _, how in ipairs { "fin", "rst" } do
        local api = upstream(front.port)
        assert(api:get("/stale/" .. how))
        assert.equal("ok", assert(api:get("/ok?key=get" .. how)).body)
        assert.equal(1, #events_of "stale_reuse")
        assert.equal(1, api:stats().replayed)
        assert(api:get("/stale/" .. how))
        fails({ kind = "reset", sent = true }, api:post("/sink?key=post" .. how, "x"))
        assert.equal(1, faultd:ask("seen/POST/post" .. how))
        assert.equal(1, api:stats().replayed)
        events = {}
      end
    end)

    it("breaks with its server", function()
      local api = upstream(front.port)
      for path, phase in pairs { ["/fin/now"] = "headers", ["/fin/head"] = "headers", ["/fin/body"] = "body",
        ["/fin/chunk"] = "body", ["/rst/now"] = "headers", ["/rst/head"] = "headers", ["/rst/body"] = "body" } do
        fails({ kind = "reset", phase = phase, sent = true }, api:get(path))
      end
      fails({ kind = "timeout", phase = "headers" }, api:get("/never", { timeout = ENOUGH }))
      fails({ kind = "timeout", phase = "body" }, api:get("/stall/body", { timeout = ENOUGH }))
      assert.equal("ok", assert(api:get "/ok").body)
    end)

    it("leases", function()
      local raw = upstream(echo.port, nil, "tls")
      local ids = {}
      for i = 1, 3 do
        raw:with(function(conn)
          assert(conn:write "+id\r\nhello\r\n")
          ids[i] = assert(conn:read "line")
          assert.equal("hello", conn:read "line")
        end)
      end
      assert.equal(ids[1], ids[3])
      assert.equal(1, raw:stats().created)
      raw:with(function(conn)
        assert(conn:write "+bytes 1000000\r\n")
        assert.equal(("x"):rep(1000000), conn:read(1000000))
        assert(conn:write "last\r\n")
        assert(conn:finish())
        assert.equal("last\r\nbye\r\n", conn:read "all")
      end)
    end)

    it("is set up once over TLS", function()
      local raw = upstream(echo.port, {
        setup = function(conn) return conn:write "+auth secret\r\n" and conn:read "line" == "+OK" end,
      }, "tls")
      for _ = 1, 2 do
        raw:with(function(conn)
          assert(conn:write "+count\r\n")
          assert.truthy(conn:read "line")
        end)
      end
      assert.equal(1, raw:stats().created)
    end)

    it("whose server asks to renegotiate does not, and nothing but the connection is lost", function()
      local server = servers.openssl("good", nil, ONLY_1_2)
      local raw = upstream(server.port, nil, "tls")
      for _ = 1, 2 do
        local conn = assert(raw:acquire())
        server:type "hello"
        assert.equal("hello", conn:read "line")
        server:type "r"
        -- OpenSSL takes our refusal for a failure of its own, and ends it.
        fails({ kind = "tls", code = "ALERT" }, conn:read "line")
        conn:release()
      end
      assert.equal(2, raw:stats().created)
      assert.equal(2, raw:stats().closed.failed)
      server:stop()
    end)

    it("that was made under other options is not used again", function()
      local api = upstream(nginx.tls, { tls = { verify = false } })
      assert(api:get "/hello")
      assert.equal(1, api:stats().idle)
      api:update { tls = { ca = servers.certificate "stranger.pem", verify = true } }
      fails({ kind = "tls", code = "CERT_UNTRUSTED" }, api:get "/hello")
      assert.equal(0, api:stats().open)
    end)
  end)
end)
