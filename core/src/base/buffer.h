/* buffer.h - bytes that are appended behind and consumed in front, in one growing block.
 *
 * Whoever appends keeps the bound: a buffer itself has none. */
#ifndef HWS_BASE_BUFFER_H
#define HWS_BASE_BUFFER_H

#include <hawser/error.h>

static inline size_t hws_buffer_size(const hws_buffer_t *buffer)
{
    return buffer->tail - buffer->head;
}

static inline const char *hws_buffer_bytes(const hws_buffer_t *buffer)
{
    return buffer->data + buffer->head;
}

static inline bool hws_buffer_is_empty(const hws_buffer_t *buffer)
{
    return buffer->tail == buffer->head;
}

/* Forgets the contents, keeps the block. */
static inline void hws_buffer_clear(hws_buffer_t *buffer)
{
    buffer->head = buffer->tail = 0;
}

/* Drops what lies behind the first `size` bytes; at most hws_buffer_size(). */
static inline void hws_buffer_truncate(hws_buffer_t *buffer, size_t size)
{
    buffer->tail = buffer->head + size;
}

/* Frees the block; the buffer is empty and usable again. */
void hws_buffer_dispose(hws_buffer_t *buffer);
int hws_buffer_grow(hws_buffer_t *buffer, size_t size);
/* Makes room for `size` more bytes behind; HWS_ERR_NOMEM leaves the buffer as it was. */
static inline int hws_buffer_reserve(hws_buffer_t *buffer, size_t size)
{
    return buffer->capacity - buffer->tail >= size ? HWS_OK : hws_buffer_grow(buffer, size);
}
/* Appends, all or nothing. */
int hws_buffer_append(hws_buffer_t *buffer, const void *data, size_t size);
/* Drops `size` bytes in front; at most hws_buffer_size(). An emptied buffer starts over. */
void hws_buffer_consume(hws_buffer_t *buffer, size_t size);

#endif
