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

int hws_fields_add(hws_buffer_t *lines, hws_slice_t name, hws_slice_t value, hws_error_t *why)
{
    int rc;

    if (is_reserved(name))
        return hws_explain(why, HWS_ERR_INVALID, "header %.*s: set by hawser itself",
                           (int)name.size, name.data);
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
