/* message.h - the head of an HTTP message: its header fields, as offsets into its bytes. */
#ifndef HAWSER_MESSAGE_H
#define HAWSER_MESSAGE_H

#include <hawser/error.h>

/* Where a field's name and value stand in the head's bytes. A value has no white space around. */
typedef struct {
    uint32_t name;
    uint32_t name_size;
    uint32_t value;
    uint32_t value_size;
} hws_field_t;

/* A parsed head or trailer section. */
typedef struct {
    const char *bytes; /* the section as it came, status line included */
    uint32_t size;
    const hws_field_t *fields; /* in the order of the message */
    uint32_t count;
    uint16_t status;      /* 100..599; 0 for trailers */
    uint8_t version;      /* 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2 */
    uint32_t reason;      /* offset of the reason phrase */
    uint32_t reason_size; /* 0 when there is none */
} hws_head_t;

static inline hws_slice_t hws_head_name(const hws_head_t *head, uint32_t index)
{
    const hws_field_t *field = &head->fields[index];
    return (hws_slice_t){head->bytes + field->name, field->name_size};
}

static inline hws_slice_t hws_head_value(const hws_head_t *head, uint32_t index)
{
    const hws_field_t *field = &head->fields[index];
    return (hws_slice_t){head->bytes + field->value, field->value_size};
}

/* Index of the first field called `name` (any case) at or after `from`, or -1. */
HWS_API int64_t hws_head_find(const hws_head_t *head, hws_slice_t name, uint32_t from);

#endif
