/* identity.h - whether a certificate names whom we wanted to reach (RFC 6125 and RFC 9525, 6).
 *
 * Only entries of subjectAltName count, never the common name. A DNS name is held against DNS
 * entries, an IP address against IP entries, as bytes. Plain values; nothing is allocated. */
#ifndef HWS_TRANSPORT_IDENTITY_H
#define HWS_TRANSPORT_IDENTITY_H

#include <hawser/base.h>

typedef enum { HWS_SAN_DNS, HWS_SAN_IP } hws_san_kind_t;

/* One entry of a subjectAltName. An IP address is its 4 or 16 bytes. */
typedef struct {
    hws_san_kind_t kind;
    hws_slice_t value;
} hws_san_t;

typedef enum {
    HWS_IDENTITY_DNS,
    HWS_IDENTITY_IP,
    HWS_IDENTITY_NONE /* neither a DNS name nor an address: no certificate names it */
} hws_identity_kind_t;

#define HWS_DNS_NAME_MAX 253

typedef struct {
    hws_identity_kind_t kind;
    char dns[HWS_DNS_NAME_MAX + 1]; /* in lower case, without trailing dot, as SNI has it; or "" */
    unsigned char ip[16];
    size_t ip_size; /* 4 or 16 */
} hws_identity_t;

/* From what was asked for: "example.com", "example.com.", "127.0.0.1", "::1". */
hws_identity_t hws_identity_make(const char *name);
/* Whether both want the same; what is no name equals nothing. */
bool hws_identity_equals(const hws_identity_t *a, const hws_identity_t *b);
/* Whether one entry of a certificate names it. `*` stands for exactly one label, the left-most, in
 * front of at least two more. */
bool hws_identity_fits(const hws_identity_t *identity, const hws_san_t *san);

#endif
