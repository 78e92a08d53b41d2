--- Asserts that a mistake of the caller's raises at the caller's line: the first line of `fn` that calls anything.
-- luassert's own assertions drop the position, which is part of what is promised.
local assert = require "luassert"

--- @param pattern string? of the message behind the position
--- @param fn function that makes the mistake directly
return function(pattern, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok, "it did not raise")
  assert.equal("string", type(message))
  local position, text = message:match "^([^:]+_spec%.lua:%d+): (.*)$"
  assert.is_truthy(position, "not at the caller's line: " .. message)
  if pattern then assert.is_truthy(text:find(pattern), text) end
  return text
end
