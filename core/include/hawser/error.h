/* error.h - the one list of what can go wrong.
 *
 * A code says precisely what happened, its kind is the word a caller decides by (API.md, Errors).
 * Codes are negative, so that HWS_OK is 0 and a function may return a count or a code. Two codes
 * are no failures: HWS_AGAIN (not now: the readiness callback tells when) and HWS_END (the
 * stream's regular end); they never stand in an hws_error_t. */
#ifndef HAWSER_ERROR_H
#define HAWSER_ERROR_H

#include <hawser/base.h>

/* X(symbol, kind, code, text) */
#define HWS_ERROR_LIST(X)                                                                          \
    X(NOMEM, NOMEM, "NOMEM", "out of memory")                                                      \
    X(INVALID, INVALID, "INVALID", "data that cannot be sent")                                     \
    X(CONNECTION_FIELD, INVALID, "CONNECTION_HEADER",                                              \
      "a connection-specific header field, which HTTP/2 has not")                                  \
    X(BAD_URL, INVALID, "BAD_URL", "malformed URL or address")                                     \
    X(UNSUPPORTED, UNSUPPORTED, "UNSUPPORTED", "not supported on this protocol")                   \
    X(UPGRADE, UNSUPPORTED, "UPGRADE",                                                             \
      "the peer switched protocols (101), which is not supported")                                 \
    X(NXDOMAIN, RESOLVE, "NXDOMAIN", "no such name")                                               \
    X(NODATA, RESOLVE, "NODATA", "the name has no address")                                        \
    X(SERVFAIL, RESOLVE, "SERVFAIL", "the name server failed")                                     \
    X(DNS_REFUSED, RESOLVE, "DNS_REFUSED", "the name server refused")                              \
    X(DNS_TIMEOUT, RESOLVE, "DNS_TIMEOUT", "no name server answered")                              \
    X(DNS_MALFORMED, RESOLVE, "DNS_MALFORMED", "a malformed answer of the name server")            \
    X(DNS, RESOLVE, "DNS", "the look-up failed")                                                   \
    X(REFUSED, REFUSED, "ECONNREFUSED", "connection refused")                                      \
    X(UNREACHABLE, CONNECT, "EHOSTUNREACH", "host unreachable")                                    \
    X(NET_UNREACHABLE, CONNECT, "ENETUNREACH", "network unreachable")                              \
    X(DIAL_TIMED_OUT, CONNECT, "ETIMEDOUT", "the system gave the connection attempt up")           \
    X(TOO_MANY_FILES, CONNECT, "EMFILE", "too many open files")                                    \
    X(NO_PORTS, CONNECT, "EADDRNOTAVAIL", "no local address or port left")                         \
    X(ACCESS, CONNECT, "EACCES", "permission denied")                                              \
    X(NO_SUCH_PATH, CONNECT, "ENOENT", "no such socket")                                           \
    X(SETUP, CONNECT, "SETUP", "the setup function refused the connection")                        \
    X(SYSTEM, CONNECT, "ESYSTEM", "system error")                                                  \
    X(TIMEOUT, TIMEOUT, "TIMEOUT", "deadline passed")                                              \
    X(UNACCEPTED, TIMEOUT, "OPEN_TIMEOUT", "the peer has accepted no stream for too long")         \
    X(NO_PONG, RESET, "PING_TIMEOUT", "the peer gave no sign of life when it was asked for one")   \
    X(TLS, TLS, "HANDSHAKE", "the TLS handshake failed")                                           \
    X(TLS_VERSION, TLS, "PROTOCOL_VERSION", "no version of TLS in common")                         \
    X(TLS_CIPHER, TLS, "NO_CIPHER", "no cipher suite in common")                                   \
    X(TLS_ALERT, TLS, "ALERT", "the peer ended TLS")                                               \
    X(TLS_CLIENT_CERT, TLS, "CERT_REQUIRED", "the peer wants another certificate of ours")         \
    X(TLS_RECORD, TLS, "RECORD", "a malformed or forged TLS record")                               \
    X(TLS_PLAIN, TLS, "NOT_TLS", "the peer does not speak TLS")                                    \
    X(TLS_EOF, TLS, "HANDSHAKE_EOF", "the peer closed in the midst of the TLS handshake")          \
    X(NO_ALPN, TLS, "NO_APPLICATION_PROTOCOL", "the peer agrees to no protocol that is wanted")    \
    X(TLS_EARLY, TLS, "EARLY_BYTES", "bytes came in the clear before the upgrade to TLS")          \
    X(CERT_NAME, TLS, "CERT_NAME", "the certificate is for another name")                          \
    X(CERT_EXPIRED, TLS, "CERT_EXPIRED", "the certificate has expired")                            \
    X(CERT_FUTURE, TLS, "CERT_NOT_YET_VALID", "the certificate is not valid yet")                  \
    X(CERT_UNTRUSTED, TLS, "CERT_UNTRUSTED", "no trusted root signs the certificate")              \
    X(CERT_REVOKED, TLS, "CERT_REVOKED", "the certificate has been revoked")                       \
    X(CERT_CRL, TLS, "CERT_CRL", "the revocation list does not hold")                              \
    X(CERT_USAGE, TLS, "CERT_USAGE", "the certificate is not for a server")                        \
    X(CERT_WEAK, TLS, "CERT_WEAK", "a key or signature of the certificate is too weak")            \
    X(CERT_INVALID, TLS, "CERT_INVALID", "the certificate cannot be accepted")                     \
    X(TLS_OPTIONS, INVALID, "TLS_OPTIONS", "TLS options that cannot be used")                      \
    X(TRUNCATED, RESET, "TRUNCATED", "the peer closed without TLS's close_notify")                 \
    X(RESET, RESET, "ECONNRESET", "connection reset by the peer")                                  \
    X(PIPE, RESET, "EPIPE", "the peer no longer reads")                                            \
    X(EOF, RESET, "EOF", "the peer closed the connection early")                                   \
    X(REFUSED_STREAM, RESET, "REFUSED_STREAM", "the peer refused the stream unseen")               \
    X(GOAWAY, RESET, "GOAWAY", "the peer was going away and had not seen the stream")              \
    X(RST_NO_ERROR, RESET, "NO_ERROR", "the peer reset the stream early, without an error")        \
    X(RST_PROTOCOL, RESET, "PROTOCOL_ERROR", "the peer reset the stream: PROTOCOL_ERROR")          \
    X(RST_INTERNAL, RESET, "INTERNAL_ERROR", "the peer reset the stream: INTERNAL_ERROR")          \
    X(RST_FLOW_CONTROL, RESET, "FLOW_CONTROL_ERROR",                                               \
      "the peer reset the stream: FLOW_CONTROL_ERROR")                                             \
    X(RST_SETTINGS_TIMEOUT, RESET, "SETTINGS_TIMEOUT",                                             \
      "the peer reset the stream: SETTINGS_TIMEOUT")                                               \
    X(RST_STREAM_CLOSED, RESET, "STREAM_CLOSED", "the peer reset the stream: STREAM_CLOSED")       \
    X(RST_FRAME_SIZE, RESET, "FRAME_SIZE_ERROR", "the peer reset the stream: FRAME_SIZE_ERROR")    \
    X(RST_CANCEL, RESET, "CANCEL", "the peer reset the stream: CANCEL")                            \
    X(RST_COMPRESSION, RESET, "COMPRESSION_ERROR", "the peer reset the stream: COMPRESSION_ERROR") \
    X(RST_CONNECT, RESET, "CONNECT_ERROR", "the peer reset the stream: CONNECT_ERROR")             \
    X(RST_CALM, RESET, "ENHANCE_YOUR_CALM", "the peer reset the stream: ENHANCE_YOUR_CALM")        \
    X(RST_SECURITY, RESET, "INADEQUATE_SECURITY",                                                  \
      "the peer reset the stream: INADEQUATE_SECURITY")                                            \
    X(RST_HTTP_1_1, RESET, "HTTP_1_1_REQUIRED", "the peer reset the stream: it wants HTTP/1.1")    \
    X(RST_UNKNOWN, RESET, "RST_STREAM", "the peer reset the stream with an unknown code")          \
    X(CLOSED, CLOSED, "CLOSED", "closed on this side")                                             \
    X(DRAINING, INVALID, "DRAINING", "a drain is under way already")                               \
    X(FORKED, CLOSED, "FORKED", "a manager is dead in a forked process: create a new one")         \
    X(QUEUE_FULL, OVERLOAD, "QUEUE_FULL", "the queue is full (limits.pending)")                    \
    X(QUEUE_TIMEOUT, OVERLOAD, "QUEUE_TIMEOUT", "no connection came free within timeouts.queue")   \
    X(BREAKER_OPEN, BREAKER_OPEN, "BREAKER_OPEN",                                                  \
      "no peer may be tried now: their breakers are open")                                         \
    X(NO_PEER, NO_PEER, "NO_PEER", "the upstream has no peers")                                    \
    X(CANCELED, CANCELED, "CANCELED", "canceled by the caller")                                    \
    X(HEAD_SIZE, LIMIT, "HEADER_SIZE", "the response's header block is larger than limits.header") \
    X(REQUEST_HEAD, LIMIT, "REQUEST_HEADER_SIZE",                                                  \
      "the request's header is larger than limits.header, or the peer, allows")                    \
    X(HEAD_FIELDS, LIMIT, "HEADER_COUNT", "too many header fields for limits.header")              \
    X(BODY_SIZE, LIMIT, "BODY_SIZE", "the body is larger than the limit (max_body, limits.body)")  \
    X(CHUNK_SIZE, LIMIT, "CHUNK_LINE", "a chunk's size line is too long")                          \
    X(LINE_SIZE, LIMIT, "LINE_SIZE", "no delimiter within the given maximum")                      \
    X(YAMUX_FRAME, PROTOCOL, "YAMUX_FRAME", "a malformed yamux frame, or one out of place")        \
    X(YAMUX_WINDOW, PROTOCOL, "YAMUX_FLOW_CONTROL", "more data than the yamux window allows")      \
    X(YAMUX_FLOOD, PROTOCOL, "YAMUX_FLOOD", "more yamux frames than can be answered")              \
    X(YAMUX_GOAWAY, PROTOCOL, "YAMUX_GOAWAY", "the peer ended the yamux session for an error")     \
    X(STATUS_LINE, PROTOCOL, "STATUS_LINE", "malformed status line")                               \
    X(FIELD, PROTOCOL, "HEADER", "malformed header field")                                         \
    X(FOLD, PROTOCOL, "OBS_FOLD", "folded header line")                                            \
    X(BARE_CR, PROTOCOL, "BARE_CR", "a carriage return without a line feed")                       \
    X(BARE_LF, PROTOCOL, "BARE_LF", "a line feed without a carriage return")                       \
    X(LENGTH, PROTOCOL, "CONTENT_LENGTH", "malformed or conflicting Content-Length")               \
    X(CODING, PROTOCOL, "TRANSFER_ENCODING", "Transfer-Encoding that cannot be honoured")          \
    X(CHUNK, PROTOCOL, "CHUNK", "malformed chunk")                                                 \
    X(INFORMATIONAL, PROTOCOL, "TOO_MANY_1XX", "too many informational responses")                 \
    X(UNEXPECTED, PROTOCOL, "UNEXPECTED_BYTES", "bytes that nothing asked for")                    \
    X(H2_PROTOCOL, PROTOCOL, "H2_PROTOCOL", "frames that HTTP/2 does not allow there")             \
    X(H2_FLOW_CONTROL, PROTOCOL, "H2_FLOW_CONTROL",                                                \
      "more data than the flow-control window allows")                                             \
    X(H2_STREAM_CLOSED, PROTOCOL, "H2_STREAM_CLOSED", "frames on a stream that had ended")         \
    X(H2_FRAME_SIZE, PROTOCOL, "H2_FRAME_SIZE", "a frame of a wrong size")                         \
    X(H2_COMPRESSION, PROTOCOL, "H2_COMPRESSION", "malformed header compression")                  \
    X(H2_FLOOD, PROTOCOL, "H2_FLOOD", "too many frames that carry nothing")                        \
    X(H2_MESSAGE, PROTOCOL, "H2_MESSAGE", "a malformed HTTP/2 message")                            \
    X(VERSION, PROTOCOL, "VERSION", "an HTTP version that is not 1.0 or 1.1")

#define HWS_ERROR_ENUM(symbol, kind, code, text) HWS_ERRNO_##symbol,
enum { HWS_ERRNO_FIRST = 0, HWS_ERROR_LIST(HWS_ERROR_ENUM) HWS_ERRNO_COUNT };
#undef HWS_ERROR_ENUM

#define HWS_ERROR_ENUM(symbol, kind, code, text) HWS_ERR_##symbol = -(HWS_ERRNO_##symbol),
enum { HWS_OK = 0, HWS_AGAIN = 1, HWS_END = 2, HWS_ERROR_LIST(HWS_ERROR_ENUM) };
#undef HWS_ERROR_ENUM

/* X(symbol, word): the fixed list of kinds. */
#define HWS_KIND_LIST(X)                                                                           \
    X(RESOLVE, "resolve")                                                                          \
    X(REFUSED, "refused")                                                                          \
    X(CONNECT, "connect")                                                                          \
    X(TIMEOUT, "timeout")                                                                          \
    X(TLS, "tls")                                                                                  \
    X(PROTOCOL, "protocol")                                                                        \
    X(RESET, "reset")                                                                              \
    X(CLOSED, "closed")                                                                            \
    X(OVERLOAD, "overload")                                                                        \
    X(LIMIT, "limit")                                                                              \
    X(BREAKER_OPEN, "breaker_open")                                                                \
    X(NO_PEER, "no_peer")                                                                          \
    X(CANCELED, "canceled")                                                                        \
    X(INVALID, "invalid")                                                                          \
    X(UNSUPPORTED, "unsupported")                                                                  \
    X(NOMEM, "nomem")

#define HWS_KIND_ENUM(symbol, word) HWS_KIND_##symbol,
typedef enum { HWS_KIND_LIST(HWS_KIND_ENUM) HWS_KIND_COUNT } hws_kind_t;
#undef HWS_KIND_ENUM

/* X(symbol, word): how far a call had come. */
#define HWS_PHASE_LIST(X)                                                                          \
    X(QUEUE, "queue")                                                                              \
    X(RESOLVE, "resolve")                                                                          \
    X(CONNECT, "connect")                                                                          \
    X(TLS, "tls")                                                                                  \
    X(SEND, "send")                                                                                \
    X(HEADERS, "headers")                                                                          \
    X(BODY, "body")

#define HWS_PHASE_ENUM(symbol, word) HWS_PHASE_##symbol,
typedef enum { HWS_PHASE_LIST(HWS_PHASE_ENUM) HWS_PHASE_COUNT } hws_phase_t;
#undef HWS_PHASE_ENUM

#define HWS_PEER_ID_MAX 330
#define HWS_ERROR_DETAIL_MAX 96

/* How a request, an acquisition, a read or a write failed. A plain value without pointers. */
typedef struct {
    int code; /* HWS_ERR_* */
    hws_phase_t phase;
    uint32_t attempts;                     /* tries begun, 0 when none */
    bool sent;                             /* false: no byte of it can have reached a peer */
    bool retryable;                        /* the core would allow this to go again */
    bool has_retry_in;                     /* whether `retry_in` means anything */
    hws_time_t retry_in;                   /* when it may be worth another try, from now */
    char peer[HWS_PEER_ID_MAX + 1];        /* id of the peer tried last, or "" */
    char detail[HWS_ERROR_DETAIL_MAX + 1]; /* what was wrong with this one, or "" */
} hws_error_t;

/* The kind of a code; HWS_KIND_INVALID for what is no code. */
HWS_API hws_kind_t hws_error_kind(int code);
/* Static strings, never NULL: "reset"; "ECONNRESET"; "connection reset by the peer"; "headers". */
HWS_API const char *hws_kind_name(hws_kind_t kind);
HWS_API const char *hws_error_name(int code);
HWS_API const char *hws_error_text(int code);
HWS_API const char *hws_phase_name(hws_phase_t phase);
/* Writes one line for a log, cut to `size` and always terminated: "reset: connection reset by the
 * peer [ECONNRESET] (headers, 127.0.0.1:80)". Returns `line`. */
HWS_API const char *hws_error_line(const hws_error_t *error, char *line, size_t size);

#endif
