--- What hawser.policy{} checks, and how an option `balancer`, `retry` or `breaker` comes to a policy: from a function,
-- a name, `{ name, option = value }` or a plugin table.
local options = require "hawser.options"

local policy = {}

-- The method that a policy of each kind must have.
local kinds = { balancer = "pick", retry = "decide", breaker = "record" }

local optional = { "new", "update", "done", "migrate", "close" }

-- Checks -----------------------------------------------------------------------------------------

local function known_fields(method)
  local known = { kind = true, name = true, [method] = true }
  for _, name in ipairs(optional) do known[name] = true end
  return known
end

local function wrong(name, value, allowed)
  return ("%s is %s; allowed: %s"):format(name, options.show(value), allowed)
end

-- The message for what is wrong with a plugin table, or nil.
local function complaint(plugin)
  if type(plugin) ~= "table" then return wrong("the policy", plugin, "a table") end
  if type(plugin.kind) ~= "string" then return wrong("kind", plugin.kind, '"balancer", "breaker", "retry"') end
  local method = kinds[plugin.kind]
  if not method then return options.unknown("kind", plugin.kind, kinds) end
  local known = known_fields(method)
  for field, value in pairs(plugin) do
    if not known[field] then return options.unknown("field of a " .. plugin.kind, field, known) end
    local wanted = (field == "kind" or field == "name") and "string" or "function"
    if type(value) ~= wanted then return wrong(field, value, "a " .. wanted) end
  end
  if plugin.name == nil or plugin.name == "" then return wrong("name", plugin.name, "a string, not empty") end
  if not plugin[method] then return wrong(method, nil, "a function: what a " .. plugin.kind .. " must have") end
end

--- hawser.policy: checks a plugin table and returns it. Raises at its caller's line.
function policy.define(plugin)
  local message = complaint(plugin)
  if message then error(message, 2) end
  return plugin
end

-- What an option says --------------------------------------------------------------------------------

-- A plugin table that should be of `kind`; `whose` says where it comes from.
local function checked(kind, plugin, whose)
  local message = complaint(plugin)
  if message then return nil, ("%s: %s"):format(whose, message) end
  if plugin.kind ~= kind then return nil, ("%s is a %s, not a %s"):format(whose, plugin.kind, kind) end
  return plugin
end

local function first_line(text) return (tostring(text):match "^[^\r\n]*") end

-- The plugin that `hawser.<kind>.<name>` gives.
local function load(kind, name, builtin)
  local module = ("hawser.%s.%s"):format(kind, name)
  local found, plugin = pcall(require, module)
  if found then return checked(kind, plugin, "the module " .. module) end
  local text = tostring(plugin)
  if text:find(("module '%s' not found"):format(module), 1, true) then
    return nil, ("%s; and there is no module %s"):format(options.unknown(kind, name, builtin), module)
  end
  return nil, ("the module %s could not be loaded: %s"):format(module, first_line(text))
end

local function is_plugin(value) return type(value) == "table" and value[1] == nil end

-- What stands behind the first item of `{ name, option = value }`.
local function config_of(value)
  local config = {}
  for option, given in pairs(value) do
    if option ~= 1 then config[option] = given end
  end
  return config
end

--- What the option of that kind stands for.
-- @param kind string "balancer", "retry" or "breaker"
-- @param value function, string or table as the user gave it
-- @param builtin table whose keys are the names of those in C
-- @return table? `{ plugin =, config =, is_plain = }` for hwl_policy_create(), or `{ builtin = name }`
-- @return string? message, if there is none
function policy.resolve(kind, value, builtin)
  if type(value) == "function" then
    return { plugin = { kind = kind, name = "a function", [kinds[kind]] = value }, config = {}, is_plain = true }
  end
  local name, config = value, {}
  if type(value) == "table" and not is_plugin(value) then
    name, config = value[1], config_of(value)
  end
  if type(name) == "string" then
    if builtin[name] then
      local option = next(config)
      if option ~= nil then
        return nil, ("%s %q has no options, so none is called %s"):format(kind, name, options.show(option))
      end
      return { builtin = name }
    end
    if not name:find "^[%w_][%w_.-]*$" then
      return nil, wrong(kind, name, "a name of letters, digits and _")
    end
    local plugin, message = load(kind, name, builtin)
    if not plugin then return nil, message end
    return { plugin = plugin, config = config }
  end
  if not is_plugin(name) then
    return nil, wrong(kind, name, "a name, a function, { name, option = value }, or what hawser.policy returns")
  end
  local plugin, message = checked(kind, name, kind)
  if not plugin then return nil, message end
  return { plugin = plugin, config = config }
end

return policy
