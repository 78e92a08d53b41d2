#include "policy/outcome.h"

#include "support/cmocka.h"

static bool counts(hws_kind_t kind)
{
    static const hws_kind_t counted[] = {HWS_KIND_RESOLVE, HWS_KIND_REFUSED, HWS_KIND_CONNECT,
                                         HWS_KIND_TIMEOUT, HWS_KIND_TLS,     HWS_KIND_PROTOCOL,
                                         HWS_KIND_RESET};
    size_t i;

    for (i = 0; i < sizeof(counted) / sizeof(counted[0]); i++)
        if (counted[i] == kind)
            return true;
    return false;
}

static void each_code_counts_as_its_kind_does(void **state)
{
    int number;
    hws_phase_t phase;

    (void)state;
    for (number = 1; number < HWS_ERRNO_COUNT; number++)
        for (phase = 0; phase < HWS_PHASE_COUNT; phase++) {
            hws_kind_t kind = hws_error_kind(-number);
            bool is_waiting = kind == HWS_KIND_TIMEOUT && phase == HWS_PHASE_QUEUE;
            bool is_ours = -number == HWS_ERR_TOO_MANY_FILES || -number == HWS_ERR_NO_PORTS ||
                           -number == HWS_ERR_ACCESS;

            is_ours |= -number == HWS_ERR_REFUSED_STREAM || -number == HWS_ERR_GOAWAY ||
                       -number == HWS_ERR_RST_HTTP_1_1;
            assert_int_equal(hws_outcome_of(-number, phase, 0),
                             counts(kind) && !is_waiting && !is_ours ? HWS_OUTCOME_FAILURE
                                                                     : HWS_OUTCOME_NEUTRAL);
        }
}

static void some_codes_by_name(void **state)
{
    static const struct {
        int code;
        hws_phase_t phase;
        hws_outcome_class_t outcome;
    } cases[] = {
        {HWS_ERR_NXDOMAIN, HWS_PHASE_RESOLVE, HWS_OUTCOME_FAILURE},
        {HWS_ERR_REFUSED, HWS_PHASE_CONNECT, HWS_OUTCOME_FAILURE},
        {HWS_ERR_SETUP, HWS_PHASE_CONNECT, HWS_OUTCOME_FAILURE},
        {HWS_ERR_TIMEOUT, HWS_PHASE_QUEUE, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_TIMEOUT, HWS_PHASE_CONNECT, HWS_OUTCOME_FAILURE},
        {HWS_ERR_TIMEOUT, HWS_PHASE_BODY, HWS_OUTCOME_FAILURE},
        {HWS_ERR_CERT_EXPIRED, HWS_PHASE_TLS, HWS_OUTCOME_FAILURE},
        {HWS_ERR_STATUS_LINE, HWS_PHASE_HEADERS, HWS_OUTCOME_FAILURE},
        {HWS_ERR_EOF, HWS_PHASE_HEADERS, HWS_OUTCOME_FAILURE},
        {HWS_ERR_CLOSED, HWS_PHASE_HEADERS, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_QUEUE_FULL, HWS_PHASE_QUEUE, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_QUEUE_TIMEOUT, HWS_PHASE_QUEUE, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_BODY_SIZE, HWS_PHASE_BODY, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_NO_PEER, HWS_PHASE_QUEUE, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_CANCELED, HWS_PHASE_HEADERS, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_TLS_OPTIONS, HWS_PHASE_TLS, HWS_OUTCOME_NEUTRAL},
        {HWS_ERR_NOMEM, HWS_PHASE_SEND, HWS_OUTCOME_NEUTRAL},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(hws_outcome_of(cases[i].code, cases[i].phase, 0), cases[i].outcome);
}

static void responses_count_from_500_on(void **state)
{
    uint32_t status;

    (void)state;
    for (status = 100; status <= 999; status++)
        assert_int_equal(hws_outcome_of(HWS_OK, HWS_PHASE_HEADERS, status),
                         status < 500 ? HWS_OUTCOME_SUCCESS : HWS_OUTCOME_FAILURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_code_counts_as_its_kind_does),
        cmocka_unit_test(some_codes_by_name),
        cmocka_unit_test(responses_count_from_500_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
