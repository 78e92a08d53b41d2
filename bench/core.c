/* core - single parts of the core: core PART N, of the parts in the list at the end
 *
 * Does the operation N times and prints the nanoseconds that one took. The files of
 * the core are used as they are, so this knows its internals. */
#include "io/sim.h"
#include "observe/histogram.h"
#include "observe/meter.h"
#include "policy/balancer.h"
#include "policy/breaker.h"
#include "policy/budget.h"
#include "policy/score.h"
#include "pool/connection.h"
#include "transport/resolve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* ---- pool: ask for a connection, open a stream on it, give it back ---- */

static size_t on_body(hws_stream_t *stream, const char *data, size_t size)
{
    (void)stream;
    (void)data;
    return size;
}

static const hws_stream_events_t stream_events = {.on_body = on_body};

static void on_room(hws_pool_owner_t *owner, hws_pool_t *pool, hws_time_t now)
{
    (void)owner;
    (void)pool;
    (void)now;
}

static void on_closed(hws_pool_owner_t *owner, hws_pool_t *pool, hws_close_reason_t why,
                      hws_time_t idle_for, hws_time_t now)
{
    (void)owner;
    (void)pool;
    (void)why;
    (void)idle_for;
    (void)now;
}

/* A world that does nothing: what is measured is the pool's own work. */
static void io_read(hws_socket_t *socket, bool on)
{
    (void)socket;
    (void)on;
}

static void io_give(hws_socket_t *socket, const hws_socket_events_t *events, void *owner)
{
    (void)socket;
    (void)events;
    (void)owner;
}

static void io_close(hws_socket_t *socket, bool reset)
{
    (void)socket;
    (void)reset;
}

static void io_arm(hws_io_t *io, hws_time_t at)
{
    (void)io;
    (void)at;
}

static double bench_pool(long n)
{
    static const hws_io_ops_t ops = {.arm = io_arm};
    static const hws_socket_ops_t socket_ops = {
        .read = io_read, .give = io_give, .close = io_close};
    static hws_socket_t socket = {.ops = &socket_ops};
    static hws_io_t io = {.ops = &ops};
    static hws_loop_t loop = {.io = &io, .armed_at = HWS_NEVER};
    static hws_pools_t pools;
    static hws_pool_owner_t owner = {.pools = &pools, .on_room = on_room, .on_closed = on_closed};
    hws_manager_options_t defaults;
    hws_pool_t pool;
    hws_connection_t *connection;
    hws_pool_want_t want = {.is_lease = true};
    hws_stream_t stream = {.events = &stream_events};
    double begin;
    long i;

    hws_manager_options_init(&defaults);
    owner.rules = (hws_pool_rules_t){
        .limits = defaults.limits, .timeouts = defaults.timeouts, .protocol = HWS_PROTOCOL_RAW};
    hws_list_init(&loop.deferred);
    hws_pools_init(&pools, &loop, 1);
    hws_pool_init(&pool);
    hws_pool_belongs_to(&pool, &owner, HWS_PROTOCOL_RAW);
    for (i = 0; i < 64; i++)
        if (hws_connection_create(&pool, &socket, HWS_PROTOCOL_RAW, NULL, 1, &connection) != HWS_OK)
            exit(1);
    begin = now_ns();
    for (i = 0; i < n; i++) {
        hws_time_t now = 1 + i / 1000;
        size_t taken;

        if (hws_pool_ask(&pool, &want, now, &connection) != HWS_POOL_LEASED)
            exit(1);
        (void)hws_connection_open(connection, &stream, NULL, (hws_slice_t){NULL, 0}, false, now,
                                  &taken);
        hws_connection_detach(&stream, HWS_CLOSE_LAST, true, now);
    }
    return (now_ns() - begin) / (double)n;
}

/* ---- timers: set and cancel one among 10,000 ---- */

static void nothing(hws_timer_t *timer, hws_time_t now)
{
    (void)timer;
    (void)now;
}

static double bench_timers(long n)
{
    enum { OTHERS = 10000 };
    static hws_timer_t others[OTHERS];
    hws_timers_t timers = {NULL};
    hws_timer_t timer;
    double begin;
    long i;

    for (i = 0; i < OTHERS; i++) {
        hws_timer_init(&others[i], nothing);
        hws_timers_set(&timers, &others[i], (i * 7919) % 100003);
    }
    hws_timer_init(&timer, nothing);
    begin = now_ns();
    for (i = 0; i < n; i++) {
        hws_timers_set(&timers, &timer, (i * 104729) % 100003);
        hws_timers_cancel(&timers, &timer);
    }
    return (now_ns() - begin) / (double)n;
}

static double bench_histogram(long n)
{
    static hws_histogram_t histogram;
    uint64_t value = 1;
    double begin = now_ns();
    long i;

    for (i = 0; i < n; i++) {
        value = (value * 1103515245 + 12345) & 0xfffff;
        hws_histogram_record(&histogram, value);
    }
    return (now_ns() - begin) / (double)n;
}

/* ---- what each attempt tells, at 100,000 a second ---- */

static double bench_budget(long n)
{
    const hws_budget_options_t options = {.share = .2, .floor = 10};
    static hws_budget_t budget;
    double begin = now_ns();
    long i;

    for (i = 0; i < n; i++) {
        hws_budget_deposit(&budget, HWS_US(10) * i);
        (void)hws_budget_withdraw(&budget, &options, HWS_US(10) * i);
    }
    return (now_ns() - begin) / (double)n;
}

static double bench_score(long n)
{
    static hws_score_t score;
    double sum = 0;
    double begin = now_ns();
    long i;

    for (i = 0; i < n; i++) {
        hws_outcome_class_t outcome = i % 8 == 0 ? HWS_OUTCOME_FAILURE : HWS_OUTCOME_SUCCESS;

        hws_score_observe(&score, outcome, 1000 + i % 64, HWS_US(10) * i);
        sum += hws_score_value(&score, 900, HWS_US(10) * i);
    }
    if (sum < 0)
        exit(1);
    return (now_ns() - begin) / (double)n;
}

static double bench_meter(long n)
{
    static hws_meter_t meter;
    double begin;
    long i;

    hws_meter_init(&meter, 0);
    begin = now_ns();
    for (i = 0; i < n; i++)
        hws_meter_mark(&meter, 1, 1000, HWS_US(10) * i);
    return (now_ns() - begin) / (double)n;
}

/* ---- names: look one up that is known, as one of 1,000 ---- */

static void on_answer(hws_resolution_t *resolution, hws_family_t family, hws_time_t now)
{
    (void)resolution;
    (void)family;
    (void)now;
}

static double bench_names(long n)
{
    enum { NAMES = 1000 };
    static char names[NAMES][40];
    hws_resolver_options_t options;
    hws_resolver_t resolver;
    hws_resolution_t resolution;
    hws_sim_name_t *record;
    hws_sim_t *sim;
    hws_loop_t *loop;
    double begin;
    long i;

    hws_resolver_options_init(&options);
    if (hws_sim_create(1, &sim) != HWS_OK || hws_loop_create_on(hws_sim_io(sim), &loop) != HWS_OK ||
        hws_resolver_init(&resolver, loop, &options) != HWS_OK)
        exit(1);
    for (i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "service-%ld.example.org", i);
        if (hws_sim_name(sim, names[i], AF_INET, "10.0.0.1 10.0.0.2", &record) != HWS_OK)
            exit(1);
        record->ttl = 300;
        (void)hws_resolution_start(&resolution, &resolver,
                                   (hws_slice_t){names[i], strlen(names[i])}, 0, on_answer);
        hws_sim_run_until(sim, 0);
    }
    begin = now_ns();
    for (i = 0; i < n; i++) {
        const char *name = names[(i * 7919) % NAMES];
        int rc = hws_resolution_start(&resolution, &resolver, (hws_slice_t){name, strlen(name)}, 0,
                                      on_answer);

        if (rc != HWS_OK || hws_resolution_status(&resolution) != HWS_OK)
            exit(1);
    }
    begin = (now_ns() - begin) / (double)n;
    hws_resolver_dispose(&resolver);
    hws_loop_destroy(loop);
    return begin;
}

/* ---- breaker: admit a call to one of 64 peers that are well, and report on it ---- */

static double bench_breaker(long n)
{
    enum { PEERS = 64 };
    static hws_breaker_t breakers[PEERS];
    hws_breaker_options_t options;
    hws_random_t random;
    double begin;
    long i;

    hws_breaker_options_init(&options);
    for (i = 0; i < PEERS; i++)
        hws_breaker_init(&breakers[i], 0);
    hws_random_init(&random, 1);
    begin = now_ns();
    for (i = 0; i < n; i++) {
        hws_breaker_t *breaker = &breakers[i % PEERS];
        hws_time_t now = i * 10;
        hws_permit_t permit = hws_breaker_admit(breaker, &options, now);
        hws_result_t result = {.latency = 1000, .outcome = HWS_OUTCOME_SUCCESS};

        if (!permit.is_given ||
            hws_breaker_report(breaker, &options, &permit, result, now, &random))
            exit(1);
    }
    return (now_ns() - begin) / (double)n;
}

/* ---- balancers: pick one of 100 for a call, while 64 others are under way ---- */

static int rank(hws_ask_t *ask, hws_candidate_t *candidate)
{
    (void)ask;
    (void)candidate;
    return 1;
}

static double bench_balancer(hws_balancer_t balancer, long n)
{
    enum { PEERS = 100, UNDER_WAY = 64 };
    static hws_candidate_t candidates[PEERS];
    static hws_candidate_t *list[PEERS];
    hws_candidate_t *under_way[UNDER_WAY] = {NULL};
    hws_lineup_t lineup = {.list = list, .count = PEERS};
    hws_ask_t ask = {.rank = rank, .best = 1};
    hws_random_t random;
    double begin;
    long i;

    hws_random_init(&random, 1);
    for (i = 0; i < PEERS; i++) {
        list[i] = &candidates[i];
        candidates[i].weight = 1;
        hws_candidate_observe(&candidates[i], 1000 + i, false, 0);
    }
    hws_lineup_arrange(&lineup);
    begin = now_ns();
    for (i = 0; i < n; i++) {
        hws_candidate_t **slot = &under_way[i % UNDER_WAY];

        if (*slot != NULL)
            (*slot)->in_flight--;
        *slot = hws_balancer_pick(balancer, &lineup, &ask, &random, i);
        hws_balancer_took(balancer, &lineup, *slot);
        (*slot)->in_flight++;
    }
    return (now_ns() - begin) / (double)n;
}

static double bench_least_request(long n)
{
    return bench_balancer(HWS_BALANCER_LEAST_REQUEST, n);
}

static double bench_peak_ewma(long n)
{
    return bench_balancer(HWS_BALANCER_PEAK_EWMA, n);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        double (*run)(long n);
    } parts[] = {{"pool", bench_pool},
                 {"timers", bench_timers},
                 {"histogram", bench_histogram},
                 {"budget", bench_budget},
                 {"score", bench_score},
                 {"meter", bench_meter},
                 {"names", bench_names},
                 {"breaker", bench_breaker},
                 {"least_request", bench_least_request},
                 {"peak_ewma", bench_peak_ewma}};
    long n = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    size_t i;

    for (i = 0; n > 0 && i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcmp(argv[1], parts[i].name) != 0)
            continue;
        printf("value\t%.2f\tns for one %s operation\n", parts[i].run(n), parts[i].name);
        return 0;
    }
    fprintf(stderr, "usage: core PART N\n");
    return 2;
}
