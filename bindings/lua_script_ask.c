#include "lua_error.h"
#include "lua_peer_view.h"
#include "lua_script.h"
#include "lua_script_parts.h"
#include "upstream.h"

#include <string.h>

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
    const hwl_script_context_t *context = hwl_test(L, lua_upvalueindex(2), HWL_DECISION);
    size_t n = hwl_check_size(L, "n", 1, 1, UINT32_MAX);

    if (context->about == NULL)
        return luaL_error(L, "random: nothing is being decided now");
    lua_pushnumber(L, 1 + (lua_Number)hws_decision_random(context->about, (uint32_t)n));
    return 1;
}

static int index_context(lua_State *L)
{
    const hwl_script_context_t *context = hwl_self(L, HWL_DECISION);
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
    } else if (strcmp(name, "priority") == 0 && about->method.size > 0) {
        lua_pushinteger(L, about->priority);
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
    const hwl_script_ending_t *ending = hwl_self(L, HWL_OUTCOME);
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

static void make_context(lua_State *L, hwl_script_t *script)
{
    hwl_script_context_t *context = hwl_new(L, script->lua, HWL_DECISION, sizeof(*context), 1);

    context->about = NULL;
    lua_newtable(L);
    lua_pushlightuserdata(L, script->lua);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, draw, 2);
    lua_setfield(L, -2, "random");
    hwl_set_table(L, -2);
    hwl_script_set_first(L, &script->context);
    hwl_script_push(L, script->context);
    script->about = hwl_test(L, -1, HWL_DECISION);
    lua_pop(L, 1);
}

static void make_ending(lua_State *L, hwl_script_t *script)
{
    hwl_script_ending_t *ending = hwl_new(L, script->lua, HWL_OUTCOME, sizeof(*ending), 0);

    ending->outcome = NULL;
    hwl_script_set_first(L, &script->ending);
    hwl_script_push(L, script->ending);
    script->outcome = hwl_test(L, -1, HWL_OUTCOME);
    lua_pop(L, 1);
}

void hwl_script_make_arguments(lua_State *L, hwl_script_t *script)
{
    make_context(L, script);
    make_ending(L, script);
}

/* ---- what the core asks ---- */

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
    hwl_script_list_peers(P, script, peers, count);
    hwl_script_push(P, script->context);
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
    hwl_script_push(P, script->context);
    hwl_script_push(P, script->ending);
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
    hwl_script_push_view(P, script, outcome->peer);
    hwl_script_push(P, script->ending);
    hwl_script_push(P, script->context);
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
        hwl_script_push_view(P, script, outcome->peer);
        hwl_script_push(P, script->ending);
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

void hwl_script_connect(hwl_script_t *script)
{
    hws_script_t core = {.user = script, .gone = hwl_script_gone};

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
