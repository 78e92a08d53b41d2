#include "codec/h2_code.h"

#include <nghttp2/nghttp2.h>

int hws_h2_reset_code(uint32_t number)
{
    static const int codes[] = {
        [NGHTTP2_NO_ERROR] = HWS_ERR_RST_NO_ERROR,
        [NGHTTP2_PROTOCOL_ERROR] = HWS_ERR_RST_PROTOCOL,
        [NGHTTP2_INTERNAL_ERROR] = HWS_ERR_RST_INTERNAL,
        [NGHTTP2_FLOW_CONTROL_ERROR] = HWS_ERR_RST_FLOW_CONTROL,
        [NGHTTP2_SETTINGS_TIMEOUT] = HWS_ERR_RST_SETTINGS_TIMEOUT,
        [NGHTTP2_STREAM_CLOSED] = HWS_ERR_RST_STREAM_CLOSED,
        [NGHTTP2_FRAME_SIZE_ERROR] = HWS_ERR_RST_FRAME_SIZE,
        [NGHTTP2_REFUSED_STREAM] = HWS_ERR_REFUSED_STREAM,
        [NGHTTP2_CANCEL] = HWS_ERR_RST_CANCEL,
        [NGHTTP2_COMPRESSION_ERROR] = HWS_ERR_RST_COMPRESSION,
        [NGHTTP2_CONNECT_ERROR] = HWS_ERR_RST_CONNECT,
        [NGHTTP2_ENHANCE_YOUR_CALM] = HWS_ERR_RST_CALM,
        [NGHTTP2_INADEQUATE_SECURITY] = HWS_ERR_RST_SECURITY,
        [NGHTTP2_HTTP_1_1_REQUIRED] = HWS_ERR_RST_HTTP_1_1,
    };

    return number < sizeof(codes) / sizeof(codes[0]) ? codes[number] : HWS_ERR_RST_UNKNOWN;
}

int hws_h2_breach_code(uint32_t number)
{
    switch (number) {
    case NGHTTP2_FLOW_CONTROL_ERROR:
        return HWS_ERR_H2_FLOW_CONTROL;
    case NGHTTP2_STREAM_CLOSED:
        return HWS_ERR_H2_STREAM_CLOSED;
    case NGHTTP2_FRAME_SIZE_ERROR:
        return HWS_ERR_H2_FRAME_SIZE;
    case NGHTTP2_COMPRESSION_ERROR:
        return HWS_ERR_H2_COMPRESSION;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return HWS_ERR_H2_FLOOD;
    case NGHTTP2_INTERNAL_ERROR: /* it could not compress a head */
        return HWS_ERR_NOMEM;
    default:
        return HWS_ERR_H2_PROTOCOL;
    }
}
