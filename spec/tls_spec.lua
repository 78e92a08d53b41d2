--- Who is trusted and what is agreed on, held against OpenSSL's s_server: a table of servers, options and outcomes.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local raises = require "spec.support.raises"
local servers = require "spec.support.servers"

local HELLO = { hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" }
local ROOT = servers.certificate "root.pem"
local HAS_TLS_1_3 = not hawser.TLS:find "^mbedTLS 2%."

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

describe("TLS", function()
  local server, m, logged, made

  before_each(function() logged, made = {}, 0 end)
  after_each(function()
    if m then m:close() end
    if server then server:stop() end
    m, server = nil, nil
    hawser.run()
  end)

  local function log(level, message, fields) logged[#logged + 1] = { level, message, fields } end

  -- Serves as the certificate says, with options of s_server.
  local function serve(certificate, ...)
    server = servers.openssl(certificate, HELLO, "-HTTP", ...)
    m = hawser.new { log = log }
  end

  -- An upstream of the server, which is asked for as `name`.
  local function upstream(name, tls)
    made = made + 1
    local peer = { ("https://%s:%d"):format(name, server.port), address = "127.0.0.1:" .. server.port }
    return m:upstream(name .. made, { peers = { peer }, tls = tls })
  end

  -- Asks, and holds the outcome against what must be: nil for success, else the code and a part of the message.
  local function outcome(code, text, name, tls)
    local api = upstream(name, tls)
    local res, err = api:get "/hello"
    local stats = ledger.settled(api)
    ledger.is_at_rest(stats)
    if not code then
      assert.equal("hello", res and res.body, tostring(err))
      assert.equal(1, stats.handshakes)
      return
    end
    assert.is_nil(res)
    assert.equal(code, err.code, tostring(err))
    for field, value in pairs { kind = "tls", phase = "tls", sent = false, attempts = 1 } do
      assert.equal(value, err[field], field .. " of " .. tostring(err))
    end
    assert.equal(("%s:%d"):format(name, server.port), err.peer)
    if text then assert.truthy(tostring(err):find(text, 1, true), tostring(err)) end
    assert.is_nil(tostring(err):find "\n")
    assert.equal(0, stats.created + stats.handshakes + stats.resumed)
  end

  describe("trusts", function()
    -- certificate, name, code, a part of the message
    local cases = {
      { "good", "localhost" },
      { "good", "a.example.test" },
      { "good", "127.0.0.1" },
      { "rsa", "localhost" },
      { "usages", "localhost" },
      { "many", "name449.many.example.test" },
      { "good", "a.b.example.test", "CERT_NAME", "it names localhost, *.example.test, 127.0.0.1, ::1" },
      { "good", "example.test", "CERT_NAME" },
      { "wrong", "localhost", "CERT_NAME", "it names other.test" },
      { "wide", "www.test", "CERT_NAME" },
      { "cn_only", "localhost", "CERT_NAME", "it names nobody (no subjectAltName)" },
      { "dns_only", "127.0.0.1", "CERT_NAME" },
      { "expired", "localhost", "CERT_EXPIRED", "valid until 2021-01-01" },
      { "future", "localhost", "CERT_NOT_YET_VALID", "valid from 2045-01-01" },
      { "untrusted", "localhost", "CERT_UNTRUSTED", "CN=another test root is not known" },
      { "self", "localhost", "CERT_UNTRUSTED", "it is signed by itself" },
      { "missing", "localhost", "CERT_UNTRUSTED", "CN=hawser test intermediate is not known" },
      { "client", "localhost", "CERT_USAGE", "key usage" },
      { "deep", "localhost", "CERT_INVALID", "too long" },
      { "sha1", "localhost", "CERT_WEAK", "weak hash" },
      { "weak", "localhost", "CERT_WEAK", "weak key" },
    }
    for _, case in ipairs(cases) do
      local certificate, name, code, text = case[1], case[2], case[3], case[4]
      it(("%s as %s: %s"):format(certificate, name, code or "yes"), function()
        serve(certificate, "-cipher", "DEFAULT:@SECLEVEL=0")
        outcome(code, text, name, { ca = ROOT })
        if code then outcome(nil, nil, name, { ca = ROOT, verify = false }) end
      end)
    end

    it("nobody but the system's roots unless told, and takes ca as PEM text, too", function()
      serve "good"
      outcome("CERT_UNTRUSTED", nil, "localhost")
      outcome(nil, nil, "localhost", { ca = read_file(ROOT) })
      outcome("CERT_UNTRUSTED", nil, "localhost", { ca = servers.certificate "stranger.pem" })
    end)

    it("what is not revoked", function()
      serve "revoked"
      local crl = servers.certificate "crl.pem"
      outcome("CERT_REVOKED", nil, "localhost", { ca = ROOT, crl = crl })
      outcome("CERT_REVOKED", nil, "localhost", { ca = ROOT, crl = read_file(crl) })
      outcome(nil, nil, "localhost", { ca = ROOT })
      server:stop()
      serve "good"
      outcome(nil, nil, "localhost", { ca = ROOT, crl = crl })
    end)

    it("server_name instead of the URL's host", function()
      serve "wrong"
      outcome(nil, nil, "localhost", { ca = ROOT, server_name = "other.test" })
      outcome(nil, nil, "localhost", { ca = ROOT, server_name = "10.9.8.7" })
      outcome("CERT_NAME", nil, "other.test", { ca = ROOT, server_name = "localhost" })
    end)
  end)

  describe("agrees on", function()
    local old = { "-tls1_1", "-cipher", "ALL:@SECLEVEL=0" }
    local certificate = { ca = ROOT, cert = servers.certificate "client.pem", key = servers.certificate "leaf.key" }
    local pem = { ca = ROOT, cert = read_file(certificate.cert), key = read_file(certificate.key) }
    local other = { ca = ROOT, cert = servers.certificate "untrusted.pem", key = servers.certificate "leaf.key" }
    local root = { "-Verify", "3", "-verify_return_error", "-CAfile", ROOT, "-tls1_2" }
    -- what, options of the server, of ours, code, a part of the message
    local cases = {
      { "TLS 1.2", { "-tls1_2" }, {} },
      -- The alert may be that of a server without a common suite.
      { "no TLS 1.1", old, {}, HAS_TLS_1_3 and "PROTOCOL_VERSION" or "NO_CIPHER" },
      { "no suite without forward secrecy", { "-tls1_2", "-cipher", "AES128-GCM-SHA256" }, {}, "NO_CIPHER" },
      { "no suite without AEAD", { "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256" }, {}, "NO_CIPHER" },
      { "http/1.1 where the server has no h2", { "-tls1_2", "-alpn", "http/1.1" }, {} },
      { "nothing when the server knows no ALPN", { "-tls1_2" }, { alpn = { "spdy/1" } } },
      { "what alpn offers", { "-tls1_2", "-alpn", "dot" }, { alpn = { "doh", "dot" } } },
      { "nothing when the server refuses it", { "-tls1_2", "-alpn", "dot" }, {}, "NO_APPLICATION_PROTOCOL",
        "no_application_protocol" },
      { "our certificate", root, certificate },
      { "our certificate as PEM text", root, pem },
      { "no certificate that is wanted and not given", root, {}, "CERT_REQUIRED", "we have no certificate" },
      { "no certificate that the server does not trust", root, other, "CERT_REQUIRED", "of our certificate" },
    }
    for _, case in ipairs(cases) do
      local what, given, tls, code, text = case[1], case[2], case[3], case[4], case[5]
      it(what, function()
        tls.ca = ROOT
        serve("good", (unpack or table.unpack)(given))
        outcome(code, text, "localhost", tls)
      end)
    end

    it(HAS_TLS_1_3 and "TLS 1.3" or "no TLS 1.3, which this engine has not", function()
      serve("good", "-tls1_3")
      outcome(not HAS_TLS_1_3 and "PROTOCOL_VERSION" or nil, nil, "localhost", { ca = ROOT })
      if HAS_TLS_1_3 then
        outcome(nil, nil, "localhost", { ca = ROOT, min = "1.3" })
      else
        raises("min: 1.3 is not to be had", function() hawser.new { tls = { min = "1.3" } } end)
      end
    end)
  end)

  it("resumes what was verified before, on as many connections as there come", function()
    serve "good"
    local api = upstream("localhost", { ca = ROOT })
    for i = 1, 4 do
      assert.equal("hello", assert(api:get "/hello").body)
      local stats = ledger.settled(api)
      assert.same({ 1, i - 1 }, { stats.handshakes, stats.resumed })
    end
  end)

  describe("without verification", function()
    it("is warned of in the log, once per manager", function()
      serve "good"
      for _ = 1, 3 do outcome(nil, nil, "localhost", { verify = false }) end
      assert.equal(1, #logged)
      assert.equal("warn", logged[1][1])
      assert.truthy(logged[1][2]:find("tls.verify is false", 1, true))
      assert.is_string(logged[1][3].upstream)
      hawser.new({ tls = { verify = false }, log = log }):close()
      assert.equal(2, #logged)
    end)

    it("is no accident: an option nearby changes nothing, and update can take it back", function()
      serve "self"
      local api = upstream("localhost", { ca = ROOT, alpn = { "http/1.1" } })
      assert.equal("CERT_UNTRUSTED", select(2, api:get "/hello").code)
      assert.equal(0, #logged)
      api:update { tls = { ca = ROOT, verify = false } }
      assert.equal(1, #logged)
      assert.equal("hello", assert(api:get "/hello").body)
      api:update { tls = { ca = ROOT, verify = true } }
      assert.equal("CERT_UNTRUSTED", select(2, api:get "/hello").code)
    end)
  end)

  describe("refuses options", function()
    local cases = {
      { { ca = "/nowhere.pem" }, "ca: .*/nowhere%.pem" },
      { { ca = "-----BEGIN CERTIFICATE-----\n" }, "ca: no certificate in PEM" },
      { { ca = "" }, "tls%.ca is \"\"; allowed: " },
      { { ca = ROOT, crl = ROOT }, "crl: no revocation list in PEM" },
      { { cert = servers.certificate "client.pem" }, "cert: given without key" },
      { { key = servers.certificate "leaf.key" }, "key: given without cert" },
      { { cert = servers.certificate "client.pem", key = servers.certificate "rsa.key" }, "key: not that of cert" },
      { { min = "1.1" }, "tls%.min is \"1%.1\"; allowed: \"1%.2\", \"1%.3\"" },
      { { verify = 1 }, "tls%.verify is 1; allowed: true or false" },
      { { verfy = false }, "unknown field of tls \"verfy\"; did you mean \"verify\"%?" },
      { { alpn = "h2" }, "tls%.alpn is \"h2\"; allowed: a list" },
      { { alpn = { ("x"):rep(256) } }, "tls%.alpn is a table; allowed: a list" },
      { { alpn = {} }, "tls%.alpn" },
      { { server_name = 7 }, "tls%.server_name is 7; allowed: " },
    }
    for _, case in ipairs(cases) do
      local tls, pattern = case[1], case[2]
      it("saying " .. pattern, function()
        raises(pattern, function() hawser.new { tls = tls } end)
        m = hawser.new()
        raises(pattern, function() m:upstream("x", { peers = { "https://127.0.0.1:1" }, tls = tls }) end)
        local api = m:upstream("y", { peers = { "https://127.0.0.1:1" } })
        raises(pattern, function() api:update { tls = tls } end)
      end)
    end
  end)
end)
