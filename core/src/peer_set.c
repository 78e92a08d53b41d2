#include "peer_set.h"

#include "pool/connection.h"
#include "protocol.h"
#include "script.h"
#include "upstream.h"

#include <string.h>

static hws_peer_t *peer_of(hws_list_t *link)
{
    return HWS_CONTAINER(link, hws_peer_t, link);
}

static void destroy_peers(hws_list_t *peers)
{
    hws_list_t *link;

    while ((link = hws_list_first(peers)) != NULL) {
        hws_list_remove(link);
        hws_peer_destroy(peer_of(link));
    }
}

void hws_peer_let_go(hws_peer_t *peer)
{
    hws_upstream_tidy(peer->upstream);
}

void hws_peer_set_init(hws_peer_set_t *set)
{
    *set = (hws_peer_set_t){0};
    hws_list_init(&set->list);
    hws_list_init(&set->removed);
}

void hws_peer_set_dispose(hws_peer_set_t *set)
{
    destroy_peers(&set->list);
    destroy_peers(&set->removed);
    hws_free(set->lineup.list);
    hws_free(set->gathered);
}

/* ---- who is in it ---- */

static hws_peer_t *find_peer(hws_list_t *peers, const char *id)
{
    HWS_LIST_EACH(link, peers) {
        if (strcmp(peer_of(link)->id, id) == 0)
            return peer_of(link);
    }
    return NULL;
}

static int set_protocol(hws_peer_t *peer, hws_protocol_t *wanted, bool is_first, hws_error_t *why)
{
    hws_scheme_t scheme = {peer->is_http, peer->is_secure, peer->is_h2c};

    if (!is_first && *wanted == (peer->is_http ? HWS_PROTOCOL_RAW : HWS_PROTOCOL_AUTO))
        return hws_explain(why, HWS_ERR_INVALID,
                           "peers: %.60s speaks another protocol than those before it", peer->id);
    if (is_first && *wanted == HWS_PROTOCOL_AUTO && !peer->is_http)
        *wanted = HWS_PROTOCOL_RAW;
    return hws_protocol_of_peer(*wanted, scheme, peer->id, &peer->protocol, why);
}

int hws_new_peers_make(const hws_upstream_options_t *options, hws_new_peers_t *peers,
                       hws_protocol_t *protocol, hws_error_t *why)
{
    size_t i;
    int rc = HWS_OK;

    hws_list_init(&peers->list);
    peers->room = hws_alloc((options->peer_count + 1) * sizeof(hws_candidate_t *));
    peers->gathered = hws_alloc((options->peer_count + 1) * sizeof(hws_peer_t *));
    if (peers->room == NULL || peers->gathered == NULL) {
        hws_new_peers_dispose(peers);
        return HWS_ERR_NOMEM;
    }

    for (i = 0; i < options->peer_count && rc == HWS_OK; i++) {
        hws_peer_t *peer;

        if ((rc = hws_peer_create(&options->peers[i], &peer, why)) != HWS_OK)
            break;
        if (find_peer(&peers->list, peer->id) != NULL)
            rc = hws_explain(why, HWS_ERR_INVALID, "peers: two have the id %.60s", peer->id);
        else
            rc = set_protocol(peer, protocol, i == 0, why);
        hws_list_push_back(&peers->list, &peer->link);
    }
    if (rc == HWS_OK && options->setup != NULL && *protocol != HWS_PROTOCOL_RAW)
        rc = hws_explain(why, HWS_ERR_INVALID, "setup: only where the protocol is raw");
    if (rc != HWS_OK)
        hws_new_peers_dispose(peers);
    return rc;
}

void hws_new_peers_dispose(hws_new_peers_t *peers)
{
    destroy_peers(&peers->list);
    hws_free(peers->room);
    hws_free(peers->gathered);
    peers->room = NULL;
    peers->gathered = NULL;
}

static bool same_place(const hws_peer_t *a, const hws_peer_t *b)
{
    return strcmp(a->address_text, b->address_text) == 0 &&
           strcmp(a->authority, b->authority) == 0 && a->is_http == b->is_http &&
           a->is_secure == b->is_secure && a->is_h2c == b->is_h2c;
}

/* What the user may change of a peer that stays. */
static void take_over(hws_peer_t *known, hws_peer_t *fresh)
{
    char *locality = known->locality;

    known->locality = fresh->locality;
    fresh->locality = locality;
    known->candidate.weight = fresh->candidate.weight;
    known->candidate.priority = fresh->candidate.priority;
}

static void arrange(hws_peer_set_t *set, hws_candidate_t **room)
{
    uint32_t i = 0;

    hws_free(set->lineup.list);
    set->lineup.list = room;
    set->lineup.count = set->count;
    HWS_LIST_EACH(link, &set->list)
        room[i++] = &peer_of(link)->candidate;
    hws_lineup_arrange(&set->lineup);
}

void hws_peer_set_replace(hws_peer_set_t *set, hws_new_peers_t *fresh, hws_upstream_t *upstream,
                          hws_time_t now)
{
    hws_list_t old;
    hws_list_t *link;

    hws_list_init(&old);
    hws_list_splice(&old, &set->list);
    set->count = 0;
    while ((link = hws_list_first(&fresh->list)) != NULL) {
        hws_peer_t *peer = peer_of(link);
        hws_peer_t *known = find_peer(&old, peer->id);

        hws_list_remove(link);
        if (known != NULL && same_place(known, peer)) {
            take_over(known, peer);
            hws_list_remove(&known->link);
            hws_peer_destroy(peer);
            peer = known;
        } else {
            hws_breaker_init(&peer->breaker, now);
        }
        peer->upstream = upstream;
        if (peer != known)
            hws_pool_belongs_to(&peer->pool, &upstream->owner, peer->protocol);
        hws_list_push_back(&set->list, &peer->link);
        set->count++;
    }
    arrange(set, fresh->room);
    hws_free(set->gathered);
    set->gathered = fresh->gathered;
    fresh->room = NULL;
    fresh->gathered = NULL;
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
        hws_upstream_bury(peer);
    }
}

double hws_peer_set_latency_beside(const hws_peer_set_t *set, const hws_peer_t *peer)
{
    double sum = 0;
    uint32_t count = 0;

    HWS_LIST_EACH(link, &set->list) {
        const hws_peer_t *other = peer_of(link);

        if (other == peer || other->score.latency <= 0)
            continue;
        sum += other->score.latency;
        count++;
    }
    return count > 0 ? sum / count : 0;
}

/* ---- who is to serve ---- */

typedef struct {
    hws_ask_t ask;
    hws_call_t *call;
    hws_time_t now;
    bool may_dial;
    bool waits;
    bool may_avoid; /* there is somebody else than whom the call avoids */
} question_t;

/* What the pool of `peer` says, if its breaker lets it be asked. */
static hws_pool_answer_t ask_pool(hws_peer_t *peer, const hws_call_t *call, hws_time_t now)
{
    hws_pool_want_t want = {.fresh_only = call->is_fresh_only,
                            .fresh_since = call->fresh_since,
                            .careful = !call->is_replayable,
                            .is_lease = call->is_lease || call->is_connect_only};

    if (!hws_breaker_would_admit(&peer->breaker, &peer->upstream->breaker, now))
        return HWS_POOL_NO_ROOM;
    return hws_pool_ask(&peer->pool, &want, now, &peer->offered);
}

/* For who waits a connection that is there ranks above a dial, because the one just dialled for him
 * may be another peer's than the next in turn. */
static int rank(hws_ask_t *ask, hws_candidate_t *candidate)
{
    const question_t *question = HWS_CONTAINER(ask, question_t, ask);
    hws_peer_t *peer = hws_peer_of_candidate(candidate);
    int worth;

    if (question->may_avoid && peer == question->call->avoid)
        return 0;
    peer->answer = ask_pool(peer, question->call, question->now);
    if (peer->answer == HWS_POOL_NO_ROOM ||
        (peer->answer != HWS_POOL_LEASED && !question->may_dial))
        return 0;
    worth = question->waits && peer->answer == HWS_POOL_LEASED ? 2 : 1;
    if (question->call->attempts.count > 1 && hws_attempts_include(&question->call->attempts, peer))
        worth -= 3;
    return worth;
}

/* Whether a breaker lets anybody but `peer` be tried, who may be full at present. */
static bool has_other(const hws_upstream_t *upstream, const hws_peer_t *peer, hws_time_t now)
{
    HWS_LIST_EACH(link, &upstream->peers.list) {
        const hws_peer_t *other = HWS_CONTAINER(link, const hws_peer_t, link);

        if (other != peer && hws_breaker_would_admit(&other->breaker, &upstream->breaker, now))
            return true;
    }
    return false;
}

/* Those of the lowest priority number that may serve, untried ones if there are any. */
static uint32_t gather(hws_lineup_t *lineup, question_t *question, hws_peer_t **out)
{
    uint32_t count = 0;
    bool has_untried = false;
    uint32_t i;

    for (i = 0; i < lineup->count; i++) {
        hws_candidate_t *candidate = lineup->list[i];
        int worth;

        if (has_untried && candidate->tier != out[0]->candidate.tier)
            break;
        worth = rank(&question->ask, candidate);
        if (worth == 0 ||
            (worth < 0 && count > 0 && (has_untried || candidate->tier != out[0]->candidate.tier)))
            continue;
        if (worth > 0 && !has_untried)
            count = 0;
        has_untried |= worth > 0;
        out[count++] = hws_peer_of_candidate(candidate);
    }
    return count;
}

/* The script's choice, or the balancer's where it has no opinion. */
static hws_candidate_t *choose(hws_upstream_t *upstream, question_t *question)
{
    hws_peer_set_t *set = &upstream->peers;
    hws_peer_t **peers = set->gathered;
    uint32_t count = upstream->script.pick != NULL ? gather(&set->lineup, question, peers) : 0;
    int64_t choice = HWS_PICK_BUILT_IN;

    if (count > 0)
        choice = hws_script_pick(question->call, peers, count, question->now);
    question->call->is_declined = choice == HWS_PICK_NOBODY;
    if (choice == HWS_PICK_NOBODY)
        return NULL;
    if (choice >= 0 && choice < count) {
        /* A script may have closed what it was asked about. */
        hws_candidate_t *candidate = &peers[choice]->candidate;

        return rank(&question->ask, candidate) != 0 ? candidate : NULL;
    }
    if (set->lineup.count == 1) /* as of most upstreams that were made for a URL */
        return rank(&question->ask, set->lineup.list[0]) != 0 ? set->lineup.list[0] : NULL;
    return hws_balancer_pick(upstream->balancer, &set->lineup, &question->ask,
                             &upstream->manager->pools.random, question->now);
}

hws_peer_t *hws_peer_set_pick(hws_upstream_t *upstream, hws_call_t *call, bool may_dial,
                              hws_time_t now, hws_pool_answer_t *answer,
                              hws_connection_t **connection)
{
    bool waits = hws_list_is_linked(&call->queue_link);
    question_t question = {.ask = {.rank = rank, .best = waits ? 2 : 1},
                           .call = call,
                           .now = now,
                           .may_dial = may_dial,
                           .waits = waits,
                           .may_avoid =
                               call->avoid != NULL && has_other(upstream, call->avoid, now)};
    hws_candidate_t *candidate = NULL;
    hws_peer_t *peer;

    if (call->bound_to == NULL && waits && upstream->fresh != NULL &&
        rank(&question.ask, &upstream->fresh->candidate) > 1)
        candidate = &upstream->fresh->candidate;
    else if (call->bound_to == NULL && waits && upstream->freed != NULL &&
             upstream->freed->candidate.tier == 0 &&
             rank(&question.ask, &upstream->freed->candidate) > 1)
        candidate = hws_balancer_only(&upstream->peers.lineup, &upstream->freed->candidate);
    else if (call->bound_to == NULL)
        candidate = choose(upstream, &question);
    else if (rank(&question.ask, &call->bound_to->candidate) != 0)
        candidate = &call->bound_to->candidate;
    if (candidate == NULL)
        return NULL;
    peer = hws_peer_of_candidate(candidate);
    *answer = peer->answer;
    *connection = peer->offered;
    return peer;
}

hws_pool_answer_t hws_peer_set_ask(hws_peer_t *peer, const hws_call_t *call, hws_time_t now)
{
    return ask_pool(peer, call, now);
}

bool hws_peer_set_may_try(hws_upstream_t *upstream, const hws_call_t *call, hws_time_t now)
{
    return hws_peer_set_retry_in(upstream, call, now) == 0;
}

hws_time_t hws_peer_set_retry_in(hws_upstream_t *upstream, const hws_call_t *call, hws_time_t now)
{
    hws_time_t least = HWS_NEVER;

    HWS_LIST_EACH(link, &upstream->peers.list) {
        const hws_peer_t *peer = peer_of(link);
        hws_time_t span;

        if (call->bound_to != NULL && call->bound_to != peer)
            continue;
        if (hws_breaker_would_admit(&peer->breaker, &upstream->breaker, now))
            return 0;
        span = hws_breaker_retry_in(&peer->breaker, &upstream->breaker, now);
        if (span < least)
            least = span;
    }
    return least;
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
