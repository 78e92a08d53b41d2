--- The query of a URL from a table.
local query = {}

local function escape(text)
  return (text:gsub("[^%w%-._~]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- A whole number prints with all its digits, and without ".0", which Lua 5.3 and later would add to a float.
local function to_text(value)
  if math.type and math.type(value) == "integer" then return ("%d"):format(value) end
  if type(value) == "number" and value % 1 == 0 and math.abs(value) < 1e21 then return ("%.0f"):format(value) end
  if type(value) == "string" or type(value) == "number" or type(value) == "boolean" then return tostring(value) end
end

local function add(parts, name, value)
  local text = to_text(value)
  if not text then
    local allowed = "a string, a number, true or false, or a list of those"
    return ("query.%s is a %s; allowed: %s"):format(name, type(value), allowed)
  end
  parts[#parts + 1] = escape(name) .. "=" .. escape(text)
end

local function add_all(parts, name, value)
  if type(value) ~= "table" then return add(parts, name, value) end
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  for _, item in ipairs(value) do
    local message = add(parts, name, item)
    if message then return message end
    count = count - 1
  end
  if count > 0 then return ("query.%s is a table with names or gaps; allowed: a list"):format(name) end
end

local function sorted_names(values)
  local names = {}
  for name in pairs(values) do
    if type(name) ~= "string" then return nil, ("query has a %s as a name; allowed: strings"):format(type(name)) end
    names[#names + 1] = name
  end
  table.sort(names) -- the same table gives the same URL
  return names
end

--- Encodes names and values, sorted by name; a list gives its name once for each item.
-- @return string? text, string? message
function query.encode(values)
  local names, message = sorted_names(values)
  if not names then return nil, message end
  local parts = {}
  for _, name in ipairs(names) do
    message = add_all(parts, name, values[name])
    if message then return nil, message end
  end
  return table.concat(parts, "&")
end

--- Appends a query to a path or URL, behind the one that it may have and before its fragment.
-- @param values table|string a string is taken as it is
-- @return string? path, string? message
function query.append(path, values)
  local text = values
  if type(values) == "table" then
    local encoded, message = query.encode(values)
    if not encoded then return nil, message end
    text = encoded
  elseif type(values) ~= "string" then
    return nil, ("query is a %s; allowed: a table, or a string"):format(type(values))
  end
  local front, fragment = path:match "^([^#]*)(.*)$"
  if text == "" then return path end
  local separator = not front:find("?", 1, true) and "?" or front:find "[?&]$" and "" or "&"
  return front .. separator .. text .. fragment
end

return query
