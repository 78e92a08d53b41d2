--- docs/policies.md: its examples run as they stand there; the policy, its spec and its rockspec are those of
-- examples/near_first, which tests/luarocks installs.
local hawser = require "hawser"
local servers = require "spec.support.servers"

local load = loadstring or load

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local EXAMPLE = "examples/near_first/"
local page = read_file "docs/policies.md"
package.path = EXAMPLE .. "lua/?.lua;" .. package.path

describe("the page on policies", function()
  local faultd, m

  lazy_setup(function()
    faultd = servers.faultd()
    package.preload["hawser.retry.my_retry"] = function()
      return hawser.policy { kind = "retry", name = "my_retry", decide = function() end }
    end
  end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function() m = hawser.new { log = function() end } end)
  after_each(function() m:close() end)

  it("shows the files of the example", function()
    for _, name in ipairs { "lua/hawser/balancer/near_first.lua", "spec/near_first_spec.lua",
      "hawser-near-first-scm-1.rockspec" } do
      assert.is_truthy(page:find("```lua\n" .. read_file(EXAMPLE .. name) .. "```", 1, true), name)
    end
  end)

  local count = 0
  for code in page:gmatch "```lua\n(.-)```" do
    if code:find "%f[%w_]m:" then
      count = count + 1
      it(("has an example that works: %d"):format(count), function()
        local lines = {}
        local function print_line(...) lines[#lines + 1] = table.concat({ ... }, "\t") end
        code = code:gsub("http://10%.0%.0%.%d:8080", "http://127.0.0.1:" .. faultd.http):gsub("/users", "/ok")
        assert(load("local m, print = ...\n" .. code))(m, print_line)
        assert.equal(select(2, code:gsub("%f[\n]\nprint", "")), #lines)
        for _, line in ipairs(lines) do assert.equal("200", line) end
        hawser.run(hawser.sleep, 0)
        assert.equal(0, m:stats().policy_errors)
      end)
    end
  end

  it("has that many of them", function() assert.equal(5, count) end)
end)

-- busted's functions are in the environment of this file.
local function load_here(path)
  if setfenv then return setfenv(assert(loadfile(path)), getfenv(1)) end
  return assert(loadfile(path, "t", _ENV))
end

describe("the example's own spec:", function()
  load_here(EXAMPLE .. "spec/near_first_spec.lua")()
end)
