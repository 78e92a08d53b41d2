#include "transport/race.h"

#include <assert.h>

static hws_family_t other(hws_family_t family)
{
    return family == HWS_IPV6 ? HWS_IPV4 : HWS_IPV6;
}

static bool has_untried(const hws_race_t *race, hws_family_t family)
{
    return race->begun[family] < race->offered[family];
}

static void check(const hws_race_t *race)
{
    assert(race->begun[HWS_IPV6] <= race->offered[HWS_IPV6]);
    assert(race->begun[HWS_IPV4] <= race->offered[HWS_IPV4]);
    assert(race->alive <= HWS_RACE_ALIVE);
    assert(race->alive <= race->begun[HWS_IPV6] + race->begun[HWS_IPV4]);
    (void)race;
}

void hws_race_init(hws_race_t *race, hws_family_t first)
{
    *race = (hws_race_t){.first = first, .turn = first};
}

void hws_race_offer(hws_race_t *race, hws_family_t family, uint32_t count, hws_time_t now)
{
    bool is_news = count > 0 && race->offered[family] == 0;

    assert(!race->is_complete);
    race->offered[family] += count;
    if (is_news && !race->has_begun)
        race->next_at = family == race->first ? now : now + HWS_RACE_PATIENCE;
    check(race);
}

void hws_race_no_more(hws_race_t *race)
{
    race->is_complete = true;
}

/* The patience ends with the first family's addresses, or when it is known to have none. */
static hws_time_t next_at(const hws_race_t *race, hws_time_t now)
{
    bool is_awaited = race->offered[race->first] == 0 && !race->is_complete;

    return race->has_begun || is_awaited ? race->next_at : now;
}

hws_race_answer_t hws_race_ask(hws_race_t *race, hws_time_t now)
{
    hws_family_t family = has_untried(race, race->turn) ? race->turn : other(race->turn);
    hws_time_t at = next_at(race, now);

    if (!has_untried(race, family) && race->is_complete && race->alive == 0)
        return (hws_race_answer_t){.move = HWS_RACE_LOST};
    if (!has_untried(race, family) || race->alive == HWS_RACE_ALIVE)
        at = HWS_NEVER;
    if (at > now)
        return (hws_race_answer_t){.move = HWS_RACE_WAIT, .at = at};
    race->has_begun = true;
    race->alive++;
    race->turn = other(family);
    race->next_at = now + HWS_RACE_STAGGER;
    race->begun[family]++;
    check(race);
    return (hws_race_answer_t){
        .move = HWS_RACE_TRY, .family = family, .index = race->begun[family] - 1};
}

void hws_race_failed(hws_race_t *race, hws_time_t now)
{
    assert(race->alive > 0);
    race->alive--;
    race->next_at = now;
    check(race);
}

void hws_race_put_back(hws_race_t *race, hws_family_t family, hws_time_t now)
{
    assert(race->alive > 0 && race->begun[family] > 0);
    race->alive--;
    race->begun[family]--;
    race->turn = family;
    race->next_at = now + HWS_RACE_STAGGER;
    check(race);
}

hws_family_t hws_winner_or(const hws_winner_t *winner, hws_family_t otherwise, hws_time_t now)
{
    return now < winner->until ? winner->family : otherwise;
}

void hws_winner_note(hws_winner_t *winner, hws_family_t family, hws_time_t now)
{
    if (now < winner->until && winner->family == family)
        return;
    *winner = (hws_winner_t){.until = now + HWS_WINNER_LASTS, .family = family};
}

void hws_winner_forget(hws_winner_t *winner, hws_family_t family)
{
    if (winner->family == family)
        winner->until = 0;
}
