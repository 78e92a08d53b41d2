#include "base/memory.h"
#include "codec/codec.h"

#define FIRST_FIELDS 32U

static char small(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

static bool is_name(hws_slice_t a, hws_slice_t b)
{
    size_t i;

    for (i = 0; i < a.size; i++)
        if (small(a.data[i]) != small(b.data[i]))
            return false;
    return true;
}

int64_t hws_head_find(const hws_head_t *head, hws_slice_t name, uint32_t from)
{
    uint32_t i;

    for (i = from; i < head->count; i++)
        if (head->fields[i].name_size == name.size && is_name(hws_head_name(head, i), name))
            return i;
    return -1;
}

int hws_fields_reserve(hws_fields_t *fields, uint32_t count, uint32_t most)
{
    uint32_t capacity = fields->capacity > 0 ? fields->capacity * 2 : FIRST_FIELDS;
    hws_field_t *items;

    if (count > most)
        return HWS_ERR_HEAD_FIELDS;
    if (count < fields->capacity)
        return HWS_OK;
    if ((items = hws_realloc(fields->items, capacity * sizeof(*items))) == NULL)
        return HWS_ERR_NOMEM;
    fields->items = items;
    fields->capacity = capacity;
    return HWS_OK;
}
