#include "pool/inbox.h"

#include <assert.h>

/* An emptied block above this size is given back. */
#define LARGE ((size_t)65536)

hws_slice_t hws_inbox_bytes(const hws_inbox_t *inbox)
{
    if (inbox->view.size > 0)
        return inbox->view;
    if (hws_buffer_is_empty(&inbox->buffer))
        return HWS_SLICE("");
    return (hws_slice_t){hws_buffer_bytes(&inbox->buffer), hws_buffer_size(&inbox->buffer)};
}

int hws_inbox_put(hws_inbox_t *inbox, const char *data, size_t size)
{
    int rc;

    if (hws_inbox_size(inbox) == 0) {
        /* The block stays until now, because what was taken last may still be looked at. */
        if (inbox->buffer.capacity > LARGE)
            hws_buffer_dispose(&inbox->buffer);
        inbox->view = (hws_slice_t){data, size};
        return HWS_OK;
    }
    if ((rc = hws_inbox_keep(inbox)) != HWS_OK)
        return rc;
    return hws_buffer_append(&inbox->buffer, data, size);
}

int hws_inbox_keep(hws_inbox_t *inbox)
{
    int rc = hws_buffer_append(&inbox->buffer, inbox->view.data, inbox->view.size);

    if (rc == HWS_OK)
        inbox->view = (hws_slice_t){0};
    return rc;
}

void hws_inbox_take(hws_inbox_t *inbox, size_t size)
{
    assert(size <= hws_inbox_size(inbox));
    if (inbox->view.size > 0) {
        inbox->view.data += size;
        inbox->view.size -= size;
    } else {
        hws_buffer_consume(&inbox->buffer, size);
    }
}

void hws_inbox_dispose(hws_inbox_t *inbox)
{
    inbox->view = (hws_slice_t){0};
    hws_buffer_dispose(&inbox->buffer);
}
