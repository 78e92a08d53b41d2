--- The other side of yamux: sessions on leased connections, whose peer is hashicorp's own implementation.
local hawser = require "hawser"
local ledger = require "spec.support.ledger"
local servers = require "spec.support.servers"

describe("a yamux session", function()
  local yamuxd, m, raw

  lazy_setup(function() yamuxd = servers.yamuxd() end)
  lazy_teardown(function() yamuxd:stop() end)

  before_each(function()
    m = hawser.new()
    raw = m:upstream("raw", { peers = { "tcp://127.0.0.1:" .. yamuxd.client } })
  end)

  after_each(function()
    local stats = ledger.settled(raw)
    m:close()
    ledger.is_at_rest(stats)
  end)

  -- The peer opens a stream first, and does what it is told there.
  local function serve(what)
    local session = assert(hawser.yamux(assert(raw:acquire()), { server = true }))
    local orders = assert(session:accept())
    assert(orders:write(what .. "\n"))
    return session, orders
  end

  local function echo(conn)
    while true do
      local chunk, err = conn:read "some"
      assert.is_nil(err)
      if not chunk then break end
      assert(conn:write(chunk))
    end
    assert(conn:finish())
    assert.is_true(conn:release())
  end

  it("accepts 50 streams at once, each with a mebibyte both ways", function()
    hawser.run(function()
      local session, orders = serve "dial 50 1048576"
      local tasks = {}
      for i = 1, 50 do tasks[i] = hawser.spawn(echo, assert(session:accept())) end
      assert.equal("OK 50", orders:read "line")
      for _, task in ipairs(tasks) do assert.is_true(task:join()) end
      assert.equal(1, session.streams)
      orders:close()
      assert.equal(0, session.streams)
      assert.is_true(session:close())
    end)
    assert.equal(1, raw:stats().requests)
    assert.equal(1, raw:stats().created)
  end)

  it("accepts one stream after the other", function()
    hawser.run(function()
      local session, orders = serve "serial 100 100"
      for _ = 1, 100 do echo(assert(session:accept())) end
      assert.equal("OK 100", orders:read "line")
      session:close()
      orders:close()
    end)
  end)

  it("opens streams as well, as either side", function()
    for side, port in pairs { client = yamuxd.server, server = yamuxd.client } do
      raw:update { peers = { "tcp://127.0.0.1:" .. port } }
      hawser.run(function()
        local session = assert(hawser.yamux(assert(raw:acquire()), { server = side == "server" }))
        -- Go's client is told what to do on its own stream; its server, on ours.
        local orders = side == "server" and assert(session:accept()) or assert(session:open_stream())
        assert(orders:write "dial 3 1000\n")
        for _ = 1, 3 do echo(assert(session:accept(10))) end
        assert.equal("OK 3", orders:read "line")
        if side == "client" then
          local tasks = {}
          for i = 1, 20 do
            tasks[i] = function()
              local conn = assert(session:open_stream())
              assert(conn:write("echo\nhello " .. i .. "\n"))
              local line = conn:read "line"
              conn:release()
              return line
            end
          end
          for i, result in ipairs(hawser.all(tasks)) do assert.equal("hello " .. i, result[2]) end
        end
        session:close()
        orders:close()
      end)
    end
  end)

  it("is spoken over unix and tls as well", function()
    local front = servers.tls_front(yamuxd.client)
    local peers = { tls = "tls://127.0.0.1:" .. front.port, unix = "unix:" .. yamuxd.unix }
    for transport, peer in pairs(peers) do
      local is_server = transport == "tls"
      raw:update { peers = { peer }, tls = { ca = servers.certificate "root.pem", server_name = "localhost" } }
      hawser.run(function()
        local session = assert(hawser.yamux(assert(raw:acquire()), { server = is_server }))
        local orders = is_server and assert(session:accept()) or assert(session:open_stream())
        assert(orders:write "dial 5 100000\n")
        local tasks = {}
        for i = 1, 5 do tasks[i] = hawser.spawn(echo, assert(session:accept())) end
        assert.equal("OK 5", orders:read "line")
        for _, task in ipairs(tasks) do assert.is_true(task:join()) end
        orders:release()
        session:close()
      end)
    end
    front:stop()
  end)

  it("half-closes both ways", function()
    hawser.run(function()
      local session, orders = serve "sink"
      assert(orders:write "12345")
      assert(orders:finish())
      assert.matches("^5 %d+\n$", assert(orders:read "all"))
      orders:release()
      session:close()

      session, orders = serve "half"
      assert.equal("bye\n", orders:read "all")
      assert(orders:write "to nobody")
      orders:close()
      session:close()
    end)
  end)

  it("resets one stream without the others", function()
    hawser.run(function()
      local session, orders = serve "dial 2 1000"
      local lost, kept = assert(session:accept()), assert(session:accept())
      lost:close()
      echo(kept)
      assert.matches("reset", assert(orders:read "line")) -- what the peer saw of the first
      session:close()
      orders:close()
    end)
  end)

  it("goes on with what is open when the peer goes away", function()
    hawser.run(function()
      local session, orders = serve "goaway"
      assert.equal("going", orders:read "line")
      local conn, err = session:open_stream()
      assert.is_nil(conn)
      assert.same({ "reset", "GOAWAY" }, { err.kind, err.code })
      assert(orders:write "still there\n")
      assert.equal("still there", orders:read "line")
      orders:release()
      session:close()
    end)
  end)

  it("takes no more when it is closed, and what is open ends", function()
    hawser.run(function()
      local session, orders = serve "echo"
      local waiting = hawser.spawn(session.accept, session)
      local reading = hawser.spawn(orders.read, orders, "line")
      hawser.sleep(0)
      assert.is_true(session:close())
      assert.is_true(session:close())
      for _, task in ipairs { waiting, reading } do
        local _, conn, err = task:join()
        assert.is_nil(conn)
        assert.equal("closed", err.kind)
      end
      local conn, err = session:accept()
      assert.is_nil(conn)
      assert.equal("closed", err.kind)
      assert.is_nil(session.streams)
      orders:close()
    end)
  end)

  it("ends when the peer closes it", function()
    hawser.run(function()
      local session, orders = serve "close" -- with that very stream open
      local conn, err = session:accept()
      assert.is_nil(conn)
      assert.equal("reset", err.kind)
      local text
      text, err = orders:read "all"
      assert.is_nil(text)
      assert.equal("reset", err.kind)
      orders:close()
      session:close()
    end)
  end)

  it("waits in every form", function()
    local session, orders = serve "dial 3 10" -- blocking
    local accepted = {}
    local handle = session:accept(5, function(conn, err) accepted[#accepted + 1] = conn or err end)
    assert.is_function(handle.cancel)
    session:accept(function(conn, err) accepted[#accepted + 1] = conn or err end)
    hawser.run()
    assert.equal(2, #accepted)
    accepted[3] = assert(session:accept())
    for _, conn in ipairs(accepted) do
      local bytes = assert(conn:read(10))
      assert(conn:write(bytes))
    end
    assert.equal("OK 3", orders:read "line")
    for _, conn in ipairs(accepted) do conn:release() end
    orders:release()
    session:close()
  end)

  it("stops waiting in time, or when it is canceled", function()
    local session, orders = serve "echo"
    local conn, err = session:accept(0.01)
    assert.is_nil(conn)
    assert.equal("timeout", err.kind)
    local outcome
    session:accept(function(_, why) outcome = why.kind end):cancel()
    hawser.run(function()
      local task = hawser.spawn(session.accept, session)
      hawser.sleep(0)
      task:cancel()
      assert.is_nil((task:join()))
    end)
    hawser.sleep(0)
    assert.equal("canceled", outcome)
    -- It is as good as ever.
    assert(orders:write "hello\n")
    assert.equal("hello", orders:read "line")
    orders:release()
    session:close()
  end)

  it("is closed and reported when it is lost", function()
    local leaks = {}
    m:on("leak", function(e) leaks[#leaks + 1] = e end)
    local orders
    do
      local _
      _, orders = serve "echo"
    end
    local patience = 100
    while #leaks == 0 and patience > 0 do
      collectgarbage()
      hawser.sleep(0)
      patience = patience - 1
    end
    assert.equal("session", leaks[1].reason)
    assert.matches("yamux_session_spec.lua:%d+", leaks[1].text)
    local _, err = orders:read "line"
    assert.equal("closed", err.kind)
    orders:close()
  end)

  it("ends with its upstream, and a drain waits for it", function()
    hawser.run(function()
      local session, orders = serve "echo"
      local draining = hawser.spawn(raw.drain, raw, 60)
      hawser.sleep(0)
      assert(orders:write "hello\n")
      assert.equal("hello", orders:read "line")
      orders:release()
      session:close()
      assert.same({ true, true }, { draining:join() })
    end)
    hawser.run(function()
      local other = m:upstream("other", { peers = { "tcp://127.0.0.1:" .. yamuxd.client } })
      local session = assert(hawser.yamux(assert(other:acquire()), { server = true }))
      local waiting = hawser.spawn(session.accept, session, 60)
      local orders = select(2, waiting:join())
      waiting = hawser.spawn(session.accept, session)
      hawser.sleep(0)
      other:close()
      local _, conn, err = waiting:join()
      assert.is_nil(conn)
      assert.equal("closed", err.kind)
      orders:close()
      session:close()
    end)
  end)
end)
