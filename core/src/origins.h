/* origins.h - upstreams made for a URL, which nobody named. */
#ifndef HWS_ORIGINS_H
#define HWS_ORIGINS_H

#include <hawser/manager.h>

/* The upstream of `origin`, which has none yet; it goes when nobody uses it. */
int hws_manager_make_origin(hws_manager_t *manager, hws_slice_t origin, hws_upstream_t **out,
                            hws_error_t *why);

#endif
