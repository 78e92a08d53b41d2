--- Runs every example as its own first lines say, against real servers.
local h2_servers = require "spec.support.h2_servers"
local servers = require "spec.support.servers"

local lua = os.getenv "LUA" or "lua"

describe("example", function()
  local nginx, redis, postgres

  lazy_setup(function()
    nginx = servers.nginx(("ssl_verify_client on; ssl_verify_depth 3; ssl_client_certificate %s;")
      :format(servers.certificate "root.pem"))
    redis, postgres = servers.redis(), servers.postgres()
  end)

  lazy_teardown(function()
    nginx:stop()
    redis:stop()
    postgres:stop()
  end)

  -- What a shell command prints, and its exit status, which io.popen cannot tell on Lua 5.1.
  local function run(command, ...)
    local words = { command }
    for _, word in ipairs { ... } do words[#words + 1] = "'" .. word .. "'" end
    local pipe = assert(io.popen(table.concat(words, " ") .. " 2>&1; echo status $?", "r"))
    local text = pipe:read "*a"
    pipe:close()
    local output, status = text:match "^(.*)status (%d+)\n$"
    return output, tonumber(status)
  end

  local function succeeds(name, ...)
    local output, status = run(lua .. " examples/" .. name, ...)
    assert.equal(0, status, output)
    return output
  end

  local function url(path) return ("http://127.0.0.1:%d%s"):format(nginx.port, path) end

  local function contents(path)
    local file = assert(io.open(path, "rb"))
    local data = file:read "*a"
    file:close()
    return data
  end

  it("http_get.lua prints the response", function()
    local output = succeeds("http_get.lua", url "/hello")
    assert.equal("HTTP/1.1 200 OK", output:match "^[^\n]+")
    assert.is_truthy(output:find "\nContent%-Length: 17\n")
    assert.is_truthy(output:find "\n\nhello from nginx\n$")
  end)

  it("http_get.lua prints one line and fails when there is no server", function()
    local port = servers.free_port()
    local output, status = run(lua .. " examples/http_get.lua", "http://127.0.0.1:" .. port)
    assert.equal(1, status)
    assert.is_truthy(output:find "^refused: [^\n]+\n$", output)
  end)

  it("concurrent.lua makes a hundred requests over eight connections", function()
    local output = succeeds("concurrent.lua", url "/1k")
    assert.is_truthy(output:find("100 of 100 requests, 102400 bytes", 1, true), output)
    assert.is_truthy(output:find("8 connections dialled, used again 92 times", 1, true), output)
  end)

  it("stream_download.lua writes the file", function()
    local path = nginx.dir .. "/download"
    assert.equal("1048576 bytes\n", succeeds("stream_download.lua", url "/1m", path))
    assert.equal(contents(nginx.dir .. "/www/1m"), contents(path))
  end)

  it("upload_producer.lua uploads the file", function()
    local source, target = nginx.dir .. "/www/1m", nginx.dir .. "/www/upload/copy"
    assert.equal("201\tCreated\n", succeeds("upload_producer.lua", url "/upload/copy", source))
    assert.equal(contents(source), contents(target))
  end)

  it("unix_socket.lua speaks HTTP over a socket", function()
    local output = succeeds("unix_socket.lua", nginx.unix, "/hello")
    assert.is_truthy(output:find "hello from nginx\n$")
  end)

  it("client_certificate.lua is let in, and resumes", function()
    local address, root = "https://localhost:" .. nginx.tls .. "/tls", servers.certificate "root.pem"
    local output = succeeds("client_certificate.lua", address, root, servers.certificate "client.pem",
      servers.certificate "leaf.key")
    for _, reused in ipairs { "%.", "r", "r" } do
      assert.truthy(output:find("200\tTLSv1.[23] localhost " .. reused .. " CN=a client\n"), output)
    end
    assert.truthy(output:find(": 1 full, 2 resumed\n", 1, true), output)
    assert.truthy(succeeds("client_certificate.lua", address, root):find "^localhost:%d+\tfull handshake\n400\t")
    output = succeeds("client_certificate.lua", address, servers.certificate "stranger.pem")
    assert.truthy(output:find "^CERT_UNTRUSTED\tno trusted root signs the certificate: CN=", output)
  end)

  it("redis.lua sends a command", function()
    local peer = "tcp://127.0.0.1:" .. redis.port
    assert.equal("OK\n", succeeds("redis.lua", peer, "SET", "greeting", "hello"))
    assert.equal("hello\n", succeeds("redis.lua", peer, "GET", "greeting"))
    assert.equal("2\n", succeeds("redis.lua", peer, "RPUSH", "list", "one", "two"))
    assert.equal("one\ntwo\n", succeeds("redis.lua", peer, "LRANGE", "list", "0", "-1"))
  end)

  it("redis.lua is a client in under 60 lines", function()
    local _, lines = contents("examples/redis.lua"):gsub("\n", "")
    assert.is_true(lines < 60, lines .. " lines")
  end)

  it("grpc.lua calls a unary and a streaming method of a real server", function()
    local grpc = h2_servers.grpc()
    local peer = "h2c://127.0.0.1:" .. grpc.h2c
    local output = succeeds("grpc.lua", peer, "/hawser.Echo/Say", "good morning", "/hawser.Echo/Count", "3")
    assert.equal("unary\tgood morning\nstreamed\t1\nstreamed\t2\nstreamed\t3\n", output)
    local refused, status = run(lua .. " examples/grpc.lua", peer, "/hawser.Echo/Say", "fail 5 not here")
    assert.equal("grpc-status 5: not here\n", refused)
    assert.equal(1, status)
    refused = run(lua .. " examples/grpc.lua", peer, "/hawser.Echo/Nothing", ("x"):rep(100000))
    assert.equal("grpc-status 12: Method not found!\n", refused)
    local nghttpd = h2_servers.nghttpd()
    refused = run(lua .. " examples/grpc.lua", "h2c://127.0.0.1:" .. nghttpd.h2c, "/hello", "no gRPC")
    assert.is_truthy(refused:find("an answer without grpc-status\n", 1, true), refused) -- beside what that sends back
    nghttpd:stop()
    grpc:stop()
  end)

  it("postgres.lua makes a query", function()
    for _, peer in ipairs { "tcp://127.0.0.1:" .. postgres.port, "unix:" .. postgres.unix } do
      local output = succeeds("postgres.lua", peer, "hawser", "postgres", "select 1 as one, null as nothing")
      assert.equal("one\tnothing\n1\tNULL\n", output)
    end
  end)

  it("postgres.lua asks for TLS, and takes no less", function()
    local certificates = postgres.dir .. "/certificates"
    os.execute("env -u LD_PRELOAD sh tests/support/certificates " .. certificates)
    local secure = servers.postgres { cert = certificates .. "/good.pem", key = certificates .. "/leaf.key" }
    local sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    local function ask(server, ca)
      return run(lua .. " examples/postgres.lua", "tcp://127.0.0.1:" .. server.port, "hawser", "postgres", sql, ca)
    end
    assert.equal("ssl\nt\n", (ask(secure, certificates .. "/root.pem")))
    assert.is_truthy(ask(secure, certificates .. "/stranger.pem"):find("CERT_UNTRUSTED", 1, true))
    assert.is_truthy(ask(postgres, certificates .. "/root.pem"):find("the server offers no TLS", 1, true))
    secure:stop()
  end)

  it("smtp.lua hands a message over inside TLS, and takes no less", function()
    local secure = servers.smtp { cert = servers.certificate "good.pem", key = servers.certificate "leaf.key" }
    local plain = servers.smtp()
    local letter = "Subject: hello\n\n.a dot\nand ..more\n."
    local file = assert(io.open(secure.dir .. "/letter", "wb"))
    file:write(letter)
    file:close()
    local function send(server, ca)
      local command = "%s examples/smtp.lua tcp://localhost:%d a@example.org b@example.org %s <%s/letter"
      return run(command:format(lua, server.port, ca, secure.dir))
    end
    local root, stranger = servers.certificate "root.pem", servers.certificate "stranger.pem"
    assert.equal("sent\n", (send(secure, root)))
    local pipe = assert(io.popen(("cat %s/new/*"):format(secure.mail)))
    local filed = pipe:read "*a":gsub("\r\n", "\n")
    pipe:close()
    assert.is_truthy(filed:find "\nX%-MailFrom: a@example.org\n", filed)
    assert.is_truthy(filed:find("\n\n.a dot\nand ..more\n.", 1, true), filed)
    assert.is_truthy(send(secure, stranger):find("CERT_UNTRUSTED", 1, true))
    assert.is_truthy(send(plain, root):find("454 TLS not available", 1, true), (send(plain, root)))
    secure:stop()
    plain:stop()
  end)

  -- Neovim is built with LuaJIT and can load only that core.so.
  if rawget(_G, "jit") then
    it("neovim shows a URL in a buffer while the editor goes on", function()
      local path = nginx.dir .. "/buffer"
      -- It ends without closing its Lua state, so all that lives in that looks leaked.
      local output, status = run("ASAN_OPTIONS=detect_leaks=0 nvim",
        "--headless", "-u", "NONE", "-i", "NONE", "--cmd", "set rtp+=examples/neovim",
        "-c", "runtime plugin/hawser_get.vim", "-c", "HawserGet " .. url "/hello",
        "-c", [[lua vim.wait(20000, function() return vim.fn.getline(1) ~= "" end, 5)]],
        "-c", ([[call writefile(getline(1, 1), "%s")]]):format(path), "-c", "qall!")
      assert.equal(0, status, output)
      assert.equal("hello from nginx\n", contents(path))
    end)
  end
end)
