--- Events: m:on, m:off, log, and what happens to functions that raise.
local hawser = require "hawser"
local program = require "spec.support.program"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

describe("events", function()
  local faultd, m, api

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new()
    api = m:upstream("api", { peers = { "http://127.0.0.1:" .. faultd.http } })
  end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  -- A table that collects the events of a name.
  local function collect(name)
    local events = {}
    return events, m:on(name, function(event) events[#events + 1] = event end)
  end

  it("tell of connections that come and go, and why", function()
    local connects, closes = collect "connect", collect "close"
    local before = hawser.now()
    assert(api:get "/ok")
    assert(api:get "/close")
    hawser.sleep(0)
    assert.equal(1, #connects)
    assert.same({ "connect", "api", "127.0.0.1:" .. faultd.http },
      { connects[1].event, connects[1].upstream, connects[1].peer })
    assert.is_true(connects[1].at >= before and connects[1].at <= hawser.now())
    assert.equal(1, #closes)
    assert.equal("last", closes[1].reason)
    api:close()
    hawser.sleep(0)
  end)

  it("tell when a drain begins and ends", function()
    local drains = collect "drain"
    assert.is_true(api:drain())
    hawser.sleep(0)
    assert.same({ "begin", "end" }, { drains[1].reason, drains[2].reason })
  end)

  it("reach every function, in order, and only those of their name", function()
    local order = {}
    for i = 1, 3 do m:on("connect", function() order[#order + 1] = i end) end
    m:on("leak", function() order[#order + 1] = "leak" end)
    assert(api:get "/ok")
    hawser.sleep(0)
    assert.same({ 1, 2, 3 }, order)
  end)

  it("no longer reach what was taken off", function()
    local events, id = collect "connect"
    local others = collect "connect"
    assert.is_true(m:off(id))
    assert.is_false(m:off(id))
    assert.is_false(m:off(12345))
    assert(api:get "/ok")
    hawser.sleep(0)
    assert.same({ 0, 1 }, { #events, #others })
  end)

  it("may take functions off and put them on meanwhile", function()
    local count, late, second = 0, 0, nil
    m:on("connect", function()
      count = count + 1
      m:off(second)
      m:on("connect", function() late = late + 1 end)
    end)
    second = m:on("connect", function() count = count + 1 end)
    assert(api:get "/close")
    hawser.sleep(0)
    assert.same({ 2, 0 }, { count, late }) -- this one event still goes to those who were there
    assert(api:get "/ok")
    hawser.sleep(0)
    assert.same({ 3, 1 }, { count, late })
  end)

  it("end with their manager's life, not before", function()
    local weak = setmetatable({}, { __mode = "k" })
    local function make()
      local other = hawser.new()
      weak[other] = true
      other:on("connect", function() return other end)
    end
    make()
    collectgarbage()
    collectgarbage()
    if _VERSION ~= "Lua 5.1" then assert.is_nil((next(weak))) end
  end)

  it("refuse names that do not exist, and what is no function", function()
    raises('^unknown event "conect"; did you mean "connect"%?$', function() m:on("conect", print) end)
    raises('^unknown event "whatever"; '
      .. "known: breaker, close, connect, drain, error, leak, policy_error, retry, stale_reuse$",
      function() m:on("whatever", print) end)
    for _, later in ipairs { "eject", "health", "shed", "warm" } do
      raises("^unknown event", function() m:on(later, print) end)
    end
    raises("^the event is missing; allowed: the name of one", function() m:on() end)
    raises("^the event is 1; allowed: the name of one", function() m:on(1, print) end)
    raises("^what is to be called for an event is missing; allowed: a function", function() m:on "connect" end)
    raises("^the id is missing; allowed: what m:on%(%) returned", function() m:off() end)
    raises("a method of hawser.Manager was called on", function() m.on("connect", print) end)
  end)
end)

describe("an error in a user's function", function()
  local faultd, m, logged, errors

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  -- A task that raises.
  local function break_it()
    hawser.spawn(function() error("it broke", 0) end)
    hawser.run()
  end

  after_each(function() m:close() end)

  it("goes to the event and to log", function()
    logged, errors = {}, {}
    m = hawser.new { log = function(...) logged[#logged + 1] = { ... } end }
    m:on("error", function(event) errors[#errors + 1] = event end)
    break_it()
    assert.equal(1, #errors)
    assert.is_truthy(errors[1].error:find "^it broke\nstack traceback:")
    assert.equal("number", type(errors[1].at))
    assert.equal(1, #logged)
    assert.equal("error", logged[1][1])
    assert.is_truthy(logged[1][2]:find "^a task raised: it broke\nstack traceback:")
    assert.equal(errors[1].text, logged[1][3].text)
  end)

  it("goes there, too, from the function of another event, and harms no other", function()
    local told = 0
    logged, errors = {}, {}
    m = hawser.new { log = function(...) logged[#logged + 1] = { ... } end }
    m:on("connect", function() error("it broke", 0) end)
    m:on("connect", function() told = told + 1 end)
    m:on("error", function(event) errors[#errors + 1] = event end)
    assert(m:get(("http://127.0.0.1:%d/ok"):format(faultd.http)))
    hawser.run(hawser.sleep, 0)
    assert.same({ 1, 1, 1 }, { told, #errors, #logged })
    assert.is_truthy(errors[1].text:find "^an event's function raised: it broke\nstack traceback:")
    assert.same({ "error", errors[1].text, errors[1] }, logged[1])
  end)

  it("goes to the event when log raises", function()
    local lines = 0
    errors = {}
    m = hawser.new { log = function()
      lines = lines + 1
      if lines == 1 then error("log broke", 0) end
    end }
    m:on("error", function(event) errors[#errors + 1] = event.text end)
    local address = "http://127.0.0.1:" .. faultd.http
    assert(m:upstream("api", { peers = { address }, balancer = function() error "no" end }):get "/ok")
    hawser.run(hawser.sleep, 0)
    assert.same({ 1, 2 }, { #errors, lines })
    assert.is_truthy(errors[1]:find "^log raised: log broke")
  end)

  it("shows an error object as its text", function()
    errors = {}
    m = hawser.new()
    m:on("error", function(event) errors[#errors + 1] = event end)
    local object = setmetatable({}, { __tostring = function() return "an object" end })
    hawser.spawn(error, object)
    hawser.spawn(error)
    hawser.spawn(error, 42)
    hawser.run()
    assert.equal("a task raised: an object", errors[1].text)
    assert.equal(object, errors[1].error)
    assert.equal("a task raised: a nil", errors[2].text)
    assert.is_truthy(errors[3].text:find "^a task raised: .*42")
  end)

  it("goes to stderr when nobody listens", function()
    m = hawser.new()
    assert.is_truthy(program.run [[
      hawser.spawn(function() error "it broke" end)
      hawser.sleep(0, function() error "it broke as well" end)
      hawser.run()
    ]]:find "^hawser: a task raised: .*it broke\nstack traceback:.*hawser: a callback raised: .*it broke as well")
  end)

  it("goes to stderr, too, when it is in the function that should have told", function()
    m = hawser.new()
    local text = program.run [[
      local m = hawser.new { log = function() error "log broke" end }
      m:on("error", function() error "the event broke" end)
      hawser.spawn(function() error "it broke" end)
      hawser.run()
      print "still here"
    ]]
    local parts = { "an event's function raised: .*the event broke", "log raised: .*log broke", "still here" }
    for _, part in ipairs(parts) do
      assert.is_truthy(text:find(part), text)
    end
  end)
end)
