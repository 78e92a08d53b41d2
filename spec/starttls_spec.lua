--- conn:starttls: PostgreSQL over TLS, in a setup and in a lease; then whatever may go wrong before it is done.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"
local Postgres = require "examples.postgres"

local certificates = os.tmpname()
os.remove(certificates)

local function certificate(name) return certificates .. "/" .. name end

-- Where PostgreSQL is asked for TLS, and how it is greeted.
local SSL_REQUEST = "\0\0\0\8\4\210\22\47"
local START_UP = "\0\0\0\39\0\3\0\0user\0hawser\0database\0postgres\0\0"

lazy_setup(function()
  -- The interpreter may run with a sanitizer preloaded; that is for it alone.
  os.execute("env -u LD_PRELOAD sh tests/support/certificates " .. certificates)
end)
lazy_teardown(function() os.execute("rm -rf " .. certificates) end)

-- What the engine agrees on with a PostgreSQL that knows both.
local VERSION = hawser.TLS:find "^mbedTLS 2" and "1.2" or "1.3"

describe("starttls with PostgreSQL", function()
  local secure, plain, m, trusting

  lazy_setup(function()
    secure = servers.postgres { cert = certificate "good.pem", key = certificate "leaf.key" }
    plain = servers.postgres()
    trusting = { ca = certificate "root.pem", server_name = "localhost" }
  end)
  lazy_teardown(function()
    secure:stop()
    plain:stop()
  end)
  before_each(function() m = hawser.new() end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  local function peer(server) return "tcp://127.0.0.1:" .. server.port end
  local function connect(server, tls) return Postgres.connect(m, peer(server), "hawser", "postgres", tls) end

  it("encrypts in a setup, for all leases to come", function()
    local pg = connect(secure, trusting)
    for i = 1, 3 do
      local rows = assert(pg:query "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()")
      assert.same({ { ssl = "t", version = "TLSv" .. VERSION } }, rows)
      pg.upstream:with(function(conn) assert.same({ VERSION, true }, { conn.tls, conn.reused }, i) end)
    end
    local stats = ledger.settled(pg.upstream)
    ledger.is_at_rest(stats)
    assert.same({ 1, 1 }, { stats.created, stats.handshakes })
  end)

  it("encrypts in a lease, which is pooled so", function()
    local raw = m:upstream("raw", { peers = { peer(secure) } })
    local conn = assert(raw:acquire())
    assert.is_nil(conn.tls)
    assert(conn:write(SSL_REQUEST))
    assert.equal("S", conn:read(1))
    assert.is_true(conn:starttls(trusting))
    assert.equal(VERSION, conn.tls)
    assert(conn:write(START_UP))
    -- Authentication's message says that none is needed; the rest, up to ReadyForQuery, is of no interest.
    assert.equal("R\0\0\0\8\0\0\0\0", conn:read(9))
    assert.is_truthy(conn:read_until "Z\0\0\0\5I")
    assert.is_true(conn:release())
    conn = assert(raw:acquire())
    assert.same({ true, VERSION }, { conn.reused, conn.tls })
    local _, err = conn:starttls(trusting)
    assert.equal("unsupported", err.kind)
    assert.is_truthy(conn:write "Q\0\0\0\13select 1\0" and conn:read_until "Z\0\0\0\5I")
    assert.is_true(conn:release())
    ledger.is_at_rest(ledger.settled(raw))
    assert.equal(1, raw:stats().idle)
  end)

  it("leaves it to the script what a refusal means", function()
    local raw = m:upstream("raw", { peers = { peer(plain) } })
    raw:with(function(conn)
      assert(conn:write(SSL_REQUEST))
      assert.equal("N", conn:read(1))
      assert(conn:write(START_UP))
      assert.equal("R", conn:read(1))
      assert.is_nil(conn.tls)
      conn:close()
    end)
    local rows, err = connect(plain, trusting):query "select 1"
    assert.is_nil(rows)
    assert.same({ "connect", "SETUP" }, { err.kind, err.code })
    assert.is_truthy(tostring(err):find("the server offers no TLS", 1, true), tostring(err))
  end)

  it("sends nothing to whom it does not trust", function()
    local raw = m:upstream("raw", { peers = { peer(secure) } })
    local conn = assert(raw:acquire())
    assert(conn:write(SSL_REQUEST))
    assert.equal("S", conn:read(1))
    local ok, err = conn:starttls { ca = certificate "stranger.pem", server_name = "localhost" }
    assert.is_nil(ok)
    assert.same({ "tls", "CERT_UNTRUSTED", "tls" }, { err.kind, err.code, err.phase })
    assert.is_nil(conn.tls)
    ok, err = conn:write(START_UP)
    assert.is_nil(ok)
    assert.equal("CERT_UNTRUSTED", err.code)
    assert.equal("CERT_UNTRUSTED", select(2, conn:read(1)).code)
    assert.equal("CERT_UNTRUSTED", select(2, conn:starttls(trusting)).code)
    local stats = raw:stats()
    assert.same({ 0, 1 }, { stats.open, stats.closed.failed })
    conn:release()
    ledger.is_at_rest(ledger.settled(raw))
  end)

  it("tells who waits for a setup why it failed", function()
    local pg = connect(secure, { ca = certificate "stranger.pem", server_name = "localhost" })
    local rows, err = pg:query "select 1"
    assert.is_nil(rows)
    assert.same({ "tls", "CERT_UNTRUSTED", "tls" }, { err.kind, err.code, err.phase })
    ledger.is_at_rest(ledger.settled(pg.upstream))
  end)

  it("takes what it was not given from the upstream", function()
    local options = { peers = { peer(secure) }, tls = { ca = certificate "root.pem", server_name = "no.such.name" } }
    local raw = m:upstream("raw", options)
    local function upgrade(tls)
      return raw:with(function(conn)
        assert(conn:write(SSL_REQUEST))
        assert.equal("S", conn:read(1))
        local ok, err = conn:starttls(tls)
        conn:close()
        return ok and "ok" or err.code
      end)
    end
    assert.equal("CERT_NAME", upgrade())
    assert.equal("CERT_NAME", upgrade {})
    assert.equal("ok", upgrade { server_name = "localhost" })
    assert.equal("CERT_UNTRUSTED", upgrade { ca = certificate "stranger.pem" })
    assert.equal("ok", upgrade { verify = false })
    raw:update { tls = { server_name = "localhost" } }
    assert.equal("ok", upgrade())
    ledger.is_at_rest(ledger.settled(raw))
  end)
end)

describe("a handshake", function()
  local faultd, m, raw

  lazy_setup(function() faultd = servers.faultd() end)
  lazy_teardown(function() faultd:stop() end)
  before_each(function()
    m = hawser.new { log = function() end }
    raw = m:upstream("raw", {
      peers = { "tcp://127.0.0.1:" .. faultd.raw },
      tls = { ca = certificate "root.pem", server_name = "localhost" },
      timeouts = { tls = 10 },
    })
  end)
  after_each(function()
    m:close()
    hawser.run()
  end)

  -- A lease whose peer will say nothing any more.
  local function with_silence()
    local conn = assert(raw:acquire())
    assert(conn:write "+silence\n")
    return conn
  end

  -- It ended with this error, and so did its connection.
  local function has_failed(conn, ok, err, kind, code)
    assert.is_nil(ok)
    assert.same({ kind, code, "tls" }, { err.kind, err.code, err.phase })
    assert.is_nil(conn.tls)
    assert.is_nil((conn:write "in the clear\n"))
    assert.equal(0, raw:stats().open)
    conn:release()
    ledger.is_at_rest(ledger.settled(raw))
  end

  it("is refused when bytes are there already", function()
    local conn = assert(raw:acquire())
    assert(conn:write(("+hex %s\n"):format(servers.hex "220 go\r\n250 injected\r\n")))
    assert.equal("220 go", conn:read "line")
    local ok, err = conn:starttls()
    has_failed(conn, ok, err, "tls", "EARLY_BYTES")
  end)

  it("ends when the peer speaks no TLS", function()
    local conn, ok, err = assert(raw:acquire()), nil, nil
    assert(conn:write "+hold plain\n")
    hawser.run(function()
      faultd:ask "held/plain/1"
      hawser.spawn(function() ok, err = conn:starttls() end)
      hawser.sleep(.02)
      faultd:ask "release/plain"
    end)
    has_failed(conn, ok, err, "tls", "NOT_TLS")
  end)

  it("ends when the peer resets", function()
    local conn = assert(raw:acquire())
    assert(conn:write "+stale\n")
    assert.equal("ok", conn:read "line")
    local ok, err = conn:starttls()
    has_failed(conn, ok, err, "tls", "HANDSHAKE_EOF")
  end)

  it("ends after timeouts.tls", function()
    raw:update { timeouts = { tls = .05 } }
    local conn = with_silence()
    local ok, err = conn:starttls()
    has_failed(conn, ok, err, "timeout", "TIMEOUT")
  end)

  it("ends with its task", function()
    local conn, ok, err
    hawser.run(function()
      conn = with_silence()
      local task = hawser.spawn(function() ok, err = conn:starttls() end)
      hawser.sleep(.02)
      task:cancel()
      task:join()
    end)
    has_failed(conn, ok, err, "canceled", "CANCELED")
  end)

  it("may have a callback, and be canceled", function()
    local conn = with_silence()
    local ok, err, calls = nil, nil, 0
    local handle = conn:starttls({}, function(...)
      ok, err = ...
      calls = calls + 1
    end)
    hawser.sleep(.02)
    assert.equal(0, calls)
    handle:cancel()
    hawser.run()
    assert.equal(1, calls)
    has_failed(conn, ok, err, "canceled", "CANCELED")

    raw:update { timeouts = { tls = .05 } }
    conn = with_silence()
    conn:starttls(function(...) ok, err = ... end)
    hawser.run()
    has_failed(conn, ok, err, "timeout", "TIMEOUT")
  end)

  it("ends with its lease", function()
    for _, ending in ipairs { "release", "close" } do
      local kind
      hawser.run(function()
        local conn = with_silence()
        hawser.spawn(function() kind = select(2, conn:starttls()).kind end)
        hawser.sleep(.02)
        conn[ending](conn)
      end)
      assert.equal("closed", kind, ending)
      assert.equal(0, raw:stats().open)
      ledger.is_at_rest(ledger.settled(raw))
    end
  end)

  it("ends with its upstream and its manager", function()
    for _, owner in ipairs { raw, m } do
      local conn, err
      hawser.run(function()
        conn = with_silence()
        hawser.spawn(function() err = select(2, conn:starttls()) end)
        hawser.sleep(.02)
        owner:close()
      end)
      assert.same({ "closed", "tls" }, { err.kind, err.phase })
      conn:release()
      raw = m:upstream("again", { peers = { "tcp://127.0.0.1:" .. faultd.raw } })
    end
  end)

  it("holds its lease, also when nobody else does", function()
    local err
    local leaks = 0
    m:on("leak", function() leaks = leaks + 1 end)
    hawser.run(function()
      hawser.spawn(function()
        raw:update { timeouts = { tls = .1 } }
        err = select(2, with_silence():starttls())
      end)
      hawser.sleep(.02)
      for _ = 1, 3 do collectgarbage() end
    end)
    assert.equal("timeout", err.kind)
    for _ = 1, 3 do collectgarbage() end
    hawser.sleep(.01)
    assert.equal(1, leaks)
    ledger.is_at_rest(ledger.settled(raw))
  end)

  -- In a task Lua 5.1 cannot wait below pcall, which is what it would say first.
  local function refuses(message, f)
    local ok, err = hawser.pcall(f)
    assert.is_false(ok)
    assert.truthy(tostring(err):find(message, 1, true), tostring(err))
  end

  it("lets nothing else happen on its lease", function()
    hawser.run(function()
      local conn = with_silence()
      hawser.spawn(function() conn:starttls() end)
      hawser.sleep(.02)
      refuses("somebody else is waiting in a read or a write", function() conn:starttls() end)
      refuses("somebody else is waiting in a read", function() conn:read(1) end)
      for _, outcome in ipairs { { conn:write "x" }, { conn:finish() } } do
        assert.is_nil(outcome[1])
        assert.equal("unsupported", outcome[2].kind)
      end
      assert.is_nil(conn.tls)
      conn:close()
    end)
  end)

  it("cannot begin while somebody waits", function()
    hawser.run(function()
      local conn = with_silence()
      local reader = hawser.spawn(function() conn:read(1) end)
      hawser.sleep(.02)
      refuses("somebody else is waiting in a read or a write of this lease", function() conn:starttls() end)
      conn:close()
      reader:join()
    end)
  end)

  it("needs a lease", function()
    local conn = assert(raw:acquire())
    conn:close()
    local ok, err = conn:starttls()
    assert.is_nil(ok)
    assert.equal("closed", err.kind)
    conn = assert(raw:acquire())
    assert(conn:finish())
    ok, err = conn:starttls()
    assert.is_nil(ok)
    assert.equal("closed", err.kind)
    conn:close()
  end)

  it("raises at arguments that make no sense", function()
    local conn = assert(raw:acquire())
    local function refused(pattern, ...)
      local arguments = { ... }
      raises(pattern, function() conn:starttls(arguments[1], arguments[2]) end)
    end
    refused("options of starttls is 1; allowed: a table, or nothing", 1)
    refused("options of starttls is .x.; allowed: a table, or nothing", "x")
    refused("options of starttls is true; allowed", true)
    refused("serv_name", { serv_name = "x" })
    refused("server_name", { server_name = 1 })
    refused("verify is 1; allowed: true or false", { verify = 1 })
    refused("min is", { min = "1.1" })
    refused("ca is", { ca = {} })
    refused("alpn is", { alpn = "h2" })
    refused("callback", {}, 1)
    -- Nothing of that has harmed it.
    assert(conn:write "still here\n")
    assert.equal("still here", conn:read "line")
    conn:release()
    assert.equal(1, raw:stats().idle)
  end)

  it("tells of options that cannot be used", function()
    for _, options in ipairs { { ca = "/no/such/file" }, { key = certificate "leaf.key" }, { min = "1.3" },
      { server_name = ("x"):rep(300) } } do
      local conn = assert(raw:acquire())
      local ok, err = conn:starttls(options)
      assert.is_nil(ok)
      assert.is_truthy(err.message)
      assert.equal("tls", err.phase)
      conn:release()
    end
    ledger.is_at_rest(ledger.settled(raw))
  end)

  it("is nothing for a forked child", function()
    local process = servers.module "process"
    local conn = with_silence()
    local path = os.tmpname()
    local pid = process.fork()
    if pid == 0 then
      local _, _, err = pcall(conn.starttls, conn)
      local file = io.open(path, "w")
      file:write(tostring(err and err.code), " ", tostring(conn.tls))
      file:close()
      process.exit(0)
    end
    assert.equal(0, process.wait(pid))
    assert.equal("FORKED nil", io.lines(path)())
    os.remove(path)
    conn:close()
  end)
end)
