#include "base/error.h"

#include "support/cmocka.h"

#include <stdio.h>
#include <string.h>

#define CODE(symbol, kind, code, text) HWS_ERR_##symbol,
static const int codes[] = {HWS_ERROR_LIST(CODE)};
#undef CODE

#define COUNT (sizeof(codes) / sizeof(codes[0]))

static void every_code_has_a_kind_a_name_and_a_text(void **state)
{
#define KIND(symbol, kind, code, text) HWS_KIND_##kind,
    static const hws_kind_t kinds[] = {HWS_ERROR_LIST(KIND)};
#undef KIND
#define NAME(symbol, kind, code, text) code,
    static const char *const names[] = {HWS_ERROR_LIST(NAME)};
#undef NAME
    size_t i;

    (void)state;
    for (i = 0; i < COUNT; i++) {
        assert_int_equal(hws_error_kind(codes[i]), kinds[i]);
        assert_string_equal(hws_error_name(codes[i]), names[i]);
        assert_true(strlen(hws_error_text(codes[i])) > 5);
    }
}

static void codes_are_negative_and_names_and_texts_unique(void **state)
{
    size_t i;
    size_t k;

    (void)state;
    for (i = 0; i < COUNT; i++) {
        assert_true(codes[i] < 0);
        for (k = 0; k < i; k++) {
            assert_int_not_equal(codes[i], codes[k]);
            assert_string_not_equal(hws_error_name(codes[i]), hws_error_name(codes[k]));
            assert_string_not_equal(hws_error_text(codes[i]), hws_error_text(codes[k]));
        }
    }
}

static void the_kinds_are_those_that_users_rely_on(void **state)
{
    static const struct {
        int code;
        const char *kind;
    } steps[] = {
        {HWS_ERR_REFUSED, "refused"},   {HWS_ERR_TOO_MANY_FILES, "connect"},
        {HWS_ERR_TIMEOUT, "timeout"},   {HWS_ERR_RESET, "reset"},
        {HWS_ERR_EOF, "reset"},         {HWS_ERR_QUEUE_FULL, "overload"},
        {HWS_ERR_CANCELED, "canceled"}, {HWS_ERR_CHUNK, "protocol"},
        {HWS_ERR_BODY_SIZE, "limit"},   {HWS_ERR_NOMEM, "nomem"},
        {HWS_ERR_NO_PEER, "no_peer"},   {HWS_ERR_CLOSED, "closed"},
        {HWS_ERR_BAD_URL, "invalid"},   {HWS_ERR_UPGRADE, "unsupported"},
        {HWS_ERR_NXDOMAIN, "resolve"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        assert_string_equal(hws_kind_name(hws_error_kind(steps[i].code)), steps[i].kind);
}

static void what_is_no_code_is_called_unknown(void **state)
{
    static const int none[] = {HWS_OK, HWS_AGAIN, HWS_END, -HWS_ERRNO_COUNT, -1000000, INT32_MIN};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_string_equal(hws_error_name(none[i]), "UNKNOWN");
        assert_int_equal(hws_error_kind(none[i]), HWS_KIND_INVALID);
    }
}

static void every_phase_has_its_word(void **state)
{
    (void)state;
    assert_string_equal(hws_phase_name(HWS_PHASE_QUEUE), "queue");
    assert_string_equal(hws_phase_name(HWS_PHASE_CONNECT), "connect");
    assert_string_equal(hws_phase_name(HWS_PHASE_BODY), "body");
}

static void an_error_is_made_of_code_and_phase_alone(void **state)
{
    hws_error_t error = hws_error_make(HWS_ERR_RESET, HWS_PHASE_HEADERS);

    (void)state;
    assert_int_equal(error.code, HWS_ERR_RESET);
    assert_int_equal(error.phase, HWS_PHASE_HEADERS);
    assert_int_equal(error.attempts, 0);
    assert_false(error.sent || error.retryable || error.has_retry_in);
    assert_string_equal(error.peer, "");
    assert_string_equal(error.detail, "");
}

static void a_line_tells_all_that_is_known(void **state)
{
    hws_error_t error = hws_error_make(HWS_ERR_RESET, HWS_PHASE_HEADERS);
    char line[256];

    (void)state;
    assert_string_equal(hws_error_line(&error, line, sizeof(line)),
                        "reset: connection reset by the peer [ECONNRESET] (headers)");
    snprintf(error.peer, sizeof(error.peer), "127.0.0.1:80");
    assert_string_equal(hws_error_line(&error, line, sizeof(line)),
                        "reset: connection reset by the peer [ECONNRESET] (headers, 127.0.0.1:80)");
    snprintf(error.detail, sizeof(error.detail), "of 3 tries");
    assert_string_equal(hws_error_line(&error, line, sizeof(line)),
                        "reset: of 3 tries [ECONNRESET] (headers, 127.0.0.1:80)");
}

static void a_line_is_cut_to_its_size(void **state)
{
    hws_error_t error = hws_error_make(HWS_ERR_RESET, HWS_PHASE_HEADERS);
    char line[8] = "xxxxxxx";

    (void)state;
    assert_string_equal(hws_error_line(&error, line, 7), "reset:");
    assert_string_equal(hws_error_line(&error, line, 1), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_kind_a_name_and_a_text),
        cmocka_unit_test(codes_are_negative_and_names_and_texts_unique),
        cmocka_unit_test(the_kinds_are_those_that_users_rely_on),
        cmocka_unit_test(what_is_no_code_is_called_unknown),
        cmocka_unit_test(every_phase_has_its_word),
        cmocka_unit_test(an_error_is_made_of_code_and_phase_alone),
        cmocka_unit_test(a_line_tells_all_that_is_known),
        cmocka_unit_test(a_line_is_cut_to_its_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
