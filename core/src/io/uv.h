/* uv.h - the seam over a libuv loop of its own, which nothing else runs. */
#ifndef HWS_IO_UV_H
#define HWS_IO_UV_H

#include "io/io.h"

/* HWS_ERR_TOO_MANY_FILES when no descriptor is left for it: it needs a few. A run waits for the
 * timer, for sockets that connect, are read, or flush, and for answers of name servers; a socket
 * that is merely open brings no input, and does not keep a run waiting. */
int hws_io_uv_create(hws_io_t **out);

#endif
