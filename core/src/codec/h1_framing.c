#include "codec/h1_framing.h"

#include <string.h>

#define LONGEST_HINT 600U /* seconds */

/* Setting this bit makes letters small. It makes nothing else that a field may hold into a letter
 * or into "-", so that what is equal after it was equal but for the case. */
#define SMALL 0x20

static uint64_t eight_small(const char *at)
{
    uint64_t bytes;

    memcpy(&bytes, at, sizeof(bytes));
    return bytes | UINT64_C(0x0101010101010101) * SMALL;
}

/* Whether `text` is `word`, of `size` small letters and "-", in any case. With a constant word,
 * as everywhere here, only a few comparisons are left. */
static inline bool is_word(hws_slice_t text, const char *word, size_t size)
{
    size_t i;

    if (text.size != size)
        return false;
    for (i = 0; size - i >= 8; i += 8)
        if (eight_small(text.data + i) != eight_small(word + i))
            return false;
    if (size > 8)
        return eight_small(text.data + size - 8) == eight_small(word + size - 8);
    for (; i < size; i++)
        if ((text.data[i] | SMALL) != word[i])
            return false;
    return true;
}

#define IS_WORD(text, word) is_word(text, word, sizeof(word) - 1)

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static hws_slice_t trim(const char *start, const char *end)
{
    while (start < end && is_blank(*start))
        start++;
    while (end > start && is_blank(end[-1]))
        end--;
    return (hws_slice_t){start, (size_t)(end - start)};
}

/* Cuts the first element, perhaps an empty one, off a list with commas. False after the last. */
static bool next_element(hws_slice_t *list, hws_slice_t *element)
{
    const char *end;
    const char *comma;

    if (list->data == NULL)
        return false;
    end = list->data + list->size;
    comma = memchr(list->data, ',', list->size);
    *element = trim(list->data, comma != NULL ? comma : end);
    *list = comma != NULL ? (hws_slice_t){comma + 1, (size_t)(end - comma - 1)} : (hws_slice_t){0};
    return true;
}

/* Digits and nothing else, up to 2^63 - 1. */
static bool take_number(hws_slice_t text, uint64_t *out)
{
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < text.size; i++) {
        unsigned digit = (unsigned char)text.data[i] - (unsigned)'0';

        if (digit > 9 || number > INT64_MAX / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return text.size > 0 && number <= INT64_MAX;
}

/* The same number may stand there more than once, in a list or in several fields (RFC 9112, 6.3). */
static int take_length(hws_slice_t list, hws_h1_framing_t *framing)
{
    hws_slice_t element;
    uint64_t length;

    /* Nearly always this alone. */
    if (!framing->has_length && take_number(list, &framing->length)) {
        framing->has_length = true;
        return HWS_OK;
    }
    while (next_element(&list, &element)) {
        if (!take_number(element, &length))
            return HWS_ERR_LENGTH;
        if (framing->has_length && framing->length != length)
            return HWS_ERR_LENGTH;
        framing->has_length = true;
        framing->length = length;
    }
    return HWS_OK;
}

static int take_coding(hws_slice_t value, hws_h1_framing_t *framing)
{
    if (framing->is_chunked || !IS_WORD(value, "chunked"))
        return HWS_ERR_CODING;
    framing->is_chunked = true;
    return HWS_OK;
}

typedef struct {
    bool has_close;
    bool has_keep_alive;
} options_t;

static void take_options(hws_slice_t list, options_t *options)
{
    hws_slice_t element;

    /* Nearly always this alone. */
    if (IS_WORD(list, "keep-alive")) {
        options->has_keep_alive = true;
        return;
    }
    while (next_element(&list, &element)) {
        if (IS_WORD(element, "close"))
            options->has_close = true;
        else if (IS_WORD(element, "keep-alive"))
            options->has_keep_alive = true;
    }
}

/* `timeout=5` or `timeout="5"` among other parameters; what is neither is nothing. */
static void take_hint(hws_slice_t list, hws_h1_framing_t *framing)
{
    hws_slice_t element;

    while (next_element(&list, &element)) {
        const char *end = element.data + element.size;
        const char *equals = element.size > 0 ? memchr(element.data, '=', element.size) : NULL;
        hws_slice_t value;
        uint64_t seconds;

        if (equals == NULL || !IS_WORD(trim(element.data, equals), "timeout"))
            continue;
        value = trim(equals + 1, end);
        if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
            value = (hws_slice_t){value.data + 1, value.size - 2};
        if (take_number(value, &seconds))
            framing->idle_hint = HWS_S(seconds < LONGEST_HINT ? seconds : LONGEST_HINT);
    }
}

static int take_field(const hws_head_t *head, const hws_field_t *field, hws_h1_framing_t *framing,
                      options_t *options)
{
    hws_slice_t name = {head->bytes + field->name, field->name_size};
    hws_slice_t value = {head->bytes + field->value, field->value_size};

    if (IS_WORD(name, "content-length"))
        return take_length(value, framing);
    if (IS_WORD(name, "connection"))
        take_options(value, options);
    else if (IS_WORD(name, "keep-alive"))
        take_hint(value, framing);
    else if (IS_WORD(name, "transfer-encoding"))
        return take_coding(value, framing);
    return HWS_OK;
}

int hws_h1_framing(const hws_head_t *head, hws_h1_framing_t *out)
{
    const hws_field_t *end = head->fields + head->count;
    const hws_field_t *field;
    options_t options = {0};
    int rc;

    *out = (hws_h1_framing_t){.idle_hint = -1};
    for (field = head->fields; field != end; field++) {
        switch (field->name_size) { /* most fields are passed over by this alone */
        case sizeof("connection") - 1:
        case sizeof("content-length") - 1:
        case sizeof("transfer-encoding") - 1:
            if ((rc = take_field(head, field, out, &options)) != HWS_OK)
                return rc;
            break;
        default:
            break;
        }
    }
    if (out->is_chunked && head->version < 11)
        return HWS_ERR_CODING;
    if (out->is_chunked && out->has_length)
        return HWS_ERR_LENGTH;
    out->keeps_alive = !options.has_close && (head->version >= 11 || options.has_keep_alive);
    return HWS_OK;
}
