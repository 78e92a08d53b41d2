#include "transport/tls_mbedtls.h"

#include "base/memory.h"

static int parse_folder(const char *folder, void *user)
{
    return hws_mbedtls_is_out_of_memory(mbedtls_x509_crt_parse_path(user, folder)) ? HWS_ERR_NOMEM
                                                                                   : HWS_OK;
}

static int parse_places(const hws_roots_t *places, mbedtls_x509_crt *chain)
{
    if (places->file[0] != '\0' &&
        hws_mbedtls_is_out_of_memory(mbedtls_x509_crt_parse_file(chain, places->file)))
        return HWS_ERR_NOMEM;
    return hws_roots_each_folder(places, parse_folder, chain);
}

static void free_chain(void *parsed)
{
    mbedtls_x509_crt_free(parsed);
    hws_free(parsed);
}

static int parse(const hws_roots_t *places, void **out)
{
    mbedtls_x509_crt *chain = hws_alloc(sizeof(*chain));
    int rc;

    if (chain == NULL)
        return HWS_ERR_NOMEM;
    mbedtls_x509_crt_init(chain);
    rc = parse_places(places, chain);
    if (rc == HWS_OK && chain->version == 0)
        rc = HWS_END;
    if (rc == HWS_OK)
        *out = chain;
    else
        free_chain(chain);
    return rc;
}

const hws_roots_engine_t hws_mbedtls_roots = {
/* Without its mutexes, mbedTLS cannot use one RSA key in two threads. */
#if defined(MBEDTLS_THREADING_C)
    .is_shared = true,
#endif
    .parse = parse,
    .free = free_chain,
};
