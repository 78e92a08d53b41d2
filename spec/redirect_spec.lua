--- Redirects: which are followed, to where, with what, and for how long.
local hawser = require "hawser"
local json = require "hawser.json"
local query = require "hawser.query"
local servers = require "spec.support.servers"

describe("a redirect", function()
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

  -- The path of a response that redirects.
  local function redirect(location, status)
    local text = ("HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(status or 302, location)
    return "/raw/" .. servers.hex(text)
  end

  local function sent(res, err)
    assert(res, tostring(err))
    assert.equal(200, res.status)
    return "\n" .. res.body:gsub("\r", ""):lower()
  end

  local function has(text, wanted)
    return text:find("\n" .. wanted:lower() .. "\n", 1, true) ~= nil
  end

  describe("and its time", function()
    local function elapsed(fn)
      local before = hawser.now()
      local res, err = fn()
      return hawser.now() - before, res, err
    end

    -- The first request takes .5 s of it, the one that follows all the rest.
    local function post_slowly(object, base, options)
      local is_made
      return object:post(base .. redirect("/never", 303), function()
        if is_made then return end
        is_made = true
        hawser.sleep(.5)
        return "x"
      end, options)
    end

    it("is bounded by timeouts.request, of the upstream or of the manager", function()
      local hasty = hawser.new { timeouts = { request = 1 } }
      local upstream = m:upstream("hasty", { peers = { origin }, timeouts = { request = 1 } })
      for _, case in ipairs { { upstream, "" }, { hasty, origin } } do
        local seconds, res, err = elapsed(function() return post_slowly(case[1], case[2], { redirects = 1 }) end)
        assert.is_nil(res)
        assert.equal("timeout", err.kind)
        assert.is_true(seconds < 1.45, seconds)
      end
      hasty:close()
    end)

    it("is bounded by the timeout that was given", function()
      local seconds, _, err = elapsed(function() return post_slowly(api, "", { redirects = 1, timeout = 1 }) end)
      assert.equal("timeout", err.kind)
      assert.is_true(seconds < 1.45, seconds)
    end)

    it("has no bound where the timeout is off", function()
      local patient = m:upstream("patient", { peers = { origin }, timeouts = { request = false } })
      assert.equal(200, assert(patient:get(redirect("/slow/20"), { redirects = 1 })).status)
      local hasty = m:upstream("hasty", { peers = { origin }, timeouts = { request = .05 } })
      assert.equal(200, assert(hasty:get(redirect("/slow/150"), { redirects = 1, timeout = false })).status)
    end)
  end)

  it("keeps empty segments of its path", function()
    for location, target in pairs {
      ["/echo//a/../b"] = "/echo//b",
      ["/echo/http://x//y"] = "/echo/http://x//y",
      ["/echo/./a/b/.."] = "/echo/a/",
      ["/echo//../a"] = "/echo/a",
    } do
      local text = sent(api:get(redirect(location), { redirects = 1 }))
      assert.truthy(text:find("get " .. target .. " http", 1, true), location)
    end
  end)

  it("that cannot be followed is returned as it is", function()
    for _, location in ipairs {
      "mailto:x@y", "javascript:alert(1)", "data:,x", "http:echo", "HTTP:///echo", "ftp://127.0.0.1/echo",
      "https:echo", "https://u:p@127.0.0.1/echo", "http://u:p@127.0.0.1/echo",
      "http://127.0.0.1:0/echo", "http://127.0.0.1:99999/echo",
      "http://[::1/echo", "/with space", "//",
    } do
      for _, object in ipairs { api, m } do
        local path = redirect(location)
        local res, err = object:get(object == m and origin .. path or path, { redirects = 1 })
        assert(res, location .. ": " .. tostring(err))
        assert.equal(302, res.status, location)
        assert.equal(location, res.headers.location)
      end
    end
  end)

  describe("and TLS", function()
    local front, secure

    lazy_setup(function() front = servers.tls_front(faultd.http) end)
    lazy_teardown(function() front:stop() end)
    before_each(function()
      secure = "https://localhost:" .. front.port
      m:close()
      m = hawser.new { tls = { ca = servers.certificate "root.pem" } }
      api = m:upstream("api", { peers = { origin } })
    end)

    it("is followed into it, which is another origin even at the same port", function()
      local headers = { cookie = "secret" }
      for _, object in ipairs { api, m } do
        local path = redirect(secure .. "/echo")
        local res = assert(object:get(object == m and origin .. path or path, { redirects = 1, headers = headers }))
        assert.equal("localhost:" .. front.port, res.peer)
        assert.is_nil(sent(res):find "cookie")
      end
    end)

    it("stays there by a path, by a URL without a scheme, and by its own URL", function()
      local there = m:upstream("there", { peers = { { secure, id = "x" } } })
      for _, location in ipairs { "/echo", "//localhost:" .. front.port .. "/echo", secure .. "/echo" } do
        for _, object in ipairs { there, m } do
          local path = redirect(location)
          local res, err = object:get(object == m and secure .. path or path,
            { redirects = 1, headers = { cookie = "secret" } })
          assert.is_true(has(sent(res, err), "cookie: secret"), location)
        end
      end
    end)

    it("is never followed out of it", function()
      local there = m:upstream("there", { peers = { secure } })
      for _, location in ipairs { origin .. "/echo", "HTTP://localhost:" .. front.port .. "/echo" } do
        for _, object in ipairs { there, m } do
          local path = redirect(location)
          local res = assert(object:get(object == m and secure .. path or path, { redirects = 1 }))
          assert.equal(302, res.status)
          assert.equal(location, res.headers.location)
        end
      end
    end)
  end)

  describe("to an absolute URL", function()
    local secrets = {
      Authorization = "secret", Cookie = "secret", ["Proxy-Authorization"] = "secret", ["X-Other"] = "kept",
    }

    local function with_host(host)
      local headers = { Host = host }
      for name, value in pairs(secrets) do headers[name] = value end
      return headers
    end

    local function check(is_kept, text)
      for _, name in ipairs { "Authorization", "Cookie", "Proxy-Authorization" } do
        assert.equal(is_kept, has(text, name .. ": secret"), name)
      end
      assert.is_true(has(text, "X-Other: kept"))
    end

    it("is to the same origin as its peer, whatever that is called", function()
      local named = m:upstream("named", { peers = { { origin, id = "node1" } } })
      check(true, sent(named:get(redirect(origin .. "/echo"), { redirects = 1, headers = secrets })))
      assert.equal(1, #named:peers())
      assert.is_true(named:peers()[1].answered >= 2)
    end)

    it("is to the same origin as its peer's name, wherever that connects", function()
      local at = m:upstream("at", { peers = { { "http://Svc.example", id = "x", address = origin:sub(8) } } })
      local other = m:upstream("other", { peers = { { "http://svc.example", address = origin:sub(8) } } })
      local socket = m:upstream("socket", { protocol = "http1", peers = { "unix:" .. faultd.unix } })
      check(true, sent(at:get(redirect "http://svc.example/echo", { redirects = 1, headers = secrets })))
      check(true, sent(other:get(redirect "http://svc.example:80/echo", { redirects = 1, headers = secrets })))
      check(true, sent(socket:get(redirect "http://localhost/echo", { redirects = 1, headers = secrets })))
      check(false, sent(at:get(redirect(origin .. "/echo"), { redirects = 1, headers = secrets })))
    end)

    it("is to the same origin as the caller's Host", function()
      local own = "svc.example:81"
      for _, given in ipairs { with_host(own), with_host { own } } do
        local text = sent(api:get(redirect("http://" .. own .. "/echo"), { redirects = 1, headers = given }))
        check(true, text)
        assert.is_true(has(text, "Host: " .. own))
      end
    end)

    it("of another origin is not told what was for the first", function()
      local as_list = { { "Host", "svc.example" } }
      for name, value in pairs(secrets) do as_list[#as_list + 1] = { name:upper(), value } end
      for _, given in ipairs { with_host "svc.example", as_list } do
        for _, object in ipairs { api, m } do
          local path = redirect(("http://localhost:%d/echo"):format(faultd.http))
          local text = sent(object:get(object == m and origin .. path or path, { redirects = 1, headers = given }))
          for _, name in ipairs { "authorization", "cookie", "proxy-authorization", "host: svc" } do
            assert.is_nil(text:find("\n" .. name, 1, true), name)
          end
          assert.is_true(has(text, "Host: localhost:" .. faultd.http))
        end
      end
    end)
  end)
end)

describe("JSON that is nested too deeply", function()
  local deep = ("["):rep(300000)

  it("is an error, not raised", function()
    local ok, value, message = pcall(json.decode, deep)
    assert.is_true(ok)
    assert.is_nil(value)
    assert.is_string(message)
  end)

  it("is what malformed JSON is in a response", function()
    local faultd, m = servers.faultd(), hawser.new()
    local res = assert(m:post(("http://127.0.0.1:%d/body"):format(faultd.http), deep))
    local ok, value, err = pcall(res.json, res)
    assert.is_true(ok)
    assert.is_nil(value)
    assert.equal("protocol", err.kind)
    assert.equal("JSON", err.code)
    m:close()
    faultd:stop()
  end)
end)

describe("a query's whole number", function()
  it("keeps its digits", function()
    assert.equal("a=1152921504606846976", query.encode { a = 2 ^ 60 })
    assert.equal("a=-9007199254740992", query.encode { a = -2 ^ 53 })
    assert.equal("a=100000000000000000000", query.encode { a = 1e20 })
    if math.type then
      assert.equal("a=9223372036854775807", query.encode { a = math.maxinteger })
      assert.equal("a=-9223372036854775808", query.encode { a = math.mininteger })
      assert.equal("a=9007199254740993", query.encode { a = 9007199254740993 })
    end
  end)
end)
