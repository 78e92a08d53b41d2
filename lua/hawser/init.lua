--- hawser: a connection manager that is scripted in Lua. This is what `require "hawser"` gives.
local core = require "hawser.core"
local json = require "hawser.json"
local lease = require "hawser.lease"
local loop = require "hawser.loop"
local options = require "hawser.options"
local policy = require "hawser.policy"
local query = require "hawser.query"
local response = require "hawser.response"
local task = require "hawser.task"

local internal = core.internal
local types = internal.types

-- The highest score first; among equals by name, so that the order stays.
local function best_first(list)
  table.sort(list, function(a, b)
    if a.score ~= b.score then return a.score > b.score end
    return a.peer < b.peer
  end)
  return list
end

-- What the core calls, where Lua decides.
local helpers = {
  apply = function(fn, ...) return fn(...) end,
  attach = loop.attach,
  best_first = best_first,
  check_manager = options.manager,
  check_upstream = options.upstream,
  check_request = options.request,
  check_limits = options.connection_limits,
  check_details = options.details,
  check_tls = options.starttls,
  check_session = options.session,
  json = json.encode,
  produce = require("hawser.producer").run,
  query = query.append,
  redirect = require("hawser.redirect").follow,
  response = response.make,
  unknown = options.unknown,
}
for name, helper in pairs(helpers) do internal.set_helper(name, helper) end

-- Methods that are written in Lua.
local methods = {
  ["hawser.Upstream"] = lease,
  ["hawser.Response"] = response.methods,
}
for name, functions in pairs(methods) do
  for method, fn in pairs(functions) do types[name].methods[method] = fn end
end

local hawser = {
  all = task.all,
  loop = loop.choose,
  pcall = task.pcall,
  policy = policy.define,
}
for name, value in pairs(core) do
  if name ~= "internal" then hawser[name] = value end
end

return hawser
