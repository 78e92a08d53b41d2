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
    hws_buffer_t bytes; /* "HTTP/2 200", then "name: value", each with CRLF */
    uint64_t length;    /* of content-length, or HWS_BODY_UNKNOWN */
    uint32_t start;     /* of the first field */
    uint16_t status;    /* 0 for trailers */
} hws_h2_section_t;

void hws_h2_section_begin(hws_h2_section_t *section);
/* One more field. HWS_ERR_HEAD_SIZE beyond `limit` bytes in all, or HWS_ERR_NOMEM. */
int hws_h2_section_add(hws_h2_section_t *section, hws_slice_t name, hws_slice_t value,
                       size_t limit);
/* The block is complete. `head` lasts until the next one begins. HWS_ERR_HEAD_FIELDS for more than
 * `most` fields, or HWS_ERR_NOMEM. */
int hws_h2_section_head(hws_h2_section_t *section, uint32_t most, hws_fields_t *scratch,
                        hws_head_t *head);
/* Nobody reads the head any more: gives the memory of a large one back. */
void hws_h2_section_end(hws_h2_section_t *section);

#endif
