--- Responses: status, headers, body, trailers; read whole or piece by piece.
local hawser = require "hawser"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

describe("a response", function()
  local faultd, m, api

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new()
    api = m:upstream("api", { peers = { { "http://127.0.0.1:" .. faultd.http, id = "first" } } })
  end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  -- The response to exactly these bytes.
  local function response(text, options)
    return assert(api:get("/raw/" .. servers.hex(text) .. "/fin", options))
  end

  local FIELDS = "HTTP/1.1 299 All right\r\nContent-Type: text/plain\r\nX-Twice: one\r\nx-twice: two\r\nEmpty:\r\n"
    .. "Content-Length: 4\r\n\r\nbody"

  for _, stream in ipairs { false, true } do
    describe(stream and "that streams" or "that is whole", function()
      it("tells status, reason, version, peer, attempts and reused", function()
        local res = response(FIELDS, { stream = stream })
        assert.same({ 299, "All right", "1.1", "first", 1, false },
          { res.status, res.reason, res.version, res.peer, res.attempts, res.reused })
        assert.equal(not stream and "body" or nil, res.body)
        assert.is_nil(res.no_such_field)
        assert.is_nil(res[42])
        assert.equal("body", res:read())
        assert.is_nil(res:read())
        res = assert(api:get("/ok", { stream = stream }))
        res:close()
        res = response("HTTP/1.0 200\r\n\r\n", { stream = stream })
        assert.same({ "1.0", "" }, { res.version, res.reason })
        res:close()
      end)

      it("knows when its connection had served before", function()
        assert(api:get "/ok")
        local res = assert(api:get("/ok", { stream = stream }))
        assert.is_true(res.reused)
        res:close()
      end)

      it("has headers of any case, in their order", function()
        local headers = response(FIELDS, { stream = stream }).headers
        assert.equal("text/plain", headers["content-type"])
        assert.equal("text/plain", headers["CONTENT-TYPE"])
        assert.equal("one", headers["X-Twice"])
        assert.equal("", headers.empty)
        assert.is_nil(headers.missing)
        assert.is_nil(headers[1])
        assert.same({ "one", "two" }, headers:all "x-twice")
        assert.same({}, headers:all "missing")
        local pairs_seen = {}
        for name, value in headers:each() do pairs_seen[#pairs_seen + 1] = name .. "=" .. value end
        assert.same({ "Content-Type=text/plain", "X-Twice=one", "x-twice=two", "Empty=", "Content-Length=4" },
          pairs_seen)
        if _VERSION ~= "Lua 5.1" then
          local count = 0
          for name, value in pairs(headers) do
            count = count + 1
            assert.equal("string", type(name .. value))
          end
          assert.equal(5, count)
          assert.equal(5, #headers)
        end
      end)

      it("has the same headers each time it is asked, longer than itself", function()
        local headers
        do
          local res = response(FIELDS, { stream = stream })
          headers = res.headers
          assert.equal(headers, res.headers)
        end
        collectgarbage()
        collectgarbage()
        assert.equal("text/plain", headers["content-type"])
        local iterate = headers:each()
        headers = nil -- luacheck: ignore
        collectgarbage()
        assert.equal("Content-Type", (iterate()))
      end)

      it("has trailers once its body was read", function()
        local res = assert(api:get("/trailers", { stream = stream }))
        while res:read() do end
        assert.equal("218", res.trailers["X-Sum"])
        assert.same({ "yes" }, res.trailers:all "x-second")
        assert.is_nil(assert(api:get "/ok").trailers)
      end)

      it("is not hidden by a peer's field names", function()
        local res = response("HTTP/1.1 200 OK\r\nall: x\r\neach: y\r\nContent-Length: 0\r\n\r\n", { stream = stream })
        assert.same({ "x" }, res.headers:all "all")
        assert.equal("all", (res.headers:each()()))
      end)

      it("decodes JSON", function()
        local function json(text) return response("HTTP/1.1 200 OK\r\n\r\n" .. text, { stream = stream }):json() end
        assert.same({ a = { 1, 2 }, b = "x" }, json '{ "a": [1, 2], "b": "x", "c": null }')
        assert.equal(42, json " 42 ")
        assert.is_false(json "false")
        for _, text in ipairs { "", "{", "[1,]x", "1 2", "nope" } do
          local value, err = json(text)
          assert.is_nil(value)
          assert.same({ "protocol", "JSON" }, { err.kind, err.code })
          assert.is_truthy(tostring(err):find "^protocol: the body is no JSON: ")
        end
      end)

      it("refuses what is no object of its kind", function()
        local res = response(FIELDS, { stream = stream })
        for _, method in ipairs { "read", "close", "chunks", "json" } do
          raises("a method of hawser.Response was called on", function() res[method]() end)
          raises("a method of hawser.Response was called on", function() res[method] {} end)
        end
        raises("the callback is 1; allowed", function() res:read(1) end)
        raises("a method of hawser.Headers was called on", function() res.headers.all({}, "x") end)
        raises("the name of the header is missing", function() res.headers:all() end)
        res:close()
      end)
    end)
  end

  describe("read piece by piece", function()
    it("comes as it comes, to its end", function()
      for _, path in ipairs { "/bytes/200000", "/chunked/50/4000", "/until-close/200000" } do
        local res, size = assert(api:get(path, { stream = true })), 0
        while true do
          local chunk, err = res:read()
          if not chunk then
            assert.is_nil(err)
            break
          end
          assert.is_true(#chunk > 0)
          size = size + #chunk
        end
        assert.equal(200000, size)
        assert.is_nil(res:read())
        assert.equal(1, select("#", res:read()))
      end
    end)

    it("iterates with chunks(), which raises what breaks it off", function()
      local size = 0
      for chunk in assert(api:get("/chunked/10/100", { stream = true })):chunks() do size = size + #chunk end
      assert.equal(1000, size)
      local ok, err = pcall(function()
        for chunk in assert(api:get("/fin/body", { stream = true })):chunks() do size = size + #chunk end
      end)
      assert.is_false(ok)
      assert.equal("reset", err.kind)
      assert.equal(1005, size)
      for chunk in assert(api:get "/ok"):chunks() do assert.equal("ok", chunk) end
    end)

    it("repeats the error that broke it off", function()
      local res = assert(api:get("/rst/body", { stream = true }))
      local chunk, err
      repeat chunk, err = res:read() until not chunk
      assert.same({ "reset", "body" }, { err.kind, err.phase })
      assert.equal("reset", select(2, res:read()).kind)
      assert.equal(200, res.status)
      assert.equal("10", res.headers["content-length"])
    end)

    it("can be closed at any time, which frees its connection", function()
      local res = assert(api:get("/stall/body", { stream = true }))
      assert.equal(1, api:stats().busy)
      assert.is_true(res:close())
      assert.is_true(res:close())
      assert.equal(0, api:stats().open)
      assert.equal("closed", select(2, res:read()).kind)
      res = assert(api:get("/bytes/10", { stream = true }))
      while res:read() do end
      assert.is_true(res:close())
      assert.is_nil(res:read())
      assert.equal(1, api:stats().idle)
    end)

    it("ends the wait of who reads it when somebody else closes it", function()
      hawser.run(function()
        local res = assert(api:get("/stall/body", { stream = true }))
        assert(res:read())
        local reader = hawser.spawn(function() return res:read() end)
        hawser.sleep(.001)
        res:close()
        local ok, chunk, err = reader:join()
        assert.is_true(ok)
        assert.is_nil(chunk)
        assert.equal("closed", err.kind)
      end)
    end)

    it("has one reader at a time", function()
      local res = assert(api:get("/stall/body", { stream = true }))
      assert(res:read())
      local handle = res:read(function() end)
      raises("somebody else is waiting in a read of this response", function() res:read() end)
      handle:cancel()
      hawser.run()
      res:close()
    end)

    it("is reported as a leak and closed when it is collected unread", function()
      local leaks = {}
      m:on("leak", function(event) leaks[#leaks + 1] = event end)
      local function leak() assert(api:get("/stall/body", { stream = true })) end
      leak()
      collectgarbage()
      collectgarbage()
      hawser.sleep(0)
      assert.equal(1, #leaks)
      assert.same({ "leak", "response", "api", "first" },
        { leaks[1].event, leaks[1].reason, leaks[1].upstream, leaks[1].peer })
      assert.is_truthy(leaks[1].text:find "response_spec.lua:%d+$")
      assert.equal(0, api:stats().open)
    end)

    it("is no leak when it was read to its end", function()
      local leaks = 0
      m:on("leak", function() leaks = leaks + 1 end)
      local function use()
        local res = assert(api:get("/chunked/2/10", { stream = true }))
        while res:read() do end
        assert(api:get "/ok")
      end
      use()
      collectgarbage()
      collectgarbage()
      hawser.sleep(0)
      assert.equal(0, leaks)
    end)

    it("holds the peer back while nobody reads", function()
      local res = assert(api:get("/bytes/100000000", { stream = true }))
      local before = collectgarbage "count"
      hawser.sleep(.05)
      assert.is_true(collectgarbage "count" - before < 1024)
      assert(res:read())
      res:close()
    end)
  end)

  it("with a whole body gives that once to read()", function()
    local res = assert(api:get "/ok")
    assert.equal("ok", res:read())
    assert.is_nil(res:read())
    assert.equal("ok", res.body)
    res = assert(api:get "/status/204")
    assert.equal("", res.body)
    assert.is_nil(res:read())
    local chunks = {}
    res = assert(api:get "/ok")
    for i = 1, 2 do res:read(function(chunk) chunks[i] = chunk or "end" end) end
    assert.same({}, chunks)
    hawser.run()
    assert.same({ "ok", "end" }, chunks)
  end)

  it("may be huge, or hold any bytes", function()
    assert.equal(50000000, #assert(api:get "/bytes/50000000").body)
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes)
    assert.equal(all, assert(api:post("/body", all)).body)
  end)

  it("survives a table that pretends to be one", function()
    local fake = setmetatable({}, getmetatable(assert(api:get "/ok")))
    assert.has_error(function() return fake.reason end)
    assert.has_error(function() return fake:read() end)
  end)
end)
