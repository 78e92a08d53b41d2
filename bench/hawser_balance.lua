--- An open load on several peers: hawser_balance.lua balancer rate requests port...
-- Requests begin at random times (Poisson), `rate` of them a second on average, whether or not those before them have
-- ended. A latency counts from the moment at which its request was due, so a client that falls behind hides nothing.
-- Prints the 99th percentile in ms, and in its note the median and what the last peer got.
local hawser = require "hawser"

local balancer, rate, requests = arg[1], tonumber(arg[2]), tonumber(arg[3])
local WARM_UP = requests // 5 -- these are made before the others and not counted

local peers = {}
for i = 4, #arg do peers[#peers + 1] = { "http://127.0.0.1:" .. arg[i], id = arg[i] } end

local m = hawser.new { seed = 1 }
local api = m:upstream("stations", { peers = peers, balancer = balancer })
local latencies, of_last = {}, 0

-- A number above 0 and below 1 (Park and Miller).
local seed = 1
local function draw()
  seed = seed * 16807 % 2147483647
  return seed / 2147483647
end

local function ask(due, is_counted)
  api:get("/", {}, function(res, err)
    assert(res, err)
    if not is_counted then return end
    latencies[#latencies + 1] = hawser.now() - due
    if res.peer == arg[#arg] then of_last = of_last + 1 end
  end)
end

m:on("error", function(e) io.stderr:write(tostring(e.text), "\n") os.exit(1) end)
hawser.run(function()
  local due = hawser.now()
  for i = 1, WARM_UP + requests do
    due = due - math.log(draw()) / rate
    local left = due - hawser.now()
    if left > 0 then hawser.sleep(left) end
    ask(due, i > WARM_UP)
  end
end)
hawser.run()
assert(#latencies == requests)
table.sort(latencies)
local function quantile(share) return latencies[math.ceil(share * requests)] * 1000 end
print(("value\t%.2f"):format(quantile(.99)))
print(("note\tmedian %.1f ms, %.2f %% at the last peer"):format(quantile(.5), 100 * of_last / requests))
m:close()
