#include "base/buffer.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

#define SMALLEST ((size_t)256)

void hws_buffer_dispose(hws_buffer_t *buffer)
{
    hws_free(buffer->data);
    *buffer = (hws_buffer_t){0};
}

/* There are less than `size` bytes behind. */
int hws_buffer_grow(hws_buffer_t *buffer, size_t size)
{
    size_t used = hws_buffer_size(buffer);
    size_t capacity = buffer->capacity > 0 ? buffer->capacity * 2 : SMALLEST;
    char *data;

    /* Moving to the front suffices when that frees at least half; else the block doubles, though it
     * might do without. So either way copying stays amortised. */
    if (buffer->capacity - used >= size && buffer->head >= buffer->capacity / 2) {
        memmove(buffer->data, buffer->data + buffer->head, used);
        buffer->head = 0;
        buffer->tail = used;
        return HWS_OK;
    }
    if (size > SIZE_MAX / 2 - used)
        return HWS_ERR_NOMEM;
    while (capacity - used < size)
        capacity *= 2;
    if ((data = hws_alloc(capacity)) == NULL)
        return HWS_ERR_NOMEM;
    if (used > 0)
        memcpy(data, buffer->data + buffer->head, used);
    hws_free(buffer->data);
    *buffer = (hws_buffer_t){.data = data, .tail = used, .capacity = capacity};
    return HWS_OK;
}

int hws_buffer_append(hws_buffer_t *buffer, const void *data, size_t size)
{
    int rc;

    if (size == 0)
        return HWS_OK;
    if ((rc = hws_buffer_reserve(buffer, size)) != HWS_OK)
        return rc;
    memcpy(buffer->data + buffer->tail, data, size);
    buffer->tail += size;
    return HWS_OK;
}

void hws_buffer_consume(hws_buffer_t *buffer, size_t size)
{
    assert(size <= hws_buffer_size(buffer));
    buffer->head += size;
    if (buffer->head == buffer->tail)
        hws_buffer_clear(buffer);
}
