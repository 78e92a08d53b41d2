--- The guard around policies' functions (bindings/lua_guard.c), what a policy is (bindings/lua_policy.c,
-- hawser/policy.lua) and the views of peers: whatever a policy does, the caller goes on.
local hawser = require "hawser"
local internal = require("hawser.core").internal
local policies = require "hawser.policy"
local raises = require "spec.support.raises"

local testing = internal.policy
if not testing then return end -- a build without HAWSER_TESTS

local IS_JIT = rawget(_G, "jit") ~= nil
local HOOKS_PER_THREAD = not IS_JIT

local guard = testing.guard

-- Runs `fn` as a policy's function is run.
local function guarded(fn, ...)
  testing.prepare(fn)
  return guard(fn, ...)
end

local function assert_overrun(fn)
  local status, message = guarded(fn)
  assert.equal("overrun", status)
  assert.matches("overran: more than 100,000 instructions, or 1 ms$", message)
end

-- What must hold after whatever was done to it.
local function assert_sound()
  assert.same({ "ok", 42 }, { guarded(function(a, b) return a * b end, 6, 7) })
end

local function loop() while true do end end

describe("a guarded call", function()
  after_each(assert_sound)

  it("passes arguments and a result", function()
    assert.same({ "ok", "ab" }, { guarded(function(a, b) return a .. b end, "a", "b") })
    assert.same({ "ok" }, { guarded(function() end) })
  end)

  it("ends an endless loop", function() assert_overrun(loop) end)

  it("ends one in a function that is called", function()
    local function helper() while true do end end
    assert_overrun(function() return helper() end)
    _G.guard_spec_loop = function() for _ = 1, math.huge do end end
    assert_overrun(function() return _G.guard_spec_loop() end)
    _G.guard_spec_loop = nil
  end)

  it("ends one that catches what is raised", function()
    assert_overrun(function()
      while true do pcall(loop) end
    end)
    assert_overrun(function()
      while true do
        xpcall(loop, debug.traceback)
      end
    end)
  end)

  it("ends one in an iterator, a metamethod and a comparison", function()
    assert_overrun(function()
      for _ in function() return 1 end do end
    end)
    local thing = setmetatable({}, { __index = loop, __add = loop })
    assert_overrun(function() return thing.field end)
    assert_overrun(function() return thing + 1 end)
    assert_overrun(function() table.sort({ 1, 2, 3 }, loop) end)
  end)

  it("ends an endless recursion", function()
    local function deeper() return 1 + deeper() end
    local status = guarded(deeper)
    assert.is_true(status == "overrun" or status == "raised")
    local function tail() return tail() end
    assert_overrun(tail)
  end)

  it("ends a storm of allocations", function()
    assert_overrun(function()
      local all
      while true do all = { all } end
    end)
  end)

  it("lets a long but bounded function through", function()
    local status, sum
    local tries = 0
    repeat
      status, sum = guarded(function()
        local total = 0
        for i = 1, 5000 do total = total + i end
        return total
      end)
      tries = tries + 1
    until status == "ok" or tries == 10 -- a busy machine may take the millisecond away
    assert.same({ "ok", 12502500 }, { status, sum })
  end)

  it("counts anew for each", function()
    local ok = 0
    for _ = 1, 100 do
      local status = guarded(function()
        for _ = 1, 2000 do end
      end)
      if status == "ok" then ok = ok + 1 end -- a busy machine takes the millisecond away from a few
    end
    assert.is_true(ok > 70, ok)
  end)

  it("tells what was raised, in one line", function()
    local function message(value)
      local status, text = guarded(function() error(value, 0) end)
      assert.equal("raised", status)
      return text
    end
    assert.equal("why", message "why")
    assert.equal("first", message "first\nsecond")
    assert.equal("", message "")
    assert.equal(255, #message(("x"):rep(1000)))
    assert.equal("12", message(12))
    assert.equal("an error that is a nil", message(nil))
    assert.equal("an error that is a boolean", message(false))
    assert.equal("an error that is a table", message {})
    assert.equal("an error that is a function", message(print))
    assert.equal("shown", message(setmetatable({}, { __tostring = function() return "shown" end })))
    assert.equal("an error that is a table", message(setmetatable({}, { __tostring = function() return 1 end })))
    assert.equal("why", message(setmetatable({}, { __tostring = function() error("why", 0) end })))
    assert.equal("an error that cannot be shown", message(setmetatable({}, { __tostring = function() error {} end })))
    assert.matches("^no_peer: ", message(internal.error { kind = "no_peer" }))
  end)

  it("ends an endless __tostring of an error", function()
    local status, message = guarded(function() error(setmetatable({}, { __tostring = loop })) end)
    assert.equal("overrun", status)
    assert.matches("overran", message)
  end)

  it("may not yield", function()
    local function yield() coroutine.yield(1) end
    assert.equal("raised", (guarded(yield)))
    local inside = coroutine.wrap(function() return guarded(yield) end)
    assert.equal("raised", (inside()))
    assert.equal("raised", (hawser.run(function() return guarded(yield) end)))
    assert.equal("raised", (guarded(function()
      local ok, why = pcall(yield)
      assert(not ok)
      error(why, 0)
    end)))
  end)

  it("may use coroutines of its own", function()
    assert.same({ "ok", 6 }, { guarded(function()
      local sum = 0
      for i in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do sum = sum + i end
      return sum
    end) })
  end)

  it("ends a loop in a coroutine of its own", function()
    assert_overrun(function() coroutine.wrap(loop)() end)
    assert_overrun(function()
      while true do coroutine.resume(coroutine.create(loop)) end
    end)
    assert_overrun(function()
      while true do
        coroutine.wrap(function() while true do pcall(loop) end end)()
      end
    end)
  end)

  it("leaves a coroutine alone that outlives it", function()
    local made
    assert.equal("ok", (guarded(function()
      made = coroutine.create(function()
        while true do
          for _ = 1, 300000 do end
          coroutine.yield "done"
        end
      end)
    end)))
    assert.same({ true, "done" }, { coroutine.resume(made) })
    assert.same({ true, "done" }, { coroutine.resume(made) })
  end)

  it("ends a loop in a coroutine made elsewhere, where the hook is one for all", function()
    if HOOKS_PER_THREAD then return end
    local made = coroutine.create(loop)
    testing.prepare(loop)
    assert_overrun(function() coroutine.resume(made) end)
  end)

  it("cannot end what runs in C, but ends what follows", function()
    local text = ("a"):rep(40)
    assert_overrun(function()
      while true do text:find(".-.-b") end
    end)
  end)

  it("may not wait", function()
    local m = hawser.new()
    local api = m:upstream("waits", { peers = { "http://127.0.0.1:1" } })
    local waits = {
      function() return hawser.sleep(0) end,
      function() return hawser.sleep(0, function() end) end,
      function() return api:get "/" end,
      function() return api:get("/", function() end) end,
      function() return hawser.run(function() end) end,
      function() return hawser.step() end,
      function() return m:drain(0) end,
    }
    local function try()
      for i, wait in ipairs(waits) do
        local status, message = guarded(wait)
        assert.equal("raised", status, i)
        assert.matches("policy", message)
      end
    end
    try()
    hawser.run(try)
    m:close()
  end)

  it("may change nothing", function()
    local m = hawser.new()
    local api = m:upstream("stays", { peers = { "http://127.0.0.1:1" } })
    for _, change in ipairs { function() m:close() end, function() api:close() end, function() api:update {} end,
      function() api:set_policy("retry", nil) end, function() m:upstream("new", {}) end } do
      local status, message = guarded(change)
      assert.equal("raised", status)
      assert.matches("not in a policy", message)
    end
    assert.equal(api, m:upstream "stays")
    m:close()
  end)

  it("may be made inside another one", function()
    local function inner_result() return (select(2, guarded(function() return "inner" end))) end
    assert.same({ "ok", "inner" }, { guarded(inner_result) })
    local inner
    assert_overrun(function() inner = guarded(loop) end)
    assert.is_nil(inner)
    assert.equal("ok", (guarded(function() pcall(guarded, error) end)))
  end)

  it("charges the outer one with what the inner ones took", function()
    assert_overrun(function()
      while true do guarded(loop) end
    end)
  end)

  it("is not made deeper than three", function()
    local depth = 0
    local function deeper()
      depth = depth + 1
      return (guarded(deeper))
    end
    assert.equal("ok", (guarded(deeper)))
    assert.equal(3, depth)
  end)

  it("may be made in a finalizer inside another one", function()
    local ran = false
    local function leave_garbage()
      if newproxy then
        local proxy = newproxy(true)
        getmetatable(proxy).__gc = function() ran = guard(function() return 1 end) end
      else
        setmetatable({}, { __gc = function() ran = guard(function() return 1 end) end })
      end
    end
    assert.equal("ok", (guarded(function()
      leave_garbage()
      collectgarbage()
      collectgarbage()
    end)))
    assert.equal("ok", ran)
  end)

  it("leaves its thread to nobody", function()
    local thread
    assert.equal("ok", (guarded(function() thread = coroutine.running() end)))
    if thread then
      assert.is_false((coroutine.resume(thread, 1)))
      if coroutine.close then coroutine.close(thread) end
    end
  end)
end)

describe("a debug hook of the user's", function()
  -- Tells how often it ran around `fn`.
  local function hooked(fn)
    local count = 0
    local function hook() count = count + 1 end
    debug.sethook(hook, "l")
    fn()
    local now, mask = debug.gethook()
    debug.sethook()
    assert.equal(hook, now)
    assert.equal("l", mask)
    return count
  end

  it("is back after a call", function()
    assert.is_true(hooked(function() guard(function() end) end) > 0)
  end)

  it("is back after one that overran, and after nested ones", function()
    hooked(function() guard(loop) end)
    hooked(function() guard(function() guard(loop) end) end)
  end)

  it("is back in a coroutine", function()
    coroutine.wrap(function() hooked(function() guard(loop) end) end)()
  end)

  it("is none when there was none", function()
    guard(loop)
    assert.is_nil((debug.gethook()))
  end)

  it("set by a policy is gone with the next call", function()
    guarded(function() debug.sethook(function() end, "l") end)
    assert_overrun(loop)
    assert_sound()
    local _, mask = debug.gethook()
    debug.sethook() -- what debug.gethook returns on LuaJIT is forgotten only now
    assert.is_true(mask == nil or mask == "")
  end)
end)

if IS_JIT then
  describe("LuaJIT's compiler", function()
    local jit = require "jit"

    it("is on again after a call, and only if it was", function()
      assert.is_true((jit.status()))
      guarded(loop)
      assert.is_true((jit.status()))
      jit.off()
      guarded(loop)
      local is_on = jit.status()
      jit.on()
      assert.is_false(is_on)
    end)

    it("is off as soon as another function than the policy's own runs", function()
      local function helper() return (jit.status()) end
      assert.same({ "ok", false }, { guarded(function()
        local status = helper()
        return status
      end) })
      assert.same({ "ok", false }, { guarded(function()
        helper()
        return (jit.status())
      end) })
      assert.is_true((jit.status()))
    end)

    -- Switching it off and on makes it forget what it has counted of all loops. Globals are functions here: busted's.
    it("stays on while only the policy's own functions run, and those of its file", function()
      local sort, is_on = table.sort, jit.status
      assert.same({ "ok", true }, { guarded(function()
        sort { 3, 1, 2 }
        return (is_on())
      end) })
      local function helper() return (is_on()) end
      local function outer() return (helper()) end
      testing.set("balancer", { config = {}, plugin = { name = "p", pick = function()
        return outer() and 1 or 2
      end } })
      assert.same({ true, 1 }, { testing.ask "decide" })
      testing.set("balancer", nil)
    end)
  end)
end

-- Policies ---------------------------------------------------------------------------------------

local builtin = { least_request = true, p2c = true, round_robin = true }

local function install(plugin, config)
  return testing.set(plugin.kind or "balancer", { plugin = plugin, config = config or {} })
end

describe("a policy", function()
  after_each(function()
    testing.set("balancer", nil)
    testing.faults()
  end)

  it("is asked with what new made of its options", function()
    assert.is_true(install({ name = "p", new = function(c) return { n = c.n } end,
      pick = function(self, more) return self.n + more end }, { n = 4 }))
    assert.same({ true, 7 }, { testing.ask("decide", 3) })
  end)

  it("has a table of its own without new", function()
    install { name = "p", pick = function(self)
      self.n = (self.n or 0) + 1
      return self.n
    end }
    testing.ask "decide"
    assert.same({ true, 2 }, { testing.ask "decide" })
  end)

  it("may be a function, without self", function()
    assert.is_true(testing.set("balancer", policies.resolve("balancer", function(a, b) return a - b end, {})))
    assert.same({ true, 2 }, { testing.ask("decide", 5, 3) })
    assert.same({ false }, { testing.ask "done" })
  end)

  it("is not made when new fails", function()
    local function why(new)
      local ok, message = install { name = "p", new = new, pick = print }
      assert.is_nil(ok)
      return message
    end
    assert.equal("balancer p: new: p needs a limit", why(function() error("p needs a limit", 0) end))
    assert.equal("balancer p: new: it returned neither a table nor a userdata", why(function() end))
    assert.matches("^balancer p: new: .*overran", why(loop))
    assert.same({ false }, { testing.ask "decide" })
  end)

  it("tells of each fault, and is set aside after 10 in a row", function()
    install { name = "p", pick = function(_, what)
      if what == "good" then return 1 end
      return what
    end }
    for _ = 1, 9 do testing.ask("decide", "nonsense") end
    assert.same({ true, 1 }, { testing.ask("decide", "good") })
    for _ = 1, 9 do assert.is_false((testing.ask("decide", "nonsense"))) end
    assert.same({ 18, "pick: returned nonsense", false }, { testing.faults() })
    testing.ask("decide", "nonsense")
    assert.same({ 1, "pick: returned nonsense", true }, { testing.faults() })
    assert.same({ false }, { testing.ask("decide", "good") })
    install { name = "q", pick = function() return 5 end }
    assert.same({ true, 5 }, { testing.ask "decide" })
  end)

  it("is set aside for one method that fails, although another works", function()
    install { name = "p", pick = error, done = function() end }
    for _ = 1, 10 do
      testing.ask "decide"
      testing.ask "done"
    end
    assert.is_true((select(3, testing.faults())))
  end)

  it("names the method that failed", function()
    install { name = "p", pick = function() end, done = function() error("oops", 0) end }
    testing.ask "done"
    assert.same({ 1, "done: oops", false }, { testing.faults() })
  end)

  it("takes over from the one before it, which is closed then", function()
    local steps = {}
    local function make(name)
      return { name = name, new = function() return { name = name } end, pick = function() end,
        migrate = function(self, old) steps[#steps + 1] = self.name .. " after " .. old.name end,
        close = function(self) steps[#steps + 1] = self.name .. " closed" end }
    end
    install(make "a")
    install(make "b")
    testing.set("balancer", nil)
    assert.same({ "b after a", "a closed", "b closed" }, steps)
  end)

  it("is swapped although migrate and close fail", function()
    install { name = "a", pick = function() return 1 end, close = loop }
    install { name = "b", pick = function() return 2 end, migrate = function() error("no", 0) end }
    assert.equal(2, (testing.faults()))
    assert.same({ true, 2 }, { testing.ask "decide" })
  end)

  it("is closed even when it was set aside", function()
    local is_closed = false
    install { name = "a", pick = error, close = function() is_closed = true end }
    for _ = 1, 10 do testing.ask "decide" end
    testing.set("balancer", nil)
    assert.is_true(is_closed)
  end)

  it("may be swapped by its own function", function()
    local steps = {}
    install { name = "a", close = function() steps[#steps + 1] = "closed" end, pick = function(self)
      self.word = 1
      install { name = "b", pick = function() return 2 end, migrate = function(_, old) old.word = old.word + 1 end }
      collectgarbage()
      steps[#steps + 1] = "swapped"
      return self.word
    end }
    assert.same({ true, 2 }, { testing.ask "decide" })
    assert.same({ "swapped", "closed" }, steps)
    assert.same({ true, 2 }, { testing.ask "decide" })
  end)

  it("may take itself away, and fail", function()
    install { name = "a", pick = function()
      testing.set("balancer", nil)
      collectgarbage()
      error "gone"
    end }
    assert.same({ false }, { testing.ask "decide" })
    assert.equal(0, (testing.faults()))
  end)

  it("may be swapped by migrate, and by close", function()
    install { name = "a", pick = function() return 1 end }
    install { name = "b", pick = function() return 2 end, migrate = function()
      install { name = "c", pick = function() return 3 end, close = function()
        install { name = "d", pick = function() return 4 end }
      end }
    end }
    local ok, answer = testing.ask "decide"
    assert.is_true(ok)
    assert.is_true(answer == 2 or answer == 4)
  end)
end)

describe("hawser.policy", function()
  it("returns the table", function()
    for kind, method in pairs { balancer = "pick", retry = "decide", breaker = "record" } do
      local plugin = { kind = kind, name = "x", [method] = print, new = print, close = print }
      assert.equal(plugin, hawser.policy(plugin))
    end
  end)

  it("refuses what is none, at the caller's line", function()
    local function pick() end
    local function refuses(pattern, plugin)
      raises(pattern, function() hawser.policy(plugin) end)
    end
    refuses("the policy is 5; allowed: a table", 5)
    refuses('kind is missing; allowed: "balancer"', {})
    refuses('unknown kind "balancr"; did you mean "balancer"%?', { kind = "balancr" })
    refuses("name is missing", { kind = "balancer", pick = pick })
    refuses("name is 3; allowed: a string", { kind = "balancer", name = 3, pick = pick })
    refuses("pick is missing; allowed: a function", { kind = "balancer", name = "x" })
    refuses('pick is "x"; allowed: a function', { kind = "balancer", name = "x", pick = "x" })
    refuses('unknown field of a balancer "migrat"; did you mean "migrate"%?',
      { kind = "balancer", name = "x", pick = pick, migrat = pick })
    refuses('unknown field of a retry "pick"', { kind = "retry", name = "x", pick = pick })
  end)
end)

describe("a policy as an option", function()
  local function pick() end
  local plugin = { kind = "balancer", name = "x", pick = pick }

  local function refuses(pattern, value)
    local made, message = policies.resolve("balancer", value, builtin)
    assert.is_nil(made)
    assert.matches(pattern, message)
  end

  before_each(function()
    package.loaded["hawser.balancer.guard_spec"] = plugin
    package.loaded["hawser.balancer.guard_spec_retry"] = { kind = "retry", name = "x", decide = pick }
    package.loaded["hawser.balancer.guard_spec_text"] = "text"
    package.preload["hawser.balancer.guard_spec_broken"] = function() error("a syntax\nof its own", 0) end
  end)

  after_each(function()
    for name in pairs { "", "_retry", "_text" } do package.loaded["hawser.balancer.guard_spec" .. name] = nil end
    package.preload["hawser.balancer.guard_spec_broken"] = nil
  end)

  it("is a name, with or without options", function()
    assert.same({ plugin = plugin, config = {} }, policies.resolve("balancer", "guard_spec", builtin))
    assert.same({ plugin = plugin, config = { n = 1 } }, policies.resolve("balancer", { "guard_spec", n = 1 }, builtin))
    assert.same({ builtin = "p2c" }, policies.resolve("balancer", { "p2c" }, builtin))
  end)

  it("is a plugin table", function()
    assert.same({ plugin = plugin, config = {} }, policies.resolve("balancer", plugin, builtin))
    assert.same({ plugin = plugin, config = { n = 1 } }, policies.resolve("balancer", { plugin, n = 1 }, builtin))
  end)

  it("is a function", function() assert.equal(pick, policies.resolve("balancer", pick, builtin).plugin.pick) end)

  it("says what was looked for", function()
    refuses('unknown balancer "p2d"; did you mean "p2c"%?; and there is no module hawser%.balancer%.p2d', "p2d")
    refuses("the module hawser%.balancer%.guard_spec_broken could not be loaded: a syntax$", "guard_spec_broken")
    refuses("the module hawser%.balancer%.guard_spec_retry is a retry, not a balancer", "guard_spec_retry")
    refuses('the module hawser%.balancer%.guard_spec_text: the policy is "text"; allowed: a table', "guard_spec_text")
    refuses("balancer is 5; allowed: a name, a function", 5)
    refuses('balancer is "%.%./x"; allowed: a name of letters', "../x")
    refuses("balancer: kind is missing", {})
    refuses('balancer "p2c" has no options, so none is called "n"', { "p2c", n = 1 })
  end)
end)

-- Views of peers ---------------------------------------------------------------------------------

describe("a peer's view", function()
  local NUMBERS = { "weight", "in_flight", "connections", "idle", "latency", "p99", "success_rate", "score", "since" }
  local FIRST = 4 -- behind the fixed fields, see HWL_PEER_FIELD_LIST

  local function view(figures)
    testing.set_figures(figures or {})
    return testing.view { id = "a", address = "127.0.0.1:80", tags = { zone = 1 } }
  end

  it("has what was fixed", function()
    local peer = view()
    assert.equal("a", peer.id)
    assert.equal("127.0.0.1:80", peer.address)
    assert.same({ zone = 1 }, peer.tags)
    assert.is_nil(peer.locality)
    assert.equal("peer a", tostring(peer))
  end)

  it("reads numbers and words when they are asked for", function()
    local figures = {}
    for i = 1, #NUMBERS do figures[FIRST + i - 1] = i / 2 end
    local peer = view(figures)
    for i, name in ipairs(NUMBERS) do assert.equal(i / 2, peer[name], name) end
    for i, state in ipairs { "healthy", "unhealthy", "draining" } do
      testing.set_figures { [13] = i - 1 }
      assert.equal(state, peer.state)
    end
    for i, breaker in ipairs { "closed", "open", "half_open" } do
      testing.set_figures { [14] = i - 1 }
      assert.equal(breaker, peer.breaker)
    end
  end)

  it("has nil for what is not known", function()
    local peer = view()
    assert.is_nil(peer.latency)
    assert.is_nil(peer.state)
    assert.is_nil(peer.nothing)
    assert.is_nil(peer[1])
    assert.is_nil(peer[{}])
  end)

  it("cannot be changed", function()
    local peer = view()
    assert.has_error(function() peer.weight = 1 end)
  end)

  it("outlives its peer", function()
    local peer = view { [5] = 3, [13] = 0 }
    assert.equal(3, peer.in_flight)
    assert.is_true(testing.is_peer(peer))
    testing.forget(peer)
    assert.equal("a", peer.id)
    assert.is_nil(peer.in_flight)
    assert.is_nil(peer.state)
    assert.is_false(testing.is_peer(peer))
  end)

  it("is told from anything else", function()
    for _, value in ipairs { 1, "a", {}, io.stdout, print } do assert.is_false(testing.is_peer(value)) end
  end)

  it("makes no garbage when a number is read", function()
    local peer = view { [5] = 3, [13] = 0, [14] = 1 }
    local function read()
      for _ = 1, 100 do
        local _, _, _, _ = peer.in_flight, peer.state, peer.breaker, peer.id
      end
    end
    read()
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    read()
    local after = collectgarbage "count"
    collectgarbage "restart"
    assert.equal(before, after)
  end)
end)

