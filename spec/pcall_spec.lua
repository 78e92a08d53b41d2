--- hawser.pcall, in which a task may wait on every Lua; and what cannot be waited in.
local hawser = require "hawser"
local servers = require "spec.support.servers"

local IS_51 = _VERSION == "Lua 5.1" and not rawget(_G, "jit")

local function pack(...) return { n = select("#", ...), ... } end

describe("hawser.pcall", function()
  it("passes arguments and results, nils included", function()
    local function body(...)
      hawser.sleep(0)
      return ...
    end
    assert.same({ n = 4, true, 1, nil, nil }, hawser.run(function() return pack(hawser.pcall(body, 1, nil, nil)) end))
  end)

  it("catches what is raised before and after waiting", function()
    local thrown = {}
    hawser.run(function()
      assert.same({ n = 2, false, thrown }, pack(hawser.pcall(error, thrown)))
      assert.same({ n = 2, false, thrown }, pack(hawser.pcall(function()
        hawser.sleep(0)
        error(thrown)
      end)))
      assert.same({ n = 2, false, "text" }, pack(hawser.pcall(function()
        hawser.sleep(0)
        error("text", 0)
      end)))
    end)
  end)

  it("nests", function()
    local steps = {}
    local function note(step) steps[#steps + 1] = step end
    hawser.run(function()
      local ok, outer = hawser.pcall(function()
        note "outer begins"
        local inner_ok, inner = hawser.pcall(function()
          hawser.sleep(0)
          note "inner waited"
          error("inner", 0)
        end)
        note(tostring(inner_ok) .. " " .. inner)
        hawser.sleep(0)
        note "outer waited"
        return "outer"
      end)
      note(tostring(ok) .. " " .. outer)
    end)
    assert.same({ "outer begins", "inner waited", "false inner", "outer waited", "true outer" }, steps)
  end)

  it("lets cancellation through to the wait inside", function()
    local kind
    local task = hawser.spawn(function()
      hawser.pcall(function() kind = select(2, hawser.sleep(1000)).kind end)
    end)
    hawser.sleep(.001)
    task:cancel()
    assert.is_nil((task:join()))
    assert.equal("canceled", kind)
  end)

  it("works outside of tasks as pcall does", function()
    assert.same({ n = 3, true, 1, 2 }, pack(hawser.pcall(function(...)
      hawser.sleep(0)
      return ...
    end, 1, 2)))
    assert.is_false((hawser.pcall(error)))
    assert.is_false((hawser.pcall(nil)))
    assert.is_false((pcall(hawser.pcall)))
  end)

  it("works inside a pcall", function()
    hawser.run(function()
      assert.same({ true, false, "text" }, { pcall(hawser.pcall, error, "text", 0) })
    end)
  end)

  it("is pcall itself where that can be waited in", function()
    assert.equal(not IS_51, hawser.pcall == pcall)
  end)

  it("leaks nothing when its task is abandoned in it", function()
    local task = hawser.spawn(function()
      return hawser.pcall(function() return hawser.pcall(hawser.sleep, 1000) end)
    end)
    hawser.sleep(.001)
    task:cancel()
    hawser.run()
  end)
end)

describe("waiting", function()
  local faultd, m, api

  lazy_setup(function()
    faultd = servers.faultd()
    m = hawser.new()
    api = m:upstream("api", { peers = { "http://127.0.0.1:" .. faultd.http } })
  end)
  lazy_teardown(function()
    m:close()
    faultd:stop()
  end)

  -- What a task raises that waits inside of something; and nothing must have been sent.
  local function refusal(body)
    faultd:ask "zero"
    local message = hawser.run(function()
      local ok, message = hawser.pcall(body)
      assert.is_false(ok)
      return message
    end)
    assert.equal(0, faultd:ask "seen/GET/refused")
    return message
  end

  it("is refused in a function that C calls", function()
    local message = refusal(function() table.sort({ 2, 1 }, function() return api:get "/ok?key=refused" end) end)
    assert.is_truthy(message:find "cannot wait inside", message)
    message = refusal(function() return (("x"):gsub("x", function() return api:get("/ok?key=refused").body end)) end)
    assert.is_truthy(message:find "cannot wait inside", message)
  end)

  if IS_51 then
    it("is refused in Lua 5.1's pcall, with the way that works", function()
      assert.is_truthy(hawser.run(function()
        return select(2, pcall(function() return api:get "/ok?key=refused" end))
      end):find "hawser.pcall")
      assert.equal(0, faultd:ask "seen/GET/refused")
    end)

    it("is refused in Lua 5.1's iterators, with the way that works", function()
      local message = refusal(function()
        for res in function() return api:get "/ok?key=refused" end do error(res) end
      end)
      assert.is_truthy(message:find "res:read")
      message = hawser.run(function()
        local res = assert(api:get("/bytes/10", { stream = true }))
        local _, text = hawser.pcall(function() for chunk in res:chunks() do error(chunk) end end)
        res:close()
        return text
      end)
      assert.is_truthy(message:find "res:read")
    end)

    it("is refused in Lua 5.1's metamethods", function()
      local object = setmetatable({}, { __index = function() return api:get("/ok").body end })
      local message = hawser.run(function()
        local ok, message = hawser.pcall(function() return object.body end)
        assert.is_false(ok)
        assert.is_true(hawser.sleep(0)) -- the task goes on
        return message
      end)
      assert.is_truthy(message:find "metamethod")
    end)
  else
    it("works in pcall, metamethods and iterators", function()
      hawser.run(function()
        assert(select(2, pcall(api.get, api, "/ok")).status == 200)
        assert(select(2, xpcall(function() return api:get "/ok" end, debug.traceback)).status == 200)
        local object = setmetatable({}, { __index = function() return assert(api:get "/ok").body end })
        assert(object.body == "ok")
        local bytes = 0
        for chunk in assert(api:get("/chunked/5/1000", { stream = true })):chunks() do bytes = bytes + #chunk end
        assert(bytes == 5000)
      end)
    end)
  end
end)
