#include "lua_script.h"

#include "lua_error.h"
#include "lua_options.h"
#include "lua_peer_view.h"
#include "lua_wait.h"
#include "peer.h"
#include "upstream.h"

#include <math.h>
#include <string.h>

typedef struct {
    const hws_decision_t *about; /* NULL: nothing is being decided */
} context_t;

typedef struct {
    const hws_outcome_t *outcome;
} ending_t;

struct hwl_script {
    hwl_upstream_t *upstream; /* NULL: it has been collected */
    hwl_t *lua;
    hwl_policy_t *policies[HWL_POLICY_KIND_COUNT];
    hwl_policy_t *made[HWL_POLICY_KIND_COUNT]; /* to be put in place */
    bool is_dropped[HWL_POLICY_KIND_COUNT];    /* to be put out of it: the built-in one decides */
    int views; /* registry references: the views, each at its peer's `view`, for as long as the peer */
    int list; /* the list that `pick` gets */
    int context;
    int ending;
    int show;         /* that function, which takes memory to push */
    context_t *about; /* inside `context` and `ending` */
    ending_t *outcome;
    uint32_t room;   /* of the list */
    uint32_t listed; /* views in it */
    bool is_shown;   /* all of it is there, for the peers that there are */
    bool was_shown;  /* before hwl_script_prepare() */
    bool
        is_changing; /* since then, until what was prepared is in place: who waits goes on waiting */
    bool is_closed;
    hws_deferred_t burial; /* after its upstream was collected */
};

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

/* ---- what is decided about ---- */

static void push_text(lua_State *L, hws_slice_t text)
{
    lua_pushlstring(L, text.size > 0 ? text.data : "", text.size);
}

/* { name in small letters = first value } */
static void push_headers(lua_State *L, hws_slice_t lines)
{
    const char *line = lines.data;
    const char *end = line + lines.size;

    lua_newtable(L);
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *colon = memchr(line, ':', (size_t)(end - line));
        luaL_Buffer name;

        if (newline == NULL || colon == NULL || colon > newline)
            break;
        luaL_buffinit(L, &name);
        for (; line < colon; line++)
            luaL_addchar(&name, *line >= 'A' && *line <= 'Z' ? (char)(*line | 0x20) : *line);
        luaL_pushresult(&name);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (lua_isnil(L, -1)) {
            const char *value = colon + 1 < newline && colon[1] == ' ' ? colon + 2 : colon + 1;

            lua_pop(L, 1);
            lua_pushlstring(L, value, (size_t)(newline - value) - (newline[-1] == '\r'));
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 2);
        }
        line = newline + 1;
    }
}

static void push_tried(lua_State *L, const hws_decision_t *about)
{
    const char *id;
    uint32_t i;

    lua_newtable(L);
    for (i = 0; (id = hws_decision_tried(about, i)) != NULL; i++) {
        lua_pushstring(L, id);
        lua_rawseti(L, -2, (int)i + 1);
    }
}

/* ctx.random(n) -> 1..n; the userdata is its second upvalue. */
static int draw(lua_State *L)
{
    const context_t *context = hwl_test(L, lua_upvalueindex(2), HWL_DECISION);
    size_t n = hwl_check_size(L, "n", 1, 1, UINT32_MAX);

    if (context->about == NULL)
        return luaL_error(L, "random: nothing is being decided now");
    lua_pushnumber(L, 1 + (lua_Number)hws_decision_random(context->about, (uint32_t)n));
    return 1;
}

static int index_context(lua_State *L)
{
    const context_t *context = hwl_self(L, HWL_DECISION);
    const hws_decision_t *about = context->about;
    const char *name = lua_tostring(L, 2);

    if (about == NULL || lua_type(L, 2) != LUA_TSTRING)
        return 0;
    if (strcmp(name, "random") == 0) {
        hwl_get_table(L, 1);
        lua_getfield(L, -1, "random");
    } else if (strcmp(name, "method") == 0 && about->method.size > 0) {
        push_text(L, about->method);
    } else if (strcmp(name, "path") == 0 && about->method.size > 0) {
        push_text(L, about->target);
    } else if (strcmp(name, "headers") == 0 && about->method.size > 0) {
        push_headers(L, about->fields);
    } else if (strcmp(name, "attempt") == 0 && about->attempt > 0) {
        lua_pushinteger(L, (lua_Integer)about->attempt);
    } else if (strcmp(name, "tried") == 0) {
        push_tried(L, about);
    } else if (strcmp(name, "deadline") == 0 && about->deadline != HWS_NEVER) {
        lua_pushnumber(L, hwl_seconds(about->deadline));
    } else if (strcmp(name, "upstream") == 0) {
        lua_pushstring(L, hws_upstream_name(about->upstream));
    } else if (strcmp(name, "now") == 0) {
        lua_pushnumber(L, hwl_seconds(about->now));
    } else {
        return 0;
    }
    return 1;
}

/* ---- how it ended ---- */

static int index_ending(lua_State *L)
{
    const ending_t *ending = hwl_self(L, HWL_OUTCOME);
    const hws_outcome_t *outcome = ending->outcome;
    const char *name = lua_tostring(L, 2);

    if (outcome == NULL || lua_type(L, 2) != LUA_TSTRING)
        return 0;
    if (strcmp(name, "ok") == 0)
        lua_pushboolean(L, outcome->is_ok);
    else if (strcmp(name, "kind") == 0 && outcome->code != HWS_OK)
        lua_pushstring(L, hws_kind_name(hws_error_kind(outcome->code)));
    else if (strcmp(name, "status") == 0 && outcome->status != 0)
        lua_pushinteger(L, (lua_Integer)outcome->status);
    else if (strcmp(name, "latency") == 0 && outcome->latency > 0)
        lua_pushnumber(L, hwl_seconds(outcome->latency));
    else if (strcmp(name, "bytes") == 0)
        lua_pushnumber(L, (lua_Number)outcome->bytes);
    else if (strcmp(name, "peer") == 0 && outcome->peer != NULL)
        lua_pushstring(L, hws_peer_id(outcome->peer));
    else if (strcmp(name, "attempt") == 0)
        lua_pushinteger(L, (lua_Integer)outcome->attempt);
    else if (strcmp(name, "sent") == 0)
        lua_pushboolean(L, outcome->is_sent);
    else if (strcmp(name, "retry_after") == 0 && outcome->retry_after >= 0)
        lua_pushnumber(L, hwl_seconds(outcome->retry_after));
    else
        return 0;
    return 1;
}

void hwl_define_scripts(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg of_context[] = {{"__index", index_context}, {NULL, NULL}};
    static const luaL_Reg of_ending[] = {{"__index", index_ending}, {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};

    hwl_define(L, lua, HWL_DECISION, of_context, none);
    hwl_define(L, lua, HWL_OUTCOME, of_ending, none);
}

/* ---- what the core asks ---- */

static void push_reference(lua_State *P, int reference)
{
    lua_rawgeti(P, LUA_REGISTRYINDEX, reference);
}

/* Pushes the view of `peer`, or nil. Allocates nothing. */
static void push_view(lua_State *P, const hwl_script_t *script, const hws_peer_t *peer)
{
    if (peer->view == 0) {
        lua_pushnil(P);
        return;
    }
    push_reference(P, script->views);
    lua_rawgeti(P, -1, peer->view);
    lua_remove(P, -2);
}

/* Pushes the list with their views. Allocates nothing. */
static void list_peers(lua_State *P, hwl_script_t *script, hws_peer_t *const *peers, uint32_t count)
{
    uint32_t i;

    push_reference(P, script->list);
    push_reference(P, script->views);
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

/* Which of the peers it returned, or HWS_PICK_*, with `*wrong` when it is neither. */
static int64_t read_choice(lua_State *P, hws_peer_t *const *peers, uint32_t count,
                           const char **wrong)
{
    const void *chosen;
    uint32_t i;

    if (lua_isnil(P, -1))
        return HWS_PICK_BUILT_IN;
    if (lua_isboolean(P, -1) && !lua_toboolean(P, -1))
        return HWS_PICK_NOBODY;
    chosen = hwl_peer_view_peer(P, -1);
    for (i = 0; i < count && chosen != NULL; i++)
        if (peers[i] == chosen)
            return i;
    *wrong = "it returned none of the peers, and neither nil nor false";
    return HWS_PICK_BUILT_IN;
}

static int64_t pick(void *user, const hws_decision_t *about, hws_peer_t *const *peers,
                    uint32_t count)
{
    hwl_script_t *script = user;
    hwl_policy_t *policy = script->policies[HWL_POLICY_BALANCER];
    const char *wrong = NULL;
    int64_t choice = HWS_PICK_BUILT_IN;
    lua_State *P;

    if (script->is_changing)
        return HWS_PICK_NOBODY;
    if (!script->is_shown || (P = hwl_policy_begin(policy, HWL_POLICY_DECIDE)) == NULL)
        return HWS_PICK_BUILT_IN;
    list_peers(P, script, peers, count);
    push_reference(P, script->context);
    script->about->about = about;
    if (hwl_policy_call(policy, 2, 1)) {
        choice = read_choice(P, peers, count, &wrong);
        hwl_policy_end(policy, wrong);
    }
    script->about->about = NULL;
    return choice;
}

/* A span from the number on top of the stack; below 0 when it is none that means one. */
static hws_time_t read_span(lua_State *P)
{
    double seconds = lua_tonumber(P, -1);

    if (lua_type(P, -1) != LUA_TNUMBER || !(seconds >= 0 && seconds <= 1e9))
        return -1;
    return (hws_time_t)(seconds * 1e6);
}

static hws_time_t decide(void *user, const hws_decision_t *about, const hws_outcome_t *outcome)
{
    hwl_script_t *script = user;
    hwl_policy_t *policy = script->policies[HWL_POLICY_RETRY];
    const char *wrong = NULL;
    hws_time_t delay = HWS_DECIDE_BUILT_IN;
    lua_State *P;

    if (!script->is_shown || (P = hwl_policy_begin(policy, HWL_POLICY_DECIDE)) == NULL)
        return HWS_DECIDE_BUILT_IN;
    push_reference(P, script->context);
    push_reference(P, script->ending);
    script->about->about = about;
    script->outcome->outcome = outcome;
    if (hwl_policy_call(policy, 2, 1)) {
        if (!lua_toboolean(P, -1)) {
            delay = HWS_DECIDE_STOP;
        } else if ((delay = read_span(P)) < 0) {
            delay = HWS_DECIDE_BUILT_IN;
            wrong = "it returned neither a number of seconds, 0 to 1e9, nor nil";
        }
        hwl_policy_end(policy, wrong);
    }
    script->about->about = NULL;
    script->outcome->outcome = NULL;
    return delay;
}

/* state [, open_for] */
static hws_record_t read_record(lua_State *P, hws_time_t *open_for, const char **wrong)
{
    const char *state = lua_type(P, -2) == LUA_TSTRING ? lua_tostring(P, -2) : "";

    if (lua_isnil(P, -2))
        return HWS_RECORD_BUILT_IN;
    if (strcmp(state, "closed") == 0)
        return HWS_RECORD_CLOSED;
    if (strcmp(state, "open") == 0 && (lua_isnil(P, -1) || (*open_for = read_span(P)) > 0))
        return HWS_RECORD_OPEN;
    *open_for = 0;
    *wrong = "it returned neither \"closed\", \"open\", perhaps with seconds above 0, nor nil";
    return HWS_RECORD_BUILT_IN;
}

static hws_record_t record(void *user, const hws_decision_t *about, const hws_outcome_t *outcome,
                           hws_time_t *open_for)
{
    hwl_script_t *script = user;
    hwl_policy_t *policy = script->policies[HWL_POLICY_BREAKER];
    hws_record_t said = HWS_RECORD_BUILT_IN;
    const char *wrong = NULL;
    lua_State *P;

    if (!script->is_shown || (P = hwl_policy_begin(policy, HWL_POLICY_DECIDE)) == NULL)
        return HWS_RECORD_BUILT_IN;
    push_view(P, script, outcome->peer);
    push_reference(P, script->ending);
    push_reference(P, script->context);
    script->about->about = about;
    script->outcome->outcome = outcome;
    if (hwl_policy_call(policy, 3, 2)) {
        said = read_record(P, open_for, &wrong);
        hwl_policy_end(policy, wrong);
    }
    script->about->about = NULL;
    script->outcome->outcome = NULL;
    return said;
}

static void done(void *user, const hws_decision_t *about, const hws_outcome_t *outcome)
{
    hwl_script_t *script = user;
    int kind;

    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_t *policy = script->policies[kind];
        lua_State *P;

        if (policy == NULL || !script->is_shown ||
            (P = hwl_policy_begin(policy, HWL_POLICY_DONE)) == NULL)
            continue;
        push_view(P, script, outcome->peer);
        push_reference(P, script->ending);
        script->about->about = about;
        script->outcome->outcome = outcome;
        if (hwl_policy_call(policy, 2, 0))
            hwl_policy_end(policy, NULL);
        script->about->about = NULL;
        script->outcome->outcome = NULL;
    }
}

static bool has_method(const hwl_script_t *script, hwl_policy_method_t method)
{
    int kind;

    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++)
        if (script->policies[kind] != NULL && script->policies[kind]->methods[method] != LUA_NOREF)
            return true;
    return false;
}

static void gone(void *user, hws_peer_t *peer);

/* The core asks only for what there is. */
static void connect_core(hwl_script_t *script)
{
    hws_script_t core = {.user = script, .gone = gone};

    if (script->policies[HWL_POLICY_BALANCER] != NULL)
        core.pick = pick;
    if (script->policies[HWL_POLICY_RETRY] != NULL)
        core.decide = decide;
    if (script->policies[HWL_POLICY_BREAKER] != NULL)
        core.record = record;
    if (has_method(script, HWL_POLICY_DONE))
        core.done = done;
    hws_upstream_set_script(script->upstream->core, &core);
}

/* ---- showing the peers ---- */

/* Nothing is allocated for that. */
static void forget(const hwl_script_t *script, hws_peer_t *peer)
{
    lua_State *L = script->lua->spare;

    if (peer->view == 0)
        return;
    push_reference(L, script->views);
    lua_rawgeti(L, -1, peer->view);
    hwl_peer_view_forget(hwl_test(L, -1, HWL_PEER));
    luaL_unref(L, -2, peer->view);
    peer->view = 0;
    lua_pop(L, 2);
}

static void gone(void *user, hws_peer_t *peer)
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
    push_view(L, script, peer);
    if (!lua_isnil(L, -1)) /* a finalizer was faster */
        return;
    lua_pop(L, 1);
    push_reference(L, script->views);
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

    push_view(L, showing->script, peer);
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
            push_view(L, script, HWS_CONTAINER(link, hws_peer_t, link));
            is_all &= !lua_isnil(L, -1);
            lua_pop(L, 1);
        }
    }
    return is_all;
}

/* (showing, what the upstream's userdata keeps): a view of each peer, and room for all in the list;
 * once more, if a finalizer has changed the peers meanwhile. */
static int show(lua_State *L)
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

/* Memory may run out: then the built-in ones decide, until the next update. */
static void show_all(lua_State *L, hwl_script_t *script, int index)
{
    showing_t showing = {.script = script};
    int kind;

    script->is_shown = false;
    push_reference(L, script->show);
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

/* `update(self, peers)` of each that has it. */
static void tell_update(hwl_script_t *script)
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
        list_peers(P, script, peers, count);
        if (hwl_policy_call(policy, 1, 0))
            hwl_policy_end(policy, NULL);
    }
}

/* ---- faults ---- */

static void on_fault(void *user, const hwl_policy_t *policy, const char *message)
{
    const hwl_script_t *script = user;

    if (script->upstream == NULL || script->upstream->core == NULL)
        return;
    hws_upstream_policy_failed(script->upstream->core, hwl_policy_kind_name(policy->kind), message);
}

/* ---- putting policies in place ---- */

/* Anchors what lies on top of the stack, unless a finalizer was faster. */
static void set_first(lua_State *L, int *reference)
{
    int made = luaL_ref(L, LUA_REGISTRYINDEX);

    if (*reference == LUA_NOREF)
        *reference = made;
    else
        luaL_unref(L, LUA_REGISTRYINDEX, made);
}

static void make_context(lua_State *L, hwl_script_t *script)
{
    context_t *context = hwl_new(L, script->lua, HWL_DECISION, sizeof(*context), 1);

    context->about = NULL;
    lua_newtable(L);
    lua_pushlightuserdata(L, script->lua);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, draw, 2);
    lua_setfield(L, -2, "random");
    hwl_set_table(L, -2);
    set_first(L, &script->context);
    push_reference(L, script->context);
    script->about = hwl_test(L, -1, HWL_DECISION);
    lua_pop(L, 1);
}

static void make_ending(lua_State *L, hwl_script_t *script)
{
    ending_t *ending = hwl_new(L, script->lua, HWL_OUTCOME, sizeof(*ending), 0);

    ending->outcome = NULL;
    set_first(L, &script->ending);
    push_reference(L, script->ending);
    script->outcome = hwl_test(L, -1, HWL_OUTCOME);
    lua_pop(L, 1);
}

static void bury(hws_deferred_t *deferred);

static hwl_script_t *script_of(lua_State *L, hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;

    if (script == NULL) {
        if ((script = hws_zalloc(sizeof(*script))) == NULL)
            hwl_out_of_memory(L);
        script->upstream = upstream;
        script->lua = upstream->manager->lua;
        hws_deferred_init(&script->burial, bury);
        script->views = script->list = script->context = script->ending = script->show = LUA_NOREF;
        upstream->script = script;
    }
    if (script->show != LUA_NOREF)
        return script;
    lua_newtable(L);
    lua_pushboolean(L, 1);
    luaL_unref(L, -2, luaL_ref(L, -2)); /* from now on that takes no memory */
    set_first(L, &script->views);
    make_context(L, script);
    make_ending(L, script);
    lua_pushcfunction(L, show);
    set_first(L, &script->show);
    return script;
}

/* What was made for an attempt that was given up. */
static void drop_made(hwl_script_t *script)
{
    int kind;

    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_t *made = script->made[kind];

        script->made[kind] = NULL;
        script->is_dropped[kind] = false;
        hwl_policy_release(made);
    }
}

/* The policy described by the table on top of the stack. */
static void make(lua_State *L, hwl_upstream_t *upstream, hwl_policy_kind_t kind)
{
    hwl_script_t *script = script_of(L, upstream);
    hwl_policy_t *policy = hwl_policy_create(L, script->lua, kind, -1, on_fault, script);

    if (policy == NULL)
        luaL_error(L, "%s", lua_tostring(L, -1));
    if (script->made[kind] != NULL) /* by a finalizer */
        hwl_policy_release(policy);
    else
        script->made[kind] = policy;
}

static bool has_field(lua_State *L, const char *field)
{
    bool has_it;

    lua_getfield(L, -1, field);
    has_it = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return has_it;
}

void hwl_script_prepare(lua_State *L, hwl_upstream_t *upstream, int checked)
{
    int kind;

    if (upstream->script != NULL)
        drop_made(upstream->script);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        lua_getfield(L, checked, hwl_policy_kind_name((hwl_policy_kind_t)kind));
        if (lua_istable(L, -1) && has_field(L, "plugin"))
            make(L, upstream, (hwl_policy_kind_t)kind);
        else if (lua_istable(L, -1) && has_field(L, "builtin") && upstream->script != NULL)
            upstream->script->is_dropped[kind] = true;
        lua_pop(L, 1);
    }
    if (upstream->script == NULL)
        return;
    upstream->script->was_shown = upstream->script->is_shown;
    upstream->script->is_shown = false;
    upstream->script->is_changing = true;
}

void hwl_script_give_up(hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;

    if (script == NULL)
        return;
    drop_made(script);
    script->is_shown = script->was_shown;
    script->is_changing = false;
}

void hwl_script_install(lua_State *L, hwl_upstream_t *upstream, int index)
{
    hwl_script_t *script = upstream->script;
    int kind;

    if (script == NULL || script->is_closed)
        return;
    index = lua_absindex(L, index);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_t *next = script->made[kind];

        script->made[kind] = NULL;
        if (next != NULL || script->is_dropped[kind])
            hwl_policy_swap(&script->policies[kind], next);
        script->is_dropped[kind] = false;
    }
    connect_core(script);
    show_all(L, script, index);
    script->is_changing = false;
    tell_update(script);
}

/* ---- the end ---- */

void hwl_script_close(hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;
    int kind;

    if (script == NULL || script->is_closed)
        return;
    script->is_closed = true;
    drop_made(script);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++)
        hwl_policy_swap(&script->policies[kind], NULL);
    connect_core(script);
}

static void destroy(hwl_script_t *script)
{
    int references[] = {script->views, script->list, script->context, script->ending, script->show};
    size_t i;

    for (i = 0; i < sizeof(references) / sizeof(references[0]); i++)
        luaL_unref(script->lua->spare, LUA_REGISTRYINDEX, references[i]);
    hws_free(script);
}

/* At rest: in a finalizer nothing could interrupt a `close`. */
static void bury(hws_deferred_t *deferred)
{
    hwl_script_t *script = HWS_CONTAINER(deferred, hwl_script_t, burial);
    int kind;

    drop_made(script);
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++)
        hwl_policy_release(script->policies[kind]);
    destroy(script);
}

static void forget_all(const hwl_script_t *script)
{
    hws_peer_t *peer;
    uint32_t i;

    for (i = 0; set_of(script) != NULL && (peer = peer_at(script, i)) != NULL; i++)
        forget(script, peer);
}

static bool is_forked(const hwl_upstream_t *upstream)
{
    const hws_loop_t *loop = upstream->core != NULL ? hws_manager_loop(upstream->manager->core)
                                                    : upstream->script->lua->loop;

    return loop == NULL || hws_loop_is_forked(loop);
}

void hwl_script_collect(hwl_upstream_t *upstream)
{
    hwl_script_t *script = upstream->script;
    bool is_of_parent;
    int kind;

    if (script == NULL)
        return;
    is_of_parent = is_forked(upstream);
    forget_all(script);
    upstream->script = NULL;
    script->upstream = NULL;
    if (upstream->core != NULL && !is_of_parent)
        hws_upstream_set_script(upstream->core, NULL);
    if (!is_of_parent) {
        hws_loop_defer(script->lua->loop, &script->burial);
        return;
    }
    for (kind = 0; kind < HWL_POLICY_KIND_COUNT; kind++) {
        hwl_policy_abandon(script->policies[kind]);
        hwl_policy_abandon(script->made[kind]);
    }
    destroy(script);
}

int hwl_script_set_policy(lua_State *L)
{
    hwl_upstream_t *upstream = hwl_self(L, HWL_UPSTREAM);
    hwl_t *lua = upstream->manager->lua;
    hws_upstream_options_t options;
    hws_error_t why = {.code = HWS_OK};
    int kind = 0;
    int rc;

    if (!hwl_is_alive(L, upstream))
        return 2;
    lua_settop(L, 3);
    while (kind < HWL_POLICY_KIND_COUNT &&
           (lua_type(L, 2) != LUA_TSTRING ||
            strcmp(lua_tostring(L, 2), hwl_policy_kind_name((hwl_policy_kind_t)kind)) != 0))
        kind++;
    if (kind == HWL_POLICY_KIND_COUNT)
        return hwl_refuse(L, "the kind of policy", 2, "\"balancer\", \"breaker\", \"retry\"");
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
    lua_replace(L, 3);
    hwl_options_check(L, lua, HWL_HELPER_CHECK_UPSTREAM, 3, true);
    if (hws_loop_is_forked(hws_manager_loop(upstream->manager->core)))
        return hwl_error_fail_code(L, lua, HWS_ERR_FORKED, NULL);
    hws_upstream_settings(upstream->core, &options);
    hwl_upstream_read_policies(L, 4, &options);
    hwl_script_prepare(L, upstream, 4);
    if (upstream->script != NULL && upstream->script->made[kind] == NULL)
        upstream->script->is_dropped[kind] = true;
    if ((rc = hws_upstream_update(upstream->core, &options, &why)) != HWS_OK) {
        hwl_script_give_up(upstream);
        return hwl_options_fail(L, lua, rc, &why);
    }
    hwl_script_install(L, upstream, 1);
    hwl_wait_wake_host(L, lua);
    lua_pushboolean(L, 1);
    return 1;
}
