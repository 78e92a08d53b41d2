/* h1_parse.h - lines of HTTP/1.1 into heads: the status line and field lines (RFC 9112, 4 and 5).
 *
 * The parser goes line by line, so that a section may come in pieces: it stops before the first
 * line that is not there whole, and goes on from it when there is more. A malformed line is
 * refused once its line feed is there, whatever the pieces; only what does not begin like a
 * status line is refused at its first wrong byte, so that a peer of another protocol is known at
 * once. Never reads beyond the bytes it was given. */
#ifndef HWS_CODEC_H1_PARSE_H
#define HWS_CODEC_H1_PARSE_H

#include "codec/codec.h"

/* Goes on with the section at `head->bytes`, of which `head->size` bytes and `head->count` fields
 * have been taken, and which has come up to `end`. HWS_OK: the blank line was there, `head` is
 * complete and its fields stand in `scratch`. HWS_AGAIN: size and count have grown by whole lines.
 * Otherwise what is wrong: HWS_ERR_STATUS_LINE, VERSION, FIELD, FOLD, BARE_CR, BARE_LF,
 * HEAD_FIELDS (more than `most` fields) or NOMEM. */
int hws_h1_parse_head(hws_head_t *head, const char *end, uint32_t most, hws_fields_t *scratch);
/* The same without a status line. */
int hws_h1_parse_trailers(hws_head_t *head, const char *end, uint32_t most, hws_fields_t *scratch);

/* Which bytes a token may have (RFC 9110, 5.6.2). */
extern const bool hws_h1_token_bytes[256];

static inline bool hws_h1_is_token_byte(char byte)
{
    return hws_h1_token_bytes[(unsigned char)byte];
}

static inline bool hws_h1_is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

#endif
