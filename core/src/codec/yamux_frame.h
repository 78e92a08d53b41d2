/* yamux_frame.h - the header of a yamux frame, version 0: type, flags, stream, length. */
#ifndef HWS_CODEC_YAMUX_FRAME_H
#define HWS_CODEC_YAMUX_FRAME_H

#include "base/buffer.h"

#define HWS_YAMUX_HEADER 12

typedef enum {
    HWS_YAMUX_DATA,
    HWS_YAMUX_WINDOW, /* update */
    HWS_YAMUX_PING,
    HWS_YAMUX_GO_AWAY
} hws_yamux_type_t;

/* Flags. */
enum { HWS_YAMUX_SYN = 1, HWS_YAMUX_ACK = 2, HWS_YAMUX_FIN = 4, HWS_YAMUX_RST = 8 };

typedef struct {
    uint8_t type; /* hws_yamux_type_t */
    uint16_t flags;
    uint32_t id;     /* 0: the session */
    uint32_t length; /* of the data behind, or how far the window opens, or a value */
} hws_yamux_frame_t;

/* Reads a header. False when it is of another version, or of no type. */
bool hws_yamux_get_frame(const unsigned char header[HWS_YAMUX_HEADER], hws_yamux_frame_t *frame);
/* Appends a header and `size` bytes of data, all or nothing: HWS_ERR_NOMEM. */
int hws_yamux_put_frame(hws_buffer_t *out, const hws_yamux_frame_t *frame, const char *data,
                        size_t size);

#endif
