-- Uses hawser from a LuaRocks tree, whose folder is the first argument: all of it must come from there.
local tree = arg[1]
local hawser = require "hawser"
local core = require "hawser.core"

assert(type(core) == "table")
for _, name in ipairs { "hawser", "hawser.core", "hawser.balancer.near_first" } do
  local path = (name == "hawser.core" and package.cpath or package.path)
  local found
  for template in path:gmatch "[^;]+" do
    local file = template:gsub("%?", (name:gsub("%.", "/")))
    local handle = io.open(file)
    if handle then handle:close() found = file break end
  end
  assert(found and found:sub(1, #tree) == tree, name .. " was found at " .. tostring(found))
end

local slept = hawser.run(function()
  hawser.sleep(0.01)
  return "slept"
end)
assert(slept == "slept")

-- A policy of another rock, by its name: whom it picks is asked, though nobody answers there.
local m = hawser.new { log = function() end }
local api = m:upstream("api", { balancer = { "near_first", locality = "here" }, retry = false, peers = {
  { "http://127.0.0.1:1", id = "far", locality = "there" },
  { "http://127.0.0.1:2", id = "near", locality = "here" },
} })
for _ = 1, 4 do
  local res, err = api:get "/"
  assert(not res and err.kind == "refused" and err.peer == "near", tostring(err))
end
assert(api:stats().policy_errors == 0)
m:close()
print(_VERSION, "hawser " .. hawser.VERSION)
