--- Which HTTP real servers agree to over TLS (ALPN), and what becomes of who wants another.
local hawser = require "hawser"
local h2_servers = require "spec.support.h2_servers"
local ledger = require "spec.support.ledger"
local server = require "spec.support.server"
local servers = require "spec.support.servers"

local ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"

describe("by ALPN", function()
  local running = {}
  local m, api

  lazy_setup(function()
    running.nginx = servers.nginx()
    running.node = h2_servers.node()
    running.silent = servers.openssl("good", { hello = ANSWER }, "-HTTP")
    running.silent_1_2 = servers.openssl("good", { hello = ANSWER }, "-HTTP", "-tls1_2")
    running.old = servers.openssl("good", { hello = ANSWER }, "-HTTP", "-alpn", "http/1.1")
  end)

  lazy_teardown(function()
    for _, one in pairs(running) do one:stop() end
  end)

  before_each(function()
    m = hawser.new { breaker = false, retry = false, tls = { ca = server.certificate "root.pem" } }
  end)

  after_each(function()
    local stats = ledger.settled(api)
    m:close()
    ledger.is_at_rest(stats)
  end)

  local function connect(name, field, options)
    options = options or {}
    options.peers = { "https://127.0.0.1:" .. running[name][field] }
    api = m:upstream("peer", options)
    return api
  end

  -- What is spoken by default, and with protocol = "http1"; with "h2" it is an error unless it is "2".
  local rows = {
    { "nginx with http2", "nginx", "h2", "2", "hello from nginx\n" },
    { "nginx without http2", "nginx", "tls", "1.1", "hello from nginx\n" },
    { "a server that chooses http/1.1", "old", "port", "1.1" },
    { "a server that knows no ALPN", "silent", "port", "1.1" },
    { "a server that knows neither ALPN nor TLS 1.3", "silent_1_2", "port", "1.1" },
  }

  for _, row in ipairs(rows) do
    local title, name, field, version = row[1], row[2], row[3], row[4]

    local function says_hello(expected)
      local res = assert(api:get "/hello")
      assert.equal(expected, res.version)
      assert.equal(row[5] or "hello\n", res.body)
    end

    describe(title, function()
      it("is spoken to in what it agrees to", function()
        connect(name, field)
        says_hello(version)
      end)

      it("is spoken to in HTTP/1.1 where that is all one wants", function()
        connect(name, field, { protocol = "http1" })
        says_hello "1.1"
      end)

      if version == "2" then
        it("is spoken to in HTTP/2 where that is all one wants", function()
          connect(name, field, { protocol = "h2" })
          says_hello "2"
        end)
      else
        it("is no peer where only HTTP/2 is wanted, and that is said clearly", function()
          connect(name, field, { protocol = "h2" })
          for _ = 1, 2 do
            local res, err = api:get "/hello"
            assert.is_nil(res)
            assert.equal("tls", err.kind)
            assert.equal("NO_APPLICATION_PROTOCOL", err.code)
            assert.equal("tls", err.phase)
            assert.is_false(err.sent)
            assert.is_false(err.retryable)
            assert.is_truthy(err.message:find("agrees to no protocol that is wanted", 1, true), err.message)
          end
          assert.equal(0, api:stats().open)
        end)

        it("has no streams that go both ways", function()
          connect(name, field)
          local stream, err = api:open_stream { method = "POST", path = "/" }
          assert.is_nil(stream)
          assert.equal("unsupported", err.kind)
        end)
      end
    end)
  end

  describe("a server that wants HTTP/1.1 of one request", function()
    local WANTED = "/only/http1"

    it("gets it so, and what follows", function()
      connect("node", "tls")
      assert.equal("2", assert(api:get "/ok").version)
      local calls = {}
      for i = 1, 30 do calls[i] = function() return api:get(WANTED) end end
      for _, outcome in ipairs(hawser.all(calls)) do
        local res = assert(outcome[2], tostring(outcome[3]))
        assert.equal("1.1", res.version)
        assert.equal("only", res.body)
        assert.equal(2, res.attempts)
        assert.equal("replayed", res.trace.attempts[1].verdict)
      end
      assert.equal("1.1", assert(api:post("/echo", "x")).version)
      assert.equal(30, api:stats().replayed)
      assert.equal(0, api:stats().failed)
    end)

    it("gets what was sent by options of TLS of the upstream's own", function()
      connect("node", "tls", { tls = { ca = server.certificate "root.pem", verify = false } })
      assert.equal("1.1", assert(api:get(WANTED)).version)
      assert.equal("1.1", assert(api:get(WANTED)).version)
      assert.equal(1, api:stats().replayed)
    end)

    it("is not sent a POST twice", function()
      connect("node", "tls")
      local res, err = api:post(WANTED, "x")
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.equal("HTTP_1_1_REQUIRED", err.code)
      assert.is_false(err.retryable)
      assert.equal("1.1", assert(api:post(WANTED, "x")).version)
    end)

    it("is an error where HTTP/2 is all one wants", function()
      connect("node", "tls", { protocol = "h2" })
      local res, err = api:get(WANTED)
      assert.is_nil(res)
      assert.equal("HTTP_1_1_REQUIRED", err.code)
      assert.equal("2", assert(api:get "/ok").version)
    end)
  end)
end)
