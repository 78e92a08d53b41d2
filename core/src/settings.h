/* settings.h - what users set of an upstream, and may change while it works. */
#ifndef HWS_SETTINGS_H
#define HWS_SETTINGS_H

#include "upstream.h"

int hws_settings_check(const hws_upstream_options_t *options, hws_error_t *why);
/* For a new upstream, which has its manager: its own TLS and look-ups, where it needs such. What was
 * made stays when the other cannot be. */
int hws_settings_take(hws_upstream_t *upstream, const hws_upstream_options_t *options,
                      hws_protocol_t protocol, const hws_list_t *peers, hws_error_t *why);
/* All the others, which cannot fail. */
void hws_settings_apply(hws_upstream_t *upstream, const hws_upstream_options_t *options);
void hws_settings_dispose(hws_upstream_t *upstream);

#endif
