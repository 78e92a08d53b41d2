#include "codec/h1_parse.h"

#include "base/memory.h"
#include "codec/h1.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* clang-format off */
const bool hws_h1_token_bytes[256] = {
    /*   ! " # $ % & ' ( ) * + , - . / */
    [0x20] = 0, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0,
    /* 0 1 2 3 4 5 6 7 8 9 : ; < = > ? */
    [0x30] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0,
    /* @ A B C D E F G H I J K L M N O */
    [0x40] = 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    /* P Q R S T U V W X Y Z [ \ ] ^ _ */
    [0x50] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1,
    /* ` a b c d e f g h i j k l m n o */
    [0x60] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    /* p q r s t u v w x y z { | } ~   */
    [0x70] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0,
};
/* clang-format on */

static bool is_control(char byte)
{
    return ((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7f;
}

#if defined(__SSE2__)
/* How many of the sixteen bits of `mask` are set before the first that is not. */
static inline size_t count_ones(unsigned mask)
{
    return (size_t)(unsigned)__builtin_ctz(~mask);
}

/* How many of the sixteen bytes at `at` come before the first that is not above `least`, up to 0x7e. One
 * more than those are up to 0x7f, and nothing else is then above `least` + 1 as a signed byte. */
static inline size_t count_above(const char *at, char least)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i next = _mm_add_epi8(bytes, _mm_set1_epi8(1));
    __m128i above = _mm_cmpgt_epi8(next, _mm_set1_epi8((char)(least + 1)));

    return count_ones((unsigned)_mm_movemask_epi8(above));
}

/* The same before the first that is not plain, 0x20 to 0x7e. */
static inline size_t count_plain(const char *at)
{
    return count_above(at, 0x1f);
}

/* How many of the sixteen bytes at `at` come before the first that is no letter and no dash. */
static inline size_t count_letters(const char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i small = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i place = _mm_sub_epi8(small, _mm_set1_epi8('a'));
    __m128i letters = _mm_cmpeq_epi8(_mm_min_epu8(place, _mm_set1_epi8('z' - 'a')), place);
    __m128i dashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('-'));

    return count_ones((unsigned)_mm_movemask_epi8(_mm_or_si128(letters, dashes)));
}
#endif

/* The first control byte that is no TAB at or after `at`, or `end`. */
static const char *find_control(const char *at, const char *end)
{
#if defined(__SSE2__)
    while (end - at >= 16) {
        size_t plain = count_plain(at);

        at += plain;
        if (plain == 16)
            continue;
        if (is_control(*at))
            return at;
        at++;
    }
#endif
    while (at < end && !is_control(*at))
        at++;
    return at;
}

static const char *skip_token(const char *at, const char *end)
{
    while (at < end && hws_h1_is_token_byte(*at))
        at++;
    return at;
}

static const char *skip_blanks(const char *at, const char *end)
{
    while (at < end && hws_h1_is_blank(*at))
        at++;
    return at;
}

bool hws_h1_is_token(hws_slice_t text)
{
    return text.size > 0 && skip_token(text.data, text.data + text.size) == text.data + text.size;
}

static bool has_control(hws_slice_t text)
{
    return text.size > 0 && find_control(text.data, text.data + text.size) != text.data + text.size;
}

bool hws_h1_is_target(hws_slice_t text)
{
    const char *at = text.data;
    const char *end = text.size > 0 ? at + text.size : at;

#if defined(__SSE2__)
    while (end - at >= 16 && count_above(at, ' ') == 16)
        at += 16;
#endif
    while (at < end && (unsigned char)*at > ' ' && *at != 0x7f)
        at++;
    return text.size > 0 && at == end;
}

int hws_h1_add_field(hws_buffer_t *lines, hws_slice_t name, hws_slice_t value)
{
    char *to;

    if (!hws_h1_is_token(name) || has_control(value))
        return HWS_ERR_INVALID;
    if (hws_buffer_reserve(lines, name.size + value.size + 4) != HWS_OK)
        return HWS_ERR_NOMEM;
    to = lines->data + lines->tail;
    memcpy(to, name.data, name.size);
    to += name.size;
    *to++ = ':';
    *to++ = ' ';
    if (value.size > 0)
        memcpy(to, value.data, value.size);
    to += value.size;
    *to++ = '\r';
    *to++ = '\n';
    lines->tail = (size_t)(to - lines->data);
    return HWS_OK;
}

/* What to say of a line with a wrong byte at `at`: nothing yet when its end has not come. `code`
 * is for a byte that is wrong in itself. */
static int refuse(const char *at, const char *end, int code)
{
    if (memchr(at, '\n', (size_t)(end - at)) == NULL)
        return HWS_AGAIN;
    if (*at == '\n')
        return HWS_ERR_BARE_LF;
    if (*at == '\r' && at[1] != '\n')
        return HWS_ERR_BARE_CR;
    return code;
}

static inline bool is_line_end(const char *at, const char *end)
{
    return end - at >= 2 && memcmp(at, "\r\n", 2) == 0;
}

/* "HTTP/1.1 200", byte by byte: what is wrong with the first of them, or HWS_AGAIN when nothing
 * is wrong with those that are there. */
static int refuse_start(const char *start, const char *end)
{
    static const char shape[] = "HTTP/0.0 000";
    int i;

    for (i = 0; shape[i] != '\0' && start + i < end; i++) {
        bool is_right = shape[i] == '0' ? start[i] >= '0' && start[i] <= '9' : start[i] == shape[i];

        if (!is_right)
            return HWS_ERR_STATUS_LINE;
        if (i == 7 && (start[5] != '1' || start[7] > '1'))
            return HWS_ERR_VERSION;
        if (i == 9 && (start[9] < '1' || start[9] > '5'))
            return HWS_ERR_STATUS_LINE;
    }
    return HWS_AGAIN;
}

#define IS_DIGIT(byte) ((unsigned char)((byte) - '0') < 10)

static int take_status_line(hws_head_t *head, const char *end)
{
    const char *at = head->bytes;
    const char *stop;

    if (end - at < 13 || memcmp(at, "HTTP/1.", 7) != 0 || (at[7] & ~1) != '0' || at[8] != ' ' ||
        at[9] < '1' || at[9] > '5' || !IS_DIGIT(at[10]) || !IS_DIGIT(at[11]))
        return refuse_start(at, end);
    head->version = (uint8_t)(10 + (at[7] - '0'));
    head->status = (uint16_t)((at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0'));

    /* The space is due even without a reason (RFC 9112, 4), but servers leave both out, and no other
     * reading of the line is possible then: a fourth digit or any other byte is refused. */
    at += 12;
    if (*at == ' ')
        at++;
    else if (*at != '\r')
        return refuse(at, end, HWS_ERR_STATUS_LINE);
    stop = find_control(at, end);
    if (!is_line_end(stop, end))
        return refuse(stop, end, HWS_ERR_STATUS_LINE);
    head->reason = (uint32_t)(at - head->bytes);
    head->reason_size = (uint32_t)(stop - at);
    head->size = (uint32_t)(stop + 2 - head->bytes);
    return HWS_OK;
}

/* What to say of a line that does not begin with a name and a colon; the name ends at `at`. */
static int refuse_name(const char *line, const char *at, const char *end)
{
    if (at == end)
        return HWS_AGAIN;
    return refuse(at, end, at == line && hws_h1_is_blank(*at) ? HWS_ERR_FOLD : HWS_ERR_FIELD);
}

/* The line at offset `*at`, if it is there whole: `*at` is then moved behind it. HWS_END when it is
 * the blank one. */
static int take_field(const char *bytes, size_t *at, const char *end, hws_field_t *field)
{
    const char *line = bytes + *at;
    const char *colon = skip_token(line, end);
    const char *value;
    const char *value_end;
    const char *stop;

    if (is_line_end(line, end)) {
        *at += 2;
        return HWS_END;
    }
    if (colon == line || colon == end || *colon != ':')
        return refuse_name(line, colon, end);
    value = skip_blanks(colon + 1, end);
    stop = value_end = find_control(value, end);
    if (!is_line_end(stop, end))
        return refuse(stop, end, HWS_ERR_FIELD);
    while (value_end > value && hws_h1_is_blank(value_end[-1]))
        value_end--;
    field->name = (uint32_t)(line - bytes);
    field->name_size = (uint32_t)(colon - line);
    field->value = (uint32_t)(value - bytes);
    field->value_size = (uint32_t)(value_end - value);
    *at = (size_t)(stop + 2 - bytes);
    return HWS_OK;
}

/* The same, in few steps, for nearly every line there is: a name of letters and dashes, a colon,
 * one space, a value of plain bytes. Returns where the next line begins; 0 for a line of another
 * kind or too near the end, which is for take_field(). */
static inline size_t take_usual_field(const char *bytes, size_t line, size_t size,
                                      hws_field_t *field)
{
#if defined(__SSE2__)
    size_t value;
    size_t stop;
    size_t name_size;
    size_t plain;

    /* The most of a name, ": ", the first look at the value, CRLF. */
    if (line + 16 + 2 + 16 + 2 > size)
        return 0;
    name_size = count_letters(bytes + line);
    value = line + name_size + 2;
    if (name_size == 0 || memcmp(bytes + value - 2, ": ", 2) != 0 || bytes[value] == ' ')
        return 0;
    field->name = (uint32_t)line;
    field->name_size = (uint32_t)name_size;
    field->value = (uint32_t)value;
    for (stop = value; (plain = count_plain(bytes + stop)) == 16;)
        if ((stop += 16) + 16 + 2 > size)
            return 0;
    stop += plain;
    if (memcmp(bytes + stop, "\r\n", 2) != 0)
        return 0;
    if (bytes[stop - 1] == ' ') /* behind the value, or before it when that is empty */
        return 0;
    field->value_size = (uint32_t)(stop - value);
    return stop + 2;
#else
    (void)bytes;
    (void)line;
    (void)size;
    (void)field;
    return 0;
#endif
}

int hws_h1_parse_trailers(hws_head_t *head, const char *end, uint32_t most, hws_fields_t *scratch)
{
    const char *bytes = head->bytes;
    size_t size = (size_t)(end - bytes);
    size_t at = head->size;
    hws_field_t *field = NULL;
    hws_field_t *last = NULL; /* the end of the places */
    int rc;

    for (;; field++) {
        size_t usual;
        size_t next = at;

        if (field == last) {
            uint32_t count = field == NULL ? head->count : (uint32_t)(field - scratch->items);

            if ((rc = hws_fields_reserve(scratch, count, most)) != HWS_OK)
                return rc;
            field = scratch->items + count;
            last = scratch->items + (scratch->capacity <= most ? scratch->capacity : most + 1);
        }
        if ((usual = take_usual_field(bytes, at, size, field)) != 0) {
            at = usual;
            continue;
        }
        rc = take_field(bytes, &next, end, field);
        at = next;
        if (rc != HWS_OK)
            break;
    }
    head->size = (uint32_t)at;
    head->count = (uint32_t)(field - scratch->items);
    head->fields = scratch->items;
    return rc == HWS_END ? HWS_OK : rc;
}

int hws_h1_parse_head(hws_head_t *head, const char *end, uint32_t most, hws_fields_t *scratch)
{
    int rc;

    if (head->size == 0 && (rc = take_status_line(head, end)) != HWS_OK)
        return rc;
    return hws_h1_parse_trailers(head, end, most, scratch);
}
