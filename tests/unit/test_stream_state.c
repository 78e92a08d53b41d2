#include "stream_state.h"

#include "support/cmocka.h"

#define STATES HWS_STREAM_COUNT

/* next[state][event] */
static const hws_stream_state_t next[STATES][HWS_STREAM_EVENTS] = {
#define ROW(opened, local, remote, given_up, failed)                                               \
    {                                                                                              \
        HWS_STREAM_##opened, HWS_STREAM_##local, HWS_STREAM_##remote, HWS_STREAM_##given_up,       \
            HWS_STREAM_##failed                                                                    \
    }
    [HWS_STREAM_OPENING] = ROW(ACTIVE, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED, ERROR),
    [HWS_STREAM_ACTIVE] = ROW(ACTIVE, HALF_CLOSED_LOCAL, HALF_CLOSED_REMOTE, CLOSED, ERROR),
    [HWS_STREAM_HALF_CLOSED_LOCAL] =
        ROW(HALF_CLOSED_LOCAL, HALF_CLOSED_LOCAL, CLOSED, CLOSED, ERROR),
    [HWS_STREAM_HALF_CLOSED_REMOTE] =
        ROW(HALF_CLOSED_REMOTE, CLOSED, HALF_CLOSED_REMOTE, CLOSED, ERROR),
    [HWS_STREAM_CLOSED] = ROW(CLOSED, CLOSED, CLOSED, CLOSED, CLOSED),
    [HWS_STREAM_ERROR] = ROW(ERROR, ERROR, ERROR, ERROR, ERROR),
#undef ROW
};

static void every_event_leads_where_the_table_says(void **state)
{
    unsigned from;
    unsigned event;

    (void)state;
    for (from = 0; from < STATES; from++)
        for (event = 0; event < HWS_STREAM_EVENTS; event++)
            assert_int_equal(
                hws_stream_state_after((hws_stream_state_t)from, (hws_stream_event_t)event),
                next[from][event]);
}

/* All sequences of six events: what was left does not come again. */
static void no_state_is_reached_twice(void **state)
{
    unsigned sequence;

    (void)state;
    for (sequence = 0; sequence < 5 * 5 * 5 * 5 * 5 * 5; sequence++) {
        hws_stream_state_t at = HWS_STREAM_OPENING;
        unsigned been = 1U << at;
        unsigned rest = sequence;
        unsigned i;

        for (i = 0; i < 6; i++, rest /= HWS_STREAM_EVENTS) {
            hws_stream_state_t then =
                hws_stream_state_after(at, (hws_stream_event_t)(rest % HWS_STREAM_EVENTS));

            if (then != at)
                assert_false(been & 1U << then);
            been |= 1U << then;
            at = then;
        }
    }
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(hws_stream_state_name(HWS_STREAM_OPENING), "opening");
    assert_string_equal(hws_stream_state_name(HWS_STREAM_HALF_CLOSED_REMOTE), "half_closed_remote");
    assert_string_equal(hws_stream_state_name(HWS_STREAM_ERROR), "error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_leads_where_the_table_says),
        cmocka_unit_test(no_state_is_reached_twice),
        cmocka_unit_test(states_have_names),
    };

    return cmocka_run_group_tests_name("stream_state", tests, NULL, NULL);
}
