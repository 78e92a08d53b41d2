#include "codec/h2_section.h"

#include "codec/h1_parse.h"

#include <string.h>

#define KEPT 4096U /* bytes of an ordinary head */

#define IS_WORD(text, word)                                                                        \
    ((text).size == sizeof(word) - 1 && memcmp((text).data, word, sizeof(word) - 1) == 0)

static void put(hws_buffer_t *to, const char *from, size_t size)
{
    memcpy(to->data + to->tail, from, size);
    to->tail += size;
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
    section->start = 0;
}

int hws_h2_section_add(hws_h2_section_t *section, hws_slice_t name, hws_slice_t value, size_t limit)
{
    hws_buffer_t *bytes = &section->bytes;
    size_t size = name.size + value.size + sizeof(": \r\n") - 1;

    if (hws_buffer_size(bytes) + size > limit)
        return HWS_ERR_HEAD_SIZE;
    if (hws_buffer_reserve(bytes, size) != HWS_OK)
        return HWS_ERR_NOMEM;
    if (name.data[0] == ':') { /* a response has but :status */
        section->status = (uint16_t)number_of(value);
        put(bytes, "HTTP/2 ", 7);
        put(bytes, value.data, value.size);
        put(bytes, "\r\n", 2);
        section->start = (uint32_t)hws_buffer_size(bytes);
        return HWS_OK;
    }
    if (IS_WORD(name, "content-length"))
        section->length = number_of(value);
    put(bytes, name.data, name.size);
    put(bytes, ": ", 2);
    put(bytes, value.data, value.size);
    put(bytes, "\r\n", 2);
    return HWS_OK;
}

int hws_h2_section_head(hws_h2_section_t *section, uint32_t most, hws_fields_t *scratch,
                        hws_head_t *head)
{
    hws_buffer_t *bytes = &section->bytes;

    if (hws_buffer_append(bytes, "\r\n", 2) != HWS_OK)
        return HWS_ERR_NOMEM;
    *head = (hws_head_t){.bytes = hws_buffer_bytes(bytes),
                         .size = section->start,
                         .status = section->status,
                         .version = 20};
    return hws_h1_parse_trailers(head, head->bytes + hws_buffer_size(bytes), most, scratch);
}

void hws_h2_section_end(hws_h2_section_t *section)
{
    if (section->bytes.capacity > KEPT)
        hws_buffer_dispose(&section->bytes);
    else
        hws_buffer_clear(&section->bytes);
}
