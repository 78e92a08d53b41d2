--- Leases against Debian's Redis, through the client of examples/redis.lua.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"
local Redis = require "examples.redis"

describe("Redis", function()
  local server, m, redis

  lazy_setup(function() server = servers.redis() end)
  lazy_teardown(function() server:stop() end)

  local function peer() return "tcp://127.0.0.1:" .. server.port end

  before_each(function()
    m = hawser.new()
    redis = Redis.connect(m, peer())
    redis:flushall()
  end)

  after_each(function()
    local stats = ledger.settled(redis.upstream)
    m:close()
    ledger.is_at_rest(stats)
  end)

  it("stores and returns strings of any bytes", function()
    local bytes = "\0\1\r\n\255"
    assert.equal("OK", redis:set("key", bytes))
    assert.equal(bytes, redis:get "key")
    assert.is_false(redis:get "other")
  end)

  it("stores and returns a value of a megabyte", function()
    local value = ("0123456789abcdef"):rep(65536)
    assert.equal("OK", redis:set("big", value))
    assert.equal(value, redis:get "big")
  end)

  it("returns integers, lists and errors", function()
    assert.equal(3, redis:rpush("list", "a", "b", "c"))
    assert.same({ "a", "b", "c" }, redis:lrange("list", 0, -1))
    local reply, message = redis:incr "list"
    assert.is_nil(reply)
    assert.equal("WRONGTYPE", message:match "^%u+")
  end)

  it("serves many tasks over one connection, one after the other", function()
    redis.upstream:update { limits = { per_peer = 1 } }
    local calls = {}
    for i = 1, 100 do
      calls[i] = function() return redis:incr "count" end
    end
    local seen = {}
    for _, outcome in ipairs(hawser.all(calls)) do seen[outcome[2]] = true end
    for i = 1, 100 do assert.is_true(seen[i]) end
    assert.equal(1, redis.upstream:stats().created)
  end)

  it("never sees more clients than limits.per_peer", function()
    redis.upstream:update { limits = { per_peer = 3 } }
    local calls = {}
    for i = 1, 60 do
      calls[i] = function()
        local _, count = redis:client "list":gsub("id=", "")
        return count
      end
    end
    for _, outcome in ipairs(hawser.all(calls)) do assert.is_true(outcome[2] <= 3) end
    assert.equal(3, redis.upstream:stats().created)
  end)

  it("does one round trip for a pipeline", function()
    local commands = {}
    for i = 1, 1000 do commands[i] = { "SET", "key" .. i, i } end
    for _, reply in ipairs(redis:pipeline(commands)) do assert.equal("OK", reply[1]) end
    assert.equal("1000", redis:get "key1000")
  end)

  it("lets a task wait for a value that another one pushes", function()
    hawser.run(function()
      local waiting = hawser.spawn(function() return redis:blpop("queue", 0) end)
      local blocked
      repeat blocked = assert(redis:info "clients"):match "blocked_clients:(%d+)" until blocked == "1"
      redis:rpush("queue", "work")
      local joined, reply = waiting:join()
      assert.is_true(joined)
      assert.same({ "queue", "work" }, reply)
    end)
  end)

  it("loses a client whose task is canceled while it waits", function()
    hawser.run(function()
      local waiting = hawser.spawn(function() return redis:blpop("queue", 0) end)
      local clients
      repeat clients = assert(redis:info "clients") until clients:match "blocked_clients:1"
      waiting:cancel()
      waiting:join()
      repeat clients = assert(redis:info "clients") until clients:match "blocked_clients:0"
    end)
    local stats = ledger.settled(redis.upstream)
    assert.equal(1, stats.created - stats.open)
  end)

  it("is reconnected to after it has closed the connection", function()
    assert.equal("PONG", redis:ping())
    local id = redis:client "id"
    hawser.run(function()
      local other = Redis.connect(m, "unix:" .. server.unix)
      assert.equal(1, other:client("kill", "id", id))
      repeat hawser.sleep(0) until redis.upstream:stats().open == 0
    end)
    assert.equal("PONG", redis:ping())
    assert.equal(2, redis.upstream:stats().created)
    assert.equal(1, ledger.closed(redis.upstream:stats(), "peer"))
  end)

  describe("with a password", function()
    local secured

    lazy_setup(function() secured = servers.redis "secret" end)
    lazy_teardown(function() secured:stop() end)

    it("is used after setup has given it", function()
      local client = Redis.connect(m, "tcp://127.0.0.1:" .. secured.port, "secret")
      assert.equal("PONG", client:ping())
      assert.equal("OK", client:set("key", "value"))
      ledger.is_at_rest(ledger.settled(client.upstream))
    end)

    it("cannot be used when setup gives a wrong one, and the reason is told", function()
      local client = Redis.connect(m, "tcp://127.0.0.1:" .. secured.port, "wrong")
      local reply, err = client:ping()
      assert.is_nil(reply)
      assert.equal("connect", err.kind)
      assert.equal("SETUP", err.code)
      assert.is_truthy(err.message:find "WRONGPASS")
      assert.equal(0, client.upstream:stats().open)
    end)
  end)
end)
