--- Runs a program of its own: what can only be tried in a fresh process, or in another host than busted's Lua.
local program = {}

local function quote(word)
  return "'" .. tostring(word):gsub("'", "'\\''") .. "'"
end

local function with_file(text, run)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
  local ok, output, status = pcall(run, path)
  os.remove(path)
  if not ok then error(output, 0) end
  return output, status
end

-- io.popen cannot tell the exit status on Lua 5.1.
local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1; echo status $?", "r"))
  local text = pipe:read "*a"
  pipe:close()
  local output, status = text:match "^(.*)status (%d+)\n$"
  return output, tonumber(status)
end

local function run(environment, text, ...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = quote((select(i, ...))) end
  return with_file('local hawser = require "hawser"\n' .. text, function(path)
    local lua = os.getenv "LUA" or "lua"
    return output_of(("%s timeout 60 %s %s %s"):format(environment, lua, path, table.concat(words, " ")))
  end)
end

--- Runs the text in the Lua that runs the specs, with `hawser` loaded and the arguments as `...`.
-- @return string what it printed, on stderr too
-- @return integer its exit status
function program.run(text, ...) return run("", text, ...) end

--- The same on a system that trusts the roots in that file, and no others.
function program.run_trusting(roots, text, ...) return run("SSL_CERT_FILE=" .. quote(roots), text, ...) end

--- The same in Neovim, without a screen; the script ends it with `vim.cmd "qall!"`. Leaks are not looked for: Neovim
-- never closes its Lua state.
function program.run_in_neovim(text, ...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = ("%q"):format(select(i, ...)) end
  local arguments = "local arguments = { " .. table.concat(words, ", ") .. " }\n"
  return with_file(arguments .. text, function(path)
    local command = 'ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" timeout 60 nvim --headless -n -u NONE -i NONE -c '
    return output_of(command .. quote("luafile " .. path))
  end)
end

return program
