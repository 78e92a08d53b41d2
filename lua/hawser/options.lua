--- Checks what users pass to hawser.new, m:upstream and api:update. Defaults are the core's: nil stays nil.
local options = {}

-- How a value is shown in a message.
local function show(value)
  if type(value) == "string" then
    return #value > 60 and ("%q..."):format(value:sub(1, 60)) or ("%q"):format(value)
  end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return value == nil and "missing" or "a " .. type(value)
end

options.show = show

-- A message is thrown as { message }, and caught where the core calls: it raises it at its caller's line.
local function refuse(name, value, allowed)
  error({ ("%s is %s; allowed: %s"):format(name, show(value), allowed) })
end

-- Names ------------------------------------------------------------------------------------------

-- How many letters must be changed, added, dropped or swapped to get from one word to the other (Damerau, 1964).
local function distance(a, b)
  local rows = {}
  for i = 0, #a do
    rows[i] = { [0] = i }
    for j = 1, #b do
      if i == 0 then
        rows[i][j] = j
      else
        local cost = a:byte(i) == b:byte(j) and 0 or 1
        rows[i][j] = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + cost)
        if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
          rows[i][j] = math.min(rows[i][j], rows[i - 2][j - 2] + 1)
        end
      end
    end
  end
  return rows[#a][#b]
end

local function sorted_names(known)
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- The message for a name that is none of the known ones: it comes with the nearest, or with all.
-- @param what string what the name is one of: "option", "event"
-- @param known table whose keys are the names there are
-- @return string
function options.unknown(what, name, known)
  local names = sorted_names(known)
  local shown = show(name)
  if type(name) == "string" then
    local word = name:sub(1, 60)
    local nearest, least
    for _, candidate in ipairs(names) do
      local d = distance(word, candidate)
      if not least or d < least then nearest, least = candidate, d end
    end
    if nearest and least <= math.max(2, #nearest / 3) then
      return ("unknown %s %s; did you mean %q?"):format(what, shown, nearest)
    end
  end
  return ("unknown %s %s; known: %s"):format(what, shown, table.concat(names, ", "))
end

-- Checks -----------------------------------------------------------------------------------------
-- Each is function(value, name), which returns the value as the core takes it, or refuses it.

local MOST_SECONDS = 1e9

local function is_span(value) return type(value) == "number" and value > 0 and value <= MOST_SECONDS end

local function seconds(value, name)
  if value ~= false and not is_span(value) then
    refuse(name, value, "a number of seconds above 0, at most 1e9, or false for no limit")
  end
  return value
end

local function positive(value, name)
  if not is_span(value) then refuse(name, value, "a number of seconds above 0, at most 1e9") end
  return value
end

local function whole(least, most)
  local allowed = ("a whole number, %.0f to %.0f"):format(least, most)
  return function(value, name)
    if type(value) ~= "number" or not (value >= least and value <= most) or value % 1 ~= 0 then
      refuse(name, value, allowed)
    end
    return value
  end
end

local function one_of(...)
  local words = { ... }
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = ("%q"):format(word) end
  local allowed = table.concat(quoted, ", ")
  return function(value, name)
    for _, word in ipairs(words) do
      if value == word then return value end
    end
    refuse(name, value, allowed)
  end
end

local function of_type(wanted, allowed)
  return function(value, name)
    if type(value) ~= wanted then refuse(name, value, allowed) end
    return value
  end
end

local function text(value, name)
  if type(value) ~= "string" or value == "" or value:find "%z" then
    refuse(name, value, "a string, not empty and without zero bytes")
  end
  return value
end

-- A table of which each field has a check; `prefix` stands before their names in messages.
local function fields(checks, prefix)
  return function(value, name)
    if type(value) ~= "table" then refuse(name, value, "a table") end
    local checked = {}
    for field, given in pairs(value) do
      local check = checks[field]
      if not check then
        error({ options.unknown(prefix and "field of " .. name or "option", field, checks) })
      end
      checked[field] = check(given, prefix and prefix .. field or field)
    end
    return checked
  end
end

local limit_fields = {
  connections = whole(1, 1000000),
  per_peer = whole(1, 1000000),
  dials = whole(1, 1000000),
  pending = whole(0, 1000000),
  streams = whole(1, 1000000),
  header = whole(256, 2 ^ 24),
  body = whole(1, 2 ^ 50),
  buffer = whole(4096, 2 ^ 30),
}
local limits = fields(limit_fields, "limits.")

local timeouts = fields({
  resolve = seconds,
  connect = seconds,
  tls = seconds,
  queue = seconds,
  request = seconds,
  attempt = seconds,
  read = seconds,
  idle = seconds,
  lifetime = seconds,
  drain = seconds,
}, "timeouts.")

local function list(value, name, allowed, least)
  if type(value) ~= "table" then refuse(name, value, allowed) end
  local checked, count = {}, 0
  for _ in pairs(value) do count = count + 1 end
  for i, word in ipairs(value) do checked[i] = text(word, ("%s[%d]"):format(name, i)) end
  if count ~= #checked or count < least or count > 16 then refuse(name, value, allowed) end
  return checked
end

local function alpn(value, name)
  local allowed = "a list of 1 to 16 protocol names of 1 to 255 bytes, the one liked most first"
  local checked = list(value, name, allowed, 1)
  for _, word in ipairs(checked) do
    if #word > 255 then refuse(name, value, allowed) end
  end
  return checked
end

local dns = fields({
  servers = function(value, name)
    return list(value, name, "a list of 1 to 16 addresses, each perhaps with :port", 1)
  end,
  search = function(value, name) return list(value, name, "a list of at most 16 domains", 0) end,
  ttl_min = positive,
  ttl_max = positive,
}, "dns.")

local tls = fields({
  ca = text,
  cert = text,
  key = text,
  crl = text,
  server_name = text,
  alpn = alpn,
  min = one_of("1.2", "1.3"),
  verify = of_type("boolean", "true or false"),
}, "tls.")

local reuse = one_of("safe", "always", "never")

-- A number from `least` to `most`, which messages call `allowed`.
local function number(least, most, allowed)
  return function(value, name)
    if type(value) ~= "number" or not (value >= least and value <= most) then refuse(name, value, allowed) end
    return value
  end
end

-- What `check` says of a number or a table, or false for none.
local function or_none(kind, check)
  return function(value, name)
    if value == false then return value end
    if type(value) ~= kind then refuse(name, value, ("a %s, or false for none"):format(kind)) end
    return check(value, name)
  end
end

local function rate(value, name)
  local allowed = "a number above 0, at most 1"
  if value == 0 then refuse(name, value, allowed) end
  return number(0, 1, allowed)(value, name)
end

-- Kinds of errors, of which the core knows those that there are, and statuses.
local function retry_on(value, name)
  local allowed = "a list of kinds and statuses"
  if type(value) ~= "table" then refuse(name, value, allowed) end
  local checked, count = {}, 0
  for _ in pairs(value) do count = count + 1 end
  for i, what in ipairs(value) do
    local is_status = type(what) == "number" and what >= 400 and what <= 599 and what % 1 == 0
    if not is_status and type(what) ~= "string" then
      refuse(("%s[%d]"):format(name, i), what, "a kind, or a status, 400 to 599")
    end
    checked[i] = what
  end
  if count ~= #checked then refuse(name, value, allowed) end
  return checked
end

local retry = fields({
  attempts = whole(1, 10),
  on = retry_on,
  backoff = fields({
    base = positive,
    max = positive,
    jitter = one_of("full", "equal", "decorrelated"),
  }, "retry.backoff."),
  budget = or_none("table", fields({
    share = number(0, 1, "a number, 0 to 1"),
    floor = whole(0, 1000000),
  }, "retry.budget.")),
}, "retry.")
retry = or_none("table", retry)

local breaker = fields({
  consecutive = or_none("number", whole(1, 1000000)),
  failure_rate = or_none("number", rate),
  min_calls = whole(1, 1000000),
  window = positive,
  slow_after = seconds,
  slow_rate = rate,
  open_for = positive,
  open_max = positive,
  probes = whole(1, 1000),
}, "breaker.")
breaker = or_none("table", breaker)

local BALANCERS = { least_request = true, round_robin = true, weighted = true, random = true, peak_ewma = true }

-- What `kind` is decided by: a policy that is built in, or one of the user's. policy.lua needs this file.
local function policy(kind, builtin)
  return function(value)
    local made, message = require("hawser.policy").resolve(kind, value, builtin)
    if not made then error({ message }) end
    return made
  end
end

-- The options of the built-in one, or a policy of the user's, in one's place: { name, ... }, a function, a plugin.
local function policy_or(kind, check)
  local of_user = policy(kind, {})
  return function(value, name)
    if value == false then return value end
    if type(value) == "table" and value[1] == nil and value.kind == nil then return check(value, name) end
    return of_user(value)
  end
end

-- Peers ------------------------------------------------------------------------------------------

local function weight(value, name)
  if type(value) ~= "number" or not (value > 0 and value <= 1e6) then
    refuse(name, value, "a number above 0, at most 1e6")
  end
  return value
end

local peer_fields = {
  id = text,
  address = text,
  locality = text,
  weight = weight,
  priority = whole(0, 2 ^ 31),
  tags = of_type("table", "a table"),
}

-- Its URL is the table's first item, or the peer itself.
local function peer(value, name)
  if type(value) == "string" then return { url = text(value, name) } end
  if type(value) ~= "table" then
    refuse(name, value, "a URL, or a table { URL, id =, weight =, locality =, priority =, tags =, address = }")
  end
  local named = {}
  for field, given in pairs(value) do
    if field ~= 1 then named[field] = given end
  end
  local checked = fields(peer_fields, name .. ".")(named, name)
  checked.url = text(value[1], name .. "[1]")
  return checked
end

local function peers(value, name)
  if type(value) ~= "table" then refuse(name, value, "a list of peers") end
  local checked, count = {}, 0
  for _ in pairs(value) do count = count + 1 end
  for i, item in ipairs(value) do checked[i] = peer(item, ("%s[%d]"):format(name, i)) end
  if count ~= #checked then refuse(name, value, "a list of peers, without names and gaps") end
  return checked
end

-- What the core calls ----------------------------------------------------------------------------

local function setup(value, name)
  if value ~= false and type(value) ~= "function" then
    refuse(name, value, "a function(conn), or false for none")
  end
  return value
end

local WINDOW = whole(65535, 2 ^ 31 - 1)

local h2 = fields({
  ping_idle = seconds,
  ping_timeout = positive,
  window = WINDOW,
  connection_window = WINDOW,
  window_max = WINDOW,
  connection_window_max = WINDOW,
}, "h2.")

local check_manager = fields {
  retry = retry,
  breaker = breaker,
  max_connections = whole(1, 1000000),
  pool_timeout = seconds,
  limits = limits,
  timeouts = timeouts,
  reuse = reuse,
  tls = tls,
  dns = dns,
  metrics = of_type("boolean", "true or false"),
  seed = whole(0, 2 ^ 53),
  window_memory = whole(65536, 2 ^ 50),
  log = of_type("function", "a function(level, message, fields)"),
}

local upstream_checks = {
  peers = peers,
  balancer = policy("balancer", BALANCERS),
  retry = policy_or("retry", retry),
  breaker = policy_or("breaker", breaker),
  limits = limits,
  timeouts = timeouts,
  reuse = reuse,
  h2 = h2,
  tls = tls,
  dns = dns,
  setup = setup,
}
local check_update = fields(upstream_checks)

local check_upstream
do
  local checks = { protocol = one_of("auto", "http1", "h2", "h2c", "raw", "yamux") }
  for name, check in pairs(upstream_checks) do checks[name] = check end
  check_upstream = fields(checks)
end

local function checked(check, value, name)
  local ok, result = pcall(check, value, name)
  if ok then return result end
  if type(result) == "table" then return nil, result[1] end
  error(result, 0)
end

--- @param value table|number|nil options of hawser.new
--- @return table? checked, string? message
function options.manager(value)
  if value == nil then value = {} end
  if type(value) ~= "table" then value = { max_connections = value } end
  return checked(check_manager, value, "options")
end

--- @param value table options of m:upstream, or of api:update
--- @param is_update boolean
--- @return table? checked, string? message
function options.upstream(value, is_update)
  return checked(is_update and check_update or check_upstream, value, "the table of options")
end

--- @param value table options of conn:starttls
--- @return table? checked, string? message
function options.starttls(value)
  return checked(tls, value, "the table of options")
end

local check_session = fields { server = of_type("boolean", "true or false") }

--- @param value table options of hawser.yamux
--- @return table? checked, string? message
function options.session(value)
  return checked(check_session, value, "the table of options")
end

local check_request = fields { retry = retry }

--- @param value table|false the option `retry` of a request
--- @return table? checked as that of an upstream is: { retry = }, string? message
function options.request(value)
  return checked(check_request, { retry = value }, "the table of options")
end

local check_limits
do
  local checks = { max_connections = whole(1, 1000000) }
  for name, check in pairs(limit_fields) do checks[name] = check end
  check_limits = fields(checks)
end

--- @param value table limits of m:set_connection_limits
--- @return table? checked { max_connections =, limits = }
--- @return string? message
function options.connection_limits(value)
  local flat, message = checked(check_limits, value, "the table of limits")
  if not flat then return nil, message end
  return { max_connections = flat.max_connections, limits = flat }
end

local check_details = fields {
  response_time = number(0, 1e9, "a number of seconds, 0 to 1e9"),
  bytes = whole(0, 2 ^ 53),
}

--- @param value table details of m:update_status
--- @return table? checked, string? message
function options.details(value)
  return checked(check_details, value, "the table of details")
end

local check_acquire = fields { timeout = seconds }

--- The options of api:with and api:acquire: raises at the caller of the function that calls this.
function options.acquire(value)
  if value == nil then return end
  local ok, message = checked(check_acquire, value, "the table of options")
  if not ok then error(message, 3) end
end

return options
