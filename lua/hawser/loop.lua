--- Which loop turns hawser's: its own, or that of a host, chosen before first use.
local core = require "hawser.core"
local internal = core.internal

local loop = {}

local choice = "auto"

local function neovim_loop()
  local vim = rawget(_G, "vim")
  return type(vim) == "table" and (vim.uv or vim.loop)
end

local function is_uv(value)
  return type(value) == "table" and type(value.new_poll) == "function" and type(value.new_timer) == "function"
end

-- luv counts when the program has loaded it; hawser does not load it by itself.
local function found()
  return neovim_loop() or package.loaded.luv
end

--- Chooses the host's loop: "auto" (luv's or Neovim's when there is one), "own" (none), or a luv module.
-- @param host string|table
function loop.choose(host)
  if host ~= "auto" and host ~= "own" and not is_uv(host) then
    error(("the loop is %s; allowed: \"auto\", \"own\", or the module of luv"):format(tostring(host)), 2)
  end
  if internal.is_used() then error("hawser.loop chooses before first use, and hawser's loop is in use", 2) end
  choice = host
end

--- Joins the chosen host, when hawser's loop has just been made.
function loop.attach()
  local uv = choice == "auto" and found() or choice
  if not is_uv(uv) then return end
  require(uv == neovim_loop() and "hawser.host.neovim" or "hawser.host.luv").attach(uv)
end

return loop
