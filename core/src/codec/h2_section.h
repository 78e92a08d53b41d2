/* h2_section.h - a header block as it is decompressed, into the lines of a head.
 *
 * Blocks never interleave (RFC 9113, 4.3), so a connection needs one. nghttp2 has checked each
 * field before it comes here. */
#ifndef HWS_CODEC_H2_SECTION_H
#define HWS_CODEC_H2_SECTION_H

#include "base/buffer.h"
#include "codec/codec.h"

/* Zeroed is valid. */
typedef struct {
    hws_buffer_t bytes; /* "HTTP/2 200", then "name: value", each with CRLF; a blank line */
    hws_fields_t fields;
    uint32_t count;  /* of them */
    uint64_t length; /* of content-length, or HWS_BODY_UNKNOWN */
    uint16_t status; /* 0 for trailers */
} hws_h2_section_t;

void hws_h2_section_begin(hws_h2_section_t *section);
/* One more field. HWS_ERR_HEAD_SIZE beyond `limit` bytes in all, HWS_ERR_HEAD_FIELDS for more than a
 * field for each 32 of these, or HWS_ERR_NOMEM. */
int hws_h2_section_add(hws_h2_section_t *section, hws_slice_t name, hws_slice_t value,
                       size_t limit);
/* The block is complete. What this gives lasts until the next one begins. */
hws_head_t hws_h2_section_head(hws_h2_section_t *section);
/* Nobody reads the head any more: gives the memory of a large one back. */
void hws_h2_section_end(hws_h2_section_t *section);
void hws_h2_section_dispose(hws_h2_section_t *section);

#endif
