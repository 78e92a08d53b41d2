#include "codec/window.h"

#include <assert.h>

void hws_trip_init(hws_trip_t *trip, uint32_t window)
{
    *trip = (hws_trip_t){.pause = window / 4};
}

bool hws_trip_carry(hws_trip_t *trip, uint32_t size)
{
    if (trip->is_under_way)
        return false;
    trip->consumed += size;
    if (trip->consumed < trip->pause)
        return false;
    trip->consumed = 0;
    trip->is_under_way = true;
    trip->count++;
    return true;
}

void hws_trip_end(hws_trip_t *trip)
{
    trip->is_under_way = false;
}

void hws_window_init(hws_window_t *window, uint32_t size, uint32_t max)
{
    assert(size <= HWS_WINDOW_MOST && max <= HWS_WINDOW_MOST);
    *window = (hws_window_t){.size = size, .max = max};
}

/* What one window may take of it. */
static uint64_t share(const hws_window_budget_t *budget)
{
    return budget->used < budget->limit ? (budget->limit - budget->used) / 4 : 0;
}

static uint32_t grow(hws_window_t *window, hws_window_budget_t *budget)
{
    uint32_t room = window->max > window->size ? window->max - window->size : 0;
    uint32_t growth = window->size < room ? window->size : room;

    if (budget != NULL) {
        if (growth > share(budget))
            return 0;
        budget->used += growth;
    }
    window->size += growth;
    return growth;
}

uint32_t hws_window_consume(hws_window_t *window, uint32_t size, const hws_trip_t *trip,
                            hws_window_budget_t *budget)
{
    if (!trip->is_under_way)
        return 0;
    if (window->trip != trip->count) {
        window->trip = trip->count;
        window->sample = 0;
    }
    window->sample += size;
    if (window->sample < window->size / 2)
        return 0;
    window->sample = 0;
    return grow(window, budget);
}

uint32_t hws_window_budget_take(hws_window_budget_t *budget, uint32_t wanted, uint32_t least)
{
    uint64_t most = share(budget);
    uint32_t size = wanted < most ? wanted : (uint32_t)most;

    if (size < least)
        size = least;
    budget->used += size;
    return size;
}

void hws_window_budget_give(hws_window_budget_t *budget, uint32_t size)
{
    assert(budget->used >= size);
    budget->used -= size;
}
