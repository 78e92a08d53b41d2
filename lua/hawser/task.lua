--- Waiting functions that are written in Lua, and those of them that belong to no object.
local internal = require("hawser.core").internal

local task = {}

--- `pcall` in which a task may wait. Only Lua 5.1's own cannot do that.
task.pcall = pcall
if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then task.pcall = internal.pcall end

--- Runs `body(...)`, which waits, in the form that the caller may wait in: inside a task as part of it, else as a
-- task of its own that the caller blocks for, or whose results the callback gets.
-- @param callback function? function(...) for the results
function task.wait(callback, body, ...)
  if callback == nil and internal.in_task() then return body(...) end
  return internal.call(callback, body, ...)
end

--- Raises at the line of whoever called the function that calls this.
function task.check_callback(callback)
  if callback ~= nil and type(callback) ~= "function" then
    error(("the callback is a %s; allowed: a function, or nothing"):format(type(callback)), 3)
  end
end

local function run_all(functions)
  local tasks, outcomes = {}, {}
  for i, fn in ipairs(functions) do tasks[i] = internal.spawn_awaited(fn) end
  for i, one in ipairs(tasks) do
    outcomes[i] = { one:join() }
    local _, is_canceled = internal.in_task()
    if is_canceled then
      for _, other in ipairs(tasks) do other:cancel() end
      return nil, outcomes[i][2]
    end
  end
  return outcomes
end

--- Runs functions side by side, each in a task.
-- @param functions function[]
-- @param callback function? function(outcomes, err)
-- @return table[] outcomes for each { true, results... } or { nil, err }, in their order
function task.all(functions, callback)
  if type(functions) ~= "table" then
    error(("what hawser.all is to run is a %s; allowed: a list of functions"):format(type(functions)), 2)
  end
  local list = {}
  for i = 1, #functions do
    if type(functions[i]) ~= "function" then
      error(("item %d of what hawser.all is to run is a %s; allowed: a function"):format(i, type(functions[i])), 2)
    end
    list[i] = functions[i]
  end
  task.check_callback(callback)
  return task.wait(callback, run_all, list)
end

return task
