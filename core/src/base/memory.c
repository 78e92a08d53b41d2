#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
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

/* Where a sanitizer watches, a place that was given back is as forbidden as freed memory. */
#if defined(HAS_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#define FORBID(place, size) ASAN_POISON_MEMORY_REGION(place, size)
#define ALLOW(place, size) ASAN_UNPOISON_MEMORY_REGION(place, size)
#else
#define FORBID(place, size) ((void)0)
#define ALLOW(place, size) ((void)0)
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

/* Chunks lie at multiples of this. They are a little smaller, so that the allocator's own header of
 * the next one fits between: else every second 16 KiB of the heap would stay empty. */
#define CHUNK_ALIGNMENT ((size_t)16384)
#define CHUNK_SIZE (CHUNK_ALIGNMENT - 16)

typedef struct chunk {
    hws_list_t link;
    void *free; /* singly linked through the places */
    uint32_t used;
    uint32_t fresh; /* places never handed out begin here */
} chunk_t;

#define HEADER_SIZE ((sizeof(chunk_t) + 15) & ~(size_t)15)

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
    hws_list_t *link;

    assert(slab->live == 0);
    while ((link = hws_list_first(&slab->partial)) != NULL) {
        hws_list_remove(link);
        hws_free(HWS_CONTAINER(link, chunk_t, link));
    }
}

static chunk_t *chunk_of(void *object)
{
    return (chunk_t *)(void *)((uintptr_t)object & ~(uintptr_t)(CHUNK_ALIGNMENT - 1));
}

/* Aligned, so that an object's chunk is found from its address. */
static chunk_t *make_chunk(void)
{
    void *memory = NULL;
    chunk_t *chunk;

    if (is_turn() || posix_memalign(&memory, CHUNK_ALIGNMENT, CHUNK_SIZE) != 0)
        return NULL;
    chunk = memory;
    *chunk = (chunk_t){.free = NULL};
    hws_list_init(&chunk->link);
    FORBID((char *)chunk + HEADER_SIZE, CHUNK_SIZE - HEADER_SIZE);
    return chunk;
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
    if (slab->empty > 0) {
        hws_free(chunk);
        return;
    }
    /* The one kept is taken last, so that it can stay empty. */
    slab->empty = 1;
    hws_list_push_back(&slab->partial, &chunk->link);
}
