--- hawser on a loop of luv's: a poll on the descriptor of hawser's own loop, and a timer for what is due there.
-- Both are the host's own handles, made through its API, so no handle of hawser's ever sits on that loop.
local core = require "hawser.core"
local internal = core.internal

local luv = {}

--- @return userdata poll, userdata timer
function luv.handles(uv)
  return assert(uv.new_poll(internal.descriptor())), assert(uv.new_timer())
end

--- To be called after each turn: lets the timer follow what is due in hawser's loop. Poll and timer keep the host's
-- loop running only while something is in flight.
-- @param enter function called by the timer
function luv.follow(uv, poll, timer, enter)
  local seconds = core.timeout()
  if seconds then
    timer:start(math.ceil(seconds * 1000), 0, enter)
  else
    timer:stop()
  end
  local keep = internal.is_pending() and uv.ref or uv.unref
  keep(poll)
  keep(timer)
end

--- To be called when work was started: the host is to enter soon.
function luv.arm(uv, timer, enter)
  timer:start(0, 0, enter)
  uv.ref(timer)
end

function luv.attach(uv)
  local poll, timer = luv.handles(uv)
  local function enter()
    if internal.enter() then luv.follow(uv, poll, timer, enter) end
  end
  internal.attach(function() luv.arm(uv, timer, enter) end, function() return uv.loop_mode() ~= nil end)
  poll:start("r", enter)
  luv.follow(uv, poll, timer, enter)
end

return luv
