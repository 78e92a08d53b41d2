--- JSON by dkjson, which is loaded when it is first used.
local json = {}

local dkjson

local function load_dkjson()
  if dkjson then return true end
  local ok, module = pcall(require, "dkjson")
  if ok then dkjson = module end
  return ok
end

local MISSING = "JSON needs the module dkjson, which cannot be loaded; packages and LuaRocks have it"

--- @return string? text, string? message
function json.encode(value)
  if not load_dkjson() then return nil, MISSING end
  local ok, text, message = pcall(dkjson.encode, value)
  if not ok then return nil, "json: " .. tostring(text) end
  if not text then return nil, "json: " .. tostring(message) end
  return text
end

--- @return any value, string? message
function json.decode(text)
  if not load_dkjson() then error(MISSING, 0) end
  local ok, value, position, message = pcall(dkjson.decode, text)
  if not ok then return nil, "nested too deeply" end -- dkjson's own stack overflows
  if message then return nil, message end
  if text:find("%S", position) then return nil, "text after the value" end
  return value
end

return json
