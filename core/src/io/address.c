#include "io/address.h"

#include <arpa/inet.h>
#include <string.h>

hws_ip_t hws_ip_make(int family, const void *bytes)
{
    hws_ip_t ip = {.family = (uint8_t)family};

    memcpy(ip.bytes, bytes, family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr));
    return ip;
}

int hws_ip_from_text(hws_slice_t text, hws_ip_t *out)
{
    char literal[INET6_ADDRSTRLEN];
    struct in6_addr bytes; /* room for either */
    int family = AF_INET;

    if (text.size == 0 || text.size >= sizeof(literal) ||
        memchr(text.data, '\0', text.size) != NULL)
        return HWS_ERR_INVALID;
    memcpy(literal, text.data, text.size);
    literal[text.size] = '\0';
    if (inet_pton(family, literal, &bytes) != 1) {
        family = AF_INET6;
        if (inet_pton(family, literal, &bytes) != 1)
            return HWS_ERR_INVALID;
    }
    *out = hws_ip_make(family, &bytes);
    return HWS_OK;
}

hws_ip_t hws_ip_of_address(const hws_address_t *address)
{
    if (address->as.any.sa_family == AF_INET)
        return hws_ip_make(AF_INET, &address->as.v4.sin_addr);
    return hws_ip_make(AF_INET6, &address->as.v6.sin6_addr);
}

void hws_address_of_ip(const hws_ip_t *ip, uint16_t port, hws_address_t *out)
{
    memset(out, 0, sizeof(*out));
    if (ip->family == AF_INET) {
        out->as.v4.sin_family = AF_INET;
        out->as.v4.sin_port = htons(port);
        memcpy(&out->as.v4.sin_addr, ip->bytes, sizeof(out->as.v4.sin_addr));
        out->size = sizeof(out->as.v4);
    } else {
        out->as.v6.sin6_family = AF_INET6;
        out->as.v6.sin6_port = htons(port);
        memcpy(&out->as.v6.sin6_addr, ip->bytes, sizeof(out->as.v6.sin6_addr));
        out->size = sizeof(out->as.v6);
    }
}

int hws_address_from_ip(hws_slice_t text, uint16_t port, hws_address_t *out)
{
    hws_ip_t ip;
    int rc = hws_ip_from_text(text, &ip);

    if (rc == HWS_OK)
        hws_address_of_ip(&ip, port, out);
    return rc;
}

/* An empty one is none. */
static bool parse_port(hws_slice_t digits, uint16_t *out)
{
    uint32_t port = 0;
    size_t i;

    if (digits.size == 0)
        return true;
    if (digits.size > 5)
        return false;
    for (i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(digits.data[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

const char *hws_authority_parse(hws_slice_t text, hws_slice_t *host, uint16_t *port)
{
    const char *end = text.data + text.size;
    bool has_brackets = text.size > 0 && text.data[0] == '[';
    const char *close = has_brackets ? memchr(text.data, ']', text.size) : NULL;
    const char *from = has_brackets ? text.data + 1 : text.data;
    const char *after; /* the host */
    const char *digits;

    if (has_brackets && close == NULL)
        return "no ] after the IPv6 address";
    if (has_brackets && memchr(from, ':', (size_t)(close - from)) == NULL)
        return "brackets are for IPv6 addresses";
    after = has_brackets ? close : memchr(from, ':', text.size);
    if (after == NULL)
        after = end;
    if (after == from)
        return "the host is missing";
    digits = has_brackets ? after + 1 : after;
    if (digits < end && *digits++ != ':')
        return "a port follows the address as :port";
    if (memchr(digits, ':', (size_t)(end - digits)) != NULL)
        return "an IPv6 address stands in brackets: [::1]:80";
    if (!parse_port((hws_slice_t){digits, (size_t)(end - digits)}, port))
        return "the port is a number from 1 to 65535";
    *host = (hws_slice_t){from, (size_t)(after - from)};
    return NULL;
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
