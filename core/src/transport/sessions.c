#include "transport/sessions.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

/* A configuration, a name and a peer are shorter; a key that is not is not kept. */
#define KEY_MAX 1024

typedef struct {
    hws_hash_link_t link;
    hws_list_t used;
    hws_tls_session_t *session;
    bool is_single_use;
    hws_time_t made;
    char key[]; /* the link's name */
} entry_t;

typedef struct {
    char bytes[KEY_MAX];
    size_t size; /* 0: too long */
} packed_t;

/* The number, and the strings with their NULs: no two keys are packed alike. */
static packed_t pack(const hws_session_key_t *key)
{
    size_t name = strlen(key->name) + 1;
    size_t peer = strlen(key->peer) + 1;
    packed_t packed;

    packed.size = 0;
    if (name > KEY_MAX / 2 || peer > KEY_MAX / 2 - sizeof(key->config))
        return packed;
    memcpy(packed.bytes, &key->config, sizeof(key->config));
    memcpy(packed.bytes + sizeof(key->config), key->name, name);
    memcpy(packed.bytes + sizeof(key->config) + name, key->peer, peer);
    packed.size = sizeof(key->config) + name + peer;
    return packed;
}

static entry_t *find(hws_sessions_t *sessions, const hws_session_key_t *key)
{
    packed_t packed = pack(key);
    hws_hash_link_t *link = hws_hash_find(&sessions->table, packed.bytes, packed.size);

    return link != NULL ? HWS_CONTAINER(link, entry_t, link) : NULL;
}

static void drop(hws_sessions_t *sessions, entry_t *entry)
{
    hws_hash_remove(&sessions->table, &entry->link);
    hws_list_remove(&entry->used);
    if (entry->session != NULL)
        sessions->free_session(entry->session);
    hws_free(entry);
}

static void drop_spent(hws_sessions_t *sessions)
{
    if (sessions->spent != NULL)
        sessions->free_session(sessions->spent);
    sessions->spent = NULL;
}

void hws_sessions_init(hws_sessions_t *sessions, uint32_t max, uint64_t seed,
                       void (*free_session)(hws_tls_session_t *session))
{
    assert(max > 0);
    *sessions = (hws_sessions_t){.max = max, .free_session = free_session};
    hws_hash_init(&sessions->table, seed);
    hws_list_init(&sessions->used);
}

void hws_sessions_dispose(hws_sessions_t *sessions)
{
    hws_list_t *link;

    while ((link = hws_list_first(&sessions->used)) != NULL)
        drop(sessions, HWS_CONTAINER(link, entry_t, used));
    drop_spent(sessions);
    hws_hash_dispose(&sessions->table);
}

/* A new entry without a session, or NULL. */
static entry_t *add(hws_sessions_t *sessions, const hws_session_key_t *key)
{
    packed_t packed = pack(key);
    entry_t *entry;

    if (packed.size == 0 || (entry = hws_zalloc(sizeof(*entry) + packed.size)) == NULL)
        return NULL;
    memcpy(entry->key, packed.bytes, packed.size);
    hws_list_init(&entry->used);
    if (hws_hash_add(&sessions->table, &entry->link, entry->key, packed.size) != HWS_OK) {
        hws_free(entry);
        return NULL;
    }
    return entry;
}

static void touch(hws_sessions_t *sessions, entry_t *entry)
{
    hws_list_remove(&entry->used);
    hws_list_push_front(&sessions->used, &entry->used);
}

void hws_sessions_put(hws_sessions_t *sessions, const hws_session_key_t *key,
                      hws_tls_session_t *session, bool is_single_use, hws_time_t now)
{
    entry_t *entry;

    drop_spent(sessions);
    if (session == NULL)
        return;
    if ((entry = find(sessions, key)) == NULL && (entry = add(sessions, key)) == NULL) {
        sessions->free_session(session);
        return;
    }
    if (entry->session != NULL)
        sessions->free_session(entry->session);
    entry->session = session;
    entry->is_single_use = is_single_use;
    entry->made = now;
    touch(sessions, entry);
    if (sessions->table.size > sessions->max)
        drop(sessions, HWS_CONTAINER(hws_list_last(&sessions->used), entry_t, used));
}

const hws_tls_session_t *hws_sessions_lend(hws_sessions_t *sessions, const hws_session_key_t *key,
                                           hws_time_t now)
{
    entry_t *entry;

    drop_spent(sessions);
    if ((entry = find(sessions, key)) == NULL)
        return NULL;
    if (now - entry->made >= HWS_SESSIONS_LIFETIME) {
        drop(sessions, entry);
        return NULL;
    }
    if (entry->is_single_use) {
        sessions->spent = entry->session;
        entry->session = NULL;
        drop(sessions, entry);
        return sessions->spent;
    }
    touch(sessions, entry);
    return entry->session;
}

void hws_sessions_forget(hws_sessions_t *sessions, const hws_session_key_t *key)
{
    entry_t *entry;

    drop_spent(sessions);
    if ((entry = find(sessions, key)) != NULL)
        drop(sessions, entry);
}
