--- HTTP/2 against real servers, in the clear and over TLS.
local hawser = require "hawser"
local h2_servers = require "spec.support.h2_servers"
local ledger = require "spec.support.ledger"
local server = require "spec.support.server"
local servers = require "spec.support.servers"

local MEGABYTE = ("0123456789abcdef"):rep(65536)

-- What is asked of each server: the path of what it can do. Those in front of Node pass most of it through.
local FILES = { hello = "/hello", megabyte = "/1m", packed = "/packed.gz" }
local NODE = { ok = "/ok", echo = "/echo", trailers = "/trailers", hints = "/hints", bytes = "/bytes/" }

local function with(base, more)
  local both = {}
  for name, path in pairs(base) do both[name] = path end
  for name, path in pairs(more) do both[name] = path end
  return both
end

local H2O = with(FILES, { echo = "/behind/echo", bytes = "/behind/bytes/" })
local NGHTTPD = with(FILES, { echo = "/", trailers = "/hello" })
local NGINX = with(FILES, { packed = false, hello = "/hello", upload = "/upload/" })
local rows = {
  { "nghttpd, h2c", "nghttpd", "h2c", NGHTTPD },
  { "nghttpd, TLS", "nghttpd_tls", "tls", NGHTTPD },
  { "nginx, h2c", "nginx", "h2c", NGINX },
  { "nginx, TLS", "nginx", "h2", NGINX },
  { "h2o, h2c", "h2o", "h2c", H2O },
  { "h2o, TLS", "h2o", "tls", H2O },
  { "haproxy, h2c to HTTP/1.1", "haproxy", "h2c", NODE },
  { "haproxy, TLS to HTTP/1.1", "haproxy", "tls", NODE },
  { "haproxy, TLS to HTTP/2", "haproxy", "through", NODE },
  { "Node, h2c", "node", "h2c", NODE },
  { "Node, TLS", "node", "tls", NODE },
}

describe("HTTP/2 with", function()
  local running = {}
  local m, api, tls

  lazy_setup(function()
    tls = { ca = server.certificate "root.pem" }
    running.node = h2_servers.node()
    running.nghttpd = h2_servers.nghttpd()
    running.nghttpd_tls = h2_servers.nghttpd { tls = true }
    running.nginx = servers.nginx()
    running.h2o = h2_servers.h2o(running.node.http1)
    running.haproxy = h2_servers.haproxy(running.node.http1, running.node.h2c)
  end)

  lazy_teardown(function()
    for _, one in pairs(running) do one:stop() end
  end)

  before_each(function() m = hawser.new() end)

  after_each(function()
    local stats = api and ledger.settled(api)
    m:close()
    if stats then ledger.is_at_rest(stats) end
    api = nil
  end)

  local function connect(name, field, options)
    options = options or {}
    local scheme = field == "h2c" and "h2c" or "https"
    options.peers = { ("%s://127.0.0.1:%d"):format(scheme, running[name][field]) }
    if scheme == "https" then options.tls = tls end
    api = m:upstream("peer", options)
    return api
  end

  for _, row in ipairs(rows) do
    local title, name, field, paths = row[1], row[2], row[3], row[4]
    local plain = paths.hello or paths.ok

    describe(title .. ":", function()
      before_each(function() connect(name, field) end)

      local function get(path, options)
        local res = assert(api:get(path, options))
        assert.equal("2", res.version)
        assert.equal(200, res.status)
        return res
      end

      it("a response has status, version, headers and body", function()
        local res = get(plain)
        assert.equal("", res.reason)
        assert.equal(1, res.attempts)
        assert.is_truthy(#res.body > 0)
        assert.is_string(res.headers["date"])
        assert.equal(res.headers["date"], res.headers["Date"])
        assert.is_nil(res.headers[":status"])
      end)

      it("HEAD has no body", function()
        local res = assert(api:head(plain))
        assert.equal("2", res.version)
        assert.equal("", res.body)
      end)

      if paths.megabyte then
        it("HEAD has the length of the body that it leaves out", function()
          local res = assert(api:head(paths.megabyte))
          assert.equal("1048576", res.headers["content-length"])
          assert.equal("", res.body)
        end)

        it("a megabyte comes whole, and again in pieces", function()
          assert.equal(MEGABYTE, get(paths.megabyte).body)
          hawser.run(function()
            local pieces = {}
            local res = get(paths.megabyte, { stream = true })
            local chunk = res:read()
            while chunk do
              pieces[#pieces + 1] = chunk
              chunk = res:read()
            end
            assert.equal(MEGABYTE, table.concat(pieces))
          end)
        end)
      end

      if paths.packed then
        it("a file of bytes of every kind is exact", function()
          assert.equal(running[name].files["packed.gz"], get(paths.packed).body)
        end)
      end

      if paths.bytes then
        it("bodies of many sizes have that size", function()
          for _, size in ipairs { 0, 1, 16384, 16385, 65535, 65536, 1000003 } do
            local res = get(paths.bytes .. size)
            assert.equal(("x"):rep(size), res.body)
            assert.equal(tostring(size), res.headers["content-length"])
          end
        end)
      end

      if paths.echo then
        it("a megabyte is posted and comes back", function()
          local res = assert(api:post(paths.echo, MEGABYTE))
          assert.equal("2", res.version)
          assert.equal(MEGABYTE, res.body)
        end)

        it("what a producer makes is posted and comes back", function()
          local sizes, sent = { 1, 16383, 0, 65537, 7 }, {}
          local function produce()
            local size = sizes[#sent + 1]
            if not size then return nil end
            sent[#sent + 1] = string.char(65 + #sent):rep(size)
            return sent[#sent]
          end
          local res = assert(api:post(paths.echo, produce))
          assert.equal(table.concat(sent), res.body)
        end)
      end

      if paths.upload then
        it("a megabyte is uploaded and can be fetched", function()
          local path = paths.upload .. field
          local res = assert(api:put(path, MEGABYTE))
          assert.is_truthy(res.status == 201 or res.status == 204)
          assert.equal(MEGABYTE, get(path).body)
        end)
      end

      if paths.trailers then
        it("trailers come behind the body", function()
          local res = get(paths.trailers)
          assert.equal("218", res.trailers["x-sum"])
          assert.is_nil(res.headers["x-sum"])
        end)
      end

      if paths.hints then
        it("a 103 before the response is no response", function()
          local res = get(paths.hints)
          assert.equal("hinted", res.body)
          assert.is_nil(res.headers["link"])
        end)
      end

      it("300 requests at once are 300 responses, on few connections", function()
        local calls = {}
        for i = 1, 300 do calls[i] = function() return api:get(plain) end end
        for _, outcome in ipairs(hawser.all(calls)) do
          local res = assert(outcome[2], tostring(outcome[3]))
          assert.equal(200, res.status)
          assert.equal("2", res.version)
        end
        local stats = api:stats()
        assert.is_truthy(stats.created <= 4, stats.created .. " connections")
      end)
    end)
  end

  describe("Node:", function()
    it("the fewest streams that a server allows are kept to", function()
      local few = h2_servers.node(3)
      running.few = few
      connect("few", "h2c", { limits = { per_peer = 2 } })
      local calls = {}
      for i = 1, 50 do calls[i] = function() return api:get "/drip/2/1" end end
      for _, outcome in ipairs(hawser.all(calls)) do
        assert.equal("xx", assert(outcome[2], tostring(outcome[3])).body)
      end
      assert.is_truthy(api:stats().created <= 2)
    end)

    it("what is urgent is there first, and its server is told how urgent it is", function()
      connect("node", "h2c")
      assert(api:get "/ok")
      local calls = {}
      for i, urgency in ipairs { 7, 5, 3, 0 } do
        calls[i] = function() return api:post("/upload", ("x"):rep(1000000), { priority = urgency }) end
      end
      for _, outcome in ipairs(hawser.all(calls)) do assert(outcome[2], tostring(outcome[3])) end
      assert.equal("u=0 none u=5 u=7", assert(api:get "/uploads").body)
      assert.equal(1, api:stats().created)
    end)

    it("pushes are refused beforehand", function()
      connect("node", "h2c")
      assert.equal("refused", assert(api:get "/push").body)
    end)

    it("a GOAWAY behind a response is no failure, and the next request has a connection of its own", function()
      connect("node", "h2c")
      for _, path in ipairs { "/goaway/0", "/shutdown" } do
        local first = assert(api:get(path))
        assert.equal("ok", first.body)
        local second = assert(api:get "/ok")
        assert.equal(1, second.attempts)
        assert.are_not.equal(first.headers["x-session"], second.headers["x-session"])
      end
      assert.equal(0, api:stats().failed)
    end)

    it("a reset has the code that the server gave", function()
      connect("node", "h2c", { retry = false })
      for path, code in pairs { ["/rst/2"] = "INTERNAL_ERROR", ["/rst-body/8"] = "CANCEL" } do
        local res, err = api:get(path)
        assert.is_nil(res)
        assert.equal("reset", err.kind)
        assert.is_truthy(err.message:find(code, 1, true) or err.code == code, tostring(err))
      end
      assert.equal("ok", assert(api:get "/ok").body)
      assert.equal(1, api:stats().created, "the connection goes on")
    end)
  end)
end)
