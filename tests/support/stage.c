#include "support/stage.h"

#include <string.h>

stage_t stage;

void stage_begin(uint64_t seed, uint32_t max_connections, bool is_raw)
{
    hws_manager_options_t options;

    hws_manager_options_init(&options);
    options.max_connections = max_connections;
    stage_begin_with(seed, &options, is_raw);
}

void stage_begin_with(uint64_t seed, const hws_manager_options_t *options, bool is_raw)
{
    unsigned i;

    memset(&stage, 0, sizeof(stage));
    world_init(&stage.world, seed, options);
    for (i = 0; i < STAGE_SERVERS; i++) {
        if (is_raw)
            server_init_raw(&stage.servers[i], &stage.world, (uint16_t)(i + 1));
        else
            server_init(&stage.servers[i], &stage.world, (uint16_t)(i + 1));
    }
    stage.server_count = STAGE_SERVERS;
}

int stage_http(void **state)
{
    (void)state;
    stage_begin(1, 0, false);
    return 0;
}

int stage_raw(void **state)
{
    (void)state;
    stage_begin(1, 0, true);
    return 0;
}

int stage_none(void **state)
{
    (void)state;
    memset(&stage, 0, sizeof(stage));
    stage.is_over = true;
    return 0;
}

void stage_finish(void)
{
    unsigned i;

    for (i = 0; i < STAGE_ASKS; i++)
        ask_dispose(&stage.asks[i]);
    for (i = 0; i < STAGE_HOLDS; i++)
        hold_close(&stage.holds[i]);
    world_dispose(&stage.world);
    for (i = 0; i < stage.server_count; i++)
        server_dispose(&stage.servers[i]);
    stage.is_over = true;
}

int stage_clear(void **state)
{
    (void)state;
    if (!stage.is_over)
        stage_finish();
    return 0;
}

void stage_get(hws_upstream_t *upstream, unsigned first, unsigned count)
{
    unsigned i;

    for (i = first; i < first + count; i++)
        ask_get(&stage.asks[i], upstream);
}

unsigned stage_ok(unsigned first, unsigned count)
{
    unsigned ok = 0;
    unsigned i;

    for (i = first; i < first + count; i++)
        ok += ask_is_ok(&stage.asks[i]);
    return ok;
}

unsigned stage_done(unsigned first, unsigned count)
{
    unsigned done = 0;
    unsigned i;

    for (i = first; i < first + count; i++)
        done += stage.asks[i].done;
    return done;
}
