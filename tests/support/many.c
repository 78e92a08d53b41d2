#include "support/many.h"

#include <stdio.h>
#include <string.h>

h2_far_t fars[MANY_FARS];

static void begin(const hws_manager_options_t *options)
{
    unsigned i;

    stage_begin_with(1, options, false);
    for (i = 0; i < MANY_FARS; i++)
        h2_far_init(&fars[i], &stage.world, (uint16_t)(MANY_PORT + i));
}

int many_begin(void **state)
{
    (void)state;
    begin(NULL);
    return 0;
}

static void finish(void)
{
    unsigned i;

    stage_finish();
    for (i = 0; i < MANY_FARS; i++)
        h2_far_dispose(&fars[i]);
}

int many_end(void **state)
{
    (void)state;
    if (!stage.is_over)
        finish();
    return 0;
}

void many_again(void)
{
    many_again_with(NULL);
}

void many_again_with(const hws_manager_options_t *options)
{
    finish();
    begin(options);
}

hws_upstream_t *many_upstream(const hws_upstream_options_t *options, unsigned peers)
{
    return world_h2c(&stage.world, "a", options, MANY_PORT, peers);
}

void many_slow_down(unsigned far)
{
    hws_sim_options_t *options = &fars[far].listener->options;

    options->latency_min = options->latency_max = HWS_MS(1);
}

void many_run(hws_time_t span)
{
    world_run_turns(&stage.world, span);
}

void many_start(hws_upstream_t *upstream, unsigned index, const char *method)
{
    static char targets[STAGE_ASKS][8];
    ask_t *ask = &stage.asks[index];

    ask_init(ask);
    ask->options.method = (hws_slice_t){method, strlen(method)};
    snprintf(targets[index], sizeof(targets[index]), "/%u", index);
    ask->options.target = (hws_slice_t){targets[index], strlen(targets[index])};
    if (method[0] == 'P') {
        ask->options.has_body = true;
        ask->options.body = (hws_slice_t)HWS_SLICE("hello");
    }
    assert_int_equal(ask_start(ask, upstream), HWS_OK);
}

void many_start_all(hws_upstream_t *upstream, unsigned first, unsigned count, const char *method)
{
    unsigned i;

    for (i = first; i < first + count; i++)
        many_start(upstream, i, method);
}

hws_breaker_options_t many_breaker(uint32_t consecutive)
{
    hws_breaker_options_t breaker;

    hws_breaker_options_init(&breaker);
    breaker.consecutive = consecutive;
    breaker.failure_rate = 1;
    breaker.min_calls = 1000;
    return breaker;
}
