/* tls_far.h - a TLS server in memory: the far end of what the engine does. */
#ifndef TESTS_SUPPORT_TLS_FAR_H
#define TESTS_SUPPORT_TLS_FAR_H

#include "base/buffer.h"

typedef struct tls_far tls_far_t;

typedef struct {
    const char *cert;      /* "good": good.pem of the test certificates; see support/certificates */
    const char *key;       /* "rsa": rsa.key; NULL: leaf.key */
    const char *client_ca; /* "root": wants a certificate of the client; NULL: asks for none */
    const int *suites;     /* NULL: all that mbedTLS has */
    const char **alpn;
    bool tickets;
    bool ids;
    bool is_old; /* TLS 1.1 at most; else 1.2, */
    bool is_new; /* or 1.3 */
} tls_far_options_t;

/* Whether the mbedTLS of this server can do without TLS 1.2. */
bool tls_far_may_be_old(void);

/* Whether it knows TLS 1.3, as a build of mbedTLS 3 may. */
bool tls_far_may_be_new(void);

/* Lives on over connections, as the sessions that it remembers do. */
tls_far_t *tls_far_create(const tls_far_options_t *options);
void tls_far_destroy(tls_far_t *far);
/* Forgets the sessions, and what tickets are sealed with. */
void tls_far_forget(tls_far_t *far);

/* The next connection. */
void tls_far_accept(tls_far_t *far);
/* Takes all of `in`; appends what is to be sent to `out` and what was received to `received`. */
void tls_far_turn(tls_far_t *far, hws_buffer_t *in, hws_buffer_t *out, hws_buffer_t *received);
void tls_far_send(tls_far_t *far, const void *data, size_t size, hws_buffer_t *out);
void tls_far_close(tls_far_t *far, hws_buffer_t *out);
/* Asks for another handshake. */
void tls_far_renegotiate(tls_far_t *far, hws_buffer_t *out);

bool tls_far_is_ready(const tls_far_t *far);
/* Whether the client closed with close_notify. */
bool tls_far_is_closed(const tls_far_t *far);
/* What mbedTLS said last when it was no success. */
int tls_far_failure(const tls_far_t *far);
/* What the client named as SNI, or "". */
const char *tls_far_sni(const tls_far_t *far);
/* What both agreed on, or "". */
const char *tls_far_alpn(const tls_far_t *far);

#endif
