#include "lua_trace.h"

#include <stdio.h>
#include <string.h>

/* ---- keeping ---- */

static hwl_trace_t compact(const hws_trace_t *trace)
{
    hwl_trace_t out = {.age = trace->age < UINT32_MAX ? (uint32_t)trace->age : UINT32_MAX,
                       .code = (int16_t)trace->code,
                       .status = (uint16_t)trace->status,
                       .verdict = (uint8_t)trace->verdict,
                       .is_judged = trace->is_judged,
                       .is_reused = trace->is_reused,
                       .is_stale = trace->is_stale,
                       .is_unseen = trace->is_unseen};
    int phase;

    for (phase = 0; phase < HWS_PHASE_COUNT; phase++)
        out.spans[phase] =
            trace->spans[phase] < UINT32_MAX ? (uint32_t)trace->spans[phase] : UINT32_MAX;
    return out;
}

size_t hwl_trace_size(const hws_request_t *request)
{
    uint32_t count = hws_request_attempts(request);
    size_t size = count * sizeof(hwl_trace_t);
    hws_trace_t trace;
    uint32_t i;

    for (i = 0; i < count; i++) {
        hws_request_trace(request, i, &trace);
        size += strlen(trace.peer) + 1;
    }
    return size;
}

hwl_traces_t hwl_trace_copy(const hws_request_t *request, char *place)
{
    uint32_t count = hws_request_attempts(request);
    hwl_trace_t *attempts = (hwl_trace_t *)(void *)place;
    char *peers = (char *)(attempts + count);
    hwl_traces_t traces = {.attempts = attempts, .peers = peers, .count = count};
    hws_trace_t trace;
    uint32_t i;

    for (i = 0; i < count; i++) {
        size_t size;

        hws_request_trace(request, i, &trace);
        attempts[i] = compact(&trace);
        size = strlen(trace.peer) + 1;
        memcpy(peers, trace.peer, size);
        peers += size;
    }
    return traces;
}

/* ---- telling ---- */

/* How far it came: nothing sent, sent, answered; or it met a dead connection. */
static const char *class_of(const hwl_trace_t *attempt)
{
    if (attempt->is_stale)
        return "stale";
    if (attempt->status != 0)
        return "answered";
    return attempt->code != HWS_OK && attempt->spans[HWS_PHASE_HEADERS] == 0 &&
                   attempt->spans[HWS_PHASE_SEND] == 0
               ? "unsent"
               : "sent";
}

static const char *verdict_of(const hwl_trace_t *attempt, bool is_last)
{
    if ((attempt->is_stale || attempt->is_unseen) && !is_last)
        return "replayed";
    if (attempt->is_judged)
        return hws_retry_reason_name((hws_retry_reason_t)attempt->verdict);
    return attempt->code == HWS_OK ? "done" : "failed";
}

/* Of the table on top of the stack; a span of 0 says nothing. */
static void set_span(lua_State *L, const char *field, double us)
{
    if (us <= 0)
        return;
    lua_pushnumber(L, us / 1e6);
    lua_setfield(L, -2, field);
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

static void push_attempt(lua_State *L, const hwl_trace_t *attempt, const char *peer, bool is_last)
{
    int phase;

    lua_createtable(L, 0, 10);
    if (peer[0] != '\0')
        set_text(L, "peer", peer);
    set_text(L, "class", class_of(attempt));
    set_text(L, "verdict", verdict_of(attempt, is_last));
    lua_pushboolean(L, attempt->is_reused);
    lua_setfield(L, -2, "reused");
    if (attempt->is_reused)
        set_span(L, "age", attempt->age);
    if (attempt->code != HWS_OK) {
        set_text(L, "kind", hws_kind_name(hws_error_kind(attempt->code)));
        set_text(L, "code", hws_error_name(attempt->code));
    }
    if (attempt->status != 0) {
        lua_pushinteger(L, attempt->status);
        lua_setfield(L, -2, "status");
    }
    for (phase = 0; phase < HWS_PHASE_COUNT; phase++)
        set_span(L, hws_phase_name((hws_phase_t)phase), attempt->spans[phase]);
}

void hwl_trace_push(lua_State *L, const hwl_traces_t *traces)
{
    const char *peer = traces->peers;
    uint32_t i;
    int phase;

    lua_createtable(L, 0, HWS_PHASE_COUNT + 1);
    for (phase = 0; phase < HWS_PHASE_COUNT; phase++) {
        double sum = 0;

        for (i = 0; i < traces->count; i++)
            sum += traces->attempts[i].spans[phase];
        set_span(L, hws_phase_name((hws_phase_t)phase), sum);
    }
    lua_createtable(L, (int)traces->count, 0);
    for (i = 0; i < traces->count; i++) {
        push_attempt(L, &traces->attempts[i], peer, i + 1 == traces->count);
        lua_rawseti(L, -2, (int)i + 1);
        peer += strlen(peer) + 1;
    }
    lua_setfield(L, -2, "attempts");
}

void hwl_trace_set(lua_State *L, const hws_request_t *request)
{
    hwl_traces_t traces = hwl_trace_copy(request, hwl_new_userdata(L, hwl_trace_size(request), 0));

    hwl_trace_push(L, &traces);
    lua_setfield(L, -3, "trace");
    lua_pop(L, 1);
}

/* An acquisition is seldom tried more than once, and never more often than this. */
void hwl_trace_set_of_lease(lua_State *L, const hws_lease_t *lease)
{
    hwl_trace_t attempts[HWS_RETRY_ATTEMPTS_MAX + 1];
    char peers[(HWS_RETRY_ATTEMPTS_MAX + 1) * (HWS_PEER_ID_MAX + 1)];
    hwl_traces_t traces = {
        .attempts = attempts, .peers = peers, .count = hws_lease_attempts(lease)};
    char *place = peers;
    hws_trace_t trace;
    uint32_t i;

    for (i = 0; i < traces.count; i++) {
        hws_lease_trace(lease, i, &trace);
        attempts[i] = compact(&trace);
        place += snprintf(place, HWS_PEER_ID_MAX + 1, "%s", trace.peer) + 1;
    }
    hwl_trace_push(L, &traces);
    lua_setfield(L, -2, "trace");
}
