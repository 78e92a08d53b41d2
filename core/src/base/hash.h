/* hash.h - a table from names to the objects that carry them.
 *
 * Chained through the objects. Growing the bucket array may fail, which only makes chains longer. */
#ifndef HWS_BASE_HASH_H
#define HWS_BASE_HASH_H

#include <hawser/base.h>

typedef struct hws_hash_link {
    struct hws_hash_link *next;
    const char *name; /* lives as long as the object */
    size_t name_size;
    uint64_t hash;
} hws_hash_link_t;

typedef struct {
    hws_hash_link_t **buckets; /* NULL while empty */
    size_t bucket_count;       /* a power of two */
    size_t size;
    uint64_t seed; /* keeps a peer who chooses names from choosing collisions */
} hws_hash_t;

void hws_hash_init(hws_hash_t *table, uint64_t seed);
/* Frees the buckets; asserts that the table is empty. */
void hws_hash_dispose(hws_hash_t *table);
/* Adds an object under a name that is not in the table yet. HWS_ERR_NOMEM only on the first. */
int hws_hash_add(hws_hash_t *table, hws_hash_link_t *link, const char *name, size_t size);
void hws_hash_remove(hws_hash_t *table, hws_hash_link_t *link);
/* The object of that name, or NULL. */
hws_hash_link_t *hws_hash_find(const hws_hash_t *table, const char *name, size_t size);

#endif
