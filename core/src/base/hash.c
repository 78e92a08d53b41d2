#include "base/hash.h"

#include "base/memory.h"

#include <hawser/error.h>

#include <assert.h>
#include <string.h>

#define FIRST_BUCKETS 16

void hws_hash_init(hws_hash_t *table, uint64_t seed)
{
    *table = (hws_hash_t){.seed = seed};
}

void hws_hash_dispose(hws_hash_t *table)
{
    assert(table->size == 0);
    hws_free(table->buckets);
    table->buckets = NULL;
    table->bucket_count = 0;
}

/* FNV-1a from a seed, finished by murmur3's mixer so that low bits depend on all. */
static uint64_t hash_of(uint64_t seed, const char *name, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;
    size_t i;

    for (i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    return hash ^ (hash >> 33);
}

static hws_hash_link_t **bucket_of(const hws_hash_t *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

static int grow(hws_hash_t *table)
{
    size_t old_count = table->bucket_count;
    hws_hash_link_t **old = table->buckets;
    size_t count = old_count > 0 ? old_count * 2 : FIRST_BUCKETS;
    hws_hash_link_t **buckets = hws_zalloc(count * sizeof(*buckets));
    size_t i;

    if (buckets == NULL)
        return HWS_ERR_NOMEM;
    table->buckets = buckets;
    table->bucket_count = count;
    for (i = 0; i < old_count; i++) {
        hws_hash_link_t *link = old[i];

        while (link != NULL) {
            hws_hash_link_t *next = link->next;
            hws_hash_link_t **bucket = bucket_of(table, link->hash);

            link->next = *bucket;
            *bucket = link;
            link = next;
        }
    }
    hws_free(old);
    return HWS_OK;
}

int hws_hash_add(hws_hash_t *table, hws_hash_link_t *link, const char *name, size_t size)
{
    hws_hash_link_t **bucket;

    assert(hws_hash_find(table, name, size) == NULL);
    if (table->size >= table->bucket_count && grow(table) != HWS_OK && table->bucket_count == 0)
        return HWS_ERR_NOMEM;
    link->name = name;
    link->name_size = size;
    link->hash = hash_of(table->seed, name, size);
    bucket = bucket_of(table, link->hash);
    link->next = *bucket;
    *bucket = link;
    table->size++;
    return HWS_OK;
}

void hws_hash_remove(hws_hash_t *table, hws_hash_link_t *link)
{
    hws_hash_link_t **place = bucket_of(table, link->hash);

    while (*place != link)
        place = &(*place)->next;
    *place = link->next;
    table->size--;
}

hws_hash_link_t *hws_hash_find(const hws_hash_t *table, const char *name, size_t size)
{
    hws_hash_link_t *link;
    uint64_t hash;

    if (table->size == 0)
        return NULL;
    hash = hash_of(table->seed, name, size);
    for (link = *bucket_of(table, hash); link != NULL; link = link->next)
        if (link->hash == hash && link->name_size == size && memcmp(link->name, name, size) == 0)
            return link;
    return NULL;
}
