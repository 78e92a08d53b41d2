/* inbox.h - bytes that have come and nobody has taken yet.
 *
 * While an input lasts it only looks at the input's bytes; what is then still there is copied by
 * hws_inbox_keep(). So what is taken at once is copied once, by its taker. */
#ifndef HWS_POOL_INBOX_H
#define HWS_POOL_INBOX_H

#include "base/buffer.h"

/* Zeroed is a valid empty inbox. */
typedef struct {
    hws_slice_t view;    /* bytes of the present input; then `buffer` is empty */
    hws_buffer_t buffer; /* what was kept */
} hws_inbox_t;

static inline size_t hws_inbox_size(const hws_inbox_t *inbox)
{
    return inbox->view.size + hws_buffer_size(&inbox->buffer);
}

/* All of it in one piece, until the inbox changes or the input is over. */
hws_slice_t hws_inbox_bytes(const hws_inbox_t *inbox);
/* Adds bytes of the present input. HWS_ERR_NOMEM loses nothing that was there. */
int hws_inbox_put(hws_inbox_t *inbox, const char *data, size_t size);
/* To be called before the input is over. */
int hws_inbox_keep(hws_inbox_t *inbox);
/* Drops `size` bytes in front; at most what is there. */
void hws_inbox_take(hws_inbox_t *inbox, size_t size);
void hws_inbox_dispose(hws_inbox_t *inbox);

#endif
