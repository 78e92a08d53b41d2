/* tls_joiner.h - gives each handshake message a record of its own (RFC 5246, 6.2.1).
 *
 * A server may cut its messages into records as it likes. mbedTLS before 3.6.3 cannot read one that
 * goes over several, so what comes in the clear is reframed before it sees it. From the change of
 * the cipher on everything passes as it is, and so does what no TLS would send: mbedTLS refuses it.
 * What is hashed and signed are the messages, so nothing that this does can go unnoticed. */
#ifndef HWS_TRANSPORT_TLS_JOINER_H
#define HWS_TRANSPORT_TLS_JOINER_H

#include "base/buffer.h"

/* Zeroed it is ready for the first byte. */
typedef struct {
    hws_buffer_t record;   /* the one that is coming in, with its header */
    hws_buffer_t messages; /* the last one incomplete, until its next record has come */
    hws_buffer_t ready;    /* whole records, to be taken by the caller */
    char version[2];       /* of the last record */
    bool has_too_long;     /* a message that goes into no record: it was passed as it is */
    bool is_through;       /* nothing more to do once `ready` is empty: take from `in` itself */
} hws_joiner_t;

/* Takes from `in` until `ready` holds something, `in` is empty or is_through. HWS_OK or
 * HWS_ERR_NOMEM. */
int hws_joiner_pull(hws_joiner_t *joiner, hws_slice_t *in);
void hws_joiner_dispose(hws_joiner_t *joiner);

#endif
