--- Fetches a URL in the background and shows it in a new buffer; the editor never waits.
-- hawser finds Neovim's loop by itself and runs its callbacks where `vim.api` may be used.
local hawser = require "hawser"

local M = {}

-- One manager for the whole editor: its connections are kept between commands.
local manager = hawser.new { timeouts = { request = 10 } }

local function show(url, lines)
  vim.cmd "new | setlocal buftype=nofile"
  local buffer = vim.api.nvim_get_current_buf()
  vim.api.nvim_buf_set_name(buffer, url)
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
end

--- Begins to fetch; returns a handle with `cancel`.
function M.get(url)
  return manager:get(url, {}, function(res, err)
    if not res then return vim.notify(tostring(err), vim.log.levels.ERROR) end
    show(url, vim.split(res.body, "\n"))
  end)
end

return M
