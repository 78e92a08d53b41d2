--- All faults at once: whatever happens to any of them, the books stay exact and the good ones get through.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

local PATHS = {
  "/ok", "/ok", "/ok", "/bytes/100000", "/chunked/10/1000", "/trailers", "/close", "/old", "/until-close/100",
  "/slow/5", "/drip/5/1", "/idle/3", "/status/204", "/status/503", "/continue", "/early/413",
  "/rst/now", "/rst/head", "/rst/body", "/rst/after", "/fin/now", "/fin/head", "/fin/body", "/fin/chunk", "/fin/after",
  "/stale/fin", "/stale/rst", "/extra", "/never", "/stall/head", "/stall/body", "/upgrade", "/raw/3f0d0a0d0a",
  "/head-size/70000",
}

describe("a storm", function()
  local faultd

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)

  -- The same numbers on every Lua: a linear congruential generator whose products are exact.
  local function generator(seed)
    return function(n)
      seed = (seed * 16807) % 2147483647
      return seed % n + 1
    end
  end

  -- One of the ways to make a request; its outcome is its own affair.
  local function request(api, random)
    local path = PATHS[random(#PATHS)]
    local options = { timeout = random(4) == 1 and 0.01 or 0.2 }
    local way = random(5)
    if way == 1 then return api:post(path, ("x"):rep(random(100000)), options) end
    if way == 2 then
      local left = random(20)
      return api:put(path, function()
        left = left - 1
        return left > 0 and ("y"):rep(5000) or nil
      end, options)
    end
    if way == 3 then
      options.stream = true
      local res = api:get(path, options)
      local chunk = res and res:read()
      while chunk and random(4) > 1 do chunk = res:read() end
      return res and res:close()
    end
    return api:get(path, options)
  end

  local function rage(api, seed)
    local random = generator(seed)
    local tasks = {}
    hawser.run(function()
      for i = 1, 400 do
        tasks[i] = hawser.spawn(function() request(api, random) end)
        if random(8) == 1 then tasks[random(i)]:cancel() end
        if random(20) == 1 then hawser.sleep(0) end
      end
      for _, task in ipairs(tasks) do task:join() end
    end)
  end

  for seed = 1, 5 do
    it(("of seed %d leaves nothing behind"):format(seed), function()
      local m = hawser.new { log = function() end, seed = seed }
      local api = m:upstream("faultd", {
        peers = { "http://127.0.0.1:" .. faultd.http, "http://127.0.0.1:" .. faultd.closed },
        limits = { per_peer = 8, dials = 4 },
        timeouts = { read = 0.1, connect = 0.5, queue = 10 },
        retry = { backoff = { base = 0.001, max = 0.01 } },
        breaker = { open_for = 0.01, open_max = 0.02 },
      })
      rage(api, seed)
      ledger.is_at_rest(ledger.settled(api))

      api:update { peers = { "http://127.0.0.1:" .. faultd.http }, breaker = false, timeouts = { read = 10 } }
      for _ = 1, 10 do assert.equal("ok", assert(api:get "/ok").body) end
      m:close()
      faultd:ask "await/http/open/0"
    end)
  end
end)
