/* dns_message.h - answers of name servers, written byte by byte (RFC 1035, 4), right ones and wrong ones.
 *
 * No test library is needed: programs use it as well. */
#ifndef TESTS_SUPPORT_DNS_MESSAGE_H
#define TESTS_SUPPORT_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    DNS_MESSAGE_SIZE = 4096,
    DNS_NAME_SIZE = 256,
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_AAAA = 28
};

typedef struct {
    unsigned char bytes[DNS_MESSAGE_SIZE];
    size_t size;
} dns_message_t;

/* A question as it came. */
typedef struct {
    const unsigned char *bytes;
    size_t size;              /* of header and question */
    char name[DNS_NAME_SIZE]; /* in lower case */
    int type;
} dns_query_t;

/* False when it is none. `bytes` are borrowed. */
bool dns_query_read(const unsigned char *bytes, size_t size, dns_query_t *query);
/* Header and question, to which records are added; `code` is that of the answer. */
void dns_begin(dns_message_t *message, const dns_query_t *query, int code);
/* The head of a record with `size` bytes of data, which follow. `name` NULL: the question's. */
void dns_put_record(dns_message_t *message, const char *name, int type, uint32_t ttl, size_t size);
/* The whole record that makes `name` an alias. */
void dns_put_alias(dns_message_t *message, const char *name, const char *target, uint32_t ttl);
/* Aborts when there is no room. */
void dns_put(dns_message_t *message, const void *bytes, size_t size);
void dns_put_number(dns_message_t *message, uint32_t number, int bytes);

#endif
