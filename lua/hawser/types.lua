---@meta hawser
-- What hawser offers, for lua-language-server. This file is never run: editors read it. Times are
-- seconds, sizes are bytes. What fails at run time returns `nil, err`; a mistake of the caller raises.
-- spec/docs_spec.lua holds it against the module itself.

-- Errors and events ----------------------------------------------------------------------------------

---Decide by it. The list is fixed.
---@alias hawser.Kind
---| "resolve"     # the name has no address, or the look-up failed
---| "refused"     # nobody listens there
---| "connect"     # any other failed dial
---| "timeout"     # a deadline passed; `phase` says where
---| "tls"         # handshake, verification, record layer
---| "protocol"    # the peer broke the protocol
---| "reset"       # the peer closed or reset the connection early
---| "closed"      # closed on this side: manager, upstream, lease, stream or response
---| "overload"    # the queue is full, or timeouts.queue has passed
---| "limit"       # one of our size bounds
---| "breaker_open" # no peer may be tried now: their breakers are open
---| "no_peer"     # the upstream has no peers
---| "canceled"    # by the caller
---| "invalid"     # data that cannot be sent
---| "unsupported" # not on this protocol
---| "nomem"       # out of memory

---How far a call had come.
---@alias hawser.Phase
---| "queue"
---| "resolve"
---| "connect"
---| "tls"
---| "send"
---| "headers"
---| "body"

---Seconds spent in each phase.
---@class hawser.Spans
---@field queue? number
---@field resolve? number
---@field connect? number
---@field tls? number
---@field send? number
---@field headers? number
---@field body? number

---@class hawser.Attempt: hawser.Spans
---@field peer? string id; nil when it came to none
---@field class "unsent"|"sent"|"answered"|"stale" how far it came
---@field verdict "done"|"replayed"|"go"|"failed"|"off"|"unsafe"|"not_on"|"attempts"|"deadline"|"budget" what followed, or why nothing did
---@field reused boolean on a pooled connection
---@field age? number seconds that this had been idle
---@field kind? hawser.Kind how it failed
---@field code? string
---@field status? integer of its response

---@class hawser.Trace: hawser.Spans
---@field attempts hawser.Attempt[]

---What went wrong. `tostring(err)` is one line for a log.
---@class hawser.Error
---@field kind hawser.Kind decide by it
---@field code string the finer cause: "ECONNRESET", "QUEUE_FULL", "CHUNK"...
---@field message string for people
---@field phase? hawser.Phase how far it had come; nil for what goes to no peer
---@field peer? string id of the peer tried last
---@field attempts integer attempts that got a connection or a dial
---@field sent boolean false: no byte of it can have reached a peer
---@field retryable boolean it may be sent again without being done twice
---@field retry_in? number seconds after which another try may be worth it; with `overload` and `breaker_open`
---@field trace? hawser.Trace of a request or an acquisition
---@field partial? string of a read on a lease: the bytes that came and were not read

---@alias hawser.EventName
---| "connect"     # a connection was established
---| "close"       # one was closed; `reason` says why
---| "leak"        # a lease, a stream, a session or a streaming response was collected unreleased
---| "stale_reuse" # a reused connection turned out to be dead
---| "retry"       # an attempt has failed with `reason`; another follows in `delay`
---| "policy_error" # a scripted policy failed: the built-in one decided
---| "breaker"     # a peer's breaker came into the state that `reason` names
---| "drain"       # a drain began (`reason` "begin") or ended ("end")
---| "error"       # a callback, a task that nobody joins, or a setup raised

---Why a connection was closed.
---@alias hawser.CloseReason
---| "idle"       # unused for longer than it may be kept
---| "lifetime"   # older than timeouts.lifetime
---| "evicted"    # its place was needed for another one
---| "surplus"    # over a limit that was lowered, or its peer was removed
---| "moved"      # the peer's name does not lead to its address any more
---| "peer"       # the peer closed or reset it while it was idle
---| "stale"      # found dead when it was to be reused
---| "unexpected" # bytes came that nothing had asked for
---| "last"       # its user or the protocol allows no further use
---| "failed"     # it broke, or broke the protocol, or fell silent while in use
---| "abandoned"  # its user gave up in the midst of an exchange
---| "shutdown"   # upstream or manager closed

---What the function of `m:on` gets.
---@class hawser.Event
---@field event hawser.EventName
---@field at number seconds on the clock of `hawser.now()`
---@field upstream? string the upstream's name
---@field peer? string the peer's id
---@field reason? hawser.CloseReason|"open"|"half_open"|"closed"|string
---@field attempt? integer of event `retry`: how many attempts there were
---@field delay? number of event `retry`: seconds until the next one
---@field age? number seconds for which the connection had been idle
---@field text? string where a lease was acquired; what an error said
---@field error? any of event `error`: what was raised
---@field resumed? boolean of event `connect`: its TLS handshake was a resumed one

-- Options --------------------------------------------------------------------------------------------

---Hard caps.
---@class hawser.Limits
---@field connections? integer 1 to 1000000, default 256: connections of an upstream, dialling ones included
---@field per_peer? integer 1 to 1000000, default 64: connections of a peer, dialling ones included
---@field dials? integer 1 to 1000000, default 16: dials to a peer at once
---@field streams? integer 1 to 1000000, default 100: at once on a connection that takes many
---@field pending? integer 0 to 1000000, default 1024: calls that wait in the queue
---@field header? integer bytes, 256 to 16777216, default 65536: a response's header block, or its trailers
---@field body? integer bytes, 1 to 2^50, default 67108864: a response body that is not streamed
---@field buffer? integer bytes, 4096 to 1073741824, default 262144: unread or unwritten, per connection and direction

---In seconds, above 0; false for no limit.
---@class hawser.Timeouts
---@field resolve? number|false default 5: looking a name up, until there is an address to connect to
---@field connect? number|false default 3: a dial; and anew the setup of a raw connection
---@field tls? number|false default 5: a TLS handshake
---@field queue? number|false default 5: waiting for a connection
---@field request? number|false default 30: a whole call; when streaming, up to the headers
---@field attempt? number|false default none: one attempt, from when it has a connection
---@field read? number|false default 30: any silent wait for bytes
---@field idle? number|false default `pool_timeout`: how long an idle connection is kept
---@field lifetime? number|false default 1800, 10 % more or less: then a connection takes no new work
---@field drain? number|false default 30: drains that name no time of their own

---Whom to trust and what to offer. Each of ca, cert, key and crl is a file's path or PEM text.
---@class hawser.TLSOptions
---@field ca? string who is trusted instead of the system's roots
---@field cert? string our certificate, with its chain behind it; needs `key`
---@field key? string its private key, not encrypted
---@field crl? string revocation lists
---@field server_name? string whom the certificate must name, and the SNI; default the URL's host
---@field alpn? string[] protocols to offer, 1 to 16; default as `protocol` wants, none where raw
---@field min? "1.2"|"1.3" default "1.2"; "1.3" raises where the engine has none
---@field verify? boolean default true; false: whoever answers is trusted

---Of connections with many streams: windows in bytes, 65535 to 2147483647, and seconds.
---@class hawser.H2
---@field window? integer default 1048576: what may come unread of each stream, at first
---@field window_max? integer default 16777216: and how far that may grow
---@field connection_window? integer default 16777216: of all streams of a connection, at first
---@field connection_window_max? integer default 67108864: and how far that may grow
---@field ping_idle? number|false default 30: silence after which a sign of life is asked for
---@field ping_timeout? number default 15: how long it may take

---How names are looked up.
---@class hawser.Dns
---@field servers? string[] default the system's: addresses, each perhaps with :port
---@field search? string[] default the system's: domains that a name without a dot is tried in
---@field ttl_min? number default 1: addresses are kept at least that long
---@field ttl_max? number default 300: and at most that long

---Which peer serves next.
---@alias hawser.Balancer
---| "least_request" # of two by chance, the one with less in flight for its weight
---| "peak_ewma"     # of two by chance, the one that should answer sooner
---| "round_robin"   # each in turn
---| "weighted"      # each in turn, smoothly by weight
---| "random"        # by chance and weight

---After what a request goes again, where it may.
---@alias hawser.RetryOn
---| "connect"  # resolve, refused, connect, handshakes cut short, and timeouts of these
---| "resolve"
---| "refused"
---| "timeout"
---| "tls"
---| "reset"
---| "overload"

---Seconds before the next attempt: base, doubled each time, at most max, and chance in it.
---@class hawser.Backoff
---@field base? number above 0, to 3600, default 0.05
---@field max? number base to 3600, default 2
---@field jitter? "full"|"equal"|"decorrelated" default "full"

---How many retries an upstream may make.
---@class hawser.Budget
---@field share? number 0 to 1, default 0.2: of the requests in the last 10 seconds
---@field floor? integer 0 to 1000000, default 10: each second, on top

---Whether another attempt follows a failed one, and when.
---@class hawser.Retry
---@field attempts? integer 1 to 10, default 3: in all, the first one included
---@field on? (hawser.RetryOn|integer)[] kinds and statuses, default { "connect", "reset", 502, 503, 504 }
---@field backoff? hawser.Backoff
---@field budget? false|hawser.Budget

---When a peer is given a rest, and for how long. Times are seconds.
---@class hawser.Breaker
---@field consecutive? integer|false 1 to 1000000, default 5: failures in a row that open it
---@field failure_rate? number|false above 0, to 1, default 0.5: the share of failures that opens it
---@field min_calls? integer 1 to 1000000, default 20: in the window, below which no share counts
---@field window? number 0.001 to 86400, default 10
---@field slow_after? number|false default none: a call that takes longer is slow
---@field slow_rate? number above 0, to 1, default 1: the share of slow calls that opens it
---@field open_for? number default 5: how long it is open; doubled each time that a trial fails
---@field open_max? number default 60: and at most that long
---@field probes? integer 1 to 1000, default 3: trials at once, and the successes that close it

---Which idle connections a request may take.
---@alias hawser.Reuse
---| "safe"   # one that may not be sent twice takes only what is surely alive
---| "always" # any
---| "never"  # a fresh one each time

---@class hawser.ManagerOptions
---@field max_connections? integer 1 to 1000000, default half of the descriptor limit: of all upstreams
---@field pool_timeout? number|false seconds, default 300: how long an idle connection is kept
---@field limits? hawser.Limits of its upstreams, unless they say otherwise
---@field timeouts? hawser.Timeouts of its upstreams, unless they say otherwise
---@field dns? hawser.Dns of its upstreams, unless they say otherwise
---@field reuse? hawser.Reuse default "safe": of its upstreams, unless they say otherwise
---@field retry? false|hawser.Retry of its upstreams, field by field
---@field breaker? false|hawser.Breaker of its upstreams, field by field
---@field tls? hawser.TLSOptions of its upstreams, field by field
---@field metrics? boolean default true: gathers what `m:get_metrics()` gives
---@field window_memory? integer bytes, 65536 to 2^50, default 268435456: what may come unread on all connections with many streams
---@field seed? integer 0 to 2^53: makes every decision that is left to chance repeatable
---@field log? fun(level: "error"|"warn", message: string, fields: hawser.Event)

---@class hawser.PeerOptions
---@field [1] string "http://host:port", "https:", "h2c:", "tcp:" or "tls:" likewise, or "unix:/path"
---@field id? string its identity, without "/"; default host:port
---@field address? string where to connect instead: "host:port" or "unix:/path"
---@field weight? number above 0, at most 1e6, default 1: its share of the requests
---@field priority? integer default 0: peers of a higher number serve only when no lower one can
---@field locality? string carried for balancers of your own
---@field tags? table carried for balancers of your own

---@class hawser.UpstreamOptions
---@field peers? (string|hawser.PeerOptions)[]
---@field protocol? "auto"|"http1"|"h2"|"h2c"|"raw"|"yamux" default "auto": by scheme, and for https: as the peer says
---@field limits? hawser.Limits
---@field timeouts? hawser.Timeouts
---@field dns? hawser.Dns
---@field reuse? hawser.Reuse
---@field balancer? hawser.Balancer|hawser.Policy|hawser.Pick default "least_request"
---@field retry? false|hawser.Retry|hawser.Policy|hawser.Decide field by field; the others are the manager's
---@field breaker? false|hawser.Breaker|hawser.Policy|hawser.Record likewise
---@field h2? hawser.H2
---@field tls? hawser.TLSOptions field by field; the others are the manager's
---@field setup? false|fun(conn: hawser.Conn): boolean?, any raw only; a task that prepares each new connection

---@alias hawser.PolicyKind "balancer"|"retry"|"breaker"

---A policy by its name, for which hawser.KIND.NAME is required; the same with options for its `new`; or itself.
---@alias hawser.Policy string|{ [1]: string, [string]: any }|hawser.Plugin

---A policy without state. Nil: no opinion; false: none of them, wait in the queue.
---@alias hawser.Pick fun(peers: hawser.Peer[], ctx: hawser.Decision): hawser.Peer|false|nil
---Seconds until another attempt; nil: none.
---@alias hawser.Decide fun(ctx: hawser.Decision, outcome: hawser.Outcome): number|false|nil
---Whether the breaker opens, and for how many seconds; nil: no opinion.
---@alias hawser.Record fun(peer: hawser.Peer, outcome: hawser.Outcome, ctx: hawser.Decision): "open"|"closed"|nil, number?

---What hawser.policy checks: one of pick, decide and record, as its kind says; anything else may be left out.
---@class hawser.Plugin
---@field kind hawser.PolicyKind
---@field name string
---@field pick? fun(self: any, peers: hawser.Peer[], ctx: hawser.Decision): hawser.Peer|false|nil
---@field decide? fun(self: any, ctx: hawser.Decision, outcome: hawser.Outcome): number|false|nil
---@field record? fun(self: any, peer: hawser.Peer, outcome: hawser.Outcome, ctx: hawser.Decision): "open"|"closed"|nil, number?
---@field new? fun(config: table): any a table or userdata: the `self` of the others
---@field update? fun(self: any, peers: hawser.Peer[]) all peers: at first and whenever they change
---@field done? fun(self: any, peer: hawser.Peer, outcome: hawser.Outcome)
---@field migrate? fun(self: any, old: any) before it takes the place of one whose `self` was `old`
---@field close? fun(self: any)

---A peer as policies see it; may be kept. Once it has gone only id, address, locality and tags are left.
---@class hawser.Peer
---@field id string
---@field address string
---@field locality? string
---@field tags? table
---@field weight number
---@field in_flight integer attempts at it, dials for them included
---@field connections integer open and dialling
---@field idle integer of them, without anything in flight
---@field latency? number seconds, a fading average; nil while nothing is known
---@field p99? number seconds
---@field success_rate number 0 to 1
---@field score number 0 to 1; 1 is best
---@field state "healthy"|"unhealthy"|"draining"
---@field breaker hawser.BreakerState
---@field since number when that began, on the clock of hawser.now()

---What a policy decides about. It says nothing but while the policy runs.
---@class hawser.Decision
---@field method? string of a request, as the next two are
---@field path? string with its query
---@field headers? table<string, string> the first value of each, by its name in small letters
---@field priority? integer of a request: 0, the most urgent, to 7
---@field attempt? integer the present one, from 1 on
---@field tried string[] ids of peers that this call was tried at before
---@field deadline? number of the whole call, on the clock of hawser.now()
---@field upstream string its name
---@field now number
---@field random fun(n: integer): integer draws from 1 to n, from the manager's seed

---How an attempt ended. It says nothing but while the policy runs.
---@class hawser.Outcome
---@field ok boolean it does not count against the peer
---@field kind? hawser.Kind
---@field status? integer
---@field latency? number seconds from sending on
---@field bytes number of the response's body
---@field peer? string its id
---@field attempt integer
---@field sent boolean something may have reached the peer
---@field retry_after? number seconds that the response asks for

---A string, a list of strings, or a producer: called for the next piece, nil at the end.
---@alias hawser.Body string|string[]|fun(): string?

---A table by name, or a list of pairs where the order matters.
---@alias hawser.HeaderOptions table<string, string|number|(string|number)[]>|{ [1]: string, [2]: string|number|(string|number)[] }[]

---@class hawser.RequestOptions
---@field headers? hawser.HeaderOptions
---@field body? hawser.Body
---@field query? table<string, string|number|boolean|(string|number|boolean)[]>|string appended to the path; a table is escaped
---@field json? any sent as JSON; needs dkjson
---@field timeout? number|false seconds, instead of timeouts.request
---@field stream? boolean return at the headers
---@field idempotent? boolean whether it may be sent twice; without it the method says so
---@field retry? false|hawser.Retry field by field; the others are the upstream's
---@field priority? integer 0, the most urgent, to 7, default 3
---@field max_body? integer bytes, instead of limits.body
---@field redirects? integer to follow, 0 to 100, default 0

---@class hawser.WholeRequestOptions : hawser.RequestOptions
---@field method? string default "GET"
---@field path? string the path; on a manager, the URL
---@field url? string the same as `path`

---@class hawser.StreamOptions
---@field method? string default "POST"
---@field path? string default "/"
---@field query? table<string, string|number|boolean|(string|number|boolean)[]>|string appended to the path
---@field headers? hawser.HeaderFields
---@field priority? integer 0, the most urgent, to 7, default 3
---@field timeout? number|false seconds for the whole stream; without it timeouts.request bounds the opening

---@class hawser.AcquireOptions
---@field timeout? number|false seconds, instead of timeouts.request

---@alias hawser.OnResponse fun(res?: hawser.Response, err?: hawser.Error)
---@alias hawser.OnDone fun(ok?: true, err?: hawser.Error)

-- Requests: on managers with URLs, on upstreams with paths -------------------------------------------

---@class hawser.Requests
local Requests = {}

---Waits for the response. With `fn` it returns a handle at once.
---@param target string a path; on a manager, a URL
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, fn: hawser.OnResponse): hawser.Handle
---@overload fun(self, target: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:get(target, options, fn) end

---@param target string a path; on a manager, a URL
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, fn: hawser.OnResponse): hawser.Handle
---@overload fun(self, target: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:head(target, options, fn) end

---@param target string a path; on a manager, a URL
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, fn: hawser.OnResponse): hawser.Handle
---@overload fun(self, target: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:delete(target, options, fn) end

---@param target string a path; on a manager, a URL
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, fn: hawser.OnResponse): hawser.Handle
---@overload fun(self, target: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:options(target, options, fn) end

---A function in place of the body is a producer, never the callback.
---@param target string a path; on a manager, a URL
---@param body? hawser.Body
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, body: hawser.Body?, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:post(target, body, options, fn) end

---@param target string a path; on a manager, a URL
---@param body? hawser.Body
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, body: hawser.Body?, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:put(target, body, options, fn) end

---@param target string a path; on a manager, a URL
---@param body? hawser.Body
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, target: string, body: hawser.Body?, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function Requests:patch(target, body, options, fn) end

---Any method but CONNECT.
---@param options hawser.WholeRequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(self, options: hawser.WholeRequestOptions, fn: hawser.OnResponse): hawser.Handle
function Requests:request(options, fn) end

-- Managers -------------------------------------------------------------------------------------------

---@alias hawser.Status "connecting"|"connected"|"disconnecting"|"disconnected"|"failed"
---@alias hawser.BreakerState "closed"|"open"|"half_open"

---@class hawser.ConnectionInfo
---@field age number seconds since it was established
---@field requests integer requests and leases begun on it
---@field bytes_in integer without what TLS adds
---@field bytes_out integer likewise
---@field protocol "http/1.1"|"h2"|"raw"|"yamux"
---@field tls? string "1.3"
---@field cipher? string
---@field rtt? number seconds
---@field idle boolean whether nothing is on it

---@class hawser.ConnectionLimits : hawser.Limits
---@field max_connections? integer 1 to 1000000: of all upstreams

---In seconds; 0 while there is none.
---@class hawser.Latency
---@field count integer
---@field average number
---@field peak number
---@field p50 number to 1 %, as those below
---@field p95 number
---@field p99 number

---@class hawser.LatencyMetrics : hawser.Latency
---@field phases table<hawser.Phase, hawser.Latency>
---@field upstreams? table<string, hawser.LatencyMetrics>
---@field peers? table<string, hawser.LatencyMetrics> of an upstream

---By seconds (1, 10, 60): per second, the mean of so many.
---@class hawser.Flow
---@field total integer
---@field [integer] number

---@class hawser.ThroughputMetrics
---@field exchanges hawser.Flow attempts of requests, and leases
---@field bytes_in hawser.Flow without what TLS adds
---@field bytes_out hawser.Flow likewise
---@field upstreams? table<string, hawser.ThroughputMetrics>
---@field peers? table<string, hawser.ThroughputMetrics> of an upstream

---@class hawser.QueueMetrics
---@field size integer how many wait
---@field max integer the most that may
---@field high_water integer the most that ever did
---@field wait hawser.Latency
---@field upstreams? table<string, hawser.QueueMetrics>

---@class hawser.Metrics
---@field queue hawser.QueueMetrics
---@field latency hawser.LatencyMetrics
---@field throughput hawser.ThroughputMetrics
---@field connections hawser.Stats
---@field retries { made: integer, replayed: integer, refused: table<string, integer>, budget_left?: integer }
---@field breakers { opened: integer, closed: integer, open: integer, half_open: integer }
---@field policy_errors integer faults of scripted policies
---@field upstreams? table<string, hawser.Metrics>
---@field peers? table<string, table> of an upstream

---Owns connections, of all its upstreams under one cap.
---@class hawser.Manager : hawser.Requests
local Manager = {}

---With options it makes an upstream, and raises when the name is taken; without, it finds one.
---@param name string 1 to 255 bytes
---@param options hawser.UpstreamOptions
---@return hawser.Upstream? upstream
---@return hawser.Error? err kind `closed`
---@overload fun(self, name: string): hawser.Upstream?
function Manager:upstream(name, options) end

---Calls `fn` each time the event happens.
---@param event hawser.EventName
---@param fn fun(e: hawser.Event)
---@return integer? id for `off`
---@return hawser.Error? err kind `closed`
function Manager:on(event, fn) end

---@param id integer
---@return boolean was_there
function Manager:off(id) end

---Gauges and counters of all its upstreams, those that are gone included.
---@return hawser.Stats? stats
---@return hawser.Error? err kind `closed`, in a forked child
function Manager:stats() end

---Makes sure that there is a connection to the peer, at one attempt.
---@param peer string "upstream/id", or its address
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err
---@overload fun(self, peer: string, fn: hawser.OnDone): hawser.Handle
function Manager:connect(peer, fn) end

---The same under the retry policy.
---@param peer string "upstream/id", or its address
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err
---@overload fun(self, peer: string, fn: hawser.OnDone): hawser.Handle
function Manager:retry_connect(peer, fn) end

---Closes its connections; what is on them fails with kind `closed`.
---@param peer string "upstream/id", or its address
---@return true? ok
---@return hawser.Error? err
function Manager:disconnect(peer) end

---Tells what somebody else saw of the peer.
---@param peer string "upstream/id", or its address
---@param status hawser.Status
---@param details? { response_time?: number, bytes?: integer }
---@return true? ok
---@return hawser.Error? err
function Manager:update_status(peer, status, details) end

---How many connections are established.
---@return integer? count
---@return hawser.Error? err
function Manager:connection_count() end

---How the peer is connected, in hawser's own view.
---@param peer string "upstream/id", or its address
---@return hawser.Status? status
---@return hawser.Error? err
function Manager:get_status(peer) end

---Its connections, one by one.
---@param peer string "upstream/id", or its address
---@return hawser.ConnectionInfo[]? connections
---@return hawser.Error? err
function Manager:get_connection_info(peer) end

---Success of late, and latency against the other peers.
---@param peer string "upstream/id", or its address
---@return number? score 0 to 1
---@return hawser.Error? err
function Manager:get_quality_score(peer) end

---How its breaker stands.
---@param peer string "upstream/id", or its address
---@return hawser.BreakerState? state
---@return hawser.Error? err
function Manager:get_circuit_breaker_state(peer) end

---Peers with a connection and a closed breaker, the best first.
---@return { peer: string, score: number }[]? list
---@return hawser.Error? err
function Manager:get_healthy_connections() end

---Orders what its breaker is to be; nil ends that.
---@param peer string "upstream/id", or its address
---@param state? "open"|"closed"|"disabled"
---@return true? ok
---@return hawser.Error? err
function Manager:force_breaker(peer, state) end

---Live, and nothing in flight is cut; the limits become the defaults of upstreams.
---@param limits hawser.ConnectionLimits
---@return true? ok
---@return hawser.Error? err
function Manager:set_connection_limits(limits) end

---The limits that upstreams get, and `max_connections`.
---@return hawser.ConnectionLimits? limits
---@return hawser.Error? err
function Manager:get_connection_limits() end

---How many wait, and for how long.
---@return hawser.QueueMetrics? queue
---@return hawser.Error? err
function Manager:get_queue_metrics() end

---Of whole responses, and of attempts by phase.
---@return hawser.LatencyMetrics? latency
---@return hawser.Error? err
function Manager:get_latency_metrics() end

---Exchanges and bytes, in total and per second.
---@return hawser.ThroughputMetrics? throughput
---@return hawser.Error? err
function Manager:get_throughput_metrics() end

---The pools; `upstreams` by name.
---@return hawser.Stats? connections
---@return hawser.Error? err
function Manager:get_connection_statistics() end

---All that was measured.
---@return hawser.Metrics? metrics
---@return hawser.Error? err
function Manager:get_metrics() end

---Opens a stream to that peer and no other, which is known by its id until it is closed.
---@param peer string "upstream/id", or its address
---@param priority? integer 0, the most urgent, to 7, default 3
---@param options? hawser.StreamOptions
---@param fn? fun(id?: integer, err?: hawser.Error)
---@return integer? id
---@return hawser.Error? err
---@overload fun(self, peer: string, options: hawser.StreamOptions, fn?: fun(id?: integer, err?: hawser.Error)): integer?, hawser.Error?
---@overload fun(self, peer: string, fn: fun(id?: integer, err?: hawser.Error)): hawser.Handle
function Manager:open_stream(peer, priority, options, fn) end

---@param id integer
---@param data string
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err
function Manager:send_stream_data(id, data, fn) end

---Closes it, and forgets the id.
---@param id integer
---@return true? ok
---@return hawser.Error? err
function Manager:close_stream(id) end

---@param id integer
---@return hawser.Stream? stream
---@return hawser.Error? err kind `closed`
function Manager:stream(id) end

---Gives memory that is no longer needed back to the system. It happens by itself after a burst.
---@return true? ok
---@return hawser.Error? err kind `closed`, in a forked child
function Manager:trim() end

---Refuses new work and waits until the present has ended; then cuts off what is left.
---@param seconds? number default timeouts.drain
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err kind `timeout` when something was cut
---@overload fun(self, seconds: number?, fn: hawser.OnDone): hawser.Handle
---@overload fun(self, fn: hawser.OnDone): hawser.Handle
function Manager:drain(seconds, fn) end

---Returns at once; what is open fails with kind `closed`.
---@return true? ok
---@return hawser.Error? err kind `closed`, in a forked child
function Manager:close() end

-- Upstreams ------------------------------------------------------------------------------------------

---The peers behind one name.
---@class hawser.Upstream : hawser.Requests
local Upstream = {}

---One peer as it stood.
---@class hawser.PeerView
---@field id string
---@field address string "127.0.0.1:80", "[::1]:80" or "unix:/path"
---@field weight number
---@field priority integer
---@field locality? string
---@field tags? table
---@field in_flight integer requests and leases on it
---@field connections integer open and dialling
---@field idle integer of them, without anything in flight
---@field answered number whole responses so far
---@field latency number seconds from sending to the response's end, an average that fades; 0 while there is none
---@field p50 number seconds, of the last 30 to 60 seconds, to 1 %; 0 while there is none
---@field p99 number
---@field success_rate number of attempts of late, 0 to 1
---@field score number its quality, 0 to 1
---@field state "healthy"|"unhealthy"|"draining"
---@field breaker hawser.BreakerState
---@field since number when the breaker came into that state, on the clock of `hawser.now()`

---Gauges and counters; `created` less all of `closed` is `open`.
---@class hawser.Stats
---@field open integer connections that are established: idle and busy
---@field idle integer ready for use
---@field busy integer in use, being set up, or finishing their last exchange
---@field dialing integer not established yet
---@field created integer established so far
---@field closed table<hawser.CloseReason, integer>
---@field handshakes integer of TLS, in full
---@field resumed integer of TLS, with the session of an earlier one
---@field reused integer requests and leases begun on a connection that had served before
---@field replayed integer requests that went again, uncounted, because a reused connection was dead
---@field retried integer attempts that followed a failed one and got a connection or a dial, counted ones
---@field retries_refused integer retries that the budget refused
---@field policy_errors integer faults of scripted policies
---@field queued integer calls that wait now
---@field queue_max integer the most that ever waited
---@field requests integer requests and leases begun
---@field ok integer ended well
---@field failed integer ended with an error
---@field max_connections? integer of a manager: its cap

---Changes what `options` names, and cuts nothing that is in flight.
---@param options hawser.UpstreamOptions anything but `protocol`
---@return true? ok
---@return hawser.Error? err kind `closed`
function Upstream:update(options) end

---Swaps one policy live; nil ends a scripted one.
---@param kind hawser.PolicyKind
---@param policy any what the option of that name takes
---@return true? ok
---@return hawser.Error? err kind `closed`
function Upstream:set_policy(kind, policy) end

---@return hawser.PeerView[] peers in their order
function Upstream:peers() end

---@return hawser.Stats stats
function Upstream:stats() end

---Makes sure that a connection is there, trying the peers with backoff.
---@param seconds? number default 30
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err the last one
---@overload fun(self, seconds: number?, fn: hawser.OnDone): hawser.Handle
---@overload fun(self, fn: hawser.OnDone): hawser.Handle
function Upstream:ready(seconds, fn) end

---Refuses new work and waits until the present has ended; then cuts off what is left.
---@param seconds? number default timeouts.drain
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err kind `timeout` when something was cut
---@overload fun(self, seconds: number?, fn: hawser.OnDone): hawser.Handle
---@overload fun(self, fn: hawser.OnDone): hawser.Handle
function Upstream:drain(seconds, fn) end

---Returns at once; what is open fails with kind `closed`, and the name is free.
---@return true? ok
---@return hawser.Error? err kind `closed`, in a forked child
function Upstream:close() end

---Opens a stream of HTTP/2 that goes both ways; with `protocol = "yamux"` it is `acquire`.
---@param options? hawser.StreamOptions
---@param fn? fun(s?: hawser.Stream, err?: hawser.Error)
---@return hawser.Stream? s
---@return hawser.Error? err
---@overload fun(self, fn: fun(s?: hawser.Stream, err?: hawser.Error)): hawser.Handle
function Upstream:open_stream(options, fn) end

---Acquires a connection of a raw upstream.
---@param options? hawser.AcquireOptions
---@param fn? fun(conn?: hawser.Conn, err?: hawser.Error)
---@return hawser.Conn? conn
---@return hawser.Error? err
---@overload fun(self, options: hawser.AcquireOptions?, fn: fun(conn?: hawser.Conn, err?: hawser.Error)): hawser.Handle
---@overload fun(self, fn: fun(conn?: hawser.Conn, err?: hawser.Error)): hawser.Handle
function Upstream:acquire(options, fn) end

---Acquires a lease, calls `fn` with it, and releases it; closes it when `fn` raises, and raises again.
---@param options hawser.AcquireOptions
---@param fn fun(conn: hawser.Conn): ... it runs as a task
---@param callback? fun(...)
---@return any ... what `fn` returned; or nil and an error when nothing could be acquired
---@overload fun(self, fn: fun(conn: hawser.Conn): ...): ...
---@overload fun(self, options: hawser.AcquireOptions?, fn: fun(conn: hawser.Conn): ..., callback: fun(...)): hawser.Handle
function Upstream:with(options, fn, callback) end

-- Streams --------------------------------------------------------------------------------------------

---@alias hawser.StreamState "opening"|"active"|"half_closed_local"|"half_closed_remote"|"closed"|"error"

---A stream that goes both ways.
---@class hawser.Stream
---@field id integer no other stream of the manager has it, at any time
---@field state hawser.StreamState
---@field status? integer of the response, once `headers` has returned or the end was read
---@field peer string id
local Stream = {}

---Waits while flow control lets no more go.
---@param data string
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err
---@overload fun(self, data: string, fn: hawser.OnDone): hawser.Handle
function Stream:send(data, fn) end

---Nothing more will be sent.
---@return true? ok
---@return hawser.Error? err
function Stream:finish() end

---Waits for the head of the response.
---@param fn? fun(headers?: hawser.Headers, err?: hawser.Error)
---@return hawser.Headers? headers
---@return hawser.Error? err
---@overload fun(self, fn: fun(headers?: hawser.Headers, err?: hawser.Error)): hawser.Handle
function Stream:headers(fn) end

---The next chunk; nil at the end.
---@param fn? fun(chunk?: string, err?: hawser.Error)
---@return string? chunk
---@return hawser.Error? err
---@overload fun(self, fn: fun(chunk?: string, err?: hawser.Error)): hawser.Handle
function Stream:receive(fn) end

---Once `receive` has come to the end.
---@return hawser.Headers? trailers
function Stream:trailers() end

---Ends it at once, and tells the peer why.
---@param code? integer|string a number, or a name of RFC 9113; default "CANCEL"
---@return true
function Stream:reset(code) end

---@return true
function Stream:close() end

-- Sessions -------------------------------------------------------------------------------------------

---The other side of yamux, on a connection that was leased.
---@class hawser.Session
---@field streams? integer that somebody has; nil once it was closed
---@field peer? string id; nil once it was closed
local Session = {}

---Waits for a stream that the peer opens; nil alone when the peer has closed the connection with nothing open.
---@param timeout? number|false seconds; without it, no limit
---@param fn? fun(conn?: hawser.Conn, err?: hawser.Error)
---@return hawser.Conn? conn
---@return hawser.Error? err
---@overload fun(self, timeout: number|false|nil, fn: fun(conn?: hawser.Conn, err?: hawser.Error)): hawser.Handle
---@overload fun(self, fn: fun(conn?: hawser.Conn, err?: hawser.Error)): hawser.Handle
function Session:accept(timeout, fn) end

---Opens a stream; waits while as many are open as may be.
---@param timeout? number|false seconds; without it, no limit
---@param fn? fun(conn?: hawser.Conn, err?: hawser.Error)
---@return hawser.Conn? conn
---@return hawser.Error? err
---@overload fun(self, timeout: number|false|nil, fn: fun(conn?: hawser.Conn, err?: hawser.Error)): hawser.Handle
---@overload fun(self, fn: fun(conn?: hawser.Conn, err?: hawser.Error)): hawser.Handle
function Session:open_stream(timeout, fn) end

---Closes the connection; streams that are open end with kind `closed`.
---@return true
function Session:close() end

-- Responses ------------------------------------------------------------------------------------------

---Header fields; `headers[name]` is the first value of that name, in any case, or nil.
---@class hawser.Headers
---@field [string] string?
local Headers = {}

---@param name string
---@return string[] values in their order
function Headers:all(name) end

---Iterates over all fields in their order.
---@return fun(): string?, string? next
function Headers:each() end

---@class hawser.Response
---@field status integer 200 to 599
---@field reason string "" when there is none
---@field version "1.0"|"1.1"|"2"
---@field headers hawser.Headers
---@field body? string the whole of it; nil with `stream`
---@field trailers? hawser.Headers with `stream`, once the body has been read
---@field peer string id of the peer that answered
---@field attempts integer attempts that it took
---@field reused boolean on a connection that had served before
---@field trace hawser.Trace how its time was spent; made when it is first read
local Response = {}

---The next chunk; nil at the end; nil and an error when the body broke off.
---@param fn? fun(chunk?: string, err?: hawser.Error)
---@return string? chunk
---@return hawser.Error? err
---@overload fun(self, fn: fun(chunk?: string, err?: hawser.Error)): hawser.Handle
function Response:read(fn) end

---Iterates over the chunks; raises when the body breaks off. Not in a task of Lua 5.1.
---@return fun(): string? next
function Response:chunks() end

---The body decoded as JSON; needs dkjson. Reads a streaming one to its end.
---@param fn? fun(value?: any, err?: hawser.Error)
---@return any value
---@return hawser.Error? err kind `protocol`, code "JSON"
---@overload fun(self, fn: fun(value?: any, err?: hawser.Error)): hawser.Handle
function Response:json(fn) end

---Abandons what is unread.
---@return true ok
function Response:close() end

-- Leases ---------------------------------------------------------------------------------------------

---A pooled raw connection in its user's hands.
---@class hawser.Conn
---@field data? table kept with the connection from lease to lease; may be set
---@field peer? string id of the peer
---@field reused? boolean the connection had served before
---@field tls? string version of TLS when it is encrypted, "1.2"
local Conn = {}

---Reads exactly n bytes; a "line" without its end; "some", what is there; or "all", to the peer's end.
---@param what integer|"line"|"some"|"all"
---@param max? integer bytes, default 65536 for a line
---@param fn? fun(data?: string, err?: hawser.Error)
---@return string? data nil alone when the peer has finished and nothing is left
---@return hawser.Error? err
---@overload fun(self, what: integer|"line"|"some"|"all", fn: fun(data?: string, err?: hawser.Error)): hawser.Handle
function Conn:read(what, max, fn) end

---Reads up to a delimiter, which is part of the result.
---@param delimiter string 1 to 64 bytes
---@param max? integer bytes, default 65536
---@param fn? fun(data?: string, err?: hawser.Error)
---@return string? data
---@return hawser.Error? err
---@overload fun(self, delimiter: string, fn: fun(data?: string, err?: hawser.Error)): hawser.Handle
function Conn:read_until(delimiter, max, fn) end

---Waits while the peer is slow and limits.buffer is full.
---@param data string
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err
---@overload fun(self, data: string, fn: hawser.OnDone): hawser.Handle
function Conn:write(data, fn) end

---Half-closes, once all is written.
---@return true? ok
---@return hawser.Error? err
function Conn:finish() end

---Upgrades the connection to TLS; whatever goes wrong closes it.
---@param options? hawser.TLSOptions what is missing is taken from the upstream's `tls`
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err
---@overload fun(self, fn: hawser.OnDone): hawser.Handle
---@overload fun(self, options: hawser.TLSOptions?, fn: hawser.OnDone): hawser.Handle
function Conn:starttls(options, fn) end

---Instead of timeouts.read, until the lease ends.
---@param seconds number|false false for no limit
---@return true? ok
---@return hawser.Error? err
function Conn:timeout(seconds) end

---Gives the connection back, or closes it when it is not fit for the next user.
---@return true? ok
---@return hawser.Error? err kind `closed`, in a forked child
function Conn:release() end

---Ends the lease and closes the connection.
---@return true? ok
---@return hawser.Error? err kind `closed`, in a forked child
function Conn:close() end

-- Tasks and handles ----------------------------------------------------------------------------------

---@class hawser.Task
local Task = {}

---Waits until it has ended.
---@param fn? fun(ok?: true, ...)
---@return true? ok nil when it raised or was cancelled
---@return any ... its results, or what it raised
---@overload fun(self, fn: fun(ok?: true, ...)): hawser.Handle
function Task:join(fn) end

---What it waits for, now or later, ends with kind `canceled`.
function Task:cancel() end

---A call that was given a callback.
---@class hawser.Handle
local Handle = {}

---Ends the call with kind `canceled`. Harmless when it has ended.
function Handle:cancel() end

-- The module -----------------------------------------------------------------------------------------

---@class hawser
---@field VERSION string
---@field TLS string the engine: "mbedTLS 2.28.3"
local hawser = {}

---@param options? hawser.ManagerOptions|integer an integer stands for `max_connections`
---@return hawser.Manager? manager
---@return hawser.Error? err kind `nomem`
function hawser.new(options) end

---On the default manager.
---@param url string
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.get(url, options, fn) end

---@param url string
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.head(url, options, fn) end

---@param url string
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.delete(url, options, fn) end

---@param url string
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.options(url, options, fn) end

---@param url string
---@param body? hawser.Body
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, body: hawser.Body?, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.post(url, body, options, fn) end

---@param url string
---@param body? hawser.Body
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, body: hawser.Body?, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.put(url, body, options, fn) end

---@param url string
---@param body? hawser.Body
---@param options? hawser.RequestOptions
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(url: string, body: hawser.Body?, options: hawser.RequestOptions?, fn: hawser.OnResponse): hawser.Handle
function hawser.patch(url, body, options, fn) end

---@param options hawser.WholeRequestOptions `path` is the URL
---@param fn? hawser.OnResponse
---@return hawser.Response? res
---@return hawser.Error? err
---@overload fun(options: hawser.WholeRequestOptions, fn: hawser.OnResponse): hawser.Handle
function hawser.request(options, fn) end

---Runs `fn(...)` and all that it starts; without `fn`, turns the loop until nothing is pending.
---@param fn? fun(...): ...
---@param ... any
---@return any ... what `fn` returned
function hawser.run(fn, ...) end

---Starts `fn(...)` as a task, at the loop's next turn.
---@param fn fun(...): ...
---@param ... any
---@return hawser.Task task
function hawser.spawn(fn, ...) end

---Runs functions side by side as tasks.
---@param fns (fun(): ...)[]
---@param fn? fun(outcomes?: any[][], err?: hawser.Error)
---@return any[][] outcomes in their order: { true, results... } or { nil, err }
---@overload fun(fns: (fun(): ...)[], fn: fun(outcomes?: any[][], err?: hawser.Error)): hawser.Handle
function hawser.all(fns, fn) end

---Takes a raw lease over, to speak yamux on its connection: both sides open streams, and accept them.
---@param conn hawser.Conn which has ended for its user then
---@param options? { server?: boolean } which side this is; the peer is the other one
---@return hawser.Session? session
---@return hawser.Error? err
function hawser.yamux(conn, options) end

---@param seconds number 0 and more
---@param fn? hawser.OnDone
---@return true? ok
---@return hawser.Error? err kind `canceled`
---@overload fun(seconds: number, fn: hawser.OnDone): hawser.Handle
function hawser.sleep(seconds, fn) end

---The monotonic clock, in seconds.
---@return number seconds
function hawser.now() end

---As `pcall`; one may wait inside of it on every Lua.
---@param fn fun(...): ...
---@param ... any
---@return boolean ok
---@return any ...
function hawser.pcall(fn, ...) end

---Checks a plugin table of kind "balancer", "retry" or "breaker" and returns it; raises for an unknown
---field, with the nearest known one, and for one of the wrong type.
---@generic T: hawser.Plugin
---@param plugin T
---@return T plugin
function hawser.policy(plugin) end

---Before anything else is used: which loop turns hawser's.
---@param choice "auto"|"own"|table a luv module
function hawser.loop(choice) end

---The descriptor that another loop polls for reading.
---@return integer descriptor
function hawser.pollfd() end

---For how long to poll at most.
---@return number? seconds nil: without limit
function hawser.timeout() end

---Takes what is there, without waiting.
function hawser.step() end

return hawser
