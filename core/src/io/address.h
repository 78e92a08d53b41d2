/* address.h - where a socket connects to, and the literal forms that name it. */
#ifndef HWS_IO_ADDRESS_H
#define HWS_IO_ADDRESS_H

#include <hawser/error.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* In the order in which they are tried (RFC 8305). */
typedef enum { HWS_IPV6, HWS_IPV4, HWS_FAMILIES } hws_family_t;

typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } as;
    socklen_t size;
} hws_address_t;

/* An address of a host, as look-ups find it: without a port, and a sixth of an hws_address_t. */
typedef struct {
    uint8_t family;    /* AF_INET or AF_INET6 */
    uint8_t bytes[16]; /* in network order; of IPv4 the first 4, the rest is 0 */
} hws_ip_t;

/* `family` is AF_INET with 4 bytes behind it, or AF_INET6 with 16. */
hws_ip_t hws_ip_make(int family, const void *bytes);
/* From "127.0.0.1" or "::1" (no brackets, no zone). HWS_ERR_INVALID when it is neither. */
int hws_ip_from_text(hws_slice_t text, hws_ip_t *out);
/* That of an address which has one. */
hws_ip_t hws_ip_of_address(const hws_address_t *address);
/* What a socket at that host and port connects to. */
void hws_address_of_ip(const hws_ip_t *ip, uint16_t port, hws_address_t *out);

/* From "127.0.0.1" or "::1" (no brackets, no zone). HWS_ERR_INVALID when it is neither. */
int hws_address_from_ip(hws_slice_t text, uint16_t port, hws_address_t *out);
/* Takes "host", "host:port" or "[v6]:port" apart (RFC 3986, 3.2). `*host` is without the brackets, and
 * has bytes of any kind but colons out of them; `*port` is left alone where none is given, as in "host"
 * and "host:" (3.2.3). Returns NULL, or in words what is wrong, and sets nothing then. */
const char *hws_authority_parse(hws_slice_t text, hws_slice_t *host, uint16_t *port);
/* From a path. HWS_ERR_BAD_URL when it is empty, holds a NUL or is too long for the system. */
int hws_address_from_path(hws_slice_t path, hws_address_t *out);

#endif
