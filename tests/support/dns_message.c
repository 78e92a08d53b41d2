#include "support/dns_message.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool dns_query_read(const unsigned char *bytes, size_t size, dns_query_t *query)
{
    size_t at = 12;
    size_t used = 0;

    query->bytes = bytes;
    while (at < size && bytes[at] != 0) {
        size_t label = bytes[at++];

        if (label > 63 || at + label > size || used + label + 2 > sizeof(query->name))
            return false;
        if (used > 0)
            query->name[used++] = '.';
        for (; label > 0; label--)
            query->name[used++] = (char)tolower(bytes[at++]);
    }
    query->name[used] = '\0';
    if (at + 5 > size)
        return false;
    query->size = at + 5;
    query->type = bytes[at + 1] << 8 | bytes[at + 2];
    return true;
}

void dns_put(dns_message_t *message, const void *bytes, size_t size)
{
    if (message->size + size > sizeof(message->bytes))
        abort();
    memcpy(message->bytes + message->size, bytes, size);
    message->size += size;
}

void dns_put_number(dns_message_t *message, uint32_t number, int bytes)
{
    while (bytes-- > 0) {
        unsigned char byte = (unsigned char)(number >> (8 * bytes));

        dns_put(message, &byte, 1);
    }
}

/* "a.b" as labels. */
static void put_name(dns_message_t *message, const char *name)
{
    while (*name != '\0') {
        size_t size = strcspn(name, ".");

        dns_put_number(message, (uint32_t)size, 1);
        dns_put(message, name, size);
        name += size + (name[size] == '.');
    }
    dns_put_number(message, 0, 1);
}

void dns_begin(dns_message_t *message, const dns_query_t *query, int code)
{
    message->size = 0;
    dns_put(message, query->bytes, query->size);
    message->bytes[2] = 0x81;
    message->bytes[3] = (unsigned char)(0x80 | code);
    memset(message->bytes + 6, 0, 6);
}

void dns_put_record(dns_message_t *message, const char *name, int type, uint32_t ttl, size_t size)
{
    message->bytes[7]++;
    if (name != NULL)
        put_name(message, name);
    else
        dns_put_number(message, 0xc00c, 2);
    dns_put_number(message, (uint32_t)type, 2);
    dns_put_number(message, 1, 2);
    dns_put_number(message, ttl, 4);
    dns_put_number(message, (uint32_t)size, 2);
}

void dns_put_alias(dns_message_t *message, const char *name, const char *target, uint32_t ttl)
{
    dns_put_record(message, name, DNS_TYPE_CNAME, ttl, strlen(target) + 2);
    put_name(message, target);
}
