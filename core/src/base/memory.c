#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ADDRESS_SANITIZER 1
#endif
#endif

/* Where a sanitizer watches, a place that was given back is as forbidden as freed memory, and it must
 * be told of mappings in which it is to look for pointers, else what these lead to is a leak to it. */
#if defined(HAS_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define FORBID(place, size) ASAN_POISON_MEMORY_REGION(place, size)
#define ALLOW(place, size) ASAN_UNPOISON_MEMORY_REGION(place, size)
#define SEARCH(place, size) __lsan_register_root_region(place, size)
#define SEARCH_NO_MORE(place, size) __lsan_unregister_root_region(place, size)
#else
#define FORBID(place, size) ((void)0)
#define ALLOW(place, size) ((void)0)
#define SEARCH(place, size) ((void)0)
#define SEARCH_NO_MORE(place, size) ((void)0)
#endif

static struct {
    uint64_t fail_at; /* 0: never */
    uint64_t count;
} testing;

/* Several loops may live in several threads: only a test, which has one, arms the failure. */
static int is_turn(void)
{
    if (testing.fail_at == 0)
        return 0;
    return ++testing.count == testing.fail_at;
}

void *hws_alloc(size_t size)
{
    assert(size > 0);
    return is_turn() ? NULL : malloc(size);
}

void *hws_zalloc(size_t size)
{
    assert(size > 0);
    return is_turn() ? NULL : calloc(1, size);
}

void *hws_realloc(void *block, size_t size)
{
    assert(size > 0);
    return is_turn() ? NULL : realloc(block, size);
}

void hws_free(void *block)
{
    free(block);
}

void hws_memory_fail_at(uint64_t n)
{
    testing.fail_at = n;
    testing.count = 0;
}

uint64_t hws_memory_count(void)
{
    return testing.count;
}

void hws_memory_trim(void)
{
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

/* ---- stocks ---- */

#define STOCK_MOST ((size_t)65536)
/* Blocks are of 16 n + 8 bytes, since that is what malloc wastes least with. The first eight say
 * which n, or how large one is that is never kept. */
#define STOCK_STEP 16U
#define STOCK_HEADER sizeof(uint64_t)

static uint64_t *header_of(void *block)
{
    return (uint64_t *)block - 1;
}

static size_t room_of(const uint64_t *header)
{
    return *header < HWS_STOCK_SIZES ? (size_t)*header * STOCK_STEP : (size_t)*header;
}

void *hws_stock_alloc(hws_stock_t *stock, size_t size)
{
    size_t n = (size - 1) / STOCK_STEP + 1;
    uint64_t *header;
    void *block;

    assert(size > 0);
    if (n < HWS_STOCK_SIZES && (block = stock->kept[n]) != NULL) {
        ALLOW(block, n * STOCK_STEP);
        stock->kept[n] = *(void **)block;
        stock->size -= n * STOCK_STEP;
        return block;
    }
    if (n >= HWS_STOCK_SIZES)
        n = size;
    else
        size = n * STOCK_STEP;
    if (size > SIZE_MAX - STOCK_HEADER || (header = hws_alloc(STOCK_HEADER + size)) == NULL)
        return NULL;
    *header = n;
    return header + 1;
}

void *hws_stock_zalloc(hws_stock_t *stock, size_t size)
{
    void *block = hws_stock_alloc(stock, size);

    return block != NULL ? memset(block, 0, size) : NULL;
}

void *hws_stock_realloc(hws_stock_t *stock, void *block, size_t size)
{
    size_t room = block != NULL ? room_of(header_of(block)) : 0;
    void *moved;

    if (block != NULL && size <= room)
        return block;
    if ((moved = hws_stock_alloc(stock, size)) == NULL)
        return NULL;
    if (block != NULL)
        memcpy(moved, block, room);
    hws_stock_free(stock, block);
    return moved;
}

void hws_stock_free(hws_stock_t *stock, void *block)
{
    uint64_t n;

    if (block == NULL)
        return;
    n = *header_of(block);
    if (n >= HWS_STOCK_SIZES || stock->size + n * STOCK_STEP > STOCK_MOST) {
        hws_free(header_of(block));
        return;
    }
    *(void **)block = stock->kept[n];
    FORBID(block, n * STOCK_STEP);
    stock->kept[n] = block;
    stock->size += n * STOCK_STEP;
}

void hws_stock_dispose(hws_stock_t *stock)
{
    size_t n;

    for (n = 0; n < HWS_STOCK_SIZES; n++) {
        void *block;

        while ((block = stock->kept[n]) != NULL) {
            ALLOW(block, n * STOCK_STEP);
            stock->kept[n] = *(void **)block;
            hws_free(header_of(block));
        }
    }
    stock->size = 0;
}

/* ---- slabs ---- */

/* Chunks lie at multiples of their size, so that an object's chunk is found from its address. They
 * are mappings, not blocks of malloc's: one that has become empty can go back to the system as a
 * whole, whatever lies around it. */
#define CHUNK_SIZE ((size_t)65536)
/* Empty chunks that a slab keeps: a fresh one costs a page fault for every 4 KiB. */
#define EMPTY_MAX 8

typedef struct chunk {
    hws_list_t link;
    void *free; /* singly linked through the places */
    uint32_t used;
    uint32_t fresh; /* places never handed out begin here */
} chunk_t;

/* Objects begin with a cache line of their own where their size is a multiple of one. */
#define HEADER_SIZE ((sizeof(chunk_t) + 63) & ~(size_t)63)

static chunk_t *chunk_of(void *object)
{
    return (chunk_t *)(void *)((uintptr_t)object & ~(uintptr_t)(CHUNK_SIZE - 1));
}

/* Twice as much is certain to hold an aligned chunk. Its highest one is kept, and so the next
 * mapping, which the kernel puts below, adjoins it. */
static void *map_chunk(void)
{
    char *memory =
        mmap(NULL, 2 * CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *end;
    char *chunk;

    if (memory == MAP_FAILED)
        return NULL;
    end = memory + CHUNK_SIZE;
    chunk = (char *)chunk_of(end);
    munmap(memory, (size_t)(chunk - memory));
    if (chunk < end)
        munmap(chunk + CHUNK_SIZE, (size_t)(end - chunk));
    return chunk;
}

static chunk_t *make_chunk(void)
{
    chunk_t *chunk;

    if (is_turn() || (chunk = map_chunk()) == NULL)
        return NULL;
    *chunk = (chunk_t){.free = NULL};
    hws_list_init(&chunk->link);
    SEARCH(chunk, CHUNK_SIZE);
    FORBID((char *)chunk + HEADER_SIZE, CHUNK_SIZE - HEADER_SIZE);
    return chunk;
}

static void unmap_chunk(chunk_t *chunk)
{
    ALLOW(chunk, CHUNK_SIZE);
    SEARCH_NO_MORE(chunk, CHUNK_SIZE);
    munmap(chunk, CHUNK_SIZE);
}

void hws_slab_init(hws_slab_t *slab, size_t item_size, size_t zeroed)
{
    hws_list_init(&slab->partial);
    hws_list_init(&slab->full);
    slab->item_size = (item_size + 15) & ~(size_t)15;
    slab->per_chunk = (uint32_t)((CHUNK_SIZE - HEADER_SIZE) / slab->item_size);
    slab->zeroed = zeroed;
    slab->empty = 0;
    slab->live = 0;
    assert(slab->per_chunk >= 2);
}

void hws_slab_dispose(hws_slab_t *slab)
{
    assert(slab->live == 0);
    hws_slab_trim(slab);
}

void hws_slab_trim(hws_slab_t *slab)
{
    for (; slab->empty > 0; slab->empty--) {
        chunk_t *chunk = HWS_CONTAINER(hws_list_last(&slab->partial), chunk_t, link);

        hws_list_remove(&chunk->link);
        unmap_chunk(chunk);
    }
}

void *hws_slab_take(hws_slab_t *slab)
{
    chunk_t *chunk;
    void *object;

    if (hws_list_is_empty(&slab->partial)) {
        if ((chunk = make_chunk()) == NULL)
            return NULL;
        hws_list_push_front(&slab->partial, &chunk->link);
        slab->empty++;
    }
    chunk = HWS_CONTAINER(slab->partial.next, chunk_t, link);
    if (chunk->used++ == 0)
        slab->empty--;
    if (chunk->free != NULL) {
        object = chunk->free;
        ALLOW(object, slab->item_size);
        chunk->free = *(void **)object;
    } else {
        object = (char *)chunk + HEADER_SIZE + chunk->fresh++ * slab->item_size;
        ALLOW(object, slab->item_size);
    }
    if (chunk->used == slab->per_chunk) {
        hws_list_remove(&chunk->link);
        hws_list_push_front(&slab->full, &chunk->link);
    }
    slab->live++;
    memset(object, 0, slab->zeroed);
    return object;
}

void hws_slab_give(hws_slab_t *slab, void *object)
{
    chunk_t *chunk = chunk_of(object);

    *(void **)object = chunk->free;
    FORBID(object, slab->item_size);
    chunk->free = object;
    slab->live--;
    if (chunk->used-- == slab->per_chunk) {
        hws_list_remove(&chunk->link);
        hws_list_push_front(&slab->partial, &chunk->link);
    }
    if (chunk->used > 0)
        return;
    hws_list_remove(&chunk->link);
    if (slab->empty == EMPTY_MAX) {
        unmap_chunk(chunk);
        return;
    }
    /* Those kept are taken last, so that they can stay empty. */
    slab->empty++;
    hws_list_push_back(&slab->partial, &chunk->link);
}
