--- Keeps to peers of one locality while the lightest of them has room; else the lightest of all.
-- Crossing it costs latency and money, but less than queueing does.
local hawser = require "hawser"

local function lighter(a, b) return (not a or b.in_flight < a.in_flight) and b or a end

return hawser.policy { kind = "balancer", name = "near_first",
  --- @param config { locality: string, room?: integer } room: requests in flight that one peer may have
  new = function(config)
    return { locality = assert(config.locality, "near_first needs a locality"), room = config.room or 8 }
  end,

  --- @param peers hawser.Peer[] those that may take a request now; never empty
  --- @return hawser.Peer
  pick = function(self, peers)
    local near, any
    for _, peer in ipairs(peers) do
      any = lighter(any, peer)
      if peer.locality == self.locality then near = lighter(near, peer) end
    end
    return near and near.in_flight < self.room and near or any
  end }
