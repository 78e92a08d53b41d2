--- Requests: what arrives at the peer, and how queries, JSON and redirects are made of tables.
local hawser = require "hawser"
local query = require "hawser.query"
local servers = require "spec.support.servers"

describe("a request", function()
  local faultd, m, api, origin

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new()
    origin = "http://127.0.0.1:" .. faultd.http
    api = m:upstream("api", { peers = { origin } })
  end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  -- The request's first line, its header lines in order, and its body, as the peer saw them.
  local function seen(res, err)
    assert(res, tostring(err))
    local head, body = res.body:match "^(.-\r\n)\r\n(.*)$"
    local lines = {}
    for line in head:gmatch "(.-)\r\n" do lines[#lines + 1] = line end
    return table.remove(lines, 1), lines, body
  end

  local function has(lines, wanted)
    for _, line in ipairs(lines) do
      if line:lower() == wanted:lower() then return true end
    end
    return false
  end

  it("has the method, target, Host and body that it was given", function()
    local first, lines, body = seen(api:get "/echo")
    assert.equal("GET /echo HTTP/1.1", first)
    assert.is_true(has(lines, "Host: 127.0.0.1:" .. faultd.http))
    assert.equal("", body)
    for _, verb in ipairs { "post", "put", "patch" } do
      first, lines, body = seen(api[verb](api, "/echo", "body"))
      assert.equal(verb:upper() .. " /echo HTTP/1.1", first)
      assert.is_true(has(lines, "Content-Length: 4"))
      assert.equal("body", body)
    end
    for _, verb in ipairs { "delete", "options" } do
      assert.equal(verb:upper() .. " /echo HTTP/1.1", (seen(api[verb](api, "/echo"))))
    end
    assert.equal("PURGE /echo HTTP/1.1", (seen(api:request { method = "PURGE", path = "/echo" })))
    assert.equal("GET /echo?a=b HTTP/1.1", (seen(m:get(origin .. "/echo?a=b#fragment"))))
    assert.equal("POST /echo HTTP/1.1", (seen(m:request { method = "POST", url = origin .. "/echo" })))
    assert.equal("PUT /echo HTTP/1.1", (seen(hawser.put(origin .. "/echo", "x"))))
    assert.equal("GET /echo HTTP/1.1", (seen(hawser.request { url = origin .. "/echo" })))
    assert.equal("", assert(api:head "/ok").body)
  end)

  it("takes scheme and host in any case, for one origin", function()
    local before = m:stats().created
    local loud = ("HTTP://LocalHost:%d/echo?A=B"):format(faultd.http)
    local first, lines = seen(m:get(loud))
    assert.equal("GET /echo?A=B HTTP/1.1", first)
    assert.is_true(has(lines, "Host: localhost:" .. faultd.http))
    assert.is_true(assert(m:get(("http://localhost:%d/echo"):format(faultd.http))).reused)
    assert.equal(before + 1, m:stats().created)

    local own = m:upstream("loud", { peers = { ("HTTP://LOCALHOST:%d"):format(faultd.http) } })
    assert.equal("localhost:" .. faultd.http, own:peers()[1].id)
    assert.is_true(has(select(2, seen(own:get "/echo")), "Host: localhost:" .. faultd.http))
  end)

  it("sends headers of either form, lists once for each item", function()
    local _, lines = seen(api:get("/echo", { headers = { accept = "x", ["X-Number"] = 42, ["x-list"] = { "a", 1 } } }))
    for _, wanted in ipairs { "accept: x", "X-Number: 42", "x-list: a", "x-list: 1" } do
      assert.is_true(has(lines, wanted), wanted)
    end
    _, lines = seen(api:get("/echo", { headers = { { "B", "1" }, { "A", 2 }, { "B", "3" } } }))
    assert.is_truthy(table.concat(lines, "\n"):find "B: 1\nA: 2\nB: 3")
    _, lines = seen(api:get("/echo", { headers = {} }))
    assert.equal(1, #lines)
    _, lines = seen(api:get("/echo", { headers = { host = "other.example" } }))
    assert.same({ "host: other.example" }, lines)
  end)

  it("sends bodies of every form", function()
    local function body_of(...)
      local _, lines, body = seen(api:post("/echo", ...))
      return body, lines
    end
    assert.equal("", (body_of(nil)))
    assert.equal("", (body_of ""))
    assert.equal("abc", (body_of { "a", "", "bc" }))
    assert.equal("", (body_of {}))
    assert.equal("abc", (body_of(nil, { body = "abc" })))
    assert.equal("a\0b", (body_of "a\0b"))
    local chunks = { "one ", "", "two ", ("x"):rep(100000) }
    local sent = table.concat(chunks)
    local body, lines = body_of(function() return table.remove(chunks, 1) end)
    assert.equal(sent, body)
    assert.is_true(has(lines, "Transfer-Encoding: chunked"))
    assert.equal("produced", select(3, seen(api:request {
      method = "POST", path = "/echo", body = coroutine.wrap(function()
        coroutine.yield "prod"
        coroutine.yield "uced"
      end),
    })))
    assert.equal(("y"):rep(3000000), assert(api:post("/body", ("y"):rep(3000000))).body)
  end)

  it("sends JSON with its type, unless another is given", function()
    local _, lines, body = seen(api:post("/echo", nil, { json = { a = { 1, 2 } } }))
    assert.equal('{"a":[1,2]}', body)
    assert.is_true(has(lines, "content-type: application/json"))
    _, lines = seen(api:post("/echo", nil, { json = "text", headers = { ["Content-Type"] = "application/x" } }))
    assert.is_true(has(lines, "Content-Type: application/x"))
    assert.is_false(has(lines, "content-type: application/json"))
  end)

  it("appends its query to the target", function()
    local function target(path, values) return (seen(api:get(path, { query = values }))):match "^GET (%S+)" end
    assert.equal("/echo?a=1&b=x%20y&c=%26&c=true", target("/echo", { b = "x y", a = 1, c = { "&", true } }))
    assert.equal("/echo?x=1&a=b", target("/echo?x=1", { a = "b" }))
    assert.equal("/echo", target("/echo", {}))
    assert.equal("/echo?raw=1", target("/echo", "raw=1"))
    assert.equal("/echo?a=1", (seen(m:get(origin .. "/echo#f", { query = { a = 1 } }))):match "^GET (%S+)")
  end)

  describe("with a producer", function()
    it("may read another response meanwhile", function()
      local from = assert(api:get("/chunked/20/1000", { stream = true }))
      assert.equal(("x"):rep(20000), assert(api:post("/body", function() return from:read() end)).body)
    end)

    it("is given up with what the producer raises, or returns", function()
      for _, failing in ipairs {
        { function() error("it broke", 0) end, "it broke" },
        { function() return nil, "no more" end, "no more" },
        { function() return 42 end, "gave a number" },
        { function() error {} end, "the body's producer raised" },
      } do
        local res, err = api:post("/sink", failing[1])
        assert.is_nil(res)
        assert.equal("canceled", err.kind)
        assert.is_truthy(err.message:find(failing[2], 1, true), err.message)
      end
      assert.equal(0, api:stats().busy)
    end)

    it("is not asked before there is a connection", function()
      local asked = 0
      local refused = m:upstream("refused", { peers = { "http://127.0.0.1:" .. faultd.closed } })
      local _, err = refused:post("/", function() asked = asked + 1 end)
      assert.equal("refused", err.kind)
      assert.equal(0, asked)
    end)

    it("stops it when the peer answers early, or the request ends", function()
      local asked = 0
      local function endless()
        asked = asked + 1
        return hawser.sleep(.001) and ("x"):rep(1000)
      end
      local res = api:post("/early/413", endless)
      assert.equal(413, res and res.status)
      local _, err = api:post("/never", endless, { timeout = .05 })
      assert.equal("timeout", err.kind)
      hawser.run() -- until its task has ended
      assert.is_true(asked > 1)
      local before = asked
      hawser.sleep(.01)
      assert.equal(before, asked)
    end)

    it("lets the loop turn while it has nothing", function()
      local hung_at = os.clock() + 10
      local _, err = api:post("/sink", function()
        return os.clock() < hung_at and "" or error "the loop does not turn"
      end, { timeout = .05 })
      assert.equal("timeout", err.kind)
    end)

    it("never gets ahead of a peer that does not read", function()
      local produced, res = 0, nil
      api:post("/unread/request_spec", function()
        produced = produced + 1
        return produced <= 1000 and ("x"):rep(65536) or nil
      end, nil, function(...) res = ... end)
      hawser.sleep(.1)
      local before = produced
      assert.is_true(before < 500, before)
      faultd:ask "release/request_spec"
      hawser.run()
      assert.equal(200, res.status)
      assert.equal(1001, produced)
    end)
  end)

  describe("that is redirected", function()
    -- The path of a response that redirects.
    local function redirect(status, location)
      local text = ("HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(status, location)
      return "/raw/" .. servers.hex(text)
    end

    it("returns a redirect to what is no http URL as it is", function()
      for _, location in ipairs { "mailto:x@y", "javascript:alert(1)", "ftp://127.0.0.1/ok" } do
        assert.equal(302, assert(api:get(redirect(302, location), { redirects = 1 })).status)
      end
    end)

    it("keeps empty segments of a path", function()
      local res = assert(api:get(redirect(302, "/echo//a/../b"), { redirects = 1 }))
      assert.truthy(res.body:find("GET /echo//b", 1, true))
    end)

    it("is so only when that was asked for, and as often", function()
      assert.equal(302, assert(api:get(redirect(302, "/ok"))).status)
      assert.equal(200, assert(api:get(redirect(302, "/ok"), { redirects = 1 })).status)
      local twice = redirect(302, redirect(302, "/ok"))
      assert.equal(302, assert(api:get(twice, { redirects = 1 })).status)
      assert.equal(200, assert(api:get(twice, { redirects = 2 })).status)
      assert.equal(300, assert(api:get(redirect(300, "/ok"), { redirects = 5 })).status)
    end)

    it("finds relative and absolute targets", function()
      for location, target in pairs {
        ["/echo"] = "/echo",
        ["/a/../echo?q#f"] = "/echo?q",
        ["../echo"] = "/echo",
        ["../../../echo/./"] = "/echo/",
        [origin .. "/echo"] = "/echo",
        [origin:gsub("http:", "")] = false,
        ["//127.0.0.1:" .. faultd.http .. "/echo"] = "/echo",
      } do
        for _, object in ipairs { api, m } do
          local path = redirect(301, location)
          local res = assert(object:get(object == m and origin .. path or path, { redirects = 3 }), location)
          if target then assert.equal("GET " .. target .. " HTTP/1.1", (seen(res))) end
        end
      end
    end)

    it("keeps or changes its method and body as the status says", function()
      for status, expected in pairs {
        [301] = "GET /echo HTTP/1.1", [302] = "GET /echo HTTP/1.1", [303] = "GET /echo HTTP/1.1",
        [307] = "POST /echo HTTP/1.1", [308] = "POST /echo HTTP/1.1",
      } do
        local first, lines, body = seen(api:post(redirect(status, "/echo"), "text",
          { redirects = 1, headers = { ["Content-Type"] = "text/plain", Accept = "x" } }))
        assert.equal(expected, first)
        assert.equal(status >= 307 and "text" or "", body)
        assert.equal(status >= 307, has(lines, "Content-Type: text/plain"))
        assert.is_true(has(lines, "Accept: x"))
      end
      assert.equal("PUT /echo HTTP/1.1", (seen(api:put(redirect(302, "/echo"), "text", { redirects = 1 }))))
      local given = { json = { a = 1 }, redirects = 1 }
      assert.equal('{"a":1}', select(3, seen(api:post(redirect(307, "/echo"), nil, given))))
    end)

    it("is not sent again with a body that was produced", function()
      local produce = coroutine.wrap(function() coroutine.yield "x" end)
      local res = assert(api:post(redirect(307, "/echo"), produce, { redirects = 1 }))
      assert.equal(307, res.status)
    end)

    it("keeps secrets to their origin", function()
      local headers = { Authorization = "secret", cookie = "secret", ["X-Other"] = "kept" }
      local as_list = { { "authorization", "secret" }, { "Cookie", "secret" }, { "X-Other", "kept" } }
      for _, given in ipairs { headers, as_list } do
        local _, lines = seen(api:get(redirect(302, "/echo"), { redirects = 1, headers = given }))
        assert.equal(4, #lines)
        _, lines = seen(api:get(redirect(302, ("http://localhost:%d/echo"):format(faultd.http)),
          { redirects = 1, headers = given }))
        assert.equal(2, #lines)
        assert.is_true(has(lines, "X-Other: kept"))
        assert.is_true(has(lines, "Host: localhost:" .. faultd.http))
      end
      assert.equal("secret", headers.Authorization)
    end)

    it("goes on for its whole time only", function()
      local _, err = api:get(redirect(302, "/never"), { redirects = 1, timeout = .05 })
      assert.equal("timeout", err.kind)
    end)

    it("streams the last response alone", function()
      local res = assert(api:get(redirect(302, "/ok"), { redirects = 1, stream = true }))
      assert.equal("ok", res:read())
      assert.is_nil(res:read())
      assert.equal(0, api:stats().busy)
    end)

    it("stops at what it cannot follow", function()
      assert.equal(302, assert(api:get(redirect(302, "gopher://x/"), { redirects = 1 })).status)
      assert.equal(302, assert(api:get(redirect(302, "ftp://127.0.0.1/"), { redirects = 1 })).status)
      local res, err = m:get("nonsense", { redirects = 1 })
      assert.is_nil(res)
      assert.equal("invalid", err.kind)
    end)
  end)

  it("may be made by a finalizer while another is made", function()
    if _VERSION == "Lua 5.1" then return end -- tables have no finalizers there
    local done = 0
    local function make_garbage()
      setmetatable({}, { __gc = function()
        api:get("/ok", { headers = { ["x-from"] = "a finalizer" } }, function() done = done + 1 end)
      end })
    end
    for i = 1, 300 do
      make_garbage()
      local _, lines = seen(api:get("/echo", { headers = { ["x-number"] = i, ["x-from"] = { "us", i + .5 } } }))
      assert.is_true(has(lines, "x-number: " .. i))
      assert.is_false(has(lines, "x-from: a finalizer"))
    end
    collectgarbage()
    hawser.run()
    assert.is_true(done > 0)
  end)
end)

describe("query.encode", function()
  it("escapes all but unreserved characters", function()
    assert.equal("a%20b=%C3%BC%2F%3F%26%3D~-._0aZ", query.encode { ["a b"] = "ü/?&=~-._0aZ" })
  end)

  it("is the same for the same table, and prints numbers plainly", function()
    assert.equal("a=1&b=2.5&c=-0.1&d=100000000000", query.encode { d = 1e11, c = -.1, b = 2.5, a = 1 })
  end)

  it("refuses what has no text", function()
    assert.same({ nil, "query.a is a function; allowed: a string, a number, true or false, or a list of those" },
      { query.encode { a = print } })
    assert.same({ nil, "query has a number as a name; allowed: strings" }, { query.encode { 1 } })
    for _, list in ipairs { { b = 1 }, { 1, b = 1 }, { 1, [3] = 1 } } do
      assert.same({ nil, "query.a is a table with names or gaps; allowed: a list" }, { query.encode { a = list } })
    end
  end)
end)
