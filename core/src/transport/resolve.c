#include "transport/resolve.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

#define NEGATIVE_SPAN HWS_S(30)
#define FAILURE_SPAN HWS_S(1)
#define STALE_SPAN HWS_S(3600)
#define LONGEST_GRACE HWS_S(2)
/* With addresses that are over in hand, nobody waits longer for better ones (RFC 8767, 5). */
#define PATIENCE_WITH_STALE HWS_MS(1800)
#define NAME_MAX_SIZE ((size_t)254) /* RFC 1035, 2.3.4, with the dot at the end */

typedef struct hws_entry entry_t;

/* What is known of one family of a name. */
typedef struct {
    entry_t *entry;
    hws_family_t family;
    int status; /* of the last answer; HWS_AGAIN before the first */
    uint32_t count;
    hws_ip_t *ips;            /* of the last answer that had some */
    hws_time_t fresh_until;   /* nothing is asked before that */
    hws_time_t grace_until;   /* the answer is told while it is asked for again */
    hws_time_t stale_until;   /* `ips` are better than nothing */
    hws_question_t *question; /* out, or NULL */
    hws_list_t waiters;       /* resolutions, by the link of this family */
    hws_timer_t timer;        /* of those who wait although there are stale addresses */
    bool is_late;             /* the answer is, so these are told */
    hws_timer_t renewal;      /* when those who watch look whether to ask anew */
} record_t;

struct hws_entry {
    hws_hash_link_t hash;
    hws_list_t link; /* idle or busy */
    hws_resolver_t *resolver;
    uint32_t holds; /* questions that are out, and those who watch */
    hws_list_t watches;
    record_t records[HWS_FAMILIES];
    char name[];
};

/* Answers ------------------------------------------------------------------------------------- */

static hws_time_t clamp(hws_time_t span, hws_time_t min, hws_time_t max)
{
    if (span > max)
        span = max;
    return span < min ? min : span;
}

static hws_time_t span_of(hws_resolver_t *resolver, uint32_t ttl)
{
    const hws_resolver_options_t *options = &resolver->options;
    hws_time_t span = clamp(HWS_S(ttl), options->ttl_min, options->ttl_max);
    hws_time_t jitter = span * options->jitter_percent / 100;

    /* In milliseconds, which fit. */
    span -= HWS_MS(hws_random_below(&resolver->random, (uint32_t)(jitter / HWS_MS(1)) + 1));
    return span < options->ttl_min ? options->ttl_min : span;
}

static int keep_ips(record_t *record, const hws_answer_t *answer)
{
    hws_ip_t *ips = record->ips;

    if (record->ips == NULL || record->count != answer->count) {
        if ((ips = hws_alloc(answer->count * sizeof(*ips))) == NULL)
            return HWS_ERR_NOMEM;
        hws_free(record->ips);
    }
    memcpy(ips, answer->ips, answer->count * sizeof(*ips));
    record->ips = ips;
    record->count = answer->count;
    return HWS_OK;
}

static void drop_ips(record_t *record)
{
    hws_free(record->ips);
    record->ips = NULL;
    record->count = 0;
}

static void keep_failure(record_t *record, int status, hws_time_t now)
{
    record->status = status;
    /* Want of memory says nothing about the name. */
    record->fresh_until = status == HWS_ERR_NOMEM ? now : now + FAILURE_SPAN;
    record->grace_until = record->fresh_until;
}

static void keep_answer(record_t *record, const hws_answer_t *answer, hws_time_t now)
{
    hws_resolver_t *resolver = record->entry->resolver;
    hws_time_t span;

    switch (answer->status) {
    case HWS_OK:
        if (keep_ips(record, answer) != HWS_OK) {
            keep_failure(record, HWS_ERR_NOMEM, now);
            return;
        }
        span = span_of(resolver, answer->ttl);
        record->fresh_until = now + span;
        record->grace_until = record->fresh_until + clamp(span, 0, LONGEST_GRACE);
        record->stale_until = record->fresh_until + STALE_SPAN;
        break;
    case HWS_ERR_NXDOMAIN:
    case HWS_ERR_NODATA:
        drop_ips(record);
        span = clamp(NEGATIVE_SPAN, resolver->options.ttl_min, resolver->options.ttl_max);
        record->fresh_until = record->grace_until = now + span;
        break;
    default:
        keep_failure(record, answer->status, now);
        return;
    }
    record->status = answer->status;
}

/* The name server fails, or is about to, and there is an old answer. */
static bool has_stale(const record_t *record, hws_time_t now)
{
    return (record->status != HWS_OK || record->is_late) && record->ips != NULL &&
           now < record->stale_until;
}

static hws_resolved_t tell(const record_t *record, hws_time_t now)
{
    bool is_stale = has_stale(record, now);

    if (record->status == HWS_OK || is_stale)
        return (hws_resolved_t){HWS_OK, record->ips, record->count, is_stale};
    return (hws_resolved_t){.status = record->status};
}

/* Those who come while the others are told find what is known. */
static void tell_waiters(record_t *record, hws_time_t now)
{
    hws_family_t family = record->family;
    hws_list_t waiters;
    hws_list_t *link;

    hws_list_init(&waiters);
    hws_list_splice(&waiters, &record->waiters);
    while ((link = hws_list_first(&waiters)) != NULL) {
        hws_resolution_t *resolution = HWS_CONTAINER(link, hws_resolution_t, links[family]);

        hws_list_remove(link);
        resolution->found[family] = tell(record, now);
        resolution->on_answer(resolution, family, now);
    }
}

static void on_late(hws_timer_t *timer, hws_time_t now)
{
    record_t *record = HWS_CONTAINER(timer, record_t, timer);

    record->is_late = true;
    tell_waiters(record, now);
}

/* Entries ------------------------------------------------------------------------------------- */

static void free_entry(entry_t *entry)
{
    int family;

    for (family = 0; family < HWS_FAMILIES; family++) {
        assert(entry->records[family].question == NULL);
        assert(hws_list_is_empty(&entry->records[family].waiters));
        drop_ips(&entry->records[family]);
        hws_loop_cancel_timer(entry->resolver->loop, &entry->records[family].renewal);
    }
    hws_hash_remove(&entry->resolver->entries, &entry->hash);
    hws_list_remove(&entry->link);
    hws_free(entry);
}

static void trim(hws_resolver_t *resolver, uint32_t max)
{
    while (resolver->entries.size > max && !hws_list_is_empty(&resolver->idle))
        free_entry(HWS_CONTAINER(resolver->idle.next, entry_t, link));
}

static void hold(entry_t *entry)
{
    if (entry->holds++ > 0)
        return;
    hws_list_remove(&entry->link);
    hws_list_push_back(&entry->resolver->busy, &entry->link);
}

/* The entry may be gone after it. */
static void let_go(entry_t *entry)
{
    assert(entry->holds > 0);
    if (--entry->holds > 0)
        return;
    hws_list_remove(&entry->link);
    hws_list_push_back(&entry->resolver->idle, &entry->link);
    trim(entry->resolver, entry->resolver->options.max_names);
}

static void on_renewal(hws_timer_t *timer, hws_time_t now);

static int add_entry(hws_resolver_t *resolver, const char *name, size_t size, entry_t **out)
{
    entry_t *entry;
    int family;

    trim(resolver, resolver->options.max_names - 1);
    if ((entry = hws_zalloc(sizeof(*entry) + size + 1)) == NULL)
        return HWS_ERR_NOMEM;
    memcpy(entry->name, name, size);
    if (hws_hash_add(&resolver->entries, &entry->hash, entry->name, size) != HWS_OK) {
        hws_free(entry);
        return HWS_ERR_NOMEM;
    }
    entry->resolver = resolver;
    hws_list_init(&entry->watches);
    for (family = 0; family < HWS_FAMILIES; family++) {
        record_t *record = &entry->records[family];

        record->entry = entry;
        record->family = (hws_family_t)family;
        record->status = HWS_AGAIN;
        record->fresh_until = INT64_MIN;
        hws_list_init(&record->waiters);
        hws_timer_init(&record->timer, on_late);
        hws_timer_init(&record->renewal, on_renewal);
    }
    hws_list_push_back(&resolver->idle, &entry->link);
    *out = entry;
    return HWS_OK;
}

static entry_t *find_entry(hws_resolver_t *resolver, const char *name, size_t size)
{
    hws_hash_link_t *link = hws_hash_find(&resolver->entries, name, size);
    entry_t *entry;

    if (link == NULL)
        return NULL;
    entry = HWS_CONTAINER(link, entry_t, hash);
    if (entry->holds == 0) {
        hws_list_remove(&entry->link);
        hws_list_push_back(&resolver->idle, &entry->link);
    }
    return entry;
}

/* Questions ----------------------------------------------------------------------------------- */

static bool is_watched(const entry_t *entry)
{
    HWS_LIST_EACH(link, &entry->watches) {
        const hws_watch_t *watch = HWS_CONTAINER(link, hws_watch_t, link);

        if (watch->is_needed(watch))
            return true;
    }
    return false;
}

/* When the answer is over; what could not be kept is not asked for at once. */
static void plan_renewal(record_t *record, hws_time_t now)
{
    if (is_watched(record->entry))
        hws_loop_set_timer(record->entry->resolver->loop, &record->renewal,
                           record->fresh_until > now ? record->fresh_until : now + FAILURE_SPAN);
}

static void tell_watches(record_t *record, hws_time_t now)
{
    HWS_LIST_EACH(link, &record->entry->watches) {
        hws_watch_t *watch = HWS_CONTAINER(link, hws_watch_t, link);

        watch->on_answer(watch, now);
    }
    plan_renewal(record, now);
}

static void take_answer(void *owner, const hws_answer_t *answer, hws_time_t now)
{
    record_t *record = owner;
    hws_loop_t *loop = record->entry->resolver->loop;

    hws_loop_enter(loop);
    hws_loop_cancel_timer(loop, &record->timer);
    record->question = NULL;
    record->is_late = false;
    keep_answer(record, answer, now);
    tell_waiters(record, now);
    tell_watches(record, now);
    let_go(record->entry);
}

/* What fails at once is kept like an answer that says so. */
static void ask(record_t *record, hws_time_t now)
{
    static const int families[HWS_FAMILIES] = {[HWS_IPV6] = AF_INET6, [HWS_IPV4] = AF_INET};
    entry_t *entry = record->entry;
    hws_resolver_t *resolver = entry->resolver;
    int rc = resolver->loop->io->ops->ask(resolver->names, entry->name, families[record->family],
                                          take_answer, record, &record->question);

    if (rc != HWS_OK) {
        keep_failure(record, rc, now);
        return;
    }
    resolver->questions++;
    hold(entry);
}

static void on_renewal(hws_timer_t *timer, hws_time_t now)
{
    record_t *record = HWS_CONTAINER(timer, record_t, renewal);

    if (record->question == NULL && now >= record->fresh_until && is_watched(record->entry))
        ask(record, now);
    /* An answer that is out plans the next one. */
    if (record->question == NULL)
        plan_renewal(record, now);
}

static void await(record_t *record, hws_resolution_t *resolution, hws_time_t now)
{
    hws_list_push_back(&record->waiters, &resolution->links[record->family]);
    if (record->ips != NULL && now < record->stale_until && !hws_timer_is_set(&record->timer))
        hws_loop_set_timer(record->entry->resolver->loop, &record->timer,
                           now + PATIENCE_WITH_STALE);
}

static void look(record_t *record, hws_resolution_t *resolution, hws_time_t now)
{
    if (now >= record->fresh_until && record->question == NULL)
        ask(record, now);
    if (now < record->fresh_until || record->question == NULL ||
        (record->status == HWS_OK && now < record->grace_until) || has_stale(record, now))
        resolution->found[record->family] = tell(record, now);
    else
        await(record, resolution, now);
}

/* Resolutions --------------------------------------------------------------------------------- */

/* Upper and lower case are the same name (RFC 4343). No name has other bytes than these, and a
 * backslash would be an escape. Returns the size, 0 when it can be no name. */
static size_t make_key(hws_slice_t name, char *key)
{
    size_t i;

    if (name.size > NAME_MAX_SIZE)
        return 0;
    for (i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.data[i];

        if (c <= ' ' || c > '~' || c == '\\')
            return 0;
        key[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    return name.size;
}

static int fail_both(hws_resolution_t *resolution, int status)
{
    int family;

    for (family = 0; family < HWS_FAMILIES; family++)
        resolution->found[family].status = status;
    return HWS_OK;
}

int hws_resolution_start(hws_resolution_t *resolution, hws_resolver_t *resolver, hws_slice_t name,
                         hws_time_t now,
                         void (*on_answer)(hws_resolution_t *resolution, hws_family_t family,
                                           hws_time_t now))
{
    char key[NAME_MAX_SIZE];
    size_t size = make_key(name, key);
    entry_t *entry;
    int family;

    resolver->lookups++;
    resolution->on_answer = on_answer;
    for (family = 0; family < HWS_FAMILIES; family++) {
        hws_list_init(&resolution->links[family]);
        resolution->found[family] = (hws_resolved_t){.status = HWS_AGAIN};
    }
    if (size == 0)
        return fail_both(resolution, HWS_ERR_NXDOMAIN);
    if ((entry = find_entry(resolver, key, size)) == NULL &&
        add_entry(resolver, key, size, &entry) != HWS_OK)
        return fail_both(resolution, HWS_ERR_NOMEM);
    for (family = 0; family < HWS_FAMILIES; family++)
        look(&entry->records[family], resolution, now);
    return hws_resolution_waits_for(resolution, HWS_IPV6) ||
                   hws_resolution_waits_for(resolution, HWS_IPV4)
               ? HWS_AGAIN
               : HWS_OK;
}

void hws_resolution_cancel(hws_resolution_t *resolution)
{
    int family;

    for (family = 0; family < HWS_FAMILIES; family++)
        hws_list_remove(&resolution->links[family]);
}

/* How much a failure says: that there is no such name holds for both families, while NODATA of one
 * may only mean that the name has addresses of the other, which failed. */
static int rank_of(int status)
{
    static const int telling[] = {HWS_ERR_NODATA,      HWS_ERR_DNS,           HWS_ERR_DNS_TIMEOUT,
                                  HWS_ERR_DNS_REFUSED, HWS_ERR_DNS_MALFORMED, HWS_ERR_SERVFAIL,
                                  HWS_ERR_NXDOMAIN,    HWS_ERR_NOMEM};
    int i;

    for (i = 0; i < (int)(sizeof(telling) / sizeof(telling[0])); i++)
        if (telling[i] == status)
            return i;
    return -1;
}

int hws_resolution_status(const hws_resolution_t *resolution)
{
    int a = resolution->found[HWS_IPV6].status;
    int b = resolution->found[HWS_IPV4].status;

    if (a == HWS_OK || b == HWS_OK)
        return HWS_OK;
    if (a == HWS_AGAIN || b == HWS_AGAIN)
        return HWS_AGAIN;
    return rank_of(a) > rank_of(b) ? a : b;
}

/* Watches ------------------------------------------------------------------------------------- */

void hws_watch_init(hws_watch_t *watch, bool (*is_needed)(const hws_watch_t *watch),
                    void (*on_answer)(hws_watch_t *watch, hws_time_t now))
{
    *watch = (hws_watch_t){.is_needed = is_needed, .on_answer = on_answer};
    hws_list_init(&watch->link);
}

int hws_watch_start(hws_watch_t *watch, hws_resolver_t *resolver, hws_slice_t name, hws_time_t now)
{
    char key[NAME_MAX_SIZE];
    size_t size = make_key(name, key);
    entry_t *entry = watch->entry;
    int family;

    assert(size > 0);
    if (entry == NULL) {
        if ((entry = find_entry(resolver, key, size)) == NULL &&
            add_entry(resolver, key, size, &entry) != HWS_OK)
            return HWS_ERR_NOMEM;
        hold(entry);
        watch->entry = entry;
        hws_list_push_back(&entry->watches, &watch->link);
    }
    for (family = 0; family < HWS_FAMILIES; family++)
        if (!hws_timer_is_set(&entry->records[family].renewal))
            plan_renewal(&entry->records[family], now);
    return HWS_OK;
}

void hws_watch_stop(hws_watch_t *watch)
{
    entry_t *entry = watch->entry;

    if (entry == NULL)
        return;
    hws_list_remove(&watch->link);
    watch->entry = NULL;
    let_go(entry);
}

bool hws_watch_lacks(const hws_watch_t *watch, const hws_ip_t *ip)
{
    const record_t *record;
    const record_t *other;
    uint32_t i;

    if (watch->entry == NULL)
        return false;
    record = &watch->entry->records[ip->family == AF_INET6 ? HWS_IPV6 : HWS_IPV4];
    other = &watch->entry->records[ip->family == AF_INET6 ? HWS_IPV4 : HWS_IPV6];
    if (record->status == HWS_ERR_NODATA)
        return other->status == HWS_OK;
    for (i = 0; i < record->count; i++)
        if (memcmp(&record->ips[i], ip, sizeof(*ip)) == 0)
            return false;
    return record->status == HWS_OK;
}

/* Life ---------------------------------------------------------------------------------------- */

void hws_resolver_options_init(hws_resolver_options_t *options)
{
    *options = (hws_resolver_options_t){.names = {.patience = HWS_S(5)},
                                        .ttl_min = HWS_S(1),
                                        .ttl_max = HWS_S(300),
                                        .max_names = 1024,
                                        .jitter_percent = 10};
}

int hws_resolver_init(hws_resolver_t *resolver, hws_loop_t *loop,
                      const hws_resolver_options_t *options)
{
    uint64_t seeds[2];
    int rc;

    assert(options->max_names > 0 && options->ttl_min <= options->ttl_max);
    *resolver = (hws_resolver_t){.options = *options};
    if ((rc = loop->io->ops->entropy(loop->io, seeds, sizeof(seeds))) != HWS_OK)
        return rc;
    if ((rc = loop->io->ops->names_create(loop->io, &options->names, &resolver->names)) != HWS_OK)
        return rc;
    resolver->loop = loop;
    /* They were copied, and are the caller's. */
    resolver->options.names = (hws_names_options_t){0};
    hws_random_init(&resolver->random, seeds[0]);
    hws_hash_init(&resolver->entries, seeds[1]);
    hws_list_init(&resolver->idle);
    hws_list_init(&resolver->busy);
    return HWS_OK;
}

static void unask_all(entry_t *entry)
{
    int family;

    for (family = 0; family < HWS_FAMILIES; family++) {
        record_t *record = &entry->records[family];

        if (record->question == NULL)
            continue;
        entry->resolver->loop->io->ops->unask(record->question);
        hws_loop_cancel_timer(entry->resolver->loop, &record->timer);
        record->question = NULL;
        entry->holds--;
    }
    /* Else somebody disposes of the resolver from within on_answer. */
    assert(entry->holds == 0);
}

void hws_resolver_dispose(hws_resolver_t *resolver)
{
    if (resolver->loop == NULL)
        return;
    while (!hws_list_is_empty(&resolver->busy)) {
        entry_t *entry = HWS_CONTAINER(resolver->busy.next, entry_t, link);

        unask_all(entry);
        free_entry(entry);
    }
    trim(resolver, 0);
    hws_hash_dispose(&resolver->entries);
    resolver->loop->io->ops->names_destroy(resolver->names);
    resolver->loop = NULL;
}
