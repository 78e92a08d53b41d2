/* memory.h - all allocation of the core.
 *
 * One place, so that a test can make the n-th allocation fail and count what is live. What may be
 * there in thousands comes from slabs: whole mappings of one size of object. What stays then does
 * not lie between what goes (freed memory could not be returned), and free lists are bounded.
 *
 * Not thread-safe for one slab; hws_alloc and hws_free are as safe as malloc. */
#ifndef HWS_BASE_MEMORY_H
#define HWS_BASE_MEMORY_H

#include "base/list.h"

#include <stdint.h>

/* As malloc, calloc and realloc; NULL when out of memory or when the test's turn has come.
 * `size` must be above 0. hws_realloc(NULL, n) allocates; on failure the old block stays. */
void *hws_alloc(size_t size);
void *hws_zalloc(size_t size);
void *hws_realloc(void *block, size_t size);
/* Frees what the functions above gave; NULL is harmless. */
void hws_free(void *block);

/* Makes the n-th allocation from now fail (1 is the next one), or none with 0. For tests. */
void hws_memory_fail_at(uint64_t n);
/* Allocations made since the last hws_memory_fail_at(n) with n above 0. */
uint64_t hws_memory_count(void);

/* Gives freed memory back to the system where the C library can (glibc). Costs milliseconds. */
void hws_memory_trim(void);

#define HWS_STOCK_SIZES 32

/* Small blocks of many sizes that come and go: of those given back up to 64 KiB are kept, and
 * are what the next of their size gets. For a library that takes functions in malloc's place.
 * Zeroed is a valid empty stock. */
typedef struct {
    void *kept[HWS_STOCK_SIZES]; /* singly linked */
    size_t size;                 /* of all that are kept, in bytes */
} hws_stock_t;

/* As malloc, calloc, realloc and free, but blocks are aligned to 8 bytes only. */
void *hws_stock_alloc(hws_stock_t *stock, size_t size);
void *hws_stock_zalloc(hws_stock_t *stock, size_t size);
void *hws_stock_realloc(hws_stock_t *stock, void *block, size_t size);
void hws_stock_free(hws_stock_t *stock, void *block);
/* Frees what is kept; the stock is empty and usable again. */
void hws_stock_dispose(hws_stock_t *stock);

/* Objects of one size in 64 KiB chunks. Of those that have become empty a few are kept. */
typedef struct {
    hws_list_t partial; /* chunks with a free place */
    hws_list_t full;
    size_t item_size; /* rounded up */
    size_t zeroed;    /* bytes in front that a fresh object has as zeros */
    uint32_t per_chunk;
    uint32_t empty; /* chunks without any object, the last in `partial` */
    uint64_t live;  /* objects handed out */
} hws_slab_t;

/* `zeroed` of the `item_size` bytes are filled with zeros in each fresh object. */
void hws_slab_init(hws_slab_t *slab, size_t item_size, size_t zeroed);
/* Frees all chunks; asserts that no object is live. */
void hws_slab_dispose(hws_slab_t *slab);
/* An object, or NULL. */
void *hws_slab_take(hws_slab_t *slab);
void hws_slab_give(hws_slab_t *slab, void *object);
/* Gives the empty chunks back to the system. */
void hws_slab_trim(hws_slab_t *slab);

#endif
