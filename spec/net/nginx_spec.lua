--- HTTP/1.1 against Debian's nginx, over each kind of address.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

describe("HTTP/1.1 with nginx", function()
  local nginx, m, api

  lazy_setup(function() nginx = servers.nginx() end)
  lazy_teardown(function() nginx:stop() end)

  before_each(function()
    m = hawser.new()
    api = m:upstream("nginx", { peers = { "http://127.0.0.1:" .. nginx.port } })
  end)

  after_each(function()
    local stats = ledger.settled(api)
    m:close()
    ledger.is_at_rest(stats)
  end)

  local function connection_of(res) return tonumber(res.headers["x-connection"]) end

  describe("a response", function()
    it("has status, reason, version, headers and body", function()
      local res = assert(api:get "/hello")
      assert.equal(200, res.status)
      assert.equal("OK", res.reason)
      assert.equal("1.1", res.version)
      assert.equal("hello from nginx\n", res.body)
      assert.equal("17", res.headers["content-length"])
      assert.equal("17", res.headers["Content-Length"])
      assert.equal("127.0.0.1:" .. nginx.port, res.peer)
      assert.equal(1, res.attempts)
      assert.is_false(res.reused)
    end)

    it("without a body has an empty one", function()
      local res = assert(api:get "/empty")
      assert.equal(204, res.status)
      assert.equal("", res.body)
    end)

    it("with 404 or 503 is a response, not an error", function()
      assert.equal(404, assert(api:get "/no/such/file").status)
      assert.equal(503, assert(api:get "/broken").status)
    end)

    it("to HEAD has the length of the body that it leaves out", function()
      local res = assert(api:head "/1m")
      assert.equal(200, res.status)
      assert.equal("1048576", res.headers["content-length"])
      assert.equal("", res.body)
    end)

    it("with a redirect is followed only when asked to", function()
      assert.equal(301, assert(api:get "/moved").status)
      local res = assert(api:get("/moved", { redirects = 1 }))
      assert.equal("hello from nginx\n", res.body)
    end)

    it("of a megabyte comes whole", function()
      local res = assert(api:get "/1m")
      assert.equal(1048576, #res.body)
      assert.equal(("0123456789abcdef"):rep(65536), res.body)
    end)

    it("of a megabyte can be streamed, chunk by chunk", function()
      local size = 0
      hawser.run(function()
        local res = assert(api:get("/1m", { stream = true }))
        local chunk, err = res:read()
        while chunk do
          size = size + #chunk
          chunk, err = res:read()
        end
        assert.is_nil(err)
      end)
      assert.equal(1048576, size)
      assert.equal(1, api:stats().idle)
    end)
  end)

  if _VERSION ~= "Lua 5.1" or rawget(_G, "jit") then -- whose iterators cannot wait
    it("lets a body be iterated over", function()
      local size = 0
      hawser.run(function()
        for chunk in assert(api:get("/1m", { stream = true })):chunks() do size = size + #chunk end
      end)
      assert.equal(1048576, size)
    end)
  end

  describe("a request", function()
    it("carries its headers, its query and the peer's name", function()
      assert.equal("spec/1", assert(api:get("/agent", { headers = { ["User-Agent"] = "spec/1" } })).body)
      assert.equal("a=1", assert(api:get("/query", { query = { a = 1 } })).body)
      assert.equal("127.0.0.1:" .. nginx.port, assert(api:get "/host").body)
    end)

    it("has the method it was given", function()
      assert.equal("DELETE", assert(api:delete "/method").body)
      assert.equal("OPTIONS", assert(api:options "/method").body)
      assert.equal("PURGE", assert(api:request { method = "PURGE", path = "/method" }).body)
    end)

    it("with POST brings its body", function()
      assert.equal("POST hello", assert(api:post("/echo", "hello")).body)
      assert.equal("POST one, two", assert(api:post("/echo", { "one", ", ", "two" })).body)
    end)

    it("with PUT uploads a string of a megabyte", function()
      local data = ("fedcba9876543210"):rep(65536)
      assert.equal(201, assert(api:put("/upload/string", data)).status)
      assert.equal(data, assert(api:get "/upload/string").body)
    end)

    it("with PUT uploads what a producer makes, chunked", function()
      local left = 100
      local function produce()
        left = left - 1
        return left >= 0 and ("%04d"):format(left):rep(2500) or nil
      end
      assert.equal(201, assert(api:put("/upload/produced", produce)).status)
      local body = assert(api:get "/upload/produced").body
      assert.equal(1000000, #body)
      assert.equal("00990099", body:sub(1, 8))
      assert.equal("00000000", body:sub(-8))
    end)
  end)

  describe("a connection", function()
    it("is kept and used again", function()
      local first, second = assert(api:get "/hello"), assert(api:get "/hello")
      assert.equal(connection_of(first), connection_of(second))
      assert.is_true(second.reused)
      local stats = api:stats()
      assert.equal(1, stats.created)
      assert.equal(1, stats.reused)
      assert.equal(1, stats.idle)
    end)

    it("is used again after HEAD, 204 and 404", function()
      for _, path in ipairs { "/empty", "/no/such/file" } do assert(api:get(path)) end
      assert(api:head "/1m")
      assert.equal(1, api:stats().created)
    end)

    it("is closed when the server says so", function()
      assert.equal("close", assert(api:get "/once/1k").headers.connection)
      assert.equal(0, api:stats().open)
      assert.is_false(assert(api:get "/hello").reused)
    end)

    it("is used again within the server's Keep-Alive hint, and not once that is too short", function()
      assert.equal("timeout=30", assert(api:get "/hinted/1k").headers["keep-alive"])
      assert.is_true(assert(api:get "/hello").reused)
      assert.equal("timeout=2", assert(api:get "/short/1k").headers["keep-alive"])
      assert.is_false(assert(api:get "/hello").reused)
    end)

    it("is abandoned when the rest of a body is not wanted", function()
      hawser.run(function()
        local res = assert(api:get("/limited/1m", { stream = true }))
        assert.is_string(res:read())
        res:close()
      end)
      assert.equal(0, api:stats().open)
      assert.equal(1, ledger.closed(api:stats(), "abandoned"))
    end)
  end)

  describe("many requests", function()
    local function get_many(count, path)
      local calls = {}
      for i = 1, count do
        calls[i] = function() return assert(api:get(path)).body end
      end
      return hawser.all(calls)
    end

    it("share the connections that a peer may have, and no more", function()
      api:update { limits = { per_peer = 4 } }
      for _, outcome in ipairs(get_many(200, "/1k")) do
        assert.is_true(outcome[1])
        assert.equal(1024, #outcome[2])
      end
      local stats = api:stats()
      assert.equal(4, stats.created)
      assert.equal(4, stats.idle)
      assert.equal(196, stats.reused)
      assert.is_true(stats.queue_max >= 196)
    end)

    it("leave on the server the connections that stats() counts", function()
      get_many(50, "/hello")
      local active
      for _ = 1, 2000 do -- those of earlier tests are closed on this side; the server takes a moment
        active = tonumber(assert(api:get "/status").body:match "Active connections: (%d+)")
        if active == api:stats().open then break end
      end
      assert.equal(api:stats().open, active)
    end)
  end)

  describe("an address", function()
    it("may be a URL, whose upstream is made behind the scenes", function()
      local url = ("http://127.0.0.1:%d/hello"):format(nginx.port)
      assert.equal("hello from nginx\n", assert(m:get(url)).body)
      assert.is_true(assert(m:get(url)).reused)
    end)

    it("may be localhost", function()
      local url = ("http://localhost:%d/host"):format(nginx.port)
      assert.equal("localhost:" .. nginx.port, assert(m:get(url)).body)
    end)

    it("may be one of IPv6", function()
      if not nginx.has_ipv6 then return pending "this machine has no IPv6" end
      local v6 = m:upstream("v6", { peers = { ("http://[::1]:%d"):format(nginx.port) } })
      local res = assert(v6:get "/host")
      assert.equal(("[::1]:%d"):format(nginx.port), res.body)
      assert.is_true(assert(v6:get "/hello").reused)
      ledger.is_at_rest(ledger.settled(v6))
    end)

    it("may be a unix socket, where Host is localhost", function()
      local unix = m:upstream("unix", { protocol = "http1", peers = { "unix:" .. nginx.unix } })
      local res = assert(unix:get "/host")
      assert.equal("localhost", res.body)
      assert.equal((nginx.unix:gsub("/", "%%2F")), res.peer)
      assert.is_true(assert(unix:get "/hello").reused)
      ledger.is_at_rest(ledger.settled(unix))
    end)

    it("may differ from the peer's name, which stays the Host", function()
      local named = m:upstream("named", {
        peers = { { "http://shop.example:80", address = "127.0.0.1:" .. nginx.port } },
      })
      local res = assert(named:get "/host")
      assert.equal("shop.example", res.body)
      assert.equal("shop.example:80", res.peer)
      ledger.is_at_rest(ledger.settled(named))
    end)

    it("may be a unix socket behind a peer's name", function()
      local named = m:upstream("named", { peers = { { "http://shop.example:80", address = "unix:" .. nginx.unix } } })
      assert.equal("shop.example", assert(named:get "/host").body)
    end)
  end)
end)
