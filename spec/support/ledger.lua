--- The pool's books: what must hold for the stats of an upstream whatever happened to it.
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

--- How often a connection was closed for `reason`; 0 when it never was.
function ledger.closed(stats, reason)
  return stats.closed[reason] or 0
end

return ledger
