--- Responses where they are tables, and methods of theirs everywhere: `chunks` and `json`.
local core = require "hawser.core"
local json = require "hawser.json"
local task = require "hawser.task"

local response = {}

local Response = core.internal.types["hawser.Response"]
local setmetatable = setmetatable -- entered for each response

local function check_self(self, method)
  if getmetatable(self) ~= Response then
    error(("a method of hawser.Response was called on a %s (write res:%s(), with a colon)")
      :format(type(self), method), 3)
  end
end

--- What the binding makes of an answer, where a response is a table.
-- @param head userdata which knows all other fields
-- @param body string? nil when it comes piece by piece
-- @return hawser.Response
local function make(head, status, body)
  local self = { head, status = status, body = body }
  setmetatable(self, Response)
  return self -- not in one: LuaJIT does not compile a function that ends with a call and was called from C
end

--- Iterates over the body; raises the error that breaks it off.
-- @return function for `for chunk in res:chunks() do`
function response:chunks()
  check_self(self, "chunks")
  if _VERSION == "Lua 5.1" and not rawget(_G, "jit") and core.internal.in_task() and not self.body then
    error("Lua 5.1 cannot wait in an iterator: call res:read() in a loop", 2)
  end
  return function()
    local chunk, err = self:read()
    if err then error(err, 0) end
    return chunk
  end
end

local function read_all(self)
  if self.body then return self.body end
  local chunks = {}
  while true do
    local chunk, err = self:read()
    if err then return nil, err end
    if not chunk then return table.concat(chunks) end
    chunks[#chunks + 1] = chunk
  end
end

local function decode(self)
  local text, err = read_all(self)
  if not text then return nil, err end
  local value, message = json.decode(text)
  if message then
    return nil, core.internal.error {
      kind = "protocol",
      code = "JSON",
      message = "the body is no JSON: " .. message,
      phase = "body",
      peer = self.peer,
      attempts = self.attempts,
      sent = true,
      retryable = false,
    }
  end
  return value
end

--- The body as a value, read to its end if it is a streaming one. JSON's null is nil.
-- @param callback function?
-- @return value; or nil, err
function response:json(callback)
  check_self(self, "json")
  task.check_callback(callback)
  if self.body and callback == nil then return decode(self) end
  return task.wait(callback, decode, self)
end

return { make = make, methods = response }
