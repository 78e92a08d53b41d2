local near_first = require "hawser.balancer.near_first"

describe("balancer near_first", function()
  local function pick(us_load, eu_load)
    local peers = { { locality = "us", in_flight = us_load }, { locality = "eu", in_flight = eu_load } }
    return near_first.pick(near_first.new { locality = "eu", room = 2 }, peers).locality
  end
  it("prefers its own locality", function() assert.equal("eu", pick(0, 1)) end)
  it("leaves its locality when that is full", function() assert.equal("us", pick(1, 2)) end)
  it("stays when elsewhere is fuller still", function() assert.equal("eu", pick(5, 2)) end)
  it("needs a locality", function() assert.has_error(function() near_first.new {} end) end)
end)
