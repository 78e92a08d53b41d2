rockspec_format = "3.0"
package = "hawser-near-first"
version = "scm-1"
source = { url = "git+https://example.org/hawser-near-first.git" }
description = { summary = "A balancer for hawser that prefers peers of one locality", license = "MIT" }
dependencies = { "lua >= 5.1", "hawser" }
build = {
  type = "builtin",
  modules = { ["hawser.balancer.near_first"] = "lua/hawser/balancer/near_first.lua" },
}
