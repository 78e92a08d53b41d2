--- PostgreSQL's protocol on leases: TLS when asked for, the start-up message and the simple query.
--     lua examples/postgres.lua PEER USER DATABASE SQL [CA]
--     lua examples/postgres.lua unix:/var/run/postgresql/.s.PGSQL.5432 me postgres "select 1 as one"
-- With CA, a file or "system", the server must offer TLS and have a certificate for its name.
-- It takes servers that trust the user; a password would be one more branch in `start_up`.
local hawser = require "hawser"

local Postgres = {}
Postgres.__index = Postgres

-- Big-endian integers, without string.pack, which Lua 5.1 and LuaJIT do not have.
local function int32(n)
  return string.char(math.floor(n / 2 ^ 24) % 256, math.floor(n / 2 ^ 16) % 256, math.floor(n / 256) % 256, n % 256)
end

local function read_int(bytes, at, size)
  local n = 0
  for i = at, at + size - 1 do n = n * 256 + bytes:byte(i) end
  return n
end

-- A message is a letter, the length of what follows (itself included), and its body.
local function read_message(conn)
  local head = assert(conn:read(5))
  return head:sub(1, 1), assert(conn:read(read_int(head, 2, 4) - 4))
end

local function message(letter, body)
  return letter .. int32(#body + 4) .. body
end

-- An error or a notice: fields of a letter and a text; M is the text for people.
local function text_of(body)
  return body:match "%zM(%Z+)" or body:match "^M(%Z+)" or "unknown error"
end

-- int16 count, then for each column its name, ended by NUL, and 18 bytes that are not needed here.
local function read_columns(body)
  local columns, at = {}, 3
  for i = 1, read_int(body, 1, 2) do
    local finish = body:find("%z", at)
    columns[i], at = body:sub(at, finish - 1), finish + 19
  end
  return columns
end

-- int16 count, then for each value its length and its text; the length -1 is NULL.
local function read_row(body, columns)
  local row, at = {}, 3
  for _, name in ipairs(columns) do
    local size = read_int(body, at, 4)
    at = at + 4
    if size < 2 ^ 31 then
      row[name], at = body:sub(at, at + size - 1), at + size
    end
  end
  return row
end

-- One byte answers the request for TLS, still in the clear. Anything but S, and we had better leave.
local function secure(conn, options)
  assert(conn:write(int32(8) .. int32(80877103)))
  local answer = assert(conn:read(1))
  if answer ~= "S" then return nil, "the server offers no TLS" end
  return conn:starttls(options)
end

-- Runs once for each new connection, until the server is ready for queries.
local function start_up(user, database, tls)
  local body = int32(196608) .. "user\0" .. user .. "\0database\0" .. database .. "\0\0"
  return function(conn)
    if tls then
      local ok, err = secure(conn, tls)
      if not ok then return false, tostring(err) end
    end
    assert(conn:write(int32(#body + 4) .. body))
    while true do
      local letter, answer = read_message(conn)
      if letter == "Z" then return true end
      if letter == "E" then return false, text_of(answer) end
      if letter == "R" and read_int(answer, 1, 4) ~= 0 then return false, "the server wants a password" end
    end
  end
end

--- Returns the rows, each a table by column name; or nil and what the server or the network said.
function Postgres:query(sql)
  return self.upstream:with(function(conn)
    local rows, columns, failure = {}, {}, nil
    assert(conn:write(message("Q", sql .. "\0")))
    while true do
      local letter, body = read_message(conn)
      if letter == "T" then columns = read_columns(body) end
      if letter == "D" then rows[#rows + 1] = read_row(body, columns) end
      if letter == "E" then failure = text_of(body) end
      -- Only now is the connection free for the next query; released earlier it would be closed.
      if letter == "Z" then
        if failure then return nil, failure end
        return rows, columns
      end
    end
  end)
end

--- @param tls table? options of conn:starttls; without it nothing is encrypted
function Postgres.connect(m, peer, user, database, tls)
  local name = ("%s at %s as %s"):format(database, peer, user)
  local options = { peers = { peer }, setup = start_up(user, database, tls) }
  return setmetatable({ upstream = m:upstream(name, options) }, Postgres)
end

if not (arg and arg[0] and arg[0]:find "postgres%.lua$") then return Postgres end

local peer, user, database, sql, ca = arg[1], arg[2], arg[3], arg[4], arg[5]
assert(sql, "usage: postgres.lua PEER USER DATABASE SQL [CA]")
local tls = ca and { ca = ca ~= "system" and ca or nil }
local rows, columns = Postgres.connect(hawser.new(), peer, user, database, tls):query(sql)
if not rows then
  io.stderr:write(tostring(columns), "\n")
  os.exit(1, true)
end
print(table.concat(columns, "\t"))
for _, row in ipairs(rows) do
  local values = {}
  for i, name in ipairs(columns) do values[i] = row[name] or "NULL" end
  print(table.concat(values, "\t"))
end
