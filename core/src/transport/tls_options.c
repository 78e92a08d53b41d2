#include "base/memory.h"
#include "transport/tls.h"

#include <string.h>

static size_t size_of(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static void *take(char **room, const void *bytes, size_t size)
{
    char *at = *room;

    if (size == 0)
        return NULL;
    memcpy(at, bytes, size);
    *room += size;
    return at;
}

/* One block: the struct, the list of names, then all that they point to. */
hws_tls_options_t *hws_tls_options_copy(const hws_tls_options_t *options)
{
    const hws_slice_t *from[] = {&options->ca, &options->cert, &options->key, &options->crl};
    hws_tls_options_t *copy;
    hws_slice_t *to[4];
    size_t size = sizeof(*copy) + size_of(options->server_name);
    size_t names = 0;
    const char **list;
    char *room;
    size_t i;

    for (i = 0; i < 4; i++)
        size += from[i]->size;
    for (; options->alpn != NULL && options->alpn[names] != NULL; names++)
        size += size_of(options->alpn[names]);
    if ((copy = hws_alloc(size + (names + 1) * sizeof(*list))) == NULL)
        return NULL;
    *copy = *options;
    list = (const char **)(void *)(copy + 1);
    room = (char *)(list + names + 1);
    to[0] = &copy->ca;
    to[1] = &copy->cert;
    to[2] = &copy->key;
    to[3] = &copy->crl;
    for (i = 0; i < 4; i++)
        to[i]->data = take(&room, from[i]->data, from[i]->size);
    for (i = 0; i < names; i++)
        list[i] = take(&room, options->alpn[i], size_of(options->alpn[i]));
    list[names] = NULL;
    copy->alpn = options->alpn != NULL ? list : NULL;
    copy->server_name = take(&room, options->server_name, size_of(options->server_name));
    return copy;
}

int hws_tls_config_for(const hws_tls_options_t *options, const char *const *alpn,
                       hws_tls_config_t **out, hws_error_t *why)
{
    hws_tls_options_t effective = options != NULL ? *options : (hws_tls_options_t){.verify = true};

    if (effective.alpn == NULL)
        effective.alpn = alpn;
    return hws_tls_config_create(&effective, out, why);
}
