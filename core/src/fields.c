#include "codec/h1.h"
#include "manager.h"

#include <hawser/request.h>

#include <string.h>
#include <strings.h>

/* What frames the message or belongs to the connection is not the user's to set. */
static const char *const reserved[] = {"connection", "content-length",    "expect",
                                       "keep-alive", "proxy-connection",  "te",
                                       "trailer",    "transfer-encoding", "upgrade"};

static bool is_reserved(hws_slice_t name)
{
    size_t i;

    for (i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (strlen(reserved[i]) == name.size && strncasecmp(reserved[i], name.data, name.size) == 0)
            return true;
    return false;
}

/* A Host with these could make a server see another request than was meant. */
static bool is_bad_host(hws_slice_t name, hws_slice_t value)
{
    size_t i;

    if (name.size != strlen("host") || strncasecmp(name.data, "host", name.size) != 0)
        return false;
    for (i = 0; i < value.size; i++)
        if (value.data[i] == ' ' || strchr("\t/@?#\\,", value.data[i]) != NULL)
            return true;
    return false;
}

int hws_fields_add(hws_buffer_t *lines, hws_slice_t name, hws_slice_t value, hws_error_t *why)
{
    int rc;

    if (is_reserved(name))
        return hws_explain(why, HWS_ERR_INVALID, "header %.*s: set by hawser itself",
                           (int)name.size, name.data);
    if (is_bad_host(name, value))
        return hws_explain(why, HWS_ERR_INVALID, "header host: not a host, with or without a port");
    rc = hws_h1_add_field(lines, name, value);
    if (rc == HWS_ERR_INVALID)
        return hws_explain(
            why, rc, "header \"%.*s\": %s", (int)(name.size < 40 ? name.size : 40), name.data,
            hws_h1_is_token(name) ? "the value holds CR, LF, NUL or another control byte"
                                  : "the name is not a token");
    return rc;
}

void hws_fields_dispose(hws_buffer_t *lines)
{
    hws_buffer_dispose(lines);
}
