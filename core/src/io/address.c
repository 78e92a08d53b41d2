#include "io/address.h"

#include <arpa/inet.h>
#include <string.h>

int hws_address_from_ip(hws_slice_t text, uint16_t port, hws_address_t *out)
{
    char literal[INET6_ADDRSTRLEN];
    hws_address_t address;

    if (text.size == 0 || text.size >= sizeof(literal) ||
        memchr(text.data, '\0', text.size) != NULL)
        return HWS_ERR_NAME;
    memcpy(literal, text.data, text.size);
    literal[text.size] = '\0';
    memset(&address, 0, sizeof(address));
    if (inet_pton(AF_INET, literal, &address.as.v4.sin_addr) == 1) {
        address.as.v4.sin_family = AF_INET;
        address.as.v4.sin_port = htons(port);
        address.size = sizeof(address.as.v4);
    } else if (inet_pton(AF_INET6, literal, &address.as.v6.sin6_addr) == 1) {
        address.as.v6.sin6_family = AF_INET6;
        address.as.v6.sin6_port = htons(port);
        address.size = sizeof(address.as.v6);
    } else {
        return HWS_ERR_NAME;
    }
    *out = address;
    return HWS_OK;
}

int hws_address_from_path(hws_slice_t path, hws_address_t *out)
{
    hws_address_t address;

    memset(&address, 0, sizeof(address));
    if (path.size == 0 || path.size >= sizeof(address.as.local.sun_path) ||
        memchr(path.data, '\0', path.size) != NULL)
        return HWS_ERR_BAD_URL;
    address.as.local.sun_family = AF_UNIX;
    memcpy(address.as.local.sun_path, path.data, path.size);
    address.size = sizeof(address.as.local);
    *out = address;
    return HWS_OK;
}
