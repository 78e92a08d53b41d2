/* h1_chunk.h - the line before a chunk: its size and extensions (RFC 9112, 7.1).
 *
 * A byte at a time, because a chunk line is short and may be cut anywhere. Extensions mean nothing
 * to anyone but must be well-formed, quoted strings included; white space stands only where the
 * grammar has it, so not between the size and the line's end. */
#ifndef HWS_CODEC_H1_CHUNK_H
#define HWS_CODEC_H1_CHUNK_H

#include <hawser/base.h>

/* Zeroed, it is at the beginning of a line. */
typedef struct {
    uint64_t size;  /* so far */
    uint32_t taken; /* bytes of the line so far */
    uint8_t place;
} hws_h1_chunk_t;

/* Takes bytes from `*at` up to the end of the line, moving `*at` behind what it took. HWS_OK: the
 * line is complete; HWS_AGAIN: all bytes taken; HWS_ERR_CHUNK (also a size above 2^63 - 1),
 * HWS_ERR_BARE_CR, HWS_ERR_BARE_LF, or HWS_ERR_CHUNK_SIZE when the line, with its CRLF, is known
 * to be longer than `most`. */
int hws_h1_chunk_line(hws_h1_chunk_t *chunk, const char **at, const char *end, uint32_t most);

#endif
