--- The pool's books: what must hold for the stats of an upstream whatever happened to it.
local hawser = require "hawser"
local assert = require "luassert"

local ledger = {}

local function sum(counters)
  local total = 0
  for _, count in pairs(counters) do total = total + count end
  return total
end

--- Holds at any moment: every connection that was ever open is open or was closed for a reason.
function ledger.balances(stats)
  assert.equal(stats.open, stats.created - sum(stats.closed), "created - closed = open")
  assert.equal(stats.open, stats.idle + stats.busy, "idle + busy = open")
end

--- Holds once everything that was asked for has ended: nothing is held, nobody waits.
function ledger.is_at_rest(stats)
  ledger.balances(stats)
  assert.equal(0, stats.busy, "no connection is busy")
  assert.equal(0, stats.dialing, "no dial is under way")
  assert.equal(0, stats.queued, "nobody waits")
  assert.equal(stats.requests, stats.ok + stats.failed, "each request ended once")
end

--- The stats of an upstream once the dials and setups that nobody waits for any more are over: they go on
-- without the request that they were begun for, to serve the next one. What never ends shows in them.
function ledger.settled(upstream)
  local patience = 2000
  local stats = upstream:stats()
  while stats.busy + stats.dialing > 0 and patience > 0 do
    hawser.sleep(0.005)
    patience = patience - 1
    stats = upstream:stats()
  end
  return stats
end

--- How often a connection was closed for `reason`; 0 when it never was.
function ledger.closed(stats, reason)
  return stats.closed[reason] or 0
end

return ledger
