--- Out of memory, at any moment: a scenario is played with its first, second, third... allocation failing, until it
-- runs through with none. Each time it ends, with its result or an error that says why; the books are right
-- afterwards, and the same works when it is not disturbed. That nothing leaks is the sanitizer's to say.
local core = require "hawser.core"
local hawser = require "hawser"
local h2_servers = require "spec.support.h2_servers"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local memory = core.internal.memory
local jit = rawget(_G, "jit")

-- A build without tests has nothing that could fail: see the end of this file.
local is_release = package.cpath:find("/release/lua/", 1, true) ~= nil

local function check(value, err)
  if value == nil and err ~= nil then error(err, 0) end
  return value
end

-- A stream that has not left when its connection is given up is told that nobody has seen it.
local function must(value, err)
  if value == nil and err ~= nil then
    error(type(err) == "table" and err.code == "GOAWAY" and "out of memory: the connection was given up" or err, 0)
  end
  return value
end

-- A wrong result is no error of hawser's: its message begins so.
local function expect(wanted, value)
  if value ~= wanted then error(("WRONG: %s instead of %s"):format(tostring(value), tostring(wanted)), 0) end
end

-- What a function that waits says when it calls back.
local function await(start)
  local is_called, value, err
  start(function(...)
    is_called = true
    value, err = ...
  end)
  hawser.run()
  if not is_called then error("WRONG: it was never called back", 0) end
  return value, err
end

local function chunks(count)
  local left = count
  return function()
    left = left - 1
    return left >= 0 and ("x"):rep(1000) or nil
  end
end

local function talk(conn)
  check(conn:write "one\r\ntwo\r\n")
  expect("one", check(conn:read "line"))
  expect("two\r\n", check(conn:read_until "\r\n"))
  check(conn:write "abcde\n")
  expect("abc", check(conn:read(3)))
  expect("de\n", check(conn:read "some"):gsub("\r", "") .. "")
  conn.data.count = (conn.data.count or 0) + 1
  return true
end

local function read_all(res)
  local size = 0
  while true do
    local chunk, err = res:read()
    if err then error(err, 0) end
    if not chunk then return size end
    size = size + #chunk
  end
end

local faultd, namesd, node, yamuxd

-- Each gets a world: the manager `m`, its upstreams `api` and `raw`, the server's URL. They are called in no task.
local scenarios = {
  ["a request"] = function(world)
    expect("ok", check(world.api:get "/ok").body)
  end,

  ["requests with bodies and options"] = function(world)
    local options = { headers = { accept = "a/b", ["x-list"] = { "1", "2" } }, query = { a = "b c" }, timeout = 20 }
    expect("hello", check(world.api:post("/body", "hello", options)).body)
    expect("hello", check(world.api:put("/body", { "hel", "lo" })).body)
    expect("[1]", check(world.api:request { method = "POST", path = "/body", json = { 1 } }).body)
  end,

  ["a request to an origin"] = function(world)
    local res = check(world.m:get(world.url "/ok"))
    expect("1.1", res.version)
    expect("2", res.headers["content-length"])
  end,

  ["a redirected request"] = function(world)
    expect("ok", check(world.api:get(world.redirect, { redirects = 3 })).body)
  end,

  ["a produced body"] = function(world)
    expect("chunked 5000", check(world.api:post("/sink", chunks(5))).body:match "^%a+ %d+")
  end,

  ["a streamed response"] = function(world)
    expect(30000, read_all(check(world.api:get("/chunked/30/1000", { stream = true }))))
    local res = check(world.api:get("/trailers", { stream = true }))
    expect(2, read_all(res))
    expect(true, res.trailers["x-sum"] ~= nil)
    check(check(world.api:get("/bytes/300000", { stream = true })):close())
  end,

  ["the callback form"] = function(world)
    expect("ok", check(await(function(callback) world.api:get("/ok", callback) end)).body)
    local res = check(await(function(callback) world.api:get("/bytes/9", { stream = true }, callback) end))
    expect(("x"):rep(9), check(await(function(callback) res:read(callback) end)))
    local conn = check(await(function(callback) world.raw:acquire(callback) end))
    check(await(function(callback) conn:write("hi\n", callback) end))
    expect("hi", check(await(function(callback) conn:read("line", callback) end)))
    conn:release()
    check(await(function(callback) hawser.sleep(0, callback) end))
    expect("ok", check(await(function(callback) world.api:get(world.redirect, { redirects = 1 }, callback) end)).body)
  end,

  ["a task"] = function(world)
    local function get() return check(world.api:get "/ok").body end
    expect("ok", hawser.run(get))
    local one = hawser.spawn(get)
    local ok, body = one:join()
    expect("ok", check(ok, body) and body)
    for _, outcome in ipairs(check(hawser.all { get, get })) do
      expect("ok", check(outcome[1], outcome[2]) and outcome[2])
    end
    expect("ok", hawser.run(function()
      local ended, said = hawser.spawn(get):join()
      hawser.sleep(0)
      return check(ended, said) and said
    end))
  end,

  ["leases"] = function(world)
    local conn = check(world.raw:acquire { timeout = 20 })
    talk(conn)
    check(conn:release())
    expect(true, check(world.raw:with(talk)))
    expect(true, hawser.run(function()
      local own = check(world.raw:acquire())
      local ok, err = hawser.pcall(talk, own)
      own:release()
      return check(ok or nil, err)
    end))
    check(world.raw:ready(5))
  end,

  ["events and updates"] = function(world)
    local id = check(world.m:on("connect", function() end))
    check(world.api:update { limits = { per_peer = 3 }, peers = { world.url "", "http://127.0.0.1:1" } })
    check(world.api:update { peers = { world.url "" } })
    expect(1, #check(world.api:peers()))
    check(world.api:stats())
    check(world.m:off(id))
  end,

  ["names"] = function(world)
    local function name(label) return ("http://%s.test:%d/"):format(label, namesd.here) end
    local rules = { servers = { "127.0.0.1:" .. namesd.dns }, search = { "test" }, ttl_min = 1, ttl_max = 60 }
    local m = check(hawser.new { dns = rules })
    world.others[#world.others + 1] = m
    expect("127.0.0.1", check(m:get(name "four")).body)
    expect(200, check(m:get(name "both")).status) -- by the other family where one has failed
    expect("127.0.0.2", check(m:get(name "alias")).body)
    expect("127.0.0.2", check(m:get(name "dead")).body)
    local res, err = m:get(name "nx")
    if err.code ~= "NXDOMAIN" then error(err, 0) end
    expect(nil, res)
    local api = check(m:upstream("api", { peers = { name "four" }, dns = rules }))
    check(api:update { dns = { servers = rules.servers, search = {} } })
    expect("127.0.0.1", check(api:get "/").body)
  end,

  ["streams"] = function(world)
    local m = must(hawser.new { log = function() end })
    world.others[#world.others + 1] = m
    local api = must(m:upstream("h2", { peers = { { "h2c://127.0.0.1:" .. node.h2c, id = "one" } } }))
    local s = must(api:open_stream { path = "/echo", headers = { ["x-a"] = "b" } })
    must(s:send "hello")
    expect("hello", must(s:receive()))
    expect("2.0", must(s:headers())["x-protocol"])
    must(s:finish())
    expect(nil, must(s:receive()))
    local id = must(m:open_stream("h2/one", 1, { path = "/sink" }))
    must(m:send_stream_data(id, "a"))
    s = must(m:stream(id))
    must(s:finish())
    expect("1 97", must(s:receive()))
    expect(nil, must(s:receive()))
    must(m:close_stream(id))
    s = must(api:open_stream { method = "GET", path = "/trailers" })
    must(s:finish())
    expect("ok", must(s:receive()))
    expect(nil, must(s:receive()))
    expect("218", s:trailers() and s:trailers()["x-sum"])
    s = must(await(function(callback) api:open_stream({ path = "/never" }, callback) end))
    must(await(function(callback) s:send("x", callback) end))
    must(s:reset "INTERNAL_ERROR")
    expect("ok", must(api:get("/ok", { priority = 0 })).body)
    must(m:close())
  end,

  ["yamux"] = function(world)
    local m = must(hawser.new { log = function() end })
    world.others[#world.others + 1] = m
    local raw = must(m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. yamuxd.client } }))
    local session = must(hawser.yamux(must(raw:acquire()), { server = true }))
    -- What there is no memory for is refused, which only its peer hears of.
    local function accepted(conn, err)
      return must(conn, err and err.kind == "timeout" and "out of memory: the stream was refused" or err)
    end
    local orders = accepted(session:accept(2))
    must(orders:write "dial 1 20000\n")
    local conn = accepted(await(function(callback) session:accept(2, callback) end))
    must(conn:write(must(conn:read(20000))))
    expect("OK 1", must(orders:read "line"))
    must(conn:release())
    conn = must(session:open_stream())
    conn.data.name = "x"
    must(conn:close())
    must(orders:release())
    must(session:close())
    local mux = must(m:upstream("mux", { protocol = "yamux", peers = { "tcp://127.0.0.1:" .. yamuxd.server } }))
    conn = must(mux:acquire())
    must(conn:write "echo\nhello\n")
    expect("hello", must(conn:read "line"))
    must(conn:release())
    must(m:close())
  end,

  ["scripted policies"] = function(world)
    local open = 0
    local function plugin(kind, method, answer)
      return { kind = kind, name = "p", [method] = answer, done = function(_, peer) return peer.id end,
        new = function()
          open = open + 1
          return {}
        end,
        update = function() end, migrate = function() end,
        close = function() open = open - 1 end }
    end
    local pick = plugin("balancer", "pick", function(_, list, ctx)
      return #ctx.headers == 0 and list[ctx.random(#list)]
    end)
    local record = plugin("breaker", "record", function(_, peer, outcome)
      return outcome.ok and peer.id and "closed" or nil
    end)
    local m = check(hawser.new { log = function() end })
    world.others[#world.others + 1] = m
    local function list(count)
      local all = {}
      for i = 1, count do all[i] = { world.url "", id = "peer " .. i, tags = {} } end
      return all
    end
    local api = check(m:upstream("api", { peers = list(2), balancer = pick, breaker = record,
      retry = function(ctx) if ctx.attempt < 2 then return 0 end end }))
    expect(503, check(api:get "/status/503").status)
    check(api:update { peers = list(6), balancer = pick })
    expect("ok", check(api:get "/ok").body)
    check(api:set_policy("retry", plugin("retry", "decide", function() end)))
    check(api:set_policy("balancer", function(peers) return peers[1] end))
    expect("ok", check(api:get "/ok").body)
    check(api:set_policy("breaker", nil))
    check(api:close())
    expect(0, open)
  end,

  ["draining and closing"] = function(world)
    local m = check(hawser.new { max_connections = 9 })
    world.others[1] = m
    local other = check(m:upstream("other", { peers = { world.url "" } }))
    expect("ok", check(other:get "/ok").body)
    check(other:drain(5))
    check(m:drain(5))
    check(m:close())
  end,
}

local function make_world()
  local world = { others = {} }
  function world.url(path) return ("http://127.0.0.1:%d%s"):format(faultd.http, path) end
  world.redirect = "/raw/" .. servers.hex "HTTP/1.1 302 F\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n"
  world.m = assert(hawser.new { log = function() end })
  world.api = assert(world.m:upstream("api", { peers = { world.url "" } }))
  world.raw = assert(world.m:upstream("raw", {
    peers = { ("tcp://127.0.0.1:%d"):format(faultd.raw) },
    setup = function(conn) return conn:write "+auth secret\r\n" and conn:read "line" == "+OK" end,
  }))
  return world
end

-- Whatever was thrown away must let go; what a failed setup or dial left goes on in the background.
local function end_world(world)
  for _ = 1, 3 do collectgarbage() end
  hawser.run()
  assert.is_false(core.internal.is_pending())
  ledger.is_at_rest(ledger.settled(world.api))
  ledger.is_at_rest(ledger.settled(world.raw))
  for _, other in ipairs(world.others) do other:close() end
  world.m:close()
end

-- A setup or a producer that could not be started tells so in its own way.
local function is_fair(err)
  if type(err) == "string" then return err:find "out of memory" or err:find "not enough memory" end
  local message = type(err) == "table" and tostring(err) or ""
  return message:find "^nomem: " or message:find "memory" or message:find "%[SETUP%]"
end

-- What LuaJIT 2.1 gives as the error when its own memory fails may be any value that lay on the stack.
local function is_fair_of_luajit(err)
  return is_fair(err) or not tostring(err):find("WRONG", 1, true)
end

local function fails_each(scenario, fail_at, count_of)
  local is_expected = jit and fail_at == memory.fail_lua_at and is_fair_of_luajit or is_fair
  local n = 0
  repeat
    n = n + 1
    local world = make_world()
    fail_at(n)
    local ok, err = pcall(scenario, world)
    local count = count_of()
    fail_at(0)
    hawser.spawn(hawser.sleep, 0) -- belongs to no run that has failed
    if not ok and not is_expected(err) then
      error(("with allocation %d failing: %s"):format(n, tostring(err)), 0)
    end
    local undisturbed, why = pcall(scenario, world)
    if not undisturbed then error(("after allocation %d had failed: %s"):format(n, tostring(why)), 0) end
    end_world(world)
  until count < n
  return n
end

if memory then
  describe("when the n-th allocation fails", function()
    lazy_setup(function()
      faultd, namesd, node, yamuxd = servers.faultd(), servers.namesd(), h2_servers.node(), servers.yamuxd()
      namesd:set {
        ["four.test"] = "60 127.0.0.1",
        ["both.test"] = "60 127.0.0.1 ::1",
        ["alias.test"] = "60 =two.test",
        ["two.test"] = "60 127.0.0.2",
        ["dead.test"] = "60 127.0.0.9 127.0.0.2",
      }
    end)
    lazy_teardown(function()
      faultd:stop()
      namesd:stop()
      node:stop()
      yamuxd:stop()
    end)

    for name, scenario in pairs(scenarios) do
      it("of the core: " .. name, function()
        assert.is_true(fails_each(scenario, memory.fail_at, memory.count) > 3)
      end)

      it("of Lua's: " .. name, function()
        if jit then -- LuaJIT's compiler itself crashes when it is refused memory
          jit.off()
          jit.flush()
        end
        finally(function()
          if jit then jit.on() end
        end)
        assert.is_true(fails_each(scenario, memory.fail_lua_at, memory.lua_count) > 1)
      end)
    end
  end)
end

it("memory fails on request in no release", function()
  assert.equal(is_release, memory == nil)
end)
