/* resolve.h - the addresses of names, kept as long as they may be.
 *
 * What was answered for a name and a family serves everybody until it is over, and then:
 *
 *     an answer with addresses  is fresh for its TTL, within ttl_min..ttl_max. Whoever asks within
 *                               the grace after that (as long again, at most 2 s) gets the old
 *                               one at once while it is asked anew: so a name in steady use never
 *                               makes anybody wait. Later ones wait for the new answer.
 *     NXDOMAIN, NODATA          is an answer: it replaces addresses, and holds for 30 s.
 *     any other failure         is none: it holds for 1 s, and where there have been addresses
 *                               less than 3600 s ago, these are told instead: after 1.8 s when the
 *                               name server is silent, and at once until it has recovered.
 *
 * Nothing is asked for a name that nobody uses, and the same is never asked twice at once, nor more
 * often than every ttl_min; with the default of 1 s, TTL 0 means: for those who connect now. Fresh
 * ends up to 10 % early, so that the names of a busy program do not all end together.
 *
 * Addresses keep the order in which the name server told them: it may rotate or sort them. Which
 * family goes first is decided by whoever connects.
 *
 * A question goes on when nobody waits for it any more: who asks next gets its answer.
 *
 * Who stays in use of the addresses, like a connection, watches the name: while it is needed it is
 * asked for anew whenever an answer is over, and each new answer is told. */
#ifndef HWS_TRANSPORT_RESOLVE_H
#define HWS_TRANSPORT_RESOLVE_H

#include "base/hash.h"
#include "base/random.h"
#include "io/loop.h"

typedef struct {
    hws_names_options_t names;
    hws_time_t ttl_min;      /* 1 s; 0 keeps nothing */
    hws_time_t ttl_max;      /* 300 s, at least ttl_min; holds for negative answers, too */
    uint32_t max_names;      /* 1024: those used longest ago go first. Names that are being asked
                              * for may be more: their number is bounded by those who wait */
    uint32_t jitter_percent; /* 10 */
} hws_resolver_options_t;

/* The cache of a manager. */
typedef struct {
    hws_loop_t *loop;
    hws_names_t *names;
    hws_resolver_options_t options;
    hws_random_t random;
    hws_hash_t entries;
    hws_list_t
        idle; /* entries that nobody watches, without a question that is out; used longest ago first */
    hws_list_t busy;    /* the others */
    uint64_t lookups;   /* resolutions started */
    uint64_t questions; /* asked of name servers: a family of a name each */
} hws_resolver_t;

/* What is known of one family. */
typedef struct {
    int status;          /* HWS_AGAIN: not yet; HWS_OK: at least one address; or why not */
    const hws_ip_t *ips; /* these last until the next input: copy what is needed later */
    uint32_t count;
    bool is_stale; /* the name server fails: an answer that should be over */
} hws_resolved_t;

typedef struct hws_resolution hws_resolution_t;

/* One look-up of both families, embedded by who asks. */
struct hws_resolution {
    hws_resolved_t found[HWS_FAMILIES];
    hws_list_t links[HWS_FAMILIES]; /* linked while the family is out */
    void (*on_answer)(hws_resolution_t *resolution, hws_family_t family, hws_time_t now);
};

void hws_resolver_options_init(hws_resolver_options_t *options);
int hws_resolver_init(hws_resolver_t *resolver, hws_loop_t *loop,
                      const hws_resolver_options_t *options);
/* Every resolution has ended or was cancelled. Harmless on one that failed to begin, or on zeros. */
void hws_resolver_dispose(hws_resolver_t *resolver);

/* Looks `name` up, which is no literal address. HWS_OK: both families are in `found`, with what is
 * known or with a failure, and nothing follows. HWS_AGAIN: at least one family is out (HWS_AGAIN in
 * `found`), perhaps one is there; on_answer tells each when it comes, once, and later. It may
 * cancel the resolution, start it anew or free it. */
int hws_resolution_start(hws_resolution_t *resolution, hws_resolver_t *resolver, hws_slice_t name,
                         hws_time_t now,
                         void (*on_answer)(hws_resolution_t *resolution, hws_family_t family,
                                           hws_time_t now));
/* on_answer is not called any more. Harmless when it is over. */
void hws_resolution_cancel(hws_resolution_t *resolution);

/* Whether that family is still to come. */
static inline bool hws_resolution_waits_for(const hws_resolution_t *resolution, hws_family_t family)
{
    return hws_list_is_linked(&resolution->links[family]);
}

/* HWS_OK when there is an address, else HWS_AGAIN while there may come one, else what failed: of
 * both families the more telling. */
int hws_resolution_status(const hws_resolution_t *resolution);

typedef struct hws_watch hws_watch_t;

/* Embedded by who watches a name. */
struct hws_watch {
    struct hws_entry *entry; /* that it watches; NULL: none */
    hws_list_t link;
    bool (*is_needed)(const hws_watch_t *watch);           /* asked before each question */
    void (*on_answer)(hws_watch_t *watch, hws_time_t now); /* of either family; stops no watch */
};

void hws_watch_init(hws_watch_t *watch, bool (*is_needed)(const hws_watch_t *watch),
                    void (*on_answer)(hws_watch_t *watch, hws_time_t now));
/* Watches `name`; or, once it does, sees to it that it is asked for again, as somebody needs it
 * anew. HWS_ERR_NOMEM. */
int hws_watch_start(hws_watch_t *watch, hws_resolver_t *resolver, hws_slice_t name, hws_time_t now);
/* Before its resolver goes. Harmless when it watches none. */
void hws_watch_stop(hws_watch_t *watch);
/* Whether the name has moved away from `ip`: it has addresses, by the newest answers, but not this
 * one. That it has none is no answer to act upon, nor is a failure. */
bool hws_watch_lacks(const hws_watch_t *watch, const hws_ip_t *ip);

#endif
