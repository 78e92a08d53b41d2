--- hawser in Neovim: as on luv's loop, but each turn runs through vim.schedule, so that callbacks may use vim.api.
local internal = require("hawser.core").internal
local luv = require "hawser.host.luv"

local neovim = {}

function neovim.attach(uv)
  local vim = _G.vim
  local poll, timer = luv.handles(uv)
  local is_scheduled = false
  local enter

  local function turn()
    is_scheduled = false
    if not internal.enter() then return end
    poll:start("r", enter)
    luv.follow(uv, poll, timer, enter)
  end

  -- Until the turn has come the poll rests: it would report the same bytes again and again.
  function enter()
    poll:stop()
    timer:stop()
    if is_scheduled then return end
    is_scheduled = true
    vim.schedule(turn)
  end

  local function arm()
    if not is_scheduled then luv.arm(uv, timer, enter) end
  end
  internal.attach(arm, vim.in_fast_event)
  poll:start("r", enter)
  luv.follow(uv, poll, timer, enter)
end

return neovim
