--- What a program may do by mistake, or as it ends: it hears of it, and nothing breaks.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local program = require "spec.support.program"
local servers = require "spec.support.servers"

local unpack = table.unpack or unpack -- luacheck: ignore

describe("what is dropped in the midst of a request", function()
  local faultd, m, api, raw, leaks

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m, leaks = hawser.new { log = function() end }, 0
    api = m:upstream("api", { peers = { "http://127.0.0.1:" .. faultd.http } })
    raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
    m:on("leak", function() leaks = leaks + 1 end)
  end)
  after_each(function()
    m:close()
    faultd:ask "await/raw/open/0"
  end)

  local function collect()
    for _ = 1, 3 do collectgarbage() end
    hawser.sleep(.01)
  end

  -- Nothing is held any more, so many connections are left in the pools, and they serve.
  local function check(left, lost)
    collect()
    assert.equal(lost, leaks)
    ledger.is_at_rest(ledger.settled(api))
    ledger.is_at_rest(ledger.settled(raw))
    assert.equal(left, api:stats().idle + raw:stats().idle)
    assert.equal("ok", assert(api:get "/ok").body)
    assert.equal("hi", raw:with(function(conn) return conn:write "hi\n" and conn:read "line" end))
  end

  it("goes on as a task that nobody has a handle of", function()
    local ended = 0
    for _ = 1, 2 do
      hawser.spawn(function()
        assert(assert(api:get("/drip/1000/5", { stream = true })):read())
        ended = ended + 1
      end)
      hawser.spawn(function()
        assert(api:get "/drip/10/2")
        ended = ended + 1
      end)
      api:get("/drip/10/2", function(res) ended = ended + (res and 1) end)
      collect()
    end
    hawser.run()
    assert.equal(6, ended)
    check(api:stats().idle, 2) -- the streams, of which one chunk was read
  end)

  it("lets go as a canceled task that nobody has a handle of", function()
    for _, path in ipairs { "/never", "/stall/body", "/drip/1000/5" } do
      hawser.spawn(function()
        local res = api:get(path, { stream = path ~= "/never" })
        while res and res:read() do end
      end):cancel()
      local task = hawser.spawn(function()
        local res = api:get(path, { stream = path ~= "/never" })
        while res and res:read() do end
      end)
      local lease = hawser.spawn(function() raw:with(function(conn) conn:read "line" end) end)
      hawser.sleep(.02)
      task:cancel()
      lease:cancel()
      task, lease = nil, nil -- luacheck: ignore
      collect()
    end
    hawser.run()
    check(0, 0)
  end)

  it("lets go as a coroutine of the user's, and is told as leaks", function()
    local function hold()
      local res = assert(api:get("/drip/1000/5", { stream = true }))
      assert(res:read())
      local conn = assert(raw:acquire())
      assert(conn:write "nobody reads the answer\n")
      coroutine.yield()
      return res, conn
    end
    for _ = 1, 3 do
      local thread = coroutine.create(hold)
      assert(coroutine.resume(thread))
    end
    check(0, 6)
  end)

  it("lets go as a coroutine that ended in an error", function()
    local thread = coroutine.create(function()
      local res, conn = assert(api:get("/stall/body", { stream = true })), assert(raw:acquire())
      error(tostring(res) .. tostring(conn))
    end)
    assert.is_false(coroutine.resume(thread))
    thread = nil -- luacheck: ignore
    check(0, 2)
  end)
end)

describe("an object that was finalized", function()
  local faultd, origin

  lazy_setup(function()
    faultd = servers.faultd()
    origin = "http://127.0.0.1:" .. faultd.http
  end)
  lazy_teardown(function() faultd:stop() end)

  -- Finalizers run in reverse order, so this one runs after those of hawser.
  local script = [[
    local origin, how, hawser = ...
    local calls = {}
    local function finalize()
      for i, call in ipairs(calls) do pcall(call) print(i) end
      print "finalized"
    end
    ORDER = {}
    if newproxy then
      ORDER = newproxy(true)
      getmetatable(ORDER).__gc = finalize
    else
      setmetatable(ORDER, { __gc = finalize })
    end
    hawser = require "hawser"
    local m = hawser.new()
    local api = m:upstream("api", { peers = { origin } })
    local task = hawser.spawn(function() hawser.sleep(100) end)
    local handle = hawser.sleep(100, print)
    local res = assert(api:get("/ok", { stream = true }))
    calls = {
      function() m:close() end, function() m:stats() end, function() m:get(origin) end,
      function() m:on("error", print) end,
      function() m:drain() end, function() m:trim() end, function() m:upstream "api" end, function() m:off(1) end,
      function() api:close() end, function() api:get "/ok" end, function() api:peers() end, function() api:stats() end,
      function() api:acquire() end, function() api:update {} end, function() api:drain(1, print) end,
      function() task:cancel() end, function() task:join() end, function() handle:cancel() end,
      function() res:read() end, function() res:close() end, function() hawser.sleep(0) end,
      function() hawser.get(origin) end, function() hawser.new() end, function() hawser.spawn(print) end,
    }
    if how == "exit" then os.exit(0, true) end
  ]]

  -- program.run() would load hawser first.
  local function run(how)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(script)
    file:close()
    local lua = os.getenv "LUA" or "lua"
    local command = ("timeout 60 %s %s %s %s 2>&1; echo status $?"):format(lua, path, origin, how)
    local pipe = assert(io.popen(command))
    local output = pipe:read "*a"
    pipe:close()
    os.remove(path)
    return output
  end

  it("refuses to work while the Lua state is being closed", function()
    local output = run "end"
    assert.truthy(output:find("finalized\nstatus 0\n", 1, true), output)
    output = run "exit" -- Lua 5.1 does not close its state then
    assert.truthy(output:find("status 0\n$"), output)
  end)

  it("is a lease that a setup function has", function()
    local output, status = program.run([[
      local origin = ...
      local m = hawser.new()
      local api = m:upstream("api", {
        peers = { (origin:gsub("^http", "tcp")) }, protocol = "raw",
        setup = function(conn) CONN = conn os.exit(0, true) end,
      })
      api:acquire()
    ]], origin)
    assert.equal(0, status, output)
  end)
end)

describe("the arguments of a request", function()
  local m, api

  lazy_setup(function()
    m = hawser.new()
    api = m:upstream("api", { peers = { "http://127.0.0.1:9" } })
  end)
  lazy_teardown(function() m:close() end)

  local function refuses(pattern, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.truthy(tostring(message):find(pattern, 1, true), message)
  end

  it("are not taken for a body", function()
    refuses('body is a table with the key "json"', api.post, api, "/", { json = { a = 1 } })
    refuses("options are the third argument", api.post, api, "/", { json = { a = 1 } })
    refuses("body is a table with the key 3", api.post, api, "/", nil, { body = { "a", [3] = "b" } })
    assert.equal("refused", select(2, api:post("/", {})).kind)
  end)

  it("give each thing once", function()
    refuses('headers is a table with the key "c"', api.get, api, "/", { headers = { { "a", "b" }, c = "d" } })
    refuses("given twice", m.request, m, { url = "http://127.0.0.1:9/", path = "/" })
    refuses("given more than once", api.get, api, "/", { headers = { host = { "a", "b" } } })
    refuses("given more than once", api.get, api, "/", { headers = { host = "a", Host = "b" } })
  end)

  it("have their fragment dropped", function()
    local faultd = servers.faultd()
    local server = m:upstream("server", { peers = { "http://127.0.0.1:" .. faultd.http } })
    assert.equal(200, assert(server:get "/ok#a b").status)
    assert.equal(200, assert(server:get("/ok#a", { query = { b = 1 } })).status)
    faultd:stop()
  end)

  it("name a host that is one", function()
    for _, host in ipairs { "a b", "a/b", "a@b", "a\tb" } do
      refuses("header host", api.get, api, "/", { headers = { host = host } })
    end
  end)
end)

describe("a task that yields by itself", function()
  local MESSAGE = "a task cannot yield by itself"

  it("hears of it wherever it does so", function()
    for _, fn in ipairs {
      function() return coroutine.yield() end,
      coroutine.yield,
      function()
        local x = coroutine.yield()
        return x
      end,
      function()
        hawser.sleep(0)
        return coroutine.yield(1, 2)
      end,
      function()
        coroutine.yield()
        hawser.sleep(0)
      end,
    } do
      local ok, message = pcall(hawser.run, fn)
      assert.is_false(ok)
      assert.truthy(message:find(MESSAGE, 1, true), message)
      assert.is_nil((debug.gethook()))
    end
  end)
end)

describe("many results", function()
  it("arrive, or it is said that they do not", function()
    local values = {}
    for i = 1, 7000 do values[i] = i end
    local function many()
      hawser.sleep(0)
      return unpack(values, 1, 7000)
    end
    local function count(...) return select("#", ...) end
    assert.equal(7000, count(hawser.run(many)))
    assert.equal(7001, hawser.run(function() return count(hawser.spawn(many):join()) end))
    assert.equal(7001, hawser.run(function() return count(hawser.pcall(many)) end))
    assert.equal(7001, #hawser.all({ many })[1])
  end)
end)
