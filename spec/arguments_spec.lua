--- A mistake of the caller raises where it was made, and says what was wrong with what.
local hawser = require "hawser"

local NO_NUMBER = 0 / 0

describe("a wrong argument", function()
  local m, api, raw

  before_each(function()
    m = hawser.new { log = function() end }
    api = m:upstream("api", { peers = { "http://127.0.0.1:1" } })
    raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:1" } })
  end)

  after_each(function() m:close() end)

  local function peers(...) return { peers = { ... } } end

  -- What is called, and what the message has to say, word for word.
  local cases = {
    ["of hawser.new"] = {
      { function() hawser.new(true) end, "max_connections is true; allowed: a whole number" },
      { function() hawser.new(0) end, "max_connections is 0" },
      { function() hawser.new { max_connections = 1.5 } end, "max_connections is 1.5" },
      { function() hawser.new { max_conections = 5 } end, 'did you mean "max_connections"?' },
      { function() hawser.new { limits = { per_per = 1 } } end, 'limits "per_per"; did you mean "per_peer"?' },
      { function() hawser.new { limits = { per_peer = 0 } } end, "limits.per_peer is 0" },
      { function() hawser.new { timeouts = { request = -1 } } end, "timeouts.request is -1" },
      { function() hawser.new { timeouts = { request = NO_NUMBER } } end, "timeouts.request is " },
      { function() hawser.new { timeouts = { request = "1" } } end, 'timeouts.request is "1"' },
      { function() hawser.new { pool_timeout = {} } end, "pool_timeout is a table" },
      { function() hawser.new { log = 5 } end, "log is 5; allowed: a function" },
      { function() hawser.new { seed = "x" } end, 'seed is "x"' },
      { function() hawser.new { timeouts = { resolve = 0 } } end, "timeouts.resolve is 0" },
    },
    ["of how names are looked up"] = {
      { function() hawser.new { dns = true } end, "dns is true; allowed: a table" },
      { function() hawser.new { dns = { server = {} } } end, 'field of dns "server"; did you mean "servers"?' },
      { function() hawser.new { dns = { servers = "127.0.0.1" } } end, 'dns.servers is "127.0.0.1"; allowed: a list' },
      { function() hawser.new { dns = { servers = {} } } end, "dns.servers is a table; allowed: a list of 1 to 16" },
      { function() hawser.new { dns = { servers = { 53 } } } end, "dns.servers[1] is 53" },
      { function() hawser.new { dns = { servers = { "a.b" } } } end, "dns.servers: a.b is no address" },
      { function() hawser.new { dns = { servers = { "10.0.0.1:0" } } } end, "dns.servers: 10.0.0.1:0 is no address" },
      { function() hawser.new { dns = { search = { "a..b" } } } end, "dns.search: a..b is no domain" },
      { function() hawser.new { dns = { ttl_min = 0 } } end, "dns.ttl_min is 0" },
      { function() hawser.new { dns = { ttl_max = "1" } } end, 'dns.ttl_max is "1"' },
      { function() hawser.new { dns = { ttl_min = 9, ttl_max = 8 } } end, "dns: ttl_max is less than ttl_min" },
      { function() m:upstream("new", { peers = {}, dns = { servers = { "" } } }) end, 'dns.servers[1] is ""' },
      { function() m:upstream("new", { peers = {}, dns = { servers = { "x" } } }) end, "dns.servers: x is no address" },
      { function() api:update { dns = { ttl_min = 301 } } end, "dns: ttl_max is less than ttl_min" },
    },
    ["that is not built yet"] = {
      { function() hawser.new { shared = "x" } end, 'unknown option "shared"' },
      { function() m:upstream("new", { peers = {}, hedge = {} }) end, 'unknown option "hedge"' },
      { function() api:get("/", { hedge = 1 }) end, 'unknown option "hedge"' },
      { function() m:on("shed", print) end, 'unknown event "shed"' },
    },
    ["of connections with many streams"] = {
      { function() hawser.new { window_memory = 1 } end, "window_memory is 1; allowed: a whole number, 65536 to" },
      { function() hawser.new { limits = { streams = 0 } } end, "limits.streams is 0" },
      { function() hawser.new { h2 = {} } end, 'unknown option "h2"' },
      { function() m:upstream("new", { peers = {}, h2 = true }) end, "h2 is true; allowed: a table" },
      { function() m:upstream("new", { peers = {}, h2 = { window = 65534 } }) end, "h2.window is 65534" },
      { function() m:upstream("new", { peers = {}, h2 = { ping_idle = 0 } }) end, "h2.ping_idle is 0" },
      { function() m:upstream("new", { peers = {}, h2 = { ping_timeout = false } }) end, "h2.ping_timeout is false" },
      { function() m:upstream("new", { peers = {}, h2 = { pings = 1 } }) end, 'unknown field of h2 "pings"' },
      { function() api:update { h2 = { window_max = 2 ^ 31 } } end, "h2.window_max is " },
      { function() m:upstream("new", { peers = { "http://127.0.0.1" }, protocol = "h2" }) end,
        'protocol "h2": the peer 127.0.0.1:80 is not encrypted; without TLS the protocol is h2c' },
      { function() m:upstream("new", { peers = { "https://127.0.0.1" }, protocol = "h2c" }) end,
        'protocol "h2c": the peer 127.0.0.1:443 is encrypted; over TLS the protocol is h2' },
      { function() m:upstream("new", { peers = { "h2c://127.0.0.1" }, protocol = "http1" }) end, "is h2c" },
      { function() m:upstream("new", { peers = { "http://127.0.0.1" }, protocol = "yamux" }) end, "is http" },
      { function() api:get("/", { priority = 8 }) end, "priority is 8; allowed: a whole number, 0 to 7" },
      { function() api:open_stream(5) end, "the table of options is 5" },
      { function() api:open_stream { paht = "/" } end, 'did you mean "path"?' },
      { function() api:open_stream({}, 5) end, "the callback is 5" },
      { function() m:open_stream() end, "the peer is missing" },
      { function() m:open_stream("api/x", "high") end, 'the priority is "high"' },
      { function() m:send_stream_data("x", "data") end, 'the stream\'s id is "x"' },
    },
    ["of retries and breakers"] = {
      { function() hawser.new { retry = true } end, "retry is true; allowed: a table, or false for none" },
      { function() hawser.new { retry = { on = { "gremlins" } } } end, "retry.on: resolve, refused, connect" },
      { function() hawser.new { retry = { backoff = { base = 3 } } } end, "retry.backoff.max: from 3 to 3600 s" },
      { function() hawser.new { breaker = { open_for = 61 } } end, "breaker.open_max: not below open_for" },
      { function() m:upstream("new", { peers = {}, retry = { on = { 200 } } }) end, "retry.on[1] is 200" },
      { function() m:upstream("new", { peers = {}, breaker = { window = 1e6 } }) end, "breaker.window: from 0.001" },
      { function() api:update { retry = { backoff = { max = .01 } } } end, "retry.backoff.max: from 0.05 to 3600 s" },
      { function() api:update { breaker = { probes = 0 } } end, "breaker.probes is 0" },
      { function() api:get("/", { retry = 3 }) end, "retry is 3; allowed: a table, or false for none" },
      { function() api:get("/", { retry = { attempts = 11 } }) end, "retry.attempts is 11; allowed" },
      { function() api:get("/", { retry = { on = { "closed" } } }) end, 'retry.on: resolve, refused, connect' },
      { function() m:get("http://127.0.0.1", { retry = { backoff = { max = .01 } } }) end, "retry.backoff.max: from" },
      { function() api:get("/", { retry = { tries = 1 } }) end, 'unknown field of retry "tries"' },
    },
    ["of an upstream"] = {
      { function() m:upstream() end, "the name of the upstream is missing" },
      { function() m:upstream(5, {}) end, "the name of the upstream is 5" },
      { function() m:upstream("", peers()) end, "name: 1 to 255 bytes" },
      { function() m:upstream("api", peers()) end, '"api" is taken' },
      { function() m:upstream("new", { peers = "http://127.0.0.1" }) end, "allowed: a list of peers" },
      { function() m:upstream("new", peers(5)) end, "peers[1] is 5" },
      { function() m:upstream("new", peers {}) end, "peers[1][1] is missing" },
      { function() m:upstream("new", peers "ftp://127.0.0.1") end, "a peer is http://host:port" },
      { function() m:upstream("new", peers "http://127.0.0.1:99999") end, "the port is a number from 1 to 65535" },
      { function() m:upstream("new", peers "tcp://127.0.0.1") end, "the port is missing" },
      { function() m:upstream("new", peers "tcp://db.test") end, "the port is missing" },
      { function() m:upstream("new", peers "http://a..b") end, "a..b: neither an address nor a host name" },
      { function() m:upstream("new", peers "http://10.0.0") end, "10.0.0: neither an address nor a host name" },
      { function() m:upstream("new", peers { "http://127.0.0.1", weigth = 1 }) end, 'did you mean "weight"?' },
      { function() m:upstream("new", peers { "http://127.0.0.1", weight = 0 }) end, "peers[1].weight is 0" },
      { function() m:upstream("new", peers { "http://127.0.0.1", id = "a/b" }) end, 'id: has no "/"' },
      { function() m:upstream("new", peers("http://127.0.0.1", "http://127.0.0.1")) end, "two have the id" },
      { function() m:upstream("new", { peers = {}, protocol = "htp1" }) end, 'allowed: "auto", "http1", "h2"' },
      { function() m:upstream("new", { peers = {}, reuse = "sometimes" }) end, 'allowed: "safe", "always", "never"' },
      { function() m:upstream("new", { peers = {}, setup = true }) end, "setup is true; allowed: a function" },
      { function() m:upstream("new", { peers = { "http://127.0.0.1" }, setup = print }) end, "setup" },
      { function() api:update() end, "the table of options is missing" },
      { function() api:update { protocol = "raw" } end, 'unknown option "protocol"' },
      { function() api:ready {} end, "the time to get ready" },
      { function() api:drain "x" end, 'the time to drain is "x"' },
    },
    ["of a request"] = {
      { function() api:get() end, "the path or URL is missing" },
      { function() api:get(5) end, "the path or URL is 5" },
      { function() api:get("/", "x") end, 'the table of options is "x"' },
      { function() api:get("/", {}, "x") end, 'the callback is "x"' },
      { function() api:get("/", { tiemout = 1 }) end, 'did you mean "timeout"?' },
      { function() api:get("/", { timeout = -1 }) end, "timeout is -1" },
      { function() api:get("/", { stream = 1 }) end, "stream is 1; allowed: true or false" },
      { function() api:get("/", { idempotent = "yes" }) end, 'idempotent is "yes"' },
      { function() api:get("/", { max_body = -1 }) end, "max_body is -1; allowed: a whole number" },
      { function() api:get("/", { redirects = "many" }) end, 'redirects is "many"; allowed: a whole number' },
      { function() api:get("/", { query = 5 }) end, "query is " },
      { function() api:get("/", { json = print }) end, "json" },
      { function() api:post("/", 5) end, "the body is 5; allowed: a string, a list of strings, or a function" },
      { function() api:post("/", { "a", {} }) end, "item 2 of the body is " },
      { function() api:post("/", "x", { json = {} }) end, "the body is given twice" },
      { function() api:request() end, "the request is missing" },
      { function() api.get "/" end, "with a colon" },
    },
    ["of a header"] = {
      { function() api:get("/", { headers = "x" }) end, 'headers is "x"' },
      { function() api:get("/", { headers = { ["a b"] = "x" } }) end, 'header "a b": the name is not a token' },
      { function() api:get("/", { headers = { [""] = "x" } }) end, "the name is not a token" },
      { function() api:get("/", { headers = { a = "x\r\nb: y" } }) end, 'header "a": the value holds CR' },
      { function() api:get("/", { headers = { a = "x\nb: y" } }) end, 'header "a": the value holds CR' },
      { function() api:get("/", { headers = { a = "x\0" } }) end, 'header "a": the value holds CR' },
      { function() api:get("/", { headers = { { "a", "x\r" } } }) end, 'header "a": the value holds CR' },
      { function() api:get("/", { headers = { a = { "x", "y\n" } } }) end, 'header "a": the value holds CR' },
      { function() api:get("/", { headers = { a = true } }) end, "the header a is true" },
      { function() api:get("/", { headers = { a = { "b", n = 1 } } }) end,
        'the header a is a table with the key "n"; allowed: a string, a number, or a list of those' },
      { function() api:get("/", { headers = { ["content-length"] = "5" } }) end, "set by hawser itself" },
      { function() api:get("/", { headers = { ["Transfer-Encoding"] = "chunked" } }) end, "set by hawser itself" },
      { function() api:get("/", { headers = { Connection = "close" } }) end, "set by hawser itself" },
    },
    ["of a lease"] = {
      { function() raw:acquire(5) end, "acquire is 5" },
      { function() raw:acquire { tiemout = 1 } end, 'did you mean "timeout"?' },
      { function() raw:with() end, "allowed: a function(conn)" },
      { function() raw:with {} end, "allowed: a function(conn)" },
    },
    ["of an event"] = {
      { function() m:on("conect", print) end, 'unknown event "conect"; did you mean "connect"?' },
      { function() m:on "connect" end, "is missing; allowed: a function" },
      { function() m:off "x" end, 'the id is "x"' },
    },
    ["of a task"] = {
      { function() hawser.run(5) end, "is 5; allowed: a function" },
      { function() hawser.spawn() end, "is missing; allowed: a function" },
      { function() hawser.all(5) end, "allowed: a list of functions" },
      { function() hawser.all { 5 } end, "item 1 of" },
      { function() hawser.sleep() end, "the time to sleep is missing" },
      { function() hawser.sleep(-1) end, "the time to sleep is -1" },
      { function() hawser.sleep(math.huge) end, "the time to sleep is inf" },
    },
  }

  for what, mistakes in pairs(cases) do
    describe(what, function()
      for _, mistake in ipairs(mistakes) do
        local call, said = mistake[1], mistake[2]
        local line = debug.getinfo(call, "S").linedefined
        it(("raises: %s (line %d)"):format(said, line), function()
          local ok, message = pcall(call)
          assert.is_false(ok)
          assert.equal("string", type(message))
          assert.is_truthy(message:find(said, 1, true), message)
          assert.is_truthy(message:find(("arguments_spec.lua:%d: "):format(line), 1, true), message)
          assert.equal(0, api:stats().requests + raw:stats().requests)
        end)
      end
    end)
  end

  describe("that only shows at run time", function()
    local function fails(kind, code, result, err)
      assert.is_nil(result)
      assert.equal(kind, err.kind)
      assert.equal(code, err.code)
      assert.is_false(err.sent)
    end

    it("is returned: a URL may come from anywhere", function()
      fails("invalid", "BAD_URL", m:get "127.0.0.1")
      fails("invalid", "BAD_URL", m:get "http://")
      fails("invalid", "BAD_URL", m:get "http://127.0.0.1:x/")
      fails("invalid", "BAD_URL", m:get "http://user:password@127.0.0.1:1/")
      fails("invalid", "BAD_URL", m:get "http://a..b/")
      fails("invalid", "BAD_URL", m:get "https://-a b/")
      fails("invalid", "BAD_URL", m:get "h2c://-a b/")
      fails("invalid", "BAD_URL", m:get "ws://127.0.0.1/")
    end)

    it("is returned: so may a path", function()
      for _, path in ipairs { "no/slash", "/a b", "/a\r\nb", "/a\0b" } do
        local res, err = api:get(path)
        assert.is_nil(res)
        assert.equal("invalid", err.kind)
      end
    end)

    it("is returned: a lease of an HTTP upstream, a request of a raw one", function()
      assert.equal("unsupported", select(2, api:acquire()).kind)
      assert.equal("unsupported", select(2, raw:get "/").kind)
    end)
  end)
end)
