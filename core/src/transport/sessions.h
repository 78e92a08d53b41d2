/* sessions.h - the TLS sessions that a manager may resume, those used last.
 *
 * A session stands for what was verified when it was made. So its key has all of that: the
 * configuration (roots, client certificate, ALPN, verify or not), the name that the certificate had
 * to have, and the peer it came from. None is lent longer than a day (RFC 5246, F.1.4), nor one that
 * may be used once (TLS 1.3) a second time. */
#ifndef HWS_TRANSPORT_SESSIONS_H
#define HWS_TRANSPORT_SESSIONS_H

#include "base/hash.h"
#include "base/list.h"
#include "transport/tls.h"

#define HWS_SESSIONS_MAX 100
#define HWS_SESSIONS_LIFETIME HWS_S(86400)

typedef struct {
    uint64_t config;  /* hws_tls_config_id() */
    const char *name; /* as given to hws_tls_create() */
    const char *peer; /* the id of the peer, which has its port */
} hws_session_key_t;

typedef struct {
    hws_hash_t table;
    hws_list_t used; /* the one put or lent last in front */
    uint32_t max;
    hws_tls_session_t *spent; /* lent for the one time it has */
    void (*free_session)(hws_tls_session_t *session);
} hws_sessions_t;

/* `max` >= 1. `free_session` is hws_tls_session_free, but in tests. */
void hws_sessions_init(hws_sessions_t *sessions, uint32_t max, uint64_t seed,
                       void (*free_session)(hws_tls_session_t *session));
void hws_sessions_dispose(hws_sessions_t *sessions);

/* Takes `session` over, which may be NULL, in place of one of the same key. Out of memory, it is
 * freed: the next handshake is then a full one. */
void hws_sessions_put(hws_sessions_t *sessions, const hws_session_key_t *key,
                      hws_tls_session_t *session, bool is_single_use, hws_time_t now);
/* Borrowed until the next call, or NULL. */
const hws_tls_session_t *hws_sessions_lend(hws_sessions_t *sessions, const hws_session_key_t *key,
                                           hws_time_t now);
/* Drops the one of that key, after a handshake with it failed; harmless when there is none. */
void hws_sessions_forget(hws_sessions_t *sessions, const hws_session_key_t *key);

#endif
