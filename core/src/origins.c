#include "origins.h"

#include "upstream.h"

#include <string.h>

#define LONGEST_ORIGIN 255

int hws_manager_make_origin(hws_manager_t *manager, hws_slice_t origin, hws_upstream_t **out,
                            hws_error_t *why)
{
    hws_peer_options_t peer = {.url = origin};
    hws_upstream_options_t options;
    int rc;

    if (origin.size == 0 || origin.size > LONGEST_ORIGIN)
        return hws_explain(why, HWS_ERR_BAD_URL,
                           "a URL begins with https://host, or http:, of at most %d bytes",
                           LONGEST_ORIGIN);
    hws_upstream_options_init(&options, manager);
    options.name = origin;
    options.peers = &peer;
    options.peer_count = 1;
    rc = hws_upstream_make(manager, &options, true, out, why);
    /* Should nobody use it, it goes again. */
    if (rc == HWS_OK)
        hws_upstream_tidy(*out);
    return rc;
}

/* The end of "scheme://authority". */
static size_t origin_size(hws_slice_t url)
{
    size_t i = 0;

    while (i + 2 < url.size && memcmp(url.data + i, "://", 3) != 0)
        i++;
    for (i += 3; i < url.size; i++)
        if (url.data[i] == '/' || url.data[i] == '?' || url.data[i] == '#')
            break;
    return i < url.size ? i : url.size;
}

/* Scheme and host are case-insensitive (RFC 3986, 6.2.2.1): the origin in lower case, written to
 * `room` where it was not. One that is too long is left to be refused. */
static hws_slice_t normalize_origin(hws_slice_t origin, char room[LONGEST_ORIGIN])
{
    bool is_changed = false;
    size_t i;

    if (origin.size > LONGEST_ORIGIN)
        return origin;
    for (i = 0; i < origin.size; i++) {
        char byte = origin.data[i];
        bool is_upper = byte >= 'A' && byte <= 'Z';

        room[i] = is_upper ? (char)(byte - 'A' + 'a') : byte;
        is_changed |= is_upper;
    }
    return is_changed ? (hws_slice_t){room, origin.size} : origin;
}

int hws_manager_origin(hws_manager_t *manager, hws_slice_t url, hws_upstream_t **upstream,
                       hws_slice_t *target, hws_error_t *why)
{
    size_t size = origin_size(url);
    char room[LONGEST_ORIGIN];
    hws_slice_t origin = normalize_origin((hws_slice_t){url.data, size}, room);
    const char *fragment = memchr(url.data, '#', url.size);
    hws_upstream_t *found = hws_manager_find(manager, origin);
    int rc;

    if (memchr(url.data, '@', size) != NULL)
        return hws_explain(why, HWS_ERR_BAD_URL,
                           "credentials in a URL are refused: use an Authorization header");
    if (found == NULL && size >= 6 &&
        (memcmp(origin.data, "tcp://", 6) == 0 || memcmp(origin.data, "tls://", 6) == 0))
        return hws_explain(why, HWS_ERR_UNSUPPORTED, "%.6s has no requests: acquire a lease",
                           origin.data);
    if (found == NULL && (rc = hws_manager_make_origin(manager, origin, &found, why)) != HWS_OK)
        return rc;
    *upstream = found;
    if (fragment != NULL)
        url.size = (size_t)(fragment - url.data);
    *target = url.size > size ? (hws_slice_t){url.data + size, url.size - size} : HWS_SLICE("/");
    return HWS_OK;
}
