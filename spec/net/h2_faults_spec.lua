--- Every fault of a peer of HTTP/2 ends as a response, a safe replay or the error that names it; nothing hangs, nothing
-- is sent twice that must not be, and no other connection is harmed.
local hawser = require "hawser"
local frames = require "spec.support.frames"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local SHORT = 0.1
local ENOUGH = 0.4 -- to get as far as it should on a busy machine, before that time is over

local NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR = 0, 1, 3, 6
local REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 7, 8, 9, 11

local OK = { { ":status", "200" } }
local HEAD = frames.headers(OK)
local END = frames.data ""

local function head_of(...)
  return frames.headers { OK[1], ... }
end

describe("HTTP/2, a fault", function()
  local faultd, m, api, events, before

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  local function url() return "h2c://127.0.0.1:" .. faultd.h2 end

  local function connect(options)
    options = options or {}
    options.peers = { url() }
    if options.retry == nil then options.retry = false end
    api = m:upstream("faultd", options)
    return api
  end

  before_each(function()
    events, api = {}, nil
    m = hawser.new { log = function() end, breaker = false }
    for _, name in ipairs { "close", "leak", "error" } do
      m:on(name, function(event) events[#events + 1] = event end)
    end
    faultd:ask "zero"
    before = { accepted = faultd:ask "get/h2/accepted", out = faultd:ask "get/h2/out" }
  end)

  -- The server's own count shows that no socket was forgotten.
  after_each(function()
    local stats = api and ledger.settled(api)
    m:close()
    faultd:ask "await/h2/open/0"
    if stats then ledger.is_at_rest(stats) end
  end)

  local function count(name) return faultd:ask("get/h2/" .. name) - (before[name] or 0) end

  -- So many calls at once; their outcomes as { res, err } in order.
  local function at_once(number, call)
    local calls, outcomes = {}, {}
    for i = 1, number do calls[i] = function() return call(i) end end
    for i, outcome in ipairs(hawser.all(calls)) do outcomes[i] = { outcome[2], outcome[3] } end
    return outcomes
  end

  local function all_ok(outcomes)
    for i, outcome in ipairs(outcomes) do
      local res = assert(outcome[1], ("request %d: %s"):format(i, tostring(outcome[2])))
      assert.equal(200, res.status)
      assert.equal("ok", res.body)
      assert.equal("2", res.version)
    end
    return outcomes
  end

  local function is_ok(res, err)
    return all_ok { { res, err } }
  end

  local function has(expected, err)
    for field, value in pairs(expected) do
      assert.equal(value, err[field], ("err.%s of %s"):format(field, tostring(err)))
    end
    assert.is_nil(tostring(err):find "\n")
  end

  -- Makes the request while another one is held on the same connection, and returns what became of both.
  local function beside_another(path, options)
    return hawser.run(function()
      local other = hawser.spawn(function() return api:get(frames.play("hold.beside", "ok")) end)
      faultd:ask "held/beside/1"
      local res, err = api:get(path, options)
      faultd:ask "release/beside"
      local _, other_res, other_err = other:join()
      return { res, err }, { other_res, other_err }
    end)
  end

  describe("of one stream", function()
    -- What the stream's request ends with, and the code of our RST_STREAM.
    local FIELD, MESSAGE, LENGTH = "HEADER", "H2_MESSAGE", "CONTENT_LENGTH"
    local cases = {
      { "a name with a capital", { head_of { "X-Upper", "1" }, END }, FIELD },
      { "a name with a space", { head_of { "x a", "1" }, END }, FIELD },
      { "a name with a colon", { head_of { "x:a", "1" }, END }, FIELD },
      { "no name", { head_of { "", "1" }, END }, FIELD },
      { "a NUL in a value", { head_of { "x", "a\0b" }, END }, FIELD },
      { "a line feed in a value", { head_of { "x", "a\nb: c" }, END }, FIELD },
      { "a carriage return in a value", { head_of { "x", "a\rb" }, END }, FIELD },
      { "a space before a value", { head_of { "x", " a" }, END }, FIELD },
      { "a tab behind a value", { head_of { "x", "a\t" }, END }, FIELD },
      { "Connection", { head_of { "connection", "close" }, END }, FIELD },
      { "Keep-Alive", { head_of { "keep-alive", "timeout=5" }, END }, FIELD },
      { "Transfer-Encoding", { head_of { "transfer-encoding", "chunked" }, END }, FIELD },
      { "Upgrade", { head_of { "upgrade", "h2c" }, END }, FIELD },
      { "Proxy-Connection", { head_of { "proxy-connection", "close" }, END }, FIELD },
      { "an unknown pseudo-header", { head_of { ":reason", "OK" }, END }, FIELD },
      { "a request's pseudo-header", { head_of { ":path", "/" }, END }, FIELD },
      { "a pseudo-header behind a field", { frames.headers { { "x", "1" }, OK[1] }, END }, FIELD },
      { "a second status", { head_of { ":status", "200" }, END }, FIELD },
      { "no status", { frames.headers { { "x", "1" } }, END }, MESSAGE },
      { "a status of two digits", { frames.headers { { ":status", "20" } }, END }, FIELD },
      { "a status of letters", { frames.headers { { ":status", "abc" } }, END }, FIELD },
      { "a status above 599", { frames.headers { { ":status", "600" } }, END }, MESSAGE },
      { "a switch of protocols", { frames.headers { { ":status", "101" } }, END }, FIELD },
      { "a 1xx that ends the stream", { frames.headers({ { ":status", "103" } }, 5) }, MESSAGE },
      { "less than Content-Length", { head_of { "content-length", "3" }, frames.data "ab" }, LENGTH },
      { "more than Content-Length", { head_of { "content-length", "1" }, frames.data "ab" }, LENGTH },
      { "nothing in place of Content-Length", { frames.headers({ OK[1], { "content-length", "3" } }, 5) }, LENGTH },
      { "two lengths", { head_of({ "content-length", "1" }, { "content-length", "2" }), END }, FIELD },
      { "a length of letters", { head_of { "content-length", "x" }, END }, FIELD },
      { "a body behind 204", { frames.headers { { ":status", "204" } }, frames.data "x" }, LENGTH },
      { "trailers with a pseudo-header", { HEAD, frames.headers(OK, 5) }, FIELD },
      { "trailers that do not end the stream", { HEAD, frames.headers { { "x", "1" } }, END }, MESSAGE },
      { "trailers with Connection", { HEAD, frames.headers({ { "connection", "close" } }, 5) }, FIELD },
      { "a window opened too far", { frames.raw(8, 0, "m", "7fffffff"), "ok" } },
    }

    for _, case in ipairs(cases) do
      local name, steps, code = case[1], case[2], case[3]
      it(name .. " is an error of the protocol, and the stream's alone", function()
        connect()
        local one, other = beside_another(frames.play((unpack or table.unpack)(steps)))
        assert.is_nil(one[1])
        has({ kind = "protocol", code = code, sent = true }, one[2])
        all_ok { other }
        assert.equal(1, count "accepted")
        assert.equal(1, count "resets")
        assert.equal(0, count "goaways")
      end)
    end

    local limits = {
      { "a head larger than limits.header",
        { frames.raw(1, 0, "m", "88"), frames.times(5, frames.raw(9, 0, "m", frames.large_field("x", 15000))),
          frames.raw(9, 4, "m"), END }, "HEADER_SIZE" },
      { "too many fields", { frames.raw(1, 0, "m", "88," .. frames.field("a", "b") .. "*2500"),
        frames.raw(9, 4, "m", frames.field("a", "b") .. "*2500"), END }, "HEADER_COUNT" },
      { "a small head that becomes a large one", -- 4,000 bytes, then references to them
        { frames.raw(1, 4, "m", ("88,%s,%s*10000"):format(frames.large_field("x", 4000), frames.AGAIN)), END },
        "HEADER_SIZE" },
      { "a body larger than max_body", { "body.100000" }, "BODY_SIZE" },
    }

    for _, case in ipairs(limits) do
      local name, steps, code = case[1], case[2], case[3]
      it(name .. " is 'limit', and the stream's alone", function()
        connect()
        local one, other = beside_another(frames.play((unpack or table.unpack)(steps)), { max_body = 1000 })
        assert.is_nil(one[1])
        has({ kind = "limit", code = code }, one[2])
        all_ok { other }
        assert.equal(1, count "accepted")
        assert.equal(CANCEL, count "reset-code")
      end)
    end

    it("DATA beyond its window is an error of the protocol, and the stream's alone", function()
      connect { h2 = { window = 65535, window_max = 65535 } }
      is_ok(api:get "/play/ok")
      hawser.run(function()
        local res = assert(api:get(frames.play(HEAD, frames.times(5, frames.raw(0, 0, "m", "78*16384"))),
          { stream = true }))
        faultd:ask "await/h2/resets/1"
        local chunk, err
        repeat chunk, err = res:read() until not chunk
        has({ kind = "protocol", code = "H2_FLOW_CONTROL" }, err)
      end)
      assert.equal(FLOW_CONTROL_ERROR, count "reset-code")
      is_ok(api:get "/play/ok")
      assert.equal(1, count "accepted")
    end)

    it("too many 1xx are an error of the protocol", function()
      connect()
      local hint = frames.headers { { ":status", "103" } }
      is_ok(api:get(frames.play(frames.times(3, hint), "ok")))
      local res, err = api:get(frames.play(frames.times(1000, hint), "ok"))
      assert.is_nil(res)
      has({ kind = "protocol", code = "TOO_MANY_1XX" }, err)
    end)

    local codes = { "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
      "FRAME_SIZE_ERROR", [8] = "CANCEL", [9] = "COMPRESSION_ERROR", [10] = "CONNECT_ERROR", [11] = "ENHANCE_YOUR_CALM",
      [12] = "INADEQUATE_SECURITY", [13] = "HTTP_1_1_REQUIRED", [14] = "RST_STREAM", [4294967295] = "RST_STREAM" }

    for number, code in pairs(codes) do
      it(("RST_STREAM with the code %.0f is 'reset', %s"):format(number, code), function()
        connect()
        local step = ("rst.%.0f"):format(number)
        local one, other = beside_another(frames.play(step))
        has({ kind = "reset", code = code, phase = "headers" }, one[2])
        all_ok { other }
        local two, another = beside_another(frames.play(HEAD, frames.data("abc", 0), step))
        has({ kind = "reset", code = code, phase = "body" }, two[2])
        all_ok { another }
        assert.equal(1, count "accepted")
      end)
    end

    it("RST_STREAM with NO_ERROR behind a response to a half-sent request leaves the response", function()
      connect()
      local chunks = 0
      local res = assert(api:post("/at-head/frame.1.5.m.0803343133+rst.0", function()
        chunks = chunks + 1
        return chunks < 1000 and ("x"):rep(10000) or nil
      end))
      assert.equal(413, res.status)
      is_ok(api:get "/play/ok")
      assert.equal(1, count "accepted")
    end)

    it("a stream that was refused unseen goes again, whatever its method, and costs no attempt", function()
      connect()
      is_ok(api:post(frames.play("first.1.refused", "rst." .. REFUSED_STREAM) .. "?key=refused", "body"))
      assert.equal(2, faultd:ask "seen/POST/refused")
    end)

    it("a stream that is refused again and again ends", function()
      connect()
      local res, err = api:post(frames.play("rst." .. REFUSED_STREAM) .. "?key=refused", "body")
      assert.is_nil(res)
      has({ kind = "reset", code = "REFUSED_STREAM" }, err)
      assert.equal(2, faultd:ask "seen/POST/refused")
    end)

    it("the first K streams refused are K that go again", function()
      connect()
      all_ok(at_once(20, function(i)
        return api:post(frames.play("first.10.refused", "rst." .. REFUSED_STREAM) .. "?key=" .. i, "body")
      end))
      assert.equal(30, count "streams")
      assert.equal(0, api:stats().failed)
    end)
  end)

  describe("of the connection", function()
    local PUSHED = frames.block { { ":method", "GET" }, { ":scheme", "http" }, { ":authority", "a" }, { ":path", "/" } }
    local cases = {
      { "DATA on stream 0", frames.data("x", 0, 0), PROTOCOL_ERROR },
      { "DATA before a head", frames.data "x", PROTOCOL_ERROR },
      { "DATA on a stream that nobody opened", frames.data("x", 0, 1001), PROTOCOL_ERROR },
      { "HEADERS on stream 0", frames.headers(OK, 4, 0), PROTOCOL_ERROR },
      { "HEADERS on a stream that nobody opened", frames.headers(OK, 4, 1001), PROTOCOL_ERROR },
      { "HEADERS on a stream of the server's", frames.headers(OK, 4, 2), PROTOCOL_ERROR },
      { "RST_STREAM on a stream that nobody opened", frames.raw(3, 0, 1001, "00000000"), PROTOCOL_ERROR },
      { "RST_STREAM on stream 0", frames.raw(3, 0, 0, "00000000"), PROTOCOL_ERROR },
      { "RST_STREAM of 3 bytes", frames.raw(3, 0, "m", "000000"), FRAME_SIZE_ERROR },
      { "WINDOW_UPDATE by 0", frames.raw(8, 0, 0, "00000000"), PROTOCOL_ERROR },
      { "WINDOW_UPDATE of a stream by 0", frames.raw(8, 0, "m", "00000000"), PROTOCOL_ERROR },
      { "WINDOW_UPDATE too far", frames.raw(8, 0, 0, "7fffffff"), FLOW_CONTROL_ERROR },
      { "WINDOW_UPDATE of 3 bytes", frames.raw(8, 0, 0, "000001"), FRAME_SIZE_ERROR },
      { "PING of 7 bytes", frames.raw(6, 0, 0, "00000000000000"), FRAME_SIZE_ERROR },
      { "PING on a stream", frames.raw(6, 0, "m", "0000000000000000"), PROTOCOL_ERROR },
      { "SETTINGS of 5 bytes", frames.raw(4, 0, 0, "0003000000"), FRAME_SIZE_ERROR },
      { "SETTINGS on a stream", frames.raw(4, 0, "m", "000300000001"), PROTOCOL_ERROR },
      { "an acknowledgement with SETTINGS", frames.raw(4, 1, 0, "000300000001"), FRAME_SIZE_ERROR },
      { "ENABLE_PUSH of 2", frames.setting(2, 2), PROTOCOL_ERROR },
      { "an initial window above 2^31", frames.setting(4, 2147483648), FLOW_CONTROL_ERROR },
      { "a largest frame below 16384", frames.setting(5, 100), PROTOCOL_ERROR },
      { "GOAWAY of 7 bytes", frames.raw(7, 0, 0, "00000000000000"), FRAME_SIZE_ERROR },
      { "GOAWAY on a stream", frames.raw(7, 0, "m", "0000000000000000"), PROTOCOL_ERROR },
      { "a frame larger than was allowed", frames.raw(0, 0, "m", "78*16385"), FRAME_SIZE_ERROR },
      { "DATA that is all padding", frames.raw(0, 8, "m", "0978"), PROTOCOL_ERROR },
      { "CONTINUATION behind nothing", frames.raw(9, 4, "m", "88"), PROTOCOL_ERROR },
      { "a frame between HEADERS and CONTINUATION",
        frames.raw(1, 0, "m", "88") .. "+" .. frames.raw(6, 0, 0, "0000000000000000"), PROTOCOL_ERROR },
      { "PUSH_PROMISE", frames.raw(5, 4, "m", "00000002" .. PUSHED), PROTOCOL_ERROR },
      { "a field that is not in the table", frames.raw(1, 4, "m", "ff7f"), COMPRESSION_ERROR },
      { "a cut field", frames.raw(1, 4, "m", "8840"), COMPRESSION_ERROR },
      { "a table larger than was allowed", frames.raw(1, 4, "m", "3fe2ff0388"), COMPRESSION_ERROR },
      { "HTTP/1.1", "bytes." .. servers.hex "HTTP/1.1 400 Bad Request\r\n\r\n", FRAME_SIZE_ERROR },
      { "DATA beyond its window", HEAD .. "+" .. frames.times(100, frames.raw(0, 0, "m", "78*16384")),
        FLOW_CONTROL_ERROR },
    }

    for _, case in ipairs(cases) do
      local name, step, code = case[1], case[2], case[3]
      it(name .. " ends it at once with the right GOAWAY", function()
        connect { h2 = { connection_window = 262144, connection_window_max = 262144 } }
        is_ok(api:get "/play/ok")
        -- Unread: what the peer may send is what the windows say.
        local res, err = hawser.run(function()
          local res, err = api:get(frames.play(step), { stream = true })
          if res then
            faultd:ask "await/h2/goaways/1"
            local chunk
            repeat chunk, err = res:read() until not chunk
          end
          return nil, err
        end)
        assert.is_nil(res)
        assert.equal("protocol", err.kind, tostring(err))
        faultd:ask "await/h2/open/0"
        assert.equal(code, count "code")
        is_ok(api:get "/play/ok")
        assert.equal(2, count "accepted")
      end)
    end

    it("ends what is open there, and what was not is not harmed", function()
      connect { limits = { per_peer = 1, streams = 5 } }
      local outcomes = hawser.run(function()
        local tasks = {}
        for i = 1, 10 do
          tasks[i] = hawser.spawn(function()
            return api:post(frames.play("first.5.begun", "hold.begun", "ok") .. "?key=" .. i, "body")
          end)
        end
        faultd:ask "held/begun/5"
        faultd:ask("h2/" .. frames.raw(8, 0, 0, "00000000"))
        for i = 1, 10 do tasks[i] = { select(2, tasks[i]:join()) } end
        return tasks
      end)
      local failed, fine = 0, {}
      for i, outcome in ipairs(outcomes) do
        if outcome[1] then
          fine[#fine + 1] = outcome
        else
          failed = failed + 1
          has({ kind = "protocol", code = "H2_PROTOCOL", sent = true }, outcome[2])
        end
        assert.equal(1, faultd:ask("seen/POST/" .. i))
      end
      assert.equal(5, failed)
      all_ok(fine)
    end)

    it("harms no other connection", function()
      connect { limits = { streams = 1, per_peer = 2 } }
      local one, other = beside_another(frames.play(frames.data("x", 0, 0)))
      assert.equal("protocol", one[2].kind)
      all_ok { other }
      assert.equal(2, count "accepted")
    end)

    it("frames on a stream that is over are nothing, or its end", function()
      connect { retry = { attempts = 2, backoff = { base = 0.001 } } }
      for _, step in ipairs { frames.data "late", frames.headers(OK, 5), frames.raw(3, 0, "m", "00000000"),
        frames.raw(8, 0, "m", "00000001") } do
        is_ok(api:get(frames.play("ok", step)))
        is_ok(api:get "/play/ok")
      end
      assert.is_truthy(count "goaways" <= 4)
    end)

    it("a peer that sends no SETTINGS first breaks the protocol", function()
      connect()
      faultd:ask "h2-greeting/none"
      local res, err = api:get "/play/ok"
      assert.is_nil(res)
      has({ kind = "protocol" }, err)
      faultd:ask "await/h2/goaways/1"
      assert.equal(PROTOCOL_ERROR, count "code")
    end)

    it("no pushes are asked for", function()
      connect()
      is_ok(api:get "/play/ok")
      assert.equal(0, count "push")
    end)
  end)

  describe("that is a flood", function()
    local floods = {
      { "PING", frames.raw(6, 0, 0, "0000000000000000") },
      { "SETTINGS", frames.raw(4, 0, 0) },
      { "acknowledgements of SETTINGS", frames.raw(4, 1, 0) },
      { "empty DATA", frames.data("", 0) },
      { "PRIORITY", frames.raw(2, 0, "m", "0000000000") },
      { "WINDOW_UPDATE", frames.raw(8, 0, 0, "00000001") },
      { "RST_STREAM", frames.raw(3, 0, 1, "00000008") },
      { "CONTINUATION", frames.raw(9, 0, "m", frames.field("a", "b")), frames.raw(1, 0, "m", "88") },
      { "empty CONTINUATION", frames.raw(9, 0, "m"), frames.raw(1, 0, "m", "88") },
    }

    for _, case in ipairs(floods) do
      local name, step, head = case[1], case[2], case[3] or HEAD
      it(("of %s ends, and the connection with it"):format(name), function()
        connect()
        is_ok(api:get "/play/ok") -- which is stream 1
        local res, err = api:get(frames.play(head, frames.times(100000, step)), { timeout = 20 })
        assert.is_nil(res)
        assert.is_truthy(err.kind == "protocol" or err.kind == "limit", tostring(err))
        faultd:ask "await/h2/open/0"
        -- A connection that is closed while more comes ends with RST, which may overtake the GOAWAY.
        if count "goaways" > 0 then
          assert.is_truthy(count "code" == ENHANCE_YOUR_CALM or count "code" == PROTOCOL_ERROR
            or count "code" == COMPRESSION_ERROR, count "code")
        end
        is_ok(api:get "/play/ok")
      end)
    end

    it("is none while it stays within reason", function()
      connect()
      is_ok(api:get "/play/ok")
      for _, name in ipairs { "PING", "SETTINGS", "PRIORITY", "WINDOW_UPDATE", "RST_STREAM" } do
        for _, case in ipairs(floods) do
          if case[1] == name then is_ok(api:get(frames.play(frames.times(100, case[2]), "ok"))) end
        end
      end
      assert.equal(1, count "accepted")
    end)

    it("of what must be ignored costs nothing that has to be kept", function()
      connect()
      local padding, unknown = frames.raw(0, 8, "m", "00"), frames.raw(250, 0, "m", "00")
      for _, step in ipairs { padding, unknown, frames.raw(250, 0, 0, "00") } do
        assert.equal("end", assert(api:get(frames.play(HEAD, frames.times(100000, step), frames.data "end"))).body)
      end
    end)
  end)

  describe("that is a GOAWAY", function()
    -- 40 POSTs on one connection, none of which is answered before `break_off` was played.
    local function burst(break_off, release)
      return hawser.run(function()
        local tasks = {}
        for i = 1, 40 do
          tasks[i] = hawser.spawn(function()
            return api:post(frames.play("first.40.burst", "hold.burst", "ok") .. "?key=" .. i, "body")
          end)
        end
        faultd:ask "held/burst/40"
        assert.equal(1, faultd:ask("h2/" .. break_off))
        if release then faultd:ask "release/burst" end
        for i = 1, 40 do tasks[i] = { select(2, tasks[i]:join()) } end
        return tasks
      end)
    end

    local function seen(times)
      local all = 0
      for i = 1, 40 do
        if faultd:ask("seen/POST/" .. i) == times then all = all + 1 end
      end
      return all
    end

    it("of nothing in the middle of a burst of 40 is 40 successes", function()
      connect()
      all_ok(burst("goaway.0.0+fin"))
      assert.equal(40, seen(2))
      assert.equal(2, count "accepted")
      local stats = api:stats()
      assert.equal(0, stats.failed)
      assert.equal(40, stats.ok)
    end)

    it("with an error is the same to those that it says were not seen", function()
      connect()
      all_ok(burst(("goaway.0.%d+fin"):format(ENHANCE_YOUR_CALM)))
      assert.equal(40, seen(2))
    end)

    it("up to a stream lets that one and those before it finish, and the others go again", function()
      connect()
      all_ok(burst("goaway.39.0", true))
      assert.equal(20, seen(1))
      assert.equal(20, seen(2))
      assert.equal(2, count "accepted")
      faultd:ask "await/h2/open/1" -- the first connection goes once its streams are over
    end)

    it("in two steps loses nothing", function()
      connect()
      all_ok(burst(("goaway.2147483647.%d"):format(NO_ERROR), true))
      assert.equal(40, seen(1))
      is_ok(api:get "/play/ok")
      assert.equal(2, count "accepted")
    end)

    it("is no failure to the breaker", function()
      m:close()
      m = hawser.new { log = function() end }
      connect { breaker = { consecutive = 1, open_for = 60 } }
      for _ = 1, 5 do
        is_ok(api:get "/play/ok+goaway.m.0")
      end
      all_ok(burst("goaway.0.0+fin"))
      assert.equal(0, api:stats().failed)
    end)

    it("of every connection is an error and no spin", function()
      connect()
      faultd:ask "h2-greeting/limit.100+goaway.0.0+fin"
      local res, err = api:get "/play/ok"
      assert.is_nil(res)
      assert.equal("reset", err.kind)
      assert.is_truthy(count "accepted" <= 3, count "accepted" .. " connections")
    end)

    it("for too many PINGs harms no request that was not seen", function()
      connect { h2 = { ping_idle = SHORT, ping_timeout = 10 }, timeouts = { request = 10 } }
      faultd:ask "h2-greeting/limit.100+calm"
      local outcomes = hawser.run(function()
        local task = hawser.spawn(function() return api:get(frames.play("first.1.calm", "hold.calm", "ok")) end)
        faultd:ask "await/h2/pings/1"
        return { { select(2, task:join()) } }
      end)
      assert.equal("reset", outcomes[1][2].kind, "it had been seen, and was not to be retried")
      is_ok(api:get "/play/ok")
    end)
  end)

  describe("in what it says of streams at once:", function()
    it("one is one", function()
      connect { limits = { per_peer = 1 } }
      faultd:ask "h2-greeting/limit.1"
      is_ok(api:get "/play/ok")
      all_ok(at_once(20, function() return api:get "/play/ok" end))
      assert.equal(0, count "over")
      assert.equal(1, count "most-streams")
    end)

    it("none, and later some, is a wait", function()
      connect { limits = { per_peer = 1 } }
      is_ok(api:get "/play/limit.0+ok")
      hawser.run(function()
        local tasks = {}
        for i = 1, 5 do tasks[i] = hawser.spawn(function() return api:get "/play/ok" end) end
        hawser.sleep(SHORT)
        assert.equal(1, count "streams")
        faultd:ask "h2/limit.3"
        for i = 1, 5 do is_ok(select(2, tasks[i]:join())) end
      end)
      assert.equal(0, count "over")
      assert.equal(1, count "accepted")
    end)

    it("none from the start, and later some, is a wait", function()
      connect { limits = { per_peer = 1 } }
      faultd:ask "h2-greeting/limit.0"
      hawser.run(function()
        local tasks = {}
        for i = 1, 5 do tasks[i] = hawser.spawn(function() return api:get "/play/ok" end) end
        faultd:ask "await/h2/open/1"
        hawser.sleep(SHORT)
        faultd:ask "h2/limit.3"
        for i = 1, 5 do is_ok(select(2, tasks[i]:join())) end
      end)
      assert.equal(1, count "accepted")
    end)

    it("fewer than are open is kept to by those that follow", function()
      connect { limits = { per_peer = 1 } }
      hawser.run(function()
        local tasks = {}
        for i = 1, 30 do
          tasks[i] = hawser.spawn(function() return api:get(frames.play("first.10.low", "hold.low", "ok")) end)
          if i == 10 then
            faultd:ask "held/low/10"
            faultd:ask "h2/limit.3"
            hawser.sleep(SHORT)
          end
        end
        faultd:ask "release/low"
        for i = 1, 30 do is_ok(select(2, tasks[i]:join())) end
      end)
      assert.equal(0, count "over")
      assert.equal(1, count "accepted")
    end)

    it("250 requests, 100 each and 3 connections are 3 connections and 250 successes", function()
      connect { limits = { per_peer = 3, streams = 100 } }
      hawser.run(function()
        local tasks = {}
        for i = 1, 250 do
          tasks[i] = hawser.spawn(function() return api:get(frames.play("hold.crowd", "ok")) end)
        end
        faultd:ask "held/crowd/250"
        assert.equal(3, api:stats().open)
        assert.equal(250, faultd:ask "release/crowd")
        for i = 1, 250 do is_ok(select(2, tasks[i]:join())) end
      end)
      assert.equal(3, count "accepted")
      assert.equal(100, count "most-streams")
      assert.equal(0, count "over")
    end)
  end)

  describe("that is silence", function()
    it("after the head is a timeout of the body", function()
      connect()
      local one, other = beside_another(frames.play "head", { timeout = ENOUGH })
      has({ kind = "timeout", phase = "body" }, one[2])
      all_ok { other }
      assert.equal(CANCEL, count "reset-code")
    end)

    it("of a stream is a timeout of its own, while the connection lives", function()
      connect()
      local one, other = beside_another(frames.play "none", { timeout = ENOUGH })
      has({ kind = "timeout", phase = "headers" }, one[2])
      all_ok { other }
      is_ok(api:get "/play/ok")
      assert.equal(1, count "accepted")
    end)

    it("of the connection ends it, when not even PING is answered", function()
      connect { h2 = { ping_idle = SHORT, ping_timeout = SHORT } }
      faultd:ask "h2-greeting/limit.100+deaf"
      local res, err = api:get "/play/none"
      assert.is_nil(res)
      assert.is_truthy(err.kind == "timeout" or err.kind == "reset", tostring(err))
      assert.is_truthy(count "pings" >= 1)
      faultd:ask "await/h2/open/0"
    end)

    it("of the connection is found out by a request's timeout, not by those after it", function()
      connect { h2 = { ping_idle = 60, ping_timeout = SHORT } }
      is_ok(api:get "/play/ok")
      local res, err = api:get("/play/silent", { timeout = SHORT })
      assert.is_nil(res)
      assert.equal("timeout", err.kind)
      hawser.sleep(3 * SHORT)
      is_ok(api:get("/play/ok", { timeout = 10 }))
      assert.equal(2, count "accepted")
    end)

    it("from the beginning is a timeout", function()
      connect { h2 = { ping_timeout = SHORT } }
      faultd:ask "h2-greeting/silent"
      local res, err = api:get("/play/ok", { timeout = SHORT })
      assert.is_nil(res)
      assert.equal("timeout", err.kind)
    end)
  end)

  describe("of an upload:", function()
    it("a producer waits for the window", function()
      connect { limits = { buffer = 65536 } }
      hawser.run(function()
        local sent = 0
        local task = hawser.spawn(function()
          return api:post("/at-head/hold.upload+read+sink", function()
            if sent == 4000000 then return nil end
            sent = sent + 10000
            return ("a"):rep(10000)
          end)
        end)
        faultd:ask "held/upload/1"
        hawser.sleep(SHORT)
        assert.is_truthy(sent < 400000, sent .. " bytes are waiting")
        is_ok(api:get "/play/ok")
        faultd:ask "release/upload"
        local _, res, err = task:join()
        assert.equal("4000000 388000000", assert(res, err).body)
      end)
    end)

    it("100 MiB in odd sizes arrive, every bit of them", function()
      connect { timeouts = { request = 120 } }
      local left, size, sum, piece = 104857600, 1, 0, nil
      local res = assert(api:post("/play/sink", function()
        if left == 0 then return nil end
        size = math.min(left, size * 7 % 130003 + 1)
        left = left - size
        local byte = size % 251
        sum = sum + byte * size
        piece = string.char(byte):rep(size)
        return piece
      end))
      assert.equal(("104857600 %.0f"):format(sum), res.body)
    end)
  end)

  describe("of a caller who gives up", function()
    it("10,000 times leaves the books exact and the connection usable", function()
      connect()
      hawser.run(function()
        for _ = 1, 100 do
          local handles = {}
          for i = 1, 100 do handles[i] = api:get("/play/hold.never", function() end) end
          faultd:ask "held/never/100"
          for i = 1, 100 do handles[i]:cancel() end
          faultd:ask "await/h2/open-streams/0"
        end
      end)
      assert.equal(10000, count "streams")
      assert.equal(10000, count "resets")
      assert.equal(CANCEL, count "reset-code")
      is_ok(api:get "/play/ok")
      assert.equal(1, count "accepted")
      assert.equal(0, count "goaways")
    end)

    it("on 10,000 streams, half of them in the turn that opened them, leaves the books exact too", function()
      connect()
      is_ok(api:get "/play/ok")
      hawser.run(function()
        for round = 1, 100 do
          local open = {}
          for i = 1, 100 do open[i] = assert(api:open_stream { method = "POST", path = "/at-head/none" }) end
          if round % 2 == 0 then faultd:ask "await/h2/open-streams/100" end
          for i = 1, 100 do
            if i % 2 == 0 then open[i]:reset() else open[i]:close() end
          end
          faultd:ask "await/h2/open-streams/0"
        end
      end)
      assert.equal(count "streams" - 1, count "resets")
      assert.is_truthy(count "resets" >= 5000)
      is_ok(api:get "/play/ok")
      assert.equal(1, count "accepted")
      assert.equal(0, count "goaways")
    end)

    it("on bodies half read gives their windows back", function()
      connect { h2 = { window = 65535, connection_window = 65535 } }
      for _ = 1, 50 do
        hawser.run(function()
          local res = assert(api:get("/play/body.60000", { stream = true }))
          assert(res:read())
          res:close()
        end)
      end
      assert.equal(60000, #assert(api:get("/play/body.60000", { timeout = 10 })).body)
      assert.equal(1, count "accepted")
    end)
  end)

  -- As many as fill the connection's window.
  describe("of readers that never read", function()
    local ways = {
      ["are closed"] = function(held)
        for _, one in ipairs(held) do one:close() end
      end,
      ["are collected"] = function(held)
        held[1], held[2] = nil, nil
        collectgarbage()
        collectgarbage()
      end,
    }
    local kinds = {
      ["responses"] = function(path) return api:get(path, { stream = true }) end,
      ["streams"] = function(path)
        local s = assert(api:open_stream { path = path })
        assert(s:finish())
        assert(s:headers())
        return s
      end,
    }

    for how, give_up in pairs(ways) do
      for what, open in pairs(kinds) do
        it(("gives the windows back when %s %s"):format(what, how), function()
          connect { h2 = { window = 65535, connection_window = 131070, window_max = 65535,
            connection_window_max = 131070 } }
          hawser.run(function()
            for _ = 1, 5 do
              local held = {}
              for i = 1, 2 do held[i] = assert(open "/play/body.1000000") end
              local waiting = hawser.spawn(function() return api:get("/play/body.90000", { timeout = 10 }) end)
              hawser.sleep(.01)
              give_up(held)
              local _, res, err = waiting:join()
              assert.equal(90000, #assert(res, tostring(err)).body)
            end
          end)
          assert.equal(1, count "accepted")
        end)
      end
    end
  end)

  -- What a whole exchange has: SETTINGS, its acknowledgement, a head, a body in two frames, trailers.
  describe("that is a cut", function()
    local steps = frames.play(head_of { "content-length", "5" }, frames.data("hel", 0), frames.data("lo", 0),
      frames.headers({ { "x-sum", "532" } }, 5))
    local MOST_PORTS = 60

    -- How many bytes it takes, by the server's count.
    local function length_of_exchange()
      connect()
      local res = assert(api:get(steps))
      assert.equal("hello", res.body)
      assert.equal("532", res.trailers["x-sum"])
      return count "out"
    end

    -- Calls `try(port, n)` for a port that is cut after each number n of bytes.
    local function at_every_byte(how, length, try)
      for from = 0, length, MOST_PORTS do
        local rules = {}
        for n = from, math.min(length, from + MOST_PORTS - 1) do rules[#rules + 1] = how .. ":" .. n end
        local relay = servers.relay(faultd.h2, (unpack or table.unpack)(rules))
        for n = from, from + #rules - 1 do try(relay[how .. ":" .. n], n) end
        relay:stop()
      end
    end

    for _, how in ipairs { "fin", "rst" } do
      it(("by %s at every byte is a response or an error, and never a hang"):format(how), function()
        local length = length_of_exchange()
        local successes = 0
        at_every_byte(how, length, function(port, n)
          local cut = m:upstream("cut " .. n, { peers = { "h2c://127.0.0.1:" .. port }, retry = false })
          local res, err = cut:get(steps .. "?key=get" .. n, { timeout = 10 })
          if res then
            assert.equal("hello", res.body)
            assert.equal("532", res.trailers["x-sum"])
            successes = successes + 1
          else
            assert.equal("reset", err.kind, ("cut after %d bytes: %s"):format(n, tostring(err)))
          end
          local post, why = cut:post(steps .. "?key=post" .. n, "body", { timeout = 10 })
          assert.is_truthy(post and post.body == "hello" or why and why.kind == "reset", tostring(why))
          assert.is_truthy(faultd:ask("seen/POST/post" .. n) <= 1, "nobody may send a POST twice")
          ledger.is_at_rest(ledger.settled(cut))
          cut:close()
        end)
        assert.is_truthy(successes >= 1 and successes < length)
      end)
    end

    it("at every byte goes again where that is safe", function()
      local length = length_of_exchange()
      at_every_byte("fin", length, function(port, n)
        local cut = m:upstream("cut " .. n, {
          peers = { { "h2c://127.0.0.1:" .. port, id = "cut" }, { url(), id = "whole" } },
          balancer = function(peers)
            for _, peer in ipairs(peers) do if peer.id == "cut" then return peer end end
          end,
          retry = { attempts = 2, backoff = { base = 0.001 } },
        })
        local res = assert(cut:get(steps, { timeout = 10 }))
        assert.equal("hello", res.body)
        cut:close()
      end)
    end)
  end)
end)
