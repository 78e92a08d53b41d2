/* uv.h - the seam over a libuv loop of our own. */
#ifndef HWS_IO_UV_H
#define HWS_IO_UV_H

#include "io/io.h"

/* A world on a new uv_loop_t. Its timer never keeps the loop alive; sockets do. */
int hws_io_uv_create(hws_io_t **out);

#endif
