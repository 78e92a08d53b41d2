/* tls_config.h - what the configurations of all engines have in common, and what each of them adds. */
#ifndef HWS_TRANSPORT_TLS_CONFIG_H
#define HWS_TRANSPORT_TLS_CONFIG_H

#include "transport/tls.h"

/* Comes first in an engine's struct hws_tls_config. */
typedef struct {
    size_t count; /* of those who hold it */
    uint64_t id;
} hws_tls_held_t;

/* HWS_ERR_TLS_OPTIONS where of `cert` and `key` one is given alone. */
int hws_tls_own_check(const hws_tls_options_t *options, hws_error_t *why);

/* By the engine: an empty one, which hws_tls_config_free() takes in any state; NULL when out of
 * memory. */
hws_tls_config_t *hws_tls_config_make(void);
int hws_tls_config_set_up(hws_tls_config_t *config, const hws_tls_options_t *options,
                          hws_error_t *why);
void hws_tls_config_free(hws_tls_config_t *config);

#endif
