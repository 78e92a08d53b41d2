/* The virtual world: its clock, what is to happen in it, and its turns. */
#include "io/sim_world.h"

#include "base/memory.h"

typedef struct {
    hws_timer_t timer;
    hws_list_t link;
    hws_sim_t *sim;
    void (*run)(void *user);
    void *user;
} plan_t;

static hws_time_t clock_now(hws_io_t *io)
{
    return hws_sim_of(io)->now;
}

/* Virtual time began when 2020 did. */
static int64_t clock_wall(hws_io_t *io)
{
    return 1577836800 + hws_sim_of(io)->now / HWS_S(1);
}

hws_time_t hws_sim_now(const hws_sim_t *sim)
{
    return sim->now;
}

static int fill_random(hws_io_t *io, void *bytes, size_t size)
{
    unsigned char *out = bytes;

    while (size-- > 0)
        *out++ = (unsigned char)hws_random_below(&hws_sim_of(io)->random, 256);
    return HWS_OK;
}

static void arm_timer(hws_io_t *io, hws_time_t at)
{
    hws_sim_of(io)->armed_at = at;
}

static void ask_rest(hws_io_t *io)
{
    hws_sim_set_timer(hws_sim_of(io), &hws_sim_of(io)->wake_timer, hws_sim_of(io)->now);
}

static void fire_wake(hws_timer_t *timer, hws_time_t now)
{
    (void)now;
    hws_sim_rest(HWS_CONTAINER(timer, hws_sim_t, wake_timer));
}

static void free_plan(plan_t *plan)
{
    hws_list_remove(&plan->link);
    hws_free(plan);
}

static void fire_plan(hws_timer_t *timer, hws_time_t now)
{
    plan_t *fired = HWS_CONTAINER(timer, plan_t, timer);
    plan_t plan = *fired;

    (void)now;
    free_plan(fired);
    plan.sim->was_noticed = true;
    plan.run(plan.user);
}

int hws_sim_at(hws_sim_t *sim, hws_time_t at, void (*run)(void *user), void *user)
{
    plan_t *plan = hws_zalloc(sizeof(*plan));

    if (plan == NULL)
        return HWS_ERR_NOMEM;
    plan->sim = sim;
    plan->run = run;
    plan->user = user;
    hws_timer_init(&plan->timer, fire_plan);
    hws_list_push_back(&sim->plans, &plan->link);
    hws_sim_set_timer(sim, &plan->timer, at);
    return HWS_OK;
}

static void move_clock(hws_sim_t *sim, hws_time_t at)
{
    sim->now = hws_sim_later(at, sim->now);
    sim->polled_at = sim->now;
}

/* Lets one thing happen that is due at `until` and was not caused by the `limit`-th or later. */
static bool step(hws_sim_t *sim, hws_time_t until, uint64_t limit)
{
    const hws_timer_t *first = sim->events.root;

    if (first != NULL && first->at <= until && first->order < limit &&
        first->at <= hws_sim_later(sim->armed_at, sim->now)) {
        hws_timer_t *timer;

        move_clock(sim, first->at);
        timer = hws_timers_take(&sim->events, sim->now);
        timer->fire(timer, sim->now);
        return true;
    }
    if (sim->armed_at > until || sim->armed_at == HWS_NEVER)
        return false;
    move_clock(sim, sim->armed_at);
    sim->armed_at = HWS_NEVER;
    sim->io.on_timer(sim->io.owner, sim->now, sim->now);
    hws_sim_rest(sim);
    return true;
}

/* What the inputs of a turn cause for the same moment waits for the next turn, as it would with a
 * real system: so two ends that answer each other at once do not keep a turn from ending. */
static int run_turn(hws_io_t *io, hws_run_t mode)
{
    hws_sim_t *sim = hws_sim_of(io);
    uint64_t limit;

    sim->was_noticed = false;
    sim->polled_at = sim->now;
    while (mode == HWS_RUN_ONCE && !sim->was_noticed)
        if (!step(sim, HWS_NEVER, UINT64_MAX))
            return HWS_END;
    limit = sim->events.order;
    while (step(sim, sim->now, limit))
        ;
    return HWS_OK;
}

void hws_sim_run_until(hws_sim_t *sim, hws_time_t at)
{
    while (step(sim, at, UINT64_MAX))
        ;
    move_clock(sim, at);
}

void hws_sim_stall(hws_sim_t *sim, hws_time_t span)
{
    sim->now += span;
}

static int no_descriptor(hws_io_t *io)
{
    (void)io;
    return -1;
}

static hws_time_t next_span(hws_io_t *io)
{
    const hws_sim_t *sim = hws_sim_of(io);
    hws_time_t next = hws_timers_next(&sim->events);

    if (sim->armed_at < next)
        next = sim->armed_at;
    return next == HWS_NEVER ? HWS_NEVER : hws_sim_later(next - sim->now, 0);
}

static hws_time_t polled_at(hws_io_t *io)
{
    return hws_sim_of(io)->polled_at;
}

static void destroy(hws_io_t *io)
{
    hws_sim_t *sim = hws_sim_of(io);
    hws_list_t *link;

    hws_sim_dispose_names(sim);
    hws_sim_dispose_peers(sim);
    while ((link = hws_list_first(&sim->plans)) != NULL)
        free_plan(HWS_CONTAINER(link, plan_t, link));
    hws_free(sim);
}

static const hws_io_ops_t ops = {
    .now = clock_now,
    .wall = clock_wall,
    .recent = clock_now,
    .entropy = fill_random,
    .connect = hws_sim_connect,
    .names_create = hws_sim_names_create,
    .names_destroy = hws_sim_names_destroy,
    .ask = hws_sim_names_ask,
    .unask = hws_sim_names_unask,
    .arm = arm_timer,
    .wake = ask_rest,
    .run = run_turn,
    .descriptor = no_descriptor,
    .timeout = next_span,
    .polled_at = polled_at,
    .destroy = destroy,
};

int hws_sim_create(uint64_t seed, hws_sim_t **out)
{
    hws_sim_t *sim = hws_zalloc(sizeof(*sim));

    if (sim == NULL)
        return HWS_ERR_NOMEM;
    sim->io.ops = &ops;
    sim->armed_at = HWS_NEVER;
    hws_random_init(&sim->random, seed);
    hws_timer_init(&sim->wake_timer, fire_wake);
    hws_list_init(&sim->listeners);
    hws_list_init(&sim->sockets);
    hws_list_init(&sim->plans);
    hws_list_init(&sim->names);
    *out = sim;
    return HWS_OK;
}

hws_io_t *hws_sim_io(hws_sim_t *sim)
{
    return &sim->io;
}
