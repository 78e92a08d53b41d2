#include "peer_set.h"

#include "pool/connection.h"
#include "upstream.h"

#include <string.h>

static hws_peer_t *peer_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_peer_t, link);
}

void hws_peer_set_init(hws_peer_set_t *set)
{
    *set = (hws_peer_set_t){0};
    hws_list_init(&set->list);
    hws_list_init(&set->removed);
}

void hws_peer_set_dispose(hws_peer_set_t *set)
{
    hws_peer_set_destroy(&set->list);
    hws_peer_set_destroy(&set->removed);
}

/* ---- who is in it ---- */

static void note_differences(hws_peer_set_t *set)
{
    const hws_peer_t *first = NULL;

    set->has_weights = set->has_priorities = false;
    HWS_LIST_EACH(link, &set->list) {
        hws_peer_t *peer = peer_of(link);

        if (first == NULL)
            first = peer;
        set->has_weights |= peer->weight < first->weight || peer->weight > first->weight;
        set->has_priorities |= peer->priority != first->priority;
        peer->credit = 0;
    }
}

static hws_peer_t *find_peer(hws_list_t *peers, const char *id)
{
    HWS_LIST_EACH(link, peers) {
        if (strcmp(peer_of(link)->id, id) == 0)
            return peer_of(link);
    }
    return NULL;
}

void hws_peer_set_destroy(hws_list_t *peers)
{
    hws_list_t *link;

    while ((link = hws_list_first(peers)) != NULL) {
        hws_list_remove(link);
        hws_peer_destroy(peer_of(link));
    }
}

int hws_peer_set_make(const hws_upstream_options_t *options, hws_list_t *peers, bool *is_raw,
                      hws_error_t *why)
{
    size_t i;
    int rc = HWS_OK;

    for (i = 0; i < options->peer_count && rc == HWS_OK; i++) {
        hws_peer_t *peer;

        if ((rc = hws_peer_create(&options->peers[i], &peer, why)) != HWS_OK)
            break;
        if (find_peer(peers, peer->id) != NULL)
            rc = hws_explain(why, HWS_ERR_INVALID, "peers: two have the id %.60s", peer->id);
        else if (peer->speaks_http && options->protocol == HWS_PROTOCOL_RAW)
            rc = hws_explain(why, HWS_ERR_INVALID, "peers: %.60s is http, the protocol raw",
                             peer->id);
        else if (i > 0 && options->protocol == HWS_PROTOCOL_AUTO && *is_raw == peer->speaks_http)
            rc = hws_explain(why, HWS_ERR_INVALID,
                             "peers: %.60s speaks another protocol than those before it", peer->id);
        if (i == 0)
            *is_raw = options->protocol == HWS_PROTOCOL_RAW ||
                      (options->protocol == HWS_PROTOCOL_AUTO && !peer->speaks_http);
        hws_list_push_back(peers, &peer->link);
    }
    if (rc == HWS_OK && options->setup != NULL && !*is_raw)
        rc = hws_explain(why, HWS_ERR_INVALID, "setup: only where the protocol is raw");
    if (rc != HWS_OK)
        hws_peer_set_destroy(peers);
    return rc;
}

static bool same_place(const hws_peer_t *a, const hws_peer_t *b)
{
    return strcmp(a->address_text, b->address_text) == 0 &&
           strcmp(a->authority, b->authority) == 0 && a->speaks_http == b->speaks_http &&
           a->is_secure == b->is_secure;
}

/* What the user may change of a peer that stays. */
static void take_over(hws_peer_t *known, hws_peer_t *fresh)
{
    char *locality = known->locality;

    known->locality = fresh->locality;
    fresh->locality = locality;
    known->weight = fresh->weight;
    known->priority = fresh->priority;
}

void hws_peer_set_replace(hws_peer_set_t *set, hws_list_t *fresh, hws_upstream_t *upstream)
{
    hws_list_t old;
    hws_list_t *link;

    hws_list_init(&old);
    hws_list_splice(&old, &set->list);
    set->count = 0;
    set->cursor = NULL;
    while ((link = hws_list_first(fresh)) != NULL) {
        hws_peer_t *peer = peer_of(link);
        hws_peer_t *known = find_peer(&old, peer->id);

        hws_list_remove(link);
        if (known != NULL && same_place(known, peer)) {
            take_over(known, peer);
            hws_list_remove(&known->link);
            hws_peer_destroy(peer);
            peer = known;
        }
        peer->upstream = upstream;
        peer->pool.owner = &upstream->owner;
        hws_list_push_back(&set->list, &peer->link);
        set->count++;
    }
    note_differences(set);
    hws_list_splice(&set->removed, &old);
}

void hws_peer_set_reap(hws_peer_set_t *set)
{
    hws_list_t *link = set->removed.next;

    while (link != &set->removed) {
        hws_peer_t *peer = peer_of(link);

        link = link->next;
        if (peer->holds > 0 || peer->pool.open > 0 || peer->pool.dialing > 0)
            continue;
        hws_list_remove(&peer->link);
        hws_peer_destroy(peer);
    }
}

/* ---- whose turn it is ---- */

/* The next in the ring of peers, the head itself skipped. */
static hws_peer_t *next_peer(hws_peer_set_t *set, hws_peer_t *peer)
{
    hws_list_t *link = peer != NULL ? peer->link.next : set->list.next;

    return peer_of(link == &set->list ? set->list.next : link);
}

void hws_peer_set_turn_to(hws_peer_set_t *set, hws_peer_t *peer)
{
    hws_list_t *link = peer->link.prev;

    set->cursor = peer_of(link == &set->list ? set->list.prev : link);
}

/* Whether `peer` could do something for the call now. */
static hws_pool_answer_t ask(const hws_peer_t *peer, const hws_call_t *call, hws_time_t now,
                             hws_connection_t **out)
{
    hws_pool_want_t want = {.fresh_only = call->is_fresh_only,
                            .careful = !call->is_replayable,
                            .is_lease = call->is_lease || call->is_connect_only};

    return hws_pool_ask(&peer->pool, &want, now, out);
}

/* What ranks above whose turn it is: priority, and for who waits a connection that is there above
 * a dial, because the one just dialled for him may be another peer's than the next in turn. */
static int compare(const hws_peer_t *a, hws_pool_answer_t says_a, const hws_peer_t *b,
                   hws_pool_answer_t says_b, bool waits)
{
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    if (waits && says_a != says_b)
        return says_a == HWS_POOL_LEASED ? -1 : 1;
    return 0;
}

hws_peer_t *hws_peer_set_pick(hws_peer_set_t *set, const hws_call_t *call, bool may_dial,
                              hws_time_t now, hws_pool_answer_t *answer,
                              hws_connection_t **connection)
{
    bool waits = hws_list_is_linked(&call->queue_link);
    hws_peer_t *best = NULL;
    hws_peer_t *peer = set->cursor;
    double total = 0;
    uint32_t i;

    for (i = 0; i < set->count; i++) {
        hws_connection_t *found = NULL;
        hws_pool_answer_t said;
        int rank;

        peer = next_peer(set, peer);
        if (peer == call->avoid && set->count > 1)
            continue;
        said = ask(peer, call, now, &found);
        if (said == HWS_POOL_NO_ROOM || (said == HWS_POOL_DIAL && !may_dial))
            continue;
        if (set->has_weights) {
            peer->credit += peer->weight;
            total += peer->weight;
        }
        rank = best == NULL ? -1 : compare(peer, said, best, *answer, waits);
        if (rank < 0 || (rank == 0 && peer->credit > best->credit)) {
            best = peer;
            *answer = said;
            *connection = found;
            if (!set->has_weights && !set->has_priorities && (!waits || said == HWS_POOL_LEASED))
                break;
        }
    }
    if (best != NULL) {
        best->credit -= total;
        set->cursor = best;
    }
    return best;
}

hws_connection_t *hws_peer_set_oldest_idle(const hws_peer_set_t *set)
{
    hws_connection_t *oldest = NULL;

    HWS_LIST_EACH(link, &set->list) {
        hws_connection_t *one = hws_pool_oldest_idle(&peer_of(link)->pool);

        if (one != NULL && (oldest == NULL || one->used_at < oldest->used_at))
            oldest = one;
    }
    return oldest;
}
