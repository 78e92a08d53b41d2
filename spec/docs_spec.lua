--- What is documented is what there is: the annotations (lua/hawser/types.lua) and the reference pages name every
-- function, method, field, option, kind and event of the module, and nothing else. The module itself says what there
-- is; where it cannot, its sources do.
local core = require "hawser.core"
local hawser = require "hawser"
local options = require "hawser.options"

-- Texts ----------------------------------------------------------------------------------------------

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

local PAGES = { "manager", "upstream", "request", "response", "stream", "lease", "yamux", "error", "events", "loop",
  "options", "tls", "operations", "policy", "c-api", "lua51" }

local function page(name) return read_file("docs/reference/" .. name .. ".md") end

local function all_pages()
  local texts = {}
  for i, name in ipairs(PAGES) do texts[i] = page(name) end
  return table.concat(texts, "\n")
end

-- The part of a page below a heading, up to the next heading of the same level.
local function section(text, heading)
  local level = heading:match "^#+"
  local _, finish = ("\n" .. text):find("\n" .. heading .. "\n", 1, true)
  assert(finish, "no section " .. heading)
  local rest = text:sub(finish)
  return rest:match("^(.-)\n" .. level .. " ") or rest
end

-- Cells of those rows of all tables in the text that begin with code; the rows that head a table are none.
local function rows(text)
  local found, last = {}, nil
  for line in text:gmatch "[^\n]+" do
    local cells = {}
    for cell in line:gmatch "|%s*([^|]-)%s*%f[|]" do cells[#cells + 1] = cell end
    if line:find "^| %-%-%-" and found[#found] == last then found[#found] = nil end
    last = cells
    if cells[1] and cells[1]:find "^`" then found[#found + 1] = cells end
  end
  return found
end

-- What stands in the text between backquotes, as a set; `pattern` has the part of it that counts.
local function quoted(text, pattern, into)
  local set = into or {}
  for code in text:gsub("```.-```", ""):gmatch "`([^`]+)`" do
    local name = code:match(pattern)
    if name then set[name] = true end
  end
  return set
end

-- The words that the first cells of the text's tables have.
local function first_cells(text, pattern)
  local set = {}
  for _, cells in ipairs(rows(text)) do quoted(cells[1], pattern, set) end
  return set
end

-- Sets -----------------------------------------------------------------------------------------------

local function keys(t)
  local set = {}
  for key in pairs(t) do set[key] = true end
  return set
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do set[item] = true end
  return set
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = tostring(name) end
  table.sort(list)
  return table.concat(list, " ")
end

-- Both at once, because a failure should say which names are missing and which are too many.
local function same(real, said, what)
  local missing, extra = {}, {}
  for name in pairs(real) do if not said[name] then missing[name] = true end end
  for name in pairs(said) do if not real[name] then extra[name] = true end end
  assert.equal("", sorted(missing), what .. ": there, but not documented")
  assert.equal("", sorted(extra), what .. ": documented, but not there")
end

-- What there is --------------------------------------------------------------------------------------

-- How the pages call an object of each type.
local TYPES = {
  ["hawser.Manager"] = "m",
  ["hawser.Upstream"] = "api",
  ["hawser.Response"] = "res",
  ["hawser.Headers"] = "headers",
  ["hawser.Conn"] = "conn",
  ["hawser.Stream"] = "s",
  ["hawser.Session"] = "session",
  ["hawser.Task"] = "task",
  ["hawser.Handle"] = "handle",
  ["hawser.Error"] = "err",
}
-- Behind others, never in a user's hands; and the peers of policies, which have fields only.
local HIDDEN = { ["hawser.BodyStream"] = true, ["hawser.BodySink"] = true, ["hawser.Peer"] = true,
  ["hawser.Decision"] = true, ["hawser.Outcome"] = true }

local function real_methods(name) return keys(core.internal.types[name].methods) end

local function module_names(wants_functions)
  local set = {}
  for name, value in pairs(hawser) do
    if (type(value) == "function") == wants_functions then set[name] = true end
  end
  return set
end

local function matches(text, pattern)
  local set = {}
  for name in text:gmatch(pattern) do set[name] = true end
  return set
end

local function part(text, from, to)
  local start = assert(text:find(from, 1, true), "the source has no " .. from)
  return text:sub(start, (assert(text:find(to, start, true))))
end

local function with(set, ...)
  for _, name in ipairs { ... } do set[name] = true end
  return set
end

-- Types whose fields are answered by C, one by one: its sources know them.
local function source_fields()
  local event = part(read_file "bindings/lua_event.c", "static void push_event", "\n}\n")
  local failure = part(read_file "bindings/lua_error.c", "void hwl_error_push", "\n}\n")
  return {
    res = matches(part(read_file "bindings/lua_response.c", "} fields[HWL_", "};"), '{%s*"([%w_]+)",'),
    conn = matches(read_file "bindings/lua_lease.c", 'strcmp%(name, "([%w_]+)"%)'),
    s = matches(read_file "bindings/lua_duplex.c", 'strcmp%(name, "([%w_]+)"%)'),
    session = matches(read_file "bindings/lua_session.c", 'strcmp%(name, "([%w_]+)"%)'),
    err = with(matches(failure, 'lua_setfield%(L, %-2, "([%w_]+)"%)'), "partial", "trace"),
    e = with(matches(event, '%(L, "([%w_]+)", '), "at", "age", "error", "resumed", "attempt", "delay"),
  }
end

-- What is annotated ----------------------------------------------------------------------------------

-- Classes by name: { parent =, fields = set, methods = set }; aliases by name: sets of their words.
local function read_annotations()
  local classes, aliases = {}, {}
  local of_object = {} -- classes by the local that has their methods
  local class, alias
  for line in read_file("lua/hawser/types.lua"):gmatch "[^\n]*" do
    local name, parent = line:match "^%-%-%-@class ([%w_.]+)%s*:?%s*([%w_.]*)"
    if name then
      class = { parent = parent ~= "" and parent or nil, fields = {}, methods = {} }
      classes[name] = class
    end
    local field = line:match "^%-%-%-@field ([%w_]+)"
    if field then class.fields[field] = true end
    local object = line:match "^local (%w+) = {}$"
    if object then of_object[object] = class end
    local owner, method = line:match "^function (%w+)[.:]([%w_]+)%("
    local methods = owner and of_object[owner].methods
    if methods then methods[method] = true end
    local new = line:match "^%-%-%-@alias ([%w_.]+)%s*$"
    if new then
      alias = {}
      aliases[new] = alias
    end
    local word = line:match '^%-%-%-| "([%w_]+)"'
    if word then alias[word] = true end
  end
  return classes, aliases
end

local function annotated(classes, name, what)
  local set = {}
  while name do
    local class = assert(classes[name], "no annotation of " .. name)
    for one in pairs(class[what]) do set[one] = true end
    name = class.parent
  end
  return set
end

-- What is documented ---------------------------------------------------------------------------------

-- Names that the headings of the pages have: "### `m:get(...)`, `m:head(...)`".
local function documented_functions(object)
  local set = {}
  for heading in all_pages():gmatch "\n### ([^\n]+)" do
    quoted(heading, "^" .. object .. "[.:]([%w_]+)", set)
  end
  return set
end

-- Names in the first cells of tables: "| `res.status` |".
local function documented_fields(object)
  return first_cells(all_pages(), "^" .. object .. "%.([%w_]+)$")
end

-- Tests ----------------------------------------------------------------------------------------------

describe("the documentation of", function()
  local classes, aliases = read_annotations()

  describe("the module", function()
    it("has its functions", function()
      same(module_names(true), documented_functions "hawser", "reference")
      same(module_names(true), annotated(classes, "hawser", "methods"), "types.lua")
    end)

    it("has its fields", function()
      same(module_names(false), documented_fields "hawser", "reference")
      same(module_names(false), annotated(classes, "hawser", "fields"), "types.lua")
    end)

    it("has its types", function()
      for name in pairs(core.internal.types) do
        assert.is_true(TYPES[name] ~= nil or HIDDEN[name] ~= nil, name .. " is neither documented nor hidden")
      end
    end)
  end)

  for name, object in pairs(TYPES) do
    it(name .. " has its methods", function()
      same(real_methods(name), documented_functions(object), "reference")
      same(real_methods(name), annotated(classes, name, "methods"), "types.lua")
    end)
  end

  it("responses, leases, streams, sessions, errors and events has their fields", function()
    local annotations = { res = "hawser.Response", conn = "hawser.Conn", s = "hawser.Stream",
      session = "hawser.Session", err = "hawser.Error", e = "hawser.Event" }
    for object, fields in pairs(source_fields()) do
      same(fields, documented_fields(object), object .. ", reference")
      same(fields, annotated(classes, annotations[object], "fields"), object .. ", types.lua")
    end
  end)

  it("statistics and peers has their fields", function()
    local m = hawser.new()
    local api = m:upstream("docs", { peers = { { "http://127.0.0.1:1", locality = "here", tags = {} } } })
    local stats = keys(m:stats())
    for field in pairs(api:stats()) do assert.is_true(stats[field]) end
    same(stats, with(documented_fields "stats", "max_connections"), "stats, reference")
    same(stats, annotated(classes, "hawser.Stats", "fields"), "stats, types.lua")
    local peer = keys(api:peers()[1])
    same(peer, documented_fields "peer", "peers, reference")
    same(peer, annotated(classes, "hawser.PeerView", "fields"), "peers, types.lua")
    m:close()
  end)

  it("what policies are given has its fields", function()
    local list = part(read_file "bindings/lua_peer_view.h", "#define HWL_PEER_FIELD_LIST(X)", "\n\n")
    local peer = matches(list, 'X%([%u_%d]+, "([%w_]+)"')
    same(peer, first_cells(section(page "policy", "## Peers"), "^([%w_]+)$"), "peers, reference")
    same(peer, annotated(classes, "hawser.Peer", "fields"), "peers, types.lua")
    local source = read_file "bindings/lua_script_ask.c"
    for object, name in pairs { ctx = "Decision", outcome = "Outcome" } do
      local from = object == "ctx" and "static int index_context" or "static int index_ending"
      local real = matches(part(source, from, "\n}\n"), 'strcmp%(name, "([%w_]+)"%)')
      same(real, documented_fields(object), object .. ", reference")
      same(real, annotated(classes, "hawser." .. name, "fields"), object .. ", types.lua")
    end
  end)

  it("plugin tables has their fields", function()
    local real = {}
    for kind, method in pairs { balancer = "pick", retry = "decide", breaker = "record" } do
      local plugin = { kind = kind, name = "p", [method] = print }
      assert.equal(plugin, hawser.policy(plugin))
      plugin[("?"):rep(40)] = true
      local names = select(2, pcall(hawser.policy, plugin)):match "known: (.*)$"
      for name in names:gmatch "[%w_]+" do real[name] = true end
    end
    same(real, annotated(classes, "hawser.Plugin", "fields"), "types.lua")
    local said = first_cells(section(page "policy", "## Functions of a plugin"), "^([%w_]+)%(")
    same(real, with(said, "kind", "name"), "reference")
  end)

  describe("options", function()
    -- A name that is near to none of the known ones: the message about it has them all.
    local NONE = ("?"):rep(40)

    local function known(message)
      return matches(assert(tostring(message):match "known: (.*)$", message), "[%w_]+")
    end

    it("of managers and upstreams", function()
      local of_manager = known(select(2, options.manager { [NONE] = 1 }))
      same(of_manager, first_cells(section(page "options", "## Manager"), "^([%w_]+)$"), "manager, reference")
      same(of_manager, annotated(classes, "hawser.ManagerOptions", "fields"), "manager, types.lua")
      local of_upstream = known(select(2, options.upstream({ [NONE] = 1 }, false)))
      same(of_upstream, first_cells(section(page "options", "## Upstream"), "^([%w_]+)$"), "upstream, reference")
      same(of_upstream, annotated(classes, "hawser.UpstreamOptions", "fields"), "upstream, types.lua")
    end)

    -- As the core's source has them: spans in seconds, "none" for what there is none of.
    local function defaults_of(source, name)
      local found = {}
      for field, value in part(read_file(source), "void " .. name, "\n}\n"):gmatch "%.([%w_]+) = ([^,;{}]+)" do
        local unit, count = value:match "^HWS_(M?S)%((%d+)%)$"
        found[field] = unit and tonumber(count) / (unit == "S" and 1 or 1000) or tonumber(value)
          or (value == "HWS_NEVER" and "none") or value:match("JITTER_(%u+)$") and value:match("%u+$"):lower()
      end
      return found
    end

    it("of retries and breakers, with their defaults", function()
      local real = { retry = defaults_of("core/src/policy/retry_options.c", "hws_retry_options_init"),
        breaker = defaults_of("core/src/policy/breaker.c", "hws_breaker_options_init") }
      local groups = { ["retry"] = "Retry", ["retry.backoff"] = "Backoff", ["retry.budget"] = "Budget",
        ["breaker"] = "Breaker" }
      local of_page, documented = rows(page "options"), {}
      for _, cells in ipairs(of_page) do
        local group, name = cells[1]:match "^`([%w.]+)%.([%w_]+)`$"
        if groups[group] then
          documented[group] = with(documented[group] or {}, name)
          if name ~= "on" then
            assert.equal(real[group:match "^%w+"][name], tonumber(cells[2]) or cells[2], cells[1])
          end
        end
      end
      for group, class in pairs(groups) do
        local given = { [NONE] = 1 }
        local first, second = group:match "^(%w+)%.?(%w*)$"
        if second ~= "" then given = { [second] = given } end
        local names = known(select(2, options.manager { [first] = given }))
        if group == "retry" then names.backoff, names.budget = nil, nil end
        same(names, documented[group], group .. ", reference")
        if group == "retry" then with(names, "backoff", "budget") end
        same(names, annotated(classes, "hawser." .. class, "fields"), group .. ", types.lua")
      end
    end)

    it("of HTTP/2, with their defaults", function()
      local names = known(select(2, options.upstream({ h2 = { [NONE] = 1 } }, true)))
      same(names, first_cells(section(page "options", "## HTTP/2"), "^h2%.([%w_]+)$"), "reference")
      same(names, annotated(classes, "hawser.H2", "fields"), "types.lua")
      local source = part(read_file "core/src/protocol.c", "hws_h2_options_t hws_h2_defaults", "\n}\n")
      for _, cells in ipairs(rows(section(page "options", "## HTTP/2"))) do
        local name = cells[1]:match "`h2%.([%w_]+)`"
        local default = source:match("%." .. name .. " = HWS_S%((%d+)%)") or source:match("%." .. name .. " = (%d+)")
        assert.equal(tonumber(default), tonumber(cells[2]), name)
      end
    end)

    it("of protocols", function()
      local list = read_file "core/include/hawser/upstream.h":match "#define HWS_PROTOCOL_LIST%(X%)(.-)\n\n"
      local names = matches(list, 'X%([%u%d_]+,[%s\\]*"([%w_]+)"')
      same(names, first_cells(section(page "options", "## Protocols"), '^"([%w_]+)"$'), "reference")
    end)

    it("of streams", function()
      local m = hawser.new()
      local api = m:upstream("docs", { peers = { "h2c://127.0.0.1:1" } })
      local of_stream = known(select(2, pcall(api.open_stream, api, { [NONE] = 1 })))
      same(of_stream, first_cells(page "stream", "^([%w_]+)$"), "reference")
      same(of_stream, annotated(classes, "hawser.StreamOptions", "fields"), "types.lua")
      local states = matches(read_file "core/include/hawser/request.h":match "STREAM_STATE_LIST%(X%)(.-)\n\n",
        'X%([%u_]+, "([%w_]+)"%)')
      same(states, first_cells(page "stream", '^"([%w_]+)"$'), "states, reference")
      m:close()
    end)

    it("of balancers", function()
      local names = matches(read_file "core/include/hawser/policy.h":match "BALANCER_LIST%(X%)(.-)\n\n",
        'X%([%u_]+, "([%w_]+)"%)')
      same(names, first_cells(section(page "options", "## Balancers"), '^"([%w_]+)"$'), "reference")
      same(names, aliases["hawser.Balancer"], "types.lua")
    end)

    it("of TLS", function()
      local of_tls = known(select(2, options.manager { tls = { [NONE] = 1 } }))
      same(of_tls, first_cells(section(page "tls", "## Options"), "^tls%.([%w_]+)$"), "reference")
      same(of_tls, annotated(classes, "hawser.TLSOptions", "fields"), "types.lua")
    end)

    it("of update, which are those of upstreams but for one", function()
      local of_update = known(select(2, options.upstream({ [NONE] = 1 }, true)))
      same(known(select(2, options.upstream({ [NONE] = 1 }, false))), with(of_update, "protocol"), "update")
    end)

    it("of peers", function()
      local of_peer = known(select(2, options.upstream({ peers = { { "tcp://127.0.0.1:1", [NONE] = 1 } } }, false)))
      same(of_peer, first_cells(section(page "upstream", "## Peers"), "^([%w_]+)$"), "reference")
      same(of_peer, annotated(classes, "hawser.PeerOptions", "fields"), "types.lua")
    end)

    it("of requests and acquisitions", function()
      local m = hawser.new()
      local of_request = known(select(2, pcall(m.request, m, { [NONE] = 1 })))
      same(of_request, first_cells(section(page "request", "## Options"), "^([%w_]+)$"), "reference")
      same(of_request, annotated(classes, "hawser.WholeRequestOptions", "fields"), "types.lua")
      local of_get = known(select(2, pcall(m.get, m, "http://127.0.0.1:1", { [NONE] = 1 })))
      same(of_get, annotated(classes, "hawser.RequestOptions", "fields"), "types.lua")
      local raw = m:upstream("docs", { peers = { "tcp://127.0.0.1:1" } })
      same(known(select(2, pcall(raw.acquire, raw, { [NONE] = 1 }))),
        annotated(classes, "hawser.AcquireOptions", "fields"), "types.lua")
      m:close()
    end)

    -- The defaults are the core's.
    local function defaults()
      local source = part(read_file "core/src/manager.c", "void hws_manager_options_init", "\n}\n")
      local found = {}
      for name, value in part(source, ".limits = {", "}"):gmatch "%.([%w_]+) = (%d+)" do
        found["limits." .. name] = tonumber(value)
      end
      for name, value in part(source, ".timeouts = {", "}"):gmatch "%.([%w_]+) = HWS_S%((%d+)%)" do
        found["timeouts." .. name] = tonumber(value)
      end
      return found
    end

    it("limits and timeouts, with their defaults", function()
      local real = defaults()
      for _, group in ipairs { "limits", "timeouts" } do
        local class = "hawser." .. group:sub(1, 1):upper() .. group:sub(2)
        local names = known(select(2, options.manager { [group] = { [NONE] = 1 } }))
        same(names, first_cells(page "options", "^" .. group .. "%.([%w_]+)$"), group .. ", reference")
        same(names, annotated(classes, class, "fields"), group .. ", types.lua")
      end
      for _, cells in ipairs(rows(page "options")) do
        local name = cells[1]:match "^`(limits%.[%w_]+)`$" or cells[1]:match "^`(timeouts%.[%w_]+)`$"
        local default = tonumber(cells[2])
        if name and default then assert.equal(real[name], default, name) end
        if name and default then real[name] = nil end
      end
      assert.equal("timeouts.idle", sorted(real), "without a number in the reference") -- it is pool_timeout's
    end)

    it("of how names are looked up", function()
      local names = known(select(2, options.manager { dns = { [NONE] = 1 } }))
      same(names, first_cells(page "names", "^dns%.([%w_]+)$"), "reference")
      same(names, annotated(classes, "hawser.Dns", "fields"), "types.lua")
      local source = part(read_file "core/src/names.c", "void hws_dns_options_init", "\n}\n")
      for _, cells in ipairs(rows(section(page "names", "## Options"))) do
        local default = source:match("%." .. cells[1]:match "`dns%.([%w_]+)`" .. " = HWS_S%((%d+)%)")
        assert.equal(tonumber(default), tonumber(cells[2]), cells[1])
      end
    end)

    it("with the ranges that are enforced", function()
      local function number(text) return text:find "%^" and 2 ^ tonumber(text:match "%^(%d+)") or tonumber(text) end
      local count = 0
      for _, cells in ipairs(rows(page "options")) do
        local group, name = cells[1]:match "^`(%w+)%.([%w_]+)`$"
        local least, most = (cells[3] or ""):match "^(%d+) to ([%d^]+)$"
        if group and least then
          local check = group == "h2" and options.upstream or options.manager
          local function accepts(value) return (check({ [group] = { [name] = value } }, true)) ~= nil end
          least, most, count = number(least), number(most), count + 1
          assert.is_true(accepts(least) and accepts(most), name)
          assert.is_false(accepts(least - 1) or accepts(most + 1), name)
        end
      end
      assert.equal(15, count)
    end)

    it("in the README, too", function()
      local units = { [65536] = "64 KiB", [262144] = "256 KiB", [67108864] = "64 MiB" }
      local said = {}
      for _, cells in ipairs(rows(section(read_file "README.md", "## Limits and timeouts"))) do
        said[cells[1]:match "`([%w_.]+)`"] = cells[2]
        local second = cells[3]:match "`([%w_.]+)`" -- the last row may have but one
        if second then said[second] = cells[4] end
      end
      local real = defaults()
      same(keys(real), keys(said), "README")
      for name, value in pairs(real) do
        local text = units[value] or tostring(value)
        assert.equal(text, said[name]:sub(1, #text), name)
      end
    end)
  end)

  describe("errors", function()
    local header = read_file "core/include/hawser/error.h"

    local function words(list)
      return matches(part(header, "#define " .. list .. "(X)", "\n\n"), 'X%([%u_]+, "([%w_]+)"%)')
    end

    -- Codes by kind: X(RESET, RESET, "ECONNRESET", "...") and X(RESET, "reset").
    local function real_codes()
      local kinds, codes = {}, {}
      for symbol, word in part(header, "#define HWS_KIND_LIST(X)", "\n\n"):gmatch 'X%(([%u_]+), "([%w_]+)"%)' do
        kinds[symbol], codes[word] = word, {}
      end
      for kind, code in part(header, "#define HWS_ERROR_LIST(X)", "\n\n"):gmatch 'X%([%w_]+, ([%u_]+), "([%w_]+)",' do
        codes[kinds[kind]][code] = true
      end
      codes.protocol.JSON = true -- of res:json(), which is written in Lua
      return codes
    end

    it("has the kinds and their codes", function()
      local real = real_codes()
      local said = {}
      for _, cells in ipairs(rows(section(page "error", "## Kinds"))) do
        said[cells[1]:match "^`([%w_]+)`$"] = quoted(cells[3], "^([%u%d_]+)$")
      end
      same(keys(real), keys(said), "kinds, reference")
      same(keys(real), aliases["hawser.Kind"], "kinds, types.lua")
      for kind, codes in pairs(real) do same(codes, said[kind], "codes of " .. kind) end
      same(real.tls, first_cells(section(page "tls", "## Errors"), "^([%u_]+)$"), "codes of tls, on its page")
    end)

    it("has the phases", function()
      local real = words "HWS_PHASE_LIST"
      same(real, aliases["hawser.Phase"], "types.lua")
      for _, cells in ipairs(rows(section(page "error", "## Fields"))) do
        if cells[1] == "`err.phase`" then same(real, quoted(cells[3], "^([%w_]+)$"), "reference") end
      end
    end)
  end)

  describe("events", function()
    local header = read_file "core/include/hawser/manager.h"

    local function words(list)
      return matches(part(header, "#define " .. list .. "(X)", "\n\n"), 'X%([%u_]+, "([%w_]+)"%)')
    end

    it("has their names", function()
      same(words "HWS_EVENT_LIST", first_cells(section(page "events", "## What is told"), "^([%w_]+)$"), "reference")
      same(words "HWS_EVENT_LIST", aliases["hawser.EventName"], "types.lua")
    end)

    it("has the reasons for which connections are closed", function()
      local said = first_cells(section(page "events", "## Why connections are closed"), "^([%w_]+)$")
      same(words "HWS_CLOSE_LIST", said, "reference")
      same(words "HWS_CLOSE_LIST", aliases["hawser.CloseReason"], "types.lua")
    end)
  end)

  describe("the C API", function()
    local HEADERS = { "base", "error", "lease", "loop", "manager", "message", "metrics", "operations", "policy",
      "request", "retry", "script", "session", "tls", "upstream" }

    it("has its headers and functions", function()
      local real = {}
      for _, name in ipairs(HEADERS) do
        local text = read_file("core/include/hawser/" .. name .. ".h"):gsub("/%*.-%*/", ""):gsub("\n#[^\n]*", "")
        for declaration in text:gmatch "HWS_API[^;]+;" do real[declaration:match "(hws_[%w_]+)%("] = true end
        for declaration in text:gmatch "static inline[^{]+{" do real[declaration:match "(hws_[%w_]+)%("] = true end
      end
      local said = {}
      for name in pairs(quoted(page "c-api", "^(hws_[%w_]+)%f[^%w_]")) do
        if not name:find "_t$" then said[name] = true end
      end
      same(real, said, "functions")
      local headers = first_cells(page "c-api", "^hawser/(%w+)%.h$")
      same(with(set_of(HEADERS), "hawser"), headers, "headers")
    end)
  end)
end)

describe("the text of", function()
  local FILES = { "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", "examples/README.md",
    "docs/architecture.md" }
  for _, name in ipairs(PAGES) do FILES[#FILES + 1] = "docs/reference/" .. name .. ".md" end

  it("architecture.md names files and functions that exist", function()
    local text = read_file "docs/architecture.md"
    local sources = {}
    for path in pairs(quoted(text, "^([%w_]+/[%w_./-]+)$")) do
      local is_there = exists((path:gsub("/$", "")))
      assert.is_true(is_there, path)
      if path:find "%.[ch]$" then sources[#sources + 1] = read_file(path) end
    end
    -- Functions and types of the core are declared in one of its headers.
    for _, name in ipairs { "call", "lease", "manager", "opening", "peer", "request", "upstream", "pool/connection",
      "pool/inbox", "pool/pool", "transport/dial", "transport/race", "io/io", "io/loop", "io/sim" } do
      sources[#sources + 1] = read_file("core/src/" .. name .. ".h")
    end
    for _, name in ipairs { "error", "lease", "loop", "manager", "message", "request", "upstream" } do
      sources[#sources + 1] = read_file("core/include/hawser/" .. name .. ".h")
    end
    sources[#sources + 1] = read_file "bindings/lua_wait.h"
    local everything = table.concat(sources, "\n")
    for name in pairs(quoted(text, "^(hw[sl]_[%w_]+)$")) do
      assert.is_truthy(everything:find("%f[%w_]" .. name .. "%f[^%w_]"), name)
    end
  end)

  -- As GitHub makes anchors of headings.
  local function anchors(path)
    local set = {}
    for heading in ("\n" .. read_file(path)):gmatch "\n#+ ([^\n]+)" do
      set[(heading:lower():gsub("[^%w_ %-]", ""):gsub(" ", "-"))] = true
    end
    return set
  end

  for _, path in ipairs(FILES) do
    it(path .. " has links that lead somewhere", function()
      local folder = path:match "^(.*/)" or ""
      local text = read_file(path):gsub("```.-```", "")
      for target in text:gmatch "%]%(([^)]+)%)" do
        if not target:find "^https?://" then
          local file, anchor = target:match "^([^#]*)#?(.*)$"
          local whole = file == "" and path or folder .. file
          repeat
            local count
            whole, count = whole:gsub("[^/]+/%.%./", "", 1)
          until count == 0
          assert.is_true(exists(whole), target)
          if anchor ~= "" then assert.is_true(anchors(whole)[anchor], target) end
        end
      end
    end)

    it(path .. " has examples that are Lua", function()
      for code in read_file(path):gmatch "```lua\n(.-)```" do
        assert((loadstring or load)(code, "=" .. path))
      end
    end)
  end

  it("types.lua is Lua", function() assert(loadfile "lua/hawser/types.lua") end)

  it("the README links every page", function()
    local readme = read_file "README.md"
    for _, name in ipairs(PAGES) do
      assert.is_truthy(readme:find("docs/reference/" .. name .. ".md", 1, true), name)
    end
  end)
end)
