#include "transport/tls_config.h"

#include "base/error.h"

#include <stdatomic.h>

static hws_tls_held_t *held_of(hws_tls_config_t *config)
{
    return (hws_tls_held_t *)config;
}

int hws_tls_own_check(const hws_tls_options_t *options, hws_error_t *why)
{
    if (options->cert.size == 0 && options->key.size > 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "key: given without cert");
    if (options->key.size == 0 && options->cert.size > 0)
        return hws_explain(why, HWS_ERR_TLS_OPTIONS, "cert: given without key");
    return HWS_OK;
}

int hws_tls_config_create(const hws_tls_options_t *options, hws_tls_config_t **out,
                          hws_error_t *why)
{
    static atomic_uint_fast64_t last_id;
    hws_tls_config_t *config = hws_tls_config_make();
    int rc;

    if (config == NULL)
        return hws_explain(why, HWS_ERR_NOMEM, "%s", hws_error_text(HWS_ERR_NOMEM));
    held_of(config)->count = 1;
    held_of(config)->id = atomic_fetch_add(&last_id, 1) + 1;
    if ((rc = hws_tls_config_set_up(config, options, why)) != HWS_OK) {
        if (rc == HWS_ERR_NOMEM)
            hws_explain(why, rc, "%s", hws_error_text(rc));
        hws_tls_config_release(config);
        return rc;
    }
    *out = config;
    return HWS_OK;
}

void hws_tls_config_hold(hws_tls_config_t *config)
{
    held_of(config)->count++;
}

void hws_tls_config_release(hws_tls_config_t *config)
{
    if (config != NULL && --held_of(config)->count == 0)
        hws_tls_config_free(config);
}

uint64_t hws_tls_config_id(const hws_tls_config_t *config)
{
    return ((const hws_tls_held_t *)config)->id;
}
