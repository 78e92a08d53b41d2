--- Who calls what: every call that waits, from every caller that may, in both forms and with every outcome; and from
-- those who may not. It is the table of the reference ("Waiting"), row by row.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local REFUSAL = "cannot wait here: pass a callback or use hawser.spawn"

-- What the calls find: upstreams that answer, refuse, or never answer; made anew for each test.
local stage

-- The calls --------------------------------------------------------------------------------------
-- `ok`, `fail` and `hang` each prepare something, blocking, and return the call: function(fn) -> whatever the call
-- returns, with the callback fn or nil. It succeeds as `is` judges, fails with `kind`, or waits until it is canceled.

local function directly(call)
  return function() return call end
end

local function is_200(res) return res.status == 200 end
local function is_true(value) return value == true end

-- The three variants of a request are the same call of three paths.
local function request(name, call, is)
  local function to(path)
    return directly(function(fn) return call(path, fn) end)
  end
  return { name = name, ok = to "/ok", is = is or is_200, fail = to "/rst/now", kind = "reset", hang = to "/never" }
end

local function producer(text)
  return function()
    local given = text
    text = nil
    return given
  end
end

-- A response that redirects to `path`.
local function redirect_to(path)
  return "/raw/" .. servers.hex(("HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(path))
end

local function lease(line)
  local conn = assert(stage.raw:acquire())
  stage.held[#stage.held + 1] = conn
  assert(conn:write(line .. "\n"))
  return conn
end

-- A call on a lease on which the peer was told `line` before.
local function on_lease(line, call)
  return function()
    local conn = lease(line)
    return function(fn) return call(conn, fn) end
  end
end

-- A read of a streaming response, after `skip` chunks.
local function on_stream(path, skip)
  return function()
    local res = assert(stage.api:get(path, { stream = true }))
    stage.held[#stage.held + 1] = res
    for _ = 1, skip do assert(res:read()) end
    return function(fn) return res:read(fn) end
  end
end

local function read_line(conn, fn) return conn:read("line", nil, fn) end
local function read_until(conn, fn) return conn:read_until(";", 100, fn) end
local function write_much(conn, fn) return conn:write(("x"):rep(16 * 1024 * 1024), fn) end
local function sleep_long() return hawser.sleep(1000) end

local function joining(body)
  return directly(function(fn)
    local task = hawser.spawn(body)
    stage.tasks[#stage.tasks + 1] = task
    return task:join(fn)
  end)
end

-- A drain that a request, which is never answered, keeps waiting.
local function draining(object, target)
  return function()
    stage[object]:get(target(), function() end)
    return function(fn) return stage[object]:drain(1000, fn) end
  end
end

local calls = {
  request("upstream:get", function(path, fn) return stage.api:get(path, fn) end),
  request("upstream:head", function(path, fn) return stage.api:head(path, nil, fn) end),
  request("upstream:delete", function(path, fn) return stage.api:delete(path, {}, fn) end),
  request("upstream:options", function(path, fn) return stage.api:options(path, {}, fn) end),
  request("upstream:post", function(path, fn) return stage.api:post(path, "body", fn) end),
  request("upstream:put", function(path, fn) return stage.api:put(path, { "a", "list" }, nil, fn) end),
  request("upstream:patch", function(path, fn) return stage.api:patch(path, nil, { json = { 1 } }, fn) end),
  request("upstream:request", function(path, fn) return stage.api:request({ path = path }, fn) end),
  request("upstream:post of a producer", function(path, fn) return stage.api:post(path, producer "text", nil, fn) end),
  request("a stream", function(path, fn) return stage.api:get(path, { stream = true }, fn) end),
  request("a request that is redirected", function(path, fn)
    return stage.api:get(redirect_to(path), { redirects = 3 }, fn)
  end),
  request("manager:get", function(path, fn) return stage.m:get(stage.origin .. path, nil, fn) end),
  request("hawser.get", function(path, fn) return hawser.get(stage.origin .. path, nil, fn) end),
  {
    name = "response:read",
    ok = on_stream("/slow/1", 0),
    is = function(chunk) return chunk == "ok" end,
    fail = on_stream("/fin/body", 1),
    kind = "reset",
    hang = on_stream("/stall/body", 1),
  },
  request("response:json", function(path, fn)
    if path == "/ok" then return stage.api:get("/raw/" .. servers.hex "HTTP/1.0 200 \r\n\r\n{}" .. "/fin", nil, fn) end
    return stage.api:get(path, nil, fn)
  end),
  {
    name = "hawser.sleep",
    ok = directly(function(fn) return hawser.sleep(.001, fn) end),
    is = is_true,
    hang = directly(function(fn) return hawser.sleep(1000, fn) end),
  },
  {
    name = "task:join",
    ok = joining(function() return "done" end),
    is = function(ok, value) return ok == true and value == "done" end,
    hang = joining(sleep_long),
  },
  {
    name = "hawser.all",
    ok = directly(function(fn) return hawser.all({ function() return 1 end, function() return 2 end }, fn) end),
    is = function(outcomes) return outcomes[1][2] == 1 and outcomes[2][2] == 2 end,
    hang = directly(function(fn) return hawser.all({ sleep_long }, fn) end),
  },
  {
    name = "upstream:acquire",
    ok = directly(function(fn) return stage.raw:acquire(fn) end),
    is = function(conn) return conn:release() end,
    fail = directly(function(fn) return stage.refused:acquire({}, fn) end),
    kind = "refused",
    hang = directly(function(fn) return stage.hole:acquire({ timeout = 1000 }, fn) end),
  },
  {
    name = "conn:read",
    ok = on_lease("hello", read_line),
    is = function(line) return line == "hello" end,
    fail = on_lease("+rst", read_line),
    kind = "reset",
    hang = on_lease("+silence", function(conn, fn) return conn:read(5, fn) end),
  },
  {
    name = "conn:read_until",
    ok = on_lease("a;b", read_until),
    is = function(text) return text == "a;" end,
    fail = on_lease("+rst", read_until),
    kind = "reset",
    hang = on_lease("+silence", read_until),
  },
  {
    name = "conn:write",
    ok = on_lease("hello", function(conn, fn) return conn:write("x\n", fn) end),
    is = is_true,
    fail = on_lease("+rst", write_much),
    kind = "reset",
    hang = on_lease("+unread wait_spec", write_much),
  },
  {
    name = "upstream:with",
    ok = directly(function(fn)
      return stage.raw:with(nil, function(conn) return conn:write "hello\n" and conn:read "line" end, fn)
    end),
    is = function(line) return line == "hello" end,
    fail = directly(function(fn) return stage.refused:with(nil, function() end, fn) end),
    kind = "refused",
    hang = directly(function(fn) return stage.raw:with({}, read_line, fn) end),
  },
  {
    name = "upstream:ready",
    ok = directly(function(fn) return stage.raw:ready(5, fn) end),
    is = is_true,
    fail = directly(function(fn) return stage.refused:ready(.4, fn) end),
    kind = "refused",
    hang = directly(function(fn) return stage.hole:ready(1000, fn) end),
  },
  {
    name = "upstream:drain",
    ok = directly(function(fn) return stage.spare:drain(5, fn) end),
    is = is_true,
    hang = draining("spare", function() return "/never" end),
  },
  {
    name = "manager:drain",
    ok = directly(function(fn) return stage.other:drain(fn) end),
    is = is_true,
    hang = draining("other", function() return stage.origin .. "/never" end),
  },
}

-- The callers ------------------------------------------------------------------------------------

local blocking = {
  { name = "the main thread", run = function(call) return call() end },
  { name = "a coroutine of the user's, while no loop turns", run = function(call) return coroutine.wrap(call)() end },
  { name = "the task of hawser.run", run = function(call) return hawser.run(call) end },
  { name = "a spawned task", run = function(call)
    local results
    hawser.spawn(function() results = { call() } end)
    hawser.run()
    return (table.unpack or unpack)(results)
  end },
}

local starting = {
  { name = "the main thread", run = function(start) start() end },
  { name = "a task", run = function(start) hawser.spawn(start) end },
  { name = "a callback", run = function(start) hawser.sleep(0, start) end },
  { name = "a coroutine of the user's inside a task", run = function(start)
    hawser.spawn(function() coroutine.wrap(start)() end)
  end },
}

-- Each runs a function where waiting is impossible.
local refused = {
  { name = "a callback", run = function(try)
    hawser.sleep(0, try)
    hawser.run()
  end },
  { name = "an event's function", run = function(try)
    local id = stage.m:on("connect", try)
    assert(stage.raw:ready())
    hawser.sleep(0)
    stage.m:off(id)
  end },
  { name = "a coroutine of the user's inside a task", run = function(try)
    hawser.run(function() coroutine.wrap(try)() end)
  end },
  { name = "a coroutine of the user's inside a callback", run = function(try)
    local suspended = coroutine.wrap(function()
      coroutine.yield()
      try()
    end)
    suspended()
    hawser.sleep(0, suspended)
    hawser.run()
  end },
}

-- Running ----------------------------------------------------------------------------------------

-- Starts the call with a callback from `caller`; the results, once they are there. `meddle` gets the handle.
local function through_callback(caller, call, meddle)
  local results, handle, has_returned
  local times = 0
  caller.run(function()
    handle = call(function(...)
      assert.is_true(has_returned, "called back before the call returned")
      times = times + 1
      results = { ... }
    end)
    has_returned = true
    assert.equal("function", type(handle.cancel))
    if meddle then meddle(handle) end
  end)
  while not results do hawser.sleep(.001) end
  assert.equal(1, times, "times called back")
  handle:cancel() -- after the end it does nothing
  hawser.sleep(0)
  assert.equal(1, times)
  return (table.unpack or unpack)(results)
end

local function fails_with(kind, result, err)
  assert.is_nil(result)
  assert.equal(kind, err.kind, tostring(err))
end

describe("waiting:", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  before_each(function()
    local function url(scheme, port) return ("%s://127.0.0.1:%d"):format(scheme, port) end
    local m = hawser.new()
    stage = {
      m = m,
      other = hawser.new(),
      origin = url("http", faultd.http),
      api = m:upstream("api", { peers = { url("http", faultd.http) } }),
      spare = m:upstream("spare", { peers = { url("http", faultd.http) } }),
      raw = m:upstream("raw", { peers = { url("tcp", faultd.raw) }, limits = { buffer = 4096 } }),
      refused = m:upstream("refused", { peers = { url("tcp", faultd.closed) } }),
      hole = m:upstream("hole", { peers = { url("tcp", faultd.blackhole) }, timeouts = { connect = 1000 } }),
      held = {},
      tasks = {},
    }
  end)

  -- However a call ended, nothing is held any more.
  after_each(function()
    for _, object in ipairs(stage.held) do object:close() end
    for _, task in ipairs(stage.tasks) do task:cancel() end
    faultd:ask "release/wait_spec"
    ledger.is_at_rest(ledger.settled(stage.api))
    ledger.is_at_rest(ledger.settled(stage.raw))
    stage.other:close()
    stage.m:close()
    hawser.run()
  end)

  for _, call in ipairs(calls) do
    describe(call.name, function()
      for _, caller in ipairs(blocking) do
        describe("from " .. caller.name, function()
          it("returns its results", function()
            assert.is_true(call.is(caller.run(call.ok())))
          end)

          if call.fail then
            it("returns nil and why it failed", function() fails_with(call.kind, caller.run(call.fail())) end)
          end
        end)
      end

      for _, caller in ipairs(starting) do
        describe("with a callback from " .. caller.name, function()
          it("calls back with its results, once, later", function()
            assert.is_true(call.is(through_callback(caller, call.ok())))
          end)

          if call.fail then
            it("calls back with nil and why it failed", function()
              fails_with(call.kind, through_callback(caller, call.fail()))
            end)
          end

          it("ends with 'canceled' when it is canceled at once", function()
            fails_with("canceled", through_callback(caller, call.hang(), function(handle) handle:cancel() end))
          end)

          it("ends with 'canceled' when it is canceled while it waits", function()
            fails_with("canceled", through_callback(caller, call.hang(), function(handle)
              hawser.sleep(.01, function()
                handle:cancel()
                handle:cancel()
              end)
            end))
          end)
        end)
      end

      describe("in a task that is canceled", function()
        -- What the call gave in the task; `meddle` gets the task, and `before` runs in it first.
        local function in_task(meddle, before)
          local hang, results = call.hang(), nil
          local task = hawser.spawn(function()
            if before then before() end
            results = { hang() }
          end)
          meddle(task)
          fails_with("canceled", task:join())
          return results
        end

        it("ends with 'canceled' while it waits", function()
          fails_with("canceled", (table.unpack or unpack)(in_task(function(task)
            hawser.sleep(.01)
            task:cancel()
          end)))
        end)

        it("ends with 'canceled' at once when that has happened before", function()
          local this
          fails_with("canceled", (table.unpack or unpack)(in_task(function(task) this = task end, function()
            this:cancel()
          end)))
        end)

        it("is never begun when the task has not run yet", function()
          assert.is_nil(in_task(function(task) task:cancel() end))
        end)
      end)

      for _, caller in ipairs(refused) do
        it("is refused in " .. caller.name, function()
          local attempt, tried = call.ok(), nil
          caller.run(function()
            if tried then return end
            local ok, message = pcall(attempt)
            tried = { ok, message }
          end)
          assert.is_false(tried[1])
          assert.is_truthy(tried[2]:find(REFUSAL, 1, true), tried[2])
        end)
      end
    end)
  end
end)
