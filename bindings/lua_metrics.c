/* What the core has measured, as tables. Each is made of snapshots that lie on the C stack: whenever
 * Lua allocates, a finalizer may update or close what they were taken of. */
#include "lua_metrics.h"

#include "lua_error.h"

#include <string.h>

/* Adds a part of a snapshot to the table on top of the stack. */
typedef struct {
    void (*add)(lua_State *L, const hws_metrics_snapshot_t *snapshot);
    /* Likewise of one peer; NULL: peers have none. */
    void (*add_peer)(lua_State *L, const hws_peer_view_t *view, const hws_traffic_t *traffic);
} part_t;

static void set_integer(lua_State *L, const char *field, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, field);
}

static void set_number(lua_State *L, const char *field, double value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, field);
}

static void set_text(lua_State *L, const char *field, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

/* ---- parts ---- */

static void add_latency(lua_State *L, const hws_latency_t *latency)
{
    set_integer(L, "count", latency->count);
    set_number(L, "average", hwl_seconds(latency->average));
    set_number(L, "peak", hwl_seconds(latency->peak));
    set_number(L, "p50", hwl_seconds(latency->p50));
    set_number(L, "p95", hwl_seconds(latency->p95));
    set_number(L, "p99", hwl_seconds(latency->p99));
}

static void set_latency(lua_State *L, const char *field, const hws_latency_t *latency)
{
    lua_createtable(L, 0, 6);
    add_latency(L, latency);
    lua_setfield(L, -2, field);
}

static void add_latencies(lua_State *L, const hws_traffic_t *traffic)
{
    uint32_t phase;

    add_latency(L, &traffic->total);
    lua_createtable(L, 0, HWS_PHASE_COUNT);
    for (phase = 0; phase < HWS_PHASE_COUNT; phase++)
        set_latency(L, hws_phase_name((hws_phase_t)phase), &traffic->phases[phase]);
    lua_setfield(L, -2, "phases");
}

#define SECONDS(symbol, seconds) seconds,
static const int rate_spans[] = {HWS_RATE_LIST(SECONDS)};
#undef SECONDS

static void set_flow(lua_State *L, const char *field, const hws_flow_t *flow)
{
    uint32_t i;

    lua_createtable(L, 0, HWS_RATE_COUNT + 1);
    set_integer(L, "total", flow->total);
    for (i = 0; i < HWS_RATE_COUNT; i++) {
        lua_pushnumber(L, flow->per_second[i]);
        lua_rawseti(L, -2, rate_spans[i]);
    }
    lua_setfield(L, -2, field);
}

static void add_flows(lua_State *L, const hws_traffic_t *traffic)
{
    set_flow(L, "exchanges", &traffic->exchanges);
    set_flow(L, "bytes_in", &traffic->bytes_in);
    set_flow(L, "bytes_out", &traffic->bytes_out);
}

static void queue_of(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    set_integer(L, "size", snapshot->stats.queued);
    set_integer(L, "max", snapshot->queue_limit);
    set_integer(L, "high_water", snapshot->stats.queue_max);
    set_latency(L, "wait", &snapshot->traffic.phases[HWS_PHASE_QUEUE]);
}

static void latency_of(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    add_latencies(L, &snapshot->traffic);
}

static void latency_of_peer(lua_State *L, const hws_peer_view_t *view, const hws_traffic_t *traffic)
{
    (void)view;
    add_latencies(L, traffic);
}

static void throughput_of(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    add_flows(L, &snapshot->traffic);
}

static void throughput_of_peer(lua_State *L, const hws_peer_view_t *view,
                               const hws_traffic_t *traffic)
{
    (void)view;
    add_flows(L, traffic);
}

static void connections_of(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    hwl_stats_add(L, &snapshot->stats);
}

static void connections_of_peer(lua_State *L, const hws_peer_view_t *view,
                                const hws_traffic_t *traffic)
{
    (void)traffic;
    set_integer(L, "connections", view->connections);
    set_integer(L, "idle", view->idle);
    set_integer(L, "in_flight", view->in_flight);
}

static void set_retries(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    uint32_t reason;

    lua_createtable(L, 0, 4);
    set_integer(L, "made", snapshot->stats.retried);
    set_integer(L, "replayed", snapshot->stats.replayed);
    if (snapshot->budget_left != UINT32_MAX)
        set_integer(L, "budget_left", snapshot->budget_left);
    lua_createtable(L, 0, HWS_RETRY_COUNT);
    for (reason = HWS_RETRY_GO + 1; reason < HWS_RETRY_COUNT; reason++)
        set_integer(L, hws_retry_reason_name((hws_retry_reason_t)reason),
                    snapshot->stats.refused[reason]);
    lua_setfield(L, -2, "refused");
    lua_setfield(L, -2, "retries");
}

static void set_breakers(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    uint32_t state;

    lua_createtable(L, 0, HWS_BREAKER_COUNT + 1);
    set_integer(L, "opened", snapshot->stats.opened);
    for (state = 0; state < HWS_BREAKER_COUNT; state++)
        set_integer(L, hws_breaker_state_name((hws_breaker_state_t)state),
                    snapshot->breakers[state]);
    lua_setfield(L, -2, "breakers");
}

static const part_t queue_part = {queue_of, NULL};
static const part_t latency_part = {latency_of, latency_of_peer};
static const part_t throughput_part = {throughput_of, throughput_of_peer};
static const part_t connections_part = {connections_of, connections_of_peer};

static void set_part(lua_State *L, const char *field, const part_t *part,
                     const hws_metrics_snapshot_t *snapshot)
{
    lua_newtable(L);
    part->add(L, snapshot);
    lua_setfield(L, -2, field);
}

static void all_of(lua_State *L, const hws_metrics_snapshot_t *snapshot)
{
    set_part(L, "queue", &queue_part, snapshot);
    set_part(L, "latency", &latency_part, snapshot);
    set_part(L, "throughput", &throughput_part, snapshot);
    set_part(L, "connections", &connections_part, snapshot);
    set_retries(L, snapshot);
    set_breakers(L, snapshot);
    set_integer(L, "policy_errors", snapshot->stats.policy_errors);
}

static void all_of_peer(lua_State *L, const hws_peer_view_t *view, const hws_traffic_t *traffic)
{
    lua_newtable(L);
    add_latencies(L, traffic);
    lua_setfield(L, -2, "latency");
    lua_newtable(L);
    add_flows(L, traffic);
    lua_setfield(L, -2, "throughput");
    lua_newtable(L);
    connections_of_peer(L, view, traffic);
    lua_setfield(L, -2, "connections");
    set_number(L, "score", view->score);
    set_number(L, "success_rate", view->success_rate);
    set_text(L, "state", hws_peer_state_name(view->state));
    set_text(L, "breaker", hws_breaker_state_name(view->breaker));
    set_integer(L, "opened", view->opened);
}

static const part_t whole = {all_of, all_of_peer};

/* ---- of all ---- */

const char *hwl_upstream_names(lua_State *L, const hws_manager_t *manager, size_t *size)
{
    char *names;

    lua_pushnil(L);
    do {
        lua_pop(L, 1);
        *size = hws_manager_names(manager, NULL, 0);
        names = hwl_new_userdata(L, *size + 1, 0);
    } while (hws_manager_names(manager, names, *size) > *size);
    *size = hws_manager_names(manager, names, *size);
    return names;
}

bool hwl_upstream_peer(const hws_manager_t *manager, const char *name, size_t index,
                       hwl_peer_snapshot_t *out)
{
    hws_upstream_t *upstream = hws_manager_find(manager, (hws_slice_t){name, strlen(name)});

    if (upstream == NULL || index >= hws_upstream_peer_count(upstream))
        return false;
    hws_upstream_peer(upstream, index, &out->view);
    hws_upstream_traffic(upstream, index, &out->traffic);
    strncpy(out->id, out->view.id, sizeof(out->id) - 1);
    out->id[sizeof(out->id) - 1] = '\0';
    out->view.id = out->id;
    out->view.address = out->view.locality = NULL;
    return true;
}

/* Adds the peers of an upstream to the table on top of the stack. */
static void set_peers(lua_State *L, const hws_manager_t *manager, const char *name,
                      const part_t *part)
{
    hwl_peer_snapshot_t peer;
    size_t i;

    lua_newtable(L);
    for (i = 0; hwl_upstream_peer(manager, name, i, &peer); i++) {
        lua_newtable(L);
        part->add_peer(L, &peer.view, &peer.traffic);
        lua_setfield(L, -2, peer.id);
    }
    lua_setfield(L, -2, "peers");
}

static void set_upstreams(lua_State *L, const hws_manager_t *manager, const part_t *part)
{
    hws_metrics_snapshot_t snapshot;
    size_t size;
    const char *names = hwl_upstream_names(L, manager, &size);
    const char *name;

    lua_newtable(L);
    for (name = names; name < names + size; name += strlen(name) + 1) {
        const hws_upstream_t *upstream =
            hws_manager_find(manager, (hws_slice_t){name, strlen(name)});

        if (upstream == NULL)
            continue;
        hws_upstream_metrics(upstream, &snapshot);
        lua_newtable(L);
        part->add(L, &snapshot);
        if (part->add_peer != NULL)
            set_peers(L, manager, name, part);
        lua_setfield(L, -2, name);
    }
    lua_setfield(L, -3, "upstreams");
    lua_pop(L, 1);
}

static int give(lua_State *L, const part_t *part)
{
    hwl_manager_t **self = hwl_self(L, HWL_MANAGER);
    hwl_manager_t *manager = *self;
    hws_metrics_snapshot_t snapshot;

    if (!hwl_is_alive(L, self))
        return 2;
    if (hws_loop_is_forked(hws_manager_loop(manager->core)))
        return hwl_error_fail_code(L, manager->lua, HWS_ERR_FORKED, NULL);
    hws_manager_metrics(manager->core, &snapshot);
    lua_newtable(L);
    part->add(L, &snapshot);
    set_upstreams(L, manager->core, part);
    return 1;
}

static int get_queue_metrics(lua_State *L)
{
    return give(L, &queue_part);
}

static int get_latency_metrics(lua_State *L)
{
    return give(L, &latency_part);
}

static int get_throughput_metrics(lua_State *L)
{
    return give(L, &throughput_part);
}

static int get_connection_statistics(lua_State *L)
{
    return give(L, &connections_part);
}

static int get_metrics(lua_State *L)
{
    return give(L, &whole);
}

void hwl_define_metrics(lua_State *L, hwl_t *lua)
{
    static const luaL_Reg methods[] = {
        {"get_queue_metrics", get_queue_metrics},
        {"get_latency_metrics", get_latency_metrics},
        {"get_throughput_metrics", get_throughput_metrics},
        {"get_connection_statistics", get_connection_statistics},
        {"get_metrics", get_metrics},
        {NULL, NULL},
    };

    hwl_add_methods(L, lua, HWL_MANAGER, methods);
}
