--- The README's examples run as they stand there; only the addresses are those of servers that are running.
local program = require "spec.support.program"
local servers = require "spec.support.servers"

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Code by the heading that it stands below.
local function examples()
  local found, heading = {}, nil
  for before, code in read_file("README.md"):gmatch "(.-)```lua\n(.-)```" do
    for title in ("\n" .. before):gmatch "\n#+ ([^\n]+)" do heading = title end
    assert(not found[heading], "two examples below " .. heading)
    found[heading] = code
  end
  return found
end

describe("the README's example", function()
  local faultd, front, redis
  local codes = examples()

  lazy_setup(function()
    faultd = servers.faultd()
    front = servers.tls_front(faultd.http)
    redis = servers.redis "secret"
  end)
  lazy_teardown(function()
    front:stop()
    faultd:stop()
    redis:stop()
  end)

  -- What the README's server has, and where faultd has the like of it.
  local function located(code)
    local places = {
      { "https://example.org", "https://localhost:" .. front.port },
      { "http://127.0.0.1:8080", "http://127.0.0.1:" .. faultd.http },
      { "tcp://127.0.0.1:6379", "tcp://127.0.0.1:" .. redis.port },
      { "/users/7", "/ok" },
      { '"/users/" .. id', '"/ok?key=" .. id' },
      { "/users", "/sink" },
      { "/big", "/bytes/1000000" },
      { "/copy", "/sink" },
      { "/slow", "/slow/60000" },
    }
    for _, place in ipairs(places) do
      local from, to = place[1], place[2]
      code = code:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%")))
    end
    return code
  end

  -- Runs it and returns the lines that it printed.
  local function run(heading)
    local lines = {}
    local function note(...)
      local words = {}
      for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
      lines[#lines + 1] = table.concat(words, " ")
    end
    local code = assert(codes[heading], "there is none")
    assert((loadstring or load)("local print = ... " .. located(code), "=README.md, " .. heading))(note)
    codes[heading] = false
    return lines
  end

  -- In a program of its own, whose system has the roots of the test certificates.
  it("on its first screen makes a hundred requests over eight connections", function()
    faultd:ask "zero"
    local output, status = program.run_trusting(servers.certificate "root.pem", located(codes.hawser))
    codes.hawser = false
    assert.equal(0, status, output)
    local id = 0
    for line in output:gmatch "[^\n]+" do
      id = id + 1
      assert.equal(id .. "\t200", line)
    end
    assert.equal(100, id)
    assert.is_true(faultd:ask "get/http/most" <= 8)
    assert.equal(1, faultd:ask "seen/GET/100")
  end)

  it("of requests", function()
    local lines = run "Requests"
    assert.equal("200 2 2", lines[1])
    assert.equal("200 false 127.0.0.1:" .. faultd.http, lines[2])
  end)

  it("of streaming", function()
    faultd:ask "zero"
    assert.same({ "200 200" }, run "Streaming")
  end)

  it("of leases, which is Redis", function()
    assert.same({ "+PONG" }, run "Leases")
  end)

  it("of errors", function()
    local line = run("Errors")[1]
    assert.is_truthy(line:find "^headers true timeout: .* %[TIMEOUT%] %(headers, 127%.0%.0%.1:%d+%)$", line)
  end)

  it("is none of those that are not run here", function()
    for heading, code in pairs(codes) do assert.is_false(code, heading) end
  end)
end)
