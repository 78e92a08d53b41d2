#include "codec/h2.h"

int hws_h2_create(const hws_codec_options_t *options, hws_codec_t **out)
{
    (void)options;
    (void)out;
    return HWS_ERR_UNSUPPORTED;
}
