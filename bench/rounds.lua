--- Runs the clients of each section in turns, round after round, and prints a table. Started by bench/run.
-- A client is a row of the table:
--   command   function(requests) -> the words of its command
--   lua       the Lua for which with_lua sets the search paths, if it needs hawser
--   completed function(output) -> requests it made; nil is a failure. Without it: as many as it was told
--   extra     function() -> what stands behind the row
--   ours      hawser's own: missing or failing, it makes the whole run fail; a peer's row only says so
--   needs     programs and files without which the row is missing
--   share     how much of the section's requests it makes (slow clients: less), 1 unless set
--   limit     the most that its ratio, or without a base its value, may be
--   once      one run instead of all rounds
--   build     another build folder that its hawser comes from
-- A section has a title, a unit, its clients, the requests of one run, value(sample), which is the figure that counts,
-- and base, the name of the client that ratios refer to. scale is by how many
-- µs of a request the columns beside the figure are divided: 1000 for ms, else 1, unless set.
-- closing(samples by client's name, by round) -> a line below the table; may be missing.
-- A section with parts is several such sections in place of one.

local env = setmetatable({}, { __index = function(_, name) return os.getenv("BENCH_" .. name) end })
local bench = env.ROOT .. "/bench/"
local program = env.BUILD .. "/bench/"
local rounds, requests = tonumber(env.ROUNDS), tonumber(env.REQUESTS)
local CONNECTIONS = 64

-- Commands ---------------------------------------------------------------------------------------

local function quote(word) return "'" .. tostring(word):gsub("'", "'\\''") .. "'" end

local function shell(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = quote(word) end
  return table.concat(quoted, " ")
end

local function concat(a, b)
  local all = table.move(a, 1, #a, 1, {})
  return table.move(b, 1, #b, #all + 1, all)
end

local function read_all(path)
  local file = io.open(path)
  local text = file and file:read "a" or ""
  if file then file:close() end
  return text
end

--- @return string|nil output, string|nil reason the first line on stderr
local function output_of(words)
  local errors = env.TEMPORARY .. "/stderr"
  local pipe = assert(io.popen(shell(words) .. " 2>" .. quote(errors)))
  local output = pipe:read "a"
  local ok, _, code = pipe:close()
  if ok then return output end
  local text = read_all(errors)
  io.stderr:write(text)
  return nil, text:match "[^\n]+" or ("exit code " .. tostring(code))
end

--- @return string|nil what is missing of a client's `needs`
local function missing(client)
  for _, need in ipairs(client.needs or {}) do
    local test = need:find "/" and { "test", "-e", need } or { "sh", "-c", "command -v " .. need .. " >/dev/null" }
    if not os.execute(shell(test)) then return (need:gsub("^" .. env.ROOT:gsub("%p", "%%%0") .. "/", "")) end
  end
end

--- Runs a client once under bench/measure.
-- @return table|nil { requests, user, system, resident, wall (µs, KiB), value, note, output }, string|nil reason
local function run(client, count)
  local words = { program .. "measure" }
  if env.CPU ~= "" then words = concat(words, { "-c", env.CPU }) end
  words = concat(words, client.command(count))
  if client.lua then words = concat({ bench .. "with_lua", client.lua }, words) end
  if client.build then words = concat({ "env", "HAWSER_BUILD=" .. client.build }, words) end
  local output, reason = output_of(words)
  if not output then return nil, reason end
  local user, system, resident, wall = output:match "measure\t(%d+)\t(%d+)\t(%d+)\t(%d+)\n$"
  local sample = {
    requests = client.completed and client.completed(output) or count,
    user = tonumber(user),
    system = tonumber(system),
    resident = tonumber(resident),
    wall = tonumber(wall),
    value = tonumber(output:match "value\t(%S+)" or output:match "^%S+"),
    note = output:match "note\t([^\n]+)",
  }
  if not sample.requests then return nil, "no count of requests in its output" end
  return sample
end

-- Figures ----------------------------------------------------------------------------------------

local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  local middle = #sorted // 2
  if #sorted == 0 then return nil end
  return #sorted % 2 == 1 and sorted[middle + 1] or (sorted[middle] + sorted[middle + 1]) / 2
end

local function column(samples, get)
  local list = {}
  for _, sample in pairs(samples) do list[#list + 1] = get(sample) end
  return list
end

local function ratios(samples, base)
  local list = {}
  for round, sample in pairs(samples) do
    if base[round] then list[#list + 1] = sample.figure / base[round].figure end
  end
  return list
end

--- A closing line: how a row compares with one that is not the table's base.
local function against(what, samples, others, limit)
  local ratio = median(ratios(samples, others))
  if not ratio then return what .. ": not measured" end
  return ("%s: ratio %.2f, <= %.4g %s"):format(what, ratio, limit, ratio <= limit and "ok" or "OVER")
end

local function cpu_per_request(sample) return (sample.user + sample.system) / sample.requests end
local function cpu_in_ms(sample) return (sample.user + sample.system) / 1000 end
local function printed(sample) return sample.value end

-- Sections ---------------------------------------------------------------------------------------

local INTERPRETER = { ["5.4"] = "lua5.4", jit = "luajit" }

--- A row of hawser's, from Lua.
local function hawser_lua(version, name, script, arguments, more)
  local client = {
    name = name,
    ours = true,
    lua = version,
    needs = { INTERPRETER[version], env.BUILD .. "/lua/" .. version .. "/hawser/core.so" },
    command = function(count)
      local words = { INTERPRETER[version], bench .. script }
      for _, argument in ipairs(arguments) do words[#words + 1] = argument == "{}" and count or argument end
      return words
    end,
  }
  for key, value in pairs(more or {}) do client[key] = value end
  return client
end

--- A row of a program with the usual arguments: URL requests connections.
local function client(name, words, url, more)
  local row = {
    name = name,
    needs = { words[1] },
    command = function(count) return concat(words, { url, count, CONNECTIONS }) end,
  }
  for key, value in pairs(more or {}) do row[key] = value end
  return row
end

-- Debian has lua-http's Lua files for 5.1 to 5.3 alone, and the C modules below it for 5.4 too.
local LUA_HTTP_5_4 = { "env", "LUA_PATH=;;/usr/share/lua/5.3/?.lua;/usr/share/lua/5.3/?/init.lua;"
  .. "/usr/share/lua/5.2/?.lua;/usr/share/lua/5.2/?/init.lua" }

local sections = {}
local BARE = "mbedTLS over libuv, C"

function sections.http1()
  local url = env.NGINX .. "/1k"
  -- wrk runs for a time, not for a number of requests: its CPU time is divided by those it says it completed.
  local wrk = {
    name = "wrk",
    needs = { "wrk" },
    command = function(count)
      return { "wrk", "-t1", "-c" .. CONNECTIONS, ("-d%ds"):format(math.max(1, count // 100000)), url }
    end,
    completed = function(output)
      local clean = not output:find "Non%-2xx" and not output:find "Socket errors"
      return clean and tonumber(output:match "(%d+) requests in")
    end,
  }
  local plain, options = { url, "{}", CONNECTIONS }, { url, "{}", CONNECTIONS, "options" }
  local two, scripted = { url, "{}", CONNECTIONS, "two" }, { url, "{}", CONNECTIONS, "scripted" }
  return {
    title = "HTTP/1.1, 1 KiB, " .. CONNECTIONS .. " connections: client CPU per request",
    unit = "µs",
    base = "wrk",
    value = cpu_per_request,
    requests = requests,
    clients = {
      wrk,
      client("libuv, no parser (floor)", { program .. "uv_http1" }, url),
      client("hawser, C", { program .. "hawser_http1" }, url, { ours = true, limit = 1.0 }),
      client("hawser, C, no metrics", { program .. "hawser_http1", "--unmeasured" }, url),
      hawser_lua("jit", "hawser, LuaJIT", "hawser_http1.lua", plain, { limit = 1.05 }),
      hawser_lua("5.4", "hawser, Lua 5.4", "hawser_http1.lua", plain, { limit = 1.15 }),
      hawser_lua("5.4", "hawser, Lua 5.4, options", "hawser_http1.lua", options, { limit = 1.35 }),
      client("hawser, C, 2 peers", { program .. "hawser_http1", "--two-peers" }, url, { ours = true, limit = 1.0 }),
      hawser_lua("jit", "hawser, LuaJIT, 2 peers", "hawser_http1.lua", two, { limit = 1.05 }),
      hawser_lua("5.4", "hawser, Lua 5.4, 2 peers", "hawser_http1.lua", two, { limit = 1.15 }),
      hawser_lua("5.4", "hawser, Lua 5.4, scripted", "hawser_http1.lua", scripted, { limit = 1.35 }),
      client("libcurl multi, C", { program .. "curl_multi" }, url, { share = 0.5 }),
      client("lua-curl, LuaJIT, 1 conn.", { "luajit", bench .. "peers/lua_curl.lua" }, url, { share = 0.25 }),
      client("undici, Node.js", { "node", bench .. "peers/undici.js" }, url,
        { share = 0.5, needs = { "node", env.ROOT .. "/build/bench/npm/node_modules/undici" } }),
      client("lua-http, LuaJIT", { "luajit", bench .. "peers/lua_http.lua" }, url, { share = 0.25 }),
      client("lua-http, Lua 5.4", concat(LUA_HTTP_5_4, { "lua5.4", bench .. "peers/lua_http.lua" }), url,
        { share = 0.1 }),
    },
    closing = function(samples)
      return against("metrics on to off", samples["hawser, C"], samples["hawser, C, no metrics"], 1.02)
    end,
  }
end

function sections.balance()
  local ten = {}
  for port in env.STATIONS:gmatch "%d+" do ten[#ten + 1] = port end
  local nine = table.move(ten, 1, #ten - 1, 1, {})
  -- 70 % of what the servers can do: nine serve 400 requests in a second each, the slow one 40.
  local function part(balancer, limit)
    local without = balancer .. ", nine alike"
    return {
      name = balancer,
      title = ("Ten peers, one 10 times slower, 70 %% load, %s: 99th percentile"):format(balancer),
      unit = "ms",
      base = without,
      value = printed,
      requests = requests // 10,
      clients = {
        hawser_lua("5.4", without, "hawser_balance.lua", concat({ balancer, 2520, "{}" }, nine)),
        hawser_lua("5.4", balancer .. ", and a slow one", "hawser_balance.lua", concat({ balancer, 2548, "{}" }, ten),
          { limit = limit }),
      },
    }
  end
  return { parts = { part("peak_ewma", 1.3), part("least_request", 2.5), part "round_robin" } }
end

function sections.echo()
  local arguments = { env.ECHO, "{}", CONNECTIONS }
  return {
    title = "Raw echo, 64 bytes, " .. CONNECTIONS .. " in flight, a lease each time: client CPU per echo",
    unit = "µs",
    base = "libuv, C",
    value = cpu_per_request,
    requests = requests,
    clients = {
      client("libuv, C", { program .. "uv_echo" }, env.ECHO),
      hawser_lua("jit", "hawser lease, LuaJIT", "hawser_echo.lua", arguments, { limit = 1.2 }),
      hawser_lua("5.4", "hawser lease, Lua 5.4", "hawser_echo.lua", arguments, { limit = 1.35 }),
    },
  }
end

function sections.core()
  local function operation(name, argument, limit)
    local core = program .. "core"
    return {
      name = name,
      ours = true,
      limit = limit,
      needs = { core },
      command = function(count) return { core, argument, count } end,
      extra = function()
        local count = output_of { bench .. "instructions", 10000, 110000, core, argument, "{}" }
        return count and ("%d instructions"):format(count) or "instructions: not measured"
      end,
    }
  end
  return {
    title = "Parts of the core alone: time per operation",
    unit = "ns",
    value = printed,
    requests = 10000000,
    clients = {
      operation("pool acquire + release", "pool", 50),
      operation("timer set + cancel, 10,000 set", "timers", 60),
      operation("histogram record", "histogram", 6),
      operation("budget deposit + withdraw", "budget", 12),
      operation("score observe + value", "score", 60),
      operation("meter mark", "meter", 6),
      operation("name look-up, cached, one of 1,000", "names", 200),
      operation("breaker admit + report", "breaker", 15),
      operation("least_request pick, of 100", "least_request", 20),
      operation("peak_ewma pick, of 100", "peak_ewma", 40),
    },
  }
end

function sections.memory()
  local idle = { env.HTTP1 .. "/1k", 5000 }
  local growth = { env.HTTP1 .. "/1k", "{}", CONNECTIONS }
  return {
    title = "Memory: bytes per idle connection (5,000 after a burst of as many coroutines); KiB of growth by requests",
    unit = "",
    value = printed,
    requests = requests == 200000 and 1000000 or requests,
    clients = {
      hawser_lua("5.4", "bytes a connection, Lua 5.4", "hawser_memory.lua", idle, { limit = 1280 }),
      hawser_lua("jit", "bytes a connection, LuaJIT", "hawser_memory.lua", idle, { limit = 1280 }),
      hawser_lua("5.4", "KiB of growth, Lua 5.4", "hawser_growth.lua", growth, { once = true, limit = 256 }),
      hawser_lua("jit", "KiB of growth, LuaJIT", "hawser_growth.lua", growth, { once = true, limit = 256 }),
    },
  }
end

function sections.stream()
  local url = env.NGINX .. "/1g"
  return {
    title = "A body of 1 GiB to a sink: client CPU",
    unit = "ms",
    base = "curl command",
    value = cpu_in_ms,
    requests = 1,
    clients = {
      {
        name = "curl command",
        needs = { "curl" },
        command = function() return { "curl", "-sf", "-o", "/dev/null", url } end,
      },
      hawser_lua("jit", "hawser, LuaJIT", "hawser_stream.lua", { url }, { limit = 1.2 }),
      hawser_lua("5.4", "hawser, Lua 5.4", "hawser_stream.lua", { url }, { limit = 1.3 }),
    },
  }
end

function sections.idle()
  local url = env.HTTP1 .. "/1k"
  return {
    title = "Idle connections, after a burst that opened them: client CPU per request",
    unit = "µs",
    base = "none idle, Lua 5.4",
    value = printed,
    requests = requests,
    clients = {
      hawser_lua("5.4", "none idle, Lua 5.4", "hawser_idle.lua", { url, "{}", CONNECTIONS, 0 }),
      hawser_lua("5.4", "10,000 idle, Lua 5.4", "hawser_idle.lua", { url, "{}", CONNECTIONS, 10000 }, { limit = 1.05 }),
    },
  }
end

--- What the parts of the tls section have in common: mbedTLS alone, and hawser's C client in the same mode.
-- @param limit number|nil the most that hawser's ratio may be
local function tls_clients(mode, url, connections, limit, c_mode)
  local function row(name, command, the_mode, more)
    local one = {
      name = name,
      needs = { command },
      command = function(count) return { command, the_mode, env.CA, url, count, connections or count } end,
    }
    for key, value in pairs(more or {}) do one[key] = value end
    return one
  end
  local clients = {
    row(BARE, program .. "mbedtls_client", mode),
    row("hawser, C", program .. "hawser_tls", c_mode or mode, { ours = true, limit = limit }),
  }
  if env.OPENSSL_BUILD ~= "" then
    clients[3] = row("hawser, C, OpenSSL engine", env.OPENSSL_BUILD .. "/bench/hawser_tls", c_mode or mode)
  end
  return clients
end

--- A row of hawser's from Lua, over TLS: what signed the server's certificate is all that this Lua trusts.
local function tls_lua(version, name, script, arguments, more)
  local row = hawser_lua(version, name, script, arguments, more)
  local command = row.command
  row.command = function(count) return concat({ "env", "SSL_CERT_FILE=" .. env.CA }, command(count)) end
  return row
end

--- (hawser's TLS - hawser's clear) / (bare TLS - bare clear), round by round.
local function cost_of_tls(limit)
  local function extra(samples, tls, clear, round)
    local a, b = samples[tls][round], samples[clear][round]
    return a and b and a.figure - b.figure
  end
  return function(samples)
    local ours, bare, ratio = {}, {}, {}
    for round = 1, rounds do
      local own = extra(samples, "hawser, C", "hawser, C, in the clear", round)
      local other = extra(samples, BARE, "libuv, in the clear", round)
      if own and other then
        ours[#ours + 1], bare[#bare + 1], ratio[#ratio + 1] = own, other, own / other
      end
    end
    if #ratio == 0 then return "TLS adds: not measured" end
    local judged = median(ratio)
    return ("TLS adds %.2f µs to hawser in C and %.2f µs to the bare client: ratio %.2f, <= %g %s"):format(
      median(ours), median(bare), judged, limit, judged <= limit and "ok" or "OVER")
  end
end

function sections.tls()
  local AT_ONCE = 16
  local function connects(name, mode, url, count)
    return {
      name = name,
      title = ("TLS, %s, %d at once, a GET of 1 KiB on each: client CPU per connection"):format(name, AT_ONCE),
      unit = "µs",
      base = BARE,
      value = cpu_per_request,
      requests = math.max(count, 2 * AT_ONCE),
      clients = tls_clients(mode, url, AT_ONCE, 1.11),
    }
  end

  local body = env.TLS .. "/256m"
  local bytes = {
    name = "bytes",
    title = "TLS, a body of 256 MiB: client CPU, in ms for 1 GiB",
    unit = "ms",
    base = BARE,
    value = function(sample) return cpu_in_ms(sample) * 4 end,
    scale = 1000 / 4,
    requests = 1,
    clients = concat(tls_clients("keep", body, 1, 1.05, "stream"), {
      tls_lua("jit", "hawser, LuaJIT", "hawser_stream.lua", { body }),
      tls_lua("5.4", "hawser, Lua 5.4", "hawser_stream.lua", { body }),
    }),
  }

  local url, clear = env.TLS .. "/1k", env.NGINX .. "/1k"
  local arguments = { url, "{}", CONNECTIONS }
  local http1 = {
    name = "http1",
    title = "TLS, HTTP/1.1, 1 KiB, " .. CONNECTIONS .. " connections: client CPU per request",
    unit = "µs",
    base = BARE,
    value = cpu_per_request,
    requests = requests,
    clients = concat(tls_clients("keep", url, CONNECTIONS), {
      tls_lua("jit", "hawser, LuaJIT", "hawser_http1.lua", arguments),
      tls_lua("5.4", "hawser, Lua 5.4", "hawser_http1.lua", arguments),
      client("libuv, in the clear", { program .. "uv_http1" }, clear),
      client("hawser, C, in the clear", { program .. "hawser_http1" }, clear, { ours = true }),
    }),
    closing = cost_of_tls(1.1),
  }

  local count = 1000
  local memory = {
    name = "memory",
    title = ("TLS, %d connections after a burst: bytes per idle connection"):format(count),
    unit = "",
    base = BARE,
    value = printed,
    requests = count,
    clients = concat(tls_clients("memory", env.TLS .. "/wait", nil, 1.1), {
      tls_lua("5.4", "hawser, Lua 5.4", "hawser_memory.lua", { env.TLS .. "/1k", "{}" }),
    }),
  }

  return {
    parts = {
      connects("full handshakes", "full", env.TLS_FULL .. "/1k", requests // 600),
      connects("resumed handshakes", "resumed", env.TLS .. "/1k", requests // 50),
      bytes,
      http1,
      memory,
    },
  }
end

local STREAMS = 100

--- h2load, which says how many of its requests went well.
local function h2load(url)
  return {
    name = "h2load",
    needs = { "h2load" },
    command = function(count) return { "h2load", "-t1", "-c1", "-m" .. STREAMS, "-n", count, url } end,
    completed = function(output) return tonumber(output:match "(%d+) succeeded, 0 failed, 0 errored") end,
  }
end

local function hawser_c_h2(mode, url, limit)
  return {
    name = "hawser, C",
    ours = true,
    limit = limit,
    needs = { program .. "hawser_h2" },
    command = function(count) return { program .. "hawser_h2", mode, url, count, STREAMS } end,
  }
end

function sections.h2()
  local clear, secure = "http://" .. env.H2C .. "/1k", "https://" .. env.H2_TLS .. "/1k"
  local ours, ours_secure = "h2c://" .. env.H2C .. "/1k", secure
  local plain, over_tls = { ours, "{}", STREAMS }, { ours_secure, "{}", STREAMS }
  local secured = {
    {
      name = "libcurl multi, C",
      needs = { program .. "curl_multi" },
      share = 0.5,
      command = function(count) return { program .. "curl_multi", "--h2", secure, count, STREAMS } end,
    },
    h2load(secure),
    tls_lua("jit", "hawser, LuaJIT", "hawser_h2.lua", over_tls),
    tls_lua("5.4", "hawser, Lua 5.4", "hawser_h2.lua", over_tls, { limit = 0.42 }),
  }
  if env.OPENSSL_BUILD ~= "" then
    secured[#secured + 1] = tls_lua("5.4", "hawser, Lua 5.4, OpenSSL engine", "hawser_h2.lua", over_tls,
      { limit = 0.2, build = env.OPENSSL_BUILD })
  end
  return {
    parts = {
      {
        name = "clear",
        title = ("HTTP/2 in the clear, 1 KiB, %d streams on 1 connection: client CPU per request"):format(STREAMS),
        unit = "µs",
        base = "h2load",
        value = cpu_per_request,
        requests = requests,
        clients = {
          h2load(clear),
          hawser_c_h2("requests", ours, 1.1),
          hawser_lua("jit", "hawser, LuaJIT", "hawser_h2.lua", plain, { limit = 1.3 }),
          hawser_lua("5.4", "hawser, Lua 5.4", "hawser_h2.lua", plain, { limit = 1.6 }),
        },
      },
      {
        name = "tls",
        title = ("HTTP/2 over TLS, 1 KiB, %d streams on 1 connection: client CPU per request"):format(STREAMS),
        unit = "µs",
        base = "libcurl multi, C",
        value = cpu_per_request,
        requests = requests,
        clients = secured,
      },
    },
  }
end

function sections.fair()
  local url, alone = "h2c://" .. env.H2C .. "/1m", "49 streams"
  return {
    title = "HTTP/2, 49 streams on 1 connection read 1 MiB each, over and over: time they take",
    unit = "ms",
    base = alone,
    value = printed,
    requests = math.max(requests // 200, 49),
    clients = {
      hawser_lua("5.4", alone, "hawser_fair.lua", { url, 0, "{}" }),
      hawser_lua("5.4", "49 streams beside a slow one", "hawser_fair.lua", { url, 1, "{}" }, { limit = 1.2 }),
    },
  }
end

function sections.streams()
  local url = "h2c://" .. env.FAULTD .. "/play/none"
  local count = 5000
  return {
    parts = {
      {
        name = "open",
        title = ("HTTP/2, a stream opened and closed, %d at a time, and h2load's whole request: client CPU"):format(
          STREAMS),
        unit = "µs",
        base = "h2load",
        value = cpu_per_request,
        requests = requests,
        clients = {
          h2load("http://" .. env.H2C .. "/1k"),
          hawser_c_h2("streams", url, 0.9),
          hawser_lua("jit", "hawser, LuaJIT", "hawser_h2.lua", { url, "{}", STREAMS, "streams" }),
          hawser_lua("5.4", "hawser, Lua 5.4", "hawser_h2.lua", { url, "{}", STREAMS, "streams" }, { limit = 1.4 }),
        },
      },
      {
        name = "memory",
        title = ("HTTP/2, %d idle streams on 1 connection: bytes per stream"):format(count),
        unit = "",
        value = printed,
        requests = count,
        clients = {
          hawser_lua("5.4", "hawser, Lua 5.4", "hawser_h2.lua", { url, 0, count, "memory" }, { limit = 1536 }),
          hawser_lua("jit", "hawser, LuaJIT", "hawser_h2.lua", { url, 0, count, "memory" }, { limit = 1536 }),
        },
      },
    },
  }
end

function sections.bytes()
  local SIZE = 1 << 30
  local origin, file = "http://" .. env.H2C, env.TEMPORARY .. "/www/1g"
  local function part(way, words, path)
    local function ours(version, name, more)
      return hawser_lua(version, name, "hawser_bytes.lua", { "h2c://" .. env.H2C .. path, way, SIZE }, more)
    end
    return {
      name = way,
      title = ("HTTP/2, a body of 1 GiB %s on one stream: client CPU"):format(way),
      unit = "ms",
      base = "curl command",
      value = cpu_in_ms,
      requests = 1,
      clients = {
        {
          name = "curl command",
          needs = { "curl" },
          command = function()
            return concat({ "curl", "-sf", "--http2-prior-knowledge", "-o", "/dev/null" }, words)
          end,
        },
        ours("jit", "hawser, LuaJIT", { limit = 1.5 }),
        ours("5.4", "hawser, Lua 5.4", { limit = 1.5 }),
      },
    }
  end
  return { parts = { part("down", { origin .. "/1g" }, "/1g"), part("up", { "-T", file, origin .. "/1k" }, "/1k") } }
end

function sections.yamux()
  local base, ours, go = "64 leases, 64 connections", "64 streams, 1 connection", "yamux in Go"
  local function arguments(url, mode) return { url, "{}", CONNECTIONS, mode } end
  return {
    title = "yamux, echoes of 64 bytes, " .. CONNECTIONS .. " in flight: client CPU per echo",
    unit = "µs",
    base = base .. ", Lua 5.4",
    value = cpu_per_request,
    requests = requests,
    clients = {
      hawser_lua("5.4", base .. ", Lua 5.4", "hawser_echo.lua", arguments(env.ECHO, "held")),
      hawser_lua("5.4", ours .. ", Lua 5.4", "hawser_echo.lua", arguments(env.YAMUX, "yamux"), { limit = 0.4 }),
      hawser_lua("jit", ours .. ", LuaJIT", "hawser_echo.lua", arguments(env.YAMUX, "yamux"), { limit = 0.4 }),
      client(go, { env.YAMUX_CLIENT }, env.YAMUX),
    },
    closing = function(samples)
      return against("Lua 5.4 to yamux in Go", samples[ours .. ", Lua 5.4"], samples[go], 1)
    end,
  }
end

function sections.instructions()
  local url = env.HTTP1 .. "/1k"
  local function counted(row, low, high)
    local command = row.command
    row.once = true
    row.completed = nil
    row.command = function()
      return concat({ bench .. "instructions", low, high }, command "{}")
    end
    return row
  end
  local h2 = "h2c://" .. env.H2C .. "/1k"
  local plain, options = { url, "{}", CONNECTIONS }, { url, "{}", CONNECTIONS, "options" }
  local peers, scripted = { url, "{}", CONNECTIONS, "peers" }, { url, "{}", CONNECTIONS, "scripted" }
  local http1 = {
    name = "http1",
    title = "HTTP/1.1, as above: user-space instructions per request (callgrind)",
    unit = "",
    value = printed,
    requests = 1,
    clients = {
      counted(client("libuv, no parser (floor)", { program .. "uv_http1" }, url), 2000, 8000),
      counted(client("hawser, C", { program .. "hawser_http1" }, url, { ours = true, limit = 4500 }), 2000, 8000),
      counted(client("hawser, C, no metrics", { program .. "hawser_http1", "--unmeasured" }, url), 2000, 8000),
      counted(hawser_lua("5.4", "hawser, Lua 5.4", "hawser_http1.lua", plain, { limit = 12000 }), 2000, 8000),
      counted(hawser_lua("5.4", "hawser, Lua 5.4, options", "hawser_http1.lua", options), 2000, 8000),
      counted(hawser_lua("5.4", "hawser, Lua 5.4, 10 peers", "hawser_http1.lua", peers), 2000, 8000),
      counted(hawser_lua("5.4", "hawser, Lua 5.4, 10 p., scripted", "hawser_http1.lua", scripted), 2000, 8000),
      counted(client("libcurl multi, C", { program .. "curl_multi" }, url), 500, 2000),
    },
  }
  local multiplexed = {
    name = "h2",
    title = "HTTP/2 in the clear, as above: user-space instructions per request (callgrind)",
    unit = "",
    value = printed,
    requests = 1,
    clients = {
      counted(h2load("http://" .. env.H2C .. "/1k"), 2000, 8000),
      counted(hawser_c_h2("requests", h2), 2000, 8000),
      counted(hawser_lua("jit", "hawser, LuaJIT", "hawser_h2.lua", { h2, "{}", STREAMS }), 2000, 8000),
      counted(hawser_lua("5.4", "hawser, Lua 5.4", "hawser_h2.lua", { h2, "{}", STREAMS }), 2000, 8000),
    },
  }
  return { parts = { http1, multiplexed } }
end

-- Running and printing ---------------------------------------------------------------------------

local failed = false

local function give_up(row, reason)
  row.reason = reason
  if row.ours then
    failed = true
    io.stderr:write(("bench: %s: %s\n"):format(row.name, reason))
  end
end

--- All rounds of a section, in turns. Round 0 warms up and is discarded; what runs once runs in round 1.
-- @return table samples by row and round: samples[row][round]
local function play(name, section)
  local tsv = assert(io.open(("%s/%s.tsv"):format(env.OUTPUT, name), "w"))
  tsv:write "round\tclient\trequests\tuser_us\tsystem_us\tresident_kib\twall_us\tfigure\tunit\n"
  local samples = {}
  for _, row in ipairs(section.clients) do
    samples[row] = {}
    local lacks = missing(row)
    if lacks then give_up(row, "missing: " .. lacks) end
  end
  for round = 0, rounds do
    for _, row in ipairs(section.clients) do
      if not row.reason and (not row.once or round == 1) then
        local sample, reason = run(row, math.ceil(section.requests * (row.share or 1)))
        if sample then
          sample.figure = section.value(sample)
          if round > 0 then samples[row][round] = sample end
          tsv:write(("%d\t%s\t%d\t%d\t%d\t%d\t%d\t%.3f\t%s\n"):format(round, row.name, sample.requests, sample.user,
            sample.system, sample.resident, sample.wall, sample.figure, section.unit))
        else
          give_up(row, "failed: " .. reason)
        end
      end
    end
    if env.PROGRESS then io.stderr:write(("\r%s: round %d of %d "):format(name, round, rounds)) end
  end
  if env.PROGRESS then io.stderr:write "\r\27[K" end
  tsv:close()
  return samples
end

local function pad(text, width)
  return text .. (" "):rep(width - utf8.len(text))
end

local function number(value)
  if not value then return "" end
  return (value >= 1000 and "%.0f" or value >= 100 and "%.1f" or "%.2f"):format(value)
end

local function print_row(section, row, own, base)
  if row.reason then
    print(("  %s %s"):format(pad(row.name, 32), row.reason))
    return
  end
  local figure = median(column(own, function(sample) return sample.figure end))
  local ratio = base and median(ratios(own, base))
  local judged = row.limit and (base and ratio or not base and figure)
  local note = own[1] and own[1].note or ""
  local scale = section.scale or section.unit == "ms" and 1000 or 1
  local function usual(get) return section.value ~= printed and number(median(column(own, get))) or "" end
  print(("  %s %9s %7s %8s %-5s %8s %8s %8s  %s"):format(pad(row.name, 32), number(figure), number(ratio),
    row.limit and ("<= %g"):format(row.limit) or "", judged and (judged <= row.limit and "ok" or "OVER") or "",
    usual(function(sample) return sample.user / sample.requests / scale end),
    usual(function(sample) return sample.system / sample.requests / scale end),
    usual(function(sample) return sample.resident / 1024 end),
    row.extra and row.extra() or note))
end

local function print_table(section, samples)
  local base
  for _, row in ipairs(section.clients) do
    if row.name == section.base then base = samples[row] end
  end
  print(section.title)
  local split = section.value ~= printed -- else user, system and memory are not what the figure was made of
  local unit = (" "):rep(9 - utf8.len(section.unit)) .. section.unit
  print(("  %s %s %7s %8s %-5s %8s %8s %8s"):format(pad("", 32), unit, section.base and "ratio" or "", "limit", "",
    split and "user" or "", split and "system" or "", split and "MiB" or ""))
  for _, row in ipairs(section.clients) do print_row(section, row, samples[row], base) end
  if section.closing then
    local by_name = {}
    for _, row in ipairs(section.clients) do by_name[row.name] = samples[row] end
    print("  " .. section.closing(by_name))
  end
  print()
end

for _, name in ipairs(arg) do
  local section = sections[name]()
  for _, part in ipairs(section.parts or { section }) do
    local file = part.name and name .. "-" .. part.name:gsub(" ", "-") or name
    print_table(part, play(file, part))
    io.stdout:flush()
  end
end
os.exit(failed and 1 or 0)
