#include "codec/yamux.h"

int hws_yamux_create(const hws_codec_options_t *options, hws_yamux_role_t role, hws_codec_t **out)
{
    (void)options;
    (void)role;
    (void)out;
    return HWS_ERR_UNSUPPORTED;
}
