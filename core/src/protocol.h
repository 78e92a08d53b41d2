/* protocol.h - what is spoken with a peer, and who decides it: the user, the scheme, or ALPN. */
#ifndef HWS_PROTOCOL_H
#define HWS_PROTOCOL_H

#include <hawser/upstream.h>

/* Whether its users get leases, not requests. */
static inline bool hws_protocol_is_raw(hws_protocol_t protocol)
{
    return protocol == HWS_PROTOCOL_RAW || protocol == HWS_PROTOCOL_YAMUX;
}

/* What is offered by ALPN, the one liked most first; ends with NULL. NULL: nothing. */
const char *const *hws_protocol_alpn(hws_protocol_t protocol);

/* What the URL of a peer says. */
typedef struct {
    bool is_http;   /* http, https, h2c */
    bool is_secure; /* https, tls */
    bool is_h2c;    /* h2c */
} hws_scheme_t;

/* What is spoken with a peer of that scheme where `wanted` is asked for: HTTP1, H2 (over TLS or in the
 * clear, as the scheme is), RAW, YAMUX, or AUTO where ALPN has to say. HWS_ERR_INVALID with `why`,
 * which names the peer `id`, when the two do not go together. */
int hws_protocol_of_peer(hws_protocol_t wanted, hws_scheme_t scheme, const char *id,
                         hws_protocol_t *out, hws_error_t *why);

/* The same, once the handshake has agreed on `alpn`, NULL for nothing: HTTP1, H2, RAW or YAMUX.
 * HWS_ERR_NO_ALPN when it is not what must be spoken. */
int hws_protocol_agreed(hws_protocol_t wanted, const char *alpn, hws_protocol_t *out);

hws_h2_options_t hws_h2_defaults(void);
/* HWS_ERR_INVALID with `why`. */
int hws_h2_options_check(const hws_h2_options_t *h2, hws_error_t *why);

#endif
