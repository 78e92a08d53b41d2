--- Follows redirects (RFC 9110, 15.4).
local core = require "hawser.core"

local redirect = {}

-- URLs (RFC 3986, 5.2) ---------------------------------------------------------------------------

local PORTS = { http = "80", https = "443" }

-- "http://host:port" with the port always there, and the rest; nil and the reference itself when it is relative.
local function split(url)
  local scheme, authority, rest = url:match "^(%a[%w+.-]*):(//[^/?#]*)(.*)$"
  if not scheme then
    local other = url:match "^(%a[%w+.-]*):"
    if other then return { scheme = other:lower(), authority = "" }, "" end -- mailto: and the like
    authority, rest = url:match "^(//[^/?#]*)(.*)$"
    if not authority then return nil, url end
  end
  return { scheme = scheme and scheme:lower(), authority = authority:sub(3):lower() }, rest
end

local function with_port(origin)
  if origin.authority:find ":%d+$" then return origin.authority end
  return origin.authority .. ":" .. (PORTS[origin.scheme] or "")
end

-- RFC 3986, 5.2.4; empty segments are segments, and each keeps the slash behind it.
local function without_dots(path)
  local segments = {}
  for segment, slash in path:sub(2):gmatch "([^/]*)(/?)" do
    if segment == ".." then
      table.remove(segments)
    elseif segment ~= "." then
      segments[#segments + 1] = segment .. slash
    end
    if slash == "" then break end
  end
  return "/" .. table.concat(segments)
end

-- The target that a reference without an origin means, seen from another target.
local function resolve(reference, base)
  local path, query = reference:match "^([^?#]*)([^#]*)"
  local base_path, base_query = base:match "^([^?#]*)([^#]*)"
  if path == "" then return base_path .. (query ~= "" and query or base_query) end
  if path:sub(1, 1) ~= "/" then path = (base_path:match "^(.*/)" or "/") .. path end
  return without_dots(path) .. query
end

-- Where the response sends us: another origin or the same one (nil), and the target there; nothing when that must not
-- be followed. `here` is the origin we came from; an upstream's peers are known by their addresses alone.
local function destination(location, here, target, res)
  local there, rest = split(location)
  if not there then return nil, resolve(rest, target) end
  there.scheme = there.scheme or here.scheme
  if not PORTS[there.scheme] or (here.scheme == "https" and there.scheme == "http") then return end
  local path = rest:sub(1, 1) == "/" and rest or "/" .. rest
  local our_address = here.authority and with_port(here) or res.peer:lower()
  if there.scheme == here.scheme and with_port(there) == our_address then there = nil end
  return there, resolve(path, "/")
end

-- The next request -------------------------------------------------------------------------------

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- 303 always means GET, and so do, as everybody does it, 301 and 302 after a POST.
local function becomes_get(status, method)
  return (status == 303 and method ~= "HEAD") or ((status == 301 or status == 302) and method == "POST")
end

local OF_BODY = { ["content-type"] = true, ["content-encoding"] = true, ["content-language"] = true }
-- What is meant for one origin alone.
local PRIVATE = { authorization = true, cookie = true, host = true, ["proxy-authorization"] = true }

-- The headers without the named ones, in the form they have: by name, or a list of pairs.
local function without(headers, names)
  local kept = {}
  if type(headers) == "table" and headers[1] ~= nil then
    for _, pair in ipairs(headers) do
      if not names[pair[1]:lower()] then kept[#kept + 1] = pair end
    end
  else
    for name, value in pairs(headers or {}) do
      if not names[name:lower()] then kept[name] = value end
    end
  end
  return kept
end

local function drop_body(request)
  request.method, request.body, request.json = "GET", nil, nil
  request.headers = without(request.headers, OF_BODY)
end

--- Asks as often as it is redirected, at most `request.redirects` times; then the redirect itself is the response.
-- @param object table the manager or upstream that is asked first
-- @param request table as object:request takes it; it is changed
-- @param manager table asked for other origins
-- @return table? res, table? err
function redirect.follow(object, request, manager)
  local left, timeout, started = request.redirects, request.timeout, core.now()
  local here, target = { scheme = "http" }, request.path
  if object == manager then
    here, target = split(target)
    if not here then return manager:request { path = request.path } end -- says what is wrong with it
  end
  request.redirects = nil
  while true do
    local res, err = object:request(request)
    local location = res and REDIRECTS[res.status] and left > 0 and res.headers.location
    if not location then return res, err end
    local there, next_target = destination(location, here, target, res)
    local keeps_body = not becomes_get(res.status, request.method)
    -- What a producer gave is gone.
    if not next_target or (keeps_body and type(request.body) == "function") then return res end
    res:close()

    if not keeps_body then drop_body(request) end
    if there then
      request.headers = without(request.headers, PRIVATE)
      object, here = manager, there
    end
    target = next_target
    request.path = object == manager and here.scheme .. "://" .. here.authority .. target or target
    if timeout then request.timeout = math.max(timeout - (core.now() - started), .001) end
    left = left - 1
  end
end

return redirect
