--- Hands a message over to a mail server: SMTP on leases, inside TLS or not at all.
--     lua examples/smtp.lua PEER FROM TO [CA] <message
--     lua examples/smtp.lua tcp://mail.example.org:587 me@example.org you@example.org <letter.txt
-- CA is a file; without it the system's roots count. It takes servers that want no password.
local hawser = require "hawser"

local Smtp = {}
Smtp.__index = Smtp

-- A reply has a code and one line or more; all but the last say so by "-" (RFC 5321, 4.2.1).
local function read_reply(conn)
  local line
  repeat line = assert(conn:read "line") until line:sub(4, 4) ~= "-"
  return line
end

-- Sends a command and returns true if it is answered with `code`; else nil and the answer.
local function tell(conn, code, command, ...)
  assert(conn:write(command:format(...) .. "\r\n"))
  local reply = read_reply(conn)
  if reply:sub(1, 3) ~= code then return nil, reply end
  return true
end

-- Runs once for each new connection. What a server says of itself in the clear is not to be believed: whether it
-- offers STARTTLS is found out by asking for it, and inside TLS one begins anew (RFC 3207, 4.2).
local function greet(tls)
  return function(conn)
    local greeting = read_reply(conn)
    if greeting:sub(1, 3) ~= "220" then return false, greeting end
    local ok, why = tell(conn, "250", "EHLO localhost")
    if ok then ok, why = tell(conn, "220", "STARTTLS") end
    if ok then ok, why = conn:starttls(tls) end
    if ok then ok, why = tell(conn, "250", "EHLO localhost") end
    return ok, why and tostring(why)
  end
end

-- Lines end in CRLF, and those that begin with a dot get one more (RFC 5321, 4.5.2).
local function encode(message)
  return (message:gsub("\r?\n", "\r\n"):gsub("^%.", ".."):gsub("\n%.", "\n.."):gsub("\r\n$", "")) .. "\r\n."
end

--- Returns true, or nil and what the server or the network said.
function Smtp:send(from, to, message)
  return self.upstream:with(function(conn)
    local ok, why = tell(conn, "250", "MAIL FROM:<%s>", from)
    if ok then ok, why = tell(conn, "250", "RCPT TO:<%s>", to) end
    if ok then ok, why = tell(conn, "354", "DATA") end
    if ok then ok, why = tell(conn, "250", "%s", encode(message)) end
    if not ok then conn:close() end -- its transaction goes with it
    return ok, why
  end)
end

function Smtp.connect(m, peer, tls)
  return setmetatable({ upstream = m:upstream("mail at " .. peer, { peers = { peer }, setup = greet(tls) }) }, Smtp)
end

if not (arg and arg[0] and arg[0]:find "smtp%.lua$") then return Smtp end

local peer, from, to, ca = arg[1], arg[2], arg[3], arg[4]
assert(to, "usage: smtp.lua PEER FROM TO [CA] <message")
local ok, why = Smtp.connect(hawser.new(), peer, { ca = ca }):send(from, to, io.read "*a")
if not ok then
  io.stderr:write(tostring(why), "\n")
  os.exit(1, true)
end
print "sent"
