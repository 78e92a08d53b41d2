--- Feeds what a body's producer gives into the request; runs as a task of its own.
local core = require "hawser.core"

local producer = {}

--- @param sink table sink:send(chunk) waits until there is room, and says whether more is wanted
--- @param next_chunk function () -> the next chunk; nil at the end; nil and a message to give the request up
function producer.run(sink, next_chunk)
  repeat
    local chunk, message = next_chunk()
    if chunk == nil then
      if message == nil then return sink:finish() end
      return sink:abort(tostring(message))
    end
    if type(chunk) ~= "string" then
      return sink:abort(("the body's producer gave a %s; allowed: strings, nil at the end"):format(type(chunk)))
    end
    -- One that has nothing yet is asked again at the loop's next turn: deadlines and others go on meanwhile.
    if chunk == "" then core.sleep(0) end
  until not sink:send(chunk)
end

return producer
