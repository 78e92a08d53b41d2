#include "codec/h1_chunk.h"

#include "codec/h1_parse.h"

/* Where in   1*HEXDIG *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ) CRLF
 * the next byte stands. */
typedef enum {
    FIRST_DIGIT,
    DIGIT,
    NAME_START,
    NAME,
    AFTER_NAME, /* white space was there: "=" or ";" must come */
    VALUE_START,
    VALUE,
    QUOTED,
    ESCAPED,
    QUOTED_END,
    AFTER_VALUE, /* white space was there: ";" must come */
    LINE_FEED,
    DONE,
    WRONG
} place_t;

static int hex(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    if ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f')
        return (byte | 0x20) - 'a' + 10;
    return -1;
}

static place_t take_digit(hws_h1_chunk_t *chunk, int digit)
{
    if (chunk->size > (uint64_t)INT64_MAX >> 4)
        return WRONG;
    chunk->size = chunk->size << 4 | (uint64_t)digit;
    return DIGIT;
}

/* What may follow a whole size, name or value. */
static place_t after_part(char byte, place_t blank)
{
    if (byte == '\r')
        return LINE_FEED;
    if (byte == ';')
        return NAME_START;
    return hws_h1_is_blank(byte) ? blank : WRONG;
}

static place_t quoted(char byte, bool is_escaped)
{
    if ((unsigned char)byte < 0x20 && byte != '\t')
        return WRONG;
    if (byte == 0x7f)
        return WRONG;
    if (is_escaped)
        return QUOTED;
    return byte == '"' ? QUOTED_END : byte == '\\' ? ESCAPED : QUOTED;
}

static place_t step(hws_h1_chunk_t *chunk, char byte)
{
    place_t place = (place_t)chunk->place;

    switch (place) {
    case FIRST_DIGIT:
        return hex(byte) >= 0 ? take_digit(chunk, hex(byte)) : WRONG;
    case DIGIT:
        return hex(byte) >= 0 ? take_digit(chunk, hex(byte)) : after_part(byte, AFTER_VALUE);
    case NAME_START:
        return hws_h1_is_token_byte(byte) ? NAME : hws_h1_is_blank(byte) ? NAME_START : WRONG;
    case NAME:
        if (hws_h1_is_token_byte(byte))
            return NAME;
        return byte == '=' ? VALUE_START : after_part(byte, AFTER_NAME);
    case AFTER_NAME:
        if (byte == '=')
            return VALUE_START;
        return byte == '\r' ? WRONG : after_part(byte, AFTER_NAME);
    case VALUE_START:
        if (byte == '"')
            return QUOTED;
        return hws_h1_is_token_byte(byte) ? VALUE : hws_h1_is_blank(byte) ? VALUE_START : WRONG;
    case VALUE:
        return hws_h1_is_token_byte(byte) ? VALUE : after_part(byte, AFTER_VALUE);
    case QUOTED:
    case ESCAPED:
        return quoted(byte, place == ESCAPED);
    case QUOTED_END:
        return after_part(byte, AFTER_VALUE);
    case AFTER_VALUE:
        return byte == '\r' ? WRONG : after_part(byte, AFTER_VALUE);
    case LINE_FEED:
        return byte == '\n' ? DONE : WRONG;
    case DONE:
    case WRONG:
        break;
    }
    return WRONG;
}

static int refuse(place_t place, char byte)
{
    if (place == LINE_FEED)
        return HWS_ERR_BARE_CR;
    return byte == '\n' ? HWS_ERR_BARE_LF : HWS_ERR_CHUNK;
}

int hws_h1_chunk_line(hws_h1_chunk_t *chunk, const char **at, const char *end, uint32_t most)
{
    while (*at < end) {
        char byte = *(*at)++;
        place_t next = step(chunk, byte);

        if (next == WRONG)
            return refuse((place_t)chunk->place, byte);
        if (next == DONE)
            return HWS_OK;
        if (++chunk->taken >= most)
            return HWS_ERR_CHUNK_SIZE;
        chunk->place = (uint8_t)next;
    }
    return HWS_AGAIN;
}
