#include "codec/h2_section.h"

#include "base/memory.h"

#include <string.h>

#define KEPT 4096U          /* bytes of an ordinary head */
#define KEPT_FIELDS 64U     /* of one */
#define BYTES_PER_FIELD 32U /* of limits.header */

#define IS_WORD(text, word)                                                                        \
    ((text).size == sizeof(word) - 1 && memcmp((text).data, word, sizeof(word) - 1) == 0)

static char *put(char *to, const char *from, size_t size)
{
    memcpy(to, from, size);
    return to + size;
}

/* Digits and nothing else: nghttp2 has looked at them. */
static uint64_t number_of(hws_slice_t text)
{
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < text.size; i++)
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    return number;
}

void hws_h2_section_begin(hws_h2_section_t *section)
{
    hws_buffer_clear(&section->bytes);
    section->length = HWS_BODY_UNKNOWN;
    section->status = 0;
    section->count = 0;
}

static void add_status(hws_h2_section_t *section, hws_slice_t value)
{
    hws_buffer_t *bytes = &section->bytes;
    char *to = put(bytes->data + bytes->tail, "HTTP/2 ", 7);

    section->status = (uint16_t)number_of(value);
    to = put(put(to, value.data, value.size), "\r\n", 2);
    bytes->tail = (size_t)(to - bytes->data);
}

static void add_field(hws_h2_section_t *section, hws_slice_t name, hws_slice_t value)
{
    hws_buffer_t *bytes = &section->bytes;
    uint32_t at = (uint32_t)hws_buffer_size(bytes);
    char *to = put(bytes->data + bytes->tail, name.data, name.size);

    section->fields.items[section->count++] =
        (hws_field_t){at, (uint32_t)name.size, at + (uint32_t)name.size + 2, (uint32_t)value.size};
    to = put(put(put(to, ": ", 2), value.data, value.size), "\r\n", 2);
    bytes->tail = (size_t)(to - bytes->data);
}

int hws_h2_section_add(hws_h2_section_t *section, hws_slice_t name, hws_slice_t value, size_t limit)
{
    hws_buffer_t *bytes = &section->bytes;
    size_t size = name.size + value.size + sizeof("HTTP/2 \r\n") - 1;
    int rc;

    if (hws_buffer_size(bytes) + size > limit)
        return HWS_ERR_HEAD_SIZE;
    if (section->count >= limit / BYTES_PER_FIELD)
        return HWS_ERR_HEAD_FIELDS;
    if ((rc = hws_buffer_reserve(bytes, size + 2)) != HWS_OK || /* with the blank line */
        (rc = hws_fields_reserve(&section->fields, section->count, UINT32_MAX)) != HWS_OK)
        return rc;
    if (name.data[0] == ':') { /* a response has but :status */
        add_status(section, value);
        return HWS_OK;
    }
    if (IS_WORD(name, "content-length"))
        section->length = number_of(value);
    add_field(section, name, value);
    return HWS_OK;
}

hws_head_t hws_h2_section_head(hws_h2_section_t *section)
{
    hws_buffer_t *bytes = &section->bytes;

    if (!hws_buffer_is_empty(bytes)) {
        (void)put(bytes->data + bytes->tail, "\r\n", 2);
        bytes->tail += 2;
    }
    return (hws_head_t){.bytes = hws_buffer_bytes(bytes),
                        .size = (uint32_t)hws_buffer_size(bytes),
                        .fields = section->fields.items,
                        .count = section->count,
                        .status = section->status,
                        .version = 20};
}

void hws_h2_section_dispose(hws_h2_section_t *section)
{
    hws_buffer_dispose(&section->bytes);
    hws_free(section->fields.items);
    section->fields = (hws_fields_t){.items = NULL};
}

void hws_h2_section_end(hws_h2_section_t *section)
{
    if (section->bytes.capacity > KEPT || section->fields.capacity > KEPT_FIELDS)
        hws_h2_section_dispose(section);
    else
        hws_buffer_clear(&section->bytes);
}
