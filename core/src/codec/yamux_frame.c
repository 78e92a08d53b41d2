#include "codec/yamux_frame.h"

#include <string.h>

static uint32_t get_32(const unsigned char *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

bool hws_yamux_get_frame(const unsigned char header[HWS_YAMUX_HEADER], hws_yamux_frame_t *frame)
{
    *frame = (hws_yamux_frame_t){.type = header[1],
                                 .flags = (uint16_t)(header[2] << 8 | header[3]),
                                 .id = get_32(header + 4),
                                 .length = get_32(header + 8)};
    return header[0] == 0 && frame->type <= HWS_YAMUX_GO_AWAY;
}

static void put_32(unsigned char *to, uint32_t number)
{
    to[0] = (unsigned char)(number >> 24);
    to[1] = (unsigned char)(number >> 16);
    to[2] = (unsigned char)(number >> 8);
    to[3] = (unsigned char)number;
}

int hws_yamux_put_frame(hws_buffer_t *out, const hws_yamux_frame_t *frame, const char *data,
                        size_t size)
{
    unsigned char *to;

    if (hws_buffer_reserve(out, HWS_YAMUX_HEADER + size) != HWS_OK)
        return HWS_ERR_NOMEM;
    to = (unsigned char *)out->data + out->tail;
    to[0] = 0;
    to[1] = frame->type;
    to[2] = (unsigned char)(frame->flags >> 8);
    to[3] = (unsigned char)frame->flags;
    put_32(to + 4, frame->id);
    put_32(to + 8, frame->length);
    if (size > 0)
        memcpy(to + HWS_YAMUX_HEADER, data, size);
    out->tail += HWS_YAMUX_HEADER + size;
    return HWS_OK;
}
