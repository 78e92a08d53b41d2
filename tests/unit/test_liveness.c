#include "pool/liveness.h"

#include "base/random.h"
#include "support/cmocka.h"

#define IDLE HWS_S(30)
#define TIMEOUT HWS_S(15)

typedef enum { HEARD, DUE, SUSPECT, CALM } input_t;

enum { NO, PING, DEAD }; /* hws_liveness_verdict_t; of SUSPECT: whether a PING is to be sent */

/* After each step `next` is compared, too. */
typedef struct {
    hws_time_t now;
    input_t input;
    bool has_streams;
    int answer;
    hws_time_t next;
    bool is_suspect;
} step_t;

static void play(const step_t *steps, size_t count, hws_time_t ping_idle, hws_time_t ping_timeout)
{
    hws_liveness_t liveness;
    size_t i;

    hws_liveness_init(&liveness, ping_idle, ping_timeout, HWS_S(100));
    for (i = 0; i < count; i++) {
        const step_t *step = &steps[i];
        int answer = NO;

        switch (step->input) {
        case HEARD:
            hws_liveness_heard(&liveness, step->now);
            break;
        case DUE:
            answer = (int)hws_liveness_due(&liveness, step->has_streams, step->now);
            break;
        case SUSPECT:
            answer = hws_liveness_suspect(&liveness, step->now);
            break;
        case CALM:
            hws_liveness_calm(&liveness);
            break;
        }
        assert_int_equal(answer, step->answer);
        assert_int_equal(hws_liveness_next(&liveness, step->has_streams), step->next);
        assert_int_equal(hws_liveness_is_suspect(&liveness), step->is_suspect);
    }
}

#define PLAY(steps, ping_idle, ping_timeout)                                                       \
    play(steps, sizeof(steps) / sizeof((steps)[0]), ping_idle, ping_timeout)

static void silence_with_streams_open_is_asked_about(void **state)
{
    static const step_t steps[] = {
        {HWS_S(100), DUE, true, NO, HWS_S(130), false},
        {HWS_S(125), HEARD, true, NO, HWS_S(155), false},
        {HWS_S(155) - 1, DUE, true, NO, HWS_S(155), false},
        {HWS_S(156), DUE, true, PING, HWS_S(171), false}, /* its time runs from the PING */
        {HWS_S(156), DUE, true, NO, HWS_S(171), false},   /* asked once */
        {HWS_S(171) - 1, DUE, true, NO, HWS_S(171), false},
        {HWS_S(171) - 1, HEARD, true, NO, HWS_S(201) - 1, false}, /* any bytes */
        {HWS_S(201) - 1, DUE, true, PING, HWS_S(216) - 1, false}, /* another silence */
        {HWS_S(216) - 1, DUE, true, DEAD, HWS_S(216) - 1, false},
    };

    (void)state;
    PLAY(steps, IDLE, TIMEOUT);
}

static void without_streams_nothing_is_asked(void **state)
{
    static const step_t steps[] = {
        {HWS_S(100), DUE, false, NO, HWS_NEVER, false},
        {HWS_S(900), DUE, false, NO, HWS_NEVER, false},
        {HWS_S(900), DUE, true, PING, HWS_S(915), false}, /* with the first stream */
        {HWS_S(901), HEARD, true, NO, HWS_S(931), false},
        {HWS_S(902), DUE, false, NO, HWS_NEVER, false},
        {HWS_S(930), DUE, true, NO, HWS_S(931), false}, /* streams do not renew it */
        {HWS_S(931), DUE, true, PING, HWS_S(946), false},
        {HWS_S(932), DUE, false, NO, HWS_S(946), false}, /* what was asked is judged */
        {HWS_S(946), DUE, false, DEAD, HWS_S(946), false},
    };

    (void)state;
    PLAY(steps, IDLE, TIMEOUT);
}

static void a_suspect_is_asked_at_once(void **state)
{
    static const step_t steps[] = {
        {HWS_S(110), HEARD, true, NO, HWS_S(140), false},
        {HWS_S(120), SUSPECT, true, PING, HWS_S(125), true},
        {HWS_S(121), SUSPECT, true, NO, HWS_S(125), true}, /* once, and no longer for that */
        {HWS_S(121), DUE, true, NO, HWS_S(125), true},
        {HWS_S(122), HEARD, true, NO, HWS_S(152), false},
        {HWS_S(152), DUE, true, PING, HWS_S(167), false},
        {HWS_S(153), SUSPECT, true, NO, HWS_S(158), true}, /* sooner than it was to be */
        {HWS_S(154), HEARD, true, NO, HWS_S(184), false},
        {HWS_S(184), DUE, true, PING, HWS_S(199), false},
        {HWS_S(198), SUSPECT, true, NO, HWS_S(199), true}, /* but never later */
        {HWS_S(198), DUE, false, NO, HWS_S(199), true},
        {HWS_S(199), DUE, false, DEAD, HWS_S(199), true},
    };
    static const step_t quick[] = {
        {HWS_S(120), SUSPECT, true, PING, HWS_S(122), true},
        {HWS_S(122), DUE, true, DEAD, HWS_S(122), true},
    };

    (void)state;
    PLAY(steps, IDLE, TIMEOUT);
    PLAY(quick, IDLE, HWS_S(2)); /* the shorter of the two */
}

static void what_spoke_just_before_is_asked_and_no_suspect(void **state)
{
    static const step_t steps[] = {
        {HWS_S(110), HEARD, true, NO, HWS_S(140), false},
        {HWS_S(110), SUSPECT, true, PING, HWS_S(115), false},
        {HWS_S(111) - 1, SUSPECT, true, NO, HWS_S(115), false},
        {HWS_S(111), SUSPECT, true, NO, HWS_S(115), true}, /* silent since */
        {HWS_S(115), DUE, true, DEAD, HWS_S(115), true},
    };

    (void)state;
    PLAY(steps, IDLE, TIMEOUT);
}

static void what_is_switched_off_is_not_asked(void **state)
{
    static const step_t no_idle[] = {
        {HWS_S(999), DUE, true, NO, HWS_NEVER, false},
        {HWS_S(999), SUSPECT, true, PING, HWS_S(1004), true}, /* still */
        {HWS_S(1004), DUE, true, DEAD, HWS_S(1004), true},
    };
    static const step_t no_timeout[] = {
        {HWS_S(999), DUE, true, NO, HWS_NEVER, false},
        {HWS_S(999), SUSPECT, true, NO, HWS_NEVER, false},
    };
    static const step_t calm[] = {{HWS_S(999), CALM, true, NO, HWS_NEVER, false}};
    static const step_t long_spans[] = {{HWS_S(999), DUE, true, NO, HWS_NEVER, false}};

    (void)state;
    PLAY(no_idle, HWS_NEVER, TIMEOUT);
    PLAY(no_timeout, IDLE, HWS_NEVER);
    PLAY(calm, HWS_NEVER, TIMEOUT);
    PLAY(long_spans, HWS_NEVER - 1, HWS_NEVER - 1);
}

static void calm_doubles_the_silence_for_good(void **state)
{
    static const step_t steps[] = {
        {HWS_S(100), CALM, true, NO, HWS_S(160), false},
        {HWS_S(101), HEARD, true, NO, HWS_S(161), false},
        {HWS_S(101), CALM, true, NO, HWS_S(221), false},
    };
    static const step_t quick[] = {
        {HWS_S(100), HEARD, true, NO, HWS_S(102), false},
        {HWS_S(100), CALM, true, NO, HWS_S(110), false}, /* ten seconds at least */
        {HWS_S(100), CALM, true, NO, HWS_S(120), false},
    };
    static const step_t slow[] = {
        {HWS_S(100), CALM, true, NO, HWS_S(7300), false}, /* two hours at most */
        {HWS_S(100), CALM, true, NO, HWS_S(7300), false},
    };
    static const step_t slower[] = {
        {HWS_S(100), CALM, true, NO, HWS_S(7301), false}, /* unless that was wanted */
    };

    (void)state;
    PLAY(steps, IDLE, TIMEOUT);
    PLAY(quick, HWS_S(2), TIMEOUT);
    PLAY(slow, HWS_S(3601), TIMEOUT);
    PLAY(slower, HWS_S(7201), TIMEOUT);
}

static void a_late_verdict_is_put_off_once(void **state)
{
    static const step_t steps[] = {
        {HWS_S(130), DUE, true, PING, HWS_S(145), false},
        {HWS_S(160), DUE, true, NO, HWS_S(160) + HWS_MS(100), false}, /* the loop was held up */
        {HWS_S(160), HEARD, true, NO, HWS_S(190), false},             /* and there it is */
        {HWS_S(190), DUE, true, PING, HWS_S(205), false},
        {HWS_S(220), DUE, true, NO, HWS_S(220) + HWS_MS(100), false},
        {HWS_S(240), DUE, true, DEAD, HWS_S(220) + HWS_MS(100), false},
    };
    static const step_t in_time[] = {
        {HWS_S(130), DUE, true, PING, HWS_S(145), false},
        {HWS_S(145) + HWS_MS(99), DUE, true, DEAD, HWS_S(145), false}, /* a timer is that coarse */
    };

    (void)state;
    PLAY(steps, IDLE, TIMEOUT);
    PLAY(in_time, IDLE, TIMEOUT);
}

/* A connection that is looked at when it asks for that, or earlier; the peer answers after `delay`
 * until it dies. What lives is never given up, what is dead is within the spans that were given, and
 * no PING goes out sooner than a silence after another but for suspects. */
static void the_living_live_and_the_dead_are_found(void **state)
{
    uint64_t seed;

    (void)state;
    for (seed = 0; seed < 500; seed++) {
        hws_random_t random;
        hws_liveness_t liveness;
        hws_time_t idle = HWS_S(1 + seed % 40);
        hws_time_t timeout = HWS_S(1 + seed % 23);
        hws_time_t dies_at = HWS_S(1000);
        hws_time_t answer_at = HWS_NEVER;
        hws_time_t pinged_at = 0;
        hws_time_t now = 0;
        hws_liveness_verdict_t verdict = HWS_LIVENESS_NOTHING;
        bool is_asked = false;

        hws_random_init(&random, seed);
        hws_liveness_init(&liveness, idle, timeout, now);
        while (verdict != HWS_LIVENESS_DEAD) {
            hws_time_t next = hws_liveness_next(&liveness, true);
            hws_time_t chance = now + hws_random_below(&random, 4000000);

            now = next < chance ? next : chance;
            if (answer_at <= now) {
                now = answer_at;
                answer_at = HWS_NEVER;
                hws_liveness_heard(&liveness, now);
                continue;
            }
            if (now < dies_at && hws_random_below(&random, 20) == 0)
                hws_liveness_heard(&liveness, now);
            if (hws_random_below(&random, 50) == 0) {
                is_asked = hws_liveness_suspect(&liveness, now);
            } else {
                verdict = hws_liveness_due(&liveness, true, now);
                /* Nobody who heeds it spins. */
                assert_true(verdict == HWS_LIVENESS_DEAD ||
                            hws_liveness_next(&liveness, true) > now);
                is_asked = verdict == HWS_LIVENESS_PING;
                if (is_asked)
                    assert_true(now - pinged_at >= idle);
            }
            if (is_asked) {
                pinged_at = now;
                if (now < dies_at)
                    answer_at = now + hws_random_below(&random, 999999);
            }
        }
        assert_true(now >= dies_at);
        assert_true(now <= dies_at + HWS_S(1) + idle + timeout);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_with_streams_open_is_asked_about),
        cmocka_unit_test(without_streams_nothing_is_asked),
        cmocka_unit_test(a_suspect_is_asked_at_once),
        cmocka_unit_test(what_spoke_just_before_is_asked_and_no_suspect),
        cmocka_unit_test(what_is_switched_off_is_not_asked),
        cmocka_unit_test(calm_doubles_the_silence_for_good),
        cmocka_unit_test(a_late_verdict_is_put_off_once),
        cmocka_unit_test(the_living_live_and_the_dead_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
