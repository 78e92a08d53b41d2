#include "protocol.h"

#include "base/error.h"

#include <string.h>

#define LEAST_WINDOW 65535 /* what HTTP/2 begins with (RFC 9113, 6.9.2) */

const char *hws_protocol_name(hws_protocol_t protocol)
{
#define PROTOCOL_WORD(symbol, word) word,
    static const char *const words[] = {HWS_PROTOCOL_LIST(PROTOCOL_WORD)};

    return (size_t)protocol < HWS_PROTOCOL_COUNT ? words[protocol] : "";
}

const char *const *hws_protocol_alpn(hws_protocol_t protocol)
{
    static const char *const both[] = {"h2", "http/1.1", NULL};

    switch (protocol) {
    case HWS_PROTOCOL_AUTO:
        return both;
    case HWS_PROTOCOL_HTTP1:
        return both + 1;
    case HWS_PROTOCOL_H2: {
        static const char *const h2[] = {"h2", NULL};

        return h2;
    }
    default:
        return NULL;
    }
}

int hws_protocol_of_peer(hws_protocol_t wanted, hws_scheme_t scheme, const char *id,
                         hws_protocol_t *out, hws_error_t *why)
{
    const char *wrong = NULL;

    *out = wanted;
    switch (wanted) {
    case HWS_PROTOCOL_AUTO:
        if (!scheme.is_http)
            *out = HWS_PROTOCOL_RAW;
        else if (scheme.is_h2c)
            *out = HWS_PROTOCOL_H2;
        else if (!scheme.is_secure)
            *out = HWS_PROTOCOL_HTTP1;
        break;
    case HWS_PROTOCOL_HTTP1:
        wrong = scheme.is_h2c ? "is h2c" : NULL;
        break;
    case HWS_PROTOCOL_H2:
        wrong = scheme.is_secure ? NULL : "is not encrypted; without TLS the protocol is h2c";
        break;
    case HWS_PROTOCOL_H2C:
        *out = HWS_PROTOCOL_H2;
        wrong = scheme.is_secure ? "is encrypted; over TLS the protocol is h2" : NULL;
        break;
    default:
        wrong = scheme.is_http ? "is http" : NULL;
        break;
    }
    if (wrong == NULL)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "protocol \"%s\": the peer %.60s %s",
                       hws_protocol_name(wanted), id, wrong);
}

int hws_protocol_agreed(hws_protocol_t wanted, const char *alpn, hws_protocol_t *out)
{
    bool is_h2 = alpn != NULL && strcmp(alpn, "h2") == 0;

    *out = wanted;
    if (wanted == HWS_PROTOCOL_AUTO)
        *out = is_h2 ? HWS_PROTOCOL_H2 : HWS_PROTOCOL_HTTP1;
    else if ((wanted == HWS_PROTOCOL_H2 && !is_h2) || (wanted == HWS_PROTOCOL_HTTP1 && is_h2))
        return HWS_ERR_NO_ALPN;
    return HWS_OK;
}

hws_h2_options_t hws_h2_defaults(void)
{
    return (hws_h2_options_t){.ping_idle = HWS_S(30),
                              .ping_timeout = HWS_S(15),
                              .window = 1048576,
                              .connection_window = 16777216,
                              .window_max = 16777216,
                              .connection_window_max = 67108864};
}

static int check_window(const char *name, uint32_t size, hws_error_t *why)
{
    if (size >= LEAST_WINDOW && size <= INT32_MAX)
        return HWS_OK;
    return hws_explain(why, HWS_ERR_INVALID, "h2.%s: from %d to %d, not %lu", name, LEAST_WINDOW,
                       INT32_MAX, (unsigned long)size);
}

int hws_h2_options_check(const hws_h2_options_t *h2, hws_error_t *why)
{
    int rc;

    if ((rc = check_window("window", h2->window, why)) ||
        (rc = check_window("connection_window", h2->connection_window, why)) ||
        (rc = check_window("window_max", h2->window_max, why)) ||
        (rc = check_window("connection_window_max", h2->connection_window_max, why)))
        return rc;
    if (h2->ping_idle <= 0 || h2->ping_timeout <= 0)
        return hws_explain(why, HWS_ERR_INVALID, "h2.ping_idle and h2.ping_timeout: above 0");
    return HWS_OK;
}
