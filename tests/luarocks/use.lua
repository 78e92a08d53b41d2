-- Uses hawser from a LuaRocks tree, whose folder is the first argument: all of it must come from there.
local tree = arg[1]
local hawser = require "hawser"
local core = require "hawser.core"

assert(type(core) == "table")
for _, name in ipairs { "hawser", "hawser.core" } do
  local path = (name == "hawser" and package.path or package.cpath)
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
print(_VERSION, "hawser " .. hawser.VERSION)
