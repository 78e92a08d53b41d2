#include "transport/srv.h"

#include <stdbool.h>
#include <string.h>

#define HEADER_SIZE ((size_t)12)
#define TYPE_CNAME 5U
#define TYPE_SRV 33U
#define CLASS_IN 1U
/* RFC 1035, 2.3.4: with the lengths of the labels and the last, empty one. */
#define ENCODED_NAME_MAX 255U
#define LABEL_MAX 63U

typedef struct {
    const unsigned char *bytes;
    size_t size;
    size_t at;
} reader_t;

/* A name as it stands there: labels, each behind its length. In small letters. */
typedef struct {
    unsigned char bytes[ENCODED_NAME_MAX];
    size_t size;
} name_t;

typedef struct {
    name_t owner;
    uint16_t type;
    uint16_t class;
    uint32_t ttl;
    size_t end; /* of its data */
} record_t;

/* Numbers and names ---------------------------------------------------------------------------- */

static bool read_u16(reader_t *reader, uint16_t *out)
{
    const unsigned char *bytes = reader->bytes + reader->at;

    if (reader->size - reader->at < 2)
        return false;
    *out = (uint16_t)(bytes[0] << 8 | bytes[1]);
    reader->at += 2;
    return true;
}

/* One with the top bit set counts as 0 (RFC 2181, 8). */
static bool read_ttl(reader_t *reader, uint32_t *out)
{
    uint16_t high;
    uint16_t low;

    if (!read_u16(reader, &high) || !read_u16(reader, &low))
        return false;
    *out = high & 0x8000 ? 0 : (uint32_t)high << 16 | low;
    return true;
}

static unsigned char small(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static bool append_label(name_t *name, const unsigned char *label, size_t size)
{
    size_t i;

    if (name->size + 1 + size > sizeof(name->bytes))
        return false;
    name->bytes[name->size++] = (unsigned char)size;
    for (i = 0; i < size; i++)
        name->bytes[name->size++] = small(label[i]);
    return true;
}

/* A pointer leads to a place before the one that it was met in (RFC 1035, 4.1.4: "a prior
 * occurrence"), and each further one to before that: so there are no loops. */
static bool read_name(reader_t *reader, name_t *name)
{
    size_t at = reader->at;
    size_t start = at;
    bool has_jumped = false;

    name->size = 0;
    while (at < reader->size) {
        unsigned length = reader->bytes[at];

        if (length >= 0xc0) {
            size_t target;

            if (at + 2 > reader->size)
                return false;
            target = (size_t)(length & 0x3f) << 8 | reader->bytes[at + 1];
            if (target >= start || target < HEADER_SIZE)
                return false;
            if (!has_jumped)
                reader->at = at + 2;
            has_jumped = true;
            at = start = target;
            continue;
        }
        if (length > LABEL_MAX || length >= reader->size - at ||
            !append_label(name, reader->bytes + at + 1, length))
            return false;
        at += 1 + length;
        if (length > 0)
            continue;
        if (!has_jumped)
            reader->at = at;
        return true;
    }
    return false;
}

static bool is_same(const name_t *a, const name_t *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool is_host_byte(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Writes a name with dots. False: it is none of a host. Of the root, "". */
static bool write_host(const name_t *name, char *out)
{
    size_t at = 0;
    size_t used = 0;

    while (name->bytes[at] != 0) {
        size_t end = at + 1 + name->bytes[at];

        if (used > 0)
            out[used++] = '.';
        for (at++; at < end; at++) {
            if (!is_host_byte(name->bytes[at]))
                return false;
            out[used++] = (char)name->bytes[at];
        }
    }
    out[used] = '\0';
    return true;
}

/* Responses ------------------------------------------------------------------------------------- */

static int code_of(unsigned code)
{
    switch (code) {
    case 0:
        return HWS_OK;
    case 2:
    case 4:
        return HWS_ERR_SERVFAIL;
    case 3:
        return HWS_ERR_NXDOMAIN;
    case 5:
        return HWS_ERR_DNS_REFUSED;
    default:
        return HWS_ERR_DNS;
    }
}

/* Reads header and question. */
static int begin(reader_t *reader, name_t *name, uint16_t *answers)
{
    uint16_t flags;
    uint16_t questions;
    uint16_t type;
    uint16_t class;
    int rc;

    if (reader->size < HEADER_SIZE)
        return HWS_ERR_DNS_MALFORMED;
    reader->at = 2;
    (void)read_u16(reader, &flags);
    (void)read_u16(reader, &questions);
    (void)read_u16(reader, answers);
    /* A response to a standard query that is whole. */
    if ((flags & 0xfa00) != 0x8000)
        return HWS_ERR_DNS_MALFORMED;
    if ((rc = code_of(flags & 15U)) != HWS_OK)
        return rc;
    reader->at = HEADER_SIZE;
    if (questions != 1 || !read_name(reader, name) || !read_u16(reader, &type) ||
        !read_u16(reader, &class) || type != TYPE_SRV || class != CLASS_IN)
        return HWS_ERR_DNS_MALFORMED;
    return HWS_OK;
}

static bool read_record(reader_t *reader, record_t *record)
{
    uint16_t size;

    if (!read_name(reader, &record->owner) || !read_u16(reader, &record->type) ||
        !read_u16(reader, &record->class) || !read_ttl(reader, &record->ttl) ||
        !read_u16(reader, &size) || size > reader->size - reader->at)
        return false;
    record->end = reader->at + size;
    return true;
}

static bool read_srv(reader_t *reader, const record_t *record, hws_srv_t *out)
{
    name_t target;

    return read_u16(reader, &out->priority) && read_u16(reader, &out->weight) &&
           read_u16(reader, &out->port) && read_name(reader, &target) &&
           reader->at == record->end && write_host(&target, out->target);
}

static uint32_t shorter(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int hws_srv_parse(const void *response, size_t size, hws_srv_t *out, uint32_t max, uint32_t *count)
{
    reader_t reader = {.bytes = response, .size = size};
    uint32_t ttl = UINT32_MAX;
    uint32_t found = 0;
    uint16_t answers = 0;
    name_t name;
    int rc = begin(&reader, &name, &answers);

    if (rc != HWS_OK)
        return rc;
    while (answers-- > 0) {
        record_t record;

        if (!read_record(&reader, &record))
            return HWS_ERR_DNS_MALFORMED;
        if (record.class == CLASS_IN && is_same(&record.owner, &name)) {
            hws_srv_t srv;

            if (record.type == TYPE_CNAME) {
                if (!read_name(&reader, &name) || reader.at != record.end)
                    return HWS_ERR_DNS_MALFORMED;
                ttl = shorter(ttl, record.ttl);
            } else if (record.type == TYPE_SRV) {
                if (!read_srv(&reader, &record, &srv))
                    return HWS_ERR_DNS_MALFORMED;
                srv.ttl = shorter(ttl, record.ttl);
                /* "." among others says nothing: nobody can connect to it. */
                if (srv.target[0] != '\0' && found < max)
                    out[found++] = srv;
            }
        }
        reader.at = record.end;
    }
    if (found == 0)
        return HWS_ERR_NODATA;
    *count = found;
    return HWS_OK;
}

/* Order ----------------------------------------------------------------------------------------- */

static void swap(hws_srv_t *a, hws_srv_t *b)
{
    hws_srv_t kept = *a;

    *a = *b;
    *b = kept;
}

/* By priority, and those without weight first, as RFC 2782 wants them summed up. In place, and
 * quick enough for what fits into a response. */
static void sort(hws_srv_t *records, uint32_t count)
{
    uint32_t i;
    uint32_t j;

    for (i = 1; i < count; i++)
        for (j = i; j > 0; j--) {
            const hws_srv_t *a = &records[j - 1];
            const hws_srv_t *b = &records[j];

            if (a->priority < b->priority ||
                (a->priority == b->priority && (a->weight == 0) >= (b->weight == 0)))
                break;
            swap(&records[j - 1], &records[j]);
        }
}

/* Draws one of `count` after the other: the first whose running sum of weights reaches a random
 * number between 0 and the sum of all. */
static void draw(hws_srv_t *records, uint32_t count, hws_random_t *random)
{
    for (; count > 1; records++, count--) {
        uint32_t sum = 0;
        uint32_t picked;
        uint32_t i;

        for (i = 0; i < count; i++)
            sum += records[i].weight;
        picked = hws_random_below(random, sum + 1);
        for (i = 0, sum = records[0].weight; sum < picked; sum += records[i].weight)
            i++;
        /* The others keep their order, with those without weight first. */
        for (; i > 0; i--)
            swap(&records[i], &records[i - 1]);
    }
}

void hws_srv_order(hws_srv_t *records, uint32_t count, hws_random_t *random)
{
    uint32_t first = 0;
    uint32_t next;

    sort(records, count);
    for (; first < count; first = next) {
        for (next = first + 1; next < count && records[next].priority == records[first].priority;
             next++)
            ;
        draw(records + first, next - first, random);
    }
}
