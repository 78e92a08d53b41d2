--- Every fault of a peer ends as the error that names it, leaks nothing and harms nobody else.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

-- Long enough that a working answer is never cut off by it, short enough to wait for where silence is
-- what a test is about.
local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over

-- The iterators of Lua 5.1 cannot wait.
local CAN_ITERATE = _VERSION ~= "Lua 5.1" or rawget(_G, "jit")

describe("a fault", function()
  local faultd, m, api, events

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function url(port) return "http://127.0.0.1:" .. port end

  before_each(function()
    events = {}
    m = hawser.new { log = function() end, retry = false, breaker = false }
    for _, name in ipairs { "close", "leak", "stale_reuse", "error" } do
      m:on(name, function(event) events[#events + 1] = event end)
    end
    api = m:upstream("faultd", { peers = { url(faultd.http) } })
    faultd:ask "zero"
  end)

  -- The server's own count shows that no socket was forgotten.
  after_each(function()
    local stats = ledger.settled(api)
    m:close()
    faultd:ask "await/http/open/0"
    faultd:ask "await/raw/open/0"
    ledger.is_at_rest(stats)
  end)

  local function event_of(name)
    for _, event in ipairs(events) do
      if event.event == name then return event end
    end
  end

  -- Makes a call while another request is in flight on the same upstream, which must not notice.
  local function beside_another(call)
    return hawser.run(function()
      local other = hawser.spawn(function() return api:get "/hold/beside" end)
      faultd:ask "held/beside/1"
      local result, err = call()
      faultd:ask "release/beside"
      local joined, res = other:join()
      assert.is_true(joined)
      assert.equal("ok", res.body)
      return result, err
    end)
  end

  -- The error of a call that must fail, which has to have all the fields of `expected`.
  local function failure(expected, call)
    local result, err = beside_another(call)
    assert.is_nil(result)
    assert.is_truthy(err, "no error either")
    for field, value in pairs(expected) do
      assert.equal(value, err[field], ("err.%s of %s"):format(field, tostring(err)))
    end
    assert.is_nil(tostring(err):find "\n")
    return err
  end

  describe("while connecting", function()
    local function fails(expected, peer, options)
      options = options or {}
      options.peers = { peer }
      local other = m:upstream("other", options)
      local err = failure(expected, function() return other:get "/ok" end)
      ledger.is_at_rest(ledger.settled(other))
      assert.equal(0, other:stats().created)
      return err
    end

    it("is 'refused' when nobody listens", function()
      local err = fails({ kind = "refused", code = "ECONNREFUSED", phase = "connect", sent = false, attempts = 1 },
        url(faultd.closed))
      assert.equal("127.0.0.1:" .. faultd.closed, err.peer)
    end)

    it("is 'connect' when there is no such socket", function()
      fails({ kind = "connect", code = "ENOENT", phase = "connect", sent = false },
        "unix:" .. faultd.dir .. "/nowhere", { protocol = "http1" })
    end)

    it("is a timeout of the dial when nobody answers", function()
      fails({ kind = "timeout", phase = "connect", sent = false }, url(faultd.blackhole),
        { timeouts = { connect = SHORT } })
    end)

    it("is a timeout of the request when that is the shorter one", function()
      fails({ kind = "timeout", phase = "connect", sent = false }, url(faultd.blackhole),
        { timeouts = { request = SHORT, connect = 3 * SHORT } })
    end)

    it("is told at once to all who share the dial", function()
      local other = m:upstream("other", { peers = { url(faultd.closed) }, limits = { dials = 1 } })
      local calls = {}
      for i = 1, 20 do calls[i] = function() return select(2, other:get "/ok") end end
      for _, outcome in ipairs(hawser.all(calls)) do assert.equal("refused", outcome[2].kind) end
      ledger.is_at_rest(ledger.settled(other))
    end)
  end)

  describe("of the response", function()
    local cases = {
      { "/never", { timeout = ENOUGH }, { kind = "timeout", phase = "headers" } },
      { "/stall/head", { timeout = ENOUGH }, { kind = "timeout", phase = "headers" } },
      { "/stall/body", { timeout = ENOUGH }, { kind = "timeout", phase = "body" } },
      { "/stall/chunk", { timeout = ENOUGH }, { kind = "timeout", phase = "body" } },
      { "/rst/now", {}, { kind = "reset", code = "ECONNRESET", phase = "headers" } },
      { "/rst/head", {}, { kind = "reset", code = "ECONNRESET", phase = "headers" } },
      { "/rst/body", {}, { kind = "reset", code = "ECONNRESET", phase = "body" } },
      { "/fin/now", {}, { kind = "reset", code = "EOF", phase = "headers" } },
      { "/fin/head", {}, { kind = "reset", code = "EOF", phase = "headers" } },
      { "/fin/body", {}, { kind = "reset", code = "EOF", phase = "body" } },
      { "/fin/chunk", {}, { kind = "reset", code = "EOF", phase = "body" } },
      { "/upgrade", {}, { kind = "unsupported", code = "UPGRADE", phase = "headers" } },
      { "/informational/1000", {}, { kind = "protocol", code = "TOO_MANY_1XX", phase = "headers" } },
      { "/head-size/70000", {}, { kind = "limit", code = "HEADER_SIZE", phase = "headers" } },
      { "/line-size/70000", {}, { kind = "limit", code = "HEADER_SIZE", phase = "headers" } },
      { "/fields/5000", {}, { kind = "limit", code = "HEADER_COUNT", phase = "headers" } },
      { "/endless/head", {}, { kind = "limit", code = "HEADER_SIZE", phase = "headers" } },
      { "/chunk-line/70000", {}, { kind = "limit", code = "CHUNK_LINE", phase = "body" } },
      { "/bytes/1000000", { max_body = 1000 }, { kind = "limit", code = "BODY_SIZE" } },
      { "/chunked/1000/1000", { max_body = 1000 }, { kind = "limit", code = "BODY_SIZE" } },
      { "/until-close/1000000", { max_body = 1000 }, { kind = "limit", code = "BODY_SIZE" } },
    }

    for _, case in ipairs(cases) do
      local path, options, expected = case[1], case[2], case[3]
      it(("%s is %s%s"):format(path, expected.kind, expected.code and " " .. expected.code or ""), function()
        expected.sent = true
        local err = failure(expected, function() return api:get(path .. "?key=once", options) end)
        assert.equal("127.0.0.1:" .. faultd.http, err.peer)
        assert.equal(1, faultd:ask "seen/GET/once")
        assert.equal(1, api:stats().open, "only the other request's connection is left")
      end)
    end

    it("is no fault when it stays within the limits", function()
      for _, path in ipairs { "/head-size/60000", "/line-size/60000", "/fields/500", "/chunk-line/100",
        "/informational/3", "/continue", "/chunked/10/100", "/bytes/1000" } do
        local res = assert(api:get(path, { max_body = 1000 }))
        assert.equal(200, res.status)
      end
      assert.equal(1, api:stats().created)
    end)

    it("stops a body that drips past the request's deadline, however lively it is", function()
      local err = failure({ kind = "timeout", phase = "body", sent = true }, function()
        return api:get("/drip/100000/1", { timeout = ENOUGH })
      end)
      assert.equal("127.0.0.1:" .. faultd.http, err.peer)
    end)

    it("stops a head that drips past the request's deadline", function()
      failure({ kind = "timeout", phase = "headers" }, function()
        return api:get("/drip-head/20", { timeout = ENOUGH })
      end)
    end)

    it("is a timeout after silence, while drops that keep coming are none", function()
      api:update { timeouts = { read = 5 * SHORT } }
      assert.equal(("x"):rep(20), assert(api:get "/drip/20/30").body)
      local res, err = api:get "/never"
      assert.is_nil(res)
      assert.equal("timeout", err.kind)
      assert.equal("headers", err.phase)
    end)

    it("breaks a streamed body after what came before it", function()
      hawser.run(function()
        for path, kind in pairs { ["/fin/body"] = "reset", ["/rst/body"] = "reset", ["/fin/chunk"] = "reset" } do
          local res = assert(api:get(path, { stream = true }))
          local first, err = res:read()
          if first then
            assert.equal("12345", first)
            first, err = res:read()
          end
          assert.is_nil(first)
          assert.equal(kind, err.kind)
          assert.equal("body", err.phase)
        end
      end)
    end)

    if CAN_ITERATE then
      it("is raised by the iterator over a streamed body", function()
        hawser.run(function()
          local res = assert(api:get("/fin/body", { stream = true }))
          local ok, err = hawser.pcall(function()
            for chunk in res:chunks() do assert.equal("12345", chunk) end
          end)
          assert.is_false(ok)
          assert.equal("reset", err.kind)
        end)
      end)
    end

    it("makes a streamed body time out in silence, and the response is over", function()
      api:update { timeouts = { read = ENOUGH } }
      hawser.run(function()
        local res = assert(api:get("/stall/body", { stream = true }))
        assert.equal("12345", res:read())
        local chunk, err = res:read()
        assert.is_nil(chunk)
        assert.equal("timeout", err.kind)
        assert.equal("body", err.phase)
      end)
      assert.equal(0, api:stats().open)
    end)
  end)

  describe("of the message syntax", function()
    local OK = "HTTP/1.1 200 OK\r\n"
    local CHUNKED = OK .. "Transfer-Encoding: chunked\r\n\r\n"
    local malformed = {
      ["no status line"] = "hello\r\n\r\n",
      ["another protocol"] = "SSH-2.0-OpenSSH\r\n\r\n",
      ["a version of three digits"] = "HTTP/1.10 200 OK\r\n\r\n",
      ["HTTP/2.0 in text"] = "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
      ["HTTP/0.9"] = "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
      ["a version in lower case"] = "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      ["white space before the status line"] = " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
      ["a status of two digits"] = "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
      ["a status of four digits"] = "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
      ["a status below 100"] = "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
      ["a status above 599"] = "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
      ["a status with a sign"] = "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
      ["a control byte in the reason"] = "HTTP/1.1 200 O\1K\r\nContent-Length: 0\r\n\r\n",
      ["a field without a colon"] = OK .. "Content-Length 0\r\n\r\n",
      ["a field without a name"] = OK .. ": value\r\nContent-Length: 0\r\n\r\n",
      ["a space before the colon"] = OK .. "Content-Length : 0\r\n\r\n",
      ["a space in a name"] = OK .. "Content Length: 0\r\n\r\n",
      ["a control byte in a name"] = OK .. "Con\1tent: 0\r\nContent-Length: 0\r\n\r\n",
      ["a NUL in a value"] = OK .. "A: b\0c\r\nContent-Length: 0\r\n\r\n",
      ["a folded line"] = OK .. "A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
      ["a first field that is folded"] = OK .. " A: b\r\nContent-Length: 0\r\n\r\n",
      ["a bare CR in a value"] = OK .. "A: b\rc\r\nContent-Length: 0\r\n\r\n",
      ["a negative length"] = OK .. "Content-Length: -1\r\n\r\n",
      ["a length with a plus"] = OK .. "Content-Length: +1\r\n\r\nx",
      ["a length with a comma"] = OK .. "Content-Length: 1,2\r\n\r\nx",
      ["a length in hex"] = OK .. "Content-Length: 0x1\r\n\r\nx",
      ["an empty length"] = OK .. "Content-Length: \r\n\r\n",
      ["a length with a space within"] = OK .. "Content-Length: 1 2\r\n\r\nx",
      ["a length beyond 64 bits"] = OK .. "Content-Length: 99999999999999999999\r\n\r\nx",
      ["lengths that differ"] = OK .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
      ["a length beside Transfer-Encoding"] = OK .. "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ["an unknown transfer coding"] = OK .. "Transfer-Encoding: chunked, gzip\r\n\r\n",
      ["chunked twice"] = OK .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ["Transfer-Encoding of HTTP/1.0"] = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ["a chunk size that is no number"] = CHUNKED .. "xyz\r\n",
      ["an empty chunk size"] = CHUNKED .. "\r\nok\r\n",
      ["a negative chunk size"] = CHUNKED .. "-1\r\n",
      ["a chunk size with a plus"] = CHUNKED .. "+2\r\nok\r\n0\r\n\r\n",
      ["a chunk size with 0x"] = CHUNKED .. "0x2\r\nok\r\n0\r\n\r\n",
      ["a chunk size beyond 64 bits"] = CHUNKED .. "10000000000000000\r\n",
      ["a space before a chunk size"] = CHUNKED .. " 2\r\nok\r\n0\r\n\r\n",
      ["a chunk line ended by LF"] = CHUNKED .. "2\nok\r\n0\r\n\r\n",
      ["a chunk that is longer than it says"] = CHUNKED .. "2\r\nokay\r\n0\r\n\r\n",
      ["a chunk without its CRLF"] = CHUNKED .. "2\r\nok0\r\n\r\n",
      ["a trailer without a colon"] = CHUNKED .. "0\r\nnonsense\r\n\r\n",
    }

    for name, bytes in pairs(malformed) do
      it(("is 'protocol': %s"):format(name), function()
        failure({ kind = "protocol", sent = true }, function() return api:get("/raw/" .. servers.hex(bytes)) end)
        assert.equal(1, ledger.closed(api:stats(), "failed"))
      end)
    end

    it("is found as well when each byte comes alone", function()
      local bytes = OK .. "A: b\r\n c\r\nContent-Length: 0\r\n\r\n"
      failure({ kind = "protocol", code = "OBS_FOLD" }, function()
        return api:get("/split/" .. servers.hex(bytes))
      end)
    end)

    it("is none in a response of which each byte comes alone", function()
      local bytes = CHUNKED .. "2;a=b\r\nok\r\n1\r\n!\r\n0\r\nSum: 3\r\n\r\n"
      local res = assert(api:get("/split/" .. servers.hex(bytes)))
      assert.equal("ok!", res.body)
      assert.equal("3", res.trailers.sum)
      assert.is_true(assert(api:get "/ok").reused)
    end)
  end)

  describe("of a reused connection", function()
    -- Leaves one idle connection that the server will close when the next request comes.
    local function leave_stale_connection(how)
      assert(api:get("/stale/" .. how))
      assert.equal(1, api:stats().idle)
    end

    for _, how in ipairs { "fin", "rst" } do
      it(("is hidden by one replay when GET meets a %s"):format(how:upper()), function()
        leave_stale_connection(how)
        local res = assert(api:get "/ok?key=get")
        assert.equal("ok", res.body)
        assert.is_false(res.reused)
        assert.equal(2, faultd:ask "seen/GET/get")
        assert.equal(1, api:stats().replayed)
        assert.equal(1, ledger.closed(api:stats(), "stale"))
        assert.is_truthy(event_of "stale_reuse")
      end)

      it(("is told to the caller when POST meets a %s, and the POST is not sent twice"):format(how:upper()), function()
        leave_stale_connection(how)
        local res, err = api:post("/ok?key=post", "body")
        assert.is_nil(res)
        assert.equal("reset", err.kind)
        assert.equal("headers", err.phase)
        assert.is_true(err.sent)
        assert.is_false(err.retryable)
        assert.equal(1, faultd:ask "seen/POST/post")
        assert.equal(0, api:stats().replayed)
      end)
    end

    it("is hidden from a POST that says it may go again", function()
      for _, options in ipairs { { idempotent = true }, { headers = { ["Idempotency-Key"] = "1" } } } do
        leave_stale_connection "fin"
        assert.equal("body", assert(api:post("/body?key=again", "body", options)).body)
      end
      assert.equal(4, faultd:ask "seen/POST/again")
      assert.equal(2, api:stats().replayed)
    end)

    it("is not hidden from a GET that says it may not", function()
      leave_stale_connection "fin"
      local res, err = api:get("/ok?key=never", { idempotent = false })
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.equal(1, faultd:ask "seen/GET/never")
    end)

    it("is not hidden once a producer was called", function()
      leave_stale_connection "fin"
      local produced = 0
      local res, err = api:put("/ok?key=produced", function()
        produced = produced + 1
        return produced == 1 and "once" or nil
      end)
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.is_true(faultd:ask "seen/PUT/produced" <= 1)
    end)

    it("is replayed only once", function()
      leave_stale_connection "fin"
      local res, err = api:get "/fin/now?key=twice"
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.equal(2, faultd:ask "seen/GET/twice")
    end)

    it("is not replayed when a fresh connection breaks", function()
      failure({ kind = "reset", sent = true }, function() return api:get "/fin/now?key=fresh" end)
      assert.equal(1, faultd:ask "seen/GET/fresh")
    end)

    it("is not replayed once a byte of the response came", function()
      assert(api:get "/ok")
      local res, err = api:get "/fin/head?key=half"
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.equal(1, faultd:ask "seen/GET/half")
    end)
  end)

  describe("of an idle connection", function()
    -- The connection is closed by the pool itself, without a request that would have to find out.
    local function is_closed_at_once(poke, reason)
      assert(api:get "/ok")
      assert.equal(1, faultd:ask("poke/http/" .. poke))
      faultd:ask "await/http/open/0"
      local stats = api:stats()
      assert.equal(0, stats.open)
      assert.equal(1, ledger.closed(stats, reason))
      assert.equal("ok", assert(api:get "/ok").body)
      assert.equal(0, api:stats().replayed)
    end

    it("closes it when a FIN comes", function() is_closed_at_once("fin", "peer") end)
    it("closes it when a RST comes", function() is_closed_at_once("rst", "peer") end)
    it("closes it when bytes come that nothing asked for", function() is_closed_at_once("bytes", "unexpected") end)

    it("never gives bytes after a response to the next request", function()
      assert.equal("ok", assert(api:get "/extra").body)
      assert.equal("ok", assert(api:get "/ok").body)
      assert.equal(2, api:stats().created)
      assert.equal(0, api:stats().replayed)
    end)

    it("that promised to stay and left is not reused", function()
      for _, path in ipairs { "/fin/after", "/rst/after" } do
        assert.equal("ok", assert(api:get(path)).body)
        faultd:ask "await/http/open/0"
        assert.equal("ok", assert(api:post("/close", "body")).body)
      end
    end)
  end)

  describe("while sending", function()
    local big = ("x"):rep(8 * 1024 * 1024)

    it("ends the request, not the process, when the peer resets", function()
      failure({ kind = "reset", sent = true }, function() return api:post("/rst/early", big) end)
    end)

    it("stops a producer when the peer resets", function()
      local produced = 0
      failure({ kind = "reset", sent = true }, function()
        return api:post("/rst/early", function()
          produced = produced + 1
          return produced <= 1000 and ("x"):rep(65536) or nil
        end)
      end)
      assert.is_true(produced < 1000)
    end)

    it("is none when the peer answers before it has read the body", function()
      local res = assert(api:post("/early/413", "small"))
      assert.equal(413, res.status)
    end)

    it("gives back-pressure to a producer, whose chunks are not piled up", function()
      local produced, chunk = 0, ("x"):rep(65536)
      hawser.run(function()
        local call = hawser.spawn(function()
          return api:post("/unread/upload", function()
            produced = produced + 1
            return produced <= 400 and chunk or nil
          end)
        end)
        faultd:ask "held/upload/1"
        -- Every answer to a question is a chance to produce more; the count stands still in the end.
        local before
        repeat
          before = produced
          for _ = 1, 20 do faultd:ask "get/http/open" end
        until produced == before
        assert.is_true(produced < 400, "all 25 MiB were taken while nobody read")
        faultd:ask "release/upload"
        local _, res = call:join()
        assert.equal(("chunked %d"):format(400 * 65536), res.body:match "^chunked %d+")
      end)
    end)

    it("in a producer ends the request with what the producer raised", function()
      failure({ kind = "canceled" }, function()
        return api:post("/sink", function() error "no more data" end)
      end)
    end)
  end)

  describe("on this side", function()
    it("of a callback that raises is reported, and nothing else is harmed", function()
      local answers = 0
      api:get("/ok", {}, function() error "boom" end)
      api:get("/ok", {}, function() answers = answers + 1 end)
      hawser.run()
      assert.equal(1, answers)
      assert.is_truthy(event_of "error")
      assert.equal("ok", assert(api:get "/ok").body)
    end)

    it("of a task that raises cancels what run() started, and is raised", function()
      assert.has_error(function()
        hawser.run(function()
          hawser.spawn(function() api:get "/never" end)
          faultd:ask "await/http/open/1"
          error("boom", 0)
        end)
      end)
    end)

    it("of a canceled task frees what it held, wherever it waits", function()
      local slow = m:upstream("slow", { peers = { url(faultd.http) }, limits = { per_peer = 1 } })
      local dark = m:upstream("dark", { peers = { url(faultd.blackhole) }, timeouts = { connect = SHORT } })
      local waits = {
        headers = function() return slow:get "/never" end,
        queue = function() return slow:get "/ok" end,
        connect = function() return dark:get "/ok" end,
      }
      hawser.run(function()
        local tasks = { hawser.spawn(waits.headers) }
        faultd:ask "await/http/open/1"
        tasks[2], tasks[3] = hawser.spawn(waits.queue), hawser.spawn(waits.connect)
        hawser.sleep(0)
        for _, task in ipairs(tasks) do task:cancel() end
        for _, task in ipairs(tasks) do
          local joined, result, err = task:join()
          assert.equal("canceled", (joined and err or result).kind)
        end
      end)
      ledger.is_at_rest(ledger.settled(slow))
      ledger.is_at_rest(ledger.settled(dark))
    end)

    it("of a call that is canceled through its handle is told once, as canceled", function()
      local calls, kind = 0, nil
      local handle = api:get("/never", {}, function(_, err)
        calls, kind = calls + 1, err and err.kind
      end)
      faultd:ask "await/http/open/1"
      handle:cancel()
      handle:cancel()
      assert.equal(0, calls)
      hawser.run()
      assert.equal(1, calls)
      assert.equal("canceled", kind)
    end)

    if coroutine.close then -- of Lua 5.4
      it("of a coroutine that was closed in mid-request frees what it held", function()
        hawser.run(function()
          local thread
          hawser.spawn(function()
            thread = coroutine.running()
            api:get "/hold/abandoned"
          end)
          faultd:ask "held/abandoned/1"
          coroutine.close(thread)
          faultd:ask "release/abandoned"
        end)
      end)
    end

    it("of a manager that is closed ends all that is open with 'closed'", function()
      local one = hawser.new { log = function() end }
      local http = one:upstream("http", { peers = { url(faultd.http) }, limits = { per_peer = 2 } })
      local dark = one:upstream("dark", { peers = { url(faultd.blackhole) } })
      local raw = one:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
      local errors = hawser.run(function()
        local conn = assert(raw:acquire())
        local stream = assert(http:get("/stall/body", { stream = true }))
        assert(stream:read())
        local tasks = {}
        for i, call in ipairs {
          function() return http:get "/never" end, -- in flight
          function() return http:get "/ok" end, -- queued
          function() return dark:get "/ok" end, -- dialling
          function() return stream:read() end,
          function() return conn:read "line" end,
        } do
          tasks[i] = hawser.spawn(function() return select(2, call()) end)
        end
        faultd:ask "await/http/open/2"
        hawser.sleep(0)
        one:close()
        local ends = {}
        for i, task in ipairs(tasks) do ends[i] = select(2, task:join()) end
        return ends
      end)
      for i = 1, 5 do assert.equal("closed", errors[i].kind, "waiter " .. i) end
      assert.equal("closed", select(2, one:get(url(faultd.http))).kind)
    end)
  end)

  describe("of memory management", function()
    -- What is dropped is found by two collections: one finalizes, one frees.
    local function collect()
      collectgarbage()
      collectgarbage()
      hawser.sleep(0)
    end

    it("closes a streaming response that nobody reads, and reports it", function()
      hawser.run(function() assert(api:get("/stall/body", { stream = true })) end)
      collect()
      faultd:ask "await/http/open/0"
      assert.is_truthy(event_of "leak")
    end)

    it("closes a lease that nobody releases, and says where it was acquired", function()
      local raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
      hawser.run(function() assert(raw:acquire()) end)
      collect()
      faultd:ask "await/raw/open/0"
      local leak = event_of "leak"
      assert.equal("raw", leak.upstream)
      assert.is_truthy(tostring(leak.text):find "faults_spec.lua:%d+")
      ledger.is_at_rest(ledger.settled(raw))
    end)

    it("closes a manager that nobody holds, but not while it is at work", function()
      local answer
      local function ask()
        hawser.new():get(url(faultd.http) .. "/hold/dropped", {}, function(res) answer = res and res.body end)
      end
      ask()
      faultd:ask "held/dropped/1"
      collect()
      faultd:ask "release/dropped"
      hawser.run()
      assert.equal("ok", answer)
      collect()
      faultd:ask "await/http/open/0"
    end)
  end)
end)
