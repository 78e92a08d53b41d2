--- What a program may do by mistake, or as it ends: it hears of it, and nothing breaks.
local hawser = require "hawser"
local program = require "spec.support.program"
local servers = require "spec.support.servers"

local unpack = table.unpack or unpack -- luacheck: ignore

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
