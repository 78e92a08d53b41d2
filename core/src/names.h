/* names.h - a resolver made from a user's options, shared by whoever looks names up with it. */
#ifndef HWS_NAMES_H
#define HWS_NAMES_H

#include "base/error.h"
#include "transport/resolve.h"

#include <hawser/manager.h>

/* The options, or what is wrong with them; HWS_ERR_NOMEM. In one block, freed with hws_free(). */
int hws_dns_options_copy(const hws_dns_options_t *options, hws_dns_options_t **out,
                         hws_error_t *why);

typedef struct hws_lookup {
    hws_resolver_t resolver;
    hws_time_t span; /* that it was made for */
    uint32_t holds;
} hws_lookup_t;

/* `options` (checked) may be NULL: as the system is configured. `span` is how long who asks usually
 * waits, and who waits longer should have one of its own. The caller holds it. */
int hws_lookup_create(hws_loop_t *loop, const hws_dns_options_t *options, hws_time_t span,
                      hws_lookup_t **out);
void hws_lookup_hold(hws_lookup_t *lookup);
/* Goes with its last holder, whose resolutions are over. NULL is harmless. */
void hws_lookup_release(hws_lookup_t *lookup);
/* Whether it has the form of a host name: labels of 1 to 63 letters, digits, hyphens and
 * underscores, 253 bytes in all, perhaps with a dot at the end. */
bool hws_names_is_name(hws_slice_t text);

#endif
