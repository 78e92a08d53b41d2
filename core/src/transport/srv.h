/* srv.h - the SRV records of a service (RFC 2782), out of a DNS response. Pure. */
#ifndef HWS_TRANSPORT_SRV_H
#define HWS_TRANSPORT_SRV_H

#include "base/random.h"

#include <hawser/error.h>

#define HWS_SRV_TARGET_MAX 253

/* Where one instance of the service is. */
typedef struct {
    uint16_t priority; /* the lowest is to be tried first */
    uint16_t weight;   /* its share among those of the same priority */
    uint16_t port;
    uint32_t ttl;                        /* seconds, the shortest on the way to it */
    char target[HWS_SRV_TARGET_MAX + 1]; /* a host name, without the dot at the end */
} hws_srv_t;

/* Reads a whole response to a question for SRV records. HWS_OK: `*count` of them, at least one and
 * at most `max`, in the server's order; what is more is left out, so that ordering them stays cheap
 * (256 are plenty). Aliases (CNAME) are
 * followed in the order in which they come; records of other names and types are skipped.
 *
 * HWS_ERR_NODATA: there is no record, or the one with the target "." which says that the service is
 * not there. HWS_ERR_NXDOMAIN, HWS_ERR_SERVFAIL, HWS_ERR_DNS_REFUSED, HWS_ERR_DNS: what the server
 * said. HWS_ERR_DNS_MALFORMED: anything else, a truncated response included; one record that cannot
 * be understood spoils them all. `out` is undefined unless HWS_OK is returned, `*count` then left. */
int hws_srv_parse(const void *response, size_t size, hws_srv_t *out, uint32_t max, uint32_t *count);

/* Puts them in the order in which they are to be tried: by priority, and among equals at random, so
 * that each is before the others as often as its weight demands (RFC 2782, Weight). */
void hws_srv_order(hws_srv_t *records, uint32_t count, hws_random_t *random);

#endif
