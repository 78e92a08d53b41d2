/* tls.h - TLS as a filter on memory: cipher bytes in, plain bytes out, and the other way round.
 *
 * A configuration and what is made with it belong to one thread; two may be in two.
 * It owns no socket and reads no clock but the system's date, which certificates are held against.
 * One engine implements it: transport/tls_mbedtls.c, or transport/tls_openssl.c (HAWSER_TLS).
 *
 *              hws_tls_create
 *   HANDSHAKE ----------------> ready: read and write ----> closed by the peer (HWS_END)
 *       '---------------- any failure is final ------------------^ */
#ifndef HWS_TRANSPORT_TLS_H
#define HWS_TRANSPORT_TLS_H

#include "base/buffer.h"

#include <hawser/tls.h>

typedef struct hws_tls_config hws_tls_config_t;   /* what is verified and offered; counted */
typedef struct hws_tls_session hws_tls_session_t; /* what can be resumed; immutable */
typedef struct hws_tls hws_tls_t;                 /* one connection */

/* In a block of its own, to be freed with hws_free(); NULL when out of memory. */
hws_tls_options_t *hws_tls_options_copy(const hws_tls_options_t *options);

/* A configuration of `options` (NULL: the defaults), which offers what they say, else `alpn`: names
 * for ALPN that end with NULL, or NULL for none. As hws_tls_config_create(). */
int hws_tls_config_for(const hws_tls_options_t *options, const char *const *alpn,
                       hws_tls_config_t **out, hws_error_t *why);

/* `options->server_name` is not looked at. On a code `why->detail` says which option was wrong and how (hws_explain). */
int hws_tls_config_create(const hws_tls_options_t *options, hws_tls_config_t **out,
                          hws_error_t *why);
void hws_tls_config_hold(hws_tls_config_t *config);
/* Above 0, and no other configuration's in this process, not even that of one long released. */
uint64_t hws_tls_config_id(const hws_tls_config_t *config);
void hws_tls_config_release(hws_tls_config_t *config);

/* `name`: whom the certificate must name, a DNS name (also sent as SNI) or an IP address in text;
 * may only be "" where nothing is verified. `resume` may be NULL; it is copied, and ignored when
 * it was made under another configuration or for another name. */
int hws_tls_create(hws_tls_config_t *config, const char *name, const hws_tls_session_t *resume,
                   hws_tls_t **out);
void hws_tls_destroy(hws_tls_t *tls);

/* Takes from `in` (which shrinks) and appends what is to be sent to `out`, also when it fails (the
 * alert). HWS_AGAIN: wants more bytes. HWS_OK: done, the peer is who it must be; `in` may hold
 * the first records of data. Else a code, and hws_tls_detail() says more. */
int hws_tls_handshake(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *out);
/* Decrypts all of `in` behind `plain`. HWS_OK; HWS_END: close_notify; else a code. */
int hws_tls_read(hws_tls_t *tls, hws_slice_t *in, hws_buffer_t *plain, hws_buffer_t *out);
/* Encrypts all of `data` behind `out`: all or a code. */
int hws_tls_write(hws_tls_t *tls, hws_slice_t data, hws_buffer_t *out);
/* Appends close_notify, once; nothing is written after it. Harmless before the handshake is over, and
 * after a failure. */
void hws_tls_close(hws_tls_t *tls, hws_buffer_t *out);

/* After the handshake. */
bool hws_tls_is_resumed(const hws_tls_t *tls);
const char *hws_tls_version(const hws_tls_t *tls); /* "1.2" */
const char *hws_tls_cipher(hws_tls_t *tls);        /* as the registry names it, or "" */
const char *hws_tls_alpn(const hws_tls_t *tls);    /* what was agreed on, or NULL */
/* What failed, in the engine's and the verifier's words; "" when nothing has. */
const char *hws_tls_detail(const hws_tls_t *tls);

/* What a later connection to the same peer may resume; NULL when there is nothing (yet: TLS 1.3
 * gets it with the first data). Of a connection that resumed it may be NULL when there is nothing
 * newer than what that resumed. The caller owns it. */
hws_tls_session_t *hws_tls_take_session(hws_tls_t *tls);
/* TLS 1.3: a ticket is used once (RFC 8446, C.4). */
bool hws_tls_session_is_single_use(const hws_tls_session_t *session);
void hws_tls_session_free(hws_tls_session_t *session);

#endif
