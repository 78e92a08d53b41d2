--- Tasks: run, spawn, join, cancel, all, sleep.
local hawser = require "hawser"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

local unpack = table.unpack or unpack

local function pack(...) return { n = select("#", ...), ... } end

-- What is told by the event `error` while fn runs.
local function errors_during(fn)
  local m, errors = hawser.new(), {}
  m:on("error", function(event) errors[#errors + 1] = event end)
  fn()
  m:close()
  return errors
end

describe("hawser.run", function()
  it("passes arguments and returns results, nils included", function()
    local results = pack(hawser.run(function(...) return select("#", ...), nil, ..., nil end, 1, nil, 3))
    assert.same({ n = 4, 3, nil, 1, nil }, results)
  end)

  it("returns more results than fit a C function's stack", function()
    local many = {}
    for i = 1, 250 do many[i] = i end
    assert.same(many, { hawser.run(function(...)
      hawser.sleep(0)
      return ...
    end, unpack(many)) })
  end)

  it("waits for all that its function started, and what that started", function()
    local ended = {}
    hawser.run(function()
      hawser.spawn(function()
        hawser.sleep(.002)
        hawser.spawn(function()
          hawser.sleep(.002)
          ended[#ended + 1] = "a task of a task"
        end)
      end)
      hawser.sleep(.001, function()
        hawser.sleep(.001, function() ended[#ended + 1] = "a callback of a callback" end)
      end)
    end)
    table.sort(ended)
    assert.same({ "a callback of a callback", "a task of a task" }, ended)
  end)

  it("does not wait for what was there before", function()
    local other = hawser.spawn(hawser.sleep, 1000)
    assert.equal("done", hawser.run(function() return "done" end))
    other:cancel()
    hawser.run()
  end)

  it("turns until nothing is pending, without a function", function()
    local ended = 0
    hawser.spawn(function()
      hawser.sleep(.001)
      ended = ended + 1
    end)
    hawser.sleep(.002, function() ended = ended + 1 end)
    assert.equal(0, select("#", hawser.run()))
    assert.equal(2, ended)
    hawser.run()
  end)

  it("raises its function's error with the traceback, and cancels the rest", function()
    local outcome
    local function fail()
      hawser.sleep(0)
      error "it broke"
    end
    local ok, message = pcall(hawser.run, function()
      hawser.spawn(function() outcome = { hawser.sleep(1000) } end)
      hawser.sleep(.001)
      fail()
    end)
    assert.is_false(ok)
    assert.is_truthy(message:find "task_spec.lua:%d+: it broke\nstack traceback:")
    assert.is_truthy(message:find "in .*fail")
    assert.equal("canceled", outcome[2].kind)
  end)

  it("raises an error that is no string as it is", function()
    local thrown = { "a table" }
    local ok, value = pcall(hawser.run, function() error(thrown) end)
    assert.is_false(ok)
    assert.equal(thrown, value)
  end)

  it("does not wait for ever for tasks that ignore their cancellation", function()
    local waits = 0
    local ok = pcall(hawser.run, function()
      hawser.spawn(function()
        while true do
          hawser.sleep(.001)
          waits = waits + 1
        end
      end)
      hawser.sleep(.005)
      error "over"
    end)
    assert.is_false(ok)
    assert.is_true(waits > 100)
  end)

  it("is refused in a task and in a callback", function()
    local refusal = "cannot wait here: pass a callback or use hawser.spawn"
    hawser.run(function() assert.has_error(function() hawser.run(function() end) end) end)
    local message
    hawser.sleep(0, function() message = select(2, pcall(hawser.run)) end)
    hawser.run()
    assert.is_truthy(message:find(refusal, 1, true))
  end)

  it("names what it cannot run", function()
    raises("what hawser.run is to run is 42; allowed: a function, or nothing", function() hawser.run(42) end)
  end)
end)

describe("a task", function()
  it("starts at the loop's next turn, in the order of spawning", function()
    local order = {}
    for i = 1, 3 do hawser.spawn(function() order[#order + 1] = i end) end
    assert.same({}, order)
    hawser.sleep(0)
    assert.same({ 1, 2, 3 }, order)
  end)

  it("is joined by any number, any number of times", function()
    local task = hawser.spawn(function(...)
      hawser.sleep(.001)
      return ...
    end, 1, nil)
    local joined = {}
    for i = 1, 3 do hawser.spawn(function() joined[i] = pack(task:join()) end) end
    hawser.run()
    for i = 1, 3 do assert.same({ n = 3, true, 1, nil }, joined[i]) end
    assert.same({ n = 3, true, 1, nil }, pack(task:join()))
  end)

  it("gives what it raised to those who join it, and to nobody else", function()
    local thrown = { "a table" }
    assert.same({}, errors_during(function()
      local task = hawser.spawn(function()
        hawser.sleep(.001)
        error(thrown)
      end)
      local ok, err = task:join()
      assert.is_nil(ok)
      assert.equal(thrown, err)
      assert.equal(thrown, select(2, task:join()))
    end))
  end)

  it("that nobody joins reports what it raised, and harms nobody else", function()
    local other
    local errors = errors_during(function()
      hawser.spawn(function() error "it broke" end)
      hawser.spawn(function() other = hawser.sleep(.002) end)
      hawser.run()
    end)
    assert.is_true(other)
    assert.equal(1, #errors)
    assert.equal("error", errors[1].event)
    assert.is_truthy(errors[1].text:find "a task raised: .*task_spec.lua:%d+: it broke\nstack traceback:")
    assert.is_truthy(errors[1].error:find "it broke")
  end)

  it("ends with 'canceled' when it is canceled, whatever it returns or raises", function()
    assert.same({}, errors_during(function()
      for _, body in ipairs {
        function() hawser.sleep(1000) end,
        function() return (hawser.sleep(1000)) or "went on" end,
        function() assert(hawser.sleep(1000), "it broke") end,
        function() error "before it waited" end,
      } do
        local task = hawser.spawn(body)
        hawser.sleep(0, function() task:cancel() end)
        task:cancel()
        local ok, err = task:join()
        assert.is_nil(ok)
        assert.equal("canceled", err.kind)
      end
    end))
  end)

  it("stays canceled", function()
    local kinds, inside = {}, nil
    local task
    task = hawser.spawn(function()
      for i = 1, 3 do kinds[i] = select(2, hawser.sleep(1000)).kind end
      inside = hawser.spawn(function() return "not canceled itself" end)
      kinds[4] = select(2, inside:join()).kind
    end)
    hawser.sleep(.001)
    task:cancel()
    task:cancel()
    hawser.run()
    assert.same({ "canceled", "canceled", "canceled", "canceled" }, kinds)
    assert.same({ true, "not canceled itself" }, { inside:join() })
  end)

  it("that has ended cannot be canceled", function()
    local task = hawser.spawn(function() return "done" end)
    hawser.run()
    task:cancel()
    assert.same({ true, "done" }, { task:join() })
  end)

  it("may cancel itself", function()
    local task
    task = hawser.spawn(function()
      task:cancel()
      return select(2, hawser.sleep(0)).kind
    end)
    assert.equal("canceled", select(2, task:join()).kind)
  end)

  it("cannot join itself, or those who wait for it", function()
    local a, b
    a = hawser.spawn(function() return b:join() end)
    b = hawser.spawn(function() return a:join() end)
    local ok, message = b:join()
    assert.is_nil(ok)
    assert.is_truthy(message:find "a task cannot join itself, or one that waits for it")
    assert.is_true((a:join()))

    local own
    own = hawser.spawn(function() return own:join() end)
    assert.is_nil((own:join()))
  end)

  it("cannot yield by itself: that raises where it does", function()
    local task = hawser.spawn(function()
      local before = hawser.sleep(0)
      coroutine.yield "a value"
      return before
    end)
    local ok, message = task:join()
    assert.is_nil(ok)
    assert.is_truthy(message:find "task_spec.lua:%d+: a task cannot yield by itself", message)
  end)

  it("goes on when it catches that", function()
    local ok, message, slept = hawser.run(function()
      local ok, message = hawser.pcall(function()
        coroutine.yield()
        return "not reached"
      end)
      return ok, message, hawser.sleep(0)
    end)
    assert.is_false(ok)
    assert.is_truthy(message:find "a task cannot yield by itself")
    assert.is_true(slept)
  end)

  it("keeps a hook that somebody set", function()
    if rawget(_G, "jit") then return end -- there a hook belongs to all coroutines, busted's own included
    local lines = 0
    hawser.run(function()
      local function count() lines = lines + 1 end
      debug.sethook(count, "l")
      hawser.pcall(function()
        debug.sethook(count, "l") -- on Lua 5.1 this is a coroutine of its own
        coroutine.yield()
      end)
      local before = lines
      hawser.sleep(0)
      assert(debug.gethook() == count)
      debug.sethook()
      assert(lines > before)
    end)
  end)

  it("leaves its hook to no other task", function()
    local function line() return 1 end
    local hits = 0
    local function hooked()
      debug.sethook(coroutine.running(), function() hits = hits + 1 end, "l")
      line()
    end
    hawser.run(function() -- many: the coroutine of any of them may be taken again
      for _ = 1, 10 do hawser.spawn(hooked) end
    end)
    if rawget(_G, "jit") then debug.sethook() end -- the one that LuaJIT has, of all coroutines
    assert.is_true(hits > 0)
    hits = 0
    hawser.run(function()
      for _ = 1, 20 do hawser.spawn(line) end
    end)
    assert.equal(0, hits)
  end)

  it("may be a C function", function()
    local task = hawser.spawn(math.max, 1, 3, 2)
    assert.same({ true, 3 }, { task:join() })
    assert.same({ true, true }, { hawser.spawn(hawser.sleep, 0):join() })
  end)

  it("leaves a coroutine that others use, after an error too", function()
    local failed = 0
    local function body(n)
      return function()
        hawser.sleep(0)
        if n % 3 == 0 then error(n, 0) end
        return n
      end
    end
    for _ = 1, 5 do
      local functions = {}
      for i = 1, 200 do functions[i] = body(i) end
      for i, outcome in ipairs(hawser.all(functions)) do
        assert.equal(i, outcome[2])
        if not outcome[1] then failed = failed + 1 end
      end
    end
    assert.equal(5 * 66, failed)
  end)

  it("can be abandoned: nobody needs to keep it", function()
    local ended = false
    hawser.spawn(function()
      hawser.sleep(.002)
      ended = true
    end)
    collectgarbage()
    collectgarbage()
    hawser.run()
    assert.is_true(ended)
  end)

  it("closes its pending variables when it raises", function()
    local load_54 = load
    if not _VERSION:find "5.4" then return end
    local closed = assert(load_54 [[
      local hawser, closed = ...
      return function()
        local guard <close> = setmetatable({}, { __close = function() closed.it = true end })
        hawser.sleep(0)
        error "it broke"
      end]])
    local seen = {}
    local task = hawser.spawn(closed(hawser, seen))
    assert.is_nil((task:join()))
    assert.is_true(seen.it)
  end)

  it("names what it cannot be", function()
    raises("what hawser.spawn is to run is missing; allowed: a function", function() hawser.spawn() end)
    local task = hawser.spawn(function() end)
    raises("a method of hawser.Task was called on nothing", function() task.join() end)
    raises("a method of hawser.Task was called on table", function() task.cancel {} end)
    raises("the callback is \"soon\"; allowed: a function", function() task:join "soon" end)
    hawser.run()
  end)
end)

describe("a callback", function()
  it("that raises is reported, and harms nobody else", function()
    local other
    local errors = errors_during(function()
      hawser.sleep(0, function() error "it broke" end)
      hawser.sleep(0, function() error { "a table" } end)
      hawser.sleep(.001, function() other = true end)
      hawser.run()
    end)
    assert.is_true(other)
    assert.equal(2, #errors)
    assert.is_truthy(errors[1].text:find "a callback raised: .*it broke\nstack traceback:")
    assert.equal("a callback raised: a table", errors[2].text)
    assert.same({ "a table" }, errors[2].error)
  end)

  it("may start, cancel and close anything", function()
    local faultd = servers.faultd()
    local m = hawser.new()
    local api = m:upstream("api", { peers = { "http://127.0.0.1:" .. faultd.http } })
    local kinds = {}
    local function note(name)
      return function(_, err) kinds[name] = err and err.kind or "ok" end
    end
    local never = api:get("/never", note "canceled")
    api:get("/never", note "closed")
    api:get("/ok", function()
      never:cancel()
      api:get("/ok", function()
        m:close()
        api:get("/ok", note "late")
      end)
    end)
    hawser.run()
    faultd:stop()
    assert.same({ canceled = "canceled", closed = "closed", late = "closed" }, kinds)
  end)
end)

describe("hawser.all", function()
  it("gives the outcomes in the order of the functions", function()
    local outcomes = hawser.all {
      function()
        hawser.sleep(.003)
        return "slow", nil
      end,
      function() return end,
      function() error("it broke", 0) end,
    }
    assert.same({ { true, "slow" }, { true }, { nil, "it broke" } }, outcomes)
  end)

  it("runs them side by side", function()
    local started, all_started = 0, 0
    local function body()
      started = started + 1
      hawser.sleep(.001)
      all_started = all_started + (started == 10 and 1 or 0)
    end
    local functions = {}
    for i = 1, 10 do functions[i] = body end
    hawser.all(functions)
    assert.equal(10, all_started)
  end)

  it("reports nothing: its caller hears of all", function()
    assert.same({}, errors_during(function()
      hawser.all { function() hawser.sleep(.001) end, function() error "it broke" end }
    end))
  end)

  it("of nothing is nothing", function()
    assert.same({}, hawser.all {})
  end)

  it("cancels its functions when its caller is canceled", function()
    local kinds = {}
    local function body()
      local _, err = hawser.sleep(1000)
      kinds[#kinds + 1] = err.kind
    end
    local task = hawser.spawn(function() return hawser.all { body, body } end)
    hawser.sleep(.001)
    task:cancel()
    hawser.run()
    assert.same({ "canceled", "canceled" }, kinds)
  end)

  it("names what it cannot run", function()
    raises("what hawser.all is to run is a number", function() hawser.all(42) end)
    raises("item 2 of what hawser.all is to run is a string", function() hawser.all { print, "x" } end)
    raises("the callback is a number", function() hawser.all({}, 1) end)
  end)
end)

describe("hawser.sleep", function()
  it("lasts as long as it was told, others going on", function()
    local order = {}
    local function sleeper(span)
      return function()
        local from = hawser.now()
        assert.is_true(hawser.sleep(span))
        assert.is_true(hawser.now() - from >= span / 2)
        order[#order + 1] = span
      end
    end
    for _, outcome in ipairs(hawser.all { sleeper(.3), sleeper(.002), sleeper(.15) }) do
      assert.is_true(outcome[1], outcome[2])
    end
    assert.same({ .002, .15, .3 }, order)
  end)

  it("refuses what is no span of time", function()
    for _, span in ipairs { -1, 0 / 0, 1 / 0, 1e300, "1", {}, false } do
      raises("the time to sleep is .*; allowed: a number of seconds, 0 to 1e9", function() hawser.sleep(span) end)
    end
    raises("the time to sleep is missing", function() hawser.sleep() end)
  end)
end)
