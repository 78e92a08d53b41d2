/* address.h - where a socket connects to, and the literal forms that name it. */
#ifndef HWS_IO_ADDRESS_H
#define HWS_IO_ADDRESS_H

#include <hawser/error.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } as;
    socklen_t size;
} hws_address_t;

/* From "127.0.0.1" or "::1" (no brackets, no zone). HWS_ERR_NAME when it is neither. */
int hws_address_from_ip(hws_slice_t text, uint16_t port, hws_address_t *out);
/* From a path. HWS_ERR_BAD_URL when it is empty, holds a NUL or is too long for the system. */
int hws_address_from_path(hws_slice_t path, hws_address_t *out);

#endif
