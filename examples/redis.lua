--- A Redis client on pooled connections, which any number of tasks may share.
--     lua examples/redis.lua tcp://127.0.0.1:6379 SET greeting hello
local hawser = require "hawser"

local function encode(words) -- RESP, the protocol: a command is a list of strings, each after its length
  local parts = { "*" .. #words }
  for i, word in ipairs(words) do parts[i + 1] = "$" .. #tostring(word) .. "\r\n" .. word end
  return table.concat(parts, "\r\n") .. "\r\n"
end

-- The first byte of a reply says what it is. Redis' null becomes false, its errors `nil, message`.
local function decode(conn)
  local line, err = conn:read "line"
  if not line then return nil, err end
  local kind, value, number = line:sub(1, 1), line:sub(2), tonumber(line:sub(2))
  if kind == "+" then return value end
  if kind == "-" then return nil, value end
  if kind == ":" or number < 0 then return kind == ":" and number end
  if kind == "*" then
    local list = {}
    for i = 1, number do list[i] = decode(conn) end
    return list
  end
  value, err = conn:read(number + 2) -- with its CRLF
  return value and value:sub(1, -3), err
end

local Redis = {}
-- A name that is no method is a command: redis:lpush("list", 1) sends lpush list 1.
Redis.__index = function(_, name) return Redis[name] or function(self, ...) return self:command(name, ...) end end

function Redis.connect(m, peer, password)
  local setup = password and function(conn) -- runs once for each new connection
    conn:write(encode { "AUTH", password })
    return decode(conn)
  end
  return setmetatable({ upstream = m:upstream("redis at " .. peer, { peers = { peer }, setup = setup }) }, Redis)
end

-- Writes all commands at once, then reads the replies: { value or nil, message } for each.
function Redis:pipeline(commands)
  local encoded, replies = {}, {}
  for i, words in ipairs(commands) do encoded[i] = encode(words) end
  return self.upstream:with(function(conn)
    local ok, err = conn:write(table.concat(encoded))
    for i = 1, #commands do replies[i] = { decode(conn) } end
    return ok and replies, err
  end)
end

function Redis:command(...)
  local replies, err = self:pipeline { { ... } }
  return replies and replies[1][1], err or replies[1][2]
end

-- Loaded by another script this is a module; run by itself it sends one command.
if not (arg and arg[0] and arg[0]:find "redis%.lua$") then return Redis end
local reply, message = Redis.connect(hawser.new(), arg[1], os.getenv "REDIS_PASSWORD"):command(select(2, ...))
print(type(reply) == "table" and table.concat(reply, "\n") or reply or message)
