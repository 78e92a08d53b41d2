--- Leases against Debian's PostgreSQL, through the client of examples/postgres.lua.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"
local Postgres = require "examples.postgres"

describe("PostgreSQL", function()
  local server, m, postgres

  lazy_setup(function() server = servers.postgres() end)
  lazy_teardown(function() server:stop() end)

  local function connect(peer, user)
    return Postgres.connect(m, peer or "tcp://127.0.0.1:" .. server.port, user or "hawser", "postgres")
  end

  before_each(function()
    m = hawser.new()
    postgres = connect()
  end)

  after_each(function()
    local stats = ledger.settled(postgres.upstream)
    m:close()
    ledger.is_at_rest(stats)
  end)

  it("answers a query with rows by column name", function()
    local rows, columns = postgres:query "select 1 as one, 'zwei' as two, null as three"
    assert.same({ "one", "two", "three" }, columns)
    assert.same({ { one = "1", two = "zwei" } }, rows)
  end)

  it("answers over a unix socket as well", function()
    local unix = connect("unix:" .. server.unix)
    assert.same({ { answer = "42" } }, (unix:query "select 42 as answer"))
    ledger.is_at_rest(ledger.settled(unix.upstream))
  end)

  it("answers with ten thousand rows", function()
    local rows = assert(postgres:query "select n, repeat('x', 100) as text from generate_series(1, 10000) as n")
    assert.equal(10000, #rows)
    assert.equal("10000", rows[10000].n)
    assert.equal(100, #rows[10000].text)
  end)

  it("tells what is wrong with a query, and the connection serves on", function()
    local rows, message = postgres:query "select nonsense"
    assert.is_nil(rows)
    assert.is_truthy(message:find "nonsense")
    assert.is_truthy(postgres:query "select 1")
    assert.equal(1, postgres.upstream:stats().created)
  end)

  it("refuses a user that it does not know, which is a failed dial with its reason", function()
    local stranger = connect(nil, "stranger")
    local rows, err = stranger:query "select 1"
    assert.is_nil(rows)
    assert.equal("SETUP", err.code)
    assert.is_truthy(err.message:find "stranger")
    ledger.is_at_rest(ledger.settled(stranger.upstream))
  end)

  it("sees as many sessions as limits.per_peer allows", function()
    local function count()
      return postgres:query "select count(*) as n from pg_stat_activity where backend_type = 'client backend'"
    end
    -- The sessions of earlier tests are closed on this side; the server takes a moment.
    repeat until count()[1].n == "1"

    postgres.upstream:update { limits = { per_peer = 3 } }
    local calls, most = {}, 0
    for i = 1, 30 do calls[i] = count end
    for _, outcome in ipairs(hawser.all(calls)) do most = math.max(most, tonumber(outcome[2][1].n)) end
    assert.is_true(most <= 3)
    assert.equal(3, ledger.settled(postgres.upstream).created)
  end)

  it("keeps transactions of two tasks apart", function()
    postgres:query "create table account (amount int); insert into account values (100)"
    local function withdraw()
      return postgres:query "begin; update account set amount = amount - 10; commit"
    end
    hawser.all { withdraw, withdraw, withdraw, withdraw }
    assert.equal("60", postgres:query("select amount from account")[1].amount)
    postgres:query "drop table account"
  end)

  it("ends a session whose task is canceled in the midst of a query", function()
    local sleeping = "select count(*) as n from pg_stat_activity where query like 'select pg_sleep%'"
    local sleepers
    hawser.run(function()
      local task = hawser.spawn(function() return postgres:query "select pg_sleep(600)" end)
      repeat sleepers = assert(postgres:query(sleeping))[1].n until sleepers == "1"
      task:cancel()
      task:join()
    end)
    local stats = ledger.settled(postgres.upstream)
    assert.equal(1, stats.created - stats.open)
    postgres:query "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'"
  end)

  it("is reconnected to after it has ended a session", function()
    local admin = connect("unix:" .. server.unix)
    local pid = postgres:query("select pg_backend_pid() as pid")[1].pid
    assert(admin:query(("select pg_terminate_backend(%s)"):format(pid)))
    hawser.run(function()
      repeat hawser.sleep(0) until postgres.upstream:stats().open == 0
    end)
    assert.are_not.equal(pid, postgres:query("select pg_backend_pid() as pid")[1].pid)
  end)
end)
