#include "transport/tls_san.h"

#include <arpa/inet.h>
#include <string.h>

#define TAG_BOOLEAN 0x01
#define TAG_OCTETS 0x04
#define TAG_OID 0x06
#define TAG_SEQUENCE 0x30
#define TAG_DNS 0x82 /* [2] IA5String, implicit */
#define TAG_IP 0x87  /* [7] OCTET STRING, implicit */

/* GeneralName ends with [8]. */
#define LAST_NAME 8

/* The object identifier 2.5.29.17. */
static const unsigned char subject_alt_name[] = {0x55, 0x1d, 0x11};

typedef struct {
    unsigned char tag;
    hws_slice_t value;
} element_t;

static unsigned char byte_at(hws_slice_t slice, size_t i)
{
    return (unsigned char)slice.data[i];
}

static void skip(hws_slice_t *slice, size_t size)
{
    slice->data += size;
    slice->size -= size;
}

/* Takes the length in front of `in`: one byte, or the number of bytes that follow with 0x80. */
static int take_length(hws_slice_t *in, size_t *out)
{
    size_t length;
    size_t count;
    size_t i;

    if (in->size == 0)
        return HWS_ERR_CERT_INVALID;
    length = byte_at(*in, 0);
    skip(in, 1);
    if (length < 0x80) {
        *out = length;
        return HWS_OK;
    }
    count = length & 0x7f;
    if (count == 0 || count > 3 || count > in->size || byte_at(*in, 0) == 0)
        return HWS_ERR_CERT_INVALID;
    for (length = 0, i = 0; i < count; i++)
        length = length << 8 | byte_at(*in, i);
    skip(in, count);
    if (length < 0x80)
        return HWS_ERR_CERT_INVALID;
    *out = length;
    return HWS_OK;
}

/* Takes the element in front of `in`. Tags of more than one byte stand in none that we read. */
static int take(hws_slice_t *in, element_t *out)
{
    hws_slice_t rest = *in;
    size_t length;
    unsigned char tag;
    int rc;

    if (rest.size == 0 || (byte_at(rest, 0) & 0x1f) == 0x1f)
        return HWS_ERR_CERT_INVALID;
    tag = byte_at(rest, 0);
    skip(&rest, 1);
    if ((rc = take_length(&rest, &length)) != HWS_OK)
        return rc;
    if (length > rest.size)
        return HWS_ERR_CERT_INVALID;
    *out = (element_t){tag, {rest.data, length}};
    skip(&rest, length);
    *in = rest;
    return HWS_OK;
}

static int take_tagged(hws_slice_t *in, unsigned char tag, hws_slice_t *out)
{
    element_t element;
    int rc = take(in, &element);

    if (rc != HWS_OK)
        return rc;
    if (element.tag != tag)
        return HWS_ERR_CERT_INVALID;
    *out = element.value;
    return HWS_OK;
}

/* Takes one element that fills all of `in`. */
static int take_whole(hws_slice_t in, unsigned char tag, hws_slice_t *out)
{
    int rc = take_tagged(&in, tag, out);

    return rc == HWS_OK && in.size > 0 ? HWS_ERR_CERT_INVALID : rc;
}

/* Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING } */
static int take_extension(hws_slice_t *in, hws_slice_t *oid, hws_slice_t *value)
{
    hws_slice_t body;
    hws_slice_t critical;
    int rc;

    if ((rc = take_tagged(in, TAG_SEQUENCE, &body)) != HWS_OK ||
        (rc = take_tagged(&body, TAG_OID, oid)) != HWS_OK)
        return rc;
    if (body.size > 0 && byte_at(body, 0) == TAG_BOOLEAN &&
        (rc = take_tagged(&body, TAG_BOOLEAN, &critical)) != HWS_OK)
        return rc;
    return take_whole(body, TAG_OCTETS, value);
}

static bool is_subject_alt_name(hws_slice_t oid)
{
    return oid.size == sizeof(subject_alt_name) &&
           memcmp(oid.data, subject_alt_name, oid.size) == 0;
}

int hws_san_open(hws_slice_t extensions, hws_san_reader_t *out)
{
    hws_slice_t names = {NULL, 0};
    hws_slice_t list;
    hws_slice_t oid;
    hws_slice_t value;
    int rc;

    if (extensions.size == 0)
        return HWS_END;
    if ((rc = take_whole(extensions, TAG_SEQUENCE, &list)) != HWS_OK)
        return rc;
    while (list.size > 0) {
        if ((rc = take_extension(&list, &oid, &value)) != HWS_OK)
            return rc;
        if (!is_subject_alt_name(oid))
            continue;
        if (names.data != NULL)
            return HWS_ERR_CERT_INVALID;
        if ((rc = take_whole(value, TAG_SEQUENCE, &names)) != HWS_OK)
            return rc;
    }
    if (names.data == NULL)
        return HWS_END;
    out->rest = names;
    return HWS_OK;
}

int hws_san_next(hws_san_reader_t *reader, hws_san_t *out)
{
    while (reader->rest.size > 0) {
        element_t name;
        int rc = take(&reader->rest, &name);

        if (rc != HWS_OK)
            return rc;
        /* Each name is context-specific. */
        if ((name.tag & 0xc0) != 0x80 || (name.tag & 0x1f) > LAST_NAME)
            return HWS_ERR_CERT_INVALID;
        if (name.tag == TAG_DNS || name.tag == TAG_IP) {
            *out = (hws_san_t){name.tag == TAG_DNS ? HWS_SAN_DNS : HWS_SAN_IP, name.value};
            return HWS_OK;
        }
    }
    return HWS_END;
}

/* Appends while there is room; the text stays terminated. */
static void append(char *text, size_t size, const char *from, size_t length)
{
    size_t used = strlen(text);
    size_t i;

    for (i = 0; i < length && used + 1 < size; i++)
        text[used++] = (char)(from[i] > ' ' && from[i] < 0x7f ? from[i] : '?');
    text[used] = '\0';
}

static void append_san(char *text, size_t size, const hws_san_t *san)
{
    char ip[INET6_ADDRSTRLEN] = "?";

    if (san->kind == HWS_SAN_DNS) {
        append(text, size, san->value.data, san->value.size);
        return;
    }
    if (san->value.size == 4)
        inet_ntop(AF_INET, san->value.data, ip, sizeof(ip));
    else if (san->value.size == 16)
        inet_ntop(AF_INET6, san->value.data, ip, sizeof(ip));
    append(text, size, ip, strlen(ip));
}

void hws_san_describe(hws_slice_t extensions, char *text, size_t size)
{
    hws_san_reader_t reader;
    hws_san_t san;

    text[0] = '\0';
    if (hws_san_open(extensions, &reader) != HWS_OK)
        return;
    while (hws_san_next(&reader, &san) == HWS_OK && strlen(text) + 1 < size) {
        size_t used = strlen(text);

        if (used > 0 && used + 2 < size)
            memcpy(text + used, ", ", 3);
        append_san(text, size, &san);
    }
}
