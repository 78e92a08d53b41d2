#include "transport/identity.h"

#include <arpa/inet.h>
#include <string.h>

#define LABEL_MAX 63

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The underscore stands in no host name, but is met in internal ones. */
static bool is_label_character(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

/* Labels of 1 to 63 characters with dots between. One that ends in a number is an address in some
 * odd form ("127.1"), which a certificate must not pass for a name. */
static bool is_dns_name(hws_slice_t name)
{
    size_t label = 0;
    bool is_number = true;
    size_t i;

    for (i = 0; i < name.size; i++) {
        char c = name.data[i];

        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            is_number = true;
            continue;
        }
        if (!is_label_character(c) || ++label > LABEL_MAX)
            return false;
        is_number = is_number && is_digit(c);
    }
    return label > 0 && !is_number && name.size <= HWS_DNS_NAME_MAX;
}

hws_identity_t hws_identity_make(const char *name)
{
    hws_identity_t identity = {.kind = HWS_IDENTITY_NONE};
    hws_slice_t dns = {name, strlen(name)};
    size_t i;

    if (inet_pton(AF_INET, name, identity.ip) == 1)
        identity.ip_size = 4;
    else if (inet_pton(AF_INET6, name, identity.ip) == 1)
        identity.ip_size = 16;
    if (identity.ip_size > 0) {
        identity.kind = HWS_IDENTITY_IP;
        return identity;
    }
    if (dns.size > 0 && name[dns.size - 1] == '.')
        dns.size--;
    if (!is_dns_name(dns))
        return identity;
    identity.kind = HWS_IDENTITY_DNS;
    for (i = 0; i < dns.size; i++)
        identity.dns[i] = lower(name[i]);
    return identity;
}

bool hws_identity_equals(const hws_identity_t *a, const hws_identity_t *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case HWS_IDENTITY_DNS:
        return strcmp(a->dns, b->dns) == 0;
    case HWS_IDENTITY_IP:
        return a->ip_size == b->ip_size && memcmp(a->ip, b->ip, a->ip_size) == 0;
    case HWS_IDENTITY_NONE:
        break;
    }
    return false;
}

/* Both are DNS names, `wanted` in lower case. */
static bool are_equal(const char *wanted, hws_slice_t entry)
{
    size_t i;

    if (strlen(wanted) != entry.size)
        return false;
    for (i = 0; i < entry.size; i++)
        if (wanted[i] != lower(entry.data[i]))
            return false;
    return true;
}

static bool fits_dns(const char *wanted, hws_slice_t entry)
{
    bool is_wildcard = entry.size > 2 && entry.data[0] == '*' && entry.data[1] == '.';

    if (is_wildcard) {
        entry = (hws_slice_t){entry.data + 2, entry.size - 2};
        if (memchr(entry.data, '.', entry.size) == NULL || (wanted = strchr(wanted, '.')) == NULL)
            return false;
        wanted++;
    }
    return is_dns_name(entry) && are_equal(wanted, entry);
}

bool hws_identity_fits(const hws_identity_t *identity, const hws_san_t *san)
{
    switch (identity->kind) {
    case HWS_IDENTITY_DNS:
        return san->kind == HWS_SAN_DNS && fits_dns(identity->dns, san->value);
    case HWS_IDENTITY_IP:
        return san->kind == HWS_SAN_IP && san->value.size == identity->ip_size &&
               memcmp(san->value.data, identity->ip, identity->ip_size) == 0;
    case HWS_IDENTITY_NONE:
        break;
    }
    return false;
}
