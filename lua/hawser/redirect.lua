--- Follows redirects (RFC 9110, 15.4).
local core = require "hawser.core"

local redirect = {}

-- URLs (RFC 3986, 5.2) ---------------------------------------------------------------------------

-- The scheme and authority of a URL, each nil where a reference leaves it out, and what comes behind them.
local function split(url)
  local scheme, rest = url:match "^(%a[%w+.-]*):(.*)$"
  rest = rest or url
  local authority, target = rest:match "^//([^/?#]*)(.*)$"
  return scheme and scheme:lower(), authority and authority:lower(), target or rest
end

local PORTS = { http = "80", https = "443" }

-- "host:port" with the port always there; nil when it is malformed or names a user.
local function with_port(authority, scheme)
  local host, port = authority:match "^(%[[%x:.]+%]):?(%d*)$"
  if not host then host, port = authority:match "^([^%s%c@:%[%]]+):?(%d*)$" end
  if not host or (port ~= "" and (tonumber(port) < 1 or tonumber(port) > 65535)) then return end
  return host .. ":" .. (port == "" and PORTS[scheme] or port)
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

-- An origin is { scheme, authority }.
local function is_same(one, other)
  return one[1] == other[1] and with_port(one[2], one[1]) == with_port(other[2], other[1])
end

-- Where a Location sends us from `here`, the origin that `target` was asked at: the origin and the target there; nil
-- when that cannot be followed, as out of TLS into the clear.
local function destination(location, here, target)
  local scheme, authority, rest = split(location)
  if location:find "[%s%c]" or (scheme and (not PORTS[scheme] or not authority)) then return end
  if not authority then return here, resolve(rest, target) end
  scheme = scheme or here[1]
  if not with_port(authority, scheme) or (here[1] == "https" and scheme ~= "https") then return end
  if rest:sub(1, 1) ~= "/" then rest = "/" .. rest end
  return { scheme, authority }, resolve(rest, "/")
end

-- What an upstream's peer of that id is asked as: what its URL says, not where it connects. One that has been replaced
-- meanwhile may have been secure.
local function origin_of(id, peers)
  for _, peer in ipairs(peers) do
    local scheme, authority = split(peer.url)
    local own_id = peer.id or (authority and with_port(authority, scheme))
    if own_id == (peer.id and id or id:lower()) then
      return { scheme == "https" and scheme or "http", authority or "localhost" }
    end
  end
  if id:find "^%%2F" then return { "http", "localhost" } end -- a Unix socket's path
  return { "https", id:lower() }
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

local function host_of(headers)
  for name, value in pairs(headers or {}) do
    if type(name) == "number" then name, value = value[1], value[2] end
    if name:lower() == "host" then return tostring(type(value) == "table" and value[1] or value):lower() end
  end
end

local function drop_body(request)
  request.method, request.body, request.json = "GET", nil, nil
  request.headers = without(request.headers, OF_BODY)
end

--- Asks as often as it is redirected, at most `request.redirects` times; a redirect not followed is the response.
-- @param object table the manager or upstream that is asked first
-- @param request table as object:request takes it, with the `timeout` for all of it; it is changed
-- @param manager table asked for other origins
-- @param peers table[]? those of the upstream, as options.upstream returns them
-- @return table? res, table? err
function redirect.follow(object, request, manager, peers)
  local left, timeout, started = request.redirects, request.timeout, core.now()
  local connected, target = nil, request.path -- the origin that the manager was asked for
  if object == manager then
    local scheme, authority, rest = split(target)
    if not authority then return manager:request { path = request.path } end -- says what is wrong with it
    connected, target = { scheme, authority }, rest
  end
  request.redirects = nil
  while true do
    local res, err = object:request(request)
    local location = res and REDIRECTS[res.status] and left > 0 and res.headers.location
    if not location then return res, err end
    local asked = connected or origin_of(res.peer, peers)
    local here = { asked[1], host_of(request.headers) or asked[2] }
    local there, next_target = destination(location, here, target)
    local keeps_body = not becomes_get(res.status, request.method)
    -- What a producer gave is gone.
    if not there or (keeps_body and type(request.body) == "function") then return res end
    res:close()

    if not keeps_body then drop_body(request) end
    if not is_same(there, here) then
      request.headers = without(request.headers, PRIVATE)
      object, connected = manager, there
    end
    target = next_target
    request.path = object == manager and connected[1] .. "://" .. connected[2] .. target or target
    if timeout then request.timeout = math.max(timeout - (core.now() - started), .001) end
    left = left - 1
  end
end

return redirect
