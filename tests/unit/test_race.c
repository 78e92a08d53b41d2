#include "transport/race.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

typedef enum { V6, V4, ALL, FAILS, SHORT_V6, SHORT_V4, TIME } what_t;

/* At a moment in ms, something happens; then the race is asked until it says to wait. */
typedef struct {
    hws_time_t at_ms;
    what_t what;
    uint32_t count;      /* of V6 and V4: how many addresses came */
    const char *answers; /* "6.0" is a try, "wait" without an end, "250" a wait until then */
} step_t;

#define STEPS 16

typedef struct {
    const char *name;
    hws_family_t first;
    step_t steps[STEPS]; /* up to one without answers */
} course_t;

static void happen(hws_race_t *race, const step_t *step)
{
    hws_time_t now = HWS_MS(step->at_ms);

    switch (step->what) {
    case V6:
        hws_race_offer(race, HWS_IPV6, step->count, now);
        break;
    case V4:
        hws_race_offer(race, HWS_IPV4, step->count, now);
        break;
    case ALL:
        hws_race_no_more(race);
        break;
    case FAILS:
        hws_race_failed(race, now);
        break;
    case SHORT_V6:
        hws_race_put_back(race, HWS_IPV6, now);
        break;
    case SHORT_V4:
        hws_race_put_back(race, HWS_IPV4, now);
        break;
    case TIME:
        break;
    }
}

static void say(char *line, size_t size, const char *word)
{
    size_t used = strlen(line);

    snprintf(line + used, size - used, "%s%s", used > 0 ? " " : "", word);
}

static void ask(hws_race_t *race, hws_time_t now, char *line, size_t size)
{
    char word[32];

    line[0] = '\0';
    for (;;) {
        hws_race_answer_t answer = hws_race_ask(race, now);

        switch (answer.move) {
        case HWS_RACE_TRY:
            snprintf(word, sizeof(word), "%c.%u", answer.family == HWS_IPV6 ? '6' : '4',
                     answer.index);
            say(line, size, word);
            break;
        case HWS_RACE_WAIT:
            snprintf(word, sizeof(word), "%lld", (long long)(answer.at / HWS_MS(1)));
            say(line, size, answer.at == HWS_NEVER ? "wait" : word);
            assert_true(answer.at > now);
            return;
        case HWS_RACE_LOST:
            say(line, size, "lost");
            return;
        }
    }
}

static void run(const course_t *course)
{
    const step_t *step;
    hws_race_t race;
    char line[200];

    hws_race_init(&race, course->first);
    for (step = course->steps; step->answers != NULL; step++) {
        happen(&race, step);
        ask(&race, HWS_MS(step->at_ms), line, sizeof(line));
        if (strcmp(line, step->answers) != 0)
            print_error("%s: at %lld ms\n", course->name, (long long)step->at_ms);
        assert_string_equal(line, step->answers);
        ask(&race, HWS_MS(step->at_ms), line, sizeof(line)); /* asking again changes nothing */
        assert_null(strchr(line, '.'));
    }
}

static void run_all(const course_t *courses, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        run(&courses[i]);
}

static void attempts_follow_each_other_and_failures(void **state)
{
    static const course_t courses[] = {
        {"one address",
         HWS_IPV6,
         {{0, V6, 1, "6.0 wait"}, {0, ALL, 0, "wait"}, {9, FAILS, 0, "lost"}}},
        {"each 250 ms after the one before",
         HWS_IPV6,
         {{0, V6, 3, "6.0 250"},
          {0, ALL, 0, "250"},
          {249, TIME, 0, "250"},
          {250, TIME, 0, "6.1 500"},
          {510, TIME, 0, "6.2 wait"},
          {511, FAILS, 0, "wait"},
          {512, FAILS, 0, "wait"},
          {513, FAILS, 0, "lost"}}},
        {"at once after a failure, and 250 ms from there",
         HWS_IPV6,
         {{0, V6, 4, "6.0 250"},
          {10, FAILS, 0, "6.1 260"},
          {260, TIME, 0, "6.2 510"},
          {300, FAILS, 0, "6.3 wait"}}},
        {"families take turns",
         HWS_IPV6,
         {{0, V6, 3, "6.0 250"},
          {0, V4, 2, "250"},
          {1, FAILS, 0, "4.0 251"},
          {2, FAILS, 0, "6.1 252"},
          {3, FAILS, 0, "4.1 253"},
          {4, FAILS, 0, "6.2 wait"}}},
        {"what one family has not, the other has",
         HWS_IPV6,
         {{0, V6, 1, "6.0 wait"},
          {0, V4, 3, "250"},
          {1, FAILS, 0, "4.0 251"},
          {2, FAILS, 0, "4.1 252"},
          {3, FAILS, 0, "4.2 wait"},
          {3, ALL, 0, "wait"},
          {4, FAILS, 0, "lost"}}},
        {"six at once",
         HWS_IPV4,
         {{0, V4, 9, "4.0 250"},
          {250, TIME, 0, "4.1 500"},
          {500, TIME, 0, "4.2 750"},
          {750, TIME, 0, "4.3 1000"},
          {1000, TIME, 0, "4.4 1250"},
          {1250, TIME, 0, "4.5 wait"},
          {9000, TIME, 0, "wait"},
          {9001, FAILS, 0, "4.6 wait"},
          {9002, FAILS, 0, "4.7 wait"},
          {9003, FAILS, 0, "4.8 wait"}}},
    };

    (void)state;
    run_all(courses, sizeof(courses) / sizeof(courses[0]));
}

static void the_first_family_is_waited_for(void **state)
{
    static const course_t courses[] = {
        {"the first family comes first", HWS_IPV6, {{7, V6, 1, "6.0 wait"}}},
        {"it comes in time",
         HWS_IPV6,
         {{0, V4, 1, "50"}, {49, V6, 1, "6.0 299"}, {299, TIME, 0, "4.0 wait"}}},
        {"it comes late, and has the next turn",
         HWS_IPV6,
         {{0, V4, 2, "50"},
          {50, TIME, 0, "4.0 300"},
          {60, V6, 1, "300"},
          {300, TIME, 0, "6.0 550"}}},
        {"it comes when nothing else is left",
         HWS_IPV6,
         {{0, V4, 1, "50"},
          {50, TIME, 0, "4.0 wait"},
          {60, FAILS, 0, "wait"},
          {999, V6, 1, "6.0 wait"},
          {999, ALL, 0, "wait"},
          {1000, FAILS, 0, "lost"}}},
        {"it comes when its time was long ago",
         HWS_IPV6,
         {{0, V4, 1, "50"}, {50, TIME, 0, "4.0 wait"}, {999, V6, 2, "6.0 1249"}}},
        {"it has none", HWS_IPV6, {{0, V4, 1, "50"}, {20, ALL, 0, "4.0 wait"}}},
        {"more of the other do not prolong it",
         HWS_IPV6,
         {{0, V4, 1, "50"}, {30, V4, 1, "50"}, {50, TIME, 0, "4.0 300"}}},
        {"nothing came of it",
         HWS_IPV6,
         {{0, V4, 1, "50"}, {5, V6, 0, "50"}, {50, TIME, 0, "4.0 wait"}}},
        {"IPv4 is waited for where it won last",
         HWS_IPV4,
         {{0, V6, 1, "50"}, {10, V4, 1, "4.0 260"}, {260, TIME, 0, "6.0 wait"}}},
        {"there are none at all",
         HWS_IPV6,
         {{0, TIME, 0, "wait"}, {10, ALL, 0, "lost"}, {20, TIME, 0, "lost"}}},
    };

    (void)state;
    run_all(courses, sizeof(courses) / sizeof(courses[0]));
}

static void what_could_not_begin_is_tried_again(void **state)
{
    static const course_t courses[] = {
        {"after the stagger",
         HWS_IPV6,
         {{0, V6, 1, "6.0 wait"},
          {0, V4, 2, "250"},
          {250, TIME, 0, "4.0 500"},
          {250, SHORT_V4, 0, "500"},
          {500, TIME, 0, "4.0 750"}}},
        {"before the other family's next",
         HWS_IPV6,
         {{0, V6, 2, "6.0 250"},
          {0, V4, 1, "250"},
          {250, TIME, 0, "4.0 500"},
          {250, SHORT_V4, 0, "500"},
          {500, TIME, 0, "4.0 750"},
          {750, TIME, 0, "6.1 wait"}}},
        {"when another has failed",
         HWS_IPV6,
         {{0, V6, 2, "6.0 250"},
          {250, TIME, 0, "6.1 wait"},
          {250, SHORT_V6, 0, "500"},
          {300, FAILS, 0, "6.1 wait"}}},
    };

    (void)state;
    run_all(courses, sizeof(courses) / sizeof(courses[0]));
}

static void a_winner_is_remembered_for_ten_minutes(void **state)
{
    hws_winner_t winner = {0};

    (void)state;
    assert_int_equal(hws_winner_or(&winner, HWS_IPV6, 0), HWS_IPV6);
    assert_int_equal(hws_winner_or(&winner, HWS_IPV4, 0), HWS_IPV4);
    hws_winner_note(&winner, HWS_IPV4, HWS_S(1));
    assert_int_equal(hws_winner_or(&winner, HWS_IPV6, HWS_S(601) - 1), HWS_IPV4);
    assert_int_equal(hws_winner_or(&winner, HWS_IPV6, HWS_S(601)), HWS_IPV6);
}

static void winning_again_does_not_prolong_that(void **state)
{
    hws_winner_t winner = {0};

    (void)state;
    hws_winner_note(&winner, HWS_IPV4, HWS_S(1));
    hws_winner_note(&winner, HWS_IPV4, HWS_S(600));
    assert_int_equal(hws_winner_or(&winner, HWS_IPV6, HWS_S(601)), HWS_IPV6);
    hws_winner_note(&winner, HWS_IPV4, HWS_S(601));
    assert_int_equal(hws_winner_or(&winner, HWS_IPV6, HWS_S(1200)), HWS_IPV4);
}

static void a_winner_that_fails_is_forgotten(void **state)
{
    hws_winner_t winner = {0};

    (void)state;
    hws_winner_note(&winner, HWS_IPV4, 0);
    hws_winner_forget(&winner, HWS_IPV6);
    assert_int_equal(hws_winner_or(&winner, HWS_IPV6, 1), HWS_IPV4);
    hws_winner_note(&winner, HWS_IPV6, 2);
    assert_int_equal(hws_winner_or(&winner, HWS_IPV4, HWS_S(600)), HWS_IPV6);
    hws_winner_forget(&winner, HWS_IPV6);
    assert_int_equal(hws_winner_or(&winner, HWS_IPV4, 3), HWS_IPV4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attempts_follow_each_other_and_failures),
        cmocka_unit_test(the_first_family_is_waited_for),
        cmocka_unit_test(what_could_not_begin_is_tried_again),
        cmocka_unit_test(a_winner_is_remembered_for_ten_minutes),
        cmocka_unit_test(winning_again_does_not_prolong_that),
        cmocka_unit_test(a_winner_that_fails_is_forgotten),
    };

    return cmocka_run_group_tests_name("race", tests, NULL, NULL);
}
