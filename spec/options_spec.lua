--- What may be passed to hawser.new, m:upstream, api:update and requests; and how anything else is refused: at the
-- caller's line, with the name, the value and what is allowed.
local hawser = require "hawser"
local options = require "hawser.options"
local raises = require "spec.support.raises"

local nan, inf = 0 / 0, 1 / 0

-- Each: a value, and a pattern of the message; nothing but a pattern for a value that is nil.
local WHOLE = "; allowed: a whole number, "
local SPAN = "; allowed: a number of seconds above 0, at most 1e9, or false for no limit"

local limits = { connections = 1, per_peer = 1, dials = 1, pending = 0, header = 256, body = 1, buffer = 4096 }
local timeouts = { "resolve", "connect", "tls", "queue", "request", "attempt", "read", "idle", "lifetime", "drain" }

-- Likewise of the fields of retry and breaker: what is taken, what is not, and what is said then.
local POSITIVE = "; allowed: a number of seconds above 0, at most 1e9$"
local NO_SPANS = { 0, -1, nan, inf, 1e300, "1", {}, true }
local NO_RATES = { 0, -.1, 1.1, nan, inf, "1", {}, true }
local function no_wholes(least, most) return { least - 1, most + 1, least + .5, nan, inf, 1e300, "1", {}, true } end

local fields = {
  ["retry.attempts"] = { { 1, 10 }, no_wholes(1, 10), WHOLE .. "1 to 10$" },
  ["retry.on"] = {
    { {}, { "resolve", "refused", "connect", "timeout", "tls", "reset", "overload" }, { 400, 503, 599 },
      { "reset", "reset", 500, 500 } },
    { 503, "reset", true, { reset = true }, { 503, on = 1 } }, "; allowed: a list of kinds and statuses$",
  },
  ["retry.backoff"] = { { {} }, { 1, "full", true, false }, "; allowed: a table$" },
  ["retry.backoff.base"] = { { 1e-6, .5, 2 }, NO_SPANS, POSITIVE },
  ["retry.backoff.max"] = { { .05, 3600 }, NO_SPANS, POSITIVE },
  ["retry.backoff.jitter"] = { { "full", "equal", "decorrelated" }, { "none", 1, false, {} },
    '; allowed: "full", "equal", "decorrelated"$' },
  ["retry.budget"] = { { false, {} }, { 1, "x", true }, "; allowed: a table, or false for none$" },
  ["retry.budget.share"] = { { 0, .5, 1 }, { -.1, 1.1, nan, inf, "1", false }, "; allowed: a number, 0 to 1$" },
  ["retry.budget.floor"] = { { 0, 1000000 }, no_wholes(0, 1000000), WHOLE .. "0 to 1000000$" },
  ["breaker.consecutive"] = { { 1, 1000000, false }, { 0, -1, 1.5, nan, 1e300 }, WHOLE .. "1 to 1000000$" },
  ["breaker.failure_rate"] = { { .001, 1, false }, { 0, -.1, 1.1, nan, inf },
    "; allowed: a number above 0, at most 1$" },
  ["breaker.min_calls"] = { { 1, 1000000 }, no_wholes(1, 1000000), WHOLE .. "1 to 1000000$" },
  ["breaker.window"] = { { .001, 86400 }, NO_SPANS, POSITIVE },
  ["breaker.slow_after"] = { { .001, 1e9, false }, NO_SPANS, SPAN .. "$" },
  ["breaker.slow_rate"] = { { .001, 1 }, NO_RATES, "; allowed: a number above 0, at most 1$" },
  ["breaker.open_for"] = { { .001, 60 }, NO_SPANS, POSITIVE },
  ["breaker.open_max"] = { { 5, 1e9 }, NO_SPANS, POSITIVE },
  ["breaker.probes"] = { { 1, 1000 }, no_wholes(1, 1000), WHOLE .. "1 to 1000$" },
}

-- { retry = { backoff = { base = value } } } for "retry.backoff.base".
local function nested(name, value)
  local first, rest = name:match "^([^.]+)%.(.+)$"
  return { [first or name] = rest and nested(rest, value) or value }
end

-- What the core knows to be wrong, and says.
local CORES = {
  { { retry = { on = { "gremlins" } } }, '^retry.on: resolve, refused, connect, timeout, tls, reset or overload, '
    .. 'not "gremlins"$' },
  { { retry = { on = { "reset", "protocol" } } }, 'not "protocol"$' },
  { { retry = { on = { "" } } }, 'not ""$' },
  { { retry = { backoff = { base = 3 } } }, "^retry.backoff.max: from 3 to 3600 s, not 2$" },
  { { retry = { backoff = { max = .01 } } }, "^retry.backoff.max: from 0.05 to 3600 s, not 0.01$" },
  { { retry = { backoff = { max = 3601 } } }, "^retry.backoff.max: from 0.05 to 3600 s, not 3601$" },
  { { breaker = { window = 86401 } }, "^breaker.window: from 0.001 to 86400 s$" },
  { { breaker = { window = .0009 } }, "^breaker.window: from 0.001 to 86400 s$" },
  { { breaker = { open_for = .0009 } }, "^breaker.open_for: at least 0.001 s$" },
  { { breaker = { open_for = 61 } }, "^breaker.open_max: not below open_for$" },
}

-- What both hawser.new and m:upstream take, for `make`, which takes a table of options.
local function common(make)
  for name, least in pairs(limits) do
    it("takes limits." .. name, function()
      make { limits = { [name] = least } }
      make { limits = { [name] = 10000 } }
      for _, value in ipairs { least - 1, -1, 0.5, nan, inf, -inf, 1e300, "10", {}, false } do
        raises("^limits%." .. name .. " is .*" .. WHOLE, function() make { limits = { [name] = value } } end)
      end
    end)
  end

  for _, name in ipairs(timeouts) do
    it("takes timeouts." .. name, function()
      make { timeouts = { [name] = .001 } }
      make { timeouts = { [name] = 1e9 } }
      make { timeouts = { [name] = false } }
      for _, value in ipairs { 0, -1, nan, inf, -inf, 1e300, "1", {}, true } do
        raises("^timeouts%." .. name .. " is .*" .. SPAN, function() make { timeouts = { [name] = value } } end)
      end
    end)
  end

  it("takes reuse", function()
    for _, value in ipairs { "safe", "always", "never" } do make { reuse = value } end
    raises('^reuse is "sometimes"; allowed: "safe", "always", "never"$', function() make { reuse = "sometimes" } end)
  end)

  for name, cases in pairs(fields) do
    it("takes " .. name, function()
      for _, value in ipairs(cases[1]) do make(nested(name, value)) end
      for _, value in ipairs(cases[2]) do
        raises("^" .. name .. " is .*" .. cases[3], function() make(nested(name, value)) end)
      end
    end)
  end

  it("takes retry and breaker, or none", function()
    for _, name in ipairs { "retry", "breaker" } do
      make { [name] = false }
      make { [name] = {} }
      for _, value in ipairs { true, 3 } do
        raises("^" .. name .. " is .*; allowed: a ", function() make { [name] = value } end)
      end
    end
    raises("^breaker.consecutive is true; allowed: a number, or false for none$",
      function() make { breaker = { consecutive = true } } end)
    for _, value in ipairs { 399, 600, 503.5, nan, inf, true, {} } do
      raises("^retry.on%[2%] is .*; allowed: a kind, or a status, 400 to 599$",
        function() make { retry = { on = { "reset", value } } } end)
    end
    for _, case in ipairs(CORES) do raises(case[2], function() make(case[1]) end) end
  end)

  it("takes dns", function()
    make { dns = {} }
    make { dns = { servers = { "127.0.0.1", "127.0.0.1:", "127.0.0.1:53", "::1", "[::1]:53" } } }
    make { dns = { search = {}, ttl_min = .001, ttl_max = 1e9 } }
    make { dns = { search = { "example.org", "a_b.test." } } }
    for _, value in ipairs { 0, -1, nan, inf, 1e300, "1", {}, true, false } do
      raises("^dns%.ttl_min is .*; allowed: a number of seconds", function() make { dns = { ttl_min = value } } end)
      raises("^dns%.ttl_max is .*; allowed: a number of seconds", function() make { dns = { ttl_max = value } } end)
    end
    for _, server in ipairs { "a.b", ":53", "127.0.0.1:0", "127.0.0.1:65536", "[::1",
      "[::1]53", "::1:x", "10.1" } do
      raises("dns.servers: .* is no address", function() make { dns = { servers = { server } } } end)
    end
    for _, domain in ipairs { ".", "a..b", "a b", "10.0.0", ("x"):rep(64) } do
      raises("dns.search: .* is no domain", function() make { dns = { search = { domain } } } end)
    end
    for _, value in ipairs { 1, "127.0.0.1", true, { a = "127.0.0.1" } } do
      raises("^dns%.servers is .*; allowed: a list of 1 to 16 addresses",
        function() make { dns = { servers = value } } end)
      raises("^dns%.search is .*; allowed: a list of at most 16", function() make { dns = { search = value } } end)
    end
    local many = {}
    for i = 1, 17 do many[i] = "127.0.0." .. i end
    raises("^dns%.servers is ", function() make { dns = { servers = many } } end)
    raises("dns: ttl_max is less than ttl_min", function() make { dns = { ttl_min = 2, ttl_max = 1 } } end)
  end)

  it("refuses names it does not know, with the nearest", function()
    raises('^unknown option "limit"; did you mean "limits"%?$', function() make { limit = {} } end)
    raises('^unknown field of limits "conections"; did you mean "connections"%?$',
      function() make { limits = { conections = 1 } } end)
    raises('^unknown field of retry "attemps"; did you mean "attempts"%?$',
      function() make { retry = { attemps = 1 } } end)
    raises('^unknown field of retry.backoff "whatever"; known: base, jitter, max$',
      function() make { retry = { backoff = { whatever = 1 } } } end)
    raises('^unknown field of retry.budget "flor"; did you mean "floor"%?$',
      function() make { retry = { budget = { flor = 1 } } } end)
    raises('^unknown field of breaker "probe"; did you mean "probes"%?$',
      function() make { breaker = { probe = 1 } } end)
    raises('^unknown field of timeouts "whatever"; '
      .. "known: attempt, connect, drain, idle, lifetime, queue, read, request, resolve, tls$",
      function() make { timeouts = { whatever = 1 } } end)
    raises("^unknown option 1; known: ", function() make { "a value" } end)
    raises("^limits is 42; allowed: a table$", function() make { limits = 42 } end)
  end)

  it("refuses what later versions may bring", function()
    for _, name in ipairs { "hedge", "outlier", "health", "warm",
      "affinity", "discover", "router", "scorer", "admission", "limiter", "shared" } do
      raises('^unknown option "' .. name, function() make { [name] = {} } end)
    end
  end)
end

describe("hawser.new", function()
  local function make(given)
    local m = hawser.new(given)
    m:close()
  end

  common(function(given) make(given) end)

  it("takes nothing, a number of connections, or a table", function()
    make()
    make(100)
    make { max_connections = 1 }
    local m = hawser.new(7)
    assert.equal(7, m:stats().max_connections)
    m:close()
    for _, value in ipairs { 0, -1, 0.5, nan, inf, 1e300, "100", true, print } do
      raises("^max_connections is .*" .. WHOLE, function() hawser.new(value) end)
      raises("^max_connections is .*" .. WHOLE, function() hawser.new { max_connections = value } end)
    end
  end)

  it("takes no retry and no breaker that are scripted", function()
    for _, name in ipairs { "retry", "breaker" } do
      for _, value in ipairs { true, 3, "never", print } do
        raises("^" .. name .. " is .*; allowed: a table, or false for none$", function() make { [name] = value } end)
      end
    end
  end)

  it("takes metrics", function()
    make { metrics = true }
    make { metrics = false }
    raises("^metrics is a table; allowed: true or false$", function() make { metrics = {} } end)
  end)

  it("takes pool_timeout, seed and log", function()
    make { pool_timeout = 10, seed = 42, log = print }
    make { pool_timeout = false }
    raises("^pool_timeout is 0" .. SPAN, function() hawser.new { pool_timeout = 0 } end)
    raises("^seed is %-1" .. WHOLE, function() hawser.new { seed = -1 } end)
    raises("^log is true; allowed: a function%(level, message, fields%)$", function() hawser.new { log = true } end)
  end)
end)

describe("m:upstream", function()
  local m, count
  before_each(function() m, count = hawser.new(), 0 end)
  after_each(function() m:close() end)

  local function make(given)
    count = count + 1
    return m:upstream("upstream " .. count, given)
  end

  common(function(given) make(given) end)

  it("needs a name that is not taken", function()
    local api = m:upstream("api", { peers = {} })
    assert.equal(api, m:upstream "api")
    assert.is_nil(m:upstream "other")
    raises('"api" is taken', function() m:upstream("api", {}) end)
    raises("^the name of the upstream is missing; allowed: a string", function() m:upstream() end)
    raises("^the name of the upstream is 42; allowed", function() m:upstream(42, {}) end)
    raises(nil, function() m:upstream("", {}) end)
    raises(nil, function() m:upstream(("x"):rep(256), {}) end)
    raises(nil, function() m:upstream("with\0zero", {}) end)
    raises("^the table of options is true; allowed: a table", function() m:upstream("x", true) end)
  end)

  it("takes peers as URLs and as tables", function()
    local api = make { peers = {
      "http://127.0.0.1",
      { "http://127.0.0.1:81", id = "second", weight = 2.5, locality = "here", priority = 1, tags = { "a" } },
      { "http://name:80", address = "127.0.0.1:82" },
      { "http://[::1]:83" },
      "http://Name.Example:84",
      { "http://127.0.0.1:85", address = "other.example:86" },
    } }
    local peers = api:peers()
    assert.equal(6, #peers)
    assert.same({ "127.0.0.1:80", "second", "name:80", "[::1]:83", "name.example:84", "127.0.0.1:85" },
      { peers[1].id, peers[2].id, peers[3].id, peers[4].id, peers[5].id, peers[6].id })
    assert.equal("127.0.0.1:82", peers[3].address)
    assert.equal("name.example:84", peers[5].address)
    assert.equal("other.example:86", peers[6].address)
    assert.same({ 2.5, "here", 1, { "a" } },
      { peers[2].weight, peers[2].locality, peers[2].priority, peers[2].tags })
    assert.same({ 1, 0, 0, 0, 0 },
      { peers[1].weight, peers[1].priority, peers[1].in_flight, peers[1].connections, peers[1].idle })
  end)

  it("refuses what is no peer", function()
    raises("^peers is true; allowed: a list of peers", function() make { peers = true } end)
    for _, value in ipairs { { url = "x" }, { [0] = "http://a.test" }, { "http://a.test", [3] = "http://b.test" },
      { "http://a.test", [1.5] = "http://b.test" } } do
      raises("^peers is .*without names and gaps$", function() make { peers = value } end)
    end
    raises("^peers%[2%] is 42; allowed: a URL, or a table", function() make { peers = { "http://127.0.0.1", 42 } } end)
    raises("^peers%[1%]%[1%] is missing", function() make { peers = { {} } } end)
    raises("^peers%[1%]%.weight is 0; allowed: a number above 0",
      function() make { peers = { { "http://127.0.0.1", weight = 0 } } } end)
    raises("^peers%[1%]%.weight is .*nan", function() make { peers = { { "http://127.0.0.1", weight = nan } } } end)
    raises("^peers%[1%]%.priority is %-1", function() make { peers = { { "http://127.0.0.1", priority = -1 } } } end)
    raises('^unknown field of peers%[1%] "wieght"; did you mean "weight"%?',
      function() make { peers = { { "http://127.0.0.1", wieght = 1 } } } end)
    raises(nil, function() make { peers = { "gopher://127.0.0.1" } } end)
    raises(nil, function() make { peers = { "http://127.0.0.1:99999" } } end)
    raises(nil, function() make { peers = { "http://127.0.0.1\r\n" } } end)
    raises(nil, function() make { peers = { "127.0.0.1:80" } } end)
    raises(nil, function() make { peers = { "http://127.0.0.1", "http://127.0.0.1:80" } } end)
    raises(nil, function() make { peers = { { "http://127.0.0.1", id = "a/b" } } } end)
    raises("speaks another protocol than those before it",
      function() make { peers = { "h2c://127.0.0.1", "tcp://127.0.0.1:1" } } end)
  end)

  it("takes balancer", function()
    for _, name in ipairs { "least_request", "round_robin", "weighted", "random", "peak_ewma" } do
      make { balancer = name }
    end
    raises('^unknown balancer "nearest"; known: least_request, ', function() make { balancer = "nearest" } end)
  end)

  it("takes protocol and setup", function()
    make { peers = { "unix:/nowhere" }, protocol = "http1" }
    make { peers = { "tcp://127.0.0.1:1" }, setup = print }
    make { peers = { "tcp://127.0.0.1:1" }, setup = false }
    make { peers = { "h2c://127.0.0.1", "h2c://127.0.0.1:81", "h2c://[::1]" } }
    make { peers = { "http://127.0.0.1" }, protocol = "h2c" }
    make { peers = { "https://127.0.0.1" }, protocol = "h2" }
    make { peers = { "unix:/nowhere" }, protocol = "h2c" }
    for _, url in ipairs { "tcp://127.0.0.1:1", "tls://127.0.0.1:1", "unix:/nowhere" } do
      make { peers = { url }, protocol = "yamux" }
    end
    raises('^protocol is "h3"; allowed: "auto", "http1", "h2", "h2c", "raw", "yamux"$',
      function() make { protocol = "h3" } end)
    raises("^setup is true; allowed: a function%(conn%)", function() make { setup = true } end)
  end)
end)

describe("api:update", function()
  local m, api
  before_each(function()
    m = hawser.new()
    api = m:upstream("api", { peers = { { "http://127.0.0.1:1", tags = { "first" } } }, limits = { connections = 5 } })
  end)
  after_each(function() m:close() end)

  common(function(given) api:update(given) end)

  it("changes what is given and leaves the rest", function()
    assert.is_true(api:update { timeouts = { connect = 1 } })
    assert.same({ "first" }, api:peers()[1].tags)
    assert.is_true(api:update { peers = { "http://127.0.0.1:2", { "http://127.0.0.1:1", tags = { "second" } } } })
    assert.equal(2, #api:peers())
    assert.is_nil(api:peers()[1].tags)
    assert.same({ "second" }, api:peers()[2].tags)
  end)

  it("does not change the protocol", function()
    raises('^unknown option "protocol"', function() api:update { protocol = "raw" } end)
    raises("^the table of options is missing; allowed: a table", function() api:update() end)
  end)
end)

describe("a request", function()
  local m, api
  before_each(function()
    m = hawser.new()
    api = m:upstream("api", { peers = { "http://127.0.0.1:1" } })
  end)
  after_each(function() m:close() end)

  local function get(given) return api:get("/", given) end

  it("refuses options that have the wrong type or value", function()
    local cases = {
      { "timeout", "a number of seconds above 0", { 0, -1, nan, inf, -inf, 1e300, "1", {}, true } },
      { "stream", "true or false", { 1, "yes", {} } },
      { "idempotent", "true or false", { 1, "yes", {} } },
      { "retry", "a table, or false for none", { 3, "never", true, print } },
      { "max_body", "a whole number", { 0, -1, .5, nan, inf, 1e300, "1", true } },
      { "redirects", "a whole number, 0", { -1, .5, nan, 101, "1", true } },
      { "headers", "a table", { 1, "accept: x", true, print } },
      { "body", "a string, a list of strings, or a function", { 1, true } },
      { "query", "a table, or a string", { 1, true, print } },
    }
    for _, case in ipairs(cases) do
      local name, allowed, values = case[1], case[2], case[3]
      for _, value in ipairs(values) do
        local message = raises(nil, function() api:get("/", { [name] = value }) end)
        assert.is_truthy(message:find("allowed: " .. allowed, 1, true), message)
        raises(nil, function() api:request { path = "/", [name] = value } end)
        raises(nil, function() hawser.get("http://127.0.0.1:1/", { [name] = value }) end)
      end
    end
  end)

  it("refuses unknown options with the nearest", function()
    raises('^unknown option "header"; did you mean "headers"%?$', function() api:get("/", { header = {} }) end)
    raises('^unknown option "method"; known: ', function() api:get("/", { method = "GET" }) end)
    raises("^unknown option 1; known: ", function() api:get("/", { "x" }) end)
    for _, name in ipairs { "key", "hedge" } do
      raises('^unknown option "' .. name, function() api:get("/", { [name] = true }) end)
    end
  end)

  it("refuses headers that cannot be sent", function()
    raises("^the header accept is true; allowed: a string, a number, or a list",
      function() api:get("/", { headers = { accept = true } }) end)
    raises("^the name of a header is 1.5; allowed: a string",
      function() api:get("/", { headers = { [1.5] = "x" } }) end)
    raises("^an item of the list of headers is .*allowed: { name, value }",
      function() api:get("/", { headers = { "accept" } }) end)
    for _, value in ipairs { "a\r\nb: c", "a\nb", "a\rb", "a\0b", "\127" } do
      raises("header \"x\": the value", function() api:get("/", { headers = { x = value } }) end)
      raises("header \"x\": the value", function() api:get("/", { headers = { { "x", value } } }) end)
      raises("header \"x\": the value", function() api:get("/", { headers = { x = { "fine", value } } }) end)
    end
    for _, name in ipairs { "", "a b", "a:b", "a\r\n", "ü" } do
      raises("the name is no", function() api:get("/", { headers = { [name] = "x" } }) end)
    end
    for _, name in ipairs { "Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "expect" } do
      raises("hawser itself", function() api:get("/", { headers = { [name] = "1" } }) end)
    end
  end)

  it("refuses bodies that are none", function()
    raises("^the body is 1; allowed: ", function() api:post("/", 1) end)
    raises("^item 2 of the body is a table; allowed: a string$", function() api:post("/", { "a", {} }) end)
    raises("^the body is given twice", function() api:post("/", "a", { body = "b" }) end)
    raises("^the body is given twice", function() api:post("/", "a", { json = {} }) end)
    raises("^the body is given twice", function() api:get("/", { body = "a", json = {} }) end)
    raises("^json: ", function() api:post("/", nil, { json = print }) end)
  end)

  it("refuses what is no path, table of options, or callback", function()
    for _, verb in ipairs { "get", "head", "delete", "options", "post", "put", "patch" } do
      raises("^the path or URL is missing; allowed: a string", function() api[verb](api) end)
      raises("^the path or URL is 42; allowed: a string", function() m[verb](m, 42) end)
      raises("a method of hawser.Upstream was called on hawser.Manager", function() api[verb](m, "/") end)
      raises("a method of hawser.Upstream was called on string", function() api[verb] "/" end)
    end
    raises("^the table of options is 1; allowed: a table, a callback in its place, or nothing",
      function() api:get("/", 1) end)
    raises("^the callback is 1; allowed: a function, or nothing", function() api:get("/", nil, 1) end)
    raises("^the callback is 1; allowed: a function, or nothing", function() api:post("/", nil, {}, 1) end)
    raises("^the request is missing; allowed: a table", function() api:request() end)
    raises("^the path or URL is missing; allowed: a string", function() api:request {} end)
    raises("^method is true; allowed: a string", function() api:request { path = "/", method = true } end)
  end)

  it("that cannot be sent as it is fails with 'invalid'", function()
    local function fails(kind, res, err)
      assert.is_nil(res)
      assert.equal(kind, err.kind, tostring(err))
    end
    for _, path in ipairs { "", "relative", "/a b", "/a\r\nHost: x", "/\0", "http://127.0.0.1/" } do
      fails("invalid", api:get(path))
    end
    for _, url in ipairs { "", "/path", "http://", "http:///x", "http://127.0.0.1:x/", "http://127.0.0.1:0/",
      "http://a b/", "http://user@127.0.0.1/", "http://127.0.0.1/ x" } do
      fails("invalid", m:get(url))
    end
    fails("invalid", api:request { method = "A B", path = "/" })
    fails("invalid", m:get "ws://127.0.0.1/")
    fails("invalid", m:get "http://10.0.0/")
    fails("invalid", m:get "gopher://127.0.0.1/")
    fails("unsupported", api:request { method = "CONNECT", path = "/" })
  end)

  it("walks its options once and leaves them alone", function()
    local given = { headers = { accept = "x" }, query = { a = 1 }, timeout = 1, redirects = 2 }
    get(given)
    assert.same({ headers = { accept = "x" }, query = { a = 1 }, timeout = 1, redirects = 2 }, given)
  end)
end)

describe("options.unknown", function()
  local known = { headers = true, timeout = true, stream = true }

  it("finds what was meant", function()
    assert.equal('unknown option "hedaers"; did you mean "headers"?', options.unknown("option", "hedaers", known))
    assert.equal('unknown option "timeouts"; did you mean "timeout"?', options.unknown("option", "timeouts", known))
    assert.equal('unknown option "xyz"; known: headers, stream, timeout', options.unknown("option", "xyz", known))
  end)

  it("stands names of any length and kind", function()
    assert.is_truthy(options.unknown("option", ("x"):rep(100000), known):find "known: headers")
    assert.is_truthy(options.unknown("option", "", known):find "known: headers")
    assert.is_truthy(options.unknown("option", "a\0b", known):find "known: headers")
    assert.is_truthy(options.unknown("option", {}, known):find "^unknown option a table; known: headers")
    assert.is_truthy(options.unknown("option", true, known):find "^unknown option true; known: headers")
  end)
end)
