#include "lua_peer_view.h"
#include "lua_script_parts.h"
#include "peer.h"
#include "upstream.h"

#include <math.h>

/* ---- a peer ---- */

static double known(double value)
{
    return value > 0 ? value / 1e6 : (double)NAN;
}

/* As hws_peer_view() has it, but no more than was asked for. */
static double read_peer(const void *user, hwl_peer_field_t field)
{
    hws_peer_t *peer = (hws_peer_t *)(uintptr_t)user;
    const hws_upstream_t *upstream = peer->upstream;
    const hws_loop_t *loop = upstream->manager->loop;
    hws_peer_view_t view;

    switch (field) {
    case HWL_PEER_WEIGHT:
        return peer->candidate.weight;
    case HWL_PEER_IN_FLIGHT:
        return peer->candidate.in_flight;
    case HWL_PEER_CONNECTIONS:
        return peer->pool.open + peer->pool.dialing;
    case HWL_PEER_IDLE:
        return peer->pool.idle;
    case HWL_PEER_LATENCY:
        return known(hws_candidate_latency(&peer->candidate, hws_loop_recent(loop)));
    case HWL_PEER_P99:
        return known((double)hws_recent_quantile(&peer->recent, .99, hws_loop_recent(loop)));
    case HWL_PEER_SUCCESS_RATE:
        return hws_score_success_rate(&peer->score);
    case HWL_PEER_SCORE:
        return hws_score_value(&peer->score, hws_peer_set_latency_beside(&upstream->peers, peer),
                               hws_loop_recent(loop));
    case HWL_PEER_SINCE:
        return hwl_seconds(
            hws_breaker_since(&peer->breaker, &upstream->breaker, hws_loop_recent(loop)));
    case HWL_PEER_STATE:
        hws_peer_view(peer, &view);
        return view.state;
    case HWL_PEER_BREAKER:
        return hws_breaker_state(&peer->breaker, &upstream->breaker, hws_loop_recent(loop));
    case HWL_PEER_ID:
    case HWL_PEER_ADDRESS:
    case HWL_PEER_LOCALITY:
    case HWL_PEER_TAGS:
    case HWL_PEER_FIELD_COUNT:
        break;
    }
    return (double)NAN;
}

void hwl_script_push_view(lua_State *P, const hwl_script_t *script, const hws_peer_t *peer)
{
    if (peer->view == 0) {
        lua_pushnil(P);
        return;
    }
    hwl_script_push(P, script->views);
    lua_rawgeti(P, -1, peer->view);
    lua_remove(P, -2);
}

void hwl_script_list_peers(lua_State *P, hwl_script_t *script, hws_peer_t *const *peers,
                           uint32_t count)
{
    uint32_t i;

    hwl_script_push(P, script->list);
    hwl_script_push(P, script->views);
    for (i = 0; i < count; i++) {
        lua_rawgeti(P, -1, peers[i]->view);
        lua_rawseti(P, -3, (int)i + 1);
    }
    lua_pop(P, 1);
    for (; i < script->listed; i++) {
        lua_pushnil(P);
        lua_rawseti(P, -2, (int)i + 1);
    }
    script->listed = count;
}

/* ---- showing the peers ---- */

/* Nothing is allocated for that. */
static void forget(const hwl_script_t *script, hws_peer_t *peer)
{
    lua_State *L = script->lua->spare;

    if (peer->view == 0)
        return;
    hwl_script_push(L, script->views);
    lua_rawgeti(L, -1, peer->view);
    hwl_peer_view_forget(hwl_test(L, -1, HWL_PEER));
    luaL_unref(L, -2, peer->view);
    peer->view = 0;
    lua_pop(L, 2);
}

void hwl_script_gone(void *user, hws_peer_t *peer)
{
    forget(user, peer);
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    if (text == NULL || text[0] == '\0')
        lua_pushnil(L);
    else
        lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

/* NULL: the upstream was collected, or somebody has called its finalizer. */
static hws_peer_set_t *set_of(const hwl_script_t *script)
{
    if (script->upstream == NULL || script->upstream->core == NULL)
        return NULL;
    return &script->upstream->core->peers;
}

/* Those of the peers that are there, then those that finish their work; NULL behind the last. */
static hws_peer_t *peer_at(const hwl_script_t *script, uint32_t index)
{
    hws_peer_set_t *set = set_of(script);
    hws_list_t *lists[] = {&set->list, &set->removed};
    size_t i;

    for (i = 0; i < 2; i++) {
        HWS_LIST_EACH(link, lists[i]) {
            if (index-- == 0)
                return HWS_CONTAINER(link, hws_peer_t, link);
        }
    }
    return NULL;
}

/* While one is shown it is held, because whatever is allocated may run a finalizer that takes it out
 * and turns the loop. */
typedef struct {
    hwl_script_t *script;
    hws_peer_t *held; /* NULL: none */
} showing_t;

static void let_go(showing_t *showing)
{
    if (showing->held != NULL)
        hws_peer_release(showing->held);
    showing->held = NULL;
}

/* Pushes the view of a peer that had none. */
static void make_view(lua_State *L, hwl_script_t *script, hws_peer_t *peer)
{
    hwl_peer_view_t *view;

    lua_newtable(L);
    view = hwl_peer_view_new(L, script->lua, NULL, read_peer);
    hwl_script_push_view(L, script, peer);
    if (!lua_isnil(L, -1)) /* a finalizer was faster */
        return;
    lua_pop(L, 1);
    hwl_script_push(L, script->views);
    lua_pushvalue(L, -2);
    peer->view = luaL_ref(L, -2);
    view->peer = peer;
    lua_pop(L, 1);
}

/* (showing, what the upstream's userdata keeps): the view of the peer that is held is made, or told
 * anew what an update may change. */
static void show_peer(lua_State *L, showing_t *showing, uint32_t index)
{
    hws_peer_t *peer = showing->held;

    hwl_script_push_view(L, showing->script, peer);
    if (lua_isnil(L, -1))
        make_view(L, showing->script, peer);
    hwl_get_table(L, -1);
    set_text(L, "id", peer->id);
    set_text(L, "address", peer->address_text);
    set_text(L, "locality", peer->locality);
    if (peer->pool.is_retired)
        return;
    lua_getfield(L, 2, "peers");
    if (!lua_istable(L, -1))
        return;
    lua_rawgeti(L, -1, (int)index + 1);
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "tags");
        lua_setfield(L, -4, "tags");
    }
}

/* Anchors what lies on top of the stack in place of what there was. */
static void set_reference(lua_State *L, int *reference)
{
    int made = luaL_ref(L, LUA_REGISTRYINDEX);

    luaL_unref(L, LUA_REGISTRYINDEX, *reference);
    *reference = made;
}

static bool is_all_shown(lua_State *L, const hwl_script_t *script)
{
    const hws_peer_set_t *set = set_of(script);
    const hws_list_t *lists[] = {&set->list, &set->removed};
    bool is_all = script->room >= set->count;
    size_t i;

    for (i = 0; i < 2; i++) {
        HWS_LIST_EACH(link, lists[i]) {
            hwl_script_push_view(L, script, HWS_CONTAINER(link, hws_peer_t, link));
            is_all &= !lua_isnil(L, -1);
            lua_pop(L, 1);
        }
    }
    return is_all;
}

/* (showing, what the upstream's userdata keeps): a view of each peer, and room for all in the list;
 * once more, if a finalizer has changed the peers meanwhile. */
int hwl_script_show(lua_State *L)
{
    showing_t *showing = lua_touserdata(L, 1);
    hwl_script_t *script = showing->script;
    uint32_t room;
    uint32_t i;

    do {
        script->is_shown = false;
        for (i = 0; (showing->held = peer_at(script, i)) != NULL; i++) {
            showing->held->holds++;
            show_peer(L, showing, i);
            lua_settop(L, 2);
            let_go(showing);
        }
        room = script->upstream->core->peers.count;
        lua_createtable(L, (int)room, 0);
        set_reference(L, &script->list);
        script->room = room;
        script->listed = 0;
    } while (!is_all_shown(L, script));
    script->is_shown = true;
    return 0;
}

void hwl_script_show_all(lua_State *L, hwl_script_t *script, int index)
{
    showing_t showing = {.script = script};
    int kind;

    script->is_shown = false;
    hwl_script_push(L, script->show);
    lua_pushlightuserdata(L, &showing);
    hwl_get_table(L, index);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
        return;
    lua_pop(L, 1);
    let_go(&showing);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++)
        if (script->policies[kind] != NULL)
            hws_upstream_policy_failed(script->upstream->core,
                                       hwl_policy_kind_name((hwl_policy_kind_t)kind),
                                       "out of memory: the peers cannot be shown");
}

void hwl_script_tell_update(hwl_script_t *script)
{
    hws_peer_set_t *set = &script->upstream->core->peers;
    int kind;

    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_t *policy = script->policies[kind];
        hws_peer_t **peers = set->gathered;
        uint32_t count = 0;
        lua_State *P;

        if (!script->is_shown || policy == NULL ||
            (P = hwl_policy_begin(policy, HWL_POLICY_UPDATE)) == NULL)
            continue;
        HWS_LIST_EACH(link, &set->list)
            peers[count++] = HWS_CONTAINER(link, hws_peer_t, link);
        hwl_script_list_peers(P, script, peers, count);
        if (hwl_policy_call(policy, 1, 0))
            hwl_policy_end(policy, NULL);
    }
}

void hwl_script_forget_all(const hwl_script_t *script)
{
    hws_peer_t *peer;
    uint32_t i;

    for (i = 0; set_of(script) != NULL && (peer = peer_at(script, i)) != NULL; i++)
        forget(script, peer);
}
